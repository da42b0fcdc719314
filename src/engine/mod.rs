//! The deciding core: which job runs, which node trains which task, which result counts, when to give up.
//!
//! Pure: [`Engine::handle`] takes what happened and when, and tells what to do. Owns every decision of the coordinator;
//! does not know sockets, threads, channels, clock, files, log or tensors. It holds handles and digests, and its random
//! choices come from a seed, so the same events give the same actions: `tests/simulation` lives on that.
//!
//! | module | owns |
//! |---|---|
//! | `events` | the vocabulary: [`Event`], [`Action`] |
//! | `nodes`, `time` | what nodes, links and moments are called |
//! | `report` | what watchers and the console are told |
//! | `queue` | the queue, the turn of jobs, the outcomes |
//! | `run` | a running job: its stages, a task's way to its node and its result's way into the sum |
//! | `plan` | what a job's steps consist of, and how a step of merged gradients is cut into tasks |
//! | `step_tasks` | a step's tasks and their attempts |
//! | `scheduler` | the policies |
//! | `speed` | how long nodes take, and what follows for a step that is shared |
//! | `shares` | which part of every step is whose |
//! | `width` | for how many of the workers a step is cut |
//! | `turns` | how several running jobs share the nodes |
//! | `membership`, `link`, `crew` | nodes, links, speeds, quarantine |
//! | `roster` | the nodes in the orders in which the policies search them |
//! | `pace` | when a task counts as slow |
//! | `context` | what a decision may look at and change |
//! | `profile` | where a job's time goes |
//! | `revival` | what happens when no node is there |

mod context;
mod crew;
mod events;
mod link;
mod membership;
mod nodes;
mod pace;
mod plan;
mod profile;
mod queue;
mod report;
mod revival;
mod roster;
mod run;
mod scheduler;
mod settings;
mod shares;
mod speed;
mod step_tasks;
#[cfg(test)]
mod tests;
mod time;
mod turns;
mod width;

use rand::SeedableRng as _;
use rand::rngs::ChaCha8Rng;

pub use events::{Action, Admission, Event, Fault, StepSum};
pub use nodes::{Doubt, LinkKey, NodeInfo, NodeKey};
pub use report::{JobEntry, JobEvent, JobProgress, NodeState, NodeStatus, Notice, Status, Unit};
pub use scheduler::{NotAPolicy, Policy};
pub use settings::{JOBS_AT_ONCE, Memory, Settings};
pub use time::Time;

use crate::job::{FailReason, JobId, Outcome};
use context::Context;
use membership::{Fleet, Joined, Lost};
use queue::Jobs;
use run::Run;
use step_tasks::StepTasks;

/// The deciding core.
pub struct Engine {
    settings: Settings,
    rng: ChaCha8Rng,
    fleet: Fleet,
    jobs: Jobs,
    now: Time,
    stale_results: u64,
}

impl Engine {
    /// An engine that knows no node and no job. The seed decides tokens and random choices among nodes; no result of a
    /// job depends on it. Whoever knows it can forge tokens: draw it at random where nodes are not trusted.
    pub fn new(settings: Settings, seed: u64) -> Engine {
        Engine {
            settings,
            rng: ChaCha8Rng::seed_from_u64(seed),
            fleet: Fleet::default(),
            jobs: Jobs::default(),
            now: Time(0),
            stale_results: 0,
        }
    }

    /// Takes what happened, and appends what is to be done, in order, to `actions`.
    ///
    /// An event that fits nothing (of a link that is down, a job that is over, a step that is past) changes nothing. A
    /// `now` before the last one counts as the last one.
    pub fn handle(&mut self, now: Time, event: Event, actions: &mut Vec<Action>) {
        self.now = self.now.max(now);
        let mut cx = Context {
            now: self.now,
            settings: &self.settings,
            rng: &mut self.rng,
            fleet: &mut self.fleet,
            actions,
            stale_results: &mut self.stale_results,
            lost: Vec::new(),
        };
        cx.fleet.forgive(cx.now);
        if let Event::Trained { link, attempt, .. }
        | Event::UpdateComing { link, attempt }
        | Event::Rejected { link, attempt, .. }
        | Event::Closing { link, attempt }
        | Event::TaskFailed { link, attempt, .. } = &event
        {
            cx.fleet.answered(*link, attempt);
        }
        apply(event, &mut self.jobs, &mut cx);
        self.jobs.lose(&mut cx);
        self.jobs.advance(&mut cx);
        for link in cx.fleet.dismiss_idle_leavers() {
            // It does not wait for the others.
            self.jobs.all_running().for_each(|run| run.profiler.lost(link, cx.now));
            cx.actions.push(Action::DropLink { link, reason: "the node is no longer in the list".to_owned() });
        }
        self.check();
    }

    /// When to send [`Event::Tick`] if nothing else happens before. Always later than the last `now`.
    pub fn next_deadline(&self) -> Option<Time> {
        self.jobs.deadline()
    }

    /// How far a job is, if it is known.
    pub fn job_progress(&self, job: JobId) -> Option<JobProgress> {
        self.jobs.known(job).map(|(_, progress)| progress)
    }

    /// Nodes and jobs as they are.
    pub fn status(&self) -> Status {
        Status { nodes: self.fleet.status(), jobs: self.jobs.status(), stale_results: self.stale_results }
    }

    /// Everything that must hold between two events; nothing that a peer could break. In debug builds, for jobs small
    /// enough that it does not matter.
    fn check(&mut self) {
        const TASKS_CHECKED_MAX: usize = 256;
        if !cfg!(debug_assertions) {
            return;
        }
        debug_assert!(self.next_deadline().is_none_or(|deadline| deadline > self.now), "the deadline has passed");
        let runs: Vec<&Run> = self.jobs.all_running().map(|run| &*run).collect();
        let timed: usize = runs.iter().map(|run| run.profiler.out()).sum();
        let steps: Vec<&StepTasks> = runs.iter().filter_map(|run| run.step_tasks()).collect();
        if steps.iter().all(|tasks| tasks.all().len() <= TASKS_CHECKED_MAX) {
            let mut assigned: Vec<_> = self.fleet.assigned().collect();
            let mut live: Vec<_> = steps.iter().flat_map(|tasks| tasks.live()).collect();
            assigned.sort_unstable();
            live.sort_unstable();
            debug_assert_eq!(assigned, live, "the fleet's book and the steps' differ");
            let all = steps.iter().flat_map(|tasks| tasks.all());
            let first = all.flat_map(|task| &task.live).filter(|live| !live.is_copy);
            debug_assert_eq!(timed, first.count(), "the stopwatch's book and the steps' differ");
            steps.iter().for_each(|tasks| tasks.check());
        }
    }
}

/// Hands an event to its owner.
fn apply(event: Event, jobs: &mut Jobs, cx: &mut Context<'_>) {
    match event {
        Event::NodeListed { node, address } => cx.fleet.list(node, address),
        Event::NodeUnlisted { node } => cx.fleet.unlist(node),
        Event::DialBegun { node, until } => cx.fleet.may_answer(node, Some(until)),
        Event::DialFailed { node } => cx.fleet.may_answer(node, None),
        Event::LinkUp { node, link, info } => link_up(node, link, info, jobs, cx),
        Event::LinkDown { link, reason } => {
            if let Some(lost) = cx.fleet.link_down(link) {
                link_lost(&lost, &reason, jobs, cx);
            }
        }
        Event::LoadReported { link, running, waiting } => cx.fleet.load_reported(link, running, waiting, cx.now),
        Event::Submitted { job, specification, semantic } => jobs.submitted(job, specification, semantic, cx),
        Event::DataReady { job } => jobs.data_ready(job),
        Event::DataMissing { job, reason } => jobs.data_failed(job, FailReason::DataMissing { reason }, cx),
        Event::DataWrong { job, reason } => jobs.data_failed(job, FailReason::DataWrong { reason }, cx),
        Event::CancelRequested { job } => jobs.cancel_requested(job, cx),
        Event::ResumeRequested { job } => jobs.resume_requested(job, true),
        Event::ReadRequested { job } => jobs.resume_requested(job, false),
        Event::ReadFailed { job, reason } => jobs.read_failed(job, reason),
        Event::Reopened { job, specification, progress } => jobs.reopened(job, specification, progress, cx),
        Event::Restored { job, specification, semantic, progress, paused } => {
            jobs.restored(job, specification, semantic, progress, paused, cx);
        }
        Event::RestoredEnded { job, semantic, outcome } => jobs.restored_ended(job, semantic, outcome),
        Event::Expired { job } => jobs.expired(job, cx),
        Event::Prepared { job, base } => {
            if let Some(run) = jobs.running(job) {
                run.prepared(base, cx);
            }
        }
        Event::WorkFailed { job, reason } => {
            if let Some(run) = jobs.running(job) {
                run.end(Outcome::Failed(FailReason::Work { reason }));
            }
        }
        Event::WorkHeldUp { job, reason } => {
            if let Some(run) = jobs.running(job) {
                run.hold_up(FailReason::Work { reason });
            }
        }
        Event::Trained { link, attempt, result } => match jobs.running(attempt.task.job) {
            Some(run) if cx.fleet.node_of(link).is_some() => run.trained(link, attempt, result, cx),
            _ => {
                *cx.stale_results += 1;
                cx.actions.push(Action::Discard { link, attempt, update: result.update });
            }
        },
        Event::UpdateComing { link, attempt } => {
            if let Some(run) = jobs.running(attempt.task.job) {
                run.update_coming(link, &attempt, cx);
            }
        }
        Event::Rejected { link, attempt, reason, retry_ms } => {
            if let Some(run) = jobs.running(attempt.task.job) {
                run.rejected(link, attempt, reason, retry_ms, cx);
            }
        }
        Event::Closing { link, attempt } => {
            if let Some(run) = jobs.running(attempt.task.job) {
                run.closing(link, attempt, cx);
            }
        }
        Event::TaskFailed { link, attempt, fault, reason } => {
            if let Some(run) = jobs.running(attempt.task.job) {
                run.task_failed(link, attempt, fault, reason, cx);
            }
        }
        Event::ResultsHeld { link, job, held } => {
            if let Some(run) = jobs.running(job) {
                run.results_held(link, held, cx);
            }
        }
        Event::Accumulated { job, step, shard } => {
            if let Some(run) = jobs.running(job) {
                run.accumulated(step, shard, cx);
            }
        }
        Event::UpdateRefused { job, step, shard, reason } => {
            if let Some(run) = jobs.running(job) {
                run.update_refused(step, shard, reason, cx);
            }
        }
        Event::UpdatesLost { job, step, shards, reason } => {
            if let Some(run) = jobs.running(job) {
                run.updates_lost(step, &shards, reason, cx);
            }
        }
        Event::Merged { job, step, base, sum } => {
            if let Some(run) = jobs.running(job) {
                run.merged(step, base, sum, cx);
            }
        }
        Event::Validated { job, round, rows, metrics } => {
            if let Some(run) = jobs.running(job) {
                run.validated(round, rows, metrics, cx);
            }
        }
        Event::Tested { job, validation, test, confusion } => {
            if let Some(run) = jobs.running(job) {
                run.tested(validation, test.map(|test| *test), confusion, cx);
            }
        }
        Event::Tick => {}
    }
}

fn link_up(node: NodeKey, link: LinkKey, info: NodeInfo, jobs: &mut Jobs, cx: &mut Context<'_>) {
    let name = info.name.clone();
    match cx.fleet.link_up(node, link, info) {
        Joined::Unwanted { reason } => cx.actions.push(Action::DropLink { link, reason: reason.to_owned() }),
        Joined::Active { replaced } => {
            if let Some(lost) = replaced {
                let reason = "a newer connection of the node replaces it";
                cx.actions.push(Action::DropLink { link: lost.link, reason: reason.to_owned() });
                link_lost(&lost, reason, jobs, cx);
            }
            jobs.all_running().for_each(|run| run.node_joined(link, name.clone(), cx));
        }
    }
}

fn link_lost(lost: &Lost, reason: &str, jobs: &mut Jobs, cx: &mut Context<'_>) {
    for run in jobs.all_running() {
        run.link_lost(lost, cx.now);
        let reason = reason.to_owned();
        run.report(Notice::NodeLost { name: lost.name.clone(), reason }, cx);
    }
}
