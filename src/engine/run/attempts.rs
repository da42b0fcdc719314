//! From a task that is out to a merged one: results, failures, bad results. Owns what a result or failure means for its task and its
//! node; does not know how a node is chosen (`placement`), nor the job's stages (`run`) beyond the tasks.

use super::{Run, Stage};
use crate::digest::Digest;
use crate::engine::context::Context;
use crate::engine::events::{Action, Fault};
use crate::engine::link::Assignment;
use crate::engine::nodes::{LinkKey, NodeKey};
use crate::engine::report::Notice;
use crate::engine::step_tasks::{Claim, Live, Standing, StepTasks, TaskState, Won};
use crate::engine::time::Time;
use crate::job::{Attempt, FailReason, OnTaskFailure, Outcome, Place, RejectReason, TaskResult};

/// The first pause before a doubted node is asked again; each further failure doubles it.
const PAUSE_US: u64 = 50_000;
/// Doublings of the pause, at most: 3.2 s.
const PAUSE_DOUBLINGS_MAX: u32 = 6;

/// A node is believed that it wants nothing for so long, at most.
const RETRY_MS_MAX: u32 = 60_000;

impl Run {
    /// A task is trained, and its update is on its way.
    pub(in crate::engine) fn update_coming(&mut self, link: LinkKey, attempt: &Attempt, cx: &mut Context<'_>) {
        let shard = attempt.task.shard;
        if let Claim::Live(live) = self.claim(link, attempt)
            && let Stage::Training { tasks, .. } = &mut self.stage
        {
            tasks.update_coming(shard, live.number, cx.now);
            cx.fleet.update_coming(link, (live.started, self.job, shard, live.number));
        }
    }

    /// A result arrived.
    pub(in crate::engine) fn trained(
        &mut self,
        link: LinkKey,
        attempt: Attempt,
        result: TaskResult,
        cx: &mut Context<'_>,
    ) {
        let (shard, update) = (attempt.task.shard, result.update);
        let discard = Action::Discard { link, attempt, update };
        match self.claim(link, &attempt) {
            Claim::Live(live) => {
                // Before that it waited for tasks of other jobs, which says nothing of its node. But their results come by other ways.
                let begun = cx.fleet.begun(link, self.assignment(shard, &live)).unwrap_or(cx.now);
                let train_us = result.train_us.min(cx.now.since_us(live.started));
                let elapsed_us = cx.now.since_us(begun).max(train_us);
                let Some(tasks) = self.end_attempt(shard, &live, cx) else { return cx.actions.push(discard) };
                let rows = tasks.rows(shard);
                let blocks = tasks.task(shard).units.len() as u32;
                let is_open = matches!(tasks.task(shard).state, TaskState::Open);
                if is_open {
                    let name = cx.fleet.name(live.node);
                    tasks.begin_merging(shard, Won { attempt: live, name, result });
                    self.profiler.accepted(link, cx.now);
                    cx.actions.push(Action::Accumulate { link, attempt, update, rows, blocks });
                } else {
                    cx.actions.push(discard);
                    self.compare(&live, attempt.task.step, shard, update, cx);
                }
                self.profiler.trained(link, live.started, result.train_us, live.trained.unwrap_or(cx.now));
                self.share.had(&live, train_us, cx.now);
                if !live.is_held && !self.shares.awaits_rows() {
                    self.pace.observe(elapsed_us, cx.fleet.expected_us(live.node, self.job, rows));
                    cx.fleet.observe(live.node, self.job, elapsed_us, result.train_us, rows);
                }
            }
            Claim::Retired(live) => {
                cx.actions.push(discard);
                self.compare(&live, attempt.task.step, shard, update, cx);
            }
            Claim::Unknown => {
                cx.actions.push(discard);
                *cx.stale_results += 1;
            }
        }
    }

    /// A node turned a task down.
    pub(in crate::engine) fn rejected(
        &mut self,
        link: LinkKey,
        attempt: Attempt,
        reason: RejectReason,
        retry_ms: u32,
        cx: &mut Context<'_>,
    ) {
        let shard = attempt.task.shard;
        match self.claim(link, &attempt) {
            Claim::Live(live) => {
                self.share.had(&live, 0, cx.now);
                let Some(tasks) = self.end_attempt(shard, &live, cx) else { return };
                match reason {
                    RejectReason::Busy => cx.fleet.busy_told(link, cx.now),
                    RejectReason::LoadProbability => {}
                }
                if live.may_reject {
                    let wait_us = 1_000 * u64::from(retry_ms.min(RETRY_MS_MAX));
                    cx.fleet.reluctant_told(link, cx.now.after_us(wait_us));
                    tasks.mark(shard, live.node, Standing::Refused);
                } else {
                    tasks.mark(shard, live.node, Standing::Doubted);
                    count_failure(tasks, shard, reason.to_string(), cx.now);
                }
            }
            Claim::Retired(_) | Claim::Unknown => {}
        }
    }

    /// A node is shutting down and does not take a task: no fault, whether it was allowed to turn it down or not. It gets
    /// nothing more over this link, so that the task need not remember it.
    pub(in crate::engine) fn closing(&mut self, link: LinkKey, attempt: Attempt, cx: &mut Context<'_>) {
        let shard = attempt.task.shard;
        match self.claim(link, &attempt) {
            Claim::Live(live) => {
                if self.end_attempt(shard, &live, cx).is_some() {
                    cx.fleet.closing_told(link);
                }
            }
            Claim::Retired(_) | Claim::Unknown => {}
        }
    }

    /// An attempt failed.
    pub(in crate::engine) fn task_failed(
        &mut self,
        link: LinkKey,
        attempt: Attempt,
        fault: Fault,
        reason: String,
        cx: &mut Context<'_>,
    ) {
        let shard = attempt.task.shard;
        match self.claim(link, &attempt) {
            Claim::Live(live) => {
                let Some(tasks) = self.end_attempt(shard, &live, cx) else { return };
                let standing = match fault {
                    Fault::Retryable => Standing::Doubted,
                    Fault::Final => Standing::Barred,
                    Fault::Malformed => second_chance(tasks, shard, live.node),
                };
                tasks.mark(shard, live.node, standing);
                // What is done elsewhere all the same is not given up for a node that cannot do it now, and is offered another copy.
                if fault == Fault::Retryable && !tasks.task(shard).live.is_empty() {
                    tasks.pause(shard, reason.clone(), cx.now.after_us(PAUSE_US << PAUSE_DOUBLINGS_MAX));
                } else {
                    count_failure(tasks, shard, reason.clone(), cx.now);
                }
                if fault == Fault::Malformed {
                    self.strike(live.node, &reason, cx);
                }
            }
            Claim::Retired(_) | Claim::Unknown => {}
        }
    }

    /// An accepted update is in the sum: its task is done.
    pub(in crate::engine) fn accumulated(&mut self, step: u64, shard: u32, cx: &mut Context<'_>) {
        let job = self.job;
        let Some(tasks) = self.training(step) else { return };
        let Some(won) = tasks.merged(shard) else { return };
        let (others, units) = (tasks.task(shard).live.clone(), tasks.task(shard).units.len() as u32);
        // A node that copies overtake every time would never be known to be slow, and be tried first in every step.
        for overtaken in &others {
            let assignment = (overtaken.started, job, shard, overtaken.number);
            if let Some(begun) = cx.fleet.begun(overtaken.link, assignment) {
                let (elapsed_us, rows) = (cx.now.since_us(begun), tasks.rows(shard));
                cx.fleet.observe_at_least(overtaken.node, job, elapsed_us, rows);
            }
        }
        cx.cancel(tasks, shard);
        // Nor does one that has stopped without a word get the next task before it says one.
        for overtaken in others.iter().filter(|live| live.started < won.attempt.started && live.trained.is_none()) {
            cx.fleet.overtaken(overtaken.link, tasks.attempt(shard, overtaken), overtaken.started, cx.now);
        }
        let culprits = tasks.take_culprits(shard);
        let beside = tasks.take_beside(shard);
        let reason = tasks.task(shard).reason.clone();
        others.iter().for_each(|live| self.profiler.ended(live.link, live.is_copy));
        cx.fleet.task_done(won.attempt.node);
        self.homes.merged(shard, won.attempt.node);
        self.tally.add(&won, units);
        self.revival.merged(won.attempt.started);
        for (live, update) in beside {
            self.compare(&live, step, shard, update, cx);
        }
        for culprit in culprits {
            self.strike(culprit, &reason, cx);
        }
    }

    /// An accepted update cannot be summed: its task is done again.
    ///
    /// No strike yet. A job that diverges yields such updates whoever trains it; the node is to blame only once the task
    /// has been done well ([`Run::accumulated`]).
    pub(in crate::engine) fn update_refused(&mut self, step: u64, shard: u32, reason: String, cx: &mut Context<'_>) {
        let Some(tasks) = self.training(step) else { return };
        let Some(won) = tasks.merge_refused(shard) else { return };
        let node = won.attempt.node;
        let standing = second_chance(tasks, shard, node);
        tasks.mark(shard, node, standing);
        count_failure(tasks, shard, reason.clone(), cx.now);
        self.report(Notice::UpdateRefused { node: won.name, place: self.place_of(shard), reason }, cx);
    }

    /// A task failed everywhere, or too often. Tells whether that settles it: the job is not given up before what is merged
    /// is written down, and who comes meanwhile may do the task.
    pub(super) fn give_up(&mut self, shard: u32, cx: &mut Context<'_>) -> bool {
        if self.specification.operation.on_task_failure == OnTaskFailure::Fail && !self.has_written_steps(cx) {
            return false;
        }
        let Stage::Training { tasks, .. } = &mut self.stage else { return true };
        let reason = tasks.task(shard).reason.clone();
        let blocks = tasks.task(shard).units.clone();
        match self.specification.operation.on_task_failure {
            OnTaskFailure::Fail => {
                self.end(Outcome::Failed(FailReason::TaskFailed { place: self.place_of(shard), reason }))
            }
            // Only those blocks are left out that fail by themselves.
            OnTaskFailure::Skip if blocks.len() > 1 => {
                let parts = tasks.units().cut_evenly(&blocks, blocks.len() as u32);
                tasks.split(shard, parts);
            }
            OnTaskFailure::Skip => {
                tasks.skip(shard);
                self.profiler.skipped(cx.now);
                self.is_step_determined = false;
                self.report(Notice::TaskSkipped { place: self.place_of(shard), reason }, cx);
            }
        }
        true
    }

    /// What people are told a task is.
    pub(super) fn place_of(&self, shard: u32) -> Place {
        let tasks = match &self.stage {
            Stage::Training { tasks, .. } | Stage::Merging { tasks, .. } => Some(tasks),
            Stage::Preparing | Stage::Validating | Stage::Testing { .. } => None,
        };
        self.place_in(tasks, shard)
    }

    fn place_in(&self, tasks: Option<&StepTasks>, shard: u32) -> Place {
        let step = tasks.map_or(0, StepTasks::step);
        match tasks.filter(|tasks| tasks.units().are_blocks()) {
            Some(tasks) => {
                let units = &tasks.task(shard).units;
                Place::Blocks { step, first: units.start, last: units.end - 1 }
            }
            None => Place::Shard { round: self.plan.round_of(step), shard },
        }
    }

    /// The tasks of the step under way, if they are out and it is this one.
    fn training(&mut self, step: u64) -> Option<&mut StepTasks> {
        match &mut self.stage {
            Stage::Training { tasks, .. } if tasks.step() == step => Some(tasks),
            _ => None,
        }
    }

    /// Whose a result is: of the step under way, or of the one before.
    fn claim(&self, link: LinkKey, attempt: &Attempt) -> Claim {
        self.tasks_known(attempt.task.step).map_or(Claim::Unknown, |tasks| tasks.claim(link, attempt))
    }

    fn tasks_known(&self, step: u64) -> Option<&StepTasks> {
        let current = match &self.stage {
            Stage::Training { tasks, .. } | Stage::Merging { tasks, .. } => Some(tasks),
            Stage::Preparing | Stage::Validating | Stage::Testing { .. } => None,
        };
        current.into_iter().chain(&self.past).find(|tasks| tasks.step() == step)
    }

    /// An attempt of the step under way, as its node's book has it.
    pub(super) fn assignment(&self, shard: u32, live: &Live) -> Assignment {
        (live.started, self.job, shard, live.number)
    }

    /// Takes an attempt off its node; the tasks of its step.
    fn end_attempt(&mut self, shard: u32, live: &Live, cx: &mut Context<'_>) -> Option<&mut StepTasks> {
        let Stage::Training { tasks, .. } = &mut self.stage else { return None };
        cx.release(tasks, shard, live);
        self.profiler.ended(live.link, live.is_copy);
        Some(tasks)
    }

    /// A result of a task that has one already: the two must be the same.
    fn compare(&mut self, live: &Live, step: u64, shard: u32, update: Digest, cx: &mut Context<'_>) {
        if self.training(step).is_some_and(|tasks| tasks.keep_beside(shard, *live, update)) {
            return;
        }
        let Some(won) = self.tasks_known(step).and_then(|tasks| tasks.task(shard).won()).cloned() else {
            *cx.stale_results += 1;
            return;
        };
        self.tally.duplicates += 1;
        // Another arithmetic rounds otherwise: nothing follows from a difference.
        if won.result.update == update || !won.attempt.exact || !live.exact {
            return;
        }
        self.doubt(step);
        let notice = Notice::DigestMismatch {
            place: self.place_in(self.tasks_known(step), shard),
            merged_name: won.name,
            merged: won.result.update,
            other_name: cx.fleet.name(live.node),
            other: update,
        };
        self.report(notice, cx);
    }

    /// Counts a bad result; after a few the node gets no more work.
    fn strike(&mut self, node: NodeKey, reason: &str, cx: &mut Context<'_>) {
        if !cx.fleet.strike(node, cx.settings.strikes_max) {
            return;
        }
        let notice = Notice::Quarantined { name: cx.fleet.name(node), reason: reason.to_owned() };
        self.report(notice, cx);
        cx.actions.push(Action::StopDialling { node });
        let Some(lost) = cx.fleet.link_of(node).map(|link| link.key).and_then(|link| cx.fleet.link_down(link)) else {
            return;
        };
        self.link_lost(&lost, cx.now);
        cx.actions.push(Action::DropLink { link: lost.link, reason: format!("quarantined: {reason}") });
        cx.lost.push((self.job, lost));
    }
}

/// A node's standing after a bad result: once may be chance.
fn second_chance(tasks: &StepTasks, shard: u32, node: NodeKey) -> Standing {
    match tasks.task(shard).standing(node) {
        Some(Standing::Doubted | Standing::Barred) => Standing::Barred,
        Some(Standing::Refused) | None => Standing::Doubted,
    }
}

/// Counts a failure, and makes the pause before doubted nodes are asked again twice as long.
fn count_failure(tasks: &mut StepTasks, shard: u32, reason: String, now: Time) {
    let doublings = tasks.task(shard).failures.min(PAUSE_DOUBLINGS_MAX);
    tasks.count_failure(shard, reason, now.after_us(PAUSE_US << doublings));
}
