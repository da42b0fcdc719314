//! Frames on their way out of a connection: sent at once where nothing waits and the socket takes them, else by the
//! connection's writer. Owns their order, their number and their bytes; does not know what they mean. Who has much to send gives
//! a little of it, and is told when it has left.
//!
//! Most frames are small, and most connections idle: handing each to another thread would cost more than sending it. So
//! whoever has a small frame tries to send it himself, without ever waiting: a socket that is full leaves it to the writer.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Write as _};
use std::net::TcpStream;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::counters::{self, Counters};
use super::deadline::{self, Deadline};
use crate::wire::{Draft, Encoded, Role, SharedBytes, limits};

/// Frames that may wait for the writer. A peer for whom more wait does not read.
const FRAMES_MAX: usize = 2_048;
/// Frames that leave in one write.
const BATCH_FRAMES_MAX: usize = 32;
/// A larger frame is left to the writer: it may take more than one write. The weights of a network of some thousand parameters,
/// and the sum of their gradients, are not larger: copying them takes less time than waking the writer.
const AT_ONCE_BYTES_MAX: usize = 96 << 10;
/// A blocked write looks at its deadline this often, and whether it keeps anything in memory that is wanted back: of that, a coordinator
/// copies what is left, so that a peer that reads slowly, or not at all, keeps no weights of a step that is over. What nobody wants
/// back is not copied: on a busy machine every node is slow, and the copies would stand side by side. Nor are a node's results: they
/// are its peer's alone, and wait for it in any case.
pub(super) const WRITE_TICK: Duration = Duration::from_millis(250);
/// Shared bytes are let go before the last so many of them leave: whoever has all of them may be quicker than their writer, which may
/// have lost the processor, and what comes of them must find their memory free.
const LAST_BYTES: usize = 64;
/// More is not copied. An honest peer asks for half of it at a time.
const COPIED_BYTES_MAX: usize = 4 << 20;

/// What is done once everything has left. Done by the writer, or by whoever asks for it: it must not wait.
pub(super) type Emptied = Box<dyn FnOnce() + Send>;

/// What waits.
#[derive(Default)]
pub(super) struct Outbox {
    waiting: Mutex<Waiting>,
    /// There is something to do for the writer, or the writer has ended.
    changed: Condvar,
    gives_back: bool,
}

#[derive(Default)]
struct Waiting {
    frames: VecDeque<Encoded>,
    /// Of these, and of those that the writer has in hand.
    own_bytes: usize,
    /// Who is told when nothing waits any more.
    emptied: Vec<Emptied>,
    /// The writer is writing: nobody else may.
    is_writing: bool,
    /// What it is writing takes long, and something was wanted back: shared bytes are copied, and not kept.
    is_slow: bool,
    /// Nothing is taken any more; what waits is still sent.
    is_closing: bool,
    has_ended: bool,
}

/// Why a frame is not taken.
#[derive(Debug)]
pub(super) enum NotTaken {
    /// More wait than may: the peer does not read.
    Full,
    /// The last frame has been taken.
    Closing,
    /// The connection has failed.
    Failed(io::Error),
}

impl Outbox {
    /// Of a link of this role.
    pub(super) fn of(me: Role) -> Outbox {
        Outbox { gives_back: cfg!(feature = "coordinator") && me == Role::Coordinator, ..Outbox::default() }
    }

    /// Sends frames, now or soon, behind those that were given before, and counts them as one of those that wait. Here alone
    /// frames of a link are sealed: in the order in which they leave.
    pub(super) fn put(&self, frames: Vec<Draft>, stream: &TcpStream, counters: &Counters) -> Result<(), NotTaken> {
        let mut waiting = self.waiting();
        if waiting.is_closing {
            return Err(NotTaken::Closing);
        }
        if waiting.frames.len() >= FRAMES_MAX {
            return Err(NotTaken::Full);
        }
        // What leaves in one row is counted as one frame below.
        counters::count(&counters.frames_sent, frames.len().saturating_sub(1));
        let frame = in_one_row(frames);
        let is_small = frame.frame_bytes() <= AT_ONCE_BYTES_MAX;
        let left = if is_small && waiting.frames.is_empty() && !waiting.is_writing {
            // Copying so few bytes costs less than a second call would.
            let frame = in_one_piece(frame);
            // The lock is held meanwhile, so that frames do not mix; the call never waits.
            match send_at_once(stream, &frame.head) {
                Ok(sent) if sent == frame.head.len() => {
                    count(counters, 1, sent);
                    return Ok(());
                }
                Ok(sent) => {
                    counters::count(&counters.bytes_sent, sent);
                    Encoded { head: frame.head[sent..].to_vec(), tail: None }
                }
                Err(error) => return Err(NotTaken::Failed(error)),
            }
        } else {
            frame
        };
        let left = if waiting.is_slow { in_one_piece(left) } else { left };
        waiting.own_bytes += left.head.len();
        waiting.frames.push_back(left);
        drop(waiting);
        self.changed.notify_all();
        Ok(())
    }

    /// Waits while so much waits that the peer must read first. Says whether that was so. A peer that does not read ends
    /// the writer, and with it the waiting.
    pub(super) fn await_room(&self) -> bool {
        let mut waiting = self.waiting();
        let has_waited = waiting.own_bytes > limits::UNREAD_BYTES_MAX;
        while waiting.own_bytes > limits::UNREAD_BYTES_MAX && !waiting.has_ended {
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        has_waited
    }

    /// Has something done once nothing waits any more: now, if that is so; never, if nothing is sent any more.
    pub(super) fn when_empty(&self, emptied: Emptied) {
        let mut waiting = self.waiting();
        if waiting.is_closing {
            return;
        }
        if waiting.is_writing || !waiting.frames.is_empty() {
            waiting.emptied.push(emptied);
            return;
        }
        drop(waiting);
        emptied();
    }

    /// Takes nothing any more; the writer ends once what waits has left.
    pub(super) fn close(&self) {
        self.waiting().is_closing = true;
        self.changed.notify_all();
    }

    /// Waits until the writer has ended, for as long as `wait`.
    pub(super) fn await_end(&self, wait: Duration) {
        let deadline = Instant::now() + wait;
        let mut waiting = self.waiting();
        while !waiting.has_ended {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return };
            waiting = self.changed.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The writer's life: writes what waits until the box is closed and empty.
    pub(super) fn write_all(&self, stream: &TcpStream, counters: &Counters) -> io::Result<()> {
        let mut batch: Vec<Encoded> = Vec::new();
        let mut batch_own_bytes = 0;
        let result = loop {
            {
                let mut waiting = self.waiting();
                (waiting.is_writing, waiting.is_slow) = (false, false);
                if waiting.own_bytes > limits::UNREAD_BYTES_MAX {
                    self.changed.notify_all();
                }
                waiting.own_bytes -= std::mem::take(&mut batch_own_bytes);
                if waiting.frames.is_empty() && !waiting.emptied.is_empty() {
                    let emptied = std::mem::take(&mut waiting.emptied);
                    drop(waiting);
                    emptied.into_iter().for_each(|emptied| emptied());
                    continue;
                }
                while waiting.frames.is_empty() && !waiting.is_closing {
                    waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
                }
                if waiting.frames.is_empty() {
                    break Ok(());
                }
                while batch.len() < BATCH_FRAMES_MAX
                    && let Some(frame) = waiting.frames.pop_front()
                {
                    batch.push(frame);
                }
                batch_own_bytes = own_bytes(&batch);
                waiting.is_writing = true;
            }
            let (frames, bytes) = (batch.len(), batch.iter().map(Encoded::frame_bytes).sum());
            if let Err(error) = self.write_batch(stream, &mut batch) {
                break Err(error);
            }
            count(counters, frames, bytes);
        };
        let mut waiting = self.waiting();
        waiting.is_closing = true;
        waiting.has_ended = true;
        waiting.frames = VecDeque::new();
        let untold = std::mem::take(&mut waiting.emptied);
        self.changed.notify_all();
        drop(waiting);
        // They may hold the last handle of the connection.
        drop(untold);
        result
    }

    /// Writes a batch, and lets go of it.
    fn write_batch(&self, stream: &TcpStream, batch: &mut Vec<Encoded>) -> io::Result<()> {
        let mut pieces: Vec<&[u8]> = Vec::with_capacity(batch.len() * 2);
        for frame in &*batch {
            pieces.push(&frame.head);
            pieces.extend(frame.tail.as_ref().map(SharedBytes::as_slice));
        }
        let mut last = Vec::new();
        if batch.iter().any(|frame| frame.tail.is_some())
            && let Some(piece) = pieces.last_mut()
        {
            let (now, later) = piece.split_at(piece.len().saturating_sub(LAST_BYTES));
            last.extend_from_slice(later);
            *piece = now;
        }
        let mut slices: Vec<IoSlice<'_>> = pieces.into_iter().map(IoSlice::new).collect();
        let gives_back = cfg!(feature = "coordinator") && self.gives_back;
        let mut rest = write_slices(stream, &mut slices, || {
            gives_back && (is_wanted_back(&*batch) || is_wanted_back(&self.waiting().frames))
        })?;
        batch.clear();
        if !rest.is_empty() {
            self.is_slow();
        }
        rest.append(&mut last);
        if rest.is_empty() {
            return Ok(());
        }
        let rest =
            write_slices(stream, &mut [IoSlice::new(&rest)], || gives_back && is_wanted_back(&self.waiting().frames))?;
        if rest.is_empty() {
            return Ok(());
        }
        self.is_slow();
        write_slices(stream, &mut [IoSlice::new(&rest)], || false).map(drop)
    }

    /// What is being written takes long, and something was wanted back: what waits behind it keeps no shared bytes either.
    fn is_slow(&self) {
        let mut waiting = self.waiting();
        waiting.is_slow = true;
        let before = own_bytes(&waiting.frames);
        for frame in &mut waiting.frames {
            let shared = std::mem::replace(frame, Encoded { head: Vec::new(), tail: None });
            *frame = in_one_piece(shared);
        }
        waiting.own_bytes += own_bytes(&waiting.frames) - before;
    }

    #[inline(never)] // Locking takes more code than a call, and is done in many places.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn own_bytes<'a>(frames: impl IntoIterator<Item = &'a Encoded>) -> usize {
    frames.into_iter().map(|frame| frame.head.len()).sum()
}

/// Whether any of these frames keeps something in memory that is wanted back.
fn is_wanted_back<'a>(frames: impl IntoIterator<Item = &'a Encoded>) -> bool {
    frames.into_iter().any(|frame| frame.tail.as_ref().is_some_and(SharedBytes::is_wanted_back))
}

/// These frames, sealed in this order, one behind the other.
fn in_one_row(frames: Vec<Draft>) -> Encoded {
    let mut row = Encoded { head: Vec::new(), tail: None };
    for frame in frames {
        let Encoded { head, tail } = frame.seal();
        if row.head.is_empty() {
            row = Encoded { head, tail };
            continue;
        }
        row = in_one_piece(row);
        row.head.extend_from_slice(&head);
        row.tail = tail;
    }
    row
}

/// A frame whose bytes lie behind each other.
fn in_one_piece(frame: Encoded) -> Encoded {
    let Encoded { mut head, tail } = frame;
    if let Some(tail) = tail {
        head.extend_from_slice(tail.as_slice());
    }
    Encoded { head, tail: None }
}

/// Counts frames that have left; the first of them may be what was left of one.
fn count(counters: &Counters, frames: usize, bytes: usize) {
    counters::count(&counters.frames_sent, frames);
    counters::count(&counters.bytes_sent, bytes);
}

/// Sends as much as the socket takes without waiting.
#[cfg(target_os = "linux")]
fn send_at_once(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    // MSG_DONTWAIT of <sys/socket.h>, on every architecture of Linux.
    const DO_NOT_WAIT: std::ffi::c_int = 0x40;
    match socket2::SockRef::from(stream).send_with_flags(bytes, DO_NOT_WAIT) {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(0),
        result => result,
    }
}

/// Elsewhere all is left to the writer.
#[cfg(not(target_os = "linux"))]
fn send_at_once(_: &TcpStream, _: &[u8]) -> io::Result<usize> {
    Ok(0)
}

/// Writes bytes with as few calls as the socket allows. The peer may be slow, but not stop. Of one that is slow a copy of what is left
/// is returned, once that is wanted.
fn write_slices(
    mut stream: &TcpStream,
    slices: &mut [IoSlice<'_>],
    is_copy_wanted: impl Fn() -> bool,
) -> io::Result<Vec<u8>> {
    let mut left = slices;
    let mut stalled: Option<Deadline> = None;
    let mut looks_at = Instant::now() + WRITE_TICK;
    while !left.is_empty() {
        match stream.write_vectored(left) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => {
                IoSlice::advance_slices(&mut left, count);
                stalled = None;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if deadline::is_timeout(&error) => {
                stalled.get_or_insert_with(|| Deadline::after(limits::WRITE_STALL - WRITE_TICK)).left()?;
            }
            Err(error) => return Err(error),
        }
        let now = Instant::now();
        if now < looks_at {
            continue;
        }
        looks_at = now + WRITE_TICK;
        if left.iter().map(|slice| slice.len()).sum::<usize>() <= COPIED_BYTES_MAX && is_copy_wanted() {
            return Ok(left.iter().flat_map(|slice| slice.iter()).copied().collect());
        }
    }
    Ok(Vec::new())
}
