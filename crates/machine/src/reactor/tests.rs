//! Accounting, sleeping and stopping of the loop.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Instant;

use super::*;
use crate::ring::Waker;

fn config(mode: Mode) -> ReactorConfig {
    ReactorConfig { name: "test".to_owned(), cpu: None, mode, ring: RingKind::Auto }
}

/// A poller made of functions.
struct Made<P, A> {
    poll: P,
    arm: A,
    drained: Arc<AtomicBool>,
}

impl<P: FnMut(&mut Context<'_>) -> usize, A: FnMut() -> Arm> Poller for Made<P, A> {
    fn name(&self) -> &'static str {
        "made"
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> usize {
        (self.poll)(cx)
    }

    fn arm(&mut self, _cx: &mut Context<'_>) -> Arm {
        (self.arm)()
    }

    fn drained(&self) -> bool {
        self.drained.load(Ordering::Relaxed)
    }
}

fn made<P: FnMut(&mut Context<'_>) -> usize, A: FnMut() -> Arm>(poll: P, arm: A) -> Made<P, A> {
    Made { poll, arm, drained: Arc::new(AtomicBool::new(true)) }
}

/// Runs one poller here for so long.
fn run_for(time: Duration, mode: Mode, poller: &mut dyn Poller) -> Snapshot {
    let mut ring = Ring::new().expect("a ring");
    let start = Instant::now();
    Reactor::run_here(&config(mode), &mut ring, &mut [poller], || start.elapsed() >= time).expect("not pinned")
}

#[test]
fn the_three_clocks_add_up_to_wall_time() {
    for mode in [Mode::Shared, Mode::Spin(Duration::from_millis(1)), Mode::Auto] {
        const WORK: Duration = Duration::from_millis(2);
        let (mut first, mut last, mut worked) = (None, Instant::now(), Instant::now());
        // 2 ms of work every 10 ms.
        let mut poller = made(
            |_| {
                last = Instant::now();
                first.get_or_insert(last);
                let due = worked.elapsed() >= 4 * WORK;
                if due {
                    worked = Instant::now();
                    while worked.elapsed() < WORK {}
                }
                usize::from(due)
            },
            || Arm::PollEvery(WORK),
        );
        let start = Instant::now();
        let snapshot = run_for(Duration::from_millis(200), mode, &mut poller);
        let wall = start.elapsed();
        let sum = snapshot.busy + snapshot.idle + snapshot.asleep;
        // Exact on a loaded machine too: from before the first poll to after the last one, without a gap.
        let polled = last - first.expect("polled");
        assert!(sum >= polled && sum <= wall, "{polled:?} <= {sum:?} <= {wall:?}: {snapshot:?}");
        let hits = snapshot.pollers[0].hits;
        assert!(hits > 0 && snapshot.busy >= WORK * hits as u32, "{snapshot:?}");
        assert!(snapshot.sleeps > 0 && !snapshot.asleep.is_zero(), "{snapshot:?}");
        assert_eq!(snapshot.passes, snapshot.pollers[0].runs);
        assert_eq!(snapshot.pollers[0].hits, snapshot.pollers[0].units);
    }
}

#[test]
fn poll_every_sleeps_in_between() {
    let snapshot = run_for(
        Duration::from_millis(200),
        Mode::Shared,
        &mut made(|_| 0, || Arm::PollEvery(Duration::from_millis(10))),
    );
    assert!((2..=21).contains(&snapshot.pollers[0].runs), "{snapshot:?}");
    assert!(snapshot.share_asleep() > 0.5, "{snapshot:?}");
}

#[test]
fn dedicated_does_not_sleep_and_neither_does_a_busy_poller() {
    let time = Duration::from_millis(20);
    let dedicated = run_for(time, Mode::Dedicated, &mut made(|cx| usize::from(!cx.spinning), || panic!("not asked")));
    assert_eq!((dedicated.sleeps, dedicated.busy, dedicated.effective()), (0, Duration::ZERO, 0.0));
    let busy = run_for(time, Mode::Shared, &mut made(|cx| usize::from(cx.spinning), || Arm::Busy));
    assert_eq!((busy.sleeps, busy.busy), (0, Duration::ZERO));
    assert!(busy.passes > 10);
}

#[test]
fn the_end_condition_is_looked_at_although_nothing_happens() {
    let start = Instant::now();
    run_for(Duration::from_millis(30), Mode::Shared, &mut made(|_| 0, || Arm::Armed));
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn stopping_waits_until_the_pollers_are_drained() {
    let drained = Arc::new(AtomicBool::new(false));
    let (answer, stopped_polls) = (Arc::clone(&drained), Arc::new(AtomicU64::new(0)));
    let polls = Arc::clone(&stopped_polls);
    let reactor = Reactor::spawn(config(Mode::Shared), move |_| {
        let told = Arc::clone(&drained);
        let poll = move |cx: &mut Context<'_>| {
            let polls = polls.fetch_add(u64::from(cx.stopping), Ordering::Relaxed);
            told.store(polls >= 3, Ordering::Relaxed);
            usize::from(cx.stopping)
        };
        Ok(vec![Box::new(Made { poll, arm: || Arm::Armed, drained })])
    })
    .expect("started");
    std::thread::sleep(Duration::from_millis(30));
    assert!(!reactor.is_finished());
    let before = reactor.stats();
    assert!(before.share_asleep() > 0.5 || before.passes < 10, "{before:?}");
    let start = Instant::now();
    reactor.stop();
    assert_eq!(reactor.name(), "test");
    assert_eq!(reactor.join(), Ok(()));
    assert!(start.elapsed() < Duration::from_secs(5), "it was woken");
    assert!(answer.load(Ordering::Relaxed) && stopped_polls.load(Ordering::Relaxed) == 4);
}

#[test]
fn a_panic_is_told_and_so_is_a_failed_start() {
    let reactor =
        Reactor::spawn(config(Mode::Shared), |_| Ok(vec![Box::new(made(|_| panic!("bug {}", 17), || Arm::Armed))]))
            .expect("started");
    let panicked = reactor.join().expect_err("it panicked");
    assert_eq!(panicked.to_string(), "reactor test panicked: bug 17");

    let refused = Reactor::spawn(config(Mode::Shared), |_| Err(io::ErrorKind::AddrInUse.into()));
    assert_eq!(refused.err().expect("refused").kind(), io::ErrorKind::AddrInUse);
    let panicked = Reactor::spawn(config(Mode::Shared), |_| panic!("no pollers"));
    assert!(panicked.err().expect("panicked").to_string().contains("no pollers"));
    let nowhere = Reactor::spawn(ReactorConfig { cpu: Some(1 << 20), ..config(Mode::Shared) }, |_| Ok(Vec::new()));
    assert_eq!(nowhere.err().expect("no such core").kind(), io::ErrorKind::InvalidInput);
}

/// Sends each number on to another reactor, one higher, and the last one to the test.
struct PingPong {
    from: Mailbox<u64>,
    to: Arc<OnceLock<Sender<u64>>>,
    last: u64,
    end: mpsc::Sender<u64>,
}

impl Poller for PingPong {
    fn name(&self) -> &'static str {
        "ping-pong"
    }

    fn poll(&mut self, _cx: &mut Context<'_>) -> usize {
        let Some(number) = self.from.take() else { return 0 };
        if number == self.last {
            self.end.send(number).expect("the test waits");
        } else {
            self.to.get().expect("set before the first number").send(number + 1).expect("one number is under way");
        }
        1
    }

    fn arm(&mut self, _cx: &mut Context<'_>) -> Arm {
        self.from.arm()
    }
}

#[test]
fn no_message_between_sleeping_reactors_is_lost() {
    const LAST: u64 = 10_000;
    let (end, ended) = mpsc::channel();
    let ways = [Arc::new(OnceLock::new()), Arc::new(OnceLock::new())];
    let reactors = [0, 1].map(|side| {
        let (own, to, end) = (Arc::clone(&ways[side]), Arc::clone(&ways[1 - side]), end.clone());
        Reactor::spawn(config(Mode::Shared), move |ring| {
            let (sender, from) = mailbox(1, ring.waker());
            own.set(sender).ok().expect("set once");
            Ok(vec![Box::new(PingPong { from, to, last: LAST, end })])
        })
        .expect("started")
    });
    ways[0].get().expect("built").send(0).expect("room");
    assert_eq!(ended.recv_timeout(Duration::from_secs(20)), Ok(LAST), "a message was lost");
    for reactor in reactors {
        assert!(reactor.stats().sleeps > LAST / 100, "it did sleep");
        reactor.stop();
        reactor.join().expect("no panic");
    }
}

/// Takes one message, which comes right after it has looked for the last time before a sleep.
struct Surprised {
    from: Mailbox<()>,
    sender: Sender<()>,
    surprised: bool,
    end: mpsc::Sender<()>,
}

impl Poller for Surprised {
    fn name(&self) -> &'static str {
        "surprised"
    }

    fn poll(&mut self, _cx: &mut Context<'_>) -> usize {
        self.from.take().map_or(0, |()| self.end.send(()).map_or(0, |()| 1))
    }

    fn arm(&mut self, _cx: &mut Context<'_>) -> Arm {
        let arm = self.from.arm();
        if !std::mem::replace(&mut self.surprised, true) {
            self.sender.send(()).expect("room");
        }
        arm
    }
}

#[test]
fn a_message_between_the_last_look_and_the_sleep_is_not_lost() {
    let (end, ended) = mpsc::channel();
    let reactor = Reactor::spawn(config(Mode::Shared), move |ring| {
        let (sender, from) = mailbox(1, ring.waker());
        Ok(vec![Box::new(Surprised { from, sender, surprised: false, end })])
    })
    .expect("started");
    assert_eq!(ended.recv_timeout(Duration::from_secs(20)), Ok(()));
    reactor.stop();
    reactor.join().expect("no panic");
}

/// Counts how often it was armed and not disarmed.
struct Counting {
    armed: usize,
    answer: Arm,
}

impl Poller for Counting {
    fn name(&self) -> &'static str {
        "counting"
    }

    fn poll(&mut self, _cx: &mut Context<'_>) -> usize {
        assert_eq!(self.armed, 0, "polled while armed");
        0
    }

    fn arm(&mut self, _cx: &mut Context<'_>) -> Arm {
        self.armed += 1;
        self.answer
    }

    fn disarm(&mut self, _cx: &mut Context<'_>) {
        self.armed -= 1;
    }
}

#[test]
fn whoever_was_armed_is_disarmed_whether_the_reactor_slept_or_not() {
    for (answer, sleeps) in [(Arm::Busy, false), (Arm::PollEvery(Duration::from_millis(2)), true)] {
        let mut ring = Ring::new().expect("a ring");
        let [mut first, mut last] = [Arm::Armed, answer].map(|answer| Counting { armed: 0, answer });
        let start = Instant::now();
        let until = || start.elapsed() >= Duration::from_millis(10);
        let snapshot = Reactor::run_here(&config(Mode::Shared), &mut ring, &mut [&mut first, &mut last], until)
            .expect("not pinned");
        assert_eq!((snapshot.sleeps > 0, first.armed, last.armed), (sleeps, 0, 0));
    }
}

#[test]
fn handles_and_wakers_may_be_shared() {
    fn shared<T: Send + Sync>() {}
    shared::<Handle>();
    shared::<Waker>();
    shared::<Sender<u64>>();
}
