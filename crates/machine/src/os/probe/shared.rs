//! Trials that are the same on all systems: what they call is not.

use std::fs;
use std::io::{self, ErrorKind, IoSliceMut, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use super::{Place, Tried, fine, wrong};
use crate::limits::{HUGE_PAGE_BYTES, MAP_GRANULE_BYTES, PROBE_REQUESTS, PROBE_TIME};
use crate::os;
use crate::reactor::Arm;
use crate::region::{Durability, Pool, Region};
use crate::ring::{FileDone, FileOp, FileTask, Ring, RingFile, RingKind, Wait};

/// Right for direct I/O nearly everywhere; more than that is asked of the file.
const BLOCK: usize = 4096;

/// Bytes of a file that [`by_ring`] takes.
pub(crate) const RING_FILE_BYTES: usize = BLOCK * PROBE_REQUESTS;

/// Writes the blocks of a file by a ring, all at once, has them flushed, and reads them again.
pub(crate) fn by_ring(ring: &mut Ring, file: &RingFile) -> Tried {
    let pool = Pool::anonymous(BLOCK, PROBE_REQUESTS)?;
    let all = |op: fn(u64) -> FileOp, mask: u8| {
        let task = |at: usize| {
            let mut buf = pool.take().expect("one for each request");
            buf.fill(at as u8 ^ mask);
            FileTask { tag: at as u64, file: file.clone(), op: op((at * BLOCK) as u64), bufs: buf.into() }
        };
        (0..PROBE_REQUESTS).map(task).collect()
    };
    run(ring, all(|offset| FileOp::Write { offset, dsync: false }, 0))?;
    run(ring, vec![FileTask { tag: 0, file: file.clone(), op: FileOp::Sync, bufs: None.into() }])?;
    let done = run(ring, all(|offset| FileOp::Read { offset }, 0xff))?;
    if done.iter().any(|done| !done.bufs.to_vec().iter().all(|&byte| byte == done.tag as u8)) {
        return Err(wrong("what is read is not what was written"));
    }
    Ok(format!("{PROBE_REQUESTS} requests at once"))
}

/// Has tasks done, and waits for them.
fn run(ring: &mut Ring, tasks: Vec<FileTask>) -> io::Result<Vec<FileDone>> {
    let (owner, wanted, start) = (ring.owner(), tasks.len(), Instant::now());
    for task in tasks {
        ring.submit_file(owner, task).map_err(|_| wrong("the ring takes no more requests"))?;
    }
    let (mut done, mut ended) = (Vec::new(), Vec::new());
    while done.len() < wanted {
        ring.files_done(owner, &mut ended);
        if ended.is_empty() {
            if start.elapsed() > PROBE_TIME / 2 {
                return Err(io::Error::new(ErrorKind::TimedOut, format!("{} of {wanted} requests end", done.len())));
            }
            ring.sleep(Some(PROBE_TIME / 2), |ring| ring.arm_files(owner))?;
        }
        done.append(&mut ended);
    }
    let failed = done.iter_mut().find(|done| done.result.is_err());
    match failed.map(|done| std::mem::replace(&mut done.result, Ok(()))) {
        Some(Err(error)) => Err(error),
        _ => Ok(done),
    }
}

/// A ring learns that there is something to receive from a socket.
pub(crate) fn loopback(kind: RingKind) -> Tried {
    let (mut ring, (near, mut far)) = (Ring::of(kind)?, os::connected_sockets()?);
    let owner = ring.owner();
    let socket = ring.socket(near, owner, 0)?;
    let (mut ready, mut bytes, start) = (Vec::new(), [0; 8], Instant::now());
    // Nothing is there yet, so that the next event is about what comes.
    if socket.try_recv(&mut [IoSliceMut::new(&mut bytes)])?.is_some() {
        return Err(wrong("a socket receives what nobody has sent"));
    }
    far.write_all(b"here")?;
    loop {
        ring.ready(owner, &mut ready);
        if ready.iter().any(|ready| ready.readable) {
            break;
        }
        ready.clear();
        if start.elapsed() > PROBE_TIME / 2 {
            return Err(io::Error::new(ErrorKind::TimedOut, "nobody tells that there is something to receive"));
        }
        ring.enter(Wait::For(PROBE_TIME / 2))?;
    }
    match socket.try_recv(&mut [IoSliceMut::new(&mut bytes)])? {
        Some(4) if bytes.starts_with(b"here") => Ok(String::new()),
        other => Err(wrong(format!("a socket receives something else than was sent: {other:?}"))),
    }
}

/// Another thread ends the sleep of a ring.
pub(crate) fn woken(kind: RingKind) -> Tried {
    let (mut ring, called) = (Ring::of(kind)?, Arc::new(AtomicBool::new(false)));
    let (waker, calls, start) = (ring.waker(), Arc::clone(&called), Instant::now());
    thread::Builder::new().name("probe-waker".to_owned()).spawn(move || {
        calls.store(true, Ordering::Release);
        waker.wake();
    })?;
    let look = |_: &mut Ring| if called.load(Ordering::Acquire) { Arm::Busy } else { Arm::Armed };
    while !called.load(Ordering::Acquire) {
        ring.sleep(Some(PROBE_TIME / 2), look)?;
    }
    // Without the wake-up the sleep lasts as long as it may.
    if start.elapsed() < PROBE_TIME / 2 { Ok(String::new()) } else { Err(wrong("the sleeping thread is not woken")) }
}

/// Writes and reads a block past the page cache.
pub(crate) fn aligned_io(place: &Place) -> Tried {
    let file = place.direct("aligned", BLOCK)?;
    let alignment = os::direct_alignment(&file)?;
    let pool = Pool::anonymous(BLOCK.max(alignment.offset as usize), 1)?;
    let mut buf = pool.take().expect("there is one");
    buf.fill(7);
    os::write_all_at(&file, &buf, 0, false)?;
    buf.fill(0);
    os::read_exact_at(&file, &mut buf, 0)?;
    if buf.iter().any(|&byte| byte != 7) {
        return Err(wrong("what is read is not what was written"));
    }
    Ok(format!("offset {}, memory {}", alignment.offset, alignment.memory))
}

/// Makes what was written durable.
pub(crate) fn flush(place: &Place) -> Tried {
    place.file("flush", BLOCK)?.sync_data().map(fine)
}

/// Makes the names in a folder durable.
pub(crate) fn directory(place: &Place) -> Tried {
    place.file("named", BLOCK)?;
    os::sync_directory(place.folder()).map(fine)
}

/// A lock that one opening of a file has keeps others from having it, and goes when it is given back.
pub(crate) fn one_lock(place: &Place) -> Tried {
    let one = place.file("locked", BLOCK)?;
    let other = os::open_data(&place.path("locked"), os::OpenMode::default())?;
    if !os::lock_exclusive(&one)? {
        return Err(wrong("a file that nobody has locked cannot be"));
    }
    if os::lock_exclusive(&other)? {
        return Err(wrong("two have the same lock"));
    }
    os::unlock(&one)?;
    if os::lock_exclusive(&other)? { Ok(String::new()) } else { Err(wrong("a lock cannot be given back")) }
}

/// Maps a file and makes what changes in the mapping durable.
pub(crate) fn mapped(place: &Place) -> Tried {
    let file = place.file("mapped", MAP_GRANULE_BYTES)?;
    let region = Region::file(&file, MAP_GRANULE_BYTES)?;
    let start = region.base();
    // SAFETY: nobody else has the region, and it is longer than a byte.
    unsafe { start.as_ptr().write_volatile(7) };
    region.persist(0..MAP_GRANULE_BYTES)?;
    let mut byte = [0];
    os::read_exact_at(&file, &mut byte, 0)?;
    match (byte, region.durability()) {
        ([7], Durability::Lines(how)) => Ok(format!("persistent memory: {how:?}")),
        ([7], _) => Ok(String::new()),
        _ => Err(wrong("what was written to the mapping is not in the file")),
    }
}

/// Memory that begins where a huge page can.
pub(crate) fn memory(_place: &Place) -> Tried {
    let region = Region::anonymous(2 * HUGE_PAGE_BYTES)?;
    let is_aligned = region.base().addr().get().is_multiple_of(HUGE_PAGE_BYTES);
    if is_aligned { Ok(String::new()) } else { Err(wrong("it is not at a multiple of 2 MiB")) }
}

/// What of the process is in memory.
pub(crate) fn resident(_place: &Place) -> Tried {
    os::rss_bytes().map(|bytes| format!("{} MiB", bytes >> 20))
}

/// Binds a thread to a core and lets it go again.
pub(crate) fn pinned(_place: &Place) -> Tried {
    let cpus = os::allowed_cpus();
    let last = *cpus.last().ok_or_else(|| wrong("this process has no cores"))?;
    os::pin_to(last)?;
    os::unpin()?;
    Ok(format!("core {last} of {}", cpus.len()))
}

/// A directory of this user alone, as running servers tell of themselves in.
pub(crate) fn private_directory(place: &Place) -> Tried {
    let name = place.folder().file_name().and_then(|name| name.to_str()).unwrap_or("qpair-doctor");
    let made = os::runtime_dir(name)?;
    fs::write(made.join("a"), b"1")?;
    fs::remove_dir_all(&made).map(fine)
}

/// What tells this start of the machine from others.
pub(crate) fn start_of_machine(_place: &Place) -> Tried {
    let id = os::boot_id()?;
    if os::boot_id()? == id { Ok(format!("{id:032x}")) } else { Err(wrong("it is another one each time")) }
}
