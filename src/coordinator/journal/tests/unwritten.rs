//! Jobs that the disk does not take, where the coordinator goes on without it: what is told of them, and that they are written once
//! it does.

use super::*;
use crate::disk::tests::simulated::{SimulatedDisk, Stop};

const JOB: JobId = JobId(4);

/// Which states were told since the last time, and whether they are written.
fn told(harness: &Harness) -> Vec<(JobState, bool)> {
    let durable = |told| match told {
        DriverEvent::Journal(JournalEvent::Durable { state, is_written, .. }) => Some((state, is_written)),
        _ => None,
    };
    harness.told.try_iter().filter_map(durable).collect()
}

#[test]
fn a_pause_that_the_disk_does_not_take_is_told_as_that_and_written_once_it_does() {
    let disk = SimulatedDisk::new(1);
    let root = Path::new("/srv/gradwire/coordinator-5105");
    let open = || Harness::of(Directory::open_on(Arc::new(disk.clone()), root).expect("a directory"));
    let mut harness = open();
    harness.writer.on_disk_error = OnDiskError::Continue;
    disk.fill(true);
    harness.begin(JOB);
    harness.round(JOB, 1);
    harness.order(paused(JOB));
    assert_eq!(told(&harness).last(), Some(&(JobState::Paused, false)));
    disk.fill(false);
    assert!(harness.writer.flush().is_ok() && harness.writer.behind.is_none());
    assert_eq!(told(&harness), [(JobState::Paused, true)]);
    drop(harness);
    disk.restart(Stop::Power);
    let restored = open().recover();
    assert_eq!(restored[0].state.status.state, JobState::Paused);
    assert_is_after(&restored[0], JOB, 1);
}
