//! A job's specification as tagged fields (protocol.md, "The specification"). Owns their one canonical encoding, and with
//! it the digests that name a job's meaning and a model; does not judge the values, which check themselves. Which fields
//! there are is said by the table in `fields`, of which encoding, decoding and what fuzzers draw are made.

mod draft;
pub(super) mod fields;

use std::borrow::Cow;
use std::num::NonZeroU32;

use super::bytes::{Malformation, Read, Reader, Write as _};
use crate::digest::Digest;
use crate::job::{Operation, RowsRef, Specification, SpecificationError, check_notes};
use crate::model::{BatchSize, Merge, Network, Outer, OuterError, Recipe, RecipeError, Training};
pub(super) use draft::Draft;
use fields::{Absent, FIELDS, Field, List, Number, OPERATIONAL, SKIPPABLE, TRAINING_MAX, Value};

/// A row of the table of fields, as protocol.md writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// The tag.
    pub tag: u16,
    /// The name.
    pub name: &'static str,
    /// How the value is written.
    pub kind: &'static str,
    /// What it is where the field is left out; `required` or `none`.
    pub default: String,
}

/// The fields that there are, in the order of their tags.
pub fn descriptions() -> impl Iterator<Item = Description> {
    FIELDS.iter().map(|field| {
        let (kind, default) = field.described();
        Description { tag: field.tag, name: field.name, kind, default }
    })
}

/// All fields of a specification.
pub fn encode(specification: &Specification) -> Vec<u8> {
    Draft::of(specification).encode(|_| true)
}

/// The digest of the semantic fields: two specifications with the same one compute the same thing.
pub fn semantic_digest(specification: &Specification) -> Digest {
    let semantic = Draft::of(specification).encode(|tag| tag & OPERATIONAL == 0);
    Digest::of_parts(&[b"gradwire specification 1", &semantic])
}

/// The fields that a node needs to train a task.
pub fn encode_training(training: &Training) -> Vec<u8> {
    Draft::of_training(training).encode(|tag| tag <= TRAINING_MAX)
}

/// The specification in these fields, within its limits.
pub fn decode(reader: Reader<'_>) -> Read<Specification> {
    Draft::read(reader, |_| true)?.specification().or_else(|why| reader.fail(why))
}

/// Network, recipe and seed in these fields, within their limits.
pub fn decode_training(reader: Reader<'_>) -> Read<Training> {
    Draft::read(reader, |tag| tag <= TRAINING_MAX)?.training().or_else(|why| reader.fail(why))
}

impl<'a> Draft<'a> {
    /// One in which every field is left out. What must not be is some value.
    pub fn empty() -> Draft<'a> {
        let mut draft = Draft {
            arithmetic: 0,
            inputs: 0,
            hidden: Cow::default(),
            classes: 0,
            recipe: Recipe { stop_loss_change: None, ..Recipe::DEFAULT },
            batch: None,
            seed: 0,
            class_weights: Cow::default(),
            index_columns: Cow::default(),
            rounds: 0,
            round_steps: None,
            shards: Cow::default(),
            validation: RowsRef { rows: 0, digest: Digest([0; 32]) },
            test: None,
            patience: None,
            target_accuracy: None,
            merge: Merge::Mean,
            outer: Outer::AVERAGE,
            initial: None,
            operation: Operation::default(),
            notes: &[],
        };
        for field in FIELDS {
            match &field.value {
                Value::Choice(number) => number.leave_out(&mut draft),
                Value::U16(number) => number.leave_out(&mut draft),
                Value::U32(number) => number.leave_out(&mut draft),
                Value::U64(number) => number.leave_out(&mut draft),
                Value::F32(number) => number.leave_out(&mut draft),
                Value::F64(number) => number.leave_out(&mut draft),
                Value::U32s(_) | Value::F32s(_) | Value::Pairs(_) | Value::RowsRefs(_) => {}
                Value::RowsRef(_) | Value::Digest(_) | Value::Bytes { .. } => {}
            }
        }
        draft
    }

    fn of_training(training: &'a Training) -> Draft<'a> {
        let Training { arithmetic, network, recipe, seed, class_weights } = training;
        Draft {
            arithmetic: *arithmetic,
            inputs: network.inputs(),
            hidden: network.hidden().into(),
            classes: network.outputs(),
            recipe: *recipe,
            batch: match recipe.batch {
                BatchSize::Full => None,
                BatchSize::Rows(rows) => Some(rows.get()),
            },
            seed: *seed,
            class_weights: class_weights.into(),
            index_columns: network.input_layout().columns().into(),
            ..Draft::empty()
        }
    }

    fn of(specification: &'a Specification) -> Draft<'a> {
        let Specification {
            training,
            rounds,
            round_steps,
            shards,
            validation,
            test,
            patience,
            target_accuracy,
            merge,
            outer,
            initial,
            operation,
            notes,
        } = specification;
        Draft {
            rounds: *rounds,
            round_steps: *round_steps,
            shards: shards.into(),
            validation: *validation,
            test: *test,
            patience: *patience,
            target_accuracy: *target_accuracy,
            merge: *merge,
            outer: *outer,
            initial: *initial,
            operation: *operation,
            notes,
            ..Draft::of_training(training)
        }
    }

    /// The fields that are wanted. One that has its default is left out: every specification has one encoding.
    fn encode(&self, is_wanted: fn(u16) -> bool) -> Vec<u8> {
        let mut out = Vec::new();
        for field in FIELDS.iter().filter(|field| is_wanted(field.tag)) {
            let start = out.len();
            out.u16(field.tag);
            out.u32(0);
            let is_there = match &field.value {
                Value::Choice(number) => number.write(self, &mut out),
                Value::U16(number) => number.write(self, &mut out),
                Value::U32(number) => number.write(self, &mut out),
                Value::U64(number) => number.write(self, &mut out),
                Value::F32(number) => number.write(self, &mut out),
                Value::F64(number) => number.write(self, &mut out),
                Value::U32s(list) => {
                    let values = (list.get)(self);
                    values.iter().for_each(|value| out.u32(*value));
                    list.is_required || !values.is_empty()
                }
                Value::F32s(list) => {
                    let values = (list.get)(self);
                    values.iter().for_each(|value| out.bytes(&value.to_le_bytes()));
                    list.is_required || !values.is_empty()
                }
                Value::Pairs(list) => {
                    let values = (list.get)(self);
                    values.as_flattened().iter().for_each(|value| out.u32(*value));
                    list.is_required || !values.is_empty()
                }
                Value::RowsRefs(list) => {
                    let values = (list.get)(self);
                    values.iter().for_each(|value| write_rows_ref(value, &mut out));
                    list.is_required || !values.is_empty()
                }
                Value::RowsRef(item) => (item.get)(self).inspect(|value| write_rows_ref(value, &mut out)).is_some(),
                Value::Digest(item) => (item.get)(self).inspect(|value| out.bytes(&value.0)).is_some(),
                Value::Bytes { get, .. } => {
                    out.bytes(get(self));
                    !get(self).is_empty()
                }
            };
            let behind = start + 6;
            if is_there {
                let bytes = (out.len() - behind) as u32;
                out[behind - 4..behind].copy_from_slice(&bytes.to_le_bytes());
            } else {
                out.truncate(start);
            }
        }
        out
    }

    /// The fields that are wanted; another one must be one that may be skipped.
    fn read(mut reader: Reader<'a>, is_wanted: fn(u16) -> bool) -> Read<Draft<'a>> {
        let mut draft = Draft::empty();
        let mut tags = Vec::new();
        while reader.left() > 0 {
            let tag = reader.u16()?;
            if tags.last().is_some_and(|last| tag <= *last) {
                return reader.fail(Malformation::FieldOrder { tag });
            }
            tags.push(tag);
            let bytes = reader.u32()? as usize;
            let field = reader.sub("a field of the specification", bytes)?;
            match Field::of(tag).filter(|_| is_wanted(tag)) {
                Some(known) => draft.take(known, field)?,
                None if tag & SKIPPABLE != 0 && tag & OPERATIONAL != 0 => {}
                None => return reader.fail(Malformation::UnknownField { tag }),
            }
        }
        let is_missing = |field: &&Field| field.is_required() && is_wanted(field.tag) && !tags.contains(&field.tag);
        match FIELDS.iter().find(is_missing) {
            Some(field) => reader.fail(Malformation::MissingField { tag: field.tag }),
            None => Ok(draft),
        }
    }

    /// Takes a field.
    fn take(&mut self, known: &Field, mut field: Reader<'a>) -> Read<()> {
        let tag = known.tag;
        let is_empty = field.left() == 0;
        match &known.value {
            Value::Choice(number) => {
                let got = number.read(tag, &mut field)?;
                if got < number.limits.0 || got > number.limits.1 {
                    return field.fail(Malformation::UnknownValue { got: got.into() });
                }
                (number.set)(self, got);
            }
            Value::U16(number) => (number.set)(self, number.read(tag, &mut field)?),
            Value::U32(number) => (number.set)(self, number.read(tag, &mut field)?),
            Value::U64(number) => (number.set)(self, number.read(tag, &mut field)?),
            Value::F32(number) => (number.set)(self, number.read(tag, &mut field)?),
            Value::F64(number) => (number.set)(self, number.read(tag, &mut field)?),
            Value::U32s(List { is_required: false, .. })
            | Value::F32s(List { is_required: false, .. })
            | Value::Pairs(List { is_required: false, .. })
            | Value::RowsRefs(List { is_required: false, .. })
                if is_empty =>
            {
                return field.fail(Malformation::DefaultWritten { tag });
            }
            Value::U32s(list) => (list.set)(self, read_all(&mut field, Reader::u32)?),
            Value::F32s(list) => (list.set)(self, read_all(&mut field, Reader::f32)?),
            Value::Pairs(list) => (list.set)(self, read_all(&mut field, |field| Ok([field.u32()?, field.u32()?]))?),
            Value::RowsRefs(list) => (list.set)(self, read_all(&mut field, read_rows_ref)?),
            Value::RowsRef(item) => (item.set)(self, read_rows_ref(&mut field)?),
            Value::Digest(item) => (item.set)(self, field.digest()?),
            Value::Bytes { .. } if is_empty => return field.fail(Malformation::DefaultWritten { tag }),
            Value::Bytes { set, .. } => set(self, field.rest()),
        }
        field.end()
    }

    /// What the fields say, if it lies within its limits.
    pub fn specification(self) -> Result<Specification, Malformation> {
        let training = self.training()?;
        let outer = self.outer.checked().map_err(|error: OuterError| outside(&error, (0, 0)))?;
        let outside = |error: SpecificationError| outside(&error, error.got_and_limit());
        // Nothing is allocated for what is over its limit.
        check_notes(self.notes).map_err(outside)?;
        let Draft { rounds, round_steps, shards, validation, test, patience, target_accuracy, merge, initial, .. } =
            self;
        let Draft { operation, notes, .. } = self;
        let (shards, notes) = (shards.into_owned(), notes.to_vec());
        let specification = Specification {
            training,
            rounds,
            round_steps,
            shards,
            validation,
            test,
            patience,
            target_accuracy,
            merge,
            outer,
            initial,
            operation,
            notes,
        };
        specification.checked().map_err(outside)
    }

    /// What the fields of a task say, if it lies within its limits.
    pub fn training(&self) -> Result<Training, Malformation> {
        let network = Network::new(self.inputs, &self.hidden, self.classes)
            .and_then(|network| network.with_index_columns(&self.index_columns))
            .map_err(|error| outside(&error, error.got_and_limit()))?;
        let outside = |error: RecipeError| outside(&error, error.got_and_limit());
        let batch = match self.batch.map(NonZeroU32::new) {
            None => BatchSize::Full,
            Some(Some(rows)) => BatchSize::Rows(rows),
            Some(None) => return Err(outside(RecipeError::Batch { got: 0 })),
        };
        let recipe = Recipe { batch, ..self.recipe }.checked().map_err(outside)?;
        recipe.loss.check_outputs(self.classes).map_err(|error| self::outside(&error, error.got_and_limit()))?;
        let class_weights = self.class_weights.to_vec();
        let training = Training { arithmetic: self.arithmetic, network, recipe, seed: self.seed, class_weights };
        training.check_class_weights().map_err(outside)?;
        Ok(training)
    }
}

/// What is said of a value outside its limits.
fn outside(error: &dyn std::error::Error, (got, allowed): (u64, u64)) -> Malformation {
    Malformation::Specification { why: error.to_string(), got, allowed }
}

/// A number as it is written.
pub(super) trait Written: Copy + PartialEq {
    fn read(reader: &mut Reader<'_>) -> Read<Self>;
    fn write(self, out: &mut Vec<u8>);
    /// Whether it is another encoding of 0.
    fn is_minus_zero(self) -> bool;
}

macro_rules! written {
    ($($number:ident: $is_minus_zero:expr),*) => {$(
        impl Written for $number {
            fn read(reader: &mut Reader<'_>) -> Read<$number> {
                reader.$number()
            }

            fn write(self, out: &mut Vec<u8>) {
                out.bytes(&self.to_le_bytes());
            }

            fn is_minus_zero(self) -> bool {
                let is_minus_zero: fn($number) -> bool = $is_minus_zero;
                is_minus_zero(self)
            }
        }
    )*};
}

written! {
    u8: |_| false,
    u16: |_| false,
    u32: |_| false,
    u64: |_| false,
    f32: |value| value == 0.0 && value.is_sign_negative(),
    f64: |value| value == 0.0 && value.is_sign_negative()
}

impl<T: Written + Default> Number<T> {
    fn leave_out(&self, draft: &mut Draft<'_>) {
        if let Absent::Means(default) = self.absent {
            (self.set)(draft, default);
        }
    }

    /// Writes what the draft has, and says whether it must be written.
    fn write(&self, draft: &Draft<'_>, out: &mut Vec<u8>) -> bool {
        let Some(value) = (self.get)(draft) else { return false };
        let value = if value.is_minus_zero() { T::default() } else { value };
        value.write(out);
        !matches!(self.absent, Absent::Means(default) if default == value)
    }

    /// What is written, if it may be.
    fn read(&self, tag: u16, field: &mut Reader<'_>) -> Read<T> {
        let value = T::read(field)?;
        match self.absent {
            Absent::Means(default) if default == value => field.fail(Malformation::DefaultWritten { tag }),
            // Where zero is no value it is refused for that.
            _ if self.or_zero && value.is_minus_zero() => {
                field.fail(Malformation::Refused("zero is written as +0".to_owned()))
            }
            _ => Ok(value),
        }
    }
}

fn write_rows_ref(rows: &RowsRef, out: &mut Vec<u8>) {
    out.u32(rows.rows);
    out.bytes(&rows.digest.0);
}

fn read_rows_ref(field: &mut Reader<'_>) -> Read<RowsRef> {
    Ok(RowsRef { rows: field.u32()?, digest: field.digest()? })
}

/// Values one behind the other, as many as there are.
fn read_all<'a, T>(field: &mut Reader<'a>, read: fn(&mut Reader<'a>) -> Read<T>) -> Read<Vec<T>> {
    let mut values = Vec::new();
    while field.left() > 0 {
        values.push(read(field)?);
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{NOTES_BYTES_MAX, OnNoNodes, ROWS_MAX, SHARDS_MAX};
    use crate::model::{CLASS_WEIGHTS_MAX, INDEX_COLUMNS_MAX};
    use crate::wire::{ErrorCode, limits};

    /// Bytes of a rows reference: rows u32, digest.
    const ROWS_REF_BYTES: usize = 36;
    const VALIDATION: u16 = 0x0022;
    const NOTES: u16 = 0xC001;

    #[test]
    fn the_fields_are_in_the_order_of_their_tags_and_none_is_semantic_and_skippable() {
        assert!(FIELDS.is_sorted_by(|field, next| field.tag < next.tag));
        assert!(FIELDS.iter().all(|field| field.tag & SKIPPABLE == 0 || field.tag & OPERATIONAL != 0));
    }

    fn training(change: f32) -> Training {
        let recipe = Recipe { stop_loss_change: Some(change), ..Recipe::CLASSIC };
        Training {
            arithmetic: 1,
            network: Network::new(2, &[], 2).unwrap(),
            recipe,
            seed: 1,
            class_weights: Vec::new(),
        }
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
        (whole.merge, whole.outer) = (Merge::Mean, Outer::AVERAGE);
        (whole.test, whole.patience, whole.target_accuracy) = (None, None, None);
        let bytes = encode(&whole);
        assert_eq!(decode(Reader::new("a job", &bytes)).unwrap_err().code(), ErrorCode::Specification);
        // Its last field is the validation data.
        let refused = decode(Reader::new("a job", &bytes[..bytes.len() - 6 - ROWS_REF_BYTES])).unwrap_err();
        assert_eq!(refused.why, Malformation::MissingField { tag: VALIDATION });
    }

    /// As large as a specification gets.
    fn largest(notes_bytes: usize) -> Specification {
        let rows = RowsRef { rows: ROWS_MAX, digest: Digest([1; 32]) };
        Specification {
            training: Training {
                network: Network::new(INDEX_COLUMNS_MAX as u32, &[3; 64], CLASS_WEIGHTS_MAX)
                    .and_then(|network| network.with_index_columns(&[[0, 1]; INDEX_COLUMNS_MAX]))
                    .unwrap(),
                class_weights: vec![0.5; CLASS_WEIGHTS_MAX as usize],
                ..training(0.5)
            },
            rounds: 7,
            round_steps: None,
            shards: vec![rows; SHARDS_MAX as usize],
            validation: rows,
            test: Some(rows),
            patience: Some(7),
            target_accuracy: Some(0.5),
            merge: Merge::Median,
            outer: Outer { clip: Some(0.5), ..Outer::AVERAGE },
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
        let notes = |bytes: &[u8]| [&NOTES.to_le_bytes(), &(bytes.len() as u32).to_le_bytes()[..], bytes].concat();
        let empty = [encode(&specification), notes(&[])].concat();
        let refused = decode(Reader::new("a specification", &empty)).unwrap_err();
        assert_eq!(refused.why, Malformation::DefaultWritten { tag: NOTES });
        let task = [encode_training(&specification.training), notes(b"new")].concat();
        assert_eq!(decode_training(Reader::new("a recipe", &task)), Ok(specification.training));
    }
}
