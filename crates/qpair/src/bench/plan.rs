//! From what was asked and what the device is to what will be done - or to a sentence about why that cannot be.

use std::time::Duration;

use block::limits::MAX_PIECES;
use block::size::format_size;
use block::{Info, Range};
use machine::limits::BUFFER_ALIGN;
use machine::os;
use machine::reactor::{Mode, ReactorConfig};

use super::Args;
use super::lane::Seat;
use super::limits::{
    DEFAULT_SECS, DEFAULT_WARMUP_SECS, LAST_READ_BACK_LIMIT, MAX_BUFFER_BYTES, MAX_DEPTH, MAX_LEDGER_UNITS, MAX_QUEUES,
    MAX_RATE, MAX_REACTORS, MAX_ROUNDS, MAX_SECS, MAX_STEPS, MAX_TARGETS,
};
use super::live::Phase;
use super::workload::{Rw, share};
use super::zoned::{self, ZoneMap, Zones};

/// What every request to a target looks like.
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
    /// Most requests in flight on each queue, of all steps.
    pub(super) depth: usize,
    pub(super) seed: u64,
    pub(super) fua: bool,
    pub(super) verify: bool,
    /// Bytes are lent by the device, not carried.
    pub(super) lend: bool,
    /// Buffers of a request's scatter list, if it carries one.
    pub(super) iov: Option<usize>,
    /// What the length of each of those is a multiple of.
    pub(super) piece_bytes: usize,
    /// Requests that are due in a second, on all queues of the target.
    pub(super) rate: Option<f64>,
    /// The units lie in zones, which are written.
    pub(super) zones: Option<Zones>,
}

impl Shape {
    /// The logical blocks of a unit.
    #[inline]
    pub(super) fn range(&self, unit: u64) -> Range {
        let behind = match &self.zones {
            None => unit * self.unit_blocks,
            Some(zones) => unit / zones.units * zones.stride + unit % zones.units * self.unit_blocks,
        };
        Range { lba: self.first_lba + behind, blocks: self.unit_blocks }
    }

    /// The units that queue `index` of `queues` walks over, whole zones where there are some.
    pub(super) fn share(&self, index: usize, queues: usize) -> std::ops::Range<u64> {
        let Some(zones) = self.zones else { return share(self.units, index, queues) };
        let share = share(self.units / zones.units, index, queues);
        share.start * zones.units..share.end * zones.units
    }

    /// Requests are zone appends, of which only their ends tell where they went.
    pub(super) fn appends(&self) -> bool {
        self.zones.is_some_and(|zones| zones.append)
    }

    /// The byte on the device where a unit starts.
    #[inline]
    pub(super) fn address(&self, unit: u64) -> u64 {
        self.range(unit).lba * u64::from(self.block_bytes)
    }

    /// Mixed workloads have buffers for reads and for writes, so that what is written stays noise; with verification
    /// every write fills its buffer anyway.
    pub(super) fn split(&self) -> bool {
        self.rw.mixed() && !self.verify && !self.lend
    }

    /// Transfers that a queue has buffers for: one or two for each slot, or one for whatever write is next.
    pub(super) fn transfers(&self) -> usize {
        match (self.lend, self.split()) {
            (true, _) => 1,
            (false, true) => 2 * self.depth,
            (false, false) => self.depth,
        }
    }

    /// Buffers of a queue.
    pub(super) fn buffers(&self) -> usize {
        self.transfers() * self.iov.unwrap_or(1)
    }

    /// The lengths of a transfer's buffers: as equal as they can be.
    pub(super) fn lengths(&self) -> impl Iterator<Item = usize> {
        let Self { unit_bytes, piece_bytes, .. } = *self;
        let (pieces, units) = (self.iov.unwrap_or(1), unit_bytes / piece_bytes);
        (0..pieces).map(move |at| ((at + 1) * units / pieces - at * units / pieces) * piece_bytes)
    }

    /// Bytes of the largest of them.
    pub(super) fn buffer_bytes(&self) -> usize {
        self.lengths().max().expect("there is one at least")
    }
}

/// When a stage is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// After this time.
    For(Duration),
    /// After so many requests.
    Count(u64),
    /// After every unit once.
    Sweep,
    /// The same after the wish to stop, which has been heard: within this time.
    LastSweep(Duration),
}

impl Goal {
    /// What reactor `reactor` of `reactors` does of it.
    pub(super) fn part(self, reactor: usize, reactors: usize) -> Self {
        match self {
            Self::Count(count) => {
                let part = share(count, reactor, reactors);
                Self::Count(part.end - part.start)
            }
            // Everybody takes the same time, and walks over the shares of its own queues.
            Self::For(_) | Self::Sweep | Self::LastSweep(_) => self,
        }
    }
}

/// A part of a run that begins and ends with nothing in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stage {
    pub(super) phase: Phase,
    pub(super) goal: Goal,
    /// Requests in flight on each queue.
    pub(super) depth: usize,
}

/// A run, checked against its devices.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// One for each target.
    pub(super) shapes: Vec<Shape>,
    /// Queues of each target.
    pub(super) queues: usize,
    /// The steps of the load curve; one if there is no curve.
    pub(super) depths: Vec<usize>,
    pub(super) fill: bool,
    pub(super) warmup: Option<Duration>,
    pub(super) goal: Goal,
    pub(super) reactors: Vec<ReactorConfig>,
}

/// Why a run cannot be, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{why}\n  {hint}")]
pub(super) struct Unusable {
    why: String,
    hint: String,
}

pub(super) fn unusable<T>(why: impl Into<String>, hint: impl Into<String>) -> Result<T, Unusable> {
    Err(Unusable { why: why.into(), hint: hint.into() })
}

impl Plan {
    /// Checks the arguments against the devices and their zones. `fresh` is the seed if none was given.
    pub(super) fn new(args: &Args, infos: &[&Info], maps: &[Option<ZoneMap>], fresh: u64) -> Result<Self, Unusable> {
        let targets = infos.len();
        let queues = args.queues.unwrap_or_else(|| args.reactors.div_ceil(targets));
        let fill = fills(args);
        check_dealing(args, targets, queues)?;
        check_identities(args, infos)?;
        let mut shapes = Vec::with_capacity(targets);
        for (number, info) in infos.iter().enumerate() {
            let shape = Shape { rate: args.rate.map(|rate| rate / targets as f64), ..shape(args, info, fresh)? };
            // What belongs to another target is to be told apart.
            let shape = Shape { seed: shape.seed.wrapping_add(number as u64), ..shape };
            shapes.push(zoned::lay_out(args, &info.name, shape, maps[number].as_ref(), queues)?);
            check_range(args, queues, &shapes[number])?;
        }
        let buffers = queues * shapes.iter().map(Shape::buffers).sum::<usize>();
        let each = shapes.iter().map(Shape::buffer_bytes).max().expect("there is a target");
        // They start at pages.
        let each = if args.iov.is_some() { each.next_multiple_of(BUFFER_ALIGN) } else { each } as u64;
        if (buffers as u64).saturating_mul(each) > MAX_BUFFER_BYTES {
            let (each, most) = (format_size(each), format_size(MAX_BUFFER_BYTES));
            return unusable(
                format!("{buffers} buffers of {each} are more than {most}"),
                "Use a smaller --bs, --qd, --iov or --queues.",
            );
        }
        let (goal, default_warmup) = match (args.count, args.secs) {
            (Some(count), _) => (Goal::Count(count), 0.0),
            (None, secs) => (Goal::For(Duration::from_secs_f64(secs.unwrap_or(DEFAULT_SECS))), DEFAULT_WARMUP_SECS),
        };
        let warmup = Duration::from_secs_f64(args.warmup.unwrap_or(default_warmup));
        let warmup = (!warmup.is_zero()).then_some(warmup);
        Ok(Self { shapes, queues, depths: args.qd.clone(), fill, warmup, goal, reactors: reactors(args)? })
    }

    /// What is done, in order: a ramp and a measurement for each step.
    pub(super) fn stages(&self) -> Vec<Stage> {
        let deepest = self.depths.iter().copied().max().expect("there is a step");
        let sweep = |phase| Stage { phase, goal: Goal::Sweep, depth: deepest };
        let shape = &self.shapes[0];
        let mut stages = Vec::new();
        if self.fill {
            stages.push(sweep(Phase::Fill));
        }
        for &depth in &self.depths {
            stages.extend(self.warmup.map(|time| Stage { phase: Phase::WarmUp, goal: Goal::For(time), depth }));
            stages.push(Stage { phase: Phase::Measure, goal: self.goal, depth });
        }
        if shape.verify && shape.reads_percent < 100 {
            stages.push(sweep(Phase::ReadBack));
        }
        stages
    }

    /// What is done yet when somebody wants the run to end before that.
    pub(super) fn last_stage(&self) -> Option<Stage> {
        let stage = self.stages().pop()?;
        let goal = Goal::LastSweep(LAST_READ_BACK_LIMIT);
        (stage.phase == Phase::ReadBack).then_some(Stage { goal, ..stage })
    }

    /// The queues of reactor `reactor`, by target: all queues are dealt out one after the other.
    pub(super) fn deal(&self, reactor: usize) -> Vec<(usize, Vec<Seat>)> {
        let seats = |target: usize| {
            let mine = (0..self.queues).filter(|index| (target * self.queues + index) % self.reactors.len() == reactor);
            (target, mine.map(|index| Seat { index, queues: self.queues }).collect::<Vec<_>>())
        };
        (0..self.shapes.len()).map(seats).filter(|(_, seats)| !seats.is_empty()).collect()
    }
}

/// A workload that only reads has nothing to compare with unless the range is written first.
pub(super) fn fills(args: &Args) -> bool {
    args.fill || (args.verify && args.rw.reads_percent(args.mix) == 100)
}

fn reactors(args: &Args) -> Result<Vec<ReactorConfig>, Unusable> {
    let allowed = os::allowed_cpus();
    if let Some(missing) = args.cpus.iter().find(|cpu| !allowed.contains(cpu)) {
        return unusable(
            format!("--cpus: processor {missing} is not available here"),
            format!("Choose from {allowed:?}."),
        );
    }
    if !args.cpus.is_empty() && args.cpus.len() < args.reactors {
        return unusable(
            format!("--cpus names {} processors for {} reactors", args.cpus.len(), args.reactors),
            "Name one for each reactor, or none.",
        );
    }
    let wish = args.dedicated.then_some(Mode::Dedicated).or(args.shared.then_some(Mode::Shared));
    let mode = Mode::choose(wish, args.reactors, allowed.len());
    let reactor = |number| ReactorConfig {
        name: format!("bench-{number}"),
        cpu: args.cpus.get(number).copied(),
        mode,
        ring: args.ring,
    };
    Ok((0..args.reactors).map(reactor).collect())
}

fn check_dealing(args: &Args, targets: usize, queues: usize) -> Result<(), Unusable> {
    if targets > MAX_TARGETS {
        return unusable(format!("{targets} targets are more than {MAX_TARGETS}"), "Name fewer.");
    }
    if args.qd.len() > MAX_STEPS {
        return unusable(format!("--qd has {} steps, more than {MAX_STEPS}", args.qd.len()), "Use fewer.");
    }
    if queues * targets < args.reactors {
        return unusable(
            format!("{} queues cannot keep {} reactors busy", queues * targets, args.reactors),
            format!("Use --queues {} or more, or fewer --reactors.", args.reactors.div_ceil(targets)),
        );
    }
    Ok(())
}

/// What is written by one name would be a miscompare by the other.
fn check_identities(args: &Args, infos: &[&Info]) -> Result<(), Unusable> {
    for (number, info) in infos.iter().enumerate() {
        let twin = infos[..number].iter().find(|other| other.identity == info.identity);
        if let (true, Some(twin)) = (args.verify, twin) {
            return unusable(
                format!("{} and {} are the same disk, and --verify must know of every write", twin.name, info.name),
                "Name it once and use more --queues.",
            );
        }
    }
    Ok(())
}

fn check_range(args: &Args, queues: usize, shape: &Shape) -> Result<(), Unusable> {
    let walks = fills(args) || args.verify || !args.rw.random();
    if walks && shape.units < queues as u64 {
        return unusable(
            format!("{queues} queues cannot share {} blocks of {}", shape.units, format_size(args.bs)),
            "Use fewer --queues, a smaller --bs or a larger --size.",
        );
    }
    if args.verify && shape.units > MAX_LEDGER_UNITS {
        return unusable(
            format!("--verify can remember {MAX_LEDGER_UNITS} blocks, and the range has {}", shape.units),
            format!("Use --size {} or a larger --bs.", format_size(MAX_LEDGER_UNITS * args.bs).replace(' ', "")),
        );
    }
    Ok(())
}

/// Cuts the range into units.
fn shape(args: &Args, info: &Info, fresh: u64) -> Result<Shape, Unusable> {
    let (block, bs) = (u64::from(info.block_bytes), args.bs);
    if info.features.read_only && (fills(args) || args.rw.reads_percent(args.mix) < 100) {
        return unusable(
            format!("{} is read-only, and this run writes", info.name),
            "Use --rw read or --rw randread without --fill and --verify.",
        );
    }
    if args.lend && !info.features.lends {
        return unusable(format!("{} does not lend its memory", info.name), "Use --lend with ram: and null: only.");
    }
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
    let most = bs / u64::from(info.piece_bytes);
    if let Some(pieces) = args.iov.filter(|&pieces| pieces as u64 > most) {
        return unusable(
            format!("--bs {bs} has no {pieces} pieces of {} bytes, as the device wants them to be", info.piece_bytes),
            format!("Use --iov {most} or less, or a larger --bs."),
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
        depth: args.qd.iter().copied().max().expect("clap wants one"),
        seed: args.seed.unwrap_or(fresh),
        fua: args.fua,
        verify: args.verify,
        lend: args.lend,
        iov: args.iov,
        piece_bytes: info.piece_bytes as usize,
        rate: None,
        zones: None,
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

/// For `--rate`: requests in a second, also as 10k or 2M.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    let (number, unit) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 1e3),
        Some((at, 'm' | 'M')) => (&text[..at], 1e6),
        _ => (text, 1.0),
    };
    let rate = number.parse::<f64>().ok().map(|number| number * unit).filter(|rate| (1.0..=MAX_RATE).contains(rate));
    rate.ok_or_else(|| format!("requests in a second, from 1 to {MAX_RATE}, as 5000, 50k or 1.5M"))
}

/// For `--reactors`.
pub(super) fn reactor_count(text: &str) -> Result<usize, String> {
    up_to(text, "the number of reactors", MAX_REACTORS)
}

/// For `--iov`.
pub(super) fn pieces(text: &str) -> Result<usize, String> {
    up_to(text, "the number of pieces", MAX_PIECES)
}

/// For `--rounds`.
pub(super) fn rounds(text: &str) -> Result<usize, String> {
    up_to(text, "the number of rounds", MAX_ROUNDS)
}

/// For `--queues`.
pub(super) fn queues(text: &str) -> Result<usize, String> {
    up_to(text, "the number of queues", MAX_QUEUES)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use block::spec::Spec;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    pub(in crate::bench) fn args(line: &str) -> Args {
        let words = std::iter::once("bench").chain(line.split_whitespace());
        Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}")).args
    }

    fn plan(line: &str) -> Result<Plan, String> {
        let args = args(line);
        plan_with(&args, &vec![None; args.targets.len()])
    }

    /// The plan for targets with such zones.
    pub(in crate::bench) fn plan_with(args: &Args, maps: &[Option<ZoneMap>]) -> Result<Plan, String> {
        let open = |text: &String| text.parse::<Spec>().and_then(|spec| spec.open(&Default::default()));
        let devices: Vec<_> = args.targets.iter().map(|text| open(text).expect("a device")).collect();
        let infos: Vec<_> = devices.iter().map(|device| device.info()).collect();
        Plan::new(args, &infos, maps, 1).map_err(|error| error.to_string())
    }

    fn phases(line: &str) -> Vec<Phase> {
        plan(line).expect("a plan").stages().into_iter().map(|stage| stage.phase).collect()
    }

    #[test]
    fn defaults() {
        let plan = plan("null:1GiB").expect("a plan");
        let shape = &plan.shapes[0];
        assert_eq!((shape.unit_bytes, shape.depth, plan.queues, shape.units), (4096, 32, 1, 1 << 18));
        assert_eq!((shape.rw, shape.reads_percent, shape.seed), (Rw::RandRead, 100, 1));
        assert_eq!((plan.shapes.len(), plan.reactors.len(), plan.depths.as_slice()), (1, 1, [32].as_slice()));
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
    fn a_curve_has_a_ramp_and_a_measurement_for_each_depth() {
        let plan = plan("null:1GiB --qd 1,64,4 --secs 2 --warmup 0.1 --verify --rw randwrite --fill").expect("a plan");
        assert_eq!((plan.shapes[0].depth, plan.depths.as_slice()), (64, [1, 64, 4].as_slice()));
        let steps: Vec<_> = plan.stages().iter().map(|stage| (stage.phase, stage.depth)).collect();
        let (ramp, measure) = (Phase::WarmUp, Phase::Measure);
        let curve = [(ramp, 1), (measure, 1), (ramp, 64), (measure, 64), (ramp, 4), (measure, 4)];
        assert_eq!((steps[0], &steps[1..7], steps[7]), ((Phase::Fill, 64), curve.as_slice(), (Phase::ReadBack, 64)));
    }

    #[test]
    fn every_queue_is_dealt_to_one_reactor_and_no_reactor_has_two_more_than_another() {
        for (targets, queues, reactors) in [(1, 1, 1), (1, 5, 2), (2, 2, 2), (3, 1, 2), (3, 4, 5), (1, 8, 8)] {
            let line = format!("{}--queues {queues} --reactors {reactors}", "null:1GiB ".repeat(targets));
            let plan = plan(&line).expect("a plan");
            let mut seen = vec![vec![0; queues]; targets];
            let mut counts = Vec::new();
            for reactor in 0..reactors {
                let dealt = plan.deal(reactor);
                counts.push(dealt.iter().map(|(_, seats)| seats.len()).sum::<usize>());
                for (target, seat) in
                    dealt.iter().flat_map(|(target, seats)| seats.iter().map(move |seat| (target, seat)))
                {
                    assert_eq!(seat.queues, queues);
                    seen[*target][seat.index] += 1;
                }
            }
            assert!(seen.iter().flatten().all(|&count| count == 1), "{line}: {seen:?}");
            let (least, most) = (counts.iter().min(), counts.iter().max());
            assert!(most <= least.map(|least| least + 1).as_ref(), "{line}: {counts:?}");
        }
        // The queues of a target are spread, not all on one reactor.
        assert_eq!(plan("null:1GiB null:1GiB --queues 2 --reactors 2").expect("a plan").deal(0).len(), 2);
    }

    #[test]
    fn without_a_wish_every_reactor_has_a_queue() {
        let queues = |line| plan(line).expect("a plan").queues;
        assert_eq!(queues("null:1GiB --reactors 3"), 3);
        assert_eq!(queues("null:1GiB null:1GiB --reactors 3"), 2);
        assert_eq!(queues("null:1GiB null:1GiB"), 1);
    }

    #[test]
    fn counts_are_divided_without_remainder_and_times_are_not() {
        let parts = (0..3).map(|reactor| Goal::Count(1000).part(reactor, 3));
        let count = |goal| if let Goal::Count(count) = goal { count } else { panic!("a count stays one") };
        assert_eq!(parts.map(count).sum::<u64>(), 1000);
        let time = Goal::For(Duration::from_secs(1));
        assert_eq!((time.part(1, 3), Goal::Sweep.part(1, 3)), (time, Goal::Sweep));
    }

    #[test]
    fn targets_have_seeds_of_their_own_and_share_the_rate() {
        let plan = plan("null:1GiB null:1GiB --seed 9 --rate 30k").expect("a plan");
        assert_eq!((plan.shapes[0].seed, plan.shapes[1].seed), (9, 10));
        assert_eq!((plan.shapes[0].rate, rate("1.5M"), rate("200")), (Some(15e3), Ok(1.5e6), Ok(200.0)));
    }

    #[test]
    fn lent_memory_needs_a_device_that_lends_and_hardly_a_buffer() {
        let shape = plan("ram:1MiB --lend --rw randrw").expect("a plan").shapes[0];
        assert_eq!((shape.lend, shape.buffers(), shape.split()), (true, 1, false));
        assert_eq!(plan("ram:1MiB --rw randrw").expect("a plan").shapes[0].buffers(), 64);
        assert_eq!(plan("ram:1MiB --rw randrw --verify").expect("a plan").shapes[0].buffers(), 32);
    }

    #[test]
    fn buffers_are_cut_into_pieces() {
        let shape = plan("ram:1MiB --iov 3").expect("a plan").shapes[0];
        assert_eq!((shape.lengths().collect::<Vec<_>>(), shape.buffers()), (vec![1365, 1365, 1366], 96));
        let whole = plan("ram:1MiB").expect("a plan").shapes[0];
        assert_eq!((whole.lengths().collect::<Vec<_>>(), whole.buffers()), (vec![4096], 32));
        let sectors = Shape { piece_bytes: 512, ..shape };
        assert_eq!((sectors.lengths().collect::<Vec<_>>(), sectors.buffer_bytes()), (vec![1024, 1536, 1536], 1536));
        assert!(pieces("64").is_ok() && pieces("65").is_err() && pieces("0").is_err());
    }

    #[test]
    fn units_are_cut_from_the_range() {
        let shape = plan("null:1GiB --bs 8k --offset 12k --size 100k").expect("a plan").shapes[0];
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
            ("null:1TiB null:1TiB --bs 128k --qd 1,20000", "buffers", "smaller"),
            ("null:1GiB --queues 2 --reactors 3", "2 queues cannot keep 3 reactors", "--queues 3"),
            ("null:1GiB null:1GiB null:1GiB --queues 1 --reactors 4", "3 queues cannot", "--queues 2"),
            ("null:1GiB --reactors 2 --cpus 0", "names 1 processors for 2", "one for each"),
            ("null:1GiB --cpus 100000", "processor 100000 is not", "Choose from"),
        ] {
            let error = plan(line).expect_err(line);
            let (first, second) = error.split_once("\n  ").expect("two lines");
            assert!(first.contains(why) && second.contains(hint), "{line}: {error}");
        }
    }

    #[test]
    fn a_disk_with_two_names_is_not_verified() {
        let twins =
            format!("null:1GiB,uuid={0} null:2GiB,uuid={0} --size 1MiB", "6f1b6c4e-6f0c-4b0c-8d3a-000000000001");
        assert!(plan(&twins).is_ok());
        let error = plan(&format!("{twins} --verify")).expect_err("one writes what the other does not know");
        assert!(error.contains("are the same disk") && error.contains("more --queues"), "{error}");
    }

    #[test]
    fn mistyped_flags_are_refused() {
        for line in [
            "null:1GiB --qd 0",
            "null:1GiB --qd 1,,2",
            "null:1GiB --qd 1,65536",
            "null:1GiB --reactors 0",
            "null:1GiB --rate 0",
            "null:1GiB --rate 1G",
            "null:1GiB --rate k",
            "null:1GiB --cpus a",
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
        let cpu = os::allowed_cpus()[0];
        let plan = plan(&format!("null:1GiB --dedicated --cpu {cpu}")).expect("a plan");
        assert_eq!((plan.reactors[0].mode, plan.reactors[0].cpu), (Mode::Dedicated, Some(cpu)));
    }
}
