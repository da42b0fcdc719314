//! The few `unsafe` lines of the kernels and of fork and join, in an interpreter that watches every access to memory.
//!
//! Needs `cargo +nightly miri` and its sources (`rustup toolchain install nightly --component miri,rust-src`); where they
//! are missing it says so, and passes. It interprets AVX2, as far as the kernels use it, and no AVX-512.
#![cfg(target_arch = "x86_64")]

mod common;

use std::path::Path;
use std::process::Command;

use common::skip;

/// Tests of the library that reach all of the kernels' and are done in seconds: each of the vector's operations, lanes as flat
/// numbers, the transposition, products of a layer. A whole task takes minutes.
const TESTS: [&str; 4] =
    ["model::vector::tests", "model::lanes::tests", "model::gather::tests", "model::layer::product::tests"];

fn miri() -> Command {
    let mut command = Command::new("cargo");
    // The toolchain that runs this test is named in the environment, and would be taken instead.
    command.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO").env_remove("RUSTC").args(["+nightly", "miri"]);
    command
}

#[test]
#[ignore = "long: builds for an interpreter"]
fn the_unsafe_lines_of_the_kernels_and_of_fork_and_join_are_sound_where_an_interpreter_looks() {
    let has_miri = miri().arg("--version").output().is_ok_and(|output| output.status.success());
    if !has_miri {
        skip("cargo +nightly miri is not installed");
        return;
    }
    if !miri().arg("setup").output().is_ok_and(|output| output.status.success()) {
        skip("cargo +nightly miri cannot be set up: is rust-src installed?");
        return;
    }
    let passes = |tests: &[&str], flags: &str| {
        miri()
            .args(["test", "--locked", "--no-default-features", "--lib", "--target-dir"])
            .arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join("miri"))
            .arg("--")
            .args(tests)
            // What the interpreter says the processor has.
            .env("RUSTFLAGS", "-C target-feature=+avx2,+fma")
            // The clock, for the helpers.
            .env("MIRIFLAGS", format!("-Zmiri-disable-isolation {flags}"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .unwrap()
            .success()
    };
    assert!(passes(&TESTS, ""));
    // Each seed is another order in which threads take turns, and in which they see each other's writes.
    assert!(passes(&["compute::fork_join::tests"], "-Zmiri-many-seeds=0..16"));
}
