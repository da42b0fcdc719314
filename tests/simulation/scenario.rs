//! A life, drawn from a seed: the fleet and its faults, the jobs and what goes wrong with them.

use std::time::Duration;

use gradwire::engine::{NodeKey, Policy, Settings};
use gradwire::job::{JobId, OnNoNodes, OnTaskFailure, TaskId, TaskRows};
use rand::RngExt as _;
use rand::rngs::ChaCha8Rng;

use crate::steps::{Kind, Steps};

/// The arithmetic that most nodes compute.
pub const COMMON_ARITHMETIC: u16 = 1;
/// The arithmetic of the others.
pub const RARE_ARITHMETIC: u16 = 2;

pub struct Scenario {
    pub settings: Settings,
    pub nodes: Vec<NodePlan>,
    pub jobs: Vec<JobPlan>,
    /// Longest way of a message, in microseconds.
    pub delay_us_max: u64,
    /// When the coordinator is killed whatever happens.
    pub crashes_at_us: Vec<u64>,
    /// How often it may be killed besides, and how likely that is after what is worth writing down.
    pub crashes_max: u32,
    pub crashes: f64,
}

/// A node and its faults. Probabilities are by task unless said otherwise.
#[derive(Clone, Debug)]
pub struct NodePlan {
    pub arithmetic: u16,
    pub workers: u32,
    /// Time of a task of a hundred rows, in microseconds, give or take a fifth.
    pub task_us: u64,
    /// When it is started.
    pub up_at_us: u64,
    /// Honest, immortal and always listed: with one such node every healthy job must be DONE.
    pub is_reliable: bool,
    /// Mean time to the next fault of the node or its link.
    pub fault_us: Option<u64>,
    pub rejects: f64,
    pub retryable: f64,
    pub fails: f64,
    /// Takes fifty times as long.
    pub straggles: f64,
    /// Sends its result twice.
    pub repeats: f64,
    /// Has an update that comes apart from its announcement.
    pub announces: f64,
    /// Has such an update that cannot be had.
    pub breaks_off: f64,
    pub lies: Lies,
}

/// What a dishonest node does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Lies {
    None,
    /// No answer at all.
    KeepsSilent(f64),
    /// Results of the wrong shape, or of another task than it was asked for.
    Malforms(f64),
    /// Results that cannot be summed.
    Poisons(f64),
    /// Results that are wrong, and that nothing but a comparison can tell.
    Miscomputes(f64),
}

impl NodePlan {
    pub fn is_honest(&self) -> bool {
        self.lies == Lies::None
    }
}

#[derive(Clone, Debug)]
pub struct JobPlan {
    pub job: JobId,
    pub arithmetic: u16,
    pub steps: Steps,
    /// Of a row: where there are very many, shards are so large that they are to stay where they are.
    pub inputs: u32,
    pub rounds: u32,
    /// Rounds without a better one that it waits for one.
    pub patience: Option<u32>,
    /// Errors that a round may have to end it, with a patience.
    pub errors_enough: Option<u8>,
    /// Whether what comes of it is tried on test rows.
    pub is_tested: bool,
    /// How much longer a row takes than those of other jobs.
    pub slowness: u64,
    pub on_task_failure: OnTaskFailure,
    pub on_no_nodes: OnNoNodes,
    pub allow_inexact: bool,
    pub submitted_at_us: u64,
    pub data_after_us: u64,
    pub data_missing: bool,
    /// From this step on, whoever trains it gets updates that cannot be summed.
    pub diverges_at: Option<u64>,
    pub cancelled_at_us: Option<u64>,
    pub worker_breaks: bool,
}

impl JobPlan {
    /// Rows of a task.
    pub fn task_rows(&self, task: TaskId, rows: &TaskRows) -> u32 {
        self.steps.rows(task.step, self.steps.numbers(task.step, rows))
    }
}

impl Scenario {
    pub fn node(&self, node: NodeKey) -> &NodePlan {
        &self.nodes[node.0 as usize]
    }

    /// Whether a node may work for a job.
    pub fn may_work(&self, node: NodeKey, job: JobId) -> bool {
        let job = self.job(job);
        job.allow_inexact || self.node(node).arithmetic == job.arithmetic
    }

    /// Whether the node of this name gives the result that a job promises.
    pub fn is_exact(&self, node: &str, job: JobId) -> bool {
        let mut named = self.nodes.iter().zip(0..).filter(|(_, place)| node == name(NodeKey(*place)));
        named.any(|(plan, _)| plan.arithmetic == self.job(job).arithmetic)
    }

    pub fn job(&self, job: JobId) -> &JobPlan {
        self.jobs.iter().find(|plan| plan.job == job).expect("a job of this life")
    }

    pub fn draw(rng: &mut ChaCha8Rng) -> Scenario {
        let policy = if rng.random_bool(0.5) { Policy::Random } else { Policy::LoadBalancing };
        let mut settings = Settings::new(policy);
        settings.revival_waits = [1, 2, 4].map(Duration::from_secs).to_vec();
        settings.jobs_at_once = rng.random_range(1..=4);
        settings.queued_max = rng.random_range(1..=4);
        settings.paused_max = rng.random_range(0..=3);
        let is_wild = rng.random_bool(0.7);
        let mut nodes: Vec<NodePlan> = (0..rng.random_range(1..=6)).map(|_| node(rng, is_wild)).collect();
        let jobs: Vec<JobPlan> = (0..rng.random_range(1..=4)).map(|index| job(rng, index)).collect();
        // A task is with a silent node for ever where no other may do it.
        let is_done_by_others = nodes.iter().any(|node| node.is_reliable && node.arithmetic == COMMON_ARITHMETIC)
            && jobs.iter().all(|job| job.diverges_at.is_none());
        if is_wild && is_done_by_others && rng.random_bool(0.3) {
            let may_be = |node: &&mut NodePlan| !node.is_reliable && node.arithmetic == COMMON_ARITHMETIC;
            for silent in nodes.iter_mut().filter(may_be).take(2) {
                silent.lies = Lies::KeepsSilent(rng.random_range(0.05..1.0));
            }
        }
        let is_mortal = rng.random_bool(0.4);
        let crashes_max = if is_mortal { rng.random_range(1..=3) } else { 0 };
        Scenario {
            settings,
            nodes,
            jobs,
            delay_us_max: rng.random_range(50..20_000),
            crashes_at_us: (0..crashes_max).map(|_| rng.random_range(0..6_000_000)).collect(),
            crashes_max,
            crashes: rng.random_range(0.0..0.3),
        }
    }
}

/// A node's name.
pub fn name(node: NodeKey) -> String {
    format!("n{}", node.0)
}

fn node(rng: &mut ChaCha8Rng, is_wild: bool) -> NodePlan {
    let is_reliable = rng.random_bool(0.3);
    let mut sometimes = |chance: f64, most: f64| {
        if is_wild && !is_reliable && rng.random_bool(chance) { rng.random_range(0.0..most) } else { 0.0 }
    };
    let rejects = sometimes(0.3, 1.0);
    let retryable = sometimes(0.1, 0.5);
    let fails = sometimes(0.1, 0.3);
    let straggles = sometimes(0.2, 0.2);
    let repeats = sometimes(0.4, 0.5);
    let breaks_off = sometimes(0.3, 0.3);
    let announces = if rng.random_bool(0.4) { rng.random_range(0.0..1.0) } else { 0.0 };
    let lies = match rng.random_range(0..13) {
        _ if is_reliable || !is_wild => Lies::None,
        0 | 1 => Lies::Malforms(rng.random_range(0.05..1.0)),
        2 => Lies::Poisons(rng.random_range(0.05..1.0)),
        3 | 4 => Lies::Miscomputes(rng.random_range(0.05..0.5)),
        _ => Lies::None,
    };
    NodePlan {
        arithmetic: if !is_reliable && rng.random_bool(0.1) { RARE_ARITHMETIC } else { COMMON_ARITHMETIC },
        workers: rng.random_range(1..=3),
        task_us: 1000 << rng.random_range(0..8),
        up_at_us: if is_reliable || rng.random_bool(0.7) { 0 } else { rng.random_range(0..8_000_000) },
        is_reliable,
        fault_us: (is_wild && !is_reliable && rng.random_bool(0.6)).then(|| rng.random_range(20_000..3_000_000)),
        rejects,
        retryable,
        fails,
        straggles,
        repeats,
        announces,
        breaks_off,
        lies,
    }
}

fn job(rng: &mut ChaCha8Rng, index: u128) -> JobPlan {
    let submitted_at_us = rng.random_range(0..2_000_000);
    let steps = steps(rng);
    let rounds_max = if steps.of_round() > 1 { 3 } else { 5 };
    // How many rows a block has depends on them.
    let inputs = if steps.merge_gradients() || rng.random_bool(0.6) { 2 } else { 1 << 17 };
    let patience = rng.random_bool(0.4).then(|| rng.random_range(1..=3));
    let slowness = if steps.merge_gradients() { [1, 8, 32][rng.random_range(0..3)] } else { 1 };
    JobPlan {
        job: JobId(index + 1),
        arithmetic: if rng.random_bool(0.05) { RARE_ARITHMETIC } else { COMMON_ARITHMETIC },
        steps,
        inputs,
        rounds: rng.random_range(1..=rounds_max),
        patience,
        errors_enough: patience.and_then(|_| rng.random_bool(0.3).then(|| rng.random_range(0..=1))),
        is_tested: rng.random_bool(0.3),
        slowness,
        on_task_failure: if rng.random_bool(0.5) { OnTaskFailure::Fail } else { OnTaskFailure::Skip },
        on_no_nodes: if rng.random_bool(0.6) { OnNoNodes::Pause } else { OnNoNodes::Fail },
        allow_inexact: rng.random_bool(0.2),
        submitted_at_us,
        data_after_us: rng.random_range(0..1_000_000),
        data_missing: rng.random_bool(0.03),
        diverges_at: rng.random_bool(0.05).then(|| rng.random_range(0..4)),
        cancelled_at_us: rng.random_bool(0.08).then(|| submitted_at_us + rng.random_range(0..3_000_000)),
        worker_breaks: rng.random_bool(0.01),
    }
}

/// What a job's steps consist of: shards of about a hundred rows, or blocks of shards of any size.
fn steps(rng: &mut ChaCha8Rng) -> Steps {
    let kind = match rng.random_range(0..10) {
        0..6 => Kind::Epochs,
        6 => Kind::LocalSteps(rng.random_range(1..=3)),
        _ => return blocks(rng),
    };
    let shards = rng.random_range(1..=10);
    Steps::new(kind, (0..shards).map(|shard| 100 + shard % 2).collect())
}

fn blocks(rng: &mut ChaCha8Rng) -> Steps {
    let shards = rng.random_range(1..=5);
    let shard_rows: Vec<u32> = (0..shards).map(|_| rng.random_range(1..=60)).collect();
    let kind = Kind::Gradients {
        // Up to eight blocks, and some rows that make none.
        batch: rng.random_range(16..72),
        round_steps: rng.random_bool(0.5).then(|| rng.random_range(1..=5)),
        tasks_per_step: rng.random_bool(0.25).then(|| rng.random_range(1..=6)),
        is_median: rng.random_bool(0.25),
    };
    Steps::new(kind, shard_rows)
}
