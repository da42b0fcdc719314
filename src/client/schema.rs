//! What training would make of a data file, without any. Owns what is printed; does not know a coordinator.

use std::path::Path;

use super::options::Output;
use super::{plan, reading, render};
use crate::cli::{self, Exit, Failure};
use crate::dataset::{Dataset, Preparation, ReadOptions, Scaling, ShardCount, Sharding};

/// Prints what becomes of each column of a file.
pub fn schema(file: &Path, options: &ReadOptions, output: Output) -> Result<Exit, Failure> {
    let data =
        Dataset::read_watched(file, options, reading::watch(file)).map_err(|error| plan::refused(&error, output))?;
    let preparation = Preparation {
        test: None,
        split: data.default_split(),
        scaling: Scaling::Usual,
        sharding: Sharding::Stratified,
        shards: ShardCount::Exactly(1),
        seed: 1,
    };
    // What cannot be trained is shown all the same, and then why it cannot.
    let prepared = data.prepare(&preparation);
    let report = data.report(prepared.as_ref().ok().map(|prepared| &prepared.schema));
    match output {
        Output::Json => render::print_json(&report.to_json())?,
        Output::Table | Output::Quiet => cli::print(&report.all_lines().join("\n"))?,
    }
    match prepared {
        Ok(prepared) => {
            prepared.warnings.iter().for_each(|warning| render::say(warning));
            Ok(Exit::Success)
        }
        Err(error) => Err(plan::refused(&error, output)),
    }
}
