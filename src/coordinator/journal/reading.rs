//! What is read of a job that is written: the newest of its states that is whole, with its ledger. Owns the choice between
//! generations; a state is used only if every digest in it is right.

use std::fmt;
use std::sync::Arc;

use super::directory::Directory;
use super::ledger::{self, Block, Blocks, Extent, LedgerError, Start};
use super::shelved::{Absent, Shelved};
use super::state::{Decoded, StoredState};
use crate::coordinator::work::{BestWeights, ConfusionObject, Weights};
use crate::digest::Digest;
use crate::disk::{DiskError, Doing};
use crate::job::{EntryResult, JobId, Progress, RoundSummary, Specification};
use crate::wire::object;
use crate::wire::text::counted;

/// A state of a job that is whole, with its weights.
pub(super) struct Whole {
    pub(super) state: StoredState,
    pub(super) weights: Option<Weights>,
    /// The weights of its best round, if it has a patience.
    pub(super) best: Option<BestWeights>,
    /// Which class its rows were taken for, if it is done.
    pub(super) confusion: Option<ConfusionObject>,
    /// Only of a job that has not ended.
    pub(super) rounds: Vec<RoundSummary>,
    /// Where the blocks in the ledger's file begin.
    pub(super) starts: Vec<Start>,
    /// Bytes of its file.
    pub(super) state_bytes: u64,
    pub(super) generation: u8,
    /// Whether the state before tells of the same end. Then this one is on the disk under its name; else it may be in memory
    /// alone, if the coordinator was killed before it had waited for that.
    pub(super) has_settled: bool,
}

/// Why a job is not restored.
#[derive(Debug)]
pub(super) enum Unread {
    /// What is there is not what was written.
    Damaged(String),
    /// The disk does not give it.
    Disk(String),
    /// What was done about it may not be on the disk: nobody knows what is.
    Sync(DiskError),
    /// It has not ended, and was begun in this arithmetic, which is not computed here.
    Arithmetic(u16),
}

impl From<DiskError> for Unread {
    fn from(error: DiskError) -> Unread {
        if error.doing == Doing::Sync { Unread::Sync(error) } else { Unread::Disk(error.to_string()) }
    }
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(why) | Self::Disk(why) => f.write_str(why),
            Self::Sync(error) => write!(f, "{error}"),
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
    // A job that was given up and resumed may have ended again since: then the state before tells of another end.
    let end = |whole: &Whole| (whole.state.submitted_as, whole.state.status.clone());
    let has_settled = matches!(&whole[..], [one, other] if one.state.status.ended_ms != 0 && end(one) == end(other));
    let newest = whole.into_iter().max_by_key(|whole| whole.state.sequence);
    let newest = newest.map(|whole| Whole { has_settled, ..whole });
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

/// The newest state of a job by its head, without a look at its weights; none where it cannot be read so. It says what the job is,
/// and no more: whoever goes on from it reads it whole.
pub(super) fn peek(directory: &Directory, job: JobId) -> Option<StoredState> {
    let heads = [0, 1].into_iter().filter_map(|generation| directory.read_state_head(job, generation));
    let states = heads.filter_map(|head| StoredState::peek(&head));
    states.filter(|state| state.job() == job).max_by_key(|state| state.sequence)
}

fn read_generation(directory: &Directory, job: JobId, generation: u8) -> Option<Result<Whole, Unread>> {
    let bytes = match directory.read_state(job, generation)? {
        Ok(bytes) => bytes,
        Err(error) => return Some(Err(error.into())),
    };
    Some(check(directory, job, generation, bytes))
}

fn check(directory: &Directory, job: JobId, generation: u8, mut bytes: Vec<u8>) -> Result<Whole, Unread> {
    let state_bytes = bytes.len() as u64;
    let decoded = StoredState::decode(&bytes).map_err(|error| Unread::Damaged(error.to_string()))?;
    let Decoded { state, weights, best, confusion, outer } = decoded;
    if state.job() != job {
        return Err(Unread::Damaged(format!("it is of job {}", state.job())));
    }
    let (rounds_done, rounds, starts) = rounds(directory, &state)?;
    if u64::from(state.status.rounds_done) != rounds_done {
        return Err(Unread::Damaged(format!(
            "{} are done, and its ledger has {}",
            state.status.rounds_done,
            counted(rounds_done, "round")
        )));
    }
    let told = state.summary.as_ref().and_then(|summary| summary.confusion);
    let confusion = told.map(|told| (told.digest, Arc::new(bytes[confusion].to_vec())));
    let best = Some(bytes[best].to_vec()).filter(|best| !best.is_empty()).map(Arc::new);
    let weights = state.progress.as_ref().map(|progress| {
        bytes.truncate(weights.end);
        bytes.drain(..weights.start);
        Weights { digest: progress.base, bytes: Arc::new(bytes), outer: Arc::new(outer) }
    });
    if weights.as_ref().is_some_and(|weights| weights.bytes.is_empty()) {
        return Err(Unread::Damaged("its weights are missing".to_owned()));
    }
    let named = state.progress.as_ref().and_then(|progress| progress.best);
    let best = named.zip(best.or(weights.as_ref().map(|weights| weights.bytes.clone())));
    let best = best.map(|(best, bytes)| (best.weights, bytes));
    Ok(Whole { state, weights, best, confusion, rounds, starts, state_bytes, generation, has_settled: false })
}

/// How many rounds are in a state's ledger, if all of it is right; what is told of them, if the job may go on; and where the
/// blocks in its file begin.
pub(super) fn rounds(
    directory: &Directory,
    state: &StoredState,
) -> Result<(u64, Vec<RoundSummary>, Vec<Start>), Unread> {
    let job = state.job();
    let Extent { bytes, seal } = state.ledger;
    let (file, file_bytes) = directory.open_ledger(job)?;
    if file_bytes < bytes {
        return Err(Unread::Damaged(format!("its ledger has {file_bytes} bytes, and {bytes} are needed")));
    }
    let mut walked = Walked::new(&state.specification, state.status.ended_ms == 0 || state.status.may_be_resumed());
    let mut take = |block: Result<Block, LedgerError>| {
        let block = block.map_err(|error| match error {
            LedgerError::Disk(why) => directory.ledger_error(job, why).into(),
            error => Unread::Damaged(error.to_string()),
        })?;
        walked.take(block).map_err(Unread::Damaged)
    };
    let mut filed = Blocks::new(file, bytes, Extent::START.seal);
    let mut starts = Vec::new();
    loop {
        let bytes = filed.offset();
        let Some(block) = filed.next() else { break };
        starts.push(Start { bytes, first: take(block)? });
    }
    if filed.seal() != seal {
        return Err(Unread::Damaged("its ledger is another than the state was written with".to_owned()));
    }
    Blocks::within(&state.tail, seal).try_for_each(|block| take(block).map(drop))?;
    let Walked { entries, rounds_done, rounds, .. } = walked;
    if entries != state.entries() {
        let due = state.entries();
        return Err(Unread::Damaged(format!("its ledger has {}, and {due} are due", counted(entries, "entry"))));
    }
    Ok((rounds_done, rounds, starts))
}

/// A job's ledger as far as it has been walked over: which block may be the next.
struct Walked {
    /// Entries of a step, and of a round.
    of_step: u32,
    of_round: u64,
    merges_gradients: bool,
    entries: u64,
    rounds_done: u64,
    keeps_rounds: bool,
    rounds: Vec<RoundSummary>,
}

impl Walked {
    fn new(specification: &Specification, keeps_rounds: bool) -> Walked {
        let of_step = specification.step_entries();
        Walked {
            of_step,
            of_round: u64::from(specification.round_steps()) * u64::from(of_step),
            merges_gradients: specification.training.recipe.merges_gradients(),
            entries: 0,
            rounds_done: 0,
            keeps_rounds,
            rounds: Vec::new(),
        }
    }

    /// Goes over the next block; returns the entries before it. A round ends with a block, and each block is of whole steps of
    /// one round.
    fn take(&mut self, block: Block) -> Result<u64, String> {
        let before = self.entries;
        if block.first != before || block.of_step != self.of_step {
            return Err("its ledger is not of this job, or has a step twice".to_owned());
        }
        let number = self.rounds_done + 1;
        let (end, round_end) = (before + block.entries.len() as u64, number * self.of_round);
        if !end.is_multiple_of(self.of_step.into()) || end > round_end {
            return Err("a block of its ledger is not of whole steps of one round".to_owned());
        }
        let told = block.round.map(|round| u64::from(round.round));
        if told != (end == round_end).then_some(number) {
            return Err(format!("its ledger tells of a round after {} of round {number}", counted(end, "entry")));
        }
        if block.entries.iter().any(|entry| matches!(entry.result, EntryResult::Step(_)) != self.merges_gradients) {
            return Err("its ledger has entries of another kind of job".to_owned());
        }
        self.rounds_done += u64::from(block.round.is_some());
        self.rounds.extend(block.round.filter(|_| self.keeps_rounds));
        self.entries = end;
        Ok(before)
    }
}

/// What is told of a job that has ended. Its weights, which may be large, are not read for it unless the heads of its states do not
/// go with its ledger.
pub(super) fn shelved(directory: &Directory, job: JobId) -> Result<Shelved, Absent> {
    let by_head = peek(directory, job).and_then(|state| {
        let (rounds_done, _, starts) = rounds(directory, &state).ok()?;
        (u64::from(state.status.rounds_done) == rounds_done).then_some((state, starts))
    });
    let (state, starts) = match by_head {
        Some(found) => found,
        None => match newest(directory, job) {
            Ok(whole) => whole.map(|Whole { state, starts, .. }| (state, starts)).ok_or(Absent::Unknown)?,
            Err(why) => {
                return Err(Absent::Unread(format!("job {job} is in the journal and cannot be read any more: {why}")));
            }
        },
    };
    let tail = Arc::new(ledger::split(&state.tail, state.ledger.seal));
    let entries = state.entries();
    Ok(Shelved { specification: state.specification, ledger: state.ledger, starts: Arc::new(starts), tail, entries })
}

/// This object of a job, if it is its last weights, those of its best round, or what its rows were taken for.
pub(super) fn object_of(directory: &Directory, job: JobId, digest: &Digest) -> Option<Arc<Vec<u8>>> {
    // One state at a time: each is as large as the job.
    let mut generations = [0, 1].map(|generation| {
        let head = directory.read_state_head(job, generation).and_then(|head| StoredState::peek(&head));
        (head.map(|state| state.sequence), generation)
    });
    generations.sort_by_key(|(sequence, _)| std::cmp::Reverse(*sequence));
    let whole = generations.iter().find_map(|(_, generation)| read_generation(directory, job, *generation)?.ok());
    let Whole { weights, best, confusion, .. } = whole?;
    let last = weights.map(|weights| (weights.digest, weights.bytes));
    best.into_iter().chain(last).chain(confusion).find(|(held, _)| held == digest).map(|(_, bytes)| bytes)
}

/// How large this object of a job is, if [`object_of`] has it; told by the head of its state.
pub(super) fn bytes_of(directory: &Directory, job: JobId, digest: &Digest) -> Option<u64> {
    let state = peek(directory, job)?;
    let progress = state.progress.as_ref();
    let is_weights =
        |progress: &Progress| progress.base == *digest || progress.best.is_some_and(|best| best.weights == *digest);
    if progress.is_some_and(is_weights) {
        return Some(object::parameters_bytes(&state.specification.training.network));
    }
    state.summary?.confusion.filter(|told| told.digest == *digest).map(|told| told.bytes)
}

/// The last weights of a job, if they are still these.
pub(super) fn last_weights(directory: &Directory, job: JobId, digest: &Digest) -> Option<Weights> {
    let weights = newest(directory, job).ok()??.weights?;
    (weights.digest == *digest).then_some(weights)
}
