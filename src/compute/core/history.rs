//! The jobs that a node has worked for: what it has done for each. Owns that list; nothing is decided by it.

use crate::job::JobId;

/// Jobs that are remembered after their last task.
pub(super) const JOBS_MAX: usize = 64;

/// A job and how many of its tasks were trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobDone {
    /// The job.
    pub job: JobId,
    /// Tasks trained.
    pub done: u64,
}

/// The latest first.
#[derive(Default)]
pub(super) struct History(Vec<JobDone>);

impl History {
    /// A task of a job is taken.
    pub(super) fn taken(&mut self, job: JobId) {
        let entry = match self.0.iter().position(|other| other.job == job) {
            Some(0) => return,
            Some(place) => self.0.remove(place),
            None => JobDone { job, done: 0 },
        };
        self.0.insert(0, entry);
        self.0.truncate(JOBS_MAX);
    }

    /// A task of a job was trained.
    pub(super) fn trained(&mut self, job: JobId) {
        if let Some(entry) = self.0.iter_mut().find(|other| other.job == job) {
            entry.done += 1;
        }
    }

    pub(super) fn jobs(&self) -> &[JobDone] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_job_comes_first_and_old_ones_are_forgotten() {
        let mut history = History::default();
        (0..2 * JOBS_MAX as u128).for_each(|job| history.taken(JobId(job)));
        assert_eq!(history.jobs().len(), JOBS_MAX);
        history.trained(JobId(100));
        history.taken(JobId(100));
        assert_eq!(history.jobs()[0], JobDone { job: JobId(100), done: 1 });
        history.trained(JobId(0));
        assert!(history.jobs().iter().all(|job| job.job != JobId(0)));
    }
}
