//! Reports of failed executions, for dead letters.

use serde_json::{Map, Value, json};

use crate::observe::history::{Detail, Event};
use crate::observe::{History, LiveHistory};
use crate::runtime::{Engine, Handle, Machine, Outcome, StartError, StartOptions, Status};

/// What is reported of a failed execution.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct FailureReport {
    pub(super) execution_arn: String,
    /// The state that was entered last.
    pub(super) state: Option<String>,
    /// Its last events, as `GetExecutionHistory` has them.
    pub(super) history: Vec<Value>,
}

/// An execution that is watched. Dropped before its end, it is aborted.
pub(super) struct Watched {
    handle: Handle,
    history: LiveHistory,
}

impl Drop for Watched {
    fn drop(&mut self) {
        // No effect when it is over.
        self.handle.abort();
    }
}

impl Watched {
    /// Starts one; about so many bytes of its history are kept.
    pub(super) fn start(
        engine: &Engine,
        machine: &Machine,
        input: &[u8],
        history_bytes: usize,
    ) -> Result<Watched, StartError> {
        let history = LiveHistory::new(history_bytes);
        let options = StartOptions { watcher: Some(history.watcher()), ..StartOptions::default() };
        Ok(Watched { handle: engine.start_with(machine, input, options)?, history })
    }

    /// Waits for its end. There is a report unless it succeeded.
    pub(super) async fn end(mut self) -> (Outcome, Option<FailureReport>) {
        let outcome = (&mut self.handle).await;
        let failure_report = (outcome.status != Status::Succeeded)
            .then(|| self.history.read(|history| FailureReport::of(self.handle.arn(), history)));
        (outcome, failure_report)
    }
}

impl FailureReport {
    fn of(execution_arn: String, history: &History) -> FailureReport {
        let entered = history.events().rev().find(|event| event.event_type.name().ends_with("StateEntered"));
        let state = entered.and_then(|event| event.detail("name")?.as_str()).map(str::to_owned);
        FailureReport { execution_arn, state, history: history.events().map(event).collect() }
    }
}

/// An event as AWS's API shows it; times are seconds since 1970.
fn event(event: &Event) -> Value {
    let mut object = Map::new();
    object.insert("timestamp".to_owned(), json!(event.time_ms as f64 / 1e3));
    object.insert("type".to_owned(), event.event_type.name().into());
    object.insert("id".to_owned(), event.id.into());
    object.insert("previousEventId".to_owned(), event.previous.into());
    if let Some(name) = event.event_type.details_name() {
        let details = event.details.iter().map(|(name, detail)| ((*name).to_owned(), value(detail)));
        object.insert(name.to_owned(), Value::Object(details.collect()));
    }
    Value::Object(object)
}

fn value(detail: &Detail) -> Value {
    match detail {
        Detail::Text(text) | Detail::Json(text) => Value::from(&**text),
        Detail::Number(number) => (*number).into(),
        Detail::Members(members) => {
            Value::Object(members.iter().map(|(name, detail)| (name.to_string(), value(detail))).collect())
        }
    }
}
