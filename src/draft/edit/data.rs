//! Changes of the data.

use serde_json::{Map, Value as Json, json};

use super::{Edit, Step};

/// The path of the object `States` with a state of this name.
pub(super) fn states_with(root: &Json, name: &str) -> Option<Vec<Step>> {
    let mut path = Vec::new();
    find(root, name, &mut path).then_some(path)
}

/// The depth is bounded by the readers of definitions. Only workflows are searched, not payloads.
fn find(workflow: &Json, name: &str, path: &mut Vec<Step>) -> bool {
    let Some(states) = workflow.get("States").and_then(Json::as_object) else { return false };
    path.push(Step::Member("States".to_owned()));
    if states.contains_key(name) {
        return true;
    }
    for (state, value) in states {
        path.push(Step::Member(state.clone()));
        for field in ["ItemProcessor", "Iterator"] {
            path.push(Step::Member(field.to_owned()));
            if value.get(field).is_some_and(|inner| find(inner, name, path)) {
                return true;
            }
            path.pop();
        }
        path.push(Step::Member("Branches".to_owned()));
        for (n, branch) in value.get("Branches").and_then(Json::as_array).into_iter().flatten().enumerate() {
            path.push(Step::Item(n));
            if find(branch, name, path) {
                return true;
            }
            path.pop();
        }
        path.truncate(path.len() - 2);
    }
    path.pop();
    false
}

fn at<'j>(mut json: &'j mut Json, path: &[Step]) -> &'j mut Json {
    for step in path {
        json = match step {
            Step::Member(name) => &mut json[name.as_str()],
            Step::Item(n) => &mut json[*n],
        };
    }
    json
}

/// Changes the workflow whose states are at `path`.
pub(super) fn apply(root: &mut Json, path: &[Step], edit: &Edit) -> Result<(), String> {
    let language = root.get("QueryLanguage").and_then(Json::as_str).unwrap_or("JSONPath").to_owned();
    let is_taken = |root: &Json, name: &str| states_with(root, name).is_some();
    match edit {
        Edit::Rename { to: name, .. } | Edit::Insert { name, .. } | Edit::Wrap { name, .. }
            if is_taken(root, name) =>
        {
            return Err(format!("There is a state {name:?} already"));
        }
        Edit::Rename { to: name, .. } | Edit::Insert { name, .. } | Edit::Wrap { name, .. }
            if name.trim().is_empty() =>
        {
            return Err("A state needs a name".to_owned());
        }
        _ => {}
    }
    let workflow = at(root, &path[..path.len() - 1]);
    match edit {
        Edit::Rename { state, to } => {
            for_each_target(workflow, &mut |target| {
                if target == state {
                    *target = json!(to);
                }
            });
            let states = states(workflow);
            *states = std::mem::take(states)
                .into_iter()
                .map(|(name, value)| if name == *state { (to.clone(), value) } else { (name, value) })
                .collect();
        }
        Edit::Insert { from, to, catch, kind, name, value } => {
            let new = inserted(value.as_ref(), kind, name, to.as_deref(), &language)?;
            let states = states(workflow);
            let state = states.get_mut(from).ok_or("there is no such state")?;
            let mut is_led = false;
            match to {
                Some(to) => targets(state, |field, target| {
                    if (field == "Catch") == *catch && target == to {
                        *target = json!(name);
                        is_led = true;
                    }
                }),
                None => {
                    if let Some(members) = state.as_object_mut()
                        && members.get("End") == Some(&Json::Bool(true))
                    {
                        *members = replaced(std::mem::take(members), "End", ("Next", json!(name)));
                        is_led = true;
                    }
                }
            }
            if !is_led {
                return Err(format!("No such edge leaves {from:?}"));
            }
            insert_after(states, from, name, new);
        }
        Edit::Delete { state } => {
            let next = next_of(&states(workflow)[state.as_str()]);
            if next.as_deref() == Some(state) {
                return Err("The state leads to itself: change where it leads first".to_owned());
            }
            if workflow.get("StartAt").and_then(Json::as_str) == Some(state) {
                let next = next.as_ref().ok_or("A workflow needs a state: this is its only way")?;
                workflow["StartAt"] = json!(next);
            }
            let states = states(workflow);
            states.shift_remove(state);
            for (name, other) in states.iter_mut() {
                match &next {
                    Some(next) => targets(other, |_, target| {
                        if target == state {
                            *target = json!(next);
                        }
                    }),
                    None => {
                        if let Some(members) = other.as_object_mut()
                            && members.get("Next").and_then(Json::as_str) == Some(state)
                        {
                            *members = replaced(std::mem::take(members), "Next", ("End", json!(true)));
                        }
                        let mut is_left = false;
                        targets(other, |_, target| is_left |= target == state);
                        if is_left {
                            return Err(format!(
                                "A rule or catcher of {name:?} leads to it: change that first"
                            ));
                        }
                    }
                }
            }
        }
        Edit::Catch { state, to } => {
            if !states(workflow).contains_key(to) {
                return Err(format!("There is no state {to:?} beside it"));
            }
            append(&mut states(workflow)[state.as_str()], "Catch", catcher(to))?;
        }
        Edit::Set { state, path, value, remove } => {
            set(&mut states(workflow)[state.as_str()], path, Some(value).filter(|_| !remove))?;
        }
        Edit::Lead { state, to } => {
            let is_there = states(workflow).contains_key(to);
            let members = states(workflow)[state.as_str()].as_object_mut();
            let members = members.filter(|it| is_there && it.get("End") == Some(&Json::Bool(true)));
            let members = members.ok_or("It does not end there, or there is no such state beside it")?;
            *members = replaced(std::mem::take(members), "End", ("Next", json!(to)));
        }
        Edit::Raise { state, field, item } => {
            let list = states(workflow)[state.as_str()].get_mut(field).and_then(Json::as_array_mut);
            let list = list.filter(|list| (1..list.len()).contains(item)).ok_or("There is no such item")?;
            list.swap(*item, item - 1);
        }
        Edit::Wrap { state, kind, name } => {
            let wrapped = wrap(&states(workflow)[state.as_str()], state, kind)?;
            for_each_target(workflow, &mut |target| {
                if target == state {
                    *target = json!(name);
                }
            });
            let states = states(workflow);
            *states = std::mem::take(states)
                .into_iter()
                .map(
                    |(key, value)| if key == *state { (name.clone(), wrapped.clone()) } else { (key, value) },
                )
                .collect();
        }
        Edit::Retry { state } => append(&mut states(workflow)[state.as_str()], "Retry", retrier())?,
    }
    Ok(())
}

pub(super) fn catcher(to: &str) -> Json {
    json!({"ErrorEquals": ["States.ALL"], "Next": to})
}

pub(super) fn retrier() -> Json {
    json!({"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "MaxAttempts": 3, "BackoffRate": 2})
}

/// The default content of a new state.
pub(super) fn new_state(kind: &str, name: &str, to: Option<&str>, language: &str) -> Result<Json, String> {
    let inner = || json!({"StartAt": format!("{name}: inner"), "States": {format!("{name}: inner"): {"Type": "Pass", "End": true}}});
    let mut state = match kind {
        "Pass" => json!({"Type": "Pass"}),
        "Wait" => json!({"Type": "Wait", "Seconds": 1}),
        "Task" => {
            let arguments = if language == "JSONata" { "Arguments" } else { "Parameters" };
            json!({"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", arguments: {"FunctionName": "function"}})
        }
        "Map" => json!({"Type": "Map", "ItemProcessor": inner()}),
        "Parallel" => json!({"Type": "Parallel", "Branches": [inner()]}),
        "Choice" => {
            // Both ways lead on: what is to be different on one of them is inserted there.
            let to = to.ok_or("A Choice cannot be the last state: insert it before another one")?;
            return Ok(match language {
                "JSONata" => {
                    json!({"Type": "Choice", "Choices": [{"Condition": "{% true %}", "Next": to}], "Default": to})
                }
                _ => {
                    let rule = json!({"Variable": "$.value", "IsPresent": true, "Next": to});
                    json!({"Type": "Choice", "Choices": [rule], "Default": to})
                }
            });
        }
        "Succeed" => json!({"Type": "Succeed"}),
        "Fail" => json!({"Type": "Fail", "Error": "Failed", "Cause": "Say why"}),
        _ => return Err(format!("A state of the type {kind:?} cannot stand on an edge")),
    };
    lead(&mut state, to);
    Ok(state)
}

/// Where a new state leads, unless its type ends the workflow.
fn lead(state: &mut Json, to: Option<&str>) {
    match to {
        _ if ["Succeed", "Fail"].contains(&kind_of(state.get("Type"))) => {}
        Some(to) => state["Next"] = json!(to),
        None => state["End"] = json!(true),
    }
}

/// A new state: a pasted one, or its type's default.
pub(super) fn inserted(
    value: Option<&Json>,
    kind: &str,
    name: &str,
    to: Option<&str>,
    language: &str,
) -> Result<Json, String> {
    let Some(value) = value else { return new_state(kind, name, to, language) };
    let mut state = value.as_object().ok_or("A state is an object")?.clone();
    let kind = kind_of(state.get("Type"));
    if !["Pass", "Task", "Wait", "Map", "Parallel", "Succeed", "Fail"].contains(&kind) {
        return Err(format!("A state of the type {kind:?} cannot stand on an edge"));
    }
    // It may come from another workflow, whose states are not here.
    for field in ["Next", "End", "Catch"] {
        state.shift_remove(field);
    }
    let mut state = Json::Object(state);
    lead(&mut state, to);
    Ok(state)
}

/// Writes or removes the value at a path.
fn set(state: &mut Json, path: &[Step], value: Option<&Json>) -> Result<(), String> {
    let (last, before) = path.split_last().ok_or("It has to be said what is to be changed")?;
    let mut at = state;
    for step in before {
        let inner = match step {
            Step::Member(name) => at.get_mut(name),
            Step::Item(n) => at.get_mut(n),
        };
        at = inner.ok_or("There is no such place in the state")?;
    }
    match (at, last, value) {
        (Json::Object(members), Step::Member(name), Some(value)) => {
            members.insert(name.clone(), value.clone());
        }
        (Json::Object(members), Step::Member(name), None) => {
            members.shift_remove(name).ok_or("There is no such field")?;
        }
        (Json::Array(items), &Step::Item(n), Some(value)) if n < items.len() => items[n] = value.clone(),
        (Json::Array(items), &Step::Item(n), Some(value)) if n == items.len() && n > 0 => {
            items.push(value.clone())
        }
        (Json::Array(items), &Step::Item(n), None) if n < items.len() => drop(items.remove(n)),
        _ => return Err("There is no such place in the state".to_owned()),
    }
    Ok(())
}

/// A Map or Parallel with the state in it.
pub(super) fn wrap(state: &Json, name: &str, kind: &str) -> Result<Json, String> {
    let members = state.as_object().ok_or("A state is an object")?;
    let of = kind_of(members.get("Type"));
    if members.contains_key("Catch") || !["Pass", "Task", "Wait", "Map", "Parallel"].contains(&of) {
        return Err("It leads to states that would not be beside it any more: change that first".to_owned());
    }
    let mut inner = members.clone();
    let way = ["Next", "End"].into_iter().find_map(|field| Some((field, inner.get(field).cloned()?)));
    if let Some((field, _)) = way {
        inner = replaced(inner, field, ("End", json!(true)));
    }
    let workflow = json!({"StartAt": name, "States": {name: inner}});
    let mut outer = Map::new();
    outer.insert("Type".to_owned(), json!(kind));
    match kind {
        "Map" => outer.insert("ItemProcessor".to_owned(), workflow),
        "Parallel" => outer.insert("Branches".to_owned(), json!([workflow])),
        _ => return Err("A state can be put into a Map or a Parallel".to_owned()),
    };
    outer.extend(way.map(|(field, value)| (field.to_owned(), value)));
    Ok(Json::Object(outer))
}

/// A state's `Type`.
pub(in crate::draft) fn kind_of(member: Option<&Json>) -> &str {
    member.and_then(Json::as_str).unwrap_or_default()
}

fn states(workflow: &mut Json) -> &mut Map<String, Json> {
    workflow["States"].as_object_mut().expect("the path leads to an object")
}

/// A state's default target.
pub(super) fn next_of(state: &Json) -> Option<String> {
    let target = state.get("Next").or_else(|| state.get("Default"));
    target.and_then(Json::as_str).map(str::to_owned)
}

/// All references to states in a workflow.
fn for_each_target(workflow: &mut Json, seen: &mut dyn FnMut(&mut Json)) {
    if let Some(start) = workflow.get_mut("StartAt") {
        seen(start);
    }
    for (_, state) in states(workflow).iter_mut() {
        targets(state, |_, target| seen(target));
    }
}

/// The references of a state to others, each with its field.
fn targets(state: &mut Json, mut seen: impl FnMut(&str, &mut Json)) {
    for field in ["Next", "Default"] {
        if let Some(target) = state.get_mut(field) {
            seen(field, target);
        }
    }
    for field in ["Choices", "Catch"] {
        for item in state.get_mut(field).and_then(Json::as_array_mut).into_iter().flatten() {
            if let Some(target) = item.get_mut("Next") {
                seen(field, target);
            }
        }
    }
}

fn replaced(members: Map<String, Json>, name: &str, (new, value): (&str, Json)) -> Map<String, Json> {
    let each = |(key, old)| if key == name { (new.to_owned(), value.clone()) } else { (key, old) };
    members.into_iter().map(each).collect()
}

fn insert_after(members: &mut Map<String, Json>, after: &str, name: &str, value: Json) {
    let mut all = Map::new();
    for (key, old) in std::mem::take(members) {
        let is_here = key == after;
        all.insert(key, old);
        if is_here {
            all.insert(name.to_owned(), value.clone());
        }
    }
    *members = all;
}

fn append(state: &mut Json, field: &str, item: Json) -> Result<(), String> {
    let kind = kind_of(state.get("Type"));
    if !["Task", "Map", "Parallel"].contains(&kind) {
        return Err(format!("A state of the type {kind} has no {field}"));
    }
    let list = state.as_object_mut().map(|state| state.entry(field).or_insert_with(|| json!([])));
    match list.and_then(Json::as_array_mut) {
        Some(list) => list.push(item),
        None => return Err(format!("{field} is no array")),
    }
    Ok(())
}
