//! What the policies keep their objects in: some lists over one set of objects.
//!
//! ```text
//!   list 0   front ─ o ─ o ─ o ─ back
//!   list 1   front ─ o ─ o ─ back            an object is on one list, and found by its number
//! ```

use std::collections::HashMap;

/// An object on a list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Object {
    pub(super) id: u64,
    /// What it costs, with what is kept about it.
    pub(super) cost: u64,
    /// From this second on it is not there any more.
    pub(super) expires: u32,
    /// The policy's own.
    pub(super) count: u8,
    pub(super) list: u8,
    previous: u32,
    next: u32,
}

/// The ends of a list.
#[derive(Clone, Copy, Debug)]
struct Ends {
    front: u32,
    back: u32,
    cost: u64,
    len: u64,
}

/// See the module.
pub(super) struct Lists {
    objects: Vec<Object>,
    free: Vec<u32>,
    found: HashMap<u64, u32>,
    ends: [Ends; 4],
}

const NONE: u32 = u32::MAX;

impl Lists {
    pub(super) fn new() -> Self {
        let ends = [Ends { front: NONE, back: NONE, cost: 0, len: 0 }; 4];
        Self { objects: Vec::new(), free: Vec::new(), found: HashMap::new(), ends }
    }

    /// An object, if it is on any list.
    pub(super) fn find(&mut self, id: u64) -> Option<&mut Object> {
        self.found.get(&id).map(|at| &mut self.objects[*at as usize])
    }

    /// What the objects of a list cost.
    pub(super) fn cost(&self, list: u8) -> u64 {
        self.ends[usize::from(list)].cost
    }

    /// How many objects a list has.
    pub(super) fn len(&self, list: u8) -> u64 {
        self.ends[usize::from(list)].len
    }

    /// Puts an object that is on no list to the front of one.
    pub(super) fn push(&mut self, list: u8, id: u64, cost: u64, expires: u32) {
        let object = Object { id, cost, expires, count: 0, list, previous: NONE, next: NONE };
        let at = match self.free.pop() {
            Some(at) => {
                self.objects[at as usize] = object;
                at
            }
            None => {
                self.objects.push(object);
                (self.objects.len() - 1) as u32
            }
        };
        assert!(self.found.insert(id, at).is_none(), "an object is on one list");
        self.link(at, list);
    }

    /// Moves an object to the front of a list.
    pub(super) fn move_to(&mut self, list: u8, id: u64) {
        let at = self.found[&id];
        self.unlink(at);
        self.link(at, list);
    }

    /// The object that is longest on a list.
    pub(super) fn back(&self, list: u8) -> Option<Object> {
        let back = self.ends[usize::from(list)].back;
        (back != NONE).then(|| self.objects[back as usize])
    }

    /// Takes an object out; whether it was there.
    pub(super) fn remove(&mut self, id: u64) -> bool {
        let Some(at) = self.found.remove(&id) else { return false };
        self.unlink(at);
        self.free.push(at);
        true
    }

    fn link(&mut self, at: u32, list: u8) {
        let ends = &mut self.ends[usize::from(list)];
        let object = &mut self.objects[at as usize];
        (object.list, object.previous, object.next) = (list, NONE, ends.front);
        ends.cost += object.cost;
        ends.len += 1;
        let second = std::mem::replace(&mut ends.front, at);
        match second {
            NONE => ends.back = at,
            second => self.objects[second as usize].previous = at,
        }
    }

    fn unlink(&mut self, at: u32) {
        let Object { list, previous, next, cost, .. } = self.objects[at as usize];
        let ends = &mut self.ends[usize::from(list)];
        ends.cost -= cost;
        ends.len -= 1;
        match previous {
            NONE => ends.front = next,
            previous => self.objects[previous as usize].next = next,
        }
        match next {
            NONE => ends.back = previous,
            next => self.objects[next as usize].previous = previous,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_move_between_lists() {
        let mut lists = Lists::new();
        (0..4).for_each(|id| lists.push(0, id, 10 + id, 0));
        assert_eq!((lists.len(0), lists.cost(0), lists.back(0).map(|object| object.id)), (4, 46, Some(0)));
        lists.move_to(1, 1);
        lists.move_to(0, 0);
        assert!(lists.remove(3) && !lists.remove(3));
        assert_eq!((lists.back(0).map(|object| object.id), lists.back(1).map(|object| object.id)), (Some(2), Some(1)));
        assert_eq!((lists.len(0), lists.cost(0), lists.cost(1)), (2, 22, 11));
        lists.push(1, 9, 5, 0);
        assert_eq!(lists.find(9).map(|object| object.list), Some(1));
        assert_eq!(lists.back(1).map(|object| object.id), Some(1));
        assert!(lists.find(3).is_none());
    }
}
