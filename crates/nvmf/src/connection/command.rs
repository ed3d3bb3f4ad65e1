//! A command of a connection, from its capsule to its answer.
//!
//! ```text
//!            ┌──────────────────────────── in-capsule data, no data ───────────────────────────┐
//!   Free ──▶ NeedsBuffer ──R2T──▶ Receiving ──all data is in──▶ Ready ──▶ AtDevice ──▶ Free (answered)
//!    │            └───────────── read into a buffer ──────────────────────────▲
//!    └──▶ Held (asynchronous event request) ──▶ Free           Ready ──▶ Held (the keeper of reservations has it)
//! ```
//!
//! Each stage has a live count per reactor ([`Stages`]). A step that is not in the picture is a bug and asserts.

use std::fmt;

use block::{Data, Failure};
use machine::clock::Fine;
use machine::region::{Buf, Landing};
use wire::nvme::Status;

use crate::connection::io::Work;
use crate::stats::CellId;

/// Where a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// The slot has no command.
    Free,
    /// Waits for a buffer.
    NeedsBuffer,
    /// An R2T is out; the host sends the data.
    Receiving,
    /// Waits for room in the device's queue; half of a fused pair, for the other half and for its blocks.
    Ready,
    /// The device has it.
    AtDevice,
    /// An asynchronous event request, answered when there is an event; an Abort that waits for an I/O queue; a change
    /// that the keeper of reservations decides about.
    Held,
}

impl Stage {
    /// All stages, in the order of their counts.
    pub const ALL: [Self; 6] =
        [Self::Free, Self::NeedsBuffer, Self::Receiving, Self::Ready, Self::AtDevice, Self::Held];

    /// Its name as a label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::NeedsBuffer => "needs_buffer",
            Self::Receiving => "receiving",
            Self::Ready => "ready",
            Self::AtDevice => "at_device",
            Self::Held => "held",
        }
    }

    fn may_become(self, next: Self) -> bool {
        use Stage::{AtDevice, Free, Held, NeedsBuffer, Ready, Receiving};
        match self {
            Free => matches!(next, NeedsBuffer | Ready | AtDevice | Held),
            NeedsBuffer => matches!(next, Receiving | AtDevice | Free),
            Receiving => matches!(next, Ready | AtDevice | Free),
            Ready => matches!(next, AtDevice | Held | Free),
            AtDevice => matches!(next, Ready | Free),
            Held => next == Free,
        }
    }
}

/// How many commands of a reactor are in each stage.
#[derive(Clone, Debug, Default)]
pub struct Stages([u32; Stage::ALL.len()]);

impl Stages {
    /// The live count of a stage. [`Stage::Free`] is not counted.
    #[must_use]
    pub fn count(&self, stage: Stage) -> u32 {
        self.0[stage as usize]
    }

    /// Adds those of another reactor.
    pub(crate) fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(count, more)| *count += more);
    }

    fn shift(&mut self, from: Stage, to: Stage) {
        if from != Stage::Free {
            self.0[from as usize] -= 1;
        }
        if to != Stage::Free {
            self.0[to as usize] += 1;
        }
    }
}

impl fmt::Display for Stages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (stage, count) in Stage::ALL.into_iter().zip(self.0).filter(|(stage, _)| *stage != Stage::Free) {
            write!(f, "{stage:?} {count}  ")?;
        }
        Ok(())
    }
}

/// What the error log tells of a command.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct About {
    pub(crate) cid: u16,
    pub(crate) opcode: u8,
    pub(crate) nsid: u32,
    pub(crate) lba: u64,
}

/// A command's slot on the service's side, beside the one of the wire's state machine.
pub(crate) struct Command {
    stage: Stage,
    /// Which command it is.
    pub(crate) about: About,
    /// When the pass began that took it.
    pub(crate) since: Fine,
    /// Where it is counted, once its namespace is known.
    pub(crate) cell: Option<CellId>,
    /// What it asks for.
    pub(crate) work: Work,
    /// The namespace's index.
    pub(crate) namespace: usize,
    /// Bytes of its data, in whichever direction.
    pub(crate) bytes: u32,
    /// Requests at the device.
    pub(crate) outstanding: u32,
    /// What it is answered with once its data is in, instead of going to the device; or once the device, which was
    /// asked to give it back, has done so.
    pub(crate) cut: Option<Status>,
    /// Whether its slot is on the list of what waits.
    pub(crate) queued: bool,
    /// The first failure of them.
    pub(crate) failure: Option<Failure>,
    /// Where its data is, or will be.
    pub(crate) payload: Payload,
}

/// The bytes of a command between socket and device.
#[derive(Default)]
pub(crate) enum Payload {
    /// It has none, or they are elsewhere.
    #[default]
    None,
    /// In a buffer of this reactor.
    Buf(Buf),
    /// In slots that the device has lent for them.
    Landing(Landing),
}

impl Payload {
    pub(crate) fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// The places of the bytes from `offset` on, `len` of them; in order.
    pub(crate) fn pieces_mut(&mut self, offset: usize, len: usize) -> impl Iterator<Item = &mut [u8]> {
        let (one, many) = match self {
            Self::None => (None, None),
            Self::Buf(buf) => (Some(&mut buf[offset..offset + len]), None),
            Self::Landing(landing) => (None, Some(landing.pieces_mut(offset..offset + len))),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// As a device takes it.
    pub(crate) fn into_data(self) -> Data<'static> {
        match self {
            Self::None => Data::None,
            Self::Buf(buf) => Data::Carried(buf),
            Self::Landing(landing) => Data::Landed(landing),
        }
    }

    /// What a device gives back because it has no room; bytes that were only shown to it are not there.
    pub(crate) fn of_refused(data: Data<'_>) -> Self {
        match data {
            Data::Carried(buf) => Self::Buf(buf),
            Data::Landed(landing) => Self::Landing(landing),
            Data::Scattered(_) => unreachable!("a command has one buffer"),
            Data::None | Data::Inline(_) | Data::Lend | Data::Sources(_) => Self::None,
        }
    }
}

impl Command {
    pub(crate) fn free() -> Self {
        Self {
            stage: Stage::Free,
            about: About::default(),
            since: Fine::from_nanos(0),
            cell: None,
            work: Work::Nothing,
            namespace: 0,
            bytes: 0,
            outstanding: 0,
            cut: None,
            queued: false,
            failure: None,
            payload: Payload::None,
        }
    }

    pub(crate) fn stage(&self) -> Stage {
        self.stage
    }

    /// Whether it needs this namespace: its device has it, or will.
    pub(crate) fn needs(&self, at: usize) -> bool {
        let waits = !matches!(self.stage, Stage::Free | Stage::Held) && self.cut.is_none();
        self.namespace == at && (waits || self.outstanding > 0)
    }

    /// Takes a step of the picture above.
    pub(crate) fn become_stage(&mut self, next: Stage, stages: &mut Stages) {
        if self.stage != next {
            assert!(self.stage.may_become(next), "a command went from {:?} to {next:?}", self.stage);
            stages.shift(self.stage, next);
            self.stage = next;
        }
    }

    /// The connection is over: whatever the command was doing, it ends here. Where its data was goes back.
    pub(crate) fn abandon(&mut self, stages: &mut Stages) {
        stages.shift(self.stage, Stage::Free);
        self.stage = Stage::Free;
        self.payload = Payload::None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_follow_the_steps() {
        let (mut command, mut stages) = (Command::free(), Stages::default());
        for stage in [Stage::NeedsBuffer, Stage::Receiving, Stage::Ready, Stage::AtDevice] {
            command.become_stage(stage, &mut stages);
            assert_eq!(stages.0.iter().sum::<u32>(), 1);
            assert_eq!(stages.count(stage), 1);
        }
        command.become_stage(Stage::Free, &mut stages);
        assert_eq!(stages.0.iter().sum::<u32>(), 0);
    }

    #[test]
    #[should_panic(expected = "went from Held to AtDevice")]
    fn undeclared_steps_assert() {
        let (mut command, mut stages) = (Command::free(), Stages::default());
        command.become_stage(Stage::Held, &mut stages);
        command.become_stage(Stage::AtDevice, &mut stages);
    }
}
