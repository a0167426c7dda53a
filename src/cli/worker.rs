//! A thread that runs batches of events, one after the other, with a driver and buffers of its own.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use expressway::fault::{self, Fault};
use expressway::json;
use expressway::program::{Program, StateId};
use expressway::runtime::inline::{Driver, InputError, Outcome, Watch};

use super::in_line::AnyClock;
use super::input::{Batch, Cursor, Event};
use super::progress;
use super::trace::Trace;

/// The results of some events.
#[derive(Default)]
pub(super) struct Report {
    /// Outputs, one per line.
    pub(super) out: Vec<u8>,
    /// Traces, for people.
    pub(super) said: String,
    pub(super) succeeded: u64,
    pub(super) failures: Vec<Failure>,
    pub(super) bytes: u64,
    /// The times of every n-th event.
    pub(super) times: Vec<Duration>,
    /// Executions that were stopped by an interrupt.
    pub(super) unfinished: u64,
    /// Whether the batch is done.
    pub(super) is_last: bool,
}

impl Report {
    pub(super) fn is_empty(&self) -> bool {
        self.succeeded == 0 && self.failures.is_empty() && self.unfinished == 0 && self.bytes == 0
    }

    /// Adds the results of later events.
    pub(super) fn add(&mut self, later: Report) {
        let Report { mut out, said, succeeded, failures, bytes, times, unfinished, is_last } = later;
        if self.out.is_empty() {
            self.out = out
        } else {
            self.out.append(&mut out)
        }
        self.said.push_str(&said);
        self.succeeded += succeeded;
        self.failures.extend(failures);
        self.bytes += bytes;
        self.unfinished += unfinished;
        self.times.extend(times);
        self.is_last |= is_last;
    }
}

/// An event without an output.
pub(super) struct Failure {
    pub(super) line: u64,
    /// The error's name; `None` when the line did not become an execution.
    pub(super) error: Option<String>,
    pub(super) cause: Option<String>,
}

/// The name of a Fail state's error without `Error`.
const UNNAMED: &str = "(no error name)";
/// A report is sent when it has so many bytes of outputs, so that few lines with large outputs stay bounded …
const OUT_BYTES: usize = 1 << 18;
/// … so many failures …
const FAILURES: usize = 1 << 10;
/// … or when so much time has passed: people wait for the outputs of slow events.
const REPORT_EVERY: Duration = Duration::from_millis(50);
/// Reading the clock twice costs 50 ns, a tenth of a small workflow; spread over this many events it is negligible.
const TIMED_EVERY: u32 = 8;
/// After an event this slow the cost of reading the clock is negligible.
const SLOW: Duration = Duration::from_millis(1);

/// What others see of a worker, and whether it is to stop.
#[derive(Default)]
pub(super) struct Watched {
    /// For all workers together.
    stop: Arc<AtomicBool>,
    /// The event that is run, by its line.
    line: AtomicU64,
    place: Mutex<Place>,
}

/// The state in which an execution was last seen, if it takes long.
#[derive(Default)]
struct Place {
    line: u64,
    state: String,
    transitions: u64,
}

impl Watched {
    pub(super) fn new(stop: Arc<AtomicBool>) -> Watched {
        Watched { stop, ..Watched::default() }
    }

    /// The state of the execution under way, if that takes long.
    pub(super) fn text(&self) -> String {
        let place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        if place.line != self.line.load(Ordering::Relaxed) || place.transitions == 0 {
            return String::new();
        }
        let transitions = progress::grouped(place.transitions);
        format!("line {} is in `{}` after {transitions} transitions", place.line, place.state)
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Of the driver of a worker.
struct Eye(Arc<Watched>);

impl Watch for Eye {
    fn is_stopped(&self) -> bool {
        self.0.is_stopped()
    }

    fn goes_on(&mut self, program: &Program, state: StateId, transitions: u64) {
        let mut place = self.0.place.lock().unwrap_or_else(PoisonError::into_inner);
        place.line = self.0.line.load(Ordering::Relaxed);
        program.name(state).clone_into(&mut place.state);
        place.transitions = transitions;
    }
}

/// Runs batches and reports, until there are no more, the receiver is dropped, or it is stopped.
pub(super) struct Worker {
    driver: Driver<AnyClock>,
    watched: Arc<Watched>,
    reports: SyncSender<Report>,
    trace: Option<Trace>,
    report: Report,
    /// Events until the next one is timed.
    wait: u32,
    reported: Instant,
}

/// The receiver was dropped, or the worker is to stop.
struct Over;

impl Worker {
    pub(super) fn new(
        mut driver: Driver<AnyClock>,
        watched: Arc<Watched>,
        trace: Option<Trace>,
        reports: SyncSender<Report>,
    ) -> Worker {
        driver.watch(Box::new(Eye(Arc::clone(&watched))));
        Worker {
            driver,
            watched,
            reports,
            trace,
            report: Report::default(),
            wait: 0,
            reported: Instant::now(),
        }
    }

    pub(super) fn work(mut self, batches: &Receiver<Batch>) {
        while let Ok(batch) = batches.recv() {
            self.reported = Instant::now();
            if self.batch(&batch).is_err() {
                return;
            }
        }
    }

    fn batch(&mut self, batch: &Batch) -> Result<(), Over> {
        let mut cursor = Cursor::default();
        while let Some(Event { line, input, bytes }) = batch.next(&mut cursor) {
            if self.watched.is_stopped() {
                self.hand_on(true)?;
                return Err(Over);
            }
            self.watched.line.store(line, Ordering::Relaxed);
            self.report.bytes += bytes;
            match input {
                Ok(text) => self.event(line, text)?,
                Err(error) => self.refused(line, error),
            }
        }
        self.hand_on(true)
    }

    #[inline]
    fn event(&mut self, line: u64, text: &[u8]) -> Result<(), Over> {
        let begun = match self.wait {
            0 => Some(Instant::now()),
            _ => None,
        };
        self.wait = if begun.is_some() { TIMED_EVERY - 1 } else { self.wait - 1 };
        let mut trace = self.trace.as_mut().filter(|trace| trace.wants(line));
        let ended = match &mut trace {
            None => self.driver.run(text),
            Some(trace) => self.driver.run_listened(text, *trace),
        };
        match ended {
            Ok(ended) => {
                if let Outcome::Succeeded(output) = ended.outcome() {
                    json::write(&ended.execution().arena, *output, &mut self.report.out);
                    self.report.out.push(b'\n');
                    self.report.succeeded += 1;
                } else if let Outcome::Aborted(_) = ended.outcome() {
                    self.report.unfinished += 1;
                } else {
                    self.report.failures.push(failure(line, ended.outcome()));
                }
                if let Some(trace) = trace {
                    self.report.said.push_str(&trace.finish(line));
                }
            }
            Err(error) => self.refused(line, error),
        }
        let is_full = self.report.out.len() >= OUT_BYTES || self.report.failures.len() >= FAILURES;
        let is_due = begun.is_some_and(|begun| self.timed(begun));
        if is_full || is_due { self.hand_on(false) } else { Ok(()) }
    }

    /// Records the time of an event; whether it is time to report.
    fn timed(&mut self, begun: Instant) -> bool {
        let now = Instant::now();
        let time = now - begun;
        self.report.times.push(time);
        if time > SLOW {
            self.wait = 0;
        }
        now - self.reported > REPORT_EVERY
    }

    #[cold]
    fn refused(&mut self, line: u64, error: InputError) {
        self.report.failures.push(Failure { line, error: None, cause: Some(error.to_string()) });
    }

    fn hand_on(&mut self, is_last: bool) -> Result<(), Over> {
        let fresh = Report { out: Vec::with_capacity(self.report.out.len()), ..Report::default() };
        let report = std::mem::replace(&mut self.report, fresh);
        self.reports.send(Report { is_last, ..report }).map_err(|_| Over)?;
        self.reported = Instant::now();
        Ok(())
    }
}

#[cold]
pub(super) fn failure(line: u64, outcome: &Outcome) -> Failure {
    let timed_out = Fault::new(fault::TIMEOUT, "The execution took longer than it may.");
    let fault = match outcome {
        Outcome::Failed(fault) | Outcome::Aborted(fault) => fault,
        _ => &timed_out,
    };
    let error = fault.error.as_deref().unwrap_or(UNNAMED).to_owned();
    Failure { line, error: Some(error), cause: fault.cause.clone() }
}
