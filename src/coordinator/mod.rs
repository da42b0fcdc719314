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
//! | `history` | one that reads what watchers have missed |
//! | `doctor` | one that looks how nodes and the disk are, when a client asks |
//! | `injected` | none: what nodes hold up on purpose |
//! | `pace` | none: how fast objects travel to a node and back |
//! | `listing` | none: the list of nodes, which the inactive poller has read again when its file changes |
//! | `status`, `status_page` | none: what the console and a browser are told |
//! | `threads` | none of its own: it starts those that there is no going on without |
//! | `questions` | none: one question of a client after the other |
//! | `incoming`, `transfers`, `update` | none: what waits for which update, how many bytes of them there may be, and how one comes together |
//! | `room`, `collecting` | none: room for jobs' data, and who gives way where there is none |
//! | `job_registry`, `ended`, `durable_rounds` | none: jobs that have not ended, jobs that have, their rounds |
//! | `handover`, `past_weights` | none: weights that wait for the journal, and those of steps that are over |
//! | `workers`, `taking_turns` | one that merges, one that validates: for several jobs in turn |
//! | `merging`, `collected` | none: a round in the making, and its updates where all must be there |

mod answers;
mod client_key;
mod collected;
mod collecting;
mod data;
mod dialling;
mod doctor;
mod driver;
mod durable_rounds;
mod ended;
mod error;
mod event;
mod handles;
mod handover;
mod history;
mod incoming;
mod injected;
mod job_registry;
mod journal;
mod links;
mod listing;
mod lived;
mod merging;
mod pace;
mod past_weights;
mod pollers;
mod questions;
mod room;
mod server;
mod settings;
mod status;
mod status_page;
mod taking_turns;
mod threads;
mod transfers;
mod update;
mod watcher;
mod work;
mod workers;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::config;
use crate::digest::Digest;
use crate::model::conformance;
use crate::net::{self, Caps, Identity, Listener, Port, Server, SocketAddr};
use crate::store::Store;
use crate::wire::Role;
use crate::wire::message::Features;
use crate::wire::text::counted;

use collected::Storage;
use dialling::Dialling;
use driver::{Driver, Handles};
pub use error::StartError;
use event::DriverEvent;
use journal::{Directory, Keeping, Underway};
pub use journal::{OnDiskError, OpenError};
use listing::Listing;
use room::Room;
pub use settings::{KEEP_BYTES, Settings};
pub use threads::FatalError;
use threads::Threads;
use transfers::Transfers;
use workers::Merger;

/// A running coordinator; it stops when dropped.
pub struct Coordinator {
    server: Server,
    events: Sender<DriverEvent>,
    /// Dropping it ends the pollers.
    stop_pollers: Option<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
    fatal_errors: Receiver<FatalError>,
}

/// Events that may wait for the engine: some from each of a large fleet. Their room, 380 bytes each, is in memory from the start.
const EVENTS_MAX: usize = 2_048;

impl Coordinator {
    /// Proves that this machine computes as it must, listens for clients, and begins to dial the nodes.
    pub fn start(settings: &Settings) -> Result<Coordinator, StartError> {
        let proof = conformance::prove(settings.kernel).map_err(StartError::Arithmetic)?;
        let (directory, updates) = match &settings.state_dir {
            Some(path) => {
                let directory = Directory::open(path).map_err(StartError::Journal)?;
                let updates = Storage::directory(directory.root()).map_err(StartError::Updates)?;
                log::info!("keeping jobs in {}", path.display());
                (Some(Arc::new(directory)), updates)
            }
            None => {
                log::info!("keeping jobs in memory only; --state-dir DIR keeps them across restarts");
                (None, Storage::Memory)
            }
        };
        let listener = Listener::bind(settings.listen).map_err(StartError::Listen)?;
        // Said before the first node is dialled: what is logged of nodes comes after it.
        let nodes = counted(settings.nodes.len() as u64, "node");
        log::info!("listening at {}, policy {}, {nodes} listed", listener.address(), settings.policy);
        Self::start_threads(settings, listener, directory, updates, proof)
    }

    fn start_threads(
        settings: &Settings,
        listener: Listener,
        directory: Option<Arc<Directory>>,
        updates: Storage,
        proof: Digest,
    ) -> Result<Coordinator, StartError> {
        let identity = identity(settings, listener.address().port());
        let store = Arc::new(Store::new(settings.data_bytes()));
        let data_room = Room::new(settings.data_bytes());
        let (events, queue) = bounded(EVENTS_MAX);
        let (stop_pollers, stopped) = bounded(0);
        let mut threads = Vec::new();
        let (start, fatal_errors) = Threads::new();
        let room = events.clone();
        // Where the channel is full the driver is busy, and looks at its next beat; where it is closed there is nothing left to
        // fetch.
        let transfers = Transfers::new(settings.in_flight_bytes, move || drop(room.try_send(DriverEvent::Reservation)));
        let buffers = store.buffers().clone();
        let kernel = settings.kernel;
        let underway = Underway::new(directory.clone());
        let merger = |storage| Merger::new(kernel, storage, buffers.clone(), transfers.clone(), underway.clone());
        let (small, large) = (merger(Storage::Memory), merger(updates));
        let (merging, merger) = workers::start_merging(&start, kernel, large, events.clone())?;
        let (validating, validator) =
            workers::start_validating(&start, settings.kernel, underway.clone(), events.clone())?;
        threads.extend([merger, validator]);
        let port = Port {
            caps: Caps { greeted: settings.connections, ..Caps::default() },
            http_hosts: settings.http_hosts.clone(),
            ..Port::default()
        };
        let dialling = Dialling {
            identity: identity.clone(),
            proof,
            store: store.clone(),
            transfers: transfers.clone(),
            events: events.clone(),
            counters: port.counters.clone(),
        };
        let listing = Listing::new(&settings.nodes, settings.nodes_file.clone());
        let nodes = listing.nodes().map(|(key, address)| (key, address.clone())).collect();
        let (poller, inactive) = pollers::start_inactive(&start, listing, dialling, stopped.clone())?;
        threads.push(inactive);
        threads.push(pollers::start_completion(&start, events.clone(), stopped.clone())?);
        // Without a journal there is nothing to read first.
        let recovering = Arc::new(AtomicBool::new(directory.is_some()));
        let keeping = Keeping {
            directory,
            on_disk_error: settings.on_disk_error,
            ended_bytes_max: settings.keep_bytes,
            memory: settings.job_memory(),
            underway,
        };
        let (journal, archive, writer) = journal::start(&start, keeping, store.clone(), events.clone())?;
        let (history, reader) = history::start(&start, archive.clone(), events.clone(), stopped.clone())?;
        let (doctor, examiner) = doctor::start(&start, settings.state_dir.clone(), stopped)?;
        threads.extend([reader, examiner]);
        let handles = Handles {
            store: store.clone(),
            room: data_room.clone(),
            transfers,
            small,
            merging,
            validating,
            poller,
            journal,
            archive: archive.clone(),
            history,
            doctor,
            recovering: recovering.clone(),
            event_log: port.event_log.clone(),
        };
        let driver = Driver::new(settings, nodes, handles);
        threads.push(start.start_computing("engine", kernel, move || driver.run(&queue))?);
        // Last: it has written everything once the engine's thread has ended.
        threads.push(writer);
        let set = vec![("OBJECT_BYTES_MAX", settings.object_bytes), ("IN_FLIGHT_BYTES_MAX", settings.in_flight_bytes)];
        let service = server::Clients::new(identity, store, data_room, archive, recovering, events.clone(), set);
        let server = net::serve(listener, port, Arc::new(service))?;
        Ok(Coordinator { server, events, stop_pollers: Some(stop_pollers), threads, fatal_errors })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Waits until `count` nodes are active, for as long as `wait`. Says whether they are.
    pub fn await_active(&self, count: usize, wait: Duration) -> bool {
        let (reply, active) = bounded(1);
        self.events.send(DriverEvent::AwaitActive { count, reply }).is_ok() && active.recv_timeout(wait).is_ok()
    }

    /// Tells why the coordinator cannot go on, if that happens, while it stops too: it is to be stopped then.
    pub fn fatal_errors(&self) -> &Receiver<FatalError> {
        &self.fatal_errors
    }

    /// Says goodbye to everyone, writes what is to be written, and ends its threads.
    pub fn stop(&mut self) {
        self.server.stop();
        self.stop_pollers = None;
        let _ = self.events.send(DriverEvent::Stop);
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
