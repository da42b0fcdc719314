//! What the coordinator's console says: columns that line up for people and split on white space for scripts.

use std::fmt::Write as _;

use crate::engine::{JobState, NodeState, Outcome, Policy, Status};

/// Jobs that are shown, at most.
const JOBS_SHOWN_MAX: usize = 20;

/// The answer to `status`.
pub(super) fn render(status: &Status, policy: Policy, clients: usize) -> String {
    let active = status.nodes.iter().filter(|node| node.state == NodeState::Active).count();
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "coordinator_node  {}\npolicy            {policy}\nnodes             {active} of {} active\nclients           {clients}\n",
        env!("CARGO_PKG_VERSION"),
        status.nodes.len(),
    );
    let width = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or(0).max(8);
    let name_width = width(&mut status.nodes.iter().map(|node| node.name.len()));
    let address_width = width(&mut status.nodes.iter().map(|node| node.address.len()));
    let _ = writeln!(
        out,
        "{:name_width$}  {:address_width$}  {:11}  {:>5}  {:>7}  {:>7}  {:>6}  {:>10}",
        "NODE", "ADDRESS", "STATE", "TASKS", "RUNNING", "WAITING", "DONE", "ROWS/S"
    );
    for node in &status.nodes {
        let state = match node.state {
            NodeState::Active => "active",
            NodeState::Leaving => "leaving",
            NodeState::Inactive => "inactive",
            NodeState::Quarantined => "quarantined",
        };
        let speed = node.rows_per_second.map_or_else(|| "-".to_owned(), |speed| format!("{speed:.0}"));
        let _ = writeln!(
            out,
            "{:name_width$}  {:address_width$}  {state:11}  {:>5}  {:>7}  {:>7}  {:>6}  {speed:>10}",
            node.name, node.address, node.outstanding, node.running, node.waiting, node.tasks_done
        );
    }
    let _ = writeln!(out, "\n{:32}  {:10}  PROGRESS", "JOB", "STATE");
    for job in status.jobs.iter().take(JOBS_SHOWN_MAX) {
        let (state, progress) = match &job.state {
            JobState::Collecting { position } => ("collecting", format!("{position} before it")),
            JobState::Queued { position } => ("queued", format!("{position} before it")),
            JobState::Running { step, rounds, tasks_done, tasks } => {
                ("running", format!("round {} of {rounds}, {tasks_done} of {tasks} tasks", step + 1))
            }
            JobState::Finished(Outcome::Done(summary)) => {
                let accuracy = 100.0 * (1.0 - summary.errors as f64 / summary.rows.max(1) as f64);
                ("done", format!("{accuracy:.2} %"))
            }
            JobState::Finished(Outcome::Failed(reason)) => ("failed", reason.to_string()),
            JobState::Finished(Outcome::Cancelled) => ("cancelled", String::new()),
        };
        let _ = writeln!(out, "{}  {state:10}  {progress}", job.job);
    }
    out
}
