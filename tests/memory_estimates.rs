//! How much memory jobs of many shapes take, beside what is said of them before: at a coordinator and at a node, each alone in
//! this process, with the other programs beside it. What is counted is what is asked of the allocator, and not what the system
//! makes of that.
//!
//! One test alone, because the counters are the process's.

mod common;

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use common::clients::{Client, Finished};
use common::counting::{Counting, measure};
use common::peer::Peer;
use common::process::{PATIENCE, typed};
use common::servers::{Coordinator as CoordinatorProgram, Node as NodeProgram, nodes};
use common::tables::Written;
use gradwire::compute::{Node, Settings as NodeSettings};
use gradwire::config::NodeAddress;
use gradwire::coordinator::{Coordinator, Settings};
use gradwire::engine::Policy;
use gradwire::job::memory::{CoordinatorMeans, CoordinatorMemory, NodeMemory};
use gradwire::job::{JobId, Specification};
use gradwire::wire::message::Describe;
use gradwire::wire::{Message, Role};

#[global_allocator]
static COUNTING: Counting = Counting;

/// A job: features and rows of its data, and the options that it is asked for with.
struct Shape {
    features: usize,
    rows: usize,
    options: &'static [&'static str],
}

const fn shape(features: usize, rows: usize, options: &'static [&'static str]) -> Shape {
    Shape { features, rows, options }
}

/// Some five megabytes of data, and hardly any weights, so that a shard too many is seen.
const fn of_data(options: &'static [&'static str]) -> Shape {
    Shape { features: 200, rows: 6_000, options }
}

/// What every job is asked for with.
const ALL: [&str; 2] = ["--rounds", "3"];

const SHAPES: [Shape; 37] = [
    // Merged gradients, by each optimiser; wide, deep, of many inputs.
    shape(8, 12, &["--hidden", "512,512", "--batch", "4"]),
    shape(8, 12, &["--hidden", "512,512", "--batch", "4", "--outer", "momentum"]),
    shape(8, 12, &["--hidden", "512,512", "--batch", "4", "--outer", "nesterov"]),
    shape(8, 12, &["--hidden", "1024,256", "--batch", "4"]),
    shape(8, 12, &["--hidden", "256,256,256,256,256", "--batch", "4"]),
    shape(600, 12, &["--hidden", "600", "--batch", "4"]),
    shape(40, 12, &["--hidden", "8000", "--batch", "4"]),
    shape(400, 12, &["--hidden", "800,100", "--batch", "4", "--shards", "4"]),
    shape(20, 12, &["--hidden", "700,700", "--batch", "4", "--shards", "6"]),
    shape(20, 12, &["--hidden", "900,400", "--batch", "4", "--round-steps", "1"]),
    // Local steps.
    shape(8, 12, &["--hidden", "512,512", "--local-steps", "2", "--batch", "4"]),
    shape(8, 12, &["--hidden", "512,512", "--local-steps", "2", "--batch", "4", "--outer", "average"]),
    shape(300, 12, &["--hidden", "900", "--local-steps", "2", "--batch", "4", "--outer", "adam"]),
    shape(8, 12, &["--hidden", "256,256,256,256,256", "--local-steps", "2", "--batch", "4", "--shards", "4"]),
    shape(8, 12, &["--hidden", "1024,300", "--local-steps", "2", "--batch", "4", "--optimiser", "adam"]),
    // Epochs, by each optimiser of nodes, in batches large and small.
    shape(8, 12, &["--hidden", "512,512", "--epochs", "1"]),
    shape(8, 12, &["--hidden", "512,512", "--epochs", "1", "--optimiser", "sgd"]),
    shape(8, 12, &["--hidden", "512,512", "--epochs", "1", "--optimiser", "momentum"]),
    shape(8, 12, &["--hidden", "512,512", "--epochs", "1", "--batch", "0", "--shards", "4"]),
    shape(8, 12, &["--hidden", "512,512", "--epochs", "1", "--outer", "nesterov"]),
    shape(8, 12, &["--hidden", "512,512", "--epochs", "1", "--outer", "adam"]),
    shape(600, 12, &["--hidden", "500", "--epochs", "1"]),
    shape(40, 12, &["--hidden", "6000", "--epochs", "1"]),
    shape(8, 12, &["--hidden", "1024,256", "--epochs", "1", "--shards", "6"]),
    shape(8, 12, &["--hidden", "256,256,256,256,256", "--epochs", "1"]),
    // The median.
    shape(8, 12, &["--hidden", "512,512", "--epochs", "1", "--merge", "median"]),
    shape(8, 12, &["--hidden", "512,512", "--epochs", "1", "--merge", "median", "--shards", "4"]),
    shape(8, 12, &["--hidden", "512,512", "--batch", "12", "--local-steps", "1", "--merge", "median"]),
    // Data that are large beside the model: epochs of few shards and of many, local steps, gradients, the median; and of these most
    // for validation.
    of_data(&["--hidden", "4", "--epochs", "1"]),
    of_data(&["--hidden", "4", "--epochs", "1", "--shards", "1"]),
    of_data(&["--hidden", "4", "--epochs", "1", "--shards", "3", "--batch", "0"]),
    of_data(&["--hidden", "4", "--local-steps", "4", "--shards", "3", "--batch", "100"]),
    of_data(&["--hidden", "4", "--shards", "2"]),
    of_data(&["--hidden", "4", "--batch", "64", "--shards", "12"]),
    of_data(&["--hidden", "4", "--epochs", "1", "--merge", "median"]),
    of_data(&["--hidden", "4", "--epochs", "1", "--validate-split", "0.75"]),
    of_data(&["--hidden", "4", "--validate-split", "0.75", "--shards", "2"]),
];

/// A table of so many features, and three classes that can be told apart.
fn table(features: usize, rows: usize) -> Written {
    let mut text = String::new();
    for row in 0..rows {
        let class = row % 3;
        for feature in 0..features {
            let noise = (row * 7 + feature * 13) % 17;
            text += &format!("{}.{noise},", if feature % 3 == class { 2 } else { 0 });
        }
        text += ["ash\n", "oak\n", "fir\n"][class];
    }
    Written::new("rows.csv", text)
}

fn run(port: u16, shape: &Shape, data: &Written) -> Finished {
    let id = format!("{:032x}", 7);
    let own = ["--data", data.text(), "--job", &id];
    Client::at(port, &[&own[..], &ALL, shape.options].concat()).finish()
}

/// What the job was asked for with.
fn specification(address: SocketAddr) -> Specification {
    let mut peer = Peer::greeted(address, Role::Client);
    peer.send(Describe { job: JobId(7) }, 1);
    match peer.receive().message() {
        Message::Described(described) => described.specification,
        other => panic!("{other:?}"),
    }
}

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// What a coordinator takes for a job, and what is said of it.
fn at_coordinator(shape: &Shape, data: &Written, nodes: &[NodeProgram]) -> (u64, u64) {
    let address = |node: &NodeProgram| NodeAddress { host: "127.0.0.1".to_owned(), port: node.port };
    let mut settings = Settings::new(loopback(), Policy::LoadBalancing, nodes.iter().map(address).collect());
    settings.in_flight_bytes = 1 << 20;
    let coordinator = Coordinator::start(&settings).unwrap();
    assert!(coordinator.await_active(nodes.len(), Duration::from_secs(40)));
    let (finished, taken) = measure(|| run(coordinator.address().port(), shape, data));
    finished.done();
    let means = CoordinatorMeans { in_flight_bytes: settings.in_flight_bytes, is_journaled: false };
    let said = CoordinatorMemory::of(&specification(coordinator.address()), means);
    (said.bytes(), taken.bytes_most)
}

/// The same of a node.
fn at_node(shape: &Shape, data: &Written) -> (u64, u64) {
    let node = Node::start(&NodeSettings { cache_bytes: Some(0), ..NodeSettings::new(loopback()) }).unwrap();
    let coordinator = CoordinatorProgram::start("2", &[node.address().port()], &[]);
    coordinator.await_in_status("1 of 1 active");
    let (finished, taken) = measure(|| run(coordinator.port, shape, data));
    finished.done();
    let said = NodeMemory::of(&specification(coordinator.address));
    (said.of_workers(1), taken.bytes_most)
}

/// This process's, where the system tells.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

/// Waits until there are no more than so many again. A link's threads may outlive whoever had it by a moment: what they let go then
/// must not be taken from what the next one takes.
fn await_threads(count: usize) {
    let deadline = Instant::now() + PATIENCE;
    while threads() > count {
        assert!(Instant::now() < deadline, "{} threads of a program that has ended", threads() - count);
        thread::yield_now();
    }
}

#[test]
fn a_job_takes_no_more_memory_than_is_said_of_it_and_not_much_less() {
    let beside = nodes(2, "0", &[]);
    let at_rest = threads();
    let mut amiss = Vec::new();
    for (number, shape) in SHAPES.iter().enumerate() {
        let data = table(shape.features, shape.rows);
        let coordinator = || at_coordinator(shape, &data, &beside);
        let node = || at_node(shape, &data);
        for (what, measure) in [("coordinator", &coordinator as &dyn Fn() -> (u64, u64)), ("node", &node)] {
            let ratio = || {
                let (said, taken) = measure();
                await_threads(at_rest);
                let ratio = said as f64 / taken as f64;
                println!(
                    "{number:2} {what:11} {:9} KiB taken, {:9} said: {ratio:.3}  {:?}",
                    taken >> 10,
                    said >> 10,
                    shape.options
                );
                ratio
            };
            // A thread that loses the processor as it lets go of something is no fault of what is said.
            let is_fit = |ratio: f64| (1.0..=1.3).contains(&ratio);
            if !is_fit(ratio())
                && let ratio = ratio()
                && !is_fit(ratio)
            {
                amiss.push((number, what, ratio));
            }
        }
    }
    let _ = typed(beside[0].address, b"status\n");
    assert!(amiss.is_empty(), "{amiss:?}");
}
