//! The vocabulary of jobs: what all three programs and the journal say of them. Owns what a job asks for, how it stands, what
//! came of its rounds and tasks, how it ended, and where its time went. Does not know how any of this travels (`wire`), is
//! written down (`coordinator::journal`) or comes about (`engine`).
//!
//! | module | owns |
//! |---|---|
//! | `id` | what jobs, tasks and attempts are called |
//! | `specification` | what a job asks for, and its limits |
//! | [`memory`] | how much memory a job takes |
//! | `status` | how a job stands |
//! | `task` | what a node makes of a task |
//! | `round` | what came of a round, and how far the job is after it |
//! | `outcome` | how a job ended, and why |
//! | `profile` | where its time went |

mod id;
mod ledger;
pub mod memory;
mod outcome;
mod profile;
mod round;
mod specification;
mod status;
mod task;

pub use crate::model::{BlockRange, GradientSteps, METRICS_MAX, Metric, Metrics, Quality};
pub use id::{Attempt, JobId, NotAJobId, TaskId};
pub use ledger::{EntryResult, LedgerEntry, MergedStep, MergedTask};
pub use outcome::{
    FailKind, FailReason, Failure, NodeTasks, ObjectRef, Outcome, Summary, Tested, TooSmall, fingerprint,
};
pub use profile::Profile;
pub use round::{Best, Progress, Record, RoundSoFar, RoundSummary};
pub use specification::{
    MEDIAN_BLOCKS_MAX, NOTES_BYTES_MAX, OnNoNodes, OnTaskFailure, Operation, ROUNDS_MAX, ROWS_MAX, RowsRef, SHARDS_MAX,
    STEPS_MAX, Specification, SpecificationError, TASKS_PER_STEP_MAX, check_notes,
};
pub use status::{JobState, JobStatus, KEPT_JOBS_MAX};
pub use task::{CachedResult, Place, RejectReason, TASK_LOSS_END, TaskResult, TaskRows, TaskState};
