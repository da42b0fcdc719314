//! A short while of what `cargo bench --bench survival` does all day.

use crate::common::kills::{Kills, kill_everything};

fn survive(jobs: u32, wanted: Kills) {
    let outcome = kill_everything(7, jobs, wanted);
    println!("{:?}, {} submitted again", outcome.kills, outcome.unsafe_yet);
    assert_eq!(outcome.rounds_amiss, 0, "{outcome:?}");
}

#[test]
fn jobs_under_kills_of_coordinator_nodes_and_clients_come_to_the_same_model() {
    survive(2, Kills { coordinator: 2, node: 2, client: 1 });
}

#[test]
#[ignore = "long: twenty kills of each kind"]
fn jobs_under_many_kills_of_coordinator_nodes_and_clients_come_to_the_same_model() {
    survive(20, Kills { coordinator: 20, node: 20, client: 20 });
}
