//! A short while of what `cargo bench --bench survival` does all day.

use std::fmt::Write as _;

use crate::common::kills::{Kills, kill_everything, kill_jobs};
use crate::common::tables::Written;

fn survive(jobs: u32, wanted: Kills) {
    let outcome = kill_everything(7, jobs, wanted);
    println!("{:?}, {} submitted again", outcome.kills, outcome.unsafe_yet);
    assert_eq!(outcome.rounds_amiss, 0, "{outcome:?}");
}

#[test]
fn jobs_under_kills_of_coordinator_nodes_and_clients_come_to_the_same_model() {
    survive(2, Kills { coordinator: 2, node: 2, client: 1 });
}

/// Jobs that learn nothing that holds for other rows: no round is better for long, and which is the best is chance.
fn survive_and_stop(jobs: u32, wanted: Kills) {
    let mut rows = "a,b,c,kind\n".to_owned();
    let mut state = 7u64;
    let mut draw = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for _ in 0..600 {
        let _ = writeln!(rows, "{},{},{},k{}", draw(1000), draw(1000), draw(1000), draw(3));
    }
    let table = Written::new("noise.csv", &rows);
    let options = [
        "--data",
        table.text(),
        "--epochs",
        "2",
        "--batch",
        "4",
        "--rounds",
        "400",
        "--patience",
        "25",
        "--test",
        "0.1",
    ];
    let outcome = kill_jobs(&options, 11, jobs, wanted);
    println!("{:?}, {} submitted again", outcome.kills, outcome.unsafe_yet);
    assert_eq!(outcome.rounds_amiss, 0, "{outcome:?}");
}

#[test]
fn jobs_that_stop_by_themselves_stop_at_the_same_round_with_the_same_model_whatever_is_killed() {
    survive_and_stop(2, Kills { coordinator: 2, node: 1, client: 1 });
}

#[test]
#[ignore = "long: fifty jobs"]
fn fifty_jobs_that_stop_by_themselves_stop_at_the_same_round_whatever_is_killed() {
    survive_and_stop(50, Kills { coordinator: 30, node: 30, client: 15 });
}

#[test]
#[ignore = "long: twenty kills of each kind"]
fn jobs_under_many_kills_of_coordinator_nodes_and_clients_come_to_the_same_model() {
    survive(20, Kills { coordinator: 20, node: 20, client: 20 });
}
