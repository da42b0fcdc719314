//! A job that is being written: its state, the end of its ledger, and what is written of them when. Owns a job's part of the
//! journal; does not know which jobs there are, or who waits for what.

use std::sync::Arc;

use super::directory::Directory;
use super::ledger::{self, Block, Extent, Start, Written};
use super::reading;
use super::shelved::Shelved;
use super::state::StoredState;
use crate::coordinator::work::{BestWeights, Weights};
use crate::digest::Digest;
use crate::disk::DiskError;
use crate::job::{JobId, JobState, JobStatus, Record, Specification, Summary};
use crate::wire::object;

/// A job that is being written.
pub(in super::super) struct JobWriter {
    pub(super) state: StoredState,
    /// Where the blocks in the ledger's file begin.
    starts: Arc<Vec<Start>>,
    /// The ledger's blocks behind its file.
    tail: Arc<Vec<Written>>,
    /// The seal of the last of them.
    seal: Digest,
    /// The weights after its last step, until they are written: the merge wants their memory.
    pub(super) weights: Option<Weights>,
    /// Those of its best round, if it has a patience: whoever answers for the job holds them, too.
    best: Option<BestWeights>,
    /// Which class its rows were taken for, once it is done.
    confusion: Option<Arc<Vec<u8>>>,
    /// Of checkpoints that are kept beside the state.
    pub(super) kept_bytes: u64,
    /// The step of the last of them, or that from which on they are kept.
    kept_at: u64,
    /// Of the last state that was written.
    state_bytes: u64,
    /// Whether its data is written.
    pub(super) has_begun: bool,
    /// Whether the state on the disk is an older one.
    pub(super) is_dirty: bool,
}

impl JobWriter {
    /// Nothing of it is written yet.
    pub(super) fn new(state: StoredState, weights: Option<Weights>, best: Option<BestWeights>) -> JobWriter {
        JobWriter {
            starts: Arc::default(),
            tail: Arc::default(),
            seal: state.ledger.seal,
            state,
            weights,
            best,
            confusion: None,
            kept_bytes: 0,
            kept_at: 0,
            state_bytes: 0,
            has_begun: false,
            is_dirty: true,
        }
    }

    /// Goes on behind what is written.
    pub(super) fn resume(&mut self, starts: Vec<Start>) {
        let tail = std::mem::take(&mut self.state.tail);
        self.starts = Arc::new(starts);
        self.tail = Arc::new(ledger::split(&tail, self.state.ledger.seal));
        if let Some(last) = self.tail.last() {
            self.seal = ledger::last_seal(&last.bytes);
        }
        if self.state.status.state == JobState::Running {
            self.state.status.state = JobState::Queued;
        }
        // Nobody remembers where the last checkpoint was.
        self.kept_at = self.steps_done();
        self.has_begun = true;
        self.is_dirty = false;
    }

    /// Some steps are done: they get a block.
    pub(super) fn steps(&mut self, record: Record, weights: Option<Weights>) {
        let Record { entries, ends_round, progress } = record;
        let first = self.state.entries();
        let state = &mut self.state;
        let mut bytes = Vec::new();
        let round = progress.last.filter(|_| ends_round);
        let block = Block { round, first, of_step: state.specification.step_entries(), entries };
        self.seal = ledger::append(&mut bytes, block, &self.seal);
        Arc::make_mut(&mut self.tail).push(Written { first, bytes: Arc::new(bytes) });
        state.status.state = JobState::Running;
        state.status.rounds_done = progress.rounds_done();
        if let (Some(best), Some(weights)) = (&progress.best, &weights)
            && best.weights == weights.digest
        {
            self.best = Some((weights.digest, weights.bytes.clone()));
        }
        state.progress = Some(progress);
        self.weights = weights;
        self.is_dirty = true;
    }

    /// It has ended; if it is done, with this summary and the object that this names.
    pub(super) fn end(
        &mut self,
        status: JobStatus,
        summary: Option<Box<Summary>>,
        confusion: Option<Arc<Vec<u8>>>,
        lived_ms: u64,
    ) {
        (self.state.status, self.state.lived_ms, self.state.summary) = (status, lived_ms, summary);
        self.confusion = confusion;
        self.is_dirty = true;
    }

    /// It is paused, and written as that: nobody answers for its weights from memory any more.
    pub(super) fn put_down(&mut self) {
        self.best = None;
    }

    /// Steps that are done.
    fn steps_done(&self) -> u64 {
        self.state.progress.as_ref().map_or(0, |progress| progress.steps)
    }

    /// Whether a checkpoint has what the outer optimiser remembers.
    pub(super) fn keeps_outer(&self) -> bool {
        self.state.specification.training.recipe.merges_gradients()
    }

    /// What a checkpoint has: weights, and what the outer optimiser remembers.
    pub(super) fn checkpoint_bytes(&self) -> u64 {
        let Specification { training, outer, .. } = &*self.state.specification;
        let outer_bytes =
            if self.keeps_outer() { object::outer_bytes(outer, training.network.parameters()) } else { 0 };
        object::parameters_bytes(&training.network) + outer_bytes
    }

    /// Whether what the job starts from now is to be kept: checkpoints are as far apart as they must be for so many bytes to be
    /// enough for the whole job.
    pub(super) fn is_time_for_checkpoint(&self, bytes_max: u64) -> bool {
        let bytes = self.checkpoint_bytes();
        let distance = self.state.specification.steps() / (bytes_max / bytes + 1) + 1;
        self.steps_done() - self.kept_at >= distance && self.kept_bytes + bytes <= bytes_max
    }

    /// What the job starts from now is kept.
    pub(super) fn checkpoint_kept(&mut self) {
        self.kept_at = self.steps_done();
    }

    fn tail_bytes(&self) -> usize {
        self.tail.iter().map(|block| block.bytes.len()).sum()
    }

    /// Writes a state, and before it what is too long for the state's end of the ledger.
    pub(super) fn write(&mut self, job: JobId, directory: &Directory, tail_bytes_max: usize) -> Result<(), DiskError> {
        if self.tail_bytes() > tail_bytes_max {
            let blocks = in_one_piece(&self.tail);
            directory.write_ledger(job, self.state.ledger.bytes, &blocks)?;
            let starts = Arc::make_mut(&mut self.starts);
            let mut bytes = self.state.ledger.bytes;
            for block in std::mem::take(&mut self.tail).iter() {
                starts.push(Start { bytes, first: block.first });
                bytes += block.bytes.len() as u64;
            }
            self.state.ledger = Extent { bytes, seal: self.seal };
        }
        if self.weights.is_none()
            && let Some(progress) = &self.state.progress
        {
            // They are in the state before.
            let weights = reading::last_weights(directory, job, &progress.base);
            self.weights = Some(weights.ok_or_else(|| DiskError::missing(directory, job))?);
        }
        self.state.sequence += 1;
        self.state.tail = in_one_piece(&self.tail);
        let base = self.weights.as_ref().map(|weights| weights.digest);
        let named = self.state.progress.as_ref().and_then(|progress| progress.best).map(|best| best.weights);
        if named.is_some() && named != base && self.best.as_ref().map(|(digest, _)| *digest) != named {
            // A job that was left unread or is paused, and is written without having been read.
            let best = named.and_then(|named| reading::object_of(directory, job, &named).map(|bytes| (named, bytes)));
            self.best = Some(best.ok_or_else(|| DiskError::missing(directory, job))?);
        }
        let best = self.best.as_ref().filter(|(digest, _)| Some(*digest) != base).map(|(_, bytes)| &bytes[..]);
        let confusion = self.confusion.as_ref().map(|confusion| &confusion[..]);
        let encoded = self.state.encode(self.weights.as_ref(), best, confusion);
        let generation = (self.state.sequence % 2) as u8;
        self.state_bytes = encoded.bytes();
        directory.write_state(job, generation, &encoded.parts())
    }

    /// What the job's own files have: two states alike, once it has ended.
    pub(super) fn bytes(&self) -> u64 {
        2 * self.state_bytes + self.state.ledger.bytes + self.kept_bytes
    }

    /// What may be told of it, once it is written.
    pub(super) fn shelved(&self) -> Shelved {
        Shelved {
            specification: self.state.specification.clone(),
            ledger: self.state.ledger,
            starts: self.starts.clone(),
            tail: self.tail.clone(),
            entries: self.state.entries(),
        }
    }
}

fn in_one_piece(blocks: &[Written]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(blocks.iter().map(|block| block.bytes.len()).sum());
    blocks.iter().for_each(|block| bytes.extend_from_slice(&block.bytes));
    bytes
}
