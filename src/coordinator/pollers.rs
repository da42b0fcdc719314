//! The two pollers. The inactive poller owns which nodes are to be dialled and when, and looks whether their list has
//! changed; the completion poller owns nothing but its beat. Neither knows jobs.

use std::collections::BTreeMap;
use std::io;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, after, bounded, never, select, tick};

use super::dialling::{Dialling, PollerCommand};
use super::event::DriverEvent;
use super::links;
use super::listing::{Changed, Listing};
use super::server;
use super::threads::Threads;
use crate::config::NodeAddress;
use crate::engine::NodeKey;
use crate::net::{self, Backoff};
use crate::wire::Role;

/// A node gets so long to take a connection.
const CONNECT_WAIT: Duration = Duration::from_secs(1);
/// The longest wait after a failed dial: a node that comes up has its first task within two seconds.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// With more inactive nodes than this the longest wait grows with their number: so many dials and a third begin a second.
const NODES_AT_FULL_PACE: usize = 192;
/// A link that ends sooner counts as a dial that has failed: a node that dies of whatever it is given, or whose link cannot carry it,
/// is not dialled twenty times a second.
const LASTING: Duration = Duration::from_secs(3);
/// Dials at a time.
const DIALS_MAX: usize = 64;
/// The list of nodes is looked at this often: what has changed is in force after two looks.
const LIST_BEAT: Duration = Duration::from_millis(500);
/// The completion poller's beat.
const COMPLETION_BEAT: Duration = Duration::from_millis(250);

/// A node.
struct Entry {
    address: NodeAddress,
    /// Whether it is to be dialled at all: it is listed, and is not quarantined.
    is_wanted: bool,
    state: DialState,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum DialState {
    /// To be dialled at this time, if it is wanted.
    Waiting { due: Instant, backoff: Backoff },
    /// Being dialled, or linked.
    Busy { backoff: Backoff },
}

impl Entry {
    /// Wanted from now on.
    fn new(address: NodeAddress) -> Entry {
        Entry {
            address,
            is_wanted: true,
            state: DialState::Waiting { due: Instant::now(), backoff: Backoff::default() },
        }
    }

    /// Wanted again: dialled at once, unless it is linked still.
    fn want(&mut self) {
        self.is_wanted = true;
        if let DialState::Waiting { due, backoff } = &mut self.state {
            (*due, *backoff) = (Instant::now(), Backoff::default());
        }
    }

    fn is_waiting(&self) -> bool {
        self.is_wanted && matches!(self.state, DialState::Waiting { .. })
    }
}

/// What a dialling thread reports.
enum Report {
    /// A node is linked.
    Linked,
    /// The dial failed, or the link has ended that has lived so long.
    Down { node: NodeKey, lived: Option<Duration> },
    /// It is this coordinator that was dialled, and is no node as long as it is listed.
    Itself(NodeKey),
}

struct Poller {
    nodes: BTreeMap<NodeKey, Entry>,
    dialling: Dialling,
    reports: Sender<Report>,
    /// Dials under way.
    dials: usize,
}

/// Starts the thread that dials nodes that are down, now and then.
pub(super) fn start_inactive(
    threads: &Threads,
    mut listing: Listing,
    dialling: Dialling,
    stopped: Receiver<()>,
) -> io::Result<(Sender<PollerCommand>, JoinHandle<()>)> {
    // A command for every node fits, so that the engine's thread never waits for this one. A list that can change may grow.
    let may_grow = if listing.may_change() { 1_024 } else { 16 };
    let nodes: BTreeMap<_, _> = listing.nodes().map(|(key, address)| (key, Entry::new(address.clone()))).collect();
    let (commands, orders) = bounded(nodes.len() * 2 + may_grow);
    let (reports, reported) = bounded(nodes.len() * 2 + 16);
    let mut poller = Poller { nodes, dialling, reports, dials: 0 };
    let looks = if listing.may_change() { tick(LIST_BEAT) } else { never() };
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
                recv(looks) -> _ => listing.look().into_iter().for_each(|changed| poller.follow(changed)),
                recv(stopped) -> _ => return,
                recv(after(next)) -> _ => {}
            }
        }
    };
    let thread = threads.start("inactive poller", run)?;
    Ok((commands, thread))
}

impl Poller {
    /// Dials every node whose time has come. Says how long until the next.
    fn dial_due(&mut self) -> Duration {
        let now = Instant::now();
        let mut next = Duration::from_secs(60);
        let mut due_now = Vec::new();
        for (&node, entry) in &self.nodes {
            match entry.state {
                DialState::Waiting { due, .. } if entry.is_wanted && due > now => next = next.min(due - now),
                DialState::Waiting { backoff, .. } if entry.is_wanted && self.dials + due_now.len() < DIALS_MAX => {
                    due_now.push((node, entry.address.clone(), backoff));
                }
                _ => {}
            }
        }
        for (node, address, backoff) in due_now {
            self.dial(node, address, backoff);
        }
        next
    }

    fn dial(&mut self, node: NodeKey, address: NodeAddress, backoff: Backoff) {
        let name = format!("node {address}");
        let (dialling, reports) = (self.dialling.clone(), self.reports.clone());
        let run = move || {
            let dialled = net::dial(&address.host, address.port, &dialling.identity, Role::Node, CONNECT_WAIT);
            let lived = match dialled {
                Ok(greeted) => {
                    let _ = reports.send(Report::Linked);
                    let greeted = greeted.counted_by(&dialling.counters);
                    let linked = Instant::now();
                    links::live(node, &address, greeted, &dialling);
                    Some(linked.elapsed())
                }
                Err(error) => {
                    log::debug!("node {address} is inactive: {error}");
                    if server::is_itself(&error) {
                        let _ = reports.send(Report::Itself(node));
                    }
                    let _ = dialling.events.send(DriverEvent::DialFailed { node, error });
                    None
                }
            };
            let _ = reports.send(Report::Down { node, lived });
        };
        // The thread that has dialled reads the link until it ends.
        match Builder::new().name(name.clone()).stack_size(256 << 10).spawn(run) {
            Ok(_) => {
                self.dials += 1;
                self.put(node, DialState::Busy { backoff });
            }
            Err(error) => {
                log::warn!("cannot start a thread to dial {name}: {error}");
                self.wait(node, backoff);
            }
        }
    }

    /// The list has changed. The engine's thread is told before anything is dialled that it does not know.
    fn follow(&mut self, changed: Changed) {
        for (node, _) in &changed.left {
            self.obey(PollerCommand::StopDialling(*node));
        }
        for (node, address) in &changed.joined {
            self.nodes.entry(*node).and_modify(Entry::want).or_insert_with(|| Entry::new(address.clone()));
        }
        let _ = self.dialling.events.send(DriverEvent::ListChanged(changed));
    }

    fn note(&mut self, report: Report) {
        match report {
            Report::Linked => self.dials -= 1,
            Report::Itself(node) => self.obey(PollerCommand::StopDialling(node)),
            Report::Down { node, lived } => {
                self.dials -= usize::from(lived.is_none());
                if let Some(&Entry { state: DialState::Busy { backoff }, .. }) = self.nodes.get(&node) {
                    let has_lasted = lived.is_some_and(|lived| lived >= LASTING);
                    self.wait(node, if has_lasted { Backoff::default() } else { backoff });
                }
            }
        }
    }

    fn obey(&mut self, command: PollerCommand) {
        match command {
            PollerCommand::DialNow(nodes) => {
                for node in nodes {
                    if let Some(Entry { state: DialState::Waiting { due, .. }, .. }) = self.nodes.get_mut(&node) {
                        *due = Instant::now();
                    }
                }
            }
            PollerCommand::StopDialling(node) => {
                if let Some(entry) = self.nodes.get_mut(&node) {
                    entry.is_wanted = false;
                }
            }
        }
    }

    /// Plans the next dial.
    fn wait(&mut self, node: NodeKey, mut backoff: Backoff) {
        let inactive = self.nodes.values().filter(|entry| entry.is_waiting()).count();
        let most = WAIT_MAX.mul_f64((inactive as f64 / NODES_AT_FULL_PACE as f64).max(1.0));
        let due = Instant::now() + backoff.wait(most, net::random_u64());
        self.put(node, DialState::Waiting { due, backoff });
    }

    fn put(&mut self, node: NodeKey, state: DialState) {
        if let Some(entry) = self.nodes.get_mut(&node) {
            entry.state = state;
        }
    }
}

/// Starts the thread that has running tasks asked how far they are, and deadlines and stragglers looked at.
pub(super) fn start_completion(
    threads: &Threads,
    events: Sender<DriverEvent>,
    stopped: Receiver<()>,
) -> io::Result<JoinHandle<()>> {
    let beat = tick(COMPLETION_BEAT);
    let run = move || {
        loop {
            select! {
                recv(beat) -> _ => if events.send(DriverEvent::Sweep).is_err() { return },
                recv(stopped) -> _ => return,
            }
        }
    };
    threads.start("completion poller", run)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::transfers::Transfers;
    use crate::digest::Digest;
    use crate::net::Identity;
    use crate::store::Store;
    use crate::wire::message::Features;
    use std::sync::Arc;

    fn address(port: u16) -> NodeAddress {
        NodeAddress { host: "10.0.0.1".to_owned(), port }
    }

    /// A poller of one node, and what the engine's thread is told.
    fn poller() -> (Poller, Receiver<DriverEvent>) {
        let (events, told) = bounded(8);
        let identity = Identity { role: Role::Coordinator, id: [0; 16], features: Features::default() };
        let transfers = Transfers::new(0, || {});
        let (proof, store) = (Digest([0; 32]), Arc::new(Store::new(0)));
        let dialling = Dialling { identity, proof, store, transfers, events, counters: Arc::default() };
        let (reports, _) = bounded(8);
        (Poller { nodes: BTreeMap::from([(NodeKey(0), Entry::new(address(1)))]), dialling, reports, dials: 0 }, told)
    }

    fn joins(nodes: &[(u32, u16)]) -> Changed {
        let joined = nodes.iter().map(|&(key, port)| (NodeKey(key), address(port))).collect();
        Changed { joined, left: Vec::new() }
    }

    fn leaves() -> Changed {
        Changed { joined: Vec::new(), left: vec![(NodeKey(0), address(1))] }
    }

    #[test]
    fn a_node_that_is_unlisted_or_quarantined_is_not_dialled_until_it_is_listed_anew() {
        let (mut poller, told) = poller();
        assert!(poller.nodes[&NodeKey(0)].is_waiting());
        poller.obey(PollerCommand::StopDialling(NodeKey(0)));
        assert!(!poller.nodes[&NodeKey(0)].is_waiting());
        poller.follow(leaves());
        assert!(!poller.nodes[&NodeKey(0)].is_waiting());
        poller.follow(joins(&[(0, 1), (1, 2)]));
        assert!(poller.nodes.values().all(Entry::is_waiting), "quarantine is forgiven");
        assert_eq!(told.try_iter().filter(|event| matches!(event, DriverEvent::ListChanged(_))).count(), 2);
    }

    #[test]
    fn a_node_whose_links_end_soon_is_dialled_ever_more_seldom_until_one_has_lasted() {
        let (mut poller, _told) = poller();
        let mut backoff_after = |lived| {
            let (DialState::Waiting { backoff, .. } | DialState::Busy { backoff }) = poller.nodes[&NodeKey(0)].state;
            poller.put(NodeKey(0), DialState::Busy { backoff });
            poller.note(Report::Down { node: NodeKey(0), lived: Some(lived) });
            match poller.nodes[&NodeKey(0)].state {
                DialState::Waiting { backoff, .. } => backoff,
                DialState::Busy { .. } => panic!("it is not dialled again"),
            }
        };
        let (short, lasting) = (LASTING - Duration::from_millis(1), LASTING);
        let first = backoff_after(lasting);
        let second = backoff_after(short);
        let third = backoff_after(short);
        assert!(first != second && second != third);
        assert_eq!(backoff_after(lasting), first);
    }

    #[test]
    fn a_node_that_is_unlisted_and_listed_while_its_link_lives_is_dialled_once_that_has_ended() {
        let (mut poller, _told) = poller();
        poller.put(NodeKey(0), DialState::Busy { backoff: Backoff::default() });
        poller.follow(leaves());
        poller.follow(joins(&[(0, 1)]));
        assert!(!poller.nodes[&NodeKey(0)].is_waiting(), "a second link would end the first");
        poller.note(Report::Down { node: NodeKey(0), lived: Some(LASTING) });
        assert!(poller.nodes[&NodeKey(0)].is_waiting());
        poller.put(NodeKey(0), DialState::Busy { backoff: Backoff::default() });
        poller.follow(leaves());
        poller.note(Report::Down { node: NodeKey(0), lived: Some(LASTING) });
        assert!(!poller.nodes[&NodeKey(0)].is_waiting());
    }
}
