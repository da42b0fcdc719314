//! How often a job's data travel: each node's transfers, where the nodes keep all of them and where they keep a quarter.
//!
//! `cargo bench --bench placement`; about two minutes. Four nodes, 64 shards of about 0.8 MB, small networks. `FIRST` is what travelled
//! until the first round's end, `LATER` what travelled after it, both as copies of the whole data; weights and sums count too, and
//! are about a twentieth. 1 and 0 are the least that can be: every shard goes to one node, and stays there.

mod common;

use std::fmt::Write as _;
use std::io;
use std::process::ExitCode;

use common::clients::Client;
use common::processor::processor;
use common::servers::{Coordinator, Node, nodes, ports};
use tempfile::NamedTempFile;

const NODES: usize = 4;
const ROWS: usize = 180_000;
const FEATURES: usize = 88;
/// A fifth of the rows validate.
const DATA_BYTES: f64 = (ROWS / 5 * 4 * (FEATURES + 1) * 4) as f64;
/// Less than a third of the training rows; beside the validation rows, about a quarter of all.
const SMALL_CACHE_MIB: &str = "16";

const JOBS: [(&str, &[&str]); 3] = [
    ("gradients", &["--rounds", "5", "--batch", "4096"]),
    ("8 local steps", &["--rounds", "5", "--local-steps", "8"]),
    ("epochs", &["--rounds", "5", "--epochs", "1"]),
];

fn main() -> ExitCode {
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("transfers cannot be measured: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> io::Result<()> {
    println!("on {}; {:.0} MB of training rows", processor(), DATA_BYTES / 1e6);
    let table = table()?;
    let data = table.path().to_str().ok_or(io::ErrorKind::InvalidFilename)?;
    println!("{:15}  {:>9}  {:>6}  {:>6}  {:>7}", "BETWEEN MERGES", "CACHE MiB", "FIRST", "LATER", "SECONDS");
    for cache in ["256", SMALL_CACHE_MIB] {
        for (between, options) in JOBS {
            let nodes = nodes(NODES, "0", &["--cache", cache]);
            let coordinator = Coordinator::with_all_active(&ports(&nodes), &["--no-state"]);
            let all = [&["--data", data, "--hidden", "16", "--shards", "64"], options].concat();
            let mut client = Client::start(&coordinator, &all);
            client.await_round();
            let first = received(&nodes);
            let finished = client.finish();
            let later = received(&nodes) - first;
            let seconds = finished.done()["seconds"].as_f64().unwrap_or(f64::NAN);
            let copies = |bytes: f64| bytes / DATA_BYTES;
            println!("{between:15}  {cache:>9}  {:6.2}  {:6.2}  {seconds:7.2}", copies(first), copies(later));
        }
    }
    Ok(())
}

/// Bytes that all nodes have received.
fn received(nodes: &[Node]) -> f64 {
    nodes.iter().map(|node| node.metric("gradwire_received_bytes_total")).sum()
}

/// Rows whose class a line divides.
fn table() -> io::Result<NamedTempFile> {
    let mut text = String::with_capacity(ROWS * FEATURES * 7);
    let mut state = 1_u64;
    for _ in 0..ROWS {
        let mut sum = 0.0;
        for feature in 0..FEATURES {
            // Knuth's MMIX generator: any numbers do.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let value = (state >> 40) as f64 / (1 << 23) as f64 - 1.0;
            sum += if feature % 2 == 0 { value } else { -value };
            let _ = write!(text, "{value:.3},");
        }
        text.push_str(if sum > 0.0 { "1\n" } else { "0\n" });
    }
    let file = NamedTempFile::with_suffix(".csv")?;
    std::fs::write(file.path(), text)?;
    Ok(file)
}
