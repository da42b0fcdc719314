//! Eight rows side by side, and the layout that follows from it. Owns lanes, panels and the transposition into them;
//! does not know what is computed.
//!
//! A **panel** holds eight rows feature by feature: `features` values of type [`Lanes`]. A **block** is up to
//! [`BLOCK_PANELS`] panels one behind the other. With rows on lanes every sum that arithmetic 1 wants in order is
//! plainly in order, whatever the widths of the layers, and no operation works across lanes. Rows missing in a block's
//! last panel are rows of zeros.

use super::arithmetic::Fma;

/// Rows of a panel.
pub(super) const LANES: usize = 8;
/// Rows of a block: the unit of arithmetic 1's sums over a batch.
pub(super) const BLOCK_ROWS: usize = 128;
/// Panels of a whole block.
pub(super) const BLOCK_PANELS: usize = BLOCK_ROWS / LANES;

/// One value of each of eight rows. Written as plain loops, which the compiler turns into the kernel's vectors.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(align(32))]
pub(super) struct Lanes(pub [f32; LANES]);

impl Lanes {
    /// Eight times +0.
    pub const ZERO: Lanes = Lanes([0.0; LANES]);

    /// Eight times `value`.
    #[inline(always)]
    pub fn splat(value: f32) -> Lanes {
        Lanes([value; LANES])
    }

    /// `self * factor + addend`, rounded once.
    #[inline(always)]
    pub fn fma<F: Fma>(self, factor: Lanes, addend: Lanes) -> Lanes {
        let mut out = addend;
        for lane in 0..LANES {
            out.0[lane] = F::fma(self.0[lane], factor.0[lane], addend.0[lane]);
        }
        out
    }

    /// `self + other`.
    #[inline(always)]
    pub fn plus(self, other: Lanes) -> Lanes {
        let mut out = self;
        for lane in 0..LANES {
            out.0[lane] += other.0[lane];
        }
        out
    }

    /// The value where `mask` is above zero, else +0.
    #[inline(always)]
    pub fn where_positive(self, mask: Lanes) -> Lanes {
        let mut out = self;
        for lane in 0..LANES {
            out.0[lane] = if mask.0[lane] > 0.0 { self.0[lane] } else { 0.0 };
        }
        out
    }

    /// The value where `mask` is zero or above, else +0.
    #[inline(always)]
    pub fn where_not_negative(self, mask: Lanes) -> Lanes {
        let mut out = self;
        for lane in 0..LANES {
            out.0[lane] = if mask.0[lane] >= 0.0 { self.0[lane] } else { 0.0 };
        }
        out
    }

    /// The sum of the eight lanes in arithmetic 1's order: halves, quarters, the last two.
    #[inline(always)]
    pub fn sum(self) -> f32 {
        let [a, b, c, d, e, f, g, h] = self.0;
        let [a, b, c, d] = [a + e, b + f, c + g, d + h];
        let [a, b] = [a + c, b + d];
        a + b
    }
}

/// Panels that `rows` rows fill, the last perhaps in part.
pub(super) fn panels_of(rows: usize) -> usize {
    rows.div_ceil(LANES)
}

/// Lays rows of row-major `values` into panels. `order` names the rows, `out` holds `features` values for each panel.
#[inline(always)]
pub(super) fn gather(values: &[f32], features: usize, order: impl ExactSizeIterator<Item = usize>, out: &mut [Lanes]) {
    let mut order = order;
    for panel in out.chunks_exact_mut(features) {
        let mut rows: [&[f32]; LANES] = [&[]; LANES];
        let present = order.len().min(LANES);
        for (row, index) in rows.iter_mut().zip(order.by_ref().take(LANES)) {
            *row = &values[index * features..][..features];
        }
        if present == LANES {
            for (feature, lanes) in panel.iter_mut().enumerate() {
                *lanes = Lanes(rows.map(|row| row[feature]));
            }
        } else {
            panel.fill(Lanes::ZERO);
            for (lane, row) in rows[..present].iter().enumerate() {
                for (lanes, value) in panel.iter_mut().zip(*row) {
                    lanes.0[lane] = *value;
                }
            }
        }
    }
}

/// Sets the lanes of rows that are not there to +0: in the last of `out`'s panels, from lane `rows % 8` on.
pub(super) fn clear_missing_rows(rows: usize, features: usize, out: &mut [Lanes]) {
    let present = rows % LANES;
    if present == 0 {
        return;
    }
    let last = (panels_of(rows) - 1) * features;
    for lanes in &mut out[last..][..features] {
        lanes.0[present..].fill(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_laid_out_feature_by_feature_and_missing_rows_are_zero() {
        let values: Vec<f32> = (1..=10).flat_map(|row| [row as f32, -(row as f32)]).collect();
        let mut out = vec![Lanes::splat(9.0); 4];
        gather(&values, 2, [9, 8, 7, 6, 5, 4, 3, 2, 1, 0].into_iter(), &mut out);
        assert_eq!(out[0], Lanes([10.0, 9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0]));
        assert_eq!(out[1], Lanes([-10.0, -9.0, -8.0, -7.0, -6.0, -5.0, -4.0, -3.0]));
        assert_eq!(out[2], Lanes([2.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]));
        assert_eq!(out[3], Lanes([-2.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]));
    }

    #[test]
    fn only_missing_rows_are_cleared() {
        let mut out = vec![Lanes::splat(3.0); 4];
        clear_missing_rows(9, 2, &mut out);
        assert_eq!(out[..2], [Lanes::splat(3.0); 2]);
        assert_eq!(out[2..], [Lanes([3.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]); 2]);
        clear_missing_rows(16, 2, &mut out);
        assert_eq!(out[0], Lanes::splat(3.0));
    }

    #[test]
    fn lanes_are_summed_by_halves() {
        // 1e8 swallows a single 1 and loses nothing to 8: any other order gives another sum.
        let lanes = Lanes([1e8, 1.0, 1.0, 1.0, -1e8, 1.0, 1.0, 1.0]);
        assert_eq!(lanes.sum(), ((1e8 + -1e8) + 2.0) + (2.0 + 2.0));
    }
}
