//! One namespace, two targets that lead to it: the first is used, the second when the first is away.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use super::target::{Config, Fault, Target};
use super::{Rig, pattern};
use crate::nvme::tcp::{PathState, PathStats, Retry, TcpDevice, Uri};
use crate::{Device, Failure, Op, Range};

fn write(lba: u64) -> Op {
    Op::Write { range: Range { lba, blocks: 1 }, fua: false }
}

fn uri(first: &Target, second: &Target) -> Uri {
    let mut uri = first.uri();
    uri.others.push(("127.0.0.1".to_owned(), second.address.port()));
    uri.reconnect_delay = Duration::from_millis(2);
    uri
}

fn pair(config: Config, change: impl Fn(&mut Uri)) -> (Target, Target, Rig) {
    let first = Target::start(config);
    let second = first.beside(Config::default());
    let mut uri = uri(&first, &second);
    change(&mut uri);
    let rig = Rig::new(uri);
    (first, second, rig)
}

fn path(rig: &Rig, at: usize) -> PathStats {
    rig.device.paths().remove(at)
}

fn leaves(target: &Target) {
    target.change(|config| config.away = true);
    target.hang_up();
}

fn sent(first: &Target, second: &Target) -> (usize, usize) {
    (first.seen().io_commands.load(SeqCst), second.seen().io_commands.load(SeqCst))
}

#[test]
fn the_first_path_is_used_while_it_works_and_again_when_it_is_back() {
    let (first, second, mut rig) = pair(Config::default(), |_| {});
    assert_eq!(rig.device.paths().len(), 2);
    rig.write(1, &pattern(512, 1));
    assert_eq!(sent(&first, &second), (1, 0));
    leaves(&first);
    rig.until("the first path is gone", |rig| path(rig, 0).state == PathState::Reconnecting);
    rig.write(2, &pattern(512, 2));
    assert_eq!(rig.read(1, 1), pattern(512, 1));
    assert_eq!(sent(&first, &second), (1, 2));
    first.change(|config| config.away = false);
    rig.until("it is back", |rig| path(rig, 0).state == PathState::Live);
    rig.until("it is used", |rig| {
        rig.read(2, 1);
        first.seen().io_commands.load(SeqCst) > 1
    });
    let stats = rig.device.paths();
    assert_eq!((stats[0].commands, stats[1].commands), {
        let (one, two) = sent(&first, &second);
        (one as u64, two as u64)
    });
    assert_eq!(rig.device.info().name.parse::<Uri>().expect("a name").others.len(), 1);
}

#[test]
fn what_was_in_flight_on_a_path_that_broke_goes_to_the_other() {
    for (retry, outcome) in [(Retry::Idempotent, Ok(())), (Retry::None, Err(Failure::Disconnected))] {
        let (first, second, mut rig) =
            pair(Config { fault: Fault::Silent, ..Config::default() }, |uri| uri.retry = retry);
        for tag in 0..8 {
            assert!(rig.submit_bytes(tag, write(tag), &pattern(512, tag as u32)));
        }
        rig.until("they arrive", |_| first.seen().io_commands.load(SeqCst) == 8);
        leaves(&first);
        assert!(rig.finish().iter().all(|done| done.outcome == outcome));
        assert_eq!(rig.pool.free(), 40);
        if retry == Retry::None {
            assert_eq!(sent(&first, &second), (8, 0));
            continue;
        }
        for tag in 0..8 {
            assert_eq!(rig.read(tag, 1), pattern(512, tag as u32));
        }
        assert_eq!(path(&rig, 1).resent, 8);
    }
}

#[test]
fn a_path_may_be_missing_at_first() {
    let first = Target::start(Config { away: true, ..Config::default() });
    let second = first.beside(Config::default());
    let mut rig = Rig::new(uri(&first, &second));
    rig.write(9, &pattern(512, 9));
    assert_eq!(path(&rig, 0).state, PathState::Reconnecting);
    first.change(|config| config.away = false);
    rig.until("it comes", |rig| path(rig, 0).state == PathState::Live);
    rig.until("it is used", |rig| {
        assert_eq!(rig.read(9, 1), pattern(512, 9));
        first.seen().io_commands.load(SeqCst) > 0
    });
}

#[test]
fn paths_must_lead_to_one_namespace() {
    let first = Target::start(Config::default());
    let second = first.beside(Config { uuid: *b"another uuid ...", ..Config::default() });
    let Err(error) = TcpDevice::connect(uri(&first, &second)) else { panic!("two disks are not one") };
    assert!(error.why.contains("is another one"), "{error}");

    let third = first.beside(Config::default());
    let mut uris = uri(&first, &third).paths();
    uris[1].subnqn.push('x');
    let Err(error) = TcpDevice::connect_paths(uris) else { panic!("two subsystems are not one") };
    assert!(error.why.contains("another subsystem"), "{error}");
}

#[test]
fn a_path_that_comes_back_to_another_namespace_is_lost_alone() {
    let (first, _second, mut rig) = pair(Config::default(), |_| {});
    first.change(|config| config.uuid[0] ^= 1);
    first.hang_up();
    rig.until("it is given up", |rig| path(rig, 0).state == PathState::Lost);
    rig.write(5, &pattern(512, 5));
    assert_eq!(path(&rig, 1).state, PathState::Live);
    drop(rig.device.open_queue(&mut rig.ring).expect("on the other path"));
}

#[test]
fn when_no_path_is_left_the_device_is_given_up() {
    let (first, second, mut rig) = pair(Config::default(), |uri| {
        uri.ctrl_loss_timeout = Some(Duration::from_millis(100));
    });
    leaves(&first);
    leaves(&second);
    assert_eq!(rig.one(Op::Flush, &[]).0.map_err(|_| ()), Err(()));
    assert!(rig.device.paths().iter().all(|path| path.state == PathState::Lost));
    assert!(rig.device.open_queue(&mut rig.ring).is_err());
}

#[test]
fn numbers_are_given_back_when_a_queue_has_no_seat_on_every_path() {
    let first = Target::start(Config::default());
    let second = first.beside(Config { queues: 1, ..Config::default() });
    let mut rig = Rig::new(uri(&first, &second));
    for _ in 0..6 {
        assert!(rig.device.open_queue(&mut rig.ring).is_err(), "the second path has one queue");
    }
    rig.write(1, &pattern(512, 1));
}
