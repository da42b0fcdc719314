//! Listening sockets. Owns how they are made: address reuse, and a backlog that a burst of connections fits into.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use super::pacing::unpaced_within_machine;

/// Connections that may wait to be accepted. std's 128 loses connections under load; the system may cap this.
const BACKLOG: i32 = 4_096;

/// A listening socket.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

/// Why a program cannot listen.
#[derive(Debug)]
pub struct ListenError {
    /// Where it was to listen.
    pub address: SocketAddr,
    /// What the system says.
    pub source: io::Error,
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address;
        match self.source.kind() {
            ErrorKind::AddrInUse => {
                write!(
                    f,
                    "port {} is in use at {}: end the other program or take another port",
                    address.port(),
                    address.ip()
                )
            }
            ErrorKind::AddrNotAvailable => {
                write!(f, "{} is no address of this machine: take one of its own, or 0.0.0.0 for all", address.ip())
            }
            ErrorKind::PermissionDenied => {
                write!(f, "port {} needs privileges: take one from 1024 up", address.port())
            }
            _ => write!(f, "cannot listen at {address}: {}", self.source),
        }
    }
}

impl std::error::Error for ListenError {}

impl Listener {
    /// Listens at `address`; port 0 takes any free one.
    pub fn bind(address: SocketAddr) -> Result<Listener, ListenError> {
        let bind = || {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
            // This only takes over a port whose last owner has gone, never one that is in use.
            socket.set_reuse_address(true)?;
            socket.bind(&address.into())?;
            unpaced_within_machine(&socket, address.ip());
            socket.listen(BACKLOG)?;
            let socket = TcpListener::from(socket);
            Ok(Listener { address: socket.local_addr()?, socket })
        };
        bind().map_err(|source| ListenError { address, source })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next connection.
    pub(super) fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.socket.accept()
    }

    /// Makes a thread that waits in `accept` look around, for the last time. Says whether it does: where the system does not end
    /// the listening, as Linux does, a connection must, and a firewall may keep this program from its own port.
    pub(super) fn end(&self) -> bool {
        let ip = match self.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let connect = || TcpStream::connect_timeout(&SocketAddr::new(ip, self.address.port()), Duration::from_secs(1));
        SockRef::from(&self.socket).shutdown(Shutdown::Both).is_ok() || connect().is_ok()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::channel;
    use std::thread;

    use super::*;

    #[test]
    fn who_waits_for_a_connection_is_woken_though_nobody_can_connect() {
        let mut listener = Listener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        // Nothing can be dialled there.
        listener.address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = Arc::new(listener);
        let (tell, told) = channel();
        let accepting = listener.clone();
        thread::spawn(move || tell.send(accepting.accept().is_err()));
        // Perhaps before it waits: then it does not begin to.
        assert!(listener.end());
        assert_eq!(told.recv_timeout(Duration::from_secs(60)), Ok(true));
    }
}
