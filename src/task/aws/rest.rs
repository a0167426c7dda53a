//! Parameters to requests of REST services with JSON: members are parts of the path, of the query, headers, or of the
//! body.

use percent_encoding::utf8_percent_encode;
use serde_json::Value as Json;

use super::caller::Draft;
use super::http1::Reply;
use super::idempotency::{self, Key};
use super::sign::UNRESERVED;
use super::wire;
use crate::json::{Arena, Value};
use crate::models::{Location, Member, Operation, Protocol, Type};

/// The method, and a request with the members in their places, and with `key`, which is not among them.
///
/// # Errors
/// What is wrong with the parameters, in AWS's words.
pub(super) fn draft(
    operation: &Operation,
    arena: &Arena,
    input: Value,
    key: Option<&Key>,
) -> Result<(&'static str, Draft), String> {
    let target = operation.wrapper.and_then(|target| target.split_at_checked(target.find('/')?));
    let Some((method, path)) = target else {
        unreachable!("an operation without method and path is not called: {operation:?}")
    };
    let mut draft = Draft { path: path.to_owned(), ..Draft::default() };
    let mut query: Vec<(&'static str, String)> = Vec::new();
    let members = operation.input.map(|shape| operation.members(shape)).into_iter().flatten();
    let mut has_body = false;
    for member in members {
        let given = arena.get_str(input, member.name(operation.naming)).filter(|value| !value.is_null());
        match (member.location, given) {
            (Location::Body, given) => has_body |= given.is_some(),
            (Location::Path, given) => {
                let name = member.name(operation.naming);
                let text = given.map(|value| wire::text(arena, value)).filter(|text| !text.is_empty());
                let text = text.ok_or_else(|| format!("The field '{name}' is required but was missing"))?;
                put(&mut draft.path, member, &text);
            }
            (_, None) => {}
            (Location::Query, Some(value)) if value.is_array() => {
                query.extend(arena.items(value).iter().map(|item| (member.wire, wire::text(arena, *item))));
            }
            (Location::Query, Some(value)) => query.push((member.wire, wire::text(arena, value))),
            (Location::Header, Some(value)) => {
                draft.headers.push((member.wire, wire::text(arena, value).into()))
            }
            (Location::Payload, _) => unreachable!("such operations are not called: {operation:?}"),
        }
    }
    let key_in_body = key.filter(|key| key.member.location == Location::Body);
    match key {
        Some(Key { member, text }) if member.location == Location::Query => {
            query.push((member.wire, text.clone()));
        }
        Some(Key { member, text }) if member.location == Location::Header => {
            draft.headers.push((member.wire, text.clone().into()));
        }
        _ => {}
    }
    write_query(query, &mut draft.query);
    // Also checks that all members are known.
    let mut body = Vec::new();
    if let Some(shape) = operation.input {
        wire::write_json(operation, arena, Type::Shape(shape), input, "", &mut body)?;
    }
    if let Some(key) = key_in_body {
        idempotency::write(Protocol::Rest, key, &mut body);
    }
    if has_body || key_in_body.is_some() || matches!(method, "POST" | "PUT" | "PATCH") {
        draft.headers.push(("content-type", "application/json".into()));
        draft.body = body;
    }
    Ok((method, draft))
}

/// Writes the query of a request, sorted.
pub(super) fn write_query(mut query: Vec<(&'static str, String)>, out: &mut String) {
    query.sort();
    for (n, (name, value)) in query.iter().enumerate() {
        out.push_str(if n > 0 { "&" } else { "" });
        out.extend(utf8_percent_encode(name, UNRESERVED));
        out.push('=');
        out.extend(utf8_percent_encode(value, UNRESERVED));
    }
}

/// Inserts a value into the path.
pub(super) fn put(path: &mut String, member: &Member, text: &str) {
    let encoded: String = utf8_percent_encode(text, UNRESERVED).collect();
    // With a plus, it may be several segments.
    let slashes = encoded.replace("%2F", "/");
    *path = path.replace(&format!("{{{}}}", member.wire), &encoded);
    *path = path.replace(&format!("{{{}+}}", member.wire), &slashes);
}

/// Adds members in an answer's headers to those in its body.
pub(super) fn add_headers(operation: &Operation, reply: &Reply, output: &mut Json) {
    let (Some(shape), Some(output)) = (operation.output, output.as_object_mut()) else { return };
    for member in operation.members(shape).iter().filter(|member| member.location == Location::Header) {
        if let Some(value) = reply.fields.get(member.wire) {
            output.insert(member.name(operation.naming).to_owned(), value.into());
        }
    }
}
