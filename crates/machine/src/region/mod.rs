//! Memory, and how durable it is.
//!
//! A [`Region`] is one mapping with one answer to "what must be done so that these bytes survive?". Three things are
//! carved from it: a [`Pool`] of fixed buffers that requests carry, a [`SlotMap`] whose blocks are lent, and [`Arena`]s
//! that one thread each keeps its structures in.
//!
//! ```text
//!     Region                one mapping; hands out no bytes itself
//!       +-- Pool            | buffer 0 | buffer 1 | ...       each owned by one Buf at a time
//!       +-- SlotMap         | zeros | slot | slot | ...       written once while nobody looks, then read by anybody
//!       +-- Arena           | bytes of one owner |
//! ```
//!
//! A region is taken by value by what is carved from it: no two carvings share bytes. Both keep it mapped until the
//! last buffer or loan is gone, in whatever order things are dropped.

mod arena;
mod backing;
mod bufs;
#[cfg(unix)]
mod fault;
mod lines;
mod persist;
mod pool;
mod prefetch;
mod slot;

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Mutex;

use backing::{Mapping, Medium};
use lines::Lines;
use persist::Persist;

pub use arena::Arena;
pub use bufs::Bufs;
pub(crate) use bufs::no_slices;
pub use persist::{Durability, Event, WriteBack};
pub(crate) use pool::RawBytes;
pub use pool::{Buf, Pool};
pub use slot::{Full, Landing, Lent, PiecesMut, SlotHandle, SlotMap};

/// Whether the system was asked to back a region with huge pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HugePages {
    /// Asked; the system uses them where it finds some.
    Advised,
    /// The region is too small for one, or the system does not take the advice. It works all the same.
    Unavailable,
    /// It has nothing else: they were set aside.
    Reserved,
}

/// Which huge pages somebody insists on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Huge {
    /// Those that the system makes of its memory if it can: no preparations, no privilege, and no promise.
    Transparent,
    /// Those of 2 MiB that were set aside for programs which ask for them (hugetlbfs): all or an error.
    Reserved,
}

/// Memory, and how durable it is: one mapping, and the way to make its bytes survive.
pub struct Region {
    mapping: Mapping,
    persist: Box<dyn Persist>,
    huge_pages: HugePages,
}

impl Region {
    /// `bytes` of zeroed memory that does not survive the process. No page is touched: space is taken by use.
    ///
    /// # Errors
    /// No bytes at all, or the system's refusal of so many.
    pub fn anonymous(bytes: usize) -> io::Result<Self> {
        Ok(Self::over(Mapping::anonymous(bytes)?, Box::new(persist::None)))
    }

    /// `bytes` of zeroed memory that does not survive the process, on huge pages. All of it is taken at once: what was
    /// got of them, [`Region::huge_bytes`] says.
    ///
    /// # Errors
    /// Those of [`Region::anonymous`]; `OutOfMemory` if not so many huge pages are set aside as are asked for, or the
    /// process may not have them.
    pub fn huge(bytes: usize, huge: Huge) -> io::Result<Self> {
        let persist = Box::new(persist::None);
        Ok(match huge {
            Huge::Transparent => Self::over(Mapping::transparent(bytes)?, persist),
            Huge::Reserved => Self { mapping: Mapping::reserved(bytes)?, persist, huge_pages: HugePages::Reserved },
        })
    }

    /// Zeroed memory of which only what is touched is ever taken: also of more bytes than the machine has.
    ///
    /// # Errors
    /// Those of [`Region::anonymous`].
    pub fn sparse(bytes: usize) -> io::Result<Self> {
        let mapping = Mapping::sparse(bytes)?;
        Ok(Self { mapping, persist: Box::new(persist::None), huge_pages: HugePages::Unavailable })
    }

    /// The first `bytes` of a file, which other openings of the file see change (`MAP_SHARED`). Where the file lies on
    /// persistent memory that is mapped as it is (`MAP_SYNC`), its durability is that of cache lines, if the system
    /// tells how far a store has to get to survive (`persistence_domain`).
    ///
    /// The file is locked against other programs that ask for the lock, and mapped at most once in this one. What no
    /// lock prevents is a program that writes to or shortens the file regardless: bytes that a reader holds then change
    /// under it, or are lost ([`Region::check`]). Allocate the file's space first; writing to a hole on a full file
    /// system ends the same way.
    ///
    /// # Errors
    /// `InvalidInput` if the file is not a regular one of at least `bytes`, `ResourceBusy` if it is mapped or locked
    /// already, and whatever the system says.
    pub fn file(file: &File, bytes: usize) -> io::Result<Self> {
        let (mapping, medium) = Mapping::file(file, bytes)?;
        let lines = match medium {
            Medium::Memory => Lines::calibrated(),
            Medium::MemoryAndCaches => Some(Lines::NEEDLESS),
            Medium::Pages | Medium::Untold => None,
        };
        let persist: Box<dyn Persist> = match lines {
            Some(lines) => Box::new(lines),
            None => Box::new(persist::Synced { file: file.try_clone()?, untold: medium == Medium::Untold }),
        };
        Ok(Self::over(mapping, persist))
    }

    /// Anonymous memory that claims to be persistent and shows what is done for it, with all its bytes, to `to`: for
    /// tests. `to` is called on the thread that does it, which has no reference to any of the bytes then.
    ///
    /// # Errors
    /// Those of [`Region::anonymous`].
    pub fn shown(bytes: usize, to: impl FnMut(&[u8], Event) + Send + 'static) -> io::Result<Self> {
        let shown = persist::Shown { bytes, to: Mutex::new(to) };
        Ok(Self::over(Mapping::anonymous(bytes)?, Box::new(shown)))
    }

    fn over(mapping: Mapping, persist: Box<dyn Persist>) -> Self {
        let huge_pages = mapping.advise_huge();
        Self { mapping, persist, huge_pages }
    }

    /// Size in bytes.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a region is never empty")]
    pub fn len(&self) -> usize {
        self.mapping.len()
    }

    /// What makes these bytes survive.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.persist.durability()
    }

    /// Whether huge pages were asked for.
    #[must_use]
    pub fn huge_pages(&self) -> HugePages {
        self.huge_pages
    }

    /// Bytes of a region made by [`Region::huge`] that lie on huge pages now, the rest of the last page left out.
    ///
    /// # Errors
    /// The system does not say.
    pub fn huge_bytes(&self) -> io::Result<usize> {
        let start = self.mapping.base().addr().get();
        Ok(crate::os::huge_bytes(&(start..start + self.len()))?.min(self.len()))
    }

    /// Starts making a range of bytes durable: it is when the next [`Region::fence`] returns.
    ///
    /// # Errors
    /// Those of the medium. Which of the bytes are durable is then unknown.
    ///
    /// # Panics
    /// If the range is not inside the region.
    pub fn persist(&self, range: Range<usize>) -> io::Result<()> {
        assert!(range.start <= range.end && range.end <= self.len(), "{range:?} is outside of {} bytes", self.len());
        self.persist.persist(self.mapping.base(), range)
    }

    /// Waits until everything persisted before is durable.
    ///
    /// # Errors
    /// Those of the medium.
    pub fn fence(&self) -> io::Result<()> {
        self.persist.fence(self.mapping.base())
    }

    /// Whether all bytes that were ever touched were there. To be asked before anything is given away that was read
    /// from a file's region, or acknowledged that was written to it.
    ///
    /// # Errors
    /// They were not: the file was cut off, or its medium failed. What is read of it then is zeros.
    pub fn check(&self) -> io::Result<()> {
        self.mapping.check()
    }

    /// The first byte. It stays where it is for the life of the region.
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.mapping.base()
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Region")
            .field("bytes", &self.len())
            .field("durability", &self.durability())
            .field("huge_pages", &self.huge_pages)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::HUGE_PAGE_BYTES;
    use std::io::ErrorKind;

    #[test]
    fn large_regions_are_aligned_for_huge_pages_and_cost_nothing_untouched() {
        for bytes in [HUGE_PAGE_BYTES, HUGE_PAGE_BYTES + 4096, 3 * HUGE_PAGE_BYTES, (1 << 30) + 1] {
            let region = Region::anonymous(bytes).unwrap();
            assert_eq!((region.len(), region.base().addr().get() % HUGE_PAGE_BYTES), (bytes, 0));
        }
        assert_eq!(Region::anonymous(1).unwrap().huge_pages(), HugePages::Unavailable);
        assert_eq!(Region::anonymous(0).unwrap_err().kind(), ErrorKind::InvalidInput);
        Region::anonymous(usize::MAX).unwrap_err();
        Region::anonymous(usize::MAX - (1 << 20)).unwrap_err();
    }

    #[test]
    fn transparent_huge_pages_are_taken_at_once_and_counted_apart() {
        let bytes = 3 * HUGE_PAGE_BYTES + 100;
        let regions = [(); 3].map(|()| Region::huge(bytes, Huge::Transparent).unwrap());
        for region in &regions {
            let (huge, base) = (region.huge_bytes().unwrap(), region.base().addr().get());
            assert!(huge <= bytes && base.is_multiple_of(HUGE_PAGE_BYTES), "{huge}");
            assert!(!crate::os::never_gives_huge_pages().unwrap() || huge == 0, "nobody gets any: {huge}");
        }
        let mut arena = Arena::new(regions.into_iter().next().unwrap());
        assert!(arena.iter().all(|byte| *byte == 0));
        arena[bytes - 1] = 7;
        assert_eq!(Region::huge(0, Huge::Transparent).unwrap_err().kind(), ErrorKind::InvalidInput);
        Region::huge(usize::MAX, Huge::Transparent).unwrap_err();
        let too_much = Region::huge(1 << 46, Huge::Transparent).unwrap_err();
        assert!(too_much.to_string().contains("are to be taken at once"), "{too_much}");
    }

    #[test]
    fn huge_pages_that_are_set_aside_are_all_there_or_an_error() {
        // Other programs of the machine may take some meanwhile.
        match (Region::huge(HUGE_PAGE_BYTES + 1, Huge::Reserved), crate::os::huge_page_pool()) {
            (Ok(region), _) => {
                assert_eq!((region.huge_pages(), region.len()), (HugePages::Reserved, HUGE_PAGE_BYTES + 1));
                assert_eq!(region.huge_bytes().unwrap(), region.len());
                assert!(Arena::new(region).iter().all(|byte| *byte == 0));
            }
            (Err(error), Ok(pool)) => assert!(error.kind() == ErrorKind::OutOfMemory && pool.free < 2, "{error}"),
            // Linux without such pages; Windows, where a user may not have them or there are none.
            (Err(error), Err(_)) => {
                let kinds = [ErrorKind::InvalidInput, ErrorKind::PermissionDenied, ErrorKind::OutOfMemory];
                assert!(kinds.contains(&crate::os::kind(&error)), "{error}");
            }
        }
        assert_eq!(Region::huge(0, Huge::Reserved).unwrap_err().kind(), ErrorKind::InvalidInput);
        Region::huge(1 << 46, Huge::Reserved).unwrap_err();
    }

    #[test]
    fn a_file_region_writes_to_its_file() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(256 << 10).unwrap();
        let region = Region::file(&file, 200_000).unwrap();
        assert_eq!(region.durability(), Durability::Sync);
        let pool = Pool::new(region, 100_000);
        let (mut first, mut second) = (pool.take().unwrap(), pool.take());
        assert!(second.is_none(), "two buffers of 100,000 bytes, page-aligned, do not fit into 200,000");
        first.fill(7);
        pool.region().persist(1..70_000).unwrap();
        pool.region().fence().unwrap();
        second.take();
        drop(first);
        drop(pool);
        let mut found = vec![0; 100_001];
        crate::os::read_exact_at(&file, &mut found, 0).unwrap();
        assert!(found[..100_000].iter().all(|byte| *byte == 7) && found[100_000] == 0);
    }

    #[test]
    fn a_file_is_mapped_once_and_never_beyond_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        let open = || File::options().read(true).write(true).create(true).truncate(false).open(&path).unwrap();
        let file = open();
        file.set_len(8192).unwrap();
        assert_eq!(Region::file(&file, 8193).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(Region::file(&file, 0).unwrap_err().kind(), ErrorKind::InvalidInput);
        let region = Region::file(&file, 8192).unwrap();
        assert_eq!(Region::file(&file, 4096).unwrap_err().kind(), ErrorKind::ResourceBusy);
        assert_eq!(Region::file(&open(), 4096).unwrap_err().kind(), ErrorKind::ResourceBusy);
        drop(region);
        drop(Region::file(&file, 4096).unwrap());
        drop(file);
        let locked = open();
        assert!(crate::os::lock_exclusive(&locked).unwrap());
        assert_eq!(Region::file(&open(), 4096).unwrap_err().kind(), ErrorKind::ResourceBusy);
    }

    #[test]
    fn what_is_done_for_durability_is_shown_in_order() {
        let (tell, told) = std::sync::mpsc::channel();
        let region = Region::shown(8192, move |bytes, event| tell.send((bytes[4096], event)).unwrap()).unwrap();
        let mut arena = Arena::new(region);
        arena.persist(0..64).unwrap();
        arena[4096] = 7;
        arena.persist(4096..8192).unwrap();
        arena.fence().unwrap();
        drop(arena);
        let want = [(0, Event::Persist(0..64)), (7, Event::Persist(4096..8192)), (7, Event::Fence)];
        assert_eq!(told.iter().collect::<Vec<_>>(), want);
    }

    #[test]
    #[should_panic = "outside"]
    fn persisting_outside_is_a_bug() {
        let _ = Region::anonymous(4096).unwrap().persist(4000..4097);
    }
}
