//! How well a score ranks rows. Owns the area under the receiver's curve; does not know what scores.

/// The part of all pairs of a row that is of a class and one that is not in which the first has the higher score, ties half
/// (Mann and Whitney 1947): the area under the curve of the true positives over the false ones. None where there is no pair.
/// Of each row its score, +0 or above, and whether it is of the class; `keys` is room to work in.
pub(super) fn area_under_curve(rows: impl Iterator<Item = (f32, bool)>, keys: &mut Vec<u64>) -> Option<f64> {
    keys.clear();
    // Numbers that are not negative are ordered as their bits are.
    keys.extend(rows.map(|(score, is_of_class)| u64::from(score.to_bits()) << 1 | u64::from(is_of_class)));
    keys.sort_unstable();
    let (mut others_below, mut of_class, mut halves) = (0u64, 0u64, 0u128);
    for equal in keys.chunk_by(|a, b| a >> 1 == b >> 1) {
        let positives = equal.iter().filter(|key| **key & 1 == 1).count() as u64;
        let others = equal.len() as u64 - positives;
        halves += u128::from(positives) * u128::from(2 * others_below + others);
        of_class += positives;
        others_below += others;
    }
    let pairs = u128::from(of_class) * u128::from(others_below);
    (pairs > 0).then(|| halves as f64 / (2 * pairs) as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_area_is_that_of_the_textbook() {
        let area = |scores: &[f32], of_class: &[bool]| {
            area_under_curve(scores.iter().copied().zip(of_class.iter().copied()), &mut vec![7])
        };
        assert_eq!(area(&[0.1, 0.4, 0.35, 0.8], &[false, false, true, true]), Some(0.75));
        assert_eq!(area(&[1.0, 2.0, f32::INFINITY], &[false, false, true]), Some(1.0));
        assert_eq!(area(&[2.0, 2.0, 2.0], &[true, false, true]), Some(0.5));
        assert_eq!(area(&[2.0, 1.0], &[true, true]), None);
        assert_eq!(area(&[], &[]), None);
    }

    proptest! {
        #[test]
        fn the_area_is_the_part_of_pairs_that_are_in_order(rows in prop::collection::vec((0u8..9, any::<bool>()), 0..60)) {
            let (mut pairs, mut halves) = (0u32, 0u32);
            for (positive, _) in rows.iter().filter(|(_, is)| *is) {
                for (other, _) in rows.iter().filter(|(_, is)| !*is) {
                    pairs += 1;
                    halves += 2 * u32::from(positive > other) + u32::from(positive == other);
                }
            }
            let wanted = (pairs > 0).then(|| f64::from(halves) / f64::from(2 * pairs));
            let scored = rows.iter().map(|(score, is)| (f32::from(*score) / 8.0, *is));
            prop_assert_eq!(area_under_curve(scored, &mut Vec::new()), wanted);
        }
    }
}
