//! Arbitrary bytes and caller's actions for the host's side of a connection; the format is in the harness.
#![no_main]

#[path = "../../crates/wire/tests/support/mod.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|input: &[u8]| support::harness::host(input));
