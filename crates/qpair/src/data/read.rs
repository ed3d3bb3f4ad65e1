//! `qpair read`: blocks of a device into a file, to standard output, or as lines in hexadecimal.

use std::fs::File;
use std::io::{self, Write};
use std::process::ExitCode;

use block::{Channel, Device, Done, Failure, Op};
use machine::region::Buf;

use super::progress::{Progress, summary};
use super::span::{Span, Which, blocks};
use super::trouble::{Trouble, conclude, help};
use super::window::Window;
use super::{Effort, Hexdump, TICK, Way, attach, close, sequence, stopped};

const EXAMPLES: &str = help!(
    "\
Examples:
  qpair read disk.img                            the first block, in hexadecimal
  qpair read /dev/nvme0n1 --lba 2048 --count 8
  qpair read \"nvme-tcp://127.0.0.1:4420/NQN?ns=1\" --size 1GiB --to part.img
  qpair read disk.img --count 64 --to - | sha256sum"
);

/// Read blocks of a device
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// A path, nvme-tcp://HOST:PORT/NQN?ns=N, ram:SIZE or another name of a device
    #[arg(value_name = "DEVICE")]
    device: String,

    #[command(flatten)]
    which: Which,

    /// Write the bytes to this file, or - for standard output, instead of showing them in hexadecimal
    #[arg(long, value_name = "FILE")]
    to: Option<String>,

    #[command(flatten)]
    effort: Effort,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> ExitCode {
    conclude(read(args))
}

fn read(args: &Args) -> Result<(), Trouble> {
    let device = args.effort.open(&args.device, Way { read_only: true, ..Way::default() })?;
    let info = device.info();
    // A device is much for a terminal: one block, unless more is asked for.
    let span = args.which.span(info, device.blocks(), |left| left.min(u64::from(info.block_bytes)))?;
    sequence::readable(&*device, span)?;
    crate::signals::watch(|| {}).map_err(|source| Trouble::host("listen for signals", source))?;
    let target = args.to.as_deref();
    match target {
        Some("-") => pump(args, &*device, span, &mut io::stdout().lock())?,
        Some(path) => {
            let told = |source| Trouble::host(&format!("write to {path}"), source);
            let mut file = File::create(path).map_err(told)?;
            pump(args, &*device, span, &mut file)?;
            file.sync_all().or_else(|error| if no_sync(&error) { Ok(()) } else { Err(error) }).map_err(told)?;
        }
        None => {
            let mut dump = Hexdump::new(io::BufWriter::new(io::stdout().lock()), span.start);
            pump(args, &*device, span, &mut dump)?;
            dump.finish().or_else(broken_pipe).map_err(|source| Trouble::host("write to standard output", source))?;
        }
    }
    close(&*device)
}

/// Pipes and terminals have nothing to make durable.
fn no_sync(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidInput
}

/// A reader that has seen enough is no error.
fn broken_pipe(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) }
}

/// One reading.
struct Reading<'a> {
    device: &'a dyn Device,
    span: Span,
    piece_bytes: usize,
    /// The next piece to ask for, and how many there are; fewer once something failed.
    next: u64,
    pieces: u64,
    window: Window<Buf>,
    failed: Option<(u64, Failure)>,
}

/// Reads a span and writes it in order.
fn pump(args: &Args, device: &dyn Device, span: Span, out: &mut dyn Write) -> Result<(), Trouble> {
    let info = device.info();
    let piece_bytes = args.effort.piece_bytes(&[device])?;
    let mut channel = args.effort.channel::<u64>(piece_bytes, args.effort.depth())?;
    let port = attach(&mut channel, device)?;
    let pieces = span.pieces(piece_bytes);
    let mut reading = Reading { device, span, piece_bytes, next: 0, pieces, window: Window::new(), failed: None };
    let mut progress = Progress::new("reading", span.bytes, !args.effort.quiet && args.to.is_some());
    let written = loop {
        reading.fill(&mut channel, port);
        if channel.in_flight() == 0 {
            break Ok(());
        }
        let ended = channel.wait(Some(TICK), |_, done| reading.ended(done));
        ended.map_err(|source| Trouble::host("wait for the device", source))?;
        let written = reading.write(out);
        progress.show(reading.done());
        if stopped() && reading.failed.is_none() {
            channel.cancel_all();
            reading.pieces = reading.next;
        }
        if written.is_err() {
            channel.cancel_all();
            reading.pieces = 0;
            break written;
        }
    };
    let time = progress.finish();
    // Buffers that are still on their way come back before the channel goes.
    channel.drain(|_, _| ()).map_err(|source| Trouble::host("wait for the device", source))?;
    let bytes = reading.done();
    let so_far = || format!("Read before that: {}.", span.words(bytes, info));
    match (written.and_then(|()| out.flush()), reading.failed) {
        (Err(error), _) => {
            broken_pipe(error).map_err(|source| Trouble::host("write what was read", source).after(so_far()))
        }
        (Ok(()), _) if stopped() && bytes < span.bytes => Err(Trouble::Stopped.after(so_far())),
        (Ok(()), Some((piece, failure))) => {
            let what = format!("read {}", blocks(span.range(piece, piece_bytes, info), info));
            Err(Trouble::Failed { what, failure }.after(so_far()))
        }
        (Ok(()), None) => {
            if !args.effort.quiet && args.to.is_some() {
                eprintln!("{}", summary(&format!("read {}", span.words(bytes, info)), bytes, time));
            }
            Ok(())
        }
    }
}

impl Reading<'_> {
    /// Asks for as much as there is room for. Buffers that wait for their turn to be written are not free, which bounds
    /// how far it gets ahead.
    fn fill(&mut self, channel: &mut Channel<u64>, port: block::channel::Port) {
        while self.next < self.pieces {
            let Some(mut buf) = channel.buffer() else { return };
            buf.set_len(self.span.len(self.next, self.piece_bytes));
            let range = self.span.range(self.next, self.piece_bytes, self.device.info());
            if channel.submit(port, Op::Read(range), Some(buf), self.next).is_err() {
                return;
            }
            self.next += 1;
        }
    }

    fn ended(&mut self, done: Done<u64>) {
        let piece = done.context;
        match done.outcome {
            Ok(_) => self.window.put(piece, done.data.one().expect("a read brings its buffer back")),
            Err(failure) => {
                self.pieces = self.next;
                if self.failed.is_none_or(|(first, _)| piece < first) {
                    self.failed = Some((piece, failure));
                }
            }
        }
    }

    /// Writes what is complete.
    fn write(&mut self, out: &mut dyn Write) -> io::Result<()> {
        while let Some(buf) = self.window.take() {
            out.write_all(&buf)?;
        }
        Ok(())
    }

    /// Bytes that were written.
    fn done(&self) -> u64 {
        self.span.before(self.window.taken(), self.piece_bytes)
    }
}
