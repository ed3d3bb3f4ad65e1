//! What is true of a store between any two calls.

use crate::heap::{NONE, Use};
use crate::item::parts;
use crate::limits::ITEMS_START;
use crate::slot::Place;
use crate::store::Store;

impl Store {
    /// Asserts it. It takes as long as there are items: for tests and fuzzers.
    pub fn check(&self) {
        let heap = &self.heap;
        let all = || 0..heap.count() as u32;
        let free = all().filter(|segment| heap.segment(*segment).is == Use::Free).count();
        let pages = all().filter(|segment| heap.segment(*segment).is == Use::Table).count();
        assert_eq!((free, pages), (heap.free_segments(), self.pages()));
        let detached = all().filter(|segment| heap.segment(*segment).is == Use::Detached);
        let detached: u32 =
            detached.inspect(|one| assert!(heap.is_pinned(*one))).map(|one| heap.segment(one).run).sum();
        let (mut chained, mut items, mut live_bytes) = (0, 0, 0);
        for (_, chain) in heap.chains() {
            let (mut previous, mut next, mut length) = (NONE, chain.head, 0);
            while next != NONE {
                let meta = heap.segment(next);
                assert_eq!((meta.is, meta.previous), (Use::Items, previous));
                let followers = next + 1..next + meta.run;
                assert!(followers.into_iter().all(|one| heap.segment(one).is == Use::Follower(next)));
                let (known, live) = self.items_of(next);
                assert!(live == meta.live && meta.used as usize <= meta.run as usize * heap.segment_bytes());
                assert!(meta.run == 1 || known == 1 || self.is_recovering(), "{known} items in a run");
                (items, live_bytes, chained) =
                    (items + known, live_bytes + u64::from(live), chained + meta.run as usize);
                (previous, next, length) = (next, meta.next, length + 1);
            }
            assert_eq!((previous, length), (chain.tail, chain.segments));
        }
        assert_eq!(free + pages + chained + detached as usize, heap.count());
        let figures = self.figures();
        assert_eq!((items, live_bytes), (figures.items, figures.live_bytes));
    }

    /// Items of a segment that the table knows, and their bytes.
    fn items_of(&self, segment: u32) -> (u64, u32) {
        let (mut items, mut live) = (0, 0);
        let mut offset = ITEMS_START as u32;
        while offset < self.heap.segment(segment).used {
            let place = Place { segment, offset };
            let (item, header) = (self.heap.at(place), self.heap.header(place));
            let hash = self.hash(parts(&header, item).0);
            if self.table.find(&self.heap, hash, |other| other == place).is_some() {
                (items, live) = (items + 1, live + header.item_bytes() as u32);
            }
            offset += header.item_bytes() as u32;
        }
        (items, live)
    }
}
