//! The core's owner: takes events from links and workers, and has the core's orders carried out.
//!
//! There is no thread for it. Whoever has an event to report, a link's reader or a worker, takes the lock, has the core
//! decide, and puts the orders at the end of one queue. If nobody else is carrying orders out he does, one after the other,
//! with the lock released, until the queue is empty. So:
//!
//! - one at a time decides, and nothing is done under the lock but deciding;
//! - the queue is in the order of the decisions, and one at a time carries out from its front: orders happen in the order in
//!   which they were decided, on each link and everywhere else;
//! - a task and its answer cost no thread more than the reader's and the worker's: a thread of the core's own would add a
//!   wake-up each way, and those are most of what a small task takes.
//!
//! Time alone is told by a thread of its own, which sleeps unless an orphan is in training.
//!
//! The price: a reader or worker may carry out what others have decided meanwhile. None of it waits for a socket
//! (`net::Link` never does), a disk or a training.
//!
//! Owns the lock and the queue; does not know why anything is ordered.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use super::core::{self, Core, Event, Failure, LinkKey, Moment, Note, Outstanding, TrainedUpdate};
use super::work::{CLOSING, Context, Handles, Start, refusal, say_task};
use crate::digest::Digest;
use crate::job::TaskState;
use crate::net::{EventLog, Link, SocketAddr};
use crate::store::Store;
use crate::wire::message::{Error, Holding, Polled, Rejected, Trained};
use crate::wire::{ErrorCode, Message};

type Action = core::Action<Handles>;

/// The core and what carries its orders out.
pub(super) struct Driver {
    state: Mutex<Inner>,
    /// While the node drains: something has been done.
    done: Condvar,
    /// Whoever keeps the time is to look again.
    sooner: Condvar,
    store: Arc<Store>,
    /// Has room for as many as there are workers: the core starts no more.
    starts: Sender<Start>,
    event_log: EventLog,
    /// The core's moments begin here.
    created: Instant,
}

struct Inner {
    core: Core<Handles>,
    links: Vec<(LinkKey, Link<Context>)>,
    next_link: u64,
    /// Yet to be carried out.
    orders: VecDeque<Action>,
    /// Somebody is carrying orders out.
    is_busy: bool,
    /// Until then whoever keeps the time sleeps; None: until the core has a deadline.
    sleeps_until: Option<Moment>,
    is_stopped: bool,
    /// Memory for the orders of one event.
    decided: Vec<Action>,
}

impl Driver {
    pub(super) fn new(core: Core<Handles>, store: Arc<Store>, starts: Sender<Start>, event_log: EventLog) -> Driver {
        let state = Inner {
            core,
            links: Vec::new(),
            next_link: 0,
            orders: VecDeque::new(),
            is_busy: false,
            sleeps_until: None,
            is_stopped: false,
            decided: Vec::new(),
        };
        let created = Instant::now();
        let (done, sooner) = (Condvar::new(), Condvar::new());
        Driver { state: Mutex::new(state), done, sooner, store, starts, event_log, created }
    }

    /// A coordinator is linked: what the link is called from now on.
    pub(super) fn link_up(&self, link: Link<Context>) -> LinkKey {
        let inline_bytes_max = Trained::inline_bytes_max(link.peer().payload_bytes_max) as u64;
        let mut state = self.state();
        let key = LinkKey(state.next_link);
        state.next_link += 1;
        state.links.push((key, link));
        drop(state);
        self.report(Event::LinkUp { link: key, inline_bytes_max });
        key
    }

    /// A link has ended.
    pub(super) fn link_down(&self, link: LinkKey) {
        self.state().links.retain(|(other, _)| *other != link);
        self.report(Event::LinkDown { link });
    }

    /// Has the core decide on an event, and its orders carried out, by this thread or another. Returns the objects that the
    /// event's link is to ask for: they come of its own requests alone, and its reader, which reports those, owns what it
    /// asks with.
    pub(super) fn report(&self, event: Event<Handles>) -> Vec<Digest> {
        let mut wanted = Vec::new();
        let mut state = self.state();
        let Inner { core, orders, decided, .. } = &mut *state;
        core.handle(self.created.elapsed(), event, decided);
        for action in decided.drain(..) {
            match action {
                Action::Fetch { digest, .. } => wanted.push(digest),
                other => orders.push_back(other),
            }
        }
        let is_earlier = |deadline| state.sleeps_until.is_none_or(|until| deadline < until);
        if state.core.next_deadline().is_some_and(is_earlier) {
            self.sooner.notify_one();
        }
        if state.is_busy {
            return wanted;
        }
        state.is_busy = true;
        while let Some(action) = state.orders.pop_front() {
            let link = link_of(&action).and_then(|key| state.link(key)).cloned();
            drop(state);
            // A panic is a bug of ours: it costs this order, and not all that come after it.
            if catch_unwind(AssertUnwindSafe(|| self.carry_out(action, link.as_ref()))).is_err() {
                log::error!("a fault of this program's own: an action failed");
            }
            state = self.state();
        }
        state.is_busy = false;
        if state.core.is_draining() {
            self.done.notify_all();
        }
        wanted
    }

    /// Tells the core of its deadlines until [`Driver::stop`]. What one thread does.
    pub(super) fn keep_time(&self) {
        /// As good as for ever.
        const DAY: Duration = Duration::from_secs(86_400);
        let mut state = self.state();
        while !state.is_stopped {
            let (now, deadline) = (self.created.elapsed(), state.core.next_deadline());
            if deadline.is_some_and(|deadline| deadline <= now) {
                drop(state);
                self.report(Event::Tick);
                state = self.state();
            } else {
                state.sleeps_until = deadline;
                let wait = deadline.map_or(DAY, |deadline| deadline - now);
                state = self.sooner.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }

    /// Everything is given up, and time is told no more.
    pub(super) fn stop(&self) {
        self.report(Event::StopRequested);
        self.state().is_stopped = true;
        self.sooner.notify_one();
    }

    /// Lets go of all but so many bytes of the objects that are kept for tasks to come, unless there are tasks. False if so.
    pub(super) fn rest(&self, resting_bytes: u64) -> bool {
        let is_at_rest = self.state().core.is_at_rest();
        if is_at_rest {
            self.store.trim(resting_bytes);
        }
        is_at_rest
    }

    /// Looks at the core as it is, for a moment; and says where a link's coordinator is.
    pub(super) fn look<R>(&self, look: impl FnOnce(&Core<Handles>, &dyn Fn(LinkKey) -> Option<SocketAddr>) -> R) -> R {
        let state = self.state();
        look(&state.core, &|key| Some(state.link(key)?.peer().address))
    }

    /// Waits until the core is so and its orders are carried out, for as long as `wait`, while the node drains. What is
    /// outstanding then.
    pub(super) fn await_drained(&self, wait: Duration, is_so: impl Fn(&Core<Handles>) -> bool) -> Outstanding {
        let is_not_so = |state: &mut Inner| state.is_busy || !is_so(&state.core);
        let waited = self.done.wait_timeout_while(self.state(), wait, is_not_so);
        waited.unwrap_or_else(PoisonError::into_inner).0.core.outstanding()
    }

    fn carry_out(&self, action: Action, link: Option<&Link<Context>>) {
        let answer = |request, message: Message<'_>| {
            // A link that has just ended wants no answer.
            let _ = link.map(|link| link.answer(request, &message));
        };
        match action {
            Action::Start { task, work, base, shards, delay } => {
                let _ = self.starts.try_send(Start { task, work, base, shards, delay });
            }
            Action::Stop { work } => work.stop(),
            // Its reader has been told.
            Action::Fetch { .. } => {}
            Action::AnswerTrained { to, trained: TrainedUpdate { result, delayed, data }, inline } => {
                let inline = if inline { data.to_vec() } else { Vec::new() };
                let delayed_ms = delayed.as_millis() as u32;
                answer(to.request, Trained { name: to.attempt, result, delayed_ms, inline }.into());
            }
            Action::AnswerRejected { to, reason, counts, retry_ms } => {
                let (running, waiting) = (counts.running, counts.waiting);
                answer(to.request, Rejected { name: to.attempt, reason, running, waiting, retry_ms }.into());
            }
            Action::AnswerFailed { to, failure } => answer(to.request, error_of(failure).into()),
            Action::AnswerPolled { request, attempt, state, .. } => {
                let (batches_done, batches_planned) = state.as_ref().map_or((0, 0), |(_, work)| work.batches());
                let state = state.map_or(TaskState::Unknown, |(state, _)| state);
                answer(request, Polled { name: attempt, state, batches_done, batches_planned }.into());
            }
            Action::AnswerResults { request, results, .. } => {
                let bytes_max = link.map_or(0, |link| link.peer().payload_bytes_max);
                answer(request, Holding { results }.fitting(bytes_max).into());
            }
            Action::PinUpdate { digest, data } => {
                self.store.insert(digest, data);
                self.store.pin(&digest);
            }
            Action::UnpinUpdate { digest } => self.store.unpin(&digest),
            Action::DropObject { digest } => self.store.remove(&digest),
            // Memory that a reader still holds is put there by whoever is the last.
            Action::ReuseMemory { data } => self.store.buffers().put(data),
            Action::Close { .. } => {
                let _ = link.map(|link| link.close(CLOSING));
            }
            Action::Tell { attempt, note } => say_task(&self.event_log, &attempt, || match note {
                Note::HandedBack => "handed back".to_owned(),
                Note::Rejected(reason) => format!("rejected: {reason:?}"),
                Note::Reused => "is trained already: the result was held".to_owned(),
                Note::Adopted => "is being trained already, since before this link".to_owned(),
                Note::GivenUp => "is given up: its link has ended, and nobody has come back for it".to_owned(),
            }),
        }
    }

    #[inline(never)] // Locking takes more code than a call, and is done in many places.
    fn state(&self) -> MutexGuard<'_, Inner> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn link(&self, key: LinkKey) -> Option<&Link<Context>> {
        self.links.iter().find(|(other, _)| *other == key).map(|(_, link)| link)
    }
}

/// The link that an order needs.
fn link_of(action: &Action) -> Option<LinkKey> {
    match action {
        Action::AnswerTrained { to, .. } | Action::AnswerRejected { to, .. } | Action::AnswerFailed { to, .. } => {
            Some(to.link)
        }
        Action::AnswerPolled { link, .. } | Action::AnswerResults { link, .. } | Action::Close { link } => Some(*link),
        _ => None,
    }
}

fn error_of(failure: Failure<Error>) -> Error {
    match failure {
        Failure::Cancelled => refusal(ErrorCode::Cancelled, "the task was cancelled"),
        Failure::Closing => refusal(ErrorCode::Closing, CLOSING).retryable(),
        Failure::QueueFull { queued_max } => {
            let error = refusal(ErrorCode::Busy, "too many tasks wait at this node").retryable();
            error.with_numbers(queued_max as u64 + 1, queued_max as u64)
        }
        Failure::TooManyNamed { named, named_objects_max } => {
            let error = refusal(ErrorCode::Busy, "the tasks that wait at this node name too many objects").retryable();
            error.with_numbers(named as u64, named_objects_max as u64)
        }
        Failure::DataMissing(error) | Failure::Training(error) => error,
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::{Receiver, bounded};

    use super::*;
    use crate::compute::core::{Identity, Object, Recipient, Settings, Train as TrainRequest};
    use crate::compute::specified::Specified;
    use crate::compute::work::Work;
    use crate::job::{Attempt, JobId, TaskId};
    use crate::model::{ARITHMETIC, Network, Recipe, Training};
    use crate::wire::message::RowsSource;

    fn driver(workers: u32, store_bytes: u64) -> (Driver, Receiver<Start>) {
        let (starts, started) = bounded(workers as usize);
        let store = Arc::new(Store::new(store_bytes));
        (Driver::new(Core::new(Settings::new(workers), 1), store, starts, EventLog::default()), started)
    }

    fn request(link: LinkKey, shard: u32) -> TrainRequest<Handles> {
        let (digest, task) = (Digest([1; 32]), TaskId { job: JobId(1), step: 0, shard });
        let network = Network::new(1, &[], 2).unwrap();
        let training =
            Training { arithmetic: ARITHMETIC, network, recipe: Recipe::DEFAULT, seed: 1, class_weights: Vec::new() };
        let attempt = Attempt { task, attempt: 1, token: 1 };
        let work = Work::new(attempt, RowsSource::Shipped(digest), Arc::new(Specified::new(training)));
        let object = || Object { digest, data: Some(Arc::new(Vec::new())) };
        TrainRequest {
            to: Recipient { link, request: shard, attempt },
            identity: Identity { task, base: digest, rest: digest },
            may_reject: false,
            base: object(),
            shards: vec![object()],
            work: Arc::new(work),
        }
    }

    #[test]
    fn orders_are_carried_out_in_the_order_in_which_they_were_decided_whoever_reports() {
        const TASKS: u32 = 2_000;
        let (driver, started) = driver(2 * TASKS, 0);
        std::thread::scope(|scope| {
            for link in [LinkKey(1), LinkKey(2)] {
                driver.report(Event::LinkUp { link, inline_bytes_max: 0 });
                scope.spawn({
                    let driver = &driver;
                    move || {
                        (0..TASKS).for_each(|shard| drop(driver.report(Event::TrainRequested(request(link, shard)))))
                    }
                });
            }
        });
        // The core numbers tasks as it starts them.
        let tasks: Vec<u64> = started.try_iter().map(|start| start.task.0).collect();
        assert_eq!(tasks, (0..2 * u64::from(TASKS)).collect::<Vec<_>>());
    }

    #[test]
    fn an_update_that_is_pinned_stays_however_little_room_there_is() {
        let (driver, _started) = driver(1, 0);
        let (update, other) = (vec![1; 1000], vec![2; 1000]);
        let digest = Digest::of(&update);
        driver.carry_out(Action::PinUpdate { digest, data: Arc::new(update) }, None);
        driver.carry_out(Action::PinUpdate { digest: Digest::of(&other), data: Arc::new(other) }, None);
        driver.carry_out(Action::DropObject { digest }, None);
        assert!(driver.store.holds(&digest));
        driver.carry_out(Action::UnpinUpdate { digest }, None);
        assert!(!driver.store.holds(&digest), "a store without room lets it go at once");
    }

    #[test]
    fn what_is_kept_stays_while_there_are_tasks() {
        let (driver, started) = driver(1, u64::MAX);
        let rows = vec![1; 1000];
        driver.store.insert(Digest::of(&rows), Arc::new(rows));
        driver.report(Event::LinkUp { link: LinkKey(1), inline_bytes_max: 0 });
        driver.report(Event::TrainRequested(request(LinkKey(1), 0)));
        assert!(!driver.rest(0) && driver.store.bytes() == 1000);
        let Start { task, .. } = started.try_recv().unwrap();
        let failed = Err(refusal(ErrorCode::Training, "not trained"));
        driver.report(Event::Ended { task, result: failed, rows_per_second: None });
        assert!(driver.rest(0) && driver.store.bytes() == 0);
    }

    #[test]
    fn an_update_that_is_dropped_leaves_its_memory_to_the_next() {
        let (driver, _started) = driver(1, u64::MAX);
        let update = vec![1; 1 << 20];
        let (digest, place) = (Digest::of(&update), update.as_ptr());
        driver.carry_out(Action::PinUpdate { digest, data: Arc::new(update) }, None);
        driver.carry_out(Action::UnpinUpdate { digest }, None);
        assert!(driver.store.holds(&digest), "it may still be on its way");
        driver.carry_out(Action::DropObject { digest }, None);
        let next = driver.store.buffers().take(1 << 20);
        assert_eq!((next.as_ptr(), next.len()), (place, 0));
    }
}
