//! NVMe as bytes: what the base specification, the NVM command set and NVMe over Fabrics put in memory and on the wire.
//!
//! ```text
//!   64-byte command  ──►  controller  ──►  16-byte completion            opcode  command  build  sgl
//!        Sqe                                  Cqe + Status               completion  status
//!
//!   fabrics          Connect, Property Get and Set, Disconnect, NQNs     fabrics  nqn  property
//!   reservations                                                         reservation
//!   data of admin    Identify                                            identify  namespace  nsid  resources
//!   commands         Get Log Page                                        log  discovery
//!                    Get and Set Features, asynchronous events           feature
//!   zones                                                                zns
//!   beside blocks    protection information                              protection
//! ```
//!
//! Every structure is a zerocopy view: little-endian, unaligned, of the specification's exact size, its fields named
//! by the specification's acronyms (those that `nvme id-ctrl` and `nvme id-ns` print). A target starts with
//! `new_zeroed()`, sets what it offers and sends `as_bytes()`; a host reads with `ref_from_bytes()`. The traits with
//! these methods are in [`crate::zerocopy`].
//!
//! To add a command: its opcode in `opcode`, its readers in `command`, its builder in `build`.

/// Checks the offsets of fields, in bytes, against the numbers of the specification's table; at compile time.
#[cfg(test)]
macro_rules! offsets {
    ($type:ident: $($field:ident $offset:literal,)*) => {
        $(const { assert!(std::mem::offset_of!($type, $field) == $offset, stringify!($field)) };)*
    };
}

pub mod ana;
pub mod build;
pub mod command;
pub mod completion;
pub mod copy;
pub mod discovery;
pub mod dsm;
pub mod fabrics;
pub mod feature;
mod fuse;
pub mod identify;
pub mod log;
pub mod media;
pub mod namespace;
pub mod nqn;
pub mod nsid;
pub mod opcode;
pub mod property;
pub mod protection;
pub mod records;
pub mod reservation;
pub mod resources;
pub mod sgl;
pub mod status;
pub mod zns;

pub use build::LogRequest;
pub use command::{NSID_ALL, Sqe};
pub use completion::{Cqe, SQHD_NO_FLOW_CONTROL};
pub use copy::CopySource;
pub use discovery::{DiscoveryLogEntry, DiscoveryLogHeader};
pub use dsm::DsmRange;
pub use fabrics::{ConnectCommand, ConnectData, ConnectResult, InvalidParameter};
pub use fuse::Fuse;
pub use identify::{IdentifyController, NvmIdentifyController, cns};
pub use log::{CommandEffects, ErrorEntry, FidEffects, FirmwareSlot, SmartLog, SupportedLogPages, lid};
pub use namespace::{IdentifyNamespace, IoCommandSetIndependentNamespace, LbaFormat, NvmIdentifyNamespace};
pub use nqn::{Nqn, NqnError};
pub use nsid::{ActiveNamespaces, IdDescriptor, IdDescriptorList};
pub use opcode::{FABRICS, admin, io};
pub use property::{Cap, Cc, Crto, Csts, Vs};
pub use sgl::{Sgl, SglDescriptor};
pub use status::Status;

/// Size of every Identify data structure and list, in bytes.
pub const IDENTIFY_BYTES: usize = 4096;
