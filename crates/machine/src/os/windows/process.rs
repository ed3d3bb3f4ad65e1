//! Another process, held by a handle: its number is nobody else's as long as that is open.

use std::io::{self, ErrorKind};
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::time::Duration;

use windows_sys::Win32::Foundation::{ERROR_INVALID_PARAMETER, WAIT_OBJECT_0, WAIT_TIMEOUT};
use windows_sys::Win32::System::Threading::{INFINITE, OpenProcess, PROCESS_SYNCHRONIZE, WaitForSingleObject};

use super::door::{self, Said};
use crate::os::Wish;

/// Another process, which may have ended meanwhile.
pub struct Process(OwnedHandle);

impl Process {
    /// The process that has this number now.
    ///
    /// # Errors
    /// `NotFound`: there is none. `PermissionDenied`: it belongs to somebody else.
    pub fn open(pid: u32) -> io::Result<Self> {
        // SAFETY: the call has no requirements.
        let handle = unsafe { OpenProcess(PROCESS_SYNCHRONIZE, 0, pid) };
        if !handle.is_null() {
            // SAFETY: the call above opened it for us.
            return Ok(Self(unsafe { OwnedHandle::from_raw_handle(handle) }));
        }
        match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(ERROR_INVALID_PARAMETER.cast_signed()) => {
                Err(io::Error::new(ErrorKind::NotFound, "there is no such process"))
            }
            error => Err(error),
        }
    }

    /// Tells it a wish at `door`, the address that its [`super::on_wish`] gave.
    ///
    /// # Errors
    /// `NotFound`: it has ended. Nobody answers at the door.
    pub fn ask(&self, door: &str, wish: Wish) -> io::Result<()> {
        door::tell(door, Said::Wish(wish)).map_err(|error| match self.wait(Duration::ZERO) {
            Ok(true) => io::Error::new(ErrorKind::NotFound, "there is no such process"),
            _ => error,
        })
    }

    /// Waits for its end, at most so long; false if it has not ended.
    ///
    /// # Errors
    /// None that are known of.
    pub fn wait(&self, longest: Duration) -> io::Result<bool> {
        // SAFETY: the handle is open.
        match unsafe { WaitForSingleObject(self.0.as_raw_handle(), milliseconds(longest)) } {
            WAIT_OBJECT_0 => Ok(true),
            WAIT_TIMEOUT => Ok(false),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// A time as waits take it, rounded up; never the number that means for ever.
pub(super) fn milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_nanos().div_ceil(1_000_000)).map_or(INFINITE - 1, |time| time.min(INFINITE - 1))
}
