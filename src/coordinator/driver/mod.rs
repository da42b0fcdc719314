//! The thread that owns the engine: it tells the engine what has happened and does what the engine orders. Owns the
//! handles of all links and the updates that have arrived; does not decide anything.
//!
//! This file has the loop and who does what; `nodes`, `clients` and `reports` have the doing.

mod clients;
mod nodes;
mod reports;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::Settings;
use super::ended::AllEnded;
use super::jobs::{Jobs, Watcher};
use super::journal::{Archive, Order, Told};
use super::links::Linked;
use super::listing::Changed;
use super::pollers::Command;
use super::server::{Client, ClientKey};
use super::status::{Counts, Record, Snapshot};
use super::transfers::Transfers;
use super::update::UpdateBytes;
use super::workers::{Merging, Validating, Weights};
use crate::config::NodeAddress;
use crate::digest::Digest;
use crate::engine::{self, Action, Engine, Event, Fault, LinkKey, NodeInfo, NodeKey, Time};
use crate::job::{Attempt, JobId, Specification, TaskId};
use crate::net::{self, Feed};
use crate::store::Store;
use crate::wire::message::{Attach, Order as JobOrder, Submit};

/// What happens to the coordinator.
pub(super) enum Input {
    /// Something that the engine is told as it is.
    Event(Event),
    /// A dial has failed.
    DialFailed { node: NodeKey, reason: String },
    /// The list of nodes has changed.
    ListChanged(Changed),
    /// A node is linked.
    NodeLinked { node: NodeKey, key: LinkKey, linked: Linked, info: NodeInfo },
    /// A node's link has ended.
    NodeUnlinked { key: LinkKey, reason: String },
    /// A node has trained a task; the update's digest and shape are right.
    Trained { link: LinkKey, attempt: Attempt, update: Update, loss: f64 },
    /// A node has trained a task, and its update is too large to travel inside TRAINED.
    TrainedApart { link: LinkKey, attempt: Attempt },
    /// There is room for more of an update on its way.
    Room,
    /// A node has said how far a task is.
    Polled { link: LinkKey, attempt: Attempt, known: bool, done: u64, planned: u64 },
    /// A client is connected.
    ClientHere { client: Client },
    /// A client's connection has ended.
    ClientGone { client: ClientKey },
    /// A client submits a job.
    Submit { client: Client, request: u32, submit: Box<Submit> },
    /// A client watches a job.
    Attach { client: Client, request: u32, attach: Attach },
    /// A client asks how this job stands, or all of them.
    List { client: Client, request: u32, job: Option<JobId> },
    /// A client has something done to a job.
    Order { client: Client, request: u32, order: JobOrder },
    /// A client no longer wants the answer to a request.
    CancelRequest { client: ClientKey, request: u32 },
    /// What the journal says.
    Journal(Told),
    /// A client's object is in the store.
    ObjectArrived { digest: Digest },
    /// A client's object cannot be had.
    ObjectMissing { client: ClientKey, digest: Digest, reason: String },
    /// The weights of step 0 exist.
    Prepared { job: JobId, weights: Weights },
    /// A round's weights exist.
    Merged { job: JobId, step: u64, weights: Weights },
    /// The completion poller's beat.
    Sweep,
    /// Somebody asks on the console.
    Status(Sender<Snapshot>),
    /// Somebody waits until so many nodes are active.
    AwaitActive { count: usize, reply: Sender<()> },
    /// The program ends.
    Stop,
}

/// An update that has arrived.
pub(super) struct Update {
    pub(super) digest: Digest,
    /// The object, of the right shape.
    pub(super) bytes: Arc<UpdateBytes>,
    pub(super) train_us: u64,
}

/// A linked node.
struct NodeLink {
    linked: Linked,
    name: String,
    node: NodeKey,
    /// The last weights that were put there.
    pushed: Option<Digest>,
    /// Attempts that are out, when they were dispatched or last asked about, and their request.
    out: HashMap<Attempt, Out>,
}

/// An attempt that is out.
struct Out {
    request: u32,
    asked: Time,
}

/// The thread's state.
pub(super) struct Driver {
    engine: Engine,
    policy: engine::Policy,
    nodes: Vec<NodeAddress>,
    jobs: Jobs,
    /// The job whose turn it is.
    running: Option<JobId>,
    ended: AllEnded,
    /// How long jobs are kept after their end.
    keep_ended: Duration,
    keep_jobs: usize,
    /// When the jobs that have ended were last looked through for old ones.
    looked_through: Time,
    links: HashMap<LinkKey, NodeLink>,
    clients: HashMap<ClientKey, Client>,
    /// Updates that the engine has been told of and has not ordered anything for.
    arrived: HashMap<(LinkKey, Attempt), Update>,
    /// Nodes whose first dial has failed, and which have been told of.
    inactive_told: Vec<bool>,
    /// Who waits for so many nodes to be active.
    awaiting: Vec<(usize, Sender<()>)>,
    /// Jobs that have ended and that the journal has named, because it has no room for them.
    without_room: Vec<JobId>,
    /// The submission that the engine is being asked about.
    submitting: Option<Submission>,
    /// Large updates on their way.
    transfers: Transfers,
    counts: Counts,
    feed: Feed,
    merging: Sender<Merging>,
    validating: Sender<Validating>,
    poller: Sender<Command>,
    journal: Sender<Order>,
    archive: Arc<Archive>,
    /// Whether weights are written, and must be held until they are.
    writes_weights: bool,
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
    semantic: Digest,
}

/// The threads around the driver, by what it tells them.
pub(super) struct Around {
    pub(super) store: Arc<Store>,
    pub(super) transfers: Transfers,
    pub(super) merging: Sender<Merging>,
    pub(super) validating: Sender<Validating>,
    pub(super) poller: Sender<Command>,
    pub(super) journal: Sender<Order>,
    pub(super) archive: Arc<Archive>,
    pub(super) recovering: Arc<AtomicBool>,
    pub(super) feed: Feed,
}

/// Jobs that have ended are looked through for old ones this often.
const LOOK_THROUGH_EVERY_US: u64 = 60_000_000;

impl Driver {
    pub(super) fn new(settings: &Settings, around: Around) -> Driver {
        let Around { store, transfers, merging, validating, poller, journal, archive, recovering, feed } = around;
        let mut engine_settings = engine::Settings::new(settings.policy);
        engine_settings.revival_waits.clone_from(&settings.revival_waits);
        Driver {
            engine: Engine::new(engine_settings, net::random_u64()),
            policy: settings.policy,
            nodes: settings.nodes.clone(),
            jobs: Jobs::new(store, settings.store_bytes, settings.object_bytes),
            running: None,
            ended: AllEnded::default(),
            keep_ended: settings.keep_ended,
            keep_jobs: settings.keep_jobs,
            looked_through: Time(0),
            awaiting: Vec::new(),
            without_room: Vec::new(),
            links: HashMap::new(),
            clients: HashMap::new(),
            arrived: HashMap::new(),
            inactive_told: vec![false; settings.nodes.len()],
            submitting: None,
            transfers,
            counts: Counts::default(),
            feed,
            merging,
            validating,
            poller,
            journal,
            archive,
            writes_weights: settings.state_dir.is_some(),
            recovering,
            pending: VecDeque::new(),
            handling: false,
        }
    }

    pub(super) fn run(mut self, inputs: &Receiver<Input>) {
        for (index, node) in self.nodes.clone().iter().enumerate() {
            self.tell(Event::NodeListed { node: NodeKey(index as u32), address: node.to_string() });
        }
        loop {
            let wait = match self.engine.next_deadline() {
                Some(deadline) => Duration::from_micros(deadline.since_us(now())),
                None => Duration::from_secs(3_600),
            };
            match inputs.recv_timeout(wait) {
                Ok(Input::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(input) => self.take(input),
                Err(RecvTimeoutError::Timeout) => self.tell(Event::Tick),
            }
        }
        for node in self.links.values() {
            node.linked.link.close("the coordinator is stopping");
        }
        for client in self.clients.values() {
            client.link.close("the coordinator is stopping");
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Event(event) => {
                if let Event::TaskFailed { link, attempt, .. } | Event::Rejected { link, attempt, .. } = &event {
                    self.no_longer_out(*link, *attempt);
                    self.say_not_trained(&event, *link, *attempt);
                }
                if let Event::ResultsHeld { link, job, held } = &event {
                    self.say_held(*link, *job, held.len());
                }
                self.tell(event);
            }
            Input::ListChanged(changed) => self.list_changed(changed),
            Input::DialFailed { node, reason } => self.dial_failed(node, &reason),
            Input::NodeLinked { node, key, linked, info } => self.node_linked(node, key, linked, info),
            Input::NodeUnlinked { key, reason } => self.node_unlinked(key, reason),
            Input::Trained { link, attempt, update, loss } => {
                self.no_longer_out(link, attempt);
                self.say_task(link, attempt, || {
                    format!("trained in {:.1} ms, loss {loss:.4}", update.train_us as f64 / 1e3)
                });
                let (digest, train_us) = (update.digest, update.train_us);
                self.arrived.insert((link, attempt), update);
                self.tell(Event::Trained { link, attempt, update: digest, loss, train_us });
                // Whatever the engine made of it has taken it out; what is left belongs to nothing.
                self.arrived.remove(&(link, attempt));
            }
            Input::TrainedApart { link, attempt } => {
                // The node has answered, and is done with it: to ask it how far the task is would hear that it knows none.
                self.no_longer_out(link, attempt);
                self.tell(Event::UpdateComing { link, attempt });
            }
            Input::Room => self.fetch_updates(),
            Input::Polled { link, attempt, known, done, planned } => {
                log::debug!("task {:?}: {done} of {planned} batches", attempt.task);
                let is_out = self.links.get(&link).is_some_and(|node| node.out.contains_key(&attempt));
                if !known && is_out {
                    self.no_longer_out(link, attempt);
                    let reason = "the node does not know the task any more".to_owned();
                    self.tell(Event::TaskFailed { link, attempt, fault: Fault::Retryable, reason });
                }
            }
            Input::ClientHere { client } => {
                self.feed.say("client", client.link.peer().address, || "connected");
                self.clients.insert(client.key, client);
            }
            Input::ClientGone { client } => self.client_gone(client),
            Input::Submit { client, request, submit } => self.submit(client, request, *submit),
            Input::Attach { client, request, attach } => self.attach(client, request, attach),
            Input::List { client, request, job } => self.list(&client, request, job),
            Input::Order { client, request, order } => self.order(&client, request, order),
            Input::CancelRequest { client, request } => self.cancel_request(client, request),
            Input::Journal(told) => self.hear_journal(told),
            Input::ObjectArrived { digest } => {
                for job in self.jobs.arrived(digest) {
                    self.data_complete(job);
                }
            }
            Input::ObjectMissing { client, digest, reason } => self.object_missing(client, &digest, &reason),
            Input::Prepared { job, weights } => {
                let base = weights.digest;
                self.jobs.set_base(job, weights);
                self.tell(Event::Prepared { job, base });
            }
            Input::Merged { job, step, weights } => {
                let base = weights.digest;
                if self.writes_weights
                    && let Some(job) = self.jobs.get(job)
                {
                    job.unwritten.push_back((weights.clone(), job.training_us));
                }
                self.jobs.set_base(job, weights);
                self.tell(Event::Merged { job, step, base });
            }
            Input::Sweep => {
                self.poll_running_tasks();
                self.fetch_updates();
                self.sweep_stalled_clients();
                self.sweep_stalled_nodes();
                self.sweep_old_jobs();
                self.tell(Event::Tick);
            }
            Input::Status(reply) => {
                let _ = reply.send(Snapshot {
                    policy: self.policy,
                    clients: self.clients.len(),
                    engine: self.engine.status(),
                    jobs: self.records(),
                    counts: self.counts,
                    same_nodes: self.same_nodes(),
                });
            }
            Input::AwaitActive { count, reply } => {
                self.awaiting.push((count, reply));
                self.tell_awaiting();
            }
            Input::Stop => {}
        }
    }

    /// What is held of every job, for the console.
    fn records(&self) -> Vec<Record> {
        let ended = self.ended.iter();
        let ended = ended.map(|(job, ended)| Record { job, open: None, answer: Some(ended.answer.clone()) });
        self.jobs.records().chain(ended).collect()
    }

    /// Lets go of jobs that ended long ago.
    fn sweep_old_jobs(&mut self) {
        let now = now();
        if now.since_us(self.looked_through) < LOOK_THROUGH_EVERY_US {
            return;
        }
        self.looked_through = now;
        let keep_ms = u64::try_from(self.keep_ended.as_millis()).unwrap_or(u64::MAX);
        for job in self.ended.before(unix_ms().saturating_sub(keep_ms), now) {
            self.tell(Event::Expired { job });
        }
        self.keep_the_last();
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
    }

    /// Has something written.
    fn write(&self, order: Order) {
        // A journal that has failed takes no more; the coordinator is about to end.
        let _ = self.journal.send(order);
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
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Admit { job, admission } => self.admit(job, &admission),
            Action::CollectData { job } => self.collect(job),
            Action::Prepare { job } => self.prepare(job),
            Action::Dispatch { link, attempt, base, may_reject } => self.dispatch(link, attempt, base, may_reject),
            Action::Cancel { link, attempt } => self.cancel(link, attempt),
            Action::Accumulate { link, attempt, rows, .. } => {
                if let Some(update) = self.arrived.remove(&(link, attempt)) {
                    let TaskId { job, step, shard } = attempt.task;
                    if let Some(job) = self.jobs.get(job) {
                        job.training_us += update.train_us;
                    }
                    self.merge(Merging::Accumulate { job, step, shard, rows, update: update.bytes });
                }
            }
            Action::Discard { link, attempt, .. } => {
                self.arrived.remove(&(link, attempt));
            }
            Action::FinishRound { job, step, .. } => self.finish_round(job, step),
            Action::Validate { job, step, .. } => self.validate(job, step),
            Action::DropLink { link, reason } => {
                if let Some(node) = self.links.remove(&link) {
                    self.say_let_go(&node, &reason);
                    node.linked.link.close(&reason);
                }
            }
            Action::DialNow { nodes } => self.order_poller(Command::DialNow(nodes)),
            Action::StopDialling { node } => self.order_poller(Command::StopDialling(node)),
            Action::Persist { job, record } => self.persist(job, record),
            Action::Report { job, event } => self.report(job, event),
            Action::Suspend { job } => self.merge(Merging::Release { job }),
            Action::ReleaseJob { job } => {
                self.jobs.release(job);
                self.merge(Merging::Release { job });
            }
            Action::Forget { job } => {
                self.ended.forget(job);
                self.archive.forget(job);
                self.write(Order::Forget { job });
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
