//! The simulated mathematics: what is trained, merged and validated are digests of what went in. Owns what the undisturbed
//! result of a job is.
//!
//! The gradients of blocks are summed like real ones: whatever the tasks, the sum is that of its blocks. A block that is missing,
//! or is there twice, or is another one, makes it another sum.

use std::collections::BTreeMap;

use gradwire::digest::{Digest, Hasher};
use gradwire::job::{JobId, TaskRows};

use crate::scenario::{JobPlan, RARE_ARITHMETIC};

/// By this anybody but the engine may tell what a node has made up.
const MADE_UP: &[u8; 8] = b"made up.";

/// The weights that a job starts from.
pub fn prepare(job: JobId) -> Digest {
    Digest::of_parts(&[b"base", &job.0.to_le_bytes()])
}

/// What an honest node makes of a task.
pub fn train(base: Digest, rows: &TaskRows, arithmetic: u16) -> Digest {
    match rows {
        TaskRows::Shard(shard) => {
            Digest::of_parts(&[b"update", &base.0, &shard.to_le_bytes(), &arithmetic.to_le_bytes()])
        }
        TaskRows::Blocks { epoch, ranges } => {
            let places = |first: u32, count: u32| first..first + count;
            let blocks = ranges.iter().flat_map(|range| {
                places(range.first, range.count).map(|place| block(base, *epoch, range.shard, place, arithmetic))
            });
            blocks.sum::<Sum>().into()
        }
    }
}

/// What the outer optimiser remembers at these weights.
pub fn remembered(base: Digest) -> Digest {
    Digest::of_parts(&[b"outer", &base.0])
}

/// What a node makes up.
pub fn make_up(number: u64) -> Digest {
    let Digest(mut bytes) = Digest::of(&number.to_le_bytes());
    bytes[24..].copy_from_slice(MADE_UP);
    Digest(bytes)
}

/// Whether no honest node has made this update, or has made all of this sum.
pub fn is_made_up(Digest(bytes): Digest) -> bool {
    bytes.ends_with(MADE_UP)
}

/// The weights after a step whose updates are merged, by shard.
pub fn merge(base: Digest, updates: &BTreeMap<u32, Digest>) -> Digest {
    let mut hasher = Hasher::default();
    hasher.update(&base.0);
    for (shard, update) in updates {
        hasher.update(&shard.to_le_bytes());
        hasher.update(&update.0);
    }
    hasher.finish()
}

/// The weights after a step whose blocks' gradients come to this sum.
pub fn follow(base: Digest, sum: Digest) -> Digest {
    Digest::of_parts(&[b"step", &base.0, &sum.0])
}

/// The loss that an honest node reports of a shard.
pub fn loss(update: Digest) -> f64 {
    f64::from(update.0[0])
}

/// The gradients of some blocks of one step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sum {
    value: u128,
    loss: u32,
    pub blocks: u16,
    /// Of these, those that are computed as most nodes do not.
    rare: u16,
    is_made_up: bool,
}

impl Sum {
    pub fn loss(self) -> f64 {
        self.loss.into()
    }

    /// Whether it is what honest nodes of this arithmetic make of so many blocks.
    pub fn is_all(self, arithmetic: u16) -> bool {
        let rare = if arithmetic == RARE_ARITHMETIC { self.blocks } else { 0 };
        !self.is_made_up && self.rare == rare
    }
}

impl From<Digest> for Sum {
    fn from(digest: Digest) -> Sum {
        let Digest(bytes) = digest;
        let part = |start: usize, count: usize| {
            let mut padded = [0; 16];
            padded[..count].copy_from_slice(&bytes[start..start + count]);
            u128::from_le_bytes(padded)
        };
        Sum {
            value: part(0, 16),
            loss: part(16, 4) as u32,
            blocks: part(20, 2) as u16,
            rare: part(22, 2) as u16,
            is_made_up: is_made_up(digest),
        }
    }
}

impl From<Sum> for Digest {
    fn from(Sum { value, loss, blocks, rare, is_made_up }: Sum) -> Digest {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&value.to_le_bytes());
        bytes[16..20].copy_from_slice(&loss.to_le_bytes());
        bytes[20..22].copy_from_slice(&blocks.to_le_bytes());
        bytes[22..24].copy_from_slice(&rare.to_le_bytes());
        if is_made_up {
            bytes[24..].copy_from_slice(MADE_UP);
        }
        Digest(bytes)
    }
}

impl std::iter::Sum for Sum {
    fn sum<I: Iterator<Item = Sum>>(sums: I) -> Sum {
        sums.fold(Sum::default(), |sum, other| Sum {
            value: sum.value.wrapping_add(other.value),
            loss: sum.loss.wrapping_add(other.loss),
            blocks: sum.blocks.wrapping_add(other.blocks),
            rare: sum.rare.wrapping_add(other.rare),
            is_made_up: sum.is_made_up || other.is_made_up,
        })
    }
}

fn block(base: Digest, epoch: u64, shard: u32, place: u32, arithmetic: u16) -> Sum {
    let (epoch, shard, place) = (epoch.to_le_bytes(), shard.to_le_bytes(), place.to_le_bytes());
    let Digest(bytes) = Digest::of_parts(&[b"block", &base.0, &epoch, &shard, &place, &arithmetic.to_le_bytes()]);
    let mut sum = Sum::from(Digest(bytes));
    (sum.loss, sum.blocks, sum.rare) = (bytes[31].into(), 1, u16::from(arithmetic == RARE_ARITHMETIC));
    Sum { is_made_up: false, ..sum }
}

/// What the gradients of a step's blocks come to, but for some, whoever computes them.
pub fn sum_of_step(plan: &JobPlan, base: Digest, step: u64, skipped: &[u32]) -> Digest {
    let epoch = plan.steps.epoch(step);
    let merged = (0..).zip(plan.steps.units(step)).filter(|(number, _)| !skipped.contains(number));
    let blocks = merged.map(|(_, unit)| block(base, epoch, unit.shard, unit.place, plan.arithmetic));
    blocks.sum::<Sum>().into()
}

/// What weights are worth: their errors, and their loss; both are often those of others.
pub fn worth(Digest(weights): Digest) -> (u8, u8) {
    (weights[8] % 4, weights[9] % 3)
}

/// What a job comes to.
#[derive(Debug, PartialEq)]
pub struct Result {
    pub weights: Digest,
    /// Rounds done, and the one after which the weights are these.
    pub rounds: u32,
    pub round: u32,
}

/// What comes of a job whose rounds lead to these weights, one after the other: it is not over yet if that is none.
pub fn result(plan: &JobPlan, weights_after: impl IntoIterator<Item = Digest>) -> Option<Result> {
    let mut best: Option<(Digest, u32)> = None;
    for (round, weights) in (1..).zip(weights_after) {
        let is_better = best.is_none_or(|(best, _)| worth(weights) < worth(best));
        if is_better || plan.patience.is_none() {
            best = Some((weights, round));
        }
        let (weights, best_round) = best?;
        let is_enough = plan.errors_enough.is_some_and(|errors| worth(weights).0 <= errors);
        if is_enough || round == plan.rounds || plan.patience.is_some_and(|patience| round - best_round == patience) {
            return Some(Result { weights, rounds: round, round: best_round });
        }
    }
    None
}

/// What comes of a job that nothing disturbed.
pub fn undisturbed(plan: &JobPlan) -> Result {
    let mut base = prepare(plan.job);
    let rounds = (0..plan.rounds).map(|round| {
        let of_round = plan.steps.of_round();
        let steps = (0..of_round).map(|step| u64::from(round) * of_round + step);
        base = steps.fold(base, |base, step| follow_step(plan, base, step));
        base
    });
    result(plan, rounds).expect("a job that nothing disturbs is over after its last round")
}

/// The weights after a step that nothing disturbs.
fn follow_step(plan: &JobPlan, base: Digest, step: u64) -> Digest {
    if plan.steps.merge_gradients() {
        return follow(base, sum_of_step(plan, base, step, &[]));
    }
    let shards = plan.steps.units(step).iter().map(|unit| unit.shard);
    let train = |shard| (shard, train(base, &TaskRows::Shard(shard), plan.arithmetic));
    merge(base, &shards.map(train).collect())
}
