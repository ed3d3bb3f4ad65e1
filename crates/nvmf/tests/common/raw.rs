//! A connection of PDUs: sends any bytes, and receives what the target says PDU by PDU.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use wire::nvme::{Cc, ConnectData, Cqe, Sqe, Status, property};
use wire::tcp::digest::{Crc32c, Digests};
use wire::tcp::pdu::{C2hData, CapsuleResp, CommonHeader, Fes, IcResp, R2t, TermReq, flags, kind};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{ANY_CONTROLLER, NO_DIGESTS, PATIENCE, Rig, connect_data, pdu};

/// A socket with time-outs.
pub fn tcp(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).expect("the target listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time");
    stream.set_write_timeout(Some(PATIENCE)).expect("a time");
    stream.set_nodelay(true).expect("a socket");
    stream
}

/// A PDU of the target.
#[derive(Debug)]
pub struct Pdu {
    pub ch: CommonHeader,
    header: Vec<u8>,
    pub data: Vec<u8>,
}

impl Pdu {
    fn view<T: FromBytes + KnownLayout + Immutable + Unaligned>(&self, kind: u8) -> &T {
        assert_eq!(self.ch.kind, kind, "{self:?}");
        T::ref_from_bytes(&self.header).expect("its length was checked")
    }

    pub fn cqe(&self) -> Cqe {
        self.view::<CapsuleResp>(kind::CAPSULE_RESP).cqe
    }

    pub fn r2t(&self) -> &R2t {
        self.view(kind::R2T)
    }

    pub fn c2h(&self) -> &C2hData {
        self.view(kind::C2H_DATA)
    }

    pub fn ic_resp(&self) -> &IcResp {
        self.view(kind::IC_RESP)
    }
}

/// What a command brought.
pub struct Reply {
    pub cqe: Cqe,
    pub data: Vec<u8>,
}

/// See the module.
pub struct Raw {
    pub stream: TcpStream,
    pub digests: Digests,
    inbox: Vec<u8>,
}

impl Raw {
    /// A socket on which nothing was said.
    pub fn new(addr: SocketAddr) -> Self {
        Self { stream: tcp(addr), digests: NO_DIGESTS, inbox: Vec::new() }
    }

    /// Behind ICReq and ICResp.
    pub fn open(addr: SocketAddr, digests: Digests) -> Self {
        let mut raw = Self::new(addr);
        raw.send(&pdu::ic_req(digests, 0));
        let response = raw.pdu();
        assert_eq!((response.ic_resp().dgst, response.ic_resp().cpda), (digests.bits(), 0));
        raw.digests = digests;
        raw
    }

    /// An enabled controller's admin queue; its CNTLID.
    pub fn admin(rig: &Rig, digests: Digests) -> (Self, u16) {
        let mut raw = Self::open(rig.addr, digests);
        let cqe = raw.connect(Sqe::connect(0, 31, 0, 0), &connect_data(ANY_CONTROLLER));
        assert!(cqe.status().is_success(), "{}", cqe.status());
        let enabled = raw.run(Sqe::property_set(property::CC, false, Cc::enable().0.into()), &[]);
        assert!(enabled.cqe.status().is_success());
        (raw, cqe.result() as u16)
    }

    /// An I/O queue of `depth` entries.
    pub fn io(addr: SocketAddr, cntlid: u16, qid: u16, depth: u16, cattr: u8, digests: Digests) -> Self {
        let mut raw = Self::open(addr, digests);
        let cqe = raw.connect(Sqe::connect(qid, depth - 1, 0, cattr), &connect_data(cntlid));
        assert!(cqe.status().is_success(), "{}", cqe.status());
        raw
    }

    pub fn connect(&mut self, sqe: Sqe, data: &ConnectData) -> Cqe {
        self.run(sqe, data.as_bytes()).cqe
    }

    pub fn send(&mut self, bytes: &[u8]) {
        // A target that has closed is seen when its answer is waited for.
        let _ = self.stream.write_all(bytes);
    }

    /// Sends a command as it is, with `data` in its capsule.
    pub fn command(&mut self, sqe: Sqe, data: &[u8]) {
        let bytes = pdu::command(sqe, data, self.digests);
        self.send(&bytes);
    }

    /// Sends a command and waits for its response; data before it is collected.
    pub fn run(&mut self, sqe: Sqe, data: &[u8]) -> Reply {
        self.command(sqe, data);
        let mut read = Vec::new();
        loop {
            let pdu = self.pdu();
            if pdu.ch.kind == kind::CAPSULE_RESP {
                let cqe = pdu.cqe();
                assert_eq!(cqe.cid, sqe.cid);
                return Reply { cqe, data: read };
            }
            assert_eq!(pdu.c2h().datao.get() as usize, read.len());
            read.extend_from_slice(&pdu.data);
            if pdu.ch.flags & flags::SUCCESS != 0 {
                return Reply { cqe: Cqe::new(sqe.cid.get(), Status::SUCCESS, 0), data: read };
            }
        }
    }

    /// A command that has to fail with exactly this status.
    pub fn fails(&mut self, sqe: Sqe, data: &[u8], status: Status) {
        let reply = self.run(sqe, data);
        assert_eq!(reply.cqe.status(), status, "{sqe:?}");
        assert!(reply.data.is_empty(), "no data comes with an error");
    }

    /// The next PDU.
    pub fn pdu(&mut self) -> Pdu {
        self.try_pdu().expect("the target closed the connection")
    }

    /// The next PDU; `None` at the end of the connection.
    pub fn try_pdu(&mut self) -> Option<Pdu> {
        let ch = CommonHeader::read_from_bytes(&self.take(8)?).expect("8 bytes");
        let with_digests = !matches!(ch.kind, kind::IC_RESP | kind::C2H_TERM_REQ);
        let digests = if with_digests { self.digests } else { NO_DIGESTS };
        let rest = self.take(ch.plen.get() as usize - 8)?;
        let (header, rest) = rest.split_at(usize::from(ch.hlen) - 8);
        let header = [ch.as_bytes(), header].concat();
        let (digest, rest) = rest.split_at(digests.header_bytes());
        assert!(!digests.header || digest == Crc32c::of(&header), "the header digest is wrong: {ch:?}");
        let mut data = Vec::new();
        if ch.kind == kind::C2H_TERM_REQ {
            data = rest.to_vec();
        } else if !rest.is_empty() {
            let start = usize::from(ch.pdo) - header.len() - digest.len();
            let end = rest.len() - digests.data_bytes();
            data = rest[start..end].to_vec();
            assert!(!digests.data || rest[end..] == Crc32c::of(&data), "the data digest is wrong: {ch:?}");
        }
        let has_data = !data.is_empty() && ch.kind == kind::C2H_DATA;
        let expected = Digests { data: digests.data && has_data, ..digests };
        assert_eq!(ch.flags & 3, expected.bits(), "the flags name the digests that are there: {ch:?}");
        Some(Pdu { ch, header, data })
    }

    /// Takes one R2T, if it comes within the socket's time-out.
    pub fn has_pdu(&mut self) -> bool {
        let mut bytes = [0; 24];
        match self.stream.read_exact(&mut bytes) {
            Ok(()) => bytes[0] == kind::R2T,
            Err(_) => false,
        }
    }

    /// The target ends the connection with a term request of this status, then closes. What it said before is skipped.
    pub fn is_terminated(&mut self, fes: Fes, what: &str) {
        let term = loop {
            match self.try_pdu() {
                Some(pdu) if pdu.ch.kind == kind::C2H_TERM_REQ => break pdu,
                Some(_) => {}
                None => panic!("{what}: closed without a term request"),
            }
        };
        let header = TermReq::ref_from_bytes(&term.header).expect("its length was checked");
        assert_eq!(header.fes.get(), fes as u16, "{what}: {}", Fes::name(header.fes.get()));
        assert!((24..=152).contains(&term.ch.plen.get()), "{what}");
        assert!(self.try_pdu().is_none(), "{what}: a term request is the last word");
    }

    /// Waits for the target to close; what it says before is skipped.
    pub fn is_closed(&mut self) {
        while self.try_pdu().is_some() {}
    }

    /// Says that nothing more will come.
    pub fn finish_sending(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    fn take(&mut self, bytes: usize) -> Option<Vec<u8>> {
        let mut chunk = [0; 16 << 10];
        while self.inbox.len() < bytes {
            match self.stream.read(&mut chunk) {
                Ok(0) => return None,
                Ok(n) => self.inbox.extend_from_slice(&chunk[..n]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    panic!("the target does not answer")
                }
                Err(_) => return None,
            }
        }
        Some(self.inbox.drain(..bytes).collect())
    }
}
