//! From a table's columns to rows of inputs. Owns the order in which that is done, so that what is read and what is written are in
//! the processor's cache; does not know how a value becomes inputs (`transform`).

use super::cells::{Cells, Column, Field};
use super::error::{DatasetError, Fault};
use super::transform::Encoder;
use super::{Becomes, Dataset, Schema};

/// Rows whose inputs are made together.
const ROWS: usize = 256;
/// A category that is none of a column's names.
const NO_INPUT: u32 = u32::MAX;

/// A column, and which inputs it becomes.
struct Encoded<'a> {
    /// Its place in the file.
    place: usize,
    column: &'a Column,
    encoder: &'a Encoder,
    /// The first of its inputs.
    start: usize,
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
        width: usize,
    ) -> Result<Vec<Vec<f32>>, DatasetError> {
        let mut inputs = Vec::with_capacity(blocks.len());
        // Of each row, where it is in all blocks one behind the other.
        let mut places = vec![u32::MAX; self.rows()];
        let mut starts = vec![0];
        for rows in blocks {
            let start = starts[starts.len() - 1];
            (start..).zip(*rows).for_each(|(to, &row)| places[row as usize] = to);
            starts.push(start + rows.len() as u32);
            // Categories may take a hundred times the memory that they have in the table.
            let count = rows.len().checked_mul(width);
            let has_room = |count: &usize| Vec::<f32>::new().try_reserve_exact(*count).is_ok();
            let Some(count) = count.filter(has_room) else {
                return Err(self.error(Fault::OutOfMemory { rows: rows.len() as u64, columns: width }, None));
            };
            inputs.push(vec![0.0; count]);
        }
        let mut columns = Vec::with_capacity(self.table.features.len());
        let mut start = 0;
        for (place, column) in &self.table.features {
            let Becomes::Inputs(encoder) = &schema.columns[*place].becomes else { continue };
            columns.push(Encoded { place: *place, column, encoder, start });
            start += encoder.width();
        }
        let goal = |value: usize| {
            let to = places[value.checked_sub(self.table.lead)?];
            let block = starts.partition_point(|start| *start <= to) - 1;
            (block < blocks.len()).then(|| (block as u32, to - starts[block]))
        };
        match encode(&columns, width, goal, &mut inputs) {
            Ok(()) => Ok(inputs),
            Err(Unencoded::Unreadable(fault)) => Err(self.error(fault, None)),
            Err(Unencoded::OutOfScale { value, place }) => {
                let row = (value - self.table.lead) as u32;
                Err(self.error(Fault::OutOfScale { place: self.place(row, place) }, Some(row)))
            }
        }
    }
}

/// Makes the inputs of rows, so many for each: `goals` has one for each value of the columns.
fn encode(
    columns: &[Encoded<'_>],
    width: usize,
    goals: impl Fn(usize) -> Goal,
    blocks: &mut [Vec<f32>],
) -> Result<(), Unencoded> {
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
                    let from = to as usize * width + column.start;
                    let inputs = &mut blocks[block as usize][from..];
                    if !put(column.encoder, cells, inputs_of_names, start + row, inputs) {
                        return Err(Unencoded::OutOfScale { value: first + start + row, place: column.place });
                    }
                }
            }
        }
        first += rows;
    }
    Ok(())
}

/// The input that each category's name becomes, and behind them that of a missing one.
fn inputs_of_names(column: &Encoded<'_>) -> Vec<u32> {
    let Encoder::Categories(categories) = column.encoder else { return Vec::new() };
    let input = |field: Field<'_>| categories.place(field).map_or(NO_INPUT, |place| place as u32);
    let names = column.column.names().iter().map(|name| input(Field::Name(name)));
    names.chain([input(Field::Missing)]).collect()
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
            let name = cells.code(value).map_or(inputs_of_names.len() - 1, |code| code as usize);
            if inputs_of_names[name] != NO_INPUT {
                inputs[inputs_of_names[name] as usize] = 1.0;
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
