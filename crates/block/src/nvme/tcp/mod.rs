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
//! When a connection breaks, the device makes a new association and finds the same namespace again (`keeper`); what was
//! in flight is sent again or fails, as its user wants it ([`Retry`]), and what is asked for meanwhile waits. A command
//! that is not answered is aborted, and if that does not help the controller is reset. The options of the address say
//! how: see [`Uri`].
//!
//! What it does not do yet: TLS, authentication, multi-path, metadata, more than one namespace per
//! association.

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
mod namespace;
mod queue;
mod uri;

#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use machine::ring::Ring;
use wire::nvme::{Cqe, Nqn, Sqe};

use self::admin::Admin;
use self::association::Association;
use self::describe::Trouble;
use self::limits::{ADMIN_TIMEOUT, MAX_IO_QUEUES};
use self::namespace::Namespace;
use self::queue::TcpQueue;
use crate::size::format_size;
use crate::{Device, Info, OpenError, Queue};

pub use association::{PathState, PathStats};
pub use discovery::{DiscoveryEntry, EntryKind, discover};
pub use error::AdminError;
pub use fate::Retry;
pub use line::Transfer;
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
    /// Size of the namespace now.
    blocks: Arc<AtomicU64>,
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

    /// Connects to the namespace at an address. Blocks.
    ///
    /// # Errors
    /// The target cannot be reached, or it refuses: what, why and what to do.
    pub fn connect(mut uri: Uri) -> Result<Self, OpenError> {
        let subnqn = Nqn::new(&uri.subnqn).map_err(|error| {
            AdminError::protocol("read the address", format!("{:?} is not an NQN: {error}", uri.subnqn)).at(&uri)
        })?;
        let first = || -> Result<_, Trouble> {
            let mut admin = Admin::connect(&uri, &subnqn, ADMIN_TIMEOUT)?;
            let found = describe::look(&mut admin, &uri)?;
            let queues = admin.set_number_of_queues(MAX_IO_QUEUES)?;
            admin.watch(found.oaes)?;
            Ok((admin, found, queues))
        };
        let (admin, found, queues) = first().map_err(|trouble| trouble.at(&uri))?;
        uri.nsid = Some(found.namespace.nsid);
        let (depth, retry) = (admin.depth(&uri), uri.retry);
        let blocks = Arc::new(AtomicU64::new(found.info.blocks));
        let (info, namespace) = (found.info.clone(), found.namespace);
        let association =
            Association::start(uri.clone(), subnqn, admin, queues, found.info, namespace, Arc::clone(&blocks));
        let association =
            association.map_err(|source| AdminError::Io { step: "start the thread of the path", source }.at(&uri))?;
        let paths = Arc::new(Paths { list: vec![association], blocks, retry });
        Ok(Self { info, namespace, depth, paths })
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

    fn blocks(&self) -> u64 {
        self.paths.blocks.load(Ordering::Relaxed)
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

    fn open_queue(&self, ring: &mut Ring) -> io::Result<Box<dyn Queue>> {
        let opened: Result<Vec<_>, _> = self.paths.list.iter().map(|path| path.open(ring.waker())).collect();
        let seats = opened.map_err(AdminError::into_io)?;
        let owner = ring.owner();
        let mut queue = TcpQueue::new(Arc::clone(&self.paths), seats, self.namespace, self.depth, owner);
        queue.look(ring);
        Ok(Box::new(queue))
    }

    /// Shuts the controller down, by which it writes its caches back.
    fn close(&self) -> io::Result<()> {
        let ends: Vec<_> = self.paths.list.iter().map(Association::shut_down).collect();
        ends.into_iter().collect::<Result<(), _>>().map_err(AdminError::into_io)
    }
}
