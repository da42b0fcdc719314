//! The fleet's promises, kept by real processes on loopback: the same bits whatever the fleet did, nothing lost, and an
//! end with a reason where no good end is possible.
#![cfg(feature = "client")]

mod clients;
#[path = "../common/mod.rs"]
mod common;
mod draining;
mod failures;
mod given_up;
mod gradients;
mod holding;
mod indices;
mod median;
mod membership;
mod memory;
mod models;
mod outer;
mod regression;
mod returning;
mod same_bits;
mod sharing;
mod specifications;
mod survival;
mod targets;
