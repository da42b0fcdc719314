//! How fast objects travel between here and a node, as transfers show it. Owns how that is reckoned from the moments at which
//! pieces come or are asked for; does not know what is in them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// After so long without a piece the next one begins another transfer.
const PAUSE: Duration = Duration::from_secs(2);
/// Pieces that a peer asks for at once, before any of them has come: they tell nothing.
const ASKED_AT_ONCE: u32 = 8;
/// Less than so many bytes tell nothing.
const BYTES_MIN: u64 = 1 << 20;

/// What has travelled, and in what time. Written by a link's reader alone.
#[derive(Debug, Default)]
pub(super) struct Pace {
    bytes: AtomicU64,
    busy_us: AtomicU64,
}

impl Pace {
    /// Bytes a second, once enough have travelled to tell.
    pub(super) fn bytes_per_second(&self) -> Option<f64> {
        let (bytes, busy_us) = (self.bytes.load(Ordering::Relaxed), self.busy_us.load(Ordering::Relaxed));
        (bytes >= BYTES_MIN && busy_us > 0).then(|| bytes as f64 * 1e6 / busy_us as f64)
    }
}

/// Pieces that go one way, one behind the other.
#[derive(Debug)]
pub(super) struct Way {
    /// Pieces of a transfer that are passed over.
    passed_over: u32,
    pieces: u32,
    last: Duration,
}

impl Way {
    /// Pieces that come here.
    pub(super) fn here() -> Way {
        Way { passed_over: 1, pieces: 0, last: Duration::ZERO }
    }

    /// Pieces that the peer asks for: each one but the first few shows that an earlier one has come.
    pub(super) fn there() -> Way {
        Way { passed_over: ASKED_AT_ONCE, pieces: 0, last: Duration::ZERO }
    }

    /// A piece of so many bytes has come, or is asked for.
    pub(super) fn piece(&mut self, pace: &Pace, now: Duration, bytes: u64) {
        let since = now.saturating_sub(std::mem::replace(&mut self.last, now));
        if since >= PAUSE {
            self.pieces = 0;
        }
        if self.pieces < self.passed_over {
            self.pieces += 1;
            return;
        }
        pace.bytes.fetch_add(bytes, Ordering::Relaxed);
        pace.busy_us.fetch_add(since.as_micros() as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: u64 = 256 << 10;

    #[test]
    fn a_pace_is_what_comes_between_pieces_and_no_pause_counts() {
        let (pace, mut way) = (Pace::default(), Way::here());
        for transfer in 1..=2 {
            for piece in 0..9 {
                way.piece(&pace, Duration::from_secs(10 * transfer) + Duration::from_millis(100 * piece), PIECE);
            }
        }
        // A piece each 100 ms.
        assert_eq!(pace.bytes_per_second(), Some(PIECE as f64 * 10.0));
    }

    #[test]
    fn what_is_asked_for_at_once_tells_nothing() {
        let (pace, mut way) = (Pace::default(), Way::there());
        (0..8).for_each(|_| way.piece(&pace, Duration::from_secs(5), PIECE));
        assert_eq!(pace.bytes_per_second(), None);
        for piece in 1..=8 {
            way.piece(&pace, Duration::from_secs(5) + Duration::from_millis(50 * piece), PIECE);
        }
        assert_eq!(pace.bytes_per_second(), Some(PIECE as f64 * 20.0));
    }
}
