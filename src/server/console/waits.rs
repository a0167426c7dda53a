//! Tasks of an execution that wait for an external answer: from workers of activities, or from holders of task tokens.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::observe::Event;
use crate::service::Service;

/// Hexadecimal digits of a token.
const TOKEN_DIGITS: usize = 32;

/// The waiting tasks, each with the number of the event that scheduled it: `activity`, if a worker has to take it, or
/// `token`, which is in the task's parameters and still valid.
pub(super) fn waits(service: &Service, events: &[Event]) -> Json {
    let mut activities: BTreeMap<u64, &str> = BTreeMap::new();
    let mut told: Vec<Json> = Vec::new();
    for event in events {
        activities.remove(&event.previous);
        match event.event_type.name() {
            "ActivityScheduled" => drop(activities.insert(event.id, event.text("resource"))),
            "TaskScheduled" if event.text("resource").ends_with(".waitForTaskToken") => {
                if let Some(token) = tokens(event.text("parameters")).find(|token| service.knows_token(token))
                {
                    told.push(json!({"event": event.id, "token": token}));
                }
            }
            _ => {}
        }
    }
    told.extend(activities.iter().map(|(id, activity)| json!({"event": id, "activity": activity})));
    Json::Array(told)
}

/// Possible tokens in a text.
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_hexdigit()).filter(|word| word.len() == TOKEN_DIGITS)
}
