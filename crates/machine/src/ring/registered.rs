//! Files and buffers that a ring knows by a number, so that the kernel looks them up and pins them once, not for each
//! request.
//!
//! A file is registered as long as a [`RingFile`] of it exists: a queue's own, or that of a task under way. A pool is
//! registered for the rest of the ring's life, which keeps it. Pinned memory counts against `RLIMIT_MEMLOCK`, 8 MiB
//! for ordinary users on most systems; what does not fit stays unregistered and works all the same.

use std::cell::RefCell;
use std::fmt;
use std::fs::File;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::FileEngine;
use super::iocp::OwnFile;
use super::uring::Uring;
use crate::limits::{MAX_REGISTERED_FILES, MAX_REGISTERED_POOLS};
use crate::region::Pool;

/// A file as one ring knows it. Clones are cheap; they stay on the ring's thread.
#[derive(Clone)]
pub struct RingFile(Rc<Inner>);

struct Inner {
    file: Arc<OneRings>,
    engine: FileEngine,
    /// What overlapped calls go to.
    own: Option<OwnFile>,
    /// The ring beside the ordinary one that its requests go by: its number.
    polled: Option<usize>,
    /// The identity of its ring and the place in that one's table.
    place: Option<(u32, u32)>,
    /// Of the ring, which takes the file out of its table.
    gone: Rc<RefCell<Vec<u32>>>,
}

impl RingFile {
    /// The file itself, for jobs of this ring's workers to hold.
    pub(super) fn file(&self) -> &Arc<OneRings> {
        &self.0.file
    }

    /// What carries out its tasks.
    #[must_use]
    pub fn engine(&self) -> FileEngine {
        self.0.engine
    }

    /// The file object for overlapped calls, if it goes by them.
    pub(super) fn own(&self) -> Option<&OwnFile> {
        self.0.own.as_ref()
    }

    /// Which of the rings that poll it belongs to.
    pub(super) fn polled(&self) -> Option<usize> {
        self.0.polled
    }

    /// Where the ring with this identity has it.
    #[cfg(target_os = "linux")]
    pub(super) fn place(&self, ring: u32) -> Option<u32> {
        self.0.place.filter(|place| place.0 == ring).map(|place| place.1)
    }
}

/// A file, counted for one ring: each job of a worker raises and lowers the count, and it must not be one that all
/// reactors with this file write to.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct OneRings(Arc<File>);

impl OneRings {
    pub(super) fn new(file: Arc<File>) -> Arc<Self> {
        Arc::new(Self(file))
    }
}

impl Deref for OneRings {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

impl fmt::Debug for RingFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RingFile({:?} by {} at {:?})", self.0.file, self.0.engine, self.0.place)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some((_, place)) = self.place {
            self.gone.borrow_mut().push(place);
        }
    }
}

/// What one ring of the kernel has registered.
pub(super) struct Registered {
    /// Tells such rings of a process apart.
    ring: u32,
    /// Places of the file table that are free. Empty where there is no table.
    free: Vec<u32>,
    gone: Rc<RefCell<Vec<u32>>>,
    /// A file of the kernel's ring was opened: registered buffers will be of use.
    has_files: bool,
    /// Its number among those that poll, if it does.
    polled: Option<usize>,
    /// The registered ones, by number.
    pools: Vec<Pool>,
    /// Those that wait for a first file.
    wanted: Vec<Pool>,
}

impl Registered {
    pub(super) fn new(polled: Option<usize>) -> Self {
        static RINGS: AtomicU32 = AtomicU32::new(0);
        Self {
            ring: RINGS.fetch_add(1, Ordering::Relaxed),
            free: Vec::new(),
            gone: Rc::default(),
            has_files: false,
            polled,
            pools: Vec::new(),
            wanted: Vec::new(),
        }
    }

    /// There is a kernel's ring to register with, from now on.
    pub(super) fn attach(&mut self, uring: &mut Uring) {
        let places = if uring.make_tables() { MAX_REGISTERED_FILES as u32 } else { 0 };
        self.free = (0..places).rev().collect();
    }

    /// The identity that places belong to.
    pub(super) fn ring(&self) -> u32 {
        self.ring
    }

    /// A file of this engine; one of the kernel's ring is registered if there is room for it.
    pub(super) fn file(&mut self, uring: Option<&mut Uring>, file: Arc<File>, engine: FileEngine) -> RingFile {
        let mut place = None;
        if engine == FileEngine::Uring {
            let uring = uring.expect("made for this engine");
            self.forget_files(uring);
            place = self.free.pop_if(|&mut place| uring.set_file(place, Some(&file))).map(|place| (self.ring, place));
            if !std::mem::replace(&mut self.has_files, true) {
                for pool in std::mem::take(&mut self.wanted) {
                    self.register(uring, pool);
                }
            }
        }
        let (polled, gone) = (self.polled, Rc::clone(&self.gone));
        RingFile(Rc::new(Inner { file: OneRings::new(file), engine, own: None, polled, place, gone }))
    }

    /// A file whose tasks go by overlapped calls to `own`.
    pub(super) fn overlapped_file(&self, file: Arc<File>, own: OwnFile) -> RingFile {
        let (file, engine, gone) = (OneRings::new(file), FileEngine::Iocp, Rc::clone(&self.gone));
        RingFile(Rc::new(Inner { file, engine, own: Some(own), polled: None, place: None, gone }))
    }

    /// Takes files that are not used any more out of the table, which closes them.
    pub(super) fn forget_files(&mut self, uring: &mut Uring) {
        for place in self.gone.borrow_mut().drain(..) {
            uring.set_file(place, None);
            self.free.push(place);
        }
    }

    /// See [`super::Ring::register_pool`].
    pub(super) fn pool(&mut self, uring: Option<&mut Uring>, pool: &Pool) {
        match uring {
            Some(uring) if self.has_files => self.register(uring, pool.clone()),
            _ if self.wanted.len() < MAX_REGISTERED_POOLS => self.wanted.push(pool.clone()),
            _ => {}
        }
    }

    /// The pools that are registered or are to be.
    pub(super) fn pools(&self) -> impl Iterator<Item = &Pool> {
        self.pools.iter().chain(&self.wanted)
    }

    /// Whether the bytes of this pool are registered here.
    pub(super) fn has_pool(&self, pool: &Pool) -> bool {
        pool.registered(self.ring).is_some()
    }

    fn register(&mut self, uring: &mut Uring, pool: Pool) {
        let number = self.pools.len();
        if self.has_pool(&pool) || number == MAX_REGISTERED_POOLS {
            return;
        }
        let bytes = pool.region().len();
        match uring.set_buffer(number as u32, &pool) {
            Ok(()) => {
                pool.set_registered(self.ring, number as u16);
                self.pools.push(pool);
            }
            Err(error) => tracing::info!(
                "{bytes} bytes of buffers are pinned for each request anew, because they cannot be registered with \
                 io_uring ({error}). If that is for the limit of locked memory: ulimit -l, or LimitMEMLOCK= in a \
                 systemd unit."
            ),
        }
    }
}
