#![no_main]

libfuzzer_sys::fuzz_target!(|stream: &[u8]| gradwire::wire::fuzzing::frame_decode(stream));
