//! One connection of a host: sends PDUs, well-made or not, and checks every PDU that comes back against what it asked.

use std::collections::{BTreeMap, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

use qpair_nvmf::limits::TRANSFER_BYTES;
use wire::nvme::{Sqe, Status};
use wire::tcp::digest::Digests;
use wire::tcp::pdu::{C2hData, CapsuleResp, CommonHeader, R2t, flags, kind};
use zerocopy::FromBytes;

use crate::pdu;

/// Most bytes that a host keeps for a target that does not take them.
const OUTBOX_BYTES: usize = 1 << 20;
/// Longest PDU that a target sends: a transfer, behind the longest header.
const PDU_BYTES: usize = TRANSFER_BYTES as usize + 256;
/// What a host receives at a time, and more than one PDU.
pub const CHUNK_BYTES: usize = 2 * PDU_BYTES;
/// Commands that a host has under way.
const IN_FLIGHT: usize = 64;

/// A command that has no response yet.
pub struct Pending {
    pub kind: Kind,
    /// Bytes that the target may ask for, or may send.
    bytes: u32,
    received: Vec<u8>,
    /// Bytes that the target has asked for.
    asked: u32,
    /// The target says that it is aborted.
    pub aborted: bool,
}

/// What is to be done when it is over.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Read {
        lba: u64,
        blocks: u64,
    },
    Write {
        lba: u64,
        blocks: u64,
        number: u32,
    },
    Compare {
        lba: u64,
        blocks: u64,
        number: u32,
    },
    Connect {
        qid: u16,
        depth: usize,
    },
    /// Of a command on a queue of the controller that this is the admin queue of.
    Abort {
        qid: u16,
        cid: u16,
    },
    Other,
}

/// The end of a command.
pub struct Done {
    pub kind: Kind,
    pub status: Status,
    pub result: u64,
    pub data: Vec<u8>,
}

struct Asked {
    cid: u16,
    ttag: u16,
    offset: u32,
    left: u32,
}

pub struct Peer {
    stream: TcpStream,
    digests: Digests,
    /// The front of a PDU.
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    pub pending: BTreeMap<u16, Pending>,
    asked: VecDeque<Asked>,
    next_cid: u16,
    /// Bit of the next PDU that is turned over.
    flip: Option<u16>,
    pub reading: bool,
    finished: bool,
    /// Everything it said so far was right, so everything it hears has to be.
    pub clean: bool,
    pub is_io: bool,
    /// Of which controller it is which queue, once it is connected.
    pub queue: Option<(u16, u16)>,
    /// How the last command of each identifier has ended.
    pub ends: BTreeMap<u16, Status>,
    /// Identifiers that an Abort is under way for: they are not used again before it is answered.
    pub reserved: Vec<u16>,
    /// Commands that the queue takes at a time: one until its Connect has succeeded.
    pub depth: usize,
}

impl Peer {
    pub fn open(stream: TcpStream, digests: u8) -> Self {
        stream.set_nonblocking(true).expect("a socket");
        let mut peer = Self {
            stream,
            digests: Digests::from_bits(digests),
            inbox: Vec::new(),
            outbox: Vec::new(),
            pending: BTreeMap::new(),
            asked: VecDeque::new(),
            next_cid: 0,
            flip: None,
            reading: true,
            finished: false,
            clean: true,
            is_io: false,
            queue: None,
            ends: BTreeMap::new(),
            reserved: Vec::new(),
            depth: 1,
        };
        peer.send(pdu::ic_req(peer.digests, 0));
        peer
    }

    /// Queues a PDU, with the bit turned over that was asked for.
    fn send(&mut self, mut bytes: Vec<u8>) {
        if let Some(at) = self.flip.take() {
            let at = usize::from(at) % (bytes.len() * 8);
            bytes[at / 8] ^= 1 << (at % 8);
            self.clean = false;
        }
        self.put(&bytes);
    }

    /// Sends what the target takes now and keeps the rest.
    fn put(&mut self, bytes: &[u8]) {
        self.flush();
        let sent = if self.outbox.is_empty() { (&self.stream).write(bytes).unwrap_or(0) } else { 0 };
        let rest = &bytes[sent..];
        if self.outbox.len() < OUTBOX_BYTES {
            self.outbox.extend_from_slice(rest);
        } else {
            // A PDU is missing in the stream.
            self.clean = false;
        }
    }

    pub fn garbage(&mut self, bytes: &[u8]) {
        self.clean = false;
        self.put(bytes);
    }

    pub fn flip_next(&mut self, at: u16) {
        self.flip = Some(at);
    }

    fn flush(&mut self) {
        while !self.outbox.is_empty() {
            match (&self.stream).write(&self.outbox) {
                Ok(sent) => drop(self.outbox.drain(..sent)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // The target has closed; reading tells.
                Err(_) => return self.outbox.clear(),
            }
        }
    }

    /// Sends a command; `bytes` is what it may move by transport. Nothing if too many are under way.
    pub fn command(&mut self, sqe: Sqe, capsule: &[u8], bytes: u32, kind: Kind) -> bool {
        if self.pending.len() == IN_FLIGHT || self.finished {
            return false;
        }
        if self.pending.len() >= self.depth {
            // More than it may send: the target may end the connection.
            self.clean = false;
        }
        while self.pending.contains_key(&self.next_cid) || self.reserved.contains(&self.next_cid) {
            self.next_cid = (self.next_cid + 1) % 256;
        }
        let cid = self.next_cid;
        self.next_cid = (cid + 1) % 256;
        let sqe = if capsule.is_empty() && bytes > 0 { sqe.with_data_by_transport(bytes) } else { sqe };
        self.pending.insert(cid, Pending { kind, bytes, received: Vec::new(), asked: 0, aborted: false });
        self.send(pdu::command(sqe.with_cid(cid), capsule, self.digests));
        true
    }

    /// Answers the oldest R2T with a part of its data.
    pub fn data(&mut self, most: u32, of: impl Fn(Kind, u32, u32) -> Vec<u8>) {
        let Some(asked) = self.asked.front_mut() else { return };
        let len = asked.left.min(most.max(4) & !3);
        let (cid, ttag, offset) = (asked.cid, asked.ttag, asked.offset);
        (asked.offset, asked.left) = (offset + len, asked.left - len);
        let last = asked.left == 0;
        if last {
            self.asked.pop_front();
        }
        let kind = self.pending.get(&cid).map_or(Kind::Other, |pending| pending.kind);
        let bytes = of(kind, offset, len);
        self.send(pdu::h2c(cid, ttag, offset, &bytes, last, self.digests));
    }

    pub fn finish(&mut self) {
        if self.outbox.is_empty() {
            let _ = self.stream.shutdown(Shutdown::Write);
            self.finished = true;
        }
    }

    /// Whether the target is still there; what has ended is added to `done`. Received by way of `chunk`.
    pub fn receive(&mut self, chunk: &mut [u8], done: &mut Vec<Done>) -> bool {
        self.flush();
        while self.reading {
            let kept = self.inbox.len();
            chunk[..kept].copy_from_slice(&self.inbox);
            match self.stream.read(&mut chunk[kept..]) {
                Ok(0) => return false,
                Ok(count) => self.hear(&chunk[..kept + count], done),
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
        true
    }

    /// Hears all PDUs, and keeps the front of the next one.
    fn hear(&mut self, mut bytes: &[u8], done: &mut Vec<Done>) {
        while let Ok((header, _)) = CommonHeader::ref_from_prefix(bytes) {
            let plen = header.plen.get() as usize;
            assert!(plen >= 8 && plen >= usize::from(header.hlen) && plen <= PDU_BYTES, "{header:?}");
            let Some((pdu, rest)) = bytes.split_at_checked(plen) else { break };
            if self.clean {
                self.heard(pdu, done);
            }
            bytes = rest;
        }
        self.inbox.clear();
        self.inbox.extend_from_slice(bytes);
    }

    /// A PDU for a host that has done nothing wrong.
    fn heard(&mut self, pdu: &[u8], done: &mut Vec<Done>) {
        match pdu[0] {
            kind::IC_RESP => {}
            kind::CAPSULE_RESP => {
                let cqe = CapsuleResp::read_from_prefix(pdu).expect("24 bytes").0.cqe;
                let pending = self.pending.remove(&cqe.cid.get()).expect("a response to a command");
                self.asked.retain(|asked| asked.cid != cqe.cid.get());
                let (status, result) = (cqe.status(), cqe.result());
                assert!(!pending.aborted || status == Status::ABORT_REQUESTED, "aborted, and then {status}");
                self.ends.insert(cqe.cid.get(), status);
                if status.is_success() && matches!(pending.kind, Kind::Read { .. }) {
                    assert_eq!(pending.received.len(), pending.bytes as usize, "a read succeeds with its data");
                }
                done.push(Done { kind: pending.kind, status, result, data: pending.received });
            }
            kind::C2H_DATA => {
                let header = C2hData::read_from_prefix(pdu).expect("24 bytes").0;
                let cid = header.cccid.get();
                let pending = self.pending.get_mut(&cid).expect("data for a command");
                let (start, len) = (usize::from(header.ch.pdo), header.datal.get() as usize);
                assert_eq!(header.datao.get() as usize, pending.received.len(), "data comes in order");
                pending.received.reserve_exact(pending.bytes as usize - pending.received.len());
                pending.received.extend_from_slice(&pdu[start..start + len]);
                assert!(pending.received.len() <= pending.bytes as usize, "no more than was asked for");
                if header.ch.flags & flags::SUCCESS != 0 {
                    assert!(header.ch.flags & flags::LAST != 0 && pending.received.len() == pending.bytes as usize);
                    let Pending { kind, received, aborted, .. } = self.pending.remove(&cid).expect("it was there");
                    assert!(!aborted, "aborted, and then a success");
                    self.ends.insert(cid, Status::SUCCESS);
                    done.push(Done { kind, status: Status::SUCCESS, result: 0, data: received });
                }
            }
            kind::R2T => {
                let r2t = R2t::read_from_prefix(pdu).expect("24 bytes").0;
                let pending = self.pending.get_mut(&r2t.cccid.get()).expect("an R2T for a command");
                assert_eq!(r2t.r2to.get(), pending.asked, "data is asked for in order");
                pending.asked += r2t.r2tl.get();
                assert!(r2t.r2tl.get() > 0 && pending.asked <= pending.bytes, "no more than the command has");
                let (cid, ttag) = (r2t.cccid.get(), r2t.ttag.get());
                self.asked.push_back(Asked { cid, ttag, offset: r2t.r2to.get(), left: r2t.r2tl.get() });
            }
            kind::C2H_TERM_REQ => panic!("a host that did nothing wrong is terminated: {pdu:?}"),
            other => panic!("a PDU of type {other:02x}h from a target"),
        }
    }
}
