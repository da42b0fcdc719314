//! How jobs stand, as the coordinator tells it: the questions about that, and their answers. Does not know why it is asked, or
//! how anything is shown.

use super::connection_error::ConnectionError;
use super::conversation::{Answer, Conversation};
use crate::job::{JobId, JobState, JobStatus, KEPT_JOBS_MAX};
use crate::wire::message::{Jobs, Ledger};

/// Jobs in one list, at most: those that have ended, and room for those that have not. A lying coordinator could send JOB
/// until this machine has no memory left.
const JOBS_MAX: usize = KEPT_JOBS_MAX as usize + 10_000;

/// How all jobs stand, or one.
pub(super) fn jobs(conversation: &Conversation, job: Option<JobId>) -> Result<Vec<JobStatus>, ConnectionError> {
    conversation.ask(&Jobs { job }.into())?;
    listed(conversation)
}

/// The jobs that come until LISTED.
pub(super) fn listed(conversation: &Conversation) -> Result<Vec<JobStatus>, ConnectionError> {
    let mut jobs = Vec::new();
    loop {
        match conversation.next_at_once()? {
            Answer::Job(job) if jobs.len() < JOBS_MAX => jobs.push(*job),
            Answer::Listed(listed) if listed.jobs as usize == jobs.len() => return Ok(jobs),
            _ => return Err(ConnectionError::unfitting("a question about jobs")),
        }
    }
}

/// Jobs that are under way, or wait for their turn: each of them makes room when it ends.
pub(super) fn under_way(conversation: &Conversation) -> Result<usize, ConnectionError> {
    let goes_on = |job: &&JobStatus| !job.state.has_ended() && job.state != JobState::Paused;
    jobs(conversation, None).map(|jobs| jobs.iter().filter(goes_on).count())
}

/// Steps of a job that are written down.
pub(super) fn steps_done(conversation: &Conversation, job: JobId) -> Result<u64, ConnectionError> {
    // Behind the last entry there is none, and how many there are is told all the same.
    match conversation.answer_to(&Ledger { job, first: u64::MAX }.into())? {
        Answer::Entries(entries) if entries.entries.is_empty() => Ok(entries.total / u64::from(entries.shards.max(1))),
        _ => Err(ConnectionError::unfitting("LEDGER")),
    }
}
