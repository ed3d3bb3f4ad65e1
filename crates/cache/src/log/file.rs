//! The files of a log: the one that is written, and those before it.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::line::HEAD;
use super::{CommandLog, Written};
use crate::limits::LOG_PAUSE;

/// See the module.
pub(super) struct Rotated {
    log: CommandLog,
    written: Arc<Written>,
    open: Option<Open>,
    /// Since when it cannot be written.
    failed: Option<Instant>,
}

struct Open {
    file: File,
    bytes: u64,
}

impl Rotated {
    pub(super) fn new(log: CommandLog, written: Arc<Written>) -> Self {
        Self { log, written, open: None, failed: None }
    }

    /// Writes so many lines, or counts them as lost.
    pub(super) fn write(&mut self, bytes: &[u8], lines: u64) {
        if self.failed.is_some_and(|since| since.elapsed() < LOG_PAUSE) {
            return self.written.lost.add(lines);
        }
        match self.try_write(bytes) {
            Ok(()) => {
                if self.failed.take().is_some() {
                    tracing::info!(file = %self.log.path.display(), "the command log is written again");
                }
                self.written.lines.add(lines);
                self.written.bytes.add(bytes.len() as u64);
            }
            Err(error) => {
                if self.failed.is_none() {
                    let file = self.log.path.display();
                    tracing::warn!(%file, %error, "the command log cannot be written: lines are lost until it can be");
                }
                self.failed = Some(Instant::now());
                self.written.lost.add(lines);
            }
        }
    }

    fn try_write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.open()?,
        };
        if open.bytes > HEAD.len() as u64 && open.bytes + bytes.len() as u64 > self.log.bytes {
            drop(open);
            self.rotate()?;
            open = self.open()?;
        }
        if let Err(error) = open.file.write_all(bytes) {
            // No half of a line stays; if that fails, too, the next open mends it.
            let _ = open.file.set_len(open.bytes);
            return Err(error);
        }
        open.bytes += bytes.len() as u64;
        self.open = Some(open);
        Ok(())
    }

    /// The file, as it is, with a head and whole lines.
    fn open(&self) -> io::Result<Open> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(&self.log.path)?;
        let mut bytes = file.seek(SeekFrom::End(0))?;
        let mut last = [0];
        if bytes > 0 {
            file.seek(SeekFrom::Start(bytes - 1))?;
            file.read_exact(&mut last)?;
        }
        let begin = match (bytes, last) {
            (0, _) => HEAD,
            (_, [b'\n']) => "",
            _ => "\n",
        };
        file.write_all(begin.as_bytes()).inspect_err(|_| _ = file.set_len(bytes))?;
        bytes += begin.len() as u64;
        Ok(Open { file, bytes })
    }

    /// Gives all files the next number; the last one goes.
    fn rotate(&self) -> io::Result<()> {
        if self.log.keep == 0 {
            return fs::remove_file(&self.log.path);
        }
        for number in (0..self.log.keep).rev() {
            match fs::rename(self.name(number), self.name(number + 1)) {
                Err(error) if number > 0 && error.kind() == io::ErrorKind::NotFound => {}
                renamed => renamed?,
            }
        }
        Ok(())
    }

    fn name(&self, number: u32) -> PathBuf {
        let mut name = OsString::from(&self.log.path);
        if number > 0 {
            name.push(format!(".{number}"));
        }
        name.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_rotated_and_the_oldest_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log.csv");
        let log = CommandLog { bytes: HEAD.len() as u64 + 20, keep: 2, ..CommandLog::new(path.clone()) };
        let mut rotated = Rotated::new(log.clone(), Arc::default());
        for number in 0..9 {
            rotated.write(format!("line {number:04}\n").as_bytes(), 1);
        }
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).expect(name);
        assert_eq!(read("log.csv"), format!("{HEAD}line 0008\n"));
        assert_eq!(read("log.csv.1"), format!("{HEAD}line 0006\nline 0007\n"));
        assert_eq!(read("log.csv.2"), format!("{HEAD}line 0004\nline 0005\n"));
        assert_eq!((rotated.written.lines.get(), rotated.written.lost.get()), (9, 0));
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 3);
        // The next start goes on; a line that was cut is ended.
        drop(rotated);
        fs::write(&path, format!("{HEAD}lin")).expect("written");
        Rotated::new(log, Arc::default()).write(b"line 0009\n", 1);
        assert_eq!(read("log.csv"), format!("{HEAD}lin\nline 0009\n"));
    }

    #[test]
    fn none_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        let log = CommandLog { bytes: HEAD.len() as u64 + 5, keep: 0, ..CommandLog::new(path.clone()) };
        let mut rotated = Rotated::new(log, Arc::default());
        (0..3).for_each(|number| rotated.write(format!("{number}\n").as_bytes(), 1));
        (3..5).for_each(|number| rotated.write(format!("{number}\n").as_bytes(), 1));
        assert_eq!(fs::read_to_string(&path).expect("a log"), format!("{HEAD}4\n"));
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }

    #[test]
    fn what_cannot_be_written_is_lost_and_counted() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = CommandLog::new(folder.path().join("none").join("log"));
        let mut rotated = Rotated::new(log, Arc::default());
        (0..3).for_each(|_| rotated.write(b"x\ny\n", 2));
        assert_eq!((rotated.written.lines.get(), rotated.written.lost.get()), (0, 6));
        // It is tried again, some time after there is a folder.
        fs::create_dir(folder.path().join("none")).expect("a folder");
        rotated.failed = rotated.failed.and_then(|since| since.checked_sub(LOG_PAUSE));
        rotated.write(b"x\ny\n", 2);
        assert_eq!((rotated.written.lines.get(), rotated.written.lost.get()), (2, 6));
    }
}
