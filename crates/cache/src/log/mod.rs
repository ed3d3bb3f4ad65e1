//! The command log: one command in so many, a line each, in a file that is rotated.
//!
//! ```text
//!   reactor   line ──▶ batch ─ full, or a tick old ──▶ bounded queue ──▶ one thread ──▶ FILE, FILE.1, FILE.2, ...
//!                        ▲────────────────── empty batches ◀───────────────────┘
//! ```
//!
//! A reactor has [`LOG_BATCHES`] batches and waits for none: where all of them are under way, lines are dropped and
//! counted. A file that cannot be written is told of once; what comes meanwhile is counted as lost, and it is tried
//! again after [`LOG_PAUSE`].
//!
//! [`LOG_PAUSE`]: crate::limits::LOG_PAUSE

mod asked;
mod file;
mod line;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use block::size::{format_size, parse_size};
use machine::Word;

pub(crate) use self::asked::{Asked, each};
use self::file::Rotated;
pub use self::line::HEAD;
pub(crate) use self::line::{Noted, begin, end, outcome};
use crate::limits::{
    LOG_BATCH_BYTES, LOG_BATCHES, LOG_EVERY, LOG_FILE_BYTES, LOG_KEEP, LOG_LINE_BYTES, MAX_LOG_KEEP, MIN_LOG_FILE_BYTES,
};
use crate::observe::interval;

/// A log of commands, as the operator wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLog {
    /// The file, to whose name numbers are added when it is rotated.
    pub path: PathBuf,
    /// One command in so many is logged.
    pub every: u32,
    /// Bytes of a file, before there is another one.
    pub bytes: u64,
    /// Files that are kept beside the one that is written.
    pub keep: u32,
}

impl CommandLog {
    /// With all that nobody has said otherwise.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, every: LOG_EVERY, bytes: LOG_FILE_BYTES, keep: LOG_KEEP }
    }

    /// What is wrong with it, if anything is.
    ///
    /// # Errors
    /// In words.
    pub fn check(&self) -> Result<(), String> {
        if self.path.as_os_str().is_empty() {
            return Err("a log has a file".to_owned());
        }
        if self.every == 0 {
            return Err("every=1 is every command, every=100 one in a hundred".to_owned());
        }
        if self.bytes < MIN_LOG_FILE_BYTES {
            return Err(format!("size: a file has at least {}", format_size(MIN_LOG_FILE_BYTES)));
        }
        if self.keep > MAX_LOG_KEEP {
            return Err(format!("keep: at most {MAX_LOG_KEEP} files are kept"));
        }
        Ok(())
    }
}

impl FromStr for CommandLog {
    type Err = String;

    /// `FILE[,every=N][,size=SIZE][,keep=N]`
    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split(',');
        let mut log = Self::new(words.next().unwrap_or_default().into());
        for word in words {
            let number = |text: &str| text.parse().map_err(|_| format!("'{text}' in '{word}' is no number"));
            match word.split_once('=') {
                Some(("every", value)) => log.every = number(value)?,
                Some(("size", value)) => log.bytes = parse_size(value)?,
                Some(("keep", value)) => log.keep = number(value)?,
                _ => return Err(format!("'{word}' is none of every=N, size=SIZE and keep=N")),
            }
        }
        log.check().map(|()| log)
    }
}

impl fmt::Display for CommandLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, every, bytes, keep } = self;
        let size = Some(format_size(*bytes)).filter(|text| parse_size(text) == Ok(*bytes));
        let size = size.unwrap_or_else(|| bytes.to_string());
        write!(f, "{},every={every},size={size},keep={keep}", path.display())
    }
}

/// Lines on their way to the file.
struct Batch {
    reactor: usize,
    lines: u64,
    bytes: Vec<u8>,
}

/// A reactor's end.
pub(crate) struct Logger {
    reactor: usize,
    every: u32,
    /// Commands up to the next one that is logged.
    left: u32,
    chance: u32,
    open: Option<Vec<u8>>,
    lines: u64,
    /// Lines for which there was no batch.
    dropped: u64,
    full: SyncSender<Batch>,
    free: Receiver<Vec<u8>>,
}

impl Logger {
    /// Whether it is the next command's turn.
    #[inline]
    pub(crate) fn is_turn(&mut self) -> bool {
        self.left -= 1;
        if self.left > 0 {
            return false;
        }
        self.left = interval(&mut self.chance, self.every);
        true
    }

    /// Adds a line, if there is room.
    pub(crate) fn add(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.open.is_none() {
            self.open = self.free.try_recv().ok();
        }
        let Some(open) = &mut self.open else {
            self.dropped += 1;
            return;
        };
        write(open);
        self.lines += 1;
        if open.len() >= LOG_BATCH_BYTES {
            self.hand_over();
        }
    }

    /// The lines so far go to the file.
    pub(crate) fn hand_over(&mut self) {
        let Some(bytes) = self.open.take_if(|open| !open.is_empty()) else { return };
        let lines = std::mem::take(&mut self.lines);
        // Its thread ends when all reactors have; there is room for all batches.
        let _ = self.full.try_send(Batch { reactor: self.reactor, lines, bytes });
    }

    /// Lines for which there was no batch.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }
}

impl Drop for Logger {
    fn drop(&mut self) {
        self.hand_over();
    }
}

/// What came to the file: written by its thread, read by everybody.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) lines: Word,
    /// Lines that could not be written.
    pub(crate) lost: Word,
    pub(crate) bytes: Word,
}

/// The thread that writes, and what it has done. It ends when all loggers are gone.
pub(crate) struct Writer {
    pub(crate) thread: JoinHandle<()>,
    pub(crate) written: Arc<Written>,
}

/// Starts a log for so many reactors: an end for each.
///
/// # Errors
/// There is no thread to be had.
pub(crate) fn start(log: &CommandLog, reactors: usize) -> std::io::Result<(Writer, Vec<Logger>)> {
    let (full, filled) = sync_channel(reactors * LOG_BATCHES);
    let (mut loggers, mut backs) = (Vec::new(), Vec::new());
    for reactor in 0..reactors {
        let (back, free) = sync_channel(LOG_BATCHES);
        for _ in 0..LOG_BATCHES {
            back.try_send(Vec::with_capacity(LOG_BATCH_BYTES + LOG_LINE_BYTES)).expect("there is room for all");
        }
        backs.push(back);
        let (every, full) = (log.every, full.clone());
        let chance = 0x9e37_79b9 ^ reactor as u32;
        loggers.push(Logger { reactor, every, left: 1, chance, open: None, lines: 0, dropped: 0, full, free });
    }
    let written = Arc::<Written>::default();
    let mut file = Rotated::new(log.clone(), Arc::clone(&written));
    let write = move || {
        for Batch { reactor, lines, mut bytes } in filled {
            file.write(&bytes, lines);
            bytes.clear();
            // The reactor may have ended.
            let _ = backs[reactor].try_send(bytes);
        }
    };
    let thread = thread::Builder::new().name("command-log".to_owned()).spawn(write)?;
    Ok((Writer { thread, written }, loggers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_log() {
        let log: CommandLog = "/var/log/c.csv,every=7,size=1MiB,keep=2".parse().expect("a log");
        assert_eq!(log, CommandLog { path: "/var/log/c.csv".into(), every: 7, bytes: 1 << 20, keep: 2 });
        assert_eq!(log.to_string().parse(), Ok(log));
        assert_eq!("x".parse(), Ok(CommandLog::new("x".into())));
        for wrong in ["", ",every=1", "x,every=0", "x,every=-1", "x,size=1", "x,keep=1000", "x,often", "x,every"] {
            assert!(wrong.parse::<CommandLog>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_too_much_is_dropped_and_counted() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = CommandLog { every: 1, ..CommandLog::new(folder.path().join("log")) };
        let (writer, mut loggers) = start(&log, 1).expect("a thread");
        let mut logger = loggers.pop().expect("one");
        // Nobody takes batches back from the free ones: no line waits for that.
        let (_keep, mut batches) = (logger.full.clone(), Vec::new());
        while let Ok(batch) = logger.free.try_recv() {
            batches.push(batch);
        }
        assert_eq!(batches.len(), LOG_BATCHES);
        (0..10).for_each(|_| logger.add(|out| out.extend_from_slice(b"x\n")));
        assert_eq!(logger.dropped(), 10);
        logger.open = batches.pop();
        (0..5).for_each(|_| logger.add(|out| out.extend_from_slice(b"x\n")));
        assert_eq!((logger.dropped(), logger.lines), (10, 5));
        drop((logger, _keep));
        writer.thread.join().expect("it ends");
        assert_eq!(writer.written.lines.get(), 5);
        let text = std::fs::read_to_string(&log.path).expect("a log");
        assert_eq!(text.lines().skip(1).collect::<Vec<_>>(), ["x"; 5]);
    }
}
