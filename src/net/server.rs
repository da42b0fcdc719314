//! A server: an acceptor thread, and a thread for each connection, limited by places. Owns a connection from its first
//! byte to its greeting; what follows is the service's, or the console's.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::THREAD_STACK_BYTES;
use super::connection_slots::{ConnectionSlot, ConnectionSlots};
use super::console::{self, Answers, Question};
use super::counters::{self, Counters};
use super::deadline::{self, Deadline};
use super::event_log::{EventLog, Watching};
use super::greeting::{self, Greeted, GreetingError, Identity, Peer};
use super::listen::Listener;
use super::memory::Crowd;
use crate::wire::message::Error;
use crate::wire::text::{Kind, Metrics};
use crate::wire::{Decoder, ErrorCode, MessageType, Role, VERSION, limits, text};

/// How many connections a server takes.
#[derive(Clone, Copy, Debug)]
pub struct Caps {
    /// Not yet greeted, in all.
    pub ungreeted: usize,
    /// Not yet greeted, from one address.
    pub ungreeted_per_address: usize,
    /// Text consoles.
    pub consoles: usize,
    /// Greeted.
    pub greeted: usize,
}

impl Default for Caps {
    fn default() -> Caps {
        Caps {
            ungreeted: limits::UNGREETED_MAX,
            ungreeted_per_address: limits::UNGREETED_PER_ADDRESS_MAX,
            consoles: limits::CONSOLES_MAX,
            greeted: limits::CONNECTIONS_MAX,
        }
    }
}

/// What a server is for. Its methods are called on connections' threads.
pub trait Service: Send + Sync + 'static {
    /// What we say of ourselves.
    fn identity(&self) -> Identity;

    /// Whether this peer is welcome.
    fn admit(&self, peer: &Peer) -> Result<(), Error>;

    /// Lives with a greeted connection until its end.
    fn connection(&self, greeted: Greeted);

    /// The answer to a question on the console: whole lines.
    fn answer(&self, question: Question) -> String;

    /// What is going on, as a page for browsers; none where there is no such page.
    #[cfg(feature = "coordinator")]
    fn page(&self) -> Option<String> {
        None
    }

    /// What there is to count.
    fn metrics(&self, out: &mut Metrics);

    /// Limits that were set at the start, by their names in protocol.md; those of [`Caps`] are known.
    fn limits(&self) -> Vec<(&'static str, u64)>;
}

/// What a server is given besides its service.
#[derive(Clone, Debug, Default)]
pub struct Port {
    /// How many connections it takes.
    pub caps: Caps,
    /// Names, besides `localhost`, under which HTTP is answered.
    pub http_hosts: Vec<String>,
    /// Where the program counts what its connections see.
    pub counters: Arc<Counters>,
    /// Where the program says what happens.
    pub event_log: EventLog,
}

/// A running server; it stops when told to, or when dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    /// The acceptor's: its port is free once that has ended.
    listener: Weak<Listener>,
    stopping: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Server {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting. Open connections go on until their owners close them.
    pub fn stop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        let Some(acceptor) = self.acceptor.take() else { return };
        if self.listener.upgrade().is_none_or(|listener| listener.end()) {
            let _ = acceptor.join();
        } else {
            log::warn!("the port of {} stays open until this program ends: nobody can connect to it", self.address);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Serves at a listening socket, on a thread of its own.
pub fn serve(listener: Listener, port: Port, service: Arc<dyn Service>) -> io::Result<Server> {
    let (address, listener) = (listener.address(), Arc::new(listener));
    let listening = Arc::downgrade(&listener);
    let stopping = Arc::new(AtomicBool::new(false));
    let flag = stopping.clone();
    let caps = port.caps;
    let shared = Arc::new(Shared {
        service,
        port,
        started: SystemTime::now(),
        ungreeted: ConnectionSlots::new(caps.ungreeted, caps.ungreeted_per_address),
        consoles: ConnectionSlots::new(caps.consoles, caps.consoles),
        greeted: ConnectionSlots::new(caps.greeted, caps.greeted),
        crowd: Crowd::default(),
    });
    let accept = move || accept_all(&listener, &flag, &shared);
    let acceptor = Builder::new().name(format!("accept {address}")).stack_size(THREAD_STACK_BYTES).spawn(accept)?;
    Ok(Server { address, listener: listening, stopping, acceptor: Some(acceptor) })
}

struct Shared {
    service: Arc<dyn Service>,
    port: Port,
    started: SystemTime,
    /// For those that have not greeted yet, or are being told why they are refused.
    ungreeted: Arc<ConnectionSlots>,
    consoles: Arc<ConnectionSlots>,
    greeted: Arc<ConnectionSlots>,
    crowd: Crowd,
}

/// That no connection can be accepted is told this often.
const TELL_AGAIN: Duration = Duration::from_secs(60);

fn accept_all(listener: &Listener, stopping: &AtomicBool, shared: &Arc<Shared>) {
    // What is wrong stays so for a while, and is tried again ten times a second.
    let mut told: Option<Instant> = None;
    loop {
        let accepted = listener.accept();
        if stopping.load(Ordering::Acquire) {
            return;
        }
        match accepted.and_then(|(stream, address)| start(shared, stream, address)) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
            Err(error) => {
                if told.is_none_or(|told| told.elapsed() > TELL_AGAIN) {
                    told = Some(Instant::now());
                    // Connections that end free some.
                    let cure = match error.raw_os_error() {
                        Some(libc::EMFILE) => {
                            ". Raise the limit of open files (ulimit -n), or take fewer --connections"
                        }
                        _ => "",
                    };
                    log::warn!("cannot accept a connection: {error}; trying again{cure}");
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

/// A greeted connection's place; given up when dropped.
struct GreetedPlace<'a> {
    slot: Option<ConnectionSlot>,
    shared: &'a Shared,
}

impl Drop for GreetedPlace<'_> {
    fn drop(&mut self) {
        self.slot = None;
        self.shared.crowd.shrunk(self.shared.greeted.count());
    }
}

impl Shared {
    fn take_greeted_place(&self, ungreeted: &ConnectionSlot, peer: &Peer) -> Result<GreetedPlace<'_>, Error> {
        match self.greeted.take_share(ungreeted, peer.address.ip(), peer.id) {
            Ok(slot) => {
                self.crowd.grown(self.greeted.count());
                counters::count(&self.port.counters.evicted, usize::from(slot.has_evicted()));
                Ok(GreetedPlace { slot: Some(slot), shared: self })
            }
            Err(taken) => {
                let allowed = self.port.caps.greeted as u64;
                let text = format!("{allowed} connections are open, as many as this program takes");
                let error = Error::new(ErrorCode::Busy, MessageType::Hello as u8, text).retryable();
                Err(error.with_numbers(taken as u64 + 1, allowed))
            }
        }
    }
}

/// Starts a connection's thread. An error is the system's, which has no descriptor or no thread left for it.
fn start(shared: &Arc<Shared>, stream: TcpStream, address: SocketAddr) -> io::Result<()> {
    let _ = stream.set_nodelay(true);
    counters::count(&shared.port.counters.accepted, 1);
    // Taken here, in the order of arrival. Every thread holds a place of one of three sorts or is on its way out: that
    // limits their number.
    let place = shared.ungreeted.take(&stream, address.ip())?;
    counters::count(&shared.port.counters.evicted, usize::from(place.has_evicted()));
    let shared = shared.clone();
    let live = move || {
        // A panic is a bug of ours; it ends this connection and no other.
        if catch_unwind(AssertUnwindSafe(|| converse(&shared, stream, address, place))).is_err() {
            counters::count(&shared.port.counters.faults, 1);
            log::error!("a fault of this program's own ended the connection from {address}");
        }
    };
    Builder::new().name(format!("peer {address}")).stack_size(THREAD_STACK_BYTES).spawn(live)?;
    Ok(())
}

fn converse(shared: &Shared, stream: TcpStream, address: SocketAddr, ungreeted: ConnectionSlot) {
    let wait = if ungreeted.is_crowded() { limits::FIRST_BYTE_WAIT_CROWDED } else { limits::FIRST_BYTE_WAIT };
    let mut decoder = Decoder::new(limits::GREETING_PAYLOAD_BYTES_MAX);
    match deadline::read(&stream, decoder.room(), Deadline::after(wait)) {
        Ok(count) if count > 0 => decoder.filled(count),
        _ => return,
    }
    if decoder.pending().first().copied().is_some_and(text::is_text) {
        let Ok(_console) = shared.consoles.take(&stream, address.ip()) else { return };
        drop(ungreeted);
        let _ = console::answer(shared, &stream, decoder.pending().to_vec());
        return;
    }
    let identity = shared.service.identity();
    let admit = |peer: &Peer| shared.service.admit(peer);
    let place = |peer: &Peer| shared.take_greeted_place(&ungreeted, peer);
    match greeting::answer(stream, decoder, &identity, limits::GREETING_WAIT, admit, place) {
        Ok((greeted, _place)) => {
            drop(ungreeted);
            let greeted = greeted.counted_by(&shared.port.counters);
            shared.service.connection(greeted);
        }
        Err((stream, GreetingError::Refuse(mut error))) => {
            if error.code == ErrorCode::Magic {
                error.text =
                    "this is a gradwire port; frames begin with F5 47 52 57, and text with a command".to_owned();
            }
            log::info!("refused {address}: {error}");
            shared.port.counters.refused(error.code);
            shared.port.event_log.say("peer", address, || format!("refused: {error}"));
            greeting::say_and_close(&stream, &error);
        }
        Err((_, GreetingError::Refused(error))) => log::info!("{address} refused us: {error}"),
        Err((_, GreetingError::Io(error))) => log::debug!("{address} went away while greeting: {error}"),
    }
}

impl Answers for Shared {
    fn answer(&self, question: Question) -> String {
        self.service.answer(question)
    }

    fn limits(&self) -> String {
        let Caps { ungreeted, ungreeted_per_address, consoles, greeted } = self.port.caps;
        let mut set = self.service.limits();
        set.extend([
            ("UNGREETED_MAX", ungreeted as u64),
            ("UNGREETED_PER_ADDRESS_MAX", ungreeted_per_address as u64),
            ("CONSOLES_MAX", consoles as u64),
            ("CONNECTIONS_MAX", greeted as u64),
        ]);
        text::limits_in_force(&set)
    }

    fn version(&self) -> String {
        let identity = self.service.identity();
        format!(
            "program   {}\nsoftware  {}\nprotocol  {VERSION}\n",
            program(identity.role),
            identity.features.software.as_deref().unwrap_or("-")
        )
    }

    fn metrics(&self) -> String {
        let mut out = Metrics::default();
        let identity = self.service.identity();
        out.family("gradwire_build_info", Kind::Gauge, "Which program this is; always 1.");
        let software = identity.features.software.as_deref().unwrap_or_default();
        let version = software.rsplit(' ').next().unwrap_or_default();
        out.sample(&[("program", program(identity.role)), ("version", version)], 1.0);
        let started = self.started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        out.single("process_start_time_seconds", Kind::Gauge, "When it was started, in seconds since 1970.", started);
        out.family("gradwire_connections", Kind::Gauge, "Open connections that this program has accepted.");
        out.sample(&[("kind", "ungreeted")], self.ungreeted.count() as f64);
        out.sample(&[("kind", "console")], self.consoles.count() as f64);
        out.sample(&[("kind", "greeted")], self.greeted.count() as f64);
        self.port.counters.write(&mut out);
        self.service.metrics(&mut out);
        out.into_text()
    }

    #[cfg(feature = "coordinator")]
    fn page(&self) -> Option<String> {
        self.service.page()
    }

    fn watch(&self) -> Watching {
        self.port.event_log.watch()
    }

    fn http_hosts(&self) -> &[String] {
        &self.port.http_hosts
    }
}

fn program(role: Role) -> &'static str {
    match role {
        Role::Client => "client",
        Role::Coordinator => "coordinator_node",
        Role::Node => "compute_node",
    }
}
