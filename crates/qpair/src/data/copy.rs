//! `qpair copy`: blocks of one device to another, many at once.
//!
//! A piece is read into a buffer, and the same buffer is written: nothing is copied in memory. With `--verify` all
//! pieces are read from both devices afterwards and compared.

use std::collections::VecDeque;
use std::process::ExitCode;
use std::sync::Arc;

use block::channel::Port;
use block::size::{format_size, parse_size};
use block::spec::Spec;
use block::{Channel, Device, Done, Failure, Op, Range};
use machine::region::Buf;

use super::guard::{self, Force};
use super::progress::{Progress, summary};
use super::span::{self, Span, Which, blocks, number};
use super::trouble::{Trouble, conclude, help};
use super::window::Window;
use super::{Effort, TICK, Way, attach, close, flush, sequence, stopped};

const EXAMPLES: &str = help!(
    "\
Copying OVERWRITES what the blocks of the target hold, and ends with a flush. A block device that is mounted, in use or
partitioned is refused without --force. A target that is a file and is not there yet is created. After an error or
Ctrl-C it says which blocks are copied.

Examples:
  qpair copy disk.img copy.img --verify
  qpair copy \"nvme-tcp://10.0.0.1/NQN?ns=1\" \"nvme-tcp://10.0.0.2/NQN?ns=1\" --qd 64
  qpair copy disk.img /dev/nvme1n1 --size 1GiB --to-offset 4GiB --dry-run"
);

/// Copy blocks of a device to another: OVERWRITES them there
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// Where the blocks come from: any name of a device
    #[arg(value_name = "SRC")]
    source: String,

    /// Where they go
    #[arg(value_name = "DST")]
    target: String,

    #[command(flatten)]
    which: Which,

    /// First logical block of the target [default: 0]
    #[arg(long, value_name = "LBA", value_parser = number)]
    to_lba: Option<u64>,

    /// The same in bytes
    #[arg(long, value_name = "SIZE", value_parser = parse_size, conflicts_with = "to_lba")]
    to_offset: Option<u64>,

    /// Read both back at the end and compare
    #[arg(long)]
    verify: bool,

    #[command(flatten)]
    force: Force,

    #[command(flatten)]
    effort: Effort,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> ExitCode {
    conclude(copy(args))
}

/// One end of a copy.
struct End {
    device: Arc<dyn Device>,
    span: Span,
}

impl End {
    fn range(&self, piece: u64, piece_bytes: usize) -> Range {
        self.span.range(piece, piece_bytes, self.device.info())
    }

    fn words(&self, bytes: u64) -> String {
        self.span.words(bytes, self.device.info())
    }
}

fn copy(args: &Args) -> Result<(), Trouble> {
    guard::check(&args.target, &args.force)?;
    // One device with one name is opened once, or it would be locked for itself.
    let same = args.source == args.target;
    let dry = args.force.dry_run;
    let in_use = same && args.force.force;
    let source = args.effort.open(&args.source, Way { read_only: !same || dry, in_use, ..Way::default() })?;
    let from = args.which.span(source.info(), source.blocks(), |left| left)?;
    let source = End { device: source, span: from };
    let to_file = missing_file(&args.target);
    if dry && let Some(path) = to_file {
        println!("would create {path}, and copy {} to it", source.words(from.bytes));
        return close(&*source.device);
    }
    let target = if same { Arc::clone(&source.device) } else { open_target(args, from.bytes, to_file.is_some())? };
    let start = span::start(target.info(), args.to_lba, args.to_offset, "--to-offset")?;
    let to = Span { start, bytes: from.bytes }.within(target.info(), target.blocks())?;
    let target = End { device: target, span: to };
    apart(&source, &target)?;
    if !from.bytes.is_multiple_of(u64::from(target.device.info().block_bytes)) {
        let block = target.device.info().block_bytes;
        let why = format!("{} bytes are not a whole number of the {block}-byte blocks of the target", from.bytes);
        return Err(Trouble::usage(why, format!("Write --size {}.", from.bytes - from.bytes % u64::from(block))));
    }
    if dry {
        println!(
            "would copy {} to {}, {}",
            source.words(from.bytes),
            target.words(from.bytes),
            format_size(from.bytes)
        );
        return close(&*source.device).and_then(|()| if same { Ok(()) } else { close(&*target.device) });
    }
    crate::signals::watch(|| {}).map_err(|source| Trouble::host("listen for signals", source))?;
    pump(args, &source, &target)?;
    close(&*source.device)?;
    if same { Ok(()) } else { close(&*target.device) }
}

/// The path of a target that is a file and is not there yet.
fn missing_file(name: &str) -> Option<String> {
    let spec = name.parse::<Spec>().ok()?;
    let path = spec.target.path()?;
    (!path.exists() && !path.starts_with("/dev")).then(|| path.display().to_string())
}

fn open_target(args: &Args, bytes: u64, create: bool) -> Result<Arc<dyn Device>, Trouble> {
    let behind = match (args.to_lba, args.to_offset) {
        (None, None) => Some(0),
        (None, Some(offset)) => Some(offset),
        // How long a block of it is nobody knows before it is there.
        (Some(_), _) => None,
    };
    let size = behind.and_then(|behind| behind.checked_add(bytes)).filter(|_| create);
    args.effort
        .open(&args.target, Way { read_only: args.force.dry_run, size, in_use: args.force.force, ..Way::default() })
}

/// Checks that source and target have no block in common.
fn apart(source: &End, target: &End) -> Result<(), Trouble> {
    let (one, other) = (source.device.info(), target.device.info());
    let same = Arc::ptr_eq(&source.device, &target.device) || one.identity == other.identity;
    let (from, to) = (source.span, target.span);
    if same && from.start < to.start + to.bytes && to.start < from.start + from.bytes {
        let why = format!("source and target are the same device and overlap: {}", one.name);
        return Err(Trouble::usage(why, "Choose blocks that lie apart, or another target.".to_owned()));
    }
    Ok(())
}

/// What a request is for; the first two carry the piece's bytes themselves.
enum Step {
    Read,
    Write,
    /// For the comparison: of the source, and of the target with what the source has.
    Look,
    Compare(Buf),
}

type Context = (u64, Step);

/// One copy, or the comparison after it.
struct Copying<'a> {
    source: &'a End,
    target: &'a End,
    ports: [Port; 2],
    piece_bytes: usize,
    compares: bool,
    next: u64,
    pieces: u64,
    /// What is read and found no room to go on.
    held: VecDeque<(u64, Buf)>,
    window: Window<()>,
    failed: Option<(u64, Fault)>,
}

/// What went wrong with a piece.
enum Fault {
    Read(Failure),
    Write(Failure),
    ReadBack(Failure),
    /// From this byte of the piece on.
    Differs(usize),
}

fn pump(args: &Args, source: &End, target: &End) -> Result<(), Trouble> {
    let effort = sequence::effort(&args.effort, &*target.device, target.span)?;
    let piece_bytes = effort.piece_bytes(&[&*source.device, &*target.device])?;
    // A comparison has two buffers for each piece.
    let mut channel = effort.channel::<Context>(piece_bytes, 2 * effort.depth())?;
    let from = attach(&mut channel, &*source.device)?;
    let to = attach(&mut channel, &*target.device)?;
    let total = source.span.bytes;
    let (ports, next, held) = ([from, to], 0, VecDeque::new());
    let pieces = source.span.pieces(piece_bytes);
    let (window, failed) = (Window::new(), None);
    let mut copying =
        Copying { source, target, ports, piece_bytes, compares: false, next, pieces, held, window, failed };
    let mut progress = Progress::new("copying", total, !args.effort.quiet);
    copying.run(&mut channel, &mut progress)?;
    let time = progress.finish();
    let done = copying.done();
    let so_far = || {
        let rest = if done < total { " Blocks behind them may be copied or not." } else { "" };
        format!("Copied before that: {} of {}, to {}.{rest}", format_size(done), format_size(total), target.words(done))
    };
    if copying.failed.is_none() {
        flush(&mut channel, to, &target.device.info().name).map_err(|trouble| trouble.after(so_far()))?;
    }
    copying.trouble(total).map_err(|trouble| trouble.after(so_far()))?;
    if !args.effort.quiet {
        eprintln!("{}", summary(&format!("copied {} to {}", source.words(total), target.words(total)), total, time));
    }
    if args.verify {
        let mut progress = Progress::new("comparing", total, !args.effort.quiet);
        (copying.compares, copying.next, copying.pieces, copying.window) = (true, 0, pieces, Window::new());
        copying.run(&mut channel, &mut progress)?;
        let time = progress.finish();
        let done = copying.done();
        let so_far = || format!("All is copied. Compared and equal: {} of {}.", format_size(done), format_size(total));
        copying.trouble(total).map_err(|trouble| trouble.after(so_far()))?;
        if !args.effort.quiet {
            eprintln!("{}", summary("compared, all equal", total, time));
        }
    }
    Ok(())
}

impl Copying<'_> {
    /// Does all pieces, or as many as it gets to.
    fn run(&mut self, channel: &mut Channel<Context>, progress: &mut Progress) -> Result<(), Trouble> {
        loop {
            self.go_on(channel);
            self.fill(channel);
            if channel.in_flight() == 0 && self.held.is_empty() {
                return Ok(());
            }
            let ended = channel.wait(Some(TICK), |channel, done| self.ended(channel, done));
            ended.map_err(|source| Trouble::host("wait for the devices", source))?;
            progress.show(self.done());
            if stopped() {
                self.pieces = self.next;
                self.held.clear();
                channel.cancel_all();
            }
        }
    }

    /// Asks for as many pieces as there is room for.
    fn fill(&mut self, channel: &mut Channel<Context>) {
        while self.next < self.pieces && self.held.is_empty() && channel.in_flight() < channel.depth() {
            let Some(mut buf) = channel.buffer() else { return };
            buf.set_len(self.source.span.len(self.next, self.piece_bytes));
            let op = Op::Read(self.source.range(self.next, self.piece_bytes));
            let step = if self.compares { Step::Look } else { Step::Read };
            if channel.submit(self.ports[0], op, Some(buf), (self.next, step)).is_err() {
                return;
            }
            self.next += 1;
        }
    }

    /// Goes on with what found no room.
    fn go_on(&mut self, channel: &mut Channel<Context>) {
        for _ in 0..self.held.len() {
            let Some((piece, buf)) = self.held.pop_front() else { return };
            self.second(channel, piece, buf);
        }
    }

    /// The second half of a piece: its bytes to the target, or those of the target beside them.
    fn second(&mut self, channel: &mut Channel<Context>, piece: u64, buf: Buf) {
        let range = self.target.range(piece, self.piece_bytes);
        if !self.compares {
            let op = Op::Write { range, fua: false };
            if let Err(full) = channel.submit(self.ports[1], op, Some(buf), (piece, Step::Write)) {
                self.held.push_back((piece, full.data.one().expect("it comes back")));
            }
            return;
        }
        let Some(mut beside) = channel.buffer() else { return self.held.push_back((piece, buf)) };
        beside.set_len(buf.len());
        let context = (piece, Step::Compare(buf));
        if let Err(full) = channel.submit(self.ports[1], Op::Read(range), Some(beside), context) {
            let (piece, Step::Compare(buf)) = full.context else { unreachable!("it comes back") };
            self.held.push_back((piece, buf));
        }
    }

    fn ended(&mut self, channel: &mut Channel<Context>, done: Done<Context>) {
        let ((piece, step), outcome) = (done.context, done.outcome);
        let data = done.data.one().expect("it brings its buffer back");
        match (step, outcome) {
            (Step::Read | Step::Look, Ok(_)) if self.failed.is_none() && !stopped() => {
                self.second(channel, piece, data);
            }
            (Step::Read | Step::Look, Ok(_)) => {}
            (Step::Write, Ok(_)) => self.finished(piece),
            (Step::Compare(wanted), Ok(_)) => match wanted.iter().zip(&*data).position(|(one, other)| one != other) {
                None => self.finished(piece),
                Some(at) => self.fail(piece, Fault::Differs(at)),
            },
            (Step::Read | Step::Look, Err(failure)) => self.fail(piece, Fault::Read(failure)),
            (Step::Write, Err(failure)) => self.fail(piece, Fault::Write(failure)),
            (Step::Compare(_), Err(failure)) => self.fail(piece, Fault::ReadBack(failure)),
        }
    }

    fn finished(&mut self, piece: u64) {
        self.window.put(piece, ());
        while self.window.take().is_some() {}
    }

    /// Nothing new is begun; what is under way ends.
    fn fail(&mut self, piece: u64, fault: Fault) {
        self.pieces = self.next;
        self.held.clear();
        if self.failed.as_ref().is_none_or(|(first, _)| piece < *first) {
            self.failed = Some((piece, fault));
        }
    }

    /// Bytes from the beginning on that are done.
    fn done(&self) -> u64 {
        self.source.span.before(self.window.taken(), self.piece_bytes)
    }

    /// What went wrong, if anything did.
    fn trouble(&self, total: u64) -> Result<(), Trouble> {
        if stopped() && self.done() < total {
            return Err(Trouble::Stopped);
        }
        let Some((piece, fault)) = &self.failed else { return Ok(()) };
        let at = |end: &End| blocks(end.range(*piece, self.piece_bytes), end.device.info());
        Err(match fault {
            Fault::Read(failure) => Trouble::Failed { what: format!("read {}", at(self.source)), failure: *failure },
            Fault::Write(failure) => Trouble::Failed { what: format!("write {}", at(self.target)), failure: *failure },
            Fault::ReadBack(failure) => {
                Trouble::Failed { what: format!("read {} back", at(self.target)), failure: *failure }
            }
            Fault::Differs(byte) => Trouble::Differs(format!(
                "{} differ from {}, from byte {byte} of them on: did something else write to one of the devices?",
                at(self.target),
                at(self.source)
            )),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_not_there_would_be_created() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.img").display().to_string();
        assert_eq!(missing_file(&path), Some(path.clone()));
        std::fs::write(&path, "").expect("a file");
        for name in [&path, "ram:1GiB", "nvme-tcp://127.0.0.1/x", "/dev/nvme77n1"] {
            assert_eq!(missing_file(name), None, "{name}");
        }
    }
}
