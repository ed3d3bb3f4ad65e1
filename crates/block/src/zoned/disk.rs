//! The zones of a block device, by the kernel's calls, in the form that a namespace's report has.

use std::fs::File;

use machine::zoned as kernel;
use wire::nvme::zns::{ZoneDescriptor, zone_attributes, zone_state};

use super::{WhichZone, ZoneAction, ZoneError, ZoneFacts};
use crate::limits::{SECTOR_BYTES, ZONE_REPORT_BYTES};
use crate::{Device, Failure};

/// What the kernel says of the zones.
pub(super) fn facts(device: &dyn Device, file: &File) -> Result<ZoneFacts, ZoneError> {
    let disk = kernel::disk(file)?;
    let Some(kernel::Disk { zone_sectors, zones, max_open, max_active }) = disk else {
        return Err(ZoneError::Answer("the kernel knows of none any more".to_owned()));
    };
    let sectors = sectors(device);
    if !zone_sectors.is_multiple_of(sectors) {
        let why = format!("zones of {zone_sectors} sectors, and blocks of {sectors}");
        return Err(ZoneError::Answer(why));
    }
    let (zone_blocks, zones) = (zone_sectors / sectors, zones.into());
    Ok(ZoneFacts { zone_blocks, zones, max_open, max_active, append_bytes: None })
}

/// Sectors of a logical block.
fn sectors(device: &dyn Device) -> u64 {
    u64::from(device.info().block_bytes) / SECTOR_BYTES as u64
}

/// At most `most` zones from the one that starts with block `lba` on: as many as one call tells.
pub(super) fn report(device: &dyn Device, file: &File, lba: u64, most: u64) -> Result<Vec<ZoneDescriptor>, ZoneError> {
    const MOST: u32 = ZONE_REPORT_BYTES / size_of::<ZoneDescriptor>() as u32;
    let most = most.min(u64::from(MOST)) as u32;
    let sectors = sectors(device);
    let zones = kernel::report(file, lba * sectors, most)?;
    Ok(zones.iter().map(|zone| descriptor(zone, sectors)).collect())
}

fn descriptor(zone: &kernel::Zone, sectors: u64) -> ZoneDescriptor {
    let &kernel::Zone { start, capacity, write_pointer, kind, state, reset_recommended } = zone;
    let blocks = |sector: u64| (sector / sectors).into();
    ZoneDescriptor {
        zt: kind & 0xf,
        zs: state << 4,
        za: if reset_recommended { zone_attributes::RESET_RECOMMENDED } else { 0 },
        zcap: blocks(capacity),
        zslba: blocks(start),
        wp: blocks(write_pointer),
        ..ZoneDescriptor::default()
    }
}

/// Does something with zones. With all of them: those in the states that Zone Management Send with Select All means
/// (ZNS 1.1, Zone Send Actions).
pub(super) fn act(
    device: &dyn Device,
    file: &File,
    facts: &ZoneFacts,
    action: ZoneAction,
    which: WhichZone,
) -> Result<(), ZoneError> {
    let Some(of_kernel) = action.of_kernel() else { return Err(Failure::NotSupported.into()) };
    let sectors = sectors(device);
    // The last zone may be shorter than the others.
    let end = |blocks: u64| blocks.min(device.blocks());
    let one = |lba: u64| -> Result<(), ZoneError> {
        let blocks = end(lba + facts.zone_blocks).saturating_sub(lba);
        Ok(kernel::act(file, of_kernel, lba * sectors, blocks * sectors)?)
    };
    match which {
        WhichZone::At(lba) => one(lba),
        // The kernel has one command for it.
        WhichZone::All if action == ZoneAction::Reset => {
            Ok(kernel::act(file, of_kernel, 0, device.blocks() * sectors)?)
        }
        WhichZone::All => {
            let mut next = 0;
            while next < end(facts.zones * facts.zone_blocks) {
                let part = report(device, file, next, u64::MAX)?;
                next += (part.len() as u64).max(1) * facts.zone_blocks;
                let meant = part.iter().filter(|zone| is_meant(action, zone.state()));
                meant.map(|zone| zone.zslba.get()).try_for_each(one)?;
            }
            Ok(())
        }
    }
}

/// Whether "all" of an action means zones in this state.
fn is_meant(action: ZoneAction, state: u8) -> bool {
    let open = matches!(state, zone_state::IMPLICITLY_OPENED | zone_state::EXPLICITLY_OPENED);
    match action {
        ZoneAction::Open => state == zone_state::CLOSED,
        ZoneAction::Close => open,
        ZoneAction::Finish => open || state == zone_state::CLOSED,
        ZoneAction::Reset => open || matches!(state, zone_state::CLOSED | zone_state::FULL),
        ZoneAction::Offline => state == zone_state::READ_ONLY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_of_the_kernels_looks_like_a_namespaces() {
        let zone = kernel::Zone {
            start: 0x2000,
            capacity: 0x1800,
            write_pointer: 0x2008,
            kind: 2,
            state: 0xe,
            reset_recommended: true,
        };
        let found = descriptor(&zone, 8);
        let numbers = [found.zslba, found.zcap, found.wp].map(|field| field.get());
        assert_eq!((found.zt, found.state(), found.za, numbers), (2, 0xe, 4, [0x400, 0x300, 0x401]));
    }

    #[test]
    fn all_zones_are_those_that_the_specification_means() {
        let meant = |action| (0..16).filter(|&state| is_meant(action, state)).collect::<Vec<u8>>();
        assert_eq!(meant(ZoneAction::Open), [4]);
        assert_eq!(meant(ZoneAction::Close), [2, 3]);
        assert_eq!(meant(ZoneAction::Finish), [2, 3, 4]);
        assert_eq!(meant(ZoneAction::Reset), [2, 3, 4, 14]);
        assert_eq!(meant(ZoneAction::Offline), [13]);
    }
}
