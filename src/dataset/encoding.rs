//! From a table's columns to rows of inputs. Owns the order in which that is done, so that what is read and what is written are in
//! the processor's cache; does not know how a value becomes inputs (`transform`).

use super::cells::{Cells, Column, Field};
use super::error::{DatasetError, Fault};
use super::transform::Encoder;
use super::{Becomes, Dataset, Schema};
use crate::model::InputLayout;

/// Rows whose inputs are made together.
const ROWS: usize = 256;
/// Inputs of a date at most: seconds, weekdays, hour, whether it is missing.
const DATE_INPUTS_MAX: usize = 10;

/// A column, and which inputs it becomes.
struct Encoded<'a> {
    /// Its place in the file.
    place: usize,
    column: &'a Column,
    encoder: &'a Encoder,
    /// The first of its inputs that are written as they are, among those of a row.
    start: usize,
    /// Its place among the index columns, where it has one.
    index: Option<usize>,
}

/// The inputs of a block's rows, as a layout has them.
#[derive(Clone, Debug, Default)]
pub(super) struct Written {
    pub(super) values: Vec<f32>,
    pub(super) indices: Vec<u8>,
}

/// Why there are no inputs.
enum Unencoded {
    /// The columns cannot be read.
    Unreadable(Fault),
    /// A value of this column is too far from the others; its place among the column's values.
    OutOfScale { value: usize, place: usize },
}

/// Where the inputs of a row go: the block, and the row in it; nowhere for those that are in none.
type Goal = Option<(u32, u32)>;

impl Dataset {
    /// The inputs of the rows of each block in their order.
    pub(super) fn inputs(
        &self,
        blocks: &[&[u32]],
        schema: &Schema,
        layout: &InputLayout,
    ) -> Result<Vec<Written>, DatasetError> {
        let mut inputs = Vec::with_capacity(blocks.len());
        // Of each row, where it is in all blocks one behind the other.
        let mut places = vec![u32::MAX; self.rows()];
        let mut starts = vec![0];
        for rows in blocks {
            let start = starts[starts.len() - 1];
            (start..).zip(*rows).for_each(|(to, &row)| places[row as usize] = to);
            starts.push(start + rows.len() as u32);
            inputs.push(room(rows.len(), layout).ok_or_else(|| {
                self.error(Fault::OutOfMemory { rows: rows.len() as u64, columns: layout.inputs() as usize }, None)
            })?);
        }
        let mut columns = Vec::with_capacity(self.table.features.len());
        let (mut start, mut indexed) = (0, 0);
        for (place, column) in &self.table.features {
            let Becomes::Inputs(encoder) = &schema.columns[*place].becomes else { continue };
            let as_index = encoder.indexed().filter(|_| indexed < layout.columns().len());
            columns.push(Encoded { place: *place, column, encoder, start, index: as_index.map(|_| indexed) });
            start += encoder.width() - as_index.map_or(0, |(_, count)| count);
            indexed += usize::from(as_index.is_some());
        }
        let goal = |value: usize| {
            let to = places[value.checked_sub(self.table.lead)?];
            let block = starts.partition_point(|start| *start <= to) - 1;
            (block < blocks.len()).then(|| (block as u32, to - starts[block]))
        };
        match encode(&columns, layout, goal, &mut inputs) {
            Ok(()) => Ok(inputs),
            Err(Unencoded::Unreadable(fault)) => Err(self.error(fault, None)),
            Err(Unencoded::OutOfScale { value, place }) => {
                let row = (value - self.table.lead) as u32;
                Err(self.error(Fault::OutOfScale { place: self.place(row, place) }, Some(row)))
            }
        }
    }
}

/// Room for the inputs of so many rows, all 0; none where there is not as much memory.
fn room(rows: usize, layout: &InputLayout) -> Option<Written> {
    let count = rows.checked_mul(layout.plain_inputs() as usize)?;
    let bytes = rows.checked_mul(layout.columns().len() * layout.index_bytes())?;
    // A column may take more memory than it has in the table.
    Vec::<f32>::new().try_reserve_exact(count).ok()?;
    Vec::<u8>::new().try_reserve_exact(bytes).ok()?;
    Some(Written { values: vec![0.0; count], indices: vec![0; bytes] })
}

/// Makes the inputs of rows: `goals` has one for each value of the columns.
fn encode(
    columns: &[Encoded<'_>],
    layout: &InputLayout,
    goals: impl Fn(usize) -> Goal,
    blocks: &mut [Written],
) -> Result<(), Unencoded> {
    let (width, index_bytes) = (layout.plain_inputs() as usize, layout.index_bytes());
    let row_bytes = layout.columns().len() * index_bytes;
    let pieces = columns.first().map_or(0, |column| column.column.pieces());
    let inputs_of_names: Vec<Vec<u32>> = columns.iter().map(inputs_of_names).collect();
    let mut read: Vec<Cells> = columns.iter().map(|_| Cells::default()).collect();
    let mut first = 0;
    for piece in 0..pieces {
        let cells: Vec<&Cells> = (columns.iter().zip(&mut read))
            .map(|(column, read)| column.column.piece(piece, read))
            .collect::<Result<_, _>>()
            .map_err(Unencoded::Unreadable)?;
        let rows = cells.first().map_or(0, |cells| cells.len());
        for start in (0..rows).step_by(ROWS) {
            let goals: Vec<Goal> = (start..rows.min(start + ROWS)).map(|row| goals(first + row)).collect();
            for ((column, cells), inputs_of_names) in columns.iter().zip(&cells).zip(&inputs_of_names) {
                for (row, goal) in goals.iter().enumerate() {
                    let Some((block, to)) = *goal else { continue };
                    let Written { values, indices } = &mut blocks[block as usize];
                    let inputs = &mut values[to as usize * width + column.start..];
                    let value = start + row;
                    let is_fine = match column.index {
                        None => put(column.encoder, cells, inputs_of_names, value, inputs),
                        Some(place) => {
                            let index = &mut indices[to as usize * row_bytes + place * index_bytes..][..index_bytes];
                            put_index(column.encoder, cells, inputs_of_names, value, (inputs, index))
                        }
                    };
                    if !is_fine {
                        return Err(Unencoded::OutOfScale { value: first + value, place: column.place });
                    }
                }
            }
        }
        first += rows;
    }
    Ok(())
}

/// The input that each category's name becomes, and behind them that of a missing one; where it becomes none, the number of inputs.
fn inputs_of_names(column: &Encoded<'_>) -> Vec<u32> {
    let Encoder::Categories(categories) = column.encoder else { return Vec::new() };
    let input = |field: Field<'_>| categories.place(field).unwrap_or(column.encoder.width()) as u32;
    let names = column.column.names().iter().map(|name| input(Field::Name(name)));
    names.chain([input(Field::Missing)]).collect()
}

/// The input that a value's category becomes.
#[inline]
fn input_of(cells: &Cells, inputs_of_names: &[u32], value: usize) -> u32 {
    inputs_of_names[cells.code(value).map_or(inputs_of_names.len() - 1, |code| code as usize)]
}

/// Puts a value's inputs into their places, all of which are 0; whether they are finite.
#[inline]
fn put(encoder: &Encoder, cells: &Cells, inputs_of_names: &[u32], value: usize, inputs: &mut [f32]) -> bool {
    match encoder {
        // Where missing values are refused, none has come here.
        Encoder::Number(numeric) => {
            numeric.encode(cells.number(value), &mut inputs[..1 + usize::from(numeric.is_marked)]);
            inputs[0].is_finite()
        }
        Encoder::Categories(_) => {
            let input = input_of(cells, inputs_of_names, value) as usize;
            if let Some(input) = inputs[..encoder.width()].get_mut(input) {
                *input = 1.0;
            }
            true
        }
        Encoder::Date { .. } => {
            let inputs = &mut inputs[..encoder.width()];
            encoder.encode(cells.moment(value).map_or(Field::Missing, Field::Moment), inputs);
            inputs.iter().all(|input| input.is_finite())
        }
    }
}

/// The same of a column some of whose inputs are an index.
#[inline]
fn put_index(
    encoder: &Encoder,
    cells: &Cells,
    inputs_of_names: &[u32],
    value: usize,
    (inputs, index): (&mut [f32], &mut [u8]),
) -> bool {
    let (is_fine, input) = match encoder {
        Encoder::Categories(_) => (true, input_of(cells, inputs_of_names, value)),
        _ => {
            let mut all = [0.0; DATE_INPUTS_MAX];
            let all = &mut all[..encoder.width()];
            let is_fine = put(encoder, cells, inputs_of_names, value, all);
            let (first, count) = encoder.indexed().unwrap_or_default();
            let (before, rest) = all.split_at(first);
            let (indexed, behind) = rest.split_at(count);
            inputs[..first].copy_from_slice(before);
            inputs[first..][..behind.len()].copy_from_slice(behind);
            (is_fine, indexed.iter().position(|input| *input == 1.0).unwrap_or(count) as u32)
        }
    };
    let bytes = index.len();
    index.copy_from_slice(&input.to_le_bytes()[..bytes]);
    is_fine
}
