//! What a malformed or hostile peer costs: its own connection, and nothing of anybody else's.
//!
//! Every test has a [`common::Bystander`] on the same target, on both reactors, whose I/O goes on meanwhile; and
//! counts controllers and buffers before and after.
//!
//! What other targets and hosts had to be repaired for, and the tests that would have found it here (`w` is
//! `crates/wire/tests`, the rest is in `crates/nvmf/tests`):
//!
//! | bug | what it was | tests |
//! |---|---|---|
//! | CVE-2023-5178 | a queue torn down twice | [`abandoned`], [`cut`]: an end at every step and every byte |
//! | CVE-2023-6356, 6535, 6536 | H2CData of wrong tag, offset, length, LAST | [`h2c`], `w/target_rules.rs` |
//! | CVE-2026-22998 | H2CData for what has no buffer: too early, too late, a read | [`h2c`] |
//! | CVE-2025-21927 | HLEN, PDO, PLEN that lead outside the PDU | [`malformed`]; for the host `w/malformed.rs` |
//! | spdk#1546 | data of a Fabrics command that is not in its capsule | `conformance/connect.rs` |
//! | SPDK fd7af4ca20, e749fa9c27 | log pages and Identify beyond their ends | `conformance/logs.rs`, `identify.rs` |
//! | CVE-2024-53169, CVE-2025-40343 | keep-alive against the end | [`abandoned`], `conformance/association.rs` |

#[path = "../common/mod.rs"]
mod common;

mod abandoned;
mod bitflips;
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
