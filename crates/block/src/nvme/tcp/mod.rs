//! A namespace on an NVMe/TCP target as a device: the host's side of NVMe over Fabrics.
//!
//! ```text
//!   control path, blocking, any thread                     data path, one per reactor
//!   Line ── Admin ── Association ── keep-alive thread      TcpQueue ── Pump ── socket
//!   one connection   ready controller   lives on                │
//!        └── Connect of an I/O queue ── handed to the ring ─────┘
//! ```
//!
//! [`TcpDevice::open`] connects the admin queue, enables the controller, identifies it and the namespace. Each
//! [`Device::open_queue`] connects one I/O queue. It works with any target: it asks for little and checks what Linux
//! checks. [`discover`] reads a target's discovery log.
//!
//! What it does not do yet: reconnect, TLS, authentication, multi-path, metadata, more than one namespace per
//! association.

mod admin;
mod association;
mod discovery;
mod error;
mod keep_alive;
pub mod limits;
mod line;
mod namespace;
mod queue;
mod uri;

#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;

use machine::ring::Ring;
use uuid::Uuid;
use wire::nvme::identify::{oncs, vwc};
use wire::nvme::namespace::{dlfeat, nsattr, nsfeat};
use wire::nvme::nsid::Identifiers;
use wire::nvme::{Cqe, IdentifyController, IdentifyNamespace, Nqn, Sqe, Vs};

use self::admin::Admin;
use self::association::Association;
use self::limits::{ADMIN_TIMEOUT, MAX_COMMAND_BLOCKS, MAX_IO_QUEUES, MAX_TRANSFER_BYTES, NAMESPACES_LISTED};
use self::namespace::Namespace;
use crate::{Device, Features, Identity, Info, OpenError, Queue};

pub use discovery::{DiscoveryEntry, EntryKind, discover};
pub use error::AdminError;
pub use line::Transfer;
pub use uri::{SCHEME, Uri, UriError};

/// A namespace on a target.
pub struct TcpDevice {
    info: Info,
    namespace: Namespace,
    association: Arc<Association>,
}

impl TcpDevice {
    /// Connects to the namespace at `nvme-tcp://HOST:PORT/NQN?ns=1`; see [`Uri`] for the options. Blocks.
    ///
    /// # Errors
    /// The address is wrong, the target cannot be reached, or it refuses: what, why and what to do.
    pub fn open(address: &str) -> Result<Self, OpenError> {
        match address.parse() {
            Ok(uri) => Self::connect(uri),
            Err(UriError { why, hint }) => Err(OpenError { device: address.to_owned(), why, hint, source: None }),
        }
    }

    /// Connects to the namespace at an address. Blocks.
    ///
    /// # Errors
    /// The target cannot be reached, or it refuses: what, why and what to do.
    pub fn connect(mut uri: Uri) -> Result<Self, OpenError> {
        let subnqn = Nqn::new(&uri.subnqn).map_err(|error| {
            AdminError::protocol("read the address", format!("{:?} is not an NQN: {error}", uri.subnqn)).at(&uri)
        })?;
        let mut admin = Admin::connect(&uri, &subnqn).map_err(|error| error.at(&uri))?;
        let controller = admin.identify_controller().map_err(|error| error.at(&uri))?;
        let queues = admin.set_number_of_queues(MAX_IO_QUEUES).map_err(|error| error.at(&uri))?;
        let nsid = choose_namespace(&mut admin, &uri)?;
        uri.nsid = Some(nsid);
        let id = admin.identify_namespace(nsid).map_err(|error| error.at(&uri))?;
        let ids = identifiers(&mut admin, nsid, &id).map_err(|error| error.at(&uri))?;
        let namespace = describe(nsid, &controller, &id, admin.cap.mpsmin()).map_err(|why| refused(&uri, why))?;
        let info = Info {
            name: uri.to_string(),
            kind: "nvme-tcp",
            block_bytes: namespace.block_bytes,
            blocks: namespace.blocks,
            preferred_blocks: preferred_blocks(&id),
            max_transfer_bytes: namespace.max_transfer_bytes,
            features: Features {
                read_only: namespace.read_only,
                volatile_cache: controller.vwc & vwc::PRESENT != 0,
                lends: false,
                zeros_after_deallocate: namespace.dataset_management && id.dlfeat & 0b111 == dlfeat::READ_ZEROS,
                thin: id.nsfeat & nsfeat::THIN != 0,
            },
            identity: identity(&uri, nsid, &ids),
        };
        let association = Association::new(uri.clone(), subnqn, admin, queues, controller.in_capsule_bytes());
        let association =
            association.map_err(|source| AdminError::Io { step: "start the keep-alive thread", source }.at(&uri))?;
        Ok(Self { info, namespace, association: Arc::new(association) })
    }

    /// Carries out an admin command and waits for its end. The transport fills in identifier and data pointer.
    /// Keep-alives wait as well: a command that takes longer than KATO may cost the association.
    ///
    /// # Errors
    /// [`AdminError::Status`] is the target's answer; after any other error the device is lost.
    pub fn admin(&self, sqe: Sqe, data: Transfer<'_>) -> Result<Cqe, AdminError> {
        let link = self.association.link();
        let result = link.admin("admin command", sqe, data, ADMIN_TIMEOUT);
        if result.as_ref().is_err_and(|error| !error.is_answer()) {
            link.lose();
        }
        result
    }

    /// The namespace identifier, for [`TcpDevice::admin`].
    #[must_use]
    pub fn nsid(&self) -> u32 {
        self.namespace.nsid
    }
}

impl Device for TcpDevice {
    fn info(&self) -> &Info {
        &self.info
    }

    fn open_queue(&self, ring: &mut Ring) -> io::Result<Box<dyn Queue>> {
        Ok(Box::new(self.association.open_queue(self.namespace, ring)?))
    }

    /// Shuts the controller down, by which it writes its caches back.
    fn close(&self) -> io::Result<()> {
        self.association.shut_down().map_err(AdminError::into_io)
    }
}

/// The namespace that was asked for, or the only one.
fn choose_namespace(admin: &mut Admin, uri: &Uri) -> Result<u32, OpenError> {
    let (mut first, mut count, mut wanted) = (Vec::new(), 0usize, false);
    let listed = admin.active_namespaces(|nsid| {
        count += 1;
        wanted |= uri.nsid == Some(nsid);
        if first.len() < NAMESPACES_LISTED {
            first.push(nsid);
        }
        !wanted
    });
    listed.map_err(|error| error.at(uri))?;
    match (uri.nsid, first[..] == [] as [u32; 0]) {
        (Some(nsid), _) if wanted => return Ok(nsid),
        (None, false) if count == 1 => return Ok(first[0]),
        (_, true) => return Err(refused(uri, "the subsystem has no namespace for this host".to_owned())),
        _ => {}
    }
    let names: Vec<String> = first.iter().map(u32::to_string).collect();
    let more = if count > first.len() { ", ..." } else { "" };
    let why = match uri.nsid {
        Some(nsid) => format!("there is no namespace {nsid}"),
        None => format!("the subsystem has {count} namespaces"),
    };
    let hint = format!("Choose one with ?ns=: the subsystem has {}{more}.", names.join(", "));
    Err(OpenError { device: uri.to_string(), why, hint, source: None })
}

fn refused(uri: &Uri, why: String) -> OpenError {
    let hint = format!("Look at how the target is set up for {}.", uri.hostnqn);
    OpenError { device: uri.to_string(), why, hint, source: None }
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
    Ok(Namespace {
        nsid,
        block_bytes,
        blocks,
        max_transfer_bytes: u32::try_from(largest).expect("bounded by a constant of 32 bits"),
        in_capsule_bytes: controller.in_capsule_bytes(),
        read_only: id.nsattr & nsattr::WRITE_PROTECTED != 0,
        write_zeroes: can(oncs::WRITE_ZEROES),
        dataset_management: can(oncs::DSM),
    })
}

/// The larger of NPWG and NPDG, where the namespace states them (NSFEAT bit 4); both count from 0.
fn preferred_blocks(id: &IdentifyNamespace) -> u32 {
    if id.nsfeat & nsfeat::OPTIMAL_IO == 0 { 1 } else { u32::from(id.npwg.get().max(id.npdg.get())) + 1 }
}
