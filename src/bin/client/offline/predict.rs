//! `client predict MODEL DATA`: what a model tells of rows. Owns the command's words, and those that it shares with
//! `evaluate`; the rest is `gradwire::client`.

use std::path::PathBuf;

use clap::{ArgMatches, Args, Command, FromArgMatches as _};
use gradwire::cli::{Exit, Failure};
use gradwire::client::{self, OnBadRow, Output, PredictOptions};
use gradwire::dataset::{RawOptions, Separator};

use crate::arguments::{Json, yes_or_no};

/// A model, and rows for it.
#[derive(Args)]
pub struct Applied {
    /// Model that --out has saved
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// Data file with the columns that trained, - for the standard input, or arrays: X.npy, or X.npy,y.npy with labels
    #[arg(value_name = "DATA")]
    pub data: PathBuf,
    #[command(flatten)]
    pub reading: Reading,
}

/// How the rows of a file are read.
#[derive(Args)]
pub struct Reading {
    /// Whether the first line names the columns, yes or no [default: found out]
    #[arg(long, value_name = "YES|NO", value_parser = yes_or_no, help_heading = "Data", requires = "data")]
    pub header: Option<bool>,
    /// Byte between fields: , ; | or another, tab or space [default: found out]
    #[arg(long, value_name = "BYTE", help_heading = "Data", requires = "data")]
    pub separator: Option<Separator>,
    /// Action on a row that cannot be read: refuse, or leave (without a prediction, and count)
    #[arg(long, value_name = "ACTION", default_value = "refuse", help_heading = "Data", requires = "data")]
    pub on_error: OnBadRow,
}

impl Reading {
    /// The same, some columns passed on.
    pub fn options(&self, keep: Vec<String>) -> RawOptions {
        RawOptions { header: self.header, separator: self.separator, keep, wants_labels: false }
    }
}

#[derive(Args)]
struct Told {
    /// Add the probability of each class
    #[arg(long, help_heading = "Output")]
    proba: bool,
    /// Columns of the data to put before the predictions
    #[arg(long, value_name = "COL,...", value_delimiter = ',', help_heading = "Output")]
    keep: Vec<String>,
    /// File to put the predictions in [default: the standard output]
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    out: Option<PathBuf>,
}

pub fn arguments() -> Command {
    let line = Json::augment_args(Told::augment_args(Applied::augment_args(Command::new("predict"))));
    line.about("Predict the label of each row of a data file with a saved model")
}

pub fn run(matches: &ArgMatches) -> Result<Exit, Failure> {
    let applied = Applied::from_arg_matches(matches).map_err(of_clap)?;
    let Told { proba, keep, out } = Told::from_arg_matches(matches).map_err(of_clap)?;
    let options = PredictOptions {
        reading: applied.reading.options(keep),
        on_bad_row: applied.reading.on_error,
        with_probabilities: proba,
        out,
    };
    client::predict(&applied.model, &applied.data, &options, output(matches)?)
}

/// Words or JSON.
pub fn output(matches: &ArgMatches) -> Result<Output, Failure> {
    let Json { json } = Json::from_arg_matches(matches).map_err(of_clap)?;
    Ok(if json { Output::Json } else { Output::Table })
}

pub fn of_clap(error: clap::Error) -> Failure {
    Failure::new(Exit::Usage, error)
}
