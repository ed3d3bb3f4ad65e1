//! Whether anybody uses a file: sources that no `mod` declares, fuzz targets that are not built.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::source::{File, Tree, has_word, root};

/// Source files that cargo does not start from and that no reachable file declares.
pub(crate) fn sources(tree: &Tree) -> Vec<String> {
    let files: BTreeMap<&str, &File> = tree.rust().map(|file| (file.path.as_str(), file)).collect();
    let mut reached: BTreeSet<&str> = BTreeSet::new();
    let mut todo: Vec<&str> = files.keys().copied().filter(|path| is_root(path)).collect();
    while let Some(path) = todo.pop() {
        if reached.insert(path) {
            let declared = declared(files[path]);
            todo.extend(files.keys().copied().filter(|path| declared.iter().any(|declared| declared == path)));
        }
    }
    files.keys().filter(|path| !reached.contains(*path)).map(|path| (*path).to_owned()).collect()
}

/// What cargo compiles by itself.
fn is_root(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    match parts[..] {
        [.., "src", "lib.rs" | "main.rs"] | [.., "src", "bin", _] | ["fuzz", "fuzz_targets", _] => true,
        [.., "build.rs"] => true,
        [.., "tests" | "benches" | "examples", _] | [.., "tests" | "benches" | "examples", _, "main.rs"] => {
            !path.contains("/src/")
        }
        _ => false,
    }
}

/// Where the modules may lie that a file declares: two places each.
fn declared(file: &File) -> Vec<String> {
    let (dir, name) = file.path.rsplit_once('/').expect("sources lie in folders");
    let here = match name {
        "mod.rs" | "lib.rs" | "main.rs" => dir.to_owned(),
        _ if is_root(&file.path) => dir.to_owned(),
        _ => format!("{dir}/{}", name.trim_end_matches(".rs")),
    };
    let mut places = Vec::new();
    for (line, code) in file.text.lines().zip(file.code.lines()) {
        let line = line.trim();
        // #[path = "other.rs"] counts from the folder of the file itself.
        if let Some(path) = line.strip_prefix("#[path = \"").and_then(|rest| rest.split('"').next()) {
            places.push(normal(&format!("{dir}/{path}")));
        }
        if let Some(name) = code.trim().strip_suffix(';').filter(|code| has_word(code, "mod")) {
            let name = name.rsplit(' ').next().unwrap_or("");
            places.push(format!("{here}/{name}.rs"));
            places.push(format!("{here}/{name}/mod.rs"));
        }
    }
    places
}

/// `a/b/../c` as `a/c`.
fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." => {}
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

/// Fuzz targets, the manifest and the corpora, each against the others.
pub(crate) fn fuzz() -> Vec<String> {
    let dir = root().join("fuzz");
    let names = |folder: &str| -> BTreeSet<String> {
        let files = fs::read_dir(dir.join(folder)).into_iter().flatten().flatten();
        files.filter_map(|file| file.file_name().into_string().ok()).collect()
    };
    let manifest = fs::read_to_string(dir.join("Cargo.toml")).unwrap_or_default();
    let listed = |key: &str| -> BTreeSet<String> {
        let lines = manifest.lines().filter_map(|line| line.strip_prefix(key)?.trim().strip_prefix('='));
        lines.map(|value| value.trim().trim_matches('"').to_owned()).collect()
    };
    let paths: BTreeSet<String> = names("fuzz_targets").iter().map(|name| format!("fuzz_targets/{name}")).collect();
    let targets: BTreeSet<String> =
        names("fuzz_targets").iter().filter_map(|name| Some(name.strip_suffix(".rs")?.to_owned())).collect();
    let (corpora, listed) = (names("corpus"), listed("path"));
    let mut broken = Vec::new();
    broken.extend(paths.difference(&listed).map(|path| format!("fuzz/{path} is not in fuzz/Cargo.toml")));
    broken.extend(targets.difference(&corpora).map(|name| format!("{name} has no folder in fuzz/corpus")));
    broken.extend(corpora.difference(&targets).map(|name| format!("fuzz/corpus/{name} belongs to no target")));
    let empty = corpora.iter().filter(|name| names(&format!("corpus/{name}")).is_empty());
    broken.extend(empty.map(|name| format!("fuzz/corpus/{name} is empty")));
    if targets.is_empty() {
        broken.push("there are no fuzz targets".to_owned());
    }
    broken
}

#[test]
fn modules_are_found() {
    let file = |path: &str, text: &str| File {
        path: path.to_owned(),
        kind: crate::source::Kind::Rust,
        text: text.to_owned(),
        code: crate::source::blanked(text),
    };
    let text = "pub(crate) mod a;\n#[cfg(test)]\nmod tests {\n}\n// mod b;\n#[path = \"../x.rs\"]\nmod y;\n";
    let tree = Tree {
        files: vec![
            file("c/src/lib.rs", "mod m;"),
            file("c/src/m.rs", text),
            file("c/src/m/a.rs", ""),
            file("c/src/m/b.rs", ""),
            file("c/x.rs", ""),
            file("c/tests/t.rs", "mod support;"),
            file("c/tests/support/mod.rs", ""),
        ],
    };
    assert_eq!(sources(&tree), ["c/src/m/b.rs"]);
}
