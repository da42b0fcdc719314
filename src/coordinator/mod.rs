//! The threads around the engine: the server for clients, the links to nodes, the two pollers, merging and validating.
//!
//! Owns sockets' handles, objects and sums on the engine's behalf. Does not know policy: it tells the engine what has
//! happened and does what the engine orders.
//!
//! | module | its threads |
//! |---|---|
//! | `driver` | one that owns the engine, the jobs' data and the handles of all links |
//! | `server` | a reader and a writer for each client |
//! | `links` | a reader and a writer for each node |
//! | `pollers` | the inactive poller, which dials nodes that are down; the completion poller, which asks running tasks |
//! | `journal` | one that writes what jobs need to go on after a restart, and reads it back at the start |
//! | `listing` | none: the list of nodes, which the inactive poller has read again when its file changes |
//! | `threads` | none of its own: it starts those that there is no going on without
//! | `transfers`, `update` | none: how many bytes of updates there may be, and how one comes together |
//! | `jobs`, `ended` | none: jobs that have not ended, jobs that have |
//! | `workers` | one that merges, one that validates |

mod driver;
mod ended;
mod jobs;
mod journal;
mod links;
mod listing;
mod pollers;
mod server;
mod status;
mod threads;
mod transfers;
mod update;
mod workers;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::config::{self, Name, NodeAddress, NodesFile};
use crate::digest::Digest;
use crate::engine::{self, Policy};
use crate::model::Kernel;
use crate::model::conformance::{self, Difference};
use crate::net::{self, Caps, Identity, ListenError, Listener, Port, Server, SocketAddr};
use crate::store::Store;
use crate::wire::message::Features;
use crate::wire::text::counted;
use crate::wire::{Role, limits};

use driver::{Around, Driver, Input};
use journal::{Directory, Keeping};
pub use journal::{OnDiskError, OpenError};
use listing::Listing;
use threads::Threads;
pub use threads::Trouble;
use transfers::Transfers;

/// What the coordinator is told at its start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen for clients; port 0 takes any free one.
    pub listen: SocketAddr,
    /// How tasks are handed out.
    pub policy: Policy,
    /// The nodes that there may be.
    pub nodes: Vec<NodeAddress>,
    /// Where they are listed, if the list may change.
    pub nodes_file: Option<NodesFile>,
    /// How long each revival waits for a node.
    pub revival_waits: Vec<Duration>,
    /// Bytes of jobs' data kept.
    pub store_bytes: u64,
    /// Machine code for merging and validation.
    pub kernel: Kernel,
    /// The cluster that it belongs to.
    pub cluster: Option<Name>,
    /// The largest object that is taken.
    pub object_bytes: u64,
    /// Bytes of updates that may be on their way from nodes at a time; of one and a part of another, whatever their size.
    pub in_flight_bytes: u64,
    /// Clients connected at a time.
    pub connections: usize,
    /// Names, besides `localhost`, under which HTTP is answered.
    pub http_hosts: Vec<String>,
    /// Where jobs are written, so that they survive the coordinator; nowhere if none.
    pub state_dir: Option<PathBuf>,
    /// What happens when they cannot be.
    pub on_disk_error: OnDiskError,
    /// Jobs that are known after their end, the latest.
    pub keep_jobs: usize,
    /// How long they are.
    pub keep_ended: Duration,
    /// Bytes that they take where jobs are written, but for the latest of them.
    pub keep_bytes: u64,
}

/// Jobs that are known after their end where nothing else is asked for.
const KEEP_JOBS: usize = 64;
/// Bytes that jobs take once they have ended, where nothing else is said.
pub const KEEP_BYTES: u64 = 10_000_000_000;

impl Settings {
    /// The settings of a coordinator at this address with these nodes.
    pub fn new(listen: SocketAddr, policy: Policy, nodes: Vec<NodeAddress>) -> Settings {
        Settings {
            listen,
            policy,
            nodes,
            nodes_file: None,
            revival_waits: engine::Settings::new(policy).revival_waits,
            store_bytes: 1 << 30,
            kernel: Kernel::best(),
            cluster: None,
            object_bytes: limits::OBJECT_BYTES_MAX,
            in_flight_bytes: limits::IN_FLIGHT_BYTES_MAX,
            connections: limits::CONNECTIONS_MAX,
            http_hosts: Vec::new(),
            state_dir: None,
            on_disk_error: OnDiskError::Stop,
            keep_jobs: KEEP_JOBS,
            keep_ended: Duration::from_secs(30 * 24 * 3_600),
            keep_bytes: KEEP_BYTES,
        }
    }
}

/// Why a coordinator does not start.
#[derive(Debug)]
pub enum StartError {
    /// This machine computes otherwise than the definition says.
    Arithmetic(Difference),
    /// It cannot listen.
    Listen(ListenError),
    /// It cannot keep its jobs where it was told to.
    Journal(OpenError),
    /// The system gives no thread.
    Thread(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arithmetic(difference) => difference.fmt(f),
            Self::Listen(error) => error.fmt(f),
            Self::Journal(error) => error.fmt(f),
            Self::Thread(error) => write!(f, "no thread could be started: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> StartError {
        StartError::Thread(error)
    }
}

/// A running coordinator; it stops when dropped.
pub struct Coordinator {
    server: Server,
    inputs: Sender<Input>,
    /// Dropping it ends the pollers.
    stop_pollers: Option<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
    troubles: Receiver<Trouble>,
}

/// Events that may wait for the engine.
const INPUTS_MAX: usize = 8_192;

impl Coordinator {
    /// Proves that this machine computes as it must, listens for clients, and begins to dial the nodes.
    pub fn start(settings: &Settings) -> Result<Coordinator, StartError> {
        let proof = conformance::prove(settings.kernel).map_err(StartError::Arithmetic)?;
        let directory = match &settings.state_dir {
            Some(path) => {
                let directory = Directory::open(path).map_err(StartError::Journal)?;
                log::info!("keeping jobs in {}", path.display());
                Some(Arc::new(directory))
            }
            None => {
                log::info!("keeping jobs in memory only; --state-dir DIR keeps them across restarts");
                None
            }
        };
        let listener = Listener::bind(settings.listen).map_err(StartError::Listen)?;
        // Said before the first node is dialled: what is logged of nodes comes after it.
        let nodes = counted(settings.nodes.len() as u64, "node");
        log::info!("listening at {}, policy {}, {nodes} listed", listener.address(), settings.policy);
        Self::start_threads(settings, listener, directory, proof)
    }

    fn start_threads(
        settings: &Settings,
        listener: Listener,
        directory: Option<Arc<Directory>>,
        proof: Digest,
    ) -> Result<Coordinator, StartError> {
        let identity = identity(settings, listener.address().port());
        let store = Arc::new(Store::new(settings.store_bytes));
        let (inputs, events) = bounded(INPUTS_MAX);
        let (stop_pollers, stopped) = bounded(0);
        let mut threads = Vec::new();
        let (start, troubles) = Threads::new();
        let transfers = Transfers::new(settings.in_flight_bytes, inputs.clone());
        let (merging, merger) =
            workers::start_merging(&start, settings.kernel, store.spares().clone(), transfers.clone(), inputs.clone())?;
        let (validating, validator) = workers::start_validating(&start, settings.kernel, inputs.clone())?;
        threads.extend([merger, validator]);
        let port = Port {
            caps: Caps { greeted: settings.connections, ..Caps::default() },
            http_hosts: settings.http_hosts.clone(),
            ..Port::default()
        };
        let dialling = pollers::Dialling {
            identity: identity.clone(),
            proof,
            store: store.clone(),
            transfers: transfers.clone(),
            inputs: inputs.clone(),
            tally: port.tally.clone(),
        };
        let (poller, inactive) = pollers::start_inactive(&start, Listing::new(settings), dialling, stopped.clone())?;
        threads.push(inactive);
        threads.push(pollers::start_completion(&start, inputs.clone(), stopped)?);
        // Without a journal there is nothing to read first.
        let recovering = Arc::new(AtomicBool::new(directory.is_some()));
        let keeping =
            Keeping { directory, on_disk_error: settings.on_disk_error, ended_bytes_max: settings.keep_bytes };
        let (journal, archive, writer) = journal::start(&start, keeping, store.clone(), inputs.clone())?;
        let around = Around {
            store: store.clone(),
            transfers,
            merging,
            validating,
            poller,
            journal,
            archive: archive.clone(),
            recovering: recovering.clone(),
            feed: port.feed.clone(),
        };
        let driver = Driver::new(settings, around);
        threads.push(start.start("engine", move || driver.run(&events))?);
        // Last: it has written everything once the engine's thread has ended.
        threads.push(writer);
        let set = vec![("OBJECT_BYTES_MAX", settings.object_bytes), ("IN_FLIGHT_BYTES_MAX", settings.in_flight_bytes)];
        let service = server::Clients::new(identity, store, archive, recovering, inputs.clone(), set);
        let server = net::serve(listener, port, Arc::new(service))?;
        Ok(Coordinator { server, inputs, stop_pollers: Some(stop_pollers), threads, troubles })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Waits until `count` nodes are active, for as long as `wait`. Says whether they are.
    pub fn await_active(&self, count: usize, wait: Duration) -> bool {
        let (reply, active) = bounded(1);
        self.inputs.send(Input::AwaitActive { count, reply }).is_ok() && active.recv_timeout(wait).is_ok()
    }

    /// Tells why the coordinator cannot go on, if that happens, while it stops too: it is to be stopped then.
    pub fn troubles(&self) -> &Receiver<Trouble> {
        &self.troubles
    }

    /// Says goodbye to everyone, writes what is to be written, and ends its threads.
    pub fn stop(&mut self) {
        self.server.stop();
        self.stop_pollers = None;
        let _ = self.inputs.send(Input::Stop);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        self.stop();
    }
}

fn identity(settings: &Settings, port: u16) -> Identity {
    Identity {
        role: Role::Coordinator,
        id: net::persistent_id(Role::Coordinator, port, config::machine_id()),
        features: Features {
            cluster: settings.cluster.as_ref().map(|name| name.as_str().to_owned()),
            software: Some(concat!("gradwire ", env!("CARGO_PKG_VERSION")).to_owned()),
            ..Features::default()
        },
    }
}
