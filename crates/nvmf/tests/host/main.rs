//! Our own host against our own target, over loopback: what holds for a device holds for it from afar.
//!
//! | module | what has to hold |
//! |---|---|
//! | [`model`] | every device, seen by the host, is the array of bytes that the device's own tests compare it with |
//! | [`bitflips`] | no wrong bit on the wire goes unnoticed when digests are on |
//! | [`faults`] | what goes wrong in a device has its name or its status at the host, and nothing else is different |
//! | [`event_loop`] | a thread that waits elsewhere is told of answers |
//! | [`native`] | native commands reach the target as they are, and so do its answers |

// The harness of the block floor knows its crate by the crate's own name.
extern crate block as qpair_block;

mod bitflips;
#[path = "../common/mod.rs"]
mod common;
#[path = "../../../block/tests/common/mod.rs"]
mod device;
#[cfg(unix)]
mod event_loop;
mod faults;
mod model;
mod native;

use block::nvme::tcp::TcpDevice;

use common::{NQN, Rig};

/// The address of a namespace of the target, with more options.
fn address(rig: &Rig, nsid: u32, options: &str) -> String {
    format!("nvme-tcp://{}/{NQN}?ns={nsid}{options}", rig.addr)
}

/// A namespace of the target as a device.
fn remote(rig: &Rig, nsid: u32, options: &str) -> TcpDevice {
    TcpDevice::open(&address(rig, nsid, options)).unwrap_or_else(|error| panic!("{error}"))
}
