//! One bit of what host and target say to each other is wrong, in either direction, and both use digests: it is always
//! noticed. A wrong header ends the connection, and the host comes back; wrong data fails its command. What is read is
//! right, and no block of the disk gets what nobody wrote.
//!
//! The state machines are looked at bit by bit in `crates/wire/tests/bitflips.rs`, the target in
//! `crates/nvmf/tests/hostile/bitflips.rs`. This is about the live host. A sample of the bits is enough for that; with
//! `QPAIR_CAMPAIGN=full` they are all the bits of headers and of small data, and more of large data.

mod flipper;

use block::Failure;
use block::nvme::tcp::{PathState, TcpDevice};
use wire::tcp::pdu::kind;

use self::flipper::{COMMAND_BYTES, Flipper, Order};
use crate::common::{NQN, Rig};
use crate::device::{self, Way, pattern};

const BLOCK: usize = 512;
const BLOCKS: u64 = 256;
/// Blocks of a transfer that is not in a capsule and is received in its place.
const LARGE: u64 = 64;
/// Bits of the headers of these with their digests: of 24 bytes.
const HEADER_BITS: usize = (24 + 4) * 8;

/// Host, man in the middle, target; and the disk itself.
struct Bed {
    flipper: Flipper,
    remote: TcpDevice,
    far: device::Rig,
    near: device::Rig,
    /// What the disk holds.
    model: Vec<u8>,
    seed: u8,
    rig: Rig,
}

impl Bed {
    fn new() -> Self {
        let rig = Rig::new(&["ram:128KiB,bs=512"]);
        let flipper = Flipper::start(rig.addr);
        let options = "hdgst=1&ddgst=1&reconnect-delay=1ms&io-timeout=500ms";
        let remote = TcpDevice::open(&format!("nvme-tcp://{}/{NQN}?ns=1&{options}", flipper.addr));
        let remote = remote.unwrap_or_else(|error| panic!("{error}"));
        let (far, mut near) = (device::Rig::new(&remote), device::Rig::new(&*rig.device(1)));
        let model = pattern(0, BLOCKS as usize * BLOCK);
        near.write(0, BLOCKS, &model, false, Way::Carried).expect("the disk itself");
        Self { flipper, remote, far, near, model, seed: 0, rig }
    }

    /// Reads through the host: right, or not at all.
    fn read(&mut self, lba: u64, blocks: u64) -> Result<(), Failure> {
        let bytes = blocks as usize * BLOCK;
        let found = self.far.read(lba, bytes, blocks, Way::Carried)?;
        assert!(found == self.model[lba as usize * BLOCK..][..bytes], "wrong data was read");
        Ok(())
    }

    /// Writes something new through the host: it is there; or, if that failed, what is there is old or new.
    fn write(&mut self, lba: u64, blocks: u64) -> Result<(), Failure> {
        self.seed = self.seed.wrapping_add(1);
        let new = pattern(self.seed, blocks as usize * BLOCK);
        let outcome = self.far.write(lba, blocks, &new, false, Way::Carried);
        let found = self.near.read(lba, new.len(), blocks, Way::Carried).expect("the disk itself");
        let old = &mut self.model[lba as usize * BLOCK..][..new.len()];
        for ((found, new), old) in found.chunks(BLOCK).zip(new.chunks(BLOCK)).zip(old.chunks_mut(BLOCK)) {
            assert!(found == new || outcome.is_err() && found == old, "{outcome:?}: a block is neither old nor new");
            old.copy_from_slice(found);
        }
        outcome
    }

    /// How often the host lost its association.
    fn losses(&self) -> u64 {
        let entered = self.remote.paths()[0].entered;
        entered.iter().find(|(name, _)| *name == PathState::Reconnecting.name()).expect("it is a state").1
    }

    /// Lets `act` meet a wrong bit.
    fn flip(&mut self, order: Order, act: &mut dyn FnMut(&mut Self) -> Result<(), Failure>) {
        let before = self.losses();
        self.flipper.flip(order);
        let outcome = act(self);
        assert!(self.flipper.done(), "{order:?} did not come past");
        assert!(outcome.is_err() || self.losses() > before, "{order:?} was not noticed");
        // The host is there again, and reads what the disk holds.
        self.read(3, 2).unwrap_or_else(|failure| panic!("after {order:?}: {failure:?}"));
    }

    /// Lets `act` meet wrong bits: all of `header` that are a multiple of `steps.0`, of the rest those of `steps.1`.
    fn flips(
        &mut self,
        (kind, with_data): (u8, bool),
        (header, all): (usize, usize),
        steps: (usize, usize),
        mut act: impl FnMut(&mut Self) -> Result<(), Failure>,
    ) {
        for bit in (0..header).step_by(steps.0).chain((header..all).step_by(steps.1)) {
            self.flip(Order { kind, with_data, bit }, &mut act);
        }
        let found = self.near.read(0, self.model.len(), BLOCKS, Way::Carried).expect("the disk itself");
        assert!(found == self.model, "a block was written that nobody meant");
        assert_eq!(self.rig.target.controller_count(), 1, "nothing is left of what was lost");
    }
}

/// The distance between bits of headers, of small data, of large data.
fn steps() -> (usize, usize, usize) {
    let full = std::env::var("QPAIR_CAMPAIGN").is_ok_and(|word| word == "full");
    if full { (1, 1, 97) } else { (29, 331, 40_009) }
}

fn bits(bytes: usize) -> usize {
    bytes * 8
}

#[test]
fn a_wrong_bit_to_the_target_is_noticed() {
    let (header, small, large) = steps();
    let command = bits(COMMAND_BYTES);
    let mut bed = Bed::new();
    bed.flips((kind::CAPSULE_CMD, false), (command, command), (header, small), |bed| bed.read(5, 1));
    let all = command + bits(BLOCK + 4);
    bed.flips((kind::CAPSULE_CMD, true), (command, all), (header, small), |bed| bed.write(6, 1));
    let all = HEADER_BITS + bits(LARGE as usize * BLOCK + 4);
    bed.flips((kind::H2C_DATA, false), (HEADER_BITS, all), (header, large), |bed| bed.write(64, LARGE));
}

#[test]
fn a_wrong_bit_to_the_host_is_noticed() {
    let (header, small, large) = steps();
    let mut bed = Bed::new();
    bed.flips((kind::CAPSULE_RESP, false), (HEADER_BITS, HEADER_BITS), (header, small), |bed| bed.write(6, 1));
    bed.flips((kind::R2T, false), (HEADER_BITS, HEADER_BITS), (header, small), |bed| bed.write(64, LARGE));
    let all = HEADER_BITS + bits(BLOCK + 4);
    bed.flips((kind::C2H_DATA, false), (HEADER_BITS, all), (header, small), |bed| bed.read(5, 1));
    let all = HEADER_BITS + bits(LARGE as usize * BLOCK + 4);
    bed.flips((kind::C2H_DATA, false), (HEADER_BITS, all), (header, large), |bed| bed.read(64, LARGE));
}
