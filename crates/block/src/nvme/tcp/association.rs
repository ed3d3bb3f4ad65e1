//! What all queues of one device share: the association with a controller.
//!
//! ```text
//!   TcpDevice ──┐
//!   TcpQueue ───┼──▶ Association ──▶ Link ◀── keep-alive thread
//!   TcpQueue ───┘      queue numbers    admin connection, "lost", wakers
//! ```
//!
//! It lives as long as anybody uses it. Nothing here is locked per I/O: a queue looks at one flag per pass.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use machine::ring::{Ring, Waker};
use tracing::debug;
use wire::nvme::{Cqe, Nqn, Sqe};

use super::admin::{Admin, connect_queue};
use super::error::AdminError;
use super::keep_alive::KeepAlive;
use super::line::Transfer;
use super::namespace::Namespace;
use super::queue::TcpQueue;
use super::uri::Uri;
use crate::pump::Pump;

/// The part that the keep-alive thread shares.
pub(super) struct Link {
    name: String,
    admin: Mutex<Admin>,
    lost: AtomicBool,
    /// Who must look at `lost` when it is set: by queue number.
    wakers: Mutex<Vec<(u16, Waker)>>,
}

impl Link {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// One admin command. After anything but an answer the connection is beyond use.
    pub(super) fn admin(
        &self,
        step: &'static str,
        sqe: Sqe,
        transfer: Transfer<'_>,
        limit: Duration,
    ) -> Result<Cqe, AdminError> {
        if self.lost.load(Ordering::Acquire) {
            return Err(AdminError::Broken);
        }
        lock(&self.admin).command(step, sqe, transfer, limit)
    }

    /// The association is over.
    pub(super) fn lose(&self) {
        self.lost.store(true, Ordering::Release);
        for (_, waker) in &*lock(&self.wakers) {
            waker.wake();
        }
    }
}

/// An association with a controller.
pub(super) struct Association {
    uri: Uri,
    subnqn: Nqn,
    cntlid: u16,
    /// Requests in flight per I/O queue; SQSIZE of Connect, which counts from 0, has the same value.
    depth: u16,
    in_capsule_bytes: u32,
    link: Arc<Link>,
    /// Queue numbers that are free, the longest unused in front: the target may still be busy closing the last one.
    free: Mutex<VecDeque<u16>>,
    queues: u16,
    keep_alive: Mutex<Option<KeepAlive>>,
}

impl Association {
    /// Takes over a controller that is ready. `queues` I/O queues were granted.
    pub(super) fn new(uri: Uri, subnqn: Nqn, admin: Admin, queues: u16, in_capsule_bytes: u32) -> io::Result<Self> {
        // A queue of n entries holds n - 1 commands, with and without flow control (Base 2.0, full queue).
        let depth = uri.depth.min(admin.cap.mqes()).max(1);
        let cntlid = admin.cntlid;
        let name = uri.to_string();
        let link = Arc::new(Link {
            name,
            admin: Mutex::new(admin),
            lost: AtomicBool::new(false),
            wakers: Mutex::new(Vec::new()),
        });
        let keep_alive = if uri.kato.is_zero() { None } else { Some(KeepAlive::start(Arc::clone(&link), uri.kato)?) };
        Ok(Self {
            uri,
            subnqn,
            cntlid,
            depth,
            in_capsule_bytes,
            link,
            free: Mutex::new((1..=queues).collect()),
            queues,
            keep_alive: Mutex::new(keep_alive),
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.link.name
    }

    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// Whether the association is over. Looked at once per pass.
    pub(super) fn is_lost(&self) -> bool {
        self.link.lost.load(Ordering::Acquire)
    }

    /// Connects an I/O queue and hands its socket to the ring.
    pub(super) fn open_queue(self: &Arc<Self>, namespace: Namespace, ring: &mut Ring) -> io::Result<TcpQueue> {
        if self.is_lost() {
            return Err(AdminError::Broken.into_io());
        }
        let qid = lock(&self.free).pop_front().ok_or_else(|| {
            io::Error::other(format!("{} grants {} I/O queues, and all are in use", self.name(), self.queues))
        })?;
        let queue = self.connect(qid, namespace, ring);
        if queue.is_err() {
            self.give_back(qid);
        }
        queue
    }

    fn connect(self: &Arc<Self>, qid: u16, namespace: Namespace, ring: &mut Ring) -> io::Result<TcpQueue> {
        let connected = connect_queue(&self.uri, &self.subnqn, qid, self.cntlid, self.depth, self.depth);
        let (mut line, cntlid) = connected.map_err(AdminError::into_io)?;
        if cntlid != self.cntlid {
            let what = format!("CNTLID is {cntlid} for I/O queue {qid}, but {} for the admin queue", self.cntlid);
            return Err(AdminError::protocol("Connect", what).into_io());
        }
        line.set_queue(self.in_capsule_bytes, !self.uri.flow_control);
        let (stream, host) = line.into_parts().map_err(AdminError::into_io)?;
        let owner = ring.owner();
        let pump = Pump::new(ring.socket(stream, owner, u32::from(qid))?);
        lock(&self.link.wakers).push((qid, ring.waker()));
        let namespace = Namespace { in_capsule_bytes: host.in_capsule_bytes(), ..namespace };
        Ok(TcpQueue::new(Arc::clone(self), namespace, qid, self.depth, host, pump, owner))
    }

    /// A queue's connection is closed: its number is free.
    pub(super) fn give_back(&self, qid: u16) {
        lock(&self.link.wakers).retain(|(other, _)| *other != qid);
        lock(&self.free).push_back(qid);
    }

    /// Shuts the controller down in good order; nothing happens the second time.
    pub(super) fn shut_down(&self) -> Result<(), AdminError> {
        // The thread must be gone first: what it would do to the admin connection now is not a failure.
        lock(&self.keep_alive).take();
        if self.link.lost.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let result = lock(&self.link.admin).shut_down();
        self.link.lose();
        result
    }
}

impl Drop for Association {
    fn drop(&mut self) {
        if let Err(error) = self.shut_down() {
            debug!(target = %self.name(), "{error}");
        }
    }
}

/// A panic elsewhere does not make these values wrong.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
