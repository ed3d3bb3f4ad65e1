//! The admin connection: from Connect to a controller that is ready, and what it says of itself.
//!
//! ```text
//!   ICReq ─ Connect (qid 0) ─ Get CAP, VS ─ [CC.EN = 0, wait] ─ CC.EN = 1 ─ CSTS.RDY ─ Identify ─ ...
//!   ... ─ CC.SHN = 1 ─ CSTS.SHST = complete ─ close
//! ```

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use wire::nvme::fabrics::{CATTR_DISABLE_SQ_FLOW_CONTROL, CNTLID_DYNAMIC};
use wire::nvme::feature::{Event, QueueCounts, event_config, fid};
use wire::nvme::identify::{csi, oaes, sgls};
use wire::nvme::property::{CAP, CC, CSTS, VS};
use wire::nvme::{
    ActiveNamespaces, Cap, Cc, ConnectData, ConnectResult, Csts, IdDescriptorList, NvmIdentifyController,
};
use wire::nvme::{IDENTIFY_BYTES, IdentifyController, IdentifyNamespace, LogRequest, NSID_ALL, Nqn, Sqe, Vs, cns, lid};
use wire::tcp::host::{Host, HostConfig};
use wire::tcp::limits::ADMIN_IN_CAPSULE_BYTES;
use zerocopy::{FromZeros, IntoBytes};

use super::error::AdminError;
use super::limits::{
    ADMIN_DEPTH, ADMIN_QUEUE_ENTRIES, ADMIN_TIMEOUT, CONNECT_TIMEOUT, CSTS_INTERVAL, EVENT_LOG_BYTES, SHUTDOWN_TIMEOUT,
};
use super::line::Line;
use super::uri::Uri;
use crate::Transfer;

const STEP_CONNECT: &str = "Connect";
const STEP_IDENTIFY_CONTROLLER: &str = "Identify Controller";
const STEP_IDENTIFY_NAMESPACE: &str = "Identify Namespace";
const STEP_ENABLE: &str = "enable the controller";

/// CAP.TO counts in this unit.
const READY_UNIT: Duration = Duration::from_millis(500);

/// An admin queue of a controller.
pub(super) struct Admin {
    line: Line,
    pub(super) cntlid: u16,
    pub(super) cap: Cap,
    pub(super) vs: Vs,
    cc: Cc,
    /// For one command.
    limit: Duration,
}

/// An I/O connection that is ready to be handed to a reactor.
pub(super) struct Ready {
    pub(super) stream: TcpStream,
    pub(super) host: Host,
    /// Requests that it takes at once.
    pub(super) depth: u16,
}

/// Connects one queue: the Connect command on a new connection. For the admin queue `cntlid` is [`CNTLID_DYNAMIC`].
fn connect_queue(
    uri: &Uri,
    subnqn: &Nqn,
    qid: u16,
    cntlid: u16,
    sqsize: u16,
    depth: u16,
    limit: Duration,
) -> Result<(Line, u16), AdminError> {
    let limit = limit.min(CONNECT_TIMEOUT);
    let config = HostConfig { header_digest: uri.header_digest, data_digest: uri.data_digest, depth };
    let mut line = Line::open(&uri.host, uri.port, config, limit)?;
    let hostnqn = Nqn::new(&uri.hostnqn).map_err(|error| AdminError::protocol(STEP_CONNECT, error.to_string()))?;
    let data = ConnectData::new(uri.hostid.into_bytes(), cntlid, subnqn, &hostnqn);
    // The keep-alive timer belongs to the controller: only the admin queue's Connect sets it.
    let kato_ms = if qid == 0 { u32::try_from(uri.kato.as_millis()).unwrap_or(u32::MAX) } else { 0 };
    let cattr = if qid > 0 && !uri.flow_control { CATTR_DISABLE_SQ_FLOW_CONTROL } else { 0 };
    let sqe = Sqe::connect(qid, sqsize, kato_ms, cattr);
    let cqe = line.command(STEP_CONNECT, sqe, Transfer::Out(data.as_bytes()), limit)?;
    let result = ConnectResult::from_result(cqe.result());
    if result.authentication_required || result.secure_channel_required {
        return Err(AdminError::protocol(STEP_CONNECT, "the target wants authentication, which this host cannot do"));
    }
    Ok((line, result.cntlid))
}

impl Admin {
    /// Connects the admin queue and makes the controller ready; no command takes longer than `limit`.
    pub(super) fn connect(uri: &Uri, subnqn: &Nqn, limit: Duration) -> Result<Self, AdminError> {
        let sqsize = ADMIN_QUEUE_ENTRIES - 1;
        let limit = limit.min(ADMIN_TIMEOUT);
        let (mut line, cntlid) = connect_queue(uri, subnqn, 0, CNTLID_DYNAMIC, sqsize, ADMIN_DEPTH, limit)?;
        line.set_queue(ADMIN_IN_CAPSULE_BYTES, false);
        let mut admin = Self { line, cntlid, cap: Cap::default(), vs: Vs::default(), cc: Cc::default(), limit };
        admin.cap = Cap(admin.get(CAP, limit)?);
        admin.vs = Vs(admin.get(VS, limit)? as u32);
        admin.enable()?;
        Ok(admin)
    }

    /// Connects an I/O queue to the same controller. A queue of n entries holds n - 1 commands, with and without flow
    /// control (Base 2.0, full queue); SQSIZE, which counts from 0, has the same value.
    pub(super) fn connect_io(
        &self,
        uri: &Uri,
        subnqn: &Nqn,
        qid: u16,
        in_capsule_bytes: u32,
        generation: u16,
    ) -> Result<Ready, AdminError> {
        let depth = self.depth(uri);
        let (mut line, cntlid) = connect_queue(uri, subnqn, qid, self.cntlid, depth, depth, self.limit)?;
        if cntlid != self.cntlid {
            let what = format!("CNTLID is {cntlid} for I/O queue {qid}, but {} for the admin queue", self.cntlid);
            return Err(AdminError::protocol(STEP_CONNECT, what));
        }
        line.set_queue(in_capsule_bytes, !uri.flow_control);
        let (stream, host) = line.into_parts()?;
        Ok(Ready { stream, host: host.with_generation(generation), depth })
    }

    /// Requests in flight per I/O queue: what was asked for, if the controller takes so many.
    pub(super) fn depth(&self, uri: &Uri) -> u16 {
        uri.depth.min(self.cap.mqes()).max(1)
    }

    /// The controller is in use: what held for connecting holds no longer.
    pub(super) fn connected(&mut self) {
        self.limit = ADMIN_TIMEOUT;
    }

    /// Takes what the controller sent without being asked. True: something about its namespaces has changed.
    pub(super) fn look(&mut self) -> Result<bool, AdminError> {
        self.line.look("look at the admin connection")?;
        let Some(cqe) = self.line.event() else { return Ok(false) };
        if !cqe.status().is_success() {
            // It takes no such requests, or no more of them: then there are no events.
            return Ok(false);
        }
        let event = Event::from_result(cqe.result());
        // Reading the log clears the event, whatever it tells; without that there would be no further one.
        let mut log = vec![0; if event.lid == lid::CHANGED_NAMESPACES { IDENTIFY_BYTES } else { EVENT_LOG_BYTES }];
        let request =
            LogRequest { lid: event.lid, lsp: 0, rae: false, offset: 0, bytes: log.len() as u32, nsid: NSID_ALL };
        match self.command("Get Log Page", Sqe::get_log(request), Transfer::In(&mut log), self.limit) {
            Err(error) if !error.is_answer() => return Err(error),
            _ => {}
        }
        self.await_event()?;
        Ok(event == Event::NAMESPACES_CHANGED)
    }

    /// Asks to be told when a namespace changes, and of nothing else, where the controller can (OAES).
    pub(super) fn watch(&mut self, oaes: u32) -> Result<(), AdminError> {
        if oaes & oaes::NAMESPACE_ATTRIBUTE == 0 {
            return Ok(());
        }
        const STEP: &str = "Set Features (Asynchronous Event Configuration)";
        let sqe = Sqe::set_features(fid::ASYNC_EVENT_CONFIG, 0, event_config::NAMESPACE_ATTRIBUTE);
        match self.command(STEP, sqe, Transfer::None, self.limit) {
            Err(error) if !error.is_answer() => Err(error),
            _ => self.await_event(),
        }
    }

    fn await_event(&mut self) -> Result<(), AdminError> {
        self.line.post("Asynchronous Event Request", Sqe::async_event(), self.limit)
    }

    /// Asks for the end of a command of an I/O queue; true: the controller has ended it.
    pub(super) fn abort(&mut self, qid: u16, cid: u16, limit: Duration) -> Result<bool, AdminError> {
        match self.command("Abort", Sqe::abort(qid, cid), Transfer::None, limit) {
            Ok(cqe) => Ok(cqe.result() & 1 == 0),
            Err(error) if error.is_answer() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Disables the controller: it then has let go of every command that it had.
    pub(super) fn disable(&mut self, limit: Duration) -> Result<(), AdminError> {
        const STEP: &str = "disable the controller";
        self.set(STEP, self.cc.with_en(false), limit)?;
        self.wait(STEP, limit, |csts| !csts.rdy())
    }

    /// One command, any command.
    pub(super) fn command(
        &mut self,
        step: &'static str,
        sqe: Sqe,
        transfer: Transfer<'_>,
        limit: Duration,
    ) -> Result<wire::nvme::Cqe, AdminError> {
        self.line.command(step, sqe, transfer, limit)
    }

    /// Identify Controller, with the checks that Linux makes as well: a target that fails one cannot be used.
    pub(super) fn identify_controller(&mut self) -> Result<Box<IdentifyController>, AdminError> {
        const STEP: &str = STEP_IDENTIFY_CONTROLLER;
        let mut id = zeroed::<IdentifyController>();
        self.identify(STEP, Sqe::identify(cns::CONTROLLER, 0, 0, 0), id.as_mut_bytes())?;
        let bad = |what: String| Err(AdminError::protocol(STEP, what));
        if id.cntlid.get() != self.cntlid {
            return bad(format!("CNTLID is {}, but Connect said {}", id.cntlid, self.cntlid));
        }
        if id.kas.get() == 0 {
            return bad("KAS is 0: keep alive is not supported".to_owned());
        }
        if id.ioccsz.get() < 4 {
            return bad(format!("IOCCSZ is {}: a command needs 4", id.ioccsz));
        }
        if id.iorcsz.get() < 1 {
            return bad("IORCSZ is 0: a completion needs 1".to_owned());
        }
        if id.icdoff.get() != 0 {
            return bad(format!("ICDOFF is {}, which is not supported", id.icdoff));
        }
        if id.sgls.get() & sgls::SUPPORTED_MASK == 0 {
            return bad("SGLS says that SGLs are not supported".to_owned());
        }
        Ok(id)
    }

    /// Asks for I/O queues; how many were granted.
    pub(super) fn set_number_of_queues(&mut self, queues: u16) -> Result<u16, AdminError> {
        const STEP: &str = "Set Features (Number of Queues)";
        let sqe = Sqe::set_features(fid::NUMBER_OF_QUEUES, 0, QueueCounts::of(u32::from(queues)).to_dword());
        let cqe = self.command(STEP, sqe, Transfer::None, self.limit)?;
        let granted = QueueCounts::from_dword(cqe.result() as u32)
            .ok_or_else(|| AdminError::protocol(STEP, "the answer is not a number of queues"))?;
        Ok(granted.submission.min(granted.completion).min(u32::from(queues)) as u16)
    }

    /// Calls `each` with every active namespace, in ascending order, until it returns false.
    pub(super) fn active_namespaces(&mut self, mut each: impl FnMut(u32) -> bool) -> Result<(), AdminError> {
        const STEP: &str = "Identify Active Namespaces";
        let mut after = 0;
        loop {
            let mut list = zeroed::<ActiveNamespaces>();
            self.identify(STEP, Sqe::identify(cns::ACTIVE_NAMESPACES, after, 0, 0), list.as_mut_bytes())?;
            let mut count = 0;
            for nsid in list.iter() {
                if nsid <= after {
                    return Err(AdminError::protocol(STEP, "the list does not ascend"));
                }
                (after, count) = (nsid, count + 1);
                if !each(nsid) {
                    return Ok(());
                }
            }
            if count < list.nsid.len() {
                return Ok(());
            }
        }
    }

    /// Identify Namespace.
    pub(super) fn identify_namespace(&mut self, nsid: u32) -> Result<Box<IdentifyNamespace>, AdminError> {
        let mut id = zeroed::<IdentifyNamespace>();
        self.identify(STEP_IDENTIFY_NAMESPACE, Sqe::identify(cns::NAMESPACE, nsid, 0, 0), id.as_mut_bytes())?;
        Ok(id)
    }

    /// The namespace's identification descriptors.
    pub(super) fn namespace_descriptors(&mut self, nsid: u32) -> Result<Box<IdDescriptorList>, AdminError> {
        const STEP: &str = "Identify Namespace (Identification Descriptors)";
        let mut list = zeroed::<IdDescriptorList>();
        self.identify(STEP, Sqe::identify(cns::NAMESPACE_DESCRIPTORS, nsid, 0, 0), list.as_mut_bytes())?;
        Ok(list)
    }

    /// Identify Controller of the NVM command set: sizes of commands without data. All zeros, which is "no limits",
    /// where the controller does not know the question: it is one of version 2.0.
    pub(super) fn identify_nvm_controller(&mut self) -> Result<Box<NvmIdentifyController>, AdminError> {
        const STEP: &str = "Identify Controller (NVM command set)";
        let mut id = zeroed::<NvmIdentifyController>();
        if self.vs >= Vs::V2_0 {
            let sqe = Sqe::identify(cns::COMMAND_SET_CONTROLLER, 0, csi::NVM, 0);
            match self.identify(STEP, sqe, id.as_mut_bytes()) {
                Err(error) if error.is_answer() => id.zero(),
                result => result?,
            }
        }
        Ok(id)
    }

    /// Tells the controller to shut down in good order, which writes its caches back, and waits for it.
    pub(super) fn shut_down(&mut self) -> Result<(), AdminError> {
        const STEP: &str = "shut the controller down";
        self.set(STEP, self.cc.with_normal_shutdown(), SHUTDOWN_TIMEOUT)?;
        self.wait(STEP, SHUTDOWN_TIMEOUT, |csts| csts.shst() == Csts::SHST_COMPLETE)
    }

    fn enable(&mut self) -> Result<(), AdminError> {
        let limit = READY_UNIT * u32::from(self.cap.to()).max(1);
        self.cc = Cc(self.get(CC, self.limit)? as u32);
        if self.cc.en() {
            self.cc = self.cc.with_en(false);
            self.set(STEP_ENABLE, self.cc, self.limit)?;
            self.wait(STEP_ENABLE, limit, |csts| !csts.rdy())?;
        }
        if self.cap.mpsmin() > 0 {
            return Err(AdminError::protocol(STEP_ENABLE, "the controller does not know pages of 4 KiB (CAP.MPSMIN)"));
        }
        // As little as possible is asked for: the NVM command set alone where that can be said.
        let css =
            if self.cap.css() & Cap::CSS_NVM == 0 && self.cap.css() & Cap::CSS_IOCSS != 0 { Cc::CSS_ALL } else { 0 };
        self.cc = Cc::enable().with_css(css);
        self.set(STEP_ENABLE, self.cc, self.limit)?;
        self.wait(STEP_ENABLE, limit, Csts::rdy)
    }

    /// Looks at CSTS until it is as wanted.
    fn wait(&mut self, step: &'static str, limit: Duration, wanted: impl Fn(Csts) -> bool) -> Result<(), AdminError> {
        let deadline = Instant::now() + limit;
        loop {
            let csts = Csts(self.get(CSTS, limit.min(self.limit))? as u32);
            if wanted(csts) {
                return Ok(());
            }
            if csts.cfs() {
                return Err(AdminError::protocol(step, "the controller reports a fatal status (CSTS.CFS)"));
            }
            if Instant::now() >= deadline {
                return Err(AdminError::TimedOut { step, limit });
            }
            thread::sleep(CSTS_INTERVAL);
        }
    }

    fn get(&mut self, offset: u32, limit: Duration) -> Result<u64, AdminError> {
        let eight = wire::nvme::property::bytes(offset) == Some(8);
        let sqe = Sqe::property_get(offset, eight);
        let cqe = self.command("Property Get", sqe, Transfer::None, limit)?;
        Ok(cqe.result())
    }

    fn set(&mut self, step: &'static str, cc: Cc, limit: Duration) -> Result<(), AdminError> {
        self.command(step, Sqe::property_set(CC, false, u64::from(cc.0)), Transfer::None, limit)?;
        Ok(())
    }

    fn identify(&mut self, step: &'static str, sqe: Sqe, page: &mut [u8]) -> Result<(), AdminError> {
        assert_eq!(page.len(), IDENTIFY_BYTES, "every Identify structure is one page");
        self.command(step, sqe, Transfer::In(page), self.limit)?;
        Ok(())
    }
}

/// A structure of zeros on the heap, to be filled.
pub(super) fn zeroed<T: FromZeros>() -> Box<T> {
    Box::new(T::new_zeroed())
}
