//! What the slot map costs per operation, beside a plain copy of the same bytes: `cargo run --release --example
//! slot_cost`.
//!
//! One reactor, a 512 MiB disk of 4 KiB slots, passes of 32 operations. Prints nanoseconds per operation, begin and
//! end of its pass included: the median of many short runs, so that a neighbour on the core shows little.

use std::collections::VecDeque;
use std::hint::black_box;
use std::io;
use std::time::Instant;

use qpair_machine::region::{Lent, SlotHandle, SlotMap};

const SLOT: usize = 4096;
const SLOTS: usize = (512 << 20) / SLOT;
const PASS: usize = 32;
const RUNS: usize = 2000;

/// Numbers that cost nothing to find (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

/// Runs `work` many times and prints the median time of one of the `operations` in it.
fn measure(what: &str, operations: usize, mut work: impl FnMut()) {
    let mut times = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let start = Instant::now();
        work();
        times.push(start.elapsed().as_nanos() as f64 / operations as f64);
    }
    times.sort_by(f64::total_cmp);
    println!("{what:40} {:8.1} ns", times[RUNS / 2]);
}

fn measure_lending(handle: &mut SlotHandle, random: &mut Random) {
    let mut out: VecDeque<Lent> = VecDeque::with_capacity(PASS * 32);
    measure("begin + end", 1000, || {
        for _ in 0..1000 {
            handle.begin();
            handle.end();
        }
    });
    measure("lend + return, one slot", 32 * PASS, || {
        for _ in 0..32 {
            handle.begin();
            for _ in 0..PASS {
                black_box(handle.lend(black_box(7), 0..SLOT));
            }
            handle.end();
        }
    });
    measure("lend 32 random slots, return in next pass", 32 * PASS, || {
        for _ in 0..32 {
            handle.begin();
            out.clear();
            out.extend((0..PASS).map(|_| handle.lend(random.below(SLOTS), 0..SLOT)));
            handle.end();
        }
    });
    out.clear();
    measure("lend + return 128 KiB", 32, || {
        for _ in 0..32 {
            handle.begin();
            handle.lend_run(random.below(SLOTS / 32) * 32, 0..32 * SLOT, &mut out);
            black_box(&mut out).clear();
            handle.end();
        }
    });
}

fn measure_writing(handle: &mut SlotHandle, random: &mut Random, block: &[u8]) {
    for (what, at, bytes) in
        [("write 4 KiB", 0, SLOT), ("write 512 bytes of a slot of 4 KiB", 512, 512), ("write 128 KiB", 0, 32 * SLOT)]
    {
        let step = (at + bytes).div_ceil(SLOT);
        measure(what, PASS, || {
            handle.begin();
            for _ in 0..PASS {
                let place = random.below(SLOTS / step) * step * SLOT + at;
                handle.write_run(place, &block[..bytes]).expect("plenty of spare slots");
            }
            handle.end();
        });
    }
}

fn measure_plain_copies(random: &mut Random, block: &[u8]) {
    let mut plain = vec![1_u8; SLOTS * SLOT];
    for (what, bytes) in [("plain copy of 4 KiB", SLOT), ("plain copy of 128 KiB", 32 * SLOT)] {
        measure(what, PASS, || {
            for _ in 0..PASS {
                let place = random.below(SLOTS * SLOT / bytes) * bytes;
                black_box(&mut plain[place..place + bytes]).copy_from_slice(black_box(&block[..bytes]));
            }
        });
    }
}

fn main() -> io::Result<()> {
    let map = SlotMap::new(SLOTS, SLOT, 8192)?;
    let mut handle = map.handle();
    let mut random = Random(88_172_645_463_325_252);
    let block = vec![1; 32 * SLOT];
    for place in (0..SLOTS * SLOT).step_by(block.len()) {
        handle.begin();
        handle.write_run(place, &block).expect("plenty of spare slots");
        handle.end();
    }
    measure_lending(&mut handle, &mut random);
    measure_writing(&mut handle, &mut random, &block);
    measure_plain_copies(&mut random, &block);
    println!("{map:?}");
    Ok(())
}
