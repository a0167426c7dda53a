//! Authorization. A known caller comes with a [`Grant`]; a state machine carries its author's grant, so that callers
//! cannot exceed their own permissions through a machine.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

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
