//! `client evaluate MODEL DATA`: how good a model is on rows whose labels are known. Owns the command's words; the rest is
//! `gradwire::client`.

use clap::{ArgMatches, Args, Command, FromArgMatches as _};
use gradwire::cli::{Exit, Failure};
use gradwire::client::{self, EvaluateOptions};

use super::predict::{Applied, of_clap, output};
use crate::arguments::Json;

/// What is asked of the figures.
#[derive(Args)]
#[command(next_help_heading = "Figures")]
struct Asked {
    /// Tell how much the model rests on each column: what it loses when the column's values are dealt anew among the rows
    #[arg(long)]
    importance: bool,
    /// Seed by which --importance deals them
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

pub fn arguments() -> Command {
    let line = Json::augment_args(Asked::augment_args(Applied::augment_args(Command::new("evaluate"))));
    line.about("Judge a saved model by a data file with labels")
}

pub fn run(matches: &ArgMatches) -> Result<Exit, Failure> {
    let applied = Applied::from_arg_matches(matches).map_err(of_clap)?;
    let Asked { importance, seed } = Asked::from_arg_matches(matches).map_err(of_clap)?;
    let importance = importance.then_some(seed);
    let options = EvaluateOptions {
        reading: applied.reading.options(Vec::new()),
        on_bad_row: applied.reading.on_error,
        importance,
    };
    client::evaluate(&applied.model, &applied.data, &options, output(matches)?)
}
