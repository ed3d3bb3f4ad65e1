//! Keys as base64 (RFC 4648), as memcached reads and writes them.

use super::limits::MAX_KEY_BYTES;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// What a key becomes at most, four characters for three bytes.
pub(super) const MAX_DECODED_BYTES: usize = MAX_KEY_BYTES / 4 * 3;

/// The six bits of a character; those of padding are 0.
fn bits(character: u8) -> Option<u8> {
    Some(match character {
        b'A'..=b'Z' => character - b'A',
        b'a'..=b'z' => character - b'a' + 26,
        b'0'..=b'9' => character - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        b'=' => 0,
        _ => return None,
    })
}

/// The bytes that a word stands for; how many they are. `None`: it stands for none, or is longer than a key.
///
/// As memcached does it, characters that are not of the alphabet are passed over, and the first padding ends it.
pub(super) fn decode(word: &[u8], to: &mut [u8; MAX_DECODED_BYTES]) -> Option<usize> {
    let count = word.iter().filter(|byte| bits(**byte).is_some()).count();
    if word.len() > MAX_KEY_BYTES || count == 0 || !count.is_multiple_of(4) {
        return None;
    }
    let (mut group, mut inside, mut padding, mut length) = (0u32, 0, 0, 0);
    for character in word {
        let Some(six) = bits(*character) else { continue };
        padding += usize::from(*character == b'=');
        group = group << 6 | u32::from(six);
        inside += 1;
        if inside == 4 {
            to[length..length + 3].copy_from_slice(&group.to_be_bytes()[1..]);
            length += 3;
            (group, inside) = (0, 0);
            if padding > 0 {
                break;
            }
        }
    }
    (padding <= 2).then(|| length - padding)
}

/// Appends the characters for some bytes.
pub fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    for part in bytes.chunks(3) {
        let byte = |at: usize| u32::from(part.get(at).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let six = group >> (18 - 6 * at) & 63;
            out.push(if at <= part.len() { ALPHABET[six as usize] } else { b'=' });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decoded(word: &[u8]) -> Option<Vec<u8>> {
        let mut room = [0; MAX_DECODED_BYTES];
        decode(word, &mut room).map(|length| room[..length].to_vec())
    }

    #[test]
    fn what_memcached_takes() {
        for (word, expected) in [
            (&b"Zm9v"[..], Some(&b"foo"[..])),
            (b"Zm9vYg==", Some(b"foob")),
            (b"Zm9vYmE=", Some(b"fooba")),
            (b"Z-m\x809v!", Some(b"foo")),
            (b"=Zm9", Some(b"\x01\x99")),
            (b"Zg==Zm9v", Some(b"f")),
            (b"Zm9", None),
            (b"A===", None),
            (b"====", None),
            (b"!!!!", None),
            (b"", None),
        ] {
            assert_eq!(decoded(word).as_deref(), expected, "{}", word.escape_ascii());
        }
        assert_eq!(decoded(&[b'A'; MAX_KEY_BYTES - 2]), Some(vec![0; MAX_DECODED_BYTES]));
        assert_eq!(decoded(&[b'A'; MAX_KEY_BYTES + 2]), None);
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_again(bytes in prop::collection::vec(any::<u8>(), 1..=MAX_DECODED_BYTES)) {
            let mut word = Vec::new();
            encode(&bytes, &mut word);
            prop_assert_eq!(word.len(), bytes.len().div_ceil(3) * 4);
            prop_assert_eq!(decoded(&word), Some(bytes));
        }

        #[test]
        fn any_word_is_decoded_or_not(word in prop::collection::vec(any::<u8>(), 0..300)) {
            decoded(&word);
        }
    }
}
