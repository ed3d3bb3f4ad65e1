//! The calls of Linux that qpair uses, each with what it does without, and what this Linux is.

use std::fs::{self, File};
use std::io;
use std::ptr;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, FallocateFlags, StatxFlags, fallocate, statx};
use rustix::io::ReadWriteFlags;
use rustix::mm::{self, MapFlags, ProtFlags};
use rustix::process::{PidfdFlags, Resource, Signal, getpid, getrlimit, pidfd_open, pidfd_send_signal};
use rustix::thread::set_name;

use super::{get_xattr, huge_page_pool, largest_socket_buffers, never_gives_huge_pages, set_xattr};
use crate::limits::{HUGE_PAGE_BYTES, MAP_GRANULE_BYTES, SOCKET_BUFFER_BYTES};
use crate::os::probe::{
    Areas, Place, RING_FILE_BYTES, System, Trial, Tried, aligned_io, by_ring, directory, fine, flush, loopback, mapped,
    memory, needed, one_lock, pinned, private_directory, resident, start_of_machine, wanted, woken, wrong,
};
use crate::region::{Huge, Region};
use crate::ring::{FileEngine, Ring, RingKind, URING_TRIALS};

/// The table.
pub(in crate::os) const AREAS: Areas = &[
    ("rings", RINGS),
    ("io_uring", URING_TRIALS),
    ("files", FILES),
    ("memory", MEMORY),
    ("cores and processes", PROCESSES),
];

/// What this system is.
pub(in crate::os) fn this_system() -> System {
    let first_line = |path: &str| fs::read_to_string(path).ok()?.lines().next().map(str::to_owned);
    let product = fs::read_to_string("/etc/os-release").ok().and_then(|text| pretty_name(&text));
    let version = first_line("/proc/sys/kernel/osrelease").unwrap_or_else(|| "of an unknown version".to_owned());
    // SAFETY: it asks for a number.
    let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.unsigned_abs() as usize;
    System { name: "Linux", version, product, wine: None, page_bytes, core_groups: 1 }
}

/// The name of a distribution (os-release(5)).
fn pretty_name(os_release: &str) -> Option<String> {
    let value = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(value.trim_matches(['"', '\'']).to_owned())
}

const RINGS: &[Trial] = &[
    needed("epoll", "sockets: which of them has something to do", |_| loopback(RingKind::Portable)),
    needed("eventfd", "waking a thread that sleeps", |_| woken(RingKind::Portable)),
    needed("pread, pwrite on worker threads", "files: --ring portable, path=threads", |place| {
        by_engine(place, FileEngine::Threads)
    }),
    wanted("io_setup, io_submit", "files: path=aio", "any other path=", |place| by_engine(place, FileEngine::Aio)),
    wanted("SO_SNDBUF, SO_RCVBUF", "fast connections", "smaller buffers: sysctl net.core.wmem_max, rmem_max", |_| {
        let largest = largest_socket_buffers();
        let said = format!("{} KiB, {} KiB", largest.send >> 10, largest.receive >> 10);
        let are_enough = largest.send.min(largest.receive) >= SOCKET_BUFFER_BYTES;
        if are_enough { Ok(said) } else { Err(wrong(format!("{said}; {} KiB asked for", SOCKET_BUFFER_BYTES >> 10))) }
    }),
];

fn by_engine(place: &Place, engine: FileEngine) -> Tried {
    let mut ring = Ring::of(RingKind::Portable)?;
    // Without direct I/O aio works as well, if not well; which file systems have that is another trial.
    let file = ring.file_by(Arc::new(place.file(engine.name(), RING_FILE_BYTES)?), engine)?;
    by_ring(&mut ring, &file)
}

const FILES: &[Trial] = &[
    wanted("O_DIRECT", "reads and writes past the page cache", "the page cache", aligned_io),
    wanted("statx: STATX_DIOALIGN", "what direct I/O asks for", "pages of 4 KiB", |place| {
        let file = place.direct("dioalign", MAP_GRANULE_BYTES)?;
        let stat = statx(&file, c"", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN)?;
        let is_told = stat.stx_mask & StatxFlags::DIOALIGN.bits() != 0 && stat.stx_dio_offset_align != 0;
        let (offset, memory) = (stat.stx_dio_offset_align, stat.stx_dio_mem_align);
        if is_told { Ok(format!("offset {offset}, memory {memory}")) } else { Err(wrong("the kernel does not say")) }
    }),
    needed("fdatasync", "flush", flush),
    wanted("pwritev2: RWF_DSYNC", "writes that are durable at once (FUA)", "a flush after the write", |place| {
        let file = place.file("dsync", 1)?;
        Ok(rustix::io::pwritev2(&file, &[io::IoSlice::new(b"here")], 0, ReadWriteFlags::DSYNC).map(fine)?)
    }),
    wanted("fallocate", "space for all of a pool (qpair cache --pool)", "nothing: no pool", |place| {
        let file = place.file("allocated", 1)?;
        super::allocate(&file, 1 << 20)?;
        let taken = super::allocated_bytes(&file)?;
        if taken >= 1 << 20 { Ok(String::new()) } else { Err(wrong(format!("of 1 MiB {taken} bytes were taken"))) }
    }),
    wanted("fallocate: PUNCH_HOLE", "giving space back", "it is kept", |place| zeroes(place, "hole", PUNCH)),
    wanted("fallocate: ZERO_RANGE", "zeroing in place", "zeros are written", |place| zeroes(place, "zeros", IN_PLACE)),
    needed("flock", "a file is used by one program", one_lock),
    needed("fsync of a folder", "names of files are durable", directory),
    wanted(
        "fsetxattr, fgetxattr: user.*",
        "a disk keeps its identity when it is copied or moved",
        "its path",
        |place| {
            let (file, name, mut value) = (place.file("attribute", 1)?, "user.qpair.probe", [0; 8]);
            set_xattr(&file, name, b"here")?;
            let read = get_xattr(&file, name, &mut value)?;
            if read == Some(4) { Ok(String::new()) } else { Err(wrong("what was set is not there")) }
        },
    ),
    wanted("statx: STATX_BTIME", "telling a file from a copy of it", "its inode alone", |place| {
        let born = super::file_key(&place.file("born", 1)?)?.born;
        born.map(fine).ok_or_else(|| wrong("the file system does not say when a file was made"))
    }),
];

const PUNCH: FallocateFlags = FallocateFlags::PUNCH_HOLE;
const IN_PLACE: FallocateFlags = FallocateFlags::ZERO_RANGE;

/// A range reads as zeros afterwards.
fn zeroes(place: &Place, name: &str, how: FallocateFlags) -> Tried {
    let file = place.file(name, MAP_GRANULE_BYTES)?;
    fallocate(&file, how | FallocateFlags::KEEP_SIZE, 0, MAP_GRANULE_BYTES as u64)?;
    let mut bytes = vec![1; MAP_GRANULE_BYTES];
    super::read_exact_at(&file, &mut bytes, 0)?;
    if bytes.iter().all(|&byte| byte == 0) { Ok(String::new()) } else { Err(wrong("it does not read as zeros")) }
}

const MEMORY: &[Trial] = &[
    needed("mmap", "buffers, RAM disks, the cache", memory),
    wanted("mmap: MAP_NORESERVE", "RAM disks that are larger than the memory", "smaller ones", spare),
    wanted("mmap, msync of a file", "pools of the cache", "nothing: no pool", mapped),
    wanted("SIGBUS of a mapped file", "a pool that is cut off ends the cache in order", "it ends at once", cut_off),
    wanted("mmap: MAP_SYNC", "persistent memory (DAX) without a system call", "msync", |place| {
        let file = place.file("dax", MAP_GRANULE_BYTES)?;
        let flags = MapFlags::SHARED_VALIDATE | MapFlags::SYNC;
        // SAFETY: a new mapping at an address of the system's choice cannot touch existing memory, and goes untouched.
        unsafe {
            let rights = ProtFlags::READ | ProtFlags::WRITE;
            let start = mm::mmap(ptr::null_mut(), MAP_GRANULE_BYTES, rights, flags, &file, 0)?;
            Ok(mm::munmap(start, MAP_GRANULE_BYTES).map(fine)?)
        }
    }),
    wanted("madvise: MADV_HUGEPAGE", "huge pages that the kernel makes", "pages of 4 KiB", |_| {
        if never_gives_huge_pages()? {
            return Err(wrong("/sys/kernel/mm/transparent_hugepage/enabled is \"never\""));
        }
        let region = Region::huge(2 * HUGE_PAGE_BYTES, Huge::Transparent)?;
        Ok(format!("{} of 2 tried", region.huge_bytes()? / HUGE_PAGE_BYTES))
    }),
    wanted("mmap: MAP_HUGETLB", "huge pages that were set aside (hugetlbfs)", "huge pages as they come", |_| {
        let free = huge_page_pool().map(|pool| format!("{} of {} are free", pool.free, pool.all));
        let said = free.unwrap_or_else(|error| error.to_string());
        match Region::huge(HUGE_PAGE_BYTES, Huge::Reserved) {
            Ok(_) => Ok(said),
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => {
                Err(wrong(format!("{said}: sysctl vm.nr_hugepages sets more aside")))
            }
            Err(error) => Err(error),
        }
    }),
    wanted("RLIMIT_MEMLOCK", "buffers that are registered with io_uring", "they are pinned for each request", |_| {
        Ok(getrlimit(Resource::Memlock).current.map_or("no limit".to_owned(), |most| format!("{} KiB", most >> 10)))
    }),
];

/// More memory than the machine has, of which nothing is used.
fn spare(_place: &Place) -> Tried {
    let bytes = super::total_memory().unwrap_or(1 << 30).saturating_mul(2);
    Region::sparse(usize::try_from(bytes).unwrap_or(usize::MAX / 2)).map(fine)
}

/// A mapped file that loses its bytes costs them, and not the process.
fn cut_off(place: &Place) -> Tried {
    let file = place.file("cut", MAP_GRANULE_BYTES)?;
    let region = Region::file(&file, MAP_GRANULE_BYTES)?;
    File::options().write(true).open(place.path("cut"))?.set_len(0)?;
    // SAFETY: nobody else has the region, and it is longer than a byte. That it is not there is what is tried.
    unsafe { region.base().as_ptr().read_volatile() };
    if region.check().is_err() { Ok(String::new()) } else { Err(wrong("nobody notices that the bytes are gone")) }
}

const PROCESSES: &[Trial] = &[
    wanted("sched_setaffinity", "reactors stay on their cores", "the kernel moves them", pinned),
    wanted("prctl: PR_SET_NAME", "threads have names", "they have that of the program", |_| {
        Ok(set_name(c"probe").map(fine)?)
    }),
    wanted("pidfd_open, pidfd_send_signal", "qpair stop and reload", "kill -TERM, kill -HUP", |_| {
        let me = pidfd_open(getpid(), PidfdFlags::empty())?;
        let has_ended = poll(&mut [PollFd::new(&me, PollFlags::IN)], Some(&Timespec::default()))? > 0;
        // It lets a process go on that was stopped, and is nothing to one that runs.
        pidfd_send_signal(&me, Signal::CONT)?;
        if has_ended { Err(wrong("this process is said to have ended")) } else { Ok(String::new()) }
    }),
    wanted("PR_SET_PDEATHSIG", "what is supervised ends with its supervisor", "it goes on alone", |_| {
        let now = rustix::process::parent_process_death_signal()?;
        // Of this thread, which is about to end, as it was.
        Ok(rustix::process::set_parent_process_death_signal(now).map(fine)?)
    }),
    wanted(
        "the directory of this user",
        "qpair stop and reload find servers there",
        "kill -TERM, kill -HUP",
        private_directory,
    ),
    wanted("/proc/self", "figures of memory and time in metrics", "they are left out", resident),
    wanted(
        "/proc/sys/kernel/random/boot_id",
        "whether a pool was in use when the power went",
        "nothing: no pool",
        start_of_machine,
    ),
    wanted("RLIMIT_NOFILE", "connections", "as many as the limit allows", |_| {
        Ok(getrlimit(Resource::Nofile).maximum.map_or("no limit".to_owned(), |most| format!("{most} files")))
    }),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_distribution_is_one_of_its_lines() {
        let text = "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian\"\n";
        assert_eq!(pretty_name(text).as_deref(), Some("Debian GNU/Linux 12 (bookworm)"));
        assert_eq!(pretty_name("PRETTY_NAME=Alpine\n").as_deref(), Some("Alpine"));
        assert_eq!(pretty_name("NAME=x\n"), None);
    }
}
