//! What a request carries: a buffer, or several whose bytes are one run of bytes together.
//!
//! ```text
//!   One    | a b c d e f g h |
//!   Many   | a b c | d | e f g h |      pieces, in order; each has as many bytes as its buffer has in use
//! ```
//!
//! The vector moves with the request and comes back with its end: who asks again uses it again, and nothing is
//! allocated for an I/O.

use std::io::IoSliceMut;
use std::ops::Range;
use std::slice;

use super::{Buf, RawBytes};
use crate::limits::MAX_PIECES;

/// The buffers of a request.
#[derive(Debug, Default)]
pub enum Bufs {
    /// None.
    #[default]
    None,
    /// One.
    One(Buf),
    /// A scatter list: [`MAX_PIECES`] at most for whatever passes them on to the operating system. They may be of
    /// different pools, and empty.
    Many(Vec<Buf>),
}

impl Bufs {
    /// Whether there is no buffer.
    #[must_use]
    pub fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Whether there is a buffer.
    #[must_use]
    pub fn is_some(&self) -> bool {
        !self.is_none()
    }

    /// Takes them out; what is left has none.
    #[must_use]
    pub fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    /// The buffer, if it is one.
    #[must_use]
    pub fn one(self) -> Option<Buf> {
        if let Self::One(buf) = self { Some(buf) } else { None }
    }

    /// The pieces, if it is a scatter list.
    #[must_use]
    pub fn many(self) -> Option<Vec<Buf>> {
        if let Self::Many(pieces) = self { Some(pieces) } else { None }
    }

    /// The buffers, in the order of their bytes.
    #[must_use]
    pub fn pieces(&self) -> &[Buf] {
        match self {
            Self::None => &[],
            Self::One(buf) => slice::from_ref(buf),
            Self::Many(pieces) => pieces,
        }
    }

    /// As [`Bufs::pieces`].
    #[must_use]
    pub fn pieces_mut(&mut self) -> &mut [Buf] {
        match self {
            Self::None => &mut [],
            Self::One(buf) => slice::from_mut(buf),
            Self::Many(pieces) => pieces,
        }
    }

    /// Bytes of all together.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(buf) => buf.len(),
            Self::Many(pieces) => pieces.iter().map(Buf::len).sum(),
        }
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of `range` where they lie, in order. Never an empty slice.
    ///
    /// # Panics
    /// While they are gone through, if there are not so many.
    pub fn parts(&self, range: Range<usize>) -> impl Iterator<Item = &[u8]> {
        let mut cut = Cut(range);
        self.pieces().iter().filter_map(move |piece| Some(&piece[cut.next(piece.len())?]))
    }

    /// As [`Bufs::parts`].
    ///
    /// # Panics
    /// As [`Bufs::parts`].
    pub fn parts_mut(&mut self, range: Range<usize>) -> impl Iterator<Item = &mut [u8]> {
        let mut cut = Cut(range);
        self.pieces_mut().iter_mut().filter_map(move |piece| {
            let part = cut.next(piece.len())?;
            Some(&mut piece[part])
        })
    }

    /// Puts bytes in, from `at` on.
    ///
    /// # Panics
    /// If they do not fit.
    pub fn put(&mut self, at: usize, mut bytes: &[u8]) {
        for part in self.parts_mut(at..at + bytes.len()) {
            let (here, rest) = bytes.split_at(part.len());
            part.copy_from_slice(here);
            bytes = rest;
        }
        assert!(bytes.is_empty(), "{} bytes beyond the end of the buffers", bytes.len());
    }

    /// Copies the bytes from `at` on into `to`.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn get(&self, at: usize, mut to: &mut [u8]) {
        for part in self.parts(at..at + to.len()) {
            let (here, rest) = to.split_at_mut(part.len());
            here.copy_from_slice(part);
            to = rest;
        }
        assert!(to.is_empty(), "{} bytes behind the end of the buffers", to.len());
    }

    /// A copy of the bytes.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        self.pieces().iter().flat_map(|piece| piece.iter().copied()).collect()
    }

    /// Whether these are their bytes.
    #[must_use]
    pub fn holds(&self, mut bytes: &[u8]) -> bool {
        let same = self.pieces().iter().all(|piece| {
            let Some((here, rest)) = bytes.split_at_checked(piece.len()) else { return false };
            bytes = rest;
            *here == **piece
        });
        same && bytes.is_empty()
    }

    /// The pieces for a vectored call, put into `slices`; those that are used.
    ///
    /// # Panics
    /// If there are more than [`MAX_PIECES`].
    pub(crate) fn slices<'a, 's>(&'a mut self, slices: &'s mut Slices<'a>) -> &'s mut [IoSliceMut<'a>] {
        let mut count = 0;
        for piece in self.pieces_mut() {
            slices[count] = IoSliceMut::new(piece);
            count += 1;
        }
        &mut slices[..count]
    }

    /// Notes where the bytes lie from `from` on; see [`RawBytes`]. What was in `pieces` is gone.
    pub(crate) fn raw(&mut self, from: usize, pieces: &mut Vec<RawBytes>) {
        pieces.clear();
        pieces.reserve(self.pieces().len());
        let mut cut = Cut(from..self.len());
        pieces.extend(self.pieces_mut().iter_mut().filter_map(|piece| {
            let part = cut.next(piece.len())?;
            Some(piece.raw().after(part.start))
        }));
    }
}

/// Room on the stack for the pieces of one vectored call.
pub(crate) type Slices<'a> = [IoSliceMut<'a>; MAX_PIECES];

/// Room without pieces.
pub(crate) fn no_slices<'a>() -> Slices<'a> {
    std::array::from_fn(|_| IoSliceMut::new(&mut []))
}

/// What is left of a range, counted from the start of the next piece.
struct Cut(Range<usize>);

impl Cut {
    /// The part of the next piece, which has so many bytes; none if there is nothing of the range in it.
    fn next(&mut self, len: usize) -> Option<Range<usize>> {
        let Range { start, end } = self.0;
        self.0 = start.saturating_sub(len)..end.saturating_sub(len);
        let part = start..end.min(len);
        (part.start < part.end).then_some(part)
    }
}

impl From<Buf> for Bufs {
    fn from(buf: Buf) -> Self {
        Self::One(buf)
    }
}

impl From<Option<Buf>> for Bufs {
    fn from(buf: Option<Buf>) -> Self {
        buf.map_or(Self::None, Self::One)
    }
}

impl From<Vec<Buf>> for Bufs {
    fn from(pieces: Vec<Buf>) -> Self {
        Self::Many(pieces)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::region::Pool;

    /// Pieces of these lengths, with the numbers from 0 on in them.
    fn numbered(lengths: &[usize]) -> Bufs {
        let pool = Pool::anonymous(64, lengths.len().max(1)).expect("memory");
        let mut next = 0;
        let piece = |&len: &usize| {
            let mut buf = pool.take().expect("one for each");
            buf.set_len(len);
            buf.fill_with(|| {
                next += 1;
                next - 1
            });
            buf
        };
        Bufs::Many(lengths.iter().map(piece).collect())
    }

    proptest! {
        #[test]
        fn pieces_are_one_run_of_bytes(
            lengths in prop::collection::vec(0usize..20, 0..9),
            from in 0usize..100,
            len in 0usize..100,
        ) {
            let mut bufs = numbered(&lengths);
            let all: Vec<u8> = (0..bufs.len() as u8).collect();
            prop_assert_eq!(all.len(), lengths.iter().sum::<usize>());
            let from = from.min(all.len());
            let range = from..(from + len).min(all.len());
            let parts: Vec<&[u8]> = bufs.parts(range.clone()).collect();
            prop_assert!(parts.iter().all(|part| !part.is_empty()));
            prop_assert_eq!(parts.concat(), &all[range.clone()]);
            let mut got = vec![0; range.len()];
            bufs.get(from, &mut got);
            prop_assert_eq!(&got, &all[range.clone()]);
            let mut raw = Vec::new();
            bufs.raw(from, &mut raw);
            // SAFETY: the buffers live on, and are not used while the slices are.
            let seen: Vec<u8> = raw.iter_mut().flat_map(|piece| unsafe { piece.as_mut_slice() }.to_vec()).collect();
            prop_assert_eq!(seen, &all[from..]);
            prop_assert_eq!(bufs.to_vec(), &all[..]);
            prop_assert!(bufs.holds(&all) && !bufs.holds(&[&all[..], &[0]].concat()));
            prop_assert!(all.is_empty() || !bufs.holds(&all[1..]));

            let mut expected = all.clone();
            expected[range.clone()].fill(200);
            bufs.put(from, &expected[range.clone()]);
            prop_assert!(bufs.holds(&expected));
            bufs.parts_mut(range.clone()).for_each(|part| part.fill(201));
            expected[range].fill(201);
            prop_assert!(bufs.holds(&expected));
            let mut slices = no_slices();
            let slices = bufs.slices(&mut slices);
            prop_assert_eq!(slices.iter().map(|slice| slice.len()).collect::<Vec<_>>(), lengths);
            prop_assert_eq!(slices.iter().flat_map(|slice| slice.to_vec()).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn one_or_none_is_a_list_of_one_or_none() {
        let pool = Pool::anonymous(64, 1).expect("memory");
        let mut bufs = Bufs::from(pool.take());
        assert_eq!((bufs.pieces().len(), bufs.len(), bufs.is_some()), (1, 64, true));
        assert_eq!(bufs.take().one().map(|buf| buf.len()), Some(64));
        assert!(bufs.is_none() && bufs.is_empty() && bufs.pieces().is_empty() && bufs.holds(&[]) && pool.free() == 1);
        assert!(Bufs::from(Vec::new()).is_some() && Bufs::None.many().is_none());
    }

    #[test]
    #[should_panic = "2 bytes beyond the end"]
    fn what_does_not_fit_is_a_bug() {
        numbered(&[3, 4]).put(5, &[0; 4]);
    }
}
