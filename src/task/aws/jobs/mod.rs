//! Jobs (developer guide, "Run a job", `.sync`): a job is started, then polled with growing pauses until it is over,
//! and cancelled when the workflow no longer needs it.
//!
//! The kinds of jobs are in [`table`]; all are driven alike.

mod table;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value as Json, json};
use tokio::time::sleep;

use super::idempotency;
use super::service::{Asked, Modelled, Trouble, integration_of, with_metadata};
use super::settings::{Pauses, Settings};
use crate::fault;
use crate::json::{self, Arena, Value};
use crate::task::{AsyncHandler, Attempt, Call, TaskError, TaskFuture};
use table::{Form, JOBS, Origin, Row, Shown};

/// The greatest number of consecutive failed polls.
pub(super) const TRIES_MAX: u32 = 30;
/// How often the cancellation of an unwanted job is tried, and the pause before the second attempt, which doubles.
const CANCEL_TRIES_MAX: u32 = 5;
const CANCEL_PAUSE: Duration = Duration::from_millis(500);

/// What a task waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    Started,
    /// The token's holder answers.
    Called,
    Ended,
}

/// Starts jobs of one kind.
#[derive(Debug)]
pub(super) struct Job(Arc<Kind>);

#[derive(Debug)]
struct Kind {
    row: &'static Row,
    until: Until,
    /// Whether input and output of an execution are JSON (`.sync:2`).
    parses: bool,
    start: Modelled,
    describe: Modelled,
    cancel: Option<Modelled>,
    pauses: Pauses,
}

/// The handler of an action that starts a job, if it is one. `pattern` is the part behind the action: `.sync`.
pub(super) fn handler(
    settings: &Settings,
    service: &str,
    action: &str,
    pattern: &str,
) -> Option<Result<Job, String>> {
    let row = JOBS.iter().find(|row| row.service == service && row.action == action)?;
    let until = match pattern {
        ".sync" | ".sync:2" => Until::Ended,
        ".waitForTaskToken" => Until::Called,
        _ => Until::Started,
    };
    let is_one_operation = match until {
        Until::Started => matches!(row.form, Form::Same | Form::EcsTask | Form::Execution),
        Until::Called => matches!(row.form, Form::Same | Form::Execution),
        Until::Ended => false,
    };
    if is_one_operation {
        return None;
    }
    let parses = pattern == ".sync:2";
    Some(kind(settings, row, until).map(|kind| Job(Arc::new(Kind { parses, ..kind }))))
}

fn kind(settings: &Settings, row: &'static Row, until: Until) -> Result<Kind, String> {
    let integration = integration_of(row.service)?;
    let operation = |action: &str| integration.operation(settings, action);
    Ok(Kind {
        row,
        until,
        parses: false,
        start: operation(row.start)?,
        describe: operation(row.describe)?,
        cancel: row.cancel.map(|(action, _)| operation(action)).transpose()?,
        pauses: settings.pauses,
    })
}

impl AsyncHandler for Job {
    fn begin(&self, call: &Call<'_>, attempt: Attempt) -> Result<TaskFuture, TaskError> {
        let Job(kind) = self;
        let (arena, input) = (&*call.arena, call.input);
        let given: Json = call.input()?;
        let refuse = |why: &str| super::parameters::refuse(arena, input, why);
        let key = attempt.idempotency_key().unwrap_or_else(idempotency::fresh);
        let asked = match kind.row.form.parameters(&given) {
            Some(parameters) => {
                let mut arena = Arena::default();
                let value = read(&mut arena, &parameters.map_err(|why| refuse(&why))?);
                kind.start.asked(&arena, value, Some(&key)).map_err(|why| refuse(&why))?
            }
            None => kind.start.asked(arena, input, Some(&key)).map_err(|why| refuse(&why))?,
        };
        if kind.until == Until::Ended && given.get("Count").and_then(Json::as_f64).is_some_and(|it| it > 1.0)
        {
            return Err(refuse(
                "More than one task is not supported with .sync: the field 'Count' must be 1",
            ));
        }
        Ok(Box::pin(run(Arc::clone(kind), given, asked, attempt)))
    }

    fn wants_attempt(&self) -> bool {
        true
    }

    fn calls_out(&self) -> bool {
        self.0.start.calls_out()
    }
}

/// Parses text that was written here.
fn read(arena: &mut Arena, json: &Json) -> Value {
    match json::read(arena, json.to_string().as_bytes()) {
        Ok(value) => value,
        Err(error) => unreachable!("JSON that was written is read: {error}"),
    }
}

async fn run(kind: Arc<Kind>, given: Json, asked: Asked, attempt: Attempt) -> Result<Vec<u8>, TaskError> {
    let row = kind.row;
    let answered = kind.start.ask(asked).await.map_err(Trouble::into_error)?;
    if row.form == Form::EcsTask && kind.until != Until::Started {
        row.form.placed(&answered.output)?;
    }
    let output = row.form.answer(answered.output, &given);
    let response = with_metadata(&output, &answered.reply, &answered.request_id)?;
    if kind.until != Until::Ended {
        return Ok(response);
    }
    attempt.submitted(response);
    let job = Started { given, answer: output, execution_arn: attempt.execution_arn().to_owned() };
    let describe = job.request(row.asks)?;
    let cancel = match row.cancel {
        Some((_, asks)) => Some(job.request(asks)?),
        None => None,
    };
    let mut unwanted = Unwanted { kind: Arc::clone(&kind), cancel, attempt };
    let ended = kind.wait(&describe).await;
    unwanted.cancel = None;
    ended
}

impl Kind {
    /// Polls a job until it is over.
    async fn wait(&self, request: &Json) -> Result<Vec<u8>, TaskError> {
        let Pauses { first, longest } = self.pauses;
        let (mut pause, mut tries) = (first, 0);
        loop {
            sleep(pause).await;
            pause = (pause + pause / 2).min(longest);
            let trouble = match self.describe.ask_json(request).await {
                Ok(answered) => match self.verdict(answered.output) {
                    Verdict::Runs => {
                        tries = 0;
                        continue;
                    }
                    Verdict::Over(ended) => return ended,
                    // It may take a moment until the whole service knows it.
                    Verdict::Unknown(answer) => {
                        if self.row.ends_gone {
                            return Ok(answer.to_string().into_bytes());
                        }
                        let text = format!("The service does not know the job: {answer}");
                        Trouble::Passing(TaskError::new(fault::TASK_FAILED, text))
                    }
                },
                Err(Trouble::Missing(_)) if self.row.ends_gone => return Ok(b"{}".to_vec()),
                Err(trouble) => trouble,
            };
            tries += 1;
            match trouble {
                Trouble::Passing(_) | Trouble::Missing(_) if tries < TRIES_MAX => {}
                trouble => return Err(trouble.into_error()),
            }
        }
    }

    fn verdict(&self, answer: Json) -> Verdict {
        let row = self.row;
        let Some(subject) = answer.pointer(row.subject).filter(|subject| subject.is_object()) else {
            return Verdict::Unknown(answer);
        };
        let Some(status) = subject.pointer(row.status).and_then(Json::as_str) else {
            return Verdict::Unknown(answer);
        };
        let is_failed = row.failed.contains(&status);
        if !is_failed && !row.succeeded.contains(&status) {
            return Verdict::Runs;
        }
        let is_failed = is_failed || (row.form == Form::EcsTask && has_failed(subject));
        let subject = subject.clone();
        let shown = match (row.shown, row.form) {
            (Shown::Subject, _) => subject,
            (Shown::Named(name), _) => Json::Object([(name.to_owned(), subject)].into_iter().collect()),
            // The next state refers to the cluster by this.
            (Shown::Answer, Form::EmrCluster) => {
                let id = subject.get("Id").cloned();
                let mut answer = answer;
                if let (Some(id), Some(answer)) = (id, answer.as_object_mut()) {
                    answer.insert("ClusterId".to_owned(), id);
                }
                answer
            }
            (Shown::Answer, Form::Execution) => execution(answer, self.parses && !is_failed),
            (Shown::Answer, _) => answer,
        };
        let text = shown.to_string();
        Verdict::Over(if is_failed {
            Err(TaskError::new(fault::TASK_FAILED, text))
        } else {
            Ok(text.into_bytes())
        })
    }
}

/// The status of a job in an answer.
enum Verdict {
    Runs,
    Over(Result<Vec<u8>, TaskError>),
    /// There is no such job in it.
    Unknown(Json),
}

/// An execution that has ended, by the names of its members; with `parses`, input and output as JSON.
fn execution(answer: Json, parses: bool) -> Json {
    let Json::Object(members) = answer else { return answer };
    let members = members.into_iter().map(|(name, value)| {
        let value = match (name.as_str(), value) {
            ("StartDate" | "StopDate" | "RedriveDate", Json::String(time)) => {
                let parsed = time.parse::<jiff::Timestamp>();
                parsed.map_or(Json::String(time), |time| time.as_millisecond().into())
            }
            ("Input" | "Output", Json::String(text)) if parses => {
                serde_json::from_str(&text).unwrap_or(Json::String(text))
            }
            (_, value) => value,
        };
        (name, value)
    });
    let sorted: std::collections::BTreeMap<String, Json> = members.collect();
    Json::Object(sorted.into_iter().collect())
}

/// Whether an ended ECS task has failed: it did not start, or one of its containers failed.
fn has_failed(task: &Json) -> bool {
    let containers = task.get("Containers").and_then(Json::as_array).into_iter().flatten();
    let mut codes = containers.filter_map(|container| container.get("ExitCode").and_then(Json::as_i64));
    task.get("StopCode").and_then(Json::as_str) == Some("TaskFailedToStart") || codes.any(|code| code != 0)
}

/// A job that was started.
struct Started {
    given: Json,
    answer: Json,
    execution_arn: String,
}

impl Started {
    /// The parameters of a request about it.
    fn request(&self, asks: &[table::Ask]) -> Result<Json, TaskError> {
        let mut request = Map::new();
        for (name, from) in asks {
            let value = match from {
                Origin::Given(member) => self.given.get(member).cloned(),
                Origin::Answer(pointer) => self.answer.pointer(pointer).cloned(),
                Origin::Listed(pointer) => self.answer.pointer(pointer).map(|value| json!([value])),
                Origin::Reason => Some(Json::from(format!(
                    "The Task state in AWS Step Functions execution [{}] which was managing this resource was aborted",
                    self.execution_arn
                ))),
            };
            let value = value.ok_or_else(|| {
                let text =
                    format!("The service's answer does not say which job was started: {}", self.answer);
                TaskError::new(fault::TASK_FAILED, text)
            })?;
            request.insert((*name).to_owned(), value);
        }
        Ok(request.into())
    }
}

/// Cancels a job when its future is dropped because the workflow no longer needs it. A server that ends drops it, too,
/// but does not cancel: a durable execution continues with the job.
struct Unwanted {
    kind: Arc<Kind>,
    /// `None` when the job is over, or cannot be cancelled.
    cancel: Option<Json>,
    attempt: Attempt,
}

impl Drop for Unwanted {
    fn drop(&mut self) {
        let Some(request) = self.cancel.take() else { return };
        let kind = Arc::clone(&self.kind);
        cancel(&self.attempt, async move || match &kind.cancel {
            // A refusal says that it is stopping, or cannot be stopped.
            Some(cancel) => matches!(cancel.ask_json(&request).await, Err(Trouble::Passing(_))),
            None => unreachable!("a request was made for it"),
        });
    }
}

/// Cancels what a task waited for, by `ask`, which is repeated while it returns that it may succeed later; unless the
/// server is ending.
pub(super) fn cancel(attempt: &Attempt, ask: impl AsyncFn() -> bool + 'static) {
    if !attempt.is_cancelled() || tokio::runtime::Handle::try_current().is_err() {
        return;
    }
    tokio::task::spawn_local(async move {
        let mut pause = CANCEL_PAUSE;
        for _ in 0..CANCEL_TRIES_MAX {
            if !ask().await {
                return;
            }
            sleep(pause).await;
            pause *= 2;
        }
    });
}

impl Form {
    /// The operation's parameters in place of a task's; `None` if they are the same.
    ///
    /// # Errors
    /// What is wrong with them, in AWS's words.
    fn parameters(self, given: &Json) -> Option<Result<Json, String>> {
        let listed = |member: &'static str, list: &'static str, others: &[(&str, &str)]| {
            let mut request = Map::new();
            let members = given.as_object().ok_or("The value must be an object")?;
            for (name, value) in members {
                if name == member {
                    request.insert(list.to_owned(), json!([value]));
                } else if let Some((_, own)) = others.iter().find(|(other, _)| other == name) {
                    request.insert((*own).to_owned(), value.clone());
                } else {
                    return Err(super::wire::unknown(name));
                }
            }
            let required =
                others.iter().filter(|(_, own)| *own == "JobFlowId").map(|(name, _)| *name).chain([member]);
            match required.into_iter().find(|name| !members.contains_key(*name)) {
                Some(name) => Err(format!("The field '{name}' is required but was missing")),
                None => Ok(Json::Object(request)),
            }
        };
        match self {
            Form::Same | Form::EcsTask | Form::EmrCluster | Form::Application | Form::Execution => None,
            Form::EmrTermination => Some(listed("ClusterId", "JobFlowIds", &[])),
            Form::EmrStep => {
                let others = [("ClusterId", "JobFlowId"), ("ExecutionRoleArn", "ExecutionRoleArn")];
                Some(listed("Step", "Steps", &others))
            }
        }
    }

    /// The start's answer in the integration's form.
    fn answer(self, answer: Json, given: &Json) -> Json {
        match self {
            Form::Application => json!({"ApplicationId": given.get("ApplicationId")}),
            Form::Same | Form::EcsTask | Form::EmrTermination | Form::Execution => answer,
            Form::EmrCluster => {
                json!({"ClusterId": answer.get("JobFlowId"), "ClusterArn": answer.get("ClusterArn")})
            }
            Form::EmrStep => json!({"StepId": answer.pointer("/StepIds/0")}),
        }
    }

    /// Whether ECS has placed the task.
    fn placed(self, answer: &Json) -> Result<(), TaskError> {
        let has_any = |name: &str| answer.get(name).and_then(Json::as_array).is_some_and(|it| !it.is_empty());
        if has_any("Failures") || !has_any("Tasks") {
            Err(TaskError::new("AmazonECS.Unknown", answer.to_string()))
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
#[cfg(feature = "models")]
mod tests {
    use super::*;
    use crate::models::{Operation, Shape, Type};

    /// Whether the shape has the target of a pointer.
    fn has(operation: &Operation, kind: Option<Type>, pointer: &str) -> bool {
        let mut kind = kind;
        for part in pointer.split('/').skip(1) {
            let Some(Type::Shape(shape)) = kind else { return false };
            kind = match &operation.service.shapes[shape] {
                Shape::Structure(members) => {
                    members.iter().find(|it| it.name(operation.naming) == part).map(|it| it.value.kind)
                }
                Shape::List { element, .. } => Some(element.kind),
                Shape::Map { value, .. } => Some(value.kind),
            };
        }
        kind.is_some()
    }

    #[test]
    fn rows_ask_for_what_services_have() {
        for row in JOBS {
            let kind = kind(&Settings::default(), row, Until::Ended).expect(row.action);
            let (start, describe) = (kind.start.operation(), kind.describe.operation());
            let output = |operation: &Operation| operation.output.map(Type::Shape);
            let status = format!("{}{}", row.subject, row.status);
            assert!(has(describe, output(describe), &status), "{row:?}");
            let cancel = kind.cancel.as_ref().map(Modelled::operation);
            let asks = row.asks.iter().map(|ask| (describe, ask));
            let cancels =
                row.cancel.iter().flat_map(|(_, asks)| *asks).map(|ask| (cancel.expect("one"), ask));
            for (operation, (name, from)) in asks.chain(cancels) {
                let members = operation.members(operation.input.expect("an input"));
                assert!(
                    members.iter().any(|it| it.name(operation.naming) == *name),
                    "{name} of {operation:?}"
                );
                match from {
                    Origin::Given(member) if matches!(row.form, Form::Same | Form::Application) => {
                        assert!(has(start, start.input.map(Type::Shape), &format!("/{member}")), "{row:?}");
                    }
                    Origin::Answer(pointer) | Origin::Listed(pointer)
                        if matches!(row.form, Form::Same | Form::EcsTask) =>
                    {
                        assert!(has(start, output(start), pointer), "{pointer}: {row:?}");
                    }
                    _ => {}
                }
            }
        }
    }
}
