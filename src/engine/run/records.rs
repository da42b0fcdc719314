//! What is written down of a job's steps: what each came to, when a record is due, and the order in which records, rounds and the end
//! are told. Owns the records that wait; does not know how a step is done (`run`, `attempts`).

use crate::digest::Digest;
use crate::engine::context::Context;
use crate::engine::events::{Action, StepSum};
use crate::engine::report::JobEvent;
use crate::engine::step_tasks::{StepTasks, TaskState};
use crate::engine::time::Time;
use crate::job::{
    Best, EntryResult, FailReason, LedgerEntry, MergedStep, MergedTask, Metrics, Outcome, Progress, Record, RoundSoFar,
    RoundSummary,
};

use super::{Run, Stage};

/// Steps are written down at least this often, however long a round is.
pub(super) const WRITTEN_EVERY_US: u64 = 2_000_000;

/// A record that is to be written down behind those before it, and once its weights are validated, if a round ends with it.
pub(super) struct Pending {
    pub(super) ordered: Time,
    /// Whether nothing is to be filled in any more.
    pub(super) is_done: bool,
    pub(super) record: Box<Record>,
}

/// What came of a step.
pub(super) struct StepDone {
    /// Tasks, or blocks, merged.
    pub(super) merged: u32,
    pub(super) rows: u64,
    /// Summed over them.
    pub(super) loss: f64,
    /// Tasks, or blocks, skipped.
    pub(super) skipped: Vec<u32>,
}

impl Run {
    /// Every step of a round is done: its weights are to be validated, and then it is written down.
    pub(super) fn end_round(&mut self, step: u64, base: Digest, cx: &mut Context<'_>) {
        let RoundSoFar { loss, rows, merged, skipped, nodes, us } = std::mem::take(&mut self.so_far);
        if rows == 0 {
            let reason =
                self.past.iter().flat_map(StepTasks::all).last().map_or_else(String::new, |task| task.reason.clone());
            return self.end(Outcome::Failed(FailReason::AllSkipped { step, reason }));
        }
        let round = self.plan.round_of(step);
        let last = RoundSummary {
            round: round + 1,
            rounds: self.specification.rounds,
            loss: loss / rows as f64,
            rows: 0,
            metrics: Metrics::default(),
            nodes: nodes.len() as u32,
            merged,
            skipped,
            round_us: us,
        };
        self.record(Progress { last: Some(last), ..self.progress_at(step, base) }, cx);
        self.to_validate = Some((round, base));
    }

    /// Orders what is to be written down of the steps since the last record. It has its turn behind those before it.
    pub(super) fn record(&mut self, progress: Progress, cx: &mut Context<'_>) {
        let entries = std::mem::take(&mut self.unwritten);
        let ends_round = self.plan.ends_round(progress.steps - 1);
        let record = Box::new(Record { entries, ends_round, progress });
        self.records.push_back(Pending { ordered: cx.now, is_done: !ends_round, record });
        self.written = cx.now;
        cx.actions.push(Action::KeepWeights { job: self.job });
    }

    /// Has written down what can be. Rounds are reported in order, and the last one ends the job.
    pub(super) fn write_records(&mut self, cx: &mut Context<'_>) {
        while self.records.front().is_some_and(|pending| pending.is_done) {
            let Some(Pending { mut record, .. }) = self.records.pop_front() else { return };
            record.progress.validating_us = self.tally.validating_us;
            let ended = record.progress.last.filter(|_| record.ends_round);
            if let (Some(last), Some(_)) = (ended, self.specification.patience) {
                self.best = Some(Best::or(self.best, last, record.progress.base));
            }
            record.progress.best = self.best;
            let progress = Box::new(record.progress.clone());
            cx.actions.push(Action::Persist { job: self.job, record });
            if let Some(last) = ended {
                cx.report(self.job, JobEvent::RoundDone(last));
                if progress.is_final(&self.specification) {
                    self.conclude(progress.clone(), cx);
                }
            }
            self.progress = Some(progress);
        }
    }

    /// The last round that is done, whether it is written down or not.
    pub(super) fn last_round(&self) -> Option<RoundSummary> {
        let ordered = self.records.back().map(|pending| &pending.record.progress);
        ordered.or(self.progress.as_deref()).and_then(|progress| progress.last)
    }

    /// A round's weights have been tried.
    pub(in crate::engine) fn validated(&mut self, round: u32, rows: u64, metrics: Metrics, cx: &mut Context<'_>) {
        let is_it = |pending: &&mut Pending| {
            let last = pending.record.progress.last.as_ref();
            !pending.is_done && last.is_some_and(|last| last.round == round + 1)
        };
        let Some(pending) = self.records.iter_mut().find(is_it) else { return };
        pending.is_done = true;
        let ordered = pending.ordered;
        // Records behind it tell of it, too.
        for pending in &mut self.records {
            if let Some(last) = pending.record.progress.last.as_mut().filter(|last| last.round == round + 1) {
                (last.rows, last.metrics) = (rows, metrics);
            }
        }
        self.tally.validating_us += cx.now.since_us(ordered);
        self.write_records(cx);
    }

    /// Steps that are done, by what was last to be written down.
    pub(super) fn steps_written(&self) -> u64 {
        self.progress.as_ref().map_or(0, |progress| progress.steps)
    }

    /// Before the job is given up or paused: has the steps written down that no record has, so that it may go on from the
    /// weights that they led to. What is merged of the step under way is done again then. False while records wait for
    /// their weights to be validated; until then the job is not given up.
    pub(super) fn has_written_steps(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.records.is_empty() {
            return false;
        }
        let Stage::Training { tasks, base, .. } = &self.stage else { return true };
        if self.unwritten.is_empty() {
            return true;
        }
        for (number, won) in tasks.merged_tasks() {
            self.tally.undo(won, tasks.task(number).units.len() as u32);
        }
        let (step, base) = (tasks.step() - 1, *base);
        let (last, so_far) = (self.last_round(), self.so_far.clone());
        self.record(Progress { last, so_far, ..self.progress_at(step, base) }, cx);
        self.write_records(cx);
        true
    }

    /// The job after a step that has just been merged, but for its rounds.
    pub(super) fn progress_at(&self, step: u64, base: Digest) -> Progress {
        Progress {
            steps: step + 1,
            last: None,
            best: self.best,
            so_far: RoundSoFar::default(),
            base,
            merged: self.tally.merged,
            skipped: self.tally.skipped,
            reproducible: self.tally.is_reproducible(),
            duplicates: self.tally.duplicates,
            nodes: self.tally.shares(),
            revivals: self.revival.total(),
            profile: self.profile,
            validating_us: self.tally.validating_us,
            training_us: self.tally.training_us,
        }
    }

    /// Takes a step into the round under way; what is merged and skipped of it, and its rows.
    pub(super) fn count_step(&mut self, tasks: &StepTasks, sum: Option<StepSum>, step_us: u64) -> StepDone {
        let mut merged = 0;
        let mut loss = 0.0;
        for (number, won) in tasks.merged_tasks() {
            merged += tasks.task(number).units.len() as u32;
            loss += won.result.loss;
            if let Err(place) = self.so_far.nodes.binary_search(&won.name) {
                self.so_far.nodes.insert(place, won.name.clone());
            }
        }
        let skipped = tasks.units_skipped();
        self.tally.is_determined &= self.is_step_determined;
        // Of merged gradients the sum is exact, however they were cut.
        let loss = sum.map_or(loss, |sum| sum.loss);
        let done = StepDone { merged, rows: tasks.rows_merged(), loss, skipped };
        self.so_far.loss += loss;
        self.so_far.rows += done.rows;
        self.so_far.merged += merged;
        self.so_far.skipped += done.skipped.len() as u32;
        self.so_far.us += step_us;
        self.tally.merged += u64::from(merged);
        self.tally.skipped += done.skipped.len() as u64;
        done
    }
}

/// The ledger's lines of a step: one for each shard, or one for all of its blocks.
pub(super) fn entries(tasks: &StepTasks, base: Digest, done: StepDone, sum: Option<StepSum>) -> Vec<LedgerEntry> {
    if tasks.units().are_blocks() {
        let StepDone { merged, rows, loss, skipped } = done;
        let (sum, outer) = sum.map_or([Digest([0; 32]); 2].into(), |sum| (sum.digest, sum.outer));
        let result = EntryResult::Step(MergedStep { blocks: merged, skipped, loss, sum, outer });
        // Rows of a step are at most a batch's.
        return vec![LedgerEntry { rows: rows as u32, base, result }];
    }
    let entry = |number: usize| {
        let task = tasks.task(number as u32);
        let result = match (&task.state, task.won()) {
            (TaskState::Merged(_), Some(won)) => EntryResult::Merged(MergedTask {
                node: won.name.clone(),
                attempt: won.attempt.number,
                loss: won.result.loss,
                update: won.result.update,
            }),
            _ => EntryResult::Skipped,
        };
        LedgerEntry { rows: tasks.rows(number as u32), base, result }
    };
    (0..tasks.all().len()).map(entry).collect()
}
