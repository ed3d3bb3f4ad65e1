//! The limits of the memcached protocol.

/// Longest key.
pub const MAX_KEY_BYTES: usize = 250;
/// Longest line of a get, which may name many keys.
pub const MAX_GET_LINE_BYTES: usize = 64 << 10;
/// Longest line of all others.
pub const MAX_LINE_BYTES: usize = 2 << 10;
/// A value of up to so many bytes is waited for. Of a larger one the line is told of first.
pub const MAX_AWAITED_BYTES: usize = 16 << 10;
/// An expiry up to this many seconds counts from now; a larger one from 1970.
pub const MAX_RELATIVE_SECONDS: i64 = 60 * 60 * 24 * 30;
/// Words of a meta command, all of them: so many are too many.
pub const MAX_META_WORDS: usize = 20;
/// Longest opaque flag, with its letter.
pub const MAX_OPAQUE_BYTES: usize = 32;
