//! Targets with zones: what the planner must know of them, and how a range of zones is cut into units.
//!
//! ```text
//!    zone                                      zone
//!   | unit 0 | unit 1 | ... | unit n-1 | rest | unit n | ...           n units in each zone, the same in all
//!   |<--------- capacity ------------------->|
//!   |<------------- stride ------------------------>|
//! ```
//!
//! Zones are written from their start to their end, so random writes are refused, and a run that writes begins with a
//! reset of all zones of its range. Each queue has zones of its own and fills some of them at a time:
//! [`super::filling`].

use std::error::Error;
use std::sync::Arc;

use block::size::format_size;
use block::{Device, WhichZone, ZoneAction, ZoneFacts, Zoned};
use wire::nvme::zns::{ZoneDescriptor, zone_state, zone_type};

use super::Args;
use super::limits::MAX_OPEN_ZONES;
use super::plan::{Plan, Shape, Unusable, fills, unusable};
use super::workload::Rw;

/// The zones of a target.
#[derive(Clone, Debug)]
pub(super) struct ZoneMap {
    pub(super) facts: ZoneFacts,
    /// The namespace, if native commands reach it.
    pub(super) nsid: Option<u32>,
    pub(super) zones: Vec<ZoneDescriptor>,
}

/// How the zones of a range are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Zones {
    /// Logical blocks from the start of a zone to the start of the next.
    pub(super) stride: u64,
    /// Units of each zone.
    pub(super) units: u64,
    /// Zones that each queue fills at a time.
    pub(super) open: usize,
    /// The units leave a rest of the capacity: a zone is not full after them, and has to be finished.
    pub(super) rest: bool,
    /// By Zone Append, and not by writes at the write pointer.
    pub(super) append: bool,
    /// For native commands; `None`: the kernel's calls.
    pub(super) nsid: Option<u32>,
}

/// The zones of each target, where it has some.
///
/// # Errors
/// Zones are to be appended to, and nothing is to be learned of them.
pub(super) fn maps(devices: &[Arc<dyn Device>], args: &Args) -> Result<Vec<Option<ZoneMap>>, Box<dyn Error>> {
    let map = |device: &Arc<dyn Device>| match map(&**device) {
        // Not every user may ask, and not everything that can be read or written has an answer.
        Err(error) if args.rw != Rw::Append => {
            tracing::debug!("{}: nothing is known of its zones: {error}", device.info().name);
            Ok(None)
        }
        Err(error) => Err(format!("{}: nothing is known of its zones: {error}", device.info().name).into()),
        Ok(map) => Ok(map),
    };
    devices.iter().map(map).collect()
}

fn map(device: &dyn Device) -> Result<Option<ZoneMap>, block::ZoneError> {
    let Some(mut zoned) = Zoned::open(device)? else { return Ok(None) };
    let zones = zoned.report(0, u64::MAX)?;
    Ok(Some(ZoneMap { facts: *zoned.facts(), nsid: zoned.nsid(), zones }))
}

/// Empties the zones that the run writes to.
///
/// # Errors
/// A device does not reset a zone.
pub(super) fn reset(devices: &[Arc<dyn Device>], plan: &Plan) -> Result<(), Box<dyn Error>> {
    for (device, shape) in devices.iter().zip(&plan.shapes) {
        let Some(zones) = shape.zones else { continue };
        let name = &device.info().name;
        let Some(mut zoned) = Zoned::open(&**device)? else {
            return Err(format!("{name} has no zones any more").into());
        };
        for zone in 0..shape.units / zones.units {
            let lba = shape.range(zone * zones.units).lba;
            zoned
                .act(ZoneAction::Reset, WhichZone::At(lba))
                .map_err(|error| format!("{name}: the zone at block {lba:#x} is not reset: {error}"))?;
        }
    }
    Ok(())
}

/// Refuses what a target with or without zones cannot do, and cuts the range of one that is written into units.
pub(super) fn lay_out(
    args: &Args,
    name: &str,
    shape: Shape,
    map: Option<&ZoneMap>,
    queues: usize,
) -> Result<Shape, Unusable> {
    let append = args.rw == Rw::Append;
    let Some(map) = map else {
        if append {
            return unusable(format!("{name} has no zones to append to"), "Name a zoned namespace: /dev/ngXnY.");
        }
        return Ok(shape);
    };
    if shape.reads_percent == 100 && !fills(args) {
        return Ok(shape);
    }
    if fills(args) || args.rw.random() || args.rw.mixed() {
        let hint = match fills(args) {
            true => "Write it first, with --rw append or --rw write; leave --fill out, and --verify of reads.",
            false => "Use --rw append or --rw write: both reset the zones and write them in sequence.",
        };
        return unusable(format!("{name} has zones, which take no writes but in sequence"), hint);
    }
    if append && map.nsid.is_none() {
        let hint = "Name the same namespace's own device, /dev/ngXnY, or use --rw write.";
        return unusable(format!("{name} is a block device, and those take no zone appends"), hint);
    }
    if let Some(most) = map.facts.append_bytes.filter(|&most| append && shape.unit_bytes as u64 > u64::from(most)) {
        let most = format_size(most.into());
        let why = format!("--bs {} is more than the {most} of a zone append", format_size(args.bs));
        return unusable(why, format!("Use --bs {} or less.", most.replace(' ', "")));
    }
    cut(args, name, shape, map, queues)
}

fn cut(args: &Args, name: &str, shape: Shape, map: &ZoneMap, queues: usize) -> Result<Shape, Unusable> {
    let stride = map.facts.zone_blocks;
    let bytes = |blocks: u64| format_size(blocks * u64::from(shape.block_bytes));
    if !shape.first_lba.is_multiple_of(stride) {
        let why = format!("--offset {} is not the start of a zone of {name}", args.offset);
        return unusable(why, format!("Use a multiple of {}.", bytes(stride).replace(' ', "")));
    }
    let first = shape.first_lba / stride;
    // Without a size to the end of the device, whose last zone may be shorter.
    let left = map.zones.len() as u64 - first;
    let count = args.size.map_or(left, |size| (size / u64::from(shape.block_bytes) / stride).min(left));
    if count < queues as u64 {
        let why = format!("the range of {name} has {count} whole zones of {}, for {queues} queues", bytes(stride));
        return unusable(why, "Use a larger --size, or fewer --queues.");
    }
    let inside = first as usize..(first + count) as usize;
    let mut capacity = u64::MAX;
    for zone in &map.zones[inside.clone()] {
        let written_in_sequence = zone.zt & 0xf != zone_type::CONVENTIONAL;
        if !written_in_sequence || matches!(zone.state(), zone_state::READ_ONLY | zone_state::OFFLINE) {
            let state = if written_in_sequence { zone_state::name(zone.state()) } else { Some("conventional") };
            let why =
                format!("the zone at block {:#x} of {name} is {}", zone.zslba, state.unwrap_or("of no known kind"));
            return unusable(why, "Choose a range without it, with --offset and --size.");
        }
        capacity = capacity.min(zone.zcap.get());
    }
    let units = capacity / shape.unit_blocks;
    if units == 0 {
        let why = format!("--bs {} is more than the {} that a zone takes", format_size(args.bs), bytes(capacity));
        return unusable(why, "Use a smaller --bs.");
    }
    let open = open_zones(name, map, &inside, queues)?.min(count as usize / queues);
    let rest = map.zones[inside].iter().any(|zone| zone.zcap.get() != units * shape.unit_blocks);
    let zones = Zones { stride, units, open, rest, append: args.rw == Rw::Append, nsid: map.nsid };
    Ok(Shape { units: count * units, zones: Some(zones), ..shape })
}

/// Zones that each queue may have open.
fn open_zones(name: &str, map: &ZoneMap, inside: &std::ops::Range<usize>, queues: usize) -> Result<usize, Unusable> {
    let outside = |states: &[u8]| {
        let others = map.zones.iter().enumerate().filter(|(number, _)| !inside.contains(number));
        others.filter(|(_, zone)| states.contains(&zone.state())).count()
    };
    let open = [zone_state::IMPLICITLY_OPENED, zone_state::EXPLICITLY_OPENED];
    let active = [open[0], open[1], zone_state::CLOSED];
    let left =
        |limit: Option<u32>, taken: usize| limit.map_or(usize::MAX, |limit| (limit as usize).saturating_sub(taken));
    let left = left(map.facts.max_open, outside(&open)).min(left(map.facts.max_active, outside(&active)));
    if left < queues {
        let why = format!("{name} can have {left} more zones open, and {queues} queues want one each");
        return unusable(why, "Use fewer --queues, or close or finish zones outside of the range.");
    }
    Ok((left / queues).min(MAX_OPEN_ZONES))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::plan::tests::{args, plan_with};

    /// Four zones of 256 blocks of 512 bytes that take 200 of them each.
    fn map() -> ZoneMap {
        let facts = ZoneFacts {
            zone_blocks: 256,
            zones: 4,
            max_open: Some(3),
            max_active: Some(4),
            append_bytes: Some(64 << 10),
        };
        let zone = |number: u64| ZoneDescriptor {
            zt: zone_type::SEQUENTIAL_WRITE_REQUIRED,
            zs: zone_state::EMPTY << 4,
            zcap: 200.into(),
            zslba: (number * 256).into(),
            ..ZoneDescriptor::default()
        };
        ZoneMap { facts, nsid: Some(1), zones: (0..4).map(zone).collect() }
    }

    fn planned(line: &str, map: ZoneMap) -> Result<Plan, String> {
        plan_with(&args(&format!("null:512KiB {line}")), &[Some(map)])
    }

    #[test]
    fn zones_are_cut_into_units_and_shared_by_the_queues() {
        let plan = planned("--rw append --bs 8k", map()).expect("a plan");
        let shape = plan.shapes[0];
        let zones = shape.zones.expect("it has zones");
        assert_eq!((zones.units, zones.stride, zones.open, zones.rest, shape.units), (12, 256, 3, true, 48));
        assert_eq!([0, 11, 12, 47].map(|unit| shape.range(unit).lba), [0, 176, 256, 768 + 176]);
        let plan = planned("--rw write --bs 50k --offset 128KiB --size 300KiB --queues 2", map()).expect("a plan");
        let shape = plan.shapes[0];
        let zones = shape.zones.expect("it has zones");
        assert_eq!((zones.units, zones.open, zones.rest, zones.append, shape.units), (2, 1, false, false, 4));
        assert_eq!(shape.range(3), block::Range { lba: 512 + 100, blocks: 100 });
        assert!(planned("--rw randread", map()).expect("a plan").shapes[0].zones.is_none());
    }

    #[test]
    fn what_zones_do_not_take_is_refused() {
        for (line, why, hint) in [
            ("--rw randwrite", "take no writes but in sequence", "--rw append or --rw write"),
            ("--rw randrw", "take no writes but in sequence", "--rw append or --rw write"),
            ("--rw rw", "take no writes but in sequence", "--rw append or --rw write"),
            ("--rw randread --fill", "take no writes but in sequence", "leave --fill out"),
            ("--rw read --verify", "take no writes but in sequence", "Write it first"),
            ("--rw append --bs 128k", "more than the 64 KiB of a zone append", "--bs 64KiB"),
            ("--rw write --bs 128k", "more than the 100 KiB that a zone takes", "smaller"),
            ("--rw write --offset 4k", "not the start of a zone", "multiple of 128KiB"),
            ("--rw write --size 100k", "0 whole zones of 128 KiB", "larger"),
            ("--rw write --queues 5", "4 whole zones", "fewer"),
            ("--rw write --queues 4", "3 more zones open, and 4 queues", "fewer"),
        ] {
            let error = planned(line, map()).expect_err(line);
            let (first, second) = error.split_once("\n  ").expect("two lines");
            assert!(first.contains(why) && second.contains(hint), "{line}: {error}");
        }
        let error = plan_with(&args("null:1MiB --rw append"), &[None]).expect_err("no zones");
        assert!(error.contains("has no zones"), "{error}");
        let disk = ZoneMap { nsid: None, ..map() };
        assert!(planned("--rw append", disk.clone()).expect_err("a block device").contains("no zone appends"));
        assert!(planned("--rw write", disk).is_ok());
    }

    #[test]
    fn zones_outside_of_the_range_count_for_what_may_be_open() {
        let mut map = map();
        map.zones[3].zs = zone_state::EXPLICITLY_OPENED << 4;
        map.zones[2].zs = zone_state::CLOSED << 4;
        let open = |line| planned(line, map.clone()).map(|plan| plan.shapes[0].zones.expect("it has zones").open);
        assert_eq!((open("--rw append --size 256KiB"), open("--rw append")), (Ok(2), Ok(3)));
        map.zones[1].zs = zone_state::OFFLINE << 4;
        let error = planned("--rw append", map).expect_err("a zone that is lost");
        assert!(error.contains("0x100 of null:512KiB is offline"), "{error}");
    }
}
