//! `client inspect MODEL`: what a model file says. Owns the words of the command line; the rest is `gradwire::client`.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use gradwire::cli::{Exit, Failure};
use gradwire::client::{self, Output};

pub fn arguments() -> Command {
    Command::new("inspect")
        .about("Show what a model file holds, and check its weights against its fingerprint")
        .arg(
            Arg::new("model")
                .value_name("FILE.safetensors")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("Model that --out has saved"),
        )
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print JSON, one object per line"))
}

pub fn run(matches: &ArgMatches) -> Result<Exit, Failure> {
    let path: &PathBuf = matches.get_one("model").expect("clap requires it");
    client::inspect(path, if matches.get_flag("json") { Output::Json } else { Output::Table })
}
