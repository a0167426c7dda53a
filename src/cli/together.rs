//! Executions that wait or call services, run concurrently on the engine. Outputs are written in the order of the
//! events, as if each execution ran to its end before the next.
//!
//! One thread reads; this one starts executions as long as there is room, and receives ended ones from one channel. The
//! executions under way are bounded by the number of jobs, the ended ones that wait for their turn by number and by
//! bytes.

use expressway::os;
use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use expressway::asl::{MachineType, Resources};
use expressway::engine::{EventKind, EventMask, Listener, Outcome, Record};
use expressway::fault::{self, Fault};
use expressway::json::{self, Arena};
use expressway::observe::Watcher;
use expressway::program::Program;
use expressway::runtime::{Engine, Machine, MachineSpec, StartOptions};

use super::input::{Batch, Batches, Cursor, Event, Source};
use super::progress::{self, TICK};
use super::run::Arguments;
use super::stream::Stream;
use super::tasks::Mocked;
use super::trace::{Asked, Trace};
use super::worker::{Failure, Report, failure};
use super::{Stop, Went, interrupt};

/// The default number of concurrent executions.
pub(super) const JOBS: usize = 1_000;
/// Executions that may have begun while an earlier one is not over …
const WINDOW_MAX: usize = 100_000;
/// … and bytes of their outputs.
const HELD_BYTES_MAX: usize = 64 << 20;

/// The workflow to run.
pub(super) struct Workflow<'w> {
    pub(super) name: &'w str,
    /// The definition as JSON.
    pub(super) definition: &'w str,
    pub(super) machine_type: MachineType,
    pub(super) mocked: Mocked,
    pub(super) asked: Option<Asked>,
}

/// Runs all events.
pub(super) fn run(workflow: Workflow<'_>, source: Source, arguments: &Arguments) -> Result<Went, Stop> {
    let mut stream = Stream::new(arguments, source.total_bytes())?;
    let failed = |error: &dyn std::fmt::Display| Stop::failed(error.to_string());
    let mut builder = workflow.mocked.engine();
    if let Some(folder) = &arguments.files {
        builder = builder.files(super::files::below(folder)?);
    }
    let engine = builder.build().map_err(|error| failed(&error))?;
    let spec = MachineSpec {
        machine_type: workflow.machine_type,
        resources: Some(Resources::Any),
        ..MachineSpec::new(workflow.name, workflow.definition)
    };
    let machine = engine.create(&spec).map_err(|error| failed(&error))?;
    let (messages, inbox) = channel();
    let (wanted, wants) = sync_channel(1);
    let to_reader = messages.clone();
    let named = thread::Builder::new().name("read".into());
    named
        .spawn(move || read(source, &wants, &to_reader))
        .map_err(|error| Stop::failed(format!("cannot start a thread: {error}")))?;
    let to_signal = messages.clone();
    interrupt::on_first(arguments.quiet, move || {
        let _ = to_signal.send(Message::Interrupted);
    });
    let mut together = Together {
        watch_places: stream.shows_progress(),
        engine,
        machine,
        mocked: workflow.mocked,
        asked: workflow.asked,
        jobs: arguments.jobs.map_or(JOBS, usize::from),
        messages,
        window: VecDeque::new(),
        first: 0,
        running: 0,
        held_bytes: 0,
    };
    let went = together.work(&inbox, &wanted, &mut stream);
    stream.end(went, arguments.quiet)
}

/// Reads a batch on each request.
fn read(source: Source, wants: &Receiver<()>, messages: &Sender<Message>) {
    let mut batches = Batches::new(source);
    while wants.recv().is_ok() {
        let batch = batches.next();
        let is_last = !matches!(batch, Ok(Some(_)));
        if messages.send(Message::Batch(batch)).is_err() || is_last {
            return;
        }
    }
}

enum Message {
    Batch(io::Result<Option<Batch>>),
    Ended { at: u64, report: Box<Report> },
    Interrupted,
}

struct Together {
    engine: Engine,
    machine: Machine,
    mocked: Mocked,
    asked: Option<Asked>,
    jobs: usize,
    messages: Sender<Message>,
    /// Executions from the oldest whose output is not written, in the order of their events.
    window: VecDeque<Slot>,
    /// The index of the first of these among all.
    first: u64,
    running: usize,
    held_bytes: usize,
    /// Whether the current state of the execution is published.
    watch_places: bool,
}

enum Slot {
    Running { line: u64, place: Option<Arc<Mutex<Place>>> },
    Ended(Box<Report>),
}

/// The state that an execution entered last, and when.
struct Place {
    state: String,
    since: Instant,
}

impl Together {
    fn work(
        &mut self,
        inbox: &Receiver<Message>,
        wanted: &SyncSender<()>,
        stream: &mut Stream,
    ) -> Result<Went, Stop> {
        let mut batch: Option<(Batch, Cursor)> = None;
        let mut input_ended = false;
        // The reader takes no more requests once it is gone, which its last message shows.
        let want = || {
            let _ = wanted.try_send(());
        };
        want();
        loop {
            while let Some((events, cursor)) = batch.as_mut().filter(|_| self.has_room()) {
                match events.next(cursor) {
                    Some(event) => self.start(event),
                    None => {
                        batch = None;
                        want();
                    }
                }
            }
            self.write(stream)?;
            if input_ended && batch.is_none() && self.window.is_empty() {
                return Ok(stream.went());
            }
            match inbox.recv_timeout(TICK) {
                Ok(Message::Batch(Ok(Some(next)))) => batch = Some((next, Cursor::default())),
                Ok(Message::Batch(Ok(None))) => input_ended = true,
                Ok(Message::Batch(Err(error))) => {
                    return Err(Stop::failed(format!("cannot read the input: {}", os::words(&error))));
                }
                Ok(Message::Ended { at, report }) => self.ended(at, report),
                Ok(Message::Interrupted) => return self.interrupted(inbox, stream),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => unreachable!("this end holds a sender"),
            }
            stream.tick(&|| self.place());
        }
    }

    fn has_room(&self) -> bool {
        self.running < self.jobs && self.window.len() < WINDOW_MAX && self.held_bytes < HELD_BYTES_MAX
    }

    fn start(&mut self, event: Event<'_>) {
        let Event { line, input, bytes } = event;
        let at = self.first + self.window.len() as u64;
        let refused = |cause: String| {
            let failures = vec![Failure { line, error: None, cause: Some(cause) }];
            Slot::Ended(Box::new(Report { failures, bytes, ..Report::default() }))
        };
        let text = match input {
            Ok(text) => text,
            Err(error) => return self.window.push_back(refused(error.to_string())),
        };
        let asked = self.asked.as_ref().map(|asked| Trace::new(asked.clone()));
        let now = Instant::now();
        let place =
            self.watch_places.then(|| Arc::new(Mutex::new(Place { state: String::new(), since: now })));
        let watching = Watching {
            at,
            line,
            bytes,
            begun: now,
            messages: Some(self.messages.clone()),
            trace: asked.filter(|trace| trace.wants(line)),
            place: place.clone(),
        };
        let options = StartOptions {
            tasks: self.mocked.tasks(),
            watcher: Some(Box::new(watching)),
            ..StartOptions::default()
        };
        self.window.push_back(match self.engine.start_with(&self.machine, text, options) {
            Ok(_) => {
                self.running += 1;
                Slot::Running { line, place }
            }
            // The watcher is dropped with it, and its report of the end is ignored.
            Err(error) => refused(error.to_string()),
        });
    }

    fn ended(&mut self, at: u64, report: Box<Report>) {
        let slot = at.checked_sub(self.first).and_then(|at| self.window.get_mut(usize::try_from(at).ok()?));
        if let Some(slot @ Slot::Running { .. }) = slot {
            self.held_bytes += report.out.len() + report.said.len();
            *slot = Slot::Ended(report);
            self.running -= 1;
        }
    }

    /// Writes the outputs that ended and whose turn it is.
    fn write(&mut self, stream: &mut Stream) -> Result<(), Stop> {
        let mut all = Report::default();
        while let Some(Slot::Ended(_)) = self.window.front() {
            let Some(Slot::Ended(report)) = self.window.pop_front() else {
                unreachable!("looked at just now")
            };
            self.first += 1;
            self.held_bytes = self.held_bytes.saturating_sub(report.out.len() + report.said.len());
            all.add(*report);
            if all.out.len() > 1 << 18 {
                stream.report(&std::mem::take(&mut all))?;
            }
        }
        if all.is_empty() { Ok(()) } else { stream.report(&all) }
    }

    /// Writes all that ended, in order, and counts the others.
    fn interrupted(&mut self, inbox: &Receiver<Message>, stream: &mut Stream) -> Result<Went, Stop> {
        for message in inbox.try_iter() {
            if let Message::Ended { at, report } = message {
                self.ended(at, report);
            }
        }
        let mut unfinished = 0;
        while !self.window.is_empty() {
            self.write(stream)?;
            if self.window.pop_front().is_some() {
                self.first += 1;
                unfinished += 1;
            }
        }
        stream.interrupted(unfinished);
        Ok(Went::Interrupted)
    }

    /// The state of the oldest execution under way.
    fn place(&self) -> String {
        let Some(Slot::Running { line, place }) = self.window.front() else { return String::new() };
        let others = match self.running {
            0 | 1 => String::new(),
            n => format!("{} running, ", progress::grouped(n as u64)),
        };
        let place = place.as_ref().map(|place| place.lock().unwrap_or_else(PoisonError::into_inner));
        match place.filter(|place| !place.state.is_empty()) {
            Some(place) => {
                let since = progress::time(place.since.elapsed());
                format!("{others}line {line} is in `{}` for {since}", place.state)
            }
            None => format!("{others}line {line} runs"),
        }
    }
}

/// Reports how one execution ends, and its present state.
struct Watching {
    at: u64,
    line: u64,
    bytes: u64,
    begun: Instant,
    /// `None` once the end was reported.
    messages: Option<Sender<Message>>,
    trace: Option<Trace>,
    place: Option<Arc<Mutex<Place>>>,
}

impl Listener for Watching {
    fn record(&mut self, program: &Program, arena: &Arena, record: &Record<'_>) {
        if let Some(trace) = &mut self.trace {
            trace.record(program, arena, record);
        }
        if let (Some(place), EventKind::StateEntered { state, .. }) = (&self.place, record.event_kind) {
            let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
            program.name(state).clone_into(&mut place.state);
            place.since = Instant::now();
        }
    }
}

impl Watcher for Watching {
    fn event_mask(&self) -> EventMask {
        if self.trace.is_some() || self.place.is_some() { EventMask::STATES } else { EventMask::NONE }
    }

    fn ended(&mut self, arena: &Arena, outcome: &Outcome, _: u64) {
        self.tell(arena, outcome);
    }
}

impl Watching {
    fn tell(&mut self, arena: &Arena, outcome: &Outcome) {
        let Some(messages) = self.messages.take() else { return };
        let mut report = Report { bytes: self.bytes, times: vec![self.begun.elapsed()], ..Report::default() };
        if let Outcome::Succeeded(output) = outcome {
            json::write(arena, *output, &mut report.out);
            report.out.push(b'\n');
            report.succeeded = 1;
        } else {
            report.failures.push(failure(self.line, outcome));
        }
        if let Some(trace) = &mut self.trace {
            report.said = trace.finish(self.line);
        }
        // Sending fails when the receiver is gone: the command is over.
        let _ = messages.send(Message::Ended { at: self.at, report: Box::new(report) });
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let cause = "The execution was lost, which is a bug in expressway.";
        self.tell(&Arena::new(), &Outcome::Failed(Fault::new(fault::RUNTIME, cause)));
    }
}
