//! What the coordinator's console and its metrics say. Owns their words and columns; decides and holds nothing: it is
//! given a snapshot.

use std::fmt::{Display, Write as _};
use std::sync::Arc;

use super::injected::probability;
use crate::engine::{Doubt, JobProgress, NodeKey, NodeState, NodeStatus, Policy, Status, Unit};
use crate::job::{Failure, JobId, JobState, Outcome, Quality, RoundSummary, Specification};
use crate::net::Question;
use crate::wire::ErrorCode;
use crate::wire::text::{Align, JobPrefix, Kind, Metrics, Table, counted, shown};

/// Jobs that `status` shows, at most.
pub(super) const JOBS_SHOWN_MAX: usize = 20;

/// A moment of the coordinator's life.
pub(super) struct Snapshot {
    pub(super) policy: Policy,
    pub(super) clients: usize,
    pub(super) engine: Status,
    /// What is held of the jobs that have not ended.
    pub(super) open: Vec<(JobId, Open)>,
    pub(super) counts: Counts,
    /// Sentences about nodes that are listed several times.
    pub(super) same_nodes: Vec<String>,
}

/// A job that has not ended.
pub(super) struct Open {
    pub(super) specification: Arc<Specification>,
    /// Objects that have not arrived.
    pub(super) missing: usize,
    /// Clients that watch it.
    pub(super) watchers: usize,
    /// The last round that was reported.
    pub(super) round: Option<RoundSummary>,
}

/// What has happened since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) jobs_done: u64,
    pub(super) jobs_failed: u64,
    pub(super) jobs_cancelled: u64,
    pub(super) rounds: u64,
    pub(super) tasks_merged: u64,
    pub(super) tasks_skipped: u64,
    pub(super) tasks_rejected: u64,
    pub(super) tasks_failed: u64,
    pub(super) copies: u64,
    pub(super) revivals: u64,
}

/// The answer to a question on the console.
pub(super) fn answer(question: Question, snapshot: &Snapshot) -> String {
    match question {
        Question::Status => {
            let Snapshot { policy, clients, engine, .. } = snapshot;
            let active = count(engine, NodeState::Active);
            let warnings: String =
                snapshot.same_nodes.iter().map(|sentence| format!("warning           {sentence}\n")).collect();
            format!(
                "coordinator_node  {}\npolicy            {policy}\nnodes             {active} of {} active\nclients           \
                 {clients}\n{warnings}\n{}\n{}",
                env!("CARGO_PKG_VERSION"),
                engine.nodes.len(),
                nodes(engine),
                jobs(engine, JOBS_SHOWN_MAX),
            )
        }
        Question::Nodes => nodes(&snapshot.engine).to_string(),
        Question::Jobs => jobs(&snapshot.engine, usize::MAX).to_string(),
        Question::Job(prefix) => job(prefix, snapshot),
    }
}

pub(super) fn count(status: &Status, state: NodeState) -> usize {
    status.nodes.iter().filter(|node| node.state == state).count()
}

/// Nodes that one line tells of, at most.
const FLEET_SHOWN_MAX: usize = 12;

/// What is wrong at a node, since the coordinator was started.
pub(super) struct Trouble {
    pub(super) failed: u64,
    /// How likely it injects load, if it does.
    pub(super) load_ppm: Option<u32>,
}

impl Trouble {
    /// In brackets; empty where there is none.
    fn in_words(&self) -> String {
        let failed = (self.failed > 0).then(|| format!("{} failed", self.failed));
        let load = self.load_ppm.map(|ppm| format!("load {}", probability(ppm)));
        let words: Vec<String> = failed.into_iter().chain(load).collect();
        if words.is_empty() { String::new() } else { format!(" ({})", words.join(", ")) }
    }
}

/// How the nodes stand, in a line for who watches a job.
pub(super) fn fleet(status: &Status, counts: &Counts, trouble: impl Fn(NodeKey) -> Trouble) -> String {
    let mut text = format!("nodes {} of {} active", count(status, NodeState::Active), status.nodes.len());
    for (count, what) in [(counts.tasks_rejected, "turned down"), (counts.tasks_failed, "failed")] {
        if count > 0 {
            text += &format!(", {count} {what}");
        }
    }
    let told = |node: &NodeStatus| {
        let speed = match node.rows_per_second {
            Some(speed) if speed >= 9_500.0 => format!(" {:.0}k rows/s", speed / 1e3),
            Some(speed) => format!(" {speed:.0} rows/s"),
            None => String::new(),
        };
        let trouble = trouble(node.node).in_words();
        match node.state {
            NodeState::Active => format!("{}{speed} {}{trouble}", node.name, counted(node.tasks_done, "task")),
            state => format!("{} {}{trouble}", node.name, name_of(state)),
        }
    };
    let shown: Vec<String> = status.nodes.iter().take(FLEET_SHOWN_MAX).map(told).collect();
    if !shown.is_empty() {
        text += &format!(": {}", shown.join(", "));
    }
    if status.nodes.len() > FLEET_SHOWN_MAX {
        text += ", ...";
    }
    text
}

fn nodes(status: &Status) -> Table {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("NODE", Left),
        ("ADDRESS", Left),
        ("STATE", Left),
        ("TASKS", Right),
        ("RUNNING", Right),
        ("WAITING", Right),
        ("DONE", Right),
        ("ROWS/S", Right),
    ]);
    for node in &status.nodes {
        let speed = node.rows_per_second.map_or_else(String::new, |speed| format!("{speed:.0}"));
        table.row([
            node.name.clone(),
            node.address.clone(),
            standing(node).to_owned(),
            node.outstanding.to_string(),
            node.running.to_string(),
            node.waiting.to_string(),
            node.tasks_done.to_string(),
            speed,
        ]);
    }
    table
}

/// What of a node's standing is the most important.
pub(super) fn standing(node: &NodeStatus) -> &'static str {
    match (node.state, node.doubt) {
        (NodeState::Active, Some(Doubt::Differs)) => "differs",
        (NodeState::Active, Some(Doubt::Unproven)) => "unproven",
        (state, _) => name_of(state),
    }
}

fn name_of(state: NodeState) -> &'static str {
    match state {
        NodeState::Active => "active",
        NodeState::Leaving => "leaving",
        NodeState::Inactive => "inactive",
        NodeState::Quarantined => "quarantined",
    }
}

fn jobs(status: &Status, shown_max: usize) -> Table {
    let mut table = Table::new(&[("JOB", Align::Left), ("STATE", Align::Left), ("PROGRESS", Align::Left)]);
    for job in status.jobs.iter().take(shown_max) {
        let state = job.progress.state().name().to_owned();
        table.row([job.job.to_string(), state, progress(&job.progress)]);
    }
    table
}

/// How far a job is.
pub(super) fn progress(progress: &JobProgress) -> String {
    match progress {
        JobProgress::Collecting { position } | JobProgress::Queued { position } => format!("{position} before it"),
        JobProgress::Running { round, rounds, done, of, unit } => {
            let unit = match unit {
                Unit::Tasks => "tasks",
                Unit::Steps => "steps",
            };
            format!("round {} of {rounds}, {done} of {of} {unit}", round + 1)
        }
        JobProgress::Paused { reason, .. } => shown(&reason.to_string()).to_string(),
        JobProgress::Finished(Outcome::Done(summary)) => match summary.metrics.quality(summary.rows) {
            // The share needs no word: nothing else here is one.
            rate @ Quality::ErrorRate(_) => rate.to_string(),
            other => format!("{} {other}", other.name()),
        },
        JobProgress::Finished(Outcome::Failed(reason)) => shown(&reason.to_string()).to_string(),
        JobProgress::Finished(Outcome::Cancelled) => String::new(),
    }
}

/// The jobs whose ids begin so: the one in full, or a list to choose from.
fn job(prefix: JobPrefix, snapshot: &Snapshot) -> String {
    let mut matching: Vec<_> = snapshot.engine.jobs.iter().filter(|status| prefix.begins(status.job)).collect();
    match &matching[..] {
        [] => format!("no job begins with {prefix}; try: jobs\n"),
        [status] => {
            let open = snapshot.open.iter().find(|(job, _)| *job == status.job);
            one_job(status.job, &status.progress, open.map(|(_, open)| open))
        }
        _ => {
            let count = matching.len();
            matching.truncate(JOBS_SHOWN_MAX);
            let ids: String = matching.iter().map(|status| format!("{}\n", status.job)).collect();
            format!("{count} jobs begin with {prefix}; which one?\n{ids}")
        }
    }
}

fn one_job(job: JobId, how_far: &JobProgress, open: Option<&Open>) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let mut line = |name: &str, value: &dyn Display| {
        let _ = writeln!(out, "{name:12}  {value}");
    };
    let progress = progress(how_far);
    line("job", &job);
    line("state", &how_far.state().name());
    if !progress.is_empty() {
        line("progress", &progress);
    }
    if let Some(open) = open {
        let Specification { training, shards, validation, rounds, .. } = &*open.specification;
        let network = &training.network;
        let widths: Vec<String> = network.layers().map(|layer| layer.inputs.to_string()).collect();
        line("network", &format!("{}-{}", widths.join("-"), network.outputs()));
        line("parameters", &network.parameters());
        let rows: u64 = shards.iter().map(|shard| u64::from(shard.rows)).sum();
        line(
            "data",
            &format!(
                "{} in {}, {} to validate",
                counted(rows, "row"),
                counted(shards.len() as u64, "shard"),
                validation.rows
            ),
        );
        line("rounds", rounds);
        line("seed", &training.seed);
        line("clients", &open.watchers);
        if open.missing > 0 {
            line("missing", &format!("{} on the way from the client", counted(open.missing as u64, "object")));
        }
        if let Some(round) = &open.round {
            line("round", &format!("{} of {}", round.round, round.rounds));
            let quality = round.metrics.quality(round.rows);
            line(quality.name(), &quality);
            line("loss", &round.loss);
            line("round_s", &(round.round_us as f64 / 1e6));
        }
    }
    match how_far {
        JobProgress::Finished(Outcome::Done(summary)) => {
            line("fingerprint", &summary.fingerprint);
            line("weights", &summary.weights);
            line("loss", &summary.loss);
            line("merged", &summary.merged);
            line("skipped", &summary.skipped);
            line("revivals", &summary.revivals);
            line("reproducible", &summary.reproducible);
            line("elapsed_s", &(summary.elapsed_us as f64 / 1e6));
            let mut table = Table::new(&[("NODE", Align::Left), ("TASKS", Align::Right)]);
            for node in &summary.nodes {
                table.row([node.node.clone(), node.tasks.to_string()]);
            }
            let _ = write!(out, "\n{table}");
        }
        JobProgress::Finished(Outcome::Failed(reason)) => line("code", &ErrorCode::from(Failure::from(reason).kind)),
        JobProgress::Finished(Outcome::Cancelled) => line("code", &ErrorCode::Cancelled),
        _ => {}
    }
    out
}

/// What there is to count.
pub(super) fn metrics(snapshot: &Snapshot, out: &mut Metrics) {
    let Snapshot { clients, engine, counts, .. } = snapshot;
    out.family("gradwire_nodes", Kind::Gauge, "Listed nodes by their standing.");
    for state in [NodeState::Active, NodeState::Leaving, NodeState::Inactive, NodeState::Quarantined] {
        out.sample(&[("state", name_of(state))], count(engine, state) as f64);
    }
    out.single("gradwire_clients", Kind::Gauge, "Clients connected.", *clients as f64);
    let in_state = |state| engine.jobs.iter().filter(|job| job.progress.state() == state).count() as f64;
    out.family("gradwire_jobs", Kind::Gauge, "Jobs that have not ended, by state.");
    for state in [JobState::Collecting, JobState::Queued, JobState::Running, JobState::Paused] {
        out.sample(&[("state", state.name())], in_state(state));
    }
    out.family("gradwire_jobs_ended_total", Kind::Counter, "Jobs that have ended, by outcome.");
    for (outcome, ended) in
        [("done", counts.jobs_done), ("failed", counts.jobs_failed), ("cancelled", counts.jobs_cancelled)]
    {
        out.sample(&[("outcome", outcome)], ended as f64);
    }
    for (name, help, value) in [
        ("gradwire_rounds_total", "Rounds merged and validated.", counts.rounds),
        ("gradwire_tasks_merged_total", "Tasks whose update was merged.", counts.tasks_merged),
        ("gradwire_tasks_skipped_total", "Tasks left out of their round.", counts.tasks_skipped),
        ("gradwire_tasks_rejected_total", "Tasks that a node turned down.", counts.tasks_rejected),
        ("gradwire_tasks_failed_total", "Attempts that failed.", counts.tasks_failed),
        ("gradwire_task_copies_total", "Copies of slow tasks that were started.", counts.copies),
        ("gradwire_revivals_total", "Revivals begun for want of an active node.", counts.revivals),
        ("gradwire_stale_results_total", "Results that belonged to nothing.", engine.stale_results),
    ] {
        out.single(name, Kind::Counter, help, value as f64);
    }
    let mut by_node = |name, kind, help, value: &dyn Fn(&NodeStatus) -> Option<f64>| {
        out.family(name, kind, help);
        for node in &engine.nodes {
            if let Some(value) = value(node) {
                out.sample(&[("node", &node.name), ("address", &node.address)], value);
            }
        }
    };
    by_node("gradwire_node_up", Kind::Gauge, "Whether the node is active.", &|node| {
        Some(f64::from(u8::from(node.state == NodeState::Active)))
    });
    by_node("gradwire_node_tasks", Kind::Gauge, "Tasks that are out with the node.", &|node| {
        Some(f64::from(node.outstanding))
    });
    by_node("gradwire_node_tasks_merged_total", Kind::Counter, "Tasks of the node that were merged.", &|node| {
        Some(node.tasks_done as f64)
    });
    by_node("gradwire_node_rows_per_second", Kind::Gauge, "Rows that the node trains in a second.", &|node| {
        node.rows_per_second
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_fleet_tells_of_each_node_what_it_is_worth_and_what_is_wrong() {
        let node = |number: u32, state, tasks_done| NodeStatus {
            node: NodeKey(number),
            name: format!("n{number}"),
            address: String::new(),
            state,
            doubt: None,
            outstanding: 0,
            running: 0,
            waiting: 0,
            tasks_done,
            rows_per_second: (number == 1).then_some(36_000.0),
        };
        let nodes =
            vec![node(1, NodeState::Active, 90), node(2, NodeState::Active, 1), node(3, NodeState::Inactive, 4)];
        let status = Status { nodes, jobs: Vec::new(), stale_results: 0 };
        let counts = Counts { tasks_rejected: 6, tasks_failed: 2, ..Counts::default() };
        let trouble =
            |node: NodeKey| Trouble { failed: u64::from(node.0 - 1), load_ppm: (node.0 < 3).then_some(300_000) };
        assert_eq!(
            fleet(&status, &counts, trouble),
            "nodes 2 of 3 active, 6 turned down, 2 failed: n1 36k rows/s 90 tasks (load 0.3), n2 1 task (1 failed, load 0.3), \
             n3 inactive (2 failed)"
        );
    }
}
