//! How a job ends is true: done with the weights that follow from its tasks alone, and reproducible if any fleet would have made
//! them, or given up for a reason that there is. Owns what speaks for and against that.

use std::collections::BTreeSet;

use gradwire::engine::{Action, JobEvent, NodeKey, Notice};
use gradwire::job::{FailReason, JobId, OnNoNodes, OnTaskFailure, Outcome, Progress, Summary};

use super::View;
use super::nodes::Nodes;
use super::tasks::Tasks;
use crate::model;
use crate::scenario::JobPlan;

#[derive(Default)]
pub struct Outcomes {
    /// The jobs whose last revival that was told is the last one that there is.
    last_revivals: BTreeSet<JobId>,
    /// Results that differed, by job and step.
    alarms: Vec<(JobId, u64)>,
}

impl Outcomes {
    /// The engine ordered something while so many jobs are paused.
    pub fn action(&mut self, view: View, action: &Action, nodes: &Nodes, tasks: &Tasks, paused: usize) {
        match action {
            Action::Prepare { job } => {
                self.last_revivals.remove(job);
                self.alarms.retain(|(other, step)| other != job || *step < view.journal.steps(*job));
            }
            Action::Persist { job, record } => {
                let step = record.progress.steps - 1;
                let was_reproducible = view.journal.progress(*job).is_none_or(|progress| progress.reproducible);
                let is_exact = tasks.are_exact(view, *job, view.journal.steps(*job)..record.progress.steps);
                let is_reproducible = was_reproducible && is_exact && !self.is_alarmed(*job, step);
                assert_eq!(
                    record.progress.reproducible, is_reproducible,
                    "step {step} is wrong about the fleet's part"
                );
            }
            Action::Suspend { job } => {
                let step = view.bases[job].step;
                assert!(step <= view.journal.steps(*job), "a job is paused before its steps are written");
            }
            Action::Report { job, event: JobEvent::Notice(Notice::DigestMismatch { .. }) } => {
                self.alarms.push((*job, tasks.step_told()));
            }
            Action::Report { job, event: JobEvent::Notice(Notice::Revival { number, of, .. }) } => {
                self.last_revivals.remove(job);
                self.last_revivals.extend((number == of).then_some(*job));
            }
            Action::Report { job, event: JobEvent::Paused(reason) } => {
                assert!(may_pause(view, *job, reason, paused), "a job is paused: {reason}");
                self.assert_failed(view, view.scenario.job(*job), reason, nodes, tasks);
            }
            Action::Report { job, event: JobEvent::Finished(outcome) } => {
                let plan = view.scenario.job(*job);
                match outcome {
                    Outcome::Done(summary) => self.assert_done(view, plan, summary),
                    Outcome::Failed(reason) => {
                        if let FailReason::NoNodes { .. } | FailReason::TaskFailed { .. } = reason {
                            let step = view.bases[job].step;
                            assert!(step <= view.journal.steps(*job), "a job is given up before its steps are written");
                        }
                        assert!(!may_pause(view, *job, reason, paused), "a job fails that may be paused");
                        self.assert_failed(view, plan, reason, nodes, tasks);
                    }
                    Outcome::Cancelled => {}
                }
            }
            _ => {}
        }
    }

    /// Whether results differed up to a step.
    fn is_alarmed(&self, job: JobId, step: u64) -> bool {
        self.alarms.iter().any(|&(alarmed, at)| alarmed == job && at <= step)
    }

    /// What is told in the end is what is written, and what any fleet would have made of the job.
    fn assert_done(&self, view: View, plan: &JobPlan, summary: &Summary) {
        let job = plan.job;
        let written = view.journal.progress(job).expect("a job that is done has rounds");
        let Progress { last, best, merged, skipped, nodes, reproducible, .. } = written;
        let last = last.expect("a job that is done has rounds");
        let result = model::result(plan, view.journal.weights_after_rounds(job));
        let result = result.expect("a job is done before its last round is written");
        let told = model::Result { weights: summary.weights, rounds: summary.rounds, round: summary.round };
        assert_eq!(told, result, "the result is not that of the best round");
        let chosen = best.map_or(last, |best| best.round);
        assert_eq!((chosen.round, last.round), (summary.round, summary.rounds));
        assert_eq!((summary.loss, summary.metrics, summary.rows), (chosen.loss, chosen.metrics, chosen.rows));
        assert_eq!(summary.test.map(|test| test.rows), plan.is_tested.then_some(20), "the test rows are forgotten");
        let is_tested_well = summary.test.is_none_or(|test| test.metrics == chosen.metrics);
        assert!(is_tested_well, "other weights are tested than those that came of it");
        assert_eq!((summary.merged, summary.skipped), (*merged, *skipped));
        let steps = u64::from(last.round) * plan.steps.of_round();
        let units = (0..steps).map(|step| plan.steps.units(step).len() as u64).sum::<u64>();
        assert_eq!(merged + skipped, units, "a task, or a block, is missing");
        assert!(summary.nodes.len() == nodes.len() && summary.nodes.iter().all(|node| nodes.contains(node)));
        // Of steps that were begun before it was known that the job was over, nothing is in the result.
        assert_eq!(summary.reproducible, *reproducible && !self.is_alarmed(job, steps - 1));
        if summary.reproducible && !view.journal.updates(job).any(model::is_made_up) {
            assert_eq!(told, model::undisturbed(plan), "the result depends on the fleet");
        }
    }

    /// The reason is one that there is, and no node could have helped.
    fn assert_failed(&self, view: View, plan: &JobPlan, reason: &FailReason, nodes: &Nodes, tasks: &Tasks) {
        let is_reliable = |node| view.scenario.node(node).is_reliable && view.scenario.may_work(node, plan.job);
        let is_there = nodes.helpers(view.scenario, plan.job).any(|(_, node)| is_reliable(node));
        let could_be_done = is_there && plan.diverges_at.is_none();
        match reason {
            FailReason::NoNodes { .. } | FailReason::NoEligibleNode { .. } => {
                assert!(!nodes.has_helper(view.scenario, plan.job), "a node could do the job");
                assert!(self.last_revivals.contains(&plan.job), "a job is given up before the last revival");
                let could_come = |node: &NodeKey| is_reliable(*node) && !nodes.quarantined.contains(node);
                assert!(!nodes.listed.iter().any(could_come), "a good node could be dialled");
            }
            FailReason::TaskFailed { place, .. } => {
                assert!(plan.on_task_failure == OnTaskFailure::Fail && !could_be_done, "{reason}");
                tasks.assert_hopeless(view, nodes, tasks.of_place(view, plan.job, *place));
            }
            FailReason::AllSkipped { .. } => {
                assert!(plan.on_task_failure == OnTaskFailure::Skip && !could_be_done, "{reason}");
            }
            FailReason::DataMissing { .. } => assert!(plan.data_missing),
            FailReason::Work { .. } => assert!(plan.worker_breaks),
            // Nodes say nothing of their memory here, and the coordinator lacks none.
            FailReason::DataWrong { .. }
            | FailReason::NoNodeHasMemory(_)
            | FailReason::TooLarge { .. }
            | FailReason::Deadly { .. }
            | FailReason::Recorded { .. } => panic!("there is no such reason: {reason}"),
        }
    }
}

/// Whether a job that is given up for this reason is paused, while so many are.
fn may_pause(view: View, job: JobId, reason: &FailReason, paused: usize) -> bool {
    let is_deserted = matches!(reason, FailReason::NoNodes { .. } | FailReason::NoEligibleNode { .. });
    let has_room = paused < view.scenario.settings.paused_max;
    is_deserted && has_room && view.scenario.job(job).on_no_nodes == OnNoNodes::Pause
}
