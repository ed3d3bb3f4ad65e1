//! The function behind the fuzz target `describe`: bytes as an answer of a device, to every question there is.
//!
//! ```text
//!   | question | parameter | fill | the answer's front ... |
//!     0 ..       formats,    what the rest of the page has; FFh: there is no rest, the answer is short
//!                ZDES, FID
//! ```
//!
//! Whatever a device says, there is a tree or an error; the tree is JSON and YAML of the same values, and nothing that
//! is printed can do something to a terminal.

use qpair_describe::{Object, Short, controller, feature, lists, log, namespace, resources, to_text, to_yaml, zns};
use serde_json::Value;

/// Bytes of a page.
const PAGE_BYTES: usize = 4096;

type Describe = fn(&[u8], u8) -> Result<Object, Short>;

/// Questions that are no logs.
pub const QUESTIONS: [(&str, Describe); 20] = [
    ("id-ctrl", |bytes, _| controller::controller(bytes)),
    ("nvm-id-ctrl", |bytes, _| controller::nvm_controller(bytes)),
    ("zns-id-ctrl", |bytes, _| zns::controller(bytes)),
    ("id-ns", |bytes, _| namespace::namespace(bytes)),
    ("nvm-id-ns", |bytes, formats| namespace::nvm_namespace(bytes, formats.into())),
    ("zns-id-ns", |bytes, formats| zns::namespace(bytes, formats.into())),
    ("ind-id-ns", |bytes, _| namespace::independent_namespace(bytes)),
    ("namespaces", |bytes, _| lists::namespaces(bytes)),
    ("controllers", |bytes, _| lists::controllers(bytes)),
    ("command-sets", |bytes, _| lists::command_sets(bytes)),
    ("descriptors", |bytes, _| lists::descriptors(bytes)),
    ("zones", zns::report),
    ("nvm-sets", |bytes, _| resources::nvm_sets(bytes)),
    ("primary", |bytes, _| resources::primary(bytes)),
    ("secondary", |bytes, _| resources::secondary(bytes)),
    ("uuids", |bytes, _| lists::uuids(bytes)),
    ("domains", |bytes, _| resources::domains(bytes)),
    ("endurance-groups", |bytes, _| resources::endurance_groups(bytes)),
    ("feature", |bytes, fid| {
        let (value, data) = bytes.split_first_chunk().unwrap_or((&[0; 4], &[]));
        Ok(feature::value(fid, u32::from_le_bytes(*value), data))
    }),
    ("capabilities", |bytes, fid| {
        let value = bytes.first_chunk().unwrap_or(&[0; 4]);
        Ok(feature::capabilities(fid, u32::from_le_bytes(*value)))
    }),
];

/// Describes what the input says a device answered.
pub fn describe(input: &[u8]) {
    let Some((&[question, parameter, fill], front)) = input.split_first_chunk() else { return };
    let mut bytes = front[..front.len().min(PAGE_BYTES)].to_vec();
    if fill != u8::MAX {
        bytes.resize(PAGE_BYTES, fill);
    }
    let question = usize::from(question) % (QUESTIONS.len() + log::LOGS.len());
    let answer = match QUESTIONS.get(question) {
        Some((_, describe)) => describe(&bytes, parameter),
        None => (log::LOGS[question - QUESTIONS.len()].describe)(&bytes),
    };
    match answer {
        Ok(object) => printable(&object),
        Err(short) => assert!(short.given == bytes.len() && short.given < short.needed, "{short:?}"),
    }
}

fn printable(object: &Object) {
    let yaml = to_yaml(object);
    for text in [&to_text(object), &yaml] {
        assert!(text.chars().all(|c| c == '\n' || c == ' ' || c.is_ascii_graphic()), "{text:?}");
        assert!(text.ends_with('\n') || text.is_empty());
    }
    let json = serde_json::to_string(object).expect("a tree is JSON");
    let value: Value = serde_json::from_str(&json).expect("JSON can be read");
    assert_eq!(value["schema"], 1);
    // Every value stands in a line of its own in YAML, and nowhere else.
    assert_eq!(yaml.lines().count(), lines(&value), "{yaml}");
}

/// Lines of a value's mapping in YAML.
fn lines(value: &Value) -> usize {
    match value {
        Value::Object(map) => map.values().map(|value| 1 + lines(value)).sum(),
        Value::Array(list) => list.iter().map(|entry| lines(entry).max(1)).sum(),
        _ => 0,
    }
}
