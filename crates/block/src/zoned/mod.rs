//! Zoned devices: what their zones are like, the report of them, and what can be done with a zone.
//!
//! ```text
//!            zone 0                     zone 1                     zone 2
//!   | written ▲        | hole |  empty                 |hole|  full                 |hole|
//!             write pointer   ▲ start + size: zone 1 starts     ▲ start + capacity
//! ```
//!
//! A zone is written from its start to its end, at its write pointer, and as a whole emptied by a reset. A [`Zoned`] is
//! one thread's way to the zones of a device, whichever that is: a namespace that takes native commands gets Zone
//! Management Receive and Send (ZNS 1.1) through a queue of its own; a zoned block device is asked by the kernel's
//! calls. What comes back has the form of a namespace's report in both cases.
//!
//! Every call waits for its end. A program that wants many at once, or appends, sends the commands themselves through
//! its [`crate::Channel`]: `wire::nvme::Sqe::zone_append`, `zone_management_send`, `zone_report`.

mod disk;
mod native;

use std::fs::File;
use std::io;

use machine::zoned as kernel;
use wire::nvme::zns::{ZoneDescriptor, action};

use crate::{Device, Failure, NvmeError};
use native::Native;

/// What all zones of a device have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZoneFacts {
    /// Logical blocks from the start of a zone to the start of the next.
    pub zone_blocks: u64,
    /// How many zones there are.
    pub zones: u64,
    /// Most zones that are open at once (MOR); `None` without a limit.
    pub max_open: Option<u32>,
    /// Most zones that are open or closed at once (MAR); `None` without a limit.
    pub max_active: Option<u32>,
    /// Largest zone append, in bytes; `None` if no append can be sent this way.
    pub append_bytes: Option<u32>,
}

impl ZoneFacts {
    /// The start of the zone with this block.
    #[must_use]
    pub fn start_of(&self, lba: u64) -> u64 {
        lba - lba % self.zone_blocks
    }
}

/// What can be done with a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZoneAction {
    /// Opens it.
    Open,
    /// Closes it: its resources are free for others.
    Close,
    /// Makes it full, whatever is written.
    Finish,
    /// Makes it empty: what it holds is lost.
    Reset,
    /// Takes it out of service for good. Only of a namespace, and only in state Read Only.
    Offline,
}

impl ZoneAction {
    /// As Zone Management Send has it (ZSA).
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Open => action::OPEN,
            Self::Close => action::CLOSE,
            Self::Finish => action::FINISH,
            Self::Reset => action::RESET,
            Self::Offline => action::OFFLINE,
        }
    }

    /// As the kernel's calls have it.
    const fn of_kernel(self) -> Option<kernel::Action> {
        Some(match self {
            Self::Open => kernel::Action::Open,
            Self::Close => kernel::Action::Close,
            Self::Finish => kernel::Action::Finish,
            Self::Reset => kernel::Action::Reset,
            Self::Offline => return None,
        })
    }
}

/// Which zones something is done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhichZone {
    /// The one that starts with this block.
    At(u64),
    /// All that it can be done with, in one command.
    All,
}

/// Why zones were not reported, or something was not done with them.
#[derive(Debug, thiserror::Error)]
pub enum ZoneError {
    /// The command failed: [`Failure::Device`] is the device's own status.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The operating system, or the way to the device.
    #[error(transparent)]
    Host(#[from] io::Error),
    /// What the device says of its zones cannot be.
    #[error("its answer about zones makes no sense: {0}")]
    Answer(String),
}

impl From<NvmeError> for ZoneError {
    fn from(error: NvmeError) -> Self {
        match error {
            NvmeError::Status { status, .. } => Self::Failed(Failure::Device(status)),
            NvmeError::Host(source) => Self::Host(source),
        }
    }
}

/// One thread's way to the zones of a device: see the [module](self).
pub struct Zoned<'d> {
    device: &'d dyn Device,
    facts: ZoneFacts,
    way: Way<'d>,
}

enum Way<'d> {
    Native(Box<Native>),
    Kernel(&'d File),
}

impl<'d> Zoned<'d> {
    /// Asks a device for its zones; `None` if it has none, or is not reached in a way that knows of them. Blocks.
    ///
    /// # Errors
    /// It does not answer, or with what cannot be.
    pub fn open(device: &'d dyn Device) -> Result<Option<Self>, ZoneError> {
        if let Some(nvme) = device.nvme() {
            let Some((native, facts)) = native::open(device, nvme)? else { return Ok(None) };
            return Ok(Some(Self { device, facts, way: Way::Native(Box::new(native)) }));
        }
        let Some(file) = device.zoned_disk() else { return Ok(None) };
        let facts = disk::facts(device, file)?;
        Ok(Some(Self { device, facts, way: Way::Kernel(file) }))
    }

    /// What all zones have in common.
    #[must_use]
    pub fn facts(&self) -> &ZoneFacts {
        &self.facts
    }

    /// The namespace, if native commands reach it.
    #[must_use]
    pub fn nsid(&self) -> Option<u32> {
        match &self.way {
            Way::Native(native) => Some(native.nsid),
            Way::Kernel(_) => None,
        }
    }

    /// The zones from the one with block `lba` on, at most `most` of them.
    ///
    /// # Errors
    /// See [`ZoneError`].
    pub fn report(&mut self, lba: u64, most: u64) -> Result<Vec<ZoneDescriptor>, ZoneError> {
        let Self { device, facts, way } = self;
        let behind = facts.zones * facts.zone_blocks;
        let mut zones: Vec<ZoneDescriptor> = Vec::new();
        let mut next = facts.start_of(lba);
        while next < behind && (zones.len() as u64) < most {
            let left = (most - zones.len() as u64).min((behind - next) / facts.zone_blocks);
            let part = match way {
                Way::Native(native) => native.report(next, left)?,
                Way::Kernel(file) => disk::report(*device, file, next, left)?,
            };
            if part.is_empty() {
                return Err(ZoneError::Answer(format!("there is no zone at block {next}")));
            }
            for zone in part.into_iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
                check(&zone, next, facts)?;
                next += facts.zone_blocks;
                zones.push(zone);
            }
        }
        Ok(zones)
    }

    /// Does something with zones.
    ///
    /// # Errors
    /// See [`ZoneError`]; [`Failure::NotSupported`] for what only native commands can say.
    pub fn act(&mut self, action: ZoneAction, which: WhichZone) -> Result<(), ZoneError> {
        match &mut self.way {
            Way::Native(native) => native.act(action, which),
            Way::Kernel(file) => disk::act(self.device, file, &self.facts, action, which),
        }
    }
}

/// Whether this can be the zone that starts with block `start`.
fn check(zone: &ZoneDescriptor, start: u64, facts: &ZoneFacts) -> Result<(), ZoneError> {
    let (found, capacity) = (zone.zslba.get(), zone.zcap.get());
    if found != start {
        return Err(ZoneError::Answer(format!("there is a zone at block {found}, where one starts at {start}")));
    }
    if capacity > facts.zone_blocks {
        let why = format!("the zone at block {start} takes {capacity} blocks and has {}", facts.zone_blocks);
        return Err(ZoneError::Answer(why));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{OpenOptions, open};

    const FACTS: ZoneFacts =
        ZoneFacts { zone_blocks: 100, zones: 4, max_open: None, max_active: Some(2), append_bytes: None };

    #[test]
    fn a_zone_is_where_it_belongs_and_no_larger() {
        assert_eq!((FACTS.start_of(0), FACTS.start_of(99), FACTS.start_of(100)), (0, 0, 100));
        let zone =
            |zslba: u64, zcap: u64| ZoneDescriptor { zslba: zslba.into(), zcap: zcap.into(), ..Default::default() };
        assert!(check(&zone(100, 100), 100, &FACTS).is_ok());
        assert!(check(&zone(100, 101), 100, &FACTS).unwrap_err().to_string().contains("takes 101"));
        assert!(check(&zone(0, 1), 100, &FACTS).unwrap_err().to_string().contains("at block 0"));
    }

    #[test]
    fn devices_without_zones_say_so() {
        for name in ["ram:1MiB", "null:1MiB"] {
            let device = open(name, &OpenOptions::default()).unwrap();
            assert!(Zoned::open(&*device).unwrap().is_none(), "{name}");
        }
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().join("disk.img");
        let device = open(name.to_str().unwrap(), &OpenOptions { size: Some(1 << 20), ..Default::default() }).unwrap();
        assert!(Zoned::open(&*device).unwrap().is_none());
    }

    #[test]
    fn every_action_but_one_is_the_kernels_too() {
        use ZoneAction::{Close, Finish, Offline, Open, Reset};
        let codes: Vec<u8> = [Close, Finish, Open, Reset, Offline].map(ZoneAction::code).into();
        assert_eq!(codes, [1, 2, 3, 4, 5]);
        assert!([Close, Finish, Open, Reset].into_iter().all(|action| action.of_kernel().is_some()));
        assert!(Offline.of_kernel().is_none());
    }
}
