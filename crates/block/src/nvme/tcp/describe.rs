//! What the controller says of the namespace: whether it is one that this host can work with, what it is, and whether
//! it is still the one that it was before the connection broke.

use wire::nvme::nsid::Identifiers;
use wire::nvme::{IdentifyNamespace, Vs};

use super::admin::Admin;
use super::error::AdminError;
use super::limits::{MAX_TRANSFER_BYTES, NAMESPACES_LISTED};
use super::namespace::Namespace;
use super::uri::Uri;
use crate::nvme::describe::{self, Pages, identity};
use crate::{Features, Info, OpenError};

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
    let pages = Pages { controller: &controller, limits: &limits, namespace: &id, mpsmin: admin.cap.mpsmin() };
    let namespace = pages.namespace(nsid, MAX_TRANSFER_BYTES.into()).map_err(|why| Trouble::refused(uri, why))?;
    if !namespace.format.is_bare() {
        let bytes = namespace.format.metadata_bytes;
        let why = format!("its blocks have {bytes} bytes of metadata, which this host cannot handle");
        return Err(Trouble::refused(uri, why));
    }
    let name = Uri { nsid: Some(nsid), ..uri.clone() }.to_string();
    let info = pages.info(name, "nvme-tcp", &namespace, identity(&uri.subnqn, nsid, &ids));
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
    Ok(describe::identifiers(ids, id))
}
