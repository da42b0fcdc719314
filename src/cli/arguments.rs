//! A command line that is read by a table: a row for each thing that may be given, from which both the help and the
//! reading are made. Owns the forms (`--name VALUE`, `--name=VALUE`, `--`), the help's layout and what is said about
//! mistakes; does not know what the values are, which the rows' setters say.
//!
//! The other programs have clap for this, which would be a fifth of a node's file: too much for a small box.

use std::ffi::{OsStr, OsString};
use std::fmt;

use lexopt::{Arg, Parser};

use super::{Exit, Failure, print};

/// The help is no wider than this, in columns.
const HELP_COLUMNS: usize = 100;
/// What stands before a row of the help, and between its two columns.
const HELP_INDENT: usize = 2;

/// Reads a value into the settings; an error is a sentence that says what is allowed.
pub type Set<T> = fn(&mut T, &str) -> Result<(), String>;

/// Something that has to be given, in its place.
#[derive(Debug)]
pub struct Positional<T: 'static> {
    /// In capitals, `PORT`.
    pub name: &'static str,
    /// A line for the help.
    pub help: &'static str,
    /// Takes the value.
    pub set: Set<T>,
}

/// Something that may be given, by its name and with a value.
#[derive(Debug)]
pub struct Named<T: 'static> {
    /// What follows the `--`.
    pub name: &'static str,
    /// What the value is called, in capitals.
    pub value: &'static str,
    /// The value that holds when none is given.
    pub default: Option<&'static str>,
    /// Whether it may be given more than once.
    pub is_repeatable: bool,
    /// A line for the help.
    pub help: &'static str,
    /// Takes the value.
    pub set: Set<T>,
}

/// All that a program may be told, in the order of its help. Every program has `-h`, `--help`, `-V` and `--version`
/// besides.
#[derive(Debug)]
pub struct Syntax<T: 'static> {
    /// The program's name.
    pub program: &'static str,
    /// What `--version` says.
    pub version: &'static str,
    /// What the program is for, in sentences.
    pub about: &'static str,
    /// What has to be given.
    pub positionals: &'static [Positional<T>],
    /// What may be given.
    pub options: &'static [Named<T>],
}

/// What a command line asks for.
#[derive(Debug, PartialEq)]
enum Asked<T> {
    Settings(T),
    Help,
    Version,
}

/// What is wrong with a command line.
#[derive(Debug, PartialEq)]
enum Mistake {
    /// There is no such option; perhaps this one is meant.
    Unknown { got: String, meant: Option<&'static str> },
    /// An option stands last, or before another one.
    NoValue { option: &'static str, value: &'static str, follows: Option<OsString> },
    /// `--help=3`.
    ValueForNothing { option: &'static str, got: OsString },
    /// An option is given again that may not be.
    Twice { option: &'static str, got: OsString },
    /// A value is none that is allowed.
    Value { of: String, got: OsString, allowed: String },
    /// More than there are places for.
    TooMany { got: OsString, usage: String },
    /// Less than has to be given.
    Missing { first: &'static str, usage: String },
    /// What the reader of forms says besides; nothing that we know of.
    Form(String),
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { got, meant: Some(meant) } => {
                write!(f, "there is no option {got:?}; --{meant} is close to it")
            }
            Self::Unknown { got, meant: None } => {
                write!(f, "there is no option {got:?}; if it is a value, write -- before it")
            }
            Self::NoValue { option, value, follows: None } => {
                write!(f, "--{option} needs a value, <{value}>, and nothing follows it")
            }
            Self::NoValue { option, value, follows: Some(got) } => write!(
                f,
                "--{option} needs a value, <{value}>, and {got:?} follows it; if that is the value, write --{option}=..."
            ),
            Self::ValueForNothing { option, got } => write!(f, "--{option} takes no value, and got {got:?}"),
            Self::Twice { option, got } => write!(f, "--{option} may be given once, and is given again with {got:?}"),
            Self::Value { of, got, allowed } => write!(f, "{of} cannot be {got:?}: {allowed}"),
            Self::TooMany { got, usage } => write!(f, "{got:?} is one value too many for {usage}"),
            Self::Missing { first, usage } => write!(f, "<{first}> is missing in {usage}"),
            Self::Form(said) => f.write_str(said),
        }
    }
}

impl From<lexopt::Error> for Mistake {
    fn from(error: lexopt::Error) -> Mistake {
        Mistake::Form(error.to_string())
    }
}

impl<T> Syntax<T> {
    /// The settings that this program's command line makes of `settings`; nothing if it asked for help or the version,
    /// which are printed. A mistake is a failure of the kind [`Exit::Usage`].
    pub fn settings(&self, settings: T) -> Result<Option<T>, Failure> {
        let shown = match self.read(Parser::from_env(), settings) {
            Ok(Asked::Settings(settings)) => return Ok(Some(settings)),
            Ok(Asked::Help) => self.help(),
            Ok(Asked::Version) => self.version.to_owned(),
            Err(mistake) => {
                return Err(Failure::new(Exit::Usage, format_args!("{mistake} (see {} --help)", self.program)));
            }
        };
        print(&shown).map(|_| None)
    }

    fn read(&self, mut parser: Parser, mut settings: T) -> Result<Asked<T>, Mistake> {
        for option in self.options {
            if let Some(default) = option.default {
                set(option.set, &mut settings, || format!("--{}", option.name), default.into())?;
            }
        }
        let mut given = vec![false; self.options.len()];
        let mut positionals = self.positionals.iter();
        loop {
            // No option begins with a digit: it is a number, and its setter says whether a negative one is allowed.
            let number = parser.try_raw_args().and_then(|mut raw| raw.next_if(is_negative_number));
            let argument = match number {
                Some(number) => Some(Arg::Value(number)),
                None => parser.next()?,
            };
            let name = match argument {
                None => break,
                Some(Arg::Value(got)) => match positionals.next() {
                    Some(next) => {
                        set(next.set, &mut settings, || format!("<{}>", next.name), got)?;
                        continue;
                    }
                    None => return Err(Mistake::TooMany { got, usage: self.usage() }),
                },
                Some(Arg::Short('h')) => return Ok(Asked::Help),
                Some(Arg::Short('V')) => return Ok(Asked::Version),
                Some(Arg::Long("help")) => return nothing_behind(&mut parser, "help", Asked::Help),
                Some(Arg::Long("version")) => return nothing_behind(&mut parser, "version", Asked::Version),
                Some(Arg::Short(letter)) => return Err(Mistake::Unknown { got: format!("-{letter}"), meant: None }),
                Some(Arg::Long(name)) => name,
            };
            let Some(index) = self.options.iter().position(|option| option.name == name) else {
                return Err(Mistake::Unknown { got: format!("--{name}"), meant: self.closest(name) });
            };
            let option = &self.options[index];
            let got = value_behind(&mut parser, option)?;
            if given[index] && !option.is_repeatable {
                return Err(Mistake::Twice { option: option.name, got });
            }
            given[index] = true;
            set(option.set, &mut settings, || format!("--{}", option.name), got)?;
        }
        match positionals.next() {
            None => Ok(Asked::Settings(settings)),
            Some(missing) => Err(Mistake::Missing { first: missing.name, usage: self.usage() }),
        }
    }

    /// The option that was probably meant.
    fn closest(&self, name: &str) -> Option<&'static str> {
        let names = self.options.iter().map(|option| option.name).chain(["help", "version"]);
        let rated = names.map(|known| (if known.starts_with(name) { 0 } else { distance(known, name) }, known));
        rated.min().filter(|&(distance, _)| distance <= 1 + name.len() / 4).map(|(_, known)| known)
    }

    fn usage(&self) -> String {
        let mut usage = format!("{} [OPTIONS]", self.program);
        for Positional { name, .. } in self.positionals {
            usage.push_str(&format!(" <{name}>"));
        }
        usage
    }

    /// Lines of at most [`HELP_COLUMNS`], without the last one's end.
    fn help(&self) -> String {
        let mut rows = Vec::new();
        for Positional { name, help, .. } in self.positionals {
            rows.push((format!("<{name}>"), *help, String::new()));
        }
        for Named { name, value, default, help, .. } in self.options {
            let default = default.map(|default| format!("[default: {default}]"));
            rows.push((format!("--{name} <{value}>"), *help, default.unwrap_or_default()));
        }
        rows.push(("-h, --help".to_owned(), "Print this help", String::new()));
        rows.push(("-V, --version".to_owned(), "Print the version", String::new()));

        let width = rows.iter().map(|(left, ..)| left.len()).max().unwrap_or(0) + HELP_INDENT;
        let mut text = String::new();
        wrap(&mut text, 0, self.about, "");
        text.push_str(&format!("\n\nUsage: {}\n\nArguments:", self.usage()));
        for (index, (left, help, default)) in rows.iter().enumerate() {
            if index == self.positionals.len() {
                text.push_str("\n\nOptions:");
            }
            text.push_str(&format!("\n{:HELP_INDENT$}{left:width$}", ""));
            wrap(&mut text, HELP_INDENT + width, help, default);
        }
        text
    }
}

/// Gives a value to its setter.
fn set<T>(set: Set<T>, settings: &mut T, name: impl Fn() -> String, got: OsString) -> Result<(), Mistake> {
    let read = got.to_str().ok_or_else(|| "it is not UTF-8".to_owned()).and_then(|text| set(settings, text));
    read.map_err(|allowed| Mistake::Value { of: name(), got, allowed })
}

/// The value of the option that was just read.
fn value_behind<T>(parser: &mut Parser, option: &Named<T>) -> Result<OsString, Mistake> {
    if let Some(value) = parser.optional_value() {
        return Ok(value);
    }
    let mut raw = parser.raw_args()?;
    raw.next_if(|next| !is_option(next)).ok_or_else(|| Mistake::NoValue {
        option: option.name,
        value: option.value,
        follows: raw.peek().map(OsStr::to_owned),
    })
}

/// `asked`, if nothing is attached to it.
fn nothing_behind<T>(parser: &mut Parser, option: &'static str, asked: Asked<T>) -> Result<Asked<T>, Mistake> {
    match parser.optional_value() {
        None => Ok(asked),
        Some(got) => Err(Mistake::ValueForNothing { option, got }),
    }
}

fn is_negative_number(argument: &OsStr) -> bool {
    matches!(argument.as_encoded_bytes(), [b'-', b'0'..=b'9' | b'.', ..])
}

/// A lone `-` is none.
fn is_option(argument: &OsStr) -> bool {
    matches!(argument.as_encoded_bytes(), [b'-', _, ..]) && !is_negative_number(argument)
}

/// How many letters have to be put in, taken out or changed to make one word of the other.
fn distance(a: &str, b: &str) -> usize {
    // To make the beginnings of `b` of what has been seen of `a`.
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// Adds the words of a sentence, and then `last` untorn, to a text whose last line is `indent` columns wide: in lines of
/// at most [`HELP_COLUMNS`] that begin there.
fn wrap(text: &mut String, indent: usize, sentence: &str, last: &str) {
    let mut column = indent;
    for word in sentence.split(' ').chain([last]).filter(|word| !word.is_empty()) {
        if column > indent && column + 1 + word.len() > HELP_COLUMNS {
            text.push_str(&format!("\n{:indent$}", ""));
            column = indent;
        } else if column > indent {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += word.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, Default, PartialEq)]
    struct Kettle {
        litres: i32,
        lid: String,
        herbs: Vec<String>,
    }

    const SYNTAX: Syntax<Kettle> = Syntax {
        program: "kettle",
        version: "kettle 1",
        about: "Boils water.",
        positionals: &[Positional {
            name: "LITRES",
            help: "How much water",
            set: |kettle, text| {
                let litres = text.parse().ok().filter(|litres| *litres > 0);
                litres.map(|litres| kettle.litres = litres).ok_or_else(|| "water is at least 1".to_owned())
            },
        }],
        options: &[
            Named {
                name: "lid",
                value: "METAL",
                default: Some("tin"),
                is_repeatable: false,
                help: "What the lid is made of, which makes no difference to the water unless it is made of lead or of \
                       something else that nobody ought to drink from",
                set: |kettle, text| {
                    kettle.lid = text.to_owned();
                    if text == "lead" { Err("it is poison".to_owned()) } else { Ok(()) }
                },
            },
            Named {
                name: "herb",
                value: "NAME",
                default: None,
                is_repeatable: true,
                help: "A herb",
                set: |kettle, text| {
                    kettle.herbs.push(text.to_owned());
                    Ok(())
                },
            },
        ],
    };

    fn read(line: &[&str]) -> Result<Asked<Kettle>, Mistake> {
        SYNTAX.read(Parser::from_args(line), Kettle::default())
    }

    fn kettle(line: &[&str]) -> (i32, String, String) {
        match read(line) {
            Ok(Asked::Settings(Kettle { litres, lid, herbs })) => (litres, lid, herbs.join(" ")),
            other => panic!("{line:?}: {other:?}"),
        }
    }

    fn said(line: &[&str]) -> String {
        read(line).unwrap_err().to_string()
    }

    #[test]
    fn values_are_given_in_either_form_in_any_order_and_the_rest_has_its_default() {
        let expected = |lid: &str, herbs: &str| (3, lid.to_owned(), herbs.to_owned());
        assert_eq!(kettle(&["3"]), expected("tin", ""));
        assert_eq!(kettle(&["3", "--lid", "iron"]), expected("iron", ""));
        assert_eq!(kettle(&["--lid=iron", "3"]), expected("iron", ""));
        assert_eq!(kettle(&["--herb", "sage", "3", "--herb=thyme"]), expected("tin", "sage thyme"));
        assert_eq!(kettle(&["--lid", "copper", "--", "3"]), expected("copper", ""));
        for odd in ["", "-", "a=b", "--herb"] {
            assert_eq!(kettle(&[&format!("--lid={odd}"), "3"]), expected(odd, ""));
        }
        assert_eq!(kettle(&["--lid", "-", "3"]), expected("-", ""));
    }

    #[test]
    fn a_negative_number_is_a_value_wherever_it_stands() {
        let refused = |number: &str| format!("<LITRES> cannot be {number:?}: water is at least 1");
        for number in ["-1", "-.5", "-1x"] {
            assert_eq!(said(&[number]), refused(number));
            assert_eq!(said(&["--", number]), refused(number));
            assert_eq!(kettle(&["1", "--lid", number]).1, number);
        }
        assert_eq!(said(&["--", "--lid"]), refused("--lid"));
    }

    #[test]
    fn a_mistake_is_named_with_what_was_got_and_what_is_allowed() {
        const USAGE: &str = "kettle [OPTIONS] <LITRES>";
        assert_eq!(said(&["1", "--lid", "lead"]), "--lid cannot be \"lead\": it is poison");
        assert_eq!(said(&[]), format!("<LITRES> is missing in {USAGE}"));
        assert_eq!(said(&["1", "2"]), format!("\"2\" is one value too many for {USAGE}"));
        assert_eq!(said(&["1", "--lid"]), "--lid needs a value, <METAL>, and nothing follows it");
        let follows = "--lid needs a value, <METAL>, and \"--herb\" follows it; if that is the value, write --lid=...";
        assert_eq!(said(&["1", "--lid", "--herb"]), follows);
        let again = "--lid may be given once, and is given again with \"tin\"";
        assert_eq!(said(&["--lid=tin", "1", "--lid=tin"]), again);
        assert_eq!(said(&["--help=me"]), "--help takes no value, and got \"me\"");
    }

    #[test]
    fn what_is_not_utf_8_is_a_mistake_and_no_panic() {
        use std::os::unix::ffi::OsStrExt as _;
        let broken = OsStr::from_bytes(b"\xFF");
        let said = |line: [&OsStr; 2]| SYNTAX.read(Parser::from_args(line), Kettle::default()).unwrap_err().to_string();
        assert_eq!(said([broken, broken]), "<LITRES> cannot be \"\\xFF\": it is not UTF-8");
        assert_eq!(said(["--lid".as_ref(), broken]), "--lid cannot be \"\\xFF\": it is not UTF-8");
        assert!(said([OsStr::from_bytes(b"--l\xFF"), broken]).starts_with("there is no option \"--l"));
        assert!(said([OsStr::from_bytes(b"-\xFF"), broken]).starts_with("there is no option \"-"));
    }

    #[test]
    fn an_unknown_option_is_told_from_a_misspelt_one() {
        for (misspelt, meant) in [("--lod", "lid"), ("--li", "lid"), ("--hreb", "herb"), ("--hepl=1", "help")] {
            assert!(said(&[misspelt]).ends_with(&format!("; --{meant} is close to it")), "{}", said(&[misspelt]));
        }
        assert!(said(&["--sp\nout"]).starts_with("there is no option \"--sp\\nout\";"));
        for unknown in ["--spout", "-l", "-lid"] {
            assert!(said(&[unknown]).ends_with("; if it is a value, write -- before it"), "{}", said(&[unknown]));
        }
    }

    #[test]
    fn help_and_version_are_given_whatever_else_is_missing() {
        for line in [&["--help"][..], &["-h"], &["1", "--lid=tin", "--help", "--spout"]] {
            assert_eq!(read(line), Ok(Asked::Help), "{line:?}");
        }
        for line in [["--version"], ["-V"], ["-Vh"]] {
            assert_eq!(read(&line), Ok(Asked::Version), "{line:?}");
        }
    }

    #[test]
    fn help_is_two_columns_of_which_the_right_one_is_wrapped_without_tearing_a_default() {
        let expected = "\
Boils water.

Usage: kettle [OPTIONS] <LITRES>

Arguments:
  <LITRES>       How much water

Options:
  --lid <METAL>  What the lid is made of, which makes no difference to the water unless it is made
                 of lead or of something else that nobody ought to drink from [default: tin]
  --herb <NAME>  A herb
  -h, --help     Print this help
  -V, --version  Print the version";
        assert_eq!(SYNTAX.help(), expected);
    }
}
