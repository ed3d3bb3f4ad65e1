//! The files of the repository, and Rust without its comments and literals.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders that hold nothing a person wrote, from the top of the repository.
const SKIPPED: [&str; 6] = [".git", "target", "fuzz/target", "fuzz/corpus", "fuzz/artifacts", "fuzz/coverage"];

/// All text files with a rule of their own.
pub(crate) struct Tree {
    pub(crate) files: Vec<File>,
}

/// A file of the repository.
pub(crate) struct File {
    /// From the top of the repository, with `/`.
    pub(crate) path: String,
    pub(crate) kind: Kind,
    pub(crate) text: String,
    /// Rust only: the text with blanks in the place of comments, strings and characters; line by line as before.
    pub(crate) code: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Rust,
    /// Shell and Python.
    Script,
    Markdown,
}

/// The top of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask/ lies in the repository").to_owned()
}

impl Tree {
    /// Reads the repository.
    pub(crate) fn read() -> Self {
        let mut files = Vec::new();
        visit(&root(), &mut files);
        files.sort_by(|a, b| a.path.cmp(&b.path));
        assert!(files.len() > 50, "the repository was not found");
        Self { files }
    }

    pub(crate) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.kind == Kind::Rust)
    }
}

fn visit(dir: &Path, files: &mut Vec<File>) {
    for entry in fs::read_dir(dir).expect("a readable folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            if !SKIPPED.iter().any(|skipped| root().join(skipped) == path) {
                visit(&path, files);
            }
        } else if let Some(file) = File::read(&path) {
            files.push(file);
        }
    }
}

impl File {
    fn read(path: &Path) -> Option<Self> {
        let extension = path.extension().and_then(|extension| extension.to_str());
        let text = match extension {
            Some("rs" | "sh" | "py" | "md") | None => fs::read_to_string(path).ok()?,
            Some(_) => return None,
        };
        let kind = match extension {
            Some("rs") => Kind::Rust,
            Some("md") => Kind::Markdown,
            None if !text.starts_with("#!") => return None,
            _ => Kind::Script,
        };
        let code = if kind == Kind::Rust { blanked(&text) } else { String::new() };
        let path = path.strip_prefix(root()).expect("below the top").to_str()?.replace('\\', "/");
        Some(Self { path, kind, text, code })
    }

    /// The lines of code in which `word` stands as a word of its own, as `path:line`.
    pub(crate) fn places(&self, word: &str) -> Vec<String> {
        let lines = self.code.lines().enumerate().filter(|(_, line)| has_word(line, word));
        lines.map(|(index, _)| format!("{}:{}: {word}", self.path, index + 1)).collect()
    }
}

/// Whether `word` stands in `text` with no letter, digit or underscore next to it.
pub(crate) fn has_word(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        !text[..at].ends_with(part) && (word.ends_with('!') || !text[at + word.len()..].starts_with(part))
    })
}

/// Rust source with blanks for all that is not code, so that braces and words can be counted.
pub(crate) fn blanked(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut previous = ' ';
    while let Some(first) = rest.chars().next() {
        // An identifier that ends in r or b is no prefix of a literal.
        let fresh = !previous.is_alphanumeric() && previous != '_';
        let length = literal(rest, fresh).unwrap_or(0);
        if length > 0 {
            out.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            (rest, previous) = (&rest[length..], ' ');
        } else {
            out.push(first);
            (rest, previous) = (&rest[first.len_utf8()..], first);
        }
    }
    out
}

/// The length of the comment, string or character that `text` begins with.
fn literal(text: &str, fresh: bool) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return Some(block_comment(text));
    }
    let body = text.strip_prefix(['b', 'c']).filter(|_| fresh).unwrap_or(text);
    let raw = body.strip_prefix('r').filter(|_| fresh).map(|raw| (raw, raw.trim_start_matches('#')));
    if let Some((raw, opened)) = raw.filter(|(_, opened)| opened.starts_with('"')) {
        let end = format!("\"{}", &raw[..raw.len() - opened.len()]);
        let start = text.len() - opened.len() + 1;
        return Some(text[start..].find(&end).map_or(text.len(), |at| start + at + end.len()));
    }
    let before = text.len() - body.len();
    if body.starts_with('"') {
        return Some(before + quoted(body, '"'));
    }
    let mut characters = body.strip_prefix('\'')?.chars();
    let (first, second) = (characters.next()?, characters.next()?);
    // 'a' and '\n' are characters, 'a is a lifetime.
    (first == '\\' || second == '\'').then(|| before + quoted(body, '\''))
}

/// The length of a literal from its opening quote to its closing one.
fn quoted(text: &str, quote: char) -> usize {
    let mut characters = text.char_indices().skip(1);
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' => drop(characters.next()),
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

#[test]
fn literals_are_blanked() {
    let code = blanked("let a = \"{\\\"\"; // }\nlet b = '{'; /* { /* } */ { */ fn f<'a>(x: &'a str) {}");
    assert_eq!(code.matches('{').count(), 1);
    assert_eq!(code.matches('}').count(), 1);
    assert_eq!(code.lines().count(), 2);
    assert!(code.contains("'a str"));
    let raw = blanked("r#\"unsafe \"{\" \"#; br\"{\"; b'{'; for_bar\"{\"; '\\''; '\\u{7b}' }");
    assert_eq!(raw.matches(['{', '}']).count(), 1);
    assert!(!has_word(&raw, "unsafe"));
}

#[test]
fn words_are_whole() {
    assert!(has_word("an unsafe fn", "unsafe"));
    assert!(!has_word("forbid(unsafe_code)", "unsafe"));
    assert!(has_word("    todo!()", "todo!"));
    assert!(!has_word("my_todo!()", "todo!"));
}
