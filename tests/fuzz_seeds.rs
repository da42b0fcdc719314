//! Replays what the fuzzers start from and what they have found, with any compiler.

use std::fs;
use std::path::Path;

/// Runs `body` on every file of a target's folder, and says how many there were.
fn replay(folder: &str, body: fn(&[u8])) -> usize {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(folder);
    let mut files = 0;
    for entry in fs::read_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())) {
        let file = entry.unwrap().path();
        println!("{}", file.display());
        body(&fs::read(&file).unwrap());
        files += 1;
    }
    files
}

#[test]
fn frame_decode_holds_on_every_seed_and_regression() {
    let seeds = replay("seeds/frame_decode", gradwire::wire::fuzzing::frame_decode);
    assert!(seeds > 50, "only {seeds} seeds: are they all here?");
    replay("regressions/frame_decode", gradwire::wire::fuzzing::frame_decode);
}

#[test]
fn frame_decode_holds_on_seeds_with_any_byte_changed() {
    replay("seeds/frame_decode", |seed| {
        for index in 0..seed.len() {
            let mut changed = seed.to_vec();
            changed[index] ^= 0x81;
            gradwire::wire::fuzzing::frame_decode(&changed);
        }
    });
}
