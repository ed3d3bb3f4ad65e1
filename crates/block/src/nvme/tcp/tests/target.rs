//! A small target for the tests: blocking threads, a vector as its disk, and faults on request.
//!
//! The opposite peer of the host, on the controller's state machine of the wire floor. It does what the tests need of a
//! target and nothing more.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use wire::nvme::feature::{Event, QueueCounts, abort_result, fid};
use wire::nvme::identify::{oaes, oncs, sgls};
use wire::nvme::opcode::fabrics;
use wire::nvme::property::{CAP, CC, CSTS, VS};
use wire::nvme::{
    ActiveNamespaces, Cap, Cc, ConnectCommand, ConnectData, ConnectResult, Cqe, Csts, DiscoveryLogEntry,
    DiscoveryLogHeader, DsmRange, FABRICS, IdDescriptor, IdDescriptorList, IdentifyController, IdentifyNamespace,
    InvalidParameter, LbaFormat, Nqn, Sgl, Sqe, Status, Vs, admin, cns, io, lid,
};
use wire::tcp::Slot;
use wire::tcp::controller::{self, Controller, Limits};
use wire::tcp::digest::Crc32c;
use wire::tcp::limits::ADMIN_IN_CAPSULE_BYTES;
use wire::tcp::pdu::{CapsuleResp, CommonHeader, kind};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use crate::nvme::tcp::Uri;

pub(super) const NQN: &str = "nqn.2026-01.org.example:test";
pub(super) const UUID: [u8; 16] = *b"0123456789abcdef";
const CNTLID: u16 = 7;
/// Firmware Image Download: an admin command with data for the controller; here it goes to the start of the disk.
pub(super) const DOWNLOAD: u8 = 0x11;

/// What goes wrong with I/O commands, or with whole connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// Accepts connections and says nothing.
    Mute,
    /// Closes an I/O connection when so many I/O commands have come, without an answer to the last.
    CloseAt(usize),
    /// Answers every I/O command with this status.
    Answer(Status),
    /// Flips a bit of the data of every read, behind the digest's back.
    Corrupt,
    /// Sends half of the data of every read, and then success.
    Short,
    /// Does not answer I/O commands, nor Keep Alives.
    Hang,
    /// Answers I/O commands with bytes that are no PDU.
    Garbage,
    /// Does not answer I/O commands, only admin commands; Abort ends them.
    Silent,
    /// The same, but Abort does not help.
    Deaf,
    /// Answers commands that an earlier connection did not get an answer to, before the first command of its own.
    Stale,
}

/// A connection closes, once, after so many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    /// The how-manieth connection that the target accepted, from 1.
    pub(super) connection: usize,
    /// Bytes that the target sends on it.
    pub(super) sent: usize,
    /// Bytes that the target receives on it.
    pub(super) received: usize,
}

impl Cut {
    pub(super) fn sent(connection: usize, bytes: usize) -> Self {
        Self { connection, sent: bytes, received: usize::MAX }
    }

    pub(super) fn received(connection: usize, bytes: usize) -> Self {
        Self { connection, sent: usize::MAX, received: bytes }
    }
}

/// How the target is.
#[derive(Clone)]
pub(super) struct Config {
    pub(super) namespaces: Vec<u32>,
    pub(super) block_bytes: u32,
    pub(super) blocks: u64,
    pub(super) in_capsule_bytes: u32,
    pub(super) max_h2c_bytes: u32,
    /// An R2T asks for so much at most.
    pub(super) r2t_bytes: u32,
    /// Bytes of one send.
    pub(super) piece: usize,
    pub(super) mqes: u16,
    pub(super) queues: u32,
    pub(super) vs: Vs,
    pub(super) allowed_host: Option<String>,
    /// The controller is enabled already when it is connected to.
    pub(super) enabled: bool,
    pub(super) entries: u64,
    /// So often the discovery log changes while it is read.
    pub(super) changes: usize,
    pub(super) controller: fn(&mut IdentifyController),
    pub(super) namespace: fn(&mut IdentifyNamespace),
    pub(super) uuid: [u8; 16],
    pub(super) fault: Fault,
    pub(super) cut: Option<Cut>,
    /// Closes every connection that is made.
    pub(super) away: bool,
    /// Answers Connect with this.
    pub(super) refusal: Option<Status>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            namespaces: vec![1],
            block_bytes: 512,
            blocks: 4096,
            in_capsule_bytes: 8192,
            max_h2c_bytes: 65536,
            r2t_bytes: u32::MAX,
            piece: usize::MAX,
            mqes: 1023,
            queues: 4,
            vs: Vs::V2_0,
            allowed_host: None,
            enabled: false,
            entries: 0,
            changes: 0,
            controller: |_| {},
            namespace: |_| {},
            uuid: UUID,
            fault: Fault::None,
            cut: None,
            away: false,
            refusal: None,
        }
    }
}

/// What the target saw.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) io_commands: AtomicUsize,
    pub(super) keep_alives: AtomicUsize,
    pub(super) shutdowns: AtomicUsize,
    pub(super) connections: AtomicUsize,
    pub(super) log_reads: AtomicUsize,
    pub(super) in_capsule: AtomicUsize,
    pub(super) r2ts: AtomicUsize,
    pub(super) fua: AtomicUsize,
    pub(super) aborts: AtomicUsize,
    /// Controllers that were disabled while enabled.
    pub(super) disabled: AtomicUsize,
    /// Flushes that came while a write was not answered.
    pub(super) early_flushes: AtomicUsize,
    /// Opcodes of I/O commands, in order, with the numbers of their connections.
    pub(super) log: Mutex<Vec<(usize, u8)>>,
}

struct Shared {
    /// What new connections find.
    config: Mutex<Config>,
    open: Mutex<Vec<TcpStream>>,
    /// Identifiers of I/O commands that were not answered.
    unanswered: Mutex<Vec<u16>>,
    /// Commands to abort: queue and identifier.
    aborts: Mutex<Vec<(u16, u16)>>,
    /// Events to tell.
    events: Mutex<Vec<Event>>,
    disk: Arc<Mutex<Vec<u8>>>,
    properties: Mutex<(Cc, Csts)>,
    seen: Seen,
    stop: AtomicBool,
}

/// A running target; stops listening when dropped.
pub(super) struct Target {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
}

impl Target {
    pub(super) fn start(config: Config) -> Self {
        let bytes = config.blocks as usize * config.block_bytes as usize;
        Self::over(Arc::new(Mutex::new(vec![0; bytes])), config)
    }

    /// Another way to the same disk.
    pub(super) fn beside(&self, config: Config) -> Self {
        Self::over(Arc::clone(&self.shared.disk), config)
    }

    fn over(disk: Arc<Mutex<Vec<u8>>>, config: Config) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            config: Mutex::new(config),
            open: Mutex::default(),
            unanswered: Mutex::default(),
            aborts: Mutex::default(),
            events: Mutex::default(),
            disk,
            properties: Mutex::default(),
            seen: Seen::default(),
            stop: AtomicBool::new(false),
        });
        let for_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if for_thread.stop.load(Ordering::SeqCst) {
                    return;
                }
                let (shared, stream) = (Arc::clone(&for_thread), stream.expect("accept"));
                let number = shared.seen.connections.fetch_add(1, Ordering::SeqCst) + 1;
                let config = shared.config.lock().expect("config").clone();
                if config.away {
                    continue;
                }
                shared.open.lock().expect("open").push(stream.try_clone().expect("a descriptor"));
                thread::spawn(move || Connection::new(&shared, config, number, stream).serve());
            }
        });
        Self { address, shared }
    }

    pub(super) fn seen(&self) -> &Seen {
        &self.shared.seen
    }

    /// Connections that are made from now on find another target.
    pub(super) fn change(&self, change: impl FnOnce(&mut Config)) {
        change(&mut self.shared.config.lock().expect("config"));
    }

    /// Has the host told.
    pub(super) fn tell(&self, event: Event) {
        self.shared.events.lock().expect("events").push(event);
    }

    /// Closes every connection.
    pub(super) fn hang_up(&self) {
        for stream in self.shared.open.lock().expect("open").drain(..) {
            // It may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub(super) fn grow_disk(&self, blocks: usize) {
        self.disk().resize(blocks * 512, 0);
    }

    pub(super) fn disk(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        self.shared.disk.lock().expect("disk")
    }

    pub(super) fn uri(&self) -> Uri {
        Uri::new("127.0.0.1", self.address.port(), NQN)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

/// The connection ends: the host is gone, or a fault says so.
struct Over;

struct Connection<'a> {
    shared: &'a Shared,
    config: Config,
    number: usize,
    /// Bytes sent and received so far.
    bytes: (usize, usize),
    qid: u16,
    /// Commands that are not answered, with their identifiers.
    silent: Vec<(Slot, u16)>,
    /// The request for the next event.
    waiting: Option<Slot>,
    stream: TcpStream,
    controller: Controller,
    connected: bool,
    admin: bool,
    out: Vec<u8>,
    /// Commands whose data comes by R2T: the command, all its bytes, what has come.
    writes: HashMap<u16, (Sqe, Vec<u8>, usize)>,
}

impl<'a> Connection<'a> {
    fn new(shared: &'a Shared, config: Config, number: usize, stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("nodelay");
        stream.set_read_timeout(Some(Duration::from_millis(5))).expect("a time limit");
        let limits = Limits {
            in_capsule_bytes: config.in_capsule_bytes,
            max_h2c_bytes: config.max_h2c_bytes,
            allow_header_digest: true,
            allow_data_digest: true,
            max_transfer_bytes: 1 << 20,
        };
        let controller = Controller::new(limits);
        let (out, writes) = (Vec::new(), HashMap::new());
        Self {
            shared,
            config,
            number,
            bytes: (0, 0),
            qid: 0,
            silent: Vec::new(),
            waiting: None,
            stream,
            controller,
            connected: false,
            admin: false,
            out,
            writes,
        }
    }

    fn serve(mut self) {
        self.converse();
        // The host sees the end although `hang_up` has another descriptor of the socket.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    fn converse(&mut self) {
        let (mut input, mut chunk) = (Vec::new(), vec![0; 48 * 1024]);
        loop {
            let cut = self.config.cut.filter(|cut| cut.connection == self.number);
            let most = cut.map_or(chunk.len(), |cut| (cut.received - self.bytes.1).min(chunk.len()));
            match self.stream.read(&mut chunk[..most]) {
                // Systems call it one or the other.
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => self.unasked(),
                Ok(0) | Err(_) => return,
                Ok(n) => {
                    input.extend_from_slice(&chunk[..n]);
                    self.bytes.1 += n;
                }
            }
            if self.config.fault == Fault::Mute {
                continue;
            }
            let ended = self.parse(&mut input).is_err();
            if let Some(cut) = cut
                && self.bytes.0 + self.out.len() >= cut.sent
            {
                let _ = self.stream.write_all(&self.out[..cut.sent - self.bytes.0]);
                return;
            }
            self.bytes.0 += self.out.len();
            for piece in self.out.chunks(self.config.piece) {
                if self.stream.write_all(piece).is_err() {
                    return;
                }
            }
            self.out.clear();
            if ended {
                return;
            }
        }
    }

    /// What is said without having been asked: answers to aborted commands, events.
    fn unasked(&mut self) {
        if self.admin {
            let mut events = self.shared.events.lock().expect("events");
            if let Some(slot) = self.waiting.take_if(|_| !events.is_empty()) {
                let result = events.remove(0).to_result();
                self.controller.respond(slot, Status::SUCCESS, result, &mut self.out);
            }
            return;
        }
        let mut aborts = self.shared.aborts.lock().expect("aborts");
        self.silent.retain(|(slot, cid)| {
            let aborted = aborts.contains(&(self.qid, *cid));
            if aborted {
                aborts.retain(|abort| *abort != (self.qid, *cid));
                self.controller.respond(*slot, Status::ABORT_REQUESTED, 0, &mut self.out);
            }
            !aborted
        });
    }

    fn parse(&mut self, input: &mut Vec<u8>) -> Result<(), Over> {
        let mut used = 0;
        loop {
            let fed = self.controller.feed(&input[used..], &mut self.out);
            used += fed.consumed;
            match fed.event {
                None => break,
                Some(controller::Event::Initialized) => {}
                Some(controller::Event::Command { slot, sqe, data, digest_ok, .. }) => {
                    assert!(digest_ok, "the host's digests are right");
                    self.command(slot, &sqe, data)?;
                }
                Some(controller::Event::Data { slot, offset, bytes }) => {
                    let (_, data, _) = self.writes.get_mut(&slot.0).expect("a write");
                    data[offset as usize..][..bytes.len()].copy_from_slice(bytes);
                }
                Some(controller::Event::Received { slot, digest_ok }) => {
                    assert!(digest_ok, "the host's digests are right");
                    let (sqe, data, done) = self.writes.remove(&slot.0).expect("a write");
                    self.write_or_ask(slot, sqe, data, done);
                }
                Some(controller::Event::Closed(cause)) => {
                    eprintln!("test target: {cause}");
                    return Err(Over);
                }
            }
        }
        input.drain(..used);
        Ok(())
    }

    fn command(&mut self, slot: Slot, sqe: &Sqe, data: &[u8]) -> Result<(), Over> {
        if !self.connected {
            return self.connect(slot, sqe, data);
        }
        if self.admin { self.admin_command(slot, sqe) } else { self.io_command(slot, sqe, data) }
    }

    fn connect(&mut self, slot: Slot, sqe: &Sqe, data: &[u8]) -> Result<(), Over> {
        assert!(sqe.is_fabrics() && sqe.fctype() == fabrics::CONNECT, "Connect comes first");
        let (command, config) = (ConnectCommand::view(sqe), &self.config);
        let data = ConnectData::read_from_bytes(data).expect("1,024 bytes of data");
        let bad = Status::CONNECT_INVALID_PARAMETERS.with_dnr();
        let subnqn = data.subnqn().expect("an NQN");
        if subnqn.as_str() != NQN && !subnqn.is_discovery() {
            self.controller.respond(slot, bad, InvalidParameter::SUBNQN.to_result(), &mut self.out);
            return Ok(());
        }
        if let Some(refusal) = config.refusal {
            self.controller.respond(slot, refusal, 0, &mut self.out);
            return Ok(());
        }
        let host = data.hostnqn().expect("an NQN");
        if config.allowed_host.as_ref().is_some_and(|allowed| allowed != host.as_str()) {
            self.controller.respond(slot, Status::CONNECT_INVALID_HOST.with_dnr(), 0, &mut self.out);
            return Ok(());
        }
        let qid = command.qid.get();
        assert_eq!(data.cntlid.get(), if qid == 0 { 0xffff } else { CNTLID });
        assert!(qid == 0 || command.sqsize.get() <= config.mqes, "SQSIZE is within CAP.MQES");
        (self.connected, self.admin, self.qid) = (true, qid == 0, qid);
        if self.admin {
            // A new association finds a controller after reset, or one that the configuration has enabled already.
            let properties = (Cc::default().with_en(config.enabled), Csts::default().with_rdy(config.enabled));
            *self.shared.properties.lock().expect("properties") = properties;
        }
        let depth = u16::try_from(command.depth()).expect("a small queue");
        let in_capsule = config.in_capsule_bytes;
        self.controller.respond(slot, Status::SUCCESS, ConnectResult::connected(CNTLID).to_result(), &mut self.out);
        self.controller.set_queue(depth, self.admin, in_capsule, command.flow_control_disabled());
        Ok(())
    }

    fn admin_command(&mut self, slot: Slot, sqe: &Sqe) -> Result<(), Over> {
        let (config, seen) = (&self.config, &self.shared.seen);
        let (mut status, mut result) = (Status::SUCCESS, 0);
        match (sqe.opcode, sqe.fctype()) {
            (FABRICS, fabrics::PROPERTY_GET | fabrics::PROPERTY_SET) => result = self.property(sqe),
            (admin::IDENTIFY, _) => match self.page(sqe) {
                Some(page) => return self.answer_with(slot, &page),
                None => status = Status::INVALID_FIELD.with_dnr(),
            },
            (admin::GET_LOG_PAGE, _) if sqe.lid() != lid::DISCOVERY => {
                return self.answer_with(slot, &vec![0; sqe.log_bytes() as usize]);
            }
            (admin::GET_LOG_PAGE, _) => {
                let page = self.discovery_log();
                let (at, bytes) = (sqe.log_offset() as usize, sqe.log_bytes() as usize);
                return self.answer_with(slot, &page[at..at + bytes]);
            }
            (admin::ASYNC_EVENT_REQUEST, _) => {
                assert!(self.waiting.replace(slot).is_none(), "one request for events at a time");
                return Ok(());
            }
            (admin::ABORT, _) => {
                seen.aborts.fetch_add(1, Ordering::SeqCst);
                let deaf = config.fault == Fault::Deaf;
                if !deaf {
                    self.shared.aborts.lock().expect("aborts").push((sqe.abort_sqid(), sqe.abort_cid()));
                }
                result = abort_result(!deaf);
            }
            (admin::SET_FEATURES, _) if sqe.fid() == fid::ASYNC_EVENT_CONFIG => {}
            (admin::SET_FEATURES, _) => result = u64::from(QueueCounts::of(config.queues).to_dword()),
            (admin::KEEP_ALIVE, _) => {
                seen.keep_alives.fetch_add(1, Ordering::SeqCst);
                if config.fault == Fault::Hang {
                    return Ok(());
                }
            }
            (DOWNLOAD, _) => {
                let len = sqe.data(ADMIN_IN_CAPSULE_BYTES).expect("a valid SGL").bytes();
                self.write_or_ask(slot, *sqe, vec![0; len as usize], 0);
                return Ok(());
            }
            _ => status = Status::INVALID_OPCODE.with_dnr(),
        }
        self.controller.respond(slot, status, result, &mut self.out);
        Ok(())
    }

    fn property(&mut self, sqe: &Sqe) -> u64 {
        let command = wire::nvme::fabrics::PropertyCommand::view(sqe);
        let mut properties = self.shared.properties.lock().expect("properties");
        let (cc, csts) = &mut *properties;
        match (sqe.fctype(), command.ofst.get()) {
            (fabrics::PROPERTY_GET, CAP) => {
                Cap::default().with_mqes(self.config.mqes).with_to(2).with_css(Cap::CSS_NVM).0
            }
            (fabrics::PROPERTY_GET, VS) => u64::from(self.config.vs.0),
            (fabrics::PROPERTY_GET, CC) => u64::from(cc.0),
            (fabrics::PROPERTY_GET, CSTS) => u64::from(csts.0),
            (fabrics::PROPERTY_SET, CC) => {
                let was = *cc;
                *cc = Cc(command.value.get() as u32);
                assert!(
                    !was.en() || !cc.en() || *cc == was.with_normal_shutdown(),
                    "an enabled controller stays as it is"
                );
                self.shared.seen.disabled.fetch_add(usize::from(was.en() && !cc.en()), Ordering::SeqCst);
                *csts = csts.with_rdy(cc.en());
                if *cc == cc.with_normal_shutdown() {
                    self.shared.seen.shutdowns.fetch_add(1, Ordering::SeqCst);
                    *csts = csts.with_shst(Csts::SHST_COMPLETE);
                }
                0
            }
            other => panic!("property {other:?}"),
        }
    }

    fn page(&self, sqe: &Sqe) -> Option<Vec<u8>> {
        let config = &self.config;
        match sqe.cns() {
            cns::CONTROLLER => {
                let mut id = IdentifyController::new_zeroed();
                id.cntlid = CNTLID.into();
                id.kas = 1.into();
                id.set_in_capsule_bytes(config.in_capsule_bytes);
                id.iorcsz = 1.into();
                id.sgls = sgls::SUPPORTED.into();
                id.mdts = 6;
                id.oncs = (oncs::DSM | oncs::WRITE_ZEROES).into();
                id.vwc = 1;
                id.oaes = oaes::NAMESPACE_ATTRIBUTE.into();
                (config.controller)(&mut id);
                Some(id.as_bytes().to_vec())
            }
            cns::ACTIVE_NAMESPACES => {
                let list = ActiveNamespaces::build(config.namespaces.iter().copied(), sqe.nsid.get());
                Some(list.as_bytes().to_vec())
            }
            cns::NAMESPACE => {
                // As it is now, for connections that live on as well.
                let config = self.shared.config.lock().expect("config").clone();
                let mut id = IdentifyNamespace::new_zeroed();
                id.nsze = config.blocks.into();
                id.ncap = config.blocks.into();
                id.lbaf[0] = LbaFormat::of_bytes(config.block_bytes);
                id.nguid = *b"old nguid field!";
                (config.namespace)(&mut id);
                Some(id.as_bytes().to_vec())
            }
            cns::NAMESPACE_DESCRIPTORS => {
                assert!(config.vs >= Vs::V1_3, "older controllers do not know descriptors");
                Some(IdDescriptorList::build(&[IdDescriptor::Uuid(config.uuid)]).as_bytes().to_vec())
            }
            _ => None,
        }
    }

    /// The whole log; GENCTR moves with every read of the header, so often as the configuration says.
    fn discovery_log(&self) -> Vec<u8> {
        let reads = self.shared.seen.log_reads.fetch_add(1, Ordering::SeqCst);
        let config = &self.config;
        let mut log = DiscoveryLogHeader::new(reads.min(config.changes) as u64, config.entries).as_bytes().to_vec();
        for number in 0..config.entries {
            let nqn = Nqn::new(&format!("{NQN}{number}")).expect("an NQN");
            let address = SocketAddr::from(([192, 0, 2, 1], 4420));
            log.extend_from_slice(DiscoveryLogEntry::tcp(2, number as u16, &nqn, address).as_bytes());
        }
        log
    }

    fn io_command(&mut self, slot: Slot, sqe: &Sqe, data: &[u8]) -> Result<(), Over> {
        let (config, seen) = (&self.config, &self.shared.seen);
        let count = seen.io_commands.fetch_add(1, Ordering::SeqCst) + 1;
        seen.log.lock().expect("log").push((self.number, sqe.opcode));
        match config.fault {
            Fault::CloseAt(last) if count >= last => return Err(Over),
            Fault::Hang | Fault::Silent | Fault::Deaf => {
                self.silent.push((slot, sqe.cid.get()));
                self.shared.unanswered.lock().expect("list").push(sqe.cid.get());
                return Ok(());
            }
            Fault::Stale => {
                for cid in self.shared.unanswered.lock().expect("list").drain(..) {
                    let plen = (size_of::<CapsuleResp>() as u32).into();
                    let ch = CommonHeader { kind: kind::CAPSULE_RESP, flags: 0, hlen: 24, pdo: 0, plen };
                    let stale = CapsuleResp { ch, cqe: Cqe::new(cid, Status::SUCCESS, 0) };
                    self.out.extend_from_slice(stale.as_bytes());
                }
            }
            Fault::Answer(status) => {
                self.controller.respond(slot, status, 0, &mut self.out);
                return Ok(());
            }
            Fault::Garbage => {
                self.out.extend_from_slice(&[0xff; 64]);
                return Ok(());
            }
            _ => {}
        }
        assert!(config.namespaces.contains(&sqe.nsid.get()), "the namespace exists");
        match sqe.opcode {
            io::READ => {
                let bytes = sqe.nlb() as usize * config.block_bytes as usize;
                assert_eq!(sqe.data(config.in_capsule_bytes), Ok(Sgl::Transport { len: bytes as u32 }));
                let start = sqe.slba() as usize * config.block_bytes as usize;
                let page = self.shared.disk.lock().expect("disk")[start..start + bytes].to_vec();
                self.answer_with(slot, &page)
            }
            io::WRITE | io::DSM => {
                seen.fua.fetch_add(usize::from(sqe.opcode == io::WRITE && sqe.fua()), Ordering::SeqCst);
                match sqe.data(config.in_capsule_bytes).expect("a valid SGL") {
                    Sgl::InCapsule { offset: 0, len } if len as usize == data.len() => {
                        seen.in_capsule.fetch_add(1, Ordering::SeqCst);
                        self.write_or_ask(slot, *sqe, data.to_vec(), data.len());
                    }
                    Sgl::Transport { len } => self.write_or_ask(slot, *sqe, vec![0; len as usize], 0),
                    sgl => panic!("{sgl:?} with {} bytes", data.len()),
                }
                Ok(())
            }
            io::WRITE_ZEROES => {
                self.erase(sqe.slba(), sqe.nlb());
                self.controller.respond(slot, Status::SUCCESS, 0, &mut self.out);
                Ok(())
            }
            io::FLUSH => {
                seen.early_flushes.fetch_add(usize::from(!self.writes.is_empty()), Ordering::SeqCst);
                self.controller.respond(slot, Status::SUCCESS, 0, &mut self.out);
                Ok(())
            }
            opcode => panic!("opcode {opcode:02x}h"),
        }
    }

    /// Asks for the next part of a command's data, or carries it out when all is there.
    fn write_or_ask(&mut self, slot: Slot, sqe: Sqe, data: Vec<u8>, done: usize) {
        if done < data.len() {
            let bytes = (data.len() - done).min(self.config.r2t_bytes as usize);
            self.shared.seen.r2ts.fetch_add(1, Ordering::SeqCst);
            self.controller.request_data(slot, bytes as u32, &mut self.out);
            self.writes.insert(slot.0, (sqe, data, done + bytes));
            return;
        }
        if sqe.opcode == io::DSM {
            for range in DsmRange::list(&data, sqe.dsm_ranges()).expect("whole ranges") {
                self.erase(range.slba.get(), range.nlb.get());
            }
        } else {
            let start = sqe.slba() as usize * self.config.block_bytes as usize;
            self.shared.disk.lock().expect("disk")[start..start + data.len()].copy_from_slice(&data);
        }
        self.controller.respond(slot, Status::SUCCESS, 0, &mut self.out);
    }

    fn erase(&self, slba: u64, blocks: u32) {
        let block = self.config.block_bytes as usize;
        self.shared.disk.lock().expect("disk")[slba as usize * block..][..blocks as usize * block].fill(0);
    }

    /// The data of a command and its success, in two pieces where it is large.
    fn answer_with(&mut self, slot: Slot, data: &[u8]) -> Result<(), Over> {
        let fault = if self.admin { Fault::None } else { self.config.fault };
        let total = if fault == Fault::Short { data.len() / 2 } else { data.len() };
        let middle = if total > 8192 { total / 2 } else { 0 };
        let mut success = false;
        for (start, end) in [(0, middle), (middle, total)] {
            if start == end {
                continue;
            }
            let (offset, bytes, last) = (start as u32, (end - start) as u32, end == total);
            success = self.controller.send_data(slot, offset, bytes, last, &mut self.out).success;
            self.out.extend_from_slice(&data[start..end]);
            if fault == Fault::Corrupt {
                let at = self.out.len() - 1;
                self.out[at] ^= 1;
            }
            if self.controller.data_digest() {
                self.out.extend_from_slice(&Crc32c::of(&data[start..end]));
            }
        }
        if !success {
            self.controller.respond(slot, Status::SUCCESS, 0, &mut self.out);
        }
        Ok(())
    }
}
