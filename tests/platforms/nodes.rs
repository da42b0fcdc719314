//! Nodes of every kind of machine: the same fingerprints as here.

use std::fmt::Write as _;
use std::sync::OnceLock;

use crate::common::skip;

use gradwire::model::Kernel;
use tempfile::NamedTempFile;

use crate::common::clients::Client;
use crate::common::servers::{Coordinator, Node};
use crate::toolchain::{AARCH64, ARMV7, Machine, Toolchain, emulator};

/// Small enough for an emulator that fuses no multiply-add; the last has a layer of more than 4,096 weights.
const JOBS: [&[&str]; 3] = [
    &["--rounds", "3", "--epochs", "2"],
    &["--recipe", "classic", "--rounds", "3", "--epochs", "5", "--eta", "0.001"],
    &["--rounds", "3", "--epochs", "1", "--hidden", "96,48,12,8,5", "--seed", "7"],
];

/// Rows of three classes that can be told apart, and nearly so.
fn data() -> &'static str {
    static DATA: OnceLock<NamedTempFile> = OnceLock::new();
    let file = DATA.get_or_init(|| {
        let mut text = String::from("width,height,weight,age,sort\n");
        for row in 0..300u32 {
            let noise = |step: u32| f64::from(row * step % 97) / 60.0;
            let (class, width, height) = (row % 3, noise(7), noise(5));
            let far = f64::from(class);
            writeln!(text, "{},{},{},{},{class}", far + width, 2.0 - far + height, noise(3), noise(11)).unwrap();
        }
        let file = NamedTempFile::with_suffix(".csv").unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    });
    file.path().to_str().unwrap()
}

fn job(options: &[&'static str]) -> Vec<&'static str> {
    [&["--data", data()], options].concat()
}

/// The fingerprints of the jobs with this machine's fastest kernel.
fn fingerprints() -> &'static [String; 3] {
    static FINGERPRINTS: OnceLock<[String; 3]> = OnceLock::new();
    FINGERPRINTS.get_or_init(|| JOBS.map(|options| Client::local(2, &job(options)).finish().fingerprint()))
}

/// Has a node, which must have this kernel, do every job alone.
fn gives_the_same_bits(kernel: &str, program: &str, arguments: &[&str]) {
    let nodes = [Node::run(program, &[arguments, &["0", "0", "--name", "other"]].concat())];
    nodes[0].await_line(&format!("kernel {kernel}"));
    let coordinator = Coordinator::of("2", &nodes, &[]);
    for (options, fingerprint) in JOBS.iter().zip(fingerprints()) {
        let finished = Client::start(&coordinator, &job(options)).finish();
        assert_eq!(finished.fingerprint(), *fingerprint, "{program} {arguments:?}: {options:?}");
        assert!(finished.tasks().iter().all(|(name, _)| name == "other"), "{finished:#?}");
    }
}

/// The same with a node built as one would for a small box.
fn gives_the_same_bits_on(machine: &Machine) {
    let toolchain = match Toolchain::find(machine) {
        Ok(toolchain) => toolchain,
        Err(missing) => return skip(format!("{}: {missing}", machine.name)),
    };
    let program = toolchain.build(&["build", "--no-default-features", "--bin", "compute_node"]);
    gives_the_same_bits("portable", toolchain.emulator, &[program.to_str().unwrap()]);
}

#[test]
fn every_kernel_of_this_machine_gives_the_same_bits() {
    for kernel in Kernel::available() {
        let kernel = kernel.to_string();
        gives_the_same_bits(&kernel, env!("CARGO_BIN_EXE_compute_node"), &["--kernel", &kernel]);
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn an_x86_64_without_avx_gives_the_same_bits() {
    match emulator(["qemu-x86_64", "qemu-x86_64-static"]) {
        // It has SSE3, and nothing of the last fifteen years.
        Ok(emulator) => {
            let program = env!("CARGO_BIN_EXE_compute_node");
            gives_the_same_bits("portable", emulator, &["-cpu", "core2duo", program]);
        }
        Err(missing) => skip(format!("x86-64 without AVX: {missing}")),
    }
}

#[test]
#[ignore = "long: builds a node for another machine"]
fn an_aarch64_gives_the_same_bits() {
    gives_the_same_bits_on(&AARCH64);
}

#[test]
#[ignore = "long: builds a node for another machine"]
fn an_armv7_without_neon_gives_the_same_bits() {
    gives_the_same_bits_on(&ARMV7);
}
