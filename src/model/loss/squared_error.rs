//! Half the squared distance of outputs from numbers, and Huber's loss, which is the same near by. Owns their order of operations
//! (arithmetic 2); does not know what made the outputs.

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

/// Turns the differences of so many rows into the derivatives of Huber's loss: those beyond `delta` end there. Returns the loss, the
/// sum over the rows, and in a row target by target.
pub(super) fn clip(differences: &mut [Lanes], width: usize, rows: usize, delta: f32) -> f64 {
    let (mut sum, wide_delta) = (0.0, f64::from(delta));
    for row in 0..rows {
        let panel = &mut differences[row / LANES * width..][..width];
        let mut of_row = 0.0;
        for difference in panel.iter_mut().map(|lanes| &mut lanes.0[row % LANES]) {
            let wide = f64::from(*difference);
            of_row += if wide.abs() > wide_delta {
                wide_delta * (wide.abs() - 0.5 * wide_delta)
            } else {
                0.5 * (wide * wide)
            };
            if difference.abs() > delta {
                *difference = delta.copysign(*difference);
            }
        }
        sum += of_row;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_its_delta_hubers_loss_is_a_line_and_its_derivative_stays() {
        let mut differences = vec![Lanes([1.0; LANES]), Lanes([-4.0; LANES])];
        differences[1].0[3] = f32::NAN;
        assert_eq!(clip(&mut differences, 2, 2, 2.0), 2.0 * (0.5 + 2.0 * (4.0 - 1.0)));
        assert_eq!((differences[0].0[0], &differences[1].0[..3]), (1.0, &[-2.0, -2.0, -4.0][..]));
        assert!(clip(&mut differences, 2, 4, 2.0).is_nan() && differences[1].0[3].is_nan());
    }

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
