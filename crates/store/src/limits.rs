//! Every limit of the store, in one place.

/// Longest key: what a Redis client may use here. A memcached client is held to 250 by its protocol.
pub const MAX_KEY_BYTES: usize = 65_535;
/// Longest value.
pub const MAX_VALUE_BYTES: usize = 8 << 20;
/// Most bytes of an item beside its key and value.
pub const MAX_HEADER_BYTES: usize = 64;
/// Largest item: with key and header.
pub const MAX_ITEM_BYTES: usize = MAX_VALUE_BYTES + MAX_KEY_BYTES + MAX_HEADER_BYTES;
/// An item takes at most this part of a store. The table, which does not shrink, takes a little more than half of a
/// store of the smallest items; a run of a quarter can be made of the rest, whatever lies there.
pub const ITEM_SHARE: usize = 4;

/// Bytes of a segment: enough of them for all chains in a small store ...
pub const MIN_SEGMENT_BYTES: usize = 16 << 10;
/// ... and long runs of appended bytes in a large one. Offsets in the table have 20 bits.
pub const MAX_SEGMENT_BYTES: usize = 1 << 20;
/// Segments that a store is to have at least, if they are not to be smaller than [`MIN_SEGMENT_BYTES`].
pub const SEGMENTS_WANTED: usize = 2048;
/// Segments of the smallest store: a table, one chain and its merge.
pub const MIN_SEGMENTS: usize = 16;
/// Numbers of segments have 24 bits in the table.
pub const MAX_SEGMENTS: usize = 1 << 24;
/// Where the items of a segment begin: in the table, offsets 0 and 1 mean other things.
pub const ITEMS_START: usize = 2;

/// What the directory of a pool has of each segment.
pub const DIRECTORY_ENTRY_BYTES: usize = 32;
/// Stores that one pool is for: reactors.
pub const MAX_PARTS: usize = 256;
/// Pages of a pool: what is written to one place of it alone has one of its own.
pub const POOL_PAGE_BYTES: usize = 4096;
/// Items of a durable pool that are overwritten and not marked so yet; more wait for one more fence.
pub const MAX_PENDING_MARKS: usize = 1024;
/// Sequences and numbers of segments that a pool grants at once. Fewer than half of them are used between two commits.
pub const GRANTED_NUMBERS: u64 = 1 << 20;

/// Bytes of a bucket of the table: a cache line.
pub const BUCKET_BYTES: usize = 64;
/// Entries of a bucket; the last one leads on where there are more.
pub const BUCKET_SLOTS: usize = 8;
/// Items of a bucket and its chain on the average, before there is one bucket more. A hit finds its item in the first
/// line in most cases, and a table of longer chains has fewer empty entries: between 10 and 11 bytes for each item.
pub const ITEMS_PER_BUCKET: usize = 12;
/// The table begins with one bucket for so many bytes of the store.
pub const BYTES_PER_FIRST_BUCKET: usize = 16 << 10;
/// Bytes of an item that are fetched before they are asked for: two cache lines, the header and most keys.
pub const PREFETCHED_BYTES: usize = 128;
/// The table may double so often: each time takes a bit from what the tags tell apart.
pub const MAX_DOUBLINGS: u32 = 8;

/// Ages of evicted items, in seconds, that are told apart.
pub const AGE_BOUNDS: [u32; 11] = [1, 5, 15, 60, 300, 900, 3600, 14_400, 86_400, 604_800, 2_592_000];
/// Segments that are merged into one.
pub const MERGED: usize = 4;
/// S3-FIFO: what is new has this part of the segments, a tenth; ...
pub const NEW_SHARE: usize = 10;
/// ... an item must have been asked for so often to stay ...
pub const PROMOTED: u8 = 2;
/// ... and so many requests count for one that has stayed.
pub const MOST_COUNTED: u8 = 3;
/// Segments of a chain that are looked at for one turn, where runs and others lie between each other.
pub const TURN_SEGMENTS: usize = 16;
/// At most this part of a store is reserved for values that are still coming: half of it.
pub const RESERVED_SHARE: usize = 2;
/// Turns of eviction, beyond what makes enough room, in which a window without runs is hoped for.
pub const WINDOW_TURNS: usize = 8;
/// Segments that are kept free, to merge into.
pub const RESERVED_SEGMENTS: usize = 1;
/// S3-FIFO empties a segment in so many steps ...
pub const STEPS_PER_SEGMENT: usize = 64;
/// ... and begins as soon as fewer than this part of the segments, and one, are free beside those that are needed.
pub const AHEAD_SHARE: usize = 512;
/// Of a store that has so few left, for each byte that is written so many are emptied. Of main ones a quarter goes.
pub const EVICTION_PACE: usize = 4;
/// Bytes of items that have expired which one step gives back.
pub const EXPIRY_STEP_BYTES: usize = 64 << 10;
/// In a pool it is said of a segment how far it was emptied: in units of so many bytes.
pub const EMPTIED_UNIT: u32 = 64;

/// Chains of segments: eight for each doubling of the time to live, from a second to the end of 32 bits of seconds, and
/// the one of those that never expire.
pub const CHAINS: usize = 8 * 32 + 1;

const _: () = assert!(MAX_SEGMENT_BYTES <= 1 << 20 && MIN_SEGMENT_BYTES < MAX_SEGMENT_BYTES);
const _: () = assert!(BUCKET_BYTES == BUCKET_SLOTS * 8 && ITEMS_START >= 2);
const _: () = assert!(RESERVED_SEGMENTS + MERGED < MIN_SEGMENTS && MERGED <= TURN_SEGMENTS);
const _: () = assert!(MAX_SEGMENT_BYTES / STEPS_PER_SEGMENT <= EXPIRY_STEP_BYTES);
const _: () = assert!(MAX_SEGMENT_BYTES / (EMPTIED_UNIT as usize) < 1 << 15, "15 bits of the directory say it");
const _: () = assert!(RESERVED_SHARE <= ITEM_SHARE, "the largest item can be reserved");
const _: () = assert!(MAX_ITEM_BYTES < 1 << 24, "the size of a value has 24 bits");
const _: () = assert!(MAX_DOUBLINGS < 12, "a tag has 12 bits");
