//! Several stores that share the keys between them: whose a key is.

/// The store, of so many, that keys of this hash belong to.
///
/// The highest bits of the hash decide; the tables go by lower ones. Each store has an equal share of all hashes, for
/// any number of stores (multiply and shift: Lemire, 2019).
#[must_use]
#[inline]
pub fn share(hash: u64, stores: usize) -> usize {
    ((u128::from(hash) * stores as u128) >> u64::BITS) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_store_has_its_share() {
        for stores in [1, 2, 3, 7, 64] {
            let mut counts = vec![0; stores];
            let step = u64::MAX / 6400;
            (0..6400).for_each(|at| counts[share(at * step, stores)] += 1);
            let fair = 6400 / stores;
            assert!(counts.iter().all(|count| (fair - 1..=fair + 1).contains(count)), "{counts:?}");
            assert_eq!((share(0, stores), share(u64::MAX, stores)), (0, stores - 1));
        }
    }
}
