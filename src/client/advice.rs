//! What would make a job faster that is done, by where its time went. Owns when advice pays, which is measured
//! (`benches/network.rs`, docs/measured.md), and its words; does not know how it is printed. It only advises: what a job
//! computes follows from what was asked for, and never from the network.

use crate::job::{SHARDS_MAX, Specification, Summary};
use crate::model::recipe::EPOCHS_MAX;
use crate::model::{BatchSize, Recipe};
use crate::wire::text::counted;

use super::usual;

/// There is no advice below this part of the time, nor below this time: it would not be worth another model.
const SHARE_MIN: f64 = 0.5;
const SECONDS_MIN: f64 = 2.0;
/// Nor where merging takes less time than this of the wire: so long it takes within a machine, or in one rack.
const EXCHANGE_SECONDS_MIN: f64 = 0.002;
/// A job that is advised takes this part of the time, at most, as far as can be told.
const PREDICTED_MAX: f64 = 0.5;
/// Batches of each shard between two merges: letters lose next to nothing, and the network has a quarter to do.
const LOCAL_STEPS: u32 = 16;
/// Where that is too little, passes over the rows: of three, where nodes train little, letters lose least; else of one.
const PASSES: [u32; 2] = [3, 1];
/// A third of the rounds is enough of them where there are so many: of 12, four are not.
const ROUNDS_MIN: u32 = 24;
const FEWER: u32 = 3;
/// What is exchanged takes as long as so many bytes, at least: what is short travels as long as the way is.
const EXCHANGE_BYTES_MIN: f64 = 65_536.0;

/// A suggestion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Advice {
    /// The options that it is about, as typed.
    pub(super) options: String,
    /// All of it, in sentences.
    pub(super) text: String,
}

/// What would have made the job faster; nothing where nothing is known that pays.
pub(super) fn advice(specification: &Specification, done: &Summary) -> Option<Advice> {
    let case = Case::of(specification, done);
    if case.is_most(case.wire) && case.is_slow_network() {
        return if case.steps > case.rounds { case.fewer_merges() } else { case.longer_rounds() };
    }
    case.is_most(case.stragglers).then(|| case.smaller_tasks()).flatten()
}

/// What is looked at, times in seconds. From a peer they may be any numbers.
struct Case<'a> {
    specification: &'a Specification,
    elapsed: f64,
    wire: f64,
    stragglers: f64,
    training: f64,
    nodes: usize,
    steps: u64,
    rounds: u64,
}

impl Case<'_> {
    fn of<'a>(specification: &'a Specification, done: &Summary) -> Case<'a> {
        let seconds = |us: u64| us as f64 / 1e6;
        Case {
            specification,
            elapsed: seconds(done.elapsed_us.max(done.profile.total_us())),
            wire: seconds(done.profile.wire_us),
            stragglers: seconds(done.profile.stragglers_us),
            training: seconds(done.training_us),
            nodes: done.nodes.iter().filter(|node| node.tasks > 0).count().max(1),
            steps: specification.steps(),
            rounds: specification.rounds.into(),
        }
    }

    fn is_most(&self, seconds: f64) -> bool {
        seconds >= SECONDS_MIN && seconds >= SHARE_MIN * self.elapsed
    }

    /// Whether what took the wire's time was the merging: every time long, and more of it than of the rows, which travel
    /// once, to every node at most.
    fn is_slow_network(&self) -> bool {
        let Specification { training, .. } = self.specification;
        let (there_and_back, value_bytes) = (2.0, 4.0);
        let exchange_bytes =
            (there_and_back * value_bytes * training.network.parameters() as f64).max(EXCHANGE_BYTES_MIN);
        let row_bytes = value_bytes * (f64::from(training.network.inputs()) + 1.0);
        let steps = self.steps as f64;
        self.wire >= steps * EXCHANGE_SECONDS_MIN
            && steps * exchange_bytes >= row_bytes * self.specification.rows() as f64
    }

    /// A job that merges several times in a pass over the rows could do so once in a pass, or in several.
    fn fewer_merges(&self) -> Option<Advice> {
        let Specification { training, round_steps, shards, operation, .. } = self.specification;
        // How often a round goes through the rows was then somebody's wish.
        if round_steps.is_some() {
            return None;
        }
        let recipe = &training.recipe;
        let pays = |seconds: f64| seconds <= PREDICTED_MAX * self.elapsed;
        let local =
            recipe.merges_gradients().then(|| self.local_merges()).filter(|merges| pays(self.predicted(1, *merges)));
        let passes = PASSES.into_iter().find(|passes| pays(self.predicted(*passes, self.rounds)));
        let (mut options, merges, after, passes) = match (local, passes) {
            (Some(merges), _) => (
                format!("--local-steps {LOCAL_STEPS}"),
                merges,
                format!("after every {LOCAL_STEPS} batches of a shard"),
                1,
            ),
            (None, Some(1)) => ("--epochs 1".to_owned(), self.rounds, "after every pass over the rows".to_owned(), 1),
            (None, Some(passes)) => (
                format!("--epochs {passes}"),
                self.rounds,
                format!("after every {passes} passes over the rows"),
                passes,
            ),
            (None, None) => return None,
        };
        let (merged, mut replaced) = match recipe.local_steps {
            Some(local) if local > 1 => {
                (format!("after every {local} batches of a shard"), vec![format!("--local-steps {local}")])
            }
            _ => ("after every batch".to_owned(), Vec::new()),
        };
        replaced.extend(operation.tasks_per_step.map(|_| "--tasks-per-step".to_owned()));
        let replaced = match &replaced[..] {
            [] => String::new(),
            replaced => format!(" in place of {}", replaced.join(" and ")),
        };
        // A batch of all nodes together is too much for each.
        if let BatchSize::Rows(rows) = Recipe::DEFAULT.batch
            && recipe.merges_gradients()
            && recipe.batch != BatchSize::Rows(usual::batch(self.specification.rows()))
        {
            options += &format!(" --batch {rows}");
        }
        // Without the option they would be another number then.
        let rounds = usual::rounds(self.specification.rows(), recipe.batch);
        if recipe.merges_gradients() && self.rounds == u64::from(rounds) {
            options += &format!(" --rounds {rounds}");
        }
        let cost = if passes > 1 { format!(", and trains {passes} times as much") } else { String::new() };
        let busy = match shards.len() {
            shards if shards < self.nodes => {
                format!(" No more than {} train at a time then.", counted(shards as u64, "node"))
            }
            _ => String::new(),
        };
        let text = format!(
            "{} {merged}. {options}{replaced} does that {} in all, {after}{cost}. The model is another one: compare their \
             accuracy.{busy}",
            self.went_to_the_network(),
            times(merges),
        );
        Some(Advice { options, text })
    }

    /// How long it takes with rounds of so many passes and so many merges in all, if nodes train no faster and the wire is no
    /// faster.
    fn predicted(&self, passes: u32, merges: u64) -> f64 {
        let busy = self.nodes.min(self.specification.shards.len()).max(1);
        self.training * f64::from(passes) / busy as f64 + self.wire * merges as f64 / self.steps as f64
    }

    /// Merges of the job's rounds with the usual batches and [`LOCAL_STEPS`].
    fn local_merges(&self) -> u64 {
        let BatchSize::Rows(batch) = Recipe::DEFAULT.batch else { return self.steps };
        let most = self.specification.shards.iter().map(|shard| u64::from(shard.rows)).max().unwrap_or(0);
        self.rounds * most.div_ceil(u64::from(batch.get()) * u64::from(LOCAL_STEPS))
    }

    /// A job that merges after some passes could do so after more, in fewer rounds.
    fn longer_rounds(&self) -> Option<Advice> {
        let Specification { training, rounds, .. } = self.specification;
        let recipe = &training.recipe;
        let epochs = recipe.epochs.checked_mul(FEWER).filter(|epochs| *epochs <= EPOCHS_MAX)?;
        if recipe.local_steps.is_some() || *rounds < ROUNDS_MIN {
            return None;
        }
        let rounds = rounds.div_ceil(FEWER);
        let options = format!("--epochs {epochs} --rounds {rounds}");
        let merged = match recipe.epochs {
            1 => "after every pass over the rows".to_owned(),
            epochs => format!("after every {} over the rows", counted(epochs.into(), "pass")),
        };
        let text = format!(
            "{} {merged}. {options} does that {} in all and trains as much. The model is another one: compare their accuracy.",
            self.went_to_the_network(),
            times(rounds.into())
        );
        Some(Advice { options, text })
    }

    fn went_to_the_network(&self) -> String {
        format!(
            "{:.0} % of the time went to the network: {} travelled to {} and back {},",
            100.0 * self.wire / self.elapsed,
            counted(self.specification.training.network.parameters() as u64, "parameter"),
            counted(self.nodes as u64, "node"),
            times(self.steps)
        )
    }

    /// Of smaller tasks, the faster nodes train more.
    fn smaller_tasks(&self) -> Option<Advice> {
        let Specification { training, shards, .. } = self.specification;
        let now = shards.len() as u32;
        let wanted = now.checked_mul(2).filter(|wanted| *wanted <= SHARDS_MAX)?;
        let BatchSize::Rows(batch) = Recipe::DEFAULT.batch else { return None };
        let is_cut_small = self.specification.rows() / u64::from(wanted) < batch.get().into();
        // Merged gradients are cut by the nodes' speeds already; and one node waits for nobody.
        if training.recipe.local_steps.is_some() || self.nodes < 2 || is_cut_small {
            return None;
        }
        let options = format!("--shards {wanted}");
        let text = format!(
            "{:.0} % of the time, nodes that were done waited for slower ones. {options} in place of {now} makes smaller \
             tasks, of which faster nodes take more, each trained on fewer rows: accuracy may suffer, compare both.",
            100.0 * self.stragglers / self.elapsed
        );
        Some(Advice { options, text })
    }
}

fn times(count: u64) -> String {
    match count {
        1 => "once".to_owned(),
        count => format!("{count} times"),
    }
}

#[cfg(test)]
mod tests;
