//! A named pipe that processes of the same user, and administrators, reach one by: `\\.\pipe\qpair-PID`.
//!
//! There is one end for callers, so they come one after the other. Each call has a time: one who says nothing does not
//! keep the others out for ever. A call of the system that could wait is one that can be cancelled (overlapped).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr;
use std::thread;
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::{
    ERROR_BROKEN_PIPE, ERROR_IO_PENDING, ERROR_NO_DATA, ERROR_PIPE_BUSY, ERROR_PIPE_CONNECTED, HANDLE,
    INVALID_HANDLE_VALUE, WAIT_OBJECT_0,
};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_FLAG_FIRST_PIPE_INSTANCE, FILE_FLAG_OVERLAPPED, PIPE_ACCESS_DUPLEX, ReadFile, SECURITY_IDENTIFICATION,
    WriteFile,
};
use windows_sys::Win32::System::IO::{CancelIoEx, GetOverlappedResult, OVERLAPPED};
use windows_sys::Win32::System::Pipes::{
    ConnectNamedPipe, CreateNamedPipeW, DisconnectNamedPipe, GetNamedPipeServerProcessId, PIPE_READMODE_BYTE,
    PIPE_REJECT_REMOTE_CLIENTS, PIPE_TYPE_BYTE, PIPE_WAIT,
};
use windows_sys::Win32::System::Threading::{CreateEventW, INFINITE, WaitForSingleObject};
use windows_sys::core::BOOL;

use super::process::milliseconds;
use super::security::{Private, wide};
use crate::limits::DOOR_LINE_BYTES;

/// How often a caller looks whether the one before has gone.
const BUSY_INTERVAL: Duration = Duration::from_millis(5);

/// The end that is called.
pub(super) struct Pipe {
    pipe: OwnedHandle,
    /// Raised when the one call of the system that is under way is done.
    event: OwnedHandle,
}

/// Somebody who calls, until this is dropped.
pub(super) struct Caller<'a>(&'a Pipe);

fn name(pid: u32) -> String {
    format!(r"\\.\pipe\qpair-{pid}")
}

fn is(error: &io::Error, code: u32) -> bool {
    error.raw_os_error() == Some(code.cast_signed())
}

impl Pipe {
    /// The pipe of this process.
    ///
    /// # Errors
    /// Somebody else has one of this name; the system's.
    pub(super) fn new() -> io::Result<Self> {
        let private = Private::new()?;
        let (attributes, size) = (private.attributes(), DOOR_LINE_BYTES as u32);
        // SAFETY: the name has its end, and the attributes live until the call is over.
        let pipe = unsafe {
            CreateNamedPipeW(
                wide(&name(std::process::id())).as_ptr(),
                PIPE_ACCESS_DUPLEX | FILE_FLAG_FIRST_PIPE_INSTANCE | FILE_FLAG_OVERLAPPED,
                PIPE_TYPE_BYTE | PIPE_READMODE_BYTE | PIPE_WAIT | PIPE_REJECT_REMOTE_CLIENTS,
                1,
                size,
                size,
                0,
                &raw const attributes,
            )
        };
        if pipe == INVALID_HANDLE_VALUE {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call above opened it for us.
        let pipe = unsafe { OwnedHandle::from_raw_handle(pipe) };
        // SAFETY: neither attributes nor a name are needed. Reset by hand, as the documentation asks of such events.
        let event = unsafe { CreateEventW(ptr::null(), 1, 0, ptr::null()) };
        if event.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call above opened it for us.
        Ok(Self { pipe, event: unsafe { OwnedHandle::from_raw_handle(event) } })
    }

    /// Waits for somebody who calls.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn accept(&mut self) -> io::Result<Caller<'_>> {
        loop {
            // SAFETY: the handle is open, and `run` keeps the structure until the call is over.
            match self.run(None, |pipe, overlapped| unsafe { ConnectNamedPipe(pipe, overlapped) }) {
                Ok(_) => break,
                Err(error) if is(&error, ERROR_PIPE_CONNECTED) => break,
                // Called, and gone again.
                Err(error) if is(&error, ERROR_NO_DATA) => drop(Caller(self)),
                Err(error) => return Err(error),
            }
        }
        Ok(Caller(self))
    }

    /// Starts a call of the system and waits for its end, at most so long: then it is cancelled. The bytes it moved.
    fn run(&self, longest: Option<Duration>, start: impl FnOnce(HANDLE, *mut OVERLAPPED) -> BOOL) -> io::Result<usize> {
        let (pipe, event) = (self.pipe.as_raw_handle(), self.event.as_raw_handle());
        let mut overlapped = OVERLAPPED { hEvent: event, ..OVERLAPPED::default() };
        let overlapped = &raw mut overlapped;
        if start(pipe, overlapped) == 0 {
            let error = io::Error::last_os_error();
            if !is(&error, ERROR_IO_PENDING) {
                return Err(error);
            }
            // SAFETY: both handles are open. A call that has ended meanwhile cannot be cancelled, and needs not to.
            unsafe {
                if WaitForSingleObject(event, longest.map_or(INFINITE, milliseconds)) != WAIT_OBJECT_0 {
                    CancelIoEx(pipe, overlapped);
                }
            }
        }
        let mut bytes = 0;
        // SAFETY: the call was started with this structure. This one waits (1) until the system is done with it.
        match unsafe { GetOverlappedResult(pipe, overlapped, &raw mut bytes, 1) } {
            0 => Err(io::Error::last_os_error()),
            _ => Ok(bytes as usize),
        }
    }
}

impl Caller<'_> {
    /// Reads what is there, or waits for it, at most so long. 0: the caller has gone.
    ///
    /// # Errors
    /// `TimedOut`, or the system's.
    pub(super) fn read(&mut self, bytes: &mut [u8], longest: Duration) -> io::Result<usize> {
        let (to, length) = (bytes.as_mut_ptr(), bytes.len() as u32);
        // SAFETY: `run` returns when the system writes to `bytes` no more.
        let read = self
            .0
            .run(Some(longest), |pipe, overlapped| unsafe { ReadFile(pipe, to, length, ptr::null_mut(), overlapped) });
        match read {
            Err(error) if is(&error, ERROR_BROKEN_PIPE) => Ok(0),
            read => read,
        }
    }

    /// Writes all of a few bytes.
    ///
    /// # Errors
    /// `TimedOut`, or the system's: the caller has gone.
    pub(super) fn write(&mut self, bytes: &[u8], longest: Duration) -> io::Result<()> {
        // SAFETY: `run` returns when the system reads from `bytes` no more.
        let written = self.0.run(Some(longest), |pipe, overlapped| unsafe {
            WriteFile(pipe, bytes.as_ptr(), bytes.len() as u32, ptr::null_mut(), overlapped)
        })?;
        if written == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }
}

impl Drop for Caller<'_> {
    fn drop(&mut self) {
        // SAFETY: the handle is open. What the caller has not read is lost, but there is nobody left to read it.
        unsafe { DisconnectNamedPipe(self.0.pipe.as_raw_handle()) };
    }
}

/// Calls a process: a file that lines are written to and read from. While others call it, this waits, at most so long.
///
/// # Errors
/// There is no such pipe, it is not that process' pipe, or it is in use all the time.
pub(super) fn call(pid: u32, longest: Duration) -> io::Result<File> {
    let until = Instant::now() + longest;
    loop {
        // Who answers may know who we are, but not act as us.
        match OpenOptions::new().read(true).write(true).security_qos_flags(SECURITY_IDENTIFICATION).open(name(pid)) {
            Err(error) if is(&error, ERROR_PIPE_BUSY) && Instant::now() < until => thread::sleep(BUSY_INTERVAL),
            Ok(file) if server(&file)? != pid => {
                return Err(io::Error::other(format!("{} belongs to another process", name(pid))));
            }
            done => return done,
        }
    }
}

/// The process that made the pipe.
fn server(file: &File) -> io::Result<u32> {
    let mut pid = 0;
    // SAFETY: the handle is open; `pid` is what the call fills.
    match unsafe { GetNamedPipeServerProcessId(file.as_raw_handle(), &raw mut pid) } {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(pid),
    }
}
