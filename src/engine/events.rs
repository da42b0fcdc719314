//! What the engine is told and what it orders. Owns the vocabulary between the engine and the threads around it: plain
//! data, each value naming its job. Does not know how anything is decided (the rest of `engine`) or done.

use std::sync::Arc;

use super::nodes::{LinkKey, NodeInfo, NodeKey};
use super::report::{JobEvent, JobProgress};
use super::time::Time;
use crate::digest::Digest;
use crate::job::{
    Attempt, CachedResult, FailReason, JobId, Metrics, ObjectRef, Outcome, Progress, Record, RejectReason,
    Specification, TaskResult, TaskRows, Tested,
};

/// What went wrong with an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The node failed, and says that it may be asked again.
    Retryable,
    /// The node failed, and says that asking it again is useless.
    Final,
    /// The node sent a result of the wrong shape or hash: a strike against it.
    Malformed,
}

/// What the engine is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A node is in the list. One that was leaving stays; one that was quarantined stays so.
    NodeListed {
        /// The node.
        node: NodeKey,
        /// Where it is dialled; shown until it has told its name.
        address: String,
    },
    /// A node is being dialled for the first time: it is not taken for one that is away before it has not answered.
    DialBegun {
        /// The node.
        node: NodeKey,
        /// When it has not answered, if nothing is heard of it before.
        until: Time,
    },
    /// A node has not answered.
    DialFailed {
        /// The node.
        node: NodeKey,
    },
    /// A node is no longer in the list: it gets no new task, and its link is dropped once it has none.
    NodeUnlisted {
        /// The node.
        node: NodeKey,
    },
    /// A connection to a node is greeted and ready. An older one of the same node is dropped.
    LinkUp {
        /// The node.
        node: NodeKey,
        /// The connection.
        link: LinkKey,
        /// What the node says of itself.
        info: NodeInfo,
    },
    /// A connection is gone.
    LinkDown {
        /// The connection.
        link: LinkKey,
        /// Why, as a plain phrase.
        reason: String,
    },
    /// A node told its load, tasks of others included.
    LoadReported {
        /// Its connection.
        link: LinkKey,
        /// Tasks in training.
        running: u32,
        /// Tasks in its queue.
        waiting: u32,
    },
    /// A client submits a job. Answered by exactly one [`Action::Admit`]; submissions are answered in their order.
    Submitted {
        /// The job.
        job: JobId,
        /// What is asked for; within its limits ([`Specification::checked`]).
        specification: Arc<Specification>,
        /// Digest of the specification's semantic part.
        semantic: Digest,
    },
    /// Every object of a job has been fetched.
    DataReady {
        /// The job.
        job: JobId,
    },
    /// A job's objects cannot be had.
    DataMissing {
        /// The job.
        job: JobId,
        /// Why.
        reason: String,
    },
    /// A job's objects are here, and are not what its specification says.
    DataWrong {
        /// The job.
        job: JobId,
        /// What is wrong with them.
        reason: String,
    },
    /// A client wants a job to end.
    CancelRequested {
        /// The job.
        job: JobId,
    },
    /// A client wants a paused job to go on.
    ResumeRequested {
        /// The job.
        job: JobId,
    },
    /// The same of one that was restored without its data: it goes on once that has been read, which [`Event::DataReady`] says.
    ReadRequested {
        /// The job.
        job: JobId,
    },
    /// It could not be read, for this reason, and is paused again.
    ReadFailed {
        /// The job.
        job: JobId,
        /// Why.
        reason: FailReason,
    },
    /// A job that was given up is to go on: its data is here again, and if it has made progress, the weights of that too.
    Reopened {
        /// The job.
        job: JobId,
        /// What is asked for.
        specification: Arc<Specification>,
        /// How far it was; none before the first record of it.
        progress: Option<Box<Progress>>,
    },
    /// A job that had not ended when the coordinator did. Its data is here, and if it has made progress, the weights of
    /// that too. Jobs are restored in the order in which they were submitted, before any is submitted.
    Restored {
        /// The job.
        job: JobId,
        /// What is asked for.
        specification: Arc<Specification>,
        /// Digest of the specification's semantic part.
        semantic: Digest,
        /// How far it was; none before the first round was done.
        progress: Option<Box<Progress>>,
        /// Why it was paused, if it was.
        paused: Option<FailReason>,
    },
    /// A job that had ended before the coordinator did. The earliest end first.
    RestoredEnded {
        /// The job.
        job: JobId,
        /// Digest of its specification's semantic part.
        semantic: Digest,
        /// How it ended.
        outcome: Outcome,
    },
    /// A job that has ended, and whose end everyone has been told, need not be kept any more. Until then it is.
    Expired {
        /// The job.
        job: JobId,
    },
    /// The base weights of the job's first step exist.
    Prepared {
        /// The job.
        job: JobId,
        /// The weights.
        base: Digest,
    },
    /// The caller's own workers cannot prepare, merge or validate: the job cannot go on.
    WorkFailed {
        /// The job.
        job: JobId,
        /// Why.
        reason: String,
    },
    /// The same for want of something that there may be later, memory or room on the disk: the job is paused.
    WorkHeldUp {
        /// The job.
        job: JobId,
        /// Why.
        reason: String,
    },
    /// A node has trained a task, and its update is on its way: [`Event::Trained`] comes once it is here, or
    /// [`Event::TaskFailed`]. The node's worker is free meanwhile.
    UpdateComing {
        /// The connection that it comes over.
        link: LinkKey,
        /// The attempt that it claims to be of.
        attempt: Attempt,
    },
    /// A result arrived whole and its hash is right. Answered by exactly one [`Action::Accumulate`] or [`Action::Discard`] of
    /// this link and attempt.
    Trained {
        /// The connection that it came over.
        link: LinkKey,
        /// The attempt that it claims to be of.
        attempt: Attempt,
        /// What the node says of it.
        result: TaskResult,
    },
    /// A node turned a task down.
    Rejected {
        /// The connection that it came over.
        link: LinkKey,
        /// The attempt that it claims to be of.
        attempt: Attempt,
        /// Why.
        reason: RejectReason,
        /// For so long the node asks to be offered none that it may turn down; 0: it does not say.
        retry_ms: u32,
    },
    /// A node is shutting down, and so does not take a task: it takes none over this link any more, and finishes those that
    /// it trains.
    Closing {
        /// The connection that it came over.
        link: LinkKey,
        /// The attempt that it claims to be of.
        attempt: Attempt,
    },
    /// An attempt failed.
    TaskFailed {
        /// The connection that it came over.
        link: LinkKey,
        /// The attempt that it claims to be of.
        attempt: Attempt,
        /// What to make of it.
        fault: Fault,
        /// Why.
        reason: String,
    },
    /// A node told which results of a job it holds, or is training, since before its connection.
    ResultsHeld {
        /// Its connection.
        link: LinkKey,
        /// The job.
        job: JobId,
        /// The results.
        held: Vec<CachedResult>,
    },
    /// An accepted update is in the round's sum.
    Accumulated {
        /// The job.
        job: JobId,
        /// The step.
        step: u64,
        /// The shard.
        shard: u32,
    },
    /// An accepted update cannot be summed (not a number, infinite, out of range); the sum is as it was.
    UpdateRefused {
        /// The job.
        job: JobId,
        /// The step.
        step: u64,
        /// The shard.
        shard: u32,
        /// Why.
        reason: String,
    },
    /// A round cannot be merged, because updates that were accepted cannot be read any more: their tasks are to be done again.
    /// All else that was merged is as it was.
    UpdatesLost {
        /// The job.
        job: JobId,
        /// The step.
        step: u64,
        /// The shards whose updates are lost; those of other tasks are still there.
        shards: Vec<u32>,
        /// Why.
        reason: String,
    },
    /// A step's sum is divided: the next step's base exists.
    Merged {
        /// The job.
        job: JobId,
        /// The step.
        step: u64,
        /// The new weights.
        base: Digest,
        /// What they came of, where gradients are merged.
        sum: Option<StepSum>,
    },
    /// A round's new weights have been tried on the validation data.
    Validated {
        /// The job.
        job: JobId,
        /// The round, from 0.
        round: u32,
        /// Rows in all.
        rows: u64,
        /// How good the weights are on them.
        metrics: Metrics,
    },
    /// The weights that came of the job have been tried on its validation and test data.
    Tested {
        /// The job.
        job: JobId,
        /// What came of the validation rows.
        validation: Tested,
        /// What came of the test rows, if there are some.
        test: Option<Box<Tested>>,
        /// Which class they were taken for, where there are classes.
        confusion: Option<ObjectRef>,
    },
    /// Time has passed.
    Tick,
}

/// What a step of merged gradients came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepSum {
    /// The whole sum, as an object.
    pub digest: Digest,
    /// The loss, summed over the rows.
    pub loss: f64,
    /// What the outer optimiser remembered before it, as an object.
    pub outer: Digest,
}

/// The answer to a submission.
#[derive(Clone, Debug, PartialEq)]
pub enum Admission {
    /// The job is new and queued.
    Admitted {
        /// Jobs ahead of it, those that run included.
        position: u32,
    },
    /// The job is known, and means the same.
    Attached {
        /// How far it is; a finished one's outcome is in it.
        progress: JobProgress,
    },
    /// The job's id is taken by a job that means something else.
    Conflict,
    /// No place in the queue.
    Busy {
        /// Jobs that may wait at the same time.
        queued_max: usize,
    },
}

/// What the engine orders.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Answer the client that submitted.
    Admit {
        /// The job.
        job: JobId,
        /// The answer.
        admission: Admission,
    },
    /// Fetch the job's objects from its client, then [`Event::DataReady`]. Ordered at admission, and again when a client
    /// attaches before they are complete: the first may be gone.
    CollectData {
        /// The job.
        job: JobId,
    },
    /// Make the weights of the job's first step (of step 0, or of the step after its progress), then [`Event::Prepared`].
    Prepare {
        /// The job.
        job: JobId,
    },
    /// Send a task.
    Dispatch {
        /// Over this connection.
        link: LinkKey,
        /// The attempt.
        attempt: Attempt,
        /// The rows that the task is of.
        rows: TaskRows,
        /// The weights to start from.
        base: Digest,
        /// Whether the node may turn it down.
        may_reject: bool,
    },
    /// An attempt is void (another was quicker, or the job is over): the node may stop it.
    Cancel {
        /// The connection that it was sent over.
        link: LinkKey,
        /// The attempt.
        attempt: Attempt,
    },
    /// Add an update, times `rows`, or a sum of gradients, to its step's sum, then [`Event::Accumulated`] or [`Event::UpdateRefused`].
    Accumulate {
        /// The connection that it came over.
        link: LinkKey,
        /// The attempt that it is of.
        attempt: Attempt,
        /// The update.
        update: Digest,
        /// The rows behind it: an update's weight.
        rows: u32,
        /// Blocks that it sums, where it is a sum of gradients.
        blocks: u32,
    },
    /// A late, duplicate or stale result: free it.
    Discard {
        /// The connection that it came over.
        link: LinkKey,
        /// The attempt that it claims to be of.
        attempt: Attempt,
        /// The update.
        update: Digest,
    },
    /// Every task is merged or skipped: divide the sum, then [`Event::Merged`], or [`Event::UpdatesLost`].
    FinishStep {
        /// The job.
        job: JobId,
        /// The step.
        step: u64,
        /// Rows in the sum; those of skipped shards are not.
        rows: u64,
    },
    /// Try the weights that came of the job on its validation and test data, then [`Event::Tested`].
    Test {
        /// The job.
        job: JobId,
        /// The weights: those of the last record, or the best that it names.
        weights: Digest,
    },
    /// Try a round's new weights on the validation data, then [`Event::Validated`].
    Validate {
        /// The job.
        job: JobId,
        /// The round that made the weights, from 0.
        round: u32,
        /// The weights.
        base: Digest,
    },
    /// Close a connection. The engine already treats it as down.
    DropLink {
        /// The connection.
        link: LinkKey,
        /// Why, as a plain phrase.
        reason: String,
    },
    /// Dial these nodes at once, whatever the poller's schedule says.
    DialNow {
        /// Every node that is listed, has no link and is not quarantined.
        nodes: Vec<NodeKey>,
    },
    /// A node is quarantined: dialling it is useless until it is unlisted and listed again.
    StopDialling {
        /// The node.
        node: NodeKey,
    },
    /// Hold the weights that were made last: [`Action::Persist`] will name them.
    KeepWeights {
        /// The job.
        job: JobId,
    },
    /// Write some steps down, so that the job can go on after them. Where a round ends with them, whoever watches hears of it
    /// ([`JobEvent::RoundDone`], ordered next) once that is so; the job itself does not wait for it.
    Persist {
        /// The job.
        job: JobId,
        /// What to write.
        record: Box<Record>,
    },
    /// Tell whoever watches the job.
    Report {
        /// The job.
        job: JobId,
        /// What happened.
        event: JobEvent,
    },
    /// The job is paused: drop its sum, but keep its data and the base weights of its step.
    Suspend {
        /// The job.
        job: JobId,
    },
    /// The job is over: drop its sums, data and weights. What is still under way for it is ignored when it ends.
    ReleaseJob {
        /// The job.
        job: JobId,
    },
    /// The job is not known any more: drop how it ended, and what is written of it.
    Forget {
        /// The job.
        job: JobId,
    },
}
