//! The simulated disk: what is written of each job, and how much of it outlives a crash. Owns what must be true of steps that are
//! written, by themselves and after those before them.

use std::collections::BTreeMap;

use gradwire::digest::Digest;
use gradwire::engine::{Action, Admission, Event, JobEvent};
use gradwire::job::{EntryResult, FailReason, JobId, LedgerEntry, MergedStep, Outcome, Progress, Record, RoundSoFar};
use rand::RngExt as _;
use rand::rngs::ChaCha8Rng;

use crate::model::{self, Sum};
use crate::scenario::{JobPlan, Scenario};

enum Entry {
    Steps(Box<Record>),
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
        self.records(job).next_back().map(|record| &record.progress)
    }

    pub fn rounds(&self, job: JobId) -> u64 {
        self.progress(job).map_or(0, |progress| progress.rounds_done().into())
    }

    /// The weights after each round that is written.
    pub fn weights_after_rounds(&self, job: JobId) -> impl Iterator<Item = Digest> {
        self.records(job).filter(|record| record.ends_round).map(|record| record.progress.base)
    }

    /// Steps that are written.
    pub fn steps(&self, job: JobId) -> u64 {
        self.progress(job).map_or(0, |progress| progress.steps)
    }

    /// Every update that is merged, and every sum of gradients.
    pub fn updates(&self, job: JobId) -> impl Iterator<Item = Digest> {
        let update = |entry: &LedgerEntry| match &entry.result {
            EntryResult::Merged(task) => Some(task.update),
            EntryResult::Step(step) => Some(step.sum),
            EntryResult::Skipped => None,
        };
        self.records(job).flat_map(move |record| record.entries.iter().filter_map(update))
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
        let (Event::DataReady { job } | Event::ResumeRequested { job } | Event::Reopened { job, .. }) = event else {
            return;
        };
        let Some(pages) = self.jobs.get_mut(job) else { return };
        match event {
            Event::DataReady { .. } => pages.has_data = true,
            Event::Reopened { .. } => pages.entries.push(Entry::Resumed),
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
                (job, Entry::Steps(record.clone()))
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
                    let progress = pages.records().next_back().map(|record| Box::new(record.progress.clone()));
                    ((0, pages.place), (job, Left::Open { progress, is_paused }))
                }
            });
        }
        self.jobs.retain(|_, pages| pages.has_data);
        left.sort_by_key(|(place, _)| *place);
        left.into_iter().map(|(_, left)| left).collect()
    }

    /// Steps that are to be written follow from those before them and from what is merged of them, and from nothing else.
    fn assert_follows(&self, job: JobId, record: &Record, scenario: &Scenario) {
        let Record { entries, ends_round, progress } = record;
        let (plan, first) = (scenario.job(job), self.steps(job));
        assert_eq!(
            model::result(plan, self.weights_after_rounds(job)),
            None,
            "a step is written behind the last round"
        );
        let (of_round, lines) = (plan.steps.of_round(), entries.len() as u64);
        let of_step = if plan.steps.merge_gradients() { 1 } else { plan.steps.shard_rows.len() as u64 };
        assert_eq!(lines, (progress.steps - first) * of_step, "a step is written twice, or left out");
        assert!(lines > 0 && first / of_round == (progress.steps - 1) / of_round, "a record is of more than a round");
        assert_eq!(*ends_round, progress.steps.is_multiple_of(of_round));
        let mut base = self.base(job);
        let mut round = self.progress(job).map_or_else(RoundSoFar::default, |before| before.so_far.clone());
        for (step, entries) in (first..progress.steps).zip(entries.chunks(of_step as usize)) {
            assert!(entries.iter().all(|entry| entry.base == base), "a step starts from other weights than it got");
            base = line_up(plan, step, entries, &mut round);
        }
        assert_eq!(progress.base, base, "the weights are not those of what is merged");
        self.assert_counted(job, record, plan, &round);
        // What is told of all steps together is what was told before and is written of these.
        let before = self.progress(job).map_or((0, 0, 0, 0), |before| {
            let RoundSoFar { merged, skipped, .. } = before.so_far;
            (before.merged, before.skipped, u64::from(merged), u64::from(skipped))
        });
        let counts = (before.0 + u64::from(round.merged) - before.2, before.1 + u64::from(round.skipped) - before.3);
        assert_eq!((progress.merged, progress.skipped), counts);
    }

    /// A round's numbers are the sums of its steps', whether it is at its end or not.
    fn assert_counted(&self, job: JobId, record: &Record, plan: &JobPlan, round: &RoundSoFar) {
        let Record { ends_round, progress, .. } = record;
        let before = self.progress(job);
        if *ends_round {
            let last = progress.last.expect("a round is done");
            assert_eq!((last.index(), last.rounds), (self.rounds(job), plan.rounds));
            assert_eq!((last.loss, last.merged), (round.loss / round.rows as f64, round.merged));
            assert_eq!(last.skipped, round.skipped);
            assert_eq!(progress.so_far, RoundSoFar::default(), "a round begins with what another has done");
        } else {
            assert_eq!(progress.last, before.and_then(|before| before.last), "the round before has changed");
            let RoundSoFar { loss, rows, merged, skipped, us, .. } = progress.so_far;
            assert_eq!((loss, rows), (round.loss, round.rows));
            assert_eq!((merged, skipped), (round.merged, round.skipped));
            assert!(us >= round.us, "time runs backwards");
        }
    }

    fn records(&self, job: JobId) -> impl DoubleEndedIterator<Item = &Record> {
        self.jobs.get(&job).into_iter().flat_map(Pages::records)
    }
}

impl Pages {
    fn records(&self) -> impl DoubleEndedIterator<Item = &Record> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Steps(record) => Some(&**record),
            _ => None,
        })
    }
}

/// A step's lines are right by themselves: to which weights they lead. What they say is added to what is done of the round.
fn line_up(plan: &JobPlan, step: u64, entries: &[LedgerEntry], round: &mut RoundSoFar) -> Digest {
    let base = entries[0].base;
    if let [LedgerEntry { rows, result: EntryResult::Step(line), .. }] = entries {
        let MergedStep { blocks, skipped, loss, sum, outer } = line;
        let all = plan.steps.units(step).len() as u32;
        let numbers = (0..all).filter(|number| !skipped.contains(number));
        assert!(skipped.is_sorted_by(|a, b| a < b) && skipped.iter().all(|number| *number < all));
        assert_eq!((*blocks, *rows), (all - skipped.len() as u32, plan.steps.rows(step, numbers)));
        add_to(round, *loss, *rows, (*blocks, skipped.len()));
        if *blocks == 0 {
            let nothing = Digest([0; 32]);
            assert_eq!((*loss, *sum, *outer), (0.0, nothing, nothing), "something comes of nothing");
            return base;
        }
        assert_eq!(*outer, model::remembered(base), "the state is not that at the base");
        // Only what honest nodes of the job's arithmetic have made can be told by itself.
        if Sum::from(*sum).is_all(plan.arithmetic) {
            assert_eq!(*sum, model::sum_of_step(plan, base, step, skipped), "the sum is not that of the blocks");
            assert_eq!(*loss, Sum::from(*sum).loss());
        }
        return model::follow(base, *sum);
    }
    let mut updates = BTreeMap::new();
    for (entry, unit) in entries.iter().zip(plan.steps.units(step)) {
        assert_eq!(entry.rows, unit.rows);
        match &entry.result {
            EntryResult::Merged(task) => {
                add_to(round, task.loss, entry.rows, (1, 0));
                assert_eq!(task.loss, model::loss(task.update));
                updates.insert(unit.shard, task.update);
            }
            EntryResult::Skipped => add_to(round, 0.0, 0, (0, 1)),
            EntryResult::Step(_) => panic!("a shard's line is a step's"),
        }
    }
    model::merge(base, &updates)
}

fn add_to(round: &mut RoundSoFar, loss: f64, rows: u32, (merged, skipped): (u32, usize)) {
    round.loss += loss;
    round.rows += u64::from(rows);
    round.merged += merged;
    round.skipped += skipped as u32;
}

/// Of a failure only the words are written.
fn recorded(outcome: &Outcome) -> Outcome {
    match outcome {
        Outcome::Failed(reason) => Outcome::Failed(FailReason::Recorded(reason.into())),
        outcome => outcome.clone(),
    }
}
