//! What is printed of jobs that a coordinator knows: how they stand, their ledgers, models. Owns the tables and the JSON
//! lines; does not know where anything comes from.

use std::path::Path;

use serde_json::{Value, json};

use super::options::Output;
use super::render::{print_json, print_lines, say};
use super::score::Score;
use super::work::{Reached, Work};
use crate::cli::{self, Exit, Failure};
use crate::digest::Digest;
use crate::job::{
    EntryResult, JobId, JobState, JobStatus, LedgerEntry, OnNoNodes, OnTaskFailure, Specification, Summary,
};
use crate::model::Merge;
use crate::wire::ErrorCode;
use crate::wire::text::{Align, Table, Timestamp, counted, shown};

/// Digits of an id in the table of jobs, at least: enough for every command, few enough for a narrow terminal.
const ID_DIGITS_MIN: usize = 8;
/// Digits of an id.
const ID_DIGITS: usize = 32;

/// All jobs, a line each.
pub(super) fn jobs(jobs: &[JobStatus], output: Output) -> Result<Exit, Failure> {
    if output == Output::Json {
        for job in jobs {
            print_json(&job_json(job))?;
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
    cli::print(&within(cli::columns(), digits + 2, &table.to_string())).map(|()| Exit::Success)
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

/// One job in full; what was asked for and what came of it where that is known.
pub(super) fn job(
    job: &JobStatus,
    work: Option<&Work>,
    done: Option<&Summary>,
    output: Output,
) -> Result<Exit, Failure> {
    let score = work.zip(done).map(|(work, done)| work.measure().result(done));
    if output == Output::Json {
        let mut value = job_json(job);
        if let (Some(work), Value::Object(fields)) = (work, &mut value) {
            let specification = &work.specification;
            fields.insert("network".to_owned(), specification.training.network.to_string().into());
            fields.insert("parameters".to_owned(), specification.training.network.parameters().into());
            fields.insert("data".to_owned(), work.words.as_ref().map(|words| words.data.clone()).into());
            fields.insert("recipe".to_owned(), work.words.as_ref().map(|words| words.recipe.clone()).into());
            fields.insert("loss".to_owned(), specification.training.recipe.loss.to_string().into());
            match specification.training.recipe.local_steps {
                None => fields.insert("epochs".to_owned(), specification.training.recipe.epochs.into()),
                Some(steps) => {
                    fields.insert("local_steps".to_owned(), steps.into());
                    fields.insert("round_steps".to_owned(), specification.round_steps().into())
                }
            };
            fields.insert("training_rows".to_owned(), specification.rows().into());
            fields.insert("validation_rows".to_owned(), specification.validation.rows.into());
            fields.insert("shards".to_owned(), specification.shards.len().into());
            fields.insert("seed".to_owned(), specification.training.seed.into());
        }
        if let Some(score) = score {
            Score::put_results(&mut value, &score.0, score.1.as_ref());
        }
        return print_json(&value).map(|()| Exit::Success);
    }
    let mut lines = lines(job, work);
    lines.extend(score.map(|score| Score::result_lines(&score)).unwrap_or_default());
    let lines: Vec<String> = lines.iter().map(|(name, value)| format!("{name:<12} {value}")).collect();
    print_lines(&lines).map(|()| Exit::Success)
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
        ("rounds", format!("{} {}", work.specification.rounds, work.rounds_in_words())),
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
        return print_json(&job_json(job)).map(|()| Exit::Success);
    }
    let goes_on = !job.state.has_failure() && job.state != JobState::Done;
    let rest = rest.filter(|_| goes_on).map_or_else(String::new, |rest| format!("; {rest} shows the rest"));
    cli::print(&format!("{}{rest}", standing(job))).map(|()| Exit::Success)
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
pub(super) fn model(work: &Work, reached: &Reached, saved: &Path, output: Output) -> Result<Exit, Failure> {
    let (saved, fingerprint) = (saved.display().to_string(), work.fingerprint(reached));
    let all = work.specification.steps();
    let steps = match reached {
        Reached::End(_) => all,
        Reached::Step { steps, .. } => *steps,
    };
    if output == Output::Json {
        let (job, fingerprint) = (work.job.to_string(), fingerprint.to_string());
        let value = json!({
            "event": "model", "job": job, "fingerprint": fingerprint, "out": saved, "steps_done": steps, "steps": all,
        });
        return print_json(&value).map(|()| Exit::Success);
    }
    let unfinished = match reached {
        Reached::End(_) => String::new(),
        Reached::Step { .. } => format!("unfinished   {steps} of {all} steps\n"),
    };
    cli::print(&format!("fingerprint  {fingerprint}\n{unfinished}model        {saved}")).map(|()| Exit::Success)
}

/// A ledger on its way to the terminal.
pub(super) struct Ledger {
    job: JobId,
    rounds: u32,
    /// Steps of a round.
    round_steps: u64,
    has_local_steps: bool,
    merges_gradients: bool,
    output: Output,
    has_head: bool,
}

impl Ledger {
    pub(super) fn new(job: JobId, specification: &Specification, output: Output) -> Ledger {
        let recipe = &specification.training.recipe;
        Ledger {
            job,
            rounds: specification.rounds,
            round_steps: specification.round_steps().into(),
            has_local_steps: recipe.local_steps.is_some(),
            merges_gradients: recipe.merges_gradients(),
            output,
            has_head: false,
        }
    }

    /// A line for an entry.
    pub(super) fn entry(&mut self, place: u64, shards: u32, entry: &LedgerEntry) -> Result<(), Failure> {
        let (step, shard) = (place / u64::from(shards), place % u64::from(shards));
        if self.output == Output::Json {
            return print_json(&self.entry_json(step, shard, entry));
        }
        if !std::mem::replace(&mut self.has_head, true) {
            cli::print(&self.head())?;
        }
        // The longest digest that fits.
        let row = |update: &dyn Fn(&Digest) -> String| entry_line(step + 1, shard, entry, update);
        let whole = row(&Digest::to_string);
        cli::print(&if whole.chars().count() <= cli::columns() { whole } else { row(&Digest::short) })
    }

    fn head(&self) -> String {
        if self.merges_gradients {
            return step_line(["STEP", "BLOCKS", "SKIPPED", "ROWS", "LOSS", "SUM", "OUTER"]);
        }
        let step = if self.has_local_steps { "STEP" } else { "ROUND" };
        task_line([step, "SHARD", "RESULT", "NODE", "TRY", "ROWS", "LOSS", "UPDATE"])
    }

    fn entry_json(&self, step: u64, shard: u64, entry: &LedgerEntry) -> Value {
        let mut value = json!({
            "event": "entry",
            "job": self.job.to_string(),
            "round": step / self.round_steps + 1,
            "rows": entry.rows,
            "base": entry.base.to_string(),
        });
        if self.has_local_steps {
            value["step"] = (step + 1).into();
        }
        let told = match &entry.result {
            EntryResult::Step(step) => json!({
                "result": "step",
                "blocks": step.blocks,
                "skipped": step.skipped,
                "loss": step.loss,
                "sum": (step.blocks > 0).then(|| step.sum.to_string()),
                "outer": (step.blocks > 0).then(|| step.outer.to_string()),
            }),
            EntryResult::Merged(_) | EntryResult::Skipped => {
                let merged = entry.merged();
                json!({
                    "shard": shard,
                    "result": if merged.is_some() { "merged" } else { "skipped" },
                    "node": merged.map(|merged| merged.node.clone()),
                    "attempt": merged.map(|merged| merged.attempt),
                    "loss": merged.map(|merged| merged.loss),
                    "update": merged.map(|merged| merged.update.to_string()),
                })
            }
        };
        if let (Value::Object(value), Value::Object(told)) = (&mut value, told) {
            value.extend(told);
        }
        value
    }

    /// That was all of it so far.
    pub(super) fn end(&self, total: u64, shards: u32) {
        if self.output != Output::Json {
            let of_step = u64::from(shards);
            let planned = u64::from(self.rounds) * self.round_steps * of_step;
            let what = counted(planned, if self.merges_gradients { "step" } else { "task" });
            let done = total / of_step / self.round_steps;
            say(&format!("{total} of {what}: {done} of {} done", counted(self.rounds.into(), "round")));
        }
    }
}

/// The line of a task or a step, counted from 1.
fn entry_line(step: u64, shard: u64, entry: &LedgerEntry, update: &dyn Fn(&Digest) -> String) -> String {
    let (step, shard, rows) = (step.to_string(), shard.to_string(), entry.rows.to_string());
    match &entry.result {
        EntryResult::Skipped => task_line([&step, &shard, "SKIPPED", "-", "-", &rows, "-", "-"]),
        EntryResult::Merged(task) => {
            let (attempt, loss) = (task.attempt.to_string(), loss(task.loss));
            let node = shown(&task.node).to_string();
            task_line([&step, &shard, "MERGED", &node, &attempt, &rows, &loss, &update(&task.update)])
        }
        EntryResult::Step(merged) => {
            let (blocks, skipped) = (merged.blocks.to_string(), merged.skipped.len().to_string());
            match merged.blocks {
                0 => step_line([&step, &blocks, &skipped, &rows, "-", "-", "-"]),
                _ => {
                    let (sum, outer) = (update(&merged.sum), update(&merged.outer));
                    step_line([&step, &blocks, &skipped, &rows, &loss(merged.loss), &sum, &outer])
                }
            }
        }
    }
}

fn task_line(cells: [&str; 8]) -> String {
    let [step, shard, result, node, attempt, rows, loss, update] = cells;
    format!("{step:>5}  {shard:>5}  {result:<7}  {node:<20}  {attempt:>3}  {rows:>7}  {loss:>11}  {update}")
}

fn step_line(cells: [&str; 7]) -> String {
    let [step, blocks, skipped, rows, loss, sum, outer] = cells;
    format!("{step:>8}  {blocks:>6}  {skipped:>7}  {rows:>8}  {loss:>11}  {sum:<8}  {outer}")
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
    use crate::job::{FailKind, Failure, MergedStep, MergedTask};

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
            weights: None,
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
    fn the_lines_of_a_ledger_split_into_as_many_words_as_its_head() {
        let entry = |result| LedgerEntry { rows: 4, base: Digest([2; 32]), result };
        let words = |result| entry_line(1, 0, &entry(result), &Digest::to_string).split_whitespace().count();
        let task = MergedTask { node: "n".repeat(64), attempt: 1, loss: f64::MAX, update: Digest([7; 32]) };
        assert_eq!(words(EntryResult::Skipped), 8);
        assert_eq!(words(EntryResult::Merged(task)), 8);
        let step =
            MergedStep { blocks: 3, skipped: vec![1, 4], loss: 0.5, sum: Digest([7; 32]), outer: Digest([8; 32]) };
        assert_eq!(words(EntryResult::Step(step.clone())), 7);
        let none = MergedStep { blocks: 0, loss: 0.0, sum: Digest([0; 32]), outer: Digest([0; 32]), ..step };
        assert_eq!(words(EntryResult::Step(none)), 7);
        for (merges_gradients, columns) in [(false, 8), (true, 7)] {
            assert_eq!(ledger(merges_gradients).head().split_whitespace().count(), columns);
        }
        assert_eq!((loss(0.5), loss(-1.25e300)), ("0.500000".to_owned(), "-1.2500e300".to_owned()));
    }

    fn ledger(merges_gradients: bool) -> Ledger {
        let has_local_steps = merges_gradients;
        let (rounds, round_steps) = (40, 5);
        let (output, has_head) = (Output::Json, false);
        Ledger { job: JobId(1), rounds, round_steps, has_local_steps, merges_gradients, output, has_head }
    }

    #[test]
    fn a_step_in_json_has_its_round_and_the_blocks_that_it_left_out() {
        let step =
            MergedStep { blocks: 3, skipped: vec![1, 4], loss: 0.5, sum: Digest([7; 32]), outer: Digest([8; 32]) };
        let mut entry = LedgerEntry { rows: 24, base: Digest([2; 32]), result: EntryResult::Step(step) };
        let told = ledger(true).entry_json(7, 0, &entry);
        assert_eq!((&told["round"], &told["step"], &told["rows"]), (&json!(2), &json!(8), &json!(24)));
        assert_eq!((&told["blocks"], &told["skipped"]), (&json!(3), &json!([1, 4])));
        let digest = |byte| json!(Digest([byte; 32]).to_string());
        assert_eq!((&told["result"], &told["sum"], &told["outer"]), (&json!("step"), &digest(7), &digest(8)));
        assert!(told.get("shard").is_none() && told.get("node").is_none(), "{told}");
        entry.result = EntryResult::Skipped;
        let told = ledger(false).entry_json(7, 0, &entry);
        assert_eq!((&told["result"], &told["shard"], told.get("step")), (&json!("skipped"), &json!(0), None));
    }
}
