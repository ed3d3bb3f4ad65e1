//! Fixed buffers that requests carry: taken, moved from owner to owner, and back in the pool when dropped.
//!
//! ```text
//!     region  | buffer 0    | buffer 1    | buffer 2    |     each starts at a multiple of 4096
//!     links        2             -             1              free list: head -> 0 -> 2 -> 1
//! ```
//!
//! A pool belongs to one thread and counts without atomics. The list is last in, first out: what comes next is what is
//! warm in the cache. Buffers that were never taken were never touched and cost no memory.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::rc::Rc;
use std::slice;

use super::Region;
use crate::limits::{BUFFER_ALIGN, MAX_POOL_BUFFERS, RINGS_OF_POOL};

/// Marks the end of the free list.
const END: u32 = u32::MAX;

/// A fixed set of equal buffers. Clones are the same pool.
#[derive(Clone)]
pub struct Pool(Rc<Inner>);

struct Inner {
    region: Region,
    buffer_bytes: usize,
    /// From the start of one buffer to that of the next.
    stride: usize,
    /// The free buffer after this one; meaningless for buffers that are out.
    links: Box<[Cell<u32>]>,
    head: Cell<u32>,
    free: Cell<usize>,
    /// The rings that have the memory registered, and its number there; the last one first.
    registered: Registrations,
}

impl Pool {
    /// As many buffers of `buffer_bytes` as fit into the region, each at a multiple of 4096 bytes.
    ///
    /// # Panics
    /// If `buffer_bytes` is zero, or so small that there would be more than [`MAX_POOL_BUFFERS`].
    #[must_use]
    pub fn new(region: Region, buffer_bytes: usize) -> Self {
        assert!(buffer_bytes > 0, "a pool of empty buffers");
        let stride = buffer_bytes.checked_next_multiple_of(BUFFER_ALIGN).expect("a buffer that fits into memory");
        // The last buffer needs its bytes only, not the padding after them.
        let count = (region.len() + stride - buffer_bytes) / stride;
        assert!(count <= MAX_POOL_BUFFERS, "{count} buffers are more than {MAX_POOL_BUFFERS}");
        let links = (1..=count as u32).map(|next| Cell::new(if next as usize == count { END } else { next }));
        let head = Cell::new(if count == 0 { END } else { 0 });
        let (links, free, registered) = (links.collect(), Cell::new(count), Registrations::default());
        Self(Rc::new(Inner { region, buffer_bytes, stride, links, head, free, registered }))
    }

    /// A pool of `count` buffers of `buffer_bytes` in anonymous memory.
    ///
    /// # Errors
    /// Those of [`Region::anonymous`]; no buffers, or empty ones, are an `InvalidInput`.
    ///
    /// # Panics
    /// If `count` is more than [`MAX_POOL_BUFFERS`].
    pub fn anonymous(buffer_bytes: usize, count: usize) -> io::Result<Self> {
        let stride = buffer_bytes.checked_next_multiple_of(BUFFER_ALIGN);
        let bytes = stride.and_then(|stride| stride.checked_mul(count)).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self::new(Region::anonymous(bytes)?, buffer_bytes))
    }

    /// A buffer, with all of its capacity as its length. Its bytes are zeros or what its last owner left in it.
    #[must_use]
    pub fn take(&self) -> Option<Buf> {
        let index = self.0.head.get();
        if index == END {
            return None;
        }
        self.0.head.set(self.0.links[index as usize].get());
        self.0.free.set(self.0.free.get() - 1);
        // SAFETY: index < count, so that the buffer lies in the region.
        let start = unsafe { self.0.region.base().add(index as usize * self.0.stride) };
        Some(Buf { start, len: self.0.buffer_bytes, pool: Rc::clone(&self.0), index })
    }

    /// Buffers that can be taken now.
    #[must_use]
    pub fn free(&self) -> usize {
        self.0.free.get()
    }

    /// Buffers in all.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.links.len()
    }

    /// Bytes of each buffer.
    #[must_use]
    pub fn buffer_bytes(&self) -> usize {
        self.0.buffer_bytes
    }

    /// The number under which a ring has the memory registered.
    pub(crate) fn registered(&self, ring: u32) -> Option<u16> {
        self.0.registered.of(ring)
    }

    /// Notes that a ring has registered the memory. The ring keeps the pool as long.
    pub(crate) fn set_registered(&self, ring: u32, number: u16) {
        self.0.registered.add(ring, number);
    }

    /// The memory that the buffers lie in.
    #[must_use]
    pub fn region(&self) -> &Region {
        &self.0.region
    }
}

/// By ring, the number of a pool there: a thread has an ordinary ring and those that poll. Rings that are gone are
/// forgotten when there are new ones.
#[derive(Default)]
struct Registrations([Cell<Option<(u32, u16)>>; RINGS_OF_POOL]);

impl Registrations {
    fn of(&self, ring: u32) -> Option<u16> {
        self.0.iter().find_map(|known| known.get().filter(|known| known.0 == ring)).map(|known| known.1)
    }

    fn add(&self, ring: u32, number: u16) {
        let mut next = Some((ring, number));
        self.0.iter().for_each(|known| next = known.replace(next));
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({} of {} free, {} bytes each)", self.free(), self.count(), self.buffer_bytes())
    }
}

/// A buffer of a [`Pool`], page-aligned and never elsewhere. Dropping it gives it back; it keeps its pool alive.
pub struct Buf {
    start: NonNull<u8>,
    len: usize,
    pool: Rc<Inner>,
    index: u32,
}

const _: () = assert!(size_of::<Buf>() == 32 && size_of::<Option<Buf>>() == 32);

impl Buf {
    /// Bytes in use: what it derefs to.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no byte is in use.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The most bytes it can hold.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.pool.buffer_bytes
    }

    /// Changes how many bytes are in use. Those that come in are zeros or old bytes of the buffer.
    ///
    /// # Panics
    /// If `len` is more than the capacity.
    pub fn set_len(&mut self, len: usize) {
        assert!(len <= self.capacity(), "{len} bytes in a buffer of {}", self.capacity());
        self.len = len;
    }

    /// The pool that it goes back to.
    #[cfg(target_os = "linux")]
    pub(crate) fn pool(&self) -> Pool {
        Pool(Rc::clone(&self.pool))
    }

    /// Whether it goes back to `pool`.
    #[cfg(target_os = "linux")]
    pub(crate) fn is_of(&self, pool: &Pool) -> bool {
        Rc::ptr_eq(&self.pool, &pool.0)
    }

    /// The number under which a ring has the memory of this buffer registered.
    #[cfg(target_os = "linux")]
    pub(crate) fn registered(&self, ring: u32) -> Option<u16> {
        self.pool.registered.of(ring)
    }

    /// The bytes in use as a raw slice that may go to another thread or to the kernel. Safe, as it only points: see
    /// [`RawBytes`] for what must hold while somebody uses it.
    pub(crate) fn raw(&mut self) -> RawBytes {
        RawBytes { start: self.start, len: self.len }
    }
}

impl Deref for Buf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `start` and `len` <= capacity are a buffer inside of the region, which `pool` keeps mapped; its
        // memory is always initialised; this Buf is its only owner (the index is not in the free list), so `&self`
        // borrows it.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for Buf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `deref`, and `&mut self` makes the borrow exclusive.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Buf {
    fn drop(&mut self) {
        self.pool.links[self.index as usize].set(self.pool.head.get());
        self.pool.head.set(self.index);
        self.pool.free.set(self.pool.free.get() + 1);
    }
}

impl fmt::Debug for Buf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buf({} of {} bytes)", self.len, self.capacity())
    }
}

/// The bytes of a [`Buf`] by address, for whoever works on them while the Buf itself stays put: a worker thread, or the
/// kernel.
///
/// The Buf is kept in a table from [`Buf::raw`] until the work is known to be over (a message from the worker, a
/// completion from the kernel). Until then nobody derefs, drops or hands out that Buf. If the table must go earlier, it
/// waits for the work or leaks the Buf.
#[repr(C)]
pub(crate) struct RawBytes {
    start: NonNull<u8>,
    len: usize,
}

/// A list of them is a list of `struct iovec` for the kernel.
#[cfg(unix)]
const _: () = {
    use std::mem::offset_of;
    assert!(size_of::<RawBytes>() == size_of::<libc::iovec>() && align_of::<RawBytes>() == align_of::<libc::iovec>());
    assert!(offset_of!(RawBytes, start) == offset_of!(libc::iovec, iov_base));
    assert!(offset_of!(RawBytes, len) == offset_of!(libc::iovec, iov_len));
};

// SAFETY: only an address and a length. Turning it into bytes is unsafe and asks for exclusiveness there.
unsafe impl Send for RawBytes {}

impl RawBytes {
    /// Those behind the first `count`.
    pub(crate) fn after(self, count: usize) -> Self {
        assert!(count <= self.len, "{count} of {} bytes", self.len);
        // SAFETY: `count` is not beyond the end of the buffer.
        Self { start: unsafe { self.start.add(count) }, len: self.len - count }
    }

    /// The bytes.
    ///
    /// # Safety
    /// The Buf that this comes from is alive, and neither it nor another slice of its bytes is used while the result
    /// is.
    pub(crate) unsafe fn as_mut_slice<'a>(&mut self) -> &'a mut [u8] {
        // SAFETY: a Buf's bytes are mapped and initialised as long as it lives; the rest is the caller's promise.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_last_in_first_out_until_there_are_none() {
        let pool = Pool::anonymous(5000, 3).unwrap();
        assert_eq!((pool.free(), pool.count(), pool.buffer_bytes()), (3, 3, 5000));
        let (a, b, c) = (pool.take().unwrap(), pool.take().unwrap(), pool.take().unwrap());
        assert!(pool.take().is_none() && pool.free() == 0);
        let starts = [&a, &b, &c].map(|buf| buf.as_ptr().addr());
        assert!(starts.iter().all(|start| start % BUFFER_ALIGN == 0));
        assert_eq!((starts[1] - starts[0], starts[2] - starts[1]), (8192, 8192));
        drop(a);
        drop(c);
        assert_eq!(pool.free(), 2);
        let again = [pool.take().unwrap(), pool.take().unwrap()];
        assert_eq!([again[0].as_ptr().addr(), again[1].as_ptr().addr()], [starts[2], starts[0]]);
        assert!(pool.take().is_none());
        drop(b);
        assert_eq!(pool.take().unwrap().as_ptr().addr(), starts[1]);
    }

    #[test]
    fn bytes_start_as_zeros_and_stay_with_the_buffer() {
        let pool = Pool::anonymous(4096, 1).unwrap();
        let mut buf = pool.take().unwrap();
        assert_eq!((buf.len(), buf.capacity()), (4096, 4096));
        assert!(buf.iter().all(|byte| *byte == 0));
        buf.set_len(3);
        assert_eq!(*buf, [0; 3]);
        buf.copy_from_slice(b"abc");
        drop(buf);
        assert_eq!(pool.take().unwrap()[..4], *b"abc\0");
    }

    #[test]
    fn buffers_keep_their_memory_in_every_order_of_drops() {
        let pool = Pool::anonymous(4096, 4).unwrap();
        let clone = pool.clone();
        let mut first = pool.take().unwrap();
        let mut second = clone.take().unwrap();
        drop(pool);
        first.fill(1);
        drop(clone);
        second.fill(2);
        drop(first);
        assert!(second.iter().all(|byte| *byte == 2));
    }

    #[test]
    fn a_region_too_small_for_one_buffer_is_an_empty_pool() {
        let pool = Pool::new(Region::anonymous(4095).unwrap(), 4096);
        assert!(pool.take().is_none() && pool.count() == 0);
        assert_eq!(Pool::new(Region::anonymous(4096 + 100).unwrap(), 100).count(), 2);
        assert_eq!(Pool::new(Region::anonymous(4096 + 99).unwrap(), 100).count(), 1);
    }

    #[test]
    fn a_worker_fills_a_buffer_by_address() {
        let pool = Pool::anonymous(4096, 1).unwrap();
        let mut buf = pool.take().unwrap();
        buf.set_len(512);
        let mut raw = buf.raw();
        // SAFETY: `buf` lives on and is not touched until the thread has ended.
        std::thread::spawn(move || unsafe { raw.as_mut_slice() }.fill(9)).join().unwrap();
        buf.set_len(513);
        assert!(buf[..512].iter().all(|byte| *byte == 9) && buf[512] == 0);
    }

    #[test]
    #[should_panic = "4097 bytes in a buffer of 4096"]
    fn a_length_beyond_the_capacity_is_a_bug() {
        Pool::anonymous(4096, 1).unwrap().take().unwrap().set_len(4097);
    }
}
