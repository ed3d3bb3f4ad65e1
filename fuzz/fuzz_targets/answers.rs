//! Arbitrary bytes for the parsers of what a cache answers.
#![no_main]

#[path = "../../crates/wire/tests/support/mod.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|input: &[u8]| support::answers::answers(input));
