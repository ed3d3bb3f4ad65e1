//! What the host sends: ICReq, commands, the headers of H2CData.

use super::super::digest::Digests;
use super::super::header;
use super::super::pdu::{CapsuleCmd, CommonHeader, H2cData, IcReq, flags, kind};
use super::{Chunk, Direction, Host, Phase, RequestState, Slot, enter};
use crate::nvme::command::PSDT_SGL;
use crate::nvme::{SglDescriptor, Sqe};
use zerocopy::little_endian::{U16, U32};

impl Host {
    /// Appends ICReq.
    ///
    /// # Panics
    /// If called twice.
    pub fn start(&mut self, out: &mut Vec<u8>) {
        const HLEN: usize = size_of::<IcReq>();
        enter(&mut self.phase, Phase::AwaitIcResp);
        let request = IcReq {
            ch: CommonHeader { kind: kind::IC_REQ, flags: 0, hlen: HLEN as u8, pdo: 0, plen: U32::new(HLEN as u32) },
            pfv: U16::ZERO,
            hpda: 0,
            dgst: self.digests.bits(),
            // 0's based: one R2T of a command at a time.
            maxr2t: U32::ZERO,
            reserved: [0; 112],
        };
        header::append(&request, Digests::default(), out);
    }

    /// Appends a command's capsule: its identifier, PSDT and SGL are filled in here. With
    /// [`Direction::WriteInCapsule`] the caller sends the data behind it and then, with [`Host::data_digest`], its
    /// digest. `None`: as many commands are in flight as may be (one, before [`Host::set_queue`]), or the connection is
    /// not ready or closed.
    ///
    /// # Panics
    /// If there is data of 0 bytes, or more in-capsule data than the queue takes.
    pub fn submit(&mut self, mut sqe: Sqe, direction: Direction, out: &mut Vec<u8>) -> Option<Slot> {
        match self.phase {
            Phase::Live => {}
            Phase::AwaitConnect if self.table.in_flight() == 0 => {}
            _ => return None,
        }
        let (state, moved_later, in_capsule) = match direction {
            Direction::None => (RequestState::Waiting, 0, 0),
            Direction::Read { bytes } => (RequestState::Reading, bytes, 0),
            Direction::Write { bytes } => (RequestState::Writing, bytes, 0),
            Direction::WriteInCapsule { bytes } => (RequestState::Waiting, 0, bytes),
        };
        assert!(direction == Direction::None || moved_later + in_capsule > 0, "data of 0 bytes is no data");
        assert!(in_capsule <= self.in_capsule_bytes, "{in_capsule} bytes in a capsule");
        let slot = self.table.begin(state, moved_later)?;
        sqe.cid = U16::new(self.table.cid(slot));
        sqe.flags = sqe.flags & !0xc0 | PSDT_SGL;
        sqe.dptr = match in_capsule {
            0 => SglDescriptor::transport(moved_later),
            bytes => SglDescriptor::in_capsule(bytes),
        };
        let ch = self.common(kind::CAPSULE_CMD, 0, size_of::<CapsuleCmd>(), in_capsule);
        header::append(&CapsuleCmd { ch, sqe }, self.digests, out);
        Some(slot)
    }

    /// Appends the header of the next H2CData for the open R2T of a command: at most `max` bytes of data, and never
    /// more than MAXH2CDATA. The caller sends the data behind it and then, with [`Host::data_digest`], its digest.
    /// `None`: the R2T is fulfilled, or there is none.
    ///
    /// # Panics
    /// If `max` is 0.
    pub fn h2c(&mut self, slot: Slot, max: u32, out: &mut Vec<u8>) -> Option<Chunk> {
        if self.phase == Phase::Closed || self.table.state(slot) != RequestState::Sending {
            return None;
        }
        assert!(max > 0, "H2CData always has data");
        let max = max.min(self.max_h2c_bytes);
        let cid = self.table.cid(slot);
        let entry = self.table.entry(slot);
        let (offset, ttag) = (entry.moved, entry.ttag);
        let bytes = max.min(entry.until - offset);
        entry.moved += bytes;
        let last = entry.moved == entry.until;
        if last {
            self.table.step(slot, RequestState::Writing);
        }
        let flags = if last { flags::LAST } else { 0 };
        let header = H2cData {
            ch: self.common(kind::H2C_DATA, flags, size_of::<H2cData>(), bytes),
            cccid: U16::new(cid),
            ttag: U16::new(ttag),
            datao: U32::new(offset),
            datal: U32::new(bytes),
            reserved: [0; 4],
        };
        header::append(&header, self.digests, out);
        Some(Chunk { offset, bytes, last })
    }

    /// The common header of a PDU with `data` bytes of data behind its header of `hlen` bytes and the digest.
    fn common(&self, kind: u8, flags: u8, hlen: usize, data: u32) -> CommonHeader {
        let start = hlen + self.digests.header_bytes();
        let digests = Digests { data: self.digests.data && data > 0, ..self.digests };
        // Within 32 bits: `limits` bounds in-capsule data and the data of one H2CData.
        let plen = start + data as usize + digests.data_bytes();
        CommonHeader {
            kind,
            flags: flags | digests.bits(),
            hlen: hlen as u8,
            pdo: if data > 0 { start as u8 } else { 0 },
            plen: U32::new(plen as u32),
        }
    }
}
