//! The report: one page about a job or a model, for a browser. Owns when it is made and where it goes.
//!
//! | module | owns |
//! |---|---|
//! | `history` | what is seen of a job while it runs, in bounded room |
//! | `timeline` | who trained what in which round, out of the ledger |
//! | `judged` | how good the model is on the job's rows |
//! | `content` | what a report tells, and why a part of it is missing |
//! | `sections`, `machines` | the parts as HTML |
//! | `bounds` | how much of what comes from elsewhere it takes |
//! | `chart` | curves and bars |

mod bounds;
mod chart;
mod content;
mod history;
mod judged;
mod machines;
mod sections;
#[cfg(test)]
mod tests;
mod timeline;

use std::path::{Path, PathBuf};

use self::content::{Content, DoneJob, Part};
use self::timeline::Timeline;
use super::applied::Applied;
use super::connection_error::ConnectionError;
use super::conversation::{Conversation, Object};
use super::evaluate::EvaluateOptions;
use super::genuine::fingerprint;
use super::options::{Access, Command, ReportOptions};
use super::score::Judged;
use super::sink::{self, Sink};
use super::work::Work;
use crate::cli::{self, Exit, Failure};
use crate::dataset::for_shell;
use crate::job::{JobStatus, RoundSummary, RowsRef, Summary};
use crate::model::Kernel;
use crate::model::file::ModelFile;
use crate::store::Store;
use crate::wire::message::Notice;
use crate::wire::object;

pub(super) use history::History;

/// A report in the making, while its job is watched.
pub(super) struct Reporting<'a> {
    options: &'a ReportOptions,
    history: History,
}

impl<'a> Reporting<'a> {
    pub(super) fn new(options: &'a ReportOptions, work: &Work) -> Reporting<'a> {
        Reporting { options, history: History::of(work) }
    }

    pub(super) fn round(&mut self, round: &RoundSummary) {
        self.history.round(round);
    }

    pub(super) fn notice(&mut self, notice: &Notice) {
        self.history.notice(notice);
    }

    /// Asks for what is still missing of a job that is done; the rows are looked for in `objects` first.
    pub(super) fn page(
        &self,
        conversation: &Conversation,
        objects: Option<&Store>,
        job: (&Work, &Summary, &[f32]),
        access: Option<&Access>,
    ) -> Result<String, ConnectionError> {
        let ReportOptions { environment, command, .. } = self.options;
        let variables = environment.iter().map(|(name, value)| format!("{name}={}", for_shell(value)));
        let command = variables.chain(command.iter().map(|word| for_shell(word))).collect::<Vec<_>>().join(" ");
        let history = self.history.clone();
        page(conversation, objects, job, history, (true, Ok(command)), access)
    }

    /// Puts it in its place; returns where.
    pub(super) fn save(&self, page: &str) -> Result<PathBuf, Failure> {
        save(Some(&self.options.out), page)?;
        Ok(self.options.out.clone())
    }
}

/// The page of a done job that nobody here has watched.
pub(super) fn of_job(
    conversation: &Conversation,
    job: (&Work, &Summary, &[f32]),
    history: History,
    access: &Access,
) -> Result<String, ConnectionError> {
    let command = Err(content::not_kept(access, job.0.job));
    page(conversation, None, job, history, (false, command), Some(access))
}

fn page(
    conversation: &Conversation,
    objects: Option<&Store>,
    (work, done, parameters): (&Work, &Summary, &[f32]),
    history: History,
    (was_heard, command): (bool, Part<String>),
    access: Option<&Access>,
) -> Result<String, ConnectionError> {
    let specification = &work.specification;
    let timeline = match specification.training.recipe.merges_gradients() {
        true => None,
        false => Some(match Timeline::fetch(conversation, work.job, specification, done.rounds) {
            Err(ConnectionError::Refused(error)) => {
                Err(format!("The coordinator does not tell the ledger: {}", error.text))
            }
            fetched => Ok(fetched?),
        }),
    };
    let (judged, rows) = match &specification.test {
        Some(test) => (Judged::Test, test),
        None => (Judged::Validation, &specification.validation),
    };
    let (judged, importance) = match object_of(conversation, objects, work, rows)? {
        // It may take a while, and has nothing to leave in order.
        Some(object) => cli::interruptible(|| judged::of_job(judged, work, parameters, &object)),
        None => (Err(content::rows_gone(rows.rows.into())), Err(content::rows_gone(rows.rows.into()))),
    };
    let job = DoneJob { work, done, history, timeline, judged, importance, was_heard, command, access };
    Ok(sections::write(&Content::of_job(job)))
}

/// The object that holds these rows of a job, if anybody still has it.
fn object_of(
    conversation: &Conversation,
    objects: Option<&Store>,
    work: &Work,
    rows: &RowsRef,
) -> Result<Option<Object>, ConnectionError> {
    if let Some(object) = objects.and_then(|objects| objects.get(&rows.digest)) {
        return Ok(Some(object));
    }
    let training = &work.specification.training;
    match conversation.fetch(rows.digest, object::rows_bytes(rows.rows, &training.network, training.recipe.loss)) {
        Err(unknown) if unknown.is_unknown_object() => Ok(None),
        fetched => fetched.map(Some),
    }
}

/// The page of a model file; with rows of another file, where there is one, that judge it.
pub fn report(model: &Path, data: Option<(&Path, &EvaluateOptions)>, out: Option<&Path>) -> Result<Exit, Failure> {
    let inputs = || std::iter::once(model).chain(data.map(|(rows, _)| rows));
    out.iter().try_for_each(|out| sink::check_apart(out, inputs()))?;
    let page = match data {
        None => {
            let file = ModelFile::read(model).map_err(|error| Failure::new(Exit::Usage, error))?;
            sections::write(&Content::of_model(model, &file, fingerprint(&file)))
        }
        Some((data, options)) => {
            super::proof::prove(Kernel::best())?;
            if let Some(out) = out {
                sink::check_output(out)?;
            }
            let applied = Applied::read(model)?;
            let (judged, importance) = judged::of_file(&applied, data, options)?;
            let content = Content::of_model(model, &applied.model, fingerprint(&applied.model));
            sections::write(&Content { judged: Ok(judged), importance, ..content })
        }
    };
    save(out, &page)?;
    Ok(Exit::Success)
}

/// Puts a page in its place, or on the standard output.
pub(super) fn save(out: Option<&Path>, page: &str) -> Result<(), Failure> {
    let mut sink = Sink::open(out, "report")?;
    sink.write(page.as_bytes())?;
    sink.finish()
}

/// A job that is not done has nothing to report on.
pub(super) fn not_done(standing: &str, access: &Access, job: &JobStatus) -> Failure {
    let next = match (job.may_be_resumed(), job.ended_ms == 0) {
        (true, _) => format!("; to continue it: {}", access.command(Command::RESUME, job.job)),
        (false, true) => format!("; to watch it: {}", access.command(Command::ATTACH, job.job)),
        (false, false) => String::new(),
    };
    Failure::new(Exit::JobFailed, format!("a report is of a job that is done, and {standing}{next}"))
}
