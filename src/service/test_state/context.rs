//! The context object of a test: a given one, or one that AWS would make.

use serde_json::{Map, Value as Json, json};

use super::model::{Surroundings, TestState, unreadable};
use super::subject::Subject;
use crate::asl::model::{Pattern, StateKind};
use crate::clock;
use crate::service::Error;

/// Checks a given context object (recorded: names that AWS does not know, and `Map`, are refused).
pub(super) fn check(text: &str, subject: &Subject) -> Result<(), Error> {
    let Ok(Json::Object(context)) = serde_json::from_str(text) else {
        return Err(invalid(&unreadable(text, "Context object must be a valid JSON object")));
    };
    for (name, part) in &context {
        let fields: &[(&str, Expected)] = match name.as_str() {
            "Execution" => &[
                ("Id", Expected::String),
                ("Input", Expected::Anything),
                ("Name", Expected::String),
                ("RoleArn", Expected::String),
                ("StartTime", Expected::String),
                ("RedriveCount", Expected::Number),
                ("RedriveTime", Expected::String),
            ],
            "State" => &[
                ("EnteredTime", Expected::String),
                ("Name", Expected::String),
                ("RetryCount", Expected::Number),
            ],
            "StateMachine" => &[("Id", Expected::String), ("Name", Expected::String)],
            "Task" => &[("Token", Expected::String)],
            "Map" => return Err(invalid("'Map' field is not supported when mocking a Context object")),
            other => return Err(invalid(&format!("Field '{other}' is not allowed"))),
        };
        let Json::Object(members) = part else {
            return Err(invalid(&format!("{name} must be an object")));
        };
        members.iter().try_for_each(|(member, value)| {
            match fields.iter().find(|(known, _)| known == member) {
                None => Err(invalid(&format!("Field '{member}' is not allowed"))),
                Some((_, Expected::String)) if !value.is_string() => {
                    Err(invalid(&format!("{name}.{member} must be a string")))
                }
                Some((_, Expected::Number)) if !value.is_number() => {
                    Err(invalid(&format!("{name}.{member} must be a number")))
                }
                _ => Ok(()),
            }
        })?;
    }
    if context.contains_key("Task") && !waits(subject) {
        return Err(invalid(
            "Context object contains 'Task' when state is not a Task state with a '.sync' or '.waitForTaskToken' \
             service integration pattern",
        ));
    }
    Ok(())
}

enum Expected {
    String,
    Number,
    Anything,
}

fn invalid(why: &str) -> Error {
    Error::validation(format!("Invalid Context object provided: {why}"))
}

fn waits(subject: &Subject) -> bool {
    matches!(&subject.state.kind, StateKind::Task(task) if task.resource.pattern != Pattern::RequestResponse)
}

/// The number of retries in the context object.
pub(super) fn retry_count(text: &str) -> Option<u32> {
    let context: Json = serde_json::from_str(text).ok()?;
    u32::try_from(context.get("State")?.get("RetryCount")?.as_u64()?).ok()
}

/// The context object of an execution that AWS would start for the test, as JSON text (recorded: ids for names, and an
/// Express execution's ARN without its last part; without a role `RoleArn` is `null`).
pub(super) fn made(
    request: &TestState,
    surroundings: &Surroundings,
    subject: &Subject,
    input: &Json,
    retries: u32,
) -> String {
    let Surroundings { partition, region, account, now_ms, seed, .. } = surroundings;
    // An account in a given ARN is the one the test belongs to.
    let account = request.role_arn.as_deref().and_then(|arn| arn.split(':').nth(4)).unwrap_or(account);
    let (machine, execution) = (crate::engine::identity::uuid(*seed), crate::engine::identity::uuid(!*seed));
    let now = clock::format_millis(*now_ms);
    let mut state = Map::new();
    state.insert("EnteredTime".into(), json!(now));
    state.insert("Name".into(), json!(super::subject::STATE_NAME));
    if matches!(subject.state.kind, StateKind::Task(_) | StateKind::Map(_) | StateKind::Parallel(_)) {
        state.insert("RetryCount".into(), json!(retries));
    }
    let mut context = json!({
        "Execution": {
            "Id": format!("arn:{partition}:states:{region}:{account}:express:{machine}:{execution}"),
            "Input": input,
            "Name": execution,
            "RoleArn": request.role_arn,
            "StartTime": now,
        },
        "StateMachine": {
            "Id": format!("arn:{partition}:states:{region}:{account}:stateMachine:{machine}"),
            "Name": machine,
        },
        "State": state,
    });
    if waits(subject) {
        context["Task"] = json!({ "Token": crate::engine::identity::uuid(seed.rotate_left(1)) });
    }
    if subject.in_map {
        context["Map"] = json!({ "Item": { "Index": 0, "Value": input } });
    }
    context.to_string()
}
