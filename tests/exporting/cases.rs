//! Models to be exported: of tables with every kind of column, with names that end strings and comments where they are not
//! escaped, of both tasks. Owns the rows, as a file has them and as an exported model takes them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub const CLIENT: &str = env!("CARGO_BIN_EXE_client");

/// Names that mean something to somebody.
pub const HOSTILE: [&str; 4] =
    ["a\"b\n*/ #include <stdio.h>", "</script><!--", "\u{e9}t\u{e9} \u{6728} \\ \u{2028}1", "what??/ %s {0} '"];
/// Bytes of the longest names, more than a literal in C has.
const LONG_BYTES: usize = 5_000;

/// A table's text, the values that an exported model takes of each row, and the model that it trained.
pub struct Case {
    pub name: &'static str,
    pub table: PathBuf,
    /// Each with NUL behind it.
    pub values: Vec<u8>,
    pub model: PathBuf,
    pub rows: usize,
}

/// Numbers that look random.
struct Draws(u32);

impl Draws {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((u64::from(self.0 >> 4) * u64::from(bound)) >> 28) as u32
    }
}

/// A table as it grows.
#[derive(Default)]
struct Table {
    csv: String,
    values: Vec<u8>,
    rows: usize,
}

impl Table {
    fn line(&mut self, fields: &[String]) {
        let quoted: Vec<String> = fields.iter().map(|field| format!("\"{}\"", field.replace('"', "\"\""))).collect();
        self.csv += &(quoted.join(",") + "\n");
    }

    /// A row: its fields, and its values.
    fn row(&mut self, fields: &[String], values: &[String]) {
        self.line(fields);
        for value in values {
            self.values.extend_from_slice(value.as_bytes());
            self.values.push(0);
        }
        self.rows += 1;
    }
}

fn long(of: char) -> String {
    std::iter::repeat_n(of, LONG_BYTES).collect()
}

/// Rows with every kind of column, whose last two are a class and a number.
fn awkward(rows: usize) -> Table {
    let mut draws = Draws(5);
    let mut table = Table::default();
    let names =
        ["girth", HOSTILE[0], HOSTILE[1], HOSTILE[2], "bloom", "day", "seen", "always", &long('n'), "mass", "kind"];
    table.line(&names.map(str::to_owned));
    let levels = [
        "red".to_owned(),
        HOSTILE[0].to_owned(),
        HOSTILE[1].to_owned(),
        HOSTILE[2].to_owned(),
        HOSTILE[3].to_owned(),
        long('c'),
    ];
    let classes = ["oak".to_owned(), HOSTILE[0].to_owned(), HOSTILE[1].to_owned(), HOSTILE[2].to_owned(), long('k')];
    for row in 0..rows {
        let number = |draw: u32| format!("{}.{:03}", draw / 1_000, draw % 1_000);
        let or_missing = |text: String, part: u32| if part == 0 { String::new() } else { text };
        let (girth, height, depth, age) =
            (draws.below(90_000), draws.below(5_000), draws.below(700), draws.below(9_000));
        let girth_text = or_missing(number(girth), draws.below(9));
        let depth_text = or_missing(number(depth), draws.below(200));
        let level = draws.below(6);
        let level_text = match (row % 97, draws.below(11)) {
            (0, _) => format!("rare {row}"),
            (_, 0) => String::new(),
            _ => levels[level as usize].clone(),
        };
        let bloom = draws.below(2);
        let (bloom_text, bloom_value) = match draws.below(8) {
            0 => ("NA", ""),
            _ => [("no", "0"), ("Yes", "1")][bloom as usize],
        };
        // Days before and after 1970-01-01, a Thursday.
        let day = i64::from(draws.below(60)) - 30;
        let (month, of_month) = if day < 0 { ("1969-12", day + 32) } else { ("1970-01", day + 1) };
        let (day_text, day_value) = match draws.below(13) {
            0 => (String::new(), String::new()),
            _ => (format!("{month}-{of_month:02}"), (day * 86_400).to_string()),
        };
        let second = i64::from(draws.below(86_400));
        let (hour, minute, rest) = (second / 3_600, second / 60 % 60, second % 60);
        let (zone, offset) = [("", 0i64), ("Z", 0), ("+05:30", 19_800), ("-0800", -28_800)][draws.below(4) as usize];
        let seen = day * 86_400 + second - offset;
        let (seen_text, seen_value, offset) = match draws.below(17) {
            0 => (String::new(), String::new(), 0),
            _ => (format!("{month}-{of_month:02}T{hour:02}:{minute:02}:{rest:02}{zone}"), seen.to_string(), offset),
        };
        let score =
            girth / 9_000 + height / 500 + 3 * level + 4 * bloom + (hour / 4) as u32 + depth / 100 + draws.below(4);
        let mass = 40.0 + f64::from(score) * 2.5 + f64::from(draws.below(100)) / 50.0;
        let class = (score / 8).min(4) as usize;
        table.row(
            &[
                girth_text.clone(),
                number(height),
                depth_text.clone(),
                level_text.clone(),
                bloom_text.to_owned(),
                day_text,
                seen_text,
                "7".to_owned(),
                number(age),
                mass.to_string(),
                classes[class].clone(),
            ],
            &[
                girth_text,
                number(height),
                depth_text,
                level_text,
                bloom_value.to_owned(),
                day_value,
                seen_value,
                offset.to_string(),
                "7".to_owned(),
                number(age),
            ],
        );
    }
    table
}

/// Rows of three numbers, none missing, far from 0, of as many classes. The model takes so many of them.
fn plain(rows: usize, classes: u32, taken: usize) -> Table {
    let mut draws = Draws(7);
    let mut table = Table::default();
    table.line(&["x", "y", "z", "class"].map(str::to_owned));
    for row in 0..rows {
        let class = row as u32 % classes;
        let at = |scale: u32, draw: u32| format!("{}.{:02}", 1_000_000 + class * scale % 977, draw);
        let values = [at(37, draws.below(100)), at(101, draws.below(100)), at(211, draws.below(100))];
        let fields = [&values[..], &[format!("c{class}")]].concat();
        table.row(&fields, &values[..taken]);
    }
    table
}

fn trained(directory: &Path, name: &'static str, table: Table, options: &[&str]) -> Case {
    let [path, model] = ["csv", "safetensors"].map(|ending| directory.join(format!("{name}.{ending}")));
    fs::write(&path, &table.csv).unwrap();
    let mut command = Command::new(CLIENT);
    command.args(["--local", "1", "--rounds", "4", "--quiet", "--header", "yes"]).args(options);
    let output = command.arg("--data").arg(&path).arg("--out").arg(&model).output().unwrap();
    assert!(output.status.success(), "{name}: {output:?}");
    Case { name, table: path, values: table.values, model, rows: table.rows }
}

/// Models of both tasks, with every kind of column and every activation.
pub fn cases(directory: &Path) -> Vec<Case> {
    let of_class = ["--ignore", "mass", "--label", "kind"];
    let train = |name, table, options: &[&[&str]]| trained(directory, name, table, &options.concat());
    let of_mass = ["--ignore", "kind", "--label", "mass", "--impute", "most", "--hidden", "24"];
    let of_two = ["--ignore", "class", "--label", "y,z", "--hidden", "8", "--activation", "tanh"];
    vec![
        train("relu", awkward(600), &[&of_class, &["--hidden", "24,12"]]),
        train("tanh", awkward(600), &[&of_class, &["--hidden", "24,12", "--activation", "tanh"]]),
        train("identity", awkward(600), &[&of_class, &["--hidden", "16", "--activation", "identity"]]),
        train("numbers", awkward(600), &[&of_mass]),
        train("targets", plain(300, 7, 1), &[&of_two]),
        train("flat", plain(300, 2, 3), &[&["--hidden", "none"]]),
        train("hundred", plain(1_000, 100, 3), &[&["--hidden", "64", "--impute", "refuse"]]),
        // 98,273 parameters.
        train("wide", plain(200, 3, 3), &[&["--hidden", "310,310"]]),
        train("robust", awkward(600), &[&of_class, &["--hidden", "24", "--scale", "robust"]]),
    ]
}
