//! What the controller says of the namespace: whether it is one that this host can work with, what it is, and whether
//! it is still the one that it was before the connection broke.

use uuid::Uuid;
use wire::nvme::identify::{oncs, vwc};
use wire::nvme::namespace::{dlfeat, nsattr, nsfeat};
use wire::nvme::nsid::Identifiers;
use wire::nvme::{IdentifyController, IdentifyNamespace, NvmIdentifyController, Vs};

use super::admin::Admin;
use super::error::AdminError;
use super::limits::{MAX_COMMAND_BLOCKS, MAX_TRANSFER_BYTES, NAMESPACES_LISTED};
use super::namespace::Namespace;
use super::uri::{self, Uri};
use crate::{CopyLimits, Features, Identity, Info, OpenError};

/// What is known of a namespace through one controller.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) info: Info,
    pub(super) namespace: Namespace,
    /// The events that the controller can tell of.
    pub(super) oaes: u32,
}

/// Why a controller cannot give us the namespace.
#[derive(Debug)]
pub(super) enum Trouble {
    /// A step failed.
    Admin(AdminError),
    /// The namespace is not there, cannot be used, or is another one.
    Namespace { why: String, hint: String },
}

impl From<AdminError> for Trouble {
    fn from(error: AdminError) -> Self {
        Self::Admin(error)
    }
}

impl Trouble {
    fn refused(uri: &Uri, why: impl Into<String>) -> Self {
        Self::Namespace { why: why.into(), hint: format!("Look at how the target is set up for {}.", uri.hostnqn) }
    }

    /// Whether trying again is of no use: the target said so (DNR), or the namespace is not what it was.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Admin(AdminError::Status { status, .. }) => status.dnr,
            Self::Admin(_) => false,
            Self::Namespace { .. } => true,
        }
    }

    /// What is wrong, in one line.
    pub(super) fn why(&self) -> String {
        match self {
            Self::Admin(error) => error.to_string(),
            Self::Namespace { why, .. } => why.clone(),
        }
    }

    /// The error as a device's opener shows it.
    pub(super) fn at(self, uri: &Uri) -> OpenError {
        match self {
            Self::Admin(error) => error.at(uri),
            Self::Namespace { why, hint } => OpenError { device: uri.to_string(), why, hint, source: None },
        }
    }
}

/// Identifies controller and namespace: the one that `uri` names, or the only one.
pub(super) fn look(admin: &mut Admin, uri: &Uri) -> Result<Found, Trouble> {
    let controller = admin.identify_controller()?;
    let nsid = choose(admin, uri)?;
    let id = admin.identify_namespace(nsid)?;
    let ids = identifiers(admin, nsid, &id)?;
    let limits = admin.identify_nvm_controller()?;
    let described = describe(nsid, &controller, &limits, &id, admin.cap.mpsmin());
    let namespace = described.map_err(|why| Trouble::refused(uri, why))?;
    let info = Info {
        name: Uri { nsid: Some(nsid), ..uri.clone() }.to_string(),
        kind: "nvme-tcp",
        block_bytes: namespace.block_bytes,
        blocks: namespace.blocks,
        preferred_blocks: preferred_blocks(&id),
        atomic_blocks: 1,
        max_transfer_bytes: namespace.max_transfer_bytes,
        features: Features {
            read_only: namespace.read_only,
            volatile_cache: controller.vwc & vwc::PRESENT != 0,
            lends: false,
            zeros_after_deallocate: namespace.deallocate > 0 && id.dlfeat & 0b111 == dlfeat::READ_ZEROS,
            thin: id.nsfeat & nsfeat::THIN != 0,
            compare: namespace.compare,
            verify: namespace.verify > 0,
            write_uncorrectable: namespace.write_uncorrectable > 0,
            copy: namespace.copy,
        },
        identity: identity(uri, nsid, &ids),
    };
    Ok(Found { info, namespace, oaes: controller.oaes.get() })
}

/// Leaves of the optional commands those that `other` has too.
pub(super) fn narrow(features: &mut Features, other: &Features) {
    features.compare &= other.compare;
    features.verify &= other.verify;
    features.write_uncorrectable &= other.write_uncorrectable;
    features.copy = features.copy.zip(other.copy).map(|(one, other)| one.and(other));
}

/// Whether `found` is the namespace that the askers know as `info`, with at least `blocks` blocks.
pub(super) fn same(info: &Info, blocks: u64, found: &Found, uri: &Uri) -> Result<(), Trouble> {
    let (was, is) = (info, &found.info);
    let differs = if was.identity != is.identity {
        format!("namespace {} is another one: {:?}, not {:?}", found.namespace.nsid, is.identity, was.identity)
    } else if was.block_bytes != is.block_bytes {
        format!("its blocks have {} bytes now, not {}", is.block_bytes, was.block_bytes)
    } else if is.blocks < blocks {
        format!("it has shrunk from {blocks} to {} blocks", is.blocks)
    } else if is.max_transfer_bytes < was.max_transfer_bytes {
        format!("it takes transfers of {} bytes now, not {}", is.max_transfer_bytes, was.max_transfer_bytes)
    } else {
        return Ok(());
    };
    Err(Trouble::refused(uri, differs))
}

/// The namespace that was asked for, or the only one.
fn choose(admin: &mut Admin, uri: &Uri) -> Result<u32, Trouble> {
    let (mut first, mut count, mut wanted) = (Vec::new(), 0usize, false);
    admin.active_namespaces(|nsid| {
        count += 1;
        wanted |= uri.nsid == Some(nsid);
        if first.len() < NAMESPACES_LISTED {
            first.push(nsid);
        }
        !wanted
    })?;
    match (uri.nsid, first.is_empty()) {
        (Some(nsid), _) if wanted => return Ok(nsid),
        (None, false) if count == 1 => return Ok(first[0]),
        (_, true) => return Err(Trouble::refused(uri, "the subsystem has no namespace for this host")),
        _ => {}
    }
    let names: Vec<String> = first.iter().map(u32::to_string).collect();
    let more = if count > first.len() { ", ..." } else { "" };
    let why = match uri.nsid {
        Some(nsid) => format!("there is no namespace {nsid}"),
        None => format!("the subsystem has {count} namespaces"),
    };
    let hint = format!("Choose one with ?ns=: the subsystem has {}{more}.", names.join(", "));
    Err(Trouble::Namespace { why, hint })
}

/// Who the namespace is, by its descriptors (from version 1.3 on) and by the old fields of Identify Namespace.
fn identifiers(admin: &mut Admin, nsid: u32, id: &IdentifyNamespace) -> Result<Identifiers, AdminError> {
    let mut ids = Identifiers::default();
    if admin.vs >= Vs::V1_3 {
        let list = admin.namespace_descriptors(nsid)?;
        ids =
            list.parse().map_err(|bad| AdminError::protocol("read the identification descriptors", bad.to_string()))?;
    }
    let some = |nguid: [u8; 16]| (nguid != [0; 16]).then_some(nguid);
    ids.nguid = ids.nguid.and_then(some).or(some(id.nguid));
    ids.eui64 = ids.eui64.or(Some(id.eui64)).filter(|eui64| *eui64 != [0; 8]);
    Ok(ids)
}

/// UUID and NGUID; what the namespace does not have follows from what it has.
fn identity(uri: &Uri, nsid: u32, ids: &Identifiers) -> Identity {
    let derived = || match (ids.nguid, ids.eui64) {
        (Some(nguid), _) => Uuid::new_v8(nguid),
        (None, Some(eui64)) => uri::uuid_of(&format!("{eui64:02x?}")),
        // No identifier at all: the same subsystem and number, the same disk.
        (None, None) => uri::uuid_of(&format!("{} {nsid}", uri.subnqn)),
    };
    let uuid = ids.uuid.map(Uuid::from_bytes).filter(|uuid| !uuid.is_nil()).unwrap_or_else(derived);
    Identity { uuid, nguid: ids.nguid.unwrap_or_else(|| uuid.into_bytes()) }
}

/// What the queues need to know, if it is a namespace that they can work with.
fn describe(
    nsid: u32,
    controller: &IdentifyController,
    limits: &NvmIdentifyController,
    id: &IdentifyNamespace,
    mpsmin: u8,
) -> Result<Namespace, String> {
    let format = id.format();
    if format.ms.get() != 0 {
        return Err(format!("its blocks have {} bytes of metadata, which this host cannot handle", format.ms));
    }
    let block_bytes = match format.bytes() {
        Some(bytes @ (512 | 4096)) => bytes,
        Some(bytes) => return Err(format!("its blocks have {bytes} bytes; this host knows 512 and 4096")),
        None => return Err(format!("its blocks have 2^{} bytes, which is no valid size", format.lbads)),
    };
    let blocks = id.nsze.get();
    if blocks == 0 || blocks.checked_mul(u64::from(block_bytes)).is_none() {
        return Err(format!("its size of {blocks} blocks is not valid"));
    }
    let largest = controller.max_transfer_bytes(mpsmin).unwrap_or(u64::MAX);
    let largest = largest.min(MAX_COMMAND_BLOCKS * u64::from(block_bytes)).min(u64::from(MAX_TRANSFER_BYTES));
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
    Ok(Namespace {
        nsid,
        block_bytes,
        blocks,
        max_transfer_bytes: u32::try_from(largest).expect("bounded by a constant of 32 bits"),
        in_capsule_bytes: controller.in_capsule_bytes(),
        read_only: id.nsattr & nsattr::WRITE_PROTECTED != 0,
        compare: can(oncs::COMPARE),
        write_zeroes: without_data(can(oncs::WRITE_ZEROES), limits.wzsl),
        verify: without_data(can(oncs::VERIFY), limits.vsl),
        write_uncorrectable: without_data(can(oncs::WRITE_UNCORRECTABLE), limits.wusl),
        deallocate: if can(oncs::DSM) { deallocation(limits) } else { 0 },
        copy: if can(oncs::COPY) { copies(controller, id, block_bytes) } else { None },
    })
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
    use wire::nvme::LbaFormat;
    use zerocopy::FromZeros;

    use super::*;

    #[test]
    fn limits_are_pages_and_blocks() {
        let mut controller = IdentifyController::new_zeroed();
        let all = oncs::WRITE_ZEROES | oncs::VERIFY | oncs::WRITE_UNCORRECTABLE | oncs::DSM | oncs::COPY;
        controller.oncs = all.into();
        let mut id = IdentifyNamespace::new_zeroed();
        id.nsze = 1000.into();
        id.lbaf[0] = LbaFormat::of_bytes(512);
        let mut limits = NvmIdentifyController::new_zeroed();
        let describe = |limits: &NvmIdentifyController, mpsmin| {
            let found = describe(1, &controller, limits, &id, mpsmin).expect("a namespace");
            (found.verify, found.write_zeroes, found.write_uncorrectable, found.deallocate)
        };
        let (most, ranges) = (MAX_COMMAND_BLOCKS, u64::from(u32::MAX));
        assert_eq!(describe(&limits, 0), (most, most, most, ranges), "0 is no limit");
        (limits.vsl, limits.wzsl, limits.wusl) = (1, 5, 200);
        (limits.dmrsl, limits.dmsl) = (300.into(), 200.into());
        assert_eq!(describe(&limits, 0), (16, 256, most, 200));
        assert_eq!(describe(&limits, 1), (32, 512, most, 200), "pages of 8 KiB");
        controller.oncs = 0.into();
        let none = super::describe(1, &controller, &limits, &id, 0).expect("a namespace");
        assert_eq!((none.verify, none.write_zeroes, none.write_uncorrectable, none.deallocate), (0, 0, 0, 0));
        assert!(!none.compare && none.copy.is_none());
    }
}
