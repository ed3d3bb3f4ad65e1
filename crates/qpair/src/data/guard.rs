//! What keeps a slip of the finger from overwriting a disk that is in use.
//!
//! ```text
//!   /dev/disk/by-id/X ──▶ nvme0n1 ──▶ /sys/class/block/nvme0n1 ──▶ itself and its partitions, and for each of them:
//!   /dev/ng0n1 ─────────▶ nvme0n1        mounted (/proc/self/mountinfo)?  swap (/proc/swaps)?  held (holders/)?
//!   /dev/nvme0 ─────────▶ all of its namespaces
//! ```
//!
//! The kernel refuses to open what is mounted or held for writing, but knows nothing of partitions that nobody uses at
//! the moment, and native commands go past it. What is read here is text of the kernel's; where there is none, nothing
//! is in use. On Windows the system tells which volumes have a part on a drive (`\\.\PhysicalDriveN`).

use std::fs;
use std::path::{Path, PathBuf};

use block::spec::Spec;
use machine::os;

use super::trouble::Trouble;

/// What all verbs take that destroy something.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct Force {
    /// Also if it is a block device that is mounted, in use or partitioned
    #[arg(long)]
    pub(crate) force: bool,

    /// Only check, and say what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Where the kernel tells what is in use.
struct Roots {
    sys: PathBuf,
    proc: PathBuf,
}

/// Checks a device that is about to be overwritten.
///
/// # Errors
/// It is in use, and that is not forced.
pub(crate) fn check(device: &str, force: &Force) -> Result<(), Trouble> {
    let roots = Roots { sys: PathBuf::from("/sys"), proc: PathBuf::from("/proc") };
    let Ok(spec) = device.parse::<Spec>() else { return Ok(()) };
    let Some(path) = spec.target.path() else { return Ok(()) };
    let volumes = os::drive_volumes(path).map_err(|source| Trouble::host("ask which volumes are there", source))?;
    let mut uses: Vec<_> = volumes.iter().map(|volume| format!("the volume {volume} is on it")).collect();
    uses.extend(roots.uses(path).unwrap_or_default());
    if uses.is_empty() {
        return Ok(());
    }
    if force.force || spec.options.in_use {
        eprintln!("qpair: {device} is in use ({}), and is overwritten all the same", uses.join("; "));
        return Ok(());
    }
    let hint = "Unmount it and stop what uses it, or name another device; --force overwrites it all the same.";
    Err(Trouble::usage(format!("{device} is in use: {}", uses.join("; ")), hint.to_owned()))
}

impl Roots {
    /// What uses the disk behind a path, one phrase each; `None` if no block device is behind it.
    fn uses(&self, path: &Path) -> Option<Vec<String>> {
        let node = fs::canonicalize(path).ok()?;
        if !node.starts_with("/dev") {
            return None;
        }
        let name = node.file_name()?.to_str()?;
        // The block device of the same namespace.
        let disk = match name.strip_prefix("ng") {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_digit()) => format!("nvme{rest}"),
            _ => name.to_owned(),
        };
        self.uses_of(&disk).or_else(|| self.uses_of_controller(name))
    }

    /// What uses the namespaces that a controller leads to. With multipath its own `nvme0c1n1` is a way to `nvme0n1`.
    fn uses_of_controller(&self, name: &str) -> Option<Vec<String>> {
        let folder = self.sys.join("class/nvme").join(name);
        if !folder.is_dir() {
            return None;
        }
        let disk = |name: String| {
            let (front, number) = name.strip_prefix("nvme")?.split_once('n')?;
            Some(format!("nvme{}n{number}", front.split('c').next()?))
        };
        let disks = entries(&folder).into_iter().filter_map(disk);
        Some(disks.filter_map(|disk| self.uses_of(&disk)).flatten().collect())
    }

    /// What uses the disk of this name in `/sys/class/block`.
    fn uses_of(&self, disk: &str) -> Option<Vec<String>> {
        let folder = self.sys.join("class/block").join(disk);
        if !folder.is_dir() {
            return None;
        }
        let mut partitions = entries(&folder);
        partitions.retain(|name| folder.join(name).join("partition").exists());
        let mut uses = Vec::new();
        if !partitions.is_empty() {
            uses.push(format!("it has the partitions {}", partitions.join(", ")));
        }
        for name in std::iter::once(disk).chain(partitions.iter().map(String::as_str)) {
            let folder = if name == disk { folder.clone() } else { folder.join(name) };
            let number = fs::read_to_string(folder.join("dev")).unwrap_or_default();
            uses.extend(self.mounts(name, number.trim()).into_iter().map(|at| format!("{name} is mounted at {at}")));
            if self.swaps().iter().any(|swap| swap == name) {
                uses.push(format!("{name} is swap"));
            }
            uses.extend(entries(&folder.join("holders")).into_iter().map(|by| format!("{name} is held by {by}")));
        }
        Some(uses)
    }

    /// Where a block device is mounted, by its number or by its name.
    fn mounts(&self, name: &str, number: &str) -> Vec<String> {
        let table = fs::read_to_string(self.proc.join("self/mountinfo")).unwrap_or_default();
        let mut places = Vec::new();
        for line in table.lines() {
            let (front, back) = line.split_once(" - ").unwrap_or((line, ""));
            let fields: Vec<&str> = front.split(' ').collect();
            let (Some(dev), Some(place)) = (fields.get(2), fields.get(4)) else { continue };
            // Some file systems have a number of their own, and name the device.
            let source = back.split(' ').nth(1).and_then(|source| source.rsplit('/').next());
            if *dev == number || source == Some(name) {
                places.push(unescape(place));
            }
        }
        places.dedup();
        places
    }

    fn swaps(&self) -> Vec<String> {
        let table = fs::read_to_string(self.proc.join("swaps")).unwrap_or_default();
        let paths = table.lines().skip(1).filter_map(|line| line.split_whitespace().next());
        paths.filter_map(|path| path.strip_prefix("/dev/")).map(unescape).collect()
    }
}

/// Names in a folder, in order; none if it cannot be read.
fn entries(folder: &Path) -> Vec<String> {
    let Ok(found) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<_> = found.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The kernel writes blanks in names as `\040`; what else is not to be printed stays escaped.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Tree {
        _folder: tempfile::TempDir,
        roots: Roots,
    }

    fn tree(files: &[(&str, &str)]) -> Tree {
        let folder = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().expect("it has one")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        let roots = Roots { sys: folder.path().join("sys"), proc: folder.path().join("proc") };
        Tree { _folder: folder, roots }
    }

    #[test]
    fn partitions_mounts_swap_and_holders_are_uses() {
        let tree = tree(&[
            ("sys/class/block/nvme0n1/dev", "259:0\n"),
            ("sys/class/block/nvme0n1/nvme0n1p1/partition", "1\n"),
            ("sys/class/block/nvme0n1/nvme0n1p1/dev", "259:1\n"),
            ("sys/class/block/nvme0n1/nvme0n1p2/partition", "2\n"),
            ("sys/class/block/nvme0n1/nvme0n1p2/dev", "259:2\n"),
            ("sys/class/block/nvme0n1/nvme0n1p3/partition", "3\n"),
            ("sys/class/block/nvme0n1/nvme0n1p3/holders/dm-0", ""),
            ("sys/class/block/sdb/dev", "8:16\n"),
            ("sys/class/block/sdc/dev", "8:32\n"),
            (
                "proc/self/mountinfo",
                "22 1 259:1 / /my\\040disk rw - ext4 /dev/root rw\n23 1 0:45 / /b rw - btrfs /dev/sdb rw\nodd line\n",
            ),
            ("proc/swaps", "Filename\tType\tSize\n/dev/nvme0n1p2   partition 1 0 -2\n/swapfile file 1 0 -3\n"),
        ]);
        assert_eq!(
            tree.roots.uses_of("nvme0n1").expect("a block device"),
            [
                "it has the partitions nvme0n1p1, nvme0n1p2, nvme0n1p3",
                "nvme0n1p1 is mounted at /my disk",
                "nvme0n1p2 is swap",
                "nvme0n1p3 is held by dm-0"
            ]
        );
        assert_eq!(tree.roots.uses_of("sdb").expect("a block device"), ["sdb is mounted at /b"]);
        assert_eq!(tree.roots.uses_of("sdc"), Some(Vec::new()));
        assert_eq!(tree.roots.uses_of("sdd"), None);
    }

    #[test]
    fn a_controller_is_in_use_if_one_of_its_namespaces_is() {
        let tree = tree(&[
            ("sys/class/nvme/nvme1/nvme0c1n7/nsid", "1\n"),
            ("sys/class/nvme/nvme1/power/x", ""),
            ("sys/class/nvme/nvme2/nvme2n1/nsid", "1\n"),
            ("sys/class/block/nvme0n7/dev", "259:0\n"),
            ("sys/class/block/nvme2n1/dev", "259:1\n"),
            ("proc/self/mountinfo", "22 1 259:0 / /data rw - xfs /dev/nvme0n7 rw\n"),
        ]);
        assert_eq!(tree.roots.uses_of_controller("nvme1").expect("one"), ["nvme0n7 is mounted at /data"]);
        assert_eq!(tree.roots.uses_of_controller("nvme2"), Some(Vec::new()));
        assert_eq!(tree.roots.uses_of_controller("nvme3"), None);
    }

    #[test]
    fn files_and_machines_without_sysfs_are_free() {
        let tree = tree(&[("proc/swaps", "")]);
        assert_eq!(tree.roots.uses_of("nvme0n1"), None);
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("sda");
        fs::write(&file, "").expect("a file");
        assert_eq!(tree.roots.uses(&file), None);
        assert_eq!(tree.roots.uses(Path::new("/does/not/exist")), None);
        assert!(check("ram:1GiB", &Force::default()).is_ok());
        assert!(check("nvme-tcp://127.0.0.1/x", &Force::default()).is_ok());
    }
}
