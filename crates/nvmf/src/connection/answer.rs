//! What is to be done about a command that needs no device.

use wire::nvme::Status;
use wire::tcp::Slot;

/// What is to be done about a command.
pub(crate) enum Answer {
    /// Answer with this.
    Done { status: Status, result: u64 },
    /// Answer with data.
    Data { bytes: Vec<u8>, result: u64 },
    /// Connect is accepted: the queue is as follows.
    Connected { result: u64, queue: QueueShape },
    /// No answer yet: an asynchronous event request, or an Abort that I/O queues have to do with.
    Held,
    /// No answer yet: a Connect that is tried again at each look at the time-outs.
    Later,
    /// The keeper of reservations is asked, and answers: Set Features 83h, for these namespaces of the plan.
    Persist { persist: bool, namespaces: Vec<u32> },
    /// Answer the asynchronous event request in `slot` as aborted, then the Abort.
    Aborted { slot: Slot },
    /// The controller was reset: answer what was held, then the Property Set.
    Reset { held: Vec<Slot> },
    /// Answer, then close.
    Disconnect,
}

impl Answer {
    pub(crate) fn ok() -> Self {
        Self::Done { status: Status::SUCCESS, result: 0 }
    }

    pub(crate) fn result(result: u64) -> Self {
        Self::Done { status: Status::SUCCESS, result }
    }

    pub(crate) fn data(bytes: Vec<u8>) -> Self {
        Self::Data { bytes, result: 0 }
    }
}

impl From<Status> for Answer {
    fn from(status: Status) -> Self {
        Self::Done { status, result: 0 }
    }
}

/// A queue as Connect made it.
pub(crate) struct QueueShape {
    pub(crate) depth: u16,
    pub(crate) admin: bool,
    pub(crate) in_capsule_bytes: u32,
    pub(crate) flow_control_disabled: bool,
}
