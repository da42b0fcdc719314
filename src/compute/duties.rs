//! What a node still owes its coordinators: tasks that it has taken, updates that are still to be fetched, links that are
//! still to be closed. Owns their number and the moment from which no more tasks are taken; does not know what is in them.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The node's book of what it owes; clones are the same book.
#[derive(Clone, Default)]
pub(super) struct Duties(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Something has been done.
    done: Condvar,
}

#[derive(Default)]
struct State {
    is_draining: bool,
    owed: Owed,
}

/// How much is owed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owed {
    /// Tasks that have been taken and not been answered.
    pub tasks: usize,
    /// Updates that have been announced and not been fetched.
    pub updates: usize,
    /// Links that are open.
    pub(super) links: usize,
}

/// What a duty is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Task,
    Update,
    Link,
}

/// Something that is owed until this is dropped.
pub(super) struct Duty {
    duties: Duties,
    kind: Kind,
}

impl Owed {
    /// Whether no work is owed any more.
    pub fn is_nothing(self) -> bool {
        self.tasks == 0 && self.updates == 0
    }

    fn of(&mut self, kind: Kind) -> &mut usize {
        match kind {
            Kind::Task => &mut self.tasks,
            Kind::Update => &mut self.updates,
            Kind::Link => &mut self.links,
        }
    }
}

impl fmt::Display for Owed {
    /// `1 task and 2 updates`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let some = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
        match (self.tasks, self.updates) {
            (tasks, 0) => f.write_str(&some(tasks, "task")),
            (0, updates) => write!(f, "{} to be fetched", some(updates, "update")),
            (tasks, updates) => write!(f, "{} and {} to be fetched", some(tasks, "task"), some(updates, "update")),
        }
    }
}

impl Duties {
    /// A task is taken on; none once the node is draining.
    pub(super) fn take_task(&self) -> Option<Duty> {
        let mut state = self.state();
        if state.is_draining {
            return None;
        }
        Some(self.note(&mut state, Kind::Task))
    }

    /// Something is owed.
    pub(super) fn owe(&self, kind: Kind) -> Duty {
        self.note(&mut self.state(), kind)
    }

    /// No task is taken from now on.
    pub(super) fn drain(&self) {
        self.state().is_draining = true;
    }

    /// Whether tasks are no longer taken.
    pub(super) fn are_draining(&self) -> bool {
        self.state().is_draining
    }

    /// How much is owed now.
    pub(super) fn owed(&self) -> Owed {
        self.state().owed
    }

    /// Waits until so little is owed, for as long as `wait`; what is owed then.
    pub(super) fn await_done(&self, wait: Duration, is_done: impl Fn(Owed) -> bool) -> Owed {
        let waited = self.0.done.wait_timeout_while(self.state(), wait, |state| !is_done(state.owed));
        waited.unwrap_or_else(PoisonError::into_inner).0.owed
    }

    fn note(&self, state: &mut State, kind: Kind) -> Duty {
        *state.owed.of(kind) += 1;
        Duty { duties: self.clone(), kind }
    }

    #[inline(never)] // Locking takes more code than a call, and is done in many places.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Duty {
    fn drop(&mut self) {
        *self.duties.state().owed.of(self.kind) -= 1;
        self.duties.0.done.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draining_node_takes_no_task_and_still_owes_those_that_it_has() {
        let duties = Duties::default();
        let (task, link) = (duties.take_task(), duties.owe(Kind::Link));
        assert!(task.is_some() && !duties.are_draining());
        duties.drain();
        assert!(duties.take_task().is_none() && duties.are_draining());
        let update = duties.owe(Kind::Update);
        assert_eq!(duties.owed(), Owed { tasks: 1, updates: 1, links: 1 });
        assert_eq!(duties.await_done(Duration::ZERO, Owed::is_nothing), duties.owed());
        drop(task);
        assert!(!duties.owed().is_nothing());
        drop((update, link));
        assert_eq!(duties.await_done(Duration::MAX, Owed::is_nothing), Owed::default());
    }

    #[test]
    fn whoever_waits_is_woken_by_the_last_that_is_done() {
        let duties = Duties::default();
        let (first, second) = (duties.take_task(), duties.take_task());
        let worker = std::thread::spawn(move || drop((first, second)));
        assert!(duties.await_done(Duration::from_secs(60), Owed::is_nothing).is_nothing());
        worker.join().unwrap();
    }

    #[test]
    fn what_is_owed_is_said_in_words() {
        let said = |tasks, updates| Owed { tasks, updates, links: 9 }.to_string();
        assert_eq!(said(1, 0), "1 task");
        assert_eq!(said(0, 1), "1 update to be fetched");
        assert_eq!(said(2, 3), "2 tasks and 3 updates to be fetched");
    }
}
