//! Jobs whose rounds have several steps: what is written in the middle of a round is read back, and blocks that do not fit
//! their job are refused.

use std::num::NonZeroU32;
use std::ops::Range;

use super::super::reading::{self, Unread};
use super::super::state::{Decoded, StateError};
use super::*;
use crate::job::MergedStep;
use crate::model::BatchSize;

/// Steps of a round.
pub(super) const ROUND_STEPS: u64 = 5;
/// The steps of each record: of one step and of several, up to a round's end and not, of one round and of the next.
pub(super) const RECORDS: [Range<u64>; 9] = [0..2, 2..3, 3..5, 5..6, 6..10, 10..15, 15..16, 16..19, 19..20];
/// What a step's entries take of a job whose steps leave blocks out.
const BLOCKS: u32 = 3;

/// A job in steps: one of merged gradients, or one whose tasks are so many local steps.
pub(super) fn in_steps(job: JobId, local_steps: u32, store: &Store) -> Specification {
    let mut specification = specification(job, store);
    let (batch, local_steps) = (BatchSize::Rows(NonZeroU32::MIN), Some(local_steps));
    specification.training.recipe = Recipe { batch, epochs: 1, local_steps, ..Recipe::DEFAULT };
    specification.round_steps = Some(ROUND_STEPS as u32);
    specification.patience = None;
    specification.checked().expect("a job")
}

/// The weights after so many steps.
pub(super) fn weights_after(specification: &Specification, steps: u64) -> Weights {
    let (network, outer) = (&specification.training.network, &specification.outer);
    let values: Vec<f32> = (0..network.parameters()).map(|place| steps as f32 + place as f32).collect();
    let bytes = object::encode_parameters(ObjectKind::Weights, network, &values);
    let updates = outer.updates_within(steps, specification.steps());
    let vectors = if updates > 0 { outer.optimiser.state_vectors() } else { 0 };
    let remembered = vec![steps as u8; 4 * network.parameters() * vectors];
    let outer = OuterState::restored(outer, network.parameters(), updates..=updates, updates, &remembered);
    Weights { digest: Digest::of(&bytes), bytes: Arc::new(bytes), outer: Arc::new(outer.expect("a state")) }
}

pub(super) fn entries_of(specification: &Specification, step: u64) -> Vec<LedgerEntry> {
    let Weights { digest: base, outer, .. } = weights_after(specification, step);
    let (loss, digest) = (0.5 + step as f64, Digest([step as u8; 32]));
    if specification.training.recipe.merges_gradients() {
        let (outer, nothing) = (object::outer_digest(&outer), Digest([0; 32]));
        // Every third step leaves blocks out, and every sixth all of them.
        let result = match step % 6 {
            0 => MergedStep { blocks: 0, skipped: (0..BLOCKS).collect(), loss: 0.0, sum: nothing, outer: nothing },
            3 => MergedStep { blocks: 1, skipped: vec![0, 2], loss, sum: digest, outer },
            _ => MergedStep { blocks: BLOCKS, skipped: vec![], loss, sum: digest, outer },
        };
        return vec![LedgerEntry { rows: result.blocks, base, result: EntryResult::Step(result) }];
    }
    let merged = MergedTask { node: format!("node-{step}"), attempt: 1, loss, update: digest };
    let results = [EntryResult::Merged(merged), EntryResult::Skipped];
    results.map(|result| LedgerEntry { rows: 2, base, result }).to_vec()
}

pub(super) fn round_summary(round: u64) -> RoundSummary {
    let JournalCommand::Steps { record, .. } = round_order(JobId(1), round as u32) else { unreachable!() };
    record.progress.last.expect("a round")
}

/// The job after so many steps.
pub(super) fn progress_after(specification: &Specification, steps: u64) -> Progress {
    let JournalCommand::Steps { record, .. } = round_order(JobId(1), 1) else { unreachable!() };
    let (rounds, within) = (steps / ROUND_STEPS, steps % ROUND_STEPS);
    let so_far = RoundSoFar {
        loss: 0.25 * within as f64,
        rows: 7 * within,
        merged: 3 * within as u32,
        skipped: within as u32,
        nodes: (0..within).map(|node| format!("node-{node}")).collect(),
        us: 11 * within,
    };
    let last = (rounds > 0).then(|| round_summary(rounds));
    Progress { steps, last, so_far, base: weights_after(specification, steps).digest, ..record.progress }
}

/// Progress in the middle of a round, no number of which another has.
pub(super) fn progress_of_distinct_numbers() -> Progress {
    let specification = in_steps(JobId(7), 1, &Store::new(u64::MAX));
    let parts = Profile {
        prepare_us: 1_001,
        compute_us: 1_002,
        wire_us: 1_003,
        stragglers_us: 1_004,
        no_nodes_us: 1_005,
        merge_us: 1_006,
        validate_us: 1_007,
    };
    Progress {
        so_far: RoundSoFar {
            loss: 0.5,
            rows: 2_001,
            merged: 2_002,
            skipped: 2_003,
            nodes: ["node-a", "node-b"].map(str::to_owned).into(),
            us: 2_004,
        },
        merged: 3_001,
        skipped: 3_002,
        duplicates: 3_003,
        reproducible: true,
        revivals: 3_004,
        validating_us: 3_005,
        training_us: 3_006,
        profile: parts,
        ..progress_after(&specification, 8)
    }
}

pub(super) fn record_of(specification: &Specification, steps: Range<u64>) -> Record {
    let progress = progress_after(specification, steps.end);
    let ends_round = steps.end.is_multiple_of(ROUND_STEPS);
    Record { entries: steps.flat_map(|step| entries_of(specification, step)).collect(), ends_round, progress }
}

pub(super) fn begin(harness: &mut Harness, job: JobId, local_steps: u32) -> Arc<Specification> {
    let specification = Arc::new(in_steps(job, local_steps, &harness.store));
    let status = status(job, &specification);
    harness.order(JournalCommand::Begin { status, specification: specification.clone() });
    specification
}

pub(super) fn write(harness: &mut Harness, job: JobId, specification: &Specification, steps: Range<u64>) {
    let weights = Some(weights_after(specification, steps.end).into());
    let record = Box::new(record_of(specification, steps));
    harness.order(JournalCommand::Steps { job, record, weights });
}

/// What must be so of a job that is restored after so many steps.
pub(super) fn assert_is_after_steps(restored: &Restored, specification: &Specification, steps: u64) {
    assert_eq!(*restored.state.specification, *specification);
    let rounds = steps / ROUND_STEPS;
    assert_eq!(u64::from(restored.state.status.rounds_done), rounds);
    assert_eq!(restored.state.progress, Some(progress_after(specification, steps)));
    if restored.state.status.ended_ms == 0 {
        assert_eq!(restored.rounds, (1..=rounds).map(round_summary).collect::<Vec<_>>());
        let Weights { digest, bytes, outer } = weights_after(specification, steps);
        let found = restored.weights.as_ref().expect("weights");
        assert_eq!((found.digest, &found.bytes, &found.outer), (digest, &bytes, &outer));
    }
}

/// Reads the ledger in pages of every length from every entry on.
fn check_pages(archive: &Archive, job: JobId, specification: &Specification, steps: u64) {
    let all: Vec<LedgerEntry> = (0..steps).flat_map(|step| entries_of(specification, step)).collect();
    for first in 0..=all.len() {
        for count_max in [1, 2, 5, 7, usize::MAX] {
            let page = archive.entries(job, first as u64, count_max).expect("a page");
            assert_eq!((page.first, page.total), (first as u64, all.len() as u64));
            assert_eq!(page.shards, specification.step_entries());
            let end = all.len().min(first.saturating_add(count_max));
            assert_eq!(page.entries, all[first..end], "{count_max} from {first} on of {steps} steps");
        }
    }
}

#[test]
fn a_job_in_steps_is_read_back_as_it_was_after_each_record_and_told_page_by_page() {
    for local_steps in [1, 4] {
        let root = scratch();
        let job = JobId(7);
        let mut harness = Harness::open(root.path());
        let specification = begin(&mut harness, job, local_steps);
        for steps in RECORDS {
            let end = steps.end;
            write(&mut harness, job, &specification, steps);
            check_pages(&harness.writer.archive, job, &specification, end);
            drop(harness);
            harness = Harness::open(root.path());
            let restored = harness.recover();
            assert_is_after_steps(&restored[0], &specification, end);
            check_pages(&harness.writer.archive, job, &specification, end);
        }
        let JobStatus { rounds_done, .. } = harness.writer.writers[&job].state.status;
        let failure = failure(FailKind::TaskFailed, "a task failed everywhere");
        let ended =
            JobStatus { state: JobState::Failed, failure, rounds_done, ended_ms: 9_000, ..status(job, &specification) };
        harness.order(JournalCommand::End { status: ended, summary: None, confusion: None, lived_ms: 1 });
        check_pages(&harness.writer.archive, job, &specification, RECORDS[RECORDS.len() - 1].end);
        for seen in 0..=4 {
            let due: Vec<_> = (seen + 1..=4).map(round_summary).collect();
            assert_eq!(rounds_after(&harness.writer.archive, job, seen as u32), due);
        }
    }
}

#[test]
fn steps_that_are_written_together_keep_a_block_for_each_record() {
    let root = scratch();
    let job = JobId(7);
    let mut harness = Harness::open(root.path());
    let specification = begin(&mut harness, job, 1);
    for steps in RECORDS {
        let weights = Some(weights_after(&specification, steps.end).into());
        let record = Box::new(record_of(&specification, steps));
        assert!(harness.writer.take(JournalCommand::Steps { job, record, weights }).is_ok());
    }
    assert!(harness.writer.flush().is_ok());
    drop(harness);
    let mut harness = Harness::open(root.path());
    assert_is_after_steps(&harness.recover()[0], &specification, 20);
    assert_eq!(harness.writer.writers[&job].shelved().blocks(), RECORDS.len());
    check_pages(&harness.writer.archive, job, &specification, 20);
}

/// Why a job is refused whose records are these; nothing if it is not. The state says what the last of them does.
fn refusal(local_steps: u32, records: impl FnOnce(&Specification) -> Vec<Record>) -> Option<String> {
    let root = scratch();
    let job = JobId(7);
    let mut harness = Harness::open(root.path());
    let specification = begin(&mut harness, job, local_steps);
    for record in records(&specification) {
        let weights = Some(weights_after(&specification, record.progress.steps).into());
        assert!(harness.writer.take(JournalCommand::Steps { job, record: Box::new(record), weights }).is_ok());
    }
    assert!(harness.writer.flush().is_ok());
    // Of the two states it is the newer one that is of interest.
    let directory = harness.writer.directory.as_ref().expect("a directory");
    std::fs::remove_file(directory.job(job).join("state-1")).expect("the job's first state");
    match reading::newest(directory, job) {
        Ok(whole) => {
            assert_eq!(whole.expect("a state").state.sequence, 2);
            None
        }
        Err(Unread::Damaged(why)) => Some(why),
        Err(why) => panic!("{why}"),
    }
}

/// A record of these steps that says of a round's end what it should not.
fn record_that_claims(specification: &Specification, steps: Range<u64>, round: Option<u64>) -> Record {
    let mut record = record_of(specification, steps);
    record.ends_round = round.is_some();
    record.progress.last = round.map(round_summary).or(record.progress.last);
    record
}

#[test]
fn a_ledger_whose_blocks_claim_a_round_at_the_wrong_step_is_refused() {
    let (early, missing) =
        ("tells of a round after 3 entries of round 1", "tells of a round after 5 entries of round 1");
    type Case<'a> = (&'a [(Range<u64>, Option<u64>)], Option<&'a str>);
    let cases: [Case<'_>; 7] = [
        (&[(0..3, None), (3..5, Some(1))], None),
        (&[(0..3, Some(1)), (3..5, None)], Some(early)),
        (&[(0..3, Some(1)), (3..5, Some(1))], Some(early)),
        (&[(0..5, None), (5..6, None)], Some(missing)),
        (&[(0..5, Some(2)), (5..6, None)], Some(missing)),
        (&[(0..6, Some(1))], Some("not of whole steps of one round")),
        (&[(0..6, None)], Some("not of whole steps of one round")),
    ];
    for (records, due) in cases {
        let why = refusal(1, |specification| {
            let claimed = records.iter().map(|(steps, round)| record_that_claims(specification, steps.clone(), *round));
            claimed.collect()
        });
        let is_due = match due {
            Some(due) => why.as_ref().is_some_and(|why| why.contains(due)),
            None => why.is_none(),
        };
        assert!(is_due, "{records:?}: {why:?}");
    }
}

#[test]
fn a_ledger_that_is_not_of_its_jobs_steps_is_refused() {
    let changed = |local_steps, change: fn(&Specification, &mut Vec<Record>)| {
        refusal(local_steps, |specification| {
            let mut records: Vec<Record> = [0..2, 2..3].map(|steps| record_of(specification, steps)).into();
            change(specification, &mut records);
            records
        })
        .unwrap_or_default()
    };
    assert_eq!(changed(1, |_, _| {}), "");
    assert_eq!(changed(4, |_, _| {}), "");
    let half = changed(4, |_, records| records[0].entries.truncate(3));
    assert!(half.contains("not of whole steps"), "{half}");
    let more = changed(1, |specification, records| records[1].entries.extend(entries_of(specification, 3)));
    assert!(more.contains("its ledger has 4 entries, and 3 are due"), "{more}");
    let twice = changed(1, |_, records| records[0].entries.truncate(1));
    assert!(twice.contains("has a step twice"), "{twice}");
    let of_task = changed(1, |_, records| records[0].entries[1].result = EntryResult::Skipped);
    assert!(of_task.contains("another kind of job"), "{of_task}");
    let of_step = changed(4, |specification, records| {
        let mut gradients = specification.clone();
        gradients.training.recipe.local_steps = Some(1);
        records[1].entries[1] = entries_of(&gradients, 2).remove(0);
    });
    assert!(of_step.contains("another kind of job"), "{of_step}");
}

/// A state of a job of merged gradients after so many steps, and what is changed in it, sealed again.
fn state_with(steps: u64, change: impl FnOnce(&mut Progress)) -> Result<Decoded, StateError> {
    let job = JobId(7);
    let root = scratch();
    let mut harness = Harness::open(root.path());
    let specification = begin(&mut harness, job, 1);
    write(&mut harness, job, &specification, 0..steps);
    let mut state = harness.writer.writers[&job].state.clone();
    change(state.progress.as_mut().expect("progress"));
    StoredState::decode(&state.encode(Some(&weights_after(&specification, steps)), None, None).parts().concat())
}

#[test]
fn progress_that_contradicts_itself_is_refused() {
    let refused = |steps, change: fn(&mut Progress)| match state_with(steps, change) {
        Ok(_) => String::new(),
        Err(why) => why.to_string(),
    };
    for steps in [3, 5, 7] {
        assert_eq!(refused(steps, |_| {}), "");
    }
    type Change = (u64, &'static str, fn(&mut Progress));
    let changes: [Change; 14] = [
        (3, "step 0 of 30, round 0 of 6", |progress| progress.steps = 0),
        (3, "3 updates", |progress| progress.steps = 4),
        (3, "step 5 of 30, round 0 of 6", |progress| progress.steps = 5),
        (3, "step 31 of 30, round 0 of 6", |progress| progress.steps = 31),
        (3, "step 3 of 30, round 1 of 6", |progress| progress.last = Some(round_summary(1))),
        (7, "step 7 of 30, round 0 of 6", |progress| progress.last = None),
        (7, "counted from 1", |progress| progress.last.as_mut().unwrap().round = 0),
        (5, "has just ended", |progress| progress.so_far.loss = 0.5),
        (5, "has just ended", |progress| progress.so_far.loss = -0.0),
        (5, "has just ended", |progress| progress.so_far.rows = 1),
        (5, "has just ended", |progress| progress.so_far.merged = 1),
        (5, "has just ended", |progress| progress.so_far.skipped = 1),
        (5, "has just ended", |progress| progress.so_far.us = 1),
        (5, "has just ended", |progress| progress.so_far.nodes.push("node-a".to_owned())),
    ];
    for (steps, due, change) in changes {
        let why = refused(steps, change);
        assert!(why.contains(due), "{due:?}: {why:?}");
    }
}
