//! What is read of a job that is written: the newest of its states that is whole, with its ledger. Owns the choice between
//! generations; a state is used only if every digest in it is right.

use std::fmt;
use std::sync::Arc;

use super::directory::Directory;
use super::ledger::{self, Block, Blocks, Extent, LedgerError};
use super::shelved::{Absent, Shelved};
use super::state::{Decoded, StoredState};
use crate::coordinator::work::Weights;
use crate::digest::Digest;
use crate::job::{JobId, RoundSummary};
use crate::wire::text::counted;

/// A state of a job that is whole, with its weights.
pub(super) struct Whole {
    pub(super) state: StoredState,
    pub(super) weights: Option<Weights>,
    pub(super) rounds: Vec<RoundSummary>,
    /// Where the blocks in the ledger's file begin.
    pub(super) starts: Vec<u64>,
    /// Bytes of its file.
    pub(super) state_bytes: u64,
    pub(super) generation: u8,
}

/// Why a job is not restored.
pub(super) enum Unread {
    /// What is there is not what was written.
    Damaged(String),
    /// The disk does not give it.
    Disk(String),
    /// It has not ended, and was begun in this arithmetic, which is not computed here.
    Arithmetic(u16),
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(why) | Self::Disk(why) => f.write_str(why),
            Self::Arithmetic(begun) => write!(f, "it was begun in arithmetic {begun}"),
        }
    }
}

/// The newest state of a job that is whole; none where there is no state at all.
pub(super) fn newest(directory: &Directory, job: JobId) -> Result<Option<Whole>, Unread> {
    let mut whole: Vec<Whole> = Vec::new();
    let (mut damaged, mut is_disk) = (Vec::new(), false);
    for generation in [0, 1] {
        match read_generation(directory, job, generation) {
            None => {}
            Some(Ok(state)) => whole.push(state),
            Some(Err(why)) => {
                is_disk |= matches!(why, Unread::Disk(_));
                damaged.push(format!("state-{generation} is refused: {why}"));
            }
        }
    }
    let newest = whole.into_iter().max_by_key(|whole| whole.state.sequence);
    match (newest, damaged.is_empty()) {
        (Some(whole), true) => Ok(Some(whole)),
        (Some(whole), false) => {
            log::warn!(
                "job {job}: {}; state-{}, after round {}, is used",
                damaged.join("; "),
                whole.generation,
                whole.state.status.rounds_done
            );
            Ok(Some(whole))
        }
        (None, true) => Ok(None),
        (None, false) if is_disk => Err(Unread::Disk(damaged.join("; "))),
        (None, false) => Err(Unread::Damaged(damaged.join("; "))),
    }
}

fn read_generation(directory: &Directory, job: JobId, generation: u8) -> Option<Result<Whole, Unread>> {
    let bytes = match directory.read_state(job, generation)? {
        Ok(bytes) => bytes,
        Err(error) => return Some(Err(Unread::Disk(error.to_string()))),
    };
    Some(check(directory, job, generation, bytes))
}

fn check(directory: &Directory, job: JobId, generation: u8, mut bytes: Vec<u8>) -> Result<Whole, Unread> {
    let state_bytes = bytes.len() as u64;
    let decoded = StoredState::decode(&bytes).map_err(|error| Unread::Damaged(error.to_string()))?;
    let Decoded { state, weights, outer } = decoded;
    if state.job() != job {
        return Err(Unread::Damaged(format!("it is of job {}", state.job())));
    }
    let (rounds, starts) = rounds(directory, &state)?;
    let rounds_done = state.progress.as_ref().map_or(0, |progress| progress.rounds_done());
    if rounds.len() != rounds_done as usize || state.status.rounds_done != rounds_done {
        return Err(Unread::Damaged(format!(
            "its ledger has {}, and {rounds_done} are done",
            counted(rounds.len() as u64, "round")
        )));
    }
    let weights = state.progress.as_ref().map(|progress| {
        bytes.truncate(weights.end);
        bytes.drain(..weights.start);
        Weights { digest: progress.base, bytes: Arc::new(bytes), outer: Arc::new(outer) }
    });
    if weights.as_ref().is_some_and(|weights| weights.bytes.is_empty()) {
        return Err(Unread::Damaged("its weights are missing".to_owned()));
    }
    Ok(Whole { state, weights, rounds, starts, state_bytes, generation })
}

/// What was told of the rounds in a state's ledger, if all of it is right, and where those in its file begin.
fn rounds(directory: &Directory, state: &StoredState) -> Result<(Vec<RoundSummary>, Vec<u64>), Unread> {
    let job = state.job();
    let Extent { bytes, seal } = state.ledger;
    let (file, file_bytes) = directory.open_ledger(job).map_err(|error| Unread::Disk(error.to_string()))?;
    if file_bytes < bytes {
        return Err(Unread::Damaged(format!("its ledger has {file_bytes} bytes, and {bytes} are needed")));
    }
    let (mut rounds, mut starts) = (Vec::new(), Vec::new());
    let mut take = |block: Result<Block, LedgerError>| {
        let block = block.map_err(|error| match error {
            LedgerError::Disk(why) => Unread::Disk(directory.ledger_error(job, why).to_string()),
            error => Unread::Damaged(error.to_string()),
        })?;
        if block.round.round as usize != rounds.len() + 1 || block.entries.len() != state.specification.shards.len() {
            return Err(Unread::Damaged("its ledger is not of this job, or has a round twice".to_owned()));
        }
        rounds.push(block.round);
        Ok(())
    };
    let mut filed = Blocks::new(file, bytes, Extent::START.seal);
    loop {
        let start = filed.offset();
        let Some(block) = filed.next() else { break };
        take(block)?;
        starts.push(start);
    }
    if filed.seal() != seal {
        return Err(Unread::Damaged("its ledger is another than the state was written with".to_owned()));
    }
    Blocks::within(&state.tail, seal).try_for_each(take)?;
    Ok((rounds, starts))
}

/// What is told of a job that has ended.
pub(super) fn shelved(directory: &Directory, job: JobId) -> Result<Shelved, Absent> {
    let Whole { state, starts, .. } = match newest(directory, job) {
        Ok(whole) => whole.ok_or(Absent::Unknown)?,
        Err(why) => {
            return Err(Absent::Unread(format!("job {job} is in the journal and cannot be read any more: {why}")));
        }
    };
    let tail = ledger::split(&state.tail, state.ledger.seal);
    Ok(Shelved { specification: state.specification, ledger: state.ledger, starts: Arc::new(starts), tail })
}

/// The last weights of a job that has ended, if they are still these.
pub(super) fn last_weights(directory: &Directory, job: JobId, digest: &Digest) -> Option<Weights> {
    let weights = newest(directory, job).ok()??.weights?;
    (weights.digest == *digest).then_some(weights)
}
