//! The running job. Owns it from its preparation to its end: the order of its stages, what becomes of each task, and its
//! tally; does not know other jobs (`jobs`).
//!
//! | file | owns |
//! |---|---|
//! | this one | the stages: prepared, trained round by round, merged, validated |
//! | `attempts` | a task's way to its node and its result's way into the sum |
//! | `returning` | results that nodes held while the coordinator was away |

mod attempts;
mod returning;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::digest::Digest;
use crate::engine::context::Context;
use crate::engine::events::Action;
use crate::engine::membership::{Lost, Needs};
use crate::engine::nodes::{LinkKey, NodeKey};
use crate::engine::pace::Pace;
use crate::engine::profile::{Need, Profiler};
use crate::engine::report::{JobEvent, JobProgress, Notice};
use crate::engine::revival::{Revival, Step};
use crate::engine::round::{Round, Task, Won};
use crate::engine::time::Time;
use crate::job::{
    self, FailReason, JobId, MergedTask, Metrics, NodeTasks, OnNoNodes, Outcome, Profile, Progress, RoundRecord,
    RoundSummary, Specification, Summary,
};
use returning::HeldByLink;
pub(in crate::engine) use returning::Returning;

/// Rounds that may be merged but not validated: each keeps a model in the caller's memory.
const UNVALIDATED_MAX: usize = 4;
/// A running job is looked at this often at least: what a node told of its load grows old.
const SWEEP_US: u64 = 1_000_000;

/// The running job.
pub(in crate::engine) struct Run {
    pub(in crate::engine) job: JobId,
    pub(in crate::engine) semantic: Digest,
    pub(in crate::engine) specification: Arc<Specification>,
    pub(in crate::engine) needs: Needs,
    pub(in crate::engine) stage: Stage,
    /// The round before: late copies of its results are compared, too.
    pub(in crate::engine) past: Option<Round>,
    pub(in crate::engine) pace: Pace,
    pub(in crate::engine) profiler: Profiler,
    pub(in crate::engine) revival: Revival,
    pub(in crate::engine) tally: Tally,
    /// Until nodes have told what they held while the coordinator was away.
    pub(in crate::engine) returning: Option<Returning>,
    /// What nodes hold of rounds that have not begun.
    pub(in crate::engine) told: Vec<HeldByLink>,
    /// How far the job is by what was last to be written down.
    pub(in crate::engine) progress: Option<Box<Progress>>,
    /// How the job ended. Nothing happens after that.
    ending: Option<Ending>,
    validations: VecDeque<Validation>,
    /// The step whose validation is yet to be ordered, and its weights.
    to_validate: Option<(u64, Digest)>,
    none_eligible_told: bool,
    deadline: Option<Time>,
}

/// Where the job stands.
pub(in crate::engine) enum Stage {
    /// The base weights of the first step are being made.
    Preparing,
    /// Tasks are out.
    Training { round: Round, base: Digest, began: Time },
    /// Every task is merged or skipped; the sum is being divided.
    Merging { round: Round, base: Digest, began: Time },
    /// Every round is merged; the last ones are being validated.
    Validating,
}

/// How a job leaves its turn.
pub(in crate::engine) enum Ending {
    /// For good.
    Over(Outcome),
    /// Until it is resumed.
    Paused(FailReason),
}

/// A merged round whose weights are being validated.
struct Validation {
    ordered: Time,
    is_done: bool,
    /// What validation finds is filled in when it comes.
    record: Box<RoundRecord>,
}

/// What the summary counts.
pub(in crate::engine) struct Tally {
    /// Tasks merged, by the name of their node.
    pub(in crate::engine) nodes: BTreeMap<String, u64>,
    /// Nothing but the job itself has decided its bits so far, apart from merged tasks that were not exact.
    pub(in crate::engine) is_determined: bool,
    /// Merged tasks whose nodes do not promise exact results.
    inexact: u64,
    pub(in crate::engine) duplicates: u64,
    started: Time,
    /// How long the job ran before that.
    before_us: u64,
    merged: u64,
    skipped: u64,
    validating_us: u64,
    pub(in crate::engine) training_us: u64,
}

impl Run {
    /// The job begins, or goes on after its progress.
    pub(in crate::engine) fn start(
        job: JobId,
        semantic: Digest,
        specification: Arc<Specification>,
        progress: Option<Box<Progress>>,
        cx: &mut Context<'_>,
    ) -> Run {
        let needs = Needs {
            arithmetic: specification.training.arithmetic,
            allow_inexact: specification.operation.allow_inexact,
        };
        cx.fleet.begin_job(needs);
        cx.report(job, JobEvent::Started);
        cx.actions.push(Action::Prepare { job });
        let so_far = progress.as_deref();
        let profile = so_far.map_or(Profile::default(), |progress| progress.profile);
        Run {
            job,
            semantic,
            needs,
            specification,
            stage: Stage::Preparing,
            past: None,
            pace: Pace::default(),
            profiler: Profiler::start(profile, cx.now),
            revival: so_far.map_or_else(Revival::default, |progress| Revival::going_on(progress.revivals)),
            tally: Tally {
                nodes: so_far.map_or_else(BTreeMap::new, |progress| {
                    progress.nodes.iter().map(|share| (share.node.clone(), share.tasks)).collect()
                }),
                is_determined: so_far.is_none_or(|progress| progress.reproducible),
                inexact: 0,
                duplicates: so_far.map_or(0, |progress| progress.duplicates),
                started: cx.now,
                before_us: profile.total_us(),
                merged: so_far.map_or(0, |progress| progress.merged),
                skipped: so_far.map_or(0, |progress| progress.skipped),
                validating_us: so_far.map_or(0, |progress| progress.validating_us),
                training_us: so_far.map_or(0, |progress| progress.training_us),
            },
            progress,
            returning: None,
            told: Vec::new(),
            ending: None,
            validations: VecDeque::new(),
            to_validate: None,
            none_eligible_told: false,
            deadline: None,
        }
    }

    /// The base weights of the first step exist.
    pub(in crate::engine) fn prepared(&mut self, base: Digest, cx: &mut Context<'_>) {
        if !matches!(self.stage, Stage::Preparing) {
            return;
        }
        self.profiler.prepared(cx.now);
        let step = self.rounds_written();
        if step < self.specification.rounds {
            self.begin_round(u64::from(step), base, cx);
        } else if let Some(progress) = self.progress.take() {
            // Its last round was written down, but not its end.
            self.stage = Stage::Validating;
            let summary = self.summary(progress.base, &progress.last, cx);
            self.end(Outcome::Done(Box::new(summary)));
        }
    }

    /// A round's sum is divided: the next round begins at once, validation runs beside it.
    pub(in crate::engine) fn merged(&mut self, step: u64, base: Digest, cx: &mut Context<'_>) {
        if !matches!(&self.stage, Stage::Merging { round, .. } if round.step() == step) {
            return;
        }
        let Stage::Merging { round, base: trained_from, began } = std::mem::replace(&mut self.stage, Stage::Validating)
        else {
            return;
        };
        self.profiler.merged(cx.now);
        let done = self.round_summary(&round, cx.now.since_us(began));
        self.tally.merged += u64::from(done.merged);
        self.tally.skipped += u64::from(done.skipped);
        let task = |task: &Task| {
            let won = task.won()?;
            let (node, attempt) = (won.name.clone(), won.attempt.number);
            Some(MergedTask { node, attempt, loss: won.result.loss, update: won.result.update })
        };
        let tasks = round.tasks().iter().map(task).collect();
        let record = RoundRecord { base: trained_from, tasks, progress: self.progress(base, done) };
        self.validations.push_back(Validation { ordered: cx.now, is_done: false, record: Box::new(record) });
        self.past = Some(round);
        self.to_validate = Some((step, base));
        if step + 1 < u64::from(self.specification.rounds) {
            self.begin_round(step + 1, base, cx);
        }
    }

    /// Updates of a round that was to be merged are lost: their tasks are done again, to the same bits, and nothing of them
    /// counts twice.
    pub(in crate::engine) fn updates_lost(&mut self, step: u64, shards: &[u32], reason: String, cx: &mut Context<'_>) {
        if !matches!(&self.stage, Stage::Merging { round, .. } if round.step() == step) {
            return;
        }
        let Stage::Merging { mut round, base, began } = std::mem::replace(&mut self.stage, Stage::Validating) else {
            return;
        };
        self.profiler.merged(cx.now);
        self.profiler.round_begins(cx.now);
        let lost: Vec<Won> = shards.iter().filter_map(|&shard| round.reopen(shard)).collect();
        for won in &lost {
            self.tally.undo(won);
            cx.fleet.task_undone(won.attempt.node);
        }
        self.stage = Stage::Training { round, base, began };
        self.report(Notice::UpdatesLost { step, count: lost.len(), reason }, cx);
    }

    /// A round's weights have been tried. Rounds are reported in order, and the last one ends the job.
    pub(in crate::engine) fn validated(&mut self, step: u64, rows: u64, metrics: Metrics, cx: &mut Context<'_>) {
        let under_way =
            |validation: &&mut Validation| validation.record.progress.last.step() == step && !validation.is_done;
        let Some(validation) = self.validations.iter_mut().find(under_way) else { return };
        validation.is_done = true;
        let round = &mut validation.record.progress.last;
        round.rows = rows;
        round.metrics = metrics;
        self.tally.validating_us += cx.now.since_us(validation.ordered);
        while self.validations.front().is_some_and(|validation| validation.is_done) {
            let Some(Validation { mut record, .. }) = self.validations.pop_front() else { return };
            record.progress.validating_us = self.tally.validating_us;
            let progress = record.progress.clone();
            cx.actions.push(Action::Persist { job: self.job, record });
            cx.report(self.job, JobEvent::RoundDone(progress.last));
            if matches!(self.stage, Stage::Validating) && self.validations.is_empty() {
                let summary = self.summary(progress.base, &progress.last, cx);
                self.end(Outcome::Done(Box::new(summary)));
            }
            self.progress = Some(Box::new(progress));
        }
    }

    /// The job is over; [`Run::take_ending`] tells it.
    pub(in crate::engine) fn end(&mut self, outcome: Outcome) {
        self.ending.get_or_insert(Ending::Over(outcome));
    }

    /// Whether the job has ended, or is to be paused.
    pub(in crate::engine) fn is_over(&self) -> bool {
        self.ending.is_some()
    }

    /// How the job leaves its turn, if it does.
    pub(in crate::engine) fn take_ending(&mut self) -> Option<Ending> {
        self.ending.take()
    }

    /// Does what can be done now: tasks to nodes, copies of slow ones, revivals, the round's end.
    pub(in crate::engine) fn advance(&mut self, cx: &mut Context<'_>) {
        self.deadline = None;
        self.wake_at(cx.now.after_us(SWEEP_US));
        if !self.is_over() && matches!(self.stage, Stage::Training { .. }) {
            self.advance_round(cx);
        }
        // Nodes wait for what is sent to them, and nobody for a validation: it comes last.
        let to_validate = self.to_validate.take();
        cx.actions.extend(to_validate.map(|(step, base)| Action::Validate { job: self.job, step, base }));
    }

    fn advance_round(&mut self, cx: &mut Context<'_>) {
        self.place_or_revive(cx);
        if self.is_over() {
            return;
        }
        self.copy_slow_tasks(cx);
        self.finish_round(cx);
    }

    /// When to look again if nothing happens.
    pub(in crate::engine) fn deadline(&self) -> Option<Time> {
        self.deadline
    }

    /// Look again at this moment at the latest.
    pub(in crate::engine) fn wake_at(&mut self, at: Time) {
        self.deadline = Some(self.deadline.map_or(at, |deadline| deadline.min(at)));
    }

    /// A link came up.
    pub(in crate::engine) fn node_joined(&mut self, link: LinkKey, name: String, cx: &mut Context<'_>) {
        let arithmetic = self.needs.arithmetic;
        let doubt = cx.fleet.doubt(link, arithmetic).filter(|_| !self.needs.allow_inexact);
        self.report(
            match doubt {
                Some(doubt) => Notice::NodeDoubted { name, arithmetic, doubt },
                None => Notice::NodeJoined { name },
            },
            cx,
        );
    }

    /// A link went down: what was out over it is void.
    pub(in crate::engine) fn link_lost(&mut self, lost: &Lost, now: Time) {
        self.profiler.lost(lost.link, now);
        if let Stage::Training { round, .. } = &mut self.stage {
            lost.assigned.iter().for_each(|&(_, shard, number)| round.void(shard, number));
        }
    }

    /// Voids what is still out, at the job's end.
    pub(in crate::engine) fn cancel_attempts(&mut self, cx: &mut Context<'_>) {
        let Stage::Training { round, .. } = &mut self.stage else { return };
        for shard in 0..round.tasks().len() as u32 {
            cx.cancel(round, shard);
        }
    }

    /// How far the job is.
    pub(in crate::engine) fn job_progress(&self) -> JobProgress {
        let rounds = self.specification.rounds;
        let tasks = self.specification.shards.len() as u32;
        let (step, tasks_done) = match &self.stage {
            Stage::Preparing => (u64::from(self.rounds_written().min(rounds.saturating_sub(1))), 0),
            Stage::Training { round, .. } | Stage::Merging { round, .. } => (round.step(), round.settled() as u32),
            Stage::Validating => (u64::from(rounds.saturating_sub(1)), tasks),
        };
        JobProgress::Running { step, rounds, tasks_done, tasks }
    }

    /// Tells a notice to whoever watches the job.
    pub(in crate::engine) fn report(&self, notice: Notice, cx: &mut Context<'_>) {
        cx.report(self.job, JobEvent::Notice(notice));
    }

    /// The round under way, for the invariants.
    pub(in crate::engine) fn round(&self) -> Option<&Round> {
        match &self.stage {
            Stage::Training { round, .. } => Some(round),
            _ => None,
        }
    }

    /// Two nodes disagree about a task of a round: neither that round's weights nor any later ones can be relied on, whether
    /// they are yet to be written down or to be gone on from.
    pub(in crate::engine) fn doubt(&mut self, step: u64) {
        self.tally.is_determined = false;
        let unwritten = self.validations.iter_mut().map(|validation| &mut validation.record.progress);
        let written = self.progress.as_deref_mut();
        unwritten
            .chain(written)
            .filter(|progress| progress.last.step() >= step)
            .for_each(|progress| progress.reproducible = false);
    }

    /// Rounds that are done, by what was last to be written down.
    fn rounds_written(&self) -> u32 {
        self.progress.as_ref().map_or(0, |progress| progress.rounds_done())
    }

    fn begin_round(&mut self, step: u64, base: Digest, cx: &mut Context<'_>) {
        cx.fleet.begin_round();
        self.profiler.round_begins(cx.now);
        let round = Round::new(self.job, step, Arc::clone(&self.specification));
        self.stage = Stage::Training { round, base, began: cx.now };
        self.place_told(cx);
    }

    /// Hands pending tasks to nodes, or tries to revive some.
    fn place_or_revive(&mut self, cx: &mut Context<'_>) {
        let Stage::Training { round, .. } = &self.stage else { return };
        if !round.has_pending() {
            self.revival.not_needed();
        } else if cx.fleet.crew(self.needs).next().is_some() {
            self.revival.not_needed();
            if !self.awaits_held_results(cx) {
                self.place_pending(cx);
            }
        } else {
            self.profiler.needs(Need::Nodes, cx.now);
            self.revive(cx);
            return;
        }
        let is_some_left = self.round().is_some_and(Round::has_pending);
        self.profiler.needs(if is_some_left { Need::Tasks } else { Need::Results }, cx.now);
    }

    fn revive(&mut self, cx: &mut Context<'_>) {
        let ineligible = cx.fleet.active().next().is_some();
        let arithmetic = self.needs.arithmetic;
        if ineligible && !self.none_eligible_told {
            self.none_eligible_told = true;
            let doubted = cx.fleet.doubted(arithmetic);
            self.report(Notice::NoneEligible { arithmetic, doubted }, cx);
        }
        match self.revival.nobody(cx.now, &cx.settings.revival_waits) {
            Step::Wait { until } => self.wake_at(until),
            Step::Begin { number, wait, until } => {
                if number == 1 && !ineligible {
                    self.report(Notice::NoNodes, cx);
                }
                let of = cx.settings.revival_waits.len() as u32;
                self.report(Notice::Revival { number, of, wait }, cx);
                cx.actions.push(Action::DialNow { nodes: cx.fleet.inactive() });
                self.wake_at(until);
            }
            Step::GiveUp if ineligible => self.give_up_waiting(FailReason::NoEligibleNode { arithmetic }),
            Step::GiveUp => self.give_up_waiting(FailReason::NoNodes { revivals: self.revival.total() }),
        }
    }

    /// No node came back.
    fn give_up_waiting(&mut self, reason: FailReason) {
        match self.specification.operation.on_no_nodes {
            OnNoNodes::Fail => self.end(Outcome::Failed(reason)),
            // What is merged is to be written down before.
            OnNoNodes::Pause if !self.validations.is_empty() => {}
            OnNoNodes::Pause => {
                self.ending.get_or_insert(Ending::Paused(reason));
            }
        }
    }

    fn finish_round(&mut self, cx: &mut Context<'_>) {
        let Stage::Training { round, began, .. } = &mut self.stage else { return };
        if !round.is_settled() {
            return;
        }
        if self.validations.len() >= UNVALIDATED_MAX {
            self.profiler.held_up(cx.now);
            return;
        }
        let (step, rows, began) = (round.step(), round.rows_merged(), *began);
        if rows == 0 {
            let reason = round.tasks().last().map_or_else(String::new, |task| task.reason.clone());
            self.end(Outcome::Failed(FailReason::AllSkipped { step, reason }));
            return;
        }
        self.profiler.round_ends(cx.now);
        let Stage::Training { round, base, .. } = std::mem::replace(&mut self.stage, Stage::Validating) else { return };
        self.stage = Stage::Merging { round, base, began };
        cx.actions.push(Action::FinishRound { job: self.job, step, rows });
    }

    /// The job after a round that has just been merged.
    fn progress(&self, base: Digest, last: RoundSummary) -> Progress {
        Progress {
            last,
            base,
            merged: self.tally.merged,
            skipped: self.tally.skipped,
            reproducible: self.tally.is_reproducible(),
            duplicates: self.tally.duplicates,
            nodes: self.tally.shares(),
            revivals: self.revival.total(),
            profile: self.profiler.told(),
            validating_us: self.tally.validating_us,
            training_us: self.tally.training_us,
        }
    }

    /// What came of a round before its validation.
    fn round_summary(&self, round: &Round, round_us: u64) -> RoundSummary {
        let rows = round.rows_merged();
        let loss: f64 = round.merged_tasks().map(|(_, won)| won.result.loss).sum();
        let mut nodes: Vec<NodeKey> = round.merged_tasks().map(|(_, won)| won.attempt.node).collect();
        let merged = nodes.len() as u32;
        nodes.sort_unstable();
        nodes.dedup();
        RoundSummary {
            round: round.step() as u32 + 1,
            rounds: self.specification.rounds,
            loss: loss / rows as f64,
            rows: 0,
            metrics: Metrics::default(),
            nodes: nodes.len() as u32,
            merged,
            skipped: round.tasks().len() as u32 - merged,
            round_us,
        }
    }

    fn summary(&mut self, weights: Digest, last: &RoundSummary, cx: &Context<'_>) -> Summary {
        let now = cx.now;
        let mut nodes = self.tally.shares();
        let places = cx.fleet.places_by_name();
        nodes.sort_by_key(|share| places.get(share.node.as_str()).copied().unwrap_or(usize::MAX));
        Summary {
            fingerprint: job::fingerprint(&self.semantic, &weights),
            weights,
            rows: last.rows,
            metrics: last.metrics,
            loss: last.loss,
            merged: self.tally.merged,
            skipped: self.tally.skipped,
            reproducible: self.tally.is_reproducible(),
            nodes,
            elapsed_us: self.tally.before_us + now.since_us(self.tally.started),
            revivals: self.revival.total(),
            profile: self.profiler.done(now),
            training_us: self.tally.training_us,
            validating_us: self.tally.validating_us,
        }
    }
}

impl Tally {
    /// A task whose result is in the sum.
    pub(in crate::engine) fn add(&mut self, won: &Won) {
        *self.nodes.entry(won.name.clone()).or_insert(0) += 1;
        self.training_us = self.training_us.saturating_add(won.result.train_us);
        self.inexact += u64::from(!won.attempt.exact);
    }

    /// The result is lost.
    fn undo(&mut self, won: &Won) {
        self.training_us = self.training_us.saturating_sub(won.result.train_us);
        self.inexact -= u64::from(!won.attempt.exact);
        if let Some(tasks) = self.nodes.get_mut(&won.name) {
            *tasks -= 1;
            if *tasks == 0 {
                self.nodes.remove(&won.name);
            }
        }
    }

    fn is_reproducible(&self) -> bool {
        self.is_determined && self.inexact == 0
    }

    fn shares(&self) -> Vec<NodeTasks> {
        self.nodes.iter().map(|(name, &tasks)| NodeTasks { node: name.clone(), tasks }).collect()
    }
}
