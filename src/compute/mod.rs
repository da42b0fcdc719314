//! A compute node: it answers coordinators, keeps objects by hash, and trains tasks on its own threads, so that a node
//! that trains hard still answers its heartbeat.
//!
//! Owns the node's life: its server, its links, its workers, its injected load. Does not know scheduling, rounds or
//! other nodes.

mod kept;
mod load;
mod serving;
mod workers;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::config::{self, Name, Probability, WORKERS_MAX};
use crate::model::{ARITHMETIC, Kernel};
use crate::net::{self, Caps, Greeted, Identity, Link, Listener, Peer, Server, Service, SocketAddr, StartError};
use crate::store::Store;
use crate::wire::message::{Error, Features};
use crate::wire::{ErrorCode, MessageType, Role};

use load::InjectedLoad;
use serving::{Context, Serving};
use workers::Workers;

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
        }
    }
}

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
    queue: workers::Queue,
    load: InjectedLoad,
    links: Mutex<HashMap<u64, Link<Context>>>,
    next_link: AtomicU64,
}

impl Node {
    /// Listens and starts the workers.
    pub fn start(settings: &Settings) -> Result<Node, StartError> {
        let listener = Listener::bind(settings.listen).map_err(StartError::Listen)?;
        let store = Arc::new(Store::new(settings.cache_bytes));
        let load = InjectedLoad::new(settings.load_probability, settings.load_delay);
        let workers = settings.workers.clamp(1, WORKERS_MAX);
        let (workers, queue) = Workers::start(workers, settings.kernel, load.clone()).map_err(StartError::Thread)?;
        let shared = Arc::new(Shared {
            identity: identity(settings, listener.address().port(), queue.workers()),
            store,
            queue,
            load,
            links: Mutex::default(),
            next_link: AtomicU64::new(0),
        });
        let server = net::serve(listener, Caps::default(), shared.clone()).map_err(StartError::Thread)?;
        Ok(Node { server, shared, workers: Some(workers) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Says goodbye to every coordinator, gives up what is being trained, and ends its threads.
    pub fn stop(&mut self) {
        self.server.stop();
        for link in self.shared.links().values() {
            link.close("the node is stopping");
        }
        if let Some(workers) = self.workers.take() {
            workers.stop();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn links(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Link<Context>>> {
        self.links.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Service for Shared {
    fn identity(&self) -> Identity {
        self.identity.clone()
    }

    fn admit(&self, peer: &Peer) -> Result<(), Error> {
        match peer.role {
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
        let key = self.next_link.fetch_add(1, Ordering::Relaxed);
        self.links().insert(key, link);
        let mut serving = Serving::new(self.store.clone(), self.queue.clone(), self.load.clone());
        let closed = reader.run(&mut serving);
        self.links().remove(&key);
        log::info!("the link to the coordinator at {address} has ended: {closed}");
    }

    fn status(&self) -> String {
        let counts = self.queue.counts();
        format!(
            "compute_node  {}\nworkers       {}\nrunning       {}\nwaiting       {}\ntasks_done    {}\ncoordinators  {}\n",
            env!("CARGO_PKG_VERSION"),
            self.queue.workers(),
            counts.running,
            counts.waiting,
            counts.done,
            self.links().len(),
        )
    }
}

fn identity(settings: &Settings, port: u16, workers: u32) -> Identity {
    Identity {
        role: Role::Node,
        id: net::persistent_id(Role::Node, port, config::machine_id()),
        features: Features {
            cluster: settings.cluster.as_ref().map(|name| name.as_str().to_owned()),
            arithmetics: vec![ARITHMETIC],
            workers: Some(workers),
            name: settings.name.as_ref().map(|name| name.as_str().to_owned()),
            software: Some(concat!("gradwire ", env!("CARGO_PKG_VERSION")).to_owned()),
        },
    }
}
