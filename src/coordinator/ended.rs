//! Jobs that have ended, as far as who asks later is told: the final answer, how the job stands, and until that is durable
//! who waits for it. Does not know why a job ended or how long it is kept.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::jobs::Watcher;
use crate::engine::{FailReason, NodeShare, Outcome, Summary};
use crate::job::JobId;
use crate::wire::message::{Job, Round};
use crate::wire::{ErrorCode, Message};

/// A job that has ended.
pub(super) struct Ended {
    pub(super) answer: Arc<Message<'static>>,
    pub(super) standing: Job,
    /// Who is told once its end is durable; nobody waits after that.
    pub(super) waiting: Option<Waiting>,
}

/// What is not told yet.
pub(super) struct Waiting {
    pub(super) watchers: Vec<Watcher>,
    /// Rounds that are durable, for who has not seen them.
    pub(super) rounds: Vec<Round>,
    /// Rounds that are not.
    pub(super) untold: VecDeque<Round>,
}

/// All jobs that have ended and are still known.
#[derive(Default)]
pub(super) struct AllEnded(HashMap<JobId, Ended>);

impl AllEnded {
    pub(super) fn get(&self, job: JobId) -> Option<&Ended> {
        self.0.get(&job)
    }

    pub(super) fn get_mut(&mut self, job: JobId) -> Option<&mut Ended> {
        self.0.get_mut(&job)
    }

    pub(super) fn insert(&mut self, job: JobId, ended: Ended) {
        self.0.insert(job, ended);
    }

    pub(super) fn forget(&mut self, job: JobId) {
        self.0.remove(&job);
    }

    /// Jobs that ended before this moment, of those that nobody waits for.
    pub(super) fn before(&self, moment_ms: u64) -> Vec<JobId> {
        self.told().filter(|(ended_ms, _)| *ended_ms < moment_ms).map(|(_, job)| job).collect()
    }

    /// All jobs that nobody waits for but the latest so many.
    pub(super) fn beyond(&self, count: usize) -> Vec<JobId> {
        let mut told: Vec<_> = self.told().collect();
        told.sort_unstable();
        told.truncate(told.len().saturating_sub(count));
        told.into_iter().map(|(_, job)| job).collect()
    }

    fn told(&self) -> impl Iterator<Item = (u64, JobId)> {
        self.0.iter().filter(|(_, ended)| ended.waiting.is_none()).map(|(&job, ended)| (ended.standing.ended_ms, job))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (JobId, &Ended)> {
        self.0.iter().map(|(&job, ended)| (job, ended))
    }

    /// Everyone who waits for an end.
    pub(super) fn watchers(&mut self) -> impl Iterator<Item = (JobId, &mut Vec<Watcher>)> {
        self.0.iter_mut().filter_map(|(&job, ended)| Some((job, &mut ended.waiting.as_mut()?.watchers)))
    }
}

/// How a job ended, by the final answer that was written down.
pub(super) fn outcome(answer: &Message<'_>, rounds: u32) -> Option<Outcome> {
    match answer {
        Message::Done(done) => Some(Outcome::Done(Summary {
            base: done.weights,
            rounds,
            errors: done.errors,
            rows: done.rows,
            loss: done.loss,
            // Not in the answer, and of no use any more.
            validation_loss: 0.0,
            merged: done.merged,
            skipped: done.skipped,
            reproducible: done.reproducible,
            duplicates: 0,
            nodes: done.nodes.iter().map(|node| NodeShare { name: node.node.clone(), merged: node.tasks }).collect(),
            elapsed_us: done.elapsed_us,
            revivals: done.revivals,
            profile: done.profile,
            validating_us: done.validating_us,
        })),
        Message::Error(error) if error.code == ErrorCode::Cancelled => Some(Outcome::Cancelled),
        Message::Error(error) => Some(Outcome::Failed(FailReason::Recorded { reason: error.text.clone() })),
        _ => None,
    }
}
