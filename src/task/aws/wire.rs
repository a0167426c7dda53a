//! AWS JSON: parameters to requests, and answers to results, by the shapes of a model.
//!
//! In place of a text any other value is accepted, and sent as JSON text (recorded: `MessageBody`, `Input`, `Detail`).
//! Workflows write bytes as text. Members that are null are left out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value as Json};

use crate::json::{self, Arena, Value};
use crate::models::{Location, Naming, Operation, Shape, Type};

/// Writes parameters in the service's form.
///
/// # Errors
/// What is wrong with them, in AWS's words.
pub(super) fn write_json(
    operation: &Operation,
    arena: &Arena,
    kind: Type,
    value: Value,
    field: &str,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    let Type::Shape(shape) = kind else { return write_scalar(arena, kind, value, field, out) };
    let wrong = || Err(invalid(field));
    match &operation.service.shapes[shape] {
        Shape::Structure(members) => {
            if let Some(text) = arena.as_str(value).filter(|_| operation.is_text_too(shape)) {
                out.extend_from_slice(b"{\"S\":");
                json::write_string(text, out);
                out.push(b'}');
                return Ok(());
            }
            if !value.is_object() {
                return wrong();
            }
            out.push(b'{');
            let mut first = true;
            for (name, value) in arena.entries(value) {
                let name = arena.str(name);
                let Some(member) = members.iter().find(|member| member.name(operation.naming) == name) else {
                    return Err(unknown(name));
                };
                // Members for the SDK only are not sent.
                if value.is_null() || member.wire.is_empty() || member.location != Location::Body {
                    continue;
                }
                if !std::mem::take(&mut first) {
                    out.push(b',');
                }
                json::write_string(member.wire, out);
                out.push(b':');
                write_json(operation, arena, member.value.kind, value, name, out)?;
            }
            out.push(b'}');
        }
        Shape::List { element, .. } => {
            if !value.is_array() {
                return wrong();
            }
            out.push(b'[');
            for (n, item) in arena.items(value).iter().enumerate() {
                super::answer::separate(n, out);
                write_json(operation, arena, element.kind, *item, field, out)?;
            }
            out.push(b']');
        }
        Shape::Map { value: inner, .. } => {
            if !value.is_object() {
                return wrong();
            }
            out.push(b'{');
            for (n, (key, value)) in arena.entries(value).enumerate() {
                super::answer::separate(n, out);
                json::write_string(arena.str(key), out);
                out.push(b':');
                write_json(operation, arena, inner.kind, value, field, out)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

fn write_scalar(
    arena: &Arena,
    kind: Type,
    value: Value,
    field: &str,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    match kind {
        Type::Integer | Type::Float if value.is_number() => json::write(arena, value, out),
        Type::Boolean if value.as_bool().is_some() => json::write(arena, value, out),
        // A text with such a value is accepted.
        Type::Integer | Type::Float | Type::Boolean if is_said(arena, kind, value) => {
            out.extend_from_slice(text(arena, value).as_bytes());
        }
        Type::Integer | Type::Float | Type::Boolean => return Err(invalid(field)),
        Type::Seconds if value.is_number() => json::write(arena, value, out),
        Type::Seconds => {
            let time = arena.as_str(value).and_then(|text| text.parse::<jiff::Timestamp>().ok());
            let time = time.ok_or_else(|| invalid(field))?;
            json::shortest(time.as_millisecond() as f64 / 1_000.0, out);
        }
        Type::Text | Type::Time | Type::HttpDate => json::write_string(&text(arena, value), out),
        Type::Bytes => json::write_string(&STANDARD.encode(text(arena, value)), out),
        Type::Any | Type::Shape(_) => json::write(arena, value, out),
    }
    Ok(())
}

/// Whether a text is a number, or a boolean, in JSON.
fn is_said(arena: &Arena, kind: Type, value: Value) -> bool {
    let text = arena.as_str(value).unwrap_or_default();
    match kind {
        Type::Boolean => matches!(text, "true" | "false"),
        _ => serde_json::from_str::<serde_json::Number>(text).is_ok(),
    }
}

/// A value in place of a text.
pub(super) fn text(arena: &Arena, value: Value) -> String {
    arena.as_str(value).map_or_else(|| json::to_string(arena, value), str::to_owned)
}

/// A scalar in a form or in XML.
///
/// # Errors
/// When the value does not have the type, in AWS's words.
pub(super) fn scalar_text(arena: &Arena, kind: Type, value: Value, name: &str) -> Result<String, String> {
    match kind {
        Type::Bytes => Ok(STANDARD.encode(text(arena, value))),
        Type::HttpDate => {
            let time = arena.as_str(value).and_then(|text| text.parse::<jiff::Timestamp>().ok());
            let printer = jiff::fmt::rfc2822::DateTimePrinter::new();
            let date = time.and_then(|time| printer.timestamp_to_rfc9110_string(&time).ok());
            date.ok_or_else(|| invalid(name))
        }
        Type::Integer | Type::Float if value.is_number() => Ok(text(arena, value)),
        Type::Boolean if value.as_bool().is_some() => Ok(text(arena, value)),
        // A text with such a value is accepted.
        Type::Integer | Type::Float | Type::Boolean if !is_said(arena, kind, value) => Err(invalid(name)),
        _ => Ok(text(arena, value)),
    }
}

/// An unknown member.
pub(super) fn unknown(name: &str) -> String {
    format!("The field \"{name}\" is not supported by Step Functions")
}

/// A value with the wrong shape.
pub(super) fn invalid(name: &str) -> String {
    format!("The value of the field '{name}' has an invalid format")
}

/// A service's answer, for workflows: members renamed, times as text, bytes as decoded text. Unknown members are left
/// out, as in the SDK.
pub(super) fn read_json(operation: &Operation, kind: Type, value: Json) -> Json {
    let Type::Shape(shape) = kind else { return read_scalar(operation, kind, value) };
    match (&operation.service.shapes[shape], value) {
        (Shape::Structure(members), Json::Object(mut object)) => {
            let members = members.iter().filter_map(|member| {
                let value = object.remove(member.wire).filter(|value| !value.is_null())?;
                let name = member.name(operation.naming).to_owned();
                Some((name, read_json(operation, member.value.kind, value)))
            });
            Json::Object(members.collect())
        }
        (Shape::List { element, .. }, Json::Array(items)) => {
            items.into_iter().map(|item| read_json(operation, element.kind, item)).collect()
        }
        (Shape::Map { value: inner, .. }, Json::Object(entries)) => {
            let entries =
                entries.into_iter().map(|(key, value)| (key, read_json(operation, inner.kind, value)));
            Json::Object(entries.collect::<Map<_, _>>())
        }
        (_, value) => value,
    }
}

fn read_scalar(operation: &Operation, kind: Type, value: Json) -> Json {
    match kind {
        // Optimised integrations use milliseconds (published of `runTask.sync`), except `startExecution`, which uses a
        // text (recorded: a mock of it must be one).
        Type::Seconds
            if operation.naming == Naming::Service && operation.service.target != "AWSStepFunctions" =>
        {
            value.as_f64().and_then(milliseconds).map_or(value, Json::from)
        }
        Type::Seconds => value.as_f64().and_then(time).map_or(value, Json::String),
        Type::Bytes => value.as_str().and_then(decoded).map_or(value, Json::String),
        _ => value,
    }
}

/// The text of Base64 bytes; bytes that are not text stay encoded.
pub(super) fn decoded(text: &str) -> Option<String> {
    String::from_utf8(STANDARD.decode(text).ok()?).ok()
}

/// Seconds since 1970 in ISO 8601.
fn time(seconds: f64) -> Option<String> {
    jiff::Timestamp::from_millisecond(milliseconds(seconds)?).ok().map(|time| time.to_string())
}

/// Seconds in milliseconds.
fn milliseconds(seconds: f64) -> Option<i64> {
    let milliseconds = (seconds * 1_000.0).round();
    // Beyond this a float cannot count milliseconds, and no calendar reaches.
    (milliseconds.abs() < 9e15).then_some(milliseconds as i64)
}
