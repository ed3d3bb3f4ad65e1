//! Our host in an event loop that is not its own.

use std::os::fd::AsRawFd;
use std::time::Duration;

use block::{Channel, ChannelOptions, Op, Range};
use machine::reactor::Arm;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use crate::common::Rig;
use crate::remote;

/// Longer than the target ever takes; the keep-alive timer is far shorter, and asks for more turns.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn answers_make_the_descriptor_readable() {
    let rig = Rig::new(&["ram:1MiB"]);
    let remote = remote(&rig, 1, "");
    let mut channel = Channel::<u64>::new(&ChannelOptions::for_device(&remote, 3)).expect("a channel");
    let disk = channel.attach(&remote).expect("a queue");
    let mut poll = Poll::new().expect("a poll");
    let fd = channel.descriptor().expect("Unix has them");
    poll.registry().register(&mut SourceFd(&fd.as_raw_fd()), Token(0), Interest::READABLE).expect("it can be watched");
    let mut events = Events::with_capacity(1);
    let read = |lba| Op::Read(Range { lba, blocks: 1 });
    for lba in 0..3 {
        let mut data = channel.buffer();
        data.iter_mut().for_each(|buf| buf.set_len(512));
        assert!(channel.submit(disk, read(lba), data, lba).is_ok());
    }
    let mut ended = 0;
    while channel.in_flight() > 0 {
        let limit = match channel.arm().expect("it arms") {
            Arm::Armed => PATIENCE,
            Arm::PollEvery(time) => time.min(PATIENCE),
            Arm::Busy => Duration::ZERO,
        };
        if let Err(error) = poll.poll(&mut events, Some(limit)) {
            assert_eq!(error.kind(), std::io::ErrorKind::Interrupted, "{error}");
        } else {
            assert!(limit < PATIENCE || !events.is_empty(), "an answer came, and nothing told");
        }
        channel.poll(|channel, done| {
            assert_eq!(done.outcome, Ok(0));
            ended += 1;
            if ended <= 100 {
                assert!(channel.submit(disk, read(done.context), done.data, done.context).is_ok());
            }
        });
    }
    assert_eq!(ended, 103);
}
