//! The client: it prepares a job from a file, submits it, watches it and saves the model; and asks about jobs that a
//! coordinator knows. Owns what a user asks for and sees; does not know nodes.
//!
//! | module | owns |
//! |---|---|
//! | `options` | what a user asks for |
//! | `plan` | from options and data to a specification and the objects it names |
//! | `division` | which rows validate and test |
//! | `start` | a saved model to start from |
//! | `encoded` | its rows as objects, and which columns make a network too large |
//! | `usual`, `rates` | numbers that nobody asks for; how learning rates go over the rounds |
//! | `work` | a job as the client knows it, in words and as a model file |
//! | `notes` | what only the data know of a job, and how it travels with it |
//! | `score` | what a result is worth, in numbers for people |
//! | `inspect` | what a model file says |
//! | `applied` | a model file put to use on raw rows |
//! | `predict`, `predictions` | what a model tells of the rows of a file, and how that is written |
//! | `sink` | where what a command makes goes |
//! | `export` | a saved model in forms that other programs run |
//! | `evaluate` | how good a model is on a file whose targets are known |
//! | `importance` | how much it rests on each column |
//! | `figures`, `confusion` | figures by their names beside what a guess comes to; which class is taken for which |
//! | `report` | a page about a job or a model |
//! | `conversation` | a connection to the coordinator, its questions and answers |
//! | `connection_error` | why there is no answer, and whether to ask again |
//! | `schema` | what training would make of a data file |
//! | `retry` | when a coordinator that cannot be had is dialled again |
//! | `standing` | how jobs stand |
//! | `doctor` | how the coordinator and its nodes are |
//! | `watching` | a job, watched to its end over as many connections as it takes |
//! | `commands` | everything that is asked of a coordinator but to watch |
//! | `ledger` | a job's ledger, page by page |
//! | `verify` | what of a ledger is recomputed |
//! | `verdict` | what is said of it |
//! | `audit` | which steps that takes, and what is found |
//! | `contradictions` | what in a ledger cannot be, whatever was computed |
//! | `recompute` | steps, trained and merged anew |
//! | `advice` | what would make a job faster, by where its time went |
//! | `render`, `listing`, `reading` | what is printed |
//! | `proof` | that this machine computes as it must |
//! | `local` | a whole cluster in one process |

mod advice;
mod applied;
mod audit;
mod commands;
mod confusion;
mod connection_error;
mod contradictions;
mod conversation;
mod division;
mod doctor;
mod encoded;
mod evaluate;
mod export;
mod figures;
mod fitted;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod genuine;
mod importance;
mod inspect;
mod ledger;
mod listing;
mod live;
pub mod local;
mod notes;
mod options;
mod plan;
mod predict;
mod predictions;
mod proof;
mod rates;
mod reading;
mod recompute;
mod render;
mod report;
mod retry;
mod sample;
mod schema;
mod score;
mod sink;
mod standing;
mod start;
mod usual;
mod verdict;
mod verify;
mod watching;
mod work;

use crossbeam_channel::Receiver;

use crate::cli::{self, Exit, Failure};
use crate::model::Kernel;

pub use applied::OnBadRow;
pub use commands::command;
pub use evaluate::{EvaluateOptions, evaluate};
pub use export::{ExportFormat, export};
pub use inspect::inspect;
pub use options::{
    Access, ClassWeight, Command, JobName, Options, OuterOptions, Output, RateOptions, RecipeName, ReportOptions,
    ScheduleName, Shown, Target, TestRows,
};
pub use plan::Plan;
pub use predict::{PredictOptions, predict};
use render::Renderer;
use report::Reporting;
pub use report::report;
pub use schema::{SchemaOptions, schema};
use watching::{Watching, Way};

/// Trains a job at a coordinator.
pub fn train(access: &Access, options: &Options, interrupts: &Receiver<()>) -> Result<Exit, Failure> {
    proof::prove(Kernel::best())?;
    let plan = cli::interruptible(|| Plan::new(options))?;
    run(access, options, plan, interrupts, false)
}

/// Submits a planned job, and shows it until it ends.
fn run(
    access: &Access,
    options: &Options,
    plan: Plan,
    interrupts: &Receiver<()>,
    is_local: bool,
) -> Result<Exit, Failure> {
    // The places of the model and the report are tried before anything is trained for them.
    let report_out = options.report.as_ref().map(|report| &report.out);
    for out in options.out.iter().chain(report_out) {
        sink::check_output(out)?;
        sink::check_apart(out, options.files_read())?;
    }
    if let Some((model, page)) = options.out.as_ref().zip(report_out) {
        sink::check_apart(page, [&**model])?;
    }
    let Plan { work, objects, report, warnings } = plan;
    let renderer = Renderer::new(options.output, options.shown, &work);
    renderer.data(report.as_ref(), &warnings)?;
    let out = options.out.as_deref();
    let report = options.report.as_ref().map(|report| Reporting::new(report, &work));
    Watching {
        access,
        work: &work,
        way: Way::Submit(objects),
        out,
        report,
        interrupts,
        renderer,
        is_local,
        has_load: false,
    }
    .run(None)
}
