//! Which blocks are meant, and the pieces that they are asked for in.

use block::size::{format_size, parse_size};
use block::{Info, Range};

use super::trouble::Trouble;

/// Which blocks of a device.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct Which {
    /// First logical block; 0x before it makes the number hexadecimal [default: 0]
    #[arg(long, value_name = "LBA", value_parser = number)]
    pub(super) lba: Option<u64>,

    /// The same in bytes
    #[arg(long, value_name = "SIZE", value_parser = parse_size, conflicts_with = "lba")]
    pub(super) offset: Option<u64>,

    /// Number of logical blocks
    #[arg(long, value_name = "BLOCKS", value_parser = number)]
    pub(super) count: Option<u64>,

    /// The same in bytes
    #[arg(long, value_name = "SIZE", value_parser = parse_size, conflicts_with = "count")]
    pub(super) size: Option<u64>,
}

/// A run of bytes of a device, whole blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u64,
    pub(super) bytes: u64,
}

/// A number as C programs write it.
pub(crate) fn number(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| format!("`{text}` is not a number: write 4096 or 0x1000"))
}

impl Which {
    /// Where it starts, in bytes.
    pub(super) fn start(&self, info: &Info) -> Result<u64, Trouble> {
        start(info, self.lba, self.offset, "--offset")
    }

    /// How many bytes are asked for, if that is said.
    pub(super) fn bytes(&self, info: &Info) -> Result<Option<u64>, Trouble> {
        match (self.count, self.size) {
            (Some(count), _) => bytes_of(info, count, "--count").map(Some),
            (None, Some(size)) => whole(info, size, "--size").map(Some),
            (None, None) => Ok(None),
        }
    }

    /// The blocks of a device that has `blocks` of them; `default` is how many bytes if that is not said, of those from
    /// the start on.
    pub(super) fn span(&self, info: &Info, blocks: u64, default: impl FnOnce(u64) -> u64) -> Result<Span, Trouble> {
        let start = self.start(info)?;
        let end = blocks * u64::from(info.block_bytes);
        let left = end.saturating_sub(start);
        let bytes = self.bytes(info)?.unwrap_or_else(|| default(left));
        Span { start, bytes }.within(info, blocks)
    }
}

/// Where something starts, in bytes.
pub(super) fn start(info: &Info, lba: Option<u64>, offset: Option<u64>, option: &str) -> Result<u64, Trouble> {
    match (lba, offset) {
        (Some(lba), _) => bytes_of(info, lba, "the first block"),
        (None, Some(offset)) => whole(info, offset, option),
        (None, None) => Ok(0),
    }
}

fn bytes_of(info: &Info, blocks: u64, what: &str) -> Result<u64, Trouble> {
    blocks.checked_mul(u64::from(info.block_bytes)).ok_or_else(|| {
        let hint = format!("It has {} blocks.", info.blocks);
        Trouble::usage(format!("{what} {blocks} lies far behind the end of {}", info.name), hint)
    })
}

fn whole(info: &Info, bytes: u64, option: &str) -> Result<u64, Trouble> {
    let block = u64::from(info.block_bytes);
    if bytes.is_multiple_of(block) {
        return Ok(bytes);
    }
    let why = format!("{option} {bytes} is not a whole number of the {block}-byte blocks of {}", info.name);
    Err(Trouble::usage(why, format!("Write {option} {}, for example.", bytes.next_multiple_of(block))))
}

impl Span {
    /// Checks that the device has all of it, and that it is something.
    pub(super) fn within(self, info: &Info, blocks: u64) -> Result<Self, Trouble> {
        let block = u64::from(info.block_bytes);
        let fits = self.start.checked_add(self.bytes).is_some_and(|end| end <= blocks * block);
        if self.bytes > 0 && fits {
            return Ok(self);
        }
        let (name, size) = (&info.name, format_size(blocks * block));
        let hint = format!("It has {blocks} blocks of {block} bytes, {size}: the last one is {}.", blocks - 1);
        let (first, count) = (self.start / block, self.bytes / block);
        let why = if self.bytes == 0 {
            format!("there are no blocks to work on from {first} on of {name}")
        } else {
            format!("{count} blocks from {first} on reach beyond the end of {name}")
        };
        Err(Trouble::usage(why, hint))
    }

    /// How many pieces it has.
    pub(super) fn pieces(self, piece_bytes: usize) -> u64 {
        self.bytes.div_ceil(piece_bytes as u64)
    }

    /// Bytes in front of a piece, all of them if it is behind the last.
    pub(super) fn before(self, piece: u64, piece_bytes: usize) -> u64 {
        piece.saturating_mul(piece_bytes as u64).min(self.bytes)
    }

    /// The length of a piece.
    pub(super) fn len(self, piece: u64, piece_bytes: usize) -> usize {
        (self.before(piece + 1, piece_bytes) - self.before(piece, piece_bytes)) as usize
    }

    /// The blocks of a piece.
    pub(super) fn range(self, piece: u64, piece_bytes: usize, info: &Info) -> Range {
        let block = u64::from(info.block_bytes);
        let lba = (self.start + self.before(piece, piece_bytes)) / block;
        Range { lba, blocks: self.len(piece, piece_bytes) as u64 / block }
    }

    /// All of it, or its first bytes, for people.
    pub(super) fn words(self, bytes: u64, info: &Info) -> String {
        let block = u64::from(info.block_bytes);
        blocks(Range { lba: self.start / block, blocks: bytes / block }, info)
    }
}

/// A range for people.
pub(super) fn blocks(range: Range, info: &Info) -> String {
    let Range { lba, blocks } = range;
    match blocks {
        0 => format!("no block of {}", info.name),
        1 => format!("block {lba} of {}", info.name),
        _ => format!("blocks {lba} to {} of {}", lba + blocks - 1, info.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use block::{Device, OpenOptions, open};
    use std::sync::Arc;

    fn device() -> Arc<dyn Device> {
        open("null:1MiB", &OpenOptions::default()).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn numbers() {
        assert_eq!((number("12"), number("0x1F"), number("0X0")), (Ok(12), Ok(31), Ok(0)));
        for text in ["", "x", "-1", "0x", "1k", "18446744073709551616", "0x10000000000000000"] {
            assert!(number(text).is_err(), "{text}");
        }
    }

    #[test]
    fn pieces_cover_a_span_once() {
        let device = device();
        let span = Span { start: 1024, bytes: 10 * 512 };
        assert_eq!(span.pieces(2048), 3);
        let ranges: Vec<_> = (0..3).map(|piece| span.range(piece, 2048, device.info())).collect();
        assert_eq!(ranges.iter().map(|range| (range.lba, range.blocks)).collect::<Vec<_>>(), [(2, 4), (6, 4), (10, 2)]);
        assert_eq!((span.len(2, 2048), span.before(3, 2048), span.before(u64::MAX, 2048)), (1024, 5120, 5120));
        assert_eq!(span.words(512, device.info()), "block 2 of null:1MiB");
    }

    #[test]
    fn what_is_outside_or_odd_is_refused() {
        let device = device();
        let info = device.info();
        let span = |lba, offset, count, size| Which { lba, offset, count, size }.span(info, info.blocks, |left| left);
        assert_eq!(span(None, None, None, None).expect("all"), Span { start: 0, bytes: 1 << 20 });
        assert_eq!(span(Some(2047), None, None, None).expect("the last"), Span { start: 2047 * 512, bytes: 512 });
        for (lba, offset, count, size, part) in [
            (Some(2048), None, None, None, "no blocks to work on from 2048"),
            (Some(u64::MAX), None, None, None, "far behind the end"),
            (Some(2047), None, Some(2), None, "reach beyond the end"),
            (None, None, Some(u64::MAX), None, "far behind the end"),
            (None, None, Some(0), None, "no blocks"),
            (None, Some(100), None, None, "--offset 100 is not a whole number"),
            (None, None, None, Some(513), "Write --size 1024"),
            (None, Some((1 << 63) - 512), None, Some(1 << 63), "reach beyond"),
        ] {
            let error = span(lba, offset, count, size).expect_err("it is wrong").to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
