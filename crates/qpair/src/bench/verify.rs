//! Data that says where it belongs: what `--verify` writes, remembers and checks.
//!
//! Every logical block of a write carries a stamp; the rest is noise that depends on all of the stamp.
//!
//! ```text
//!  0       8         16           20       24         32                    block_bytes
//!  | seed  | address | generation | "qpv1" | checksum | noise ...           |      all little-endian
//!    of the  byte      1 for the             of the whole block, this field as 0
//!    run     offset    first write
//! ```
//!
//! The [`Ledger`] knows the generation that each unit must have. A unit has at most one request in flight, so a read is
//! never in flight together with a write of the same bytes, and exactly one generation is right. A write that failed
//! leaves its unit uncertain (old, new or torn are all legal) until the next one succeeds; such reads are not checked.

use std::fmt;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};

/// Bytes of the stamp at the front of a block.
const STAMP_BYTES: usize = 32;
const MAGIC: u32 = u32::from_le_bytes(*b"qpv1");
/// In a generation: the last write of the unit failed.
const UNCERTAIN: u32 = 1 << 31;

/// How blocks of one run are stamped and checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamper {
    /// Tells the blocks of this run from those of any other.
    pub(super) seed: u64,
    /// Bytes of a logical block, a multiple of 32.
    pub(super) block_bytes: usize,
}

impl Stamper {
    /// Makes `bytes`, whole blocks that belong at byte `address`, what generation `generation` of them looks like.
    pub(super) fn stamp(&self, bytes: &mut [u8], address: u64, generation: u32) {
        debug_assert!(bytes.len().is_multiple_of(self.block_bytes));
        for (block, address) in bytes.chunks_exact_mut(self.block_bytes).zip((address..).step_by(self.block_bytes)) {
            block[0..8].copy_from_slice(&self.seed.to_le_bytes());
            block[8..16].copy_from_slice(&address.to_le_bytes());
            block[16..20].copy_from_slice(&generation.to_le_bytes());
            block[20..24].copy_from_slice(&MAGIC.to_le_bytes());
            let key = self.seed ^ address.rotate_left(20) ^ (u64::from(generation) << 32);
            super::workload::Rng::new(key).fill(&mut block[STAMP_BYTES..]);
            let checksum = checksum(block);
            block[24..32].copy_from_slice(&checksum.to_le_bytes());
        }
    }

    /// Checks that `bytes`, read from byte `address`, are generation `generation` of what belongs there.
    ///
    /// # Errors
    /// The first block that is not.
    pub(super) fn check(&self, bytes: &[u8], address: u64, generation: u32) -> Result<(), Miscompare> {
        debug_assert!(bytes.len().is_multiple_of(self.block_bytes));
        for (block, address) in bytes.chunks_exact(self.block_bytes).zip((address..).step_by(self.block_bytes)) {
            let got = Stamp::read(block);
            let expected = Stamp {
                seed: self.seed,
                address,
                generation,
                magic: MAGIC,
                checksum: got.checksum,
                computed: got.checksum,
            };
            if got != expected {
                let zeros = block.iter().all(|&byte| byte == 0);
                return Err(Miscompare { block_bytes: self.block_bytes, expected, got, zeros });
            }
        }
        Ok(())
    }
}

/// The stamp of a block as found, with the checksum that the block's bytes really have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    seed: u64,
    address: u64,
    generation: u32,
    magic: u32,
    checksum: u64,
    computed: u64,
}

impl Stamp {
    fn read(block: &[u8]) -> Self {
        let word = |at: usize| u64::from_le_bytes(block[at..at + 8].try_into().expect("eight bytes"));
        let half = |at: usize| u32::from_le_bytes(block[at..at + 4].try_into().expect("four bytes"));
        Self {
            seed: word(0),
            address: word(8),
            generation: half(16),
            magic: half(20),
            checksum: word(24),
            computed: checksum(block),
        }
    }
}

/// Four multiply-rotate lanes, folded. Each step is a bijection of its lane, so a change within one 8-byte word is
/// always seen, and any other is missed about once in 2^64. Not cryptographic: devices are careless, not malicious.
fn checksum(block: &[u8]) -> u64 {
    const PRIME: u64 = 0x9fb2_1c65_1e98_df25;
    let step = |lane: u64, word: u64| (lane ^ word).wrapping_mul(PRIME).rotate_left(29);
    let mut lanes = [1_u64, 2, 3, 4];
    for (index, chunk) in block.chunks_exact(STAMP_BYTES).enumerate() {
        for (at, lane) in lanes.iter_mut().enumerate() {
            let word = u64::from_le_bytes(chunk[at * 8..][..8].try_into().expect("eight bytes"));
            let own_field = index == 0 && at == 3;
            *lane = step(*lane, if own_field { 0 } else { word });
        }
    }
    lanes.into_iter().fold(block.len() as u64, step)
}

/// A block that is not what it must be.
#[derive(Clone, Debug)]
pub(super) struct Miscompare {
    block_bytes: usize,
    expected: Stamp,
    got: Stamp,
    zeros: bool,
}

impl Miscompare {
    /// What probably happened to the block.
    fn diagnosis(&self) -> &'static str {
        let (got, expected) = (&self.got, &self.expected);
        if self.zeros {
            "the block is all zeros: never written, or deallocated"
        } else if got.magic != MAGIC {
            "not written by qpair bench --verify"
        } else if got.checksum != got.computed {
            "torn or corrupt: the checksum does not match the content"
        } else if got.seed != expected.seed {
            "from another run: a write was lost"
        } else if got.address != expected.address {
            "a whole block, but another one: misplaced read or write"
        } else if got.generation < expected.generation {
            "an older write of this block: a later one was lost"
        } else {
            "a newer write of this block than any that completed"
        }
    }
}

impl fmt::Display for Miscompare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (got, expected) = (&self.got, &self.expected);
        let block = expected.address / self.block_bytes as u64;
        writeln!(f, "miscompare in block {block} at offset {}: {}", expected.address, self.diagnosis())?;
        writeln!(
            f,
            "  expected  seed {:016x}  address {:<14}  generation {:<10}  tag {:08x}",
            expected.seed, expected.address, expected.generation, MAGIC
        )?;
        writeln!(
            f,
            "  got       seed {:016x}  address {:<14}  generation {:<10}  tag {:08x}",
            got.seed, got.address, got.generation, got.magic
        )?;
        write!(f, "  checksum  stored {:016x}, of the content {:016x}", got.checksum, got.computed)
    }
}

/// What each unit must hold, and which units have a request in flight. Shared by the reactors that load one target:
/// what one of them wrote the others check.
///
/// Who has taken a unit owns its generation until it is given back; taking it is an acquire, giving it back a release.
pub(super) struct Ledger {
    pub(super) stamper: Stamper,
    /// The generation of each unit, 0 for never written by this run; the high bit is [`UNCERTAIN`].
    generations: Vec<AtomicU32>,
    /// One bit per unit.
    busy: Vec<AtomicU64>,
}

impl Ledger {
    /// A ledger of `units` units, none written.
    pub(super) fn new(stamper: Stamper, units: u64) -> Self {
        assert!(stamper.block_bytes.is_multiple_of(STAMP_BYTES));
        let units = usize::try_from(units).expect("MAX_LEDGER_UNITS fits");
        let generations = (0..units).map(|_| AtomicU32::new(0)).collect();
        Self { stamper, generations, busy: (0..units.div_ceil(64)).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Takes the unit for a request; `false` if one is in flight on it.
    pub(super) fn try_take(&self, unit: u64) -> bool {
        let (word, bit) = self.bit(unit);
        word.fetch_or(bit, Acquire) & bit == 0
    }

    /// The request on the unit has ended, and the ledger knows how.
    pub(super) fn give_back(&self, unit: u64) {
        let (word, bit) = self.bit(unit);
        assert!(word.fetch_and(!bit, Release) & bit != 0, "unit {unit} was not taken");
    }

    fn bit(&self, unit: u64) -> (&AtomicU64, u64) {
        (&self.busy[unit as usize / 64], 1 << (unit % 64))
    }

    /// The generation that the next write of the unit has. The unit is taken, as for all that follow.
    pub(super) fn next_generation(&self, unit: u64) -> u32 {
        let last = self.generations[unit as usize].load(Relaxed) & !UNCERTAIN;
        // 0 means never written, and the high bit is not a generation's.
        if last == !UNCERTAIN { 1 } else { last + 1 }
    }

    /// A write of this generation has ended.
    pub(super) fn written(&self, unit: u64, generation: u32, succeeded: bool) {
        let generation = if succeeded { generation } else { generation | UNCERTAIN };
        self.generations[unit as usize].store(generation, Relaxed);
    }

    /// What was written to the unit is gone: its zone was reset.
    pub(super) fn forget(&self, unit: u64) {
        self.generations[unit as usize].store(0, Relaxed);
    }

    /// The generation that has a number of its own: that of an append, of which nobody knows the unit yet.
    pub(super) fn generation_of(serial: u64) -> u32 {
        // 0 means never written, and the high bit is not a generation's.
        (serial % u64::from(!UNCERTAIN)) as u32 + 1
    }

    /// The generation that a read of the unit must give; `None` if it was never written or is uncertain.
    pub(super) fn expected(&self, unit: u64) -> Option<u32> {
        match self.generations[unit as usize].load(Relaxed) {
            0 => None,
            generation if generation & UNCERTAIN != 0 => None,
            generation => Some(generation),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMPER: Stamper = Stamper { seed: 42, block_bytes: 512 };

    fn stamped(address: u64, generation: u32) -> Vec<u8> {
        let mut bytes = vec![0; 2048];
        STAMPER.stamp(&mut bytes, address, generation);
        bytes
    }

    fn diagnosis(bytes: &[u8], address: u64, generation: u32) -> &'static str {
        STAMPER.check(bytes, address, generation).expect_err("a miscompare").diagnosis()
    }

    #[test]
    fn what_was_stamped_checks() {
        for block_bytes in [512, 4096] {
            let stamper = Stamper { seed: 7, block_bytes };
            let mut bytes = vec![0xee; 8192];
            stamper.stamp(&mut bytes, 1 << 40, 3);
            stamper.check(&bytes, 1 << 40, 3).expect("the same block, address and generation");
        }
    }

    #[test]
    fn any_changed_bit_is_seen() {
        let mut bytes = stamped(4096, 1);
        for bit in (0..512 * 8).chain([2047 * 8]) {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(STAMPER.check(&bytes, 4096, 1).is_err(), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        STAMPER.check(&bytes, 4096, 1).expect("as it was");
    }

    #[test]
    fn each_kind_of_mistake_is_named() {
        let bytes = stamped(4096, 2);
        assert!(diagnosis(&[0; 2048], 4096, 2).contains("zeros"));
        assert!(diagnosis(&[7; 2048], 4096, 2).contains("not written"));
        assert!(diagnosis(&bytes, 8192, 2).contains("misplaced"));
        assert!(diagnosis(&bytes, 4096, 3).contains("older"));
        assert!(diagnosis(&bytes, 4096, 1).contains("newer"));
        let other = Stamper { seed: 43, ..STAMPER };
        assert!(other.check(&bytes, 4096, 2).expect_err("another seed").diagnosis().contains("another run"));
    }

    #[test]
    fn a_torn_or_shuffled_unit_is_seen() {
        let (old, new) = (stamped(0, 1), stamped(0, 2));
        let torn = [&new[..1024], &old[1024..]].concat();
        let miscompare = STAMPER.check(&torn, 0, 2).expect_err("half of it is old");
        assert_eq!(miscompare.expected.address, 1024);
        assert!(miscompare.to_string().starts_with("miscompare in block 2 at offset 1024: an older write"));
        let torn_block = [&new[..256], &old[256..]].concat();
        assert!(diagnosis(&torn_block, 0, 2).contains("torn"));
        let shuffled = [&new[512..1024], &new[..512]].concat();
        assert!(diagnosis(&shuffled, 0, 2).contains("misplaced"));
    }

    #[test]
    fn a_unit_has_one_request_at_a_time() {
        let ledger = Ledger::new(STAMPER, 130);
        assert!(ledger.try_take(129));
        assert!(!ledger.try_take(129));
        assert!(ledger.try_take(128));
        ledger.give_back(129);
        assert!(ledger.try_take(129));
    }

    #[test]
    #[should_panic(expected = "was not taken")]
    fn giving_back_what_was_not_taken_is_a_bug() {
        Ledger::new(STAMPER, 1).give_back(0);
    }

    #[test]
    fn a_failed_write_leaves_the_unit_uncertain_until_the_next() {
        let ledger = Ledger::new(STAMPER, 4);
        assert_eq!((ledger.expected(3), ledger.next_generation(3)), (None, 1));
        ledger.written(3, 1, true);
        assert_eq!((ledger.expected(3), ledger.next_generation(3)), (Some(1), 2));
        ledger.written(3, 2, false);
        assert_eq!((ledger.expected(3), ledger.next_generation(3)), (None, 3));
        ledger.written(3, 3, true);
        assert_eq!(ledger.expected(3), Some(3));
        ledger.written(3, !UNCERTAIN, true);
        assert_eq!(ledger.next_generation(3), 1);
    }
}
