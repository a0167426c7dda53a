//! `run`: a workflow on one input or on a stream of events.

mod arguments;

use std::sync::Arc;

use expressway::asl::MachineType;
use expressway::limits;
use expressway::program::DataResource;
use expressway::runtime::inline::Driver;
use expressway::runtime::{RealClock, VirtualClock};

#[cfg(feature = "cli-services")]
use super::functions::Started;
use super::in_line::{AnyClock, identity, virtual_clock};
use super::input::Source;
use super::tasks::Mocked;
use super::together::{self, Workflow};
use super::trace::{Asked, Which};
use super::{Stop, Went, definition, files, stream};
pub(super) use arguments::Arguments;

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
    arguments.files.as_deref().map(files::below).transpose()?;
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
        return Err(Stop::failed(super::features::left_out("`--services`", "cli-services")));
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
