//! SUBMIT and what answers it: ACCEPTED, ROUND, NOTICE, DONE.

use super::Layout;
use crate::digest::Digest;
use crate::job::{JobId, Profile, Specification};
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

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum JobState {
    /// It waits for its data or for jobs before it.
    Queued = 1,
    /// It runs.
    Running = 2,
    /// It has ended, or is paused; the final answer follows.
    Ended = 3,
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

impl Layout<'_> for Accepted {
    fn decode(reader: &mut Reader<'_>) -> Read<Self> {
        let state = match reader.u8()? {
            1 => JobState::Queued,
            2 => JobState::Running,
            3 => JobState::Ended,
            got => return reader.fail(Malformation::UnknownValue { got: got.into() }),
        };
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

/// A round has ended and its model is validated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Round {
    /// Counted from 1.
    pub round: u32,
    /// Rounds of the job.
    pub rounds: u32,
    /// Training loss, the mean over the rows merged.
    pub loss: f64,
    /// Validation rows told wrongly.
    pub errors: u64,
    /// Validation rows.
    pub rows: u64,
    /// Nodes that did at least one of its tasks.
    pub nodes: u32,
    /// Tasks merged.
    pub merged: u32,
    /// Tasks skipped.
    pub skipped: u32,
    /// Time since the round before ended.
    pub round_us: u64,
}

impl Layout<'_> for Round {
    fn decode(reader: &mut Reader<'_>) -> Read<Self> {
        let round = Round {
            round: reader.u32()?,
            rounds: reader.u32()?,
            loss: reader.f64()?,
            errors: reader.u64()?,
            rows: reader.u64()?,
            nodes: reader.u32()?,
            merged: reader.u32()?,
            skipped: reader.u32()?,
            round_us: {
                reader.reserved(4)?;
                reader.u64()?
            },
        };
        Ok(round)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.u32(self.round);
        out.u32(self.rounds);
        out.f64(self.loss);
        out.u64(self.errors);
        out.u64(self.rows);
        out.u32(self.nodes);
        out.u32(self.merged);
        out.u32(self.skipped);
        out.u32(0);
        out.u64(self.round_us);
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

/// A node's share of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeTasks {
    /// The node.
    pub node: String,
    /// Its tasks that were merged.
    pub tasks: u64,
}

/// The job is done.
#[derive(Clone, Debug, PartialEq)]
pub struct Done {
    /// The fingerprint of the model and its specification.
    pub fingerprint: Digest,
    /// The weights, an object to fetch.
    pub weights: Digest,
    /// Their size.
    pub weights_bytes: u64,
    /// Validation rows told wrongly.
    pub errors: u64,
    /// Validation rows.
    pub rows: u64,
    /// Training loss of the last round.
    pub loss: f64,
    /// Tasks merged.
    pub merged: u64,
    /// Tasks skipped.
    pub skipped: u64,
    /// Time from the job's start.
    pub elapsed_us: u64,
    /// Where that went.
    pub profile: Profile,
    /// Training time of all merged tasks, as the nodes say.
    pub training_us: u64,
    /// Time of all validations, those that ran beside other work too.
    pub validating_us: u64,
    /// Revivals that it took.
    pub revivals: u32,
    /// Whether the same specification gives the same bits again.
    pub reproducible: bool,
    /// Who did how much.
    pub nodes: Vec<NodeTasks>,
}

impl Done {
    /// The same, with only so many nodes listed that it fits a payload of so many bytes.
    pub fn fitting(mut self, payload_bytes_max: u32) -> Done {
        let mut left = (payload_bytes_max as usize).saturating_sub(DONE_HEAD_BYTES);
        let mut listed = 0;
        for node in self.nodes.iter().take(limits::DONE_NODES_MAX) {
            let Some(rest) = left.checked_sub(DONE_NODE_BYTES + node.node.len()) else { break };
            left = rest;
            listed += 1;
        }
        self.nodes.truncate(listed);
        self
    }
}

/// Bytes of DONE before its list of nodes.
const DONE_HEAD_BYTES: usize = 204;
/// Bytes of a node in that list, beside its name's own.
const DONE_NODE_BYTES: usize = 10;

impl Layout<'_> for Done {
    fn decode(reader: &mut Reader<'_>) -> Read<Self> {
        let mut done = Done {
            fingerprint: reader.digest()?,
            weights: reader.digest()?,
            weights_bytes: reader.u64()?,
            errors: reader.u64()?,
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
            nodes: Vec::new(),
        };
        reader.reserved(3)?;
        // A name takes 3 bytes at least, its task count 8.
        let count = reader.count(limits::DONE_NODES_MAX, 11)?;
        for _ in 0..count {
            done.nodes.push(NodeTasks { node: reader.name()?, tasks: reader.u64()? });
        }
        Ok(done)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.bytes(&self.fingerprint.0);
        out.bytes(&self.weights.0);
        out.u64(self.weights_bytes);
        out.u64(self.errors);
        out.u64(self.rows);
        out.f64(self.loss);
        for value in [self.merged, self.skipped, self.elapsed_us] {
            out.u64(value);
        }
        let Profile { prepare_us, compute_us, wire_us, stragglers_us, no_nodes_us, merge_us, validate_us } =
            self.profile;
        for us in [prepare_us, compute_us, wire_us, stragglers_us, no_nodes_us, merge_us, validate_us] {
            out.u64(us);
        }
        out.u64(self.training_us);
        out.u64(self.validating_us);
        out.u32(self.revivals);
        out.bytes(&[self.reproducible.into(), 0, 0, 0]);
        let listed = self.nodes.len().min(limits::DONE_NODES_MAX);
        out.u32(listed as u32);
        for node in &self.nodes[..listed] {
            out.name(&node.node);
            out.u64(node.tasks);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn done_lists_as_many_nodes_as_the_peer_takes() {
        let nodes = (0..100).map(|index| NodeTasks { node: format!("node-{index:02}"), tasks: index }).collect();
        let done = Done {
            fingerprint: Digest([1; 32]),
            weights: Digest([2; 32]),
            weights_bytes: 64,
            errors: 0,
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
        let bytes = |done: &Done| {
            let mut out = Vec::new();
            done.encode(&mut out);
            out.len()
        };
        let small = done.clone().fitting(1024);
        assert_eq!(small.nodes.len(), (1024 - DONE_HEAD_BYTES) / (DONE_NODE_BYTES + 7));
        assert!(bytes(&small) <= 1024 && bytes(&small) + DONE_NODE_BYTES + 7 > 1024, "{}", bytes(&small));
        assert_eq!(done.clone().fitting(1 << 20), done);
    }
}
