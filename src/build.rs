//! Refuses to build for machines on which f32 is not what docs/arithmetic.md computes with, and says why. Owns which
//! those are; does not know whether the machine at hand keeps its word: that is asked at the start of each program.

use std::env::var;

/// Where f32 has more bits than it should.
const X87: &str = "without SSE2 this target computes in the 80 bits of the x87, and rounds otherwise than other machines: \
                   build for i686 or x86_64, or with -C target-feature=+sse2";
/// Where f32 has fewer numbers than it should.
const NEON: &str = "NEON of ARMv7 takes subnormal numbers for 0, and the compiler may use it: build for \
                    armv7-unknown-linux-gnueabihf without +neon and without target-cpu, which computes with VFP";

#[allow(dead_code, reason = "a test includes this file for the rest of it")]
fn main() {
    let told = |name: &str| var(name).unwrap_or_default();
    let [target, architecture] = ["TARGET", "CARGO_CFG_TARGET_ARCH"].map(told);
    let [features, flags] = ["CARGO_CFG_TARGET_FEATURE", "CARGO_ENCODED_RUSTFLAGS"].map(told);
    if let Some(reason) = refusal(&target, &architecture, &features, &flags) {
        println!("cargo::error={target}: {reason}");
    }
    println!("cargo::rerun-if-changed=src/build.rs");
}

/// Why such a target is refused, if it is: its name, its architecture, what Cargo says that it has, and the compiler's flags,
/// separated by the character 0x1F.
pub fn refusal(target: &str, architecture: &str, features: &str, flags: &str) -> Option<&'static str> {
    match architecture {
        "x86" if !features.split(',').any(|feature| feature == "sse2") => Some(X87),
        // No stable compiler tells of NEON; a processor's name may bring it.
        "arm" if target.contains("neon") || flags.contains("+neon") || flags.contains("target-cpu") => Some(NEON),
        _ => None,
    }
}
