//! Executions in lists, and their failures in groups.

use std::collections::HashMap;

use serde_json::{Value as Json, json};

use super::answer::{Answer, Members};
use crate::api;
use crate::runtime::Status;
use crate::service::{Error, Page, Service, StateMachineItem, Surveyed, is_map_run};

/// Machines that are listed.
const MACHINES_MAX: usize = 20_000;
const PAGE_MAX: u32 = 1_000;
/// Executions that are searched for one list.
const LOOKED_MAX: usize = 250_000;
/// Executions that are returned at once.
pub(super) const LISTED_MAX: usize = 1_000;
/// Executions that are listed where several nodes have them.
pub(super) const DEPTH_MAX: usize = 5_000;
/// The member by which a node is asked for rows in the order of their start in time, up to [`DEPTH_MAX`]: nodes do not
/// number executions together. `upTo` is a time then.
pub(super) const BY_TIME: &str = "byTime";
/// Unsuccessful executions that are read for groups: their histories are read.
const FAILURES_MAX: usize = 20_000;
pub(super) const GROUPS_MAX: usize = 200;
/// Executions that are named for each group.
pub(super) const SAMPLES_MAX: usize = 5;
/// Characters of a cause by which failures are grouped.
const CAUSE_CHARS: usize = 200;

/// All machines, page by page.
pub(super) fn machines(service: &Service) -> Result<Vec<StateMachineItem>, Error> {
    let mut all = Vec::new();
    let mut page = Page { results_max: Some(PAGE_MAX), token: None };
    loop {
        let part = service.list_state_machines(&page)?;
        all.extend(part.items);
        match part.next_token {
            Some(token) if all.len() < MACHINES_MAX => page.token = Some(token),
            _ => return Ok(all),
        }
    }
}

fn status_of(execution: &Surveyed) -> Status {
    execution.outcome.as_ref().map_or(Status::Running, |outcome| outcome.status)
}

/// A window of the executions of one machine or Map Run, or of all, the newest first by their start.
///
/// `status`, `name` (a part of it) and `error` filter. `from` and `count` are the window. `upTo` is the number of the
/// newest execution that is listed: a client that scrolls keeps it, so that rows do not move; `newer` counts those
/// above.
pub(super) fn find(service: &Service, members: &Members) -> Answer {
    let machine = Some(members.text("machineArn")).filter(|arn| !arn.is_empty());
    if let Some(arn) = machine {
        // A machine whose executions are not kept is refused with the API's error.
        let page = crate::service::Page { results_max: Some(1), token: None };
        let of = |wanted: bool| (is_map_run(arn) == wanted).then(|| arn.to_owned());
        let one = crate::service::ListExecutions {
            machine_arn: of(false),
            map_run_arn: of(true),
            page,
            ..crate::service::ListExecutions::default()
        };
        service.list_executions(&one)?;
    }
    let (mut executions, is_cut) = service.survey(machine, LOOKED_MAX)?;
    let is_by_time = members.0.get(BY_TIME).is_some_and(|it| it == true);
    let (place, count_max): (fn(&Surveyed) -> u64, usize) =
        if is_by_time { (Surveyed::started_ms, DEPTH_MAX) } else { (Surveyed::number, LISTED_MAX) };
    if is_by_time {
        executions.sort_by_key(|it| std::cmp::Reverse((it.started_ms(), it.number())));
    }
    let (status, error) = (members.text("status"), members.text("error"));
    let name = members.text("name").to_lowercase();
    let fits = |execution: &&Surveyed| {
        (status.is_empty() || api::status_name(status_of(execution)) == status)
            && (name.is_empty() || execution.name().to_lowercase().contains(&name))
            && (error.is_empty() || execution.error() == Some(error))
    };
    let newest = executions.first().map_or(0, place);
    let up_to = members.number("upTo").unwrap_or(u64::MAX);
    let found: Vec<&Surveyed> = executions.iter().filter(fits).collect();
    let newer = found.partition_point(|execution| place(execution) > up_to);
    let listed = &found[newer..];
    let from = usize::try_from(members.number("from").unwrap_or(0)).unwrap_or(usize::MAX).min(listed.len());
    let count = members.number("count").map_or(LISTED_MAX, |count| count_max.min(count as usize));
    let rows: Vec<Json> = listed[from..].iter().take(count).map(|execution| row(execution)).collect();
    Ok(json!({
        "executions": rows, "from": from, "matching": listed.len(), "newer": newer, "upTo": up_to.min(newest),
        "more": is_cut, "unlisted": unlisted(service, machine)?,
    }))
}

fn row(execution: &Surveyed) -> Json {
    json!({
        "arn": execution.arn(), "machineArn": execution.machine_arn(), "name": execution.name(),
        "number": execution.number(), "status": api::status_name(status_of(execution)),
        "started": execution.started_ms(),
        "stopped": execution.outcome.as_ref().map(|outcome| outcome.stopped_ms), "error": execution.error(),
    })
}

/// The number of machines whose executions are not kept.
fn unlisted(service: &Service, machine: Option<&str>) -> Result<usize, crate::service::Error> {
    if machine.is_some() || service.keeps_express() {
        return Ok(0);
    }
    let machines = machines(service)?;
    Ok(machines.iter().filter(|it| it.machine_type == crate::asl::MachineType::Express).count())
}

/// A group of failures.
struct Group<'e> {
    first: &'e Surveyed,
    state: Option<String>,
    count: usize,
    newest_ms: u64,
    oldest_ms: u64,
    samples: Vec<&'e Surveyed>,
}

/// Unsuccessful executions, by machine, state, error and cause; causes that differ only in their numbers are one.
pub(super) fn failures(service: &Service, members: &Members) -> Answer {
    let machine = Some(members.text("machineArn")).filter(|arn| !arn.is_empty());
    let (executions, is_cut) = service.survey(machine, LOOKED_MAX)?;
    let failed = |execution: &&Surveyed| !matches!(status_of(execution), Status::Running | Status::Succeeded);
    let looked: Vec<&Surveyed> = executions.iter().filter(failed).collect();
    let mut groups: HashMap<_, Group<'_>> = HashMap::new();
    for execution in looked.iter().take(FAILURES_MAX) {
        let state = execution.failed_in();
        let pattern = execution.cause().map(pattern).unwrap_or_default();
        let status = api::status_name(status_of(execution));
        let key = (execution.machine_arn(), state.clone(), status, execution.error(), pattern);
        let stopped_ms = execution.outcome.as_ref().map_or(0, |outcome| outcome.stopped_ms);
        let group = groups.entry(key).or_insert_with(|| Group {
            first: execution,
            state,
            count: 0,
            newest_ms: stopped_ms,
            oldest_ms: stopped_ms,
            samples: Vec::new(),
        });
        group.count += 1;
        group.newest_ms = group.newest_ms.max(stopped_ms);
        group.oldest_ms = group.oldest_ms.min(stopped_ms);
        if group.samples.len() < SAMPLES_MAX {
            group.samples.push(execution);
        }
    }
    let mut groups: Vec<Group<'_>> = groups.into_values().collect();
    groups.sort_by_key(|group| std::cmp::Reverse((group.count, group.newest_ms, group.first.number())));
    let told: Vec<Json> = groups.iter().take(GROUPS_MAX).map(group_json).collect();
    Ok(json!({
        "groups": told, "groupsMore": groups.len().saturating_sub(GROUPS_MAX), "failed": looked.len(),
        "looked": executions.len(), "more": is_cut || looked.len() > FAILURES_MAX,
        "unlisted": unlisted(service, machine)?,
    }))
}

fn group_json(group: &Group<'_>) -> Json {
    let samples: Vec<Json> =
        group.samples.iter().map(|it| json!({"arn": it.arn(), "name": it.name()})).collect();
    json!({
        "machineArn": group.first.machine_arn(), "state": group.state,
        "status": api::status_name(status_of(group.first)), "error": group.first.error(),
        "cause": group.first.cause(), "count": group.count, "newest": group.newest_ms, "oldest": group.oldest_ms,
        "samples": samples,
    })
}

/// A cause without the parts that differ between executions: words with digits in them.
pub(super) fn pattern(cause: &str) -> String {
    let is_word = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    let mut pattern = String::new();
    let mut rest: String = cause.chars().take(CAUSE_CHARS).collect();
    while !rest.is_empty() {
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let word: String = rest.drain(..end).collect();
        if word.contains(|c: char| c.is_ascii_digit()) {
            pattern.push('#')
        } else {
            pattern.push_str(&word)
        }
        let end = rest.find(is_word).unwrap_or(rest.len());
        pattern.extend(rest.drain(..end));
    }
    pattern
}
