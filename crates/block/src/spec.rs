//! How a person names a device, and the way from the name to the device.
//!
//! ```text
//! disk.img                          a file, or a block device such as /dev/nvme0n1
//! /dev/ng0n1                        the same namespace by NVMe commands: see [`crate::nvme::kernel`]
//! disk.img,ro,bs=4096               ... with options
//! D:\disk.img                       the same on Windows; also D:/disk.img and \\?\D:\disk.img
//! \\.\PhysicalDrive1                a drive of Windows; with path=ioctl by the commands that Windows carries
//! file:ram:odd,,name.img,size=1GiB  ... with an odd name: `file:` takes the rest as a path, `,,` is a comma in it
//! ram:1GiB,bs=4096                  memory; gone when the program ends
//! null:1TiB                         reads give zeros, writes vanish
//! fault:ram:1GiB,rule=...           any of these, with faults: see [`crate::layers::fault`]
//! ```
//!
//! | option | long | means |
//! |---|---|---|
//! | `bs=N` | `block-size=N` | bytes of a logical block, 512 or 4096 |
//! | `ro` | `read-only` | refuse everything that changes the device |
//! | `force` | | open a block device for writing also if it is in use: see [`crate::file::FileOptions::in_use`] |
//! | `uuid=U` | | the identity, instead of the stored or a new one |
//! | `size=N` | | size of a file that is to be created |
//! | `path=P` | | the way to it, instead of the device's own choice: see [`crate::path`] |
//! | `iopoll` | | completions are polled for, with `path=uring` or `uring-cmd` (needs the driver's `poll_queues`) |
//! | `sqpoll` | | a thread of the kernel takes requests, with `path=uring` or `uring-cmd` |
//! | `rule=R` | | of `fault:`, any number of times: what is to go wrong |
//! | `seed=N` | | of `fault:`: what its choices follow from |
//!
//! A new kind of device gets a [`Target`], a word in `Target::parse` and an arm in [`Spec::open`].

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use uuid::Uuid;

use crate::file::{FileDevice, FileOptions};
use crate::layers::fault::{BadRule, FaultDevice, Faults};
use crate::limits::BLOCK_BYTES;
use crate::null::NullDevice;
use crate::nvme::kernel::{self, AdminDevice, KernelDevice, KernelOptions};
use crate::path;
use crate::ram::RamDevice;
use crate::size::parse_size;
use crate::{Device, OpenError};

/// A device as a person named it: not opened yet, and nothing is known about it but the words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// What the device is called in messages: the text without its options.
    pub name: String,
    /// What is to be opened.
    pub target: Target,
    /// How.
    pub options: Options,
}

/// What is to be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Memory.
    Ram {
        /// Size in bytes.
        bytes: u64,
    },
    /// Nothing.
    Null {
        /// Size in bytes.
        bytes: u64,
    },
    /// A regular file or a block device.
    File {
        /// Where.
        path: PathBuf,
    },
    /// Another device, with faults.
    Fault {
        /// The other device.
        inner: Box<Target>,
        /// What goes wrong.
        faults: Faults,
    },
}

/// The options behind the name. What is not given is for [`Defaults`] and the device to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Bytes of a logical block.
    pub block_bytes: Option<u32>,
    /// Refuse everything that changes the device.
    pub read_only: bool,
    /// Open a block device for writing also if it is mounted or claimed.
    pub in_use: bool,
    /// The identity.
    pub uuid: Option<Uuid>,
    /// Size in bytes of a file that is to be created.
    pub size: Option<u64>,
    /// The way to it, if not the one that the device picks by itself.
    pub path: Option<path::Path>,
    /// What of that way polls.
    pub polling: path::Polling,
}

/// What holds for all devices of a command line that do not say otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub struct Defaults {
    /// Size in bytes of files that are not there yet. Without it they are not created.
    pub size: Option<u64>,
    /// Bytes of a logical block.
    pub block_bytes: Option<u32>,
    /// Refuse everything that changes a device.
    pub read_only: bool,
    /// Open block devices for writing also if they are mounted or claimed.
    pub in_use: bool,
    /// The way to it.
    pub path: Option<path::Path>,
    /// Open controllers as well, for admin commands: devices without blocks. So are then drives of Windows.
    pub controllers: bool,
}

impl FromStr for Spec {
    type Err = OpenError;

    fn from_str(text: &str) -> Result<Self, OpenError> {
        let mut parts = split(text);
        let name = parts.remove(0);
        let mut target = Target::parse(&name)?;
        let mut options = Options::default();
        let mut given = Vec::new();
        for part in &parts {
            if target.set_fault(part).map_err(|why| wrong(text, why.0, why.1))? {
                continue;
            }
            let key = options.set(part).map_err(|why| wrong(text, why.0, why.1))?;
            if given.contains(&key) {
                let hint = format!("Give `{key}` once.");
                return Err(wrong(text, format!("the option `{key}` is there twice"), hint));
            }
            given.push(key);
        }
        if options.size.is_some() && target.path().is_none() {
            let hint = "Memory and null devices have their size behind the colon, for example ram:1GiB.";
            return Err(wrong(text, "`size=` is an option for files".to_owned(), hint.to_owned()));
        }
        if options.in_use && target.path().is_none() {
            let hint = "Leave it out: nobody else has the memory of the program.".to_owned();
            return Err(wrong(text, "`force` is an option for drives".to_owned(), hint));
        }
        Ok(Self { name, target, options })
    }
}

impl Spec {
    /// Opens the device, creating a file that is not there if a size is known.
    ///
    /// # Errors
    /// What went wrong, and what the user can do about it.
    pub fn open(&self, defaults: &Defaults) -> Result<Arc<dyn Device>, OpenError> {
        self.open_target(&self.target, defaults)
    }

    fn open_target(&self, target: &Target, defaults: &Defaults) -> Result<Arc<dyn Device>, OpenError> {
        let name = &self.name;
        let block_bytes = self.options.block_bytes.or(defaults.block_bytes);
        let read_only = self.options.read_only || defaults.read_only;
        let in_use = self.options.in_use || defaults.in_use;
        let uuid = self.options.uuid;
        let (way, polling) = (self.options.path.or(defaults.path), self.options.polling);
        if let (Some(way), Target::Ram { .. } | Target::Null { .. }) = (way, target) {
            let hint = "Leave path= out: memory is in the program itself.";
            return Err(way.refuse(name, "a file or a drive", hint));
        }
        if polling.any() && matches!(target, Target::Ram { .. } | Target::Null { .. }) {
            let why = format!("{polling} is for files and drives");
            return Err(wrong(name, why, format!("Leave {polling} out.")));
        }
        Ok(match target {
            Target::Ram { bytes } => Arc::new(RamDevice::new(name, *bytes, block_bytes, read_only, uuid)?),
            Target::Null { bytes } => Arc::new(NullDevice::new(name, *bytes, block_bytes, read_only, uuid)?),
            Target::File { path } if is_native(target, way) => {
                self.check_namespace()?;
                let options = KernelOptions { read_only, uuid, path: way, polling, in_use };
                if defaults.controllers && !kernel::is_namespace(path) {
                    return Ok(Arc::new(AdminDevice::open(path, &options)?));
                }
                Arc::new(KernelDevice::open(path, &options)?)
            }
            Target::File { path } if defaults.controllers && kernel::is_drive(path) => {
                let options = KernelOptions { read_only, uuid, path: way, polling, in_use };
                Arc::new(AdminDevice::open(path, &options)?)
            }
            Target::File { path } => {
                let size = self.options.size.or(defaults.size.filter(|_| !has_size(path)));
                let options = FileOptions { size, block_bytes, read_only, in_use, uuid, path: way, polling };
                Arc::new(FileDevice::open(path, &options)?)
            }
            Target::Fault { inner, faults } => {
                let defaults = Defaults { controllers: false, ..*defaults };
                Arc::new(FaultDevice::new(name, self.open_target(inner, &defaults)?, faults.clone()))
            }
        })
    }

    /// Options of files do not fit a namespace, which is as it was made.
    fn check_namespace(&self) -> Result<(), OpenError> {
        let Options { block_bytes, size, .. } = self.options;
        if block_bytes.is_none() && size.is_none() {
            return Ok(());
        }
        let hint = "Leave bs= and size= out; `nvme format` and Namespace Management change such things.";
        Err(wrong(&self.name, "an NVMe namespace has its own size and blocks".to_owned(), hint.to_owned()))
    }
}

impl Target {
    /// The file that it is, or that faults lie over.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File { path } => Some(path),
            Self::Fault { inner, .. } => inner.path(),
            Self::Ram { .. } | Self::Null { .. } => None,
        }
    }

    /// Takes an option of `fault:`; false if it is none.
    fn set_fault(&mut self, part: &str) -> Result<bool, BadOption> {
        let Some((key @ ("rule" | "seed"), value)) = part.split_once('=') else { return Ok(false) };
        let Self::Fault { faults, .. } = self else {
            let hint = "Write fault: before the device.".to_owned();
            return Err(BadOption(format!("`{key}=` is an option of devices with faults"), hint));
        };
        match (key, value.parse(), value.parse()) {
            ("seed", Ok(seed), _) => faults.seed = seed,
            ("seed", Err(_), _) => {
                return Err(BadOption(
                    format!("`{part}` is no seed"),
                    "Write a number, for example seed=7.".to_owned(),
                ));
            }
            (_, _, Ok(rule)) => faults.rules.push(rule),
            (_, _, Err(BadRule { why, hint })) => return Err(BadOption(format!("{part}: {why}"), hint)),
        }
        Ok(true)
    }

    /// Reads the part before the options.
    fn parse(name: &str) -> Result<Self, OpenError> {
        if name.is_empty() {
            let hint = "Name a file, a block device, ram:SIZE or null:SIZE.".to_owned();
            return Err(wrong(name, "the device has no name".to_owned(), hint));
        }
        if is_address(name) {
            let hint = "A device is a path, ram:SIZE or null:SIZE; for a file of this name, write file: before it.";
            return Err(wrong(name, "addresses cannot be opened here".to_owned(), hint.to_owned()));
        }
        if begins_with_drive(name) && name.contains(char::is_control) {
            let hint = "In a configuration file, write it in single quotes: 'D:\\disk.img'.".to_owned();
            return Err(wrong(
                &name.escape_debug().to_string(),
                "a backslash of the path was an escape".to_owned(),
                hint,
            ));
        }
        let file = |path: &str| Self::File { path: PathBuf::from(path) };
        let Some((kind, rest)) = name.split_once(':') else {
            return match name {
                "ram" | "null" => Err(wrong(name, "the size is missing".to_owned(), format!("Write {name}:1GiB."))),
                _ => Ok(file(name)),
            };
        };
        let sized = || parse_size(rest).map_err(|why| wrong(name, why, format!("Write for example {kind}:1GiB.")));
        match kind {
            "ram" => Ok(Self::Ram { bytes: sized()? }),
            "null" => Ok(Self::Null { bytes: sized()? }),
            "fault" => match Self::parse(rest)? {
                Self::Fault { .. } => {
                    let hint = "Write fault: once; it takes any number of rules.".to_owned();
                    Err(wrong(name, "faults lie over faults".to_owned(), hint))
                }
                inner => Ok(Self::Fault { inner: Box::new(inner), faults: Faults::default() }),
            },
            "file" if rest.is_empty() => {
                Err(wrong(name, "the path is missing".to_owned(), "Write file:PATH.".to_owned()))
            }
            "file" => Ok(file(rest)),
            // A mistyped kind should not become a file: what else would have a size behind a colon?
            _ if kind.len() > 1 && kind.bytes().all(|b| b.is_ascii_alphabetic()) && parse_size(rest).is_ok() => {
                let like = nearest(kind, &["ram", "null", "file"]).unwrap_or("ram");
                let hint = format!("Did you mean {like}:{rest}? For a file of this name, write file:{name}.");
                Err(wrong(name, format!("there is no kind of device called `{kind}`"), hint))
            }
            _ => Ok(file(name)),
        }
    }
}

/// Whether it is an address, `kind://...`, rather than a path: also not one that begins with a drive (`D://disk.img`).
pub(crate) fn is_address(name: &str) -> bool {
    name.contains("://") && !name.starts_with("file:") && !begins_with_drive(name)
}

/// Whether it begins as paths of Windows do that begin with a drive: `D:`.
fn begins_with_drive(name: &str) -> bool {
    matches!(name.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic())
}

/// Whether the kernel's NVMe driver has it as a device of its own kind, rather than as a block device. A drive of
/// Windows is both, and is the latter unless somebody asks for the way of commands.
fn is_native(target: &Target, way: Option<path::Path>) -> bool {
    let Target::File { path } = target else { return false };
    let by_commands = kernel::is_drive(path) && way == Some(path::Path::Ioctl);
    by_commands || kernel::is_namespace(path) || kernel::is_controller(path)
}

/// Why an option cannot be used, and what to do.
struct BadOption(String, String);

impl Options {
    /// Sets what `part` says and gives the option's short name back.
    fn set(&mut self, part: &str) -> Result<&'static str, BadOption> {
        let (key, value) = match part.split_once('=') {
            Some((key, value)) => (key.trim(), Some(value.trim())),
            None => (part.trim(), None),
        };
        let needed = |example: &str| {
            value.ok_or_else(|| {
                BadOption(format!("the option `{key}` needs a value"), format!("Write {key}={example}."))
            })
        };
        match key {
            "bs" | "block-size" => {
                self.block_bytes = Some(block_size(needed("4096")?)?);
                Ok("bs")
            }
            "ro" | "read-only" | "force" | "iopoll" | "sqpoll" if value.is_some() => {
                Err(BadOption(format!("`{key}` takes no value"), format!("Write {key} alone, or nothing.")))
            }
            "ro" | "read-only" => {
                self.read_only = true;
                Ok("ro")
            }
            "force" => {
                self.in_use = true;
                Ok("force")
            }
            "uuid" => {
                let text = needed("6ba7b810-9dad-41d1-80b4-00c04fd430c8")?;
                self.uuid = Some(uuid_value(text)?);
                Ok("uuid")
            }
            "size" => {
                let hint = "Write for example size=1GiB.".to_owned();
                self.size = Some(parse_size(needed("1GiB")?).map_err(|why| BadOption(why, hint))?);
                Ok("size")
            }
            "iopoll" => {
                self.polling.iopoll = true;
                Ok("iopoll")
            }
            "sqpoll" => {
                self.polling.sqpoll = true;
                Ok("sqpoll")
            }
            "path" => {
                let hint = "Write path=NAME, or leave it out: the device picks one.".to_owned();
                self.path = Some(needed("uring")?.parse().map_err(|why| BadOption(why, hint))?);
                Ok("path")
            }
            _ => Err(unknown(key)),
        }
    }
}

/// Whether there is a file with something in it, or a block device.
fn has_size(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| !found.is_file() || found.len() > 0)
}

/// Reads a logical block size.
///
/// # Errors
/// A size that is no size, or not one of [`BLOCK_BYTES`].
fn block_size(text: &str) -> Result<u32, BadOption> {
    let hint = "Write bs=512 or bs=4096.".to_owned();
    let bytes = match parse_size(text) {
        Ok(bytes) => bytes,
        Err(why) => return Err(BadOption(why, hint)),
    };
    let known = BLOCK_BYTES.into_iter().find(|known| u64::from(*known) == bytes);
    known.ok_or_else(|| BadOption(format!("a block of {bytes} bytes is not possible"), hint))
}

fn uuid_value(text: &str) -> Result<Uuid, BadOption> {
    match Uuid::parse_str(text) {
        // All zeros means "no UUID" in a Namespace Identification Descriptor.
        Ok(uuid) if !uuid.is_nil() => Ok(uuid),
        _ => {
            let hint = "A UUID looks like 6ba7b810-9dad-41d1-80b4-00c04fd430c8; `uuidgen` makes one.".to_owned();
            Err(BadOption(format!("`{text}` is not a UUID that can be used"), hint))
        }
    }
}

fn unknown(key: &str) -> BadOption {
    let known =
        ["bs", "block-size", "ro", "read-only", "force", "uuid", "size", "path", "iopoll", "sqpoll", "rule", "seed"];
    let like = nearest(key, &known).map(|name| format!("Did you mean `{name}`? ")).unwrap_or_default();
    let hint = format!(
        "{like}The options are bs=512|4096, ro, force, uuid=UUID, size=SIZE, path=PATH, iopoll and sqpoll; a comma of \
         the path itself is written twice."
    );
    BadOption(format!("there is no option called `{key}`"), hint)
}

/// Splits at single commas; a doubled one is a comma of the text. There is always a first part.
fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ',' if chars.next_if_eq(&',').is_none() => parts.push(String::new()),
            _ => parts.last_mut().expect("never empty").push(c),
        }
    }
    parts
}

/// The known word that is at most two typing mistakes away.
#[must_use]
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    let distances = known.iter().map(|name| (distance(&word, name), *name));
    distances.filter(|(mistakes, name)| *mistakes <= 2 && *mistakes < name.len()).min().map(|(_, name)| name)
}

/// Levenshtein's distance: the letters to insert, delete or replace on the way from one word to the other.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

fn wrong(device: &str, why: String, hint: String) -> OpenError {
    OpenError { device: device.to_owned(), why, hint, source: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> Spec {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    fn error(text: &str) -> String {
        text.parse::<Spec>().expect_err(text).to_string()
    }

    fn file(path: &str) -> Target {
        Target::File { path: PathBuf::from(path) }
    }

    #[test]
    fn targets() {
        assert_eq!(spec("disk.img").target, file("disk.img"));
        assert_eq!(spec("/dev/nvme0n1").target, file("/dev/nvme0n1"));
        assert_eq!(spec("./ram:1GiB").target, file("./ram:1GiB"));
        assert_eq!(spec("C:\\disks\\a.img").target, file("C:\\disks\\a.img"));
        // Windows: a drive is no kind of device, and its letter no address; what is behind it is a path on any system.
        for path in
            [r"D:\disk.img", "D:/disk.img", "d:disk.img", "D://disk.img", r"\\?\C:\a.img", r"\\.\PhysicalDrive0"]
        {
            assert_eq!(spec(path).target, file(path));
            assert_eq!(spec(&format!("file:{path}")).target, file(path));
            let with = spec(&format!("{path},bs=4096,ro"));
            assert_eq!((with.target, with.options.block_bytes, with.options.read_only), (file(path), Some(4096), true));
        }
        assert_eq!(spec(r"\\?\UNC\host\share\a,,b.img,size=1G").target, file(r"\\?\UNC\host\share\a,b.img"));
        assert_eq!(spec(r"fault:D:\a.img,rule=read:drop").target.path(), Some(Path::new(r"D:\a.img")));
        assert_eq!(spec("by-id:disk-3").target, file("by-id:disk-3"));
        assert_eq!(spec("ram:1GiB").target, Target::Ram { bytes: 1 << 30 });
        assert_eq!(spec("null:1TiB").target, Target::Null { bytes: 1 << 40 });
        assert_eq!(spec("file:ram:odd,,name").target, file("ram:odd,name"));
        assert_eq!(spec("file:a://b").target, file("a://b"));
    }

    #[test]
    fn faults() {
        let Spec { name, target, options } = spec("fault:disk.img,bs=4k,seed=7,rule=read:drop,rule=any:latency=1ms");
        assert_eq!(
            (name.as_str(), target.path(), options.block_bytes),
            ("fault:disk.img", Some(Path::new("disk.img")), Some(4096))
        );
        let Target::Fault { inner, faults } = target else { panic!("{target:?}") };
        assert_eq!((*inner, faults.seed, faults.rules.len()), (file("disk.img"), 7, 2));
        assert_eq!(
            spec("fault:ram:1GiB").target,
            Target::Fault { inner: Box::new(Target::Ram { bytes: 1 << 30 }), faults: Faults::default() }
        );
    }

    #[test]
    fn options() {
        let uuid = "6ba7b810-9dad-41d1-80b4-00c04fd430c8";
        let all = spec(&format!("a,,b,bs=4k,ro,force,uuid={uuid},size=1G,path=sync,iopoll,sqpoll"));
        assert_eq!(all.name, "a,b");
        assert_eq!(
            all.options,
            Options {
                block_bytes: Some(4096),
                read_only: true,
                in_use: true,
                uuid: Some(Uuid::parse_str(uuid).expect("a UUID")),
                size: Some(1 << 30),
                path: Some(path::Path::Sync),
                polling: path::Polling { iopoll: true, sqpoll: true },
            }
        );
        assert_eq!(spec("a,block-size=512,read-only").options, spec("a,bs=512,ro").options);
        assert_eq!(spec("a").options, Options::default());
    }

    #[test]
    fn errors_say_what_to_do() {
        for (text, part) in [
            ("", "no name"),
            ("ram", "Write ram:1GiB"),
            ("ram:", "not a size"),
            ("ram:1XB", "unknown unit"),
            ("rma:1GiB", "Did you mean ram:1GiB?"),
            ("RAM:1GiB", "Did you mean ram:1GiB?"),
            ("memory:1GiB", "no kind of device called `memory`"),
            ("file:", "path is missing"),
            ("nvme-tcp://127.0.0.1/x", "addresses cannot be opened here"),
            ("D:\temp.img", "in single quotes"),
            ("a,bs=1024", "1024 bytes is not possible"),
            ("a,bs", "needs a value"),
            ("a,bss=512", "Did you mean `bs`?"),
            ("a,block_size=512", "Did you mean `block-size`?"),
            ("a,readonly", "Did you mean `read-only`?"),
            ("a,ro=yes", "takes no value"),
            ("a,ro,read-only", "`ro` is there twice"),
            ("a,uuid=7", "not a UUID"),
            ("a,uuid=00000000-0000-0000-0000-000000000000", "not a UUID that can be used"),
            ("a,cache=none", "The options are"),
            ("a,", "no option called ``"),
            ("a,path=uring_cmd", "uring-cmd, ioctl, uring, iocp, threads, aio and sync"),
            ("a,path", "needs a value"),
            ("a,iopoll=1", "takes no value"),
            ("ram:1GiB,size=1GiB", "option for files"),
            ("fault:ram:1GiB,size=1GiB", "option for files"),
            ("a,force=yes", "takes no value"),
            ("fault:null:1GiB,force", "option for drives"),
            ("fault:", "no name"),
            ("fault:fault:ram:1GiB", "faults lie over faults"),
            ("ram:1GiB,rule=read:drop", "Write fault: before the device"),
            ("fault:ram:1GiB,seed=x", "no seed"),
            ("fault:ram:1GiB,rule=red:drop", "Did you mean `read`?"),
            ("fault:ram:1GiB,rules=read:drop", "Did you mean `rule`?"),
        ] {
            let error = error(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn polling_is_for_io_uring() {
        for (text, part) in [
            ("ram:1MiB,iopoll", "iopoll is for files and drives"),
            ("fault:null:1MiB,sqpoll", "sqpoll is for files and drives"),
            ("Cargo.toml,ro,iopoll,sqpoll,path=threads", "iopoll and sqpoll is for the paths uring and uring-cmd"),
        ] {
            let error = spec(text).open(&Defaults::default()).err().expect(text).to_string();
            assert!(error.contains(part) && error.contains("Leave "), "{error}");
        }
    }

    #[test]
    fn memory_has_no_path() {
        for text in ["ram:1MiB,path=sync", "null:1MiB,path=uring", "fault:ram:1MiB,path=ioctl"] {
            let error = spec(text).open(&Defaults::default()).err().expect(text).to_string();
            assert!(error.contains("it needs a file or a drive") && error.contains("Leave path= out"), "{error}");
        }
    }

    #[test]
    fn distances() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("size", "size"), 0);
        assert_eq!(nearest("q", &["bs", "ro"]), None);
    }
}
