//! A model file put to use. Owns that what it says of raw rows fits its network, and how many rows are taken at a time; does
//! not know what is done with what it tells.

use std::fmt;
use std::path::Path;

use serde_json::Value;

use super::genuine;
use super::options::Output;
use super::render;
use crate::cli::{Exit, Failure};
use crate::dataset::{Becomes, RawError, Schema};
use crate::model::file::ModelFile;
use crate::model::scaling::{Target, TargetScale};
use crate::model::{Kernel, Network, Predictor};

/// Numbers of a batch, inputs and outputs, at most; but one row is always taken.
const BATCH_NUMBERS_MAX: usize = 1 << 20;
/// Rows of a batch, at most.
const BATCH_ROWS_MAX: usize = 4_096;
/// What the label of a model is called whose file does not say so.
const UNNAMED_LABEL: &str = "label";

/// A model, and how a raw row becomes its inputs.
pub(super) struct Applied {
    pub(super) model: ModelFile,
    pub(super) schema: Schema,
}

/// Why a model file that is whole cannot be used on raw rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// Its schema is none that this program reads.
    Unreadable,
    /// The schema makes other inputs than the network takes.
    Inputs,
    /// The schema has another number of labels than the model tells.
    Labels,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unusable::Unreadable => {
                "this program does not read the file's schema, which says what becomes of a row; save the model with it"
            }
            Unusable::Inputs => {
                "the file is damaged: its schema makes other inputs than the network takes; save the model again"
            }
            Unusable::Labels => {
                "the file is damaged: its schema has not the labels that the model tells; save the model again"
            }
        })
    }
}

impl Applied {
    /// The model in a file, whose weights are those that its fingerprint names.
    pub(super) fn read(path: &Path) -> Result<Applied, Failure> {
        let model = ModelFile::read(path).map_err(|error| Failure::new(Exit::Usage, error))?;
        genuine::check(path, &model).map_err(|text| Failure::new(Exit::Usage, text))?;
        let unusable = |why| Failure::new(Exit::Usage, format_args!("{}: {why}", path.display()));
        Applied::of(model).map_err(unusable)
    }

    /// A model whose schema, where it has one, is its own.
    pub(super) fn of(model: ModelFile) -> Result<Applied, Unusable> {
        let schema = match &model.schema {
            None => Schema::of_numbers(&model.feature_names, &model.scaling, &labels(&model.target)),
            Some(text) => {
                let json: Value = serde_json::from_str(text).map_err(|_| Unusable::Unreadable)?;
                Schema::from_json(&json).ok_or(Unusable::Unreadable)?
            }
        };
        let is_of_network = schema.width() == model.network.inputs() as usize
            && schema.scales() == model.scaling
            && schema.input_names() == model.feature_names;
        if !is_of_network {
            return Err(Unusable::Inputs);
        }
        let labels = schema.columns.iter().filter(|column| column.becomes == Becomes::Label).count();
        let wanted = match &model.target {
            Target::Classes(_) => 1,
            Target::Values(scales) => scales.len(),
        };
        if labels != wanted {
            return Err(Unusable::Labels);
        }
        Ok(Applied { model, schema })
    }

    /// The model, ready to be told inputs.
    pub(super) fn predictor(&self) -> Predictor<'_> {
        let ModelFile { network, activation, parameters, .. } = &self.model;
        Predictor::new(Kernel::best(), network, *activation, parameters)
    }

    /// Rows that are taken at a time.
    pub(super) fn batch_rows(&self) -> usize {
        batch_rows(&self.model.network)
    }
}

/// Rows that a network is told at a time.
pub(super) fn batch_rows(network: &Network) -> usize {
    let numbers = network.inputs() as usize + network.outputs() as usize;
    (BATCH_NUMBERS_MAX / numbers).clamp(1, BATCH_ROWS_MAX)
}

fn labels(target: &Target) -> Vec<String> {
    match target {
        Target::Classes(_) => vec![UNNAMED_LABEL.to_owned()],
        Target::Values(scales) => scales.iter().map(|scale| scale.name().to_owned()).collect(),
    }
}

/// The targets' scales; none of a model that tells classes apart.
pub(super) fn scales(target: &Target) -> &[TargetScale] {
    match target {
        Target::Classes(_) => &[],
        Target::Values(scales) => scales,
    }
}

/// Why rows are refused, which scripts read as JSON.
pub(super) fn refused(error: &RawError, output: Output) -> Failure {
    if output == Output::Json {
        // Whoever has closed the pipe reads the sentence.
        let _ = render::print_json(&error.to_json());
    }
    Failure::new(Exit::Usage, error)
}

/// What becomes of a row that has no inputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnBadRow {
    /// It ends the command.
    #[default]
    Refuse,
    /// It has no prediction, and is counted.
    Leave,
}

impl std::str::FromStr for OnBadRow {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<OnBadRow, &'static str> {
        match text {
            "refuse" => Ok(OnBadRow::Refuse),
            "leave" => Ok(OnBadRow::Leave),
            _ => Err("a row that cannot be read is refused, or left without a prediction: refuse or leave"),
        }
    }
}
