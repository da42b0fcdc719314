//! From a pending task to one that is out: tasks are cut, handed to nodes, and copied where they take long. Owns when each is looked at;
//! does not know what a policy prefers (`scheduler`), nor what a result means (`attempts`).

use rand::Rng as _;
use rand::rngs::ChaCha8Rng;

use super::{Run, Stage};
use crate::engine::context::Context;
use crate::engine::events::Action;
use crate::engine::nodes::NodeKey;
use crate::engine::pace::Pace;
use crate::engine::report::Notice;
use crate::engine::scheduler::{Choice, Policy, View};
use crate::engine::shares::{Shares, Step};
use crate::engine::step_tasks::{Live, StepTasks};

/// Slow tasks that are looked at in one go, the slowest first: a queue of thousands must not be walked at every event.
const COPIES_AT_ONCE_MAX: usize = 64;
/// So few are looked at whenever anything happens. A look at more takes longer than all else that is decided, and one in so long is
/// enough: no task is late before it has been out for twenty times that.
const COPIES_AT_EACH_EVENT: usize = 8;
const COPIES_LOOK_EVERY_US: u64 = 1_000;

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
                    let before = |shard| units.before(&blocks, shard);
                    let step = Step { count: blocks.len() as u32, block_rows, before: &before };
                    let shares = shares.of(&step, &workers, elapsed_us);
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

    /// Starts a copy of each task that takes longer than expected, as long as idle nodes are there; and another where the copy does,
    /// too: its node may be as silent as the first.
    pub(in crate::engine) fn copy_slow_tasks(&mut self, cx: &mut Context<'_>) {
        let Stage::Training { tasks, .. } = &self.stage else { return };
        if tasks.has_pending() {
            return;
        }
        // Whoever makes a copy may have to be sent the rows first.
        let fetch_us = self.shares.copy_us(tasks.all().len());
        let count = tasks.count_out();
        if count > 0 {
            self.wake_at_offers(cx);
        }
        if count > COPIES_AT_EACH_EVENT && self.view(cx).0.has_idle() {
            let next = self.copies_looked_for.after_us(COPIES_LOOK_EVERY_US);
            if cx.now < next {
                return self.wake_at(next);
            }
            self.copies_looked_for = cx.now;
        }
        let Stage::Training { tasks, .. } = &self.stage else { return };
        for shard in tasks.out(COPIES_AT_ONCE_MAX) {
            if !self.view(cx).0.has_idle() {
                return;
            }
            let Stage::Training { tasks, .. } = &self.stage else { return };
            let (task, rows) = (tasks.task(shard), tasks.rows(shard));
            let Some(slow) = task.live.last().copied() else { continue };
            // One that another job's tasks keep from its worker is not late. Once they are done it is looked at again.
            let Some(begun) = cx.fleet.begun(slow.link, self.assignment(shard, &slow)) else { continue };
            let expected_us = cx.fleet.expected_us(slow.node, self.job, rows);
            // Each is waited for longer than the one before, or the copies of a task that takes everybody long would be everywhere.
            let (is_half_done, attempts) = (tasks.is_half_settled(), task.live.len() as u64);
            let limit_us = |expected_us, attempts| {
                let slow_after_us = self.pace.slow_after_us(expected_us, is_half_done);
                slow_after_us.saturating_add(fetch_us as u64).saturating_mul(attempts)
            };
            let slow_at = begun.after_us(limit_us(expected_us, attempts));
            // Of a node that is known to be slow nobody waits to see that it is.
            let left_us = expected_us.map(|expected_us| expected_us - cx.now.since_us(begun) as f64);
            let copy_us =
                cx.fleet.roster(self.job).least_free_us().map(|us_per_row| us_per_row * f64::from(rows) + fetch_us);
            // The fastest that is free may have it already, where it has been copied.
            let is_worth_it = task.live.len() == 1
                && left_us.zip(copy_us).is_some_and(|(left_us, copy_us)| Pace::is_worth_a_copy(left_us, copy_us));
            if cx.now < slow_at && !is_worth_it {
                self.wake_at(slow_at);
                continue;
            }
            let (view, rng) = self.view(cx);
            let Some((node, may_reject)) = view.choose_copy(task, rows, rng) else { continue };
            let waited_us = cx.now.since_us(begun);
            let copy_slow_at = cx.now.after_us(limit_us(cx.fleet.expected_us(node, self.job, rows), attempts + 1));
            let (slow, name) = (cx.fleet.name(slow.node), cx.fleet.name(node));
            self.report(Notice::Speculating { place: self.place_of(shard), slow, name, waited_us }, cx);
            self.dispatch(shard, node, Terms { may_reject, is_held: false }, cx);
            self.wake_at(copy_slow_at);
        }
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
}
