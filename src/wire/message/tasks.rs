//! TRAIN, TRAINED, REJECTED, POLL, POLLED. Every one names its task in full; nothing is inferred from a request id. Beside
//! them RESULTS and HOLDING, about tasks that were trained already.

use super::layout::Layout;
use crate::digest::Digest;
use crate::job::{Attempt, CachedResult, JobId, RejectReason, TaskId, TaskResult, TaskState};
use crate::model::{BlockRange, Training};
use crate::wire::bytes::{Malformation, MalformedPayload, Read, Reader, Write as _};
use crate::wire::header::MessageType;
use crate::wire::{limits, specification};

impl Layout<'_> for Attempt {
    fn decode(reader: &mut Reader<'_>) -> Read<Self> {
        let job = JobId(reader.u128()?);
        let step = reader.u64()?;
        let shard = reader.u32()?;
        Ok(Attempt { task: TaskId { job, step, shard }, attempt: reader.u32()?, token: reader.u64()? })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.u128(self.task.job.0);
        out.u64(self.task.step);
        out.u32(self.task.shard);
        out.u32(self.attempt);
        out.u64(self.token);
    }
}

/// Where a task's rows are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowsSource {
    /// A shard, an object that is shipped by hash.
    Shipped(Digest),
    /// Data that lives at the node under this name and never leaves it. No program serves such data yet.
    Resident(String),
    /// Blocks of a step of merged gradients, in shards that are shipped by hash.
    Blocks {
        /// Which time the rows are gone through, from 0.
        epoch: u64,
        /// The blocks by shard, at least one: ascending, none twice.
        ranges: Vec<ShippedRange>,
    },
}

/// Blocks of a shard that is shipped by hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShippedRange {
    /// The blocks; they end below 2^32.
    pub blocks: BlockRange,
    /// The shard.
    pub shard: Digest,
}

impl ShippedRange {
    fn decode(reader: &mut Reader<'_>) -> Read<Self> {
        let (shard, first, count) = (reader.u32()?, reader.u32()?, reader.u32()?);
        if count == 0 || first.checked_add(count).is_none() {
            return reader.fail(Malformation::Refused(format!("{count} blocks from {first} on are no range")));
        }
        Ok(ShippedRange { blocks: BlockRange { shard, first, count }, shard: reader.digest()? })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let BlockRange { shard, first, count } = self.blocks;
        out.u32(shard);
        out.u32(first);
        out.u32(count);
        out.bytes(&self.shard.0);
    }
}

impl RowsSource {
    fn decode(reader: &mut Reader<'_>, source: u8) -> Read<Self> {
        match source {
            SHIPPED => Ok(RowsSource::Shipped(reader.digest()?)),
            RESIDENT => Ok(RowsSource::Resident(reader.name()?)),
            BLOCKS => {
                let epoch = reader.u64()?;
                let count = reader.count(limits::RANGES_MAX, RANGE_BYTES)?;
                let ranges: Vec<_> = (0..count).map(|_| ShippedRange::decode(reader)).collect::<Read<_>>()?;
                if ranges.is_empty() || !ranges.is_sorted_by(|a, b| a.blocks.shard < b.blocks.shard) {
                    let why = "the blocks are of one shard or more, in ascending order, none twice";
                    return reader.fail(Malformation::Refused(why.to_owned()));
                }
                Ok(RowsSource::Blocks { epoch, ranges })
            }
            got => reader.fail(Malformation::UnknownValue { got: got.into() }),
        }
    }

    /// The rows as they travel.
    pub fn encoded(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }

    fn number(&self) -> u8 {
        match self {
            RowsSource::Shipped(_) => SHIPPED,
            RowsSource::Resident(_) => RESIDENT,
            RowsSource::Blocks { .. } => BLOCKS,
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            RowsSource::Shipped(digest) => out.bytes(&digest.0),
            RowsSource::Resident(name) => out.name(name),
            RowsSource::Blocks { epoch, ranges } => {
                out.u64(*epoch);
                out.u32(ranges.len() as u32);
                ranges.iter().for_each(|range| range.encode(out));
            }
        }
    }
}

/// Train a task.
#[derive(Clone, Debug, PartialEq)]
pub struct Train {
    /// The task.
    pub name: Attempt,
    /// Whether the node may reject it.
    pub may_reject: bool,
    /// The weights to start from.
    pub base: Digest,
    /// The rows to train on: blocks where gradients are merged, and only there.
    pub rows: RowsSource,
    /// Network, recipe and seed; none where they are those of the last TRAIN on the link that said them, of the same job.
    pub training: Option<Training>,
}

impl Train {
    /// Whether a task of this training may have these rows: one of blocks is one local step, and no other task is.
    pub fn check_rows(&self, training: &Training) -> Result<(), MalformedPayload> {
        let is_of_blocks = matches!(self.rows, RowsSource::Blocks { .. });
        if training.recipe.merges_gradients() == is_of_blocks {
            return Ok(());
        }
        let why = Malformation::Refused("a task of blocks is one local step, and no other task is".to_owned());
        Err(MalformedPayload { what: MessageType::Train.name(), why })
    }
}

const MAY_REJECT: u8 = 1;
const SHIPPED: u8 = 1;
const RESIDENT: u8 = 2;
const BLOCKS: u8 = 3;
/// Bytes of a range of blocks.
const RANGE_BYTES: usize = 44;

impl Layout<'_> for Train {
    fn decode(reader: &mut Reader<'_>) -> Read<Self> {
        let name = Attempt::decode(reader)?;
        let flags = reader.u8()?;
        if flags & !MAY_REJECT != 0 {
            return reader.fail(Malformation::UnknownValue { got: flags.into() });
        }
        let source = reader.u8()?;
        reader.reserved(2)?;
        let base = reader.digest()?;
        let rows = RowsSource::decode(reader, source)?;
        let bytes = reader.u32()? as usize;
        let fields = reader.sub("the task's recipe", bytes)?;
        let training = if bytes == 0 { None } else { Some(specification::decode_training(fields)?) };
        let train = Train { name, may_reject: flags == MAY_REJECT, base, rows, training };
        // Whoever remembers what another TRAIN has said checks the rows against that.
        train.training.as_ref().map_or(Ok(()), |training| train.check_rows(training))?;
        Ok(train)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        self.name.encode(out);
        out.u8(if self.may_reject { MAY_REJECT } else { 0 });
        out.u8(self.rows.number());
        out.u16(0);
        out.bytes(&self.base.0);
        self.rows.encode(out);
        let training = self.training.as_ref().map_or_else(Vec::new, specification::encode_training);
        out.u32(training.len() as u32);
        out.bytes(&training);
    }
}

/// A task's result.
#[derive(Clone, Debug, PartialEq)]
pub struct Trained {
    /// The task.
    pub name: Attempt,
    /// What came of it.
    pub result: TaskResult,
    /// For how long injected load held it up before.
    pub delayed_ms: u32,
    /// The update itself, or the sum, where it is small; empty where it must be fetched.
    pub inline: Vec<u8>,
}

impl Trained {
    /// Bytes of an update that travels inside, to a peer that takes payloads of so many bytes, at most.
    pub fn inline_bytes_max(payload_bytes_max: u32) -> usize {
        limits::INLINE_UPDATE_BYTES_MAX.min((payload_bytes_max as usize).saturating_sub(TRAINED_HEAD_BYTES))
    }
}

/// Bytes of TRAINED before the update's own.
const TRAINED_HEAD_BYTES: usize = 108;

impl Layout<'_> for Trained {
    fn decode(reader: &mut Reader<'_>) -> Read<Self> {
        let name = Attempt::decode(reader)?;
        let (epochs, delayed_ms) = (reader.u32()?, reader.u32()?);
        let (loss, train_us) = (reader.f64()?, reader.u64()?);
        let (update, update_bytes) = (reader.digest()?, reader.u64()?);
        let count = reader.count(limits::INLINE_UPDATE_BYTES_MAX, 1)?;
        if count != 0 && count as u64 != update_bytes {
            let why = format!("{count} bytes travel inside, and the update has {update_bytes}");
            return reader.fail(Malformation::Refused(why));
        }
        let inline = reader.take(count)?.to_vec();
        let result = TaskResult { epochs, loss, train_us, update, update_bytes };
        Ok(Trained { name, result, delayed_ms, inline })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        self.name.encode(out);
        let TaskResult { epochs, loss, train_us, update, update_bytes } = self.result;
        out.u32(epochs);
        out.u32(self.delayed_ms);
        out.f64(loss);
        out.u64(train_us);
        out.bytes(&update.0);
        out.u64(update_bytes);
        out.u32(self.inline.len() as u32);
        out.bytes(&self.inline);
    }
}

/// The node would rather not train the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The task.
    pub name: Attempt,
    /// Why.
    pub reason: RejectReason,
    /// Tasks being trained.
    pub running: u32,
    /// Tasks waiting.
    pub waiting: u32,
    /// For so long the node asks to be offered none that it may reject; 0: it does not say.
    pub retry_ms: u32,
}

impl Layout<'_> for Rejected {
    fn decode(reader: &mut Reader<'_>) -> Read<Self> {
        let name = Attempt::decode(reader)?;
        let reason = match reader.u8()? {
            1 => RejectReason::LoadProbability,
            2 => RejectReason::Busy,
            got => return reader.fail(Malformation::UnknownValue { got: got.into() }),
        };
        reader.reserved(3)?;
        let (running, waiting) = (reader.u32()?, reader.u32()?);
        Ok(Rejected { name, reason, running, waiting, retry_ms: reader.u32()? })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        self.name.encode(out);
        out.bytes(&[self.reason as u8, 0, 0, 0]);
        out.u32(self.running);
        out.u32(self.waiting);
        out.u32(self.retry_ms);
    }
}

/// How far is this task?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Poll {
    /// The task.
    pub name: Attempt,
}

impl Layout<'_> for Poll {
    fn decode(reader: &mut Reader<'_>) -> Read<Self> {
        Ok(Poll { name: Attempt::decode(reader)? })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        self.name.encode(out);
    }
}

/// So far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Polled {
    /// The task.
    pub name: Attempt,
    /// Where it stands.
    pub state: TaskState,
    /// Batches trained.
    pub batches_done: u64,
    /// Batches planned.
    pub batches_planned: u64,
}

impl Layout<'_> for Polled {
    fn decode(reader: &mut Reader<'_>) -> Read<Self> {
        let name = Attempt::decode(reader)?;
        let state = match reader.u8()? {
            1 => TaskState::Unknown,
            2 => TaskState::Waiting,
            3 => TaskState::Running,
            got => return reader.fail(Malformation::UnknownValue { got: got.into() }),
        };
        reader.reserved(3)?;
        Ok(Polled { name, state, batches_done: reader.u64()?, batches_planned: reader.u64()? })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        self.name.encode(out);
        out.bytes(&[self.state as u8, 0, 0, 0]);
        out.u64(self.batches_done);
        out.u64(self.batches_planned);
    }
}

/// Which results of this job do you still hold, from other connections than this?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Results {
    /// The job.
    pub job: JobId,
}

impl Layout<'_> for Results {
    fn decode(reader: &mut Reader<'_>) -> Read<Self> {
        Ok(Results { job: JobId(reader.u128()?) })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.u128(self.job.0);
    }
}

/// The results that the node still holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// One for each.
    pub results: Vec<CachedResult>,
}

impl Holding {
    /// The same, with only so many results listed that it fits a payload of so many bytes.
    pub fn fitting(mut self, payload_bytes_max: u32) -> Holding {
        let room = (payload_bytes_max as usize).saturating_sub(HOLDING_HEAD_BYTES) / HELD_RESULT_BYTES;
        self.results.truncate(room.min(limits::HOLDING_MAX));
        self
    }
}

/// Bytes of HOLDING before its results.
const HOLDING_HEAD_BYTES: usize = 4;
/// Bytes of each.
const HELD_RESULT_BYTES: usize = 48;

impl Layout<'_> for Holding {
    fn decode(reader: &mut Reader<'_>) -> Read<Self> {
        let count = reader.count(limits::HOLDING_MAX, HELD_RESULT_BYTES)?;
        let result = |_| {
            let (step, shard) = (reader.u64()?, reader.u32()?);
            reader.reserved(4)?;
            Ok(CachedResult { step, shard, base: reader.digest()? })
        };
        Ok(Holding { results: (0..count).map(result).collect::<Read<_>>()? })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let listed = self.results.len().min(limits::HOLDING_MAX);
        out.u32(listed as u32);
        for CachedResult { step, shard, base } in &self.results[..listed] {
            out.u64(*step);
            out.u32(*shard);
            out.u32(0);
            out.bytes(&base.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::model::{ARITHMETIC, BatchSize, Network, Recipe};

    fn train(local_steps: Option<u32>, rows: RowsSource) -> Train {
        let batch = BatchSize::Rows(NonZeroU32::new(8).unwrap());
        let recipe = Recipe { batch, epochs: 1, stop_loss_change: None, local_steps, ..Recipe::DEFAULT };
        let training = Training {
            arithmetic: ARITHMETIC,
            network: Network::new(1, &[], 2).unwrap(),
            recipe,
            seed: 1,
            class_weights: Vec::new(),
        };
        let name = Attempt { task: TaskId { job: JobId(1), step: 0, shard: 0 }, attempt: 1, token: 2 };
        Train { name, may_reject: false, base: Digest([4; 32]), rows, training: Some(training) }
    }

    fn blocks(ranges: &[(u32, u32, u32)]) -> RowsSource {
        let range = |&(shard, first, count): &(u32, u32, u32)| {
            let blocks = BlockRange { shard, first, count };
            ShippedRange { blocks, shard: Digest([5; 32]) }
        };
        RowsSource::Blocks { epoch: 7, ranges: ranges.iter().map(range).collect() }
    }

    fn read(train: &Train) -> Read<Train> {
        let mut out = Vec::new();
        train.encode(&mut out);
        Train::decode(&mut Reader::new("TRAIN", &out))
    }

    #[test]
    fn blocks_are_trained_by_one_local_step_and_nothing_else_is() {
        let (shipped, resident) = (RowsSource::Shipped(Digest([5; 32])), RowsSource::Resident("attic".to_owned()));
        let one = blocks(&[(0, 0, 1)]);
        for (local_steps, rows, is_well) in [
            (Some(1), &one, true),
            (Some(1), &shipped, false),
            (Some(1), &resident, false),
            (Some(2), &one, false),
            (Some(2), &shipped, true),
            (None, &one, false),
            (None, &resident, true),
        ] {
            let train = train(local_steps, rows.clone());
            match read(&train) {
                Ok(again) => assert!(is_well && again == train, "{train:?}"),
                Err(error) => assert!(!is_well && matches!(error.why, Malformation::Refused(_)), "{error}"),
            }
        }
    }

    #[test]
    fn a_task_that_says_no_training_travels_without_and_whoever_remembers_one_checks_its_rows() {
        let (shipped, one) = (RowsSource::Shipped(Digest([5; 32])), blocks(&[(0, 0, 1)]));
        for (local_steps, rows, is_well) in
            [(Some(1), &one, true), (Some(1), &shipped, false), (None, &one, false), (None, &shipped, true)]
        {
            let said = train(local_steps, rows.clone());
            let unsaid = Train { training: None, ..said.clone() };
            assert_eq!(read(&unsaid), Ok(unsaid.clone()));
            assert_eq!(unsaid.check_rows(&said.training.unwrap()).is_ok(), is_well);
        }
    }

    #[test]
    fn ranges_of_blocks_are_of_ascending_shards_and_none_is_empty_or_endless() {
        let well = train(Some(1), blocks(&[(0, 5, 1), (3, 0, 2), (4, u32::MAX - 1, 1)]));
        assert_eq!(read(&well), Ok(well));
        let untrue: [&[(u32, u32, u32)]; 5] =
            [&[], &[(3, 0, 2), (0, 5, 1)], &[(1, 0, 1), (1, 1, 1)], &[(0, 5, 0)], &[(0, u32::MAX, 1)]];
        for ranges in untrue {
            let error = read(&train(Some(1), blocks(ranges))).unwrap_err();
            assert!(matches!(error.why, Malformation::Refused(_)), "{ranges:?}: {error}");
        }
    }

    #[test]
    fn no_more_ranges_are_taken_than_their_limit() {
        let ranges: Vec<_> = (0..=limits::RANGES_MAX as u32).map(|shard| (shard, 0, 1)).collect();
        let (allowed, all) = (blocks(&ranges[1..]), blocks(&ranges));
        assert!(read(&train(Some(1), allowed)).is_ok());
        let error = read(&train(Some(1), all)).unwrap_err();
        assert!(matches!(error.why, Malformation::OverLimit { got: 4_097, allowed: 4_096 }), "{error}");
    }

    #[test]
    fn holding_lists_as_many_results_as_the_peer_takes() {
        let held = |step| CachedResult { step, shard: 1, base: Digest([2; 32]) };
        let holding = Holding { results: (0..2_000).map(held).collect() };
        let bytes = |holding: &Holding| {
            let mut out = Vec::new();
            holding.encode(&mut out);
            out.len()
        };
        let small = holding.clone().fitting(1024);
        assert_eq!(small.results.len(), 21);
        assert!(bytes(&small) <= 1024 && bytes(&small) + HELD_RESULT_BYTES > 1024, "{}", bytes(&small));
        assert_eq!(holding.fitting(1 << 20).results.len(), limits::HOLDING_MAX);
    }

    #[test]
    fn an_update_that_travels_inside_fits_the_peers_payload() {
        let name = Attempt { task: TaskId { job: JobId(1), step: 0, shard: 0 }, attempt: 1, token: 2 };
        let inline = vec![0; Trained::inline_bytes_max(1024)];
        let (update, update_bytes) = (Digest([3; 32]), inline.len() as u64);
        let result = TaskResult { epochs: 1, loss: 0.5, train_us: 1, update, update_bytes };
        let trained = Trained { name, result, delayed_ms: 0, inline };
        let mut out = Vec::new();
        trained.encode(&mut out);
        assert_eq!(out.len(), 1024);
        assert_eq!(Trained::inline_bytes_max(1 << 20), limits::INLINE_UPDATE_BYTES_MAX);
    }
}
