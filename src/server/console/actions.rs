//! The page's actions. Each reads members of a JSON object and answers with one.

use std::time::{Duration, SystemTime};

use serde_json::{Value as Json, json};

use super::answer::{Answer, Members, Wrong, invalid};
use super::files::Files;
use super::real_runs::{RUN_BYTES_MAX, RUN_EVENTS_MAX, RealRuns};
use super::{Own, lists, refusal, waits};
use crate::api::{self, Reply};
use crate::asl::MachineType;
use crate::draft::{self, Ask, Deployed, Edit, Expression};
use crate::observe::Event;
use crate::runtime::{MachineCounts, Status};
use crate::service::{Page, Service};

/// Real time a run of a draft may take.
const RUN_WITHIN: Duration = Duration::from_millis(1_500);
/// Real time an expression may take.
const EVALUATE_WITHIN: Duration = Duration::from_millis(500);
/// Events of an execution that are returned.
const EVENTS_MAX: usize = 25_000;
const PAGE_MAX: u32 = 1_000;
/// Events whose details are returned at once.
const DETAILS_MAX: usize = 32;
/// Versions of a machine, and aliases, that are returned.
const QUALIFIED_MAX: u32 = 20;
/// Permissions that may be queried at once.
const PERMISSIONS_MAX: usize = 256;

/// Answers an action.
pub(super) fn answer(service: &Service, own: &Own, key: &str, action: &str, body: &[u8]) -> Reply {
    let members = match serde_json::from_slice(body) {
        Ok(Json::Object(members)) => Members(members),
        _ => return refusal("SerializationException", "The body must be a JSON object"),
    };
    let answer = match action {
        "About" => Ok(about(service, own)),
        "Inspect" => Ok(draft::inspect(members.draft(), members.flag("sketch"))),
        "Edit" => edit(&members),
        "Run" => Ok(run(&members)),
        "StartRun" => real_runs(own).and_then(|runs| runs.start(service, &members)),
        "GetRun" => real_runs(own).and_then(|runs| runs.get(&members)),
        "StopRun" => real_runs(own).and_then(|runs| runs.stop(&members)),
        "Evaluate" => evaluate(&members),
        "Words" => Ok(draft::words()),
        "Resources" => Ok(draft::resources(members.text("words"))),
        "Form" => draft::form(members.draft(), members.text("state")).map_err(invalid),
        "OnAws" => on_aws(service, &members),
        "Estimate" => estimate(&members),
        "Compare" => draft::compare(members.before(), members.draft()).map_err(invalid),
        "Export" => draft::export(members.draft(), members.text("as"))
            .map(|text| json!({"text": text}))
            .map_err(invalid),
        "Overview" => overview(service),
        "FindExecutions" => lists::find(service, &members),
        "Failures" => lists::failures(service, &members),
        "Rates" => rates(service, &members),
        "Heat" => heat(service, &members),
        "GetExecution" => execution(service, &members),
        "GetEvents" => events(service, &members),
        "Permissions" => permissions(service, &members),
        "GetMachine" => machine(service, &members),
        "Pipelines" => Ok(own.pipelines.answer()),
        "RedrivePipeline" => {
            (own.pipelines.redrive(members.text("address")).map(|()| json!({}))).map_err(invalid)
        }
        "ListFiles" | "ReadFile" | "WriteFile" => file(own.files.as_ref(), key, action, &members),
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

fn about(service: &Service, own: &Own) -> Json {
    json!({
        "version": env!("CARGO_PKG_VERSION"), "files": own.files.is_some(), "realRuns": own.real_runs.is_some(),
        // Where new state machines are: their ARN without the name.
        "machines": service.arn("stateMachine", ""),
    })
}

/// An edit's value may be in `text`, as JSON: numbers of more than 53 bits are not the same after a browser has read them.
fn edit(members: &Members) -> Answer {
    let mut edit = members.0.get("edit").cloned().unwrap_or_default();
    if let Some(Json::String(text)) = edit.get("text") {
        let value: Json =
            serde_json::from_str(text).map_err(|error| invalid(format!("The value is not JSON: {error}")))?;
        edit["value"] = value;
    }
    let edit = Edit::read(&edit).map_err(|error| invalid(format!("`edit` is not a valid edit: {error}")))?;
    let patches = draft::edit(members.draft(), &edit).map_err(invalid)?;
    Ok(json!({"patches": patches}))
}

/// What AWS would do with a draft: of the machine `machineArn`, if it is one, or called `name`; `used` is that of its last
/// run.
fn on_aws(service: &Service, members: &Members) -> Answer {
    let tags = match members.text("machineArn") {
        "" => None,
        arn => Some(service.list_tags_for_resource(arn)?.len()),
    };
    let used = match members.0.get("used") {
        None | Some(Json::Null) => None,
        Some(told) => Some(used(told)?),
    };
    Ok(draft::on_aws(members.draft(), &Deployed { name: members.text("name"), tags, used }))
}

fn used(told: &Json) -> Result<draft::Used, Wrong> {
    draft::Used::read(told).ok_or_else(|| invalid("`used` is not what a run has told".to_owned()))
}

/// What AWS would bill for a draft; `used` is that of its last run.
fn estimate(members: &Members) -> Answer {
    Ok(draft::estimate(members.draft(), &used(members.0.get("used").unwrap_or(&Json::Null))?))
}

fn real_runs(own: &Own) -> Result<&RealRuns, Wrong> {
    let why = match own.files {
        Some(_) => "This studio calls no services: `expressway studio --services` does",
        None => "This server calls no services",
    };
    own.real_runs.as_ref().ok_or_else(|| Wrong::Refused("AccessDeniedException", why.to_owned()))
}

fn run(members: &Members) -> Json {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now_ms = members.number("now");
    draft::run(
        members.draft(),
        &Ask {
            input: members.text("input"),
            mocks: members.text("mocks"),
            now_ms: now_ms.unwrap_or_else(|| u64::try_from(since.as_millis()).unwrap_or(0)),
            seed: members.number("seed").unwrap_or(0),
            within: RUN_WITHIN,
            events_max: RUN_EVENTS_MAX,
            bytes_max: RUN_BYTES_MAX,
        },
    )
}

/// Evaluates an expression over the values of a run: `source`, `language`, `input`, `result`, `errorOutput`, `context`,
/// `variables` (pairs of a name and a value), `now`. Values are JSON texts.
fn evaluate(members: &Members) -> Answer {
    let given = |name: &str| members.0.get(name).and_then(Json::as_str);
    let variables: Vec<(String, String)> = match members.0.get("variables") {
        None => Vec::new(),
        Some(pairs) => serde_json::from_value(pairs.clone())
            .map_err(|error| invalid(format!("`variables` is not a list of names and values: {error}")))?,
    };
    Ok(draft::evaluate(&Expression {
        source: members.text("source"),
        jsonata: members.text("language") == "JSONata",
        input: given("input"),
        result: given("result"),
        error_output: given("errorOutput"),
        context: given("context").unwrap_or("{}"),
        variables: &variables,
        now_ms: members.number("now").unwrap_or(0),
        within: EVALUATE_WITHIN,
    }))
}

fn overview(service: &Service) -> Answer {
    let machines: Vec<Json> = lists::machines(service)?
        .into_iter()
        .map(|item| {
            // Express executions are listed only where the server keeps them.
            let last = service.check_listed(&item.arn).and_then(|()| lists::last(service, &item.arn));
            json!({
                "arn": item.arn, "name": item.name, "type": api::type_name(item.machine_type), "created": item.created_ms,
                "listed": last.is_ok(), "last": last.ok().flatten(),
            })
        })
        .collect();
    Ok(json!({"machines": machines}))
}

/// The counters of each machine, or of one: pages derive rates from two of these.
fn rates(service: &Service, members: &Members) -> Answer {
    let wanted = members.text("machineArn");
    let machines: Vec<Json> = service
        .machine_counts()
        .into_iter()
        .filter(|(arn, _)| wanted.is_empty() || arn == wanted)
        .map(|(arn, it)| {
            json!({
                "arn": arn, "started": it.started, "ended": it.ended, "throttled": it.throttled, "took": it.took,
            })
        })
        .collect();
    Ok(json!({"now": service.time_ms(), "boundsUs": MachineCounts::bounds_us(), "machines": machines}))
}

/// What executions of a machine do at present, from a sample.
fn heat(service: &Service, members: &Members) -> Answer {
    let arn = members.text("machineArn");
    service.describe_state_machine(arn)?;
    let why = "This server does not count what machines do".to_owned();
    let heat = service.heat(arn).ok_or(Wrong::Refused("ValidationException", why))?;
    let mut states: Vec<Json> = (heat.states.iter())
        .map(|(name, it)| json!({"name": name, "visits": it.visits, "failed": it.failed, "left": it.left, "ms": it.ms}))
        .collect();
    states.sort_unstable_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
    let mut edges: Vec<(&str, &str, u64)> =
        heat.edges.iter().map(|((from, to), &count)| (&**from, &**to, count)).collect();
    edges.sort_unstable();
    Ok(json!({
        "now": service.time_ms(), "oneIn": heat.one_in, "sampled": heat.sampled, "executions": heat.executions,
        "states": states, "edges": edges,
    }))
}

/// An execution: its outcome, the outline of its events, and the picture of its definition.
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
        "redrivable": described.redrive.refused.is_none(), "durability": described.durability.to_string(),
        "lost": events.first().map_or(0, |first| first.id - 1), "cut": is_cut,
        "outline": draft::outline(&events), "waits": waits::waits(service, &events),
    });
    // The page may have the events already, and the picture.
    if members.flag("picture") {
        let machine = service.describe_state_machine_for_execution(arn)?;
        told["picture"] = draft::picture_of(&machine.definition, MachineType::Standard);
    }
    Ok(told)
}

/// The details of an execution's events: of those whose numbers are in `ids`.
fn events(service: &Service, members: &Members) -> Answer {
    let ids = members.0.get("ids").and_then(Json::as_array).map_or(&[][..], Vec::as_slice);
    if ids.len() > DETAILS_MAX {
        return Err(invalid(format!("`ids` names more than {DETAILS_MAX} events")));
    }
    let ids: Option<Vec<u64>> = ids.iter().map(Json::as_u64).collect();
    let ids = ids.ok_or_else(|| invalid("`ids` is not a list of numbers of events".to_owned()))?;
    Ok(draft::details_of(&service.events(members.text("executionArn"), &ids)?))
}

/// The caller's permissions: `ask` is a list of pairs of an action, such as `states:StartExecution`, and the ARN of its
/// resource. `refused` has for each of them why not, or `null`.
fn permissions(service: &Service, members: &Members) -> Answer {
    let ask: Vec<(String, String)> =
        serde_json::from_value(members.0.get("ask").cloned().unwrap_or_default())
            .map_err(|error| invalid(format!("`ask` is not a list of actions and resources: {error}")))?;
    if ask.len() > PERMISSIONS_MAX {
        return Err(invalid(format!("`ask` names more than {PERMISSIONS_MAX} permissions")));
    }
    let refused: Vec<Option<String>> =
        ask.iter().map(|(action, resource)| service.may(action, resource).err()).collect();
    Ok(json!({"refused": refused}))
}

/// A machine: its definition and the picture of it, its newest versions, and its aliases with the versions and weights of
/// their routes.
fn machine(service: &Service, members: &Members) -> Answer {
    let machine = service.describe_state_machine(members.text("machineArn"))?;
    let number = |arn: &str| arn.rsplit(':').next().unwrap_or_default().to_owned();
    let page = Page { results_max: Some(QUALIFIED_MAX), token: None };
    let versions = service.list_state_machine_versions(&machine.arn, &page)?.items;
    let versions: Vec<String> = versions.iter().map(|version| number(&version.arn)).collect();
    let mut aliases: Vec<Json> = Vec::new();
    for alias in service.list_state_machine_aliases(&machine.arn, &page)?.items {
        let alias = service.describe_state_machine_alias(&alias.arn)?;
        let routes: Vec<(String, u32)> =
            alias.routes.iter().map(|route| (number(&route.version_arn), route.weight)).collect();
        aliases.push(json!({"name": alias.name, "routes": routes}));
    }
    Ok(json!({
        "name": machine.name, "type": api::type_name(machine.machine_type), "definition": machine.definition,
        "listed": machine.machine_type == MachineType::Standard || service.keeps_express(),
        "picture": draft::picture_of(&machine.definition, MachineType::Standard),
        "versions": versions, "aliases": aliases,
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
