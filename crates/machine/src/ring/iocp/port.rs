//! The system's end of a completion port: packets are taken from it, many at once, and posted to it.

use std::ffi::c_void;
use std::io;
use std::os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::ptr;
use std::time::Duration;

use windows_sys::Win32::Foundation::{HANDLE, INVALID_HANDLE_VALUE, RtlNtStatusToDosError, WAIT_TIMEOUT};
use windows_sys::Win32::System::IO::{
    CreateIoCompletionPort, GetQueuedCompletionStatusEx, OVERLAPPED, OVERLAPPED_ENTRY, PostQueuedCompletionStatus,
};
use windows_sys::Win32::System::Threading::INFINITE;

use crate::limits::MAX_EVENTS;

/// Whose packet it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// Of a waker: it only ends a wait.
    Wake,
    /// Of a poll request.
    Poll,
    /// Of a call for a file.
    File,
}

impl Key {
    const ALL: [Self; 3] = [Self::Wake, Self::Poll, Self::File];
}

/// The end of an operation.
pub(super) struct Packet(OVERLAPPED_ENTRY);

impl Packet {
    pub(super) fn key(&self) -> Key {
        // Nobody else has the port.
        Key::ALL[self.0.lpCompletionKey]
    }

    /// What the operation was begun with.
    pub(super) fn context(&self) -> *mut OVERLAPPED {
        self.0.lpOverlapped
    }

    /// Bytes that were moved.
    pub(super) fn bytes(&self) -> usize {
        self.0.dwNumberOfBytesTransferred as usize
    }

    /// An `NTSTATUS`.
    pub(super) fn status(&self) -> i32 {
        self.0.Internal as i32
    }
}

/// Room for the packets that are taken at once, made with its first use.
#[derive(Default)]
pub(super) struct Packets {
    packets: Vec<OVERLAPPED_ENTRY>,
}

impl Packets {
    pub(super) fn iter(&self) -> impl Iterator<Item = Packet> + '_ {
        self.packets.iter().map(|entry| Packet(*entry))
    }
}

/// The port. Any thread may post to it.
pub(super) struct Completions(OwnedHandle);

impl Completions {
    /// A port that one thread at a time waits for.
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: no file is given, so that the call makes a port and uses no other argument than the last.
        let port = unsafe { CreateIoCompletionPort(INVALID_HANDLE_VALUE, ptr::null_mut(), 0, 1) };
        if port.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the handle is new, and nobody else has it.
        Ok(Self(unsafe { OwnedHandle::from_raw_handle(port) }))
    }

    fn handle(&self) -> HANDLE {
        self.0.as_raw_handle()
    }

    /// Has the operations of this file end here, for the rest of its life.
    pub(super) fn associate(&self, file: BorrowedHandle<'_>, key: Key) -> io::Result<()> {
        // SAFETY: both handles are open.
        let same = unsafe { CreateIoCompletionPort(file.as_raw_handle(), self.handle(), key as usize, 0) };
        if same.is_null() { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Takes what there is, or waits for it; `None` is for ever.
    pub(super) fn take(&self, packets: &mut Packets, timeout: Option<Duration>) -> io::Result<()> {
        let Packets { packets } = packets;
        packets.clear();
        packets.reserve_exact(MAX_EVENTS);
        let mut taken = 0;
        // SAFETY: the port is open, and there is room for so many entries.
        let there = unsafe {
            GetQueuedCompletionStatusEx(
                self.handle(),
                packets.as_mut_ptr(),
                MAX_EVENTS as u32,
                &raw mut taken,
                milliseconds(timeout),
                0,
            )
        };
        if there == 0 {
            let error = io::Error::last_os_error();
            return if error.raw_os_error() == Some(WAIT_TIMEOUT as i32) { Ok(()) } else { Err(error) };
        }
        // SAFETY: so many have been filled in.
        unsafe { packets.set_len(taken as usize) };
        Ok(())
    }

    /// Puts a packet into the port that is of no operation.
    pub(super) fn post(&self, key: Key) -> io::Result<()> {
        // SAFETY: the port is open; the context is not looked at, by the system or by us.
        let posted = unsafe { PostQueuedCompletionStatus(self.handle(), 0, key as usize, ptr::null_mut()) };
        if posted == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// As the system wants it, rounded up.
fn milliseconds(timeout: Option<Duration>) -> u32 {
    let Some(timeout) = timeout else { return INFINITE };
    u32::try_from(timeout.as_nanos().div_ceil(1_000_000)).map_or(INFINITE - 1, |time| time.min(INFINITE - 1))
}

/// Whether an `NTSTATUS` is of the severity *error*.
pub(super) fn is_error(status: i32) -> bool {
    status as u32 >= 0xc000_0000
}

/// The error of Win32 that an `NTSTATUS` is.
pub(super) fn error_of(status: i32) -> io::Error {
    // SAFETY: it takes a number.
    io::Error::from_raw_os_error(unsafe { RtlNtStatusToDosError(status) } as i32)
}

/// A number where the system has a pointer that it only hands back.
pub(super) fn number_as_context(number: u32) -> *mut c_void {
    ptr::without_provenance_mut(number as usize + 1)
}

/// The number that such a context was.
pub(super) fn context_as_number(context: *mut OVERLAPPED) -> u32 {
    context.addr() as u32 - 1
}
