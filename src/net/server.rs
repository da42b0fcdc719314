//! A server: an acceptor thread, and a thread for each connection, limited by places. Owns a connection from its first
//! byte to its greeting; what follows is the service's, or the console's.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::deadline::{self, Deadline};
use super::greeting::{self, Greeted, GreetingError, Identity, Peer};
use super::listen::{Listener, wake};
use super::places::{Place, Places};
use super::{THREAD_STACK_BYTES, console};
use crate::wire::message::Error;
use crate::wire::{Decoder, ErrorCode, MessageType, limits, text};

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
    let state = Arc::new(State {
        service,
        ungreeted: Places::new(caps.ungreeted, caps.ungreeted_per_address),
        consoles: Places::new(caps.consoles, caps.consoles),
        greeted_max: caps.greeted,
        greeted: AtomicUsize::new(0),
    });
    let accept = move || accept_all(&listener, &flag, &state);
    let acceptor = Builder::new().name(format!("accept {address}")).stack_size(THREAD_STACK_BYTES).spawn(accept)?;
    Ok(Server { address, stopping, acceptor: Some(acceptor) })
}

struct State {
    service: Arc<dyn Service>,
    /// For those that have not greeted yet, or are being told why they are refused.
    ungreeted: Arc<Places>,
    consoles: Arc<Places>,
    greeted_max: usize,
    greeted: AtomicUsize,
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

/// A greeted connection's place; given up when dropped.
struct GreetedPlace<'a>(&'a AtomicUsize);

impl Drop for GreetedPlace<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl State {
    fn take_greeted_place(&self) -> Result<GreetedPlace<'_>, Error> {
        let place = GreetedPlace(&self.greeted);
        let before = self.greeted.fetch_add(1, Ordering::AcqRel);
        if before < self.greeted_max {
            return Ok(place);
        }
        let text = format!("{} connections are open, as many as this program takes", self.greeted_max);
        let (got, allowed) = (before as u64 + 1, self.greeted_max as u64);
        Err(Error::new(ErrorCode::Busy, MessageType::Hello as u8, text).retryable().with_numbers(got, allowed))
    }
}

fn start(state: &Arc<State>, stream: TcpStream, address: SocketAddr) {
    let _ = stream.set_nodelay(true);
    // Taken here, in the order of arrival. Every thread holds a place of one of three sorts or is on its way out: that
    // limits their number.
    let Ok(place) = state.ungreeted.take(&stream) else { return };
    let state = state.clone();
    let live = move || {
        // A panic is a bug of ours; it ends this connection and no other.
        if catch_unwind(AssertUnwindSafe(|| converse(&state, stream, address, place))).is_err() {
            log::error!("a fault of this program's own ended the connection from {address}");
        }
    };
    if let Err(error) = Builder::new().name(format!("peer {address}")).stack_size(THREAD_STACK_BYTES).spawn(live) {
        log::warn!("refused {address}: no thread for it: {error}");
    }
}

fn converse(state: &State, stream: TcpStream, address: SocketAddr, ungreeted: Place) {
    let wait = if ungreeted.is_crowded() { limits::FIRST_BYTE_WAIT_CROWDED } else { limits::FIRST_BYTE_WAIT };
    let mut decoder = Decoder::new(limits::GREETING_PAYLOAD_BYTES_MAX);
    match deadline::read(&stream, decoder.room(), Deadline::after(wait)) {
        Ok(count) if count > 0 => decoder.filled(count),
        _ => return,
    }
    if decoder.pending().first().copied().is_some_and(text::is_text) {
        let Ok(_console) = state.consoles.take(&stream) else { return };
        drop(ungreeted);
        let _ = console::answer(state.service.as_ref(), &stream, decoder.pending().to_vec());
        return;
    }
    let identity = state.service.identity();
    let admit = |peer: &Peer| state.service.admit(peer);
    let place = || state.take_greeted_place();
    match greeting::answer(stream, decoder, &identity, limits::GREETING_WAIT, admit, place) {
        Ok((greeted, _place)) => {
            drop(ungreeted);
            state.service.connection(greeted);
        }
        Err((stream, GreetingError::Refuse(mut error))) => {
            if error.code == ErrorCode::Magic {
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
