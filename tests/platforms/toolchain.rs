//! What it takes to build for another machine and to run it here: an emulator, a compiler, a standard library, a linker. Owns
//! where each is looked for; does not know what is built.
//!
//! The standard library is that of a target that rustup has installed, that of Debian's `libstd-rust-web-dev` for the other
//! architecture, or, where GRADWIRE_BUILD_STD is set (it takes minutes), one built on the spot from the sources that `rust-src`
//! (rustup) or `rust-web-src` (Debian) brings.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// A kind of machine.
pub struct Machine {
    /// In a word.
    pub name: &'static str,
    emulators: [&'static str; 2],
    /// Targets with their linkers. Nothing is linked at run time: the emulator needs no libraries.
    targets: &'static [(&'static str, &'static str)],
}

/// Whether a standard library may be built.
const BUILD_STD: &str = "GRADWIRE_BUILD_STD";
/// musl's target brings all that it links; its linker comes with the compiler.
const LLD: &str = "rust-lld";

pub const AARCH64: Machine = Machine {
    name: "aarch64",
    emulators: ["qemu-aarch64", "qemu-aarch64-static"],
    targets: &[("aarch64-unknown-linux-musl", LLD), ("aarch64-unknown-linux-gnu", "aarch64-linux-gnu-gcc")],
};

/// With floating point in VFP registers and without NEON, as these targets have it.
pub const ARMV7: Machine = Machine {
    name: "armv7",
    emulators: ["qemu-arm", "qemu-arm-static"],
    targets: &[("armv7-unknown-linux-musleabihf", LLD), ("armv7-unknown-linux-gnueabihf", "arm-linux-gnueabihf-gcc")],
};

/// Big-endian.
pub const S390X: Machine = Machine {
    name: "s390x",
    emulators: ["qemu-s390x", "qemu-s390x-static"],
    targets: &[("s390x-unknown-linux-gnu", "s390x-linux-gnu-gcc")],
};

/// The first of these programs that is here, or what is missing.
pub fn emulator(names: [&'static str; 2]) -> Result<&'static str, String> {
    names.into_iter().find(|name| runs(name)).ok_or_else(|| format!("{} is not installed", names[0]))
}

fn runs(program: impl AsRef<OsStr>) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// What builds for a machine, and what runs it.
pub struct Toolchain {
    pub emulator: &'static str,
    rustc: PathBuf,
    target: &'static str,
    linker: &'static str,
    /// Whether the standard library is built, too.
    builds_std: bool,
}

impl Toolchain {
    /// That of a machine, or what is missing for it.
    pub fn find(machine: &Machine) -> Result<Toolchain, String> {
        let emulator = emulator(machine.emulators)?;
        let compilers: Vec<PathBuf> = compilers().collect();
        let mut ways = compilers.iter().flat_map(|rustc| machine.targets.iter().map(move |target| (rustc, target)));
        let has_std = |(rustc, (target, linker)): &(&PathBuf, &(&str, &str))| {
            let libraries = asked(rustc, &["--print", "target-libdir", "--target", target]);
            libraries.is_some_and(|libraries| libraries.is_dir()) && (*linker == LLD || runs(linker))
        };
        let has_sources = |(rustc, (_, linker)): &(&PathBuf, &(&str, &str))| {
            let sources = |root: PathBuf| root.join("lib/rustlib/src/rust/library/std/Cargo.toml").is_file();
            asked(rustc, &["--print", "sysroot"]).is_some_and(sources) && *linker != LLD && runs(linker)
        };
        let installed = ways.clone().find(has_std).map(|way| (way, false));
        let to_build = || ways.find(has_sources).map(|way| (way, true));
        let targets = machine.targets.iter().map(|(target, _)| *target).collect::<Vec<_>>().join(" or ");
        match installed.or_else(to_build) {
            Some((_, true)) if std::env::var_os(BUILD_STD).is_none() => Err(format!(
                "the standard library for {targets} is not installed, and building it takes minutes: set {BUILD_STD}=1"
            )),
            Some(((rustc, &(target, linker)), builds_std)) => {
                Ok(Toolchain { emulator, rustc: rustc.clone(), target, linker, builds_std })
            }
            None => {
                Err(format!("neither a standard library for {targets} nor its sources, or no linker, are installed"))
            }
        }
    }

    /// Builds something for the machine, and returns the last program that came of it.
    pub fn build(&self, arguments: &[&str]) -> PathBuf {
        let Toolchain { rustc, target, linker, .. } = self;
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let of_target = target.to_uppercase().replace('-', "_");
        let mut command = Command::new(cargo);
        command
            .args(arguments)
            // Nobody debugs what comes of it.
            .args(["--config", "profile.dev.debug=false", "--locked", "--message-format", "json-render-diagnostics"])
            .args(["--target", target, "--target-dir"])
            .arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join(target))
            .env(format!("CARGO_TARGET_{of_target}_LINKER"), linker)
            .env("RUSTC", rustc)
            .env("RUSTFLAGS", "-C target-feature=+crt-static")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        if self.builds_std {
            // No stable compiler has this switch otherwise.
            let parts = if arguments.contains(&"test") { "-Zbuild-std=std,test" } else { "-Zbuild-std=std" };
            command.arg(parts).env("RUSTC_BOOTSTRAP", "1");
        }
        let output = command.stderr(std::process::Stdio::inherit()).output().unwrap();
        assert!(output.status.success(), "{arguments:?} does not build for {target}");
        let messages = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let program =
            |line| Some(PathBuf::from(serde_json::from_slice::<Value>(line).unwrap()["executable"].as_str()?));
        messages.filter_map(program).next_back().expect("a program")
    }
}

/// The compiler of this test, and the system's, where they are new enough.
fn compilers() -> impl Iterator<Item = PathBuf> {
    let own = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    [own.into(), PathBuf::from("/usr/bin/rustc")].into_iter().filter(|rustc| is_new_enough(rustc))
}

fn is_new_enough(rustc: &Path) -> bool {
    let version = |text: &str| -> Option<Vec<u32>> {
        text.split(['.', '-', '+']).take(2).map(|number| number.parse().ok()).collect()
    };
    let needed = version(env!("CARGO_PKG_RUST_VERSION")).unwrap();
    let told = Command::new(rustc).arg("--version").output().ok();
    // "rustc 1.96.0 (...)"
    let told = told.and_then(|output| version(String::from_utf8_lossy(&output.stdout).split(' ').nth(1)?));
    told.is_some_and(|told| told >= needed)
}

/// A path that a compiler says.
fn asked(rustc: &Path, arguments: &[&str]) -> Option<PathBuf> {
    let output = Command::new(rustc).args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}
