//! What a controller may send, PDU by PDU.

use super::super::digest::Digests;
use super::super::header::{self, Carries, Violation};
use super::super::limits::{H2C_GRANULARITY, MAX_H2C_BYTES, MIN_MAX_H2C_BYTES};
use super::super::pdu::{C2hData, CapsuleResp, CommonHeader, Fes, IcResp, R2t, flags, kind};
use super::super::stream::Stage;
use super::super::{Cause, Slot, Step};
use super::{Fed, Host, HostEvent, Phase, RequestState, enter};
use crate::nvme::{Cqe, Status};

type Outcome<'a> = Result<Step<HostEvent<'a>>, Violation>;

impl Host {
    /// Takes received bytes as far as the next event. What is not consumed is given again, with what follows it. A term
    /// request, if one is due, is appended to `out`.
    pub fn feed<'a>(&mut self, input: &'a [u8], out: &mut Vec<u8>) -> Fed<'a> {
        let mut consumed = 0;
        while self.phase != Phase::Closed {
            let rest = &input[consumed..];
            let outcome = match self.stream.stage() {
                Stage::Header => self.header(rest),
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
                    header::append_term_req(kind::H2C_TERM_REQ, &violation, rest, out);
                    self.close();
                    return Fed { consumed, needs: 0, event: Some(HostEvent::Closed(Cause::Violation(violation))) };
                }
            }
        }
        Fed { consumed, needs: 0, event: None }
    }

    // Inlined, as those that complete commands: an event is built where `feed` returns it, instead of being copied.
    #[inline(always)]
    fn header<'a>(&mut self, rest: &'a [u8]) -> Outcome<'a> {
        let Some(ch) = header::common(rest) else { return Ok(Step::Needs(size_of::<CommonHeader>())) };
        match (ch.kind, self.phase) {
            (kind::CAPSULE_RESP, Phase::Live | Phase::AwaitConnect) => self.response(rest, ch),
            (kind::C2H_DATA, Phase::Live | Phase::AwaitConnect) => self.c2h_data(rest, ch),
            (kind::R2T, Phase::Live | Phase::AwaitConnect) => self.r2t(rest, ch),
            (kind::C2H_TERM_REQ, _) => self.term_req(rest),
            (kind::IC_RESP, Phase::AwaitIcResp) => self.ic_resp(rest, ch),
            (kind, _) => Err(header::unexpected(kind)),
        }
    }

    fn ic_resp<'a>(&mut self, rest: &'a [u8], ch: &CommonHeader) -> Outcome<'a> {
        const HLEN: usize = size_of::<IcResp>();
        let layout = header::layout(ch, HLEN, Carries::Nothing, Digests::default())?;
        if rest.len() < layout.total {
            return Ok(Step::Needs(layout.total));
        }
        let response: &IcResp = header::verify(rest, Digests::default())?;
        let max_h2c = response.maxh2cdata.get();
        let refused = if response.pfv.get() != 0 {
            Some(Violation::unsupported(8, "PDU format version is not 0"))
        } else if response.cpda != 0 {
            Some(Violation::unsupported(10, "CPDA is not 0"))
        } else if Digests::from_bits(response.dgst) != self.digests {
            Some(Violation::unsupported(11, "digests are not those that were asked for"))
        } else if max_h2c < MIN_MAX_H2C_BYTES || !max_h2c.is_multiple_of(H2C_GRANULARITY) {
            Some(Violation::field(12, "MAXH2CDATA is below 4,096 or no multiple of 4"))
        } else {
            None
        };
        if let Some(violation) = refused {
            return Err(violation.in_header(HLEN));
        }
        self.max_h2c_bytes = max_h2c.min(MAX_H2C_BYTES);
        enter(&mut self.phase, Phase::AwaitConnect);
        Ok(Step::Event(layout.total, HostEvent::Initialized))
    }

    #[inline(always)]
    fn response<'a>(&mut self, rest: &'a [u8], ch: &CommonHeader) -> Outcome<'a> {
        const HLEN: usize = size_of::<CapsuleResp>();
        let layout = header::layout(ch, HLEN, Carries::Nothing, self.digests)?;
        if rest.len() < layout.total {
            return Ok(Step::Needs(layout.total));
        }
        let capsule: &CapsuleResp = header::verify(rest, self.digests)?;
        let cqe = capsule.cqe;
        let Some((slot, entry)) = self.table.find(cqe.cid.get()) else {
            return Err(Violation::field(20, "response to a command that is not in flight").in_header(HLEN));
        };
        if entry.state == RequestState::Sending {
            return Err(Violation::sequence("response to a command whose data was asked for").in_header(HLEN));
        }
        if cqe.status().is_success() && entry.moved != entry.total {
            return Err(Violation::sequence("success with less data than the command has").in_header(HLEN));
        }
        let digest_ok = entry.digest_ok;
        self.table.end(slot);
        Ok(Step::Event(layout.total, HostEvent::Completed { slot, cqe, digest_ok }))
    }

    fn c2h_data<'a>(&mut self, rest: &'a [u8], ch: &CommonHeader) -> Outcome<'a> {
        const HLEN: usize = size_of::<C2hData>();
        let layout = header::layout(ch, HLEN, Carries::Always, self.digests)?;
        if rest.len() < layout.header {
            return Ok(Step::Needs(layout.header));
        }
        let header: &C2hData = header::verify(rest, self.digests)?;
        let slot = self.check_c2h_data(header, layout.data).map_err(|violation| violation.in_header(HLEN))?;
        self.last = header.ch.flags & flags::LAST != 0;
        self.success = header.ch.flags & flags::SUCCESS != 0;
        self.table.step(slot, RequestState::Receiving);
        self.table.entry(slot).moved += layout.data;
        self.stream.begin(slot, header.datao.get(), layout.data, self.digests.data);
        Ok(Step::Consumed(layout.header))
    }

    /// Whether C2HData is the next of a read in flight, and which.
    fn check_c2h_data(&self, header: &C2hData, data: u32) -> Result<Slot, Violation> {
        if header.datal.get() != data {
            return Err(Violation::field(16, "datal is not the length of the data"));
        }
        let Some((slot, entry)) = self.table.find(header.cccid.get()) else {
            return Err(Violation::field(8, "data of a command that is not in flight"));
        };
        if entry.state != RequestState::Reading {
            return Err(Violation::sequence("data of a command that expects none"));
        }
        if header.datao.get() != entry.moved {
            return Err(Violation::of(Fes::OutOfRange, "C2HData does not continue where the last one ended"));
        }
        if data > entry.total - entry.moved {
            return Err(Violation::of(Fes::OutOfRange, "C2HData beyond the end of the command's data"));
        }
        if header.ch.flags & flags::SUCCESS != 0 {
            if header.ch.flags & flags::LAST == 0 || !self.flow_control_disabled {
                return Err(Violation::field(1, "SUCCESS without LAST_PDU, or with flow control"));
            }
            if data != entry.total - entry.moved {
                return Err(Violation::sequence("success with less data than the command has"));
            }
        }
        Ok(slot)
    }

    fn payload<'a>(&mut self, rest: &'a [u8]) -> Step<HostEvent<'a>> {
        if rest.is_empty() {
            return Step::Needs(1);
        }
        let (offset, bytes) = self.stream.take(rest);
        Step::Event(bytes.len(), HostEvent::Data { slot: self.stream.slot(), offset, bytes })
    }

    /// C2HData is over: more is due, or the response, or the command succeeded.
    #[inline]
    pub(super) fn settle(&mut self) -> Option<HostEvent<'static>> {
        let (slot, digest_ok) = self.stream.settle();
        let entry = self.table.entry(slot);
        entry.digest_ok &= digest_ok;
        let digest_ok = entry.digest_ok;
        if self.success {
            let cqe = Cqe::new(self.table.cid(slot), Status::SUCCESS, 0);
            self.table.end(slot);
            return Some(HostEvent::Completed { slot, cqe, digest_ok });
        }
        self.table.step(slot, if self.last { RequestState::Waiting } else { RequestState::Reading });
        None
    }

    fn r2t<'a>(&mut self, rest: &'a [u8], ch: &CommonHeader) -> Outcome<'a> {
        const HLEN: usize = size_of::<R2t>();
        let layout = header::layout(ch, HLEN, Carries::Nothing, self.digests)?;
        if rest.len() < layout.total {
            return Ok(Step::Needs(layout.total));
        }
        let header: &R2t = header::verify(rest, self.digests)?;
        let slot = self.check_r2t(header).map_err(|violation| violation.in_header(HLEN))?;
        let (offset, length) = (header.r2to.get(), header.r2tl.get());
        self.table.step(slot, RequestState::Sending);
        let entry = self.table.entry(slot);
        entry.until = offset + length;
        entry.ttag = header.ttag.get();
        Ok(Step::Event(layout.total, HostEvent::WantsData { slot, offset, length }))
    }

    /// Whether an R2T asks for the next data of a write in flight, and which.
    fn check_r2t(&self, header: &R2t) -> Result<Slot, Violation> {
        let Some((slot, entry)) = self.table.find(header.cccid.get()) else {
            return Err(Violation::field(8, "R2T for a command that is not in flight"));
        };
        match entry.state {
            RequestState::Writing => {}
            RequestState::Sending => return Err(Violation::of(Fes::LimitExceeded, "a second R2T for a command")),
            _ => return Err(Violation::sequence("R2T for a command that has no data to send")),
        }
        if header.r2tl.get() == 0 {
            return Err(Violation::field(16, "R2T for no data"));
        }
        if header.r2to.get() != entry.moved {
            return Err(Violation::of(Fes::OutOfRange, "R2T does not continue where the last one ended"));
        }
        if header.r2tl.get() > entry.total - entry.moved {
            return Err(Violation::of(Fes::OutOfRange, "R2T beyond the end of the command's data"));
        }
        Ok(slot)
    }

    fn term_req<'a>(&mut self, rest: &'a [u8]) -> Outcome<'a> {
        let Some(request) = header::term_req(rest)? else { return Ok(Step::Needs(header::TERM_REQ_BYTES)) };
        let cause = Cause::Terminated { fes: request.fes.get(), fei: request.fei.get() };
        self.close();
        Ok(Step::Event(header::TERM_REQ_BYTES, HostEvent::Closed(cause)))
    }
}
