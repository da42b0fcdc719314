//! Steps of a job, computed anew with the model's own code: tasks on all cores, and the merge of their updates. Owns the
//! threads; does not know what the results are compared with.
//!
//! | file | owns |
//! |---|---|
//! | `step` | what a step starts from and comes to |
//! | `gradients` | a step of merged gradients |

mod gradients;
mod step;

use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crossbeam_channel::Receiver;

use super::conversation::Object;
use crate::digest::Digest;
use crate::job::Specification;
use crate::model::conformance::{self, Difference};
use crate::model::train::{TASK_BYTES_MAX, TrainError, sum_working_bytes, working_bytes};
use crate::model::{
    ExactSum, Kernel, LittleEndianF32, Median, Merge, MergeError, Network, OuterState, ReadUpdates, Rows, Trainer,
};
use crate::wire::object::{self, ObjectKind};

use gradients::{Gradients, Hardware};
use step::{Unless, weights_of};

pub(super) use step::{Base, Computed, Recomputed, Stopped};

/// Computes steps of one job.
pub(super) struct Recomputer<'a> {
    specification: &'a Specification,
    /// Of the job.
    steps: u64,
    /// If the job merges gradients.
    gradients: Option<Gradients>,
    shards: Vec<Rows<'a>>,
    trainers: Vec<Trainer>,
    kernel: Kernel,
    interrupts: &'a Receiver<()>,
}

impl<'a> Recomputer<'a> {
    /// Of a job whose shards these objects are, in their order.
    pub(super) fn new(
        specification: &'a Specification,
        shards: &'a [Object],
        interrupts: &'a Receiver<()>,
    ) -> Result<Recomputer<'a>, String> {
        let kernel = Kernel::best();
        let open = |(index, object): (usize, &'a Object)| {
            open_rows(specification, object).map_err(|why| format!("shard {index}: {why}"))
        };
        debug_assert_eq!(shards.len(), specification.shards.len());
        let shards: Vec<Rows<'a>> = shards.iter().enumerate().map(open).collect::<Result<_, _>>()?;
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let steps = specification.steps();
        let gradients = specification.gradient_steps().map(|cut| Gradients::new(cut, steps, kernel, cores));
        let rows = || shards.iter().map(Rows::rows);
        let (largest_task, cores) = match gradients {
            Some(_) => (sum_working_bytes(&specification.training, rows()), cores),
            None => {
                let bytes = rows().map(|rows| working_bytes(&specification.training, rows));
                (bytes.max().unwrap_or(0), cores.min(shards.len()))
            }
        };
        if largest_task > TASK_BYTES_MAX {
            return Err(format!("a task takes {largest_task} bytes of memory, and {TASK_BYTES_MAX} are allowed"));
        }
        let trainers = (0..cores).map(|_| Trainer::new(kernel)).collect();
        Ok(Recomputer { specification, steps, gradients, shards, trainers, kernel, interrupts })
    }

    /// Sums the gradients of a step of merged gradients: [`Gradients::step`].
    pub(super) fn step(&mut self, step: u64, base: &Base, skipped: &[u32]) -> Result<Recomputed, Stopped> {
        let Recomputer { specification, gradients, shards, trainers, kernel, interrupts, .. } = self;
        match gradients {
            Some(gradients) => {
                let hardware = Hardware { trainers, kernel: *kernel, interrupts };
                gradients.step(specification, shards, hardware, step, base, skipped)
            }
            None => Ok(Recomputed { lines: vec![(0, Err("the job merges no gradients".to_owned()))], merged: None }),
        }
    }

    /// Trains these shards of a step from `base`; with `merges`, merges what comes of them.
    pub(super) fn tasks(
        &mut self,
        step: u64,
        base: &Base,
        shards: &[u32],
        merges: bool,
    ) -> Result<Recomputed, Stopped> {
        let Recomputer { specification, steps, shards: rows, trainers, kernel, interrupts, .. } = self;
        let (kernel, steps, network) = (*kernel, *steps, &specification.training.network);
        let weights = weights_of(network, base)?;
        let known = base.outer.as_ref().filter(|_| merges);
        let round = known.map(|outer| (outer, Mutex::new(Merging::of(specification, kernel))));
        let next = AtomicUsize::new(0);
        let tasks = Mutex::new(Vec::with_capacity(shards.len()));
        let train = |trainer: &mut Trainer, shard: u32| -> Result<Computed, TrainError> {
            let rows = &rows[shard as usize];
            let trained =
                trainer.train(&specification.training, step, shard, &weights, rows, &mut Unless(interrupts))?;
            let update = object::encode_parameters(ObjectKind::Update, network, &trained.update);
            let loss = trained.loss;
            let digest = Digest::of(&update);
            if let Some((_, round)) = &round {
                round.lock().unwrap_or_else(PoisonError::into_inner).add(network, update, rows.rows());
            }
            Ok(Computed { object: digest, loss })
        };
        let proved: Result<(), Difference> = thread::scope(|scope| {
            let mut threads = Vec::with_capacity(trainers.len());
            for trainer in trainers {
                threads.push(scope.spawn(|| {
                    conformance::prove_thread(kernel)?;
                    while let Some(&shard) = shards.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let trained = train(trainer, shard);
                        let is_over = trained == Err(TrainError::Cancelled);
                        tasks.lock().unwrap_or_else(PoisonError::into_inner).push((shard, trained));
                        if is_over {
                            break;
                        }
                    }
                    Ok(())
                }));
            }
            threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
        });
        proved.map_err(Stopped::Arithmetic)?;
        let mut tasks = tasks.into_inner().unwrap_or_else(PoisonError::into_inner);
        if tasks.iter().any(|(_, trained)| *trained == Err(TrainError::Cancelled)) {
            return Err(Stopped::Interrupted);
        }
        tasks.sort_unstable_by_key(|(shard, _)| *shard);
        let is_whole = tasks.iter().all(|(_, trained)| trained.is_ok());
        let merged = round.filter(|_| is_whole).map(|(outer, round)| {
            let (mut merged, mut state) = (base.weights.to_vec(), OuterState::clone(outer));
            let round = round.into_inner().unwrap_or_else(PoisonError::into_inner);
            let values = object::parameters_mut(network, &mut merged);
            let rate = specification.outer.rate(step, steps);
            round.move_weights(specification, kernel, rate, &mut state, values).map_err(|error| error.to_string())?;
            Ok(Base { weights: Arc::new(merged), outer: Some(Arc::new(state)) })
        });
        let told =
            |(shard, trained): (u32, Result<Computed, TrainError>)| (shard, trained.map_err(|error| error.to_string()));
        Ok(Recomputed { lines: tasks.into_iter().map(told).collect(), merged })
    }
}

/// A round's updates on their way into its weights.
enum Merging {
    Mean(ExactSum),
    /// The objects: the median needs all of them at once.
    Median(Vec<Vec<u8>>),
}

impl Merging {
    fn of(specification: &Specification, kernel: Kernel) -> Merging {
        let parameters = specification.training.network.parameters();
        match specification.merge {
            Merge::Mean => Merging::Mean(ExactSum::new(kernel, parameters, specification.rows())),
            Merge::Median => Merging::Median(Vec::new()),
        }
    }

    /// Takes in an update, which is of this network. A trained one can always be merged: training has checked it.
    fn add(&mut self, network: &Network, update: Vec<u8>, rows: u32) {
        match self {
            Merging::Mean(sum) => {
                if let Ok(values) = object::parameters(ObjectKind::Update, network, &update) {
                    let _ = sum.add(values, rows);
                }
            }
            Merging::Median(updates) => updates.push(update),
        }
    }

    /// Turns a step's weights into the next one's, and the outer optimiser's state too.
    fn move_weights(
        self,
        specification: &Specification,
        kernel: Kernel,
        rate: f32,
        state: &mut OuterState,
        values: &mut [LittleEndianF32],
    ) -> Result<(), MergeError> {
        let Specification { training, outer, .. } = specification;
        if outer.is_average() {
            return self.finish(&training.network, values);
        }
        let mut update = vec![[0; 4]; values.len()];
        self.finish(&training.network, &mut update)?;
        state.step(kernel, outer, rate, &update, values, &mut |_| ())
    }

    fn finish(self, network: &Network, values: &mut [LittleEndianF32]) -> Result<(), MergeError> {
        match self {
            Merging::Mean(sum) => sum.mean_onto(values),
            Merging::Median(updates) => {
                let done = Median::default().onto(&mut Objects { network, updates: &updates }, values, &mut |_| ());
                done.unwrap_or_else(|never| match never {})
            }
        }
    }
}

/// Updates as objects in memory.
struct Objects<'a> {
    network: &'a Network,
    updates: &'a [Vec<u8>],
}

impl ReadUpdates for Objects<'_> {
    type Error = Infallible;

    fn count(&self) -> usize {
        self.updates.len()
    }

    fn read(&mut self, index: usize, range: Range<usize>, out: &mut [LittleEndianF32]) -> Result<(), Infallible> {
        if let Ok(values) = object::parameters(ObjectKind::Update, self.network, &self.updates[index]) {
            out.copy_from_slice(&values[range]);
        }
        Ok(())
    }
}

fn open_rows<'a>(specification: &Specification, object: &'a [u8]) -> Result<Rows<'a>, String> {
    let (network, loss) = (&specification.training.network, specification.training.recipe.loss);
    let parts = object::decode_rows(network, loss, object).map_err(|error| error.to_string())?;
    Rows::of_parts(network.input_layout(), parts).map_err(|error| error.to_string())
}
