//! What the kernel has, and why not.

use std::fs;
use std::io;

use io_uring::{IoUring, Probe, opcode};

use super::{NoUring, Polling};
use crate::limits::{FILE_WORKERS, SQPOLL_IDLE_MS, URING_ENTRIES};
use crate::os;

/// A ring with all that is needed of it, or the reason why there is none.
pub(super) fn build(polling: Polling) -> Result<IoUring, NoUring> {
    let mut builder = IoUring::builder();
    builder.setup_single_issuer().setup_submit_all();
    if polling.sqpoll {
        builder.setup_sqpoll(SQPOLL_IDLE_MS);
    } else {
        builder.setup_defer_taskrun().setup_taskrun_flag();
    }
    if polling.iopoll {
        builder.setup_iopoll();
    }
    let ring = builder.build(URING_ENTRIES as u32).map_err(|error| explain(&error, disabled(), WITHOUT))?;
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe).map_err(|error| explain(&error, disabled(), WITHOUT))?;
    let needed = [
        ("READ", opcode::Read::CODE),
        ("WRITE", opcode::Write::CODE),
        ("READ_FIXED", opcode::ReadFixed::CODE),
        ("WRITE_FIXED", opcode::WriteFixed::CODE),
        ("FSYNC", opcode::Fsync::CODE),
        ("FALLOCATE", opcode::Fallocate::CODE),
        ("POLL_ADD", opcode::PollAdd::CODE),
        ("ASYNC_CANCEL", opcode::AsyncCancel::CODE),
    ];
    let missing: Vec<_> = needed.into_iter().filter(|&(_, code)| !probe.is_supported(code)).collect();
    if let Some((name, _)) = missing.first() {
        return Err(NoUring { why: format!("the kernel's has no operation {name}"), hint: newer(WITHOUT) });
    }
    if !ring.params().is_feature_ext_arg() || !ring.params().is_feature_nodrop() {
        return Err(NoUring { why: "the kernel's cannot wait for a limited time".to_owned(), hint: newer(WITHOUT) });
    }
    Ok(ring)
}

/// What does without it.
const WITHOUT: &str = "--ring portable";

fn newer(without: &str) -> String {
    format!("Linux 6.1 or newer has all that is needed. Without it, {without} serves as well, slower.")
}

/// What an error of a ring's setup says about the system; `without` does without one.
pub(crate) fn explain_uring(error: &io::Error, without: &str) -> NoUring {
    explain(error, disabled(), without)
}

/// The operator's switch, if the kernel has it: 0 is on, 1 for the privileged, 2 off.
fn disabled() -> Option<u32> {
    fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?.trim().parse().ok()
}

/// What an error of `io_uring_setup` says about the system.
fn explain(error: &io::Error, disabled: Option<u32>, without: &str) -> NoUring {
    let newer = newer(without);
    let say = |why: &str, hint: &str| NoUring { why: why.to_owned(), hint: hint.to_owned() };
    match (error.raw_os_error(), disabled) {
        (Some(libc::ENOSYS), _) => say("the kernel has none, or a container's seccomp filter hides it", &newer),
        (Some(libc::EPERM), Some(2)) => say(
            "kernel.io_uring_disabled is 2: it is switched off for everybody",
            "Switch it on: sysctl kernel.io_uring_disabled=0",
        ),
        (Some(libc::EPERM), Some(1)) => say(
            "kernel.io_uring_disabled is 1: it is switched off for users without CAP_SYS_ADMIN",
            "Add the user to the group of kernel.io_uring_group, or: sysctl kernel.io_uring_disabled=0",
        ),
        (Some(libc::EPERM | libc::EACCES), _) => say(
            "it is forbidden here, probably by a container's seccomp filter",
            "Allow io_uring_setup, io_uring_enter and io_uring_register in the container's seccomp profile.",
        ),
        (Some(libc::EINVAL), _) => say("the kernel is too old for the way it is used (DEFER_TASKRUN)", &newer),
        (Some(libc::ENOMEM), _) => say(
            "there is no memory for its queues, or none that may be locked",
            "Raise the limit of locked memory: ulimit -l unlimited, or LimitMEMLOCK=infinity in a systemd unit.",
        ),
        (Some(libc::EMFILE | libc::ENFILE), _) => {
            say("there is no file descriptor left", "Raise the limit of open files: ulimit -n 65536.")
        }
        _ => NoUring { why: error.to_string(), hint: format!("{without} does without it.") },
    }
}

/// The kernel's own threads, for what would block: as many as the portable ring has, on all cores of the process,
/// wherever this thread is pinned. It goes on without, if the kernel does not want to.
pub(super) fn set_workers(ring: &IoUring) {
    if let Err(error) = try_workers(ring) {
        tracing::debug!(%error, "io_uring's threads stay as the kernel makes them");
    }
}

pub(super) fn try_workers(ring: &IoUring) -> io::Result<()> {
    let submitter = ring.submitter();
    // SAFETY: a set of bits, of which none is set.
    let mut cpus: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for cpu in os::allowed_cpus() {
        // SAFETY: the macro checks the bounds of the set.
        unsafe { libc::CPU_SET(cpu, &mut cpus) };
    }
    submitter.register_iowq_aff(&cpus)?;
    submitter.register_iowq_max_workers(&mut [FILE_WORKERS as u32, 0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_says_what_to_do() {
        let say = |code, disabled| explain(&io::Error::from_raw_os_error(code), disabled, WITHOUT);
        for (code, disabled, why, hint) in [
            (libc::ENOSYS, None, "seccomp", "6.1"),
            (libc::EPERM, Some(2), "kernel.io_uring_disabled is 2", "sysctl kernel.io_uring_disabled=0"),
            (libc::EPERM, Some(1), "CAP_SYS_ADMIN", "kernel.io_uring_group"),
            (libc::EPERM, Some(0), "seccomp", "io_uring_setup"),
            (libc::EINVAL, Some(0), "too old", "6.1"),
            (libc::ENOMEM, None, "locked", "ulimit -l"),
            (libc::EMFILE, None, "descriptor", "ulimit -n"),
            (libc::EIO, None, "os error 5", "--ring portable"),
        ] {
            let said = say(code, disabled);
            assert!(said.why.contains(why) && said.hint.contains(hint), "{code}: {said}");
        }
    }
}
