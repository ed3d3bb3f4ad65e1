//! What of a completion port works here, one call at a time: `qpair doctor`.

use std::io::ErrorKind;
use std::os::windows::io::{AsRawHandle, AsRawSocket};
use std::sync::Arc;
use std::time::Instant;

use windows_sys::Win32::Networking::WinSock::SOCKET;

use super::files::{query_mode, skip_on_success};
use super::port::Packets;
use super::sockets::base;
use super::{Completions, Duration, Key, OwnFile, Port, Token, io};
use crate::limits::PROBE_TIME;
use crate::os;
use crate::os::probe::{Place, RING_FILE_BYTES, Trial, Tried, by_ring, fine, loopback, needed, wanted, woken, wrong};
use crate::ring::{FileEngine, Ring, RingKind};

const WORKERS: &str = "worker threads, as with --ring portable";

pub(crate) const TRIALS: &[Trial] = &[
    needed("CreateIoCompletionPort", "all that a ring waits for", |_| Completions::new().map(fine)),
    needed("GetQueuedCompletionStatusEx", "many ends at once", many_at_once),
    needed("PostQueuedCompletionStatus", "waking a thread that sleeps", |_| woken(RingKind::Iocp)),
    needed("WSAIoctl: SIO_BASE_HANDLE", "the socket below layers of others", |_| {
        let (one, _other) = os::connected_sockets()?;
        base(one.as_raw_socket() as SOCKET).map(fine)
    }),
    needed(r"\Device\Afd: IOCTL_AFD_POLL", "sockets: which of them has something to do", |_| loopback(RingKind::Iocp)),
    needed("NtCancelIoFileEx", "sockets that are closed", given_up),
    wanted("NtQueryInformationFile", "how a file is open", WORKERS, |place| {
        query_mode(&place.file("queried", 1)?).map(|mode| format!("{mode:#x}"))
    }),
    wanted("ReOpenFile", "a file object for each ring", WORKERS, |place| {
        let (port, file) = (Completions::new()?, place.file("again", 1)?);
        OwnFile::open(&file, &port).map(fine)
    }),
    wanted("SetFileCompletionNotificationModes", "no packet for what is done at once", "a packet for each", |place| {
        let (port, file) = (Completions::new()?, place.file("modes", 1)?);
        skip_on_success(OwnFile::open(&file, &port)?.handle.as_raw_handle()).map(fine)
    }),
    wanted("ReadFile, WriteFile: OVERLAPPED", "files: --ring iocp", WORKERS, |place| {
        let mut ring = Ring::of(RingKind::Iocp)?;
        let file = ring.file_by(Arc::new(place.file("overlapped", RING_FILE_BYTES)?), FileEngine::Iocp)?;
        by_ring(&mut ring, &file)
    }),
    needed("the port of --ring portable: sockets", "what mio does there", |_| loopback(RingKind::Portable)),
    needed("the port of --ring portable: a wake-up", "what mio does there", |_| woken(RingKind::Portable)),
    needed("the workers of --ring portable", "files, and what has no overlapped call", |place| {
        let mut ring = Ring::of(RingKind::Portable)?;
        let file = ring.file(Arc::new(place.file("workers", RING_FILE_BYTES)?));
        by_ring(&mut ring, &file)
    }),
];

/// Packets that were posted come one and all with one call.
fn many_at_once(_place: &Place) -> Tried {
    const POSTED: usize = 3;
    let (port, mut packets) = (Completions::new()?, Packets::default());
    (0..POSTED).try_for_each(|_| port.post(Key::Wake))?;
    port.take(&mut packets, Some(PROBE_TIME / 2))?;
    match packets.iter().count() {
        POSTED => {}
        taken => return Err(wrong(format!("of {POSTED} packets one call takes {taken}"))),
    }
    port.take(&mut packets, Some(Duration::ZERO))?;
    if packets.iter().next().is_none() { Ok(String::new()) } else { Err(wrong("a packet comes that nobody has sent")) }
}

/// A poll request is called back with its socket.
fn given_up(_place: &Place) -> Tried {
    let (port, (one, _other), start) = (Port::new()?, os::connected_sockets()?, Instant::now());
    let watch = port.watch(one.as_raw_socket(), Token(0))?;
    port.forget(&watch);
    while port.polls.borrow().pending() > 0 {
        if start.elapsed() > PROBE_TIME / 2 {
            // The port would wait for it when it is dropped.
            std::mem::forget(port);
            return Err(io::Error::new(ErrorKind::TimedOut, "a request that was called back does not come"));
        }
        port.collect(Some(PROBE_TIME / 4))?;
    }
    Ok(String::new())
}
