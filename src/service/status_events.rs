//! `Step Functions Execution Status Change`: the events that AWS sends to EventBridge when a Standard execution begins,
//! ends or is redriven (developer guide, "Automating Step Functions event delivery with EventBridge").
//!
//! Events wait in a bounded queue, and a thread of their own delivers them. One that cannot be delivered is retried,
//! with growing delays, before any later one of its execution.

use crate::os;
use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::executions::{Execution, Executions};
use super::redrive::Redrives;
use crate::arn::Arn;
use crate::clock;
use crate::runtime::{Outcome, Status};
use crate::{random, uuid};

/// Waiting events, and their bytes: more are dropped, and counted.
const WAITING_MAX: usize = 100_000;
const WAITING_BYTES_MAX: usize = 64 << 20;
/// Events that are delivered at once: the limit of `PutEvents`.
const BATCH_MAX: usize = 10;
/// Bytes of a batch: the limit of `PutEvents` is 1 MB.
const BATCH_BYTES_MAX: usize = 768 << 10;
/// Bytes of input and output in an event; larger ones are left out.
const DATA_BYTES_MAX: usize = 248 << 10;
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// A change of an execution's status.
#[derive(Clone, Debug)]
pub struct StatusEvent {
    /// A UUID.
    pub id: String,
    /// When it happened, in milliseconds since 1970.
    pub time_ms: u64,
    /// `executionArn`
    pub execution_arn: String,
    /// The changed execution, in AWS's form.
    pub detail: Json,
}

impl StatusEvent {
    /// `detail-type`
    pub const TYPE: &'static str = "Step Functions Execution Status Change";

    /// The event as EventBridge passes it to its targets, from this source.
    pub fn delivered(&self, source: &str) -> Json {
        let arn = Arn::parse(&self.execution_arn);
        // `arn:aws:states:us-east-1:123456789012:`
        let part = |n: usize| arn.and_then(|arn| arn.prefix.split(':').nth(n)).unwrap_or("");
        let time = clock::format_millis(self.time_ms);
        json!({"version": "0", "id": self.id, "detail-type": Self::TYPE, "source": source, "account": part(4),
            "time": format!("{}Z", &time[..19]), "region": part(3),
            "resources": [self.execution_arn], "detail": self.detail})
    }
}

/// Delivers changes of status. It is called on a thread of its own, and may block it.
pub trait StatusSink: Send {
    /// Delivers events, of different executions. Returns for each whether it was delivered: the others are retried.
    ///
    /// # Errors
    /// Why none was delivered.
    fn put(&mut self, events: &[Arc<StatusEvent>]) -> Result<Vec<bool>, String>;
}

/// A file with one event per line, as EventBridge would deliver it.
#[derive(Debug)]
pub struct StatusFile {
    file: File,
    source: Box<str>,
}

impl StatusFile {
    /// Appends to this file, which is created if missing.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path, source: &str) -> io::Result<StatusFile> {
        let file = File::options().append(true).create(true).open(path)?;
        Ok(StatusFile { file, source: source.into() })
    }
}

impl StatusSink for StatusFile {
    fn put(&mut self, events: &[Arc<StatusEvent>]) -> Result<Vec<bool>, String> {
        let mut lines = String::new();
        for event in events {
            lines.push_str(&event.delivered(&self.source).to_string());
            lines.push('\n');
        }
        self.file.write_all(lines.as_bytes()).map_err(|error| os::words(&error))?;
        Ok(vec![true; events.len()])
    }
}

/// An event bus, by `PutEvents`.
#[cfg(feature = "integrations")]
#[derive(Debug)]
pub struct EventBus {
    client: crate::task::aws::Client,
    bus: Box<str>,
    source: Box<str>,
}

#[cfg(feature = "integrations")]
impl EventBus {
    /// The bus of this name or ARN, called as tasks call EventBridge.
    ///
    /// # Errors
    /// When there are no settings to call it with.
    pub fn new(
        integrations: &crate::task::aws::Integrations,
        bus: &str,
        source: &str,
    ) -> Result<EventBus, String> {
        let client = crate::task::aws::Client::events(integrations)?;
        Ok(EventBus { client, bus: bus.into(), source: source.into() })
    }
}

#[cfg(feature = "integrations")]
impl StatusSink for EventBus {
    fn put(&mut self, events: &[Arc<StatusEvent>]) -> Result<Vec<bool>, String> {
        use crate::task::aws::ClientError;
        let entry = |event: &Arc<StatusEvent>| {
            json!({"EventBusName": self.bus, "Source": self.source, "DetailType": StatusEvent::TYPE,
                "Time": event.time_ms as f64 / 1e3, "Resources": [event.execution_arn],
                "Detail": event.detail.to_string()})
        };
        let request = json!({"Entries": events.iter().map(entry).collect::<Vec<_>>()});
        let answer =
            pollster::block_on(self.client.call("PutEvents", &request)).map_err(|error| match error {
                ClientError::Refused { code, message } => format!("{code}: {message}"),
                ClientError::Unanswered(why) => why,
            })?;
        let entries = answer["Entries"].as_array().map_or(&[][..], |entries| entries);
        let first = entries.iter().find(|entry| !entry["ErrorCode"].is_null());
        let arrived: Vec<bool> = (0..events.len())
            .map(|n| entries.get(n).is_some_and(|entry| entry["ErrorCode"].is_null()))
            .collect();
        match first {
            Some(entry) if !arrived.contains(&true) => {
                Err(format!("{}: {}", entry["ErrorCode"], entry["ErrorMessage"]))
            }
            _ => Ok(arrived),
        }
    }
}

/// The queue of events, and the thread that empties it.
#[derive(Debug)]
pub(super) struct StatusEvents(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Notified when there is something to do, or all is done.
    changed: Condvar,
    sent: AtomicU64,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<(Arc<StatusEvent>, usize)>,
    bytes: usize,
    is_full: bool,
    is_closed: bool,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // It is consistent between any two statements.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next events, each of another execution; `None` when no more come.
    fn next(&self) -> Option<Vec<Arc<StatusEvent>>> {
        let mut queue = self.queue();
        while queue.waiting.is_empty() {
            if queue.is_closed {
                return None;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        let (mut executions, mut bytes) = (HashSet::new(), 0);
        let batch = queue.waiting.iter().take(BATCH_MAX).take_while(|(event, size)| {
            bytes += size;
            executions.insert(event.execution_arn.as_str()) && (bytes <= BATCH_BYTES_MAX || bytes == *size)
        });
        Some(batch.map(|(event, _)| Arc::clone(event)).collect())
    }

    /// Removes those of the first events that were delivered.
    fn arrived(&self, arrived: &[bool]) {
        let mut queue = self.queue();
        let mut left = Vec::new();
        for arrived in arrived {
            let Some((event, bytes)) = queue.waiting.pop_front() else { break };
            if *arrived {
                queue.bytes -= bytes;
                self.sent.fetch_add(1, Ordering::Relaxed);
            } else {
                left.push((event, bytes));
            }
        }
        left.into_iter().rev().for_each(|event| queue.waiting.push_front(event));
        if queue.waiting.len() < WAITING_MAX / 2 && queue.bytes < WAITING_BYTES_MAX / 2 {
            queue.is_full = false;
        }
        drop(queue);
        self.changed.notify_all();
    }

    /// Waits for so long, or until the end. Whether it has ended.
    fn pause(&self, time: Duration) -> bool {
        let queue = self.queue();
        let (queue, _) = (self.changed.wait_timeout_while(queue, time, |queue| !queue.is_closed))
            .unwrap_or_else(PoisonError::into_inner);
        queue.is_closed
    }

    fn put_all(&self, sink: &mut dyn StatusSink) {
        let mut pause = PAUSE_MIN;
        while let Some(events) = self.next() {
            let why = match sink.put(&events) {
                Ok(arrived) => {
                    self.arrived(&arrived);
                    if arrived.contains(&true) {
                        pause = PAUSE_MIN;
                        continue;
                    }
                    "none of them arrived".to_owned()
                }
                Err(why) => why,
            };
            tracing::warn!(reason = %why, events = events.len(), "status changes are put once more in {pause:?}");
            if self.pause(pause) {
                break;
            }
            pause = (2 * pause).min(PAUSE_MAX);
        }
        let left = self.queue().waiting.len();
        if left > 0 {
            tracing::error!(events = left, "status changes were not put before the end");
        }
    }
}

impl StatusEvents {
    pub(super) fn begin(mut sink: Box<dyn StatusSink>) -> io::Result<StatusEvents> {
        let shared = Arc::<Shared>::default();
        let events = Arc::clone(&shared);
        let thread = thread::Builder::new().name("status-events".to_owned());
        thread.spawn(move || events.put_all(&mut *sink))?;
        Ok(StatusEvents(shared))
    }

    /// Queues the event of an execution that began, ended or was redriven.
    pub(super) fn push(&self, execution: &Execution, outcome: Option<&Outcome>, redrives: &Redrives) {
        let time_ms = match outcome {
            Some(outcome) => outcome.stopped_ms,
            None => redrives.date_ms().unwrap_or(execution.started_ms),
        };
        let detail = detail(execution, outcome, redrives);
        let bytes = detail.to_string().len() + execution.arn.len();
        let id = String::from_utf8_lossy(&uuid::text(random::next(), random::next())).into_owned();
        let event = StatusEvent { id, time_ms, execution_arn: execution.arn.to_string(), detail };
        let mut queue = self.0.queue();
        if queue.waiting.len() >= WAITING_MAX || queue.bytes + bytes > WAITING_BYTES_MAX {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
            if !std::mem::replace(&mut queue.is_full, true) {
                tracing::error!(
                    waiting = queue.waiting.len(),
                    "too many status changes wait: new ones are dropped"
                );
            }
            return;
        }
        queue.bytes += bytes;
        queue.waiting.push_back((Arc::new(event), bytes));
        drop(queue);
        self.0.changed.notify_all();
    }

    /// Blocks this thread until all events are delivered, or the time is over. How many are left.
    pub(super) fn wait(&self, within: Duration) -> usize {
        let until = Instant::now() + within;
        let mut queue = self.0.queue();
        while !queue.waiting.is_empty() {
            let Some(left) = until.checked_duration_since(Instant::now()) else { break };
            (queue, _) = self.0.changed.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner);
        }
        queue.waiting.len()
    }

    /// How many were delivered, were dropped, and wait.
    pub(super) fn counts(&self) -> (u64, u64, u64) {
        let Shared { sent, dropped, .. } = &*self.0;
        let waiting = self.0.queue().waiting.len() as u64;
        (sent.load(Ordering::Relaxed), dropped.load(Ordering::Relaxed), waiting)
    }
}

impl Drop for StatusEvents {
    fn drop(&mut self) {
        self.0.queue().is_closed = true;
        self.0.changed.notify_all();
    }
}

impl Executions {
    /// The status of an execution changed. As on AWS, only those of Standard ones are published.
    pub(super) fn tell_status(&self, execution: &Execution, outcome: Option<&Outcome>, redrives: &Redrives) {
        if let Some(events) = self.status_events.as_ref().filter(|_| !execution.target.machine.is_express()) {
            events.push(execution, outcome, redrives);
        }
    }

    pub(super) fn status_event_counts(&self) -> Option<(u64, u64, u64)> {
        self.status_events.as_ref().map(StatusEvents::counts)
    }

    pub(super) fn wait_for_status_events(&self, within: Duration) -> usize {
        self.status_events.as_ref().map_or(0, |events| events.wait(within))
    }
}

fn status_name(status: Status) -> &'static str {
    match status {
        Status::Running => "RUNNING",
        Status::Succeeded => "SUCCEEDED",
        Status::Failed => "FAILED",
        Status::TimedOut => "TIMED_OUT",
        Status::Aborted => "ABORTED",
    }
}

fn detail(execution: &Execution, outcome: Option<&Outcome>, redrives: &Redrives) -> Json {
    let status = outcome.map_or(Status::Running, |outcome| outcome.status);
    let output = outcome
        .filter(|_| status == Status::Succeeded)
        .map(|outcome| String::from_utf8_lossy(outcome.json()));
    let escaped = |text: &str| Json::from(text).to_string().len();
    let output_bytes = output.as_deref().map_or(0, escaped);
    let has_input = escaped(&execution.input) + output_bytes <= DATA_BYTES_MAX;
    let has_output = output_bytes <= DATA_BYTES_MAX;
    let refused = match outcome {
        Some(outcome) if outcome.stopped().is_some() => None,
        _ if execution.map_run.is_some() && status != Status::Running => {
            Some("The execution is a child of a Map Run".to_owned())
        }
        _ => Some(format!("Execution is {} and cannot be redriven", status_name(status))),
    };
    let fault = outcome.and_then(|outcome| outcome.fault.as_ref());
    json!({
        "executionArn": execution.arn,
        "stateMachineArn": execution.target.machine.arn,
        "stateMachineVersionArn": execution.target.version_arn(),
        "stateMachineAliasArn": execution.target.alias_arn(),
        "name": execution.name,
        "status": status_name(status),
        "startDate": execution.started_ms,
        "stopDate": outcome.map(|outcome| outcome.stopped_ms),
        "input": has_input.then_some(&*execution.input),
        "inputDetails": {"included": has_input},
        "output": output.as_deref().filter(|_| has_output),
        "outputDetails": output.as_ref().map(|_| json!({"included": has_output})),
        "error": fault.and_then(|fault| fault.error.as_deref()),
        "cause": fault.and_then(|fault| fault.cause.as_deref()),
        "redriveCount": redrives.count,
        "redriveDate": redrives.date_ms(),
        "redriveStatus": if refused.is_none() { "REDRIVABLE" } else { "NOT_REDRIVABLE" },
        "redriveStatusReason": refused,
    })
}
