//! The journal on a real directory: what is written is read back, and what is damaged is never taken for something else.

mod checkpoints;
mod damage;
mod descriptors;
mod fetched;
mod heard;
mod job_writer;
mod lives;
mod memory;
mod orders;
mod pages;
mod power_cuts;
mod recall;
mod second_copies;
mod steps;
mod unwritten;
mod within_rounds;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, unbounded};
use tempfile::TempDir;

use super::archive::Archive;
use super::command::{JobMemory, JournalCommand, JournalEvent, Keeping, OnDiskError, Restored};
use super::directory::{Directory, OpenError};
use super::ledger::{self, Extent};
use super::shelved::Absent;
use super::state::StoredState;
use super::underway::Underway;
use super::writer::{KEPT_WEIGHTS_BYTES_MAX, TAIL_BYTES_MAX, Writer};
use crate::coordinator::data::objects_of;
use crate::coordinator::event::DriverEvent;
use crate::coordinator::threads::{FatalError, Threads};
use crate::coordinator::work::Weights;
use crate::digest::Digest;
use crate::job::memory::CoordinatorMeans;
use crate::job::{
    Best, EntryResult, FailKind, Failure, JobId, JobState, JobStatus, LedgerEntry, MergedTask, Metric, Metrics,
    NodeTasks, Operation, Profile, Progress, Record, RoundSoFar, RoundSummary, RowsRef, Specification,
};
use crate::model::{ARITHMETIC, Merge, Network, Outer, OuterOptimiser, OuterState, Recipe, Training};
use crate::store::Store;
use crate::wire::object::{self, ObjectKind};

const ROUNDS: u32 = 6;
const SHARDS: u32 = 2;

/// A journal at work, without its thread.
struct Harness {
    writer: Writer,
    store: Arc<Store>,
    told: Receiver<DriverEvent>,
    failed: Receiver<FatalError>,
}

impl Harness {
    fn open(root: &Path) -> Harness {
        Harness::of(Directory::open(root).expect("a directory for the journal"))
    }

    fn of(directory: Directory) -> Harness {
        let directory = Arc::new(directory);
        let store = Arc::new(Store::new(u64::MAX));
        let (inputs, told) = unbounded();
        let (threads, failed) = Threads::new();
        let archive = Arc::new(Archive::new(Some(directory.clone())));
        let keeping = Keeping {
            underway: Underway::new(Some(directory.clone())),
            directory: Some(directory),
            on_disk_error: OnDiskError::Stop,
            ended_bytes_max: u64::MAX,
            memory: JobMemory {
                allowed_bytes: u64::MAX,
                means: CoordinatorMeans { in_flight_bytes: 0, is_journaled: true },
            },
        };
        let mut writer = Writer::new(keeping, store.clone(), inputs, threads, archive);
        // Small: the ledger's own file is in use from the second round on.
        writer.tail_bytes_max = 600;
        Harness { writer, store, told, failed }
    }

    fn order(&mut self, order: JournalCommand) {
        self.writer.begins_job = false;
        let written = self.writer.take(order).and_then(|()| self.writer.flush());
        assert!(written.is_ok(), "{:?}", self.failed.try_recv());
    }

    fn recover(&mut self) -> Vec<Restored> {
        self.writer.recover().expect("the directory can be listed")
    }

    fn begin(&mut self, job: JobId) {
        let specification = Arc::new(specification(job, &self.store));
        self.order(JournalCommand::Begin { status: status(job, &specification), specification });
    }

    fn round(&mut self, job: JobId, round: u32) {
        self.order(round_order(job, round));
    }

    /// What was told since the last time: which jobs are durable, up to which round and in which state, and which one is to go.
    fn heard(&self) -> (Vec<(JobId, u32, JobState)>, Option<JobId>) {
        let (mut durable, mut named) = (Vec::new(), Vec::new());
        for told in self.told.try_iter() {
            match told {
                DriverEvent::Journal(JournalEvent::Durable { job, rounds, state, .. }) => {
                    durable.push((job, rounds, state))
                }
                DriverEvent::Journal(JournalEvent::TooMuch { job }) => named.push(job),
                _ => {}
            }
        }
        assert!(named.len() <= 1, "{named:?}");
        (durable, named.first().copied())
    }

    /// The job that is to go, if it was named since the last time.
    fn too_much(&self) -> Option<JobId> {
        self.heard().1
    }

    fn end(&mut self, job: JobId) {
        self.end_after(job, ROUNDS);
    }

    /// The job is given up after so many rounds.
    fn end_after(&mut self, job: JobId, rounds: u32) {
        let end = self.end_order(job, rounds);
        self.order(end);
    }

    fn end_order(&self, job: JobId, rounds: u32) -> JournalCommand {
        let specification = self.writer.archive.specification(job).expect("a job that has begun");
        let mut status = status(job, &specification);
        status.state = JobState::Failed;
        status.failure = failure(FailKind::TaskFailed, "shard 1 failed everywhere");
        status.rounds_done = rounds;
        status.weights = (rounds > 0).then(|| weights(job, rounds).digest);
        // One after the other, whatever the wall clock says.
        status.ended_ms = 9_000 - job.0 as u64;
        let lived_ms = 9_000 + job.0 as u64;
        JournalCommand::End { status, summary: None, confusion: None, lived_ms }
    }
}

pub(super) fn specification(job: JobId, store: &Store) -> Specification {
    let rows = |label: u32| {
        let bytes = object::encode_rows(1, &[job.0 as f32, 1.0], &[label, 1]);
        let digest = Digest::of(&bytes);
        store.insert(digest, Arc::new(bytes));
        RowsRef { rows: 2, digest }
    };
    Specification {
        patience: keeps_best(job).then_some(ROUNDS),
        target_accuracy: None,
        test: None,
        training: Training {
            arithmetic: ARITHMETIC,
            network: Network::new(1, &[], 2).expect("a small network"),
            recipe: Recipe::DEFAULT,
            seed: job.0 as u64,
            class_weights: Vec::new(),
        },
        rounds: ROUNDS,
        round_steps: None,
        shards: (0..SHARDS).map(|_| rows(0)).collect(),
        validation: rows(1),
        merge: Merge::Mean,
        outer: outer(job),
        initial: None,
        operation: Operation::default(),
        notes: b"notes".to_vec(),
    }
}

/// Some jobs keep the weights of their best round, which is the first: no later one is better.
fn keeps_best(job: JobId) -> bool {
    job.0 % 4 >= 2
}

/// Every other job has an outer optimiser that remembers something.
fn outer(job: JobId) -> Outer {
    let optimiser = if job.0.is_multiple_of(2) { OuterOptimiser::Average } else { OuterOptimiser::Adam };
    Outer { optimiser, ..Outer::AVERAGE }
}

fn failure(kind: FailKind, text: &str) -> Option<Failure> {
    Some(Failure { kind, text: text.to_owned() })
}

fn paused(job: JobId) -> JournalCommand {
    JournalCommand::Pause { job, failure: Failure { kind: FailKind::Paused, text: "no node".to_owned() } }
}

fn status(job: JobId, specification: &Specification) -> JobStatus {
    JobStatus {
        job,
        state: JobState::Queued,
        failure: None,
        rounds_done: 0,
        rounds: specification.rounds,
        queue_position: 0,
        submitted_ms: 1_000,
        ended_ms: 0,
        fingerprint: None,
        weights: None,
    }
}

/// The weights after a round; those of another round are others.
fn weights(job: JobId, round: u32) -> Weights {
    let network = Network::new(1, &[], 2).expect("a small network");
    let bytes = object::encode_parameters(ObjectKind::Weights, &network, &[round as f32, job.0 as f32, 0.5, -0.5]);
    let outer = outer(job);
    let updates = outer.updates_within(round.into(), ROUNDS.into());
    let count = if updates > 0 { outer.optimiser.state_vectors() } else { 0 };
    let vectors = vec![round as u8; 4 * network.parameters() * count];
    let state =
        OuterState::restored(&outer, network.parameters(), updates..=updates, updates, &vectors).expect("a state");
    Weights { digest: Digest::of(&bytes), bytes: Arc::new(bytes), outer: Arc::new(state) }
}

fn round_order(job: JobId, round: u32) -> JournalCommand {
    let last = RoundSummary {
        round,
        rounds: ROUNDS,
        loss: 1.0 / f64::from(round),
        rows: 2,
        metrics: Metrics::default().with(Metric::Loss, 0.5).with(Metric::Errors, 1.0),
        nodes: 1,
        merged: SHARDS - 1,
        skipped: 1,
        round_us: 70,
    };
    let update = Digest::of(&round.to_le_bytes());
    let task = MergedTask { node: "node-a".to_owned(), attempt: round, loss: 0.25, update };
    let progress = Progress {
        best: keeps_best(job)
            .then(|| Best { round: RoundSummary { round: 1, loss: 1.0, ..last }, weights: weights(job, 1).digest }),
        steps: round.into(),
        last: Some(last),
        so_far: RoundSoFar::default(),
        base: weights(job, round).digest,
        merged: u64::from(round),
        skipped: u64::from(round),
        reproducible: false,
        duplicates: 3,
        nodes: vec![NodeTasks { node: "node-a".to_owned(), tasks: u64::from(round) }],
        revivals: 2,
        profile: Profile { compute_us: 70 * u64::from(round), ..Profile::default() },
        validating_us: 5,
        training_us: 11 * u64::from(round),
    };
    let entry = |result| LedgerEntry { rows: 2, base: weights(job, round - 1).digest, result };
    let entries = vec![entry(EntryResult::Merged(task)), entry(EntryResult::Skipped)];
    let record = Record { entries, ends_round: true, progress };
    JournalCommand::Steps { job, record: Box::new(record), weights: Some(weights(job, round).into()) }
}

/// What is told of a job's rounds after this one, as far as its ledger is whole.
fn rounds_after(archive: &Archive, job: JobId, rounds_seen: u32) -> Vec<RoundSummary> {
    let mut bookmark = archive.bookmark(job, rounds_seen).expect("a job");
    std::iter::from_fn(|| archive.rounds_behind(&mut bookmark).ok().flatten()).flatten().collect()
}

/// What must be so of a job that is restored after this round, whatever has happened to its files.
fn assert_is_after(restored: &Restored, job: JobId, round: u32) {
    let JournalCommand::Steps { record, .. } = round_order(job, round) else { unreachable!() };
    assert_eq!(restored.state.progress, Some(record.progress));
    assert_eq!(restored.state.specification.training.seed, job.0 as u64);
    assert_eq!(restored.state.specification.notes, b"notes");
    if restored.state.status.ended_ms == 0 {
        let rounds: Vec<u32> = restored.rounds.iter().map(|round| round.round).collect();
        assert_eq!(rounds, (1..=round).collect::<Vec<_>>());
        let found = restored.weights.as_ref().expect("weights");
        let Weights { digest, bytes, outer } = weights(job, round);
        assert_eq!((found.digest, &found.bytes, &found.outer), (digest, &bytes, &outer));
        let best = keeps_best(job).then(|| weights(job, 1));
        assert_eq!(restored.best, best.map(|best| (best.digest, best.bytes)));
        for (digest, bytes) in &restored.objects {
            assert_eq!(*digest, Digest::of(bytes));
        }
    }
}

fn entries(archive: &Archive, job: JobId) -> Vec<(u32, bool)> {
    let entries = archive.entries(job, 0, usize::MAX).expect("a ledger");
    assert_eq!(entries.total, entries.entries.len() as u64);
    entries
        .entries
        .iter()
        .map(|entry| (entry.merged().map_or(0, |task| task.attempt), entry.merged().is_some()))
        .collect()
}

#[test]
fn a_job_is_read_back_as_it_was_after_each_round() {
    let root = TempDir::new().unwrap();
    let job = JobId(7);
    let mut harness = Harness::open(root.path());
    assert!(harness.recover().is_empty());
    harness.begin(job);
    for round in 1..=ROUNDS {
        harness.round(job, round);
        drop(harness);
        harness = Harness::open(root.path());
        let restored = harness.recover();
        assert_eq!(restored.len(), 1);
        assert_is_after(&restored[0], job, round);
        assert_eq!(restored[0].objects.len(), 2, "two shards of the same bytes, and the validation data");
        for (digest, bytes) in &restored[0].objects {
            harness.store.insert(*digest, bytes.clone());
        }
        let expected: Vec<_> = (1..=round).flat_map(|round| [(round, true), (0, false)]).collect();
        assert_eq!(entries(&harness.writer.archive, job), expected);
    }
}

#[test]
fn the_first_round_of_a_job_is_written_without_a_rest_before_it_and_the_others_are_not() {
    let directory = scratch();
    let mut harness = Harness::open(directory.path());
    let took = Duration::from_millis(70);
    for job in [JobId(1), JobId(2)] {
        harness.begin(job);
        assert_eq!(harness.writer.rest_after(took), Duration::ZERO);
        for round in 1..=2 {
            harness.round(job, round);
            assert_eq!(harness.writer.rest_after(took), took);
        }
    }
}

#[test]
fn a_job_that_has_ended_is_read_where_it_is_written_and_forgotten_without_a_trace() {
    let root = TempDir::new().unwrap();
    let (job, other) = (JobId(1), JobId(2));
    let mut harness = Harness::open(root.path());
    for job in [job, other] {
        harness.begin(job);
        (1..=ROUNDS).for_each(|round| harness.round(job, round));
    }
    harness.end(job);
    assert!(!harness.writer.writers.contains_key(&job));
    drop(harness);
    let mut harness = Harness::open(root.path());
    let restored = harness.recover();
    let ids: Vec<JobId> = restored.iter().map(|job| job.state.job()).collect();
    assert_eq!(ids, [other, job], "what has not ended, then what has");
    assert_is_after(&restored[1], job, ROUNDS);
    assert_eq!(restored[1].state.status.failure, failure(FailKind::TaskFailed, "shard 1 failed everywhere"));
    let archive = harness.writer.archive.clone();
    assert_eq!(rounds_after(&archive, job, 0).len(), ROUNDS as usize);
    assert_eq!(entries(&archive, job).len(), (ROUNDS * SHARDS) as usize);
    assert_eq!(archive.object(&weights(job, ROUNDS).digest), Some((*weights(job, ROUNDS).bytes).clone()));
    assert_eq!(archive.object(&weights(job, 2).digest), Some((*weights(job, 2).bytes).clone()), "of a round before");
    let data = restored[1].state.specification.validation.digest;
    assert!(archive.object(&data).is_some());
    harness.order(JournalCommand::Forget { job });
    assert_eq!(archive.specification(job).unwrap_err(), Absent::Unknown);
    assert_eq!(archive.entries(job, 0, 9).unwrap_err(), Absent::Unknown);
    assert!(archive.object(&weights(job, ROUNDS).digest).is_none());
    assert!(archive.object(&data).is_none());
    assert!(archive.specification(other).is_ok());
    assert!(!root.path().join("jobs").join(job.to_string()).exists());
}

#[test]
fn a_job_that_ends_before_it_is_written_and_takes_its_data_along_is_written_with_its_end() {
    let root = TempDir::new().unwrap();
    let job = JobId(9);
    let mut harness = Harness::open(root.path());
    let specification = Arc::new(specification(job, &Store::new(u64::MAX)));
    let mut status = status(job, &specification);
    harness.order(JournalCommand::Begin { status: status.clone(), specification });
    assert!(!root.path().join("jobs").join(job.to_string()).exists());
    (status.state, status.ended_ms) = (JobState::Cancelled, 9_000);
    status.failure = Some(Failure::cancelled());
    harness.order(JournalCommand::End { status, summary: None, confusion: None, lived_ms: 1 });
    drop(harness);
    let restored = Harness::open(root.path()).recover();
    assert_eq!(restored[0].state.status.state, JobState::Cancelled);
}

#[test]
fn what_jobs_that_have_ended_take_is_what_their_files_have_and_the_first_goes_where_it_is_too_much() {
    let root = TempDir::new().unwrap();
    let mut harness = Harness::open(root.path());
    let jobs = [1, 2, 3].map(JobId);
    let open = JobId(4);
    for job in [jobs[0], jobs[1], jobs[2], open] {
        harness.begin(job);
        (1..=ROUNDS).for_each(|round| harness.round(job, round));
    }
    harness.order(paused(open));
    jobs.iter().for_each(|&job| harness.end(job));
    // Every file but those of the job that is paused, and what is no job's.
    let bytes_there = |files: &Files| -> u64 {
        let needed = objects_of(&specification(open, &Store::new(u64::MAX)));
        let of_open: Vec<String> = needed.keys().map(Digest::to_string).collect();
        let is_ended = |path: &Path| {
            let path = path.to_str().unwrap();
            !path.contains(&open.to_string())
                && !of_open.iter().any(|object| path.ends_with(object))
                && path.contains('/')
        };
        files.iter().filter(|(path, _)| is_ended(path)).map(|(_, bytes)| bytes.len() as u64).sum()
    };
    let bytes = harness.writer.retention.ended_bytes();
    assert_eq!(bytes, bytes_there(&read_all(root.path())));
    assert_eq!(harness.too_much(), None);
    drop(harness);
    let mut harness = Harness::open(root.path());
    assert_eq!(harness.recover().len(), 4);
    assert_eq!(harness.writer.retention.ended_bytes(), bytes, "after a restart, too");
    // One byte too many, and what then is as much as one of them takes.
    harness.writer.ended_bytes_max = bytes - 1;
    harness.writer.expire();
    assert_eq!(harness.too_much(), Some(jobs[0]));
    harness.order(JournalCommand::Forget { job: jobs[0] });
    assert_eq!(harness.writer.retention.ended_bytes(), bytes_there(&read_all(root.path())));
    assert_eq!(harness.too_much(), None, "two are not too much");
    harness.writer.ended_bytes_max = 1;
    harness.writer.expire();
    assert_eq!(harness.too_much(), Some(jobs[1]));
    harness.order(JournalCommand::Forget { job: jobs[1] });
    assert_eq!(harness.too_much(), None, "the last one stays, and what is paused does not count");
    drop(harness);
    let ids: Vec<JobId> = Harness::open(root.path()).recover().iter().map(|job| job.state.job()).collect();
    assert_eq!(ids, [open, jobs[2]]);
}

#[test]
fn an_end_survives_the_loss_of_either_state() {
    for generation in [0, 1] {
        let root = TempDir::new().unwrap();
        let job = JobId(9);
        let mut harness = Harness::open(root.path());
        harness.begin(job);
        (1..=ROUNDS).for_each(|round| harness.round(job, round));
        harness.end(job);
        drop(harness);
        let state = root.path().join("jobs").join(job.to_string()).join(format!("state-{generation}"));
        std::fs::write(&state, "nonsense").unwrap();
        let restored = Harness::open(root.path()).recover();
        assert_eq!(restored[0].state.status.state, JobState::Failed, "state-{generation}");
        assert_is_after(&restored[0], job, ROUNDS);
    }
}

#[test]
fn a_job_that_the_disk_does_not_give_is_left_as_it_is() {
    let root = TempDir::new().unwrap();
    let job = JobId(8);
    let mut harness = Harness::open(root.path());
    harness.begin(job);
    harness.round(job, 1);
    drop(harness);
    let directory = root.path().join("jobs").join(job.to_string());
    let state = directory.join("state-0");
    // A directory in a file's place cannot be read as one.
    let (away, other) = (root.path().join("away"), directory.join("state-1"));
    std::fs::rename(&state, &away).unwrap();
    for state in [&state, &other] {
        let _ = std::fs::remove_file(state);
        std::fs::create_dir(state).unwrap();
    }
    let mut harness = Harness::open(root.path());
    let beside = JobId(9);
    assert!(harness.recover().is_empty());
    // Whoever asks for it hears which file, and what to do, and not that it is unknown.
    let Err(Absent::Unread(text)) = harness.writer.archive.specification(job) else {
        panic!("it is known, or unknown")
    };
    for words in [state.to_str().unwrap(), other.to_str().unwrap(), "Start the coordinator again"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert_eq!(harness.writer.archive.absent(job), Absent::Unread(text));
    assert_eq!(harness.writer.archive.absent(beside), Absent::Unknown);
    // A job with the same data comes and goes beside it: nobody knows that the data is needed still, and it stays.
    let specification = Arc::new(specification(job, &harness.store));
    harness.order(JournalCommand::Begin { status: status(beside, &specification), specification });
    harness.order(JournalCommand::Forget { job: beside });
    drop(harness);
    for state in [&state, &other] {
        std::fs::remove_dir(state).unwrap();
    }
    std::fs::rename(&away, &state).unwrap();
    let restored = Harness::open(root.path()).recover();
    assert_is_after(&restored[0], job, 1);
    assert!(!restored[0].objects.is_empty(), "its data is still there");
}

#[test]
fn a_job_begun_in_another_arithmetic_is_left_with_a_sentence_and_one_that_ended_in_it_is_known() {
    let root = TempDir::new().unwrap();
    let mut harness = Harness::open(root.path());
    let (open, ended) = (JobId(3), JobId(4));
    for job in [open, ended] {
        let mut specification = specification(job, &harness.store);
        specification.training.arithmetic = 1;
        let specification = Arc::new(specification);
        harness.order(JournalCommand::Begin { status: status(job, &specification), specification });
        (1..=ROUNDS).for_each(|round| harness.round(job, round));
    }
    harness.end(ended);
    drop(harness);
    let mut harness = Harness::open(root.path());
    let restored = harness.recover();
    assert_eq!(restored.iter().map(|job| job.state.job()).collect::<Vec<_>>(), [ended]);
    assert!(harness.writer.archive.specification(ended).is_ok());
    let Absent::Unread(text) = harness.writer.archive.absent(open) else { panic!("it is known, or unknown") };
    for words in ["begun in arithmetic 1", &format!("computes arithmetic {ARITHMETIC}"), "submit its data again"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    drop(harness);
    assert!(Directory::open(root.path()).unwrap().job(open).is_dir(), "its files are left alone");
}

#[test]
fn a_paused_job_is_paused_after_a_restart_and_resumed_is_not() {
    let root = TempDir::new().unwrap();
    let job = JobId(3);
    let mut harness = Harness::open(root.path());
    harness.begin(job);
    harness.round(job, 1);
    harness.order(paused(job));
    drop(harness);
    let mut harness = Harness::open(root.path());
    let restored = harness.recover();
    assert_eq!(restored[0].state.status.state, JobState::Paused);
    assert_is_after(&restored[0], job, 1);
    let later = JobId(4);
    harness.begin(later);
    harness.order(JournalCommand::Resume { job });
    drop(harness);
    let restored = Harness::open(root.path()).recover();
    let ids: Vec<JobId> = restored.iter().map(|job| job.state.job()).collect();
    assert_eq!(ids, [later, job], "it waits behind who came meanwhile");
    let restored = &restored[1..];
    assert_eq!((restored[0].state.status.state, &restored[0].state.status.failure), (JobState::Queued, &None));
    assert_is_after(&restored[0], job, 1);
}

#[test]
fn a_ledger_is_told_page_by_page() {
    let root = TempDir::new().unwrap();
    let job = JobId(4);
    let mut harness = Harness::open(root.path());
    harness.begin(job);
    (1..=ROUNDS).for_each(|round| harness.round(job, round));
    let archive = &harness.writer.archive;
    let mut first = 0;
    let mut seen = Vec::new();
    while let page = archive.entries(job, first, 5).unwrap()
        && !page.entries.is_empty()
    {
        assert_eq!((page.first, page.total, page.shards), (first, u64::from(ROUNDS * SHARDS), SHARDS));
        first += page.entries.len() as u64;
        seen.extend(page.entries.iter().map(|entry| entry.base));
    }
    let bases: Vec<Digest> = (0..ROUNDS).flat_map(|round| [weights(job, round).digest; 2]).collect();
    assert_eq!(seen, bases);
}

#[test]
fn weights_that_two_jobs_have_are_found_with_the_first_of_them() {
    let root = TempDir::new().unwrap();
    let (first, second) = (JobId(1), JobId(2));
    let Weights { digest, bytes, .. } = weights(first, 1);
    let harness = Harness::open(root.path());
    let (archive, directory) = (&harness.writer.archive, harness.writer.directory.as_ref().unwrap());
    assert!(archive.keep(first, digest));
    directory.put_weights(first, &digest, &bytes).unwrap();
    assert!(!archive.keep(second, digest), "they are written once");
    archive.forget(second);
    assert_eq!(archive.object(&digest), Some((*bytes).clone()));
}

#[test]
fn the_last_weights_of_two_equal_jobs_are_found_while_either_is_kept() {
    let (first, second, digest) = (JobId(1), JobId(2), Digest([7; 32]));
    let archive = Archive::new(None);
    for (forgotten, other) in [(first, second), (second, first)] {
        [first, second].iter().for_each(|job| archive.unshelve(*job, Some(digest)));
        archive.forget(forgotten);
        assert_eq!(archive.owners(&digest), (None, Some(other)));
        archive.forget(other);
        assert_eq!(archive.owners(&digest), (None, None));
    }
}

#[test]
fn a_start_counts_the_weights_that_are_kept_and_removes_what_is_not_whole() {
    let root = TempDir::new().unwrap();
    let job = JobId(9);
    let mut harness = Harness::open(root.path());
    harness.begin(job);
    (1..=3).for_each(|round| harness.round(job, round));
    let kept_bytes = harness.writer.writers[&job].kept_bytes;
    assert_eq!(kept_bytes, 3 * weights(job, 1).bytes.len() as u64);
    drop(harness);
    let part = root.path().join("jobs").join(job.to_string()).join("weights").join("half.part");
    let foreign = root.path().join("objects").join("README");
    for path in [&part, &foreign] {
        std::fs::write(path, "something").unwrap();
    }
    let mut harness = Harness::open(root.path());
    harness.recover();
    assert_eq!(harness.writer.writers[&job].kept_bytes, kept_bytes);
    assert!(!part.exists());
    assert!(foreign.exists(), "what is somebody else's is left alone");
}

#[test]
fn two_coordinators_do_not_share_a_directory() {
    let root = TempDir::new().unwrap();
    let _desk = Harness::open(root.path());
    let refused = Directory::open(root.path()).unwrap_err();
    assert!(matches!(refused, OpenError::Locked(_)) && refused.to_string().contains("--state-dir"), "{refused}");
}

#[test]
fn a_directory_of_another_version_or_of_something_else_is_refused_and_left_as_it_is() {
    for format in ["gradwire journal 7\n", "gradwire journal 9\n", "gradwire journal 8", ""] {
        let root = TempDir::new().unwrap();
        let mut harness = Harness::open(root.path());
        harness.begin(JobId(3));
        harness.round(JobId(3), 1);
        drop(harness);
        std::fs::write(root.path().join("FORMAT"), format).unwrap();
        let before = read_all(root.path());
        let refused = Directory::open(root.path()).unwrap_err().to_string();
        let [path, got] = [root.path().join("FORMAT").display().to_string(), format!("says {:?}", format.trim_end())];
        assert!(refused.contains(&path) && refused.contains(&got) && refused.contains("--state-dir"), "{refused}");
        assert_eq!(read_all(root.path()), before);
    }
}

/// The files of a journal, to be damaged.
type Files = Vec<(PathBuf, Vec<u8>)>;

fn read_all(root: &Path) -> Files {
    let mut files = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                let inside = path.strip_prefix(root).unwrap().to_owned();
                files.push((inside, std::fs::read(&path).unwrap()));
            }
        }
    }
    files.sort();
    files
}

fn write_all(root: &Path, files: &Files) {
    for (inside, bytes) in files {
        let path = root.join(inside);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

/// A directory in memory, where there is such a thing: ten thousand journals on a disk take a minute.
fn scratch() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap()
}
