//! The limits of the Redis protocol.

/// Longest line: an inline command, or one that counts arguments or bytes and has no end (`PROTO_INLINE_MAX_SIZE`).
pub const MAX_LINE_BYTES: usize = 64 << 10;
/// Most arguments that a client may announce (`INT_MAX`).
pub const MAX_ARGUMENTS: i64 = i32::MAX as i64;
/// Most bytes that an argument may be announced with (`proto-max-bulk-len`).
pub const MAX_BULK_BYTES: i64 = 512 << 20;
/// An argument of up to so many bytes is waited for. Of a larger one, what is in front of it may be told first.
pub const MAX_AWAITED_BYTES: usize = 16 << 10;
/// Most arguments of a client that has not said who it is.
pub const MAX_STRANGER_ARGUMENTS: i64 = 10;
/// Most bytes of an argument of such a client.
pub const MAX_STRANGER_BULK_BYTES: i64 = 16 << 10;
/// Shortest argument: `$0\r\n\r\n`.
pub const MIN_ARGUMENT_BYTES: usize = 6;
/// Longest number of 64 bits, with its sign.
pub const MAX_NUMBER_BYTES: usize = 20;
