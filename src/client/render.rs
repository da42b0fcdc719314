//! What is printed: results to stdout, talk to stderr. Owns the table, the quiet form and the JSON lines; does not know
//! where anything comes from.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::advice::Advice;
use super::confusion::JobConfusion;
use super::fitted::fitted;
use super::live::Live;
use super::options::{Access, Output, Shown};
use super::score::{Measure, Score};
use super::work::Work;
use crate::cli::{self, Failure};
use crate::dataset::Report;
use crate::job::{JobId, JobState, Metrics, NodeTasks, RoundSummary, Specification, Summary};
use crate::wire::ErrorCode;
use crate::wire::message::{Accepted, Notice, NoticeKind};
use crate::wire::text::{counted, shown};

/// Who says what goes to stderr.
const WHO: &str = "client: ";

/// Nodes listed in the table, at most.
const NODES_SHOWN_MAX: usize = 12;

/// Prints a job as it goes on.
pub(super) struct Renderer {
    output: Output,
    shown: Shown,
    job: JobId,
    measure: Measure,
    /// Rounds before the learning rate is +0: those after them measure no training loss.
    training_rounds: u32,
    /// Rounds of the job, and how many it waits for a better one.
    rounds: u32,
    patience: Option<u32>,
    /// What a job is merged of: tasks, or blocks.
    unit: &'static str,
    has_head: bool,
    /// Of the best round so far.
    best: Option<Metrics>,
    live: Live,
}

impl Renderer {
    pub(super) fn new(output: Output, shown: Shown, work: &Work) -> Renderer {
        let Specification { training, rounds, patience, .. } = &work.specification;
        let (rounds, patience) = (*rounds, *patience);
        let training_rounds = work.specification.first_round_without_rate().unwrap_or(rounds);
        let unit = if training.recipe.merges_gradients() { "blocks" } else { "tasks" };
        let measure = work.measure();
        let job = work.job;
        let live = Live::new(output == Output::Table, rounds, patience);
        Renderer {
            output,
            shown,
            job,
            measure,
            training_rounds,
            rounds,
            patience,
            unit,
            has_head: false,
            best: None,
            live,
        }
    }

    /// A sentence for the person at the terminal.
    pub(super) fn say(&self, text: &str) {
        self.live.erase();
        say(text);
    }

    /// What was decided of a data file, and what is doubtful about it.
    pub(super) fn data(&self, report: Option<&Report>, warnings: &[String]) -> Result<(), Failure> {
        match self.output {
            Output::Table => {
                let lines = report.map(Report::lines).unwrap_or_default();
                // As narrow as what is said then is anyway, but in the table's columns.
                let lines = if std::io::stderr().is_terminal() {
                    fitted(lines, cli::columns().saturating_sub(WHO.len()))
                } else {
                    lines
                };
                lines.iter().for_each(|line| self.say(line));
                warnings.iter().for_each(|warning| self.say(warning));
            }
            Output::Quiet => {}
            Output::Json => {
                if let Some(report) = report {
                    let mut event = report.to_json();
                    event["warnings"] = warnings.into();
                    print_json(&event)?;
                }
            }
        }
        Ok(())
    }

    /// Which job is about to be watched, and where.
    pub(super) fn asked(&self, access: &Access, work: &Work) {
        if self.output == Output::Table {
            work.summary().iter().for_each(|line| self.say(line));
            self.say(&format!("job {} at {}:{}", self.job, access.target.host, access.target.port));
        }
    }

    /// The coordinator is lost, and looked for.
    pub(super) fn lost(&self, cause: &str, retry_for: Duration) -> Result<(), Failure> {
        let retry_for = retry_for.as_secs();
        if self.output == Output::Json {
            return print_json(&json!({"event": "lost", "text": cause, "retry_for_s": retry_for}));
        }
        self.say(&format!("lost the coordinator ({cause}); trying again for {retry_for} s"));
        self.live.draw();
        Ok(())
    }

    /// The coordinator cannot be had yet, and is asked again.
    pub(super) fn waits(&self, text: &str, retry_for: Duration) -> Result<(), Failure> {
        if self.output == Output::Json {
            let value = json!({"event": "waiting", "text": text, "retry_for_s": retry_for.as_secs()});
            return print_json(&value);
        }
        self.say(text);
        self.live.draw();
        Ok(())
    }

    /// It is found again.
    pub(super) fn back(&self, lost_for: Duration) -> Result<(), Failure> {
        if self.output == Output::Json {
            return print_json(&json!({"event": "back", "seconds": lost_for.as_secs_f64()}));
        }
        self.say(&format!("back at the coordinator after {:.1} s", lost_for.as_secs_f64()));
        self.live.draw();
        Ok(())
    }

    /// The coordinator has taken the job on, for the first time or `again`.
    pub(super) fn accepted(&self, accepted: &Accepted, again: bool) -> Result<(), Failure> {
        match (self.output, accepted.state) {
            (Output::Json, state) => {
                let state = match state {
                    JobState::Collecting | JobState::Queued => "queued",
                    JobState::Running => "running",
                    JobState::Done | JobState::Failed | JobState::Cancelled | JobState::Paused => "ended",
                };
                let (job, attached) = (self.job.to_string(), accepted.attached);
                let position = accepted.queue_position;
                print_json(&json!({
                    "event": "accepted", "job": job, "state": state, "attached": attached, "queue_position": position,
                }))?;
            }
            // One whose data is on its way may begin beside others once that is there: it is told if it has to wait.
            (_, JobState::Queued) if accepted.queue_position > 0 => {
                self.say(&format!("the job is queued, {} ahead", counted(accepted.queue_position.into(), "job")));
            }
            (_, state) if accepted.attached && !again => {
                let where_it_is = match state {
                    JobState::Collecting | JobState::Queued => "it is queued".to_owned(),
                    JobState::Running => format!("{} done", counted(u64::from(accepted.rounds_done), "round")),
                    JobState::Paused => "it is paused".to_owned(),
                    JobState::Done | JobState::Failed | JobState::Cancelled => "it has ended".to_owned(),
                };
                self.say(&format!("attached to the job; {where_it_is}"));
            }
            _ => {}
        }
        Ok(())
    }

    /// A round has ended.
    pub(super) fn round(&mut self, round: &RoundSummary) -> Result<(), Failure> {
        let score = self.measure.score(&round.metrics, round.rows);
        let loss = (round.round <= self.training_rounds).then_some(round.loss);
        match self.output {
            Output::Quiet => Ok(()),
            Output::Json => {
                let mut event = json!({
                    "event": "round",
                    "round": round.round,
                    "rounds": round.rounds,
                    "loss": loss,
                    "nodes": round.nodes,
                    "tasks": {"merged": round.merged, "skipped": round.skipped},
                    "seconds": seconds(round.round_us),
                });
                score.put(&mut event);
                print_json(&event)
            }
            Output::Table => {
                self.live.erase();
                if !std::mem::replace(&mut self.has_head, true) {
                    let names: String = score.columns().iter().map(|name| format!("  {name:>9}")).collect();
                    cli::print(&format!("{:>9}  {:>9}{names}  {:>5}  {:>8}", "round", "loss", "nodes", "seconds"))?;
                }
                let cells: String = score.cells().iter().map(|cell| format!("  {cell:>9}")).collect();
                let skipped = if round.skipped > 0 { format!("  {} skipped", round.skipped) } else { String::new() };
                cli::print(&format!(
                    "{:>9}  {:>9}{cells}  {:>5}  {:>8.3}{skipped}",
                    format!("{}/{}", round.round, round.rounds),
                    loss.map_or("-".to_owned(), |loss| format!("{loss:.5}")),
                    round.nodes,
                    seconds(round.round_us)
                ))?;
                let is_best = self.best.as_ref().is_none_or(|best| round.metrics.is_better_than(best));
                if is_best {
                    self.best = Some(round.metrics);
                }
                self.live.round(round.round, Duration::from_micros(round.round_us), score.headline(), is_best);
                Ok(())
            }
        }
    }

    pub(super) fn notice(&mut self, notice: &Notice) -> Result<(), Failure> {
        if notice.kind == NoticeKind::Fleet {
            // It changes each second: nothing for a pipe, or a program.
            self.live.fleet(&notice.text);
            return Ok(());
        }
        if self.output != Output::Json {
            self.say(&shown(&notice.text).to_string());
            self.live.draw();
            return Ok(());
        }
        let kind = match notice.kind {
            NoticeKind::Other => "other",
            NoticeKind::Membership => "membership",
            NoticeKind::Revival => "revival",
            NoticeKind::Skipped => "skipped",
            NoticeKind::Alarm => "alarm",
            NoticeKind::Fleet => "fleet",
            NoticeKind::Load => "load",
        };
        print_json(&json!({"event": "notice", "kind": kind, "text": notice.text}))
    }

    /// Which round's model it is, of a job that keeps the best one's.
    fn best_round(&self, done: &Summary) -> Option<String> {
        let Summary { round, rounds, .. } = *done;
        self.patience?;
        let stopped = match rounds.saturating_sub(round) {
            _ if rounds == self.rounds => String::new(),
            // Only an accuracy that was asked for ends a job with its last round the best.
            0 => "; stopped there, as right as was asked for".to_owned(),
            without => format!("; stopped after {} without a better one", without),
        };
        Some(format!("best round   {round} of {rounds}{stopped}"))
    }

    /// Whether it is shown which class was taken for which.
    pub(super) fn shows_confusion(&self) -> bool {
        self.output == Output::Json || self.shown.confusion
    }

    /// The end of a job: what came of it, which class was taken for which where that is shown, where the model is saved.
    pub(super) fn done(
        &self,
        done: &Summary,
        confusion: Option<&JobConfusion>,
        saved: Option<PathBuf>,
        reported: Option<PathBuf>,
        advice: Option<&Advice>,
    ) -> Result<(), Failure> {
        self.live.erase();
        let result = self.measure.result(done);
        let path = |path: PathBuf| path.display().to_string();
        let (saved, reported) = (saved.map(path), reported.map(path));
        if self.output == Output::Json {
            let node = |node: &NodeTasks| json!({"node": node.node, "tasks": node.tasks});
            let nodes: Vec<Value> = done.nodes.iter().map(node).collect();
            let part = |(name, us): (&str, u64)| (format!("{name}_s"), seconds(us).into());
            let profile: Map<String, Value> = done.profile.parts().map(part).into_iter().collect();
            let mut done = json!({
                "event": "done",
                "job": self.job.to_string(),
                "validation_rows": done.rows,
                "loss": done.loss,
                "rounds_done": done.rounds,
                "best_round": self.patience.map(|_| done.round),
                "fingerprint": done.fingerprint.to_string(),
                "reproducible": done.reproducible,
                "tasks": {"merged": done.merged, "skipped": done.skipped},
                "nodes": nodes,
                "revivals": done.revivals,
                "seconds": seconds(done.elapsed_us),
                "profile": profile,
                "time": {
                    "waiting_for_results": seconds(done.profile.waiting_us()),
                    "merging": seconds(done.profile.merge_us),
                    "validating": seconds(done.validating_us),
                    "training_on_all_nodes": seconds(done.training_us),
                },
                "advice": advice.map(|advice| json!({"options": advice.options, "text": advice.text})),
                "out": saved,
                "report": reported,
            });
            Score::put_results(&mut done, &result.0, result.1.as_ref());
            if let Some(confusion) = confusion {
                confusion.put(&mut done);
            }
            return print_json(&done);
        }
        let lines = Score::result_lines(&result);
        let mut lines: Vec<String> = lines.iter().map(|(name, value)| format!("{name:<11}  {value}")).collect();
        lines.extend(self.best_round(done));
        lines.push(format!("fingerprint  {}", done.fingerprint));
        if !done.reproducible {
            lines.push(format!("reproducible no: {} were skipped, or nodes with another arithmetic helped", self.unit));
        }
        if self.output == Output::Table {
            let skipped = if done.skipped > 0 { format!(", {} skipped", done.skipped) } else { String::new() };
            lines.push(format!("{:<11}  {} merged{skipped}: {}", self.unit, done.merged, shares(done)));
            lines.extend(if self.shown.profile { profile(done) } else { vec![time(done)] });
            lines.push(format!("training     {:.3} s on all nodes together", seconds(done.training_us)));
            lines.extend(advice.map(|advice| format!("advice       {}", advice.text)));
        }
        if let Some(saved) = saved {
            lines.push(format!("model        {saved}"));
        }
        if let Some(reported) = reported {
            lines.push(format!("report       {reported}"));
        }
        let mut text = wrapped(&lines);
        if let Some(confusion) = confusion {
            text = format!("{text}\n{}", confusion.in_words());
        }
        cli::print(&text)
    }

    pub(super) fn failed(&self, code: Option<ErrorCode>, text: &str) -> Result<(), Failure> {
        if self.output == Output::Json {
            let code = code.map(|code| code.name());
            print_json(&json!({"event": "failed", "job": self.job.to_string(), "code": code, "text": text}))?;
        }
        Ok(())
    }
}

/// A sentence for the person at the terminal, whose lines end between words there; where there are several lines, they are as they
/// should be.
pub(super) fn say(text: &str) {
    let mut line = WHO.to_owned();
    if text.contains('\n') {
        line += &text.replace('\n', &format!("\n{:width$}", "", width = WHO.len()));
    } else if std::io::stderr().is_terminal() {
        cli::wrap(&mut line, WHO.len(), WHO.len(), cli::columns(), text);
    } else {
        line += text;
    }
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Prints lines of a name and a value: a long value continues below its beginning.
pub(super) fn print_lines(lines: &[String]) -> Result<(), Failure> {
    cli::print(&wrapped(lines))
}

/// The same lines as text.
pub(super) fn wrapped(lines: &[String]) -> String {
    const VALUE: usize = "fingerprint  ".len();
    let columns = cli::columns();
    let wrapped: Vec<String> = lines
        .iter()
        .map(|line| match line.split_at_checked(VALUE) {
            Some((name, value)) if line.chars().count() > columns => {
                let mut wrapped = name.to_owned();
                cli::wrap(&mut wrapped, VALUE, VALUE, columns, value);
                wrapped
            }
            _ => line.clone(),
        })
        .collect();
    wrapped.join("\n")
}

pub(super) fn print_json(value: &Value) -> Result<(), Failure> {
    cli::print(&value.to_string())
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

/// Where the time went, in a line.
fn time(done: &Summary) -> String {
    format!(
        "time         {:.3} s: {:.3} s waiting for results, {:.3} s merging; {:.3} s validating meanwhile",
        seconds(done.elapsed_us),
        seconds(done.profile.waiting_us()),
        seconds(done.profile.merge_us),
        seconds(done.validating_us)
    )
}

/// What a part of a job's time is.
pub(super) fn part_of_time(name: &str) -> &'static str {
    match name {
        "prepare" => "until the first weights were ready",
        "compute" => "training on the last node of each round",
        "wire" => "transfers, and tasks waiting at nodes",
        "stragglers" => "finished nodes waited for the others",
        "no_nodes" => "no node was active",
        "merge" => "from a round's last result to the next weights",
        "validate" => "only validation was left to do",
        _ => "",
    }
}

/// Where the time went, a line for each part.
fn profile(done: &Summary) -> Vec<String> {
    let part = |(name, us): (&str, u64)| {
        let meaning = part_of_time(name);
        let share = 100.0 * us as f64 / done.elapsed_us.max(1) as f64;
        format!("  {:10} {:.3} s  {share:>5.1} %  {meaning}", name.replace('_', " "), seconds(us))
    };
    let mut lines = vec![format!("time         {:.3} s, of which", seconds(done.elapsed_us))];
    lines.extend(done.profile.parts().map(part));
    lines.push(format!("validation   {:.3} s in all, mostly meanwhile", seconds(done.validating_us)));
    lines
}

/// `node-1 40, node-2 40, ... and 3 more`
fn shares(done: &Summary) -> String {
    let mut shares: Vec<String> =
        done.nodes.iter().take(NODES_SHOWN_MAX).map(|node| format!("{} {}", node.node, node.tasks)).collect();
    if done.nodes.len() > NODES_SHOWN_MAX {
        shares.push(format!("and {} more", done.nodes.len() - NODES_SHOWN_MAX));
    }
    shares.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::job::Profile;

    fn done(profile: Profile) -> Summary {
        Summary {
            round: 1,
            rounds: 1,
            test: None,
            confusion: None,
            fingerprint: Digest([1; 32]),
            weights: Digest([2; 32]),
            metrics: Metrics::default(),
            rows: 1,
            loss: 0.5,
            merged: 1,
            skipped: 0,
            elapsed_us: profile.total_us(),
            profile,
            training_us: 0,
            validating_us: 250_000,
            revivals: 0,
            reproducible: true,
            nodes: Vec::new(),
        }
    }

    #[test]
    fn the_profile_has_a_line_for_each_part_and_the_one_line_their_sums() {
        let done = done(Profile {
            prepare_us: 1_000,
            compute_us: 2_000_000,
            wire_us: 500_000,
            stragglers_us: 1_250_000,
            no_nodes_us: 40_000,
            merge_us: 9_000,
            validate_us: 200_000,
        });
        let lines = profile(&done);
        assert_eq!(lines[0], "time         4.000 s, of which");
        let numbers: Vec<&str> = lines[1..8].iter().map(|line| &line[..32]).collect();
        assert_eq!(
            numbers,
            [
                "  prepare    0.001 s    0.0 %  u",
                "  compute    2.000 s   50.0 %  t",
                "  wire       0.500 s   12.5 %  t",
                "  stragglers 1.250 s   31.2 %  f",
                "  no nodes   0.040 s    1.0 %  n",
                "  merge      0.009 s    0.2 %  f",
                "  validate   0.200 s    5.0 %  o",
            ]
        );
        let line = "time         4.000 s: 3.790 s waiting for results, 0.009 s merging; 0.250 s validating meanwhile";
        assert_eq!(time(&done), line);
    }

    #[test]
    fn a_profile_that_a_coordinator_makes_up_is_shown_and_breaks_nothing() {
        let done = done(Profile { compute_us: u64::MAX, wire_us: u64::MAX, ..Profile::default() });
        assert_eq!(profile(&Summary { elapsed_us: 0, ..done.clone() }).len(), 9);
        assert!(time(&done).starts_with("time "));
    }
}
