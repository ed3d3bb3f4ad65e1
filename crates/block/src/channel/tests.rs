//! Channels over memory, files and devices that fail; over a device that holds requests back.

use std::sync::Arc;
use std::thread;

use super::*;
use crate::{OpenOptions, open};

const BLOCK: usize = 512;

pub(super) fn device(name: &str) -> Arc<dyn Device> {
    open(name, &OpenOptions::default()).unwrap_or_else(|error| panic!("{error}"))
}

fn channel<C>(device: &dyn Device, depth: usize) -> (Channel<C>, Port) {
    // One buffer more than requests, for one that does not fit any more.
    let options = ChannelOptions { buffers: Some(depth + 1), ..ChannelOptions::for_device(device, depth) };
    let mut channel = Channel::new(&options).expect("a channel");
    let port = channel.attach(device).expect("a queue");
    (channel, port)
}

pub(super) fn block<C>(channel: &Channel<C>, byte: u8) -> Option<Buf> {
    let mut buf = channel.buffer().expect("a buffer");
    buf.set_len(BLOCK);
    buf.fill(byte);
    Some(buf)
}

pub(super) fn at(lba: u64) -> Range {
    Range { lba, blocks: 1 }
}

pub(super) fn write(lba: u64) -> Op {
    Op::Write { range: at(lba), fua: false }
}

#[test]
fn a_list_of_buffers_goes_round() {
    let (device, at) = (device("ram:1MiB"), |lba| Range { lba, blocks: 2 });
    let (mut channel, disk) = channel::<u64>(&*device, 4);
    let mut list: Vec<Buf> = (0..3).filter_map(|_| channel.buffer()).collect();
    [1, BLOCK, BLOCK - 1].into_iter().zip(&mut list).for_each(|(len, buf)| buf.set_len(len));
    for lba in 0..20 {
        let mut data = Bufs::from(list);
        data.put(0, &[lba as u8 + 1; 2 * BLOCK]);
        let written = channel.call(disk, Op::Write { range: at(lba), fua: false }, data);
        assert!(channel.submit(disk, Op::Read(at(lba)), written.data, lba).is_ok());
        let mut back = None;
        channel.drain(|_, done| back = Some((done.context, done.outcome, done.data))).expect("it waits");
        let (context, outcome, data) = back.expect("it ended");
        assert_eq!((context, outcome), (lba, Ok(0)));
        assert!(data.holds(&[lba as u8 + 1; 2 * BLOCK]));
        list = data.many().expect("what was given");
    }
    assert_eq!((list.len(), list.capacity() >= 3), (3, true));
}

#[test]
fn what_is_written_is_read_with_its_context() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("disk.img");
    for name in ["ram:1MiB", &format!("{},size=1MiB", file.display()), "fault:ram:1MiB"] {
        let device = device(name);
        let (mut channel, disk) = channel::<String>(&*device, 7);
        let mut seen = Vec::new();
        for lba in 0..20 {
            let mut data = Bufs::from(block(&channel, lba as u8));
            let mut context = format!("write {lba}");
            while let Err(full) = channel.submit(disk, write(lba), data.take(), context) {
                (context, data) = (full.context, full.data);
                channel.wait(None, |_, done| seen.push((done.context, done.outcome))).expect("it waits");
            }
        }
        channel.drain(|_, done| seen.push((done.context, done.outcome))).expect("it waits");
        seen.sort_by(|a, b| a.0.cmp(&b.0));
        let mut wanted: Vec<_> = (0..20).map(|lba| (format!("write {lba}"), Ok(0))).collect();
        wanted.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!((seen, channel.in_flight()), (wanted, 0), "{name}");
        for lba in 0..20 {
            let data = block(&channel, 0xff);
            let done = channel.call(disk, Op::Read(at(lba)), data);
            assert_eq!(done.outcome, Ok(0));
            assert_eq!(done.data.to_vec(), [lba as u8; BLOCK], "{name} {lba}");
        }
        assert_eq!(channel.pool.free(), channel.pool.count());
    }
}

#[test]
fn a_handler_asks_for_more_up_to_the_depth() {
    let device = device("null:1GiB");
    let (mut channel, disk) = channel::<u32>(&*device, 3);
    for chain in 0..3 {
        assert!(channel.submit(disk, Op::Flush, None, chain * 1000).is_ok());
    }
    let full = channel.submit(disk, Op::Flush, None, 9).expect_err("depth requests are in flight");
    assert_eq!((full.context, channel.in_flight(), channel.depth()), (9, 3, 3));
    let mut ends = Vec::new();
    channel
        .drain(|channel, done| match done.context % 1000 {
            100 => ends.push(done.context),
            _ => assert!(channel.submit(disk, Op::Flush, None, done.context + 1).is_ok(), "its place is free"),
        })
        .expect("it waits");
    ends.sort_unstable();
    assert_eq!(ends, [100, 1100, 2100]);
}

#[test]
fn a_call_between_others_leaves_their_ends_to_the_program() {
    let device = device("fault:ram:1MiB,rule=flush:latency=20ms");
    let (mut channel, disk) = channel::<&str>(&*device, 2);
    let data = block(&channel, 5);
    channel.submit(disk, write(1), data, "write").expect("room");
    channel.submit(disk, Op::Flush, None, "flush").expect("room");
    let data = block(&channel, 0);
    let done = channel.call(disk, Op::Verify(at(3)), None);
    assert_eq!((done.outcome, channel.in_flight()), (Ok(0), 2), "a call has a place of its own");
    // While the slower one is called for, the other ends and waits for the poll.
    assert_eq!(channel.call(disk, Op::Flush, None).outcome, Ok(0));
    let mut seen = Vec::new();
    channel
        .drain(|channel, done| {
            // From within a handler, too.
            assert_eq!(channel.call(disk, Op::Verify(at(4)), None).outcome, Ok(0));
            seen.push(done.context);
        })
        .expect("it waits");
    seen.sort_unstable();
    assert_eq!(seen, ["flush", "write"]);
    let read = channel.call(disk, Op::Read(at(1)), data);
    assert_eq!(read.data.to_vec(), [5; BLOCK]);
}

#[test]
fn failures_come_back_with_their_buffers_and_kinds() {
    let device = device("fault:ram:1MiB,rule=write:nth=1:error=ENOSPC,rule=write:nth=2:status=2/80/dnr");
    let (mut channel, disk) = channel::<()>(&*device, 1);
    let outcomes = [(); 3].map(|()| {
        let data = block(&channel, 1);
        let done = channel.call(disk, write(0), data);
        assert!(done.data.is_some());
        done.outcome
    });
    let full = machine::os::disk_error_number("ENOSPC").expect("it has a number");
    assert_eq!(outcomes[0], Err(Failure::Host(full)));
    assert!(
        matches!(outcomes[1], Err(Failure::Device(status)) if (status.sct, status.sc, status.dnr) == (2, 0x80, true))
    );
    assert_eq!(outcomes[2], Ok(0));
    let data = block(&channel, 1);
    assert_eq!(channel.call(disk, write(5000), data).outcome, Err(Failure::OutOfRange));
    assert_eq!(channel.call(disk, Op::Read(at(0)), None).outcome, Err(Failure::BadTransfer), "no buffer");
}

#[test]
fn requests_are_cancelled_one_by_one_and_together() {
    let device = device("fault:ram:1MiB,rule=flush:drop");
    let (mut channel, disk) = channel::<u8>(&*device, 4);
    let tickets = [1, 2, 3].map(|context| channel.submit(disk, Op::Flush, None, context).expect("room"));
    assert_eq!(channel.wait(Some(Duration::from_millis(1)), |_, _| panic!("none ends")).expect("it waits"), 0);
    channel.cancel(tickets[1]);
    let mut seen = Vec::new();
    channel.wait(None, |_, done| seen.push((done.context, done.outcome))).expect("it waits");
    assert_eq!(seen, [(2, Err(Failure::Cancelled))]);
    let again = channel.submit(disk, Op::Flush, None, 4).expect("room");
    channel.cancel(tickets[1]);
    assert_eq!(channel.poll(|_, _| panic!("a late ticket hits nobody")), 0);
    assert_ne!(again, tickets[1]);
    channel.cancel_all();
    channel.drain(|_, done| seen.push((done.context, done.outcome))).expect("it waits");
    seen.sort_unstable_by_key(|(context, _)| *context);
    assert_eq!(seen, [1, 2, 3, 4].map(|context| (context, Err(Failure::Cancelled))));
}

#[test]
fn a_buffer_goes_from_one_device_to_another() {
    let (from, to) = (device("ram:1MiB"), device("ram:1MiB"));
    let (mut channel, source) = channel::<()>(&*from, 2);
    let target = channel.attach(&*to).expect("a queue");
    let data = block(&channel, 3);
    assert_eq!(channel.call(source, write(7), data).outcome, Ok(0));
    let data = block(&channel, 0);
    let read = channel.call(source, Op::Read(at(7)), data);
    assert_eq!(channel.call(target, write(7), read.data).outcome, Ok(0));
    let data = block(&channel, 3);
    assert_eq!(channel.call(target, Op::Compare(at(7)), data).outcome, Ok(0));
    channel.copy(target, &[at(7), at(7)], Range { lba: 20, blocks: 2 }, false, ()).expect("room");
    channel.drain(|_, done| assert_eq!(done.outcome, Ok(0))).expect("it waits");
    let data = block(&channel, 3);
    assert_eq!(channel.call(target, Op::Compare(at(21)), data).outcome, Ok(0));
}

#[test]
fn devices_without_native_commands_give_them_back() {
    let device = device("ram:1MiB");
    let (mut channel, disk) = channel::<u8>(&*device, 1);
    let native =
        Native { sqe: Sqe { opcode: 0x0c, ..Sqe::default() }, data: channel.buffer().into(), ..Native::default() };
    let untaken = channel.command(disk, native, 8).expect_err("memory has none");
    assert_eq!((untaken.context, untaken.why, untaken.native.sqe.opcode), (8, Why::NotNative, 0x0c));
    let native = channel.call_native(disk, untaken.native).err().expect("as before");
    assert!(native.data.is_some() && channel.in_flight() == 0);
}

#[test]
fn another_thread_ends_a_wait() {
    let device = device("fault:ram:1MiB,rule=flush:drop");
    let (mut channel, disk) = channel::<()>(&*device, 1);
    assert_eq!(channel.wait(None, |_, _| ()).expect("it returns"), 0, "nothing is in flight");
    channel.submit(disk, Op::Flush, None, ()).expect("room");
    for _ in 0..100 {
        let wake = channel.wake();
        let other = thread::spawn(move || wake.wake());
        assert_eq!(channel.wait(None, |_, _| panic!("it never ends")).expect("it waits"), 0);
        other.join().expect("no panic");
    }
    channel.cancel_all();
    channel.drain(|_, _| ()).expect("it waits");
}
