//! Any bytes: the request parser against serde_json.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| parlor::protocol::request::harness::run(input));
