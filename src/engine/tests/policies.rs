//! Policies: who gets a task, who waits, who gets a copy.

use super::schedules::of_blocks;
use super::*;

#[test]
fn random_sends_everything_at_once_and_owes_every_node_a_task() {
    let mut harness = Harness::new(Policy::Random);
    (1..=5).for_each(|number| drop(harness.join(number)));
    let tasks = harness.start(JOB, &specification(40, 1));
    assert_eq!(tasks.len(), 40);
    assert!(tasks.iter().all(|task| !task.may_reject));
    assert_eq!(links(&tasks[..5]), [1, 2, 3, 4, 5]);
    // The rest is drawn: not dealt out in turn.
    assert!(links(&tasks).chunk_by(|a, b| a == b).any(|of_one| of_one.len() != 8));
}

#[test]
fn random_has_two_tasks_for_each_worker_wait_at_a_node_that_cannot_keep_the_rows() {
    let specification = specification(40, 1);
    let rows_bytes = crate::engine::crew::Needs::of(&specification).rows_bytes;
    for (cache_bytes, most) in [(rows_bytes, 40), (rows_bytes - 1, 6)] {
        let mut harness = Harness::new(Policy::Random);
        harness.cache_bytes = Some(cache_bytes);
        harness.join_with(1, 3, &[1]);
        let tasks = harness.start(JOB, &specification);
        assert_eq!(tasks.len(), most);
        // As one ends the next comes.
        assert_eq!(sent(&harness.finish(&tasks[0])).len(), usize::from(most < 40));
    }
}

#[test]
fn random_gives_a_node_that_joined_late_a_task_in_the_next_round() {
    let mut harness = Harness::new(Policy::Random);
    (1..=5).for_each(|number| drop(harness.join(number)));
    let task = harness.start(JOB, &specification(1, 2))[0];
    harness.join(6);
    harness.finish(&task);
    // Five nodes have not had a task yet, and the one that had is none of them.
    assert_ne!(only_sent(&harness.merged(JOB, 0)).link, task.link);
}

#[test]
fn no_policy_sends_more_over_a_connection_than_it_carries() {
    for policy in [Policy::Random, Policy::LoadBalancing] {
        let mut harness = Harness::new(policy);
        harness.join_with(1, u32::MAX, &[1]);
        let tasks = harness.start(JOB, &specification(300, 1));
        assert_eq!(tasks.len(), 256, "{policy}");
        assert_eq!(only_sent(&harness.finish(&tasks[0])).shard(), 256, "{policy}");
    }
}

#[test]
fn a_node_that_says_it_has_countless_workers_leaves_some_of_a_step_to_others_and_may_go() {
    let mut harness = Harness::new(Policy::LoadBalancing);
    harness.join_with(1, u32::MAX, &[1]);
    harness.join_with(2, 8, &[1]);
    let mut out = harness.start(JOB, &of_blocks(32, 1));
    assert!(links(&out).contains(&2), "{out:?}");
    out.retain(|task| task.link == LinkKey(2));
    out.extend(sent(&harness.cut(1)));
    let mut is_done = false;
    while let Some(task) = out.pop() {
        let actions = harness.finish(&task);
        is_done = actions.iter().any(|action| matches!(action, Action::FinishStep { .. }));
        out.extend(sent(&actions));
    }
    assert!(is_done);
}

#[test]
fn load_balancing_never_sends_more_than_a_node_has_workers_for() {
    let mut harness = Harness::new(Policy::LoadBalancing);
    harness.join_with(1, 1, &[1]);
    harness.join_with(2, 3, &[1]);
    let tasks = harness.start(JOB, &specification(10, 1));
    assert_eq!(links(&tasks), [1, 2, 2, 2]);
    assert!(tasks.iter().all(|task| task.may_reject));
    let of_two = tasks.iter().find(|task| task.link == LinkKey(2)).unwrap();
    assert_eq!(only_sent(&harness.finish(of_two)).link, LinkKey(2));
}

#[test]
fn load_balancing_gives_equal_nodes_work_in_every_round() {
    let mut harness = Harness::new(Policy::LoadBalancing);
    (1..=4).for_each(|number| drop(harness.join_with(number, 4, &[1])));
    let mut tasks = harness.start(JOB, &specification(4, 5));
    for step in 0..5 {
        assert_eq!(links(&tasks), [1, 2, 3, 4], "round {step}");
        // Equally fast, give or take a little.
        harness.now = harness.now.after_us(10_000);
        for task in &tasks {
            harness.now = harness.now.after_us(50);
            harness.finish(task);
        }
        tasks = sent(&harness.merged(JOB, step));
        harness.validated(JOB, step);
    }
}

/// Two nodes of one worker each, after a round that took 10 ms and 100 ms a task.
fn fast_and_slow(rounds: u32) -> Harness {
    let mut harness = Harness::new(Policy::LoadBalancing);
    harness.join(1);
    harness.join(2);
    let tasks = harness.start(JOB, &specification(2, rounds));
    harness.now = harness.now.after_us(10_000);
    harness.finish(&tasks[0]);
    harness.now = harness.now.after_us(90_000);
    harness.finish(&tasks[1]);
    harness
}

#[test]
fn load_balancing_waits_for_a_fast_node_rather_than_use_a_slow_one() {
    let mut harness = fast_and_slow(2);
    let first = only_sent(&harness.merged(JOB, 0));
    assert_eq!(first.link, LinkKey(1));
    harness.now = harness.now.after_us(10_000);
    assert_eq!(only_sent(&harness.finish(&first)).link, LinkKey(1));
}

#[test]
fn load_balancing_turns_to_the_slow_node_when_the_fast_one_keeps_it_waiting() {
    let mut harness = fast_and_slow(2);
    let first = only_sent(&harness.merged(JOB, 0));
    assert_eq!(sent(&harness.pass_ms(50)), []);
    let second = only_sent(&harness.pass_ms(60));
    assert_eq!((first.link, second.link), (LinkKey(1), LinkKey(2)));
}

#[test]
fn a_task_of_a_node_that_is_known_to_be_slow_is_copied_at_once_where_a_fast_one_is_idle() {
    let mut harness = fast_and_slow(2);
    harness.cut(1);
    let slow = only_sent(&harness.merged(JOB, 0));
    assert_eq!(slow.link, LinkKey(2));
    let fast = only_sent(&harness.link(1, 11, 1, &[1]));
    harness.now = harness.now.after_us(10_000);
    let copy = only_sent(&harness.finish(&fast));
    assert_eq!((copy.link, copy.shard()), (LinkKey(11), slow.shard()));
}

#[test]
fn a_node_that_went_down_with_its_first_task_is_not_asked_first_when_it_is_back() {
    let mut harness = Harness::new(Policy::LoadBalancing);
    harness.join(1);
    harness.join(2);
    let tasks = harness.start(JOB, &specification(3, 1));
    assert_eq!(links(&tasks), [1, 2]);
    harness.now = harness.now.after_us(10_000);
    let third = only_sent(&harness.finish(&tasks[0]));
    assert_eq!(third.link, tasks[0].link);
    let down = tasks[1].link.0;
    assert_eq!(sent(&harness.cut(down)), []);
    harness.now = harness.now.after_us(8_000);
    assert_eq!(sent(&harness.link(down as u32, 12, 1, &[1])), []);
    harness.now = harness.now.after_us(2_000);
    assert_eq!(only_sent(&harness.finish(&third)).link, tasks[0].link);
}

#[test]
fn a_task_counts_as_slow_by_what_its_own_node_takes() {
    let mut harness = Harness::new(Policy::LoadBalancing);
    (1..=3).for_each(|number| drop(harness.join(number)));
    let tasks = harness.start(JOB, &specification(3, 2));
    harness.now = harness.now.after_us(10_000);
    harness.finish(&tasks[0]);
    harness.now = harness.now.after_us(90_000);
    tasks[1..].iter().for_each(|task| drop(harness.finish(task)));
    // The two that are left take ten times as long as the one that has gone, and nobody is impatient with them.
    harness.cut(tasks[0].link.0);
    let out = sent(&harness.merged(JOB, 0));
    harness.now = harness.now.after_us(100_000);
    let last = only_sent(&harness.finish(&out[0]));
    harness.finish(&out[1]);
    assert_eq!(sent(&harness.pass_ms(149)), []);
    assert_eq!(only_sent(&harness.pass_ms(1)).shard(), last.shard());
}

#[test]
fn load_balancing_tries_a_node_again_that_was_slow_once() {
    let mut harness = fast_and_slow(60);
    let tried_again = (0..60).find(|&step| {
        let mut out = sent(&harness.merged(JOB, step));
        let mut links = Vec::new();
        while let Some(task) = out.pop() {
            links.push(task.link);
            harness.now = harness.now.after_us(10_000);
            out.extend(sent(&harness.finish(&task)));
        }
        harness.validated(JOB, step);
        links.contains(&LinkKey(2))
    });
    // A tenth of the speed is forgiven after some thirty rounds without work, not at once.
    assert!(tried_again.is_some_and(|step| (10..50).contains(&step)), "{tried_again:?}");
}

#[test]
fn load_balancing_counts_what_others_do_on_a_node() {
    let mut harness = Harness::new(Policy::LoadBalancing);
    harness.join(1);
    harness.join(2);
    let tasks = harness.start(JOB, &specification(2, 2));
    harness.now = harness.now.after_us(10_000);
    tasks.iter().for_each(|task| drop(harness.finish(task)));
    harness.tell(Event::LoadReported { link: LinkKey(1), running: 1, waiting: 3 });
    let actions = harness.merged(JOB, 0);
    assert_eq!(sent(&actions)[0].link, LinkKey(2));
}

#[test]
fn load_balancing_offers_nothing_more_to_a_node_that_says_it_is_busy() {
    for (reason, offered) in [(RejectReason::LoadProbability, 1), (RejectReason::Busy, 0)] {
        let mut harness = Harness::new(Policy::LoadBalancing);
        harness.join(1);
        harness.join(2);
        let first = harness.start(JOB, &specification(5, 1));
        // Both nodes take 10 ms a task. Two more are out then, and one waits.
        harness.now = harness.now.after_us(10_000);
        let third = only_sent(&harness.finish(&first[0]));
        only_sent(&harness.finish(&first[1]));
        harness.now = harness.now.after_us(1_000);
        assert_eq!(sent(&harness.rejected_for(&third, reason)).len(), offered, "{reason:?}");
    }
}

/// Two nodes of three tasks: one that wants nothing for 400 ms has turned down the task that is pending, the other trains.
fn reluctant() -> (Harness, Sent, Sent) {
    let mut harness = Harness::new(Policy::LoadBalancing);
    harness.join(1);
    harness.join(2);
    let tasks = harness.start(JOB, &specification(3, 1));
    assert_eq!(sent(&harness.rejected_with(&tasks[0], RejectReason::LoadProbability, 400)), []);
    (harness, tasks[0], tasks[1])
}

#[test]
fn load_balancing_offers_nothing_to_a_node_before_the_moment_that_it_has_named() {
    let (mut harness, refused, other) = reluctant();
    assert_eq!(sent(&harness.pass_ms(399)), []);
    // The third task, which nobody has turned down; nothing else happens that would have it looked at.
    let third = only_sent(&harness.pass_ms(1));
    assert_eq!((third.link, third.shard(), third.may_reject), (refused.link, 2, true));
    let first = only_sent(&harness.finish(&other));
    assert_eq!((first.link, first.shard(), first.may_reject), (other.link, 0, true));
}

#[test]
fn a_node_that_wants_nothing_yet_gets_no_copy_before_its_moment() {
    let (mut harness, refused, other) = reluctant();
    harness.now = harness.now.after_us(1_000);
    let rest = only_sent(&harness.finish(&other));
    harness.now = harness.now.after_us(1_000);
    only_sent(&harness.finish(&rest));
    // Two of three are done: the last is slow from 200 ms on.
    assert_eq!(sent(&harness.pass_ms(397)), []);
    assert_eq!(only_sent(&harness.pass_ms(1)).link, refused.link);
}

#[test]
fn where_every_node_wants_nothing_yet_a_task_is_sent_firmly_all_the_same() {
    let (mut harness, _, other) = reluctant();
    let sent_firmly = sent(&harness.rejected_with(&other, RejectReason::LoadProbability, u32::MAX));
    assert!(sent_firmly.iter().all(|task| !task.may_reject));
    assert_eq!(links(&sent_firmly), [1, 2], "{sent_firmly:?}");
}

#[test]
fn a_moment_that_is_too_far_is_not_believed() {
    let mut harness = Harness::new(Policy::LoadBalancing);
    harness.join(1);
    let mut task = harness.start(JOB, &specification(1, 3))[0];
    task = only_sent(&harness.rejected_with(&task, RejectReason::LoadProbability, u32::MAX));
    for (step, wait_ms, may_reject) in [(0, 59_999, false), (1, 1, true)] {
        harness.now = harness.now.after_us(wait_ms * 1_000);
        harness.finish(&task);
        task = only_sent(&harness.merged(JOB, step));
        harness.validated(JOB, step);
        assert_eq!(task.may_reject, may_reject, "round {step}");
    }
}

#[test]
fn a_task_that_everybody_turned_down_is_sent_firmly() {
    let mut harness = Harness::new(Policy::LoadBalancing);
    harness.join(1);
    harness.join(2);
    let first = harness.start(JOB, &specification(1, 1))[0];
    let second = only_sent(&harness.rejected(&first));
    assert_ne!(first.link, second.link);
    assert!(second.may_reject);
    let third = only_sent(&harness.rejected(&second));
    assert!(!third.may_reject);
    // To turn down what may not be turned down is a failure: another node, firmly, then a pause.
    let fourth = only_sent(&harness.rejected(&third));
    assert!(!fourth.may_reject && fourth.link != third.link);
    assert_eq!(sent(&harness.rejected(&fourth)), []);
    only_sent(&harness.pass_ms(200));
}

#[test]
fn a_task_that_was_turned_down_waits_for_a_node_that_is_merely_full() {
    let mut harness = Harness::new(Policy::LoadBalancing);
    harness.join(1);
    harness.join(2);
    let tasks = harness.start(JOB, &specification(2, 1));
    assert_eq!(sent(&harness.rejected(&tasks[0])), []);
    let second = only_sent(&harness.finish(&tasks[1]));
    assert_eq!((second.link, second.may_reject), (tasks[1].link, true));
}

#[test]
fn a_node_that_joins_in_the_middle_gets_what_is_waiting() {
    let mut harness = Harness::new(Policy::LoadBalancing);
    harness.join(1);
    assert_eq!(harness.start(JOB, &specification(2, 1)).len(), 1);
    let actions = harness.join(2);
    assert_eq!(only_sent(&actions).link, LinkKey(2));
    assert!(matches!(notices(&actions)[..], [Notice::NodeJoined { .. }]));
}

/// Four nodes; three of four tasks are done after 100 ms. What is left.
fn last_of_four(policy: Policy) -> (Harness, Sent) {
    let mut harness = Harness::new(policy);
    (1..=4).for_each(|number| drop(harness.join(number)));
    let tasks = harness.start(JOB, &specification(4, 1));
    harness.now = harness.now.after_us(100_000);
    tasks[..3].iter().for_each(|task| drop(harness.finish(task)));
    (harness, tasks[3])
}

#[test]
fn a_task_that_takes_longer_than_expected_is_copied_to_an_idle_node_and_the_loser_is_cancelled() {
    for policy in [Policy::Random, Policy::LoadBalancing] {
        let (mut harness, slow) = last_of_four(policy);
        assert_eq!(sent(&harness.pass_ms(49)), [], "{policy}");
        let actions = harness.pass_ms(1);
        let copy = only_sent(&actions);
        assert_ne!(copy.link, slow.link);
        assert!(matches!(notices(&actions)[..], [Notice::Speculating { waited_us: 150_000, .. }]));
        // The copy is slow as well, and so is its copy: each is waited for longer, and no node has two of them.
        let mut out = vec![slow, copy];
        for wait_ms in [300, 450] {
            assert_eq!(sent(&harness.pass_ms(wait_ms - 1)), [], "{policy}");
            out.push(only_sent(&harness.pass_ms(1)));
        }
        assert_eq!(links(&out), [1, 2, 3, 4]);
        assert_eq!(sent(&harness.pass_ms(10_000)), []);
        let actions = harness.finish(&copy);
        for loser in out.iter().filter(|sent| sent.link != copy.link) {
            assert!(actions.contains(&Action::Cancel { link: loser.link, attempt: loser.attempt }));
        }
        // A loser was too far to stop: its result is compared, and is the same.
        assert_eq!(notices(&harness.trained(&slow)), []);
    }
}

#[test]
fn of_many_tasks_that_are_out_the_slow_ones_are_copied_within_a_millisecond_whatever_happens() {
    let mut harness = Harness::new(Policy::LoadBalancing);
    (1..=20).for_each(|number| drop(harness.join(number)));
    let tasks = harness.start(JOB, &specification(20, 1));
    harness.now = harness.now.after_us(100_000);
    tasks[..10].iter().for_each(|task| drop(harness.finish(task)));
    assert_eq!(sent(&harness.pass_ms(49)), []);
    // They are looked at before they are slow, and not again when they come to be.
    harness.now = harness.now.after_us(500);
    let told = Event::LoadReported { link: LinkKey(1), running: 0, waiting: 0 };
    assert_eq!(sent(&harness.tell(told.clone())), []);
    harness.now = harness.now.after_us(900);
    assert_eq!(sent(&harness.tell(told)), []);
    let copies = sent(&harness.pass_ms(1));
    assert_eq!(copies.len(), 10, "{copies:?}");
}

#[test]
fn a_node_that_copies_have_overtaken_is_known_to_be_slow() {
    let mut harness = Harness::new(Policy::LoadBalancing);
    (1..=4).for_each(|number| drop(harness.join(number)));
    let tasks = harness.start(JOB, &specification(4, 2));
    harness.now = harness.now.after_us(100_000);
    tasks[..3].iter().for_each(|task| drop(harness.finish(task)));
    let copy = only_sent(&harness.pass_ms(100));
    harness.now = harness.now.after_us(100_000);
    harness.finish(&copy);
    // The others take 100 ms: a second task after the first is done before one that takes this node 300 ms or more.
    let slow = tasks[3].link.0;
    let (first, then) = (sent(&harness.merged(JOB, 0)), sent(&harness.pass_ms(50)));
    assert_eq!((first.len(), then), (3, Vec::new()));
    assert!(!links(&first).contains(&slow), "{first:?}");
}

#[test]
fn what_a_silent_node_has_is_copied_though_it_has_most_of_the_round_or_all_of_it() {
    for done in [1, 0] {
        let mut harness = Harness::new(Policy::LoadBalancing);
        (1..=4).for_each(|number| drop(harness.join(number)));
        let tasks = harness.start(JOB, &specification(4, 1));
        harness.now = harness.now.after_us(100_000);
        tasks[..done].iter().for_each(|task| drop(harness.finish(task)));
        // The others say nothing of their tasks, and nothing of being busy: nobody can tell what is normal.
        let patience_ms = if done == 1 { 900 } else { 29_900 };
        assert_eq!(sent(&harness.pass_ms(patience_ms - 1)), []);
        if done == 0 {
            harness.join(5);
        }
        assert!(!sent(&harness.pass_ms(1)).is_empty(), "{done} done");
    }
}

#[test]
fn what_silent_nodes_have_comes_to_the_one_that_answers_however_many_they_are() {
    for policy in [Policy::Random, Policy::LoadBalancing] {
        for (silent, shards) in [(1, 3), (2, 3), (2, 6), (4, 12)] {
            let mut harness = Harness::new(policy);
            (1..=1 + silent).for_each(|number| drop(harness.join_with(number, 2, &[1])));
            let mut out = harness.start(JOB, &specification(shards, 1));
            let ends = harness.now.after_us(300_000_000);
            let mut is_done = false;
            while !is_done {
                assert!(harness.now < ends, "{policy}, {silent} silent, {shards} shards: {out:?}");
                let actions = match out.iter().position(|task| task.link == LinkKey(1)) {
                    Some(place) => {
                        let task = out.remove(place);
                        harness.now = harness.now.after_us(10_000);
                        harness.finish(&task)
                    }
                    None => harness.pass_ms(100),
                };
                out.extend(sent(&actions));
                is_done = actions.iter().any(|action| matches!(action, Action::FinishStep { .. }));
            }
        }
    }
}

#[test]
fn a_copy_that_failed_once_is_tried_again_at_the_same_node_if_there_is_no_other() {
    for policy in [Policy::Random, Policy::LoadBalancing] {
        let mut harness = Harness::new(policy);
        harness.join(1);
        harness.join(2);
        let tasks = harness.start(JOB, &specification(2, 1));
        harness.now = harness.now.after_us(10_000);
        harness.finish(&tasks[0]);
        let copy = only_sent(&harness.pass_ms(1_000));
        // However often it fails so, it counts for nothing as long as the task is done elsewhere.
        let mut copy = copy;
        for _ in 0..20 {
            assert_eq!(sent(&harness.failed(&copy, Fault::Retryable)), [], "{policy}");
            copy = only_sent(&harness.pass_ms(4_000));
        }
        assert_eq!(sent(&harness.failed(&copy, Fault::Retryable)), [], "{policy}");
        let again = only_sent(&harness.pass_ms(4_000));
        assert_eq!((again.link, again.shard()), (copy.link, copy.shard()), "{policy}");
        assert!(harness.finish(&again).contains(&Action::FinishStep { job: JOB, step: 0, rows: 200 }), "{policy}");
    }
}

#[test]
fn a_task_that_failed_once_does_not_wait_for_a_silent_node_for_ever_where_little_was_seen() {
    let mut harness = Harness::new(Policy::LoadBalancing);
    harness.join(1);
    harness.join(2);
    let tasks = harness.start(JOB, &specification(3, 1));
    let other = only_sent(&harness.failed(&tasks[0], Fault::Retryable));
    assert_eq!((other.link, other.shard()), (tasks[0].link, 2));
    harness.now = harness.now.after_us(10_000);
    assert_eq!(sent(&harness.finish(&other)), []);
    let again = only_sent(&harness.pass_ms(3_000));
    assert_eq!((again.link, again.shard()), (tasks[0].link, tasks[0].shard()));
}

#[test]
fn a_slow_task_is_not_copied_to_a_busy_node() {
    let (mut harness, slow) = last_of_four(Policy::Random);
    for link in (1..=4).filter(|&link| link != slow.link.0) {
        harness.tell(Event::LoadReported { link: LinkKey(link), running: 1, waiting: 0 });
    }
    assert_eq!(sent(&harness.pass_ms(4_000)), []);
    // What was told is old: it is no longer believed.
    assert_ne!(sent(&harness.pass_ms(2_000)), []);
}

#[test]
fn the_copy_goes_on_when_the_slow_node_is_lost() {
    let (mut harness, slow) = last_of_four(Policy::Random);
    let copy = only_sent(&harness.pass_ms(100));
    assert_eq!(sent(&harness.cut(slow.link.0)), []);
    assert!(harness.finish(&copy).contains(&Action::FinishStep { job: JOB, step: 0, rows: 400 }));
}

#[test]
fn policies_have_numbers_and_names() {
    for (number, policy) in [("1", Policy::Random), ("2", Policy::LoadBalancing)] {
        assert_eq!(number.parse(), Ok(policy));
        assert_eq!(policy.to_string().parse(), Ok(policy));
    }
    assert_eq!("3".parse::<Policy>(), Err(NotAPolicy));
}
