//! The tests that Wine cannot run, by name in `windows/wine-cannot.txt`: each still exists and has its reason.

use crate::source::Tree;

/// Compares the list with what is there: `package test: reason`.
pub(crate) fn exceptions(tree: &Tree, list: &str) -> Vec<String> {
    list.lines().filter(|line| !line.starts_with('#')).filter_map(|line| wrong(tree, line)).collect()
}

fn wrong(tree: &Tree, line: &str) -> Option<String> {
    let parts = line.split_once(": ").and_then(|(name, reason)| Some((name.split_once(' ')?, reason.trim())));
    let Some(((package, test), reason)) = parts else {
        return Some(format!("not `package test: reason`: {line}"));
    };
    if reason.is_empty() || test.contains(' ') {
        return Some(format!("not `package test: reason`: {line}"));
    }
    let folder = format!("crates/{}/", package.strip_prefix("qpair-").unwrap_or(package));
    let function = format!("fn {}(", test.rsplit("::").next().unwrap_or(test));
    let there = tree.rust().any(|file| file.path.starts_with(&folder) && file.code.contains(&function));
    (!there).then(|| format!("{package} has no test {test} any more"))
}

#[test]
fn stale_lines_are_seen() {
    let tree = Tree::read();
    assert_eq!(exceptions(&tree, "# a comment\nqpair-wire cuts::no_such_test: because\n").len(), 1);
    assert_eq!(exceptions(&tree, "qpair-wire cuts\n").len(), 1);
}
