//! What the bits of a field mean: tables, and the lines that come of them.

/// A bit, or several that belong together.
#[derive(Clone, Copy, Debug)]
pub struct Bits {
    high: u8,
    low: u8,
    what: &'static str,
    codes: &'static [&'static str],
}

/// One bit; it is told where it is 1.
pub(crate) const fn bit(at: u8, what: &'static str) -> Bits {
    Bits { high: at, low: at, what, codes: &[] }
}

/// A number in the bits `high` to `low`; it is told where it is not 0.
pub(crate) const fn range(high: u8, low: u8, what: &'static str) -> Bits {
    Bits { high, low, what, codes: &[] }
}

/// A code in the bits `high` to `low`, with the meanings of 0, 1, 2, ...; an empty one is not worth a line.
pub(crate) const fn code(high: u8, low: u8, what: &'static str, codes: &'static [&'static str]) -> Bits {
    Bits { high, low, what, codes }
}

impl Bits {
    const fn mask(&self) -> u64 {
        assert!(self.low <= self.high && self.high < 64, "bits are named from high to low");
        (u64::MAX >> (63 - self.high + self.low)) << self.low
    }

    /// The line about these bits of a value, if there is something to say.
    fn explain(&self, value: u64) -> Option<String> {
        let number = (value & self.mask()) >> self.low;
        let (high, low, what) = (self.high, self.low, self.what);
        if high == low && self.codes.is_empty() {
            return (number == 1).then(|| format!("bit {low}: {what}"));
        }
        let at = if high == low { format!("bit {low}") } else { format!("bits {high}:{low}") };
        match usize::try_from(number).ok().and_then(|code| self.codes.get(code)) {
            Some(&"") => None,
            Some(code) => Some(format!("{at} = {number}: {what}: {code}")),
            None if self.codes.is_empty() && number == 0 => None,
            None if self.codes.is_empty() => Some(format!("{at} = {number}: {what}")),
            None => Some(format!("{at} = {number}: {what}: reserved value")),
        }
    }
}

/// A line for everything in `value` that is worth one, from bit 0 up; bits that the table does not know come last.
pub(crate) fn explain(value: u64, table: &[Bits]) -> Vec<String> {
    let mut lines: Vec<String> = table.iter().filter_map(|bits| bits.explain(value)).collect();
    let unknown = table.iter().fold(value, |rest, bits| rest & !bits.mask());
    if unknown != 0 {
        lines.push(format!("{unknown:#x}: reserved bits"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[Bits] = &[
        bit(0, "zero"),
        code(2, 1, "flush", &["", "is reserved", "no"]),
        range(7, 4, "slots"),
        code(8, 8, "kind", &["a", "b"]),
        range(63, 62, "top"),
    ];

    #[test]
    fn what_is_set_gets_a_line() {
        assert_eq!(explain(0, TABLE), ["bit 8 = 0: kind: a"]);
        let lines = explain(1 | 2 << 1 | 5 << 4 | 1 << 8, TABLE);
        assert_eq!(lines, ["bit 0: zero", "bits 2:1 = 2: flush: no", "bits 7:4 = 5: slots", "bit 8 = 1: kind: b"]);
        let lines = explain(u64::MAX, TABLE);
        assert_eq!(lines[1], "bits 2:1 = 3: flush: reserved value");
        assert_eq!(lines[4..], ["bits 63:62 = 3: top".to_owned(), "0x3ffffffffffffe08: reserved bits".to_owned()]);
    }
}
