//! Random sequences of commands on two connections and two reactors, against a vector of bytes.
//!
//! Commands of one batch are in flight at once and touch different extents; between batches all is answered. So every
//! read has exactly one right answer.

use machine::reactor::Mode;
use proptest::prelude::*;
use qpair_nvmf::Subsystem;
use wire::nvme::{DsmRange, Sqe};
use wire::tcp::digest::Digests;
use zerocopy::IntoBytes;

use crate::common::{ALL_DIGESTS, Association, Data, Host, NQN, Rig, devices, pattern, same};

/// The disk is cut into so many extents; a command stays in its own.
const EXTENTS: usize = 12;
const EXTENT: usize = 128 << 10;
const DISK: usize = EXTENTS * EXTENT;

#[derive(Clone, Copy, Debug)]
enum Kind {
    Read,
    Write { fua: bool },
    WriteZeroes { deac: bool },
    Deallocate,
    Flush,
}

/// A command on some blocks of an extent; `from` and `length` are shares of it.
#[derive(Clone, Copy, Debug)]
struct Step {
    kind: Kind,
    on: bool,
    from: f64,
    length: f64,
    seed: u64,
}

#[derive(Clone, Debug)]
struct Case {
    device: usize,
    in_capsule_bytes: u32,
    digests: [usize; 2],
    flow_control_disabled: [bool; 2],
    chunk: u32,
    spin: bool,
    batches: Vec<Vec<Step>>,
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![
        4 => Just(Kind::Read),
        5 => any::<bool>().prop_map(|fua| Kind::Write { fua }),
        1 => any::<bool>().prop_map(|deac| Kind::WriteZeroes { deac }),
        1 => Just(Kind::Deallocate),
        1 => Just(Kind::Flush),
    ];
    // Short ones are as likely as long ones.
    let length = prop_oneof![0.0..0.1, 0.0..1.0];
    (kind, any::<bool>(), 0.0..1.0, length, any::<u64>()).prop_map(|(kind, on, from, length, seed)| Step {
        kind,
        on,
        from,
        length,
        seed,
    })
}

fn case() -> impl Strategy<Value = Case> {
    let in_capsule = prop_oneof![Just(0u32), Just(512), Just(4096), Just(8192), Just(16384), Just(65536)];
    let chunk = prop_oneof![Just(u32::MAX), Just(4096), (1u32..32768).prop_map(|dwords| dwords * 4)];
    let batches = prop::collection::vec(prop::collection::vec(step(), 1..=EXTENTS), 1..14);
    (0..3usize, in_capsule, [0..4usize, 0..4usize], any::<[bool; 2]>(), chunk, any::<bool>(), batches).prop_map(
        |(device, in_capsule_bytes, digests, flow_control_disabled, chunk, spin, batches)| Case {
            device,
            in_capsule_bytes,
            digests,
            flow_control_disabled,
            chunk,
            spin,
            batches,
        },
    )
}

/// What a step should bring once it is answered.
struct Pending {
    connection: usize,
    slot: wire::tcp::Slot,
    expected: Option<Vec<u8>>,
}

struct World {
    queues: [Host; 2],
    model: Vec<u8>,
    block: usize,
    in_capsule_bytes: u32,
    /// Whether deallocated blocks read as zeros; if not, the model leaves them out.
    zeros: bool,
}

impl World {
    fn submit(&mut self, extent: usize, step: &Step) -> Pending {
        let block = self.block;
        let blocks = EXTENT / block;
        let first = ((step.from * blocks as f64) as usize).min(blocks - 1);
        let count = 1 + (step.length * (blocks - first - 1) as f64) as usize;
        let (from, bytes) = (extent * EXTENT + first * block, count * block);
        let (slba, nlb) = ((from / block) as u64, count as u32);
        let connection = usize::from(step.on);
        let queue = &mut self.queues[connection];
        let place = from..from + bytes;
        let mut expected = None;
        let slot = match step.kind {
            Kind::Read => {
                expected = Some(self.model[place].to_vec());
                queue.submit(Sqe::read(1, slba, nlb), Data::Read(bytes))
            }
            Kind::Write { fua } => {
                let data = pattern(step.seed, bytes);
                self.model[place].copy_from_slice(&data);
                let fits = bytes <= self.in_capsule_bytes as usize && !step.seed.is_multiple_of(4);
                let way = if fits { Data::Capsule(&data) } else { Data::R2t(&data) };
                queue.submit(Sqe::write(1, slba, nlb, fua), way)
            }
            Kind::WriteZeroes { deac } => {
                self.model[place].fill(0);
                queue.submit(Sqe::write_zeroes(1, slba, nlb, deac, false), Data::None)
            }
            Kind::Deallocate if self.zeros => {
                self.model[place].fill(0);
                let (half, rest) = (nlb / 2, nlb - nlb / 2);
                let ranges = [DsmRange::new(slba + u64::from(half), rest), DsmRange::new(slba, half)];
                queue.submit(Sqe::dsm(1, 2, true), Data::R2t(ranges.as_bytes()))
            }
            Kind::Deallocate | Kind::Flush => queue.submit(Sqe::flush(1), Data::None),
        };
        Pending { connection, slot, expected }
    }

    fn finish(&mut self, batch: Vec<Pending>) {
        for _ in &batch {
            let connection = usize::from(self.queues[0].in_flight() == 0 && !self.queues[0].has_done());
            let done = self.queues[connection].wait();
            assert!(done.status().is_success(), "{}", done.status());
            let pending = batch.iter().find(|pending| (pending.connection, pending.slot) == (connection, done.slot));
            if let Some(expected) = &pending.expect("it was sent").expected {
                same(&done.data, expected, "a read");
            }
        }
    }
}

fn run(case: &Case) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = format!("{}/disk.img,size={DISK},bs=512", directory.path().display());
    let names = [format!("ram:{DISK},bs=512"), format!("ram:{DISK},bs=4096"), file];
    let config =
        Subsystem { in_capsule_bytes: case.in_capsule_bytes, ..Subsystem::new(NQN, devices(&[&names[case.device]])) };
    let mode = if case.spin { Mode::Spin(std::time::Duration::from_micros(50)) } else { Mode::Shared };
    let rig = Rig::with(config, 2, mode);
    let info = rig.device(1).info().clone();
    let mut association = Association::new(&rig);
    let queue = |association: &mut Association, number: usize| {
        association.digests = digests(case, number);
        let mut io = association.io_with(number as u16 + 1, 16, case.flow_control_disabled[number]);
        io.chunk = case.chunk;
        io
    };
    let queues = [queue(&mut association, 0), queue(&mut association, 1)];
    let mut world = World {
        queues,
        model: vec![0; DISK],
        block: info.block_bytes as usize,
        in_capsule_bytes: case.in_capsule_bytes,
        zeros: info.features.zeros_after_deallocate,
    };
    for batch in &case.batches {
        let pending = (0..).zip(batch).map(|(extent, step)| world.submit(extent, step)).collect();
        world.finish(pending);
    }
    // All of it once more, through the other connection of each half.
    for extent in 0..EXTENTS {
        let (slba, nlb) = ((extent * EXTENT / world.block) as u64, (EXTENT / world.block) as u32);
        let read = world.queues[extent % 2].read(1, slba, nlb, world.block);
        same(&read, &world.model[extent * EXTENT..(extent + 1) * EXTENT], "the disk in the end");
    }
}

fn digests(case: &Case, number: usize) -> Digests {
    ALL_DIGESTS[case.digests[number]]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 40, ..ProptestConfig::default() })]
    #[test]
    fn the_target_is_a_vector_of_bytes(case in case()) {
        run(&case);
    }
}
