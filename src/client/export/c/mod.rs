//! A model as a header in C that has everything: names, transform, weights, forward pass. Owns how values and texts are written
//! in C; what is computed with them is `forward.h`, which is copied as it is.
//!
//! The text is C99 and C++11, allocates nothing, and computes what docs/arithmetic.md defines: the outputs have the bits that
//! the model has everywhere. Names are nowhere but in literals, of printable ASCII.

mod literals;

use std::fmt;
use std::io::{self, Write};

use super::super::applied::Applied;
use super::columns::{InputColumn, input_columns, place_of_missing, place_of_unknown};
use super::columns::{NOWHERE, REFUSED};
use crate::dataset::{Encoder, Numeric};
use crate::model::Activation;
use crate::model::scaling::{FeatureScale, Target};
use literals::Literals;

/// What is the same in every model.
const FORWARD: &str = include_str!("forward.h");
/// Numbers on a line.
const NUMBERS_OF_A_LINE: usize = 8;

const INCLUDES: &str = "\
#ifndef GRADWIRE_MODEL_H
#define GRADWIRE_MODEL_H

#include <float.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

#ifdef __FAST_MATH__
#error \"-ffast-math changes what the model tells: compile without it\"
#endif
";

/// Kinds of values, and what a column is.
const COLUMN: &str = "
#define GRADWIRE_NUMBER 0   /* NAN where it is missing; 1 and 0 stand for yes and no */
#define GRADWIRE_CATEGORY 1 /* what gradwire_category makes of a text */
#define GRADWIRE_DATE 2     /* seconds since 1970-01-01 00:00 UTC; NAN where they are missing */
#define GRADWIRE_TIME 3     /* the same, and in the next value the seconds by which its clock is ahead of UTC */
#define GRADWIRE_REFUSED -2

/* A column of the data, what its value becomes, and where a row has that value. */
typedef struct gradwire_column {
  const char *name;
  int kind, value, inputs, marked, clipped, unknown, missing;
  double fill, mean, inverse_deviation, hour_mean, hour_inverse_deviation;
  int levels_count;
  const char *const *levels;
} gradwire_column;
";

/// Why a model has no form in C.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotInC {
    /// A text holds NUL, at which texts end in C.
    Nul {
        /// What it is of.
        what: &'static str,
        /// The text.
        text: String,
    },
}

impl fmt::Display for NotInC {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NotInC::Nul { what, text } = self;
        let shown: String = text.chars().take(40).collect();
        write!(f, "the {what} {shown:?} holds NUL, where a text ends in C; train without it, or take another format")
    }
}

/// That it has one.
pub(super) fn check(applied: &Applied) -> Result<(), NotInC> {
    let columns = input_columns(&applied.schema);
    let told: Vec<&str> = match &applied.model.target {
        Target::Classes(names) => names.iter().map(String::as_str).collect(),
        Target::Values(scales) => scales.iter().map(|scale| scale.name()).collect(),
    };
    let names = columns.iter().map(|column| ("column", column.name));
    let levels = columns.iter().flat_map(|column| match column.encoder {
        Encoder::Categories(categories) => &categories.levels[..],
        _ => &[],
    });
    let missing = applied.schema.missing.spellings();
    let texts = names
        .chain(levels.map(|level| ("category", level.as_str())))
        .chain(told.into_iter().map(|name| ("class or target", name)))
        .chain(missing.iter().map(|text| ("missing value", text.as_str())));
    match { texts }.find(|(_, text)| text.contains('\0')) {
        Some((what, text)) => Err(NotInC::Nul { what, text: text.to_owned() }),
        None => Ok(()),
    }
}

/// Writes it; of a model that has such a form.
pub(super) fn write(applied: &Applied, out: &mut dyn Write) -> io::Result<()> {
    let model = &applied.model;
    let columns = input_columns(&applied.schema);
    let widths: Vec<usize> =
        [applied.schema.width()].into_iter().chain(model.network.layers().map(|layer| layer.outputs)).collect();
    let widest = widths[..widths.len() - 1].iter().max().copied().unwrap_or(1);
    let values: usize = columns.iter().map(values_of).sum();
    writeln!(
        out,
        "/* A model trained by gradwire, in C99 and C++11: docs/export.md of gradwire says how to use it.\n   \
         network     {}, {}\n   fingerprint {}\n   The outputs have gradwire's bits where this is compiled with -ffp-contract=off. \
         A call takes\n   {} bytes of stack for values of layers. */",
        model.network,
        model.activation,
        model.fingerprint,
        2 * size_of::<f32>() * widest
    )?;
    write!(out, "{INCLUDES}")?;
    let is_category = |column: &InputColumn<'_>| matches!(column.encoder, Encoder::Categories(_));
    let has_categories = columns.iter().any(is_category);
    let classes = match &model.target {
        Target::Classes(names) => names.len(),
        Target::Values(_) => 0,
    };
    let activation = match model.activation {
        Activation::Relu => "((sum) < 9.094947e-13f ? 0.0f : (sum))",
        Activation::Tanh => "gradwire_cut(gradwire_tanh(gradwire_cut(sum)))",
        Activation::Identity | Activation::MaskedIdentity => "gradwire_cut(sum)",
    };
    writeln!(
        out,
        "\n#define GRADWIRE_VALUES {values}\n#define GRADWIRE_COLUMNS {}\n#define GRADWIRE_CATEGORIES {}\n\
         #define GRADWIRE_WIDEST {widest}\n#define GRADWIRE_LAYERS {}\n#define GRADWIRE_OUTPUTS {}\n#define GRADWIRE_CLASSES {}\n\
         #define GRADWIRE_ACTIVATION(sum) {activation}",
        columns.len(),
        u8::from(has_categories),
        widths.len() - 1,
        model.network.outputs(),
        u8::from(classes > 0),
    )?;
    write!(out, "{COLUMN}")?;

    let mut literals = Literals::default();
    if has_categories {
        let missing = applied.schema.missing.spellings();
        writeln!(out, "\n#define GRADWIRE_MISSING {}", missing.len())?;
        literals.table("gradwire_missing", missing.iter().map(String::as_str), out)?;
    }
    write_columns(&columns, &mut literals, out)?;
    match &model.target {
        Target::Classes(names) => literals.table("gradwire_classes", names.iter().map(String::as_str), out)?,
        Target::Values(scales) => {
            let names: Vec<String> =
                scales.iter().map(|scale| literals.of(scale.name(), out)).collect::<io::Result<_>>()?;
            writeln!(
                out,
                "\nstatic const struct {{ const char *name; double mean, deviation; }} gradwire_targets[] = {{"
            )?;
            for (name, scale) in names.iter().zip(scales) {
                writeln!(out, "  {{{name}, {:?}, {:?}}},", scale.mean(), scale.deviation())?;
            }
            writeln!(out, "}};")?;
        }
    }
    let widths: Vec<String> = widths.iter().map(usize::to_string).collect();
    writeln!(out, "\nstatic const int gradwire_widths[] = {{{}}};", widths.join(", "))?;
    writeln!(out, "\n/* Of each layer the weights, those of an input one behind the other, and then the biases. */")?;
    writeln!(out, "static const float gradwire_parameters[] = {{")?;
    for line in model.parameters.chunks(NUMBERS_OF_A_LINE) {
        // The shortest digits that are nearest to no other float.
        let numbers: Vec<String> = line.iter().map(|number| format!("{number:?}f")).collect();
        writeln!(out, "  {},", numbers.join(", "))?;
    }
    writeln!(out, "}};\n")?;
    out.write_all(FORWARD.as_bytes())
}

/// Values of a row that a column has.
fn values_of(column: &InputColumn<'_>) -> usize {
    1 + usize::from(matches!(column.encoder, Encoder::Date { hour: Some(_), .. }))
}

fn write_columns(columns: &[InputColumn<'_>], literals: &mut Literals, out: &mut dyn Write) -> io::Result<()> {
    let mut rows = Vec::new();
    let mut value = 0;
    for (place, column) in columns.iter().enumerate() {
        let name = literals.of(column.name, out)?;
        let inputs = column.encoder.width();
        let numeric = |kind: &str, Numeric { scale, fill, is_marked }: &Numeric, hour: &FeatureScale| {
            let clipped = u8::from(scale.is_clipped());
            let (marked, missing) = (u8::from(*is_marked), if fill.is_some() { NOWHERE } else { REFUSED });
            let (mean, inverse, fill) = (scale.mean(), scale.inverse_deviation(), fill.unwrap_or(0.0));
            let (hour_mean, hour_inverse) = (hour.mean(), hour.inverse_deviation());
            format!(
                "{{{name}, {kind}, {value}, {inputs}, {marked}, {clipped}, -1, {missing}, {fill:?}, {mean:?}, {inverse:?}, \
                 {hour_mean:?}, {hour_inverse:?}, 0, 0}}"
            )
        };
        rows.push(match column.encoder {
            Encoder::Number(number) => numeric("GRADWIRE_NUMBER", number, &FeatureScale::IDENTITY),
            Encoder::Date { seconds, hour: None } => numeric("GRADWIRE_DATE", seconds, &FeatureScale::IDENTITY),
            Encoder::Date { seconds, hour: Some(hour) } => numeric("GRADWIRE_TIME", seconds, hour),
            Encoder::Categories(categories) => {
                let (unknown, missing) = (place_of_unknown(categories), place_of_missing(categories));
                let count = categories.levels.len();
                let levels = if count > 0 { format!("gradwire_levels_{place}") } else { "0".to_owned() };
                if count > 0 {
                    literals.table(&levels, categories.levels.iter().map(String::as_str), out)?;
                }
                format!(
                    "{{{name}, GRADWIRE_CATEGORY, {value}, {inputs}, 0, 0, {unknown}, {missing}, 0.0, 0.0, 1.0, 0.0, 1.0, \
                     {count}, {levels}}}"
                )
            }
        });
        value += values_of(column);
    }
    writeln!(out, "\nstatic const gradwire_column gradwire_columns[] = {{")?;
    for row in rows {
        writeln!(out, "  {row},")?;
    }
    writeln!(out, "}};")
}
