//! How much a model rests on each column of a file: its figures are found again with the column's values dealt anew among the rows
//! (Breiman 2001), and what they lose by that is the column's importance. Owns which rows are kept for it, how they are dealt, and
//! what is told; does not know where rows come from.

use std::ops::Range;

use serde_json::{Value, json};

use super::applied::{Applied, batch_rows, scales};
use super::figures::four_decimals;
use super::score::significant;
use crate::model::evaluate::EvaluateError;
use crate::model::figures::{ClassCounts, ValueSums};
use crate::model::file::ModelFile;
use crate::model::random::{Purpose, Stream};
use crate::model::scaling::{Target, TargetScale};
use crate::model::{Activation, Evaluator, InputLayout, Inputs, Kernel, Network, Predictor};
use crate::wire::text::{Align, Table, counted, shown};

/// How often each column is dealt anew.
const REPEATS: u64 = 5;
/// Bytes of inputs and targets that are kept, at most: of more rows the first.
const KEPT_BYTES_MAX: usize = 1 << 30;

/// Multiplications of importances that nobody has asked for by themselves, at most: some seconds.
const WORK_MAX: u64 = 100_000_000_000;

/// A model whose inputs are dealt.
pub(super) struct Subject<'a> {
    pub(super) network: &'a Network,
    pub(super) activation: Activation,
    pub(super) parameters: &'a [f32],
    pub(super) target: &'a Target,
    /// The columns, and the inputs that each becomes.
    pub(super) columns: Vec<(String, Range<usize>)>,
}

impl<'a> Subject<'a> {
    /// A model in a file.
    pub(super) fn of(applied: &'a Applied) -> Subject<'a> {
        let ModelFile { network, activation, parameters, target, .. } = &applied.model;
        let columns = applied.schema.inputs_by_column();
        Subject { network, activation: *activation, parameters, target, columns }
    }

    /// Rows for which importances take no more than [`WORK_MAX`].
    pub(super) fn rows_affordable(&self) -> usize {
        let of_row = (self.columns.len() as u64 * REPEATS).saturating_mul(self.network.parameters() as u64);
        usize::try_from(WORK_MAX / of_row.max(1)).unwrap_or(usize::MAX)
    }
}

/// Rows whose inputs and targets are known.
pub(super) struct KeptRows {
    rows_max: usize,
    inputs: Vec<f32>,
    /// Of a model that tells classes apart.
    labels: Vec<u32>,
    /// `[rows, targets]`, of one that fits numbers.
    targets: Vec<f32>,
    rows: usize,
    /// Rows that came when there were too many already.
    left_out: u64,
}

impl KeptRows {
    /// None yet, and never more than so many.
    pub(super) fn new(rows_max: usize) -> KeptRows {
        KeptRows { rows_max, inputs: Vec::new(), labels: Vec::new(), targets: Vec::new(), rows: 0, left_out: 0 }
    }

    /// Takes so many rows in, as long as there is room.
    pub(super) fn take(&mut self, rows: usize, inputs: &[f32], labels: &[u32], targets: &[f32]) {
        let fitting = rows.min(self.rows_max - self.rows);
        if fitting < rows {
            let first = |values: usize| values / rows * fitting;
            let (inputs, labels) = (&inputs[..first(inputs.len())], &labels[..first(labels.len())]);
            if fitting > 0 {
                self.take(fitting, inputs, labels, &targets[..first(targets.len())]);
            }
            self.left_out += (rows - fitting) as u64;
            return;
        }
        let bytes = |length: usize| 4 * length;
        let kept = bytes(self.inputs.len() + self.labels.len() + self.targets.len());
        let more = bytes(inputs.len() + labels.len() + targets.len());
        if self.left_out > 0 || kept + more > KEPT_BYTES_MAX || self.rows + rows > u32::MAX as usize {
            self.left_out += rows as u64;
            return;
        }
        self.inputs.extend_from_slice(inputs);
        self.labels.extend_from_slice(labels);
        self.targets.extend_from_slice(targets);
        self.rows += rows;
    }
}

/// What a model loses where columns say nothing of their rows.
pub(super) struct Importance {
    seed: u64,
    rows: usize,
    left_out: u64,
    /// What scripts call the two figures, and the table what is lost of them.
    names: [(&'static str, &'static str); 2],
    /// Whether the first is in the target's unit.
    is_of_values: bool,
    /// Of every column that becomes inputs, the most important first.
    columns: Vec<OfColumn>,
}

struct OfColumn {
    name: String,
    /// Of each figure how much worse it is: the mean over the repetitions, and their standard deviation.
    losses: [(f64, f64); 2],
}

/// Two figures of a model: the first is worse if it is larger, the second if it is smaller.
type Pair = [f64; 2];

impl Importance {
    /// Of the columns of these rows, dealt by this seed.
    pub(super) fn of(subject: &Subject<'_>, kept: &KeptRows, seed: u64) -> Result<Importance, EvaluateError> {
        let mut judge = Judge::new(subject, kept);
        let known = judge.figures(None)?;
        let mut order: Vec<u32> = (0..kept.rows as u32).collect();
        let mut columns = Vec::new();
        for (number, (name, inputs)) in subject.columns.iter().enumerate() {
            let mut losses = Vec::new();
            for repeat in 0..REPEATS {
                // From the same order each time: what comes of a column does not depend on those before it.
                order.iter_mut().zip(0..).for_each(|(place, row)| *place = row);
                Stream::new(Purpose::Importance, seed, [number as u64, repeat, 0]).shuffle(&mut order);
                let [rising, falling] = judge.figures(Some((inputs, &order)))?;
                losses.push([rising - known[0], known[1] - falling]);
            }
            let of = |which: usize| mean_and_deviation(losses.iter().map(|loss| loss[which]));
            columns.push(OfColumn { name: name.clone(), losses: [of(0), of(1)] });
        }
        let is_of_values = matches!(subject.target, Target::Values(_));
        // Of equals the first column comes first.
        columns.sort_by(|a, b| b.losses[0].0.total_cmp(&a.losses[0].0));
        Ok(Importance { seed, rows: kept.rows, left_out: kept.left_out, names: judge.names(), is_of_values, columns })
    }

    /// A table, the most important column first.
    pub(super) fn in_words(&self) -> String {
        let right = Align::Right;
        let [(_, added), (_, lost)] = self.names;
        let titles = [("COLUMN", Align::Left), (added, right), ("\u{b1}", right), (lost, right), ("\u{b1}", right)];
        let mut table = Table::new(&titles);
        for (name, numbers) in self.rows() {
            let [added, added_off, lost, lost_off] = numbers;
            table.row([shown(name).to_string(), added, added_off, lost, lost_off]);
        }
        format!("{table}\n{}\n", self.how())
    }

    /// Whether the two figures are those of numbers that are fitted.
    pub(super) fn is_of_values(&self) -> bool {
        self.is_of_values
    }

    /// Each column with what it adds to the first figure and takes from the second, the most important first: both as the mean and
    /// the standard deviation.
    pub(super) fn rows(&self) -> impl ExactSizeIterator<Item = (&str, [String; 4])> {
        self.columns.iter().map(|column| {
            let [(added, added_off), (lost, lost_off)] = column.losses;
            let number = |value: f64| match self.is_of_values {
                true => significant(value),
                false => four_decimals(value),
            };
            (&*column.name, [number(added), number(added_off), four_decimals(lost), four_decimals(lost_off)])
        })
    }

    /// How it was found out.
    pub(super) fn how(&self) -> String {
        let rest = match self.left_out {
            0 => String::new(),
            more => format!(", the first; {more} more would have taken too long, or over 1 GiB"),
        };
        let rows = counted(self.rows as u64, "row");
        format!("Each column was dealt anew {REPEATS} times among {rows}{rest} (seed {}).", self.seed)
    }

    /// The same for scripts.
    pub(super) fn in_json(&self) -> Value {
        let [(rising, _), (falling, _)] = self.names;
        let column = |column: &OfColumn| {
            let [(added, added_off), (lost, lost_off)] = column.losses;
            json!({
                "column": column.name,
                format!("{rising}_added"): added,
                format!("{rising}_deviation"): added_off,
                format!("{falling}_lost"): lost,
                format!("{falling}_deviation"): lost_off,
            })
        };
        let columns: Vec<Value> = self.columns.iter().map(column).collect();
        json!({
            "seed": self.seed, "repeats": REPEATS, "rows": self.rows, "rows_left_out": self.left_out, "columns": columns,
        })
    }
}

/// A model and rows that it is judged by, again and again.
struct Judge<'a> {
    subject: &'a Subject<'a>,
    kept: &'a KeptRows,
    evaluator: Evaluator,
    /// The inputs of some rows.
    batch: Vec<f32>,
    outputs: Vec<f32>,
}

impl<'a> Judge<'a> {
    fn new(subject: &'a Subject<'a>, kept: &'a KeptRows) -> Judge<'a> {
        let evaluator = Evaluator::new(Kernel::best());
        Judge { subject, kept, evaluator, batch: Vec::new(), outputs: Vec::new() }
    }

    fn names(&self) -> [(&'static str, &'static str); 2] {
        match self.subject.target {
            Target::Classes(_) => [("log_loss", "LOG LOSS ADDED"), ("accuracy", "ACCURACY LOST")],
            Target::Values(_) => [("rmse", "RMSE ADDED"), ("r2", "R2 LOST")],
        }
    }

    /// The model's two figures, where these inputs of each row are those of the row in its place in this order.
    fn figures(&mut self, dealt: Option<(&Range<usize>, &[u32])>) -> Result<Pair, EvaluateError> {
        match self.subject.target {
            Target::Classes(names) => self.of_classes(names.len(), dealt),
            Target::Values(scales) => self.of_values(scales.len(), dealt),
        }
    }

    fn of_classes(&mut self, classes: usize, dealt: Option<(&Range<usize>, &[u32])>) -> Result<Pair, EvaluateError> {
        let Subject { network, activation, parameters, .. } = *self.subject;
        let mut counts = ClassCounts::new(classes, 0);
        for rows in self.batches() {
            self.deal(&rows, dealt);
            let labels = &self.kept.labels[rows];
            let layout = InputLayout::plain(network.inputs());
            let inputs = Inputs { layout: &layout, values: &self.batch, indices: &[] };
            self.evaluator.count(network, activation, parameters, inputs, labels, &mut counts)?;
        }
        let figures = counts.finish().map(|figures| {
            let rows = figures.rows as f64;
            [figures.log_loss / rows, figures.right as f64 / rows]
        });
        Ok(figures.unwrap_or([f64::NAN; 2]))
    }

    fn of_values(&mut self, width: usize, dealt: Option<(&Range<usize>, &[u32])>) -> Result<Pair, EvaluateError> {
        let mut sums = ValueSums::new(width);
        let Subject { network, activation, parameters, .. } = *self.subject;
        let mut predictor = Predictor::new(Kernel::best(), network, activation, parameters);
        for rows in self.batches() {
            self.deal(&rows, dealt);
            predictor.outputs(&mut self.batch, &mut self.outputs)?;
            let targets = &self.kept.targets[rows.start * width..rows.end * width];
            for (outputs, targets) in self.outputs.chunks_exact(width).zip(targets.chunks_exact(width)) {
                sums.take(outputs.iter().copied(), targets);
            }
        }
        // Several targets are in deviations of the training rows.
        let unit = match scales(self.subject.target) {
            [scale] => TargetScale::deviation(scale),
            _ => 1.0,
        };
        let figures = sums.finish().map(|figures| {
            let errors = figures.errors(unit);
            [errors.rmse, errors.r2.unwrap_or(0.0)]
        });
        Ok(figures.unwrap_or([f64::NAN; 2]))
    }

    /// Rows that are taken at a time.
    fn batches(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (rows, at_a_time) = (self.kept.rows, batch_rows(self.subject.network));
        (0..rows).step_by(at_a_time).map(move |first| first..(first + at_a_time).min(rows))
    }

    /// Puts the inputs of these rows into the batch.
    fn deal(&mut self, rows: &Range<usize>, dealt: Option<(&Range<usize>, &[u32])>) {
        let width = self.subject.network.inputs() as usize;
        self.batch.clear();
        self.batch.extend_from_slice(&self.kept.inputs[rows.start * width..rows.end * width]);
        let Some((inputs, order)) = dealt else { return };
        for (own, other) in self.batch.chunks_exact_mut(width).zip(&order[rows.clone()]) {
            let other = *other as usize * width;
            own[inputs.clone()].copy_from_slice(&self.kept.inputs[other + inputs.start..other + inputs.end]);
        }
    }
}

/// Of some numbers, at least one; the deviation is that of the numbers themselves.
fn mean_and_deviation(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let count = values.clone().count().max(1) as f64;
    let mean = values.clone().sum::<f64>() / count;
    let squares: f64 = values.map(|value| (value - mean) * (value - mean)).sum();
    (mean, (squares / count).sqrt())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::digest::Digest;
    use crate::model::scaling::FeatureScale;

    /// A model of three inputs without a hidden layer: its first output is this product with them.
    fn applied(target: Target, weights: [f32; 3]) -> Applied {
        let network = Network::new(3, &[], target.outputs() as u32).unwrap();
        let mut parameters = vec![0.0; network.parameters()];
        for (input, weight) in weights.into_iter().enumerate() {
            parameters[input * target.outputs()] = weight;
        }
        let model = ModelFile {
            network,
            activation: Activation::Relu,
            parameters,
            feature_names: ["a", "b", "c"].map(str::to_owned).into(),
            scaling: vec![FeatureScale::IDENTITY; 3],
            target,
            fingerprint: Digest([1; 32]),
            semantic_digest: Digest([2; 32]),
            specification: BTreeMap::new(),
            schema: None,
        };
        Applied::of(model).unwrap()
    }

    fn kept(label: impl Fn(&[f32]) -> (Vec<u32>, Vec<f32>)) -> KeptRows {
        let mut kept = KeptRows::new(usize::MAX);
        for row in 0..600u32 {
            let inputs = [7, 11, 13].map(|factor| (row * factor % 101) as f32 / 50.0 - 1.0);
            let (labels, targets) = label(&inputs);
            kept.take(1, &inputs, &labels, &targets);
        }
        kept
    }

    #[test]
    fn a_column_that_a_model_does_not_look_at_is_worth_nothing_and_the_others_what_they_weigh() {
        let names = vec!["no".to_owned(), "yes".to_owned()];
        let classes = applied(Target::Classes(names), [-9.0, -3.0, 0.0]);
        let rows = kept(|inputs| (vec![u32::from(3.0 * inputs[0] + inputs[1] > 0.0)], Vec::new()));
        let told = Importance::of(&Subject::of(&classes), &rows, 1).unwrap();
        let order: Vec<&str> = told.columns.iter().map(|column| &*column.name).collect();
        assert_eq!(order, ["a", "b", "c"]);
        assert_eq!(told.columns[2].losses, [(0.0, 0.0); 2]);
        assert!(told.columns[0].losses[1].0 > 0.3, "{:?}", told.columns[0].losses);
        // The same seed deals the same way, and another does not.
        let json = |seed| Importance::of(&Subject::of(&classes), &rows, seed).unwrap().in_json();
        assert_eq!(json(1), told.in_json());
        assert_ne!(json(2)["columns"], told.in_json()["columns"]);

        let scale = TargetScale::new("t", 5.0, 10.0).unwrap();
        let values = applied(Target::Values(vec![scale]), [0.0, 2.0, 0.0]);
        let rows = kept(|inputs| (Vec::new(), vec![2.0 * inputs[1]]));
        let told = Importance::of(&Subject::of(&values), &rows, 1).unwrap();
        assert_eq!((&*told.columns[0].name, told.columns[1].losses), ("b", [(0.0, 0.0); 2]));
        // Values that have nothing to do with the targets are off by both spreads.
        let [(rmse, _), (r2, _)] = told.columns[0].losses;
        assert!((r2 - 2.0).abs() < 0.2 && (rmse - 10.0 * (8.0f64 / 3.0).sqrt()).abs() < 1.0, "{rmse} {r2}");
        assert!(told.in_words().starts_with("COLUMN  RMSE ADDED"), "{}", told.in_words());
    }

    #[test]
    fn rows_beyond_the_room_are_counted_and_not_kept() {
        let mut kept = KeptRows::new(usize::MAX);
        kept.take(1, &[1.0, 2.0], &[0], &[]);
        kept.left_out = 1;
        kept.take(2, &[1.0; 4], &[0, 0], &[]);
        assert_eq!((kept.rows, kept.left_out, kept.inputs.len()), (1, 3, 2));
        let mut kept = KeptRows::new(2);
        kept.take(3, &[1.0; 6], &[0; 3], &[]);
        kept.take(1, &[1.0; 2], &[0], &[]);
        assert_eq!((kept.rows, kept.left_out, kept.inputs.len(), kept.labels.len()), (2, 2, 4, 2));
    }
}
