//! What is printed of jobs that a coordinator knows: how they stand, their ledgers, models. Owns the tables and the JSON
//! lines; does not know where anything comes from.

use std::path::Path;

use serde_json::{Value, json};

use super::options::Output;
use super::render::{print_json, print_lines, say};
use super::work::Work;
use crate::cli::{self, Exit, Failure};
use crate::job::{JobId, JobState, JobStatus, OnNoNodes, OnTaskFailure, Summary};
use crate::model::Merge;
use crate::wire::ErrorCode;
use crate::wire::message::LedgerEntry;
use crate::wire::text::{Align, Table, Timestamp, counted, shown};

/// Digits of an id in the table of jobs, at least: enough for every command, few enough for a narrow terminal.
const ID_DIGITS_MIN: usize = 8;
/// Digits of an id.
const ID_DIGITS: usize = 32;

/// All jobs, a line each.
pub(super) fn jobs(jobs: &[JobStatus], output: Output) -> Result<Exit, Failure> {
    if output == Output::Json {
        for job in jobs {
            if !print_json(&job_json(job))? {
                break;
            }
        }
        return Ok(Exit::Success);
    }
    let mut table = Table::new(&[
        ("JOB", Align::Left),
        ("STATE", Align::Left),
        ("ROUNDS", Align::Right),
        ("SUBMITTED", Align::Left),
        ("ENDED", Align::Left),
        ("RESULT", Align::Left),
    ]);
    let digits = digits_that_differ(jobs);
    for job in jobs {
        table.row([
            job.job.to_string()[..digits].to_owned(),
            job.state.name().to_owned(),
            format!("{}/{}", job.rounds_done, job.rounds),
            minute(job.submitted_ms),
            minute(job.ended_ms),
            match (&job.fingerprint, job.state) {
                (Some(fingerprint), _) => fingerprint.short(),
                (None, JobState::Queued) => format!("{} ahead", job.queue_position),
                (None, _) => shown(job.failure_text()).to_string(),
            },
        ]);
    }
    cli::print(&within(cli::columns(), digits + 2, &table.to_string())).map(|_| Exit::Success)
}

/// How many of their first digits tell these jobs from each other, at least [`ID_DIGITS_MIN`].
fn digits_that_differ(jobs: &[JobStatus]) -> usize {
    let mut ids: Vec<String> = jobs.iter().map(|job| job.job.to_string()).collect();
    ids.sort_unstable();
    let same = |pair: &[String]| pair[0].bytes().zip(pair[1].bytes()).take_while(|(a, b)| a == b).count();
    let needed = ids.windows(2).map(|pair| same(pair) + 1).max().unwrap_or(0);
    needed.clamp(ID_DIGITS_MIN, ID_DIGITS)
}

/// A table whose last column holds sentences, in lines of at most `columns`: a sentence that is too long for its line
/// follows below it, from `indent` on.
fn within(columns: usize, indent: usize, table: &str) -> String {
    let mut lines = table.trim_end().lines();
    let mut text = lines.next().unwrap_or_default().to_owned();
    let last = text.rfind(' ').map_or(0, |at| at + 1);
    for line in lines {
        text.push('\n');
        match line.char_indices().nth(last) {
            Some((at, _)) if line.chars().count() > columns => {
                text.push_str(line[..at].trim_end());
                text.push('\n');
                text.extend(std::iter::repeat_n(' ', indent));
                cli::wrap(&mut text, indent, indent, columns, &line[at..]);
            }
            _ => text.push_str(line),
        }
    }
    text
}

/// One job in full; what was asked for where that is known.
pub(super) fn job(job: &JobStatus, work: Option<&Work>, output: Output) -> Result<Exit, Failure> {
    if output == Output::Json {
        let mut value = job_json(job);
        if let (Some(work), Value::Object(fields)) = (work, &mut value) {
            let specification = &work.specification;
            fields.insert("network".to_owned(), specification.training.network.to_string().into());
            fields.insert("parameters".to_owned(), specification.training.network.parameters().into());
            fields.insert("data".to_owned(), work.words.as_ref().map(|words| words.data.clone()).into());
            fields.insert("recipe".to_owned(), work.words.as_ref().map(|words| words.recipe.clone()).into());
            fields.insert("loss".to_owned(), specification.training.recipe.loss.to_string().into());
            fields.insert("epochs".to_owned(), specification.training.recipe.epochs.into());
            fields.insert("training_rows".to_owned(), specification.rows().into());
            fields.insert("validation_rows".to_owned(), specification.validation.rows.into());
            fields.insert("shards".to_owned(), specification.shards.len().into());
            fields.insert("seed".to_owned(), specification.training.seed.into());
        }
        return print_json(&value).map(|_| Exit::Success);
    }
    let lines: Vec<String> = lines(job, work).iter().map(|(name, value)| format!("{name:<12} {value}")).collect();
    print_lines(&lines).map(|_| Exit::Success)
}

/// A job's names and values.
fn lines(job: &JobStatus, work: Option<&Work>) -> Vec<(&'static str, String)> {
    let mut lines = vec![
        ("id", job.job.to_string()),
        ("state", job.state.name().to_owned()),
        ("progress", format!("{} of {}", job.rounds_done, counted(u64::from(job.rounds), "round"))),
    ];
    if job.state == JobState::Queued {
        lines.push(("queue", format!("{} ahead", counted(u64::from(job.queue_position), "job"))));
    }
    lines.extend(time(job.submitted_ms).map(|time| ("submitted", time)));
    lines.extend(time(job.ended_ms).map(|time| ("ended", time)));
    lines.extend(
        job.failure
            .as_ref()
            .map(|failure| ("reason", format!("{} ({})", shown(&failure.text), ErrorCode::from(failure.kind)))),
    );
    lines.extend(job.fingerprint.map(|fingerprint| ("fingerprint", fingerprint.to_string())));
    let Some(work) = work else { return lines };
    let (training, operation) = (&work.specification.training, &work.specification.operation);
    lines.extend([
        ("data", format!("{}: {}", work.data_name(), work.data_in_words())),
        ("network", work.network_in_words()),
        ("recipe", work.recipe_in_words()),
        ("rounds", format!("{} of {}", work.specification.rounds, counted(u64::from(training.recipe.epochs), "epoch"))),
        ("seed", training.seed.to_string()),
    ]);
    if work.specification.merge != Merge::Mean {
        lines.push(("merge", work.specification.merge.to_string()));
    }
    lines.extend(work.outer_in_words().map(|outer| ("outer", outer)));
    if operation.on_task_failure == OnTaskFailure::Skip {
        lines.push(("tasks", "skipped if no node can do them".to_owned()));
    }
    if operation.on_no_nodes == OnNoNodes::Pause {
        lines.push(("no nodes", "the job pauses until it is resumed".to_owned()));
    }
    if operation.allow_inexact {
        lines.push(("arithmetic", "nodes with another may help".to_owned()));
    }
    lines
}

/// How a job stands after an order.
pub(super) fn stands(job: &JobStatus, rest: Option<&str>, output: Output) -> Result<Exit, Failure> {
    if output == Output::Json {
        return print_json(&job_json(job)).map(|_| Exit::Success);
    }
    let goes_on = !job.state.has_failure() && job.state != JobState::Done;
    let rest = rest.filter(|_| goes_on).map_or_else(String::new, |rest| format!("; {rest} shows the rest"));
    cli::print(&format!("{}{rest}", standing(job))).map(|_| Exit::Success)
}

/// How a job stands, in a sentence.
pub(super) fn standing(job: &JobStatus) -> String {
    let (id, text) = (job.job, shown(job.failure_text()));
    match job.state {
        JobState::Collecting => format!("job {id} is waiting for its data"),
        JobState::Queued => format!("job {id} is queued, {} ahead", counted(u64::from(job.queue_position), "job")),
        JobState::Running => {
            format!("job {id} is running, {} of {} done", job.rounds_done, counted(u64::from(job.rounds), "round"))
        }
        JobState::Done => {
            let fingerprint = job.fingerprint.map_or_else(String::new, |digest| format!(", fingerprint {digest}"));
            format!("job {id} is done{fingerprint}")
        }
        JobState::Failed => format!("job {id} has failed: {text}"),
        JobState::Cancelled => format!("job {id} is cancelled: {text}"),
        JobState::Paused => format!("job {id} is paused: {text}"),
    }
}

/// A model has been saved.
pub(super) fn model(job: JobId, done: &Summary, saved: &Path, output: Output) -> Result<Exit, Failure> {
    let saved = saved.display().to_string();
    if output == Output::Json {
        let fingerprint = done.fingerprint.to_string();
        let value = json!({"event": "model", "job": job.to_string(), "fingerprint": fingerprint, "out": saved});
        return print_json(&value).map(|_| Exit::Success);
    }
    cli::print(&format!("fingerprint  {}\nmodel        {saved}", done.fingerprint)).map(|_| Exit::Success)
}

/// A ledger on its way to the terminal.
pub(super) struct Ledger {
    job: JobId,
    output: Output,
    has_head: bool,
}

impl Ledger {
    pub(super) fn new(job: JobId, output: Output) -> Ledger {
        Ledger { job, output, has_head: false }
    }

    /// A line for an entry. Says whether somebody still reads.
    pub(super) fn entry(&mut self, place: u64, shards: u32, entry: &LedgerEntry) -> Result<bool, Failure> {
        let (round, shard) = (place / u64::from(shards) + 1, place % u64::from(shards));
        if self.output == Output::Json {
            let merged = entry.merged.as_ref();
            return print_json(&json!({
                "event": "entry",
                "job": self.job.to_string(),
                "round": round,
                "shard": shard,
                "result": if merged.is_some() { "merged" } else { "skipped" },
                "rows": entry.rows,
                "base": entry.base.to_string(),
                "node": merged.map(|merged| merged.node.clone()),
                "attempt": merged.map(|merged| merged.attempt),
                "loss": merged.map(|merged| merged.loss),
                "update": merged.map(|merged| merged.update.to_string()),
            }));
        }
        let columns = cli::columns();
        if !std::mem::replace(&mut self.has_head, true) {
            cli::print(&line(["ROUND", "SHARD", "RESULT", "NODE", "TRY", "ROWS", "LOSS", "UPDATE"]))?;
        }
        let (round, shard, rows) = (round.to_string(), shard.to_string(), entry.rows.to_string());
        cli::print(&match &entry.merged {
            None => line([&round, &shard, "SKIPPED", "-", "-", &rows, "-", "-"]),
            Some(merged) => {
                let (attempt, loss) = (merged.attempt.to_string(), loss(merged.loss));
                let node = shown(&merged.node).to_string();
                let whole = merged.update.to_string();
                let cells = |update| line([&round, &shard, "MERGED", &node, &attempt, &rows, &loss, update]);
                let row = cells(&whole);
                if row.chars().count() <= columns { row } else { cells(&merged.update.short()) }
            }
        })
    }

    /// That was all of it so far.
    pub(super) fn end(&self, total: u64, shards: u32, rounds: u32) {
        if self.output != Output::Json {
            let (done, planned) = (total / u64::from(shards), u64::from(rounds) * u64::from(shards));
            say(&format!(
                "{total} of {}: {done} of {} done",
                counted(planned, "task"),
                counted(rounds.into(), "round")
            ));
        }
    }
}

fn line(cells: [&str; 8]) -> String {
    let [round, shard, result, node, attempt, rows, loss, update] = cells;
    format!("{round:>5}  {shard:>5}  {result:<7}  {node:<20}  {attempt:>3}  {rows:>7}  {loss:>11}  {update}")
}

/// Six places, or, where it is too large for them, its magnitude.
fn loss(loss: f64) -> String {
    if loss.abs() < 1e4 { format!("{loss:.6}") } else { format!("{loss:.4e}") }
}

fn time(unix_ms: u64) -> Option<String> {
    (unix_ms != 0).then(|| Timestamp { unix_ms }.to_string())
}

/// The same to the minute, for a narrow column.
fn minute(unix_ms: u64) -> String {
    time(unix_ms).map_or_else(String::new, |time| format!("{}Z", &time[..16]))
}

fn job_json(job: &JobStatus) -> Value {
    json!({
        "event": "job",
        "job": job.job.to_string(),
        "state": job.state.name(),
        "rounds_done": job.rounds_done,
        "rounds": job.rounds,
        "queue_position": job.queue_position,
        "submitted": time(job.submitted_ms),
        "ended": time(job.ended_ms),
        "fingerprint": job.fingerprint.map(|fingerprint| fingerprint.to_string()),
        "code": job.failure.as_ref().map(|failure| ErrorCode::from(failure.kind).name()),
        "text": job.failure.as_ref().map(|failure| &failure.text),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::job::{FailKind, Failure};

    fn running() -> JobStatus {
        JobStatus {
            job: JobId(0xabc << 116),
            state: JobState::Running,
            failure: None,
            rounds_done: 3,
            rounds: 40,
            queue_position: 0,
            submitted_ms: 951_827_696_000,
            ended_ms: 0,
            fingerprint: None,
        }
    }

    #[test]
    fn a_job_stands_in_a_sentence_and_in_lines_without_what_is_not_there() {
        assert_eq!(standing(&running()), "job abc00000000000000000000000000000 is running, 3 of 40 rounds done");
        let names = |job: &JobStatus| lines(job, None).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names(&running()), ["id", "state", "progress", "submitted"]);
        let failure = Some(Failure { kind: FailKind::Paused, text: "no\nnode".to_owned() });
        let paused = JobStatus { state: JobState::Paused, failure, ..running() };
        assert!(standing(&paused).ends_with("is paused: no\\nnode"));
        assert_eq!(lines(&paused, None).last().unwrap(), &("reason", "no\\nnode (PAUSED)".to_owned()));
        let done = JobStatus { state: JobState::Done, fingerprint: Some(Digest([1; 32])), ended_ms: 7, ..running() };
        assert_eq!(names(&done), ["id", "state", "progress", "submitted", "ended", "fingerprint"]);
        assert_eq!(job_json(&done)["ended"], "1970-01-01T00:00:00.007Z");
    }

    #[test]
    fn the_table_of_jobs_is_80_columns_wide_and_a_long_reason_follows_its_line() {
        let done = |id: u128| JobStatus {
            job: JobId(id),
            state: JobState::Done,
            rounds: 1_000_000,
            rounds_done: 1_000_000,
            ended_ms: 951_827_696_000,
            fingerprint: Some(Digest([1; 32])),
            ..running()
        };
        assert_eq!(digits_that_differ(&[running(), done(7)]), ID_DIGITS_MIN);
        assert_eq!(digits_that_differ(&[done(0xabc0_0000_0000 << 80), done(0xabc0_0000_0070 << 80)]), 11);
        assert_eq!(digits_that_differ(&[]), ID_DIGITS_MIN);
        let table = "JOB   WHY\nabcd  it hung up\nefgh  no node was left, and no other came\n";
        assert_eq!(
            within(20, 6, table),
            "JOB   WHY\nabcd  it hung up\nefgh\n      no node was\n      left, and no\n      other came"
        );
        assert_eq!(within(40, 6, "JOB   WHY\nefgh  no node was left, and no other\n").lines().count(), 2);
    }

    #[test]
    fn the_lines_of_a_ledger_split_into_as_many_words() {
        let head = line(["ROUND", "SHARD", "RESULT", "NODE", "TRY", "ROWS", "LOSS", "UPDATE"]);
        let skipped = line(["1", "0", "SKIPPED", "-", "-", "4", "-", "-"]);
        let merged =
            line(["1", "1", "MERGED", &"n".repeat(64), "1", "4", &loss(f64::MAX), &Digest([7; 32]).to_string()]);
        for line in [head, skipped, merged] {
            assert_eq!(line.split_whitespace().count(), 8, "{line}");
        }
        assert_eq!((loss(0.5), loss(-1.25e300)), ("0.500000".to_owned(), "-1.2500e300".to_owned()));
    }
}
