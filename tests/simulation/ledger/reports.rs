//! What whoever watches a job is told, and whether it is so: rounds, notices, pauses, ends.

use gradwire::engine::{JobEvent, LinkKey, NodeKey, Notice};
use gradwire::job::{Attempt, FailReason, JobId, OnNoNodes, OnTaskFailure, Outcome, TaskId};

use super::{Ledger, Next};
use crate::account::Stage;
use crate::model;
use crate::scenario::COMMON_ARITHMETIC;

impl Ledger {
    pub(super) fn report(&mut self, now_us: u64, id: JobId, event: &JobEvent) {
        let job = self.job(id);
        assert!(!matches!(job.stage, Stage::Finished), "a job that is over reports {event:?}");
        match event {
            JobEvent::Queued { .. } => assert!(matches!(job.stage, Stage::Waiting)),
            JobEvent::Started => {}
            JobEvent::RoundDone(round) => {
                assert!(job.validating.remove(&round.step()).is_some());
                let shards = (0..job.plan.shards).filter_map(|shard| job.merged.get(&(round.step(), shard)));
                let (count, loss) =
                    shards.fold((0, 0.0), |(count, sum), won| (count + 1, sum + model::loss(won.update)));
                let rows = (0..job.plan.shards).filter(|&shard| job.merged.contains_key(&(round.step(), shard)));
                let rows: u32 = rows.map(|shard| 100 + shard % 2).sum();
                assert_eq!((round.merged, round.loss), (count, loss / f64::from(rows)));
                assert_eq!(round.merged + round.skipped, job.plan.shards);
            }
            JobEvent::Notice(notice) => self.notice(now_us, id, notice),
            JobEvent::Paused(reason) => self.paused(id, reason),
            JobEvent::Finished(outcome) => self.finished(now_us, id, outcome),
        }
    }

    fn notice(&mut self, now_us: u64, id: JobId, notice: &Notice) {
        match notice {
            Notice::TaskSkipped { step, shard, .. } => {
                let is_out = |(_, attempt, _): &(LinkKey, Attempt, bool)| {
                    (attempt.task.job, attempt.task.step, attempt.task.shard) == (id, *step, *shard)
                };
                assert!(!self.live.iter().any(is_out), "a task is skipped while it is out");
                self.expect_hopeless(TaskId { job: id, step: *step, shard: *shard });
                let job = self.job(id);
                assert_eq!(job.plan.on_task_failure, OnTaskFailure::Skip);
                assert!(job.skipped.insert((*step, *shard)), "a task is skipped twice");
                self.clock(id).task_done(now_us, None);
            }
            Notice::DigestMismatch { step, shard, merged, other, .. } => {
                let job = self.job(id);
                let place = (*step, *shard);
                assert_eq!(
                    job.merged.get(&place).map(|won| won.update),
                    Some(*merged),
                    "nothing differs from what is none"
                );
                job.alarms.push(*step);
                assert!(self.made_up.contains(merged) || self.made_up.contains(other), "an alarm for nothing");
                self.coverage.mismatches += 1;
            }
            Notice::UpdateRefused { .. } => self.coverage.refusals += 1,
            Notice::UpdatesLost { .. } => {}
            Notice::NodeLost { .. } => self.coverage.lost += 1,
            _ => {}
        }
    }

    fn finished(&mut self, now_us: u64, id: JobId, outcome: &Outcome) {
        if let Outcome::Failed(FailReason::TaskFailed { step, shard, .. }) = outcome {
            self.expect_hopeless(TaskId { job: id, step: *step, shard: *shard });
        }
        if let Outcome::Failed(reason @ (FailReason::NoNodes { .. } | FailReason::NoEligibleNode { .. })) = outcome {
            self.expect_deserted(id, reason);
        }
        let is_reliable = |node: &NodeKey| self.plans[node.0 as usize].is_reliable;
        let reliable_is_there = self.links.values().any(|(node, _)| is_reliable(node));
        let paused = self.jobs.values().filter(|job| job.admitted && matches!(job.stage, Stage::Paused)).count();
        let job = self.jobs.get_mut(&id).expect("a job of this life");
        match outcome {
            Outcome::Done(summary) => job.done(now_us, summary, &self.made_up, &mut self.coverage),
            Outcome::Cancelled => {
                assert_eq!(self.cancelling.take(), Some(id), "a job is cancelled that nobody wants to be");
                self.coverage.cancelled += 1;
            }
            Outcome::Failed(reason) => {
                self.coverage.failed += 1;
                let is_common = job.plan.arithmetic == COMMON_ARITHMETIC || job.plan.allow_inexact;
                let is_healthy = is_common && job.plan.diverges_at.is_none();
                match reason {
                    FailReason::NoNodes { .. } | FailReason::NoEligibleNode { .. } => {
                        let may_pause = job.plan.on_no_nodes == OnNoNodes::Pause;
                        assert!(!may_pause || paused >= self.settings.paused_max, "a job fails that may be paused");
                        self.coverage.unpaused += u64::from(may_pause);
                    }
                    FailReason::TaskFailed { .. } => {
                        assert_eq!(job.plan.on_task_failure, OnTaskFailure::Fail);
                        assert!(!(reliable_is_there && is_healthy), "a task fails that a good node could do");
                    }
                    FailReason::AllSkipped { .. } => {
                        assert_eq!(job.plan.on_task_failure, OnTaskFailure::Skip);
                        assert!(!(reliable_is_there && is_healthy), "tasks are skipped that a good node could do");
                    }
                    FailReason::DataMissing { .. } => assert!(job.plan.data_missing),
                    FailReason::DataWrong { .. } => panic!("nobody looks into data here"),
                    FailReason::Work { .. } => assert!(job.worker_failed),
                    FailReason::Recorded { .. } => panic!("a job fails with another's words"),
                }
            }
        }
        self.queue.retain(|&waiting| waiting != id);
        if !matches!(outcome, Outcome::Failed(FailReason::DataMissing { .. })) {
            self.kept.push(id);
        }
        let job = self.job(id);
        job.stage = Stage::Finished;
        job.outcome = Some(outcome.clone());
        job.standing_is_durable = false;
        job.merging.clear();
        job.validating.clear();
    }

    fn paused(&mut self, id: JobId, reason: &FailReason) {
        self.expect_deserted(id, reason);
        let paused = self.jobs.values().filter(|job| job.admitted && matches!(job.stage, Stage::Paused)).count();
        assert!(paused < self.settings.paused_max, "too many jobs are paused");
        let job = self.job(id);
        assert_eq!(job.plan.on_no_nodes, OnNoNodes::Pause);
        assert!(job.is_running() && job.validating.is_empty(), "a job is paused before its rounds are written");
        job.stage = Stage::Paused;
        job.standing_is_durable = false;
        self.next = Some(Next::Suspend(id));
        self.coverage.paused += 1;
    }

    /// Nobody is there who could work for the job, and nobody could be.
    fn expect_deserted(&self, id: JobId, reason: &FailReason) {
        assert!(matches!(reason, FailReason::NoNodes { .. } | FailReason::NoEligibleNode { .. }), "{reason}");
        let helpers = self.links.keys().filter(|&&link| self.is_eligible(link, id)).count();
        assert_eq!(helpers, 0, "a job is given up although a node could do it");
        let is_reliable = |node: &NodeKey| self.plans[node.0 as usize].is_reliable;
        let has_reliable = self.plans.iter().any(|plan| plan.is_reliable) && !self.quarantined.iter().any(is_reliable);
        let plan = &self.jobs[&id].plan;
        let is_common = plan.arithmetic == COMMON_ARITHMETIC || plan.allow_inexact;
        assert!(!(has_reliable && is_common), "a job is given up although a good node could be dialled: {reason}");
    }

    /// Nobody that is there can do a task: every node has failed it for good, or it failed too often in all.
    fn expect_hopeless(&self, task: TaskId) {
        let of_task = self.failures.iter().filter(|((failed, _), _)| *failed == task);
        let in_all: u32 = of_task.map(|(_, count)| count).sum();
        let had_chances =
            |link: &LinkKey| self.failures.get(&(task, self.links[link].0)).is_some_and(|&count| count >= 2);
        let mut helpers = self.links.keys().filter(|&&link| self.is_eligible(link, task.job));
        assert!(in_all > self.settings.attempts_max || helpers.all(had_chances), "{task:?} is given up too early");
    }
}
