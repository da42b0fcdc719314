//! Many connections that say nothing: they hold no place that somebody else needs.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use gradwire::digest::Digest;
use gradwire::job::SHARDS_MAX;
use gradwire::net::{self, Caps, Greeted, Handler, Identity, Link, Listener, Port, Question, Service};
use gradwire::wire::message::{Describe, Error, Features, Have, Hello, Pong, Submit};
use gradwire::wire::text::Metrics;
use gradwire::wire::{ErrorCode, Message, Role, limits, text};
use socket2::{Domain, Socket, Type};

use crate::common::cluster::{Cluster, to_both_servers};
use crate::common::peer::{Peer, hello};
use crate::common::process::{PATIENCE, typed};
use crate::common::servers::Node;
use crate::common::smallest::smallest_job;

fn is_open(mut stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let read = stream.read(&mut [0]);
    stream.set_nonblocking(false).unwrap();
    matches!(read, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

fn await_hang_up(mut stream: &TcpStream) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // Until its end, not one read: a process that is stopped for a moment has its read interrupted.
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("a hang-up was due, not {other:?} and {said:?}"),
    }
}

#[test]
fn a_hundred_silent_connections_keep_nobody_waiting_and_the_oldest_give_way() {
    let cluster = Cluster::new();
    for (address, role) in [(cluster.node.address, Role::Coordinator), (cluster.coordinator.address, Role::Client)] {
        let silent: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(address).unwrap()).collect();
        let mut honest = Peer::greeted(address, role);
        silent[..84].iter().for_each(await_hang_up);
        // The honest one has taken a place too, and given it up. It has not waited for one of the silent to come to its end:
        // those that had no one younger to give way to are there still.
        let open = silent.iter().filter(|stream| is_open(stream)).count();
        assert_eq!(open, limits::UNGREETED_PER_ADDRESS_MAX - 1);
        assert!(is_open(&silent[99]), "the youngest stays");
        honest.expect_pong(1);
    }
    cluster.assert_is_well();
}

/// Dials from a loopback address of its own: the cap for one address would make room. Only Linux gives the interface more
/// than one.
#[cfg(target_os = "linux")]
pub fn dial_from(address: SocketAddr, last: u8) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, last], 0)).into()).unwrap();
    socket.connect(&address.into()).unwrap();
    TcpStream::from(socket)
}

#[cfg(target_os = "linux")]
#[test]
fn who_comes_when_half_of_the_places_are_taken_has_two_seconds_for_a_first_byte() {
    let cluster = Cluster::new();
    let address = cluster.coordinator.address;
    let silent: Vec<TcpStream> =
        (0..limits::UNGREETED_MAX as u8 / 2).map(|index| dial_from(address, 10 + index)).collect();
    await_hang_up(silent.last().unwrap());
    assert!(is_open(&silent[0]), "who came before has ten seconds");
    cluster.assert_is_well();
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

/// A node in which something goes wrong as soon as a peer of this id is greeted, or anything is asked for.
struct Fragile(Mutex<Sender<String>>);

impl Service for Fragile {
    fn identity(&self) -> Identity {
        Identity { role: Role::Node, id: [1; 16], features: Features::default() }
    }

    fn admit(&self, _: &net::Peer) -> Result<(), Error> {
        Ok(())
    }

    fn connection(&self, greeted: Greeted) {
        assert_ne!(greeted.peer.id, [0xBA; 16], "a fault of our own, for the test");
        let (_link, reader) = net::open::<u32>(greeted).unwrap();
        let closed = reader.run(&mut Faulty);
        let _ = self.0.lock().unwrap().send(closed.to_string());
    }

    fn answer(&self, _: Question) -> String {
        String::new()
    }

    fn metrics(&self, _: &mut Metrics) {}

    fn limits(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
}

/// Answers pings, and breaks at anything else.
struct Faulty;

impl Handler<u32> for Faulty {
    fn request(&mut self, _: &Link<u32>, _: u32, _: Message<'_>) -> Result<(), Error> {
        panic!("a fault of our own, for the test");
    }

    fn answer(&mut self, _: &Link<u32>, _: u32, _: Message<'_>, _: bool) {}

    fn cancel(&mut self, _: &Link<u32>, _: u32) {}

    fn load(&mut self) -> Pong {
        Pong::default()
    }

    fn peer_load(&mut self, _: Pong) {}
}

#[test]
fn a_fault_in_one_connection_ends_that_one_and_is_counted() {
    let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let (closed, closings) = channel();
    let server = net::serve(listener, Port::default(), Arc::new(Fragile(Mutex::new(closed)))).unwrap();
    let mut before = Peer::greeted(server.address(), Role::Coordinator);
    let mut unlucky = Peer::dial(server.address());
    unlucky.send(Hello { id: [0xBA; 16], ..hello(Role::Coordinator) }, 0);
    assert!(matches!(unlucky.receive().message(), Message::Welcome(_)));
    unlucky.expect_hang_up();
    // Whoever owns the connection hears of the end of one that was open already.
    let mut asking = Peer::greeted(server.address(), Role::Coordinator);
    asking.send(Have { digests: vec![Digest([9; 32])] }, 1);
    asking.expect_hang_up();
    assert_eq!(closings.recv_timeout(PATIENCE).unwrap(), "a fault of this program's own ended it");
    before.expect_pong(1);
    Peer::greeted(server.address(), Role::Coordinator).expect_pong(1);
    // It is counted once the connection is gone.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let metrics = typed(server.address(), b"GET /metrics HTTP/1.0\n\n");
        if metrics.contains("\ngradwire_faults_total 2\n") {
            break;
        }
        assert!(Instant::now() < deadline, "{metrics}");
    }
}

#[test]
fn a_peer_that_asks_and_never_reads_is_dropped_and_holds_up_nobody() {
    let cluster = Cluster::new();
    // Both at the same time: it takes as long as a write may stall.
    thread::scope(|scope| {
        for (address, role) in [(cluster.node.address, Role::Coordinator), (cluster.coordinator.address, Role::Client)]
        {
            let mut greedy = Peer::greeted(address, role);
            // Each answer has 8 kB: the sockets' buffers are full soon, and then nothing more is read.
            let ask = Have { digests: vec![Digest([9; 32]); limits::HAVE_DIGESTS_MAX] };
            let mut asks = (0..20_000).map(|index| 2 * index + 1);
            scope.spawn(move || {
                assert!(asks.any(|request| !greedy.try_send(ask.clone(), request)), "it may ask for ever");
            });
            Peer::greeted(address, role).expect_pong(1);
        }
    });
    cluster.assert_is_well();
}

#[test]
fn long_answers_to_a_peer_that_does_not_read_take_little_memory() {
    let cluster = Cluster::new();
    let mut greedy = Peer::greeted(cluster.coordinator.address, Role::Client);
    let (job, mut specification) = smallest_job();
    specification.shards = vec![specification.shards[0]; SHARDS_MAX as usize];
    greedy.send(Submit { job, rounds_seen: 0, specification }, 1);
    assert!(matches!(greedy.receive().message(), Message::Accepted(_)));
    // An answer has 0.6 MB, and the question 40 bytes.
    let dropped = (1..1_000_000).any(|index| !greedy.try_send(Describe { job }, 2 * index + 1));
    assert!(dropped, "it may ask for ever");
    if let Some(peak_kib) = cluster.coordinator.peak_memory_kib() {
        assert!(peak_kib <= 64 << 10, "{peak_kib} KiB");
    }
    cluster.assert_is_well();
}

// Elsewhere `ulimit` may not be what it is here.
#[cfg(target_os = "linux")]
#[test]
fn a_server_out_of_descriptors_goes_on_when_there_are_some_again() {
    // A connection takes two: with one of these numbers the second is missing of the last one, with the other both are.
    for descriptors in [40, 41] {
        let node = Node::of_descriptors(descriptors);
        let before = node.threads_and_descriptors();
        // From many addresses, so that nobody has to give way.
        let crowd: Vec<TcpStream> = (0..60).map(|index| dial_from(node.address, 10 + index)).collect();
        node.await_line("cannot accept a connection");
        drop(crowd);
        // Until the last of them has ended, somebody new may find too few descriptors, and be hung up on.
        node.await_in_status("compute_node");
        let began = Instant::now();
        while node.threads_and_descriptors() != before {
            assert!(began.elapsed() < PATIENCE, "{before:?} threads and descriptors are not back");
            thread::yield_now();
        }
        Peer::greeted(node.address, Role::Coordinator).expect_pong(1);
    }
}
