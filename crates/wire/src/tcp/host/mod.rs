//! The host's side of one connection: commands in, completions out; data in both directions.
//!
//! ```text
//!   phase    New ---start---> AwaitIcResp ---ICResp---> AwaitConnect ---set_queue---> Live
//!             '---------------------+-------------------------+-------------------------'---> Closed
//!
//!   a command            no data, or data in the capsule
//!             Free --------------------------------------------------------> Waiting ---.
//!              ^ |--- a read ---> Reading <--C2HData--> Receiving --LAST------^         |
//!              | |                   |                     |                  |         |
//!              | |                   |                     '- LAST + SUCCESS -+----.    |
//!              | '--- a write --> Writing <---R2T, last H2CData---> Sending   |    |    |
//!              |                     |                                        |    |    |
//!              '---------------------'------------- CapsuleResp --------------'----'----'
//! ```
//!
//! The machine checks whatever a Linux host checks, and what it does not: data that is not contiguous, does not fit the
//! command or belongs to none, R2Ts out of order or for a read, responses to commands that are not in flight, success
//! with less data than was asked for. Each is fatal to the connection, and the term request that says so is in `out`.
//!
//! A command identifier is the slot in its lower ten bits and a generation above: a late completion does not hit the
//! slot's next command.

mod receive;
mod send;
mod table;

pub use table::{Phase, RequestState};

use super::digest::Digests;
use super::limits::{ADMIN_IN_CAPSULE_BYTES, MAX_IN_CAPSULE_BYTES, MAX_QUEUE_DEPTH, MIN_MAX_H2C_BYTES};
use super::states::enter;
use super::stream::{Stage, Stream};
use super::{Cause, Incoming, Slot};
use crate::nvme::Cqe;
use table::Table;

/// What a host wants of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostConfig {
    /// Digests behind headers. A target that does not agree, in either direction, is refused.
    pub header_digest: bool,
    /// Digests behind data, likewise.
    pub data_digest: bool,
    /// Commands in flight, 1 to [`MAX_QUEUE_DEPTH`].
    pub depth: u16,
}

/// The data of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// None.
    None,
    /// From the controller: so many bytes, more than 0. Success with fewer is an error.
    Read {
        /// All of it.
        bytes: u32,
    },
    /// To the controller, behind the command in its capsule; the caller sends it there.
    WriteInCapsule {
        /// All of it: more than 0, at most what the queue takes.
        bytes: u32,
    },
    /// To the controller, when it asks ([`HostEvent::WantsData`]).
    Write {
        /// All of it, more than 0.
        bytes: u32,
    },
}

/// What happened.
#[derive(Debug, PartialEq, Eq)]
pub enum HostEvent<'a> {
    /// ICResp was received: Connect is next.
    Initialized,
    /// A piece of the data of a read.
    Data {
        /// Whose data.
        slot: Slot,
        /// Where it belongs, in bytes from the start of the command's data.
        offset: u32,
        /// The piece.
        bytes: &'a [u8],
    },
    /// The controller asks for data: call [`Host::h2c`] until it has no more.
    WantsData {
        /// Whose data.
        slot: Slot,
        /// From where, in bytes from the start of the command's data.
        offset: u32,
        /// How much, in bytes.
        length: u32,
    },
    /// A command is over; its slot is free.
    Completed {
        /// The slot that it had.
        slot: Slot,
        /// How it ended. With SUCCESS in its data (and no response), status and result are 0.
        cqe: Cqe,
        /// Whether all data digests were right (true without them). If not, the data is not what was sent.
        digest_ok: bool,
    },
    /// The connection is over, and with it every command in flight.
    Closed(Cause),
}

/// What one call of [`Host::feed`] did.
pub type Fed<'a> = super::Fed<HostEvent<'a>>;

/// The next H2CData of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// From where, in bytes from the start of the command's data.
    pub offset: u32,
    /// How much, in bytes.
    pub bytes: u32,
    /// The last of this R2T.
    pub last: bool,
}

/// The host's side of one connection.
#[derive(Debug)]
pub struct Host {
    /// What was asked for, then what is in use: they are the same or there is no connection.
    digests: Digests,
    phase: Phase,
    max_h2c_bytes: u32,
    in_capsule_bytes: u32,
    flow_control_disabled: bool,
    table: Table,
    stream: Stream,
    /// The PDU on its way carries SUCCESS.
    success: bool,
    /// The PDU on its way carries LAST.
    last: bool,
}

impl Host {
    /// A connection that was just made.
    ///
    /// # Panics
    /// If the depth is 0 or beyond [`MAX_QUEUE_DEPTH`].
    #[must_use]
    pub fn new(config: HostConfig) -> Self {
        assert!((1..=MAX_QUEUE_DEPTH).contains(&config.depth), "a queue of {} commands", config.depth);
        Self {
            digests: Digests { header: config.header_digest, data: config.data_digest },
            phase: Phase::New,
            max_h2c_bytes: MIN_MAX_H2C_BYTES,
            in_capsule_bytes: ADMIN_IN_CAPSULE_BYTES,
            flow_control_disabled: false,
            table: Table::new(config.depth),
            stream: Stream::new(),
            success: false,
            last: false,
        }
    }

    /// The connection takes the place of one that broke: its command identifiers start with another generation, so that
    /// a response that was meant for the old one names no command of this one. Generations count modulo 63.
    ///
    /// # Panics
    /// If a command is in flight.
    #[must_use]
    pub fn with_generation(mut self, generation: u16) -> Self {
        self.table.start_at(generation);
        self
    }

    /// Connect has succeeded: more than one command may be in flight, and each may have `in_capsule_bytes` of data in
    /// its capsule (IOCCSZ x 16 - 64; the Admin queue: 8,192). If Connect disabled flow control, the controller may use
    /// SUCCESS.
    ///
    /// # Panics
    /// If called twice or before the connection is initialized. After it closed it does nothing.
    pub fn set_queue(&mut self, in_capsule_bytes: u32, flow_control_disabled: bool) {
        if self.phase == Phase::Closed {
            return;
        }
        enter(&mut self.phase, Phase::Live);
        self.in_capsule_bytes = in_capsule_bytes.min(MAX_IN_CAPSULE_BYTES);
        self.flow_control_disabled = flow_control_disabled;
    }

    /// Ends the connection from this side, without a word to the peer. Feed accepts nothing more.
    pub fn close(&mut self) {
        if self.phase != Phase::Closed {
            enter(&mut self.phase, Phase::Closed);
        }
    }

    /// How far the connection is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether the caller appends a digest to data that it sends.
    #[must_use]
    pub fn data_digest(&self) -> bool {
        self.digests.data
    }

    /// MAXH2CDATA of the controller, in bytes; 4,096 before it said so.
    #[must_use]
    pub fn max_h2c(&self) -> u32 {
        self.max_h2c_bytes
    }

    /// The most data of [`Direction::WriteInCapsule`], in bytes.
    #[must_use]
    pub fn in_capsule_bytes(&self) -> u32 {
        self.in_capsule_bytes
    }

    /// What state the command in `slot` is in; [`RequestState::Free`] if there is none.
    #[must_use]
    pub fn state(&self, slot: Slot) -> RequestState {
        self.table.state(slot)
    }

    /// The identifier of the command in `slot`, for Abort; `None` if there is none.
    #[must_use]
    pub fn cid(&self, slot: Slot) -> Option<u16> {
        (self.state(slot) != RequestState::Free).then(|| self.table.cid(slot))
    }

    /// Commands in flight.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.table.in_flight()
    }

    /// How many slots are in each state.
    #[must_use]
    pub fn states(&self) -> [(&'static str, u32); RequestState::ALL.len()] {
        self.table.states()
    }

    /// In the middle of C2HData: the bytes that come next may be received straight into their destination, at most
    /// `remaining` of them. Then tell [`Host::absorbed`].
    #[must_use]
    pub fn incoming(&self) -> Option<Incoming> {
        if self.phase == Phase::Closed { None } else { self.stream.incoming() }
    }

    /// These bytes, which [`Host::incoming`] announced, are where they belong.
    ///
    /// # Panics
    /// If they are more than announced.
    pub fn absorbed(&mut self, bytes: &[u8]) -> Option<HostEvent<'static>> {
        if self.phase == Phase::Closed {
            return None;
        }
        self.stream.absorb(bytes);
        // A PDU that is wrong as a whole was refused by its header: nothing can go wrong here.
        if self.stream.stage() == Stage::Settled { self.settle() } else { None }
    }
}
