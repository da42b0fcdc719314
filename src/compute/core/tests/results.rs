//! Results: their answers, their updates, their place in the cache.

use super::*;

#[test]
fn a_result_travels_inside_its_answer_if_it_is_small_and_is_kept_for_fetching_if_not() {
    let mut harness = Harness::new(1);
    let (to, task) = harness.run(LINK, 0, 0);
    assert_eq!(harness.end(task, Ok(outcome(0, INLINE_BYTES))), [trained(to, 0, INLINE_BYTES)]);
    let (to, task) = harness.run(LINK, 0, 1);
    let pin = Action::PinUpdate { digest: outcome(1, 0).result.update, data: () };
    assert_eq!(harness.end(task, Ok(outcome(1, LARGE_BYTES))), [pin, trained(to, 1, LARGE_BYTES)]);
    assert_eq!(harness.core.outstanding(), Outstanding { tasks: 0, updates: 1 });
    assert_eq!(harness.poll(LINK, to.attempt), None, "it has been answered");
}

#[test]
fn an_update_stays_until_its_end_is_fetched_and_its_memory_goes_to_the_next_task() {
    let mut harness = Harness::new(1);
    harness.finish(LINK, 0, 0, LARGE_BYTES);
    let digest = outcome(0, 0).result.update;
    let mut fetch = |link, end_bytes| harness.tell(Event::PieceFetched { link, digest, end_bytes });
    assert_eq!(fetch(LINK, LARGE_BYTES - 1), []);
    assert_eq!(fetch(OTHER, LARGE_BYTES), [], "it is not that link's");
    assert_eq!(fetch(LINK, LARGE_BYTES), [Action::UnpinUpdate { digest }]);
    assert_eq!(fetch(LINK, LARGE_BYTES), []);
    assert!(harness.core.outstanding().is_nothing());
    // Not before: the last piece may be on its way.
    let (to, orders) = harness.train(LINK, 0, 1);
    assert_eq!(orders, [Action::DropObject { digest }, start(TaskKey(1), to.request)]);
}

#[test]
fn an_update_that_was_announced_twice_is_let_go_when_it_was_fetched_twice() {
    let mut harness = Harness::new(1);
    harness.finish(LINK, 0, 0, LARGE_BYTES);
    harness.finish(LINK, 0, 0, LARGE_BYTES);
    let digest = outcome(0, 0).result.update;
    let fetched = Event::PieceFetched { link: LINK, digest, end_bytes: LARGE_BYTES };
    assert_eq!(harness.tell(fetched.clone()), [Action::UnpinUpdate { digest }]);
    assert!(!harness.train(LINK, 0, 1).1.contains(&Action::DropObject { digest }), "once more it will be");
    assert_eq!(harness.tell(fetched)[0], Action::UnpinUpdate { digest });
}

#[test]
fn a_failure_is_answered_and_nothing_of_it_is_kept() {
    let mut harness = Harness::new(1);
    let (to, task) = harness.run(LINK, 0, 0);
    assert_eq!(harness.end(task, Err("no")), [failed(to, Failure::Training("no"))]);
    assert_eq!((harness.core.cached(), harness.load()), (0, (0, 0)));
    assert_eq!(harness.end(task, Ok(outcome(0, 1))), [], "it has ended");
}

#[test]
fn what_was_cancelled_and_has_lost_its_link_leaves_no_result() {
    let mut harness = Harness::new(1);
    let (to, task) = harness.run(LINK, 0, 0);
    harness.cancel(to);
    harness.tell(Event::LinkDown { link: LINK });
    assert_eq!(harness.end(task, Ok(outcome(0, 10))), []);
    assert_eq!((harness.core.cached(), harness.load()), (0, (0, 0)));
}

#[test]
fn another_link_gets_the_result_and_the_same_link_has_it_trained_again() {
    let mut harness = Harness::new(1);
    harness.finish(LINK, 0, 0, 10);
    assert_eq!(harness.results(LINK), []);
    assert_eq!(harness.results(OTHER), [(0, 0)]);
    let (to, orders) = harness.ask(OTHER, identity(0, 0), false, true);
    assert_eq!(orders, [Action::Tell { attempt: to.attempt, note: Note::Reused }, trained(to, 0, 10)]);
    assert_eq!((harness.core.reused(), harness.results(OTHER)), (1, vec![]));
    // Neither is content with what it got.
    assert!(started(&harness.train(OTHER, 0, 0).1).is_some());
    assert_eq!(harness.results(LINK), [(0, 0)], "the other has had it since");
}

#[test]
fn a_result_is_given_for_nothing_but_the_same_task() {
    let mut harness = Harness::new(8);
    harness.finish(LINK, 4, 1, 10);
    let right = identity(4, 1);
    let foreign = TaskId { job: JobId(8), ..right.task };
    for other in [
        identity(4, 2),
        Identity { task: foreign, ..right },
        Identity { base: digest("x"), ..right },
        Identity { rest: digest("x"), ..right },
    ] {
        assert!(started(&harness.ask(OTHER, other, true, false).1).is_some(), "{other:?}");
    }
    assert!(started(&harness.ask(OTHER, right, true, false).1).is_none());
}

#[test]
fn a_task_of_a_later_step_lets_go_of_the_earlier_ones_of_its_job_alone() {
    let mut harness = Harness::new(4);
    harness.finish(LINK, 2, 0, 10);
    harness.finish(LINK, 3, 0, 10);
    let foreign = Identity { task: TaskId { job: JobId(8), step: 2, shard: 0 }, ..identity(2, 0) };
    let (_, orders) = harness.ask(LINK, foreign, true, false);
    harness.end(started(&orders).unwrap(), Ok(outcome(0, 10)));
    let (_, orphan) = harness.run(OTHER, 2, 1);
    harness.tell(Event::LinkDown { link: OTHER });
    harness.link_up(LinkKey(3));
    assert_eq!(harness.core.cached(), 2, "the step before has gone when the next one was asked for");
    let (to, orders) = harness.train(LinkKey(3), 3, 5);
    assert_eq!(orders, [Action::Stop { work: 4 }, start(TaskKey(4), to.request)]);
    assert_eq!(harness.results(LinkKey(3)), [(3, 0)]);
    assert_eq!(harness.end(orphan, Ok(outcome(1, 10))), [], "it was faster");
    assert_eq!(harness.results(LinkKey(3)), [(3, 0)], "and is of no use");
}

#[test]
fn the_least_recently_used_result_goes_when_there_are_too_many_or_too_large_ones() {
    let mut harness = Harness::with(Settings { results_max: 5, results_bytes_max: 1_000, ..Settings::new(1) });
    (0..4).for_each(|shard| drop(harness.finish(LINK, 0, shard, 250)));
    harness.train(OTHER, 0, 0);
    assert!(harness.finish(LINK, 0, 4, 250).contains(&Action::ReuseMemory { data: () }));
    let third = LinkKey(3);
    harness.link_up(third);
    let shards = |harness: &mut Harness| harness.results(third).iter().map(|listed| listed.1).collect::<Vec<_>>();
    assert_eq!(shards(&mut harness), [2, 3, 0, 4]);
    // The same task once more takes its own place.
    harness.finish(LINK, 0, 2, 250);
    assert_eq!(shards(&mut harness), [3, 0, 4, 2]);
    harness.finish(LINK, 0, 5, 1_001);
    assert_eq!(shards(&mut harness), [3, 0, 4, 2], "larger than all there is room for");
    (6..20).for_each(|shard| drop(harness.finish(LINK, 0, shard, 1)));
    assert_eq!(shards(&mut harness), [15, 16, 17, 18, 19]);
}

#[test]
fn the_weights_before_a_jobs_step_go_when_the_step_is_there() {
    let mut harness = Harness::new(8);
    let dropped = |orders: &[Order]| orders.contains(&Action::DropObject { digest: base_of(0) });
    assert!(!dropped(&harness.train(LINK, 0, 0).1));
    assert!(!dropped(&harness.train(LINK, 0, 1).1));
    assert!(dropped(&harness.train(LINK, 1, 0).1));
    assert!(!dropped(&harness.train(LINK, 2, 0).1));
    assert!(!dropped(&harness.train(LINK, 0, 2).1), "a step that is past changes nothing");
}
