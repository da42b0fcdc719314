//! The heavy arithmetic: one thread merges, one validates. Owns each running job's sum and base weights; does not know
//! nodes.

use std::collections::HashMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::driver::Input;
use super::transfers::Room;
use crate::digest::Digest;
use crate::engine::Event;
use crate::job::{JobId, Specification};
use crate::model::{self, ExactSum, Kernel, Network, Rows};
use crate::wire::object::{self, ObjectKind};

/// Weights that exist: their values, and the object that holds them.
#[derive(Clone)]
pub(super) struct Weights {
    pub(super) digest: Digest,
    pub(super) values: Arc<Vec<f32>>,
    pub(super) bytes: Arc<Vec<u8>>,
}

impl Weights {
    fn new(network: &Network, values: Vec<f32>) -> Weights {
        let bytes = object::encode_parameters(ObjectKind::Weights, network, &values);
        Weights { digest: Digest::of(&bytes), values: Arc::new(values), bytes: Arc::new(bytes) }
    }
}

/// What the merging thread is to do.
pub(super) enum Merging {
    /// Make the weights of step 0: drawn, or those of this object.
    Prepare { job: JobId, specification: Arc<Specification>, initial: Option<Arc<Vec<u8>>> },
    /// Add an update to the job's sum.
    Accumulate { job: JobId, step: u64, shard: u32, rows: u32, values: Vec<f32>, room: Option<Room> },
    /// Divide the sum, and begin the next.
    Finish { job: JobId, step: u64 },
    /// Forget the job.
    Release { job: JobId },
}

/// What the validating thread is to do.
pub(super) struct Validating {
    pub(super) job: JobId,
    pub(super) step: u64,
    pub(super) specification: Arc<Specification>,
    pub(super) weights: Arc<Vec<f32>>,
    pub(super) rows: Arc<Rows>,
}

/// Starts the merging thread. Its queue holds no more than the engine has asked for: one update a task of one round.
pub(super) fn start_merging(inputs: Sender<Input>) -> io::Result<(Sender<Merging>, JoinHandle<()>)> {
    let (orders, queue) = unbounded();
    let run = move || {
        let mut merger = Merger { sums: HashMap::new(), inputs };
        for order in &queue {
            merger.obey(order);
        }
    };
    Ok((orders, Builder::new().name("merge".to_owned()).spawn(run)?))
}

struct Sum {
    network: Network,
    base: Arc<Vec<f32>>,
    sum: ExactSum,
}

struct Merger {
    sums: HashMap<JobId, Sum>,
    inputs: Sender<Input>,
}

impl Merger {
    fn obey(&mut self, order: Merging) {
        let job = match order {
            Merging::Release { job } => {
                self.sums.remove(&job);
                return;
            }
            Merging::Prepare { job, .. } | Merging::Accumulate { job, .. } | Merging::Finish { job, .. } => job,
        };
        let done = catch_unwind(AssertUnwindSafe(|| self.work(order)));
        let input = done.unwrap_or_else(|_| {
            let reason = "merging met a fault of the program's own".to_owned();
            Some(Input::Event(Event::WorkFailed { job, reason }))
        });
        if let Some(input) = input {
            let _ = self.inputs.send(input);
        }
    }

    fn work(&mut self, order: Merging) -> Option<Input> {
        let failed = |job, reason: String| Some(Input::Event(Event::WorkFailed { job, reason }));
        match order {
            Merging::Prepare { job, specification, initial } => {
                let training = &specification.training;
                let network = training.network.clone();
                let values = match initial {
                    None => model::initialise(&network, training.recipe.initialisation, training.seed),
                    Some(bytes) => match object::decode_parameters(ObjectKind::Weights, &network, &bytes) {
                        Ok(values) => values,
                        Err(error) => return failed(job, format!("the initial weights: {error}")),
                    },
                };
                let weights = Weights::new(&network, values);
                let sum = ExactSum::new(network.parameters());
                self.sums.insert(job, Sum { network, base: weights.values.clone(), sum });
                Some(Input::Prepared { job, weights })
            }
            Merging::Accumulate { job, step, shard, rows, values, room } => {
                let sum = self.sums.get_mut(&job)?;
                let added = sum.sum.add(&values, rows);
                drop((values, room));
                Some(Input::Event(match added {
                    Ok(()) => Event::Accumulated { job, step, shard },
                    Err(error) => Event::UpdateRefused { job, step, shard, reason: error.to_string() },
                }))
            }
            Merging::Finish { job, step } => {
                let sum = self.sums.get_mut(&job)?;
                match sum.sum.mean_onto(&sum.base) {
                    Ok(values) => {
                        let weights = Weights::new(&sum.network, values);
                        sum.sum.reset();
                        sum.base = weights.values.clone();
                        Some(Input::Merged { job, step, weights })
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
    kernel: Kernel,
    inputs: Sender<Input>,
) -> io::Result<(Sender<Validating>, JoinHandle<()>)> {
    let (orders, queue): (Sender<Validating>, Receiver<Validating>) = unbounded();
    let run = move || {
        for order in &queue {
            let (job, step) = (order.job, order.step);
            let done = catch_unwind(AssertUnwindSafe(|| validate(kernel, &order)));
            let event = match done {
                Ok(Ok(evaluation)) => Event::Validated {
                    job,
                    step,
                    errors: evaluation.errors,
                    rows: evaluation.rows,
                    loss: evaluation.loss,
                },
                Ok(Err(error)) => Event::WorkFailed { job, reason: error.to_string() },
                Err(_) => Event::WorkFailed { job, reason: "validating met a fault of the program's own".to_owned() },
            };
            let _ = inputs.send(Input::Event(event));
        }
    };
    Ok((orders, Builder::new().name("validate".to_owned()).spawn(run)?))
}

fn validate(kernel: Kernel, order: &Validating) -> Result<model::Evaluation, model::evaluate::EvaluateError> {
    let training = &order.specification.training;
    let recipe = &training.recipe;
    model::evaluate(kernel, &training.network, recipe.activation, recipe.log_epsilon, &order.weights, &order.rows)
}
