//! Orphans: tasks in training whose link has ended. Each has a lease. A coordinator that was cut off finds its task where it was;
//! one that never comes back does not hold a worker that others wait for, and holds none for ever. Owns the lease; what an
//! orphan leads to if it is done in time is `results`'.

use std::time::Duration;

use super::Core;
use super::events::{Action, Content, Moment, Note, TaskKey};
use super::table::{Stage, Task};

impl<C: Content> Core<C> {
    /// When the core wants to hear [`Event::Tick`](super::Event::Tick), unless it hears of something else before.
    pub fn next_deadline(&self) -> Option<Moment> {
        let (orphaned_at, _) = self.orphans().min()?;
        let age_max = self.settings.orphan_age_max.max(self.settings.orphan_lease);
        let lease = match self.wants_a_worker() {
            // Nobody can come for them: a node that ends takes no task.
            _ if self.is_draining => Duration::ZERO,
            true => self.settings.orphan_lease,
            false => age_max,
        };
        Some(orphaned_at.saturating_add(lease))
    }

    /// Stops the orphans whose time is over: the oldest first, as many as tasks wait for a worker, and all that are too old. All,
    /// where the node ends.
    pub(super) fn give_up_orphans(&mut self, now: Moment, actions: &mut Vec<Action<C>>) {
        while self.next_deadline().is_some_and(|deadline| deadline <= now)
            && let Some((_, oldest)) = self.orphans().min()
        {
            if let Some(task) = self.table.get(oldest) {
                actions.push(Action::Tell { attempt: task.attempt, note: Note::GivenUp });
            }
            self.stop_running(oldest, actions);
        }
    }

    /// Tasks in workers that nobody asks for any more, and that stop, or will for whoever needs a worker.
    pub(super) fn outlived(&self, now: Moment) -> usize {
        let is_over = |orphaned_at: Moment| orphaned_at.saturating_add(self.settings.orphan_lease) <= now;
        let over = self.orphans().filter(|(orphaned_at, _)| is_over(*orphaned_at)).count();
        over + self.stopping_orphans()
    }

    /// Whether more tasks wait for a worker than there are orphans that make room.
    fn wants_a_worker(&self) -> bool {
        self.table.queued() > self.stopping_orphans()
    }

    /// Since when, and what. Without those that stop.
    fn orphans(&self) -> impl Iterator<Item = (Moment, TaskKey)> {
        let running = self.table.running().iter();
        running.filter_map(|key| Some((self.table.get(*key)?.orphaned_at()?, *key)))
    }

    fn stopping_orphans(&self) -> usize {
        let is_it =
            |task: &Task<C>| task.to.is_none() && matches!(task.stage, Stage::Running { is_stopping: true, .. });
        self.table.running().iter().filter(|key| self.table.get(**key).is_some_and(is_it)).count()
    }
}

impl<C: Content> Task<C> {
    /// Since when it has been trained for nobody, if it is: for whoever asks for it.
    pub(super) fn orphaned_at(&self) -> Option<Moment> {
        match self.stage {
            Stage::Running { is_stopping: false, orphaned_at } => orphaned_at,
            _ => None,
        }
    }
}
