//! What a result is worth: a coordinator's sums over the validation or test rows as numbers for people, in the target's own unit, beside
//! what a guess without a model comes to. Owns these numbers and their words; does not know where the sums come from, or when
//! they are printed.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::figures::{IN_TOP, four_decimals, rate};
use super::notes::Words;
use crate::dataset::Baseline;
use crate::job::{Metric, Metrics, Quality, Summary};
use crate::model::figures::ValueErrors;
use crate::model::scaling::{Target, TargetScale};
use crate::wire::text::{counted, shown};

/// The quantile of the normal distribution that 95 % of it lie within.
const NORMAL_95: f64 = 1.959964;
/// Points of accuracy by which a result may be off before it is said aloud.
const MARGIN_SAID_POINTS: f64 = 1.0;

/// What a job's numbers are measured by, as far as its notes tell.
#[derive(Clone, Debug, Default)]
pub(super) struct Measure {
    target: Option<Target>,
    baseline: Option<Baseline>,
    test_baseline: Option<Baseline>,
}

/// Which rows a model is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// Those that say which round is the best: what they say of it is optimistic.
    Validation,
    /// Those that had no part in it.
    Test,
}

impl Judged {
    pub(super) fn name(self) -> &'static str {
        match self {
            Judged::Validation => "validation",
            Judged::Test => "test",
        }
    }

    fn key(self, what: &str) -> String {
        format!("{}_{what}", self.name())
    }

    fn baseline_key(self) -> &'static str {
        match self {
            Judged::Validation => "baseline",
            Judged::Test => "test_baseline",
        }
    }

    fn rows_in_words(self, rows: u64) -> String {
        counted(rows, &format!("{} row", self.name()))
    }
}

/// How good a model is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Score {
    /// At telling classes apart.
    Accuracy(Accuracy),
    /// At fitting numbers.
    Fit(Fit),
    /// Nothing is said of it, or by a newer program.
    Unknown {
        /// The rows that it is judged by.
        judged: Judged,
        /// How many they are.
        rows: u64,
    },
}

/// Rows told right and wrong.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Accuracy {
    judged: Judged,
    rows: u64,
    errors: f64,
    /// The most frequent class of the training rows, and rows that are of others.
    baseline: Option<(String, u64)>,
    /// What is told of a job's result alone: [`FIGURES`].
    figures: [Option<f64>; FIGURES.len()],
}

/// Figures beside the accuracy, as scripts and model files call them, and people.
const FIGURES: [(&str, &str); 4] =
    [("balanced_accuracy", "balanced"), ("log_loss", "log loss"), (IN_TOP, "top 3"), ("auc", "AUC")];

/// Distances from targets. In the target's unit where there is one target and its scale is known, else in the deviations of the
/// training rows.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fit {
    judged: Judged,
    rows: u64,
    /// What the one target is called, if it is known.
    name: Option<String>,
    errors: ValueErrors,
    /// The same of the mean of the training rows, and that mean where there is one target.
    baseline: Option<(ValueErrors, Option<f64>)>,
}

impl Measure {
    pub(super) fn of(words: Option<&Words>) -> Measure {
        let Some(words) = words else { return Measure::default() };
        Measure { target: Some(words.target.clone()), baseline: words.baseline, test_baseline: words.test_baseline }
    }

    /// What sums over so many validation rows say.
    pub(super) fn score(&self, metrics: &Metrics, rows: u64) -> Score {
        self.score_of(Judged::Validation, metrics, rows)
    }

    fn score_of(&self, judged: Judged, metrics: &Metrics, rows: u64) -> Score {
        let baseline = match judged {
            Judged::Validation => self.baseline,
            Judged::Test => self.test_baseline,
        };
        if let Some(errors) = metrics.get(Metric::Errors) {
            let named = match (&baseline, &self.target) {
                (Some(Baseline::Class { class, errors }), Some(Target::Classes(names))) => {
                    names.get(*class as usize).map(|name| (name.clone(), *errors))
                }
                _ => None,
            };
            let by_row = |metric| metrics.get(metric).map(|sum| sum / rows.max(1) as f64);
            let figures = [
                metrics.get(Metric::BalancedAccuracy),
                by_row(Metric::LogLoss),
                by_row(Metric::InTop),
                metrics.get(Metric::Auc),
            ];
            return Score::Accuracy(Accuracy { judged, rows, errors, baseline: named, figures });
        }
        // What is told of a result is rounded once.
        let sum = |exact, plain| metrics.get(exact).or(metrics.get(plain));
        let Some(squared) = sum(Metric::SquaredTotal, Metric::SquaredError) else {
            return Score::Unknown { judged, rows };
        };
        let absolute = sum(Metric::AbsoluteTotal, Metric::AbsoluteError).unwrap_or(f64::NAN);
        let scale = match &self.target {
            Some(Target::Values(scales)) => match &scales[..] {
                [scale] => Some(scale),
                _ => None,
            },
            _ => None,
        };
        let (guess, variation) = match baseline {
            Some(Baseline::Mean { squared, absolute, variation }) => (Some((squared, absolute)), Some(variation)),
            _ => (None, None),
        };
        let variation = metrics.get(Metric::Variation).or(variation);
        let unit = scale.map_or(1.0, TargetScale::deviation);
        let errors = |(squared, absolute)| ValueErrors::of(squared, absolute, variation, rows, unit);
        Score::Fit(Fit {
            judged,
            rows,
            name: scale.map(|scale| scale.name().to_owned()),
            errors: errors((squared, absolute)),
            baseline: guess.map(|guess| (errors(guess), scale.map(TargetScale::mean))),
        })
    }

    /// What the end of a job says of the validation rows, and of the test rows, where there are some.
    pub(super) fn result(&self, done: &Summary) -> (Score, Option<Score>) {
        let test = done.test.as_ref().map(|test| self.score_of(Judged::Test, &test.metrics, test.rows));
        (self.score(&done.metrics, done.rows), test)
    }
}

/// What a curve over the rounds shows of a score.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Headline {
    pub(super) name: &'static str,
    /// The larger, the better, of scores on the same rows.
    pub(super) goodness: f64,
    pub(super) text: String,
}

impl Score {
    /// What a curve shows of it, if anything.
    pub(super) fn headline(&self) -> Option<Headline> {
        match self {
            Score::Accuracy(accuracy) => {
                Some(Headline { name: "accuracy", goodness: -accuracy.errors, text: percent(accuracy.error()) })
            }
            Score::Fit(Fit { errors, baseline, .. }) => {
                let (name, text) = match baseline {
                    Some(_) => ("r2", rate(errors.r2)),
                    None => ("rmse", significant(errors.rmse)),
                };
                Some(Headline { name, goodness: -errors.rmse, text })
            }
            Score::Unknown { .. } => None,
        }
    }

    /// The table's columns for it.
    pub(super) fn columns(&self) -> &'static [&'static str] {
        match self {
            Score::Accuracy(_) => &["accuracy"],
            Score::Fit(Fit { baseline: Some(_), .. }) => &["r2", "rmse", "mae"],
            Score::Fit(Fit { baseline: None, .. }) => &["rmse", "mae"],
            Score::Unknown { .. } => &["quality"],
        }
    }

    /// What stands in these columns.
    pub(super) fn cells(&self) -> Vec<String> {
        match self {
            Score::Accuracy(accuracy) => vec![percent(accuracy.error())],
            Score::Fit(Fit { errors, baseline, .. }) => {
                let r2 = baseline.map(|_| rate(errors.r2));
                r2.into_iter().chain([significant(errors.rmse), significant(errors.mae)]).collect()
            }
            Score::Unknown { .. } => vec!["-".to_owned()],
        }
    }

    /// The number that a curve over rounds shows, and what it is called; an accuracy in per cent.
    pub(super) fn curve(&self) -> Option<(&'static str, f64)> {
        match self {
            Score::Accuracy(accuracy) => Some(("accuracy", 100.0 * (1.0 - accuracy.error()))),
            Score::Fit(Fit { errors, .. }) => Some(("rmse", errors.rmse)),
            Score::Unknown { .. } => None,
        }
    }

    /// The same as names and values.
    pub(super) fn put(&self, event: &mut Value) {
        match self {
            Score::Accuracy(accuracy) => {
                let (judged, error) = (accuracy.judged, accuracy.error());
                event[judged.key("error")] = error.into();
                event[judged.key("accuracy")] = (1.0 - error).into();
                for ((name, _), figure) in FIGURES.iter().zip(accuracy.figures) {
                    if let Some(figure) = figure {
                        event[judged.key(name)] = figure.into();
                    }
                }
            }
            Score::Fit(Fit { judged, errors, .. }) => {
                event[judged.key("rmse")] = errors.rmse.into();
                event[judged.key("mae")] = errors.mae.into();
                event[judged.key("r2")] = errors.r2.into();
            }
            Score::Unknown { .. } => {}
        }
    }

    /// The same, with what it is worth.
    pub(super) fn put_result(&self, event: &mut Value) {
        self.put(event);
        match self {
            Score::Accuracy(accuracy) => {
                let (judged, (low, high)) = (accuracy.judged, accuracy.interval());
                event[judged.key("accuracy_interval")] = json!([low, high]);
                event[judged.baseline_key()] = accuracy.baseline.as_ref().map(|(class, _)| {
                    json!({"class": class, judged.key("accuracy"): 1.0 - accuracy.baseline_error().unwrap_or(1.0)})
                }).into();
            }
            Score::Fit(Fit { judged, name, baseline, .. }) => {
                event["target"] = name.clone().into();
                event[judged.baseline_key()] = baseline
                    .map(|(errors, mean)| {
                        json!({
                            "mean": mean,
                            judged.key("r2"): errors.r2,
                            judged.key("rmse"): errors.rmse,
                            judged.key("mae"): errors.mae,
                        })
                    })
                    .into();
            }
            Score::Unknown { .. } => return,
        }
        event["beats_baseline"] = self.beats_baseline().into();
    }

    /// The whole result as names and values.
    pub(super) fn put_results(event: &mut Value, validation: &Score, test: Option<&Score>) {
        validation.put_result(event);
        if let Some(test) = test {
            event[Judged::Test.key("rows")] = test.rows().into();
            test.put_result(event);
        }
    }

    /// Rows that it is judged by.
    fn rows(&self) -> u64 {
        match self {
            Score::Accuracy(Accuracy { rows, .. }) | Score::Fit(Fit { rows, .. }) | Score::Unknown { rows, .. } => {
                *rows
            }
        }
    }

    /// What a model file says of it, beside how many rows judged it.
    pub(super) fn in_words(&self) -> Vec<(String, String)> {
        match self {
            Score::Accuracy(Accuracy { judged, errors, baseline, figures, .. }) => {
                let mut words = vec![(judged.key("errors"), errors.to_string())];
                let told = FIGURES.iter().zip(figures).filter_map(|((name, _), figure)| Some((name, (*figure)?)));
                words.extend(told.map(|(name, figure)| (judged.key(name), figure.to_string())));
                if let Some((class, errors)) = baseline {
                    let key = |what: &str| format!("{}_{what}", judged.baseline_key());
                    words.extend([(key("class"), class.clone()), (key("errors"), errors.to_string())]);
                }
                words
            }
            Score::Fit(Fit { judged, errors, baseline, .. }) => {
                let of = |of: &str, errors: &ValueErrors| {
                    let told = [("rmse", Some(errors.rmse)), ("mae", Some(errors.mae)), ("r2", errors.r2)];
                    told.map(|(what, value)| value.map(|value| (format!("{of}_{what}"), value.to_string())))
                };
                let guess = baseline.map(|(guess, _)| of(judged.baseline_key(), &guess));
                of(judged.name(), errors).into_iter().chain(guess.into_iter().flatten()).flatten().collect()
            }
            Score::Unknown { .. } => Vec::new(),
        }
    }

    /// What a model file has kept of it: of the validation rows, and of the test rows, where there were some.
    pub(super) fn of_file(words: &BTreeMap<String, String>, target: &Target) -> (Score, Option<Score>) {
        let of = |judged| Score::of_words(judged, words, target);
        let test = words.contains_key(&Judged::Test.key("rows")).then(|| of(Judged::Test));
        (of(Judged::Validation), test)
    }

    fn of_words(judged: Judged, words: &BTreeMap<String, String>, target: &Target) -> Score {
        let number = |key: String| words.get(&key).and_then(|number| number.parse::<f64>().ok());
        let whole = |key: String| words.get(&key).and_then(|number| number.parse::<u64>().ok());
        let rows = whole(judged.key("rows")).unwrap_or(0);
        let baseline = judged.baseline_key();
        let errors = |of: &str| {
            let number = |what: &str| number(format!("{of}_{what}"));
            Some(ValueErrors { r2: number("r2"), rmse: number("rmse")?, mae: number("mae")? })
        };
        match target {
            Target::Classes(_) => match number(judged.key("errors")) {
                None => Score::Unknown { judged, rows },
                Some(errors) => {
                    let class = words.get(&format!("{baseline}_class")).cloned();
                    let baseline = class.zip(whole(format!("{baseline}_errors")));
                    let figures = FIGURES.map(|(name, _)| number(judged.key(name)));
                    Score::Accuracy(Accuracy { judged, rows, errors, baseline, figures })
                }
            },
            Target::Values(scales) => match errors(judged.name()) {
                None => Score::Unknown { judged, rows },
                Some(of_model) => {
                    let scale = if let [scale] = &scales[..] { Some(scale) } else { None };
                    Score::Fit(Fit {
                        judged,
                        rows,
                        name: scale.map(|scale| scale.name().to_owned()),
                        errors: of_model,
                        baseline: errors(baseline).map(|guess| (guess, scale.map(TargetScale::mean))),
                    })
                }
            },
        }
    }

    /// The whole result as names and values, the most important first: the test rows' word counts where there is one.
    pub(super) fn result_lines((validation, test): &(Score, Option<Score>)) -> Vec<(&'static str, String)> {
        let Some(test) = test else { return validation.lines() };
        let mut lines = test.lines();
        lines.push(("validation", validation.in_brief()));
        lines
    }

    /// The result in a line.
    fn in_brief(&self) -> String {
        match self {
            Score::Accuracy(accuracy) => {
                format!("{} of {}", percent(accuracy.error()), accuracy.judged.rows_in_words(accuracy.rows))
            }
            Score::Fit(Fit { judged, rows, errors, .. }) => format!(
                "r2 {}, rmse {}, mae {} over {}",
                rate(errors.r2),
                significant(errors.rmse),
                significant(errors.mae),
                judged.rows_in_words(*rows)
            ),
            Score::Unknown { judged, rows } => format!("- over {}", judged.rows_in_words(*rows)),
        }
    }

    /// Whether the model is better than the guess, where that is known.
    pub(super) fn beats_baseline(&self) -> Option<bool> {
        match self {
            Score::Accuracy(accuracy) => Some(accuracy.error() < accuracy.baseline_error()?),
            Score::Fit(Fit { errors, baseline, .. }) => baseline.map(|(guess, _)| errors.rmse < guess.rmse),
            Score::Unknown { .. } => None,
        }
    }

    /// A result as names and values, the most important first.
    pub(super) fn lines(&self) -> Vec<(&'static str, String)> {
        let verdict = match self.beats_baseline() {
            Some(false) => "; the model does not beat it",
            Some(true) | None => "",
        };
        match self {
            Score::Accuracy(accuracy) => {
                let error = accuracy.error();
                let of = accuracy.judged.rows_in_words(accuracy.rows);
                // Some errors are not shown as none.
                let shown_error =
                    if (1e-12..5e-5).contains(&error) { "<0.0001".to_owned() } else { format!("{error:.4}") };
                let mut lines = vec![("accuracy", format!("{} of {of} (error {shown_error})", percent(error)))];
                lines.extend(accuracy.margin_in_words().map(|margin| ("margin", margin)));
                lines.extend(accuracy.figures_in_words().map(|figures| ("figures", figures)));
                if let (Some((class, _)), Some(error)) = (&accuracy.baseline, accuracy.baseline_error()) {
                    let class = shown(class);
                    let guess = format!("by always saying {class}, the training rows' most frequent class");
                    lines.push(("baseline", format!("{} {guess}{verdict}", percent(error))));
                }
                lines
            }
            Score::Fit(Fit { judged, rows, name, errors, baseline }) => {
                let over = judged.rows_in_words(*rows);
                // Several targets have no unit in common.
                let of = match name {
                    Some(name) => format!(" of {}", shown(name)),
                    None => " deviations of all targets".to_owned(),
                };
                let mut lines = Vec::new();
                if baseline.is_some() || errors.r2.is_some() {
                    lines.push(("r2", format!("{} over {over}", rate(errors.r2))));
                }
                lines.push(("rmse", format!("{}{of} over {over}", significant(errors.rmse))));
                lines.push(("mae", format!("{}{of}", significant(errors.mae))));
                if let Some((guess, mean)) = baseline {
                    let mean = mean.map_or_else(String::new, |mean| format!("{}, ", significant(mean)));
                    let (rmse, mae) = (significant(guess.rmse), significant(guess.mae));
                    let guess = format!("rmse {rmse}, mae {mae} by always saying {mean}the training rows' mean");
                    lines.push(("baseline", format!("{guess}{verdict}")));
                }
                lines
            }
            Score::Unknown { .. } => vec![("quality", self.in_brief())],
        }
    }
}

impl Accuracy {
    fn error(&self) -> f64 {
        self.errors / self.rows.max(1) as f64
    }

    fn baseline_error(&self) -> Option<f64> {
        self.baseline.as_ref().map(|(_, errors)| *errors as f64 / self.rows.max(1) as f64)
    }

    /// The figures beside it, where they are told.
    fn figures_in_words(&self) -> Option<String> {
        let told = |((_, name), figure): (&(_, &str), Option<f64>)| Some(format!("{name} {}", four_decimals(figure?)));
        let told: Vec<String> = FIGURES.iter().zip(self.figures).filter_map(told).collect();
        (!told.is_empty()).then(|| told.join(", "))
    }

    /// What the accuracy on all rows of the kind lies within, 19 times out of 20 (Wilson 1927).
    fn interval(&self) -> (f64, f64) {
        let (rows, z) = (self.rows.max(1) as f64, NORMAL_95);
        let right = (1.0 - self.error()).clamp(0.0, 1.0);
        let shrunk = 1.0 + z * z / rows;
        let centre = (right + z * z / (2.0 * rows)) / shrunk;
        let half = z / shrunk * (right * (1.0 - right) / rows + z * z / (4.0 * rows * rows)).sqrt();
        ((centre - half).max(0.0), (centre + half).min(1.0))
    }

    /// How well the accuracy is known, where the rows are too few for it to be taken at its word.
    fn margin_in_words(&self) -> Option<String> {
        let (low, high) = self.interval();
        let points = 100.0 * (high - low) / 2.0;
        (points >= MARGIN_SAID_POINTS).then(|| {
            let rows = self.judged.rows_in_words(self.rows);
            format!("with {rows} the accuracy is known to about \u{b1} {points:.1} points")
        })
    }
}

fn percent(error: f64) -> String {
    Quality::ErrorRate(error).to_string()
}

/// A number with five significant digits, of any magnitude.
pub(super) fn significant(value: f64) -> String {
    const DIGITS: i32 = 5;
    if value == 0.0 || !value.is_finite() {
        return (value + 0.0).to_string();
    }
    // The digits are rounded first: 9.99999 is 10.000.
    let scientific = format!("{value:.*e}", DIGITS as usize - 1);
    let exponent = scientific.rsplit('e').next().and_then(|exponent| exponent.parse::<i32>().ok()).unwrap_or(0);
    match exponent {
        -4..=6 => format!("{value:.*}", (DIGITS - 1 - exponent).max(0) as usize),
        _ => scientific,
    }
}

#[cfg(test)]
mod tests;
