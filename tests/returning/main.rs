//! The client against coordinators that follow a script: it comes back to a job whose coordinator went away, and asks
//! about jobs.
//!
//! | module | owns |
//! |---|---|
//! | `script` | a coordinator that does what a test says |
//! | `book` | a job that is done, with everything that a coordinator knows of it |
//! | `coming_back` | connections that break |
//! | `asking` | jobs, ledgers, models, verifying |
#![cfg(feature = "client")]

mod asking;
mod book;
mod coming_back;
#[allow(dead_code, reason = "not everything that is shared is used here")]
#[path = "../hostile/peer.rs"]
mod peer;
#[allow(dead_code, reason = "not everything that is shared is used here")]
#[path = "../hostile/programs.rs"]
mod programs;
mod script;
