//! Sizes as people write them: `1GiB`, `512MiB`, `4k`, `1.5T`, `1TB`, `1048576`.
//!
//! | written | means |
//! |---|---|
//! | `KiB MiB GiB TiB PiB EiB` | powers of 1024 |
//! | `K M G T P E` | powers of 1024 too, as in `fio`, `truncate` and `dd` |
//! | `KB MB GB TB PB EB` | powers of 1000 |
//! | `B` or nothing | bytes |
//!
//! Capital or small letters, with or without a space. A fraction is fine if it comes to whole bytes.

const LETTERS: &[u8] = b"KMGTPE";
/// Digits behind the decimal point that are understood: with these no intermediate value leaves 128 bits.
const MAX_FRACTION_DIGITS: usize = 18;

/// Reads a size in bytes.
///
/// # Errors
/// A sentence that says what is wrong with the text.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let trimmed = text.trim();
    let end = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(end);
    if number.is_empty() || number == "." {
        return Err(format!("`{text}` is not a size: a size is a number with a unit, such as 1GiB, 512MiB or 1048576"));
    }
    let unit = unit_bytes(unit.trim_start()).ok_or_else(|| {
        format!("`{text}` has an unknown unit: use KiB, MiB, GiB, TiB (powers of 1024) or KB, MB, GB, TB (of 1000)")
    })?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.len() > MAX_FRACTION_DIGITS || fraction.contains('.') {
        return Err(format!("`{text}` is not a number that can be read"));
    }
    let too_large = || format!("`{text}` is too large: the limit is 16 EiB");
    let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().map_err(|_| too_large())? };
    let scale = 10_u128.pow(fraction.len() as u32);
    let part = if fraction.is_empty() { 0 } else { fraction.parse::<u128>().expect("at most 18 decimal digits") };
    let product = part * u128::from(unit);
    if !product.is_multiple_of(scale) {
        return Err(format!("`{text}` is not a whole number of bytes"));
    }
    u128::from(whole)
        .checked_mul(u128::from(unit))
        .and_then(|bytes| u64::try_from(bytes + product / scale).ok())
        .ok_or_else(too_large)
}

/// Bytes of a unit as it is written behind a number.
fn unit_bytes(unit: &str) -> Option<u64> {
    let upper = unit.to_ascii_uppercase();
    let (letter, rest) = match upper.as_bytes() {
        [] | b"B" => return Some(1),
        [letter, rest @ ..] => (*letter, rest),
    };
    let power = LETTERS.iter().position(|known| *known == letter)? as u32 + 1;
    match rest {
        b"" | b"IB" => Some(1024_u64.pow(power)),
        b"B" => Some(1000_u64.pow(power)),
        _ => None,
    }
}

/// Writes a size for people: in the largest binary unit that leaves 1 or more, with one decimal unless it is whole.
#[must_use]
pub fn format_size(bytes: u64) -> String {
    let power = if bytes == 0 { 0 } else { bytes.ilog2() / 10 };
    if power == 0 {
        return format!("{bytes} B");
    }
    let unit = 1_u64 << (10 * power);
    let letter = char::from(LETTERS[power as usize - 1]);
    // Rounded down, so that what is shown is never more than what is there.
    let tenths = u128::from(bytes) * 10 / u128::from(unit);
    if tenths.is_multiple_of(10) {
        format!("{} {letter}iB", tenths / 10)
    } else {
        format!("{}.{} {letter}iB", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("512B", 512),
            ("4k", 4096),
            ("4K", 4096),
            ("4KiB", 4096),
            ("4kib", 4096),
            ("4kB", 4000),
            ("1GiB", 1 << 30),
            ("1G", 1 << 30),
            ("1GB", 1_000_000_000),
            ("1T", 1 << 40),
            ("1TB", 1_000_000_000_000),
            (" 1.5 GiB ", 3 << 29),
            (".5K", 512),
            ("2.K", 2048),
            ("7EiB", 7 << 60),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_size() {
        for text in ["", " ", "GiB", ".", "-1", "1XB", "1GiBB", "1 G B", "0x10", "1..5K", "1.5.5K", "1,5G", "1e9"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
        assert!(parse_size("16EiB").unwrap_err().contains("too large"));
        assert!(parse_size("99999999999999999999").unwrap_err().contains("too large"));
        assert!(parse_size("1.5").unwrap_err().contains("whole number of bytes"));
        assert!(parse_size("0.3K").unwrap_err().contains("whole number of bytes"));
    }

    #[test]
    fn sizes_for_people() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            (1 << 30, "1 GiB"),
            ((1 << 30) - 1, "1023.9 MiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(format_size(bytes), text);
        }
    }

    proptest! {
        #[test]
        fn whole_units_survive_the_round_trip(number in 1_u64..1024, power in 0_u32..6) {
            let bytes = number << (10 * power);
            prop_assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
        }

        #[test]
        fn no_text_panics(text in "[0-9.KMGTPEBib ]{0,40}") {
            let _ = parse_size(&text);
        }
    }
}
