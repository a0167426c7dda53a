//! A workflow failure is a value: it is matched by Retry and Catch tables and becomes the caller's error.

use std::borrow::Cow;
use std::fmt;

/// A failure inside a workflow, with Amazon States Language's names (specification, "Errors").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The error name: `States.Timeout`, `States.Runtime`, or a custom one. Absent when a Fail state has none.
    pub error: Option<Cow<'static, str>>,
    /// Free text for people. Timeouts have none.
    pub cause: Option<String>,
}

impl Fault {
    /// A fault with one of the predefined names and a cause.
    pub fn new(error: &'static str, cause: impl Into<String>) -> Fault {
        Fault { error: Some(Cow::Borrowed(error)), cause: Some(cause.into()) }
    }
}

impl fmt::Display for Fault {
    /// `<error name>: <cause>`, or the part that exists.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.error, &self.cause) {
            (Some(error), Some(cause)) => write!(f, "{error}: {cause}"),
            (Some(error), None) => f.write_str(error),
            (None, Some(cause)) => f.write_str(cause),
            (None, None) => f.write_str("the workflow failed and gave neither an error name nor a cause"),
        }
    }
}

impl std::error::Error for Fault {}

/// `States.Runtime`: the interpreter could not continue. Never caught.
pub const RUNTIME: &str = "States.Runtime";
/// `States.QueryEvaluationError`: a JSONata expression failed.
pub const QUERY_EVALUATION_ERROR: &str = "States.QueryEvaluationError";
/// `States.Timeout`: a task or the execution ran too long.
pub const TIMEOUT: &str = "States.Timeout";
/// `States.HeartbeatTimeout`: a task missed its heartbeat.
pub const HEARTBEAT_TIMEOUT: &str = "States.HeartbeatTimeout";
/// `States.TaskFailed`: a task failed; as a wildcard, any task failure except a timeout.
pub const TASK_FAILED: &str = "States.TaskFailed";
/// `States.ALL`: the wildcard.
pub const ALL: &str = "States.ALL";
/// `States.ReferencePathConflict`: a Reference Path cannot be applied to its target.
pub const REFERENCE_PATH_CONFLICT: &str = "States.ReferencePathConflict";
/// `States.DataLimitExceeded`: a payload is larger than the service limit.
pub const DATA_LIMIT_EXCEEDED: &str = "States.DataLimitExceeded";
/// `States.ExceedToleratedFailureThreshold`: a Map has more failed items than it tolerates.
pub const EXCEED_TOLERATED_FAILURE_THRESHOLD: &str = "States.ExceedToleratedFailureThreshold";
/// `States.ItemReaderFailed`: a distributed Map could not read all of its items.
pub const ITEM_READER_FAILED: &str = "States.ItemReaderFailed";
/// `States.ResultWriterFailed`: a distributed Map could not write its results.
pub const RESULT_WRITER_FAILED: &str = "States.ResultWriterFailed";
