//! The tree for people: one field a line, aligned, with its meaning; bits below; lists as tables where they fit.
//!
//! ```text
//!   mdts      9                      2 MiB
//!   cmic      0x3                    ...
//!               bit 0: ...
//!   lbafs     ms  ds  rp
//!          0  0   9   0
//!          1  0   12  0   in use
//! ```

use std::fmt::Write;

use crate::limits::TABLE_COLUMNS;
use crate::tree::{Field, Object, Value};

/// Lines for a terminal. `schema` is for programs and is left out.
#[must_use]
pub fn to_text(object: &Object) -> String {
    let mut out = String::new();
    write_object(&mut out, object, "");
    out
}

fn write_object(out: &mut String, object: &Object, indent: &str) {
    let fields = || object.fields.iter().filter(|field| field.key != "schema");
    let width = fields().map(|field| field.key.len()).max().unwrap_or(0);
    let values = fields().filter(|field| field.meaning.is_some()).filter_map(scalar);
    let value_width = values.map(|value| value.len()).max().unwrap_or(0);
    for field in fields() {
        let key = format!("{indent}{:width$}", field.key);
        match (&field.value, scalar(field)) {
            (Value::Object(inner), _) => {
                _ = writeln!(out, "{}", key.trim_end());
                write_object(out, inner, &format!("{indent}  "));
            }
            (Value::List(list), _) => write_list(out, &key, list, indent),
            (Value::Bytes(bytes), _) => {
                _ = writeln!(out, "{}", key.trim_end());
                write_bytes(out, bytes, indent);
            }
            (_, value) => {
                let value = value.unwrap_or_default();
                let line = match &field.meaning {
                    Some(meaning) => format!("{key} : {value:value_width$}  {meaning}"),
                    None => format!("{key} : {value}"),
                };
                _ = writeln!(out, "{}", line.trim_end());
            }
        }
        let under = " ".repeat(width + indent.len() + 5);
        field.notes.iter().for_each(|note| _ = writeln!(out, "{under}{note}"));
    }
}

/// A value that fits in a line.
fn scalar(field: &Field) -> Option<String> {
    match &field.value {
        Value::Number(number) if field.hex => Some(format!("{number:#x}")),
        Value::Number(number) => Some(number.to_string()),
        Value::Wide(number) => Some(number.to_string()),
        Value::Text(text) => Some(text.trim_end().to_owned()),
        Value::Flag(flag) => Some(if *flag { "yes" } else { "no" }.to_owned()),
        Value::Object(_) | Value::List(_) | Value::Bytes(_) => None,
    }
}

/// Sixteen bytes a line, and the letters among them; lines that repeat the one before are left out.
fn write_bytes(out: &mut String, bytes: &[u8], indent: &str) {
    let mut before: &[u8] = &[];
    let mut skipped = false;
    for (index, line) in bytes.chunks(16).enumerate() {
        if line == before && (index + 1) * 16 < bytes.len() {
            if !skipped {
                _ = writeln!(out, "{indent}  *");
            }
            skipped = true;
            continue;
        }
        (before, skipped) = (line, false);
        let hex: String = line.iter().map(|byte| format!("{byte:02x} ")).collect();
        let letter = |&byte: &u8| if byte == b' ' || byte.is_ascii_graphic() { char::from(byte) } else { '.' };
        let letters: String = line.iter().map(letter).collect();
        _ = writeln!(out, "{indent}  {:04x}  {hex:48} {letters}", index * 16);
    }
}

fn write_list(out: &mut String, key: &str, list: &[Object], indent: &str) {
    let used: Vec<(usize, &Object)> = list.iter().enumerate().filter(|(_, object)| !object.unused).collect();
    if used.is_empty() {
        _ = writeln!(out, "{key} : none");
        return;
    }
    _ = writeln!(out, "{}", key.trim_end());
    if let Some(table) = table(&used, indent) {
        out.push_str(&table);
        return;
    }
    for (index, object) in used {
        let remark = object.remark.map(|remark| format!("  {remark}")).unwrap_or_default();
        _ = writeln!(out, "{indent}  [{index}]{remark}");
        write_object(out, object, &format!("{indent}    "));
    }
}

/// A table, if all entries have the same scalar fields without notes, and their lines are short enough.
fn table(list: &[(usize, &Object)], indent: &str) -> Option<String> {
    let keys = |object: &Object| -> Vec<String> { object.fields.iter().map(|field| field.key.to_string()).collect() };
    let head = keys(list[0].1);
    let uniform = list.iter().all(|(_, object)| keys(object) == head);
    if !uniform || list.iter().flat_map(|(_, object)| &object.fields).any(|field| !field.notes.is_empty()) {
        return None;
    }
    let cell = |field: &Field| {
        let value = scalar(field)?;
        Some(match &field.meaning {
            Some(meaning) => format!("{value} ({meaning})"),
            None => value,
        })
    };
    let row = |object: &Object| object.fields.iter().map(cell).collect::<Option<Vec<String>>>();
    let rows = list.iter().map(|(_, object)| row(object)).collect::<Option<Vec<_>>>()?;
    let column = |at: usize| rows.iter().map(|row| row[at].len()).max().unwrap_or(0).max(head[at].len());
    let widths: Vec<usize> = (0..head.len()).map(column).collect();
    let number = list[list.len() - 1].0.to_string().len();
    if indent.len() + number + widths.iter().map(|width| width + 2).sum::<usize>() > TABLE_COLUMNS {
        return None;
    }
    let line = |first: &str, cells: &[String], remark: Option<&str>| {
        let cells = cells.iter().zip(&widths).map(|(cell, width)| format!("  {cell:width$}")).collect::<String>();
        let line = format!("{indent}  {first:>number$}{cells}  {}", remark.unwrap_or(""));
        line.trim_end().to_owned() + "\n"
    };
    let mut out = line("", &head, None);
    for (row, (index, object)) in rows.iter().zip(list) {
        out.push_str(&line(&index.to_string(), row, object.remark));
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bits::bit;

    #[test]
    fn fields_are_aligned_and_bits_explained() {
        let mut object = Object::page();
        object.ascii("sn", b"QP1     ");
        object.number("mdts", 9_u8).means("2 MiB");
        object.number("kas", 10_000_u16).means("1000 s");
        object.bits("cmic", 3_u8, &[bit(0, "ports"), bit(1, "controllers")]);
        object.list("none", []);
        let expected = "\
sn   : QP1
mdts : 9      2 MiB
kas  : 10000  1000 s
cmic : 0x3
         bit 0: ports
         bit 1: controllers
none : none
";
        assert_eq!(to_text(&object), expected);
    }

    #[test]
    fn bytes_are_shown_as_they_are() {
        let mut object = Object::new();
        let bytes = [b"0123456789abcde\n".as_slice(), &[0; 48], b"x"].concat();
        object.bytes("data", &bytes);
        let zeros = "00 ".repeat(16);
        let expected = format!(
            "data\n  0000  30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 0a  0123456789abcde.\n  0010  {zeros} {}\n  \
             *\n  0040  78{} x\n",
            ".".repeat(16),
            " ".repeat(46)
        );
        assert_eq!(to_text(&object), expected);
    }

    #[test]
    fn entries_that_say_nothing_are_left_out() {
        let entry = |number: u8| {
            let mut object = Object::new();
            object.number("n", number);
            object.unused = number == 0;
            object
        };
        let mut object = Object::new();
        object.list("e", [entry(0), entry(7), entry(0)]);
        assert_eq!(to_text(&object), "e\n     n\n  1  7\n");
        let mut object = Object::new();
        object.list("e", [entry(0)]);
        assert_eq!(to_text(&object), "e : none\n");
    }

    #[test]
    fn lists_are_tables_where_they_fit() {
        let format = |ds: u8, remark| {
            let mut object = Object::new();
            object.number("ms", 0_u8);
            object.number("ds", ds).means(format!("{} bytes", 1 << ds));
            object.remark = remark;
            object
        };
        let mut object = Object::new();
        object.list("lbafs", [format(9, None), format(12, Some("in use"))]);
        let table = "lbafs\n     ms  ds\n  0  0   9 (512 bytes)\n  1  0   12 (4096 bytes)  in use\n";
        assert_eq!(to_text(&object), table);
        let mut long = format(9, Some("in use"));
        long.text("what", &"x".repeat(TABLE_COLUMNS));
        let mut object = Object::new();
        object.list("lbafs", [long]);
        assert!(
            to_text(&object).starts_with("lbafs\n  [0]  in use\n    ms   : 0\n    ds   : 9  512 bytes\n    what : xx")
        );
    }
}
