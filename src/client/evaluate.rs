//! How good a model is on a file whose targets are known. Owns the way from raw rows to figures, and what is said of them; does
//! not know how a figure is computed.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::applied::{Applied, OnBadRow, refused, scales};
use super::confusion;
use super::figures::{self, OfTarget, TargetSums, rate};
use super::importance::{Importance, KeptRows, Subject};
use super::options::Output;
use super::render::{print_json, print_lines, say};
use super::sample::{Compared, TrainedShare, TrainingSample};
use super::score::Score;
use super::score::significant;
use crate::cli::{self, Exit, Failure};
use crate::dataset::{BadRow, NO_LABEL, Place, RawOptions, RawRow, RawRows};
use crate::model::figures::{ClassCounts, ClassFigures, OfClass};
use crate::model::scaling::{Target, TargetScale};
use crate::model::{Evaluator, InputLayout, Inputs, Kernel};
use crate::wire::text::{Align, Table, counted, shown};

/// Scores that are kept for the areas under curves, at most: half a gibibyte.
const SCORES_MAX: usize = 1 << 27;

/// What is asked of a model.
#[derive(Clone, Debug, Default)]
pub struct EvaluateOptions {
    /// How rows are read.
    pub reading: RawOptions,
    /// What becomes of rows that cannot be.
    pub on_bad_row: OnBadRow,
    /// Where the importance of columns is wanted, the seed by which they are dealt.
    pub importance: Option<u64>,
}

/// Tells how good a model is on the rows of a file.
pub fn evaluate(model: &Path, data: &Path, options: &EvaluateOptions, output: Output) -> Result<Exit, Failure> {
    super::proof::prove(Kernel::best())?;
    let applied = Applied::read(model)?;
    let kept = options.importance.map(|_| KeptRows::new(usize::MAX));
    let OfFile { figures, left_out, kept, trained } = judge(&applied, data, options, output, kept)?;
    let importance = options.importance.zip(kept.as_ref());
    let importance = importance.map(|(seed, kept)| Importance::of(&Subject::of(&applied), kept, seed)).transpose();
    let importance = importance.map_err(|error| Failure::new(Exit::Fault, error))?;
    match output {
        Output::Json => {
            let mut told = figures.in_json(&applied.model.target, &left_out);
            told["trained_share"] = trained.map(|share| share.value()).into();
            if let Some(importance) = &importance {
                told["importance"] = importance.in_json();
            }
            print_json(&told)?;
        }
        Output::Table | Output::Quiet => {
            let mut lines = figures.lines(&applied.model.target, &left_out);
            lines.extend(trained.and_then(|share| known_rows(&applied, &share)).map(|text| line("known rows", &text)));
            print_lines(&lines)?;
            let mut tables = figures.tables(&applied.model.target);
            if let Some(importance) = &importance {
                let _ = write!(tables, "\n{}", importance.in_words());
            }
            cli::print(&format!("\n{}", tables.trim_end()))?;
        }
    }
    Ok(Exit::Success)
}

/// That the model has been trained on these rows, where it was, and what is to be expected of others.
pub(super) fn known_rows(applied: &Applied, share: &TrainedShare) -> Option<String> {
    let share = share.in_words()?;
    let of_job = Score::result_lines(&Score::of_file(&applied.model.specification, &applied.model.target));
    let measured =
        |(name, value): &(&str, String)| format!("; on rows that had not trained it, its job measured {name} {value}");
    let is_judged = !applied.model.specification.contains_key("unfinished");
    let of_job = of_job.first().filter(|_| is_judged).map(measured).unwrap_or_default();
    Some(format!("{share}: these figures flatter it{of_job}"))
}

fn line(name: &str, value: &str) -> String {
    format!("{name:<11}  {value}")
}

/// What the rows of a file say of a model.
pub(super) struct OfFile {
    pub(super) figures: Figures,
    pub(super) left_out: LeftOut,
    /// The rows, where they are needed once more.
    pub(super) kept: Option<KeptRows>,
    /// How many of them trained the model, where that can be told.
    pub(super) trained: Option<TrainedShare>,
}

/// Judges a model by the rows of a file, and says what is to be said of the file.
pub(super) fn judge(
    applied: &Applied,
    data: &Path,
    options: &EvaluateOptions,
    output: Output,
    kept: Option<KeptRows>,
) -> Result<OfFile, Failure> {
    let reading = RawOptions { wants_labels: true, ..options.reading.clone() };
    let rows = RawRows::open(data, &applied.schema, &reading).map_err(|error| refused(&error, output))?;
    rows.notes().iter().for_each(|note| say(note));
    let (on_bad_row, batch, left_out) = (options.on_bad_row, Batch::default(), LeftOut::default());
    let sample = applied.model.specification.get(TrainingSample::KEY);
    let targets = scales(&applied.model.target).len().max(1);
    let compared = sample.and_then(|sample| TrainingSample::from_words(sample));
    let compared = compared.map(|sample| Compared::new(sample, applied.schema.width(), targets));
    let mut judging = Judging { applied, rows, on_bad_row, output, left_out, batch, kept, compared };
    let figures = match &applied.model.target {
        Target::Classes(names) => Figures::Classes(judging.classes(names)?),
        Target::Values(scales) => Figures::Values(judging.values(scales)?),
    };
    judging.rows.summary().iter().for_each(|line| say(line));
    let Judging { left_out, kept, compared, .. } = judging;
    Ok(OfFile { figures, left_out, kept, trained: compared.and_then(|compared| compared.share()) })
}

/// Rows on their way to figures.
struct Judging<'a> {
    applied: &'a Applied,
    rows: RawRows<'a>,
    on_bad_row: OnBadRow,
    output: Output,
    left_out: LeftOut,
    batch: Batch,
    /// The rows that are judged, where they are needed once more.
    kept: Option<KeptRows>,
    /// They, beside those that trained the model, where some of these are known.
    compared: Option<Compared>,
}

/// Rows that are not judged.
#[derive(Default)]
pub(super) struct LeftOut {
    /// Without a target.
    missing: u64,
    /// With a label that is no class of the model, or a target that is no number; and the first of them.
    unknown: u64,
    first_unknown: Option<(String, Place)>,
    /// That have no inputs or no finite outputs; and the first of them.
    bad: u64,
    first_bad: Option<(Place, BadRow)>,
}

impl LeftOut {
    /// In words; empty where none is.
    pub(super) fn in_words(&self) -> String {
        let mut words = Vec::new();
        if self.missing > 0 {
            words.push(format!("{} without a target", self.missing));
        }
        if let Some((text, place)) = &self.first_unknown {
            let text = shown(text);
            words.push(format!("{} whose target the model does not know (first \"{text}\" in {place})", self.unknown));
        }
        if let Some((place, bad)) = &self.first_bad {
            words.push(format!("{} that cannot be read (first {place}: {bad})", self.bad));
        }
        words.join(", ")
    }
}

/// Some rows with inputs and targets.
#[derive(Default)]
struct Batch {
    inputs: Vec<f32>,
    places: Vec<Place>,
    labels: Vec<u32>,
    /// `[rows, targets]`, as the model is trained on them
    targets: Vec<f32>,
}

impl Batch {
    fn clear(&mut self) {
        self.inputs.clear();
        self.places.clear();
        self.labels.clear();
        self.targets.clear();
    }
}

/// How labels name classes.
struct Classes<'a> {
    by_name: HashMap<&'a str, u32>,
    /// By their values, where all are numbers, as 1 and 1.0 are one class then.
    by_value: Option<HashMap<u64, u32>>,
}

impl<'a> Classes<'a> {
    fn of(names: &'a [String]) -> Classes<'a> {
        let values: Option<Vec<u64>> = names.iter().map(|name| Classes::bits(name)).collect();
        Classes {
            by_name: names.iter().map(String::as_str).zip(0..).collect(),
            by_value: values.map(|values| values.into_iter().zip(0..).collect()),
        }
    }

    fn bits(text: &str) -> Option<u64> {
        let value: f64 = text.parse().ok()?;
        // -0 is 0.
        value.is_finite().then(|| (value + 0.0).to_bits())
    }

    fn class(&self, label: &str) -> Option<u32> {
        let by_name = self.by_name.get(label).copied();
        by_name.or_else(|| self.by_value.as_ref()?.get(&Classes::bits(label)?).copied())
    }

    /// The same of a row, whose label may stand for a missing one and be a class's name for all that, such as NA; else it is of the
    /// class of rows without a label, where there is one.
    fn class_of_row(&self, text: &str, is_missing: bool) -> Option<u32> {
        self.class(text).or_else(|| if is_missing { self.class(NO_LABEL) } else { None })
    }
}

/// Puts the target of the row in hand behind the others; otherwise says its text, or none where it is missing.
type Take<'a> = dyn FnMut(&RawRows<'_>, &mut Batch) -> Result<(), Option<String>> + 'a;

impl Judging<'_> {
    /// Figures of a model that tells these classes apart.
    fn classes(&mut self, names: &[String]) -> Result<ClassFigures, Failure> {
        let of_model = |error: &dyn std::fmt::Display| Failure::new(Exit::Fault, error);
        let known = Classes::of(names);
        let mut take = |rows: &RawRows<'_>, batch: &mut Batch| {
            let text = rows.label_text(0).ok_or(None)?;
            let label = rows.label(0);
            let class = known.class_of_row(&text, label.is_none());
            batch.labels.push(class.ok_or_else(|| label.map(Cow::into_owned))?);
            Ok(())
        };
        let model = &self.applied.model;
        let mut predictor = self.applied.predictor();
        let mut evaluator = Evaluator::new(Kernel::best());
        let mut counts = ClassCounts::new(names.len(), SCORES_MAX);
        let mut told = Vec::new();
        let layout = InputLayout::plain(model.network.inputs());
        loop {
            let is_more = self.fill(&mut take)?;
            predictor.classes(&mut self.batch.inputs, &mut told).map_err(|error| of_model(&error))?;
            let are_finite: Vec<bool> = told.iter().map(Option::is_some).collect();
            self.keep(&are_finite)?;
            let Batch { inputs, labels, .. } = &self.batch;
            let inputs = Inputs { layout: &layout, values: inputs, indices: &[] };
            let counted =
                evaluator.count(&model.network, model.activation, &model.parameters, inputs, labels, &mut counts);
            counted.map_err(|error| of_model(&error))?;
            if !is_more {
                return counts.finish().ok_or_else(|| self.nothing());
            }
        }
    }

    /// Figures of a model that fits these targets, each by itself.
    fn values(&mut self, scales: &[TargetScale]) -> Result<Vec<OfTarget>, Failure> {
        let width = scales.len();
        let mut take = |rows: &RawRows<'_>, batch: &mut Batch| {
            for (which, scale) in scales.iter().enumerate() {
                let text = || rows.label(which).map(|text| text.into_owned());
                let target = scale.apply(rows.label_value(which).ok_or_else(text)?);
                // Training refuses such a target.
                batch.targets.push(Some(target).filter(|target| target.is_finite()).ok_or_else(text)?);
            }
            Ok(())
        };
        let mut predictor = self.applied.predictor();
        let mut sums = TargetSums::new(width);
        let mut outputs = Vec::new();
        loop {
            let is_more = self.fill(&mut take)?;
            let told = predictor.outputs(&mut self.batch.inputs, &mut outputs);
            told.map_err(|error| Failure::new(Exit::Fault, error))?;
            let is_finite = |outputs: &[f32]| outputs.iter().all(|output| output.is_finite());
            let are_finite: Vec<bool> = outputs.chunks_exact(width).map(is_finite).collect();
            self.keep(&are_finite)?;
            let finite = outputs.chunks_exact(width).filter(|outputs| is_finite(outputs));
            for (targets, outputs) in self.batch.targets.chunks_exact(width).zip(finite) {
                sums.take(outputs, targets);
            }
            if !is_more {
                return sums.finish(scales).ok_or_else(|| self.nothing());
            }
        }
    }

    /// Reads as many rows with inputs and targets as are taken at a time; whether there may be more.
    fn fill(&mut self, take: &mut Take<'_>) -> Result<bool, Failure> {
        let Judging { applied, rows, on_bad_row, output, left_out, batch, compared, .. } = self;
        batch.clear();
        let width = applied.schema.width();
        while batch.places.len() < applied.batch_rows() {
            let (start, labels, targets) = (batch.inputs.len(), batch.labels.len(), batch.targets.len());
            batch.inputs.resize(start + width, 0.0);
            let read = rows.advance(&mut batch.inputs[start..]).map_err(|error| refused(&error, *output))?;
            let Some(RawRow { place, bad }) = read else {
                batch.inputs.truncate(start);
                return Ok(false);
            };
            if let Some(bad) = bad {
                // Without a label, training drops a row whatever else stands in it.
                let is_unlabelled = matches!(bad, BadRow::Field(_)) && take(rows, batch) == Err(None);
                batch.inputs.truncate(start);
                batch.labels.truncate(labels);
                batch.targets.truncate(targets);
                if is_unlabelled {
                    left_out.missing += 1;
                    continue;
                }
                if *on_bad_row == OnBadRow::Refuse {
                    return Err(refused(&rows.refuse(place, bad), *output));
                }
                left_out.bad += 1;
                left_out.first_bad.get_or_insert((place, bad));
                continue;
            }
            match take(rows, batch) {
                Ok(()) => {
                    batch.places.push(place);
                    if let Some(compared) = compared {
                        compared.take(&batch.inputs[start..], &batch.labels[labels..], &batch.targets[targets..]);
                    }
                }
                Err(text) => {
                    batch.inputs.truncate(start);
                    batch.targets.truncate(targets);
                    match text {
                        None => left_out.missing += 1,
                        Some(text) => {
                            left_out.unknown += 1;
                            left_out.first_unknown.get_or_insert((text, place));
                        }
                    }
                }
            }
        }
        Ok(true)
    }

    /// Leaves out the rows of the batch whose outputs are not finite, and keeps the others where they are needed once more.
    fn keep(&mut self, are_finite: &[bool]) -> Result<(), Failure> {
        self.keep_finite(are_finite)?;
        if let Some(kept) = &mut self.kept {
            let rows = are_finite.iter().filter(|is_finite| **is_finite).count();
            kept.take(rows, &self.batch.inputs, &self.batch.labels, &self.batch.targets);
        }
        Ok(())
    }

    fn keep_finite(&mut self, are_finite: &[bool]) -> Result<(), Failure> {
        let Some(first) = are_finite.iter().position(|is_finite| !is_finite) else { return Ok(()) };
        let place = self.batch.places[first];
        if self.on_bad_row == OnBadRow::Refuse {
            return Err(refused(&self.rows.refuse(place, BadRow::OutOfReach), self.output));
        }
        self.left_out.bad += are_finite.iter().filter(|is_finite| !**is_finite).count() as u64;
        self.left_out.first_bad.get_or_insert((place, BadRow::OutOfReach));
        let rows = are_finite.len();
        keep_rows(&mut self.batch.inputs, are_finite, rows);
        keep_rows(&mut self.batch.labels, are_finite, rows);
        keep_rows(&mut self.batch.targets, are_finite, rows);
        Ok(())
    }

    /// That no row is left.
    fn nothing(&self) -> Failure {
        let because = self.left_out.in_words();
        let because = if because.is_empty() { "there is none".to_owned() } else { because };
        Failure::new(Exit::Usage, format_args!("{}: no row can be judged: {because}", self.rows.file()))
    }
}

/// Keeps those of so many rows that are to be kept, of as many values each.
fn keep_rows<T: Copy>(values: &mut Vec<T>, are_kept: &[bool], rows: usize) {
    let width = values.len() / rows.max(1);
    let mut index = 0;
    values.retain(|_| {
        index += 1;
        are_kept[(index - 1) / width]
    });
}

/// What is found.
pub(super) enum Figures {
    Classes(ClassFigures),
    /// Of each target.
    Values(Vec<OfTarget>),
}

impl Figures {
    fn rows(&self) -> u64 {
        match self {
            Figures::Classes(figures) => figures.rows,
            Figures::Values(figures) => figures.first().map_or(0, |figures| figures.rows),
        }
    }

    /// Rows and the guess, as names and values.
    fn lines(&self, target: &Target, left_out: &LeftOut) -> Vec<String> {
        let words = left_out.in_words();
        let words = if words.is_empty() { words } else { format!("; left out: {words}") };
        let guess = match (self, target) {
            (Figures::Classes(figures), Target::Classes(names)) => {
                let name =
                    names.get(figures::most_frequent(figures)).map(|name| shown(name).to_string()).unwrap_or_default();
                format!("always {name}, the most frequent class of these rows, at the rates of these rows")
            }
            (Figures::Values(figures), _) => {
                let guesses: Vec<String> = figures.iter().map(|figures| significant(figures.guess)).collect();
                format!("always {}, the mean of the training rows", guesses.join(", "))
            }
            (Figures::Classes(_), Target::Values(_)) => String::new(),
        };
        let mut lines = vec![line("rows", &format!("{} judged{words}", self.rows())), line("baseline", &guess)];
        if let (Figures::Classes(figures), Target::Classes(names)) = (self, target) {
            let supports: Vec<u64> = figures.by_class.iter().map(|class| class.support).collect();
            let few = figures::few_of_rarest(names, &supports, &counted(figures.rows, "row"));
            lines.extend(few.map(|text| line("few rows", &text)));
        }
        lines
    }

    /// The figures.
    fn tables(&self, target: &Target) -> String {
        let titles = [("FIGURE", Align::Left), ("MODEL", Align::Right), ("BASELINE", Align::Right)];
        let mut table = Table::new(&titles);
        let mut text = String::new();
        match (self, target) {
            (Figures::Classes(figures), Target::Classes(names)) => {
                for (name, model, guess) in figures::of_classes(figures) {
                    table.row([name.to_owned(), rate(model), rate(guess)]);
                }
                let _ = write!(text, "{table}\n{}", by_class(figures, names));
                if let Some(matrix) = confusion::matrix(&figures.confusion, names.len()) {
                    let _ = write!(text, "\n{}", confusion::in_words(&matrix, names));
                }
            }
            (Figures::Values(all), _) => {
                for (figures, scale) in all.iter().zip(scales(target)) {
                    for (name, model, guess) in &figures.figures {
                        let name = match all.len() {
                            1 => (*name).to_owned(),
                            _ => format!("{name}_{}", shown(scale.name())),
                        };
                        let number = |value: &Option<f64>| value.map_or_else(|| "-".to_owned(), significant);
                        table.row([name, number(model), number(guess)]);
                    }
                }
                let _ = write!(text, "{table}");
            }
            (Figures::Classes(_), Target::Values(_)) => {}
        }
        text
    }

    fn in_json(&self, target: &Target, left_out: &LeftOut) -> Value {
        let mut value = json!({
            "event": "evaluation",
            "rows": self.rows(),
            "left_out": {"missing": left_out.missing, "unknown": left_out.unknown, "unreadable": left_out.bad},
        });
        match (self, target) {
            (Figures::Classes(figures), Target::Classes(names)) => {
                value["task"] = "classify".into();
                value["baseline"] = json!({"class": names.get(figures::most_frequent(figures))});
                for (name, model, guess) in figures::of_classes(figures) {
                    value[name] = model.into();
                    value["baseline"][name] = guess.into();
                }
                let class = |(name, class): (&String, &OfClass)| {
                    json!({
                        "class": name,
                        "precision": class.precision,
                        "recall": class.recall,
                        "f1": class.f1,
                        "support": class.support,
                        "auc": class.auc,
                    })
                };
                value["classes"] = names.iter().zip(&figures.by_class).map(class).collect();
                let matrix = confusion::matrix(&figures.confusion, names.len());
                value["confusion"] = matrix.map(|matrix| confusion::in_json(&matrix, names.len())).into();
            }
            (Figures::Values(all), _) => {
                value["task"] = "regress".into();
                let one = |(figures, scale): (&OfTarget, &TargetScale)| {
                    let mut one = json!({"target": scale.name(), "baseline": {"mean": figures.guess}});
                    for (name, model, guess) in &figures.figures {
                        one[*name] = (*model).into();
                        one["baseline"][*name] = (*guess).into();
                    }
                    one
                };
                value["targets"] = all.iter().zip(scales(target)).map(one).collect();
            }
            (Figures::Classes(_), Target::Values(_)) => {}
        }
        value
    }
}

fn by_class(figures: &ClassFigures, names: &[String]) -> Table {
    let right = Align::Right;
    let titles = [
        ("CLASS", Align::Left),
        ("PRECISION", right),
        ("RECALL", right),
        ("F1", right),
        ("AUC", right),
        ("ROWS", right),
    ];
    let mut table = Table::new(&titles);
    for (name, class) in names.iter().zip(&figures.by_class) {
        let rates = [class.precision, class.recall, class.f1, class.auc].map(rate);
        let [precision, recall, f1, auc] = rates;
        table.row([shown(name).to_string(), precision, recall, f1, auc, class.support.to_string()]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn labels_name_classes_by_their_value_only_where_all_classes_are_numbers() {
        let numbers = names(&["0", "1", "2.5"]);
        let classes = Classes::of(&numbers);
        let told = ["1", "1.0", "-0", "2.50", "3", "x", "nan"].map(|label| classes.class(label));
        assert_eq!(told, [Some(1), Some(1), Some(0), Some(2), None, None, None]);
        let mixed = names(&["1", "x"]);
        let classes = Classes::of(&mixed);
        assert_eq!(["1", "1.0", "x"].map(|label| classes.class(label)), [Some(0), None, Some(1)]);
    }

    #[test]
    fn of_several_values_a_row_all_are_kept_or_none() {
        let mut values = vec![1, 2, 3, 4, 5, 6];
        keep_rows(&mut values, &[true, false, true], 3);
        assert_eq!(values, [1, 2, 5, 6]);
        let mut none: Vec<u32> = Vec::new();
        keep_rows(&mut none, &[false, true], 2);
        assert!(none.is_empty());
    }

    #[test]
    fn a_label_is_a_missing_one_only_where_no_class_is_called_so() {
        let names = ["NA", "None", "x"].map(str::to_owned);
        let known = Classes::of(&names);
        assert_eq!(["NA", "None", "?", ""].map(|text| known.class_of_row(text, true)), [Some(0), Some(1), None, None]);
        assert_eq!(["x", "y"].map(|text| known.class_of_row(text, false)), [Some(2), None]);
        let names = ["missing", "x"].map(str::to_owned);
        let known = Classes::of(&names);
        assert_eq!(["", "NA"].map(|text| known.class_of_row(text, true)), [Some(0); 2]);
        assert_eq!(known.class_of_row("y", false), None);
    }
}
