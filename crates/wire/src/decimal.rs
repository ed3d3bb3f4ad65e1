//! Whole numbers, written.

pub use itoa::{Buffer, Integer};

/// Appends a number in decimal digits, with a minus if it is negative.
#[inline]
pub fn push(to: &mut Vec<u8>, number: impl Integer) {
    to.extend_from_slice(Buffer::new().format(number).as_bytes());
}
