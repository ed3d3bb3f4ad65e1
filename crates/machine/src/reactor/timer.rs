//! Deadlines of one poller: a heap of fixed size, earliest first.
//!
//! Nothing is ever cancelled: a key that is not wanted any more expires like the others and is ignored by its owner
//! (put a generation into the key). A deadline that moves into the future all the time, like a keep-alive, is not
//! inserted anew for each command: when it expires, its owner looks at what it should be by now and inserts that.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::clock::Coarse;

/// Deadlines and what they are for.
pub struct Timers<K> {
    heap: BinaryHeap<Reverse<Entry<K>>>,
    capacity: usize,
    inserted: u64,
}

struct Entry<K> {
    deadline: Coarse,
    /// Equal deadlines expire in the order they were inserted.
    order: u64,
    key: K,
}

impl<K: Copy> Timers<K> {
    /// Room for `capacity` deadlines, allocated now.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { heap: BinaryHeap::with_capacity(capacity), capacity, inserted: 0 }
    }

    /// Adds a deadline.
    ///
    /// # Errors
    /// Gives the key back when `capacity` deadlines are in already.
    pub fn insert(&mut self, deadline: Coarse, key: K) -> Result<(), K> {
        if self.heap.len() >= self.capacity {
            return Err(key);
        }
        self.inserted += 1;
        self.heap.push(Reverse(Entry { deadline, order: self.inserted, key }));
        Ok(())
    }

    /// Takes out one key whose deadline is `now` or earlier.
    pub fn expired(&mut self, now: Coarse) -> Option<K> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry.key)
    }

    /// The earliest deadline.
    #[must_use]
    pub fn next(&self) -> Option<Coarse> {
        self.heap.peek().map(|Reverse(entry)| entry.deadline)
    }

    /// Deadlines that are in.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}

impl<K> Ord for Entry<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.deadline, self.order).cmp(&(other.deadline, other.order))
    }
}

impl<K> PartialOrd for Entry<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K> PartialEq for Entry<K> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<K> Eq for Entry<K> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earliest_first_and_never_early() {
        let at = Coarse::from_millis;
        let mut timers = Timers::new(4);
        for (millis, key) in [(30, 'c'), (10, 'a'), (30, 'd'), (20, 'b')] {
            assert_eq!(timers.insert(at(millis), key), Ok(()));
        }
        assert_eq!(timers.insert(at(1), 'x'), Err('x'));
        assert_eq!(timers.next(), Some(at(10)));
        assert_eq!(timers.expired(at(9)), None);
        assert_eq!(
            (timers.expired(at(20)), timers.expired(at(20)), timers.expired(at(20))),
            (Some('a'), Some('b'), None)
        );
        assert_eq!((timers.expired(at(99)), timers.expired(at(99)), timers.len()), (Some('c'), Some('d'), 0));
        assert!(timers.is_empty());
    }
}
