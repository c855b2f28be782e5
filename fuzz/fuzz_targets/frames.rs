//! Any bytes in any splits: the frame decoder against its slow reference.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| parlor::protocol::frame::harness::check(input));
