//! A host made by hand: an admin queue, any number of I/O queues, and no wish to do anything with them.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use wire::nvme::{Cc, ConnectData, Cqe, Nqn, Sqe, property};
use wire::tcp::digest::Digests;
use wire::tcp::pdu::kind;
use zerocopy::{FromBytes, IntoBytes};

use crate::PATIENCE;
use crate::pdu;
use crate::served::NQN;

/// Entries of its queues: commands that it may have in flight.
pub(crate) const ENTRIES: u16 = 128;
const HOST: &str = "nqn.2026-01.io.qpair:campaign-host";
const NO_DIGESTS: Digests = Digests { header: false, data: false };
const ANY_CONTROLLER: u16 = 0xffff;

/// One connection.
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
}

fn wrong(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

impl Peer {
    /// A socket on which nothing was said.
    pub(crate) fn new(addr: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(addr)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream })
    }

    /// A queue of a controller, and the number of that controller.
    fn connect(addr: SocketAddr, qid: u16, cntlid: u16) -> io::Result<(Self, u16)> {
        let mut peer = Self::new(addr)?;
        peer.stream.write_all(&pdu::ic_req(NO_DIGESTS, 0))?;
        peer.stream.read_exact(&mut [0; 128])?;
        let nqn = |name| Nqn::new(name).expect("a name");
        let data = ConnectData::new([7; 16], cntlid, &nqn(NQN), &nqn(HOST));
        // Without flow control on I/O queues.
        let cattr = if qid == 0 { 0 } else { wire::nvme::fabrics::CATTR_DISABLE_SQ_FLOW_CONTROL };
        let cqe = peer.run(Sqe::connect(qid, ENTRIES - 1, 0, cattr), data.as_bytes())?;
        Ok((peer, cqe.result() as u16))
    }

    /// Sends a command.
    pub(crate) fn send(&mut self, sqe: Sqe, data: &[u8]) -> io::Result<()> {
        self.stream.write_all(&pdu::command(sqe, data, NO_DIGESTS))
    }

    /// A command without data to read, which has to succeed.
    pub(crate) fn run(&mut self, sqe: Sqe, data: &[u8]) -> io::Result<Cqe> {
        self.send(sqe, data)?;
        let mut answer = [0; 24];
        self.stream.read_exact(&mut answer)?;
        let cqe = Cqe::read_from_bytes(&answer[8..]).map_err(|_| wrong("16 bytes"))?;
        match answer[0] {
            kind::CAPSULE_RESP if cqe.status().is_success() => Ok(cqe),
            kind::CAPSULE_RESP => Err(wrong(format!("{sqe:?}: {}", cqe.status()))),
            other => Err(wrong(format!("a PDU of kind {other}"))),
        }
    }

    /// Whether the target has closed the connection, as far as one can see without waiting.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.stream.set_nonblocking(true).expect("a socket");
        let read = self.stream.read(&mut [0; 4096]);
        self.stream.set_nonblocking(false).expect("a socket");
        match read {
            Ok(bytes) => bytes == 0,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }
}

/// An association: closed as a whole when it is dropped.
pub(crate) struct Host {
    pub(crate) admin: Peer,
    pub(crate) queues: Vec<Peer>,
}

impl Host {
    /// With an enabled controller and so many I/O queues.
    pub(crate) fn connect(addr: SocketAddr, queues: u16) -> io::Result<Self> {
        let (mut admin, cntlid) = Peer::connect(addr, 0, ANY_CONTROLLER)?;
        admin.run(Sqe::property_set(property::CC, false, Cc::enable().0.into()), &[])?;
        let queues = (1..=queues).map(|qid| Ok(Peer::connect(addr, qid, cntlid)?.0)).collect::<io::Result<_>>()?;
        Ok(Self { admin, queues })
    }

    /// Connections.
    pub(crate) fn connections(&self) -> usize {
        1 + self.queues.len()
    }

    /// Disables the controller: everything under way ends, and its I/O connections too.
    pub(crate) fn reset(&mut self) -> io::Result<()> {
        self.admin.run(Sqe::property_set(property::CC, false, 0), &[]).map(drop)
    }

    /// Asks for 128 KiB as often as the queues take it, and for more; nothing of it is received.
    pub(crate) fn read_much(&mut self, nsid: u32) -> io::Result<()> {
        for peer in &mut self.queues {
            for cid in 0..ENTRIES - 1 {
                let slba = u64::from(cid % 64) * 256;
                peer.send(Sqe::read(nsid, slba, 256).with_data_by_transport(128 << 10).with_cid(cid), &[])?;
            }
        }
        Ok(())
    }
}

/// How many R2Ts of 128 KiB each of some connections gets at once: the free slots or buffers of the reactors.
pub(crate) fn places(addr: SocketAddr, nsid: u32, connections: u16) -> io::Result<usize> {
    let mut host = Host::connect(addr, connections)?;
    let mut asked = 0;
    for peer in &mut host.queues {
        for cid in 0..ENTRIES - 1 {
            peer.send(Sqe::write(nsid, 0, 256, false).with_data_by_transport(128 << 10).with_cid(cid), &[])?;
        }
        peer.stream.set_read_timeout(Some(std::time::Duration::from_millis(500)))?;
        while peer.stream.read_exact(&mut [0; 24]).is_ok() {
            asked += 1;
        }
    }
    Ok(asked)
}
