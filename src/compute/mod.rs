//! A compute node: it answers coordinators, keeps objects by hash, and trains tasks on its own threads, so that a node
//! that trains hard still answers its heartbeat.
//!
//! Owns the node's life: its server, its links, its workers. What becomes of a task is decided by `core` alone, which does
//! nothing itself. Does not know scheduling, rounds or other nodes.
//!
//! | module | owns |
//! |---|---|
//! | [`core`] | the life of every task, pure: `handle(event) -> actions` |
//! | `driver` | the core's lock, and its orders' way to whom they concern |
//! | `links` | one coordinator's requests, and what is on its way from it |
//! | `workers` | the threads that train |
//! | `task_trainer` | what a worker does with one task |
//! | `specified` | what tasks are trained by, once a link and job |
//! | `known_rows` | which shards have been looked through |
//! | `work` | what links, driver and workers hand to each other |
//! | [`idle_workers`] | workers that help each other |
//! | `fork_join` | work that is lent to them |
//! | `console` | what people are shown |

mod console;
pub mod core;
mod driver;
mod error;
mod fork_join;
pub mod idle_workers;
mod known_rows;
mod links;
mod settings;
mod specified;
mod task_trainer;
mod work;
mod workers;

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::bounded;

use crate::config::{self, WORKERS_MAX};
use crate::digest::Digest;
use crate::model::ARITHMETIC;
use crate::model::conformance::{self};
use crate::net::{
    self, Caps, EventLog, Greeted, Identity, Listener, Peer, Port, Question, Server, Service, SocketAddr,
};
use crate::store::Store;
use crate::wire::message::{Error, Features};
use crate::wire::text::Metrics;
use crate::wire::{ErrorCode, MessageType, Role};

use self::core::{Core, Event, Settings as CoreSettings};
use driver::Driver;
use links::{Kept, Serving};
use task_trainer::TaskMeans;
use workers::Workers;

pub use self::core::Outstanding;
pub use error::StartError;
pub use settings::Settings;
use work::CLOSING;

/// A running node; it stops when dropped.
pub struct Node {
    server: Server,
    shared: Arc<Shared>,
    workers: Option<Workers>,
    time: Option<JoinHandle<()>>,
}

/// What the node's connections share.
struct Shared {
    identity: Identity,
    store: Arc<Store>,
    driver: Arc<Driver>,
    workers: u32,
    event_log: EventLog,
    address: SocketAddr,
    object_bytes: u64,
    rows_bytes: u64,
}

impl Node {
    /// Proves that this machine computes as it must, listens, and starts the workers.
    pub fn start(settings: &Settings) -> Result<Node, StartError> {
        let proof = conformance::prove(settings.kernel).map_err(StartError::Arithmetic)?;
        let listener = Listener::bind(settings.listen).map_err(StartError::Listen)?;
        let port = Port {
            caps: Caps { greeted: settings.connections, ..Caps::default() },
            http_hosts: settings.http_hosts.clone(),
            ..Port::default()
        };
        let count = settings.workers.clamp(1, WORKERS_MAX);
        let store = Arc::new(Store::new(settings.rows_bytes()));
        let core = CoreSettings {
            load_probability: settings.load_probability.get(),
            load_delay: settings.load_delay,
            results_bytes_max: settings.results_bytes(),
            orphan_lease: settings.orphan_lease,
            ..CoreSettings::new(count)
        };
        let mut seed = [0; 8];
        net::fill_random(&mut seed);
        let core = Core::new(core, u64::from_le_bytes(seed));
        let (starts, started) = bounded(count as usize);
        let driver = Arc::new(Driver::new(core, store.clone(), starts, port.event_log.clone()));
        let means = TaskMeans {
            kernel: settings.kernel,
            buffers: store.buffers().clone(),
            memory_bytes: settings.task_bytes(),
            rest_after: settings.rest_after,
            resting_bytes: settings.resting_bytes(),
        };
        let workers = Workers::start(count, &means, &started, &driver, &port.event_log)?;
        let shared = Arc::new(Shared {
            identity: identity(settings, listener.address().port(), count, proof),
            store,
            driver,
            workers: count,
            event_log: port.event_log.clone(),
            address: listener.address(),
            object_bytes: settings.object_bytes,
            rows_bytes: settings.rows_bytes(),
        });
        let server = net::serve(listener, port, shared.clone()).map_err(StartError::Thread)?;
        let driver = shared.driver.clone();
        let time = thread::Builder::new().name("time".to_owned()).spawn(move || driver.keep_time());
        let time = time.map_err(StartError::Thread)?;
        Ok(Node { server, shared, workers: Some(workers), time: Some(time) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Takes no task from now on, and hands back those that no worker has begun; `told` what is left to be done, if
    /// something is. Waits until it is done, for as long as `wait`, and says goodbye to every coordinator. What was not
    /// done by then is told, and is theirs again: no coordinator takes it for a failure.
    pub fn drain(&mut self, wait: Duration, told: impl FnOnce(Outstanding)) -> Outstanding {
        /// A coordinator that has heard the goodbye closes; what was sent before it is on its way until then.
        const CLOSE_WAIT: Duration = Duration::from_secs(1);
        let driver = &self.shared.driver;
        driver.report(Event::DrainRequested);
        let outstanding = driver.look(|core, _| core.outstanding());
        if !outstanding.is_nothing() {
            self.shared.event_log.say("node", self.shared.address, || format!("shuts down after {outstanding}"));
            told(outstanding);
        }
        let left = driver.await_drained(wait, |core| core.outstanding().is_nothing());
        driver.report(Event::CloseRequested);
        driver.await_drained(CLOSE_WAIT, |core| core.links() == 0);
        left
    }

    /// Says goodbye to every coordinator, gives up what is being trained, and ends its threads.
    pub fn stop(&mut self) {
        self.server.stop();
        self.shared.driver.stop();
        if let Some(workers) = self.workers.take() {
            workers.stop();
        }
        if let Some(time) = self.time.take() {
            let _ = time.join();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Service for Shared {
    fn identity(&self) -> Identity {
        self.identity.clone()
    }

    fn admit(&self, peer: &Peer) -> Result<(), Error> {
        match peer.role {
            Role::Coordinator if self.driver.look(|core, _| core.is_draining()) => {
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
        log::info!("linked to the coordinator at {address}");
        self.event_log.say("link", address, || "a coordinator is linked");
        let key = self.driver.link_up(link);
        let kept = Kept { store: self.store.clone(), rows_bytes: self.rows_bytes, workers: self.workers };
        let mut serving = Serving::new(key, self.driver.clone(), kept, self.object_bytes);
        let closed = reader.run(&mut serving);
        drop(serving);
        log::info!("the link to the coordinator at {address} has ended: {closed}");
        self.event_log.say("link", address, || format!("the link to the coordinator has ended: {closed}"));
    }

    fn answer(&self, question: Question) -> String {
        match question {
            Question::Status => self.status(),
            Question::Nodes => self.own_line().to_string(),
            Question::Jobs => self.jobs(),
            Question::Job(prefix) => self.job(prefix),
        }
    }

    fn metrics(&self, out: &mut Metrics) {
        self.tell_metrics(out);
    }

    fn limits(&self) -> Vec<(&'static str, u64)> {
        vec![("OBJECT_BYTES_MAX", self.object_bytes)]
    }
}

/// A probability in parts of a million, where there is one: never less than one of them.
fn load_ppm(probability: f64) -> Option<u32> {
    (probability > 0.0).then(|| ((probability * 1e6).round() as u32).max(1))
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
            memory_bytes: Some(settings.task_bytes()),
            cache_bytes: Some(settings.rows_bytes()),
            load_ppm: load_ppm(settings.load_probability.get()),
        },
    }
}
