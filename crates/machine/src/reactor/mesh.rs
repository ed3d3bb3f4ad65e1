//! Messages between reactors: a ring for each way from one to another, so that no two of them write to the same words.
//!
//! ```text
//!               to 0      to 1      to 2          each [ ] is a bounded single-producer single-consumer ring;
//!     from 0     [ ]       [ ]       [ ]          a row is written by one reactor, a column is read by one
//!     from 1     [ ]       [ ]       [ ]
//!     from 2     [ ]       [ ]       [ ]          the diagonal: a reactor may write to itself
//! ```
//!
//! A reactor has one [`Ports`]: the writing ends of its row and the reading ends of its column. In a pass it drains,
//! works, sends, and at the end flushes: readers that sleep are woken once, however many messages they were sent. What
//! was sent is there at once for a reader that is awake.
//!
//! ```text
//!     poll     drain -> messages, their answers sent -> flush
//!     arm      flush, then Busy if a message is there
//! ```
//!
//! The rings exist before their reactors: a message to one that has not attached its waker yet is found by its first
//! pass. Messages from one reactor come in the order in which they were sent; those of several in any.
//!
//! Who has many senders, or senders that are no reactors, takes a [`mailbox`](super::mailbox).

use std::fmt;
use std::sync::Arc;

use rtrb::{Consumer, Producer, RingBuffer};

use super::Arm;
use super::bells::Bells;
use crate::ring::Waker;

/// Makes the ports of `reactors` reactors, one for each in the order of their numbers, with room for `capacity`
/// messages on each way. They are moved to the threads of their reactors and attached there.
///
/// # Panics
/// If there are no reactors or more than [`MAX_REACTORS`](crate::limits::MAX_REACTORS), or `capacity` is zero.
#[must_use]
pub fn mesh<T: Send>(reactors: usize, capacity: usize) -> Vec<Ports<T>> {
    assert!(capacity > 0, "a mesh without room for messages");
    let bells = Arc::new(Bells::new(reactors));
    let mut columns: Vec<Vec<Consumer<T>>> = (0..reactors).map(|_| Vec::with_capacity(reactors)).collect();
    let rows: Vec<Vec<Producer<T>>> = (0..reactors)
        .map(|_| {
            let ways = columns.iter_mut().map(|column| {
                let (producer, consumer) = RingBuffer::new(capacity);
                column.push(consumer);
                producer
            });
            ways.collect()
        })
        .collect();
    let ports = rows.into_iter().zip(columns).enumerate();
    ports.map(|(me, (to, from))| Ports { me, to, from, bells: Arc::clone(&bells), sent: 0, next: 0 }).collect()
}

/// One reactor's ends of a mesh. It may be moved to another thread, and is used by one at a time.
///
/// Dropping it flushes. What was sent to it and not taken is dropped with it; the others see that it
/// [`is_gone`](Ports::is_gone).
pub struct Ports<T> {
    me: usize,
    /// By reader.
    to: Vec<Producer<T>>,
    /// By sender.
    from: Vec<Consumer<T>>,
    bells: Arc<Bells<Waker>>,
    /// A bit for each reader that was sent something since the last flush.
    sent: u64,
    /// The sender whose turn it is.
    next: usize,
}

impl<T: Send> Ports<T> {
    /// The number of the reactor that these belong to.
    #[must_use]
    pub fn me(&self) -> usize {
        self.me
    }

    /// How many reactors there are, this one included.
    #[must_use]
    pub fn reactors(&self) -> usize {
        self.to.len()
    }

    /// From now on messages wake this reactor's ring. Called once, on the reactor's thread, when its ring exists and
    /// before it sleeps for the first time.
    ///
    /// # Panics
    /// If it was called before.
    pub fn attach(&mut self, waker: Waker) {
        self.bells.attach(self.me, waker);
    }

    /// Puts a message on the way to a reactor. One that sleeps finds it after [`Ports::flush`].
    ///
    /// # Errors
    /// Gives the message back if that way is full. No wake-up tells when there is room again, so whoever keeps it to
    /// send it later answers [`Arm::Busy`] from its `arm` meanwhile.
    ///
    /// # Panics
    /// If there is no reactor of that number.
    pub fn send(&mut self, to: usize, message: T) -> Result<(), T> {
        let sent = self.to[to].push(message).map_err(|rtrb::PushError::Full(message)| message);
        self.sent |= u64::from(sent.is_ok()) << to;
        sent
    }

    /// How many more messages [`Ports::send`] takes for that reactor, at least.
    ///
    /// # Panics
    /// If there is no reactor of that number.
    #[must_use]
    pub fn room(&self, to: usize) -> usize {
        self.to[to].slots()
    }

    /// Wakes the readers that sleep and were sent something. Once at the end of a pass: costs a fence then, and nothing
    /// if nothing was sent.
    pub fn flush(&mut self) {
        self.bells.ring(std::mem::take(&mut self.sent));
    }

    /// A message and the number of its sender. The senders take turns.
    #[must_use]
    pub fn take(&mut self) -> Option<(usize, T)> {
        for _ in 0..self.from.len() {
            let from = self.next;
            self.next = (from + 1) % self.from.len();
            if let Some(message) = self.take_from(from) {
                return Some((from, message));
            }
        }
        None
    }

    /// The oldest message of one sender.
    ///
    /// # Panics
    /// If there is no reactor of that number.
    #[must_use]
    pub fn take_from(&mut self, from: usize) -> Option<T> {
        self.from[from].pop().ok()
    }

    /// Moves the messages that are there now to the end of `out`, each with the number of its sender, and tells how
    /// many there were. At most `capacity` of each sender: an `out` with room for so many never grows.
    pub fn drain(&mut self, out: &mut Vec<(usize, T)>) -> usize {
        let before = out.len();
        for (from, way) in self.from.iter_mut().enumerate() {
            let messages = way.read_chunk(way.slots()).expect("so many are there");
            out.extend(messages.into_iter().map(|message| (from, message)));
        }
        out.len() - before
    }

    /// Whether no message is to be taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.from.iter().all(Consumer::is_empty)
    }

    /// The answer for the reactor's `arm`, after a flush: a message that comes from now on wakes the reactor.
    #[must_use]
    pub fn arm(&mut self) -> Arm {
        self.flush();
        if self.is_empty() { Arm::Armed } else { Arm::Busy }
    }

    /// Whether that reactor's ports are gone: what is sent there is not read any more.
    ///
    /// # Panics
    /// If there is no reactor of that number.
    #[must_use]
    pub fn is_gone(&self, reactor: usize) -> bool {
        self.to[reactor].is_abandoned()
    }
}

impl<T> Drop for Ports<T> {
    fn drop(&mut self) {
        self.bells.ring(self.sent);
    }
}

impl<T> fmt::Debug for Ports<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ports({} of {})", self.me, self.to.len())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::reactor::{Context, Mode, Poller, Reactor, ReactorConfig};
    use crate::ring::{Ring, RingKind, Wait};

    fn drained<T: Send>(ports: &mut Ports<T>) -> Vec<(usize, T)> {
        let mut out = Vec::new();
        assert_eq!(ports.drain(&mut out), out.len());
        out
    }

    #[test]
    fn each_way_has_its_own_room_and_keeps_its_order() {
        let mut all = mesh(3, 2);
        for (from, ports) in all.iter_mut().enumerate() {
            assert_eq!((ports.me(), ports.reactors()), (from, 3));
            for to in 0..3 {
                let message = |count| (from, to, count);
                assert_eq!(ports.room(to), 2);
                assert_eq!(ports.send(to, message(0)), Ok(()));
                assert_eq!(ports.send(to, message(1)), Ok(()));
                assert_eq!(ports.send(to, message(2)), Err(message(2)), "full: it is given back");
                assert_eq!(ports.room(to), 0);
            }
        }
        for (to, ports) in all.iter_mut().enumerate() {
            let expected = (0..3).flat_map(|from| [(from, (from, to, 0)), (from, (from, to, 1))]);
            assert_eq!(drained(ports), expected.collect::<Vec<_>>());
            assert!(ports.is_empty());
        }
        assert_eq!(all[1].room(2), 2);
    }

    #[test]
    fn senders_take_turns() {
        let mut all = mesh(3, 4);
        for (from, count) in [(0, 3), (2, 2)] {
            (0..count).for_each(|number| all[from].send(1, number).expect("room"));
        }
        assert_eq!(all[1].take_from(1), None);
        let turns: Vec<_> = std::iter::from_fn(|| all[1].take()).collect();
        assert_eq!(turns, [(0, 0), (2, 0), (0, 1), (2, 1), (0, 2)]);
    }

    #[test]
    fn arm_sees_messages_and_one_wake_up_is_enough_for_many() {
        let mut ring = Ring::new().expect("a ring");
        let mut all = mesh(2, 4);
        let mut reader = all.pop().expect("two");
        let mut sender = all.pop().expect("two");
        assert_eq!(sender.send(1, 0), Ok(()));
        sender.flush();
        reader.attach(ring.waker());
        assert_eq!(reader.arm(), Arm::Busy, "what was sent before it attached is there");
        assert_eq!(drained(&mut reader), [(0, 0)]);
        ring.announce_sleep();
        assert_eq!(reader.arm(), Arm::Armed);
        assert_eq!((sender.send(1, 1), sender.send(1, 2)), (Ok(()), Ok(())));
        sender.flush();
        assert!(!ring.waker().flag().must_signal(), "the flush has signalled");
        // The signal is there: this returns at once.
        ring.enter(Wait::Forever).expect("a ring");
        assert_eq!(drained(&mut reader), [(0, 1), (0, 2)]);
        ring.announce_sleep();
        sender.flush();
        assert!(ring.waker().flag().must_signal(), "nothing was sent: nothing to wake for");
    }

    #[test]
    fn who_is_gone_is_seen_and_leaves_its_last_messages() {
        let mut all = mesh(2, 1);
        let (mut other, mut first) = (all.pop().expect("two"), all.pop().expect("two"));
        assert_eq!(other.send(0, String::from("last")), Ok(()));
        assert!(!first.is_gone(1));
        drop(other);
        assert!(first.is_gone(1));
        assert_eq!(first.take(), Some((1, String::from("last"))));
        assert_eq!(first.send(1, String::from("in vain")), Ok(()));
    }

    #[test]
    #[should_panic = "reader 0 is attached once"]
    fn attaching_twice_is_a_bug() {
        let ring = Ring::new().expect("a ring");
        let mut all = mesh::<()>(1, 1);
        all[0].attach(ring.waker());
        all[0].attach(ring.waker());
    }

    /// Sends what it gets on to the next reactor, one higher; the numbers that are high enough go to the test.
    struct Relay {
        ports: Ports<u64>,
        inbox: Vec<(usize, u64)>,
        last: u64,
        end: mpsc::Sender<u64>,
    }

    impl Poller for Relay {
        fn name(&self) -> &'static str {
            "relay"
        }

        fn poll(&mut self, _cx: &mut Context<'_>) -> usize {
            self.ports.drain(&mut self.inbox);
            let next = (self.ports.me() + 1) % self.ports.reactors();
            let count = self.inbox.len();
            for (_, number) in self.inbox.drain(..) {
                if number >= self.last {
                    self.end.send(number).expect("the test waits");
                } else {
                    self.ports.send(next, number + 1).expect("room for all numbers");
                }
            }
            self.ports.flush();
            count
        }

        fn arm(&mut self, _cx: &mut Context<'_>) -> Arm {
            self.ports.arm()
        }
    }

    #[test]
    fn no_message_between_sleeping_reactors_is_lost_though_some_attach_late() {
        const LAST: u64 = 9_000;
        const NUMBERS: u64 = 4;
        let (end, ended) = mpsc::channel();
        let mut all = mesh(3, NUMBERS as usize);
        for number in 0..NUMBERS {
            // From a reactor that has not started, to one that has not started.
            all[0].send(1, number).expect("room");
        }
        let start = |ports: Ports<u64>| {
            let end = end.clone();
            let config = ReactorConfig {
                name: format!("mesh-{}", ports.me()),
                cpu: None,
                mode: Mode::Shared,
                ring: RingKind::Auto,
            };
            Reactor::spawn(config, move |ring| {
                let mut ports = ports;
                ports.attach(ring.waker());
                Ok(vec![Box::new(Relay { ports, inbox: Vec::new(), last: LAST, end })])
            })
            .expect("started")
        };
        // The first ones to start pass messages on to others that are not there.
        let reactors: Vec<_> = all.into_iter().map(start).collect();
        for _ in 0..NUMBERS {
            let number = ended.recv_timeout(Duration::from_secs(20)).expect("a message was lost");
            assert_eq!(number, LAST);
        }
        assert!(reactors.iter().any(|reactor| reactor.stats().sleeps > 0), "they did sleep");
        for reactor in reactors {
            reactor.stop();
            reactor.join().expect("no panic");
        }
    }
}
