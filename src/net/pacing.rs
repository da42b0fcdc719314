//! How fast the system sends what stays within this machine. Owns the choice of its congestion control there; everywhere
//! else the system's own holds.

use std::net::IpAddr;

use socket2::Socket;

/// To be told before the socket is connected or listens: what is accepted follows its listener, and one that has begun to
/// pace does not stop.
///
/// Between two programs of one machine nothing is congested. Where the system's choice for all connections paces what
/// they send by a timer, as BBR does, that timer would cost as much as the copying.
#[cfg(target_os = "linux")]
pub(super) fn unpaced_within_machine(socket: &Socket, address: IpAddr) {
    /// Which every Linux has, whatever its choice; it does not pace.
    const RENO: &[u8] = b"reno";
    if address.is_loopback() {
        // Without it, all is slower and nothing else.
        let _ = socket.set_tcp_congestion(RENO);
    }
}

/// Elsewhere nothing is known that paces.
#[cfg(not(target_os = "linux"))]
pub(super) fn unpaced_within_machine(_: &Socket, _: IpAddr) {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::time::Duration;

    use socket2::SockRef;

    use super::super::{dial::connect, listen::Listener};

    fn congestion_control(socket: SockRef<'_>) -> String {
        String::from_utf8_lossy(&socket.tcp_congestion().unwrap()).trim_end_matches('\0').to_owned()
    }

    #[test]
    fn both_ends_of_a_connection_within_this_machine_are_unpaced() {
        let listener = Listener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let dialled = connect(&listener.address(), Duration::from_secs(10)).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        for stream in [&dialled, &accepted] {
            assert_eq!(congestion_control(SockRef::from(stream)), "reno");
        }
    }
}
