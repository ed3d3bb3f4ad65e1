//! The limits of NVMe/TCP, of the specification and of this implementation, in one place.

/// Most commands in flight on one queue: the depth of a slot table. Ten bits of the host's command identifier.
pub const MAX_QUEUE_DEPTH: u16 = 1024;

/// In-capsule data that every Admin queue and every Fabrics command may carry, in bytes, whatever IOCCSZ says.
pub const ADMIN_IN_CAPSULE_BYTES: u32 = 8192;

/// The most in-capsule data that an I/O queue may be set up for, in bytes: a capsule is received as one piece.
pub const MAX_IN_CAPSULE_BYTES: u32 = 64 * 1024;

/// The least value of MAXH2CDATA, in bytes; it is a multiple of [`H2C_GRANULARITY`] as well.
pub const MIN_MAX_H2C_BYTES: u32 = 4096;

/// MAXH2CDATA is a multiple of this many bytes.
pub const H2C_GRANULARITY: u32 = 4;

/// The most data that our host puts into one H2CData, in bytes, should a controller allow more.
pub const MAX_H2C_BYTES: u32 = 1 << 30;

/// The largest HPDA: data offsets are aligned to (HPDA + 1) x 4 bytes, so to 128 at most.
pub const MAX_HPDA: u8 = 31;

/// A term request quotes at most this many bytes of the header that it complains about.
pub const MAX_QUOTED_BYTES: usize = 128;

/// Length of a header digest and of a data digest, in bytes.
pub const DIGEST_BYTES: usize = 4;

const _: () = {
    assert!(MAX_QUEUE_DEPTH.is_power_of_two(), "slot and generation share the command identifier");
    assert!(MAX_IN_CAPSULE_BYTES >= ADMIN_IN_CAPSULE_BYTES);
    assert!(MAX_H2C_BYTES.is_multiple_of(H2C_GRANULARITY) && MAX_H2C_BYTES >= MIN_MAX_H2C_BYTES);
    assert!(MIN_MAX_H2C_BYTES.is_multiple_of(H2C_GRANULARITY));
    // The data offset is one byte: the largest is the common header's 24 bytes and a digest, rounded up to 128.
    assert!((MAX_HPDA as usize + 1) * 4 <= u8::MAX as usize);
};
