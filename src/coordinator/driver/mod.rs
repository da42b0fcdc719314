//! The thread that owns the engine: it tells the engine what has happened and does what the engine orders. Owns the
//! handles of all links and the updates that have arrived; does not decide anything.
//!
//! This file has the loop and who does what; `nodes`, `clients`, `reports`, `resuming` and `unwritten` have the doing.

mod clients;
mod nodes;
mod reports;
mod resuming;
mod unwritten;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::dialling::PollerCommand;
use super::doctor::Examination;
use super::ended::AllEnded;
use super::event::{DriverEvent, Update};
use super::handles::{Client, ClientKey, NodeHandle};
use super::history::{Behind, History};
use super::job_registry::Jobs;
use super::journal::{Archive, JobMemory, JournalCommand};
use super::lived::{Leap, Lived};
use super::room::Room;
use super::settings::Settings;
use super::status::{Counts, Snapshot};
use super::transfers::Transfers;
use super::watcher::Watcher;
use super::work::{ConfusionObject, MergeWork, Validating};
use super::workers::Merger;
use crate::config::NodeAddress;
use crate::digest::Digest;
use crate::engine::{self, Action, Engine, Event, Fault, LinkKey, NodeKey, Time};
use crate::job::{Attempt, JobId, ObjectRef, Specification, TaskId};
use crate::net::{self, EventLog};
use crate::store::Store;
use crate::wire::limits;

/// A linked node.
struct NodeLink {
    linked: NodeHandle,
    name: String,
    node: NodeKey,
    /// The weights that were put there last, the latest first: of each job that runs its own.
    pushed: VecDeque<Digest>,
    /// The last specification that a TRAIN carried there: the next tasks of its job need not. What the node made of it does
    /// not matter. By its place in memory and not by the job's id, which a job that was forgotten leaves to another.
    specified: Weak<Specification>,
    /// Attempts that are out, when they were dispatched or last asked about, and their request.
    out: HashMap<Attempt, Out>,
}

impl NodeLink {
    /// How likely it injects load, if it does.
    fn load_ppm(&self) -> Option<u32> {
        self.linked.link.peer().features.load_ppm
    }
}

/// An attempt that is out.
struct Out {
    request: u32,
    asked: Time,
    /// It was asked by a POLL whose answer has not come.
    is_polled: bool,
}

/// What has been told of dials that fail: each of these once, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum ToldOfDials {
    Nothing,
    /// That it does not answer.
    Silence,
    /// That something answers which is not to be had as a node; or it is nobody's concern.
    Stranger,
}

/// What the driver knows of a node beside the engine.
struct KnownNode {
    address: NodeAddress,
    /// What of its failing dials has been told since it was active last.
    told: ToldOfDials,
    /// What came of its last dial, or why its last link ended; with the cure.
    down: Option<String>,
    /// Tasks that it said it could not do.
    tasks_failed: u64,
}

impl KnownNode {
    fn new(address: NodeAddress) -> KnownNode {
        KnownNode { address, told: ToldOfDials::Nothing, down: None, tasks_failed: 0 }
    }
}

/// The thread's state.
pub(super) struct Driver {
    engine: Engine,
    policy: engine::Policy,
    /// Every node that has been listed.
    nodes: BTreeMap<NodeKey, KnownNode>,
    jobs: Jobs,
    /// Weights that a node is taken to have still that were put there.
    pushed_max: usize,
    ended: AllEnded,
    /// How long jobs are kept after their end.
    keep_ended: Duration,
    keep_jobs: usize,
    /// When watchers were last told how the nodes stand.
    fleet_told: Time,
    /// When the jobs that have ended were last looked through for old ones.
    looked_through: Time,
    /// Whether the memory of all jobs that have ended has been given back.
    is_rested: bool,
    /// How long coordinators have run: what jobs that have ended are kept by.
    lived: Lived,
    links: HashMap<LinkKey, NodeLink>,
    clients: HashMap<ClientKey, Client>,
    /// Updates that the engine has been told of, until it has said what becomes of them.
    updates: HashMap<(LinkKey, Attempt), Update>,
    /// Who waits for so many nodes to be active.
    awaiting: Vec<(usize, Sender<()>)>,
    /// Jobs that have ended and that the journal has named, because it has no room for them.
    without_room: Vec<JobId>,
    /// Submissions that the engine has been told of and has not answered, in their order.
    submissions: VecDeque<Submission>,
    /// Large updates on their way.
    transfers: Transfers,
    counts: Counts,
    event_log: EventLog,
    /// Merges what is small.
    small: Merger,
    merging: Sender<MergeWork>,
    validating: Sender<Validating>,
    poller: Sender<PollerCommand>,
    journal: Sender<JournalCommand>,
    archive: Arc<Archive>,
    history: Sender<History>,
    doctor: Sender<Examination>,
    /// Whose watchers are told of what they have missed.
    behind: Behind,
    /// Whether weights are written, and must be held until they are.
    writes_weights: bool,
    /// What is told while something cannot be written, and it cannot be.
    unwritten: Option<String>,
    /// Until the journal has been read.
    recovering: Arc<AtomicBool>,
    /// What the engine is to be told once it has handled the event before.
    pending: VecDeque<Event>,
    handling: bool,
}

/// A submission that the engine has not answered.
struct Submission {
    watcher: Watcher,
    specification: Arc<Specification>,
}

/// The threads around the driver, by what it tells them.
pub(super) struct Handles {
    pub(super) store: Arc<Store>,
    pub(super) room: Room,
    pub(super) transfers: Transfers,
    pub(super) small: Merger,
    pub(super) merging: Sender<MergeWork>,
    pub(super) validating: Sender<Validating>,
    pub(super) poller: Sender<PollerCommand>,
    pub(super) journal: Sender<JournalCommand>,
    pub(super) archive: Arc<Archive>,
    pub(super) history: Sender<History>,
    pub(super) doctor: Sender<Examination>,
    pub(super) recovering: Arc<AtomicBool>,
    pub(super) event_log: EventLog,
}

/// Jobs that have ended are looked through for old ones this often.
const LOOK_THROUGH_EVERY_US: u64 = 60_000_000;

impl Driver {
    /// With the nodes that are listed at the start.
    pub(super) fn new(settings: &Settings, nodes: BTreeMap<NodeKey, NodeAddress>, handles: Handles) -> Driver {
        let Handles {
            store,
            room,
            transfers,
            small,
            merging,
            validating,
            poller,
            journal,
            archive,
            history,
            doctor,
            recovering,
            event_log,
        } = handles;
        let mut engine_settings = engine::Settings::new(settings.policy);
        engine_settings.revival_waits.clone_from(&settings.revival_waits);
        engine_settings.queued_max = limits::QUEUED_JOBS_MAX;
        engine_settings.jobs_at_once = settings.jobs_at_once;
        let JobMemory { allowed_bytes, means } = settings.job_memory();
        engine_settings.memory = Some(engine::Memory { allowed_bytes, means });
        Driver {
            engine: Engine::new(engine_settings, net::random_u64()),
            policy: settings.policy,
            nodes: nodes.into_iter().map(|(key, address)| (key, KnownNode::new(address))).collect(),
            jobs: Jobs::new(store, room, settings),
            pushed_max: 2 * settings.jobs_at_once,
            ended: AllEnded::default(),
            keep_ended: settings.keep_ended,
            keep_jobs: settings.keep_jobs,
            fleet_told: Time(0),
            looked_through: Time(0),
            is_rested: true,
            lived: Lived::default(),
            awaiting: Vec::new(),
            without_room: Vec::new(),
            links: HashMap::new(),
            clients: HashMap::new(),
            updates: HashMap::new(),
            submissions: VecDeque::new(),
            transfers,
            counts: Counts::default(),
            event_log,
            small,
            merging,
            validating,
            poller,
            journal,
            archive,
            history,
            doctor,
            behind: Behind::default(),
            writes_weights: settings.state_dir.is_some(),
            unwritten: None,
            recovering,
            pending: VecDeque::new(),
            handling: false,
        }
    }

    pub(super) fn run(mut self, events: &Receiver<DriverEvent>) {
        let listed: Vec<_> = self.nodes.iter().map(|(&key, node)| (key, node.address.to_string())).collect();
        for (node, address) in listed {
            self.node_listed(node, address);
        }
        loop {
            let wait = match self.engine.next_deadline() {
                Some(deadline) => Duration::from_micros(deadline.since_us(now())),
                None => Duration::from_secs(3_600),
            };
            match events.recv_timeout(wait) {
                Ok(DriverEvent::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(event) => self.take(event),
                Err(RecvTimeoutError::Timeout) => self.tell(Event::Tick),
            }
        }
        if !self.recovering.load(std::sync::atomic::Ordering::Acquire) {
            self.write(JournalCommand::Lived(self.lived.record(now(), unix_ms())));
        }
        for node in self.links.values() {
            node.linked.link.close("the coordinator is stopping");
        }
        for client in self.clients.values() {
            client.link.close("the coordinator is stopping");
        }
    }

    fn take(&mut self, event: DriverEvent) {
        match event {
            DriverEvent::Event(event) => {
                if let Event::TaskFailed { link, attempt, .. }
                | Event::Rejected { link, attempt, .. }
                | Event::Closing { link, attempt } = &event
                {
                    let was_out = self.no_longer_out(*link, *attempt);
                    self.say_not_trained(&event, *link, *attempt, was_out);
                }
                if let Event::ResultsHeld { link, job, held } = &event {
                    self.say_held(*link, *job, held.len());
                }
                self.tell(event);
            }
            DriverEvent::ListChanged(changed) => self.list_changed(changed),
            DriverEvent::DialFailed { node, error } => self.dial_failed(node, &error),
            DriverEvent::NodeLinked { node, key, linked, info } => self.node_linked(node, key, linked, info),
            DriverEvent::NodeUnlinked { key, reason } => self.node_unlinked(key, reason),
            DriverEvent::Trained { link, attempt, update } => {
                self.no_longer_out(link, attempt);
                let result = update.result;
                self.say_task(link, attempt, || {
                    format!("trained in {:.1} ms, loss {:.4}", result.train_us as f64 / 1e3, result.loss)
                });
                self.note_load(link, attempt.task.job, update.delayed_ms);
                self.updates.insert((link, attempt), update);
                self.tell(Event::Trained { link, attempt, result });
            }
            DriverEvent::TrainedApart { link, attempt } => {
                // The node has answered, and is done with it: to ask it how far the task is would hear that it knows none.
                if self.no_longer_out(link, attempt) {
                    self.tell(Event::UpdateComing { link, attempt });
                } else {
                    // It was cancelled before this was heard.
                    self.let_update_go(link, attempt);
                }
            }
            DriverEvent::Reservation => self.fetch_updates(),
            DriverEvent::Polled { link, attempt, known, done, planned } => {
                log::debug!("task {:?}: {done} of {planned} batches", attempt.task);
                let out = self.links.get_mut(&link).and_then(|node| node.out.get_mut(&attempt));
                let is_out = out.map(|out| out.is_polled = false).is_some();
                if !known && is_out {
                    self.no_longer_out(link, attempt);
                    let reason = "the node does not know the task any more".to_owned();
                    self.tell(Event::TaskFailed { link, attempt, fault: Fault::Retryable, reason });
                }
            }
            DriverEvent::ClientHere { client } => {
                self.event_log.say("client", client.link.peer().address, || "connected");
                self.clients.insert(client.key, client);
            }
            DriverEvent::ClientGone { client } => self.client_gone(client),
            DriverEvent::Submit { client, request, submit, room } => self.submit(client, request, *submit, room),
            DriverEvent::Attach { client, request, attach } => self.attach(client, request, attach),
            DriverEvent::List { client, request, job } => self.list(&client, request, job),
            DriverEvent::Order { client, request, order, specification } => {
                self.order(&client, request, order, specification.as_deref());
            }
            DriverEvent::Doctor { client, request } => self.examine(client, request),
            DriverEvent::CancelRequest { client, request } => self.cancel_request(client, request),
            DriverEvent::Journal(told) => self.hear_journal(told),
            DriverEvent::CaughtUp { job, watcher, is_whole } => self.caught_up(job, watcher, is_whole),
            DriverEvent::ObjectArrived { digest, charge } => {
                let complete = self.jobs.arrived_pinned(digest);
                drop(charge);
                complete.into_iter().for_each(|job| self.data_complete(job));
            }
            DriverEvent::ObjectMissing { client, digest, reason, is_wrong } => {
                self.object_missing(client, &digest, &reason, is_wrong);
            }
            DriverEvent::Prepared { job, weights } => {
                let base = weights.digest;
                self.jobs.set_base(job, weights);
                self.tell(Event::Prepared { job, base });
            }
            DriverEvent::UpdatesLost { job, step, lost, base } => {
                self.jobs.set_base(job, base);
                let reason = lost.first().map_or_else(String::new, |lost| lost.reason.clone());
                let shards = lost.into_iter().map(|lost| lost.shard).collect();
                self.tell(Event::UpdatesLost { job, step, shards, reason });
            }
            DriverEvent::Merged { job, step, weights, sum } => {
                let base = weights.digest;
                self.jobs.set_base(job, weights);
                self.tell(Event::Merged { job, step, base, sum });
            }
            DriverEvent::Tested { job, validation, test, confusion } => {
                let named =
                    |(digest, bytes): &ConfusionObject| ObjectRef { digest: *digest, bytes: bytes.len() as u64 };
                let named = confusion.as_ref().map(named);
                if let Some(job) = self.jobs.get(job) {
                    job.confusion = confusion;
                }
                self.tell(Event::Tested { job, validation, test: test.map(Box::new), confusion: named });
            }
            DriverEvent::Sweep => {
                self.poll_running_tasks();
                self.tell_fleet();
                self.fetch_updates();
                self.sweep_stalled_clients();
                self.make_room();
                self.sweep_stalled_nodes();
                self.sweep_old_jobs();
                self.tell(Event::Tick);
            }
            DriverEvent::Status(reply) => {
                let _ = reply.send(Snapshot {
                    policy: self.policy,
                    clients: self.clients.len(),
                    engine: self.engine.status(),
                    open: self.jobs.open().collect(),
                    counts: self.counts,
                    same_nodes: self.same_nodes(),
                });
            }
            DriverEvent::AwaitActive { count, reply } => {
                self.awaiting.push((count, reply));
                self.tell_awaiting();
            }
            DriverEvent::TakenUp(waiting) => drop(waiting),
            DriverEvent::Stop => {}
        }
    }

    /// Lets go of jobs that ended long ago.
    fn sweep_old_jobs(&mut self) {
        let now = now();
        if now.since_us(self.looked_through) < LOOK_THROUGH_EVERY_US {
            return;
        }
        self.looked_through = now;
        if let Some(leap) = self.lived.look(now, unix_ms()) {
            self.say_leap(leap);
        }
        if let Some(lived) = self.lived.due(now, unix_ms()) {
            self.write(JournalCommand::Lived(lived));
        }
        let keep_ms = u64::try_from(self.keep_ended.as_millis()).unwrap_or(u64::MAX);
        for job in self.ended.before(self.lived.at(now).saturating_sub(keep_ms), now) {
            self.tell(Event::Expired { job });
        }
        self.keep_the_last();
        if !self.is_rested && self.jobs.rest() {
            net::give_memory_back();
            self.is_rested = true;
        }
    }

    fn say_leap(&self, leap: Leap) {
        log::warn!("{leap}");
        self.event_log.say("clock", "coordinator", || leap.to_string());
    }

    /// Lets go of the oldest jobs that have ended, if there are too many, and of those that the disk has no room for, as soon
    /// as nobody is about to fetch their models.
    fn keep_the_last(&mut self) {
        let now = now();
        let ended = &self.ended;
        let without_room = self.without_room.extract_if(.., |job| ended.can_go(*job, now));
        for job in without_room.chain(ended.beyond(self.keep_jobs, now)).collect::<Vec<_>>() {
            self.tell(Event::Expired { job });
        }
        self.jobs.let_results_go(|job| self.ended.can_go(job, now));
    }

    /// Has something written.
    fn write(&self, command: JournalCommand) {
        // A journal that has failed takes no more; the coordinator is about to end.
        let _ = self.journal.send(command);
    }

    /// Tells the engine, and does what it orders. What comes of that is told afterwards, in order.
    fn tell(&mut self, event: Event) {
        self.pending.push_back(event);
        if std::mem::replace(&mut self.handling, true) {
            return;
        }
        let mut actions = Vec::new();
        while let Some(event) = self.pending.pop_front() {
            self.engine.handle(now(), event, &mut actions);
            for action in actions.drain(..) {
                self.act(action);
            }
        }
        self.handling = false;
        // What nodes are to compute is on its way.
        self.small.name_remembered();
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Admit { job, admission } => self.admit(job, &admission),
            Action::CollectData { job } => self.collect(job),
            Action::Prepare { job } => self.prepare(job),
            Action::Dispatch { link, attempt, rows, base, may_reject } => {
                self.dispatch(link, attempt, rows, base, may_reject);
            }
            Action::Cancel { link, attempt } => self.cancel(link, attempt),
            Action::Accumulate { link, attempt, rows, blocks, .. } => {
                if let Some(update) = self.updates.remove(&(link, attempt)) {
                    let TaskId { job, step, shard } = attempt.task;
                    self.merge(job, MergeWork::Accumulate { job, step, shard, rows, blocks, update: update.bytes });
                }
            }
            Action::Discard { link, attempt, .. } => {
                self.updates.remove(&(link, attempt));
            }
            Action::FinishStep { job, step, rows } => self.finish_step(job, step, rows),
            Action::Validate { job, round, .. } => self.validate(job, round),
            Action::Test { job, weights } => self.test(job, weights),
            Action::DropLink { link, reason } => {
                if let Some(node) = self.links.remove(&link) {
                    self.say_let_go(&node, &reason);
                    node.linked.link.close(&reason);
                }
            }
            Action::DialNow { nodes } => self.order_poller(PollerCommand::DialNow(nodes)),
            Action::StopDialling { node } => self.order_poller(PollerCommand::StopDialling(node)),
            Action::KeepWeights { job } => self.keep_weights(job),
            Action::Persist { job, record } => self.persist(job, record),
            Action::Report { job, event } => self.report(job, event),
            Action::Suspend { job } => {
                self.release_step(job);
                self.jobs.make_way();
            }
            Action::ReleaseJob { job } => {
                self.is_rested = false;
                self.let_go(job);
                self.release_step(job);
                self.jobs.make_way();
                self.read_what_fits();
            }
            Action::Forget { job } => {
                self.ended.forget(job);
                self.jobs.forget(job);
                self.archive.forget(job);
                self.write(JournalCommand::Forget { job });
            }
        }
    }
}

fn now() -> Time {
    Time(net::now().as_micros() as u64)
}

/// Milliseconds since 1970 in UTC.
fn unix_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
