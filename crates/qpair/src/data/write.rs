//! `qpair write`: a file, standard input or one byte again and again into blocks of a device.

use std::process::ExitCode;

use block::channel::Port;
use block::size::format_size;
use block::{Channel, Device, Done, Failure, Op};

use super::guard::{self, Force};
use super::progress::{Progress, summary};
use super::source::{Source, Wanted};
use super::span::{Span, Which, blocks, number};
use super::trouble::{Trouble, conclude, help};
use super::window::Window;
use super::{Effort, TICK, Way, attach, close, flush, sequence, stopped};

const EXAMPLES: &str = help!(
    "\
Writing OVERWRITES what the blocks hold, and ends with a flush. A block device that is mounted, in use or partitioned is
refused without --force.

Examples:
  qpair write disk.img --from boot.bin
  qpair write disk.img --lba 2048 --from part.img --dry-run
  zcat image.gz | qpair write /dev/nvme1n1 --from -
  qpair write disk.img --lba 0 --count 34 --fill 0"
);

/// Write blocks of a device: OVERWRITES them
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// A path, nvme-tcp://HOST:PORT/NQN?ns=N, ram:SIZE or another name of a device
    #[arg(value_name = "DEVICE")]
    device: String,

    #[command(flatten)]
    which: Which,

    /// Take the bytes from this file, or - for standard input
    ///
    /// All of it, or as much as --count or --size says, which it must have then.
    #[arg(long, value_name = "FILE", required_unless_present = "fill")]
    from: Option<String>,

    /// Write this byte everywhere
    #[arg(long, value_name = "BYTE", value_parser = byte, conflicts_with = "from")]
    fill: Option<u8>,

    /// Fill the last block up with zeros if the file ends in it
    #[arg(long, requires = "from")]
    pad: bool,

    /// Make each request durable before it ends (force unit access)
    #[arg(long)]
    fua: bool,

    #[command(flatten)]
    force: Force,

    #[command(flatten)]
    effort: Effort,
}

fn byte(text: &str) -> Result<u8, String> {
    number(text)
        .ok()
        .and_then(|value| u8::try_from(value).ok())
        .ok_or_else(|| format!("`{text}` is not a byte: 0 to 0xff"))
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> ExitCode {
    conclude(write(args))
}

fn write(args: &Args) -> Result<(), Trouble> {
    guard::check(&args.device, &args.force)?;
    let way = Way { read_only: args.force.dry_run, in_use: args.force.force, ..Way::default() };
    let device = args.effort.open(&args.device, way)?;
    let info = device.info();
    let source = source(args, &*device)?;
    let start = args.which.start(info)?;
    let end = device.blocks() * u64::from(info.block_bytes);
    // A stream ends where it ends; all that is known is how much fits.
    let bytes = source.bytes.unwrap_or(end.saturating_sub(start));
    let span = Span { start, bytes }.within(info, device.blocks())?;
    if args.force.dry_run {
        let size = if source.bytes.is_some() { format_size(bytes) } else { format!("at most {}", format_size(bytes)) };
        println!("would write {size} from {} to {}", source.name, span.words(bytes, info));
        return close(&*device);
    }
    crate::signals::watch(|| {}).map_err(|source| Trouble::host("listen for signals", source))?;
    pump(args, &*device, span, source)?;
    close(&*device)
}

/// Where the bytes come from.
fn source(args: &Args, device: &dyn Device) -> Result<Source, Trouble> {
    let info = device.info();
    let bytes = args.which.bytes(info)?;
    let Some(fill) = args.fill else {
        let from = args.from.as_deref().expect("clap wants one of the two");
        return Source::open(&Wanted { from, bytes, pad: args.pad }, info.block_bytes);
    };
    let Some(bytes) = bytes else {
        let hint = "Write --count BLOCKS or --size SIZE.".to_owned();
        return Err(Trouble::usage("--fill does not say how many blocks".to_owned(), hint));
    };
    Ok(Source::fill(fill, bytes))
}

/// One writing.
struct Writing<'a> {
    device: &'a dyn Device,
    span: Span,
    piece_bytes: usize,
    source: Source,
    fua: bool,
    /// The next piece to write.
    next: u64,
    /// Nothing more is to be written: the source has ended, or something is wrong.
    over: bool,
    trouble: Option<Trouble>,
    window: Window<usize>,
    /// Bytes that are on the device from the start of the span on.
    done: u64,
    failed: Option<(u64, Failure)>,
}

fn pump(args: &Args, device: &dyn Device, span: Span, source: Source) -> Result<(), Trouble> {
    let info = device.info();
    let effort = sequence::effort(&args.effort, device, span)?;
    let piece_bytes = effort.piece_bytes(&[device])?;
    let mut channel = effort.channel::<(u64, usize)>(piece_bytes, effort.depth())?;
    let port = attach(&mut channel, device)?;
    let mut progress = Progress::new("writing", source.bytes.unwrap_or(0), !args.effort.quiet);
    let name = source.name.clone();
    let mut writing = Writing {
        device,
        span,
        piece_bytes,
        source,
        fua: args.fua,
        next: 0,
        over: false,
        trouble: None,
        window: Window::new(),
        done: 0,
        failed: None,
    };
    loop {
        writing.fill(&mut channel, port);
        if channel.in_flight() == 0 {
            break;
        }
        let ended = channel.wait(Some(TICK), |_, done| writing.ended(done));
        ended.map_err(|source| Trouble::host("wait for the device", source))?;
        progress.show(writing.done);
        if stopped() {
            channel.cancel_all();
            writing.over = true;
        }
    }
    let time = progress.finish();
    let Writing { trouble, done, failed, .. } = writing;
    let so_far = || {
        let behind = if failed.is_some() || stopped() { " Blocks behind them may be written or not." } else { "" };
        format!("Written before that: {}.{behind}", span.words(done, info))
    };
    if let Some((piece, failure)) = failed.filter(|_| !stopped()) {
        let what = format!("write {}", blocks(span.range(piece, piece_bytes, info), info));
        return Err(Trouble::Failed { what, failure }.after(so_far()));
    }
    let interrupted = stopped() && source_is_left(span, done);
    flush(&mut channel, port, &info.name).map_err(|trouble| trouble.after(so_far()))?;
    if let Some(trouble) = trouble {
        return Err(trouble.after(so_far()));
    }
    if interrupted {
        return Err(Trouble::Stopped.after(so_far()));
    }
    if !args.effort.quiet {
        let what = format!("wrote {name} to {}", span.words(done, info));
        eprintln!("{}", summary(&what, done, time));
    }
    Ok(())
}

/// Whether Ctrl-C came before the end.
fn source_is_left(span: Span, done: u64) -> bool {
    done < span.bytes
}

impl Writing<'_> {
    /// Reads from the source and writes as much as there is room for.
    fn fill(&mut self, channel: &mut Channel<(u64, usize)>, port: Port) {
        let info = self.device.info();
        let block = info.block_bytes as usize;
        while !self.over {
            if channel.in_flight() == channel.depth() {
                return;
            }
            let Some(mut buf) = channel.buffer() else { return };
            let len = match self.source.read(&mut buf, block) {
                Ok(len) => len,
                Err(source) => {
                    return self.give_up(Trouble::host(&format!("read {}", self.source.name), source));
                }
            };
            let room = self.span.len(self.next, self.piece_bytes);
            let (whole, odd) = (len / block * block, len % block);
            if whole > room {
                let why = format!("{} does not end before {} does", self.source.name, info.name);
                self.give_up(Trouble::usage(why, "What fits is written; write the rest elsewhere.".to_owned()));
            } else if odd > 0 {
                let why = format!("{} ends {odd} bytes into a {block}-byte block", self.source.name);
                self.give_up(Trouble::usage(why, "These were not written. Add --pad to fill it up.".to_owned()));
            } else if len < room && self.source.bytes.is_some() {
                let why = format!("{} has fewer bytes than were to be written", self.source.name);
                self.give_up(Trouble::usage(why, "What it has is written.".to_owned()));
            }
            let whole = whole.min(room);
            if whole == 0 {
                self.over = true;
                return;
            }
            buf.set_len(whole);
            let mut range = self.span.range(self.next, self.piece_bytes, info);
            range.blocks = (whole / block) as u64;
            let op = Op::Write { range, fua: self.fua };
            let mut full = channel.submit(port, op, Some(buf), (self.next, whole)).err();
            while let Some(again) = full.take() {
                // The device has less room than the channel. What was read cannot be read again: wait for some to end.
                let waited = channel.wait(Some(TICK), |_, done| self.ended(done));
                if let Err(source) = waited {
                    return self.give_up(Trouble::host("wait for the device", source));
                }
                full = channel.submit(port, op, again.data, again.context).err();
            }
            self.next += 1;
            self.over |= whole < self.piece_bytes;
        }
    }

    fn give_up(&mut self, trouble: Trouble) {
        self.over = true;
        self.trouble = Some(trouble);
    }

    fn ended(&mut self, done: Done<(u64, usize)>) {
        let (piece, len) = done.context;
        match done.outcome {
            Ok(_) => self.window.put(piece, len),
            Err(failure) => {
                self.over = true;
                if self.failed.is_none_or(|(first, _)| piece < first) {
                    self.failed = Some((piece, failure));
                }
            }
        }
        while let Some(len) = self.window.take() {
            self.done += len as u64;
        }
    }
}
