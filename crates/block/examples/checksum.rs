//! Reads a device from its beginning to its end, many requests at once, and prints a sum over all of it.
//!
//! ```text
//! cargo run -p qpair-block --example checksum -- disk.img 64
//! ```
//!
//! The device may be any name that `qpair` takes; the number is how many requests are in flight.

use std::error::Error;

use qpair_block::{Channel, ChannelOptions, Done, Op, OpenOptions, Range, open};

/// A request's context: where its blocks are.
struct Part(Range);

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().ok_or("usage: checksum DEVICE [DEPTH]")?;
    let depth = arguments.next().map_or(Ok(32), |text| text.parse())?;
    let device = open(&name, &OpenOptions { read_only: true, depth: Some(depth), ..OpenOptions::default() })?;
    let mut channel = Channel::new(&ChannelOptions::for_device(&*device, depth))?;
    let disk = channel.attach(&*device)?;

    let (blocks, block_bytes) = (device.blocks(), device.info().block_bytes);
    let part_blocks = u64::from(device.info().max_transfer_bytes / block_bytes);
    let (mut next, mut sum, mut failed) = (0, 0_u64, 0);
    let mut submit = |channel: &mut Channel<Part>| {
        while next < blocks {
            let range = Range { lba: next, blocks: part_blocks.min(blocks - next) };
            let Some(mut buf) = channel.buffer() else { return };
            buf.set_len(range.blocks as usize * block_bytes as usize);
            if channel.submit(disk, Op::Read(range), Some(buf), Part(range)).is_err() {
                return;
            }
            next += range.blocks;
        }
    };
    submit(&mut channel);
    while channel.in_flight() > 0 {
        channel.wait(None, |channel, Done { context: Part(range), outcome, data, .. }| {
            match (outcome, data.one()) {
                // The parts come in any order: each counts by its place.
                (Ok(_), Some(buf)) => sum = sum.wrapping_add(part_sum(range.lba, &buf)),
                (Err(failure), _) => {
                    eprintln!("{} blocks from {}: {failure}", range.blocks, range.lba);
                    failed += 1;
                }
                (Ok(_), None) => unreachable!("a buffer comes back"),
            }
            submit(channel);
        })?;
    }
    println!("{sum:016x}  {name}  {blocks} blocks of {block_bytes} bytes, {failed} parts failed");
    if failed == 0 { Ok(()) } else { Err("not everything could be read".into()) }
}

/// A part's share of the sum: FNV-1a over its bytes, from a start that its place gives.
fn part_sum(lba: u64, bytes: &[u8]) -> u64 {
    let mut sum = lba ^ 0xcbf2_9ce4_8422_2325;
    for byte in bytes {
        sum = (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    sum
}
