//! Where a running job's time goes: every moment from its start to its last validation counts to exactly one part of its
//! [`Profile`]. Owns the stopwatch; does not know tasks, policies or why anything happens, only that it does and when.
//!
//! A step's tasks are out from its start until its last result (or until the last task is skipped, if that comes later).
//! That span is cut into four. Whether a node is missing, and whether a node waits for others, is known at every moment.
//! What a node trained is known only afterwards, from what it says; of that, what counts is the node whose result came
//! last, for the step took as long as that node did. What is left is the way of the bytes, and all that is not training.
//!
//! An event costs O(1), a step's end as much as the last node had results in it.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::nodes::LinkKey;
use super::time::Time;
use crate::job::Profile;

/// What keeps a step from being done, as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// A task is to be handed out, and no node is there that could take it.
    Nodes,
    /// A task is to be handed out.
    Tasks,
    /// Every task that is left is with a node, or with the coordinator.
    Results,
}

/// A job's stopwatch.
pub(super) struct Profiler {
    told: Profile,
    /// Up to here all time is in `told`.
    since: Time,
    step: Option<Step>,
}

impl Profiler {
    /// The job begins, or goes on after `told`.
    pub(super) fn start(told: Profile, now: Time) -> Profiler {
        Profiler { told, since: now, step: None }
    }

    /// Where the time went until the last step was merged.
    pub(super) fn told(&self) -> Profile {
        self.told
    }

    /// The first weights are there.
    pub(super) fn prepared(&mut self, now: Time) {
        self.told.prepare_us += self.pass(now);
    }

    /// A step's tasks can be handed out.
    pub(super) fn step_begins(&mut self, now: Time) {
        debug_assert_eq!(self.since, now, "time has passed that counts to nothing");
        self.step = Some(Step::new(now));
    }

    /// An attempt is sent. A copy is no work that there was to do: who trains it waits for a straggler like the idle.
    pub(super) fn sent(&mut self, link: LinkKey, is_copy: bool) {
        if let Some(step) = self.step.as_mut().filter(|_| !is_copy) {
            step.change(link, |activity| activity.out += 1);
        }
    }

    /// An attempt that was sent over a link that is up has ended.
    pub(super) fn ended(&mut self, link: LinkKey, is_copy: bool) {
        if let Some(step) = self.step.as_mut().filter(|_| !is_copy) {
            step.change(link, |activity| activity.out -= 1);
        }
    }

    /// A link went down, and with it what was out over it.
    pub(super) fn lost(&mut self, link: LinkKey, now: Time) {
        if let Some(step) = &mut self.step
            && step.activity.contains_key(&link)
        {
            step.change(link, |activity| {
                activity.out = 0;
                activity.is_gone = true;
            });
            step.look(now);
        }
    }

    /// A result of an attempt that was sent at `started` has come, for which the node trained until `ended`, and so long by
    /// its own account: it is believed as far as the time allows.
    pub(super) fn trained(&mut self, link: LinkKey, started: Time, train_us: u64, ended: Time) {
        let Some(step) = &mut self.step else { return };
        let start = Time(ended.0.saturating_sub(train_us)).max(started).max(step.began);
        step.change(link, |activity| activity.trained.add(Span { start, end: ended }));
    }

    /// The result that came last over `link` is the first of its task.
    pub(super) fn accepted(&mut self, link: LinkKey, now: Time) {
        if let Some(step) = &mut self.step {
            step.last = Some(link);
            step.last_at = now;
        }
    }

    /// A task is left out of the step.
    pub(super) fn skipped(&mut self, now: Time) {
        if let Some(step) = &mut self.step {
            step.last_at = now;
        }
    }

    /// What the step needs from now on.
    pub(super) fn needs(&mut self, need: Need, now: Time) {
        if let Some(step) = &mut self.step {
            step.need = need;
            step.look(now);
        }
    }

    /// Nothing keeps the step from being merged but validations that are not done.
    pub(super) fn held_up(&mut self, now: Time) {
        if let Some(step) = &mut self.step {
            step.held_at.get_or_insert(now);
        }
    }

    /// Every task is merged or skipped, and the sum is being divided.
    pub(super) fn step_ends(&mut self, now: Time) {
        let Some(step) = self.step.take() else { return };
        let held_at = step.held_at.unwrap_or(now);
        self.told.validate_us += now.since_us(held_at);
        self.told.merge_us += held_at.since_us(step.last_at);
        step.close(&mut self.told);
        self.since = now;
    }

    /// The step under way counts for nothing: only a validation was left to wait for since it began.
    pub(super) fn step_dropped(&mut self) {
        self.step = None;
    }

    /// The weights that came of a step are there.
    pub(super) fn merged(&mut self, now: Time) {
        self.told.merge_us += self.pass(now);
    }

    /// The last round is validated: the job is done.
    pub(super) fn done(&mut self, now: Time) -> Profile {
        self.told.validate_us += self.pass(now);
        self.told
    }

    /// Attempts that are out and no copies, for the invariants.
    pub(super) fn out(&self) -> usize {
        self.step.iter().flat_map(|step| step.activity.values()).map(|activity| activity.out as usize).sum()
    }

    /// The time that is not yet in `told`; from now on it is.
    fn pass(&mut self, now: Time) -> u64 {
        now.since_us(std::mem::replace(&mut self.since, now))
    }
}

/// The step whose tasks are out.
struct Step {
    began: Time,
    /// When the last result came that counts, or the last task was skipped.
    last_at: Time,
    /// Whose result that was.
    last: Option<LinkKey>,
    held_at: Option<Time>,
    activity: BTreeMap<LinkKey, LinkActivity>,
    /// Nodes that have trained for the step and have nothing to do.
    idle: usize,
    need: Need,
    state: Phase,
    since: Time,
    no_nodes: Spans,
    straggling: Spans,
}

/// Which list the present moment belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    NoNodes,
    Straggling,
    /// None.
    Working,
}

/// What a connection to a node has done for the step.
#[derive(Default)]
struct LinkActivity {
    out: u32,
    is_gone: bool,
    trained: Spans,
}

impl LinkActivity {
    fn is_idle(&self) -> bool {
        self.out == 0 && !self.is_gone && !self.trained.0.is_empty()
    }
}

impl Step {
    fn new(now: Time) -> Step {
        Step {
            began: now,
            last_at: now,
            last: None,
            held_at: None,
            activity: BTreeMap::new(),
            idle: 0,
            need: Need::Tasks,
            state: Phase::Working,
            since: now,
            no_nodes: Spans::default(),
            straggling: Spans::default(),
        }
    }

    fn change(&mut self, link: LinkKey, change: impl FnOnce(&mut LinkActivity)) {
        let activity = self.activity.entry(link).or_default();
        self.idle -= usize::from(activity.is_idle());
        change(activity);
        self.idle += usize::from(activity.is_idle());
    }

    /// Notes to which list the time from now on belongs.
    fn look(&mut self, now: Time) {
        let state = match self.need {
            Need::Nodes => Phase::NoNodes,
            Need::Results if self.idle > 0 => Phase::Straggling,
            Need::Tasks | Need::Results => Phase::Working,
        };
        if state != self.state {
            self.enter(state, now);
        }
    }

    fn enter(&mut self, state: Phase, now: Time) {
        let span = Span { start: self.since, end: now };
        match self.state {
            Phase::NoNodes => self.no_nodes.add(span),
            Phase::Straggling => self.straggling.add(span),
            Phase::Working => {}
        }
        self.state = state;
        self.since = now;
    }

    /// Cuts the span in which the tasks were out.
    fn close(mut self, told: &mut Profile) {
        // The present state lasts at least until the last result, and is cut off there like the others.
        self.enter(Phase::Working, self.last_at.max(self.since));
        let mut trained = self.last.and_then(|link| self.activity.remove(&link)).unwrap_or_default().trained;
        for spans in [&mut trained, &mut self.no_nodes, &mut self.straggling] {
            spans.cut_off(self.last_at);
        }
        let compute_us = trained.us() - trained.common_us(&self.no_nodes) - trained.common_us(&self.straggling);
        let (no_nodes_us, stragglers_us) = (self.no_nodes.us(), self.straggling.us());
        told.compute_us += compute_us;
        told.no_nodes_us += no_nodes_us;
        told.stragglers_us += stragglers_us;
        told.wire_us += self.last_at.since_us(self.began) - compute_us - no_nodes_us - stragglers_us;
    }
}

/// A stretch of time; `end` is no part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    start: Time,
    end: Time,
}

impl Span {
    fn us(&self) -> u64 {
        self.end.since_us(self.start)
    }
}

/// Stretches of time in order, with something between them.
#[derive(Debug, Default)]
struct Spans(Vec<Span>);

impl Spans {
    /// Adds a stretch: what it touches becomes one with it.
    fn add(&mut self, mut added: Span) {
        let first = self.0.partition_point(|span| span.end < added.start);
        let end = self.0.partition_point(|span| span.start <= added.end);
        for touched in &self.0[first..end] {
            added.start = added.start.min(touched.start);
            added.end = added.end.max(touched.end);
        }
        self.0.splice(first..end, [added]);
    }

    fn cut_off(&mut self, end: Time) {
        while self.0.last().is_some_and(|last| last.start >= end) {
            self.0.pop();
        }
        if let Some(last) = self.0.last_mut() {
            last.end = last.end.min(end);
        }
    }

    fn us(&self) -> u64 {
        self.0.iter().map(Span::us).sum()
    }

    /// How much of these and of those is the same time.
    fn common_us(&self, others: &Spans) -> u64 {
        let (mut these, mut those) = (self.0.iter().peekable(), others.0.iter().peekable());
        let mut common_us = 0;
        while let (Some(this), Some(that)) = (these.peek(), those.peek()) {
            common_us += this.end.min(that.end).since_us(this.start.max(that.start));
            if this.end <= that.end {
                these.next();
            } else {
                those.next();
            }
        }
        common_us
    }
}
