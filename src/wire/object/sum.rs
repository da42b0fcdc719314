//! Objects that are sums of blocks' gradients: which tensors they have, and in which width. Owns their encoding, of which each
//! sum has one; does not know what is summed (`model::merge`).

use std::ops::Range;

use super::{
    I64, I128, ObjectError, ObjectKind, SIDE_BYTES, TENSOR_BYTES, Tensor, check, encode_descriptor,
    parameter_descriptor_bytes, parameter_tensors,
};
use crate::digest::{Digest, Hasher};
use crate::model::{GradientSum, IntegerRun, Network};

/// Where the integers of a sum's object are, and how wide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SumLayout {
    /// Bytes of the descriptor: a multiple of eight.
    pub start: usize,
    /// Its tensors' integers, as [`GradientSum::add_words`] takes them.
    pub runs: Vec<IntegerRun>,
}

/// Values of a tensor of a network, which this machine's memory can hold.
fn values(shape: &[u64]) -> usize {
    shape.iter().product::<u64>() as usize
}

fn tensors(network: &Network, mut is_wide: impl FnMut(usize) -> bool) -> Vec<Tensor> {
    let tensors = parameter_tensors(network).into_iter().enumerate();
    let of_parameters =
        tensors.map(|(index, tensor)| Tensor { element: if is_wide(index) { I128 } else { I64 }, ..tensor });
    of_parameters.chain([Tensor::raw(I128, &[1])]).collect()
}

/// Size of a sum's object for this network, at most.
pub fn sum_bytes_max(network: &Network) -> u64 {
    let of_losses = TENSOR_BYTES + SIDE_BYTES;
    parameter_descriptor_bytes(network) + of_losses + 16 * (network.parameters() as u64 + 1)
}

/// A sum of as many parameters as the network has as an object, in memory that may be there already, `room`; what was in it
/// goes.
pub fn encode_sum(mut room: Vec<u8>, network: &Network, sum: &GradientSum) -> Vec<u8> {
    let (descriptor, runs) = begin(network, sum);
    let bytes: usize = runs.iter().map(|(is_narrow, range)| range.len() * if *is_narrow { 8 } else { 16 }).sum();
    room.clear();
    room.reserve_exact(descriptor.len() + bytes + 16);
    room.extend_from_slice(&descriptor);
    for (is_narrow, range) in runs {
        if is_narrow { sum.append_narrow(range, &mut room) } else { sum.append_wide(range, &mut room) }
    }
    sum.append_loss(&mut room);
    room
}

/// The name of such an object, of which no more than a part is ever in memory.
pub fn sum_digest(network: &Network, sum: &GradientSum) -> Digest {
    /// Integers that stay in a processor's first cache.
    const PART: usize = 1 << 10;
    let (mut part, runs) = begin(network, sum);
    let mut hasher = Hasher::default();
    hasher.update(&part);
    for (is_narrow, range) in runs {
        for start in range.clone().step_by(PART) {
            let range = start..range.end.min(start + PART);
            part.clear();
            if is_narrow {
                sum.append_narrow(range, &mut part)
            } else {
                sum.append_wide(range, &mut part)
            }
            hasher.update(&part);
        }
    }
    part.clear();
    sum.append_loss(&mut part);
    hasher.update(&part);
    hasher.finish()
}

/// An object's descriptor, and the parameters of each tensor with whether 64 bits are enough for them.
fn begin(network: &Network, sum: &GradientSum) -> (Vec<u8>, Vec<(bool, Range<usize>)>) {
    debug_assert_eq!(sum.parameters(), network.parameters());
    let mut start = 0;
    let runs: Vec<_> = parameter_tensors(network)
        .iter()
        .map(|tensor| {
            let range = start..start + values(tensor.shape());
            start = range.end;
            (sum.fits_narrow(range.clone()), range)
        })
        .collect();
    (encode_descriptor(ObjectKind::Sum, &tensors(network, |index| !runs[index].0)), runs)
}

/// Whether an object of so many bytes is a sum of this network: `head` has the first of them, and the descriptor. Tells where its
/// integers are, of which it looks at none: whether each has the width that it needs is found out when they are added.
pub fn check_sum(network: &Network, head: &[u8], object_bytes: u64) -> Result<SumLayout, ObjectError> {
    let is_wide = |found: &[Tensor], index: usize| found.get(index).is_some_and(|tensor| tensor.element == I128);
    let wanted = |found: &[Tensor]| tensors(network, |index| is_wide(found, index));
    let (found, elements) = check(head, object_bytes, ObjectKind::Sum, &wanted)?;
    let run = |tensor: &Tensor| IntegerRun { count: values(tensor.shape()), is_wide: tensor.element == I128 };
    Ok(SumLayout { start: head.len() - elements.len(), runs: found.iter().map(run).collect() })
}

#[cfg(test)]
mod tests {
    use super::super::{decode_parameters, parameters_bytes};
    use super::*;
    use crate::model::Kernel;

    fn network() -> Network {
        Network::new(3, &[2], 2).unwrap()
    }

    fn sum(largest: f32) -> GradientSum {
        let mut sum = GradientSum::new(Kernel::best(), network().parameters());
        let mut gradient = vec![0.25; network().parameters()];
        // In the bias of the first layer.
        gradient[7] = largest;
        sum.add_block(&gradient, 3.5).unwrap();
        sum
    }

    /// Another sum of what the object holds, from parts of so many words.
    fn read(bytes: &[u8], part: usize) -> GradientSum {
        let SumLayout { start, runs } = check_sum(&network(), bytes, bytes.len() as u64).unwrap();
        let mut sum = GradientSum::new(Kernel::best(), network().parameters());
        let words = bytes[start..].as_chunks().0;
        sum.add_words(&runs, words.chunks(part).collect(), 1).unwrap();
        sum
    }

    #[test]
    fn a_sum_comes_back_as_it_was_and_takes_128_bits_only_for_tensors_that_need_them() {
        let descriptor = 8 + 2 * (24 + 16) + 16;
        for (largest, bytes) in [(-0.5, 8 * 14 + 16), (1e9, 8 * 14 + 8 * 2 + 16)] {
            let object = encode_sum(vec![9; 3], &network(), &sum(largest));
            assert_eq!(object.len(), descriptor + bytes);
            assert!(object.len() as u64 <= sum_bytes_max(&network()));
            assert_eq!(sum_digest(&network(), &sum(largest)), Digest::of(&object));
            for part in [1, 2, 3, 100] {
                assert_eq!(encode_sum(Vec::new(), &network(), &read(&object, part)), object);
            }
            assert_eq!(read(&object, 5).loss(), 3.5);
        }
        assert_eq!(sum_bytes_max(&network()), descriptor as u64 + 16 * 15);
    }

    #[test]
    fn what_is_no_sum_of_the_network_is_refused() {
        let object = encode_sum(Vec::new(), &network(), &sum(1.0));
        let all = object.len() as u64;
        let refused = |bytes: &[u8], all| check_sum(&network(), bytes, all).unwrap_err();
        let other = Network::new(2, &[3], 2).unwrap();
        assert!(matches!(check_sum(&other, &object, all), Err(ObjectError::Shape { .. })));
        assert!(matches!(refused(&object, all - 1), ObjectError::Size { .. }));
        assert!(matches!(refused(&object[..20], all), ObjectError::Descriptor(_)));
        // The loss has 128 bits; parameters have i64 or i128.
        for (tensor, element) in [(4, I64), (0, 1), (1, 2)] {
            let place = 8 + [0, 24, 40, 64, 80][tensor];
            let mut changed = object.clone();
            changed[place] = element;
            assert!(matches!(refused(&changed, all), ObjectError::Shape { .. }), "{tensor}");
        }
        let update = super::super::encode_parameters(ObjectKind::Update, &network(), &[0.0; 14]);
        assert_eq!(update.len() as u64, parameters_bytes(&network()));
        assert!(matches!(refused(&update, update.len() as u64), ObjectError::Kind { got: 3, .. }));
        let as_update = decode_parameters(ObjectKind::Update, &network(), &object);
        assert!(matches!(as_update, Err(ObjectError::Kind { got: 4, .. })));
    }
}
