//! What happened in a life, or in many: counted, so that a life in which nothing happens proves nothing.

use std::collections::BTreeMap;

use gradwire::digest::Digest;
use gradwire::engine::{Action, Event, JobEvent, Notice};
use gradwire::job::{EntryResult, FailReason, OnNoNodes, Outcome};

use crate::scenario::Scenario;

/// What must happen in many lives.
const WANTED: [&str; 68] = [
    "jobs done",
    "jobs done that are reproducible",
    "jobs failed",
    "jobs cancelled",
    "jobs done whose best round is not their last",
    "jobs done before their last round",
    "jobs done that were tested",
    "tasks merged",
    "tasks skipped",
    "duplicate results",
    "stale results",
    "revivals",
    "copies of slow tasks",
    "copies of copies",
    "answers that never came",
    "tasks sent while an update was on its way",
    "updates that broke off",
    "nodes quarantined",
    "results that differ",
    "updates refused",
    "updates lost",
    "links lost",
    "tasks handed back by nodes that end",
    "crashes",
    "crashes while several jobs ran",
    "jobs that began beside others",
    "tasks sent behind those of another job",
    "jobs restored that had begun",
    "jobs restored that were paused",
    "jobs restored that had ended",
    "results of before a crash",
    "jobs paused",
    "jobs that could not be paused",
    "jobs resumed",
    "jobs reopened",
    "jobs reopened that had begun",
    "jobs forgotten",
    "results given to another link",
    "trainings that went on for another link",
    "trainings given up that nobody came back for",
    "tasks cancelled that waited",
    "nodes that ended with nothing left to do",
    // Of jobs that merge gradients.
    "jobs of gradients done",
    "jobs of gradients done that are reproducible",
    "jobs of gradients failed",
    "blocks merged",
    "blocks skipped",
    "steps cut otherwise than the one before",
    "steps of which each block is a task",
    "jobs of medians of blocks done",
    "steps of which some blocks are merged",
    "steps of which no block is left",
    "sums lost",
    "tasks split after a loss",
    "tasks split into single blocks",
    "nodes lost with blocks",
    "nodes joined in a step of blocks",
    "records within a round",
    "crashes within a round",
    "jobs restored within a round",
    "jobs paused within a round",
    // Time of a job that is done, by the parts of the profile.
    "prepare",
    "compute",
    "wire",
    "stragglers",
    "no_nodes",
    "merge",
    "validate",
];

#[derive(Debug, Default)]
pub struct Coverage {
    counts: BTreeMap<&'static str, u64>,
    /// Digest of every action in order; only of a single life.
    pub trace: Option<Digest>,
}

impl Coverage {
    pub fn count(&mut self, what: &'static str) {
        self.count_all(what, 1);
    }

    pub fn count_all(&mut self, what: &'static str, count: u64) {
        *self.counts.entry(what).or_default() += count;
    }

    pub fn add(&mut self, other: &Coverage) {
        other.counts.iter().for_each(|(what, count)| self.count_all(what, *count));
    }

    /// Everything that must happen, and how often it did.
    pub fn wanted(&self) -> impl Iterator<Item = (&'static str, u64)> {
        WANTED.into_iter().map(|what| (what, self.counts.get(what).copied().unwrap_or(0)))
    }

    /// The engine is about to be told.
    pub fn event(&mut self, event: &Event) {
        match event {
            Event::Closing { .. } => self.count("tasks handed back by nodes that end"),
            Event::Restored { paused: Some(_), .. } => self.count("jobs restored that were paused"),
            Event::Restored { progress: Some(progress), .. } => {
                self.count("jobs restored that had begun");
                self.count_all("jobs restored within a round", (progress.so_far.us > 0).into());
            }
            Event::RestoredEnded { .. } => self.count("jobs restored that had ended"),
            _ => {}
        }
    }

    /// The engine ordered something.
    pub fn action(&mut self, action: &Action, scenario: &Scenario) {
        match action {
            Action::DialNow { .. } => self.count("revivals"),
            Action::StopDialling { .. } => self.count("nodes quarantined"),
            Action::Forget { .. } => self.count("jobs forgotten"),
            Action::Report { event: JobEvent::Paused(_), .. } => self.count("jobs paused"),
            Action::Report { event: JobEvent::Notice(notice), .. } => match notice {
                Notice::Speculating { .. } => self.count("copies of slow tasks"),
                Notice::DigestMismatch { .. } => self.count("results that differ"),
                Notice::UpdateRefused { .. } => self.count("updates refused"),
                Notice::UpdatesLost { count, .. } => self.count_all("updates lost", *count as u64),
                Notice::NodeLost { .. } => self.count("links lost"),
                _ => {}
            },
            Action::Persist { record, .. } => {
                for entry in &record.entries {
                    match &entry.result {
                        EntryResult::Merged(_) => self.count("tasks merged"),
                        EntryResult::Skipped => self.count("tasks skipped"),
                        EntryResult::Step(step) => {
                            self.count_all("blocks merged", step.blocks.into());
                            self.count_all("steps of which no block is left", (step.blocks == 0).into());
                        }
                    }
                }
                self.count_all("records within a round", (!record.ends_round).into());
                self.count_all("duplicate results", record.progress.duplicates);
            }
            Action::Report { job, event: JobEvent::Finished(outcome) } => match outcome {
                Outcome::Done(summary) => {
                    self.count("jobs done");
                    self.count_all(
                        "jobs done whose best round is not their last",
                        (summary.round < summary.rounds).into(),
                    );
                    self.count_all(
                        "jobs done before their last round",
                        (summary.rounds < scenario.job(*job).rounds).into(),
                    );
                    self.count_all("jobs done that were tested", summary.test.is_some().into());
                    if scenario.job(*job).steps.merge_gradients() {
                        self.count("jobs of gradients done");
                        self.count_all("jobs of gradients done that are reproducible", summary.reproducible.into());
                        let is_median = scenario.job(*job).steps.are_single();
                        self.count_all("jobs of medians of blocks done", is_median.into());
                    }
                    self.count_all("jobs done that are reproducible", summary.reproducible.into());
                    summary.profile.parts().iter().for_each(|(part, us)| self.count_all(part, u64::from(*us > 0)));
                }
                Outcome::Cancelled => self.count("jobs cancelled"),
                Outcome::Failed(reason) => {
                    self.count("jobs failed");
                    self.count_all("jobs of gradients failed", scenario.job(*job).steps.merge_gradients().into());
                    let is_deserted = matches!(reason, FailReason::NoNodes { .. } | FailReason::NoEligibleNode { .. });
                    if is_deserted && scenario.job(*job).on_no_nodes == OnNoNodes::Pause {
                        self.count("jobs that could not be paused");
                    }
                }
            },
            _ => {}
        }
    }
}
