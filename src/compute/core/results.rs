//! What was trained before, or is being trained for nobody, and who gets it. Owns the rules of the result cache and of
//! trainings whose link has ended; does not know how a task gets to a worker.
//!
//! A result stays in the cache until a task of a later step of its job comes, for then the earlier step is merged; or until
//! newer ones take its place. It is given to another link than the one that has it: who asks again over the same link is not
//! content with what it got, and the task is trained again.

use super::Core;
use super::events::{Action, Content, Identity, LinkKey, Note, Recipient, TaskKey, TrainedUpdate};
use super::table::{Stage, Task};
use crate::job::{CachedResult, JobId, TaskId};

impl<C: Content> Core<C> {
    /// A task of a step says that the earlier ones of its job are merged: what is left of them is of no more use.
    pub(super) fn forget_before(&mut self, task: TaskId, actions: &mut Vec<Action<C>>) {
        let is_passed = |other: TaskId| other.job == task.job && other.step < task.step;
        for key in self.table.running().to_vec() {
            let passed = self.table.get(key).is_some_and(|run| run.to.is_none() && is_passed(run.identity.task));
            if passed {
                self.stop_running(key, actions);
            }
        }
        for key in self.table.cache().to_vec() {
            if self.table.get(key).is_some_and(|result| is_passed(result.identity.task)) {
                self.drop_result(key, actions);
            }
        }
    }

    /// Answers with a result that another link has had. Says whether there is one.
    pub(super) fn reuse(&mut self, identity: &Identity, to: Recipient, actions: &mut Vec<Action<C>>) -> bool {
        for key in self.table.cache().to_vec() {
            let Some(task) = self.table.get_mut(key).filter(|task| task.identity == *identity) else { continue };
            let Stage::Cached { trained, link } = &mut task.stage else { continue };
            if *link == Some(to.link) {
                continue;
            }
            *link = Some(to.link);
            let trained = trained.clone();
            self.table.touch(key);
            self.reused += 1;
            actions.push(Action::Tell { attempt: to.attempt, note: Note::Reused });
            self.answer_trained(to, trained, actions);
            return true;
        }
        false
    }

    /// Lets this recipient have what is being trained for a link that has ended. Says whether it is.
    pub(super) fn adopt(&mut self, identity: &Identity, to: Recipient, actions: &mut Vec<Action<C>>) -> bool {
        let is_free =
            |key: &TaskKey| self.table.get(*key).is_some_and(|task| task.is_free() && task.identity == *identity);
        let Some(key) = self.table.running().iter().copied().find(is_free) else { return false };
        self.table.adopt(key, to);
        self.reused += 1;
        actions.push(Action::Tell { attempt: to.attempt, note: Note::Adopted });
        true
    }

    pub(super) fn results(&self, link: LinkKey, job: JobId) -> Vec<CachedResult> {
        let is_listed = |task: &&Task<C>| match &task.stage {
            Stage::Cached { link: other, .. } => *other != Some(link),
            _ => task.is_free(),
        };
        let keys = self.table.cache().iter().chain(self.table.running());
        let tasks = keys.filter_map(|key| self.table.get(*key)).filter(|task| task.identity.task.job == job);
        let listed = |Identity { task, base, .. }: Identity| CachedResult { step: task.step, shard: task.shard, base };
        tasks.filter(is_listed).map(|task| listed(task.identity)).collect()
    }

    pub(super) fn cache_result(
        &mut self,
        key: TaskKey,
        identity: Identity,
        trained: TrainedUpdate<C>,
        link: Option<LinkKey>,
        actions: &mut Vec<Action<C>>,
    ) {
        if trained.result.update_bytes > self.settings.results_bytes_max || self.settings.results_max == 0 {
            self.table.remove(key);
            return;
        }
        let is_same = |other: &TaskKey| self.table.get(*other).is_some_and(|task| task.identity == identity);
        if let Some(older) = self.table.cache().iter().copied().find(is_same) {
            self.drop_result(older, actions);
        }
        self.table.cache_result(key, trained, link);
        while (self.table.cached_bytes() > self.settings.results_bytes_max
            || self.table.cache().len() > self.settings.results_max)
            && let Some(oldest) = self.table.cache().first().copied()
        {
            self.drop_result(oldest, actions);
        }
    }

    fn drop_result(&mut self, key: TaskKey, actions: &mut Vec<Action<C>>) {
        if let Some(Task { stage: Stage::Cached { trained, .. }, .. }) = self.table.remove(key) {
            actions.push(Action::ReuseMemory { data: trained.data });
        }
    }
}

impl<C: Content> Task<C> {
    /// Whether it is being trained for whoever asks for it.
    fn is_free(&self) -> bool {
        self.orphaned_at().is_some()
    }
}
