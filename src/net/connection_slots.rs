//! ConnectionSlots for connections of one sort, a limited number of them: who comes when all are taken has somebody hung up on,
//! the oldest connection of the address that has most of them. So whoever opens many takes slots from himself. Or is turned
//! away, where he would be the one who has most. Owns who holds a slot; does not know what the connections are for.

use std::io;
use std::net::{IpAddr, Shutdown, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::shares::{Held, gives_way};

/// ConnectionSlots, in all and for one address.
#[derive(Debug)]
pub(super) struct ConnectionSlots {
    in_all: usize,
    per_address: usize,
    /// The oldest first.
    taken: Mutex<Vec<Taken>>,
}

#[derive(Clone, Debug)]
struct Taken {
    stream: Arc<TcpStream>,
    ip: IpAddr,
    /// Who it says that it is; zeros before it has.
    id: [u8; 16],
}

/// A slot; given up when dropped.
#[derive(Debug)]
pub(super) struct ConnectionSlot {
    slots: Arc<ConnectionSlots>,
    stream: Arc<TcpStream>,
    is_crowded: bool,
    has_evicted: bool,
}

impl ConnectionSlots {
    pub(super) fn new(in_all: usize, per_address: usize) -> Arc<ConnectionSlots> {
        Arc::new(ConnectionSlots { in_all, per_address, taken: Mutex::default() })
    }

    /// A slot for a connection from `ip`. Where there is none left for its address, the oldest of that address is hung up
    /// on; where there is none left at all, the oldest of the address that has most. An error is the system's, which has
    /// no descriptor left to hold it by.
    pub(super) fn take(self: &Arc<Self>, stream: &TcpStream, ip: IpAddr) -> io::Result<ConnectionSlot> {
        let stream = Arc::new(stream.try_clone()?);
        let mut taken = self.taken();
        let is_same = |other: &Taken| other.ip == ip;
        let evicted = if taken.iter().filter(|other| is_same(other)).count() >= self.per_address {
            taken.iter().position(is_same)
        } else if taken.len() >= self.in_all {
            oldest_of_the_busiest(&taken)
        } else {
            None
        };
        let evicted = evicted.map(|index| taken.remove(index));
        if let Some(oldest) = &evicted {
            // Its thread wakes up with the end of its stream.
            let _ = oldest.stream.shutdown(Shutdown::Both);
        }
        taken.push(Taken { stream: stream.clone(), ip, id: [0; 16] });
        let is_crowded = taken.len() * 2 >= self.in_all;
        Ok(ConnectionSlot { slots: self.clone(), stream, is_crowded, has_evicted: evicted.is_some() })
    }

    /// A slot for a connection that is known by now, in place of another one. Where there is none left, the oldest of the
    /// client that gives way is hung up on, if one does; if none does there is no slot, and so many are taken.
    pub(super) fn take_share(
        self: &Arc<Self>,
        before: &ConnectionSlot,
        ip: IpAddr,
        id: [u8; 16],
    ) -> Result<ConnectionSlot, usize> {
        let stream = before.stream.clone();
        let mut taken = self.taken();
        let has_evicted = taken.len() >= self.in_all;
        if has_evicted {
            let held = taken.iter().map(|Taken { ip, id, .. }| Held { address: *ip, client: *id, amount: 1 });
            let busiest = gives_way(held, Held { address: ip, client: id, amount: 1 });
            let oldest = taken.iter().position(|other| Some((other.ip, other.id)) == busiest);
            let Some(oldest) = oldest else { return Err(taken.len()) };
            // Its thread wakes up with the end of its stream.
            let _ = taken.remove(oldest).stream.shutdown(Shutdown::Both);
        }
        taken.push(Taken { stream: stream.clone(), ip, id });
        let is_crowded = taken.len() * 2 >= self.in_all;
        Ok(ConnectionSlot { slots: self.clone(), stream, is_crowded, has_evicted })
    }

    /// How many are taken.
    pub(super) fn count(&self) -> usize {
        self.taken().len()
    }

    #[inline(never)] // Locking takes more code than a call, and is done in many places.
    fn taken(&self) -> MutexGuard<'_, Vec<Taken>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The slot in the list of the oldest connection of the address that has most of them.
fn oldest_of_the_busiest(taken: &[Taken]) -> Option<usize> {
    let count = |ip| taken.iter().filter(|other| other.ip == ip).count();
    // Of equals the last wins: the oldest, from behind.
    (0..taken.len()).rev().max_by_key(|&index| count(taken[index].ip))
}

impl ConnectionSlot {
    /// Whether half of all slots were taken when this one was.
    pub(super) fn is_crowded(&self) -> bool {
        self.is_crowded
    }

    /// Whether somebody was hung up on for it.
    pub(super) fn has_evicted(&self) -> bool {
        self.has_evicted
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.slots.taken().retain(|other| !Arc::ptr_eq(&other.stream, &self.stream));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::net::TcpListener;

    use super::*;

    /// A connection's two ends.
    fn connection(listener: &TcpListener) -> (TcpStream, TcpStream) {
        let dialled = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (dialled, listener.accept().unwrap().0)
    }

    #[test]
    fn the_oldest_gives_way_when_all_places_are_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        for slots in [ConnectionSlots::new(2, 100), ConnectionSlots::new(100, 2)] {
            let ends: Vec<_> = (0..3).map(|_| connection(&listener)).collect();
            let held: Vec<_> = ends
                .iter()
                .map(|(_, accepted)| slots.take(accepted, accepted.peer_addr().unwrap().ip()).unwrap())
                .collect();
            assert_eq!((&ends[0].0).read(&mut [0]).unwrap(), 0, "hung up on");
            assert_eq!(slots.taken().len(), 2);
            drop(held);
            assert_eq!(slots.taken().len(), 0);
        }
    }

    // Only Linux gives a loopback interface more than one address.
    #[cfg(target_os = "linux")]
    #[test]
    fn whoever_opens_many_takes_places_from_himself() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let from = |last: u8| {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            socket.bind(&std::net::SocketAddr::from(([127, 0, 0, last], 0)).into()).unwrap();
            socket.connect(&listener.local_addr().unwrap().into()).unwrap();
            (TcpStream::from(socket), listener.accept().unwrap().0)
        };
        let slots = ConnectionSlots::new(4, 4);
        // An honest one comes first, then many of one address: the honest one is the oldest, and stays.
        let ends: Vec<_> = [9, 7, 7, 7, 7, 8].map(from).into();
        let _held: Vec<_> = ends
            .iter()
            .map(|(_, accepted)| slots.take(accepted, accepted.peer_addr().unwrap().ip()).unwrap())
            .collect();
        for evicted in [1, 2] {
            assert_eq!((&ends[evicted].0).read(&mut [0]).unwrap(), 0, "connection {evicted} is hung up on");
        }
        let open: Vec<u16> = slots.taken().iter().map(|taken| taken.stream.peer_addr().unwrap().port()).collect();
        assert_eq!(open, [0, 3, 4, 5].map(|index: usize| ends[index].0.local_addr().unwrap().port()));
    }

    // Only Linux gives a loopback interface more than one address.
    #[cfg(target_os = "linux")]
    #[test]
    fn who_would_have_most_is_turned_away_and_for_anybody_else_the_busiest_is_hung_up_on() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (ungreeted, slots) = (ConnectionSlots::new(100, 100), ConnectionSlots::new(4, 4));
        let mut ends = Vec::new();
        let mut come = |last: u8, id: u8| {
            let (near, far) = connection(&listener);
            let before = ungreeted.take(&far, IpAddr::from([127, 0, 0, last])).unwrap();
            ends.push(near);
            slots.take_share(&before, IpAddr::from([127, 0, 0, last]), [id; 16])
        };
        let held: Vec<_> = [(9, 1), (7, 1), (7, 2), (7, 2)].map(|(last, id)| come(last, id).unwrap()).into();
        assert!(!held.iter().any(ConnectionSlot::has_evicted), "there is room");
        assert_eq!(come(7, 2).unwrap_err(), 4);
        let newcomer = come(8, 1).unwrap();
        assert!(newcomer.has_evicted());
        assert_eq!(slots.taken().len(), 4);
        let second = come(7, 1).map(|_| ());
        assert_eq!(second, Err(4), "both of that address have one now, and it would have two");
        drop((held, newcomer));
        assert_eq!(slots.count(), 0);
        assert_eq!((&ends[2]).read(&mut [0]).unwrap(), 0, "the oldest of the client that had two");
    }

    #[test]
    fn it_is_crowded_from_half_of_the_places_on() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let slots = ConnectionSlots::new(4, 4);
        let (_one, one) = connection(&listener);
        let (_two, two) = connection(&listener);
        let one = slots.take(&one, one.peer_addr().unwrap().ip()).unwrap();
        let two = slots.take(&two, two.peer_addr().unwrap().ip()).unwrap();
        assert!(!one.is_crowded() && two.is_crowded());
    }
}
