//! A job's state as it is written: one file, whole. Owns its layout (docs/journal.md, section 2); does not know where the
//! file lies or when it is written.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::directory::TRAILER_BYTES;
use super::ledger::{Extent, part, payload, read_part, read_round, round_to};
use crate::coordinator::answers;
use crate::coordinator::work::Weights;
use crate::digest::{Digest, Hasher};
use crate::job::{
    Best, FailReason, JobId, JobState, JobStatus, NodeTasks, OnTaskFailure, Outcome, Profile, Progress, RoundSoFar,
    Specification, Summary,
};
use crate::model::{OuterState, OuterStateError};
use crate::wire::message::Submit;
use crate::wire::{MalformedPayload, Message, MessageType, Reader};

/// How the file begins.
const MAGIC: &[u8; 8] = b"GWSTATE7";
/// The digest of what an outer optimiser remembers that remembers nothing.
const NO_OUTER: Digest = Digest([0; 32]);

/// A job's state, but for its weights and what its outer optimiser remembers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StoredState {
    /// Grows from one state of the job to the next.
    pub(crate) sequence: u64,
    /// Grows from one job to the next that is submitted or resumed.
    pub(crate) submitted_as: u64,
    /// How long coordinators had run over the journal, in milliseconds, when the job ended; 0 where it has not.
    pub(crate) lived_ms: u64,
    /// What is asked for.
    pub(crate) specification: Arc<Specification>,
    /// The same as it is written.
    pub(crate) submit: Arc<Vec<u8>>,
    /// How the job stands.
    pub(crate) status: JobStatus,
    /// What came of it, once it is done.
    pub(crate) summary: Option<Box<Summary>>,
    /// How far it is; none before the first step is written down.
    pub(crate) progress: Option<Progress>,
    /// How much of the ledger is in its own file.
    pub(crate) ledger: Extent,
    /// The blocks behind that.
    pub(crate) tail: Vec<u8>,
}

/// What is wrong with a state.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum StateError {
    /// It does not begin as a state does.
    Magic,
    /// It ends too early.
    Short {
        /// Bytes of it.
        bytes: usize,
    },
    /// The digest at its end is not that of its bytes.
    Trailer,
    /// The weights are not those that it names.
    Weights,
    /// The weights of its best round are not those that it names.
    Best,
    /// What the outer optimiser remembers is not what it names.
    Outer,
    /// What its rows were taken for is not what its DONE names.
    Confusion,
    /// It is sealed well, and does not make sense.
    Layout(String),
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => f.write_str("it is not a state of a job"),
            Self::Short { bytes } => write!(f, "it ends after {bytes} bytes, too early"),
            Self::Trailer => f.write_str("its bytes do not have the digest at its end"),
            Self::Weights => f.write_str("its weights do not have their digest"),
            Self::Best => f.write_str("the weights of its best round do not have their digest"),
            Self::Outer => f.write_str("the state of its outer optimiser does not have its digest"),
            Self::Confusion => f.write_str("what its rows were taken for does not have its digest"),
            Self::Layout(why) => write!(f, "it does not make sense: {why}"),
        }
    }
}

impl From<MalformedPayload> for StateError {
    fn from(error: MalformedPayload) -> StateError {
        StateError::Layout(error.to_string())
    }
}

impl From<OuterStateError> for StateError {
    fn from(error: OuterStateError) -> StateError {
        StateError::Layout(error.to_string())
    }
}

/// A state and its weights as they are written.
pub(crate) struct Encoded<'a> {
    head: Vec<u8>,
    trailer: Digest,
    weights: &'a [u8],
    outer: [&'a [u8]; 2],
    best: &'a [u8],
    confusion: &'a [u8],
}

impl Encoded<'_> {
    /// The file, in parts.
    pub(crate) fn parts(&self) -> [&[u8]; 7] {
        let [first, second] = self.outer;
        [&self.head, self.weights, first, second, self.best, self.confusion, &self.trailer.0]
    }

    /// Bytes of the file.
    pub(crate) fn bytes(&self) -> u64 {
        self.parts().iter().map(|part| part.len() as u64).sum()
    }
}

/// A file's state, and where in the file its weights lie, those of its best round, if these are others, and what its rows were taken
/// for; empty ranges where it has none.
pub(crate) struct Decoded {
    pub(crate) state: StoredState,
    pub(crate) weights: Range<usize>,
    pub(crate) best: Range<usize>,
    pub(crate) confusion: Range<usize>,
    /// What its outer optimiser remembers.
    pub(crate) outer: OuterState,
}

/// A specification as it is written.
pub(crate) fn submit_payload(job: JobId, specification: &Specification) -> Vec<u8> {
    Message::from(Submit { job, rounds_seen: 0, specification: specification.clone() }).payload()
}

impl StoredState {
    /// The file of it and the job's weights, where it has some, with those of its best round, where these are others, and what its
    /// rows were taken for, where it is done.
    pub(crate) fn encode<'a>(
        &self,
        weights: Option<&'a Weights>,
        best: Option<&'a [u8]>,
        confusion: Option<&'a [u8]>,
    ) -> Encoded<'a> {
        let mut head = MAGIC.to_vec();
        head.extend_from_slice(&[0; 4]);
        for number in [self.sequence, self.submitted_as, self.lived_ms] {
            u64_to(&mut head, number);
        }
        payload(&mut head, &self.submit);
        part(&mut head, &self.status.clone().into());
        match &self.summary {
            Some(summary) => {
                head.push(1);
                part(&mut head, &answers::done(&self.specification, summary).into());
            }
            None => head.push(0),
        }
        match &self.progress {
            Some(progress) => {
                head.push(1);
                write_progress(&mut head, progress);
            }
            None => head.push(0),
        }
        u64_to(&mut head, self.ledger.bytes);
        head.extend_from_slice(&self.ledger.seal.0);
        head.extend_from_slice(&(self.tail.len() as u32).to_le_bytes());
        head.extend_from_slice(&self.tail);
        let outer = weights.map(|weights| &*weights.outer).filter(|outer| outer.updates() > 0);
        let weights: &[u8] = weights.map_or(&[], |weights| &weights.bytes);
        let vectors = outer.map_or([&[][..]; 2], OuterState::vectors);
        u64_to(&mut head, weights.len() as u64);
        u64_to(&mut head, outer.map_or(0, OuterState::updates));
        u64_to(&mut head, vectors.iter().map(|vector| vector.len() as u64).sum());
        head.extend_from_slice(&outer.map_or(NO_OUTER, |_| digest_of(&vectors)).0);
        let (best, confusion) = (best.unwrap_or_default(), confusion.unwrap_or_default());
        u64_to(&mut head, best.len() as u64);
        let length = head.len() as u32;
        head[MAGIC.len()..MAGIC.len() + 4].copy_from_slice(&length.to_le_bytes());
        let trailer = Digest::of(&head);
        Encoded { head, trailer, weights, outer: vectors, best, confusion }
    }

    /// The state in a file's bytes.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Decoded, StateError> {
        let short = || StateError::Short { bytes: bytes.len() };
        let Some(start) = bytes.first_chunk::<12>() else { return Err(short()) };
        if !start.starts_with(MAGIC) {
            return Err(StateError::Magic);
        }
        let head_bytes = u32::from_le_bytes([start[8], start[9], start[10], start[11]]) as usize;
        let Some((rest, trailer)) = bytes.split_last_chunk::<TRAILER_BYTES>() else { return Err(short()) };
        let Some((head, behind)) = rest.split_at_checked(head_bytes.max(12)) else { return Err(short()) };
        let (state, mut reader) = StoredState::decode_head(head, trailer)?;
        let (weights_bytes, updates, outer_bytes) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let outer_digest = reader.digest()?;
        let best_bytes = reader.u64()?;
        reader.end()?;
        let told = state.summary.as_ref().and_then(|summary| summary.confusion);
        let lengths = [weights_bytes, outer_bytes, best_bytes, told.map_or(0, |confusion| confusion.bytes)];
        let all = lengths.iter().try_fold(0u64, |sum, bytes| sum.checked_add(*bytes));
        if all != Some(behind.len() as u64) {
            return Err(short());
        }
        let (weights, rest) = behind.split_at(weights_bytes as usize);
        let (vectors, rest) = rest.split_at(outer_bytes as usize);
        let (best, confusion) = rest.split_at(best_bytes as usize);
        if told.is_some_and(|told| told.digest != Digest::of(confusion)) {
            return Err(StateError::Confusion);
        }
        let named = state.progress.as_ref().map(|progress| progress.base);
        if weights_bytes > 0 && named != Some(Digest::of(weights)) {
            return Err(StateError::Weights);
        }
        // Those that the job goes on from are not there twice.
        let other = state.progress.as_ref().map(Progress::weights).filter(|weights| Some(*weights) != named);
        if other != (best_bytes > 0).then(|| Digest::of(best)) {
            return Err(StateError::Best);
        }
        if outer_digest != if updates > 0 { Digest::of(vectors) } else { NO_OUTER } {
            return Err(StateError::Outer);
        }
        let Specification { training, outer, operation, .. } = &*state.specification;
        let done = state.progress.as_ref().map_or(0, |progress| progress.steps);
        let most = outer.updates_within(done, state.specification.steps());
        // A step all of whose blocks were skipped is no update.
        let can_be_fewer = training.recipe.merges_gradients() && operation.on_task_failure == OnTaskFailure::Skip;
        let due = if can_be_fewer { 0..=most } else { most..=most };
        let outer = OuterState::restored(outer, training.network.parameters(), due, updates, vectors)?;
        let end = head.len() + behind.len();
        let confusion = end - confusion.len()..end;
        let best = confusion.start - best.len()..confusion.start;
        let weights = head.len()..head.len() + weights.len();
        Ok(Decoded { state, weights, best, confusion, outer })
    }

    /// The state in a file's head and trailer alone, without a look at its weights.
    pub(crate) fn peek(bytes: &[u8]) -> Option<StoredState> {
        let (head, trailer) = bytes.split_last_chunk::<TRAILER_BYTES>()?;
        Some(StoredState::decode_head(head, trailer).ok()?.0)
    }

    fn decode_head<'a>(head: &'a [u8], trailer: &[u8; TRAILER_BYTES]) -> Result<(StoredState, Reader<'a>), StateError> {
        if !head.starts_with(MAGIC) {
            return Err(StateError::Magic);
        }
        if Digest::of(head).0 != *trailer {
            return Err(StateError::Trailer);
        }
        let mut reader = Reader::new("the state", head.get(12..).unwrap_or_default());
        let state = StoredState::read(&mut reader)?;
        Ok((state, reader))
    }

    fn read(reader: &mut Reader<'_>) -> Result<StoredState, StateError> {
        let (sequence, submitted_as, lived_ms) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let bytes = reader.u32()? as usize;
        let written = reader.take(bytes)?;
        let Message::Submit(submit) = Message::decode(MessageType::Submit, written)? else {
            return Err(StateError::Layout("no SUBMIT".to_owned()));
        };
        let Message::Job(status) = read_part(reader, MessageType::Job).map_err(StateError::Layout)? else {
            return Err(StateError::Layout("no JOB".to_owned()));
        };
        if status.job != submit.job {
            return Err(StateError::Layout("two job ids".to_owned()));
        }
        let summary = truth(reader.u8()?.into())?.then(|| read_summary(reader)).transpose()?;
        if (lived_ms == 0) != (status.ended_ms == 0) {
            return Err(StateError::Layout("the time lived through goes with an end, and only with one".to_owned()));
        }
        if summary.is_some() != (status.state == JobState::Done) {
            return Err(StateError::Layout("DONE goes with a done job, and only with one".to_owned()));
        }
        let progress = truth(reader.u8()?.into())?.then(|| read_progress(reader, &submit.specification)).transpose()?;
        let ledger = Extent { bytes: reader.u64()?, seal: reader.digest()? };
        let tail_bytes = reader.u32()? as usize;
        let tail = reader.take(tail_bytes)?.to_vec();
        let (specification, submit) = (Arc::new(submit.specification), Arc::new(written.to_vec()));
        Ok(StoredState {
            sequence,
            submitted_as,
            lived_ms,
            specification,
            submit,
            status,
            summary,
            progress,
            ledger,
            tail,
        })
    }

    /// The objects that the file holds: weights, and what rows were taken for.
    pub(crate) fn objects(&self) -> Vec<Digest> {
        let weights = self.progress.iter().flat_map(Progress::all_weights);
        let confusion = self.summary.as_ref().and_then(|summary| summary.confusion);
        weights.chain(confusion.map(|confusion| confusion.digest)).collect()
    }

    /// The job.
    pub(crate) fn job(&self) -> JobId {
        self.status.job
    }

    /// Entries that its ledger has.
    pub(crate) fn entries(&self) -> u64 {
        let steps = self.progress.as_ref().map_or(0, |progress| progress.steps);
        steps * u64::from(self.specification.step_entries())
    }

    /// How it ended, if it has.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        match (self.status.state, &self.summary, &self.status.failure) {
            (JobState::Done, Some(summary), _) => Some(Outcome::Done(summary.clone())),
            (JobState::Failed, _, Some(failure)) => Some(Outcome::Failed(FailReason::Recorded(failure.clone()))),
            (JobState::Cancelled, ..) => Some(Outcome::Cancelled),
            _ => None,
        }
    }
}

fn digest_of(parts: &[&[u8]]) -> Digest {
    let mut hasher = Hasher::default();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finish()
}

fn read_summary(reader: &mut Reader<'_>) -> Result<Box<Summary>, StateError> {
    match read_part(reader, MessageType::Done).map_err(StateError::Layout)? {
        Message::Done(done) => Ok(Box::new(done.summary)),
        _ => Err(StateError::Layout("no DONE".to_owned())),
    }
}

fn u64_to(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn truth(number: u64) -> Result<bool, StateError> {
    match number {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(StateError::Layout(format!("{number} is no truth value"))),
    }
}

pub(super) fn write_progress(out: &mut Vec<u8>, progress: &Progress) {
    u64_to(out, progress.steps);
    round_to(out, progress.last);
    let RoundSoFar { loss, rows, merged, skipped, nodes, us } = &progress.so_far;
    for number in [loss.to_bits(), *rows, u64::from(*merged), u64::from(*skipped), *us, nodes.len() as u64] {
        u64_to(out, number);
    }
    nodes.iter().for_each(|node| name_to(out, node));
    let numbers = [
        progress.merged,
        progress.skipped,
        progress.duplicates,
        progress.reproducible.into(),
        progress.revivals.into(),
        progress.validating_us,
        progress.training_us,
    ];
    numbers.into_iter().chain(progress.profile.parts().map(|(_, us)| us)).for_each(|number| u64_to(out, number));
    out.extend_from_slice(&progress.base.0);
    out.extend_from_slice(&(progress.nodes.len() as u32).to_le_bytes());
    for NodeTasks { node, tasks } in &progress.nodes {
        name_to(out, node);
        u64_to(out, *tasks);
    }
    round_to(out, progress.best.map(|best| best.round));
    if let Some(best) = progress.best {
        out.extend_from_slice(&best.weights.0);
    }
}

fn name_to(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(&(name.len() as u16).to_le_bytes());
    out.extend_from_slice(name.as_bytes());
}

fn read_name(reader: &mut Reader<'_>) -> Result<String, StateError> {
    let bytes = reader.u16()? as usize;
    Ok(String::from_utf8_lossy(reader.take(bytes)?).into_owned())
}

fn small(number: u64) -> Result<u32, StateError> {
    u32::try_from(number).map_err(|_| StateError::Layout(format!("{number} is too large for what it counts")))
}

fn read_progress(reader: &mut Reader<'_>, specification: &Specification) -> Result<Progress, StateError> {
    let steps = reader.u64()?;
    let last = read_round(reader).map_err(StateError::Layout)?;
    let round_steps = u64::from(specification.round_steps());
    let done = last.map_or(0, |last| u64::from(last.round));
    if steps == 0 || steps > specification.steps() || done != steps / round_steps {
        let (all, rounds) = (specification.steps(), specification.rounds);
        return Err(StateError::Layout(format!("step {steps} of {all}, round {done} of {rounds}")));
    }
    let so_far = RoundSoFar {
        loss: f64::from_bits(reader.u64()?),
        rows: reader.u64()?,
        merged: small(reader.u64()?)?,
        skipped: small(reader.u64()?)?,
        us: reader.u64()?,
        nodes: (0..reader.u64()?).map(|_| read_name(reader)).collect::<Result<_, _>>()?,
    };
    if steps.is_multiple_of(round_steps) && (so_far.loss.to_bits() != 0 || so_far != RoundSoFar::default()) {
        return Err(StateError::Layout(format!("round {done} has just ended, and something is done of the next")));
    }
    let mut next = || reader.u64();
    let (merged, skipped, duplicates) = (next()?, next()?, next()?);
    let reproducible = truth(next()?)?;
    let revivals = small(next()?)?;
    let (validating_us, training_us) = (next()?, next()?);
    let profile = Profile {
        prepare_us: next()?,
        compute_us: next()?,
        wire_us: next()?,
        stragglers_us: next()?,
        no_nodes_us: next()?,
        merge_us: next()?,
        validate_us: next()?,
    };
    let base = reader.digest()?;
    let count = reader.u32()?;
    let mut nodes = Vec::new();
    for _ in 0..count {
        let node = read_name(reader)?;
        nodes.push(NodeTasks { node, tasks: reader.u64()? });
    }
    let best = match read_round(reader).map_err(StateError::Layout)? {
        Some(round) => Some(Best { round, weights: reader.digest()? }),
        None => None,
    };
    let is_due = specification.patience.is_some() && last.is_some();
    if best.is_some() != is_due || best.is_some_and(|best| u64::from(best.round.round) > done || best.round.round == 0)
    {
        return Err(StateError::Layout(format!("it names no best round of {done}, or one where none is due")));
    }
    Ok(Progress {
        steps,
        last,
        best,
        so_far,
        base,
        merged,
        skipped,
        reproducible,
        duplicates,
        nodes,
        revivals,
        profile,
        validating_us,
        training_us,
    })
}
