//! The table of the specification's fields: for each its tag, its name in protocol.md, how its value is written, what it is
//! where the field is left out, and where a draft keeps it. Owns the tags; does not know how fields stand one behind the
//! other, or what values make sense together.
//!
//! A new field of the recipe is one row here, and its member in [`Recipe`](crate::model::Recipe).

use super::Draft;
use crate::digest::Digest;
use crate::job::{OnNoNodes, OnTaskFailure, ROUNDS_MAX, RowsRef};
use crate::model::network::{CLASSES_MAX, INPUTS_MAX};
use crate::model::recipe::{
    BATCH_ROWS_MAX, EPOCHS_MAX, EPSILON_MIN, FADING_MAX, FADING_MIN, LOG_EPSILON_MIN, WEIGHT_DECAY_MIN,
};
use crate::model::{Activation, Initialisation, Loss, LossReduction, Merge, Optimiser};

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
            Value::RowsRefs(_) => ("u32, digest each", String::new()),
            Value::RowsRef(_) => ("u32, digest", String::new()),
            Value::Digest(_) => ("digest", String::new()),
            Value::Bytes { .. } => ("bytes", String::new()),
        };
        let of_others = if self.is_required() { "required" } else { "none" };
        (kind, if default.is_empty() { of_others.to_owned() } else { default })
    }
}

/// One of so many choices; the first is the default.
const fn choice(choices: usize, get: fn(&Draft<'_>) -> Option<u8>, set: fn(&mut Draft<'_>, u8)) -> Value {
    Value::Choice(Number { absent: Absent::Means(1), limits: (1, choices as u8), or_zero: false, get, set })
}

/// The choice of this number. No other is read.
fn chosen<T: Copy>(choices: &[T], number: u8) -> T {
    choices[usize::from(number).saturating_sub(1).min(choices.len() - 1)]
}

const fn beta(get: fn(&Draft<'_>) -> Option<f64>, set: fn(&mut Draft<'_>, f64), default: f64) -> Value {
    let limits = (FADING_MIN, FADING_MAX);
    Value::F64(Number { absent: Absent::Means(default), limits, or_zero: true, get, set })
}

/// The least number above 0.
const TINY: f32 = f32::from_bits(1);
/// The greatest number below 1.
const BELOW_ONE: f32 = 1.0f32.next_down();

/// The fields in the order of their tags.
pub const FIELDS: &[Field] = &[
    Field {
        tag: 0x0001,
        name: "arithmetic",
        value: Value::U16(Number {
            absent: Absent::Means(1),
            limits: (0, u16::MAX),
            or_zero: false,
            get: |draft| Some(draft.arithmetic),
            set: |draft, arithmetic| draft.arithmetic = arithmetic,
        }),
    },
    Field {
        tag: 0x0002,
        name: "inputs",
        value: Value::U32(Number {
            absent: Absent::Refused,
            limits: (1, INPUTS_MAX),
            or_zero: false,
            get: |draft| Some(draft.inputs),
            set: |draft, inputs| draft.inputs = inputs,
        }),
    },
    Field {
        tag: 0x0003,
        name: "hidden",
        value: Value::U32s(List {
            is_required: false,
            get: |draft| &draft.hidden,
            set: |draft, hidden| draft.hidden = hidden.into(),
        }),
    },
    Field {
        tag: 0x0004,
        name: "classes",
        value: Value::U32(Number {
            absent: Absent::Refused,
            limits: (1, CLASSES_MAX),
            or_zero: false,
            get: |draft| Some(draft.classes),
            set: |draft, classes| draft.classes = classes,
        }),
    },
    Field {
        tag: 0x0005,
        name: "activation",
        value: choice(
            Activation::ALL.len(),
            |draft| Some(draft.recipe.activation as u8),
            |draft, number| draft.recipe.activation = chosen(&Activation::ALL, number),
        ),
    },
    Field {
        tag: 0x0006,
        name: "optimiser",
        value: choice(
            Optimiser::ALL.len(),
            |draft| Some(draft.recipe.optimiser as u8),
            |draft, number| draft.recipe.optimiser = chosen(&Optimiser::ALL, number),
        ),
    },
    Field {
        tag: 0x0007,
        name: "reduction",
        value: choice(
            LossReduction::ALL.len(),
            |draft| Some(draft.recipe.reduction as u8),
            |draft, number| draft.recipe.reduction = chosen(&LossReduction::ALL, number),
        ),
    },
    Field {
        tag: 0x0008,
        name: "initialisation",
        value: choice(
            Initialisation::ALL.len(),
            |draft| Some(draft.recipe.initialisation as u8),
            |draft, number| draft.recipe.initialisation = chosen(&Initialisation::ALL, number),
        ),
    },
    Field {
        tag: 0x0009,
        name: "eta",
        value: Value::F32(Number {
            absent: Absent::Refused,
            limits: (TINY, f32::MAX),
            or_zero: false,
            get: |draft| Some(draft.recipe.eta),
            set: |draft, eta| draft.recipe.eta = eta,
        }),
    },
    Field {
        tag: 0x000A,
        name: "eta_decay",
        value: Value::F32(Number {
            absent: Absent::Means(1.0),
            limits: (TINY, 1.0),
            or_zero: false,
            get: |draft| Some(draft.recipe.eta_decay),
            set: |draft, eta_decay| draft.recipe.eta_decay = eta_decay,
        }),
    },
    Field {
        tag: 0x000B,
        name: "batch",
        value: Value::U32(Number {
            absent: Absent::Nothing,
            limits: (1, BATCH_ROWS_MAX),
            or_zero: false,
            get: |draft| draft.batch,
            set: |draft, batch| draft.batch = Some(batch),
        }),
    },
    Field {
        tag: 0x000C,
        name: "epochs",
        value: Value::U32(Number {
            absent: Absent::Means(1),
            limits: (1, EPOCHS_MAX),
            or_zero: false,
            get: |draft| Some(draft.recipe.epochs),
            set: |draft, epochs| draft.recipe.epochs = epochs,
        }),
    },
    Field {
        tag: 0x000D,
        name: "log_epsilon",
        value: Value::F32(Number {
            absent: Absent::Means(0.0),
            limits: (LOG_EPSILON_MIN, BELOW_ONE),
            or_zero: true,
            get: |draft| Some(draft.recipe.log_epsilon),
            set: |draft, log_epsilon| draft.recipe.log_epsilon = log_epsilon,
        }),
    },
    Field {
        tag: 0x000E,
        name: "stop_loss_change",
        value: Value::F32(Number {
            absent: Absent::Nothing,
            limits: (TINY, f32::MAX),
            or_zero: true,
            get: |draft| draft.recipe.stop_loss_change,
            set: |draft, change| draft.recipe.stop_loss_change = Some(change),
        }),
    },
    Field {
        tag: 0x000F,
        name: "seed",
        value: Value::U64(Number {
            absent: Absent::Means(1),
            limits: (0, u64::MAX),
            or_zero: false,
            get: |draft| Some(draft.seed),
            set: |draft, seed| draft.seed = seed,
        }),
    },
    Field {
        tag: 0x0010,
        name: "loss",
        value: choice(
            Loss::ALL.len(),
            |draft| Some(draft.recipe.loss as u8),
            |draft, number| draft.recipe.loss = chosen(&Loss::ALL, number),
        ),
    },
    Field {
        tag: 0x0011,
        name: "momentum",
        value: Value::F32(Number {
            absent: Absent::Means(0.9),
            limits: (FADING_MIN as f32, FADING_MAX as f32),
            or_zero: true,
            get: |draft| Some(draft.recipe.momentum),
            set: |draft, momentum| draft.recipe.momentum = momentum,
        }),
    },
    Field {
        tag: 0x0012,
        name: "beta1",
        value: beta(|draft| Some(draft.recipe.betas[0]), |draft, beta| draft.recipe.betas[0] = beta, 0.9),
    },
    Field {
        tag: 0x0013,
        name: "beta2",
        value: beta(|draft| Some(draft.recipe.betas[1]), |draft, beta| draft.recipe.betas[1] = beta, 0.999),
    },
    Field {
        tag: 0x0014,
        name: "epsilon",
        value: Value::F32(Number {
            absent: Absent::Means(1e-8),
            limits: (EPSILON_MIN, 1.0),
            or_zero: false,
            get: |draft| Some(draft.recipe.epsilon),
            set: |draft, epsilon| draft.recipe.epsilon = epsilon,
        }),
    },
    Field {
        tag: 0x0015,
        name: "weight_decay",
        value: Value::F32(Number {
            absent: Absent::Means(0.0),
            limits: (WEIGHT_DECAY_MIN, BELOW_ONE),
            or_zero: true,
            get: |draft| Some(draft.recipe.weight_decay),
            set: |draft, decay| draft.recipe.weight_decay = decay,
        }),
    },
    Field {
        tag: 0x0020,
        name: "rounds",
        value: Value::U32(Number {
            absent: Absent::Means(1),
            limits: (1, ROUNDS_MAX),
            or_zero: false,
            get: |draft| Some(draft.rounds),
            set: |draft, rounds| draft.rounds = rounds,
        }),
    },
    Field {
        tag: 0x0021,
        name: "shards",
        value: Value::RowsRefs(List {
            is_required: true,
            get: |draft| &draft.shards,
            set: |draft, shards| draft.shards = shards.into(),
        }),
    },
    Field {
        tag: 0x0022,
        name: "validation",
        value: Value::RowsRef(Item {
            is_required: true,
            get: |draft| Some(draft.validation),
            set: |draft, validation| draft.validation = validation,
        }),
    },
    Field {
        tag: 0x0023,
        name: "initial",
        value: Value::Digest(Item {
            is_required: false,
            get: |draft| draft.initial,
            set: |draft, initial| draft.initial = Some(initial),
        }),
    },
    Field {
        tag: 0x0024,
        name: "merge",
        value: choice(
            Merge::ALL.len(),
            |draft| Some(draft.merge as u8),
            |draft, number| draft.merge = chosen(&Merge::ALL, number),
        ),
    },
    Field {
        tag: 0x4001,
        name: "on_task_failure",
        value: choice(
            OnTaskFailure::ALL.len(),
            |draft| Some(draft.operation.on_task_failure as u8),
            |draft, number| draft.operation.on_task_failure = chosen(&OnTaskFailure::ALL, number),
        ),
    },
    Field {
        tag: 0x4002,
        name: "allow_inexact",
        value: Value::Choice(Number {
            absent: Absent::Nothing,
            limits: (1, 1),
            or_zero: false,
            get: |draft| draft.operation.allow_inexact.then_some(1),
            set: |draft, _| draft.operation.allow_inexact = true,
        }),
    },
    Field {
        tag: 0x4003,
        name: "on_no_nodes",
        value: choice(
            OnNoNodes::ALL.len(),
            |draft| Some(draft.operation.on_no_nodes as u8),
            |draft, number| draft.operation.on_no_nodes = chosen(&OnNoNodes::ALL, number),
        ),
    },
    Field {
        tag: 0xC001,
        name: "notes",
        value: Value::Bytes { get: |draft| draft.notes, set: |draft, notes| draft.notes = notes },
    },
];
