//! Command lines, files and data that are wrong: a sentence that says what and where, the right exit code, no panic, and
//! nothing trained.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use crate::common::clients::client;
use crate::common::cluster::{Cluster, assert_does_an_honest_job, undisturbed};
use crate::common::process::{Ended, run};
use crate::common::servers::Coordinator;
use crate::common::tables::{Written, small_data};

const NODE: &str = env!("CARGO_BIN_EXE_compute_node");
const COORDINATOR: &str = env!("CARGO_BIN_EXE_coordinator_node");
const CLIENT: &str = env!("CARGO_BIN_EXE_client");

/// The command line, a file or the data is wrong.
const USAGE: i32 = 2;
/// The other program cannot be reached, or a port cannot be had.
const CONNECTION: i32 = 3;

/// Asserts how a program ended, and that stderr says all of these words.
fn assert_refused(ended: &Ended, code: i32, words: &[&str]) {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    assert!(!ended.stderr.contains("panicked"), "{ended:?}");
    assert_eq!(ended.stdout, "", "{ended:?}");
    for word in words {
        assert!(ended.stderr.contains(word), "{word:?} is not said: {}", ended.stderr);
    }
}

/// Runs `client --local 1` with these arguments, which are wrong.
fn refuses(arguments: &[&str], words: &[&str]) {
    let ended = client(["--local", "1", "--rounds", "1"].iter().chain(arguments));
    assert_refused(&ended, USAGE, words);
}

/// The same with a data file of this text.
fn refuses_data(text: impl AsRef<[u8]>, arguments: &[&str], words: &[&str]) {
    let data = Written::new("sick.csv", text);
    let named = [&["sick.csv"], words].concat();
    refuses(&[&["--data", data.text()], arguments].concat(), &named);
}

#[test]
fn data_that_is_no_table_is_refused_with_its_place() {
    let directory = TempDir::new().unwrap();
    refuses(&["--data", "no/such/file.csv"], &["no/such/file.csv", "no such file"]);
    refuses(&["--data", directory.path().to_str().unwrap()], &["this directory holds no file"]);
    refuses_data("", &[], &["empty"]);
    refuses_data("width,height,sort\n", &[], &["line 1", "no rows"]);
    refuses_data("1,2,oak\n3,4,ash\n5,6\n", &[], &["line 3 has 2", "the other 2, which have 3"]);
    refuses_data("1,2,oak\n3,wide,ash\n", &[], &["column 2", "1 of 2 rows has no number", "\"wide\" in line 2"]);
    let headed = "width,height,sort\n1,2,oak\n3,tall,ash\n4,5,oak\n";
    refuses_data(headed, &[], &["column 2 (\"height\")", "\"tall\" in line 3", "--ignore height"]);
    refuses_data("1,2,oak\n1e400,4,ash\n", &[], &["column 1", "no finite number", "1e400", "line 2"]);
    refuses_data("1,2,oak\n,4,ash\n", &["--impute", "refuse"], &["column 1", "no value", "line 2"]);
    refuses_data(b"1,2,oak\n\xFF\xFE,4,ash\n", &[], &["line 2", "UTF-8"]);
    refuses_data(b"PAR1\x15\x04\x15", &[], &["Parquet", "pandas.read_parquet"]);
    refuses_data("1,2,oak\n3,4,ash\n", &["--label", "sort"], &["--label", "\"sort\"", "column 1, column 2, column 3"]);
    refuses_data("1\n2\n", &[], &["only one column"]);
}

#[test]
fn labels_that_cannot_be_learned_are_refused() {
    refuses_data("1,2,oak\n3,4,oak\n5,6,oak\n", &[], &["every row has the label \"oak\""]);
    let many: String = (0..65_536).map(|label| format!("1,2,label-{label}\n")).collect();
    // Names of rows are no labels, unless they are asked for.
    refuses_data(&many, &[], &["every row has the label \"2\" in column 2", "--label"]);
    refuses_data(many, &["--label", "3"], &["column 3", "65535 different labels"]);
    let late = "1,2,oak\n3,4,ash\n1,2,oak\n3,4,ash\n5,6,fir\n";
    refuses_data(late, &["--validate-split", "last:1"], &["line 5", "\"fir\"", "not among those that train"]);
    refuses_data(late, &["--validate-split", "last:5"], &["none is left to train on"]);
}

#[test]
fn numbers_outside_their_limits_are_refused() {
    for (option, most) in [("--rounds", "1000000"), ("--epochs", "1000000"), ("--shards", "16384")] {
        for number in ["0", "-1", "1000000000000"] {
            let ended = client(["--local", "1", option, number]);
            assert_refused(&ended, USAGE, &[option, number, most]);
        }
        assert_refused(&client(["--local", "1", option, "many"]), USAGE, &[option, "many"]);
    }
    for number in ["0", "-1", "NaN", "inf"] {
        let shown = if number == "inf" { "inf" } else { number };
        refuses(&["--eta", number], &["learning rate", shown]);
    }
    refuses(&["--batch", "-1"], &["--batch", "-1"]);
    refuses(&["--hidden", "0"], &["hidden layer", "not 0"]);
    refuses(&["--hidden", "8,,8"], &["whole numbers with commas between"]);
    refuses(&["--hidden", "1000000,1000000"], &["parameters", "134217728", "narrower"]);
    // What the categories of a column stand for counts, and its name is said.
    let wide: String =
        (0..1_200).map(|row| format!("{row}.5,place {},{}\n", row % 300, ["oak", "ash"][row % 2])).collect();
    let wide = "girth,place,sort\n".to_owned() + &wide;
    let wide = Written::new("wide.csv", wide);
    let words = ["parameters", "narrower", "fewer of the 2", "column 2 (\"place\") becomes 2", "--ignore place"];
    refuses(&["--data", wide.text(), "--hidden", "1000000", "--rare", "1"], &words);
    refuses(&["--validate-split", "1.5"], &["1.5"]);
    let data = small_data();
    refuses(&["--data", data.text(), "--shards", "1000"], &["1000 shards", "192 training rows", "at most 192"]);
}

#[test]
fn options_that_mean_nothing_are_refused() {
    refuses(&["--job", "nonsense"], &["32 hexadecimal digits"]);
    refuses(&["--job", &"0".repeat(32)], &["not all of them 0"]);
    refuses(&["--recipe", "soup"], &["default or classic"]);
    refuses(&["--policy", "3"], &["--policy"]);
    refuses(&["--frobnicate"], &["--frobnicate"]);
    for nodes in ["0", "-1", "65"] {
        assert_refused(&client(["--local", nodes]), USAGE, &["--local", nodes, "64"]);
    }
    assert_refused(&client(["127.0.0.1"]), USAGE, &["PORT"]);
    assert_refused(&client(["127.0.0.1", "70000"]), USAGE, &["70000", "65535"]);
}

#[test]
fn a_model_to_start_from_must_be_one_and_fit() {
    refuses(&["--start-from", "no/such.safetensors"], &["no/such.safetensors"]);
    let damaged = Written::new("damaged.safetensors", [0x41; 300]);
    refuses(&["--start-from", damaged.text()], &["damaged.safetensors"]);
    let (data, directory) = (small_data(), TempDir::new().unwrap());
    let model = directory.path().join("small.safetensors");
    let model = model.to_str().unwrap();
    let made = client(["--local", "1", "--data", data.text(), "--rounds", "1", "--hidden", "8", "--out", model]);
    assert_eq!(made.code, Some(0), "{made:?}");
    refuses(&["--data", data.text(), "--hidden", "9", "--start-from", model], &["3-8-3", "3-9-3"]);
    let mut bytes = std::fs::read(model).unwrap();
    bytes.truncate(bytes.len() - 8);
    let cut = Written::new("cut.safetensors", bytes);
    refuses(&["--data", data.text(), "--hidden", "8", "--start-from", cut.text()], &["cut.safetensors"]);
    let other = Written::new("other.csv", "1,2,3,elm\n2,1,3,yew\n5,5,5,box\n".repeat(20));
    refuses(&["--data", other.text(), "--hidden", "8", "--start-from", model], &["other classes"]);
    let text = std::fs::read_to_string(data.text()).unwrap();
    let renamed = Written::new("renamed.csv", text.replacen("height", "depth", 1));
    let further = ["--hidden", "8", "--start-from", model];
    refuses(&[&["--data", renamed.text()][..], &further].concat(), &["other columns", "input 2", "height", "depth"]);
    // The same columns are trained further, and numbers that are scaled in another way are said.
    let fewer: String = text.lines().take(151).map(|line| format!("{line}\n")).collect();
    let fewer = Written::new("fewer.csv", fewer);
    for (rows, is_said) in [(data.text(), false), (fewer.text(), true)] {
        let trained = client([&["--local", "1", "--rounds", "1", "--data", rows][..], &further].concat());
        assert_eq!(trained.code, Some(0), "{trained:?}");
        assert_eq!(trained.stderr.contains("scaled by other data"), is_said, "{trained:?}");
    }
}

#[test]
fn a_place_where_no_model_can_be_saved_is_refused_before_anything_is_trained() {
    let cluster = Cluster::new();
    let (data, directory) = (small_data(), TempDir::new().unwrap());
    let directory = directory.path().to_str().unwrap();
    let port = cluster.coordinator.port.to_string();
    let mut places = vec![
        (format!("{directory}/missing/model.safetensors"), "missing is no directory"),
        (directory.to_owned(), "is a directory"),
        ("/dev/null".to_owned(), "/dev/null is no file that may be replaced"),
    ];
    if cfg!(target_os = "linux") {
        // Nobody may write there, not even root.
        places.push(("/proc/model.safetensors".to_owned(), "nothing can be written to /proc"));
    }
    for (place, words) in places {
        let ended = client(["127.0.0.1", &port, "--data", data.text(), "--out", &place]);
        assert_refused(&ended, USAGE, &[words]);
    }
    let status = cluster.coordinator.status();
    assert!(status.trim_end().ends_with("PROGRESS"), "a job was submitted:\n{status}");
    cluster.assert_is_well();
}

#[test]
fn a_coordinator_that_is_not_there_is_said_so() {
    // Bound and deaf: nobody else gets the port meanwhile.
    let deaf = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    deaf.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let free = deaf.local_addr().unwrap().as_socket().unwrap().port().to_string();
    let ended = client(["127.0.0.1", &free, "--retry-for", "0"]);
    assert_refused(
        &ended,
        CONNECTION,
        &["no coordinator", "nothing listens at", &free, "coordinator_node PORT POLICY"],
    );
    // A label of more than 63 bytes is no name anywhere: nobody has to be asked.
    let unknown = format!("{}.invalid", "x".repeat(64));
    assert_refused(&client([unknown.as_str(), "4000"]), CONNECTION, &["cannot be found", &unknown]);
}

#[test]
fn a_port_of_another_program_is_said_so() {
    // One hangs up, one speaks another language, one says nothing.
    for answer in [&b""[..], b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xF5"] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let other = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut hello = [0; 24];
            stream.read_exact(&mut hello).unwrap();
            stream.write_all(answer).unwrap();
            if answer == b"\xF5" {
                // Silent until the client gives up.
                let _ = stream.read_to_end(&mut Vec::new());
            }
        });
        let ended = client(["127.0.0.1", &port, "--retry-for", "0"]);
        assert_refused(&ended, CONNECTION, &["no coordinator", &port]);
        other.join().unwrap();
    }
}

#[test]
fn a_program_of_another_kind_says_what_it_is() {
    let cluster = Cluster::new();
    let port = cluster.node.port.to_string();
    let ended = client(["127.0.0.1", &port]);
    assert_refused(&ended, CONNECTION, &["this is a compute node", "a client asks a coordinator"]);
    // A coordinator that is told of another one goes on, with that one inactive.
    let files = Written::new("nodes.txt", format!("127.0.0.1,{}\n", cluster.coordinator.port));
    let confused = Coordinator::of_file(files.path());
    let line = confused.await_line("is inactive");
    assert!(line.contains("this coordinator dials its nodes itself") && line.contains("a coordinator"), "{line}");
    assert!(confused.status().contains("0 of 1 active"));
    cluster.assert_is_well();
}

#[test]
fn a_port_in_use_is_said_so_and_its_owner_goes_on() {
    let cluster = Cluster::new();
    let port = cluster.node.port.to_string();
    assert_refused(&run(NODE, [port.as_str(), "0"]), CONNECTION, &[&port, "in use"]);
    let port = cluster.coordinator.port.to_string();
    let (nodes, journal) = (Written::new("nodes.txt", "127.0.0.1,1\n"), TempDir::new().unwrap());
    // At a port of its own it would keep jobs in the home of whoever tests, where another version may have kept some.
    let journal = journal.path().join("jobs");
    let words = [port.as_str(), "2", "--nodes", nodes.text(), "--state-dir", journal.to_str().unwrap()];
    let ended = run(COORDINATOR, words);
    assert_refused(&ended, CONNECTION, &[&port, "in use"]);
    cluster.assert_is_well();
}

#[test]
fn a_load_probability_is_a_number_from_0_to_1() {
    for text in ["1.5", "-0.5", "NaN", "often", ""] {
        assert_refused(&run(NODE, ["0", text]), USAGE, &["a number from 0 to 1"]);
    }
    assert_refused(&run(NODE, ["0"]), USAGE, &["LOAD_PROBABILITY"]);
    assert_refused(&run(NODE, ["http", "0"]), USAGE, &["http"]);
    assert_refused(&run(NODE, ["0", "0", "--workers", "0"]), USAGE, &["--workers"]);
    assert_refused(&run(NODE, ["0", "0", "--kernel", "abacus"]), USAGE, &["abacus"]);
    assert_refused(&run(NODE, ["0", "0", "--name", "two words"]), USAGE, &["two words"]);
}

#[test]
fn a_node_says_what_is_wrong_with_its_command_line_in_one_line_that_ends_with_where_to_look() {
    let lines: [(&[&str], &str); 16] = [
        (&[], "<PORT> is missing in compute_node [OPTIONS] <PORT> <LOAD_PROBABILITY>"),
        (&["0", "0", "0"], "\"0\" is one value too many for compute_node [OPTIONS] <PORT> <LOAD_PROBABILITY>"),
        (&["70000", "0"], "<PORT> cannot be \"70000\": a port is a number from 0 (any free one) to 65535"),
        (&["0", "-1"], "<LOAD_PROBABILITY> cannot be \"-1\": a probability is a number from 0 to 1"),
        (&["0", "0", "--listen", "here"], "--listen cannot be \"here\": an address is an IP address"),
        (
            &["0", "0", "--load-delay=-1"],
            "--load-delay cannot be \"-1\": a wait is a number of seconds from 0 to 86400",
        ),
        (&["0", "0", "--workers", "1025"], "--workers cannot be \"1025\": a node has 1 to 1024 workers"),
        (&["0", "0", "--kernel", "abacus"], "--kernel cannot be \"abacus\": this machine has no kernel"),
        (&["0", "0", "--cache", "0"], "--cache cannot be \"0\": memory is given in MiB, from 1 to 16777216"),
        (&["0", "0", "--name="], "--name cannot be \"\": a name is 1 to 64 of A-Z a-z 0-9 . _ -"),
        (&["0", "0", "--cluster", "a b"], "--cluster cannot be \"a b\": a name is 1 to 64"),
        (&["0", "0", "--connections", "-8"], "--connections cannot be \"-8\": a program takes 1 to 8000"),
        (&["0", "0", "--object", "much"], "--object cannot be \"much\": memory is given in MiB"),
        (&["0", "0", "--workers", "--cache", "1"], "--workers needs a value, <N>, and \"--cache\" follows it"),
        (&["0", "0", "--cache=1", "--cache=1"], "--cache may be given once"),
        (&["0", "0", "--wrokers", "2"], "there is no option \"--wrokers\"; --workers is close to it"),
    ];
    for (line, sentence) in lines {
        let ended = run(NODE, line);
        assert_refused(&ended, USAGE, &[&format!("compute_node: {sentence}")]);
        assert!(ended.stderr.ends_with(" (see compute_node --help)\n"), "{ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    }
}

#[test]
fn a_policy_is_one_of_two_and_nodes_come_from_a_file_that_says_where_it_is_wrong() {
    for policy in ["3", "0", "-1", "fair"] {
        assert_refused(&run(COORDINATOR, ["0", policy]), USAGE, &[policy]);
    }
    let refused = |text: &str, words: &[&str]| {
        let nodes = Written::new("nodes.txt", text);
        assert_refused(&run(COORDINATOR, ["0", "2", "--nodes", nodes.text()]), USAGE, words);
    };
    refused("127.0.0.1,5106\nnonsense\n", &["nodes.txt, line 2", "<ip or name>,<port>"]);
    refused("127.0.0.1,70000\n", &["nodes.txt, line 1", "\"70000\"", "1 to 65535"]);
    refused("# none\n\n", &["names no node"]);
    refused("a b,1\n", &["line 1", "\"a b\""]);
    assert_refused(&run(COORDINATOR, ["0", "2", "--nodes", "no/nodes.txt"]), USAGE, &["no/nodes.txt", "--nodes"]);
    let waits = run(COORDINATOR, ["0", "2", "--revival-waits", "soon"]);
    assert_refused(&waits, USAGE, &["seconds with commas between"]);
    for bytes in ["lots", "0", "1.5GB"] {
        let ended = run(COORDINATOR, ["0", "2", "--keep-bytes", bytes]);
        assert_refused(&ended, USAGE, &["--keep-bytes", bytes, "like 500MB"]);
    }
}

#[test]
fn every_program_helps() {
    let wanted: [(&str, &[&str]); 3] = [
        (CLIENT, &["client <IP> <PORT>", "--local", "--data", "--out", "--rounds", "--json", "--profile"]),
        (COORDINATOR, &["<PORT> <SCHEDULING_POLICY>", "--nodes", "compute_nodes.txt", "--revival-waits"]),
        (NODE, &["<PORT> <LOAD_PROBABILITY>", "--workers", "--load-delay", "--listen", "[default: 127.0.0.1]"]),
    ];
    for (program, words) in wanted {
        let ended = run(program, ["--help"]);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
        words.iter().for_each(|word| assert!(ended.stdout.contains(word), "{word} is not in {}", ended.stdout));
        assert_eq!(run(program, ["--version"]).code, Some(0));
    }
}

/// Reads the first line of what the client prints and then closes the pipe, as `head -1` does. Returns its exit code.
fn head_of_client(arguments: &[&str]) -> (Option<i32>, String) {
    let mut child = Command::new(CLIENT)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(!line.is_empty(), "{said}");
    (ended.status.code(), said)
}

/// A job whose rounds are more lines than a pipe holds, so that its end is told only to a reader that stays.
const MANY_ROUNDS: [&str; 7] = ["--local", "1", "--rounds", "2000", "--hidden", "4", "--no-early-stopping"];

#[test]
fn a_reader_that_goes_before_the_end_makes_no_success_and_no_panic() {
    let data = small_data();
    // What a quiet one prints comes in one piece, and has been read.
    for (form, expected) in [(&[][..], 4), (&["--json"], 4), (&["--quiet"], 0)] {
        let (code, said) = head_of_client(&[&MANY_ROUNDS[..], &["--data", data.text()], form].concat());
        assert_eq!(code, Some(expected), "{form:?}: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
}

#[test]
fn a_model_is_saved_though_nobody_reads_any_more() {
    let (data, directory) = (small_data(), TempDir::new().unwrap());
    let model = directory.path().join("model.safetensors");
    let arguments = [&MANY_ROUNDS[..], &["--data", data.text(), "--out", model.to_str().unwrap()]].concat();
    assert_eq!(head_of_client(&arguments).0, Some(4));
    assert!(model.is_file());
}

#[test]
fn bad_jobs_beside_a_good_one_do_not_touch_it() {
    let cluster = Cluster::new();
    let port = cluster.coordinator.port.to_string();
    let data = small_data();
    let good = ["127.0.0.1", &port, "--data", data.text(), "--job", "00000000000000000000000000000abc"];
    let first = client(good.iter().chain(&crate::common::cluster::HONEST_JOB));
    assert!(first.stdout.contains(undisturbed()), "{first:?}");
    // The same id with another specification.
    let ended = client(good.iter().chain(&["--rounds", "2", "--quiet"]));
    assert_refused(&ended, USAGE, &["another specification", "take another id"]);
    // The same id with the same one: how it ended is told again.
    let again = client(good.iter().chain(&crate::common::cluster::HONEST_JOB));
    assert_eq!(again.stdout, first.stdout);
    // A job that diverges everywhere fails, and says why.
    let ended = client(["127.0.0.1", &port, "--data", data.text(), "--eta", "1e30", "--quiet"]);
    assert_refused(&ended, 1, &["blocks", "diverged", "lower learning rate"]);
    assert_does_an_honest_job(&cluster.coordinator);
}
