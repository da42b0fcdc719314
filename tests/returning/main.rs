//! The client against coordinators that follow a script: it comes back to a job whose coordinator went away, and asks
//! about jobs.
//!
//! | module | owns |
//! |---|---|
//! | `script` | a coordinator that does what a test says |
//! | `book` | a job that is done, with everything that a coordinator knows of it |
//! | `coming_back` | connections that break |
//! | `asking` | jobs, ledgers, models, verifying |
//! | `gradients` | the same of a job of merged gradients |
#![cfg(feature = "client")]

mod asking;
mod book;
mod coming_back;
#[path = "../common/mod.rs"]
mod common;
mod gradients;
mod script;
