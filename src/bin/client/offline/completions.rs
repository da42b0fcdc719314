//! `client completions SHELL`: a script with which a shell completes the client's command line. Owns nothing but the
//! shells; clap_complete writes the script from the same table that clap reads.

use clap::{Arg, ArgMatches, Command};
use clap_complete::Shell;
use gradwire::cli::{self, Exit, Failure};

const HOW: &str = "\
Add the line to the file:
  bash  source <(client completions bash)   ~/.bashrc
  zsh   source <(client completions zsh)    ~/.zshrc, after compinit
  fish  client completions fish | source    ~/.config/fish/config.fish";

pub fn arguments() -> Command {
    Command::new("completions")
        .about("Print a script that completes the client's words in a shell")
        .after_help(HOW)
        .arg(Arg::new("shell").value_name("SHELL").required(true).help("Shell: bash, zsh or fish").value_parser(shell))
}

pub fn run(matches: &ArgMatches) -> Result<Exit, Failure> {
    let shell = *matches.get_one::<Shell>("shell").expect("clap requires it");
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut crate::whole_line(), "client", &mut script);
    cli::print(String::from_utf8_lossy(&script).trim_end()).map(|()| Exit::Success)
}

fn shell(text: &str) -> Result<Shell, String> {
    match text {
        "bash" => Ok(Shell::Bash),
        "zsh" => Ok(Shell::Zsh),
        "fish" => Ok(Shell::Fish),
        _ => {
            Err("completions are for bash, zsh or fish; a host of the name completions takes its port right behind it"
                .to_owned())
        }
    }
}
