//! The words of a line, and those of them that are numbers.

/// Words with spaces between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Words<'a> {
    rest: &'a [u8],
}

impl<'a> Words<'a> {
    pub(super) fn of(line: &'a [u8]) -> Self {
        Self { rest: line }
    }

    /// Whether the last of those that are left says that no answer is wanted.
    pub(super) fn is_quiet(self) -> bool {
        self.last() == Some(b"noreply")
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let start = self.rest.iter().position(|byte| *byte != b' ')?;
        let rest = &self.rest[start..];
        let end = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
        let (word, rest) = rest.split_at(end);
        self.rest = rest;
        Some(word)
    }
}

/// A decimal number of 64 bits, perhaps with a plus; nothing else.
pub(super) fn unsigned(word: &[u8]) -> Option<u64> {
    digits(word.strip_prefix(b"+").unwrap_or(word))
}

fn digits(word: &[u8]) -> Option<u64> {
    let digits = word.iter().map(|byte| byte.wrapping_sub(b'0'));
    let all = digits.into_iter().try_fold(0u64, |number, digit| {
        if digit > 9 {
            return None;
        }
        number.checked_mul(10)?.checked_add(digit.into())
    });
    if word.is_empty() { None } else { all }
}

/// The same with either sign.
pub(super) fn signed(word: &[u8]) -> Option<i64> {
    match word.strip_prefix(b"-") {
        Some(word) => digits(word).and_then(|number| 0i64.checked_sub_unsigned(number)),
        None => unsigned(word).and_then(|number| i64::try_from(number).ok()),
    }
}
