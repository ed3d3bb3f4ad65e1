//! Whole sessions with the real cache, stepped by hand; the script's format is in `crates/cache/tests/stepped`.
#![no_main]
#![allow(dead_code, reason = "shared with the ordinary tests")]

extern crate qpair_machine as machine;
extern crate qpair_wire as wire;

#[path = "../../crates/cache/tests/stepped/answers.rs"]
mod answers;
#[path = "../support/pipes.rs"]
mod pipes;
#[path = "../../crates/cache/tests/stepped/script.rs"]
mod script;
#[path = "../../crates/cache/tests/stepped/world.rs"]
mod world;

libfuzzer_sys::fuzz_target!(init: pipes::ignore_sigpipe(), |input: &[u8]| {
    world::run(input);
});
