//! How the coordinator and its nodes are, for a client that asks: what links and pollers know, how long a PING takes, and how
//! long the disk takes for one sync. Owns the sentences about what is wrong, each with its cure; does not know who asks in whose
//! turn, or how anything is shown.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, after, bounded, select};

use super::handles::{Client, NodeContext, NodeHandle};
use super::injected::probability;
use super::server;
use super::threads::Threads;
use crate::config::NodeAddress;
use crate::disk;
use crate::engine::{Doubt, LinkKey, NodeState, NodeStatus};
use crate::model::ARITHMETIC;
use crate::net::{self, DialError};
use crate::wire::message::{Fact, Finding, Listed, Ping};
use crate::wire::{ErrorCode, Message};

/// A node gets so long to answer a PING: a large piece may be on the way before it.
const PONG_WAIT: Duration = Duration::from_secs(2);
/// A disk that takes longer than this for a sync makes rounds wait.
const SYNC_SLOW: Duration = Duration::from_millis(100);
/// With less room than this on the disk jobs will soon end for want of it.
const FREE_BYTES_MIN: u64 = 256 << 20;
const MIB: f64 = (1 << 20) as f64;

/// What is to be looked at, as the engine's thread knows it.
pub(super) struct Examination {
    pub(super) client: Client,
    pub(super) request: u32,
    pub(super) nodes: Vec<Patient>,
}

/// A node of the list.
pub(super) struct Patient {
    pub(super) status: NodeStatus,
    /// Where there is one.
    pub(super) link: Option<(LinkKey, NodeHandle)>,
    /// What came of its last dial, or why its last link ended; with the cure.
    pub(super) down: Option<String>,
    /// Another address leads to the same node.
    pub(super) twin: Option<String>,
}

/// Starts the thread that examines, one client at a time: giving it an examination fails while it has one.
pub(super) fn start(
    threads: &Threads,
    state_dir: Option<PathBuf>,
    stopped: Receiver<()>,
) -> io::Result<(Sender<Examination>, JoinHandle<()>)> {
    let (ask, asked) = bounded::<Examination>(0);
    let run = move || {
        loop {
            select! {
                recv(asked) -> examination => match examination {
                    Ok(examination) => examination.carry_out(state_dir.as_deref(), &stopped),
                    Err(_) => return,
                },
                recv(stopped) -> _ => return,
            }
        }
    };
    Ok((ask, threads.start("doctor", run)?))
}

impl Examination {
    fn carry_out(self, state_dir: Option<&Path>, stopped: &Receiver<()>) {
        let trips = self.ping_all(stopped);
        let mut findings = vec![self.coordinator(state_dir)];
        findings.extend(self.nodes.iter().map(|node| node.finding(&trips)));
        let Examination { client, request, .. } = self;
        let takes = client.link.peer().payload_bytes_max;
        let jobs = findings.len() as u32;
        // A client that has gone is reported by its reader.
        let _ = client.link.answer_many(request, findings.into_iter().map(|finding| finding.fitting(takes).into()));
        let _ = client.link.answer(request, &Listed { jobs }.into());
    }

    /// How long each linked node takes to answer, of those that do in time.
    fn ping_all(&self, stopped: &Receiver<()>) -> HashMap<LinkKey, Duration> {
        let linked: Vec<_> = self.nodes.iter().filter_map(|node| node.link.as_ref()).collect();
        let (reply, pongs) = bounded(linked.len());
        let mut asked = HashMap::new();
        for (key, node) in linked {
            let sent = net::now();
            if node.link.request(&Message::from(Ping), NodeContext::Ping(reply.clone())).is_ok() {
                asked.insert(*key, sent);
            }
        }
        let (mut trips, time_is_up) = (HashMap::new(), after(PONG_WAIT));
        while trips.len() < asked.len() {
            select! {
                recv(pongs) -> pong => match pong {
                    Ok((key, heard)) => drop(asked.get(&key).map(|&sent| trips.insert(key, heard.saturating_sub(sent)))),
                    Err(_) => break,
                },
                recv(time_is_up) -> _ => break,
                recv(stopped) -> _ => break,
            }
        }
        trips
    }

    fn coordinator(&self, state_dir: Option<&Path>) -> Finding {
        let mut wrong = Vec::new();
        let active = self.nodes.iter().filter(|node| node.status.state == NodeState::Active).count();
        if self.nodes.is_empty() {
            wrong.push(
                "no node is listed: write the address of each, <ip or name>,<port>, into the nodes file".to_owned(),
            );
        } else if active == 0 {
            wrong.push("no node is active, so that no job can go on: mend one of them".to_owned());
        }
        let mut facts = vec![
            fact("software", concat!("gradwire ", env!("CARGO_PKG_VERSION"))),
            fact("nodes_active", active),
            fact("nodes_listed", self.nodes.len()),
            fact("state_dir", state_dir.map(Path::display).map_or(String::new(), |path| path.to_string())),
        ];
        if let Some(path) = state_dir {
            let free = disk::free_bytes(path);
            facts.push(fact("free_mib", free.as_ref().map_or(String::new(), |bytes| whole_mib(*bytes))));
            let synced = disk::try_sync(path);
            facts.push(fact("sync_ms", synced.as_ref().map_or(String::new(), |took| milliseconds(*took))));
            wrong.extend(disk_trouble(path, free.ok(), synced));
        }
        Finding { subject: "coordinator".to_owned(), cure: wrong.join("; "), facts }
    }
}

/// What is wrong with the disk that jobs are written to.
fn disk_trouble(path: &Path, free: Option<u64>, synced: Result<Duration, disk::DiskError>) -> Option<String> {
    match synced {
        Err(error) => Some(format!(
            "{error}, so that no job can be written: give the directory back, with room on its disk and writable by the user \
             who runs the coordinator, or start it again with another --state-dir"
        )),
        Ok(_) if free.is_some_and(|bytes| bytes < FREE_BYTES_MIN) => Some(format!(
            "only {} MiB are free where jobs are written, {}: make room, or have fewer kept (--keep-jobs, --keep-days, --keep-bytes)",
            whole_mib(free.unwrap_or(0)),
            path.display()
        )),
        Ok(took) if took > SYNC_SLOW => Some(format!(
            "the disk took {} ms for one sync, and each round waits for one: put --state-dir on a faster disk",
            milliseconds(took)
        )),
        Ok(_) => None,
    }
}

impl Patient {
    fn finding(&self, trips: &HashMap<LinkKey, Duration>) -> Finding {
        let NodeStatus { name, address, state, doubt, tasks_done, rows_per_second, .. } = &self.status;
        let state_name = match state {
            NodeState::Active => "active",
            NodeState::Leaving => "leaving",
            NodeState::Inactive => "inactive",
            NodeState::Quarantined => "quarantined",
        };
        let trip = self.link.as_ref().and_then(|(key, _)| trips.get(key));
        let mut facts = vec![fact("state", state_name), fact("tasks_done", tasks_done)];
        facts.extend(rows_per_second.map(|speed| fact("rows_per_second", format!("{speed:.0}"))));
        if let Some((_, node)) = &self.link {
            let features = &node.link.peer().features;
            let bits = match doubt {
                _ if !features.arithmetics.contains(&ARITHMETIC) => "other",
                None => "proven",
                Some(Doubt::Differs) => "differs",
                Some(Doubt::Unproven) => "unproven",
            };
            let digest = features.conformance.iter().find(|(known, _)| *known == ARITHMETIC);
            let mib = |bytes: Option<u64>| bytes.map_or(String::new(), whole_mib);
            facts.extend([
                fact("name", name),
                fact("software", features.software.clone().unwrap_or_default()),
                fact("bits", bits),
                fact("arithmetic_digest", digest.map_or(String::new(), |(_, digest)| digest.to_string())),
                fact("round_trip_ms", trip.map_or(String::new(), |trip| milliseconds(*trip))),
                fact(
                    "mib_per_second",
                    node.pace.bytes_per_second().map_or(String::new(), |pace| format!("{:.1}", pace / MIB)),
                ),
                fact("memory_mib", mib(features.memory_bytes)),
                fact("cache_mib", mib(features.cache_bytes)),
                fact("workers", features.workers.unwrap_or(1).max(1)),
            ]);
            facts.extend(features.load_ppm.map(|ppm| fact("load_probability", probability(ppm))));
        }
        Finding { subject: address.clone(), cure: self.wrong(trip.is_some()).join("; "), facts }
    }

    /// What is wrong with it, each with its cure.
    fn wrong(&self, answers: bool) -> Vec<String> {
        let mut wrong = Vec::new();
        match (self.status.state, &self.link) {
            (NodeState::Quarantined, _) => wrong.push(
                "it has sent bad results again and again and gets no work: look at its machine (memory, overclocking) and its \
                 program, then take its line out of the nodes file and put it back"
                    .to_owned(),
            ),
            // It is on its way out.
            (NodeState::Leaving, _) => {}
            (_, Some(_)) => {
                wrong.extend(self.status.doubt.map(|doubt| doubt.about(ARITHMETIC)));
                if !answers {
                    let waited = PONG_WAIT.as_secs();
                    wrong.push(format!("it has left a PING unanswered for {waited} s: look at its machine's load, and the line"));
                }
            }
            (_, None) => {
                let untried = || "it has not been dialled yet: ask again in a second".to_owned();
                wrong.push(self.down.clone().unwrap_or_else(untried));
            }
        }
        wrong.extend(self.twin.clone());
        wrong
    }
}

/// Why a node cannot be had, and the cure.
pub(super) fn cure(error: &DialError, at: &NodeAddress) -> String {
    let is_here = matches!(at.host.as_str(), "localhost" | "::1") || at.host.starts_with("127.");
    let listen = if is_here { "" } else { " --listen 0.0.0.0" };
    let start = format!("compute_node {} 0{listen}", at.port);
    match error {
        DialError::Resolve { .. } => format!("{error}; mend the name, or write the address itself into the nodes file"),
        DialError::Connect { source, .. } if source.kind() == io::ErrorKind::ConnectionRefused => {
            format!("{error} {start} starts it")
        }
        DialError::Connect { .. } => {
            format!("{error}; is the machine on, and does its firewall let TCP port {} through?", at.port)
        }
        DialError::Greeting { source, .. } if source.kind() == io::ErrorKind::UnexpectedEof => {
            format!("{error} If so, start it again: {start}")
        }
        DialError::Greeting { .. } => format!("{error}; start it again: {start}"),
        DialError::Protocol { error: broken, .. } if broken.code == ErrorCode::Timeout => {
            format!(
                "{error}; it is stopped, or another program has the port: end that one, and start the node again: {start}"
            )
        }
        DialError::Protocol { .. } => {
            format!(
                "{error}; another program has the port, or another version: end it, and start the node again: {start}"
            )
        }
        DialError::WrongRole { .. } => format!("{error} Mend it in the nodes file"),
        DialError::Refused { error: refusal, .. } => match refusal.code {
            ErrorCode::Cluster => format!("{error}; start both with the same --cluster"),
            ErrorCode::Version => format!("{error}; put the same version there as here"),
            ErrorCode::Closing => format!("{error}; start it again: {start}"),
            ErrorCode::Unexpected if server::is_itself(error) => error.to_string(),
            ErrorCode::Unexpected => {
                format!("{error}; mend the port in the nodes file, or end that program there: {start}")
            }
            _ => format!("{error}; it is dialled again by itself"),
        },
    }
}

fn fact(name: &str, value: impl ToString) -> Fact {
    Fact { name: name.to_owned(), value: value.to_string() }
}

fn milliseconds(took: Duration) -> String {
    format!("{:.3}", took.as_secs_f64() * 1e3)
}

fn whole_mib(bytes: u64) -> String {
    (bytes >> 20).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_in_which_a_dial_fails_has_a_cure() {
        let at = |host: &str| NodeAddress { host: host.to_owned(), port: 5_106 };
        let connect =
            |kind: io::ErrorKind| DialError::Connect { target: "10.0.0.1:5106".to_owned(), source: kind.into() };
        let refused = connect(io::ErrorKind::ConnectionRefused);
        assert!(cure(&refused, &at("127.0.0.1")).ends_with("compute_node 5106 0 starts it"));
        assert!(cure(&refused, &at("10.0.0.1")).ends_with("compute_node 5106 0 --listen 0.0.0.0 starts it"));
        assert!(cure(&connect(io::ErrorKind::TimedOut), &at("10.0.0.1")).contains("firewall"));
        let refusal = |code| {
            let error = crate::wire::message::Error::new(code, 0, "no");
            cure(&DialError::Refused { target: "10.0.0.1:5106".to_owned(), error }, &at("10.0.0.1"))
        };
        assert!(refusal(ErrorCode::Cluster).contains("--cluster"));
        assert!(refusal(ErrorCode::Version).contains("same version"));
        assert!(refusal(ErrorCode::Unexpected).contains("mend the port in the nodes file"));
        let error = crate::wire::message::Error::new(ErrorCode::Unexpected, 0, server::ITSELF);
        let itself = cure(&DialError::Refused { target: "10.0.0.1:5106".to_owned(), error }, &at("10.0.0.1"));
        assert!(itself.contains("take that line out") && !itself.contains("compute_node"), "{itself}");
        let protocol = |code| {
            let error = crate::wire::message::Error::new(code, 0, "no");
            cure(&DialError::Protocol { target: "10.0.0.1:5106".to_owned(), error }, &at("10.0.0.1"))
        };
        for code in [ErrorCode::Timeout, ErrorCode::Magic] {
            let told = protocol(code);
            assert!(told.contains("another program has the port") && told.contains("compute_node 5106 0 "), "{told}");
        }
    }

    #[test]
    fn a_disk_that_is_slow_or_full_or_not_there_is_told_with_a_cure() {
        let path = Path::new("/state");
        let told = |free, synced| disk_trouble(path, Some(free), synced).unwrap_or_default();
        let (quick, slow) = (Duration::from_millis(1), Duration::from_millis(300));
        assert_eq!(told(1 << 40, Ok(quick)), "");
        assert!(told(1 << 40, Ok(slow)).contains("took 300.000 ms"));
        assert!(told(1 << 20, Ok(slow)).contains("only 1 MiB are free"));
        let gone = disk::at(disk::Doing::Write, path)(io::ErrorKind::NotFound.into());
        assert!(told(1 << 40, Err(gone)).starts_with("cannot write /state: "));
    }
}
