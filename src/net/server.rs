//! A server: an acceptor thread, a thread for each connection, caps on both. Owns a connection from its first byte to
//! its greeting, and the text console's lines; what follows is the service's.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::THREAD_STACK_BYTES;
use super::deadline::{self, Deadline};
use super::greeting::{self, Greeted, GreetingError, Identity, Peer};
use super::listen::{Listener, wake};
use crate::wire::message::Error;
use crate::wire::text::{self, Command};
use crate::wire::{Decoder, ErrorCode, FrameError, limits};

/// How many connections a server takes.
#[derive(Clone, Copy, Debug)]
pub struct Caps {
    /// Not yet greeted, in all.
    pub ungreeted: usize,
    /// Not yet greeted, from one address.
    pub ungreeted_per_address: usize,
    /// In all.
    pub connections: usize,
}

impl Default for Caps {
    fn default() -> Caps {
        Caps {
            ungreeted: limits::UNGREETED_MAX,
            ungreeted_per_address: limits::UNGREETED_PER_ADDRESS_MAX,
            connections: limits::CONNECTIONS_MAX,
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

    /// The answer to `status` on the console: whole lines.
    fn status(&self) -> String;
}

/// A running server; it stops when told to, or when dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
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
        if let Some(acceptor) = self.acceptor.take() {
            wake(self.address);
            let _ = acceptor.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Serves at a listening socket, on a thread of its own.
pub fn serve(listener: Listener, caps: Caps, service: Arc<dyn Service>) -> io::Result<Server> {
    let address = listener.address();
    let stopping = Arc::new(AtomicBool::new(false));
    let flag = stopping.clone();
    let state = Arc::new(State { caps, service, connections: AtomicUsize::new(0), ungreeted: Mutex::default() });
    let accept = move || accept_all(&listener, &flag, &state);
    let acceptor = Builder::new().name(format!("accept {address}")).stack_size(THREAD_STACK_BYTES).spawn(accept)?;
    Ok(Server { address, stopping, acceptor: Some(acceptor) })
}

struct State {
    caps: Caps,
    service: Arc<dyn Service>,
    connections: AtomicUsize,
    /// Connections that have said nothing worth an answer yet, the oldest first.
    ungreeted: Mutex<VecDeque<Arc<TcpStream>>>,
}

fn accept_all(listener: &Listener, stopping: &AtomicBool, state: &Arc<State>) {
    loop {
        let accepted = listener.accept();
        if stopping.load(Ordering::Acquire) {
            return;
        }
        match accepted {
            Ok((stream, address)) => start(state, stream, address),
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
            Err(error) => {
                // Out of descriptors, most likely: connections that end will free some.
                log::warn!("cannot accept a connection: {error}; trying again");
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

/// Counts a connection for as long as it lives.
struct Counted(Arc<State>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::AcqRel);
    }
}

fn start(state: &Arc<State>, stream: TcpStream, address: SocketAddr) {
    let before = state.connections.fetch_add(1, Ordering::AcqRel);
    let counted = Counted(state.clone());
    let _ = stream.set_nodelay(true);
    if before >= state.caps.connections {
        log::warn!("refused {address}: {before} connections are open");
        refuse_at_once(&stream, "this program has as many connections as it takes");
        return;
    }
    let live = move || {
        let state = counted.0.clone();
        // A panic is a bug of ours; it ends this connection and no other.
        if catch_unwind(AssertUnwindSafe(|| converse(&state, stream, address))).is_err() {
            log::error!("a fault of this program's own ended the connection from {address}");
        }
        drop(counted);
    };
    if let Err(error) = Builder::new().name(format!("peer {address}")).stack_size(THREAD_STACK_BYTES).spawn(live) {
        log::warn!("refused {address}: no thread for it: {error}");
    }
}

/// BUSY without a thread of its own: a new socket's buffer takes the frame without blocking.
fn refuse_at_once(stream: &TcpStream, text: &str) {
    let error = Error::new(ErrorCode::Busy, 0, text).retryable();
    let frame = crate::wire::Message::from(error).seal(0, false).to_bytes();
    let _ = stream.set_nonblocking(true);
    let _ = io::Write::write(&mut &*stream, &frame);
    let _ = stream.shutdown(Shutdown::Write);
}

/// A place among the not yet greeted; given up when dropped.
struct Place<'a> {
    state: &'a State,
    stream: Arc<TcpStream>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.state.waiting().retain(|other| !Arc::ptr_eq(other, &self.stream));
    }
}

impl State {
    fn waiting(&self) -> std::sync::MutexGuard<'_, VecDeque<Arc<TcpStream>>> {
        self.ungreeted.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Takes a place, evicting the oldest of this address, or of all, where there is none left. Says how long the first
    /// byte may take.
    fn take_place(&self, stream: &TcpStream, ip: IpAddr) -> io::Result<(Place<'_>, Duration)> {
        let stream = Arc::new(stream.try_clone()?);
        let of = |stream: &TcpStream| stream.peer_addr().map(|address| address.ip()).ok();
        let mut waiting = self.waiting();
        let same = waiting.iter().filter(|other| of(other) == Some(ip)).count();
        let evicted = if same >= self.caps.ungreeted_per_address {
            waiting.iter().position(|other| of(other) == Some(ip))
        } else {
            (waiting.len() >= self.caps.ungreeted).then_some(0)
        };
        if let Some(oldest) = evicted.and_then(|index| waiting.remove(index)) {
            let _ = oldest.shutdown(Shutdown::Both);
        }
        waiting.push_back(stream.clone());
        let crowded = waiting.len() * 2 > self.caps.ungreeted;
        let wait = if crowded { limits::FIRST_BYTE_WAIT_CROWDED } else { limits::FIRST_BYTE_WAIT };
        Ok((Place { state: self, stream }, wait))
    }
}

fn converse(state: &Arc<State>, stream: TcpStream, address: SocketAddr) {
    let Ok((place, wait)) = state.take_place(&stream, address.ip()) else { return };
    let mut decoder = Decoder::new(limits::GREETING_PAYLOAD_BYTES_MAX);
    match deadline::read(&stream, decoder.room(), Deadline::after(wait)) {
        Ok(count) if count > 0 => decoder.filled(count),
        _ => return,
    }
    if decoder.pending().first().copied().is_some_and(text::is_text) {
        drop(place);
        let _ = console(state.service.as_ref(), &stream, decoder.pending().to_vec());
        return;
    }
    let identity = state.service.identity();
    let admit = |peer: &Peer| state.service.admit(peer);
    let greeted = greeting::answer(stream, decoder, &identity, limits::GREETING_WAIT, admit);
    drop(place);
    match greeted {
        Ok(greeted) => state.service.connection(greeted),
        Err((stream, GreetingError::Refuse(mut error))) => {
            if error.code == FrameError::Magic.code() {
                error.text =
                    "this is a gradwire port; frames begin with F5 47 52 57, and text with a command".to_owned();
            }
            log::info!("refused {address}: {error}");
            greeting::say_and_close(&stream, &error);
        }
        Err((_, GreetingError::Refused(error))) => log::info!("{address} refused us: {error}"),
        Err((_, GreetingError::Io(error))) => log::debug!("{address} went away while greeting: {error}"),
    }
}

/// Answers lines of text until the peer hangs up, has typed nothing for too long, or types something unknown.
fn console(service: &dyn Service, stream: &TcpStream, mut held: Vec<u8>) -> io::Result<()> {
    let say = |text: &str| deadline::write_all(stream, text.as_bytes(), Deadline::after(limits::WRITE_STALL));
    let close = |text: &str| {
        say(text)?;
        greeting::drain(stream, Deadline::after(Duration::from_millis(500)));
        Ok(())
    };
    let mut deadline = Deadline::after(limits::TEXT_LINE_WAIT);
    let mut half_closed = false;
    loop {
        // A sender that closes its half without a line end has finished its last line.
        let line_end = held.iter().position(|&byte| byte == b'\n').or(half_closed.then_some(held.len()));
        let Some(end) = line_end else {
            if held.len() > limits::TEXT_LINE_BYTES_MAX {
                return close("the line is too long\n");
            }
            let mut buffer = [0; limits::TEXT_LINE_BYTES_MAX];
            match deadline::read(stream, &mut buffer, deadline)? {
                0 => half_closed = true,
                count => held.extend_from_slice(&buffer[..count]),
            }
            continue;
        };
        let line: Vec<u8> = held.drain(..(end + 1).min(held.len())).collect();
        match text::parse(&line) {
            Ok(None) => {}
            Ok(Some(Command::Status)) => say(&service.status())?,
            Ok(Some(Command::Help)) => say(text::HELP)?,
            Ok(Some(Command::Quit)) => return close(""),
            Err(text::UnknownCommand) => return close(text::UNKNOWN),
        }
        if half_closed && held.is_empty() {
            return close("");
        }
        deadline = Deadline::after(limits::TEXT_LINE_WAIT);
    }
}
