//! What the target sends: R2T, the headers of C2HData, responses.

use super::super::header;
use super::super::pdu::{C2hData, CapsuleResp, CommonHeader, R2t, flags, kind};
use super::{Controller, Phase, RequestState, Sent, Slot};
use crate::nvme::completion::SQHD_NO_FLOW_CONTROL;
use crate::nvme::{Cqe, Status};
use zerocopy::little_endian::{U16, U32};

impl Controller {
    /// Asks for the next `bytes` of an executing command's data. [`Event::Received`](super::Event::Received) says when
    /// they are in; meanwhile the command may not be answered. One R2T of a command is out at a time; for more data,
    /// ask again afterwards.
    ///
    /// # Panics
    /// If the command is not executing, or asks for nothing or for more than the limit of a transfer.
    pub fn request_data(&mut self, slot: Slot, bytes: u32, out: &mut Vec<u8>) {
        self.table.step(slot, RequestState::AwaitingData);
        let max_transfer_bytes = self.limits.max_transfer_bytes;
        let entry = self.table.entry(slot);
        assert!(bytes > 0 && bytes <= max_transfer_bytes.saturating_sub(entry.moved), "an R2T of {bytes} bytes");
        let start = entry.moved;
        entry.until = start + bytes;
        let cid = entry.cid;
        if self.phase == Phase::Closed {
            return;
        }
        let header = R2t {
            ch: self.without_data(kind::R2T),
            cccid: U16::new(cid),
            ttag: U16::new(slot.0),
            r2to: U32::new(start),
            r2tl: U32::new(bytes),
            reserved: [0; 4],
        };
        header::append(&header, self.digests, out);
    }

    /// Appends the header of a C2HData; the caller sends `bytes` bytes of data behind it and then, with
    /// [`Controller::data_digest`], their digest. `offset` continues where the last data of the command ended; `last`
    /// says that no more follows. On an I/O queue without flow control the last data carries the command's success and
    /// no response may follow; else [`Controller::respond`] is due.
    ///
    /// # Panics
    /// If the command is not in a state to send data, or `bytes` is 0, or `offset` is not where the last data ended.
    pub fn send_data(&mut self, slot: Slot, offset: u32, bytes: u32, last: bool, out: &mut Vec<u8>) -> Sent {
        // The Admin queue's results may not be 0, so its commands always are answered by a response.
        let success = last && self.queue.flow_control_disabled && !self.queue.admin;
        let entry = self.table.entry(slot);
        assert!(bytes > 0 && offset == entry.moved, "data goes out in order, from the start");
        entry.moved = offset.checked_add(bytes).expect("a command has less than 4 GiB of data");
        let cid = entry.cid;
        match (success, last) {
            (true, _) => self.table.end(slot),
            (false, true) => self.table.step(slot, RequestState::Sent),
            (false, false) => self.table.step(slot, RequestState::Sending),
        }
        if self.phase == Phase::Closed {
            return Sent { success };
        }
        let pdo = self.c2h_data_offset;
        let plen = u64::from(pdo) + u64::from(bytes) + self.digests.data_bytes() as u64;
        let header = C2hData {
            ch: CommonHeader {
                kind: kind::C2H_DATA,
                flags: self.digests.bits()
                    | if last { flags::LAST } else { 0 }
                    | if success { flags::SUCCESS } else { 0 },
                hlen: size_of::<C2hData>() as u8,
                pdo,
                plen: U32::new(u32::try_from(plen).expect("a PDU has less than 4 GiB")),
            },
            cccid: U16::new(cid),
            ttag: U16::ZERO,
            datao: U32::new(offset),
            datal: U32::new(bytes),
            reserved: [0; 4],
        };
        let end = out.len() + usize::from(pdo);
        header::append(&header, self.digests, out);
        out.resize(end, 0);
        Sent { success }
    }

    /// Answers a command and frees its slot. `result` fills dwords 0 and 1 of the completion.
    ///
    /// # Panics
    /// If there is no such command, or it awaits data: a host that was asked for data sends it, and it must find the
    /// command.
    pub fn respond(&mut self, slot: Slot, status: Status, result: u64, out: &mut Vec<u8>) {
        let closed = self.phase == Phase::Closed;
        let state = self.table.state(slot);
        let owed = matches!(state, RequestState::AwaitingData | RequestState::Receiving);
        assert!(closed || !owed, "a command is not answered while its data is on the way");
        self.table.end(slot);
        if closed {
            return;
        }
        let cqe = Cqe::new(self.table.entry(slot).cid, status, result).with_sqhd(self.advance_sqhd());
        let header = CapsuleResp { ch: self.without_data(kind::CAPSULE_RESP), cqe };
        header::append(&header, self.digests, out);
    }

    /// The submission queue head after one more command. It moves when a command is over, not when it was received: so
    /// a host that obeys it never has more commands in flight than the table holds.
    fn advance_sqhd(&mut self) -> u16 {
        if self.queue.flow_control_disabled {
            return SQHD_NO_FLOW_CONTROL;
        }
        let next = self.queue.sqhd + 1;
        self.queue.sqhd = if next >= self.queue.depth { 0 } else { next };
        self.queue.sqhd
    }

    /// The common header of a PDU of 24 bytes that has no data.
    fn without_data(&self, kind: u8) -> CommonHeader {
        const HLEN: usize = size_of::<R2t>();
        let flags = if self.digests.header { flags::HEADER_DIGEST } else { 0 };
        let plen = (HLEN + self.digests.header_bytes()) as u32;
        CommonHeader { kind, flags, hlen: HLEN as u8, pdo: 0, plen: U32::new(plen) }
    }
}
