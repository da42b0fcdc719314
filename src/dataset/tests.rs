use std::fs;
use std::path::PathBuf;

use super::*;

mod advice;
mod arrays;
mod cases;
mod collected;
mod kept;
mod leaks;
mod learning;
mod preparing;
mod spreadsheets;

fn read(csv: impl AsRef<[u8]>, options: &ReadOptions) -> Result<Dataset, DatasetError> {
    Dataset::from_reader("data.csv", csv.as_ref(), options)
}

fn dataset(csv: impl AsRef<[u8]>) -> Dataset {
    read(csv, &ReadOptions::default()).unwrap()
}

fn sentence(csv: impl AsRef<[u8]>) -> String {
    read(csv, &ReadOptions::default()).unwrap_err().to_string()
}

/// Names that an option takes.
fn names(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// What a test changes where it matters.
const ASKED: Preparation = Preparation {
    test: None,
    split: ValidationSplit::STRATIFIED_FIFTH,
    scaling: Scaling::Standardise,
    sharding: Sharding::Stratified,
    shards: ShardCount::Exactly(1),
    seed: 1,
};

fn last(rows: u32) -> ValidationSplit {
    format!("last:{rows}").parse().unwrap()
}

/// The inputs of a block's rows, whatever they are written as.
fn dense(block: &Block) -> Vec<f32> {
    let mut inputs = Vec::new();
    block.inputs().expand(0..block.rows(), &mut inputs);
    inputs
}

/// A block whose inputs are all written as they are, so many to a row.
fn block(features: u32, values: Vec<f32>, label: u32) -> Block {
    let (layout, indices) = (InputLayout::plain(features), Vec::new());
    Block { layout, values, indices, targets: Targets::Classes(vec![label]) }
}

/// The classes of a block that has some.
fn labels(block: &Block) -> &[u32] {
    match &block.targets {
        Targets::Classes(labels) => labels,
        Targets::Values(_) => panic!("numbers, where classes are told apart"),
    }
}

/// The names of the classes.
fn classes(prepared: &Prepared) -> &[String] {
    match &prepared.target {
        Target::Classes(names) => names,
        Target::Values(_) => panic!("numbers, where classes are told apart"),
    }
}

/// The kinds of all columns, in words.
fn kinds(data: &Dataset) -> Vec<&'static str> {
    data.roles.columns.iter().map(|column| column.kind.name()).collect()
}

/// Whether each column is learned from.
fn features(data: &Dataset) -> Vec<bool> {
    data.roles.columns.iter().map(|column| column.role == Role::Feature).collect()
}
