//! A compute node in another language, written from `protocol.md`, among the real programs. `node.py` is both the example
//! and the proof: it shares no line of code with the library.
//!
//! | module | owns |
//! |---|---|
//! | `python` | starting and ending `node.py` |
//! | `jobs` | jobs in which it takes part |
//! | `frames` | a coordinator that speaks frames with it |
//! | `updates` | its updates beside those of the Rust node |
//!
//! Where there is no `python3` with numpy the tests say so and pass.
#![cfg(feature = "client")]

mod frames;
mod jobs;
#[allow(dead_code, reason = "the hostile tests use the rest")]
#[path = "../hostile/peer.rs"]
mod peer;
mod python;
#[allow(dead_code, reason = "the hostile tests use the rest")]
#[path = "../hostile/smallest.rs"]
mod smallest;
#[allow(dead_code, reason = "the fleet's tests use the rest")]
#[path = "../fleet/support.rs"]
mod support;
mod updates;

/// Where `peer` looks for what it shares with the tests that it is from.
mod programs {
    pub use crate::support::PATIENCE;
}

use std::fs;
use std::process::Command;

use python::{SOURCES, is_here, source};

/// Lines of a source, and characters of a line, at most: each is read in one sitting.
const LINES_MAX: usize = 310;
const WIDTH_MAX: usize = 110;

#[test]
fn each_of_its_sources_stays_short() {
    for name in SOURCES {
        let text = fs::read_to_string(source(name)).unwrap();
        let lines = text.lines().count();
        assert!(lines <= LINES_MAX, "{name} has {lines} lines, and {LINES_MAX} are enough");
        let wide = text.lines().position(|line| line.chars().count() > WIDTH_MAX);
        assert_eq!(wide, None, "{name} has a line, counted from 0, of more than {WIDTH_MAX} characters");
    }
}

#[test]
fn its_sources_compile() {
    if !is_here() {
        return;
    }
    let cache = tempfile::tempdir().unwrap();
    let mut compiler = Command::new("python3");
    compiler.args(["-m", "py_compile"]).args(SOURCES.map(source)).env("PYTHONPYCACHEPREFIX", cache.path());
    assert!(compiler.status().unwrap().success());
}
