//! What the ledger knows of one job, and what must be true of it in the end.

use std::collections::{BTreeMap, BTreeSet};

use gradwire::digest::Digest;
use gradwire::engine::NodeKey;
use gradwire::job::{FailReason, MergedTask, Outcome, Profile, Progress, RoundRecord, Summary};
use rand::RngExt as _;
use rand::rngs::ChaCha8Rng;

use crate::clock::Clock;
use crate::coverage::Coverage;
use crate::model;
use crate::scenario::JobPlan;

/// Where a job stands.
#[derive(Debug)]
pub enum Stage {
    Waiting,
    Preparing,
    Training { base: Digest, step: u64 },
    Merging,
    Paused,
    Finished,
}

/// A result on its way into the sum, or in it.
#[derive(Debug)]
pub struct Won {
    pub update: Digest,
    pub is_exact: bool,
    pub node: NodeKey,
    /// Which dispatch of its task it came of.
    pub attempt: u32,
}

/// A round that was written down.
pub struct Written {
    pub progress: Progress,
    /// The alarms until then that were about it or what came before it, by their steps.
    alarms: Vec<u64>,
}

pub struct Job {
    pub plan: JobPlan,
    pub has_data: bool,
    pub stage: Stage,
    pub admitted: bool,
    /// When it was submitted, of all submissions.
    pub submitted_as: u64,
    pub merged: BTreeMap<(u64, u32), Won>,
    pub merging: BTreeMap<(u64, u32), Won>,
    pub skipped: BTreeSet<(u64, u32)>,
    pub validating: BTreeMap<u64, Digest>,
    /// The weights before each step, and where the time had gone when they were there.
    pub bases: BTreeMap<u64, (Digest, Profile)>,
    /// The rounds that are written down, in order. As many of them as are durable are left after a crash.
    pub written: Vec<Written>,
    /// So many of them are durable for certain: whoever watches was told, or an earlier crash left them.
    pub durable: usize,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Whether that is known to be durable, or that it is paused.
    pub standing_is_durable: bool,
    /// It was paused, and nothing of it was written since: a crash may make it forget that somebody resumed it.
    pub resumed: bool,
    /// Differences between two results of a task, by step.
    pub alarms: Vec<u64>,
    pub released: bool,
    pub worker_failed: bool,
    /// Runs from the job's start on.
    pub clock: Option<Clock>,
}

impl Job {
    pub fn new(plan: &JobPlan) -> Job {
        Job {
            plan: plan.clone(),
            has_data: false,
            stage: Stage::Waiting,
            admitted: false,
            submitted_as: 0,
            merged: BTreeMap::new(),
            merging: BTreeMap::new(),
            skipped: BTreeSet::new(),
            validating: BTreeMap::new(),
            bases: BTreeMap::new(),
            written: Vec::new(),
            durable: 0,
            outcome: None,
            standing_is_durable: false,
            resumed: false,
            alarms: Vec::new(),
            released: false,
            worker_failed: false,
            clock: None,
        }
    }

    pub fn is_open(&self) -> bool {
        self.admitted && !matches!(self.stage, Stage::Finished)
    }

    pub fn is_running(&self) -> bool {
        !matches!(self.stage, Stage::Waiting | Stage::Paused | Stage::Finished)
    }

    /// Whether an update that was made up is merged.
    pub fn is_lied_to(&self, made_up: &BTreeSet<Digest>) -> bool {
        self.merged.values().any(|won| made_up.contains(&won.update))
    }

    /// Whether everything up to a step is what any fleet would make of it.
    fn is_reproducible(&self, step: u64) -> bool {
        let is_exact = self.merged.iter().all(|(&(merged, _), won)| merged > step || won.is_exact);
        is_exact && self.skipped.iter().all(|&(skipped, _)| skipped > step) && self.alarms.iter().all(|&at| at > step)
    }

    /// Tasks merged up to a step by the names of their nodes.
    fn shares(&self, step: u64) -> BTreeMap<String, u64> {
        let mut shares = BTreeMap::new();
        for (_, won) in self.merged.iter().filter(|(place, _)| place.0 <= step) {
            *shares.entry(name(won.node)).or_insert(0) += 1;
        }
        shares
    }

    /// The weights that it starts from, or goes on from.
    pub fn first_base(&self) -> Digest {
        self.written.last().map_or_else(|| model::prepare(self.plan.job), |written| written.progress.base)
    }

    /// Where its time has gone up to where it starts, or goes on.
    pub fn time_before(&self) -> Profile {
        self.written.last().map_or(Profile::default(), |written| written.progress.profile)
    }

    /// A round is to be written down: what it says is what was.
    pub fn persist(&mut self, record: &RoundRecord) {
        let RoundRecord { base, tasks, progress } = record;
        let step = progress.last.step();
        assert_eq!(step, self.written.len() as u64, "rounds are written out of order");
        assert_eq!(*base, self.bases[&step].0, "a round is written with other weights than it started from");
        let (after, profile) = self.bases[&(step + 1)];
        assert_eq!((progress.base, progress.profile), (after, profile), "another round's weights or time are written");
        assert_eq!(tasks.len(), self.plan.shards as usize);
        for (task, shard) in tasks.iter().zip(0..) {
            let won = self.merged.get(&(step, shard));
            assert_eq!(task.is_none(), self.skipped.contains(&(step, shard)));
            let told = task
                .as_ref()
                .map(|MergedTask { node, attempt, loss, update }| (node.clone(), *attempt, *loss, *update));
            let was = won.map(|won| (name(won.node), won.attempt, model::loss(won.update), won.update));
            assert_eq!(told, was, "shard {shard} of step {step} is not written as it was");
        }
        let merged = self.merged.keys().filter(|place| place.0 <= step).count() as u64;
        let skipped = self.skipped.iter().filter(|place| place.0 <= step).count() as u64;
        assert_eq!((progress.merged, progress.skipped), (merged, skipped));
        let shares: BTreeMap<String, u64> =
            progress.nodes.iter().map(|share| (share.node.clone(), share.tasks)).collect();
        assert_eq!(shares, self.shares(step), "the nodes' shares are wrong");
        assert_eq!(progress.reproducible, self.is_reproducible(step), "what is written is wrong about the result");
        let alarms = self.alarms.iter().copied().filter(|&at| at <= step).collect();
        self.written.push(Written { progress: progress.clone(), alarms });
        self.resumed = false;
    }

    /// The job is paused: it goes on from what is written.
    pub fn go_back(&mut self) {
        let rounds = self.written.len() as u64;
        self.merged.retain(|place, _| place.0 < rounds);
        self.skipped.retain(|place| place.0 < rounds);
        self.bases.retain(|&step, _| step <= rounds);
        self.alarms.retain(|&step| step < rounds);
        self.merging.clear();
        self.validating.clear();
        self.clock = None;
    }

    /// The coordinator is gone: what is durable is drawn, and the job is as that says. None if it is not known any more.
    pub fn crash(&mut self, is_kept: bool, rng: &mut ChaCha8Rng) -> Option<Left> {
        if !self.admitted || !self.has_data || (self.released && !is_kept) {
            *self = Job::new(&self.plan);
            return None;
        }
        let is_standing_durable = self.standing_is_durable || rng.random_bool(0.7);
        let is_ended = matches!(self.stage, Stage::Finished);
        let is_paused = match self.stage {
            Stage::Paused => is_standing_durable,
            _ => self.resumed && rng.random_bool(0.3),
        };
        let all = self.written.len();
        // A pause or an end is written behind the rounds.
        let is_behind_all = is_paused || (is_ended && is_standing_durable);
        if !is_behind_all && all > self.durable && rng.random_bool(0.5) {
            self.written.truncate(rng.random_range(self.durable..all));
        }
        let alarms = self.written.last().map_or_else(Vec::new, |written| written.alarms.clone());
        self.durable = self.written.len();
        self.admitted = false;
        self.standing_is_durable = is_standing_durable && (is_ended || is_paused);
        self.resumed = false;
        if let Some(outcome) = self.outcome.take().filter(|_| is_standing_durable) {
            // Of a failure only the words are written.
            let outcome = match outcome {
                Outcome::Failed(reason) => Outcome::Failed(FailReason::Recorded((&reason).into())),
                outcome => outcome,
            };
            self.outcome = Some(outcome.clone());
            return Some(Left::Ended(outcome));
        }
        self.go_back();
        self.alarms = alarms;
        self.stage = Stage::Waiting;
        self.released = false;
        self.worker_failed = false;
        let progress = self.written.last().map(|written| Box::new(written.progress.clone()));
        Some(Left::Open { progress, is_paused })
    }

    /// The job is DONE: everything planned is merged or skipped, the weights are what they must be, and all of the time that
    /// has passed is told truly.
    pub fn done(&mut self, now_us: u64, summary: &Summary, made_up: &BTreeSet<Digest>, coverage: &mut Coverage) {
        let JobPlan { shards, rounds, arithmetic, .. } = self.plan;
        let planned = u64::from(shards) * u64::from(rounds);
        assert_eq!(self.written.len(), rounds as usize);
        assert_eq!((summary.merged, summary.skipped), (self.merged.len() as u64, self.skipped.len() as u64));
        assert_eq!(summary.merged + summary.skipped, planned, "a task is missing");
        let shares: BTreeMap<String, u64> =
            summary.nodes.iter().map(|share| (share.node.clone(), share.tasks)).collect();
        assert_eq!(shares, self.shares(u64::MAX));
        let is_reproducible = self.is_reproducible(u64::MAX);
        assert_eq!(
            summary.reproducible, is_reproducible,
            "the summary is wrong about whether the result is reproducible"
        );
        if is_reproducible && !self.is_lied_to(made_up) {
            let undisturbed = model::undisturbed(self.plan.job, shards, rounds, arithmetic);
            assert_eq!(summary.weights, undisturbed, "the result depends on the fleet");
        }
        let clock = self.clock.as_mut().expect("a job that is done was started");
        assert_eq!(summary.elapsed_us, clock.before_us + now_us - clock.started_us);
        assert_eq!(summary.profile.total_us(), summary.elapsed_us, "the parts of the time do not add up");
        assert_eq!(summary.profile, clock.done(now_us), "the time went elsewhere");
        for ((_, part_us), count) in summary.profile.parts().iter().zip(&mut coverage.parts) {
            *count += u64::from(*part_us > 0);
        }
        coverage.done += 1;
        coverage.reproducible += u64::from(summary.reproducible);
        coverage.merged += summary.merged;
        coverage.skipped += summary.skipped;
        coverage.duplicates += self.written.last().map_or(0, |written| written.progress.duplicates);
    }
}

/// What a crash has left of a job.
pub enum Left {
    Open { progress: Option<Box<Progress>>, is_paused: bool },
    Ended(Outcome),
}

/// A node's name.
pub fn name(node: NodeKey) -> String {
    format!("n{}", node.0)
}
