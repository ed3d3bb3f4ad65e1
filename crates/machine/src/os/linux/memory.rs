//! Huge pages: what the kernel has of them, and what of this process' memory lies on them.

use std::fs;
use std::io;
use std::ops::Range;

use crate::os::HugePagePool;

/// Where the kernel says what it has of pages of 2 MiB.
const POOL: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB";
/// Where it says when it gives such pages by itself.
const TRANSPARENT: &str = "/sys/kernel/mm/transparent_hugepage/enabled";

/// The huge pages of 2 MiB that are set aside for programs which ask for them.
///
/// # Errors
/// The kernel has no such pages.
pub fn huge_page_pool() -> io::Result<HugePagePool> {
    let number = |name: &str| -> io::Result<usize> {
        let text = fs::read_to_string(format!("{POOL}/{name}"))?;
        text.trim().parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, format!("{POOL}/{name}: {text}")))
    };
    let promised = number("resv_hugepages")?;
    Ok(HugePagePool { all: number("nr_hugepages")?, free: number("free_hugepages")?.saturating_sub(promised) })
}

/// Whether the kernel never gives huge pages to those who only advise it to.
///
/// # Errors
/// The kernel does not say.
pub fn never_gives_huge_pages() -> io::Result<bool> {
    Ok(fs::read_to_string(TRANSPARENT)?.contains("[never]"))
}

/// Bytes in this range of addresses that lie on huge pages now.
///
/// # Errors
/// The kernel does not say.
pub(crate) fn huge_bytes(range: &Range<usize>) -> io::Result<usize> {
    Ok(huge_bytes_in(&fs::read_to_string("/proc/self/smaps")?, range))
}

/// The same from the text: mappings that begin in the range, each with its figures below.
fn huge_bytes_in(smaps: &str, range: &Range<usize>) -> usize {
    let (mut is_inside, mut bytes) = (false, 0);
    for line in smaps.lines() {
        let Some((name, rest)) = line.split_once([' ', ':']) else { continue };
        if let Some((start, _)) = name.split_once('-') {
            is_inside = usize::from_str_radix(start, 16).is_ok_and(|start| range.contains(&start));
        } else if is_inside && ["AnonHugePages", "Private_Hugetlb", "Shared_Hugetlb"].contains(&name) {
            let kib = rest.split_whitespace().next().and_then(|kib| kib.parse::<usize>().ok());
            bytes += kib.unwrap_or(0) << 10;
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_mappings_in_the_range_are_added_up() {
        let smaps = "\
7f0000000000-7f0000400000 rw-p 00000000 00:00 0 \n\
Size:               4096 kB\n\
AnonHugePages:      4096 kB\n\
Private_Hugetlb:       0 kB\n\
VmFlags: rd wr mr mw me ac sd hg \n\
7f0000400000-7f0000800000 rw-p 00000000 00:10 77   /anon_hugepage (deleted)\n\
AnonHugePages:         0 kB\n\
Private_Hugetlb:    2048 kB\n\
7f0000800000-7f0000a00000 rw-p 00000000 00:00 0    [heap]\n\
AnonHugePages:      2048 kB\n";
        let of = |range: Range<usize>| huge_bytes_in(smaps, &range) >> 10;
        assert_eq!(of(0x7f00_0000_0000..0x7f00_0040_0000), 4096);
        assert_eq!(of(0x7f00_0040_0000..0x7f00_0080_0000), 2048);
        assert_eq!(of(0..usize::MAX), 8192);
        assert_eq!(of(0x7f00_0000_0001..0x7f00_0000_0002), 0);
        assert!(huge_page_pool().map_or(true, |pool| pool.free <= pool.all));
    }
}
