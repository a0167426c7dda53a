//! Compares two versions of a definition: which states were added, removed, changed, or lead elsewhere. Formatting is
//! ignored.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::Draft;
use super::edit::whole;

/// A state for comparison: its content without its targets, and its targets.
struct Compared {
    own: Json,
    ways: Json,
}

/// `states`: `name` and `change` (`added`, `removed`, `changed`, `rerouted`); `machine`: whether something beside the states
/// differs.
///
/// # Errors
/// When one of the texts cannot be read.
pub fn compare(before: Draft<'_>, after: Draft<'_>) -> Result<Json, String> {
    let read = |draft, which: &str| whole(draft).map_err(|why| format!("The version {which}: {why}"));
    let (mut old_root, mut new_root) = (read(before, "before")?, read(after, "after")?);
    let (mut old, mut new) = (BTreeMap::new(), BTreeMap::new());
    collect(&mut old_root, &mut old);
    collect(&mut new_root, &mut new);
    let mut states: Vec<Json> = Vec::new();
    for (name, state) in &new {
        let change = match old.get(name) {
            None => "added",
            Some(was) if was.own != state.own => "changed",
            Some(was) if was.ways != state.ways => "rerouted",
            Some(_) => continue,
        };
        states.push(json!({"name": name, "change": change}));
    }
    let gone = old.keys().filter(|name| !new.contains_key(*name));
    states.extend(gone.map(|name| json!({"name": name, "change": "removed"})));
    Ok(json!({"states": states, "machine": old_root != new_root}))
}

/// Removes the states from a workflow, inner ones too. The depth is bounded by the reader of definitions.
fn collect(workflow: &mut Json, states: &mut BTreeMap<String, Compared>) {
    // A value that is not an object has no states.
    let members = match workflow.get_mut("States").map(Json::take) {
        Some(Json::Object(members)) => members,
        _ => Map::new(),
    };
    for (name, mut state) in members {
        for field in ["ItemProcessor", "Iterator"] {
            if let Some(inner) = state.get_mut(field) {
                collect(inner, states);
            }
        }
        for branch in state.get_mut("Branches").and_then(Json::as_array_mut).into_iter().flatten() {
            collect(branch, states);
        }
        let ways = ways(&mut state);
        states.insert(name, Compared { own: state, ways });
    }
}

/// Removes a state's targets.
fn ways(state: &mut Json) -> Json {
    let mut ways = Vec::new();
    if let Some(members) = state.as_object_mut() {
        for field in ["Next", "Default", "End"] {
            ways.push(members.shift_remove(field).unwrap_or(Json::Null));
        }
    }
    for field in ["Choices", "Catch"] {
        for item in state.get_mut(field).and_then(Json::as_array_mut).into_iter().flatten() {
            ways.push(item.get_mut("Next").map_or(Json::Null, Json::take));
        }
    }
    Json::Array(ways)
}
