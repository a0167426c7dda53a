//! Watching single executions: who decides that one is watched, and who watches.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{History, event_bytes};
use crate::engine::{EventMask, Identity, Listener, Outcome, Record};
use crate::json::Arena;
use crate::program::Program;

/// Watches one execution: gets every record of it, and at the end its outcome.
///
/// It is called on the thread that runs the execution, so it must be quick and must not block; it travels with the
/// execution wherever that goes. When it panics, it is told nothing more, and nobody else is concerned.
pub trait Watcher: Listener + Send {
    /// What it wants to hear. Asked once, when the execution begins.
    fn event_mask(&self) -> EventMask {
        EventMask::STATES
    }

    /// Appends what is to outlive the process of what it heard since it was asked last; asked after each turn of a durable
    /// execution. It comes back as the
    /// [history of what is recovered](crate::runtime::RecoveredExecution::history).
    fn unrecorded(&mut self, out: &mut Vec<u8>) {
        let _ = out;
    }

    /// The execution is over; an output lies in the arena. An execution that never began, because it was aborted or the
    /// engine went down before, has an outcome and no records.
    fn ended(&mut self, arena: &Arena, outcome: &Outcome, now_ms: u64) {
        let _ = (arena, outcome, now_ms);
    }
}

/// Decides, when an execution begins, whether it is watched, and by whom. It is asked on the thread that runs the
/// execution, for each, so it must be quick.
pub trait Observer: Send + Sync {
    /// Who watches this execution; nobody costs nothing from here on.
    fn watch(&self, beginning: &Beginning<'_>) -> Option<Box<dyn Watcher>>;
}

/// An execution that is about to begin.
#[derive(Clone, Copy, Debug)]
pub struct Beginning<'b> {
    /// Its program.
    pub program: &'b Program,
    /// What it is called.
    pub identity: &'b Identity,
    /// Everything random in it follows from this.
    pub seed: u64,
    /// The time, in milliseconds since 1970.
    pub now_ms: u64,
    /// The trace it is part of, as the one who started it says (`X-Amzn-Trace-Id`, `traceparent`).
    pub trace_header: Option<&'b str>,
}

impl Beginning<'_> {
    /// The ARN of the execution.
    pub fn execution_arn(&self) -> String {
        self.identity.execution_arn_with(self.seed)
    }
}

/// The history of one execution, to be read from any thread while it is written.
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
    shared: Arc<Mutex<History>>,
}

impl LiveHistory {
    /// A history that takes about `bytes_max` bytes at most.
    pub fn new(bytes_max: usize) -> LiveHistory {
        LiveHistory { shared: Arc::new(Mutex::new(History::new(bytes_max))) }
    }

    /// Puts back events that were [written down](Watcher::unrecorded), oldest first. `None` when these are none; then those
    /// before the first that is malformed are there.
    pub fn recover(&self, recorded: &[u8]) -> Option<()> {
        let mut history = lock(&self.shared);
        event_bytes::read(recorded, |event| history.keep(event))
    }

    /// Who writes it.
    pub fn watcher(&self) -> Box<dyn Watcher> {
        Box::new(Writer { history: Arc::clone(&self.shared), recorded: None })
    }

    /// Who writes it, and has each event [kept in the journal](Watcher::unrecorded) too: of a durable execution.
    pub fn durable_watcher(&self) -> Box<dyn Watcher> {
        let last = self.read(|history| history.events().next_back().map_or(0, |event| event.id));
        Box::new(Writer { history: Arc::clone(&self.shared), recorded: Some(last) })
    }

    /// Looks at what there is so far. The execution waits meanwhile.
    pub fn read<T>(&self, read: impl FnOnce(&History) -> T) -> T {
        read(&lock(&self.shared))
    }
}

struct Writer {
    history: Arc<Mutex<History>>,
    /// The last event that was written down; none, when nothing is.
    recorded: Option<u64>,
}

fn lock(history: &Mutex<History>) -> MutexGuard<'_, History> {
    // A history is whole between any two of its events.
    history.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Listener for Writer {
    fn record(&mut self, program: &Program, arena: &Arena, record: &Record<'_>) {
        lock(&self.history).record(program, arena, record);
    }
}

impl Watcher for Writer {
    fn unrecorded(&mut self, out: &mut Vec<u8>) {
        if let Some(recorded) = &mut self.recorded {
            let history = lock(&self.history);
            let new = history.events().rev().take_while(|event| event.id > *recorded).count();
            for event in history.events().skip(history.events().len() - new) {
                event_bytes::write(event, out);
                *recorded = event.id;
            }
        }
    }
}
