//! The few `unsafe` lines of the kernels and of fork and join, in an interpreter that watches every access to memory.
//!
//! Needs `cargo +nightly miri` and its sources (`rustup toolchain install nightly --component miri,rust-src`); where they
//! are missing it says so, and passes. It interprets AVX2, as far as the kernels use it, and no AVX-512.
#![cfg(target_arch = "x86_64")]

mod common;

use std::path::Path;
use std::process::Command;

use common::skip;

/// Tests of the library that reach all of it and are done in seconds: each of the vector's operations, lanes as flat
/// numbers, the transposition, products of a layer, a batch that two threads share. A whole task takes minutes.
const TESTS: [&str; 5] = [
    "model::vector::tests",
    "model::lanes::tests",
    "model::gather::tests",
    "model::product::tests",
    "compute::fork_join::tests::a_panic",
];

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
    let status = miri()
        .args(["test", "--locked", "--no-default-features", "--lib", "--target-dir"])
        .arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join("miri"))
        .arg("--")
        .args(TESTS)
        // What the interpreter says the processor has.
        .env("RUSTFLAGS", "-C target-feature=+avx2,+fma")
        // The clock, for the helpers.
        .env("MIRIFLAGS", "-Zmiri-disable-isolation")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .unwrap();
    assert!(status.success());
}
