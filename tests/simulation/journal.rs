//! The simulated disk: what is written of each job, and how much of it outlives a crash. Owns what must be true of a round that is
//! written, by itself and after those before it.

use std::collections::{BTreeMap, BTreeSet};

use gradwire::digest::Digest;
use gradwire::engine::{Action, Admission, Event, JobEvent};
use gradwire::job::{FailReason, JobId, Outcome, Progress, RoundRecord};
use rand::RngExt as _;
use rand::rngs::ChaCha8Rng;

use crate::model;
use crate::scenario::{Scenario, rows};

enum Entry {
    Round(Box<RoundRecord>),
    Paused,
    Resumed,
    /// The end, and its place among the others.
    Ended(Outcome, usize),
}

struct Pages {
    /// Its place among those that were submitted.
    place: usize,
    /// Before its data is here nothing is written of a job.
    has_data: bool,
    entries: Vec<Entry>,
    /// So many of them are durable for certain: whoever watches was told, or an earlier crash left them.
    durable: usize,
}

/// What a crash has left of a job.
pub enum Left {
    Open {
        progress: Option<Box<Progress>>,
        is_paused: bool,
    },
    Ended(Outcome),
    /// It is not known any more.
    Nothing,
}

#[derive(Default)]
pub struct Journal {
    jobs: BTreeMap<JobId, Pages>,
    places: usize,
}

impl Journal {
    /// How far a job is by what is written.
    pub fn progress(&self, job: JobId) -> Option<&Progress> {
        self.rounds_of(job).next_back().map(|record| &record.progress)
    }

    pub fn rounds(&self, job: JobId) -> u64 {
        self.progress(job).map_or(0, |progress| progress.rounds_done().into())
    }

    /// Every update that is merged.
    pub fn updates(&self, job: JobId) -> impl Iterator<Item = Digest> {
        self.rounds_of(job).flat_map(|record| record.tasks.iter().flatten().map(|task| task.update))
    }

    /// The weights that a job starts from, or goes on from.
    pub fn base(&self, job: JobId) -> Digest {
        self.progress(job).map_or_else(|| model::prepare(job), |progress| progress.base)
    }

    /// Everything that is written of a job so far is durable, and whoever watches is told.
    pub fn sync(&mut self, job: JobId) {
        self.jobs.get_mut(&job).into_iter().for_each(|pages| pages.durable = pages.entries.len());
    }

    /// The engine is about to be told.
    pub fn before(&mut self, event: &Event) {
        let (Event::DataReady { job } | Event::ResumeRequested { job }) = event else { return };
        let Some(pages) = self.jobs.get_mut(job) else { return };
        match event {
            Event::DataReady { .. } => pages.has_data = true,
            _ if matches!(pages.entries.last(), Some(Entry::Paused)) => pages.entries.push(Entry::Resumed),
            _ => {}
        }
    }

    /// The engine ordered something.
    pub fn action(&mut self, action: &Action, scenario: &Scenario) {
        self.places += 1;
        let (job, entry) = match action {
            Action::Admit { job, admission: Admission::Admitted { .. } } => {
                let pages = Pages { place: self.places, has_data: false, entries: Vec::new(), durable: 0 };
                return drop(self.jobs.insert(*job, pages));
            }
            Action::Forget { job }
            | Action::Report { job, event: JobEvent::Finished(Outcome::Failed(FailReason::DataMissing { .. })) } => {
                return drop(self.jobs.remove(job));
            }
            Action::Persist { job, record } => {
                self.assert_follows(*job, record, scenario);
                (job, Entry::Round(record.clone()))
            }
            Action::Report { job, event: JobEvent::Paused(_) } => (job, Entry::Paused),
            Action::Report { job, event: JobEvent::Finished(outcome) } => {
                (job, Entry::Ended(outcome.clone(), self.places))
            }
            _ => return,
        };
        self.jobs.get_mut(job).expect("a job that was admitted").entries.push(entry);
    }

    /// The coordinator is gone: what is durable is drawn, and that is what it finds. Jobs that have not ended come in the order
    /// in which they were submitted, then the others in the order in which they ended.
    pub fn crash(&mut self, rng: &mut ChaCha8Rng) -> Vec<(JobId, Left)> {
        let mut left = Vec::new();
        for (&job, pages) in &mut self.jobs {
            if rng.random_bool(0.5) {
                pages.entries.truncate(rng.random_range(pages.durable..=pages.entries.len()));
            }
            pages.durable = pages.entries.len();
            left.push(match pages.entries.last() {
                Some(Entry::Ended(outcome, place)) if pages.has_data => {
                    ((1, *place), (job, Left::Ended(recorded(outcome))))
                }
                Some(Entry::Ended(..)) => continue,
                _ if !pages.has_data => ((2, pages.place), (job, Left::Nothing)),
                last => {
                    let is_paused = matches!(last, Some(Entry::Paused));
                    let progress = pages.rounds().next_back().map(|record| Box::new(record.progress.clone()));
                    ((0, pages.place), (job, Left::Open { progress, is_paused }))
                }
            });
        }
        self.jobs.retain(|_, pages| pages.has_data);
        left.sort_by_key(|(place, _)| *place);
        left.into_iter().map(|(_, left)| left).collect()
    }

    /// A round that is to be written follows from the one before and from the updates that are merged, and from nothing else.
    fn assert_follows(&self, job: JobId, record: &RoundRecord, scenario: &Scenario) {
        let RoundRecord { base, tasks, progress } = record;
        let (plan, last) = (scenario.job(job), &progress.last);
        assert_eq!(last.step(), self.rounds(job), "a round is written twice, or left out");
        assert_eq!((last.rounds, tasks.len()), (plan.rounds, plan.shards as usize));
        assert_eq!(*base, self.base(job), "a round starts from other weights than the one before led to");
        let merged: BTreeMap<_, _> =
            (0..).zip(tasks).filter_map(|(shard, task)| Some((shard, task.as_ref()?))).collect();
        let updates = merged.iter().map(|(&shard, task)| (shard, task.update)).collect();
        assert_eq!(progress.base, model::merge(*base, &updates), "the weights are not those of the merged tasks");
        let loss: f64 = merged.values().map(|task| model::loss(task.update)).sum();
        let rows: u32 = merged.keys().map(|&shard| rows(shard)).sum();
        assert_eq!((last.loss, last.merged), (loss / f64::from(rows), merged.len() as u32));
        let nodes: BTreeSet<_> = merged.values().map(|task| &task.node).collect();
        assert_eq!((last.nodes, last.merged + last.skipped), (nodes.len() as u32, plan.shards));
        // What is told of all rounds together is what is written of each.
        let mut counts = (u64::from(last.merged), u64::from(last.skipped));
        let mut shares: BTreeMap<&str, u64> = BTreeMap::new();
        let before = self.rounds_of(job).inspect(|record| {
            counts.0 += u64::from(record.progress.last.merged);
            counts.1 += u64::from(record.progress.last.skipped);
        });
        for task in before.flat_map(|record| &record.tasks).chain(tasks).flatten() {
            *shares.entry(&task.node).or_default() += 1;
        }
        assert_eq!((progress.merged, progress.skipped), counts);
        let told = progress.nodes.iter().map(|share| (share.node.as_str(), share.tasks));
        assert_eq!(told.collect::<BTreeMap<_, _>>(), shares, "the nodes' shares are wrong");
    }

    fn rounds_of(&self, job: JobId) -> impl DoubleEndedIterator<Item = &RoundRecord> {
        self.jobs.get(&job).into_iter().flat_map(Pages::rounds)
    }
}

impl Pages {
    fn rounds(&self) -> impl DoubleEndedIterator<Item = &RoundRecord> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Round(record) => Some(&**record),
            _ => None,
        })
    }
}

/// Of a failure only the words are written.
fn recorded(outcome: &Outcome) -> Outcome {
    match outcome {
        Outcome::Failed(reason) => Outcome::Failed(FailReason::Recorded(reason.into())),
        outcome => outcome.clone(),
    }
}
