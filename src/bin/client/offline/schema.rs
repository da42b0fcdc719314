//! `client schema FILE`: what training would make of a data file. Owns the command's arguments; the rest is
//! `gradwire::client`.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches as _};
use gradwire::cli::{Exit, Failure};
use gradwire::client::{self, SchemaOptions};

use super::predict::{of_clap, output};
use crate::arguments::{Division, Json, Reading, Recipe, Scale, Seed};

/// What is asked of a job's data besides how they are read.
#[derive(Args)]
#[command(next_help_heading = "Data")]
struct Asked {
    #[command(flatten)]
    scale: Scale,
    #[command(flatten)]
    recipe: Recipe,
    #[command(flatten)]
    seed: Seed,
    #[command(flatten)]
    division: Division,
}

pub fn arguments() -> Command {
    let file = Arg::new("file")
        .value_name("FILE")
        .required(true)
        .help("Data file, or - for the standard input")
        .value_parser(clap::value_parser!(PathBuf));
    let line = Json::augment_args(Asked::augment_args(Reading::augment_args(Command::new("schema").arg(file))));
    line.about("Show what training would make of a data file's columns")
}

pub fn run(matches: &ArgMatches) -> Result<Exit, Failure> {
    let file = matches.get_one::<PathBuf>("file").expect("clap requires it");
    let reading = Reading::from_arg_matches(matches).map_err(of_clap)?;
    let Asked { scale, recipe, seed, division } = Asked::from_arg_matches(matches).map_err(of_clap)?;
    let options = SchemaOptions {
        read: reading.options(),
        scale: scale.scale,
        recipe: recipe.recipe,
        validate_split: division.validate_split,
        test: division.test,
        seed: seed.seed(),
    };
    client::schema(file, &options, output(matches)?)
}
