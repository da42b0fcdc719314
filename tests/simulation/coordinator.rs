//! The threads and clients around the engine, simulated: they tell it, obey it, write, and ask for jobs; the coordinator is
//! killed and started again. Owns what the engine is told because of what it ordered.

use std::num::NonZeroU32;
use std::sync::Arc;

use gradwire::digest::Digest;
use gradwire::engine::{Action, Engine, Event, JobEvent, JobProgress, StepSum, Time};
use gradwire::job::{
    Attempt, FailKind, FailReason, Failure, JobId, Metric, Metrics, Operation, Outcome, RowsRef, Specification, Tested,
};
use gradwire::model::{BatchSize, Merge, Network, Outer, OuterOptimiser, Recipe, Training};
use rand::{Rng as _, RngExt as _};

use crate::journal::Left;
use crate::model;
use crate::node::{Input, Work};
use crate::promises::View;
use crate::scenario::JobPlan;
use crate::steps::Kind;
use crate::world::{Base, Scheduled, World};

/// The coordinator's workers need no longer.
const WORK_US_MAX: u64 = 3_000;
/// Some validations take longer than the next rounds do. No job comes again before it is over.
const VALIDATE_US_MAX: u64 = 100_000;

impl World {
    /// A job is submitted, perhaps twice, and perhaps cancelled.
    pub fn submit(&mut self, plan: &JobPlan) {
        self.submit_in(plan.submitted_at_us, plan.job);
        if self.rng.random_bool(0.2) {
            let wait_us = self.rng.random_range(0..5_000_000);
            self.submit_in(plan.submitted_at_us + wait_us, plan.job);
        }
        if let Some(at) = plan.cancelled_at_us {
            self.tell_in(at, Event::CancelRequested { job: plan.job });
        }
    }

    fn submit_in(&mut self, wait_us: u64, job: JobId) {
        let specification = specification(self.plan(job));
        self.requests.push(job);
        self.tell_in(wait_us, Event::Submitted { job, specification, semantic: semantic(job) });
    }

    fn resume_in(&mut self, wait_us: u64, job: JobId) {
        self.requests.push(job);
        self.tell_in(wait_us, Event::ResumeRequested { job });
    }

    /// A client wants a job to go on that was given up, if it still stands so: with what is written of it.
    pub fn reopen(&mut self, job: JobId) {
        if let Some(place) = self.requests.iter().position(|requested| *requested == job) {
            self.requests.remove(place);
        }
        if let Some(JobProgress::Finished(Outcome::Failed(reason))) = self.engine.job_progress(job)
            && reason.kind().keeps_the_job()
        {
            let progress = self.journal.progress(job).cloned().map(Box::new);
            self.coverage.count("jobs reopened");
            self.coverage.count_all("jobs reopened that had begun", progress.is_some().into());
            self.tell(Event::Reopened { job, specification: specification(self.plan(job)), progress });
        }
    }

    /// Perhaps somebody wants a job to go on that was given up, once nobody has anything of it in hand.
    fn after_failure(&mut self, job: JobId, outcome: &Outcome) {
        let is_kept = matches!(outcome, Outcome::Failed(reason) if reason.kind().keeps_the_job());
        if is_kept && self.rng.random_bool(0.5) {
            self.requests.push(job);
            let wait_us = self.rng.random_range(VALIDATE_US_MAX..8_000_000);
            self.schedule_in(wait_us, Scheduled::Reopen { job });
        }
    }

    /// The engine is told, and obeyed.
    pub fn tell(&mut self, event: Event) {
        if self.is_shown {
            println!("{:>10} <- {event:?}", self.now_us);
        }
        self.hear_request(&event);
        // What the engine may still hear of is settled before it hears: which answers count.
        self.coverage.event(&event);
        self.journal.before(&event);
        self.promises.before(self.now_us, &event);
        let mut actions = Vec::new();
        self.engine.handle(Time(self.now_us - self.started_us), event.clone(), &mut actions);
        for action in actions {
            if self.is_shown {
                println!("{:>10} -> {action:?}", self.now_us);
            }
            self.trace.update(format!("{action:?}").as_bytes());
            self.coverage.action(&action, &self.scenario);
            let World { now_us, scenario, engine, journal, bases, .. } = self;
            self.promises.action(View { now_us: *now_us, scenario, engine, journal, bases }, &action);
            self.journal.action(&action, &self.scenario);
            self.obey(action);
        }
        let World { now_us, scenario, engine, journal, bases, .. } = self;
        self.promises.after(View { now_us: *now_us, scenario, engine, journal, bases }, &event);
        self.promises.tasks.take_noted().into_iter().for_each(|what| self.coverage.count(what));
    }

    /// A client asks for something that it was going to.
    fn hear_request(&mut self, event: &Event) {
        let (Event::Submitted { job, .. } | Event::ResumeRequested { job }) = event else { return };
        if let Some(place) = self.requests.iter().position(|requested| requested == job) {
            self.requests.remove(place);
        }
        if matches!(self.engine.job_progress(*job), Some(JobProgress::Paused { .. })) {
            self.coverage.count_all("jobs resumed", matches!(event, Event::ResumeRequested { .. }).into());
        }
    }

    /// The coordinator is killed, and started again with what is durable.
    pub fn crash(&mut self) {
        // What it was about to hear is lost with it; what clients want and how the list is edited is not.
        self.schedule.retain(|_, scheduled| match scheduled {
            Scheduled::Tell(event) => matches!(
                event,
                Event::NodeListed { .. }
                    | Event::Submitted { .. }
                    | Event::CancelRequested { .. }
                    | Event::ResumeRequested { .. }
                    | Event::Expired { .. }
            ),
            _ => true,
        });
        self.links_before = self.links;
        self.started_us = self.now_us;
        self.orphan_nodes();
        self.coverage.count("crashes");
        let running = self.promises.jobs.running();
        self.coverage.count_all("crashes while several jobs ran", (running.len() > 1).into());
        let is_within = running.into_iter().any(|job| self.is_within_round(job));
        self.coverage.count_all("crashes within a round", is_within.into());
        self.coverage.count_all("stale results", self.engine.status().stale_results);
        self.sums.clear();
        self.bases.clear();
        let listed = self.promises.crash();
        self.engine = Engine::new(self.scenario.settings.clone(), self.rng.next_u64());
        for node in listed {
            self.tell(Event::NodeListed { node, address: format!("10.0.0.{}:7000", node.0) });
            self.tell(Event::DialBegun { node, until: Time(self.now_us).after_us(2_000_000) });
        }
        for (job, left) in self.journal.crash(&mut self.rng) {
            let semantic = semantic(job);
            let event = match left {
                Left::Nothing => {
                    let wait_us = self.rng.random_range(VALIDATE_US_MAX..3_000_000);
                    self.submit_in(wait_us, job);
                    continue;
                }
                Left::Ended(outcome) => {
                    self.after_failure(job, &outcome);
                    Event::RestoredEnded { job, semantic, outcome }
                }
                Left::Open { progress, is_paused } => {
                    if is_paused {
                        self.after_pause(job);
                    }
                    let paused = is_paused.then(|| {
                        FailReason::Recorded(Failure { kind: FailKind::Paused, text: "no node is active".to_owned() })
                    });
                    let specification = specification(self.plan(job));
                    Event::Restored { job, specification, semantic, progress, paused }
                }
            };
            if self.rng.random_bool(0.1) {
                self.tell(event.clone());
            }
            self.tell(event);
        }
        (0..self.nodes.len()).for_each(|node| self.redial(node));
    }

    /// Somebody resumes a paused job some time, or cancels it, or forgets about it.
    fn after_pause(&mut self, job: JobId) {
        let wait_us = self.rng.random_range(10_000..8_000_000);
        match self.rng.random_range(0..10) {
            0..6 => self.resume_in(wait_us, job),
            6..8 => self.tell_in(wait_us, Event::CancelRequested { job }),
            _ => {}
        }
    }

    /// Something was ordered that is written down: perhaps it is durable by now, perhaps the coordinator is killed.
    fn after_writing(&mut self, job: JobId) {
        if self.rng.random_bool(0.4) {
            self.journal.sync(job);
        }
        if self.crashes < self.scenario.crashes_max && self.rng.random_bool(self.scenario.crashes) {
            self.crashes += 1;
            let wait_us = self.rng.random_range(0..5_000);
            self.schedule_in(wait_us, Scheduled::Crash);
        }
    }

    fn obey(&mut self, action: Action) {
        match action {
            Action::CollectData { job } => {
                let plan = self.plan(job).clone();
                let event = if plan.data_missing {
                    Event::DataMissing { job, reason: "the client is gone".to_owned() }
                } else {
                    Event::DataReady { job }
                };
                self.tell_in(plan.data_after_us, event);
            }
            Action::Prepare { job } => {
                // A job that goes on after a pause has its weights still.
                let written = Base { step: self.journal.steps(job), digest: self.journal.base(job) };
                let base = self.bases.entry(job).or_insert(written).digest;
                let is_beside = !self.promises.jobs.running().is_empty();
                self.coverage.count_all("jobs that began beside others", is_beside.into());
                // Nodes may have results of it if it has had a turn before.
                (0..self.nodes.len()).for_each(|node| self.ask_for_results(node, job));
                let event = if self.plan(job).worker_breaks {
                    Event::WorkFailed { job, reason: "the weights do not fit".to_owned() }
                } else {
                    Event::Prepared { job, base }
                };
                // The workers do one thing after the other.
                let wait_us = self.rng.random_range(1..WORK_US_MAX) + self.idle_at_us.saturating_sub(self.now_us);
                self.tell_in(wait_us, event);
            }
            Action::Dispatch { link, attempt, rows, base, may_reject } => {
                self.reach(attempt.task.job, attempt.task.step);
                let is_overlap = self.promises.tasks.is_overlap;
                self.coverage.count_all("tasks sent while an update was on its way", is_overlap.into());
                if let Some(node) = self.node_of(link) {
                    self.post_to_node(node, Input::Train { work: Work { link, attempt, rows, base }, may_reject });
                }
            }
            Action::Cancel { link, attempt } => {
                // Half of the cancellations come too late.
                if let Some(node) = self.node_of(link).filter(|_| self.rng.random_bool(0.5)) {
                    self.post_to_node(node, Input::Cancel { attempt });
                }
            }
            Action::Accumulate { attempt, update, .. } => self.accumulate(attempt, update),
            Action::FinishStep { job, step, .. } => {
                self.reach(job, step);
                let mut sum = self.sums.remove(&(job, step)).unwrap_or_default();
                if self.rng.random_bool(0.03) {
                    // What a merge needs at once may be gone when it is needed.
                    let shards: Vec<u32> = sum.keys().copied().filter(|_| self.rng.random_bool(0.5)).collect();
                    sum.retain(|shard, _| !shards.contains(shard));
                    let is_of_blocks = self.plan(job).steps.merge_gradients() && !shards.is_empty();
                    self.coverage.count_all("sums lost", is_of_blocks.into());
                    self.sums.insert((job, step), sum);
                    return self.work(Event::UpdatesLost { job, step, shards, reason: "the disk is ill".to_owned() });
                }
                let from = self.bases[&job].digest;
                let (base, sum) = if self.plan(job).steps.merge_gradients() {
                    let sum = sum.values().copied().map(model::Sum::from).sum::<model::Sum>();
                    (
                        model::follow(from, sum.into()),
                        Some(StepSum { digest: sum.into(), loss: sum.loss(), outer: model::remembered(from) }),
                    )
                } else {
                    (model::merge(from, &sum), None)
                };
                self.bases.insert(job, Base { step: step + 1, digest: base });
                self.work(Event::Merged { job, step, base, sum });
            }
            Action::Validate { job, round, base } => {
                let event = Event::Validated { job, round, rows: 50, metrics: metrics(base) };
                let wait_us = if self.rng.random_bool(0.1) { VALIDATE_US_MAX } else { WORK_US_MAX };
                let wait_us = self.rng.random_range(1..wait_us);
                self.tell_in(wait_us, event);
            }
            Action::Test { job, weights } => {
                let tested = |rows| Tested { rows, metrics: metrics(weights) };
                let test = self.plan(job).is_tested.then(|| Box::new(tested(20)));
                let wait_us = self.rng.random_range(1..VALIDATE_US_MAX);
                self.tell_in(wait_us, Event::Tested { job, validation: tested(50), test, confusion: None });
            }
            Action::DropLink { link, .. } => {
                if let Some(node) = self.node_of(link) {
                    self.lose_link(node);
                    self.redial(node);
                }
            }
            Action::DialNow { nodes } => {
                for node in nodes {
                    let wait_us = self.rng.random_range(100..50_000);
                    self.schedule_in(wait_us, Scheduled::Dial { node: node.0 as usize });
                }
            }
            Action::ReleaseJob { job } => {
                self.sums.retain(|(other, _), _| *other != job);
                self.bases.remove(&job);
            }
            Action::Persist { job, record } => {
                // In the middle of a round there is more to go wrong.
                let times = if record.ends_round { 1 } else { 3 };
                (0..times).for_each(|_| self.after_writing(job));
            }
            Action::Suspend { job } => {
                let is_within = self.is_within_round(job);
                self.coverage.count_all("jobs paused within a round", is_within.into());
                self.sums.retain(|(other, _), _| *other != job);
                self.idle_at_us = self.now_us + WORK_US_MAX;
                self.after_pause(job);
                self.after_writing(job);
            }
            Action::Report { job, event: JobEvent::Finished(outcome) } => {
                self.after_failure(job, &outcome);
                self.after_writing(job);
                if self.rng.random_bool(0.3) {
                    let wait_us = self.rng.random_range(1..5_000_000);
                    self.tell_in(wait_us, Event::Expired { job });
                }
            }
            Action::Forget { job } => {
                // It comes again, once nobody has anything of it in hand.
                if self.rng.random_bool(0.1) {
                    let wait_us = self.rng.random_range(VALIDATE_US_MAX..3_000_000);
                    self.submit_in(wait_us, job);
                }
            }
            Action::Admit { .. }
            | Action::Discard { .. }
            | Action::StopDialling { .. }
            | Action::KeepWeights { .. }
            | Action::Report { .. } => {}
        }
    }

    /// A step is under way: those before it that led to no other weights are over.
    fn reach(&mut self, job: JobId, step: u64) {
        let base = self.bases.get_mut(&job).expect("a job that is prepared");
        base.step = base.step.max(step);
    }

    /// Whether a round of a job has begun, and is not over.
    fn is_within_round(&self, job: JobId) -> bool {
        let of_round = self.plan(job).steps.of_round();
        self.bases.get(&job).is_some_and(|base| !base.step.is_multiple_of(of_round))
    }

    fn accumulate(&mut self, attempt: Attempt, update: Digest) {
        let (job, step, shard) = (attempt.task.job, attempt.task.step, attempt.task.shard);
        if self.poisoned.contains(&update) {
            self.work(Event::UpdateRefused { job, step, shard, reason: "the update is not a number".to_owned() });
            return;
        }
        let before = self.sums.entry((job, step)).or_default().insert(shard, update);
        assert_eq!(before, None, "shard {shard} of step {step} is merged twice");
        self.work(Event::Accumulated { job, step, shard });
    }

    /// The coordinator's workers take their time.
    fn work(&mut self, event: Event) {
        let wait_us = self.rng.random_range(1..WORK_US_MAX);
        self.tell_in(wait_us, event);
    }
}

/// What weights are worth, as it is told.
fn metrics(weights: Digest) -> Metrics {
    let (errors, loss) = model::worth(weights);
    Metrics::default().with(Metric::Loss, loss.into()).with(Metric::Errors, errors.into())
}

fn semantic(job: JobId) -> Digest {
    Digest::of(&job.0.to_le_bytes())
}

fn specification(plan: &JobPlan) -> Arc<Specification> {
    let row = |index: u32, rows: u32| RowsRef { rows, digest: Digest::of(&index.to_le_bytes()) };
    let batch = |rows| NonZeroU32::new(rows).map_or(BatchSize::Full, BatchSize::Rows);
    let of_epochs = Recipe::DEFAULT;
    let is_median = matches!(plan.steps.kind, Kind::Gradients { is_median: true, .. });
    let (recipe, optimiser, round_steps, tasks_per_step) = match plan.steps.kind {
        Kind::Epochs => (of_epochs, OuterOptimiser::Average, None, None),
        Kind::LocalSteps(of_round) => {
            let recipe = Recipe { local_steps: Some(2), epochs: 1, batch: batch(10), ..of_epochs };
            (recipe, OuterOptimiser::Average, Some(of_round), None)
        }
        Kind::Gradients { batch: rows, round_steps, tasks_per_step, .. } => {
            let recipe = Recipe { local_steps: Some(1), epochs: 1, batch: batch(rows), ..of_epochs };
            (recipe, OuterOptimiser::Adam, round_steps, tasks_per_step)
        }
    };
    let specification = Specification {
        training: Training {
            arithmetic: plan.arithmetic,
            network: Network::new(plan.inputs, &[], 2).expect("a network within the limits"),
            recipe,
            seed: 1,
            class_weights: Vec::new(),
        },
        rounds: plan.rounds,
        round_steps,
        shards: (0..).zip(&plan.steps.shard_rows).map(|(shard, &rows)| row(shard, rows)).collect(),
        validation: row(u32::MAX, 50),
        test: plan.is_tested.then(|| row(u32::MAX - 1, 20)),
        patience: plan.patience,
        target_accuracy: plan.errors_enough.map(|errors| f64::from(50 - errors) / 50.0),
        merge: if is_median { Merge::Median } else { Merge::Mean },
        outer: Outer { optimiser, ..Outer::AVERAGE },
        initial: None,
        operation: Operation {
            on_task_failure: plan.on_task_failure,
            allow_inexact: plan.allow_inexact,
            on_no_nodes: plan.on_no_nodes,
            tasks_per_step,
        },
        notes: Vec::new(),
    };
    Arc::new(specification.checked().expect("a job that may be asked for"))
}
