//! What sysfs says of NVMe subsystems, controllers, namespaces and of other disks.
//!
//! ```text
//!   class/nvme-subsystem/nvme-subsys0/   subsysnqn  model  serial  firmware_rev  iopolicy
//!       nvme0n1/  ng0n1/                 namespaces, with multipath: reached by any controller
//!   class/nvme/nvme0/                    cntlid  transport  address  state  subsysnqn  hostnqn  hostid
//!       nvme0n1/  ng0n1/                 namespaces, without multipath
//!       nvme0c0n1/                       with multipath: this controller's way to nvme0n1, with its ana_state
//!   class/block/sda/                     other disks
//! ```
//!
//! Everything is read as it may be there or not: a missing, unreadable or odd attribute is none.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::Roots;

/// Longest attribute that is read, in bytes: sysfs gives at most a page.
const MAX_ATTRIBUTE_BYTES: u64 = 4096;
/// What `size` counts in, whatever the block size is.
const SECTOR_BYTES: u64 = 512;

/// All that was found.
pub(super) struct Machine {
    /// The kernel has an NVMe driver loaded, on systems where it may lack one.
    pub(super) has_nvme: Option<bool>,
    pub(super) subsystems: Vec<Subsystem>,
    pub(super) disks: Vec<Disk>,
    /// This host, where no controller says otherwise.
    pub(super) hostnqn: Option<String>,
    pub(super) hostid: Option<String>,
}

#[derive(Default)]
pub(super) struct Subsystem {
    /// `nvme-subsys0`; empty where the kernel has no such class.
    pub(super) name: String,
    pub(super) nqn: Option<String>,
    pub(super) iopolicy: Option<String>,
    pub(super) controllers: Vec<Controller>,
    /// Those that are reached through the subsystem, by any of its controllers.
    pub(super) namespaces: Vec<Namespace>,
}

#[derive(Default)]
pub(super) struct Controller {
    pub(super) name: String,
    pub(super) cntlid: Option<u64>,
    pub(super) serial: Option<String>,
    pub(super) model: Option<String>,
    pub(super) firmware: Option<String>,
    pub(super) transport: Option<String>,
    pub(super) address: Option<String>,
    pub(super) state: Option<String>,
    pub(super) hostnqn: Option<String>,
    pub(super) hostid: Option<String>,
    pub(super) subsysnqn: Option<String>,
    /// Those that are reached through this controller alone.
    pub(super) namespaces: Vec<Namespace>,
    /// Its ways to namespaces of the subsystem, and their ANA states.
    pub(super) paths: Vec<(String, String)>,
}

#[derive(Clone, Default)]
pub(super) struct Namespace {
    /// The block device, if there is one: `nvme0n1`.
    pub(super) block: Option<String>,
    /// The character device, if there is one: `ng0n1`.
    pub(super) generic: Option<String>,
    pub(super) nsid: Option<u64>,
    pub(super) bytes: Option<u64>,
    pub(super) block_bytes: Option<u64>,
    pub(super) used_blocks: Option<u64>,
    pub(super) uuid: Option<String>,
    pub(super) read_only: bool,
}

pub(super) struct Disk {
    pub(super) name: String,
    /// The driver's word: `sd`, `loop`, `dm`.
    pub(super) kind: String,
    pub(super) model: Option<String>,
    pub(super) bytes: u64,
    pub(super) block_bytes: Option<u64>,
    pub(super) read_only: bool,
    pub(super) partitions: usize,
}

impl Machine {
    pub(super) fn read(roots: &Roots) -> Self {
        let class = roots.sys.join("class");
        let mut controllers: Vec<_> = entries(&class.join("nvme"))
            .into_iter()
            .filter(|name| is_named(name, "nvme", &[]))
            .map(|name| Controller::read(&class.join("nvme").join(&name), name))
            .collect();
        let mut subsystems = Vec::new();
        for name in entries(&class.join("nvme-subsystem")) {
            let folder = class.join("nvme-subsystem").join(&name);
            let members = entries(&folder);
            let (own, others) = controllers.into_iter().partition(|controller| members.contains(&controller.name));
            controllers = others;
            subsystems.push(Subsystem::read(&folder, name, own));
        }
        // Kernels before 4.15 have no class of subsystems.
        for controller in controllers {
            let nqn = controller.subsysnqn.clone();
            match subsystems.iter_mut().find(|subsystem| subsystem.nqn.is_some() && subsystem.nqn == nqn) {
                Some(subsystem) => subsystem.controllers.push(controller),
                None => subsystems.push(Subsystem { nqn, controllers: vec![controller], ..Subsystem::default() }),
            }
        }
        let line = |name: &str| attribute(&roots.etc, &format!("nvme/{name}"));
        Self {
            has_nvme: Some(class.join("nvme").is_dir()),
            subsystems,
            disks: disks(&class.join("block")),
            hostnqn: line("hostnqn"),
            hostid: line("hostid"),
        }
    }

    /// Every namespace, with a controller that tells whose it is.
    pub(super) fn namespaces(&self) -> impl Iterator<Item = (&Namespace, Option<&Controller>)> {
        self.subsystems.iter().flat_map(|subsystem| {
            let shared = subsystem.namespaces.iter().map(|namespace| (namespace, subsystem.controllers.first()));
            let own = subsystem.controllers.iter();
            shared.chain(own.flat_map(|one| one.namespaces.iter().map(move |namespace| (namespace, Some(one)))))
        })
    }
}

impl Subsystem {
    fn read(folder: &Path, name: String, controllers: Vec<Controller>) -> Self {
        Self {
            name,
            nqn: attribute(folder, "subsysnqn"),
            iopolicy: attribute(folder, "iopolicy"),
            controllers,
            namespaces: namespaces(folder),
        }
    }
}

impl Controller {
    fn read(folder: &Path, name: String) -> Self {
        let paths = entries(folder).into_iter().filter(|name| is_named(name, "nvme", &['c', 'n']));
        let paths = paths.map(|name| {
            // Without ANA the driver takes every way for an optimized one.
            let state = attribute(&folder.join(&name), "ana_state").unwrap_or_else(|| "optimized".to_owned());
            (name, state)
        });
        let text = |name| attribute(folder, name);
        Self {
            cntlid: number(folder, "cntlid"),
            serial: text("serial"),
            model: text("model"),
            firmware: text("firmware_rev"),
            transport: text("transport"),
            address: text("address"),
            state: text("state"),
            hostnqn: text("hostnqn"),
            hostid: text("hostid"),
            subsysnqn: text("subsysnqn"),
            namespaces: namespaces(folder),
            paths: paths.collect(),
            name,
        }
    }
}

/// The namespaces in the folder of a controller or a subsystem: block devices, and character devices beside them.
fn namespaces(folder: &Path) -> Vec<Namespace> {
    let names = entries(folder);
    let mut generics: Vec<_> = names.iter().filter(|name| is_named(name, "ng", &['n'])).cloned().collect();
    let blocks = names.iter().filter(|name| is_named(name, "nvme", &['n']));
    let mut found: Vec<_> = blocks
        .map(|block| {
            let twin = block.replacen("nvme", "ng", 1);
            let generic = generics.iter().position(|name| *name == twin).map(|at| generics.remove(at));
            Namespace::read(&folder.join(block), Some(block.clone()), generic)
        })
        .collect();
    // Namespaces that the kernel has no block device for: other command sets, metadata that it cannot carry.
    found.extend(generics.into_iter().map(|generic| Namespace::read(&folder.join(&generic), None, Some(generic))));
    found
}

impl Namespace {
    fn read(folder: &Path, block: Option<String>, generic: Option<String>) -> Self {
        let (bytes, block_bytes) = size(folder);
        Self {
            block,
            generic,
            nsid: number(folder, "nsid"),
            bytes,
            block_bytes,
            used_blocks: number(folder, "nuse"),
            uuid: attribute(folder, "uuid"),
            read_only: number(folder, "ro") == Some(1),
        }
    }
}

/// Disks that are no NVMe namespaces, and no partitions of others.
fn disks(class: &Path) -> Vec<Disk> {
    let names = entries(class).into_iter().filter(|name| {
        let nvme = is_named(name, "nvme", &['n']) || is_named(name, "nvme", &['c', 'n']);
        !nvme && !class.join(name).join("partition").exists()
    });
    names.map(|name| Disk::read(&class.join(&name), name)).collect()
}

impl Disk {
    fn read(folder: &Path, name: String) -> Self {
        let (bytes, block_bytes) = size(folder);
        let partitions = entries(folder).iter().filter(|name| folder.join(name).join("partition").exists()).count();
        let named = ["device/model", "device/name", "dm/name", "loop/backing_file"];
        Self {
            kind: kind(&name).to_owned(),
            model: named.iter().find_map(|attribute_name| attribute(folder, attribute_name)),
            bytes: bytes.unwrap_or(0),
            block_bytes,
            read_only: number(folder, "ro") == Some(1),
            partitions,
            name,
        }
    }
}

/// The driver's part of a disk's name. Those of SCSI and of virtual machines count in letters: `sda`, `vdb`.
fn kind(name: &str) -> &str {
    let lettered = ["xvd", "sd", "vd", "hd"];
    let end = name.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(name.len());
    lettered.into_iter().find(|kind| name.starts_with(kind)).unwrap_or(&name[..end])
}

/// Size in bytes, and bytes of a logical block.
fn size(folder: &Path) -> (Option<u64>, Option<u64>) {
    let bytes = number(folder, "size").and_then(|sectors| sectors.checked_mul(SECTOR_BYTES));
    (bytes, number(folder, "queue/logical_block_size").filter(|bytes| *bytes > 0))
}

/// Names in a folder, in the order of their numbers; none if it cannot be read.
fn entries(folder: &Path) -> Vec<String> {
    let Ok(found) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<_> = found.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_by_cached_key(|name| numbered(name));
    names
}

/// What a name is sorted by: `nvme2n1` comes before `nvme10n1`.
fn numbered(name: &str) -> Vec<(String, u64)> {
    let mut parts = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let word = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (letters, tail) = rest.split_at(word);
        let end = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
        let (digits, tail) = tail.split_at(end);
        parts.push((letters.to_owned(), digits.parse().unwrap_or(u64::MAX)));
        rest = tail;
    }
    parts
}

/// Whether a name is `prefix`, a number, and for each separator that and a number.
fn is_named(name: &str, prefix: &str, separators: &[char]) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some(mut rest) = name.strip_prefix(prefix) else { return false };
    for separator in separators {
        let Some((number, tail)) = rest.split_once(*separator) else { return false };
        if !is_number(number) {
            return false;
        }
        rest = tail;
    }
    is_number(rest)
}

/// An attribute without the blanks around it; none if there is nothing else.
fn attribute(folder: &Path, name: &str) -> Option<String> {
    let path: PathBuf = folder.join(name);
    // Opening something that is no regular file could wait for ever.
    if !fs::metadata(&path).ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MAX_ATTRIBUTE_BYTES).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    (!text.is_empty()).then(|| text.to_owned())
}

fn number(folder: &Path, name: &str) -> Option<u64> {
    attribute(folder, name)?.parse().ok()
}
