//! What a report tells, of a job or of a model file. Owns where each part comes from, and the sentence where one is missing; does
//! not know how any is drawn.

use std::collections::BTreeMap;
use std::path::Path;

use super::history::History;
use super::judged::JudgedRows;
use super::timeline::Timeline;
use crate::client::importance::Importance;
use crate::client::inspect::settings;
use crate::client::options::Access;
use crate::client::score::Score;
use crate::client::work::{Reached, Work};
use crate::dataset::{Becomes, Schema};
use crate::digest::Digest;
use crate::job::{JobId, Summary};
use crate::model::file::ModelFile;
use crate::model::scaling::FeatureScale;
use crate::wire::text::counted;

/// A part, or why it is not there.
pub(super) type Part<T> = Result<T, String>;

/// All that a report tells.
pub(super) struct Content {
    /// What was trained on.
    pub(super) data: String,
    /// The result, the most important first.
    pub(super) result: Vec<(String, String)>,
    /// Whether the model is better than a guess, where that is known.
    pub(super) beats_baseline: Option<bool>,
    pub(super) history: Part<History>,
    /// The round whose weights are the model.
    pub(super) best_round: Option<u32>,
    /// What the metric of the rounds is called.
    pub(super) metric: &'static str,
    pub(super) fleet: Part<Fleet>,
    pub(super) judged: Part<JudgedRows>,
    pub(super) importance: Part<Importance>,
    pub(super) columns: Part<Vec<Column>>,
    pub(super) settings: Vec<(String, String)>,
    /// The command, and what is to be said of it.
    pub(super) command: Part<String>,
    /// What checks the job, step by step.
    pub(super) verify: Option<String>,
}

/// What is known of the machines that trained.
pub(super) struct Fleet {
    pub(super) done: Summary,
    /// What tasks are called in the job: tasks, or blocks.
    pub(super) unit: &'static str,
    /// Of a job of merged gradients there is none by node.
    pub(super) timeline: Option<Part<Timeline>>,
    /// Whether somebody listened to what the coordinator said meanwhile.
    pub(super) was_heard: bool,
}

/// A column of the data.
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) becomes: String,
}

/// A done job, as its report needs it.
pub(super) struct DoneJob<'a> {
    pub(super) work: &'a Work,
    pub(super) done: &'a Summary,
    pub(super) history: History,
    pub(super) timeline: Option<Part<Timeline>>,
    pub(super) judged: Part<JudgedRows>,
    pub(super) importance: Part<Importance>,
    pub(super) was_heard: bool,
    pub(super) command: Part<String>,
    /// Where it can be asked for again; none where the coordinator ends with this process.
    pub(super) access: Option<&'a Access>,
}

impl Content {
    pub(super) fn of_job(job: DoneJob<'_>) -> Content {
        let DoneJob { work, done, history, timeline, judged, importance, was_heard, command, access } = job;
        let measure = work.measure();
        let scores = measure.result(done);
        let mut result = owned(Score::result_lines(&scores));
        if work.specification.patience.is_some() {
            result.push(("best round".to_owned(), format!("{} of {}", done.round, done.rounds)));
        } else {
            result.push(("rounds".to_owned(), done.rounds.to_string()));
        }
        result.push(("fingerprint".to_owned(), done.fingerprint.to_string()));
        result.push(("repeatable".to_owned(), repeatable(done.reproducible).to_owned()));
        result.push(("time".to_owned(), format!("{:.3} s", done.elapsed_us as f64 / 1e6)));
        result.push(("job".to_owned(), work.job.to_string()));
        let reached = Reached::End(Box::new(done.clone()));
        let merges_gradients = work.specification.training.recipe.merges_gradients();
        let words = work.words.as_ref();
        let columns = match words {
            None => Err("The job has no notes of a client of this version, which name its columns.".to_owned()),
            Some(words) => columns(words.schema.as_ref(), &words.feature_names, &words.scaling),
        };
        Content {
            data: words.map_or_else(|| "data of unknown name".to_owned(), |words| words.data.clone()),
            beats_baseline: scores.1.as_ref().unwrap_or(&scores.0).beats_baseline(),
            result,
            metric: scores.0.curve().map_or("", |(name, _)| name),
            history: Ok(history),
            best_round: Some(done.round),
            fleet: Ok(Fleet {
                done: done.clone(),
                unit: if merges_gradients { "blocks" } else { "tasks" },
                timeline,
                was_heard,
            }),
            judged,
            importance,
            columns,
            settings: all_settings(&work.settings(&reached), &work.specification.training.network.to_string()),
            command,
            verify: access.map(|access| access.command("verify", work.job)),
        }
    }

    /// Of a model file, whose weights have this fingerprint.
    pub(super) fn of_model(path: &Path, model: &ModelFile, computed: Digest) -> Content {
        let said = |key: &str| model.specification.get(key);
        let scores = Score::of_file(&model.specification, &model.target);
        let mut result = vec![("model".to_owned(), path.display().to_string())];
        match said("unfinished") {
            None => result.extend(owned(Score::result_lines(&scores))),
            Some(after) => {
                let text = format!("the weights after {after}; the job had not ended");
                result.push(("unfinished".to_owned(), text));
            }
        }
        result.extend(said("best_round").map(|round| ("best round".to_owned(), round.clone())));
        result.push(("fingerprint".to_owned(), model.fingerprint.to_string()));
        let is_its = match computed == model.fingerprint {
            true => "those that the fingerprint names, computed again for this page",
            false => "NOT those that the fingerprint names: the file was changed after it was saved",
        };
        result.push(("weights".to_owned(), is_its.to_owned()));
        let is_repeatable = said("reproducible").map(|reproducible| repeatable(reproducible == "true").to_owned());
        result.extend(is_repeatable.map(|text| ("repeatable".to_owned(), text)));
        let schema = model.schema.as_ref().map(|text| serde_json::from_str(text).unwrap_or_default());
        let elsewhere =
            "the coordinator that trained the job may still have it, and client IP PORT report JOB asks it.";
        Content {
            data: said("data").cloned().unwrap_or_else(|| "data of unknown name".to_owned()),
            beats_baseline: scores.1.as_ref().unwrap_or(&scores.0).beats_baseline(),
            result,
            metric: "",
            history: Err(format!("A model file holds no history of the rounds; {elsewhere}")),
            best_round: None,
            fleet: Err(format!("A model file does not say which nodes trained it; {elsewhere}")),
            judged: Err("A model file holds no rows to judge the model by: client report MODEL --data FILE judges it by those of \
                 any file with labels."
                .to_owned()),
            importance: Err(
                "How much the model rests on each column shows on rows: client report MODEL --data FILE.".to_owned()
            ),
            columns: columns(schema.as_ref(), &model.feature_names, &model.scaling),
            settings: all_settings(&model.specification, &model.network.to_string()),
            command: Err(
                "A model file does not hold the command that trained it; the settings above are the job's.".to_owned()
            ),
            verify: None,
        }
    }
}

fn owned(lines: Vec<(&'static str, String)>) -> Vec<(String, String)> {
    lines.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn repeatable(is_reproducible: bool) -> &'static str {
    match is_reproducible {
        true => "the same job gives the same bits again, on any fleet",
        false => "no: parts were skipped, or nodes with another arithmetic helped",
    }
}

/// Everything that fixes what was computed, in words.
fn all_settings(specification: &BTreeMap<String, String>, network: &str) -> Vec<(String, String)> {
    let kept = ["data", "recipe", "training_rows", "validation_rows", "test_rows"];
    let kept = kept.iter().filter_map(|key| Some((*key, specification.get(*key)?)));
    let rest = settings(specification).filter(|(key, _)| *key != "best_round");
    let rest = rest.map(|(key, value)| (key.as_str(), value));
    let all = kept.chain(rest).map(|(key, value)| (key.replace('_', " "), value.clone()));
    all.chain([("network".to_owned(), network.to_owned())]).collect()
}

/// The columns of a schema, or of a network without one.
fn columns(schema: Option<&serde_json::Value>, names: &[String], scales: &[FeatureScale]) -> Part<Vec<Column>> {
    let Some(schema) = schema else {
        let column = |(name, scale): (&String, &FeatureScale)| Column {
            name: name.clone(),
            kind: "number",
            becomes: format!(
                "(x - {}) * {}{}",
                scale.mean(),
                scale.inverse_deviation(),
                if scale.is_clipped() { ", clipped" } else { "" }
            ),
        };
        return Ok(names.iter().zip(scales).map(column).collect());
    };
    let schema =
        Schema::from_json(schema).ok_or("This program does not read the schema, which is another program's.")?;
    let column = |column: crate::dataset::SchemaColumn| {
        let becomes = match &column.becomes {
            Becomes::Inputs(encoder) => encoder.in_words(),
            Becomes::Label => "the label".to_owned(),
            Becomes::Nothing(why) => format!("nothing: {why}"),
        };
        Column { name: column.name, kind: column.kind.name(), becomes }
    };
    Ok(schema.columns.into_iter().map(column).collect())
}

/// How the page of a job is named where there is nothing else.
pub(super) fn not_kept(access: &Access, job: JobId) -> String {
    format!(
        "A coordinator does not keep the command that a job came by; the settings above are all that the model follows from. \
         {} recomputes it.",
        access.command("verify", job)
    )
}

/// Why there is no table of classes where the coordinator has dropped the rows.
pub(super) fn rows_gone(rows: u64) -> String {
    format!("The {} that judge the job are no longer held by the coordinator.", counted(rows, "row"))
}
