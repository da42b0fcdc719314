//! The two pollers. The inactive poller owns which nodes are to be dialled and when; the completion poller owns nothing
//! but its beat. Neither knows jobs.

use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, after, bounded, select, tick};

use super::driver::Input;
use super::links;
use crate::config::NodeAddress;
use crate::engine::NodeKey;
use crate::net::{self, Identity, Tally};
use crate::store::Store;
use crate::wire::Role;

/// A node gets so long to take a connection.
const CONNECT_WAIT: Duration = Duration::from_secs(1);
/// The first wait after a failed dial; it doubles up to the longest.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// The longest wait: a node that comes up has its first task within two seconds.
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// With more inactive nodes than this the longest wait grows with their number.
const NODES_AT_FULL_PACE: usize = 256;
/// Dials at a time.
const DIALS_MAX: usize = 64;
/// The completion poller's beat.
const COMPLETION_BEAT: Duration = Duration::from_millis(250);

/// What the inactive poller is told.
#[derive(Debug)]
pub(super) enum Command {
    /// Dial these nodes now, whatever the schedule says.
    DialNow(Vec<NodeKey>),
    /// Dial this node no more.
    StopDialling(NodeKey),
}

/// What a dial needs, and what the link that comes of it needs.
#[derive(Clone)]
pub(super) struct Dialling {
    pub(super) identity: Identity,
    pub(super) store: Arc<Store>,
    pub(super) inputs: Sender<Input>,
    pub(super) tally: Arc<Tally>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// To be dialled at this time.
    Waiting { due: Instant, backoff: Duration },
    /// Being dialled, or linked.
    Busy { backoff: Duration },
    /// Not to be dialled.
    Stopped,
}

/// What a dialling thread reports.
enum Report {
    /// The node is linked.
    Linked(NodeKey),
    /// The dial failed, or the link has ended.
    Down { node: NodeKey, was_linked: bool },
}

struct Poller {
    nodes: Vec<(NodeAddress, State)>,
    dialling: Dialling,
    reports: Sender<Report>,
    /// Dials under way.
    dials: usize,
}

/// Starts the thread that dials nodes that are down, now and then.
pub(super) fn start_inactive(
    nodes: Vec<NodeAddress>,
    dialling: Dialling,
    stopped: Receiver<()>,
) -> io::Result<(Sender<Command>, JoinHandle<()>)> {
    // A command for every node fits, so that the engine's thread never waits for this one.
    let (commands, orders) = bounded(nodes.len() * 2 + 16);
    let (reports, reported) = bounded(nodes.len() * 2 + 16);
    let now = Instant::now();
    let waiting = State::Waiting { due: now, backoff: BACKOFF_MIN };
    let nodes = nodes.into_iter().map(|node| (node, waiting)).collect();
    let mut poller = Poller { nodes, dialling, reports, dials: 0 };
    let run = move || {
        loop {
            let next = poller.dial_due();
            select! {
                recv(orders) -> command => match command {
                    Ok(command) => poller.obey(command),
                    Err(_) => return,
                },
                // This thread holds a sender of its own, so the channel cannot be closed.
                recv(reported) -> report => report.into_iter().for_each(|report| poller.note(report)),
                recv(stopped) -> _ => return,
                recv(after(next)) -> _ => {}
            }
        }
    };
    let thread = Builder::new().name("inactive poller".to_owned()).spawn(run)?;
    Ok((commands, thread))
}

impl Poller {
    /// Dials every node whose time has come. Says how long until the next.
    fn dial_due(&mut self) -> Duration {
        let now = Instant::now();
        let mut next = Duration::from_secs(60);
        for index in 0..self.nodes.len() {
            let State::Waiting { due, backoff } = self.nodes[index].1 else { continue };
            if due > now {
                next = next.min(due - now);
            } else if self.dials < DIALS_MAX {
                self.dial(index, backoff);
            }
        }
        next
    }

    fn dial(&mut self, index: usize, backoff: Duration) {
        let address = self.nodes[index].0.clone();
        let node = NodeKey(index as u32);
        let (dialling, reports) = (self.dialling.clone(), self.reports.clone());
        let run = move || {
            let dialled = net::dial(&address.host, address.port, &dialling.identity, Role::Node, CONNECT_WAIT);
            let was_linked = match dialled {
                Ok(greeted) => {
                    let _ = reports.send(Report::Linked(node));
                    let greeted = greeted.counted_by(&dialling.tally);
                    links::live(node, &address, greeted, &dialling.store, &dialling.inputs);
                    true
                }
                Err(error) => {
                    log::debug!("node {address} is inactive: {error}");
                    let _ = dialling.inputs.send(Input::DialFailed { node, reason: error.to_string() });
                    false
                }
            };
            let _ = reports.send(Report::Down { node, was_linked });
        };
        // The thread that has dialled reads the link until it ends.
        let name = format!("node {}", self.nodes[index].0);
        match Builder::new().name(name).stack_size(256 << 10).spawn(run) {
            Ok(_) => {
                self.dials += 1;
                self.nodes[index].1 = State::Busy { backoff };
            }
            Err(error) => {
                log::warn!("no thread to dial {}: {error}", self.nodes[index].0);
                self.wait(index, BACKOFF_MAX);
            }
        }
    }

    fn note(&mut self, report: Report) {
        match report {
            Report::Linked(node) => {
                self.dials -= 1;
                if let Some((_, State::Busy { backoff })) = self.nodes.get_mut(node.0 as usize) {
                    *backoff = BACKOFF_MIN;
                }
            }
            Report::Down { node, was_linked } => {
                if !was_linked {
                    self.dials -= 1;
                }
                let index = node.0 as usize;
                if let Some((_, State::Busy { backoff })) = self.nodes.get(index) {
                    self.wait(index, *backoff);
                }
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::DialNow(nodes) => {
                for node in nodes {
                    if let Some((_, State::Waiting { due, .. })) = self.nodes.get_mut(node.0 as usize) {
                        *due = Instant::now();
                    }
                }
            }
            Command::StopDialling(node) => {
                if let Some((_, state)) = self.nodes.get_mut(node.0 as usize) {
                    *state = State::Stopped;
                }
            }
        }
    }

    /// Plans the next dial after about `backoff`, jittered so that nodes do not get into step.
    fn wait(&mut self, index: usize, backoff: Duration) {
        let inactive = self.nodes.iter().filter(|(_, state)| matches!(state, State::Waiting { .. })).count();
        let longest = BACKOFF_MAX.mul_f64((inactive as f64 / NODES_AT_FULL_PACE as f64).max(1.0));
        let jitter = 0.75 + (net::random_u64() % 1024) as f64 / 2048.0;
        let due = Instant::now() + backoff.mul_f64(jitter);
        self.nodes[index].1 = State::Waiting { due, backoff: (backoff * 2).min(longest) };
    }
}

/// Starts the thread that has running tasks asked how far they are, and deadlines and stragglers looked at.
pub(super) fn start_completion(inputs: Sender<Input>, stopped: Receiver<()>) -> io::Result<JoinHandle<()>> {
    let beat = tick(COMPLETION_BEAT);
    let run = move || {
        loop {
            select! {
                recv(beat) -> _ => if inputs.send(Input::Sweep).is_err() { return },
                recv(stopped) -> _ => return,
            }
        }
    };
    Builder::new().name("completion poller".to_owned()).spawn(run)
}
