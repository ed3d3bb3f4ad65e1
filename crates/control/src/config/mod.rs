//! What is wanted as one value: what a configuration file says, or the flags of `qpair serve` or `qpair cache`.
//!
//! ```toml
//! reactors = 2                                  # threads; also cpus, dedicated, ring, in-capsule
//! metrics = 9420                                # Prometheus on loopback, or metrics = "ADDR:PORT"; none: not served
//!
//! [[listener]]                                  # none: 127.0.0.1:4420
//! address = "192.168.1.10:4420"
//!
//! [[subsystem]]
//! nqn = "nqn.2026-01.org.example:a"
//! hosts = ["nqn.2014-08.org.nvmexpress:uuid:5f1c0d5e-..."]    # or allow-any-host = true
//!
//! [[subsystem.namespace]]
//! nsid = 1                                      # none: the lowest free one
//! device = "/data/disk.img"                     # as on the command line, also with options behind commas
//! size = "1GiB"                                 # the same as keys: size, block-size, read-only, uuid
//!
//! [[referral]]                                  # another discovery service that hosts are told of
//! address = "192.168.1.11:4420"
//!
//! [cache]                                       # a cache in the same process; `cache.rs` shows its fields
//! memory = "4GiB"
//! ```
//!
//! ```text
//!   text ──▶ parse (read: typed fields) ──▶ Config ──▶ rules, the same for files and flags ──▶ Config, or all mistakes
//! ```
//!
//! Pure but for [`Config::load`]: nothing is opened, nothing is asked of the machine.

mod cache;
mod mistake;
mod parse;
mod read;
mod rules;
#[cfg(test)]
mod tests;
mod text;
mod users;
mod write;

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use block::OpenError;
use block::spec::Spec;
use machine::ring::RingKind;
use nvmf::limits::{IN_CAPSULE_DEFAULT_BYTES, IN_CAPSULE_MAX_BYTES};
use wire::nvme::Nqn;

pub use self::cache::{Cache, Durability, Listen, Protocol, max_item, ring as cache_ring};
pub use self::mistake::{Mistake, Places, Problem};
pub use self::rules::{Broken, Rule, Source};
pub use self::users::{UsersError, load_users};
use text::NotText;

use crate::limits::FILE_BYTES;

/// Where a target listens unless somebody says otherwise.
pub const DEFAULT_LISTENER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 4420);

/// What is to be served, where, to whom, and by what: subsystems, a cache, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The threads of the target, that serves subsystems: what cannot change while it runs.
    pub machine: Machine,
    /// Addresses to listen on; every subsystem is reached by each of them. Port 0 is any free port.
    pub listeners: Vec<SocketAddr>,
    /// What hosts connect to.
    pub subsystems: Vec<Subsystem>,
    /// Other discovery services that hosts are told of.
    pub referrals: Vec<SocketAddr>,
    /// Most bytes of in-capsule data on an I/O queue; a change holds for controllers that are made later.
    pub in_capsule_bytes: u32,
    /// Where metrics are served, if they are.
    pub metrics: Option<SocketAddr>,
    /// The cache, if there is to be one.
    pub cache: Option<Cache>,
}

/// The threads that serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Number of reactors; `None`: as many as are useful on the machine that it runs on.
    pub reactors: Option<usize>,
    /// The processors to pin them to, one each; empty: the operating system chooses.
    pub cpus: Vec<usize>,
    /// Spin before sleeping.
    pub dedicated: bool,
    /// What serves files.
    pub ring: RingKind,
}

/// Namespaces under one name, and who may use them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subsystem {
    /// Its name; `None` (from flags only) to make one from the first device's UUID.
    pub nqn: Option<Nqn>,
    /// Who may connect.
    pub hosts: Hosts,
    /// In the order of the file.
    pub namespaces: Vec<Namespace>,
}

/// Who may connect to a subsystem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// Nothing was said: any host, which is fine as long as all listeners are on loopback.
    Unsaid,
    /// Any host, from anywhere.
    Any,
    /// Those with these names.
    Listed(Vec<Nqn>),
}

/// One device and its place in a subsystem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Its ID, 1 or more.
    pub nsid: u32,
    /// The device with all its options, as on the command line.
    pub text: String,
    /// What `text` means.
    pub spec: Spec,
}

impl Default for Machine {
    fn default() -> Self {
        let (cpus, ring) = (Vec::new(), RingKind::Auto);
        Self { reactors: None, cpus, dedicated: false, ring }
    }
}

impl Namespace {
    /// The device that `text` names.
    ///
    /// # Errors
    /// What is wrong with the text; nothing is opened.
    pub fn new(nsid: u32, text: impl Into<String>) -> Result<Self, OpenError> {
        let text = text.into();
        Ok(Self { nsid, spec: text.parse()?, text })
    }

    /// The same device with one more option, such as `bs=4096`.
    ///
    /// # Errors
    /// It is there already, or this kind of device does not have it.
    pub fn with(&self, option: &str) -> Result<Self, OpenError> {
        Self::new(self.nsid, format!("{},{option}", self.text))
    }
}

impl Default for Config {
    /// Nothing is served, which is a broken rule.
    fn default() -> Self {
        Self {
            machine: Machine::default(),
            listeners: vec![DEFAULT_LISTENER],
            subsystems: Vec::new(),
            referrals: Vec::new(),
            in_capsule_bytes: IN_CAPSULE_DEFAULT_BYTES,
            metrics: None,
            cache: None,
        }
    }
}

impl Config {
    /// Reads a configuration.
    ///
    /// # Errors
    /// All mistakes that can be found at once, in the order of the text.
    pub fn parse(text: &str) -> Result<Self, Vec<Mistake>> {
        parse::parse(text).map(|(config, _)| config)
    }

    /// Reads a configuration file. Where its fields stand is for mistakes that show when they are put into practice.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn load(path: &Path) -> Result<(Self, Places), LoadError> {
        let unreadable = |source| LoadError::Unreadable { path: path.to_owned(), source };
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(unreadable)?;
        file.take(FILE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        Self::parse_bytes(&bytes).map_err(|mistakes| LoadError::Mistakes { path: path.to_owned(), mistakes })
    }

    /// The bytes of a file, that may be too many or not text at all.
    fn parse_bytes(bytes: &[u8]) -> Result<(Self, Places), Vec<Mistake>> {
        let alone = |text: &str, at, why: String, hint: &str| {
            let mut log = mistake::Log::new(text);
            log.add(at, "", why, hint);
            Err(log.finish())
        };
        if bytes.len() > FILE_BYTES {
            return alone("", 0, format!("the file has more than {FILE_BYTES} bytes"), "Is it a configuration file?");
        }
        match text::text(bytes) {
            Ok(text) => parse::parse(&text),
            Err(NotText { good, why }) => alone(&good, good.len(), why.to_owned(), "Save the file as UTF-8 text."),
        }
    }

    /// The configuration as a file.
    #[must_use]
    pub fn to_toml(&self) -> String {
        write::toml(self)
    }

    /// The rules that hold between fields, and are broken.
    #[must_use]
    pub fn broken_rules(&self) -> Vec<Broken> {
        rules::broken(self)
    }

    /// Namespaces of all subsystems together.
    #[must_use]
    pub fn namespace_count(&self) -> usize {
        self.subsystems.iter().map(|subsystem| subsystem.namespaces.len()).sum()
    }
}

/// Why a configuration file cannot be used.
#[derive(Debug)]
pub enum LoadError {
    /// It cannot be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It has mistakes.
    Mistakes {
        /// The file.
        path: PathBuf,
        /// One or more, in the order of the text.
        mistakes: Vec<Mistake>,
    },
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, source } => {
                write!(f, "{}: cannot be read: {source}\n  Check the path and its permissions.", path.display())
            }
            Self::Mistakes { path, mistakes } => {
                for (index, mistake) in mistakes.iter().enumerate() {
                    let separator = if index == 0 { "" } else { "\n" };
                    write!(f, "{separator}{}:{mistake}", path.display())?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable { source, .. } => Some(source),
            Self::Mistakes { .. } => None,
        }
    }
}

/// Reads a size of in-capsule data: it is counted in 16 bytes (Base 2.0, IOCCSZ).
///
/// # Errors
/// What is possible.
pub fn in_capsule(bytes: u64) -> Result<u32, String> {
    match u32::try_from(bytes) {
        Ok(bytes) if bytes <= IN_CAPSULE_MAX_BYTES && bytes.is_multiple_of(16) => Ok(bytes),
        _ => Err(format!("a multiple of 16 up to {IN_CAPSULE_MAX_BYTES} bytes")),
    }
}

/// Reads an NQN.
///
/// # Errors
/// What is wrong with it, and what one looks like.
pub fn nqn(text: &str) -> Result<Nqn, String> {
    Nqn::new(text).map_err(|error| format!("{error}; an NQN looks like nqn.2026-01.org.example:disk1"))
}
