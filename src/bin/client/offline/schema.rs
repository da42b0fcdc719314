//! `client schema FILE`: what training would make of a data file. Owns the command's arguments; the rest is
//! `gradwire::client`.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Args as _, Command, FromArgMatches as _};
use gradwire::cli::{Exit, Failure};
use gradwire::client;
use gradwire::dataset::ReadOptions;

use crate::arguments::{Json, Reading, Scale};

pub fn arguments() -> Command {
    let file = Arg::new("file")
        .value_name("FILE")
        .required(true)
        .help("Data file, or - for the standard input")
        .value_parser(clap::value_parser!(PathBuf));
    let test = Arg::new("test")
        .long("test")
        .value_name("FILE")
        .help("File of rows that only test, several or a directory, as of --validate")
        .help_heading("Data")
        .value_parser(clap::value_parser!(PathBuf));
    let line =
        Json::augment_args(Scale::augment_args(Reading::augment_args(Command::new("schema").arg(file)).arg(test)));
    line.about("Show what training would make of a data file's columns")
}

pub fn run(matches: &ArgMatches) -> Result<Exit, Failure> {
    let file = matches.get_one::<PathBuf>("file").expect("clap requires it");
    let of_clap = |error: clap::Error| Failure::new(Exit::Usage, error);
    let (reading, json) = (Reading::from_arg_matches(matches), Json::from_arg_matches(matches));
    let output = if json.map_err(of_clap)?.json { client::Output::Json } else { client::Output::Table };
    let test = matches.get_one::<PathBuf>("test").cloned();
    let scale = Scale::from_arg_matches(matches).map_err(of_clap)?.scale;
    client::schema(file, &ReadOptions { test, ..reading.map_err(of_clap)?.options() }, scale, output)
}
