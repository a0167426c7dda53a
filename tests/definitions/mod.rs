//! Definitions by others: recorded on AWS, published, or from linters.
//!
//! The corpora are beside the project and are read in place. Where this reader disagrees with one, the row is listed in
//! `tests/known/definitions.toml` with the reason; a listed row that agrees after all fails the run.

mod diagnostics;
mod hostile;
mod tally;

use expressway::asl::{self, Definition, Diagnostic, MachineType, Options, Resources, Severity};
use serde_json::Value;
use tally::{Tally, recorded, rows, suite};

fn read(text: &str, machine_type: MachineType) -> (Option<Definition>, Vec<Diagnostic>) {
    asl::read(text.as_bytes(), &Options { machine_type, ..Options::default() })
}

fn machine_type(row: &Value) -> MachineType {
    if row["machine_type"] == "EXPRESS" { MachineType::Express } else { MachineType::Standard }
}

fn errors(diagnostics: &[Diagnostic]) -> String {
    let errors: Vec<String> =
        diagnostics.iter().filter(|it| it.severity == Severity::Error).map(ToString::to_string).collect();
    errors.join("\n      ")
}

/// Accepted or refused, with what was found otherwise. Fixtures of linters and editors name resources such as `foo:bar`
/// that AWS does not have; they are not about resources, so any will do.
fn verdict(text: &str, accepted: bool, resources: Resources) -> Result<(), String> {
    let options = Options { machine_type: MachineType::Standard, resources, express_maps: false };
    let (definition, diagnostics) = asl::read(text.as_bytes(), &options);
    match (definition.is_some(), accepted) {
        (true, true) | (false, false) => Ok(()),
        (true, false) => Err("accepted, but should be refused".into()),
        (false, true) => Err(errors(&diagnostics)),
    }
}

/// Published definitions keep `${…}` where a deployment puts an ARN or a number. A plausible one is put there, because
/// AWS never sees the placeholder.
fn fill_placeholders(value: &mut Value, field: &str) {
    match value {
        Value::String(text) => {
            if text.starts_with("${") && text.ends_with('}') && text.matches("${").count() == 1 {
                let numeric = field.ends_with("Seconds")
                    || matches!(field, "MaxConcurrency" | "MaxAttempts" | "MaxItems" | "BackoffRate");
                match field {
                    "Resource" => *text = "arn:aws:lambda:us-east-1:111111111111:function:filled".into(),
                    _ if numeric => *value = Value::from(5),
                    _ => *text = "filled".into(),
                }
                return;
            }
            while let Some(start) = text.find("${") {
                let Some(length) = text[start..].find('}') else { break };
                text.replace_range(start..=start + length, "filled");
            }
            *text = text.replace("<PARTITION>", "aws").replace("arn:filled:", "arn:aws:");
        }
        Value::Array(items) => items.iter_mut().for_each(|item| fill_placeholders(item, field)),
        Value::Object(members) => members.iter_mut().for_each(|(key, value)| fill_placeholders(value, key)),
        _ => {}
    }
}

#[test]
fn published_definitions() {
    let Some(path) = suite("asl/definitions.jsonl") else { return };
    let mut tally = Tally::new("published");
    for row in rows(&path) {
        let id = row["id"].as_str().unwrap();
        let mut definition = row["definition"].clone();
        fill_placeholders(&mut definition, "");
        let text = definition.to_string();
        let resources = if row["origin"] == "real" { Resources::Aws } else { Resources::Any };
        match row["expected"].as_str().unwrap() {
            "valid" => {
                tally.case(id, verdict(&text, true, resources));
                // Features that Express machines lack are refused by name.
                let (_, diagnostics) = read(&text, MachineType::Express);
                assert!(
                    errors(&diagnostics).lines().all(|line| !line.contains("at null")),
                    "{id}: a refusal without a place"
                );
            }
            "invalid" => tally.case(id, verdict(&text, false, resources)),
            _ => {
                // The verdict is unknown; it must be read without a panic.
                read(&text, MachineType::Standard);
                tally.skip();
            }
        }
    }
    tally.finish();
}

#[test]
fn recorded_validations() {
    let Some(path) = recorded("validation.jsonl") else { return };
    let mut tally = Tally::new("validation");
    for row in rows(&path) {
        let id = row["id"].as_str().unwrap();
        let expected = &row["expected"];
        let about_definition = row["about"].is_null() || row["about"] == "definition";
        let (Some(text), true) = (row["definition_text"].as_str(), about_definition) else {
            tally.skip();
            continue;
        };
        let (_, diagnostics) = read(text, machine_type(&row));
        let result = if let Some(message) = expected["error"]["message"].as_str() {
            let ours = asl::invalid_definition(&diagnostics);
            same(&ours, message)
        } else if let Some(theirs) = expected["response"]["diagnostics"].as_array() {
            let ours: Vec<Value> = diagnostics
                .iter()
                .filter(|it| it.severity == Severity::Error)
                .map(|it| {
                    let mut value = serde_json::json!({
                        "code": it.code.name(), "message": it.message, "severity": it.severity.name(),
                    });
                    if let Some(location) = &it.location {
                        value["location"] = Value::from(location.as_str());
                    }
                    value
                })
                .collect();
            if &ours == theirs { Ok(()) } else { Err(format!("{ours:?}\n      instead of {theirs:?}")) }
        } else {
            same(&diagnostics.is_empty().to_string(), &expected["accepted"].to_string())
        };
        tally.case(id, result);
    }
    tally.finish();
}

/// What was measured in 2026: the result, and texts that some diagnostic has, or all of them in their order.
#[test]
fn validations_of_2026() {
    let Some(path) = recorded("validation-2026.jsonl") else { return };
    let mut tally = Tally::new("validation-2026");
    for row in rows(&path) {
        let machine_type =
            if row["type"] == "EXPRESS" { MachineType::Express } else { MachineType::Standard };
        let (definition, diagnostics) = read(&row["definition"].to_string(), machine_type);
        let errors: Vec<&Diagnostic> =
            diagnostics.iter().filter(|it| it.severity == Severity::Error).collect();
        let shown: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let expected: Vec<&str> =
            row["expected"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
        let agrees = match row["match"].as_str().unwrap() {
            "messages" => errors.iter().map(|it| &*it.message).eq(expected.iter().copied()),
            _ => expected.iter().all(|text| shown.iter().any(|it| it.contains(text))),
        };
        let agrees = agrees && definition.is_some() == (row["result"] == "OK");
        let why = format!("{shown:?}\n      instead of {expected:?}");
        tally.case(row["id"].as_str().unwrap(), if agrees { Ok(()) } else { Err(why) });
    }
    tally.finish();
}

fn same(ours: &str, theirs: &str) -> Result<(), String> {
    if ours == theirs { Ok(()) } else { Err(format!("{ours}\n      instead of {theirs}")) }
}

#[test]
fn linter_verdicts() {
    let Some(path) = recorded("static_validation_linters.jsonl") else { return };
    let mut tally = Tally::new("linters");
    for row in rows(&path) {
        let accepted = row["expected"]["accepted"].as_bool().unwrap();
        let text = match serde_json::from_str::<Value>(row["definition_text"].as_str().unwrap()) {
            Ok(mut definition) if row["definition_text"].as_str().unwrap().contains("${") => {
                fill_placeholders(&mut definition, "");
                definition.to_string()
            }
            _ => row["definition_text"].as_str().unwrap().to_owned(),
        };
        tally.case(row["id"].as_str().unwrap(), verdict(&text, accepted, Resources::Any));
    }
    tally.finish();
}

/// What ran on AWS was accepted by AWS.
#[test]
fn executed_definitions() {
    let Some(path) = recorded("execution.jsonl") else { return };
    let mut tally = Tally::new("executed");
    for row in rows(&path) {
        let text = row["definition"].to_string();
        let (definition, diagnostics) = read(&text, machine_type(&row));
        let result = if definition.is_some() { Ok(()) } else { Err(errors(&diagnostics)) };
        tally.case(row["id"].as_str().unwrap(), result);
    }
    tally.finish();
}

/// A tested state is a machine (with a state's name) or a state by itself.
#[test]
fn tested_states() {
    let Some(path) = recorded("test_state.jsonl") else { return };
    let mut tally = Tally::new("test-state");
    for row in rows(&path) {
        let id = row["id"].as_str().unwrap();
        let definition = &row["request"]["definition"];
        let refused = row["expected"]["error_response"]["message"].as_str();
        let about = refused.filter(|message| message.starts_with("Invalid State Machine Definition"));
        let text = definition.as_str().map_or_else(|| definition.to_string(), str::to_owned);
        let options = Options { machine_type: MachineType::Standard, ..Options::default() };
        let diagnostics = if definition["States"].is_object() {
            asl::read(text.as_bytes(), &options).1
        } else {
            asl::read_state(text.as_bytes(), "StateName", &options).1
        };
        let found = errors(&diagnostics);
        tally.case(
            id,
            match about {
                Some(message) => same(&asl::invalid_definition(&diagnostics), message),
                None if found.is_empty() => Ok(()),
                None => Err(found),
            },
        );
    }
    tally.finish();
}

/// Machines that were created or updated in a sequence of calls, and definitions that were refused there.
#[test]
fn created_machines() {
    let Some(path) = recorded("api.jsonl") else { return };
    let mut tally = Tally::new("api");
    for row in rows(&path) {
        for (index, step) in row["steps"].as_array().unwrap().iter().enumerate() {
            let Some(text) = step["request"]["definition"].as_str() else { continue };
            let express = step["request"]["type"] == "EXPRESS";
            let (_, diagnostics) =
                read(text, if express { MachineType::Express } else { MachineType::Standard });
            let found = errors(&diagnostics);
            let refused = step["error"]["code"].as_str().filter(|code| *code == "InvalidDefinition");
            let message = step["error"]["message"].as_str().unwrap_or_default();
            let result = match refused {
                Some(_) => same(&asl::invalid_definition(&diagnostics), message),
                None if found.is_empty() => Ok(()),
                None => Err(found),
            };
            tally.case(&format!("{}#{index}", row["id"].as_str().unwrap()), result);
        }
    }
    tally.finish();
}
