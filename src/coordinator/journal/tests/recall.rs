//! Jobs that were given up: all of them is read back, and written on; and how long coordinators have run.

use super::*;
use crate::coordinator::journal::command::Recalled;
use crate::coordinator::lived::LivedRecord;
use crate::disk::tests::simulated::SimulatedDisk;

/// What the journal gives of a job that is wanted again.
pub(super) fn recalled(harness: &mut Harness, job: JobId) -> Result<Recalled, String> {
    harness.told.try_iter().for_each(drop);
    assert!(harness.writer.take(JournalCommand::Recall { job }).is_ok(), "it is only read");
    let told = harness.told.try_iter().find_map(|told| match told {
        DriverEvent::Journal(JournalEvent::Recalled { job: of, recalled }) => Some((of, recalled)),
        _ => None,
    });
    let (of, recalled) = told.expect("an answer");
    assert_eq!(of, job);
    recalled.map(|recalled| *recalled)
}

#[test]
fn a_job_that_was_given_up_is_read_back_whole_and_written_on_behind_its_last_round() {
    // One whose outer optimiser remembers something, and one whose does not.
    for job in [3, 4].map(JobId) {
        let root = TempDir::new().unwrap();
        let mut harness = Harness::open(root.path());
        harness.begin(job);
        (1..=3).for_each(|round| harness.round(job, round));
        harness.end_after(job, 3);
        drop(harness);
        let mut harness = Harness::open(root.path());
        let restored = harness.recover();
        let status = &restored[0].state.status;
        assert_eq!((status.state, status.weights), (JobState::Failed, Some(weights(job, 3).digest)));
        assert!(status.may_be_resumed());
        assert!(restored[0].objects.is_empty(), "it is not wanted yet");
        let kept = harness.writer.retention.ended_bytes();
        let Recalled { mut restored, writer } = recalled(&mut harness, job).expect("all of it");
        assert_ne!(std::mem::take(&mut restored.state.status.ended_ms), 0);
        assert_eq!(restored.objects.len(), objects_of(&restored.state.specification).len());
        assert_is_after(&restored, job, 3);
        assert_eq!(harness.writer.retention.ended_bytes(), kept, "it is only read");
        let later = JobId(9);
        harness.begin(later);
        harness.order(JournalCommand::Reopen { job, writer });
        assert_eq!(harness.writer.retention.ended_bytes(), 0);
        harness.round(job, 4);
        drop(harness);
        let mut harness = Harness::open(root.path());
        let restored = harness.recover();
        let ids: Vec<JobId> = restored.iter().map(|job| job.state.job()).collect();
        assert_eq!(ids, [later, job], "it waits behind who came meanwhile");
        let status = &restored[1].state.status;
        assert_eq!((status.state, status.ended_ms, status.weights), (JobState::Running, 0, None));
        assert_is_after(&restored[1], job, 4);
        // It may end as any other does.
        harness.end_after(job, 4);
        assert!(harness.writer.retention.ended_bytes() > kept);
        assert_eq!(harness.writer.archive.rounds(job).unwrap().len(), 4);
    }
}

#[test]
fn reading_a_job_back_is_noted_before_anything_of_it_is_read_and_struck_out_behind_it() {
    let (disk, job) = (SimulatedDisk::new(1), JobId(4));
    let root = Path::new("/srv/gradwire/coordinator-5105");
    let mut harness = Harness::of(Directory::open_on(Arc::new(disk.clone()), root).expect("a directory"));
    harness.begin(job);
    harness.round(job, 1);
    harness.end_after(job, 1);
    disk.record();
    recalled(&mut harness, job).expect("all of it");
    let calls = disk.recorded();
    let notes: Vec<bool> = calls.iter().map(|call| call.contains("/underway")).collect();
    let noted = calls.iter().position(|call| call.starts_with("rename ")).expect("it is noted");
    assert!(notes[..=noted].iter().all(|is_note| *is_note), "{calls:#?}");
    assert!(calls.last().is_some_and(|call| call.starts_with("remove ")) && notes[calls.len() - 1], "{calls:#?}");
    assert_eq!(notes.iter().rposition(|is_note| !is_note), Some(calls.len() - 2), "{calls:#?}");
}

#[test]
fn a_job_is_not_gone_on_with_whose_data_is_damaged() {
    let root = TempDir::new().unwrap();
    let job = JobId(4);
    let mut harness = Harness::open(root.path());
    harness.begin(job);
    harness.round(job, 1);
    harness.end_after(job, 1);
    let specification = harness.writer.archive.specification(job).unwrap();
    let data = root.path().join("objects").join(specification.shards[0].digest.to_string());
    std::fs::write(data, b"something else").unwrap();
    let why = recalled(&mut harness, job).err().expect("a refusal");
    assert!(why.contains("is missing or damaged; submit it again"), "{why}");
    assert_eq!(harness.writer.archive.rounds(job).unwrap().len(), 1, "what there is of it is still told");
}

#[test]
fn how_long_coordinators_have_run_outlives_them_and_the_file_that_says_it() {
    let root = TempDir::new().unwrap();
    let record = LivedRecord { lived_ms: 70_000, wall_ms: 5 };
    let mut harness = Harness::open(root.path());
    harness.order(JournalCommand::Lived(record));
    drop(harness);
    let mut harness = Harness::open(root.path());
    let mut restored = harness.recover();
    assert_eq!(harness.writer.lived(&mut restored), record);
    // A job that has ended says it, too, where the file is of no use.
    let job = JobId(4);
    harness.begin(job);
    harness.round(job, 1);
    harness.end_after(job, 1);
    std::fs::write(root.path().join("lived"), [1; 48]).unwrap();
    drop(harness);
    let mut harness = Harness::open(root.path());
    let mut restored = harness.recover();
    assert_eq!(harness.writer.lived(&mut restored), LivedRecord { lived_ms: 9_004, wall_ms: 0 });
}

#[test]
fn a_job_from_a_journal_that_is_older_makes_no_other_old_and_counts_as_one_that_has_just_ended() {
    const DAY_MS: u64 = 86_400_000;
    let root = TempDir::new().unwrap();
    let mut harness = Harness::open(root.path());
    let record = LivedRecord { lived_ms: 5 * DAY_MS, wall_ms: 5 };
    harness.order(JournalCommand::Lived(record));
    // The second one ended after that was written and before it was again.
    let unwritten_ms = record.lived_ms + 600_000;
    for (job, ended_at_ms) in [(4, 4 * DAY_MS), (8, unwritten_ms), (12, 400 * DAY_MS)] {
        harness.begin(JobId(job));
        harness.round(JobId(job), 1);
        let mut end = harness.end_order(JobId(job), 1);
        if let JournalCommand::End { lived_ms, .. } = &mut end {
            *lived_ms = ended_at_ms;
        }
        harness.order(end);
    }
    drop(harness);
    let mut harness = Harness::open(root.path());
    let mut restored = harness.recover();
    assert_eq!(harness.writer.lived(&mut restored), LivedRecord { lived_ms: unwritten_ms, ..record });
    let ends: Vec<_> = restored.iter().map(|job| (job.state.job(), job.state.lived_ms)).collect();
    assert_eq!(ends, [(JobId(4), 4 * DAY_MS), (JobId(8), unwritten_ms), (JobId(12), record.lived_ms)]);
}
