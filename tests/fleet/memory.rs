//! What a coordinator takes of memory while it merges a model that is large beside everything else.

use crate::common::clients::Client;
use crate::common::servers::{Coordinator, nodes};
use crate::common::skip;
use crate::common::tables::small_table;

/// A network of 1,006,002 parameters for the small table, and what they take in MiB.
const LARGE: [&str; 2] = ["--hidden", "1000,1000"];
const MODEL_MIB: u64 = 4;

/// The peak, in MiB, of a coordinator that has so many nodes and shards; none where the system does not tell.
fn peak_mib(fleet: usize, shards: &str) -> Option<u64> {
    let directory = tempfile::tempdir().unwrap();
    let table = small_table(&directory, 0);
    let nodes = nodes(fleet, "0", &[]);
    // An update and an eighth at a time, however large they are.
    let coordinator = Coordinator::of("2", &nodes, &["--in-flight", "1"]);
    let small = ["--data", &table, "--rounds", "3", "--epochs", "1", "--batch", "0", "--shards", shards];
    Client::start(&coordinator, &[&small[..], &LARGE].concat()).finish().done();
    Some(coordinator.peak_memory_kib()? / 1024)
}

#[test]
fn a_coordinators_memory_grows_neither_with_nodes_nor_with_shards() {
    let (Some(few), Some(many)) = (peak_mib(2, "4"), peak_mib(8, "32")) else {
        return skip("this system does not tell a process's peak of memory");
    };
    println!("2 nodes, 4 shards: {few} MiB; 8 nodes, 32 shards: {many} MiB");
    // Weights, sums of three times their size, an update and a part of another on their way; and all that is not the model.
    assert!(few <= 11 * MODEL_MIB / 2 + 12, "{few} MiB");
    assert!(many <= few + MODEL_MIB, "{few} MiB with two nodes, {many} MiB with eight");
}
