//! `qpair zones append`: a file or standard input to a zone, many appends at once, and where the device put each.

use std::sync::Arc;

use block::channel::{Native, Port};
use block::size::format_size;
use block::{Channel, Device, Done, Failure, Why, Zoned};
use describe::Object;
use wire::nvme::Sqe;

use super::{Cut, Said, not_native, start, zoned};
use crate::data::guard::{self, Force};
use crate::data::source::{Source, Wanted};
use crate::data::trouble::{Trouble, help};
use crate::data::{Effort, TICK, Way, Window, attach, close, number, open, stopped};
use crate::show::{Format, printed};

const EXAMPLES: &str = help!(
    "\
The device chooses where in the zone each append goes, behind what is there; with --qd above 1 that need not be the
order of the bytes. So each is printed with the byte of the input that it begins with. A device that is mounted, in use
or partitioned is refused without --force.

Examples:
  qpair zones append /dev/ng0n1 --zone 0 --from log.bin --pad
  qpair zones append /dev/ng0n1 --zone 0x8000 --from - --bs 16k --qd 32 -o json"
);

/// Append to a zone, and print where the device put it
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct Args {
    /// A zoned namespace: /dev/ngXnY, nvme-tcp://HOST/NQN?ns=N
    #[arg(value_name = "DEVICE")]
    device: String,

    /// The zone that starts with this logical block; 0x before it makes the number hexadecimal
    #[arg(long, value_name = "LBA", value_parser = number)]
    zone: u64,

    /// Take the bytes from this file, or - for standard input
    #[arg(long, value_name = "FILE")]
    from: String,

    /// Fill the last block up with zeros if the file ends in it
    #[arg(long)]
    pad: bool,

    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,

    #[command(flatten)]
    force: Force,

    #[command(flatten)]
    effort: Effort,
}

/// An append that has ended well.
struct Placed {
    /// Where in the input its bytes begin.
    offset: u64,
    lba: u64,
    blocks: u64,
}

/// Runs the verb.
pub(super) fn append(args: &Args) -> Said {
    guard::check(&args.device, &args.force)?;
    let depth = Some(args.effort.depth());
    let way = Way { read_only: args.force.dry_run, in_use: args.force.force, depth, ..Way::default() };
    let device = open(&args.device, way)?;
    let text = on(args, &device)?;
    close(&*device)?;
    Ok(text)
}

fn on(args: &Args, device: &Arc<dyn Device>) -> Said {
    let info = device.info();
    let zoned: Zoned<'_> = zoned(&**device)?;
    let (Some(nsid), Some(most)) = (zoned.nsid(), zoned.facts().append_bytes) else {
        return Err(not_native(&args.device, "zone appends").into());
    };
    let zone = start(&zoned, &**device, args.zone)?;
    let block = u64::from(info.block_bytes);
    let piece_bytes = args.effort.piece_within(block, u64::from(most) / block * block)?;
    let source = Source::open(&Wanted { from: &args.from, bytes: None, pad: args.pad }, info.block_bytes)?;
    if args.force.dry_run {
        let size = source.bytes.map_or_else(|| "all".to_owned(), format_size);
        let (from, piece) = (&source.name, format_size(piece_bytes as u64));
        let text = format!("would append {size} of {from} to the zone at block {zone:#x} of {}, {piece}", info.name);
        return Ok(text + " at once\n");
    }
    crate::signals::watch(|| {}).map_err(|source| Trouble::host("listen for signals", source))?;
    let mut channel = args.effort.channel::<Piece>(piece_bytes, args.effort.depth())?;
    let port = attach(&mut channel, &**device)?;
    let mut appending = Appending {
        source,
        nsid,
        zone,
        block: block as usize,
        next: Piece { number: 0, offset: 0, bytes: 0 },
        over: false,
        window: Window::new(),
        placed: Vec::new(),
        trouble: None,
    };
    let ended = appending.run(&mut channel, port);
    let text = printed_placed(args.output, &appending.placed);
    match ended {
        Ok(()) => Ok(text),
        Err(trouble) => Err(Cut { text, trouble }),
    }
}

/// A part of the input.
#[derive(Clone, Copy)]
struct Piece {
    number: u64,
    offset: u64,
    bytes: usize,
}

/// One appending.
struct Appending {
    source: Source,
    nsid: u32,
    /// The first block of the zone.
    zone: u64,
    /// Bytes of a block.
    block: usize,
    next: Piece,
    /// Nothing more is to be sent.
    over: bool,
    window: Window<Option<Placed>>,
    /// In the order of the input.
    placed: Vec<Placed>,
    trouble: Option<Trouble>,
}

impl Appending {
    fn run(&mut self, channel: &mut Channel<Piece>, port: Port) -> Result<(), Trouble> {
        loop {
            self.fill(channel, port)?;
            if channel.in_flight() == 0 {
                break;
            }
            self.wait(channel)?;
            if stopped() {
                self.over = true;
                channel.cancel_all();
            }
        }
        match self.trouble.take() {
            Some(trouble) => Err(trouble),
            None if stopped() => Err(Trouble::Stopped),
            None => Ok(()),
        }
    }

    /// Reads from the source and appends as much as there is room for.
    fn fill(&mut self, channel: &mut Channel<Piece>, port: Port) -> Result<(), Trouble> {
        while !self.over && channel.in_flight() < channel.depth() {
            let Some(mut buf) = channel.buffer() else { return Ok(()) };
            let room = buf.len();
            let len = match self.source.read(&mut buf, self.block) {
                Ok(len) => len,
                Err(source) => {
                    self.over = true;
                    self.trouble = Some(Trouble::host(&format!("read {}", self.source.name), source));
                    return Ok(());
                }
            };
            let (whole, odd) = (len / self.block * self.block, len % self.block);
            self.over = len < room;
            if odd > 0 {
                let (name, block) = (&self.source.name, self.block);
                let why = format!("{name} ends {odd} bytes into a {block}-byte block");
                let hint = "These were not appended. Add --pad to fill it up.".to_owned();
                self.trouble.get_or_insert(Trouble::usage(why, hint));
            }
            if whole == 0 {
                return Ok(());
            }
            buf.set_len(whole);
            let sqe = Sqe::zone_append(self.nsid, self.zone, (whole / self.block) as u32);
            let piece = Piece { bytes: whole, ..self.next };
            self.next = Piece { number: piece.number + 1, offset: piece.offset + whole as u64, bytes: 0 };
            let mut native = Native { sqe, data: buf.into(), ..Native::default() };
            while let Err(back) = channel.command(port, native, piece) {
                assert!(back.why == Why::Full, "a zoned namespace takes native commands");
                native = back.native;
                // The device has less room than the channel. What was read cannot be read again: wait for some to end.
                self.wait(channel)?;
            }
        }
        Ok(())
    }

    fn wait(&mut self, channel: &mut Channel<Piece>) -> Result<(), Trouble> {
        let ended = channel.wait(Some(TICK), |_, done| self.ended(done));
        ended.map(drop).map_err(|source| Trouble::host("wait for the device", source))
    }

    fn ended(&mut self, done: Done<Piece>) {
        let Piece { number, offset, bytes } = done.context;
        let placed = match done.outcome {
            Ok(lba) => Some(Placed { offset, lba, blocks: (bytes / self.block) as u64 }),
            Err(failure) => {
                self.over = true;
                let cancelled = stopped() && failure == Failure::Cancelled;
                if !cancelled && self.trouble.is_none() {
                    let what = format!("append {} to the zone at block {:#x}", format_size(bytes as u64), self.zone);
                    self.trouble = Some(Trouble::Failed { what, failure });
                }
                None
            }
        };
        self.window.put(number, placed);
        while let Some(placed) = self.window.take() {
            self.placed.extend(placed);
        }
    }
}

/// What went where.
fn printed_placed(format: Format, placed: &[Placed]) -> String {
    if format == Format::Text {
        let line = |one: &Placed| {
            let last = one.lba + one.blocks - 1;
            format!("{:>12}  blocks {:#x} to {last:#x}\n", one.offset, one.lba)
        };
        return placed.iter().map(line).collect();
    }
    let mut page = Object::page();
    let object = |one: &Placed| {
        let mut object = Object::new();
        object.number("offset", one.offset);
        object.number("slba", one.lba);
        object.number("blocks", one.blocks);
        object
    };
    page.list("appends", placed.iter().map(object));
    printed(format, &page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_lines_or_objects() {
        let placed = [Placed { offset: 0, lba: 0x804, blocks: 4 }, Placed { offset: 16_384, lba: 0x800, blocks: 1 }];
        let text = printed_placed(Format::Text, &placed);
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        assert_eq!(lines, ["0  blocks 0x804 to 0x807", "16384  blocks 0x800 to 0x800"]);
        let json: serde_json::Value = serde_json::from_str(&printed_placed(Format::Json, &placed)).expect("JSON");
        assert_eq!(json["appends"][1]["slba"], 0x800);
        assert_eq!((&json["schema"], json["appends"].as_array().map(Vec::len)), (&1.into(), Some(2)));
    }
}
