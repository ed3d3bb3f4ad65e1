//! Commands that people type: words of a line, in quotes if there is something special in them.

use crate::decimal;

use super::limits::MAX_LINE_BYTES;
use super::{Args, Parsed, Wrong};

/// A line of a stream.
pub(super) fn line(bytes: &[u8]) -> Parsed<'_> {
    let seen = &bytes[..bytes.len().min(MAX_LINE_BYTES + 1)];
    let Some(end) = seen.iter().position(|byte| *byte == b'\n') else {
        let endless = bytes.len() > MAX_LINE_BYTES;
        return if endless { Parsed::Wrong(Wrong::EndlessInline) } else { Parsed::More(bytes.len() + 1) };
    };
    let line = seen[..end].strip_suffix(b"\r").unwrap_or(&seen[..end]);
    if line.iter().all(|byte| is_space(*byte)) { Parsed::Nothing(end + 1) } else { Parsed::Inline(line, end + 1) }
}

/// Writes the words of a line as arguments to `to`, which is emptied first.
///
/// # Errors
/// [`Wrong::Quotes`].
pub fn unquote<'a>(line: &[u8], to: &'a mut Vec<u8>) -> Result<Args<'a>, Wrong> {
    to.clear();
    let (mut at, mut count) = (0, 0);
    loop {
        at += line[at..].iter().take_while(|byte| is_space(**byte)).count();
        if at == line.len() {
            return Ok(Args::of(to, count));
        }
        let mut bytes = 0usize;
        word(&line[at..], |_| bytes += 1).ok_or(Wrong::Quotes)?;
        to.push(b'$');
        decimal::push(to, bytes);
        to.extend_from_slice(b"\r\n");
        at += word(&line[at..], |byte| to.push(byte)).expect("it was read before");
        to.extend_from_slice(b"\r\n");
        count += 1;
    }
}

/// Reads the word that a line begins with, byte by byte; its length in the line. `None`: its quotes are wrong.
fn word(line: &[u8], mut put: impl FnMut(u8)) -> Option<usize> {
    let mut at = 0;
    // Quotes may begin in the middle of a word, and end it.
    while let Some(&byte) = line.get(at) {
        match byte {
            _ if is_space(byte) || byte == 0 => break,
            b'"' | b'\'' => return quoted(line, at + 1, byte, put),
            _ => put(byte),
        }
        at += 1;
    }
    // What is behind a NUL is not seen.
    Some(if line.get(at) == Some(&0) { line.len() } else { at })
}

/// The rest of a word from behind its quote on.
fn quoted(line: &[u8], mut at: usize, quote: u8, mut put: impl FnMut(u8)) -> Option<usize> {
    loop {
        match line[at..] {
            [end, ..] if end == quote => {
                let next = line.get(at + 1).copied();
                return next.is_none_or(|byte| is_space(byte) || byte == 0).then_some(at + 1);
            }
            [b'\\', b'x', high, low, ..] if quote == b'"' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or(0) as u8;
                put(digit(high) << 4 | digit(low));
                at += 4;
            }
            [b'\\', escaped, ..] if quote == b'"' => {
                put(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => other,
                });
                at += 2;
            }
            [b'\\', b'\'', ..] if quote == b'\'' => {
                put(b'\'');
                at += 2;
            }
            [0, ..] | [] => return None,
            [byte, ..] => {
                put(byte);
                at += 1;
            }
        }
    }
}

/// C's `isspace`.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}
