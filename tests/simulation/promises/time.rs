//! The parts of a job's time add up to the time that has passed, over every restart: each moment is told once. Owns what can be
//! seen from outside of where it went: the sum of merging and validating, and how much the others may be at most.

use std::collections::BTreeMap;

use gradwire::engine::{Action, Event, JobEvent, LinkKey, Notice};
use gradwire::job::{JobId, Outcome, Profile};

use super::View;

/// The running job's time.
#[derive(Default)]
pub struct Stopwatch {
    job: Option<JobId>,
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
    deserted_since_us: Option<u64>,
    /// What must be told of each step.
    rounds: BTreeMap<u64, Seen>,
}

/// All time up to a moment, and where it went.
struct Seen(u64, Profile);

impl Stopwatch {
    pub fn before(&mut self, now_us: u64, event: &Event) {
        match *event {
            Event::Prepared { job, .. } if self.is_of(job) => {
                self.seen.prepare_us += now_us - self.since_us;
                (self.since_us, self.began_us) = (now_us, now_us);
            }
            Event::Trained { link, attempt, result } if self.is_of(attempt.task.job) => {
                *self.trained_us.entry(link).or_default() += result.train_us.min(now_us - self.began_us);
                self.first_us.get_or_insert(now_us);
            }
            Event::Merged { job, step, .. } if self.is_of(job) => {
                self.merged(now_us);
                let seen = self.seen(now_us);
                self.rounds.insert(step, seen);
            }
            Event::UpdatesLost { job, .. } if self.is_of(job) => self.merged(now_us),
            _ => {}
        }
    }

    pub fn action(&mut self, View { now_us, journal, .. }: View, action: &Action) {
        match action {
            Action::Prepare { job } => {
                let seen = journal.progress(*job).map_or(Profile::default(), |progress| progress.profile);
                let started_us = now_us - seen.total_us();
                *self = Stopwatch { job: Some(*job), started_us, seen, since_us: now_us, ..Stopwatch::default() };
            }
            Action::Accumulate { link, .. } => (self.since_us, self.last) = (now_us, Some(*link)),
            Action::Report { event: JobEvent::Notice(Notice::TaskSkipped { .. }), .. } => self.since_us = now_us,
            Action::Persist { record, .. } => {
                self.rounds[&record.progress.last.step()].assert_told(&record.progress.profile);
            }
            Action::Report { event: JobEvent::Finished(Outcome::Done(summary)), .. } => {
                self.merged(now_us);
                let seen = self.seen(now_us);
                seen.assert_told(&summary.profile);
                assert_eq!(summary.elapsed_us, seen.0, "a job's time is not what has passed");
            }
            _ => {}
        }
    }

    /// Notes whether somebody is there who could work.
    pub fn look(&mut self, now_us: u64, is_deserted: bool) {
        let since_us = self.deserted_since_us.take();
        self.seen.no_nodes_us += since_us.map_or(0, |since_us| now_us - since_us);
        self.deserted_since_us = is_deserted.then_some(now_us);
    }

    fn is_of(&self, job: JobId) -> bool {
        self.job == Some(job)
    }

    fn merged(&mut self, now_us: u64) {
        let trained_us = std::mem::take(&mut self.trained_us);
        self.seen.compute_us += self.last.take().and_then(|last| trained_us.get(&last).copied()).unwrap_or(0);
        self.seen.stragglers_us += self.first_us.take().map_or(0, |first_us| self.since_us.saturating_sub(first_us));
        self.seen.merge_us += now_us - self.since_us;
        (self.since_us, self.began_us) = (now_us, now_us);
    }

    fn seen(&mut self, now_us: u64) -> Seen {
        self.look(now_us, self.deserted_since_us.is_some());
        Seen(now_us - self.started_us, self.seen)
    }
}

impl Seen {
    fn assert_told(&self, told: &Profile) {
        let Seen(total_us, seen) = self;
        assert_eq!(told.total_us(), *total_us, "the parts of a job's time do not add up");
        assert_eq!(told.prepare_us, seen.prepare_us);
        assert_eq!(told.merge_us + told.validate_us, seen.merge_us + seen.validate_us);
        assert!(told.no_nodes_us <= seen.no_nodes_us, "somebody was there who could work");
        assert!(told.compute_us <= seen.compute_us, "the node whose result was last has not trained so long");
        assert!(told.stragglers_us <= seen.stragglers_us, "nobody had trained who could wait for others");
    }
}
