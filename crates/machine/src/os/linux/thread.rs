//! Threads, cores and memory: what there is, and what the process uses.

use std::fs;
use std::io;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::os::{Files, SocketBuffers, Usage};

/// The cores the process was given, as seen by the first thread that asked; pinning asks before it pins.
fn given() -> io::Result<CpuSet> {
    static GIVEN: OnceLock<CpuSet> = OnceLock::new();
    if let Some(given) = GIVEN.get() {
        return Ok(*given);
    }
    let now = sched_getaffinity(None)?;
    Ok(*GIVEN.get_or_init(|| now))
}

/// Binds the calling thread to one core. Threads that it starts afterwards inherit that.
///
/// # Errors
/// The core does not exist or is not one of [`allowed_cpus`].
pub fn pin_to(cpu: usize) -> io::Result<()> {
    let given = given()?;
    if cpu >= CpuSet::MAX_CPU || !given.is_set(cpu) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("core {cpu} is not open to this process")));
    }
    let mut one = CpuSet::new();
    one.set(cpu);
    Ok(sched_setaffinity(None, &one)?)
}

/// Lets the calling thread run on all cores of the process again.
pub(crate) fn unpin() -> io::Result<()> {
    Ok(sched_setaffinity(None, &given()?)?)
}

/// The cores that the process may use (its cpuset or `taskset`), ascending, whatever the calling thread is pinned to.
#[must_use]
pub fn allowed_cpus() -> Vec<usize> {
    // The call fails only with a mask that is too short: more than 1,024 cores. Core 0 is a cautious answer.
    given().map_or_else(|_| vec![0], |given| (0..CpuSet::MAX_CPU).filter(|&cpu| given.is_set(cpu)).collect())
}

/// What the process has used, all threads.
#[must_use]
pub fn usage() -> Usage {
    rusage(libc::RUSAGE_SELF)
}

/// What the calling thread has used.
#[must_use]
pub fn thread_usage() -> Usage {
    rusage(libc::RUSAGE_THREAD)
}

fn rusage(who: libc::c_int) -> Usage {
    let mut raw = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is to a whole `rusage`, which the kernel fills.
    let result = unsafe { libc::getrusage(who, raw.as_mut_ptr()) };
    assert_eq!(result, 0, "getrusage fails only for a wrong `who` or pointer");
    // SAFETY: zeroed before, filled since; all bit patterns of its integers are valid.
    let raw = unsafe { raw.assume_init() };
    let time = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec.unsigned_abs()) + Duration::from_micros(time.tv_usec.unsigned_abs())
    };
    Usage {
        user: time(raw.ru_utime),
        system: time(raw.ru_stime),
        involuntary_switches: raw.ru_nivcsw.unsigned_abs(),
        // In KiB on Linux.
        max_rss_bytes: raw.ru_maxrss.unsigned_abs() * 1024,
    }
}

/// The resident set of the process now, in bytes.
///
/// # Errors
/// `/proc` is not there.
pub fn rss_bytes() -> io::Result<u64> {
    proc_bytes("/proc/self/status", "VmRSS:")
}

/// The process's file descriptors.
///
/// # Errors
/// `/proc` is not there.
pub fn files() -> io::Result<Files> {
    // The one that reads the directory is among them.
    let open = fs::read_dir("/proc/self/fd")?.count() as u64 - 1;
    Ok(Files { open, most: rustix::process::getrlimit(rustix::process::Resource::Nofile).current })
}

/// Lets the process have as many open files as it may allow itself (the hard limit of `RLIMIT_NOFILE`): how many that
/// is; `None` without a limit. Programs that it starts inherit it.
#[must_use]
pub fn raise_file_limit() -> Option<u64> {
    use rustix::process::{Resource::Nofile, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Nofile);
    // The kernel has a limit of its own for "no limit", and refuses it then.
    match setrlimit(Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(_) => current,
    }
}

/// When the process was started, since 1970.
///
/// # Errors
/// `/proc` is not there, or has another form.
pub fn started() -> io::Result<Duration> {
    let [ticks] = stat_ticks("/proc/self/stat", [22])?;
    let boot = fs::read_to_string("/proc/stat")?;
    let boot = boot.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<u64>().ok());
    Ok(Duration::from_secs(boot.ok_or_else(strange)?) + ticks)
}

/// The CPU time that a process has used, all threads, in user mode and in the kernel; to 10 ms.
///
/// # Errors
/// There is no such process, or no `/proc`.
pub fn process_cpu(pid: u32) -> io::Result<Duration> {
    let [user, system] = stat_ticks(&format!("/proc/{pid}/stat"), [14, 15])?;
    Ok(user + system)
}

/// Times from a `stat` file, by their numbers in proc(5).
fn stat_ticks<const N: usize>(file: &str, fields: [usize; N]) -> io::Result<[Duration; N]> {
    /// Times of proc(5) count in these on every Linux that runs today: USER_HZ is part of its interface.
    const TICKS_PER_SECOND: u64 = 100;
    let stat = fs::read_to_string(file)?;
    // The name, which is the second field, is in parentheses and may hold anything: count from behind it.
    let rest: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let mut times = [Duration::ZERO; N];
    for (time, field) in times.iter_mut().zip(fields) {
        let ticks = rest.get(field - 3).and_then(|ticks| ticks.parse::<u64>().ok()).ok_or_else(strange)?;
        *time = Duration::from_millis(ticks * (1000 / TICKS_PER_SECOND));
    }
    Ok(times)
}

fn strange() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "/proc has another form")
}

/// The machine's memory, in bytes. `None`: `/proc` is not there.
#[must_use]
pub fn total_memory() -> Option<u64> {
    proc_bytes("/proc/meminfo", "MemTotal:").ok()
}

/// Memory that can be had now without swapping, in bytes. `None`: `/proc` is not there.
#[must_use]
pub fn available_memory() -> Option<u64> {
    proc_bytes("/proc/meminfo", "MemAvailable:").ok()
}

/// The number of a line such as `VmRSS:  1234 kB`, in bytes.
fn proc_bytes(file: &str, name: &str) -> io::Result<u64> {
    let text = fs::read_to_string(file)?;
    let kib = text.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix("kB")?.trim().parse().ok());
    kib.map(|kib: u64| kib * 1024)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("no {name} in {file}")))
}

/// The limits of `SO_SNDBUF` and `SO_RCVBUF`; zero where they cannot be read.
pub(crate) fn largest_socket_buffers() -> SocketBuffers {
    static LARGEST: OnceLock<SocketBuffers> = OnceLock::new();
    let read = |name| fs::read_to_string(name).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    *LARGEST.get_or_init(|| SocketBuffers {
        send: read("/proc/sys/net/core/wmem_max"),
        receive: read("/proc/sys/net/core/rmem_max"),
    })
}
