//! The command line, and its exit codes.
//!
//! Standard output has results only; messages for people go to standard error.

mod advice;
#[cfg(feature = "cli-cluster")]
mod cluster;
mod definition;
#[cfg(feature = "cli-serve")]
mod environment;
#[cfg(feature = "cli-serve")]
mod executions;
mod features;
mod files;
#[cfg(feature = "cli-services")]
mod functions;
mod graph;
#[cfg(feature = "cli-services")]
mod hosts;
mod in_line;
mod input;
mod interrupt;
#[cfg(feature = "cli-journal")]
mod journal;
mod latency;
#[cfg(any(feature = "cli-pipe", feature = "cli-serve"))]
mod log;
mod manual;
mod missing;
#[cfg(feature = "cli-pipe")]
mod pipe;
mod placeholders;
mod pretty;
mod progress;
mod project;
mod reading;
mod report;
mod run;
#[cfg(feature = "cli-serve")]
mod serve;
#[cfg(feature = "cli-services")]
mod services;
#[cfg(feature = "cli-serve")]
mod signals;
#[cfg(feature = "cli-soak")]
mod soak;
#[cfg(feature = "cli-serve")]
mod status_events;
mod stop;
mod stream;
mod streams;
#[cfg(feature = "cli-studio")]
mod studio;
mod tasks;
mod test_state;
mod together;
#[cfg(feature = "cli-top")]
mod top;
mod trace;
mod worker;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::LazyLock;

use clap::{Parser, Subcommand, ValueEnum};

use definition::OneDefinition;
use reading::Reading;
use report::NotRunHere;
use stop::{Stop, Went};
use streams::{Level, print, say, say_at, some_of};

/// Runs AWS Step Functions workflows.
#[derive(Debug, Parser)]
#[command(version, about, after_help = AFTER_HELP.as_str(), max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// The text below the list of subcommands.
static AFTER_HELP: LazyLock<String> = LazyLock::new(|| format!("{}{EXAMPLES}", missing::list()));

const EXAMPLES: &str = "\
Examples:
  expressway validate orders.asl.json
  expressway graph orders.asl.json -o orders.svg
  expressway test-state orders.asl.json --state Charge --mock '{\"paid\": true}'
  expressway run orders.asl.json --input '{\"id\": 7}'
  expressway serve --definitions workflows/

Each subcommand has more: expressway help run

Exit codes: 0 all that was asked for succeeded; 1 some executions failed, some events were not JSON, or a definition has \
errors (validate); 2 the command cannot be carried out: wrong usage, an unreadable file, a definition that does not compile.";

const VALIDATE_HELP: &str = "\
Examples:
  expressway validate orders.asl.json bills.asl.yaml
  expressway validate . --substitute stage=prod
  expressway validate --format json orders.asl.json

Exit codes: 0 all are valid on AWS, with --here: and run here; 1 some are not; 2 a file cannot be read.";

const DUMP_HELP: &str = "\
Examples:
  expressway dump orders.asl.json
  expressway dump template.yaml --machine Orders";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a workflow: once for one JSON input, or once for each line of NDJSON events
    Run(run::Arguments),
    /// Run a pipeline: events of a source, a workflow, outputs to a sink
    #[cfg(feature = "cli-pipe")]
    Pipe(pipe::Arguments),
    /// Send dead letters of a pipeline again
    #[cfg(feature = "cli-pipe")]
    Redrive(pipe::RedriveArguments),
    /// Find all problems of definitions
    #[command(after_help = VALIDATE_HELP)]
    Validate(ValidateArguments),
    /// Print the tables that a definition compiles to
    #[command(after_help = DUMP_HELP)]
    Dump(OneDefinition),
    /// Draw a definition
    Graph(graph::Arguments),
    /// Keep the engine under steady load for some minutes: is anything lost, does memory grow, does it get slower?
    #[cfg(feature = "cli-soak")]
    Soak(soak::Arguments),
    /// Look at the STANDARD executions of a state folder
    #[cfg(feature = "cli-serve")]
    Executions(executions::Arguments),
    /// Look at a journal (is it whole, what is in it?), or copy it
    #[cfg(feature = "cli-journal")]
    Journal(journal::Arguments),
    /// Look at a cluster
    #[cfg(feature = "cli-cluster")]
    Cluster(cluster::Arguments),
    /// Test one state by itself, as AWS's TestState does
    TestState(test_state::Arguments),
    /// Answer the AWS Step Functions API on a port
    #[cfg(feature = "cli-serve")]
    Serve(Box<serve::Arguments>),
    /// Draw, run and edit definitions of this machine in the browser
    #[cfg(feature = "cli-studio")]
    Studio(studio::Arguments),
    /// Watch a running server: machines, rates, percentiles, failures, slowest states
    #[cfg(feature = "cli-top")]
    Top(top::Arguments),
    /// Print what makes SDKs and the AWS CLI use a server on this machine
    #[cfg(feature = "cli-serve")]
    Env(environment::EnvironmentArguments),
    /// Give the name sync-localhost an address, so that SDKs need not be told to leave the endpoint's name alone
    #[cfg(feature = "cli-serve")]
    Hosts(environment::HostsArguments),
    /// Print a script that completes commands and options in a shell
    Completions(manual::CompletionsArguments),
    /// Print the manual page, or write the pages of all subcommands to a folder
    Man(manual::ManArguments),
}

#[derive(Debug, clap::Args)]
struct ValidateArguments {
    /// Files with definitions in Amazon States Language, or `-` for standard input; or projects: templates of
    /// CloudFormation or SAM, serverless.yml, cdk.out, or folders with one of these or with Terraform
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    reading: Reading,
    #[command(flatten)]
    project: project::ProjectArguments,
    /// How to print what is found
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Take what is valid on AWS and does not run here for an error, too
    #[arg(long)]
    here: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// For people: the source with the place marked
    Text,
    /// For machines: one JSON object for each file, one a line
    Json,
}

/// Runs the command line.
pub(crate) fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        // Help and version are errors for clap; printing can only fail when the output is closed.
        Err(error) => {
            if let Some(text) = missing::explain(&error, command()) {
                say(&format!("expressway: {text}"));
                return ExitCode::from(2);
            }
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let went = match arguments.command {
        Command::Run(arguments) => run::run(&arguments),
        #[cfg(feature = "cli-pipe")]
        Command::Pipe(arguments) => pipe::pipe(&arguments),
        #[cfg(feature = "cli-pipe")]
        Command::Redrive(arguments) => pipe::redrive(&arguments),
        Command::Validate(arguments) => validate(&arguments),
        Command::Dump(arguments) => dump(&arguments),
        Command::Graph(arguments) => graph::draw(&arguments),
        #[cfg(feature = "cli-soak")]
        Command::Soak(arguments) => soak::soak(&arguments),
        #[cfg(feature = "cli-serve")]
        Command::Executions(arguments) => executions::executions(&arguments),
        #[cfg(feature = "cli-journal")]
        Command::Journal(arguments) => journal::journal(&arguments),
        #[cfg(feature = "cli-cluster")]
        Command::Cluster(arguments) => cluster::cluster(&arguments),
        Command::TestState(arguments) => test_state::test_state(&arguments),
        #[cfg(feature = "cli-serve")]
        Command::Serve(arguments) => serve::serve(*arguments),
        #[cfg(feature = "cli-studio")]
        Command::Studio(arguments) => studio::studio(&arguments),
        #[cfg(feature = "cli-top")]
        Command::Top(arguments) => top::run(&arguments),
        #[cfg(feature = "cli-serve")]
        Command::Env(arguments) => environment::environment(&arguments),
        #[cfg(feature = "cli-serve")]
        Command::Hosts(arguments) => environment::hosts(&arguments),
        Command::Completions(arguments) => manual::completions(&arguments, command()),
        Command::Man(arguments) => manual::manual(&arguments, command()),
    };
    #[cfg(any(feature = "cli-pipe", feature = "cli-serve"))]
    log::flush();
    match went {
        Ok(Went::Well) | Err(Stop::NobodyReads) => ExitCode::SUCCESS,
        Ok(Went::PartlyWrong) => ExitCode::from(1),
        Ok(Went::Interrupted) => ExitCode::from(interrupt::EXIT_CODE),
        Err(Stop::AlreadySaid) => ExitCode::from(2),
        Err(stop @ (Stop::Failed(_) | Stop::At(_))) => {
            say_at(Level::Error, &format!("expressway: {stop}"));
            #[cfg(any(feature = "cli-pipe", feature = "cli-serve"))]
            log::flush();
            ExitCode::from(2)
        }
    }
}

/// What the command line asks for.
fn arguments() -> Result<Arguments, clap::Error> {
    let mut command = command();
    #[cfg(feature = "cli-cluster")]
    if std::env::var_os(cluster::VARIABLE).is_some_and(|url| url.is_empty()) {
        // clap takes an empty variable for a value.
        command = cluster::without_variable(command);
    }
    let mut matches = command.try_get_matches_from_mut(std::env::args_os())?;
    <Arguments as clap::FromArgMatches>::from_arg_matches_mut(&mut matches)
        .map_err(|error| error.format(&mut command))
}

/// The whole command line, for generated documents.
fn command() -> clap::Command {
    numbers(<Arguments as clap::CommandFactory>::command())
}

/// Lets a value of an option be a negative number, which its range refuses in plain words.
fn numbers(command: clap::Command) -> clap::Command {
    let takes = |argument: clap::Arg| match argument.get_action() {
        clap::ArgAction::Set if !argument.is_positional() => argument.allow_negative_numbers(true),
        _ => argument,
    };
    command.mut_args(takes).mut_subcommands(numbers)
}

fn validate(arguments: &ValidateArguments) -> Result<Went, Stop> {
    let mut went = Went::Well;
    let mut unreadable = false;
    let not_run = if arguments.here { NotRunHere::Error } else { NotRunHere::Notice };
    // Whatever the environment says of them: only which services there are counts.
    #[cfg(feature = "cli-services")]
    let integrations = expressway::task::aws::Integrations::new();
    #[cfg(feature = "cli-services")]
    let refuses: definition::Refuses<'_> = &|task| services::refuses(&integrations, task);
    #[cfg(not(feature = "cli-services"))]
    let refuses = definition::ANY_TASK;
    for file in &arguments.files {
        let (definitions, unread) = match definition::all(file, &arguments.project, arguments.reading) {
            Ok(read) => read,
            Err(stop) => {
                say(&format!("expressway: {stop}"));
                if let Format::Json = arguments.format {
                    print(report::unread_json(file, arguments.project.machine.as_deref(), &stop).as_bytes())?;
                }
                unreadable = true;
                continue;
            }
        };
        for mut written in definitions {
            written.find_placeholders();
            written.tell();
            written.tell_mark();
            let found = written.check(refuses);
            if !found.passes(not_run) {
                went = Went::PartlyWrong;
            }
            match arguments.format {
                Format::Text => {
                    let look = report::Look::stdout();
                    print(report::text(&found, &written.text, look, not_run).as_bytes())?;
                }
                Format::Json => print(report::json(&found, &written, not_run).as_bytes())?,
            }
        }
        for part in &unread {
            say(&format!("expressway: {part}"));
            if let Format::Json = arguments.format {
                print(report::unread_json(file, part.machine(), part.stop()).as_bytes())?;
            }
        }
        unreadable |= !unread.is_empty();
    }
    if unreadable { Err(Stop::AlreadySaid) } else { Ok(went) }
}

fn dump(arguments: &OneDefinition) -> Result<Went, Stop> {
    let read = definition::load(arguments)?;
    print(read.program.dump().as_bytes())?;
    Ok(Went::Well)
}
