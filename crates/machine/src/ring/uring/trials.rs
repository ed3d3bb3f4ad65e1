//! What of `io_uring` works here, one call and operation at a time: `qpair doctor`.
//!
//! A ring needs all of what [`probe::build`] asks for. Here each is asked for by itself, so that somebody who has no
//! ring sees what of it is missing.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use io_uring::squeue::{Entry, Entry128};
use io_uring::{IoUring, Probe, cqueue, opcode};
use rustix::event::{EventfdFlags, eventfd};

use super::probe;
use crate::limits::{MAX_REGISTERED_FILES, MAX_REGISTERED_POOLS, SQPOLL_IDLE_MS};
use crate::os::probe::{Place, RING_FILE_BYTES, Trial, Tried, by_ring, fine, wanted, woken, wrong};
use crate::ring::{Ring, RingKind};

const THREADS: &str = "worker threads: --ring portable";
const EACH_TIME: &str = "the kernel looks memory and files up for each request";
const NO_POLLING: &str = "nothing: the options iopoll and sqpoll of path=uring";

/// Entries of a ring that is only tried.
const ENTRIES: u32 = 8;

pub(crate) const TRIALS: &[Trial] = &[
    wanted("io_uring_setup, _enter, _register", "files: --ring uring", THREADS, |_| plain().map(fine)),
    wanted("SINGLE_ISSUER, DEFER_TASKRUN, SUBMIT_ALL", "no interrupts of a reactor's code", THREADS, |_| {
        let mut builder = IoUring::<Entry>::builder();
        builder.setup_single_issuer().setup_submit_all().setup_defer_taskrun().setup_taskrun_flag();
        builder.build(ENTRIES).map(fine)
    }),
    wanted("FEAT_EXT_ARG, FEAT_NODROP", "waiting for a limited time", THREADS, |_| {
        let ring = plain()?;
        let has_both = ring.params().is_feature_ext_arg() && ring.params().is_feature_nodrop();
        if has_both { Ok(String::new()) } else { Err(wrong("the kernel does not have them")) }
    }),
    wanted("OP_READ, OP_WRITE", "files", THREADS, |_| operations(&[opcode::Read::CODE, opcode::Write::CODE])),
    wanted("OP_READV, OP_WRITEV", "requests in pieces", THREADS, |_| {
        operations(&[opcode::Readv::CODE, opcode::Writev::CODE])
    }),
    wanted("OP_READ_FIXED, OP_WRITE_FIXED", "buffers that are registered", THREADS, |_| {
        operations(&[opcode::ReadFixed::CODE, opcode::WriteFixed::CODE])
    }),
    wanted("OP_FSYNC", "flush", THREADS, |_| operations(&[opcode::Fsync::CODE])),
    wanted("OP_FALLOCATE", "zeroing and freeing", THREADS, |_| operations(&[opcode::Fallocate::CODE])),
    wanted("OP_POLL_ADD", "sleeping for files and sockets", THREADS, |_| operations(&[opcode::PollAdd::CODE])),
    wanted("OP_ASYNC_CANCEL", "aborts", THREADS, |_| operations(&[opcode::AsyncCancel::CODE])),
    wanted("all of it: a file", "as qpair uses it", THREADS, whole),
    wanted("all of it: a wake-up", "as qpair uses it", THREADS, |_| woken(RingKind::Uring)),
    wanted("REGISTER_BUFFERS2, REGISTER_FILES2", "memory is pinned once", EACH_TIME, |_| {
        let ring = plain()?;
        ring.submitter().register_buffers_sparse(MAX_REGISTERED_POOLS as u32)?;
        ring.submitter().register_files_sparse(MAX_REGISTERED_FILES as u32).map(fine)
    }),
    wanted(
        "REGISTER_IOWQ_AFF, _MAX_WORKERS",
        "threads of the kernel on all cores",
        "they are as it makes them",
        |_| probe::try_workers(&plain()?).map(fine),
    ),
    wanted("REGISTER_EVENTFD", "waking for rings that poll", NO_POLLING, |_| {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        plain()?.submitter().register_eventfd(bell.as_raw_fd()).map(fine)
    }),
    wanted("SETUP_SQPOLL", "sqpoll: a thread of the kernel takes requests", NO_POLLING, |_| {
        IoUring::<Entry>::builder().setup_single_issuer().setup_sqpoll(SQPOLL_IDLE_MS).build(ENTRIES).map(fine)
    }),
    wanted("SETUP_IOPOLL", "iopoll: completions are polled for", NO_POLLING, |_| {
        IoUring::<Entry>::builder().setup_single_issuer().setup_defer_taskrun().setup_iopoll().build(ENTRIES).map(fine)
    }),
    wanted("SETUP_SQE128, SETUP_CQE32, OP_URING_CMD", "NVMe commands: path=uring-cmd", "ioctl: path=ioctl", |_| {
        let ring = IoUring::<Entry128, cqueue::Entry32>::builder().build(ENTRIES)?;
        let mut known = Probe::new();
        ring.submitter().register_probe(&mut known)?;
        supports(&known, opcode::UringCmd80::CODE).map(fine)
    }),
];

fn plain() -> io::Result<IoUring<Entry>> {
    IoUring::new(ENTRIES)
}

fn operations(codes: &[u8]) -> Tried {
    let mut known = Probe::new();
    plain()?.submitter().register_probe(&mut known)?;
    codes.iter().try_for_each(|&code| supports(&known, code)).map(fine)
}

fn supports(known: &Probe, code: u8) -> io::Result<()> {
    if known.is_supported(code) { Ok(()) } else { Err(wrong(format!("the kernel has no operation {code}"))) }
}

fn whole(place: &Place) -> Tried {
    let mut ring = Ring::of(RingKind::Uring)?;
    let file = ring.file(Arc::new(place.file("uring", RING_FILE_BYTES)?));
    by_ring(&mut ring, &file)
}
