//! Commands that end before they are done: their namespace has gone, their host wants them aborted or has lost its
//! right to the blocks, or their connection is over.
//!
//! ```text
//!   waits for a buffer, for room at the device    answered at once
//!   waits for the host's data                     answered when the data is in: it was asked for, and will come
//!   at the device                                 the device is asked to give it back, and has the last word
//! ```

use block::Op;
use wire::nvme::Status;
use wire::tcp::Slot;

use super::Connection;
use crate::connection::command::Stage;
use crate::connection::io::Work;
use crate::shard::engine::Pass;

impl Connection {
    /// A namespace is leaving: what its device does not have yet ends with `status`.
    pub(crate) fn withdraw(&mut self, pass: &mut Pass<'_>, status: Status, at: usize) {
        for slot in self.slots() {
            if self.commands[slot.index()].needs(at) {
                self.cut(pass, slot, status);
            }
        }
    }

    /// The devices of `which` namespaces were waited for long enough and are asked to give back what they have: it ends
    /// with `status`, as does what waits for them.
    pub(crate) fn recall(&mut self, pass: &mut Pass<'_>, status: Status, which: impl Fn(usize) -> bool) {
        for slot in self.slots() {
            let command = &mut self.commands[slot.index()];
            if !which(command.namespace) {
                continue;
            }
            if command.outstanding > 0 {
                command.cut.get_or_insert(status);
            } else {
                self.cut(pass, slot, status);
            }
        }
    }

    /// Whether a command needs this namespace.
    pub(crate) fn needs(&self, at: usize) -> bool {
        self.commands.iter().any(|command| command.needs(at))
    }

    /// Ends a command that no device has, now or as soon as the data that the host was asked for is in. Whether it was
    /// such a one.
    pub(super) fn cut(&mut self, pass: &mut Pass<'_>, slot: Slot, status: Status) -> bool {
        let command = &mut self.commands[slot.index()];
        match (command.stage(), command.work) {
            (Stage::Receiving, _) => {
                command.cut = Some(status);
                return true;
            }
            (Stage::NeedsBuffer, Work::Block(Op::Read(_))) => self.reading -= command.bytes as usize,
            (Stage::NeedsBuffer, _) => {}
            (Stage::Ready, _) if command.outstanding == 0 => {}
            _ => return false,
        }
        self.respond(pass, slot, status, 0);
        true
    }

    /// Asks the device to give back what it has of a command, which then ends with `status`. False: it has nothing.
    fn cancel(&mut self, pass: &mut Pass<'_>, slot: Slot, status: Status) -> bool {
        let command = &mut self.commands[slot.index()];
        if command.outstanding == 0 {
            return false;
        }
        command.cut.get_or_insert(status);
        self.cancel_requests(pass, slot);
        true
    }

    /// Asks the device for the end of a command's requests.
    pub(super) fn cancel_requests(&self, pass: &mut Pass<'_>, slot: Slot) {
        let command = &self.commands[slot.index()];
        for part in 0..command.work.parts() {
            pass.engine.cancel(pass.ring, command.namespace, self.owner(slot).tag_of(part));
        }
    }

    /// Ends what the host wants aborted, as far as that is possible, and says so to the admin queue.
    pub(super) fn abort_what_is_asked(&mut self, pass: &mut Pass<'_>) {
        while let Some(cid) = self.session.next_abort() {
            let is_there = |slot: &Slot| {
                let command = &self.commands[slot.index()];
                command.stage() != Stage::Free && command.about.cid == cid
            };
            let found = self.slots().find(is_there);
            if found.is_some_and(|slot| self.cut(pass, slot, Status::ABORT_REQUESTED)) {
                self.session.abort_over(cid, true);
            } else if !found.is_some_and(|slot| self.cancel(pass, slot, Status::ABORT_REQUESTED)) {
                self.session.abort_over(cid, false);
            }
        }
    }

    /// A command whose device was asked to give it back has ended.
    #[cold]
    pub(super) fn was_cancelled(&mut self, slot: Slot, aborted: bool) {
        self.session.abort_over(self.commands[slot.index()].about.cid, aborted);
    }

    /// Answers the Aborts of this admin queue of which is known what became of their commands.
    pub(super) fn answer_aborts(&mut self, pass: &mut Pass<'_>) {
        while let Some((slot, result)) = self.session.next_abort_over(pass.now) {
            self.respond(pass, slot, Status::SUCCESS, result);
        }
    }

    fn slots(&self) -> impl Iterator<Item = Slot> + use<> {
        (0..self.commands.len() as u16).map(Slot)
    }
}
