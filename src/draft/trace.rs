//! An execution for the page, made from its history: the events, and the visits of states that follow from them. A
//! history without its beginning gives the remaining visits.

use std::collections::HashMap;

use serde_json::{Value as Json, json};

use crate::observe::history::{Detail, Event};

/// A value at a step of a state's processing, of the event with this number.
pub(super) struct Step {
    pub(super) event: u64,
    pub(super) label: &'static str,
    pub(super) text: String,
}

/// An event's place: the visit it is about, and the visit whose branch or iteration it is in.
#[derive(Clone, Copy, Default)]
struct Place {
    visit: Option<usize>,
    parent: Option<usize>,
    iteration: Option<u64>,
    /// The visit that was left last on this path.
    left: Option<usize>,
}

/// Payloads, each once.
#[derive(Default)]
struct Values {
    texts: Vec<Json>,
    known: HashMap<Box<str>, usize>,
}

impl Values {
    fn keep(&mut self, text: &str) -> usize {
        if let Some(&at) = self.known.get(text) {
            return at;
        }
        self.texts.push(json!(text));
        self.known.insert(text.into(), self.texts.len() - 1);
        self.texts.len() - 1
    }
}

/// A visit of a state. Places are those of events; payloads and faults are in the events.
struct Visit {
    name: String,
    kind: &'static str,
    parent: Option<usize>,
    iteration: Option<u64>,
    /// The visit before it on the same path.
    after: Option<usize>,
    entered: usize,
    exited: Option<usize>,
    status: &'static str,
    /// The event with its error.
    fault: Option<usize>,
    attempts: u64,
    steps: Vec<Json>,
}

/// The trace of an execution: `visits`, `events`, `values`. Payloads are in `values`, as text, and are referred to by
/// index.
pub(super) fn with_steps(events: &[Event], steps: &[Step]) -> Json {
    let mut values = Values::default();
    let (mut visits, places) = visits_of(events);
    let by_id: HashMap<u64, usize> = events.iter().enumerate().map(|(n, event)| (event.id, n)).collect();
    for step in steps {
        if let Some(visit) = by_id.get(&step.event).and_then(|&n| visits.get_mut(places[n].visit?)) {
            visit.steps.push(json!([step.label, values.keep(&step.text)]));
        }
    }
    let told = events.iter().zip(&places).map(|(event, place)| {
        json!({
            "id": event.id, "previous": event.previous, "time": event.time_ms, "type": event.event_type.name(),
            "visit": place.visit, "details": details(event, &mut values),
        })
    });
    let told: Vec<Json> = told.collect();
    let visits: Vec<Json> = visits.into_iter().map(|visit| visit.json(events, &mut values)).collect();
    json!({"visits": visits, "events": told, "values": values.texts})
}

/// The outline of an execution, without payloads: columns of numbers, so that tens of thousands of events are small.
///
/// `events` has `time` (milliseconds since the event before), `type` and `visit` of each event from number `first` on;
/// `visits` has a column for each member of a visit. Names of types, states, kinds and statuses are indexes into
/// `names`; missing ones are -1. The details of an event are in [`details_of`].
pub fn outline(events: &[Event]) -> Json {
    let (visits, places) = visits_of(events);
    let mut names = Names::default();
    let mut before_ms = 0;
    let times: Vec<u64> = (events.iter())
        .map(|event| event.time_ms - std::mem::replace(&mut before_ms, event.time_ms).min(event.time_ms))
        .collect();
    let types: Vec<usize> = events.iter().map(|event| names.keep(event.event_type.name())).collect();
    let place = |place: Option<usize>| place.map_or(json!(-1), |place| json!(place));
    let column = |of: &dyn Fn(&Visit) -> Json| -> Vec<Json> { visits.iter().map(of).collect() };
    let mut named = |of: &dyn Fn(&Visit) -> &str| -> Vec<usize> {
        visits.iter().map(|visit| names.keep(of(visit))).collect()
    };
    let (states, kinds, statuses) =
        (named(&|visit| &visit.name), named(&|visit| visit.kind), named(&|visit| visit.status));
    let of_events: Vec<Json> = places.iter().map(|it| place(it.visit)).collect();
    json!({
        "first": events.first().map_or(1, |first| first.id), "names": names.texts,
        "events": {"time": times, "type": types, "visit": of_events},
        "visits": {
            "state": states, "kind": kinds, "status": statuses,
            "parent": column(&|visit| place(visit.parent)), "after": column(&|visit| place(visit.after)),
            "iteration": column(&|visit| visit.iteration.map_or(json!(-1), |n| json!(n))),
            "entered": column(&|visit| json!(visit.entered)), "exited": column(&|visit| place(visit.exited)),
            "fault": column(&|visit| place(visit.fault)), "attempts": column(&|visit| json!(visit.attempts)),
        },
    })
}

/// The details of these events: `events`, each with `id` and `details`, and `values`.
pub fn details_of(events: &[Event]) -> Json {
    let mut values = Values::default();
    let told: Vec<Json> = (events.iter())
        .map(|event| json!({"id": event.id, "details": details(event, &mut values)}))
        .collect();
    json!({"events": told, "values": values.texts})
}

/// Repeated texts, each once.
#[derive(Default)]
struct Names {
    texts: Vec<String>,
    known: HashMap<String, usize>,
}

impl Names {
    fn keep(&mut self, text: &str) -> usize {
        if let Some(&at) = self.known.get(text) {
            return at;
        }
        self.texts.push(text.to_owned());
        self.known.insert(text.to_owned(), self.texts.len() - 1);
        self.texts.len() - 1
    }
}

/// State transitions of a history as they are billed, and bytes of the inputs of all its branches and iterations.
pub(super) fn transitions(events: &[Event]) -> (u64, u64) {
    let (visits, _) = visits_of(events);
    let retries = visits.iter().map(|visit| visit.attempts.saturating_sub(1)).sum::<u64>();
    let begun = visits.iter().filter(|visit| visit.parent.is_some() && visit.after.is_none());
    let inputs =
        begun.flat_map(|visit| &events[visit.entered].details).filter_map(|(name, detail)| match detail {
            Detail::Json(text) if *name == "input" => Some(text.len() as u64),
            _ => None,
        });
    (1 + visits.len() as u64 + retries, inputs.sum())
}

/// The visits in a history, and the place of each event.
fn visits_of(events: &[Event]) -> (Vec<Visit>, Vec<Place>) {
    let mut by_id: HashMap<u64, usize> = HashMap::with_capacity(events.len());
    let mut visits: Vec<Visit> = Vec::new();
    let mut places: Vec<Place> = Vec::with_capacity(events.len());
    for (n, event) in events.iter().enumerate() {
        let before = by_id.get(&event.previous).map_or_else(Place::default, |&before| places[before]);
        places.push(follow(n, event, before, &mut visits));
        by_id.insert(event.id, n);
    }
    (visits, places)
}

/// Places an event, and updates its visit.
fn follow(n: usize, event: &Event, mut place: Place, visits: &mut Vec<Visit>) -> Place {
    let event_type = event.event_type.name();
    let name = event.text("name");
    if let Some(kind) = event_type.strip_suffix("StateEntered") {
        visits.push(entered(n, kind, name, place));
        return Place { visit: Some(visits.len() - 1), parent: place.parent, iteration: None, left: None };
    }
    if let Some(kind) = event_type.strip_suffix("StateExited") {
        let at = of_state(visits, place.visit, name).unwrap_or_else(|| {
            visits.push(entered(n, kind, name, place));
            visits.len() - 1
        });
        let visit = &mut visits[at];
        visit.status = if visit.fault.is_some() { "caught" } else { "succeeded" };
        visit.exited = Some(n);
        return Place { visit: Some(at), parent: visit.parent, iteration: None, left: Some(at) };
    }
    match event_type {
        "ParallelStateStarted" => place = Place { parent: place.visit, left: None, ..place },
        "MapIterationStarted" => {
            let map = of_state(visits, place.visit, name);
            let iteration = match event.detail("index") {
                Some(&Detail::Number(index)) => Some(index),
                _ => None,
            };
            place = Place { visit: map, parent: map, iteration, left: None };
        }
        _ => {
            // Events of a Map or Parallel come after those of the last state in it.
            let holder =
                ["MapIteration", "MapState", "Parallel"].iter().find(|it| event_type.starts_with(*it));
            if let Some(kind) = holder.map(|it| if *it == "Parallel" { "Parallel" } else { "Map" }) {
                let at = of_kind(visits, place.visit, kind);
                place = Place { visit: at, parent: at.and_then(|at| visits[at].parent), ..place };
            }
        }
    }
    let Some(visit) = place.visit.and_then(|at| visits.get_mut(at)) else { return place };
    let is_execution = event_type.starts_with("Execution");
    if event_type.ends_with("Aborted") && !is_execution {
        visit.status = "aborted";
    } else if event_type.ends_with("Scheduled") {
        visit.attempts += 1;
    } else if event_type.ends_with("Failed") || event_type.ends_with("TimedOut") {
        let is_over = visit.exited.is_some();
        let tells_more = visit.fault.is_none() || event.detail("error").is_some();
        if !event_type.starts_with("MapIteration") && !is_over && tells_more {
            visit.fault = Some(n);
        }
        if is_execution && !is_over {
            visit.status = "failed";
        }
    } else if event_type.ends_with("Succeeded") && !is_execution {
        // An earlier failed attempt is not a failure of the visit.
        visit.fault = None;
    }
    place
}

fn entered(n: usize, kind: &'static str, name: &str, place: Place) -> Visit {
    Visit {
        name: name.to_owned(),
        kind,
        parent: place.parent,
        iteration: place.iteration,
        after: place.left,
        entered: n,
        exited: None,
        status: if kind == "Fail" { "failed" } else { "open" },
        fault: None,
        attempts: 0,
        steps: Vec::new(),
    }
}

impl Visit {
    fn json(self, events: &[Event], values: &mut Values) -> Json {
        let mut told = json!({
            "state": self.name, "kind": self.kind, "parent": self.parent, "iteration": self.iteration,
            "after": self.after, "entered": self.entered, "status": self.status, "attempts": self.attempts,
            "steps": self.steps,
        });
        if let Some(text) = events[self.entered].detail("input").and_then(Detail::as_str) {
            told["input"] = json!(values.keep(text));
        }
        if let Some(n) = self.exited {
            told["exited"] = json!(n);
            if let Some(text) = events[n].detail("output").and_then(Detail::as_str) {
                told["output"] = json!(values.keep(text));
            }
            if let Some(Detail::Members(members)) = events[n].detail("assignedVariables") {
                let assigned: Vec<Json> = (members.iter())
                    .map(|(name, detail)| json!([name, values.keep(detail.as_str().unwrap_or_default())]))
                    .collect();
                told["assigned"] = Json::Array(assigned);
            }
        }
        if let Some(n) = self.fault {
            told["fault"] = json!(n);
        }
        told
    }
}

/// The visit of a state with this name: this one, or an enclosing one.
fn of_state(visits: &[Visit], from: Option<usize>, name: &str) -> Option<usize> {
    let mut at = from;
    while let Some(n) = at {
        if visits[n].name == name {
            return at;
        }
        at = visits[n].parent;
    }
    None
}

/// The visit of a state of this type: this one, or an enclosing one.
fn of_kind(visits: &[Visit], from: Option<usize>, kind: &str) -> Option<usize> {
    let mut at = from;
    while let Some(n) = at {
        if visits[n].kind == kind {
            return at;
        }
        at = visits[n].parent;
    }
    None
}

fn details(event: &Event, values: &mut Values) -> Vec<Json> {
    let one = |name: &str, detail: &Detail, values: &mut Values| match detail {
        Detail::Text(text) => json!([name, "text", text]),
        Detail::Number(number) => json!([name, "text", number.to_string()]),
        Detail::Json(text) => json!([name, "value", values.keep(text)]),
        // Shown member by member.
        Detail::Members(_) => Json::Null,
    };
    let mut told = Vec::with_capacity(event.details.len());
    for (name, detail) in &event.details {
        match detail {
            Detail::Members(members) => {
                told.extend(members.iter().map(|(inner, it)| one(&format!("{name}.{inner}"), it, values)));
            }
            detail => told.push(one(name, detail, values)),
        }
    }
    told
}
