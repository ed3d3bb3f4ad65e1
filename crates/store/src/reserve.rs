//! Items that are stored in two steps: their space first, then, when all their bytes are there, themselves.
//!
//! ```text
//!   reserve ──▶ landing: bytes come, in pieces ──▶ commit: it is there, and the old one is not any more
//!                                               └▶ abandon: the space is dead
//! ```
//!
//! A large value is received straight to where it will lie. Until commit the table does not know it, and its space is
//! pinned: a run is in no chain, a smaller item is at the end of an open segment, and if that was emptied meanwhile it
//! is put in once more.

use crate::chains;
use crate::heap::Use;
use crate::item::{Header, Layout};
use crate::limits::{MAX_KEY_BYTES, MAX_VALUE_BYTES, RESERVED_SHARE};
use crate::slot::Place;
use crate::store::{NoRoom, Room, Store, TooLarge};
use crate::time::{Expiry, Time};

/// Space for an item that is not there yet. To be ended: [`Store::commit`] or [`Store::abandon`].
#[derive(Debug)]
#[must_use = "what is reserved stays so until it is committed or abandoned"]
pub struct Reserved {
    pin: u32,
}

impl Store {
    /// Reserves the space of an item.
    ///
    /// # Errors
    /// [`NoRoom`]; also when others have reserved about half of the store.
    ///
    /// # Panics
    /// If the key is longer than [`MAX_KEY_BYTES`].
    pub fn reserve(
        &mut self,
        key: &[u8],
        value_bytes: usize,
        flags: u32,
        expiry: Expiry,
        now: Time,
    ) -> Result<Reserved, NoRoom> {
        assert!(key.len() <= MAX_KEY_BYTES, "a key of {} bytes", key.len());
        let header = Header { flags, expiry, ..Header::plain(self.heap.layout(), key.len(), value_bytes) };
        let (bytes, most) = (header.item_bytes(), self.largest_item());
        if bytes > most || value_bytes > MAX_VALUE_BYTES {
            return Err(TooLarge { bytes, most }.into());
        }
        if self.reserved_bytes + bytes > self.heap.count() * self.heap.segment_bytes() / RESERVED_SHARE {
            return Err(NoRoom::Full);
        }
        let segment = match self.room(chains::of(expiry, now), bytes, now)? {
            Room::Tail(segment) if self.heap.layout() == Layout::Volatile => {
                self.heap.pin(segment);
                segment
            }
            Room::Tail(_) => self.detached_segment(now)?,
            Room::Run { head, segments, .. } => {
                self.heap.open_detached(head, segments);
                head
            }
        };
        let place = self.heap.append(segment, bytes, expiry).expect("there is room");
        self.heap.died(segment, bytes);
        let item = self.heap.at_mut(place, bytes);
        let at = header.write(item);
        item[at..at + key.len()].copy_from_slice(key);
        self.reserved_bytes += bytes;
        Ok(Reserved { pin: self.pins.add(place) })
    }

    /// A segment for one item alone: what lies in a chain of a pool is whole, or the next process could not tell where
    /// the item behind it begins.
    fn detached_segment(&mut self, now: Time) -> Result<u32, NoRoom> {
        self.spare_segments(1, now).ok_or(NoRoom::Full)?;
        let segment = self.heap.room_for(1).expect("there is a spare one");
        self.heap.open_detached(segment, 1);
        Ok(segment)
    }

    /// Where the bytes of the value come to.
    pub fn landing(&mut self, reserved: &Reserved) -> &mut [u8] {
        let (place, header) = self.reserved(reserved);
        let value = header.bytes() + header.key_bytes;
        &mut self.heap.at_mut(place, header.item_bytes())[value..]
    }

    /// The key of the item.
    #[must_use]
    pub fn reserved_key(&self, reserved: &Reserved) -> &[u8] {
        let (place, header) = self.reserved(reserved);
        &self.heap.at(place)[header.bytes()..][..header.key_bytes]
    }

    /// The value is there: the item is stored, in the place of one of this key if there is one. Its new CAS.
    ///
    /// # Errors
    /// [`NoRoom`]. The reservation is abandoned then, and the old item is still there.
    pub fn commit(&mut self, reserved: Reserved, hash: u64, now: Time) -> Result<u64, NoRoom> {
        let placed = self.placed(&reserved, now);
        let (from, mut header) = self.reserved(&reserved);
        let bytes = header.item_bytes();
        let place = match placed {
            Ok(Some(room)) => {
                let segment = self.open_room(room);
                let to = self.heap.append(segment, bytes, header.expiry).expect("there is room");
                self.heap.copy(from, to, bytes);
                to
            }
            Ok(None) => {
                if self.heap.segment(from.segment).is == Use::Detached {
                    self.heap.attach(from.segment, chains::of(header.expiry, now));
                }
                self.heap.revived(from.segment, bytes);
                from
            }
            Err(error) => {
                self.abandon(reserved);
                return Err(error);
            }
        };
        self.live_bytes += bytes as u64;
        header.sequence = self.heap.next_sequence();
        header.write(self.heap.at_mut(place, header.bytes()));
        self.heap.written(place, bytes);
        self.abandon(reserved);
        self.show(hash, place);
        Ok(self.heap.cas_of(place, &header))
    }

    /// Another place for the item of a reservation whose segment was emptied; in any case room in the table.
    fn placed(&mut self, reserved: &Reserved, now: Time) -> Result<Option<Room>, NoRoom> {
        self.room_in_table(now)?;
        let (place, header) = self.reserved(reserved);
        if self.heap.is_run(place.segment) || self.heap.segment(place.segment).is != Use::Detached {
            return Ok(None);
        }
        self.room(chains::of(header.expiry, now), header.item_bytes(), now).map(Some)
    }

    /// Gives the space up.
    pub fn abandon(&mut self, reserved: Reserved) {
        let (_, header) = self.reserved(&reserved);
        self.reserved_bytes -= header.item_bytes();
        let place = self.pins.remove(reserved.pin);
        self.heap.unpin(place.segment);
    }

    fn reserved(&self, reserved: &Reserved) -> (Place, Header) {
        let place = self.pins.place(reserved.pin);
        (place, self.heap.header(place))
    }
}
