//! Discovery: which subsystems a target has, and where.
//!
//! A discovery controller is connected without keep-alive, its log page 70h is read, and it is shut down again. The log
//! may change while it is read in pieces: its header is read once more at the end, and if GENCTR moved, all is read
//! again. Whoever wants to ask it something else, or the log as it is, has [`DiscoveryController`].

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use wire::nvme::discovery::{SUBTYPE_CURRENT_DISCOVERY, SUBTYPE_NVM, SUBTYPE_REFERRAL, TRTYPE_TCP};
use wire::nvme::identify::text;
use wire::nvme::{DiscoveryLogEntry, DiscoveryLogHeader, LogRequest, Nqn, Sqe, lid};
use zerocopy::IntoBytes;

use super::admin::{Admin, zeroed};
use super::error::AdminError;
use super::limits::{ADMIN_TIMEOUT, DISCOVERY_ATTEMPTS, DISCOVERY_ENTRIES_PER_READ, MAX_DISCOVERY_ENTRIES};
use super::uri::{SCHEME, Uri, UriError};
use crate::{Nvme, NvmeError, OpenError, Transfer};

const STEP: &str = "Get Log Page (Discovery)";
const HEADER_BYTES: u64 = size_of::<DiscoveryLogHeader>() as u64;
const ENTRY_BYTES: u64 = size_of::<DiscoveryLogEntry>() as u64;

/// What an entry leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// Another discovery service.
    Referral,
    /// A subsystem with namespaces.
    Subsystem,
    /// The discovery service that answered.
    ThisDiscovery,
    /// A subtype that this host does not know.
    Other(u8),
}

/// An entry of the discovery log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveryEntry {
    /// What it leads to.
    pub kind: EntryKind,
    /// NQN of the subsystem.
    pub subnqn: String,
    /// Address, as the target writes it.
    pub traddr: String,
    /// Port, as the target writes it.
    pub trsvcid: String,
    /// Whether the transport is TCP.
    pub tcp: bool,
    /// Port identifier.
    pub portid: u16,
}

impl DiscoveryEntry {
    fn read(entry: &DiscoveryLogEntry) -> Self {
        let kind = match entry.subtype {
            SUBTYPE_REFERRAL => EntryKind::Referral,
            SUBTYPE_NVM => EntryKind::Subsystem,
            SUBTYPE_CURRENT_DISCOVERY => EntryKind::ThisDiscovery,
            other => EntryKind::Other(other),
        };
        Self {
            kind,
            subnqn: text(&entry.subnqn),
            traddr: text(&entry.traddr),
            trsvcid: text(&entry.trsvcid),
            tcp: entry.trtype == TRTYPE_TCP,
            portid: entry.portid.get(),
        }
    }
}

/// A discovery controller, for admin commands. It ends the association by itself when it hears nothing for minutes.
pub struct DiscoveryController {
    admin: Mutex<Admin>,
}

impl DiscoveryController {
    /// The address of a discovery controller in `name`, if it is one: `nvme-tcp://HOST:PORT` without a subsystem, or
    /// with the discovery subsystem's NQN.
    #[must_use]
    pub fn address(name: &str) -> Option<Result<Uri, UriError>> {
        let rest = name.strip_prefix(SCHEME)?;
        let (way, options) = rest.split_once('?').map_or((rest, None), |(way, options)| (way, Some(options)));
        let nqn = Nqn::discovery();
        let way = match way.trim_end_matches('/').split_once('/') {
            None => way.trim_end_matches('/'),
            Some((way, found)) if found == nqn.as_str() => way,
            Some(_) => return None,
        };
        let options = options.map_or_else(String::new, |options| format!("?{options}"));
        Some(format!("{SCHEME}{way}/{}{options}", nqn.as_str()).parse())
    }

    /// Connects to it.
    ///
    /// # Errors
    /// What, why and what to do.
    pub fn connect(uri: &Uri) -> Result<Self, OpenError> {
        let uri = Uri { kato: Duration::ZERO, ..uri.clone() };
        let admin = Admin::connect(&uri, &Nqn::discovery(), ADMIN_TIMEOUT).map_err(|error| error.at(&uri))?;
        Ok(Self { admin: Mutex::new(admin) })
    }

    /// Shuts it down.
    ///
    /// # Errors
    /// It did not answer; the association is over all the same.
    pub fn close(self) -> io::Result<()> {
        let mut admin = self.admin.into_inner().unwrap_or_else(PoisonError::into_inner);
        admin.shut_down().map_err(AdminError::into_io)
    }
}

impl Nvme for DiscoveryController {
    fn nsid(&self) -> Option<u32> {
        None
    }

    fn admin(&self, sqe: Sqe, data: Transfer<'_>) -> Result<u64, NvmeError> {
        let mut admin = self.admin.lock().unwrap_or_else(PoisonError::into_inner);
        admin.command("admin command", sqe, data, ADMIN_TIMEOUT).map(|cqe| cqe.result()).map_err(AdminError::answered)
    }
}

/// Reads the discovery log of the target at `host` and `port`.
///
/// # Errors
/// The connection or the log could not be had: what, why and what to do.
pub fn discover(host: &str, port: u16) -> Result<Vec<DiscoveryEntry>, OpenError> {
    let mut uri = Uri::new(host, port, Nqn::discovery().as_str());
    uri.kato = Duration::ZERO;
    read_log(&uri).map_err(|error| error.at(&uri))
}

fn read_log(uri: &Uri) -> Result<Vec<DiscoveryEntry>, AdminError> {
    let mut admin = Admin::connect(uri, &Nqn::discovery(), ADMIN_TIMEOUT)?;
    for _ in 0..DISCOVERY_ATTEMPTS {
        let before = header(&mut admin)?;
        let entries = entries(&mut admin, before.numrec.get())?;
        if header(&mut admin)?.genctr == before.genctr {
            // The log is in hand: how the target takes the good-bye does not matter.
            let _ = admin.shut_down();
            return Ok(entries);
        }
    }
    Err(AdminError::protocol(STEP, "the log changed each time it was read"))
}

fn header(admin: &mut Admin) -> Result<Box<DiscoveryLogHeader>, AdminError> {
    let mut header = zeroed::<DiscoveryLogHeader>();
    read(admin, 0, header.as_mut_bytes())?;
    if header.recfmt.get() != 0 {
        return Err(AdminError::protocol(STEP, format!("record format {} is unknown", header.recfmt)));
    }
    if header.numrec.get() > MAX_DISCOVERY_ENTRIES {
        return Err(AdminError::protocol(STEP, format!("the log has {} entries", header.numrec)));
    }
    Ok(header)
}

fn entries(admin: &mut Admin, count: u64) -> Result<Vec<DiscoveryEntry>, AdminError> {
    let mut found = Vec::new();
    let mut piece = zeroed::<[DiscoveryLogEntry; DISCOVERY_ENTRIES_PER_READ as usize]>();
    while (found.len() as u64) < count {
        let done = found.len() as u64;
        let now = (count - done).min(DISCOVERY_ENTRIES_PER_READ) as usize;
        read(admin, HEADER_BYTES + done * ENTRY_BYTES, piece[..now].as_mut_bytes())?;
        found.extend(piece[..now].iter().map(DiscoveryEntry::read));
    }
    Ok(found)
}

fn read(admin: &mut Admin, offset: u64, place: &mut [u8]) -> Result<(), AdminError> {
    let log = LogRequest { lid: lid::DISCOVERY, lsp: 0, rae: false, offset, bytes: place.len() as u32, nsid: 0 };
    admin.command(STEP, Sqe::get_log(log), Transfer::In(place), ADMIN_TIMEOUT)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_discovery_controllers() {
        let address = |name: &str| DiscoveryController::address(name).map(|uri| uri.map(|uri| uri.to_string()));
        let nqn = Nqn::discovery();
        let whole = format!("nvme-tcp://192.0.2.7:8009/{}", nqn.as_str());
        for name in ["nvme-tcp://192.0.2.7:8009", "nvme-tcp://192.0.2.7:8009/", &whole] {
            assert_eq!(address(name), Some(Ok(whole.clone())), "{name}");
        }
        let digests = address("nvme-tcp://h?hdgst=1").expect("an address").expect("a good one");
        assert!(digests.starts_with("nvme-tcp://h:4420/nqn.2014-08"), "{digests}");
        assert!(matches!(address("nvme-tcp://h?hdgst=7"), Some(Err(_))));
        for name in ["nvme-tcp://h/nqn.2026-01.org.example:disk", "/dev/nvme0", "disk.img"] {
            assert_eq!(address(name), None, "{name}");
        }
    }
}
