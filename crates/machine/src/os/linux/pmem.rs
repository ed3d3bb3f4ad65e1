//! What the kernel knows of persistent memory (Documentation/ABI/testing/sysfs-bus-nvdimm).
//!
//! ```text
//!   dev/block/259:1 ──▶ devices/.../region0/namespace0.0/block/pmem0/pmem0p1       a partition, here
//!                       devices/.../region0/persistence_domain                     cpu_cache or memory_controller
//! ```

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{major, minor};

use crate::os::PersistenceDomain;

/// How far a store has to get to survive a power cut, where a file's file system is on persistent memory. `None` if the
/// system does not tell, as of platforms that do not tell it, and of file systems on several disks.
pub(crate) fn persistence_domain(file: &File) -> Option<PersistenceDomain> {
    domain(Path::new("/sys"), file.metadata().ok()?.dev())
}

/// The same of the block device with this number, for a sysfs that is mounted there.
fn domain(sys: &Path, device: u64) -> Option<PersistenceDomain> {
    let device = fs::canonicalize(sys.join(format!("dev/block/{}:{}", major(device), minor(device)))).ok()?;
    // The region is some directories above the disk. The kernel hides the attribute if it does not know.
    let told =
        device.ancestors().find_map(|directory| fs::read_to_string(directory.join("persistence_domain")).ok())?;
    match told.trim() {
        "cpu_cache" => Some(PersistenceDomain::Caches),
        "memory_controller" => Some(PersistenceDomain::Memory),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::makedev;

    #[test]
    fn the_region_above_a_disk_tells_its_domain() {
        let sys = tempfile::tempdir().unwrap();
        let region = sys.path().join("devices/acpi/ndbus0/region0");
        let disk = region.join("namespace0.0/block/pmem0");
        fs::create_dir_all(disk.join("pmem0p1")).unwrap();
        fs::create_dir_all(sys.path().join("devices/virtual/block/dm-0")).unwrap();
        fs::create_dir_all(sys.path().join("dev/block")).unwrap();
        let link = |number: &str, to: &str| {
            std::os::unix::fs::symlink(format!("../../devices/{to}"), sys.path().join("dev/block").join(number))
                .unwrap();
        };
        link("259:0", "acpi/ndbus0/region0/namespace0.0/block/pmem0");
        link("259:1", "acpi/ndbus0/region0/namespace0.0/block/pmem0/pmem0p1");
        link("253:0", "virtual/block/dm-0");
        let told = |major, minor| domain(sys.path(), makedev(major, minor));
        assert_eq!(told(259, 0), None, "the attribute is hidden");
        for (text, want) in [
            ("memory_controller\n", Some(PersistenceDomain::Memory)),
            ("cpu_cache\n", Some(PersistenceDomain::Caches)),
            ("\n", None),
            ("something new\n", None),
        ] {
            fs::write(region.join("persistence_domain"), text).unwrap();
            assert_eq!((told(259, 0), told(259, 1)), (want, want), "{text:?}");
        }
        fs::write(region.join("persistence_domain"), "cpu_cache\n").unwrap();
        assert_eq!((told(253, 0), told(259, 2)), (None, None));
    }
}
