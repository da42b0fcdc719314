//! A task's way to a worker, or out of the table before it.

use super::*;

#[test]
fn a_task_whose_data_is_here_goes_to_a_free_worker_at_once() {
    let mut harness = Harness::new(1);
    let (to, orders) = harness.train(LINK, 0, 0);
    assert_eq!(orders, [start(TaskKey(0), to.request)]);
    assert_eq!(harness.poll(LINK, to.attempt), Some(TaskState::Running));
    assert_eq!(harness.load(), (1, 0));
}

#[test]
fn a_task_without_its_data_asks_for_it_and_starts_when_the_last_of_it_is_here() {
    let mut harness = Harness::new(1);
    let (to, orders) = harness.ask(LINK, identity(0, 0), false, false);
    let fetch = |digest| Action::Fetch { link: LINK, digest };
    assert_eq!(orders, [fetch(base_of(0)), fetch(shard_of(0))]);
    assert_eq!((harness.poll(LINK, to.attempt), harness.load()), (Some(TaskState::Waiting), (0, 1)));
    assert_eq!(harness.tell(Event::ObjectHere { link: LINK, digest: shard_of(0), data: () }), []);
    let orders = harness.tell(Event::ObjectHere { link: LINK, digest: base_of(0), data: () });
    assert_eq!(orders, [start(TaskKey(0), to.request)]);
}

#[test]
fn what_comes_over_one_link_is_for_the_tasks_of_that_link() {
    let mut harness = Harness::new(2);
    harness.ask(LINK, identity(0, 0), false, false);
    for digest in [base_of(0), shard_of(0)] {
        assert_eq!(harness.tell(Event::ObjectHere { link: OTHER, digest, data: () }), []);
    }
}

#[test]
fn a_task_whose_data_cannot_be_had_is_answered_and_the_others_are_not() {
    let mut harness = Harness::new(1);
    let (lost, _) = harness.ask(LINK, identity(0, 0), false, false);
    let (other, _) = harness.ask(LINK, identity(0, 1), false, false);
    let orders = harness.tell(Event::ObjectMissing { link: LINK, digest: shard_of(0), failure: "gone" });
    assert_eq!(orders, [failed(lost, Failure::DataMissing("gone"))]);
    assert_eq!(harness.poll(LINK, lost.attempt), None);
    assert_eq!(harness.poll(LINK, other.attempt), Some(TaskState::Waiting));
}

#[test]
fn tasks_wait_for_a_worker_in_their_order() {
    let mut harness = Harness::new(1);
    let (_, first) = harness.run(LINK, 0, 0);
    let (second, orders) = harness.train(OTHER, 0, 1);
    assert_eq!(orders, []);
    let (third, _) = harness.train(LINK, 0, 2);
    assert_eq!(harness.load(), (1, 2));
    let orders = harness.end(first, Ok(outcome(0, 10)));
    assert_eq!(orders.last(), Some(&start(TaskKey(1), second.request)));
    let orders = harness.end(TaskKey(1), Err("no"));
    assert_eq!(orders.last(), Some(&start(TaskKey(2), third.request)));
}

#[test]
fn one_task_more_than_may_wait_is_refused() {
    let mut harness = Harness::with(Settings { queued_max: 1, ..Settings::new(1) });
    harness.run(LINK, 0, 0);
    assert_eq!(harness.train(LINK, 0, 1).1, []);
    let (to, orders) = harness.train(LINK, 0, 2);
    assert_eq!(orders, [failed(to, Failure::QueueFull { queued_max: 1 })]);
    assert_eq!(harness.load(), (1, 1));
}

#[test]
fn tasks_that_wait_for_data_count_among_those_that_may_wait() {
    let mut harness = Harness::with(Settings { queued_max: 1, ..Settings::new(2) });
    harness.ask(LINK, identity(0, 0), false, false);
    let (to, orders) = harness.ask(OTHER, identity(0, 1), false, false);
    assert_eq!(orders, [failed(to, Failure::QueueFull { queued_max: 1 })], "nothing is ordered for it");
}

#[test]
fn a_task_is_refused_where_those_that_wait_would_name_too_many_objects() {
    let mut harness = Harness::with(Settings { named_objects_max: 4, ..Settings::new(1) });
    // Its two objects are named no more: it runs.
    let (_, running) = harness.run(LINK, 0, 0);
    harness.train(LINK, 0, 1);
    let (fetching, _) = harness.ask(OTHER, identity(0, 2), false, false);
    let refused = Failure::TooManyNamed { named: 6, named_objects_max: 4 };
    for has_data in [true, false] {
        let (to, orders) = harness.ask(LINK, identity(0, 3), has_data, false);
        assert_eq!(orders, [failed(to, refused)], "nothing is ordered for it");
    }
    harness.end(running, Err("no"));
    assert_eq!(harness.train(LINK, 0, 3).1, [], "one of them runs");
    assert_eq!(harness.train(LINK, 0, 4).1.len(), 1);
    harness.cancel(fetching);
    assert_eq!(harness.train(LINK, 0, 4).1, [], "one of them has gone");
}

#[test]
fn a_task_that_may_be_rejected_is_where_as_many_are_in_hand_as_there_are_workers() {
    let mut harness = Harness::new(2);
    harness.run(LINK, 0, 0);
    assert!(started(&harness.ask(LINK, identity(0, 1), true, true).1).is_some());
    let (to, orders) = harness.ask(OTHER, identity(0, 2), true, true);
    let reason = RejectReason::Busy;
    let counts = Counts { running: 2, ..Counts::default() };
    let note = Action::Tell { attempt: to.attempt, note: Note::Rejected(reason) };
    assert_eq!(orders, [note, Action::AnswerRejected { to, reason, counts, retry_ms: 0 }]);
    assert_eq!(harness.poll(OTHER, to.attempt), None);
    assert_eq!(harness.ask(OTHER, identity(0, 2), true, false).1, [], "it may not be rejected: it waits");
}

#[test]
fn a_task_that_waits_for_data_counts_as_one_in_hand() {
    let mut harness = Harness::new(1);
    harness.ask(LINK, identity(0, 0), false, false);
    let orders = harness.ask(LINK, identity(0, 1), true, true).1;
    assert!(matches!(orders[..], [_, Action::AnswerRejected { reason: RejectReason::Busy, .. }]));
}

#[test]
fn a_node_under_injected_load_rejects_what_it_may_and_says_for_how_long() {
    let mut harness = loaded(1);
    for (now_us, left_ms) in [(0, 1_000), (300_001, 700), (999_999, 1), (1_000_000, 1_000)] {
        harness.now = Moment::from_micros(now_us);
        let orders = harness.ask(LINK, identity(0, 0), true, true).1;
        let [_, Action::AnswerRejected { reason: RejectReason::LoadProbability, retry_ms, .. }] = orders[..] else {
            panic!("{orders:?}")
        };
        assert_eq!(retry_ms, left_ms);
    }
}

#[test]
fn the_first_task_that_is_taken_under_injected_load_waits_and_the_others_do_not() {
    let mut harness = loaded(2);
    harness.ask(LINK, identity(0, 0), true, true);
    harness.now = Moment::from_millis(400);
    let delays = [0, 1].map(|shard| delay_of(&harness.train(LINK, 0, shard).1));
    assert_eq!(delays, [Some(Duration::from_millis(2_600)), Some(Duration::ZERO)]);
    // What waits in the queue has waited for its delay, too.
    assert_eq!(delay_of(&harness.train(LINK, 0, 2).1), None);
    harness.now = Moment::from_millis(1_000);
    assert_eq!(delay_of(&harness.train(LINK, 0, 3).1), None);
    harness.now = Moment::from_millis(1_500);
    assert_eq!(delay_of(&harness.end(TaskKey(1), Err("no"))), Some(Duration::ZERO));
    assert_eq!(delay_of(&harness.end(TaskKey(2), Err("no"))), Some(Duration::from_millis(2_500)));
    harness.now = Moment::from_millis(9_000);
    let (_, orders) = harness.ask(OTHER, identity(0, 4), false, false);
    assert_eq!(delay_of(&orders), None);
    harness.now = Moment::from_millis(9_900);
    harness.end(TaskKey(0), Err("no"));
    for digest in [base_of(0), shard_of(4)] {
        let orders = harness.tell(Event::ObjectHere { link: OTHER, digest, data: () });
        assert_eq!(delay_of(&orders), (digest == shard_of(4)).then_some(Duration::from_millis(2_100)));
    }
}

/// A node that is always under injected load, of 3 s.
fn loaded(workers: u32) -> Harness {
    let load_delay = Duration::from_secs(3);
    Harness::with(Settings { load_probability: 1.0, load_delay, ..Settings::new(workers) })
}

fn delay_of(orders: &[Order]) -> Option<Duration> {
    orders.iter().find_map(|order| match order {
        Action::Start { delay, .. } => Some(*delay),
        _ => None,
    })
}

#[test]
fn the_same_seed_strikes_the_same_tasks() {
    let strikes = |seed| -> Vec<bool> {
        let mut harness = Harness::with(Settings::new(1));
        harness.core.load = InjectedLoad::new(0.5, Duration::ZERO, seed);
        let mut is_rejected = |second| {
            harness.now = Moment::from_secs(second);
            let (to, orders) = harness.ask(LINK, identity(0, 0), false, true);
            harness.cancel(to);
            matches!(orders[..], [_, Action::AnswerRejected { .. }])
        };
        (0..64).map(&mut is_rejected).collect()
    };
    assert_eq!(strikes(3), strikes(3));
    assert_ne!(strikes(3), strikes(4));
}

#[test]
fn a_cancelled_task_that_waits_for_data_is_answered_at_once() {
    let mut harness = Harness::new(1);
    let (to, _) = harness.ask(LINK, identity(0, 0), false, false);
    assert_eq!(harness.cancel(to), [failed(to, Failure::Cancelled)]);
    assert_eq!((harness.poll(LINK, to.attempt), harness.load()), (None, (0, 0)));
    assert_eq!(harness.tell(Event::ObjectHere { link: LINK, digest: base_of(0), data: () }), []);
}

#[test]
fn a_cancelled_task_that_waits_behind_a_running_one_is_answered_at_once() {
    let mut harness = Harness::new(1);
    let (_, running) = harness.run(LINK, 0, 0);
    let (to, _) = harness.train(LINK, 0, 1);
    let (next, _) = harness.train(LINK, 0, 2);
    assert_eq!((harness.poll(LINK, to.attempt), harness.load()), (Some(TaskState::Waiting), (1, 2)));
    assert_eq!(harness.cancel(to), [failed(to, Failure::Cancelled)]);
    assert_eq!((harness.poll(LINK, to.attempt), harness.load()), (None, (1, 1)));
    let orders = harness.end(running, Err("no"));
    assert_eq!(orders.last(), Some(&start(TaskKey(2), next.request)), "it is out of the queue");
}

#[test]
fn a_cancelled_task_that_is_being_trained_is_stopped_and_its_worker_answers() {
    let mut harness = Harness::new(1);
    let (to, task) = harness.run(LINK, 0, 0);
    assert_eq!(harness.cancel(to), [Action::Stop { work: to.request }]);
    assert_eq!(harness.cancel(to), [], "it has been told");
    assert_eq!(harness.poll(LINK, to.attempt), Some(TaskState::Running));
    assert_eq!(harness.end(task, Err("cancelled")), [failed(to, Failure::Training("cancelled"))]);
    let (to, task) = harness.run(LINK, 0, 0);
    harness.cancel(to);
    assert_eq!(harness.end(task, Ok(outcome(0, 10))), [trained(to, 0, 10)], "the result was faster");
}

#[test]
fn a_cancellation_of_what_is_not_open_changes_nothing() {
    let mut harness = Harness::new(1);
    let (to, task) = harness.run(LINK, 0, 0);
    assert_eq!(harness.cancel(Recipient { link: OTHER, ..to }), []);
    harness.end(task, Ok(outcome(0, 10)));
    assert_eq!(harness.cancel(to), []);
}
