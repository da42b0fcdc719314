//! A job's specification as tagged fields (protocol.md, "The specification"). Owns the fields' tags and their one
//! canonical encoding, and with it the digests that name a job's meaning and a model; does not judge the values, which
//! check themselves.

use std::num::NonZeroU32;

use super::bytes::{Malformation, Read, Reader, Write as _};
use crate::digest::Digest;
use crate::job::{OnNoNodes, OnTaskFailure, Operation, RowsRef, Specification, SpecificationError, check_notes};
use crate::model::{
    Activation, BatchSize, Initialisation, LossReduction, Merge, Network, Optimiser, Recipe, RecipeError, Training,
};

/// A field without this bit is part of what the job computes, and hashed.
const OPERATIONAL: u16 = 0x4000;
/// A field with this bit may be skipped by who does not know it.
const SKIPPABLE: u16 = 0x8000;

mod tag {
    pub const ARITHMETIC: u16 = 0x0001;
    pub const INPUTS: u16 = 0x0002;
    pub const HIDDEN: u16 = 0x0003;
    pub const CLASSES: u16 = 0x0004;
    pub const ACTIVATION: u16 = 0x0005;
    pub const OPTIMISER: u16 = 0x0006;
    pub const REDUCTION: u16 = 0x0007;
    pub const INITIALISATION: u16 = 0x0008;
    pub const ETA: u16 = 0x0009;
    pub const ETA_DECAY: u16 = 0x000A;
    pub const BATCH: u16 = 0x000B;
    pub const EPOCHS: u16 = 0x000C;
    pub const LOG_EPSILON: u16 = 0x000D;
    pub const STOP_LOSS_CHANGE: u16 = 0x000E;
    pub const SEED: u16 = 0x000F;
    pub const ROUNDS: u16 = 0x0020;
    pub const SHARDS: u16 = 0x0021;
    pub const VALIDATION: u16 = 0x0022;
    pub const INITIAL: u16 = 0x0023;
    pub const MERGE: u16 = 0x0024;
    pub const ON_TASK_FAILURE: u16 = 0x4001;
    pub const ALLOW_INEXACT: u16 = 0x4002;
    pub const ON_NO_NODES: u16 = 0x4003;
    pub const NOTES: u16 = 0xC001;
}

/// Bytes of a rows reference: rows u32, digest.
const ROWS_REF_BYTES: usize = 36;

/// All fields of a specification.
pub fn encode(specification: &Specification) -> Vec<u8> {
    let mut out = Fields::default();
    out.semantic(specification);
    let Operation { on_task_failure, allow_inexact, on_no_nodes } = specification.operation;
    out.unless(on_task_failure == OnTaskFailure::Fail, tag::ON_TASK_FAILURE, &[on_task_failure as u8]);
    out.unless(!allow_inexact, tag::ALLOW_INEXACT, &[1]);
    out.unless(on_no_nodes == OnNoNodes::Fail, tag::ON_NO_NODES, &[on_no_nodes as u8]);
    out.unless(specification.notes.is_empty(), tag::NOTES, &specification.notes);
    out.0
}

/// The digest of the semantic fields: two specifications with the same one compute the same thing.
pub fn semantic_digest(specification: &Specification) -> Digest {
    let mut out = Fields::default();
    out.semantic(specification);
    Digest::of_parts(&[b"gradwire specification 1", &out.0])
}

/// The fields that a node needs to train a task.
pub fn encode_training(training: &Training) -> Vec<u8> {
    let mut out = Fields::default();
    out.training(training);
    out.0
}

#[derive(Default)]
struct Fields(Vec<u8>);

impl Fields {
    fn put(&mut self, tag: u16, bytes: &[u8]) {
        self.0.u16(tag);
        self.0.u32(bytes.len() as u32);
        self.0.bytes(bytes);
    }

    /// A field that has its default is left out: every specification has one encoding.
    fn unless(&mut self, default: bool, tag: u16, bytes: &[u8]) {
        if !default {
            self.put(tag, bytes);
        }
    }

    fn training(&mut self, training: &Training) {
        let Training { arithmetic, network, recipe, seed } = training;
        self.unless(*arithmetic == 1, tag::ARITHMETIC, &arithmetic.to_le_bytes());
        self.put(tag::INPUTS, &network.inputs().to_le_bytes());
        let hidden: Vec<u8> = network.hidden().iter().flat_map(|width| width.to_le_bytes()).collect();
        self.unless(hidden.is_empty(), tag::HIDDEN, &hidden);
        self.put(tag::CLASSES, &network.classes().to_le_bytes());
        self.unless(recipe.activation == Activation::Relu, tag::ACTIVATION, &[recipe.activation as u8]);
        self.unless(recipe.optimiser == Optimiser::Sgd, tag::OPTIMISER, &[recipe.optimiser as u8]);
        self.unless(recipe.reduction == LossReduction::Mean, tag::REDUCTION, &[recipe.reduction as u8]);
        let initialisation = recipe.initialisation;
        self.unless(initialisation == Initialisation::He, tag::INITIALISATION, &[initialisation as u8]);
        self.put(tag::ETA, &recipe.eta.to_le_bytes());
        self.unless(recipe.eta_decay == 1.0, tag::ETA_DECAY, &recipe.eta_decay.to_le_bytes());
        if let BatchSize::Rows(rows) = recipe.batch {
            self.put(tag::BATCH, &rows.get().to_le_bytes());
        }
        self.unless(recipe.epochs == 1, tag::EPOCHS, &recipe.epochs.to_le_bytes());
        self.unless(recipe.log_epsilon == 0.0, tag::LOG_EPSILON, &recipe.log_epsilon.to_le_bytes());
        if let Some(change) = recipe.stop_loss_change {
            // Adding +0 turns -0 into +0: a value has one encoding.
            self.put(tag::STOP_LOSS_CHANGE, &(change + 0.0).to_le_bytes());
        }
        self.unless(*seed == 1, tag::SEED, &seed.to_le_bytes());
    }

    fn semantic(&mut self, specification: &Specification) {
        self.training(&specification.training);
        self.unless(specification.rounds == 1, tag::ROUNDS, &specification.rounds.to_le_bytes());
        let shards: Vec<u8> = specification.shards.iter().flat_map(rows_ref).collect();
        self.put(tag::SHARDS, &shards);
        self.put(tag::VALIDATION, &rows_ref(&specification.validation));
        if let Some(initial) = &specification.initial {
            self.put(tag::INITIAL, &initial.0);
        }
        self.unless(specification.merge == Merge::Mean, tag::MERGE, &[specification.merge as u8]);
    }
}

fn rows_ref(rows: &RowsRef) -> [u8; ROWS_REF_BYTES] {
    let mut out = [0; ROWS_REF_BYTES];
    out[..4].copy_from_slice(&rows.rows.to_le_bytes());
    out[4..].copy_from_slice(&rows.digest.0);
    out
}

/// What the fields that have come so far say.
#[derive(Default)]
struct Draft<'a> {
    arithmetic: Option<u16>,
    inputs: Option<u32>,
    hidden: Vec<u32>,
    classes: Option<u32>,
    activation: Option<Activation>,
    optimiser: Option<Optimiser>,
    reduction: Option<LossReduction>,
    initialisation: Option<Initialisation>,
    eta: Option<f32>,
    eta_decay: Option<f32>,
    batch: Option<u32>,
    epochs: Option<u32>,
    log_epsilon: Option<f32>,
    stop_loss_change: Option<f32>,
    seed: Option<u64>,
    rounds: Option<u32>,
    shards: Option<Vec<RowsRef>>,
    validation: Option<RowsRef>,
    initial: Option<Digest>,
    merge: Merge,
    operation: Operation,
    notes: &'a [u8],
}

/// The specification in these fields, within its limits.
pub fn decode(reader: Reader<'_>) -> Read<Specification> {
    let mut draft = Draft::read(reader, true)?;
    let missing = |tag| Malformation::MissingField { tag };
    let Some(shards) = draft.shards.take() else { return reader.fail(missing(tag::SHARDS)) };
    let Some(validation) = draft.validation else { return reader.fail(missing(tag::VALIDATION)) };
    let training = draft.training(&reader)?;
    let outside = |error: SpecificationError| outside(&error, error.got_and_limit());
    // Nothing is allocated for what is over its limit.
    if let Err(error) = check_notes(draft.notes) {
        return reader.fail(outside(error));
    }
    let specification = Specification {
        training,
        rounds: draft.rounds.unwrap_or(1),
        shards,
        validation,
        merge: draft.merge,
        initial: draft.initial,
        operation: draft.operation,
        notes: draft.notes.to_vec(),
    };
    specification.checked().or_else(|error| reader.fail(outside(error)))
}

/// What is said of a value outside its limits.
fn outside(error: &dyn std::error::Error, (got, allowed): (u64, u64)) -> Malformation {
    Malformation::Specification { why: error.to_string(), got, allowed }
}

/// Network, recipe and seed in these fields, within their limits.
pub fn decode_training(reader: Reader<'_>) -> Read<Training> {
    Draft::read(reader, false)?.training(&reader)
}

impl<'a> Draft<'a> {
    fn read(mut reader: Reader<'a>, whole: bool) -> Read<Draft<'a>> {
        let mut draft = Draft::default();
        let mut last = None;
        while reader.left() > 0 {
            let tag = reader.u16()?;
            if last.is_some_and(|last| tag <= last) {
                return reader.fail(Malformation::FieldOrder { tag });
            }
            last = Some(tag);
            let bytes = reader.u32()? as usize;
            let mut field = reader.sub("a field of the specification", bytes)?;
            if !draft.take(tag, &mut field, whole)? {
                return reader.fail(Malformation::UnknownField { tag });
            }
            field.end()?;
        }
        Ok(draft)
    }

    /// Takes a field; says whether it is known, or may be skipped.
    fn take(&mut self, tag: u16, field: &mut Reader<'a>, whole: bool) -> Read<bool> {
        match tag {
            tag::ARITHMETIC => self.arithmetic = Some(not(field.u16()?, 1, tag, field)?),
            tag::INPUTS => self.inputs = Some(field.u32()?),
            tag::HIDDEN => {
                if field.left() == 0 {
                    return field.fail(Malformation::DefaultWritten { tag });
                }
                while field.left() > 0 {
                    self.hidden.push(field.u32()?);
                }
            }
            tag::CLASSES => self.classes = Some(field.u32()?),
            tag::ACTIVATION => {
                self.activation =
                    Some(choice(field, tag, &[None, Some(Activation::Identity), Some(Activation::MaskedIdentity)])?);
            }
            tag::OPTIMISER => self.optimiser = Some(choice(field, tag, &[None, Some(Optimiser::Adam)])?),
            tag::REDUCTION => self.reduction = Some(choice(field, tag, &[None, Some(LossReduction::Sum)])?),
            tag::INITIALISATION => {
                self.initialisation = Some(choice(field, tag, &[None, Some(Initialisation::Small)])?);
            }
            tag::ETA => self.eta = Some(field.f32()?),
            tag::ETA_DECAY => self.eta_decay = Some(not(field.f32()?, 1.0, tag, field)?),
            tag::BATCH => self.batch = Some(field.u32()?),
            tag::EPOCHS => self.epochs = Some(not(field.u32()?, 1, tag, field)?),
            tag::LOG_EPSILON => self.log_epsilon = Some(not(field.f32()?, 0.0, tag, field)?),
            tag::STOP_LOSS_CHANGE => {
                let change = field.f32()?;
                if change == 0.0 && change.is_sign_negative() {
                    return field.fail(Malformation::Refused("zero is written as +0".to_owned()));
                }
                self.stop_loss_change = Some(change);
            }
            tag::SEED => self.seed = Some(not(field.u64()?, 1, tag, field)?),
            tag::ROUNDS if whole => self.rounds = Some(not(field.u32()?, 1, tag, field)?),
            tag::SHARDS if whole => {
                let shards = self.shards.insert(Vec::new());
                while field.left() > 0 {
                    shards.push(read_rows_ref(field)?);
                }
            }
            tag::VALIDATION if whole => self.validation = Some(read_rows_ref(field)?),
            tag::INITIAL if whole => self.initial = Some(field.digest()?),
            tag::MERGE if whole => self.merge = choice(field, tag, &[None, Some(Merge::Median)])?,
            tag::ON_TASK_FAILURE if whole => {
                self.operation.on_task_failure = choice(field, tag, &[None, Some(OnTaskFailure::Skip)])?;
            }
            tag::ALLOW_INEXACT if whole => self.operation.allow_inexact = choice(field, tag, &[Some(true)])?,
            tag::ON_NO_NODES if whole => {
                self.operation.on_no_nodes = choice(field, tag, &[None, Some(OnNoNodes::Pause)])?;
            }
            tag::NOTES if whole => {
                if field.left() == 0 {
                    return field.fail(Malformation::DefaultWritten { tag });
                }
                self.notes = field.rest();
            }
            _ if tag & SKIPPABLE != 0 && tag & OPERATIONAL != 0 => {
                field.rest();
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn training(&self, reader: &Reader<'_>) -> Read<Training> {
        let missing = |tag| Malformation::MissingField { tag };
        let Some(inputs) = self.inputs else { return reader.fail(missing(tag::INPUTS)) };
        let Some(classes) = self.classes else { return reader.fail(missing(tag::CLASSES)) };
        let Some(eta) = self.eta else { return reader.fail(missing(tag::ETA)) };
        let network = match Network::new(inputs, &self.hidden, classes) {
            Ok(network) => network,
            Err(error) => return reader.fail(outside(&error, error.got_and_limit())),
        };
        let outside = |error: RecipeError| outside(&error, error.got_and_limit());
        let batch = match self.batch.map(NonZeroU32::new) {
            None => BatchSize::Full,
            Some(Some(rows)) => BatchSize::Rows(rows),
            Some(None) => return reader.fail(outside(RecipeError::Batch { got: 0 })),
        };
        let recipe = Recipe {
            activation: self.activation.unwrap_or(Activation::Relu),
            optimiser: self.optimiser.unwrap_or(Optimiser::Sgd),
            reduction: self.reduction.unwrap_or(LossReduction::Mean),
            initialisation: self.initialisation.unwrap_or(Initialisation::He),
            eta,
            eta_decay: self.eta_decay.unwrap_or(1.0),
            batch,
            epochs: self.epochs.unwrap_or(1),
            log_epsilon: self.log_epsilon.unwrap_or(0.0),
            stop_loss_change: self.stop_loss_change,
        };
        match recipe.checked() {
            Ok(recipe) => {
                let (arithmetic, seed) = (self.arithmetic.unwrap_or(1), self.seed.unwrap_or(1));
                Ok(Training { arithmetic, network, recipe, seed })
            }
            Err(error) => reader.fail(outside(error)),
        }
    }
}

/// A value that is not its field's default.
fn not<T: PartialEq>(value: T, default: T, tag: u16, field: &Reader<'_>) -> Read<T> {
    if value == default { field.fail(Malformation::DefaultWritten { tag }) } else { Ok(value) }
}

/// One of `values`, numbered from 1; `None` marks the default, which must be left out.
fn choice<T: Copy>(field: &mut Reader<'_>, tag: u16, values: &[Option<T>]) -> Read<T> {
    let got = field.u8()?;
    match usize::from(got).checked_sub(1).and_then(|index| values.get(index)) {
        Some(Some(value)) => Ok(*value),
        Some(None) => field.fail(Malformation::DefaultWritten { tag }),
        None => field.fail(Malformation::UnknownValue { got: got.into() }),
    }
}

fn read_rows_ref(field: &mut Reader<'_>) -> Read<RowsRef> {
    Ok(RowsRef { rows: field.u32()?, digest: field.digest()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{NOTES_BYTES_MAX, ROWS_MAX, SHARDS_MAX};
    use crate::wire::{ErrorCode, limits};

    fn training(change: f32) -> Training {
        let recipe = Recipe { stop_loss_change: Some(change), ..Recipe::CLASSIC };
        Training { arithmetic: 1, network: Network::new(2, &[], 2).unwrap(), recipe, seed: 1 }
    }

    #[test]
    fn zero_has_one_encoding() {
        let bytes = encode_training(&training(0.0));
        assert_eq!(encode_training(&training(-0.0)), bytes);
        let mut negative = bytes.clone();
        let last = negative.len() - 1;
        negative[last] = 0x80;
        assert!(decode_training(Reader::new("a recipe", &bytes)).is_ok());
        assert!(decode_training(Reader::new("a recipe", &negative)).is_err());
    }

    #[test]
    fn a_field_that_is_missing_is_found_before_any_limit_is_judged() {
        let mut whole = largest(0);
        (whole.rounds, whole.initial, whole.operation) = (0, None, Operation::default());
        whole.merge = Merge::Mean;
        let bytes = encode(&whole);
        assert_eq!(decode(Reader::new("a job", &bytes)).unwrap_err().code(), ErrorCode::Specification);
        // Its last field is the validation data.
        let refused = decode(Reader::new("a job", &bytes[..bytes.len() - 6 - ROWS_REF_BYTES])).unwrap_err();
        assert_eq!(refused.why, Malformation::MissingField { tag: tag::VALIDATION });
    }

    /// As large as a specification gets.
    fn largest(notes_bytes: usize) -> Specification {
        let rows = RowsRef { rows: ROWS_MAX, digest: Digest([1; 32]) };
        Specification {
            training: Training { network: Network::new(2, &[3; 64], 2).unwrap(), ..training(0.5) },
            rounds: 7,
            shards: vec![rows; SHARDS_MAX as usize],
            validation: rows,
            merge: Merge::Median,
            initial: Some(Digest([2; 32])),
            operation: Operation { on_no_nodes: OnNoNodes::Pause, ..Operation::default() },
            notes: vec![3; notes_bytes],
        }
    }

    #[test]
    fn the_largest_specification_fits_a_frame_with_its_notes_and_no_longer_notes_are_taken() {
        let whole = largest(NOTES_BYTES_MAX);
        let bytes = encode(&whole);
        assert!(bytes.len() + 1_000 < limits::PAYLOAD_BYTES_MAX as usize, "{} bytes", bytes.len());
        assert_eq!(decode(Reader::new("a specification", &bytes)), Ok(whole));

        let bytes = encode(&largest(NOTES_BYTES_MAX + 1));
        let refused = decode(Reader::new("a specification", &bytes)).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::Specification, "{refused}");
        assert!(refused.to_string().contains("262145"), "{refused}");
    }

    #[test]
    fn notes_are_left_out_where_there_are_none_and_skipped_in_a_task() {
        let specification = Specification { shards: largest(0).shards[..1].to_vec(), ..largest(0) };
        let notes = |bytes: &[u8]| [&tag::NOTES.to_le_bytes(), &(bytes.len() as u32).to_le_bytes()[..], bytes].concat();
        let empty = [encode(&specification), notes(&[])].concat();
        let refused = decode(Reader::new("a specification", &empty)).unwrap_err();
        assert_eq!(refused.why, Malformation::DefaultWritten { tag: tag::NOTES });
        let task = [encode_training(&specification.training), notes(b"new")].concat();
        assert_eq!(decode_training(Reader::new("a recipe", &task)), Ok(specification.training));
    }
}
