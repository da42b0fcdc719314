//! Objects: a descriptor, then tensors, as bytes (protocol.md, "Objects"). An object is named by the SHA-256 of all of
//! it, descriptor included. Owns their layout; does not know how they travel.

mod confusion;
mod outer;
mod rows;
mod sum;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::bytes::{MalformedPayload, Read, Reader, Write as _, append_f32, f32_from_bytes};
use super::code::ErrorCode;
use super::limits;
use crate::model::{LittleEndianF32, Network, OuterStateError, initialise};

pub use confusion::{decode_confusion, encode_confusion};
pub use outer::{decode_outer, encode_outer, outer_bytes, outer_digest};
pub use rows::{decode_rows, encode_row_parts, encode_rows, encode_rows_of_values, rows_bytes};
pub use sum::{SumLayout, check_sum, encode_sum, sum_bytes_max, sum_digest};

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ObjectKind {
    /// A model's parameters: for each layer a weight tensor `[inputs, outputs]` and a bias tensor `[outputs]`, f32.
    Weights = 1,
    /// Rows of data: features `[rows, features]`, f32, labels `[rows]`, u32, or targets `[rows, outputs]`, f32, and indices
    /// `[rows, columns]`, of one, two or four bytes, where features are written so.
    Rows = 2,
    /// Trained parameters minus base parameters, in the shape of [`ObjectKind::Weights`].
    Update = 3,
    /// The sum of blocks' gradients, in the shape of [`ObjectKind::Weights`], and of their losses: i64 or i128.
    Sum = 4,
    /// What an outer optimiser remembers: how many updates it has seen, i64 `[1]`, and its vectors, f32 `[parameters]` each.
    Outer = 5,
    /// Which class rows were taken for: u32 `[pairs, 3]` of the validation rows, and another of the test rows where there are some.
    Confusion = 6,
}

impl ObjectKind {
    fn from_number(number: u8) -> Option<ObjectKind> {
        match number {
            1 => Some(ObjectKind::Weights),
            2 => Some(ObjectKind::Rows),
            3 => Some(ObjectKind::Update),
            4 => Some(ObjectKind::Sum),
            5 => Some(ObjectKind::Outer),
            6 => Some(ObjectKind::Confusion),
            _ => None,
        }
    }
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ObjectKind::Weights => "weights",
            ObjectKind::Rows => "rows",
            ObjectKind::Update => "update",
            ObjectKind::Sum => "sum",
            ObjectKind::Outer => "outer optimiser's state",
            ObjectKind::Confusion => "confusion",
        })
    }
}

const F32: u8 = 1;
const U32: u8 = 2;
const I64: u8 = 3;
const I128: u8 = 4;
const U8: u8 = 5;
const U16: u8 = 6;
/// The only encoding so far: the elements as they are, little-endian, row-major.
const RAW: u8 = 0;

/// Bytes of a descriptor before its tensors, of a tensor there before its sides, and of a side.
const KIND_BYTES: u64 = 8;
const TENSOR_BYTES: u64 = 8;
const SIDE_BYTES: u64 = 8;

/// Why bytes are not the object that they should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectError {
    /// The descriptor cannot be read.
    Descriptor(MalformedPayload),
    /// It is another kind of object.
    Kind {
        /// The kind, by its number.
        got: u8,
        /// The kind wanted.
        wanted: ObjectKind,
    },
    /// Its tensors have other shapes, types or encodings.
    Shape {
        /// The tensors in it.
        got: String,
        /// The tensors wanted.
        wanted: String,
    },
    /// A weight is not a number, or infinite.
    NotFinite {
        /// Which of the parameters, in their flat order.
        index: usize,
    },
    /// It has more or fewer bytes than its descriptor says.
    Size {
        /// Bytes of elements there are.
        got: u64,
        /// Bytes that the descriptor says.
        wanted: u64,
    },
    /// What it holds is not what the job's outer optimiser remembers at that step.
    Outer(OuterStateError),
    /// A pair of classes is not behind the one before it, names no class or no row, or the pairs have other rows than there are.
    Confusion {
        /// Which of the pairs; as many as there are where all have other rows.
        pair: usize,
    },
}

impl ObjectError {
    /// The code that the peer is told.
    pub fn code(&self) -> ErrorCode {
        ErrorCode::ObjectMalformed
    }
}

impl fmt::Display for ObjectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Descriptor(error) => error.fmt(f),
            Self::Kind { got, wanted } => {
                write!(f, "the object is of kind {got}, and {wanted} ({}) was wanted", *wanted as u8)
            }
            Self::Shape { got, wanted } => write!(f, "the object's tensors are {got}, and {wanted} was wanted"),
            Self::NotFinite { index } => write!(f, "parameter {index} (from 0) is no finite number"),
            Self::Size { got, wanted } => write!(f, "the object holds {got} bytes of elements, and says {wanted}"),
            Self::Outer(error) => error.fmt(f),
            Self::Confusion { pair } => write!(
                f,
                "pair {pair} (from 0) of a class and the one that it was taken for is out of order, or all have other rows than there are"
            ),
        }
    }
}

impl std::error::Error for ObjectError {}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Tensor {
    element: u8,
    encoding: u8,
    dimensions: usize,
    /// As many as there are dimensions; zeros behind them.
    sides: [u64; limits::DIMENSIONS_MAX],
}

impl Tensor {
    /// A raw one of at most [`limits::DIMENSIONS_MAX`] dimensions.
    fn raw(element: u8, shape: &[u64]) -> Tensor {
        let mut sides = [0; limits::DIMENSIONS_MAX];
        sides[..shape.len()].copy_from_slice(shape);
        Tensor { element, encoding: RAW, dimensions: shape.len(), sides }
    }

    fn shape(&self) -> &[u64] {
        &self.sides[..self.dimensions]
    }

    /// Bytes of the elements; `None` past u64.
    fn bytes(&self) -> Option<u64> {
        let of_element = match self.element {
            I64 => 8,
            I128 => 16,
            U8 => 1,
            U16 => 2,
            _ => 4,
        };
        self.shape().iter().try_fold(of_element, |bytes: u64, &side| bytes.checked_mul(side))
    }
}

fn describe(tensors: &[Tensor]) -> String {
    let one = |tensor: &Tensor| {
        let element = match (tensor.element, tensor.encoding) {
            (F32, RAW) => "f32".to_owned(),
            (U32, RAW) => "u32".to_owned(),
            (I64, RAW) => "i64".to_owned(),
            (I128, RAW) => "i128".to_owned(),
            (U8, RAW) => "u8".to_owned(),
            (U16, RAW) => "u16".to_owned(),
            (element, encoding) => format!("element {element} encoding {encoding} "),
        };
        format!("{element}{:?}", tensor.shape())
    };
    // A message needs the beginning of a long list, not all of it.
    let mut text = tensors.iter().take(8).map(one).collect::<Vec<_>>().join(" ");
    if tensors.len() > 8 {
        text.push_str(" ...");
    }
    text
}

fn encode_descriptor(kind: ObjectKind, tensors: &[Tensor]) -> Vec<u8> {
    let mut out = vec![kind as u8, tensors.len() as u8, 0, 0, 0, 0, 0, 0];
    for tensor in tensors {
        out.extend_from_slice(&[tensor.element, tensor.encoding, tensor.dimensions as u8, 0, 0, 0, 0, 0]);
        for &side in tensor.shape() {
            out.u64(side);
        }
    }
    out
}

/// The kind's number and the tensors; the reader is left at the first element.
fn decode_descriptor(reader: &mut Reader<'_>) -> Read<(u8, Vec<Tensor>)> {
    use super::bytes::Malformation::OverLimit;
    let (kind, count) = (reader.u8()?, usize::from(reader.u8()?));
    reader.reserved(6)?;
    if count > limits::TENSORS_MAX {
        return reader.fail(OverLimit { got: count as u64, allowed: limits::TENSORS_MAX as u64 });
    }
    let mut tensors = Vec::new();
    for _ in 0..count {
        let (element, encoding, rank) = (reader.u8()?, reader.u8()?, usize::from(reader.u8()?));
        reader.reserved(5)?;
        if rank > limits::DIMENSIONS_MAX {
            return reader.fail(OverLimit { got: rank as u64, allowed: limits::DIMENSIONS_MAX as u64 });
        }
        let mut tensor = Tensor { element, encoding, dimensions: rank, sides: [0; limits::DIMENSIONS_MAX] };
        for side in &mut tensor.sides[..rank] {
            *side = reader.u64()?;
        }
        tensors.push(tensor);
    }
    Ok((kind, tensors))
}

/// Checks kind, shapes and size against `wanted`, which gets the tensors found; returns the elements' bytes.
fn open<'a>(
    bytes: &'a [u8],
    wanted_kind: ObjectKind,
    wanted: &dyn Fn(&[Tensor]) -> Vec<Tensor>,
) -> Result<(Vec<Tensor>, &'a [u8]), ObjectError> {
    check(bytes, bytes.len() as u64, wanted_kind, wanted)
}

/// The same of an object of so many bytes, of which `head` has the first, and the descriptor; returns which elements' bytes
/// are there.
fn check<'a>(
    head: &'a [u8],
    object_bytes: u64,
    wanted_kind: ObjectKind,
    wanted: &dyn Fn(&[Tensor]) -> Vec<Tensor>,
) -> Result<(Vec<Tensor>, &'a [u8]), ObjectError> {
    let mut reader = Reader::new("the object's descriptor", head);
    let (kind, tensors) = decode_descriptor(&mut reader).map_err(ObjectError::Descriptor)?;
    if ObjectKind::from_number(kind) != Some(wanted_kind) {
        return Err(ObjectError::Kind { got: kind, wanted: wanted_kind });
    }
    let wanted = wanted(&tensors);
    if tensors != wanted {
        return Err(ObjectError::Shape { got: describe(&tensors), wanted: describe(&wanted) });
    }
    let said = tensors.iter().try_fold(0u64, |sum, tensor| sum.checked_add(tensor.bytes()?)).unwrap_or(u64::MAX);
    let elements = reader.rest();
    let got = object_bytes - (head.len() - elements.len()) as u64;
    if said != got {
        return Err(ObjectError::Size { got, wanted: said });
    }
    Ok((tensors, elements))
}

/// Of each layer's weights, then of its bias.
fn parameter_tensors(network: &Network) -> Vec<Tensor> {
    let sides = |layer: crate::model::Layer| (layer.inputs as u64, layer.outputs as u64);
    let of_layer = |(inputs, outputs)| [Tensor::raw(F32, &[inputs, outputs]), Tensor::raw(F32, &[outputs])];
    network.layers().map(sides).flat_map(of_layer).collect()
}

/// Bytes of the descriptor of these tensors. (It is asked for with every task: nothing is encoded for it.)
fn parameter_descriptor_bytes(network: &Network) -> u64 {
    let (of_weights, of_bias) = (TENSOR_BYTES + 2 * SIDE_BYTES, TENSOR_BYTES + SIDE_BYTES);
    KIND_BYTES + (network.hidden().len() as u64 + 1) * (of_weights + of_bias)
}

/// Size of an object of `kind` [`ObjectKind::Weights`] or [`ObjectKind::Update`] for this network.
pub fn parameters_bytes(network: &Network) -> u64 {
    parameter_descriptor_bytes(network) + 4 * network.parameters() as u64
}

/// A model's parameters, or an update, as an object. `values` are flat, as [`Network`] lays them out.
pub fn encode_parameters(kind: ObjectKind, network: &Network, values: &[f32]) -> Vec<u8> {
    debug_assert_eq!(values.len(), network.parameters());
    let mut object = begin_parameters(Vec::new(), kind, network);
    append_parameters(&mut object, values);
    object
}

/// The same without its values yet, in memory that may be there already, `room`; what was in it goes.
pub fn begin_parameters(mut room: Vec<u8>, kind: ObjectKind, network: &Network) -> Vec<u8> {
    let descriptor = encode_descriptor(kind, &parameter_tensors(network));
    room.clear();
    room.reserve_exact(descriptor.len() + network.parameters() * 4);
    room.extend_from_slice(&descriptor);
    room
}

/// The next values of an object that has been begun.
pub fn append_parameters(object: &mut Vec<u8>, values: &[f32]) {
    append_f32(object, values);
}

/// Values of which is found out at a time whether they are finite.
const FINITE_PART: usize = 256;

/// The flat parameters in an object that must be of this kind and network, as they lie there.
pub fn parameters<'a>(
    kind: ObjectKind,
    network: &Network,
    bytes: &'a [u8],
) -> Result<&'a [LittleEndianF32], ObjectError> {
    let (_, elements) = open(bytes, kind, &|_| parameter_tensors(network))?;
    let values = elements.as_chunks().0;
    // Whether an update can be merged is judged when it is, and says more than this.
    let is_finite = |value: &LittleEndianF32| f32::from_le_bytes(*value).is_finite();
    // All of some hundred at a time: looking for the first costs as much as training with it.
    let are_finite = |values: &[LittleEndianF32]| values.iter().fold(true, |all, value| all & is_finite(value));
    if kind == ObjectKind::Weights
        && let Some(part) = values.chunks(FINITE_PART).position(|part| !are_finite(part))
    {
        let first = part * FINITE_PART;
        let index = first + values[first..].iter().position(|value| !is_finite(value)).unwrap_or_default();
        return Err(ObjectError::NotFinite { index });
    }
    Ok(values)
}

/// Whether an object of so many bytes is of this kind and network: `head` has the first of them, and the descriptor. Does not
/// look at values.
pub fn check_parameters(
    kind: ObjectKind,
    network: &Network,
    head: &[u8],
    object_bytes: u64,
) -> Result<(), ObjectError> {
    check(head, object_bytes, kind, &|_| parameter_tensors(network)).map(|_| ())
}

/// The flat parameters in an object of this network that we have made ourselves, to be changed where they lie. What is
/// in it besides them stays.
pub fn parameters_mut<'a>(network: &Network, bytes: &'a mut [u8]) -> &'a mut [LittleEndianF32] {
    let start = bytes.len().saturating_sub(4 * network.parameters());
    bytes[start..].as_chunks_mut().0
}

/// The weights of round 0 that given ones come to, which may be the same object.
pub fn weights_to_start_from(network: &Network, given: Arc<Vec<u8>>) -> Result<Arc<Vec<u8>>, ObjectError> {
    if initialise::are_fit_to_start_from(parameters(ObjectKind::Weights, network, &given)?) {
        return Ok(given);
    }
    let mut bytes = Arc::unwrap_or_clone(given);
    initialise::make_fit_to_start_from(parameters_mut(network, &mut bytes));
    Ok(Arc::new(bytes))
}

/// The flat parameters in an object that must be of this kind and network, to be computed with: where this machine can
/// read them as they lie, they are not copied.
pub fn decode_parameters<'a>(
    kind: ObjectKind,
    network: &Network,
    bytes: &'a [u8],
) -> Result<Cow<'a, [f32]>, ObjectError> {
    let values = parameters(kind, network, bytes)?;
    Ok(as_they_lie(values.as_flattened(), f32_from_bytes))
}

/// Numbers of four little-endian bytes each, where they are, if this machine can read them there; else as `copy` has them.
fn as_they_lie<T: bytemuck::Pod>(bytes: &[u8], copy: impl Fn(&[u8]) -> Vec<T>) -> Cow<'_, [T]> {
    match bytemuck::try_cast_slice(bytes) {
        Ok(in_place) if cfg!(target_endian = "little") => Cow::Borrowed(in_place),
        _ => Cow::Owned(copy(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Loss;

    #[test]
    fn parameters_come_back_as_they_were() {
        let network = Network::new(2, &[3], 2).unwrap();
        let values: Vec<f32> = (0..network.parameters()).map(|i| i as f32 - 3.5).collect();
        let bytes = encode_parameters(ObjectKind::Update, &network, &values);
        assert_eq!(bytes.len() as u64, parameters_bytes(&network));
        assert_eq!(decode_parameters(ObjectKind::Update, &network, &bytes), Ok(values.into()));
    }

    #[test]
    fn another_kind_shape_or_size_is_refused() {
        let network = Network::new(2, &[], 2).unwrap();
        let other = Network::new(3, &[], 2).unwrap();
        let bytes = encode_parameters(ObjectKind::Weights, &network, &[0.0; 6]);
        let refused = |bytes: &[u8], network| decode_parameters(ObjectKind::Weights, network, bytes).unwrap_err();
        assert!(matches!(refused(&bytes, &other), ObjectError::Shape { .. }));
        assert!(matches!(refused(&bytes[..bytes.len() - 1], &network), ObjectError::Size { .. }));
        assert!(matches!(refused(&bytes[..9], &network), ObjectError::Descriptor(_)));
        let rows = |network, bytes: &[u8]| decode_rows(network, Loss::CrossEntropy, bytes).map(|_| ());
        assert!(matches!(rows(&network, &bytes), Err(ObjectError::Kind { got: 1, .. })));
        assert!(matches!(rows(&other, &encode_rows(2, &[0.0; 4], &[0, 0])), Err(ObjectError::Shape { .. })));
    }

    #[test]
    fn a_shape_of_2_to_the_64_elements_is_refused_without_overflow() {
        let mut bytes = encode_rows(1, &[0.5], &[0]);
        for side in [16, 40] {
            bytes[side..side + 8].copy_from_slice(&u64::MAX.to_le_bytes());
        }
        let network = Network::new(1, &[], 2).unwrap();
        assert!(decode_rows(&network, Loss::CrossEntropy, &bytes).is_err());
    }
    #[test]
    fn weights_are_finite() {
        let network = Network::new(1, &[], 2).unwrap();
        let bytes = |value| encode_parameters(ObjectKind::Weights, &network, &[0.0, 1.0, value, 0.0]);
        assert!(decode_parameters(ObjectKind::Weights, &network, &bytes(f32::MAX)).is_ok());
        for value in [f32::NAN, f32::NEG_INFINITY] {
            let bytes = bytes(value);
            let refused = decode_parameters(ObjectKind::Weights, &network, &bytes);
            assert_eq!(refused, Err(ObjectError::NotFinite { index: 2 }));
        }
    }
}
