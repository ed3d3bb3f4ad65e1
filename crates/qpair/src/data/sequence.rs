//! Devices with zones: they are written one request at a time, from where the last one of the zone has ended.

use block::{Device, Zoned};
use wire::nvme::zns::{ZoneDescriptor, zone_state, zone_type};

use super::Effort;
use super::span::Span;
use super::trouble::Trouble;

/// The effort for writes from the start of the span on: one at a time if the device has zones.
///
/// # Errors
/// The zone at the start of the span does not take its next block there.
pub(super) fn effort(effort: &Effort, device: &dyn Device, span: Span) -> Result<Effort, Trouble> {
    // Who may not ask for zones, or gets no answer, will see what the device says to the writes.
    let Some(mut zoned) = Zoned::open(device).ok().flatten() else { return Ok(effort.clone()) };
    let info = device.info();
    let lba = span.start / u64::from(info.block_bytes);
    if let Some(zone) = zoned.report(lba, 1).ok().and_then(|zones| zones.first().copied()) {
        check(&zone, lba, &info.name)?;
    }
    Ok(Effort { qd: 1, ..effort.clone() })
}

/// Whether there is something to be read in all of the span. Of a file that is a zone (zonefs) only what is written can
/// be read; devices give zeros for the rest, or say themselves that they do not.
///
/// # Errors
/// The span reaches beyond what is written.
pub(super) fn readable(device: &dyn Device, span: Span) -> Result<(), Trouble> {
    let info = device.info();
    if info.kind != "file" || device.zoned_disk().is_none() {
        return Ok(());
    }
    let zone = Zoned::open(device).ok().flatten().and_then(|mut zoned| zoned.report(0, 1).ok()?.first().copied());
    let written = zone.map_or(u64::MAX, |zone| zone.wp.get());
    if (span.start + span.bytes).div_ceil(u64::from(info.block_bytes)) <= written {
        return Ok(());
    }
    let why = format!("{} is a zone of which {written} blocks are written, and no more can be read", info.name);
    Err(Trouble::usage(why, format!("Write --lba 0 --count {written}, or another part of them.")))
}

fn check(zone: &ZoneDescriptor, lba: u64, name: &str) -> Result<(), Trouble> {
    let (start, next) = (zone.zslba.get(), zone.wp.get());
    let refuse = |why: String, hint: &str| Err(Trouble::usage(format!("block {lba} of {name} {why}"), hint.to_owned()));
    match zone.state() {
        _ if zone.zt & 0xf != zone_type::SEQUENTIAL_WRITE_REQUIRED => Ok(()),
        state @ (zone_state::FULL | zone_state::READ_ONLY | zone_state::OFFLINE) => {
            let state = zone_state::name(state).expect("these have names");
            refuse(
                format!("is in a zone that is {state}"),
                "A zone that is full takes blocks again after `qpair zones reset`.",
            )
        }
        _ if next != lba => {
            let why = format!("is in a zone that is written in sequence, and {next} is the next");
            let hint =
                format!("Write --lba {next}, or empty the zone first: qpair zones reset {name} --zone {start:#x}");
            refuse(why, &hint)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_written_where_it_goes_on() {
        let zone = |zt: u8, state: u8, wp: u64| ZoneDescriptor {
            zt,
            zs: state << 4,
            zslba: 64.into(),
            wp: wp.into(),
            ..ZoneDescriptor::default()
        };
        let check = |zone: ZoneDescriptor, lba| check(&zone, lba, "disk").map_err(|trouble| trouble.to_string());
        let sequential = zone_type::SEQUENTIAL_WRITE_REQUIRED;
        assert_eq!(check(zone(sequential, zone_state::EMPTY, 64), 64), Ok(()));
        assert_eq!(check(zone(zone_type::CONVENTIONAL, zone_state::NO_WRITE_POINTER, 0), 70), Ok(()));
        let error = check(zone(sequential, zone_state::CLOSED, 66), 64).expect_err("it goes on at 66");
        assert!(error.contains("66 is the next") && error.contains("--lba 66") && error.contains("0x40"), "{error}");
        let error = check(zone(sequential, zone_state::FULL, 64), 64).expect_err("it is full");
        assert!(error.contains("a zone that is full"), "{error}");
    }
}
