//! Figures of a model that tells classes apart. Owns the counts and what follows from them.

use super::confusion::{Confusion, ConfusionEntry};
use super::ranks::area_under_curve;
use super::total::Total;
use crate::model::kernel::Kernel;
use crate::model::lanes::{BLOCK_ROWS, LANES, Lanes};
use crate::model::loss;

/// Classes among which the right one is looked for.
pub const TOP: usize = 3;

/// Rows as they are counted.
pub struct ClassCounts {
    classes: usize,
    rows: u64,
    confusion: Confusion,
    in_top: u64,
    log_loss: Total,
    /// How likely each row is of each class, row by row; of two classes of the second. With it the rows' labels. None where there
    /// would be too many, or a row's outputs are not finite.
    scores: Option<Scores>,
    scores_max: usize,
}

#[derive(Default)]
struct Scores {
    labels: Vec<u32>,
    /// `[rows, columns]`
    odds: Vec<f32>,
}

/// How good a model is at telling classes apart.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassFigures {
    /// Rows; at least one.
    pub rows: u64,
    /// Rows that are taken for what they are.
    pub right: u64,
    /// Rows whose class is among the [`TOP`] with the largest outputs; none where there are no more classes than that.
    pub in_top: Option<u64>,
    /// The mean of the recalls of those classes that there are rows of.
    pub balanced_accuracy: f64,
    /// What the logarithm of the probability of each row's class lies below 0, summed over the rows.
    pub log_loss: f64,
    /// The mean of the areas under the curves of those classes that have one.
    pub auc: Option<f64>,
    /// Of each class.
    pub by_class: Vec<OfClass>,
    /// Which class was taken for which, in ascending order; all rows together.
    pub confusion: Vec<ConfusionEntry>,
}

/// How good a model is at a class. What would be divided by 0 is none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OfClass {
    /// Of the rows that are taken for it, the part that is.
    pub precision: Option<f64>,
    /// Of the rows that are of it, the part that is taken for it.
    pub recall: Option<f64>,
    /// The harmonic mean of both.
    pub f1: Option<f64>,
    /// Rows that are of it.
    pub support: u64,
    /// The area under its curve against the others.
    pub auc: Option<f64>,
}

/// A part of a whole, if there is a whole.
fn part(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// The mean of some numbers, added in their order.
fn mean(values: impl Iterator<Item = f64> + Clone) -> Option<f64> {
    let count = values.clone().count();
    (count > 0).then(|| values.sum::<f64>() / count as f64)
}

/// Scores that each row has.
fn columns(classes: usize) -> usize {
    if classes == 2 { 1 } else { classes }
}

impl ClassCounts {
    /// Counts of no row yet. Areas under curves are found out as long as there are no more scores than this, of each row one for
    /// each class.
    pub fn new(classes: usize, scores_max: usize) -> ClassCounts {
        ClassCounts {
            classes,
            rows: 0,
            confusion: Confusion::default(),
            in_top: 0,
            log_loss: Total::new(),
            scores: Some(Scores::default()),
            scores_max,
        }
    }

    /// Bytes that counts of so many rows take, and the figures of them, at most.
    pub(super) fn bytes_most(rows: u64, classes: u64, scores_max: usize) -> u64 {
        let scores = rows.saturating_mul(columns(classes as usize) as u64);
        // Beside the scores their labels, and those of one class in their order.
        let of_scores = if scores <= scores_max as u64 { 4 * scores + 12 * rows } else { 0 };
        let by_class = (size_of::<OfClass>() + 4 * size_of::<u64>()) as u64 * classes;
        Confusion::bytes_most(rows, classes) + of_scores + by_class
    }

    /// So many rows are all that come.
    pub(super) fn expect(&mut self, rows: usize) {
        self.scores = self.scores.take().filter(|_| rows.saturating_mul(columns(self.classes)) <= self.scores_max);
        if let Some(scores) = &mut self.scores {
            scores.labels.reserve_exact(rows);
            scores.odds.reserve_exact(rows * columns(self.classes));
        }
    }

    /// Takes the rows of a block in: their labels, and their logits, which become exponentials.
    pub(in crate::model) fn take(&mut self, kernel: Kernel, logits: &mut [Lanes], labels: &[u32]) {
        self.rows += labels.len() as u64;
        let mut predicted = [0; BLOCK_ROWS];
        let predicted = &mut predicted[..labels.len()];
        loss::predict(kernel, logits, predicted);
        for (&label, &taken_for) in labels.iter().zip(&*predicted) {
            self.confusion.take(label, taken_for);
        }
        let is_too_much = |scores: &Scores| {
            (scores.labels.len() + labels.len()).saturating_mul(columns(self.classes)) > self.scores_max
        };
        self.scores.take_if(|scores| is_too_much(scores));
        let mut are_finite = true;
        for (panel, labels) in logits.chunks_exact(self.classes).zip(labels.chunks(LANES)) {
            let before = before_label(panel, labels);
            self.in_top += before[..labels.len()].iter().filter(|before| (**before as usize) < TOP).count() as u64;
            are_finite &= panel.iter().all(|lanes| lanes.0[..labels.len()].iter().all(|logit| logit.is_finite()));
        }
        if !are_finite {
            self.scores = None;
        }
        let mut losses = [0.0; BLOCK_ROWS];
        let losses = &mut losses[..labels.len()];
        loss::exponentiate_with_losses(kernel, logits, labels, losses);
        losses.iter().for_each(|loss| self.log_loss.add(*loss));
        let Some(Scores { labels: all_labels, odds: all_odds }) = &mut self.scores else { return };
        all_labels.extend_from_slice(labels);
        for (panel, labels) in logits.chunks_exact(self.classes).zip(labels.chunks(LANES)) {
            for lane in 0..labels.len() {
                if let [first, second] = panel {
                    all_odds.push(odds(second.0[lane], first.0[lane]));
                } else {
                    push_odds(panel, lane, all_odds);
                }
            }
        }
    }

    /// The figures; none where there is no row.
    pub fn finish(self) -> Option<ClassFigures> {
        let ClassCounts { classes, rows, confusion, in_top, log_loss, scores, .. } = self;
        if rows == 0 {
            return None;
        }
        let confusion = confusion.finish();
        let (mut support, mut predicted, mut right) = (vec![0; classes], vec![0; classes], vec![0; classes]);
        for entry in &confusion {
            let (label, taken_for) = (entry.label as usize, entry.taken_for as usize);
            support[label] += entry.rows;
            predicted[taken_for] += entry.rows;
            if label == taken_for {
                right[label] += entry.rows;
            }
        }
        let areas = Areas::of(scores.as_ref(), classes);
        let of_class = |class: usize| OfClass {
            precision: part(right[class], predicted[class]),
            recall: part(right[class], support[class]),
            f1: part(2 * right[class], support[class] + predicted[class]),
            support: support[class],
            auc: areas.get(class),
        };
        let by_class: Vec<OfClass> = (0..classes).map(of_class).collect();
        Some(ClassFigures {
            rows,
            right: right.iter().sum(),
            in_top: (classes > TOP).then_some(in_top),
            balanced_accuracy: mean(by_class.iter().filter_map(|class| class.recall)).unwrap_or(0.0),
            log_loss: log_loss.value(),
            auc: mean(by_class.iter().filter_map(|class| class.auc)),
            by_class,
            confusion,
        })
    }
}

impl ClassFigures {
    /// Rows that are taken for another class than theirs.
    pub fn errors(&self) -> u64 {
        self.rows - self.right
    }
}

/// Areas under the curves of all classes, as far as there are any.
struct Areas(Vec<Option<f64>>);

impl Areas {
    fn of(scores: Option<&Scores>, classes: usize) -> Areas {
        let Some(Scores { labels, odds }) = scores else { return Areas(Vec::new()) };
        let columns = columns(classes);
        let mut keys = Vec::new();
        let mut area = |column: usize, class: u32| {
            let scores = odds.iter().skip(column).step_by(columns);
            area_under_curve(scores.copied().zip(labels.iter().map(|label| *label == class)), &mut keys)
        };
        Areas(match columns {
            // Which of two classes is asked for makes no difference.
            1 => vec![area(0, 1); 2],
            columns => (0..columns).map(|column| area(column, column as u32)).collect(),
        })
    }

    fn get(&self, class: usize) -> Option<f64> {
        self.0.get(class).copied().flatten()
    }
}

/// How many classes come before each row's label: their logits are larger, or as large and they come first.
fn before_label(panel: &[Lanes], labels: &[u32]) -> [u32; LANES] {
    let (mut own, mut of_label) = ([0.0; LANES], [u32::MAX; LANES]);
    for (lane, &label) in labels.iter().enumerate() {
        (own[lane], of_label[lane]) = (panel[label as usize].0[lane], label);
    }
    let mut before = [0; LANES];
    for (class, logits) in (0..).zip(panel) {
        for lane in 0..LANES {
            let is_before = logits.0[lane] > own[lane] || (logits.0[lane] == own[lane] && class < of_label[lane]);
            before[lane] += u32::from(is_before);
        }
    }
    before
}

/// How likely a row is of a class, as the odds: they rise with the probability, and tell those apart that are nearly 1.
fn odds(of_class: f32, of_others: f32) -> f32 {
    // One of a row's is 1, so that not both are 0.
    of_class / of_others
}

/// The odds of every class of the row in this lane: those of the others are added up from both ends.
fn push_odds(panel: &[Lanes], lane: usize, all: &mut Vec<f32>) {
    let start = all.len();
    all.resize(start + panel.len(), 0.0);
    let scores = &mut all[start..];
    let mut above = 0.0;
    for (score, exponentials) in scores.iter_mut().zip(panel).rev() {
        *score = above;
        above += exponentials.0[lane];
    }
    let mut below = 0.0;
    for (score, exponentials) in scores.iter_mut().zip(panel) {
        let of_class = exponentials.0[lane];
        *score = odds(of_class, below + *score);
        below += of_class;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The figures of rows of these labels and logits, however many are taken at a time.
    fn counted(classes: usize, rows: &[(u32, &[f32])]) -> ClassFigures {
        let of = |at_a_time: usize, kernel: Kernel| {
            let mut counts = ClassCounts::new(classes, 1 << 20);
            for rows in rows.chunks(at_a_time) {
                let mut panels = vec![Lanes::ZERO; rows.len().div_ceil(LANES) * classes];
                for (row, (_, logits)) in rows.iter().enumerate() {
                    for (class, logit) in logits.iter().enumerate() {
                        panels[row / LANES * classes + class].0[row % LANES] = *logit;
                    }
                }
                let labels: Vec<u32> = rows.iter().map(|(label, _)| *label).collect();
                counts.take(kernel, &mut panels, &labels);
            }
            counts.finish().unwrap()
        };
        let figures = of(1, Kernel::best());
        for kernel in Kernel::available() {
            assert_eq!(of(3, kernel), figures);
            assert_eq!(of(BLOCK_ROWS, kernel), figures);
        }
        figures
    }

    fn pairs(figures: &ClassFigures) -> Vec<(u32, u32, u64)> {
        figures.confusion.iter().map(|entry| (entry.label, entry.taken_for, entry.rows)).collect()
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
        assert_eq!((figures.rows, figures.right, figures.errors(), figures.in_top), (5, 3, 2, None));
        assert_eq!(figures.balanced_accuracy, (0.5 + 1.0 + 0.0) / 3.0);
        assert_eq!(pairs(&figures), [(0, 0, 1), (0, 1, 1), (1, 1, 2), (2, 0, 1)]);
        let [first, second, third] = &figures.by_class[..] else { panic!() };
        assert_eq!((first.precision, first.recall, first.f1, first.support), (Some(0.5), Some(0.5), Some(0.5), 2));
        assert_eq!((second.precision, second.recall, second.f1), (Some(2.0 / 3.0), Some(1.0), Some(0.8)));
        assert_eq!((third.precision, third.recall, third.f1, third.support), (None, Some(0.0), Some(0.0), 1));
        // Of the six pairs of a row of the first class and another, the row of the third class is before both, and
        // the others are behind both.
        assert_eq!(first.auc, Some(4.0 / 6.0));
        let softmax = |outputs: &[f32], label: usize| {
            let total: f64 = outputs.iter().map(|output| f64::from(*output).exp()).sum();
            -(f64::from(outputs[label]).exp() / total).ln()
        };
        let wanted = rows.iter().map(|(label, outputs)| softmax(outputs, *label as usize)).sum::<f64>();
        assert!((figures.log_loss - wanted).abs() < 5e-6, "{} {wanted}", figures.log_loss);
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
        assert_eq!(figures.in_top, Some(2));
    }

    #[test]
    fn scores_that_are_all_but_certain_are_still_told_apart() {
        // As probabilities in f32 all of these are 1.
        let rows: Vec<(u32, [f32; 2])> = (20..28).map(|z| (u32::from(z % 2 == 1), [0.0, z as f32])).collect();
        let two: Vec<(u32, &[f32])> = rows.iter().map(|(label, outputs)| (*label, &outputs[..])).collect();
        let auc = counted(2, &two).auc;
        assert_eq!(auc, Some(10.0 / 16.0));
        let rows: Vec<(u32, [f32; 3])> = rows.iter().map(|(label, [a, b])| (*label, [*a, *b, -50.0])).collect();
        let three: Vec<(u32, &[f32])> = rows.iter().map(|(label, outputs)| (*label, &outputs[..])).collect();
        let figures = counted(3, &three);
        assert_eq!((figures.by_class[0].auc, figures.by_class[1].auc), (auc, auc));
        // A class without a row has none, and no part in the mean.
        assert_eq!((figures.by_class[2].auc, figures.auc), (None, auc));
    }

    #[test]
    fn areas_are_left_out_beyond_so_many_scores_and_where_an_output_is_not_finite() {
        let mut rows = vec![Lanes([1.0; LANES]); 3];
        rows[1].0[3] = 2.0;
        let auc = |scores_max, rows: &[Lanes]| {
            let mut counts = ClassCounts::new(3, scores_max);
            counts.take(Kernel::best(), &mut rows.to_vec(), &[0, 0, 1, 1, 1, 2, 2, 2]);
            counts.finish().unwrap().auc
        };
        assert!(auc(24, &rows).is_some());
        assert_eq!(auc(23, &rows), None);
        rows[2].0[7] = f32::INFINITY;
        assert_eq!(auc(24, &rows), None);
    }
}
