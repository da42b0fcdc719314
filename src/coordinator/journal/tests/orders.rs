//! What is ordered of the jobs that live on a simulated disk: their records, weights, ledgers and ends, of jobs in rounds of
//! a step and of jobs in steps.

use std::ops::Range;

use super::within_rounds as steps;
use super::*;
use crate::job::{ObjectRef, Summary};

pub(super) fn round_steps(specification: &Specification) -> u64 {
    specification.round_steps().into()
}

/// A record of these steps and the weights after them; of a job in rounds of a step, of its first.
pub(super) fn record(specification: &Specification, range: Range<u64>) -> (Record, Weights) {
    if specification.round_steps.is_some() {
        return (steps::record_of(specification, range.clone()), steps::weights_after(specification, range.end));
    }
    let of = JobId(specification.training.seed.into());
    match round_order(of, range.start as u32 + 1) {
        JournalCommand::Steps { record, weights: Some(weights), .. } => (*record, weights.take().expect("weights")),
        _ => unreachable!(),
    }
}

pub(super) fn weights_of(specification: &Specification, after: u64) -> Weights {
    match specification.round_steps {
        Some(_) => steps::weights_after(specification, after),
        None => weights(JobId(specification.training.seed.into()), after as u32),
    }
}

pub(super) fn entries_of(specification: &Specification, step: u64) -> Vec<LedgerEntry> {
    match specification.round_steps {
        Some(_) => steps::entries_of(specification, step),
        None => record(specification, step..step + 1).0.entries,
    }
}

pub(super) fn progress_of(specification: &Specification, after: u64) -> Option<Progress> {
    (after > 0).then(|| match specification.round_steps {
        Some(_) => steps::progress_after(specification, after),
        None => record(specification, after - 1..after).0.progress,
    })
}

/// What stands for the object that tells which class rows were taken for.
pub(super) const CONFUSION: &[u8] = b"which class rows were taken for";

pub(super) fn summary(specification: &Specification) -> Summary {
    let weights = weights_of(specification, specification.steps()).digest;
    Summary {
        round: 1,
        rounds: 1,
        test: None,
        confusion: Some(ObjectRef { digest: Digest::of(CONFUSION), bytes: CONFUSION.len() as u64 }),
        fingerprint: Digest([1; 32]),
        weights,
        rows: 2,
        metrics: Metrics::default().with(Metric::Loss, 0.5).with(Metric::Errors, 1.0),
        loss: 0.5,
        merged: 3,
        skipped: 0,
        elapsed_us: 4,
        profile: Profile { compute_us: 4, ..Profile::default() },
        training_us: 5,
        validating_us: 6,
        revivals: 0,
        reproducible: true,
        nodes: vec![NodeTasks { node: "node-a".to_owned(), tasks: 3 }],
    }
}
