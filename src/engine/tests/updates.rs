//! Updates on their way: the node that has trained them is free for its next task, and they count once or not at all.

use super::*;
use crate::job::Attempt;

#[test]
fn a_node_whose_update_is_on_its_way_gets_its_next_task_but_keeps_no_more_than_two() {
    let mut harness = Harness::new(Policy::LoadBalancing);
    harness.join(1);
    let first = harness.start(JOB, &specification(4, 1))[0];
    let second = only_sent(&harness.update_coming(&first));
    assert_eq!(sent(&harness.update_coming(&first)), [], "told twice");
    assert_eq!(sent(&harness.update_coming(&second)), [], "it has two to give");
    let third = only_sent(&harness.finish(&first));
    assert_eq!(sent(&harness.finish(&second)), [], "its worker is busy");
    // What comes in the wrong order frees nobody twice.
    let fourth = only_sent(&harness.finish(&third));
    assert_eq!(harness.update_coming(&third), []);
    assert_eq!(harness.engine.status().nodes[0].outstanding, 1);
    harness.finish(&fourth);
    assert!(outcome(&[harness.merged(JOB, 0), harness.validated(JOB, 0)].concat()).is_some());
}

#[test]
fn an_update_that_does_not_come_frees_nothing_that_was_not_taken() {
    let mut harness = Harness::new(Policy::LoadBalancing);
    harness.join(1);
    harness.join(2);
    let tasks = harness.start(JOB, &specification(4, 1));
    let forged = Attempt { token: tasks[0].attempt.token ^ 1, ..tasks[0].attempt };
    assert_eq!(sent(&harness.tell(Event::UpdateComing { link: tasks[0].link, attempt: forged })), []);
    let next = only_sent(&harness.update_coming(&tasks[0]));
    assert_eq!(next.link, tasks[0].link);
    // The task goes to another node, and the one that has lost it keeps what it trains.
    assert_eq!(sent(&harness.failed(&tasks[0], Fault::Retryable)), []);
    assert_eq!(links(&sent(&harness.update_coming(&tasks[1]))), [tasks[1].link.0]);
}

/// Two nodes of one worker each; the first task's update is on its way, and its node has the next task.
fn one_on_its_way(policy: Policy) -> (Harness, Vec<Sent>) {
    let mut harness = Harness::new(policy);
    harness.join(1);
    harness.join(2);
    let mut tasks = harness.start(JOB, &specification(3, 1));
    let next = sent(&harness.update_coming(&tasks[0]));
    tasks.extend(next);
    assert_eq!(tasks.len(), 3, "{policy}");
    (harness, tasks)
}

/// The round ends with every shard's rows once, and the job with it.
#[track_caller]
fn ends_with_all_rows(harness: &mut Harness, mut actions: Vec<Action>, tasks: &[&Sent]) {
    for task in tasks {
        actions.extend(harness.finish(task));
    }
    let finishes = actions.iter().filter(|action| matches!(action, Action::FinishStep { .. }));
    assert_eq!(finishes.collect::<Vec<_>>(), [&Action::FinishStep { job: JOB, step: 0, rows: 3 * u64::from(ROWS) }]);
    harness.merged(JOB, 0);
    assert_eq!(summary(&harness.validated(JOB, 0)).merged, 3);
}

#[test]
fn a_task_whose_update_breaks_off_is_given_again_and_counts_once() {
    for policy in [Policy::Random, Policy::LoadBalancing] {
        for fault in [Fault::Retryable, Fault::Malformed] {
            let (mut harness, tasks) = one_on_its_way(policy);
            let mut actions = harness.failed(&tasks[0], fault);
            // What is left of it comes all the same.
            let late = harness.trained(&tasks[0]);
            assert!(discards(&late) && !accumulates(&late), "{policy}");
            actions.extend(harness.finish(&tasks[1]));
            actions.extend(harness.finish(&tasks[2]));
            let again: Vec<Sent> = sent(&actions).into_iter().filter(|task| task.shard() == tasks[0].shard()).collect();
            assert_eq!(again.len(), 1, "{policy}");
            assert_ne!(again[0].attempt.token, tasks[0].attempt.token);
            ends_with_all_rows(&mut harness, actions, &[&again[0]]);
        }
    }
}

#[test]
fn a_node_that_is_lost_with_its_update_on_its_way_has_both_its_tasks_given_again() {
    for policy in [Policy::Random, Policy::LoadBalancing] {
        let (mut harness, tasks) = one_on_its_way(policy);
        let lost = tasks[0].link;
        let (kept, gone): (Vec<Sent>, Vec<Sent>) = tasks.iter().partition(|task| task.link != lost);
        let mut actions = harness.cut(lost.0);
        for task in &gone {
            let late = [harness.update_coming(task), harness.trained(task)].concat();
            assert!(!accumulates(&late) && sent(&late).is_empty(), "{policy}");
        }
        // It comes back as nobody who has anything to give.
        actions.extend(harness.link(lost.0 as u32, 11, 1, &[1]));
        for task in &gone {
            let elsewhere = Sent { link: LinkKey(11), ..*task };
            assert!(!accumulates(&harness.trained(&elsewhere)), "{policy}");
        }
        let mut left = kept;
        let mut given = sent(&actions);
        while let Some(task) = left.pop().or_else(|| given.pop()) {
            let more = harness.finish(&task);
            given.extend(sent(&more));
            actions.extend(more);
        }
        ends_with_all_rows(&mut harness, actions, &[]);
    }
}

#[test]
fn of_two_nodes_that_trained_the_same_task_the_update_counts_that_is_whole_first() {
    for policy in [Policy::Random, Policy::LoadBalancing] {
        for copy_is_first in [false, true] {
            let mut harness = Harness::new(policy);
            harness.join(1);
            harness.join(2);
            let tasks = harness.start(JOB, &specification(2, 1));
            harness.now = harness.now.after_us(100_000);
            harness.finish(&tasks[0]);
            // Its update takes so long that another node is asked.
            harness.update_coming(&tasks[1]);
            let copy = only_sent(&harness.pass_ms(30_000));
            assert_ne!(copy.link, tasks[1].link);
            harness.update_coming(&copy);
            let (first, second) = if copy_is_first { (copy, tasks[1]) } else { (tasks[1], copy) };
            assert!(accumulates(&harness.trained(&first)), "{policy}");
            let late = harness.trained(&second);
            assert!(discards(&late) && !accumulates(&late), "{policy}");
            let done = harness.accumulated(&first);
            assert!(done.contains(&Action::FinishStep { job: JOB, step: 0, rows: 2 * u64::from(ROWS) }), "{policy}");
            assert!(harness.engine.status().nodes.iter().all(|node| node.outstanding == 0));
        }
    }
}

#[test]
fn an_update_on_its_way_to_a_cancelled_job_is_nobodys_and_its_node_is_free() {
    for policy in [Policy::Random, Policy::LoadBalancing] {
        let (mut harness, tasks) = one_on_its_way(policy);
        let cancelled = harness.tell(Event::CancelRequested { job: JOB });
        let cancels = cancelled.iter().filter(|action| matches!(action, Action::Cancel { .. })).count();
        assert_eq!((cancels, outcome(&cancelled)), (3, Some(Outcome::Cancelled)), "{policy}");
        let next = harness.start(JobId(8), &specification(2, 1));
        assert_eq!(links(&next), [1, 2], "{policy}");
        let late = [harness.update_coming(&tasks[2]), harness.trained(&tasks[0]), harness.trained(&tasks[2])].concat();
        assert!(discards(&late) && !accumulates(&late) && sent(&late).is_empty(), "{policy}");
    }
}

#[test]
fn updates_that_are_lost_are_trained_again_and_count_once() {
    let mut harness = Harness::new(Policy::LoadBalancing);
    harness.join(1);
    harness.join(2);
    let tasks = harness.start(JOB, &specification(2, 1));
    harness.finish(&tasks[0]);
    harness.pass_ms(3);
    harness.finish(&tasks[1]);
    let lost = |step| Event::UpdatesLost { job: JOB, step, shards: vec![1], reason: "the disk is ill".to_owned() };
    harness.pass_ms(2);
    let actions = harness.tell(lost(0));
    let again = only_sent(&actions);
    assert_eq!((again.shard(), again.attempt.attempt), (1, 2));
    assert!(matches!(notices(&actions)[..], [Notice::UpdatesLost { step: 0, count: 1, .. }]));
    assert_eq!(harness.tell(lost(0)), [], "nothing is being merged");
    assert!(discards(&harness.trained(&tasks[1])), "what is lost is not merged by a late copy");
    assert_eq!(harness.merged(JOB, 0), [], "the round is not over");
    let done: u64 = harness.engine.status().nodes.iter().map(|node| node.tasks_done).sum();
    assert_eq!(done, 1);
    let actions = harness.finish(&again);
    assert_eq!(actions.last(), Some(&Action::FinishStep { job: JOB, step: 0, rows: 2 * u64::from(ROWS) }));
    harness.merged(JOB, 0);
    let summary = summary(&harness.validated(JOB, 0));
    assert_eq!((summary.merged, summary.training_us, summary.reproducible), (2, 600, true));
    assert_eq!(summary.nodes.iter().map(|node| node.tasks).sum::<u64>(), 2);
    assert_eq!(summary.profile.total_us(), summary.elapsed_us);
}
