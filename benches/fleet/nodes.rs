//! Simulated compute nodes: real listeners and links, no training. A task is answered when its simulated time is up, with
//! the same tiny update for every task of a network. Owns what a coordinator can see of a node: PUT, FETCH of a round's
//! weights, one task at a time, a queue, rejections, polls, loads. Does not know the job; shards are never asked for.
//!
//! Cheap enough that a thousand of them are no bottleneck: threads only block, one more has all the timers, and weights
//! are counted as they arrive and thrown away.

use gradwire::job::{Attempt, RejectReason, TaskResult, TaskState};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use gradwire::digest::Digest;
use gradwire::model::conformance::published;
use gradwire::model::{ARITHMETIC, Network};
use gradwire::net::{
    self, Greeted, Handler, Identity, Link, Listener, Peer, Port, Question, Server, Service, answer_fetch, answer_have,
};
use gradwire::store::Store;
use gradwire::wire::message::{Error, Features, Fetch, Held, Piece, Polled, Pong, Rejected, Train, Trained};
use gradwire::wire::object::{self, ObjectKind};
use gradwire::wire::text::Metrics;
use gradwire::wire::{ErrorCode, Message, MessageType, Role};

/// Weights are asked for in such pieces, as a compute node does.
const FETCH_BYTES: u64 = 256 << 10;
/// So many at a time.
const FETCHES_MAX: u64 = 8;
/// What every weight changes by: enough to be a number, too little to matter.
const CHANGE: f32 = 1e-7;

/// How long tasks take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Work {
    /// On a node of full speed.
    pub time: Duration,
    /// Whether a tenth of the nodes is nearly twice, and a fiftieth (but one at least) five times slower.
    pub is_mixed: bool,
}

/// Full speed, in tenths of a task's time.
const TENTHS: u32 = 10;

impl Work {
    /// How long a node takes, in tenths of what one of full speed does. Not twice as long exactly: that is where a task
    /// begins to count as slow.
    fn tenths(self, index: usize) -> u32 {
        match index {
            _ if !self.is_mixed => TENTHS,
            index if index % 50 == 7 => 5 * TENTHS,
            index if index % 10 == 3 => 2 * TENTHS - 1,
            _ => TENTHS,
        }
    }

    /// How long a task takes on a node.
    pub fn time_on(self, index: usize) -> Duration {
        self.time * self.tenths(index) / TENTHS
    }

    /// How long `tasks` tasks take on `count` nodes, each training one at a time, if they are given out as well as can be.
    pub fn least_time(self, tasks: usize, count: usize) -> Duration {
        let done_after = |tenths: u32| (0..count).map(|node| (tenths / self.tenths(node)) as usize).sum::<usize>();
        let tenths = (1..).find(|&tenths| done_after(tenths) >= tasks).unwrap_or_default();
        self.time * tenths / TENTHS
    }
}

/// Running nodes.
pub struct Nodes {
    shared: Arc<Shared>,
    servers: Vec<Server>,
}

/// What all nodes share.
struct Shared {
    work: Mutex<Work>,
    update: Mutex<Option<(Network, Arc<Update>)>>,
    /// For what is fetched: the updates.
    store: Store,
    timers: Mutex<BTreeMap<(Instant, u64), Due>>,
    sooner: Condvar,
    next_timer: AtomicU64,
    is_stopping: AtomicBool,
    rejections: AtomicU64,
}

struct Update {
    digest: Digest,
    bytes: Arc<Vec<u8>>,
}

/// A task whose time will be up.
struct Due {
    link: Link<Fetching>,
    request: u32,
    name: Attempt,
    network: Arc<Network>,
    busy: Arc<Mutex<Busy>>,
}

/// What a link's node has in hand.
struct Busy {
    free_at: Instant,
    out: Vec<(u32, Attempt)>,
}

/// A request of ours: a piece of the weights.
#[derive(Clone, Copy)]
struct Fetching;

struct Node {
    index: usize,
    identity: Identity,
    shared: Arc<Shared>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Nodes {
    /// `count` nodes, each at a port of its own.
    pub fn start(count: usize) -> io::Result<Nodes> {
        let shared = Arc::new(Shared {
            work: Mutex::new(Work { time: Duration::ZERO, is_mixed: false }),
            update: Mutex::default(),
            store: Store::new(u64::MAX),
            timers: Mutex::default(),
            sooner: Condvar::new(),
            next_timer: AtomicU64::new(0),
            is_stopping: AtomicBool::new(false),
            rejections: AtomicU64::new(0),
        });
        let timing = shared.clone();
        thread::Builder::new().name("timers".to_owned()).spawn(move || timing.answer_what_is_due())?;
        let mut nodes = Nodes { shared: shared.clone(), servers: Vec::with_capacity(count) };
        for index in 0..count {
            let listener = Listener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).map_err(io::Error::other)?;
            let features = Features {
                arithmetics: vec![ARITHMETIC],
                workers: Some(1),
                name: Some(format!("simulated-{index}")),
                conformance: vec![(ARITHMETIC, published())],
                ..Features::default()
            };
            let id = net::persistent_id(Role::Node, listener.address().port(), None);
            let identity = Identity { role: Role::Node, id, features };
            let node = Arc::new(Node { index, identity, shared: shared.clone() });
            nodes.servers.push(net::serve(listener, Port::default(), node)?);
        }
        Ok(nodes)
    }

    /// Their ports.
    pub fn ports(&self) -> Vec<u16> {
        self.servers.iter().map(|server| server.address().port()).collect()
    }

    /// From now on tasks take so long.
    pub fn set_work(&self, work: Work) {
        *lock(&self.shared.work) = work;
    }

    /// Tasks that were turned down since this was last asked.
    pub fn take_rejections(&self) -> u64 {
        self.shared.rejections.swap(0, Ordering::Relaxed)
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.shared.is_stopping.store(true, Ordering::Release);
        lock(&self.shared.timers).clear();
        self.shared.sooner.notify_all();
    }
}

impl Shared {
    /// The update of every task of this network.
    fn update(&self, network: &Network) -> Arc<Update> {
        let mut known = lock(&self.update);
        if let Some((other, update)) = &*known
            && other == network
        {
            return update.clone();
        }
        let values = vec![CHANGE; network.parameters()];
        let bytes = Arc::new(object::encode_parameters(ObjectKind::Update, network, &values));
        let digest = Digest::of(&bytes);
        self.store.insert(digest, bytes.clone());
        let update = Arc::new(Update { digest, bytes });
        *known = Some((network.clone(), update.clone()));
        update
    }

    fn wait_for(&self, at: Instant, due: Due) {
        let key = (at, self.next_timer.fetch_add(1, Ordering::Relaxed));
        let mut timers = lock(&self.timers);
        timers.insert(key, due);
        if timers.first_key_value().is_some_and(|(first, _)| *first == key) {
            self.sooner.notify_one();
        }
    }

    /// The timers' thread.
    fn answer_what_is_due(&self) {
        let mut timers = lock(&self.timers);
        while !self.is_stopping.load(Ordering::Acquire) {
            let now = Instant::now();
            match timers.first_entry() {
                Some(first) if first.key().0 <= now => {
                    let due = first.remove();
                    drop(timers);
                    due.answer(self);
                    timers = lock(&self.timers);
                }
                Some(first) => {
                    let wait = first.key().0 - now;
                    timers = self.sooner.wait_timeout(timers, wait).unwrap_or_else(PoisonError::into_inner).0;
                }
                None => timers = self.sooner.wait(timers).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

impl Due {
    /// The task's time is up; one that was cancelled has been answered.
    fn answer(self, shared: &Shared) {
        let mut busy = lock(&self.busy);
        let before = busy.out.len();
        busy.out.retain(|(request, _)| *request != self.request);
        let was_out = busy.out.len() < before;
        drop(busy);
        if was_out {
            answer_train(shared, &self.link, self.request, self.name, &self.network);
        }
    }
}

fn answer_train(shared: &Shared, link: &Link<Fetching>, request: u32, name: Attempt, network: &Network) {
    let update = shared.update(network);
    let is_inline = update.bytes.len() <= Trained::inline_bytes_max(link.peer().payload_bytes_max);
    let inline = if is_inline { update.bytes.to_vec() } else { Vec::new() };
    let (update, update_bytes) = (update.digest, update.bytes.len() as u64);
    let result = TaskResult { epochs: 1, loss: 1.0, train_us: 1, update, update_bytes };
    let trained = Trained { name, result, delayed_ms: 0, inline };
    // A coordinator that has gone wants no answer.
    let _ = link.answer(request, &trained.into());
}

impl Service for Node {
    fn identity(&self) -> Identity {
        self.identity.clone()
    }

    fn admit(&self, _: &Peer) -> Result<(), Error> {
        Ok(())
    }

    fn connection(&self, greeted: Greeted) {
        let Ok((_link, reader)) = net::open(greeted) else { return };
        let busy = Arc::new(Mutex::new(Busy { free_at: Instant::now(), out: Vec::new() }));
        let (index, shared) = (self.index, self.shared.clone());
        reader.run(&mut Serving { index, shared, busy, held: None, coming: None, waiting: Vec::new(), network: None });
    }

    fn answer(&self, _: Question) -> String {
        String::new()
    }

    fn metrics(&self, _: &mut Metrics) {}

    fn limits(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
}

/// One coordinator's requests to one node.
struct Serving {
    index: usize,
    shared: Arc<Shared>,
    busy: Arc<Mutex<Busy>>,
    /// The last weights that arrived whole.
    held: Option<Digest>,
    coming: Option<Coming>,
    /// Tasks whose weights are not here.
    waiting: Vec<(u32, Attempt, Arc<Network>)>,
    /// Of the job whose specification came last.
    network: Option<Arc<Network>>,
}

/// Weights on their way.
struct Coming {
    digest: Digest,
    object_bytes: u64,
    asked_bytes: u64,
    come_bytes: u64,
}

impl Serving {
    fn train(&mut self, link: &Link<Fetching>, request: u32, train: Train) {
        self.network = train.training.map(|training| Arc::new(training.network)).or(self.network.take());
        let Some(network) = self.network.clone() else { return };
        let mut busy = lock(&self.busy);
        if train.may_reject && !busy.out.is_empty() {
            self.shared.rejections.fetch_add(1, Ordering::Relaxed);
            let running = busy.out.len() as u32;
            drop(busy);
            let rejected = Rejected { name: train.name, reason: RejectReason::Busy, running, waiting: 0, retry_ms: 0 };
            let _ = link.answer(request, &rejected.into());
            return;
        }
        busy.out.push((request, train.name));
        drop(busy);
        if self.held == Some(train.base) {
            return self.begin(link, request, train.name, network);
        }
        if self.coming.as_ref().is_none_or(|coming| coming.digest != train.base) {
            let object_bytes = object::parameters_bytes(&network);
            self.coming = Some(Coming { digest: train.base, object_bytes, asked_bytes: 0, come_bytes: 0 });
            (0..FETCHES_MAX).for_each(|_| self.fetch_more(link));
        }
        self.waiting.push((request, train.name, network));
    }

    fn fetch_more(&mut self, link: &Link<Fetching>) {
        let Some(coming) = &mut self.coming else { return };
        let bytes = FETCH_BYTES.min(coming.object_bytes - coming.asked_bytes);
        if bytes > 0 {
            let fetch = Fetch { digest: coming.digest, offset: coming.asked_bytes, bytes_max: bytes as u32 };
            coming.asked_bytes += bytes;
            let _ = link.request(&fetch.into(), Fetching);
        }
    }

    /// A piece of the weights that were asked for, or of those that came unasked, has arrived.
    fn arrived(&mut self, link: &Link<Fetching>, piece: &Piece<'_>) {
        let whole = match &mut self.coming {
            Some(coming) if coming.digest == piece.digest => {
                coming.come_bytes += piece.bytes.len() as u64;
                coming.come_bytes >= coming.object_bytes
            }
            _ => piece.bytes.len() as u64 == piece.object_bytes,
        };
        if !whole {
            return self.fetch_more(link);
        }
        self.held = Some(piece.digest);
        self.coming = None;
        for (request, name, network) in std::mem::take(&mut self.waiting) {
            self.begin(link, request, name, network);
        }
    }

    /// All that the task needs is here.
    fn begin(&self, link: &Link<Fetching>, request: u32, name: Attempt, network: Arc<Network>) {
        let work = *lock(&self.shared.work);
        let time = work.time_on(self.index);
        let mut busy = lock(&self.busy);
        busy.free_at = busy.free_at.max(Instant::now()) + time;
        let free_at = busy.free_at;
        drop(busy);
        let due = Due { link: link.clone(), request, name, network, busy: self.busy.clone() };
        if time.is_zero() {
            due.answer(&self.shared);
        } else {
            self.shared.wait_for(free_at, due);
        }
    }
}

impl Handler<Fetching> for Serving {
    fn request(&mut self, link: &Link<Fetching>, request: u32, message: Message<'_>) -> Result<(), Error> {
        let _ = match message {
            Message::Train(train) => {
                self.train(link, request, train);
                return Ok(());
            }
            Message::Put(piece) => {
                let answered = link.answer(request, &Held { bytes: vec![piece.object_bytes] }.into());
                self.arrived(link, &piece);
                answered
            }
            Message::Poll(poll) => {
                let is_out = lock(&self.busy).out.iter().any(|(_, name)| *name == poll.name);
                let state = if is_out { TaskState::Running } else { TaskState::Unknown };
                link.answer(request, &Polled { name: poll.name, state, batches_done: 0, batches_planned: 1 }.into())
            }
            Message::Have(have) => answer_have(link, request, &have, &self.shared.store),
            Message::Fetch(fetch) => answer_fetch(link, request, fetch, &self.shared.store),
            other => {
                let kind = other.message_type();
                link.answer(request, &Error::new(ErrorCode::Unexpected, kind as u8, "not simulated").into())
            }
        };
        Ok(())
    }

    fn answer(&mut self, link: &Link<Fetching>, _: Fetching, message: Message<'_>, _last: bool) {
        if let Message::Data(piece) = message {
            self.arrived(link, &piece);
        }
    }

    fn cancel(&mut self, link: &Link<Fetching>, request: u32) {
        let mut busy = lock(&self.busy);
        busy.out.retain(|(other, _)| *other != request);
        if busy.out.is_empty() {
            busy.free_at = Instant::now();
        }
        drop(busy);
        let error = Error::new(ErrorCode::Cancelled, MessageType::Train as u8, "the task was cancelled");
        let _ = link.answer(request, &error.into());
    }

    fn load(&mut self) -> Pong {
        let running = lock(&self.busy).out.len() as u32;
        Pong { running, waiting: 0, rows_per_second: 0.0 }
    }

    fn peer_load(&mut self, _: Pong) {}
}
