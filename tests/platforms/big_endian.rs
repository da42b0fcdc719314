//! The codecs on a machine whose numbers begin with their highest byte: a copy that should have been a conversion shows.

use std::process::Command;

use crate::common::skip;
use crate::toolchain::{S390X, Toolchain};

/// Tests of the library of what lies in bytes: on the wire, in objects, in a merge, in model files, notes and journals.
const TESTS: [&str; 7] =
    ["wire::", "store::", "digest::", "model::merge::", "model::file::", "client::notes::", "coordinator::journal::"];
/// Some of them that take minutes there: thousands of damaged journals, and how much a page costs.
const SKIPPED: [&str; 4] = ["--skip", "damage::", "--skip", "a_page_costs"];

#[test]
#[ignore = "long: builds the library's tests for another machine"]
fn what_lies_in_bytes_is_read_and_written_as_here_where_the_highest_byte_comes_first() {
    let toolchain = match Toolchain::find(&S390X) {
        Ok(toolchain) => toolchain,
        Err(missing) => return skip(format!("{}: {missing}", S390X.name)),
    };
    // It is built for minutes and runs for seconds.
    let program = toolchain.build(&["test", "--no-run", "--lib", "--config", "profile.dev.opt-level=0"]);
    let output = Command::new(toolchain.emulator).arg(program).args(TESTS).args(SKIPPED).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let passed = said.lines().filter(|line| line.ends_with("... ok")).count();
    assert!(passed > 100, "only {passed} tests were run:\n{said}");
}
