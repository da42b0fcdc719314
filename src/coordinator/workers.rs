//! The heavy arithmetic: one thread merges, one validates. Owns each running job's sum; does not know nodes.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::error::StartError;
use super::event::DriverEvent;
use super::threads::Threads;
use super::transfers::Transfers;
use super::work::{Merging, Validating, Weights};
use crate::digest::{Digest, Hasher};
use crate::engine::Event;
use crate::job::JobId;
use crate::model::{self, ExactSum, Kernel, Network};
use crate::store::Spares;
use crate::wire::object::{self, ObjectKind};

/// Starts the merging thread. Its queue holds no more than the engine has asked for: one update a task of one round.
pub(super) fn start_merging(
    threads: &Threads,
    kernel: Kernel,
    spares: Spares,
    transfers: Transfers,
    events: Sender<DriverEvent>,
) -> Result<(Sender<Merging>, JoinHandle<()>), StartError> {
    let (orders, queue) = unbounded();
    let run = move || {
        let mut merger = Merger { kernel, sums: HashMap::new(), spares, transfers, events };
        for order in &queue {
            merger.obey(order);
        }
    };
    Ok((orders, threads.start_computing("merge", kernel, run)?))
}

struct Sum {
    network: Network,
    sum: ExactSum,
}

struct Merger {
    kernel: Kernel,
    sums: HashMap<JobId, Sum>,
    /// Where memory comes from and goes.
    spares: Spares,
    transfers: Transfers,
    events: Sender<DriverEvent>,
}

impl Merger {
    fn obey(&mut self, order: Merging) {
        let job = match order {
            Merging::Release { job } => {
                self.sums.remove(&job);
                if self.sums.is_empty() {
                    self.spares.clear();
                    self.transfers.clear();
                }
                return;
            }
            Merging::Prepare { job, .. } | Merging::Accumulate { job, .. } | Merging::Finish { job, .. } => job,
        };
        let done = catch_unwind(AssertUnwindSafe(|| self.work(order)));
        let event = done.unwrap_or_else(|_| {
            let reason = "merging met a fault of the program's own".to_owned();
            Some(DriverEvent::Event(Event::WorkFailed { job, reason }))
        });
        if let Some(event) = event {
            let _ = self.events.send(event);
        }
    }

    fn work(&mut self, order: Merging) -> Option<DriverEvent> {
        let failed = |job, reason: String| Some(DriverEvent::Event(Event::WorkFailed { job, reason }));
        match order {
            Merging::Prepare { job, specification, initial } => {
                let training = &specification.training;
                let network = training.network.clone();
                let bytes = match initial {
                    None => {
                        let values = model::initialise(&network, training.recipe.initialisation, training.seed);
                        Arc::new(object::encode_parameters(ObjectKind::Weights, &network, &values))
                    }
                    Some(bytes) => match object::weights_to_start_from(&network, bytes) {
                        Ok(bytes) => bytes,
                        Err(error) => return failed(job, format!("the initial weights: {error}")),
                    },
                };
                let weights = Weights { digest: Digest::of(&bytes), bytes };
                let rows = specification.shards.iter().map(|shard| u64::from(shard.rows)).sum();
                let sum = ExactSum::new(self.kernel, network.parameters(), rows);
                self.sums.insert(job, Sum { network, sum });
                Some(DriverEvent::Prepared { job, weights })
            }
            Merging::Accumulate { job, step, shard, rows, update } => {
                let Sum { network, sum } = self.sums.get_mut(&job)?;
                let added = match Arc::try_unwrap(update) {
                    Ok(update) => sum.add_parts(update.into_values(network), rows),
                    // It is another task's, too.
                    Err(update) => sum.add_parts(update.values(network), rows),
                };
                Some(DriverEvent::Event(match added {
                    Ok(()) => Event::Accumulated { job, step, shard },
                    Err(error) => Event::UpdateRefused { job, step, shard, reason: error.to_string() },
                }))
            }
            Merging::Finish { job, step, base } => {
                let Sum { network, sum } = self.sums.get_mut(&job)?;
                // A link may still be sending it, or the last round's validation reading it.
                let mut bytes = Arc::try_unwrap(base).unwrap_or_else(|shared| {
                    // No update is on its way: their memory makes room for the copy.
                    self.transfers.clear();
                    let mut bytes = self.spares.take(shared.len() as u64);
                    bytes.extend_from_slice(&shared);
                    bytes
                });
                // What stands before the values is part of the object, and of its name.
                let first = bytes.len().saturating_sub(4 * network.parameters());
                let mut hasher = Hasher::default();
                hasher.update(&bytes[..first]);
                let values = object::parameters_mut(network, &mut bytes);
                match sum.mean_onto_and_tell(values, &mut |part| hasher.update(part.as_flattened())) {
                    Ok(()) => {
                        sum.reset();
                        let weights = Weights { digest: hasher.finish(), bytes: Arc::new(bytes) };
                        Some(DriverEvent::Merged { job, step, weights })
                    }
                    Err(error) => failed(job, error.to_string()),
                }
            }
            Merging::Release { .. } => None,
        }
    }
}

/// Starts the validating thread. At most one order a round of one job waits.
pub(super) fn start_validating(
    threads: &Threads,
    kernel: Kernel,
    events: Sender<DriverEvent>,
) -> Result<(Sender<Validating>, JoinHandle<()>), StartError> {
    let (orders, queue): (Sender<Validating>, Receiver<Validating>) = unbounded();
    let run = move || {
        let mut last: Option<(JobId, Digest, model::Evaluation)> = None;
        for order in &queue {
            let (job, step) = (order.job, order.step);
            // A round that trains nothing ends with the weights that the one before it ended with.
            let known = last.filter(|(known, digest, _)| (*known, *digest) == (job, order.digest));
            let done = match known {
                Some((.., evaluation)) => Ok(Ok(evaluation)),
                None => catch_unwind(AssertUnwindSafe(|| validate(kernel, &order))),
            };
            if let Ok(Ok(evaluation)) = &done {
                last = Some((job, order.digest, *evaluation));
            }
            let event = match done {
                Ok(Ok(evaluation)) => {
                    Event::Validated { job, step, rows: evaluation.rows, metrics: evaluation.metrics() }
                }
                Ok(Err(reason)) => Event::WorkFailed { job, reason },
                Err(_) => Event::WorkFailed { job, reason: "validating met a fault of the program's own".to_owned() },
            };
            let _ = events.send(DriverEvent::Event(event));
        }
    };
    Ok((orders, threads.start_computing("validate", kernel, run)?))
}

fn validate(kernel: Kernel, order: &Validating) -> Result<model::Evaluation, String> {
    let training = &order.specification.training;
    let recipe = &training.recipe;
    let weights = object::decode_parameters(ObjectKind::Weights, &training.network, &order.weights)
        .map_err(|error| format!("the merged weights: {error}"))?;
    model::evaluate(kernel, &training.network, recipe.activation, recipe.log_epsilon, &weights, &order.rows)
        .map_err(|error| error.to_string())
}
