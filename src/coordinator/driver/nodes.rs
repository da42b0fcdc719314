//! What the driver does with nodes: membership as the poller reports it, tasks out and back. Decides nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crossbeam_channel::TrySendError;

use super::{Driver, KnownNode, NodeLink, Out, ToldOfDials, now};
use crate::coordinator::dialling::PollerCommand;
use crate::coordinator::doctor::{self, Examination, Patient};
use crate::coordinator::handles::{Client, NodeContext, NodeHandle};
use crate::coordinator::listing::Changed;
use crate::digest::Digest;
use crate::engine::{Event, Fault, LinkKey, NodeInfo, NodeKey};
use crate::job::{Attempt, JobId, RejectReason, TaskId, TaskRows};
use crate::model::BlockRange;
use crate::net::{DialError, SharedPiece, Unsent};
use crate::wire::message::{Cancel, Error, Notice, NoticeKind, Poll, Results, RowsSource, ShippedRange, Train};
use crate::wire::text::counted;
use crate::wire::{ErrorCode, Message, MessageType, SharedBytes};

/// A running task is asked how far it is after so long, and again.
const POLL_EVERY_US: u64 = 1_000_000;
/// The same where the last question has not been answered.
const UNANSWERED_POLL_EVERY_US: u64 = 30_000_000;
/// A node that is listed has answered after so long, or it is away: a second to connect, and one to greet.
const DIALLED_WITHIN: Duration = Duration::from_secs(2);

impl Driver {
    pub(super) fn list_changed(&mut self, changed: Changed) {
        let Changed { joined, left } = changed;
        for (node, address) in left {
            // A dial that is still under way may fail: that is nobody's concern any more.
            self.is_told(node, ToldOfDials::Stranger);
            self.event_log.say("node", address, || "is no longer listed");
            self.tell(Event::NodeUnlisted { node });
        }
        for (node, address) in joined {
            self.event_log.say("node", &address, || "is listed");
            self.node_listed(node, address.to_string());
            self.nodes.insert(node, KnownNode::new(address));
        }
    }

    /// Says that a node is released.
    pub(super) fn say_let_go(&self, node: &NodeLink, reason: &str) {
        log::info!("node {} is released: {reason}", node.name);
        self.event_log.say("node", &node.name, || format!("is released: {reason}"));
    }

    /// A node is in the list, and is about to be dialled for the first time.
    pub(super) fn node_listed(&mut self, node: NodeKey, address: String) {
        self.tell(Event::NodeListed { node, address });
        self.tell(Event::DialBegun { node, until: now().after(DIALLED_WITHIN) });
    }

    pub(super) fn dial_failed(&mut self, key: NodeKey, error: &DialError) {
        if let Some(node) = self.nodes.get_mut(&key) {
            let cure = doctor::cure(error, &node.address);
            let kind = if error.is_of_stranger() { ToldOfDials::Stranger } else { ToldOfDials::Silence };
            if kind > node.told {
                node.told = kind;
                match kind {
                    // Its own program may still run elsewhere, and this one is not to be waited for.
                    ToldOfDials::Stranger => log::warn!("node {} is inactive: {cure}", node.address),
                    _ => log::info!("node {} is inactive: {error}", node.address),
                }
            }
            node.down = Some(cure);
        }
        self.tell(Event::DialFailed { node: key });
    }

    /// Has a client told how the coordinator and its nodes are, one client at a time.
    pub(super) fn examine(&self, client: Client, request: u32) {
        let by_node: HashMap<_, _> = self.links.iter().map(|(&key, link)| (link.node, (key, link))).collect();
        let mut first_of: HashMap<[u8; 16], NodeKey> = HashMap::new();
        for link in self.links.values() {
            let first = first_of.entry(link.linked.link.peer().id).or_insert(link.node);
            *first = link.node.min(*first);
        }
        let patients = self.engine.status().nodes.into_iter().map(|status| {
            let linked = by_node.get(&status.node);
            let first = linked.and_then(|(_, link)| first_of.get(&link.linked.link.peer().id));
            Patient {
                link: linked.map(|(key, link)| (*key, link.linked.clone())),
                down: self.nodes.get(&status.node).and_then(|node| node.down.clone()),
                twin: first.filter(|&&first| first != status.node).map(|&first| self.same_node(first, status.node)),
                status,
            }
        });
        let examination = Examination { client, request, nodes: patients.collect() };
        if let Err(TrySendError::Full(Examination { client, request, .. })) = self.doctor.try_send(examination) {
            let text = "another client has the doctor: ask again in a second";
            let error = Error::new(ErrorCode::Busy, MessageType::Doctor as u8, text).retryable().with_numbers(2, 1);
            let _ = client.link.answer(request, &error.into());
        }
    }

    fn is_told(&mut self, node: NodeKey, told: ToldOfDials) {
        if let Some(node) = self.nodes.get_mut(&node) {
            node.told = told;
        }
    }

    /// Where a node is.
    fn address_of(&self, node: NodeKey) -> String {
        self.nodes.get(&node).map_or_else(|| format!("#{}", node.0), |node| node.address.to_string())
    }

    pub(super) fn node_linked(&mut self, node: NodeKey, key: LinkKey, linked: NodeHandle, info: NodeInfo) {
        log::info!("node {} is active at {}", info.name, self.address_of(node));
        self.event_log.say("node", &info.name, || format!("is active at {}", self.address_of(node)));
        for (arithmetic, doubt) in &info.doubts {
            let why = doubt.about(*arithmetic);
            log::warn!("node {} gets no exact work: {why}", info.name);
            self.event_log.say("node", &info.name, || format!("gets no exact work: {why}"));
        }
        self.is_told(node, ToldOfDials::Silence);
        let id = linked.link.peer().id;
        if let Some(other) = self.links.values().find(|other| other.node != node && other.linked.link.peer().id == id) {
            log::warn!("{}", self.same_node(other.node, node));
        }
        let (name, specified, out) = (info.name.clone(), Weak::new(), HashMap::new());
        self.links.insert(key, NodeLink { linked, name, node, pushed: VecDeque::new(), specified, out });
        // Asked first: the answer is on its way before the first task is.
        self.jobs.running().into_iter().for_each(|job| self.ask_for_results(key, job));
        self.tell(Event::LinkUp { node, link: key, info });
        self.tell_awaiting();
    }

    /// The nodes that stand in the list under several names, in sentences.
    pub(super) fn same_nodes(&self) -> Vec<String> {
        let mut by_id: BTreeMap<[u8; 16], BTreeSet<NodeKey>> = BTreeMap::new();
        for link in self.links.values() {
            by_id.entry(link.linked.link.peer().id).or_default().insert(link.node);
        }
        let others = |keys: BTreeSet<NodeKey>| {
            let mut keys = keys.into_iter();
            let first = keys.next();
            keys.filter_map(move |key| first.map(|first| (first, key)))
        };
        by_id.into_values().flat_map(others).map(|(first, key)| self.same_node(first, key)).collect()
    }

    /// A node shows that it is the same by its id, which is made of its machine's and its port.
    fn same_node(&self, first: NodeKey, second: NodeKey) -> String {
        let [first, second] = [first, second].map(|node| self.address_of(node));
        format!("{first} and {second} are one node: list it once, or give each machine an /etc/machine-id of its own")
    }

    /// A job takes its turn. Nodes may hold results of it if it has had one before.
    pub(super) fn job_runs(&mut self, job: JobId) {
        self.jobs.runs(job, true);
        self.jobs.make_way();
        if self.jobs.get(job).is_some_and(|open| open.goes_on) {
            self.links.keys().for_each(|&link| self.ask_for_results(link, job));
        }
    }

    /// Asks a node which results of a job it holds.
    fn ask_for_results(&self, link: LinkKey, job: JobId) {
        if let Some(node) = self.links.get(&link) {
            // A link that has ended is reported by its reader.
            let _ = node.linked.link.request(&Results { job }.into(), NodeContext::Results(job));
        }
    }

    /// Says how many results of a job a node holds.
    pub(super) fn say_held(&self, link: LinkKey, job: JobId, count: usize) {
        if let Some(node) = self.links.get(&link).filter(|_| count > 0) {
            log::debug!("node {} holds {} of job {job}", node.name, counted(count as u64, "result"));
            self.event_log
                .say("node", &node.name, || format!("holds {} of job {job}", counted(count as u64, "result")));
        }
    }

    /// Tells those who wait for so many active nodes that they are there.
    pub(super) fn tell_awaiting(&mut self) {
        let active = self.links.len();
        for (_, reply) in self.awaiting.extract_if(.., |(count, _)| *count <= active) {
            let _ = reply.send(());
        }
    }

    pub(super) fn node_unlinked(&mut self, key: LinkKey, reason: String) {
        if let Some(node) = self.links.remove(&key) {
            let address = self.address_of(node.node);
            log::info!("node {address} is inactive: {reason}");
            if let Some(known) = self.nodes.get_mut(&node.node) {
                known.down =
                    Some(format!("its link has ended: {reason}; it is dialled again by itself, ask again in a second"));
            }
            self.event_log.say("node", address, || format!("is inactive: {reason}"));
        }
        self.tell(Event::LinkDown { link: key, reason });
    }

    /// Notes whether injected load has held a task up.
    pub(super) fn note_load(&mut self, link: LinkKey, job: JobId, delayed_ms: u32) {
        let (name, load_ppm) =
            self.links.get(&link).map_or(("lost since then", None), |node| (node.name.as_str(), node.load_ppm()));
        if let Some(text) = self.jobs.get(job).and_then(|job| job.injected.trained(name, load_ppm, delayed_ms)) {
            log::info!("job {job}: {text}");
            self.event_log.say("job", job, || text.clone());
            self.tell_watchers(job, &Notice { kind: NoticeKind::Load, text }.into());
        }
    }

    /// Says that a node has turned a task down, or failed at it.
    pub(super) fn say_not_trained(&mut self, event: &Event, link: LinkKey, attempt: Attempt, was_out: bool) {
        match event {
            Event::Rejected { reason, .. } => {
                self.counts.tasks_rejected += 1;
                let load_ppm = self.links.get(&link).and_then(NodeLink::load_ppm);
                if *reason == RejectReason::LoadProbability
                    && let Some(job) = self.jobs.get(attempt.task.job)
                {
                    job.injected.turned_down(load_ppm);
                }
                self.say_task(link, attempt, || format!("rejected: {reason}"));
            }
            // Who was told to stop has failed at nothing.
            Event::TaskFailed { fault: Fault::Retryable, reason, .. } if !was_out => {
                self.say_task(link, attempt, || format!("ended: {reason}"));
            }
            Event::TaskFailed { reason, .. } => {
                self.counts.tasks_failed += 1;
                let node = self.links.get(&link).map(|link| link.node);
                if let Some(known) = node.and_then(|node| self.nodes.get_mut(&node)) {
                    known.tasks_failed += 1;
                }
                self.say_task(link, attempt, || format!("failed: {reason}"));
            }
            _ => {}
        }
    }

    /// Says what has become of an attempt.
    pub(super) fn say_task(&self, link: LinkKey, attempt: Attempt, sentence: impl FnOnce() -> String) {
        let TaskId { job, step, shard } = attempt.task;
        self.event_log.say("task", job, || {
            let node = self.links.get(&link).map_or("a lost node", |node| &node.name);
            format!("step {}, task {shard}, attempt {} at {node}: {}", step + 1, attempt.attempt, sentence())
        });
    }

    /// Has what there is room for asked for, of the updates on their way.
    pub(super) fn fetch_updates(&mut self) {
        while let Some(link) = self.transfers.next() {
            // Of one that has ended nothing is held.
            if let Some(node) = self.links.get(&link) {
                node.linked.go_on();
            }
        }
    }

    /// Asks for what could not be asked for, and ends the links of nodes that have announced an update and send nothing of it, or too
    /// little.
    pub(super) fn sweep_stalled_nodes(&self) {
        self.links.values().for_each(|node| node.linked.go_on());
        for node in self.links.values().filter(|node| node.linked.is_stalled()) {
            node.linked.link.close("it sends too little of an update that it has announced");
        }
    }

    /// Whether it was out: one that the node was told to stop was not.
    pub(super) fn no_longer_out(&mut self, link: LinkKey, attempt: Attempt) -> bool {
        self.links.get_mut(&link).is_some_and(|node| node.out.remove(&attempt).is_some())
    }

    pub(super) fn order_poller(&self, command: PollerCommand) {
        // The channel holds a command for every node; a full one means that all are being dialled as it is.
        let _ = self.poller.try_send(command);
    }

    pub(super) fn dispatch(&mut self, key: LinkKey, attempt: Attempt, rows: TaskRows, base: Digest, may_reject: bool) {
        let (Some(node), Some(job)) = (self.links.get_mut(&key), self.jobs.get(attempt.task.job)) else { return };
        let digest_of = |shard: u32| job.specification.shards[shard as usize].digest;
        let is_sum = matches!(rows, TaskRows::Blocks { .. });
        let rows = match rows {
            TaskRows::Shard(shard) => RowsSource::Shipped(digest_of(shard)),
            TaskRows::Blocks { epoch, ranges } => {
                let shipped = |blocks: BlockRange| ShippedRange { blocks, shard: digest_of(blocks.shard) };
                RowsSource::Blocks { epoch, ranges: ranges.into_iter().map(shipped).collect() }
            }
        };
        // Small weights go ahead of the first task of a round, to save the node a question.
        let weights = job.base.as_ref().filter(|weights| {
            let is_small = weights.bytes.len() <= node.linked.link.peer().piece_bytes_max();
            weights.digest == base && is_small && !node.pushed.contains(&base)
        });
        let bytes = weights.and_then(|weights| SharedBytes::new(weights.bytes.clone(), 0..weights.bytes.len()));
        let is_specified = Weak::as_ptr(&node.specified) == Arc::as_ptr(&job.specification);
        let training = (!is_specified).then(|| job.specification.training.clone());
        let train: Message<'_> = Train { name: attempt, may_reject, base, rows, training }.into();
        if !node.linked.link.takes(&train) {
            let allowed = node.linked.link.peer().payload_bytes_max;
            let reason = format!(
                "node {} takes payloads of {allowed} bytes at most, and a task of this job is longer: let it take more",
                node.name
            );
            let event = Event::TaskFailed { link: key, attempt, fault: Fault::Final, reason };
            self.say_not_trained(&event, key, attempt, true);
            return self.tell(event);
        }
        let context = NodeContext::Train { attempt, network: job.network.clone(), is_sum };
        let sent = match bytes {
            Some(bytes) => {
                node.pushed.push_front(base);
                node.pushed.truncate(self.pushed_max);
                let object_bytes = bytes.as_slice().len() as u64;
                let piece = SharedPiece { digest: &base, object_bytes, offset: 0, bytes };
                node.linked.link.put_before(&piece, NodeContext::Put, &train, context)
            }
            None => node.linked.link.request(&train, context),
        };
        match sent {
            Ok(request) => {
                node.specified = Arc::downgrade(&job.specification);
                node.out.insert(attempt, Out { request, asked: now(), is_polled: false });
            }
            Err(Unsent) if node.linked.link.is_closed() => {} // Its reader reports the end.
            Err(Unsent) => node.linked.link.close("more tasks wait for it than it takes"),
        }
    }

    pub(super) fn cancel(&mut self, link: LinkKey, attempt: Attempt) {
        if let Some(node) = self.links.get_mut(&link)
            && let Some(out) = node.out.remove(&attempt)
        {
            let _ = node.linked.link.send(&Cancel { request: out.request }.into());
        }
        self.let_update_go(link, attempt);
    }

    /// Has a cancelled attempt's update fetched no further: its memory is the merge's. The result itself is told all the same, since
    /// the digest alone shows whether the node has computed what others have.
    pub(super) fn let_update_go(&mut self, link: LinkKey, attempt: Attempt) {
        let let_go = |node: &NodeLink| node.linked.incoming().let_go(&node.linked.link, attempt);
        let incoming = self.links.get(&link).and_then(let_go);
        if let Some(result) = incoming {
            self.tell(Event::Trained { link, attempt, result });
        }
    }

    pub(super) fn poll_running_tasks(&mut self) {
        let now = now();
        for node in self.links.values_mut() {
            for (attempt, out) in &mut node.out {
                // Over a slow line, or of a node that never answers, questions must not add up.
                let wait_us = if out.is_polled { UNANSWERED_POLL_EVERY_US } else { POLL_EVERY_US };
                if now.since_us(out.asked) >= wait_us {
                    (out.asked, out.is_polled) = (now, true);
                    let _ = node.linked.link.request(&Poll { name: *attempt }.into(), NodeContext::Poll(*attempt));
                }
            }
        }
    }
}
