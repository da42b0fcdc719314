//! Commands that need no coordinator: `client WORD ...`. Owns the table of words, and what tells a word from a host of that
//! name; does not know what the commands do. A new one is a file here and a row in the table.

mod completions;
mod evaluate;
mod export;
mod inspect;
mod predict;
mod report;
mod schema;

use std::ffi::OsString;

use clap::{ArgMatches, Command};
use gradwire::cli::{self, Exit, Failure, Interrupts};

/// A command that needs no coordinator.
pub struct Offline {
    /// Its word, its arguments and its help.
    arguments: fn() -> Command,
    /// Does what the arguments ask for.
    run: fn(&ArgMatches) -> Result<Exit, Failure>,
}

/// Every one of them, in the order of the help.
const OFFLINE: &[Offline] = &[
    Offline { arguments: schema::arguments, run: schema::run },
    Offline { arguments: inspect::arguments, run: inspect::run },
    Offline { arguments: predict::arguments, run: predict::run },
    Offline { arguments: evaluate::arguments, run: evaluate::run },
    Offline { arguments: export::arguments, run: export::run },
    Offline { arguments: report::arguments, run: report::run },
    Offline { arguments: completions::arguments, run: completions::run },
];

impl Offline {
    /// The one that a command line means by its first word. Where a port follows, the word is a host, as ever: no offline
    /// command takes a number first.
    pub fn meant(words: &[OsString]) -> Option<&'static Offline> {
        let is_port = |word: &OsString| word.to_str().is_some_and(|word| word.parse().is_ok_and(|port: u16| port > 0));
        match words {
            [_, second, ..] if is_port(second) => None,
            [word, ..] => OFFLINE.iter().find(|offline| *word == *(offline.arguments)().get_name()),
            [] => None,
        }
    }

    /// Runs it with its word and all that follows. An interrupt ends the program, and removes what is half written.
    pub fn run(&self, words: Vec<OsString>) -> Result<Exit, Failure> {
        let line =
            (self.arguments)().no_binary_name(true).bin_name(format!("client {}", (self.arguments)().get_name()));
        let matches = cli::environment::matches(line, words.into_iter().skip(1).collect(), &[]);
        Interrupts::catch()?.into_messages()?;
        cli::interruptible(|| (self.run)(&matches))
    }
}

/// Whether this is the word of an offline command.
pub fn is_word(word: &str) -> bool {
    commands().any(|command| command.get_name() == word)
}

/// All of them, for help and completions.
pub fn commands() -> impl Iterator<Item = Command> {
    OFFLINE.iter().map(|offline| (offline.arguments)())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_meant(words: &str) -> bool {
        Offline::meant(&words.split_whitespace().map(OsString::from).collect::<Vec<_>>()).is_some()
    }

    #[test]
    fn a_first_word_is_an_offline_command_unless_a_port_follows() {
        for offline in ["completions", "completions bash", "completions --help", "completions 0", "completions 65536"] {
            assert!(is_meant(offline), "{offline}");
        }
        for host in
            ["completions 5105", "completions 5105 jobs", "127.0.0.1 5105", "lab-7 5105", "--json completions", ""]
        {
            assert!(!is_meant(host), "{host}");
        }
    }

    #[test]
    fn every_offline_command_describes_itself_and_none_but_report_is_one_of_a_coordinator_too() {
        use clap::CommandFactory as _;
        let online = crate::arguments::Arguments::command();
        for command in commands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            let is_of_both = online.find_subcommand(command.get_name()).is_some();
            assert_eq!(is_of_both, command.get_name() == "report", "{}", command.get_name());
            command.debug_assert();
        }
    }
}
