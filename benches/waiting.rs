//! Rounds where nodes are slow or silent, over the least that any schedule could take: real nodes whose tasks wait instead of
//! computing, so that it does not matter how many cores this machine has.
//!
//! `cargo bench --bench waiting`; about two minutes. Needs Python 3 with numpy: the nodes are `tests/interop/node.py`, each of
//! whose tasks takes a delay besides. The least is in delays alone: what travels, and what Python computes, counts as lost. Of each
//! part the first rounds are left out, in which speeds are not known yet. Ends with exit code 1 if a bound is missed.

mod common;

use std::process::ExitCode;

use common::clients::Client;
use common::servers::{Coordinator, Node};

const NODES: usize = 4;
/// Tasks of a round.
const SHARDS: usize = 4 * NODES;
/// What a task of a node that is not slow takes.
const DELAY_SECONDS: f64 = 0.4;
/// How many times as long one of a slow node takes.
const SLOWER: f64 = 8.0;
const ROUNDS: usize = 12;
const ROUNDS_LEARNING: usize = 3;
/// One node stops at the beginning of each round whose number this divides, and goes on at its end.
const STOPS_EVERY: usize = 3;
const RATIO_MAX: f64 = 1.2;

fn main() -> ExitCode {
    if !common::has_python() {
        eprintln!("nothing is measured: the nodes need Python 3 with numpy");
        return ExitCode::FAILURE;
    }
    println!("{:56} {:>7} {:>7}   bound", "round over the least that it could take", "median", "most");
    let slow = slow_node();
    let stopped = stopped_node();
    if slow && stopped { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Nodes 1, 1, 1 and 8 times as slow.
fn slow_node() -> bool {
    let fleet = fleet(|number| if number == NODES { SLOWER * DELAY_SECONDS } else { DELAY_SECONDS });
    let seconds: Vec<f64> = job(&fleet, |_, _| ()).split_off(ROUNDS_LEARNING);
    // The slow node has done no task by the time at which the others have done all.
    let least = (0..=SHARDS).map(|slow| {
        let others = (SHARDS - slow).div_ceil(NODES - 1);
        DELAY_SECONDS * (others as f64).max(SLOWER * slow as f64)
    });
    let least = least.fold(f64::INFINITY, f64::min);
    report("one of 4 nodes is 8 times as slow", &seconds, least)
}

/// Equal nodes, one of which stops without a word in every third round.
fn stopped_node() -> bool {
    let fleet = fleet(|_| DELAY_SECONDS);
    let is_hit = |round: usize| round.is_multiple_of(STOPS_EVERY);
    let seconds = job(&fleet, |node, round| if is_hit(round) { node.freeze() } else { node.thaw() });
    let least = DELAY_SECONDS * SHARDS.div_ceil(NODES - 1) as f64;
    let hit = seconds.iter().zip(1..).filter(|&(_, round)| is_hit(round) && round > ROUNDS_LEARNING);
    report("one of 4 nodes stops in every third round", &hit.map(|(seconds, _)| *seconds).collect::<Vec<_>>(), least)
}

/// Python nodes, by their numbers from 1 on what a task takes.
fn fleet(delay_seconds: impl Fn(usize) -> f64) -> Vec<Node> {
    let source = [env!("CARGO_MANIFEST_DIR"), "/tests/interop/node.py"].concat();
    let node = |number: usize| {
        let (name, delay) = (format!("node-{number}"), delay_seconds(number).to_string());
        Node::run("python3", &[&source, "0", "--name", &name, "--delay", &delay])
    };
    (1..=NODES).map(node).collect()
}

/// Has the nodes do a job, of whose rounds each begins with what happens to the last node; what each took.
fn job(fleet: &[Node], happens: impl Fn(&Node, usize)) -> Vec<f64> {
    let coordinator = Coordinator::of("2", fleet, &[]);
    let (rounds, shards) = (ROUNDS.to_string(), SHARDS.to_string());
    let small = ["--epochs", "1", "--hidden", "4", "--allow-inexact", "--rounds", &rounds, "--shards", &shards];
    let mut client = Client::start(&coordinator, &small);
    for round in 1..=ROUNDS {
        happens(&fleet[NODES - 1], round);
        client.await_round();
    }
    fleet[NODES - 1].thaw();
    client.finish().round_seconds()
}

/// Says how many times the least rounds took; whether the median is within the bound.
fn report(what: &str, seconds: &[f64], least: f64) -> bool {
    let mut ratios: Vec<f64> = seconds.iter().map(|seconds| seconds / least).collect();
    ratios.sort_by(f64::total_cmp);
    let (median, most) = (ratios[ratios.len() / 2], ratios[ratios.len() - 1]);
    let is_kept = median <= RATIO_MAX;
    let word = if is_kept { "ok" } else { "MISSED" };
    println!("{what:56} {median:7.2} {most:7.2}   at most {RATIO_MAX} {word}");
    is_kept
}
