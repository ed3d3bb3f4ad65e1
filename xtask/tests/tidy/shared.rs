//! Where the crates of the data path take a lock, or change a word that others may change too.
//!
//! Such an instruction pulls a cache line from the core that had it. `shared.txt` lists all of them with the reason why
//! none is met per I/O by reactors that contend for one line. What one thread alone writes is no such place: it loads
//! and stores. Cloning an `Arc` is one that cannot be seen here.

use std::collections::BTreeMap;

use crate::source::{File, Tree};

/// The crates whose code runs for every I/O.
const DATA_PATH: [&str; 3] = ["crates/machine/src/", "crates/block/src/", "crates/nvmf/src/"];

/// Methods that only atomics have, and locks.
const WORDS: [&str; 9] = [
    "fetch_add",
    "fetch_sub",
    "fetch_and",
    "fetch_or",
    "fetch_max",
    "fetch_min",
    "fetch_update",
    "compare_exchange",
    "lock",
];

/// Compares what is there with the list: `path word count reason`.
pub(crate) fn writes(tree: &Tree, list: &str) -> Vec<String> {
    let mut listed = BTreeMap::new();
    let mut broken = Vec::new();
    for line in list.lines().filter(|line| !line.starts_with('#')) {
        let mut parts = line.splitn(4, ' ');
        match (parts.next(), parts.next(), parts.next().and_then(|count| count.parse().ok()), parts.next()) {
            (Some(path), Some(word), Some(count), Some(_)) => {
                listed.insert((path.to_owned(), word.to_owned()), count);
            }
            _ => broken.push(format!("shared.txt: not `path word count reason`: {line}")),
        }
    }
    let found = found(tree);
    broken.extend(found.iter().filter(|(place, count)| listed.get(*place) != Some(*count)).map(
        |((path, word), count)| format!("{path}: {word} stands there {count} times: may it? Say why in shared.txt"),
    ));
    let gone = listed.keys().filter(|place| !found.contains_key(*place));
    broken.extend(gone.map(|(path, word)| format!("shared.txt: {path} has no {word} any more")));
    broken
}

fn found(tree: &Tree) -> BTreeMap<(String, String), usize> {
    let mut found = BTreeMap::new();
    for file in tree.rust().filter(|file| DATA_PATH.iter().any(|path| file.path.starts_with(path))) {
        for (word, count) in counts(file) {
            found.insert((file.path.clone(), word.to_owned()), count);
        }
    }
    found
}

fn counts(file: &File) -> impl Iterator<Item = (&'static str, usize)> {
    let is_test = ["test", "model"].iter().any(|word| file.path.rsplit('/').any(|part| part.starts_with(word)));
    let is_test = is_test || file.path.contains("_tests.rs") || file.path.contains("/modelled.rs");
    let code = if is_test { "" } else { without_tests(&file.code) };
    let methods = WORDS.iter().map(|word| (*word, code.matches(&format!(".{word}(")).count()));
    // Slices and cells have a swap, too, but give no order.
    let swap = code.lines().filter(|line| line.contains(".swap(") && ordered(line)).count();
    methods.chain([("swap", swap)]).filter(|(_, count)| *count > 0)
}

fn ordered(line: &str) -> bool {
    ["Ordering::", "Relaxed", "AcqRel", "SeqCst"].iter().any(|order| line.contains(order))
}

/// Without the test modules, which stand at the end of a file and not in one of their own.
fn without_tests(code: &str) -> &str {
    let ends =
        ["#[cfg(test)]\nmod ", "#[cfg(all(test, loom))]\nmod "].iter().flat_map(|start| code.match_indices(start));
    let ends = ends.filter(|(at, _)| code[*at..].lines().nth(1).is_some_and(|line| line.trim_end().ends_with('{')));
    &code[..ends.map(|(at, _)| at).min().unwrap_or(code.len())]
}

#[test]
fn tests_are_cut_off() {
    let code = "#[cfg(test)]\nmod tests;\na\n#[cfg(test)]\nmod tests {\nb";
    assert_eq!(without_tests(code), "#[cfg(test)]\nmod tests;\na\n");
}
