//! Several jobs at once: how long a short one takes beside a long one, in simulated time, and what each is told of the others.

use super::schedules::{BLOCK_ROWS, World, of_blocks};
use super::*;

/// What a short job may take beside a long one of the time that it takes alone.
const RATIO_MAX: f64 = 2.5;
const SHORT: JobId = JobId(8);

/// How long a job of ten rounds takes, alone and behind one of ten thousand, whose rows take so much longer.
fn ratio(us_per_row: &[f64], merge_us: u64, slowness: f64, [long, short]: [&Specification; 2]) -> f64 {
    let alone_us = |specification: &Specification| {
        let mut world = World::of(Harness::sharing(Policy::LoadBalancing, 4), us_per_row);
        world.merge_us = merge_us;
        let begins = world.harness.now;
        world.submit(SHORT, specification);
        world.live_until(|world| world.done.contains_key(&SHORT));
        world.done[&SHORT].since_us(begins)
    };
    let alone_us = alone_us(short);
    let mut world = World::of(Harness::sharing(Policy::LoadBalancing, 4), us_per_row);
    world.merge_us = merge_us;
    world.slowness.insert(JOB, slowness);
    world.submit(JOB, long);
    // It is in full swing, and in the middle of a step.
    let begins = world.harness.now.after_us(5 * alone_us);
    world.live_until(|world| world.harness.now >= begins);
    let begins = world.harness.now;
    world.submit(SHORT, short);
    world.live_until(|world| world.done.contains_key(&SHORT));
    assert!(!world.done.contains_key(&JOB), "the long job is over");
    let shared_us = world.done[&SHORT].since_us(begins);
    shared_us as f64 / alone_us as f64
}

#[test]
fn ten_rounds_behind_ten_thousand_end_within_two_and_a_half_times_their_time_alone() {
    let mut amiss = Vec::new();
    let mut look = |what: String, ratio: f64| {
        println!("{what:60} {ratio:.2} times");
        if ratio > RATIO_MAX {
            amiss.push((what, ratio));
        }
    };
    for us_per_row in [&[10.0; 4][..], &[10.0; 1], &[10.0, 10.0, 10.0, 80.0], &[300.0; 16], &[1_000.0, 3_000.0]] {
        for merge_us in [0, 2_000] {
            for (shards, rounds) in [(4, 10), (16, 10)] {
                let specifications = [specification(shards, 10_000), specification(shards, rounds)];
                let what = format!("{shards} shards at {} nodes of {} us, {merge_us}", us_per_row.len(), us_per_row[0]);
                look(what, ratio(us_per_row, merge_us, 1.0, specifications.each_ref()));
            }
            for blocks in [4, 32, 100] {
                let specifications = [of_blocks(blocks, 10_000), of_blocks(blocks, 10)];
                let what = format!("{blocks} blocks at {} nodes of {} us, {merge_us}", us_per_row.len(), us_per_row[0]);
                look(what, ratio(us_per_row, merge_us, 1.0, specifications.each_ref()));
            }
        }
    }
    assert!(amiss.is_empty(), "{amiss:?}");
}

#[test]
fn a_job_of_tasks_twenty_times_as_long_is_no_more_of_a_burden_once_the_first_of_them_is_done() {
    // Two hundred steps, beside steps of which one takes as long as twenty.
    for merge_us in [0, 1_000] {
        let specifications = [of_blocks(32, 10_000), of_blocks(32, 200)];
        let ratio = ratio(&[100.0; 4], merge_us, 20.0, specifications.each_ref());
        println!("merges of {merge_us} us: {ratio:.2} times");
        assert!(ratio <= RATIO_MAX, "{ratio:.2} times its time alone");
    }
}

#[test]
fn a_job_that_waits_for_its_own_validations_keeps_nobody_waiting() {
    let mut times_us = Vec::new();
    for validate_us in [0, 10_000_000] {
        let mut world = World::of(Harness::sharing(Policy::LoadBalancing, 2), &[100.0; 4]);
        if validate_us > 0 {
            world.validate_us.insert(JOB, validate_us);
            world.submit(JOB, &of_blocks(32, 1_000));
            // Its first rounds are merged, and none is validated yet.
            let begins = world.harness.now.after_us(validate_us / 10);
            world.live_until(|world| world.harness.now >= begins);
        }
        let begins = world.harness.now;
        world.submit(SHORT, &of_blocks(32, 200));
        world.live_until(|world| world.done.contains_key(&SHORT));
        times_us.push(world.done[&SHORT].since_us(begins));
    }
    assert!(times_us[1] < 10_000_000 && 2 * times_us[1] < 3 * times_us[0], "{times_us:?}");
}

#[test]
fn several_jobs_run_at_once_and_the_next_waits_for_its_turn_behind_all_of_them() {
    let mut harness = Harness::sharing(Policy::Random, 2);
    harness.join(1);
    for job in [1, 2, 3] {
        harness.submit(JobId(job), &specification(1, 1));
        let actions = harness.tell(Event::DataReady { job: JobId(job) });
        assert_eq!(actions.contains(&Action::Prepare { job: JobId(job) }), job < 3);
        // Who begins beside others has not waited.
        let position = job as u32 - 1;
        let waits = Action::Report { job: JobId(job), event: JobEvent::Queued { position } };
        assert_eq!(actions.contains(&waits), job == 3, "{actions:?}");
    }
    let progress = harness.engine.job_progress(JobId(3));
    assert_eq!(progress, Some(JobProgress::Queued { position: 2 }));
    let states: Vec<_> = harness.engine.status().jobs.iter().map(|entry| entry.progress.state()).collect();
    use crate::job::JobState::{Queued, Running};
    assert_eq!(states, [Running, Running, Queued]);
    let actions = harness.tell(Event::CancelRequested { job: JobId(1) });
    assert!(actions.contains(&Action::Prepare { job: JobId(3) }));
}

#[test]
fn each_job_has_a_task_at_every_worker_and_what_waits_behind_anothers_may_not_be_turned_down() {
    let mut harness = Harness::sharing(Policy::LoadBalancing, 2);
    harness.join(1);
    let first = harness.start(JOB, &specification(3, 1));
    let second = harness.start(SHORT, &specification(3, 1));
    assert_eq!([first.len(), second.len()], [1, 1]);
    assert!(first[0].may_reject && !second[0].may_reject);
    // The next of the first job's comes behind the second job's.
    let next = only_sent(&harness.finish(&first[0]));
    assert_eq!((next.attempt.task.job, next.may_reject), (JOB, false));
}

#[test]
fn a_link_that_is_lost_or_dropped_takes_the_tasks_of_every_job_with_it() {
    let settings = Settings { jobs_at_once: 2, strikes_max: 1, ..Settings::new(Policy::LoadBalancing) };
    let mut harness =
        Harness { engine: Engine::new(settings, 1), now: Time(1_000_000), tests_at_once: true, cache_bytes: None };
    harness.join(1);
    let first = only_sent_of(&harness.start(JOB, &specification(1, 1)));
    let second = only_sent_of(&harness.start(SHORT, &specification(1, 1)));
    let actions = harness.cut(1);
    let lost =
        |action: &Action| matches!(action, Action::Report { event: JobEvent::Notice(Notice::NodeLost { .. }), .. });
    assert_eq!(actions.iter().filter(|action| lost(action)).count(), 2);
    assert!(discards(&harness.trained(&first)) && discards(&harness.trained(&second)));
    let again = sent(&harness.link(1, 2, 1, &[1]));
    assert_eq!(links(&again), [2, 2]);
    // A node that is let go for what it did in one job.
    let bad = again.iter().find(|sent| sent.attempt.task.job == JOB).expect("a task of the first job");
    assert_eq!(drops(&harness.failed(bad, Fault::Malformed)), [2]);
    harness.tell(Event::NodeUnlisted { node: NodeKey(1) });
    let mut again = sent(&harness.join(1));
    assert_eq!(again.iter().map(|sent| sent.attempt.task.job).collect::<Vec<_>>(), [SHORT]);
    // Who has failed a task is asked again a little later.
    again.extend(sent(&harness.pass_ms(1_000)));
    assert_eq!(links(&again), [1, 1]);
}

fn only_sent_of(sent: &[Sent]) -> Sent {
    assert_eq!(sent.len(), 1);
    sent[0]
}

#[test]
fn a_node_without_memory_for_two_jobs_at_once_works_for_one_after_the_other() {
    let memory = |specification: &Specification| crate::job::memory::NodeMemory::of(specification).of_workers(1);
    let specification = specification(1, 1);
    for (times, runs) in [(1, false), (2, true)] {
        let mut harness = Harness::sharing(Policy::LoadBalancing, 2);
        let node = NodeKey(1);
        harness.tell(Event::NodeListed { node, address: "10.0.0.1:7000".to_owned() });
        let memory_bytes = Some(times * memory(&specification));
        let (name, arithmetics) = ("n1".to_owned(), vec![1]);
        let info = NodeInfo { name, arithmetics, doubts: Vec::new(), workers: 1, cache_bytes: None, memory_bytes };
        harness.tell(Event::LinkUp { node, link: LinkKey(1), info });
        let first = harness.start(JOB, &specification);
        assert_eq!(first.len(), 1);
        harness.submit(SHORT, &specification);
        let actions = harness.tell(Event::DataReady { job: SHORT });
        assert_eq!(actions.contains(&Action::Prepare { job: SHORT }), runs);
        let actions = harness.tell(Event::CancelRequested { job: JOB });
        assert_eq!(actions.contains(&Action::Prepare { job: SHORT }), !runs);
    }
}

#[test]
fn a_job_runs_beside_others_only_as_long_as_the_coordinators_memory_is_enough_for_all() {
    use crate::job::memory::{CoordinatorMeans, CoordinatorMemory};
    let means = CoordinatorMeans { in_flight_bytes: 1 << 20, is_journaled: true };
    let specification = specification(1, 1);
    let own = CoordinatorMemory::of(&specification, means);
    let both = 2 * own.bytes();
    for (allowed_bytes, runs) in [(both, true), (both - 1, false)] {
        let memory = Some(Memory { allowed_bytes, means });
        let settings = Settings { jobs_at_once: 2, memory, ..Settings::new(Policy::Random) };
        let mut harness =
            Harness { engine: Engine::new(settings, 1), now: Time(0), tests_at_once: true, cache_bytes: None };
        harness.join(1);
        harness.start(JOB, &specification);
        harness.submit(SHORT, &specification);
        let actions = harness.tell(Event::DataReady { job: SHORT });
        assert_eq!(actions.contains(&Action::Prepare { job: SHORT }), runs);
    }
}

#[test]
fn steps_are_cut_for_all_workers_whatever_other_jobs_have_there() {
    let mut harness = Harness::sharing(Policy::LoadBalancing, 2);
    (1..=4).for_each(|number| drop(harness.join(number)));
    let first = harness.start(JOB, &of_blocks(8, 1));
    let second = harness.start(SHORT, &of_blocks(8, 1));
    assert_eq!([links(&first), links(&second)], [[1, 2, 3, 4], [1, 2, 3, 4]]);
    assert_eq!(BLOCK_ROWS, 8);
}
