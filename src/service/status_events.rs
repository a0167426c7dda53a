//! `Step Functions Execution Status Change`: the events that AWS sends to EventBridge when a Standard execution begins,
//! ends or is redriven (developer guide, "Automating Step Functions event delivery with EventBridge").
//!
//! Events wait in a bounded queue, and a thread of their own delivers them. One that cannot be delivered is retried,
//! with growing delays, before any later one of its execution.
//!
//! Those of a durable execution are delivered at least once. Its changes are numbered: an odd one is its start or a
//! redrive, the even one behind it the end. An event waits until its change is durable, and how many were delivered is
//! noted behind that, in the [journal](crate::runtime::Engine::note_delivered), or beside its [row](super::cold). After
//! a restart the others are [made once more](Executions::tell_missed), with the same ids, from the execution.

use crate::os;
use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use super::executions::{Execution, Executions, Run};
use super::inner::Inner;
use super::redrives::Redrives;
use crate::arn::Arn;
use crate::fault::Fault;
use crate::observe::EventType;
use crate::runtime::{Handle, Outcome, Status};
use crate::{clock, uuid};

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
    /// A UUID. An event that is delivered twice has the same.
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

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// Notified when there is something to do, or all is done.
    changed: Condvar,
    sent: AtomicU64,
    dropped: AtomicU64,
    service: Arc<OnceLock<Weak<Inner>>>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    is_full: bool,
    is_closed: bool,
}

/// An event that is to be delivered.
struct Waiting {
    event: Arc<StatusEvent>,
    bytes: usize,
    change: Change,
    /// Completes when the change is durable.
    durable: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

/// A change of an execution's status.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    /// The execution's number in the journal, if it is durable.
    pub(super) recorded: Option<u64>,
    /// The number of the change among all of the execution, from 1.
    pub(super) number: u32,
}

impl Waiting {
    fn is_durable(&mut self, waker: &Waker) -> bool {
        let poll = |it: &mut Pin<Box<dyn Future<Output = ()> + Send>>| {
            it.as_mut().poll(&mut Context::from_waker(waker)).is_ready()
        };
        if self.durable.as_mut().is_some_and(poll) {
            self.durable = None;
        }
        self.durable.is_none()
    }
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiting")
            .field("event", &self.event)
            .field("change", &self.change)
            .finish_non_exhaustive()
    }
}

/// Something became durable.
impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        // Locked, so that the thread does not miss it between looking and waiting.
        drop(self.queue());
        self.changed.notify_all();
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // It is consistent between any two statements.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next events, each of another execution, and durable; `None` when no more come.
    fn next(self: &Arc<Self>) -> Option<Vec<Arc<StatusEvent>>> {
        let waker = Waker::from(Arc::clone(self));
        let mut queue = self.queue();
        while !queue.waiting.front_mut().is_some_and(|first| first.is_durable(&waker)) {
            if queue.is_closed {
                return None;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        let (mut executions, mut bytes) = (HashSet::new(), 0);
        let batch = queue.waiting.iter_mut().take(BATCH_MAX).map_while(|waiting| {
            bytes += waiting.bytes;
            let is_next = executions.insert(waiting.event.execution_arn.clone())
                && (bytes <= BATCH_BYTES_MAX || bytes == waiting.bytes)
                && waiting.is_durable(&waker);
            is_next.then(|| Arc::clone(&waiting.event))
        });
        Some(batch.collect())
    }

    /// Removes those of the first events that were delivered, which is noted.
    fn arrived(&self, arrived: &[bool]) {
        let mut queue = self.queue();
        let (mut left, mut delivered) = (Vec::new(), Vec::new());
        for arrived in arrived {
            let Some(waiting) = queue.waiting.pop_front() else { break };
            if *arrived {
                queue.bytes -= waiting.bytes;
                delivered.push((waiting.event, waiting.change));
            } else {
                left.push(waiting);
            }
        }
        left.into_iter().rev().for_each(|waiting| queue.waiting.push_front(waiting));
        if queue.waiting.len() < WAITING_MAX / 2 && queue.bytes < WAITING_BYTES_MAX / 2 {
            queue.is_full = false;
        }
        drop(queue);
        if let Some(service) = self.service.get().and_then(Weak::upgrade) {
            service.delivered(&delivered);
        }
        // Last, so that what counts as sent is noted.
        self.sent.fetch_add(delivered.len() as u64, Ordering::Relaxed);
        self.changed.notify_all();
    }

    /// Waits for so long, or until the end. Whether it has ended.
    fn pause(&self, time: Duration) -> bool {
        let queue = self.queue();
        let (queue, _) = (self.changed.wait_timeout_while(queue, time, |queue| !queue.is_closed))
            .unwrap_or_else(PoisonError::into_inner);
        queue.is_closed
    }

    fn put_all(self: &Arc<Self>, sink: &mut dyn StatusSink) {
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
    pub(super) fn begin(
        mut sink: Box<dyn StatusSink>,
        service: Arc<OnceLock<Weak<Inner>>>,
    ) -> io::Result<StatusEvents> {
        let (queue, changed) = (Mutex::default(), Condvar::new());
        let (sent, dropped) = (AtomicU64::new(0), AtomicU64::new(0));
        let shared = Arc::new(Shared { queue, changed, sent, dropped, service });
        let events = Arc::clone(&shared);
        let thread = thread::Builder::new().name("status-events".to_owned());
        thread.spawn(move || events.put_all(&mut *sink))?;
        Ok(StatusEvents(shared))
    }

    /// Queues the event of an execution that began, ended or was redriven, unless there is no room. `handle` is that of
    /// an execution whose change is perhaps not durable yet.
    fn push(
        &self,
        (execution, number): (&Execution, u32),
        outcome: Option<&Outcome>,
        redrives: &Redrives,
        handle: Option<&Handle>,
    ) -> bool {
        let time_ms = match outcome {
            Some(outcome) => outcome.stopped_ms,
            None => redrives.date_ms().unwrap_or(execution.started_ms),
        };
        let detail = detail(execution, outcome, redrives);
        let bytes = detail.to_string().len() + execution.arn.len();
        let id = id_of(execution, number);
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
            return false;
        }
        queue.bytes += bytes;
        let durable = handle.map(|handle| Box::pin(handle.recorded()) as _);
        let change = Change { recorded: execution.recorded, number };
        queue.waiting.push_back(Waiting { event: Arc::new(event), bytes, change, durable });
        drop(queue);
        self.0.changed.notify_all();
        true
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

impl Run {
    /// How often its status changed, with its start.
    pub(super) fn changes(&self) -> u32 {
        2 * self.redrives.count + 1 + u32::from(self.outcome.is_some())
    }

    /// How many changes were delivered, and how many there are, if more are to be.
    pub(super) fn undelivered(&self) -> Option<(u32, u32)> {
        let changes = self.changes();
        (self.delivered < changes).then_some((self.delivered, changes))
    }
}

impl Executions {
    pub(super) fn status_events_of(&self, execution: &Execution) -> Option<&StatusEvents> {
        // As on AWS, only those of Standard ones are published.
        self.status_events.as_ref().filter(|_| !execution.target.machine.is_express())
    }

    /// The status of an execution has changed.
    pub(super) fn tell_status(&self, execution: &Execution, run: &mut Run) {
        if let Some(events) = self.status_events_of(execution) {
            let Run { outcome, redrives, handle, .. } = &*run;
            // The outcome of a durable execution is known when it is durable.
            let handle = handle.as_ref().filter(|_| outcome.is_none());
            let number = run.changes();
            if !events.push((execution, number), outcome.as_deref(), redrives, handle) {
                run.delivered = number;
            }
        }
    }

    /// Queues the changes of status that an earlier process has not delivered. `delivered` is how many it has; `None`, if
    /// it delivered none at all: then those up to now are not delivered later either.
    pub(super) fn tell_missed(&self, execution: &Execution, delivered: Option<u32>) {
        if let Some(events) = self.status_events_of(execution) {
            self.tell_missed_by(events, execution, delivered);
        }
    }

    fn tell_missed_by(&self, events: &StatusEvents, execution: &Execution, delivered: Option<u32>) {
        let mut run = execution.run();
        let changes = run.changes();
        run.delivered = delivered.unwrap_or(changes);
        if let (None, Some(engine), Some(recorded)) = (delivered, &self.engine, execution.recorded) {
            engine.note_delivered([(recorded, changes)]);
        }
        for number in run.delivered + 1..=changes {
            let known = if number == changes {
                Some((run.redrives.clone(), run.outcome.as_deref().cloned()))
            } else {
                past(execution, &run.redrives, number)
            };
            let Some((redrives, outcome)) = known else {
                tracing::warn!(arn = %execution.arn, "a status change that was not put is no longer known");
                continue;
            };
            if !events.push((execution, number), outcome.as_ref(), &redrives, None) {
                run.delivered = number;
            }
        }
    }

    pub(super) fn status_event_counts(&self) -> Option<(u64, u64, u64)> {
        self.status_events.as_ref().map(StatusEvents::counts)
    }

    pub(super) fn wait_for_status_events(&self, within: Duration) -> usize {
        let left = self.status_events.as_ref().map_or(0, |events| events.wait(within));
        if let Some(cold) = self.cold.as_ref().filter(|_| self.status_events.is_some())
            && let Err(why) = crate::runtime::ColdStore::flush(&**cold)
        {
            tracing::debug!(%why, "a status change may be delivered twice");
        }
        left
    }
}

/// The same for each time that the event of a change is made.
fn id_of(execution: &Execution, number: u32) -> String {
    let change = format!("{} {} {number}", execution.arn, execution.started_ms);
    let hash = Sha256::digest(change.as_bytes());
    let half = |half: usize| hash[8 * half..][..8].iter().fold(0, |it, &byte| it << 8 | u64::from(byte));
    String::from_utf8_lossy(&uuid::text(half(0), half(1))).into_owned()
}

/// A change before the last, as the history has it: the redrives up to then, and the outcome, if it was an end. `None` if
/// the history does not have it any more.
fn past(execution: &Execution, now: &Redrives, number: u32) -> Option<(Redrives, Option<Outcome>)> {
    let find = |nth: u32, is: &dyn Fn(EventType) -> bool| {
        let nth = usize::try_from(nth).ok()?;
        execution.history.read(|history| history.events().filter(|it| is(it.event_type)).nth(nth).cloned())
    };
    let count = (number - 1) / 2;
    let last_ms = match count.checked_sub(1) {
        None => 0,
        Some(_) if count == now.count => now.last_ms,
        Some(last) => find(last, &|it| it == EventType::ExecutionRedriven)?.time_ms,
    };
    let redrives = Redrives::recovered((count, last_ms));
    if number % 2 == 1 {
        return Some((redrives, None));
    }
    let event = find(count, &|it| status_of(it).is_some())?;
    let text = |name| event.detail(name).and_then(|detail| detail.as_str()).map(str::to_owned);
    let fault = Fault { error: text("error").map(Into::into), cause: text("cause") };
    let (status, times) = (status_of(event.event_type)?, (execution.started_ms, event.time_ms));
    // It was redriven, so its state was kept.
    Some((redrives, Some(Outcome::recovered(status, Some(fault), times, Vec::new(), Some([].into())))))
}

/// The status that an execution has after this event, if it may be redriven.
fn status_of(event: EventType) -> Option<Status> {
    match event {
        EventType::ExecutionFailed => Some(Status::Failed),
        EventType::ExecutionTimedOut => Some(Status::TimedOut),
        EventType::ExecutionAborted => Some(Status::Aborted),
        _ => None,
    }
}

impl Inner {
    /// Notes which changes of status were delivered.
    fn delivered(&self, delivered: &[(Arc<StatusEvent>, Change)]) {
        for (event, change) in delivered {
            if let Some(execution) = self.executions.get(&event.execution_arn)
                && execution.recorded == change.recorded
            {
                let mut run = execution.run();
                run.delivered = run.delivered.max(change.number);
            }
        }
        // Behind those, because an execution that leaves memory meanwhile takes its number along.
        let recorded = || delivered.iter().filter_map(|(_, it)| Some((it.recorded?, it.number)));
        self.engine.note_delivered(recorded());
        if let Some(cold) = &self.cold {
            cold.delivered(recorded());
        }
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
