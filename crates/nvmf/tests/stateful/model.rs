//! What a read may bring: for each block the writes that can be the last one.
//!
//! A write has a number, and each block that it writes says its number and where it belongs. A block that is read is
//! whole, of this place, and of a write that could be there: one that is under way, or the last that was answered.

use std::collections::BTreeSet;

pub const BLOCK: usize = 512;
pub const BLOCKS: u64 = 1024;

/// The number of "zeros".
pub const ZEROS: u32 = 0;

pub struct Model {
    /// By block.
    possible: Vec<BTreeSet<u32>>,
    /// Commands under way that touch a block: while there are any, nothing is ruled out.
    busy: Vec<u32>,
    /// Something was written that no model knows: only shapes are checked from here on.
    tainted: bool,
}

impl Model {
    pub fn new() -> Self {
        let count = BLOCKS as usize;
        Self { possible: vec![BTreeSet::from([ZEROS]); count], busy: vec![0; count], tainted: false }
    }

    pub fn taint(&mut self) {
        self.tainted = true;
    }

    /// The bytes that write `number` puts there.
    pub fn bytes(lba: u64, blocks: u64, number: u32) -> Vec<u8> {
        let block = |lba: u64| {
            let words = [number.to_le_bytes(), (lba as u32).to_le_bytes()].concat();
            if number == ZEROS { vec![0; BLOCK] } else { words.repeat(BLOCK / 8) }
        };
        (lba..lba + blocks).flat_map(block).collect()
    }

    fn blocks(lba: u64, blocks: u64) -> std::ops::Range<usize> {
        lba.min(BLOCKS) as usize..(lba + blocks).min(BLOCKS) as usize
    }

    /// A command on these blocks is under way; `number` is what it writes, if it does.
    pub fn start(&mut self, lba: u64, blocks: u64, number: Option<u32>) {
        for block in Self::blocks(lba, blocks) {
            self.busy[block] += 1;
            self.possible[block].extend(number);
        }
    }

    /// It is over. If it has written for certain and nothing else was under way there, nothing older is there.
    pub fn end(&mut self, lba: u64, blocks: u64, written: Option<u32>) {
        for block in Self::blocks(lba, blocks) {
            self.busy[block] -= 1;
            if let (Some(number), 0) = (written, self.busy[block]) {
                self.possible[block] = BTreeSet::from([number]);
            }
        }
    }

    pub fn check(&self, lba: u64, data: &[u8]) {
        if self.tainted {
            return;
        }
        for (lba, block) in (lba..).zip(data.chunks(BLOCK)) {
            let number = u32::from_le_bytes(block[..4].try_into().expect("4 bytes"));
            assert!(block == Self::bytes(lba, 1, number), "block {lba} is torn, or of another place");
            let possible = &self.possible[lba as usize];
            assert!(possible.contains(&number), "block {lba} is of write {number}, possible are {possible:?}");
        }
    }
}
