#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gradwire::wire::fuzzing::message_roundtrip(input));
