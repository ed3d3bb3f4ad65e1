//! What a read may bring: for each block the writes that can be the last one.
//!
//! A write has a number, and each block that it writes says its number and where it belongs. A block that is read is
//! whole, of this place, and of a write that could be there: one that is under way, or the last that was answered.

pub const BLOCK: usize = 512;
pub const BLOCKS: u64 = 1024;

/// The number of "zeros".
pub const ZEROS: u32 = 0;

pub struct Model {
    /// By block; none: zeros, as at the start.
    possible: Vec<Vec<u32>>,
    /// Commands under way that touch a block: while there are any, nothing is ruled out.
    busy: Vec<u32>,
    /// Something was written that no model knows: only shapes are checked from here on.
    tainted: bool,
}

impl Model {
    pub fn new() -> Self {
        let count = BLOCKS as usize;
        Self { possible: vec![Vec::new(); count], busy: vec![0; count], tainted: false }
    }

    pub fn taint(&mut self) {
        self.tainted = true;
    }

    /// The bytes that write `number` puts there.
    pub fn bytes(lba: u64, blocks: u64, number: u32) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(blocks as usize * BLOCK);
        for lba in lba..lba + blocks {
            bytes.extend_from_slice(&Self::word(lba, number).repeat(BLOCK / 8));
        }
        bytes
    }

    /// What a block of write `number` consists of.
    fn word(lba: u64, number: u32) -> [u8; 8] {
        if number == ZEROS { [0; 8] } else { (u64::from(number) | lba << 32).to_le_bytes() }
    }

    fn blocks(lba: u64, blocks: u64) -> std::ops::Range<usize> {
        lba.min(BLOCKS) as usize..(lba + blocks).min(BLOCKS) as usize
    }

    /// A command on these blocks is under way; `number` is what it writes, if it does.
    pub fn start(&mut self, lba: u64, blocks: u64, number: Option<u32>) {
        for block in Self::blocks(lba, blocks) {
            self.busy[block] += 1;
            if let Some(number) = number {
                let possible = &mut self.possible[block];
                if possible.is_empty() {
                    possible.push(ZEROS);
                }
                possible.push(number);
            }
        }
    }

    /// It is over. If it has written for certain and nothing else was under way there, nothing older is there.
    pub fn end(&mut self, lba: u64, blocks: u64, written: Option<u32>) {
        for block in Self::blocks(lba, blocks) {
            self.busy[block] -= 1;
            if let (Some(number), 0) = (written, self.busy[block]) {
                self.possible[block].clear();
                self.possible[block].push(number);
            }
        }
    }

    pub fn check(&self, lba: u64, data: &[u8]) {
        if self.tainted {
            return;
        }
        for (lba, block) in (lba..).zip(data.chunks(BLOCK)) {
            let number = u32::from_le_bytes(block[..4].try_into().expect("4 bytes"));
            // The first word is right, and each is as the one before it.
            let is_whole = block[..8] == Self::word(lba, number) && block[8..] == block[..BLOCK - 8];
            assert!(is_whole, "block {lba} is torn, or of another place");
            let possible = &self.possible[lba as usize];
            let can_be = if possible.is_empty() { number == ZEROS } else { possible.contains(&number) };
            assert!(can_be, "block {lba} is of write {number}, possible are {possible:?}");
        }
    }
}
