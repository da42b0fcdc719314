//! What is kept of a job for who verifies a part of it: how far apart, how much of it, and that it goes with the job.

use super::within_rounds::{assert_is_after_steps, begin, weights_after, write};
use super::*;
use crate::disk::tests::simulated::{SimulatedDisk, Stop};

/// Steps of the job.
const STEPS: u64 = 30;

/// The steps before which everything is kept that the job started from, and those before which only the weights are.
fn kept(harness: &Harness, specification: &Specification) -> (Vec<u64>, Vec<u64>) {
    let archive = &harness.writer.archive;
    let mut kept = (Vec::new(), Vec::new());
    for step in 1..=STEPS {
        let Weights { digest, bytes, outer } = weights_after(specification, step);
        let state = object::encode_outer(&outer);
        let found = [&digest, &Digest::of(&state)].map(|digest| archive.object(digest));
        match found {
            [Some(weights), Some(found)] if (&weights, &found) == (&*bytes, &state) => kept.0.push(step),
            [Some(weights), None] if weights == *bytes => kept.1.push(step),
            [None, None] => {}
            other => panic!("step {step}: {other:?}"),
        }
    }
    kept
}

fn bytes_of(specification: &Specification, keeps_outer: bool) -> u64 {
    let Weights { bytes, outer, .. } = weights_after(specification, 1);
    let state = if keeps_outer { object::encode_outer(&outer).len() } else { 0 };
    (bytes.len() + state) as u64
}

#[test]
fn checkpoints_are_as_far_apart_as_the_room_for_all_of_them_asks_for() {
    for (local_steps, room, distance) in [(1, 3, 8), (1, 29, 2), (1, 30, 1), (4, 3, 8), (1, 1, 16), (1, 0, 31)] {
        let (root, job) = (TempDir::new().unwrap(), JobId(7));
        let mut harness = Harness::open(root.path());
        let specification = begin(&mut harness, job, local_steps);
        assert_eq!(specification.steps(), STEPS);
        let bytes = bytes_of(&specification, local_steps == 1);
        harness.writer.kept_bytes_max = room * bytes + bytes / 2;
        (0..STEPS).for_each(|step| write(&mut harness, job, &specification, step..step + 1));
        let due: Vec<u64> = (1..=STEPS).filter(|step| step.is_multiple_of(distance)).collect();
        let kept_bytes = due.len() as u64 * bytes;
        assert!(due.len() as u64 <= room);
        let due = if local_steps == 1 { (due, Vec::new()) } else { (Vec::new(), due) };
        assert_eq!(kept(&harness, &specification), due, "room for {room}");
        assert_eq!(harness.writer.writers[&job].kept_bytes, kept_bytes);
        harness.order(JournalCommand::Forget { job });
        assert_eq!(kept(&harness, &specification), (Vec::new(), Vec::new()));
    }
}

#[test]
fn steps_that_are_written_together_have_one_checkpoint_and_another_life_goes_on_from_where_it_begins() {
    let (root, job) = (TempDir::new().unwrap(), JobId(7));
    let mut harness = Harness::open(root.path());
    let specification = begin(&mut harness, job, 1);
    let bytes_max = 6 * bytes_of(&specification, true);
    // Five steps apart.
    harness.writer.kept_bytes_max = bytes_max;
    for steps in [0..2, 2..5, 5..6, 6..7] {
        write(&mut harness, job, &specification, steps);
    }
    assert_eq!(kept(&harness, &specification).0, [5]);
    drop(harness);
    let mut harness = Harness::open(root.path());
    harness.recover();
    harness.writer.kept_bytes_max = bytes_max;
    (7..STEPS).for_each(|step| write(&mut harness, job, &specification, step..step + 1));
    assert_eq!(kept(&harness, &specification).0, [5, 12, 17, 22, 27]);
    assert_eq!(harness.writer.writers[&job].kept_bytes, bytes_max / 6 * 5);
}

#[test]
fn a_checkpoint_that_the_disk_does_not_take_is_left_out_and_the_job_goes_on() {
    let (root, job) = (TempDir::new().unwrap(), JobId(7));
    let mut harness = Harness::open(root.path());
    let specification = begin(&mut harness, job, 1);
    // A file stands where their directory would be.
    let place = root.path().join("jobs").join(job.to_string()).join("weights");
    std::fs::write(&place, "").unwrap();
    (0..10).for_each(|step| write(&mut harness, job, &specification, step..step + 1));
    assert_eq!(harness.writer.writers[&job].kept_bytes, 0);
    std::fs::remove_file(&place).unwrap();
    (10..12).for_each(|step| write(&mut harness, job, &specification, step..step + 1));
    assert_eq!(kept(&harness, &specification).0, [11, 12], "nothing is told of that is not there");
}

#[test]
fn checkpoints_make_room_on_a_full_disk_for_what_their_job_needs() {
    let (disk, job) = (SimulatedDisk::new(1), JobId(7));
    let root = Path::new("/srv/gradwire/coordinator-5105");
    let open = || Harness::of(Directory::open_on(Arc::new(disk.clone()), root).expect("a directory"));
    let mut harness = open();
    let specification = begin(&mut harness, job, 1);
    (0..5).for_each(|step| write(&mut harness, job, &specification, step..step + 1));
    assert_eq!(kept(&harness, &specification).0, [1, 2, 3, 4, 5]);
    disk.fill_until_removed_of("weights");
    (5..8).for_each(|step| write(&mut harness, job, &specification, step..step + 1));
    assert!(harness.writer.behind.is_none(), "{:?}", harness.writer.behind);
    // The last steps' are in the states.
    let (kept, weights_alone) = kept(&harness, &specification);
    assert!(
        kept.iter().all(|step| *step >= 7) && weights_alone.iter().all(|step| *step >= 7),
        "{kept:?} {weights_alone:?}"
    );
    assert_eq!(harness.writer.writers[&job].kept_bytes, 0);
    drop(harness);
    disk.restart(Stop::Power);
    assert_is_after_steps(&open().recover()[0], &specification, 8);
}
