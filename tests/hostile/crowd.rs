//! Many connections that say nothing: they hold no place that somebody else needs.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use gradwire::net::{self, Caps, Greeted, Identity, Listener, Port, Question, Service};
use gradwire::wire::message::{Error, Features};
use gradwire::wire::text::Metrics;
use gradwire::wire::{ErrorCode, Message, Role, limits, text};
use socket2::{Domain, Socket, Type};

use crate::peer::{Peer, hello};
use crate::programs::{House, PATIENCE, to_both_servers, typed};

fn is_open(mut stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let read = stream.read(&mut [0]);
    stream.set_nonblocking(false).unwrap();
    matches!(read, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

fn await_hang_up(mut stream: &TcpStream) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    match stream.read(&mut [0]) {
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("a hang-up was due, not {other:?}"),
    }
}

#[test]
fn a_hundred_silent_connections_keep_nobody_waiting_and_the_oldest_give_way() {
    let house = House::new();
    for (server, role) in [(&house.node, Role::Coordinator), (&house.coordinator, Role::Client)] {
        let silent: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(server.address).unwrap()).collect();
        let began = Instant::now();
        let mut honest = Peer::greeted(server.address, role);
        // Shorter than any deadline of the silent: nobody waited for one of them to end.
        assert!(began.elapsed() < limits::FIRST_BYTE_WAIT_CROWDED, "{:?}", began.elapsed());
        silent[..84].iter().for_each(await_hang_up);
        // The honest one has taken a place too, and given it up.
        let open = silent.iter().filter(|stream| is_open(stream)).count();
        assert_eq!(open, limits::UNGREETED_PER_ADDRESS_MAX - 1);
        assert!(is_open(&silent[99]), "the youngest stays");
        honest.expect_pong(1);
    }
    house.assert_is_well();
}

// Only Linux gives a loopback interface more than one address.
#[cfg(target_os = "linux")]
#[test]
fn who_comes_when_half_of_the_places_are_taken_has_two_seconds_for_a_first_byte() {
    // Each from another loopback address, or the cap for one address would make room.
    let dial = |address: SocketAddr, last: u8| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, last], 0)).into()).unwrap();
        socket.connect(&address.into()).unwrap();
        TcpStream::from(socket)
    };
    let house = House::new();
    let address = house.coordinator.address;
    let silent: Vec<TcpStream> = (0..limits::UNGREETED_MAX as u8 / 2).map(|index| dial(address, 10 + index)).collect();
    let began = Instant::now();
    await_hang_up(silent.last().unwrap());
    assert!(began.elapsed() < limits::FIRST_BYTE_WAIT, "{:?}", began.elapsed());
    assert!(is_open(&silent[0]), "who came before has ten seconds");
    house.assert_is_well();
}

#[test]
fn consoles_left_open_do_not_keep_a_person_out() {
    to_both_servers(|address| {
        let mut idle: Vec<TcpStream> = Vec::new();
        for _ in 0..limits::CONSOLES_MAX {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(b"help\n").unwrap();
            // Answered, it is a console for sure, and they are in order of age.
            stream.read_exact(&mut vec![0; text::HELP.len()]).unwrap();
            idle.push(stream);
        }
        for _ in 0..limits::CONSOLES_MAX {
            assert!(!typed(address, b"status\n").is_empty());
        }
        await_hang_up(&idle[0]);
    });
}

/// A node that keeps a connection until it is told to let one go.
struct Keeper(Mutex<Receiver<()>>);

impl Service for Keeper {
    fn identity(&self) -> Identity {
        Identity { role: Role::Node, id: [1; 16], features: Features::default() }
    }

    fn admit(&self, _: &net::Peer) -> Result<(), Error> {
        Ok(())
    }

    fn connection(&self, greeted: Greeted) {
        let _ = self.0.lock().unwrap().recv();
        drop(greeted);
    }

    fn answer(&self, _: Question) -> String {
        String::new()
    }

    fn metrics(&self, _: &mut Metrics) {}

    fn limits(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
}

#[test]
fn one_connection_too_many_is_busy_until_another_ends() {
    let (let_go, told) = sync_channel(1);
    let caps = Caps { greeted: 1, ..Caps::default() };
    let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let server = net::serve(listener, Port { caps, ..Port::default() }, Arc::new(Keeper(Mutex::new(told)))).unwrap();
    let mut first = Peer::greeted(server.address(), Role::Coordinator);
    let mut second = Peer::dial(server.address());
    second.send(hello(Role::Coordinator), 0);
    let error = second.expect_end(ErrorCode::Busy);
    assert_eq!((error.retry, error.got, error.allowed), (true, 2, 1));
    let_go.send(()).unwrap();
    first.expect_hang_up();
    let began = Instant::now();
    loop {
        // The place is free a moment after the hang-up.
        let mut next = Peer::dial(server.address());
        next.send(hello(Role::Coordinator), 0);
        match next.receive().message() {
            Message::Welcome(_) => break,
            _ => assert!(began.elapsed() < PATIENCE),
        }
    }
    drop(let_go);
}
