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

mod acceptor;
mod admin;
mod answer;
mod apply;
mod changes;
mod command;
mod connection;
mod controller;
mod copy;
mod discovery;
mod end;
mod engine;
mod events;
mod fabrics;
mod features;
mod identify;
mod io;
mod layout;
pub mod limits;
mod log_limit;
mod logs;
mod order;
mod plan;
pub mod reservation;
mod server;
mod session;
mod shard;
pub mod stats;
mod status;
mod stepper;
mod target;
mod usage;

pub use apply::ApplyError;
pub use changes::{Changed, Changes};
pub use command::{Stage, Stages};
pub use controller::{Controller, Kind, State, VERSION};
pub use layout::{Hosts, Layout, LayoutError, Referral, Subsystem};
pub use plan::{Namespace, Plan, Served};
pub use server::{Observer, Options, Server, StartError};
pub use stepper::{Held, Stepper};
pub use target::{Counters, Target};
pub use usage::{TotalUsage, Usage};
