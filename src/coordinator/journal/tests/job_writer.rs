//! What docs/journal.md prints of a journal is what the code writes and reads.

use super::super::ledger::Blocks;
use super::super::state::Decoded;
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
    let Decoded { state, weights, outer } = StoredState::decode(&bytes).expect("the job's state is whole");
    let weights = Arc::new(bytes[weights].to_vec());
    let weights = Weights { digest: Digest::of(&weights), bytes: weights, outer: Arc::new(outer) };
    assert_eq!(state.encode(Some(&weights)).parts().concat(), bytes);
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

/// Two numbers swapped in prose and example alike would leave the bytes right: the names must be the code's.
#[test]
fn every_number_of_the_progress_has_the_name_that_the_code_gives_it() {
    let (bytes, fields) = example("state smallest");
    let weights_bytes = StoredState::decode(&bytes).unwrap().weights.len();
    let numbers = fields.iter().filter_map(|(name, offset)| Some((name.strip_prefix("progress.")?, *offset)));
    let mut compared = 0;
    for (name, offset) in numbers.filter(|(name, _)| !name.starts_with("round")).take_while(|(name, _)| *name != "base")
    {
        // A value that none of them has.
        let mut changed = bytes.clone();
        let value = if name == "reproducible" { 0 } else { 987_654_321 };
        changed[offset..offset + 8].copy_from_slice(&u64::to_le_bytes(value));
        let end = changed.len() - 32 - weights_bytes;
        let trailer = Digest::of(&changed[..end]);
        let at = changed.len() - 32;
        changed[at..].copy_from_slice(&trailer.0);
        let progress = |bytes: &[u8]| format!("{:#?}", StoredState::decode(bytes).unwrap().state.progress);
        let [before, after] = [&bytes, &changed].map(|bytes| progress(bytes));
        let differ: Vec<&str> = before
            .lines()
            .zip(after.lines())
            .filter(|(before, after)| before != after)
            .map(|(_, after)| after)
            .collect();
        let [line] = differ[..] else { panic!("{name}: {differ:?}") };
        let (said, indent) = (line.trim().split(':').next().unwrap(), line.len() - line.trim_start().len());
        // What is of the last round, or of the profile, stands further in.
        let wanted = match name {
            "merged" | "skipped" | "duplicates" | "reproducible" | "revivals" | "validating_us" | "training_us" => {
                (name, false)
            }
            _ => (name, true),
        };
        assert_eq!((said, indent > 8), wanted, "{line}");
        compared += 1;
    }
    assert_eq!(compared, 14);
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
