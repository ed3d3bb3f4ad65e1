//! What the clients of a cache do, as bytes: of a fuzzer, or by chance.
//!
//! ```text
//!   | setup | op, client 2 bits | its argument | op, client | ...
//! ```

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op<'a> {
    /// Sends these bytes so often.
    Send(&'a [u8], usize),
    /// Sends so many bytes of which none is a command.
    Fill(usize),
    /// Reads, or does not read any more.
    Read(bool),
    /// Leaves, and another one comes.
    Leave,
    /// So many quarters of a second go by.
    Time(u32),
}

/// How a cache runs.
#[derive(Clone, Copy, Debug)]
pub struct Setup(pub u8);

impl Setup {
    pub fn reactors(self) -> usize {
        1 + usize::from(self.0 & 1)
    }

    /// Bytes of memory: of the smallest store, or more.
    pub fn memory(self) -> usize {
        self.reactors() * if self.0 & 2 == 0 { 320 << 10 } else { 2 << 20 }
    }

    /// One of the ways of eviction.
    pub fn eviction(self) -> usize {
        usize::from(self.0 >> 2) & 3
    }

    /// Whether clients are asked who they are.
    pub fn asks(self) -> bool {
        self.0 & 16 != 0
    }
}

pub const SEND: u8 = 0;
pub const LONG: u8 = 1;
pub const REPEAT: u8 = 2;
pub const FILL: u8 = 3;
pub const READ: u8 = 4;
pub const LEAVE: u8 = 5;
pub const TIME: u8 = 6;
const OPS: u8 = 7;

/// The parts of a script.
pub struct Script<'a>(pub &'a [u8]);

impl<'a> Script<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (first, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        first
    }
}

impl<'a> Iterator for Script<'a> {
    type Item = (usize, Op<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (first, argument) = (self.byte()?, self.byte()?);
        let op = match (first >> 2) % OPS {
            SEND => Op::Send(self.bytes(argument.into()), 1),
            LONG => {
                let bytes = usize::from(argument) | usize::from(self.byte()?) << 8;
                Op::Send(self.bytes(bytes), 1)
            }
            REPEAT => {
                let bytes = self.byte()?;
                Op::Send(self.bytes(bytes.into()), argument.into())
            }
            FILL => Op::Fill(usize::from(argument) << 12),
            READ => Op::Read(argument & 1 != 0),
            LEAVE => Op::Leave,
            _ => Op::Time(argument.into()),
        };
        Some((usize::from(first & 3), op))
    }
}

/// Parts of a script, for seeds.
pub fn send(client: u8, bytes: &[u8]) -> Vec<u8> {
    let length = bytes.len() as u16;
    [&[LONG << 2 | client], &length.to_le_bytes()[..], bytes].concat()
}

/// Another part, without bytes.
pub fn act(client: u8, op: u8, argument: u8) -> Vec<u8> {
    vec![op << 2 | client, argument]
}
