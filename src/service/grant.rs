//! Authorization. A known caller comes with a [`Grant`]; a state machine carries its author's grant, so that callers
//! cannot exceed their own permissions through a machine.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::builder::Settings;
use super::{Inner, Service};
use crate::json::{Arena, Value};
use crate::program::Task;
use crate::task::{Call, Permit, TaskError};

/// What a caller may do: actions and resources, with `*` and `?` as in IAM. What no rule allows is denied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The holder's name in messages: an access key's identifier.
    pub holder: Box<str>,
    /// What is allowed.
    pub rules: Vec<Rule>,
}

/// Allows each of these actions on each of these resources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Such as `states:StartExecution`.
    pub actions: Vec<String>,
    /// ARNs.
    pub resources: Vec<String>,
}

/// The resource of an operation that names none.
const ANYTHING: &str = "*";
/// Operations that make a definition run with the permissions of the caller.
const OF_DEFINITIONS: [&str; 3] = ["CreateStateMachine", "TestState", "UpdateStateMachine"];

impl Grant {
    /// Whether an operation of this name may be done with these resources: it needs all of them. One that names none
    /// needs `*`, which only the rule `*` allows.
    ///
    /// # Errors
    /// AWS's message for what is not allowed.
    pub fn check<'r>(
        &self,
        operation: &str,
        resources: impl IntoIterator<Item = Cow<'r, str>>,
    ) -> Result<(), String> {
        let action = format!("states:{operation}");
        let mut is_empty = true;
        let mut refused = resources
            .into_iter()
            .inspect(|_| is_empty = false)
            .find(|resource| !self.allows(&action, resource));
        if is_empty && !self.allows(&action, ANYTHING) {
            refused = Some(Cow::Borrowed(ANYTHING));
        }
        match refused {
            None => Ok(()),
            Some(resource) => Err(format!(
                "User: {} is not authorized to perform: {action} on resource: {resource}",
                self.holder
            )),
        }
    }

    /// Whether an action that AWS does not have may be done with a resource.
    ///
    /// # Errors
    /// AWS's message for what is not allowed.
    pub fn check_own(&self, action: &str, resource: &str) -> Result<(), String> {
        if self.allows(action, resource) {
            Ok(())
        } else {
            Err(format!(
                "User: {} is not authorized to perform: {action} on resource: {resource}",
                self.holder
            ))
        }
    }

    fn allows(&self, action: &str, resource: &str) -> bool {
        self.rules.iter().any(|rule| {
            rule.actions.iter().any(|pattern| matches(pattern, action))
                && rule.resources.iter().any(|pattern| matches(pattern, resource))
        })
    }
}

/// Whether a member of a request names a resource of the operation: those of AWS's model whose names end in `Arn` do,
/// except for the execution role and the log group.
pub(crate) fn names_resource(member: &str) -> bool {
    member.ends_with("Arn") && !matches!(member, "roleArn" | "logGroupArn")
}

/// The kind of resource that an operation creates; the name in its request is the resource's.
pub(crate) fn made_by(operation: &str) -> Option<&'static str> {
    match operation {
        "CreateStateMachine" => Some("stateMachine"),
        "CreateActivity" => Some("activity"),
        _ => None,
    }
}

impl Service {
    /// The same service, used by a known caller: state machines whose definition it writes carry its permissions, and
    /// `TestState` is limited to them. Whether it may call an operation at all is for the caller of this to check.
    #[must_use]
    pub fn on_behalf_of(&self, caller: Arc<Grant>) -> Service {
        Service { caller: Some(caller), ..self.clone() }
    }

    /// Whether the caller may do an action with a resource; without authentication, every caller may do everything.
    ///
    /// # Errors
    /// AWS's message for what is not allowed.
    #[cfg(feature = "console")]
    pub(crate) fn may(&self, action: &str, resource: &str) -> Result<(), String> {
        self.caller.as_ref().map_or(Ok(()), |grant| grant.check_own(action, resource))
    }
}

impl Inner {
    /// The permit for a machine's tasks, if its maker is known.
    pub(super) fn permit(&self, maker: Option<&Arc<Grant>>) -> Option<Arc<dyn Permit>> {
        let maker = Arc::clone(maker?);
        // With the colon in front of the name.
        let Settings { partition, region, account, .. } = &self.settings;
        let arns =
            |resource_type: &str| format!("arn:{partition}:states:{region}:{account}:{resource_type}:");
        Some(Arc::new(MakerPermit { maker, machines: arns("stateMachine"), activities: arns("activity") }))
    }
}

/// Limits tasks of a machine to its maker's permissions.
#[derive(Debug)]
struct MakerPermit {
    maker: Arc<Grant>,
    /// The prefix of the ARNs of state machines and activities.
    machines: String,
    activities: String,
}

impl Permit for MakerPermit {
    fn concerns(&self, task: &Task) -> bool {
        operation_of(&task.resource.arn).is_some()
    }

    fn check(&self, call: &Call<'_>) -> Result<(), TaskError> {
        let Some((operation, is_optimised)) = operation_of(call.resource) else { return Ok(()) };
        let mut resources = Vec::new();
        self.name(&operation, call.arena, call.input, &mut resources);
        let mut checked = self.maker.check(&operation, resources);
        if checked.is_ok() && OF_DEFINITIONS.contains(&&*operation) {
            // The request is signed by this server, so the definition would run with the server's permissions.
            checked = self.maker.check(ANYTHING, [Cow::Borrowed(ANYTHING)]);
        }
        checked.map_err(|message| refused(&message, is_optimised))
    }
}

impl MakerPermit {
    /// The names in the task's input. Members are capitalized, as in the SDK for Java.
    fn name<'a>(&self, operation: &str, arena: &'a Arena, input: Value, found: &mut Vec<Cow<'a, str>>) {
        let text = |value: Value| arena.as_str(value).unwrap_or(ANYTHING);
        for (name, value) in arena.entries(input).filter(|(_, value)| !value.is_null()) {
            let member = uncapitalized(arena.str(name));
            match (&*member, made_by(operation)) {
                ("name", Some("activity")) => found.push([&*self.activities, text(value)].concat().into()),
                ("name", Some(_)) => found.push([&*self.machines, text(value)].concat().into()),
                ("routingConfiguration", _) if value.is_array() => {
                    for &route in arena.items(value).iter().filter(|route| route.is_object()) {
                        let arns = arena.entries(route).filter(|(name, value)| {
                            !value.is_null() && names_resource(&uncapitalized(arena.str(*name)))
                        });
                        found.extend(arns.map(|(_, value)| Cow::Borrowed(text(value))));
                    }
                }
                (member, _) if names_resource(member) => found.push(Cow::Borrowed(text(value))),
                _ => {}
            }
        }
    }
}

/// The operation of this API that tasks with a resource call, and whether by the optimised integration.
fn operation_of(arn: &str) -> Option<(String, bool)> {
    let (_, integration) = arn.split_once(":states:::")?;
    let (action, is_optimised) = match integration.strip_prefix("states:") {
        Some(action) => (action, true),
        None => (integration.strip_prefix("aws-sdk:sfn:")?, false),
    };
    let action = action.split_once('.').map_or(action, |(action, _)| action);
    let mut operation = action.to_owned();
    operation.get_mut(..1)?.make_ascii_uppercase();
    Some((operation, is_optimised))
}

fn uncapitalized(name: &str) -> String {
    let mut name = name.to_owned();
    if let Some(first) = name.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    name
}

/// The fault of a task whose role lacks a permission.
fn refused(message: &str, is_optimised: bool) -> TaskError {
    const REQUEST: &str = "00000000-0000-0000-0000-000000000000";
    if is_optimised {
        let cause = format!(
            "{message} (Service: AWSStepFunctions; Status Code: 400; Error Code: AccessDeniedException; Request ID: \
             {REQUEST}; Proxy: null)"
        );
        return TaskError::new("StepFunctions.AWSStepFunctionsException", cause);
    }
    let cause =
        format!("{message} (Service: Sfn, Status Code: 400, Request ID: {REQUEST}) (SDK Attempt Count: 1)");
    TaskError::new("Sfn.SfnException", cause)
}

/// Whether a text matches a pattern, in which `*` stands for any text and `?` for any one character.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // The position of the last star, and how far into the text it reaches.
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
        let may = |resources: &str, about: &[&str]| {
            let rule =
                Rule { actions: vec!["states:Start*".to_owned()], resources: vec![resources.to_owned()] };
            let grant = Grant { holder: "KEY".into(), rules: vec![rule] };
            grant.check("StartExecution", about.iter().map(|&it| Cow::Borrowed(it))).is_ok()
        };
        assert!(may("a?", &["ab", "ac"]) && !may("a?", &["ab", "b"]));
        assert!(may("*", &[]) && !may("a*", &[]), "what names nothing is about everything");
    }
}
