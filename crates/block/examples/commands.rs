//! Every block request, and native NVMe commands for what no block request can say. OVERWRITES the beginning of the
//! device.
//!
//! ```text
//! cargo run -p qpair-block --example commands -- requests /dev/ng0n1
//! cargo run -p qpair-block --example commands -- metadata /dev/ng0n1
//! cargo run -p qpair-block --example commands -- append /dev/ng0n1
//! ```
//!
//! - `requests`: write, compare, copy, verify, write zeroes, deallocate, flush, of any device; what it does not have is
//!   told.
//! - `metadata`: blocks with metadata of their own, behind each block's data.
//! - `append`: zone appends, 32 at once; the device says where each one went, and there it is.
//!
//! The lab runs all of it on emulated drives (`lab/tests/passthru.sh`), and the first on block devices (`blocks.sh`).

use std::error::Error;

use qpair_block::channel::{Native, Port};
use qpair_block::{Channel, ChannelOptions, Device, Done, Failure, Op, OpenOptions, Range, open};
use wire::nvme::Sqe;
use wire::nvme::zns::{self, action};

type Outcome = Result<(), Box<dyn Error>>;

/// Blocks that each part writes and reads.
const BLOCKS: u32 = 4;
/// Zone appends in flight, and all together.
const APPENDS: usize = 32;
const ALL_APPENDS: u64 = 256;

fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: commands requests|metadata|append DEVICE";
    let (what, name) = (arguments.next().ok_or(usage)?, arguments.next().ok_or(usage)?);
    let device = open(&name, &OpenOptions::default())?;
    let nsid = device.nvme().and_then(|nvme| nvme.nsid());
    let options = ChannelOptions { buffers: Some(2 * APPENDS), ..ChannelOptions::for_device(&*device, APPENDS) };
    let mut channel = Channel::new(&options)?;
    let port = channel.attach(&*device)?;
    let block_bytes = device.info().block_bytes as usize;
    let mut drive = Drive { device: &*device, channel: &mut channel, port, nsid: nsid.unwrap_or(0), block_bytes };
    match what.as_str() {
        "requests" => drive.requests(),
        _ if nsid.is_none() => Err("this is no NVMe namespace".into()),
        "metadata" => drive.metadata(),
        "append" => drive.append(),
        _ => Err(usage.into()),
    }
}

/// A namespace, and the way to it.
struct Drive<'a> {
    device: &'a dyn Device,
    channel: &'a mut Channel<u64>,
    port: Port,
    nsid: u32,
    block_bytes: usize,
}

impl Drive<'_> {
    /// One command and its end.
    fn call(&mut self, sqe: Sqe, data: Option<&[u8]>, metadata: Option<&[u8]>) -> Result<Done<()>, Box<dyn Error>> {
        let buffer = |bytes: Option<&[u8]>| {
            let Some(bytes) = bytes else { return Ok(None) };
            let mut buf = self.channel.buffer().ok_or("no buffer left")?;
            buf.set_len(bytes.len());
            buf.copy_from_slice(bytes);
            Ok::<_, Box<dyn Error>>(Some(buf))
        };
        let native = Native { sqe, data: buffer(data)?.into(), metadata: buffer(metadata)?, timeout: None };
        self.channel.call_native(self.port, native).map_err(|_| "the device takes no native commands".into())
    }

    /// One block request and its end; with `bytes` for its buffer.
    fn ask(&mut self, op: Op, bytes: Option<&[u8]>) -> Result<Done<()>, Box<dyn Error>> {
        let mut buf = None;
        if let Some(bytes) = bytes {
            let taken = buf.insert(self.channel.buffer().ok_or("no buffer left")?);
            taken.set_len(bytes.len());
            taken.copy_from_slice(bytes);
        }
        Ok(self.channel.call(self.port, op, buf))
    }

    /// Whether the blocks have these bytes.
    fn holds(&mut self, range: Range, bytes: &[u8]) -> Result<bool, Box<dyn Error>> {
        let done = self.ask(Op::Read(range), Some(&vec![!bytes[0]; bytes.len()]))?;
        done.outcome?;
        Ok(done.data.holds(bytes))
    }

    fn requests(&mut self) -> Outcome {
        let (features, four) = (self.device.info().features, Range { lba: 0, blocks: 4 });
        let bytes: Vec<u8> = (0..4).flat_map(|at| self.pattern(at)).collect();
        let mut others = bytes.clone();
        others[3] ^= 1;
        self.ask(Op::Write { range: four, fua: true }, Some(&bytes))?.outcome?;
        self.ask(Op::Flush, None)?.outcome?;
        assert!(self.holds(four, &bytes)?);
        let mut done = vec!["write", "flush", "read"];
        if features.compare {
            self.ask(Op::Compare(four), Some(&bytes))?.outcome?;
            assert_eq!(self.ask(Op::Compare(four), Some(&others))?.outcome, Err(Failure::Miscompare));
            done.push("compare");
        }
        if features.verify {
            self.ask(Op::Verify(four), None)?.outcome?;
            done.push("verify");
        }
        if features.copy.is_some() {
            let to = Range { lba: 8, ..four };
            let sources = [Range { lba: 2, blocks: 2 }, Range { lba: 0, blocks: 2 }];
            self.channel.copy(self.port, &sources, to, false, 0).map_err(|_| "no room")?;
            let mut outcome = Ok(0);
            self.channel.drain(|_, done| outcome = done.outcome)?;
            outcome?;
            let (front, back) = bytes.split_at(bytes.len() / 2);
            assert!(self.holds(to, &[back, front].concat())?);
            done.push("copy");
        }
        self.ask(Op::WriteZeroes { range: four, fua: false, deallocate: false }, None)?.outcome?;
        assert!(self.holds(four, &vec![0; bytes.len()])?);
        self.ask(Op::Deallocate(four), None)?.outcome?;
        let beyond = Range { lba: self.device.blocks(), blocks: 4 };
        assert_eq!(self.ask(Op::Read(beyond), Some(&bytes))?.outcome, Err(Failure::OutOfRange));
        println!("requests: {}, write zeroes, deallocate", done.join(", "));
        Ok(())
    }

    /// Bytes of a block that tell blocks and runs apart.
    fn pattern(&self, seed: u64) -> Vec<u8> {
        (0..self.block_bytes / 8).flat_map(|at| (seed ^ (at as u64) << 32).to_le_bytes()).collect()
    }

    fn metadata(&mut self) -> Outcome {
        const METADATA_BYTES: usize = 64;
        let slba = 4;
        let mut data = Vec::new();
        for at in 0..u64::from(BLOCKS) {
            data.extend(self.pattern(slba + at));
            data.extend([at as u8 + 1; METADATA_BYTES]);
        }
        self.call(Sqe::write(self.nsid, slba, BLOCKS, false), Some(&data), None)?.outcome?;
        let done = self.call(Sqe::read(self.nsid, slba, BLOCKS), Some(&vec![0; data.len()]), None)?;
        done.outcome?;
        assert!(done.data.holds(&data));
        // A buffer without room for the metadata does not go to the device.
        let short = vec![0; BLOCKS as usize * self.block_bytes];
        let refused = self.call(Sqe::read(self.nsid, slba, BLOCKS), Some(&short), None)?.outcome;
        assert_eq!(refused, Err(Failure::BadTransfer));
        println!("metadata: {BLOCKS} blocks came back with {METADATA_BYTES} bytes each");
        Ok(())
    }

    fn append(&mut self) -> Outcome {
        let reset = Sqe::zone_management_send(self.nsid, 0, action::RESET, false);
        self.call(reset, None, None)?.outcome?;
        // Where each one went, by what is in it.
        let mut places = vec![None; ALL_APPENDS as usize];
        let mut next = 0;
        while next < ALL_APPENDS || self.channel.in_flight() > 0 {
            while next < ALL_APPENDS && self.start_append(next)? {
                next += 1;
            }
            let mut failed = None;
            self.channel.wait(None, |_, Done { context, outcome, .. }| match outcome {
                Ok(lba) => places[context as usize] = Some(lba),
                Err(failure) => failed = Some(failure),
            })?;
            if let Some(failure) = failed {
                return Err(failure.into());
            }
        }
        let mut seen: Vec<u64> = places.iter().map(|place| place.expect("each has ended")).collect();
        for (number, &lba) in seen.clone().iter().enumerate() {
            let done = self.call(Sqe::read(self.nsid, lba, 1), Some(&vec![0; self.block_bytes]), None)?;
            done.outcome?;
            assert!(done.data.holds(&self.pattern(number as u64)), "append {number} at block {lba}");
        }
        seen.sort_unstable();
        assert!(seen.iter().copied().eq(0..ALL_APPENDS), "one block behind the other");
        self.report_says(ALL_APPENDS)?;
        println!("append: {ALL_APPENDS} blocks, {APPENDS} at once, each where the device said");
        Ok(())
    }

    /// Puts an append on its way; false if it has to wait for others.
    fn start_append(&mut self, number: u64) -> Result<bool, Box<dyn Error>> {
        if self.channel.in_flight() == APPENDS {
            return Ok(false);
        }
        let bytes = self.pattern(number);
        let mut buf = self.channel.buffer().ok_or("no buffer left")?;
        buf.set_len(bytes.len());
        buf.copy_from_slice(&bytes);
        let native = Native { sqe: Sqe::zone_append(self.nsid, 0, 1), data: buf.into(), metadata: None, timeout: None };
        self.channel.command(self.port, native, number).map_err(|untaken| format!("{:?}", untaken.why))?;
        Ok(true)
    }

    /// The first zone's write pointer, by a report of zones.
    fn report_says(&mut self, pointer: u64) -> Outcome {
        let bytes = 4096;
        let receive = Sqe::zone_report(self.nsid, 0, bytes, true);
        let done = self.call(receive, Some(&vec![0; bytes as usize]), None)?;
        done.outcome?;
        let page = done.data.one().ok_or("a buffer comes back")?;
        let report = zns::ZoneReport::new(&page, 0).ok_or("a whole header")?;
        let (first, _) = report.iter().next().ok_or("a zone")?;
        assert_eq!((first.zslba.get(), first.wp.get()), (0, pointer));
        assert!(self.device.blocks() >= first.zcap.get());
        Ok(())
    }
}
