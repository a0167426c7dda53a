//! Watchers of single executions.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{History, event_bytes};
use crate::engine::{EventMask, Identity, Listener, Outcome, Record};
use crate::json::Arena;
use crate::program::Program;

/// Watches one execution: gets every record of it, and its outcome at the end.
///
/// It is called on the thread that runs the execution, so it must be quick and must not block; it travels with the
/// execution wherever that goes. When it panics, it is not called again; nothing else is affected.
pub trait Watcher: Listener + Send {
    /// The events it wants. Called once, when the execution begins.
    fn event_mask(&self) -> EventMask {
        EventMask::STATES
    }

    /// Bytes that are kept for the execution while it is under way, beside its history: they count as its memory. Asked
    /// once, before it begins.
    fn kept_bytes(&self) -> usize {
        0
    }

    /// Appends the events since the last call in a form to be recorded; called after each turn of a durable execution.
    /// The bytes come back as the [history of a recovered execution](crate::runtime::RecoveredExecution::history).
    fn unrecorded(&mut self, out: &mut Vec<u8>) {
        let _ = out;
    }

    /// The execution has been parked for some time. The watcher may move its data out of memory; records follow as
    /// before.
    fn parked(&mut self, spill: &dyn Spill) {
        let _ = spill;
    }

    /// The execution is over; the output, if any, is in the arena. An execution that never began, because it was
    /// aborted or the engine ended before, has an outcome and no records.
    fn ended(&mut self, arena: &Arena, outcome: &Outcome, now_ms: u64) {
        let _ = (arena, outcome, now_ms);
    }
}

/// A place outside of memory for data of parked executions.
pub trait Spill {
    /// Stores bytes; `None` when it does not accept them.
    fn spill(&self, bytes: &[u8]) -> Option<Box<dyn Spilled>>;
}

/// Stored bytes, until this is dropped.
pub trait Spilled: Send + std::fmt::Debug {
    /// The bytes.
    fn read(&self) -> Vec<u8>;
}

/// Decides, when an execution begins, whether it is watched, and by which watcher. It is called on the thread that runs
/// the execution, for each, so it must be quick.
pub trait Observer: Send + Sync {
    /// The watcher of this execution; `None` costs nothing from here on.
    fn watch(&self, beginning: &Beginning<'_>) -> Option<Box<dyn Watcher>>;
}

/// An execution that is about to begin.
#[derive(Clone, Copy, Debug)]
pub struct Beginning<'b> {
    /// Its program.
    pub program: &'b Program,
    /// Its identity.
    pub identity: &'b Identity,
    /// The source of everything random in it.
    pub seed: u64,
    /// The time, in milliseconds since 1970.
    pub now_ms: u64,
    /// The trace header passed with the start (`X-Amzn-Trace-Id`, `traceparent`).
    pub trace_header: Option<&'b str>,
}

impl Beginning<'_> {
    /// The ARN of the execution.
    pub fn execution_arn(&self) -> String {
        self.identity.execution_arn_with(self.seed)
    }
}

/// The history of one execution, which can be read from any thread while it is written.
///
/// ```
/// # #[cfg(feature = "runtime")] {
/// use expressway::observe::LiveHistory;
/// use expressway::runtime::Engine;
///
/// let engine = Engine::builder().build()?;
/// let definition = r#"{"StartAt": "Hello", "States": {"Hello": {"Type": "Pass", "End": true}}}"#;
/// let machine = engine.create_state_machine("hello", definition)?;
/// let history = LiveHistory::new(1 << 20);
/// let execution = engine.start_watched(&machine, "mine", "{}", history.watcher())?;
/// tokio::runtime::Builder::new_current_thread().build()?.block_on(execution);
/// assert_eq!(history.read(|history| history.events().len()), 4);
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct LiveHistory {
    shared: Arc<Mutex<Kept>>,
}

/// A history, whose events may be out of memory.
#[derive(Debug)]
struct Kept {
    history: History,
    spilled: Option<Box<dyn Spilled>>,
}

impl Kept {
    /// The history with its events in memory, where they then stay.
    fn in_memory(&mut self) -> &mut History {
        if let Some(spilled) = self.spilled.take() {
            bring_back(&mut self.history, &*spilled);
        }
        &mut self.history
    }
}

fn bring_back(history: &mut History, spilled: &dyn Spilled) {
    let read = event_bytes::read(&spilled.read(), |event| history.keep(event));
    assert!(read.is_some(), "events are read as they were written");
}

impl LiveHistory {
    /// A history that takes about `bytes_max` bytes at most.
    pub fn new(bytes_max: usize) -> LiveHistory {
        let kept = Kept { history: History::new(bytes_max), spilled: None };
        LiveHistory { shared: Arc::new(Mutex::new(kept)) }
    }

    /// Restores events that were [written down](Watcher::unrecorded), oldest first. `None` if they are malformed; then
    /// those before the first malformed one are restored.
    pub fn recover(&self, recorded: &[u8]) -> Option<()> {
        let mut kept = lock(&self.shared);
        let history = kept.in_memory();
        event_bytes::read(recorded, |event| history.keep(event))
    }

    /// Its writer.
    pub fn watcher(&self) -> Box<dyn Watcher> {
        Box::new(Writer { history: Arc::clone(&self.shared), recorded: None })
    }

    /// Its writer for a durable execution, which also has each event [recorded in the journal](Watcher::unrecorded).
    pub fn durable_watcher(&self) -> Box<dyn Watcher> {
        let last = self.read(last_event);
        Box::new(Writer { history: Arc::clone(&self.shared), recorded: Some(last) })
    }

    /// Reads the history so far. The execution waits meanwhile. Events that are out of memory are loaded for the read.
    pub fn read<T>(&self, read: impl FnOnce(&History) -> T) -> T {
        let kept = lock(&self.shared);
        match &kept.spilled {
            None => read(&kept.history),
            Some(spilled) => {
                let mut history = kept.history.clone();
                bring_back(&mut history, &**spilled);
                read(&history)
            }
        }
    }

    /// Bytes of memory that the events take, roughly.
    pub fn bytes(&self) -> usize {
        lock(&self.shared).history.bytes()
    }
}

/// The number of a history's last event.
fn last_event(history: &History) -> u64 {
    history.events().next_back().map_or(0, |event| event.id)
}

struct Writer {
    history: Arc<Mutex<Kept>>,
    /// The last event that was recorded; `None` before the first.
    recorded: Option<u64>,
}

fn lock(history: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    // A history is consistent between any two of its events.
    history.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Listener for Writer {
    fn record(&mut self, program: &Program, arena: &Arena, record: &Record<'_>) {
        lock(&self.history).in_memory().record(program, arena, record);
    }
}

impl Watcher for Writer {
    fn unrecorded(&mut self, out: &mut Vec<u8>) {
        let Some(recorded) = &mut self.recorded else { return };
        let kept = lock(&self.history);
        // Events that are out of memory were recorded: there are no new ones then.
        let new = kept.history.events().rev().take_while(|event| event.id > *recorded).count();
        for event in kept.history.events().skip(kept.history.events().len() - new) {
            event_bytes::write(event, out);
            *recorded = event.id;
        }
    }

    fn parked(&mut self, spill: &dyn Spill) {
        let mut kept = lock(&self.history);
        let history = &kept.history;
        if history.events().len() == 0 || self.recorded.is_some_and(|recorded| last_event(history) > recorded)
        {
            return;
        }
        let mut events = Vec::new();
        history.events().for_each(|event| event_bytes::write(event, &mut events));
        if let Some(spilled) = spill.spill(&events) {
            kept.history.set_aside();
            kept.spilled = Some(spilled);
        }
    }
}
