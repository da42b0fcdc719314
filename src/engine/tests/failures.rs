//! Failures: of tasks, of results, of nodes, of all nodes.

use super::*;

#[test]
fn a_task_that_failed_goes_to_another_node() {
    for fault in [Fault::Retryable, Fault::Final, Fault::Malformed] {
        let mut harness = Harness::new(Policy::Random);
        harness.join(1);
        let task = harness.start(JOB, &specification(1, 1))[0];
        harness.join(2);
        assert_eq!(only_sent(&harness.failed(&task, fault)).link, LinkKey(2), "{fault:?}");
    }
}

#[test]
fn a_node_that_failed_is_asked_again_after_a_pause_if_there_is_no_other() {
    let mut harness = Harness::new(Policy::Random);
    harness.join(1);
    let task = harness.start(JOB, &specification(1, 1))[0];
    assert_eq!(sent(&harness.failed(&task, Fault::Retryable)), []);
    assert_eq!(sent(&harness.pass_ms(49)), []);
    let again = only_sent(&harness.pass_ms(1));
    assert_eq!(again.attempt.attempt, 2);
    // The pause doubles.
    harness.failed(&again, Fault::Retryable);
    assert_eq!(sent(&harness.pass_ms(99)), []);
    only_sent(&harness.pass_ms(1));
}

#[test]
fn a_task_that_failed_for_good_everywhere_fails_the_job() {
    let mut harness = Harness::new(Policy::LoadBalancing);
    harness.join_with(1, 2, &[1]);
    let task = harness.start(JOB, &specification(3, 1))[0];
    let actions = harness.failed(&task, Fault::Final);
    let shard = task.shard();
    let reason = FailReason::TaskFailed { place: Place::Shard { round: 0, shard }, reason: "out of memory".to_owned() };
    assert_eq!(outcome(&actions), Some(Outcome::Failed(reason)));
    // The other task was still out, and nothing more is sent.
    assert!(actions.iter().any(|action| matches!(action, Action::Cancel { .. })));
    assert_eq!(sent(&actions), []);
    assert_eq!(actions.last(), Some(&Action::ReleaseJob { job: JOB }));
}

#[test]
fn a_task_that_failed_too_often_fails_the_job() {
    let mut harness = Harness::new(Policy::Random);
    harness.join(1);
    let mut task = harness.start(JOB, &specification(1, 1))[0];
    for _ in 0..12 {
        assert_eq!(outcome(&harness.failed(&task, Fault::Retryable)), None);
        task = only_sent(&harness.pass_ms(3_200));
    }
    let actions = harness.failed(&task, Fault::Retryable);
    assert!(matches!(outcome(&actions), Some(Outcome::Failed(FailReason::TaskFailed { .. }))));
}

#[test]
fn a_skipped_task_is_left_out_and_the_result_is_called_not_reproducible() {
    let mut harness = Harness::new(Policy::Random);
    harness.join(1);
    let tasks = harness.start(JOB, &skipping(specification(3, 1)));
    let actions = harness.failed(&tasks[1], Fault::Final);
    assert!(matches!(notices(&actions)[..], [Notice::TaskSkipped { place: Place::Shard { round: 0, shard: 1 }, .. }]));
    harness.finish(&tasks[0]);
    let actions = harness.finish(&tasks[2]);
    assert!(actions.contains(&Action::FinishStep { job: JOB, step: 0, rows: 200 }));
    harness.merged(JOB, 0);
    let Some(Outcome::Done(summary)) = outcome(&harness.validated(JOB, 0)) else { panic!("the job is done") };
    assert_eq!((summary.merged, summary.skipped, summary.reproducible), (2, 1, false));
}

#[test]
fn a_round_of_which_everything_is_skipped_fails_the_job() {
    let mut harness = Harness::new(Policy::Random);
    harness.join(1);
    let tasks = harness.start(JOB, &skipping(specification(2, 1)));
    assert_eq!(outcome(&harness.failed(&tasks[0], Fault::Final)), None);
    let actions = harness.failed(&tasks[1], Fault::Final);
    assert!(matches!(outcome(&actions), Some(Outcome::Failed(FailReason::AllSkipped { step: 0, .. }))));
}

#[test]
fn a_job_that_may_skip_still_tries_the_task_elsewhere_when_a_node_is_lost() {
    let mut harness = Harness::new(Policy::Random);
    harness.join(1);
    harness.start(JOB, &skipping(specification(1, 1)));
    harness.join(2);
    assert_eq!(only_sent(&harness.cut(1)).link, LinkKey(2));
}

#[test]
fn what_a_node_says_of_the_earlier_life_of_a_reopened_job_is_neither_merged_nor_held_against_it() {
    let specification = specification(2, 1);
    let mut harness = Harness::new(Policy::Random);
    harness.join_with(1, 2, &[1]);
    let before = harness.start(JOB, &specification);
    assert!(outcome(&harness.failed(&before[0], Fault::Final)).is_some());
    let progress = None;
    harness.tell(Event::Reopened { job: JOB, specification: Arc::new(specification), progress });
    harness.tell(Event::ResultsHeld { link: LinkKey(1), job: JOB, held: Vec::new() });
    let again = sent(&harness.tell(Event::Prepared { job: JOB, base: base(0) }));
    assert_eq!(again.len(), 2);
    // The new attempts are numbered as the earlier ones were, and the node answers those only now.
    let (old, new) = (before[1].attempt, again[before[1].shard() as usize].attempt);
    assert_eq!((old.task, old.attempt), (new.task, new.attempt));
    for _ in 0..3 {
        assert_eq!(harness.failed(&before[1], Fault::Retryable), []);
        let late = harness.trained(&before[1]);
        assert!(discards(&late) && !accumulates(&late) && sent(&late).is_empty() && drops(&late).is_empty());
    }
    assert_eq!(harness.engine.status().nodes[0].outstanding, 2);
    harness.finish(&again[0]);
    assert!(harness.finish(&again[1]).contains(&Action::FinishStep { job: JOB, step: 0, rows: 200 }));
}

#[test]
fn a_quarantined_node_gets_no_work_and_no_link_until_it_is_listed_anew() {
    let mut harness = Harness::new(Policy::Random);
    harness.join(1);
    let tasks = harness.start(JOB, &specification(3, 1));
    harness.join(2);
    harness.failed(&tasks[0], Fault::Malformed);
    harness.failed(&tasks[1], Fault::Malformed);
    let actions = harness.failed(&tasks[2], Fault::Malformed);
    assert!(matches!(notices(&actions)[..], [Notice::Quarantined { .. }]));
    assert!(actions.contains(&Action::StopDialling { node: NodeKey(1) }));
    assert_eq!(drops(&harness.link(1, 11, 1, &[1])), [11]);
    assert_eq!(harness.engine.status().nodes[0].state, NodeState::Quarantined);
    // Losing the other node does not bring it back.
    let dialled = |action: &Action| matches!(action, Action::DialNow { nodes } if nodes == &[NodeKey(2)]);
    assert!(harness.cut(2).iter().any(dialled));
    harness.tell(Event::NodeUnlisted { node: NodeKey(1) });
    harness.join(1);
    assert_eq!(sent(&harness.pass_ms(500)).len(), 3);
}

#[test]
fn a_refused_update_is_a_strike_once_another_node_has_done_the_task_well() {
    let mut harness = Harness::new(Policy::Random);
    harness.join(1);
    let tasks = harness.start(JOB, &specification(3, 1));
    harness.join(2);
    let mut again = Vec::new();
    for task in &tasks {
        harness.trained_as(task, Digest::of(&[task.shard() as u8]));
        let actions = harness.refused(task);
        assert!(matches!(&notices(&actions)[..], [Notice::UpdateRefused { node, .. }] if node == "n1"));
        again.push(only_sent(&actions));
    }
    assert_eq!(links(&again), [2, 2, 2]);
    harness.finish(&again[0]);
    harness.finish(&again[1]);
    let actions = harness.finish(&again[2]);
    assert!(matches!(&notices(&actions)[..], [Notice::Quarantined { name, .. }] if name == "n1"));
}

#[test]
fn a_job_that_diverges_fails_and_quarantines_nobody() {
    let mut harness = Harness::new(Policy::Random);
    (1..=3).for_each(|number| drop(harness.join(number)));
    let mut out = harness.start(JOB, &specification(4, 1));
    let ended = loop {
        let task = out.remove(0);
        harness.trained(&task);
        let mut actions = harness.refused(&task);
        actions.extend(harness.pass_ms(3_200));
        out.extend(sent(&actions));
        if let Some(outcome) = outcome(&actions) {
            break outcome;
        }
    };
    assert!(matches!(ended, Outcome::Failed(FailReason::TaskFailed { .. })), "{ended:?}");
    assert!(harness.engine.status().nodes.iter().all(|node| node.state == NodeState::Active));
}

#[test]
fn nodes_that_gave_the_same_refused_update_vouch_for_each_other() {
    let mut harness = Harness::new(Policy::Random);
    harness.join(1);
    let tasks = harness.start(JOB, &specification(4, 1));
    harness.join(2);
    let mut second = Vec::new();
    for task in &tasks {
        harness.trained(task);
        second.push(only_sent(&harness.refused(task)));
    }
    harness.join(3);
    for task in &second {
        harness.trained(task);
        let third = only_sent(&harness.refused(task));
        assert_eq!(third.link, LinkKey(3));
        assert_eq!(notices(&harness.finish(&third)), []);
    }
}

#[test]
fn by_default_the_revivals_outlast_a_switch_that_starts_again() {
    let waits = Settings::new(Policy::Random).revival_waits;
    assert_eq!(waits, [5, 15, 45].map(Duration::from_secs));
}

#[test]
fn while_no_node_is_there_all_of_them_are_dialled_every_second() {
    let mut harness = Harness::new(Policy::Random);
    harness.join(1);
    harness.tell(Event::NodeListed { node: NodeKey(2), address: "10.0.0.2:7000".to_owned() });
    harness.start(JOB, &specification(1, 1));
    let mut actions = harness.cut(1);
    actions.extend(harness.pass_ms(6_999));
    let dial = Action::DialNow { nodes: vec![NodeKey(1), NodeKey(2)] };
    assert_eq!(actions.iter().filter(|action| **action == dial).count(), 7, "{actions:?}");
    assert_eq!(notices(&actions).iter().filter(|notice| matches!(notice, Notice::Revival { .. })).count(), 3);
    let joined = harness.link(2, 12, 1, &[1]);
    assert!(!sent(&joined).is_empty() && !harness.pass_ms(100).contains(&dial));
}

#[test]
fn who_waits_for_the_first_node_is_told_at_once_where_to_start_one() {
    let mut harness = Harness::new(Policy::Random);
    for number in 1..=5 {
        let address = format!("10.0.0.{number}:7000");
        harness.tell(Event::NodeListed { node: NodeKey(number), address });
    }
    harness.submit(JOB, &specification(1, 1));
    harness.tell(Event::DataReady { job: JOB });
    let told = notices(&harness.tell(Event::Prepared { job: JOB, base: base(0) }));
    let sentence = "no node is active, and none has been since the coordinator was started: start one, with compute_node \
                    PORT 0, at an address in the nodes file: 10.0.0.1:7000, 10.0.0.2:7000, 10.0.0.3:7000, ...";
    assert_eq!(told[0].to_string(), sentence);
    // One that has answered is known to have been started.
    harness.link(1, 1, 1, &[1]);
    assert_eq!(notices(&harness.cut(1)).last().map(Notice::to_string), Some(revival(2, 2).to_string()));
    let mut harness = Harness::new(Policy::Random);
    harness.join(1);
    harness.start(JOB, &specification(1, 1));
    assert!(notices(&harness.cut(1)).contains(&Notice::NoNodes));
}

/// A coordinator that has just started knows nothing of its nodes yet: a job that goes on then must not be told that there are none.
#[test]
fn nobody_is_missed_before_the_first_dials_are_answered() {
    let begins = |dialled: u32| {
        let mut harness = Harness::new(Policy::Random);
        for number in 1..=dialled {
            let node = NodeKey(number);
            harness.tell(Event::NodeListed { node, address: format!("10.0.0.{number}:7000") });
            harness.tell(Event::DialBegun { node, until: harness.now.after_us(2_000_000) });
        }
        harness.submit(JOB, &specification(1, 1));
        harness.tell(Event::DataReady { job: JOB });
        assert_eq!(notices(&harness.tell(Event::Prepared { job: JOB, base: base(0) })), []);
        harness
    };
    let fails = |harness: &mut Harness, node| notices(&harness.tell(Event::DialFailed { node: NodeKey(node) }));
    let listed = |count: u32| (1..=count).map(|number| format!("10.0.0.{number}:7000")).collect();
    // The first that answers gets the work, and nothing else is told.
    let mut harness = begins(2);
    assert_eq!(fails(&mut harness, 1), []);
    let joined = harness.link(2, 12, 1, &[1]);
    assert_eq!((sent(&joined).len(), notices(&joined)), (1, vec![Notice::NodeJoined { name: "n2".to_owned() }]));
    // Where none does, that is told at once; where nothing is heard, after a while.
    let mut harness = begins(2);
    assert_eq!(fails(&mut harness, 1), []);
    assert_eq!(fails(&mut harness, 2), [Notice::NoNodesYet { listed: listed(2) }, revival(1, 1)]);
    let mut harness = begins(1);
    assert_eq!(notices(&harness.pass_ms(1_999)), []);
    assert_eq!(notices(&harness.pass_ms(1)), [Notice::NoNodesYet { listed: listed(1) }, revival(1, 1)]);
    // One that was there and has gone is away.
    let mut harness = begins(1);
    harness.link(1, 11, 1, &[1]);
    assert_eq!(notices(&harness.cut(11)).last(), Some(&revival(1, 1)));
}

fn revival(number: u32, seconds: u64) -> Notice {
    Notice::Revival { number, of: 3, wait: Duration::from_secs(seconds) }
}

#[test]
fn three_revivals_are_tried_and_then_the_job_is_given_up() {
    let mut harness = Harness::new(Policy::Random);
    harness.tell(Event::NodeListed { node: NodeKey(1), address: "10.0.0.1:7000".to_owned() });
    harness.submit(JOB, &specification(1, 1));
    harness.tell(Event::DataReady { job: JOB });
    let mut actions = harness.tell(Event::Prepared { job: JOB, base: base(0) });
    assert!(actions.contains(&Action::DialNow { nodes: vec![NodeKey(1)] }));
    actions.extend(harness.pass_ms(6_999));
    let yet = Notice::NoNodesYet { listed: vec!["10.0.0.1:7000".to_owned()] };
    assert_eq!(notices(&actions), [yet, revival(1, 1), revival(2, 2), revival(3, 4)]);
    assert_eq!(outcome(&actions), None);
    assert_eq!(outcome(&harness.pass_ms(1)), Some(Outcome::Failed(FailReason::NoNodes { revivals: 3 })));
}

#[test]
fn a_node_that_comes_back_in_the_last_moment_rescues_the_job() {
    let mut harness = Harness::new(Policy::Random);
    harness.join(1);
    harness.start(JOB, &specification(1, 1));
    harness.cut(1);
    assert_eq!(outcome(&harness.pass_ms(6_999)), None);
    let task = only_sent(&harness.link(1, 11, 1, &[1]));
    assert_eq!(outcome(&harness.pass_ms(60_000)), None);
    harness.finish(&task);
    harness.merged(JOB, 0);
    let Some(Outcome::Done(summary)) = outcome(&harness.validated(JOB, 0)) else { panic!("the job is done") };
    assert_eq!((summary.revivals, summary.reproducible), (3, true));
}

#[test]
fn a_node_that_comes_and_goes_without_finishing_anything_does_not_keep_a_job_alive() {
    let mut harness = Harness::new(Policy::Random);
    harness.join(1);
    harness.start(JOB, &specification(1, 1));
    for link in 11..14 {
        assert_eq!(outcome(&harness.cut(if link == 11 { 1 } else { link - 1 })), None);
        harness.pass_ms(500);
        harness.link(1, link, 1, &[1]);
        harness.pass_ms(10_000);
    }
    assert_eq!(outcome(&harness.cut(13)), Some(Outcome::Failed(FailReason::NoNodes { revivals: 3 })));
}

#[test]
fn a_finished_task_gives_a_job_its_revivals_back_and_those_that_led_to_it_were_not_in_vain() {
    let mut harness = Harness::new(Policy::Random);
    harness.join(1);
    harness.start(JOB, &specification(1, 9));
    for round in 0..8 {
        let old = if round == 0 { 1 } else { 10 + round };
        assert_eq!(outcome(&harness.cut(old)), None);
        let task = only_sent(&harness.link(1, 11 + round, 1, &[1]));
        harness.finish(&task);
        harness.merged(JOB, round);
        harness.validated(JOB, round);
    }
    harness.cut(18);
    assert_eq!(outcome(&harness.pass_ms(7_000)), Some(Outcome::Failed(FailReason::NoNodes { revivals: 3 })));
}

#[test]
fn nodes_of_another_arithmetic_get_no_work_unless_the_job_allows_it() {
    let mut harness = Harness::new(Policy::Random);
    harness.join_with(1, 1, &[2, 3]);
    harness.submit(JOB, &specification(1, 1));
    harness.tell(Event::DataReady { job: JOB });
    let mut actions = harness.tell(Event::Prepared { job: JOB, base: base(0) });
    actions.extend(harness.pass_ms(7_000));
    assert_eq!(sent(&actions), []);
    let told = notices(&actions)
        .into_iter()
        .filter(|notice| matches!(notice, Notice::NoneEligible { arithmetic: 1, doubted } if doubted.is_empty()));
    assert_eq!(told.count(), 1);
    assert_eq!(outcome(&actions), Some(Outcome::Failed(FailReason::NoEligibleNode { arithmetic: 1 })));

    let mut inexact = specification(1, 1);
    inexact.operation.allow_inexact = true;
    let task = harness.start(JobId(8), &inexact)[0];
    harness.finish(&task);
    harness.merged(JobId(8), 0);
    let Some(Outcome::Done(summary)) = outcome(&harness.validated(JobId(8), 0)) else { panic!("the job is done") };
    assert!(!summary.reproducible);
}

#[test]
fn a_node_that_is_not_believed_gets_no_exact_work_and_is_named() {
    let mut harness = Harness::new(Policy::Random);
    harness.join_doubted(1, Doubt::Differs);
    harness.submit(JOB, &specification(1, 1));
    harness.tell(Event::DataReady { job: JOB });
    let actions = harness.tell(Event::Prepared { job: JOB, base: base(0) });
    assert_eq!(sent(&actions), []);
    let doubted = vec![("n1".to_owned(), Doubt::Differs)];
    assert_eq!(notices(&actions)[0], Notice::NoneEligible { arithmetic: 1, doubted });
    assert!(notices(&actions)[0].to_string().contains("of node n1: it computes arithmetic 1 otherwise"));
    let actions = harness.join_doubted(2, Doubt::Unproven);
    let (name, doubt) = ("n2".to_owned(), Doubt::Unproven);
    assert_eq!((sent(&actions), notices(&actions)), (vec![], vec![Notice::NodeDoubted { name, arithmetic: 1, doubt }]));
    let doubts: Vec<_> = harness.engine.status().nodes.iter().map(|node| node.doubt).collect();
    assert_eq!(doubts, [Some(Doubt::Differs), Some(Doubt::Unproven)]);

    // The job goes on with one that is.
    let task = only_sent(&harness.join(3));
    assert_eq!(task.link, LinkKey(3));
    harness.finish(&task);
    harness.merged(JOB, 0);
    let Some(Outcome::Done(summary)) = outcome(&harness.validated(JOB, 0)) else { panic!("the job is done") };
    assert!(summary.reproducible);

    // To a job that allows it, it is like any other of another arithmetic.
    harness.cut(3);
    let mut inexact = specification(1, 1);
    inexact.operation.allow_inexact = true;
    let task = harness.start(JobId(8), &inexact)[0];
    assert!(matches!(notices(&harness.join_doubted(4, Doubt::Differs))[..], [Notice::NodeJoined { .. }]));
    harness.finish(&task);
    harness.merged(JobId(8), 0);
    let Some(Outcome::Done(summary)) = outcome(&harness.validated(JobId(8), 0)) else { panic!("the job is done") };
    assert!(!summary.reproducible);
}

#[test]
fn a_sentence_names_a_few_nodes_that_are_not_believed_and_counts_the_others() {
    let doubted = (1..=5).map(|number| (format!("n{number}"), Doubt::Unproven)).collect();
    let text = Notice::NoneEligible { arithmetic: 1, doubted }.to_string();
    assert!(text.contains("of node n3: ") && !text.contains("n4") && text.ends_with("of 2 more, too"), "{text}");
}

#[test]
fn a_node_that_is_unlisted_finishes_its_task_and_is_dropped() {
    let mut harness = Harness::new(Policy::Random);
    harness.join(1);
    let task = harness.start(JOB, &specification(1, 2))[0];
    harness.join(2);
    assert!(drops(&harness.tell(Event::NodeUnlisted { node: NodeKey(1) })).is_empty());
    let actions = harness.finish(&task);
    assert!(accumulates(&actions));
    assert_eq!(drops(&actions), [1]);
    let last = only_sent(&harness.merged(JOB, 0));
    assert_eq!(last.link, LinkKey(2));
    assert_eq!(harness.engine.status().nodes.len(), 1);
    harness.validated(JOB, 0);
    harness.finish(&last);
    harness.merged(JOB, 1);
    let Some(Outcome::Done(summary)) = outcome(&harness.validated(JOB, 1)) else { panic!("the job is done") };
    let names: Vec<&str> = summary.nodes.iter().map(|share| share.node.as_str()).collect();
    assert_eq!(names, ["n2", "n1"], "it is named although it has left");
}

#[test]
fn a_node_that_shuts_down_finishes_what_it_has_and_gets_nothing_more() {
    for policy in [Policy::Random, Policy::LoadBalancing] {
        let mut harness = Harness::new(policy);
        harness.join_with(1, 2, &[1]);
        let tasks = harness.start(JOB, &specification(2, 2));
        harness.join_with(2, 2, &[1]);
        let again = only_sent(&harness.closing(&tasks[0]));
        assert_eq!(again.link, LinkKey(2), "{policy}");
        assert_eq!(harness.engine.status().nodes[0].state, NodeState::Leaving);
        assert!(accumulates(&harness.finish(&tasks[1])), "what it trains counts");
        harness.finish(&again);
        assert_eq!(links(&sent(&harness.merged(JOB, 0))), [2, 2], "{policy}");
        harness.cut(1);
        assert_eq!(harness.engine.status().nodes[0].state, NodeState::Inactive);
        harness.link(1, 11, 1, &[1]);
        assert_eq!(harness.engine.status().nodes[0].state, NodeState::Active, "another life");
    }
}

#[test]
fn a_node_that_shuts_down_costs_a_task_none_of_its_attempts() {
    for policy in [Policy::Random, Policy::LoadBalancing] {
        let mut harness = Harness::new(policy);
        harness.join(1);
        harness.join(2);
        let mut task = harness.start(JOB, &specification(1, 1))[0];
        // More often than a task may fail, by two nodes in turn, over a new link each time.
        for life in 1..=10 {
            for number in [1, 2].map(|node| if task.link.0 % 2 == 1 { node } else { 3 - node }) {
                let old = task.link.0;
                task = only_sent(&harness.closing(&task));
                harness.cut(old);
                harness.link(number, u64::from(100 * life + number % 2), 1, &[1]);
            }
        }
        assert!(accumulates(&harness.finish(&task)), "{policy}");
    }
}

#[test]
fn the_callers_own_failure_fails_the_job() {
    let mut harness = Harness::new(Policy::Random);
    harness.submit(JOB, &specification(1, 1));
    harness.tell(Event::DataReady { job: JOB });
    let actions = harness.tell(Event::WorkFailed { job: JOB, reason: "the weights do not fit".to_owned() });
    assert!(matches!(outcome(&actions), Some(Outcome::Failed(FailReason::Work { .. }))));
}

#[test]
fn what_there_may_be_later_pauses_the_job_once_its_rounds_are_written_and_it_goes_on_from_there() {
    let mut harness = Harness::new(Policy::Random);
    harness.join(1);
    let task = harness.start(JOB, &specification(1, 2))[0];
    harness.finish(&task);
    harness.merged(JOB, 0);
    // The first round is merged and not validated, and the second under way.
    let reason = "no space left on device".to_owned();
    let paused = Action::Report { job: JOB, event: JobEvent::Paused(FailReason::Work { reason: reason.clone() }) };
    let actions = harness.tell(Event::WorkHeldUp { job: JOB, reason });
    assert!(!actions.contains(&paused) && !harness.pass_ms(5_000).contains(&paused));
    let actions = harness.validated(JOB, 0);
    assert!(actions.contains(&paused), "{actions:?}");
    assert_eq!(outcome(&actions), None);
    // Whoever resumes it has it tried again.
    assert!(harness.tell(Event::ResumeRequested { job: JOB }).contains(&Action::Prepare { job: JOB }));
    let task = only_sent(&harness.tell(Event::Prepared { job: JOB, base: base(1) }));
    assert_eq!(task.attempt.task.step, 1);
    harness.finish(&task);
    harness.merged(JOB, 1);
    assert_eq!(summary(&harness.validated(JOB, 1)).merged, 2);
}

#[test]
fn a_result_that_differs_from_one_that_cannot_be_summed_is_no_alarm() {
    let mut harness = Harness::new(Policy::LoadBalancing);
    harness.join(1);
    harness.join(2);
    let first = harness.start(JOB, &specification(1, 1))[0];
    let copy = only_sent(&harness.pass_ms(31_000));
    harness.trained_as(&first, Digest::of(b"not a number"));
    assert_eq!(notices(&harness.trained(&copy)), []);
    let refused = harness.refused(&first);
    assert!(matches!(notices(&refused)[..], [Notice::UpdateRefused { .. }]), "{refused:?}");
    let again = sent(&refused).first().copied().unwrap_or_else(|| only_sent(&harness.pass_ms(5_000)));
    assert_eq!(notices(&harness.finish(&again)), []);
    harness.merged(JOB, 0);
    assert!(summary(&harness.validated(JOB, 0)).reproducible);
}
