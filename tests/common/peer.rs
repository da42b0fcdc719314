//! A peer that may send any bytes: the library's frames where they serve, raw bytes where they do not. Owns the socket;
//! knows no manners.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use gradwire::wire::message::{Error, Features, Hello, Welcome};
use gradwire::wire::{Decoder, ErrorCode, Header, Message, MessageType, Role, VERSION, limits};

use super::process::PATIENCE;

/// A connection, with nothing said on it yet.
pub struct Peer {
    stream: TcpStream,
    decoder: Decoder,
}

/// A frame that has come.
pub struct Received {
    pub header: Header,
    payload: Vec<u8>,
}

impl Received {
    pub fn message(&self) -> Message<'_> {
        let kind = MessageType::from_number(self.header.kind).expect("a known type");
        Message::decode(kind, &self.payload).expect("a payload as the book says")
    }
}

/// HELLO as a well-behaved program says it.
pub fn hello(role: Role) -> Hello {
    Hello {
        version_min: VERSION,
        version_max: VERSION,
        role,
        payload_bytes_max: limits::PAYLOAD_BYTES_MAX,
        id: [7; 16],
        nonce: [8; 32],
        features: Features::default(),
    }
}

/// WELCOME as a well-behaved program says it.
pub fn welcome(role: Role, features: Features) -> Welcome {
    Welcome {
        version: VERSION,
        role,
        payload_bytes_max: limits::PAYLOAD_BYTES_MAX,
        id: [9; 16],
        nonce: [8; 32],
        features,
    }
}

impl Peer {
    pub fn new(stream: TcpStream) -> Peer {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Peer { stream, decoder: Decoder::new(limits::PAYLOAD_BYTES_MAX) }
    }

    pub fn dial(address: SocketAddr) -> Peer {
        Peer::new(TcpStream::connect(address).unwrap())
    }

    /// Dials and greets as the acceptor's usual peer; again, while a coordinator reads its journal.
    pub fn greeted(address: SocketAddr, role: Role) -> Peer {
        loop {
            let mut peer = Peer::dial(address);
            peer.send(hello(role), 0);
            match peer.receive().message() {
                Message::Welcome(_) => return peer,
                Message::Error(error) if error.code == ErrorCode::Recovering => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Answers a dialler's HELLO.
    pub fn welcome(&mut self, role: Role, features: Features) -> bool {
        let Some(frame) = self.next() else { return false };
        self.send(welcome(role, features), 0);
        matches!(frame.message(), Message::Hello(_))
    }

    /// Sends a frame. A peer that has hung up meanwhile is noticed when its last words are read.
    pub fn send<'a>(&mut self, message: impl Into<Message<'a>>, request: u32) {
        let frame = message.into().seal(request, false).to_bytes();
        self.send_bytes(&frame);
    }

    /// Sends a message; false once the other side has hung up.
    pub fn try_send<'a>(&mut self, message: impl Into<Message<'a>>, request: u32) -> bool {
        self.stream.write_all(&message.into().seal(request, false).to_bytes()).is_ok()
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// The next frame; `None` once the other side has hung up.
    pub fn next(&mut self) -> Option<Received> {
        loop {
            if let Some(frame) = self.decoder.next_frame().expect("frames as the book says") {
                return Some(Received { header: frame.header, payload: frame.payload.to_vec() });
            }
            match self.stream.read(self.decoder.room()) {
                Ok(0) => return None,
                Ok(count) => self.decoder.filled(count),
                // A process that was stopped for a moment: a read with a timeout is not restarted.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("nothing comes: {error}"),
            }
        }
    }

    /// The next frame that is no heartbeat; heartbeats are answered.
    pub fn receive(&mut self) -> Received {
        let deadline = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < deadline, "nothing comes but heartbeats");
            let frame = self.next().expect("an answer, not a hang-up");
            match frame.message() {
                Message::Ping(_) => self.send(gradwire::wire::message::Pong::default(), frame.header.request),
                _ => return frame,
            }
        }
    }

    /// Asserts that the next frame is ERROR with this code on this request.
    pub fn expect_error(&mut self, request: u32, code: ErrorCode) -> Error {
        let frame = self.receive();
        let Message::Error(error) = frame.message() else { panic!("{code} was due, not {:?}", frame.message()) };
        assert_eq!((error.code, frame.header.request), (code, request), "{error}");
        error
    }

    /// Asserts that the next frame is ERROR with this code on request 0, and that the connection is closed behind it.
    pub fn expect_end(mut self, code: ErrorCode) -> Error {
        let error = self.expect_error(0, code);
        assert!(self.next().is_none(), "the connection goes on after {code}");
        error
    }

    /// Asserts that the connection is closed without a word.
    pub fn expect_hang_up(&mut self) {
        assert!(self.next().is_none(), "a frame where a hang-up was due");
    }

    /// Asserts that the other side still answers.
    pub fn expect_pong(&mut self, request: u32) {
        self.send(gradwire::wire::message::Ping, request);
        let frame = self.receive();
        assert!(matches!(frame.message(), Message::Pong(_)), "{:?}", frame.message());
        assert_eq!(frame.header.request, request);
    }

    /// The socket, for what no frame can say.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }
}
