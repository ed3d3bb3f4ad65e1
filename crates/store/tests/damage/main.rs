//! Files of pools with damage: bits that were turned, blocks at wrong places, an end that is gone. A pool is refused or
//! opened, nothing panics, and a durable one never gives back what was not stored.

mod world;

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use world::{CLOSED, CUT, DURABLE, Outcome};

#[test]
fn a_pool_without_damage_has_its_items() {
    for setup in 0..4 {
        let Outcome::Opened(items) = world::run(&[setup]) else { panic!("it is whole") };
        assert!(items > 100, "{items} items");
    }
}

/// Each bit of what is read first, in all states of a pool.
#[test]
fn a_bit_of_the_label_the_state_or_the_directory_is_turned() {
    let mut refused = 0;
    for at in (0u16..44).chain(4096..4096 + 80).chain(8192..8192 + 600) {
        let [low, high] = at.to_le_bytes();
        for setup in 0..4 {
            refused += usize::from(world::run(&[setup, low, high, 0, 2, at as u8]) == Outcome::Refused);
        }
    }
    assert!(refused >= 4 * 44, "no label is another one: {refused}");
}

#[test]
fn a_pool_that_is_cut_off_is_refused() {
    for setup in 0..4 {
        for end in [0, 3, 44, 4096, 5000, 100_000, 320_000] {
            let [low, middle, high, _] = u32::to_le_bytes(end);
            // The byte that is changed lies behind the end.
            let script = [setup | CUT, low, middle, high | 0x80, 0, 0];
            assert_eq!(world::run(&script[..]), Outcome::Refused, "{end}");
        }
    }
    assert!(matches!(world::run(&[DURABLE | CLOSED]), Outcome::Opened(_)));
}

#[test]
fn counts_that_cannot_be_are_refused() {
    // The highest byte of the words for numbers and sequences, behind the label.
    for at in [4096u16 + 55, 4096 + 63] {
        let [low, high] = at.to_le_bytes();
        for setup in 0..4 {
            assert_eq!(world::run(&[setup, low, high, 0, 0, 0xff]), Outcome::Refused, "{at}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_damage(script in prop::collection::vec(any::<u8>(), 1..60)) {
        world::run(&script);
    }
}

/// What `cargo xtask fuzz pool` has found to be different.
#[test]
fn the_corpus_is_replayed() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/pool");
    let mut scripts = 0;
    for file in fs::read_dir(corpus).expect("fuzz/corpus has a folder for each target") {
        world::run(&fs::read(file.expect("a file").path()).expect("it is readable"));
        scripts += 1;
    }
    assert!(scripts > 20, "{scripts} scripts");
}
