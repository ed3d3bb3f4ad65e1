//! Files of pools with damage; the format of the script is in `crates/store/tests/damage`.
#![no_main]
#![allow(dead_code, reason = "shared with the ordinary tests")]

extern crate qpair_machine as machine;

#[path = "../../crates/store/tests/damage/world.rs"]
mod world;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    world::run(input);
});
