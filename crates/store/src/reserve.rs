//! Items that are stored in two steps: their space first, then, when all their bytes are there, themselves.
//!
//! ```text
//!   reserve ──▶ landing: bytes come, in pieces ─┬▶ complete: it is there, and the old one is not any more
//!                                               └▶ abandon: the space is dead
//! ```
//!
//! A large value is received straight to where it will lie. Until it is complete the table does not know it, and its
//! space is pinned: a run is in no chain, a smaller item is at the end of an open segment, and if that was emptied
//! meanwhile it is put in once more.

use crate::chains;
use crate::heap::Use;
use crate::item::{Header, Layout};
use crate::limits::{MAX_KEY_BYTES, MAX_VALUE_BYTES, RESERVED_SHARE};
use crate::slot::Place;
use crate::store::{NoRoom, Room, Store, TooLarge};
use crate::time::{Expiry, Time};

/// Space for an item that is not there yet. To be ended: [`Store::complete`] or [`Store::abandon`].
#[derive(Debug)]
#[must_use = "what is reserved stays so until it is completed or abandoned"]
pub struct Reserved {
    pin: u32,
}

/// What is put in front of a value or behind it.
#[derive(Debug)]
pub enum Joined<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// A value that was received to its place, and is to be abandoned then.
    Reserved(&'a Reserved),
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

    /// Bytes of the value.
    #[must_use]
    pub fn reserved_bytes(&self, reserved: &Reserved) -> usize {
        self.reserved(reserved).1.value_bytes
    }

    /// The key of the item.
    #[must_use]
    pub fn reserved_key(&self, reserved: &Reserved) -> &[u8] {
        let (place, header) = self.reserved(reserved);
        &self.heap.at(place)[header.bytes()..][..header.key_bytes]
    }

    /// The value is there: the item is stored with these flags and this expiry, which are best those it was reserved
    /// with, in the place of one of this key if there is one. Its new CAS.
    ///
    /// # Errors
    /// [`NoRoom`]. The reservation is abandoned then, and the old item is still there.
    pub fn complete(
        &mut self,
        reserved: Reserved,
        hash: u64,
        (flags, expiry): (u32, Expiry),
        now: Time,
    ) -> Result<u64, NoRoom> {
        let placed = self.place_for(&reserved, (flags, expiry), now);
        let (from, old) = self.reserved(&reserved);
        let header = Header { flags, expiry, ..old };
        let place = placed.map(|room| match room {
            Some(room) => {
                let to = self.write_header(room, &header);
                let (old, new) = (behind(from, old.bytes()), behind(to, header.bytes()));
                self.heap.copy(old, new, header.key_bytes + header.value_bytes);
                to
            }
            None => {
                if self.heap.segment(from.segment).is == Use::Detached {
                    self.heap.attach(from.segment, chains::of(expiry, now));
                }
                self.heap.revived(from.segment, header.item_bytes());
                from
            }
        });
        self.abandon(reserved);
        place.map(|place| self.written(hash, place, &header))
    }

    /// Another place for the item of a reservation, if its segment was emptied or it is to be another one; in any case
    /// room in the table.
    fn place_for(
        &mut self,
        reserved: &Reserved,
        (flags, expiry): (u32, Expiry),
        now: Time,
    ) -> Result<Option<Room>, NoRoom> {
        self.room_in_table(now)?;
        let (place, header) = self.reserved(reserved);
        let stays = self.heap.is_run(place.segment) || self.heap.segment(place.segment).is != Use::Detached;
        if stays && (header.flags, header.expiry) == (flags, expiry) {
            return Ok(None);
        }
        let bytes = Header { flags, expiry, ..header }.item_bytes();
        self.room(chains::of(expiry, now), bytes, now).map(Some)
    }

    /// Puts bytes in front of the value of an item, or behind it: a new item with its flags and expiry. Its CAS; `None`
    /// if there is no item.
    ///
    /// # Errors
    /// [`NoRoom`]. The old item is still there then.
    pub fn join(
        &mut self,
        hash: u64,
        key: &[u8],
        joined: Joined<'_>,
        front: bool,
        now: Time,
    ) -> Result<Option<u64>, NoRoom> {
        let more = match &joined {
            Joined::Bytes(bytes) => bytes.len(),
            Joined::Reserved(reserved) => self.reserved(reserved).1.value_bytes,
        };
        let whole = |old: &Header| Header { cas: None, told_cas: false, value_bytes: old.value_bytes + more, ..*old };
        let Some((.., old)) = self.live(hash, key, now) else { return Ok(None) };
        let (header, most) = (whole(&old), self.largest_item());
        if header.item_bytes() > most || header.value_bytes > MAX_VALUE_BYTES {
            return Err(TooLarge { bytes: header.item_bytes(), most }.into());
        }
        let room = self.room(chains::of(old.expiry, now), header.item_bytes(), now)?;
        // Making room may have moved the item, or evicted it.
        let Some((_, from, old)) = self.live(hash, key, now) else { return Ok(None) };
        let header = whole(&old);
        let to = self.write_header(room, &header);
        self.heap.copy(behind(from, old.bytes()), behind(to, header.bytes()), key.len());
        let value = behind(to, header.bytes() + key.len());
        let (old_at, more_at) = if front { (more, 0) } else { (0, old.value_bytes) };
        self.heap.copy(behind(from, old.bytes() + key.len()), behind(value, old_at), old.value_bytes);
        match joined {
            Joined::Bytes(bytes) => self.heap.at_mut(behind(value, more_at), more).copy_from_slice(bytes),
            Joined::Reserved(reserved) => {
                let (place, header) = self.reserved(reserved);
                self.heap.copy(behind(place, header.bytes() + header.key_bytes), behind(value, more_at), more);
            }
        }
        Ok(Some(self.written(hash, to, &header)))
    }

    /// Begins an item.
    fn write_header(&mut self, room: Room, header: &Header) -> Place {
        let segment = self.open_room(room);
        let place = self.heap.append(segment, header.item_bytes(), header.expiry).expect("there is room");
        header.write(self.heap.at_mut(place, header.bytes()));
        place
    }

    /// An item is whole. Its CAS.
    fn written(&mut self, hash: u64, place: Place, header: &Header) -> u64 {
        let header = Header { sequence: self.heap.next_sequence(), ..*header };
        header.write(self.heap.at_mut(place, header.bytes()));
        self.heap.written(place, header.item_bytes());
        self.live_bytes += header.item_bytes() as u64;
        self.show(hash, place);
        self.heap.cas_of(place, &header)
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

/// So many bytes behind a place.
fn behind(place: Place, bytes: usize) -> Place {
    Place { offset: place.offset + bytes as u32, ..place }
}
