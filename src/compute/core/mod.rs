//! The node's deciding core: which tasks it takes, which worker gets what when, who is answered, what is kept.
//!
//! Pure: [`Core::handle`] takes what happened, and tells what to do. Owns the life of every task on the node; does not know
//! sockets, threads, channels, clock, log or tensors, nor how anything travels. Its random choices come from a seed, so the
//! same events at the same moments give the same actions: `tests/simulation` lives on that. Injected load alone is about time:
//! its delay is a length that the worker is told, and how long a drain may take is for whoever asks for it.
//!
//! ```text
//! TRAIN -> fetching -> queued -> running -> cached -> forgotten
//!    |        |          |         |           for another link; until a later step, or newer results
//!    |        |          |         +-- CANCEL; where the link has ended a later step, the end of the lease, or a drain: stopped
//!    |        +----------+------------ CANCEL, the link's end, a drain: out of the table at once
//!    +-------------------------------- rejected, reused from the cache, or adopted while it runs
//! ```
//!
//! | module | owns |
//! |---|---|
//! | `events` | the vocabulary: [`Event`], [`Action`] |
//! | `table` | the tasks and the indexes over them |
//! | `results` | the result cache, and who gets what another link has asked for |
//! | `orphans` | how long a training goes on whose link has ended |
//! | `links` | pending updates, and the bases of jobs |
//! | `load` | injected load |
//! | `history` | what was done for which job |

mod events;
mod history;
mod links;
mod load;
mod orphans;
mod results;
mod table;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use events::{
    Action, Content, Counts, Event, Failure, Identity, LinkKey, Moment, Note, Object, Outstanding, Recipient, TaskKey,
    Train, TrainedUpdate,
};
pub use history::JobDone;

use crate::digest::Digest;
use crate::job::{Attempt, RejectReason, TaskId, TaskState};
use history::History;
use links::Links;
use load::InjectedLoad;
use table::{Stage, Table, Task};

/// How the core decides.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Tasks trained at once, at least 1.
    pub workers: u32,
    /// With this probability the node is loaded for a second, or for the delay if that is shorter: it rejects what it may, and the
    /// first task that it takes waits.
    pub load_probability: f64,
    /// So long, from when the load was drawn.
    pub load_delay: Duration,
    /// Tasks that may wait for data or for a worker; one more is refused.
    pub queued_max: usize,
    /// Objects that these may name, each as often as it is named; a task that would name more is refused.
    pub named_objects_max: usize,
    /// Results in the cache, at most.
    pub results_max: usize,
    /// Bytes of their updates, at most.
    pub results_bytes_max: u64,
    /// What is being trained for a link that has ended is given up so long after it, once another task waits for the worker.
    pub orphan_lease: Duration,
    /// So long after it, it is given up in any case; not before the lease is over.
    pub orphan_age_max: Duration,
}

impl Settings {
    /// The settings of a node without injected load.
    pub fn new(workers: u32) -> Settings {
        Settings {
            workers,
            load_probability: 0.0,
            load_delay: Duration::ZERO,
            queued_max: 4_096,
            // As many as four of the largest jobs have shards.
            named_objects_max: 65_536,
            results_max: 64,
            results_bytes_max: 16 << 20,
            orphan_lease: Duration::from_secs(30),
            orphan_age_max: Duration::from_secs(600),
        }
    }
}

/// The deciding core.
pub struct Core<C: Content> {
    settings: Settings,
    load: InjectedLoad,
    links: Links,
    table: Table<C>,
    history: History,
    is_draining: bool,
    done: u64,
    reused: u64,
    rows_per_second: f64,
}

/// A task that has not been answered, for people.
pub struct TaskStatus<'a, C: Content> {
    /// The task.
    pub task: TaskId,
    /// The connection that it is for; None once that has ended.
    pub link: Option<LinkKey>,
    /// Where it is.
    pub state: TaskState,
    /// What is, or will be, trained.
    pub work: &'a C::Work,
}

impl<C: Content> Core<C> {
    /// A core without links and tasks. The seed decides when injected load strikes, and nothing else.
    pub fn new(settings: Settings, seed: u64) -> Core<C> {
        Core {
            load: InjectedLoad::new(settings.load_probability, settings.load_delay, seed),
            settings,
            links: Links::default(),
            table: Table::new(),
            history: History::default(),
            is_draining: false,
            done: 0,
            reused: 0,
            rows_per_second: 0.0,
        }
    }

    /// Takes what happened and when, and appends what is to be done, in order, to `actions`.
    ///
    /// An event that fits nothing (of a link that is down, a task that is not known) changes nothing.
    pub fn handle(&mut self, now: Moment, event: Event<C>, actions: &mut Vec<Action<C>>) {
        match event {
            Event::LinkUp { link, inline_bytes_max } => self.links.up(link, inline_bytes_max),
            Event::LinkDown { link } => self.link_down(now, link, actions),
            Event::TrainRequested(train) => self.train(now, train, actions),
            Event::PollRequested { link, request, attempt } => {
                let state = self.polled(link, attempt);
                actions.push(Action::AnswerPolled { link, request, attempt, state });
            }
            Event::ResultsRequested { link, request, job } => {
                let results = self.results(link, job);
                actions.push(Action::AnswerResults { link, request, results });
            }
            Event::CancelRequested { link, request } => self.cancel(link, request, actions),
            Event::ObjectHere { link, digest, data } => self.object_here(link, digest, &data),
            Event::ObjectMissing { link, digest, failure } => self.object_missing(link, digest, &failure, actions),
            Event::PieceFetched { link, digest, end_bytes } => {
                if self.links.get_mut(link).is_some_and(|linked| linked.fetched(digest, end_bytes)) {
                    actions.push(Action::UnpinUpdate { digest });
                }
            }
            Event::Ended { task, result, rows_per_second } => {
                self.rows_per_second = rows_per_second.unwrap_or(self.rows_per_second);
                self.ended(task, result, actions);
            }
            // Orphans are looked at below.
            Event::Tick => {}
            Event::DrainRequested => {
                self.is_draining = true;
                self.hand_back(actions);
            }
            Event::CloseRequested => actions.extend(self.links.keys().map(|link| Action::Close { link })),
            Event::StopRequested => self.stop(actions),
        }
        self.start_next(now, actions);
        self.give_up_orphans(now, actions);
        self.table.check();
    }

    /// The load.
    pub fn counts(&self) -> Counts {
        Counts {
            running: self.table.running().len() as u32,
            waiting: self.waiting() as u32,
            done: self.done,
            rows_per_second: self.rows_per_second,
        }
    }

    /// Whether no task is known that is trained, or will be.
    pub fn is_at_rest(&self) -> bool {
        self.table.running().is_empty() && self.table.unanswered() == 0
    }

    /// What is still to be done before the node can end without loss.
    pub fn outstanding(&self) -> Outstanding {
        Outstanding { tasks: self.table.to_answer(), updates: self.links.pending() }
    }

    /// Whether tasks are no longer taken.
    pub fn is_draining(&self) -> bool {
        self.is_draining
    }

    /// Links that are up.
    pub fn links(&self) -> usize {
        self.links.len()
    }

    /// Results in the cache.
    pub fn cached(&self) -> usize {
        self.table.cache().len()
    }

    /// Tasks that did not have to be trained again.
    pub fn reused(&self) -> u64 {
        self.reused
    }

    /// The jobs that the node has worked for, the latest first.
    pub fn jobs(&self) -> &[JobDone] {
        self.history.jobs()
    }

    /// The tasks that have not been answered.
    pub fn tasks(&self) -> impl Iterator<Item = TaskStatus<'_, C>> {
        self.table.all().filter_map(|task| {
            let link = task.to.map(|to| to.link);
            Some(TaskStatus { task: task.identity.task, link, state: task.state()?, work: &task.work })
        })
    }

    fn train(&mut self, now: Moment, train: Train<C>, actions: &mut Vec<Action<C>>) {
        let Train { to, identity, may_reject, base, shards, work } = train;
        if self.links.get_mut(to.link).is_none() {
            return;
        }
        if self.is_draining {
            return hand_back(to, actions);
        }
        self.forget_before(identity.task, actions);
        if self.reuse(&identity, to, actions) || self.adopt(&identity, to, actions) {
            return;
        }
        let loaded_for = self.load.loaded_for(now);
        if may_reject && let Some((reason, retry_ms)) = self.rejection(now, loaded_for) {
            actions.push(Action::Tell { attempt: to.attempt, note: Note::Rejected(reason) });
            return actions.push(Action::AnswerRejected { to, reason, counts: self.counts(), retry_ms });
        }
        if let Some(failure) = self.refusal(1 + shards.len()) {
            return actions.push(Action::AnswerFailed { to, failure });
        }
        self.history.taken(identity.task.job);
        let before = self.links.get_mut(to.link).and_then(|linked| linked.replace_base(identity.task, base.digest));
        actions.extend(before.map(|digest| Action::DropObject { digest }));
        for object in std::iter::once(&base).chain(&shards) {
            if object.data.is_none() {
                actions.push(Action::Fetch { link: to.link, digest: object.digest });
            }
        }
        let stage = Stage::Fetching { base, shards };
        let wait_until = self.load.take_wait();
        let key = self.table.insert(Task { identity, attempt: to.attempt, to: Some(to), work, wait_until, stage });
        self.enqueue_if_complete(key);
    }

    /// Why a task that may be rejected is, and for how long, in milliseconds, the next one would be.
    fn rejection(&self, now: Moment, loaded_for: Option<Duration>) -> Option<(RejectReason, u32)> {
        if let Some(left) = loaded_for {
            // Rounded up: whoever asks again then finds the load gone. A second at most.
            return Some((RejectReason::LoadProbability, left.as_nanos().div_ceil(1_000_000) as u32));
        }
        // Nobody knows how long a task takes.
        let in_hand = self.table.unanswered() - self.outlived(now);
        (in_hand >= self.settings.workers as usize).then_some((RejectReason::Busy, 0))
    }

    /// Why a task that names so many objects is not taken, if too much waits already: nothing is ordered for it.
    fn refusal(&self, objects: usize) -> Option<Failure<C::Failure>> {
        let Settings { queued_max, named_objects_max, .. } = self.settings;
        if self.waiting() >= queued_max {
            return Some(Failure::QueueFull { queued_max });
        }
        let named = self.table.named_objects() + objects;
        (named > named_objects_max).then_some(Failure::TooManyNamed { named, named_objects_max })
    }

    /// Tasks that no worker has begun.
    fn waiting(&self) -> usize {
        self.table.unanswered() - self.table.running().len()
    }

    /// Puts a task whose data is here behind the others that wait for a worker.
    fn enqueue_if_complete(&mut self, key: TaskKey) {
        let Some(Task { stage: Stage::Fetching { base, shards }, .. }) = self.table.get(key) else { return };
        let all: Option<Vec<C::Data>> = shards.iter().map(|shard| shard.data.clone()).collect();
        let (Some(base), Some(shards)) = (base.data.clone(), all) else { return };
        self.table.enqueue(key, base, shards);
    }

    /// Gives free workers what waits for them.
    fn start_next(&mut self, now: Moment, actions: &mut Vec<Action<C>>) {
        while self.table.running().len() < self.settings.workers as usize
            && let Some((key, base, shards)) = self.table.start_first()
        {
            let Some(task) = self.table.get(key) else { return };
            if let Some(linked) = task.to.and_then(|to| self.links.get_mut(to.link)) {
                // The next update takes the memory of one that has been fetched.
                actions.extend(linked.take_fetched().into_iter().map(|digest| Action::DropObject { digest }));
            }
            let delay = task.wait_until.map_or(Duration::ZERO, |until| until.saturating_sub(now));
            actions.push(Action::Start { task: key, work: task.work.clone(), base, shards, delay });
        }
    }

    fn polled(&self, link: LinkKey, attempt: Attempt) -> Option<(TaskState, C::Work)> {
        let mut tasks = self.table.of_link(link).filter_map(|key| self.table.get(key));
        let task = tasks.find(|task| task.attempt == attempt)?;
        Some((task.state()?, task.work.clone()))
    }

    fn cancel(&mut self, link: LinkKey, request: u32, actions: &mut Vec<Action<C>>) {
        let Some(key) = self.table.of_request(link, request) else { return };
        match self.table.get(key).and_then(Task::state) {
            // Its worker answers: with the result if that is faster.
            Some(TaskState::Running) => self.stop_running(key, actions),
            _ => self.give_up(key, Failure::Cancelled, actions),
        }
    }

    fn object_here(&mut self, link: LinkKey, digest: Digest, data: &C::Data) {
        for key in self.table.of_link(link).collect::<Vec<_>>() {
            let Some(Task { stage: Stage::Fetching { base, shards }, .. }) = self.table.get_mut(key) else { continue };
            let mut is_wanted = false;
            for object in std::iter::once(base).chain(shards) {
                if object.digest == digest {
                    object.data = Some(data.clone());
                    is_wanted = true;
                }
            }
            if is_wanted {
                self.enqueue_if_complete(key);
            }
        }
    }

    fn object_missing(&mut self, link: LinkKey, digest: Digest, failure: &C::Failure, actions: &mut Vec<Action<C>>) {
        for key in self.table.of_link(link).collect::<Vec<_>>() {
            let Some(Task { stage: Stage::Fetching { base, shards }, .. }) = self.table.get(key) else { continue };
            if base.digest == digest || shards.iter().any(|shard| shard.digest == digest) {
                self.give_up(key, Failure::DataMissing(failure.clone()), actions);
            }
        }
    }

    /// A worker is free again.
    fn ended(&mut self, key: TaskKey, result: Result<TrainedUpdate<C>, C::Failure>, actions: &mut Vec<Action<C>>) {
        let Some(Task { stage: Stage::Running { is_stopping, .. }, identity, .. }) = self.table.get(key) else {
            return;
        };
        let (is_stopping, identity) = (*is_stopping, *identity);
        let to = self.table.take_recipient(key);
        self.done += 1;
        match result {
            Ok(trained) => {
                self.history.trained(identity.task.job);
                // What was stopped and has nobody is of a step that is passed, or was cancelled.
                if is_stopping && to.is_none() {
                    self.table.remove(key);
                } else {
                    self.cache_result(key, identity, trained.clone(), to.map(|to| to.link), actions);
                }
                if let Some(to) = to {
                    self.answer_trained(to, trained, actions);
                }
            }
            Err(failure) => {
                self.table.remove(key);
                // Where a link has ended nobody wants an answer.
                actions.extend(to.map(|to| Action::AnswerFailed { to, failure: Failure::Training(failure) }));
            }
        }
    }

    fn answer_trained(&mut self, to: Recipient, trained: TrainedUpdate<C>, actions: &mut Vec<Action<C>>) {
        let Some(linked) = self.links.get_mut(to.link) else { return };
        let inline = trained.result.update_bytes <= linked.inline_bytes_max;
        if !inline {
            linked.announce(trained.result.update, trained.result.update_bytes);
            actions.push(Action::PinUpdate { digest: trained.result.update, data: trained.data.clone() });
        }
        actions.push(Action::AnswerTrained { to, trained, inline });
    }

    /// A link has ended: what is being trained for it goes on for a while, for whoever asks for it; its other tasks are dropped.
    fn link_down(&mut self, now: Moment, link: LinkKey, actions: &mut Vec<Action<C>>) {
        for key in self.table.of_link(link).collect::<Vec<_>>() {
            match self.table.get(key).and_then(Task::state) {
                Some(TaskState::Running) => self.table.orphan(key, now),
                _ => drop(self.table.remove(key)),
            }
        }
        actions.extend(self.links.down(link).into_iter().map(|digest| Action::UnpinUpdate { digest }));
    }

    /// Gives back the tasks that no worker has begun.
    fn hand_back(&mut self, actions: &mut Vec<Action<C>>) {
        for key in self.table.not_begun() {
            if let Some(to) = self.table.remove(key).and_then(|task| task.to) {
                hand_back(to, actions);
            }
        }
    }

    /// Everything is given up, and nothing more is taken.
    fn stop(&mut self, actions: &mut Vec<Action<C>>) {
        self.is_draining = true;
        actions.extend(self.links.keys().map(|link| Action::Close { link }));
        for key in self.table.not_begun() {
            self.table.remove(key);
        }
        for key in self.table.running().to_vec() {
            self.stop_running(key, actions);
        }
    }

    /// Takes a task out that no worker has begun, and answers it.
    fn give_up(&mut self, key: TaskKey, failure: Failure<C::Failure>, actions: &mut Vec<Action<C>>) {
        if let Some(to) = self.table.remove(key).and_then(|task| task.to) {
            actions.push(Action::AnswerFailed { to, failure });
        }
    }

    fn stop_running(&mut self, key: TaskKey, actions: &mut Vec<Action<C>>) {
        if let Some(Task { stage: Stage::Running { is_stopping, .. }, work, .. }) = self.table.get_mut(key)
            && !std::mem::replace(is_stopping, true)
        {
            actions.push(Action::Stop { work: work.clone() });
        }
    }
}

impl<C: Content> Task<C> {
    /// How far it is, unless it is done.
    fn state(&self) -> Option<TaskState> {
        match self.stage {
            Stage::Fetching { .. } | Stage::Queued { .. } => Some(TaskState::Waiting),
            Stage::Running { .. } => Some(TaskState::Running),
            Stage::Cached { .. } => None,
        }
    }
}

fn hand_back<C: Content>(to: Recipient, actions: &mut Vec<Action<C>>) {
    actions.push(Action::Tell { attempt: to.attempt, note: Note::HandedBack });
    actions.push(Action::AnswerFailed { to, failure: Failure::Closing });
}
