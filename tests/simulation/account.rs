//! What the ledger knows of one job, and what must be true of it in the end.

use std::collections::{BTreeMap, BTreeSet};

use gradwire::digest::Digest;
use gradwire::engine::{NodeKey, Summary};

use crate::clock::Clock;
use crate::ending::Ending;
use crate::model;
use crate::scenario::JobPlan;

/// Where a job stands.
#[derive(Debug)]
pub enum Stage {
    Waiting,
    Preparing,
    Training { base: Digest, step: u64 },
    Merging,
    Finished,
}

/// A result on its way into the sum.
pub struct Merging {
    pub update: Digest,
    pub is_exact: bool,
    pub node: NodeKey,
}

pub struct Job {
    pub plan: JobPlan,
    pub has_data: bool,
    pub stage: Stage,
    pub admitted: bool,
    pub merged: BTreeMap<(u64, u32), Digest>,
    pub merging: BTreeMap<(u64, u32), Merging>,
    pub skipped: BTreeSet<(u64, u32)>,
    pub validating: BTreeMap<u64, Digest>,
    pub rounds_reported: u64,
    /// Whether everything merged was computed in the job's arithmetic.
    pub is_exact: bool,
    pub alarms: u64,
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
            merged: BTreeMap::new(),
            merging: BTreeMap::new(),
            skipped: BTreeSet::new(),
            validating: BTreeMap::new(),
            rounds_reported: 0,
            is_exact: true,
            alarms: 0,
            released: false,
            worker_failed: false,
            clock: None,
        }
    }

    /// Whether an update that was made up is merged.
    pub fn is_lied_to(&self, made_up: &BTreeSet<Digest>) -> bool {
        self.merged.values().any(|update| made_up.contains(update))
    }

    /// The job is DONE: everything planned is merged or skipped, the weights are what they must be, and all of the time that
    /// has passed is told truly.
    pub fn done(&mut self, now_us: u64, summary: &Summary, made_up: &BTreeSet<Digest>, ending: &mut Ending) {
        let JobPlan { shards, rounds, arithmetic, .. } = self.plan;
        let planned = u64::from(shards) * u64::from(rounds);
        assert_eq!(self.rounds_reported, u64::from(rounds));
        assert_eq!((summary.merged, summary.skipped), (self.merged.len() as u64, self.skipped.len() as u64));
        assert_eq!(summary.merged + summary.skipped, planned, "a task is missing");
        assert_eq!(summary.nodes.iter().map(|share| share.merged).sum::<u64>(), summary.merged);
        let is_reproducible = self.skipped.is_empty() && self.is_exact && self.alarms == 0;
        assert_eq!(
            summary.reproducible, is_reproducible,
            "the summary is wrong about whether the result is reproducible"
        );
        if is_reproducible && !self.is_lied_to(made_up) {
            let undisturbed = model::undisturbed(self.plan.job, shards, rounds, arithmetic);
            assert_eq!(summary.base, undisturbed, "the result depends on the fleet");
        }
        let clock = self.clock.as_mut().expect("a job that is done was started");
        assert_eq!(summary.elapsed_us, now_us - clock.started_us);
        assert_eq!(summary.profile.total_us(), summary.elapsed_us, "the parts of the time do not add up");
        assert_eq!(summary.profile, clock.done(now_us), "the time went elsewhere");
        for ((_, part_us), count) in summary.profile.parts().iter().zip(&mut ending.parts) {
            *count += u64::from(*part_us > 0);
        }
        ending.done += 1;
        ending.reproducible += u64::from(summary.reproducible);
        ending.merged += summary.merged;
        ending.skipped += summary.skipped;
        ending.duplicates += summary.duplicates;
    }
}
