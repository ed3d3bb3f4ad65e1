//! Style as a test: what STYLE asks for and a program can see. The rules only tighten.
//!
//! | file | rule |
//! |---|---|
//! | `length.rs` | lines of 120 columns, functions of 70 lines (exceptions in `ratchet.txt`), files of 800 |
//! | `words.rs` | where `unsafe` and `cfg(target_os)` may stand, macros that must not stay, how a file begins |
//! | `reach.rs` | every source file is compiled, every fuzz target is built and has a corpus |
//! | `floors.rs` | imports point downwards only |
//! | `shared.rs` | locks and atomic read-modify-writes of the data path, each with its reason in `shared.txt` |
//! | `wine.rs` | tests that Wine cannot run, each with its reason in `windows/wine-cannot.txt` |
//!
//! A rule returns the places that break it, one line each.
#![forbid(unsafe_code)]

mod floors;
mod length;
mod reach;
mod shared;
mod source;
mod wine;
mod words;

use source::Tree;

fn holds(rule: &str, broken: Vec<String>) {
    assert!(broken.is_empty(), "{rule}\n  {}\n", broken.join("\n  "));
}

#[test]
fn lines_are_short() {
    holds("lines have at most 120 columns", length::lines(&Tree::read()));
}

#[test]
fn files_are_short() {
    holds("files have at most 800 lines: cut them where the idea changes", length::files(&Tree::read()));
}

#[test]
fn functions_are_short() {
    holds(
        "functions have at most 70 lines; ratchet.txt has the exceptions exactly, and they only shrink",
        length::functions(&Tree::read(), include_str!("ratchet.txt")),
    );
}

#[test]
fn unsafe_is_on_floor_1() {
    let tree = Tree::read();
    holds("`unsafe` belongs to crates/machine", words::unsafe_code(&tree));
    holds("other crates say #![forbid(unsafe_code)]", words::forbids_unsafe(&tree));
}

#[test]
fn systems_differ_on_floor_1() {
    holds("above floor 1 the operating system is not asked for", words::target_os(&Tree::read()));
}

#[test]
fn nothing_unfinished() {
    holds("nothing is left for later", words::unfinished(&Tree::read()));
}

#[test]
fn files_explain_themselves() {
    holds("a file begins with `//!`: the idea first", words::introductions(&Tree::read()));
}

#[test]
fn no_dead_files() {
    holds("every source file is declared by a `mod`", reach::sources(&Tree::read()));
}

#[test]
fn fuzz_targets_are_complete() {
    holds("fuzz targets, their entries in fuzz/Cargo.toml and their corpora belong together", reach::fuzz());
}

#[test]
fn imports_point_downwards() {
    holds("a floor knows nothing of those above it", floors::dependencies());
}

#[test]
fn reactors_share_no_writes_per_io() {
    holds(
        "each lock and atomic change on the data path is in shared.txt with its reason",
        shared::writes(&Tree::read(), include_str!("shared.txt")),
    );
}

#[test]
fn exceptions_of_wine_are_tests() {
    let wine = include_str!("../../../windows/wine-cannot.txt");
    holds("wine-cannot.txt has tests that exist, with reasons", wine::exceptions(&Tree::read(), wine));
}
