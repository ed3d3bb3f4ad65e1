//! A file task as requests of `io_uring`: one after the other, each decided by how the last one ended.
//!
//! ```text
//!   read, write    Move 0 ──short──▶ Move n ... ──▶ done
//!   sync           Sync ──▶ done
//!   zero           Free ──durable──▶ Sync ──▶ done
//!   deallocate     Free ──▶ done
//!                    └── "not this way" ──▶ the workers, who know all ways
//! ```

use std::io;
use std::os::fd::AsRawFd;

use io_uring::opcode;
use io_uring::squeue::{Entry, Flags};
use io_uring::types::{Fd, FsyncFlags};

use crate::os;
use crate::region::{Bufs, RawBytes};
use crate::ring::{FileOp, FileTask};

/// Where a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ring) enum Stage {
    /// Reads or writes the bytes from this one on.
    Move(usize),
    /// Changes a range without data.
    Free,
    /// Makes durable what was done.
    Sync,
}

/// What comes after a request.
#[derive(Debug)]
pub(in crate::ring) enum Next {
    /// Another one.
    Go(Stage),
    /// The kernel does not do it this way: the workers do the whole task.
    Workers,
    /// Nothing: the task has ended.
    Done(io::Result<()>),
}

impl Stage {
    /// The first one of a task.
    pub(in crate::ring) fn first(op: &FileOp) -> Self {
        match op {
            FileOp::Read { .. } | FileOp::Write { .. } => Self::Move(0),
            FileOp::Sync => Self::Sync,
            FileOp::Zero { .. } | FileOp::Deallocate { .. } => Self::Free,
        }
    }

    /// The request of this stage. It names the task's file and bytes, by number where the ring with this identity has
    /// them registered; of a scatter list, the list that `pieces` is made.
    pub(in crate::ring) fn entry(self, task: &mut FileTask, pieces: &mut Vec<RawBytes>, ring: u32) -> Entry {
        let place = task.file.place(ring);
        let file = Fd(place.map_or_else(|| task.file.file().as_raw_fd(), |place| place as i32));
        let entry = self.entry_on(file, task, pieces, ring);
        if place.is_some() { entry.flags(Flags::FIXED_FILE) } else { entry }
    }

    fn entry_on(self, file: Fd, task: &mut FileTask, pieces: &mut Vec<RawBytes>, ring: u32) -> Entry {
        match (self, task.op) {
            (Self::Sync, _) => opcode::Fsync::new(file).flags(FsyncFlags::DATASYNC).build(),
            (Self::Free, FileOp::Zero { offset, len, deallocate: false, .. }) => {
                fallocate(file, libc::FALLOC_FL_ZERO_RANGE, offset, len)
            }
            (Self::Free, FileOp::Zero { offset, len, .. } | FileOp::Deallocate { offset, len }) => {
                fallocate(file, libc::FALLOC_FL_PUNCH_HOLE, offset, len)
            }
            (Self::Move(done), op) => match &mut task.bufs {
                Bufs::None => unreachable!("reads and writes have bytes"),
                Bufs::One(buf) => {
                    let number = buf.registered(ring);
                    let rest = &mut buf[done..];
                    let (start, len) = (rest.as_mut_ptr(), rest.len() as u32);
                    transfer(file, op, done as u64, start, len, number)
                }
                many @ Bufs::Many(_) => {
                    many.raw(done, pieces);
                    scattered(file, op, done as u64, pieces)
                }
            },
            (Self::Free, op) => unreachable!("{op:?} frees nothing"),
        }
    }

    /// What follows from a request's result. `len` is that of the task's bytes.
    pub(in crate::ring) fn next(self, op: &FileOp, len: usize, result: i32, cancelled: bool) -> Next {
        if result < 0 {
            return self.after_error(op, -result, cancelled);
        }
        match (self, op) {
            (Self::Move(_), FileOp::Read { .. }) if result == 0 && len > 0 => {
                Next::Done(Err(io::ErrorKind::UnexpectedEof.into()))
            }
            (Self::Move(_), _) if result == 0 && len > 0 => Next::Done(Err(io::ErrorKind::WriteZero.into())),
            (Self::Move(done), _) if done + (result as usize) < len => Next::Go(Self::Move(done + result as usize)),
            (Self::Free, FileOp::Zero { dsync: true, .. }) => Next::Go(Self::Sync),
            _ => Next::Done(Ok(())),
        }
    }

    fn after_error(self, op: &FileOp, error: i32, cancelled: bool) -> Next {
        let refused = match error {
            libc::EINTR if cancelled => return Next::Done(Err(io::Error::from_raw_os_error(os::CANCELLED))),
            libc::EINTR => return Next::Go(self),
            libc::EOPNOTSUPP | libc::ENOSYS | libc::EAGAIN => true,
            libc::EINVAL | libc::ENODEV if self == Self::Free => true,
            // After a short read the rest may not be aligned for direct I/O any more.
            libc::EINVAL => matches!((self, op), (Self::Move(1..), FileOp::Read { .. })),
            _ => false,
        };
        if refused { Next::Workers } else { Next::Done(Err(io::Error::from_raw_os_error(error))) }
    }
}

/// The read or write of the rest of a buffer, which `number` is registered under.
fn transfer(file: Fd, op: FileOp, done: u64, start: *mut u8, len: u32, number: Option<u16>) -> Entry {
    match (op, number) {
        (FileOp::Read { offset }, None) => opcode::Read::new(file, start, len).offset(offset + done).build(),
        (FileOp::Read { offset }, Some(number)) => {
            opcode::ReadFixed::new(file, start, len, number).offset(offset + done).build()
        }
        (FileOp::Write { offset, dsync }, None) => {
            opcode::Write::new(file, start, len).offset(offset + done).rw_flags(durable(dsync)).build()
        }
        (FileOp::Write { offset, dsync }, Some(number)) => {
            opcode::WriteFixed::new(file, start, len, number).offset(offset + done).rw_flags(durable(dsync)).build()
        }
        (op, _) => unreachable!("{op:?} moves no bytes"),
    }
}

/// The read or write of the rest of a scatter list. Registered or not: the kernel has no vectored calls for registered
/// memory before Linux 6.15.
fn scattered(file: Fd, op: FileOp, done: u64, pieces: &[RawBytes]) -> Entry {
    // As its kin are asserted to lie in memory.
    let (list, count) = (pieces.as_ptr().cast::<libc::iovec>(), pieces.len() as u32);
    match op {
        FileOp::Read { offset } => opcode::Readv::new(file, list, count).offset(offset + done).build(),
        FileOp::Write { offset, dsync } => {
            opcode::Writev::new(file, list, count).offset(offset + done).rw_flags(durable(dsync)).build()
        }
        op => unreachable!("{op:?} moves no bytes"),
    }
}

fn durable(dsync: bool) -> i32 {
    if dsync { libc::RWF_DSYNC } else { 0 }
}

fn fallocate(file: Fd, mode: i32, offset: u64, len: u64) -> Entry {
    opcode::Fallocate::new(file, len).offset(offset).mode(mode | libc::FALLOC_FL_KEEP_SIZE).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: FileOp = FileOp::Read { offset: 512 };
    const WRITE: FileOp = FileOp::Write { offset: 512, dsync: true };
    const ZERO: FileOp = FileOp::Zero { offset: 0, len: 1, dsync: true, deallocate: false };
    const FREE: FileOp = FileOp::Deallocate { offset: 0, len: 1 };

    /// What follows from the results, one after the other, of a task with 100 bytes.
    fn play(op: FileOp, results: &[i32]) -> String {
        let mut stage = Stage::first(&op);
        for &result in results {
            match stage.next(&op, 100, result, false) {
                Next::Go(next) => stage = next,
                Next::Workers => return "workers".to_owned(),
                Next::Done(Ok(())) => return "ok".to_owned(),
                Next::Done(Err(error)) => {
                    return error.raw_os_error().map_or_else(|| format!("{:?}", error.kind()), |code| code.to_string());
                }
            }
        }
        format!("{stage:?}")
    }

    #[test]
    fn short_transfers_go_on_where_they_stopped() {
        for op in [READ, WRITE] {
            assert_eq!(play(op, &[100]), "ok");
            assert_eq!(play(op, &[40]), "Move(40)");
            assert_eq!(play(op, &[40, -libc::EINTR, 50]), "Move(90)");
            assert_eq!(play(op, &[40, 50, 10]), "ok");
            assert_eq!(play(op, &[40, -libc::EIO]), libc::EIO.to_string());
        }
        assert_eq!(play(READ, &[40, 0]), "UnexpectedEof");
        assert_eq!(play(WRITE, &[0]), "WriteZero");
    }

    #[test]
    fn what_is_refused_goes_to_the_workers_and_what_fails_does_not() {
        for op in [READ, WRITE, ZERO, FREE, FileOp::Sync] {
            assert_eq!(play(op, &[-libc::EOPNOTSUPP]), "workers");
            assert_eq!(play(op, &[-libc::ENOSPC]), libc::ENOSPC.to_string());
        }
        assert_eq!(play(READ, &[-libc::EINVAL]), libc::EINVAL.to_string(), "misaligned from the start");
        assert_eq!(play(READ, &[40, -libc::EINVAL]), "workers");
        assert_eq!(
            (play(ZERO, &[-libc::EINVAL]).as_str(), play(FREE, &[-libc::ENODEV]).as_str()),
            ("workers", "workers")
        );
    }

    #[test]
    fn durable_zeros_are_synced_afterwards() {
        assert_eq!((play(ZERO, &[0]).as_str(), play(ZERO, &[0, 0]).as_str()), ("Sync", "ok"));
        assert_eq!((play(FREE, &[0]).as_str(), play(FileOp::Sync, &[0]).as_str()), ("ok", "ok"));
        assert_eq!(play(ZERO, &[0, -libc::EIO]), libc::EIO.to_string());
    }

    #[test]
    fn a_cancelled_request_that_was_interrupted_is_not_begun_again() {
        let end = Stage::Free.next(&FREE, 0, -libc::EINTR, true);
        assert!(matches!(end, Next::Done(Err(error)) if error.raw_os_error() == Some(os::CANCELLED)));
    }
}
