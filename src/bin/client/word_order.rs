//! The order of words on the client's command line. Options may stand anywhere, also before the command that they belong
//! to; clap looks for them behind it. Owns the move, and the sentence about options of another command; does not know what
//! any option means.

use std::ffi::OsString;

use clap::Command;

/// Which word a command is: it follows IP and PORT.
const COMMAND: usize = 2;
/// Flags that clap gives to every command.
const OF_ALL: [&str; 2] = ["help", "version"];

/// The words with the options behind the command; a sentence if some belong to another command. What clap has to refuse
/// stays as it is.
pub fn options_last(line: &Command, words: Vec<OsString>) -> Result<Vec<OsString>, String> {
    let mut positionals = Vec::new();
    let mut options = Vec::new();
    let mut given = Vec::new();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let text = word.to_string_lossy();
        let Some(name) = text.strip_prefix("--") else {
            if ["-h", "-V", "-v"].iter().any(|short| text.starts_with(short)) {
                &mut options
            } else {
                &mut positionals
            }
            .push(word.clone());
            continue;
        };
        let (name, has_value) = name.split_once('=').map_or((name, false), |(name, _)| (name, true));
        let takes_value = match takes_value(line, name) {
            Some(takes_value) => takes_value,
            None if OF_ALL.contains(&name) => false,
            // Unknown, or the `--` after which nothing is an option.
            None => return Ok(words),
        };
        options.push(word.clone());
        if takes_value && !has_value {
            options.extend(rest.next().cloned());
        }
        given.push(name.to_owned());
    }
    let name = positionals.get(COMMAND).and_then(|word| word.to_str());
    let (command, name) = match name {
        Some(name) => match line.find_subcommand(name) {
            Some(command) => (command, name),
            None => return Ok(words),
        },
        None => (line, "train"),
    };
    let foreign: Vec<String> = given
        .iter()
        .filter(|&name| !OF_ALL.contains(&name.as_str()) && !options_of(command).any(|option| option == name))
        .map(|name| format!("--{name}"))
        .collect();
    if let Some(first) = foreign.first() {
        let names_it = |other: &&Command| options_of(other).any(|option| first[2..] == *option);
        let owners: Vec<&str> = line.get_subcommands().filter(names_it).map(Command::get_name).collect();
        let taken: Vec<String> = options_of(command).map(|option| format!("--{option}")).collect();
        return Err(if name == "train" && !owners.is_empty() {
            format!("{first} is for {}", owners.join(", "))
        } else {
            format!("{name} does not take {}; it takes {}", foreign.join(", "), taken.join(", "))
        });
    }
    if positionals.len() <= COMMAND {
        return Ok(words);
    }
    let behind = positionals.split_off(COMMAND + 1);
    Ok([positionals, options, behind].concat())
}

/// Whether a word stands there that is no option, and no option's value: the first is a host.
pub fn names_a_host(line: &Command, words: &[OsString]) -> bool {
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let text = word.to_string_lossy();
        match text.strip_prefix("--") {
            Some("") => return rest.next().is_some(),
            Some(name) => {
                if !name.contains('=') && takes_value(line, name) == Some(true) {
                    rest.next();
                }
            }
            None if text.len() > 1 && text.starts_with('-') => {}
            None => return true,
        }
    }
    false
}

/// The long options of a command.
fn options_of(command: &Command) -> impl Iterator<Item = &str> {
    command.get_arguments().filter_map(|argument| argument.get_long())
}

/// Whether a value follows this option; none if no command has it.
fn takes_value(line: &Command, name: &str) -> Option<bool> {
    let mut commands = std::iter::once(line).chain(line.get_subcommands());
    commands.find_map(|command| {
        let argument = command.get_arguments().find(|argument| argument.get_long() == Some(name));
        argument.map(|argument| argument.get_action().takes_values())
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::arguments::Arguments;

    fn ordered(words: &str) -> Result<String, String> {
        let words = words.split(' ').map(OsString::from).collect();
        options_last(&Arguments::command(), words).map(|words| words.join(" ".as_ref()).into_string().unwrap())
    }

    #[test]
    fn options_before_a_command_stand_behind_it_with_their_values() {
        let ordered = |words| ordered(words).unwrap();
        assert_eq!(ordered("--json h 1 jobs"), "h 1 jobs --json");
        assert_eq!(ordered("h --out jobs 1 --quiet attach beef"), "h 1 attach --out jobs --quiet beef");
        assert_eq!(ordered("h 1 --out=m model beef --json"), "h 1 model --out=m --json beef");
        assert_eq!(ordered("-h h 1 verify"), "h 1 verify -h");
        for unmoved in ["h 1 --rounds 3", "--local 3 --eta -1", "h 1 --frob x jobs", "h 1 --json tarin", "-- h 1 jobs"]
        {
            assert_eq!(ordered(unmoved), unmoved);
        }
    }

    #[test]
    fn a_host_is_a_word_that_is_no_option_and_no_value_of_one() {
        let names = |words: &str| {
            let words: Vec<OsString> = words.split(' ').map(OsString::from).collect();
            names_a_host(&Arguments::command(), &words)
        };
        for host in ["h 1", "--rounds 3 h 1", "--local-steps 8 h 1", "-v h", "--json h 1 jobs", "--eta=1 h", "-- h"] {
            assert!(names(host), "{host}");
        }
        for none in ["--rounds 3", "--local 3 --eta -1", "--quiet", "-vv", "--out h", "--"] {
            assert!(!names(none), "{none}");
        }
    }

    #[test]
    fn an_option_of_another_command_is_named_with_what_the_command_takes() {
        let said = |words| ordered(words).unwrap_err();
        assert_eq!(said("h 1 --sample 3"), "--sample is for verify");
        assert_eq!(said("h 1 train --sample=3"), "--sample is for verify");
        assert_eq!(
            said("h --rounds 3 1 ledger beef --quiet"),
            "ledger does not take --rounds, --quiet; it takes --json, --cluster, --retry-for, --color, --verbose"
        );
    }
}
