//! What is counted of a connection's I/O commands.

use wire::nvme::Status;
use wire::tcp::Slot;

use super::Connection;
use crate::connection::session::Role;
use crate::shard::engine::Pass;
use crate::stats::CellId;

impl Connection {
    /// Counts what hosts have read and written by a command that is over at the device.
    pub(super) fn count(&self, pass: &mut Pass<'_>, slot: Slot) {
        let command = &self.commands[slot.index()];
        if let Some(op) = command.work.op() {
            let block_bytes = pass.engine.at(command.namespace).info.block_bytes;
            pass.engine.usage.count(op, block_bytes, command.failure);
        }
    }

    /// Counts an I/O command that has succeeded.
    pub(super) fn succeeded(&self, pass: &mut Pass<'_>, slot: Slot, bytes: u32) {
        let command = &self.commands[slot.index()];
        let cell = command.cell.expect("it had a namespace");
        pass.engine.stats.succeeded(cell, command.about.opcode, bytes, command.since);
    }

    /// Counts a command that has failed, if it is one of an I/O queue.
    pub(super) fn failed(&mut self, pass: &mut Pass<'_>, slot: Slot, status: Status) {
        if matches!(self.session.role(), Role::Io(_)) {
            let cell = self.commands[slot.index()].cell.unwrap_or_else(|| self.cell(pass, 0));
            pass.engine.stats.failed(cell, status);
        }
    }

    /// Where the commands of this I/O queue to a namespace are counted; 0 stands for those that are not there.
    pub(super) fn cell(&mut self, pass: &mut Pass<'_>, nsid: u32) -> CellId {
        if let Some((_, cell)) = self.cells.iter().find(|(known, _)| *known == nsid) {
            return *cell;
        }
        let (subsystem, host) = self.session.names();
        let cell = pass.engine.stats.cell(subsystem, host, nsid);
        self.cells.push((nsid, cell));
        cell
    }
}
