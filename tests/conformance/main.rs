//! The vector that the programs prove themselves by: computed from docs/arithmetic.md and the oracle alone, and programs that
//! are broken from outside.

#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../book/mod.rs"]
mod book;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../definition/mod.rs"]
mod definition;
#[cfg(all(feature = "client", target_os = "linux", target_arch = "x86_64"))]
mod programs;
#[cfg(feature = "client")]
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../fleet/support.rs"]
mod support;
mod vector;
