//! A node for aarch64, static and without the default features, under an emulator: the same bits as on this machine.
//!
//! Needs the target `aarch64-unknown-linux-musl` and `qemu-aarch64` (or `qemu-aarch64-static`, as Debian has it); where one
//! of them is missing it says so, and passes.
#![cfg(feature = "client")]

#[allow(dead_code, reason = "the fleet's tests use the rest")]
#[path = "fleet/support.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use support::{Client, Coordinator, Node};

const TARGET: &str = "aarch64-unknown-linux-musl";
const EMULATORS: [&str; 2] = ["qemu-aarch64", "qemu-aarch64-static"];

/// The emulator, or what this machine lacks for the test.
fn emulator() -> Result<&'static str, String> {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let libraries = Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]).output();
    let has_target = libraries.is_ok_and(|output| Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir());
    if !has_target {
        return Err(format!("the target {TARGET} is not installed"));
    }
    let runs =
        |emulator: &&str| Command::new(emulator).arg("--version").output().is_ok_and(|output| output.status.success());
    EMULATORS.into_iter().find(runs).ok_or_else(|| format!("{} is not installed", EMULATORS[0]))
}

/// Builds the node as one would for a small box; where it is.
fn build() -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("aarch64");
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let status = Command::new(cargo)
        .args(["build", "--locked", "--no-default-features", "--bin", "compute_node", "--target", TARGET])
        .arg("--target-dir")
        .arg(&directory)
        // The target brings its own C library and start-up code; this linker comes with the compiler.
        .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER", "rust-lld")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .unwrap();
    assert!(status.success(), "the node does not build for {TARGET}");
    directory.join(TARGET).join("debug/compute_node")
}

#[test]
fn a_static_aarch64_node_gives_the_same_bits() {
    let emulator = match emulator() {
        Ok(emulator) => emulator,
        Err(missing) => return eprintln!("SKIPPED, nothing was tested: {missing}"),
    };
    let program = build();
    let node = Node::run(emulator, &[program.to_str().unwrap(), "0", "0", "--name", "aarch64"]);
    let coordinator = Coordinator::start("2", &[node.port], &[]);
    let classic = ["--recipe", "classic", "--rounds", "2", "--epochs", "3"];
    let default = ["--rounds", "2", "--epochs", "1", "--hidden", "16,12", "--seed", "7"];
    for job in [&classic[..], &default[..]] {
        let emulated = Client::start(&coordinator, job).finish();
        assert_eq!(emulated.fingerprint(), Client::local(2, job).finish().fingerprint(), "{job:?}");
        assert!(emulated.tasks().iter().all(|(name, _)| name == "aarch64"), "{emulated:#?}");
    }
}
