//! `client evaluate MODEL DATA`: how good a model is on rows whose labels are known. Owns the command's words; the rest is
//! `gradwire::client`.

use clap::{ArgMatches, Args as _, Command, FromArgMatches as _};
use gradwire::cli::{Exit, Failure};
use gradwire::client::{self, EvaluateOptions};

use super::predict::{Applied, of_clap, output};
use crate::arguments::Json;

pub fn arguments() -> Command {
    let line = Json::augment_args(Applied::augment_args(Command::new("evaluate")));
    line.about("Judge a saved model by a data file with labels")
}

pub fn run(matches: &ArgMatches) -> Result<Exit, Failure> {
    let applied = Applied::from_arg_matches(matches).map_err(of_clap)?;
    let options = EvaluateOptions { reading: applied.reading(Vec::new()), on_bad_row: applied.on_error };
    client::evaluate(&applied.model, &applied.data, &options, output(matches)?)
}
