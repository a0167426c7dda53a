//! Real definitions, run with made-up inputs and tasks: values for later paths, errors with the names in handlers. For
//! any result, the invariants of `tests/trial` hold.

use crate::corpora;
use crate::trial;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::trial::Chance;
use expressway::{asl, compile};
use serde_json::{Map, Value as Json, json};

const SEEDS: u64 = 8;

#[test]
fn real_definitions() {
    let Some(rows) = corpora::lines("asl/definitions.jsonl") else { return };
    let options = asl::Options {
        machine_type: asl::MachineType::Express,
        resources: asl::Resources::Any,
        express_maps: false,
    };
    let (mut passed, mut skipped) = (0, 0);
    let mut failures = Vec::new();
    let mut statuses: BTreeMap<&str, usize> = BTreeMap::new();
    for row in &rows {
        let definition = &row["definition"];
        let (read, _) = asl::read(definition.to_string().as_bytes(), &options);
        let Some(Ok(program)) = read.map(|definition| compile::compile(&definition)) else {
            skipped += 1;
            continue;
        };
        let program = Arc::new(program);
        let asked = Asked::of(definition);
        for seed in 1..=SEEDS {
            let mut chance = Chance(seed);
            let (input, result) = (asked.value(&mut chance), asked.value(&mut chance));
            match trial::run(&program, &input, &result, &asked.errors, seed) {
                Ok(went) => {
                    passed += 1;
                    *statuses.entry(went.status).or_default() += 1;
                }
                Err(why) => failures.push(format!("{} with seed {seed}: {why}", row["id"])),
            }
        }
    }
    for failure in failures.iter().take(40) {
        eprintln!("{failure}");
    }
    println!("{statuses:?}; {skipped} definitions are not for Express workflows");
    println!("real definitions: {passed} passed, {} failed, {skipped} skipped", failures.len());
    assert!(failures.is_empty(), "invariants do not hold");
    assert!(statuses.len() >= 2, "runs end in one way only");
}

/// What a definition asks of its data.
struct Asked {
    /// Dotted paths, each with the values that would matter.
    paths: BTreeMap<String, Vec<Json>>,
    errors: Vec<String>,
}

impl Asked {
    fn of(definition: &Json) -> Asked {
        let mut asked =
            Asked { paths: BTreeMap::new(), errors: vec!["Boom".into(), "States.TaskFailed".into()] };
        asked.walk(definition);
        asked
    }

    fn walk(&mut self, json: &Json) {
        match json {
            Json::Object(members) => {
                if let Some(variable) = members.get("Variable").and_then(Json::as_str) {
                    let operands = members.iter().filter(|(name, _)| *name != "Variable" && *name != "Next");
                    let operands: Vec<Json> = operands
                        .map(|(_, operand)| operand.clone())
                        .filter(|operand| !operand.is_object())
                        .collect();
                    self.paths.entry(variable.to_owned()).or_default().extend(operands);
                }
                for (name, member) in members {
                    if let (Some(path), true) =
                        (member.as_str(), name.ends_with("Path") || name.ends_with(".$"))
                    {
                        let plausible = match &**name {
                            "ItemsPath" => vec![json!([1, 2, 3]), json!([{"id": 1}, {"id": 2}])],
                            "SecondsPath"
                            | "TimeoutSecondsPath"
                            | "HeartbeatSecondsPath"
                            | "MaxConcurrencyPath" => {
                                vec![json!(5)]
                            }
                            "TimestampPath" => vec![json!("2024-01-01T00:00:07Z")],
                            _ => Vec::new(),
                        };
                        self.paths.entry(path.to_owned()).or_default().extend(plausible);
                    }
                    if name == "ErrorEquals" {
                        let names = member.as_array().into_iter().flatten().filter_map(Json::as_str);
                        self.errors.extend(names.filter(|name| *name != "States.ALL").map(str::to_owned));
                    }
                    self.walk(member);
                }
            }
            Json::Array(items) => items.iter().for_each(|item| self.walk(item)),
            Json::String(text) => {
                for found in text.split(|c: char| !(c.is_alphanumeric() || "$._[]*".contains(c))) {
                    let found = found
                        .strip_prefix("$states.input")
                        .or_else(|| found.strip_prefix("$states.result"))
                        .map_or_else(|| found.to_owned(), |rest| format!("${rest}"));
                    if found.starts_with("$.") {
                        self.paths.entry(found).or_default();
                    }
                }
            }
            _ => {}
        }
    }

    /// A value that has something at most of the paths.
    fn value(&self, chance: &mut Chance) -> Json {
        let mut root = json!({"id": "id-1", "status": "OK"});
        for (path, plausible) in &self.paths {
            if chance.one_in(25) {
                continue;
            }
            let general = [
                json!("text"),
                json!(1),
                json!(true),
                json!([1, 2]),
                json!({"a": 1}),
                json!("2024-01-01T00:00:07Z"),
            ];
            let leaf = if plausible.is_empty() || chance.one_in(4) {
                chance.pick(&general).clone()
            } else {
                chance.pick(plausible).clone()
            };
            put(&mut root, path, leaf);
        }
        if chance.one_in(20) { json!([root]) } else { root }
    }
}

/// Puts a leaf where a simple path points; what is too clever is left out.
fn put(root: &mut Json, path: &str, leaf: Json) {
    let Some(path) = path.strip_prefix("$.") else { return };
    let mut at = root;
    for step in path.split(['.', '[']) {
        let step = step.trim_end_matches(']').trim_matches('\'');
        if step.is_empty() || step.contains(['?', '(', ' ', ',', ':']) {
            return;
        }
        if step == "*" || step.parse::<usize>().is_ok() {
            if !at.is_array() {
                *at = json!([{}]);
            }
            let Some(first) = at.get_mut(0) else { return };
            at = first;
        } else {
            if !at.is_object() {
                *at = Json::Object(Map::new());
            }
            let Some(members) = at.as_object_mut() else { return };
            at = members.entry(step).or_insert_with(|| json!({}));
        }
    }
    if *at == json!({}) {
        *at = leaf;
    }
}
