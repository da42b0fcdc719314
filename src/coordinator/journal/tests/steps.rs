//! States of a job of merged gradients, written in the middle of a round.

use std::num::NonZeroU32;

use super::super::state::{Decoded, StateError, submit_payload};
use super::*;
use crate::job::OnTaskFailure;
use crate::model::BatchSize;

/// Steps of a round.
const ROUND_STEPS: u32 = 5;

/// The job, with what its outer optimiser remembers after so many updates.
fn written(on_task_failure: OnTaskFailure, steps: u64, updates: u64) -> Vec<u8> {
    let (job, store) = (JobId(3), Store::new(u64::MAX));
    let mut specification = specification(job, &store);
    specification.training.recipe =
        Recipe { batch: BatchSize::Rows(NonZeroU32::MIN), epochs: 1, local_steps: Some(1), ..Recipe::DEFAULT };
    specification.round_steps = Some(ROUND_STEPS);
    specification.operation.on_task_failure = on_task_failure;
    let specification = specification.checked().expect("a job");
    let (outer, parameters) = (specification.outer, specification.training.network.parameters());
    let vectors = vec![1; 4 * parameters * outer.optimiser.state_vectors()];
    let remembered = OuterState::restored(&outer, parameters, updates..=updates, updates, &vectors).expect("a state");
    let Weights { digest, bytes, .. } = weights(job, 1);
    let weights = Weights { digest, bytes, outer: Arc::new(remembered) };
    let JournalCommand::Steps { record, .. } = round_order(job, 1) else { unreachable!() };
    let status = JobStatus { rounds_done: 1, ..status(job, &specification) };
    let state = StoredState {
        sequence: 1,
        submitted_as: 1,
        lived_ms: 0,
        submit: Arc::new(submit_payload(job, &specification)),
        specification: Arc::new(specification),
        status,
        summary: None,
        progress: Some(Progress { steps, ..record.progress }),
        ledger: Extent::START,
        tail: Vec::new(),
    };
    state.encode(Some(&weights), None, None).parts().concat()
}

#[test]
fn what_is_remembered_in_the_middle_of_a_round_is_that_after_its_steps() {
    let read = |steps, updates| StoredState::decode(&written(OnTaskFailure::Fail, steps, updates));
    for steps in [5, 7, 9] {
        let Decoded { state, outer, .. } = read(steps, steps).expect("a state");
        assert_eq!((state.progress.expect("progress").steps, outer.updates()), (steps, steps));
    }
    for updates in [1, 6, 8] {
        assert!(matches!(read(7, updates), Err(StateError::Layout(_))), "{updates}");
    }
}

#[test]
fn steps_all_of_whose_blocks_were_skipped_are_no_updates() {
    let read = |steps, updates| StoredState::decode(&written(OnTaskFailure::Skip, steps, updates));
    for updates in [5, 6, 7] {
        assert_eq!(read(7, updates).expect("a state").outer.updates(), updates);
    }
    assert!(matches!(read(7, 8), Err(StateError::Layout(_))));
}
