//! Threads and cores, memory, and what the process uses.
//!
//! Windows keeps its cores in groups of at most 64. A core has the number `64 * group + place`, as in hwloc:
//!
//! ```text
//!     group 0            group 1
//!     0 1 2 ... 39       64 65 66 ... 103          a machine of 80 cores in two groups
//! ```
//!
//! A thread is bound to cores of one group (`SetThreadGroupAffinity`); CPU sets would be mere wishes. More groups than
//! one have not been run yet.

use std::cell::Cell;
use std::io;
use std::sync::OnceLock;
use std::time::Duration;

use windows_sys::Win32::Foundation::{FILETIME, HANDLE};
use windows_sys::Win32::System::ProcessStatus::{K32GetProcessMemoryInfo, PROCESS_MEMORY_COUNTERS};
use windows_sys::Win32::System::SystemInformation::{GROUP_AFFINITY, GlobalMemoryStatusEx, MEMORYSTATUSEX};
use windows_sys::Win32::System::Threading::{
    GetActiveProcessorCount, GetActiveProcessorGroupCount, GetCurrentProcess, GetCurrentThread, GetProcessAffinityMask,
    GetProcessGroupAffinity, GetProcessHandleCount, GetProcessTimes, GetThreadTimes, OpenProcess,
    PROCESS_QUERY_LIMITED_INFORMATION, SetThreadGroupAffinity,
};

use super::{done, made, since_1970};
use crate::os::{Files, Usage};

/// Cores that a group has at most: bits of its mask.
const GROUP_CORES: usize = usize::BITS as usize;

/// The cores the process was given, a mask for each group, as seen by the first that asked.
fn given() -> &'static [usize] {
    static GIVEN: OnceLock<Vec<usize>> = OnceLock::new();
    GIVEN.get_or_init(|| {
        // SAFETY: these two ask for numbers.
        let groups = unsafe { GetActiveProcessorGroupCount() };
        let count = |group| unsafe { GetActiveProcessorCount(group) } as usize;
        let mut masks: Vec<usize> = (0..groups).map(|group| lowest(count(group))).collect();
        if let Some((group, mask)) = restricted()
            && let Some(all) = masks.get(usize::from(group)).copied()
        {
            masks.fill(0);
            masks[usize::from(group)] = all & mask;
        }
        masks
    })
}

/// A mask of so many cores.
fn lowest(count: usize) -> usize {
    if count >= GROUP_CORES { usize::MAX } else { (1 << count) - 1 }
}

/// The group and the cores in it, if the process was given fewer than all (`start /affinity`, a job). Such a process
/// is in one group; one that is in several has no mask.
fn restricted() -> Option<(u16, usize)> {
    let (mut mine, mut all) = (0, 0);
    // SAFETY: the two numbers are filled.
    let known = unsafe { GetProcessAffinityMask(GetCurrentProcess(), &raw mut mine, &raw mut all) };
    if known == 0 || mine == 0 || mine == all {
        return None;
    }
    let (mut groups, mut group) = (1, 0);
    // SAFETY: there is room for one group, and `groups` says so.
    let known = unsafe { GetProcessGroupAffinity(GetCurrentProcess(), &raw mut groups, &raw mut group) };
    (known != 0 && groups == 1).then_some((group, mine))
}

thread_local! {
    /// Where the thread might run before it was pinned.
    static BEFORE: Cell<Option<GROUP_AFFINITY>> = const { Cell::new(None) };
}

/// Binds the calling thread to one core. Threads that it starts afterwards do not inherit that here.
///
/// # Errors
/// The core does not exist or is not one of [`allowed_cpus`].
pub fn pin_to(cpu: usize) -> io::Result<()> {
    let (group, mask) = (cpu / GROUP_CORES, 1 << (cpu % GROUP_CORES));
    if given().get(group).is_none_or(|cores| cores & mask == 0) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("core {cpu} is not open to this process")));
    }
    let before = bind(GROUP_AFFINITY { Mask: mask, Group: group as u16, Reserved: [0; 3] })?;
    BEFORE.set(BEFORE.get().or(Some(before)));
    Ok(())
}

/// Lets the calling thread run again where it might before it was pinned: on all cores that the process has of the
/// group in which it was started.
pub(crate) fn unpin() -> io::Result<()> {
    let Some(before) = BEFORE.get() else { return Ok(()) };
    bind(before)?;
    BEFORE.set(None);
    Ok(())
}

/// Binds the calling thread, and says what it was bound to.
fn bind(to: GROUP_AFFINITY) -> io::Result<GROUP_AFFINITY> {
    let mut before = GROUP_AFFINITY::default();
    // SAFETY: both structures are whole.
    done(unsafe { SetThreadGroupAffinity(GetCurrentThread(), &raw const to, &raw mut before) })?;
    Ok(before)
}

/// The cores that the process may use, ascending, whatever the calling thread is pinned to.
#[must_use]
pub fn allowed_cpus() -> Vec<usize> {
    let all = given().iter().enumerate();
    all.flat_map(|(group, mask)| {
        (0..GROUP_CORES).filter(move |place| mask >> place & 1 == 1).map(move |place| group * GROUP_CORES + place)
    })
    .collect()
}

/// What the process has used, all threads. Windows does not count how often it took a core away.
#[must_use]
pub fn usage() -> Usage {
    // SAFETY: a number that stands for this process, and needs not be closed.
    let process = unsafe { GetCurrentProcess() };
    times(process, GetProcessTimes).map_or_else(|_| Usage::default(), used)
}

/// What the calling thread has used.
#[must_use]
pub fn thread_usage() -> Usage {
    // SAFETY: a number that stands for the calling thread, and needs not be closed.
    let thread = unsafe { GetCurrentThread() };
    times(thread, GetThreadTimes).map_or_else(|_| Usage::default(), used)
}

/// CPU times, to about 16 ms, and what goes with them.
fn used(times: Times) -> Usage {
    let max_rss_bytes = memory().map_or(0, |memory| memory.PeakWorkingSetSize as u64);
    Usage { user: times.user, system: times.system, involuntary_switches: 0, max_rss_bytes }
}

/// When something began, since 1601, and what it has used of the cores.
struct Times {
    began: Duration,
    user: Duration,
    system: Duration,
}

/// `GetProcessTimes` or `GetThreadTimes`.
type Ask = unsafe extern "system" fn(HANDLE, *mut FILETIME, *mut FILETIME, *mut FILETIME, *mut FILETIME) -> i32;

fn times(of: HANDLE, ask: Ask) -> io::Result<Times> {
    let [mut began, mut ended, mut system, mut user] = [FILETIME::default(); 4];
    // SAFETY: the callers give a handle of the kind that is asked about; all four structures are whole.
    done(unsafe { ask(of, &raw mut began, &raw mut ended, &raw mut system, &raw mut user) })?;
    Ok(Times { began: duration(began), user: duration(user), system: duration(system) })
}

/// A time in units of 100 ns.
fn duration(time: FILETIME) -> Duration {
    Duration::from_nanos_u128(100 * u128::from(u64::from(time.dwHighDateTime) << 32 | u64::from(time.dwLowDateTime)))
}

/// The CPU time that a process has used, all threads, in user mode and in the kernel.
///
/// # Errors
/// There is no such process, or it is somebody else's.
pub fn process_cpu(pid: u32) -> io::Result<Duration> {
    use std::os::windows::io::AsRawHandle;
    // SAFETY: a handle that is not inherited, or null.
    let process = made(unsafe { OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, 0, pid) })?;
    let times = times(process.as_raw_handle(), GetProcessTimes)?;
    Ok(times.user + times.system)
}

/// What of the process' memory is resident: its working set, in bytes.
///
/// # Errors
/// The system does not say.
pub fn rss_bytes() -> io::Result<u64> {
    Ok(memory()?.WorkingSetSize as u64)
}

fn memory() -> io::Result<PROCESS_MEMORY_COUNTERS> {
    let bytes = size_of::<PROCESS_MEMORY_COUNTERS>() as u32;
    let mut memory = PROCESS_MEMORY_COUNTERS { cb: bytes, ..PROCESS_MEMORY_COUNTERS::default() };
    // SAFETY: the structure is as long as is said.
    done(unsafe { K32GetProcessMemoryInfo(GetCurrentProcess(), &raw mut memory, bytes) })?;
    Ok(memory)
}

/// The process's handles: files, sockets, threads and more. There may be as many as there is memory for.
///
/// # Errors
/// The system does not say; `Unsupported` if it does not count them (Wine).
pub fn files() -> io::Result<Files> {
    let mut open = 0;
    // SAFETY: the number is filled.
    done(unsafe { GetProcessHandleCount(GetCurrentProcess(), &raw mut open) })?;
    if open == 0 {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "this system does not count handles"));
    }
    Ok(Files { open: open.into(), most: None })
}

/// There is no limit of open files.
#[must_use]
pub fn raise_file_limit() -> Option<u64> {
    None
}

/// When the process was started, since 1970.
///
/// # Errors
/// The system does not say.
pub fn started() -> io::Result<Duration> {
    // SAFETY: a number that stands for this process, and needs not be closed.
    let times = times(unsafe { GetCurrentProcess() }, GetProcessTimes)?;
    Ok(since_1970(times.began))
}

/// The machine's memory, in bytes.
#[must_use]
pub fn total_memory() -> Option<u64> {
    Some(machine_memory()?.ullTotalPhys)
}

/// Memory that can be had now without paging, in bytes.
#[must_use]
pub fn available_memory() -> Option<u64> {
    Some(machine_memory()?.ullAvailPhys)
}

fn machine_memory() -> Option<MEMORYSTATUSEX> {
    let mut memory = MEMORYSTATUSEX { dwLength: size_of::<MEMORYSTATUSEX>() as u32, ..MEMORYSTATUSEX::default() };
    // SAFETY: the structure is as long as it says.
    done(unsafe { GlobalMemoryStatusEx(&raw mut memory) }).ok()?;
    // Wine answers zeros to a thread that asks while another one does.
    (memory.ullTotalPhys > 0).then_some(memory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_have_a_bit_for_each_core() {
        assert_eq!([0, 1, 6, 63, 64].map(lowest), [0, 1, 0b11_1111, usize::MAX >> 1, usize::MAX]);
    }

    #[test]
    fn a_pinned_thread_is_where_it_was_put_and_comes_back() {
        use windows_sys::Win32::System::Threading::{GetCurrentProcessorNumber, GetThreadGroupAffinity};
        let now = || {
            let mut now = GROUP_AFFINITY::default();
            // SAFETY: the structure is whole.
            done(unsafe { GetThreadGroupAffinity(GetCurrentThread(), &raw mut now) }).expect("of this thread");
            (now.Group, now.Mask)
        };
        std::thread::spawn(move || {
            let before = now();
            for cpu in allowed_cpus() {
                pin_to(cpu).expect("allowed");
                assert_eq!(now(), ((cpu / 64) as u16, 1 << (cpu % 64)));
                // SAFETY: it asks for a number.
                assert_eq!(unsafe { GetCurrentProcessorNumber() } as usize, cpu % 64);
            }
            unpin().expect("back");
            assert_eq!(now(), before);
        })
        .join()
        .expect("no panic");
    }
}
