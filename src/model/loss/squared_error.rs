//! Half the squared distance of outputs from numbers. Owns its order of operations (arithmetic 2); does not know what made the
//! outputs.

use super::super::lanes::{LANES, Lanes};
use super::super::thresholds::{VALUE_LEAST, cut};

/// Sums over a block, row by row, and in a row target by target.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sums {
    /// Of the squares of the differences. The loss is half of it, exactly.
    pub squared: f64,
    /// Of their magnitudes.
    pub absolute: f64,
}

/// Turns outputs, panels of `width` values, into their differences from `targets`, `width` a row: the loss's derivatives by
/// them. Rows that are not there get +0.
pub(super) fn differentiate(outputs: &mut [Lanes], width: usize, targets: &[f32]) -> Sums {
    let mut sums = Sums::default();
    for (panel, targets) in outputs.chunks_exact_mut(width).zip(targets.chunks(LANES * width)) {
        for (lane, targets) in targets.chunks_exact(width).enumerate() {
            let mut of_row = Sums::default();
            for (output, target) in panel.iter_mut().zip(targets) {
                let difference = cut(output.0[lane] - target, VALUE_LEAST);
                output.0[lane] = difference;
                let wide = f64::from(difference);
                of_row.squared += wide * wide;
                of_row.absolute += wide.abs();
            }
            sums.squared += of_row.squared;
            sums.absolute += of_row.absolute;
        }
        let present = targets.len() / width;
        panel.iter_mut().for_each(|output| output.0[present..].fill(0.0));
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_taken_row_by_row_and_rows_that_are_not_there_count_nothing() {
        let mut outputs = vec![Lanes([3.0; LANES]); 4];
        // Nine rows of two targets each: 1 and 5, but the last 3 and 3 less what is too small.
        let mut targets = [1.0, 5.0].repeat(8);
        targets.extend([3.0, 2.0]);
        let sums = differentiate(&mut outputs, 2, &targets);
        assert_eq!(sums, Sums { squared: 65.0, absolute: 33.0 });
        assert_eq!((outputs[0], outputs[1]), (Lanes([2.0; LANES]), Lanes([-2.0; LANES])));
        let mut last = [0.0; LANES];
        assert_eq!(outputs[2].0, last);
        last[0] = 1.0;
        assert_eq!(outputs[3].0, last);
    }
}
