//! What the control thread orders reactors to do, when it applies a layout.
//!
//! ```text
//!   Prepare ▶ all queues opened   ── fails on one ─▶ Forget: as before
//!   Install ▶ commands go by the new plan ▶ Notify ▶ ... devices have nothing left of namespaces that went
//! ```
//!
//! The step from Prepare to Install makes a layout hold as a whole or not at all.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use crate::layout::changes::Changes;
use crate::layout::plan::{Listening, Plan};

/// An order to a shard.
pub(crate) enum Order {
    /// Open a queue into each device of the plan that has none here yet.
    Prepare(Arc<Plan>, Sender<Result<(), Unopened>>),
    /// Close the queues that were prepared: it failed elsewhere.
    Forget,
    /// Tell the hosts of this reactor's controllers.
    Notify(Arc<Changes>),
    /// Go by this plan.
    Install(Arc<Plan>, Installing),
}

/// Who waits for an [`Order::Install`].
pub(crate) struct Installing {
    /// Told when commands go by the new plan.
    pub(crate) installed: Sender<()>,
    /// Told when nothing of the old one is left.
    pub(crate) drained: Sender<()>,
}

/// A device of which no queue could be had.
pub(crate) struct Unopened {
    pub(crate) device: String,
    pub(crate) error: std::io::Error,
}

/// An order to the acceptor.
pub(crate) enum Listen {
    /// Bind what is not bound yet. Who connects there waits to be accepted.
    Prepare(Vec<SocketAddr>, Sender<Result<Vec<Listening>, (SocketAddr, std::io::Error)>>),
    /// Close what was prepared, and listen again where that was in its way. Told when that is done.
    Forget(Sender<()>),
    /// Accept at what was prepared last, and close the others.
    Install(Sender<()>),
}
