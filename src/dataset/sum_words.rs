//! What lines of sums are called. Owns the words; does not know where they stand.

/// What a line of sums is called, in small letters.
const SUMS: [&str; 16] = [
    "total",
    "totals",
    "grand total",
    "subtotal",
    "sub-total",
    "sub total",
    "sum",
    "summe",
    "gesamt",
    "gesamtsumme",
    "zwischensumme",
    "insgesamt",
    "somme",
    "totale",
    "totaal",
    "suma",
];

/// What stands behind a word for a sum.
const OF: [&str; 4] = ["of", "for", "-", ":"];

/// Of what the sum is in a line of sums that is called so: of `Prof` in `Prof Total`, `Total Prof` and `Sum of Prof`, of nothing that
/// is named in `Grand Total`.
pub(super) fn sum_of(text: &str) -> Option<&str> {
    let text = text.trim_end_matches(':').trim_end();
    // The longest word has thirteen letters; most texts are none of these.
    let alone = (3..=13).contains(&text.len()) && SUMS.iter().any(|sum| sum.eq_ignore_ascii_case(text));
    if alone {
        return Some("");
    }
    let behind = |sum: &&str| {
        let rest = text.get(sum.len()..).filter(|_| text[..sum.len()].eq_ignore_ascii_case(sum))?;
        let of = OF.iter().find_map(|of| rest.trim_start().strip_prefix(of)).unwrap_or(rest);
        (of.starts_with(' ') && !of.trim().is_empty()).then(|| of.trim())
    };
    let ahead = |sum: &&str| {
        let start = text.len().checked_sub(sum.len())?;
        let rest = text.get(..start).filter(|_| text[start..].eq_ignore_ascii_case(sum))?;
        (rest.ends_with(' ') && !rest.trim().is_empty()).then(|| rest.trim_end_matches([' ', '-', ':']))
    };
    SUMS.iter().find_map(|sum| behind(sum).or_else(|| ahead(sum)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_sums_are_known_by_what_they_are_called() {
        assert!(["Total", "GRAND TOTAL", "Summe:", "sum"].iter().all(|text| sum_of(text) == Some("")));
        assert!(["Totalia", "sums", "", ":", "summer", "Totaal7"].iter().all(|text| sum_of(text).is_none()));
        assert_eq!(sum_of("Total 2024"), Some("2024"));
        for text in ["Prof Total", "total Prof", "Sum of Prof", "Subtotal: Prof", "Prof - Total", "TOTAL for Prof:"] {
            assert_eq!(sum_of(text), Some("Prof"), "{text}");
        }
        for text in ["Totalia Prof", "Prof", "Proftotal", "sum é", "é total", "Summe€", ""] {
            assert_ne!(sum_of(text), Some("Prof"), "{text}");
        }
        assert_eq!(sum_of("Sum é"), Some("é"));
    }
}
