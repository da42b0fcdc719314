//! What happens to the coordinator: events for the thread that owns the engine, and what they carry. Knows neither who sends
//! them nor what comes of them.

use std::sync::Arc;

use crossbeam_channel::Sender;

use super::collected::Lost;
use super::handles::{Client, ClientKey, NodeHandle};
use super::journal::{DiskRoom, JournalEvent};
use super::listing::Changed;
use super::room::Charge;
use super::status::Snapshot;
use super::update::UpdateBytes;
use super::watcher::Watcher;
use super::work::{ConfusionObject, Weights};
use crate::digest::Digest;
use crate::engine::{Event, LinkKey, NodeInfo, NodeKey, StepSum};
use crate::job::{Attempt, JobId, Specification, TaskResult, Tested};
use crate::net::DialError;
use crate::wire::message::{Attach, Order, Submit};

/// What happens to the coordinator.
pub(super) enum DriverEvent {
    /// Something that the engine is told as it is.
    Event(Event),
    /// A dial has failed.
    DialFailed { node: NodeKey, error: DialError },
    /// The list of nodes has changed.
    ListChanged(Changed),
    /// A node is linked.
    NodeLinked { node: NodeKey, key: LinkKey, linked: NodeHandle, info: NodeInfo },
    /// A node's link has ended.
    NodeUnlinked { key: LinkKey, reason: String },
    /// A node has trained a task; the update's digest and shape are right.
    Trained { link: LinkKey, attempt: Attempt, update: Update },
    /// A node has trained a task, and its update is too large to travel inside TRAINED.
    TrainedApart { link: LinkKey, attempt: Attempt },
    /// There is room for more of an update on its way.
    Reservation,
    /// A node has said how far a task is.
    Polled { link: LinkKey, attempt: Attempt, known: bool, done: u64, planned: u64 },
    /// A client is connected.
    ClientHere { client: Client },
    /// A client's connection has ended.
    ClientGone { client: ClientKey },
    /// A client submits a job, for which the disk has this room, if jobs are written.
    Submit { client: Client, request: u32, submit: Box<Submit>, room: Option<DiskRoom> },
    /// A client watches a job.
    Attach { client: Client, request: u32, attach: Attach },
    /// A client asks how this job stands, or all of them.
    List { client: Client, request: u32, job: Option<JobId> },
    /// A client has something done to a job. Of one that is to go on it is told what was asked for with it, if that can be read.
    Order { client: Client, request: u32, order: Order, specification: Option<Arc<Specification>> },
    /// A client asks how the coordinator and its nodes are.
    Doctor { client: Client, request: u32 },
    /// All that came before it has been taken up: whoever waits for that learns so when this is dropped.
    TakenUp(Sender<()>),
    /// A client no longer wants the answer to a request.
    CancelRequest { client: ClientKey, request: u32 },
    /// What the journal says.
    Journal(JournalEvent),
    /// A watcher has been told of all rounds that it had missed; of those that can be read, unless `is_whole`.
    CaughtUp { job: JobId, watcher: Watcher, is_whole: bool },
    /// A client's object is in the store. It is pinned and charged until its job has it.
    ObjectArrived { digest: Digest, charge: Charge },
    /// A client's object cannot be had; `is_wrong` if it is not as large as its job's specification says.
    ObjectMissing { client: ClientKey, digest: Digest, reason: String, is_wrong: bool },
    /// The weights of step 0 exist.
    Prepared { job: JobId, weights: Weights },
    /// A round cannot be merged: updates of it are lost. These are the weights that it starts from.
    UpdatesLost { job: JobId, step: u64, lost: Vec<Lost>, base: Weights },
    /// A step's weights exist, and, where gradients are merged, their sum.
    Merged { job: JobId, step: u64, weights: Weights, sum: Option<StepSum> },
    /// What came of a job has been tried on its validation and test rows.
    Tested { job: JobId, validation: Tested, test: Option<Tested>, confusion: Option<ConfusionObject> },
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
    /// What the node says of it.
    pub(super) result: TaskResult,
    /// For how long it says that injected load held the task up.
    pub(super) delayed_ms: u32,
    /// The object, of the right shape.
    pub(super) bytes: Arc<UpdateBytes>,
}
