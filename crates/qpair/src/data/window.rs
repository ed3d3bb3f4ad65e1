//! What is done of consecutive pieces that end in any order.

use std::collections::VecDeque;

/// Pieces from the first one on that has not been taken.
pub(crate) struct Window<T> {
    first: u64,
    done: VecDeque<Option<T>>,
}

impl<T> Window<T> {
    /// None is done.
    pub(crate) fn new() -> Self {
        Self { first: 0, done: VecDeque::new() }
    }

    /// A piece is done, once.
    pub(crate) fn put(&mut self, piece: u64, value: T) {
        let at = piece.checked_sub(self.first).expect("it has not been taken") as usize;
        if self.done.len() <= at {
            self.done.resize_with(at + 1, || None);
        }
        assert!(self.done[at].replace(value).is_none(), "piece {piece} is done twice");
    }

    /// The next piece in order, if it is done.
    pub(crate) fn take(&mut self) -> Option<T> {
        let value = self.done.front_mut()?.take()?;
        self.done.pop_front();
        self.first += 1;
        Some(value)
    }

    /// Pieces that were taken: all from the first on.
    pub(crate) fn taken(&self) -> u64 {
        self.first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_in_order() {
        let mut window = Window::new();
        window.put(2, 'c');
        window.put(0, 'a');
        assert_eq!((window.take(), window.take(), window.taken()), (Some('a'), None, 1));
        window.put(1, 'b');
        assert_eq!((window.take(), window.take(), window.take()), (Some('b'), Some('c'), None));
        assert_eq!(window.taken(), 3);
    }

    #[test]
    #[should_panic = "piece 5 is done twice"]
    fn a_piece_is_done_once() {
        let mut window = Window::new();
        window.put(5, ());
        window.put(5, ());
    }
}
