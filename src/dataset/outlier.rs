//! A number to be fitted that lies far off all others, as a slip of the decimal mark does, or a code for none. Owns the rule; does not
//! know what is said of it.

/// Rows among which one is far off, at least.
const ROWS_MIN: usize = 20;
/// How often the span of all others fits between it and them, at least.
const SPANS_MIN: f64 = 100.0;

/// The row whose number lies far off.
pub(super) fn far_off(values: &[f64]) -> Option<usize> {
    if values.len() < ROWS_MIN {
        return None;
    }
    let high = far_above(values.iter().copied());
    high.or_else(|| far_above(values.iter().map(|value| -value)))
}

/// The place of the greatest of these, if all others are close together beside it.
fn far_above(values: impl Iterator<Item = f64>) -> Option<usize> {
    let (mut greatest, mut place) = (f64::NEG_INFINITY, 0);
    let (mut next, mut least) = (f64::NEG_INFINITY, f64::INFINITY);
    for (at, value) in values.enumerate() {
        if value > greatest {
            (next, greatest, place) = (greatest, value, at);
        } else {
            next = next.max(value);
        }
        least = least.min(value);
    }
    let span = next - least;
    (span > 0.0 && greatest - next >= SPANS_MIN * span).then_some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_a_hundred_spans_off_all_others_is_far_off() {
        let values = |other: f64| (0..30).map(|row| if row == 7 { other } else { f64::from(row) }).collect::<Vec<_>>();
        assert_eq!([far_off(&values(99_999.0)), far_off(&values(-9_999.0))], [Some(7); 2]);
        assert_eq!(far_off(&values(2_000.0)), None);
        assert_eq!(far_off(&values(99_999.0)[..15]), None);
        let mut twice = values(99_999.0);
        twice[9] = 99_999.0;
        assert_eq!(far_off(&twice), None);
        // Nothing is known of how far the others lie apart.
        let mut alone = vec![5.0; 30];
        alone[3] = 6.0;
        assert_eq!(far_off(&alone), None);
    }
}
