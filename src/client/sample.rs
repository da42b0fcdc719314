//! Whether rows are those that a model was trained on. Owns the sample of training rows that goes with a model, and what it says of
//! other rows; does not know where rows come from.
//!
//! The sample is the smallest hashes of the training rows. Of any rows, those whose hash is as small are a fair sample, too, and how
//! many of them are in the model's is about the share of all that trained it: in whatever order, file or format they come.

use crate::dataset::{Block, Targets, spread};

/// Hashes that a sample has, at most: it tells a share to about six hundredths.
const HASHES_MAX: usize = 64;
/// Rows of those that are as small, below which a share is chance.
const ROWS_MIN: u64 = 8;
/// The share of rows from which on it is told that they trained: some rows are equal in most files.
const SHARE_MIN: f64 = 0.25;

/// The smallest hashes of the rows that trained a model, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrainingSample(Vec<u64>);

impl TrainingSample {
    /// What it is called in notes and, behind `job.`, in a model file.
    pub(super) const KEY: &str = "training_sample";

    /// Of all rows of these blocks.
    pub(super) fn of(shards: &[Block]) -> TrainingSample {
        let mut sample = TrainingSample::default();
        for block in shards {
            let (layout, rows) = (&block.layout, block.rows());
            let inputs = layout.inputs() as usize;
            let width = match &block.targets {
                Targets::Classes(_) => 1,
                Targets::Values(values) => values.len() / rows.max(1),
            };
            let factors = Factors::new(inputs + width);
            let (plain, columns) = (layout.plain_inputs() as usize, layout.columns().len());
            for row in 0..rows {
                let values = &block.values[row * plain..][..plain];
                let of_runs =
                    layout.plain_runs().map(|(input, from, count)| factors.sum(input, &values[from..][..count]));
                let of_indices = layout.ranges().enumerate().map(|(column, (first, levels))| {
                    let index = layout.index(&block.indices, row * columns + column);
                    if index < levels { factors.product(first + index as usize, 1.0f32.to_bits()) } else { 0 }
                });
                let sum = of_runs.chain(of_indices).fold(0, u64::wrapping_add);
                let target = match &block.targets {
                    Targets::Classes(labels) => factors.product(inputs, labels[row]),
                    Targets::Values(values) => factors.sum(inputs, &values[row * width..][..width]),
                };
                sample.take(spread(sum.wrapping_add(target)));
            }
        }
        sample
    }

    /// Takes a row's hash in, if it is among the smallest.
    fn take(&mut self, hash: u64) {
        if self.is_full() && self.0.last().is_some_and(|&last| hash > last) {
            return;
        }
        if let Err(place) = self.0.binary_search(&hash) {
            self.0.insert(place, hash);
            self.0.truncate(HASHES_MAX);
        }
    }

    /// Whether there were more rows than are in it.
    fn is_full(&self) -> bool {
        self.0.len() == HASHES_MAX
    }

    /// As 16 hexadecimal digits each, with commas between.
    pub(super) fn in_words(&self) -> String {
        let hashes: Vec<String> = self.0.iter().map(|hash| format!("{hash:016x}")).collect();
        hashes.join(",")
    }

    /// What [`TrainingSample::in_words`] has written.
    pub(super) fn from_words(words: &str) -> Option<TrainingSample> {
        let is_hash = |word: &str| word.len() == 16 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        let hash = |word: &str| u64::from_str_radix(word, 16).ok().filter(|_| is_hash(word));
        let hashes = words.split(',').map(hash).collect::<Option<Vec<u64>>>()?;
        (hashes.len() <= HASHES_MAX && hashes.is_sorted_by(|a, b| a < b)).then_some(TrainingSample(hashes))
    }
}

/// What each number of a row is multiplied by.
struct Factors(Vec<u64>);

impl Factors {
    /// For so many numbers.
    fn new(count: usize) -> Factors {
        Factors((1..=count as u64).map(spread).collect())
    }

    fn product(&self, place: usize, bits: u32) -> u64 {
        self.0[place].wrapping_mul(bits.into())
    }

    /// Of numbers that stand one behind the other.
    fn sum(&self, first: usize, values: &[f32]) -> u64 {
        // Both zeros are one number, which adds nothing.
        let products = self.0[first..].iter().zip(values);
        products.fold(0, |sum, (factor, value)| sum.wrapping_add(factor.wrapping_mul((value + 0.0).to_bits().into())))
    }
}

/// Rows, as they are compared with a sample.
pub(super) struct Compared {
    sample: TrainingSample,
    factors: Factors,
    inputs: usize,
    rows: u64,
    /// Rows whose hash is as small as those of the sample.
    small: u64,
    /// Of these, the ones that are in it.
    trained: u64,
}

/// The share of some rows that trained a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct TrainedShare {
    /// Rows that were looked for, and how many of them trained.
    pub(super) small: u64,
    pub(super) trained: u64,
    /// Whether these are all rows.
    is_exact: bool,
}

impl Compared {
    /// None yet, of so many inputs and targets.
    pub(super) fn new(sample: TrainingSample, inputs: usize, targets: usize) -> Compared {
        Compared { sample, factors: Factors::new(inputs + targets), inputs, rows: 0, small: 0, trained: 0 }
    }

    /// Takes rows in: their inputs, and their labels or, where there are none, their targets.
    pub(super) fn take(&mut self, inputs: &[f32], labels: &[u32], targets: &[f32]) {
        let width = self.factors.0.len() - self.inputs;
        let least_beyond = if self.sample.is_full() { self.sample.0.last().copied() } else { None };
        let mut take = |inputs: &[f32], target: u64| {
            let hash = spread(self.factors.sum(0, inputs).wrapping_add(target));
            self.rows += 1;
            self.small += u64::from(least_beyond.is_none_or(|last| hash <= last));
            self.trained += u64::from(self.sample.0.binary_search(&hash).is_ok());
        };
        let rows = inputs.chunks_exact(self.inputs.max(1));
        match labels {
            [] => rows
                .zip(targets.chunks_exact(width.max(1)))
                .for_each(|(row, targets)| take(row, self.factors.sum(self.inputs, targets))),
            labels => rows.zip(labels).for_each(|(row, &label)| take(row, self.factors.product(self.inputs, label))),
        }
    }

    /// What is found; none where too few rows could be looked for.
    pub(super) fn share(&self) -> Option<TrainedShare> {
        let is_exact = !self.sample.is_full() || self.small == self.rows;
        let share = TrainedShare { small: self.small, trained: self.trained, is_exact };
        (is_exact && self.rows > 0 || self.small >= ROWS_MIN).then_some(share)
    }
}

impl TrainedShare {
    /// As a number.
    pub(super) fn value(&self) -> f64 {
        self.trained as f64 / self.small as f64
    }

    /// In words, where it is so much that figures of these rows are worth less.
    pub(super) fn in_words(&self) -> Option<String> {
        let TrainedShare { small, trained, is_exact } = *self;
        let percent = 100.0 * self.value();
        (self.value() >= SHARE_MIN).then(|| match is_exact {
            true => format!("{trained} of these rows also trained the model, equal in every value"),
            false => format!(
                "about {percent:.0} % of these rows ({trained} of {small} sampled) also trained the model, equal in every value"
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::InputLayout;

    /// Rows of two inputs that are written as they are, one behind an index column of three inputs.
    fn block(rows: impl Iterator<Item = u32> + Clone) -> Block {
        let plain = |row: u32| [row as f32 / 7.0, -(row as f32)];
        Block {
            layout: InputLayout::new(5, &[[1, 3]]).unwrap(),
            values: rows.clone().flat_map(plain).collect(),
            indices: rows.clone().map(|row| (row % 4) as u8).collect(),
            targets: Targets::Classes(rows.map(|row| row % 2).collect()),
        }
    }

    /// What is found of such rows, whose inputs are all written as they are.
    fn share(sample: &TrainingSample, rows: impl Iterator<Item = u32>) -> Option<TrainedShare> {
        let mut compared = Compared::new(sample.clone(), 5, 1);
        for row in rows {
            let mut inputs = [row as f32 / 7.0, 0.0, -0.0, 0.0, -(row as f32)];
            if row % 4 < 3 {
                inputs[1 + row as usize % 4] = 1.0;
            }
            compared.take(&inputs, &[row % 2], &[]);
        }
        compared.share()
    }

    #[test]
    fn a_share_of_rows_that_trained_is_told_to_six_hundredths_and_of_few_rows_exactly() {
        let sample = TrainingSample::of(&[block(0..3_000), block(3_000..10_000)]);
        assert_eq!(TrainingSample::from_words(&sample.in_words()), Some(sample.clone()));
        assert_eq!(sample, TrainingSample::of(&[block((0..10_000).rev())]));
        for (rows, expected) in [(0..10_000, 1.0), (5_000..15_000, 0.5), (10_000..20_000, 0.0)] {
            let share = share(&sample, rows.clone()).unwrap();
            assert!((share.value() - expected).abs() < 0.15, "{rows:?}: {share:?}");
            assert_eq!(share.in_words().is_some(), expected > 0.0, "{rows:?}: {share:?}");
        }
        assert_eq!(share(&sample, 0..10), None);
        let few = TrainingSample::of(&[block(0..40)]);
        let exact = share(&few, 20..60).unwrap();
        assert_eq!(exact, TrainedShare { small: 40, trained: 20, is_exact: true });
        assert_eq!(exact.in_words().unwrap(), "20 of these rows also trained the model, equal in every value");
    }

    #[test]
    fn a_row_with_another_label_did_not_train() {
        let few = TrainingSample::of(&[block(0..40)]);
        let mut compared = Compared::new(few, 5, 1);
        compared.take(&[1.0, 0.0, 0.0, 0.0, -7.0], &[0], &[]);
        compared.take(&[1.0, 0.0, 0.0, 0.0, -7.0], &[1], &[]);
        assert_eq!(compared.share().unwrap().trained, 1);
    }

    #[test]
    fn numbers_that_are_fitted_are_part_of_their_rows() {
        let targets = Targets::Values(vec![0.5, -1.0]);
        let block = Block { layout: InputLayout::plain(1), values: vec![2.0], indices: Vec::new(), targets };
        let sample = TrainingSample::of(&[block]);
        let mut compared = Compared::new(sample, 1, 2);
        compared.take(&[2.0, 2.0], &[], &[0.5, -1.0, -1.0, 0.5]);
        assert_eq!(compared.share(), Some(TrainedShare { small: 2, trained: 1, is_exact: true }));
    }

    #[test]
    fn words_that_are_no_sample_are_none() {
        for words in
            ["", "ff", "00000000000000ff,00000000000000ff", "00000000000000ff,0000000000000001", "+0000000000000ff"]
        {
            assert_eq!(TrainingSample::from_words(words), None, "{words}");
        }
    }
}
