//! What a channel adds to a queue: CPU time of a command from submit to handler, on a device that does nothing.
//!
//! ```text
//! cargo run --release -p qpair-block --example channel_cost
//! ```
//!
//! Both do the same: as many writes as the depth, each with a buffer, kick, poll, and again for each that has ended.
//! They run in turns; the figures are medians of the rounds, in nanoseconds of this thread's CPU time.
//!
//! `channel_cost queue|channel DEPTH COMMANDS` carries out so many commands by one of them and says nothing, for
//! programs that count instructions (`cargo xtask test --only instructions`).

use std::error::Error;

use machine::os;
use machine::region::{Buf, Pool};
use machine::ring::Ring;
use qpair_block::{
    Channel, ChannelOptions, Completions, Data, Device, Op, OpenOptions, Range, Request, Returned, open,
};

const COMMANDS: usize = 2_000_000;
const ROUNDS: usize = 7;
const BYTES: usize = 4096;
const WRITE: Op = Op::Write { range: Range { lba: 0, blocks: (BYTES / 512) as u64 }, fua: false };

fn main() -> Result<(), Box<dyn Error>> {
    let device = open("null:1GiB", &OpenOptions::default())?;
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [way, depth, commands] = &words[..] {
        return once(&*device, way, depth.parse()?, commands.parse()?);
    }
    println!("depth  queue  channel  difference, ns of CPU for a command");
    for depth in [1, 4, 16, 64] {
        let mut rounds: Vec<(f64, f64)> = Vec::new();
        for _ in 0..ROUNDS {
            rounds.push((by_queue(&*device, depth, COMMANDS)?, by_channel(&*device, depth, COMMANDS)?));
        }
        let median = |pick: fn(&(f64, f64)) -> f64| {
            let mut figures: Vec<f64> = rounds.iter().map(pick).collect();
            figures.sort_by(f64::total_cmp);
            figures[ROUNDS / 2]
        };
        let (queue, channel) = (median(|round| round.0), median(|round| round.1));
        println!("{depth:5}  {queue:5.1}  {channel:7.1}  {:10.1}", channel - queue);
    }
    Ok(())
}

/// One way, without a figure.
fn once(device: &dyn Device, way: &str, depth: usize, commands: usize) -> Result<(), Box<dyn Error>> {
    match way {
        "queue" => by_queue(device, depth, commands)?,
        "channel" => by_channel(device, depth, commands)?,
        _ => return Err(format!("there is no way '{way}': there are queue and channel").into()),
    };
    Ok(())
}

/// Runs something that does so many commands; nanoseconds of CPU time for each.
fn cost(commands: usize, work: impl FnOnce()) -> f64 {
    let before = os::thread_usage();
    work();
    let after = os::thread_usage();
    let spent = after.user + after.system - before.user - before.system;
    spent.as_nanos() as f64 / commands as f64
}

fn by_queue(device: &dyn Device, depth: usize, commands: usize) -> Result<f64, Box<dyn Error>> {
    let mut ring = Ring::new()?;
    let mut queue = device.open_queue(&mut ring)?;
    let pool = Pool::anonymous(BYTES, depth)?;
    let mut free: Vec<Buf> = (0..depth).filter_map(|_| pool.take()).collect();
    let mut completions = Completions::default();
    Ok(cost(commands, || {
        let mut ended = 0;
        while ended < commands {
            queue.begin();
            while let Some(buf) = free.pop() {
                let request = Request { tag: free.len() as u64, op: WRITE, data: Data::Carried(buf) };
                assert!(queue.submit(&mut ring, request).is_ok());
            }
            queue.kick(&mut ring);
            queue.poll(&mut ring, &mut completions);
            queue.end();
            for completion in completions.list.drain(..) {
                assert_eq!(completion.outcome, Ok(()));
                let Returned::Carried(buf) = completion.data else { unreachable!("it carried one") };
                free.push(buf);
                ended += 1;
            }
        }
    }))
}

fn by_channel(device: &dyn Device, depth: usize, commands: usize) -> Result<f64, Box<dyn Error>> {
    let mut channel = Channel::<u32>::new(&ChannelOptions { buffer_bytes: BYTES, depth, ..ChannelOptions::default() })?;
    let port = channel.attach(device)?;
    Ok(cost(commands, || {
        let mut ended = 0;
        for context in 0..depth as u32 {
            let buf = channel.buffer();
            assert!(channel.submit(port, WRITE, buf, context).is_ok());
        }
        while ended < commands {
            ended += channel.poll(|channel, done| {
                assert_eq!(done.outcome, Ok(0));
                assert!(channel.submit(port, WRITE, done.data, done.context).is_ok());
            });
        }
    }))
}
