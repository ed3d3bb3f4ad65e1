//! The pump: moves bytes between a socket and a protocol's state machine.
//!
//! ```text
//!             one receive                     parse all               one send for all answers of a pass
//!   socket ──────────────▶ [tail|scratch] ──▶ state machine ──▶ ... ──▶ [bytes|payload|bytes|...] ──▶ socket
//!                  └─────▶ destination of a large payload (direct)             Outbox
//! ```
//!
//! A reactor has one [`Scratch`], large and warm in the cache, that all its connections receive into in turn; what a
//! connection could not use yet (a cut header, a cut capsule) is kept as its tail, so an idle connection holds no
//! receive buffer. In the middle of a large payload the bytes are received straight to where they belong.

mod outbox;

use std::io::{self, IoSliceMut};
use std::net::TcpStream;

use machine::reactor::Arm;
use machine::ring::{Ring, Socket};

pub use outbox::{Outbox, Sent};

use crate::limits::{DIRECT_BYTES, DIRECT_LOOK_AHEAD_BYTES, SCRATCH_BYTES, TAIL_BYTES};

/// The receive buffer that all connections of a reactor share.
pub struct Scratch {
    bytes: Box<[u8]>,
    /// Kept for its room.
    parts: Vec<IoSliceMut<'static>>,
}

impl Scratch {
    /// A buffer for [`SCRATCH_BYTES`] behind the longest tail.
    #[must_use]
    pub fn new() -> Self {
        Self { bytes: vec![0; TAIL_BYTES + SCRATCH_BYTES].into_boxed_slice(), parts: Vec::new() }
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

/// What a receive brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// Nothing for now, or less than the state machine wants to see.
    Nothing,
    /// The peer has closed its side.
    Closed,
    /// `direct` bytes went straight to the destination; `rest` follows them in the stream and starts with the old tail.
    Bytes {
        /// Bytes at the front of the destination.
        direct: usize,
        /// To be parsed; what cannot be used yet goes back through [`Pump::keep`].
        rest: &'a [u8],
    },
}

/// One connection's way to and from its socket.
pub struct Pump {
    socket: Socket,
    tail: Vec<u8>,
    /// The machine has no use for a shorter tail.
    wanted: u32,
    held: bool,
    /// What is to be sent.
    pub out: Outbox,
}

impl Pump {
    /// A pump on a connected socket.
    #[must_use]
    pub fn new(socket: Socket) -> Self {
        Self { socket, tail: Vec::new(), wanted: 0, held: false, out: Outbox::default() }
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Receives once. With `direct` (the places of the rest of a payload, of which the state machine says where it
    /// belongs) of at least [`DIRECT_BYTES`], its bytes come to their place without a detour.
    ///
    /// After [`Received::Bytes`] the caller must parse `rest` and call [`Pump::keep`] with what it left over.
    ///
    /// # Errors
    /// Those of the socket; the connection is then beyond use.
    pub fn receive<'a, 'd>(
        &mut self,
        scratch: &'a mut Scratch,
        direct: impl IntoIterator<Item = &'d mut [u8]>,
    ) -> io::Result<Received<'a>> {
        if std::mem::take(&mut self.held) {
            let kept = self.unkeep(scratch);
            return Ok(Received::Bytes { direct: 0, rest: &scratch.bytes[..kept] });
        }
        if self.tail.is_empty()
            && let Some(received) = self.receive_direct(scratch, direct)
        {
            return Ok(match received? {
                (None, _) => Received::Nothing,
                (Some(0), _) => Received::Closed,
                (Some(n), wanted) => {
                    let direct = n.min(wanted);
                    Received::Bytes { direct, rest: &scratch.bytes[..n - direct] }
                }
            });
        }
        let kept = self.tail.len();
        let mut parts = [IoSliceMut::new(&mut scratch.bytes[kept..kept + SCRATCH_BYTES])];
        Ok(match self.socket.try_recv(&mut parts)? {
            None => Received::Nothing,
            Some(0) => Received::Closed,
            Some(n) if kept + n < self.wanted as usize => {
                self.tail.extend_from_slice(&scratch.bytes[kept..kept + n]);
                Received::Nothing
            }
            Some(n) => {
                self.unkeep(scratch);
                Received::Bytes { direct: 0, rest: &scratch.bytes[..kept + n] }
            }
        })
    }

    /// Receives into the places, and a little more; what came and the size of the places. `None` if they are small.
    fn receive_direct<'d>(
        &self,
        scratch: &mut Scratch,
        direct: impl IntoIterator<Item = &'d mut [u8]>,
    ) -> Option<io::Result<(Option<usize>, usize)>> {
        let mut parts = recycle(std::mem::take(&mut scratch.parts));
        let mut wanted = 0;
        for place in direct {
            wanted += place.len();
            parts.push(IoSliceMut::new(place));
        }
        let received = (wanted >= DIRECT_BYTES).then(|| {
            parts.push(IoSliceMut::new(&mut scratch.bytes[..DIRECT_LOOK_AHEAD_BYTES]));
            Ok((self.socket.try_recv(&mut parts)?, wanted))
        });
        scratch.parts = recycle(parts);
        received
    }

    /// Keeps what the state machine could not use yet, until more bytes have come.
    ///
    /// # Panics
    /// If there is more than a machine may leave over; its limits on a cut unit hold that.
    pub fn keep(&mut self, left: &[u8]) {
        self.keep_until(left, 0);
    }

    /// The same, of a machine that knows how much it wants to see: [`Pump::receive`] brings nothing before so many
    /// bytes are there. So a unit that comes in crumbs is neither moved nor looked at for each of them.
    ///
    /// # Panics
    /// As [`Pump::keep`], and if more is wanted than may be left over.
    pub fn keep_until(&mut self, left: &[u8], wanted: usize) {
        let most = left.len().max(wanted);
        assert!(most <= TAIL_BYTES, "a state machine left {} bytes and wants {wanted}", left.len());
        self.tail.clear();
        self.tail.extend_from_slice(left);
        self.wanted = wanted as u32;
    }

    /// Keeps bytes that the state machine could use but the caller has no room for now: the next [`Pump::receive`]
    /// returns them again without asking the socket.
    pub fn hold(&mut self, left: &[u8]) {
        self.tail.clear();
        self.tail.extend_from_slice(left);
        (self.held, self.wanted) = (true, 0);
    }

    /// Drops what is kept, and its room.
    pub fn forget(&mut self) {
        self.tail = Vec::new();
        (self.held, self.wanted) = (false, 0);
    }

    /// Takes the connection out of its ring, for another one, with the bytes that are held.
    ///
    /// # Errors
    /// See [`Socket::leave`].
    ///
    /// # Panics
    /// If there is something to send.
    pub fn leave(self) -> io::Result<(TcpStream, Vec<u8>)> {
        assert!(self.out.is_empty(), "what is to be sent does not leave the reactor");
        Ok((self.socket.leave()?, self.tail))
    }

    /// Whether another receive is likely to bring something at once: bytes are held back, or the last receive did not
    /// empty the socket.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.held || !self.socket.drained()
    }

    /// Whether receiving again may bring something without a wake-up by the ring.
    #[must_use]
    pub fn arm(&self, ring: &mut Ring) -> Arm {
        if self.held { Arm::Busy } else { ring.arm(&self.socket) }
    }

    /// Sends what there is. See [`Outbox::flush`].
    ///
    /// # Errors
    /// Those of the socket.
    pub fn flush(&mut self) -> io::Result<Sent> {
        let socket = &self.socket;
        self.out.flush(|parts| socket.try_send(parts))
    }

    /// Sends what there is, with held pieces. See [`Outbox::flush_held`].
    ///
    /// # Errors
    /// Those of the socket.
    pub fn flush_held<'s>(&mut self, show: impl Fn(usize) -> &'s [u8]) -> io::Result<Sent> {
        let socket = &self.socket;
        self.out.flush_held(show, |parts| socket.try_send(parts))
    }

    /// Bytes that are kept until more have come, or that are held.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.tail.len()
    }

    /// Whether bytes are held.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.held
    }

    /// Bytes of memory that it has: for what was received, and see [`Outbox::memory`].
    #[must_use]
    pub fn memory(&self) -> usize {
        self.tail.capacity() + self.out.memory()
    }

    /// Gives back memory that is kept for its room: for a connection that has become idle.
    pub fn shrink(&mut self) {
        self.tail.shrink_to_fit();
        self.out.shrink();
    }

    /// Moves the tail to the front of the scratch buffer; its length.
    fn unkeep(&mut self, scratch: &mut Scratch) -> usize {
        let kept = self.tail.len();
        scratch.bytes[..kept].copy_from_slice(&self.tail);
        self.tail.clear();
        kept
    }
}

/// The same memory, for other places.
fn recycle<'a>(mut parts: Vec<IoSliceMut<'_>>) -> Vec<IoSliceMut<'a>> {
    parts.clear();
    parts.into_iter().map(|_| unreachable!("it is empty")).collect()
}
