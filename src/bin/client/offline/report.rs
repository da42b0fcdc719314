//! `client report MODEL`: a page about a model file. Owns the command's words; the rest is `gradwire::client`.

use std::path::PathBuf;

use clap::{ArgMatches, Args, Command, FromArgMatches as _};
use gradwire::cli::{Exit, Failure};
use gradwire::client::{self, EvaluateOptions};

use super::predict::{Reading, of_clap};
use crate::arguments::PageOut;

#[derive(Args)]
struct Reported {
    /// Model that --out has saved
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Data file with labels by whose rows to judge the model, and its columns; - for the standard input
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    data: Option<PathBuf>,
    #[command(flatten)]
    reading: Reading,
    #[command(flatten)]
    out: PageOut,
}

pub fn arguments() -> Command {
    Reported::augment_args(Command::new("report")).about("Make a page about a saved model, for a browser")
}

pub fn run(matches: &ArgMatches) -> Result<Exit, Failure> {
    let Reported { model, data, reading, out } = Reported::from_arg_matches(matches).map_err(of_clap)?;
    let options =
        EvaluateOptions { reading: reading.options(Vec::new()), on_bad_row: reading.on_error, importance: None };
    client::report(&model, data.as_deref().map(|data| (data, &options)), out.out.as_deref())
}
