//! Tasks whose link has ended: how long they hold a worker.

use super::*;

const LEASE: Duration = Duration::from_secs(30);
const AGE_MAX: Duration = Duration::from_secs(600);

/// A node with an orphan, work 1, whose link ended at the first second.
fn orphaned(workers: u32) -> (Harness, TaskKey) {
    let mut harness = Harness::new(workers);
    let (_, task) = harness.run(LINK, 0, 0);
    harness.at(1, Event::LinkDown { link: LINK });
    (harness, task)
}

fn given_up(attempt: u32, work: u32) -> [Order; 2] {
    let attempt = Attempt { task: identity(0, attempt - 1).task, attempt, token: u64::from(attempt) << 32 };
    [Action::Tell { attempt, note: Note::GivenUp }, Action::Stop { work }]
}

impl Harness {
    fn at(&mut self, second: u64, event: Event<Plain>) -> Vec<Order> {
        self.now = Moment::from_secs(second);
        self.tell(event)
    }
}

#[test]
fn an_orphan_is_given_up_for_a_task_that_waits_when_its_lease_is_over() {
    let (mut harness, orphan) = orphaned(1);
    let (to, orders) = harness.train(OTHER, 0, 1);
    assert_eq!(orders, []);
    assert_eq!(harness.core.next_deadline(), Some(Moment::from_secs(1) + LEASE));
    assert_eq!(harness.at(30, Event::Tick), []);
    assert_eq!(harness.at(31, Event::Tick), given_up(1, 1));
    assert_eq!((harness.core.next_deadline(), harness.at(32, Event::Tick)), (None, vec![]));
    assert_eq!(harness.end(orphan, Err("cancelled")), [start(TaskKey(1), to.request)]);
}

#[test]
fn a_lease_that_is_long_over_ends_with_the_first_task_that_needs_the_worker_which_is_not_turned_down() {
    let (mut harness, _) = orphaned(1);
    harness.now = Moment::from_secs(30);
    let (to, orders) = harness.ask(OTHER, identity(0, 1), true, true);
    assert!(matches!(orders[1], Action::AnswerRejected { reason: RejectReason::Busy, .. }), "{to:?}: {orders:?}");
    harness.now = Moment::from_secs(31);
    assert_eq!(harness.ask(OTHER, identity(0, 2), true, true).1, given_up(1, 1));
    // The next one waits behind it.
    let (_, orders) = harness.ask(OTHER, identity(0, 3), true, true);
    assert!(matches!(orders[1], Action::AnswerRejected { reason: RejectReason::Busy, .. }), "{orders:?}");
}

#[test]
fn an_orphan_that_nobody_needs_room_for_goes_on_and_has_an_end_all_the_same() {
    let (mut harness, _) = orphaned(2);
    harness.train(OTHER, 0, 1);
    assert_eq!(harness.core.next_deadline(), Some(Moment::from_secs(1) + AGE_MAX));
    assert_eq!(harness.at(600, Event::Tick), []);
    assert_eq!(harness.results(OTHER), [(0, 0)]);
    assert_eq!(harness.at(601, Event::Tick), given_up(1, 1));
    assert_eq!(harness.results(OTHER), []);
}

#[test]
fn a_lease_longer_than_the_longest_age_is_granted() {
    let mut harness = Harness::with(Settings { orphan_lease: 2 * AGE_MAX, ..Settings::new(1) });
    harness.run(LINK, 0, 0);
    harness.at(0, Event::LinkDown { link: LINK });
    assert_eq!(harness.core.next_deadline(), Some(2 * AGE_MAX));
}

#[test]
fn as_many_orphans_are_given_up_as_tasks_wait_the_oldest_first() {
    let mut harness = Harness::new(2);
    harness.run(OTHER, 0, 0);
    harness.run(LINK, 0, 1);
    harness.at(1, Event::LinkDown { link: LINK });
    harness.at(2, Event::LinkDown { link: OTHER });
    harness.link_up(LinkKey(3));
    harness.now = Moment::from_secs(100);
    assert_eq!(harness.train(LinkKey(3), 0, 2).1, given_up(2, 2));
    assert_eq!(harness.train(LinkKey(3), 0, 3).1, given_up(1, 1));
}

#[test]
fn a_coordinator_that_comes_back_within_the_lease_has_its_task_for_as_long_as_it_stays() {
    let (mut harness, task) = orphaned(1);
    harness.train(OTHER, 0, 1);
    harness.now = Moment::from_secs(30);
    harness.link_up(LinkKey(3));
    let (to, _) = harness.train(LinkKey(3), 0, 0);
    assert_eq!((harness.core.next_deadline(), harness.at(10_000, Event::Tick)), (None, vec![]));
    // Lost again it has a lease anew.
    harness.tell(Event::LinkDown { link: LinkKey(3) });
    assert_eq!(harness.core.next_deadline(), Some(Moment::from_secs(10_000) + LEASE));
    assert_eq!(harness.end(task, Ok(outcome(0, 10))).last(), Some(&start(TaskKey(1), 2)), "{to:?}");
    assert_eq!(harness.results(OTHER), [(0, 0)], "what is done stays");
}
