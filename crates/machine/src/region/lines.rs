//! Persistent memory: bytes are durable when their cache lines are written back and a fence has waited for that.
//!
//! Which instruction writes back best is measured once, as what the processor names as best often is not: `clwb` keeps
//! the line in the cache and `clflushopt` drops it, and on some processors the first costs twice the second. Where the
//! platform empties the caches when the power goes (eADR) nothing is written back: the fence is enough.

use std::io;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::time::Instant;

use super::persist::{Durability, Persist, WriteBack};

/// Bytes that are written back at once.
const LINE_BYTES: usize = 64;
/// Lines and rounds that the instructions are compared by.
const TRIAL_LINES: usize = 256;
const TRIAL_ROUNDS: usize = 8;

/// See the module.
pub(super) struct Lines(WriteBack);

impl Lines {
    /// For caches that survive themselves.
    pub(super) const NEEDLESS: Self = Self(WriteBack::Needless);

    /// With the fastest instruction of this processor; `None` if it has none.
    pub(super) fn calibrated() -> Option<Self> {
        static FASTEST: OnceLock<Option<WriteBack>> = OnceLock::new();
        FASTEST.get_or_init(fastest).map(Self)
    }
}

impl Persist for Lines {
    fn durability(&self) -> Durability {
        Durability::Lines(self.0)
    }

    fn persist(&self, base: NonNull<u8>, range: Range<usize>) -> io::Result<()> {
        if self.0 != WriteBack::Needless && !range.is_empty() {
            write_back(self.0, base, range);
        }
        Ok(())
    }

    fn fence(&self, _base: NonNull<u8>) -> io::Result<()> {
        fence();
        Ok(())
    }
}

fn fastest() -> Option<WriteBack> {
    let mut trial = [[0u8; LINE_BYTES]; TRIAL_LINES];
    let mut time = |instruction: WriteBack| {
        let started = Instant::now();
        for round in 0..TRIAL_ROUNDS {
            trial.as_flattened_mut().fill(round as u8);
            write_back(instruction, NonNull::from(trial.as_flattened_mut()).cast(), 0..TRIAL_LINES * LINE_BYTES);
            fence();
        }
        started.elapsed()
    };
    instructions().into_iter().min_by_key(|instruction| time(*instruction))
}

#[cfg(not(target_arch = "x86_64"))]
mod processor {
    use super::{NonNull, Range, WriteBack};

    pub(super) fn instructions() -> Vec<WriteBack> {
        Vec::new()
    }

    pub(super) fn write_back(_: WriteBack, _: NonNull<u8>, _: Range<usize>) {
        unreachable!("no instruction was found")
    }

    pub(super) fn fence() {}
}

#[cfg(target_arch = "x86_64")]
mod processor {
    use std::arch::asm;
    use std::arch::x86_64::{__cpuid_count, _mm_sfence};

    use super::{LINE_BYTES, NonNull, Range, WriteBack};

    /// Those of this processor (Intel SDM, volume 2, CPUID leaf 7: EBX bits 23 and 24). `clflush` came with SSE2.
    pub(super) fn instructions() -> Vec<WriteBack> {
        let features = __cpuid_count(7, 0).ebx;
        let has = |bit: u32| features >> bit & 1 == 1;
        let all = [(has(24), WriteBack::Clwb), (has(23), WriteBack::Clflushopt), (true, WriteBack::Clflush)];
        all.into_iter().filter_map(|(has, instruction)| has.then_some(instruction)).collect()
    }

    pub(super) fn write_back(instruction: WriteBack, base: NonNull<u8>, range: Range<usize>) {
        let address = base.addr().get();
        let first = (address + range.start) / LINE_BYTES * LINE_BYTES;
        for line in (first..address + range.end).step_by(LINE_BYTES) {
            let line = base.as_ptr().with_addr(line);
            // SAFETY: the line has at least one byte of the range, which the caller has mapped; it is written back and
            // perhaps dropped from the cache, and its bytes stay what they are. The processor has the instruction.
            unsafe {
                match instruction {
                    WriteBack::Clwb => asm!("clwb [{}]", in(reg) line, options(nostack, preserves_flags)),
                    WriteBack::Clflushopt => asm!("clflushopt [{}]", in(reg) line, options(nostack, preserves_flags)),
                    WriteBack::Clflush => asm!("clflush [{}]", in(reg) line, options(nostack, preserves_flags)),
                    WriteBack::Needless => {}
                }
            }
        }
    }

    pub(super) fn fence() {
        // SAFETY: SSE is part of the architecture.
        unsafe { _mm_sfence() };
    }
}

use processor::{fence, instructions, write_back};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instruction_leaves_the_bytes_as_they_are() {
        let mut bytes = vec![0u8; 1000];
        for (round, instruction) in instructions().into_iter().enumerate() {
            bytes.fill(round as u8 + 1);
            write_back(instruction, NonNull::from(&mut bytes[..]).cast(), 3..997);
            fence();
            assert!(bytes.iter().all(|byte| *byte == round as u8 + 1), "{instruction:?}");
        }
        assert!(Lines::calibrated().is_none_or(|lines| lines.0 != WriteBack::Needless));
        assert_eq!(Lines::calibrated().is_some(), cfg!(target_arch = "x86_64"));
    }
}
