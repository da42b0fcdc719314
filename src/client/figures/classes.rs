//! Figures of a model that tells classes apart. Owns the counts and what follows from them.

use super::ranks::area_under_curve;

/// Classes up to which is counted which was taken for which.
const CONFUSION_CLASSES_MAX: usize = 50;
/// Scores that are kept for the areas under curves, at most: half a gibibyte.
const SCORES_MAX: usize = 1 << 27;
/// Classes among which the right one is looked for.
const TOP: usize = 3;

/// Rows as they are counted.
pub(in crate::client) struct ClassCounts {
    classes: usize,
    /// By class: rows that are of it, rows that are taken for it, rows that are both.
    support: Vec<u64>,
    predicted: Vec<u64>,
    right: Vec<u64>,
    /// `[label, class that it is taken for]`, where classes are few.
    confusion: Option<Vec<u64>>,
    in_top: u64,
    loss: f64,
    labels: Vec<u32>,
    /// Of each class, how likely each row is of it; of two classes the second. None where there would be too many.
    scores: Option<Vec<Vec<f32>>>,
}

/// How good a model is, and a guess: the best that knows how frequent classes are among these rows, and nothing of a row.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::client) struct ClassFigures {
    pub(in crate::client) rows: u64,
    /// The most frequent class, the first of equals.
    pub(in crate::client) most_frequent: usize,
    /// Name, the model's, and the guess's; the last is none where there is none.
    pub(in crate::client) figures: Vec<(&'static str, Option<f64>, Option<f64>)>,
    pub(in crate::client) by_class: Vec<OfClass>,
    pub(in crate::client) confusion: Option<Vec<u64>>,
}

/// How good a model is at a class. What would be divided by 0 is none.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::client) struct OfClass {
    /// Of the rows that are taken for it, the part that is.
    pub(in crate::client) precision: Option<f64>,
    /// Of the rows that are of it, the part that is taken for it.
    pub(in crate::client) recall: Option<f64>,
    /// The harmonic mean of both.
    pub(in crate::client) f1: Option<f64>,
    /// Rows that are of it.
    pub(in crate::client) support: u64,
    /// The area under its curve against the others.
    pub(in crate::client) auc: Option<f64>,
}

fn part(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

fn mean(values: impl Iterator<Item = f64> + Clone) -> Option<f64> {
    let count = values.clone().count();
    (count > 0).then(|| values.sum::<f64>() / count as f64)
}

impl ClassCounts {
    pub(in crate::client) fn new(classes: usize) -> ClassCounts {
        let columns = if classes == 2 { 1 } else { classes };
        ClassCounts {
            classes,
            support: vec![0; classes],
            predicted: vec![0; classes],
            right: vec![0; classes],
            confusion: (classes <= CONFUSION_CLASSES_MAX).then(|| vec![0; classes * classes]),
            in_top: 0,
            loss: 0.0,
            labels: Vec::new(),
            scores: Some(vec![Vec::new(); columns]),
        }
    }

    /// Takes rows in: their labels, the classes that they are taken for, the outputs and their exponentials, and the sum of
    /// their losses.
    pub(in crate::client) fn take(
        &mut self,
        labels: &[u32],
        predicted: &[u32],
        outputs: &[f32],
        exponentials: &[f32],
        loss: f64,
    ) {
        self.loss += loss;
        if self.scores.as_ref().is_some_and(|scores| (self.labels.len() + labels.len()) * scores.len() > SCORES_MAX) {
            self.scores = None;
        }
        self.labels.extend_from_slice(if self.scores.is_some() { labels } else { &[] });
        let rows = outputs.chunks_exact(self.classes).zip(exponentials.chunks_exact(self.classes));
        for ((&label, &predicted), (outputs, exponentials)) in labels.iter().zip(predicted).zip(rows) {
            let (label, predicted) = (label as usize, predicted as usize);
            self.support[label] += 1;
            self.predicted[predicted] += 1;
            self.right[label] += u64::from(label == predicted);
            if let Some(confusion) = &mut self.confusion {
                confusion[label * self.classes + predicted] += 1;
            }
            let is_before = |(class, output): (usize, &f32)| {
                *output > outputs[label] || (*output == outputs[label] && class < label)
            };
            let before = outputs.iter().enumerate().filter(|output| is_before(*output)).count();
            self.in_top += u64::from(before < TOP);
            match self.scores.as_deref_mut() {
                Some([scores]) => scores.push(odds(exponentials[1], exponentials[0])),
                Some(scores) => push_odds(exponentials, scores),
                None => {}
            }
        }
    }

    /// The figures; none where there is no row.
    pub(in crate::client) fn finish(self) -> Option<ClassFigures> {
        let rows: u64 = self.support.iter().sum();
        if rows == 0 {
            return None;
        }
        let is_of = |class: usize| self.labels.iter().map(move |&label| label as usize == class);
        let areas: Vec<Option<f64>> = match self.scores.as_deref() {
            // Which of two classes is asked for makes no difference.
            Some([scores]) => vec![area_under_curve(scores, is_of(1)); 2],
            Some(scores) => {
                scores.iter().enumerate().map(|(class, scores)| area_under_curve(scores, is_of(class))).collect()
            }
            None => vec![None; self.classes],
        };
        let of_class = |class: usize| {
            let (right, support, predicted) = (self.right[class], self.support[class], self.predicted[class]);
            OfClass {
                precision: part(right, predicted),
                recall: part(right, support),
                f1: part(2 * right, support + predicted),
                support,
                auc: areas[class],
            }
        };
        let by_class: Vec<OfClass> = (0..self.classes).map(of_class).collect();
        // The first of several greatest.
        let most_frequent = (0..self.classes).rev().max_by_key(|&class| self.support[class]).unwrap_or(0);
        let present = by_class.iter().filter(|class| class.support > 0).count();
        let mut frequent = self.support.clone();
        frequent.sort_unstable_by(|a, b| b.cmp(a));
        let shares = self.support.iter().filter(|&&support| support > 0).map(|&support| support as f64 / rows as f64);
        let entropy = shares.map(|share| -share * share.ln()).sum::<f64>();
        let mut figures = vec![
            ("accuracy", part(self.right.iter().sum(), rows), part(self.support[most_frequent], rows)),
            (
                "balanced_accuracy",
                mean(by_class.iter().filter_map(|class| class.recall)),
                (present > 0).then(|| 1.0 / present as f64),
            ),
            ("log_loss", Some(self.loss / rows as f64), Some(entropy)),
        ];
        if self.classes > TOP {
            figures.push(("top_3_accuracy", part(self.in_top, rows), part(frequent[..TOP].iter().sum(), rows)));
        }
        let auc = mean(by_class.iter().filter_map(|class| class.auc));
        figures.push(("auc", auc, auc.map(|_| 0.5)));
        Some(ClassFigures { rows, most_frequent, figures, by_class, confusion: self.confusion })
    }
}

/// How likely a row is of a class, as the odds: they rise with the probability, and tell those apart that are nearly 1.
fn odds(of_class: f32, of_others: f32) -> f32 {
    // One of a row's is 1, so that not both are 0.
    of_class / of_others
}

/// The odds of every class: those of the others are added up from both ends.
fn push_odds(exponentials: &[f32], scores: &mut [Vec<f32>]) {
    let mut above = 0.0;
    let first = scores.first().map_or(0, Vec::len);
    for (scores, exponential) in scores.iter_mut().zip(exponentials).rev() {
        scores.push(above);
        above += exponential;
    }
    let mut below = 0.0;
    for (scores, exponential) in scores.iter_mut().zip(exponentials) {
        scores[first] = odds(*exponential, below + scores[first]);
        below += exponential;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Logits of rows, the class of each.
    fn counted(classes: usize, rows: &[(u32, &[f32])]) -> ClassFigures {
        let mut counts = ClassCounts::new(classes);
        for (label, outputs) in rows {
            let largest = outputs.iter().copied().fold(f32::MIN, f32::max);
            let predicted = outputs.iter().position(|output| *output == largest).unwrap() as u32;
            let exponentials: Vec<f32> = outputs.iter().map(|output| (output - largest).exp()).collect();
            let total: f32 = exponentials.iter().sum();
            let loss = -f64::from(exponentials[*label as usize] / total).ln();
            counts.take(&[*label], &[predicted], outputs, &exponentials, loss);
        }
        counts.finish().unwrap()
    }

    fn figure(figures: &ClassFigures, name: &str) -> (Option<f64>, Option<f64>) {
        let found = figures.figures.iter().find(|(of, ..)| *of == name);
        found.map(|(_, model, guess)| (*model, *guess)).unwrap()
    }

    #[test]
    fn figures_of_three_classes_are_those_of_their_definitions() {
        let rows: [(u32, &[f32]); 5] = [
            (0, &[2.0, 1.0, 0.0]),
            (0, &[0.0, 1.0, 0.0]),
            (1, &[0.0, 3.0, 1.0]),
            (1, &[0.0, 3.0, 3.0]),
            (2, &[5.0, 0.0, 1.0]),
        ];
        let figures = counted(3, &rows);
        assert_eq!((figures.rows, figures.most_frequent), (5, 0));
        assert_eq!(figure(&figures, "accuracy"), (Some(0.6), Some(0.4)));
        assert_eq!(figure(&figures, "balanced_accuracy"), (Some((0.5 + 1.0 + 0.0) / 3.0), Some(1.0 / 3.0)));
        assert_eq!(figures.confusion.as_deref(), Some(&[1, 1, 0, 0, 2, 0, 1, 0, 0][..]));
        let [first, second, third] = &figures.by_class[..] else { panic!() };
        assert_eq!((first.precision, first.recall, first.f1, first.support), (Some(0.5), Some(0.5), Some(0.5), 2));
        assert_eq!((second.precision, second.recall, second.f1), (Some(2.0 / 3.0), Some(1.0), Some(0.8)));
        assert_eq!((third.precision, third.recall, third.f1, third.support), (None, Some(0.0), Some(0.0), 1));
        // Of the six pairs of a row of the first class and another, the row of the third class is before both, and
        // the others are behind both.
        assert_eq!(first.auc, Some(4.0 / 6.0));
        let (loss, guess) = figure(&figures, "log_loss");
        let softmax = |outputs: &[f32], label: usize| {
            let total: f64 = outputs.iter().map(|output| f64::from(*output).exp()).sum();
            -(f64::from(outputs[label]).exp() / total).ln()
        };
        let wanted = rows.iter().map(|(label, outputs)| softmax(outputs, *label as usize)).sum::<f64>() / 5.0;
        assert!((loss.unwrap() - wanted).abs() < 1e-6, "{loss:?} {wanted}");
        let entropy = -(0.4f64 * 0.4f64.ln() * 2.0 + 0.2 * 0.2f64.ln());
        assert!((guess.unwrap() - entropy).abs() < 1e-12);
        assert!(figures.figures.iter().all(|(name, ..)| *name != "top_3_accuracy"));
    }

    #[test]
    fn the_right_class_counts_among_the_first_three_and_of_equal_outputs_the_first_comes_first() {
        let figures = counted(
            5,
            &[
                (3, &[4.0, 3.0, 2.0, 2.0, 1.0]),
                (2, &[4.0, 3.0, 2.0, 2.0, 1.0]),
                (4, &[1.0, 1.0, 1.0, 1.0, 1.0]),
                (4, &[1.0, 0.0, 0.0, 0.0, 1.0]),
            ],
        );
        assert_eq!(figure(&figures, "top_3_accuracy"), (Some(0.5), Some(1.0)));
    }

    #[test]
    fn scores_that_are_all_but_certain_are_still_told_apart() {
        // As probabilities in f32 all of these are 1.
        let rows: Vec<(u32, [f32; 2])> = (20..28).map(|z| (u32::from(z % 2 == 1), [0.0, z as f32])).collect();
        let two: Vec<(u32, &[f32])> = rows.iter().map(|(label, outputs)| (*label, &outputs[..])).collect();
        let auc = figure(&counted(2, &two), "auc").0;
        assert_eq!(auc, Some(10.0 / 16.0));
        let rows: Vec<(u32, [f32; 3])> = rows.iter().map(|(label, [a, b])| (*label, [*a, *b, -50.0])).collect();
        let three: Vec<(u32, &[f32])> = rows.iter().map(|(label, outputs)| (*label, &outputs[..])).collect();
        let figures = counted(3, &three);
        assert_eq!((figures.by_class[0].auc, figures.by_class[1].auc), (auc, auc));
        // A class without a row has none, and no part in the mean.
        assert_eq!((figures.by_class[2].auc, figure(&figures, "auc").0), (None, auc));
    }
}
