//! Where the bytes come from that a verb writes: a file, standard input, or one byte again and again.

use std::fs::File;
use std::io::{self, Read};

use super::trouble::Trouble;

/// What somebody wants to write.
pub(crate) struct Wanted<'a> {
    /// A file, or `-` for standard input.
    pub(crate) from: &'a str,
    /// How many bytes, if that is said.
    pub(crate) bytes: Option<u64>,
    /// The last block may be filled up with zeros.
    pub(crate) pad: bool,
}

/// The bytes.
pub(crate) struct Source {
    pub(crate) name: String,
    reader: Box<dyn Read>,
    /// How many there will be, rounded up to blocks, if that is known.
    pub(crate) bytes: Option<u64>,
    /// Ends anywhere, and the rest of its last block is zeros.
    pad: bool,
}

impl Source {
    /// So many times this byte.
    pub(crate) fn fill(byte: u8, bytes: u64) -> Self {
        let reader = Box::new(io::repeat(byte).take(bytes));
        Self { name: format!("bytes {byte:#04x}"), reader, bytes: Some(bytes), pad: false }
    }

    /// Opens what is wanted, for a device with such blocks.
    pub(crate) fn open(wanted: &Wanted<'_>, block_bytes: u32) -> Result<Self, Trouble> {
        let &Wanted { from, bytes, pad } = wanted;
        if from == "-" {
            let reader = Box::new(io::stdin().lock().take(bytes.unwrap_or(u64::MAX)));
            return Ok(Self { name: "standard input".to_owned(), reader, bytes, pad });
        }
        let told = |source| Trouble::host(&format!("read {from}"), source);
        let file = File::open(from).map_err(told)?;
        let found = file.metadata().map_err(told)?;
        let has = found.is_file().then_some(found.len());
        if let Some(has) = has {
            enough(from, has, bytes, block_bytes, pad)?;
        }
        let reader = Box::new(file.take(bytes.unwrap_or(u64::MAX)));
        let bytes = bytes.or(has.map(|has| has.next_multiple_of(u64::from(block_bytes))));
        Ok(Self { name: from.to_owned(), reader, bytes, pad })
    }

    /// Fills a buffer as far as there is something; whole blocks, if padding makes it so.
    pub(crate) fn read(&mut self, buf: &mut [u8], block_bytes: usize) -> io::Result<usize> {
        let mut len = 0;
        while len < buf.len() {
            match self.reader.read(&mut buf[len..]) {
                Ok(0) => break,
                Ok(count) => len += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let whole = len.next_multiple_of(block_bytes);
        if self.pad && whole > len {
            buf[len..whole].fill(0);
            len = whole;
        }
        Ok(len)
    }
}

/// Whether a file has what is wanted, and whole blocks of it.
fn enough(from: &str, has: u64, wanted: Option<u64>, block_bytes: u32, pad: bool) -> Result<(), Trouble> {
    let block = u64::from(block_bytes);
    let padded = if pad { has.next_multiple_of(block) } else { has };
    match wanted {
        Some(wanted) if padded < wanted => Err(Trouble::usage(
            format!("{from} has {has} bytes, fewer than the {wanted} that are to be written"),
            "Leave --count and --size out to write all that it has.".to_owned(),
        )),
        None if !padded.is_multiple_of(block) => Err(Trouble::usage(
            format!("{from} has {has} bytes, which is not a whole number of {block}-byte blocks"),
            "Add --pad to fill the last block up with zeros.".to_owned(),
        )),
        _ => Ok(()),
    }
}
