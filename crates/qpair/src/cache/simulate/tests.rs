//! The policies on traces whose outcome can be said.

use super::*;
use crate::cache::trace::generate::{Generator, Mix};

fn trace(ids: &[u64], bytes: u32, ttl: u32) -> Trace {
    let request = |(at, id): (usize, &u64)| Request { at: at as u32, op: Op::Get, id: *id, bytes, ttl };
    Trace { requests: ids.iter().enumerate().map(request).collect() }
}

fn misses(name: usize, size: u64, trace: &Trace) -> u64 {
    play(&mut *policy(name, size).expect("it can be made"), trace, &trace.nexts()).misses
}

#[test]
fn what_fits_is_missed_once() {
    let ids: Vec<u64> = (0..5000).map(|number| number * 7919 % 500).collect();
    let trace = trace(&ids, 100, 0);
    for (number, name) in NAMES.into_iter().enumerate() {
        assert_eq!(misses(number, 1 << 20, &trace), 500, "{name}");
    }
}

#[test]
fn what_has_expired_is_missed_again() {
    // Each is asked for again after 10 seconds and lives for 5, or for 60.
    let ids: Vec<u64> = (0..100).map(|number| number % 10).collect();
    for (number, name) in NAMES.into_iter().enumerate() {
        assert_eq!(misses(number, 1 << 20, &trace(&ids, 100, 5)), 100, "{name}");
        assert_eq!(misses(number, 1 << 20, &trace(&ids, 100, 60)), 20, "{name}");
    }
}

#[test]
fn lru_loses_a_loop_and_belady_keeps_of_it_what_fits() {
    // Room for ten, of eleven in a loop.
    let ids: Vec<u64> = (0..1100).map(|number| number % 11).collect();
    let trace = trace(&ids, 1000 - 15, 0);
    assert_eq!(misses(4, 10 * (1000 + Lru::MORE), &trace), 1100);
    let best = misses(7, 10_000, &trace);
    // A miss a round, and those of the first.
    assert!((105..=125).contains(&best), "{best}");
}

#[test]
fn nobody_is_better_than_belady_and_scans_hurt_lru_most() {
    let mut ids = Vec::new();
    for round in 0..200u64 {
        ids.extend((0..150).map(|number| (number * number + round) % 60));
        ids.extend((0..150).map(|number| 1000 + round * 150 + number));
    }
    let trace = trace(&ids, 1000 - 15, 0);
    let found: Vec<u64> =
        (0..NAMES.len()).map(|name| if name < 4 { 0 } else { misses(name, 100_000, &trace) }).collect();
    assert!(found[YARDSTICKS].iter().all(|misses| *misses >= found[7]), "{found:?}");
    assert!(found[5] < found[4] && found[6] < found[4], "{found:?}");
}

/// What the default is chosen for: at most 2 % more misses than the best of those it is compared with.
#[test]
fn the_default_is_as_good_as_the_best_without_segments() {
    let sizes = "40-2k".parse().expect("sizes");
    for (theta, ttls, one_hit) in [(0.7, vec![300, 3600, 0], 0), (0.9, vec![60, 600, 0], 20)] {
        let mix = Mix { objects: 50_000, theta, sizes, ttls, one_hit, scan: None, rate: 1000, seed: 1 };
        let trace = Trace { requests: Generator::new(&mix).take(400_000).collect() };
        // Many do not fit, and nearly all do.
        for size in [4 << 20, 16 << 20] {
            let [default, lru, arc, s3fifo] = [1, 4, 5, 6].map(|name| misses(name, size, &trace));
            let best = lru.min(arc).min(s3fifo);
            assert!(default * 100 <= best * 102, "zipf {theta}, {size} bytes: {default}, the best {best}");
        }
    }
}
