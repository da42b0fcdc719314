//! What several test programs share. Each of them, and each bench that starts the programs, takes it as `mod common`.
//!
//! | module | owns |
//! |---|---|
//! | `process` | a child process: started, heard line by line, killed when dropped; the waiting, each time with a deadline |
//! | `servers` | nodes and coordinators on free ports |
//! | `clients` | the client, as a person or a script runs it |
//! | `tables` | small data files |
//! | `cluster` | a coordinator with a node, and the honest job that shows that they are well |
//! | `kills` | jobs under random kills of everything |
//! | `peer` | a peer that may send any bytes |
//! | `smallest` | the smallest job, its objects and its task, for who speaks frames |
//! | `book` | the documents: their examples and tables |
//! | `definition` | the arithmetic's definition in plain loops |
//! | `shapes` | small jobs of many shapes |
//! | `counting` | an allocator that counts |
//!
//! And the word of a test that needs what is not here, `skip`, and whether there is a Python, `has_python`.

#![allow(dead_code, reason = "no test program uses all of it")]

pub mod book;
#[cfg(feature = "client")]
pub mod clients;
#[cfg(feature = "client")]
pub mod cluster;
pub mod counting;
pub mod definition;
#[cfg(feature = "client")]
pub mod kills;
#[cfg(feature = "client")]
pub mod peer;
#[cfg(feature = "client")]
pub mod process;
#[cfg(feature = "client")]
pub mod servers;
pub mod shapes;
#[cfg(feature = "client")]
pub mod smallest;
#[cfg(feature = "client")]
pub mod tables;

use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Set to anything but the empty text: a skip is a failure.
const REQUIRE_ALL: &str = "GRADWIRE_REQUIRE_ALL";
/// Names a file that a line is appended to for each skip.
const LIST: &str = "GRADWIRE_SKIPS";

/// Says that a test was skipped and why: on stderr and in the list of skips. The caller returns then.
///
/// # Panics
///
/// Where everything is required.
pub fn skip(reason: impl Display) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    // Past the test runner, which keeps what a test prints to itself when it passes.
    let _ = writeln!(io::stderr(), "SKIPPED, nothing was tested: {reason} ({test})");
    if let Some(path) = std::env::var_os(LIST) {
        // One write a line: tests that run at the same time do not cut each other's.
        let line = format!("{test}: {reason}\n");
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
        written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    let is_required = std::env::var_os(REQUIRE_ALL).is_some_and(|value| !value.is_empty());
    assert!(!is_required, "{REQUIRE_ALL} is set, and {test} cannot be run: {reason}");
}

/// Whether there is a Python that runs what the repository has in it. Says so where there is none.
pub fn has_python() -> bool {
    static IS_HERE: OnceLock<bool> = OnceLock::new();
    let is_here = *IS_HERE.get_or_init(|| {
        let mut command = Command::new("python3");
        command
            .args(["-c", "import numpy, sys; sys.exit(sys.version_info < (3, 10))"])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    });
    if !is_here {
        skip("there is no Python 3.10 with numpy");
    }
    is_here
}
