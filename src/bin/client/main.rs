//! The client: submits a job and shows it, asks about others, and does what needs no coordinator. Owns which of these a
//! command line means; the rest is `gradwire::client`.

mod arguments;
mod asked;
mod offline;
mod word_order;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Command, CommandFactory as _, FromArgMatches as _};
use gradwire::cli::{self, Exit, Failure, Interrupts, environment};
use gradwire::client::{self, Access, Options, OuterOptions, Output, RateOptions, ReportOptions, Shown, local};
use log::LevelFilter;

use arguments::{Arguments, Train};
use asked::Cluster;
use offline::Offline;

/// What follows the options in the help, after the offline commands.
const AFTER_HELP: &str = "\
A first word that is not in this list is a host, and so is any word before a
port: client completions 5105 asks the coordinator on the host completions.

Exit codes:
  0    success
  1    the job failed, or does not verify; doctor has something to mend
  2    the command line, a file or the data is wrong
  3    the coordinator cannot be reached, is full, or went away and did not
       return; or this machine does not compute as defined
  4    the result cannot be written, or nobody reads it any more
  5    the job was cancelled
  6    the job is paused; resume continues it
  130  interrupted; a job whose data has been sent continues, and attach shows
       the rest";

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some(offline) = Offline::meant(&words) {
        return cli::exit("client", offline.run(words));
    }
    cli::exit("client", run(words))
}

fn run(words: Vec<OsString>) -> Result<Exit, Failure> {
    let usage = |text| Failure::new(Exit::Usage, text);
    let typed = words.clone();
    let line = online_line();
    let words = word_order::options_last(&line, words).map_err(usage)?;
    // What the environment says of training in this process is not about a coordinator that is named.
    let except: &[&str] = if word_order::names_a_host(&line, &words) { &["local"] } else { &[] };
    let matches = environment::matches(line.no_binary_name(true), words, except);
    let Arguments { ip, port, here, train, command } =
        Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let word = matches.subcommand_name();
    let cluster = Cluster::meant(here.local, ip.as_deref(), port.as_deref(), word).map_err(usage)?;
    let asked = asked::asked(command, word.unwrap_or_default(), &cluster, train).map_err(usage)?;
    let access = match &asked {
        asked::Asked::Command { access, .. } => access,
        asked::Asked::Train(train) => &train.access,
    };
    access.color.choose();
    // The person hears from the client itself; with --local the servers' log would repeat it.
    let levels = [LevelFilter::Error, LevelFilter::Info, LevelFilter::Debug];
    cli::start_log("client", levels[usize::from(access.verbose).min(levels.len() - 1)]);
    let interrupts = Interrupts::catch()?.into_messages()?;
    let (policy, kernel) = (here.policy, here.kernel);
    match (cluster, asked) {
        (Cluster::Coordinator(target), asked::Asked::Command { command, output, access }) => {
            client::command(&reached(target, access), &command, output, &interrupts)
        }
        (Cluster::Coordinator(target), asked::Asked::Train(train)) => {
            let (options, access) = options(*train, &typed);
            client::train(&reached(target, access), &options, &interrupts)
        }
        (Cluster::Here { nodes }, asked::Asked::Train(train)) => {
            local::train(local::LocalCluster { nodes, policy, kernel }, &options(*train, &typed).0, &interrupts)
        }
        (Cluster::Here { .. }, asked::Asked::Command { .. }) => unreachable!("Cluster::meant refuses a command here"),
    }
}

/// The command line that asks a coordinator, with the help of all there is.
fn online_line() -> Command {
    let words = offline::commands().map(|command| {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        format!("  {:<12} {about}\n", command.get_name())
    });
    let words: String = words.collect();
    // A command has no version of its own.
    let line = Arguments::command().mut_subcommands(|command| command.display_name("gradwire"));
    line.after_help(format!("Offline commands, without <IP> <PORT>:\n{words}\n{}\n\n{AFTER_HELP}", environment::HELP))
}

/// Every word that there is, for a shell to complete.
fn whole_line() -> Command {
    // A word that both have is completed as what a coordinator is asked.
    let line = online_line();
    let is_new = |command: &Command| line.find_subcommand(command.get_name()).is_none();
    let offline: Vec<Command> = offline::commands().filter(is_new).collect();
    line.subcommands(offline)
}

fn reached(target: client::Target, access: arguments::Access) -> Access {
    let arguments::Access { cluster, retry_for, .. } = access;
    Access { target, cluster, retry_for: Duration::from_secs(retry_for.into()) }
}

fn output(output: &arguments::Output) -> Output {
    match (output.quiet, output.json.json) {
        (true, _) => Output::Quiet,
        (_, true) => Output::Json,
        _ => Output::Table,
    }
}

fn shown(shown: &arguments::Shown) -> Shown {
    Shown { profile: shown.profile, confusion: shown.confusion }
}

/// What is asked for by words, which are `typed`.
fn options(train: Train, typed: &[OsString]) -> (Options, arguments::Access) {
    let words = typed.iter().map(|word| word.to_string_lossy().into_owned());
    let command = || std::iter::once("client".to_owned()).chain(words).collect();
    let options = Options {
        data: train.data,
        read: train.reading.options(),
        scale: train.scale.scale,
        recipe: train.recipe.recipe,
        rounds: train.rounds,
        epochs: train.epochs,
        local_steps: train.local_steps,
        round_steps: train.round_steps,
        tasks_per_step: train.tasks_per_step,
        hidden: train.hidden.map(|hidden| hidden.0),
        activation: train.activation,
        optimiser: train.optimiser,
        momentum: train.momentum,
        weight_decay: train.weight_decay,
        loss: train.loss,
        huber_delta: train.huber_delta,
        label_smoothing: train.label_smoothing,
        dropout: train.dropout,
        class_weight: train.class_weight,
        eta: train.eta,
        rate: RateOptions { schedule: train.schedule, decay: train.eta_decay, warmup: train.warmup },
        batch: train.batch,
        shards: train.shards,
        merge: train.merge,
        outer: OuterOptions {
            optimiser: train.outer,
            eta: train.outer_eta,
            momentum: train.outer_momentum,
            weight_decay: train.outer_weight_decay,
            rate: RateOptions {
                schedule: train.outer_schedule,
                decay: train.outer_eta_decay,
                warmup: train.outer_warmup,
            },
            clip: train.outer_clip,
        },
        seed: train.seed.seed(),
        validate_split: train.division.validate_split,
        test: train.division.test,
        patience: train.patience,
        target_accuracy: train.target_accuracy,
        all_rounds: train.no_early_stopping,
        on_task_failure: train.on_task_failure,
        allow_inexact: train.allow_inexact,
        on_no_nodes: train.on_no_nodes,
        start_from: train.start_from,
        out: train.out.out,
        report: train.report.map(|out| ReportOptions { out, environment: environment::set(), command: command() }),
        job: train.job,
        output: output(&train.output),
        shown: shown(&train.shown),
    };
    (options, train.access)
}
