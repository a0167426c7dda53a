//! Mocked results against the APIs they stand for (developer guide, "Mock validation modes").
//!
//! The shapes of the APIs' answers stand in a text, which is made from AWS's published service models by
//! `.ci/api-shapes.py`: for each service its name, a line of operations with the number of their answer's shape, and one
//! line for each shape, numbered from 0. Services and operations that are not in it are not looked at, and neither is
//! what an answer holds beyond its shape.

use serde_json::{Map, Value as Json};

use super::FieldValidation;
use crate::asl::model::{Pattern, Resource, ResourceKind};

const SHAPES: &str = include_str!("api-shapes.txt");

/// Says what is wrong with the result of a call of `resource`.
pub(super) fn check(resource: &Resource, result: &Json, mode: FieldValidation) -> Result<(), String> {
    if mode == FieldValidation::None {
        return Ok(());
    }
    let Some((service, action, free)) = answering(resource) else { return Ok(()) };
    let Some((model, output)) = Model::find(&service, &action) else { return Ok(()) };
    let Json::Object(members) = result else {
        return Err("Mocked result must be a JSON object.".to_owned());
    };
    let Some(Shape::Structure(fields)) = model.shape(output) else { return Ok(()) };
    let members: Map<String, Json> = match free {
        [] => members.clone(),
        free => {
            let shaped = members.iter().filter(|(name, _)| !free.contains(&name.as_str()));
            shaped.map(|(name, value)| (name.clone(), value.clone())).collect()
        }
    };
    let check = Check { model, mode };
    check.structure(fields, &members).map_err(|why| format!("Mock result schema validation error: {why}"))
}

/// The service and the action whose answer the result is, and the members that hold any JSON, because the integration
/// reads their text.
fn answering(resource: &Resource) -> Option<(String, String, &'static [&'static str])> {
    let polled = matches!(resource.pattern, Pattern::Sync | Pattern::Sync2);
    match &resource.kind {
        // What a callback brings is what the worker sends.
        _ if resource.pattern == Pattern::WaitForTaskToken => None,
        ResourceKind::Sdk { service, action } => Some((service.clone(), action.clone(), &[])),
        ResourceKind::Service { service, action } => match (service.as_str(), action.as_str()) {
            ("http" | "apigateway", _) | ("eks", "call" | "runJob") => None,
            // Of a job, the answer of the call that asks how far it is.
            ("states", "startExecution") if polled => {
                let free: &[&str] =
                    if resource.pattern == Pattern::Sync2 { &["Input", "Output"] } else { &[] };
                Some(("sfn".to_owned(), "describeExecution".to_owned(), free))
            }
            _ if polled => None,
            ("lambda", "invoke") => Some((service.clone(), action.clone(), &["Payload"])),
            ("bedrock", "invokeModel") => Some(("bedrockruntime".to_owned(), action.clone(), &["Body"])),
            ("states", _) => Some(("sfn".to_owned(), action.clone(), &[])),
            ("events", _) => Some(("eventbridge".to_owned(), action.clone(), &[])),
            ("elasticmapreduce", _) => Some(("emr".to_owned(), action.clone(), &[])),
            _ => Some((service.replace('-', ""), action.clone(), &[])),
        },
        ResourceKind::Function | ResourceKind::Activity | ResourceKind::Other => None,
    }
}

/// The shapes of one service.
struct Model {
    shapes: Vec<&'static str>,
}

enum Shape {
    /// `{ Name:shape Required!:shape …`
    Structure(&'static str),
    /// `[ shape`
    List(usize),
    /// `map shape`
    Map(usize),
    /// `enum A|B`
    Enum(&'static str),
    /// `string 1..80`, either bound may be missing.
    String(Range),
    /// `number 0..1`
    Number(Range),
    /// `boolean`
    Boolean,
}

#[derive(Clone, Copy)]
struct Range {
    min: Option<f64>,
    max: Option<f64>,
}

impl Model {
    /// The service's shapes and the number of the shape that the operation answers with.
    fn find(service: &str, operation: &str) -> Option<(Model, usize)> {
        let service = service.to_ascii_lowercase();
        let mut lines = SHAPES.lines().skip_while(|line| line.strip_prefix("service ") != Some(&service));
        lines.next()?;
        let operations = lines.next()?.split(' ').filter_map(|entry| entry.split_once(':'));
        let (_, output) = operations.into_iter().find(|(name, _)| *name == operation)?;
        let shapes = lines.take_while(|line| !line.starts_with("service ")).collect();
        Some((Model { shapes }, output.parse().ok()?))
    }

    fn shape(&self, number: usize) -> Option<Shape> {
        let line = *self.shapes.get(number)?;
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        Some(match kind {
            "{" => Shape::Structure(rest),
            "[" => Shape::List(rest.parse().ok()?),
            "map" => Shape::Map(rest.parse().ok()?),
            "enum" => Shape::Enum(rest),
            "string" => Shape::String(Range::read(rest)),
            "number" => Shape::Number(Range::read(rest)),
            "boolean" => Shape::Boolean,
            // Any JSON.
            _ => return None,
        })
    }
}

impl Range {
    fn read(text: &str) -> Range {
        let (min, max) = text.split_once("..").unwrap_or_default();
        Range { min: min.parse().ok(), max: max.parse().ok() }
    }

    fn is_below(self, number: f64) -> bool {
        self.min.is_some_and(|min| number < min)
    }

    fn is_above(self, number: f64) -> bool {
        self.max.is_some_and(|max| number > max)
    }
}

struct Check {
    model: Model,
    mode: FieldValidation,
}

impl Check {
    fn structure(&self, fields: &str, members: &Map<String, Json>) -> Result<(), String> {
        let fields = || {
            fields.split(' ').filter_map(|field| {
                let (name, shape) = field.split_once(':')?;
                Some((name.trim_end_matches('!'), name.ends_with('!'), shape.parse::<usize>().ok()?))
            })
        };
        if self.mode == FieldValidation::Strict
            && let Some((name, ..)) =
                fields().find(|(name, needed, _)| *needed && !members.contains_key(*name))
        {
            return Err(format!("Required field '{name}' is missing"));
        }
        members.iter().try_for_each(|(name, value)| match fields().find(|(known, ..)| known == name) {
            Some((_, _, shape)) => self.value(name, shape, value),
            None => Ok(()),
        })
    }

    /// The reader of JSON bounds the depth.
    fn value(&self, name: &str, shape: usize, value: &Json) -> Result<(), String> {
        let must_be = |what: &str| Err(format!("Field '{name}' must be {what}"));
        match (self.model.shape(shape), value) {
            (None, _) => Ok(()),
            (Some(Shape::Structure(fields)), Json::Object(members)) => self.structure(fields, members),
            (Some(Shape::Map(inner)), Json::Object(members)) => {
                members.iter().try_for_each(|(key, value)| self.value(key, inner, value))
            }
            (Some(Shape::Structure(_) | Shape::Map(_)), _) => must_be("an object"),
            (Some(Shape::List(inner)), Json::Array(items)) => {
                items.iter().try_for_each(|item| self.value(name, inner, item))
            }
            (Some(Shape::List(_)), _) => must_be("an array"),
            (Some(Shape::Enum(names)), Json::String(text)) => match names.split('|').any(|name| name == text)
            {
                true => Ok(()),
                false => Err(format!("Field '{name}' is not an expected value")),
            },
            (Some(Shape::String(range)), Json::String(text)) => {
                let length = text.chars().count() as f64;
                if range.is_below(length) {
                    return Err(format!("Field '{name}' is smaller than the minimum length"));
                }
                if range.is_above(length) {
                    return Err(format!("Field '{name}' exceeds the maximum length"));
                }
                Ok(())
            }
            (Some(Shape::Enum(_) | Shape::String(_)), _) => must_be("a string"),
            (Some(Shape::Number(range)), Json::Number(number)) => {
                let number = number.as_f64().unwrap_or_default();
                if range.is_below(number) {
                    return Err(format!("Field '{name}' is less than the minimum value"));
                }
                if range.is_above(number) {
                    return Err(format!("Field '{name}' exceeds the maximum value"));
                }
                Ok(())
            }
            (Some(Shape::Number(_)), _) => must_be("a number"),
            (Some(Shape::Boolean), Json::Bool(_)) => Ok(()),
            (Some(Shape::Boolean), _) => must_be("a boolean"),
        }
    }
}
