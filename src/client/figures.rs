//! Figures by their names, the model's and beside each what a guess without a model comes to. Owns names, guesses and decimals; does
//! not know how a figure is found out (`model::figures`), or where rows come from.

use crate::model::figures::{ClassFigures, TOP, ValueFigures, ValueSums};
use crate::model::scaling::TargetScale;
use crate::wire::text::shown;

/// A figure: what it is called, the model's, the guess's. None where there is none.
pub(super) type Figure = (&'static str, Option<f64>, Option<f64>);

/// The name of the figure that says how often the right class is among the first [`TOP`].
pub(super) const IN_TOP: &str = "top_3_accuracy";
const _: () = assert!(TOP == 3);

/// Rows of a class below which figures that weigh classes alike are chance, and rows in all from on which that is worth a word: of
/// fewer all figures are.
const FEW_OF_CLASS: u64 = 10;
const ROWS_ENOUGH: u64 = 100;

/// That few of the rows that judge a model, of each class as many, are of the rarest class that is there.
pub(super) fn few_of_rarest(names: &[String], supports: &[u64], of: &str) -> Option<String> {
    let there = names.iter().zip(supports).filter(|(_, support)| **support > 0);
    let (name, &rows) = there.min_by_key(|(_, support)| **support)?;
    (rows < FEW_OF_CLASS && supports.iter().sum::<u64>() >= ROWS_ENOUGH).then(|| {
        let (are, rest) = if rows == 1 { ("is", "it") } else { ("are", "them") };
        format!(
            "only {rows} of the {of} {are} of the class {}: balanced accuracy and AUC rest on {rest}, and other rows may say otherwise",
            shown(name)
        )
    })
}

/// A figure that is a part of something, a loss or R²; none may be there.
pub(super) fn rate(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), four_decimals)
}

/// A number with four decimals, and no sign where all of its digits are 0.
pub(super) fn four_decimals(value: f64) -> String {
    let text = format!("{value:.4}");
    if text == "-0.0000" { text[1..].to_owned() } else { text }
}

/// The most frequent class of the rows, the first of equals: what the guess always says, which knows how frequent classes are among
/// these rows, and nothing of a row.
pub(super) fn most_frequent(figures: &ClassFigures) -> usize {
    (0..figures.by_class.len()).rev().max_by_key(|&class| figures.by_class[class].support).unwrap_or(0)
}

/// The figures of a model that tells classes apart.
pub(super) fn of_classes(figures: &ClassFigures) -> Vec<Figure> {
    let rows = figures.rows as f64;
    let part = |part: u64| Some(part as f64 / rows);
    let mut frequent: Vec<u64> = figures.by_class.iter().map(|class| class.support).collect();
    frequent.sort_unstable_by(|a, b| b.cmp(a));
    let present = frequent.iter().filter(|support| **support > 0).count().max(1);
    let shares = figures.by_class.iter().map(|class| class.support).filter(|support| *support > 0);
    let entropy = shares.map(|support| support as f64 / rows).map(|share| -share * share.ln()).sum::<f64>();
    // Of one class alone it is 0, and not -0.
    let entropy = entropy + 0.0;
    let mut all = vec![
        ("accuracy", part(figures.right), part(frequent.first().copied().unwrap_or(0))),
        ("balanced_accuracy", Some(figures.balanced_accuracy), Some(1.0 / present as f64)),
        ("log_loss", Some(figures.log_loss / rows), Some(entropy)),
    ];
    if let Some(in_top) = figures.in_top {
        all.push((IN_TOP, part(in_top), part(frequent[..TOP].iter().sum())));
    }
    all.push(("auc", figures.auc, figures.auc.map(|_| 0.5)));
    all
}

/// The figures of a model that fits a target of which 1 is so much in the target's unit, beside those of a guess.
fn of_values(model: &ValueFigures, guess: &ValueFigures, unit: f64) -> [Figure; 3] {
    let (model, guess) = (model.errors(unit), guess.errors(unit));
    [
        ("r2", model.r2, guess.r2),
        ("rmse", Some(model.rmse), Some(guess.rmse)),
        ("mae", Some(model.mae), Some(guess.mae)),
    ]
}

/// How good a model is at one target.
#[derive(Clone, Debug)]
pub(super) struct OfTarget {
    pub(super) name: String,
    pub(super) rows: u64,
    /// What the guess always says: the mean of the training rows, which knows nothing of a row.
    pub(super) guess: f64,
    pub(super) figures: [Figure; 3],
}

/// Sums over rows for each of some targets: those of the model, and those of the guess, which is always the mean.
pub(super) struct TargetSums(Vec<[ValueSums; 2]>);

impl TargetSums {
    /// Of so many targets, and no row yet.
    pub(super) fn new(targets: usize) -> TargetSums {
        TargetSums((0..targets).map(|_| [1, 1].map(ValueSums::new)).collect())
    }

    /// Takes a row in: an output and a value for each target, in deviations from its mean.
    pub(super) fn take(&mut self, outputs: &[f32], targets: &[f32]) {
        for (([model, guess], target), output) in self.0.iter_mut().zip(targets).zip(outputs) {
            model.take([*output], &[*target]);
            guess.take([0.0], &[*target]);
        }
    }

    /// The figures of each target, which are scaled so; none where there is no row.
    pub(super) fn finish(&self, scales: &[TargetScale]) -> Option<Vec<OfTarget>> {
        let figures = |([model, guess], scale): (&[ValueSums; 2], &TargetScale)| {
            let (model, guess) = (model.finish()?, guess.finish()?);
            let figures = of_values(&model, &guess, scale.deviation());
            Some(OfTarget { name: scale.name().to_owned(), rows: model.rows, guess: scale.mean(), figures })
        };
        self.0.iter().zip(scales).map(figures).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::figures::OfClass;

    #[test]
    fn the_guess_knows_how_frequent_classes_are_and_nothing_of_a_row() {
        let by_class = [4, 1, 0, 4, 3].map(|support| OfClass { support, ..OfClass::default() });
        let figures = ClassFigures {
            rows: 12,
            right: 6,
            in_top: Some(9),
            balanced_accuracy: 0.75,
            log_loss: 6.0,
            auc: None,
            by_class: by_class.into(),
            confusion: Vec::new(),
        };
        assert_eq!(most_frequent(&figures), 0);
        let [accuracy, balanced, (_, log_loss, entropy), in_top, auc] = of_classes(&figures)[..] else { panic!() };
        assert_eq!(accuracy, ("accuracy", Some(0.5), Some(4.0 / 12.0)));
        assert_eq!(balanced, ("balanced_accuracy", Some(0.75), Some(0.25)));
        assert_eq!((in_top, auc), (("top_3_accuracy", Some(0.75), Some(11.0 / 12.0)), ("auc", None, None)));
        let exact: f64 = [4.0, 1.0, 4.0, 3.0f64].map(|support| -support / 12.0 * (support / 12.0).ln()).iter().sum();
        assert!(log_loss == Some(0.5) && (entropy.unwrap() - exact).abs() < 1e-12);
    }

    #[test]
    fn few_rows_of_a_class_are_said_where_there_are_enough_of_others() {
        let names = ["a", "b", "c"].map(str::to_owned);
        let said = |supports: [u64; 3]| few_of_rarest(&names, &supports, "540 test rows");
        assert_eq!((said([300, 10, 230]), said([50, 3, 0])), (None, None));
        assert!(said([500, 0, 3]).unwrap().starts_with("only 3 of the 540 test rows are of the class c: "));
        assert!(said([500, 1, 30]).unwrap().starts_with("only 1 of the 540 test rows is of the class b: "));
    }

    #[test]
    fn no_figure_is_less_than_nothing() {
        let by_class = [0, 5, 0].map(|support| OfClass { support, ..OfClass::default() }).into();
        let (rows, right, balanced_accuracy, log_loss) = (5, 5, 1.0, 0.0);
        let confusion = Vec::new();
        let one =
            ClassFigures { rows, right, in_top: None, balanced_accuracy, log_loss, auc: None, by_class, confusion };
        let entropy = of_classes(&one).iter().find(|(name, ..)| *name == "log_loss").and_then(|(.., guess)| *guess);
        assert_eq!(entropy.map(f64::to_bits), Some(0));
        let shown = [-0.0, -4e-5, 4e-5, -6e-5, 0.25, f64::NAN].map(four_decimals);
        assert_eq!(shown, ["0.0000", "0.0000", "0.0000", "-0.0001", "0.2500", "NaN"]);
        assert_eq!((rate(None), rate(Some(-0.0))), ("-".to_owned(), "0.0000".to_owned()));
    }

    #[test]
    fn figures_of_values_are_in_the_targets_unit() {
        let sums = |told: [f32; 2]| {
            let mut sums = ValueSums::new(1);
            told.iter().zip([1.0, -3.0]).for_each(|(told, target)| sums.take([*told], &[target]));
            sums.finish().unwrap()
        };
        let [r2, rmse, mae] = of_values(&sums([2.0, -3.0]), &sums([0.0, 0.0]), 10.0);
        assert_eq!((r2.1, r2.2), (Some(1.0 - 1.0 / 8.0), Some(1.0 - 10.0 / 8.0)));
        assert_eq!((rmse.1, rmse.2), (Some(0.5f64.sqrt() * 10.0), Some(5.0f64.sqrt() * 10.0)));
        assert_eq!((mae.1, mae.2), (Some(5.0), Some(20.0)));
    }
}
