//! A running job. Owns it from its preparation to its end: the order of its stages, what becomes of each task, and its
//! tally; does not know other jobs (`jobs`).
//!
//! | file | owns |
//! |---|---|
//! | this one | the stages: prepared, trained round by round, merged, validated |
//! | `placement` | a task's way to its node |
//! | `attempts` | its result's way into the sum |
//! | `without_nodes` | what it does while no node may work for it |
//! | `homes` | which node has a shard's rows |
//! | `records` | what is written down of its steps, and what is told of its rounds |
//! | `tally` | what its summary counts |
//! | `ending` | its last tests and its summary |
//! | `returning` | results that nodes held while the coordinator was away |

mod attempts;
mod ending;
mod homes;
mod placement;
mod records;
mod returning;
mod tally;
mod without_nodes;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::digest::Digest;
use crate::engine::context::Context;
use crate::engine::crew::Needs;
use crate::engine::events::{Action, StepSum};
use crate::engine::membership::Lost;
use crate::engine::nodes::LinkKey;
use crate::engine::pace::Pace;
use crate::engine::plan::Plan;
use crate::engine::profile::Profiler;
use crate::engine::report::{JobEvent, JobProgress, Notice, Unit};
use crate::engine::revival::Revival;
use crate::engine::shares::Shares;
use crate::engine::step_tasks::StepTasks;
use crate::engine::time::Time;
use crate::engine::turns::Share;
use crate::engine::width::Width;
use crate::job::memory::{CoordinatorMemory, unvalidated_rounds_max};
use crate::job::{Best, FailReason, JobId, LedgerEntry, Outcome, Profile, Progress, RoundSoFar, Specification};
use homes::Homes;
use records::{Pending, WRITTEN_EVERY_US, entries};
use returning::HeldByLink;
pub(in crate::engine) use returning::Returning;
pub(in crate::engine) use tally::Tally;

/// So long a job runs before it is said that nodes cannot keep its rows.
const ROOM_TOLD_AFTER_US: u64 = 5_000_000;

/// A running job is looked at this often at least: what a node told of its load grows old.
const SWEEP_US: u64 = 1_000_000;

/// A running job.
pub(in crate::engine) struct Run {
    pub(in crate::engine) job: JobId,
    pub(in crate::engine) semantic: Digest,
    pub(in crate::engine) specification: Arc<Specification>,
    pub(in crate::engine) plan: Plan,
    /// How its steps are shared.
    pub(in crate::engine) shares: Shares,
    /// Where shards are, if tasks are whole shards.
    homes: Homes,
    /// For how many workers they are cut.
    pub(in crate::engine) width: Width,
    pub(in crate::engine) needs: Needs,
    /// What it takes at the coordinator.
    pub(in crate::engine) memory: CoordinatorMemory,
    /// What it has had of the nodes' time, beside the others that run.
    pub(in crate::engine) share: Share,
    /// How many run, with it.
    beside: usize,
    pub(in crate::engine) stage: Stage,
    /// The step before: late copies of its results are compared, too.
    pub(in crate::engine) past: Option<StepTasks>,
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
    /// What is done of the round under way, and which steps of it no record has yet.
    so_far: RoundSoFar,
    unwritten: Vec<LedgerEntry>,
    /// Nothing but the job itself has decided the bits of the step under way.
    is_step_determined: bool,
    /// Where the time went until the last step was done.
    profile: Profile,
    /// When a record was last ordered.
    written: Time,
    /// The best round that is done, if the job has a patience.
    best: Option<Best>,
    /// How the job ended. Nothing happens after that.
    ending: Option<Ending>,
    /// Why the job is to be paused, once the steps that it has done are written.
    held_up: Option<FailReason>,
    /// What is to be written down, in its order.
    records: VecDeque<Pending>,
    /// The round whose validation is yet to be ordered, and its weights.
    to_validate: Option<(u32, Digest)>,
    none_eligible_told: bool,
    is_room_told: bool,
    /// Rounds that may be merged but not validated: each keeps a model in the caller's memory.
    unvalidated_max: usize,
    /// When many tasks were last looked through for slow ones.
    copies_looked_for: Time,
    deadline: Option<Time>,
}

/// Where the job stands.
pub(in crate::engine) enum Stage {
    /// The base weights of the first step are being made.
    Preparing,
    /// Tasks are out.
    Training { tasks: StepTasks, base: Digest, began: Time },
    /// Every task is merged or skipped; the sum is being divided.
    Merging { tasks: StepTasks, base: Digest, began: Time },
    /// Every round is merged; the last ones are being validated.
    Validating,
    /// No round is to be done any more: what came of them is being tried on the validation and test rows.
    Testing { progress: Box<Progress> },
}

/// How a job leaves its turn.
pub(in crate::engine) enum Ending {
    /// For good.
    Over(Outcome),
    /// Until it is resumed.
    Paused(FailReason),
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
        let needs = Needs::of(&specification);
        cx.fleet.begin_job(job, needs);
        cx.report(job, JobEvent::Started);
        cx.actions.push(Action::Prepare { job });
        let so_far = progress.as_deref();
        let profile = so_far.map_or(Profile::default(), |progress| progress.profile);
        Run {
            job,
            semantic,
            needs,
            memory: CoordinatorMemory::default(),
            share: Share::default(),
            beside: 1,
            unvalidated_max: unvalidated_rounds_max(&specification.training.network) as usize,
            plan: Plan::new(specification.clone()),
            shares: shares(&specification),
            homes: Homes::default(),
            width: Width::new(specification.training.network.parameters() as u64),
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
            so_far: so_far.map_or_else(RoundSoFar::default, |progress| progress.so_far.clone()),
            unwritten: Vec::new(),
            is_step_determined: true,
            best: so_far.and_then(|progress| progress.best),
            profile,
            written: cx.now,
            progress,
            returning: None,
            told: Vec::new(),
            ending: None,
            held_up: None,
            records: VecDeque::new(),
            to_validate: None,
            none_eligible_told: false,
            is_room_told: false,
            copies_looked_for: Time(0),
            deadline: None,
        }
    }

    /// The base weights of the first step exist.
    pub(in crate::engine) fn prepared(&mut self, base: Digest, cx: &mut Context<'_>) {
        if !matches!(self.stage, Stage::Preparing) {
            return;
        }
        self.profiler.prepared(cx.now);
        let step = self.steps_written();
        match self.progress.take_if(|progress| progress.is_final(&self.specification)) {
            // Its last round was written down, but not its end.
            Some(progress) => self.conclude(progress, cx),
            None => self.begin_step(step, base, cx),
        }
    }

    /// A step's sum is divided: the next step begins at once, validation of a round runs beside it.
    pub(in crate::engine) fn merged(&mut self, step: u64, base: Digest, sum: Option<StepSum>, cx: &mut Context<'_>) {
        if !matches!(&self.stage, Stage::Merging { tasks, .. } if tasks.step() == step) {
            return;
        }
        let Stage::Merging { tasks, base: trained_from, began } = std::mem::replace(&mut self.stage, Stage::Validating)
        else {
            return;
        };
        self.profiler.merged(cx.now);
        self.share.heard(cx.now);
        self.step_done(tasks, (trained_from, base), sum, began, cx);
    }

    /// A step is done, and has led from one base to another.
    fn step_done(
        &mut self,
        tasks: StepTasks,
        (from, base): (Digest, Digest),
        sum: Option<StepSum>,
        began: Time,
        cx: &mut Context<'_>,
    ) {
        let step = tasks.step();
        self.profile = self.profiler.told();
        let step_us = cx.now.since_us(began);
        self.width.observe(step_us);
        let done = self.count_step(&tasks, sum, step_us);
        self.unwritten.extend(entries(&tasks, from, done, sum));
        self.past = Some(tasks);
        if self.plan.ends_round(step) {
            self.end_round(step, base, cx);
        } else if cx.now.since_us(self.written) >= WRITTEN_EVERY_US && self.records.is_empty() {
            // Behind a round that is being validated it could not be written before that is; and it would keep its weights in memory.
            let last = self.last_round();
            self.record(Progress { last, so_far: self.so_far.clone(), ..self.progress_at(step, base) }, cx);
            self.write_records(cx);
        }
        if step + 1 < self.plan.steps() && !self.is_over() && matches!(self.stage, Stage::Validating) {
            self.begin_step(step + 1, base, cx);
        }
    }

    /// Updates of a round that was to be merged are lost: their tasks are done again, to the same bits, and nothing of them
    /// counts twice.
    pub(in crate::engine) fn updates_lost(&mut self, step: u64, shards: &[u32], reason: String, cx: &mut Context<'_>) {
        if !matches!(&self.stage, Stage::Merging { tasks, .. } if tasks.step() == step) {
            return;
        }
        let Stage::Merging { mut tasks, base, began } = std::mem::replace(&mut self.stage, Stage::Validating) else {
            return;
        };
        self.profiler.merged(cx.now);
        self.profiler.step_begins(cx.now);
        let mut count = 0;
        for &shard in shards {
            let Some(won) = tasks.reopen(shard) else { continue };
            self.tally.undo(&won, tasks.task(shard).units.len() as u32);
            cx.fleet.task_undone(won.attempt.node);
            count += 1;
        }
        self.stage = Stage::Training { tasks, base, began };
        self.report(Notice::UpdatesLost { step, count, reason }, cx);
    }

    /// The job is over; [`Run::take_ending`] tells it.
    pub(in crate::engine) fn end(&mut self, outcome: Outcome) {
        self.ending.get_or_insert(Ending::Over(outcome));
    }

    /// The job is to be paused for this reason.
    pub(in crate::engine) fn hold_up(&mut self, reason: FailReason) {
        self.held_up.get_or_insert(reason);
    }

    /// Whether the job has ended, or is to be paused.
    pub(in crate::engine) fn is_over(&self) -> bool {
        self.ending.is_some()
    }

    /// How the job leaves its turn, if it does.
    pub(in crate::engine) fn take_ending(&mut self) -> Option<Ending> {
        self.ending.take()
    }

    /// Does what can be done now: tasks to nodes, copies of slow ones, revivals, the round's end. So many jobs run, with it; where
    /// they have to catch up with it, it hands out nothing before `waits_until`.
    pub(in crate::engine) fn advance(&mut self, waits_until: Option<Time>, beside: usize, cx: &mut Context<'_>) {
        if std::mem::replace(&mut self.beside, beside) != beside {
            // Steps take another time now, whatever they are cut for.
            self.width.forget_times();
        }
        self.deadline = None;
        self.wake_at(cx.now.after_us(SWEEP_US));
        if !self.is_over() && self.held_up.is_some() {
            // Until then nothing more is begun.
            if self.has_written_steps(cx)
                && let Some(reason) = self.held_up.take()
            {
                self.ending = Some(Ending::Paused(reason));
            }
        } else {
            if !self.is_over() && matches!(self.stage, Stage::Preparing) {
                self.give_up_without_memory(cx);
            }
            if !self.is_over() && matches!(self.stage, Stage::Training { .. }) {
                self.advance_step(waits_until, cx);
            }
        }
        // Nodes wait for what is sent to them, and nobody for a validation: it comes last.
        let to_validate = self.to_validate.take();
        cx.actions.extend(to_validate.map(|(round, base)| Action::Validate { job: self.job, round, base }));
    }

    fn advance_step(&mut self, waits_until: Option<Time>, cx: &mut Context<'_>) {
        loop {
            self.place_or_revive(waits_until, cx);
            if self.is_over() {
                return;
            }
            // Nor does a copy take a worker whose turn is another job's.
            if waits_until.is_none() {
                self.copy_slow_tasks(cx);
            }
            if !self.finish_step(cx) {
                return;
            }
        }
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
        if let Stage::Training { tasks, .. } = &mut self.stage {
            let own = lost.assigned.iter().filter(|(_, job, ..)| *job == self.job);
            own.for_each(|&(.., shard, number)| tasks.void(shard, number));
        }
    }

    /// Voids what is still out, at the job's end.
    pub(in crate::engine) fn cancel_attempts(&mut self, cx: &mut Context<'_>) {
        let Stage::Training { tasks, .. } = &mut self.stage else { return };
        for shard in 0..tasks.all().len() as u32 {
            cx.cancel(tasks, shard);
        }
    }

    /// How far the job is.
    pub(in crate::engine) fn job_progress(&self) -> JobProgress {
        let rounds = self.specification.rounds;
        let (step, units_done, units) = match &self.stage {
            Stage::Preparing => (self.steps_written().min(self.plan.steps() - 1), 0, 0),
            Stage::Training { tasks, .. } | Stage::Merging { tasks, .. } => {
                (tasks.step(), tasks.units_settled(), tasks.units().count())
            }
            Stage::Validating => (self.plan.steps() - 1, 0, 0),
            Stage::Testing { progress } => (progress.steps - 1, 0, 0),
        };
        let round = self.plan.round_of(step);
        if self.plan.round_steps() == 1 {
            let shards = self.specification.shards.len() as u32;
            let done = match self.stage {
                Stage::Validating | Stage::Testing { .. } => shards,
                _ => units_done,
            };
            return JobProgress::Running { round, rounds, done, of: units.max(shards), unit: Unit::Tasks };
        }
        let done = (step - u64::from(round) * self.plan.round_steps()) as u32;
        JobProgress::Running { round, rounds, done, of: self.plan.round_steps() as u32, unit: Unit::Steps }
    }

    /// Tells a notice to whoever watches the job.
    pub(in crate::engine) fn report(&self, notice: Notice, cx: &mut Context<'_>) {
        cx.report(self.job, JobEvent::Notice(notice));
    }

    /// Whether it uses nodes, or will as soon as its last step is merged; one that waits for its validations does not.
    pub(in crate::engine) fn is_in_line(&self) -> bool {
        let is_at_work = match &self.stage {
            Stage::Training { tasks, .. } => !tasks.is_settled(),
            Stage::Merging { .. } => true,
            Stage::Preparing | Stage::Validating | Stage::Testing { .. } => false,
        };
        is_at_work && !self.is_over()
    }

    /// The tasks that are out, for the invariants.
    pub(in crate::engine) fn step_tasks(&self) -> Option<&StepTasks> {
        match &self.stage {
            Stage::Training { tasks, .. } => Some(tasks),
            _ => None,
        }
    }

    /// Two nodes disagree about a task of a round: neither that round's weights nor any later ones can be relied on, whether
    /// they are yet to be written down or to be gone on from.
    pub(in crate::engine) fn doubt(&mut self, step: u64) {
        match &self.stage {
            Stage::Training { tasks, .. } | Stage::Merging { tasks, .. } if tasks.step() == step => {
                self.is_step_determined = false;
            }
            _ => self.tally.is_determined = false,
        }
        let unwritten = self.records.iter_mut().map(|pending| &mut pending.record.progress);
        let concluded = match &mut self.stage {
            Stage::Testing { progress } => Some(&mut **progress),
            _ => None,
        };
        let written = self.progress.as_deref_mut();
        unwritten
            .chain(written)
            .chain(concluded)
            .filter(|progress| progress.steps > step)
            .for_each(|progress| progress.reproducible = false);
    }

    fn begin_step(&mut self, step: u64, base: Digest, cx: &mut Context<'_>) {
        cx.fleet.begin_step(self.job);
        self.profiler.step_begins(cx.now);
        let tasks = StepTasks::new(self.job, step, self.plan.units(step));
        if !self.plan.merges_gradients() {
            self.homes.begin_step(tasks.all().len());
        }
        self.stage = Stage::Training { tasks, base, began: cx.now };
        self.is_step_determined = true;
        self.tell_of_room(cx);
        self.place_told(cx);
    }

    /// Says once if nodes cannot keep the rows that all steps go through. At a job's beginning some nodes may be yet to come.
    fn tell_of_room(&mut self, cx: &mut Context<'_>) {
        let runs_us = cx.now.since_us(self.tally.started);
        // Rows that are less than the weights, which travel in every step, are not what a job waits for.
        let are_many = self.needs.rows_bytes > 4 * self.specification.training.network.parameters() as u64;
        let is_due = !self.is_room_told && are_many && runs_us >= ROOM_TOLD_AFTER_US && self.plan.round_steps() > 1;
        if !is_due || cx.fleet.crew(self.job).next().is_none() {
            return;
        }
        if let Some(kept_bytes) = self.shares.kept_if_not_all(cx.fleet.caches(self.job)) {
            self.is_room_told = true;
            self.report(Notice::RowsTravel { rows_bytes: self.needs.rows_bytes, kept_bytes }, cx);
        }
    }

    /// Has a step merged whose tasks are all done. True if nothing is to be merged, and the next step has begun.
    fn finish_step(&mut self, cx: &mut Context<'_>) -> bool {
        let Stage::Training { tasks, began, .. } = &mut self.stage else { return false };
        if !tasks.is_settled() {
            return false;
        }
        if self.records.iter().filter(|pending| pending.record.ends_round).count() >= self.unvalidated_max {
            self.profiler.held_up(cx.now);
            return false;
        }
        let (step, rows, began) = (tasks.step(), tasks.rows_merged(), *began);
        if rows == 0 && !self.plan.merges_gradients() {
            let reason = tasks.all().last().map_or_else(String::new, |task| task.reason.clone());
            if !self.has_written_steps(cx) {
                return false;
            }
            self.end(Outcome::Failed(FailReason::AllSkipped { step, reason }));
            return false;
        }
        self.profiler.step_ends(cx.now);
        let Stage::Training { tasks, base, .. } = std::mem::replace(&mut self.stage, Stage::Validating) else {
            return false;
        };
        if rows == 0 {
            // A step without a block changes nothing.
            self.profiler.merged(cx.now);
            self.step_done(tasks, (base, base), None, began, cx);
            return matches!(self.stage, Stage::Training { .. }) && !self.is_over();
        }
        self.stage = Stage::Merging { tasks, base, began };
        cx.actions.push(Action::FinishStep { job: self.job, step, rows });
        false
    }
}

/// How the steps of a job are shared that nobody has done a step of.
fn shares(specification: &Specification) -> Shares {
    let data_bytes = Needs::of(specification).rows_bytes;
    let shards = specification.shards.len().max(1) as u64;
    let blocks = specification.gradient_steps().map_or(0, |steps| steps.blocks_most());
    let in_each_step = (blocks >= shards).then_some(shards as u32);
    // Shards differ by a row at most.
    Shares::new(data_bytes, data_bytes.div_ceil(shards), in_each_step)
}
