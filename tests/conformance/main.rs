//! The vector that the programs prove themselves by: computed from docs/arithmetic.md and the oracle alone, and programs that
//! are broken from outside.

#[path = "../common/mod.rs"]
mod common;
#[cfg(all(feature = "client", target_os = "linux", target_arch = "x86_64"))]
mod programs;
mod vector;
