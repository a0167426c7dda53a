//! An execution for the page, made of its history: the events as they are, and the visits of states that they tell of.
//! A history whose beginning is lost gives the visits that are left.

use std::collections::HashMap;

use serde_json::{Map, Value as Json, json};

use crate::observe::history::{Detail, Event};

/// A value on its way through a state, as the event with this number tells of it.
pub(super) struct Step {
    pub(super) event: u64,
    pub(super) label: &'static str,
    pub(super) text: String,
}

/// Where an event belongs: the visit it is about, and the visit whose branch or iteration it is in.
#[derive(Clone, Copy, Default)]
struct Place {
    visit: Option<usize>,
    parent: Option<usize>,
    iteration: Option<u64>,
    /// The visit that was left last on this way.
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

/// A visit of a state.
struct Visit {
    name: String,
    told: Map<String, Json>,
    parent: Option<usize>,
    steps: Vec<Json>,
    attempts: u64,
}

/// The trace of an execution: `visits`, `events`, `values`. Payloads stand in `values`, as text, and are named by their
/// place there.
pub fn trace(events: &[Event]) -> Json {
    with_steps(events, &[])
}

pub(super) fn with_steps(events: &[Event], steps: &[Step]) -> Json {
    let mut values = Values::default();
    let mut places: HashMap<u64, Place> = HashMap::new();
    let mut visits: Vec<Visit> = Vec::new();
    let mut told = Vec::with_capacity(events.len());
    for (n, event) in events.iter().enumerate() {
        let before = places.get(&event.previous).copied().unwrap_or_default();
        let place = follow(n, event, before, &mut visits, &mut values);
        places.insert(event.id, place);
        told.push(json!({
            "id": event.id, "previous": event.previous, "time": event.time_ms, "type": event.event_type.name(),
            "visit": place.visit, "details": details(event, &mut values),
        }));
    }
    for step in steps {
        if let Some(visit) = places.get(&step.event).and_then(|place| visits.get_mut(place.visit?)) {
            visit.steps.push(json!([step.label, values.keep(&step.text)]));
        }
    }
    let visits: Vec<Json> = visits
        .into_iter()
        .map(|mut visit| {
            visit.told.insert("attempts".to_owned(), json!(visit.attempts));
            visit.told.insert("steps".to_owned(), Json::Array(visit.steps));
            Json::Object(visit.told)
        })
        .collect();
    json!({"visits": visits, "events": told, "values": values.texts})
}

/// Puts an event in its place, and notes what it tells of its visit.
fn follow(n: usize, event: &Event, mut place: Place, visits: &mut Vec<Visit>, values: &mut Values) -> Place {
    let event_type = event.event_type.name();
    let name = event.text("name");
    if let Some(kind) = event_type.strip_suffix("StateEntered") {
        visits.push(entered(n, event, kind, name, place, values));
        return Place { visit: Some(visits.len() - 1), parent: place.parent, iteration: None, left: None };
    }
    if let Some(kind) = event_type.strip_suffix("StateExited") {
        let at = of_state(visits, place.visit, name).unwrap_or_else(|| {
            visits.push(entered(n, event, kind, name, place, values));
            visits.len() - 1
        });
        let visit = &mut visits[at];
        let failed = visit.told.contains_key("error");
        visit.told.insert("status".to_owned(), json!(if failed { "caught" } else { "succeeded" }));
        visit.told.insert("exited".to_owned(), json!(n));
        if let Some(text) = event.detail("output").and_then(Detail::as_str) {
            visit.told.insert("output".to_owned(), json!(values.keep(text)));
        }
        if let Some(Detail::Members(members)) = event.detail("assignedVariables") {
            let assigned: Vec<Json> = (members.iter())
                .map(|(name, detail)| json!([name, values.keep(detail.as_str().unwrap_or_default())]))
                .collect();
            visit.told.insert("assigned".to_owned(), Json::Array(assigned));
        }
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
            // What is told of a Map or Parallel comes after what is told of the last state in it.
            let holder =
                ["MapIteration", "MapState", "Parallel"].iter().find(|it| event_type.starts_with(*it));
            if let Some(kind) = holder.map(|it| if *it == "Parallel" { "Parallel" } else { "Map" }) {
                let at = of_kind(visits, place.visit, kind);
                place = Place { visit: at, parent: at.and_then(|at| visits[at].parent), ..place };
            }
        }
    }
    let Some(visit) = place.visit.and_then(|at| visits.get_mut(at)) else { return place };
    if event_type.ends_with("Aborted") && !event_type.starts_with("Execution") {
        visit.told.insert("status".to_owned(), json!("aborted"));
    } else if event_type.ends_with("Scheduled") {
        visit.attempts += 1;
    } else if event_type.ends_with("Failed") || event_type.ends_with("TimedOut") {
        if !event_type.starts_with("MapIteration") {
            let is_over = visit.told.contains_key("exited");
            for name in ["error", "cause"] {
                if let Some(text) = event.detail(name).and_then(Detail::as_str).filter(|_| !is_over) {
                    visit.told.insert(name.to_owned(), json!(text));
                }
            }
            if !is_over {
                visit.told.entry("error").or_insert_with(|| json!("(no error name)"));
            }
        }
        if event_type.starts_with("Execution") && !visit.told.contains_key("exited") {
            visit.told.insert("status".to_owned(), json!("failed"));
        }
    } else if event_type.ends_with("Succeeded") && !event_type.starts_with("Execution") {
        // An attempt that failed before is no failure of the visit.
        visit.told.remove("error");
        visit.told.remove("cause");
    }
    place
}

fn entered(n: usize, event: &Event, kind: &str, name: &str, place: Place, values: &mut Values) -> Visit {
    let mut told = Map::new();
    told.insert("state".to_owned(), json!(name));
    told.insert("kind".to_owned(), json!(kind));
    told.insert("parent".to_owned(), json!(place.parent));
    told.insert("iteration".to_owned(), json!(place.iteration));
    told.insert("after".to_owned(), json!(place.left));
    told.insert("entered".to_owned(), json!(n));
    told.insert("status".to_owned(), json!(if kind == "Fail" { "failed" } else { "open" }));
    if let Some(text) = event.detail("input").and_then(Detail::as_str) {
        told.insert("input".to_owned(), json!(values.keep(text)));
    }
    Visit { name: name.to_owned(), told, parent: place.parent, steps: Vec::new(), attempts: 0 }
}

/// The visit of a state with this name that is this one, or around it.
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

/// The visit of a state of this type that is this one, or around it.
fn of_kind(visits: &[Visit], from: Option<usize>, kind: &str) -> Option<usize> {
    let mut at = from;
    while let Some(n) = at {
        if visits[n].told["kind"] == kind {
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
        // Told member by member.
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
