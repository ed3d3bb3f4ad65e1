//! The zones of a namespace, by its own commands.

use wire::nvme::identify::{cns, csi};
use wire::nvme::zns::{ZnsIdentifyController, ZnsIdentifyNamespace, ZoneDescriptor, ZoneReport};
use wire::nvme::{IDENTIFY_BYTES, IdDescriptorList, IdentifyNamespace, Sqe};
use wire::zerocopy::FromBytes;

use super::{WhichZone, ZoneAction, ZoneError, ZoneFacts};
use crate::channel::{self, Port};
use crate::limits::{NATIVE_PAGE_BYTES, ZONE_REPORT_BYTES};
use crate::{Channel, ChannelOptions, Device, Failure, Nvme, Transfer};

/// A queue for the commands.
pub(super) struct Native {
    channel: Channel<()>,
    port: Port,
    pub(super) nsid: u32,
    report_bytes: u32,
}

/// What the namespace says of its zones; `None` if its command set is another one.
pub(super) fn open(device: &dyn Device, nvme: &dyn Nvme) -> Result<Option<(Native, ZoneFacts)>, ZoneError> {
    let Some(nsid) = nvme.nsid() else { return Ok(None) };
    let info = device.info();
    let identify = |cns, nsid, csi| -> Result<Vec<u8>, ZoneError> {
        let mut page = vec![0; IDENTIFY_BYTES];
        nvme.admin(Sqe::identify(cns, nsid, csi, 0), Transfer::In(&mut page))?;
        Ok(page)
    };
    let page = identify(cns::NAMESPACE_DESCRIPTORS, nsid, 0)?;
    let descriptors = IdDescriptorList::ref_from_bytes(&page).expect("an Identify structure is one page");
    if descriptors.parse().ok().and_then(|ids| ids.csi) != Some(csi::ZNS) {
        return Ok(None);
    }
    let page = identify(cns::NAMESPACE, nsid, 0)?;
    let namespace = IdentifyNamespace::ref_from_bytes(&page).expect("an Identify structure is one page");
    let page = identify(cns::COMMAND_SET_NAMESPACE, nsid, csi::ZNS)?;
    let zns = ZnsIdentifyNamespace::ref_from_bytes(&page).expect("an Identify structure is one page");
    let page = identify(cns::COMMAND_SET_CONTROLLER, 0, csi::ZNS)?;
    let controller = ZnsIdentifyController::ref_from_bytes(&page).expect("an Identify structure is one page");
    let format = zns.lbafe.get(namespace.format_index());
    let zone_blocks = format.map_or(0, |format| format.zsze.get());
    if zone_blocks == 0 || zone_blocks > info.blocks {
        let why = format!("zones of {zone_blocks} blocks on {} blocks", info.blocks);
        return Err(ZoneError::Answer(why));
    }
    // 0's based; all ones are no limit.
    let limit = |field: u32| field.checked_add(1);
    let facts = ZoneFacts {
        zone_blocks,
        zones: info.blocks / zone_blocks,
        max_open: limit(zns.mor.get()),
        max_active: limit(zns.mar.get()),
        append_bytes: Some(append_bytes(controller.zasl, info.max_transfer_bytes)),
    };
    let report_bytes = ZONE_REPORT_BYTES.min(info.max_transfer_bytes);
    let options = ChannelOptions { depth: 1, buffer_bytes: report_bytes as usize, ..ChannelOptions::default() };
    let mut channel = Channel::new(&options)?;
    let port = channel.attach(device)?;
    Ok(Some((Native { channel, port, nsid, report_bytes }, facts)))
}

/// Largest append: 2^ZASL pages, or as the largest transfer if that is 0.
fn append_bytes(zasl: u8, most: u32) -> u32 {
    let limit = NATIVE_PAGE_BYTES.checked_shl(u32::from(zasl)).filter(|bytes| *bytes > 0 && zasl > 0 && zasl < 32);
    limit.unwrap_or(u32::MAX).min(most)
}

impl Native {
    /// At most `most` zones from the one that starts with block `slba` on: as many as one command tells.
    pub(super) fn report(&mut self, slba: u64, most: u64) -> Result<Vec<ZoneDescriptor>, ZoneError> {
        let bytes = most.saturating_mul(size_of::<ZoneDescriptor>() as u64) + ZoneReport::HEADER_BYTES as u64;
        let bytes = bytes.min(u64::from(self.report_bytes)) as usize;
        let mut buf = self.channel.buffer().expect("the one buffer is back after every call");
        buf.set_len(bytes);
        buf.fill(0);
        let sqe = Sqe::zone_report(self.nsid, slba, bytes as u32, true);
        let page = self.call(channel::Native { sqe, data: buf.into(), ..Default::default() })?;
        let page = page.expect("the buffer comes back");
        let report = ZoneReport::new(&page, 0).expect("there is room for its header");
        Ok(report.iter().map(|(zone, _)| *zone).collect())
    }

    pub(super) fn act(&mut self, action: ZoneAction, which: WhichZone) -> Result<(), ZoneError> {
        let (slba, all) = match which {
            WhichZone::At(slba) => (slba, false),
            WhichZone::All => (0, true),
        };
        let sqe = Sqe::zone_management_send(self.nsid, slba, action.code(), all);
        self.call(channel::Native { sqe, ..Default::default() }).map(drop)
    }

    fn call(&mut self, native: channel::Native) -> Result<Option<machine::region::Buf>, ZoneError> {
        let done = self.channel.call_native(self.port, native).map_err(|_| Failure::NotSupported)?;
        done.outcome?;
        Ok(done.data.one())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appends_are_as_large_as_the_controller_or_the_path_says() {
        let most = 1 << 20;
        assert_eq!(
            [0, 1, 8, 9, 20, 31, 32, 255].map(|zasl| append_bytes(zasl, most)),
            [most, 8192, most, most, most, most, most, most]
        );
        assert_eq!(append_bytes(5, most), 128 << 10);
    }
}
