//! What benches share: what test programs share, and below it what only a measurement needs.
//!
//! | module | owns |
//! |---|---|
//! | `chains` | the peak of a core, in multiply-adds |
//! | `processes` | cores, and what a process uses |
//! | `processor` | the processor's name |

#![allow(dead_code, unused_imports, reason = "no bench uses all of it")]

#[path = "../../tests/common/mod.rs"]
mod programs;

pub mod chains;
pub mod processes;
pub mod processor;

pub use programs::*;
