//! Options from the environment: `GRADWIRE_` and an option's name, `GRADWIRE_KEEP_JOBS` for `--keep-jobs`, give an option of any
//! program its value where the command line does not. Owns how the two become one; does not know what the options mean.

use std::ffi::OsString;

#[cfg(feature = "coordinator")]
use clap::builder::BoolishValueParser;
#[cfg(feature = "coordinator")]
use clap::error::{ContextKind, ContextValue, ErrorKind};
#[cfg(feature = "coordinator")]
use clap::{Arg, ArgAction, ArgMatches, Command};

/// What the help of every program says of it.
pub const HELP: &str = "Every option but one that names a file to write may also come from the environment, --name as \
    GRADWIRE_NAME with _ for -; the command line wins.";

/// Options that are never taken: a file is written where a command says so, or one command's would replace another's.
#[cfg(feature = "coordinator")]
const UNTAKEN: [&str; 4] = ["help", "version", "out", "report"];

/// The variable of an option, whose name is given without `--`.
pub fn variable(option: &str) -> String {
    format!("GRADWIRE_{}", option.replace('-', "_").to_ascii_uppercase())
}

/// The value that the environment has for an option; an empty one counts as none, as shells have no other way to take it back.
pub fn value(option: &str) -> Option<OsString> {
    std::env::var_os(variable(option)).filter(|value| !value.is_empty())
}

/// All variables of options that have a value, and these, in the order of their names.
#[cfg(feature = "client")]
pub fn set() -> Vec<(String, String)> {
    let all = std::env::vars_os().map(|(name, value)| (name.to_string_lossy().into_owned(), value));
    let ours = all.filter(|(name, value)| name.starts_with("GRADWIRE_") && !value.is_empty());
    let mut ours: Vec<_> = ours.map(|(name, value)| (name, value.to_string_lossy().into_owned())).collect();
    ours.sort();
    ours
}

/// Reads a command line, whose help is as wide as the terminal, with what the environment adds to it, but for the options in
/// `except`. A mistake ends the program with a sentence.
#[cfg(feature = "coordinator")]
pub fn matches(line: Command, words: Vec<OsString>, except: &[&str]) -> ArgMatches {
    let left_out = unfitting(&line, &words, except);
    let left_out: Vec<&str> = left_out.iter().map(String::as_str).collect();
    let mut line = with_environment(line, &words, &left_out).term_width(super::columns());
    line.try_get_matches_from_mut(&words).unwrap_or_else(|mut error| {
        if error.kind() == ErrorKind::UnknownArgument
            && let Some(ContextValue::String(got)) = error.get(ContextKind::InvalidArg)
            && let Some(meant) = option_close_to(got, &line, &words)
        {
            // In the place of clap's, how to pass it as a value.
            error.insert(
                ContextKind::Suggested,
                ContextValue::StyledStrs(vec![format!("--{meant} is close to it").into()]),
            );
        }
        if let Some(ContextValue::String(shown)) = error.get(ContextKind::InvalidArg) {
            let name = shown.trim_start_matches('-').split([' ', '=', '[']).next().unwrap_or_default().to_owned();
            if !is_given(&words, &name) && value(&name).is_some() {
                let tip = format!("the value comes from the environment's {}", variable(&name));
                error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
            }
        }
        if error.use_stderr() {
            error.exit()
        }
        // Help, or the version: clap would take a pipe that is closed for a success.
        let told = super::print(error.render().to_string().trim_end()).map(|()| super::Exit::Success);
        std::process::exit(told.unwrap_or_else(|failure| failure.exit) as i32)
    })
}

/// What the environment does not add: `except`, and options that need another one which neither the words nor the environment give.
/// They are left out of such a command, as those are that it does not have.
#[cfg(feature = "coordinator")]
fn unfitting(line: &Command, words: &[OsString], except: &[&str]) -> Vec<String> {
    let lacks = |except: &[&str]| {
        let read = with_environment(line.clone(), words, except).try_get_matches_from(words);
        read.is_err_and(|error| error.kind() == ErrorKind::MissingRequiredArgument)
    };
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let mut left_out = except.to_vec();
    if !lacks(except) {
        return owned(except);
    }
    let of_all = std::iter::once(line).chain(line.get_subcommands());
    let names = of_all.flat_map(Command::get_arguments).filter_map(Arg::get_long);
    left_out.extend(names.filter(|name| value(name).is_some()));
    left_out.sort_unstable();
    left_out.dedup();
    // What the words themselves lack is told with whatever the environment adds.
    if lacks(&left_out) {
        return owned(except);
    }
    // Each comes back that lacks nothing beside those that have.
    let is_open = |name: &&str| !except.contains(name);
    while let Some(fewer) = (0..left_out.len()).filter(|&place| is_open(&left_out[place])).find_map(|place| {
        let fewer = [&left_out[..place], &left_out[place + 1..]].concat();
        (!lacks(&fewer)).then_some(fewer)
    }) {
        left_out = fewer;
    }
    owned(&left_out)
}

/// The option that an unknown one is close to, among those of the command that the words name.
#[cfg(feature = "coordinator")]
fn option_close_to(got: &str, line: &Command, words: &[OsString]) -> Option<String> {
    let command = words.iter().find_map(|word| line.find_subcommand(word)).unwrap_or(line);
    let options = command.get_arguments().filter(|option| !option.is_hide_set()).filter_map(Arg::get_long);
    crate::close::close(got.strip_prefix("--")?, options).map(str::to_owned)
}

/// A command and its own commands, whose options take values from the environment where no word forbids it.
#[cfg(feature = "coordinator")]
fn with_environment(line: Command, words: &[OsString], except: &[&str]) -> Command {
    let conflicts = |a: &Arg, b: &Arg| {
        let of = |a, b: &Arg| line.get_arg_conflicts_with(a).iter().any(|other| other.get_id() == b.get_id());
        of(a, b) || of(b, a)
    };
    let is_given = |option: &Arg| names(option).any(|name| is_given(words, name));
    let is_forbidden = |option: &Arg| line.get_arguments().any(|other| is_given(other) && conflicts(option, other));
    let taken: Vec<String> = line
        .get_arguments()
        .filter(|option| !is_given(option) && !is_forbidden(option))
        .filter_map(|option| option.get_long())
        .filter(|name| !UNTAKEN.contains(name) && !except.contains(name) && value(name).is_some())
        .map(str::to_owned)
        .collect();
    let line = line.mut_args(|option| match option.get_long().filter(|name| taken.iter().any(|taken| taken == name)) {
        None => option,
        Some(name) => {
            // A command line is read once, and clap keeps the name for as long as it likes.
            let variable: &'static str = variable(name).leak();
            let is_flag = matches!(option.get_action(), ArgAction::SetTrue);
            let option = if is_flag { option.value_parser(BoolishValueParser::new()) } else { option };
            option.env(variable).hide_env(true)
        }
    });
    line.mut_subcommands(|command| with_environment(command, words, except))
}

/// The names of an option, without `--`.
#[cfg(feature = "coordinator")]
fn names(option: &Arg) -> impl Iterator<Item = &str> {
    option.get_long().into_iter().chain(option.get_all_aliases().into_iter().flatten())
}

/// Whether an option is given on a command line.
#[cfg(feature = "coordinator")]
fn is_given(words: &[OsString], name: &str) -> bool {
    words.iter().take_while(|word| *word != "--").filter_map(|word| word.to_str()).any(|word| {
        word.strip_prefix("--")
            .and_then(|word| word.strip_prefix(name))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_and_its_variable_have_the_same_words() {
        assert_eq!(variable("keep-jobs"), "GRADWIRE_KEEP_JOBS");
    }

    #[cfg(feature = "coordinator")]
    #[test]
    fn an_option_is_given_by_its_whole_name_before_the_words_that_are_values() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        for (line, given) in [
            ("h 1 --out x", true),
            ("h 1 --out=x", true),
            ("h 1 --output x", false),
            ("h 1 -- --out", false),
            ("out", false),
        ] {
            assert_eq!(is_given(&words(line), "out"), given, "{line}");
        }
    }

    #[cfg(feature = "coordinator")]
    #[test]
    fn an_unknown_option_is_close_to_one_of_the_command_that_is_named() {
        let option = |name| Arg::new(name).long(name).action(ArgAction::SetTrue);
        let line = Command::new("sell").arg(option("epochs")).subcommand(Command::new("buy").arg(option("price")));
        for (typed, got, meant) in [
            ("--epoch", "--epoch", Some("epochs")),
            ("--epoch=3", "--epoch", Some("epochs")),
            ("buy --epoch", "--epoch", None),
            ("buy --rpice", "--rpice", Some("price")),
            ("-epochs", "-e", None),
        ] {
            let words: Vec<OsString> = typed.split(' ').map(OsString::from).collect();
            let error = line.clone().no_binary_name(true).try_get_matches_from(&words).unwrap_err();
            assert_eq!(error.get(ContextKind::InvalidArg), Some(&ContextValue::String(got.to_owned())), "{typed}");
            assert_eq!(option_close_to(got, &line, &words).as_deref(), meant, "{typed}");
        }
    }
}
