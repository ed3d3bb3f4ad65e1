//! Words that belong to certain places, or to none.

use crate::source::{File, Tree};

/// Floor 1: the only crate with unsafe code, and with code for one operating system.
const MACHINE: &str = "crates/machine/";

fn outside_machine(tree: &Tree) -> impl Iterator<Item = &File> {
    tree.rust().filter(|file| !file.path.starts_with(MACHINE))
}

/// `unsafe` outside floor 1.
pub(crate) fn unsafe_code(tree: &Tree) -> Vec<String> {
    outside_machine(tree).flat_map(|file| file.places("unsafe")).collect()
}

/// Roots of crates, floor 1 apart, that do not forbid unsafe code.
pub(crate) fn forbids_unsafe(tree: &Tree) -> Vec<String> {
    let roots = outside_machine(tree)
        .filter(|file| file.path.ends_with("/src/lib.rs") || file.path.ends_with("/src/main.rs"))
        .filter(|file| !file.code.contains("#![forbid(unsafe_code)]"));
    roots.map(|file| file.path.clone()).collect()
}

/// Code for one operating system outside floor 1. Modules that exist on one system alone would be listed here.
pub(crate) fn target_os(tree: &Tree) -> Vec<String> {
    outside_machine(tree)
        .filter(|file| file.path.starts_with("crates/"))
        .flat_map(|file| file.places("target_os"))
        .collect()
}

/// What is left for later, and tests that do not run.
pub(crate) fn unfinished(tree: &Tree) -> Vec<String> {
    let banned = ["todo!", "unimplemented!", "dbg!"];
    let mut broken: Vec<String> =
        tree.rust().flat_map(|file| banned.iter().flat_map(|word| file.places(word))).collect();
    broken.extend(
        tree.rust().filter(|file| file.code.contains("#[ignore")).map(|file| format!("{}: #[ignore]", file.path)),
    );
    broken
}

/// Files that do not begin with what they are for.
pub(crate) fn introductions(tree: &Tree) -> Vec<String> {
    tree.rust().filter(|file| !file.text.starts_with("//!")).map(|file| file.path.clone()).collect()
}
