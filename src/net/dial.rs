//! Dialling: from a host and a port to a greeted connection, or a sentence that says why not.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::greeting::{self, Greeted, GreetingError, Identity};
use super::pacing::unpaced_within_machine;
use crate::wire::message::Error;
use crate::wire::{ErrorCode, MessageType, Role, limits};

/// Why there is no connection.
#[derive(Debug)]
pub enum DialError {
    /// The name stands for no address.
    Resolve {
        /// The name.
        host: String,
        /// What the system says.
        source: io::Error,
    },
    /// Nothing answers at any of its addresses.
    Connect {
        /// Host and port.
        target: String,
        /// What the system says of the last address.
        source: io::Error,
    },
    /// Something answers, but does not greet, or hangs up.
    Greeting {
        /// Host and port.
        target: String,
        /// What the system says.
        source: io::Error,
    },
    /// It broke the rules of the greeting.
    Protocol {
        /// Host and port.
        target: String,
        /// Which one.
        error: Error,
    },
    /// It refused us.
    Refused {
        /// Host and port.
        target: String,
        /// What it said.
        error: Error,
    },
    /// It is something else than was looked for.
    WrongRole {
        /// Host and port.
        target: String,
        /// What it is.
        got: Role,
        /// What was looked for.
        wanted: Role,
    },
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve { host, source } => write!(f, "the host {host} cannot be found: {source}"),
            Self::Connect { target, source } if source.kind() == ErrorKind::ConnectionRefused => {
                write!(f, "nothing listens at {target}: is the program started there, on this port?")
            }
            Self::Connect { target, source } => write!(f, "{target} cannot be reached: {source}"),
            Self::Greeting { target, source } if source.kind() == ErrorKind::UnexpectedEof => {
                write!(f, "{target} hung up without a greeting: is it a gradwire program?")
            }
            Self::Greeting { target, source } => write!(f, "{target} failed during the greeting: {source}"),
            Self::Protocol { target, error } => write!(f, "{target} does not greet as protocol.md says: {error}"),
            Self::Refused { target, error } => write!(f, "{target} refused: {error}"),
            Self::WrongRole { target, got, wanted } => {
                write!(f, "{target} is a {got}, and a {wanted} was looked for: is the port right?")
            }
        }
    }
}

impl DialError {
    /// Whether something is there that is not what was looked for, and does not become so by itself.
    pub fn is_of_stranger(&self) -> bool {
        match self {
            Self::Resolve { .. } | Self::Connect { .. } | Self::Greeting { .. } => false,
            Self::Protocol { .. } | Self::WrongRole { .. } => true,
            Self::Refused { error, .. } => !error.retry && error.code != ErrorCode::Closing,
        }
    }
}

impl std::error::Error for DialError {}

/// Dials `host`, trying each of its addresses, and greets; each address gets `wait` to answer.
pub fn dial(host: &str, port: u16, me: &Identity, wanted: Role, wait: Duration) -> Result<Greeted, DialError> {
    let target = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let resolve = |source| DialError::Resolve { host: host.to_owned(), source };
    let addresses = (host, port).to_socket_addrs().map_err(resolve)?;
    let mut last = io::Error::new(ErrorKind::NotFound, "it has no address");
    for address in addresses {
        match connect(&address, wait) {
            Ok(stream) => return greet(stream, target, me, wanted),
            Err(error) => last = error,
        }
    }
    Err(DialError::Connect { target, source: last })
}

pub(super) fn connect(address: &SocketAddr, wait: Duration) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(*address), Type::STREAM, None)?;
    unpaced_within_machine(&socket, address.ip());
    socket.connect_timeout(&(*address).into(), wait)?;
    Ok(socket.into())
}

fn greet(stream: TcpStream, target: String, me: &Identity, wanted: Role) -> Result<Greeted, DialError> {
    let greeted = stream.set_nodelay(true).map_err(GreetingError::Io);
    match greeted.and_then(|()| greeting::greet(stream, me, limits::GREETING_WAIT)) {
        Ok(greeted) if greeted.peer.role == wanted => Ok(greeted),
        Ok(greeted) => {
            let got = greeted.peer.role;
            let text = format!("you are a {got}, and a {wanted} was looked for");
            let error = Error::new(ErrorCode::Unexpected, MessageType::Welcome as u8, text);
            greeting::say_and_close(&greeted.stream, &error);
            Err(DialError::WrongRole { target, got, wanted })
        }
        Err(GreetingError::Io(source)) => Err(DialError::Greeting { target, source }),
        Err(GreetingError::Refuse(error)) => Err(DialError::Protocol { target, error }),
        Err(GreetingError::Refused(error)) => Err(DialError::Refused { target, error }),
    }
}
