//! A file's bytes as text. It is UTF-8 but where Windows PowerShell has written it: its `>` makes UTF-16 of what a
//! program says, as of `qpair config show`, and begins with a mark that tells.

use std::borrow::Cow;

/// Why bytes are not text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotText {
    /// What is, up to there.
    pub(super) good: String,
    /// A sentence without its end.
    pub(super) why: &'static str,
}

/// The text of a file: UTF-8, or UTF-16 behind its mark.
pub(super) fn text(bytes: &[u8]) -> Result<Cow<'_, str>, NotText> {
    let wide = |units: &[u8], unit: fn([u8; 2]) -> u16| {
        let (pairs, rest) = units.as_chunks();
        let all = char::decode_utf16(pairs.iter().copied().map(unit));
        let mut good = String::new();
        for character in all {
            match character {
                Ok(character) => good.push(character),
                Err(_) => return Err(NotText { good, why: "from here on it is not UTF-16, as its first bytes say" }),
            }
        }
        if rest.is_empty() { Ok(Cow::Owned(good)) } else { Err(NotText { good, why: "it ends within a character" }) }
    };
    match bytes {
        [0xff, 0xfe, units @ ..] => wide(units, u16::from_le_bytes),
        [0xfe, 0xff, units @ ..] => wide(units, u16::from_be_bytes),
        _ => str::from_utf8(bytes).map(Cow::Borrowed).map_err(|error| {
            let good = String::from_utf8_lossy(&bytes[..error.valid_up_to()]).into_owned();
            NotText { good, why: "from here on it is not UTF-8" }
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wide(text: &str, mark: [u8; 2], bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        mark.into_iter().chain(text.encode_utf16().flat_map(bytes)).collect()
    }

    #[test]
    fn text_is_utf_8_or_behind_a_mark_utf_16() {
        let said = "name = \"D:\\Bücher 𝄞\"\r\n";
        assert_eq!(text(said.as_bytes()), Ok(Cow::Borrowed(said)));
        for wide in [wide(said, [0xff, 0xfe], u16::to_le_bytes), wide(said, [0xfe, 0xff], u16::to_be_bytes)] {
            assert_eq!(text(&wide).as_deref(), Ok(said));
            let cut = text(&wide[..wide.len() - 1]).expect_err("half a character is missing");
            assert!(said.starts_with(&cut.good) && cut.good.len() == said.len() - 1, "{cut:?}");
        }
        let mut alone = wide("ab", [0xff, 0xfe], u16::to_le_bytes);
        alone.extend(0xd800_u16.to_le_bytes());
        let bad = text(&alone).expect_err("half of a pair");
        assert!(bad.good == "ab" && bad.why.contains("UTF-16"), "{bad:?}");
        assert_eq!(text(b"ab\xff").expect_err("no UTF-8").good, "ab");
        assert_eq!(text(b"").as_deref(), Ok(""));
    }
}
