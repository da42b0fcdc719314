//! How a raw row becomes a network's inputs: every column of the file, its kind, and what was learned of it. Owns the schema and
//! its JSON, which goes into the model file; does not know how it was found.

use std::fmt;
use std::ops::Range;

use serde_json::{Value, json};

use super::cells::Field;
use super::date::{self, DateOrder};
use super::kinds::Kind;
use super::missing::MissingTokens;
use super::place::{Column, Quoted};
use super::refusal::Cause;
use super::transform::{Encoder, Numeric};
use super::value::{Notation, NumberForm, Ornament};
use crate::model::scaling::FeatureScale;
use crate::model::{INDEX_COLUMNS_MAX, InputLayout};

/// What `format` says.
const FORMAT: &str = "gradwire schema 1";

/// What becomes of a column.
#[derive(Clone, Debug, PartialEq)]
pub enum Becomes {
    /// Inputs.
    Inputs(Encoder),
    /// What the model tells.
    Label,
    /// Nothing, for this reason.
    Nothing(String),
}

/// A column of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct SchemaColumn {
    /// Its name; `column 1` where the file gives none.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
    /// What becomes of it.
    pub becomes: Becomes,
}

/// Columns in the order of the file, at least one of which becomes inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    /// Which texts stand for no value.
    pub missing: MissingTokens,
    /// In the order of the file.
    pub columns: Vec<SchemaColumn>,
}

/// A field that cannot become inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowFault {
    /// The column.
    pub column: Column,
    /// Why.
    pub cause: Cause,
    /// What stands there.
    pub text: String,
    /// How the column's numbers or dates are written, where this looks like one that is written otherwise.
    written: Option<String>,
}

impl RowFault {
    /// What stands in a field of this number is nothing of its column's kind.
    pub(super) fn new(number: usize, column: &SchemaColumn, cause: Cause, text: String) -> RowFault {
        let has_digit = text.contains(|c: char| c.is_ascii_digit());
        let written = match (column.kind, cause) {
            (Kind::Number(NumberForm { notation, ornament: Some(ornament) }), Cause::NotANumber) if has_digit => {
                Some(format!("{} with {ornament}", notation.name()))
            }
            (Kind::Number(form), Cause::NotANumber) if has_digit && text.contains(['.', ',']) => {
                Some(form.notation.name().to_owned())
            }
            (Kind::Date { order, .. }, Cause::NotADate) if date::orders(&text) != 0 => Some(order.example().to_owned()),
            _ => None,
        };
        RowFault { column: Column { number, name: Some(column.name.clone()) }, cause, text, written }
    }
}

impl fmt::Display for RowFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = format!("{}: {}", self.column, Quoted(&self.text));
        if let Some(example) = &self.written {
            let what = if self.cause == Cause::NotADate { "date" } else { "number" };
            return write!(f, "{field} is no {what}: the model's are written like {example}");
        }
        let why = match self.cause {
            Cause::NotANumber => "is no number",
            Cause::NotADate => "is no date",
            Cause::NotABoolean => "is neither true nor false",
            Cause::Missing => "is no value, and this model takes none missing",
            Cause::NotUtf8 => {
                "is not UTF-8; if Windows wrote the file, iconv -f WINDOWS-1252 -t UTF-8 FILE > FILE.csv converts it"
            }
            Cause::NotFinite => "is no finite number, or too far from those that trained",
            _ => "cannot be used",
        };
        write!(f, "{field} {why}")
    }
}

impl std::error::Error for RowFault {}

impl Schema {
    /// Of a model whose file has none: columns of plain numbers, none of which may be missing, and then the labels.
    pub fn of_numbers(names: &[String], scales: &[FeatureScale], labels: &[String]) -> Schema {
        let column = |name: &String, becomes| {
            let kind = Kind::Number(NumberForm::default());
            SchemaColumn { name: name.clone(), kind, becomes }
        };
        let input = |scale| Becomes::Inputs(Encoder::Number(Numeric { scale, fill: None, is_marked: false }));
        let inputs = names.iter().zip(scales).map(|(name, scale)| column(name, input(*scale)));
        let labels = labels.iter().map(|name| column(name, Becomes::Label));
        Schema { missing: MissingTokens::default(), columns: inputs.chain(labels).collect() }
    }

    /// Inputs of a row.
    pub fn width(&self) -> usize {
        self.encoders().map(|(_, encoder)| encoder.width()).sum()
    }

    /// How the inputs are written: of each column those of which at most one is 1 as an index, as long as there may be one more.
    pub fn input_layout(&self) -> InputLayout {
        let (mut columns, mut before) = (Vec::new(), 0);
        for (_, encoder) in self.encoders() {
            let width = encoder.width();
            match encoder.indexed().filter(|_| columns.len() < INDEX_COLUMNS_MAX) {
                Some((first, count)) => {
                    columns.push([(before + first) as u32, count as u32]);
                    before = width - first - count;
                }
                None => before += width,
            }
        }
        let inputs = self.width() as u32;
        InputLayout::new(inputs, &columns).unwrap_or_else(|_| InputLayout::plain(inputs))
    }

    /// The names of the inputs.
    pub fn input_names(&self) -> Vec<String> {
        self.encoders().flat_map(|(column, encoder)| encoder.names(&column.name)).collect()
    }

    /// The columns that become inputs, by their names, and which inputs each becomes.
    pub fn inputs_by_column(&self) -> Vec<(String, Range<usize>)> {
        let mut start = 0;
        let column = |(column, encoder): (&SchemaColumn, &Encoder)| {
            let inputs = start..start + encoder.width();
            start = inputs.end;
            (column.name.clone(), inputs)
        };
        self.encoders().map(column).collect()
    }

    /// The scales of the inputs.
    pub fn scales(&self) -> Vec<FeatureScale> {
        self.encoders().flat_map(|(_, encoder)| encoder.scales()).collect()
    }

    fn encoders(&self) -> impl Iterator<Item = (&SchemaColumn, &Encoder)> {
        self.columns.iter().filter_map(|column| match &column.becomes {
            Becomes::Inputs(encoder) => Some((column, encoder)),
            _ => None,
        })
    }

    /// The inputs of a raw row, whose fields are in the order of the columns; those that become nothing may be absent.
    pub fn transform(&self, record: &[&str]) -> Result<Vec<f32>, RowFault> {
        let mut inputs = vec![0.0; self.width()];
        let mut start = 0;
        for (place, column) in self.columns.iter().enumerate() {
            let Becomes::Inputs(encoder) = &column.becomes else { continue };
            let text = record.get(place).copied().unwrap_or_default().trim();
            let fault = |cause| RowFault::new(place + 1, column, cause, text.to_owned());
            let field = Field::of_text(text, column.kind, &self.missing).map_err(fault)?;
            let places = &mut inputs[start..start + encoder.width()];
            if !encoder.encode(field, places) {
                return Err(fault(Cause::Missing));
            }
            if places.iter().any(|input| !input.is_finite()) {
                return Err(fault(Cause::NotFinite));
            }
            start += encoder.width();
        }
        Ok(inputs)
    }

    /// The schema as JSON, from which any program computes the same inputs: docs/model-file.md.
    pub fn to_json(&self) -> Value {
        let column = |column: &SchemaColumn| {
            let mut value = match &column.becomes {
                Becomes::Inputs(encoder) => encoder.to_json(),
                Becomes::Label => json!({"becomes": "label"}),
                Becomes::Nothing(why) => json!({"becomes": "nothing", "why": why}),
            };
            value["name"] = json!(column.name);
            value["kind"] = json!(column.kind.name());
            match column.kind {
                Kind::Number(NumberForm { notation, ornament }) => {
                    if notation != Notation::default() {
                        value["written"] = json!(notation.name());
                    }
                    if let Some(ornament) = ornament {
                        value["ornament"] = json!(ornament.to_string());
                    }
                }
                Kind::Date { order, .. } => value["order"] = json!(order.name()),
                _ => {}
            }
            value
        };
        json!({
            "format": FORMAT,
            "missing": self.missing.to_string(),
            "columns": self.columns.iter().map(column).collect::<Vec<_>>(),
        })
    }

    /// What [`Schema::to_json`] has written; none of anything else.
    pub fn from_json(value: &Value) -> Option<Schema> {
        if value.get("format")?.as_str()? != FORMAT {
            return None;
        }
        let column = |value: &Value| {
            let becomes = match value.get("becomes")?.as_str()? {
                "label" => Becomes::Label,
                "nothing" => Becomes::Nothing(value.get("why")?.as_str()?.to_owned()),
                _ => Becomes::Inputs(Encoder::from_json(value)?),
            };
            let kind = kind_from_json(value)?;
            let fits = match (&becomes, kind) {
                (Becomes::Inputs(Encoder::Date { hour, .. }), Kind::Date { has_time, .. }) => {
                    hour.is_some() == has_time
                }
                (Becomes::Inputs(Encoder::Date { .. }), _) | (Becomes::Inputs(_), Kind::Date { .. }) => false,
                (Becomes::Inputs(encoder), Kind::Category | Kind::Identifier | Kind::Unusable) => {
                    matches!(encoder, Encoder::Categories(_))
                }
                (Becomes::Inputs(encoder), _) => matches!(encoder, Encoder::Number(_)),
                (Becomes::Label | Becomes::Nothing(_), _) => true,
            };
            fits.then_some(SchemaColumn { name: value.get("name")?.as_str()?.to_owned(), kind, becomes })
        };
        let columns = value.get("columns")?.as_array()?.iter().map(column).collect::<Option<Vec<_>>>()?;
        Some(Schema { missing: value.get("missing")?.as_str()?.parse().ok()?, columns })
    }
}

fn kind_from_json(value: &Value) -> Option<Kind> {
    let text = |key: &str| value.get(key)?.as_str();
    let date = |has_time| Some(Kind::Date { order: DateOrder::named(text("order")?)?, has_time });
    match text("kind")? {
        "number" => {
            let ornament = match text("ornament") {
                None => None,
                Some(name) => Some(Ornament::named(name)?),
            };
            let notation = match text("written") {
                None => Notation::default(),
                Some(name) => Notation::named(name)?,
            };
            Some(Kind::Number(NumberForm { notation, ornament }))
        }
        "category" => Some(Kind::Category),
        "boolean" => Some(Kind::Boolean),
        "date" => date(false),
        "time" => date(true),
        "row number" => Some(Kind::RowNumber),
        "identifier" => Some(Kind::Identifier),
        "constant" => Some(Kind::Constant),
        "unusable" => Some(Kind::Unusable),
        _ => None,
    }
}
