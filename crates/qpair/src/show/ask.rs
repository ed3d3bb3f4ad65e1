//! The admin commands that ask, on any device that is an NVMe device.

use std::path::Path;
use std::sync::Arc;

use block::nvme::kernel::{Controller, is_controller, is_drive};
use block::nvme::tcp::{DiscoveryController, UriError};
use block::{Device, Nvme, NvmeError, OpenError, OpenOptions, Transfer, open};
use wire::nvme::{IDENTIFY_BYTES, LogRequest, Sqe};

use super::problem::Problem;

/// Logs are read in multiples of so many bytes, where they are longer.
const PIECE_BYTES: u32 = 4096;
/// Most bytes of a log that one command asks for.
const MOST_PIECE_BYTES: u32 = 64 << 10;

/// What to read of a log.
pub(super) struct Part {
    pub(super) lid: u8,
    pub(super) lsp: u8,
    /// One of several (an endurance group, for example).
    pub(super) lsi: u16,
    pub(super) csi: u8,
    /// The event that announced the log stays.
    pub(super) rae: bool,
    pub(super) nsid: u32,
    /// A multiple of 4.
    pub(super) offset: u64,
    /// A multiple of 4, not 0.
    pub(super) bytes: u64,
}

impl Part {
    /// Reads it in pieces of at most `largest` bytes; `admin` carries out a command that fills a piece.
    fn read(
        &self,
        largest: u32,
        mut admin: impl FnMut(Sqe, &mut [u8]) -> Result<u64, Problem>,
    ) -> Result<Vec<u8>, Problem> {
        let largest = largest.clamp(PIECE_BYTES, MOST_PIECE_BYTES) & !(PIECE_BYTES - 1);
        let mut log = vec![0; usize::try_from(self.bytes).expect("a log fits in memory")];
        let mut offset = self.offset;
        for piece in log.chunks_mut(largest as usize) {
            let &Self { lid, lsp, rae, nsid, .. } = self;
            let request = LogRequest { lid, lsp, rae, offset, bytes: piece.len() as u32, nsid };
            offset += piece.len() as u64;
            admin(Sqe::get_log(request).with_log_of(self.lsi, self.csi), piece)?;
        }
        Ok(log)
    }
}

/// What can be asked.
enum What {
    /// A namespace.
    Device(Arc<dyn Device>),
    /// A controller of the kernel's driver, `/dev/nvmeX`, or a drive of Windows.
    Controller(Controller),
    /// A discovery controller, `nvme-tcp://HOST:PORT`.
    Discovery(Box<DiscoveryController>),
}

/// A device that can be asked.
pub(super) struct Asked {
    what: What,
    /// The namespace that questions are about; `None` on a controller without one.
    nsid: Option<u32>,
}

impl Asked {
    /// Opens the device, for commands that change it if `changes`. `nsid` takes the place of the device's own.
    pub(super) fn open(name: &str, nsid: Option<u32>, changes: bool) -> Result<Self, Problem> {
        let path = Path::new(name);
        if is_controller(path) || is_drive(path) {
            let controller = if changes { Controller::open_to_change(path) } else { Controller::open(path) }?;
            let nsid = nsid.or(controller.nsid());
            return Ok(Self { what: What::Controller(controller), nsid });
        }
        if let Some(address) = DiscoveryController::address(name) {
            let wrong = |UriError { why, hint }| OpenError { device: name.to_owned(), why, hint, source: None };
            let controller = DiscoveryController::connect(&address.map_err(wrong)?)?;
            return Ok(Self { what: What::Discovery(Box::new(controller)), nsid });
        }
        let device = open(name, &OpenOptions { read_only: !changes, ..OpenOptions::default() })?;
        let Some(nvme) = device.nvme() else { return Err(Problem::NotNvme { device: name.to_owned() }) };
        let nsid = nsid.or(nvme.nsid());
        Ok(Self { what: What::Device(device), nsid })
    }

    /// The end of the association.
    pub(super) fn close(self) -> Result<(), Problem> {
        let closed = match self.what {
            What::Device(device) => device.close(),
            What::Controller(_) => Ok(()),
            What::Discovery(controller) => controller.close(),
        };
        closed.map_err(|source| Problem::Host { what: "close the device".to_owned(), source })
    }

    fn nvme(&self) -> &dyn Nvme {
        match &self.what {
            What::Device(device) => device.nvme().expect("it was looked at when it was opened"),
            What::Controller(controller) => controller,
            What::Discovery(controller) => &**controller,
        }
    }

    /// The namespace that a question of one is about.
    pub(super) fn namespace(&self) -> Result<u32, Problem> {
        let hint = "The device is a controller without a namespace\n  Say which one is meant: --nsid N.";
        self.nsid.ok_or_else(|| Problem::Usage(hint.to_owned()))
    }

    /// Any admin command; `what` is its name in messages.
    pub(super) fn admin(&self, what: &str, sqe: Sqe, data: Transfer<'_>) -> Result<u64, Problem> {
        self.nvme().admin(sqe, data).map_err(|error: NvmeError| Problem::of(what, error))
    }

    /// A log page, or a part of it, in as many commands as the largest transfer asks for.
    pub(super) fn log(&self, what: &str, part: Part) -> Result<Vec<u8>, Problem> {
        let largest = match &self.what {
            What::Device(device) => device.info().max_transfer_bytes,
            What::Controller(_) | What::Discovery(_) => PIECE_BYTES,
        };
        part.read(largest, |sqe, piece| self.admin(what, sqe, Transfer::In(piece)))
    }

    /// Identify.
    pub(super) fn identify(&self, what: &str, cns: u8, nsid: u32, csi: u8) -> Result<Vec<u8>, Problem> {
        let mut page = vec![0; IDENTIFY_BYTES];
        self.admin(what, Sqe::identify(cns, nsid, csi, 0), Transfer::In(&mut page))?;
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_logs_come_in_pieces() {
        let part = Part { lid: 7, lsp: 1, lsi: 3, csi: 2, rae: true, nsid: 9, offset: 4, bytes: 20_004 };
        for (largest, pieces) in [(0, 5), (9_000, 3), (u32::MAX, 1)] {
            let mut seen = Vec::new();
            let log = part.read(largest, |sqe, piece| {
                assert_eq!((sqe.lid(), sqe.lsp(), sqe.rae(), sqe.nsid.get()), (7, 1, true, 9));
                assert_eq!((sqe.cdw11.get() >> 16, sqe.cdw14.get()), (3, 2 << 24));
                assert_eq!(sqe.log_bytes(), piece.len() as u64);
                seen.push((sqe.log_offset(), sqe.log_bytes()));
                piece.fill(seen.len() as u8);
                Ok(0)
            });
            let log = log.expect("every piece is there");
            assert_eq!((log.len(), log[0], log[20_003]), (20_004, 1, pieces));
            assert_eq!(seen.len(), usize::from(pieces));
            seen.windows(2).for_each(|pair| assert_eq!(pair[0].0 + pair[0].1, pair[1].0));
            assert_eq!(seen[0].0, 4);
        }
        let failed = part.read(4096, |_, _| Err(Problem::Usage("no".to_owned())));
        assert!(failed.is_err());
    }
}
