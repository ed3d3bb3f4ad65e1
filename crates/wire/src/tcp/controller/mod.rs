//! The target's side of one connection: bytes in, commands out; data and responses back.
//!
//! ```text
//!   phase    AwaitIcReq ---ICReq---> AwaitConnect ---set_queue---> Live
//!                 '----------------------+-------------------------'---> Closed (a violation, a term request, close)
//!
//!   a command                                        .---- send_data ----.
//!                                                    v                   |
//!             Free ---CapsuleCmd---> Executing ---send_data---> Sending -'
//!              ^ ^                    |      ^                     | |
//!              | '----- respond ------'      |                     | '- send_data, last --> Sent
//!              |                 request_data|Received             |                         |
//!              |                      v      |                     |                         |
//!              |                  AwaitingData                     |                         |
//!              |                      |  ^                         |                         |
//!              |               H2CData|  |more to come             |                         |
//!              |                      v  |                         |                         |
//!              |                     Receiving                     |                         |
//!              '------------------- respond, or the last send_data with SUCCESS -------------'
//! ```
//!
//! The caller keeps what it knows of a command in an array of its own, indexed by [`Slot`], of the length that
//! [`slots`] says. It calls [`feed`] until no event is left, and in the middle of a large write may receive straight
//! into the destination ([`incoming`], [`absorbed`]). Once the phase is [`Phase::Closed`] nothing is written any more:
//! calls for commands that were still executing only free their slots.
//!
//! [`slots`]: Controller::slots
//! [`feed`]: Controller::feed
//! [`incoming`]: Controller::incoming
//! [`absorbed`]: Controller::absorbed

mod receive;
mod send;
mod table;

pub use table::{Phase, RequestState};

use super::digest::Digests;
use super::limits::{
    ADMIN_IN_CAPSULE_BYTES, H2C_GRANULARITY, MAX_IN_CAPSULE_BYTES, MAX_QUEUE_DEPTH, MIN_MAX_H2C_BYTES,
};
use super::pdu::{CapsuleCmd, Data};
use super::states::enter;
use super::stream::{Stage, Stream};
use super::{Cause, Incoming, Slot};
use crate::nvme::Sqe;
use table::Table;

/// What a connection may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most in-capsule data of any I/O queue, in bytes (IOCCSZ x 16 - 64): [`Controller::set_queue`] may not ask
    /// for more. Fabrics commands and the Admin queue always may carry 8,192.
    pub in_capsule_bytes: u32,
    /// MAXH2CDATA: the most data in one H2CData, in bytes. At least 4,096, a multiple of 4.
    pub max_h2c_bytes: u32,
    /// Whether a host that wants header digests gets them.
    pub allow_header_digest: bool,
    /// Whether a host that wants data digests gets them.
    pub allow_data_digest: bool,
    /// The most data of a command, in bytes.
    pub max_transfer_bytes: u32,
}

impl Limits {
    /// The most bytes that [`Controller::feed`] needs in one piece: a command capsule with its data and digests.
    #[must_use]
    pub const fn largest_piece_bytes(&self) -> usize {
        let data =
            if self.in_capsule_bytes > ADMIN_IN_CAPSULE_BYTES { self.in_capsule_bytes } else { ADMIN_IN_CAPSULE_BYTES };
        let digests = Digests { header: true, data: true };
        size_of::<CapsuleCmd>() + digests.header_bytes() + data as usize + digests.data_bytes()
    }
}

/// What happened.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// ICReq was received and ICResp is in `out`.
    Initialized,
    /// A command; its slot is executing.
    Command {
        /// Its place in the table.
        slot: Slot,
        /// The command. Its transport is checked; its fields are not.
        sqe: Sqe,
        /// The in-capsule data; its length need not be what the command's SGL says.
        data: &'a [u8],
        /// Whether the data digest was right (true without one). If not: Transient Transport Error.
        digest_ok: bool,
        /// A command with the same identifier is in flight. Answer Command ID Conflict.
        duplicate: bool,
    },
    /// A piece of the data that an R2T asked for.
    Data {
        /// Whose data.
        slot: Slot,
        /// Where it belongs, in bytes from the start of the command's data.
        offset: u32,
        /// The piece.
        bytes: &'a [u8],
    },
    /// All that the R2T asked for is there; the slot is executing again.
    Received {
        /// Whose data.
        slot: Slot,
        /// Whether all data digests of the command were right (true without them). If not: Transient Transport Error.
        digest_ok: bool,
    },
    /// The connection is over. `out` has the term request, if one is due.
    Closed(Cause),
}

/// What one call of [`Controller::feed`] did.
pub type Fed<'a> = super::Fed<Event<'a>>;

/// What [`Controller::send_data`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The data carries the command's success: the slot is free and no response may follow.
    pub success: bool,
}

/// The queue, as an accepted Connect made it.
#[derive(Clone, Copy, Debug)]
struct QueueState {
    admin: bool,
    in_capsule_bytes: u32,
    flow_control_disabled: bool,
    depth: u16,
    sqhd: u16,
}

/// The target's side of one connection.
#[derive(Debug)]
pub struct Controller {
    limits: Limits,
    phase: Phase,
    digests: Digests,
    /// Where the data of a C2HData starts: behind header and digest, aligned as the host wants it (HPDA).
    c2h_data_offset: u8,
    queue: QueueState,
    table: Table,
    stream: Stream,
}

impl Controller {
    /// A connection that was just accepted. One command (Connect) may be in flight until [`Controller::set_queue`].
    ///
    /// # Panics
    /// If the limits are not as documented.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        assert!(limits.in_capsule_bytes <= MAX_IN_CAPSULE_BYTES, "in-capsule data is received as one piece");
        let max_h2c = limits.max_h2c_bytes;
        assert!(max_h2c >= MIN_MAX_H2C_BYTES && max_h2c.is_multiple_of(H2C_GRANULARITY), "MAXH2CDATA of {max_h2c}");
        let queue = QueueState {
            admin: true,
            in_capsule_bytes: ADMIN_IN_CAPSULE_BYTES,
            flow_control_disabled: false,
            depth: 1,
            sqhd: 0,
        };
        Self {
            limits,
            phase: Phase::AwaitIcReq,
            digests: Digests::default(),
            c2h_data_offset: size_of::<Data>() as u8,
            queue,
            table: Table::new(),
            stream: Stream::new(),
        }
    }

    /// Connect is accepted (its response is due, or was just given): `depth` commands may be in flight (SQSIZE + 1),
    /// each with up to `in_capsule_bytes` of in-capsule data (the Admin queue: always 8,192).
    ///
    /// # Panics
    /// If called twice, before the connection is initialized, with a depth of 0 or beyond [`MAX_QUEUE_DEPTH`], or with
    /// more in-capsule data than the limits allow. After the connection closed it does nothing.
    pub fn set_queue(&mut self, depth: u16, admin: bool, in_capsule_bytes: u32, flow_control_disabled: bool) {
        if self.phase == Phase::Closed {
            return;
        }
        assert!((1..=MAX_QUEUE_DEPTH).contains(&depth), "a queue of {depth} commands");
        assert!(admin || in_capsule_bytes <= self.limits.in_capsule_bytes, "{in_capsule_bytes} bytes in a capsule");
        self.enter(Phase::Live);
        let in_capsule_bytes = if admin { ADMIN_IN_CAPSULE_BYTES } else { in_capsule_bytes };
        self.queue = QueueState { admin, in_capsule_bytes, flow_control_disabled, depth, sqhd: self.queue.sqhd };
        self.table.deepen(depth);
    }

    /// Ends the connection from this side, without a word to the peer. Feed accepts nothing more.
    pub fn close(&mut self) {
        if self.phase != Phase::Closed {
            self.enter(Phase::Closed);
        }
    }

    /// How far the connection is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Digests in use.
    #[must_use]
    pub fn digests(&self) -> Digests {
        self.digests
    }

    /// Whether the caller appends a digest to data that it sends.
    #[must_use]
    pub fn data_digest(&self) -> bool {
        self.digests.data
    }

    /// The most in-capsule data of this queue, in bytes, for checking the SGL of a command that is no Fabrics command.
    #[must_use]
    pub fn in_capsule_bytes(&self) -> u32 {
        self.queue.in_capsule_bytes
    }

    /// What state the command in `slot` is in; [`RequestState::Free`] if there is none.
    #[must_use]
    pub fn state(&self, slot: Slot) -> RequestState {
        self.table.state(slot)
    }

    /// Commands in flight.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.table.in_flight()
    }

    /// How many slots take memory now: every command in flight has one of a lower number. It grows with the commands
    /// in flight, up to the depth of the queue (rounded up to a power of two).
    #[must_use]
    pub fn slots(&self) -> usize {
        self.table.slots()
    }

    /// Gives back the memory of slots that no command has: for a queue that has become idle.
    pub fn shrink(&mut self) {
        self.table.shrink();
    }

    /// How many slots are in each state.
    #[must_use]
    pub fn states(&self) -> [(&'static str, u32); RequestState::ALL.len()] {
        self.table.states()
    }

    /// In the middle of H2CData: the bytes that come next may be received straight into their destination, at most
    /// `remaining` of them. Then tell [`Controller::absorbed`].
    #[must_use]
    pub fn incoming(&self) -> Option<Incoming> {
        if self.phase == Phase::Closed { None } else { self.stream.incoming() }
    }

    /// These bytes, which [`Controller::incoming`] announced, are where they belong.
    ///
    /// # Panics
    /// If they are more than announced.
    pub fn absorbed(&mut self, bytes: &[u8]) -> Option<Event<'static>> {
        if self.phase == Phase::Closed {
            return None;
        }
        self.stream.absorb(bytes);
        if self.stream.stage() == Stage::Settled { self.settle() } else { None }
    }

    fn enter(&mut self, next: Phase) {
        enter(&mut self.phase, next);
    }
}
