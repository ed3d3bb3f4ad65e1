//! The protocol without devices: some reactors whose devices are lists, stepped in any order.

use block::{Op, Range};
use proptest::prelude::*;

use super::*;

/// What happens to a reactor.
#[derive(Clone, Debug)]
enum Step {
    /// A connection wants blocks of a device for itself.
    Want { reactor: usize, device: u8, lba: u64 },
    /// A connection writes, if nothing is held back.
    Write { reactor: usize, device: u8, lba: u64 },
    /// The device is done with the oldest write.
    Written { reactor: usize },
    /// Whoever has a range is done with it, or goes while a device has its request.
    Done { reactor: usize, leaves: bool },
    /// A connection goes that has asked and was not granted yet.
    Gone { reactor: usize },
    /// A pass.
    Pass { reactor: usize },
}

const REACTORS: usize = 3;

fn step() -> impl Strategy<Value = Step> {
    let (reactor, device, lba) = (0..REACTORS, 0..2u8, 0..6u64);
    prop_oneof![
        2 => (reactor.clone(), device.clone(), lba.clone())
            .prop_map(|(reactor, device, lba)| Step::Want { reactor, device, lba }),
        4 => (reactor.clone(), device, lba).prop_map(|(reactor, device, lba)| Step::Write { reactor, device, lba }),
        4 => reactor.clone().prop_map(|reactor| Step::Written { reactor }),
        3 => (reactor.clone(), any::<bool>()).prop_map(|(reactor, leaves)| Step::Done { reactor, leaves }),
        1 => reactor.clone().prop_map(|reactor| Step::Gone { reactor }),
        8 => reactor.prop_map(|reactor| Step::Pass { reactor }),
    ]
}

fn key(device: u8) -> Key {
    Key::test(u128::from(device) + 7)
}

fn blocks(lba: u64) -> Range {
    Range { lba, blocks: 2 }
}

/// A request of a reactor that is under way.
struct Wanted {
    ticket: u32,
    key: Key,
    range: Range,
    granted: bool,
}

struct Reactor {
    exclusive: Exclusive,
    writes: Vec<(Key, Range)>,
    wanted: Vec<Wanted>,
    /// Those whose connections are gone while the device has their request.
    leaving: Vec<(Owner, Key, Range)>,
    owners: u32,
}

struct World(Vec<Reactor>);

impl World {
    fn new() -> Self {
        let reactor = |ports| Reactor {
            exclusive: Exclusive::new(ports),
            writes: Vec::new(),
            wanted: Vec::new(),
            leaving: Vec::new(),
            owners: 0,
        };
        Self(ports(REACTORS).into_iter().map(reactor).collect())
    }

    fn pass(&mut self, reactor: usize) {
        let it = &mut self.0[reactor];
        loop {
            let moved = it.exclusive.exchange();
            let is_busy = |key, range: Range| {
                let mut there = it.writes.iter().copied().chain(it.leaving.iter().map(|&(_, key, range)| (key, range)));
                there.any(|(other, write)| other == key && write.overlaps(range))
            };
            while let Some(hold) = it.exclusive.due(is_busy) {
                it.exclusive.settle(hold);
            }
            while let Some((_, ticket)) = it.exclusive.granted() {
                let wanted = it.wanted.iter_mut().find(|wanted| wanted.ticket == ticket);
                wanted.expect("granted to nobody").granted = true;
            }
            if moved == 0 && it.exclusive.post.is_empty() {
                return;
            }
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Want { reactor, device, lba } => {
                let it = &mut self.0[reactor];
                if it.exclusive.begin() {
                    it.owners += 1;
                    let owner = Owner { connection: it.owners, generation: 0, slot: 0 };
                    let ticket = it.exclusive.ask(key(device), blocks(lba), owner);
                    it.wanted.push(Wanted { ticket, key: key(device), range: blocks(lba), granted: false });
                }
            }
            Step::Write { reactor, device, lba } => {
                let (it, op) = (&mut self.0[reactor], Op::Write { range: blocks(lba), fua: false });
                if !it.exclusive.holds_back(key(device), &op) {
                    it.writes.push((key(device), blocks(lba)));
                }
            }
            Step::Written { reactor } => {
                let it = &mut self.0[reactor];
                if !it.writes.is_empty() {
                    it.writes.remove(0);
                } else if let Some((owner, ..)) = it.leaving.pop() {
                    it.exclusive.returned(owner);
                }
            }
            Step::Done { reactor, leaves } => {
                let it = &mut self.0[reactor];
                let Some(at) = it.wanted.iter().position(|wanted| wanted.granted) else { return };
                let wanted = it.wanted.remove(at);
                if leaves {
                    it.owners += 1;
                    let owner = Owner { connection: it.owners, generation: 0, slot: 1 };
                    it.exclusive.leave(wanted.ticket, owner);
                    it.leaving.push((owner, wanted.key, wanted.range));
                } else {
                    it.exclusive.over(Some(wanted.ticket));
                }
            }
            Step::Gone { reactor } => {
                let it = &mut self.0[reactor];
                if let Some(at) = it.wanted.iter().position(|wanted| !wanted.granted) {
                    let wanted = it.wanted.remove(at);
                    it.exclusive.over(Some(wanted.ticket));
                }
            }
            Step::Pass { reactor } => self.pass(reactor),
        }
    }

    /// Nobody else has anything where somebody was granted blocks.
    fn check(&self) {
        let granted = |it: &Reactor| {
            let wanted = it.wanted.iter().filter(|wanted| wanted.granted).map(|wanted| (wanted.key, wanted.range));
            wanted.chain(it.leaving.iter().map(|&(_, key, range)| (key, range))).collect::<Vec<_>>()
        };
        let all: Vec<_> = self.0.iter().flat_map(granted).collect();
        for (at, (key, range)) in all.iter().enumerate() {
            let other = all[at + 1..].iter().any(|(other, overlapping)| other == key && overlapping.overlaps(*range));
            assert!(!other, "two have {range:?}");
            let writes = self.0.iter().flat_map(|it| &it.writes);
            let written = writes.clone().any(|(other, write)| other == key && write.overlaps(*range));
            assert!(!written, "somebody writes to {range:?}, which is given away");
        }
    }

    /// Everybody finishes what is under way.
    fn finish(&mut self) {
        // A round settles at least one request.
        for _ in 0..REACTORS * EXCLUSIVE * 4 {
            for reactor in 0..REACTORS {
                self.take(Step::Written { reactor });
                self.take(Step::Done { reactor, leaves: false });
                self.pass(reactor);
            }
            self.check();
        }
    }
}

proptest! {
    #[test]
    fn whoever_has_a_range_has_it_alone_and_everybody_gets_it(
        steps in proptest::collection::vec(step(), 0..400),
    ) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
            world.check();
        }
        world.finish();
        for it in &world.0 {
            prop_assert!(it.wanted.is_empty(), "a request was forgotten");
            prop_assert_eq!(it.exclusive.len(), 0, "something is left behind");
        }
    }
}

#[test]
fn a_full_table_takes_no_further_command_until_one_is_over() {
    let mut world = World::new();
    let it = &mut world.0[0].exclusive;
    assert!((0..EXCLUSIVE).all(|_| it.begin()));
    assert!(!it.begin());
    it.over(None);
    assert!(it.begin());
    assert!(!it.begin());
}

#[test]
fn a_way_has_room_for_all_that_can_be_under_way() {
    let mut world = World::new();
    for round in 0..4 {
        for reactor in 0..REACTORS {
            for lba in 0..EXCLUSIVE as u64 {
                world.take(Step::Want { reactor, device: (lba % 40) as u8, lba });
            }
            // Sends all of it, while the others do not read.
            world.pass(reactor);
        }
        world.finish();
        assert!(world.0.iter().all(|it| it.exclusive.len() == 0), "round {round}");
    }
}

#[test]
fn homes_are_spread() {
    let mut count = [0; 4];
    (0..400).for_each(|number| count[Key::test(number).home(4)] += 1);
    assert!(count.iter().all(|&count| count > 50), "{count:?}");
}

#[test]
fn a_copy_may_read_anywhere() {
    let (here, there) = (Range { lba: 8, blocks: 8 }, Range { lba: 800, blocks: 1 });
    assert!(touches(&Op::Copy { range: there, fua: false }, here));
    assert!(!touches(&Op::Write { range: there, fua: false }, here));
    assert!(touches(&Op::Read(Range { lba: 15, blocks: 1 }), here));
    assert!(!touches(&Op::Flush, here));
}
