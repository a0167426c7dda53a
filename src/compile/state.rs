//! One state: its shared fields, and those of its kind.

use super::{Lower, Place};
use crate::asl::model::{self as asl, Setting};
use crate::clock;
use crate::models::{self, Operation, check};
use crate::program::{
    Fail, Filter, Items, Map, Next, Parallel, Percentage, Resource, ResourceKind, ResultPath, Seconds, State,
    StateKind, Task, Text, Wait, WorkflowId,
};
use crate::query::intrinsic::Call;
use crate::query::jsonata::Allowed;

impl Lower {
    pub(super) fn state(&mut self, place: &Place<'_, '_>, inner: &[WorkflowId]) -> State {
        let state = place.state;
        let jsonata = state.query_language == asl::QueryLanguage::Jsonata;
        // `$states.result` exists for states with a result: Task, Parallel and Map.
        let has_result = matches!(
            state.kind,
            asl::StateKind::Task(_) | asl::StateKind::Parallel(_) | asl::StateKind::Map(_)
        );
        let after = Allowed { result: has_result, ..Allowed::default() };
        let before = Allowed::default();
        let (parameters, result) = if jsonata {
            (("Arguments", &state.arguments), ("Output", &state.output))
        } else {
            (("Parameters", &state.parameters), ("ResultSelector", &state.result_selector))
        };
        let mut lowered = State {
            kind: StateKind::Succeed,
            jsonata,
            plain: false,
            next: self.next(place),
            input: self.filter(place, "InputPath", &state.input_path),
            output: self.filter(place, "OutputPath", &state.output_path),
            result_path: self.result_path(place, "ResultPath", &state.result_path),
            parameters: (parameters.1.as_ref())
                .and_then(|node| self.template(place, parameters.0, node, before)),
            result: result.1.as_ref().and_then(|node| self.template(place, result.0, node, after)),
            assign: self.assign(place, "Assign", state.assign.as_ref(), after),
            recovery: self.recovery(place),
        };
        lowered.kind = self.kind(place, inner);
        lowered.plain = lowered.input == Filter::Everything
            && lowered.output == Filter::Everything
            && lowered.result_path == ResultPath::Replace
            && lowered.parameters.is_none()
            && lowered.result.is_none()
            && lowered.assign.is_none();
        if let asl::StateKind::Choice(choice) = &state.kind
            && let Some(target) = &choice.default
        {
            lowered.next = self.target(place, "Default", target).map_or(Next::Nowhere, Next::State);
        }
        lowered
    }

    fn kind(&mut self, place: &Place<'_, '_>, inner: &[WorkflowId]) -> StateKind {
        match &place.state.kind {
            asl::StateKind::Pass(pass) => {
                StateKind::Pass(pass.result.as_ref().and_then(|result| self.literal(place, "Result", result)))
            }
            asl::StateKind::Choice(choice) => {
                let choice = self.choice(place, choice);
                StateKind::Choice(self.program.choices.push(choice))
            }
            asl::StateKind::Task(task) => {
                let task = self.task(place, task);
                StateKind::Task(self.program.tasks.push(task))
            }
            asl::StateKind::Wait(wait) => {
                let wait = self.wait(place, wait);
                StateKind::Wait(self.program.waits.push(wait))
            }
            asl::StateKind::Succeed => StateKind::Succeed,
            asl::StateKind::Fail(fail) => {
                let fail = Fail {
                    error: self.text(place, "Error", fail.error.as_ref()),
                    cause: self.text(place, "Cause", fail.cause.as_ref()),
                };
                StateKind::Fail(self.program.fails.push(fail))
            }
            asl::StateKind::Parallel(_) => {
                StateKind::Parallel(self.program.parallels.push(Parallel { branches: inner.into() }))
            }
            asl::StateKind::Map(map) => self.map(place, map, inner),
        }
    }

    fn task(&mut self, place: &Place<'_, '_>, task: &asl::Task) -> Task {
        let arn: Box<str> = task.resource.arn.value.as_str().into();
        let kind = match &task.resource.kind {
            asl::ResourceKind::Function => ResourceKind::Function,
            asl::ResourceKind::Activity => ResourceKind::Activity,
            asl::ResourceKind::Other => ResourceKind::Other,
            asl::ResourceKind::Service { service, .. } => service_action(&arn, service),
            asl::ResourceKind::Sdk { service, .. } => service_action(&arn, &format!("aws-sdk:{service}")),
        };
        let parameters = self.checked_parameters(place, &task.resource.kind);
        let waits_for_token = task.resource.pattern == asl::Pattern::WaitForTaskToken;
        let has_token = task.resource.pattern != asl::Pattern::RequestResponse;
        Task {
            resource: Resource { arn, kind, waits_for_token, has_token },
            parameters,
            timeout: task.timeout.as_ref().map(|timeout| self.seconds(place, "TimeoutSeconds", timeout)),
            heartbeat: task.heartbeat.as_ref().map(|beat| self.seconds(place, "HeartbeatSeconds", beat)),
            credentials: (task.credentials.as_ref())
                .and_then(|node| self.template(place, "Credentials", node, Allowed::default())),
        }
    }

    /// The operation whose parameters are checked before the task begins: constant ones were checked with the
    /// definition.
    fn checked_parameters(&self, place: &Place<'_, '_>, kind: &asl::ResourceKind) -> Option<Box<Operation>> {
        if !self.checks_parameters {
            return None;
        }
        let state = place.state;
        let jsonata = state.query_language == asl::QueryLanguage::Jsonata;
        let given = if jsonata { &state.arguments } else { &state.parameters };
        let operation = models::operation(kind.call()?)?;
        given.as_ref().is_none_or(|node| !check::is_written(node, jsonata)).then(|| Box::new(operation))
    }

    fn wait(&mut self, place: &Place<'_, '_>, wait: &asl::Wait) -> Wait {
        match wait {
            asl::Wait::Seconds(setting) => Wait::Seconds(self.seconds(place, "Seconds", setting)),
            asl::Wait::Timestamp(Setting::Literal(text)) => match clock::parse_timestamp(&text.value) {
                Some(timestamp) => Wait::Timestamp((timestamp / 1_000_000) as i64),
                None => {
                    self.refuse(place, "Timestamp", "String does not match RFC3339 timestamp");
                    Wait::Timestamp(0)
                }
            },
            asl::Wait::Timestamp(Setting::Path(path)) => {
                Wait::TimestampPath(self.path(place, "TimestampPath", &path.value))
            }
            asl::Wait::Timestamp(Setting::Expression(text)) => {
                Wait::TimestampExpression(self.expression(place, "Timestamp", &text.value))
            }
        }
    }

    fn text(&mut self, place: &Place<'_, '_>, field: &str, setting: Option<&Setting<String>>) -> Text {
        match setting {
            None => Text::Absent,
            Some(Setting::Literal(text)) => Text::Literal(text.value.as_str().into()),
            Some(Setting::Expression(text)) => Text::Expression(self.expression(place, field, &text.value)),
            Some(Setting::Path(path)) if path.value.starts_with('$') => {
                Text::Path(self.path(place, &format!("{field}Path"), &path.value))
            }
            Some(Setting::Path(call)) => {
                let variables = &place.plan.variables;
                let mut names = super::variables::Lookup { variables, regexes: &mut self.regexes };
                match Call::parse(&call.value, &mut names) {
                    Ok(call) => Text::Call(call),
                    Err(error) => {
                        self.refuse(place, &format!("{field}Path"), error.to_string());
                        Text::Absent
                    }
                }
            }
        }
    }

    fn map(&mut self, place: &Place<'_, '_>, map: &asl::Map, inner: &[WorkflowId]) -> StateKind {
        let is_inline = map.mode != asl::MapMode::Inline
            || (map.item_reader.is_none() && map.item_batcher.is_none() && map.result_writer.is_none());
        let items = match (&map.items_path, &map.items) {
            _ if !is_inline => Items::NotInline,
            (Some(path), _) if path.value != "$" => Items::Path(self.path(place, "ItemsPath", &path.value)),
            (_, Some(node)) => {
                self.template(place, "Items", node, Allowed::default()).map_or(Items::Input, Items::Template)
            }
            _ => Items::Input,
        };
        let percentage = map.tolerated_failure_percentage.as_ref().map(|setting| match setting {
            Setting::Literal(percentage) => Percentage::Literal(percentage.value),
            Setting::Path(path) => {
                Percentage::Path(self.path(place, "ToleratedFailurePercentagePath", &path.value))
            }
            Setting::Expression(text) => {
                Percentage::Expression(self.expression(place, "ToleratedFailurePercentage", &text.value))
            }
        });
        let lowered = Map {
            processor: match map.mode {
                asl::MapMode::Inline => *inner.first().expect("pass 1 announced the processor's workflow"),
                _ => crate::index::Id::from_index(0),
            },
            items,
            selector: (map.item_selector.as_ref())
                .and_then(|node| self.template(place, "ItemSelector", node, Allowed::default())),
            max_concurrency: (map.max_concurrency.as_ref())
                .map_or(Seconds::Literal(0), |setting| self.seconds(place, "MaxConcurrency", setting)),
            tolerated_count: (map.tolerated_failure_count.as_ref())
                .map(|setting| self.seconds(place, "ToleratedFailureCount", setting)),
            tolerated_percentage: percentage,
            distributed: self.distributed(place, map),
        };
        StateKind::Map(self.program.maps.push(lowered))
    }
}

/// The names in the history of a service task: the part behind the service in the ARN is the action, with its pattern.
fn service_action(arn: &str, service: &str) -> ResourceKind {
    let action = arn.rsplit_once(&format!("{service}:")).map_or(arn, |(_, action)| action);
    ResourceKind::Service { service: service.into(), action: action.into() }
}
