//! The heavy arithmetic: one thread merges, one validates. Owns each running job's step in the making; does not know nodes.
//!
//! The merge of a small model takes less time than handing it to another thread and hearing of it: whoever orders that does it
//! himself ([`is_small`]).

use std::borrow::Cow;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::collected::Storage;
use super::error::StartError;
use super::event::DriverEvent;
use super::journal::{HeavyStep, Underway};
use super::merging::{AddError, FinishError, Merging};
use super::past_weights::PastWeights;
use super::taking_turns::{ForJob as _, TakingTurns};
use super::threads::Threads;
use super::transfers::Transfers;
use super::work::{HEAVY_BYTES, Judged, MergeWork, Start, Validating, Weights};
use crate::config::can_be_had;
use crate::digest::{Digest, Hasher};
use crate::engine::Event;
use crate::job::memory::{in_mib, median_copy_bytes};
use crate::job::{JobId, Specification, Tested};
use crate::model::figures::{Judgement, judge};
use crate::model::{self, GradientSumError, Kernel, OuterState, TargetKind, Training};
use crate::store::BufferPool;
use crate::wire::object::{self, ObjectKind};

/// Starts the merging thread. Its queue holds no more than the engine has asked for: one update a task of one step.
pub(super) fn start_merging(
    threads: &Threads,
    kernel: Kernel,
    mut merger: Merger,
    events: Sender<DriverEvent>,
) -> Result<(Sender<MergeWork>, JoinHandle<()>), StartError> {
    let (orders, queue) = unbounded();
    let run = move || {
        for order in TakingTurns::new(&queue) {
            if let Some(event) = merger.obey(order) {
                let _ = events.send(event);
                merger.name_remembered();
            }
        }
    };
    Ok((orders, threads.start_computing("merge", kernel, run)?))
}

/// Whether a job's merges are so small that no other thread is worth asking.
pub(super) fn is_small(specification: &Specification) -> bool {
    /// About ten microseconds for each update.
    const PARAMETERS_MAX: usize = 16_384;
    specification.training.network.parameters() <= PARAMETERS_MAX && !specification.merge.needs_all()
}

/// Does what is to be merged.
pub(super) struct Merger {
    kernel: Kernel,
    rounds: HashMap<JobId, Merging>,
    /// Of those that are not small.
    past: HashMap<JobId, PastWeights>,
    /// Where updates are kept that must all be there.
    storage: Storage,
    /// Where memory comes from and goes.
    buffers: BufferPool,
    transfers: Transfers,
    /// Where heavy steps are noted.
    underway: Underway,
    /// What a job's outer optimiser remembers since its last step, until its name is known.
    unnamed: Option<(JobId, Arc<OuterState>)>,
}

impl Merger {
    /// Updates that must all be there are kept in this storage.
    pub(super) fn new(
        kernel: Kernel,
        storage: Storage,
        buffers: BufferPool,
        transfers: Transfers,
        underway: Underway,
    ) -> Merger {
        Merger {
            kernel,
            rounds: HashMap::new(),
            past: HashMap::new(),
            storage,
            buffers,
            transfers,
            underway,
            unnamed: None,
        }
    }

    /// Finds out the name of what the outer optimiser remembers since the last step. For whoever has told of that step: the next
    /// line of the ledger names it, and until then nodes compute, which need not wait for a hash over all of it.
    pub(super) fn name_remembered(&mut self) {
        if let Some((job, outer)) = self.unnamed.take()
            && let Some(merging) = self.rounds.get_mut(&job)
        {
            merging.name_remembered(&outer);
        }
    }

    /// Does it, and tells what came of it.
    pub(super) fn obey(&mut self, order: MergeWork) -> Option<DriverEvent> {
        let job = order.job();
        if let MergeWork::Release { .. } = order {
            self.rounds.remove(&job);
            self.past.remove(&job);
            if self.rounds.is_empty() {
                self.buffers.clear();
                self.transfers.clear();
            }
            return None;
        }
        let done = catch_unwind(AssertUnwindSafe(|| self.work(order)));
        done.unwrap_or_else(|_| {
            let reason = "merging met a fault of the program's own".to_owned();
            Some(DriverEvent::Event(Event::WorkFailed { job, reason }))
        })
    }

    fn work(&mut self, order: MergeWork) -> Option<DriverEvent> {
        let failed = |job, reason: String| Some(DriverEvent::Event(Event::WorkFailed { job, reason }));
        match order {
            MergeWork::Prepare { job, specification, start, working_bytes } => {
                let is_large = !is_small(&specification);
                let _begun = is_large.then(|| self.underway.begin(job, HeavyStep::Prepare));
                if !can_be_had(working_bytes) {
                    let needed = in_mib(working_bytes);
                    let reason = format!(
                        "this machine does not give the {needed} of memory that it works with: let the coordinator have more \
                         (ulimit -v), or take a smaller network"
                    );
                    // What it has come to before must not be lost with it.
                    return match start {
                        Start::Own(_) => Some(DriverEvent::Event(Event::WorkHeldUp { job, reason })),
                        _ => failed(job, reason),
                    };
                }
                let training = &specification.training;
                let network = training.network.clone();
                let first = |bytes: Arc<Vec<u8>>| Weights { digest: Digest::of(&bytes), bytes, outer: Arc::default() };
                let weights = match start {
                    Start::Drawn => {
                        let values = model::initialise(&network, training.recipe.initialisation, training.seed);
                        first(Arc::new(object::encode_parameters(ObjectKind::Weights, &network, &values)))
                    }
                    Start::Given(bytes) => match object::weights_to_start_from(&network, bytes) {
                        Ok(bytes) => first(bytes),
                        Err(error) => return failed(job, format!("the initial weights: {error}")),
                    },
                    Start::Own(weights) => match object::parameters(ObjectKind::Weights, &network, &weights.bytes) {
                        Ok(_) => weights,
                        Err(error) => return failed(job, format!("the weights to go on from: {error}")),
                    },
                };
                let mut merging = Merging::new(self.kernel, job, &specification, &self.storage);
                merging.is_heavy = is_large && working_bytes >= HEAVY_BYTES;
                merging.is_next_heavy = is_large;
                if is_large && !merging.can_take_base() {
                    merging.copy_bytes = Some(median_copy_bytes(&specification));
                }
                self.rounds.insert(job, merging);
                if is_large {
                    self.past.insert(job, PastWeights::new(&specification, self.storage != Storage::Memory));
                }
                Some(DriverEvent::Prepared { job, weights })
            }
            MergeWork::Accumulate { job, step, shard, rows, blocks, update } => {
                let refused = |reason: String| Event::UpdateRefused { job, step, shard, reason };
                Some(DriverEvent::Event(match self.rounds.get_mut(&job)?.add(shard, (rows, blocks), update) {
                    Ok(()) => Event::Accumulated { job, step, shard },
                    Err(AddError::Update(error)) => refused(error.to_string()),
                    // No fault of the node's.
                    Err(AddError::Sum(error @ GradientSumError::Memory { .. })) => {
                        Event::WorkHeldUp { job, reason: error.to_string() }
                    }
                    Err(AddError::Sum(error)) => refused(error.to_string()),
                    Err(AddError::Object(error)) => refused(error.to_string()),
                    Err(AddError::Keep(error)) => {
                        let reason = format!("an update cannot be kept until its round is merged: {error}");
                        Event::WorkHeldUp { job, reason }
                    }
                }))
            }
            MergeWork::Finish { job, step, rows, base } => {
                // Its memory is the next one's.
                self.name_remembered();
                let is_only_job = self.rounds.len() == 1;
                let merging = self.rounds.get_mut(&job)?;
                let is_heavy = std::mem::replace(&mut merging.is_next_heavy, merging.is_heavy);
                let _begun = is_heavy.then(|| self.underway.begin(job, HeavyStep::Merge(step)));
                let base_stays = !merging.can_take_base();
                // It takes the place of what was on its way. A result that has come too late to be of use may still be.
                let room = |bytes| self.transfers.make_room_for_copy(bytes, is_only_job);
                let _room = merging.copy_bytes.map(room);
                if let Some(past) = self.past.get_mut(&job) {
                    past.make_room_beside(&base.bytes, base_stays);
                }
                let kept = base_stays.then(|| base.clone());
                let Weights { bytes, outer, .. } = base;
                // A link may still be sending it, or the last round's validation reading it.
                let mut bytes = Arc::try_unwrap(bytes).unwrap_or_else(|shared| {
                    // No update is on its way: their memory makes room for the copy.
                    self.transfers.clear();
                    let mut bytes = self.buffers.take(shared.len() as u64);
                    bytes.extend_from_slice(&shared);
                    bytes
                });
                let mut outer: OuterState = Arc::unwrap_or_clone(outer);
                // What stands before the values is part of the object, and of its name.
                let network = merging.network().clone();
                let first = bytes.len().saturating_sub(4 * network.parameters());
                let mut hasher = Hasher::default();
                hasher.update(&bytes[..first]);
                let values = object::parameters_mut(&network, &mut bytes);
                match merging.finish((step, rows), &mut outer, values, &mut |part| hasher.update(part.as_flattened())) {
                    Ok(sum) => {
                        let (digest, bytes, outer) = (hasher.finish(), Arc::new(bytes), Arc::new(outer));
                        self.unnamed = Some((job, outer.clone()));
                        let weights = Weights { digest, bytes, outer };
                        Some(DriverEvent::Merged { job, step, weights, sum })
                    }
                    Err(FinishError::Lost(lost)) => Some(DriverEvent::UpdatesLost { job, step, lost, base: kept? }),
                    Err(FinishError::Merge(error)) => failed(job, error.to_string()),
                }
            }
            MergeWork::Release { .. } => None,
        }
    }
}

/// Starts the validating thread. At most one order a round of one job waits.
pub(super) fn start_validating(
    threads: &Threads,
    kernel: Kernel,
    underway: Underway,
    events: Sender<DriverEvent>,
) -> Result<(Sender<Validating>, JoinHandle<()>), StartError> {
    let (orders, queue): (Sender<Validating>, Receiver<Validating>) = unbounded();
    let run = move || {
        let mut last: Option<(JobId, Digest, model::Evaluation)> = None;
        for order in TakingTurns::new(&queue) {
            let (job, judged) = (order.job, order.judged);
            let step = match judged {
                Judged::Round(round) => HeavyStep::Validate(round),
                Judged::Result => HeavyStep::Test,
            };
            let _begun = order.is_heavy.then(|| underway.begin(job, step));
            let done = match judged {
                Judged::Result => catch_unwind(AssertUnwindSafe(|| test(kernel, &order))),
                Judged::Round(round) => {
                    // A round that trains nothing ends with the weights that the one before it ended with.
                    let known = last.filter(|(known, digest, _)| (*known, *digest) == (job, order.digest));
                    let done = known.map_or_else(
                        || catch_unwind(AssertUnwindSafe(|| validate(kernel, &order))),
                        |(.., evaluation)| Ok(Ok(evaluation)),
                    );
                    if let Ok(Ok(evaluation)) = done {
                        last = Some((job, order.digest, evaluation));
                    }
                    done.map(|done| {
                        done.map(|model::Evaluation { rows, metrics }| {
                            DriverEvent::Event(Event::Validated { job, round, rows, metrics })
                        })
                    })
                }
            };
            let failed = |reason| DriverEvent::Event(Event::WorkFailed { job, reason });
            let event = done.map_or_else(
                |_| failed("validating met a fault of the program's own".to_owned()),
                |done| done.unwrap_or_else(failed),
            );
            // Whoever hears of it has the next round merged at once: these weights must be gone by then.
            drop(order);
            let _ = events.send(event);
        }
    };
    Ok((orders, threads.start_computing("validate", kernel, run)?))
}

fn validate(kernel: Kernel, order: &Validating) -> Result<model::Evaluation, String> {
    let training = &order.specification.training;
    model::evaluate(kernel, &training.network, &training.recipe, &weights(order)?, &order.rows)
        .map_err(|error| error.to_string())
}

/// Tries what came of a job on its validation and test rows, in all figures.
fn test(kernel: Kernel, order: &Validating) -> Result<DriverEvent, String> {
    let Training { network, recipe, .. } = &order.specification.training;
    let weights = weights(order)?;
    let judge = |rows| judge(kernel, network, recipe, &weights, rows).map_err(|error| error.to_string());
    let validation = judge(&order.rows)?;
    let test = order.test.as_deref().map(judge).transpose()?;
    let of_rows = [Some(&validation), test.as_ref()].into_iter().flatten().map(|judgement| &judgement.confusion[..]);
    let confusion = (recipe.loss.target_kind() == TargetKind::Labels).then(|| {
        let bytes = object::encode_confusion(of_rows);
        (Digest::of(&bytes), Arc::new(bytes))
    });
    let tested = |judgement: Judgement| Tested { rows: judgement.rows, metrics: judgement.metrics };
    let (validation, test) = (tested(validation), test.map(tested));
    Ok(DriverEvent::Tested { job: order.job, validation, test, confusion })
}

fn weights(order: &Validating) -> Result<Cow<'_, [f32]>, String> {
    object::decode_parameters(ObjectKind::Weights, &order.specification.training.network, &order.weights)
        .map_err(|error| format!("the merged weights: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Operation, RowsRef};
    use crate::model::{ARITHMETIC, Merge, Network, Outer, OuterOptimiser, Recipe};

    #[test]
    fn a_job_that_goes_on_has_its_own_weights_to_the_bit_and_what_its_optimiser_remembers_at_them() {
        let transfers = Transfers::new(1, || {});
        let (kernel, storage, buffers) = (Kernel::best(), Storage::Memory, BufferPool::default());
        let mut merger = Merger::new(kernel, storage, buffers, transfers, Underway::new(None));
        let network = Network::new(1, &[], 2).unwrap();
        let rows = RowsRef { rows: 2, digest: Digest([1; 32]) };
        let outer = Outer { optimiser: OuterOptimiser::Adam, ..Outer::AVERAGE };
        let specification = Arc::new(Specification {
            patience: None,
            target_accuracy: None,
            test: None,
            training: Training {
                arithmetic: ARITHMETIC,
                network: network.clone(),
                recipe: Recipe::DEFAULT,
                seed: 1,
                class_weights: Vec::new(),
            },
            rounds: 9,
            round_steps: None,
            shards: vec![rows],
            validation: rows,
            merge: Merge::Mean,
            outer,
            initial: None,
            operation: Operation::default(),
            notes: Vec::new(),
        });
        // A step of Adam's leaves weights that those of a first step may not be.
        let bytes = Arc::new(object::encode_parameters(ObjectKind::Weights, &network, &[1e-15, 1.0, 0.0, -1e-13]));
        let state = Arc::new(OuterState::restored(&outer, 4, 3..=3, 3, &[7; 32]).unwrap());
        let own = Weights { digest: Digest::of(&bytes), bytes: bytes.clone(), outer: state.clone() };
        let mut prepare = |start| {
            let specification = specification.clone();
            match merger.work(MergeWork::Prepare { job: JobId(1), specification, start, working_bytes: 0 }) {
                Some(DriverEvent::Prepared { weights, .. }) => weights,
                _ => panic!("no weights"),
            }
        };
        let goes_on = prepare(Start::Own(own.clone()));
        assert_eq!((goes_on.digest, &goes_on.bytes, &goes_on.outer), (own.digest, &bytes, &state));
        let begins = prepare(Start::Given(bytes));
        assert!(begins.digest != own.digest && *begins.outer == OuterState::default());
    }
}
