//! Channels in an event loop that is not theirs: `mio`'s.

use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

use machine::reactor::Arm;
use machine::ring::RingKind;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::tests::{at, block, device, write};
use super::*;

/// Far longer than anything here takes: what is not told of ends the test by this.
const NEVER: Duration = Duration::from_secs(60);

/// A loop with a channel in it.
struct Loop {
    poll: Poll,
    events: Events,
}

impl Loop {
    fn with<C>(channel: &Channel<C>) -> Self {
        let poll = Poll::new().expect("a poll");
        let fd = channel.descriptor().expect("Unix has them");
        poll.registry()
            .register(&mut SourceFd(&fd.as_raw_fd()), Token(7), Interest::READABLE)
            .expect("it can be watched");
        Self { poll, events: Events::with_capacity(4) }
    }

    /// One turn: waits for the channel and polls it.
    fn turn<C>(&mut self, channel: &mut Channel<C>, limit: Duration, mut handle: impl FnMut(&mut Channel<C>, Done<C>)) {
        let limit = match channel.arm().expect("it arms") {
            Arm::Armed => limit,
            Arm::PollEvery(time) => time.min(limit),
            Arm::Busy => Duration::ZERO,
        };
        match self.poll.poll(&mut self.events, Some(limit)) {
            Ok(()) => assert!(limit < NEVER || !self.events.is_empty(), "something has ended, and nothing told"),
            // What a kernel's ring does for this thread interrupts its system calls, as a signal does.
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::Interrupted, "{error}"),
        }
        assert!(self.events.iter().all(|event| event.token() == Token(7)));
        // The loop may have anything else to do, so it polls even if the event was not the channel's.
        channel.poll(&mut handle);
    }

    /// Nothing is in flight: after what is left over from before, the descriptor says nothing.
    fn is_quiet<C>(&mut self, channel: &mut Channel<C>) -> bool {
        (0..3).any(|_| {
            self.turn(channel, Duration::ZERO, |_, _| unreachable!("nothing is in flight"));
            self.events.is_empty()
        })
    }
}

fn on(ring: RingKind, device: &dyn Device) -> (Channel<u64>, Port) {
    let options = ChannelOptions { ring, ..ChannelOptions::for_device(device, 7) };
    let mut channel = Channel::new(&options).expect("a channel");
    let port = channel.attach(device).expect("a queue");
    (channel, port)
}

#[test]
fn every_end_is_told_of_on_every_path() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("disk.img").display().to_string();
    let paths = ["threads", "aio", "sync", "uring"].map(|path| format!("{file},size=1MiB,path={path}"));
    let others = ["null:1MiB", "fault:ram:1MiB,rule=write:latency=1ms"].map(str::to_owned);
    for name in paths.iter().chain(&others) {
        if name.contains("path=uring") && RingKind::Uring.choose().is_err() {
            continue;
        }
        let device = device(name);
        for ring in [RingKind::Auto, RingKind::Portable] {
            let (mut channel, disk) = on(ring, &*device);
            let mut outer = Loop::with(&channel);
            for lba in 0..7 {
                let data = block(&channel, lba as u8);
                channel.submit(disk, write(lba), data, lba).expect("room");
            }
            let mut writes = 0;
            while channel.in_flight() > 0 {
                outer.turn(&mut channel, NEVER, |channel, done| {
                    assert_eq!(done.outcome, Ok(0), "{name}");
                    writes += 1;
                    if writes <= 100 {
                        channel.submit(disk, write(done.context), done.data, done.context).expect("room");
                    }
                });
            }
            assert_eq!(writes, 107, "{name}");
            assert!(outer.is_quiet(&mut channel), "{name} on {ring:?}: readable for nothing");
            // What waits by itself in between leaves nothing behind either.
            let data = block(&channel, 0);
            assert_eq!(channel.call(disk, Op::Read(at(3)), data).outcome, Ok(0));
            assert!(outer.is_quiet(&mut channel), "{name} on {ring:?}: readable after a call");
        }
    }
}

#[test]
fn another_thread_ends_the_wait() {
    let device = device("null:1MiB");
    let (mut channel, _) = on(RingKind::Auto, &*device);
    let mut outer = Loop::with(&channel);
    for _ in 0..3 {
        assert_eq!(channel.arm().expect("it arms"), Arm::Armed);
        let wake = channel.wake();
        let other = thread::spawn(move || wake.wake());
        outer.poll.poll(&mut outer.events, Some(NEVER)).expect("it waits");
        assert!(!outer.events.is_empty(), "the wake made it readable");
        other.join().expect("it ends");
        assert_eq!(channel.poll(|_, _| unreachable!("nothing is in flight")), 0);
        assert!(outer.is_quiet(&mut channel));
    }
}
