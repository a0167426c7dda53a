//! Tokens by which services recognize a repeated request.
//!
//! AWS's SDK fills in those that the models mark. Beside them there are members that a task may leave out. The task of a
//! durable execution is repeated when the process ended before its result was recorded: it then sends the same key again,
//! in either kind of member, unless the task sets its own.

use super::percent;
use crate::json::{self, Arena, Value};
use crate::models::{Location, Member, Need, Operation, Protocol};
use crate::random;

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

/// A member of a request that the task does not set, and its value.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) member: &'static Member,
    pub(super) text: String,
}

/// Whether the operation has a member for a key.
pub(super) fn has_member(operation: &Operation) -> bool {
    members(operation).any(|member| is_key(operation, member))
}

/// A key that is used once.
pub(super) fn fresh() -> String {
    String::from_utf8_lossy(&crate::uuid::text(random::next(), random::next())).into_owned()
}

/// What is to be added to a request with this input: `key`, or a fresh one where the SDK fills a member in.
pub(super) fn added(operation: &Operation, arena: &Arena, input: Value, key: Option<&str>) -> Option<Key> {
    let given = |name: &str| arena.get_str(input, name).filter(|value| !value.is_null());
    let is_fifo = || {
        let mut places = PLACES.iter().filter_map(|place| given(place).and_then(|value| arena.as_str(value)));
        places.any(|place| place.ends_with(".fifo"))
    };
    let member = members(operation).find(|member| {
        is_key(operation, member)
            && given(member.name(operation.naming)).is_none()
            && (member.wire != DEDUPLICATION || is_fifo())
    })?;
    let text = match key {
        Some(key) => key.to_owned(),
        None if is_filled_in(member) => fresh(),
        None => return None,
    };
    Some(Key { member, text })
}

/// Adds a key to a body that is written already.
pub(super) fn write(protocol: Protocol, Key { member, text }: &Key, body: &mut Vec<u8>) {
    match protocol {
        Protocol::Json | Protocol::Rest => {
            // A REST request may have no body yet.
            let rest = if body.is_empty() { b"}".to_vec() } else { body.split_off(1) };
            body.resize(1, b'{');
            json::write_string(member.wire, body);
            body.push(b':');
            json::write_string(text, body);
            if rest != b"}" {
                body.push(b',');
            }
            body.extend_from_slice(&rest);
        }
        Protocol::RestXml => unreachable!("it is written in the place that the model says"),
        Protocol::Query | Protocol::Ec2 => {
            let mut pair = String::new();
            percent::pair(member.wire, text, &mut pair);
            if !pair.starts_with('&') {
                body.push(b'&');
            }
            body.extend_from_slice(pair.as_bytes());
        }
    }
}

fn is_filled_in(member: &Member) -> bool {
    matches!(member.need, Need::Token | Need::OptionalToken)
}

fn is_key(operation: &Operation, member: &Member) -> bool {
    // An execution of the same name and input is found, not started twice.
    let is_start = operation.service.id == "SFN" && operation.name == "StartExecution";
    let wire = member.wire;
    let is_known =
        TOKENS.contains(&wire) && member.location == Location::Body && member.need != Need::Required;
    is_filled_in(member) || is_known || wire == DEDUPLICATION || is_start && wire == "name"
}

fn members(operation: &Operation) -> impl Iterator<Item = &'static Member> {
    operation.input.map(|shape| operation.members(shape)).into_iter().flatten()
}
