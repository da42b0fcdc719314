//! From rows as they arrive, one behind the other, to panels. Owns the transposition; does not know why these rows.

use super::kernel::{Kernel, compiled_for_each_kernel};
use super::lanes::{LANES, Lanes};
use super::vector::Vector;

/// Which rows are laid into panels.
#[derive(Clone, Copy)]
pub(super) enum Order<'a> {
    /// So many, from this one on.
    From(usize, usize),
    /// These.
    These(&'a [u32]),
}

impl Order<'_> {
    /// The index of the row at `place`, or none beyond the last.
    #[inline(always)]
    fn row(self, place: usize) -> Option<usize> {
        match self {
            Order::From(first, count) => (place < count).then_some(first + place),
            Order::These(rows) => rows.get(place).map(|row| *row as usize),
        }
    }
}

/// Lays rows of row-major `values` into panels: `out` holds `features` values for each.
pub(super) fn gather(kernel: Kernel, values: &[f32], features: usize, order: Order<'_>, out: &mut [Lanes]) {
    lay(kernel.of_eight(), values, features, order, out);
}

compiled_for_each_kernel! {
    #[inline(always)]
    fn lay = lay_body(values: &[f32], features: usize, order: Order<'_>, out: &mut [Lanes])
}

/// The rows from `place` on, and how many there are: one that is not there is some row's place for the moment, and zeros in
/// the end. Nothing here is vectors': one code does for every kernel.
#[inline(never)]
fn rows_of<'a>(values: &'a [f32], features: usize, order: Order<'_>, place: usize) -> ([&'a [f32]; LANES], usize) {
    let mut rows = [&values[..features]; LANES];
    let mut present = 0;
    for row in &mut rows {
        let Some(index) = order.row(place + present) else { break };
        *row = &values[index * features..][..features];
        present += 1;
    }
    (rows, present)
}

#[inline(always)]
fn lay_body<V: Vector>(values: &[f32], features: usize, order: Order<'_>, out: &mut [Lanes]) {
    for (panel, out) in out.chunks_exact_mut(features).enumerate() {
        let (rows, present) = rows_of(values, features, order, panel * LANES);
        let mut first = 0;
        let in_blocks = if V::HAS_REGISTERS { out.len() / LANES * LANES } else { 0 };
        let (blocks, rest) = out.split_at_mut(in_blocks);
        let (blocks, _) = blocks.as_chunks_mut::<LANES>();
        for block in blocks {
            let mut vectors = [V::splat(0.0); LANES];
            for (vector, row) in vectors.iter_mut().zip(rows) {
                if let Some(eight) = row[first..].first_chunk() {
                    *vector = V::load_anywhere(eight);
                }
            }
            for (column, lanes) in V::transposed(vectors).into_iter().zip(block) {
                column.store(lanes);
            }
            first += LANES;
        }
        for (feature, lanes) in rest.iter_mut().enumerate() {
            *lanes = Lanes(rows.map(|row| row[first + feature]));
        }
        if present < LANES {
            for lanes in out {
                lanes.0[present..].fill(0.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_laid_out_feature_by_feature_and_missing_rows_are_zero() {
        for features in 1..20 {
            let value = |row: usize, feature: usize| (100 * row + feature + 1) as f32;
            let values: Vec<f32> = (0..10).flat_map(|row| (0..features).map(move |f| value(row, f))).collect();
            for kernel in Kernel::available() {
                for (order, row) in [
                    (Order::These(&[9, 8, 7, 6, 5, 4, 3, 2, 1, 0]), (|place| 9 - place) as fn(usize) -> usize),
                    (Order::From(0, 10), |place| place),
                ] {
                    let mut out = vec![Lanes([9.0; LANES]); 2 * features];
                    gather(kernel, &values, features, order, &mut out);
                    for (place, lanes) in (0..2 * LANES).zip((0..2).flat_map(|panel| [panel; LANES])) {
                        for feature in 0..features {
                            let got = out[lanes * features + feature].0[place % LANES];
                            let expected = if place < 10 { value(row(place), feature) } else { 0.0 };
                            assert_eq!(got, expected, "{kernel}: {features} features, place {place}");
                        }
                    }
                }
            }
        }
    }
}
