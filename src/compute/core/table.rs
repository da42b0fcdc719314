//! The table of tasks. Owns every task from its request to the end of its result's retention, and the indexes by which one is
//! found; does not decide when a task goes from one stage to the next.

use crate::job::Attempt;
use std::collections::VecDeque;

use super::events::{Content, Identity, LinkKey, Moment, Object, Recipient, TaskKey, TrainedUpdate};

/// A task.
pub(super) struct Task<C: Content> {
    pub(super) identity: Identity,
    /// The attempt that it was, or is, trained for.
    pub(super) attempt: Attempt,
    /// Who is to be answered; nobody once that has been done, or once the link has ended.
    pub(super) to: Option<Recipient>,
    pub(super) work: C::Work,
    /// Injected load: it is not trained before this.
    pub(super) wait_until: Option<Moment>,
    pub(super) stage: Stage<C>,
}

/// Where a task is in its life.
pub(super) enum Stage<C: Content> {
    /// It waits for data.
    Fetching { base: Object<C::Data>, shards: Vec<Object<C::Data>> },
    /// It waits for a worker.
    Queued { base: C::Data, shards: Vec<C::Data> },
    /// A worker has it.
    Running {
        /// The worker was told to stop: nobody else may have it.
        is_stopping: bool,
        /// Since when it has been trained for nobody: its link has ended.
        orphaned_at: Option<Moment>,
    },
    /// Its result is in the result cache.
    Cached {
        trained: TrainedUpdate<C>,
        /// The link that has had it, if any.
        link: Option<LinkKey>,
    },
}

impl<C: Content> Stage<C> {
    /// Objects that a task which waits names.
    fn named_objects(&self) -> usize {
        match self {
            Stage::Fetching { shards, .. } => 1 + shards.len(),
            Stage::Queued { shards, .. } => 1 + shards.len(),
            Stage::Running { .. } | Stage::Cached { .. } => 0,
        }
    }
}

/// Every task of the node, by its key.
pub(super) struct Table<C: Content> {
    /// In the order of their keys. (Maps of so many types would be 30 kB of machine code.)
    tasks: Vec<(TaskKey, Box<Task<C>>)>,
    next: u64,
    /// Those that are to be answered, by link, in the order of their requests.
    requests: Vec<(LinkKey, Vec<(u32, TaskKey)>)>,
    /// Those that wait for a worker, the first one first.
    queue: VecDeque<TaskKey>,
    /// Objects that those name which no worker has begun.
    named_objects: usize,
    /// Those that workers have.
    running: Vec<TaskKey>,
    /// Those whose results are cached, the least recently used first.
    cache: Vec<TaskKey>,
    /// Of the updates in the cache.
    cached_bytes: u64,
}

impl<C: Content> Table<C> {
    pub(super) fn new() -> Table<C> {
        Table {
            tasks: Vec::new(),
            next: 0,
            requests: Vec::new(),
            queue: VecDeque::new(),
            named_objects: 0,
            running: Vec::new(),
            cache: Vec::new(),
            cached_bytes: 0,
        }
    }

    pub(super) fn get(&self, key: TaskKey) -> Option<&Task<C>> {
        self.place(key).map(|place| &*self.tasks[place].1)
    }

    pub(super) fn get_mut(&mut self, key: TaskKey) -> Option<&mut Task<C>> {
        self.place(key).map(|place| &mut *self.tasks[place].1)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Task<C>> {
        self.tasks.iter().map(|(_, task)| &**task)
    }

    /// Tasks that are not done.
    pub(super) fn unanswered(&self) -> usize {
        self.tasks.len() - self.cache.len()
    }

    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Objects that tasks which no worker has begun name, each as often as it is named.
    pub(super) fn named_objects(&self) -> usize {
        self.named_objects
    }

    /// Tasks that somebody is to be answered of.
    pub(super) fn to_answer(&self) -> usize {
        self.requests.iter().map(|(_, requests)| requests.len()).sum()
    }

    pub(super) fn running(&self) -> &[TaskKey] {
        &self.running
    }

    pub(super) fn cache(&self) -> &[TaskKey] {
        &self.cache
    }

    pub(super) fn cached_bytes(&self) -> u64 {
        self.cached_bytes
    }

    /// The task that a link's request asked for, while it is to be answered.
    pub(super) fn of_request(&self, link: LinkKey, request: u32) -> Option<TaskKey> {
        let requests = self.requests_of(link);
        let place = requests.binary_search_by_key(&request, |(request, _)| *request).ok()?;
        Some(requests[place].1)
    }

    /// The tasks that are to be answered over a link, in the order of its requests.
    pub(super) fn of_link(&self, link: LinkKey) -> impl Iterator<Item = TaskKey> {
        self.requests_of(link).iter().map(|(_, key)| *key)
    }

    /// The tasks that no worker has begun.
    pub(super) fn not_begun(&self) -> Vec<TaskKey> {
        let not_begun = |task: &Task<C>| matches!(task.stage, Stage::Fetching { .. } | Stage::Queued { .. });
        self.tasks.iter().filter(|(_, task)| not_begun(task)).map(|(key, _)| *key).collect()
    }

    /// A task is taken; its data is not yet here.
    pub(super) fn insert(&mut self, task: Task<C>) -> TaskKey {
        let key = TaskKey(self.next);
        self.next += 1;
        if let Some(to) = task.to {
            self.add_request(to, key);
        }
        self.named_objects += task.stage.named_objects();
        self.tasks.push((key, Box::new(task)));
        key
    }

    /// Moves a task behind the others that wait for a worker.
    pub(super) fn enqueue(&mut self, key: TaskKey, base: C::Data, shards: Vec<C::Data>) {
        if let Some(task) = self.get_mut(key) {
            task.stage = Stage::Queued { base, shards };
            self.queue.push_back(key);
        }
    }

    /// Gives the first task that waits to a worker: its key and its data.
    pub(super) fn start_first(&mut self) -> Option<(TaskKey, C::Data, Vec<C::Data>)> {
        let key = self.queue.pop_front()?;
        let task = self.get_mut(key)?;
        match std::mem::replace(&mut task.stage, Stage::Running { is_stopping: false, orphaned_at: None }) {
            Stage::Queued { base, shards } => {
                self.named_objects -= 1 + shards.len();
                self.running.push(key);
                Some((key, base, shards))
            }
            _ => None,
        }
    }

    /// Nobody is answered any more with what comes of this task: whom it would have been.
    pub(super) fn take_recipient(&mut self, key: TaskKey) -> Option<Recipient> {
        let to = self.get_mut(key)?.to.take()?;
        self.remove_request(to);
        Some(to)
    }

    /// The link of a task in training has ended: it is trained for nobody.
    pub(super) fn orphan(&mut self, key: TaskKey, now: Moment) {
        self.take_recipient(key);
        if let Some(Task { stage: Stage::Running { orphaned_at, .. }, .. }) = self.get_mut(key) {
            *orphaned_at = Some(now);
        }
    }

    /// From now on an orphan is for this recipient.
    pub(super) fn adopt(&mut self, key: TaskKey, to: Recipient) {
        if let Some(task) = self.get_mut(key)
            && let Stage::Running { orphaned_at, .. } = &mut task.stage
        {
            *orphaned_at = None;
            task.attempt = to.attempt;
            task.to = Some(to);
            self.add_request(to, key);
        }
    }

    /// A task's result goes into the cache, as the most recently used.
    pub(super) fn cache_result(&mut self, key: TaskKey, trained: TrainedUpdate<C>, link: Option<LinkKey>) {
        self.running.retain(|other| *other != key);
        let bytes = trained.result.update_bytes;
        if let Some(task) = self.get_mut(key) {
            task.stage = Stage::Cached { trained, link };
            self.cache.push(key);
            self.cached_bytes += bytes;
        }
    }

    /// A result is used: it stays longer than the others.
    pub(super) fn touch(&mut self, key: TaskKey) {
        if let Some(place) = self.cache.iter().position(|other| *other == key) {
            self.cache.remove(place);
            self.cache.push(key);
        }
    }

    /// Forgets a task, whatever its stage.
    pub(super) fn remove(&mut self, key: TaskKey) -> Option<Task<C>> {
        let place = self.place(key)?;
        let (_, task) = self.tasks.remove(place);
        if let Some(to) = task.to {
            self.remove_request(to);
        }
        self.named_objects -= task.stage.named_objects();
        match &task.stage {
            Stage::Fetching { .. } => {}
            Stage::Queued { .. } => self.queue.retain(|other| *other != key),
            Stage::Running { .. } => self.running.retain(|other| *other != key),
            Stage::Cached { trained, .. } => {
                self.cache.retain(|other| *other != key);
                self.cached_bytes -= trained.result.update_bytes;
            }
        }
        Some(*task)
    }

    fn place(&self, key: TaskKey) -> Option<usize> {
        self.tasks.binary_search_by_key(&key, |(key, _)| *key).ok()
    }

    fn requests_of(&self, link: LinkKey) -> &[(u32, TaskKey)] {
        self.requests.iter().find(|(other, _)| *other == link).map_or(&[], |(_, requests)| requests)
    }

    fn add_request(&mut self, to: Recipient, key: TaskKey) {
        let place = self.requests.iter().position(|(link, _)| *link == to.link).unwrap_or_else(|| {
            self.requests.push((to.link, Vec::new()));
            self.requests.len() - 1
        });
        let requests = &mut self.requests[place].1;
        // A link's requests only grow: it is put last.
        let place = requests.partition_point(|(request, _)| *request < to.request);
        requests.insert(place, (to.request, key));
    }

    fn remove_request(&mut self, to: Recipient) {
        let Some(place) = self.requests.iter().position(|(link, _)| *link == to.link) else { return };
        let requests = &mut self.requests[place].1;
        requests.retain(|(request, _)| *request != to.request);
        if requests.is_empty() {
            self.requests.swap_remove(place);
        }
    }

    /// The indexes say what the table says. In debug builds, for few tasks.
    pub(super) fn check(&self) {
        const TASKS_CHECKED_MAX: usize = 256;
        if !cfg!(debug_assertions) || self.tasks.len() > TASKS_CHECKED_MAX {
            return;
        }
        let keys = |is_it: fn(&Stage<C>) -> bool| -> Vec<TaskKey> {
            self.tasks.iter().filter(|(_, task)| is_it(&task.stage)).map(|(key, _)| *key).collect()
        };
        let sorted = |keys: &mut dyn Iterator<Item = TaskKey>| -> Vec<TaskKey> {
            let mut keys: Vec<_> = keys.collect();
            keys.sort_unstable();
            keys
        };
        let queue = sorted(&mut self.queue.iter().copied());
        debug_assert_eq!(queue, keys(|stage| matches!(stage, Stage::Queued { .. })), "the queue is wrong");
        let named: usize = self.tasks.iter().map(|(_, task)| task.stage.named_objects()).sum();
        debug_assert_eq!(named, self.named_objects, "the objects are wrong");
        let running = sorted(&mut self.running.iter().copied());
        debug_assert_eq!(running, keys(|stage| matches!(stage, Stage::Running { .. })), "what runs is wrong");
        let cache = sorted(&mut self.cache.iter().copied());
        debug_assert_eq!(cache, keys(|stage| matches!(stage, Stage::Cached { .. })), "the cache is wrong");
        let answered = self.tasks.iter().filter_map(|(key, task)| Some((task.to?.link, task.to?.request, *key)));
        let mut answered: Vec<_> = answered.collect();
        let requests = self.requests.iter();
        let mut requests: Vec<_> = requests
            .flat_map(|(link, requests)| requests.iter().map(|(request, key)| (*link, *request, *key)))
            .collect();
        answered.sort_unstable();
        requests.sort_unstable();
        debug_assert_eq!(answered, requests, "the requests are wrong");
        let is_orphan =
            |task: &Task<C>| task.to.is_none() && !matches!(task.stage, Stage::Running { .. } | Stage::Cached { .. });
        debug_assert!(!self.all().any(is_orphan), "a task waits for nobody");
    }
}
