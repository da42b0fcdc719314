//! Objects that are what an outer optimiser remembers at some weights: their layout, and their names. Does not know what is
//! remembered (`model::outer`).

use std::ops::RangeInclusive;

use super::{F32, I64, ObjectError, ObjectKind, Tensor, encode_descriptor, open};
use crate::digest::Digest;
use crate::model::{Outer, OuterState};

/// The number of updates, and each vector where there has been one.
fn tensors(vectors: usize, parameters: usize) -> Vec<Tensor> {
    let of_vectors = (0..vectors).map(|_| Tensor::raw(F32, &[parameters as u64]));
    std::iter::once(Tensor::raw(I64, &[1])).chain(of_vectors).collect()
}

/// What stands before the vectors.
fn head(state: &OuterState) -> Vec<u8> {
    let vectors = state.vectors().into_iter().filter(|vector| !vector.is_empty());
    let parameters = vectors.clone().next().map_or(0, |vector| vector.len() / 4);
    let mut head = encode_descriptor(ObjectKind::Outer, &tensors(vectors.count(), parameters));
    head.extend_from_slice(&state.updates().to_le_bytes());
    head
}

/// The name of what an outer optimiser remembers: nothing is copied for it.
pub fn outer_digest(state: &OuterState) -> Digest {
    let [first, second] = state.vectors();
    Digest::of_parts(&[&head(state), first, second])
}

/// What an outer optimiser remembers, as an object.
pub fn encode_outer(state: &OuterState) -> Vec<u8> {
    [&head(state)[..], &state.vectors().concat()].concat()
}

/// Size of such an object of so many parameters once there has been an update.
pub fn outer_bytes(outer: &Outer, parameters: usize) -> u64 {
    let vectors = outer.optimiser.state_vectors();
    let descriptor = encode_descriptor(ObjectKind::Outer, &tensors(vectors, parameters)).len();
    (descriptor + size_of::<i64>()) as u64 + 4 * (vectors * parameters) as u64
}

/// What this optimiser remembers of so many parameters by an object, after as many updates as are due.
pub fn decode_outer(
    outer: &Outer,
    parameters: usize,
    due: RangeInclusive<u64>,
    bytes: &[u8],
) -> Result<OuterState, ObjectError> {
    let vectors = outer.optimiser.state_vectors();
    let wanted = |found: &[Tensor]| tensors(if found.len() > 1 { vectors } else { 0 }, parameters);
    let (_, elements) = open(bytes, ObjectKind::Outer, &wanted)?;
    let Some((updates, vectors)) = elements.split_first_chunk() else {
        return Err(ObjectError::Size { got: elements.len() as u64, wanted: size_of::<u64>() as u64 });
    };
    OuterState::restored(outer, parameters, due, u64::from_le_bytes(*updates), vectors).map_err(ObjectError::Outer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{OuterOptimiser, OuterStateError};

    const ADAM: Outer = Outer { optimiser: OuterOptimiser::Adam, ..Outer::AVERAGE };

    /// After so many updates of three parameters.
    fn state(updates: u64) -> OuterState {
        let vectors: Vec<u8> = (0..if updates > 0 { 24 } else { 0 }).collect();
        OuterState::restored(&ADAM, 3, 0..=9, updates, &vectors).unwrap()
    }

    #[test]
    fn what_is_remembered_comes_back_as_it_was_and_has_the_name_of_its_bytes() {
        for (updates, bytes) in [(0, 8 + 16 + 8), (7, 8 + 3 * 16 + 8 + 24)] {
            let object = encode_outer(&state(updates));
            assert_eq!((object.len(), outer_digest(&state(updates))), (bytes, Digest::of(&object)));
            assert_eq!(decode_outer(&ADAM, 3, 0..=9, &object).unwrap(), state(updates));
        }
        assert_eq!(outer_bytes(&ADAM, 3), encode_outer(&state(1)).len() as u64);
        assert_ne!(outer_digest(&state(1)), outer_digest(&state(2)), "the count is part of it");
    }

    #[test]
    fn what_is_not_remembered_by_this_optimiser_then_is_refused() {
        let object = encode_outer(&state(7));
        let refused =
            |outer: &Outer, parameters, due, bytes: &[u8]| decode_outer(outer, parameters, due, bytes).unwrap_err();
        let momentum = Outer { optimiser: OuterOptimiser::Momentum, ..ADAM };
        assert!(matches!(refused(&momentum, 3, 0..=9, &object), ObjectError::Shape { .. }));
        assert!(matches!(refused(&ADAM, 2, 0..=9, &object), ObjectError::Shape { .. }));
        assert!(matches!(refused(&ADAM, 3, 0..=9, &object[..70]), ObjectError::Size { .. }));
        let late = OuterStateError::Updates { got: 7, expected: 6 };
        assert_eq!(refused(&ADAM, 3, 0..=6, &object), ObjectError::Outer(late));
        // An update without vectors, and vectors without an update.
        let mut none = encode_outer(&state(0));
        none[24] = 1;
        let short = OuterStateError::Length { got: 0, expected: 24 };
        assert_eq!(refused(&ADAM, 3, 0..=9, &none), ObjectError::Outer(short));
        let mut never = object;
        never[56] = 0;
        assert!(matches!(refused(&ADAM, 3, 0..=9, &never), ObjectError::Outer(OuterStateError::Length { .. })));
    }
}
