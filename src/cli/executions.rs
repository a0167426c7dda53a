//! `executions`: STANDARD executions of a state folder, and the state of one of them after any of its events.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use expressway::observe::history::{Detail, Event};
use expressway::runtime::Status;
use expressway::service::{RecordedExecution, recorded_executions};
use serde_json::{Map, Value as Json, json};

use super::{Stop, Went, print};

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Print the executions, the newest first, one JSON object a line
    #[command(after_help = LIST_HELP)]
    List {
        /// The folder given to `serve --state`
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
        /// Those with this status only
        #[arg(long, value_name = "STATUS", ignore_case = true, value_parser = ["RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"])]
        status: Option<String>,
    },
    /// Print one execution as a JSON object: what it was given, its events, and the states it is in
    #[command(after_help = SHOW_HELP)]
    Show {
        /// The folder given to `serve --state`
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
        /// The execution's ARN, or its name if no other has that
        #[arg(value_name = "ARN")]
        arn: String,
        /// As it was after the event with this number
        #[arg(long, value_name = "EVENT")]
        at: Option<u64>,
    },
}

const LIST_HELP: &str = "\
Examples:
  expressway executions list data/
  expressway executions list data/ --status FAILED";

const SHOW_HELP: &str = "\
Examples:
  expressway executions show data/ order-7
  expressway executions show data/ order-7 --at 12";

const AFTER_HELP: &str = "\
Nothing is written, and no lock is taken: of a folder that is in use, the last of what happened may be missing.

Examples:
  expressway executions list data/
  expressway executions list data/ --status FAILED
  expressway executions show data/ order-7
  expressway executions show data/ order-7 --at 12";

pub(super) fn executions(arguments: &Arguments) -> Result<Went, Stop> {
    let (What::List { folder, .. } | What::Show { folder, .. }) = &arguments.what;
    let recorded = recorded_executions(folder).map_err(|error| match kept(folder) {
        Some(why) => Stop::failed(why),
        None => Stop::failed(error.to_string()),
    })?;
    match &arguments.what {
        What::List { status, .. } => {
            let mut lines = String::new();
            for execution in recorded.iter().rev() {
                let summary = summary(execution);
                let is_meant = |status: &String| summary["status"] == *status.to_ascii_uppercase();
                if status.as_ref().is_none_or(is_meant) {
                    lines.extend([summary.to_string(), "\n".to_owned()]);
                }
            }
            print(lines.as_bytes())?;
        }
        What::Show { arn, at, .. } => {
            print(format!("{:#}\n", shown(find(&recorded, arn)?, *at)?).as_bytes())?
        }
    }
    Ok(Went::Well)
}

/// Why nothing can be kept in a folder.
fn kept(folder: &Path) -> Option<String> {
    let shown = folder.display();
    if !folder.exists() {
        return Some(format!("there is no folder {shown}: name that of `serve --state FOLDER`"));
    }
    let has_none = !folder.join("journal").is_dir();
    has_none.then(|| format!("{shown} has no executions: it is not the folder of a `serve --state FOLDER`"))
}

fn find<'r>(recorded: &'r [RecordedExecution], wanted: &str) -> Result<&'r RecordedExecution, Stop> {
    let named: Vec<&RecordedExecution> =
        recorded.iter().filter(|it| it.arn == wanted || it.name == wanted).collect();
    match named.as_slice() {
        [one] => Ok(one),
        [] => Err(Stop::failed(format!("there is no execution '{wanted}'; `executions list` has all"))),
        several => {
            let arns: Vec<&str> = several.iter().map(|it| &*it.arn).collect();
            Err(Stop::failed(format!("'{wanted}' is the name of several: {}", arns.join(", "))))
        }
    }
}

fn summary(execution: &RecordedExecution) -> Json {
    let outcome = execution.outcome.as_ref();
    let status = match outcome.map_or(Status::Running, |outcome| outcome.status) {
        Status::Running => "RUNNING",
        Status::Succeeded => "SUCCEEDED",
        Status::Failed => "FAILED",
        Status::TimedOut => "TIMED_OUT",
        Status::Aborted => "ABORTED",
    };
    json!({
        "executionArn": execution.arn,
        "stateMachineArn": execution.machine_arn,
        "name": execution.name,
        "status": status,
        "startMs": execution.started_ms,
        "stopMs": outcome.map(|outcome| outcome.stopped_ms),
        "redriveCount": execution.redrive_count,
        "events": execution.events.last().map_or(0, |event| event.id),
    })
}

fn shown(execution: &RecordedExecution, at: Option<u64>) -> Result<Json, Stop> {
    let last = execution.events.last().map_or(0, |event| event.id);
    let at = at.unwrap_or(last);
    if at > last {
        return Err(Stop::failed(format!("the execution has {last} events so far, not {at}")));
    }
    let events: Vec<&Event> = execution.events.iter().filter(|event| event.id <= at).collect();
    let mut shown = summary(execution);
    shown["input"] = parsed(&execution.input);
    shown["at"] = at.into();
    shown["states"] = states(&events);
    shown["history"] = events.iter().map(|event| told(event)).collect();
    if at == last
        && let Some(outcome) = &execution.outcome
    {
        shown["output"] = serde_json::from_slice(outcome.json()).unwrap_or(Json::Null);
        let fault = outcome.fault.as_ref();
        shown["error"] = fault.and_then(|fault| fault.error.as_deref()).into();
        shown["cause"] = fault.and_then(|fault| fault.cause.as_deref()).into();
    }
    Ok(shown)
}

/// States that were entered and not left, with their inputs.
fn states(events: &[&Event]) -> Json {
    let mut open: BTreeMap<u64, &Event> = BTreeMap::new();
    for &event in events {
        let name = event.event_type.name();
        if name.ends_with("StateEntered") {
            open.insert(event.id, event);
        } else if name.ends_with("StateExited")
            && let Some(entry) = entry(events, event, &open)
        {
            open.remove(&entry);
        }
    }
    let state = |(id, event): (&u64, &&Event)| {
        json!({
            "name": state_name(event),
            "enteredEvent": id,
            "enteredMs": event.time_ms,
            "input": event.detail("input").and_then(Detail::as_str).map(parsed),
        })
    };
    open.iter().map(state).collect()
}

fn state_name(event: &Event) -> Option<&str> {
    event.detail("name").and_then(Detail::as_str)
}

/// The entry of the state whose exit an event is: it is found through previous events, so it is the same iteration's.
fn entry(events: &[&Event], exit: &Event, open: &BTreeMap<u64, &Event>) -> Option<u64> {
    let named = state_name(exit);
    let is_entry = |id: &u64| open.get(id).is_some_and(|entered| state_name(entered) == named);
    let mut at = exit.previous;
    while !is_entry(&at) {
        let Ok(place) = events.binary_search_by_key(&at, |event| event.id) else {
            // Events in between were dropped.
            return open.keys().rev().copied().find(is_entry);
        };
        at = events[place].previous;
    }
    Some(at)
}

fn told(event: &Event) -> Json {
    let details: Map<String, Json> =
        event.details.iter().map(|(name, detail)| ((*name).to_owned(), value(detail))).collect();
    json!({"id": event.id, "previous": event.previous, "ms": event.time_ms, "type": event.event_type.name(),
        "details": details})
}

fn value(detail: &Detail) -> Json {
    match detail {
        Detail::Text(text) => (&**text).into(),
        Detail::Json(text) => parsed(text),
        Detail::Number(number) => (*number).into(),
        Detail::Members(members) => {
            Json::Object(members.iter().map(|(name, detail)| (name.to_string(), value(detail))).collect())
        }
    }
}

fn parsed(text: &str) -> Json {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}
