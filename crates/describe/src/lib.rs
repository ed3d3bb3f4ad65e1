//! Beside floor 1: what NVMe devices say of themselves, made readable.
//!
//! A structure that a device sent is read once, into one tree: an ordered list of fields, each with its key, its value
//! and what the value means. Everything that prints, prints that tree.
//!
//! ```text
//!   4,096 bytes ──▶ wire's view ──▶ Object ──┬─▶ text      aligned, units and bits explained
//!   of a device     checked         a tree   ├─▶ JSON      serde
//!                                            └─▶ YAML      the same keys and values
//! ```
//!
//! | module | structures |
//! |---|---|
//! | [`controller`] | Identify Controller, and what command sets add to it |
//! | [`namespace`] | Identify Namespace, and what command sets add to it |
//! | [`lists`] | the lists of Identify |
//! | [`resources`] | NVM sets, virtual controllers |
//! | [`zns`] | zoned namespaces |
//! | [`log`] | log pages, by name and number |
//! | [`feature`] | features, by name and number |
//!
//! *Keys and values* are those of `nvme -o json`, version 2.3, wherever it has them: a program that reads its output
//! reads ours. It knows fewer fields, so ours are a superset: `schema` comes first, the version of all that follows.
//! Fields are added without a new one; one that changes or goes makes a new one. Where ours differ on purpose:
//!
//! - Numbers of 32 and 64 bits are what they are; nvme-cli shows those with the highest bit set as negative.
//! - Numbers of 128 bits are strings, as there: readers of JSON keep no more than 53 bits of a number.
//! - Text fields keep their padding, but what is not printable ASCII becomes `?`: they are the device's words, and end
//!   up on somebody's terminal.
//! - Where nvme-cli wraps a page in an object named after the device node, ours has no wrapper. What is in it has
//!   sentences for keys with the firmware log and mere numbers with the changed namespaces; ours has the keys of their
//!   text, and a list.
//! - Where its keys are made of numbers (effects of commands and features, supported logs), ours are lists of objects.
//!
//! A device may be broken or hostile: no bytes make anything here panic, and counts in them are held against the bytes
//! that are there.
#![forbid(unsafe_code)]

mod bits;
pub mod controller;
pub mod feature;
pub mod limits;
pub mod lists;
pub mod log;
pub mod namespace;
pub mod resources;
mod text;
mod tree;
mod units;
mod yaml;
pub mod zns;

pub use text::to_text;
pub use tree::{Field, Object, Value};
pub use yaml::to_yaml;

/// Version of the objects that are printed.
pub const SCHEMA: u32 = 1;

/// What a structure is read from has fewer bytes than the structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Short {
    /// Bytes that the structure has, or its smallest form.
    pub needed: usize,
    /// Bytes that are there.
    pub given: usize,
}

impl std::fmt::Display for Short {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the structure has {} bytes, but only {} are there", self.needed, self.given)
    }
}

impl std::error::Error for Short {}

/// The structure at the beginning of the bytes.
fn view<T>(bytes: &[u8]) -> Result<&T, Short>
where
    T: zerocopy::FromBytes + zerocopy::KnownLayout + zerocopy::Immutable + zerocopy::Unaligned,
{
    let short = Short { needed: size_of::<T>(), given: bytes.len() };
    T::ref_from_prefix(bytes).map(|(view, _)| view).map_err(|_| short)
}
