//! TRAIN, TRAINED, REJECTED, POLL, POLLED. Every one names its task in full; nothing is inferred from a request id. Beside
//! them RESULTS and HOLDING, about tasks that were trained already.

use super::layout::Layout;
use crate::digest::Digest;
use crate::job::{Attempt, CachedResult, JobId, RejectReason, TaskId, TaskResult, TaskState};
use crate::model::Training;
use crate::wire::bytes::{Malformation, Read, Reader, Write as _};
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
pub enum ShardSource {
    /// An object, shipped by hash.
    Shipped(Digest),
    /// Data that lives at the node under this name and never leaves it. No program serves such data yet.
    Resident(String),
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
    /// The rows to train on.
    pub shard: ShardSource,
    /// Network, recipe and seed.
    pub training: Training,
}

const MAY_REJECT: u8 = 1;
const SHIPPED: u8 = 1;
const RESIDENT: u8 = 2;

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
        let shard = match source {
            SHIPPED => ShardSource::Shipped(reader.digest()?),
            RESIDENT => ShardSource::Resident(reader.name()?),
            got => return reader.fail(Malformation::UnknownValue { got: got.into() }),
        };
        let bytes = reader.u32()? as usize;
        let training = specification::decode_training(reader.sub("the task's recipe", bytes)?)?;
        Ok(Train { name, may_reject: flags == MAY_REJECT, base, shard, training })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        self.name.encode(out);
        out.u8(if self.may_reject { MAY_REJECT } else { 0 });
        out.u8(match self.shard {
            ShardSource::Shipped(_) => SHIPPED,
            ShardSource::Resident(_) => RESIDENT,
        });
        out.u16(0);
        out.bytes(&self.base.0);
        match &self.shard {
            ShardSource::Shipped(digest) => out.bytes(&digest.0),
            ShardSource::Resident(name) => out.name(name),
        }
        let training = specification::encode_training(&self.training);
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
    /// The update itself where it is small; empty where it must be fetched.
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
        let epochs = reader.u32()?;
        reader.reserved(4)?;
        let (loss, train_us) = (reader.f64()?, reader.u64()?);
        let (update, update_bytes) = (reader.digest()?, reader.u64()?);
        let count = reader.count(limits::INLINE_UPDATE_BYTES_MAX, 1)?;
        if count != 0 && count as u64 != update_bytes {
            let why = format!("{count} bytes travel inside, and the update has {update_bytes}");
            return reader.fail(Malformation::Refused(why));
        }
        let inline = reader.take(count)?.to_vec();
        let result = TaskResult { epochs, loss, train_us, update, update_bytes };
        Ok(Trained { name, result, inline })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        self.name.encode(out);
        let TaskResult { epochs, loss, train_us, update, update_bytes } = self.result;
        out.u32(epochs);
        out.u32(0);
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
        Ok(Rejected { name, reason, running: reader.u32()?, waiting: reader.u32()? })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        self.name.encode(out);
        out.bytes(&[self.reason as u8, 0, 0, 0]);
        out.u32(self.running);
        out.u32(self.waiting);
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
    use super::*;

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
        let trained = Trained { name, result, inline };
        let mut out = Vec::new();
        trained.encode(&mut out);
        assert_eq!(out.len(), 1024);
        assert_eq!(Trained::inline_bytes_max(1 << 20), limits::INLINE_UPDATE_BYTES_MAX);
    }
}
