//! How long lines, functions and files are.

use crate::source::{File, Kind, Tree};

const COLUMNS: usize = 120;
const FUNCTION_LINES: usize = 70;
const FILE_LINES: usize = 800;

/// Lines that are too long. A Markdown table or link cannot be broken.
pub(crate) fn lines(tree: &Tree) -> Vec<String> {
    let mut broken = Vec::new();
    for File { path, kind, text, .. } in &tree.files {
        for (index, line) in text.lines().enumerate() {
            let columns = line.chars().count();
            let unbreakable = *kind == Kind::Markdown && (line.trim_start().starts_with('|') || line.contains("]("));
            if columns > COLUMNS && !unbreakable {
                broken.push(format!("{path}:{}: {columns} columns", index + 1));
            }
        }
    }
    broken
}

/// Files that are too long.
pub(crate) fn files(tree: &Tree) -> Vec<String> {
    let long = tree.files.iter().map(|file| (&file.path, file.text.lines().count()));
    long.filter(|&(_, lines)| lines > FILE_LINES).map(|(path, lines)| format!("{path}: {lines} lines")).collect()
}

/// Where the long functions differ from the list of exceptions, whose lines are `path function lines`.
pub(crate) fn functions(tree: &Tree, ratchet: &str) -> Vec<String> {
    let long: Vec<String> = tree
        .rust()
        .flat_map(|file| functions_of(&file.code).into_iter().map(|(name, lines)| (&file.path, name, lines)))
        .filter(|&(_, _, lines)| lines > FUNCTION_LINES)
        .map(|(path, name, lines)| format!("{path} {name} {lines}"))
        .collect();
    let listed: Vec<&str> = ratchet.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let new = long.iter().filter(|line| !listed.contains(&line.as_str()));
    let gone = listed.iter().filter(|line| !long.iter().any(|long| long == *line));
    let new = new.map(|line| format!("too long: {line}"));
    new.chain(gone.map(|line| format!("no longer true, take it out of ratchet.txt: {line}"))).collect()
}

/// Every function with a body, and its lines from `fn` to the closing brace.
fn functions_of(code: &str) -> Vec<(&str, usize)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[at + 3..];
        let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or("");
        if let (false, Some(end)) = (name.is_empty(), body_end(rest)) {
            found.push((name, rest[..end].lines().count()));
        }
    }
    found
}

/// Where the body ends of the function whose signature `code` begins with; none if it has no body.
fn body_end(code: &str) -> Option<usize> {
    let mut open = 0;
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' | '{' => open += 1,
            ')' | ']' => open -= 1,
            '}' => {
                open -= 1;
                if open == 0 {
                    return Some(at + 1);
                }
            }
            ';' if open == 0 => return None,
            _ => {}
        }
    }
    None
}

#[test]
fn functions_are_measured() {
    let code = "trait T { fn a(&self, x: [u8; 4]);\n fn b() {\n if x {\n }\n }\n}\nfn c<F: Fn(fn ())>() {}\n";
    assert_eq!(functions_of(code), [("b", 4), ("c", 1)]);
}
