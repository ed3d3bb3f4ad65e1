//! Poll requests: how a port learns that a socket is worth another call.
//!
//! ```text
//!   Idle ──ask──▶ Pending ──packet──▶ Idle         the event goes to the socket's token
//!                    │
//!                 forget: cancelled
//!                    ▼
//!                 Orphan ──packet──▶ (free)        the event goes nowhere
//! ```
//!
//! A request asks the driver below Winsock (`\Device\Afd`, `IOCTL_AFD_POLL`) for the first of some conditions of a
//! socket. It is answered at once if one of them holds, and else when one comes to hold. Each socket has two, one for
//! each direction: so neither has to be called back to ask for more, and never are there two of a kind.
//!
//! The driver is spoken to through handles of our own. The requests of one handle wait for each other for a moment in
//! the driver; as in the event loops of others, no more than [`CHUNK`] share one.

use std::cell::{Cell, UnsafeCell};
use std::io;
use std::mem::size_of;
use std::os::windows::io::{AsHandle, AsRawHandle, FromRawHandle, OwnedHandle, RawSocket};
use std::ptr;

use mio::Token;
use windows_sys::Wdk::Foundation::OBJECT_ATTRIBUTES;
use windows_sys::Wdk::Storage::FileSystem::{FILE_OPEN, NtCancelIoFileEx, NtCreateFile};
use windows_sys::Wdk::System::IO::NtDeviceIoControlFile;
use windows_sys::Win32::Foundation::{HANDLE, STATUS_PENDING, UNICODE_STRING};
use windows_sys::Win32::Networking::WinSock::{SIO_BASE_HANDLE, SOCKET, SOCKET_ERROR, WSAGetLastError, WSAIoctl};
use windows_sys::Win32::Storage::FileSystem::{FILE_SHARE_READ, FILE_SHARE_WRITE, SYNCHRONIZE};
use windows_sys::Win32::System::IO::IO_STATUS_BLOCK;

use super::port::{Completions, Key, Packet, context_as_number, error_of, is_error, number_as_context};
#[cfg(doc)]
use super::slab::CHUNK;
use super::slab::Slab;
use crate::ring::interest::Happened;

const IOCTL_AFD_POLL: u32 = 0x0001_2024;

/// Conditions of a socket.
mod condition {
    pub(super) const RECEIVE: u32 = 0x001;
    pub(super) const SEND: u32 = 0x004;
    /// The peer has closed its side.
    pub(super) const DISCONNECT: u32 = 0x008;
    /// The connection was reset.
    pub(super) const ABORT: u32 = 0x010;
    /// The socket was closed here.
    pub(super) const LOCAL_CLOSE: u32 = 0x020;
    pub(super) const ACCEPT: u32 = 0x080;
    pub(super) const CONNECT_FAIL: u32 = 0x100;
    pub(super) const BROKEN: u32 = ABORT | LOCAL_CLOSE | CONNECT_FAIL;
}

/// What the driver takes and fills in; it has a list, which is always of one socket here.
#[repr(C)]
struct PollInfo {
    /// In 100 ns; the largest value is never.
    timeout: i64,
    sockets: u32,
    /// Whether other requests of the same socket are to be called back.
    exclusive: u32,
    socket: HANDLE,
    conditions: u32,
    status: i32,
}

const _: () = assert!(size_of::<PollInfo>() == 32, "as the driver has it");

/// What the system writes to while a request is under way.
#[repr(C)]
struct Shared {
    status: IO_STATUS_BLOCK,
    info: PollInfo,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Nothing is under way.
    #[default]
    Idle,
    Pending,
    /// Under way, for a socket that is gone.
    Orphan,
}

/// The place of one request.
struct Request {
    shared: UnsafeCell<Shared>,
    state: Cell<State>,
    token: Cell<Token>,
}

impl Default for Request {
    fn default() -> Self {
        let info =
            PollInfo { timeout: i64::MAX, sockets: 1, exclusive: 0, socket: ptr::null_mut(), conditions: 0, status: 0 };
        let shared = UnsafeCell::new(Shared { status: IO_STATUS_BLOCK::default(), info });
        Self { shared, state: Cell::default(), token: Cell::new(Token(0)) }
    }
}

/// What is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Readable,
    Writable,
}

impl Wanted {
    fn conditions(self) -> u32 {
        match self {
            Self::Readable => condition::RECEIVE | condition::DISCONNECT | condition::ACCEPT | condition::BROKEN,
            // A peer that has closed its side may still be sent to.
            Self::Writable => condition::SEND | condition::BROKEN,
        }
    }
}

/// A socket as the port knows it. Not given back by itself: see [`Polls::forget`].
pub(crate) struct Watch {
    /// The one below all layers that may lie between Winsock and the driver.
    socket: SOCKET,
    token: Token,
    /// The numbers of its requests.
    reading: u32,
    writing: Cell<Option<u32>>,
}

impl Watch {
    pub(super) fn token(&self) -> Token {
        self.token
    }
}

/// A handle of the driver.
type Driver = OwnedHandle;

/// The poll requests of a port.
#[derive(Default)]
pub(super) struct Polls {
    requests: Slab<Request, Driver>,
    /// Those that the system has.
    pending: usize,
}

impl Polls {
    pub(super) fn pending(&self) -> usize {
        self.pending
    }

    #[cfg(test)]
    pub(super) fn taken(&self) -> usize {
        self.requests.taken()
    }

    /// A new socket, with a request for what there is to receive.
    pub(super) fn watch(&mut self, port: &Completions, socket: RawSocket, token: Token) -> io::Result<Watch> {
        let socket = base(socket as SOCKET)?;
        let reading = self.requests.take(|| open_driver(port))?;
        let watch = Watch { socket, token, reading, writing: Cell::new(None) };
        self.ask(port, &watch, Wanted::Readable).inspect_err(|_| self.requests.give_back(reading))?;
        Ok(watch)
    }

    /// Has the system tell of this, unless it has been asked already. False: it is so now, and a packet says so.
    pub(super) fn ask(&mut self, port: &Completions, watch: &Watch, wanted: Wanted) -> io::Result<bool> {
        let number = match (wanted, watch.writing.get()) {
            (Wanted::Readable, _) => watch.reading,
            (Wanted::Writable, Some(number)) => number,
            (Wanted::Writable, None) => {
                let number = self.requests.take(|| open_driver(port))?;
                watch.writing.set(Some(number));
                number
            }
        };
        let (request, driver) = self.requests.get(number);
        if request.state.get() == State::Pending {
            return Ok(true);
        }
        assert_eq!(request.state.get(), State::Idle, "a request of a socket that is gone");
        request.token.set(watch.token);
        let shared = request.shared.get();
        // SAFETY: the request is idle, so that the system does not use its memory, and nobody else has a reference to
        // it. From here on it is the system's until the packet has come: it lies in a slab, which keeps it in its place
        // and is not dropped before (`Port::drop`), and the slot has no other use while its state is not idle.
        let status = unsafe {
            (*shared).info = PollInfo {
                timeout: i64::MAX,
                sockets: 1,
                exclusive: 0,
                socket: watch.socket as HANDLE,
                conditions: wanted.conditions(),
                status: 0,
            };
            let info = (&raw mut (*shared).info).cast();
            let bytes = size_of::<PollInfo>() as u32;
            NtDeviceIoControlFile(
                driver.as_raw_handle(),
                ptr::null_mut(),
                None,
                number_as_context(number),
                &raw mut (*shared).status,
                IOCTL_AFD_POLL,
                info,
                bytes,
                info,
                bytes,
            )
        };
        if is_error(status) {
            return Err(error_of(status));
        }
        // Also if the answer is there already: a packet brings it.
        request.state.set(State::Pending);
        self.pending += 1;
        Ok(status == STATUS_PENDING)
    }

    /// A request has ended: what it tells, if anybody wants to know.
    pub(super) fn came_back(&mut self, packet: &Packet) -> Option<(Token, Happened)> {
        let number = context_as_number(packet.context());
        let (request, _) = self.requests.get(number);
        self.pending -= 1;
        match request.state.replace(State::Idle) {
            State::Idle => panic!("a request ends once"),
            State::Orphan => {
                self.requests.give_back(number);
                return None;
            }
            State::Pending => {}
        }
        // SAFETY: its packet has come, so that the system does not use the memory any more, and nobody else has a
        // reference to it.
        let info = unsafe { &(*request.shared.get()).info };
        let conditions = if is_error(packet.status()) || info.sockets == 0 {
            // Nobody has cancelled it: the next call will tell what is wrong.
            condition::RECEIVE | condition::SEND
        } else {
            info.conditions
        };
        Some((request.token.get(), happened(conditions)))
    }

    /// Gives up what is under way for a socket.
    pub(super) fn forget(&mut self, watch: &Watch) {
        for number in [Some(watch.reading), watch.writing.take()].into_iter().flatten() {
            let (request, driver) = self.requests.get(number);
            if request.state.get() == State::Idle {
                self.requests.give_back(number);
                continue;
            }
            request.state.set(State::Orphan);
            let mut status = IO_STATUS_BLOCK::default();
            // SAFETY: the handle is the one that the request went to, and the request is told by the address of its
            // status, which is not looked at. If it has ended meanwhile the call finds nothing; its packet comes in
            // either case.
            unsafe {
                let request = &raw mut (*request.shared.get()).status;
                NtCancelIoFileEx(driver.as_raw_handle(), request, &raw mut status);
            }
        }
    }
}

fn happened(conditions: u32) -> Happened {
    let broken = conditions & condition::BROKEN != 0;
    let closing = broken || conditions & condition::DISCONNECT != 0;
    Happened {
        readable: closing || conditions & (condition::RECEIVE | condition::ACCEPT) != 0,
        writable: broken || conditions & condition::SEND != 0,
        closing,
    }
}

/// The socket itself, where layered providers (of a virus scanner, for instance) put something before it.
pub(super) fn base(socket: SOCKET) -> io::Result<SOCKET> {
    let (mut base, mut bytes): (SOCKET, u32) = (0, 0);
    // SAFETY: the call fills in a socket, whose size it is told; it is not overlapped.
    let result = unsafe {
        WSAIoctl(
            socket,
            SIO_BASE_HANDLE,
            ptr::null(),
            0,
            (&raw mut base).cast(),
            size_of::<SOCKET>() as u32,
            &raw mut bytes,
            ptr::null_mut(),
            None,
        )
    };
    if result == SOCKET_ERROR {
        // SAFETY: it takes nothing.
        return Err(io::Error::from_raw_os_error(unsafe { WSAGetLastError() }));
    }
    Ok(base)
}

/// Opens the driver. Any name below the device will do.
fn open_driver(port: &Completions) -> io::Result<Driver> {
    let mut name: Vec<u16> = r"\Device\Afd\qpair".encode_utf16().collect();
    let bytes = (name.len() * size_of::<u16>()) as u16;
    let name = UNICODE_STRING { Length: bytes, MaximumLength: bytes, Buffer: name.as_mut_ptr() };
    let attributes = OBJECT_ATTRIBUTES {
        Length: size_of::<OBJECT_ATTRIBUTES>() as u32,
        RootDirectory: ptr::null_mut(),
        ObjectName: &raw const name,
        Attributes: 0,
        SecurityDescriptor: ptr::null(),
        SecurityQualityOfService: ptr::null(),
    };
    let (mut handle, mut status) = (ptr::null_mut(), IO_STATUS_BLOCK::default());
    // SAFETY: all structures, and the name, live on to the end of this function, and the call waits for its end.
    let result = unsafe {
        NtCreateFile(
            &raw mut handle,
            SYNCHRONIZE,
            &raw const attributes,
            &raw mut status,
            ptr::null(),
            0,
            FILE_SHARE_READ | FILE_SHARE_WRITE,
            FILE_OPEN,
            0,
            ptr::null(),
            0,
        )
    };
    if is_error(result) {
        return Err(error_of(result));
    }
    // SAFETY: the handle is new, and nobody else has it.
    let driver = unsafe { OwnedHandle::from_raw_handle(handle) };
    port.associate(driver.as_handle(), Key::Poll)?;
    Ok(driver)
}
