//! The promises, checked from outside: from events and actions alone, never from the engine's own book.

mod reports;

use std::collections::{BTreeMap, BTreeSet};

use gradwire::digest::Digest;
use gradwire::engine::{
    Action, Admission, Engine, Event, Fault, JobEvent, JobProgress, LinkKey, NodeInfo, NodeKey, Policy, Settings,
};
use gradwire::job::{Attempt, JobId, Profile, RoundSummary, TaskId};
use rand::rngs::ChaCha8Rng;

use crate::account::{Job, Left, Stage, Won};
use crate::clock::{Clock, Moment};
use crate::coverage::Coverage;
use crate::scenario::{NodePlan, Scenario};

/// Longest time in which nothing is under way although a node could work: the longest pause before a doubted node is asked
/// again, and the sweep.
const IDLE_US_MAX: u64 = 4_500_000;

pub struct Ledger {
    settings: Settings,
    plans: Vec<NodePlan>,
    jobs: BTreeMap<JobId, Job>,
    /// What clients are yet to ask for: submissions, and that paused jobs go on.
    requests_open: Vec<JobId>,
    submitted: u64,
    /// Jobs that wait for their turn, the first one first.
    queue: Vec<JobId>,
    /// Jobs whose end is kept, the oldest first.
    kept: Vec<JobId>,
    listed: BTreeSet<NodeKey>,
    quarantined: BTreeSet<NodeKey>,
    links: BTreeMap<LinkKey, (NodeKey, NodeInfo)>,
    /// Links whose nodes have said that they end.
    closing: BTreeSet<LinkKey>,
    /// What nodes say that they hold: it costs them nothing, however much they have.
    held: BTreeSet<(LinkKey, TaskId, Digest)>,
    /// What is out: the link, and whether the node may turn it down.
    live: Vec<(LinkKey, Attempt, bool)>,
    /// Failures by task and node, of this round. A final one counts twice: there is no second chance.
    failures: BTreeMap<(TaskId, NodeKey), u32>,
    /// By token: when attempts that are out were trained whose updates are on their way.
    coming: BTreeMap<u64, u64>,
    /// By token: when an attempt was sent, and whether another of its task was out.
    sent: BTreeMap<u64, (u64, bool)>,
    /// Tokens of attempts that an engine before this one has sent: whatever comes of them is stale.
    past_tokens: BTreeSet<u64>,
    stale_before: u64,
    made_up: BTreeSet<Digest>,
    /// The result that is being told: the only one that may be accumulated or discarded now.
    told: Option<(LinkKey, Attempt, Digest)>,
    told_is_live: bool,
    told_is_past: bool,
    /// The only job that may be cancelled now, and the only one that may expire.
    cancelling: Option<JobId>,
    expiring: Option<JobId>,
    /// A job whose weights of this step have just come into being.
    merged_to: Option<(JobId, u64)>,
    /// What must be ordered next: the report of a round that is written, or the suspension of a job.
    next: Option<Next>,
    idle_since: Option<u64>,
    coverage: Coverage,
}

/// An order that must follow another at once.
#[derive(Debug, PartialEq)]
enum Next {
    RoundDone(JobId, RoundSummary),
    Suspend(JobId),
}

impl Ledger {
    pub fn new(scenario: &Scenario) -> Ledger {
        Ledger {
            settings: scenario.settings.clone(),
            plans: scenario.nodes.clone(),
            jobs: scenario.jobs.iter().map(|plan| (plan.job, Job::new(plan))).collect(),
            requests_open: Vec::new(),
            submitted: 0,
            queue: Vec::new(),
            kept: Vec::new(),
            listed: BTreeSet::new(),
            quarantined: BTreeSet::new(),
            links: BTreeMap::new(),
            closing: BTreeSet::new(),
            held: BTreeSet::new(),
            live: Vec::new(),
            failures: BTreeMap::new(),
            coming: BTreeMap::new(),
            sent: BTreeMap::new(),
            past_tokens: BTreeSet::new(),
            stale_before: 0,
            made_up: BTreeSet::new(),
            told: None,
            told_is_live: false,
            told_is_past: false,
            cancelling: None,
            expiring: None,
            merged_to: None,
            next: None,
            idle_since: None,
            coverage: Coverage::default(),
        }
    }

    /// Whether every job that was admitted is over, or paused for good. Jobs that are yet to be submitted are not.
    pub fn is_over(&self) -> bool {
        self.requests_open.is_empty()
            && self.jobs.values().all(|job| !job.is_open() || matches!(job.stage, Stage::Paused))
    }

    /// A client is going to submit a job, or to resume it.
    pub fn requested(&mut self, job: JobId) {
        self.requests_open.push(job);
    }

    /// The nodes of the list.
    pub fn listed(&self) -> Vec<NodeKey> {
        self.listed.iter().copied().collect()
    }

    /// The weights that a job starts from, or goes on from.
    pub fn first_base(&self, job: JobId) -> Digest {
        self.jobs[&job].first_base()
    }

    /// Everything that is written of a job so far is durable, and whoever watches is told.
    pub fn durable(&mut self, job: JobId) {
        let job = self.job(job);
        job.durable = job.written.len();
        job.standing_is_durable = matches!(job.stage, Stage::Finished | Stage::Paused);
    }

    /// Whether an answer of a node would be taken for that to another question: the attempt that is out over this link has
    /// the same name and another token. Nodes that are honest answer what they are asked.
    pub fn is_mistakable(&self, link: LinkKey, attempt: &Attempt) -> bool {
        let same = |(out, live, _): &(LinkKey, Attempt, bool)| {
            *out == link && live.task == attempt.task && live.attempt == attempt.attempt && live.token != attempt.token
        };
        let is_honest = |(node, _): &(NodeKey, NodeInfo)| self.plans[node.0 as usize].is_honest();
        self.live.iter().any(same) && self.links.get(&link).is_some_and(is_honest)
    }

    /// The coordinator is gone, and what it knew. How each job stands that is known to what it has written: those that have
    /// not ended in the order in which they were submitted, then the others in the order in which they ended. And the jobs
    /// that are forgotten.
    pub fn crash(&mut self, engine: &Engine, rng: &mut ChaCha8Rng) -> (Vec<(JobId, Left)>, Vec<JobId>) {
        self.coverage.stale += engine.status().stale_results;
        self.coverage.crashes += 1;
        self.stale_before = 0;
        self.listed.clear();
        self.quarantined.clear();
        self.links.clear();
        self.live.clear();
        self.failures.clear();
        self.past_tokens.extend(std::mem::take(&mut self.sent).into_keys());
        self.idle_since = None;
        self.queue.clear();
        let kept = std::mem::take(&mut self.kept);
        let (mut open, mut ended, mut forgotten) = (Vec::new(), Vec::new(), Vec::new());
        for (&id, job) in &mut self.jobs {
            let was_open = job.is_open();
            let place = kept.iter().position(|&kept| kept == id);
            match job.crash(place.is_some(), rng) {
                Some(left @ Left::Ended(_)) => ended.push((place, (id, left))),
                Some(left @ Left::Open { .. }) => open.push((job.submitted_as, (id, left))),
                None if was_open => forgotten.push(id),
                None => {}
            }
        }
        open.sort_by_key(|(submitted_as, _)| *submitted_as);
        ended.sort_by_key(|(place, _)| *place);
        let open = open.into_iter().map(|(_, job)| job);
        (open.chain(ended.into_iter().map(|(_, job)| job)).collect(), forgotten)
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
        self.told_is_past = false;
        self.cancelling = None;
        self.expiring = None;
        match event {
            Event::NodeListed { node, .. } => {
                // Its past is forgotten, what it did while it was leaving, too.
                let is_new = self.listed.insert(*node);
                self.quarantined.retain(|other| !is_new || other != node);
            }
            Event::NodeUnlisted { node } => {
                self.listed.remove(node);
                self.quarantined.remove(node);
            }
            Event::LinkUp { node, link, info } => drop(self.links.insert(*link, (*node, info.clone()))),
            Event::LinkDown { link, .. } => self.link_down(*link),
            Event::Submitted { job, .. } => self.request_heard(*job),
            Event::ResumeRequested { job: id } => {
                self.request_heard(*id);
                let job = self.job(*id);
                if matches!(job.stage, Stage::Paused) {
                    job.stage = Stage::Waiting;
                    job.standing_is_durable = false;
                    job.resumed = true;
                    self.queue.push(*id);
                    self.coverage.resumed += 1;
                }
            }
            Event::CancelRequested { job } => self.cancelling = Some(*job),
            Event::Expired { job } => self.expiring = Some(*job),
            Event::Restored { job: id, paused, .. } => {
                let job = self.job(*id);
                if !std::mem::replace(&mut job.admitted, true) {
                    job.stage = if paused.is_some() { Stage::Paused } else { Stage::Waiting };
                    let (is_paused, has_begun) = (paused.is_some(), !job.written.is_empty());
                    if !is_paused {
                        self.queue.push(*id);
                    }
                    self.coverage.restored_paused += u64::from(is_paused);
                    self.coverage.restored += u64::from(has_begun);
                }
            }
            Event::RestoredEnded { job: id, .. } => {
                let job = self.job(*id);
                if !std::mem::replace(&mut job.admitted, true) {
                    self.kept.push(*id);
                    self.coverage.restored_ended += 1;
                }
            }
            Event::Prepared { job, base } => {
                let job = self.job(*job);
                if matches!(job.stage, Stage::Preparing) {
                    let step = job.written.len() as u64;
                    assert_eq!(*base, job.first_base());
                    let is_done = step == u64::from(job.plan.rounds);
                    job.stage = if is_done { Stage::Merging } else { Stage::Training { base: *base, step } };
                    job.bases.insert(step, (*base, job.time_before()));
                }
            }
            Event::DataReady { job } => self.job(*job).has_data = true,
            Event::UpdateComing { link, attempt }
                if self.live.iter().any(|(out, live, _)| out == link && live == attempt) =>
            {
                self.coming.entry(attempt.token).or_insert(now_us);
            }
            Event::Trained { link, attempt, result } => {
                self.told = Some((*link, *attempt, result.update));
                let trained_us = self.coming.get(&attempt.token).copied().unwrap_or(now_us);
                let ended = self.end_attempt(*link, attempt);
                // A liar's may pass for a wrong answer to what it was asked now.
                self.told_is_past = ended.is_none() && self.past_tokens.contains(&attempt.token);
                self.told_is_live = ended.is_some_and(|(token, _)| token == attempt.token);
                if self.told_is_live {
                    let (sent_us, _) = self.sent[&attempt.token];
                    let from_us = trained_us.saturating_sub(result.train_us).max(sent_us);
                    self.clock(attempt.task.job).trained(*link, from_us, trained_us);
                } else if ended.is_some() {
                    self.failed(*link, attempt.task, 1);
                }
            }
            Event::Closing { link, attempt } if self.end_attempt(*link, attempt).is_some() => {
                self.closing.insert(*link);
                self.coverage.closings += 1;
            }
            Event::Rejected { link, attempt, .. } => {
                if let Some((_, may_reject)) = self.end_attempt(*link, attempt) {
                    self.failed(*link, attempt.task, u32::from(!may_reject));
                }
            }
            Event::TaskFailed { link, attempt, fault, .. } => {
                let ended = self.end_attempt(*link, attempt);
                let is_coming = ended.is_some_and(|(token, _)| self.coming.contains_key(&token));
                self.coverage.broken_off += u64::from(is_coming);
                let failures = ended.map_or(0, |_| if *fault == Fault::Final { 2 } else { 1 });
                self.failed(*link, attempt.task, failures);
            }
            Event::ResultsHeld { link, job, held } => {
                let task = |step, shard| TaskId { job: *job, step, shard };
                self.held.extend(held.iter().map(|held| (*link, task(held.step, held.shard), held.base)));
            }
            Event::WorkFailed { job, .. } => self.job(*job).worker_failed = true,
            Event::Accumulated { job, step, shard } => {
                let job = self.job(*job);
                if let Some(won) = job.merging.remove(&(*step, *shard)) {
                    assert!(job.merged.insert((*step, *shard), won).is_none());
                }
            }
            Event::UpdateRefused { job, step, shard, .. } => {
                if let Some(won) = self.job(*job).merging.remove(&(*step, *shard)) {
                    let task = TaskId { job: *job, step: *step, shard: *shard };
                    *self.failures.entry((task, won.node)).or_default() += 1;
                }
            }
            Event::UpdatesLost { job: id, step, shards, .. } => {
                let job = self.job(*id);
                if matches!(job.stage, Stage::Merging) {
                    job.stage = Stage::Training { base: job.bases[step].0, step: *step };
                    for shard in shards {
                        assert!(job.merged.remove(&(*step, *shard)).is_some());
                    }
                    self.clock(*id).task_done(now_us, None);
                    self.coverage.updates_lost += shards.len() as u64;
                }
            }
            Event::Merged { job: id, step, base } => {
                let job = self.job(*id);
                if matches!(job.stage, Stage::Merging) {
                    job.stage = if step + 1 < u64::from(job.plan.rounds) {
                        Stage::Training { base: *base, step: step + 1 }
                    } else {
                        Stage::Merging
                    };
                    // Where its time has gone is known once this moment is over.
                    job.bases.insert(step + 1, (*base, Profile::default()));
                    self.merged_to = Some((*id, step + 1));
                }
            }
            _ => {}
        }
    }

    /// The engine ordered something.
    pub fn action(&mut self, now_us: u64, action: &Action) {
        match (self.next.take(), action) {
            (Some(next), Action::Report { job, event: JobEvent::RoundDone(round) }) => {
                assert_eq!(next, Next::RoundDone(*job, *round), "a round is written and not told");
            }
            (Some(next), Action::Suspend { job }) => assert_eq!(next, Next::Suspend(*job)),
            (Some(next), other) => panic!("{other:?} comes instead of {next:?}"),
            (None, Action::Report { event: JobEvent::RoundDone(_), .. } | Action::Suspend { .. }) => {
                panic!("{action:?} comes from nowhere");
            }
            (None, _) => {}
        }
        match action {
            Action::Admit { job, admission } => self.admit(*job, admission),
            Action::CollectData { job } => assert!(!matches!(self.job(*job).stage, Stage::Finished)),
            Action::Prepare { job } => {
                let next = self.queue.iter().position(|waiting| self.jobs[waiting].has_data);
                let next = next.map(|place| self.queue.remove(place));
                assert_eq!(next, Some(*job), "a job starts out of turn, or without its data");
                let job = self.job(*job);
                assert!(matches!(job.stage, Stage::Waiting));
                job.stage = Stage::Preparing;
                job.clock = Some(Clock::start(now_us, job.time_before()));
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
                let won = Won { update: *update, is_exact, node, attempt: attempt.attempt };
                assert!(job.merging.insert(place, won).is_none(), "{place:?} is merged twice");
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
                self.coverage.revivals += 1;
            }
            Action::StopDialling { node } => {
                let plan = &self.plans[node.0 as usize];
                // In a job whose updates nobody can sum, one that is made up speaks against those who told the truth.
                let is_fooled =
                    self.jobs.values().any(|job| job.plan.diverges_at.is_some() && job.is_lied_to(&self.made_up));
                assert!(!plan.is_honest() || is_fooled, "an honest node is quarantined");
                self.quarantined.insert(*node);
                self.coverage.quarantines += 1;
            }
            Action::Persist { job, record } => {
                self.job(*job).persist(record);
                self.next = Some(Next::RoundDone(*job, record.progress.last));
            }
            Action::Suspend { job } => {
                assert!(
                    !self.live.iter().any(|(_, attempt, _)| attempt.task.job == *job),
                    "a paused job has tasks out"
                );
                self.failures.retain(|(task, _), _| task.job != *job);
                self.job(*job).go_back();
            }
            Action::Forget { job } => {
                let place = self.kept.iter().position(|kept| kept == job).expect("what is not kept is forgotten");
                assert_eq!(self.expiring.take(), Some(*job), "an end is forgotten too early");
                self.kept.remove(place);
                self.coverage.forgotten += 1;
            }
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
        assert_eq!(self.next, None);
        assert!(self.cancelling.is_none_or(|wanted| !self.jobs[&wanted].is_open()), "what is cancelled goes on");
        assert!(self.expiring.is_none_or(|expired| !self.kept.contains(&expired)), "what has expired is kept");
        let mut running = self.jobs.values().filter(|job| job.is_running());
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
            if let Some((_, step)) = self.merged_to.take().filter(|(merged, _)| *merged == id) {
                let told = self.clock(id).told();
                self.job(id).bases.get_mut(&step).expect("weights of a step").1 = told;
            }
        }
        let is_shunned = |(node, _): &(NodeKey, NodeInfo)| self.quarantined.contains(node);
        assert!(!self.links.values().any(is_shunned), "a quarantined node keeps its link");
        let status = engine.status();
        let stale = status.stale_results - std::mem::replace(&mut self.stale_before, status.stale_results);
        assert!(!self.told_is_past || stale == 1, "a result of an attempt of before the crash is not called stale");
        self.coverage.late += u64::from(self.told_is_past);
        let mut listed = status.jobs.iter();
        if let Some(id) = self.running() {
            let first = listed.next().expect("the running job is listed first");
            assert!(first.job == id && matches!(first.progress, JobProgress::Running { .. }));
        }
        for (&id, place) in self.queue.iter().zip(u32::from(self.running().is_some())..) {
            let next = listed.next().expect("a job that waits is listed");
            let progress = if self.jobs[&id].has_data {
                JobProgress::Queued { position: place }
            } else {
                JobProgress::Collecting { position: place }
            };
            assert_eq!((next.job, &next.progress), (id, &progress));
        }
        for next in listed {
            match &next.progress {
                JobProgress::Paused { rounds_done, .. } => {
                    let job = &self.jobs[&next.job];
                    assert!(matches!(job.stage, Stage::Paused) && *rounds_done as usize == job.written.len());
                }
                JobProgress::Finished(_) => assert!(self.kept.contains(&next.job)),
                other => panic!("{:?} is listed too late as {other:?}", next.job),
            }
        }
    }

    /// Everything has happened.
    pub fn close(mut self, engine: &Engine) -> Coverage {
        for job in self.jobs.values() {
            assert!(!job.is_open() || matches!(job.stage, Stage::Paused), "{:?} is not over", job.plan);
        }
        assert_eq!(self.live, [], "tasks are out although every job is over");
        assert_eq!(engine.next_deadline(), None);
        self.coverage.stale += engine.status().stale_results;
        self.coverage
    }

    fn admit(&mut self, id: JobId, admission: &Admission) {
        let (waiting, queued_max) = (self.queue.len(), self.settings.queued_max);
        let is_kept = self.kept.contains(&id);
        let submitted_as = self.submitted;
        let job = self.job(id);
        match admission {
            Admission::Admitted { .. } => {
                assert!(!job.is_open() && !is_kept, "a job is admitted twice");
                assert!(waiting < queued_max, "the queue is too long");
                // A job that is forgotten may come again, and is new.
                *job = Job { admitted: true, submitted_as, ..Job::new(&job.plan) };
                self.failures.retain(|(task, _), _| task.job != id);
                self.queue.push(id);
                self.submitted += 1;
            }
            Admission::Attached { progress } => {
                assert!(job.is_open() || is_kept, "what is forgotten is attached to");
                match progress {
                    JobProgress::Finished(outcome) => assert_eq!(Some(outcome), job.outcome.as_ref()),
                    JobProgress::Paused { .. } => assert!(matches!(job.stage, Stage::Paused)),
                    JobProgress::Running { .. } => assert!(job.is_running()),
                    _ => assert!(matches!(job.stage, Stage::Waiting)),
                }
            }
            Admission::Conflict => panic!("the same job is taken for another"),
            Admission::Busy { .. } => assert!(waiting >= queued_max, "a job is turned away although there is room"),
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
        let out = || self.live.iter().filter(|(out, ..)| *out == link);
        let busy = out().filter(|(_, attempt, _)| !self.coming.contains_key(&attempt.token)).count();
        let workers = info.workers as usize;
        match self.settings.policy {
            Policy::Random => assert!(!may_reject),
            Policy::LoadBalancing if !may_reject && self.held.contains(&(link, attempt.task, base)) => {}
            Policy::LoadBalancing => {
                assert!(busy < workers, "a node gets more than it has workers for");
                assert!(out().count() < 2 * workers, "a node keeps more updates than it should");
                self.coverage.overlaps += u64::from(out().count() >= workers);
            }
        }
        let copies: Vec<LinkKey> =
            self.live.iter().filter(|(_, other, _)| other.task == attempt.task).map(|(out, ..)| *out).collect();
        assert!(copies.len() < 2 && !copies.contains(&link), "too many copies of a task are out");
        self.coverage.copies += copies.len() as u64;
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

    /// The job whose turn it is.
    pub fn running(&self) -> Option<JobId> {
        self.jobs.values().find(|job| job.is_running()).map(|job| job.plan.job)
    }

    fn request_heard(&mut self, job: JobId) {
        if let Some(place) = self.requests_open.iter().position(|&request| request == job) {
            self.requests_open.remove(place);
        }
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
