//! What of a connection's commands concerns a namespace or some of its blocks.

use block::Range;

use super::Connection;
use crate::connection::command::Command;
use crate::shard::engine::Engine;
use crate::shard::exclusive::Key;
use crate::shard::remains::Remains;

impl Connection {
    /// Whether a device has a command of this connection that touches these blocks.
    pub(crate) fn is_busy(&self, engine: &Engine, key: Key, blocks: Range) -> bool {
        let is_there = |command: &Command| {
            command.outstanding > 0 && engine.at(command.namespace).key == key && command.work.touches(blocks)
        };
        self.in_flight > 0 && self.commands.iter().any(is_there)
    }

    /// What devices have of a connection that is about to end.
    pub(crate) fn remains(&self, engine: &Engine) -> Vec<Remains> {
        let at_device = self.commands.iter().enumerate().filter(|(_, command)| command.outstanding > 0);
        let remains = at_device.map(|(index, command)| Remains {
            slot: index as u16,
            requests: command.outstanding,
            key: engine.at(command.namespace).key,
            work: command.work,
        });
        remains.collect()
    }
}
