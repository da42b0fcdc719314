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

use python::{is_here, source};

/// Lines of code of the node at most, and characters of a line: it is read in one sitting.
const CODE_LINES_MAX: usize = 370;
const WIDTH_MAX: usize = 120;

/// Counts a module's lines that are neither blank, nor comments, nor strings that document.
const COUNT: &str = "
import ast, sys
text = open(sys.argv[1]).read()
said = set()
for node in ast.walk(ast.parse(text)):
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        said.update(range(node.lineno, node.end_lineno + 1))
lines = [line.strip() for line in text.splitlines()]
print(sum(bool(line) and line[0] != '#' and number not in said for number, line in enumerate(lines, 1)))
";

#[test]
fn it_stays_short_enough_to_be_an_example() {
    let text = fs::read_to_string(source()).unwrap();
    let wide = text.lines().position(|line| line.chars().count() > WIDTH_MAX);
    assert_eq!(wide, None, "a line, counted from 0, has more than {WIDTH_MAX} characters");
    if !is_here() {
        return;
    }
    let counted = Command::new("python3").args(["-c", COUNT]).arg(source()).output().unwrap();
    let lines: usize = String::from_utf8(counted.stdout).unwrap().trim().parse().unwrap();
    assert!((200..=CODE_LINES_MAX).contains(&lines), "{lines} lines of code");
}
