//! `client export MODEL`: a model in a form that other programs run. Owns the command's words; the rest is
//! `gradwire::client`.

use std::path::PathBuf;

use clap::{ArgMatches, Args, Command, FromArgMatches as _};
use gradwire::cli::{Exit, Failure};
use gradwire::client::{self, ExportFormat};

use super::predict::of_clap;

#[derive(Args)]
struct Exported {
    /// Model that --out has saved
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Form: onnx (a graph that takes raw columns), c (a header), or json (a document)
    #[arg(long, value_name = "FORM")]
    format: ExportFormat,
    /// File to put it in [default: the standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub fn arguments() -> Command {
    Exported::augment_args(Command::new("export"))
        .about("Write a saved model as ONNX, C or JSON, for other programs to run")
}

pub fn run(matches: &ArgMatches) -> Result<Exit, Failure> {
    let Exported { model, format, out } = Exported::from_arg_matches(matches).map_err(of_clap)?;
    client::export(&model, format, out.as_deref())
}
