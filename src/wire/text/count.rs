//! Counts that agree with their nouns.

/// `1 node`, `2 nodes`, `0 classes`: the noun is given for one.
pub fn counted(count: u64, noun: &str) -> String {
    let stem = noun.strip_suffix('y');
    match (count, stem) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) => format!("{count} {stem}ies"),
        // The h of an epoch is a k.
        _ if noun.ends_with(['s', 'h']) && noun != "epoch" => format!("{count} {noun}es"),
        _ => format!("{count} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_noun_is_singular_for_one_alone() {
        let counts = [(0, "node"), (1, "node"), (2, "node"), (2, "class"), (3, "batch"), (4, "epoch"), (5, "entry")];
        let texts = counts.map(|(count, noun)| counted(count, noun));
        assert_eq!(texts, ["0 nodes", "1 node", "2 nodes", "2 classes", "3 batches", "4 epochs", "5 entries"]);
    }
}
