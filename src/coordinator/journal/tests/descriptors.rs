//! A journal for which the system has no descriptor for a while: it waits, and tells nobody of what is not written.

use super::*;
use crate::disk::tests::simulated::SimulatedDisk;

#[test]
fn a_journal_without_a_descriptor_waits_for_one_and_tells_of_no_round_and_no_end_before() {
    let disk = SimulatedDisk::new(1);
    let root = Path::new("/srv/gradwire/coordinator-5105");
    let mut harness = Harness::of(Directory::open_on(Arc::new(disk.clone()), root).expect("a directory"));
    let job = JobId(4);
    harness.begin(job);
    harness.round(job, 1);
    assert_eq!(harness.heard().0.last(), Some(&(job, 1, JobState::Running)));
    disk.take_descriptors(true);
    harness.round(job, 2);
    harness.end_after(job, 2);
    let why = harness.writer.behind.clone().expect("it is not written");
    assert!(why.contains("ulimit -n") && why.contains("--connections"), "{why}");
    assert_eq!(harness.heard().0, []);
    assert!(harness.failed.is_empty(), "the coordinator goes on");
    disk.take_descriptors(false);
    assert!(harness.writer.flush().is_ok() && harness.writer.behind.is_none());
    assert_eq!(harness.heard().0, [(job, 2, JobState::Failed)]);
    drop(harness);
    let mut harness = Harness::of(Directory::open_on(Arc::new(disk), root).expect("a directory"));
    assert_eq!(harness.recover()[0].state.status.rounds_done, 2);
}
