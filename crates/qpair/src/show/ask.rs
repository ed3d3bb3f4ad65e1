//! The admin commands that ask, on any device that is an NVMe device.

use std::sync::Arc;

use block::{Device, Nvme, NvmeError, OpenOptions, Transfer, open};
use wire::nvme::{IDENTIFY_BYTES, Sqe};

use super::problem::Problem;

/// A device that can be asked.
pub(super) struct Asked {
    device: Arc<dyn Device>,
    /// The namespace that questions are about; `None` on a controller without one.
    nsid: Option<u32>,
}

impl Asked {
    /// Opens the device. `nsid` takes the place of the device's own.
    pub(super) fn open(name: &str, nsid: Option<u32>) -> Result<Self, Problem> {
        let device = open(name, &OpenOptions { read_only: true, ..OpenOptions::default() })?;
        let Some(nvme) = device.nvme() else { return Err(Problem::NotNvme { device: name.to_owned() }) };
        let nsid = nsid.or(nvme.nsid());
        Ok(Self { device, nsid })
    }

    /// The end of the association.
    pub(super) fn close(self) -> Result<(), Problem> {
        self.device.close().map_err(|source| Problem::Host { what: "close the device".to_owned(), source })
    }

    fn nvme(&self) -> &dyn Nvme {
        self.device.nvme().expect("it was looked at when it was opened")
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

    /// Identify.
    pub(super) fn identify(&self, what: &str, cns: u8, nsid: u32, csi: u8) -> Result<Vec<u8>, Problem> {
        let mut page = vec![0; IDENTIFY_BYTES];
        self.admin(what, Sqe::identify(cns, nsid, csi, 0), Transfer::In(&mut page))?;
        Ok(page)
    }
}
