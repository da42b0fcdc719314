#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gradwire::client::fuzzing::model(input));
