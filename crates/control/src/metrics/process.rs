//! The process as such, under the names that all Prometheus clients use. What the system does not say is left out.

use machine::os;

use super::text::{Text, Type};

pub(super) fn write(text: &mut Text) {
    let usage = os::usage();
    let cpu = (usage.user + usage.system).as_secs_f64();
    text.single("process_cpu_seconds_total", Type::Counter, "CPU time of the process.", cpu);
    if let Ok(bytes) = os::rss_bytes() {
        text.single("process_resident_memory_bytes", Type::Gauge, "Resident set of the process.", bytes);
    }
    if let Ok(files) = os::files() {
        text.single("process_open_fds", Type::Gauge, "Open file descriptors.", files.open);
        if let Some(most) = files.most {
            text.single("process_max_fds", Type::Gauge, "Most file descriptors that may be open.", most);
        }
    }
    if let Ok(since) = os::started() {
        let help = "When the process was started, since 1970.";
        text.single("process_start_time_seconds", Type::Gauge, help, since.as_secs_f64());
    }
    text.family("qpair_build_info", Type::Gauge, "The version of qpair; always 1.");
    text.sample("qpair_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
}
