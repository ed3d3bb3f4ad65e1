//! What a reactor does for a store that is kept in a pool: it finds the items again, makes durable what was done before
//! anybody is told, and closes the pool.
//!
//! While items are still to be found, a command that would have to know all of them waits, with its connection. A get
//! of an item that is found already is answered at once; one of an item that is not waits as others do, but no longer
//! than [`RECOVERY_PATIENCE`], and is a miss then, as of any cache.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use machine::clock::Coarse;
use store::{Recovered, Store, Time};

use crate::counters::Gauges;
use crate::limits::{RECOVERY_BYTES_PER_PASS, RECOVERY_PATIENCE};

/// What the reactors of a cache tell each other of its pool.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Reactors that do not know all of their items yet.
    recovering: AtomicUsize,
    failure: OnceLock<String>,
}

impl Shared {
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }
}

/// How far the items of all reactors are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Finding {
    /// All are.
    #[default]
    Done,
    /// Some are not.
    Partly,
    /// Nor are they after some time: what is not found is a miss.
    Long,
}

/// See the module.
pub(crate) struct Keeping {
    shared: Arc<Shared>,
    recovering: bool,
    since: Option<Coarse>,
    closed: bool,
    /// What there was, when all of it is known.
    found: Recovered,
}

impl Keeping {
    pub(crate) fn new(shared: Arc<Shared>, store: &Store) -> Self {
        let recovering = store.is_recovering();
        shared.recovering.fetch_add(recovering.into(), Ordering::AcqRel);
        Self { shared, recovering, since: None, closed: false, found: Recovered::default() }
    }

    /// Finds some more items; how far it is.
    pub(crate) fn find(&mut self, store: &mut Store, now: Coarse) -> Finding {
        if self.recovering {
            if let Some(found) = store.recover((RECOVERY_BYTES_PER_PASS / store.segment_bytes()).max(1)) {
                self.found = found;
                tracing::info!(?found, "all items of the pool are found");
                if found.dropped > 0 {
                    tracing::warn!(items = found.dropped, "the table had no room for these items: they are gone");
                }
            }
            self.recovering = store.is_recovering();
            if !self.recovering {
                self.shared.recovering.fetch_sub(1, Ordering::AcqRel);
            }
        }
        if self.shared.recovering.load(Ordering::Acquire) == 0 {
            return Finding::Done;
        }
        let since = *self.since.get_or_insert(now);
        if now.since(since) < RECOVERY_PATIENCE { Finding::Partly } else { Finding::Long }
    }

    /// What is told of it.
    pub(crate) fn tell(&self, gauges: &mut Gauges) {
        let Recovered { items, torn, stale, dropped, .. } = self.found;
        (gauges.found_items, gauges.found_torn) = (items, torn);
        (gauges.found_stale, gauges.found_dropped) = (stale, dropped);
        gauges.recovering = self.recovering.into();
    }

    /// Whether this reactor has more to find.
    pub(crate) fn is_finding(&self) -> bool {
        self.recovering
    }

    /// Makes durable what was done in this pass; whether that, and all that was read, may be told.
    pub(crate) fn sync(&self, store: &mut Store) -> bool {
        let Err(error) = store.sync() else { return true };
        tracing::error!(%error, "the pool has failed: nobody is served any more");
        let _ = self.shared.failure.set(error.to_string());
        false
    }

    /// Closes the pool, once.
    pub(crate) fn close(&mut self, store: &mut Store, now: Time) {
        if !std::mem::replace(&mut self.closed, true)
            && let Err(error) = store.close(now)
        {
            tracing::error!(%error, "the pool cannot be closed");
            let _ = self.shared.failure.set(error.to_string());
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }
}
