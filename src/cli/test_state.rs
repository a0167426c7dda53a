//! `test-state`: one state by itself, as AWS's `TestState` runs it.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use expressway::api::{self, Call};
use expressway::asl::did_you_mean;
use expressway::service::Service;
use serde_json::{Map, Value as Json, json};

use super::pretty::{self, Style};
use super::{Reading, Stop, Went, definition, files, print, project, say, some_of};

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// File with the definition of a state, or with --state of a whole machine; `-` for standard input
    #[arg(value_name = "DEFINITION")]
    file: PathBuf,
    #[command(flatten)]
    project: project::ProjectArguments,
    /// The state of the machine to test
    #[arg(long, value_name = "NAME")]
    state: Option<String>,
    /// The state's input: a JSON text, or a file that holds one
    #[arg(long, short, value_name = "FILE|JSON", default_value = "{}")]
    input: String,
    /// What the state's work comes to: its result, or {"error": …, "cause": …} with --mock-error
    ///
    /// Of a Task its result, of a Map or Parallel an array of theirs. A JSON text, or a file that holds one.
    #[arg(long, value_name = "FILE|JSON", conflicts_with = "mock_error")]
    mock: Option<String>,
    /// The error that the state's work fails with
    #[arg(long, value_name = "ERROR")]
    mock_error: Option<String>,
    /// The cause of that error
    #[arg(long, value_name = "TEXT", requires = "mock_error")]
    mock_cause: Option<String>,
    /// How the mock is compared with the API it stands for
    #[arg(long, value_enum, ignore_case = true, default_value_t = Validation::Strict)]
    validation: Validation,
    /// How much to print: the outcome (INFO), or the data on its way through the state, too
    #[arg(long, value_enum, ignore_case = true, default_value_t = Level::Info)]
    inspection: Level,
    /// Variables and their values: a JSON object, or a file that holds one
    #[arg(long, value_name = "FILE|JSON")]
    variables: Option<String>,
    /// The context object: a JSON object, or a file that holds one
    #[arg(long, value_name = "FILE|JSON")]
    context: Option<String>,
    /// How often the retrier that matches the error has been used before
    #[arg(long, value_name = "N")]
    retries: Option<u32>,
    /// How many iterations of the Map failed
    #[arg(long, value_name = "N")]
    failures: Option<u32>,
    /// What the Map's ItemReader reads: a file
    #[arg(long, value_name = "FILE")]
    items: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
Prints what AWS's TestState answers: status, output, nextState, error, cause, and inspectionData. A Task needs a mock: \
no handler runs it here.

Examples:
  expressway test-state state.json --input '{\"id\": 7}'
  expressway test-state orders.asl.json --state Charge --mock '{\"paid\": true}'
  expressway test-state orders.asl.json --state Charge --mock-error Busy
  expressway test-state orders.asl.json --state Charge --mock charge.json \\
    --inspection DEBUG

Exit codes: 0 the status is SUCCEEDED; 1 it is another; 2 the state cannot be tested.";

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Level {
    #[value(name = "INFO")]
    Info,
    #[value(name = "DEBUG")]
    Debug,
    #[value(name = "TRACE")]
    Trace,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Validation {
    #[value(name = "STRICT")]
    Strict,
    #[value(name = "PRESENT")]
    Present,
    #[value(name = "NONE")]
    None,
}

pub(super) fn test_state(arguments: &Arguments) -> Result<Went, Stop> {
    let body = request(arguments)?.to_string();
    let failed = |error: &dyn std::fmt::Display| Stop::failed(format!("cannot test the state: {error}"));
    let service =
        Service::builder().engine(|engine| engine.shards(1)).build().map_err(|error| failed(&error))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed(&error))?;
    let call = Call { target: "AWSStepFunctions.TestState", trace_header: None, body: body.as_bytes() };
    let reply = runtime.block_on(api::answer(&service, call));
    let answer: Json = serde_json::from_slice(&reply.body).map_err(|error| failed(&error))?;
    if let Some(exception) = reply.error {
        let message = answer["message"].as_str().unwrap_or_default();
        let advice = ADVICE.iter().find(|(of, _)| message.contains(of)).map(|(_, advice)| *advice);
        let suggestion =
            answer["suggestion"].as_str().or(advice).map_or(String::new(), |it| format!("; {it}"));
        return Err(Stop::failed(format!("{exception}: {message}{suggestion}")));
    }
    match Style::stdout() {
        Style::Lines { colours } => print(&pretty::lines(readable(&answer).to_string().as_bytes(), colours))?,
        Style::Compact => print(format!("{answer:#}\n").as_bytes())?,
    }
    let is_alone =
        answer["cause"].as_str().is_some_and(|cause| cause.starts_with("No handler is registered"));
    if is_alone {
        say(
            "expressway: no handler runs the task here: give its result with --mock JSON, or an error with --mock-error NAME",
        );
    }
    Ok(if answer["status"] == "SUCCEEDED" { Went::Well } else { Went::PartlyWrong })
}

/// What to try after some of AWS's messages.
const ADVICE: [(&str, &str); 4] = [
    ("is not supported when a mock is specified", "its work needs none: leave out --mock and --mock-error"),
    (
        "does not support Context when a mock is not specified",
        "give the result of its work, too: --mock JSON",
    ),
    ("Variables must be a valid JSON object", "such as --variables '{\"total\": 7}'"),
    ("Invalid State Machine Execution Input", "it is what --input gives"),
];

/// An answer for people: the data in it is JSON, not texts of JSON.
fn readable(answer: &Json) -> Json {
    let mut answer = answer.clone();
    let parse = |value: &mut Json| {
        if let Some(data) = value.as_str().and_then(|text| serde_json::from_str(text).ok()) {
            *value = data;
        }
    };
    answer.get_mut("output").into_iter().for_each(parse);
    let inspected = answer.get_mut("inspectionData").and_then(Json::as_object_mut);
    inspected.into_iter().flatten().for_each(|(_, value)| parse(value));
    answer
}

fn request(arguments: &Arguments) -> Result<Json, Stop> {
    let written = definition::one(&arguments.file, &arguments.project, Reading { machine_type: None })?;
    written.tell();
    if written.text.iter().all(u8::is_ascii_whitespace) {
        return Err(Stop::failed(format!(
            "{} is empty: it has neither a state nor a machine",
            written.place
        )));
    }
    let definition = written.json()?;
    check_names(&definition, arguments)?;
    let name =
        |value: &dyn Fn() -> Option<clap::builder::PossibleValue>| value().map(|it| it.get_name().to_owned());
    let mut request = json!({
        "definition": definition,
        "input": text(&arguments.input)?,
        "inspectionLevel": name(&|| arguments.inspection.to_possible_value()),
        // Without a mock, the work of a Task is not done, so the role's permissions do not matter.
        "roleArn": "arn:aws:iam::123456789012:role/expressway",
    });
    let texts = [("variables", &arguments.variables), ("context", &arguments.context)];
    for (name, argument) in texts {
        if let Some(argument) = argument {
            request[name] = text(argument)?.into();
        }
    }
    if let Some(state) = &arguments.state {
        request["stateName"] = state.as_str().into();
    }
    let mut configuration = Map::new();
    if let Some(retries) = arguments.retries {
        configuration.insert("retrierRetryCount".into(), retries.into());
    }
    if let Some(failures) = arguments.failures {
        configuration.insert("mapIterationFailureCount".into(), failures.into());
    }
    if let Some(items) = &arguments.items {
        let items = files::text(items)?;
        configuration.insert("mapItemReaderData".into(), String::from_utf8_lossy(&items).into());
    }
    if !configuration.is_empty() {
        request["stateConfiguration"] = configuration.into();
    }
    let validation = name(&|| arguments.validation.to_possible_value());
    if let Some(result) = &arguments.mock {
        request["mock"] = json!({"result": text(result)?, "fieldValidationMode": validation});
    } else if let Some(error) = &arguments.mock_error {
        request["mock"] = json!({"errorOutput": {"error": error, "cause": arguments.mock_cause}});
    }
    Ok(request)
}

/// Whether the state to test is unambiguous: AWS's messages name neither the mistake nor a remedy.
fn check_names(definition: &str, arguments: &Arguments) -> Result<(), Stop> {
    let Ok(definition) = serde_json::from_str::<Json>(definition) else { return Ok(()) };
    let Some(states) = definition["States"].as_object().filter(|_| definition.get("StartAt").is_some())
    else {
        return match &arguments.state {
            Some(state) if definition.get("Type").is_some() && definition.get("States").is_none() => {
                let file = arguments.file.display();
                Err(Stop::failed(format!("{file} is one state, not a machine: leave --state {state:?} out")))
            }
            _ => Ok(()),
        };
    };
    let mut names: Vec<&str> = Vec::new();
    let mut left: Vec<&Json> = vec![&definition["States"]];
    let start = states.keys().next().map_or("NAME", String::as_str);
    // States of branches and processors can be tested, too.
    while let Some(value) = left.pop() {
        match value {
            Json::Object(members) => {
                names.extend(
                    members.iter().filter(|(_, it)| it.get("Type").is_some()).map(|(name, _)| &**name),
                );
                left.extend(members.values());
            }
            Json::Array(items) => left.extend(items),
            _ => {}
        }
    }
    match &arguments.state {
        None => Err(Stop::failed(format!(
            "{} is a whole machine: say which state to test, as with --state {start:?}",
            arguments.file.display()
        ))),
        Some(name) if !names.contains(&&**name) => {
            let advice =
                did_you_mean(name, names.iter().copied()).unwrap_or_else(|| some_of("states", &names));
            Err(Stop::failed(format!("ValidationException: State not found in definition: {advice}")))
        }
        Some(_) => Ok(()),
    }
}

/// The content of a file of this name, if there is one, else the argument itself.
fn text(argument: &str) -> Result<String, Stop> {
    let looks_like_json = argument.trim_start().starts_with(['{', '[', '"']);
    if looks_like_json || !Path::new(argument).exists() {
        return Ok(argument.to_owned());
    }
    files::text(Path::new(argument)).map(|text| String::from_utf8_lossy(&text).into_owned())
}
