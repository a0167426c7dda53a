//! `run`: a workflow on one input or on a stream of events.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use expressway::asl::MachineType;
use expressway::clock;
use expressway::engine::Identity;
use expressway::limits;
use expressway::program::DataResource;
use expressway::runtime::inline::Driver;
use expressway::runtime::{Clock, RealClock, VirtualClock};

#[cfg(feature = "cli-services")]
use super::functions::{self, Started};
use super::input::Source;
#[cfg(feature = "cli-services")]
use super::services;
use super::tasks::Mocked;
use super::together::{self, Workflow};
use super::trace::{self, Asked, Which};
use super::{OneDefinition, Stop, Went, definition, stream};

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    #[command(flatten)]
    definition: OneDefinition,
    /// The input: a file, `-` for standard input, or a JSON text
    ///
    /// One JSON text, perhaps over several lines, is one execution; otherwise each line is one. Without it, standard
    /// input is read; at a terminal the input is {}.
    #[arg(long, short, value_name = "FILE|-|JSON")]
    input: Option<String>,
    /// Answer tasks from a mock configuration file of Step Functions Local
    #[arg(long, value_name = "FILE")]
    mock: Option<PathBuf>,
    /// Which test case of the mock configuration; may be left out where there is only one
    #[arg(long, value_name = "[MACHINE#]CASE", requires = "mock")]
    test: Option<String>,
    /// Call the services that tasks name: settings come from the environment, such as LAMBDA_ENDPOINT, AWS_ENDPOINT_URL,
    /// AWS_REGION, AWS_PROFILE, AWS_ACCESS_KEY_ID
    #[arg(long, conflicts_with = "virtual_time")]
    services: bool,
    #[cfg(feature = "cli-services")]
    #[command(flatten)]
    settings: services::Settings,
    #[cfg(feature = "cli-services")]
    #[command(flatten)]
    functions: functions::FunctionArguments,
    /// Let distributed Maps read and write files below this folder: `arn:aws:states:::file:read` and `file:write`, with
    /// the parameter Path, which AWS does not know
    #[arg(long, value_name = "DIR")]
    pub(super) files: Option<PathBuf>,
    /// Show executions state by state, on standard error: all, those that failed, that of a line of the input, or those
    /// that enter a state
    #[arg(
        long,
        value_name = "all|failed|LINE|STATE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "all",
        value_parser = trace::which
    )]
    trace: Option<Which>,
    /// Show inputs and outputs of states, too, cut to the width of the terminal
    #[arg(long)]
    trace_data: bool,
    /// Let waiting take no time: Wait states, retries and timeouts pass at once on a clock of their own
    #[arg(long)]
    virtual_time: bool,
    /// The time at which that clock begins, such as 2026-11-30T08:00:00Z; by default the present
    #[arg(long, value_name = "TIME", requires = "virtual_time", value_parser = milliseconds)]
    now: Option<u64>,
    /// Write what failed to this file, one JSON object a line: line, error, cause
    #[arg(long, value_name = "FILE")]
    pub(super) failures: Option<PathBuf>,
    /// How many executions run at the same time: by default 1,000 where they wait or call services, otherwise one for
    /// each processor
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(super) jobs: Option<u16>,
    /// Say nothing but errors: no progress, no summary
    #[arg(long, short)]
    pub(super) quiet: bool,
}

const AFTER_HELP: &str = "\
Outputs of executions that succeed go to standard output, one JSON text a line, in the order of the events. What fails is \
reported on standard error with its line number (the first ones; all are counted), and never stops the stream.

Ctrl-C ends with the outputs and the summary so far; a second one ends at once.

Examples:
  expressway run orders.asl.json --input '{\"id\": 7}'
  expressway run orders.asl.json --input orders.ndjson > orders.out
  expressway run orders.asl.json --input orders.ndjson --trace=failed
  expressway run orders.asl.json --services < orders.ndjson
  expressway run orders.asl.json --lambda-dir functions/ < orders.ndjson

Exit codes: 0 all succeeded; 1 some failed or were not JSON; 2 the command cannot be carried out, or the line of --trace \
is beyond the input; 130 interrupted.";

pub(super) fn run(arguments: &Arguments) -> Result<Went, Stop> {
    let file = &arguments.definition.file;
    let read = definition::load(&arguments.definition)?;
    if file.as_os_str() == "-" && matches!(arguments.input.as_deref(), None | Some("-")) {
        return Err(Stop::failed(
            "the definition and the input cannot both come from standard input: use --input",
        ));
    }
    let asked = (arguments.trace.clone().or(arguments.trace_data.then_some(Which::All)))
        .map(|which| Asked::new(which, arguments.trace_data));
    if let Some(asked) = &asked {
        asked.check(&read.program)?;
    }
    if let Some(DataResource { state, field, resource }) = definition::in_s3(&read.program)
        && !arguments.services
    {
        return Err(Stop::failed(format!(
            "the {field} of the state '{state}': {resource} is called with --services only; a file is: \
             arn:aws:states:::file:read and file:write"
        )));
    }
    // Even if this workflow has no use for it.
    arguments.files.as_deref().map(definition::files).transpose()?;
    let source = Source::named(arguments.input.as_deref())?;
    let is_standard = read.machine_type == MachineType::Standard;
    let identity = identity(read.machine.as_deref(), file, is_standard);
    let mocked = match &arguments.mock {
        Some(file) => Mocked::read(file, arguments.test.as_deref(), &identity.state_machine_name)?,
        None => Mocked::default(),
    };
    let functions = start_functions(arguments)?;
    let mocked = with_services(mocked, functions.as_ref(), arguments)?;
    let mocked = mocked.of(&read.program);
    let virtual_time = arguments.virtual_time;
    if virtual_time && read.program.maps.iter().any(|(_, map)| map.distributed.is_some()) {
        return Err(Stop::failed(
            "--virtual-time does not go with a distributed Map, whose children run on an engine",
        ));
    }
    if !virtual_time && mocked.waits(&read.program) {
        let workflow = Workflow {
            name: &identity.state_machine_name,
            definition: &read.json,
            machine_type: read.machine_type,
            mocked,
            asked: asked.clone(),
        };
        return met(together::run(workflow, source, arguments), asked.as_ref());
    }
    let (program, now_ms) = (Arc::new(read.program), arguments.now);
    let driver = move || {
        let virtual_clock = || now_ms.map_or_else(virtual_clock, VirtualClock::at);
        let clock = if virtual_time { AnyClock::Virtual(virtual_clock()) } else { AnyClock::Real(RealClock) };
        let mut driver = Driver::with_tasks(Arc::clone(&program), clock, Box::new(mocked.answers()));
        driver.identify(identity.clone());
        if is_standard {
            driver.limit(limits::STANDARD_SECONDS_MAX, limits::EXECUTION_BYTES_MAX);
        }
        driver
    };
    met(stream::run(driver, source, asked.clone(), arguments), asked.as_ref())
}

/// Reports that the input has no event at the line that `--trace` names.
fn met(went: Result<Went, Stop>, asked: Option<&Asked>) -> Result<Went, Stop> {
    match (went?, asked.and_then(Asked::unmet)) {
        (Went::Interrupted, _) => Ok(Went::Interrupted),
        (_, Some(unmet)) => Err(Stop::failed(unmet)),
        (went, None) => Ok(went),
    }
}

/// Services, or local functions, are called for tasks without a mock, if requested.
#[cfg(feature = "cli-services")]
fn with_services(mocked: Mocked, started: Option<&Started>, arguments: &Arguments) -> Result<Mocked, Stop> {
    let functions = started.map(|started| &started.0);
    if arguments.virtual_time && functions.is_some() {
        return Err(Stop::failed(
            "--virtual-time does not go with --lambda and --lambda-dir: functions take real time",
        ));
    }
    if arguments.services {
        return Ok(mocked.or_services(arguments.settings.integrations(functions)?));
    }
    Ok(match functions {
        Some(functions) => mocked.or_functions(functions.clone()),
        None => mocked,
    })
}

#[cfg(not(feature = "cli-services"))]
fn with_services(mocked: Mocked, _: Option<&Started>, arguments: &Arguments) -> Result<Mocked, Stop> {
    if arguments.services {
        return Err(Stop::failed(super::missing::left_out("`--services`", "cli-services")));
    }
    Ok(mocked)
}

/// Starts the configured functions.
#[cfg(feature = "cli-services")]
fn start_functions(arguments: &Arguments) -> Result<Option<Started>, Stop> {
    let log = |function: &str, line: &str| super::say(&format!("{function}: {line}"));
    arguments.functions.start(None, Some(log))
}

#[cfg(not(feature = "cli-services"))]
fn start_functions(_: &Arguments) -> Result<Option<Started>, Stop> {
    Ok(None)
}

/// No functions in this build.
#[cfg(not(feature = "cli-services"))]
enum Started {}

/// The machine is named as in its project, or after the definition's file.
pub(super) fn identity(machine: Option<&str>, file: &Path, is_standard: bool) -> Identity {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name = name.split('.').find(|part| !part.is_empty() && *part != "-").unwrap_or("workflow");
    let name = machine.unwrap_or(name);
    Identity {
        state_machine_arn: format!("arn:aws:states:us-east-1:123456789012:stateMachine:{name}").into(),
        state_machine_name: name.into(),
        role_arn: "arn:aws:iam::123456789012:role/expressway".into(),
        is_standard,
        ..Identity::default()
    }
}

/// The clock of an execution.
pub(super) enum AnyClock {
    Real(RealClock),
    Virtual(VirtualClock),
}

impl Clock for AnyClock {
    #[inline]
    fn now_ms(&mut self) -> u64 {
        match self {
            AnyClock::Real(clock) => clock.now_ms(),
            AnyClock::Virtual(clock) => clock.now_ms(),
        }
    }

    #[inline]
    fn steady_ms(&mut self) -> u64 {
        match self {
            AnyClock::Real(clock) => clock.steady_ms(),
            AnyClock::Virtual(clock) => clock.steady_ms(),
        }
    }

    fn wait_until(&mut self, at_ms: u64) {
        match self {
            AnyClock::Real(clock) => clock.wait_until(at_ms),
            AnyClock::Virtual(clock) => clock.wait_until(at_ms),
        }
    }
}

/// A time in milliseconds since 1970.
fn milliseconds(text: &str) -> Result<u64, String> {
    let nanoseconds = clock::parse_timestamp(text);
    let milliseconds = nanoseconds.and_then(|it| u64::try_from(it / 1_000_000).ok());
    milliseconds.ok_or_else(|| "it is no time since 1970 in the form 2026-11-30T08:00:00Z".to_owned())
}

pub(super) fn virtual_clock() -> VirtualClock {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    VirtualClock::at(u64::try_from(since.as_millis()).unwrap_or(0))
}
