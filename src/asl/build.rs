//! Builds the model from a tree that passed all checks.
//!
//! Every function returns `None` only where a check should have refused the tree; that would be a bug.

use super::model::{
    Catcher, Definition, Fail, Parallel, Pass, PathField, QueryLanguage, Resource, ResourceKind, Retrier,
    Setting, State, StateKind, Task, Transition, Wait, Workflow, jsonata_expression,
};
use super::place::Place;
use super::resource;
use crate::json::source::{Node, NodeValue, Sourced};

mod choice;
mod map;

/// Builds the whole machine.
pub(super) fn definition(root: &Node, checks_parameters: bool) -> Option<Definition> {
    let query_language = language(root).unwrap_or_default();
    Some(Definition {
        comment: string(root, "Comment"),
        version: string(root, "Version"),
        query_language,
        timeout_seconds: integer(root, "TimeoutSeconds"),
        workflow: workflow(root, Place::ROOT, query_language)?,
        checks_parameters,
    })
}

fn language(node: &Node) -> Option<QueryLanguage> {
    Some(match node.get("QueryLanguage")?.as_str() {
        Some("JSONPath") => QueryLanguage::JsonPath,
        _ => QueryLanguage::Jsonata,
    })
}

fn workflow(node: &Node, place: Place<'_>, machine: QueryLanguage) -> Option<Workflow> {
    let place = place.field("States");
    let states = node.get("States")?.members()?.iter();
    let states = states.map(|member| {
        let name = Sourced::new(member.key.value.to_string(), member.key.span);
        state(name, &member.value, place.field(&member.key.value), machine)
    });
    Some(Workflow {
        start_at: text(node, "StartAt")?,
        states: states.collect::<Option<_>>()?,
        comment: string(node, "Comment"),
        span: node.span,
    })
}

/// Builds one state. `machine` is the language of the machine it belongs to.
pub(super) fn state(
    name: Sourced<String>,
    node: &Node,
    place: Place<'_>,
    machine: QueryLanguage,
) -> Option<State> {
    let query_language = language(node).unwrap_or(machine);
    let kind = match node.get("Type")?.as_str()? {
        "Task" => StateKind::Task(task(node)?),
        "Pass" => StateKind::Pass(Pass { result: node.get("Result").cloned() }),
        "Choice" => StateKind::Choice(choice::choice(node)?),
        "Wait" => StateKind::Wait(wait(node, query_language)?),
        "Succeed" => StateKind::Succeed,
        "Fail" => StateKind::Fail(Fail {
            error: text_setting(node, "Error", "ErrorPath", query_language),
            cause: text_setting(node, "Cause", "CausePath", query_language),
        }),
        "Parallel" => StateKind::Parallel(parallel(node, place, machine)?),
        "Map" => StateKind::Map(Box::new(map::map(node, place, machine)?)),
        _ => return None,
    };
    let next = match (&kind, text(node, "Next")) {
        (StateKind::Choice(_), _) => Transition::Choice,
        (_, Some(next)) => Transition::Next(next),
        (_, None) => Transition::End,
    };
    // A Map's `Parameters` is the old name of its `ItemSelector`.
    let is_map = matches!(kind, StateKind::Map(_));
    Some(State {
        name,
        span: node.span,
        location: place.to_string(),
        query_language,
        comment: string(node, "Comment"),
        next,
        input_path: path_field(node, "InputPath"),
        output_path: path_field(node, "OutputPath"),
        parameters: node.get("Parameters").filter(|_| !is_map).cloned(),
        result_selector: node.get("ResultSelector").cloned(),
        result_path: path_field(node, "ResultPath"),
        arguments: node.get("Arguments").cloned(),
        output: node.get("Output").cloned(),
        assign: node.get("Assign").cloned(),
        retry: items(node, "Retry").map(retrier).collect::<Option<_>>()?,
        catch: items(node, "Catch").map(catcher).collect::<Option<_>>()?,
        kind,
    })
}

fn task(node: &Node) -> Option<Task> {
    let arn = text(node, "Resource")?;
    let (kind, pattern) =
        resource::recognize(&arn.value).unwrap_or((ResourceKind::Other, Default::default()));
    Some(Task {
        resource: Resource { arn, kind, pattern },
        timeout: integer_setting(node, "TimeoutSeconds", "TimeoutSecondsPath"),
        heartbeat: integer_setting(node, "HeartbeatSeconds", "HeartbeatSecondsPath"),
        credentials: node.get("Credentials").cloned(),
    })
}

fn wait(node: &Node, language: QueryLanguage) -> Option<Wait> {
    integer_setting(node, "Seconds", "SecondsPath")
        .map(Wait::Seconds)
        .or_else(|| text_setting(node, "Timestamp", "TimestampPath", language).map(Wait::Timestamp))
}

fn parallel(node: &Node, place: Place<'_>, machine: QueryLanguage) -> Option<Parallel> {
    let place = place.field("Branches");
    let branches = items(node, "Branches")
        .enumerate()
        .map(|(index, branch)| workflow(branch, place.index(index), machine));
    Some(Parallel { branches: branches.collect::<Option<_>>()? })
}

fn retrier(node: &Node) -> Option<Retrier> {
    Some(Retrier {
        error_equals: error_names(node)?,
        interval_seconds: integer(node, "IntervalSeconds"),
        attempts_max: integer(node, "MaxAttempts"),
        backoff_rate: number(node.get("BackoffRate")),
        delay_seconds_max: integer(node, "MaxDelaySeconds"),
        full_jitter: string(node, "JitterStrategy").is_some_and(|strategy| strategy == "FULL"),
        span: node.span,
    })
}

fn catcher(node: &Node) -> Option<Catcher> {
    Some(Catcher {
        error_equals: error_names(node)?,
        next: text(node, "Next")?,
        result_path: path_field(node, "ResultPath"),
        output: node.get("Output").cloned(),
        assign: node.get("Assign").cloned(),
        span: node.span,
    })
}

fn error_names(node: &Node) -> Option<Vec<Sourced<String>>> {
    items(node, "ErrorEquals").map(sourced_text).collect()
}

// ---- fields ----

fn items<'n>(node: &'n Node, name: &str) -> impl Iterator<Item = &'n Node> {
    node.get(name).and_then(Node::items).unwrap_or_default().iter()
}

fn string(node: &Node, name: &str) -> Option<String> {
    node.get(name)?.as_str().map(str::to_owned)
}

fn text(node: &Node, name: &str) -> Option<Sourced<String>> {
    sourced_text(node.get(name)?)
}

fn sourced_text(node: &Node) -> Option<Sourced<String>> {
    Some(Sourced::new(node.as_str()?.to_owned(), node.span))
}

fn integer(node: &Node, name: &str) -> Option<u64> {
    node.get(name)?.as_number()?.parse().ok()
}

fn number(node: Option<&Node>) -> Option<f64> {
    node?.as_number()?.parse().ok()
}

fn path_field(node: &Node, name: &str) -> PathField {
    match node.get(name) {
        None => PathField::Absent,
        Some(Node { value: NodeValue::Null, .. }) => PathField::Null,
        Some(node) => sourced_text(node).map_or(PathField::Absent, PathField::Path),
    }
}

/// A field and its twin with a path. A text field is never an expression in JSONPath; other fields have texts in
/// JSONata only.
fn setting<T>(
    node: &Node,
    name: &str,
    path_name: &str,
    literal: impl Fn(&Node) -> Option<T>,
) -> Option<Setting<T>> {
    if let Some(path) = text(node, path_name) {
        return Some(Setting::Path(path));
    }
    let field = node.get(name)?;
    if let Some(value) = literal(field) {
        return Some(Setting::Literal(Sourced::new(value, field.span)));
    }
    let expression = field.as_str().and_then(jsonata_expression)?;
    Some(Setting::Expression(Sourced::new(expression.to_owned(), field.span)))
}

fn integer_setting(node: &Node, name: &str, path_name: &str) -> Option<Setting<u64>> {
    setting(node, name, path_name, |field| field.as_number()?.parse().ok())
}

fn text_setting(
    node: &Node,
    name: &str,
    path_name: &str,
    language: QueryLanguage,
) -> Option<Setting<String>> {
    setting(node, name, path_name, |field| {
        let text = field.as_str()?;
        let evaluated = language == QueryLanguage::Jsonata && jsonata_expression(text).is_some();
        (!evaluated).then(|| text.to_owned())
    })
}
