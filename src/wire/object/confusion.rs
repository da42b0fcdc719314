//! Objects that tell which class rows were taken for: their layout, and what they may say. Does not know how rows are counted
//! (`model::figures`).

use super::{ObjectError, ObjectKind, Tensor, U32, encode_descriptor, open};
use crate::model::figures::ConfusionEntry;
use crate::wire::bytes::{append_u32, u32_from_bytes};

/// Numbers of a pair: what rows are, what they were taken for, how many.
const NUMBERS: usize = 3;

/// What came of validation rows, and of test rows where there are some, as an object. Nobody has 2^32 rows of a kind.
pub fn encode_confusion<'a>(of_rows: impl Iterator<Item = &'a [ConfusionEntry]> + Clone) -> Vec<u8> {
    let tensor = |pairs: &[ConfusionEntry]| Tensor::raw(U32, &[pairs.len() as u64, NUMBERS as u64]);
    let tensors: Vec<Tensor> = of_rows.clone().map(tensor).collect();
    let mut out = encode_descriptor(ObjectKind::Confusion, &tensors);
    out.reserve_exact(of_rows.clone().map(|pairs| 4 * NUMBERS * pairs.len()).sum());
    for pair in of_rows.flatten() {
        append_u32(&mut out, &[pair.label, pair.taken_for, u32::try_from(pair.rows).unwrap_or(u32::MAX)]);
    }
    out
}

/// What an object tells of rows, of which there are so many of each kind, and so many classes.
pub fn decode_confusion(classes: u32, rows: &[u64], bytes: &[u8]) -> Result<Vec<Vec<ConfusionEntry>>, ObjectError> {
    let wanted = |found: &[Tensor]| {
        let pairs = |which: usize| found.get(which).and_then(|tensor| tensor.shape().first()).copied().unwrap_or(1);
        (0..rows.len()).map(|which| Tensor::raw(U32, &[pairs(which), NUMBERS as u64])).collect()
    };
    let (tensors, mut elements) = open(bytes, ObjectKind::Confusion, &wanted)?;
    let mut told = Vec::new();
    for (tensor, &rows) in tensors.iter().zip(rows) {
        let (own, rest) = elements.split_at(tensor.bytes().unwrap_or(0) as usize);
        elements = rest;
        let numbers = u32_from_bytes(own);
        let pair =
            |numbers: &[u32]| ConfusionEntry { label: numbers[0], taken_for: numbers[1], rows: numbers[2].into() };
        let pairs: Vec<ConfusionEntry> = numbers.chunks_exact(NUMBERS).map(pair).collect();
        let is_wrong = |(place, pair): (usize, &ConfusionEntry)| {
            let key = |pair: &ConfusionEntry| (pair.label, pair.taken_for);
            let is_behind = place.checked_sub(1).is_none_or(|before| key(&pairs[before]) < key(pair));
            !is_behind || pair.label >= classes || pair.taken_for >= classes || pair.rows == 0
        };
        if let Some(pair) = pairs.iter().enumerate().position(is_wrong) {
            return Err(ObjectError::Confusion { pair });
        }
        if pairs.iter().map(|pair| pair.rows).sum::<u64>() != rows {
            return Err(ObjectError::Confusion { pair: pairs.len() });
        }
        told.push(pairs);
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(u32, u32, u64)]) -> Vec<ConfusionEntry> {
        let entry = |&(label, taken_for, rows): &(u32, u32, u64)| ConfusionEntry { label, taken_for, rows };
        pairs.iter().map(entry).collect()
    }

    #[test]
    fn what_rows_were_taken_for_comes_back_as_it_was() {
        let both = [pairs(&[(0, 0, 3), (0, 1, 1), (2, 2, 5)]), pairs(&[(1, 2, 1)])];
        let bytes = encode_confusion(both.iter().map(|pairs| &pairs[..]));
        assert_eq!(bytes.len(), 8 + 2 * 24 + 4 * 12);
        assert_eq!(decode_confusion(3, &[9, 1], &bytes), Ok(both.to_vec()));
        assert!(matches!(decode_confusion(3, &[9], &bytes), Err(ObjectError::Shape { .. })));
        assert!(matches!(decode_confusion(3, &[9, 1], &bytes[..80]), Err(ObjectError::Size { .. })));
    }

    #[test]
    fn pairs_that_cannot_be_are_refused() {
        let refused = |given: &[(u32, u32, u64)], rows| {
            let bytes = encode_confusion([&pairs(given)[..]].into_iter());
            decode_confusion(3, &[rows], &bytes).unwrap_err()
        };
        assert_eq!(refused(&[(0, 1, 1), (0, 0, 1)], 2), ObjectError::Confusion { pair: 1 });
        assert_eq!(refused(&[(0, 1, 1), (0, 1, 1)], 2), ObjectError::Confusion { pair: 1 });
        assert_eq!(refused(&[(0, 3, 1)], 1), ObjectError::Confusion { pair: 0 });
        assert_eq!(refused(&[(0, 1, 1), (1, 1, 0)], 1), ObjectError::Confusion { pair: 1 });
        assert_eq!(refused(&[(0, 1, 1), (1, 1, 4)], 6), ObjectError::Confusion { pair: 2 });
    }
}
