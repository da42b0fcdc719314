//! Jobs: admission, the queue, whose turn it is, what is kept of the finished ones.

use super::*;

pub(super) fn admission(actions: &[Action]) -> Admission {
    let admission = |action: &Action| match action {
        Action::Admit { admission, .. } => Some(admission.clone()),
        _ => None,
    };
    actions.iter().find_map(admission).expect("a submission is answered")
}

/// Lets a job of one shard and one round run to its end.
fn complete(harness: &mut Harness, job: JobId) -> Vec<Action> {
    let task = only_sent(&harness.tell(Event::Prepared { job, base: base(0) }));
    harness.finish(&task);
    harness.merged(job, 0);
    harness.validated(job, 0)
}

#[test]
fn the_same_job_again_is_attached_to_and_another_of_its_name_is_a_conflict() {
    let mut harness = Harness::new(Policy::Random);
    harness.join(1);
    let specification = specification(1, 1);
    let mut other = specification.clone();
    other.training.seed = 2;
    let attached = |harness: &mut Harness| {
        assert_eq!(admission(&harness.submit(JOB, &other)), Admission::Conflict);
        match admission(&harness.submit(JOB, &specification)) {
            Admission::Attached { progress } => progress,
            answer => panic!("{answer:?}"),
        }
    };
    harness.submit(JOB, &specification);
    assert_eq!(attached(&mut harness), JobProgress::Collecting { position: 0 });
    harness.tell(Event::DataReady { job: JOB });
    assert_eq!(attached(&mut harness), JobProgress::Running { round: 0, rounds: 1, done: 0, of: 1, unit: Unit::Tasks });
    let ended = outcome(&complete(&mut harness, JOB)).unwrap();
    assert_eq!(attached(&mut harness), JobProgress::Finished(ended));
}

#[test]
fn the_data_is_asked_for_again_when_a_client_attaches_before_it_is_complete() {
    let mut harness = Harness::new(Policy::Random);
    harness.submit(JOB, &specification(1, 1));
    assert!(harness.submit(JOB, &specification(1, 1)).contains(&Action::CollectData { job: JOB }));
    harness.tell(Event::DataReady { job: JOB });
    assert!(!harness.submit(JOB, &specification(1, 1)).contains(&Action::CollectData { job: JOB }));
}

#[test]
fn sixteen_jobs_may_wait_and_the_next_is_turned_away() {
    let settings = Settings { jobs_at_once: 1, queued_max: 16, ..Settings::new(Policy::Random) };
    let mut harness =
        Harness { engine: Engine::new(settings, 1), now: Time(0), tests_at_once: true, cache_bytes: None };
    harness.start(JobId(0), &specification(1, 1));
    for job in 1..=16 {
        let position = job as u32;
        assert_eq!(admission(&harness.submit(JobId(job), &specification(1, 1))), Admission::Admitted { position });
        harness.tell(Event::DataReady { job: JobId(job) });
    }
    assert_eq!(admission(&harness.submit(JobId(17), &specification(1, 1))), Admission::Busy { queued_max: 16 });
    harness.tell(Event::CancelRequested { job: JobId(3) });
    assert_eq!(admission(&harness.submit(JobId(17), &specification(1, 1))), Admission::Admitted { position: 16 });
}

#[test]
fn jobs_whose_data_never_comes_take_no_place_in_the_queue() {
    let settings = Settings { jobs_at_once: 1, queued_max: 1, ..Settings::new(Policy::Random) };
    let mut harness =
        Harness { engine: Engine::new(settings, 1), now: Time(0), tests_at_once: true, cache_bytes: None };
    for job in 1..=100 {
        let position = job as u32 - 1;
        assert_eq!(admission(&harness.submit(JobId(job), &specification(1, 1))), Admission::Admitted { position });
    }
    harness.tell(Event::DataReady { job: JobId(50) });
    // That one runs, and one with its data may wait.
    assert!(matches!(admission(&harness.submit(JobId(101), &specification(1, 1))), Admission::Admitted { .. }));
    harness.tell(Event::DataReady { job: JobId(101) });
    assert_eq!(admission(&harness.submit(JobId(102), &specification(1, 1))), Admission::Busy { queued_max: 1 });
}

#[test]
fn jobs_run_one_after_the_other_in_the_order_of_submission() {
    let mut harness = Harness::new(Policy::Random);
    harness.join(1);
    for job in [1, 2, 3] {
        harness.submit(JobId(job), &specification(1, 1));
        harness.tell(Event::DataReady { job: JobId(job) });
    }
    let actions = complete(&mut harness, JobId(1));
    assert!(actions.contains(&Action::Prepare { job: JobId(2) }));
    let position = Action::Report { job: JobId(3), event: JobEvent::Queued { position: 1 } };
    assert!(actions.contains(&position), "{actions:?}");
    assert!(complete(&mut harness, JobId(2)).contains(&Action::Prepare { job: JobId(3) }));
}

#[test]
fn a_job_without_its_data_does_not_hold_up_those_behind_it() {
    let mut harness = Harness::new(Policy::Random);
    harness.join(1);
    harness.submit(JobId(1), &specification(1, 1));
    harness.submit(JobId(2), &specification(1, 1));
    assert!(harness.tell(Event::DataReady { job: JobId(2) }).contains(&Action::Prepare { job: JobId(2) }));
    harness.tell(Event::DataReady { job: JobId(1) });
    assert!(complete(&mut harness, JobId(2)).contains(&Action::Prepare { job: JobId(1) }));
}

#[test]
fn a_job_whose_data_cannot_be_had_or_is_wrong_is_forgotten_and_may_come_again() {
    let (missing, wrong) = ("the client is gone".to_owned(), "shard 0 has 3 rows".to_owned());
    let ends = [
        (Event::DataMissing { job: JOB, reason: missing.clone() }, FailReason::DataMissing { reason: missing }),
        (Event::DataWrong { job: JOB, reason: wrong.clone() }, FailReason::DataWrong { reason: wrong }),
    ];
    for (event, reason) in ends {
        let mut harness = Harness::new(Policy::Random);
        harness.submit(JOB, &specification(1, 1));
        let actions = harness.tell(event);
        assert_eq!(outcome(&actions), Some(Outcome::Failed(reason)));
        assert_eq!(actions.last(), Some(&Action::ReleaseJob { job: JOB }));
        assert_eq!(admission(&harness.submit(JOB, &specification(1, 1))), Admission::Admitted { position: 0 });
    }
}

#[test]
fn a_running_job_that_is_cancelled_takes_its_tasks_back_and_lets_the_next_one_run() {
    let mut harness = Harness::new(Policy::Random);
    harness.join(1);
    let tasks = harness.start(JOB, &specification(2, 1));
    harness.submit(JobId(8), &specification(1, 1));
    harness.tell(Event::DataReady { job: JobId(8) });
    let actions = harness.tell(Event::CancelRequested { job: JOB });
    let cancels = actions.iter().filter(|action| matches!(action, Action::Cancel { .. }));
    assert_eq!(cancels.count(), 2);
    assert_eq!(outcome(&actions), Some(Outcome::Cancelled));
    assert!(actions.contains(&Action::Prepare { job: JobId(8) }));
    // A late result of it is nobody's.
    assert!(discards(&harness.trained(&tasks[0])));
    // And what the workers still had in hand changes nothing.
    assert_eq!(harness.accumulated(&tasks[0]), []);
    assert_eq!(harness.merged(JOB, 0), []);
}

#[test]
fn the_same_seed_and_events_give_the_same_actions() {
    let life = |seed| {
        let mut harness = Harness {
            engine: Engine::new(Settings::new(Policy::Random), seed),
            now: Time(0),
            tests_at_once: true,
            cache_bytes: None,
        };
        (1..=5).for_each(|number| drop(harness.join(number)));
        harness.start(JOB, &specification(30, 1))
    };
    assert_eq!(life(5), life(5));
    assert_ne!(life(5), life(6));
}

#[test]
fn a_clock_that_runs_backwards_stands_still() {
    let mut harness = Harness::new(Policy::Random);
    harness.start(JOB, &specification(1, 1));
    let deadline = harness.engine.next_deadline();
    harness.now = Time(0);
    harness.tell(Event::Tick);
    assert_eq!(harness.engine.next_deadline(), deadline);
}

#[test]
fn the_sentences_for_people_are_sentences() {
    let sentences = [
        Notice::NoNodes.to_string(),
        Notice::TaskSkipped { place: Place::Shard { round: 0, shard: 3 }, reason: "out of memory".to_owned() }
            .to_string(),
        Notice::Revival { number: 1, of: 3, wait: Duration::from_secs(1) }.to_string(),
        FailReason::NoNodes { revivals: 3 }.to_string(),
    ];
    assert_eq!(
        sentences,
        [
            "no node is active",
            "shard 3 of round 1 is left out: out of memory",
            "revival 1 of 3: dialling every node, waiting 1.0 s",
            "no node is active, and none came back during 3 revivals: start one on a machine of the nodes file \
             (compute_node PORT 0), then resume the job, of which everything is kept",
        ]
    );
}
