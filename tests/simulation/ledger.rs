//! The promises, checked from outside: from events and actions alone, never from the engine's own book.

use std::collections::{BTreeMap, BTreeSet};

use gradwire::digest::Digest;
use gradwire::engine::{
    Action, Admission, Attempt, Engine, Event, FailReason, Fault, JobEvent, JobState, LinkKey, NodeInfo, NodeKey,
    Notice, Outcome, Policy, RejectReason, Settings,
};
use gradwire::job::{JobId, OnTaskFailure, TaskId};

use crate::account::{Job, Merging, Stage};
use crate::clock::{Clock, Moment};
use crate::ending::Ending;
use crate::model;
use crate::scenario::{COMMON_ARITHMETIC, NodePlan, Scenario};

/// Longest time in which nothing is under way although a node could work: the longest pause before a doubted node is asked
/// again, and the sweep.
const IDLE_US_MAX: u64 = 4_500_000;

pub struct Ledger {
    settings: Settings,
    plans: Vec<NodePlan>,
    jobs: BTreeMap<JobId, Job>,
    submissions_open: Vec<(JobId, u32)>,
    listed: BTreeSet<NodeKey>,
    quarantined: BTreeSet<NodeKey>,
    links: BTreeMap<LinkKey, (NodeKey, NodeInfo)>,
    /// Links whose nodes have said that they end.
    closing: BTreeSet<LinkKey>,
    /// What is out: the link, and whether the node may turn it down.
    live: Vec<(LinkKey, Attempt, bool)>,
    /// Failures by task and node, of this round. A final one counts twice: there is no second chance.
    failures: BTreeMap<(TaskId, NodeKey), u32>,
    /// By token: when an attempt was sent, and whether another of its task was out.
    sent: BTreeMap<u64, (u64, bool)>,
    made_up: BTreeSet<Digest>,
    /// The result that is being told: the only one that may be accumulated or discarded now.
    told: Option<(LinkKey, Attempt, Digest)>,
    told_is_live: bool,
    idle_since: Option<u64>,
    ending: Ending,
}

impl Ledger {
    pub fn new(scenario: &Scenario) -> Ledger {
        Ledger {
            settings: scenario.settings.clone(),
            plans: scenario.nodes.clone(),
            jobs: scenario.jobs.iter().map(|plan| (plan.job, Job::new(plan))).collect(),
            submissions_open: scenario.jobs.iter().map(|plan| (plan.job, 0)).collect(),
            listed: BTreeSet::new(),
            quarantined: BTreeSet::new(),
            links: BTreeMap::new(),
            closing: BTreeSet::new(),
            live: Vec::new(),
            failures: BTreeMap::new(),
            sent: BTreeMap::new(),
            made_up: BTreeSet::new(),
            told: None,
            told_is_live: false,
            idle_since: None,
            ending: Ending::default(),
        }
    }

    /// Whether every job that was admitted is over. Jobs that are yet to be submitted are not.
    pub fn is_over(&self) -> bool {
        self.submissions_open.is_empty()
            && self.jobs.values().all(|job| !job.admitted || matches!(job.stage, Stage::Finished))
    }

    pub fn is_quarantined(&self, node: NodeKey) -> bool {
        self.quarantined.contains(&node)
    }

    /// A node made this update up.
    pub fn made_up(&mut self, update: Digest) {
        self.made_up.insert(update);
    }

    /// The engine is about to be told.
    pub fn before(&mut self, now_us: u64, event: &Event) {
        self.told = None;
        match event {
            Event::NodeListed { node, .. } => drop(self.listed.insert(*node)),
            Event::NodeUnlisted { node } => {
                self.listed.remove(node);
                // Once it is gone from the list its past is forgotten.
                self.quarantined.remove(node);
            }
            Event::LinkUp { node, link, info } => drop(self.links.insert(*link, (*node, info.clone()))),
            Event::LinkDown { link, .. } => self.link_down(*link),
            Event::Submitted { job, .. } => self.submissions_open.retain(|(open, _)| open != job),
            Event::Prepared { job, base } => {
                let job = self.job(*job);
                if matches!(job.stage, Stage::Preparing) {
                    job.stage = Stage::Training { base: *base, step: 0 };
                }
            }
            Event::DataReady { job } => self.job(*job).has_data = true,
            Event::Trained { link, attempt, update, train_us, .. } => {
                self.told = Some((*link, *attempt, *update));
                let ended = self.end_attempt(*link, attempt);
                self.told_is_live = ended.is_some_and(|(token, _)| token == attempt.token);
                if self.told_is_live {
                    let (sent_us, _) = self.sent[&attempt.token];
                    let from_us = now_us.saturating_sub(*train_us).max(sent_us);
                    self.clock(attempt.task.job).trained(*link, from_us, now_us);
                } else if ended.is_some() {
                    self.failed(*link, attempt.task, 1);
                }
            }
            Event::Rejected { link, attempt, reason } => match (self.end_attempt(*link, attempt), reason) {
                (Some(_), RejectReason::Closing) => {
                    self.closing.insert(*link);
                    self.ending.closings += 1;
                }
                (Some((_, may_reject)), _) => self.failed(*link, attempt.task, u32::from(!may_reject)),
                (None, _) => {}
            },
            Event::TaskFailed { link, attempt, fault, .. } => {
                let ended = self.end_attempt(*link, attempt).map_or(0, |_| if *fault == Fault::Final { 2 } else { 1 });
                self.failed(*link, attempt.task, ended);
            }
            Event::WorkFailed { job, .. } => self.job(*job).worker_failed = true,
            Event::Accumulated { job, step, shard } => {
                let job = self.job(*job);
                if let Some(Merging { update, is_exact, .. }) = job.merging.remove(&(*step, *shard)) {
                    job.is_exact &= is_exact;
                    assert_eq!(job.merged.insert((*step, *shard), update), None);
                }
            }
            Event::UpdateRefused { job, step, shard, .. } => {
                if let Some(merging) = self.job(*job).merging.remove(&(*step, *shard)) {
                    let task = TaskId { job: *job, step: *step, shard: *shard };
                    *self.failures.entry((task, merging.node)).or_default() += 1;
                }
            }
            Event::Merged { job, step, base } => {
                let job = self.job(*job);
                if matches!(job.stage, Stage::Merging) {
                    job.stage = if step + 1 < u64::from(job.plan.rounds) {
                        Stage::Training { base: *base, step: step + 1 }
                    } else {
                        Stage::Merging
                    };
                }
            }
            _ => {}
        }
    }

    /// The engine ordered something.
    pub fn action(&mut self, now_us: u64, action: &Action) {
        match action {
            Action::Admit { job, admission } => self.admit(*job, admission),
            Action::CollectData { job } => assert!(!matches!(self.job(*job).stage, Stage::Finished)),
            Action::Prepare { job } => {
                let job = self.job(*job);
                assert!(matches!(job.stage, Stage::Waiting) && job.has_data, "a job starts without its data");
                job.stage = Stage::Preparing;
                job.clock = Some(Clock::start(now_us));
            }
            Action::Dispatch { link, attempt, base, may_reject } => {
                self.dispatch(now_us, *link, attempt, *base, *may_reject);
            }
            Action::Cancel { link, attempt } => {
                let ended = self.end_attempt(*link, attempt);
                assert!(ended.is_some_and(|(token, _)| token == attempt.token), "what is not out is cancelled");
            }
            Action::Accumulate { link, attempt, update, rows } => {
                assert_eq!(self.told.take(), Some((*link, *attempt, *update)), "a result from nowhere");
                assert!(self.told_is_live, "a result that is of no attempt that is out is merged");
                assert_eq!(*rows, 100 + attempt.task.shard % 2);
                let is_exact = self.computes(*link, attempt.task.job);
                let (node, _) = self.links[link];
                let place = (attempt.task.step, attempt.task.shard);
                let job = self.job(attempt.task.job);
                assert!(!matches!(job.stage, Stage::Finished), "a job that is over merges");
                assert!(!job.merged.contains_key(&place), "{place:?} is merged twice");
                assert!(!job.skipped.contains(&place), "{place:?} is merged and skipped");
                let merging = Merging { update: *update, is_exact, node };
                assert!(job.merging.insert(place, merging).is_none(), "{place:?} is merged twice");
                self.clock(attempt.task.job).task_done(now_us, Some(*link));
            }
            Action::Discard { link, attempt, update } => {
                assert_eq!(self.told.take(), Some((*link, *attempt, *update)), "a result is freed that is not there");
            }
            Action::FinishRound { job, step, rows } => self.finish_round(now_us, *job, *step, *rows),
            Action::Validate { job, step, base } => {
                assert_eq!(self.job(*job).validating.insert(*step, *base), None);
            }
            Action::DropLink { link, .. } => {
                assert!(self.links.contains_key(link), "a link is dropped that is not there");
                self.link_down(*link);
            }
            Action::DialNow { nodes } => {
                for node in nodes {
                    assert!(!self.quarantined.contains(node), "a quarantined node is dialled");
                    assert!(!self.links.values().any(|(linked, _)| linked == node), "a linked node is dialled");
                }
                self.ending.revivals += 1;
            }
            Action::StopDialling { node } => {
                let plan = &self.plans[node.0 as usize];
                // In a job whose updates nobody can sum, one that is made up speaks against those who told the truth.
                let is_fooled =
                    self.jobs.values().any(|job| job.plan.diverges_at.is_some() && job.is_lied_to(&self.made_up));
                assert!(!plan.is_honest() || is_fooled, "an honest node is quarantined");
                self.quarantined.insert(*node);
                self.ending.quarantines += 1;
            }
            Action::Persist { .. } => {}
            Action::Suspend { .. } => panic!("no job of these lives may be paused"),
            Action::Forget { .. } => {}
            Action::Report { job, event } => self.report(now_us, *job, event),
            Action::ReleaseJob { job } => {
                assert!(!self.live.iter().any(|(_, attempt, _)| attempt.task.job == *job), "a task outlives its job");
                let job = self.job(*job);
                assert!(matches!(job.stage, Stage::Finished) && !job.released);
                job.released = true;
            }
        }
    }

    /// The engine has ordered everything that follows from what it was told.
    pub fn after(&mut self, now_us: u64, engine: &Engine) {
        assert_eq!(self.told, None, "a result is neither merged nor freed");
        let is_running = |job: &&Job| !matches!(job.stage, Stage::Waiting | Stage::Finished);
        let mut running = self.jobs.values().filter(is_running);
        let job = running.next();
        assert!(running.next().is_none(), "two jobs run");
        // Nothing is under way although something could be: not for long.
        let is_idle = job.is_some_and(|job| {
            let can_work = self.links.iter().any(|(&link, _)| self.is_eligible(link, job.plan.job));
            let is_training = matches!(job.stage, Stage::Training { .. });
            is_training && can_work && self.live.is_empty() && job.merging.is_empty() && job.validating.is_empty()
        });
        match self.idle_since {
            Some(since) if is_idle => assert!(now_us - since < IDLE_US_MAX, "nothing happens"),
            Some(_) => self.idle_since = None,
            None => self.idle_since = is_idle.then_some(now_us),
        }
        let ready = |job: &Job| matches!(job.stage, Stage::Waiting) && job.admitted && job.has_data;
        assert!(job.is_some() || !self.jobs.values().any(ready), "a job that could run waits for nothing");
        if let Some(id) = job.map(|job| job.plan.job) {
            let moment = self.moment(id);
            self.clock(id).turn(now_us, moment);
        }
        let is_shunned = |(node, _): &(NodeKey, NodeInfo)| self.quarantined.contains(node);
        assert!(!self.links.values().any(is_shunned), "a quarantined node keeps its link");
        let status = engine.status();
        let finished = status.jobs.iter().filter(|job| matches!(job.state, JobState::Finished(_)));
        assert!(finished.count() <= self.settings.finished_max, "finished jobs pile up");
        let queued = |state: &JobState| matches!(state, JobState::Queued { .. } | JobState::Collecting { .. });
        assert!(status.jobs.iter().filter(|job| queued(&job.state)).count() <= self.settings.queued_max);
    }

    /// Everything has happened.
    pub fn close(mut self, engine: &Engine) -> Ending {
        for job in self.jobs.values() {
            assert!(
                !job.admitted || (matches!(job.stage, Stage::Finished) && job.released),
                "{:?} is not over",
                job.plan
            );
        }
        assert_eq!(self.live, [], "tasks are out although every job is over");
        assert_eq!(engine.next_deadline(), None);
        self.ending.stale = engine.status().stale_results;
        self.ending
    }

    fn admit(&mut self, id: JobId, admission: &Admission) {
        let waiting = self.jobs.values().filter(|job| job.admitted && matches!(job.stage, Stage::Waiting)).count();
        let queued_max = self.settings.queued_max;
        let job = self.job(id);
        match admission {
            Admission::Admitted { .. } => {
                assert!(!job.admitted || job.released, "a job is admitted twice");
                assert!(waiting < queued_max, "the queue is too long");
                // A job that is forgotten may come again, and is new.
                *job = Job { admitted: true, ..Job::new(&job.plan) };
                self.failures.retain(|(task, _), _| task.job != id);
            }
            Admission::Attached { state } => {
                assert!(job.admitted);
                assert_eq!(matches!(job.stage, Stage::Finished), matches!(state, JobState::Finished(_)));
            }
            Admission::Conflict => panic!("the same job is taken for another"),
            Admission::Busy { .. } => assert_eq!(waiting, queued_max, "a job is turned away although there is room"),
        }
    }

    /// What a running job is at.
    fn moment(&self, id: JobId) -> Moment {
        let job = &self.jobs[&id];
        let step = match job.stage {
            Stage::Preparing => return Moment::Preparing,
            Stage::Training { step, .. } => step,
            _ if job.validating.contains_key(&u64::from(job.plan.rounds - 1)) => return Moment::Validating,
            _ => return Moment::Merging,
        };
        let is_out = |shard| self.live.iter().any(|(_, out, _)| out.task == TaskId { job: id, step, shard });
        let is_settled = |shard| job.merged.contains_key(&(step, shard)) || job.skipped.contains(&(step, shard));
        let is_pending = |shard| !is_settled(shard) && !job.merging.contains_key(&(step, shard)) && !is_out(shard);
        let has_work = |link| self.live.iter().any(|(out, attempt, _)| *out == link && !self.sent[&attempt.token].1);
        let is_idle = |link| job.clock.as_ref().is_some_and(|clock| clock.has_trained(link)) && !has_work(link);
        if (0..job.plan.shards).all(is_settled) {
            Moment::HeldUp
        } else if (0..job.plan.shards).any(is_pending) {
            let is_deserted = !self.links.keys().any(|&link| self.is_eligible(link, id));
            if is_deserted { Moment::Deserted } else { Moment::Working }
        } else if self.links.keys().any(|&link| is_idle(link)) {
            Moment::Straggling
        } else {
            Moment::Working
        }
    }

    fn clock(&mut self, job: JobId) -> &mut Clock {
        self.job(job).clock.as_mut().expect("a job that runs was started")
    }

    fn dispatch(&mut self, now_us: u64, link: LinkKey, attempt: &Attempt, base: Digest, may_reject: bool) {
        let id = attempt.task.job;
        let (node, info) = self.links.get(&link).expect("a task goes to a link that is down").clone();
        assert!(!self.quarantined.contains(&node), "a quarantined node gets work");
        assert!(self.listed.contains(&node), "a node that is leaving gets work");
        assert!(!self.closing.contains(&link), "a node that ends gets work");
        assert!(self.is_eligible(link, id), "a node gets work in an arithmetic that it does not compute");
        let out = self.live.iter().filter(|(out, ..)| *out == link).count();
        match self.settings.policy {
            Policy::Random => assert!(!may_reject),
            Policy::LoadBalancing => assert!(out < info.workers as usize, "a node gets more than it has workers for"),
        }
        let copies: Vec<LinkKey> =
            self.live.iter().filter(|(_, other, _)| other.task == attempt.task).map(|(out, ..)| *out).collect();
        assert!(copies.len() < 2 && !copies.contains(&link), "too many copies of a task are out");
        self.ending.copies += copies.len() as u64;
        let sent = self.sent.insert(attempt.token, (now_us, !copies.is_empty()));
        assert!(sent.is_none(), "a token is used twice");
        let place = (attempt.task.step, attempt.task.shard);
        let job = self.job(id);
        let Stage::Training { base: current, step } = job.stage else { panic!("a job gets work outside a round") };
        assert_eq!((current, step), (base, attempt.task.step), "a task starts from other weights");
        let is_open = !job.merged.contains_key(&place) && !job.merging.contains_key(&place);
        assert!(is_open && !job.skipped.contains(&place), "a task that is done is sent");
        self.live.push((link, *attempt, may_reject));
    }

    fn finish_round(&mut self, now_us: u64, id: JobId, step: u64, rows: u64) {
        assert!(!self.live.iter().any(|(_, attempt, _)| attempt.task.job == id), "tasks are out at the round's end");
        let job = self.job(id);
        assert!(matches!(job.stage, Stage::Training { step: current, .. } if current == step));
        assert_eq!(job.merging.len(), 0, "the round ends before its results are in");
        let mut rows_merged = 0;
        for shard in 0..job.plan.shards {
            let merged = job.merged.contains_key(&(step, shard));
            assert!(merged != job.skipped.contains(&(step, shard)), "shard {shard} of step {step} is missing");
            rows_merged += if merged { u64::from(100 + shard % 2) } else { 0 };
        }
        assert_eq!(rows, rows_merged);
        assert!(rows > 0, "a round of nothing is merged");
        self.clock(id).round_done(now_us);
        let job = self.job(id);
        job.stage = Stage::Merging;
    }

    fn report(&mut self, now_us: u64, id: JobId, event: &JobEvent) {
        let job = self.job(id);
        assert!(!matches!(job.stage, Stage::Finished), "a job that is over reports {event:?}");
        match event {
            JobEvent::Queued { .. } => assert!(matches!(job.stage, Stage::Waiting)),
            JobEvent::Started => {}
            JobEvent::RoundDone(round) => {
                assert_eq!(round.step, job.rounds_reported, "rounds are reported out of order");
                assert!(job.validating.remove(&round.step).is_some());
                job.rounds_reported += 1;
                let shards = (0..job.plan.shards).filter_map(|shard| job.merged.get(&(round.step, shard)));
                let (count, loss) =
                    shards.fold((0, 0.0), |(count, sum), &update| (count + 1, sum + model::loss(update)));
                let rows = (0..job.plan.shards).filter(|&shard| job.merged.contains_key(&(round.step, shard)));
                let rows: u32 = rows.map(|shard| 100 + shard % 2).sum();
                assert_eq!((round.merged, round.loss), (count, loss / f64::from(rows)));
                assert_eq!(round.merged + round.skipped, job.plan.shards);
            }
            JobEvent::Notice(notice) => self.notice(now_us, id, notice),
            JobEvent::Paused(_) => panic!("no job of these lives may be paused"),
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
                let won =
                    job.merged.get(&place).or_else(|| job.merging.get(&place).map(|merging| &merging.update)).copied();
                assert_eq!(won, Some(*merged));
                job.alarms += 1;
                assert!(self.made_up.contains(merged) || self.made_up.contains(other), "an alarm for nothing");
                self.ending.mismatches += 1;
            }
            Notice::UpdateRefused { .. } => self.ending.refusals += 1,
            Notice::NodeLost { .. } => self.ending.lost += 1,
            _ => {}
        }
    }

    fn finished(&mut self, now_us: u64, id: JobId, outcome: &Outcome) {
        if let Outcome::Failed(FailReason::TaskFailed { step, shard, .. }) = outcome {
            self.expect_hopeless(TaskId { job: id, step: *step, shard: *shard });
        }
        let is_rock = |node: &NodeKey| self.plans[node.0 as usize].is_rock;
        let has_rock = self.plans.iter().any(|plan| plan.is_rock) && !self.quarantined.iter().any(is_rock);
        let rock_is_there = self.links.values().any(|(node, _)| is_rock(node));
        let crew = self.links.keys().filter(|&&link| self.is_eligible(link, id)).count();
        let job = self.jobs.get_mut(&id).expect("a job of this life");
        match outcome {
            Outcome::Done(summary) => job.done(now_us, summary, &self.made_up, &mut self.ending),
            Outcome::Cancelled => {
                assert!(job.plan.cancelled_at_us.is_some());
                self.ending.cancelled += 1;
            }
            Outcome::Failed(reason) => {
                self.ending.failed += 1;
                let is_common = job.plan.arithmetic == COMMON_ARITHMETIC || job.plan.allow_inexact;
                let is_healthy = is_common && job.plan.diverges_at.is_none();
                match reason {
                    FailReason::NoNodes { .. } | FailReason::NoEligibleNode { .. } => {
                        assert_eq!(crew, 0, "a job is given up although a node could do it");
                        assert!(
                            !(has_rock && is_common),
                            "a job fails although a good node could be dialled: {reason}"
                        );
                    }
                    FailReason::TaskFailed { .. } => {
                        assert_eq!(job.plan.on_task_failure, OnTaskFailure::Fail);
                        assert!(!(rock_is_there && is_healthy), "a task fails that a good node could do");
                    }
                    FailReason::AllSkipped { .. } => {
                        assert_eq!(job.plan.on_task_failure, OnTaskFailure::Skip);
                        assert!(!(rock_is_there && is_healthy), "tasks are skipped that a good node could do");
                    }
                    FailReason::DataMissing { .. } => assert!(job.plan.data_missing),
                    FailReason::Work { .. } => assert!(job.worker_failed),
                    FailReason::Recorded { .. } => panic!("a job fails with another's words"),
                }
            }
        }
        let job = self.job(id);
        job.stage = Stage::Finished;
        job.merging.clear();
        job.validating.clear();
    }

    fn is_eligible(&self, link: LinkKey, job: JobId) -> bool {
        let Some((node, _)) = self.links.get(&link) else { return false };
        self.listed.contains(node)
            && !self.quarantined.contains(node)
            && !self.closing.contains(&link)
            && (self.jobs[&job].plan.allow_inexact || self.computes(link, job))
    }

    fn computes(&self, link: LinkKey, job: JobId) -> bool {
        self.links.get(&link).is_some_and(|(_, info)| info.arithmetics.contains(&self.jobs[&job].plan.arithmetic))
    }

    /// Nobody that is there can do a task: every node has failed it for good, or it failed too often in all.
    fn expect_hopeless(&self, task: TaskId) {
        let of_task = self.failures.iter().filter(|((failed, _), _)| *failed == task);
        let in_all: u32 = of_task.map(|(_, count)| count).sum();
        let had_chances =
            |link: &LinkKey| self.failures.get(&(task, self.links[link].0)).is_some_and(|&count| count >= 2);
        let mut crew = self.links.keys().filter(|&&link| self.is_eligible(link, task.job));
        assert!(in_all > self.settings.attempts_max || crew.all(had_chances), "{task:?} is given up too early");
    }

    fn failed(&mut self, link: LinkKey, task: TaskId, weight: u32) {
        if let Some((node, _)) = self.links.get(&link) {
            *self.failures.entry((task, *node)).or_default() += weight;
        }
    }

    /// Takes an attempt that is out over this link off the book; its true token, and whether it may be turned down.
    fn end_attempt(&mut self, link: LinkKey, attempt: &Attempt) -> Option<(u64, bool)> {
        let same = |(out, live, _): &(LinkKey, Attempt, bool)| {
            *out == link && live.task == attempt.task && live.attempt == attempt.attempt
        };
        let place = self.live.iter().position(same)?;
        let (_, ended, may_reject) = self.live.remove(place);
        Some((ended.token, may_reject))
    }

    fn link_down(&mut self, link: LinkKey) {
        self.links.remove(&link);
        self.live.retain(|(out, ..)| *out != link);
    }

    fn job(&mut self, job: JobId) -> &mut Job {
        self.jobs.get_mut(&job).expect("a job of this life")
    }
}
