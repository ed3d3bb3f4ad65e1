//! Who a file is: the same after every restart, and not the same as its copies.
//!
//! An identity is made when a file is served for the first time and kept in a record of one line:
//!
//! ```text
//! qpair-identity 1 uuid=6ba7b810-9dad-41d1-80b4-00c04fd430c8 inode=2883612 born=1712345678.123456789
//! ```
//!
//! The record is an extended attribute of the file, or, where there are none, a file beside it with `.qpair` at the end
//! of its name. It is on the medium before the device is served, so that a crash right afterwards does not change it.
//!
//! The inode number and the time of birth say which file the record was made for. They do not come along when a file is
//! copied, even if the record does (`cp -a`), so a copy is recognised and gets an identity of its own.
//!
//! | what is found | writable | read-only |
//! |---|---|---|
//! | `uuid=` was given | that one, stored | that one |
//! | a record made for this file | the stored one | the stored one |
//! | a record made for another file | a new one, stored, with a warning | derived from the file |
//! | no record | a new one, stored | derived from the file |
//! | ... and no place to store one | derived from the file | |
//!
//! "Derived" is a hash of inode number and time of birth as a UUID of version 8 (RFC 9562, 5.8): it lasts as long as
//! the file does. Block devices cannot hold a record; theirs is derived from what the kernel knows of them (`/sys`;
//! on Windows maker, model and serial number).

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use machine::os::{self, FileKey};
use uuid::Uuid;

use crate::Identity;
use crate::limits::IDENTITY_RECORD_BYTES;

/// The extended attribute that holds the record.
pub const ATTRIBUTE: &str = "user.qpair.identity";
/// What is appended to the name of the file where extended attributes are not there.
pub const SIDECAR_SUFFIX: &str = ".qpair";
const MAGIC: &str = "qpair-identity";
const VERSION: &str = "1";

/// Where an identity came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The user gave it.
    Given,
    /// It was stored with the file.
    Stored,
    /// It was made and stored now.
    New,
    /// It was made and stored now, because the stored one belongs to the file that this one is a copy of.
    Copy {
        /// The identity of the other file.
        of: Uuid,
    },
    /// It follows from the file or the block device, and is not stored.
    Derived,
    /// It follows from the node of a block device that the kernel knows no name of: another one may get it tomorrow.
    Node,
}

/// A file whose identity is asked for.
pub(crate) struct Subject<'a> {
    /// Its name, for messages and for the sidecar.
    pub path: &'a Path,
    /// The open file; exclusively locked if something is to be stored.
    pub file: &'a File,
    /// Nothing may be stored.
    pub read_only: bool,
    /// Whether extended attributes are to be used; tests say no.
    pub attributes: bool,
}

impl Subject<'_> {
    /// Finds or makes the identity of a regular file, with what the user gave as the first choice.
    ///
    /// # Errors
    /// Those of asking the file system for the file's inode.
    pub(crate) fn identify(&self, given: Option<Uuid>) -> io::Result<(Identity, Origin)> {
        let key = os::file_key(self.file)?;
        let (uuid, origin) = self.choose(key, given);
        Ok((Identity::from_uuid(uuid), origin))
    }

    fn choose(&self, key: FileKey, given: Option<Uuid>) -> (Uuid, Origin) {
        let path = self.path.display();
        let found = self.find(key);
        if let Some(uuid) = given {
            let record = Record { uuid, key };
            if found != Some(record) && !self.read_only && self.store(record).is_err() {
                tracing::debug!("{path}: its identity cannot be stored; give uuid={uuid} at every start");
            }
            return (uuid, Origin::Given);
        }
        if let Some(record) = found.filter(|record| record.key == key) {
            return (record.uuid, Origin::Stored);
        }
        let derived = || (derive(b"file", &file_seed(self.path, key)), Origin::Derived);
        if self.read_only {
            return derived();
        }
        let record = Record { uuid: Uuid::new_v4(), key };
        match (self.store(record), found) {
            (Ok(()), None) => (record.uuid, Origin::New),
            (Ok(()), Some(other)) => {
                let (old, new) = (other.uuid, record.uuid);
                tracing::warn!(
                    "{path}: its identity {old} was made for another file, so this is a copy and gets a new one, \
                     {new}; if it is the same disk, moved or restored, start it once with uuid={old}"
                );
                (new, Origin::Copy { of: old })
            }
            (Err(error), _) => {
                let derived = derived();
                tracing::info!(
                    "{path}: there is no place to store its identity ({error}), so it is derived from the file: {}; \
                     uuid=UUID chooses another one",
                    derived.0
                );
                derived
            }
        }
    }

    /// The record made for this file, else one made for another file, else none.
    fn find(&self, key: FileKey) -> Option<Record> {
        let attribute = self.attributes.then(|| self.read_attribute()).flatten();
        let sidecar = match read_sidecar(&self.sidecar()) {
            Sidecar::Record(record) => Some(record),
            Sidecar::None | Sidecar::Foreign => None,
        };
        let mut all = attribute.into_iter().chain(sidecar);
        all.clone().find(|record| record.key == key).or_else(|| all.next())
    }

    fn read_attribute(&self) -> Option<Record> {
        let mut value = [0; IDENTITY_RECORD_BYTES];
        let len = os::get_xattr(self.file, ATTRIBUTE, &mut value).ok()??;
        str::from_utf8(value.get(..len)?).ok()?.parse().ok()
    }

    /// Stores the record where it finds a place, and does not return before it is on the medium.
    fn store(&self, record: Record) -> io::Result<()> {
        let line = record.to_string();
        if self.attributes && os::set_xattr(self.file, ATTRIBUTE, line.as_bytes()).is_ok() {
            return self.file.sync_all();
        }
        let sidecar = self.sidecar();
        if matches!(read_sidecar(&sidecar), Sidecar::Foreign) {
            let why = format!("{} is there and is not an identity record", sidecar.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, why));
        }
        replace(&sidecar, line.as_bytes())
    }

    fn sidecar(&self) -> PathBuf {
        with_suffix(self.path, SIDECAR_SUFFIX)
    }
}

/// What a sidecar holds.
enum Sidecar {
    None,
    Record(Record),
    /// Something that is not ours, and must stay.
    Foreign,
}

fn read_sidecar(path: &Path) -> Sidecar {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(IDENTITY_RECORD_BYTES as u64).read_to_string(&mut text));
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Sidecar::None,
        Err(_) => Sidecar::Foreign,
        Ok(_) => text.parse().map_or(Sidecar::Foreign, Sidecar::Record),
    }
}

/// Writes a file so that after a crash it is there as a whole, or as it was before.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = with_suffix(path, ".new");
    let written = (|| {
        let mut file = File::create(&fresh)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        drop(file);
        os::replace(&fresh, path)
    })();
    if written.is_err() {
        // Left behind, it would do no harm: nobody reads it, and the next try replaces it.
        let _ = fs::remove_file(&fresh);
    }
    written?;
    sync_parent(path)
}

/// Makes the entry of a new file in its directory durable.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    os::sync_directory(parent.unwrap_or(Path::new(".")))
}

pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// The stored line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Record {
    uuid: Uuid,
    /// The file that it was made for.
    key: FileKey,
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FileKey { inode, born } = self.key;
        write!(f, "{MAGIC} {VERSION} uuid={} inode={inode} born=", self.uuid)?;
        match born {
            Some(born) => writeln!(f, "{}.{:09}", born.as_secs(), born.subsec_nanos()),
            None => writeln!(f, "unknown"),
        }
    }
}

impl FromStr for Record {
    type Err = ();

    fn from_str(line: &str) -> Result<Self, ()> {
        fn field<'a>(words: &mut impl Iterator<Item = &'a str>, name: &str) -> Option<&'a str> {
            words.next()?.strip_prefix(name)?.strip_prefix('=')
        }
        let mut words = line.split_ascii_whitespace();
        let mut read = || {
            if words.next()? != MAGIC || words.next()? != VERSION {
                return None;
            }
            let uuid = Uuid::parse_str(field(&mut words, "uuid")?).ok()?;
            let inode = field(&mut words, "inode")?.parse().ok()?;
            let born = match field(&mut words, "born")? {
                "unknown" => None,
                time => {
                    let (seconds, nanos) = time.split_once('.').filter(|(_, nanos)| nanos.len() == 9)?;
                    let nanos = nanos.parse::<u32>().ok().filter(|nanos| *nanos < 1_000_000_000)?;
                    Some(Duration::new(seconds.parse().ok()?, nanos))
                }
            };
            Some(Self { uuid, key: FileKey { inode, born } })
        };
        read().ok_or(())
    }
}

/// What a file's derived identity is made of. Without a time of birth the inode number alone says too little. A path
/// goes in as the system spells it.
fn file_seed(path: &Path, key: FileKey) -> Vec<u8> {
    let mut seed = key.inode.to_le_bytes().to_vec();
    match key.born {
        Some(born) => seed.extend(born.as_nanos().to_le_bytes()),
        None => {
            let spelled = os::drive_name(path).or_else(|| fs::canonicalize(path).ok());
            let path = spelled.unwrap_or_else(|| path.to_owned());
            seed.extend(path.as_os_str().as_encoded_bytes());
        }
    }
    seed
}

/// A UUID of version 8 (RFC 9562, 5.8) from a hash of `seed`, separate for every `domain`.
fn derive(domain: &[u8], seed: &[u8]) -> Uuid {
    // FNV-1a with 128 bits: a fixed, public function, because what it gives must never change.
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let bytes = domain.iter().chain(&[0]).chain(seed);
    let hash = bytes.fold(OFFSET, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME));
    Uuid::new_v8(hash.to_be_bytes())
}

/// The identity of a block device: from what the kernel knows of it, else from its node.
///
/// # Errors
/// Those of asking the file system for the node's inode.
pub(crate) fn of_block_device(path: &Path, file: &File, given: Option<Uuid>) -> io::Result<(Identity, Origin)> {
    if let Some(uuid) = given {
        return Ok((Identity::from_uuid(uuid), Origin::Given));
    }
    let sysfs = || kernel_name(&Path::new("/sys/class/block").join(fs::canonicalize(path).ok()?.file_name()?));
    if let Some(seed) = os::drive_serial(file).or_else(sysfs) {
        return Ok((Identity::from_uuid(derive(b"block", seed.as_bytes())), Origin::Derived));
    }
    let uuid = derive(b"node", &file_seed(path, os::file_key(file)?));
    Ok((Identity::from_uuid(uuid), Origin::Node))
}

/// The name under which the kernel knows the medium behind `/sys/class/block/NAME` for good.
fn kernel_name(sys: &Path) -> Option<String> {
    if let Some(number) = read_line(&sys.join("partition")) {
        // A partition's directory lies in that of its disk. Where it starts tells it from a later one of its number.
        let disk = fs::canonicalize(sys).ok()?;
        let start = read_line(&sys.join("start"))?;
        return Some(format!("{} partition {number} at {start}", kernel_name(disk.parent()?)?));
    }
    // Device mapper (LVM, multipath, dm-crypt), RAID, NVMe and SCSI, virtio: the first that says something.
    let attributes = ["dm/uuid", "md/uuid", "wwid", "device/wwid", "serial"];
    attributes.iter().find_map(|name| Some(format!("{name} {}", read_line(&sys.join(name))?)))
}

fn read_line(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
