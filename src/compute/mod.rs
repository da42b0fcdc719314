//! A compute node: it answers coordinators, keeps objects by hash, and trains tasks on its own threads, so that a node
//! that trains hard still answers its heartbeat.
//!
//! Owns the node's life: its server, its links, its workers, its injected load. Does not know scheduling, rounds or
//! other nodes.

mod board;
pub mod crew;
mod duties;
mod held;
mod kept;
mod load;
mod serving;
mod workers;

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::config::{self, Name, Probability, WORKERS_MAX};
use crate::digest::Digest;
use crate::model::conformance::{self, Difference};
use crate::model::{ARITHMETIC, Kernel};
use crate::net::{
    self, Caps, Feed, Greeted, Identity, Link, ListenError, Listener, Peer, Port, Question, Server, Service, SocketAddr,
};
use crate::store::Store;
use crate::wire::message::{Error, Features};
use crate::wire::text::{Align, Kind, Metrics, Table, number};
use crate::wire::{ErrorCode, MessageType, Role, limits};

use board::Board;
use duties::{Duties, Kind as Of};
use held::Held;
use load::InjectedLoad;
use serving::{Context, Recipient, Serving};
use workers::Workers;

pub use duties::Owed;

/// What a node is told at its start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen; port 0 takes any free one.
    pub listen: SocketAddr,
    /// With this probability a task is delayed, and one that may be rejected is.
    pub load_probability: Probability,
    /// The delay.
    pub load_delay: Duration,
    /// Tasks trained at once, at least 1.
    pub workers: u32,
    /// Machine code for the arithmetic.
    pub kernel: Kernel,
    /// Bytes of objects kept.
    pub cache_bytes: u64,
    /// What people call the node.
    pub name: Option<Name>,
    /// The cluster that it belongs to.
    pub cluster: Option<Name>,
    /// The largest object that is taken.
    pub object_bytes: u64,
    /// Coordinators linked at a time.
    pub connections: usize,
    /// Names, besides `localhost`, under which HTTP is answered.
    pub http_hosts: Vec<String>,
    /// How long a node that is to end waits for what it still owes.
    pub drain_wait: Duration,
}

impl Settings {
    /// The settings of a node without injected load, of one worker, at this address.
    pub fn new(listen: SocketAddr) -> Settings {
        Settings {
            listen,
            load_probability: Probability::ZERO,
            load_delay: Duration::from_secs(3),
            workers: 1,
            kernel: Kernel::best(),
            cache_bytes: 256 << 20,
            name: None,
            cluster: None,
            object_bytes: limits::OBJECT_BYTES_MAX,
            connections: limits::CONNECTIONS_MAX,
            http_hosts: Vec::new(),
            drain_wait: Duration::from_secs(10),
        }
    }
}

/// Why a node that ends takes no task and closes its links.
const CLOSING: &str = "the node is shutting down";
/// What results that are kept beyond their answer may take of the memory for objects: one part in so many.
const HELD_PART: u64 = 16;

/// Why a node does not start.
#[derive(Debug)]
pub enum StartError {
    /// This machine computes otherwise than the definition says.
    Arithmetic(Difference),
    /// It cannot listen.
    Listen(ListenError),
    /// The system gives no thread.
    Thread(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arithmetic(difference) => difference.fmt(f),
            Self::Listen(error) => error.fmt(f),
            Self::Thread(error) => write!(f, "no thread could be started: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// A running node; it stops when dropped.
pub struct Node {
    server: Server,
    shared: Arc<Shared>,
    workers: Option<Workers>,
}

/// What the node's connections share.
struct Shared {
    identity: Identity,
    store: Arc<Store>,
    held: Arc<Held<Recipient>>,
    queue: workers::Queue,
    load: InjectedLoad,
    board: Board,
    duties: Duties,
    feed: Feed,
    address: SocketAddr,
    object_bytes: u64,
    /// With their numbers.
    links: Mutex<Vec<(u64, Link<Context>)>>,
    next_link: AtomicU64,
}

impl Node {
    /// Proves that this machine computes as it must, listens, and starts the workers.
    pub fn start(settings: &Settings) -> Result<Node, StartError> {
        let proof = conformance::prove(settings.kernel).map_err(StartError::Arithmetic)?;
        let listener = Listener::bind(settings.listen).map_err(StartError::Listen)?;
        let held_bytes = settings.cache_bytes / HELD_PART;
        let store = Arc::new(Store::new(settings.cache_bytes - held_bytes));
        let held = Arc::new(Held::new(held_bytes, store.spares().clone()));
        let load = InjectedLoad::new(settings.load_probability, settings.load_delay);
        let workers = settings.workers.clamp(1, WORKERS_MAX);
        let duties = Duties::default();
        let (workers, queue) = Workers::start(workers, settings.kernel, load.clone(), duties.clone(), &held)?;
        let port = Port {
            caps: Caps { greeted: settings.connections, ..Caps::default() },
            http_hosts: settings.http_hosts.clone(),
            ..Port::default()
        };
        let shared = Arc::new(Shared {
            identity: identity(settings, listener.address().port(), queue.workers(), proof),
            store,
            held,
            queue,
            load,
            board: Board::default(),
            duties,
            feed: port.feed.clone(),
            address: listener.address(),
            object_bytes: settings.object_bytes,
            links: Mutex::default(),
            next_link: AtomicU64::new(0),
        });
        let server = net::serve(listener, port, shared.clone()).map_err(StartError::Thread)?;
        Ok(Node { server, shared, workers: Some(workers) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Takes no task from now on, and hands back those that no worker has begun; `told` what is left to be done, if
    /// something is. Waits until it is done, for as long as `wait`, and says goodbye to every coordinator. What was not
    /// done by then is told, and is theirs again: no coordinator takes it for a failure.
    pub fn drain(&mut self, wait: Duration, told: impl FnOnce(Owed)) -> Owed {
        /// A coordinator that has heard the goodbye closes; what was sent before it is on its way until then.
        const CLOSE_WAIT: Duration = Duration::from_secs(1);
        let duties = &self.shared.duties;
        duties.drain();
        if let Some(workers) = &self.workers {
            workers.hand_back_queued();
        }
        let owed = duties.owed();
        if !owed.is_nothing() {
            self.shared.feed.say("node", self.shared.address, || format!("shuts down after {owed}"));
            told(owed);
        }
        let left = duties.await_done(wait, Owed::is_nothing);
        self.close_links();
        duties.await_done(CLOSE_WAIT, |owed| owed.links == 0);
        left
    }

    /// Says goodbye to every coordinator, gives up what is being trained, and ends its threads.
    pub fn stop(&mut self) {
        self.server.stop();
        self.close_links();
        if let Some(workers) = self.workers.take() {
            workers.stop();
        }
    }

    fn close_links(&self) {
        for (_, link) in &*self.shared.links() {
            link.close(CLOSING);
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    #[inline(never)] // Locking takes more code than a call, and is done in many places.
    fn links(&self) -> std::sync::MutexGuard<'_, Vec<(u64, Link<Context>)>> {
        self.links.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Service for Shared {
    fn identity(&self) -> Identity {
        self.identity.clone()
    }

    fn admit(&self, peer: &Peer) -> Result<(), Error> {
        match peer.role {
            Role::Coordinator if self.duties.are_draining() => {
                Err(Error::new(ErrorCode::Closing, MessageType::Hello as u8, CLOSING).retryable())
            }
            Role::Coordinator => Ok(()),
            role => Err(Error::new(
                ErrorCode::Unexpected,
                MessageType::Hello as u8,
                format!("this is a compute node, and it works for coordinators: a {role} asks a coordinator"),
            )),
        }
    }

    fn connection(&self, greeted: Greeted) {
        let address = greeted.peer.address;
        let (link, reader) = match net::open(greeted) {
            Ok(opened) => opened,
            Err(error) => return log::warn!("lost the coordinator at {address}: {error}"),
        };
        let _open = self.duties.owe(Of::Link);
        log::info!("linked to the coordinator at {address}");
        self.feed.say("link", address, || "a coordinator is linked");
        let key = self.next_link.fetch_add(1, Ordering::Relaxed);
        self.links().push((key, link));
        let mut serving = Serving::new(self, key);
        let closed = reader.run(&mut serving);
        self.links().retain(|(other, _)| *other != key);
        log::info!("the link to the coordinator at {address} has ended: {closed}");
        self.feed.say("link", address, || format!("the link to the coordinator has ended: {closed}"));
    }

    fn answer(&self, question: Question) -> String {
        match question {
            Question::Status => {
                let (own, jobs) = (self.own_line(), self.board.jobs());
                format!(
                    "compute_node  {}\nworkers       {}\ncoordinators  {}\nkept          {} bytes\nheld          \
                     {} results, {} reused\n\n{own}\n{jobs}",
                    env!("CARGO_PKG_VERSION"),
                    self.queue.workers(),
                    self.links().len(),
                    self.store.bytes(),
                    self.held.count(),
                    self.held.reused(),
                )
            }
            Question::Nodes => self.own_line().to_string(),
            Question::Jobs => self.board.jobs(),
            Question::Job(prefix) => self.board.job(prefix),
        }
    }

    fn metrics(&self, out: &mut Metrics) {
        let counts = self.queue.counts();
        out.single("gradwire_workers", Kind::Gauge, "Tasks that are trained at once.", f64::from(self.queue.workers()));
        out.family("gradwire_tasks", Kind::Gauge, "Tasks in hand, by state.");
        out.sample(&[("state", "running")], f64::from(counts.running));
        out.sample(&[("state", "waiting")], f64::from(counts.waiting));
        out.single("gradwire_tasks_done_total", Kind::Counter, "Tasks answered.", counts.done as f64);
        out.single("gradwire_coordinators", Kind::Gauge, "Coordinators linked.", self.links().len() as f64);
        let help = "Rows that one worker trains in a second, as measured in the last task.";
        out.single("gradwire_rows_per_second", Kind::Gauge, help, counts.rows_per_second);
        let help = "Results kept in case that they are asked for again.";
        out.single("gradwire_results_held", Kind::Gauge, help, self.held.count() as f64);
        let help = "Tasks that another connection had trained, or was training when it ended.";
        out.single("gradwire_results_reused_total", Kind::Counter, help, self.held.reused() as f64);
        out.single("gradwire_store_bytes", Kind::Gauge, "Bytes of objects kept.", self.store.bytes() as f64);
    }

    fn limits(&self) -> Vec<(&'static str, u64)> {
        vec![("OBJECT_BYTES_MAX", self.object_bytes)]
    }
}

impl Shared {
    fn state(&self) -> &'static str {
        match self.links().is_empty() {
            _ if self.duties.are_draining() => "draining",
            true => "idle",
            false => "linked",
        }
    }

    /// This node, in the columns in which a coordinator lists its nodes.
    fn own_line(&self) -> Table {
        use Align::{Left, Right};
        let mut table = Table::new(&[
            ("NODE", Left),
            ("ADDRESS", Left),
            ("STATE", Left),
            ("RUNNING", Right),
            ("WAITING", Right),
            ("DONE", Right),
            ("ROWS/S", Right),
        ]);
        let counts = self.queue.counts();
        table.row([
            self.identity.features.name.clone().unwrap_or_default(),
            self.address.to_string(),
            self.state().to_owned(),
            number(counts.running.into()),
            number(counts.waiting.into()),
            number(counts.done),
            number(counts.rows_per_second as u64),
        ]);
        table
    }
}

fn identity(settings: &Settings, port: u16, workers: u32, proof: Digest) -> Identity {
    Identity {
        role: Role::Node,
        id: net::persistent_id(Role::Node, port, config::machine_id()),
        features: Features {
            cluster: settings.cluster.as_ref().map(|name| name.as_str().to_owned()),
            arithmetics: vec![ARITHMETIC],
            workers: Some(workers),
            name: settings.name.as_ref().map(|name| name.as_str().to_owned()),
            software: Some(concat!("gradwire ", env!("CARGO_PKG_VERSION")).to_owned()),
            conformance: vec![(ARITHMETIC, proof)],
        },
    }
}
