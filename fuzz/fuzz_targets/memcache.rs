//! Streams of memcached's clients; the format is in the harness.
#![no_main]

#[path = "../../crates/wire/tests/support/mod.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|input: &[u8]| support::memcache::memcache(input));
