//! The client, as a script runs it, event by event, and as a person runs it, to its end.

use std::ffi::OsStr;
use std::time::Duration;

use serde_json::Value;

use super::process::{Ended, Lines, PATIENCE, Program, run};
use super::servers::Coordinator;

/// Runs the client to its end.
pub fn client(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Ended {
    run(env!("CARGO_BIN_EXE_client"), arguments)
}

/// A client that prints JSON.
pub struct Client {
    program: Program,
    events: Lines,
    log: Lines,
    /// Lines of `events` that the test has passed.
    passed: usize,
}

impl Client {
    /// Asks this coordinator for a job.
    pub fn start(coordinator: &Coordinator, options: &[&str]) -> Client {
        Client::at(coordinator.port, options)
    }

    /// Asks whoever listens at this port for a job.
    pub fn at(port: u16, options: &[&str]) -> Client {
        Client::run(&[&["127.0.0.1", &port.to_string()], options].concat())
    }

    /// Trains in a cluster of its own.
    pub fn local(nodes: usize, options: &[&str]) -> Client {
        Client::run(&[&["--local", &nodes.to_string()], options].concat())
    }

    fn run(options: &[&str]) -> Client {
        // All rounds that are asked for, unless a test says when to stop.
        let is_stopping = |option: &&str| ["--patience", "--no-early-stopping"].contains(option);
        let does_all = options.contains(&"--rounds") && !options.iter().any(is_stopping);
        let all_rounds: &[&str] = if does_all { &["--no-early-stopping"] } else { &[] };
        let arguments = [options, all_rounds, &["--json"]].concat();
        let (program, events, log) = Program::start(env!("CARGO_BIN_EXE_client"), &arguments);
        Client { program, events, log, passed: 0 }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.program.pid()
    }

    /// The next event that is wanted, after the one before.
    pub fn await_event(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let (number, line) = self.events.wait(&what, PATIENCE, self.passed, |line| wanted(&json(line)));
        self.passed = number + 1;
        json(&line)
    }

    /// The next round.
    pub fn await_round(&mut self) -> Value {
        self.await_event("a round", |event| event["event"] == "round")
    }

    /// The next notice that says this.
    pub fn await_notice(&mut self, text: &str) -> Value {
        self.await_event(text, |event| event["event"] == "notice" && event["text"].as_str().unwrap().contains(text))
    }

    /// The word on whether the job is accepted.
    pub fn await_accepted(&mut self) -> Value {
        self.await_event("acceptance", |event| event["event"] == "accepted")
    }

    /// Ends it without a goodbye.
    pub fn kill(&mut self) {
        self.program.kill();
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.program.has_ended()
    }

    /// Waits until it has ended.
    pub fn finish(self) -> Finished {
        self.finish_within(PATIENCE)
    }

    /// Waits so long until it has ended.
    pub fn finish_within(mut self, patience: Duration) -> Finished {
        let events = self.events.all(patience).iter().map(|line| json(line)).collect();
        let log = self.log.all(patience).join("\n");
        let exit = self.program.exit_code();
        Finished { exit, events, log }
    }
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{line:?} is no JSON: {error}"))
}

/// A client that has ended.
#[derive(Debug)]
pub struct Finished {
    /// Exit code; none if a signal ended it.
    pub exit: Option<i32>,
    pub events: Vec<Value>,
    /// What it said on stderr.
    pub log: String,
}

impl Finished {
    /// The last event of a job that went well.
    pub fn done(&self) -> &Value {
        assert_eq!(self.exit, Some(0), "{self:#?}");
        self.events.iter().find(|event| event["event"] == "done").unwrap_or_else(|| panic!("not done: {self:#?}"))
    }

    /// What each round took.
    pub fn round_seconds(&self) -> Vec<f64> {
        let rounds = self.events.iter().filter(|event| event["event"] == "round");
        rounds.filter_map(|round| round["seconds"].as_f64()).collect()
    }

    /// The fingerprint of a job that went well.
    pub fn fingerprint(&self) -> String {
        self.done()["fingerprint"].as_str().unwrap().to_owned()
    }

    /// The last event of a job that failed.
    pub fn failed(&self) -> &Value {
        self.events.iter().find(|event| event["event"] == "failed").unwrap_or_else(|| panic!("not failed: {self:#?}"))
    }

    /// The notices of this kind.
    pub fn notices(&self, kind: &str) -> Vec<&str> {
        let wanted = |event: &&Value| event["event"] == "notice" && event["kind"] == kind;
        self.events.iter().filter(wanted).map(|event| event["text"].as_str().unwrap()).collect()
    }

    /// Merged tasks of each node, by name.
    pub fn tasks(&self) -> Vec<(String, u64)> {
        let nodes = self.done()["nodes"].as_array().unwrap();
        nodes.iter().map(|node| (node["node"].as_str().unwrap().to_owned(), node["tasks"].as_u64().unwrap())).collect()
    }
}
