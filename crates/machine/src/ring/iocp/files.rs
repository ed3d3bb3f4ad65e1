//! Reads and writes of files, whose ends come through the port.
//!
//! A file object belongs to one port for life, and files are shared by the rings of all reactors. So each ring opens a
//! file that it is given once more, by its handle (`ReOpenFile`): a file object of its own, for overlapped calls, with
//! the same rights, and without the cache if the first one is. The handle that was given stays as it is for all that
//! waits. A file that cannot be opened again (it is open for one user only) is left to the workers. A physical drive is
//! opened by its name: it has no file that a handle could lead to.
//!
//! ```text
//!   read, write    Run 0 ──short, or the next piece──▶ Run n ... ──▶ done      one call at a time for a task
//!   durable write, sync, zero, deallocate                          ──▶ the workers, whose calls wait
//! ```
//!
//! Each task has the place of one operation, of the number that its slot has in the ring's table. What the system has
//! done when a call returns, as it is with what it has in memory, makes no packet.

use std::cell::{Cell, UnsafeCell};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::mem::size_of;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::{AsHandle, AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr;

use windows_sys::Wdk::Storage::FileSystem::{
    FILE_INFORMATION_CLASS, FILE_NO_INTERMEDIATE_BUFFERING, FILE_WRITE_THROUGH, FileAccessInformation,
    FileModeInformation, NtQueryInformationFile,
};
use windows_sys::Win32::Foundation::{
    ERROR_HANDLE_EOF, ERROR_INVALID_PARAMETER, ERROR_IO_PENDING, GENERIC_READ, GENERIC_WRITE, HANDLE,
    INVALID_HANDLE_VALUE,
};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_FLAG_NO_BUFFERING, FILE_FLAG_OVERLAPPED, FILE_FLAG_WRITE_THROUGH, FILE_READ_DATA, FILE_SHARE_DELETE,
    FILE_SHARE_READ, FILE_SHARE_WRITE, FILE_WRITE_DATA, ReOpenFile, ReadFile, SetFileCompletionNotificationModes,
    WriteFile,
};
use windows_sys::Win32::System::IO::{CancelIoEx, IO_STATUS_BLOCK, OVERLAPPED, OVERLAPPED_0, OVERLAPPED_0_0};
use windows_sys::Win32::System::WindowsProgramming::{
    FILE_SKIP_COMPLETION_PORT_ON_SUCCESS, FILE_SKIP_SET_EVENT_ON_HANDLE,
};

use super::port::{Completions, Key, Packet, error_of, is_error};
use crate::limits::{MAX_FILE_TASKS, MAX_OVERLAPPED_BYTES};
use crate::os::{Alignment, direct_alignment, drive_path};
use crate::region::RawBytes;
use crate::ring::{FileOp, FileTask};

/// A file object of one ring.
#[derive(Debug)]
pub(in crate::ring) struct OwnFile {
    pub(super) handle: OwnedHandle,
    /// What is done when a call returns makes no packet.
    skips: bool,
    /// What direct I/O asks for, of a file without the cache. It is looked at here, as Wine takes everything: what a
    /// disk of Windows would refuse is to be found there, too.
    direct: Option<Alignment>,
}

impl OwnFile {
    /// Opens this file once more, for this port.
    pub(super) fn open(file: &File, port: &Completions) -> io::Result<Self> {
        let (granted, mode) = (query(file, FileAccessInformation)?, query_mode(file)?);
        let either = |asked: u32, known: u32, flag: u32| if asked & known != 0 { flag } else { 0 };
        let rights = either(granted, FILE_READ_DATA, GENERIC_READ) | either(granted, FILE_WRITE_DATA, GENERIC_WRITE);
        let flags = FILE_FLAG_OVERLAPPED
            | either(mode, FILE_NO_INTERMEDIATE_BUFFERING, FILE_FLAG_NO_BUFFERING)
            | either(mode, FILE_WRITE_THROUGH, FILE_FLAG_WRITE_THROUGH);
        let handle = match drive_path(file) {
            Some(path) => OpenOptions::new().access_mode(rights).custom_flags(flags).open(path)?.into(),
            None => open_again(file, rights, flags)?,
        };
        port.associate(handle.as_handle(), Key::File)?;
        let skips = skip_on_success(handle.as_raw_handle()).is_ok();
        let direct = (mode & FILE_NO_INTERMEDIATE_BUFFERING != 0).then(|| direct_alignment(file)).transpose()?;
        Ok(Self { handle, skips, direct })
    }

    /// Whether the system would refuse a call for bytes at this address.
    fn refuses(&self, bytes: &[u8], offset: u64) -> bool {
        self.direct.is_some_and(|alignment| !alignment.admits(bytes, offset))
    }

    /// Those of `CreateFile` that it was opened with, of those that a file is opened again with.
    #[cfg(test)]
    pub(super) fn flags(&self) -> io::Result<u32> {
        let mode = query_mode(&self.handle)?;
        let either = |known: u32, flag: u32| if mode & known != 0 { flag } else { 0 };
        let cached = either(FILE_NO_INTERMEDIATE_BUFFERING, FILE_FLAG_NO_BUFFERING);
        Ok(cached | either(FILE_WRITE_THROUGH, FILE_FLAG_WRITE_THROUGH))
    }

    fn handle(&self) -> HANDLE {
        self.handle.as_raw_handle()
    }
}

/// What is done when a call returns is to make no packet, and no event.
pub(super) fn skip_on_success(file: HANDLE) -> io::Result<()> {
    let modes = (FILE_SKIP_COMPLETION_PORT_ON_SUCCESS | FILE_SKIP_SET_EVENT_ON_HANDLE) as u8;
    // SAFETY: the callers' handle is open.
    let set = unsafe { SetFileCompletionNotificationModes(file, modes) };
    if set == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// How a file was opened (`FILE_MODE_INFORMATION`).
pub(super) fn query_mode(file: &impl AsRawHandle) -> io::Result<u32> {
    query(file, FileModeInformation)
}

/// Opens a file once more by its handle.
fn open_again(file: &File, rights: u32, flags: u32) -> io::Result<OwnedHandle> {
    let shared = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;
    // SAFETY: the handle is open.
    let handle = unsafe { ReOpenFile(file.as_raw_handle(), rights, shared, flags) };
    if handle == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle is new, and nobody else has it.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

/// What the system knows of an open file, in the classes that are one number.
fn query(file: &impl AsRawHandle, class: FILE_INFORMATION_CLASS) -> io::Result<u32> {
    let (mut number, mut status) = (0_u32, IO_STATUS_BLOCK::default());
    // SAFETY: the handle is open; the call fills in a number of the size that it is told, and a status.
    let result = unsafe {
        NtQueryInformationFile(
            file.as_raw_handle(),
            &raw mut status,
            (&raw mut number).cast(),
            size_of::<u32>() as u32,
            class,
        )
    };
    if is_error(result) { Err(error_of(result)) } else { Ok(number) }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Idle,
    /// The system has it.
    Pending,
}

/// The place of one operation.
#[repr(C)]
struct Operation {
    /// What the system writes to, first: a packet brings its address.
    overlapped: UnsafeCell<OVERLAPPED>,
    user_data: Cell<u64>,
    state: Cell<State>,
}

impl Operation {
    fn new() -> Self {
        let overlapped = UnsafeCell::new(OVERLAPPED::default());
        Self { overlapped, user_data: Cell::new(0), state: Cell::default() }
    }
}

/// How a call of a task ended: how many bytes it has moved.
pub(in crate::ring) struct End {
    pub(in crate::ring) user_data: u64,
    pub(in crate::ring) result: io::Result<usize>,
}

/// The operations of a port, one for each task that its ring may have.
pub(super) struct Operations {
    places: Box<[Operation]>,
    pending: usize,
    /// Those that have ended and were not taken.
    ended: Vec<End>,
}

impl Default for Operations {
    /// Without memory; it is made with the first file.
    fn default() -> Self {
        Self { places: Box::default(), pending: 0, ended: Vec::new() }
    }
}

impl Operations {
    /// Makes room for as many as there may be, once.
    pub(super) fn prepare(&mut self) {
        if self.places.is_empty() {
            self.places = (0..MAX_FILE_TASKS).map(|_| Operation::new()).collect();
            self.ended.reserve_exact(MAX_FILE_TASKS);
        }
    }

    pub(super) fn pending(&self) -> usize {
        self.pending
    }

    pub(super) fn has_ended(&self) -> bool {
        !self.ended.is_empty()
    }

    pub(super) fn pop(&mut self) -> Option<End> {
        self.ended.pop()
    }

    /// Begins to read or to write the bytes of a task from `done` on.
    ///
    /// # Safety
    /// The task's file and buffers stay as they are, and nobody uses the bytes, until [`Self::pop`] gives `user_data`
    /// back.
    pub(super) unsafe fn push(
        &mut self,
        slot: u32,
        Run { done }: Run,
        task: &mut FileTask,
        pieces: &mut Vec<RawBytes>,
        user_data: u64,
    ) {
        task.bufs.raw(done, pieces);
        let place = &self.places[slot as usize];
        assert_eq!(place.state.get(), State::Idle, "a task has one call at a time");
        place.user_data.set(user_data);
        let (FileOp::Read { offset } | FileOp::Write { offset, .. }) = task.op else { panic!("bytes to move") };
        let offset = offset + done as u64;
        let file = task.file.own().expect("opened for this engine");
        // SAFETY: the caller's promise.
        let piece = pieces.iter_mut().map(|raw| unsafe { raw.as_mut_slice() }).find(|piece| !piece.is_empty());
        let Some(piece) = piece else {
            // Only a task without any bytes gets here.
            return self.ended.push(End { user_data, result: Ok(0) });
        };
        if file.refuses(piece, offset) {
            // A read that was short, as the end of the file is not aligned, has left a rest that is not either.
            let behind = done > 0 && matches!(task.op, FileOp::Read { .. });
            let refused = || io::Error::from_raw_os_error(ERROR_INVALID_PARAMETER as i32);
            return self.ended.push(End { user_data, result: if behind { Ok(0) } else { Err(refused()) } });
        }
        let (start, len) = (piece.as_mut_ptr(), piece.len().min(MAX_OVERLAPPED_BYTES) as u32);
        let overlapped = place.overlapped.get();
        let at = OVERLAPPED_0_0 { Offset: offset as u32, OffsetHigh: (offset >> 32) as u32 };
        // SAFETY: the place is idle: the system does not use its memory, and nobody else has a reference to it. From
        // here on it and the bytes are the system's until the call has ended: the former never moves and is dropped
        // after that (`Port::drop`), the latter are the caller's promise.
        let over = unsafe {
            *overlapped = OVERLAPPED { Anonymous: OVERLAPPED_0 { Anonymous: at }, ..OVERLAPPED::default() };
            if matches!(task.op, FileOp::Read { .. }) {
                ReadFile(file.handle(), start, len, ptr::null_mut(), overlapped)
            } else {
                WriteFile(file.handle(), start, len, ptr::null_mut(), overlapped)
            }
        } != 0;
        let error = if over { None } else { Some(io::Error::last_os_error()) };
        match error {
            None if file.skips => {
                // SAFETY: the call is over, so that the system does not use the place any more.
                let moved = unsafe { (*overlapped).InternalHigh };
                self.ended.push(End { user_data, result: Ok(moved) });
            }
            Some(error) if error.raw_os_error() != Some(ERROR_IO_PENDING as i32) => {
                self.ended.push(End { user_data, result: moved(Err(error)) });
            }
            _ => {
                place.state.set(State::Pending);
                self.pending += 1;
            }
        }
    }

    /// Asks for the end of what a task has under way. Its packet still comes.
    pub(super) fn cancel(&self, slot: u32, file: &OwnFile) {
        let place = &self.places[slot as usize];
        if place.state.get() == State::Pending {
            // SAFETY: the handle is open; the address tells which operation is meant and is not followed.
            unsafe { CancelIoEx(file.handle(), place.overlapped.get()) };
        }
    }

    /// A packet has come.
    pub(super) fn came_back(&mut self, packet: &Packet) {
        let first = self.places.as_ptr().addr();
        let number = (packet.context().addr() - first) / size_of::<Operation>();
        let place = &self.places[number];
        assert_eq!(place.state.replace(State::Idle), State::Pending, "an operation ends once");
        self.pending -= 1;
        let status = packet.status();
        let result = if is_error(status) { moved(Err(error_of(status))) } else { Ok(packet.bytes()) };
        self.ended.push(End { user_data: place.user_data.get(), result });
    }
}

/// Bytes that were moved; behind the end of a file there are none.
fn moved(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(error) if error.raw_os_error() == Some(ERROR_HANDLE_EOF as i32) => Ok(0),
        other => other,
    }
}

/// Where a task is: so many of its bytes are moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ring) struct Run {
    done: usize,
}

impl Run {
    /// None of them yet, of a task that goes by the port; the workers do the others.
    pub(in crate::ring) fn of(op: &FileOp) -> Option<Self> {
        matches!(op, FileOp::Read { .. } | FileOp::Write { dsync: false, .. }).then_some(Self { done: 0 })
    }

    /// A call has ended so: what comes next, or how the task ends.
    pub(in crate::ring) fn next(self, op: &FileOp, len: usize, result: io::Result<usize>, cancelled: bool) -> Step {
        let moved = match result {
            Ok(moved) => moved,
            Err(error) => return Step::Done(Err(error)),
        };
        let done = self.done + moved;
        match (moved, op) {
            _ if done >= len => Step::Done(Ok(())),
            (0, FileOp::Read { .. }) => Step::Done(Err(ErrorKind::UnexpectedEof.into())),
            (0, _) => Step::Done(Err(ErrorKind::WriteZero.into())),
            _ if cancelled => Step::Done(Err(io::Error::from_raw_os_error(crate::os::CANCELLED))),
            _ => Step::Go(Self { done }),
        }
    }
}

/// What comes after a call.
pub(in crate::ring) enum Step {
    Go(Run),
    Done(io::Result<()>),
}
