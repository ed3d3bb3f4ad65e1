//! What a store leaves in its pool so that the next process finds its items again, and in which order it reaches the
//! medium.
//!
//! ```text
//!   state       | clean | boot | epoch | time | clear | numbers, table |                a page of words
//!   directory   | number | used, run | chain, CRC | seal |   32 bytes for each segment; number 0 is a free one
//! ```
//!
//! What goes into the log is in `item.rs`. What leaves it is marked where it lies: an overwrite or a delete sets a bit
//! of the old item, `flush_all` raises the epoch, up to which no sequence holds. So there are no tombstones, and
//! nothing has to be kept for the sake of what is gone.
//!
//! A process that dies loses nothing that it has stored: memory is as it was after some store of the program. There
//! the order of the program is enough - the item, `used`, the mark of the old one - and of two items that a crash left
//! with one key the sequence tells the newer.
//!
//! A power cut loses any part of what was written since the last fence. So, in a durable pool:
//!
//! 1. Nothing is acknowledged before the fence behind it ([`Kept::commit`]). What was not acknowledged may be lost; the
//!    checksum tells.
//! 2. An old item is marked after the fence of the new one. Else a cut could leave neither.
//! 3. Before a segment is freed there are two fences ([`Kept::settle`]): all items that were moved out of it are
//!    durable, and so are all marks. Else an item that was dropped with it could leave an older one, unmarked.
//! 4. For the same reason before a deleted item is marked whose predecessor's mark is not durable.

use std::io;

use machine::region::Arena;

use crate::item::{DEAD, Layout, MAX_SEQUENCE};
use crate::limits::{DIRECTORY_ENTRY_BYTES, EMPTIED_UNIT, GRANTED_NUMBERS, MAX_PENDING_MARKS};
use crate::pool::Was;
use crate::slot::Place;
use crate::time::Time;

/// Words of the state, by their place in bytes.
pub(crate) mod word {
    /// 1 after the store was closed in order: everything is durable, and nothing was written since.
    pub(crate) const CLEAN: usize = 0;
    /// Two: which start of the machine the pool was last used in.
    pub(crate) const BOOT: usize = 8;
    /// Sequences up to this one do not hold: `flush_all`.
    pub(crate) const EPOCH: usize = 24;
    /// The latest time that was seen, in milliseconds: it does not go back.
    pub(crate) const TIME: usize = 32;
    /// When everything goes, in milliseconds; 0 for never.
    pub(crate) const CLEAR: usize = 40;
    /// No segment has this number or a higher one.
    pub(crate) const NUMBERS: usize = 48;
    /// No item has this sequence or a higher one.
    pub(crate) const SEQUENCES: usize = 56;
    /// Segments that the table takes.
    pub(crate) const TABLE: usize = 64;
}

/// Numbers that do not come again, in the next process neither: the pool says up to where they may have been used.
struct Counter {
    word: usize,
    next: u64,
    granted: u64,
}

impl Counter {
    fn new(word: usize, state: &Arena) -> Self {
        let granted = read(state, word).max(1);
        Self { word, next: granted, granted }
    }
}

fn read(arena: &Arena, word: usize) -> u64 {
    u64::from_le_bytes(arena[word..word + 8].try_into().expect("they are eight"))
}

/// What the directory says of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) number: u64,
    pub(crate) used: u32,
    /// Segments of the run that begins here; 1 for a segment alone.
    pub(crate) run: u32,
    pub(crate) chain: u16,
    /// Its items have stayed when others went.
    pub(crate) main: bool,
    /// What begins in front of this byte, a multiple of [`EMPTIED_UNIT`], does not hold.
    pub(crate) emptied: u32,
    /// Nothing is appended any more.
    pub(crate) sealed: bool,
}

impl Entry {
    fn words(self) -> [u64; 4] {
        let emptied = u64::from(self.emptied / EMPTIED_UNIT) << EMPTIED_SHIFT;
        let chain = u64::from(self.chain) << 32 | u64::from(self.main) << MAIN_BIT | emptied;
        let whole = chain | checksum(&[self.number, u64::from(self.run), chain]);
        // One word says both that it is sealed and where it ends: they reach the medium together.
        let end = u64::from(self.used) << 32;
        let seal = if self.sealed { end | checksum(&[self.number, end]) } else { 0 };
        [self.number, u64::from(self.used) | u64::from(self.run) << 32, whole, seal]
    }

    /// `None` for a free segment, and for one whose entry did not reach the medium whole.
    fn of(words: [u64; 4]) -> Option<Self> {
        let [number, sizes, last, seal] = words;
        let (used, run) = (sizes as u32, (sizes >> 32) as u32);
        let (chain, main) = ((last >> 32) as u16, last >> MAIN_BIT & 1 == 1);
        let emptied = (last >> EMPTIED_SHIFT) as u32 * EMPTIED_UNIT;
        let open = Self { number, used, run, chain, main, emptied, sealed: false };
        let sealed = Self { used: (seal >> 32) as u32, sealed: true, ..open };
        let whole = number != 0 && open.words()[2] == last;
        whole.then_some(if sealed.words()[3] == seal { sealed } else { open })
    }
}

/// Of a free segment: its word of sizes, with the part in the lower half. No run is that long.
const NOTE: u64 = 0xffff_ffff << 32;

/// Where the word of the chain says whether the segment is a main one.
const MAIN_BIT: u32 = 48;
/// Where it says how far the segment was emptied.
const EMPTIED_SHIFT: u32 = 49;

fn checksum(words: &[u64]) -> u64 {
    use crc_fast::{CrcAlgorithm, Digest};
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    words.iter().for_each(|word| digest.update(&word.to_le_bytes()));
    digest.finalize()
}

/// An item that was overwritten, but is not marked yet.
#[derive(Clone, Copy, Debug)]
struct Mark {
    hash: u64,
    place: Place,
}

/// See the module.
pub(crate) struct Kept {
    pub(crate) layout: Layout,
    state: Arena,
    directory: Arena,
    numbers: Counter,
    sequences: Counter,
    /// Something was written that no fence is behind.
    dirty: bool,
    /// Something was written since everything was settled, but for segments that were freed.
    unsettled: bool,
    /// Times that something was made durable.
    commits: u64,
    /// Old items to be marked after the next fence, and those whose marks no fence is behind.
    marks: Vec<Mark>,
    unfenced: Vec<u64>,
    /// Segments that nothing is appended to any more, and whose last items no fence is behind.
    filled: Vec<u32>,
    /// The medium failed: nothing is durable any more.
    failed: Option<io::Error>,
}

impl Kept {
    pub(crate) fn new(layout: Layout, state: Arena, directory: Arena) -> Self {
        let numbers = Counter::new(word::NUMBERS, &state);
        let sequences = Counter::new(word::SEQUENCES, &state);
        let (marks, unfenced, filled) = (Vec::new(), Vec::new(), Vec::new());
        Self {
            layout,
            state,
            directory,
            numbers,
            sequences,
            dirty: false,
            unsettled: false,
            commits: 0,
            marks,
            unfenced,
            filled,
            failed: None,
        }
    }

    /// A number for a segment.
    pub(crate) fn next_number(&mut self) -> u64 {
        self.count(|kept| &mut kept.numbers)
    }

    /// A sequence for a change.
    #[inline]
    pub(crate) fn next_sequence(&mut self) -> u64 {
        let sequence = self.count(|kept| &mut kept.sequences);
        assert!(sequence <= MAX_SEQUENCE, "the sequences of a pool are used up");
        sequence
    }

    fn count(&mut self, which: impl Fn(&mut Self) -> &mut Counter) -> u64 {
        let counter = which(self);
        let number = counter.next;
        counter.next += 1;
        // Long before they are used up, so that a fence comes before that.
        if counter.granted - number < GRANTED_NUMBERS / 2 {
            counter.granted += GRANTED_NUMBERS;
            let (word, granted) = (counter.word, counter.granted);
            self.store(word, granted);
        }
        number
    }

    /// No change has this sequence or a lower one from now on. Of a new pool, before it is used.
    pub(crate) fn raise_sequence(&mut self, to: u64) {
        if self.sequences.next <= to {
            (self.sequences.next, self.sequences.granted) = (to + 1, to + 1 + GRANTED_NUMBERS);
            self.store(word::SEQUENCES, to + 1 + GRANTED_NUMBERS);
        }
    }

    /// The last sequence that was given out, or one behind it that will not be.
    pub(crate) fn last_sequence(&self) -> u64 {
        self.sequences.next - 1
    }

    fn is_durable(&self) -> bool {
        self.layout == Layout::Durable
    }

    /// Whether as many changes can have been made as it says: a century of them does not come near half of the limits.
    pub(crate) fn is_sound(&self) -> bool {
        self.sequences.next < MAX_SEQUENCE / 2 && self.numbers.next < MAX_SEQUENCE / 2
    }

    /// What is known of the pool, which was not used yet, if the machine runs since `boot`.
    pub(crate) fn was(&self, boot: u128) -> Was {
        let last = u128::from(self.read(word::BOOT)) | u128::from(self.read(word::BOOT + 8)) << 64;
        match (self.read(word::CLEAN), last == boot) {
            (1, _) => Was::Closed,
            (_, true) => Was::Abandoned,
            (_, false) => Was::Unknown,
        }
    }

    /// Takes the pool into use: from now on it is not whole until it is closed, also if the next thing is a power cut.
    pub(crate) fn begin(&mut self) -> io::Result<()> {
        if self.read(word::CLEAN) == 0 {
            // It was durable before anything was written; a fence now would wait for all of that.
            return Ok(());
        }
        self.state.publish(word::CLEAN, 0);
        self.state.persist(word::CLEAN..word::CLEAN + 8)?;
        self.state.fence()
    }

    /// What the machine has had in its memory since `boot` is in the pool: nothing that a power cut has torn is left.
    pub(crate) fn trust(&mut self, boot: u128) {
        self.store(word::BOOT, boot as u64);
        self.store(word::BOOT + 8, (boot >> 64) as u64);
    }

    pub(crate) fn read(&self, word: usize) -> u64 {
        read(&self.state, word)
    }

    /// Stores a word of the state.
    pub(crate) fn store(&mut self, word: usize, value: u64) {
        self.state.publish(word, value);
        self.wrote(|kept| kept.state.persist(word..word + 8));
    }

    /// Stores the time, for which alone no fence is worth its cost.
    pub(crate) fn note_time(&mut self, now: Time) {
        self.state.publish(word::TIME, now.millis());
        if self.is_durable() {
            let done = self.state.persist(word::TIME..word::TIME + 8);
            self.note(done);
        }
    }

    pub(crate) fn entry(&self, segment: u32) -> Option<Entry> {
        let at = segment as usize * DIRECTORY_ENTRY_BYTES;
        let word = |number: usize| read(&self.directory, at + number * 8);
        Entry::of([word(0), word(1), word(2), word(3)])
    }

    /// Notes a segment that was free. Its number comes last: without it the entry is one of a free segment.
    pub(crate) fn enter(&mut self, segment: u32, entry: Entry) {
        let at = segment as usize * DIRECTORY_ENTRY_BYTES;
        for (number, word) in entry.words().into_iter().enumerate().rev() {
            self.directory.publish(at + number * 8, word);
        }
        self.wrote(|kept| kept.directory.persist(at..at + DIRECTORY_ENTRY_BYTES));
    }

    /// Notes that what is in a segment has stayed. One word says so, with its checksum: the entry is whole at any time.
    /// It is no matter for a fence: without, the items are new ones again.
    pub(crate) fn make_main(&mut self, segment: u32) {
        if let Some(entry) = self.entry(segment) {
            let at = segment as usize * DIRECTORY_ENTRY_BYTES;
            self.directory.publish(at + 16, Entry { main: true, ..entry }.words()[2]);
            if self.is_durable() {
                let done = self.directory.persist(at..at + DIRECTORY_ENTRY_BYTES);
                self.note(done);
            }
        }
    }

    /// Notes how far a segment was emptied: what was moved lies where it was moved to. Not in a durable pool, where
    /// that would take a fence: there a segment is emptied at once.
    pub(crate) fn set_emptied(&mut self, segment: u32, to: u32) {
        assert!(!self.is_durable(), "segment {segment} is emptied in steps");
        if let Some(entry) = self.entry(segment) {
            let at = segment as usize * DIRECTORY_ENTRY_BYTES;
            self.directory.publish(at + 16, Entry { emptied: to, ..entry }.words()[2]);
        }
    }

    /// Notes that a segment is free.
    pub(crate) fn erase(&mut self, segment: u32) {
        if self.failed.is_some() {
            // What was moved out of it may not be on the medium.
            return;
        }
        let at = segment as usize * DIRECTORY_ENTRY_BYTES;
        self.directory.publish(at, 0);
        let unsettled = self.unsettled;
        self.wrote(|kept| kept.directory.persist(at..at + 8));
        self.unsettled = unsettled;
    }

    /// Notes that a free segment has this part of the note that a closed pool has.
    pub(crate) fn enter_note(&mut self, segment: u32, part: u32) {
        let at = segment as usize * DIRECTORY_ENTRY_BYTES;
        self.directory.publish(at + 8, NOTE | u64::from(part));
    }

    /// Which part a free segment has, if any; from now on none.
    pub(crate) fn take_note(&mut self, segment: u32) -> Option<u32> {
        let at = segment as usize * DIRECTORY_ENTRY_BYTES;
        let [number, note] = [at, at + 8].map(|at| read(&self.directory, at));
        let has = number == 0 && note >= NOTE;
        if has {
            self.directory.publish(at + 8, 0);
        }
        has.then_some(note as u32)
    }

    /// Notes that all segments are free.
    pub(crate) fn erase_all(&mut self) {
        (0..self.directory.len() / DIRECTORY_ENTRY_BYTES).for_each(|segment| self.erase(segment as u32));
    }

    /// Notes how far a segment is written. After a power cut the items themselves say so.
    pub(crate) fn set_used(&mut self, segment: u32, used: u32, run: u32) {
        let at = segment as usize * DIRECTORY_ENTRY_BYTES + 8;
        self.directory.publish(at, u64::from(used) | u64::from(run) << 32);
    }

    /// Notes that nothing is appended to a segment any more.
    pub(crate) fn filled(&mut self, segment: u32) {
        if self.is_durable() {
            self.filled.push(segment);
            // It is noted with the next commit, before the segment can be freed and be another one.
            (self.dirty, self.unsettled) = (true, true);
        } else {
            self.seal(segment);
        }
    }

    /// All items of the segment are on the medium. It may have been freed since.
    fn seal(&mut self, segment: u32) {
        if let Some(entry) = self.entry(segment) {
            let at = segment as usize * DIRECTORY_ENTRY_BYTES;
            self.directory.publish(at + 24, Entry { sealed: true, ..entry }.words()[3]);
            if self.is_durable() {
                let done = self.directory.persist(at..at + DIRECTORY_ENTRY_BYTES);
                self.note(done);
            }
        }
    }

    /// Something was written to the pool that is to be durable with the next commit.
    pub(crate) fn wrote(&mut self, persist: impl FnOnce(&Self) -> io::Result<()>) {
        if self.is_durable() {
            (self.dirty, self.unsettled) = (true, true);
            let done = persist(self);
            self.note(done);
        }
    }

    fn note(&mut self, done: io::Result<()>) {
        if let Err(error) = done {
            self.failed.get_or_insert(error);
        }
    }

    /// The item at this place was overwritten.
    pub(crate) fn overwritten(&mut self, items: &mut Arena, segment_bytes: usize, hash: u64, place: Place) {
        if self.is_durable() {
            self.marks.push(Mark { hash, place });
            if self.marks.len() >= MAX_PENDING_MARKS {
                self.settle(items, segment_bytes);
            }
        } else {
            self.mark(items, segment_bytes, place);
        }
    }

    /// The item at this place was deleted.
    pub(crate) fn deleted(&mut self, items: &mut Arena, segment_bytes: usize, hash: u64, place: Place) {
        if self.marks.iter().any(|mark| mark.hash == hash) || self.unfenced.contains(&hash) {
            self.settle(items, segment_bytes);
        }
        self.mark(items, segment_bytes, place);
        let durable = self.is_durable();
        (self.dirty, self.unsettled) = (self.dirty || durable, self.unsettled || durable);
    }

    fn mark(&mut self, items: &mut Arena, segment_bytes: usize, place: Place) {
        if self.failed.is_some() {
            // Nor may the item that has come in its place.
            return;
        }
        let at = place.segment as usize * segment_bytes + place.offset as usize;
        items.publish_byte(at, items[at] | DEAD);
        if self.is_durable() {
            let done = items.persist(at..at + 1);
            self.note(done);
        }
    }

    /// Times that something was made durable.
    pub(crate) fn commits(&self) -> u64 {
        self.commits
    }

    /// Makes everything durable that was written, and marks what it has overwritten.
    pub(crate) fn commit(&mut self, items: &mut Arena, segment_bytes: usize) {
        if !std::mem::take(&mut self.dirty) {
            return;
        }
        self.commits += 1;
        let done = items.fence();
        self.note(done);
        self.unfenced.clear();
        let mut marks = std::mem::take(&mut self.marks);
        for mark in marks.drain(..) {
            self.mark(items, segment_bytes, mark.place);
            self.unfenced.push(mark.hash);
        }
        self.marks = marks;
        for segment in std::mem::take(&mut self.filled) {
            if self.failed.is_none() {
                self.seal(segment);
            }
        }
    }

    /// Makes everything durable, marks as well.
    pub(crate) fn settle(&mut self, items: &mut Arena, segment_bytes: usize) {
        if !std::mem::take(&mut self.unsettled) {
            return;
        }
        self.commit(items, segment_bytes);
        if !self.unfenced.is_empty() {
            let done = items.fence();
            self.note(done);
            self.unfenced.clear();
        }
    }

    /// What went wrong, if anything did.
    pub(crate) fn check(&mut self) -> io::Result<()> {
        match &self.failed {
            Some(error) => Err(io::Error::new(error.kind(), format!("the pool cannot be written: {error}"))),
            None => Ok(()),
        }
    }

    /// Makes all of the pool durable and notes that it is whole.
    pub(crate) fn close(&mut self, items: &Arena, now: Time) -> io::Result<()> {
        self.check()?;
        self.state.publish(word::TIME, now.millis());
        for arena in [&self.state, &self.directory] {
            arena.persist(0..arena.len())?;
        }
        if !self.is_durable() {
            items.persist(0..items.len())?;
        }
        items.fence()?;
        self.state.publish(word::CLEAN, 1);
        self.state.persist(word::CLEAN..word::CLEAN + 8)?;
        items.fence()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_whole_or_free() {
        let entry = Entry { number: 77, used: 1000, run: 3, chain: 256, main: false, emptied: 0, sealed: false };
        let words = entry.words();
        assert_eq!(Entry::of(words), Some(entry));
        let sealed = Entry { sealed: true, ..entry };
        assert_eq!(Entry::of(sealed.words()), Some(sealed));
        assert_eq!(Entry::of([words[0], words[1] + 5, words[2], sealed.words()[3]]), Some(sealed), "the seal holds");
        let main = Entry { main: true, emptied: 1 << 20, ..sealed };
        assert_eq!(Entry::of(main.words()), Some(main));
        assert_eq!(Entry::of([words[0], words[1], main.words()[2], sealed.words()[3]]), Some(main), "one word says it");
        let other = Entry { number: 78, ..sealed };
        assert_eq!(Entry::of([words[0], words[1], words[2], other.words()[3]]), Some(entry), "it is another one's");
        assert_eq!(Entry::of([0, words[1], words[2], 0]), None);
        assert_eq!(Entry::of([78, words[1], words[2], 0]), None);
        assert_eq!(Entry::of([77, words[1], words[2] ^ 1 << 32, 0]), None);
        assert_eq!(Entry::of([77, words[1] ^ 1 << 33, words[2], 0]), None);
    }
}
