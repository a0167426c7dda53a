//! Executions in lists, and their failures in groups.

use std::collections::HashMap;

use memchr::memmem;
use serde_json::{Value as Json, json};

use super::answer::{Answer, Members};
use crate::api;
use crate::runtime::{Outcome, Status};
use crate::service::{Candidate, Error, Page, Service, StateMachineItem, Surveyed, Window};

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

fn status_of(outcome: Option<&Outcome>) -> Status {
    outcome.map_or(Status::Running, |outcome| outcome.status)
}

/// Whether names contain a text, in any case.
struct NameFilter {
    part: String,
    finder: memmem::Finder<'static>,
    /// The name that is searched, in lower case.
    lower: String,
}

impl NameFilter {
    fn new(part: &str) -> NameFilter {
        let part = part.to_lowercase();
        let finder = memmem::Finder::new(&part).into_owned();
        NameFilter { part, finder, lower: String::new() }
    }

    fn fits(&mut self, name: &str) -> bool {
        if self.part.is_empty() {
            return true;
        }
        if !name.is_ascii() {
            return name.to_lowercase().contains(&self.part);
        }
        self.lower.clear();
        self.lower.push_str(name);
        self.lower.make_ascii_lowercase();
        self.finder.find(self.lower.as_bytes()).is_some()
    }
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
        service.check_listed(arn)?;
    }
    let (status, error) = (members.text("status"), members.text("error"));
    let mut name = NameFilter::new(members.text("name"));
    let fits = |execution: Candidate<'_>| {
        if !name.fits(execution.name()) {
            return false;
        }
        if status.is_empty() && error.is_empty() {
            return true;
        }
        let outcome = execution.outcome();
        let fault = || outcome.as_ref()?.fault.as_ref()?.error.as_deref();
        (status.is_empty() || api::status_name(status_of(outcome.as_deref())) == status)
            && (error.is_empty() || fault() == Some(error))
    };
    let is_by_time = members.flag(BY_TIME);
    let count_max = if is_by_time { DEPTH_MAX } else { LISTED_MAX };
    let window = Window {
        is_by_time,
        up_to: members.number("upTo").unwrap_or(u64::MAX),
        from: usize::try_from(members.number("from").unwrap_or(0)).unwrap_or(usize::MAX),
        count: members.number("count").map_or(LISTED_MAX, |count| count_max.min(count as usize)),
    };
    let found = service.search(machine, LOOKED_MAX, &window, fits)?;
    let rows: Vec<Json> = found.executions.iter().map(row).collect();
    Ok(json!({
        "executions": rows, "from": window.from.min(found.matching), "matching": found.matching,
        "newer": found.newer, "upTo": window.up_to.min(found.newest), "more": found.is_cut,
        "unlisted": unlisted(service, machine)?,
    }))
}

/// When the last execution of a machine started, in milliseconds since 1970.
pub(super) fn last(service: &Service, machine: &str) -> Result<Option<u64>, Error> {
    let window = Window::newest(1);
    let found = service.search(Some(machine), 1, &window, |_| true)?;
    Ok(found.executions.first().map(Surveyed::started_ms))
}

fn row(execution: &Surveyed) -> Json {
    json!({
        "arn": execution.arn(), "machineArn": execution.machine_arn(), "name": execution.name(),
        "number": execution.number(), "status": api::status_name(status_of(execution.outcome.as_deref())),
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
    let failed = |execution: Candidate<'_>| {
        !matches!(status_of(execution.outcome().as_deref()), Status::Running | Status::Succeeded)
    };
    let window = Window::newest(FAILURES_MAX);
    let found = service.search(machine, LOOKED_MAX, &window, failed)?;
    let mut groups: HashMap<_, Group<'_>> = HashMap::new();
    for execution in &found.executions {
        let state = execution.failed_in();
        let pattern = execution.cause().map(pattern).unwrap_or_default();
        let status = api::status_name(status_of(execution.outcome.as_deref()));
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
    groups.sort_unstable_by_key(|group| {
        std::cmp::Reverse((group.count, group.newest_ms, group.first.number()))
    });
    let told: Vec<Json> = groups.iter().take(GROUPS_MAX).map(group_json).collect();
    Ok(json!({
        "groups": told, "groupsMore": groups.len().saturating_sub(GROUPS_MAX), "failed": found.matching,
        "looked": found.searched, "more": found.is_cut || found.matching > FAILURES_MAX,
        "unlisted": unlisted(service, machine)?,
    }))
}

fn group_json(group: &Group<'_>) -> Json {
    let samples: Vec<Json> =
        group.samples.iter().map(|it| json!({"arn": it.arn(), "name": it.name()})).collect();
    json!({
        "machineArn": group.first.machine_arn(), "state": group.state,
        "status": api::status_name(status_of(group.first.outcome.as_deref())), "error": group.first.error(),
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
