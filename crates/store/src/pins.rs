//! Bytes that stay as they are for somebody outside: what is lent, and what is reserved.
//!
//! ```text
//!   Loan ──▶ pin ──▶ segment 7, offset 64        segment 7 moves to 9:  ──▶ pin ──▶ segment 9, offset 64
//! ```
//!
//! A pin holds bytes, not a place. A segment with a pin may be moved as it is, and its items may be overwritten,
//! evicted or expire like others. Only its bytes stay, in no chain, until the last pin is gone.

use crate::slot::Place;
use crate::store::Store;

/// The value of an item as it was when it was lent, whatever becomes of the item. To be given back:
/// [`Store::give_back`].
#[derive(Debug)]
#[must_use = "what is lent stays in the store until it is given back"]
pub struct Loan {
    pin: u32,
    bytes: usize,
}

impl Loan {
    /// Bytes of the value.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Where pinned bytes lie.
#[derive(Default)]
pub(crate) struct Pins {
    places: Vec<Place>,
    free: Vec<u32>,
}

impl Pins {
    pub(crate) fn add(&mut self, place: Place) -> u32 {
        if let Some(pin) = self.free.pop() {
            self.places[pin as usize] = place;
            return pin;
        }
        self.places.push(place);
        self.places.len() as u32 - 1
    }

    pub(crate) fn place(&self, pin: u32) -> Place {
        self.places[pin as usize]
    }

    pub(crate) fn remove(&mut self, pin: u32) -> Place {
        self.free.push(pin);
        // No segment has this number.
        std::mem::replace(&mut self.places[pin as usize], Place { segment: u32::MAX, offset: 0 })
    }

    /// A segment lies elsewhere from now on.
    pub(crate) fn moved(&mut self, from: u32, to: u32) {
        let pinned = self.places.iter_mut().filter(|place| place.segment == from);
        pinned.for_each(|place| place.segment = to);
    }
}

impl Store {
    /// Lends the value of an item that [`Store::get`] or one of its sisters has just found; its bytes do not change
    /// until the loan is back.
    pub fn lend(&mut self, hash: u64, key: &[u8]) -> Option<Loan> {
        let place = self.find(hash, key)?.read(&self.heap).place();
        let header = self.heap.header(place);
        let offset = place.offset + (header.bytes() + header.key_bytes) as u32;
        self.heap.pin(place.segment);
        let pin = self.pins.add(Place { offset, ..place });
        Some(Loan { pin, bytes: header.value_bytes })
    }

    /// The bytes of a loan.
    #[must_use]
    pub fn lent(&self, loan: &Loan) -> &[u8] {
        &self.heap.at(self.pins.place(loan.pin))[..loan.bytes]
    }

    /// Bytes of the segments that something is lent or reserved in.
    #[must_use]
    pub fn pinned_bytes(&self) -> usize {
        self.heap.pinned_segments() * self.heap.segment_bytes()
    }

    /// Takes a loan back.
    pub fn give_back(&mut self, loan: Loan) {
        let place = self.pins.remove(loan.pin);
        self.heap.unpin(place.segment);
    }
}
