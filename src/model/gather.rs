//! From rows as they arrive, one behind the other, to panels. Owns the transposition; does not know why these rows.

use super::input_layout::Inputs;
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

/// Lays rows into panels: `out` holds a value for each of their inputs, 0 or 1 where an index says which.
pub(super) fn gather(kernel: Kernel, inputs: Inputs<'_>, order: Order<'_>, out: &mut [Lanes]) {
    let Inputs { layout, values, indices } = inputs;
    let (width, columns) = (layout.inputs() as usize, layout.columns().len());
    if columns > 0 {
        out.fill(Lanes::ZERO);
        for (place, row) in (0..).map_while(|place| Some((place, order.row(place)?))) {
            let panel = &mut out[place / LANES * width..][..width];
            for (column, (first, levels)) in layout.ranges().enumerate() {
                let index = layout.index(indices, row * columns + column);
                if index < levels {
                    panel[first + index as usize].0[place % LANES] = 1.0;
                }
            }
        }
    }
    for (input, first, count) in layout.plain_runs() {
        if count > 0 {
            let run = Run { stride: layout.plain_inputs() as usize, first, count, input, width };
            lay(kernel.of_eight(), values, run, order, out);
        }
    }
}

/// Values side by side in each row, and where they go.
#[derive(Clone, Copy)]
struct Run {
    /// Values from one row to the next.
    stride: usize,
    /// The first of a row's.
    first: usize,
    count: usize,
    /// The input that the first becomes.
    input: usize,
    /// Inputs of a row.
    width: usize,
}

compiled_for_each_kernel! {
    #[inline(always)]
    fn lay = lay_body(values: &[f32], run: Run, order: Order<'_>, out: &mut [Lanes])
}

/// The rows from `place` on, and how many there are: one that is not there is some row's place for the moment, and zeros in
/// the end. Nothing here is vectors': one code does for every kernel.
#[inline(never)]
fn rows_of<'a>(values: &'a [f32], run: Run, order: Order<'_>, place: usize) -> ([&'a [f32]; LANES], usize) {
    let Run { stride, first, count, .. } = run;
    let mut rows = [&values[first..][..count]; LANES];
    let mut present = 0;
    for row in &mut rows {
        let Some(index) = order.row(place + present) else { break };
        *row = &values[index * stride + first..][..count];
        present += 1;
    }
    (rows, present)
}

#[inline(always)]
fn lay_body<V: Vector>(values: &[f32], run: Run, order: Order<'_>, out: &mut [Lanes]) {
    for (panel, out) in out.chunks_exact_mut(run.width).enumerate() {
        let out = &mut out[run.input..][..run.count];
        let (rows, present) = rows_of(values, run, order, panel * LANES);
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
    use super::super::input_layout::InputLayout;
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
                    let layout = InputLayout::plain(features as u32);
                    let inputs = Inputs { layout: &layout, values: &values, indices: &[] };
                    gather(kernel, inputs, order, &mut out);
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

    #[test]
    fn indices_are_laid_out_as_the_zeros_and_ones_that_they_stand_for() {
        const ROWS: usize = 19;
        for columns in
            [&[[0, 5]][..], &[[3, 1], [0, 4], [2, 2]], &[[9, 2], [20, 3]], &[[0, 300], [1, 7]], &[[17, 66_000]]]
        {
            let width = columns.iter().flatten().sum::<u32>() + 11 * u32::from(columns.len() > 1);
            let layout = InputLayout::new(width, columns).unwrap();
            let values: Vec<f32> = (1..=ROWS * layout.plain_inputs() as usize).map(|value| value as f32).collect();
            let index = |row: usize, column: usize| (row * 7919 + column) as u32 % (columns[column][1] + 1);
            let places = (0..ROWS).flat_map(|row| (0..columns.len()).map(move |column| (row, column)));
            let bytes = |(row, column)| index(row, column).to_le_bytes()[..layout.index_bytes()].to_vec();
            let indices: Vec<u8> = places.flat_map(bytes).collect();
            let inputs = Inputs { layout: &layout, values: &values, indices: &indices };
            let mut expanded = Vec::new();
            inputs.expand(0..ROWS, &mut expanded);
            let plain = InputLayout::plain(width);
            let of_expanded = Inputs { layout: &plain, values: &expanded, indices: &[] };
            for kernel in Kernel::available() {
                for order in [Order::From(0, ROWS), Order::From(3, 13), Order::These(&[18, 0, 0, 7, 5, 17, 2, 1, 9])] {
                    let laid = |inputs| {
                        let mut out = vec![Lanes([9.0; LANES]); 3 * width as usize];
                        gather(kernel, inputs, order, &mut out);
                        out
                    };
                    let (told, wanted) = (laid(inputs), laid(of_expanded));
                    assert!(told == wanted, "{kernel}: {columns:?}");
                }
            }
        }
    }
}
