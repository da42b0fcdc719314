//! The package for Python, `python/`, among the real programs: its own tests at a real coordinator, and what no test inside one
//! process can show, a coordinator that is killed in the middle of a job, and somebody who presses Ctrl-C.
//!
//! Where there is no Python 3.10 with numpy the tests say so and pass; of what needs pandas or scikit-learn they say it too.
#![cfg(feature = "client")]

mod common;

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use common::process::{Lines, PATIENCE, Program, reserve_port};
use common::servers::{Coordinator, Node, nodes, ports};
use common::{has_python, skip};
use tempfile::TempDir;

/// The package's tests are many jobs, and scikit-learn's checks some hundreds.
const ALL_TESTS: Duration = Duration::from_secs(600);

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Python with the package and a coordinator at this port; what it writes on stdout and stderr.
fn python(port: u16, arguments: &[&str]) -> (Program, Lines, Lines) {
    let package = root().join("python");
    let variables = [
        format!("PYTHONPATH={}", package.display()),
        // Nothing is left in the source tree.
        "PYTHONDONTWRITEBYTECODE=1".to_owned(),
        // Threads of its matrix library that wait for each other take the processor from whatever else is tested.
        "OPENBLAS_NUM_THREADS=1".to_owned(),
        format!("GRADWIRE_ADDRESS=127.0.0.1:{port}"),
        format!("GRADWIRE_CLIENT={}", env!("CARGO_BIN_EXE_client")),
    ];
    let variables: Vec<&str> = variables.iter().map(String::as_str).collect();
    Program::start("env", &[&variables[..], &["python3"], arguments].concat())
}

/// Runs the package's tests that these words name; says what they skipped.
fn passes(port: u16, words: &[&str]) {
    let package = root().join("python");
    let discover = ["-m", "unittest", "discover", "--verbose", "-t", package.to_str().unwrap(), "-s"];
    let tests = package.join("tests");
    let (mut program, _, told) = python(port, &[&discover[..], &[tests.to_str().unwrap()], words].concat());
    let told = told.all(ALL_TESTS);
    assert_eq!(program.exit_code(), Some(0), "{}", told.join("\n"));
    let ran = told.iter().find_map(|line| line.strip_prefix("Ran ")).unwrap();
    assert!(!ran.starts_with("0 "), "{ran}");
    for line in told {
        if let Some((_, reason)) = line.split_once(" ... skipped ") {
            skip(format!("in python/tests {}", reason.trim_matches(['\'', '"'])));
        }
    }
}

/// Two nodes, and a coordinator that has them.
fn fleet() -> (Vec<Node>, Coordinator) {
    let nodes = nodes(2, "0", &[]);
    let coordinator = Coordinator::of("2", &nodes, &[]);
    (nodes, coordinator)
}

#[test]
fn the_package_passes_its_own_tests_at_a_real_coordinator() {
    if !has_python() {
        return;
    }
    let (_nodes, coordinator) = fleet();
    passes(coordinator.port, &[]);
    coordinator.assert_has_no_fault();
}

/// A job of many rounds, each of which is a line, and then its fingerprint.
const LONG_JOB: &str = r#"
import signal, sys, numpy, gradwire
# Whoever starts tests in the background may have them ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
rng = numpy.random.default_rng(1)
X = rng.normal(size=(3000, 8))
y = (X[:, 0] * X[:, 1] > 0).astype(int)

def line(told):
    print("round", told.round, flush=True)

try:
    model = gradwire.train(X, y, rounds=600, patience=None, hidden=(64,), progress=line)
except gradwire.Interrupted as stopped:
    print("interrupted", flush=True)
    print("states", *(job.state for job in gradwire.jobs()), flush=True)
    model = gradwire.attach(stopped.job)
print("history", *(told.round for told in model.history))
print("fingerprint", model.fingerprint)
"#;

/// What stands behind this word.
fn behind(told: &[String], word: &str) -> String {
    let found = told.iter().find_map(|line| line.strip_prefix(word));
    found.unwrap_or_else(|| panic!("no {word} in {told:#?}")).trim().to_owned()
}

/// The fingerprint of the long job when nobody disturbs it.
fn undisturbed() -> String {
    static FINGERPRINT: OnceLock<String> = OnceLock::new();
    let train = || {
        let (_nodes, coordinator) = fleet();
        let (_program, told, _) = python(coordinator.port, &["-c", LONG_JOB]);
        behind(&told.all(PATIENCE), "fingerprint")
    };
    FINGERPRINT.get_or_init(train).clone()
}

#[test]
fn a_coordinator_and_a_node_that_are_killed_in_the_middle_of_a_job_change_nothing() {
    if !has_python() {
        return;
    }
    let directory = TempDir::new().unwrap();
    let state = ["--state-dir", directory.path().to_str().unwrap()];
    let mut nodes = nodes(2, "0", &[]);
    let (ports, port) = (ports(&nodes), reserve_port());
    let mut coordinator = Coordinator::start_at(port, "2", &ports, &state);
    let (mut program, told, log) = python(port, &["-c", LONG_JOB]);
    let (mut rounds_told, mut lines_logged) = (0, 0);
    for _ in 0..2 {
        // Some rounds that were told since it has found the coordinator.
        for _ in 0..20 {
            rounds_told = told.wait(&"a round", PATIENCE, rounds_told, |line| line.starts_with("round ")).0 + 1;
        }
        coordinator.kill();
        assert!(!program.has_ended());
        coordinator = Coordinator::start_at(port, "2", &ports, &state);
        let is_back = |line: &str| line.contains("the coordinator is back");
        lines_logged = log.wait(&"its return", PATIENCE, lines_logged, is_back).0 + 1;
        rounds_told = told.so_far().len();
    }
    told.wait(&"a round", PATIENCE, 0, |line| line == "round 100");
    nodes[0].kill();
    let told = told.all(PATIENCE);
    assert_eq!(program.exit_code(), Some(0), "{log:#?}", log = log.all(PATIENCE));
    assert_eq!(behind(&told, "fingerprint"), undisturbed());
    // Each round once, in order.
    let rounds: Vec<String> = told.iter().filter_map(|line| line.strip_prefix("round ")).map(str::to_owned).collect();
    let all: Vec<String> = (1..=600).map(|round: u32| round.to_string()).collect();
    assert_eq!(rounds, all);
    assert_eq!(behind(&told, "history"), all.join(" "));
    let back = log.all(PATIENCE).iter().filter(|line| line.contains("the coordinator is back")).count();
    assert_eq!(back, 2, "{:#?}", log.all(PATIENCE));
}

#[test]
fn who_presses_ctrl_c_stops_watching_and_the_job_goes_on() {
    if !has_python() {
        return;
    }
    // Each step takes the delay at least: the job cannot be over before somebody has lost interest.
    let slow = nodes(2, "1", &["--load-delay", "0.02"]);
    let (coordinator, ports) = (Coordinator::of("2", &slow, &[]), ports(&slow));
    let (mut program, told, log) = python(coordinator.port, &["-c", LONG_JOB]);
    told.wait(&"a round", PATIENCE, 0, |line| line == "round 2");
    program.signal("INT");
    told.wait(&"the jobs", PATIENCE, 0, |line| line.starts_with("states "));
    drop(slow);
    let _quick: Vec<Node> = ports.into_iter().map(|port| Node::start(port, "0", &[])).collect();
    let told = told.all(PATIENCE);
    assert_eq!(program.exit_code(), Some(0), "{:#?}", log.all(PATIENCE));
    assert!(told.iter().any(|line| line == "interrupted"), "{told:#?}");
    assert_eq!(behind(&told, "states"), "running");
    assert_eq!(behind(&told, "fingerprint"), undisturbed());
}

#[test]
fn the_ten_commands_of_the_document_lead_from_a_clone_to_a_prediction() {
    let document = fs::read_to_string(root().join("docs/python.md")).unwrap();
    let block = |fence: &str| document.split(fence).nth(1).unwrap().split("```").next().unwrap().to_owned();
    let (shell, session) = (block("```console\n"), block("```pycon\n"));
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for block in [format!("```console\n{shell}```"), format!("```pycon\n{session}```")] {
        assert!(readme.contains(&block), "README.md has other commands than docs/python.md: {block}");
    }
    let commands: Vec<&str> = shell.lines().map(|line| line.strip_prefix("$ ").unwrap()).collect();
    assert_eq!(commands.len() + session.matches(">>> ").count(), 10);
    // What takes a network is not run: the programs are built, and the package is where Python finds it.
    let [build, node, coordinator, environment, install, interpreter] = commands[..] else { panic!("{commands:?}") };
    assert_eq!((build, environment), ("cargo build --release", "python3 -m venv target/python"));
    assert_eq!((install, interpreter), ("target/python/bin/pip install ./python pandas", "target/python/bin/python"));
    let words = |command: &'static str, line: &str| -> Vec<String> {
        let rest = line.strip_prefix(&format!("target/release/{command} ")).and_then(|rest| rest.strip_suffix(" &"));
        rest.unwrap_or_else(|| panic!("{line}")).split(' ').map(str::to_owned).collect()
    };
    let (node, coordinator) = (words("compute_node", node), words("coordinator_node", coordinator));
    let [node_port, load] = &node[..] else { panic!("{node:?}") };
    let [port, policy] = &coordinator[..] else { panic!("{coordinator:?}") };
    // The list of nodes in a clone has the node, and the package looks for the coordinator, where they are.
    let listed = fs::read_to_string(root().join("compute_nodes.txt")).unwrap();
    assert!(listed.lines().any(|line| line == format!("127.0.0.1,{node_port}")), "{listed}");
    let address = fs::read_to_string(root().join("python/gradwire/address.py")).unwrap();
    assert!(address.contains(&format!("DEFAULT_ADDRESS = \"127.0.0.1:{port}\"")), "{port}");
    if !has_python() {
        return;
    }
    let node = Node::start(0, load, &[]);
    let coordinator = Coordinator::start(policy, &[node.port], &[]);
    passes(coordinator.port, &["-p", "test_document.py"]);
}
