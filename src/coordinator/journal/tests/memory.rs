//! Jobs that are left unread at the start: those for which there is no memory, and those that kill their coordinator.

use rand::rngs::ChaCha8Rng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;
use crate::coordinator::journal::underway::HeavyStep;
use crate::disk::tests::simulated::{SimulatedDisk, Stop};
use crate::job::FailReason;
use crate::job::memory::CoordinatorMemory;

/// Two jobs after their second rounds, the second submitted first; what one of them takes.
fn two_jobs(root: &Path) -> CoordinatorMemory {
    let mut harness = Harness::open(root);
    for job in [JobId(11), JobId(7)] {
        harness.begin(job);
        (1..=2).for_each(|round| harness.round(job, round));
    }
    CoordinatorMemory::of(&specification(JobId(7), &harness.store), harness.writer.memory.means)
}

/// A start with so much memory.
fn start(root: &Path, allowed_bytes: u64) -> (Harness, Vec<Restored>) {
    let mut harness = Harness::open(root);
    harness.writer.memory.allowed_bytes = allowed_bytes;
    let restored = harness.recover();
    (harness, restored)
}

fn unread(restored: &[Restored]) -> Vec<(JobId, Option<FailReason>)> {
    restored.iter().map(|job| (job.state.job(), job.unread.clone())).collect()
}

#[test]
fn jobs_are_read_in_their_order_as_long_as_there_is_memory_and_the_others_once_there_is() {
    let root = TempDir::new().unwrap();
    let own = two_jobs(root.path());
    let both = own.bytes() + own.kept_bytes();
    assert_eq!(unread(&start(root.path(), both).1), [(JobId(11), None), (JobId(7), None)]);
    let (mut harness, restored) = start(root.path(), both - 1);
    let lacks = |allowed| Some(FailReason::TooLarge { needed: own.bytes(), allowed });
    assert_eq!(unread(&restored), [(JobId(11), None), (JobId(7), lacks(own.bytes() - 1))]);
    let left = &restored[1];
    assert!(left.weights.is_none() && left.objects.is_empty());
    assert_eq!(left.rounds.len(), 2, "its rounds are told");
    // Its data is not swept away for that.
    let read = harness.writer.read_now(JobId(7)).unwrap();
    assert_is_after(&read, JobId(7), 2);
    assert_eq!(read.objects.len(), restored[0].objects.len());
    drop(harness);
    assert_eq!(unread(&start(root.path(), own.bytes() - 1).1).iter().filter(|(_, why)| why.is_some()).count(), 2);
}

#[test]
fn a_job_that_is_left_unread_can_be_cancelled() {
    let root = TempDir::new().unwrap();
    two_jobs(root.path());
    let (mut harness, restored) = start(root.path(), 1);
    let mut ended = restored[0].state.status.clone();
    (ended.state, ended.failure, ended.ended_ms) = (JobState::Cancelled, Some(Failure::cancelled()), 9_000);
    harness.order(JournalCommand::End { status: ended.clone(), summary: None, confusion: None, lived_ms: 9_000 });
    drop(harness);
    let (_, restored) = start(root.path(), u64::MAX);
    let of_job = restored.iter().find(|job| job.state.job() == ended.job).unwrap();
    assert_eq!((of_job.state.status.state, of_job.state.progress.as_ref().unwrap().steps), (JobState::Cancelled, 2));
}

#[test]
fn a_job_that_killed_three_starts_in_one_step_is_left_unread_and_the_others_are_not() {
    let root = TempDir::new().unwrap();
    two_jobs(root.path());
    let step = HeavyStep::Merge(2);
    for _ in 0..3 {
        let (harness, restored) = start(root.path(), u64::MAX);
        assert!(restored.iter().all(|job| job.unread.is_none()));
        harness.writer.underway.die_in(JobId(11), step);
        // It dies before the other job's, too, is written down.
    }
    let deadly = Some(FailReason::Deadly { step: step.to_string(), deaths: 3 });
    for _ in 0..2 {
        let (_, restored) = start(root.path(), u64::MAX);
        assert_eq!(unread(&restored), [(JobId(11), deadly.clone()), (JobId(7), None)]);
    }
    let (mut harness, _) = start(root.path(), u64::MAX);
    assert_is_after(&harness.writer.read_now(JobId(11)).unwrap(), JobId(11), 2);
    drop(harness);
    assert!(start(root.path(), u64::MAX).1.iter().all(|job| job.unread.is_none()), "it is tried again");
}

#[test]
fn a_round_that_is_durable_in_between_makes_a_job_that_killed_starts_a_new_one() {
    let root = TempDir::new().unwrap();
    two_jobs(root.path());
    for round in 3..=6 {
        let (mut harness, restored) = start(root.path(), u64::MAX);
        assert!(restored.iter().all(|job| job.unread.is_none()), "before round {round}");
        harness.round(JobId(11), round);
        harness.writer.underway.die_in(JobId(11), HeavyStep::Prepare);
    }
}

/// Three jobs whose heavy steps begin and end as chance has it, one beside the other where they may; one job's kills every
/// coordinator that begins it.
#[test]
fn of_jobs_whose_heavy_steps_overlap_the_one_that_kills_is_left_unread_after_three_deaths_and_no_other_one() {
    let (root, jobs) = (Path::new("/srv/gradwire/coordinator-5105"), [JobId(7), JobId(8), JobId(11)]);
    let mut shared = 0;
    for seed in 0..200 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let disk = SimulatedDisk::new(seed);
        let open = || Harness::of(Directory::open_on(Arc::new(disk.clone()), root).expect("a directory"));
        let mut harness = open();
        for job in jobs {
            harness.begin(job);
            harness.round(job, 1);
        }
        drop(harness);
        let guilty = jobs[rng.random_range(0..jobs.len())];
        let (mut rounds, mut deaths) = ([1; 3], 0);
        loop {
            let mut harness = open();
            let left: Vec<JobId> =
                harness.recover().iter().filter(|job| job.unread.is_some()).map(|job| job.state.job()).collect();
            if deaths == 3 {
                assert_eq!(left, [guilty], "seed {seed}");
                break;
            }
            assert_eq!(left, [], "seed {seed}, after {deaths} deaths");
            let underway = harness.writer.underway.clone();
            let mut begun = Vec::new();
            loop {
                let place = rng.random_range(0..jobs.len());
                let job = jobs[place];
                if let Some(open) = begun.iter().position(|(open, _)| *open == job) {
                    drop(begun.remove(open));
                    if rounds[place] + 1 < ROUNDS && rng.random_bool(0.3) {
                        rounds[place] += 1;
                        harness.round(job, rounds[place]);
                    }
                } else if begun.is_empty() && rng.random_range(0..20) == 0 {
                    // Any other kill.
                    deaths = 0;
                    break;
                } else if !underway.is_to_wait(job) {
                    begun.push((job, underway.begin(job, HeavyStep::Merge(1))));
                    if job == guilty {
                        deaths += 1;
                        shared += usize::from(begun.len() > 1);
                        break;
                    }
                }
            }
            // Its last call, which may be done or not, is one that changes nothing.
            disk.stop_after(0, Stop::Kill);
            let _ = harness.writer.directory.as_ref().unwrap().read_underway(guilty);
            assert_eq!(disk.stopped(), Some(Stop::Kill));
            drop(begun);
            drop(harness);
            disk.restart(Stop::Kill);
        }
    }
    assert!(shared >= 100, "steps were beside one another at {shared} deaths only");
}
