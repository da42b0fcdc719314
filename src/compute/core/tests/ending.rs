//! The end of a link, the end of the node, and what people see until then.

use super::*;

#[test]
fn what_waits_goes_with_its_link_and_what_is_being_trained_goes_on() {
    let mut harness = Harness::new(1);
    let (_, task) = harness.run(LINK, 0, 0);
    harness.train(LINK, 0, 1);
    harness.ask(LINK, identity(0, 2), false, false);
    assert_eq!(harness.tell(Event::LinkDown { link: LINK }), []);
    assert_eq!(harness.load(), (1, 0));
    assert_eq!(harness.end(task, Ok(outcome(0, 10))), [], "nobody is to be answered");
    assert_eq!(harness.results(OTHER), [(0, 0)]);
}

#[test]
fn what_is_being_trained_for_a_link_that_has_ended_is_for_the_first_who_asks_for_it() {
    let mut harness = Harness::new(2);
    let (old, task) = harness.run(LINK, 0, 0);
    assert_eq!(harness.results(OTHER), []);
    harness.tell(Event::LinkDown { link: LINK });
    assert_eq!(harness.results(OTHER), [(0, 0)]);
    let (to, orders) = harness.ask(OTHER, identity(0, 0), false, true);
    assert_eq!(orders, [Action::Tell { attempt: to.attempt, note: Note::Adopted }]);
    assert_eq!((harness.results(OTHER), harness.core.reused()), (vec![], 1));
    assert_eq!(harness.poll(OTHER, to.attempt), Some(TaskState::Running));
    assert_eq!(harness.poll(OTHER, old.attempt), None);
    let second = harness.train(OTHER, 0, 0).1;
    assert!(started(&second).is_some(), "it has somebody");
    assert_eq!(harness.end(task, Ok(outcome(0, 10))), [trained(to, 0, 10)]);
}

#[test]
fn an_adopted_task_can_be_cancelled_and_lost_again() {
    let mut harness = Harness::new(1);
    let (_, task) = harness.run(LINK, 0, 0);
    harness.tell(Event::LinkDown { link: LINK });
    harness.train(OTHER, 0, 0);
    harness.tell(Event::LinkDown { link: OTHER });
    let third = LinkKey(3);
    harness.link_up(third);
    let (to, orders) = harness.train(third, 0, 0);
    assert_eq!(orders, [Action::Tell { attempt: to.attempt, note: Note::Adopted }]);
    assert_eq!(harness.cancel(to), [Action::Stop { work: 1 }]);
    assert_eq!(harness.end(task, Err("cancelled")), [failed(to, Failure::Training("cancelled"))]);
}

#[test]
fn what_is_being_stopped_is_given_to_nobody() {
    let mut harness = Harness::new(2);
    let (to, task) = harness.run(LINK, 0, 0);
    harness.cancel(to);
    harness.tell(Event::LinkDown { link: LINK });
    assert_eq!(harness.results(OTHER), []);
    assert!(started(&harness.train(OTHER, 0, 0).1).is_some());
    assert_eq!(harness.end(task, Ok(outcome(0, 10))), []);
}

#[test]
fn updates_that_were_never_fetched_go_with_the_link() {
    let mut harness = Harness::new(1);
    harness.finish(LINK, 0, 0, LARGE_BYTES);
    harness.finish(LINK, 0, 1, LARGE_BYTES);
    let unpin = |shard| Action::UnpinUpdate { digest: outcome(shard, 0).result.update };
    assert_eq!(harness.tell(Event::LinkDown { link: LINK }), [unpin(0), unpin(1)]);
    assert!(harness.core.outstanding().is_nothing());
}

#[test]
fn a_link_that_is_down_is_not_heard() {
    let mut harness = Harness::new(1);
    harness.tell(Event::LinkDown { link: LINK });
    assert_eq!(harness.train(LINK, 0, 0).1, []);
    assert_eq!(harness.tell(Event::LinkDown { link: LINK }), []);
    assert_eq!((harness.load(), harness.core.links()), ((0, 0), 1));
}

#[test]
fn a_drain_hands_back_what_no_worker_has_begun_and_takes_nothing_more() {
    let mut harness = Harness::new(1);
    let (running, task) = harness.run(LINK, 0, 0);
    let (queued, _) = harness.train(LINK, 0, 1);
    let (fetching, _) = harness.ask(OTHER, identity(0, 2), false, false);
    let handed_back =
        |to: Recipient| [Action::Tell { attempt: to.attempt, note: Note::HandedBack }, failed(to, Failure::Closing)];
    let orders = harness.tell(Event::DrainRequested);
    assert_eq!(orders, [handed_back(queued), handed_back(fetching)].concat());
    assert_eq!(harness.core.outstanding(), Outstanding { tasks: 1, updates: 0 });
    let (late, orders) = harness.train(LINK, 0, 3);
    assert_eq!(orders, handed_back(late));
    // What is being trained is delivered, and kept until it is fetched.
    assert!(harness.end(task, Ok(outcome(0, LARGE_BYTES))).contains(&trained(running, 0, LARGE_BYTES)));
    assert_eq!(harness.core.outstanding(), Outstanding { tasks: 0, updates: 1 });
    harness.tell(Event::PieceFetched { link: LINK, digest: outcome(0, 0).result.update, end_bytes: LARGE_BYTES });
    assert!(harness.core.outstanding().is_nothing() && harness.core.is_draining());
}

#[test]
fn a_drain_does_not_wait_for_what_nobody_can_get() {
    for is_draining_before in [false, true] {
        let mut harness = Harness::new(2);
        let (lost, task) = harness.run(LINK, 0, 0);
        let (kept, other) = harness.run(OTHER, 0, 1);
        let mut events = [Event::LinkDown { link: LINK }, Event::DrainRequested];
        if is_draining_before {
            events.reverse();
        }
        let [first, second] = events;
        assert_eq!(harness.tell(first), []);
        let given_up = Action::Tell { attempt: lost.attempt, note: Note::GivenUp };
        assert_eq!(harness.tell(second), [given_up, Action::Stop { work: lost.request }]);
        assert_eq!(harness.core.outstanding(), Outstanding { tasks: 1, updates: 0 });
        assert_eq!(harness.end(other, Ok(outcome(1, 10))), [trained(kept, 1, 10)]);
        // Its worker has not stopped yet.
        assert!(harness.core.outstanding().is_nothing() && harness.load() == (1, 0));
        assert_eq!(harness.end(task, Err("cancelled")), []);
    }
}

#[test]
fn goodbye_is_said_to_every_link_that_is_up() {
    let mut harness = Harness::new(1);
    let close = |link| Action::Close { link };
    assert_eq!(harness.tell(Event::CloseRequested), [close(LINK), close(OTHER)]);
    harness.tell(Event::LinkDown { link: LINK });
    assert_eq!(harness.tell(Event::CloseRequested), [close(OTHER)]);
}

#[test]
fn a_stop_gives_up_everything() {
    let mut harness = Harness::new(1);
    let (to, task) = harness.run(LINK, 0, 0);
    harness.train(LINK, 0, 1);
    let orders = harness.tell(Event::StopRequested);
    let close = |link| Action::Close { link };
    assert_eq!(orders, [close(LINK), close(OTHER), Action::Stop { work: to.request }]);
    assert_eq!(harness.load(), (1, 0));
    assert!(started(&harness.end(task, Err("cancelled"))).is_none());
}

#[test]
fn what_is_outstanding_is_said_in_words() {
    let said = |tasks, updates| Outstanding { tasks, updates }.to_string();
    assert_eq!(said(1, 0), "1 task");
    assert_eq!(said(0, 1), "1 update to be fetched");
    assert_eq!(said(2, 3), "2 tasks and 3 updates to be fetched");
}

#[test]
fn jobs_and_their_tasks_are_listed_until_the_tasks_are_answered() {
    let mut harness = Harness::new(1);
    let (_, task) = harness.run(LINK, 0, 0);
    harness.train(LINK, 0, 1);
    let states = |harness: &Harness| harness.core.tasks().map(|task| (task.task.shard, task.state)).collect::<Vec<_>>();
    assert_eq!(states(&harness), [(0, TaskState::Running), (1, TaskState::Waiting)]);
    harness.tell(Event::Ended { task, result: Ok(outcome(0, 10)), rows_per_second: Some(5.0) });
    assert_eq!(states(&harness), [(1, TaskState::Running)]);
    assert_eq!(harness.core.jobs(), [JobDone { job: JOB, done: 1 }]);
    assert_eq!(harness.core.counts(), Counts { running: 1, waiting: 0, done: 1, rows_per_second: 5.0 });
    harness.tell(Event::Ended { task: TaskKey(1), result: Err("no"), rows_per_second: None });
    assert_eq!(harness.core.jobs()[0].done, 1, "a failure is not done");
    assert_eq!(harness.core.counts(), Counts { running: 0, waiting: 0, done: 2, rows_per_second: 5.0 });
}
