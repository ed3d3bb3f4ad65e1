//! Whatever a device says: arbitrary answers, and the corpus of the fuzz target replayed.
//!
//! The seeds (`seed-*`), one for each question, are made here. What fuzzing finds is added beside them.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use qpair_describe::log::LOGS;
use support::harness::{QUESTIONS, describe};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/describe")
}

/// The beginning of an answer to each question; the rest is zeros.
fn seeds() -> Vec<(String, Vec<u8>)> {
    let names = QUESTIONS.iter().map(|(name, _)| *name).chain(LOGS.iter().map(|log| log.name));
    let front = |name: &str, index: usize| match name {
        "id-ctrl" => support::controller()[..600].to_vec(),
        "id-ns" => support::namespace()[..160].to_vec(),
        "namespaces" | "changed-ns" => vec![1, 0, 0, 0, 2],
        // A full zone, and one in a state that is none, each with an extension.
        "zones" => {
            let zone =
                |state: u8| [&[2, state, 0x80, 0, 0, 0, 0, 0, 9][..], &[0; 7], &[5], &[0; 47], &[7; 64]].concat();
            [&[3][..], &[0; 63], &zone(0xe0), &zone(0x90)].concat()
        }
        "descriptors" => support::descriptors()[..60].to_vec(),
        "ana" => [&[9, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1][..], &[0; 27], &[7]].concat(),
        "lba-status" => [&[48, 0, 0, 0, 1][..], &[0; 11], &[7, 0, 0, 0, 1], &[0; 11], &[100]].concat(),
        _ => support::pattern(index as u64, 100),
    };
    let seed = |(index, name): (usize, &str)| {
        let parameter = if name == "feature" { 0x0e } else { 1 };
        (name.to_owned(), [&[index as u8, parameter, 0][..], &front(name, index)].concat())
    };
    names.enumerate().map(seed).collect()
}

/// The seeds in the tree are those that this file makes. A seed that is missing or has changed is written anew, and the
/// test fails once to say so: commit what it wrote.
#[test]
fn seeds_are_current() {
    fs::create_dir_all(corpus()).expect("fuzz/corpus can be written to");
    let mut written = Vec::new();
    for (name, bytes) in seeds() {
        let file = corpus().join(format!("seed-{name}"));
        if fs::read(&file).ok().as_deref() != Some(&bytes) {
            fs::write(&file, bytes).expect("the corpus can be written to");
            written.push(file);
        }
    }
    assert!(written.is_empty(), "these seeds were missing or out of date and are written anew: {written:#?}");
}

#[test]
fn every_file_of_the_corpus() {
    let files = fs::read_dir(corpus()).expect("the target has a corpus");
    let mut files: Vec<PathBuf> = files.map(|entry| entry.expect("readable").path()).collect();
    files.sort();
    assert!(files.len() >= seeds().len());
    for file in files {
        println!("{}", file.display());
        describe(&fs::read(&file).expect("readable"));
    }
}

/// An answer that is cut anywhere is a tree or an error.
#[test]
fn answers_cut_short() {
    for question in 0..(QUESTIONS.len() + LOGS.len()) as u8 {
        for bytes in [0, 1, 4, 15, 16, 63, 64, 65, 511, 512, 563, 564, 1023, 1024, 2047, 2048, 4095, 4096] {
            describe(&[&[question, 3, u8::MAX][..], &support::pattern(7, bytes)].concat());
        }
    }
}

proptest! {
    #[test]
    fn any_answer(question: u8, parameter: u8, fill: u8, front in prop::collection::vec(any::<u8>(), 0..700)) {
        describe(&[&[question, parameter, fill][..], &front].concat());
    }
}
