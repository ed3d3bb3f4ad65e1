//! Arbitrary bytes for either side of a connection that is in use; the format is in the harness.
#![no_main]

#[path = "../../crates/wire/tests/support/mod.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|input: &[u8]| support::harness::pdu(input));
