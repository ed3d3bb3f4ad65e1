//! What a controller says of a namespace, whichever way it is asked: what it is, who it is, what it can do.

use uuid::Uuid;
use wire::nvme::identify::{oncs, vwc};
use wire::nvme::namespace::{dlfeat, nsattr, nsfeat};
use wire::nvme::nsid::Identifiers;
use wire::nvme::{IdentifyController, IdentifyNamespace, NvmIdentifyController};

use super::namespace::{Format, Namespace};
use crate::limits::MAX_COMMAND_BLOCKS;
use crate::{CopyLimits, Features, Identity, Info};

/// What was read of a controller and of a namespace.
#[derive(Clone, Copy)]
pub(super) struct Pages<'a> {
    pub(super) controller: &'a IdentifyController,
    /// All zeros where the controller has none.
    pub(super) limits: &'a NvmIdentifyController,
    pub(super) namespace: &'a IdentifyNamespace,
    /// CAP.MPSMIN: limits count in pages of 2^(12 + MPSMIN) bytes.
    pub(super) mpsmin: u8,
}

impl Pages<'_> {
    /// What a device tells of itself.
    pub(super) fn info(&self, name: String, kind: &'static str, namespace: &Namespace, identity: Identity) -> Info {
        let id = self.namespace;
        Info {
            name,
            kind,
            block_bytes: namespace.block_bytes,
            blocks: namespace.blocks,
            preferred_blocks: preferred_blocks(id),
            atomic_blocks: 1,
            max_transfer_bytes: namespace.max_transfer_bytes,
            piece_bytes: 1,
            features: Features {
                read_only: namespace.read_only,
                volatile_cache: self.controller.vwc & vwc::PRESENT != 0,
                lends: false,
                zeros_after_deallocate: namespace.deallocate > 0 && id.dlfeat & 0b111 == dlfeat::READ_ZEROS,
                thin: id.nsfeat & nsfeat::THIN != 0,
                compare: namespace.compare,
                verify: namespace.verify > 0,
                write_uncorrectable: namespace.write_uncorrectable > 0,
                copy: namespace.copy,
            },
            identity,
        }
    }

    /// What the queues need to know, if its blocks are ones that we can work with; no transfer larger than `most`
    /// bytes.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence.
    pub(super) fn namespace(&self, nsid: u32, most: u64) -> Result<Namespace, String> {
        let Self { controller, limits, namespace: id, mpsmin } = *self;
        let format = Format::of(id);
        let block_bytes = match id.format().bytes() {
            Some(bytes @ (512 | 4096)) => bytes,
            Some(bytes) => return Err(format!("its blocks have {bytes} bytes; this host knows 512 and 4096")),
            None => return Err(format!("its blocks have 2^{} bytes, which is no valid size", id.format().lbads)),
        };
        let blocks = id.nsze.get();
        if blocks == 0 || blocks.checked_mul(u64::from(block_bytes)).is_none() {
            return Err(format!("its size of {blocks} blocks is not valid"));
        }
        let largest = controller.max_transfer_bytes(mpsmin).unwrap_or(u64::MAX);
        let largest = largest.min(MAX_COMMAND_BLOCKS * u64::from(block_bytes)).min(most);
        let can = |bit| controller.oncs.get() & bit != 0;
        // A limit is a power of two of pages of 2^(12 + MPSMIN) bytes; 0 is none.
        let without_data = |can: bool, exponent: u8| match (can, exponent) {
            (false, _) => 0,
            (true, 0) => MAX_COMMAND_BLOCKS,
            (true, _) => {
                let bytes = 1u64.checked_shl(12 + u32::from(mpsmin) + u32::from(exponent)).unwrap_or(u64::MAX);
                (bytes / u64::from(block_bytes)).min(MAX_COMMAND_BLOCKS)
            }
        };
        // With metadata, these would need what a block request does not bring along.
        let bare = format.is_bare();
        Ok(Namespace {
            nsid,
            block_bytes,
            format,
            blocks,
            max_transfer_bytes: u32::try_from(largest).unwrap_or(u32::MAX),
            in_capsule_bytes: controller.in_capsule_bytes(),
            read_only: id.nsattr & nsattr::WRITE_PROTECTED != 0,
            compare: bare && can(oncs::COMPARE),
            write_zeroes: without_data(can(oncs::WRITE_ZEROES), limits.wzsl),
            verify: without_data(bare && can(oncs::VERIFY), limits.vsl),
            write_uncorrectable: without_data(can(oncs::WRITE_UNCORRECTABLE), limits.wusl),
            deallocate: if can(oncs::DSM) { deallocation(limits) } else { 0 },
            copy: if bare && can(oncs::COPY) { copies(controller, id, block_bytes) } else { None },
        })
    }
}

/// Who the namespace is, by its descriptors `ids` and by the old fields of Identify Namespace.
pub(super) fn identifiers(mut ids: Identifiers, id: &IdentifyNamespace) -> Identifiers {
    let some = |nguid: [u8; 16]| (nguid != [0; 16]).then_some(nguid);
    ids.nguid = ids.nguid.and_then(some).or(some(id.nguid));
    ids.eui64 = ids.eui64.or(Some(id.eui64)).filter(|eui64| *eui64 != [0; 8]);
    ids
}

/// UUID and NGUID; what the namespace does not have follows from what it has, and in the end from `subnqn` and `nsid`.
pub(super) fn identity(subnqn: &str, nsid: u32, ids: &Identifiers) -> Identity {
    let derived = || match (ids.nguid, ids.eui64) {
        (Some(nguid), _) => Uuid::new_v8(nguid),
        (None, Some(eui64)) => uuid_of(&format!("{eui64:02x?}")),
        // No identifier at all: the same subsystem and number, the same disk.
        (None, None) => uuid_of(&format!("{subnqn} {nsid}")),
    };
    let uuid = ids.uuid.map(Uuid::from_bytes).filter(|uuid| !uuid.is_nil()).unwrap_or_else(derived);
    Identity { uuid, nguid: ids.nguid.unwrap_or_else(|| uuid.into_bytes()) }
}

/// A UUID (version 8) that follows from a name: two runs of FNV-1a with different beginnings, the second one stirred.
pub(super) fn uuid_of(name: &str) -> Uuid {
    let mut low: u64 = 0xcbf2_9ce4_8422_2325;
    let mut high: u64 = 0x9ae1_6a3b_2f90_404f;
    for byte in name.bytes() {
        low = (low ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        high = (high ^ low).rotate_left(23).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    Uuid::new_v8((u128::from(high) << 64 | u128::from(low)).to_be_bytes())
}

/// Most blocks that one range of Dataset Management deallocates.
fn deallocation(limits: &NvmIdentifyController) -> u64 {
    let stated = |limit: u64| if limit == 0 { u64::MAX } else { limit };
    u64::from(u32::MAX).min(stated(limits.dmrsl.get().into())).min(stated(limits.dmsl.get()))
}

/// What one Copy may copy. A controller has the command for all namespaces; limits of 0 mean that this one has not.
fn copies(controller: &IdentifyController, id: &IdentifyNamespace, block_bytes: u32) -> Option<CopyLimits> {
    const FORMAT_0: u16 = 1;
    let stated =
        CopyLimits { sources: u16::from(id.msrc) + 1, source_blocks: id.mssrl.get().into(), blocks: id.mcl.get() };
    let possible = controller.ocfs.get() & FORMAT_0 != 0 && stated.source_blocks > 0 && stated.blocks > 0;
    possible.then(|| stated.and(CopyLimits::most(block_bytes)))
}

/// The larger of NPWG and NPDG, where the namespace states them (NSFEAT bit 4); both count from 0.
fn preferred_blocks(id: &IdentifyNamespace) -> u32 {
    if id.nsfeat & nsfeat::OPTIMAL_IO == 0 { 1 } else { u32::from(id.npwg.get().max(id.npdg.get())) + 1 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wire::nvme::LbaFormat;
    use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

    use super::*;

    const MOST: u64 = 1 << 20;

    /// A page of random bytes; of the ones that decide most, each value is as likely as any other.
    fn page<T: FromBytes + IntoBytes + KnownLayout + Immutable + std::fmt::Debug>() -> impl Strategy<Value = Box<T>> {
        prop::collection::vec(prop_oneof![Just(0), any::<u8>()], size_of::<T>()).prop_map(|bytes| {
            let mut page = T::new_box_zeroed().expect("memory");
            page.as_mut_bytes().copy_from_slice(&bytes);
            page
        })
    }

    proptest! {
        /// Nothing that a device may say of itself is more than an error.
        #[test]
        fn any_pages_are_a_namespace_or_an_error(
            controller in page::<IdentifyController>(),
            limits in page::<NvmIdentifyController>(),
            mut id in page::<IdentifyNamespace>(),
            lbads in 0u8..16,
            mpsmin in 0u8..16,
        ) {
            id.lbaf.iter_mut().for_each(|format| format.lbads = lbads);
            let pages = Pages { controller: &controller, limits: &limits, namespace: &id, mpsmin };
            if let Ok(found) = pages.namespace(1, MOST) {
                let most = found.max_transfer_bytes;
                prop_assert!(u64::from(most) <= MOST && most >= found.block_bytes);
                let ids = identifiers(Identifiers::default(), &id);
                let info = pages.info(String::new(), "nvme", &found, identity("nqn", 1, &ids));
                prop_assert!(info.bytes() / u64::from(info.block_bytes) == found.blocks && info.preferred_blocks > 0);
            }
        }
    }

    #[test]
    fn limits_are_pages_and_blocks() {
        let mut controller = IdentifyController::new_zeroed();
        let all = oncs::WRITE_ZEROES | oncs::VERIFY | oncs::WRITE_UNCORRECTABLE | oncs::DSM | oncs::COPY;
        controller.oncs = all.into();
        let mut id = IdentifyNamespace::new_zeroed();
        id.nsze = 1000.into();
        id.lbaf[0] = LbaFormat::of_bytes(512);
        let mut limits = NvmIdentifyController::new_zeroed();
        let look = |controller: &IdentifyController, limits: &NvmIdentifyController, mpsmin| {
            Pages { controller, limits, namespace: &id, mpsmin }.namespace(1, MOST).expect("a namespace")
        };
        let describe = |limits: &NvmIdentifyController, mpsmin| {
            let found = look(&controller, limits, mpsmin);
            (found.verify, found.write_zeroes, found.write_uncorrectable, found.deallocate)
        };
        let (most, ranges) = (MAX_COMMAND_BLOCKS, u64::from(u32::MAX));
        assert_eq!(describe(&limits, 0), (most, most, most, ranges), "0 is no limit");
        (limits.vsl, limits.wzsl, limits.wusl) = (1, 5, 200);
        (limits.dmrsl, limits.dmsl) = (300.into(), 200.into());
        assert_eq!(describe(&limits, 0), (16, 256, most, 200));
        assert_eq!(describe(&limits, 1), (32, 512, most, 200), "pages of 8 KiB");
        controller.oncs = 0.into();
        let none = look(&controller, &limits, 0);
        assert_eq!((none.verify, none.write_zeroes, none.write_uncorrectable, none.deallocate), (0, 0, 0, 0));
        assert!(!none.compare && none.copy.is_none());
    }
}
