//! Replays what the fuzzers start from and what they have found, with any compiler.

#[path = "../common/mod.rs"]
mod common;
mod files;
mod made;

use files::{Files, files};
use gradwire::wire::fuzzing;

/// A fuzz target.
struct Target {
    name: &'static str,
    body: fn(&[u8]),
    /// Makes its seeds; otherwise they are written by hand, and lie in its folder.
    made: Option<fn() -> Files>,
    seeds_min: usize,
}

const TARGETS: [Target; 7] = [
    Target { name: "csv", body: gradwire::dataset::fuzzing::csv, made: None, seeds_min: 46 },
    Target { name: "frame_decode", body: fuzzing::frame_decode, made: Some(made::frames), seeds_min: 78 },
    Target { name: "message_roundtrip", body: fuzzing::message_roundtrip, made: Some(made::messages), seeds_min: 103 },
    Target { name: "model", body: gradwire::client::fuzzing::model, made: Some(made::models), seeds_min: 3 },
    Target { name: "session", body: fuzzing::session, made: Some(made::dialogues), seeds_min: 83 },
    Target { name: "split_independent", body: fuzzing::split_independent, made: Some(made::pieces), seeds_min: 10 },
    Target { name: "text_line", body: fuzzing::text_line, made: None, seeds_min: 47 },
];

impl Target {
    fn seeds(&self) -> Files {
        let Target { name, made, seeds_min, .. } = self;
        let seeds = made.map_or_else(|| files(&format!("seeds/{name}")), |made| made());
        assert!(seeds.len() >= *seeds_min, "{name} has only {} seeds: are they all here?", seeds.len());
        seeds
    }

    /// Runs it on a file, whose name is shown should it fail.
    fn replay(&self, file: &str, bytes: &[u8]) {
        println!("{}/{file}", self.name);
        (self.body)(bytes);
    }
}

#[test]
fn every_target_holds_on_its_seeds_and_on_what_was_found() {
    for target in TARGETS {
        for (file, bytes) in target.seeds().into_iter().chain(files(&format!("regressions/{}", target.name))) {
            target.replay(&file, &bytes);
        }
    }
}

#[test]
fn every_target_holds_on_its_seeds_with_any_byte_changed() {
    for target in TARGETS {
        for (file, seed) in target.seeds() {
            for index in 0..seed.len() {
                let mut changed = seed.clone();
                changed[index] ^= 0x81;
                target.replay(&format!("{file}, byte {index}"), &changed);
            }
        }
    }
}

#[test]
fn every_target_holds_on_its_seeds_cut_off_anywhere() {
    for target in TARGETS {
        for (file, seed) in target.seeds() {
            for length in 0..seed.len() {
                target.replay(&format!("{file}, {length} bytes"), &seed[..length]);
            }
        }
    }
}

#[test]
fn every_target_is_replayed_and_is_one_line() {
    let targets = files("fuzz_targets");
    assert!(targets.keys().map(|name| name.trim_end_matches(".rs")).eq(TARGETS.iter().map(|target| target.name)));
    for (name, text) in targets {
        assert!(
            text.iter().filter(|&&byte| byte == b'\n').count() <= 3,
            "{name}: what is asserted lives in the library"
        );
    }
}

#[test]
#[ignore = "writes seeds to fuzz/corpus, where cargo fuzz starts from"]
fn the_made_seeds_are_written_for_the_fuzzers() {
    for target in TARGETS.iter().filter(|target| target.made.is_some()) {
        let (folder, seeds) = (format!("corpus/{}", target.name), target.seeds());
        files::write(&folder, &seeds);
        let written = files(&folder);
        assert!(seeds.iter().all(|(name, bytes)| written.get(name) == Some(bytes)), "{folder}");
    }
}
