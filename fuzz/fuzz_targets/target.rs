//! Whole associations with the real target, stepped by hand; the script's format is in `crates/nvmf/tests/stateful`.
#![no_main]
#![allow(dead_code, reason = "shared with the ordinary tests")]

extern crate qpair_block as block;
extern crate qpair_machine as machine;
extern crate qpair_wire as wire;

#[path = "../../crates/nvmf/tests/stateful/model.rs"]
mod model;
#[path = "../../crates/nvmf/tests/common/pdu.rs"]
mod pdu;
#[path = "../../crates/nvmf/tests/stateful/peer.rs"]
mod peer;
#[path = "../support/pipes.rs"]
mod pipes;
#[path = "../../crates/nvmf/tests/stateful/script.rs"]
mod script;
#[path = "../../crates/nvmf/tests/stateful/world.rs"]
mod world;

libfuzzer_sys::fuzz_target!(init: pipes::ignore_sigpipe(), |input: &[u8]| {
    world::run(input);
});
