//! What a malformed or hostile peer costs: its own connection, and nothing of anybody else's.
//!
//! Every test has a [`common::Bystander`] on the same target, on both reactors, whose I/O goes on meanwhile; and
//! counts controllers and buffers before and after.

#[path = "../common/mod.rs"]
mod common;

mod abandoned;
mod cut;
mod garbage;
mod h2c;
mod malformed;

use common::bystander::{Bystander, large_buffers};
use common::{Raw, Rig};

/// Runs `attack` beside a bystander; afterwards all is as it was before.
fn beside_a_bystander(attack: impl FnOnce(&Rig)) {
    let rig = Rig::on_two_reactors(&["ram:1MiB,bs=512"]);
    // A connection of its own keeps the count of controllers from being 0 by chance.
    let (_witness, _) = Raw::admin(&rig, common::NO_DIGESTS);
    let buffers = large_buffers(&rig);
    assert!(buffers[0] > 0);
    let bystander = Bystander::start(&rig);
    attack(&rig);
    bystander.finish();
    rig.await_controllers(1);
    assert_eq!(large_buffers(&rig), buffers, "buffers came back");
}
