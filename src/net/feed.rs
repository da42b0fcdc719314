//! What happens in a program, a line each, for whoever watches on the console. Owns the watchers; does not know what
//! happens. A watcher that does not read misses lines, and holds up nobody.

use std::fmt::Display;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};

use crate::wire::text::{Timestamp, shown};

/// Lines that may wait for a watcher.
const LINES_MAX: usize = 256;

/// Where a program says what happens; clones say it to the same watchers.
#[derive(Clone, Debug, Default)]
pub struct Feed(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Changes with the list; read alone, it saves whoever says something from writing lines that nobody sees.
    watchers: AtomicUsize,
    list: Mutex<Vec<Watcher>>,
}

#[derive(Debug)]
struct Watcher {
    lines: Sender<Arc<str>>,
    missed: Arc<AtomicUsize>,
}

/// A watcher's end.
#[derive(Debug)]
pub(super) struct Watching {
    lines: Receiver<Arc<str>>,
    missed: Arc<AtomicUsize>,
}

impl Feed {
    /// Says that something has happened: of what kind, to whom, and a sentence, which is only made if somebody watches.
    pub fn say<S: Display>(&self, kind: &str, whom: impl Display, sentence: impl FnOnce() -> S) {
        if self.0.watchers.load(Ordering::Relaxed) == 0 {
            return;
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let time = Timestamp { unix_ms: since.as_millis() as u64 };
        let sentence = sentence().to_string();
        let line: Arc<str> = format!("{time}  {kind:6}  {whom}  {}\n", shown(&sentence)).into();
        let mut list = self.list();
        list.retain(|watcher| match watcher.lines.try_send(line.clone()) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                watcher.missed.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(TrySendError::Disconnected(_)) => false,
        });
        self.0.watchers.store(list.len(), Ordering::Relaxed);
    }

    /// From now on.
    pub(super) fn watch(&self) -> Watching {
        let (sender, lines) = bounded(LINES_MAX);
        let missed = Arc::<AtomicUsize>::default();
        let mut list = self.list();
        list.push(Watcher { lines: sender, missed: missed.clone() });
        self.0.watchers.store(list.len(), Ordering::Relaxed);
        Watching { lines, missed }
    }

    fn list(&self) -> MutexGuard<'_, Vec<Watcher>> {
        self.0.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watching {
    /// What has happened, waiting for it as long as `wait`; nothing if nothing has.
    pub(super) fn lines(&self, wait: Duration) -> String {
        let mut text = match self.lines.recv_timeout(wait) {
            Ok(line) => line.to_string(),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return String::new(),
        };
        text.extend(self.lines.try_iter().map(|line| line.to_string()));
        match self.missed.swap(0, Ordering::Relaxed) {
            0 => {}
            missed => text.push_str(&format!("(you read too slowly: {missed} lines are left out here)\n")),
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;

    #[test]
    fn nothing_is_put_into_words_that_nobody_watches() {
        let feed = Feed::default();
        feed.say("node", "a", || -> String { panic!("nobody watches") });
        let watching = feed.watch();
        feed.say("node", "a", || "is\nthere");
        let line = watching.lines(NOW);
        assert!(line.ends_with("Z  node    a  is\\nthere\n"), "{line}");
        drop(watching);
        feed.say("node", "a", || "the watcher is found to be gone");
        feed.say("node", "a", || -> String { panic!("nobody watches") });
    }

    #[test]
    fn a_watcher_that_does_not_read_misses_lines_and_is_told() {
        let feed = Feed::default();
        let watching = feed.watch();
        for number in 0..LINES_MAX + 3 {
            feed.say("job", number, || "goes on");
        }
        let text = watching.lines(NOW);
        assert_eq!(text.lines().count(), LINES_MAX + 1);
        assert!(text.ends_with("(you read too slowly: 3 lines are left out here)\n"));
        assert_eq!(watching.lines(NOW), "");
    }
}
