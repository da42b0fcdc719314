//! The table of the specification's fields: for each its tag, its name in protocol.md, how its value is written, what it is
//! where the field is left out, and where a draft keeps it. Owns the tags; does not know how fields stand one behind the
//! other, or what values make sense together.
//!
//! A new field of the recipe is one row here, and its member in [`Recipe`](crate::model::Recipe).

use super::draft::Draft;
use crate::digest::Digest;
use crate::job::{OnNoNodes, OnTaskFailure, ROUNDS_MAX, RowsRef, STEPS_MAX, TASKS_PER_STEP_MAX};
use crate::model::network::{CLASSES_MAX, INPUTS_MAX};
use crate::model::outer::CLIP_MIN;
use crate::model::recipe::{
    BATCH_ROWS_MAX, DROPOUT_MAX, DROPOUT_MIN, EPOCHS_MAX, EPSILON_MIN, FADING_MAX, FADING_MIN, HUBER_DELTA_MAX,
    HUBER_DELTA_MIN, LABEL_SMOOTHING_MIN, LOCAL_STEPS_MAX, LOG_EPSILON_MIN, WEIGHT_DECAY_MIN,
};
use crate::model::{Activation, Initialisation, Loss, LossReduction, Merge, Optimiser, OuterOptimiser, Schedule};

/// A field without this bit is part of what the job computes, and hashed.
pub const OPERATIONAL: u16 = 0x4000;
/// A field with this bit may be skipped by who does not know it.
pub const SKIPPABLE: u16 = 0x8000;
/// The last tag of what a node needs to train: a task carries no field behind it.
pub const TRAINING_MAX: u16 = 0x001F;

/// A field: a row of the table.
pub struct Field {
    pub tag: u16,
    pub name: &'static str,
    pub value: Value,
}

/// How a value is written, and where a draft keeps it.
pub enum Value {
    /// One of some choices, which are numbered from 1.
    Choice(Number<u8>),
    U16(Number<u16>),
    U32(Number<u32>),
    U64(Number<u64>),
    F32(Number<f32>),
    F64(Number<f64>),
    /// Any number of u32; left out where there are none.
    U32s(List<u32>),
    /// The same of f32.
    F32s(List<f32>),
    /// The same of pairs of u32.
    Pairs(List<[u32; 2]>),
    /// Any number of references to rows.
    RowsRefs(List<RowsRef>),
    RowsRef(Item<RowsRef>),
    Digest(Item<Digest>),
    /// Left out where there are none. They are not copied before they are judged.
    Bytes {
        get: for<'d> fn(&'d Draft<'_>) -> &'d [u8],
        set: for<'a> fn(&mut Draft<'a>, &'a [u8]),
    },
}

/// What it means that a field is left out.
#[derive(Clone, Copy)]
pub enum Absent<T> {
    /// It may not be.
    Refused,
    /// The draft has nothing.
    Nothing,
    /// This, which is never written.
    Means(T),
}

/// A field of one number.
pub struct Number<T: 'static> {
    pub absent: Absent<T>,
    /// The least and the greatest that there can be: what fuzzers draw from. A value outside of them is well formed, and
    /// refused by the recipe, the network or the job; of a choice it is not.
    pub limits: (T, T),
    /// Whether 0 is a value beside those.
    pub or_zero: bool,
    pub get: fn(&Draft<'_>) -> Option<T>,
    pub set: fn(&mut Draft<'_>, T),
}

/// A field of one value that is no number.
pub struct Item<T: 'static> {
    pub is_required: bool,
    pub get: fn(&Draft<'_>) -> Option<T>,
    pub set: fn(&mut Draft<'_>, T),
}

/// A field of some values one behind the other.
pub struct List<T: 'static> {
    pub is_required: bool,
    pub get: for<'d> fn(&'d Draft<'_>) -> &'d [T],
    pub set: fn(&mut Draft<'_>, Vec<T>),
}

impl Field {
    /// The field of this tag, if there is one.
    pub fn of(tag: u16) -> Option<&'static Field> {
        FIELDS.iter().find(|field| field.tag == tag)
    }

    /// Whether it is refused where this field is not there.
    pub fn is_required(&self) -> bool {
        fn is_refused<T>(number: &Number<T>) -> bool {
            matches!(number.absent, Absent::Refused)
        }
        match &self.value {
            Value::Choice(number) => is_refused(number),
            Value::U16(number) => is_refused(number),
            Value::U32(number) => is_refused(number),
            Value::U64(number) => is_refused(number),
            Value::F32(number) => is_refused(number),
            Value::F64(number) => is_refused(number),
            Value::U32s(list) => list.is_required,
            Value::F32s(list) => list.is_required,
            Value::Pairs(list) => list.is_required,
            Value::RowsRefs(list) => list.is_required,
            Value::RowsRef(item) => item.is_required,
            Value::Digest(item) => item.is_required,
            Value::Bytes { .. } => false,
        }
    }

    /// Its type and its default, as protocol.md writes them.
    pub fn described(&self) -> (&'static str, String) {
        fn default<T: std::fmt::Debug>(number: &Number<T>) -> String {
            match &number.absent {
                Absent::Refused => "required".to_owned(),
                Absent::Nothing => "none".to_owned(),
                Absent::Means(value) => format!("{value:?}"),
            }
        }
        let (kind, default) = match &self.value {
            Value::Choice(number) => ("u8", default(number)),
            Value::U16(number) => ("u16", default(number)),
            Value::U32(number) => ("u32", default(number)),
            Value::U64(number) => ("u64", default(number)),
            Value::F32(number) => ("f32", default(number)),
            Value::F64(number) => ("f64", default(number)),
            Value::U32s(_) => ("u32 each", String::new()),
            Value::F32s(_) => ("f32 each", String::new()),
            Value::Pairs(_) => ("u32, u32 each", String::new()),
            Value::RowsRefs(_) => ("u32, digest each", String::new()),
            Value::RowsRef(_) => ("u32, digest", String::new()),
            Value::Digest(_) => ("digest", String::new()),
            Value::Bytes { .. } => ("bytes", String::new()),
        };
        let of_others = if self.is_required() { "required" } else { "none" };
        (kind, if default.is_empty() { of_others.to_owned() } else { default })
    }
}

impl<T: Copy> Number<T> {
    /// One that must be written.
    const fn required(limits: (T, T), at: Access<T>) -> Number<T> {
        Number { absent: Absent::Refused, limits, or_zero: false, get: at.get, set: at.set }
    }

    /// One that the draft need not have.
    const fn optional(limits: (T, T), at: Access<T>) -> Number<T> {
        Number { absent: Absent::Nothing, ..Number::required(limits, at) }
    }

    /// One that is this where it is left out.
    const fn or(default: T, limits: (T, T), at: Access<T>) -> Number<T> {
        Number { absent: Absent::Means(default), ..Number::required(limits, at) }
    }

    /// The same where 0 is a value beside those within the limits.
    const fn or_zero(self) -> Number<T> {
        Number { or_zero: true, ..self }
    }
}

/// How a number of a draft is read and written.
struct Access<T> {
    get: fn(&Draft<'_>) -> Option<T>,
    set: fn(&mut Draft<'_>, T),
}

/// Access to a number that a draft always has.
macro_rules! at {
    ($($path:tt)+) => {
        Access { get: |draft| Some(draft.$($path)+), set: |draft, value| draft.$($path)+ = value }
    };
}

/// Access to a number that a draft may have.
macro_rules! maybe_at {
    ($($path:tt)+) => {
        Access { get: |draft| draft.$($path)+, set: |draft, value| draft.$($path)+ = Some(value) }
    };
}

/// One of a type's choices; the first is the default.
macro_rules! choice {
    ($type:ident at $($path:tt)+) => {
        Value::Choice(Number::or(
            1,
            (1, $type::ALL.len() as u8),
            Access {
                get: |draft| Some(draft.$($path)+ as u8),
                set: |draft, number| draft.$($path)+ = chosen(&$type::ALL, number),
            },
        ))
    };
}

/// The choice of this number. No other is read.
fn chosen<T: Copy>(choices: &[T], number: u8) -> T {
    choices[usize::from(number).saturating_sub(1).min(choices.len() - 1)]
}

const fn field(tag: u16, name: &'static str, value: Value) -> Field {
    Field { tag, name, value }
}

/// The least number above 0.
const TINY: f32 = f32::from_bits(1);
/// The greatest number below 1.
const BELOW_ONE: f32 = 1.0f32.next_down();
/// What an optimiser's memory may fade by, unless it is 0.
const FADING: (f64, f64) = (FADING_MIN, FADING_MAX);
/// The same of a momentum.
const MOMENTUM: (f32, f32) = (FADING_MIN as f32, FADING_MAX as f32);

/// The fields in the order of their tags.
pub const FIELDS: &[Field] = &[
    field(0x0001, "arithmetic", Value::U16(Number::or(1, (0, u16::MAX), at!(arithmetic)))),
    field(0x0002, "inputs", Value::U32(Number::required((1, INPUTS_MAX), at!(inputs)))),
    field(
        0x0003,
        "hidden",
        Value::U32s(List {
            is_required: false,
            get: |draft| &draft.hidden,
            set: |draft, hidden| draft.hidden = hidden.into(),
        }),
    ),
    field(0x0004, "classes", Value::U32(Number::required((1, CLASSES_MAX), at!(classes)))),
    field(0x0005, "activation", choice!(Activation at recipe.activation)),
    field(0x0006, "optimiser", choice!(Optimiser at recipe.optimiser)),
    field(0x0007, "reduction", choice!(LossReduction at recipe.reduction)),
    field(0x0008, "initialisation", choice!(Initialisation at recipe.initialisation)),
    field(0x0009, "eta", Value::F32(Number::required((TINY, f32::MAX), at!(recipe.eta)))),
    field(0x000A, "eta_decay", Value::F32(Number::or(1.0, (TINY, 1.0), at!(recipe.eta_decay)))),
    field(0x000B, "batch", Value::U32(Number::optional((1, BATCH_ROWS_MAX), maybe_at!(batch)))),
    field(0x000C, "epochs", Value::U32(Number::or(1, (1, EPOCHS_MAX), at!(recipe.epochs)))),
    field(
        0x000D,
        "log_epsilon",
        Value::F32(Number::or(0.0, (LOG_EPSILON_MIN, BELOW_ONE), at!(recipe.log_epsilon)).or_zero()),
    ),
    field(
        0x000E,
        "stop_loss_change",
        Value::F32(Number::optional((TINY, f32::MAX), maybe_at!(recipe.stop_loss_change)).or_zero()),
    ),
    field(0x000F, "seed", Value::U64(Number::or(1, (0, u64::MAX), at!(seed)))),
    field(0x0010, "loss", choice!(Loss at recipe.loss)),
    field(0x0011, "momentum", Value::F32(Number::or(0.9, MOMENTUM, at!(recipe.momentum)).or_zero())),
    field(0x0012, "beta1", Value::F64(Number::or(0.9, FADING, at!(recipe.betas[0])).or_zero())),
    field(0x0013, "beta2", Value::F64(Number::or(0.999, FADING, at!(recipe.betas[1])).or_zero())),
    field(0x0014, "epsilon", Value::F32(Number::or(1e-8, (EPSILON_MIN, 1.0), at!(recipe.epsilon)))),
    field(
        0x0015,
        "weight_decay",
        Value::F32(Number::or(0.0, (WEIGHT_DECAY_MIN, BELOW_ONE), at!(recipe.weight_decay)).or_zero()),
    ),
    field(0x0016, "local_steps", Value::U32(Number::optional((1, LOCAL_STEPS_MAX), maybe_at!(recipe.local_steps)))),
    field(
        0x0017,
        "class_weights",
        Value::F32s(List {
            is_required: false,
            get: |draft| &draft.class_weights,
            set: |draft, weights| draft.class_weights = weights.into(),
        }),
    ),
    field(
        0x0018,
        "huber_delta",
        Value::F32(Number::or(1.0, (HUBER_DELTA_MIN, HUBER_DELTA_MAX), at!(recipe.huber_delta))),
    ),
    field(0x0019, "schedule", choice!(Schedule at recipe.schedule)),
    field(0x001A, "schedule_steps", Value::U32(Number::or(1, (1, STEPS_MAX as u32), at!(recipe.schedule_steps)))),
    field(0x001B, "warmup", Value::U32(Number::or(0, (1, STEPS_MAX as u32), at!(recipe.warmup)).or_zero())),
    field(
        0x001C,
        "label_smoothing",
        Value::F32(Number::or(0.0, (LABEL_SMOOTHING_MIN, BELOW_ONE), at!(recipe.label_smoothing)).or_zero()),
    ),
    field(0x001D, "dropout", Value::F32(Number::or(0.0, (DROPOUT_MIN, DROPOUT_MAX), at!(recipe.dropout)).or_zero())),
    field(
        0x001E,
        "index_columns",
        Value::Pairs(List {
            is_required: false,
            get: |draft| &draft.index_columns,
            set: |draft, columns| draft.index_columns = columns.into(),
        }),
    ),
    field(0x0020, "rounds", Value::U32(Number::or(1, (1, ROUNDS_MAX), at!(rounds)))),
    field(
        0x0021,
        "shards",
        Value::RowsRefs(List {
            is_required: true,
            get: |draft| &draft.shards,
            set: |draft, shards| draft.shards = shards.into(),
        }),
    ),
    field(
        0x0022,
        "validation",
        Value::RowsRef(Item {
            is_required: true,
            get: |draft| Some(draft.validation),
            set: |draft, validation| draft.validation = validation,
        }),
    ),
    field(
        0x0023,
        "initial",
        Value::Digest(Item {
            is_required: false,
            get: |draft| draft.initial,
            set: |draft, initial| draft.initial = Some(initial),
        }),
    ),
    field(0x0024, "merge", choice!(Merge at merge)),
    field(0x0025, "outer", choice!(OuterOptimiser at outer.optimiser)),
    field(0x0026, "outer_eta", Value::F32(Number::or(1.0, (TINY, f32::MAX), at!(outer.eta)))),
    field(0x0027, "outer_momentum", Value::F32(Number::or(0.9, MOMENTUM, at!(outer.momentum)).or_zero())),
    field(0x0028, "outer_beta1", Value::F64(Number::or(0.9, FADING, at!(outer.betas[0])).or_zero())),
    field(0x0029, "outer_beta2", Value::F64(Number::or(0.999, FADING, at!(outer.betas[1])).or_zero())),
    field(0x002A, "outer_epsilon", Value::F32(Number::or(1e-8, (EPSILON_MIN, 1.0), at!(outer.epsilon)))),
    field(
        0x002B,
        "outer_weight_decay",
        Value::F32(Number::or(0.0, (WEIGHT_DECAY_MIN, BELOW_ONE), at!(outer.weight_decay)).or_zero()),
    ),
    field(0x002C, "outer_schedule", choice!(Schedule at outer.schedule)),
    field(0x002D, "outer_clip", Value::F32(Number::optional((CLIP_MIN, f32::MAX), maybe_at!(outer.clip)))),
    field(0x002E, "round_steps", Value::U32(Number::optional((1, STEPS_MAX as u32), maybe_at!(round_steps)))),
    field(0x002F, "patience", Value::U32(Number::optional((1, ROUNDS_MAX), maybe_at!(patience)))),
    field(
        0x0030,
        "test",
        Value::RowsRef(Item {
            is_required: false,
            get: |draft| draft.test,
            set: |draft, test| draft.test = Some(test),
        }),
    ),
    field(
        0x0031,
        "target_accuracy",
        Value::F64(Number::optional((f64::from_bits(1), 1.0), maybe_at!(target_accuracy))),
    ),
    field(0x0032, "outer_eta_decay", Value::F32(Number::or(1.0, (TINY, 1.0), at!(outer.eta_decay)))),
    field(0x0033, "outer_warmup", Value::U32(Number::or(0, (1, STEPS_MAX as u32), at!(outer.warmup)).or_zero())),
    field(0x4001, "on_task_failure", choice!(OnTaskFailure at operation.on_task_failure)),
    field(
        0x4002,
        "allow_inexact",
        Value::Choice(Number::optional(
            (1, 1),
            Access {
                get: |draft| draft.operation.allow_inexact.then_some(1),
                set: |draft, _| draft.operation.allow_inexact = true,
            },
        )),
    ),
    field(0x4003, "on_no_nodes", choice!(OnNoNodes at operation.on_no_nodes)),
    field(
        0x4004,
        "tasks_per_step",
        Value::U32(Number::optional((1, TASKS_PER_STEP_MAX), maybe_at!(operation.tasks_per_step))),
    ),
    field(0xC001, "notes", Value::Bytes { get: |draft| draft.notes, set: |draft, notes| draft.notes = notes }),
];
