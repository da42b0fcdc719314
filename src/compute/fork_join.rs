//! Fork and join: a thread lends its work to others, who take part in it, and goes on when all of them are done. Owns the one
//! place where borrowed work goes to threads that may outlive it; does not know who takes part, or what is computed.
//!
//! No lock is held while anything is computed. Whoever waits looks out for [`WATCH`] first, since what is waited for mostly
//! takes a microsecond or two.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a helper looks out for the next work, and a thread for the last of its helpers, before they sleep.
const WATCH: Duration = Duration::from_micros(50);

/// Work of one thread that others may take part in.
#[derive(Default)]
pub(super) struct ForkJoin {
    state: Mutex<Inner>,
    /// Number of the last work that was lent, from 1.
    number: AtomicU64,
    /// Helpers at work. Changed under the lock alone; looked at without.
    active: AtomicUsize,
    /// Signalled when the last helper is done.
    done: Condvar,
}

#[derive(Default)]
struct Inner {
    lent: Option<Lent>,
    panicked: bool,
}

/// Work, while help with it is wanted.
struct Lent {
    work: &'static (dyn Fn() + Sync),
    /// Helpers that may still join.
    places: usize,
}

impl ForkJoin {
    /// Calls `work` here, and at most once each in up to `helpers_most` others; `invite`, first, may call them. Returns when
    /// all these calls have. Panics if one of them has.
    pub fn run(&self, helpers_most: usize, work: &(dyn Fn() + Sync), invite: impl FnOnce()) {
        // SAFETY: only the lifetime changes. Others use it between here and the end of `withdraw`, and that is before this
        // function's end, however it ends.
        let lent = unsafe { std::mem::transmute::<&(dyn Fn() + Sync), &'static (dyn Fn() + Sync)>(work) };
        let until_here = WithdrawnAtEnd(self);
        {
            let mut state = self.state();
            *state = Inner { lent: Some(Lent { work: lent, places: helpers_most }), panicked: false };
            self.number.fetch_add(1, Ordering::Release);
        }
        invite();
        work();
        drop(until_here);
        assert!(!self.state().panicked, "a helper has panicked");
    }

    /// Takes part in the work in hand, unless it is the `last` that this helper knows. Returns its number.
    pub fn help(&self, last: u64) -> u64 {
        let mut state = self.state();
        let number = self.number.load(Ordering::Relaxed);
        let Some(lent) = state.lent.as_mut().filter(|lent| number != last && lent.places > 0) else { return number };
        lent.places -= 1;
        let work = lent.work;
        // From here on `withdraw` waits for us.
        self.active.fetch_add(1, Ordering::Relaxed);
        drop(state);
        let result = catch_unwind(AssertUnwindSafe(work));
        let mut state = self.state();
        state.panicked |= result.is_err();
        if self.active.fetch_sub(1, Ordering::Release) == 1 {
            self.done.notify_one();
        }
        number
    }

    /// Looks out for work after the `last` for a while. Says whether there is some.
    pub fn another_comes(&self, last: u64) -> bool {
        comes_soon(|| self.number.load(Ordering::Relaxed) != last)
    }

    fn state(&self) -> MutexGuard<'_, Inner> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody joins any more, and whoever has is waited for.
    fn withdraw(&self) {
        self.state().lent = None;
        if comes_soon(|| self.active.load(Ordering::Acquire) == 0) {
            return;
        }
        let mut state = self.state();
        while self.active.load(Ordering::Acquire) > 0 {
            state = self.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Withdraws the work, even where the thread's own part of it panics.
struct WithdrawnAtEnd<'a>(&'a ForkJoin);

impl Drop for WithdrawnAtEnd<'_> {
    fn drop(&mut self) {
        self.0.withdraw();
    }
}

/// Whether something becomes true within [`WATCH`].
fn comes_soon(is_true: impl Fn() -> bool) -> bool {
    let mut start = None;
    loop {
        for _ in 0..64 {
            if is_true() {
                return true;
            }
            std::hint::spin_loop();
        }
        if start.get_or_insert_with(Instant::now).elapsed() > WATCH {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    /// What `work` does is called by the lender with true and, at the same time, by a helper with false.
    fn two_work(work: impl Fn(bool) + Sync) {
        let fork_join = ForkJoin::default();
        let (lender, both) = (thread::current().id(), Barrier::new(2));
        let invited = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                invited.wait();
                fork_join.help(0);
            });
            let both_work = || {
                both.wait();
                work(thread::current().id() == lender);
            };
            fork_join.run(1, &both_work, || {
                invited.wait();
            });
        });
    }

    #[test]
    fn a_panic_on_either_side_reaches_the_lender_after_both_are_done() {
        for lenders_own in [true, false] {
            let ended = AtomicUsize::new(0);
            let result = catch_unwind(AssertUnwindSafe(|| {
                two_work(|is_lender| {
                    assert_ne!(is_lender, lenders_own, "as it should be in this test");
                    ended.fetch_add(1, Ordering::Relaxed);
                });
            }));
            assert!(result.is_err());
            assert_eq!(ended.load(Ordering::Relaxed), 1, "the other side was waited for");
        }
    }

    #[test]
    fn work_that_is_borrowed_ends_before_its_lender_goes_on_whoever_joins_and_when() {
        let fork_join = ForkJoin::default();
        let ended = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut last = 0;
                    while ended.load(Ordering::Acquire) == 0 {
                        last = fork_join.help(last);
                        thread::yield_now();
                    }
                });
            }
            for round in 0..20 {
                // Freed at the end of each round: a helper who still read it would read freed memory.
                let (number, calls) = (Box::new(round), AtomicUsize::new(0));
                fork_join.run(1, &|| _ = calls.fetch_add(1 + (*number - round), Ordering::Relaxed), || ());
                assert!((1..=2).contains(&calls.into_inner()), "one helper has room");
            }
            ended.store(1, Ordering::Release);
        });
    }
}
