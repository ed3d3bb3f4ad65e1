//! The tree: objects of fields in the order of the structure that they come from.

use std::borrow::Cow;

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use crate::bits::{self, Bits};
use crate::units::hex;

/// Named fields in order. A key is there once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object {
    /// What it has.
    pub fields: Vec<Field>,
    /// What sets it apart in a list of its like, for text: "in use".
    pub remark: Option<&'static str>,
    /// It says nothing: an entry that is not used. Text leaves it out.
    pub unused: bool,
}

/// A field: a key, its value, and what that means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// As `nvme -o json` has it.
    pub key: Cow<'static, str>,
    /// What the device said.
    pub value: Value,
    /// Text shows the number in hexadecimal.
    pub hex: bool,
    /// The value in other words, for text: "512 KiB".
    pub meaning: Option<String>,
    /// Its bits, for text: a line each.
    pub notes: Vec<String>,
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Up to 64 bits.
    Number(u64),
    /// 128 bits: a string in JSON and YAML.
    Wide(u128),
    /// Printable ASCII.
    Text(String),
    /// Yes or no.
    Flag(bool),
    /// Bytes that are shown as they are: in JSON and YAML a string of hexadecimal digits.
    Bytes(Vec<u8>),
    /// A structure in the structure.
    Object(Object),
    /// Several of a kind.
    List(Vec<Object>),
}

impl Object {
    /// One without fields.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One that begins with [`crate::SCHEMA`]: what is printed.
    #[must_use]
    pub fn page() -> Self {
        let mut page = Self::new();
        page.number("schema", crate::SCHEMA);
        page
    }

    fn add(&mut self, key: impl Into<Cow<'static, str>>, value: Value) -> &mut Field {
        let key = key.into();
        assert!(self.get(&key).is_none(), "{key} is there twice");
        self.fields.push(Field { key, value, hex: false, meaning: None, notes: Vec::new() });
        self.fields.last_mut().expect("it was pushed")
    }

    /// Adds a number that text shows in decimal.
    pub fn number(&mut self, key: impl Into<Cow<'static, str>>, value: impl Into<u64>) -> &mut Field {
        self.add(key, Value::Number(value.into()))
    }

    /// Adds a number that text shows in hexadecimal.
    pub fn hex(&mut self, key: impl Into<Cow<'static, str>>, value: impl Into<u64>) -> &mut Field {
        let field = self.number(key, value);
        field.hex = true;
        field
    }

    /// Adds a number of bits, which text explains.
    pub fn bits(&mut self, key: &'static str, value: impl Into<u64>, table: &[Bits]) -> &mut Field {
        let value = value.into();
        let field = self.hex(key, value);
        field.notes = bits::explain(value, table);
        field
    }

    /// Adds a number of 128 bits.
    pub fn wide(&mut self, key: &'static str, value: impl Into<u128>) -> &mut Field {
        self.add(key, Value::Wide(value.into()))
    }

    /// Adds a text; what is not printable ASCII becomes `?`.
    pub fn text(&mut self, key: impl Into<Cow<'static, str>>, value: &str) -> &mut Field {
        let clean = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { '?' };
        self.add(key, Value::Text(value.chars().map(clean).collect()))
    }

    /// Adds a field of ASCII letters with its padding; the zeros at its end are no letters.
    pub fn ascii(&mut self, key: impl Into<Cow<'static, str>>, field: &[u8]) -> &mut Field {
        let end = field.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        let letters: String = field[..end].iter().map(|&byte| char::from(byte)).collect();
        self.text(key, &letters)
    }

    /// Adds yes or no.
    pub fn flag(&mut self, key: &'static str, value: bool) -> &mut Field {
        self.add(key, Value::Flag(value))
    }

    /// Adds bytes that are shown as they are.
    pub fn bytes(&mut self, key: &'static str, value: &[u8]) -> &mut Field {
        self.add(key, Value::Bytes(value.to_vec()))
    }

    /// Adds an object.
    pub fn object(&mut self, key: impl Into<Cow<'static, str>>, value: Object) -> &mut Field {
        self.add(key, Value::Object(value))
    }

    /// Adds a list.
    pub fn list(&mut self, key: &'static str, value: impl IntoIterator<Item = Object>) -> &mut Field {
        self.add(key, Value::List(value.into_iter().collect()))
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.fields.iter().find(|field| field.key == key).map(|field| &field.value)
    }
}

impl Field {
    /// Says what the value means.
    pub fn means(&mut self, meaning: impl Into<String>) -> &mut Self {
        self.meaning = Some(meaning.into());
        self
    }

    /// Says what the value means, if that is known.
    pub fn may_mean(&mut self, meaning: Option<impl Into<String>>) -> &mut Self {
        self.meaning = meaning.map(Into::into);
        self
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.fields.len()))?;
        for field in &self.fields {
            map.serialize_entry(&field.key, &field.value)?;
        }
        map.end()
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_u64(*number),
            Self::Wide(number) => serializer.collect_str(number),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::Bytes(bytes) => serializer.serialize_str(&hex(bytes)),
            Self::Object(object) => object.serialize(serializer),
            Self::List(list) => {
                let mut seq = serializer.serialize_seq(Some(list.len()))?;
                list.iter().try_for_each(|object| seq.serialize_element(object))?;
                seq.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_the_order_of_the_structure() {
        let mut object = Object::page();
        object.hex("vid", 0x1b36_u16);
        object.wide("tnvmcap", u128::MAX);
        object.ascii("sn", b"a\x1bb \0\0");
        object.flag("yes", true);
        let mut item = Object::new();
        item.number("ms", 8_u64);
        object.list("lbafs", [item.clone(), Object::new()]);
        object.object("one", item);
        let json = serde_json::to_string(&object).expect("it is a tree");
        let expected = "{\"schema\":1,\"vid\":6966,\"tnvmcap\":\"340282366920938463463374607431768211455\",\
            \"sn\":\"a?b \",\"yes\":true,\"lbafs\":[{\"ms\":8},{}],\"one\":{\"ms\":8}}";
        assert_eq!(json, expected);
    }

    #[test]
    #[should_panic(expected = "sn is there twice")]
    fn a_key_is_there_once() {
        let mut object = Object::new();
        object.text("sn", "a");
        object.text("sn", "b");
    }
}
