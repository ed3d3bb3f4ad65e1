//! Takes typed values out of a TOML table. What does not fit is noted and left out: one look finds all mistakes.
//!
//! serde would stop at the first one. `toml` parses; this walks over what it found, which still knows where it stood.

use std::fmt::Display;
use std::ops::RangeInclusive;

use block::size::parse_size;
use block::spec::nearest;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::mistake::{Log, quoted};

/// Highest number of a processor: more than any machine has, and a bound.
const CPU: u64 = (1 << 16) - 1;

type Value<'d> = Spanned<DeValue<'d>>;

/// A table of the file, and what it is called.
pub(super) struct Fields<'t, 'd> {
    table: &'t DeTable<'d>,
    /// `subsystem[0].namespace[1]`; empty for the whole file.
    path: String,
}

impl<'t, 'd> Fields<'t, 'd> {
    /// The table at `path`, that begins at `at` and may have the fields `known`. Others are mistakes.
    pub(super) fn new(log: &mut Log<'_>, table: &'t DeTable<'d>, path: &str, at: usize, known: &[&str]) -> Self {
        let fields = Self { table, path: path.to_owned() };
        log.place(path, at);
        for key in table.keys() {
            let name: &str = key.get_ref();
            if !known.contains(&name) {
                let like = nearest(name, known).map(|name| format!("Did you mean `{name}`? ")).unwrap_or_default();
                let hint = format!("{like}The fields here are {}.", list(known));
                let why = format!("there is no field called {}", quoted(name));
                log.add(key.span().start, &fields.path_of(&short(name)), why, hint);
            }
        }
        fields
    }

    /// The name of a field from the top of the file.
    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Whether a field is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Notes what is wrong with the value of a field.
    pub(super) fn wrong(&self, log: &mut Log<'_>, key: &str, why: impl Into<String>, hint: impl Into<String>) {
        let field = self.path_of(key);
        log.add(log.find(&field), &field, why, hint);
    }

    fn get(&self, log: &mut Log<'_>, key: &str) -> Option<&'t Value<'d>> {
        let value = self.table.get(key)?;
        log.place(&self.path_of(key), value.span().start);
        Some(value)
    }

    /// A value that is a string or, if `convert` fails, a mistake with `hint`.
    pub(super) fn text<T, E: Display>(
        &self,
        log: &mut Log<'_>,
        key: &str,
        convert: impl FnOnce(&str) -> Result<T, E>,
        hint: &str,
    ) -> Option<T> {
        let value = self.get(log, key)?;
        convert_text(log, value, &self.path_of(key), convert, hint)
    }

    /// The same for a string that begins with the name of a file.
    pub(super) fn path<T, E: Display>(
        &self,
        log: &mut Log<'_>,
        key: &str,
        convert: impl FnOnce(&str) -> Result<T, E>,
        hint: &str,
    ) -> Option<T> {
        let value = self.get(log, key)?;
        let cut = log.is_cut_by_escapes(value.span(), &self.path_of(key));
        if cut { None } else { self.text(log, key, convert, hint) }
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, log: &mut Log<'_>, key: &str) -> Option<bool> {
        let value = self.get(log, key)?;
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            mismatch(log, value, &self.path_of(key), "true or false", &format!("Write {key} = true, or leave it out."));
        }
        flag
    }

    /// A whole number within `bounds`.
    pub(super) fn number(&self, log: &mut Log<'_>, key: &str, bounds: RangeInclusive<u64>) -> Option<u64> {
        let value = self.get(log, key)?;
        convert_number(log, value, &self.path_of(key), &bounds)
    }

    /// Whole numbers within `bounds`.
    pub(super) fn numbers(&self, log: &mut Log<'_>, key: &str, bounds: RangeInclusive<u64>) -> Option<Vec<u64>> {
        let items = self.items(log, key, "numbers", &format!("Write for example {key} = [0, 1]."))?;
        Some(items.into_iter().filter_map(|(path, item)| convert_number(log, item, &path, &bounds)).collect())
    }

    /// The numbers of processors; none if the field is not there.
    pub(super) fn cpus(&self, log: &mut Log<'_>, key: &str) -> Vec<usize> {
        self.numbers(log, key, 0..=CPU).unwrap_or_default().into_iter().map(|cpu| cpu as usize).collect()
    }

    /// A size in bytes: a number, or a text with a unit.
    pub(super) fn size(&self, log: &mut Log<'_>, key: &str) -> Option<u64> {
        let (value, path) = (self.get(log, key)?, self.path_of(key));
        let hint = format!("Write for example {key} = \"1GiB\".");
        match value.get_ref() {
            DeValue::Integer(_) => convert_number(log, value, &path, &(0..=u64::MAX)),
            _ => convert_text(log, value, &path, parse_size, &hint),
        }
    }

    /// A text, or a number that stands for the same text.
    pub(super) fn port_or_text<T, E: Display>(
        &self,
        log: &mut Log<'_>,
        key: &str,
        convert: impl FnOnce(&str) -> Result<T, E>,
        hint: &str,
    ) -> Option<T> {
        let (value, path) = (self.get(log, key)?, self.path_of(key));
        match value.get_ref().as_integer() {
            Some(number) => convert(&number.to_string())
                .map_err(|why| log.add(value.span().start, &path, why.to_string(), hint))
                .ok(),
            None => convert_text(log, value, &path, convert, hint),
        }
    }

    /// Texts, each converted.
    pub(super) fn texts<T, E: Display>(
        &self,
        log: &mut Log<'_>,
        key: &str,
        convert: impl Fn(&str) -> Result<T, E>,
        hint: &str,
    ) -> Option<Vec<T>> {
        let items = self.items(log, key, "texts", hint)?;
        Some(items.into_iter().filter_map(|(path, item)| convert_text(log, item, &path, &convert, hint)).collect())
    }

    /// The items of an array, each with its path.
    fn items(&self, log: &mut Log<'_>, key: &str, of: &str, hint: &str) -> Option<Vec<(String, &'t Value<'d>)>> {
        let (value, path) = (self.get(log, key)?, self.path_of(key));
        let Some(items) = value.get_ref().as_array() else {
            mismatch(log, value, &path, &format!("an array of {of}"), hint);
            return None;
        };
        let named = (0..).zip(items.iter()).map(|(index, item)| (format!("{path}[{index}]"), item));
        Some(named.inspect(|(path, item)| log.place(path, item.span().start)).collect())
    }

    /// The table `[key]` with the fields `known`.
    pub(super) fn table(&self, log: &mut Log<'_>, key: &str, known: &[&str]) -> Option<Fields<'t, 'd>> {
        let (value, path) = (self.get(log, key)?, self.path_of(key));
        let Some(table) = value.get_ref().as_table() else {
            mismatch(log, value, &path, "a table", &format!("Begin it with a line [{path}]; there is one at most."));
            return None;
        };
        Some(Fields::new(log, table, &path, value.span().start, known))
    }

    /// The tables `[[key]]`, each with the fields `known`; none if there are more than `most`.
    pub(super) fn tables(&self, log: &mut Log<'_>, key: &str, most: usize, known: &[&str]) -> Vec<Fields<'t, 'd>> {
        let Some(value) = self.get(log, key) else { return Vec::new() };
        let path = self.path_of(key);
        let headers = path.split('.').map(|part| part.split('[').next().unwrap_or(part)).collect::<Vec<_>>().join(".");
        let hint = format!("Begin each one with a line [[{headers}]].");
        let Some(items) = value.get_ref().as_array() else {
            mismatch(log, value, &path, "an array of tables", &hint);
            return Vec::new();
        };
        if items.len() > most {
            let at = items[most].span().start;
            log.add(at, &format!("{path}[{most}]"), format!("more than {most} of them"), "Take some out.");
            return Vec::new();
        }
        let mut tables = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let path = format!("{path}[{index}]");
            match item.get_ref().as_table() {
                Some(table) => tables.push(Fields::new(log, table, &path, item.span().start, known)),
                None => mismatch(log, item, &path, "a table", &hint),
            }
        }
        tables
    }
}

fn convert_text<T, E: Display>(
    log: &mut Log<'_>,
    value: &Value<'_>,
    path: &str,
    convert: impl FnOnce(&str) -> Result<T, E>,
    hint: &str,
) -> Option<T> {
    let Some(text) = value.get_ref().as_str() else {
        mismatch(log, value, path, "a text in quotes", hint);
        return None;
    };
    convert(text).map_err(|why| log.add(value.span().start, path, why.to_string(), hint)).ok()
}

fn convert_number(log: &mut Log<'_>, value: &Value<'_>, path: &str, bounds: &RangeInclusive<u64>) -> Option<u64> {
    let hint = match *bounds.end() {
        u64::MAX => format!("Write a number of {} or more.", bounds.start()),
        end => format!("Write a number from {} to {end}.", bounds.start()),
    };
    let Some(integer) = value.get_ref().as_integer() else {
        mismatch(log, value, path, "a whole number", &hint);
        return None;
    };
    match u64::from_str_radix(integer.as_str(), integer.radix()) {
        Ok(number) if bounds.contains(&number) => Some(number),
        _ => {
            log.add(value.span().start, path, format!("{} is out of range", quoted(&integer.to_string())), hint);
            None
        }
    }
}

/// The value has another type than `wanted`.
fn mismatch(log: &mut Log<'_>, value: &Value<'_>, path: &str, wanted: &str, hint: &str) {
    let found = match value.get_ref() {
        DeValue::String(text) => format!("the text {}", quoted(text)),
        DeValue::Integer(number) => format!("the number {}", quoted(&number.to_string())),
        DeValue::Float(number) => format!("the number {}", quoted(number.as_str())),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(_) => "a date or time".to_owned(),
        DeValue::Array(_) => "an array".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    };
    log.add(value.span().start, path, format!("this is {found}, not {wanted}"), hint);
}

/// A name of the file as a part of a path.
fn short(name: &str) -> String {
    quoted(name).trim_matches('`').to_owned()
}

fn list(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => format!("`{one}`"),
        [first @ .., last] => format!("`{}` and `{last}`", first.join("`, `")),
    }
}
