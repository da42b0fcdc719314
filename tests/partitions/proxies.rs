//! A network in user space: a proxy in front of each node, and one in front of the coordinator for its client. Owns how bytes are
//! passed on, held, delayed; does not know what they say.
//!
//! What a proxy plays of a packet that is lost is that it comes later, and all behind it too: bytes of a stream are never
//! gone, and who dials over a line that is cut is not answered. When a line is well again all that it has held arrives at
//! once, from connections that were given up long ago too.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::servers::{Coordinator, Node};
use crate::{Direction, LOAD, LOAD_DELAY, Line, NODES, Network};

/// What is passed on at a time: a packet or two.
const CHUNK_BYTES: usize = 2 << 10;
/// After so long a packet that was lost is sent again.
const SENT_AGAIN_AFTER: Duration = Duration::from_millis(200);

pub struct Proxies {
    coordinator: Coordinator,
    proxies: Vec<Proxy>,
    _nodes: Vec<Node>,
}

impl Proxies {
    pub fn new() -> Proxies {
        let nodes: Vec<Node> = (0..NODES).map(|_| Node::start(0, LOAD, &LOAD_DELAY)).collect();
        let mut proxies: Vec<Proxy> = nodes.iter().map(|node| Proxy::to(node.port).unwrap()).collect();
        let ports: Vec<u16> = proxies.iter().map(|proxy| proxy.address.port()).collect();
        let coordinator = Coordinator::start("2", &ports, &[]);
        proxies.push(Proxy::to(coordinator.port).unwrap());
        Proxies { coordinator, proxies, _nodes: nodes }
    }
}

impl Network for Proxies {
    fn lines(&self) -> usize {
        self.proxies.len()
    }

    fn set(&mut self, line: usize, direction: Direction, is: Line) {
        let way = match direction {
            Direction::There => &self.proxies[line].there,
            Direction::Back => &self.proxies[line].back,
        };
        way.set(is);
    }

    fn coordinator(&self) -> &Coordinator {
        &self.coordinator
    }

    fn port(&self) -> u16 {
        self.proxies[NODES].address.port()
    }
}

/// One direction of a line, for all connections over it.
struct Way {
    is: Mutex<Line>,
    changed: Condvar,
}

impl Way {
    fn new() -> Arc<Way> {
        Arc::new(Way { is: Mutex::new(Line::Well), changed: Condvar::new() })
    }

    fn set(&self, is: Line) {
        *self.is.lock().unwrap_or_else(PoisonError::into_inner) = is;
        self.changed.notify_all();
    }

    /// Waits until so many bytes have arrived, the `number`th chunk of a connection.
    fn carry(&self, bytes: usize, number: u64) {
        let began = Instant::now();
        let mut is = self.is.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let takes = match *is {
                Line::Well => return,
                Line::Cut => Duration::MAX,
                // Multiples of an odd number meet every residue: so many of a hundred are lost.
                Line::Lossy(percent) if number * 37 % 100 < percent.into() => SENT_AGAIN_AFTER,
                Line::Lossy(_) => return,
                Line::Slow { bytes_per_second } => Duration::from_secs_f64(bytes as f64 / f64::from(bytes_per_second)),
            };
            let left = takes.saturating_sub(began.elapsed());
            if left.is_zero() {
                return;
            }
            // A day is for ever.
            let wait = left.min(Duration::from_secs(86_400));
            is = self.changed.wait_timeout(is, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

struct Proxy {
    address: SocketAddr,
    there: Arc<Way>,
    back: Arc<Way>,
    is_closing: Arc<AtomicBool>,
}

impl Proxy {
    fn to(port: u16) -> io::Result<Proxy> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let (there, back, is_closing) = (Way::new(), Way::new(), Arc::new(AtomicBool::new(false)));
        let (closing, ways) = (is_closing.clone(), (there.clone(), back.clone()));
        thread::spawn(move || {
            for caller in listener.incoming().flatten() {
                if closing.load(Ordering::Relaxed) {
                    break;
                }
                let (there, back) = ways.clone();
                thread::spawn(move || {
                    // A call that does not come through is answered by nobody.
                    there.carry(1, 1);
                    if let Ok(callee) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
                        let _ = connect(caller, callee, there, back);
                    }
                });
            }
        });
        Ok(Proxy { address, there, back, is_closing })
    }
}

impl Drop for Proxy {
    /// No more calls are taken; connections end with who has them.
    fn drop(&mut self) {
        self.is_closing.store(true, Ordering::Relaxed);
        self.there.set(Line::Well);
        self.back.set(Line::Well);
        let _ = TcpStream::connect(self.address);
    }
}

fn connect(caller: TcpStream, callee: TcpStream, there: Arc<Way>, back: Arc<Way>) -> io::Result<()> {
    caller.set_nodelay(true)?;
    callee.set_nodelay(true)?;
    let (caller_too, callee_too) = (caller.try_clone()?, callee.try_clone()?);
    thread::spawn(move || pass(&there, caller, callee));
    thread::spawn(move || pass(&back, callee_too, caller_too));
    Ok(())
}

/// Passes on what `from` says to `to`, and behind it its end.
fn pass(way: &Way, mut from: TcpStream, mut to: TcpStream) {
    let mut chunk = [0; CHUNK_BYTES];
    for number in 1.. {
        let read = from.read(&mut chunk).unwrap_or(0);
        way.carry(read, number);
        if read == 0 || to.write_all(&chunk[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    // What is still said to it is of no use: whoever says it is to hear so.
    let _ = from.shutdown(Shutdown::Read);
}
