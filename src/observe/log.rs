//! Log lines as CloudWatch Logs shows them for Express workflows (developer guide, "Logging using CloudWatch Logs"): one
//! JSON object per event, made of the history's [`Event`].

use serde_json::{Map, Value as Json, json};

use super::EventType;
use super::history::{Detail, Event};
use crate::limits;

/// `level` of a logging configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Level {
    /// Every event.
    All,
    /// Failures of all kinds.
    Error,
    /// Failed, aborted and timed-out executions.
    Fatal,
    /// Nothing.
    #[default]
    Off,
}

impl Level {
    /// Whether a log at this level has events of this type. `EvaluationFailed` is not in the published table; it counts
    /// as an error.
    pub const fn shows(self, event_type: EventType) -> bool {
        use EventType::*;
        match self {
            Level::All => true,
            Level::Off => false,
            Level::Fatal => matches!(event_type, ExecutionAborted | ExecutionFailed | ExecutionTimedOut),
            Level::Error => {
                Level::Fatal.shows(event_type)
                    || matches!(
                        event_type,
                        EvaluationFailed
                            | FailStateEntered
                            | LambdaFunctionFailed
                            | LambdaFunctionTimedOut
                            | MapIterationAborted
                            | MapIterationFailed
                            | MapRunAborted
                            | MapRunFailed
                            | MapStateAborted
                            | MapStateFailed
                            | ParallelStateAborted
                            | ParallelStateFailed
                            | TaskFailed
                            | TaskStateAborted
                            | TaskTimedOut
                            | WaitStateAborted
                    )
            }
        }
    }
}

/// What the lines of one execution have in common.
#[derive(Clone, Copy, Debug)]
pub struct Labels<'l> {
    /// `execution_arn`
    pub execution_arn: &'l str,
    /// The role, shown when the execution starts.
    pub role_arn: &'l str,
}

/// The line of one event, without a line feed. All scalars are strings but `truncated`. A history
/// [without payloads](super::History::without_payloads) gives the lines of `includeExecutionData: false`.
pub fn line(event: &Event, labels: Labels<'_>) -> String {
    let mut details = Map::new();
    for (name, detail) in &event.details {
        match detail {
            Detail::Json(text) => {
                let (text, truncated) = cut(text);
                details.insert((*name).to_owned(), text.into());
                details.insert(format!("{name}Details"), json!({"truncated": truncated}));
            }
            detail => {
                details.insert((*name).to_owned(), scalar(detail));
            }
        }
    }
    if event.event_type == EventType::ExecutionStarted {
        details.insert("roleArn".to_owned(), labels.role_arn.into());
    }
    details.sort_keys();
    json!({
        "id": event.id.to_string(),
        "type": event.event_type.name(),
        "details": details,
        "previous_event_id": event.previous.to_string(),
        "event_timestamp": event.time_ms.to_string(),
        "execution_arn": labels.execution_arn,
        "redrive_count": "0",
    })
    .to_string()
}

fn scalar(detail: &Detail) -> Json {
    match detail {
        Detail::Text(text) | Detail::Json(text) => text.to_string().into(),
        Detail::Number(number) => number.to_string().into(),
        Detail::Members(members) => members
            .iter()
            .map(|(name, member)| (name.to_string(), scalar(member)))
            .collect::<Map<_, _>>()
            .into(),
    }
}

/// The text as far as a log line has room for it, and whether it was cut.
fn cut(text: &str) -> (&str, bool) {
    if text.len() <= limits::LOG_PAYLOAD_BYTES_MAX {
        return (text, false);
    }
    (&text[..text.floor_char_boundary(limits::LOG_PAYLOAD_BYTES_MAX)], true)
}
