//! Floor 3: the NVMe over Fabrics target.
//!
//! ```text
//!   Acceptor ──▶ Shard (one a reactor) ──▶ Connection ──▶ Session: fabrics, admin (identify, logs, features)
//!                  │                           └──────▶ io ──▶ Engine ──▶ a Queue of every device
//!                  └── Target: the Plan (subsystems, namespaces, hosts) and the Controllers
//!                      (shared; looked at when something comes or goes)
//! ```
//!
//! A connection is bound to one reactor for life. Its requests go to that reactor's own queues into the devices; what
//! they answer is sent at the end of the same pass. [`Server`] puts it all on reactors.
#![forbid(unsafe_code)]

mod admin;
mod connection;
mod layout;
pub mod limits;
pub mod reservation;
mod server;
mod shard;
pub mod stats;
mod status;
mod stepper;
mod target;

pub use connection::command::{Stage, Stages};
pub use layout::apply::ApplyError;
pub use layout::changes::{Changed, Changes};
pub use layout::plan::{Namespace, Plan, Served};
pub use layout::{Hosts, Layout, LayoutError, Referral, Subsystem};
pub use server::{Observer, Options, Server, StartError};
pub use stepper::{Held, Stepper};
pub use target::controller::{Controller, Kind, State, VERSION};
pub use target::usage::{TotalUsage, Usage};
pub use target::{Counters, Target};
