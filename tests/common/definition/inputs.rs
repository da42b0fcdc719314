//! What indices in rows stand for, said once more: protocol.md, section 4.

use gradwire::model::Rows;

/// The inputs of all rows, row-major, as zeros and ones where an index says which is the one.
pub(super) fn inputs_of(rows: &Rows) -> Vec<f32> {
    let (layout, values, indices) = (rows.inputs().layout, rows.inputs().values, rows.inputs().indices);
    let largest = layout.columns().iter().map(|column| column[1]).max().unwrap_or(0);
    let bytes = if largest < 256 {
        1
    } else if largest < 65_536 {
        2
    } else {
        4
    };
    let (mut values, mut indices) = (values.iter(), indices.chunks(bytes));
    let mut inputs = Vec::new();
    for _ in 0..rows.rows() {
        let end = inputs.len() + rows.features() as usize;
        for &[before, levels] in layout.columns() {
            inputs.extend(values.by_ref().take(before as usize));
            let index = indices.next().unwrap().iter().rev().fold(0u32, |index, byte| index << 8 | u32::from(*byte));
            inputs.extend((0..levels).map(|level| if level == index { 1.0 } else { 0.0 }));
        }
        inputs.extend(values.by_ref().take(end - inputs.len()));
    }
    assert!(values.next().is_none() && indices.next().is_none());
    inputs
}
