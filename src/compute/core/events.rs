//! What the core is told and what it orders. Owns the vocabulary between the core and the threads around it: plain data,
//! beside handles that it passes on without looking into them ([`Content`]). Does not know how anything is decided (the rest
//! of `core`) or done.

use std::fmt;
use std::time::Duration;

use crate::digest::Digest;
use crate::job::{Attempt, CachedResult, JobId, RejectReason, TaskId, TaskResult, TaskState};

/// What the core is given and passes on without looking into it.
pub trait Content: Clone + fmt::Debug {
    /// What is to be trained, how far it is, and the way to stop it.
    type Work: Clone + fmt::Debug;
    /// An object's bytes.
    type Data: Clone + fmt::Debug;
    /// Why something could not be had or done.
    type Failure: Clone + fmt::Debug;
}

/// A moment: the time since another one that the caller fixes once. Never runs backwards.
pub type Moment = Duration;

/// One connection to a coordinator; never used again after it is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkKey(pub u64);

/// A task's place in the node's table; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskKey(pub u64);

/// Who is answered, and of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// The connection that asked.
    pub link: LinkKey,
    /// Its request.
    pub request: u32,
    /// The attempt that it asked for.
    pub attempt: Attempt,
}

/// Everything that a task's result depends on: where two are equal, so are the results, to the last bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The task.
    pub task: TaskId,
    /// The weights that it starts from.
    pub base: Digest,
    /// Of the rows, and of the digest of the training fields.
    pub rest: Digest,
}

/// An object that a task needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object<D> {
    /// Its name.
    pub digest: Digest,
    /// Its bytes, once they are here.
    pub data: Option<D>,
}

/// A task that is asked for.
#[derive(Clone, Debug)]
pub struct Train<C: Content> {
    /// Who asks, and as what.
    pub to: Recipient,
    /// What the result depends on.
    pub identity: Identity,
    /// Whether the task may be rejected.
    pub may_reject: bool,
    /// The weights to start from.
    pub base: Object<C::Data>,
    /// The rows to train on: a shard, or all those that its blocks lie in. At least one.
    pub shards: Vec<Object<C::Data>>,
    /// What is to be trained.
    pub work: C::Work,
}

/// What came of a task, whoever it is for.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainedUpdate<C: Content> {
    /// All but the update's bytes.
    pub result: TaskResult,
    /// For how long injected load held it up before.
    pub delayed: Duration,
    /// The update's bytes.
    pub data: C::Data,
}

/// Why a task is not trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure<F> {
    /// Its coordinator has cancelled it.
    Cancelled,
    /// The node is shutting down: the task is handed back.
    Closing,
    /// As many tasks wait for data or for a worker as may.
    QueueFull {
        /// So many.
        queued_max: usize,
    },
    /// The tasks that wait would name more objects than they may.
    TooManyNamed {
        /// So many, with its own.
        named: usize,
        /// So many may be.
        named_objects_max: usize,
    },
    /// Its base or its rows cannot be had.
    DataMissing(F),
    /// Its training has failed.
    Training(F),
}

/// What has become of a task, for people who watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// It is handed back, untrained.
    HandedBack,
    /// It is rejected.
    Rejected(RejectReason),
    /// Another connection had its result, and this one gets it.
    Reused,
    /// It has been in training since before this connection.
    Adopted,
    /// Its connection has ended, nobody has come back for it, and its time is over.
    GivenUp,
}

/// What the core is told.
#[derive(Clone, Debug)]
pub enum Event<C: Content> {
    /// A coordinator is linked.
    LinkUp {
        /// The connection.
        link: LinkKey,
        /// The largest update that it takes inside an answer.
        inline_bytes_max: u64,
    },
    /// A connection has ended.
    LinkDown {
        /// The connection.
        link: LinkKey,
    },
    /// A task is asked for.
    TrainRequested(Train<C>),
    /// A coordinator asks how far an attempt is.
    PollRequested {
        /// The connection.
        link: LinkKey,
        /// The request.
        request: u32,
        /// The attempt.
        attempt: Attempt,
    },
    /// A coordinator asks which results of a job there are.
    ResultsRequested {
        /// The connection.
        link: LinkKey,
        /// The request.
        request: u32,
        /// The job.
        job: JobId,
    },
    /// A coordinator no longer wants a task.
    CancelRequested {
        /// The connection.
        link: LinkKey,
        /// The request that asked for the task.
        request: u32,
    },
    /// An object has come over a connection.
    ObjectHere {
        /// The connection.
        link: LinkKey,
        /// The object.
        digest: Digest,
        /// Its bytes.
        data: C::Data,
    },
    /// An object cannot be had over a connection.
    ObjectMissing {
        /// The connection.
        link: LinkKey,
        /// The object.
        digest: Digest,
        /// Why.
        failure: C::Failure,
    },
    /// A coordinator has been given a piece of an object that ends there.
    PieceFetched {
        /// The connection.
        link: LinkKey,
        /// The object.
        digest: Digest,
        /// Bytes up to the piece's end.
        end_bytes: u64,
    },
    /// A worker has done with a task, well or not.
    Ended {
        /// The task.
        task: TaskKey,
        /// What came of it.
        result: Result<TrainedUpdate<C>, C::Failure>,
        /// The worker's speed in it, where it was measured.
        rows_per_second: Option<f64>,
    },
    /// Time has passed: [`Core::next_deadline`](super::Core::next_deadline) is here.
    Tick,
    /// The node is to end: it takes no task from now on, and hands back those that no worker has begun.
    DrainRequested,
    /// Whatever is still to be done, every coordinator is told goodbye now.
    CloseRequested,
    /// Everything is given up.
    StopRequested,
}

/// What the core orders.
#[derive(Clone, Debug, PartialEq)]
pub enum Action<C: Content> {
    /// Train a task on a free worker, after this wait, then [`Event::Ended`].
    Start {
        /// The task.
        task: TaskKey,
        /// What is to be trained.
        work: C::Work,
        /// The weights to start from.
        base: C::Data,
        /// The rows to train on.
        shards: Vec<C::Data>,
        /// Injected load.
        delay: Duration,
    },
    /// Stop a training soon; [`Event::Ended`] follows all the same.
    Stop {
        /// What is being trained.
        work: C::Work,
    },
    /// Ask the coordinator for an object, then [`Event::ObjectHere`] or [`Event::ObjectMissing`]. One that is on its way
    /// already is not asked for twice.
    Fetch {
        /// The connection.
        link: LinkKey,
        /// The object.
        digest: Digest,
    },
    /// Answer with a result.
    AnswerTrained {
        /// Who asked.
        to: Recipient,
        /// The result.
        trained: TrainedUpdate<C>,
        /// Whether the update travels inside the answer.
        inline: bool,
    },
    /// Answer that the task is rejected.
    AnswerRejected {
        /// Who asked.
        to: Recipient,
        /// Why.
        reason: RejectReason,
        /// The load.
        counts: Counts,
        /// For so long the next one would be rejected, too; 0: nobody knows.
        retry_ms: u32,
    },
    /// Answer that the task is not trained.
    AnswerFailed {
        /// Who asked.
        to: Recipient,
        /// Why.
        failure: Failure<C::Failure>,
    },
    /// Answer how far an attempt is.
    AnswerPolled {
        /// The connection.
        link: LinkKey,
        /// The request.
        request: u32,
        /// The attempt.
        attempt: Attempt,
        /// None: it is not known, or has been answered.
        state: Option<(TaskState, C::Work)>,
    },
    /// Answer which results of a job there are.
    AnswerResults {
        /// The connection.
        link: LinkKey,
        /// The request.
        request: u32,
        /// Those that this connection has not had.
        results: Vec<CachedResult>,
    },
    /// Keep an update where it can be fetched, until as many [`Action::UnpinUpdate`]s.
    PinUpdate {
        /// The update.
        digest: Digest,
        /// Its bytes.
        data: C::Data,
    },
    /// Take such a pin back.
    UnpinUpdate {
        /// The update.
        digest: Digest,
    },
    /// An object is of no more use, unless it is pinned.
    DropObject {
        /// The object.
        digest: Digest,
    },
    /// A result is of no more use: its memory may be.
    ReuseMemory {
        /// Its update's bytes.
        data: C::Data,
    },
    /// Say goodbye to a coordinator and close, once what is on its way has left.
    Close {
        /// The connection.
        link: LinkKey,
    },
    /// Tell people who watch.
    Tell {
        /// The attempt.
        attempt: Attempt,
        /// What has become of it.
        note: Note,
    },
}

/// The node's load at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    /// Tasks that workers have.
    pub running: u32,
    /// Tasks that wait for data or for a worker.
    pub waiting: u32,
    /// Tasks that workers have done with.
    pub done: u64,
    /// Of one worker, as measured last; 0 before.
    pub rows_per_second: f64,
}

/// What is still to be done before a node can end without loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outstanding {
    /// Tasks that somebody is to be answered of.
    pub tasks: usize,
    /// Updates that have been announced and not been fetched.
    pub updates: usize,
}

impl Outstanding {
    /// Whether nothing is left to do.
    pub fn is_nothing(self) -> bool {
        self == Outstanding::default()
    }
}

impl fmt::Display for Outstanding {
    /// `1 task and 2 updates to be fetched`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let some = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
        match (self.tasks, self.updates) {
            (tasks, 0) => f.write_str(&some(tasks, "task")),
            (0, updates) => write!(f, "{} to be fetched", some(updates, "update")),
            (tasks, updates) => write!(f, "{} and {} to be fetched", some(tasks, "task"), some(updates, "update")),
        }
    }
}
