//! A slow network in user space: a node behind a link of a given rate and delay. Owns the proxy that plays it; does not
//! know what travels.
//!
//! What is modelled, of each node's link, each direction by itself:
//!
//! - its rate, which all connections of the node share: bytes leave one after the other, in chunks, and a chunk has left
//!   when the line was free for as long as its bits take;
//! - its delay: a chunk arrives that much after it has left. Chunks that are on their way do not wait for each other;
//! - order, which is kept, and the end of a half, which arrives behind the last byte.
//!
//! What is not: losses, jitter, the overhead of packets, the slow start of a connection that was at rest, and any part of the
//! way that nodes have in common: the coordinator's own line is as fast as all nodes' together. A real network of this
//! rate and delay is slower.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes of a chunk, at most: what arrives at once. At a gigabit a second it takes an eighth of a millisecond.
const CHUNK_BYTES: usize = 16 << 10;
/// Chunks on their way in a direction of a connection, at most: 16 MiB, far above what any rate here lets travel at once.
const CHUNKS_MAX: usize = 1_024;

/// How fast a link is, in each direction.
#[derive(Clone, Copy, Debug)]
pub struct Speed {
    pub bits_per_second: u64,
    /// One way.
    pub delay: Duration,
}

/// A proxy in front of a node.
pub struct SlowLink {
    pub port: u16,
    is_closing: Arc<AtomicBool>,
}

impl SlowLink {
    /// Listens at a free port of this machine, and passes on to the node at `node_port`.
    pub fn to(node_port: u16, speed: Speed) -> io::Result<SlowLink> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let is_closing = Arc::new(AtomicBool::new(false));
        let closing = is_closing.clone();
        let (there, back) = (Line::new(speed), Line::new(speed));
        named("link accepts", move || {
            for caller in listener.incoming() {
                if closing.load(Ordering::Relaxed) {
                    break;
                }
                // A node that is gone is a caller that is hung up on.
                let connected = caller.and_then(|caller| connect(caller, node_port, &there, &back));
                if let Err(error) = connected {
                    eprintln!("the link to {node_port} passes nothing on: {error}");
                }
            }
        })?;
        Ok(SlowLink { port, is_closing })
    }
}

impl Drop for SlowLink {
    /// No more calls are taken; connections end with who has them.
    fn drop(&mut self) {
        self.is_closing.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)));
    }
}

/// One direction of a node's link.
#[derive(Clone)]
struct Line {
    speed: Speed,
    /// When the last chunk so far has left.
    free_at: Arc<Mutex<Instant>>,
}

impl Line {
    fn new(speed: Speed) -> Line {
        Line { speed, free_at: Arc::new(Mutex::new(Instant::now())) }
    }

    /// When bytes arrive that are given to the line now.
    fn arrival(&self, bytes: usize) -> Instant {
        let takes = Duration::from_nanos(bytes as u64 * 8 * 1_000_000_000 / self.speed.bits_per_second);
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        *free_at = (*free_at).max(Instant::now()) + takes;
        *free_at + self.speed.delay
    }
}

/// A chunk, and when it arrives; no bytes are the end.
type Sent = (Instant, Vec<u8>);

fn connect(caller: TcpStream, node_port: u16, there: &Line, back: &Line) -> io::Result<()> {
    let node = TcpStream::connect((Ipv4Addr::LOCALHOST, node_port))?;
    for stream in [&caller, &node] {
        stream.set_nodelay(true)?;
    }
    carry(there.clone(), caller.try_clone()?, node.try_clone()?)?;
    carry(back.clone(), node, caller)
}

/// Carries what `from` says to `to`, until it says no more.
fn carry(line: Line, from: TcpStream, to: TcpStream) -> io::Result<()> {
    let (sender, receiver) = sync_channel(CHUNKS_MAX);
    named("link takes", move || take(&line, from, &sender))?;
    named("link gives", move || give(to, &receiver))
}

fn take(line: &Line, mut from: TcpStream, sender: &SyncSender<Sent>) {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = from.read(&mut chunk).unwrap_or(0);
        let sent = sender.send((line.arrival(read), chunk[..read].to_vec()));
        if read == 0 || sent.is_err() {
            return;
        }
    }
}

fn give(mut to: TcpStream, receiver: &Receiver<Sent>) {
    for (arrives_at, chunk) in receiver {
        thread::sleep(arrives_at.saturating_duration_since(Instant::now()));
        if chunk.is_empty() || to.write_all(&chunk).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

fn named(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(run).map(drop)
}
