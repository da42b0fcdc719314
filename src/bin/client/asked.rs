//! From what clap has read to what the library is asked for. Owns the sentences about words that are missing or too many,
//! each with its cure; does not know options.

use clap::CommandFactory as _;
use gradwire::client::{self, JobName, Target};
use gradwire::close::close;
use gradwire::config::without_brackets;

use crate::arguments::{self, Access, Arguments, Id, Json, Train};
use crate::{offline, output, shown};

/// Where a job is trained, or asked about.
pub enum Cluster {
    Coordinator(Target),
    /// In this process.
    Here {
        nodes: u32,
    },
}

/// What is asked for there.
pub enum Asked {
    Train(Box<Train>),
    Command { command: client::Command, output: client::Output, access: Access },
}

impl Cluster {
    /// The cluster that is meant, where `command` is asked for; a sentence where there is none, or two.
    pub fn meant(
        local: Option<u32>,
        ip: Option<&str>,
        port: Option<&str>,
        command: Option<&str>,
    ) -> Result<Cluster, String> {
        let ip = match (local, ip, command) {
            (Some(nodes), None, None) => return Ok(Cluster::Here { nodes }),
            (Some(_), Some(word), _) | (Some(_), None, Some(word)) => {
                return Err(format!(
                    "--local has a coordinator of its own, which trains one job and is asked nothing: leave out {word:?} \
                     and what follows it, or --local"
                ));
            }
            (None, None, None) => {
                return Err(
                    "which coordinator? client IP PORT asks one, client --local N runs one in this process".to_owned()
                );
            }
            (None, None, Some(word)) => {
                return Err(format!("{word} at which coordinator? Its IP and PORT come first: client IP PORT {word}"));
            }
            (None, Some(ip), _) => ip,
        };
        let number = |text: &str| text.parse::<u16>().ok().filter(|&port| port > 0);
        if let Some(port) = port.and_then(number) {
            return Ok(Cluster::Coordinator(Target { host: without_brackets(ip).to_owned(), port }));
        }
        // As other programs want it.
        if let Some((host, port)) = ip.split_once(':').filter(|(_, port)| number(port).is_some()) {
            return Err(format!("IP and PORT are two words, and {ip:?} is one: client {host} {port}"));
        }
        // A first word that is no command is a host, as which it would have a port behind it.
        if let Some(word) = command_close_to(ip) {
            let line = if offline::is_word(&word) { word.clone() } else { format!("IP PORT {word}") };
            return Err(format!(
                "there is no command {ip:?}; {word} is close to it: client {line} (behind a host, its port follows)"
            ));
        }
        Err(match (port, command) {
            (Some(port), _) => {
                format!("a coordinator's port is a number from 1 to 65535, and not {port:?}: client {ip} PORT")
            }
            (None, Some(word)) => format!("{word} at which port of {ip}? It comes first: client {ip} PORT {word}"),
            (None, None) => format!("which port of {ip}? client {ip} PORT"),
        })
    }

    /// How a command line for it begins.
    fn client(&self) -> String {
        match self {
            Cluster::Coordinator(Target { host, port }) => format!("client {host} {port}"),
            Cluster::Here { .. } => "client IP PORT".to_owned(),
        }
    }
}

/// What is asked for by the command of this name, which is to train where none is named; a sentence where that cannot be.
pub fn asked(command: Option<arguments::Asked>, name: &str, cluster: &Cluster, train: Train) -> Result<Asked, String> {
    use arguments::Asked as Line;
    let Some(command) = command else { return Ok(Asked::Train(Box::new(train))) };
    let client = cluster.client();
    let job = |id: &Id| job_named(name, &client, id);
    let json = |json: &Json| if json.json { client::Output::Json } else { client::Output::Table };
    let (command, output, access) = match command {
        Line::Train(train) => {
            return match train.words.first() {
                None => Ok(Asked::Train(Box::new(train.options))),
                Some(word) => Err(format!(
                    "train takes only options, and {word:?} follows it: --job ID gives the job its id, --data FILE.csv its \
                     data"
                )),
            };
        }
        Line::Jobs(line) => match line.words.first() {
            None => (client::Command::Jobs, json(&line.json), line.access),
            Some(word) if word.parse::<JobName>().is_ok() => {
                return Err(format!(
                    "jobs takes no ID, and {word:?} follows it: {client} job {word} shows that one job"
                ));
            }
            Some(word) => {
                return Err(format!("jobs takes no word, and {word:?} follows it: {client} jobs lists all jobs"));
            }
        },
        Line::Job(line) => (client::Command::Job(job(&line.job)?), json(&line.json), line.access),
        Line::Attach(line) => {
            let (job, out, shown) = (job(&line.job)?, line.out.out, shown(&line.shown));
            (client::Command::Attach { job, out, shown }, output(&line.output), line.access)
        }
        Line::Cancel(line) => (client::Command::Cancel(job(&line.job)?), json(&line.json), line.access),
        Line::Resume(line) => (client::Command::Resume(job(&line.job)?), json(&line.json), line.access),
        Line::Model(line) => {
            let named = job(&line.job)?;
            let Some(out) = line.out.out else {
                let id = line.job.id.unwrap_or_default();
                return Err(format!("in which file? {client} model {id} --out FILE.safetensors saves the model"));
            };
            (client::Command::Model { job: named, out }, json(&line.json), line.access)
        }
        Line::Report(line) => {
            let (job, out) = (job(&line.job)?, line.out.out);
            (client::Command::Report { job, out }, client::Output::Table, line.access)
        }
        Line::Ledger(line) => (client::Command::Ledger(job(&line.job)?), json(&line.json), line.access),
        Line::Verify(line) => {
            let (job, sample, seed) = (job(&line.job)?, line.sample, line.seed);
            (client::Command::Verify { job, sample, seed }, output(&line.output), line.access)
        }
        Line::Doctor(line) => match line.words.first() {
            None => (client::Command::Doctor, json(&line.json), line.access),
            Some(word) => {
                return Err(format!(
                    "doctor takes no word, and {word:?} follows it: {client} doctor looks at the coordinator and all its nodes"
                ));
            }
        },
        Line::Other(words) => {
            return Err(if offline::is_word(name) {
                let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
                format!("{name} needs no coordinator: client {}", words.join(" "))
            } else {
                match command_close_to(name) {
                    Some(word) if !online_words().contains(&word) => {
                        format!(
                            "there is no command {name:?}; {word} is close to it, and needs no coordinator: client {word}"
                        )
                    }
                    Some(word) => format!("there is no command {name:?}; {word} is close to it: {client} {word}"),
                    None => format!("there is no command {name:?}; there are {}", online_words().join(", ")),
                }
            });
        }
    };
    Ok(Asked::Command { command, output, access })
}

/// The words of what a coordinator can be asked.
fn online_words() -> Vec<String> {
    Arguments::command().get_subcommands().map(|command| command.get_name().to_owned()).collect()
}

/// The command that a mistyped word is close to.
fn command_close_to(word: &str) -> Option<String> {
    let offline = offline::commands().map(|command| command.get_name().to_owned());
    // `report` is of both, and asks a coordinator then.
    let words: Vec<String> = online_words().into_iter().chain(offline).collect();
    close(word, words.iter().map(String::as_str)).map(str::to_owned)
}

/// The job that a command is about: it takes one ID.
fn job_named(name: &str, client: &str, job: &Id) -> Result<JobName, String> {
    let Some(id) = &job.id else {
        return Err(format!("{name} of which job? {client} {name} ID; {client} jobs lists them"));
    };
    if let Some(word) = job.words.first() {
        return Err(format!("{name} takes one ID, and {word:?} follows it: {client} {name} {id}"));
    }
    id.parse().map_err(|allowed| format!("{name} of which job? {id:?} is no ID: {allowed}; {client} jobs lists them"))
}
