//! How the engine decides: its limits and its policy.

use std::time::Duration;

use super::scheduler::Policy;
use crate::job::memory::CoordinatorMeans;

/// Jobs that run at the same time where nothing else is asked for.
pub const JOBS_AT_ONCE: usize = 4;

/// What the coordinator has for jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Bytes that jobs may take together.
    pub allowed_bytes: u64,
    /// What decides how much each takes.
    pub means: CoordinatorMeans,
}

/// How the engine decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How tasks are handed out.
    pub policy: Policy,
    /// Jobs that may run at the same time; at least one does.
    pub jobs_at_once: usize,
    /// The coordinator's memory: a job runs beside others only as long as it is enough for all of them. None: it is.
    pub memory: Option<Memory>,
    /// Jobs that may wait with their data at the same time. How many may wait for their data is for whoever submits them.
    pub queued_max: usize,
    /// Jobs that may be paused at the same time; one more fails.
    pub paused_max: usize,
    /// Failures of a task that are forgiven; attempts that ended with their link do not count.
    pub attempts_max: u32,
    /// Bad results of a node before it is quarantined.
    pub strikes_max: u32,
    /// How long each revival waits: by default long enough, in all, for a switch to start again.
    pub revival_waits: Vec<Duration>,
}

impl Settings {
    /// The settings for a policy.
    pub fn new(policy: Policy) -> Settings {
        Settings {
            policy,
            jobs_at_once: JOBS_AT_ONCE,
            memory: None,
            queued_max: 1_024,
            paused_max: 16,
            attempts_max: 12,
            strikes_max: 3,
            revival_waits: [5, 15, 45].map(Duration::from_secs).to_vec(),
        }
    }
}
