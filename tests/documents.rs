//! The documents as such: their links lead somewhere, the options that they name exist, and those that are read in one
//! sitting stay so long. What they say of bytes and bits other tests execute.
#![cfg(feature = "client")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

/// Lines that a document has at most, where it is to be read in one sitting.
const LINES_MAX: [(&str, usize); 2] = [("README.md", 220), ("protocol.md", 1_300)];
/// Options in the documents that are of no program of ours: cargo's.
const FOREIGN_OPTIONS: [&str; 11] = [
    "--release",
    "--bin",
    "--test",
    "--bench",
    "--target",
    "--no-default-features",
    "--ignored",
    "--check",
    "--all-targets",
    "--help",
    "--megabytes",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The documents that a reader of README.md comes to, by their paths in the repository.
fn documents() -> BTreeMap<String, String> {
    let folder = fs::read_dir(root().join("docs")).unwrap();
    let names = folder.map(|entry| format!("docs/{}", entry.unwrap().file_name().into_string().unwrap()));
    let all = names.filter(|name| name.ends_with(".md")).chain(["README.md", "protocol.md"].map(str::to_owned));
    all.map(|name| (name.clone(), fs::read_to_string(root().join(&name)).unwrap())).collect()
}

/// The lines outside of fences.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut is_fenced = false;
    text.lines().filter(move |line| {
        let is_fence = line.starts_with("```");
        is_fenced ^= is_fence;
        !is_fenced && !is_fence
    })
}

/// What a heading is linked by: lower case, without punctuation, blanks as hyphens.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings =
        prose(text).filter_map(|line| line.strip_prefix('#')).map(|rest| rest.trim_start_matches('#').trim());
    let anchor = |heading: &str| {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
    };
    headings.map(anchor).collect()
}

/// A path without `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => assert!(plain.pop(), "{} leads out of the repository", path.display()),
            part => plain.push(part),
        }
    }
    plain
}

#[test]
fn every_link_leads_to_a_file_and_to_a_heading_in_it() {
    let documents = documents();
    let mut followed = 0;
    for (name, text) in &documents {
        let prose: String = prose(text).collect::<Vec<_>>().join("\n");
        for rest in prose.split("](").skip(1) {
            let target = rest.split(')').next().unwrap();
            if target.starts_with("https://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = match file {
                "" => PathBuf::from(name),
                file => plain(&Path::new(name).parent().unwrap().join(file)),
            };
            assert!(root().join(&path).exists(), "{name}: there is no {target}");
            if !anchor.is_empty() {
                let of = documents.get(path.to_str().unwrap());
                let of = of.unwrap_or_else(|| panic!("{name}: {target} leads into no document"));
                assert!(anchors(of).contains(anchor), "{name}: {target} leads to no heading");
            }
            followed += 1;
        }
    }
    assert!(followed > 100, "only {followed} links");
}

/// `--name` in a text.
fn options(text: &str) -> BTreeSet<String> {
    let is_of_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let before = |at: usize| text[..at].chars().next_back().is_none_or(|c| !is_of_name(c) && !c.is_alphanumeric());
    let starts = text.match_indices("--").map(|(at, _)| at).filter(|&at| before(at));
    let name = |at: usize| text[at..].split(|c| !is_of_name(c)).next().unwrap().trim_end_matches('-').to_owned();
    starts.map(name).filter(|name| name.len() > 3).collect()
}

#[test]
fn every_option_that_a_document_names_is_one_of_a_program() {
    let client = env!("CARGO_BIN_EXE_client");
    let lines: [(&str, &[&str]); 7] = [
        (client, &[]),
        // The commands with options that train does not have.
        (client, &["127.0.0.1", "1", "verify"]),
        (client, &["predict"]),
        (client, &["evaluate"]),
        (client, &["export"]),
        (env!("CARGO_BIN_EXE_coordinator_node"), &[]),
        (env!("CARGO_BIN_EXE_compute_node"), &[]),
    ];
    let help = |(program, words): &(&str, &[&str])| {
        let output = Command::new(program).args(*words).arg("--help").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let known: BTreeSet<String> = lines.iter().flat_map(|line| options(&help(line))).collect();
    assert!(known.len() > 30, "{known:?}");
    for (name, text) in documents() {
        for option in options(&text) {
            let is_known = known.contains(&option) || FOREIGN_OPTIONS.contains(&&*option);
            assert!(is_known, "{name}: no program has {option}");
        }
    }
}

#[test]
fn what_help_answers_on_the_console_is_in_the_document_for_operators() {
    assert!(documents()["docs/operations.md"].contains(gradwire::wire::text::HELP));
}

#[test]
fn what_is_read_in_one_sitting_is_not_too_long() {
    let documents = documents();
    for (name, lines_max) in LINES_MAX {
        let lines = documents[name].lines().count();
        assert!(lines <= lines_max, "{name} has {lines} lines, and at most {lines_max} are read in one sitting");
    }
}
