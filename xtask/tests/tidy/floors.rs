//! The floors of ARCHITECTURE.md against the manifests.

use std::fs;

use crate::source::root;

/// Every crate, and which others it may import. Floors 0 and 1 stand beside one another.
const FLOORS: [(&str, &[&str]); 9] = [
    ("wire", &[]),
    ("machine", &[]),
    ("describe", &["wire"]),
    ("block", &["wire", "machine"]),
    ("store", &["machine"]),
    ("nvmf", &["wire", "machine", "block"]),
    ("cache", &["wire", "machine", "block", "store"]),
    ("control", &["wire", "machine", "block", "nvmf", "cache"]),
    ("qpair", &["wire", "machine", "describe", "block", "store", "nvmf", "cache", "control"]),
];

/// Dependencies, those of tests included, that point upwards or sideways; crates without a floor.
pub(crate) fn dependencies() -> Vec<String> {
    let mut broken = Vec::new();
    for entry in fs::read_dir(root().join("crates")).expect("crates/ is there").flatten() {
        let name = entry.file_name().into_string().expect("crates have plain names");
        let Some((_, allowed)) = FLOORS.iter().find(|(floor, _)| *floor == name) else {
            broken.push(format!("crates/{name} is on no floor: list it in xtask/tests/tidy/floors.rs"));
            continue;
        };
        let manifest = fs::read_to_string(entry.path().join("Cargo.toml")).expect("a crate has a manifest");
        let imports = imports(&manifest);
        broken.extend(
            imports
                .iter()
                .filter(|import| !allowed.contains(import))
                .map(|import| format!("crates/{name}/Cargo.toml imports {import}")),
        );
    }
    broken
}

/// The crates of this repository that a manifest depends on.
fn imports(manifest: &str) -> Vec<&str> {
    let mut imports = Vec::new();
    let mut dependencies = false;
    for line in manifest.lines() {
        if let Some(section) = line.strip_prefix('[') {
            dependencies = section.trim_end_matches(']').ends_with("dependencies");
        }
        let name = line.split(['.', '=', ' ']).next().unwrap_or("");
        let plain = name.strip_prefix("qpair-").unwrap_or(name);
        if dependencies && FLOORS.iter().any(|(floor, _)| *floor == plain) {
            imports.push(plain);
        }
    }
    imports
}

#[test]
fn manifests_are_read() {
    let manifest = "[package]\nname = \"qpair-nvmf\"\n[dependencies]\nblock.workspace = true\nzerocopy = \"0.8\"\n\
                    [target.\"cfg(unix)\".dev-dependencies]\nqpair-wire = { path = \"../wire\" }\n[lints]\nqpair = 1\n";
    assert_eq!(imports(manifest), ["block", "wire"]);
}
