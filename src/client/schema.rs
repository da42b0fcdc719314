//! What training would make of a data file, without any. Owns what is printed; does not know a coordinator.

use std::path::Path;

use super::division::Division;
use super::fitted::fitted;
use super::options::{Output, RecipeName, TestRows};
use super::{plan, reading, render};
use crate::cli::{self, Exit, Failure};
use crate::dataset::{Dataset, ReadOptions, Scaling, ValidationSplit};

/// What a job would be asked of its data.
#[derive(Clone, Debug)]
pub struct SchemaOptions {
    /// How they are read.
    pub read: ReadOptions,
    /// How numbers become inputs; as the recipe has it, if none.
    pub scale: Option<Scaling>,
    /// The recipe.
    pub recipe: RecipeName,
    /// Which rows validate.
    pub validate_split: Option<ValidationSplit>,
    /// Which rows only test.
    pub test: Option<TestRows>,
    /// The seed by which rows are drawn.
    pub seed: u64,
}

/// Prints what becomes of each column of a file.
pub fn schema(file: &Path, options: &SchemaOptions, output: Output) -> Result<Exit, Failure> {
    let SchemaOptions { recipe, validate_split, scale, seed, .. } = *options;
    let division = Division { recipe, validate_split, test: options.test.as_ref(), scale };
    let read = division.reading(&options.read);
    let data =
        Dataset::read_watched(file, &read, reading::watch(file)).map_err(|error| plan::refused(&error, output))?;
    // What cannot be trained is shown all the same, and then why it cannot.
    let split = division.validation(&data);
    let learned = data.schema(&split, division.testing(&data).as_ref(), division.scaling(), seed);
    let report = data.report(learned.as_ref().ok().map(|(schema, _)| schema));
    match output {
        Output::Json => render::print_json(&report.to_json())?,
        Output::Table | Output::Quiet => cli::print(&fitted(report.all_lines(), cli::columns()).join("\n"))?,
    }
    division.check(&data)?;
    let (_, warnings) = learned.map_err(|error| plan::refused(&error, output))?;
    warnings.iter().chain(&division.remarks(&data)).for_each(|warning| render::say(warning));
    Ok(Exit::Success)
}
