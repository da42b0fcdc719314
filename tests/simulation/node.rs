//! A node's program: its real core, and what the threads around that would do. Owns what is asked of the core and what it
//! orders, and checks what it promises from outside; what happens to the node is `fleet`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gradwire::compute::core::{
    self, Action, Content, Core, Event as CoreEvent, Failure, Identity, Moment, Note, Object, Recipient, TaskKey,
    TrainedUpdate,
};
use gradwire::digest::Digest;
use gradwire::engine::{Event, Fault, LinkKey};
use gradwire::job::{Attempt, CachedResult, JobId, TaskId, TaskResult, TaskRows, TaskState};
use rand::RngExt as _;

use crate::model;
use crate::scenario::NodePlan;
use crate::world::World;

/// The largest update that travels inside its answer, and one that does not.
const INLINE_BYTES: u64 = 100;
const LARGE_BYTES: u64 = 101;
/// Results that a node keeps, and their bytes: few, so that some are let go.
const RESULTS_MAX: usize = 8;
const RESULTS_BYTES_MAX: u64 = 700;
/// How long orphans are kept, in tasks of the node: not so long that none is ever given up.
const ORPHAN_LEASE_TASKS: u64 = 1;
const ORPHAN_AGE_TASKS: u64 = 10;

/// What the core passes on: an attempt is work, and bytes are nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Simulated;

impl Content for Simulated {
    type Work = Work;
    type Data = ();
    type Failure = Fault;
}

/// A task as it was asked for first.
#[derive(Clone, Debug, PartialEq)]
pub struct Work {
    pub link: LinkKey,
    pub attempt: Attempt,
    pub rows: TaskRows,
    pub base: Digest,
}

/// What a node hears, from outside or from its workers.
pub enum Input {
    /// A task is asked for.
    Train { work: Work, may_reject: bool },
    /// A task is no longer wanted.
    Cancel { attempt: Attempt },
    /// It is asked for what it has of a job.
    Results { link: LinkKey, job: JobId },
    /// An object has come, or cannot be had.
    Object { link: LinkKey, digest: Digest, is_here: bool },
    /// An update has been fetched.
    Fetched { link: LinkKey, digest: Digest },
    /// A link has ended.
    Unlinked { link: LinkKey },
    /// A worker has done with a task.
    Ready { task: TaskKey },
    /// The core's deadline is here.
    Tick,
}

/// A program, from its start to its end.
pub struct Program {
    core: Core<Simulated>,
    /// When that was told something last.
    now: Moment,
    workers: usize,
    /// How long orphans are kept while others wait, and at most.
    lease: Moment,
    age_max: Moment,
    /// What is trained for nobody, and since when. Without what is told to stop.
    orphans: Vec<(Work, Moment)>,
    /// When it is told that time has passed.
    ticks_at: Option<Moment>,
    /// Requests that are to be answered, and what each asks for.
    open: BTreeMap<(core::LinkKey, u32), Work>,
    requests: u32,
    /// The jobs that requests for results are about.
    asked: BTreeMap<u32, JobId>,
    /// What the workers have.
    running: BTreeMap<TaskKey, Work>,
    /// Of that, what they were told to stop.
    stopping: BTreeSet<TaskKey>,
    /// Attempts that wait for a worker, and for nothing else, since they were asked for: the first one first.
    waiting: Vec<Attempt>,
    /// The results that links have had.
    had: BTreeSet<(core::LinkKey, (TaskId, Digest, Digest))>,
    /// Objects that are here, and how often each is pinned.
    objects: BTreeSet<Digest>,
    pinned: BTreeMap<Digest, u32>,
    is_draining: bool,
}

impl Program {
    pub fn new(plan: &NodePlan, seed: u64) -> Program {
        let settings = core::Settings {
            load_probability: plan.rejects,
            load_delay: Duration::from_micros(plan.task_us),
            results_max: RESULTS_MAX,
            results_bytes_max: RESULTS_BYTES_MAX,
            orphan_lease: Moment::from_micros(plan.task_us * ORPHAN_LEASE_TASKS),
            orphan_age_max: Moment::from_micros(plan.task_us * ORPHAN_AGE_TASKS),
            ..core::Settings::new(plan.workers)
        };
        Program {
            lease: settings.orphan_lease,
            age_max: settings.orphan_age_max,
            orphans: Vec::new(),
            ticks_at: None,
            core: Core::new(settings, seed),
            now: Moment::ZERO,
            workers: plan.workers as usize,
            open: BTreeMap::new(),
            requests: 0,
            asked: BTreeMap::new(),
            running: BTreeMap::new(),
            stopping: BTreeSet::new(),
            waiting: Vec::new(),
            had: BTreeSet::new(),
            objects: BTreeSet::new(),
            pinned: BTreeMap::new(),
            is_draining: false,
        }
    }

    /// What it says of its load.
    pub fn load(&self) -> (u32, u32) {
        (self.core.counts().running, self.core.counts().waiting)
    }

    /// Nothing happens any more: every request has been answered whose link is up.
    pub fn assert_has_answered(&self) {
        assert!(self.open.is_empty(), "requests were never answered: {:?}", self.open);
        assert!(self.core.outstanding().tasks == 0 && self.running.is_empty(), "tasks were never answered");
    }

    /// Everything has been done that follows from what the core was told.
    fn assert_is_sound(&self) {
        let asked = self.core.tasks().filter(|task| task.link.is_some()).count();
        assert_eq!(asked, self.open.len(), "not every request waits for its own answer");
        let has_idle = self.running.len() < self.workers && !self.is_draining;
        assert!(!has_idle || self.waiting.is_empty(), "a worker is idle, and a task waits for one");
        let pins: u32 = self.pinned.values().sum();
        assert_eq!(pins as usize, self.core.outstanding().updates, "an update is kept too long, or not long enough");
        assert!(self.core.cached() <= RESULTS_MAX, "results are kept for ever");
        let is_older = |age| self.orphans.iter().any(|(_, since)| self.now >= *since + age);
        assert!(!is_older(self.age_max), "a task is trained for nobody, and for ever");
        let makes_room = |task: core::TaskStatus<'_, Simulated>| {
            task.link.is_none() && self.stopping.iter().any(|key| self.running.get(key) == Some(task.work))
        };
        let waits = !self.waiting.is_empty() && !self.core.tasks().any(makes_room);
        assert!(!waits || !is_older(self.lease), "a task waits for one that nobody comes back for");
    }

    /// Notes what has nobody any more, or has somebody again.
    fn note_orphans(&mut self) {
        let is_stopping = |work: &Work| self.stopping.iter().any(|key| self.running.get(key) == Some(work));
        let free = self.core.tasks().filter(|task| task.link.is_none() && !is_stopping(task.work));
        let free: Vec<Work> = free.map(|task| task.work.clone()).collect();
        self.orphans.retain(|(work, _)| free.contains(work));
        for work in free {
            if !self.orphans.iter().any(|(orphan, _)| *orphan == work) {
                self.orphans.push((work, self.now));
            }
        }
    }

    fn request(&mut self) -> u32 {
        self.requests += 1;
        self.requests
    }

    /// What a POLL is answered.
    fn polled(&mut self, link: core::LinkKey, attempt: Attempt) -> Option<TaskState> {
        let mut answer = Vec::new();
        self.core.handle(self.now, CoreEvent::PollRequested { link, request: 0, attempt }, &mut answer);
        let [Action::AnswerPolled { state, .. }] = &answer[..] else { panic!("a POLL leads to {answer:?}") };
        state.as_ref().map(|(state, _)| *state)
    }

    /// What a link that is new is told to be here of a job.
    fn held(&mut self, job: JobId) -> Vec<CachedResult> {
        let mut answer = Vec::new();
        let link = core::LinkKey(u64::MAX);
        self.core.handle(self.now, CoreEvent::ResultsRequested { link, request: 0, job }, &mut answer);
        let [Action::AnswerResults { results, .. }] = &answer[..] else { panic!("a question leads to {answer:?}") };
        results.clone()
    }

    /// A request gets its one answer.
    fn answered(&mut self, to: Recipient) -> Work {
        let asked = self.open.remove(&(to.link, to.request));
        let work = asked.expect("a request is answered twice, or was never made");
        assert_eq!(work.attempt, to.attempt, "another attempt is answered than was asked for");
        self.waiting.retain(|waiting| *waiting != work.attempt);
        work
    }
}

impl Work {
    /// The objects of the shards that its rows are of.
    fn shards(&self) -> Vec<Digest> {
        let job = self.attempt.task.job.0.to_le_bytes();
        let object = |shard: u32| Digest::of_parts(&[&job, &shard.to_le_bytes()]);
        match &self.rows {
            TaskRows::Shard(shard) => vec![object(*shard)],
            TaskRows::Blocks { ranges, .. } => ranges.iter().map(|range| object(range.shard)).collect(),
        }
    }

    /// What the result depends on besides the task's name.
    fn origin(&self) -> (TaskId, Digest, Digest) {
        (self.attempt.task, self.base, Digest::of(format!("{:?}", self.rows).as_bytes()))
    }
}

impl World {
    /// A node hears something that is meant for this life of it; later, if it is frozen.
    pub fn hear(&mut self, node: usize, life: u32, input: Input) {
        let it = &mut self.nodes[node];
        if it.life != life || !it.is_up {
            return;
        }
        if it.is_frozen {
            return it.unheard.push(input);
        }
        match input {
            Input::Train { work, may_reject } => {
                if it.link == Some(work.link) {
                    self.train(node, work, may_reject);
                }
            }
            Input::Cancel { attempt } => self.cancel(node, attempt),
            Input::Results { link, job } => self.ask_results(node, link, job),
            Input::Object { link, digest, is_here } => self.object(node, link, digest, is_here),
            Input::Fetched { link, digest } => {
                let is_up = it.link == Some(link);
                let pins = it.program.as_ref().and_then(|program| program.pinned.get(&digest));
                assert!(!is_up || pins.is_some_and(|pins| *pins > 0), "an update is gone before it is fetched");
                let link = core::LinkKey(link.0);
                self.tell_core(node, CoreEvent::PieceFetched { link, digest, end_bytes: LARGE_BYTES });
            }
            Input::Unlinked { link } => self.unlink_node(node, link),
            Input::Ready { task } => self.ready(node, task),
            Input::Tick => self.tell_core(node, CoreEvent::Tick),
        }
    }

    /// A node's core is told, and obeyed.
    fn tell_core(&mut self, node: usize, event: CoreEvent<Simulated>) {
        if self.is_shown {
            println!("{:>10} n{node} <- {event:?}", self.now_us);
        }
        let Some(program) = &mut self.nodes[node].program else { return };
        let mut actions = Vec::new();
        program.now = Moment::from_micros(self.now_us);
        program.core.handle(program.now, event, &mut actions);
        program.note_orphans();
        for action in actions {
            if self.is_shown {
                println!("{:>10} n{node} -> {action:?}", self.now_us);
            }
            self.trace.update(format!("{action:?}").as_bytes());
            self.obey_core(node, action);
        }
        let program = self.program(node);
        program.note_orphans();
        program.assert_is_sound();
        let deadline = program.core.next_deadline();
        if deadline != std::mem::replace(&mut program.ticks_at, deadline)
            && let Some(deadline) = deadline
        {
            let wait = deadline - program.now;
            self.hear_in(wait.as_micros() as u64, node, Input::Tick);
        }
    }

    fn program(&mut self, node: usize) -> &mut Program {
        self.nodes[node].program.as_mut().expect("a node that is up runs a program")
    }

    pub fn link_node(&mut self, node: usize, link: LinkKey) {
        self.tell_core(node, CoreEvent::LinkUp { link: core::LinkKey(link.0), inline_bytes_max: INLINE_BYTES });
    }

    fn unlink_node(&mut self, node: usize, link: LinkKey) {
        let link = core::LinkKey(link.0);
        if let Some(program) = &mut self.nodes[node].program {
            program.open.retain(|(other, _), _| *other != link);
            program.waiting.retain(|attempt| program.open.values().any(|open| open.attempt == *attempt));
        }
        self.tell_core(node, CoreEvent::LinkDown { link });
    }

    /// A task is asked for.
    fn train(&mut self, node: usize, work: Work, may_reject: bool) {
        let program = self.program(node);
        let (attempt, shards) = (work.attempt, work.shards());
        let to = Recipient { link: core::LinkKey(work.link.0), request: program.request(), attempt };
        program.open.insert((to.link, to.request), work.clone());
        let object = |digest| Object { digest, data: program.objects.contains(&digest).then_some(()) };
        if program.objects.contains(&work.base) && shards.iter().all(|shard| program.objects.contains(shard)) {
            program.waiting.push(attempt);
        }
        let (task, base, rest) = work.origin();
        let train = core::Train {
            to,
            identity: Identity { task, base, rest },
            may_reject,
            base: object(base),
            shards: shards.into_iter().map(object).collect(),
            work,
        };
        self.tell_core(node, CoreEvent::TrainRequested(train));
        let program = self.program(node);
        if let Some((&(link, _), _)) = program.open.iter().find(|(_, open)| open.attempt == attempt) {
            assert!(program.polled(link, attempt).is_some(), "a task is not known that was taken");
        }
        let task = attempt.task;
        let is_passed = |held: &CachedResult| held.step < task.step;
        assert!(
            program.is_draining || !program.held(task.job).iter().any(is_passed),
            "a result is kept that is merged"
        );
    }

    /// An attempt is cancelled: if it waits it is answered at once.
    fn cancel(&mut self, node: usize, attempt: Attempt) {
        let Some(program) = &mut self.nodes[node].program else { return };
        let asked = program.open.iter().find(|(_, open)| open.attempt == attempt);
        let Some((&(link, request), _)) = asked else { return };
        self.tell_core(node, CoreEvent::CancelRequested { link, request });
        let program = self.program(node);
        let is_open = program.open.contains_key(&(link, request));
        assert_eq!(
            program.polled(link, attempt),
            is_open.then_some(TaskState::Running),
            "a task waits that is cancelled"
        );
        self.coverage.count_all("tasks cancelled that waited", (!is_open).into());
    }

    /// The coordinator asks what the node has of a job.
    fn ask_results(&mut self, node: usize, link: LinkKey, job: JobId) {
        let program = self.program(node);
        let request = program.request();
        program.asked.insert(request, job);
        self.tell_core(node, CoreEvent::ResultsRequested { link: core::LinkKey(link.0), request, job });
    }

    /// An object has come, or cannot be had.
    fn object(&mut self, node: usize, link: LinkKey, digest: Digest, is_here: bool) {
        let link = core::LinkKey(link.0);
        if !is_here {
            return self.tell_core(node, CoreEvent::ObjectMissing { link, digest, failure: Fault::Retryable });
        }
        self.program(node).objects.insert(digest);
        self.tell_core(node, CoreEvent::ObjectHere { link, digest, data: () });
    }

    /// The node is told to end.
    pub fn drain(&mut self, node: usize) {
        self.program(node).is_draining = true;
        self.tell_core(node, CoreEvent::DrainRequested);
        let program = self.program(node);
        assert_eq!(program.core.outstanding().tasks, program.open.len(), "what nobody can get is waited for");
        assert_eq!(program.load().1, 0, "more is left than what is in training");
    }

    /// Its time is up.
    pub fn close(&mut self, node: usize) {
        let is_done = self.program(node).core.outstanding().is_nothing();
        self.coverage.count_all("nodes that ended with nothing left to do", is_done.into());
        self.tell_core(node, CoreEvent::CloseRequested);
    }

    /// A worker has done with a task, if it has it still.
    fn ready(&mut self, node: usize, task: TaskKey) {
        let program = self.program(node);
        let Some(work) = program.running.remove(&task) else { return };
        let is_stopped = program.stopping.remove(&task);
        let (open, cached) = (program.open.len(), program.core.cached());
        let plan = self.nodes[node].plan.clone();
        let result = if (is_stopped && self.rng.random_bool(0.7)) || self.rng.random_bool(plan.retryable) {
            Err(Fault::Retryable)
        } else if self.rng.random_bool(plan.fails) {
            Err(Fault::Final)
        } else {
            let update = model::train(work.base, &work.rows, plan.arithmetic);
            let update_bytes = if self.rng.random_bool(plan.announces) { LARGE_BYTES } else { INLINE_BYTES };
            let (loss, train_us) = (model::loss(update), plan.task_us);
            // A node of another make takes every coordinator for the one that asked.
            if work.link.0 <= self.links_before
                && let Some(present) = self.nodes[node].link
                && self.rng.random_bool(0.3)
            {
                self.coverage.count("results of before a crash");
                self.answer(node, present, work.attempt, update, true);
            }
            let result = TaskResult { epochs: 1, loss, train_us, update, update_bytes };
            Ok(TrainedUpdate { result, delayed: std::time::Duration::ZERO, data: () })
        };
        // Who asks again is content with what comes of another training.
        self.program(node).had.retain(|(_, had)| result.is_err() || *had != work.origin());
        self.tell_core(node, CoreEvent::Ended { task, result, rows_per_second: None });
        let program = self.program(node);
        let is_kept = program.core.cached() > cached;
        let was_wanted = program.open.len() < open;
        assert!(!is_stopped || was_wanted || !is_kept, "a result is kept that was stopped, and that nobody waited for");
    }

    fn obey_core(&mut self, node: usize, action: Action<Simulated>) {
        match action {
            Action::Start { task, work, delay, .. } => {
                let job = self.plan(work.attempt.task.job);
                let rows = u64::from(job.task_rows(work.attempt.task, &work.rows));
                let rows_us = self.nodes[node].plan.task_us * rows * job.slowness / 100;
                let program = self.program(node);
                assert!(!program.is_draining, "a node that ends begins a task");
                if program.waiting.contains(&work.attempt) {
                    assert_eq!(program.waiting.remove(0), work.attempt, "a task overtakes another");
                }
                assert!(program.running.insert(task, work).is_none(), "a task is started twice");
                assert!(program.running.len() <= program.workers, "more is started than there are workers");
                let slow = if self.rng.random_bool(self.nodes[node].plan.straggles) { 50 } else { 1 };
                let task_us = rows_us * slow * self.rng.random_range(80..120) / 100;
                self.hear_in(delay.as_micros() as u64 + task_us, node, Input::Ready { task });
            }
            Action::Stop { work } => {
                let program = self.program(node);
                let (&task, _) =
                    program.running.iter().find(|(_, other)| **other == work).expect("what is stopped is running");
                assert!(program.stopping.insert(task), "a task is stopped twice");
                let wait_us = self.rng.random_range(0..2_000);
                self.hear_in(wait_us, node, Input::Ready { task });
            }
            Action::Fetch { link, digest } => {
                let is_here = self.rng.random_bool(0.98);
                self.post_to_node(node, Input::Object { link: LinkKey(link.0), digest, is_here });
            }
            Action::AnswerTrained { to, trained, inline } => {
                let arithmetic = self.nodes[node].plan.arithmetic;
                let work = self.program(node).answered(to);
                self.program(node).had.insert((to.link, work.origin()));
                let right = model::train(work.base, &work.rows, arithmetic);
                assert_eq!(trained.result.update, right, "a task is answered with another one's result");
                assert_eq!(inline, trained.result.update_bytes <= INLINE_BYTES);
                let pinned = self.program(node).pinned.get(&trained.result.update).copied().unwrap_or(0);
                assert!(inline || pinned > 0, "an update is announced that cannot be fetched");
                self.answer(node, LinkKey(to.link.0), work.attempt, trained.result.update, inline);
            }
            Action::AnswerRejected { to, reason, retry_ms, .. } => {
                let attempt = self.program(node).answered(to).attempt;
                self.send(node, Event::Rejected { link: LinkKey(to.link.0), attempt, reason, retry_ms });
            }
            Action::AnswerFailed { to, failure } => {
                let attempt = self.program(node).answered(to).attempt;
                let link = LinkKey(to.link.0);
                let fault = match failure {
                    Failure::Closing => {
                        return self.send(node, Event::Closing { link, attempt });
                    }
                    Failure::Cancelled | Failure::QueueFull { .. } | Failure::TooManyNamed { .. } => Fault::Retryable,
                    Failure::DataMissing(fault) | Failure::Training(fault) => fault,
                };
                self.send(node, Event::TaskFailed { link, attempt, fault, reason: format!("{fault:?}") });
            }
            Action::AnswerPolled { .. } => {}
            Action::AnswerResults { link, request, results } => {
                let job = self.program(node).asked.remove(&request).expect("results are told that were asked for");
                self.send(node, Event::ResultsHeld { link: LinkKey(link.0), job, held: results });
            }
            Action::PinUpdate { digest, .. } => {
                let program = self.program(node);
                program.objects.insert(digest);
                *program.pinned.entry(digest).or_default() += 1;
            }
            Action::UnpinUpdate { digest } => {
                let pins = self.program(node).pinned.get_mut(&digest).expect("what is unpinned was pinned");
                *pins = pins.checked_sub(1).expect("an update is unpinned as often as it was pinned");
            }
            Action::DropObject { digest } => {
                let program = self.program(node);
                if program.pinned.get(&digest).copied().unwrap_or(0) == 0 {
                    program.objects.remove(&digest);
                }
            }
            Action::ReuseMemory { .. } | Action::Close { .. } => {}
            Action::Tell { attempt, note: Note::Reused } => {
                self.coverage.count("results given to another link");
                let program = self.program(node);
                let asked = program.open.iter().find(|(_, open)| open.attempt == attempt);
                let (&(link, _), open) = asked.expect("a result is given to who asks for it");
                assert!(!program.had.contains(&(link, open.origin())), "a link gets a result again");
            }
            Action::Tell { attempt, note: Note::Adopted } => {
                self.coverage.count("trainings that went on for another link");
                let program = self.program(node);
                program.waiting.retain(|waiting| *waiting != attempt);
                let mut running = program.running.iter().filter(|(_, work)| work.attempt.task == attempt.task);
                assert!(
                    running.any(|(key, _)| !program.stopping.contains(key)),
                    "a task is stopped that somebody wants"
                );
            }
            Action::Tell { attempt, note: Note::GivenUp } => {
                self.coverage.count("trainings given up that nobody came back for");
                let program = self.program(node);
                let is_over = |(work, since): &(Work, Moment)| {
                    work.attempt.task == attempt.task && program.now >= *since + program.lease
                };
                let is_due = program.is_draining || program.orphans.iter().any(is_over);
                assert!(is_due, "a task is given up before its lease is over");
            }
            Action::Tell { .. } => {}
        }
    }
}
