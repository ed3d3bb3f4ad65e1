//! Numbers in words.

/// A number of bytes, in the largest unit that leaves no fraction beyond a tenth of a percent: "512 KiB", "3.6 TiB".
pub(crate) fn size(bytes: u128) -> String {
    const UNITS: [&str; 9] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"];
    let unit = if bytes == 0 { 0 } else { (bytes.ilog2() / 10).min(8) as usize };
    let whole = 1_u128 << (10 * unit);
    if bytes.is_multiple_of(whole) {
        return format!("{} {}", bytes / whole, UNITS[unit]);
    }
    format!("{:.2} {}", bytes as f64 / whole as f64, UNITS[unit])
}

/// So many of something; `plural` is the word for more than one.
pub(crate) fn count(number: u64, plural: &str) -> String {
    match (number, plural.strip_suffix("ies")) {
        (1, Some(stem)) => format!("1 {stem}y"),
        (1, None) => format!("1 {}", plural.trim_end_matches('s')),
        _ => format!("{number} {plural}"),
    }
}

/// A field that counts from 0.
pub(crate) fn one_more(field: u16, plural: &str) -> String {
    count(u64::from(field) + 1, plural)
}

/// A temperature: 0 kelvin is "not reported" in every field.
pub(crate) fn celsius(kelvin: u16) -> String {
    if kelvin == 0 { "not reported".to_owned() } else { format!("{} C", i32::from(kelvin) - 273) }
}

/// The version of a specification.
pub(crate) fn version(vs: u32) -> String {
    let (major, minor, tertiary) = (vs >> 16, vs >> 8 & 0xff, vs & 0xff);
    match tertiary {
        0 => format!("NVMe {major}.{minor}"),
        _ => format!("NVMe {major}.{minor}.{tertiary}"),
    }
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Sixteen bytes as a UUID is written.
pub(crate) fn uuid(bytes: &[u8; 16]) -> String {
    let text = hex(bytes);
    [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_words() {
        let sizes = [0, 1, 1023, 1024, 1536, 4 << 20, 3 << 80].map(size);
        assert_eq!(sizes, ["0 B", "1 B", "1023 B", "1 KiB", "1.50 KiB", "4 MiB", "3 YiB"]);
        assert_eq!(size(u128::MAX), "281474976710656.00 YiB");
        assert_eq!((celsius(0), celsius(310), celsius(1)), ("not reported".into(), "37 C".into(), "-272 C".into()));
        assert_eq!((version(0x2_0000), version(0x1_0301)), ("NVMe 2.0".into(), "NVMe 1.3.1".into()));
        assert_eq!((one_more(0, "entries"), one_more(0, "blocks")), ("1 entry".into(), "1 block".into()));
        assert_eq!((one_more(u16::MAX, "blocks"), count(0, "blocks")), ("65536 blocks".into(), "0 blocks".into()));
        assert_eq!(uuid(&[0xab; 16]), "abababab-abab-abab-abab-abababababab");
    }
}
