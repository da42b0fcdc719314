//! How the inputs of a row are written down: as they are, or, where of some side by side at most one is 1 and the others are 0,
//! as an index that says which. Owns this layout, its limits, and what an index means; does not know rows, or what the inputs are.

use std::fmt;
use std::sync::Arc;

/// Index columns of a layout, at most: with all else at its most they fit a frame.
pub const INDEX_COLUMNS_MAX: usize = 4_096;

/// Which inputs of a row are written as indices. By default none of no inputs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InputLayout {
    inputs: u32,
    /// Of each index column how many inputs before it are written as they are, since the column before, and for how many it stands.
    columns: Arc<[[u32; 2]]>,
    /// Inputs that are written as they are.
    plain: u32,
    /// The largest number of inputs that an index stands for.
    levels_max: u32,
}

impl InputLayout {
    /// So many inputs, all written as they are.
    pub fn plain(inputs: u32) -> InputLayout {
        InputLayout { inputs, plain: inputs, ..InputLayout::default() }
    }

    /// So many inputs with these index columns, [before, levels] each; behind the last, inputs are written as they are.
    pub fn new(inputs: u32, columns: &[[u32; 2]]) -> Result<InputLayout, InputLayoutError> {
        if columns.len() > INDEX_COLUMNS_MAX {
            return Err(InputLayoutError::Columns { got: columns.len() });
        }
        let sum = |part: usize| columns.iter().map(|column| u64::from(column[part])).sum::<u64>();
        let (before, indexed) = (sum(0), sum(1));
        if columns.iter().any(|[_, levels]| *levels == 0) || before + indexed > inputs.into() {
            return Err(InputLayoutError::Inputs { got: before + indexed, inputs });
        }
        let levels_max = columns.iter().map(|[_, levels]| *levels).max().unwrap_or(0);
        Ok(InputLayout { inputs, columns: columns.into(), plain: inputs - indexed as u32, levels_max })
    }

    /// Inputs of a row.
    pub fn inputs(&self) -> u32 {
        self.inputs
    }

    /// The index columns, [before, levels] each.
    pub fn columns(&self) -> &[[u32; 2]] {
        &self.columns
    }

    /// Inputs of a row that are written as they are.
    pub fn plain_inputs(&self) -> u32 {
        self.plain
    }

    /// Bytes of an index: as few as hold the largest, which is the number of inputs that it stands for.
    pub fn index_bytes(&self) -> usize {
        match self.levels_max {
            0..=0xFF => 1,
            0x100..=0xFFFF => 2,
            _ => 4,
        }
    }

    /// Bytes of a row's inputs.
    pub fn row_bytes(&self) -> u64 {
        4 * u64::from(self.plain) + (self.index_bytes() * self.columns.len()) as u64
    }

    /// An index, of those of some rows one behind the other.
    #[inline(always)]
    pub fn index(&self, indices: &[u8], place: usize) -> u32 {
        match self.index_bytes() {
            1 => indices[place].into(),
            2 => u16::from_le_bytes([indices[2 * place], indices[2 * place + 1]]).into(),
            _ => indices[4 * place..].first_chunk().map_or(u32::MAX, |bytes| u32::from_le_bytes(*bytes)),
        }
    }

    /// Of each index column its first input, and for how many it stands.
    #[inline(always)]
    pub fn ranges(&self) -> impl Iterator<Item = (usize, u32)> + '_ {
        let mut next = 0;
        self.columns.iter().map(move |&[before, levels]| {
            let first = next + before as usize;
            next = first + levels as usize;
            (first, levels)
        })
    }

    /// Of each run of inputs that are written as they are its first input, its first among those, and its length.
    pub fn plain_runs(&self) -> impl Iterator<Item = (usize, usize, usize)> + '_ {
        let (mut input, mut plain) = (0, 0);
        let ends = self.ranges().chain([(self.inputs as usize, 0)]);
        ends.map(move |(end, levels)| {
            let run = (input, plain, end - input);
            (input, plain) = (end + levels as usize, plain + run.2);
            run
        })
    }
}

/// Inputs of rows as they are written, row-major.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// How.
    pub layout: &'a InputLayout,
    /// Those that are written as they are.
    pub values: &'a [f32],
    /// The indices; below the number of inputs that they stand for, the input that is 1; this number where none is.
    pub indices: &'a [u8],
}

impl Inputs<'_> {
    /// How many rows these are; none where they are no whole rows.
    pub fn rows(&self) -> Option<usize> {
        let plain = self.layout.plain as usize;
        let of_indices = self.layout.index_bytes() * self.layout.columns.len();
        let (got, bytes) = if plain > 0 { (self.values.len(), plain) } else { (self.indices.len(), of_indices.max(1)) };
        let rows = got / bytes;
        (rows * plain == self.values.len() && rows * of_indices == self.indices.len()).then_some(rows)
    }

    /// Puts the inputs of these rows into `out`, row-major, each as it is. What was in it goes.
    pub fn expand(&self, rows: std::ops::Range<usize>, out: &mut Vec<f32>) {
        let layout = self.layout;
        let (width, plain, columns) = (layout.inputs as usize, layout.plain as usize, layout.columns.len());
        out.clear();
        out.resize(rows.len() * width, 0.0);
        for (row, out) in rows.zip(out.chunks_exact_mut(width.max(1))) {
            for (input, from, count) in layout.plain_runs() {
                out[input..][..count].copy_from_slice(&self.values[row * plain + from..][..count]);
            }
            for (column, (first, levels)) in layout.ranges().enumerate() {
                let index = layout.index(self.indices, row * columns + column);
                if index < levels {
                    out[first + index as usize] = 1.0;
                }
            }
        }
    }
}

/// Why index columns are none of these inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputLayoutError {
    /// More than [`INDEX_COLUMNS_MAX`].
    Columns {
        /// Columns given.
        got: usize,
    },
    /// One that stands for no input, or more than there are inputs for.
    Inputs {
        /// Inputs that they stand for, and those before them.
        got: u64,
        /// Inputs that there are.
        inputs: u32,
    },
}

impl InputLayoutError {
    /// The value, and the limit that it passes.
    pub fn got_and_limit(self) -> (u64, u64) {
        match self {
            Self::Columns { got } => (got as u64, INDEX_COLUMNS_MAX as u64),
            Self::Inputs { got, inputs } => (got, inputs.into()),
        }
    }
}

impl fmt::Display for InputLayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Columns { got } => write!(f, "at most {INDEX_COLUMNS_MAX} columns are written as indices, not {got}"),
            Self::Inputs { got, inputs } => write!(
                f,
                "an index stands for at least one input, and all with those before them for at most the {inputs} of the network, not {got}"
            ),
        }
    }
}

impl std::error::Error for InputLayoutError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_take_as_few_bytes_as_hold_the_largest_and_runs_lie_between_them() {
        let layout = InputLayout::new(16, &[[2, 3], [0, 4], [1, 1]]).unwrap();
        assert_eq!((layout.plain_inputs(), layout.index_bytes(), layout.row_bytes()), (8, 1, 35));
        assert_eq!(layout.ranges().collect::<Vec<_>>(), [(2, 3), (5, 4), (10, 1)]);
        assert_eq!(layout.plain_runs().collect::<Vec<_>>(), [(0, 0, 2), (5, 2, 0), (9, 2, 1), (11, 3, 5)]);
        for (levels, bytes) in [(255, 1), (256, 2), (65_535, 2), (65_536, 4)] {
            assert_eq!(InputLayout::new(levels, &[[0, levels]]).unwrap().index_bytes(), bytes);
        }
        assert_eq!(InputLayout::new(3, &[]).unwrap(), InputLayout::plain(3));
    }

    #[test]
    fn columns_that_stand_for_nothing_or_too_much_or_are_too_many_are_refused() {
        let refused = |columns: &[[u32; 2]]| InputLayout::new(5, columns).unwrap_err();
        assert_eq!(refused(&[[2, 0]]), InputLayoutError::Inputs { got: 2, inputs: 5 });
        assert_eq!(refused(&[[2, 3], [0, 1]]), InputLayoutError::Inputs { got: 6, inputs: 5 });
        let most = [[u32::MAX; 2]; 2];
        assert_eq!(refused(&most), InputLayoutError::Inputs { got: 4 * u64::from(u32::MAX), inputs: 5 });
        assert_eq!(refused(&[[0, 1]; INDEX_COLUMNS_MAX + 1]), InputLayoutError::Columns { got: INDEX_COLUMNS_MAX + 1 });
    }

    #[test]
    fn rows_are_expanded_and_an_index_that_is_the_number_of_its_inputs_leaves_them_0() {
        for wide in [0, 300, 70_000] {
            let layout = InputLayout::new(6 + wide, &[[1, 2], [1, 1 + wide]]).unwrap();
            let indices: Vec<u8> = [1, wide, 2, 1 + wide]
                .iter()
                .flat_map(|index: &u32| index.to_le_bytes()[..layout.index_bytes()].to_vec())
                .collect();
            let inputs = Inputs { layout: &layout, values: &[1.5, 2.5, 3.5, 4.5, 5.5, 6.5], indices: &indices };
            let mut out = vec![9.0];
            inputs.expand(0..2, &mut out);
            let zeros = vec![0.0; wide as usize];
            let rows = [&[1.5, 0.0, 1.0, 2.5][..], &zeros, &[1.0, 3.5, 4.5, 0.0, 0.0, 5.5], &zeros, &[0.0, 6.5]];
            assert_eq!(out, rows.concat());
            inputs.expand(1..2, &mut out);
            assert_eq!(out, rows.concat()[6 + wide as usize..]);
        }
    }
}
