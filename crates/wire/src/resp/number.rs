//! Whole numbers as Redis reads them.

use super::limits::MAX_NUMBER_BYTES;

/// A decimal number of 64 bits as it would be written: no plus, no zero in front, nothing around it.
#[must_use]
#[inline]
pub fn integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    if digits.is_empty() || text.len() > MAX_NUMBER_BYTES || digits[0] == b'0' && text.len() > 1 {
        return None;
    }
    let mut number = 0u64;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number.checked_mul(10)?.checked_add(digit.into())?;
    }
    if digits.len() == text.len() { i64::try_from(number).ok() } else { 0i64.checked_sub_unsigned(number) }
}
