//! `client report MODEL`: a page about a model file. Owns the command's words; the rest is `gradwire::client`.

use std::path::PathBuf;

use clap::{ArgMatches, Args, Command, FromArgMatches as _};
use gradwire::cli::{Exit, Failure};
use gradwire::client;

use super::predict::of_clap;
use crate::arguments::PageOut;

#[derive(Args)]
struct Reported {
    /// Model that --out has saved
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    #[command(flatten)]
    out: PageOut,
}

pub fn arguments() -> Command {
    Reported::augment_args(Command::new("report")).about("Make a page about a saved model, for a browser")
}

pub fn run(matches: &ArgMatches) -> Result<Exit, Failure> {
    let Reported { model, out } = Reported::from_arg_matches(matches).map_err(of_clap)?;
    client::report(&model, out.out.as_deref())
}
