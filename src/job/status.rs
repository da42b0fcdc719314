//! How a job stands, as whoever asks is told and the journal keeps it.

use super::{Failure, JobId};
use crate::digest::Digest;

/// Finished jobs that a coordinator keeps, at most: a client lists them all, in some 20 MB.
pub const KEPT_JOBS_MAX: u32 = 100_000;

/// Where a job is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum JobState {
    /// Its data is on its way.
    Collecting = 1,
    /// It waits for jobs before it.
    Queued = 2,
    /// It runs.
    Running = 3,
    /// It is done.
    Done = 4,
    /// It was given up.
    Failed = 5,
    /// It was cancelled.
    Cancelled = 6,
    /// No node was left; it waits to be resumed.
    Paused = 7,
}

impl JobState {
    /// Every state.
    pub const ALL: [JobState; 7] = [
        JobState::Collecting,
        JobState::Queued,
        JobState::Running,
        JobState::Done,
        JobState::Failed,
        JobState::Cancelled,
        JobState::Paused,
    ];

    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Collecting => "collecting",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Paused => "paused",
        }
    }

    /// Whether the job is over for good.
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }

    /// Whether there is a [`Failure`] to tell.
    pub fn has_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Cancelled | Self::Paused)
    }
}

/// How a job stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobStatus {
    /// The job.
    pub job: JobId,
    /// Where it is in its life.
    pub state: JobState,
    /// Why it failed, was cancelled or is paused; nothing elsewhere.
    pub failure: Option<Failure>,
    /// Rounds done.
    pub rounds_done: u32,
    /// Rounds of the job.
    pub rounds: u32,
    /// Jobs before it.
    pub queue_position: u32,
    /// When it was submitted, in milliseconds since 1970 in UTC.
    pub submitted_ms: u64,
    /// When it ended; 0 where it has not.
    pub ended_ms: u64,
    /// The fingerprint of its model where it is done; nothing elsewhere.
    pub fingerprint: Option<Digest>,
    /// The weights after the last step that is written down, where it failed, was cancelled or is paused after one.
    pub weights: Option<Digest>,
}

impl JobStatus {
    /// Whether failure, fingerprint and weights are there where they belong, and nowhere else.
    pub fn is_consistent(&self) -> bool {
        self.failure.is_some() == self.state.has_failure()
            && self.fingerprint.is_some() == (self.state == JobState::Done)
            && (self.weights.is_none() || self.state.has_failure())
    }

    /// Whether an order to resume it may let it go on.
    pub fn may_be_resumed(&self) -> bool {
        let was_given_up = self.failure.as_ref().is_some_and(|failure| failure.kind.keeps_the_job());
        self.state == JobState::Paused || self.state == JobState::Failed && was_given_up
    }

    /// Why it failed, was cancelled or is paused, in words; empty elsewhere.
    pub fn failure_text(&self) -> &str {
        self.failure.as_ref().map_or("", |failure| &failure.text)
    }
}
