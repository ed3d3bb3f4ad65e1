//! What a host may send, PDU by PDU.

use super::super::digest::{Crc32c, Digests};
use super::super::header::{self, Carries, Violation};
use super::super::limits::{ADMIN_IN_CAPSULE_BYTES, MAX_HPDA};
use super::super::pdu::{CapsuleCmd, CommonHeader, Fes, H2cData, IcReq, IcResp, flags, kind};
use super::super::stream::Stage;
use super::super::{Cause, Slot, Step};
use super::{Controller, Event, Fed, Phase, RequestState};
use crate::nvme::opcode::FABRICS;
use zerocopy::little_endian::{U16, U32};

type Outcome<'a> = Result<Step<Event<'a>>, Violation>;

impl Controller {
    /// Takes received bytes as far as the next event. What is not consumed is given again, with what follows it.
    /// Answers that the protocol itself asks for (ICResp, a term request) are appended to `out`.
    pub fn feed<'a>(&mut self, input: &'a [u8], out: &mut Vec<u8>) -> Fed<'a> {
        let mut consumed = 0;
        while self.phase != Phase::Closed {
            let rest = &input[consumed..];
            let outcome = match self.stream.stage() {
                Stage::Header => self.header(rest, out),
                Stage::Payload => Ok(self.payload(rest)),
                Stage::Digest => {
                    let (taken, missing) = self.stream.take_digest(rest);
                    consumed += taken;
                    Ok(if missing == 0 { Step::Consumed(0) } else { Step::Needs(missing) })
                }
                Stage::Settled => Ok(self.settle().map_or(Step::Consumed(0), |event| Step::Event(0, event))),
            };
            match outcome {
                Ok(Step::Needs(needs)) => return Fed { consumed, needs, event: None },
                Ok(Step::Consumed(bytes)) => consumed += bytes,
                Ok(Step::Event(bytes, event)) => {
                    return Fed { consumed: consumed + bytes, needs: 0, event: Some(event) };
                }
                Err(violation) => {
                    header::append_term_req(kind::C2H_TERM_REQ, &violation, rest, out);
                    self.close();
                    return Fed { consumed, needs: 0, event: Some(Event::Closed(Cause::Violation(violation))) };
                }
            }
        }
        Fed { consumed, needs: 0, event: None }
    }

    // Inlined, as `command`: an event is built where `feed` returns it, instead of being copied three times.
    #[inline(always)]
    fn header<'a>(&mut self, rest: &'a [u8], out: &mut Vec<u8>) -> Outcome<'a> {
        let Some(ch) = header::common(rest) else { return Ok(Step::Needs(size_of::<CommonHeader>())) };
        match (ch.kind, self.phase) {
            (kind::CAPSULE_CMD, Phase::Live | Phase::AwaitConnect) => self.command(rest, ch),
            (kind::H2C_DATA, Phase::Live | Phase::AwaitConnect) => self.h2c_data(rest, ch),
            (kind::H2C_TERM_REQ, _) => self.term_req(rest),
            (kind::IC_REQ, Phase::AwaitIcReq) => self.ic_req(rest, ch, out),
            (kind, _) => Err(header::unexpected(kind)),
        }
    }

    fn ic_req<'a>(&mut self, rest: &'a [u8], ch: &CommonHeader, out: &mut Vec<u8>) -> Outcome<'a> {
        const HLEN: usize = size_of::<IcReq>();
        let layout = header::layout(ch, HLEN, Carries::Nothing, Digests::default())?;
        if rest.len() < layout.total {
            return Ok(Step::Needs(layout.total));
        }
        let request: &IcReq = header::verify(rest, Digests::default())?;
        if request.pfv.get() != 0 {
            return Err(Violation::unsupported(8, "PDU format version is not 0").in_header(HLEN));
        }
        if request.hpda > MAX_HPDA {
            return Err(Violation::field(10, "HPDA is beyond 31").in_header(HLEN));
        }
        let allowed = Digests { header: self.limits.allow_header_digest, data: self.limits.allow_data_digest };
        self.digests = Digests::from_bits(request.dgst).and(allowed);
        let alignment = (usize::from(request.hpda) + 1) * 4;
        let header = size_of::<H2cData>() + self.digests.header_bytes();
        self.c2h_data_offset = header.next_multiple_of(alignment) as u8;
        let response = IcResp {
            ch: CommonHeader { kind: kind::IC_RESP, flags: 0, hlen: HLEN as u8, pdo: 0, plen: U32::new(HLEN as u32) },
            pfv: U16::ZERO,
            cpda: 0,
            dgst: self.digests.bits(),
            maxh2cdata: U32::new(self.limits.max_h2c_bytes),
            reserved: [0; 112],
        };
        header::append(&response, Digests::default(), out);
        self.enter(Phase::AwaitConnect);
        Ok(Step::Event(layout.total, Event::Initialized))
    }

    #[inline(always)]
    fn command<'a>(&mut self, rest: &'a [u8], ch: &CommonHeader) -> Outcome<'a> {
        const HLEN: usize = size_of::<CapsuleCmd>();
        const TOO_LONG: Violation = Violation::field(4, "more in-capsule data than the queue takes");
        let layout = header::layout(ch, HLEN, Carries::Maybe, self.digests)?;
        if layout.data > self.queue.in_capsule_bytes.max(ADMIN_IN_CAPSULE_BYTES) {
            return Err(TOO_LONG);
        }
        if rest.len() < layout.header {
            return Ok(Step::Needs(layout.header));
        }
        // All that can be wrong is looked for before the data is waited for.
        let capsule: &CapsuleCmd = header::verify(rest, self.digests)?;
        if layout.data > self.queue.in_capsule_bytes && capsule.sqe.opcode != FABRICS {
            return Err(TOO_LONG.in_header(HLEN));
        }
        if self.table.is_full() {
            return Err(Violation::sequence("more commands in flight than the queue takes").in_header(HLEN));
        }
        if rest.len() < layout.total {
            return Ok(Step::Needs(layout.total));
        }
        let (data, digest) = rest[layout.header..layout.total].split_at(layout.data as usize);
        let digest_ok = digest.is_empty() || digest == Crc32c::of(data);
        let (slot, duplicate) = self.table.begin(capsule.sqe.cid.get());
        Ok(Step::Event(layout.total, Event::Command { slot, sqe: capsule.sqe, data, digest_ok, duplicate }))
    }

    fn h2c_data<'a>(&mut self, rest: &'a [u8], ch: &CommonHeader) -> Outcome<'a> {
        const HLEN: usize = size_of::<H2cData>();
        let layout = header::layout(ch, HLEN, Carries::Always, self.digests)?;
        if layout.data > self.limits.max_h2c_bytes {
            return Err(Violation::of(Fes::LimitExceeded, "H2CData is longer than MAXH2CDATA"));
        }
        if rest.len() < layout.header {
            return Ok(Step::Needs(layout.header));
        }
        let header: &H2cData = header::verify(rest, self.digests)?;
        let end = self.check_h2c_data(header, layout.data).map_err(|violation| violation.in_header(HLEN))?;
        let slot = Slot(header.ttag.get());
        self.table.step(slot, RequestState::Receiving);
        self.table.entry(slot).moved = end;
        self.stream.begin(slot, header.datao.get(), layout.data, self.digests.data);
        Ok(Step::Consumed(layout.header))
    }

    /// Whether H2CData is what an open R2T asked for next. Returns where it ends.
    fn check_h2c_data(&self, header: &H2cData, data: u32) -> Result<u32, Violation> {
        if header.datal.get() != data {
            return Err(Violation::field(16, "datal is not the length of the data"));
        }
        let Some((entry, state)) = self.table.get(Slot(header.ttag.get())) else {
            return Err(Violation::field(10, "ttag is not one of ours"));
        };
        if state != RequestState::AwaitingData {
            return Err(Violation::sequence("H2CData that no R2T asked for"));
        }
        if entry.cid != header.cccid.get() {
            return Err(Violation::field(8, "cccid is not the command of this ttag"));
        }
        if header.datao.get() != entry.moved {
            return Err(Violation::of(Fes::OutOfRange, "H2CData does not continue where the last one ended"));
        }
        if data > entry.until - entry.moved {
            return Err(Violation::of(Fes::OutOfRange, "H2CData beyond the end of its R2T"));
        }
        let end = entry.moved + data;
        if (header.ch.flags & flags::LAST != 0) != (end == entry.until) {
            return Err(Violation::field(1, "LAST_PDU is not set exactly on the last H2CData of the R2T"));
        }
        Ok(end)
    }

    fn payload<'a>(&mut self, rest: &'a [u8]) -> Step<Event<'a>> {
        if rest.is_empty() {
            return Step::Needs(1);
        }
        let (offset, bytes) = self.stream.take(rest);
        Step::Event(bytes.len(), Event::Data { slot: self.stream.slot(), offset, bytes })
    }

    /// H2CData is over: the R2T goes on, or is fulfilled.
    pub(super) fn settle(&mut self) -> Option<Event<'static>> {
        let (slot, digest_ok) = self.stream.settle();
        let entry = self.table.entry(slot);
        entry.digest_ok &= digest_ok;
        let digest_ok = entry.digest_ok;
        if entry.moved < entry.until {
            self.table.step(slot, RequestState::AwaitingData);
            None
        } else {
            self.table.step(slot, RequestState::Executing);
            Some(Event::Received { slot, digest_ok })
        }
    }

    fn term_req<'a>(&mut self, rest: &'a [u8]) -> Outcome<'a> {
        let Some(request) = header::term_req(rest)? else { return Ok(Step::Needs(header::TERM_REQ_BYTES)) };
        let cause = Cause::Terminated { fes: request.fes.get(), fei: request.fei.get() };
        self.close();
        Ok(Step::Event(header::TERM_REQ_BYTES, Event::Closed(cause)))
    }
}
