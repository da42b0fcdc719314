//! What is right about a job's validation or test rows without any model. Owns the two guesses that every model is to beat; does not
//! know models.

use super::{Block, Prepared, Targets};

/// How far off a guess is that knows the training rows' targets, and nothing of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Baseline {
    /// Always the most frequent class of the training rows.
    Class {
        /// That class, the first of equally frequent ones.
        class: u32,
        /// Judged rows of other classes.
        errors: u64,
    },
    /// Always the mean of the training rows. All sums are over the judged rows and their targets, in standard deviations
    /// of the training rows.
    Mean {
        /// Of the squares of the targets' distances from it.
        squared: f64,
        /// Of their magnitudes.
        absolute: f64,
        /// Of the squares of the targets' distances from their own mean over the judged rows: what R² measures by.
        variation: f64,
    },
}

impl Prepared {
    /// The guess for the rows that validate.
    pub fn baseline(&self) -> Baseline {
        self.baseline_of(&self.validation)
    }

    /// The guess for those that only test, where some do.
    pub fn test_baseline(&self) -> Option<Baseline> {
        self.test.as_ref().map(|test| self.baseline_of(test))
    }

    /// What a row of each class weighs so that all classes weigh the same and the rows that train one on average; none where numbers
    /// are fitted. A class of which no row trains weighs one.
    pub fn balanced_weights(&self) -> Option<Vec<f32>> {
        let Targets::Classes(_) = &self.validation.targets else { return None };
        let counts = counts(&self.shards, self.target.outputs());
        let (rows, classes) = (counts.iter().sum::<u64>() as f64, counts.len() as f64);
        let weight = |&count: &u64| if count == 0 { 1.0 } else { (rows / (classes * count as f64)) as f32 };
        Some(counts.iter().map(weight).collect())
    }

    fn baseline_of(&self, judged: &Block) -> Baseline {
        match &judged.targets {
            Targets::Classes(labels) => of_classes(&self.shards, labels, self.target.outputs()),
            Targets::Values(targets) => of_values(targets, self.target.outputs()),
        }
    }
}

/// Rows of each class.
fn counts(shards: &[Block], classes: usize) -> Vec<u64> {
    let mut counts = vec![0u64; classes];
    for shard in shards {
        if let Targets::Classes(labels) = &shard.targets {
            labels.iter().for_each(|&label| counts[label as usize] += 1);
        }
    }
    counts
}

fn of_classes(shards: &[Block], validation: &[u32], classes: usize) -> Baseline {
    let counts = counts(shards, classes);
    // The first of several greatest.
    let class = (0..classes).rev().max_by_key(|&class| counts[class]).unwrap_or(0) as u32;
    Baseline::Class { class, errors: validation.iter().filter(|&&label| label != class).count() as u64 }
}

/// The mean of the training rows is 0 in their deviations.
fn of_values(targets: &[f32], width: usize) -> Baseline {
    let rows = targets.chunks_exact(width.max(1));
    let (mut squared, mut absolute) = (0.0, 0.0);
    let mut means = vec![0.0; width];
    for row in rows.clone() {
        for (&target, mean) in row.iter().zip(&mut means) {
            let target = f64::from(target);
            squared += target * target;
            absolute += target.abs();
            *mean += target;
        }
    }
    let count = rows.len().max(1) as f64;
    means.iter_mut().for_each(|mean| *mean /= count);
    let distance = |(&target, mean): (&f32, &f64)| (f64::from(target) - mean) * (f64::from(target) - mean);
    let variation = rows.map(|row| row.iter().zip(&means).map(distance).sum::<f64>()).sum();
    Baseline::Mean { squared, absolute, variation }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{Dataset, Preparation, Scaling, ShardCount, Sharding, ValidationSplit};
    use crate::model::InputLayout;

    fn block(targets: Targets) -> Block {
        Block { layout: InputLayout::default(), values: Vec::new(), indices: Vec::new(), targets }
    }

    #[test]
    fn the_most_frequent_class_of_the_training_rows_is_the_guess_the_first_of_equals() {
        let shards = [vec![2, 1], vec![1, 0, 2]].map(|labels| block(Targets::Classes(labels)));
        // Of the validation rows class 0 is the most frequent.
        assert_eq!(of_classes(&shards, &[0, 0, 0, 1, 2], 3), Baseline::Class { class: 1, errors: 4 });
        assert_eq!(of_classes(&shards[..1], &[2, 2], 3), Baseline::Class { class: 1, errors: 2 });
    }

    #[test]
    fn balanced_classes_weigh_the_same_and_the_rows_that_train_one_on_average() {
        let prepared = Dataset::built_in();
        let asked = Preparation {
            split: ValidationSplit::STRATIFIED_FIFTH,
            test: None,
            scaling: Scaling::None,
            sharding: Sharding::Stratified,
            shards: ShardCount::Exactly(3),
            seed: 1,
        };
        let prepared = prepared.prepare(&asked).unwrap();
        let weights = prepared.balanced_weights().unwrap();
        let counts = counts(&prepared.shards, 26);
        let rows: u64 = counts.iter().sum();
        for (weight, count) in weights.iter().zip(&counts) {
            assert!((f64::from(*weight) * *count as f64 - rows as f64 / 26.0).abs() < 1e-3);
        }
        assert_eq!(weights[0], (rows as f64 / (26.0 * counts[0] as f64)) as f32);
    }

    #[test]
    fn the_mean_of_the_training_rows_is_the_guess_and_the_variation_is_about_the_validation_rows_own() {
        let guess = of_values(&[1.0, 3.0, -2.0], 1);
        let variation = (1.0f64 - 2.0 / 3.0).powi(2) + (3.0f64 - 2.0 / 3.0).powi(2) + (-2.0f64 - 2.0 / 3.0).powi(2);
        assert_eq!(guess, Baseline::Mean { squared: 14.0, absolute: 6.0, variation });
        // Each target has a mean of its own.
        let both = of_values(&[1.0, 10.0, 1.0, 12.0], 2);
        assert_eq!(both, Baseline::Mean { squared: 246.0, absolute: 24.0, variation: 2.0 });
    }
}
