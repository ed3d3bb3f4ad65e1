//! NVMe/TCP: PDUs, and the state machine of each side of a connection.
//!
//! ```text
//!                    bytes received                 events
//!   socket --------> feed(input, out) ------------> Initialized, Command, Data, Received, Closed
//!                                  |
//!   socket <-------- out <---------+--------------- request_data, send_data, respond
//!                    headers to send                actions
//! ```
//!
//! [`Controller`](controller::Controller) is the target's side, [`Host`](host::Host) the host's; connected to each
//! other in memory they are a whole connection. Neither owns a buffer: events borrow from the bytes received, headers
//! are appended to a vector of the caller's, and data is sent by the caller from where it lies.
//!
//! A peer's mistake ends the connection ([`Cause`]) and never panics; a mistake of the caller asserts.
//!
//! * `pdu` - the bytes; `digest` - CRC-32C; `header` - what every received header must fulfil;
//! * `stream` - data that arrives in pieces; `states` - named states with declared transitions;
//! * `controller`, `host` - the two machines; `limits` - every number that bounds them.

pub mod controller;
pub mod digest;
mod header;
pub mod host;
pub mod limits;
pub mod pdu;
pub mod states;
mod stream;

use std::fmt;

pub use header::Violation;
pub use states::Undeclared;

/// Index of a command in the table of a connection; the caller keeps an array of its own beside it. On the target's
/// side it is the transfer tag (TTAG) of the command's R2Ts as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u16);

impl Slot {
    /// As an index, below the depth of the queue.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What one call of `feed` did.
#[derive(Debug, PartialEq, Eq)]
pub struct Fed<E> {
    /// Bytes of the input that are done with; the rest is given again, together with what follows it.
    pub consumed: usize,
    /// Without an event: the number of bytes (beyond those consumed) with which another call gets further. 0 with an
    /// event, and once the connection is closed.
    pub needs: usize,
    /// What happened. Call again until it is `None`, even with an empty rest of the input.
    pub event: Option<E>,
}

/// Data on its way: the bytes that come next belong to `slot` and may be received straight into their destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// Whose data.
    pub slot: Slot,
    /// Where the next byte belongs, in bytes from the start of the command's data.
    pub offset: u32,
    /// Bytes of this PDU's data that are still to come.
    pub remaining: u32,
}

/// Why a connection was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The peer broke a rule. The term request that says so is in `out`: send it, then close.
    Violation(Violation),
    /// The peer sent a term request: close.
    Terminated {
        /// Fatal error status as received: see [`pdu::Fes`].
        fes: u16,
        /// Fatal error information as received.
        fei: u32,
    },
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Violation(violation) => violation.fmt(f),
            Self::Terminated { fes, fei } => {
                write!(
                    f,
                    "the peer ended the connection: {} ({fes:02x}h, information {fei:08x}h)",
                    pdu::Fes::name(*fes)
                )
            }
        }
    }
}

/// How far a machine got with the bytes at hand.
enum Step<E> {
    /// These many bytes are needed.
    Needs(usize),
    /// These many bytes are consumed; nothing to report.
    Consumed(usize),
    /// These many bytes are consumed, and something happened.
    Event(usize, E),
}
