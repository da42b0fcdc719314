//! SUBMIT and what answers it: ACCEPTED, ROUND, NOTICE, DONE.

use super::layout::Layout;
use crate::digest::Digest;
use crate::job::{
    JobId, JobState, METRICS_MAX, Metrics, NodeTasks, ObjectRef, Profile, RoundSummary, Specification, Summary, Tested,
};
use crate::wire::bytes::{Malformation, Read, Reader, Write as _};
use crate::wire::{limits, specification};

/// Run this job, or attach me to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Submit {
    /// The job's id, chosen by the client.
    pub job: JobId,
    /// Rounds that the client has shown already: they are not sent again.
    pub rounds_seen: u32,
    /// What to do.
    pub specification: Specification,
}

impl Layout<'_> for Submit {
    fn decode(reader: &mut Reader<'_>) -> Read<Self> {
        let (job, rounds_seen) = (JobId(reader.u128()?), reader.u32()?);
        Ok(Submit { job, rounds_seen, specification: read_specification(reader)? })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.u128(self.job.0);
        out.u32(self.rounds_seen);
        write_specification(out, &self.specification);
    }
}

/// A specification behind its length, as SUBMIT and DESCRIBED have it.
pub(super) fn read_specification(reader: &mut Reader<'_>) -> Read<Specification> {
    let bytes = reader.u32()? as usize;
    specification::decode(reader.sub("the specification", bytes)?)
}

pub(super) fn write_specification(out: &mut Vec<u8>, specification: &Specification) {
    let fields = specification::encode(specification);
    out.u32(fields.len() as u32);
    out.bytes(&fields);
}

/// The job is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Where it stands.
    pub state: JobState,
    /// Whether it was known before: the client is attached to it.
    pub attached: bool,
    /// Jobs before it.
    pub queue_position: u32,
    /// Rounds done.
    pub rounds_done: u32,
}

pub(super) fn read_state(reader: &mut Reader<'_>) -> Read<JobState> {
    let number = reader.u8()?;
    let state = JobState::ALL.into_iter().find(|state| *state as u8 == number);
    state.map_or_else(|| reader.fail(Malformation::UnknownValue { got: number.into() }), Ok)
}

impl Layout<'_> for Accepted {
    fn decode(reader: &mut Reader<'_>) -> Read<Self> {
        let state = read_state(reader)?;
        let attached = reader.boolean()?;
        reader.reserved(2)?;
        Ok(Accepted { state, attached, queue_position: reader.u32()?, rounds_done: reader.u32()? })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.bytes(&[self.state as u8, self.attached.into(), 0, 0]);
        out.u32(self.queue_position);
        out.u32(self.rounds_done);
    }
}

impl Layout<'_> for RoundSummary {
    fn decode(reader: &mut Reader<'_>) -> Read<Self> {
        Ok(RoundSummary {
            round: reader.u32()?,
            rounds: reader.u32()?,
            loss: reader.f64()?,
            rows: reader.u64()?,
            nodes: reader.u32()?,
            merged: reader.u32()?,
            skipped: reader.u32()?,
            round_us: {
                reader.reserved(4)?;
                reader.u64()?
            },
            metrics: read_metrics(reader)?,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.u32(self.round);
        out.u32(self.rounds);
        out.f64(self.loss);
        out.u64(self.rows);
        out.u32(self.nodes);
        out.u32(self.merged);
        out.u32(self.skipped);
        out.u32(0);
        out.u64(self.round_us);
        write_metrics(out, &self.metrics);
    }
}

/// What a notice is about, for programs; its sentence is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum NoticeKind {
    /// Anything else.
    Other = 1,
    /// A node came or went.
    Membership = 2,
    /// No node is active, and the coordinator tries to find one.
    Revival = 3,
    /// A task was left out of its round.
    Skipped = 4,
    /// Two results of one task differ, or a result was refused.
    Alarm = 5,
    /// How the nodes stand, each second: for a screen that shows it in the place of the one before.
    Fleet = 6,
    /// Nodes hold tasks up on purpose: a slow job is no fault of the network.
    Load = 7,
}

/// Something that a person wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What it is about.
    pub kind: NoticeKind,
    /// The sentence.
    pub text: String,
}

impl Layout<'_> for Notice {
    fn decode(reader: &mut Reader<'_>) -> Read<Self> {
        let kind = match reader.u8()? {
            1 => NoticeKind::Other,
            2 => NoticeKind::Membership,
            3 => NoticeKind::Revival,
            4 => NoticeKind::Skipped,
            5 => NoticeKind::Alarm,
            6 => NoticeKind::Fleet,
            7 => NoticeKind::Load,
            got => return reader.fail(Malformation::UnknownValue { got: got.into() }),
        };
        reader.reserved(3)?;
        Ok(Notice { kind, text: reader.sentence()? })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.bytes(&[self.kind as u8, 0, 0, 0]);
        out.sentence(&self.text);
    }
}

/// The job is done.
#[derive(Clone, Debug, PartialEq)]
pub struct Done {
    /// The size of the weights, an object to fetch.
    pub weights_bytes: u64,
    /// What came of the job.
    pub summary: Summary,
}

impl Done {
    /// The same, with only so many nodes listed that it fits a payload of so many bytes.
    pub fn fitting(mut self, payload_bytes_max: u32) -> Done {
        let Summary { metrics, test, .. } = &self.summary;
        let metrics = [Some(metrics), test.as_ref().map(|tested| &tested.metrics)];
        let metrics_bytes: usize = metrics.iter().flatten().map(|metrics| METRIC_BYTES * metrics.tagged().len()).sum();
        let mut left = (payload_bytes_max as usize).saturating_sub(DONE_HEAD_BYTES + metrics_bytes);
        let mut listed = 0;
        for node in self.summary.nodes.iter().take(limits::DONE_NODES_MAX) {
            let Some(rest) = left.checked_sub(DONE_NODE_BYTES + node.node.len()) else { break };
            left = rest;
            listed += 1;
        }
        self.summary.nodes.truncate(listed);
        self
    }
}

/// Bytes of DONE before its list of nodes, without metrics.
const DONE_HEAD_BYTES: usize = 260;
/// Bytes of a node in that list, beside its name's own.
const DONE_NODE_BYTES: usize = 10;

impl Layout<'_> for Done {
    fn decode(reader: &mut Reader<'_>) -> Read<Self> {
        let (fingerprint, weights, weights_bytes) = (reader.digest()?, reader.digest()?, reader.u64()?);
        let mut summary = Summary {
            fingerprint,
            weights,
            rows: reader.u64()?,
            loss: reader.f64()?,
            merged: reader.u64()?,
            skipped: reader.u64()?,
            elapsed_us: reader.u64()?,
            profile: Profile {
                prepare_us: reader.u64()?,
                compute_us: reader.u64()?,
                wire_us: reader.u64()?,
                stragglers_us: reader.u64()?,
                no_nodes_us: reader.u64()?,
                merge_us: reader.u64()?,
                validate_us: reader.u64()?,
            },
            training_us: reader.u64()?,
            validating_us: reader.u64()?,
            revivals: reader.u32()?,
            reproducible: reader.boolean()?,
            rounds: {
                reader.reserved(3)?;
                reader.u32()?
            },
            round: reader.u32()?,
            metrics: read_metrics(reader)?,
            test: read_tested(reader)?,
            confusion: read_object(reader)?,
            nodes: Vec::new(),
        };
        // A name takes 3 bytes at least, its task count 8.
        let count = reader.count(limits::DONE_NODES_MAX, 11)?;
        for _ in 0..count {
            summary.nodes.push(NodeTasks { node: reader.name()?, tasks: reader.u64()? });
        }
        Ok(Done { weights_bytes, summary })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let summary = &self.summary;
        out.bytes(&summary.fingerprint.0);
        out.bytes(&summary.weights.0);
        out.u64(self.weights_bytes);
        out.u64(summary.rows);
        out.f64(summary.loss);
        for value in [summary.merged, summary.skipped, summary.elapsed_us] {
            out.u64(value);
        }
        for (_, us) in summary.profile.parts() {
            out.u64(us);
        }
        out.u64(summary.training_us);
        out.u64(summary.validating_us);
        out.u32(summary.revivals);
        out.bytes(&[summary.reproducible.into(), 0, 0, 0]);
        out.u32(summary.rounds);
        out.u32(summary.round);
        write_metrics(out, &summary.metrics);
        let Tested { rows, metrics } = summary.test.unwrap_or(Tested { rows: 0, metrics: Metrics::default() });
        out.u64(rows);
        write_metrics(out, &metrics);
        write_object(out, summary.confusion);
        let listed = summary.nodes.len().min(limits::DONE_NODES_MAX);
        out.u32(listed as u32);
        for node in &summary.nodes[..listed] {
            out.name(&node.node);
            out.u64(node.tasks);
        }
    }
}

/// What came of the test rows; none where there are no rows.
fn read_tested(reader: &mut Reader<'_>) -> Read<Option<Tested>> {
    let (rows, metrics) = (reader.u64()?, read_metrics(reader)?);
    match (rows, metrics.tagged().len()) {
        (0, 0) => Ok(None),
        (0, got) => reader.fail(Malformation::UnknownValue { got: got as u64 }),
        _ => Ok(Some(Tested { rows, metrics })),
    }
}

/// An object's name and size: both are zeros where there is none.
fn read_object(reader: &mut Reader<'_>) -> Read<Option<ObjectRef>> {
    let (digest, bytes) = (reader.digest()?, reader.u64()?);
    match (bytes, digest == NO_OBJECT) {
        (0, true) => Ok(None),
        (bytes, is_none) if bytes == 0 || is_none => reader.fail(Malformation::UnknownValue { got: bytes }),
        _ => Ok(Some(ObjectRef { digest, bytes })),
    }
}

fn write_object(out: &mut Vec<u8>, object: Option<ObjectRef>) {
    let ObjectRef { digest, bytes } = object.unwrap_or(ObjectRef { digest: NO_OBJECT, bytes: 0 });
    out.bytes(&digest.0);
    out.u64(bytes);
}

/// The name where there is no object.
const NO_OBJECT: Digest = Digest([0; 32]);

/// A list of metrics: their count, then each tag and value, in ascending order of the tags.
fn read_metrics(reader: &mut Reader<'_>) -> Read<Metrics> {
    let mut metrics = Metrics::default();
    for _ in 0..reader.count(METRICS_MAX, METRIC_BYTES)? {
        let (tag, value) = (reader.u16()?, reader.f64()?);
        match metrics.with_tagged(tag, value) {
            Some(with) => metrics = with,
            None => return reader.fail(Malformation::FieldOrder { tag }),
        }
    }
    Ok(metrics)
}

fn write_metrics(out: &mut Vec<u8>, metrics: &Metrics) {
    out.u32(metrics.tagged().len() as u32);
    for (tag, value) in metrics.tagged() {
        out.u16(*tag);
        out.f64(*value);
    }
}

/// Bytes of a metric: its tag, its value.
const METRIC_BYTES: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Metric;

    #[test]
    fn done_lists_as_many_nodes_as_the_peer_takes() {
        let nodes = (0..100).map(|index| NodeTasks { node: format!("node-{index:02}"), tasks: index }).collect();
        let summary = Summary {
            fingerprint: Digest([1; 32]),
            weights: Digest([2; 32]),
            rounds: 1,
            round: 1,
            metrics: Metrics::default().with(Metric::Errors, 0.0),
            test: None,
            confusion: None,
            rows: 1,
            loss: 0.5,
            merged: 100,
            skipped: 0,
            elapsed_us: 1,
            profile: Profile { compute_us: 1, ..Profile::default() },
            training_us: 1,
            validating_us: 0,
            revivals: 0,
            reproducible: true,
            nodes,
        };
        let done = Done { weights_bytes: 64, summary };
        let bytes = |done: &Done| {
            let mut out = Vec::new();
            done.encode(&mut out);
            out.len()
        };
        let small = done.clone().fitting(1024);
        assert_eq!(small.summary.nodes.len(), (1024 - DONE_HEAD_BYTES - METRIC_BYTES) / (DONE_NODE_BYTES + 7));
        assert!(bytes(&small) <= 1024 && bytes(&small) + DONE_NODE_BYTES + 7 > 1024, "{}", bytes(&small));
        assert_eq!(done.clone().fitting(1 << 20), done);
    }
}
