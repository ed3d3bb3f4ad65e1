//! What devices still have of connections that are gone. It counts where blocks are given away, until it is back.

use block::Range;

use crate::connection::io::Work;
use crate::shard::exclusive::Key;

/// A command of a connection that is gone.
pub(crate) struct Remains {
    /// The command's slot.
    pub(crate) slot: u16,
    /// Its requests at the device.
    pub(crate) requests: u32,
    /// The device.
    pub(crate) key: Key,
    /// What it was to do.
    pub(crate) work: Work,
}

/// Whether one of these touches the blocks.
pub(crate) fn touch(remains: &[Remains], key: Key, blocks: Range) -> bool {
    remains.iter().any(|it| it.key == key && it.work.touches(blocks))
}

/// A request of that slot is back. Whether it was the last of its command.
pub(crate) fn settle(remains: &mut Vec<Remains>, slot: u16) -> bool {
    let at = remains.iter().position(|it| it.slot == slot).expect("every request that a device has is counted");
    remains[at].requests -= 1;
    let is_over = remains[at].requests == 0;
    if is_over {
        remains.swap_remove(at);
    }
    is_over
}
