//! Numbers on the command line: decimal, or hexadecimal with 0x.

/// Reads a number.
///
/// # Errors
/// What it should be.
pub(super) fn number(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| format!("`{text}` is no number; write for example 12 or 0x0c"))
}

/// Reads a number of up to 32 bits.
///
/// # Errors
/// What it should be.
pub(super) fn number32(text: &str) -> Result<u32, String> {
    number(text)?.try_into().map_err(|_| format!("{text} has more than 32 bits"))
}

/// Reads a number of up to 16 bits.
///
/// # Errors
/// What it should be.
pub(super) fn number16(text: &str) -> Result<u16, String> {
    number(text)?.try_into().map_err(|_| format!("{text} has more than 16 bits"))
}

/// Reads a number of up to 8 bits.
///
/// # Errors
/// What it should be.
pub(super) fn number8(text: &str) -> Result<u8, String> {
    number(text)?.try_into().map_err(|_| format!("{text} has more than 8 bits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_and_hexadecimal() {
        assert_eq!((number("12"), number("0x0c"), number("0XC")), (Ok(12), Ok(12), Ok(12)));
        assert_eq!((number8("255"), number16("0xffff"), number32("0xffffffff")), (Ok(255), Ok(65_535), Ok(u32::MAX)));
        for wrong in ["", "x", "0x", "-1", "0c", "18446744073709551616"] {
            assert!(number(wrong).is_err(), "{wrong}");
        }
        assert!(number8("256").is_err() && number16("0x10000").is_err() && number32("0x100000000").is_err());
    }
}
