//! What the engine promises, checked from outside: from what it is told, what it orders and what is written down. Owns which
//! order must follow which at once.
//!
//! | file | the promises |
//! |---|---|
//! | `jobs` | every job has its turn, and one end |
//! | `outcomes` | how a job ends is true |
//! | `tasks` | every task is merged once, and written as it was |
//! | `cuts` | every block of a step is in one task that counts |
//! | `nodes` | work goes to nodes that are there and may do it |
//! | `time` | every moment of a job is told once, as what it was |
//!
//! What is true of a round by what is written of it, `journal` checks; what a node promises, `node`.

mod cuts;
mod jobs;
mod nodes;
mod outcomes;
mod tasks;
mod time;

use std::collections::{BTreeMap, BTreeSet};

use gradwire::engine::{Action, Engine, Event, JobEvent, NodeKey};
use gradwire::job::JobId;

use crate::journal::Journal;
use crate::scenario::Scenario;
use crate::world::Base;
use jobs::Jobs;
use nodes::Nodes;
use outcomes::Outcomes;
use tasks::Tasks;
use time::Stopwatch;

/// What a check may look at besides what it has seen.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub now_us: u64,
    pub scenario: &'a Scenario,
    pub engine: &'a Engine,
    pub journal: &'a Journal,
    /// The weights that each job was last given.
    pub bases: &'a BTreeMap<JobId, Base>,
}

#[derive(Default)]
pub struct Promises {
    pub jobs: Jobs,
    pub tasks: Tasks,
    pub nodes: Nodes,
    outcomes: Outcomes,
    /// Of each job that has begun.
    stopwatches: BTreeMap<JobId, Stopwatch>,
    /// What must be ordered next.
    due: Option<Action>,
}

impl Promises {
    /// The coordinator is gone, and what it knew; the nodes that were listed.
    pub fn crash(&mut self) -> BTreeSet<NodeKey> {
        std::mem::take(self).nodes.listed
    }

    /// The engine is about to be told.
    pub fn before(&mut self, now_us: u64, event: &Event) {
        self.nodes.before(event);
        self.tasks.before(now_us, event, &mut self.nodes);
        self.stopwatches.values_mut().for_each(|stopwatch| stopwatch.before(now_us, event));
    }

    /// The engine ordered something.
    pub fn action(&mut self, view: View, action: &Action) {
        let is_due = self.due.take().map(|due| *action == due);
        assert!(is_due.unwrap_or_else(|| !is_follower(action)), "{action:?} comes too early, or something else is due");
        self.due = follower(action);
        self.tasks.action(view, action, &self.nodes);
        self.nodes.action(view.scenario, action);
        if let Action::Prepare { job } = action {
            self.stopwatches.insert(*job, Stopwatch::start(view, *job));
        }
        let stopwatch = time::job_of(action).and_then(|job| self.stopwatches.get_mut(&job));
        stopwatch.into_iter().for_each(|stopwatch| stopwatch.action(view, action, &self.tasks));
        let paused = self.jobs.paused();
        self.jobs.action(view, action);
        self.outcomes.action(view, action, &self.nodes, &self.tasks, paused);
    }

    /// The engine has ordered everything that follows from an event.
    pub fn after(&mut self, view: View, event: &Event) {
        assert_eq!(self.due, None, "what is due is not ordered");
        self.nodes.after();
        self.jobs.after(view, event);
        let running = self.jobs.running();
        self.tasks.after(view, event, &running, &self.nodes);
        for (job, stopwatch) in &mut self.stopwatches {
            stopwatch.after(view, &self.tasks);
            let is_deserted = running.contains(job) && !self.nodes.has_helper(view.scenario, *job);
            stopwatch.look(view.now_us, is_deserted);
        }
    }

    /// Everything has happened.
    pub fn close(&self, engine: &Engine) {
        assert!(self.jobs.are_over(), "a job is not over");
        assert!(self.tasks.are_over(), "tasks are out although every job is over");
        assert_eq!(engine.next_deadline(), None);
    }
}

/// What must be ordered right after this: a round is told once it is written to its end, and nothing stays of a job that leaves its
/// turn.
fn follower(action: &Action) -> Option<Action> {
    match action {
        Action::Persist { job, record } => {
            let last = record.progress.last.filter(|_| record.ends_round);
            last.map(|last| Action::Report { job: *job, event: JobEvent::RoundDone(last) })
        }
        Action::Report { job, event: JobEvent::Paused(_) } => Some(Action::Suspend { job: *job }),
        Action::Report { job, event: JobEvent::Finished(_) } => Some(Action::ReleaseJob { job: *job }),
        _ => None,
    }
}

fn is_follower(action: &Action) -> bool {
    let is_round = matches!(action, Action::Report { event: JobEvent::RoundDone(_), .. });
    is_round || matches!(action, Action::Suspend { .. } | Action::ReleaseJob { .. })
}
