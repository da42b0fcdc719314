//! Eight rows side by side, and the layout that follows from it. Owns lanes and panels; does not know
//! what is computed, or with which instructions (`vector`).
//!
//! A **panel** holds eight rows feature by feature: `features` values of type [`Lanes`]. A **block** is up to
//! [`BLOCK_PANELS`] panels one behind the other. With rows on lanes every sum that arithmetic 2 wants in order is
//! plainly in order, whatever the widths of the layers, and no operation works across lanes. Rows missing in a block's
//! last panel are rows of zeros.

/// Rows of a panel.
pub(super) const LANES: usize = 8;
/// Rows of a block: the unit of arithmetic 2's sums over a batch.
pub(super) const BLOCK_ROWS: usize = 128;
/// Panels of a whole block.
pub(super) const BLOCK_PANELS: usize = BLOCK_ROWS / LANES;

/// One value of each of eight rows, in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(32))]
pub(super) struct Lanes(pub [f32; LANES]);

impl Lanes {
    /// Eight times +0.
    pub const ZERO: Lanes = Lanes([0.0; LANES]);
}

/// All values, lane by lane, one behind the other.
pub(super) fn flat(lanes: &mut [Lanes]) -> &mut [f32] {
    // SAFETY: Lanes is repr(C) around eight f32; its alignment, 32 bytes, is its size, so there is nothing between two.
    unsafe { std::slice::from_raw_parts_mut(lanes.as_mut_ptr().cast(), lanes.len() * LANES) }
}

/// The same, to be read.
pub(super) fn flat_to_read(lanes: &[Lanes]) -> &[f32] {
    // SAFETY: as in `flat`.
    unsafe { std::slice::from_raw_parts(lanes.as_ptr().cast(), lanes.len() * LANES) }
}

/// Makes room for so many values; what they are at first does not matter.
#[inline(never)]
pub(super) fn make_room(values: &mut Vec<Lanes>, length: usize) {
    values.resize(length, Lanes::ZERO);
}

/// Panels that `rows` rows fill, the last perhaps in part.
pub(super) fn panels_of(rows: usize) -> usize {
    rows.div_ceil(LANES)
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
    fn only_missing_rows_are_cleared() {
        let mut out = vec![Lanes([3.0; LANES]); 4];
        clear_missing_rows(9, 2, &mut out);
        assert_eq!(out[..2], [Lanes([3.0; LANES]); 2]);
        assert_eq!(out[2..], [Lanes([3.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]); 2]);
        clear_missing_rows(16, 2, &mut out);
        assert_eq!(out[0], Lanes([3.0; LANES]));
    }
}
