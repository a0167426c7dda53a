//! Checks mocked results against the APIs they stand for (developer guide, "Mock validation modes"): the shapes of the
//! APIs' answers, with their bounds, are in [`models`]. Unknown services and operations are not checked, and neither
//! are members that are not in the shape.

use regex::Regex;
use serde_json::{Map, Value as Json};

use super::FieldValidation;
use crate::asl::model::{Pattern, Resource, ResourceKind};
use crate::models::{self, Bounded, Bounds, Member, Naming, Need, Operation, Shape, Type};

/// Reports what is wrong with the result of a call of `resource`.
pub(super) fn check(resource: &Resource, result: &Json, mode: FieldValidation) -> Result<(), String> {
    if mode == FieldValidation::None {
        return Ok(());
    }
    let Some((operation, free)) = answering(resource) else { return Ok(()) };
    let Some(output) = operation.output else { return Ok(()) };
    let Json::Object(members) = result else {
        return Err("Mocked result must be a JSON object.".to_owned());
    };
    let members: Map<String, Json> = match free {
        [] => members.clone(),
        free => {
            let shaped = members.iter().filter(|(name, _)| !free.contains(&name.as_str()));
            shaped.map(|(name, value)| (name.clone(), value.clone())).collect()
        }
    };
    let check = Check { operation, mode };
    let found = check.structure(operation.members(output), &members);
    found.map_err(|why| format!("Mock result schema validation error: {why}"))
}

/// The operation whose answer the result is, and the members that have any JSON, because the integration parses their
/// text.
fn answering(resource: &Resource) -> Option<(Operation, &'static [&'static str])> {
    let polled = matches!(resource.pattern, Pattern::Sync | Pattern::Sync2);
    // A callback's result is what the worker sends.
    if resource.pattern == Pattern::WaitForTaskToken {
        return None;
    }
    let call = resource.kind.call()?;
    let called = |free: &'static [&'static str]| models::operation(call).map(|operation| (operation, free));
    match &resource.kind {
        ResourceKind::Service { service, action } => match (service.as_str(), action.as_str()) {
            // Of a job, the answer of the call that polls its status.
            ("states", "startExecution") if polled => {
                let free: &[&str] =
                    if resource.pattern == Pattern::Sync2 { &["Input", "Output"] } else { &[] };
                let operation = models::find("sfn", "describeExecution", Naming::Service).ok()?;
                Some((operation, free))
            }
            _ if polled => None,
            ("lambda", "invoke") => called(&["Payload"]),
            _ => called(&[]),
        },
        _ => called(&[]),
    }
}

struct Check {
    operation: Operation,
    mode: FieldValidation,
}

impl Check {
    fn structure(&self, fields: &[Member], members: &Map<String, Json>) -> Result<(), String> {
        let naming = self.operation.naming;
        if self.mode == FieldValidation::Strict
            && let Some(missing) = fields
                .iter()
                .find(|field| field.need == Need::Required && !members.contains_key(field.name(naming)))
        {
            return Err(format!("Required field '{}' is missing", missing.name(naming)));
        }
        members.iter().try_for_each(|(name, value)| {
            match fields.iter().find(|field| field.name(naming) == name) {
                Some(field) => self.value(name, field.value, value),
                None => Ok(()),
            }
        })
    }

    /// The JSON reader bounds the depth.
    fn value(&self, name: &str, expected: Bounded, value: &Json) -> Result<(), String> {
        let must_be = |what: &str| Err(format!("Field '{name}' must be {what}"));
        let bounds = expected.bounds.map(|at| self.operation.service.bounds[at]).unwrap_or_default();
        match (expected.kind, value) {
            (Type::Any, _) => Ok(()),
            (Type::Text | Type::Bytes | Type::Time | Type::HttpDate | Type::Seconds, Json::String(text)) => {
                text_bounds(name, text, bounds)
            }
            (Type::Text | Type::Bytes | Type::Time | Type::HttpDate | Type::Seconds, _) => {
                must_be("a string")
            }
            (Type::Integer | Type::Float, Json::Number(number)) => {
                let number = number.as_f64().unwrap_or(f64::MAX);
                range(name, number, bounds, ["is less than the minimum value", "exceeds the maximum value"])
            }
            (Type::Integer | Type::Float, _) => must_be("a number"),
            (Type::Boolean, Json::Bool(_)) => Ok(()),
            (Type::Boolean, _) => must_be("a boolean"),
            (Type::Shape(shape), value) => match (&self.operation.service.shapes[shape], value) {
                (Shape::Structure(fields), Json::Object(members)) => self.structure(fields, members),
                (Shape::Map { value: inner, .. }, Json::Object(members)) => {
                    range(name, members.len() as f64, bounds, LENGTH)?;
                    members.iter().try_for_each(|(key, value)| self.value(key, *inner, value))
                }
                (Shape::Structure(_) | Shape::Map { .. }, _) => must_be("an object"),
                (Shape::List { element, .. }, Json::Array(items)) => {
                    range(name, items.len() as f64, bounds, LENGTH)?;
                    items.iter().try_for_each(|item| self.value(name, *element, item))
                }
                (Shape::List { .. }, _) => must_be("an array"),
            },
        }
    }
}

/// The messages for a length below and above its bounds.
const LENGTH: [&str; 2] = ["is smaller than the minimum length", "exceeds the maximum length"];

fn range(name: &str, number: f64, bounds: Bounds, [below, above]: [&str; 2]) -> Result<(), String> {
    match bounds {
        Bounds { min: Some(min), .. } if number < min => Err(format!("Field '{name}' {below}")),
        Bounds { max: Some(max), .. } if number > max => Err(format!("Field '{name}' {above}")),
        _ => Ok(()),
    }
}

fn text_bounds(name: &str, text: &str, bounds: Bounds) -> Result<(), String> {
    if bounds.names.is_some_and(|names| !names.split('|').any(|name| name == text)) {
        return Err(format!("Field '{name}' is not an expected value"));
    }
    range(name, text.chars().count() as f64, bounds, LENGTH)?;
    // A pattern that only Java understands is not checked.
    let pattern = bounds.pattern.and_then(|pattern| Regex::new(pattern).ok());
    if pattern.is_none_or(|pattern| pattern.is_match(text)) {
        Ok(())
    } else {
        Err(format!("Field '{name}' does not match the expected pattern"))
    }
}
