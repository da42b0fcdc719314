//! What is read at the start: for each job the newest of its states that is whole, with the ledger and the data that it
//! needs. Owns the choice between generations, and what becomes of a job that cannot be read back; a state is used only if
//! every digest in it is right.

use std::fmt;
use std::sync::Arc;

use super::archive::{Absent, Shelved};
use super::directory::Directory;
use super::ledger::{self, Block, Blocks, Extent, LedgerError};
use super::state::State;
use super::{Book, Writer};
use crate::coordinator::jobs::objects_of;
use crate::coordinator::workers::Weights;
use crate::digest::Digest;
use crate::disk::DiskError;
use crate::job::JobId;
use crate::model::ARITHMETIC;
use crate::wire::message::Round;
use crate::wire::text::counted;

/// A job from before the start.
pub(in super::super) struct Restored {
    pub(in super::super) state: State,
    /// What was told of its rounds, the weights after them and its data; only of a job that has not ended.
    pub(in super::super) rounds: Vec<Round>,
    pub(in super::super) weights: Option<Weights>,
    pub(in super::super) objects: Vec<(Digest, Arc<Vec<u8>>)>,
}

/// A state of a job that is whole, with its weights.
struct Whole {
    state: State,
    weights: Option<Weights>,
    rounds: Vec<Round>,
    /// Where the blocks in the ledger's file begin.
    starts: Vec<u64>,
    /// Bytes of its file.
    state_bytes: u64,
    generation: u8,
}

impl Writer {
    /// Reads everything back, in the order in which it was submitted; what has ended, in the order in which it did.
    pub(super) fn recover(&mut self) -> Result<Vec<Restored>, DiskError> {
        let Some(directory) = self.directory.clone() else { return Ok(Vec::new()) };
        let mut restored = Vec::new();
        for job in directory.jobs()? {
            match self.read_job(&directory, job) {
                Ok(read) => restored.extend(read),
                Err(Unread::Damaged(why)) => match directory.set_aside(job) {
                    Ok(path) => log::error!(
                        "job {job} cannot be read back: {why}; its files are now in {}. Submit the job again",
                        path.display()
                    ),
                    Err(error) => self.leave(&directory, job, &format!("{why}; {error}")),
                },
                // Perhaps it can be tomorrow: nothing of it is touched.
                Err(Unread::Disk(why)) => self.leave(&directory, job, &why),
                Err(Unread::Arithmetic(begun)) => {
                    let text = format!(
                        "job {job} was begun in arithmetic {begun}, and this program computes arithmetic {ARITHMETIC}: only \
                         the coordinator that began it can go on with it. It is left as it is: submit its data again under \
                         another id, and remove {}",
                        directory.job(job).display()
                    );
                    log::error!("{text}");
                    self.archive.leave_unread(job, text);
                }
            }
        }
        restored.sort_by_key(|job| (job.state.standing.ended_ms, job.state.submitted_as));
        self.submitted = restored.iter().map(|job| job.state.submitted_as).max().unwrap_or(0);
        // Nobody knows what a job needs that is not read.
        if !self.archive.has_unread()
            && let Err(error) = directory.sweep(|digest| self.kept.is_needed(digest))
        {
            log::warn!("files that a crash left in {} are not removed: {error}", directory.root().display());
        }
        Ok(restored)
    }

    /// A job stays unknown until a later start, and nobody may begin another of its id.
    fn leave(&self, directory: &Directory, job: JobId, why: &str) {
        let text = format!(
            "job {job} is in the journal and cannot be read: {why}. It is left as it is, and can neither be shown nor \
             submitted again. Start the coordinator again once the disk gives it, or once {} is moved away",
            directory.job(job).display()
        );
        log::error!("{text}");
        self.archive.leave_unread(job, text);
    }

    fn read_job(&mut self, directory: &Directory, job: JobId) -> Result<Option<Restored>, Unread> {
        let Some(Whole { state, weights, rounds, starts, state_bytes, .. }) = newest(directory, job)? else {
            // It was killed before anything of it was durable.
            return directory.remove_job(job).map(|()| None).map_err(|error| Unread::Disk(error.to_string()));
        };
        let needed = objects_of(&state.specification);
        let base = state.progress.as_ref().map(|progress| progress.base);
        let has_ended = state.standing.ended_ms != 0;
        let begun = state.specification.training.arithmetic;
        if !has_ended && begun != ARITHMETIC {
            return Err(Unread::Arithmetic(begun));
        }
        let mut objects = Vec::new();
        if !has_ended {
            for digest in needed.keys() {
                match directory.get_object(digest) {
                    Ok(Some(bytes)) => objects.push((*digest, Arc::new(bytes))),
                    Ok(None) => return Err(Unread::Damaged(format!("its data {digest} is missing or damaged"))),
                    Err(error) => return Err(Unread::Disk(error.to_string())),
                }
            }
        }
        self.kept.begin(job, needed);
        // Nothing depends on them: who verifies a task computes them again.
        let mut kept_bytes = 0;
        match directory.kept_weights(job) {
            Ok(kept) => {
                for digest in kept {
                    kept_bytes += directory.weights_bytes(job, &digest).unwrap_or(0);
                    self.archive.keep(job, digest);
                }
            }
            Err(error) => log::warn!("{error}"),
        }
        if has_ended {
            self.archive.unshelve(job, base);
            let bytes = 2 * state_bytes + state.ledger.bytes + kept_bytes;
            self.kept.end(job, state.standing.ended_ms, bytes);
            return Ok(Some(Restored { state, rounds: Vec::new(), weights: None, objects }));
        }
        let mut book = Book::new(state.clone(), weights.clone());
        book.resume(starts);
        book.kept_bytes = kept_bytes;
        self.archive.shelve(job, book.shelved());
        self.books.insert(job, book);
        Ok(Some(Restored { state, rounds, weights, objects }))
    }
}

/// Why a job is not restored.
enum Unread {
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
fn newest(directory: &Directory, job: JobId) -> Result<Option<Whole>, Unread> {
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
                whole.state.standing.rounds_done
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
    let (state, weights) = State::decode(&bytes).map_err(|error| Unread::Damaged(error.to_string()))?;
    if state.job() != job {
        return Err(Unread::Damaged(format!("it is of job {}", state.job())));
    }
    let (rounds, starts) = rounds(directory, &state)?;
    let rounds_done = state.progress.as_ref().map_or(0, |progress| progress.rounds_done());
    if rounds.len() != rounds_done as usize || state.standing.rounds_done != rounds_done {
        return Err(Unread::Damaged(format!(
            "its ledger has {}, and {rounds_done} are done",
            counted(rounds.len() as u64, "round")
        )));
    }
    let weights = state.progress.as_ref().map(|progress| {
        bytes.truncate(weights.end);
        bytes.drain(..weights.start);
        Weights { digest: progress.base, bytes: Arc::new(bytes) }
    });
    if weights.as_ref().is_some_and(|weights| weights.bytes.is_empty()) {
        return Err(Unread::Damaged("its weights are missing".to_owned()));
    }
    Ok(Whole { state, weights, rounds, starts, state_bytes, generation })
}

/// What was told of the rounds in a state's ledger, if all of it is right, and where those in its file begin.
fn rounds(directory: &Directory, state: &State) -> Result<(Vec<Round>, Vec<u64>), Unread> {
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
pub(super) fn last_weights(directory: &Directory, job: JobId, digest: &Digest) -> Option<Vec<u8>> {
    let weights = newest(directory, job).ok()??.weights?;
    (weights.digest == *digest).then(|| Arc::unwrap_or_clone(weights.bytes))
}
