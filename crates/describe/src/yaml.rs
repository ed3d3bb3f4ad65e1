//! The tree as YAML 1.2.
//!
//! No crate: the tree has numbers, texts of printable ASCII, objects and lists of objects, and texts are written as
//! JSON strings, which YAML takes as they are. What is left is indentation.

use std::fmt::Write;

use crate::tree::{Object, Value};
use crate::units::hex;

/// A document: one mapping.
#[must_use]
pub fn to_yaml(object: &Object) -> String {
    let mut out = String::new();
    if object.fields.is_empty() {
        return "{}\n".to_owned();
    }
    write_fields(&mut out, object, "");
    out
}

fn write_fields(out: &mut String, object: &Object, indent: &str) {
    for (index, field) in object.fields.iter().enumerate() {
        // The first field of a list's entry stands behind its dash.
        if index > 0 || !out.ends_with("- ") {
            out.push_str(indent);
        }
        out.push_str(&key(&field.key));
        out.push(':');
        write_value(out, &field.value, indent);
    }
}

fn write_value(out: &mut String, value: &Value, indent: &str) {
    match value {
        Value::Number(number) => _ = writeln!(out, " {number}"),
        Value::Flag(flag) => _ = writeln!(out, " {flag}"),
        Value::Wide(number) => _ = writeln!(out, " \"{number}\""),
        Value::Bytes(bytes) => _ = writeln!(out, " \"{}\"", hex(bytes)),
        Value::Text(text) => _ = writeln!(out, " {}", quoted(text)),
        Value::Object(object) if object.fields.is_empty() => out.push_str(" {}\n"),
        Value::Object(object) => {
            out.push('\n');
            write_fields(out, object, &format!("{indent}  "));
        }
        Value::List(list) if list.is_empty() => out.push_str(" []\n"),
        Value::List(list) => {
            out.push('\n');
            for object in list {
                _ = write!(out, "{indent}- ");
                match object.fields.is_empty() {
                    true => out.push_str("{}\n"),
                    false => write_fields(out, object, &format!("{indent}  ")),
                }
            }
        }
    }
}

/// A key: plain where nobody can take it for something else.
fn key(key: &str) -> String {
    // YAML 1.1 takes these words for yes and no.
    const OTHER: [&str; 8] = ["y", "n", "yes", "no", "on", "off", "true", "false"];
    let plain = key.starts_with(|c: char| c.is_ascii_lowercase())
        && key.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    if plain && key != "null" && !OTHER.contains(&key) { key.to_owned() } else { quoted(key) }
}

/// In double quotes. Texts are printable ASCII ([`Object::text`]), so only these two are special.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_indented() {
        let mut format = Object::new();
        format.number("ms", 8_u64);
        format.text("no", "a \"b\" \\");
        let mut object = Object::page();
        object.list("lbafs", [format.clone(), Object::new(), format.clone()]);
        object.list("none", []);
        object.object("in", Object::new());
        let mut nested = Object::new();
        nested.list("deep", [format]);
        object.object("Self test", nested);
        object.wide("w", 1_u64);
        let expected = "\
schema: 1
lbafs:
- ms: 8
  \"no\": \"a \\\"b\\\" \\\\\"
- {}
- ms: 8
  \"no\": \"a \\\"b\\\" \\\\\"
none: []
in: {}
\"Self test\":
  deep:
  - ms: 8
    \"no\": \"a \\\"b\\\" \\\\\"
w: \"1\"
";
        assert_eq!(to_yaml(&object), expected);
        assert_eq!(to_yaml(&Object::new()), "{}\n");
    }
}
