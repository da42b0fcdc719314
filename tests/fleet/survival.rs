//! A short day of what `cargo bench --bench survival` does all day.

use crate::common::kills::{Kills, kill_everything};

#[test]
fn jobs_under_kills_of_coordinator_nodes_and_clients_come_to_the_same_model() {
    let wanted = Kills { coordinator: 3, node: 3, client: 2 };
    let outcome = kill_everything(7, 4, wanted);
    println!("{:?}, {} submitted again", outcome.kills, outcome.unsafe_yet);
    assert_eq!(outcome.rounds_amiss, 0, "{outcome:?}");
}
