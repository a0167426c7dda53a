//! What a key may do: actions and resources, with `*` and `?` as in IAM.

use std::borrow::Cow;

use serde::Deserialize;

use super::{Denied, denied};
use crate::server::Place;

/// Allows each of these actions on each of these resources.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    actions: Vec<String>,
    resources: Vec<String>,
}

/// The members of requests that name what an operation is about.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Names<'a> {
    #[serde(borrow, default)]
    state_machine_arn: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    state_machine_version_arn: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    state_machine_alias_arn: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    execution_arn: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    activity_arn: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    map_run_arn: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    resource_arn: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    routing_configuration: Option<Vec<Route<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Route<'a> {
    #[serde(borrow, default)]
    state_machine_version_arn: Option<Cow<'a, str>>,
}

/// Whether the rules allow what a request asks for. An operation that names several resources needs all of them; one
/// that names none is about `*`, which only the rule `*` allows.
pub(super) fn check(
    rules: &[Rule],
    access_key_id: &str,
    place: &Place,
    target: &str,
    body: &[u8],
) -> Result<(), Denied> {
    let operation = target.rsplit('.').next().unwrap_or_default();
    let action = format!("states:{operation}");
    let resources = resources(operation, place, body);
    for resource in &resources {
        let is_allowed = rules.iter().any(|rule| {
            rule.actions.iter().any(|pattern| matches(pattern, &action))
                && rule.resources.iter().any(|pattern| matches(pattern, resource))
        });
        if !is_allowed {
            let message = format!(
                "User: {access_key_id} is not authorized to perform: {action} on resource: {resource}"
            );
            return denied("AccessDeniedException", message);
        }
    }
    Ok(())
}

fn resources<'a>(operation: &str, place: &Place, body: &'a [u8]) -> Vec<Cow<'a, str>> {
    // A body that is not understood, or that has a member twice, is about `*`: who may do less may not send it.
    let names: Names<'a> = serde_json::from_slice(body).unwrap_or_default();
    let kind = match operation {
        "CreateStateMachine" => Some("stateMachine"),
        "CreateActivity" => Some("activity"),
        _ => None,
    };
    if let (Some(kind), Some(name)) = (kind, &names.name) {
        let Place { region, account } = place;
        return vec![Cow::Owned(format!("arn:aws:states:{region}:{account}:{kind}:{name}"))];
    }
    let routes = names.routing_configuration.into_iter().flatten();
    let found: Vec<Cow<'a, str>> = [
        names.state_machine_arn,
        names.state_machine_version_arn,
        names.state_machine_alias_arn,
        names.execution_arn,
        names.activity_arn,
        names.map_run_arn,
        names.resource_arn,
    ]
    .into_iter()
    .chain(routes.map(|route| route.state_machine_version_arn))
    .flatten()
    .collect();
    if found.is_empty() { vec![Cow::Borrowed("*")] } else { found }
}

/// Whether a text fits a pattern, in which `*` stands for any text and `?` for any one character.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where the last star stands, and how far into the text it reaches.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if p < pattern.len() && pattern[p] == b'*' {
            star = Some((p, t));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == b'?' || pattern[p] == text[t]) {
            p += 1;
            t += 1;
        } else if let Some((at, reach)) = star {
            star = Some((at, reach + 1));
            p = at + 1;
            t = reach + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_iam() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "anything", true),
            ("states:*", "states:StartExecution", true),
            ("states:Start*", "states:StopExecution", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b", "xaybzab", true),
            ("*a*b", "xaybza", false),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
        let (pattern, text) = ("*a".repeat(5_000), "a".repeat(20_000) + "b");
        assert!(!matches(&pattern, &text), "and in time");
    }

    #[test]
    fn every_resource_has_to_be_allowed() {
        let orders = "arn:aws:states:us-east-1:123456789012:stateMachine:orders";
        let rules = |actions: &str, resources: &str| {
            vec![Rule { actions: vec![actions.to_owned()], resources: vec![resources.to_owned()] }]
        };
        let place = Place::default();
        let may = |rules: &[Rule], operation: &str, body: &str| {
            check(rules, "KEY", &place, &format!("AWSStepFunctions.{operation}"), body.as_bytes()).is_ok()
        };
        let start = format!(r#"{{"stateMachineArn": "{orders}", "input": "{{}}"}}"#);
        assert!(may(&rules("states:*", "*"), "StartExecution", &start));
        assert!(may(&rules("states:Start*", orders), "StartExecution", &start));
        assert!(!may(&rules("states:Start*", orders), "DeleteStateMachine", &start));
        assert!(!may(&rules("states:*", &format!("{orders}:*")), "StartExecution", &start));
        assert!(may(&rules("*", "*:stateMachine:ord*"), "CreateStateMachine", r#"{"name": "orders"}"#));
        assert!(!may(&rules("*", "*:stateMachine:ord*"), "CreateStateMachine", r#"{"name": "bills"}"#));
        assert!(!may(&rules("*", orders), "ListStateMachines", "{}"), "it is about everything");
        let twice = format!(r#"{{"stateMachineArn": "{orders}", "stateMachineArn": "{orders}:2"}}"#);
        assert!(!may(&rules("*", &format!("{orders}*")), "StartExecution", &twice));
        let routes =
            r#"{"routingConfiguration": [{"stateMachineVersionArn": "a"}, {"stateMachineVersionArn": "b"}]}"#;
        assert!(!may(&rules("*", "a"), "CreateStateMachineAlias", routes));
        assert!(may(&rules("*", "?"), "CreateStateMachineAlias", routes));
    }
}
