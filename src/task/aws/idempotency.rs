//! Idempotency keys: the task of a durable execution is repeated when the process ended before its result was recorded.
//! It then sends the same key, if the service has a member for it and the task does not set it.

use super::query_protocol;
use crate::json::{self, Arena, Value};
use crate::models::{Operation, Protocol};

/// Members by which services recognize a repeated request.
const TOKENS: [&str; 6] = [
    "ClientRequestToken",
    "clientRequestToken",
    "ClientToken",
    "clientToken",
    "IdempotencyToken",
    "idempotencyToken",
];

/// The id by which messages to a FIFO queue or topic are deduplicated, and the members with their destination.
const DEDUPLICATION: &str = "MessageDeduplicationId";
const PLACES: [&str; 2] = ["QueueUrl", "TopicArn"];

/// Whether the operation has a member for a key.
pub(super) fn has_member(operation: &Operation) -> bool {
    // Those of services with XML must be given, if there are any.
    operation.service.protocol != Some(Protocol::RestXml)
        && members(operation).any(|(wire, _)| is_key(operation, wire))
}

/// Adds the key to a request's body, unless the task sets its own, or the service has no member for it.
pub(super) fn add(
    (operation, protocol): (&Operation, Protocol),
    arena: &Arena,
    input: Value,
    key: &str,
    body: &mut Vec<u8>,
) {
    let given = |name: &str| arena.get_str(input, name).filter(|value| !value.is_null());
    let is_fifo = || {
        let mut places = PLACES.iter().filter_map(|place| given(place).and_then(|value| arena.as_str(value)));
        places.any(|place| place.ends_with(".fifo"))
    };
    let member = members(operation).find(|(wire, name)| {
        is_key(operation, wire) && given(name).is_none() && (*wire != DEDUPLICATION || is_fifo())
    });
    if let Some((wire, _)) = member {
        write(protocol, wire, key, body);
    }
}

fn write(protocol: Protocol, wire: &str, key: &str, body: &mut Vec<u8>) {
    match protocol {
        Protocol::Json | Protocol::Rest => {
            // A REST request may have no body yet.
            let rest = if body.is_empty() { b"}".to_vec() } else { body.split_off(1) };
            body.resize(1, b'{');
            json::write_string(wire, body);
            body.push(b':');
            json::write_string(key, body);
            if rest != b"}" {
                body.push(b',');
            }
            body.extend_from_slice(&rest);
        }
        Protocol::RestXml => unreachable!("`has_member` is false for REST-XML"),
        Protocol::Query | Protocol::Ec2 => {
            let mut pair = String::new();
            query_protocol::pair(wire, key, &mut pair);
            if !pair.starts_with('&') {
                body.push(b'&');
            }
            body.extend_from_slice(pair.as_bytes());
        }
    }
}

fn is_key(operation: &Operation, wire: &str) -> bool {
    // An execution of the same name and input is found, not started twice.
    let is_start = operation.service.id == "SFN" && operation.name == "StartExecution";
    TOKENS.contains(&wire) || wire == DEDUPLICATION || is_start && wire == "name"
}

/// The members of the input: the service's names, and the task's.
fn members(operation: &Operation) -> impl Iterator<Item = (&'static str, &'static str)> {
    let (naming, input) = (operation.naming, operation.input);
    let members = input.map(|shape| operation.members(shape)).into_iter().flatten();
    members.map(move |member| (member.wire, member.name(naming)))
}
