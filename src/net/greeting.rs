//! HELLO and WELCOME over a socket, from both sides (protocol.md, "Greeting"). Owns what peers learn of each other;
//! does not know what they do afterwards.

use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use super::counters::Counters;
use super::deadline::{self, Deadline};
use super::random::fill_random;
use crate::wire::message::{Error, Features, Hello, Welcome, piece_bytes_max, version_range};
use crate::wire::{Decoder, ErrorCode, Message, MessageType, Role, VERSION, judge, limits};

/// What we say of ourselves.
#[derive(Clone, Debug)]
pub struct Identity {
    /// What we are.
    pub role: Role,
    /// The same for as long as the program's place on its machine.
    pub id: [u8; 16],
    /// The rest.
    pub features: Features,
}

/// What a peer said of itself.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Where it is.
    pub address: SocketAddr,
    /// What it is.
    pub role: Role,
    /// Its persistent id.
    pub id: [u8; 16],
    /// The longest payload that it is sent: what it takes, and no more than anybody may send.
    pub payload_bytes_max: u32,
    /// The rest.
    pub features: Features,
}

impl Peer {
    /// Bytes of an object that it is sent in one piece, at most.
    pub fn piece_bytes_max(&self) -> usize {
        piece_bytes_max(self.payload_bytes_max)
    }
}

/// A connection that both sides have agreed on.
#[derive(Debug)]
pub struct Greeted {
    pub(super) stream: TcpStream,
    /// Holds whatever arrived behind the greeting.
    pub(super) decoder: Decoder,
    pub(super) me: Role,
    pub(super) dialled: bool,
    pub(super) counters: Arc<Counters>,
    /// The other side.
    pub peer: Peer,
}

impl Greeted {
    /// Counts what the connection sees there.
    pub fn counted_by(self, counters: &Arc<Counters>) -> Greeted {
        Greeted { counters: counters.clone(), ..self }
    }
}

/// Why there is no agreement.
#[derive(Debug)]
pub(super) enum GreetingError {
    /// The socket failed, closed or timed out.
    Io(io::Error),
    /// The peer broke the rules: this is what it is told.
    Refuse(Error),
    /// The peer refused us, with this.
    Refused(Error),
}

impl From<Error> for GreetingError {
    fn from(error: Error) -> Self {
        GreetingError::Refuse(error)
    }
}

impl From<io::Error> for GreetingError {
    fn from(error: io::Error) -> Self {
        GreetingError::Io(error)
    }
}

/// Greets as the dialler, within `wait` in all. A peer that breaks the rules is told so.
pub(super) fn greet(stream: TcpStream, me: &Identity, wait: Duration) -> Result<Greeted, GreetingError> {
    let mut decoder = Decoder::new(limits::GREETING_PAYLOAD_BYTES_MAX);
    match try_greet(&stream, &mut decoder, me, wait) {
        Ok(peer) => {
            // The acceptor may send its first requests right behind WELCOME.
            decoder.set_payload_bytes_max(limits::PAYLOAD_BYTES_MAX);
            Ok(Greeted { stream, decoder, me: me.role, dialled: true, counters: Arc::default(), peer })
        }
        Err(error) => {
            if let GreetingError::Refuse(error) = &error {
                say_and_close(&stream, error);
            }
            Err(error)
        }
    }
}

fn try_greet(stream: &TcpStream, decoder: &mut Decoder, me: &Identity, wait: Duration) -> Result<Peer, GreetingError> {
    let deadline = Deadline::after(wait);
    let address = stream.peer_addr()?;
    let mut nonce = [0; 32];
    fill_random(&mut nonce);
    let hello = Hello {
        version_min: VERSION,
        version_max: VERSION,
        role: me.role,
        payload_bytes_max: limits::PAYLOAD_BYTES_MAX,
        id: me.id,
        nonce,
        features: me.features.clone(),
    };
    deadline::write_all(stream, &Message::from(hello).seal(0, false).to_bytes(), deadline)?;
    let welcome = loop {
        match judge::greeting(decoder, true)? {
            Some(Message::Welcome(welcome)) => break welcome,
            Some(Message::Error(error)) => return Err(GreetingError::Refused(error)),
            // `judge` lets nothing else through.
            Some(_) | None => receive(stream, decoder, deadline, MessageType::Welcome)?,
        }
    };
    if welcome.version != VERSION {
        let got = welcome.version;
        let text = format!("WELCOME chose version {got}, and HELLO offered {VERSION}");
        let error = Error::new(ErrorCode::Version, MessageType::Welcome as u8, text);
        return Err(error.with_numbers(version_range(got, got), version_range(VERSION, VERSION)).into());
    }
    judge::cluster(&me.features, &welcome.features, MessageType::Welcome)?;
    Ok(Peer {
        address,
        role: welcome.role,
        id: welcome.id,
        payload_bytes_max: welcome.payload_bytes_max.min(limits::PAYLOAD_BYTES_MAX),
        features: welcome.features,
    })
}

/// Greets as the acceptor, by the deadline; `decoder` holds what has been read. `admit` may refuse the peer for its
/// role, `place` for want of room; the place is the caller's for as long as the connection lives.
pub(super) fn answer<P>(
    stream: TcpStream,
    mut decoder: Decoder,
    me: &Identity,
    wait: Duration,
    admit: impl FnOnce(&Peer) -> Result<(), Error>,
    place: impl FnOnce(&Peer) -> Result<P, Error>,
) -> Result<(Greeted, P), (TcpStream, GreetingError)> {
    match try_answer(&stream, &mut decoder, me, wait, admit, place) {
        Ok((peer, place)) => {
            decoder.set_payload_bytes_max(limits::PAYLOAD_BYTES_MAX);
            Ok((Greeted { stream, decoder, me: me.role, dialled: false, counters: Arc::default(), peer }, place))
        }
        Err(error) => Err((stream, error)),
    }
}

/// "The acceptor judges in this order: the fixed part's layout, version, fields, roles, cluster, room."
fn try_answer<P>(
    stream: &TcpStream,
    decoder: &mut Decoder,
    me: &Identity,
    wait: Duration,
    admit: impl FnOnce(&Peer) -> Result<(), Error>,
    place: impl FnOnce(&Peer) -> Result<P, Error>,
) -> Result<(Peer, P), GreetingError> {
    let deadline = Deadline::after(wait);
    let hello = loop {
        match judge::greeting(decoder, false)? {
            Some(Message::Hello(hello)) => break hello,
            Some(Message::Error(error)) => return Err(GreetingError::Refused(error)),
            // `judge` lets nothing else through.
            Some(_) | None => receive(stream, decoder, deadline, MessageType::Hello)?,
        }
    };
    // Decoding has judged the fixed part, and the fields where there is a version that both speak.
    judge::version(&hello)?;
    let peer = Peer {
        address: stream.peer_addr()?,
        role: hello.role,
        id: hello.id,
        payload_bytes_max: hello.payload_bytes_max.min(limits::PAYLOAD_BYTES_MAX),
        features: hello.features,
    };
    admit(&peer)?;
    judge::cluster(&me.features, &peer.features, MessageType::Hello)?;
    let place = place(&peer)?;
    let mut nonce = [0; 32];
    fill_random(&mut nonce);
    let welcome = Welcome {
        version: VERSION,
        role: me.role,
        payload_bytes_max: limits::PAYLOAD_BYTES_MAX,
        id: me.id,
        nonce,
        features: me.features.clone(),
    };
    deadline::write_all(stream, &Message::from(welcome).seal(0, false).to_bytes(), deadline)?;
    Ok((peer, place))
}

/// Tells the peer why the connection closes, and waits a moment for it to read that: a socket closed over unread bytes
/// takes what was sent last with it.
pub(super) fn say_and_close(stream: &TcpStream, error: &Error) {
    let deadline = Deadline::after(Duration::from_millis(500));
    let frame = Message::from(error.clone()).seal(0, false).to_bytes();
    if deadline::write_all(stream, &frame, deadline).is_ok() {
        drain(stream, deadline);
    }
    let _ = stream.shutdown(Shutdown::Both);
}

/// Ends our side and reads what the peer still sends, bounded in bytes and time.
pub(super) fn drain(stream: &TcpStream, deadline: Deadline) {
    let _ = stream.shutdown(Shutdown::Write);
    let mut scrap = [0; 4096];
    for _ in 0..256 {
        match deadline::read(stream, &mut scrap, deadline) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

/// Reads on, until `awaited` is there.
fn receive(
    stream: &TcpStream,
    decoder: &mut Decoder,
    deadline: Deadline,
    awaited: MessageType,
) -> Result<(), GreetingError> {
    match deadline::read(stream, decoder.room(), deadline) {
        Ok(0) => Err(GreetingError::Io(ErrorKind::UnexpectedEof.into())),
        Ok(count) => {
            decoder.filled(count);
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::TimedOut => {
            let text = "the greeting was not over in time";
            let allowed_ms = limits::GREETING_WAIT.as_millis() as u64;
            let error = Error::new(ErrorCode::Timeout, awaited as u8, text).with_numbers(0, allowed_ms);
            Err(GreetingError::Refuse(error))
        }
        Err(error) => Err(GreetingError::Io(error)),
    }
}
