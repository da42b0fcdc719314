//! The client against coordinators that follow a script: it comes back to a job whose coordinator went away, and asks
//! about jobs.
//!
//! | module | owns |
//! |---|---|
//! | `script` | a coordinator that does what a test says |
//! | `book` | a job that is done, with everything that a coordinator knows of it |
//! | `coming_back` | connections that break |
//! | `interrupted` | Ctrl-C |
//! | `asking` | jobs, ledgers, models |
//! | `verifying` | whether a job's bits are right |
//! | `gradients` | both of a job of merged gradients |
#![cfg(feature = "client")]

mod asking;
mod book;
mod coming_back;
#[path = "../common/mod.rs"]
mod common;
mod gradients;
mod interrupted;
mod script;
mod verifying;
