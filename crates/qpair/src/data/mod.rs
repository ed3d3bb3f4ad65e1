//! Blocks from and to devices: `qpair read`, `qpair write`, `qpair copy`.
//!
//! ```text
//!   read    device ──▶ many at once ──▶ in order ──▶ file, standard output, or lines in hexadecimal
//!   write   file, standard input or one byte ──▶ many at once ──▶ device ──▶ flush
//!   copy    device ──▶ many at once, each written as it comes ──▶ device ──▶ flush ──▶ compared, if wanted
//! ```
//!
//! All of them cut their blocks into consecutive *pieces* ([`span`]) and know at any time how many from the first on
//! are done ([`window`]): what they say after an error or Ctrl-C is about these. They are programs of a
//! [`block::Channel`], without a reactor.

pub(crate) mod copy;
pub(crate) mod guard;
mod hexdump;
mod progress;
pub(crate) mod read;
mod sequence;
pub(crate) mod source;
mod span;
pub(crate) mod trouble;
mod window;
pub(crate) mod write;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use block::channel::{ChannelOptions, Port};
use block::{Channel, Device, Op, OpenOptions};

pub(crate) use hexdump::Hexdump;
pub(crate) use span::number;
use trouble::Trouble;
pub(crate) use window::Window;

/// How often a verb that waits looks whether it shall stop, and shows how far it is.
pub(crate) const TICK: Duration = Duration::from_millis(200);

/// What all of these verbs take.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Effort {
    /// Requests in flight at once
    #[arg(long, value_name = "N", default_value = "16", value_parser = clap::value_parser!(u32).range(1..=1024))]
    qd: u32,

    /// Bytes of a request [default: the largest that the devices take]
    #[arg(long, value_name = "SIZE", value_parser = block::size::parse_size)]
    bs: Option<u64>,

    /// No progress bar (there is none either if standard error is not a terminal) and no summary
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

/// How a device is opened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Way {
    pub(crate) read_only: bool,
    /// Size of a file that is to be created.
    pub(crate) size: Option<u64>,
    /// Also if something else uses it.
    pub(crate) in_use: bool,
    /// Requests in flight at once, if that is known.
    pub(crate) depth: Option<usize>,
}

impl Effort {
    pub(crate) fn depth(&self) -> usize {
        self.qd as usize
    }

    fn open(&self, name: &str, way: Way) -> Result<Arc<dyn Device>, Trouble> {
        open(name, Way { depth: Some(self.depth()), ..way })
    }

    /// Bytes of a piece: what is asked for, or what all these devices take, in whole blocks of all of them.
    fn piece_bytes(&self, devices: &[&dyn Device]) -> Result<usize, Trouble> {
        let infos = || devices.iter().map(|device| device.info());
        let block = u64::from(infos().map(|info| info.block_bytes).max().expect("there is a device"));
        let most = u64::from(infos().map(|info| info.max_transfer_bytes).min().expect("there is a device"));
        self.piece_within(block, most)
    }

    /// The same of a device that takes so many bytes at once, in blocks of that size.
    pub(crate) fn piece_within(&self, block: u64, most: u64) -> Result<usize, Trouble> {
        let wanted = self.bs.unwrap_or(most - most % block);
        if wanted == 0 || !wanted.is_multiple_of(block) {
            return Err(Trouble::usage(
                format!("a request of {wanted} bytes is not a whole number of {block}-byte blocks"),
                format!("Write --bs {}, for example, or leave it out.", most - most % block),
            ));
        }
        if wanted > most {
            return Err(Trouble::usage(
                format!("a request of {wanted} bytes is more than the {most} that the device takes"),
                "Make --bs smaller, or leave it out.".to_owned(),
            ));
        }
        Ok(wanted as usize)
    }

    /// A channel with buffers for `depth` pieces.
    pub(crate) fn channel<C>(&self, piece_bytes: usize, buffers: usize) -> Result<Channel<C>, Trouble> {
        let (depth, buffers) = (self.depth(), Some(buffers));
        let options = ChannelOptions { depth, buffers, buffer_bytes: piece_bytes, ..ChannelOptions::default() };
        Channel::new(&options).map_err(|source| Trouble::host("make a ring and buffers", source))
    }
}

/// Opens a device.
pub(crate) fn open(name: &str, way: Way) -> Result<Arc<dyn Device>, Trouble> {
    let Way { read_only, size, in_use, depth } = way;
    Ok(block::open(name, &OpenOptions { read_only, size, in_use, depth, ..OpenOptions::default() })?)
}

pub(crate) fn attach<C>(channel: &mut Channel<C>, device: &dyn Device) -> Result<Port, Trouble> {
    channel.attach(device).map_err(|source| Trouble::host(&format!("open a queue of {}", device.info().name), source))
}

/// Whether somebody has pressed Ctrl-C.
pub(crate) fn stopped() -> bool {
    crate::signals::stop_flag().load(Relaxed)
}

/// Makes what was written durable.
fn flush<C>(channel: &mut Channel<C>, port: Port, name: &str) -> Result<(), Trouble> {
    let done = channel.call(port, Op::Flush, None);
    done.outcome.map(|_| ()).map_err(|failure| Trouble::Failed { what: format!("flush {name}"), failure })
}

/// Ends the use of a device in good order.
pub(crate) fn close(device: &dyn Device) -> Result<(), Trouble> {
    device.close().map_err(|source| Trouble::host(&format!("close {}", device.info().name), source))
}
