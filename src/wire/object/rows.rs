//! Objects of rows: inputs, targets, and indices where some of the inputs are written so. Owns the order and the sides of their
//! tensors; does not look at values, which the model does.

use std::borrow::Cow;

use super::{F32, ObjectError, ObjectKind, Tensor, U8, U16, U32, as_they_lie, encode_descriptor, open};
use crate::model::rows::RowParts;
use crate::model::{InputLayout, Loss, Network, TargetKind, Targets};
use crate::wire::bytes::{append_f32, append_u32, f32_from_bytes, u32_from_bytes};

/// Features that are written as they are, the targets that a loss takes, and indices where there are some. They stand last: so all
/// others lie where a machine can read them.
fn rows_tensors(rows: u64, layout: &InputLayout, targets: TargetKind, outputs: u32) -> Vec<Tensor> {
    let targets = match targets {
        TargetKind::Labels => Tensor::raw(U32, &[rows]),
        TargetKind::Values => Tensor::raw(F32, &[rows, outputs.into()]),
    };
    let mut tensors = vec![Tensor::raw(F32, &[rows, layout.plain_inputs().into()]), targets];
    if !layout.columns().is_empty() {
        let element = match layout.index_bytes() {
            1 => U8,
            2 => U16,
            _ => U32,
        };
        tensors.push(Tensor::raw(element, &[rows, layout.columns().len() as u64]));
    }
    tensors
}

/// Size of an object of so many rows for this network and loss. Exact for every u32: (2^32)^2 x 4 does not fit, so it
/// saturates.
pub fn rows_bytes(rows: u32, network: &Network, loss: Loss) -> u64 {
    let (layout, outputs) = (network.input_layout(), network.outputs());
    let of_row = layout.row_bytes() + loss.target_bytes(outputs);
    let tensors = rows_tensors(0, layout, loss.target_kind(), outputs);
    let descriptor = encode_descriptor(ObjectKind::Rows, &tensors).len() as u64;
    u64::from(rows).saturating_mul(of_row).saturating_add(descriptor)
}

/// Rows of data as an object; `values` row-major, one label a row.
pub fn encode_rows(features: u32, values: &[f32], labels: &[u32]) -> Vec<u8> {
    let targets = Targets::Labels { labels: labels.into(), classes: 0 };
    encode_row_parts(
        &InputLayout::plain(features),
        &RowParts { values: values.into(), indices: Cow::default(), targets },
    )
}

/// The same of rows with `width` numbers each as targets, row-major.
pub fn encode_rows_of_values(features: u32, values: &[f32], width: u32, targets: &[f32]) -> Vec<u8> {
    let targets = Targets::Values { values: targets.into(), width };
    encode_row_parts(
        &InputLayout::plain(features),
        &RowParts { values: values.into(), indices: Cow::default(), targets },
    )
}

/// The same of rows that are written by this layout.
pub fn encode_row_parts(layout: &InputLayout, parts: &RowParts<'_>) -> Vec<u8> {
    let RowParts { values, indices, targets } = parts;
    let rows = targets.rows();
    debug_assert_eq!(values.len(), rows * layout.plain_inputs() as usize);
    debug_assert_eq!(indices.len(), rows * layout.columns().len() * layout.index_bytes());
    let (kind, outputs) = match targets {
        Targets::Labels { .. } => (TargetKind::Labels, 1),
        Targets::Values { width, .. } => (TargetKind::Values, *width),
    };
    let mut out = encode_descriptor(ObjectKind::Rows, &rows_tensors(rows as u64, layout, kind, outputs));
    out.reserve_exact((values.len() + rows * outputs as usize) * 4 + indices.len());
    append_f32(&mut out, values);
    match targets {
        Targets::Labels { labels, .. } => append_u32(&mut out, labels),
        Targets::Values { values, .. } => append_f32(&mut out, values),
    }
    out.extend_from_slice(indices);
    out
}

/// What is in an object of rows, which must be for this network and loss; as many rows as it has. Where this machine can read it
/// as it lies, it is not copied.
pub fn decode_rows<'a>(network: &Network, loss: Loss, bytes: &'a [u8]) -> Result<RowParts<'a>, ObjectError> {
    let (tensors, elements) = open(bytes, ObjectKind::Rows, &|found| {
        let rows = found.first().and_then(|tensor| tensor.shape().first()).copied().unwrap_or(1);
        rows_tensors(rows, network.input_layout(), loss.target_kind(), network.outputs())
    })?;
    // `open` has compared the sizes, so the products fit what is there.
    let bytes_of = |tensor: &Tensor| tensor.bytes().unwrap_or(0) as usize;
    let (values, rest) = elements.split_at(bytes_of(&tensors[0]));
    let (targets, indices) = rest.split_at(bytes_of(&tensors[1]));
    let targets = match loss.target_kind() {
        TargetKind::Labels => {
            Targets::Labels { labels: as_they_lie(targets, u32_from_bytes), classes: network.outputs() }
        }
        TargetKind::Values => {
            Targets::Values { values: as_they_lie(targets, f32_from_bytes), width: network.outputs() }
        }
    };
    Ok(RowParts { values: as_they_lie(values, f32_from_bytes), indices: indices.into(), targets })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_as_they_were() {
        let network = Network::new(2, &[3], 2).unwrap();
        let bytes = encode_rows(2, &[1.0, 2.0, 3.0, 4.0], &[7, 8]);
        assert_eq!(bytes.len() as u64, rows_bytes(2, &network, Loss::CrossEntropy));
        let labels = Targets::Labels { labels: vec![7, 8].into(), classes: 2 };
        let rows = decode_rows(&network, Loss::CrossEntropy, &bytes);
        assert!(matches!(decode_rows(&network, Loss::SquaredError, &bytes), Err(ObjectError::Shape { .. })));
        let parts = |targets| RowParts { values: vec![1.0, 2.0, 3.0, 4.0].into(), indices: Cow::default(), targets };
        assert_eq!(rows, Ok(parts(labels)));

        let bytes = encode_rows_of_values(2, &[1.0, 2.0, 3.0, 4.0], 2, &[0.5, -1.0, 1.5, 2.0]);
        assert_eq!(bytes.len() as u64, rows_bytes(2, &network, Loss::SquaredError));
        let targets = Targets::Values { values: vec![0.5, -1.0, 1.5, 2.0].into(), width: 2 };
        let rows = decode_rows(&network, Loss::SquaredError, &bytes);
        assert_eq!(rows, Ok(parts(targets)));
        assert!(matches!(decode_rows(&network, Loss::CrossEntropy, &bytes), Err(ObjectError::Shape { .. })));
    }

    #[test]
    fn indices_stand_behind_the_targets_in_as_few_bytes_as_their_columns_need() {
        for (levels, element) in [(3, 5), (255, 5), (256, 6), (70_000, 2)] {
            let network = Network::new(levels + 3, &[], 2).unwrap().with_index_columns(&[[1, levels], [0, 1]]).unwrap();
            let layout = network.input_layout();
            let indices: Vec<u8> = [0, 1, levels, 0]
                .iter()
                .flat_map(|index| index.to_le_bytes()[..layout.index_bytes()].to_vec())
                .collect();
            let labels = Targets::Labels { labels: vec![1, 0].into(), classes: 2 };
            let parts = RowParts { values: vec![1.0, 2.0, 3.0, 4.0].into(), indices: indices.into(), targets: labels };
            let bytes = encode_row_parts(layout, &parts);
            // Behind the kind, a tensor with two sides and one with one.
            assert_eq!((bytes[1], bytes[48], &bytes[56..58]), (3, element, &[2, 0][..]));
            assert_eq!(bytes.len() as u64, rows_bytes(2, &network, Loss::CrossEntropy));
            assert_eq!(decode_rows(&network, Loss::CrossEntropy, &bytes), Ok(parts));
            // What a network without indices would take is something else, and so is what is cut off.
            let plain = Network::new(levels + 3, &[], 2).unwrap();
            let refused = decode_rows(&plain, Loss::CrossEntropy, &bytes).unwrap_err().to_string();
            assert!(refused.contains("f32[2, 2] u32[2] u") && refused.contains("[2, 2], and f32"), "{refused}");
            let short = decode_rows(&network, Loss::CrossEntropy, &bytes[..bytes.len() - 1]);
            assert!(matches!(short, Err(ObjectError::Size { .. })));
        }
        // All features may be written as indices.
        let network = Network::new(3, &[], 2).unwrap().with_index_columns(&[[0, 3]]).unwrap();
        let labels = Targets::Labels { labels: vec![1, 0].into(), classes: 2 };
        let parts = RowParts { values: Cow::default(), indices: vec![2, 3].into(), targets: labels };
        let bytes = encode_row_parts(network.input_layout(), &parts);
        assert_eq!(decode_rows(&network, Loss::CrossEntropy, &bytes), Ok(parts));
    }
}
