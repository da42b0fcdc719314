//! What training would make of a data file, without any. Owns what is printed; does not know a coordinator.

use std::path::Path;

use super::fitted::fitted;
use super::options::Output;
use super::{plan, reading, render};
use crate::cli::{self, Exit, Failure};
use crate::dataset::{Dataset, ReadOptions, Scaling};

/// That of a job whose seed nobody names.
const SEED: u64 = 1;

/// Prints what becomes of each column of a file.
pub fn schema(file: &Path, options: &ReadOptions, scaling: Option<Scaling>, output: Output) -> Result<Exit, Failure> {
    let data =
        Dataset::read_watched(file, options, reading::watch(file)).map_err(|error| plan::refused(&error, output))?;
    // What cannot be trained is shown all the same, and then why it cannot.
    let scaling = scaling.unwrap_or(Scaling::Usual);
    let learned = data.schema(&data.default_split(), data.default_test(false).as_ref(), scaling, SEED);
    let report = data.report(learned.as_ref().ok().map(|(schema, _)| schema));
    match output {
        Output::Json => render::print_json(&report.to_json())?,
        Output::Table | Output::Quiet => cli::print(&fitted(report.all_lines(), cli::columns()).join("\n"))?,
    }
    match learned {
        Ok((_, warnings)) => {
            let of_groups = [data.no_usual_test(false), data.more_than_usual_validate()];
            warnings.iter().chain(of_groups.iter().flatten()).for_each(|warning| render::say(warning));
            Ok(Exit::Success)
        }
        Err(error) => Err(plan::refused(&error, output)),
    }
}
