//! From what was asked and what the device is to what will be done - or to a sentence about why that cannot be.

use std::time::Duration;

use block::size::format_size;
use block::{Info, Range};
use machine::os;
use machine::reactor::{Mode, ReactorConfig};

use super::Args;
use super::engine::Goal;
use super::limits::{
    DEFAULT_SECS, DEFAULT_WARMUP_SECS, MAX_BUFFER_BYTES, MAX_DEPTH, MAX_LEDGER_UNITS, MAX_QUEUES, MAX_SECS,
};
use super::live::Phase;
use super::workload::Rw;

/// What every request looks like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) rw: Rw,
    pub(super) reads_percent: u8,
    /// Bytes of a request.
    pub(super) unit_bytes: usize,
    /// Bytes of a logical block.
    pub(super) block_bytes: u32,
    /// Logical blocks of a request.
    pub(super) unit_blocks: u64,
    /// Where unit 0 starts.
    pub(super) first_lba: u64,
    /// Units in the range.
    pub(super) units: u64,
    /// Requests in flight on each queue.
    pub(super) depth: usize,
    pub(super) seed: u64,
    pub(super) fua: bool,
    pub(super) verify: bool,
}

impl Shape {
    /// The logical blocks of a unit.
    #[inline]
    pub(super) fn range(&self, unit: u64) -> Range {
        Range { lba: self.first_lba + unit * self.unit_blocks, blocks: self.unit_blocks }
    }

    /// The byte on the device where a unit starts.
    #[inline]
    pub(super) fn address(&self, unit: u64) -> u64 {
        self.range(unit).lba * u64::from(self.block_bytes)
    }

    /// Mixed workloads have buffers for reads and for writes, so that what is written stays noise; with verification
    /// every write fills its buffer anyway.
    pub(super) fn buffers_per_slot(&self) -> usize {
        if self.rw.mixed() && !self.verify { 2 } else { 1 }
    }
}

/// A run, checked against the device.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) shape: Shape,
    pub(super) queues: usize,
    pub(super) fill: bool,
    pub(super) warmup: Option<Duration>,
    pub(super) goal: Goal,
    pub(super) reactor: ReactorConfig,
}

/// Why a run cannot be, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{why}\n  {hint}")]
pub(super) struct Unusable {
    why: String,
    hint: String,
}

fn unusable<T>(why: impl Into<String>, hint: impl Into<String>) -> Result<T, Unusable> {
    Err(Unusable { why: why.into(), hint: hint.into() })
}

impl Plan {
    /// Checks the arguments against the device. `fresh` is the seed if none was given.
    pub(super) fn new(args: &Args, info: &Info, fresh: u64) -> Result<Self, Unusable> {
        let reads_percent = args.rw.reads_percent(args.mix);
        // A read-only workload has nothing to compare with unless the range is written first.
        let fill = args.fill || (args.verify && reads_percent == 100);
        if info.features.read_only && (fill || reads_percent < 100) {
            return unusable(
                format!("{} is read-only, and this run writes", info.name),
                "Use --rw read or --rw randread without --fill and --verify.",
            );
        }
        let shape = shape(args, info, fresh)?;
        let (units, bs) = (shape.units, format_size(args.bs));
        let walks = fill || args.verify || !args.rw.random();
        if walks && units < args.queues as u64 {
            return unusable(
                format!("{} queues cannot share {units} blocks of {bs}", args.queues),
                "Use fewer --queues, a smaller --bs or a larger --size.",
            );
        }
        if args.verify && units > MAX_LEDGER_UNITS {
            return unusable(
                format!("--verify can remember {MAX_LEDGER_UNITS} blocks, and the range has {units}"),
                format!("Use --size {} or a larger --bs.", format_size(MAX_LEDGER_UNITS * args.bs).replace(' ', "")),
            );
        }
        let buffers = args.queues * shape.depth * shape.buffers_per_slot();
        if (buffers as u64).saturating_mul(args.bs) > MAX_BUFFER_BYTES {
            return unusable(
                format!("{buffers} buffers of {bs} are more than {}", format_size(MAX_BUFFER_BYTES)),
                "Use a smaller --bs, --qd or --queues.",
            );
        }
        let (goal, default_warmup) = match (args.count, args.secs) {
            (Some(count), _) => (Goal::Count(count), 0.0),
            (None, secs) => (Goal::For(Duration::from_secs_f64(secs.unwrap_or(DEFAULT_SECS))), DEFAULT_WARMUP_SECS),
        };
        let warmup = Duration::from_secs_f64(args.warmup.unwrap_or(default_warmup));
        let mode = Mode::choose(args.dedicated.then_some(Mode::Dedicated), 1, os::allowed_cpus().len());
        let reactor = ReactorConfig { name: "bench".to_owned(), cpu: args.cpu, mode, ring: args.ring };
        let warmup = (!warmup.is_zero()).then_some(warmup);
        Ok(Self { shape, queues: args.queues, fill, warmup, goal, reactor })
    }

    /// What is done, in order.
    pub(super) fn phases(&self) -> Vec<(Phase, Goal)> {
        let fill = self.fill.then_some((Phase::Fill, Goal::Sweep));
        let warmup = self.warmup.map(|time| (Phase::WarmUp, Goal::For(time)));
        let writes = self.shape.rw.reads_percent(self.shape.reads_percent) < 100;
        let read_back = (self.shape.verify && writes).then_some((Phase::ReadBack, Goal::Sweep));
        [fill, warmup, Some((Phase::Measure, self.goal)), read_back].into_iter().flatten().collect()
    }
}

/// Cuts the range into units.
fn shape(args: &Args, info: &Info, fresh: u64) -> Result<Shape, Unusable> {
    let (block, bs) = (u64::from(info.block_bytes), args.bs);
    if bs == 0 || !bs.is_multiple_of(block) {
        return unusable(
            format!("--bs {bs} is not a multiple of the device's blocks of {block} bytes"),
            format!("Use a multiple of {block}."),
        );
    }
    if bs > u64::from(info.max_transfer_bytes) {
        let limit = format_size(u64::from(info.max_transfer_bytes));
        return unusable(
            format!("--bs {} is more than the {limit} that the device takes at once", format_size(bs)),
            format!("Use --bs {} or less.", limit.replace(' ', "")),
        );
    }
    if !args.offset.is_multiple_of(block) || args.offset >= info.bytes() {
        return unusable(
            format!("--offset {} is not the start of a block of the device", args.offset),
            format!("Use a multiple of {block} below {}.", info.bytes()),
        );
    }
    let rest = info.bytes() - args.offset;
    let size = args.size.unwrap_or(rest);
    if size < bs || size > rest {
        return unusable(
            format!("a range of {size} bytes from offset {} is not possible on {} bytes", args.offset, info.bytes()),
            format!("Use a --size from {bs} (one --bs) to {rest}."),
        );
    }
    Ok(Shape {
        rw: args.rw,
        reads_percent: args.rw.reads_percent(args.mix),
        unit_bytes: usize::try_from(bs).expect("at most a 32-bit transfer limit"),
        block_bytes: info.block_bytes,
        unit_blocks: bs / block,
        first_lba: args.offset / block,
        units: size / bs,
        depth: args.qd,
        seed: args.seed.unwrap_or(fresh),
        fua: args.fua,
        verify: args.verify,
    })
}

/// Reads a number of seconds. `zero` is fine for a warm-up.
fn seconds(text: &str, zero: bool) -> Result<f64, String> {
    let number = text.strip_suffix('s').unwrap_or(text);
    match number.parse::<f64>() {
        Ok(secs) if (secs > 0.0 || (zero && secs == 0.0)) && secs <= MAX_SECS => Ok(secs),
        Ok(_) => Err(format!("a number of seconds up to {MAX_SECS}")),
        Err(_) => Err("write seconds as 5, 0.5 or 5s".to_owned()),
    }
}

/// For `--secs`.
pub(super) fn some_seconds(text: &str) -> Result<f64, String> {
    seconds(text, false)
}

/// For `--warmup`.
pub(super) fn any_seconds(text: &str) -> Result<f64, String> {
    seconds(text, true)
}

fn up_to(text: &str, what: &str, most: usize) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| format!("{what} is a number from 1 to {most}"))
}

/// For `--qd`.
pub(super) fn depth(text: &str) -> Result<usize, String> {
    up_to(text, "the depth of a queue", MAX_DEPTH)
}

/// For `--queues`.
pub(super) fn queues(text: &str) -> Result<usize, String> {
    up_to(text, "the number of queues", MAX_QUEUES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use block::spec::Spec;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn args(line: &str) -> Args {
        let words = std::iter::once("bench").chain(line.split_whitespace());
        Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}")).args
    }

    fn plan(line: &str) -> Result<Plan, String> {
        let args = args(line);
        let device = args.target.parse::<Spec>().and_then(|spec| spec.open(&Default::default())).expect("a device");
        Plan::new(&args, device.info(), 1).map_err(|error| error.to_string())
    }

    fn phases(line: &str) -> Vec<Phase> {
        plan(line).expect("a plan").phases().into_iter().map(|(phase, _)| phase).collect()
    }

    #[test]
    fn defaults() {
        let plan = plan("null:1GiB").expect("a plan");
        assert_eq!((plan.shape.unit_bytes, plan.shape.depth, plan.queues, plan.shape.units), (4096, 32, 1, 1 << 18));
        assert_eq!((plan.shape.rw, plan.shape.reads_percent, plan.shape.seed), (Rw::RandRead, 100, 1));
        assert!(matches!(plan.goal, Goal::For(time) if time == Duration::from_secs_f64(DEFAULT_SECS)));
    }

    #[test]
    fn phases_follow_from_what_is_asked() {
        use Phase::{Fill, Measure, ReadBack, WarmUp};
        assert_eq!(phases("null:1GiB"), [WarmUp, Measure]);
        assert_eq!(phases("null:1GiB --count 10"), [Measure]);
        assert_eq!(phases("null:1GiB --warmup 0"), [Measure]);
        assert_eq!(phases("null:1GiB --fill --count 1 --warmup 1s"), [Fill, WarmUp, Measure]);
        assert_eq!(phases("null:1GiB --verify"), [Fill, WarmUp, Measure]);
        assert_eq!(phases("null:1GiB --verify --rw randrw"), [WarmUp, Measure, ReadBack]);
        assert_eq!(phases("null:1GiB --verify --rw write --fill"), [Fill, WarmUp, Measure, ReadBack]);
    }

    #[test]
    fn units_are_cut_from_the_range() {
        let shape = plan("null:1GiB --bs 8k --offset 12k --size 100k").expect("a plan").shape;
        assert_eq!(shape.units, 12);
        assert_eq!((shape.address(0), shape.address(11)), (12 << 10, 100 << 10));
        assert_eq!(shape.range(1).blocks * u64::from(shape.block_bytes), 8 << 10);
    }

    #[test]
    fn what_cannot_be_is_said_with_a_way_out() {
        for (line, why, hint) in [
            ("null:1GiB --bs 1000", "not a multiple", "multiple of"),
            ("null:1GiB --bs 0", "not a multiple", "multiple of"),
            ("null:1GiB --bs 1GiB", "takes at once", "or less"),
            ("null:1GiB --offset 1GiB", "not the start", "below"),
            ("null:1GiB --offset 17", "not the start", "multiple"),
            ("null:1GiB --size 2GiB", "not possible", "--size from 4096"),
            ("null:1GiB --size 1k", "not possible", "--size from 4096"),
            ("null:1GiB,ro --rw randwrite", "read-only", "--rw read"),
            ("null:1GiB,ro --verify", "read-only", "--rw read"),
            ("null:1GiB --rw read --queues 4 --size 8k", "cannot share 2 blocks", "fewer"),
            ("null:1TiB --verify", "can remember", "--size 256GiB"),
            ("null:1TiB --bs 128k --qd 60000", "buffers", "smaller"),
        ] {
            let error = plan(line).expect_err(line);
            let (first, second) = error.split_once("\n  ").expect("two lines");
            assert!(first.contains(why) && second.contains(hint), "{line}: {error}");
        }
    }

    #[test]
    fn mistyped_flags_are_refused() {
        for line in [
            "null:1GiB --qd 0",
            "null:1GiB --queues 65",
            "null:1GiB --mix 101",
            "null:1GiB --secs 0",
            "null:1GiB --secs inf",
            "null:1GiB --secs NaN",
            "null:1GiB --warmup -1",
            "null:1GiB --count 0",
            "null:1GiB --count 5 --secs 5",
            "null:1GiB --bs 4q",
            "null:1GiB --rw sideways",
            "",
        ] {
            assert!(Cli::try_parse_from(std::iter::once("bench").chain(line.split_whitespace())).is_err(), "{line}");
        }
    }

    #[test]
    fn a_dedicated_reactor_never_sleeps() {
        let plan = plan("null:1GiB --dedicated --cpu 0").expect("a plan");
        assert_eq!((plan.reactor.mode, plan.reactor.cpu), (Mode::Dedicated, Some(0)));
    }
}
