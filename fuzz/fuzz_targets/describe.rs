//! Arbitrary answers of a device to Identify, Get Log Page, Get Features and reports; the format is in the harness.
#![no_main]

#[path = "../../crates/describe/tests/support/mod.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|input: &[u8]| support::harness::describe(input));
