//! What happens in a program, a line each, for whoever watches on the console. Owns the watchers; does not know what
//! happens. A watcher that does not read misses lines, and holds up nobody.

use std::fmt::Display;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::wire::text::{Timestamp, shown};

/// Lines that may wait for a watcher.
const LINES_MAX: usize = 256;

/// Where a program says what happens; clones say it to the same watchers.
#[derive(Clone, Debug, Default)]
pub struct EventLog(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Changes with the list; read alone, it saves whoever says something from writing lines that nobody sees.
    watchers: AtomicUsize,
    list: Mutex<Vec<Weak<Inbox>>>,
}

/// What waits for a watcher.
#[derive(Debug, Default)]
struct Inbox {
    waiting: Mutex<Lines>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    lines: Vec<Arc<str>>,
    /// Lines that there was no room for.
    missed: usize,
}

/// A watcher's end; who drops it watches no more.
#[derive(Debug)]
pub(super) struct Watching(Arc<Inbox>);

impl EventLog {
    /// Says that something has happened: of what kind, to whom, and a sentence, which is only made if somebody watches.
    pub fn say<S: Display>(&self, kind: &str, whom: impl Display, sentence: impl FnOnce() -> S) {
        if self.0.watchers.load(Ordering::Relaxed) != 0 {
            self.tell(kind, &whom, &sentence());
        }
    }

    fn tell(&self, kind: &str, whom: &dyn Display, sentence: &dyn Display) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let time = Timestamp { unix_ms: since.as_millis() as u64 };
        let line: Arc<str> = format!("{time}  {kind:6}  {whom}  {}\n", shown(&sentence.to_string())).into();
        let mut list = self.list();
        list.retain(|watcher| watcher.upgrade().map(|inbox| inbox.put(&line)).is_some());
        self.0.watchers.store(list.len(), Ordering::Relaxed);
    }

    /// From now on.
    pub(super) fn watch(&self) -> Watching {
        let inbox = Arc::<Inbox>::default();
        let mut list = self.list();
        list.push(Arc::downgrade(&inbox));
        self.0.watchers.store(list.len(), Ordering::Relaxed);
        Watching(inbox)
    }

    #[inline(never)] // Locking takes more code than a call, and is done in many places.
    fn list(&self) -> MutexGuard<'_, Vec<Weak<Inbox>>> {
        self.0.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inbox {
    fn put(&self, line: &Arc<str>) {
        let mut waiting = self.waiting();
        if waiting.lines.len() < LINES_MAX {
            waiting.lines.push(line.clone());
        } else {
            waiting.missed += 1;
        }
        self.arrived.notify_one();
    }

    #[inline(never)] // Locking takes more code than a call, and is done in many places.
    fn waiting(&self) -> MutexGuard<'_, Lines> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watching {
    /// What has happened, waiting for it as long as `wait`; nothing if nothing has.
    pub(super) fn lines(&self, wait: Duration) -> String {
        let none = |waiting: &mut Lines| waiting.lines.is_empty();
        let waited = self.0.arrived.wait_timeout_while(self.0.waiting(), wait, none);
        let (mut waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        for line in waiting.lines.drain(..) {
            text.push_str(&line);
        }
        match std::mem::take(&mut waiting.missed) {
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
        let event_log = EventLog::default();
        event_log.say("node", "a", || -> String { panic!("nobody watches") });
        let watching = event_log.watch();
        event_log.say("node", "a", || "is\nthere");
        let line = watching.lines(NOW);
        assert!(line.ends_with("Z  node    a  is\\nthere\n"), "{line}");
        drop(watching);
        event_log.say("node", "a", || "the watcher is found to be gone");
        event_log.say("node", "a", || -> String { panic!("nobody watches") });
    }

    #[test]
    fn a_watcher_that_waits_is_woken_by_what_happens() {
        let event_log = EventLog::default();
        let (first, second) = (event_log.watch(), event_log.watch());
        let long = Duration::from_secs(60);
        let waiting = std::thread::spawn(move || {
            let since = std::time::Instant::now();
            (first.lines(long), since.elapsed())
        });
        event_log.say("node", "a", || "is there");
        let (line, waited) = waiting.join().unwrap();
        assert!(line.ends_with("a  is there\n") && waited < long, "{line} after {waited:?}");
        assert_eq!(second.lines(NOW).lines().count(), 1);
    }

    #[test]
    fn a_watcher_that_does_not_read_misses_lines_and_is_told() {
        let event_log = EventLog::default();
        let watching = event_log.watch();
        for number in 0..LINES_MAX + 3 {
            event_log.say("job", number, || "goes on");
        }
        let text = watching.lines(NOW);
        assert_eq!(text.lines().count(), LINES_MAX + 1);
        assert!(text.ends_with("(you read too slowly: 3 lines are left out here)\n"));
        assert_eq!(watching.lines(NOW), "");
    }
}
