//! Floor 2: block devices and their queues.
//!
//! A [`Device`] is the shared part that hardly changes: its size, its identity, what it can do. Each reactor opens one
//! [`Queue`] on it; requests go in, completions come out in any order, matched by a tag. Nothing is locked per I/O.
//!
//! | device | module | data |
//! |---|---|---|
//! | memory | [`ram`] | lent: reads point into the slot map |
//! | file or block device | [`mod@file`] | carried, aligned for direct I/O |
//! | nothing | [`null`] | reads give zeros, writes vanish |
//! | an NVMe namespace of the kernel | [`nvme::kernel`] | carried |
//! | an NVMe/TCP namespace | [`nvme::tcp`] | carried |
//! | any of them, with faults | [`layers::fault`] | carried |
//!
//! # A program of its own
//!
//! [`open`] takes any name that a person writes for a device. A [`Channel`] is one thread's way to the devices that it
//! has opened: it has the ring, the queues and the buffers, and needs no reactor.
//!
//! ```
//! use block::{Channel, ChannelOptions, Done, Failure, Op, OpenOptions, Range};
//! # use qpair_block as block;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A file, a drive, nvme-tcp://HOST/NQN?ns=1: the name picks the device, and the rest stays as it is.
//! let device = block::open("ram:16MiB,bs=4096", &OpenOptions::default())?;
//! let mut channel = Channel::new(&ChannelOptions::for_device(&*device, 50))?;
//! let disk = channel.attach(&*device)?;
//!
//! // A synchronous call.
//! let mut buf = channel.buffer().ok_or("no buffer")?;
//! buf.set_len(4096);
//! buf.fill(7);
//! let done = channel.call(disk, Op::Write { range: Range { lba: 9, blocks: 1 }, fua: false }, Some(buf));
//! match done.outcome {
//!     Ok(_) => {}
//!     // An NVMe device said no: status code type and code, Do Not Retry, More.
//!     Err(Failure::Device(status)) => return Err(format!("status {:x}/{:02x}", status.sct, status.sc).into()),
//!     // This host did: an error number.
//!     Err(Failure::Host(errno)) => return Err(std::io::Error::from_raw_os_error(errno).into()),
//!     Err(other) => return Err(other.into()),
//! }
//!
//! // A queue with a callback: every request has a context of the program's own type, here the block that it reads.
//! let (mut next, mut sevens) = (0, 0);
//! let mut submit = |channel: &mut Channel<u64>| {
//!     while next < device.blocks() {
//!         let Some(mut buf) = channel.buffer() else { return };
//!         buf.set_len(4096);
//!         if channel.submit(disk, Op::Read(Range { lba: next, blocks: 1 }), Some(buf), next).is_err() {
//!             return; // It is full: go on when something has ended.
//!         }
//!         next += 1;
//!     }
//! };
//! submit(&mut channel);
//! while channel.in_flight() > 0 {
//!     // Asleep, and not on a core, until something has ended. `poll` is the same without waiting.
//!     channel.wait(None, |channel, Done { context: lba, outcome, data, .. }| {
//!         assert_eq!(outcome, Ok(0), "block {lba}");
//!         sevens += data.one().iter().filter(|buf| buf[0] == 7).count(); // The buffer goes back into the pool, ...
//!         submit(channel); // ... and out again.
//!     })?;
//! }
//! assert_eq!((next, sevens), (4096, 1));
//! # Ok(())
//! # }
//! ```
//!
//! Native NVMe commands travel in the same way, on devices that take them: [`Channel::command`], with their ends among
//! the others. So do admin commands, to a controller of this machine ([`OpenOptions::controllers`]); on other devices
//! they wait: [`Device::nvme`], [`Nvme::admin`]. `examples/checksum.rs` is a whole program.
//!
//! A request may have several buffers, of any lengths and pools ([`Data::Scattered`]): a vector of them in the place of
//! the buffer above. It comes back as it was, so that the next request can have it.
//!
//! The zones of a zoned namespace or block device: [`Zoned`].
//!
//! [`pump`] moves bytes between a socket and a protocol's state machine; the NVMe/TCP host here and the target above
//! use it.
#![forbid(unsafe_code)]

mod admit;
mod bad_blocks;
pub mod channel;
mod device;
pub mod file;
pub mod identity;
pub mod layers;
pub mod limits;
mod live_size;
mod native;
pub mod null;
pub mod nvme;
mod open;
pub mod path;
pub mod pump;
mod queue;
pub mod ram;
pub mod size;
pub mod spec;
pub mod zoned;

pub use channel::{Channel, ChannelOptions, Done};
pub use device::{CopyLimits, Device, Features, Identity, Info, OpenError};
pub use native::{Command, Completed, Nvme, NvmeError, Transfer, Untaken, Why};
pub use open::{OpenOptions, open};
pub use queue::{Completion, Completions, Data, Failure, Op, Outcome, Queue, Range, Refused, Request, Returned, Tag};
pub use zoned::{WhichZone, ZoneAction, ZoneError, ZoneFacts, Zoned};
