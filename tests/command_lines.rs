//! Command lines from outside: what they print about themselves and how wide, which words are hosts, and in which order a
//! file takes the place of another.
#![cfg(feature = "client")]

mod common;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::skip;

use tempfile::TempDir;

const NODE: &str = env!("CARGO_BIN_EXE_compute_node");
const COORDINATOR: &str = env!("CARGO_BIN_EXE_coordinator_node");
const CLIENT: &str = env!("CARGO_BIN_EXE_client");
/// Every command of the client that asks a coordinator.
const COMMANDS: [&str; 11] =
    ["train", "jobs", "job", "attach", "cancel", "resume", "model", "report", "ledger", "verify", "doctor"];
const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

fn run<S: AsRef<std::ffi::OsStr>>(program: &str, arguments: &[S]) -> Output {
    Command::new(program).args(arguments).output().unwrap()
}

fn printed<S: AsRef<std::ffi::OsStr>>(program: &str, arguments: &[S]) -> String {
    let output = run(program, arguments);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Whether a program is there; says so if not.
fn has(program: &str) -> bool {
    let is_there = Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap().status.success();
    if !is_there {
        skip(format!("there is no {program}"));
    }
    is_there
}

/// Every help that there is.
fn helps() -> Vec<String> {
    let mut helps = vec![printed(NODE, &["--help"]), printed(COORDINATOR, &["--help"]), printed(CLIENT, &["--help"])];
    helps.extend(COMMANDS.map(|command| printed(CLIENT, &["127.0.0.1", "1", command, "--help"])));
    helps.extend(
        ["schema", "inspect", "predict", "evaluate", "export", "report", "completions"]
            .map(|command| printed(CLIENT, &[command, "--help"])),
    );
    helps
}

#[test]
fn help_is_80_columns_wide_where_it_is_piped() {
    for help in helps() {
        assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
        assert!(help.lines().any(|line| line.chars().count() > 60), "{help}");
    }
}

#[test]
fn help_is_as_wide_as_the_terminal() {
    if !has("script") {
        return;
    }
    for program in [NODE, COORDINATOR] {
        let widest = |columns: usize| {
            let command = format!("stty cols {columns}; {program} --help");
            let text = printed("script", &["-qec", &command, "/dev/null"]);
            assert!(text.contains("Usage"), "{text}");
            text.lines().map(|line| line.trim_end().chars().count()).max().unwrap()
        };
        let (narrow, wide) = (widest(60), widest(130));
        assert!(narrow <= 60 && (100..=130).contains(&wide), "{program}: {narrow} and {wide}");
    }
}

#[test]
fn a_command_has_a_help_of_its_own_with_its_options_alone() {
    let verify = printed(CLIENT, &["127.0.0.1", "1", "verify", "--help"]);
    assert!(verify.contains("client <IP> <PORT> verify <ID>") && verify.contains("--sample <N>"), "{verify}");
    assert!(!verify.contains("--rounds"), "{verify}");
    // The same where the option stands before the command.
    assert_eq!(printed(CLIENT, &["--help", "127.0.0.1", "1", "verify"]), verify);
    let all = printed(CLIENT, &["--help"]);
    assert!(COMMANDS.iter().all(|command| all.contains(&format!("\n  {command} "))), "{all}");
    assert!(["completions", "inspect"].iter().all(|word| all.contains(&format!("\n  {word} "))), "{all}");
}

#[test]
fn options_mean_the_same_before_a_command_and_behind_it() {
    // Nothing listens at port 1: both must get as far as that.
    for line in [
        ["--json", "--retry-for", "0", "127.0.0.1", "1", "jobs"],
        ["127.0.0.1", "1", "--json", "--retry-for", "0", "jobs"],
        ["127.0.0.1", "1", "jobs", "--json", "--retry-for", "0"],
    ] {
        let output = run(CLIENT, &line);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(3) && said.contains("no coordinator: nothing listens"), "{output:?}");
    }
}

#[test]
fn a_first_word_is_a_host_where_a_port_follows_it_and_a_command_where_none_does() {
    for host in ["completions", "jobs.invalid"] {
        // Never found: a label of more than 63 bytes is no name anywhere.
        let line = [host, "5105", "--cluster", "none", "--retry-for", "0", "jobs"];
        let output = run(CLIENT, &line);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(3) && said.contains(host), "{output:?}");
    }
    // An address in brackets is one, as a port follows it. Nothing listens there.
    let output = run(CLIENT, &["[::1]", "1", "--retry-for", "0", "jobs"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(3) && !said.contains("cannot be found"), "{output:?}");
    for (line, words) in [
        (&["completions"][..], "<SHELL>"),
        (&["completions", "5105x"], "bash, zsh or fish"),
        (&["127.0.0.1", "1", "completions", "bash"], "completions needs no coordinator: client completions bash"),
        (&["completion"], "there is no command \"completion\"; completions is close to it: client completions"),
        (&["trian"], "there is no command \"trian\"; train is close to it: client IP PORT train"),
        (&["predcit", "a", "b"], "there is no command \"predcit\"; predict is close to it: client predict"),
        (&["lab-7"], "which port of lab-7?"),
        (&["127.0.0.1", "1", "jbos"], "there is no command \"jbos\"; jobs is close to it: client 127.0.0.1 1 jobs"),
        (&["127.0.0.1", "1", "inspekt"], "inspect is close to it, and needs no coordinator: client inspect"),
        (&["127.0.0.1", "1", "frob"], "there is no command \"frob\"; there are train, jobs, "),
        (&["--local", "1", "--epoch", "3"], "tip: --epochs is close to it"),
        (&["127.0.0.1", "1", "--hiden", "3"], "tip: --hidden is close to it"),
        (&["127.0.0.1", "1", "jobs", "--jsno"], "tip: --json is close to it"),
        (&["evaluate", "--importnace", "a", "b"], "tip: --importance is close to it"),
    ] {
        let output = run(CLIENT, line);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains(words), "{output:?}");
    }
}

#[test]
fn each_shell_reads_its_script_and_bash_completes_with_it() {
    let directory = TempDir::new().unwrap();
    for shell in SHELLS {
        let script = printed(CLIENT, &["completions", shell]);
        assert!(COMMANDS.iter().chain(&["completions"]).all(|word| script.contains(word)), "{script}");
        assert!(script.contains("validate-split"), "{script}");
        let path = directory.path().join(shell);
        std::fs::write(&path, script).unwrap();
        if has(shell) {
            printed(shell, &["-n", path.to_str().unwrap()]);
        }
    }
    if !has("bash") {
        return;
    }
    let complete = |words: &[&str]| {
        let last = words.len() - 1;
        let line = format!(
            "source {}; COMP_WORDS=({}); COMP_CWORD={last}; _client client '{}' '{}'; echo \"${{COMPREPLY[@]}}\"",
            directory.path().join("bash").display(),
            words.join(" "),
            words[last],
            words[last - 1]
        );
        printed("bash", &["-c", &line]).trim().to_owned()
    };
    assert_eq!(complete(&["client", "comp"]), "completions");
    assert_eq!(complete(&["client", "127.0.0.1", "5105", "ver"]), "verify");
    assert_eq!(complete(&["client", "127.0.0.1", "5105", "verify", "beef", "--sam"]), "--sample");
    assert_eq!(complete(&["client", "--on-ta"]), "--on-task-failure");
}

/// The calls of a program that change files in `directory`, in their order, as `call path`; no program where it cannot be
/// traced.
fn traced(directory: &Path, command: &[&str]) -> Option<Vec<String>> {
    const CALLS: &str = "trace=write,pwrite64,fsync,fdatasync,rename,renameat,renameat2";
    let trace = directory.join("trace");
    let head = ["-f", "-qq", "-y", "-o", trace.to_str().unwrap(), "-e", CALLS];
    let can = Command::new("strace").args(["-f", "-o", "/dev/null", "true"]).output();
    if !can.is_ok_and(|output| output.status.success()) {
        skip("no strace that may trace");
        return None;
    }
    let output = run("strace", &[&head[..], command].concat());
    let text = std::fs::read_to_string(trace).unwrap();
    let place = directory.join("files");
    let place = place.to_str().unwrap();
    let calls = text.lines().filter(|line| line.contains(place)).map(|line| {
        let call = line.split_once(' ').unwrap().1.trim_start();
        let (call, rest) = call.split_once('(').unwrap();
        // The name after which a change of the directory alone differs from one of a file in it.
        let path = rest.split(['<', '>', '"']).find(|part| part.starts_with(place)).unwrap();
        format!("{call} {}", &path[place.len()..])
    });
    let calls: Vec<String> = calls.collect();
    assert!(!calls.is_empty(), "{output:?}\n{text}");
    Some(calls)
}

/// Whether a file under `name` was written, synced, renamed and its directory synced, in this order.
fn is_in_order(calls: &[String], part: impl Fn(&str) -> bool, directory: &str) -> bool {
    let mut steps =
        calls.iter().map(|call| call.split_once(' ').unwrap()).filter(|(_, path)| part(path) || *path == directory);
    let mut next = steps.next();
    while next.is_some_and(|(call, path)| part(path) && call.contains("write")) {
        next = steps.next();
    }
    let rest: Vec<(&str, &str)> = next.into_iter().chain(steps).collect();
    matches!(rest[..], [("fsync", file), (rename, from), ("fsync", last), ..]
        if part(file) && rename.starts_with("rename") && from == file && last == directory)
}

#[test]
fn a_model_takes_its_place_by_being_written_synced_renamed_and_its_directory_synced() {
    let directory = TempDir::new().unwrap();
    std::fs::create_dir(directory.path().join("files")).unwrap();
    let data = directory.path().join("trees.csv");
    std::fs::write(&data, "1,2,oak\n3,4,ash\n2,1,oak\n4,3,ash\n".repeat(8)).unwrap();
    let out = directory.path().join("files/model.safetensors");
    let (data, out) = (data.to_str().unwrap(), out.to_str().unwrap());
    let line = [CLIENT, "--local", "1", "--data", data, "--rounds", "1", "--hidden", "4", "--quiet", "--out", out];
    let Some(calls) = traced(directory.path(), &line) else { return };
    assert!(is_in_order(&calls, |path| path.starts_with("/.gradwire-"), ""), "{calls:#?}");
}

#[test]
fn a_file_of_the_journal_takes_its_place_in_the_same_order() {
    let directory = TempDir::new().unwrap();
    std::fs::create_dir(directory.path().join("files")).unwrap();
    let nodes = directory.path().join("nodes.txt");
    std::fs::write(&nodes, "127.0.0.1,1\n").unwrap();
    let state = directory.path().join("files/state");
    // It opens its directory, and then finds no such address to listen at.
    let line = [
        COORDINATOR,
        "0",
        "2",
        "--nodes",
        nodes.to_str().unwrap(),
        "--state-dir",
        state.to_str().unwrap(),
        "--listen",
        "192.0.2.1",
    ];
    let Some(calls) = traced(directory.path(), &line) else { return };
    let last: Vec<String> = calls.into_iter().skip_while(|call| !call.contains("FORMAT")).collect();
    assert!(is_in_order(&last, |path| path.starts_with("/state/FORMAT"), "/state"), "{last:#?}");
}

/// What a program says on stderr, or prints if it says nothing, where the environment has these variables.
fn said_with(variables: &[(&str, &str)], program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).envs(variables.iter().copied()).output().unwrap();
    String::from_utf8(if output.stderr.is_empty() { output.stdout } else { output.stderr }).unwrap()
}

#[test]
fn every_option_also_comes_from_the_environment_and_the_command_line_wins() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("beans.csv");
    let rows: String = (0..40).map(|row| format!("{}.5,{}\n", row * 7 % 40, ["a", "b"][row % 2])).collect();
    std::fs::write(&file, format!("weight,kind\n{rows}")).unwrap();
    let file = file.to_str().unwrap();
    // A flag, an option, and both of them of no use to another command.
    let schema = said_with(&[("GRADWIRE_JSON", "1")], CLIENT, &["schema", file]);
    assert!(schema.starts_with('{'), "{schema}");
    let schema = said_with(&[("GRADWIRE_JSON", "no"), ("GRADWIRE_ROUNDS", "0")], CLIENT, &["schema", file]);
    assert!(!schema.starts_with('{') && schema.contains("weight"), "{schema}");
    let labelled = [("GRADWIRE_LABEL", "weight")];
    let said = |arguments: &[&str]| said_with(&labelled, CLIENT, &[&["schema", file], arguments].concat());
    assert_ne!(said(&[]), said(&["--label", "kind"]));
    assert_eq!(said(&["--label=kind"]), said_with(&[], CLIENT, &["schema", file]));

    // Training in this process, with a value that does not go with an option on the command line.
    let train = ["--rounds", "2", "--no-early-stopping", "--quiet"];
    let variables = [("GRADWIRE_LOCAL", "1"), ("GRADWIRE_PATIENCE", "3"), ("GRADWIRE_KERNEL", "portable")];
    let output = Command::new(CLIENT).args(train).envs(variables).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    // What is said of training in this process is not about a coordinator, and port 1 has none.
    let said = said_with(&variables, CLIENT, &["127.0.0.1", "1", "jobs", "--retry-for", "0"]);
    assert!(said.contains("127.0.0.1:1"), "{said}");
}

#[test]
fn what_the_environment_says_of_other_commands_is_no_part_of_one() {
    let directory = TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (file, model, page) = (path("beans.csv"), path("beans.safetensors"), path("beans.html"));
    let rows: String = (0..40).map(|row| format!("{}.5,{}\n", row * 7 % 40, ["a", "b"][row % 2])).collect();
    std::fs::write(&file, format!("weight,kind\n{rows}")).unwrap();
    // A coordinator that is named wherever it stands, and an option whose name begins with another's; port 1 has none.
    for (variable, words) in [
        ("GRADWIRE_LOCAL", &["--rounds", "3", "127.0.0.1", "1"][..]),
        ("GRADWIRE_POLICY", &["--local-steps", "8", "127.0.0.1", "1"]),
        ("GRADWIRE_POLICY", &["127.0.0.1", "1", "jobs"]),
    ] {
        let said = said_with(&[(variable, "1"), ("GRADWIRE_RETRY_FOR", "0")], CLIENT, words);
        assert!(said.contains("127.0.0.1:1"), "{variable}: {said}");
    }
    // Options that need another one, which is not given.
    let train = ["--local", "1", "--data", &*file, "--rounds", "1", "--out", &*model, "--quiet"];
    assert!(Command::new(CLIENT).args(train).output().unwrap().status.success());
    for (variable, value) in [("GRADWIRE_HEADER", "yes"), ("GRADWIRE_ON_ERROR", "leave")] {
        let output =
            Command::new(CLIENT).args(["report", &*model, "--out", &*page]).env(variable, value).output().unwrap();
        assert!(output.status.success(), "{variable}: {output:?}");
    }
    // Where it is given, they count, and where it is missing on the line itself, that is said.
    let said = said_with(&[("GRADWIRE_ON_ERROR", "perhaps")], CLIENT, &["report", &*model, "--data", &*file]);
    assert!(said.contains("perhaps"), "{said}");
    let said = said_with(&[("GRADWIRE_ON_ERROR", "leave")], CLIENT, &["report", &*model, "--header", "yes"]);
    assert!(said.contains("--data"), "{said}");
    let said = said_with(&[("GRADWIRE_TEST", "0.1")], CLIENT, &["schema", &*file]);
    assert!(said.contains("weight") && !said.contains("no such file"), "{said}");
}

#[test]
fn a_schema_takes_what_decides_which_rows_are_learned_from() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("beans.csv");
    // Of categories of two rows each, those that are told apart have both among the rows that train.
    let row = |row: usize| format!("{}.5,f{},{}\n", row * row % 401, row * 7 % 200, ["a", "b"][row % 2]);
    std::fs::write(&file, format!("weight,field,kind\n{}", (0..400).map(row).collect::<String>())).unwrap();
    let file = file.to_str().unwrap();
    let said =
        |arguments: &[&str]| printed(CLIENT, &[&["schema", file, "--json", "--category", "field"], arguments].concat());
    let usual = said(&[]);
    for asked in [&["--test", "0.4"][..], &["--validate-split", "last:0.4"], &["--recipe", "classic"]] {
        assert_ne!(said(asked), usual, "{asked:?}");
    }
    assert!(["2", "3", "4"].iter().any(|seed| said(&["--seed", seed]) != usual));
    assert_eq!(said(&["--test", "none", "--seed", "1", "--recipe", "default"]), usual);
}

#[test]
fn a_wrong_value_of_the_environment_is_told_with_its_variable() {
    let wrong = [("GRADWIRE_KEEP_JOBS", "many"), ("GRADWIRE_WORKERS", "many"), ("GRADWIRE_RETRY_FOR", "ever")];
    for (program, arguments, variable) in [
        (COORDINATOR, &["0", "2"][..], "GRADWIRE_KEEP_JOBS"),
        (NODE, &["0", "0"], "GRADWIRE_WORKERS"),
        (CLIENT, &["127.0.0.1", "1", "jobs"], "GRADWIRE_RETRY_FOR"),
    ] {
        let said = said_with(&wrong, program, arguments);
        assert!(said.contains(variable), "{said}");
    }
    let said = said_with(&wrong, COORDINATOR, &["0", "2", "--keep-jobs", "few"]);
    assert!(said.contains("'few'") && !said.contains("GRADWIRE_KEEP_JOBS"), "{said}");
    for help in [printed(NODE, &["--help"]), printed(COORDINATOR, &["--help"]), printed(CLIENT, &["--help"])] {
        assert!(help.contains("GRADWIRE_NAME"), "{help}");
    }
}

#[test]
fn a_terminal_shows_a_curve_and_a_bar_below_the_rounds_and_takes_them_away_at_the_end() {
    if !has("script") {
        return;
    }
    let train = format!("{CLIENT} --local 1 --rounds 5 --hidden 8 --no-early-stopping");
    let on_terminal = |terminal: &str| {
        let command = format!("stty cols 80; TERM={terminal} LC_ALL=C.UTF-8 {train}");
        printed("script", &["-qec", &command, "/dev/null"])
    };
    let shown = on_terminal("xterm");
    // Three lines, and from a second on one of the nodes.
    assert!(["\x1b[3A\x1b[J", "\x1b[4A\x1b[J"].iter().any(|taken| shown.contains(taken)), "{shown}");
    for part in ["accuracy ▁", "^ best ", "] 4 of 5 rounds, ", " s left", "5/5", "fingerprint  "] {
        assert!(shown.contains(part), "{part:?} in {shown}");
    }
    // What is taken away at last is behind all that is shown, and the result is behind that.
    let (taken, drawn) = (shown.rfind("\x1b[J").unwrap(), shown.rfind("^ best ").unwrap());
    assert!(drawn < taken && taken < shown.find("fingerprint  ").unwrap(), "{shown}");
    assert!(shown.contains("\x1b[32m"), "the best round has a colour: {shown}");
    let command = format!("stty cols 80; NO_COLOR=1 TERM=xterm {train}");
    let uncoloured = printed("script", &["-qec", &command, "/dev/null"]);
    assert!(uncoloured.contains("^ best ") && !uncoloured.contains("\x1b[32m"), "{uncoloured}");
    for plain in [on_terminal("dumb"), printed("sh", &["-c", &train])] {
        assert!(!plain.contains('\x1b') && !plain.contains("best ") && plain.contains("5/5"), "{plain}");
    }
}

#[test]
fn a_pipe_that_nobody_reads_is_no_success_and_no_fault() {
    let directory = TempDir::new().unwrap();
    let table = directory.path().join("rows.csv");
    std::fs::write(&table, "a,b\n1,x\n2,y\n3,x\n").unwrap();
    let table = table.to_str().unwrap();
    for (program, line) in [
        (NODE, vec!["--help"]),
        (COORDINATOR, vec!["--help"]),
        (CLIENT, vec!["--help"]),
        (CLIENT, vec!["--version"]),
        (CLIENT, vec!["predict", "--help"]),
        (CLIENT, vec!["completions", "bash"]),
        (CLIENT, vec!["schema", table]),
        (CLIENT, vec!["schema", table, "--json"]),
        (CLIENT, vec!["--local", "1", "--rounds", "1", "--hidden", "4"]),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = Command::new(program).args(&line).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(4), "{program} {line:?}: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
}
