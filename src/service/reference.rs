//! The variables that the states of a definition refer to: `variableReferences`.
//!
//! A variable is referred to where a path or an expression is evaluated: in `…Path` fields and a Choice rule's
//! `Variable`, behind keys that end in `.$`, and between `{%` and `%}`. `$$` and `$states` are not variables.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json};

use crate::limits;

/// The names of states, and the variables each refers to, both sorted; states that refer to none are left out.
pub(super) fn variables(definition: &str) -> Vec<(String, Vec<String>)> {
    let Ok(Json::Object(root)) = serde_json::from_str(definition) else { return Vec::new() };
    let mut found = BTreeMap::new();
    workflow(&root, 0, &mut found);
    let lists = found.into_iter().map(|(state, names)| (state, names.into_iter().collect::<Vec<String>>()));
    lists.filter(|(_, names)| !names.is_empty()).collect()
}

type Found = BTreeMap<String, BTreeSet<String>>;

fn workflow(workflow: &Map<String, Json>, depth: usize, found: &mut Found) {
    let Some(Json::Object(states)) = workflow.get("States") else { return };
    if depth > limits::WORKFLOW_DEPTH_MAX {
        return;
    }
    for (name, state) in states {
        let Json::Object(state) = state else { continue };
        let mut names = BTreeSet::new();
        for (key, value) in state {
            match (&**key, value) {
                ("ItemProcessor" | "Iterator", Json::Object(inner)) => {
                    self::workflow(inner, depth + 1, found)
                }
                ("Branches", Json::Array(branches)) => {
                    for branch in branches.iter().filter_map(Json::as_object) {
                        self::workflow(branch, depth + 1, found);
                    }
                }
                (key, value) => member(key, value, &mut names),
            }
        }
        found.entry(name.clone()).or_default().extend(names);
    }
}

fn member(key: &str, value: &Json, names: &mut BTreeSet<String>) {
    match value {
        // The JSON reader bounds the depth.
        Json::Object(members) => members.iter().for_each(|(key, value)| member(key, value, names)),
        Json::Array(items) => items.iter().for_each(|item| member("", item, names)),
        Json::String(text) => match text.strip_prefix("{%").and_then(|text| text.strip_suffix("%}")) {
            Some(expression) => scan(expression, true, names),
            None if key.ends_with("Path") || key.ends_with(".$") || key == "Variable" => {
                scan(text, false, names);
            }
            None => {}
        },
        _ => {}
    }
}

/// Collects `$name` outside of strings. In an expression, functions and names that it binds itself do not count.
fn scan(text: &str, expression: bool, names: &mut BTreeSet<String>) {
    let bytes = text.as_bytes();
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let (mut at, mut bound) = (0, BTreeSet::new());
    let mut here = BTreeSet::new();
    while at < bytes.len() {
        match bytes[at] {
            quote @ (b'\'' | b'"') => {
                at += 1;
                while at < bytes.len() && bytes[at] != quote {
                    at += 1 + usize::from(bytes[at] == b'\\');
                }
                at += 1;
            }
            b'$' => {
                let rest = &text[at + 1..];
                let name: String = rest.chars().take_while(|&c| is_name(c)).collect();
                at += 1 + name.len();
                let after = text[at..].trim_start();
                let is_context = rest.starts_with('$');
                if is_context {
                    at +=
                        1 + rest[1..].chars().take_while(|&c| is_name(c)).map(char::len_utf8).sum::<usize>();
                } else if expression && after.starts_with(":=") {
                    bound.insert(name);
                } else if !name.is_empty() && name != "states" && !(expression && after.starts_with('(')) {
                    here.insert(name);
                }
            }
            _ => at += 1,
        }
    }
    names.extend(here.into_iter().filter(|name| !bound.contains(name)));
}
