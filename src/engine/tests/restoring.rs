//! Jobs that go on: what is written of a round, what a restored job starts from, pauses, what is forgotten.

use super::queue::admission;
use super::*;
use crate::job::{EntryResult, FailKind, Failure, OnNoNodes};

fn pausing(mut specification: Specification) -> Specification {
    specification.operation.on_no_nodes = OnNoNodes::Pause;
    specification
}

/// A job after so many rounds of two shards; one task of the first round was left out.
fn progress(rounds_done: u32) -> Progress {
    Progress {
        best: None,
        steps: rounds_done.into(),
        so_far: RoundSoFar::default(),
        last: Some(RoundSummary {
            round: rounds_done,
            rounds: 3,
            loss: 0.5,
            rows: 50,
            metrics: Metrics::default().with(Metric::Loss, 4.0).with(Metric::Errors, 7.0),
            nodes: 2,
            merged: 2,
            skipped: 0,
            round_us: 900,
        }),
        base: base(u64::from(rounds_done)),
        merged: u64::from(rounds_done) * 2 - 1,
        skipped: 1,
        reproducible: false,
        duplicates: 4,
        nodes: vec![share("n1", 1), share("gone", u64::from(rounds_done) * 2 - 2)],
        revivals: 3,
        profile: Profile { prepare_us: 10, compute_us: 2_000, ..Profile::default() },
        validating_us: 70,
        training_us: 40,
    }
}

fn share(node: &str, tasks: u64) -> NodeTasks {
    NodeTasks { node: node.to_owned(), tasks }
}

fn restored(job: JobId, specification: &Specification, progress: Option<Progress>) -> Event {
    let Event::Submitted { specification, semantic, .. } = submitted(job, specification) else { unreachable!() };
    Event::Restored { job, specification, semantic, progress: progress.map(Box::new), paused: None }
}

fn restored_paused(job: JobId, specification: &Specification, progress: Option<Progress>) -> Event {
    let Event::Restored { job, specification, semantic, progress, .. } = restored(job, specification, progress) else {
        unreachable!()
    };
    Event::Restored { job, specification, semantic, progress, paused: Some(recorded()) }
}

fn recorded() -> FailReason {
    FailReason::Recorded(Failure { kind: FailKind::Paused, text: "no node was active".to_owned() })
}

fn records(actions: &[Action]) -> Vec<Record> {
    let record = |action: &Action| match action {
        Action::Persist { record, .. } => Some((**record).clone()),
        _ => None,
    };
    actions.iter().filter_map(record).collect()
}

fn pauses(actions: &[Action]) -> bool {
    events(actions).iter().any(|event| matches!(event, JobEvent::Paused(_)))
}

/// A job of one task that pauses for want of nodes while it runs.
fn pause(harness: &mut Harness, job: JobId) -> Vec<Action> {
    harness.submit(job, &pausing(specification(1, 1)));
    harness.tell(Event::DataReady { job });
    harness.tell(Event::Prepared { job, base: base(0) });
    harness.pass_ms(7_000)
}

#[test]
fn a_round_is_written_before_it_is_told_with_what_became_of_each_task() {
    let mut harness = Harness::new(Policy::Random);
    harness.join(1);
    let tasks = harness.start(JOB, &skipping(specification(2, 2)));
    harness.failed(&tasks[1], Fault::Final);
    harness.pass_ms(5);
    harness.finish(&tasks[0]);
    harness.pass_ms(2);
    harness.merged(JOB, 0);
    // What the next round does meanwhile is no part of it.
    harness.pass_ms(9);
    let actions = harness.validated(JOB, 0);
    let [Action::Persist { job: JOB, record }, Action::Report { event: JobEvent::RoundDone(told), .. }] = &actions[..]
    else {
        panic!("{actions:?}");
    };
    let Record { entries, ends_round, progress } = &**record;
    assert_eq!((*ends_round, progress.base), (true, base(1)));
    let won = MergedTask { node: "n1".to_owned(), attempt: 1, loss: 100.0, update: update(&tasks[0]) };
    let entry = |result| LedgerEntry { rows: ROWS, base: base(0), result };
    assert_eq!(*entries, [entry(EntryResult::Merged(won)), entry(EntryResult::Skipped)]);
    assert_eq!(progress.last, Some(*told));
    assert_eq!(told.metrics, metrics());
    assert_eq!((progress.merged, progress.skipped, progress.reproducible), (1, 1, false));
    assert_eq!(progress.nodes, [share("n1", 1)]);
    assert_eq!((progress.profile.total_us(), progress.validating_us, progress.training_us), (7_000, 9_000, 300));
}

#[test]
fn a_restored_job_goes_on_with_its_next_round_from_its_weights() {
    let mut harness = Harness::new(Policy::Random);
    harness.join(1);
    let actions = harness.tell(restored(JOB, &specification(2, 3), Some(progress(2))));
    assert!(actions.contains(&Action::Prepare { job: JOB }));
    let running = JobProgress::Running { round: 2, rounds: 3, done: 0, of: 2, unit: Unit::Tasks };
    assert_eq!(harness.engine.status().jobs[0].progress, running);
    harness.pass_ms(6);
    // The node holds nothing of it.
    harness.tell(Event::ResultsHeld { link: LinkKey(1), job: JOB, held: Vec::new() });
    let actions = harness.tell(Event::Prepared { job: JOB, base: base(2) });
    let tasks = sent(&actions);
    assert!(tasks.len() == 2 && tasks.iter().all(|task| task.attempt.task.step == 2));
    let starts_there = |action: &Action| !matches!(action, Action::Dispatch { base: from, .. } if *from != base(2));
    assert!(actions.iter().all(starts_there));
    tasks.iter().for_each(|task| drop(harness.finish(task)));
    harness.merged(JOB, 2);
    let actions = harness.validated(JOB, 2);
    assert_eq!(records(&actions)[0].progress.rounds_done(), 3);
    let summary = summary(&actions);
    assert_eq!((summary.merged, summary.skipped, summary.reproducible), (5, 1, false));
    // In the order of the list, and then who is in it no more.
    assert_eq!(summary.nodes, [share("n1", 3), share("gone", 2)]);
    assert_eq!((summary.elapsed_us, summary.profile.total_us()), (8_010, 8_010));
    assert_eq!((summary.profile.prepare_us, summary.revivals, summary.validating_us), (6_010, 3, 70));
}

#[test]
fn a_restored_job_whose_rounds_are_all_done_ends_at_once_with_its_old_numbers() {
    let mut harness = Harness::new(Policy::Random);
    harness.tell(restored(JOB, &specification(2, 3), Some(progress(3))));
    harness.pass_ms(6);
    let actions = harness.tell(Event::Prepared { job: JOB, base: base(3) });
    assert!(sent(&actions).is_empty() && records(&actions).is_empty());
    let summary = summary(&actions);
    assert_eq!((summary.weights, summary.rows, summary.loss), (base(3), 50, 0.5));
    assert_eq!(summary.metrics, metrics(), "the rows are asked once more");
    assert_eq!((summary.merged, summary.skipped, summary.reproducible), (5, 1, false));
    assert_eq!(summary.profile, Profile { prepare_us: 6_010, compute_us: 2_000, ..Profile::default() });
    assert_eq!(summary.elapsed_us, 8_010);
    assert_eq!(actions.last(), Some(&Action::ReleaseJob { job: JOB }));
}

#[test]
fn a_restored_job_has_all_its_revivals() {
    let mut harness = Harness::new(Policy::Random);
    harness.tell(restored(JOB, &specification(2, 3), Some(progress(1))));
    harness.tell(Event::Prepared { job: JOB, base: base(1) });
    assert_eq!(outcome(&harness.pass_ms(6_999)), None);
    assert_eq!(outcome(&harness.pass_ms(1)), Some(Outcome::Failed(FailReason::NoNodes { revivals: 3 })));
}

#[test]
fn restored_jobs_keep_their_order_and_one_that_is_known_is_left_alone() {
    let mut harness = Harness::new(Policy::Random);
    let first = restored(JobId(1), &specification(1, 1), None);
    assert!(harness.tell(first.clone()).contains(&Action::Prepare { job: JobId(1) }));
    let second = restored(JobId(2), &specification(1, 3), Some(progress(1)));
    let waits = Action::Report { job: JobId(2), event: JobEvent::Queued { position: 1 } };
    assert_eq!(harness.tell(second.clone()), [waits]);
    harness.tell(restored_paused(JobId(3), &specification(1, 1), None));
    let ended = |job| {
        let Event::Submitted { semantic, .. } = submitted(job, &specification(1, 1)) else { unreachable!() };
        Event::RestoredEnded { job, semantic, outcome: Outcome::Cancelled }
    };
    harness.tell(ended(JobId(4)));
    let before = harness.engine.status();
    let order: Vec<u128> = before.jobs.iter().map(|job| job.job.0).collect();
    assert_eq!(order, [1, 2, 3, 4]);
    for again in [first, second, restored(JobId(3), &specification(1, 1), None), ended(JobId(2)), ended(JobId(4))] {
        assert_eq!(harness.tell(again), []);
        assert_eq!(harness.engine.status(), before);
    }
}

#[test]
fn a_job_without_nodes_pauses_and_the_next_one_takes_its_turn() {
    let mut harness = Harness::new(Policy::Random);
    harness.join(1);
    let task = harness.start(JOB, &pausing(specification(1, 2)))[0];
    for job in [8, 9] {
        harness.submit(JobId(job), &specification(1, 1));
        harness.tell(Event::DataReady { job: JobId(job) });
    }
    harness.finish(&task);
    harness.merged(JOB, 0);
    harness.validated(JOB, 0);
    harness.cut(1);
    let actions = harness.pass_ms(7_000);
    assert_eq!(outcome(&actions), None);
    let (paused, suspended) = (JobEvent::Paused(FailReason::NoNodes { revivals: 3 }), Action::Suspend { job: JOB });
    let place = actions.iter().position(|action| *action == Action::Report { job: JOB, event: paused.clone() });
    assert_eq!(actions.get(place.expect("it is paused") + 1), Some(&suspended));
    assert!(actions.contains(&Action::Prepare { job: JobId(8) }));
    let state = JobProgress::Paused { rounds_done: 1, reason: FailReason::NoNodes { revivals: 3 } };
    assert_eq!(
        admission(&harness.submit(JOB, &pausing(specification(1, 2)))),
        Admission::Attached { progress: state.clone() }
    );
    // It waits however long it takes, and then goes on behind the others from where it was.
    harness.tell(Event::Prepared { job: JobId(8), base: base(0) });
    let task = only_sent(&harness.link(1, 11, 1, &[1]));
    harness.pass_ms(100_000);
    assert_eq!(harness.engine.status().jobs[2].progress, state);
    harness.tell(Event::ResumeRequested { job: JOB });
    let jobs: Vec<JobId> = harness.engine.status().jobs.iter().map(|job| job.job).collect();
    assert_eq!(jobs, [JobId(8), JobId(9), JOB]);
    harness.finish(&task);
    harness.merged(JobId(8), 0);
    assert!(harness.validated(JobId(8), 0).contains(&Action::Prepare { job: JobId(9) }));
    assert!(harness.tell(Event::CancelRequested { job: JobId(9) }).contains(&Action::Prepare { job: JOB }));
    let task = only_sent(&harness.tell(Event::Prepared { job: JOB, base: base(1) }));
    assert_eq!(task.attempt.task.step, 1);
    harness.finish(&task);
    harness.merged(JOB, 1);
    assert_eq!(summary(&harness.validated(JOB, 1)).merged, 2);
}

#[test]
fn a_pause_waits_until_what_is_merged_is_written() {
    let mut harness = Harness::new(Policy::Random);
    harness.join(1);
    let task = harness.start(JOB, &pausing(specification(1, 2)))[0];
    harness.finish(&task);
    harness.merged(JOB, 0);
    harness.cut(1);
    assert!(!pauses(&harness.pass_ms(60_000)));
    let actions = harness.validated(JOB, 0);
    assert_eq!(records(&actions).len(), 1);
    assert!(pauses(&actions));
}

#[test]
fn a_task_of_a_paused_job_is_taken_back_and_not_merged_when_it_goes_on() {
    let mut harness = Harness::new(Policy::Random);
    harness.join(1);
    let tasks = harness.start(JOB, &pausing(specification(2, 1)));
    harness.finish(&tasks[0]);
    harness.trained(&tasks[1]);
    // The result of the second is refused, and nobody is there to try again.
    harness.cut(1);
    harness.refused(&tasks[1]);
    assert!(pauses(&harness.pass_ms(7_000)));
    assert_eq!(harness.accumulated(&tasks[0]), []);
    harness.tell(Event::ResumeRequested { job: JOB });
    harness.link(1, 11, 1, &[1]);
    let again = sent(&harness.tell(Event::Prepared { job: JOB, base: base(0) }));
    assert_eq!(again.len(), 2);
    again.iter().for_each(|task| drop(harness.finish(task)));
    harness.merged(JOB, 0);
    let summary = summary(&harness.validated(JOB, 0));
    assert_eq!((summary.merged, &summary.nodes[..]), (2, &[share("n1", 2)][..]));
}

#[test]
fn what_a_leaving_node_trains_of_a_job_that_pauses_is_taken_back() {
    let mut harness = Harness::new(Policy::LoadBalancing);
    harness.join(1);
    let task = harness.start(JOB, &pausing(specification(2, 1)))[0];
    harness.tell(Event::NodeUnlisted { node: NodeKey(1) });
    let actions = harness.pass_ms(7_000);
    assert!(pauses(&actions));
    assert!(actions.contains(&Action::Cancel { link: task.link, attempt: task.attempt }));
    assert_eq!(drops(&actions), [1]);
    assert!(discards(&harness.trained(&task)));
}

#[test]
fn a_resumed_job_has_all_its_revivals() {
    let mut harness = Harness::new(Policy::Random);
    assert!(pauses(&pause(&mut harness, JOB)));
    harness.tell(Event::ResumeRequested { job: JOB });
    harness.tell(Event::Prepared { job: JOB, base: base(0) });
    assert!(!pauses(&harness.pass_ms(6_999)));
    assert!(pauses(&harness.pass_ms(1)));
}

#[test]
fn a_paused_job_can_be_cancelled() {
    let mut harness = Harness::new(Policy::Random);
    pause(&mut harness, JOB);
    let actions = harness.tell(Event::CancelRequested { job: JOB });
    assert_eq!(outcome(&actions), Some(Outcome::Cancelled));
    assert_eq!(actions.last(), Some(&Action::ReleaseJob { job: JOB }));
    // Neither is there anything left of it to go on.
    assert_eq!(harness.tell(Event::ResumeRequested { job: JOB }), []);
}

#[test]
fn a_job_that_was_paused_before_the_restart_is_paused_and_goes_on_when_it_is_resumed() {
    let mut harness = Harness::new(Policy::Random);
    harness.join(1);
    assert_eq!(harness.tell(restored_paused(JOB, &specification(2, 3), Some(progress(2)))), []);
    assert_eq!(harness.engine.status().jobs[0].progress, JobProgress::Paused { rounds_done: 2, reason: recorded() });
    assert!(harness.tell(Event::ResumeRequested { job: JOB }).contains(&Action::Prepare { job: JOB }));
    let tasks = sent(&harness.tell(Event::Prepared { job: JOB, base: base(2) }));
    assert!(tasks.iter().all(|task| task.attempt.task.step == 2));
}

#[test]
fn a_resumed_job_whose_data_cannot_be_read_is_paused_for_that_reason_and_may_be_resumed_again() {
    let mut harness = Harness::new(Policy::Random);
    harness.join(1);
    harness.tell(restored_paused(JOB, &specification(2, 3), Some(progress(2))));
    harness.tell(Event::ReadRequested { job: JOB });
    let reason = FailReason::Work { reason: "the disk is gone".to_owned() };
    assert_eq!(harness.tell(Event::ReadFailed { job: JOB, reason: reason.clone() }), []);
    assert_eq!(harness.engine.status().jobs[0].progress, JobProgress::Paused { rounds_done: 2, reason });
    harness.tell(Event::ReadRequested { job: JOB });
    assert!(harness.tell(Event::DataReady { job: JOB }).contains(&Action::Prepare { job: JOB }));
}

#[test]
fn the_seventeenth_pause_is_a_failure() {
    let mut harness = Harness::new(Policy::Random);
    for job in 1..=16 {
        assert!(pauses(&pause(&mut harness, JobId(job))));
    }
    let actions = pause(&mut harness, JobId(17));
    assert!(!pauses(&actions));
    assert_eq!(outcome(&actions), Some(Outcome::Failed(FailReason::NoNodes { revivals: 3 })));
    harness.tell(Event::CancelRequested { job: JobId(1) });
    assert!(pauses(&pause(&mut harness, JobId(18))));
}

#[test]
fn an_alarm_between_a_rounds_merge_and_its_record_is_in_the_record() {
    let mut harness = Harness::new(Policy::Random);
    harness.join(1);
    let task = harness.start(JOB, &specification(1, 2))[0];
    harness.finish(&task);
    harness.merged(JOB, 0);
    let actions = harness.trained_as(&task, Digest::of(b"something else"));
    assert!(matches!(notices(&actions)[..], [Notice::DigestMismatch { .. }]));
    assert!(!records(&harness.validated(JOB, 0))[0].progress.reproducible);
}

#[test]
fn an_alarm_about_a_round_that_is_written_outlives_a_pause_and_one_about_a_later_round_does_not() {
    for (is_late, reproducible) in [(true, false), (false, true)] {
        let mut harness = Harness::new(Policy::Random);
        harness.join_with(1, 2, &[1]);
        let tasks = harness.start(JOB, &pausing(specification(2, 2)));
        tasks.iter().for_each(|task| drop(harness.finish(task)));
        let next = sent(&harness.merged(JOB, 0));
        harness.validated(JOB, 0);
        let doubted = if is_late { tasks[0] } else { next[0] };
        if !is_late {
            harness.finish(&doubted);
        }
        let actions = harness.trained_as(&doubted, Digest::of(b"something else"));
        assert!(matches!(notices(&actions)[..], [Notice::DigestMismatch { .. }]));
        harness.cut(1);
        assert!(pauses(&harness.pass_ms(7_000)));
        harness.tell(Event::ResumeRequested { job: JOB });
        harness.link(1, 11, 2, &[1]);
        let tasks = sent(&harness.tell(Event::Prepared { job: JOB, base: base(1) }));
        tasks.iter().for_each(|task| drop(harness.finish(task)));
        harness.merged(JOB, 1);
        assert_eq!(summary(&harness.validated(JOB, 1)).reproducible, reproducible);
    }
}

#[test]
fn a_node_that_left_the_list_keeps_its_name_in_what_is_written() {
    let mut harness = Harness::new(Policy::Random);
    harness.join(1);
    let task = harness.start(JOB, &specification(1, 1))[0];
    harness.trained(&task);
    assert_eq!(drops(&harness.tell(Event::NodeUnlisted { node: NodeKey(1) })), [1]);
    harness.accumulated(&task);
    harness.merged(JOB, 0);
    let actions = harness.validated(JOB, 0);
    assert_eq!(records(&actions)[0].entries[0].merged().map(|won| &*won.node), Some("n1"));
    assert_eq!(summary(&actions).nodes, [share("n1", 1)]);
}

#[test]
fn an_end_is_forgotten_when_it_expires_and_no_sooner() {
    let mut harness = Harness::new(Policy::Random);
    let end = |harness: &mut Harness, job| {
        harness.submit(JobId(job), &specification(1, 1));
        harness.tell(Event::CancelRequested { job: JobId(job) })
    };
    for job in 1..=100 {
        assert!(!end(&mut harness, job).iter().any(|action| matches!(action, Action::Forget { .. })));
    }
    assert_eq!(harness.engine.status().jobs.len(), 100);
    assert_eq!(harness.tell(Event::Expired { job: JobId(1) }), [Action::Forget { job: JobId(1) }]);
    assert_eq!(harness.tell(Event::Expired { job: JobId(40) }), [Action::Forget { job: JobId(40) }]);
    assert_eq!(harness.tell(Event::Expired { job: JobId(40) }), []);
    for job in [1, 40] {
        let admitted = admission(&harness.submit(JobId(job), &specification(1, 1)));
        assert!(matches!(admitted, Admission::Admitted { .. }), "{admitted:?}");
        // Only what has ended expires.
        assert_eq!(harness.tell(Event::Expired { job: JobId(job) }), []);
    }
}

fn reopened(job: JobId, specification: &Specification, progress: Option<Progress>) -> Event {
    let Event::Submitted { specification, .. } = submitted(job, specification) else { unreachable!() };
    Event::Reopened { job, specification, progress: progress.map(Box::new) }
}

#[test]
fn a_job_that_is_given_up_for_want_of_nodes_has_its_steps_written_and_goes_on_behind_them_when_it_is_reopened() {
    let specification = specification(1, 2);
    let mut harness = Harness::new(Policy::Random);
    harness.join(1);
    let task = harness.start(JOB, &specification)[0];
    harness.finish(&task);
    harness.merged(JOB, 0);
    harness.cut(1);
    // What is merged is validated and written before.
    assert_eq!(outcome(&harness.pass_ms(60_000)), None);
    let actions = harness.validated(JOB, 0);
    let [record] = &records(&actions)[..] else { panic!("{actions:?}") };
    let given_up = Outcome::Failed(FailReason::NoNodes { revivals: 3 });
    assert_eq!(outcome(&actions), Some(given_up.clone()));
    assert_eq!(
        admission(&harness.submit(JOB, &specification)),
        Admission::Attached { progress: JobProgress::Finished(given_up) }
    );
    harness.link(1, 11, 1, &[1]);
    let actions = harness.tell(reopened(JOB, &specification, Some(record.progress.clone())));
    assert!(actions.contains(&Action::Prepare { job: JOB }), "{actions:?}");
    harness.tell(Event::ResultsHeld { link: LinkKey(11), job: JOB, held: Vec::new() });
    let task = only_sent(&harness.tell(Event::Prepared { job: JOB, base: base(1) }));
    assert_eq!(task.attempt.task.step, 1);
    harness.finish(&task);
    harness.merged(JOB, 1);
    let summary = summary(&harness.validated(JOB, 1));
    assert_eq!((summary.merged, summary.reproducible), (2, true));
}

#[test]
fn a_reopened_job_has_all_its_revivals_and_waits_behind_the_others() {
    let mut harness = Harness::new(Policy::Random);
    harness.submit(JOB, &specification(1, 1));
    harness.tell(Event::DataReady { job: JOB });
    harness.tell(Event::Prepared { job: JOB, base: base(0) });
    assert_eq!(outcome(&harness.pass_ms(7_000)), Some(Outcome::Failed(FailReason::NoNodes { revivals: 3 })));
    harness.submit(JobId(8), &specification(1, 1));
    harness.tell(Event::DataReady { job: JobId(8) });
    harness.tell(reopened(JOB, &specification(1, 1), None));
    let jobs: Vec<JobId> = harness.engine.status().jobs.iter().map(|job| job.job).collect();
    assert_eq!(jobs, [JobId(8), JOB]);
    assert!(harness.tell(Event::CancelRequested { job: JobId(8) }).contains(&Action::Prepare { job: JOB }));
    harness.tell(Event::Prepared { job: JOB, base: base(0) });
    assert_eq!(outcome(&harness.pass_ms(6_999)), None);
    assert_eq!(outcome(&harness.pass_ms(1)), Some(Outcome::Failed(FailReason::NoNodes { revivals: 3 })));
}

#[test]
fn a_job_whose_task_failed_everywhere_is_given_up_once_what_is_merged_is_written_and_may_be_reopened() {
    let specification = specification(1, 2);
    let mut harness = Harness::new(Policy::Random);
    harness.join(1);
    let task = harness.start(JOB, &specification)[0];
    harness.finish(&task);
    let task = only_sent(&harness.merged(JOB, 0));
    let mut actions = harness.failed(&task, Fault::Final);
    actions.extend(harness.pass_ms(60_000));
    assert_eq!(outcome(&actions), None, "its first round is not written yet");
    let actions = harness.validated(JOB, 0);
    assert_eq!(records(&actions).len(), 1);
    assert!(matches!(outcome(&actions), Some(Outcome::Failed(FailReason::TaskFailed { .. }))), "{actions:?}");
    let progress = records(&actions)[0].progress.clone();
    harness.tell(reopened(JOB, &specification, Some(progress)));
    harness.tell(Event::ResultsHeld { link: LinkKey(1), job: JOB, held: Vec::new() });
    let task = only_sent(&harness.tell(Event::Prepared { job: JOB, base: base(1) }));
    harness.finish(&task);
    harness.merged(JOB, 1);
    assert!(summary(&harness.validated(JOB, 1)).reproducible);
}

#[test]
fn a_job_that_has_ended_otherwise_or_that_nobody_knows_is_not_reopened() {
    let mut harness = Harness::new(Policy::Random);
    harness.join(1);
    harness.start(JOB, &specification(1, 1));
    harness.tell(Event::CancelRequested { job: JOB });
    let before = harness.engine.status();
    for job in [JOB, JobId(99)] {
        assert_eq!(harness.tell(reopened(job, &specification(1, 1), None)), []);
        assert_eq!(harness.engine.status(), before);
    }
}
