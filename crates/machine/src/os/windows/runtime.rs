//! What tells this start of the machine, and a directory for running programs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use windows_sys::Wdk::System::SystemInformation::{NtQuerySystemInformation, SystemTimeOfDayInformation};

use super::error::of_status;

/// The directory `name` of this user for files of running programs, made if it is not there: in `%LOCALAPPDATA%`, which
/// only the user, the system and administrators can enter, and whose access list the directory inherits.
///
/// # Errors
/// There is no such place, or it cannot be made.
pub fn runtime_dir(name: &str) -> io::Result<PathBuf> {
    let home = std::env::var_os("LOCALAPPDATA").filter(|dir| Path::new(dir).is_absolute()).ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, "%LOCALAPPDATA% is not set to the user's own directory")
    })?;
    let path = Path::new(&home).join(name);
    fs::create_dir_all(&path)?;
    // Not through a link: what it leads to could be anybody's.
    if !fs::symlink_metadata(&path)?.is_dir() {
        let why = format!("{} is not a directory", path.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    Ok(path)
}

/// What `SystemTimeOfDayInformation` fills: times in units of 100 ns since 1601.
#[repr(C)]
#[derive(Default)]
struct TimeOfDay {
    boot: i64,
    now: i64,
    zone: i64,
    zone_number: u32,
    reserved: u32,
    /// By how much the time of the start was moved when somebody set the clock.
    boot_moved: i64,
    asleep: i64,
}

/// A number of this start of the machine: what memory held before has another one.
///
/// It is the time at which the kernel began, as the clock stood then, and the count of starts where the system keeps
/// one. Setting the clock moves the former, and the system says by how much. A machine that wakes up from hibernation,
/// as after an ordinary shutdown with "fast startup", has its memory back, and with it the number.
///
/// # Errors
/// The system does not say.
pub fn boot_id() -> io::Result<u128> {
    let (mut times, mut filled) = (TimeOfDay::default(), 0);
    let bytes = size_of::<TimeOfDay>() as u32;
    // SAFETY: the structure is as long as is said, and all bit patterns of it are numbers.
    let status = unsafe {
        let times = (&raw mut times).cast();
        NtQuerySystemInformation(SystemTimeOfDayInformation, times, bytes, &raw mut filled)
    };
    if status < 0 {
        return Err(of_status(status));
    }
    let began = times.boot.wrapping_sub(times.boot_moved).cast_unsigned();
    Ok(u128::from(began) << 64 | u128::from(starts()))
}

/// How often the machine was started (`KUSER_SHARED_DATA.BootId`); zero before Windows 8.1 and where nobody counts.
fn starts() -> u32 {
    /// Where the system shows every process the same page, and the place of the number in it: both are fixed (ntddk.h).
    const BOOT_ID: usize = 0x7ffe_0000 + 0x2c4;
    // SAFETY: the page is there in every process, for reading; the number is aligned.
    unsafe { std::ptr::with_exposed_provenance::<u32>(BOOT_ID).read_volatile() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_of_the_machine_is_in_the_past_and_always_the_same() {
        let id = boot_id().expect("the system says");
        assert_eq!(boot_id().expect("the system says"), id);
        let (began, age) = ((id >> 64) as u64 / 10_000_000, 400 * 365 * 24 * 3600);
        assert!(began > age, "{began} s after 1601 is before this was written");
    }

    #[test]
    fn the_directory_of_running_programs_is_the_user_s() {
        let path = runtime_dir("qpair-test").expect("there is a place");
        fs::write(path.join("a"), b"1").expect("it can be written to");
        assert_eq!(runtime_dir("qpair-test").expect("it is there now"), path);
        fs::remove_dir_all(&path).expect("it is ours");
    }
}
