//! What docs/journal.md prints of a journal is what the code writes and reads.

use std::collections::{HashMap, HashSet};

use super::super::ledger::Blocks;
use super::super::state::{self, Decoded};
use super::*;

const BOOK: &str = include_str!("../../../../docs/journal.md");

/// The bytes of the example behind this fence, and the name and the offset of each of its lines.
fn example(fence: &str) -> (Vec<u8>, Vec<(String, usize)>) {
    let behind = BOOK.split_once(&format!("\n```{fence}\n")).expect("an example in docs/journal.md").1;
    let (mut bytes, mut fields) = (Vec::new(), Vec::new());
    for line in behind.lines().take_while(|line| !line.starts_with("```")) {
        let (written, comment) = line.split_once('#').expect("a comment");
        fields.push((comment.split_once(": ").expect("a name").0.trim().to_owned(), bytes.len()));
        match written.trim().strip_prefix('"') {
            Some(text) => bytes.extend_from_slice(text.trim_end_matches('"').as_bytes()),
            None => {
                let digits: Vec<char> = written.chars().filter(|digit| !digit.is_whitespace()).collect();
                let byte = |pair: &[char]| u8::from_str_radix(&String::from_iter(pair), 16).expect("hexadecimal");
                bytes.extend(digits.chunks(2).map(byte));
            }
        }
    }
    (bytes, fields)
}

#[test]
fn the_state_in_the_book_is_read_and_written_again_byte_by_byte() {
    let (bytes, _) = example("state smallest");
    let Decoded { state, weights, confusion, outer, .. } =
        StoredState::decode(&bytes).expect("the job's state is whole");
    let weights = Arc::new(bytes[weights].to_vec());
    let weights = Weights { digest: Digest::of(&weights), bytes: weights, outer: Arc::new(outer) };
    assert_eq!(state.encode(Some(&weights), None, Some(&bytes[confusion])).parts().concat(), bytes);
    assert_eq!((state.sequence, state.submitted_as), (3, 1));
    assert_eq!((state.status.state, state.ledger), (JobState::Done, Extent::START));
    assert!(state.summary.is_some());
}

#[test]
fn the_block_in_the_book_is_read_and_written_again_byte_by_byte() {
    let (bytes, _) = example("block smallest");
    let mut blocks = Blocks::within(&bytes, Extent::START.seal);
    let block = blocks.next().expect("a block").expect("that is whole");
    assert!(blocks.next().is_none());
    let mut again = Vec::new();
    assert_eq!(ledger::append(&mut again, block, &Extent::START.seal), blocks.seal());
    assert_eq!(again, bytes);
}

/// The numbers in a value, by the names of its fields: `outer.inner` of a field of a field.
fn numbers(shown: &str) -> HashMap<String, f64> {
    let (mut numbers, mut within) = (HashMap::new(), Vec::new());
    for line in shown.lines().map(|line| line.trim().trim_end_matches(',')) {
        match line.split_once(": ") {
            Some((name, value)) if value.ends_with(['{', '[', '(']) => within.push(name),
            Some((name, value)) => {
                let value = value.replace("true", "1").replace("false", "0").parse();
                numbers.extend(value.ok().map(|value| ([&within[..], &[name]].concat().join("."), value)));
            }
            None if line.ends_with(['{', '[', '(']) => within.push(""),
            None if line.starts_with(['}', ']', ')']) => drop(within.pop()),
            None => {}
        }
    }
    // The value's own name is none.
    numbers.into_iter().map(|(name, value)| (name.trim_start_matches('.').to_owned(), value)).collect()
}

/// Two numbers swapped in prose and example alike would leave the bytes right: the names must be the code's.
#[test]
fn every_number_of_the_progress_has_the_name_that_the_code_gives_it() {
    let progress = within_rounds::progress_of_distinct_numbers();
    let shown = numbers(&format!("{progress:#?}"));
    let mut bytes = Vec::new();
    state::write_progress(&mut bytes, &progress);
    let table = BOOK.split_once("\n## 3 The progress of a job\n").expect("section 3").1;
    let rows = table.lines().skip_while(|line| !line.starts_with("| 0 ")).take_while(|line| line.starts_with('|'));
    let (mut at, mut length, mut compared) = (0, 0, HashSet::new());
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let (kind, field) = (cells[2], cells[3]);
        let (number, width) = match kind {
            "u32" => (f64::from(u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())), 4),
            "u64" => (u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as f64, 8),
            "f64" => (f64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()), 8),
            // No best round.
            "bytes" | "digest" if field.starts_with("best") => (0.0, 0),
            "digest" => (0.0, 32),
            "bytes" => (0.0, length),
            // Each a length and six bytes.
            "names" => (0.0, 8 * progress.so_far.nodes.len()),
            "nodes" => (0.0, 16 * progress.nodes.len()),
            _ => panic!("{row}"),
        };
        at += width;
        length = number as usize;
        let of_profile = format!("profile.{field}");
        if let Some(&value) = shown.get(field).or_else(|| shown.get(&of_profile)) {
            assert_eq!(number, value, "{field}");
            assert!(compared.insert(number.to_bits()), "{field} is what another is");
        }
    }
    assert_eq!((at, compared.len()), (bytes.len(), 20));
}

#[test]
fn names_and_sizes_in_the_book_are_the_codes() {
    let says = |text: &str| assert!(BOOK.replace('\n', " ").contains(text), "{text:?} is not in docs/journal.md");
    assert_eq!((TAIL_BYTES_MAX, KEPT_WEIGHTS_BYTES_MAX), (262_144, 64 << 20));
    says("at most 262,144 bytes. More move to the file");
    says("kept up to 64 MiB a job");
    let root = TempDir::new().unwrap();
    drop(Harness::open(root.path()));
    let format = std::fs::read_to_string(root.path().join("FORMAT")).unwrap();
    assert!(format.ends_with('\n'));
    says(&format!("{:?} and LF", format.trim_end()));
}
