//! The file that a store is kept in.
//!
//! ```text
//!   | label | part 0                                    | part 1 ...        a part for each store (reactor)
//!             | state | directory | segments ...       |
//! ```
//!
//! The label says what the file is: it is written once, when the pool is made, and a file without a whole one is not
//! touched. All sizes follow from it.
//!
//! ```text
//!   0             8         12    16     20      24     32             40                44
//!   | "qpairkv\0" | version | CRC | keep | parts | seed | pool's bytes | segment's bytes |
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use crc_fast::{CrcAlgorithm, Digest};
use machine::os::{self, NoFile};
use machine::region::{Arena, Durability, Region};

use crate::item::Layout;
use crate::kept::{Kept, word};
use crate::limits::{DIRECTORY_ENTRY_BYTES, MAX_PARTS, MAX_SEGMENTS, MIN_SEGMENT_BYTES, MIN_SEGMENTS, POOL_PAGE_BYTES};
use crate::store::segment_bytes;
use crate::time::Time;

const MAGIC: [u8; 8] = *b"qpairkv\0";
const VERSION: u32 = 2;
const LABEL_BYTES: usize = 44;
/// Where in the label its checksum is.
const CRC_AT: usize = 12;

/// What a pool survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The death of the process: a crash, a kill, an upgrade. After a power cut it is empty, unless it was closed.
    Warm,
    /// A power cut, too.
    Durable,
}

impl Keep {
    fn layout(self) -> Layout {
        match self {
            Self::Warm => Layout::Warm,
            Self::Durable => Layout::Durable,
        }
    }
}

impl std::fmt::Display for Keep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Warm => "warm",
            Self::Durable => "durable",
        })
    }
}

/// What a pool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Bytes of the file.
    pub bytes: u64,
    /// Stores that it is for, each with keys of its own.
    pub parts: usize,
    /// What it survives.
    pub keep: Keep,
}

impl Shape {
    /// Bytes of a part and of a segment, and how many of them a part has.
    fn geometry(&self) -> Geometry {
        let part = (self.bytes as usize - POOL_PAGE_BYTES) / self.parts / POOL_PAGE_BYTES * POOL_PAGE_BYTES;
        let segment = segment_bytes(part);
        let room = part - POOL_PAGE_BYTES;
        let mut segments = room / (segment + DIRECTORY_ENTRY_BYTES);
        while Self::directory_bytes(segments) + segments * segment > room {
            segments -= 1;
        }
        Geometry { part, segment, segments }
    }

    fn directory_bytes(segments: usize) -> usize {
        (segments * DIRECTORY_ENTRY_BYTES).next_multiple_of(POOL_PAGE_BYTES)
    }

    fn check(&self) -> Result<(), PoolError> {
        let least = (POOL_PAGE_BYTES + self.parts * (MIN_SEGMENTS + 1) * MIN_SEGMENT_BYTES) as u64;
        let fits = (1..=MAX_PARTS).contains(&self.parts) && self.bytes >= least;
        if !fits || self.geometry().segments > MAX_SEGMENTS {
            return Err(PoolError::Size { bytes: self.bytes, parts: self.parts, least });
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug)]
struct Geometry {
    part: usize,
    segment: usize,
    segments: usize,
}

/// Why a pool cannot be used. Nothing of it was changed.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// The system's refusal.
    #[error("{}: {doing}: {source}", path.display())]
    System {
        /// The file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// Why it did not work.
        source: io::Error,
    },
    /// There can be no file of that name.
    #[error("{}: {why}", path.display())]
    NoFile {
        /// The name.
        path: PathBuf,
        /// What it is instead: a sentence without its end.
        why: String,
        /// What to do about it: sentences.
        hint: String,
    },
    /// It is something else.
    #[error("{} is not a pool: it does not begin with a pool's label. It was left as it is", .0.display())]
    Foreign(PathBuf),
    /// Bytes of it are not what a store has written.
    #[error("{}: the pool is damaged: it counts more changes than can have been made. It was left as it is",
        .0.display())]
    Damaged(PathBuf),
    /// Another version has made it.
    #[error("{}: the pool is of version {found}, this program knows version {VERSION}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// It is a pool of another shape.
    #[error("{}: the pool is {}, wanted is {}", path.display(), Shown(found), Shown(wanted))]
    Shape {
        /// The file.
        path: PathBuf,
        /// Its shape.
        found: Shape,
        /// The one that was asked for.
        wanted: Shape,
    },
    /// Its items have no room in a pool of another shape, and none may be evicted.
    #[error("{}: not all of its items have room in a pool that is {}, and none may be evicted", path.display(),
        Shown(wanted))]
    TooSmall {
        /// The file.
        path: PathBuf,
        /// The shape that was asked for.
        wanted: Shape,
    },
    /// Not a size for a pool.
    #[error("a pool of {bytes} bytes for {parts} stores: the smallest has {least}")]
    Size {
        /// Bytes asked for.
        bytes: u64,
        /// Stores asked for.
        parts: usize,
        /// Bytes of the smallest.
        least: u64,
    },
}

/// A shape in words.
struct Shown<'a>(&'a Shape);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Shape { bytes, parts, keep } = self.0;
        let stores = if *parts == 1 { "store" } else { "stores" };
        write!(f, "{keep}, of {bytes} bytes, for {parts} {stores}")
    }
}

/// In what state a pool was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// There was no file.
    New,
    /// It was closed in order.
    Closed,
    /// The process that had it ended without closing it.
    Unclosed,
    /// The machine was started anew since it was last used, and it is a warm one that was not closed: what it holds is
    /// not known to be whole, and was dropped.
    Dropped,
}

/// A pool that is open. It is as it was found until its parts become stores.
pub struct Pool {
    /// A part for each store.
    pub parts: Vec<Part>,
    /// How it was found.
    pub found: Found,
    /// What makes its bytes survive a power cut.
    pub durability: Durability,
}

/// A store's part of a pool.
pub struct Part {
    pub(crate) kept: Kept,
    pub(crate) items: Arena,
    pub(crate) segment_bytes: usize,
    /// Of the hash of keys.
    pub(crate) seed: u64,
    /// The items of a segment end where the directory says so, and not only where their checksums do.
    pub(crate) trusted: bool,
    /// This start of the machine.
    pub(crate) boot: u128,
}

impl Part {
    /// The latest time that was seen when it was last used.
    #[must_use]
    pub fn time(&self) -> Time {
        Time::from_millis(self.kept.read(word::TIME))
    }

    /// Of the hash of keys.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }
}

/// Looks whether a file can have this name, before one is made.
fn look(path: &Path) -> Result<(), PoolError> {
    let no = |why: &str, hint: &str| {
        Err(PoolError::NoFile { path: path.to_owned(), why: why.to_owned(), hint: hint.to_owned() })
    };
    if os::is_drive(path) {
        return no("a pool is a file, and this is a whole drive", "Name a file on it.");
    }
    if let Some(NoFile { why, hint }) = os::no_file(path) {
        return no(&why, &hint);
    }
    if path.is_dir() {
        return no(
            "this is a directory",
            &format!("Name a file in it, for example {}.", path.join("cache.pool").display()),
        );
    }
    // A file there would be one in memory, and gone with the machine; below /dev/shm that is what is wanted.
    if path.starts_with("/dev") && !path.starts_with("/dev/shm") && !path.exists() {
        return no(
            "there is no such device",
            "Name a file. On persistent memory it is one of a file system there (DAX).",
        );
    }
    Ok(())
}

impl Pool {
    /// Opens a pool, or makes one if there is no file. `seed` is for the hash of keys in a new one.
    ///
    /// # Errors
    /// See [`PoolError`].
    pub fn open(path: &Path, wanted: Shape, seed: u64) -> Result<Self, PoolError> {
        Self::open_with_file(path, wanted, seed).map(|(pool, _)| pool)
    }

    /// The same, with the opening of the file that has its lock.
    pub(crate) fn open_with_file(path: &Path, wanted: Shape, seed: u64) -> Result<(Self, File), PoolError> {
        wanted.check()?;
        look(path)?;
        let system = |doing: &'static str| move |source| PoolError::System { path: path.to_owned(), doing, source };
        let (file, made) = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => (file, false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                (make(path, wanted, seed).map_err(system("it cannot be made"))?, true)
            }
            Err(error) => return Err(system("it cannot be opened")(error)),
        };
        let label = Label::of(&file).map_err(system("its label cannot be read"))?;
        let label = label.ok_or_else(|| PoolError::Foreign(path.to_owned()))?;
        label.check(path, wanted)?;
        let length = file.metadata().map_err(system("it cannot be looked at"))?.len();
        if length < wanted.bytes {
            let why = format!("it has {length} bytes, and its label says {}: it was cut off", wanted.bytes);
            return Err(system("it is not whole")(io::Error::new(io::ErrorKind::UnexpectedEof, why)));
        }
        let region = Region::file(&file, wanted.bytes as usize).map_err(system("it cannot be mapped"))?;
        // Holes would be filled with the first write to each, when there may be no space for them any more. Now that
        // it is locked, nobody else writes to it.
        os::allocate(&file, wanted.bytes).map_err(system("its space cannot be allocated"))?;
        let boot = os::boot_id().map_err(system("the machine's boot ID cannot be read"))?;
        let pool = Self::over(region, wanted, label.seed, made, boot);
        pool.map(|pool| (pool, file)).ok_or_else(|| PoolError::Damaged(path.to_owned()))
    }

    /// `None` if it says what no store can have written.
    pub(crate) fn over(region: Region, shape: Shape, seed: u64, made: bool, boot: u128) -> Option<Self> {
        let Geometry { part, segment, segments } = shape.geometry();
        let durability = region.durability();
        let (_, mut rest) = Arena::new(region).split_at(POOL_PAGE_BYTES);
        let mut found = if made { Found::New } else { Found::Closed };
        let mut parts = Vec::new();
        for _ in 0..shape.parts {
            let (mine, others) = rest.split_at(part);
            rest = others;
            let (state, mine) = mine.split_at(POOL_PAGE_BYTES);
            let (directory, mine) = mine.split_at(Shape::directory_bytes(segments));
            let (items, _) = mine.split_at(segments * segment);
            let kept = Kept::new(shape.keep.layout(), state, directory);
            let was = kept.was(boot);
            found = if made { found } else { worse(found, was, shape.keep) };
            let trusted = was != Was::Unknown;
            parts.push(Part { kept, items, segment_bytes: segment, seed, trusted, boot });
        }
        if parts.iter().any(|part| !part.kept.is_sound()) {
            return None;
        }
        if found == Found::Dropped {
            parts.iter_mut().for_each(|part| part.kept.erase_all());
        }
        Some(Self { parts, found, durability })
    }
}

/// What is known of a part when it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Was {
    /// It was closed in order.
    Closed,
    /// It was not, but the machine has run since: all stores of that process are in it.
    Abandoned,
    /// It was not, and the machine was started anew since.
    Unknown,
}

fn worse(found: Found, was: Was, keep: Keep) -> Found {
    match (found, was, keep) {
        (Found::Dropped, ..) | (_, Was::Unknown, Keep::Warm) => Found::Dropped,
        (Found::Closed, Was::Closed, _) => Found::Closed,
        _ => Found::Unclosed,
    }
}

/// The first bytes of a pool.
struct Label {
    version: u32,
    shape: Shape,
    seed: u64,
}

impl Label {
    fn bytes(&self) -> [u8; LABEL_BYTES] {
        let mut bytes = [0; LABEL_BYTES];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, &MAGIC);
        put(8, &self.version.to_le_bytes());
        put(16, &(matches!(self.shape.keep, Keep::Durable) as u32 + 1).to_le_bytes());
        put(20, &(self.shape.parts as u32).to_le_bytes());
        put(24, &self.seed.to_le_bytes());
        put(32, &self.shape.bytes.to_le_bytes());
        put(40, &(self.shape.geometry().segment as u32).to_le_bytes());
        let sum = crc(&bytes);
        bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// `None` if the file begins otherwise.
    fn of(mut file: &File) -> io::Result<Option<Self>> {
        let mut bytes = Vec::new();
        file.rewind()?;
        file.take(LABEL_BYTES as u64).read_to_end(&mut bytes)?;
        if bytes.len() < LABEL_BYTES || !bytes.starts_with(&MAGIC) {
            return Ok(None);
        }
        let half = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("they are four"));
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("they are eight"));
        let version = half(8);
        let keep = if half(16) == 1 { Keep::Warm } else { Keep::Durable };
        let shape = Shape { bytes: word(32), parts: half(20) as usize, keep };
        let label = Self { version, shape, seed: word(24) };
        let sum = half(CRC_AT);
        bytes[CRC_AT..CRC_AT + 4].fill(0);
        // What another version has after its number is not known here.
        let whole = version != VERSION || sum == crc(&bytes) && shape.check().is_ok();
        Ok(whole.then_some(label))
    }

    fn check(&self, path: &Path, wanted: Shape) -> Result<(), PoolError> {
        let path = path.to_owned();
        if self.version != VERSION {
            return Err(PoolError::Version { path, found: self.version });
        }
        if self.shape != wanted {
            return Err(PoolError::Shape { path, found: self.shape, wanted });
        }
        Ok(())
    }
}

fn crc(bytes: &[u8]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(bytes);
    digest.finalize() as u32
}

/// Makes the file of a pool, under another name until it is whole.
fn make(path: &Path, shape: Shape, seed: u64) -> io::Result<File> {
    let new = beside(path, ".new");
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&new)?;
    if !os::lock_exclusive(&file)? {
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, "another program makes it"));
    }
    let made = fill(&file, shape, seed).and_then(|()| os::replace(&new, path)).and_then(|()| sync_directory(path));
    if let Err(error) = made {
        let _ = fs::remove_file(&new);
        return Err(error);
    }
    os::unlock(&file)?;
    Ok(file)
}

/// A file of the same directory, whose name goes on.
pub(crate) fn beside(path: &Path, more: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(more);
    PathBuf::from(name)
}

fn fill(file: &File, shape: Shape, seed: u64) -> io::Result<()> {
    file.set_len(0)?;
    os::allocate(file, shape.bytes)?;
    os::write_all_at(file, &Label { version: VERSION, shape, seed }.bytes(), 0, false)?;
    file.sync_all()
}

/// Makes the name of a file durable.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    os::sync_directory(directory)
}
