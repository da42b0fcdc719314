//! Drives the engine and the nodes' cores through thousands of seeded lives: nodes that crash, freeze, restart, lie, repeat
//! themselves and turn work down, over links that delay, reorder and break, and a coordinator that is killed and goes on from
//! what is durable, with jobs that are paused, given up, resumed and forgotten. Virtual time; nothing here reads a clock or sleeps.
//!
//! | file | owns |
//! |---|---|
//! | `scenario` | what is drawn from a seed: the fleet and its faults, the jobs |
//! | `steps` | what the steps of a job consist of |
//! | `world` | virtual time, and the schedule |
//! | `coordinator`, `journal` | what is around the engine, and its disk |
//! | `fleet`, `node` | what happens to nodes, and what is around their cores |
//! | `model` | the simulated mathematics |
//! | `promises` | what must be true |
//! | `coverage` | what must have happened |
//!
//! A failing seed prints itself. Run it alone, with everything that happens, by
//! `GRADWIRE_SIMULATION_SEED=<seed> cargo test --test simulation one_seed -- --nocapture`.
#![cfg(feature = "coordinator")]

mod coordinator;
mod coverage;
mod fleet;
mod journal;
mod model;
mod node;
mod promises;
mod scenario;
mod steps;
mod world;

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use coverage::Coverage;
use world::World;

/// Names one seed to run alone.
const SEED_VARIABLE: &str = "GRADWIRE_SIMULATION_SEED";
/// Lives in an ordinary test run, and in one of the long tier.
const SEEDS: Range<u64> = 0..10_000;
const MORE_SEEDS: Range<u64> = 10_000..50_000;

fn run(seed: u64) -> Coverage {
    match catch_unwind(AssertUnwindSafe(|| World::new(seed, false).run())) {
        Ok(coverage) => coverage,
        Err(panic) => {
            eprintln!("seed {seed} breaks a promise: {SEED_VARIABLE}={seed} runs it alone");
            resume_unwind(panic);
        }
    }
}

#[test]
fn every_promise_holds_in_ten_thousand_lives() {
    every_promise_holds_in(SEEDS);
}

#[test]
#[ignore = "long: forty thousand lives"]
fn every_promise_holds_in_many_more_lives() {
    every_promise_holds_in(MORE_SEEDS);
}

fn every_promise_holds_in(seeds: Range<u64>) {
    let next = AtomicU64::new(seeds.start);
    let live = || {
        let mut coverage = Coverage::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return coverage;
            }
            coverage.add(&run(seed));
        }
    };
    let coverage = std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(live)).collect();
        handles.into_iter().fold(Coverage::default(), |mut all, handle| {
            all.add(&handle.join().unwrap_or_else(|panic| resume_unwind(panic)));
            all
        })
    });
    println!("{coverage:?}");
    // The lives are worth nothing if what they are about does not happen in them.
    for (what, count) in coverage.wanted() {
        assert!(count > (seeds.end - seeds.start) / 250, "only {count} times in all lives: {what}");
    }
}

#[test]
fn the_same_seed_is_the_same_life_to_the_last_action() {
    for seed in 0..50 {
        assert_eq!(run(seed).trace, run(seed).trace, "seed {seed}");
    }
}

#[test]
fn one_seed() {
    let seed = std::env::var(SEED_VARIABLE).ok().map(|text| text.parse().expect("a seed is a whole number"));
    World::new(seed.unwrap_or(0), seed.is_some()).run();
}
