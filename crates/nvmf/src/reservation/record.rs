//! The state of a namespace's reservations as bytes that survive a torn write.
//!
//! ```text
//!   file     | record 0, 8 KiB              | record 1, 8 KiB              |    written in turns: number n to n mod 2
//!
//!   record   0      8        16         32           36      37      38      40       56
//!            | magic | number | disk UUID | generation | rtype | PTPL  | count | holder | ...
//!            64          88
//!            | registrant | registrant | ... zeros ...                  8188 | CRC-32C |
//!              host 16, key 8
//! ```
//!
//! The valid record with the higher number counts. A write that is cut off leaves the other record as it was, and the
//! command it was for has not been answered. The UUID is the disk's: records that were copied along with an image do
//! not hold for the copy, which gets an identity of its own.

use uuid::Uuid;
use wire::nvme::reservation::ReservationType;
use wire::tcp::digest::Crc32c;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::state::{Held, Registrant, Reservations};
use crate::limits::REGISTRANTS;

/// Bytes of one record.
pub const RECORD_BYTES: usize = 8 << 10;
/// Bytes of the file: two records.
pub const FILE_BYTES: usize = 2 * RECORD_BYTES;

const MAGIC: [u8; 8] = *b"qp-resv1";
/// Registrants that fit into a record of this layout.
const PLACES: usize = 338;

const _: () = assert!(REGISTRANTS <= PLACES);

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Record {
    magic: [u8; 8],
    number: U64,
    disk: [u8; 16],
    generation: U32,
    rtype: u8,
    persists: u8,
    count: U16,
    holder: [u8; 16],
    reserved: [u8; 8],
    registrants: [Place; PLACES],
    rest: [u8; 12],
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Place {
    host: [u8; 16],
    key: U64,
}

/// Bytes of a CRC-32C, at the end of a record.
const CRC_BYTES: usize = 4;

const _: () = assert!(size_of::<Record>() + CRC_BYTES == RECORD_BYTES);

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its number: each is higher by one than the one before.
    pub number: u64,
    /// The disk that it was written for.
    pub disk: Uuid,
    /// What it says.
    pub state: Reservations,
}

/// Where record `number` goes, in bytes from the start of the file.
#[must_use]
pub const fn offset(number: u64) -> u64 {
    number % 2 * RECORD_BYTES as u64
}

/// The state as record `number` of a disk. What does not persist is not in it.
///
/// # Panics
/// If the state cannot persist: nobody asks for that.
#[must_use]
pub fn encode(state: &Reservations, number: u64, disk: Uuid) -> Vec<u8> {
    assert!(state.can_persist(), "there is no place for this state");
    let mut record = Record { magic: MAGIC, number: number.into(), disk: disk.into_bytes(), ..Record::new_zeroed() };
    if state.persists() {
        record.persists = 1;
        record.generation = state.generation().into();
        if let Some(held) = state.held() {
            (record.rtype, record.holder) = (held.kind.code(), held.holder);
        }
        record.count = (state.registrants().len() as u16).into();
        for (place, registrant) in record.registrants.iter_mut().zip(state.registrants()) {
            *place = Place { host: registrant.host, key: registrant.key.into() };
        }
    }
    let mut bytes = record.as_bytes().to_vec();
    bytes.extend_from_slice(&Crc32c::of(&bytes));
    bytes
}

/// Reads one record; `None` if it is not whole, or says what cannot be.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<Stored> {
    let (record, crc) = Record::ref_from_prefix(bytes).ok()?;
    if record.magic != MAGIC || crc != Crc32c::of(record.as_bytes()) {
        return None;
    }
    let state = if record.persists == 0 {
        Reservations::new(true)
    } else {
        let places = record.registrants.get(..usize::from(record.count.get()))?;
        let registrants = places.iter().map(|place| Registrant { host: place.host, key: place.key.get() }).collect();
        let held = match record.rtype {
            0 => None,
            code => Some(Held { kind: ReservationType::from_code(code)?, holder: record.holder }),
        };
        Reservations::restore(registrants, held, record.generation.get())?
    };
    Some(Stored { number: record.number.get(), disk: Uuid::from_bytes(record.disk), state })
}

/// The record of a file that counts: the valid one with the higher number; `None` if none is valid.
#[must_use]
pub fn newest(file: &[u8]) -> Option<Stored> {
    if file.len() != FILE_BYTES {
        return None;
    }
    let at_home = |(place, bytes): (usize, &[u8])| decode(bytes).filter(|found| found.number % 2 == place as u64);
    file.chunks_exact(RECORD_BYTES).enumerate().filter_map(at_home).max_by_key(|found| found.number)
}
