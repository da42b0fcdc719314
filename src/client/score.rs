//! What a result is worth: a coordinator's sums over the validation rows as numbers for people, in the target's own unit, beside
//! what a guess without a model comes to. Owns these numbers and their words; does not know where the sums come from, or when
//! they are printed.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::notes::Words;
use crate::dataset::Baseline;
use crate::job::{Metric, Metrics, Summary};
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
        /// Validation rows.
        rows: u64,
    },
}

/// Rows told right and wrong.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Accuracy {
    rows: u64,
    errors: f64,
    /// The most frequent class of the training rows, and rows that are of others.
    baseline: Option<(String, u64)>,
}

/// Distances from targets. In the target's unit where there is one target and its scale is known, else in the deviations of the
/// training rows.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fit {
    rows: u64,
    /// What the one target is called, if it is known.
    name: Option<String>,
    errors: Errors,
    /// The same of the mean of the training rows, and that mean where there is one target.
    baseline: Option<(Errors, Option<f64>)>,
}

/// How far off some values are.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Errors {
    /// The part of the targets' variation that they tell; none where it is not known, or there is no variation.
    r2: Option<f64>,
    /// The root of the mean over rows of the squared distance.
    rmse: f64,
    /// The mean over rows of the distance's magnitude.
    mae: f64,
}

impl Measure {
    pub(super) fn of(words: Option<&Words>) -> Measure {
        let (target, baseline) = words.map(|words| (words.target.clone(), words.baseline)).unzip();
        Measure { target, baseline: baseline.flatten() }
    }

    /// What sums over so many validation rows say.
    pub(super) fn score(&self, metrics: &Metrics, rows: u64) -> Score {
        if let Some(errors) = metrics.get(Metric::Errors) {
            let named = match (&self.baseline, &self.target) {
                (Some(Baseline::Class { class, errors }), Some(Target::Classes(names))) => {
                    names.get(*class as usize).map(|name| (name.clone(), *errors))
                }
                _ => None,
            };
            return Score::Accuracy(Accuracy { rows, errors, baseline: named });
        }
        let Some(squared) = metrics.get(Metric::SquaredError) else { return Score::Unknown { rows } };
        let absolute = metrics.get(Metric::AbsoluteError).unwrap_or(f64::NAN);
        let scale = match &self.target {
            Some(Target::Values(scales)) => match &scales[..] {
                [scale] => Some(scale),
                _ => None,
            },
            _ => None,
        };
        let (guess, variation) = match self.baseline {
            Some(Baseline::Mean { squared, absolute, variation }) => (Some((squared, absolute)), variation),
            _ => (None, 0.0),
        };
        let unit = scale.map_or(1.0, TargetScale::deviation);
        let count = rows.max(1) as f64;
        let errors = |(squared, absolute): (f64, f64)| Errors {
            r2: (variation > 0.0).then(|| 1.0 - squared / variation),
            rmse: (squared / count).sqrt() * unit,
            mae: absolute / count * unit,
        };
        Score::Fit(Fit {
            rows,
            name: scale.map(|scale| scale.name().to_owned()),
            errors: errors((squared, absolute)),
            baseline: guess.map(|guess| (errors(guess), scale.map(TargetScale::mean))),
        })
    }

    /// What the end of a job says.
    pub(super) fn result(&self, done: &Summary) -> Score {
        self.score(&done.metrics, done.rows)
    }
}

impl Score {
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
                let r2 = baseline.map(|_| errors.r2_in_words());
                r2.into_iter().chain([significant(errors.rmse), significant(errors.mae)]).collect()
            }
            Score::Unknown { .. } => vec!["-".to_owned()],
        }
    }

    /// The same as names and values.
    pub(super) fn put(&self, event: &mut Value) {
        match self {
            Score::Accuracy(accuracy) => {
                let error = accuracy.error();
                event["validation_error"] = error.into();
                event["validation_accuracy"] = (1.0 - error).into();
            }
            Score::Fit(Fit { errors, .. }) => {
                event["validation_rmse"] = errors.rmse.into();
                event["validation_mae"] = errors.mae.into();
                event["validation_r2"] = errors.r2.into();
            }
            Score::Unknown { .. } => {}
        }
    }

    /// The same, with what it is worth.
    pub(super) fn put_result(&self, event: &mut Value) {
        self.put(event);
        match self {
            Score::Accuracy(accuracy) => {
                let (low, high) = accuracy.interval();
                event["validation_accuracy_interval"] = json!([low, high]);
                event["baseline"] = accuracy.baseline.as_ref().map(|(class, _)| {
                    json!({"class": class, "validation_accuracy": 1.0 - accuracy.baseline_error().unwrap_or(1.0)})
                }).into();
            }
            Score::Fit(Fit { name, baseline, .. }) => {
                event["target"] = name.clone().into();
                event["baseline"] = baseline
                    .map(|(errors, mean)| {
                        json!({
                            "mean": mean,
                            "validation_r2": errors.r2,
                            "validation_rmse": errors.rmse,
                            "validation_mae": errors.mae,
                        })
                    })
                    .into();
            }
            Score::Unknown { .. } => return,
        }
        event["beats_baseline"] = self.beats_baseline().into();
    }

    /// What a model file says of it, beside the validation rows.
    pub(super) fn in_words(&self) -> Vec<(&'static str, String)> {
        match self {
            Score::Accuracy(Accuracy { errors, baseline, .. }) => {
                let mut words = vec![("validation_errors", errors.to_string())];
                if let Some((class, errors)) = baseline {
                    words.extend([("baseline_class", class.clone()), ("baseline_errors", errors.to_string())]);
                }
                words
            }
            Score::Fit(Fit { errors, baseline, .. }) => {
                let of_model = [("validation_rmse", errors.rmse), ("validation_mae", errors.mae)];
                let of_guess = baseline.map(|(guess, _)| [("baseline_rmse", guess.rmse), ("baseline_mae", guess.mae)]);
                let r2 = errors.r2.map(|r2| ("validation_r2", r2));
                let of_guess_r2 = baseline.and_then(|(guess, _)| guess.r2).map(|r2| ("baseline_r2", r2));
                let all = of_model.into_iter().chain(r2).chain(of_guess.into_iter().flatten()).chain(of_guess_r2);
                all.map(|(key, value)| (key, value.to_string())).collect()
            }
            Score::Unknown { .. } => Vec::new(),
        }
    }

    /// What a model file has kept of it.
    pub(super) fn of_file(words: &BTreeMap<String, String>, target: &Target) -> Score {
        let number = |key: &str| words.get(key).and_then(|number| number.parse::<f64>().ok());
        let whole = |key: &str| words.get(key).and_then(|number| number.parse::<u64>().ok());
        let rows = whole("validation_rows").unwrap_or(0);
        let errors = |of: &str| {
            let number = |what: &str| number(&format!("{of}_{what}"));
            Some(Errors { r2: number("r2"), rmse: number("rmse")?, mae: number("mae")? })
        };
        match target {
            Target::Classes(_) => match number("validation_errors") {
                None => Score::Unknown { rows },
                Some(errors) => {
                    let baseline = words.get("baseline_class").cloned().zip(whole("baseline_errors"));
                    Score::Accuracy(Accuracy { rows, errors, baseline })
                }
            },
            Target::Values(scales) => match errors("validation") {
                None => Score::Unknown { rows },
                Some(of_model) => {
                    let scale = if let [scale] = &scales[..] { Some(scale) } else { None };
                    Score::Fit(Fit {
                        rows,
                        name: scale.map(|scale| scale.name().to_owned()),
                        errors: of_model,
                        baseline: errors("baseline").map(|guess| (guess, scale.map(TargetScale::mean))),
                    })
                }
            },
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
                let of = counted(accuracy.rows, "validation row");
                let mut lines = vec![("accuracy", format!("{} of {of} (error {error:.4})", percent(error)))];
                lines.extend(accuracy.margin_in_words().map(|margin| ("margin", margin)));
                if let (Some((class, _)), Some(error)) = (&accuracy.baseline, accuracy.baseline_error()) {
                    let class = shown(class);
                    let guess = format!("by always saying {class}, the training rows' most frequent class");
                    lines.push(("baseline", format!("{} {guess}{verdict}", percent(error))));
                }
                lines
            }
            Score::Fit(Fit { rows, name, errors, baseline }) => {
                let over = counted(*rows, "validation row");
                let of = name.as_ref().map_or_else(String::new, |name| format!(" of {}", shown(name)));
                let mut lines = Vec::new();
                if baseline.is_some() {
                    lines.push(("r2", format!("{} over {over}", errors.r2_in_words())));
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
            Score::Unknown { rows } => vec![("quality", format!("- over {}", counted(*rows, "validation row")))],
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
            let rows = counted(self.rows, "validation row");
            format!("with {rows} the accuracy is known to about \u{b1} {points:.1} points")
        })
    }
}

impl Errors {
    fn r2_in_words(&self) -> String {
        self.r2.map_or_else(|| "-".to_owned(), |r2| format!("{r2:.4}"))
    }
}

fn percent(error: f64) -> String {
    format!("{:.2} %", 100.0 * (1.0 - error))
}

/// A number with five significant digits, of any magnitude.
pub(super) fn significant(value: f64) -> String {
    const DIGITS: i32 = 5;
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
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
mod tests {
    use super::*;

    fn measure(target: Target, baseline: Baseline) -> Measure {
        Measure { target: Some(target), baseline: Some(baseline) }
    }

    fn of_classes(errors: u64) -> Measure {
        measure(Target::Classes(vec!["oak".to_owned(), "ash".to_owned()]), Baseline::Class { class: 1, errors })
    }

    fn wrong(errors: f64) -> Metrics {
        Metrics::default().with(Metric::Loss, 1.0).with(Metric::Errors, errors)
    }

    fn text(score: &Score) -> Vec<String> {
        score.lines().iter().map(|(name, value)| format!("{name}: {value}")).collect()
    }

    /// One target of mean 100 and deviation 10; the guess is off by 1 deviation in each of four rows.
    fn of_price() -> Measure {
        let scale = TargetScale::new("price", 100.0, 10.0).unwrap();
        let guess = Baseline::Mean { squared: 4.0, absolute: 4.0, variation: 2.0 };
        measure(Target::Values(vec![scale]), guess)
    }

    fn off(squared: f64, absolute: f64) -> Metrics {
        let metrics = Metrics::default().with(Metric::Loss, squared / 2.0);
        metrics.with(Metric::SquaredError, squared).with(Metric::AbsoluteError, absolute)
    }

    #[test]
    fn an_accuracy_stands_beside_what_the_most_frequent_class_comes_to() {
        let score = of_classes(500).score(&wrong(100.0), 1_000);
        assert_eq!(
            text(&score),
            [
                "accuracy: 90.00 % of 1000 validation rows (error 0.1000)",
                "margin: with 1000 validation rows the accuracy is known to about \u{b1} 1.9 points",
                "baseline: 50.00 % by always saying ash, the training rows' most frequent class"
            ]
        );
        assert_eq!((score.columns(), score.cells()), (&["accuracy"][..], vec!["90.00 %".to_owned()]));
        let untold = Measure::default().score(&wrong(100.0), 100_000);
        assert_eq!(text(&untold), ["accuracy: 99.90 % of 100000 validation rows (error 0.0010)"]);
        assert_eq!(untold.beats_baseline(), None);
    }

    #[test]
    fn a_model_that_does_not_beat_the_baseline_says_so() {
        for (errors, beats) in [(499.0, true), (500.0, false), (501.0, false)] {
            let score = of_classes(500).score(&wrong(errors), 1_000);
            assert_eq!(score.beats_baseline(), Some(beats));
            assert_eq!(text(&score)[2].ends_with("; the model does not beat it"), !beats, "{score:?}");
        }
        for (squared, beats) in [(3.9, true), (4.0, false)] {
            let score = of_price().score(&off(squared, 1.0), 4);
            assert_eq!(score.beats_baseline(), Some(beats));
            assert_eq!(text(&score)[3].ends_with("; the model does not beat it"), !beats, "{score:?}");
        }
    }

    #[test]
    fn few_rows_leave_a_wide_margin_even_where_all_are_right() {
        let interval = |rows, errors| Accuracy { rows, errors, baseline: None }.interval();
        // Wilson's, as in the tables.
        let (low, high) = interval(10, 2.0);
        assert!((low - 0.4902).abs() < 1e-4 && (high - 0.9433).abs() < 1e-4, "{low} {high}");
        let (low, high) = interval(30, 0.0);
        assert!((low - 0.8865).abs() < 1e-4 && high == 1.0, "{low} {high}");
        let margin = |rows, errors| Accuracy { rows, errors, baseline: None }.margin_in_words();
        assert_eq!(margin(3_500, 123.0), None);
        assert!(
            margin(30, 0.0)
                .unwrap()
                .ends_with("with 30 validation rows the accuracy is known to about \u{b1} 5.7 points")
        );
        // What a lying coordinator says breaks nothing.
        assert!(margin(4, 9.0).is_some() && margin(0, f64::NAN).unwrap().ends_with("\u{b1} 50.0 points"));
    }

    #[test]
    fn errors_are_in_the_targets_unit_and_r2_is_about_the_validation_rows_mean() {
        let score = of_price().score(&off(1.0, 2.0), 4);
        assert_eq!(
            text(&score),
            [
                "r2: 0.5000 over 4 validation rows",
                "rmse: 5.0000 of price over 4 validation rows",
                "mae: 5.0000 of price",
                "baseline: rmse 10.000, mae 10.000 by always saying 100.00, the training rows' mean"
            ]
        );
        assert_eq!(score.columns(), ["r2", "rmse", "mae"]);
        assert_eq!(score.cells(), ["0.5000", "5.0000", "5.0000"]);
        let mut event = json!({});
        score.put_result(&mut event);
        assert_eq!(
            event,
            json!({
                "validation_r2": 0.5, "validation_rmse": 5.0, "validation_mae": 5.0, "target": "price",
                "baseline": {"mean": 100.0, "validation_r2": -1.0, "validation_rmse": 10.0, "validation_mae": 10.0},
                "beats_baseline": true,
            })
        );
    }

    #[test]
    fn numbers_without_notes_or_of_several_targets_are_in_deviations_and_name_no_target() {
        let score = Measure::default().score(&off(16.0, 4.0), 4);
        assert_eq!(text(&score), ["rmse: 2.0000 over 4 validation rows", "mae: 1.0000"]);
        assert_eq!(score.cells().len(), score.columns().len());
        let scales = vec![TargetScale::new("a", 1.0, 10.0).unwrap(), TargetScale::new("b", 1.0, 2.0).unwrap()];
        let guess = Baseline::Mean { squared: 4.0, absolute: 4.0, variation: 0.0 };
        let score = measure(Target::Values(scales), guess).score(&off(1.0, 2.0), 4);
        assert_eq!(
            text(&score),
            [
                "r2: - over 4 validation rows",
                "rmse: 0.50000 over 4 validation rows",
                "mae: 0.50000",
                "baseline: rmse 1.0000, mae 1.0000 by always saying the training rows' mean"
            ]
        );
    }

    #[test]
    fn a_model_file_keeps_the_whole_result() {
        let scales = vec![TargetScale::new("a", 1.0, 10.0).unwrap(), TargetScale::new("b", 1.0, 2.0).unwrap()];
        let guess = Baseline::Mean { squared: 4.0, absolute: 4.0, variation: 0.0 };
        let cases = [
            (of_classes(3), wrong(2.0)),
            (Measure { baseline: None, ..of_classes(3) }, wrong(2.0)),
            (of_price(), off(0.1, 0.3)),
            (measure(Target::Values(scales), guess), off(0.1, 0.3)),
        ];
        for (measure, metrics) in cases {
            let score = measure.score(&metrics, 7);
            let mut words: BTreeMap<String, String> =
                score.in_words().into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
            words.insert("validation_rows".to_owned(), "7".to_owned());
            assert_eq!(Score::of_file(&words, measure.target.as_ref().unwrap()), score, "{words:?}");
            assert_eq!(Score::of_file(&BTreeMap::new(), measure.target.as_ref().unwrap()), Score::Unknown { rows: 0 });
        }
    }

    #[test]
    fn numbers_of_any_magnitude_have_five_digits() {
        for (value, said) in [
            (0.0, "0"),
            (123_456.7, "123457"),
            (9.99999, "10.000"),
            (-0.000123456, "-0.00012346"),
            (1.5e-9, "1.5000e-9"),
            (2e12, "2.0000e12"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(significant(value), said);
        }
    }
}
