//! Blocks with protection information of types 1 and 2 that we make and check, wherever in their metadata it lies.
//! OVERWRITES the beginning of the namespace.
//!
//! ```text
//! cargo run -p qpair-block --example protection -- /dev/ng0n1          also /dev/ng0n1,path=ioctl
//! ```
//!
//! What is ours comes back, with the rest of the metadata; the controller refuses a wrong guard and, asked to verify,
//! finds one that it was not asked to check before; what the controller makes by itself (PRACT), we find good.
//!
//! The lab runs it on emulated drives (`lab/tests/devices.sh`, `passthru.sh`).

use std::error::Error;

use qpair_block::channel::{Native, Port};
use qpair_block::{Channel, ChannelOptions, Device, Done, Failure, OpenOptions, Transfer, open};
use wire::nvme::protection::{Broken, Place, prinfo};
use wire::nvme::{IdentifyNamespace, Sqe, Status, cns};
use wire::zerocopy::{FromZeros, IntoBytes};

type Outcome = Result<(), Box<dyn Error>>;

/// The blocks that are written and read.
const SLBA: u64 = 8;
const BLOCKS: u32 = 4;
/// What the controller checks: the guard, and the reference tag, which is the block's number.
const CHECK: u8 = prinfo::CHECK_GUARD | prinfo::CHECK_REFERENCE;
/// FLBAS: the metadata lies behind the data of its block.
const INTERLEAVED: u8 = 1 << 4;

fn main() -> Outcome {
    let name = std::env::args().nth(1).ok_or("usage: protection DEVICE")?;
    let device = open(&name, &OpenOptions::default())?;
    let nvme = device.nvme().ok_or("this is no NVMe device")?;
    let nsid = nvme.nsid().ok_or("this is no NVMe namespace")?;
    let mut id = IdentifyNamespace::new_zeroed();
    nvme.admin(Sqe::identify(cns::NAMESPACE, nsid, 0, 0), Transfer::In(id.as_mut_bytes()))?;
    let place = Place::of(&id).ok_or("its blocks have no protection information")?;
    let mut channel = Channel::new(&ChannelOptions::for_device(&*device, 2))?;
    let port = channel.attach(&*device)?;
    let interleaved = id.flbas & INTERLEAVED != 0;
    let metadata_bytes = id.format().ms.get().into();
    Drive { device: &*device, channel, port, nsid, place, interleaved, metadata_bytes }.run()
}

/// A namespace with protection information, and the way to it.
struct Drive<'a> {
    device: &'a dyn Device,
    channel: Channel<()>,
    port: Port,
    nsid: u32,
    place: Place,
    interleaved: bool,
    metadata_bytes: usize,
}

/// A block and its metadata.
type Block = (Vec<u8>, Vec<u8>);

impl Drive<'_> {
    fn run(&mut self) -> Outcome {
        let write = Sqe::write(self.nsid, SLBA, BLOCKS, false);
        let blocks = self.blocks();
        self.call(write.with_protection(CHECK, SLBA as u32), &blocks)?.outcome?;
        assert!(self.read(CHECK)? == blocks, "blocks and metadata come back as they were");

        let guard = self.place.range().start;
        let mut wrong = blocks.clone();
        wrong[1].1[guard] ^= 1;
        self.refused(write.with_protection(CHECK, SLBA as u32), &wrong)?;
        // Not asked to look, the controller takes it, and finds it later.
        self.call(write, &wrong)?.outcome?;
        self.refused(Sqe::verify(self.nsid, SLBA, BLOCKS).with_protection(CHECK, SLBA as u32), &[])?;
        self.refused(Sqe::read(self.nsid, SLBA, BLOCKS).with_protection(CHECK, SLBA as u32), &wrong)?;
        assert!(self.read(0)? == wrong && self.check(&wrong).is_err());

        // Metadata counts where it lies before the information.
        let mut other = blocks.clone();
        let (first, last) = (0, self.metadata_bytes - 1);
        let covered = match (guard, self.metadata_bytes) {
            (_, 8) => None,
            (0, _) => Some((last, false)),
            _ => Some((first, true)),
        };
        if let Some((at, counts)) = covered {
            other[2].1[at] ^= 1;
            let ended = self.call(write.with_protection(CHECK, SLBA as u32), &other)?.outcome;
            assert_eq!(ended.is_err(), counts, "{ended:?}");
            assert_eq!(self.check(&other).is_err(), counts);
        }
        self.made_by_the_controller(write)?;
        let how = if self.interleaved { "interleaved" } else { "apart" };
        println!("protection: {BLOCKS} blocks, information at {guard} of {} bytes {how}", self.metadata_bytes);
        Ok(())
    }

    /// What the controller puts into the metadata (where it is nothing else, it is not even sent).
    fn made_by_the_controller(&mut self, write: Sqe) -> Outcome {
        let mut blocks = self.blocks();
        let range = self.place.range();
        let write = write.with_protection_by_controller(true);
        blocks.iter_mut().for_each(|(_, metadata)| metadata[range.clone()].fill(0));
        if self.metadata_bytes == range.len() {
            let bare: Vec<Block> = blocks.iter().map(|(data, _)| (data.clone(), Vec::new())).collect();
            self.call(write, &bare)?.outcome?;
        } else {
            self.call(write, &blocks)?.outcome?;
        }
        let back = self.read(CHECK)?;
        self.check(&back).map_err(|(at, broken)| format!("block {at} by the controller: {broken:?}"))?;
        for ((data, metadata), (wanted, around)) in back.iter().zip(&blocks) {
            let mut metadata = metadata.clone();
            metadata[range.clone()].fill(0);
            assert!(data == wanted && metadata == *around, "the rest is as it was");
        }
        Ok(())
    }

    /// Blocks that are told apart by data and by metadata, with their information.
    fn blocks(&self) -> Vec<Block> {
        let block = |lba: u64| {
            let words = 0..self.device.info().block_bytes as usize / 8;
            let data: Vec<u8> = words.flat_map(|at| (lba ^ (at as u64) << 32).to_le_bytes()).collect();
            let mut metadata: Vec<u8> = (0..self.metadata_bytes).map(|at| (lba as u8) ^ at as u8).collect();
            self.place.protect(&data, &mut metadata, 7, lba as u32);
            (data, metadata)
        };
        (SLBA..SLBA + u64::from(BLOCKS)).map(block).collect()
    }

    /// Checks them as the controller does.
    fn check(&self, blocks: &[Block]) -> Result<(), (usize, Broken)> {
        let references = SLBA as u32..;
        for (at, ((data, metadata), reference)) in blocks.iter().zip(references).enumerate() {
            self.place.check(data, metadata, reference).map_err(|broken| (at, broken))?;
        }
        Ok(())
    }

    /// The blocks as the controller has them.
    fn read(&mut self, prinfo: u8) -> Result<Vec<Block>, Box<dyn Error>> {
        let sqe = Sqe::read(self.nsid, SLBA, BLOCKS).with_protection(prinfo, SLBA as u32);
        let done = self.call(sqe, &self.blocks())?;
        done.outcome?;
        let data = done.data.one().ok_or("a buffer comes back")?;
        let block_bytes = self.device.info().block_bytes as usize;
        let both = if self.interleaved { block_bytes + self.metadata_bytes } else { block_bytes };
        let apart = done.metadata.as_deref().unwrap_or_default();
        let metadata = apart.chunks(self.metadata_bytes).chain(std::iter::repeat(&[][..]));
        let split = |(block, apart): (&[u8], &[u8])| {
            let (data, inside) = block.split_at(block_bytes);
            (data.to_vec(), [inside, apart].concat())
        };
        Ok(data.chunks(both).zip(metadata).map(split).collect())
    }

    /// The controller must find that a guard is wrong.
    fn refused(&mut self, sqe: Sqe, blocks: &[Block]) -> Outcome {
        match self.call(sqe, blocks)?.outcome {
            Err(Failure::Device(status)) if status.same_code(Status::GUARD_CHECK_ERROR) => Ok(()),
            other => Err(format!("a wrong guard was not refused: {other:?}").into()),
        }
    }

    /// One command and its end, with the blocks as the namespace has them: interleaved with their metadata, or apart.
    fn call(&mut self, sqe: Sqe, blocks: &[Block]) -> Result<Done<()>, Box<dyn Error>> {
        let (mut data, mut metadata) = (Vec::new(), Vec::new());
        for (block, beside) in blocks {
            data.extend_from_slice(block);
            if self.interleaved { &mut data } else { &mut metadata }.extend_from_slice(beside);
        }
        let buffer = |bytes: &[u8]| {
            let mut buf = self.channel.buffer().ok_or("no buffer left")?;
            buf.set_len(bytes.len());
            buf.copy_from_slice(bytes);
            Ok::<_, &str>(buf)
        };
        let data = if data.is_empty() { None } else { Some(buffer(&data)?) };
        let metadata = if metadata.is_empty() { None } else { Some(buffer(&metadata)?) };
        let native = Native { sqe, data: data.into(), metadata, timeout: None };
        self.channel.call_native(self.port, native).map_err(|_| "the device takes no native commands".into())
    }
}
