//! A pool of another shape: of another size, for another number of stores, or one that survives something else.
//!
//! ```text
//!   pool ──▶ items, in the order of their segments ──▶ pool.new ──▶ in the place of the old one, when it is whole
//! ```
//!
//! Items keep their expiry, their CAS and their marks; how often they were asked for is forgotten. The old pool is not
//! changed but for what its recovery notes, and closed again, so that whatever goes wrong, it is still there. There has
//! to be space for both.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::Path;

use machine::os;

use crate::chains;
use crate::evict::Eviction;
use crate::item::{Header, parts};
use crate::limits::ITEMS_START;
use crate::marks::Marks;
use crate::pool::{Part, Pool, PoolError, Shape, beside, sync_directory};
use crate::share::share;
use crate::slot::Place;
use crate::store::{NoRoom, Store, StoreOptions};
use crate::time::Time;

/// The name of the new pool goes on so, until it has the place of the old one.
const NEW: &str = ".refit";

/// What became of the items of a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refitted {
    /// Items that are in the new pool.
    pub items: u64,
    /// Items that made room for others there.
    pub evicted: u64,
}

/// Makes a pool one of another shape.
///
/// # Errors
/// See [`PoolError`]; also if not all items have room and none may be evicted. The pool is then as it was.
pub fn refit(path: &Path, found: Shape, wanted: Shape, eviction: Eviction, now: Time) -> Result<Refitted, PoolError> {
    let system = |doing: &'static str| move |source| PoolError::System { path: path.to_owned(), doing, source };
    let new = beside(path, NEW);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(system("what was left of a refit cannot be removed")(error));
        }
        _ => {}
    }
    let (old, file) = Pool::open_with_file(path, found, 0)?;
    let seed = old.parts.iter().map(Part::seed).next().unwrap_or_default();
    let now = old.parts.iter().map(Part::time).fold(now, Time::max);
    let options = StoreOptions { seed, eviction };
    let open = |part| Store::open(part, options).map_err(system("it cannot be used"));
    let mut from = old.parts.into_iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let poured = pour(&mut from, path, wanted, options, now);
    // Whatever comes of it, the old pool is whole. It is mapped no more then: Windows replaces no file that is.
    let closed = from.iter_mut().try_for_each(|store| store.close(now)).map_err(system("it cannot be closed"));
    drop(from);
    let done = closed.and(poured).and_then(|refitted| {
        replace(&new, path, file).map_err(system("it cannot be replaced"))?;
        Ok(refitted)
    });
    if done.is_err() {
        // What is left of it would be removed the next time.
        let _ = fs::remove_file(&new);
    }
    done
}

/// Puts the new pool in the place of the old one, of which `old` is what is left: nobody else is to use it meanwhile.
///
/// Where an open file cannot be replaced (Windows before 10, Wine), it is closed first. Who opens it then, in that
/// moment, keeps it from being replaced by that.
fn replace(new: &Path, path: &Path, old: File) -> io::Result<()> {
    // On some systems the lock went with the mapping.
    if !os::lock_exclusive(&old)? {
        return Err(io::Error::new(ErrorKind::ResourceBusy, "another program uses the file"));
    }
    match fs::rename(new, path) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            drop(old);
            os::replace(new, path)?;
        }
        done => done?,
    }
    sync_directory(path)
}

/// Makes a pool beside that of some stores, of their items.
fn pour(
    from: &mut [Store],
    path: &Path,
    wanted: Shape,
    options: StoreOptions,
    now: Time,
) -> Result<Refitted, PoolError> {
    let system = |doing: &'static str| move |source| PoolError::System { path: path.to_owned(), doing, source };
    let made = Pool::open(&beside(path, NEW), wanted, options.seed)?;
    let open = |part| Store::open(part, options).map_err(system("it cannot be used"));
    let mut stores = made.parts.into_iter().map(open).collect::<Result<Vec<_>, _>>()?;
    for store in from {
        store.recover(usize::MAX);
        store.pour_into(&mut stores, now).map_err(|_| PoolError::TooSmall { path: path.to_owned(), wanted })?;
    }
    let mut refitted = Refitted::default();
    for store in &mut stores {
        refitted.items += store.figures().items;
        refitted.evicted += store.figures().evicted;
        store.close(now).map_err(system("it cannot be written"))?;
    }
    Ok(refitted)
}

impl Store {
    /// Copies all items to the stores that their keys belong to.
    fn pour_into(&self, stores: &mut [Self], now: Time) -> Result<(), NoRoom> {
        let last = self.heap.kept.as_ref().map_or(0, |kept| kept.last_sequence());
        for store in stores.iter_mut() {
            if let Some(kept) = &mut store.heap.kept {
                kept.raise_sequence(last);
            }
            store.set_clear_at(self.clear_at());
        }
        let mut segments: Vec<u32> =
            self.heap.chains().flat_map(|(_, chain)| self.chain(chain.head).collect::<Vec<_>>()).collect();
        segments.sort_unstable_by_key(|segment| self.heap.segment(*segment).number);
        for segment in segments {
            let mut offset = ITEMS_START as u32;
            while offset < self.heap.segment(segment).used {
                let place = Place { segment, offset };
                let (item, header) = (self.heap.at(place), self.heap.header(place));
                offset += header.item_bytes() as u32;
                let (key, value) = parts(&header, item);
                let hash = self.hash(key);
                let is_there = self.table.find(&self.heap, hash, |other| other == place).is_some();
                if is_there && !header.expiry.has_come(now) {
                    let store = &mut stores[share(hash, stores.len())];
                    store.take_over(hash, key, value, &header, Marks::of(item), now)?;
                }
            }
        }
        Ok(())
    }

    /// Stores an item of another store with all that is known of it. There is none of its key.
    fn take_over(
        &mut self,
        hash: u64,
        key: &[u8],
        value: &[u8],
        old: &Header,
        marks: Marks,
        now: Time,
    ) -> Result<(), NoRoom> {
        let header = Header { layout: self.heap.layout(), dead: false, ..*old };
        let bytes = header.item_bytes();
        if bytes > self.largest_item() {
            // One that is too large for a smaller pool is evicted by that.
            self.evicted += 1;
            return if self.options.eviction != Eviction::None { Ok(()) } else { Err(NoRoom::Full) };
        }
        let room = self.room(chains::of(header.expiry, now), bytes, now)?;
        let segment = self.open_room(room);
        let place = self.heap.append(segment, bytes, header.expiry).expect("there is room");
        let item = self.heap.at_mut(place, bytes);
        let at = header.write(item);
        marks.write(item);
        item[at..at + key.len()].copy_from_slice(key);
        item[at + key.len()..].copy_from_slice(value);
        self.live_bytes += bytes as u64;
        self.heap.written(place, bytes);
        self.show(hash, place);
        // Of a durable one only its close has to be.
        Ok(())
    }
}
