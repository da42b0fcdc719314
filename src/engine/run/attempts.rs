//! From a pending task to a merged one: handing tasks to nodes, copies of slow ones, results, failures, bad results. Owns
//! what a result or failure means for its task and its node; does not know the job's stages (`run`) beyond the tasks.

use rand::Rng as _;
use rand::rngs::ChaCha8Rng;

use super::{Run, Stage};
use crate::digest::Digest;
use crate::engine::context::Context;
use crate::engine::events::{Action, Fault};
use crate::engine::link::Assignment;
use crate::engine::nodes::{LinkKey, NodeKey};
use crate::engine::pace::Pace;
use crate::engine::report::Notice;
use crate::engine::scheduler::{Choice, Policy, View};
use crate::engine::shares::Shares;
use crate::engine::step_tasks::{Claim, Live, Standing, StepTasks, TaskState, Won};
use crate::engine::time::Time;
use crate::job::{Attempt, FailReason, OnTaskFailure, Outcome, Place, RejectReason, TaskResult};

/// The first pause before a doubted node is asked again; each further failure doubles it.
const PAUSE_US: u64 = 50_000;
/// Slow tasks that are looked at in one go, the slowest first: a queue of thousands must not be walked at every event.
const COPIES_AT_ONCE_MAX: usize = 64;
/// Doublings of the pause, at most: 3.2 s.
const PAUSE_DOUBLINGS_MAX: u32 = 6;

/// A node is believed that it wants nothing for so long, at most.
const RETRY_MS_MAX: u32 = 60_000;

/// How a task is sent.
#[derive(Clone, Copy)]
pub(in crate::engine) struct Terms {
    /// Whether the node may turn it down.
    pub(in crate::engine) may_reject: bool,
    /// Whether the node said that it holds the result.
    pub(in crate::engine) is_held: bool,
}

impl Run {
    /// Hands pending tasks to nodes. At least one node is there.
    pub(in crate::engine) fn place_pending(&mut self, cx: &mut Context<'_>) {
        self.place_what_can_be(cx);
        // Where nobody works, nobody waits for those who have not answered.
        let is_nothing_out =
            |run: &Run| run.step_tasks().is_some_and(|tasks| tasks.has_pending() && tasks.live().next().is_none());
        if !self.is_over() && cx.fleet.has_overtaken() && is_nothing_out(self) && cx.fleet.is_nothing_out() {
            cx.fleet.forgive_all();
            self.place_what_can_be(cx);
        }
    }

    fn place_what_can_be(&mut self, cx: &mut Context<'_>) {
        self.cut_pending(cx);
        let Stage::Training { tasks, .. } = &self.stage else { return };
        for shard in tasks.marked() {
            let Stage::Training { tasks, .. } = &self.stage else { return };
            if self.is_over() {
                return;
            }
            if tasks.task(shard).failures > cx.settings.attempts_max {
                self.give_up(shard, cx);
            } else {
                self.place(shard, cx);
            }
        }
        let has_homes = self.has_homes(cx);
        if has_homes {
            self.place_at_home(cx);
        }
        // What makes one fresh task wait makes all of them wait.
        while !self.is_over()
            && self.view(cx).0.has_room()
            && let Some(shard) = if has_homes { self.next_away(cx) } else { self.first_fresh() }
            && self.place(shard, cx)
        {}
    }

    fn first_fresh(&self) -> Option<u32> {
        let Stage::Training { tasks, .. } = &self.stage else { return None };
        tasks.first_fresh()
    }

    /// Cuts pending blocks for the workers that are there, and sends each its own, where the policy has no say in that.
    fn cut_pending(&mut self, cx: &mut Context<'_>) {
        let Stage::Training { tasks, .. } = &mut self.stage else { return };
        let uncut = tasks.uncut();
        if uncut.is_empty() {
            return;
        }
        let wanted = self.specification.operation.tasks_per_step;
        let elapsed_us = cx.now.since_us(self.tally.started);
        let mut workers =
            if wanted.is_some() { Vec::new() } else { cx.fleet.workers(self.job, cx.now, self.shares.is_sticky()) };
        if let [number] = uncut[..]
            && wanted.is_none()
            && tasks.task(number).units.len() as u32 == tasks.units().count()
        {
            let fewest = self.shares.fewest(&workers, elapsed_us);
            workers = self.width.choose(workers, tasks.rows(number), fewest);
        }
        let mut sends = Vec::new();
        for number in uncut {
            let blocks = tasks.task(number).units.clone();
            let units = tasks.units();
            match (wanted, cx.settings.policy) {
                // A part of a step that was out has its share of the tasks.
                (Some(wanted), _) => {
                    let share = (u64::from(wanted) * blocks.len() as u64).div_ceil(units.count().into());
                    let parts = units.cut_evenly(&blocks, share as u32);
                    tasks.split(number, parts);
                }
                (None, Policy::Random) => {
                    let parts = units.cut_evenly(&blocks, workers.len() as u32);
                    tasks.split(number, parts);
                }
                (None, Policy::LoadBalancing) => {
                    let block_rows = units.block_rows(&blocks);
                    // What is left of a node that is lost tells nothing of whole steps.
                    let mut at_once = Shares::default();
                    let is_whole = blocks.len() as u32 == units.count();
                    let shares = if is_whole { &mut self.shares } else { &mut at_once };
                    let shares = shares.of(blocks.len() as u32, block_rows, &workers, elapsed_us);
                    let (nodes, parts): (Vec<_>, Vec<_>) = units.cut(&blocks, &workers, &shares).into_iter().unzip();
                    sends.extend(nodes.into_iter().zip(tasks.split(number, parts)).map(|(node, task)| (task, node)));
                }
            }
        }
        for (task, node) in sends {
            // One whose node is busy after all, or wants none now, has its turn as any other.
            if cx.fleet.is_willing(node, self.job, cx.now) {
                self.dispatch(task, node, Terms { may_reject: true, is_held: false }, cx);
            }
        }
    }

    /// Starts a copy of each task that takes longer than expected, as long as idle nodes are there.
    pub(in crate::engine) fn copy_slow_tasks(&mut self, cx: &mut Context<'_>) {
        let Stage::Training { tasks, .. } = &self.stage else { return };
        if tasks.has_pending() {
            return;
        }
        // Whoever makes a copy may have to be sent the rows first.
        let fetch_us =
            if self.shares.is_sticky() { self.shares.fetch_us(1.0 / tasks.all().len().max(1) as f64) } else { 0.0 };
        let oldest = tasks.alone(COPIES_AT_ONCE_MAX);
        if !oldest.is_empty() {
            self.wake_at_offers(cx);
        }
        for shard in oldest {
            if !self.view(cx).0.has_idle() {
                return;
            }
            let Stage::Training { tasks, .. } = &self.stage else { return };
            let (task, rows) = (tasks.task(shard), tasks.rows(shard));
            debug_assert!(task.is_alone());
            let Some(slow) = task.live.first().copied() else { continue };
            // One that another job's tasks keep from its worker is not late. Once they are done it is looked at again.
            let Some(begun) = cx.fleet.begun(slow.link, self.assignment(shard, &slow)) else { continue };
            let expected_us = cx.fleet.expected_us(slow.node, self.job, rows);
            let limit_us =
                self.pace.copy_after_us(expected_us, tasks.is_half_settled()).saturating_add(fetch_us as u64);
            // Of a node that is known to be slow nobody waits to see that it is.
            let left_us = expected_us.map(|expected_us| expected_us - cx.now.since_us(begun) as f64);
            let copy_us =
                cx.fleet.roster(self.job).least_free_us().map(|us_per_row| us_per_row * f64::from(rows) + fetch_us);
            let is_worth_it =
                left_us.zip(copy_us).is_some_and(|(left_us, copy_us)| Pace::is_worth_a_copy(left_us, copy_us));
            if cx.now < begun.after_us(limit_us) && !is_worth_it {
                self.wake_at(begun.after_us(limit_us));
                continue;
            }
            let (view, rng) = self.view(cx);
            let Some((node, may_reject)) = view.choose_copy(task, rows, rng) else { continue };
            let waited_us = cx.now.since_us(begun);
            let (slow, name) = (cx.fleet.name(slow.node), cx.fleet.name(node));
            self.report(Notice::Speculating { place: self.place_of(shard), slow, name, waited_us }, cx);
            self.dispatch(shard, node, Terms { may_reject, is_held: false }, cx);
        }
    }

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
            Claim::Forged(live) => {
                cx.actions.push(discard);
                self.forged(shard, &live, cx);
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
            Claim::Forged(live) => self.forged(shard, &live, cx),
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
            Claim::Forged(live) => self.forged(shard, &live, cx),
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
                count_failure(tasks, shard, reason.clone(), cx.now);
                if fault == Fault::Malformed {
                    self.strike(live.node, &reason, cx);
                }
            }
            Claim::Forged(live) => self.forged(shard, &live, cx),
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
        for overtaken in others.iter().filter(|live| !live.is_copy && live.trained.is_none()) {
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

    /// What a choice of a node depends on, and the source of random choices.
    fn view<'a>(&'a self, cx: &'a mut Context<'_>) -> (View<'a>, &'a mut ChaCha8Rng) {
        let is_half_done = self.step_tasks().is_some_and(StepTasks::is_half_settled);
        let (policy, job, pace) = (cx.settings.policy, self.job, &self.pace);
        let view = View { now: cx.now, policy, fleet: cx.fleet, job, pace, is_half_done };
        (view, cx.rng)
    }

    /// Sends a pending task if a node takes it now; tells whether it is no longer pending.
    fn place(&mut self, shard: u32, cx: &mut Context<'_>) -> bool {
        let Stage::Training { tasks, .. } = &self.stage else { return false };
        let (task, rows) = (tasks.task(shard), tasks.rows(shard));
        let (view, rng) = self.view(cx);
        match view.choose(task, rows, rng) {
            Choice::Send { node, may_reject } => {
                self.dispatch(shard, node, Terms { may_reject, is_held: false }, cx);
                true
            }
            Choice::Wait { until } => {
                until.into_iter().for_each(|until| self.wake_at(until));
                self.wake_at_offers(cx);
                false
            }
            Choice::Nowhere => self.give_up(shard, cx),
        }
    }

    /// Has a look when the first node that wants no offers now may be made some again.
    fn wake_at_offers(&mut self, cx: &Context<'_>) {
        cx.fleet.reluctant_until(self.job, cx.now).into_iter().for_each(|until| self.wake_at(until));
    }

    /// Sends an open task to a node.
    pub(in crate::engine) fn dispatch(&mut self, shard: u32, node: NodeKey, terms: Terms, cx: &mut Context<'_>) {
        let Terms { may_reject, is_held } = terms;
        let Stage::Training { tasks, base, .. } = &mut self.stage else { return };
        let Some(link) = cx.fleet.link_of(node) else { return };
        // Where it waits for tasks of other jobs, the node is as busy as it is meant to be.
        let may_reject = may_reject && link.has_free_worker();
        let expected_us = cx.fleet.training_us(node, self.job, tasks.rows(shard)).filter(|_| !is_held);
        let is_copy = !tasks.task(shard).live.is_empty();
        let live = tasks.begin_attempt(
            shard,
            Live {
                node,
                link: link.key,
                number: 0,
                token: cx.rng.next_u64(),
                started: cx.now,
                trained: None,
                exact: link.computes(self.needs.arithmetic),
                may_reject,
                is_copy,
                is_held,
                charged_us: expected_us.unwrap_or_default() as u64,
            },
        );
        self.share.sent(&live, cx.now);
        self.profiler.sent(live.link, is_copy);
        cx.fleet.assign(live.link, (live.started, self.job, shard, live.number));
        let (attempt, rows) = (tasks.attempt(shard, &live), tasks.task_rows(shard));
        cx.actions.push(Action::Dispatch { link: live.link, attempt, rows, base: *base, may_reject });
    }

    /// A task failed everywhere, or too often. Tells whether that settles it: the job is not given up before what is merged
    /// is written down, and who comes meanwhile may do the task.
    fn give_up(&mut self, shard: u32, cx: &mut Context<'_>) -> bool {
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
    fn place_of(&self, shard: u32) -> Place {
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
    fn assignment(&self, shard: u32, live: &Live) -> Assignment {
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

    /// A node speaks of an attempt of its own, but does not know the token.
    fn forged(&mut self, shard: u32, live: &Live, cx: &mut Context<'_>) {
        let reason = "the answer's token is not the task's";
        let Some(tasks) = self.end_attempt(shard, live, cx) else { return };
        let standing = second_chance(tasks, shard, live.node);
        tasks.mark(shard, live.node, standing);
        count_failure(tasks, shard, reason.to_owned(), cx.now);
        self.strike(live.node, reason, cx);
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
