//! Results that nodes held while their links were cut or the coordinator was away. Owns which task goes to a node because
//! of that, and how long a job that goes on waits to hear of them; does not know how a task is sent (`attempts`).
//!
//! What a node says here is believed no further than this: it gets a task that it could have got anyway.

use std::collections::BTreeSet;

use super::placement::Terms;
use super::{Run, Stage};
use crate::engine::context::Context;
use crate::engine::nodes::LinkKey;
use crate::engine::time::Time;
use crate::job::CachedResult;

/// A job that goes on after the coordinator's end waits so long after the first node is there: tasks that were handed out
/// before all have told what they hold would be trained twice.
const WAIT_US: u64 = 250_000;

/// A link, and what its node holds.
pub(in crate::engine) type HeldByLink = (LinkKey, Vec<CachedResult>);

/// Who has told, and until when the others are waited for.
#[derive(Default)]
pub(in crate::engine) struct Returning {
    heard: BTreeSet<LinkKey>,
    /// Once a node is there.
    until: Option<Time>,
}

impl Run {
    /// A node told what it holds.
    pub(in crate::engine) fn results_held(&mut self, link: LinkKey, held: Vec<CachedResult>, cx: &mut Context<'_>) {
        if let Some(returning) = &mut self.returning {
            returning.heard.insert(link);
        }
        // The next cut of a step's blocks is another one, and they are done again sooner than asked for.
        if self.plan.merges_gradients() {
            return;
        }
        // A node may come and go as it likes: no more is kept than of those that are there.
        self.told.retain(|(link, _)| cx.fleet.node_of(*link).is_some());
        self.told.push((link, held));
        self.place_told(cx);
    }

    /// Looks at what nodes hold of the step. What they hold of later ones is kept: the coordinator may have ended before
    /// it wrote down what it had merged.
    pub(in crate::engine) fn place_told(&mut self, cx: &mut Context<'_>) {
        let Stage::Training { tasks, .. } = &self.stage else { return };
        let step = tasks.step();
        for (link, mut held) in std::mem::take(&mut self.told) {
            self.place_held(link, &held, cx);
            held.retain(|result| result.step > step);
            if !held.is_empty() {
                self.told.push((link, held));
            }
        }
    }

    /// Whether pending tasks are not handed out yet, because some node may hold their results.
    pub(in crate::engine) fn awaits_held_results(&mut self, cx: &Context<'_>) -> bool {
        if self.plan.merges_gradients() {
            return false;
        }
        let Some(returning) = &mut self.returning else { return false };
        let until = *returning.until.get_or_insert(cx.now.after_us(WAIT_US));
        let has_told = |link: Option<LinkKey>| link.is_some_and(|link| returning.heard.contains(&link));
        if cx.now >= until || cx.fleet.expected().all(has_told) {
            self.returning = None;
            return false;
        }
        self.wake_at(until);
        true
    }

    /// Sends a node the pending tasks whose results it holds, however many it has: they cost it nothing.
    fn place_held(&mut self, link: LinkKey, held: &[CachedResult], cx: &mut Context<'_>) {
        for &CachedResult { step, shard, base } in held {
            let Stage::Training { tasks, base: wanted, .. } = &self.stage else { return };
            let Some(node) = cx.fleet.taker(link, self.job) else { return };
            let is_wanted = step == tasks.step() && base == *wanted;
            if is_wanted && tasks.all().get(shard as usize).is_some_and(|task| task.may_go_to(node)) {
                self.dispatch(shard, node, Terms { may_reject: false, is_held: true }, cx);
            }
        }
    }
}
