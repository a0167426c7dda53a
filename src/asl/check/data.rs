//! The data of distributed Maps: the `Parameters` (or `Arguments`) of `ItemReader` and `ResultWriter` (developer guide,
//! "ItemReader", "ResultWriter"), with AWS's messages for those of tasks.

use std::path::{Component, Path};

use super::{Check, Context, OBJECT, STRING};
use crate::asl::Resources;
use crate::asl::diagnostic::did_you_mean;
use crate::asl::place::Place;
use crate::json::source::{Node, NodeValue};
use crate::models::{self, Naming};

/// An action on data, and the members that identify the data.
struct Action {
    /// Its name in resources.
    name: &'static str,
    required: &'static [&'static str],
    optional: &'static [&'static str],
    /// The operation of S3 whose other members AWS accepts.
    operation: Option<&'static str>,
}

const ACTIONS: [Action; 5] = [
    Action {
        name: "s3:getObject",
        required: &["Bucket", "Key"],
        optional: &["VersionId", "ExpectedBucketOwner"],
        operation: Some("getObject"),
    },
    Action {
        name: "s3:listObjectsV2",
        required: &["Bucket"],
        optional: &["Prefix", "ExpectedBucketOwner"],
        operation: Some("listObjectsV2"),
    },
    Action {
        name: "s3:putObject",
        required: &["Bucket", "Prefix"],
        optional: &["ExpectedBucketOwner"],
        operation: Some("putObject"),
    },
    Action { name: "file:read", required: &["Path"], optional: &[], operation: None },
    Action { name: "file:write", required: &["Path"], optional: &[], operation: None },
];

/// Set by a Map Run itself, never by a definition.
const GIVEN_BY_THE_RUN: [&str; 2] = ["Body", "Key"];

impl Action {
    /// The action of a resource.
    fn of(arn: &str) -> Option<&'static Action> {
        let (_, name) = arn.split_once(":states:::")?;
        ACTIONS.iter().find(|action| action.name == name)
    }

    fn members(&self) -> impl Iterator<Item = &'static str> {
        self.required.iter().chain(self.optional).copied()
    }

    /// Whether AWS accepts a member, and this engine does not.
    fn is_on_aws(&self, member: &str) -> bool {
        let find = |action| models::find("s3", action, Naming::Service).ok();
        let Some(operation) = self.operation.and_then(find) else { return false };
        let by_the_run = self.name == "s3:putObject" && GIVEN_BY_THE_RUN.contains(&member);
        let has = |shape| operation.members(shape).iter().any(|it| it.name(Naming::Service) == member);
        !by_the_run && operation.input.is_some_and(has)
    }
}

/// Members of a reader's or a writer's parameters, without the suffix of those that are known at run time.
fn members(node: &Node, is_jsonata: bool) -> impl Iterator<Item = (&str, Option<&Node>)> {
    node.members().into_iter().flatten().map(move |member| {
        let comes = |value: &Node| is_jsonata && value.as_str().is_some_and(|text| text.starts_with("{%"));
        match member.key.value.strip_suffix(".$") {
            Some(name) if !is_jsonata => (name, None),
            _ => (&*member.key.value, Some(&member.value).filter(|value| !comes(value))),
        }
    })
}

/// The members that AWS accepts, and this engine does not.
pub(crate) fn not_here<'n>(arn: &str, parameters: &'n Node, is_jsonata: bool) -> Vec<&'n str> {
    let Some(action) = Action::of(arn) else { return Vec::new() };
    let is_not_here = |name: &&str| action.members().all(|member| member != *name);
    members(parameters, is_jsonata).map(|(name, _)| name).filter(is_not_here).collect()
}

/// Whether a path stays below its starting folder.
pub(crate) fn stays_below(path: &str) -> bool {
    Path::new(path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

impl Check {
    /// Checks those of an `ItemReader` or a `ResultWriter`.
    pub(super) fn data_parameters(&mut self, node: &Node, place: Place<'_>, context: Context) {
        let Some((resource, arn)) = node.get("Resource").and_then(|it| Some((it, it.as_str()?))) else {
            return;
        };
        let Some(action) = Action::of(arn) else { return };
        let field = if context.is_jsonata() { "Arguments" } else { "Parameters" };
        let Some(given) = node.get(field) else {
            let is_given = node.get("Parameters").or(node.get("Arguments")).is_some();
            // Custom stores may need none.
            if !is_given && self.options.resources != Resources::Any {
                let message = format!("{field} field is required for resource ARN: {arn}");
                self.schema(message, place, resource.span);
            }
            return;
        };
        let place = place.field(field);
        match &given.value {
            // It is known at run time, or was refused as a text that is not an expression.
            NodeValue::String(_) if context.is_jsonata() => return,
            NodeValue::Object(_) => {}
            _ => {
                self.schema(OBJECT, place, given.span);
                return;
            }
        }
        for name in action.required {
            if members(given, context.is_jsonata()).all(|(member, _)| member != *name) {
                let message = format!("The field '{name}' is required but was missing");
                self.schema(message, place, given.span);
            }
        }
        for (name, value) in members(given, context.is_jsonata()) {
            if action.members().all(|member| member != name) {
                if !action.is_on_aws(name) {
                    let suggests = self.suggests();
                    let (message, suggestion) = unknown(action, name, suggests);
                    self.schema(message, place, given.span).suggestion = suggestion;
                }
            } else if let Some(value) = value {
                self.data_parameter(action, name, value, place);
            }
        }
    }

    fn data_parameter(&mut self, action: &Action, name: &str, value: &Node, place: Place<'_>) {
        let is_file = action.operation.is_none();
        match value.as_str() {
            // It is present, and the store refuses it.
            None if value.value == NodeValue::Null => {}
            None if is_file => {
                self.schema(STRING, place.field(name), value.span);
            }
            None => {
                let message = format!("The value for the field '{name}' must be a STRING");
                self.schema(message, place, value.span);
            }
            Some(path) if is_file && !stays_below(path) => {
                let message = format!("The path '{path}' leads out of the folder of files");
                self.schema(message, place.field(name), value.span);
            }
            Some(_) => {}
        }
    }
}

/// The message for an unknown member.
fn unknown(action: &Action, name: &str, suggests: bool) -> (String, Option<String>) {
    if action.operation.is_none() {
        let message = format!("The field \"{name}\" is not supported by {}", action.name);
        return (message, Some("a file is named by `Path`".to_owned()));
    }
    let message = format!("The field \"{name}\" is not supported by Step Functions");
    let suggestion = if suggests { did_you_mean(name, action.members()) } else { None };
    (message, suggestion)
}
