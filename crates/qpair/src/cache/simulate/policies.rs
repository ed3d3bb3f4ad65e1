//! The yardsticks: LRU, ARC and S3-FIFO object by object, and Belady's, which knows what comes.
//!
//! What each keeps about an object counts towards the size. All are charged the header and the share of a hash table
//! that this store has for an object ([`OBJECT`]), as if they could have them too: no allocator, no rounding. What has
//! expired goes when it is asked for or evicted.

use std::collections::{BinaryHeap, HashMap};

use super::lists::Lists;
use super::{Access, Policy};

/// Header and share of the table: what this store has for an item that does not expire.
const OBJECT: u64 = 5 + 10;
/// When it expires.
const EXPIRY: u64 = 6;

fn cost(access: &Access<'_>, more: u64) -> u64 {
    let expiry = if access.expires == u32::MAX { 0 } else { EXPIRY };
    u64::from(access.bytes) + OBJECT + expiry + more
}

/// Least recently used: two neighbours of 4 bytes.
pub(super) struct Lru {
    room: u64,
    lists: Lists,
}

impl Lru {
    pub(super) const MORE: u64 = 8;

    pub(super) fn new(room: u64) -> Self {
        Self { room, lists: Lists::new() }
    }
}

impl Policy for Lru {
    fn get(&mut self, access: &Access<'_>) -> bool {
        match self.lists.find(access.id).map(|object| object.expires > access.now) {
            Some(true) => self.lists.move_to(0, access.id),
            Some(false) => {
                self.lists.remove(access.id);
                return false;
            }
            None => return false,
        }
        true
    }

    fn put(&mut self, access: &Access<'_>) {
        self.lists.remove(access.id);
        let cost = cost(access, Self::MORE);
        if cost > self.room {
            return;
        }
        while self.lists.cost(0) + cost > self.room {
            let oldest = self.lists.back(0).expect("there are some").id;
            self.lists.remove(oldest);
        }
        self.lists.push(0, access.id, cost, access.expires);
    }

    fn remove(&mut self, id: u64) {
        self.lists.remove(id);
    }

    fn objects(&self) -> u64 {
        self.lists.len(0)
    }
}

/// ARC (Megiddo and Modha, 2003), with bytes where it counts pages.
pub(super) struct Arc {
    room: u64,
    /// What the first list is to have.
    target: u64,
    lists: Lists,
}

/// ARC's lists: seen once, seen again, and those of either that are only remembered.
const ONCE: u8 = 0;
const AGAIN: u8 = 1;
const WAS_ONCE: u8 = 2;
const WAS_AGAIN: u8 = 3;

impl Arc {
    /// Two neighbours and a list.
    pub(super) const MORE: u64 = 9;
    /// Share of a table, neighbours, list, and the size.
    pub(super) const GHOST: u64 = 10 + 9 + 3;

    pub(super) fn new(room: u64) -> Self {
        Self { room, target: 0, lists: Lists::new() }
    }

    fn used(&self) -> u64 {
        let ghosts = self.lists.len(WAS_ONCE) + self.lists.len(WAS_AGAIN);
        self.lists.cost(ONCE) + self.lists.cost(AGAIN) + ghosts * Self::GHOST
    }

    /// Makes room: of the first list if it has more than it is to have.
    fn make_room(&mut self, bytes: u64, was_again: bool) {
        while self.used() + bytes > self.room {
            let once = self.lists.cost(ONCE);
            let first = once > 0 && (once > self.target || was_again && once == self.target);
            let (from, to) = if first || self.lists.len(AGAIN) == 0 { (ONCE, WAS_ONCE) } else { (AGAIN, WAS_AGAIN) };
            match self.lists.back(from) {
                Some(oldest) => self.lists.move_to(to, oldest.id),
                // Only what is remembered is left.
                None => self.forget(),
            }
            while self.lists.cost(ONCE) + self.lists.cost(WAS_ONCE) > self.room && self.lists.len(WAS_ONCE) > 0 {
                self.drop_back(WAS_ONCE);
            }
            while (ONCE..=WAS_AGAIN).map(|list| self.lists.cost(list)).sum::<u64>() > 2 * self.room {
                self.forget();
            }
        }
    }

    fn forget(&mut self) {
        let list = if self.lists.len(WAS_AGAIN) > 0 { WAS_AGAIN } else { WAS_ONCE };
        self.drop_back(list);
    }

    fn drop_back(&mut self, list: u8) {
        if let Some(oldest) = self.lists.back(list) {
            self.lists.remove(oldest.id);
        }
    }
}

impl Policy for Arc {
    fn get(&mut self, access: &Access<'_>) -> bool {
        let Some(object) = self.lists.find(access.id).filter(|object| object.list <= AGAIN) else { return false };
        if object.expires <= access.now {
            self.lists.remove(access.id);
            return false;
        }
        self.lists.move_to(AGAIN, access.id);
        true
    }

    fn put(&mut self, access: &Access<'_>) {
        let cost = cost(access, Self::MORE);
        if cost > self.room {
            self.lists.remove(access.id);
            return;
        }
        let was = self.lists.find(access.id).map(|object| object.list);
        let ratio = |one: u64, other: u64| (one as f64 / other.max(1) as f64).max(1.0);
        let (once, again) = (self.lists.cost(WAS_ONCE), self.lists.cost(WAS_AGAIN));
        match was {
            Some(WAS_ONCE) => self.target = (self.target + (cost as f64 * ratio(again, once)) as u64).min(self.room),
            Some(WAS_AGAIN) => self.target = self.target.saturating_sub((cost as f64 * ratio(once, again)) as u64),
            _ => {}
        }
        self.lists.remove(access.id);
        self.make_room(cost, was == Some(WAS_AGAIN));
        self.lists.push(if was.is_some() { AGAIN } else { ONCE }, access.id, cost, access.expires);
    }

    fn remove(&mut self, id: u64) {
        self.lists.remove(id);
    }

    fn objects(&self) -> u64 {
        self.lists.len(ONCE) + self.lists.len(AGAIN)
    }
}

/// S3-FIFO (Yang and others, 2023).
pub(super) struct S3Fifo {
    room: u64,
    lists: Lists,
}

/// S3-FIFO's queues: a tenth for what is new, the others, and those that were new and went.
const SMALL: u8 = 0;
const MAIN: u8 = 1;
const GHOST: u8 = 2;

impl S3Fifo {
    /// A place in a queue, and two bits.
    pub(super) const MORE: u64 = 5;
    /// A fingerprint and when it was.
    pub(super) const REMEMBERED: u64 = 8;
    /// Requests that are counted.
    const MOST: u8 = 3;

    pub(super) fn new(room: u64) -> Self {
        Self { room, lists: Lists::new() }
    }

    fn used(&self) -> u64 {
        self.lists.cost(SMALL) + self.lists.cost(MAIN) + self.lists.len(GHOST) * Self::REMEMBERED
    }

    fn evict(&mut self) {
        if self.lists.cost(SMALL) * 10 >= self.room || self.lists.len(MAIN) == 0 {
            let Some(oldest) = self.lists.back(SMALL) else { return self.forget() };
            let to = if oldest.count > 1 { MAIN } else { GHOST };
            self.lists.find(oldest.id).expect("it is there").count = 0;
            self.lists.move_to(to, oldest.id);
            while self.lists.cost(GHOST) * 10 > self.room * 9 {
                self.forget();
            }
            return;
        }
        let oldest = self.lists.back(MAIN).expect("it has some");
        if oldest.count == 0 {
            self.lists.remove(oldest.id);
        } else {
            self.lists.find(oldest.id).expect("it is there").count -= 1;
            self.lists.move_to(MAIN, oldest.id);
        }
    }

    fn forget(&mut self) {
        if let Some(oldest) = self.lists.back(GHOST) {
            self.lists.remove(oldest.id);
        }
    }
}

impl Policy for S3Fifo {
    fn get(&mut self, access: &Access<'_>) -> bool {
        let Some(object) = self.lists.find(access.id).filter(|object| object.list <= MAIN) else { return false };
        if object.expires <= access.now {
            self.lists.remove(access.id);
            return false;
        }
        object.count = (object.count + 1).min(Self::MOST);
        true
    }

    fn put(&mut self, access: &Access<'_>) {
        let cost = cost(access, Self::MORE);
        let list =
            self.lists.find(access.id).map_or(SMALL, |object| if object.list == GHOST { MAIN } else { object.list });
        self.lists.remove(access.id);
        if cost > self.room {
            return;
        }
        while self.used() + cost > self.room {
            self.evict();
        }
        self.lists.push(list, access.id, cost, access.expires);
    }

    fn remove(&mut self, id: u64) {
        self.lists.remove(id);
    }

    fn objects(&self) -> u64 {
        self.lists.len(SMALL) + self.lists.len(MAIN)
    }
}

/// What is asked for last goes first (Belady, 1966): no policy that must guess is better where all objects are of one
/// size. It keeps nothing about an object.
pub(super) struct Belady {
    room: u64,
    used: u64,
    /// The number of its next request, what it costs, when it expires.
    objects: HashMap<u64, (u32, u64, u32)>,
    /// By their next request; those that have changed since are passed over.
    order: BinaryHeap<(u32, u64)>,
}

impl Belady {
    pub(super) fn new(room: u64) -> Self {
        Self { room, used: 0, objects: HashMap::new(), order: BinaryHeap::new() }
    }

    /// The next request that can be a hit.
    fn next_of(access: &Access<'_>, expires: u32) -> Option<u32> {
        access.next.filter(|next| access.trace[*next as usize].at < expires)
    }
}

impl Policy for Belady {
    fn get(&mut self, access: &Access<'_>) -> bool {
        let Some(&(_, cost, expires)) = self.objects.get(&access.id) else { return false };
        match Self::next_of(access, expires) {
            Some(next) => {
                self.objects.insert(access.id, (next, cost, expires));
                self.order.push((next, access.id));
            }
            None => self.remove(access.id),
        }
        expires > access.now
    }

    fn put(&mut self, access: &Access<'_>) {
        self.remove(access.id);
        let cost = cost(access, 0);
        let Some(next) = Self::next_of(access, access.expires).filter(|_| cost <= self.room) else { return };
        self.objects.insert(access.id, (next, cost, access.expires));
        self.order.push((next, access.id));
        self.used += cost;
        while self.used > self.room {
            let (next, id) = self.order.pop().expect("all objects are in it");
            if self.objects.get(&id).is_some_and(|object| object.0 == next) {
                self.remove(id);
            }
        }
    }

    fn remove(&mut self, id: u64) {
        if let Some((_, cost, _)) = self.objects.remove(&id) {
            self.used -= cost;
        }
    }

    fn objects(&self) -> u64 {
        self.objects.len() as u64
    }
}
