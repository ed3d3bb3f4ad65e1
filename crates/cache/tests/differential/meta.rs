//! Meta commands by chance, and which bytes of their answers are compared.
//!
//! Not compared, as this server means to answer otherwise:
//!
//! - `h` and `l` of `mg`, and `me`: the time of last access is not kept.
//! - A flag that is answered beside one that is wrong: here a command with a wrong flag changes nothing, while
//!   memcached 1.6.18 finds out that an opaque word is too long when it has touched, made or counted.
//! - `k` for a key that was stored as base64 and is asked for as it is, or the other way round: memcached notes with
//!   the item how it was sent; here it comes back as it was asked for. A key that is sent both ways is asked without
//!   `k`.
//! - `t` of an item that expires at once by this command: memcached tells of a time before its start.

use crate::common::Chance;
use crate::memcached::Asked;

/// A key that no plain command can name, as base64, and one that both can.
const BINARY: &str = "AQIgeg==";
const BOTH: &str = "Yg==";

/// Appends the answer to a meta command without what each server chooses: a CAS is left out, and seconds to live are
/// told to five hundred, years of them not at all. What is behind the answer.
pub(crate) fn compared<'a>(status: &[u8], flags: &[&[u8]], rest: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let number = |word: &[u8]| std::str::from_utf8(word).ok()?.parse::<i64>().ok();
    out.extend_from_slice(status);
    for (at, flag) in flags.iter().enumerate() {
        out.push(b' ');
        match (flag.first(), flag.get(1..).and_then(number)) {
            (Some(b'c'), Some(1..)) => out.extend_from_slice(b"c"),
            // To a date, of which nobody knows on which side of such a border it lies now.
            (Some(b't'), Some(100_000_000..)) => out.extend_from_slice(b"t years"),
            (Some(b't'), Some(seconds @ 0..)) => {
                out.extend_from_slice(format!("t{}", (seconds + 250) / 500 * 500).as_bytes());
            }
            // The length of a value is no flag.
            _ if at == 0 && status == b"VA" => out.extend_from_slice(flag),
            _ => out.extend_from_slice(flag),
        }
    }
    out.extend_from_slice(b"\r\n");
    let bytes = if status == b"VA" { flags.first().and_then(|word| number(word)).expect("a length") + 2 } else { 0 };
    let (value, rest) = rest.split_at(bytes as usize);
    out.extend_from_slice(value);
    rest
}

/// What is hardly a meta command.
const ODD: &[&str] = &[
    "mg",
    "ms",
    "md",
    "ma",
    "me",
    "mx a",
    "mg a s s",
    "mg a E",
    "mg a E7 s",
    "mg a \x7f",
    "mg a Z",
    "mg a noreply",
    "mg a T",
    "mg a Tx",
    "mg a N",
    "mg a Nsoon",
    "mg a Rx",
    "mg a C",
    "mg a C-1",
    "mg a Fx",
    "mg a Fx Tx",
    "mg a Tx Fx",
    "mg a Jx",
    "mg a D18446744073709551616",
    "mg a M",
    "mg a MEE",
    "mg a vvv sss Oo",
    "mg a O1234567890123456789012345678901 s",
    "mg a O12345678901234567890123456789012 s",
    "mg miss O12345678901234567890123456789012 s",
    "md a O12345678901234567890123456789012",
    "ms a 1 O12345678901234567890123456789012\r\nx",
    "ms a 1 O12345678901234567890123456789012 MX\r\nx",
    "mg miss O q k",
    "mg miss N-1",
    "mg miss N-1 v s f O7 k",
    "ma miss N-1 J5 v",
    "me miss b Dx",
    "me miss Dx Z",
    "mg miss O k",
    "mg Zm9 b",
    "mg Zm9 b Tx",
    "mg Zm9 Tx b",
    "mg = b",
    "mg A=== b",
    "mg ==== b k",
    "mg Zm!9v b k",
    "mg =Zm9 b k",
    "mg eg==Zm9v b k",
    "md Zm9 b",
    "ma Zm9 b",
    "ms Zm9 1 b\r\nx",
    "ms a",
    "ms a x",
    "ms a -1",
    "ms a 2147483646",
    "ms a 1x\r\nx",
    "ms a S1\r\nx",
    "ms a +1\r\nx",
    "ms a 1\r\nxy",
    "ms a 1 q\r\nxy",
    "ms a 1 MX\r\nx",
    "ms a 1 M\r\nx",
    "ms a 1 me\r\nx",
    "ms a 1 Fx\r\nx",
    "ms a 1 F-1\r\nx",
    "ms a 1 Tx q\r\nx",
    "ms a 1 T1 T2\r\nx",
    "ms a 0\r\n",
    "ms a 0 MA\r\n",
    "md a q q",
    "md a x",
    "md a Cx",
    "md miss k O7",
    "md miss q",
    "md miss I",
    "ma a MX",
    "ma a MII",
    "ma a Dx",
    "ma a J",
    "ma a Cx",
    "ma miss k O7",
    "ma miss q",
    "ma miss C7",
    "me",
    "me miss",
    "me Zm9 b",
    "mg a 1 2 3 4 5 6 7 8 9 a b c d e f g h",
    "mg a v t s f c u k q O1 P1 L1 F1 C1 J1 D1 MI I",
    "mg a v t s f c u k q O1 P1 L1 F1 C1 J1 D1 MI I b",
    "md a 1 2 3 4 5 6 7 8 9 a b c d e f g h i j k l m n o p",
    "ma a 1 2 3 4 5 6 7 8 9 a b c d e f g h",
    "ms a 1 2 3 4 5 6 7 8 9 a b c d e f g h\r\nx",
];

/// How a key is named.
#[derive(Clone, Copy, PartialEq)]
enum Name {
    Plain(&'static str),
    Binary,
    Both,
}

impl Chance {
    pub(crate) fn meta(&mut self) -> Asked {
        if self.below(8) == 0 {
            return Asked::Plain([self.odd_meta().as_bytes(), b"\r\n"].concat());
        }
        let name = match self.below(8) {
            0 => Name::Binary,
            1 => Name::Both,
            _ => Name::Plain(self.one_of(&["a", "b", "c", "d", "e", "f"])),
        };
        let (word, told) = match name {
            Name::Plain(key) => (key, key),
            Name::Binary => (BINARY, "-"),
            Name::Both => (BOTH, "b"),
        };
        let (verb, value) = match self.below(10) {
            0..=3 => ("mg", None),
            4..=6 => ("ms", Some(self.value())),
            7 | 8 => ("md", None),
            _ => ("ma", None),
        };
        let mut line = format!("{verb} {word}");
        if let Some(value) = &value {
            line += &format!(" {}", value.len());
        }
        for flag in self.flags(verb, name) {
            line += " ";
            line += flag;
        }
        Asked::Meta { key: told.as_bytes().to_vec(), line, value }
    }

    /// Some flags of a verb, none of them wrong.
    fn flags(&mut self, verb: &str, name: Name) -> Vec<&'static str> {
        let times = ["T0", "T1000", "T2000", "T2592000", "T2000000000"];
        let mut flags = match verb {
            "mg" => {
                let recache = self.one_of(&["R0", "R500", "R1500", "R-1"]);
                vec!["v", "t", "s", "f", "c", "u", "O123", recache, "L9", "P9", "M9", "D7", "I"]
            }
            "ms" => {
                let mode = self.one_of(&["ME", "MA", "MP", "MR", "MS"]);
                // No older CAS but the oldest: which of two changes came first is not told by these numbers in memory.
                let mut cas = self.one_of(&["CCAS", "CCAS", "C0", "C1", "C7777777777777777"]);
                let stale = self.one_of(&["I", "t"]);
                if stale == "I" && cas == "CCAS" {
                    cas = "C1";
                }
                let client = self.one_of(&["F0", "F7", "F4294967295", "F4294967296"]);
                vec!["c", "O", mode, cas, client, stale, "v", "s"]
            }
            "md" => vec!["O~", self.one_of(&["CCAS", "C0", "C1"]), "I", "v", "c"],
            _ => {
                let mode = self.one_of(&["MI", "M+", "MD", "M-"]);
                let delta = self.one_of(&["D0", "D1", "D10", "D18446744073709551615", "D+5"]);
                let first = self.one_of(&["J0", "J13", "J18446744073709551615"]);
                vec!["v", "t", "c", "O5", mode, delta, first, self.one_of(&["CCAS", "C0", "C1"])]
            }
        };
        flags.push("q");
        if name != Name::Binary && verb != "ms" && verb != "md" {
            // Made by `mg`, a key is not noted to be base64.
            flags.push(self.one_of(&["N0", "N1000", "N2000000000"]));
        }
        // What was appended to is not noted to be base64 either.
        if name != Name::Both && name != Name::Plain("b") && (name != Name::Binary || verb != "mg") {
            flags.push("k");
        }
        flags.push(self.one_of(&times));
        let wanted = 1 + self.below(flags.len());
        let mut chosen: Vec<&'static str> = Vec::new();
        for _ in 0..wanted.min(1 + self.below(6)) {
            let at = self.below(flags.len());
            chosen.push(flags.swap_remove(at));
        }
        if !matches!(name, Name::Plain(_)) {
            let at = self.below(chosen.len() + 1);
            chosen.insert(at, "b");
        }
        chosen
    }

    /// One of those, or a key that is too long.
    fn odd_meta(&mut self) -> String {
        match self.below(40) {
            0 => format!("mg {} v", "k".repeat(251)),
            1 => format!("ms {} 1\r\nx", "k".repeat(251)),
            2 => format!("mg {} b v", "Q".repeat(248)),
            _ => self.one_of(ODD).to_owned(),
        }
    }
}
