//! Parameters to requests of REST services with JSON: members are parts of the path, of the query, headers, or of the
//! body, which is one of JSON, or one member's: JSON, a text, or bytes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::utf8_percent_encode;
use serde_json::{Map, Value as Json};

use super::answer::is_json;
use super::http1::Reply;
use super::idempotency::{self, Key};
use super::percent::UNRESERVED;
use super::request::Draft;
use super::rest_xml;
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
    let Some((method, target)) = target else {
        unreachable!("an operation without method and path is not called: {operation:?}")
    };
    let (path, fixed) = target.split_once('?').unwrap_or((target, ""));
    let mut draft = Draft { path: path.to_owned(), ..Draft::default() };
    let fixed = fixed.split('&').filter(|pair| !pair.is_empty());
    let fixed = fixed.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let mut query: Vec<(String, String)> =
        fixed.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let members = operation.input.map(|shape| operation.members(shape)).into_iter().flatten();
    let (mut has_body, mut payload) = (false, None);
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
                let items = arena.items(value).iter();
                query.extend(items.map(|item| (member.wire.to_owned(), wire::text(arena, *item))));
            }
            // A map's entries, whose values may be lists.
            (Location::Query, Some(value)) if value.is_object() => {
                for (name, value) in arena.entries(value) {
                    let name = arena.str(name);
                    let values = if value.is_array() { arena.items(value) } else { &[value][..] };
                    query.extend(values.iter().map(|value| (name.to_owned(), wire::text(arena, *value))));
                }
            }
            (Location::Query, Some(value)) => {
                query.push((member.wire.to_owned(), wire::text(arena, value)));
            }
            (Location::Header, Some(value)) => header(operation, arena, member, value, &mut draft)?,
            (Location::Payload, Some(value)) => payload = Some((member, value)),
        }
    }
    let key_in_body = key.filter(|key| key.member.location == Location::Body);
    match key {
        Some(Key { member, text }) if member.location == Location::Query => {
            query.push((member.wire.to_owned(), text.clone()));
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
    let has_payload = || {
        let mut members = operation.input.map(|shape| operation.members(shape)).into_iter().flatten();
        members.any(|member| member.location == Location::Payload)
    };
    if let Some((member, value)) = payload {
        let name = member.name(operation.naming);
        let given = draft.headers.iter().any(|(name, _)| *name == "content-type");
        let content_type = write_payload(operation, arena, member.value.kind, value, name, &mut draft.body)?;
        if !given {
            draft.headers.push(("content-type", content_type.into()));
        }
    } else if !has_payload()
        && (has_body || key_in_body.is_some() || matches!(method, "POST" | "PUT" | "PATCH"))
    {
        draft.headers.push(("content-type", "application/json".into()));
        draft.body = body;
    }
    // Without it, API Gateway answers in a form of JSON that has its members elsewhere.
    if operation.service.id == "API Gateway" && !draft.headers.iter().any(|(name, _)| *name == "accept") {
        draft.headers.push(("accept", "application/json".into()));
    }
    Ok((method, draft))
}

/// Writes a body that is one member. Returns its content type.
fn write_payload(
    operation: &Operation,
    arena: &Arena,
    kind: Type,
    value: Value,
    name: &str,
    out: &mut Vec<u8>,
) -> Result<&'static str, String> {
    if matches!(kind, Type::Shape(_) | Type::Any) {
        wire::write_json(operation, arena, kind, value, name, out)?;
        return Ok("application/json");
    }
    out.extend_from_slice(wire::text(arena, value).as_bytes());
    Ok(match kind {
        // What a workflow has for bytes is JSON or text, and those are mostly of JSON.
        Type::Bytes if !is_json(out) => "application/octet-stream",
        Type::Bytes => "application/json",
        _ => "text/plain",
    })
}

fn header(
    operation: &Operation,
    arena: &Arena,
    member: &Member,
    value: Value,
    draft: &mut Draft,
) -> Result<(), String> {
    let name = member.name(operation.naming);
    let text = match member.value.kind {
        Type::Shape(_) if value.is_object() => {
            for (key, value) in arena.entries(value).filter(|(_, value)| !value.is_null()) {
                let name = format!("{}{}", member.wire, arena.str(key).to_ascii_lowercase());
                draft.named.push((name, wire::text(arena, value)));
            }
            return Ok(());
        }
        Type::Shape(_) if value.is_array() => {
            let items = arena.items(value).iter().map(|item| wire::text(arena, *item));
            items.collect::<Vec<_>>().join(",")
        }
        Type::Shape(_) => return Err(wire::invalid(name)),
        Type::HttpDate => wire::scalar_text(arena, Type::HttpDate, value, name)?,
        _ => wire::text(arena, value),
    };
    draft.headers.push((member.wire, text.into()));
    Ok(())
}

/// Writes the query of a request, sorted.
pub(super) fn write_query<N: AsRef<str> + Ord>(mut query: Vec<(N, String)>, out: &mut String) {
    query.sort();
    for (n, (name, value)) in query.iter().enumerate() {
        out.push_str(if n > 0 { "&" } else { "" });
        out.extend(utf8_percent_encode(name.as_ref(), UNRESERVED));
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

/// A service's answer, for workflows: members in its headers and in its body.
///
/// # Errors
/// Why it is not what the model says.
pub(super) fn read(operation: &Operation, shape: usize, reply: &Reply) -> Result<Json, String> {
    let members = operation.members(shape);
    let json = || match &reply.body[..] {
        b"" => Ok(Json::Object(Map::new())),
        body => serde_json::from_slice(body).map_err(|error| error.to_string()),
    };
    let mut output = match members.iter().find(|member| member.location == Location::Payload) {
        None => wire::read_json(operation, Type::Shape(shape), json()?),
        Some(member) => {
            let value = match member.value.kind {
                Type::Shape(_) | Type::Any if reply.body.is_empty() => None,
                kind @ (Type::Shape(_) | Type::Any) => Some(wire::read_json(operation, kind, json()?)),
                // As in all results, bytes that are not text are encoded.
                _ => Some(match std::str::from_utf8(&reply.body) {
                    Ok(text) => text.into(),
                    Err(_) => STANDARD.encode(&reply.body).into(),
                }),
            };
            let named = value.map(|value| (member.name(operation.naming).to_owned(), value));
            Json::Object(named.into_iter().collect())
        }
    };
    let Some(object) = output.as_object_mut() else { return Err("it is not an object".to_owned()) };
    for member in members.iter().filter(|member| member.location == Location::Header) {
        let value = match member.wire {
            ":status" => Some(Json::from(reply.status.as_u16())),
            _ => rest_xml::header(operation, member, reply)
                .ok_or_else(|| format!("its header '{}' is not what it should be", member.wire))?,
        };
        let is_empty = |value: &Json| value.as_object().is_some_and(Map::is_empty);
        if let Some(value) = value.filter(|value| !is_empty(value)) {
            object.insert(member.name(operation.naming).to_owned(), value);
        }
    }
    Ok(output)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::endpoint::Endpoint;
    use super::super::service;
    use super::super::settings::Settings;
    use super::*;
    use crate::json;
    use crate::models::{self, Naming, Shape};

    fn sample(operation: &Operation, kind: Type) -> Json {
        match kind {
            Type::Shape(shape) => match &operation.service.shapes[shape] {
                Shape::List { .. } => json!([]),
                Shape::Structure(_) | Shape::Map { .. } => json!({}),
            },
            Type::Integer | Type::Float => json!(1),
            Type::Boolean => json!(true),
            Type::Seconds | Type::Time | Type::HttpDate => json!("2026-01-31T00:00:00Z"),
            Type::Text | Type::Bytes | Type::Any => json!("x"),
        }
    }

    /// Every operation of every service that is called has a request with a complete path when all members are given. One
    /// that is refused for want of members names what is missing.
    #[test]
    fn every_operation_has_a_request() {
        let settings = Settings::default();
        let mut count = 0;
        for package in models::called() {
            for action in models::actions(package) {
                let Ok(modelled) = service::sdk(&settings, package, &action) else { continue };
                let operation = models::find(package, &action, Naming::Java).expect("an operation");
                let members = operation.input.map(|shape| operation.members(shape)).unwrap_or(&[]);
                let given = members.iter().map(|member| match member.name(Naming::Java) {
                    // The one that is computed here.
                    name @ "ChecksumAlgorithm" => (name.to_owned(), json!("SHA256")),
                    name => (name.to_owned(), sample(&operation, member.value.kind)),
                });
                let given = Json::Object(given.collect());
                for (input, is_whole) in [(json!({}), false), (given, true)] {
                    let mut arena = Arena::default();
                    let input = json::read(&mut arena, input.to_string().as_bytes()).expect("JSON");
                    match modelled.asked(&arena, input, None) {
                        Ok(asked) => {
                            let path = &asked.draft().path;
                            assert!(
                                path.starts_with('/') && !path.contains('{'),
                                "{package}:{action}: {path}"
                            );
                        }
                        Err(why) => {
                            let is_known = why.contains('\'') || why.contains("bucket");
                            assert!(
                                is_known && !is_whole || package == "s3control",
                                "{package}:{action}: {why}"
                            );
                        }
                    }
                }
                count += 1;
            }
        }
        assert!(count > 19_000, "{count} operations");
        let hosts = ["organizations", "datazone", "budgets", "networkmanager"];
        let hosts =
            hosts.map(|host| Endpoint::of_aws(host, "eu-west-1").expect("a host").origin.host.to_string());
        let expected = [
            "organizations.us-east-1.amazonaws.com",
            "datazone.eu-west-1.api.aws",
            "budgets.amazonaws.com",
            "networkmanager.us-west-2.amazonaws.com",
        ];
        assert_eq!(hosts, expected);
    }
}
