//! What a connection is about to send: headers and small answers in one run of bytes, payloads where they lie.
//!
//! ```text
//!   bytes     [hdr hdr][hdr][hdr rsp rsp]          one growing buffer, emptied when all is sent
//!   segments   Bytes    Lent Bytes  Carried Bytes   in the order of the stream; neighbouring headers are one segment
//! ```

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::ops::Range;

use machine::region::{Buf, Bufs, Lent};

use crate::limits::IOV_ENTRIES;

/// How a flush ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Everything is with the operating system.
    All,
    /// The socket is full; the ring tells when there is room again.
    Blocked,
}

enum Segment {
    /// Up to this position of `bytes`.
    Bytes { end: usize },
    /// A piece of a device's memory.
    Lent(Lent),
    /// So many bytes that the connection's owner has, and shows when they are sent.
    Held { bytes: usize },
    /// Bytes that were held.
    Copied(Box<[u8]>),
    /// A part of the bytes of buffers, which come back under their key, if they have one.
    Carried { bufs: Bufs, part: Range<usize>, key: Option<u32> },
}

impl Segment {
    fn is_lent_up_to(&self, bytes: usize) -> bool {
        matches!(self, Self::Lent(piece) if piece.len() <= bytes)
    }
}

/// The bytes that wait to be sent on one connection, in order.
#[derive(Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    /// Start of the unsent part of `bytes`.
    bytes_sent: usize,
    /// End of the last `Bytes` segment; what lies behind it has no segment yet.
    bytes_closed: usize,
    segments: VecDeque<Segment>,
    /// Sent bytes of the front segment, unless it is `Bytes`.
    front_sent: usize,
    payload: usize,
    loans: u32,
    /// Held pieces that were sent.
    shown: u32,
    returned: Vec<(u32, Bufs)>,
    iov: Vec<IoSlice<'static>>,
}

impl Outbox {
    /// Where headers and small answers are appended.
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Appends a lent piece; the loan ends when it is sent.
    pub fn lent(&mut self, piece: Lent) {
        self.close_bytes();
        self.payload += piece.len();
        self.loans += 1;
        self.segments.push_back(Segment::Lent(piece));
    }

    /// Puts a piece that the caller holds behind the first `end` of [`Outbox::bytes`], which is not in front of the
    /// last piece. It is shown to [`Outbox::flush_held`] until it is sent.
    pub fn held(&mut self, end: usize, bytes: usize) {
        self.close_bytes_at(end);
        self.payload += bytes;
        self.segments.push_back(Segment::Held { bytes });
    }

    /// Held pieces that were sent since the last call: the first ones.
    pub fn take_shown(&mut self) -> usize {
        std::mem::take(&mut self.shown) as usize
    }

    /// Bytes of the held pieces that wait.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let held = |segment: &Segment| if let Segment::Held { bytes } = segment { *bytes } else { 0 };
        self.segments.iter().map(held).sum()
    }

    /// Copies all held pieces, so that their owner can do without them; how many those were.
    pub fn copy_held<'a>(&mut self, mut show: impl FnMut(usize) -> &'a [u8]) -> usize {
        let mut copied = 0;
        for segment in &mut self.segments {
            if let Segment::Held { bytes } = *segment {
                *segment = Segment::Copied(show(copied)[..bytes].into());
                copied += 1;
            }
        }
        copied
    }

    /// Appends a part of the bytes of buffers. With a key, they come back through [`Outbox::returned`] once it is sent.
    pub fn carried(&mut self, bufs: impl Into<Bufs>, part: Range<usize>, key: Option<u32>) {
        let bufs = bufs.into();
        self.close_bytes();
        self.payload += part.len();
        self.segments.push_back(Segment::Carried { bufs, part, key });
    }

    /// The buffers sent since the last call, with their keys.
    pub fn returned(&mut self) -> &mut Vec<(u32, Bufs)> {
        &mut self.returned
    }

    /// Bytes that wait.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.payload + self.bytes.len() - self.bytes_sent
    }

    /// Bytes of memory that it has, waiting answers or room for them; not those that are lent, held or carried.
    #[must_use]
    pub fn memory(&self) -> usize {
        let copied = |segment: &Segment| if let Segment::Copied(bytes) = segment { bytes.len() } else { 0 };
        let lists = self.segments.capacity() * size_of::<Segment>() + self.iov.capacity() * size_of::<IoSlice<'_>>();
        self.bytes.capacity() + self.segments.iter().map(copied).sum::<usize>() + lists
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queued() == 0
    }

    /// Whether pieces of a device's memory wait.
    #[must_use]
    pub fn has_loans(&self) -> bool {
        self.loans > 0
    }

    /// Copies lent pieces into buffers of `take(bytes)`, neighbours together up to `largest` bytes, and returns the
    /// loans, so that a peer that does not read pins nothing of a device. Stops when there is no buffer; returns how
    /// many loans are left.
    pub fn copy_out(&mut self, largest: usize, mut take: impl FnMut(usize) -> Option<Buf>) -> usize {
        let mut rest = std::mem::take(&mut self.segments);
        while let Some(segment) = rest.pop_front() {
            let Segment::Lent(first) = segment else {
                self.segments.push_back(segment);
                continue;
            };
            let (mut len, mut run) = (first.len(), vec![first]);
            while let Some(Segment::Lent(next)) = rest.pop_front_if(|next| next.is_lent_up_to(largest - len)) {
                len += next.len();
                run.push(next);
            }
            let Some(mut buf) = take(len) else {
                self.segments.extend(run.into_iter().map(Segment::Lent));
                break;
            };
            let mut at = 0;
            for piece in &run {
                buf[at..at + piece.len()].copy_from_slice(piece);
                at += piece.len();
            }
            self.loans -= run.len() as u32;
            // What was sent of the first piece is now what was sent of the buffer.
            self.segments.push_back(Segment::Carried { bufs: buf.into(), part: 0..len, key: None });
        }
        self.segments.append(&mut rest);
        self.loans as usize
    }

    /// Drops everything unsent: the connection is over. Buffers with a key come back.
    pub fn clear(&mut self) {
        for segment in self.segments.drain(..) {
            if let Segment::Carried { bufs, key: Some(key), .. } = segment {
                self.returned.push((key, bufs));
            }
        }
        self.bytes.clear();
        (self.bytes_sent, self.bytes_closed, self.front_sent, self.payload, self.loans) = (0, 0, 0, 0, 0);
        self.shown = 0;
    }

    /// Sends as much as `send` takes, with as few calls as [`IOV_ENTRIES`] allows.
    ///
    /// # Errors
    /// Those of `send`.
    ///
    /// # Panics
    /// If there are held pieces.
    pub fn flush(&mut self, send: impl FnMut(&[IoSlice]) -> io::Result<Option<usize>>) -> io::Result<Sent> {
        self.flush_held(|_| unreachable!("nothing is held"), send)
    }

    /// The same, where `show` has the bytes of the held pieces that wait, by their number from the front.
    ///
    /// # Errors
    /// Those of `send`.
    pub fn flush_held<'s>(
        &mut self,
        show: impl Fn(usize) -> &'s [u8],
        mut send: impl FnMut(&[IoSlice]) -> io::Result<Option<usize>>,
    ) -> io::Result<Sent> {
        self.close_bytes();
        let shown = self.shown;
        while !self.segments.is_empty() {
            let mut iov = recycle(std::mem::take(&mut self.iov));
            let before = (self.shown - shown) as usize;
            let offered = self.gather(|number| show(before + number), &mut iov);
            let sent = send(&iov);
            self.iov = recycle(iov);
            let Some(sent) = sent? else { return Ok(Sent::Blocked) };
            self.advance(sent);
            if sent < offered {
                return Ok(Sent::Blocked);
            }
        }
        self.bytes.clear();
        (self.bytes_sent, self.bytes_closed) = (0, 0);
        Ok(Sent::All)
    }

    /// Gives back memory that is kept for its room.
    pub fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
        self.segments.shrink_to_fit();
        self.returned.shrink_to_fit();
        self.iov = Vec::new();
    }

    /// Gives the bytes behind the last segment a segment.
    fn close_bytes(&mut self) {
        self.close_bytes_at(self.bytes.len());
    }

    fn close_bytes_at(&mut self, end: usize) {
        if end > self.bytes_closed {
            self.segments.push_back(Segment::Bytes { end });
            self.bytes_closed = end;
        }
    }

    /// Fills `iov` from the front; the number of bytes in it.
    fn gather<'a, 's: 'a>(&'a self, show: impl Fn(usize) -> &'s [u8], iov: &mut Vec<IoSlice<'a>>) -> usize {
        let (mut start, mut skip, mut total, mut held) = (self.bytes_sent, self.front_sent, 0, 0);
        for segment in &self.segments {
            let part = match segment {
                Segment::Bytes { end } => {
                    let part = &self.bytes[start..*end];
                    start = *end;
                    part
                }
                Segment::Lent(piece) => &piece[std::mem::take(&mut skip)..],
                Segment::Held { bytes } => {
                    held += 1;
                    &show(held - 1)[std::mem::take(&mut skip)..*bytes]
                }
                Segment::Copied(bytes) => &bytes[std::mem::take(&mut skip)..],
                Segment::Carried { bufs: Bufs::One(buf), part, .. } => {
                    &buf[part.start + std::mem::take(&mut skip)..part.end]
                }
                Segment::Carried { bufs, part, .. } => {
                    if iov.len() + bufs.pieces().len() > IOV_ENTRIES {
                        return total;
                    }
                    for piece in bufs.parts(part.start + std::mem::take(&mut skip)..part.end) {
                        total += piece.len();
                        iov.push(IoSlice::new(piece));
                    }
                    continue;
                }
            };
            if iov.len() == IOV_ENTRIES {
                return total;
            }
            total += part.len();
            iov.push(IoSlice::new(part));
        }
        total
    }

    /// Takes `sent` bytes off the front.
    fn advance(&mut self, mut sent: usize) {
        while let Some(front) = self.segments.front() {
            let len = match front {
                Segment::Bytes { end } => end - self.bytes_sent,
                Segment::Lent(piece) => piece.len() - self.front_sent,
                Segment::Held { bytes } => bytes - self.front_sent,
                Segment::Copied(bytes) => bytes.len() - self.front_sent,
                Segment::Carried { part, .. } => part.len() - self.front_sent,
            };
            let taken = sent.min(len);
            sent -= taken;
            match front {
                Segment::Bytes { .. } => self.bytes_sent += taken,
                _ => {
                    self.front_sent += taken;
                    self.payload -= taken;
                }
            }
            if taken < len {
                return;
            }
            self.retire_front();
        }
        assert_eq!(sent, 0, "more was sent than was offered");
    }

    fn retire_front(&mut self) {
        match self.segments.pop_front() {
            Some(Segment::Bytes { .. }) => return,
            Some(Segment::Lent(_)) => self.loans -= 1,
            Some(Segment::Carried { bufs, key: Some(key), .. }) => self.returned.push((key, bufs)),
            Some(Segment::Held { .. }) => self.shown += 1,
            Some(Segment::Carried { .. } | Segment::Copied(_)) | None => {}
        }
        self.front_sent = 0;
    }
}

/// An empty vector with the room of `old`, for slices of another lifetime. No allocation: the standard library collects
/// in place.
fn recycle<'a>(mut old: Vec<IoSlice<'_>>) -> Vec<IoSlice<'a>> {
    old.clear();
    old.into_iter().map(|_| unreachable!("it is empty")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use machine::region::{Pool, SlotMap};
    use proptest::prelude::*;

    /// Fills an outbox with headers and payloads of the given lengths; what the peer should see.
    fn filled(lengths: &[(usize, usize)], pool: &Pool) -> (Outbox, Vec<u8>) {
        let (mut out, mut expected, mut next) = (Outbox::default(), Vec::new(), 0u8);
        for (number, &(header, payload)) in lengths.iter().enumerate() {
            for _ in 0..header {
                out.bytes().push(next);
                expected.push(next);
                next = next.wrapping_add(1);
            }
            if payload > 0 {
                let mut buf = pool.take().expect("the pool is large enough");
                buf.set_len(payload + 3);
                for byte in &mut buf[2..2 + payload] {
                    *byte = next;
                    next = next.wrapping_add(7);
                }
                expected.extend_from_slice(&buf[2..2 + payload]);
                out.carried(buf, 2..2 + payload, Some(number as u32));
            }
        }
        (out, expected)
    }

    proptest! {
        #[test]
        fn any_pattern_of_short_sends_gives_the_same_stream(
            lengths in prop::collection::vec((0usize..40, 0usize..900), 1..20),
            takes in prop::collection::vec(1usize..700, 1..200),
        ) {
            let pool = Pool::anonymous(4096, 32).expect("memory");
            let (mut out, expected) = filled(&lengths, &pool);
            prop_assert_eq!(out.queued(), expected.len());
            let (mut seen, mut takes) = (Vec::new(), takes.into_iter().cycle());
            while out.flush(|iov| {
                let mut room = takes.next().unwrap_or(1);
                let before = seen.len();
                for part in iov {
                    let n = room.min(part.len());
                    seen.extend_from_slice(&part[..n]);
                    room -= n;
                }
                Ok(Some(seen.len() - before))
            }).expect("no error") == Sent::Blocked {}
            prop_assert_eq!(seen, expected);
            prop_assert!(out.is_empty());
            let payloads = lengths.iter().filter(|l| l.1 > 0).count();
            prop_assert_eq!(out.returned().len(), payloads);
            out.returned().clear();
            prop_assert_eq!(pool.free(), 32);
        }
    }

    #[test]
    fn loans_are_copied_out_together() {
        let map = SlotMap::new(8, 512, 1).expect("memory");
        let mut handle = map.handle();
        let pool = Pool::anonymous(4096, 3).expect("memory");
        for (largest, buffers, left) in [(1024, 3, 2), (4096, 2, 0), (512, 3, 5), (4096, 0, 8)] {
            let (mut out, mut expected) = filled(&[(3, 0)], &pool);
            handle.begin();
            for slot in 0..8 {
                let piece = handle.lend(slot, 0..400 + slot);
                expected.extend_from_slice(&piece);
                out.lent(piece);
                if slot == 5 {
                    out.bytes().push(77);
                    expected.push(77);
                }
            }
            handle.end();
            let mut seen = Vec::new();
            // All of the header and a part of the first piece are gone.
            let blocked = out.flush(|iov| {
                seen.extend(iov.iter().flat_map(|part| part.to_vec()).take(53));
                Ok(Some(53))
            });
            assert_eq!(blocked.expect("no error"), Sent::Blocked);
            let kept: Vec<_> = (buffers..3).map(|_| pool.take()).collect();
            let take = |bytes| {
                assert!(bytes <= largest);
                let mut buf = pool.take()?;
                buf.set_len(bytes);
                Some(buf)
            };
            assert_eq!(out.copy_out(largest, take), left, "at most {largest} in {buffers} buffers");
            assert_eq!(out.has_loans(), left > 0);
            let mut rest = |iov: &[IoSlice]| {
                let parts: Vec<u8> = iov.iter().flat_map(|part| part.to_vec()).collect();
                seen.extend_from_slice(&parts);
                Ok(Some(parts.len()))
            };
            assert_eq!(out.flush(&mut rest).expect("no error"), Sent::All);
            assert!(seen == expected && !out.has_loans());
            drop(kept);
            assert_eq!(pool.free(), 3);
        }
    }

    /// Held pieces between bytes, sent in portions, and copied after any number of them: the stream is the same.
    #[test]
    fn held_pieces_are_sent_from_where_they_are_or_copied() {
        let pieces = [vec![1; 100], vec![2; 1], vec![3; 5000]];
        let stream = |out: &mut Outbox| {
            let mut expected = Vec::new();
            for piece in &pieces {
                out.bytes().extend_from_slice(b"head");
                let end = out.bytes().len();
                out.bytes().extend_from_slice(b"tail");
                out.held(end, piece.len());
                expected.extend_from_slice(&[b"head", &piece[..], b"tail"].concat());
            }
            expected
        };
        for (portion, copied_after) in (1..300).flat_map(|portion| [(portion * 7, usize::MAX), (portion, portion % 9)])
        {
            let mut out = Outbox::default();
            let expected = stream(&mut out);
            assert_eq!((out.queued(), out.held_bytes()), (expected.len(), 5101));
            let (mut seen, mut returned, mut calls) = (Vec::new(), 0, 0);
            while !out.is_empty() {
                if calls == copied_after {
                    returned += out.copy_held(|number| &pieces[returned + number]);
                }
                let send = |iov: &[IoSlice]| {
                    let bytes: Vec<u8> = iov.iter().flat_map(|part| part.to_vec()).take(portion).collect();
                    seen.extend_from_slice(&bytes);
                    Ok(Some(bytes.len()))
                };
                out.flush_held(|number| &pieces[returned + number], send).expect("no error");
                returned += out.take_shown();
                calls += 1;
            }
            assert!(seen == expected && returned == 3 && out.held_bytes() == 0, "{portion} bytes at a time");
        }
    }

    #[test]
    fn many_segments_take_several_sends() {
        let pool = Pool::anonymous(4096, 1100).expect("memory");
        let (mut out, expected) = filled(&vec![(1, 1); 1100], &pool);
        let (mut calls, mut total) = (0, 0);
        let end = out.flush(|iov| {
            assert!(iov.len() <= IOV_ENTRIES);
            let sent = iov.iter().map(|part| part.len()).sum::<usize>();
            (calls, total) = (calls + 1, total + sent);
            Ok(Some(sent))
        });
        assert_eq!((end.expect("no error"), calls, total), (Sent::All, 3, expected.len()));
    }

    #[test]
    fn clear_returns_keyed_buffers() {
        let pool = Pool::anonymous(4096, 4).expect("memory");
        let (mut out, _) = filled(&[(3, 10), (3, 0), (0, 5)], &pool);
        out.clear();
        assert!(out.is_empty());
        assert_eq!(out.returned().drain(..).map(|(key, _)| key).collect::<Vec<_>>(), [0, 2]);
        assert_eq!(pool.free(), 4);
    }
}
