//! What the training rows teach of a column, and how a value becomes inputs by it: scales, what stands for a missing value,
//! categories. Owns the arithmetic of one column; does not know rows or files.
//!
//! docs/model-file.md says the same for other programs, and docs/arithmetic.md, section 17, to the last rounding.

use std::collections::HashMap;
use std::str::FromStr;

use serde_json::{Value, json};

use super::cells::{Cells, Column, Field};
use super::date::Moment;
use super::error::Fault;
use super::kinds::Kind;
use super::options::{Impute, Task};
use crate::model::scaling::FeatureScale;

/// How features become the network's inputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scaling {
    /// Robustly, but to mean 0 and standard deviation 1 where many rows train and classes are told apart (docs/data.md, section 4).
    #[default]
    Usual,
    /// To mean 0 and standard deviation 1 over the training rows, each feature by itself.
    Standardise,
    /// By median and quartiles of the training rows, each feature by itself; what lies far off is clipped, smoothly.
    Robust,
    /// As they are.
    None,
}

/// Training rows from which on features are not usually scaled robustly where classes are told apart.
const STANDARDISED_ROWS_MIN: usize = 5_000;

impl Scaling {
    /// What it is of so many training rows: never usual.
    pub(super) fn of_rows(self, rows: usize, task: Task) -> Scaling {
        match (self, task) {
            (Scaling::Usual, Task::Classify) if rows >= STANDARDISED_ROWS_MIN => Scaling::Standardise,
            (Scaling::Usual, _) => Scaling::Robust,
            (asked, _) => asked,
        }
    }

    /// The scale of these values, those of the training rows.
    fn scale(self, values: impl Iterator<Item = f64> + Clone) -> FeatureScale {
        match self {
            Scaling::Usual | Scaling::Standardise => FeatureScale::standardising(values),
            Scaling::Robust => FeatureScale::robust(values),
            Scaling::None => FeatureScale::IDENTITY,
        }
    }
}

impl FromStr for Scaling {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Scaling, &'static str> {
        match text {
            "standard" => Ok(Scaling::Standardise),
            "robust" => Ok(Scaling::Robust),
            "none" => Ok(Scaling::None),
            _ => Err("numbers are scaled by one of standard, robust, none"),
        }
    }
}

/// How a column is to be learned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Learning {
    pub(super) scaling: Scaling,
    pub(super) impute: Impute,
    /// Training rows of a category that is not rare.
    pub(super) rare: u64,
}

/// The rows that train.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trained<'a> {
    /// Of each value of a column, whether its row does.
    pub(super) are: &'a [bool],
    /// How many do.
    pub(super) count: usize,
}

impl Trained<'_> {
    /// The numbers of a column whose rows train, in their order, in the place of what was there.
    fn numbers(&self, column: &Column, into: &mut Vec<f64>) -> Result<(), Fault> {
        // Each is put down before it is known whether it counts, so that there is nothing to guess.
        into.resize(self.count + 1, 0.0);
        let mut read = Cells::default();
        let (mut are, mut count) = (self.are, 0);
        for piece in 0..column.pieces() {
            let cells = column.piece(piece, &mut read)?;
            let (now, later) = are.split_at(cells.len().min(are.len()));
            are = later;
            if let Some(values) = cells.doubles() {
                for (value, trains) in values.iter().zip(now) {
                    into[count] = *value;
                    count += usize::from(*trains & !value.is_nan());
                }
            } else {
                for place in (0..now.len()).filter(|&place| now[place]) {
                    if let Some(number) = cells.number(place) {
                        into[count] = number;
                        count += 1;
                    }
                }
            }
        }
        into.truncate(count);
        Ok(())
    }

    /// Gives the values of a column whose rows train to a function, in their order, by their piece and place.
    fn each(&self, column: &Column, mut with: impl FnMut(&Cells, usize)) -> Result<(), Fault> {
        let mut read = Cells::default();
        let mut are = self.are;
        for piece in 0..column.pieces() {
            let cells = column.piece(piece, &mut read)?;
            let (now, later) = are.split_at(cells.len().min(are.len()));
            are = later;
            now.iter().enumerate().filter(|(_, trains)| **trains).for_each(|(place, _)| with(cells, place));
        }
        Ok(())
    }
}

/// Training rows from which on a category is not rare, where nothing is asked for: two, or ten of a thousand rows.
pub(super) fn usual_rare(rows: usize) -> u64 {
    if rows < 1_000 { 2 } else { 10 }
}

const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// How the values of a column become inputs.
#[derive(Clone, Debug, PartialEq)]
pub enum Encoder {
    /// One input, and a second where a missing value is marked.
    Number(Numeric),
    /// An input for each category, 0 or 1.
    Categories(Categories),
    /// The seconds as a number, an input for each weekday, and the hour.
    Date {
        /// The seconds.
        seconds: Numeric,
        /// The hour, where there is a time of day.
        hour: Option<FeatureScale>,
    },
}

/// A number as an input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Numeric {
    /// Its scale.
    pub scale: FeatureScale,
    /// What stands for a missing value; none where such are refused.
    pub fill: Option<f64>,
    /// Whether an input says that it was missing.
    pub is_marked: bool,
}

/// What a missing category becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingCategory {
    /// An input of its own, after the others.
    Own,
    /// The category at this place.
    As(usize),
    /// The same as an unknown one.
    Unknown,
    /// Nothing: it is refused.
    Refused,
}

/// Categories as inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Categories {
    /// Those that have an input, in the order of their bytes.
    pub levels: Vec<String>,
    /// Whether the rare and the unknown ones have an input, after the levels.
    pub has_rare: bool,
    /// What a missing one becomes.
    pub missing: MissingCategory,
}

impl Encoder {
    /// Learns a column of this kind from the training rows; `present` is room for its numbers.
    pub(super) fn learn(
        column: &Column,
        kind: Kind,
        trained: Trained<'_>,
        asked: &Learning,
        present: &mut Vec<f64>,
    ) -> Result<Encoder, Fault> {
        let mut numeric = || {
            trained.numbers(column, present)?;
            let values = present.iter().copied();
            let scale = match (asked.scaling, kind) {
                (Scaling::None, _) => FeatureScale::IDENTITY,
                (_, Kind::Constant) => FeatureScale::constant(values.clone().next().unwrap_or(0.0)),
                (scaling, _) => scaling.scale(values.clone()),
            };
            let missing = trained.count - present.len();
            Ok(Numeric { scale, fill: fill(present, asked.impute), is_marked: 100 * missing > trained.count })
        };
        Ok(match kind {
            Kind::Category | Kind::Identifier | Kind::Unusable => {
                Encoder::Categories(Categories::learn(column, trained, asked)?)
            }
            Kind::Date { has_time, .. } => {
                let scale = || {
                    let mut hours = Vec::new();
                    let hour = |moment: Moment| f64::from(moment.hour);
                    trained.each(column, |cells, place| hours.extend(cells.moment(place).map(hour)))?;
                    Ok(asked.scaling.scale(hours.iter().copied()))
                };
                let hour = if has_time { Some(scale()?) } else { None };
                Encoder::Date { seconds: numeric()?, hour }
            }
            Kind::Number(_) | Kind::Boolean | Kind::Constant | Kind::RowNumber => Encoder::Number(numeric()?),
        })
    }

    /// Inputs that a value becomes.
    pub fn width(&self) -> usize {
        match self {
            Encoder::Number(numeric) => 1 + usize::from(numeric.is_marked),
            Encoder::Categories(categories) => {
                let own = usize::from(categories.missing == MissingCategory::Own);
                categories.levels.len() + usize::from(categories.has_rare) + own
            }
            Encoder::Date { seconds, hour } => 8 + usize::from(hour.is_some()) + usize::from(seconds.is_marked),
        }
    }

    /// The first and the number of those inputs of which at most one is 1 and the others are 0, where some are.
    pub(super) fn indexed(&self) -> Option<(usize, usize)> {
        match self {
            Encoder::Number(_) => None,
            Encoder::Categories(_) => Some((0, self.width())).filter(|(_, count)| *count > 0),
            Encoder::Date { .. } => Some((1, WEEKDAYS.len())),
        }
    }

    /// Puts the inputs that a value becomes into as many places; not where it is missing and such are refused.
    pub(super) fn encode(&self, field: Field<'_>, inputs: &mut [f32]) -> bool {
        inputs.fill(0.0);
        match self {
            Encoder::Number(numeric) => {
                let number = if let Field::Number(number) = field { Some(number) } else { None };
                numeric.encode(number, inputs)
            }
            Encoder::Categories(categories) => categories.encode(field, inputs),
            Encoder::Date { seconds, hour } => {
                let moment = if let Field::Moment(moment) = field { Some(moment) } else { None };
                let hours = usize::from(hour.is_some());
                let (first, rest) = inputs.split_at_mut(1);
                let (week, rest) = rest.split_at_mut(7);
                let (clock, mark) = rest.split_at_mut(hours);
                if let Some(Moment { weekday, hour: of_day, .. }) = moment {
                    week[usize::from(weekday)] = 1.0;
                    if let (Some(scale), [clock]) = (hour, clock) {
                        *clock = scale.apply(f64::from(of_day));
                    }
                }
                let mut pair = [0.0; 2];
                let pair = &mut pair[..1 + mark.len()];
                let is_encoded = seconds.encode(moment.map(|moment| moment.seconds), pair);
                first[0] = pair[0];
                if let ([mark], [_, marked]) = (mark, &*pair) {
                    *mark = *marked;
                }
                is_encoded
            }
        }
    }

    /// The names of the inputs of a column of this name.
    pub fn names(&self, column: &str) -> Vec<String> {
        let mark = |is_marked: bool| is_marked.then(|| format!("{column} missing"));
        match self {
            Encoder::Number(numeric) => [column.to_owned()].into_iter().chain(mark(numeric.is_marked)).collect(),
            Encoder::Categories(categories) => {
                let levels = categories.levels.iter().map(|level| format!("{column}={level}"));
                let rare = categories.has_rare.then(|| format!("{column} rare"));
                levels.chain(rare).chain(mark(categories.missing == MissingCategory::Own)).collect()
            }
            Encoder::Date { seconds, hour } => {
                let week = WEEKDAYS.iter().map(|day| format!("{column}={day}"));
                let hour = hour.map(|_| format!("{column} hour"));
                [column.to_owned()].into_iter().chain(week).chain(hour).chain(mark(seconds.is_marked)).collect()
            }
        }
    }

    /// The scales of the inputs; those that are 0 or 1 have none.
    pub fn scales(&self) -> Vec<FeatureScale> {
        let mut scales = vec![FeatureScale::IDENTITY; self.width()];
        match self {
            Encoder::Number(numeric) => scales[0] = numeric.scale,
            Encoder::Categories(_) => {}
            Encoder::Date { seconds, hour } => {
                scales[0] = seconds.scale;
                if let Some(hour) = hour {
                    scales[8] = *hour;
                }
            }
        }
        scales
    }

    /// What becomes of the column, in a few words.
    pub fn in_words(&self) -> String {
        let marked = |numeric: &Numeric| if numeric.is_marked { " and whether it is missing" } else { "" };
        let scaled = |numeric: &Numeric| match numeric.scale {
            scale if scale.is_clipped() => " by quartiles",
            scale if scale == FeatureScale::IDENTITY => " as it is",
            _ => " by deviation",
        };
        match self {
            Encoder::Number(numeric) if numeric.scale.inverse_deviation() == f64::MIN_POSITIVE => {
                "an input that is 0".to_owned()
            }
            Encoder::Number(numeric) => format!("a number{}{}", scaled(numeric), marked(numeric)),
            Encoder::Categories(categories) => {
                let mut words = match self.width() {
                    1 => "an input of 0 and 1".to_owned(),
                    width => format!("{width} inputs of 0 and 1"),
                };
                if categories.has_rare {
                    words.push_str(", one for the rare");
                }
                if categories.missing == MissingCategory::Own {
                    words.push_str(", one for the missing");
                }
                words
            }
            Encoder::Date { seconds, hour } => {
                let hour = if hour.is_some() { ", hour" } else { "" };
                format!("seconds{}, weekday{hour}{}", scaled(seconds), marked(seconds))
            }
        }
    }

    /// As JSON, without the column's name and kind.
    pub(super) fn to_json(&self) -> Value {
        match self {
            Encoder::Number(numeric) => numeric.to_json("number"),
            Encoder::Categories(Categories { levels, has_rare, missing }) => {
                let missing = match missing {
                    MissingCategory::Own => json!("own"),
                    MissingCategory::As(place) => json!(place),
                    MissingCategory::Unknown => json!("unknown"),
                    MissingCategory::Refused => json!("refused"),
                };
                json!({"becomes": "categories", "levels": levels, "rare": has_rare, "missing": missing})
            }
            Encoder::Date { seconds, hour } => {
                let mut value = seconds.to_json("date");
                if let Some(hour) = hour {
                    value["hour_mean"] = json!(hour.mean());
                    value["hour_inverse_deviation"] = json!(hour.inverse_deviation());
                }
                value
            }
        }
    }

    /// What [`Encoder::to_json`] has written.
    pub(super) fn from_json(value: &Value) -> Option<Encoder> {
        Some(match value.get("becomes")?.as_str()? {
            "number" => Encoder::Number(Numeric::from_json(value)?),
            "categories" => {
                let levels = value.get("levels")?.as_array()?;
                let levels = levels.iter().map(|level| Some(level.as_str()?.to_owned())).collect::<Option<Vec<_>>>()?;
                let missing = value.get("missing")?;
                let missing = match (missing.as_str(), missing.as_u64()) {
                    (Some("own"), _) => MissingCategory::Own,
                    (Some("unknown"), _) => MissingCategory::Unknown,
                    (Some("refused"), _) => MissingCategory::Refused,
                    (None, Some(place)) if (place as usize) < levels.len() => MissingCategory::As(place as usize),
                    _ => return None,
                };
                let is_sorted = levels.is_sorted_by(|a, b| a < b);
                let has_rare = value.get("rare")?.as_bool()?;
                is_sorted.then_some(Encoder::Categories(Categories { levels, has_rare, missing }))?
            }
            "date" => {
                let hour = match value.get("hour_mean") {
                    None => None,
                    Some(mean) => {
                        Some(FeatureScale::new(mean.as_f64()?, value.get("hour_inverse_deviation")?.as_f64()?)?)
                    }
                };
                let seconds = Numeric::from_json(value)?;
                let hour = hour.map(|hour| hour.clipped_if(seconds.scale.is_clipped()));
                Encoder::Date { seconds, hour }
            }
            _ => return None,
        })
    }
}

impl Numeric {
    /// Puts a number, none where it is missing, into its places; not where that is refused.
    #[inline]
    pub(super) fn encode(&self, number: Option<f64>, inputs: &mut [f32]) -> bool {
        let Some(value) = number.or(self.fill) else { return false };
        inputs[0] = self.scale.apply(value);
        if let [_, mark] = inputs {
            *mark = f32::from(u8::from(number.is_none()));
        }
        true
    }

    fn to_json(self, becomes: &str) -> Value {
        let (mean, inverse_deviation) = (self.scale.mean(), self.scale.inverse_deviation());
        let mut value =
            json!({"becomes": becomes, "mean": mean, "inverse_deviation": inverse_deviation, "fill": self.fill});
        if self.scale.is_clipped() {
            value["smooth_clip"] = json!(true);
        }
        if self.is_marked {
            value["missing_mark"] = json!(true);
        }
        value
    }

    fn from_json(value: &Value) -> Option<Numeric> {
        let number = |key: &str| value.get(key)?.as_f64();
        let fill = value.get("fill")?;
        let fill = if fill.is_null() { None } else { Some(fill.as_f64()?) };
        let is_true = |key: &str| value.get(key).is_some_and(|mark| mark == true);
        let scale = FeatureScale::new(number("mean")?, number("inverse_deviation")?)?;
        let scale = scale.clipped_if(is_true("smooth_clip"));
        Some(Numeric { scale, fill, is_marked: is_true("missing_mark") })
    }
}

impl Categories {
    fn learn(column: &Column, trained: Trained<'_>, asked: &Learning) -> Result<Categories, Fault> {
        let mut counted = vec![0u64; column.names().len()];
        let mut missing = 0u64;
        trained.each(column, |cells, place| match cells.code(place) {
            Some(code) => counted[code as usize] += 1,
            None => missing += 1,
        })?;
        let counts: HashMap<&str, u64> =
            column.names().iter().map(String::as_str).zip(counted).filter(|(_, count)| *count > 0).collect();
        let mut levels: Vec<String> =
            counts.iter().filter(|(_, count)| **count >= asked.rare).map(|(name, _)| (*name).to_owned()).collect();
        levels.sort_unstable();
        let has_rare = levels.len() < counts.len();
        // Of equally frequent ones the first by its bytes, for any order of the rows.
        let most = (0..levels.len()).rev().max_by_key(|&place| counts.get(&*levels[place]).copied());
        let missing = match (asked.impute, most) {
            (Impute::Refuse, _) => MissingCategory::Refused,
            (Impute::Most, Some(place)) => MissingCategory::As(place),
            _ if missing > 0 => MissingCategory::Own,
            _ => MissingCategory::Unknown,
        };
        Ok(Categories { levels, has_rare, missing })
    }

    fn encode(&self, field: Field<'_>, inputs: &mut [f32]) -> bool {
        if field == Field::Missing && self.missing == MissingCategory::Refused {
            return false;
        }
        if let Some(place) = self.place(field) {
            inputs[place] = 1.0;
        }
        true
    }

    /// The input that is 1; none where all are 0.
    pub(super) fn place(&self, field: Field<'_>) -> Option<usize> {
        let unknown = self.has_rare.then_some(self.levels.len());
        match (field, self.missing) {
            (Field::Name(name), _) => self.levels.binary_search_by(|level| level.as_str().cmp(name)).ok().or(unknown),
            (_, MissingCategory::Own) => Some(self.levels.len() + usize::from(self.has_rare)),
            (_, MissingCategory::As(place)) => Some(place),
            (_, MissingCategory::Unknown) => unknown,
            (_, MissingCategory::Refused) => None,
        }
    }
}

/// What stands for a missing number, of the training rows' numbers, which it may put in another order; 0 where there are none.
fn fill(present: &mut [f64], impute: Impute) -> Option<f64> {
    let count = present.len();
    match impute {
        Impute::Refuse => None,
        _ if count == 0 => Some(0.0),
        Impute::Mean => Some(FeatureScale::standardising(present.iter().copied()).mean()),
        Impute::Median => {
            // As whole numbers of the same order, which are compared in one go.
            let keys: &mut [i64] = bytemuck::cast_slice_mut(present);
            let swapped = |bits: i64| bits ^ ((bits >> 63) as u64 >> 1) as i64;
            keys.iter_mut().for_each(|key| *key = swapped(*key));
            let (below, &mut upper, _) = keys.select_nth_unstable(count / 2);
            let number = |key: i64| f64::from_bits(swapped(key) as u64);
            let (lower, upper) = (below.iter().copied().max().map(number), number(upper));
            Some(match lower {
                Some(lower) if count.is_multiple_of(2) => (lower + upper) / 2.0,
                _ => upper,
            })
        }
        Impute::Most => {
            present.sort_unstable_by(f64::total_cmp);
            let runs = present.chunk_by(|a, b| a == b);
            // The least of equally frequent ones: later runs must be longer.
            runs.fold(
                (0, None),
                |(most, value), run| if run.len() > most { (run.len(), Some(run[0])) } else { (most, value) },
            )
            .1
        }
    }
}
