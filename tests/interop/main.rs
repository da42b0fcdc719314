//! A compute node in another language, written from `protocol.md`, among the real programs. `node.py` is both the example
//! and the proof: it shares no line of code with the library.
//!
//! | module | owns |
//! |---|---|
//! | `python` | starting and ending `node.py` |
//! | `jobs` | jobs in which it takes part |
//! | `frames` | a coordinator that speaks frames with it |
//! | `gradients` | its sums of blocks' gradients |
//! | `journal` | `journal.py`, which reads a coordinator's journal, in the same way |
//! | `updates` | its updates beside those of the Rust node |
//!
//! Where there is no Python 3.10 with numpy (for `journal.py`: no Python 3.8) the tests say so and pass.
#![cfg(feature = "client")]

#[path = "../common/mod.rs"]
mod common;
mod frames;
mod gradients;
mod jobs;
mod journal;
mod python;
mod updates;

use std::fs;

use python::source;

/// Lines of the node at most, blank ones and comments included, and characters of a line: it is read in one sitting.
const LINES_MAX: usize = 380;
const WIDTH_MAX: usize = 120;

#[test]
fn it_stays_short_enough_to_be_an_example() {
    let text = fs::read_to_string(source()).unwrap();
    let wide = text.lines().position(|line| line.chars().count() > WIDTH_MAX);
    assert_eq!(wide, None, "a line, counted from 0, has more than {WIDTH_MAX} characters");
    let lines = text.lines().count();
    assert!((200..=LINES_MAX).contains(&lines), "{lines} lines");
}
