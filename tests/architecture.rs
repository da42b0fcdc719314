//! The separations of the crate, held by a scan of the sources: which module may not know what, and how many crates a
//! node is built from. The table here is the right-hand column of the map in src/lib.rs, in paths.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A row of the map.
struct Rule {
    /// Path under src, of a file or a directory.
    module: &'static str,
    /// Paths that may not be used there, each with all below it.
    may_not_know: &'static [&'static [&'static str]],
    /// What may be used all the same.
    but: &'static [&'static str],
}

const SOCKETS: &[&str] = &["std::net", "socket2", "crate::net"];
const THREADS: &[&str] = &["std::thread", "std::sync::mpsc", "crossbeam_channel", "crossbeam_utils"];
const CLOCK: &[&str] = &["std::time::Instant", "std::time::SystemTime"];
const FILES: &[&str] = &["std::fs", "tempfile"];
const LOG: &[&str] = &["log", "env_logger"];
const TENSORS: &[&str] = &["crate::model", "ndarray", "safetensors"];
const BYTES: &[&str] = &["crate::wire", "byteorder", "crc32fast"];
/// What every module but one does without.
const STD_NET: &[&str] = &["std::net", "socket2"];
/// The rows below most others.
const PROGRAMS: &[&str] = &["crate::coordinator", "crate::compute", "crate::client", "crate::cli"];
const SCHEDULING: &[&str] = &["crate::engine", "crate::coordinator"];

/// One row for each entry of src but lib.rs.
const RULES: &[Rule] = &[
    Rule {
        module: "build.rs",
        may_not_know: &[SOCKETS, BYTES, THREADS, CLOCK, LOG, FILES, TENSORS, &["crate"]],
        but: &[],
    },
    Rule { module: "bin", may_not_know: &[BYTES, THREADS, STD_NET, &["crate::store"]], but: &[] },
    Rule {
        module: "wire",
        may_not_know: &[SOCKETS, THREADS, CLOCK, LOG, FILES, PROGRAMS, &["crate::engine", "crate::dataset"]],
        but: &[],
    },
    Rule {
        module: "net",
        may_not_know: &[PROGRAMS, TENSORS, FILES, &["crate::job", "crate::engine", "crate::dataset", "crate::config"]],
        but: &[],
    },
    Rule {
        module: "model",
        may_not_know: &[
            SOCKETS,
            BYTES,
            THREADS,
            CLOCK,
            LOG,
            FILES,
            PROGRAMS,
            &["crate::engine", "crate::dataset", "crate::job"],
        ],
        but: &[],
    },
    // The model's own format, written to a new file that then takes the old one's place.
    Rule { module: "model/file.rs", may_not_know: &[SOCKETS, BYTES, THREADS, LOG, PROGRAMS], but: &[] },
    Rule {
        module: "dataset",
        may_not_know: &[SOCKETS, BYTES, THREADS, CLOCK, LOG, PROGRAMS, &["crate::engine", "crate::store"]],
        but: &[],
    },
    Rule {
        module: "job",
        may_not_know: &[SOCKETS, BYTES, THREADS, CLOCK, LOG, FILES, PROGRAMS, &["crate::engine"]],
        but: &[],
    },
    Rule {
        module: "engine",
        may_not_know: &[
            SOCKETS,
            BYTES,
            THREADS,
            CLOCK,
            FILES,
            LOG,
            TENSORS,
            PROGRAMS,
            &["std::io", "std::env", "std::process", "rand::rng", "rand::random", "crate::store"],
        ],
        but: &[],
    },
    Rule {
        module: "coordinator",
        may_not_know: &[STD_NET, &["crate::compute", "crate::client", "crate::dataset", "crate::cli"]],
        but: &[],
    },
    Rule {
        module: "compute",
        may_not_know: &[SCHEDULING, STD_NET, &["crate::client", "crate::dataset", "crate::cli"]],
        but: &[],
    },
    Rule {
        module: "compute/core",
        may_not_know: &[
            SOCKETS,
            BYTES,
            THREADS,
            CLOCK,
            FILES,
            LOG,
            TENSORS,
            SCHEDULING,
            PROGRAMS,
            &["std::io", "std::env", "std::process", "std::sync", "rand::rng", "rand::random", "crate::store"],
        ],
        but: &["crate::compute::core"],
    },
    Rule { module: "client", may_not_know: &[SCHEDULING, STD_NET, &["crate::compute"]], but: &[] },
    // It starts a whole cluster.
    Rule { module: "client/local.rs", may_not_know: &[STD_NET, BYTES], but: &[] },
    // How a name is shown, and nothing else.
    Rule {
        module: "page",
        may_not_know: &[&["crate", "std::fs", "std::net"], CLOCK, THREADS],
        but: &["crate::page", "crate::wire::text"],
    },
    Rule { module: "cli", may_not_know: &[&["crate"]], but: &["crate::cli", "crate::close"] },
    Rule { module: "close.rs", may_not_know: &[&["crate", "std::fs", "std::net"]], but: &[] },
    // What a name is, the wire says; an address is a value, no socket.
    Rule {
        module: "config.rs",
        may_not_know: &[&["crate", "std::net"]],
        but: &["crate::wire", "std::net::IpAddr", "std::net::Ipv6Addr"],
    },
    Rule { module: "config", may_not_know: &[&["crate", "std::net"]], but: &[] },
    Rule { module: "digest.rs", may_not_know: &[&["crate", "std::fs", "std::net"]], but: &[] },
    Rule { module: "disk.rs", may_not_know: &[&["crate", "std::net"]], but: &[] },
    Rule {
        module: "store",
        may_not_know: &[&["crate", "std::fs", "std::net"]],
        but: &["crate::digest", "crate::store"],
    },
];

/// A path that a source file uses.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Use {
    line: usize,
    path: String,
    /// Whether it is passed on to others.
    is_public: bool,
}

#[test]
fn no_module_knows_what_the_map_says_it_may_not() {
    let source = source();
    let mut broken = String::new();
    let mut scanned = 0;
    for file in rust_files(&source) {
        let inside = file.strip_prefix(&source).unwrap();
        if is_test(inside) || inside == Path::new("lib.rs") {
            continue;
        }
        let rule = rule_for(inside).unwrap_or_else(|| panic!("{} has no row in the table", inside.display()));
        scanned += 1;
        for Use { line, path, .. } in uses(&fs::read_to_string(&file).unwrap(), &module_of(inside)) {
            if let Some(forbidden) = rule.forbids(&path) {
                let _ = writeln!(broken, "src/{}:{line}: {path}: may not know {forbidden}", inside.display());
            }
        }
    }
    assert!(broken.is_empty(), "\n{broken}");
    assert!(scanned > 60, "only {scanned} files were scanned");
}

/// Rooms whose files share one responsibility, so that they may import each other.
const ROOMS: &[&str] = &["engine::run", "model::vector"];

#[test]
fn no_two_files_of_different_responsibilities_import_each_other() {
    let source = source();
    let mut files = BTreeMap::new();
    for file in rust_files(&source) {
        let inside = file.strip_prefix(&source).unwrap();
        let module = module_of(inside);
        if !is_test(inside) {
            files.insert(module.join("::"), uses(&fs::read_to_string(&file).unwrap(), &module));
        }
    }
    let circles: Vec<_> = circles(&imports(&files)).into_iter().filter(|circle| !is_one_room(circle)).collect();
    assert!(circles.is_empty(), "these import each other in circles: {circles:#?}");
    assert!(files.len() > 60, "only {} files were looked at", files.len());
}

#[test]
fn a_circle_is_found_through_what_a_module_passes_on_and_not_where_it_only_seems_to_be_one() {
    let sources = [
        ("a", "pub use one::One; pub(super) use two::Two;"),
        // The file that it is from, and not the module that passes it on.
        ("a::one", "use super::Two;"),
        ("a::two", "struct Two;"),
        ("b", "use crate::c::Deep;"),
        ("c", "pub use deep::Deep;"),
        ("c::deep", "use crate::b;"),
    ];
    let module = |name: &str| name.split("::").map(str::to_owned).collect::<Vec<_>>();
    let files = sources.map(|(name, text)| (name.to_owned(), uses(text, &module(name)))).into();
    assert_eq!(circles(&imports(&files)), [["b", "c::deep"]]);
}

/// Of each module, those that it imports from; what a module only passes on is imported from where it is.
fn imports(files: &BTreeMap<String, Vec<Use>>) -> BTreeMap<String, BTreeSet<String>> {
    // The module that a path leads to, and what is wanted there.
    let find = |path: &str, of: &str| {
        let path = path.strip_prefix("crate::").map_or_else(|| format!("{of}::{path}"), str::to_owned);
        let parts: Vec<&str> = path.split("::").collect();
        (1..=parts.len()).rev().find_map(|count| {
            let module = parts[..count].join("::");
            files
                .contains_key(&module)
                .then(|| (module, parts[count..].iter().map(|part| (*part).to_owned()).collect()))
        })
    };
    let follow = |path: &str, of: &str| {
        let (mut module, mut rest): (String, Vec<String>) = find(path, of)?;
        // Nothing is passed on more often than there are modules.
        for _ in 0..files.len() {
            let Some(name) = rest.first() else { break };
            let passes_on = |used: &&Use| used.is_public && used.path.rsplit("::").next() == Some(name);
            let Some(passed) = files[&module].iter().find(passes_on) else { break };
            let Some((next, behind)) = find(&passed.path, &module) else { break };
            (module, rest) = (next, behind);
        }
        Some(module)
    };
    let of = |(module, uses): (&String, &Vec<Use>)| {
        let own = uses.iter().filter(|used| !used.is_public);
        let imported = own.filter_map(|used| follow(&used.path, module)).filter(|other| other != module);
        (module.clone(), imported.collect())
    };
    files.iter().map(of).collect()
}

/// The sets of modules from each of which one gets to each other.
fn circles(imports: &BTreeMap<String, BTreeSet<String>>) -> Vec<Vec<String>> {
    let reached = |start: &String| {
        let (mut reached, mut next) = (BTreeSet::new(), vec![start]);
        while let Some(module) = next.pop() {
            for import in &imports[module] {
                if reached.insert(import.clone()) {
                    next.push(import);
                }
            }
        }
        reached
    };
    let reached: BTreeMap<&String, BTreeSet<String>> = imports.keys().map(|module| (module, reached(module))).collect();
    let circle = |start: &&String| {
        let back = |other: &&String| reached[start].contains(*other) && reached[*other].contains(*start);
        imports.keys().filter(back).cloned().collect::<Vec<_>>()
    };
    let circles: BTreeSet<Vec<String>> = imports.keys().collect::<Vec<_>>().iter().map(circle).collect();
    circles.into_iter().filter(|circle| !circle.is_empty()).collect()
}

fn is_one_room(circle: &[String]) -> bool {
    ROOMS.iter().any(|room| circle.iter().all(|module| lies_in(module, room)))
}

#[test]
fn every_row_of_the_table_is_a_module_and_every_module_stands_in_the_map() {
    let source = source();
    let map = fs::read_to_string(source.join("lib.rs")).unwrap();
    for rule in RULES {
        assert!(source.join(rule.module).exists(), "src/{} is gone, but has a row", rule.module);
    }
    for entry in fs::read_dir(&source).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let module = name.trim_end_matches(".rs");
        let row = if module == "bin" { "| `bin/*` |".to_owned() } else { format!("`{module}`") };
        assert!(module == "lib" || map.contains(&row), "the map in src/lib.rs has no row for {module}");
    }
}

#[test]
fn the_scan_sees_paths_in_groups_and_in_code_and_nothing_in_comments_strings_or_tests() {
    let text = r##"
//! Not std::fs.
use std::{io::{self, Read as _}, net::TcpStream};
pub(super) use super::super::compute::Node;
use self::inner::*;
/* not /* std::env */ either */
fn f<'a>(x: &'a str) -> char {
    let s = "std::thread \" std::thread"; let r = r#"std::fs"#; let c = '"';
    std::time::Instant::now(); log::info!("x"); value.log::<u8>(); a::log::x();
    'x'
}
#[cfg(test)]
mod tests { use std::fs; fn g() { std::process::exit(1) } }
use crate::wire;
"##;
    let module = ["engine".to_owned(), "run".to_owned()];
    let found: Vec<(usize, String)> = uses(text, &module).into_iter().map(|used| (used.line, used.path)).collect();
    let expected = [
        (3, "std::io"),
        (3, "std::io::Read"),
        (3, "std::net::TcpStream"),
        (4, "crate::compute::Node"),
        (5, "crate::engine::run::inner::*"),
        (9, "std::time::Instant::now"),
        (9, "log::info"),
        (9, "a::log::x"),
        (14, "crate::wire"),
    ];
    assert_eq!(found, expected.map(|(line, path)| (line, path.to_owned())));
}

#[test]
fn a_rule_forbids_what_lies_below_and_a_way_around_it_but_not_a_namesake() {
    let rule = Rule { module: "", may_not_know: &[CLOCK, LOG], but: &["log::Level"] };
    assert_eq!(rule.forbids("std::time::Instant::now"), Some("std::time::Instant"));
    assert_eq!(rule.forbids("log::info"), Some("log"));
    // With the module in hand, everything in it can be had.
    assert_eq!(rule.forbids("std::time"), Some("std::time::Instant"));
    assert_eq!(rule.forbids("std::time::*"), Some("std::time::Instant"));
    for allowed in ["std::time::Duration", "std::time::InstantLike", "logic::x", "log::Level::Info"] {
        assert_eq!(rule.forbids(allowed), None, "{allowed}");
    }
}

#[test]
fn a_node_is_built_from_few_crates() {
    const CRATES_MAX: usize = 28;
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["tree", "--offline", "--locked", "--edges", "normal", "--no-default-features", "--prefix", "none"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let name = |line: &str| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    let crates: BTreeSet<String> = text.lines().map(name).filter(|name| !name.is_empty()).collect();
    assert!(crates.len() > 5, "{text}");
    assert!(crates.len() <= CRATES_MAX, "{} crates, and {CRATES_MAX} are allowed:\n{crates:#?}", crates.len());
}

impl Rule {
    /// What of the forbidden this path reaches: it lies below it, or is a module that it lies in.
    fn forbids(&self, path: &str) -> Option<&'static str> {
        let path = path.strip_suffix("::*").unwrap_or(path);
        if self.but.iter().any(|allowed| lies_in(path, allowed)) {
            return None;
        }
        let reaches = |forbidden: &&&str| lies_in(path, forbidden) || lies_in(forbidden, path);
        self.may_not_know.iter().copied().flatten().find(reaches).copied()
    }
}

fn lies_in(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn is_test(file: &Path) -> bool {
    file.iter().any(|part| part == "tests" || part == "tests.rs")
}

/// The row of a file: the longest that it lies in.
fn rule_for(file: &Path) -> Option<&'static Rule> {
    let covers = |rule: &&Rule| file.starts_with(rule.module) || file == Path::new(&format!("{}.rs", rule.module));
    RULES.iter().filter(covers).max_by_key(|rule| rule.module.len())
}

/// `engine/run.rs` is the module `engine::run`, `engine/mod.rs` is `engine`.
fn module_of(file: &Path) -> Vec<String> {
    let mut parts: Vec<String> = file.with_extension("").iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if parts.last().is_some_and(|part| part == "mod") {
        parts.pop();
    }
    parts
}

/// The paths that a module's text uses, absolute: `crate::...`, or beginning with a crate's name or a name in scope.
fn uses(text: &str, module: &[String]) -> Vec<Use> {
    let tokens = without_tests(tokens(text));
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let Token { line, text } = &tokens[at];
        let before = at.checked_sub(1).map_or("", |before| tokens[before].text.as_str());
        let next = tokens.get(at + 1).map_or("", |token| token.text.as_str());
        // Whoever may see something is not used: `pub(in crate::engine)`.
        let is_visibility = before == "in" && at >= 2 && tokens[at - 2].text == "(";
        if text == "use" && next != "<" {
            let is_public = before == "pub" || before == ")";
            at = use_tree(&tokens, at + 1, &[], &mut |path| {
                found.push(Use { line: *line, path: absolute(path, module), is_public });
            });
        } else if is_name(text) && next == "::" && before != "::" && before != "." {
            let mut path = vec![text.clone()];
            while tokens.get(at + 1).is_some_and(|token| token.text == "::")
                && let Some(name) = tokens.get(at + 2).filter(|token| is_name(&token.text))
            {
                path.push(name.text.clone());
                at += 2;
            }
            if !is_visibility {
                found.push(Use { line: *line, path: absolute(&path, module), is_public: false });
            }
        }
        at += 1;
    }
    found
}

/// Gives every leaf of the use tree that begins at `at`; where it ends.
fn use_tree(tokens: &[Token], mut at: usize, prefix: &[String], leaf: &mut dyn FnMut(&[String])) -> usize {
    let mut path = prefix.to_vec();
    loop {
        let text = tokens.get(at).map_or(";", |token| token.text.as_str());
        match text {
            "::" => at += 1,
            "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token.text != "}") {
                    at = use_tree(tokens, at, &path, leaf);
                    if tokens.get(at).is_some_and(|token| token.text == ",") {
                        at += 1;
                    }
                }
                return at + 1;
            }
            "as" => at += 2,
            "self" if !path.is_empty() => at += 1,
            "," | "}" | ";" => {
                leaf(&path);
                return at;
            }
            name => {
                path.push(name.to_owned());
                at += 1;
            }
        }
    }
}

/// Resolves `self`, `super` and, in the programs, the library's name.
fn absolute(path: &[String], module: &[String]) -> String {
    let mut base: Option<Vec<String>> = None;
    let mut rest = path;
    while let [first, behind @ ..] = rest {
        match first.as_str() {
            "crate" | "gradwire" => base = Some(Vec::new()),
            "self" => base = Some(module.to_vec()),
            "super" => {
                base.get_or_insert_with(|| module.to_vec()).pop();
            }
            _ => break,
        }
        rest = behind;
    }
    let parts = base.map(|base| [vec!["crate".to_owned()], base].concat()).unwrap_or_default();
    [parts, rest.to_vec()].concat().join("::")
}

/// A name, `::`, or a sign.
#[derive(Clone, Debug)]
struct Token {
    line: usize,
    text: String,
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Leaves out every item behind `#[cfg(test)]`.
fn without_tests(tokens: Vec<Token>) -> Vec<Token> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if !MARK.iter().enumerate().all(|(i, mark)| tokens.get(at + i).is_some_and(|token| token.text == *mark)) {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        let mut depth = 0;
        for (index, token) in tokens.iter().enumerate().skip(at + MARK.len()) {
            at = index + 1;
            match token.text.as_str() {
                "{" => depth += 1,
                "}" => depth -= 1,
                ";" => {}
                _ => continue,
            }
            if depth == 0 {
                break;
            }
        }
    }
    kept
}

/// Names and signs of Rust text, without comments, strings, characters and lifetimes.
fn tokens(text: &str) -> Vec<Token> {
    let characters: Vec<char> = text.chars().collect();
    let is = |at: usize, wanted: &str| wanted.chars().enumerate().all(|(i, c)| characters.get(at + i) == Some(&c));
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < characters.len() {
        let start = at;
        let c = characters[at];
        let name_end = |from: usize| {
            let part = |c: &&char| c.is_alphanumeric() || **c == '_';
            from + characters[from..].iter().take_while(part).count()
        };
        if is(at, "//") {
            at += characters[at..].iter().take_while(|c| **c != '\n').count();
        } else if is(at, "/*") {
            let mut depth = 0;
            while at < characters.len() {
                let (opens, closes) = (is(at, "/*"), is(at, "*/"));
                depth += i32::from(opens) - i32::from(closes);
                at += if opens || closes { 2 } else { 1 };
                if depth == 0 {
                    break;
                }
            }
        } else if c == '"' {
            at += 1;
            while at < characters.len() && characters[at] != '"' {
                at += if characters[at] == '\\' { 2 } else { 1 };
            }
            at += 1;
        } else if c == '\'' {
            // A character is closed two or three signs on; a lifetime is not.
            at = if is(at + 1, "\\") {
                at + 2 + characters[at + 2..].iter().skip(1).take_while(|c| **c != '\'').count() + 2
            } else if is(at + 2, "'") {
                at + 3
            } else {
                name_end(at + 1)
            };
        } else if c.is_alphanumeric() || c == '_' {
            at = name_end(at);
            let name: String = characters[start..at].iter().collect();
            let hashes = characters[at..].iter().take_while(|c| **c == '#').count();
            if ["r", "br"].contains(&name.as_str()) && is(at + hashes, "\"") {
                let end = format!("\"{}", "#".repeat(hashes));
                at += hashes + 1;
                while at < characters.len() && !is(at, &end) {
                    at += 1;
                }
                at += end.len();
            } else {
                tokens.push(Token { line, text: name });
            }
        } else if is(at, "::") {
            at += 2;
            tokens.push(Token { line, text: "::".to_owned() });
        } else {
            at += 1;
            if !c.is_whitespace() {
                tokens.push(Token { line, text: c.to_string() });
            }
        }
        let end = at.min(characters.len());
        line += characters[start..end].iter().filter(|c| **c == '\n').count();
    }
    tokens
}
