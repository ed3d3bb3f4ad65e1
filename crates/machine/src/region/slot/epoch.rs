//! When a retired slot may be written again: epochs, pins and loans.
//!
//! ```text
//!     now      the global epoch: 7
//!     pins     reactor 0: 5 (a loan of a pass of epoch 5 is still out)    reactor 1: 7 (in a pass)    reactor 2: IDLE
//!     retired  slot 40, tag 4: nobody can point to it, free    slot 41, tag 5: reactor 0 may, keep it
//! ```
//!
//! A reader's pass (R): 1. load `now` = e. 2. store its pin <= e. 3. load numbers from the table, lend. The pin stays
//! <= e until every loan of this pass is back.
//!
//! A writer (W): 4. take the number n out of the table (swap or compare-and-swap). 5. load `now`: the slot's tag.
//! 6. later make `now` larger than the tag. 7. load all pins; if the tag is less than each of them, n is free.
//!
//! *The argument.* All of these accesses are `SeqCst`, so there is one order of them all that agrees with the order of
//! each thread's program. Say R found n in the table. Then 3 comes before 4, and so 1 < 2 < 3 < 4 < 5 < 7. `now` only
//! grows, so tag >= e. W's load in 7 finds R's pin as stored in 2 or later; as long as a loan of that pass is out,
//! that is <= e <= tag, and n is kept. If on the other hand 4 comes before 3, R does not find n - unless n was freed
//! and mapped again, but then its bytes are those of its new slot, and its next way out is another 4.
//!
//! *The bytes.* Somebody writes to a slot only between taking it off a free list and putting its number into the
//! table. Before that, the last reader has stored a higher pin after its last access, and step 7 has loaded that one
//! or a later one of the same reader: the read happens before the write. Free slots change hands inside one thread or
//! under the stock's mutex. After that, a reader finds the number by a load that sees the writer's swap: the write
//! happens before the read. So no two threads ever race for a slot's bytes, and they do not change while anybody holds
//! a loan.
//!
//! *Compare-and-swap.* A partial write reads n from the table, copies its other bytes and replaces n, all in one pass:
//! n cannot come back with other bytes meanwhile, because the writer's own pin keeps it from being freed.
//!
//! *Progress.* Step 6 lets the next pass of every reader pin a higher epoch than the tag. A reader between passes
//! and without loans pins nothing.

use std::array;
use std::cell::Cell;
use std::fmt;
use std::ops::Deref;
use std::ptr::NonNull;
use std::rc::Rc;
use std::slice;
use std::sync::Arc;

use super::SlotMap;
use crate::limits::{MAX_LOAN_PASSES, MAX_REACTORS};
use crate::sync::{AtomicU64, AtomicUsize, Ordering};

/// The pin of a reader that can hold no slot.
const IDLE: u64 = u64::MAX;

/// The global epoch, and a place per reader.
pub(super) struct Epochs {
    now: Alone<AtomicU64>,
    /// A bit per place that belongs to a ledger.
    taken: Alone<AtomicU64>,
    places: Box<[Alone<Place>]>,
}

/// Two cache lines (processors fetch them in pairs), so that readers do not disturb each other.
#[repr(align(128))]
struct Alone<T>(T);

struct Place {
    pin: AtomicU64,
    /// Slots mapped minus slots cleared by whoever has or had this place; wraps around.
    mapped: AtomicUsize,
}

impl Epochs {
    pub(super) fn new() -> Self {
        let place = || Alone(Place { pin: AtomicU64::new(IDLE), mapped: AtomicUsize::new(0) });
        let places = (0..MAX_REACTORS).map(|_| place()).collect();
        Self { now: Alone(AtomicU64::new(1)), taken: Alone(AtomicU64::new(0)), places }
    }

    /// Step 5: the tag for a slot that was just taken out of the table.
    pub(super) fn now(&self) -> u64 {
        self.now.0.load(Ordering::SeqCst)
    }

    /// Whether there are several ledgers: then each write to `now` costs the others a cache miss.
    pub(super) fn is_shared(&self) -> bool {
        self.taken.0.load(Ordering::Relaxed).count_ones() > 1
    }

    /// Step 6: makes the epoch larger than `tag`.
    pub(super) fn advance(&self, tag: u64) {
        if self.now() == tag {
            // If this fails, somebody else was faster.
            let _ = self.now.0.compare_exchange(tag, tag + 1, Ordering::SeqCst, Ordering::SeqCst);
        }
    }

    /// Step 7: retired slots with a lower tag are free.
    pub(super) fn horizon(&self) -> u64 {
        // A reader takes its place before its first step 1: if it could hold the slot in question, its bit is seen. The
        // bit goes after its last loan.
        let taken = bits(self.taken.0.load(Ordering::SeqCst));
        taken.map(|place| self.places[place].0.pin.load(Ordering::SeqCst)).min().unwrap_or(IDLE)
    }

    pub(super) fn mapped(&self) -> usize {
        self.places.iter().fold(0, |sum, place| sum.wrapping_add(place.0.mapped.load(Ordering::Relaxed)))
    }

    fn enter(&self) -> usize {
        let taken = self.taken.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |taken| {
            let free = (!taken).trailing_zeros();
            (free < u64::BITS).then(|| taken | 1 << free)
        });
        let taken = taken.unwrap_or_else(|_| panic!("a slot map serves {MAX_REACTORS} reactors, and no more"));
        (!taken).trailing_zeros() as usize
    }

    fn leave(&self, place: usize) {
        self.places[place].0.pin.store(IDLE, Ordering::SeqCst);
        self.taken.0.fetch_and(!(1 << place), Ordering::SeqCst);
    }
}

/// The numbers of the bits that are set.
fn bits(mut set: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lowest = set.trailing_zeros();
        set &= set.wrapping_sub(1);
        (lowest < u64::BITS).then_some(lowest as usize)
    })
}

/// A reader's account: its pin, and how many loans are out of which pass. Held by the handle and by each loan; the
/// place is given up with the last of them.
///
/// Loans are counted per *ticket*: the epoch of a pass. The pass itself counts as one, so that its ticket is live
/// while it lasts and lending is no more than an addition. There are as many tickets as bits in a word; if all are
/// live, a new pass uses the newest. Its loans then pin an older epoch than they must, which is safe.
pub(super) struct Ledger {
    map: Arc<SlotMap>,
    place: usize,
    in_pass: Cell<bool>,
    /// The ticket of this pass.
    current: Cell<usize>,
    /// A bit per live ticket: one with loans out.
    live: Cell<u64>,
    /// The lowest epoch of a live ticket, or IDLE.
    oldest: Cell<u64>,
    /// Slots of landings that are out.
    landed: Cell<usize>,
    tickets: [Ticket; MAX_LOAN_PASSES],
}

#[derive(Default)]
struct Ticket {
    epoch: Cell<u64>,
    loans: Cell<usize>,
}

impl Ledger {
    pub(super) fn new(map: Arc<SlotMap>) -> Rc<Self> {
        let place = map.epochs.enter();
        map.stock.open().welcome(place);
        Rc::new(Self {
            place,
            map,
            in_pass: Cell::new(false),
            current: Cell::new(0),
            live: Cell::new(0),
            oldest: Cell::new(IDLE),
            landed: Cell::new(0),
            tickets: array::from_fn(|_| Ticket::default()),
        })
    }

    pub(super) fn map(&self) -> &SlotMap {
        &self.map
    }

    pub(super) fn in_pass(&self) -> bool {
        self.in_pass.get()
    }

    /// Steps 1 and 2.
    pub(super) fn begin(&self) {
        assert!(!self.in_pass.replace(true), "a pass begins inside a pass");
        let now = self.map.epochs.now();
        if self.tickets[self.current.get()].epoch.get() != now {
            let unused = (!self.live.get()).trailing_zeros() as usize;
            // With all in use the last one stays: `now` only grows, so it is the newest.
            if unused < MAX_LOAN_PASSES {
                self.tickets[unused].epoch.set(now);
                self.current.set(unused);
            }
        }
        let ticket = self.current.get();
        let Ticket { epoch, loans } = &self.tickets[ticket];
        loans.set(loans.get() + 1);
        self.live.set(self.live.get() | 1 << ticket);
        self.oldest.set(self.oldest.get().min(epoch.get()));
        self.pin(self.oldest.get());
    }

    pub(super) fn end(&self) {
        assert!(self.in_pass.replace(false), "a pass ends that did not begin");
        self.give_back(self.current.get());
        self.pin(self.oldest.get());
    }

    /// Publishes the pin. Nothing to do if it is there already: what counts is that it is there before step 3.
    fn pin(&self, epoch: u64) {
        let pin = &self.map.epochs.places[self.place].0.pin;
        if pin.load(Ordering::Relaxed) != epoch {
            pin.store(epoch, Ordering::SeqCst);
        }
    }

    /// Lends bytes of the memory.
    ///
    /// # Safety
    /// The bytes lie in the memory of this ledger's map: in the zero area, or in slots whose numbers were loaded from
    /// the table (step 3) in this pass, which is still open.
    pub(super) unsafe fn lend(self: &Rc<Self>, start: NonNull<u8>, len: u32) -> Lent {
        let ticket = self.current.get();
        let loans = &self.tickets[ticket].loans;
        loans.set(loans.get() + 1);
        Lent { start, len, ticket: ticket as u32, ledger: Rc::clone(self) }
    }

    fn give_back(&self, ticket: usize) {
        let loans = &self.tickets[ticket].loans;
        loans.set(loans.get() - 1);
        if loans.get() == 0 {
            self.close(ticket);
        }
    }

    /// The last loan of a ticket is back.
    fn close(&self, ticket: usize) {
        self.live.set(self.live.get() & !(1 << ticket));
        if self.tickets[ticket].epoch.get() == self.oldest.get() {
            let epochs = bits(self.live.get()).map(|ticket| self.tickets[ticket].epoch.get());
            self.oldest.set(epochs.min().unwrap_or(IDLE));
            // The end of a pass does this, too, for all loans that came back in it.
            if !self.in_pass.get() {
                self.pin(self.oldest.get());
            }
        }
    }

    /// Slots of landings that are out.
    pub(super) fn landed(&self) -> usize {
        self.landed.get()
    }

    /// Notes that so many more (or fewer) slots are in landings.
    pub(super) fn count_landed(&self, change: isize) {
        self.landed.set(self.landed.get().strict_add_signed(change));
    }

    /// Notes that a slot got its first data (1), or lost its data (-1).
    pub(super) fn count_mapped(&self, change: isize) {
        let mapped = &self.map.epochs.places[self.place].0.mapped;
        // Only we write to it: no need for an atomic addition.
        mapped.store(mapped.load(Ordering::Relaxed).wrapping_add_signed(change), Ordering::Relaxed);
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.map.epochs.leave(self.place);
    }
}

/// Bytes of a slot map, lent: they do not change until this is dropped.
///
/// Held long, it keeps every slot that is overwritten from now on, by anybody, from being used again.
pub struct Lent {
    start: NonNull<u8>,
    len: u32,
    ticket: u32,
    ledger: Rc<Ledger>,
}

const _: () = assert!(size_of::<Lent>() == 24 && size_of::<Option<Lent>>() == 24);

impl Deref for Lent {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `Ledger::lend` was promised that the bytes were readable then. They stay mapped, as `ledger` holds
        // the map, and unwritten, as the ticket's loan keeps the pin low: see the argument above.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len as usize) }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.ledger.give_back(self.ticket as usize);
    }
}

impl fmt::Debug for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lent({} bytes)", self.len)
    }
}
