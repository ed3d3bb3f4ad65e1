//! Bytes as lines in hexadecimal, as `hexdump -C` writes them: equal lines in between are one `*`.

use std::io::{self, Write};

const LINE: usize = 16;

/// Writes lines; what goes in counts from an address.
pub(crate) struct Hexdump<W: Write> {
    out: W,
    address: u64,
    /// What is not a whole line yet.
    rest: Vec<u8>,
    last: Option<[u8; LINE]>,
    starred: bool,
}

impl<W: Write> Hexdump<W> {
    pub(crate) fn new(out: W, address: u64) -> Self {
        Self { out, address, rest: Vec::with_capacity(LINE), last: None, starred: false }
    }

    /// Writes what is left, and where it ends.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        if !self.rest.is_empty() {
            let rest = std::mem::take(&mut self.rest);
            line(&mut self.out, self.address, &rest)?;
            self.address += rest.len() as u64;
        }
        writeln!(self.out, "{:08x}", self.address)?;
        self.out.flush()
    }

    fn whole(&mut self, bytes: [u8; LINE]) -> io::Result<()> {
        if self.last == Some(bytes) {
            if !self.starred {
                writeln!(self.out, "*")?;
            }
            self.starred = true;
        } else {
            line(&mut self.out, self.address, &bytes)?;
            (self.last, self.starred) = (Some(bytes), false);
        }
        self.address += LINE as u64;
        Ok(())
    }
}

impl<W: Write> Write for Hexdump<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(LINE - self.rest.len());
        self.rest.extend_from_slice(&bytes[..taken]);
        if let Ok(whole) = <[u8; LINE]>::try_from(&self.rest[..]) {
            self.rest.clear();
            self.whole(whole)?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn line(out: &mut impl Write, address: u64, bytes: &[u8]) -> io::Result<()> {
    let mut text = format!("{address:08x}");
    for at in 0..LINE {
        text += if at % 8 == 0 { "  " } else { " " };
        match bytes.get(at) {
            Some(byte) => text += &format!("{byte:02x}"),
            None => text += "  ",
        }
    }
    text += "  |";
    text.extend(bytes.iter().map(|byte| if (b' '..=b'~').contains(byte) { char::from(*byte) } else { '.' }));
    writeln!(out, "{text}|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_as_hexdump_writes_them() {
        let mut text = Vec::new();
        let mut dump = Hexdump::new(&mut text, 0x200);
        dump.write_all(b"qpair: \xff\x00").expect("memory");
        dump.write_all(&[0; 7]).expect("memory");
        dump.write_all(&[0; 64]).expect("memory");
        dump.write_all(b"end").expect("memory");
        dump.finish().expect("memory");
        assert_eq!(
            String::from_utf8(text).expect("text"),
            "00000200  71 70 61 69 72 3a 20 ff  00 00 00 00 00 00 00 00  |qpair: .........|\n\
             00000210  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|\n\
             *\n\
             00000250  65 6e 64                                          |end|\n\
             00000253\n"
        );
    }
}
