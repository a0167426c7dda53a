//! The page's actions in a cluster whose executions are spread over its nodes: each is done by the node that has what
//! it is about, or by all nodes, whose answers are merged.

use std::cmp::Reverse;
use std::collections::HashMap;

use serde_json::{Value as Json, json};

use super::lists::{self, BY_TIME, DEPTH_MAX, GROUPS_MAX, LISTED_MAX, SAMPLES_MAX};
use crate::api::Reply;
use crate::journal::partition_of;
use crate::service::spread::{Node, PeerReply};

/// Targets of actions that one node has another one do.
pub(in crate::server) const BETWEEN: &str = "Expressway.Console.";

/// The refusal of a node that does not have a Map Run: only one of them has it.
const LACKS: &str = "ResourceNotFound";

/// Where an action is done.
pub(super) enum Place {
    Here,
    /// By the node that has this partition.
    Partition(u16),
    /// By the node that has it in memory, which the request does not show.
    Any,
    All,
}

pub(super) fn place(action: &str, members: &Json) -> Place {
    match action {
        "GetExecution" | "GetEvents" => match members["executionArn"].as_str() {
            Some(arn) if arn.contains(":execution:") => Place::Partition(partition_of(arn)),
            Some(arn) if arn.contains(":express:") => Place::Any,
            _ => Place::Here,
        },
        "Overview" | "Rates" | "Heat" | "Failures" | "FindExecutions" => Place::All,
        _ => Place::Here,
    }
}

/// What all nodes are asked for instead, where the request differs: of a list, all rows up to the last that is shown,
/// because each node may have any of them.
pub(super) fn asked(action: &str, members: &Json) -> Option<Json> {
    if action != "FindExecutions" {
        return None;
    }
    let number = |name: &str| members[name].as_u64();
    let count = number("from").unwrap_or(0).saturating_add(number("count").unwrap_or(LISTED_MAX as u64));
    let mut asked = members.clone();
    (asked["from"], asked["count"], asked[BY_TIME]) = (0.into(), count.into(), true.into());
    Some(asked)
}

/// One answer of those of all nodes.
pub(super) fn merged(
    action: &str,
    members: &Json,
    own: Reply,
    others: Vec<(Node, Option<PeerReply>)>,
) -> Reply {
    let read = |body: &[u8]| serde_json::from_slice::<Json>(body).ok();
    let nodes = others.len() + 1;
    let lacks = |error: Option<&str>| error == Some(LACKS);
    if own.status != 200 && !lacks(own.error.as_deref()) {
        return own;
    }
    let mut answers: Vec<Json> =
        if own.status == 200 { read(&own.body).into_iter().collect() } else { Vec::new() };
    let mut silent = Vec::new();
    for (node, reply) in others {
        match reply {
            Some(reply) if reply.status == 200 => answers.extend(read(&reply.body)),
            Some(reply) if lacks(reply.error.as_deref()) => {}
            // It is away, busy, of a release without this action, or does not know the caller.
            _ => silent.push(node.name),
        }
    }
    let mut answers = answers.into_iter();
    let Some(first) = answers.next() else { return own };
    let mut all = match action {
        "FindExecutions" => found(members, first, answers),
        "Failures" => failures(first, answers),
        "Overview" => answers.fold(first, |all, more| by("machines", "arn", all, more, latest)),
        "Rates" => answers.fold(first, |all, more| by("machines", "arn", all, more, sum)),
        _ => answers.fold(first, heat),
    };
    all["nodes"] = json!({"count": nodes, "silent": silent});
    Reply { status: 200, body: all.to_string().into_bytes(), error: None, retry_after_ms: None }
}

/// The items of a list, which is left empty.
fn taken(answer: &mut Json, list: &str) -> Vec<Json> {
    match answer[list].take() {
        Json::Array(items) => items,
        _ => Vec::new(),
    }
}

/// Merges a member that is a list of objects: those whose member `key` is equal become one.
fn by(list: &str, key: &str, mut all: Json, mut more: Json, merge: fn(&mut Json, &Json)) -> Json {
    let key_of = |it: &Json| it[key].to_string();
    let mut known = taken(&mut all, list);
    let mut places: HashMap<String, usize> =
        known.iter().enumerate().map(|(n, it)| (key_of(it), n)).collect();
    for it in taken(&mut more, list) {
        match places.get(&key_of(&it)) {
            Some(&place) => merge(&mut known[place], &it),
            None => {
                places.insert(key_of(&it), known.len());
                known.push(it);
            }
        }
    }
    all[list] = known.into();
    all
}

/// Adds numbers, and those in lists by their places. Texts stay.
fn add(one: &mut Json, other: &Json) {
    match (one, other) {
        (Json::Array(one), Json::Array(other)) => {
            one.iter_mut().zip(other).for_each(|(one, other)| add(one, other));
        }
        (one, other) => {
            if let (Some(a), Some(b)) = (one.as_u64(), other.as_u64()) {
                *one = a.saturating_add(b).into();
            }
        }
    }
}

/// Adds all members.
fn sum(one: &mut Json, other: &Json) {
    for (name, value) in other.as_object().into_iter().flatten() {
        add(&mut one[name.as_str()], value);
    }
}

/// Keeps the later start.
fn latest(one: &mut Json, other: &Json) {
    if other["last"].as_u64() > one["last"].as_u64() {
        one["last"] = other["last"].clone();
    }
}

/// Samples: counts are added, which are of what the samples represent.
fn heat(mut all: Json, mut more: Json) -> Json {
    for name in ["sampled", "executions"] {
        add(&mut all[name], &more[name]);
    }
    if more["oneIn"].as_u64() > all["oneIn"].as_u64() {
        all["oneIn"] = more["oneIn"].take();
    }
    let edges = more["edges"].take();
    all = by("states", "name", all, more, sum);
    if let (Json::Array(known), Json::Array(edges)) = (&mut all["edges"], edges) {
        let place = |it: &Json| format!("{}\n{}", it[0], it[1]);
        let places: HashMap<String, usize> = known.iter().enumerate().map(|(n, it)| (place(it), n)).collect();
        for edge in edges {
            match places.get(&place(&edge)) {
                Some(&known_at) => add(&mut known[known_at][2], &edge[2]),
                None => known.push(edge),
            }
        }
    }
    all
}

/// A window of the rows of all nodes, the newest first by their start. Each node has sent as many as there are up to the
/// window's end, so the newest of all are among them.
fn found(members: &Json, mut all: Json, parts: impl Iterator<Item = Json>) -> Json {
    let mut rows = taken(&mut all, "executions");
    for mut part in parts {
        rows.extend(taken(&mut part, "executions"));
        for name in ["matching", "newer"] {
            add(&mut all[name], &part[name]);
        }
        all["upTo"] = all["upTo"].as_u64().max(part["upTo"].as_u64()).into();
        all["more"] = (all["more"] == true || part["more"] == true).into();
    }
    rows.sort_unstable_by_key(|row| Reverse((row["started"].as_u64(), row["number"].as_u64())));
    // While a partition moves, two nodes may have an execution that is over.
    rows.dedup_by(|one, other| one["arn"] == other["arn"]);
    let listed = all["matching"].as_u64().unwrap_or(0).min(DEPTH_MAX as u64);
    rows.truncate(listed as usize);
    let number = |name: &str| members[name].as_u64().and_then(|it| usize::try_from(it).ok());
    let from = number("from").unwrap_or(0).min(rows.len());
    let count = number("count").unwrap_or(LISTED_MAX).min(LISTED_MAX);
    (all["from"], all["listed"]) = (from.into(), listed.into());
    all["executions"] = rows.drain(from..).take(count).collect();
    all
}

/// Groups of failures of all nodes: those that are alike but for the numbers in their causes become one.
fn failures(mut all: Json, parts: impl Iterator<Item = Json>) -> Json {
    let key_of = |group: &Json| {
        let cause = group["cause"].as_str().map(lists::pattern);
        let texts = ["machineArn", "state", "status", "error"].map(|name| group[name].to_string());
        serde_json::json!([texts, cause]).to_string()
    };
    let mut groups = taken(&mut all, "groups");
    let mut places: HashMap<String, usize> =
        groups.iter().enumerate().map(|(n, it)| (key_of(it), n)).collect();
    for mut part in parts {
        for name in ["failed", "looked", "groupsMore"] {
            add(&mut all[name], &part[name]);
        }
        all["more"] = (all["more"] == true || part["more"] == true).into();
        for group in taken(&mut part, "groups") {
            match places.get(&key_of(&group)) {
                Some(&known) => join(&mut groups[known], group),
                None => {
                    places.insert(key_of(&group), groups.len());
                    groups.push(group);
                }
            }
        }
    }
    groups.sort_unstable_by_key(|group| Reverse((group["count"].as_u64(), group["newest"].as_u64())));
    let cut = groups.len().saturating_sub(GROUPS_MAX);
    groups.truncate(GROUPS_MAX);
    add(&mut all["groupsMore"], &cut.into());
    all["groups"] = groups.into();
    all
}

fn join(group: &mut Json, mut other: Json) {
    add(&mut group["count"], &other["count"]);
    group["newest"] = group["newest"].as_u64().max(other["newest"].as_u64()).into();
    group["oldest"] = group["oldest"].as_u64().min(other["oldest"].as_u64()).into();
    if let (Json::Array(samples), Json::Array(more)) = (&mut group["samples"], other["samples"].take()) {
        samples.extend(more);
        samples.truncate(SAMPLES_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, error: Option<&str>, body: &Json) -> PeerReply {
        let (body, error) = (body.to_string().into_bytes(), error.map(str::to_owned));
        PeerReply { status, error, retry_after_ms: None, body }
    }

    fn rows(names: &[(&str, u64)]) -> Json {
        let rows: Vec<Json> =
            names.iter().map(|(arn, at)| json!({"arn": arn, "started": at, "number": at})).collect();
        json!({"matching": rows.len(), "newer": 0, "upTo": 9, "more": false, "executions": rows})
    }

    #[test]
    fn what_a_node_does_not_tell_is_not_missing_in_silence() {
        let own = || reply(200, None, &rows(&[("b", 2), ("d", 4)])).into();
        let refused = |error| Some(reply(400, Some(error), &json!({})));
        let node = |name: &str| Node { name: name.into(), ..Node::default() };
        let others = vec![
            (node("answers"), Some(reply(200, None, &rows(&[("a", 1), ("d", 4), ("e", 5)])))),
            (node("lacks it"), refused("ResourceNotFound")),
            (node("older release"), refused("UnknownOperationException")),
            (node("other keys"), refused("UnrecognizedClientException")),
            (node("busy"), refused("ThrottlingException")),
            (node("dead"), None),
        ];
        let ask = json!({"from": 1, "count": 2});
        let all = merged("FindExecutions", &ask, own(), others.clone());
        let all: Json = serde_json::from_slice(&all.body).expect("JSON");
        let names: Vec<&str> =
            all["executions"].as_array().expect("rows").iter().filter_map(|it| it["arn"].as_str()).collect();
        assert_eq!(names, ["d", "b"], "by time, each once, the window's");
        let silent = json!(["older release", "other keys", "busy", "dead"]);
        assert_eq!(all["nodes"], json!({"count": 7, "silent": silent}));
        // A node whose own part is missing refuses, unless it has none.
        let busy: Reply = reply(400, Some("ThrottlingException"), &json!({})).into();
        assert_eq!(merged("FindExecutions", &ask, busy, others.clone()).status, 400);
        let lacks: Reply = reply(400, Some("ResourceNotFound"), &json!({})).into();
        assert_eq!(merged("FindExecutions", &ask, lacks, others).status, 200);
    }
}
