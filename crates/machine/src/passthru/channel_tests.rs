//! What can be tried without an NVMe device: a file that is none answers every command with an error of the kernel.

use super::*;
use crate::passthru::{Command, NvmeQueue};
use crate::reactor::Arm;
use crate::ring::Wait;

const OPTIONS: ChannelOptions = ChannelOptions { queue: NvmeQueue::Io, depth: 3, polled: false, kernel_thread: false };

/// A ring, and a channel to a file that is no NVMe device; `None` where there is no `io_uring`.
fn channel(options: ChannelOptions) -> Option<(Ring, Channel<u32>)> {
    let mut ring = Ring::new().expect("a ring");
    let owner = ring.owner();
    let file = Arc::new(File::open("/dev/zero").expect("there is one"));
    match Channel::new(file, options, &mut ring, owner) {
        Ok(channel) => Some((ring, channel)),
        Err(NoChannel::Ring(why)) => {
            println!("not tried: {why}");
            None
        }
        Err(NoChannel::Io(error)) => panic!("{error}"),
    }
}

fn task(context: u32, pool: &Pool) -> Task<u32> {
    let command = Command { opcode: 2, nsid: 1, ..Command::default() };
    Task { context, command, data: pool.take().into(), metadata: None }
}

/// Polls until as many tasks have ended, asleep in the ring meanwhile.
fn wait(ring: &mut Ring, channel: &mut Channel<u32>, count: usize) -> Vec<Done<u32>> {
    let mut ended = Vec::new();
    while ended.len() < count {
        let arm = channel.arm();
        ring.enter(if arm == Arm::Busy { Wait::No } else { Wait::Forever }).expect("a ring");
        channel.disarm();
        channel.poll(&mut ended);
    }
    ended
}

#[test]
fn what_is_no_device_answers_with_an_error_of_this_host() {
    let Some((mut ring, mut channel)) = channel(OPTIONS) else { return };
    let pool = Pool::anonymous(4096, 8).expect("memory");
    for context in 0..3 {
        assert!(channel.submit(task(context, &pool)).is_ok());
    }
    let Err(Task { context: 3, data: Bufs::One(_), .. }) = channel.submit(task(3, &pool)) else {
        panic!("a full channel gives the task back");
    };
    assert_eq!(channel.in_flight(), 3);
    channel.kick();
    let mut ended = wait(&mut ring, &mut channel, 3);
    ended.sort_by_key(|done| done.context);
    for (context, done) in (0..).zip(ended) {
        assert_eq!((done.context, done.data.len()), (context, 4096));
        let Err(Fault::Host(error)) = done.result else { panic!("{:?}", done.result) };
        assert_eq!(error.raw_os_error(), Some(libc::EOPNOTSUPP));
    }
    assert_eq!((channel.in_flight(), pool.free()), (0, 8));
}

#[test]
fn buffers_come_back_to_their_pool_when_a_channel_is_dropped() {
    for kernel_thread in [false, true] {
        let Some((_ring, mut channel)) = channel(ChannelOptions { kernel_thread, ..OPTIONS }) else { continue };
        let pool = Pool::anonymous(4096, 2).expect("memory");
        assert!(channel.submit(task(0, &pool)).is_ok() && channel.submit(task(1, &pool)).is_ok());
        channel.kick();
        assert_eq!(pool.free(), 0);
        drop(channel);
        assert_eq!(pool.free(), 2);
    }
}

#[test]
fn a_polled_channel_spins_while_it_waits() {
    let Some((_ring, mut channel)) = channel(ChannelOptions { polled: true, ..OPTIONS }) else { return };
    assert_eq!(channel.arm(), Arm::Armed);
    let pool = Pool::anonymous(4096, 1).expect("memory");
    assert!(channel.submit(task(0, &pool)).is_ok());
    assert_eq!(channel.arm(), Arm::Busy);
    channel.kick();
    let mut ended = Vec::new();
    while ended.is_empty() {
        channel.poll(&mut ended);
    }
    assert!(matches!(&ended[0].result, Err(Fault::Host(_))));
}

#[test]
fn answers_of_the_device_and_errors_of_the_host_stay_apart() {
    assert!(matches!(result(0, 7), Ok(7)));
    assert!(matches!(result(0x4002, 7), Err(Fault::Status { status: 0x4002, result: 7 })));
    assert!(matches!(result(-libc::EACCES, 0), Err(Fault::Host(error)) if error.raw_os_error() == Some(libc::EACCES)));
}
