//! The parts of a job's time add up to the time that has passed, over every restart: each moment is told once. Owns what can be
//! seen from outside of where it went: the sum of merging and validating, and how much the others may be at most.

use std::collections::BTreeMap;

use gradwire::engine::{Action, Event, JobEvent, LinkKey, Notice};
use gradwire::job::{JobId, Outcome, Profile, Progress};

use super::View;
use super::tasks::{Tasks, step_under_way};

/// A running job's time.
pub struct Stopwatch {
    job: JobId,
    started_us: u64,
    /// Where the time went as far as that was seen: what is merging may be waiting for validations, and of training and of
    /// waiting for nodes or stragglers no more counts.
    seen: Profile,
    /// When the last thing happened that ends a part.
    since_us: u64,
    /// Since the round began: what nodes say that they trained, when the first had done so, who was last.
    began_us: u64,
    trained_us: BTreeMap<LinkKey, u64>,
    first_us: Option<u64>,
    last: Option<LinkKey>,
    /// Whether the step under way is being merged.
    is_merging: bool,
    deserted_since_us: Option<u64>,
    /// The step under way, when it began, and how long those of its round before it took.
    step: u64,
    step_began_us: u64,
    round_us: u64,
    of_round: u64,
    /// What must be told of each step.
    steps: BTreeMap<u64, Seen>,
}

/// All time up to a moment, where it went, and that of a round's steps.
struct Seen(u64, Profile, u64);

/// Whose time an action says something of.
pub fn job_of(action: &Action) -> Option<JobId> {
    match action {
        Action::FinishStep { job, .. }
        | Action::KeepWeights { job }
        | Action::Persist { job, .. }
        | Action::Report { job, .. } => Some(*job),
        Action::Accumulate { attempt, .. } => Some(attempt.task.job),
        _ => None,
    }
}

impl Stopwatch {
    /// A job begins, or goes on.
    pub fn start(view: View, job: JobId) -> Stopwatch {
        let View { now_us, journal, .. } = view;
        let progress = journal.progress(job);
        let seen = progress.map_or(Profile::default(), |progress| progress.profile);
        Stopwatch {
            job,
            started_us: now_us - seen.total_us(),
            seen,
            since_us: now_us,
            began_us: 0,
            trained_us: BTreeMap::new(),
            first_us: None,
            last: None,
            is_merging: false,
            deserted_since_us: None,
            step: journal.steps(job),
            step_began_us: 0,
            round_us: progress.map_or(0, |progress| progress.so_far.us),
            of_round: view.scenario.job(job).steps.of_round(),
            steps: BTreeMap::new(),
        }
    }

    pub fn before(&mut self, now_us: u64, event: &Event) {
        match *event {
            Event::Prepared { job, .. } if self.is_of(job) => {
                self.seen.prepare_us += now_us - self.since_us;
                (self.since_us, self.began_us, self.step_began_us) = (now_us, now_us, now_us);
            }
            Event::Trained { link, attempt, result } if self.is_of(attempt.task.job) => {
                *self.trained_us.entry(link).or_default() += result.train_us.min(now_us - self.began_us);
                self.first_us.get_or_insert(now_us);
            }
            Event::Merged { job, step, .. } if self.is_of(job) => {
                self.step = step;
                self.step_ends(now_us);
            }
            Event::UpdatesLost { job, .. } if self.is_of(job) => self.merged(now_us),
            _ => {}
        }
    }

    pub fn action(&mut self, view: View, action: &Action, tasks: &Tasks) {
        let now_us = view.now_us;
        match action {
            Action::FinishStep { .. } => self.is_merging = true,
            Action::Accumulate { link, .. } => (self.since_us, self.last) = (now_us, Some(*link)),
            Action::Report { event: JobEvent::Notice(Notice::TaskSkipped { .. }), .. } => self.since_us = now_us,
            // Weights are kept where a step ends: that of a step of which nothing is left as it is.
            Action::KeepWeights { job } if tasks.is_left_out(view, *job, self.step) => self.step_ends(now_us),
            Action::Persist { record, .. } => {
                let Progress { steps, so_far, last, profile, .. } = &record.progress;
                let seen = &self.steps[&(steps - 1)];
                seen.assert_told(profile);
                let round_us = last.filter(|_| record.ends_round).map_or(so_far.us, |last| last.round_us);
                assert_eq!(round_us, seen.2, "a round's time is not its steps'");
            }
            Action::Report { event: JobEvent::Finished(Outcome::Done(summary)), .. } => {
                if !self.is_merging {
                    // What has begun behind the last round counts for nothing.
                    (self.since_us, self.last, self.first_us) = (self.began_us, None, None);
                }
                self.merged(now_us);
                let seen = self.seen(now_us);
                seen.assert_told(&summary.profile);
                assert_eq!(summary.elapsed_us, seen.0, "a job's time is not what has passed");
            }
            _ => {}
        }
    }

    /// A step of which nothing is left ends, and leads nowhere.
    pub fn after(&mut self, view: View, tasks: &Tasks) {
        let job = self.job;
        while step_under_way(view, job).is_some_and(|step| step > self.step) {
            assert!(tasks.is_left_out(view, job, self.step), "a step ends before it is done");
            self.step_ends(view.now_us);
        }
    }

    /// Notes whether somebody is there who could work.
    pub fn look(&mut self, now_us: u64, is_deserted: bool) {
        let since_us = self.deserted_since_us.take();
        self.seen.no_nodes_us += since_us.map_or(0, |since_us| now_us - since_us);
        self.deserted_since_us = is_deserted.then_some(now_us);
    }

    /// A step ends; the next one begins at once.
    fn step_ends(&mut self, now_us: u64) {
        self.merged(now_us);
        if self.step.is_multiple_of(self.of_round) {
            self.round_us = 0;
        }
        self.round_us += now_us - self.step_began_us;
        let seen = self.seen(now_us);
        self.steps.insert(self.step, seen);
        (self.step, self.step_began_us) = (self.step + 1, now_us);
    }

    fn is_of(&self, job: JobId) -> bool {
        self.job == job
    }

    fn merged(&mut self, now_us: u64) {
        self.is_merging = false;
        let trained_us = std::mem::take(&mut self.trained_us);
        self.seen.compute_us += self.last.take().and_then(|last| trained_us.get(&last).copied()).unwrap_or(0);
        self.seen.stragglers_us += self.first_us.take().map_or(0, |first_us| self.since_us.saturating_sub(first_us));
        self.seen.merge_us += now_us - self.since_us;
        (self.since_us, self.began_us) = (now_us, now_us);
    }

    fn seen(&mut self, now_us: u64) -> Seen {
        self.look(now_us, self.deserted_since_us.is_some());
        Seen(now_us - self.started_us, self.seen, self.round_us)
    }
}

impl Seen {
    fn assert_told(&self, told: &Profile) {
        let Seen(total_us, seen, _) = self;
        assert_eq!(told.total_us(), *total_us, "the parts of a job's time do not add up");
        assert_eq!(told.prepare_us, seen.prepare_us);
        assert_eq!(told.merge_us + told.validate_us, seen.merge_us + seen.validate_us);
        assert!(told.no_nodes_us <= seen.no_nodes_us, "somebody was there who could work");
        assert!(told.compute_us <= seen.compute_us, "the node whose result was last has not trained so long");
        assert!(told.stragglers_us <= seen.stragglers_us, "nobody had trained who could wait for others");
    }
}
