//! Any bytes as operations: the state machines of rooms against their models.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| parlor::rooms::harness::run(input));
