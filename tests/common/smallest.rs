//! The smallest job, its objects and a task of it, for who speaks frames; and the pieces that its objects travel in.

use std::borrow::Cow;
use std::num::NonZeroU32;

use gradwire::digest::Digest;
use gradwire::job::{Attempt, JobId, Operation, RowsRef, Specification, TaskId};
use gradwire::model::{ARITHMETIC, BatchSize, Merge, Network, Outer, Recipe, Training};
use gradwire::net::random_u128;
use gradwire::wire::Message;
use gradwire::wire::message::{Fetch, Piece, RowsSource, Train};
use gradwire::wire::object::{self, ObjectKind};

use super::peer::Peer;

/// What any task of the job must know.
pub fn training() -> Training {
    let recipe = Recipe { epochs: 1, batch: BatchSize::Rows(NonZeroU32::MIN), ..Recipe::DEFAULT };
    Training {
        arithmetic: ARITHMETIC,
        network: Network::new(2, &[], 2).unwrap(),
        recipe,
        seed: 1,
        class_weights: Vec::new(),
    }
}

/// Four rows of two features and two classes.
pub fn rows() -> Vec<u8> {
    object::encode_rows(2, &[0.0, 1.0, 1.0, 0.0, 0.5, 1.0, 1.0, 0.5], &[0, 1, 0, 1])
}

/// The weights to start from.
pub fn base() -> Vec<u8> {
    object::encode_parameters(ObjectKind::Weights, &training().network, &[0.0; 6])
}

/// A job of one shard, which validates with the rows that it trains on.
pub fn smallest_job() -> (JobId, Specification) {
    job_of(Digest::of(&rows()))
}

pub fn job_of(rows: Digest) -> (JobId, Specification) {
    let rows = RowsRef { rows: 4, digest: rows };
    let specification = Specification {
        patience: None,
        target_accuracy: None,
        test: None,
        training: training(),
        rounds: 1,
        round_steps: None,
        shards: vec![rows],
        validation: rows,
        merge: Merge::Mean,
        outer: Outer::AVERAGE,
        initial: None,
        operation: Operation::default(),
        notes: Vec::new(),
    };
    (JobId(random_u128()), specification)
}

/// A task of that job.
pub fn train() -> Train {
    let task = TaskId { job: JobId(random_u128()), step: 0, shard: 0 };
    Train {
        name: Attempt { task, attempt: 1, token: 5 },
        may_reject: false,
        base: Digest::of(&base()),
        rows: RowsSource::Shipped(Digest::of(&rows())),
        training: Some(training()),
    }
}

/// The piece of `bytes` that was asked for, whoever's they are.
pub fn piece(fetch: Fetch, bytes: &[u8]) -> Piece<'_> {
    let start = (fetch.offset as usize).min(bytes.len() - 1);
    let end = bytes.len().min(start + fetch.bytes_max as usize);
    let bytes_here = Cow::Borrowed(&bytes[start..end]);
    Piece { digest: fetch.digest, object_bytes: bytes.len() as u64, offset: start as u64, bytes: bytes_here }
}

/// The piece as a message that outlives its bytes.
pub fn owned(piece: Piece<'_>) -> Message<'static> {
    Message::Data(Piece { bytes: Cow::Owned(piece.bytes.into_owned()), ..piece })
}

/// The next FETCH that comes.
pub fn await_fetch(peer: &mut Peer) -> (u32, Fetch) {
    loop {
        let frame = peer.receive();
        match frame.message() {
            Message::Fetch(fetch) => return (frame.header.request, fetch),
            Message::Accepted(_) => {}
            other => panic!("FETCH was due, not {other:?}"),
        }
    }
}
