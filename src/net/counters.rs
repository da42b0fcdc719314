//! What a program's connections have seen, in numbers that only grow. Owns the counters; does not know who reads them.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::wire::ErrorCode;
use crate::wire::text::{Kind, Metrics};

/// Counters of one program, shared by all its connections.
#[derive(Debug)]
pub struct Counters {
    pub(super) accepted: AtomicU64,
    /// Connections hung up on to make room for younger ones.
    pub(super) evicted: AtomicU64,
    /// Connections that ended with our ERROR, by its code's place in [`ErrorCode::ALL`].
    refused: [AtomicU64; ErrorCode::ALL.len()],
    pub(super) frames_received: AtomicU64,
    pub(super) frames_sent: AtomicU64,
    pub(super) bytes_received: AtomicU64,
    pub(super) bytes_sent: AtomicU64,
    /// Optional messages of types that are not known here.
    pub(super) frames_skipped: AtomicU64,
    /// Panics that ended a connection: faults of our own.
    pub(super) faults: AtomicU64,
}

impl Default for Counters {
    fn default() -> Counters {
        let zero = || AtomicU64::new(0);
        Counters {
            accepted: zero(),
            evicted: zero(),
            refused: std::array::from_fn(|_| zero()),
            frames_received: zero(),
            frames_sent: zero(),
            bytes_received: zero(),
            bytes_sent: zero(),
            frames_skipped: zero(),
            faults: zero(),
        }
    }
}

/// Counts; nothing is read from the order in which counters change.
pub(super) fn count(counter: &AtomicU64, by: usize) {
    counter.fetch_add(by as u64, Ordering::Relaxed);
}

impl Counters {
    pub(super) fn refused(&self, code: ErrorCode) {
        let place = ErrorCode::ALL.iter().position(|&other| other == code);
        if let Some(counter) = place.and_then(|place| self.refused.get(place)) {
            count(counter, 1);
        }
    }

    pub(super) fn write(&self, out: &mut Metrics) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
        for (name, help, counter) in [
            ("gradwire_connections_accepted_total", "Connections accepted.", &self.accepted),
            ("gradwire_connections_evicted_total", "Connections closed to make room for younger ones.", &self.evicted),
            ("gradwire_frames_received_total", "Frames received after the greeting.", &self.frames_received),
            ("gradwire_frames_sent_total", "Frames sent after the greeting.", &self.frames_sent),
            ("gradwire_frames_skipped_total", "Optional frames of unknown types.", &self.frames_skipped),
            ("gradwire_received_bytes_total", "Bytes received after the greeting.", &self.bytes_received),
            ("gradwire_sent_bytes_total", "Bytes sent after the greeting.", &self.bytes_sent),
            ("gradwire_faults_total", "Connections ended by a fault of this program's own.", &self.faults),
        ] {
            out.single(name, Kind::Counter, help, read(counter));
        }
        let help = "Connections that ended because their peer broke a rule or was refused, by the code it was told.";
        out.family("gradwire_connections_refused_total", Kind::Counter, help);
        for (code, counter) in ErrorCode::ALL.iter().zip(&self.refused) {
            // Only what has happened: most codes never do.
            if counter.load(Ordering::Relaxed) > 0 {
                out.sample(&[("code", code.name())], read(counter));
            }
        }
    }
}
