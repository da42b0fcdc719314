//! Rounds: what is sent, merged, validated and reported, and in which order.

use super::*;
use crate::job::{Attempt, ObjectRef};

#[test]
fn a_job_goes_from_submission_to_done() {
    let mut harness = Harness::new(Policy::Random);
    harness.join(1);
    let actions = harness.submit(JOB, &specification(2, 1));
    assert_eq!(
        actions,
        [Action::Admit { job: JOB, admission: Admission::Admitted { position: 0 } }, Action::CollectData { job: JOB }]
    );
    let actions = harness.tell(Event::DataReady { job: JOB });
    assert_eq!(actions, [Action::Report { job: JOB, event: JobEvent::Started }, Action::Prepare { job: JOB }]);
    let tasks = sent(&harness.tell(Event::Prepared { job: JOB, base: base(0) }));
    assert_eq!(tasks.len(), 2);
    harness.now = harness.now.after_us(1000);
    harness.finish(&tasks[0]);
    let actions = harness.trained(&tasks[1]);
    let (link, attempt) = (tasks[1].link, tasks[1].attempt);
    assert_eq!(actions, [Action::Accumulate { link, attempt, update: update(&tasks[1]), rows: ROWS, blocks: 1 }]);
    let actions = harness.accumulated(&tasks[1]);
    assert_eq!(actions, [Action::FinishStep { job: JOB, step: 0, rows: 200 }]);
    harness.now = harness.now.after_us(10);
    let actions = harness.merged(JOB, 0);
    assert_eq!(actions, [Action::KeepWeights { job: JOB }, Action::Validate { job: JOB, round: 0, base: base(1) }]);
    harness.now = harness.now.after_us(30);
    let actions = harness.validated(JOB, 0);
    let round = RoundSummary {
        round: 1,
        rounds: 1,
        loss: 1.0,
        rows: 50,
        metrics: metrics(),
        nodes: 1,
        merged: 2,
        skipped: 0,
        round_us: 1010,
    };
    let summary = Summary {
        round: 1,
        rounds: 1,
        test: None,
        confusion: None,
        fingerprint: crate::job::fingerprint(&semantic(&specification(2, 1)), &base(1)),
        weights: base(1),
        rows: 50,
        metrics: metrics(),
        loss: 1.0,
        merged: 2,
        skipped: 0,
        reproducible: true,
        nodes: vec![NodeTasks { node: "n1".to_owned(), tasks: 2 }],
        elapsed_us: 1040,
        revivals: 0,
        profile: Profile { compute_us: 300, wire_us: 700, merge_us: 10, validate_us: 30, ..Profile::default() },
        training_us: 600,
        validating_us: 30,
    };
    assert_eq!(events(&actions), [JobEvent::RoundDone(round), JobEvent::Finished(Outcome::Done(Box::new(summary)))]);
    assert_eq!(actions.last(), Some(&Action::ReleaseJob { job: JOB }));
    assert_eq!(harness.engine.next_deadline(), None);
}

#[test]
fn the_next_step_begins_before_the_last_one_is_validated() {
    let mut harness = Harness::new(Policy::Random);
    harness.join(1);
    let first = harness.start(JOB, &specification(1, 2));
    harness.finish(&first[0]);
    let actions = harness.merged(JOB, 0);
    // The node has its task first: it waits for that, and nobody for a validation.
    assert_eq!(actions.last(), Some(&Action::Validate { job: JOB, round: 0, base: base(1) }));
    let second = only_sent(&actions);
    assert!(actions.iter().any(|action| matches!(action, Action::Dispatch { base: from, .. } if *from == base(1))));
    assert_eq!(second.attempt.task.step, 1);
}

#[test]
fn rounds_are_reported_in_order_even_if_they_are_validated_out_of_order() {
    let mut harness = Harness::new(Policy::Random);
    harness.join(1);
    let first = harness.start(JOB, &specification(1, 2));
    harness.finish(&first[0]);
    let second = only_sent(&harness.merged(JOB, 0));
    harness.finish(&second);
    harness.merged(JOB, 1);
    assert_eq!(events(&harness.validated(JOB, 1)), []);
    let steps: Vec<u64> = events(&harness.validated(JOB, 0))
        .iter()
        .filter_map(|event| match event {
            JobEvent::RoundDone(round) => Some(round.index()),
            _ => None,
        })
        .collect();
    assert_eq!(steps, [0, 1]);
}

#[test]
fn at_most_four_rounds_wait_for_validation() {
    let mut harness = Harness::new(Policy::Random);
    harness.join(1);
    let mut task = harness.start(JOB, &specification(1, 9))[0];
    for step in 0..4 {
        assert!(harness.finish(&task).contains(&Action::FinishStep { job: JOB, step, rows: 100 }));
        task = only_sent(&harness.merged(JOB, step));
    }
    let finish = Action::FinishStep { job: JOB, step: 4, rows: 100 };
    assert!(!harness.finish(&task).contains(&finish));
    assert!(harness.validated(JOB, 0).contains(&finish));
}

#[test]
fn a_round_that_validations_hold_up_waits_for_them_and_for_no_node() {
    let mut harness = Harness::new(Policy::Random);
    harness.join(1);
    let mut task = harness.start(JOB, &specification(1, 5))[0];
    for step in 0..4 {
        harness.finish(&task);
        task = only_sent(&harness.merged(JOB, step));
    }
    harness.trained(&task);
    harness.now = harness.now.after_us(5);
    harness.accumulated(&task);
    harness.now = harness.now.after_us(700);
    harness.tell(Event::Tick);
    harness.now = harness.now.after_us(20);
    assert!(harness.validated(JOB, 0).contains(&Action::FinishStep { job: JOB, step: 4, rows: 100 }));
    harness.now = harness.now.after_us(3);
    harness.merged(JOB, 4);
    let actions: Vec<Action> = (1..5).flat_map(|step| harness.validated(JOB, step)).collect();
    let Some(Outcome::Done(summary)) = outcome(&actions) else { panic!("not done: {actions:?}") };
    assert_eq!(summary.profile, Profile { merge_us: 8, validate_us: 720, ..Profile::default() });
}

#[test]
fn a_node_that_leaves_the_list_once_it_is_done_waits_for_nobody() {
    let mut harness = Harness::new(Policy::Random);
    harness.join(1);
    harness.join(2);
    let tasks = harness.start(JOB, &specification(2, 1));
    let (mine, other) = if tasks[0].link == LinkKey(1) { (tasks[0], tasks[1]) } else { (tasks[1], tasks[0]) };
    harness.tell(Event::NodeUnlisted { node: NodeKey(1) });
    harness.now = harness.now.after_us(300);
    assert_eq!(drops(&harness.trained(&mine)), [1]);
    harness.accumulated(&mine);
    harness.now = harness.now.after_us(100);
    harness.finish(&other);
    harness.merged(JOB, 0);
    let actions = harness.validated(JOB, 0);
    let Some(Outcome::Done(summary)) = outcome(&actions) else { panic!("not done: {actions:?}") };
    assert_eq!(summary.profile, Profile { compute_us: 300, wire_us: 100, ..Profile::default() });
}

#[test]
fn a_lost_link_voids_its_attempts_and_the_tasks_go_elsewhere() {
    let mut harness = Harness::new(Policy::Random);
    harness.join(1);
    let tasks = harness.start(JOB, &specification(2, 1));
    harness.join(2);
    let actions = harness.cut(1);
    assert_eq!(links(&sent(&actions)), [2, 2]);
    assert!(matches!(notices(&actions)[0], Notice::NodeLost { .. }));
    // The result was in the caller's hands when the link went down.
    let actions = harness.trained(&tasks[0]);
    assert!(discards(&actions) && !accumulates(&actions));
    assert_eq!(harness.engine.status().stale_results, 1);
}

#[test]
fn a_result_on_its_way_into_the_sum_outlives_its_link() {
    let mut harness = Harness::new(Policy::Random);
    harness.join(1);
    let tasks = harness.start(JOB, &specification(1, 1));
    harness.trained(&tasks[0]);
    assert_eq!(sent(&harness.cut(1)), []);
    assert_eq!(harness.accumulated(&tasks[0]), [Action::FinishStep { job: JOB, step: 0, rows: 100 }]);
}

#[test]
fn a_second_connection_of_a_node_replaces_the_first() {
    let mut harness = Harness::new(Policy::Random);
    harness.join(1);
    let tasks = harness.start(JOB, &specification(1, 1));
    let actions = harness.link(1, 11, 1, &[1]);
    assert_eq!(drops(&actions), [1]);
    assert_eq!(only_sent(&actions).link, LinkKey(11));
    assert!(discards(&harness.trained(&tasks[0])));
}

#[test]
fn a_result_that_comes_twice_is_counted_once() {
    let mut harness = Harness::new(Policy::Random);
    harness.join(1);
    let tasks = harness.start(JOB, &specification(1, 1));
    assert!(accumulates(&harness.trained(&tasks[0])));
    let actions = harness.trained(&tasks[0]);
    assert!(discards(&actions) && notices(&actions).is_empty());
    harness.accumulated(&tasks[0]);
    // It may come a third time, when its round is over.
    harness.merged(JOB, 0);
    assert!(discards(&harness.trained(&tasks[0])));
    let actions = harness.validated(JOB, 0);
    let Some(Action::Persist { record, .. }) = actions.first() else { panic!("{actions:?}") };
    // What comes once the round is over is no part of what is written of it.
    assert_eq!((summary(&actions).merged, record.progress.duplicates), (1, 1));
}

#[test]
fn a_second_result_that_differs_raises_the_alarm() {
    let mut harness = Harness::new(Policy::Random);
    harness.join(1);
    let tasks = harness.start(JOB, &specification(1, 1));
    harness.trained(&tasks[0]);
    let other = Digest::of(b"another");
    let actions = harness.trained_as(&tasks[0], other);
    assert!(discards(&actions));
    // Whether the first one is a result is known when it is in the sum.
    assert_eq!(notices(&actions), []);
    let actions = harness.accumulated(&tasks[0]);
    let [notice @ Notice::DigestMismatch { .. }] = &notices(&actions)[..] else { panic!("no alarm: {actions:?}") };
    assert!(notice.to_string().contains(&other.short()), "{notice}");
    harness.merged(JOB, 0);
    let Some(Outcome::Done(summary)) = outcome(&harness.validated(JOB, 0)) else { panic!("the job is done") };
    assert!(!summary.reproducible);
}

#[test]
fn results_that_fit_no_attempt_are_freed() {
    let mut harness = Harness::new(Policy::Random);
    harness.join(1);
    harness.join(2);
    let task = harness.start(JOB, &specification(1, 1))[0];
    let other_link = if task.link == LinkKey(1) { LinkKey(2) } else { LinkKey(1) };
    let stray = |change: fn(&mut Attempt)| {
        let mut attempt = task.attempt;
        change(&mut attempt);
        Sent { attempt, ..task }
    };
    let strays = [
        Sent { link: other_link, ..task },
        Sent { link: LinkKey(99), ..task },
        stray(|attempt| attempt.task.job = JobId(99)),
        stray(|attempt| attempt.task.step = 99),
        stray(|attempt| attempt.task.shard = u32::MAX),
        stray(|attempt| attempt.attempt = 99),
    ];
    for stray in strays {
        let actions = harness.trained(&stray);
        assert!(discards(&actions) && !accumulates(&actions), "{stray:?}");
    }
    assert_eq!(harness.engine.status().stale_results, 6);
    assert!(accumulates(&harness.trained(&task)));
}

#[test]
fn loss_is_summed_in_shard_order_whatever_came_first() {
    let loss = |order: [usize; 3]| {
        let mut harness = Harness::new(Policy::Random);
        harness.join(1);
        let tasks = harness.start(JOB, &specification(3, 1));
        for index in order {
            let Sent { link, attempt, .. } = tasks[index];
            // A sum of these depends on their order.
            let loss = [1e16, -1e16, 1.0][attempt.task.shard as usize];
            harness.tell(Event::Trained { link, attempt, result: result(update(&tasks[index]), loss, 0) });
            harness.accumulated(&tasks[index]);
        }
        harness.merged(JOB, 0);
        let Some(Outcome::Done(summary)) = outcome(&harness.validated(JOB, 0)) else { panic!("the job is done") };
        summary.loss
    };
    assert_eq!([loss([0, 1, 2]), loss([2, 1, 0]), loss([1, 2, 0])], [1.0 / 300.0; 3]);
}

/// Tells that a round's weights have so many errors.
fn validated_with(harness: &mut Harness, round: u32, errors: f64) -> Vec<Action> {
    let metrics = Metrics::default().with(Metric::Loss, 9.0).with(Metric::Errors, errors);
    harness.tell(Event::Validated { job: JOB, round, rows: 50, metrics })
}

#[test]
fn a_job_without_a_better_round_for_long_enough_ends_with_its_best_and_what_has_begun_behind_is_nothing() {
    let mut harness = Harness::new(Policy::Random);
    harness.join(1);
    let specification = Specification { patience: Some(2), ..specification(1, 9) };
    let mut task = harness.start(JOB, &specification)[0];
    for step in 0..4 {
        harness.finish(&task);
        task = only_sent(&harness.merged(JOB, step));
    }
    // The second is the best; the fourth is validated before the third, which it waits for.
    validated_with(&mut harness, 0, 9.0);
    validated_with(&mut harness, 1, 3.0);
    assert_eq!(events(&validated_with(&mut harness, 3, 3.0)), []);
    let actions = validated_with(&mut harness, 2, 4.0);
    assert!(actions.contains(&Action::Cancel { link: task.link, attempt: task.attempt }), "{actions:?}");
    let summary = summary(&actions);
    assert_eq!((summary.weights, summary.rounds, summary.round), (base(2), 4, 2));
    assert_eq!((summary.metrics.get(Metric::Errors), summary.merged), (Some(3.0), 4));
    assert_eq!(summary.nodes, [NodeTasks { node: "n1".to_owned(), tasks: 4 }]);
    assert!(!accumulates(&harness.trained(&task)), "it comes too late");
}

#[test]
fn a_job_ends_with_the_first_round_that_is_as_right_as_was_asked_for() {
    let mut harness = Harness::new(Policy::Random);
    harness.join(1);
    // Of 50 rows 47.
    let asked = Specification { patience: Some(9), target_accuracy: Some(0.94), ..specification(1, 9) };
    let mut task = harness.start(JOB, &asked)[0];
    for step in 0..4 {
        harness.finish(&task);
        task = only_sent(&harness.merged(JOB, step));
    }
    validated_with(&mut harness, 0, 9.0);
    assert_eq!(outcome(&validated_with(&mut harness, 1, 4.0)), None);
    // The fourth is better, but comes too late.
    assert_eq!(events(&validated_with(&mut harness, 3, 0.0)), []);
    let summary = summary(&validated_with(&mut harness, 2, 3.0));
    assert_eq!((summary.weights, summary.rounds, summary.round), (base(3), 3, 3));
}

#[test]
fn what_came_of_a_job_is_tested_before_the_job_is_done_and_again_if_the_coordinator_ended_meanwhile() {
    let rows = RowsRef { rows: 20, digest: Digest::of(b"test rows") };
    let specification = Specification { patience: Some(1), test: Some(rows), ..specification(1, 2) };
    let mut harness = Harness::new(Policy::Random);
    harness.tests_at_once = false;
    harness.join(1);
    let first = harness.start(JOB, &specification)[0];
    harness.finish(&first);
    let second = only_sent(&harness.merged(JOB, 0));
    harness.finish(&second);
    harness.merged(JOB, 1);
    validated_with(&mut harness, 0, 3.0);
    let actions = validated_with(&mut harness, 1, 3.0);
    let test = Action::Test { job: JOB, weights: base(1) };
    assert!(actions.contains(&test) && outcome(&actions).is_none(), "{actions:?}");
    let record = actions.iter().find_map(|action| match action {
        Action::Persist { record, .. } => Some(record.clone()),
        _ => None,
    });
    let progress = record.expect("a record").progress;

    let on_validation = Tested { rows: 50, metrics: metrics().with(Metric::LogLoss, 8.0) };
    let on_test = Some(Tested { rows: 20, metrics: metrics() });
    let confusion = Some(ObjectRef { digest: Digest::of(b"confusion"), bytes: 80 });
    let boxed = on_test.map(Box::new);
    let tested = Event::Tested { job: JOB, validation: on_validation, test: boxed, confusion };
    let told = summary(&harness.tell(tested.clone()));
    assert_eq!((told.weights, told.test, told.confusion), (base(1), on_test, confusion));
    assert_eq!((told.rows, told.metrics), (50, on_validation.metrics));

    let mut again = Harness::new(Policy::Random);
    again.tests_at_once = false;
    let semantic = semantic(&specification);
    let specification = Arc::new(specification);
    let progress = Some(Box::new(progress));
    again.tell(Event::Restored { job: JOB, specification, semantic, progress, paused: None });
    assert!(again.tell(Event::Prepared { job: JOB, base: base(2) }).contains(&test));
    let later = summary(&again.tell(tested));
    assert_eq!((later.fingerprint, later.test, later.round), (told.fingerprint, told.test, 1));
}
