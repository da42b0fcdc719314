//! docs/export.md: its programs are written down where its commands are run, and those print what it says.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::cases::CLIENT;
use crate::{has, has_onnxruntime};

const DOCUMENT: &str = include_str!("../../docs/export.md");

/// The blocks of the document, without what is said of their language.
fn blocks() -> impl Iterator<Item = &'static str> {
    DOCUMENT.split("\n```").skip(1).step_by(2).map(|block| block.split_once('\n').unwrap().1)
}

/// The programs, by the names that stand in their first lines.
fn programs() -> Vec<(&'static str, &'static str)> {
    let named = blocks().filter_map(|block| {
        let first = block.lines().next()?;
        let name = first.strip_prefix("# ").or_else(|| first.strip_prefix("/* ")?.strip_suffix(" */"));
        Some((name?, block))
    });
    named.collect()
}

/// The commands, each with what it prints.
fn commands() -> Vec<(&'static str, &'static str)> {
    let parts = blocks().filter_map(|block| block.strip_prefix("$ ")).flat_map(|block| block.split("\n$ "));
    parts.map(|part| part.split_once('\n').unwrap_or((part, ""))).collect()
}

#[test]
fn the_documents_programs_and_commands_print_what_it_says() {
    let directory = TempDir::new().unwrap();
    for file in ["trees.csv", "felled.csv"] {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(file);
        fs::copy(from, directory.path().join(file)).unwrap();
    }
    let programs = programs();
    assert_eq!(
        programs.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        ["onnx_predict.py", "predict.c", "json_predict.py"]
    );
    for (name, text) in programs {
        fs::write(directory.path().join(name), format!("{text}\n")).unwrap();
    }
    let (has_compiler, has_python, has_onnxruntime) = (has("cc"), has("python3"), has_onnxruntime());
    let found = commands();
    assert!(found.len() >= 8, "{found:?}");
    for (command, wanted) in found {
        let is_possible = match command.split(' ').next() {
            Some("cc" | "./predict") => has_compiler,
            Some("python3") => has_python && (has_onnxruntime || !command.contains("onnx")),
            _ => true,
        };
        if !is_possible {
            continue;
        }
        let words = command.replace("client ", &format!("{CLIENT} "));
        let output = Command::new("sh").args(["-c", &words]).current_dir(directory.path()).output().unwrap();
        let printed = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert_eq!(printed.trim_end(), wanted.trim_end(), "{command}");
    }
}
