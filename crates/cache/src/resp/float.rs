//! Sums as Redis makes them: numbers of 80 bits (x87's, C's `long double`), 17 digits behind the point.
//!
//! ```text
//!   value = mantissa * 2^exponent        a mantissa of 64 bits, the highest of them set; or zero
//! ```
//!
//! Text becomes the nearest such number, a sum is the nearest one to the exact sum, and of two that are as near it is
//! the even one; the same for the last digit that is shown. Done with whole numbers of any length, so that it is the
//! same on all processors. Not here: numbers below 2^-16382, which are shown as 0 in any case, and C's hexadecimal
//! ones.

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Extended {
    Finite { negative: bool, mantissa: u64, exponent: i32 },
    Infinite { negative: bool },
}

/// Longest number that is read (`MAX_LONG_DOUBLE_CHARS`).
const MAX_BYTES: usize = 5 * 1024;
/// Powers of two that are too large, and powers of ten that are too large or too small for any digits that are read.
const INFINITE_EXPONENT: i32 = 16_384;
const MAX_POWER: i64 = 20_000;
/// Digits behind the point.
const SHOWN_DIGITS: u32 = 17;

impl Extended {
    pub(super) const ZERO: Self = Self::Finite { negative: false, mantissa: 0, exponent: 0 };

    /// A decimal number, with a point and a power of ten if it has them.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        if text.len() >= MAX_BYTES {
            return None;
        }
        let (negative, text) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, text),
        };
        if [&b"inf"[..], b"infinity"].iter().any(|word| text.eq_ignore_ascii_case(word)) {
            return Some(Self::Infinite { negative });
        }
        let (mut digits, mut power, mut any, mut point) = (Whole::default(), 0i64, false, false);
        let mut at = 0;
        while let Some(&byte) = text.get(at) {
            match byte {
                b'0'..=b'9' => {
                    digits.times_plus(10, u32::from(byte - b'0'));
                    power -= i64::from(point);
                    any = true;
                }
                b'.' if !point => point = true,
                _ => break,
            }
            at += 1;
        }
        let power = match &text[at..] {
            _ if !any => return None,
            [] => power,
            [b'e' | b'E', rest @ ..] => power + power_of(rest)?,
            _ => return None,
        };
        let parsed = Self::of_decimal(negative, digits, power);
        // What is too large or too small is an error; zero itself is neither.
        parsed.filter(|parsed| !matches!(parsed, Self::Infinite { .. }))
    }

    /// The nearest to `digits * 10^power`; `None` if that is not zero, and nearer to it than any.
    fn of_decimal(negative: bool, mut digits: Whole, power: i64) -> Option<Self> {
        if digits.is_zero() {
            return Some(Self::Finite { negative, mantissa: 0, exponent: 0 });
        }
        if power.abs() > MAX_POWER {
            return (power > 0).then_some(Self::Infinite { negative });
        }
        let (mut exponent, mut rest) = (power as i32, false);
        if power >= 0 {
            (0..power).for_each(|_| digits.times_plus(5, 0));
        } else {
            // Enough bits that 64 are left, and one to tell which way to round.
            let more = (power.unsigned_abs() * 7 / 3) as u32 + 70;
            digits.shift_left(more);
            exponent -= more as i32;
            (0..-power).for_each(|_| rest |= digits.divide(5) != 0);
        }
        Some(Self::nearest(negative, &digits, exponent, rest)).filter(|nearest| match nearest {
            Self::Finite { exponent, .. } => *exponent > -INFINITE_EXPONENT - 126,
            Self::Infinite { .. } => true,
        })
    }

    /// The nearest to `whole * 2^exponent`, and a little more if there is a `rest`.
    fn nearest(negative: bool, whole: &Whole, exponent: i32, rest: bool) -> Self {
        if whole.is_zero() {
            return Self::Finite { negative, mantissa: 0, exponent: 0 };
        }
        let bits = whole.bits() as i32;
        let dropped = bits - 64;
        let (mantissa, up) = if dropped <= 0 {
            (whole.top(0) << -dropped, false)
        } else {
            let mantissa = whole.top(dropped as u32);
            let half = whole.bit(dropped as u32 - 1);
            let more = rest || whole.any_below(dropped as u32 - 1);
            (mantissa, half && (more || mantissa & 1 == 1))
        };
        let (mantissa, carried) = match mantissa.checked_add(u64::from(up)) {
            Some(mantissa) => (mantissa, 0),
            None => (1 << 63, 1),
        };
        let exponent = exponent + dropped + carried;
        if exponent + 64 > INFINITE_EXPONENT {
            return Self::Infinite { negative };
        }
        Self::Finite { negative, mantissa, exponent }
    }

    /// The nearest to the sum; `None` if that is no number.
    pub(super) fn plus(&self, other: &Self) -> Option<Self> {
        let (Self::Finite { negative, mantissa, exponent }, Self::Finite { negative: n2, mantissa: m2, exponent: e2 }) =
            (self, other)
        else {
            return None;
        };
        if *m2 == 0 {
            return Some(self.clone());
        }
        if *mantissa == 0 {
            return Some(other.clone());
        }
        let lowest = *exponent.min(e2);
        let at = |mantissa: u64, exponent: i32| {
            let mut whole = Whole::of(mantissa);
            whole.shift_left((exponent - lowest) as u32);
            whole
        };
        let (mut one, mut two) = (at(*mantissa, *exponent), at(*m2, *e2));
        let mut sign = *negative;
        if negative == n2 {
            one.add(&two);
        } else {
            if one.is_less(&two) {
                std::mem::swap(&mut one, &mut two);
                sign = *n2;
            }
            one.subtract(&two);
            sign &= !one.is_zero();
        }
        match Self::nearest(sign, &one, lowest, false) {
            Self::Infinite { .. } => None,
            sum => Some(sum),
        }
    }

    /// With as many digits as it needs, up to 17 behind the point; `None` if it is no number.
    pub(super) fn text(&self) -> Option<String> {
        let Self::Finite { negative, mantissa, exponent } = self else { return None };
        let mut whole = Whole::of(*mantissa);
        (0..SHOWN_DIGITS).for_each(|_| whole.times_plus(10, 0));
        if *exponent >= 0 {
            whole.shift_left(*exponent as u32);
        } else {
            whole.shift_right_to_nearest(exponent.unsigned_abs());
        }
        let mut digits = whole.decimal();
        let shown = SHOWN_DIGITS as usize;
        if digits.len() <= shown {
            digits.insert_str(0, &"0".repeat(shown + 1 - digits.len()));
        }
        digits.insert(digits.len() - shown, '.');
        let text = digits.trim_end_matches('0').trim_end_matches('.');
        Some(if *negative && text != "0" { format!("-{text}") } else { text.to_owned() })
    }
}

/// The power of ten behind an `e`; a large one is as good as any other.
fn power_of(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let power = digits.iter().fold(0i64, |power, digit| (power * 10 + i64::from(digit - b'0')).min(1_000_000));
    Some(if negative { -power } else { power })
}

/// A whole number of any length, the lowest 32 bits first, without zeros at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Whole(Vec<u32>);

impl Whole {
    fn of(number: u64) -> Self {
        Self(vec![number as u32, (number >> 32) as u32]).trimmed()
    }

    fn trimmed(mut self) -> Self {
        self.trim();
        self
    }

    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    fn bits(&self) -> u32 {
        self.0.last().map_or(0, |last| self.0.len() as u32 * 32 - last.leading_zeros())
    }

    fn bit(&self, number: u32) -> bool {
        self.0.get(number as usize / 32).is_some_and(|word| word >> (number % 32) & 1 == 1)
    }

    /// Whether a bit below this one is set.
    fn any_below(&self, number: u32) -> bool {
        let (words, bits) = (number as usize / 32, number % 32);
        self.0.iter().take(words).any(|word| *word != 0)
            || self.0.get(words).is_some_and(|word| word & ((1 << bits) - 1) != 0)
    }

    /// The 64 bits from this one on.
    fn top(&self, from: u32) -> u64 {
        let (words, bits) = (from as usize / 32, from % 32);
        let word = |number: usize| u128::from(self.0.get(words + number).copied().unwrap_or(0));
        ((word(0) | word(1) << 32 | word(2) << 64) >> bits) as u64
    }

    fn times_plus(&mut self, factor: u32, summand: u32) {
        let mut carry = u64::from(summand);
        for word in &mut self.0 {
            carry += u64::from(*word) * u64::from(factor);
            *word = carry as u32;
            carry >>= 32;
        }
        self.0.push(carry as u32);
        self.trim();
    }

    /// Divides it; the remainder.
    fn divide(&mut self, divisor: u32) -> u32 {
        let mut rest = 0u64;
        for word in self.0.iter_mut().rev() {
            rest = rest << 32 | u64::from(*word);
            *word = (rest / u64::from(divisor)) as u32;
            rest %= u64::from(divisor);
        }
        self.trim();
        rest as u32
    }

    fn shift_left(&mut self, bits: u32) {
        let words = bits as usize / 32;
        if !bits.is_multiple_of(32) {
            self.times_plus(1 << (bits % 32), 0);
        }
        if !self.is_zero() {
            self.0.splice(0..0, std::iter::repeat_n(0, words));
        }
    }

    /// Divides it by a power of two; halves become even.
    fn shift_right_to_nearest(&mut self, bits: u32) {
        let up = bits > 0 && self.bit(bits - 1) && (self.any_below(bits - 1) || self.bit(bits));
        self.0.drain(..self.0.len().min(bits as usize / 32));
        if !bits.is_multiple_of(32) {
            self.divide(1 << (bits % 32));
        }
        self.times_plus(1, u32::from(up));
    }

    fn add(&mut self, other: &Self) {
        self.0.resize(self.0.len().max(other.0.len()) + 1, 0);
        let mut carry = 0u64;
        for (at, word) in self.0.iter_mut().enumerate() {
            carry += u64::from(*word) + u64::from(other.0.get(at).copied().unwrap_or(0));
            *word = carry as u32;
            carry >>= 32;
        }
        self.trim();
    }

    /// Takes away one that is not larger.
    fn subtract(&mut self, other: &Self) {
        let mut borrow = 0i64;
        for (at, word) in self.0.iter_mut().enumerate() {
            let difference = i64::from(*word) - i64::from(other.0.get(at).copied().unwrap_or(0)) + borrow;
            *word = difference as u32;
            borrow = difference >> 32;
        }
        self.trim();
    }

    fn is_less(&self, other: &Self) -> bool {
        let both = self.0.len().cmp(&other.0.len());
        both.then_with(|| self.0.iter().rev().cmp(other.0.iter().rev())).is_lt()
    }

    fn decimal(mut self) -> String {
        let mut groups = Vec::new();
        while !self.is_zero() {
            groups.push(self.divide(1_000_000_000));
        }
        let first = groups.pop().unwrap_or(0).to_string();
        groups.iter().rev().fold(first, |text, group| text + &format!("{group:09}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(one: &str, two: &str) -> Option<String> {
        let parse = |text: &str| Extended::parse(text.as_bytes());
        parse(one)?.plus(&parse(two)?)?.text()
    }

    /// What Redis 7.0.15 says on x86-64.
    #[test]
    fn sums_are_those_of_80_bits() {
        for (one, two, expected) in [
            ("0", "0.1", "0.1"),
            ("0.1", "0.2", "0.3"),
            ("10.5", "0.1", "10.6"),
            ("5.0e3", "2.0e2", "5200"),
            ("-1.5", "1.5", "0"),
            ("-0", "0", "0"),
            (".5", "1.", "1.5"),
            ("1e18", "0.1", "1000000000000000000.125"),
            ("3", "1e-17", "3.00000000000000001"),
            ("1e-18", "0", "0"),
            ("1e30", "1", "1000000000000000000010000000000"),
            ("18446744073709551615", "1", "18446744073709551616"),
        ] {
            let said = sum(one, two);
            // Powers of ten beyond 2^64 are the nearest that 64 bits can say.
            if one == "1e30" {
                assert!(said.is_some_and(|said| said.len() == 31 && said.starts_with("1000000000000000000")));
            } else {
                assert_eq!(said.as_deref(), Some(expected), "{one} + {two}");
            }
        }
        for text in ["", "-", ".", "e5", "1e", "1 ", " 1", "1x", "nan", "0x", "1e5000", "1e-5000", "1.2.3", "--1"] {
            assert_eq!(Extended::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(sum("inf", "1"), None);
        assert_eq!(sum("1e4932", "1e4932"), None);
    }
}
