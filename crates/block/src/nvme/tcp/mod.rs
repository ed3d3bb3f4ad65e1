//! A namespace on an NVMe/TCP target as a device: the host's side of NVMe over Fabrics.
//!
//! ```text
//!   control path, blocking                                  data path, one per reactor
//!   Line ── Admin ── Path and its thread (keeper)           TcpQueue ── Connection ── Pump ── socket
//!   one connection   keep-alive, reconnecting                  │
//!        └── Connect of an I/O queue ── left in the seat ──────┘
//! ```
//!
//! [`TcpDevice::open`] connects the admin queue, enables the controller, identifies it and the namespace. Each
//! [`Device::open_queue`] connects one I/O queue. It works with any target: it asks for little and checks what Linux
//! checks. [`discover`] reads a target's discovery log.
//!
//! A namespace may be reached on several paths: an address with several hosts, `nvme-tcp://A,B/NQN`. Each has a
//! controller of its own; the namespace's identity says that they lead to the same. The first that works is used.
//!
//! When a connection breaks, the device makes a new association and finds the same namespace again (`keeper`); what was
//! in flight is sent again or fails, as its user wants it ([`Retry`]), and what is asked for meanwhile waits. A command
//! that is not answered is aborted, and if that does not help the controller is reset. The options of the address say
//! how: see [`Uri`].
//!
//! What it does not do yet: TLS, authentication, ANA (paths are as good as their order says), metadata, more than one
//! namespace per association.

mod admin;
mod association;
mod backoff;
mod connection;
mod describe;
mod discovery;
mod error;
mod fate;
mod keeper;
pub mod limits;
mod line;
mod native;
mod queue;
mod uri;

#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use machine::region::Pool;
use machine::ring::Ring;
use tracing::warn;
use wire::nvme::{Cqe, Nqn, Sqe};

use self::admin::Admin;
use self::association::{Association, Common};
use self::describe::{Found, Trouble};
use self::limits::{ADMIN_TIMEOUT, MAX_COPIES, MAX_IO_QUEUES, MAX_PATHS};
use self::queue::TcpQueue;
use super::namespace::{self, LIST_BYTES, Namespace};
use crate::size::format_size;
use crate::{Device, Info, Nvme, NvmeError, OpenError, Queue, Transfer};

pub use association::{PathState, PathStats};
pub use discovery::{DiscoveryController, DiscoveryEntry, EntryKind, discover};
pub use error::AdminError;
pub use fate::Retry;
pub use uri::{SCHEME, Uri, UriError};

/// A namespace on a target.
pub struct TcpDevice {
    info: Info,
    namespace: Namespace,
    /// Requests in flight per queue.
    depth: u16,
    paths: Arc<Paths>,
}

/// The ways to a namespace, and what holds for all of them.
struct Paths {
    list: Vec<Association>,
    common: Arc<Common>,
    retry: Retry,
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

    /// Connects to the namespace at an address, on every path that the address names. Blocks.
    ///
    /// # Errors
    /// The target cannot be reached on any path, or it refuses: what, why and what to do.
    pub fn connect(uri: Uri) -> Result<Self, OpenError> {
        Self::connect_paths(uri.paths())
    }

    /// Connects to one namespace on several paths, the preferred one first. Blocks. A path that cannot be connected now
    /// is tried for later.
    ///
    /// # Errors
    /// The target cannot be reached on any path; it refuses on one; or they lead to different namespaces.
    ///
    /// # Panics
    /// If there is no path, or more than [`limits::MAX_PATHS`].
    pub fn connect_paths(uris: Vec<Uri>) -> Result<Self, OpenError> {
        assert!((1..=MAX_PATHS).contains(&uris.len()), "{} paths", uris.len());
        let name = name_of(&uris)?;
        let mut ways = Vec::new();
        for uri in uris {
            match Controller::connect(&uri) {
                Err(trouble) if trouble.is_final() => return Err(trouble.at(&uri)),
                controller => ways.push((uri, controller)),
            }
        }
        let connected = || ways.iter().filter_map(|(_, controller)| controller.as_ref().ok());
        let Some(Found { mut info, namespace, .. }) = connected().map(|controller| controller.found.clone()).next()
        else {
            let (uri, Err(trouble)) = ways.remove(0) else { unreachable!("none is connected") };
            return Err(trouble.at(&uri));
        };
        info.name = Uri { nsid: Some(namespace.nsid), ..name }.to_string();
        let largest = connected().map(|controller| controller.found.info.max_transfer_bytes).min();
        info.max_transfer_bytes = largest.expect("one is connected");
        for other in connected().map(|controller| &controller.found.info.features) {
            describe::narrow(&mut info.features, other);
        }
        let depth = connected().map(|controller| controller.depth).min().expect("one is connected");
        let common = Common::new(connected().map(|c| c.found.info.blocks).max().expect("one is connected"));
        let retry = ways[0].0.retry;
        let mut list = Vec::new();
        for (mut uri, controller) in ways {
            if let Ok(controller) = &controller {
                describe::same(&info, info.blocks, &controller.found, &uri).map_err(|trouble| trouble.at(&uri))?;
            }
            uri.nsid = Some(namespace.nsid);
            let path = start(uri.clone(), controller, &info, namespace, Arc::clone(&common));
            list.push(path.map_err(|error| error.at(&uri))?);
        }
        let namespace = Namespace { max_transfer_bytes: info.max_transfer_bytes, ..namespace };
        Ok(Self { info, namespace, depth, paths: Arc::new(Paths { list, common, retry }) })
    }

    /// The same device, but every block request that changes it is refused.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.info.features.read_only = true;
        self.namespace.read_only = true;
        self
    }

    /// What the paths to the namespace have been through.
    #[must_use]
    pub fn paths(&self) -> Vec<PathStats> {
        self.paths.list.iter().map(|association| association.path().stats()).collect()
    }

    /// Carries out an admin command and waits for its end. The transport fills in identifier and data pointer.
    /// Keep-alives wait as well: a command that takes longer than KATO may cost the association.
    ///
    /// # Errors
    /// [`AdminError::Status`] is the target's answer; after any other error the association is made anew.
    pub fn admin(&self, sqe: Sqe, data: Transfer<'_>) -> Result<Cqe, AdminError> {
        let list = &self.paths.list;
        let live = list.iter().find(|association| association.path().state() == PathState::Live);
        live.unwrap_or(&list[0]).admin(sqe, data)
    }
}

/// A controller that is ready.
struct Controller {
    admin: Admin,
    found: Found,
    /// I/O queues that it grants.
    queues: u16,
    /// Requests in flight per queue.
    depth: u16,
}

impl Controller {
    fn connect(uri: &Uri) -> Result<Self, Trouble> {
        let mut admin = Admin::connect(uri, &subnqn(uri)?, ADMIN_TIMEOUT)?;
        let found = describe::look(&mut admin, uri)?;
        let queues = admin.set_number_of_queues(MAX_IO_QUEUES)?;
        admin.watch(found.oaes)?;
        let depth = admin.depth(uri);
        admin.connected();
        Ok(Self { admin, found, queues, depth })
    }
}

fn subnqn(uri: &Uri) -> Result<Nqn, AdminError> {
    let bad = |error| AdminError::protocol("read the address", format!("{:?} is not an NQN: {error}", uri.subnqn));
    Nqn::new(&uri.subnqn).map_err(bad)
}

/// Starts a path, with its controller if it could be connected.
fn start(
    uri: Uri,
    controller: Result<Controller, Trouble>,
    info: &Info,
    namespace: Namespace,
    common: Arc<Common>,
) -> Result<Association, AdminError> {
    let subnqn = subnqn(&uri)?;
    let (controller, namespace) = match controller {
        Ok(Controller { admin, found, queues, .. }) => (Some((admin, queues)), found.namespace),
        Err(trouble) => {
            warn!(target = %uri, "not connected yet: {}", trouble.why());
            (None, namespace)
        }
    };
    let started = Association::start(uri, subnqn, controller, info.clone(), namespace, common);
    started.map_err(|source| AdminError::Io { step: "start the thread of the path", source })
}

/// One address that names all of these, which must be ways to one subsystem.
fn name_of(uris: &[Uri]) -> Result<Uri, OpenError> {
    let first = &uris[0];
    if let Some(other) = uris.iter().find(|uri| uri.subnqn != first.subnqn) {
        return Err(OpenError {
            device: first.to_string(),
            why: format!("{} is another subsystem", other.subnqn),
            hint: "Paths lead to one namespace of one subsystem: name the same NQN.".to_owned(),
            source: None,
        });
    }
    let others = uris[1..].iter().map(|uri| (uri.host.clone(), uri.port)).collect();
    Ok(Uri { others, ..first.clone() })
}

impl Device for TcpDevice {
    fn info(&self) -> &Info {
        &self.info
    }

    fn blocks(&self) -> u64 {
        self.paths.common.blocks.load(Ordering::Relaxed)
    }

    /// Asks a controller for the size, if there is one now.
    fn refresh(&self, want: Option<u64>) -> Result<u64, OpenError> {
        for association in &self.paths.list {
            if let Some(admin) = &mut *association.path().admin() {
                association.path().identify(admin).map_err(|trouble| trouble.at(&association.path().uri))?;
                break;
            }
        }
        let (blocks, block_bytes) = (self.blocks(), u64::from(self.info.block_bytes));
        match want {
            Some(want) if want > blocks * block_bytes => Err(OpenError {
                device: self.info.name.clone(),
                why: format!("it has {}", format_size(blocks * block_bytes)),
                hint: "Make it larger where the target serves it from.".to_owned(),
                source: None,
            }),
            _ => Ok(blocks),
        }
    }

    fn used_blocks(&self) -> u64 {
        self.blocks()
    }

    fn nvme(&self) -> Option<&dyn Nvme> {
        Some(self)
    }

    fn open_queue(&self, ring: &mut Ring) -> io::Result<Box<dyn Queue>> {
        let list = &self.paths.list;
        let mut seats = Vec::with_capacity(list.len());
        for path in list {
            match path.seat(ring.waker()) {
                Ok(seat) => seats.push(seat),
                Err(error) => {
                    list.iter().zip(&seats).for_each(|(path, seat)| path.close(seat));
                    return Err(error.into_io());
                }
            }
        }
        let lists = Pool::anonymous(LIST_BYTES, MAX_COPIES)?;
        let owner = ring.owner();
        let mut queue = TcpQueue::new(Arc::clone(&self.paths), seats, self.namespace, self.depth, owner, lists);
        queue.connect_all().map_err(AdminError::into_io)?;
        queue.look(ring);
        Ok(Box::new(queue))
    }

    /// Shuts the controller down, by which it writes its caches back.
    fn close(&self) -> io::Result<()> {
        let ends: Vec<_> = self.paths.list.iter().map(Association::shut_down).collect();
        ends.into_iter().collect::<Result<(), _>>().map_err(AdminError::into_io)
    }
}

impl Nvme for TcpDevice {
    fn nsid(&self) -> Option<u32> {
        Some(self.namespace.nsid)
    }

    fn admin(&self, sqe: Sqe, data: Transfer<'_>) -> Result<u64, NvmeError> {
        self.admin(sqe, data).map(|cqe| cqe.result()).map_err(AdminError::answered)
    }
}
