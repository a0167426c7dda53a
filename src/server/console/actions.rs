//! The page's actions. Each reads members of a JSON object and answers with one.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value as Json, json};

use super::files::Files;
use super::refusal;
use crate::api::{self, Reply};
use crate::asl::MachineType;
use crate::draft::{self, Ask, Draft, Edit};
use crate::observe::Event;
use crate::runtime::Status;
use crate::service::{Error, ListExecutions, Page, Service, StateMachineItem};

/// Real time a run of a draft may take.
const RUN_WITHIN: Duration = Duration::from_millis(1_500);
/// Events a run of a draft may have.
const RUN_EVENTS_MAX: usize = 20_000;
/// Bytes of payloads that are told of a run.
const RUN_BYTES_MAX: usize = 6 << 20;
/// Executions that are looked through for one list.
const LOOKED_MAX: usize = 20_000;
/// Executions that are listed.
const LISTED_MAX: usize = 500;
/// Events of an execution that are told.
const EVENTS_MAX: usize = 25_000;
const PAGE_MAX: u32 = 1_000;

enum Wrong {
    Refused(&'static str, String),
    Service(Error),
}

impl From<Error> for Wrong {
    fn from(error: Error) -> Wrong {
        Wrong::Service(error)
    }
}

type Answer = Result<Json, Wrong>;

struct Members(Map<String, Json>);

impl Members {
    fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Json::as_str).unwrap_or_default()
    }

    fn draft(&self) -> Draft<'_> {
        let machine_type = match self.text("type") {
            "STANDARD" => MachineType::Standard,
            _ => MachineType::Express,
        };
        Draft { text: self.text("text"), yaml: self.text("format") == "yaml", machine_type }
    }
}

/// Answers an action.
pub(super) fn answer(
    service: &Service,
    files: Option<&Files>,
    key: &str,
    action: &str,
    body: &[u8],
) -> Reply {
    let members = match serde_json::from_slice(body) {
        Ok(Json::Object(members)) => Members(members),
        _ => return refusal("SerializationException", "The body must be a JSON object"),
    };
    let answer = match action {
        "About" => Ok(about(files)),
        "Inspect" => Ok(draft::inspect(members.draft())),
        "Edit" => edit(&members),
        "Run" => Ok(run(&members)),
        "Overview" => overview(service),
        "FindExecutions" => find(service, &members),
        "GetExecution" => execution(service, &members),
        "GetMachine" => machine(service, &members),
        "ListFiles" | "ReadFile" | "WriteFile" => file(files, key, action, &members),
        _ => Err(Wrong::Refused("UnknownOperationException", format!("Unknown action {action}"))),
    };
    match answer {
        Ok(answer) => {
            Reply { status: 200, body: answer.to_string().into_bytes(), error: None, retry_after_ms: None }
        }
        Err(Wrong::Refused(error, message)) => refusal(error, &message),
        Err(Wrong::Service(error)) => api::refusal(&error),
    }
}

fn about(files: Option<&Files>) -> Json {
    json!({"version": env!("CARGO_PKG_VERSION"), "files": files.is_some()})
}

fn edit(members: &Members) -> Answer {
    let wrong = |why: String| Wrong::Refused("ValidationException", why);
    let edit: Edit = serde_json::from_value(members.0.get("edit").cloned().unwrap_or_default())
        .map_err(|error| wrong(format!("`edit` is not a valid edit: {error}")))?;
    let patches = draft::edit(members.draft(), &edit).map_err(wrong)?;
    Ok(json!({"patches": patches}))
}

fn run(members: &Members) -> Json {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now_ms = members.0.get("now").and_then(Json::as_u64);
    draft::run(
        members.draft(),
        &Ask {
            input: members.text("input"),
            mocks: members.text("mocks"),
            now_ms: now_ms.unwrap_or_else(|| u64::try_from(since.as_millis()).unwrap_or(0)),
            seed: members.0.get("seed").and_then(Json::as_u64).unwrap_or(0),
            within: RUN_WITHIN,
            events_max: RUN_EVENTS_MAX,
            bytes_max: RUN_BYTES_MAX,
        },
    )
}

/// All machines, page by page.
fn machines(service: &Service) -> Result<Vec<StateMachineItem>, Error> {
    let mut all = Vec::new();
    let mut page = Page { results_max: Some(PAGE_MAX), token: None };
    loop {
        let part = service.list_state_machines(&page)?;
        all.extend(part.items);
        match part.next_token {
            Some(token) if all.len() < LOOKED_MAX => page.token = Some(token),
            _ => return Ok(all),
        }
    }
}

fn overview(service: &Service) -> Answer {
    let machines: Vec<Json> = machines(service)?
        .into_iter()
        .map(|item| {
            // Express executions are listed only where the server keeps them.
            let one = ListExecutions {
                machine_arn: Some(item.arn.clone()),
                page: Page { results_max: Some(1), token: None },
                ..ListExecutions::default()
            };
            let listed = service.list_executions(&one);
            json!({
                "arn": item.arn, "name": item.name, "type": api::type_name(item.machine_type), "created": item.created_ms,
                "listed": listed.is_ok(),
                "last": listed.ok().and_then(|part| part.items.first().map(|it| it.started_ms)),
            })
        })
        .collect();
    Ok(json!({"machines": machines}))
}

/// Executions of one machine or all, the newest first.
fn find(service: &Service, members: &Members) -> Answer {
    let wanted = members.text("machineArn");
    let arns: Vec<String> = match wanted {
        "" => machines(service)?.into_iter().map(|item| item.arn).collect(),
        arn => vec![arn.to_owned()],
    };
    let status = [Status::Running, Status::Succeeded, Status::Failed, Status::TimedOut, Status::Aborted]
        .into_iter()
        .find(|&status| api::status_name(status) == members.text("status"));
    let name = members.text("name").to_lowercase();
    let (mut found, mut looked, mut unlisted, mut is_cut) = (Vec::new(), 0, 0, false);
    for arn in arns {
        let mut request = ListExecutions {
            machine_arn: Some(arn),
            status: status.map(Some),
            page: Page { results_max: Some(PAGE_MAX), token: None },
            ..ListExecutions::default()
        };
        let mut of_machine = 0;
        loop {
            let part = match service.list_executions(&request) {
                Ok(part) => part,
                Err(error) if !wanted.is_empty() => return Err(error.into()),
                Err(_) => {
                    unlisted += 1;
                    break;
                }
            };
            looked += part.items.len();
            for item in part.items {
                if name.is_empty() || item.name.to_lowercase().contains(&name) {
                    of_machine += 1;
                    found.push(item);
                }
            }
            request.page.token = part.next_token;
            // Those of a machine come with the newest first: more of it than are shown need not be known.
            let is_enough = of_machine >= LISTED_MAX || looked >= LOOKED_MAX;
            is_cut |= is_enough && request.page.token.is_some();
            if is_enough || request.page.token.is_none() {
                break;
            }
        }
    }
    found.sort_by_key(|item| std::cmp::Reverse(item.started_ms));
    is_cut |= found.len() > LISTED_MAX;
    found.truncate(LISTED_MAX);
    let executions: Vec<Json> = found
        .iter()
        .map(|item| {
            let mut told = json!({
                "arn": item.arn, "machineArn": item.machine_arn, "name": item.name,
                "status": api::status_name(item.status), "started": item.started_ms, "stopped": item.stopped_ms,
            });
            let may_tell = !matches!(item.status, Status::Running | Status::Succeeded);
            if may_tell && let Ok(described) = service.describe_execution(&item.arn) {
                let outcome = described.outcome.as_deref();
                told["error"] =
                    json!(outcome.and_then(|it| it.fault.as_ref()).and_then(|it| it.error.as_deref()));
            }
            told
        })
        .collect();
    Ok(json!({"executions": executions, "more": is_cut, "unlisted": unlisted}))
}

/// An execution: what it came to, its trace, and the picture of its definition.
fn execution(service: &Service, members: &Members) -> Answer {
    let arn = members.text("executionArn");
    let described = service.describe_execution(arn)?;
    let mut events: Vec<Event> = Vec::new();
    let mut page = Page { results_max: Some(PAGE_MAX), token: None };
    let is_cut = loop {
        let (part, _) = service.get_execution_history(arn, false, &page)?;
        events.extend(part.items);
        match part.next_token {
            None => break false,
            Some(_) if events.len() >= EVENTS_MAX => break true,
            Some(token) => page.token = Some(token),
        }
    };
    let outcome = described.outcome.as_deref();
    let status = outcome.map_or(Status::Running, |outcome| outcome.status);
    let fault = outcome.and_then(|outcome| outcome.fault.as_ref());
    let output = outcome.filter(|outcome| outcome.status == Status::Succeeded);
    let mut told = json!({
        "arn": described.arn, "machineArn": described.machine_arn, "name": described.name,
        "status": api::status_name(status), "started": described.started_ms,
        "stopped": outcome.map(|outcome| outcome.stopped_ms), "input": described.input,
        "output": output.map(|outcome| String::from_utf8_lossy(outcome.json())),
        "error": fault.and_then(|fault| fault.error.as_deref()),
        "cause": fault.and_then(|fault| fault.cause.as_deref()),
        "lost": events.first().map_or(0, |first| first.id - 1), "cut": is_cut,
        "trace": draft::trace(&events),
    });
    // The events may be known to the page already, and the picture is.
    if members.0.get("picture").and_then(Json::as_bool) == Some(true) {
        let machine = service.describe_state_machine_for_execution(arn)?;
        told["picture"] = draft::picture_of(&machine.definition, MachineType::Standard);
    }
    Ok(told)
}

/// A machine: its definition and the picture of it.
fn machine(service: &Service, members: &Members) -> Answer {
    let machine = service.describe_state_machine(members.text("machineArn"))?;
    Ok(json!({
        "name": machine.name, "type": api::type_name(machine.machine_type), "definition": machine.definition,
        "picture": draft::picture_of(&machine.definition, MachineType::Standard),
    }))
}

fn file(files: Option<&Files>, key: &str, action: &str, members: &Members) -> Answer {
    let Some(files) = files else {
        let why = "This server opened no files: `expressway studio FILE` does".to_owned();
        return Err(Wrong::Refused("AccessDeniedException", why));
    };
    if !files.opens(key) {
        let why =
            "The page does not know the key of these files: open the address that `expressway studio` shows";
        return Err(Wrong::Refused("AccessDeniedException", why.to_owned()));
    }
    let done = match action {
        "ListFiles" => files.list(),
        "ReadFile" => files.read(members.text("name")),
        _ => files.write(members.text("name"), members.text("text"), members.text("hash")),
    };
    done.map_err(|why| Wrong::Refused("ValidationException", why))
}
