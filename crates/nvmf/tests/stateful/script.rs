//! A script: what hosts do to a target, in bytes. Any bytes are one; what is missing is 0.
//!
//! ```text
//!   | op | peer | its own few bytes |  op | ...        each op is followed by one pass of the target
//! ```

/// What a host does.
#[derive(Clone, Copy, Debug)]
pub enum Op {
    /// Connects a socket and sends ICReq with these digests.
    Open { digests: u8 },
    /// Connect of the admin queue.
    ConnectAdmin { kato: u8 },
    /// Connect of an I/O queue of the newest controller.
    ConnectIo { qid: u8, depth: u8, flow_control_disabled: bool },
    /// CC, or a property that is read.
    Property { which: u8 },
    /// Reads blocks.
    Read { lba: u16, blocks: u8 },
    /// Writes blocks, in the capsule or by R2T.
    Write { lba: u16, blocks: u8, in_capsule: bool },
    /// Answers the oldest R2T, with at most so many dwords.
    Data { dwords: u16 },
    /// Write Zeroes or, with one range, Dataset Management.
    Clear { lba: u16, blocks: u8, range: bool },
    /// A command of any kind that sends nothing: on an admin queue an admin command.
    Any { opcode: u8, nsid: u8, cdw: [u8; 4] },
    /// Abort of a command.
    Abort { qid: u8, cid: u8 },
    /// Asynchronous Event Request.
    Event,
    /// These bytes as they are.
    Garbage { bytes: u8, seed: u8 },
    /// A bit of the next PDU is wrong.
    Flip { at: u16 },
    /// Closes the socket; with `reset` without a word.
    Close { reset: bool },
    /// Says that nothing more will come.
    Finish,
    /// Whether it reads what the target says.
    Reading { on: bool },
    /// Time goes by, in units of 50 ms.
    Time { ticks: u8 },
    /// Further passes.
    Passes { count: u8 },
    /// A fused pair: compares with what the write so many writes ago put there, and writes.
    Swap { lba: u16, blocks: u8, in_capsule: bool, ago: u8 },
}

/// The bytes of a script, from the front.
pub struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().map_or((0, self.0), |(first, rest)| (*first, rest));
        self.0 = rest;
        first
    }

    fn word(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    fn bit(&mut self) -> bool {
        self.byte() & 1 != 0
    }
}

impl Iterator for Script<'_> {
    /// Who, and what.
    type Item = (usize, Op);

    fn next(&mut self) -> Option<(usize, Op)> {
        if self.0.is_empty() {
            return None;
        }
        let (op, peer) = (self.byte(), usize::from(self.byte()));
        let op = match op % 19 {
            0 => Op::Open { digests: self.byte() & 3 },
            1 => Op::ConnectAdmin { kato: self.byte() },
            2 => Op::ConnectIo { qid: self.byte(), depth: self.byte(), flow_control_disabled: self.bit() },
            3 => Op::Property { which: self.byte() },
            4 => Op::Read { lba: self.word(), blocks: self.byte() },
            5 => Op::Write { lba: self.word(), blocks: self.byte(), in_capsule: self.bit() },
            6 => Op::Data { dwords: self.word() },
            7 => Op::Clear { lba: self.word(), blocks: self.byte(), range: self.bit() },
            8 => Op::Any {
                opcode: self.byte(),
                nsid: self.byte(),
                cdw: [self.byte(), self.byte(), self.byte(), self.byte()],
            },
            9 => Op::Abort { qid: self.byte(), cid: self.byte() },
            10 => Op::Event,
            11 => Op::Garbage { bytes: self.byte(), seed: self.byte() },
            12 => Op::Flip { at: self.word() },
            13 => Op::Close { reset: self.bit() },
            14 => Op::Finish,
            15 => Op::Reading { on: self.bit() },
            16 => Op::Time { ticks: self.byte() },
            17 => Op::Passes { count: self.byte() % 16 },
            _ => Op::Swap { lba: self.word(), blocks: self.byte(), in_capsule: self.bit(), ago: self.byte() },
        };
        Some((peer, op))
    }
}
