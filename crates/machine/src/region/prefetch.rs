//! A hint to the processor that bytes will be needed soon, so that fetching them overlaps with other work.

use std::ptr::NonNull;

/// Bytes that one hint fetches.
const LINE_BYTES: usize = 64;

/// Hints that `bytes` bytes from `start` will be read. It changes nothing that a program could see.
#[inline]
pub(super) fn prefetch(start: NonNull<u8>, bytes: usize) {
    for offset in (0..bytes).step_by(LINE_BYTES) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch reads nothing and cannot fault, whatever the address; SSE is part of the architecture.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(start.as_ptr().wrapping_add(offset).cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (start, offset);
    }
}
