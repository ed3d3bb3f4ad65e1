//! A host that keeps to every rule and checks that the target does: `wire`'s state machine on a blocking socket.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use wire::nvme::{Cqe, Sqe, Status};
use wire::tcp::digest::{Crc32c, Digests};
use wire::tcp::host::{Direction, Host as Machine, HostConfig, HostEvent, Phase};
use wire::tcp::{Cause, Slot};

use super::PATIENCE;

/// The data of a command.
#[derive(Clone, Copy)]
pub enum Data<'a> {
    None,
    /// To be read: so many bytes.
    Read(usize),
    /// In the capsule.
    Capsule(&'a [u8]),
    /// When the target asks for it.
    R2t(&'a [u8]),
}

/// A command that is over.
#[derive(Debug)]
pub struct Done {
    pub slot: Slot,
    pub cqe: Cqe,
    /// What was read.
    pub data: Vec<u8>,
    /// Whether the data carried the success, and no response came.
    pub by_data: bool,
}

impl Done {
    pub fn status(&self) -> Status {
        self.cqe.status()
    }

    pub fn result(&self) -> u64 {
        self.cqe.result()
    }
}

/// One queue of a host.
pub struct Host {
    pub stream: TcpStream,
    machine: Machine,
    inbox: Vec<u8>,
    transfers: Vec<Vec<u8>>,
    done: VecDeque<Done>,
    closed: Option<Cause>,
    /// Most bytes of one H2CData.
    pub chunk: u32,
    /// H2CData sent so far.
    pub chunks: usize,
    /// R2Ts seen so far.
    pub r2ts: usize,
}

impl Host {
    /// A connection behind its handshake, for a queue of `depth`.
    pub fn open(addr: SocketAddr, digests: Digests, depth: u16) -> Self {
        let stream = super::raw::tcp(addr);
        let config = HostConfig { header_digest: digests.header, data_digest: digests.data, depth };
        let mut host = Self {
            stream,
            machine: Machine::new(config),
            inbox: Vec::new(),
            transfers: vec![Vec::new(); usize::from(depth)],
            done: VecDeque::new(),
            closed: None,
            chunk: u32::MAX,
            chunks: 0,
            r2ts: 0,
        };
        let mut out = Vec::new();
        host.machine.start(&mut out);
        host.send(&out);
        while host.machine.phase() == Phase::AwaitIcResp {
            host.receive();
        }
        host
    }

    /// Connect has succeeded.
    pub fn queue_is_there(&mut self, in_capsule_bytes: u32, flow_control_disabled: bool) {
        self.machine.set_queue(in_capsule_bytes, flow_control_disabled);
    }

    /// Sends a command.
    pub fn submit(&mut self, sqe: Sqe, data: Data<'_>) -> Slot {
        let size = |bytes: &[u8]| bytes.len() as u32;
        let (direction, transfer) = match data {
            Data::None => (Direction::None, Vec::new()),
            Data::Read(bytes) => (Direction::Read { bytes: bytes as u32 }, vec![0xee; bytes]),
            Data::Capsule(bytes) => (Direction::WriteInCapsule { bytes: size(bytes) }, bytes.to_vec()),
            Data::R2t(bytes) => (Direction::Write { bytes: size(bytes) }, bytes.to_vec()),
        };
        let mut out = Vec::new();
        let slot = self.machine.submit(sqe, direction, &mut out).expect("room in the queue");
        if let Data::Capsule(bytes) = data {
            self.append(bytes, &mut out);
        }
        self.transfers[slot.index()] = transfer;
        self.send(&out);
        slot
    }

    /// The identifier of a command in flight, as the target sees it, if the slot was never used before.
    pub fn in_flight(&self) -> u32 {
        self.machine.in_flight()
    }

    /// Waits for any command to end.
    pub fn wait(&mut self) -> Done {
        loop {
            if let Some(done) = self.done.pop_front() {
                return done;
            }
            assert!(self.receive(), "the target closed the connection: {:?}", self.closed);
        }
    }

    /// Waits for any command to end; `None` if the connection ends before.
    pub fn try_wait(&mut self) -> Option<Done> {
        while self.done.is_empty() {
            if !self.receive() {
                break;
            }
        }
        self.done.pop_front()
    }

    /// Whether a command has ended that was not waited for.
    pub fn has_done(&self) -> bool {
        !self.done.is_empty()
    }

    /// A command that has ended already or ends within `millis`.
    pub fn wait_for(&mut self, millis: u64) -> Option<Done> {
        if self.done.is_empty() {
            self.stream.set_read_timeout(Some(std::time::Duration::from_millis(millis))).expect("a time");
            self.receive_within(true);
            self.stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        }
        self.done.pop_front()
    }

    /// Sends a command and waits for its end. No other may be in flight that could end.
    pub fn run(&mut self, sqe: Sqe, data: Data<'_>) -> Done {
        let slot = self.submit(sqe, data);
        let done = self.wait();
        assert_eq!(done.slot, slot);
        done
    }

    /// A command that has to succeed.
    pub fn ok(&mut self, sqe: Sqe, data: Data<'_>) -> Done {
        let done = self.run(sqe, data);
        assert!(done.status().is_success(), "{sqe:?}: {}", done.status());
        done
    }

    /// A command that has to fail with exactly this status.
    pub fn fails(&mut self, sqe: Sqe, data: Data<'_>, status: Status) {
        let done = self.run(sqe, data);
        assert_eq!(done.status(), status, "{sqe:?}");
    }

    /// Reads `blocks` blocks of `block_bytes`.
    pub fn read(&mut self, nsid: u32, slba: u64, blocks: u32, block_bytes: usize) -> Vec<u8> {
        self.ok(Sqe::read(nsid, slba, blocks), Data::Read(blocks as usize * block_bytes)).data
    }

    /// Writes whole blocks, by R2T.
    pub fn write(&mut self, nsid: u32, slba: u64, bytes: &[u8], block_bytes: usize) {
        self.ok(Sqe::write(nsid, slba, (bytes.len() / block_bytes) as u32, false), Data::R2t(bytes));
    }

    /// Waits for the target to close the connection.
    pub fn is_closed(&mut self) {
        while self.receive() {}
    }

    fn append(&self, bytes: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(bytes);
        if self.machine.data_digest() {
            out.extend_from_slice(&Crc32c::of(bytes));
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        // A target that has closed is seen when the answer is waited for.
        let _ = self.stream.write_all(bytes);
    }

    /// Receives once; false if the connection is over.
    fn receive(&mut self) -> bool {
        self.receive_within(false)
    }

    fn receive_within(&mut self, may_time_out: bool) -> bool {
        let mut bytes = [0; 64 << 10];
        match self.stream.read(&mut bytes) {
            Ok(0) => return false,
            Ok(n) => self.inbox.extend_from_slice(&bytes[..n]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                assert!(may_time_out, "the target does not answer");
                return true;
            }
            Err(_) => return false,
        }
        self.handle();
        self.closed.is_none()
    }

    fn handle(&mut self) {
        let (inbox, mut at, mut out) = (std::mem::take(&mut self.inbox), 0, Vec::new());
        loop {
            let fed = self.machine.feed(&inbox[at..], &mut out);
            at += fed.consumed;
            match fed.event {
                None => break,
                Some(HostEvent::Initialized) => {}
                Some(HostEvent::Data { slot, offset, bytes }) => {
                    let offset = offset as usize;
                    self.transfers[slot.index()][offset..offset + bytes.len()].copy_from_slice(bytes);
                }
                Some(HostEvent::WantsData { slot, .. }) => {
                    self.r2ts += 1;
                    while let Some(chunk) = self.machine.h2c(slot, self.chunk, &mut out) {
                        let transfer = std::mem::take(&mut self.transfers[slot.index()]);
                        self.append(&transfer[chunk.offset as usize..(chunk.offset + chunk.bytes) as usize], &mut out);
                        self.transfers[slot.index()] = transfer;
                        self.chunks += 1;
                    }
                }
                Some(HostEvent::Completed { slot, cqe, digest_ok }) => {
                    assert!(digest_ok, "a data digest of the target is wrong");
                    // The machine makes up an entry for success by data: no target sends SQHD 0 and FFFFh alike.
                    let data = std::mem::take(&mut self.transfers[slot.index()]);
                    let by_data = cqe.sqhd.get() == 0 && cqe.status().is_success() && cqe.result() == 0;
                    self.done.push_back(Done { slot, cqe, data, by_data });
                }
                Some(HostEvent::Closed(cause)) => {
                    assert!(matches!(cause, Cause::Terminated { .. }), "the target broke a rule: {cause}");
                    self.closed = Some(cause);
                }
            }
        }
        self.inbox = inbox[at..].to_vec();
        self.send(&out);
    }
}
