//! Which known word a mistyped one is close to: an option, a command, a column. Owns how close is close enough; does not know what
//! the words are.

/// The known word that is closest to the one got, or that begins so; none where all are far.
#[must_use]
pub fn close<'a>(got: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let rated = known.into_iter().map(|known| (if known.starts_with(got) { 0 } else { distance(known, got) }, known));
    rated.min().filter(|&(distance, _)| distance <= ((got.len() + 2) / 4).max(1)).map(|(_, known)| known)
}

/// Number of letters to insert, remove, change or swap with the next to make one word of the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    // Of what has been read of `a`, and of one letter less, to each beginning of `b`.
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut before = Vec::new();
    for i in 0..a.len() {
        let mut row = vec![i + 1; b.len() + 1];
        for j in 0..b.len() {
            let changed = last[j] + usize::from(a[i] != b[j]);
            row[j + 1] = changed.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                row[j + 1] = row[j + 1].min(before[j - 1] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_or_a_beginning_is_close_and_another_word_is_not() {
        let known = ["train", "jobs", "job", "hidden", "epochs", "local-steps"];
        for (got, meant) in [
            ("trian", Some("train")),
            ("jbos", Some("jobs")),
            ("hiden", Some("hidden")),
            ("epoch", Some("epochs")),
            ("local_steps", Some("local-steps")),
            ("local", Some("local-steps")),
            ("job", Some("job")),
            ("frob", None),
            ("lab-7", None),
            ("10.0.0.1", None),
            ("x.csv", None),
        ] {
            assert_eq!(close(got, known), meant, "{got}");
        }
        assert_eq!(close("any", []), None);
    }
}
