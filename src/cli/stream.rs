//! A stream of events: read on one thread, run on several, written here in the order of the events.
//!
//! Batches of lines go to the workers in turn, and reports are taken from the workers in the same turn: that alone
//! keeps the order, and it bounds the work under way, because every channel is short. The threads end when their
//! channels do; when the output was closed by its reader, they are not joined.

use expressway::os;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use expressway::limits;
use expressway::runtime::inline::Driver;

use super::in_line::AnyClock;
use super::input::{Batch, Batches, Source};
use super::pretty::{self, Style};
use super::progress::{Progress, TICK, Totals, shortened};
use super::run::Arguments;
use super::trace::{Asked, Trace};
use super::worker::{Failure, Report, Watched, Worker};
use super::{Stop, Went, files, interrupt, say, streams};

/// Failures that are reported; all are counted.
const REPORTED_MAX: u64 = 10;
/// Batches, and reports, that wait for each worker.
const WAITING_MAX: usize = 2;

/// The most threads.
const THREADS_MAX: usize = 1_000;

/// Runs all events with drivers that `driver` makes.
pub(super) fn run<F>(
    driver: F,
    source: Source,
    asked: Option<Asked>,
    arguments: &Arguments,
) -> Result<Went, Stop>
where
    F: Fn() -> Driver<AnyClock> + Clone + Send + 'static,
{
    let mut stream = Stream::new(arguments, source.total_bytes())?;
    // Times in a trace are those of an execution that runs alone.
    let jobs = if asked.is_some() { Some(1) } else { arguments.jobs.map(usize::from) };
    let jobs = jobs.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
    let stop = Arc::new(AtomicBool::new(false));
    let threads = begin(driver, source, jobs.min(THREADS_MAX), asked.as_ref(), &stop)?;
    let (inboxes, to_signal) = (Arc::clone(&threads.inboxes), Arc::clone(&stop));
    interrupt::on_first(arguments.quiet, move || {
        to_signal.store(true, Ordering::Release);
        drop(inboxes.lock().unwrap_or_else(PoisonError::into_inner).take());
    });
    // When the output is closed, the reader may still be blocked on input: it is not joined.
    let went = match stream.reports(&threads) {
        Ok(()) if stop.load(Ordering::Acquire) => {
            stream.interrupted(0);
            Ok(Went::Interrupted)
        }
        Ok(()) => threads.end().map(|()| stream.went()),
        Err(stop) => Err(stop),
    };
    stream.end(went, arguments.quiet)
}

/// The workers' channels, used in turn; `None` when no more batches are wanted.
type Inboxes = Arc<Mutex<Option<Vec<SyncSender<Batch>>>>>;

/// The threads beside this one.
struct Threads {
    reader: JoinHandle<io::Result<()>>,
    /// Dropped on an interrupt.
    inboxes: Inboxes,
    workers: Vec<JoinHandle<()>>,
    /// By worker.
    reports: Vec<Receiver<Report>>,
    watched: Vec<Arc<Watched>>,
}

/// Starts the reader and the workers.
fn begin<F>(
    driver: F,
    source: Source,
    jobs: usize,
    asked: Option<&Asked>,
    stop: &Arc<AtomicBool>,
) -> Result<Threads, Stop>
where
    F: Fn() -> Driver<AnyClock> + Clone + Send + 'static,
{
    let no_thread = |error| Stop::failed(format!("cannot start a thread: {error}"));
    let (mut inboxes, mut workers, mut reports, mut watched) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for n in 0..jobs {
        let (inbox, batches) = sync_channel::<Batch>(WAITING_MAX);
        let (sender, receiver) = sync_channel::<Report>(WAITING_MAX);
        let (driver, trace) = (driver.clone(), asked.cloned().map(Trace::new));
        let seen = Arc::new(Watched::new(Arc::clone(stop)));
        watched.push(Arc::clone(&seen));
        let work = move || Worker::new(driver(), seen, trace, sender).work(&batches);
        let named = thread::Builder::new().name(format!("run-{n}")).stack_size(limits::STACK_BYTES);
        workers.push(named.spawn(work).map_err(no_thread)?);
        inboxes.push(inbox);
        reports.push(receiver);
    }
    let named = thread::Builder::new().name("read".into());
    let inboxes = Arc::new(Mutex::new(Some(inboxes)));
    let to_workers = Arc::clone(&inboxes);
    let reader = named.spawn(move || read(source, &to_workers)).map_err(no_thread)?;
    Ok(Threads { reader, inboxes, workers, reports, watched })
}

impl Threads {
    /// Joins all threads and returns whether one failed.
    fn end(self) -> Result<(), Stop> {
        drop(self.reports);
        let mut broken = false;
        for worker in self.workers {
            broken |= worker.join().is_err();
        }
        match self.reader.join() {
            Err(_) => Err(Stop::failed("the reading thread panicked, which is a bug in expressway")),
            Ok(_) if broken => Err(Stop::failed(
                "an executing thread panicked, which is a bug in expressway; the outputs are incomplete",
            )),
            Ok(Err(error)) => Err(Stop::failed(format!("cannot read the input: {}", os::words(&error)))),
            Ok(Ok(())) => Ok(()),
        }
    }
}

fn read(source: Source, inboxes: &Inboxes) -> io::Result<()> {
    let read = hand_out(source, inboxes);
    // The workers end with their inboxes.
    drop(inboxes.lock().unwrap_or_else(PoisonError::into_inner).take());
    read
}

/// Reads until the end, or as long as somebody wants more.
fn hand_out(source: Source, inboxes: &Inboxes) -> io::Result<()> {
    let mut batches = Batches::new(source);
    for turn in 0.. {
        let Some(batch) = batches.next()? else { break };
        // Sent without the lock: dropping the inboxes must not wait for a worker.
        let inbox = match &*inboxes.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(inboxes) => inboxes[turn % inboxes.len()].clone(),
            None => break,
        };
        // The worker may have ended.
        if inbox.send(batch).is_err() {
            break;
        }
    }
    Ok(())
}

/// The output of a stream.
pub(super) struct Stream {
    totals: Totals,
    style: Style,
    progress: Progress,
    failures: Option<FailuresFile>,
    reported: u64,
    quiet: bool,
}

impl Stream {
    pub(super) fn new(arguments: &Arguments, total_bytes: Option<u64>) -> Result<Stream, Stop> {
        let failures = arguments.failures.as_deref().map(FailuresFile::create).transpose()?;
        Ok(Stream {
            totals: Totals::new(),
            style: Style::stdout(),
            progress: Progress::new(total_bytes),
            failures,
            reported: 0,
            quiet: arguments.quiet,
        })
    }

    /// Takes all reports, batch after batch.
    fn reports(&mut self, threads: &Threads) -> Result<(), Stop> {
        let mut ended = vec![false; threads.reports.len()];
        for worker in (0..threads.reports.len()).cycle() {
            while !ended[worker] {
                match threads.reports[worker].recv_timeout(TICK) {
                    Ok(report) => {
                        self.report(&report)?;
                        if report.is_last {
                            break;
                        }
                    }
                    Err(RecvTimeoutError::Timeout) => {
                        let running = threads.watched[worker].text();
                        // An input that pauses is no progress.
                        if !running.is_empty() {
                            self.tick(&|| running.clone());
                        }
                    }
                    // After an interrupt, others may have done more than this one.
                    Err(RecvTimeoutError::Disconnected) => ended[worker] = true,
                }
            }
            if ended.iter().all(|ended| *ended) {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn report(&mut self, report: &Report) -> Result<(), Stop> {
        self.totals.succeeded += report.succeeded;
        self.totals.bytes += report.bytes;
        self.totals.unfinished += report.unfinished;
        report.times.iter().for_each(|&time| self.totals.latency.add(time));
        for failure in &report.failures {
            self.failure(failure)?;
        }
        if !report.said.is_empty() {
            self.progress.clear();
            say(&report.said);
        }
        if !report.out.is_empty() {
            let mut stdout = io::stdout().lock();
            let written = match self.style {
                Style::Compact => stdout.write_all(&report.out),
                Style::Lines { colours } => {
                    self.progress.clear();
                    stdout.write_all(&pretty::lines(&report.out, colours))
                }
            };
            written.and_then(|()| stdout.flush()).map_err(|error| Stop::writing(&error))?;
        }
        if !self.quiet {
            self.progress.tick(&self.totals, None);
        }
        Ok(())
    }

    /// Whether progress is shown.
    pub(super) fn shows_progress(&self) -> bool {
        !self.quiet
    }

    /// Prints the progress and what is under way, if it is due.
    pub(super) fn tick(&mut self, running: &dyn Fn() -> String) {
        if !self.quiet {
            self.progress.tick(&self.totals, Some(running));
        }
    }

    /// The stream ends before its events do.
    pub(super) fn interrupted(&mut self, unfinished: u64) {
        self.totals.interrupted = true;
        self.totals.unfinished += unfinished;
    }

    fn failure(&mut self, failure: &Failure) -> Result<(), Stop> {
        match &failure.error {
            Some(name) => self.totals.fail(name),
            None => self.totals.not_run += 1,
        }
        if let Some(file) = &mut self.failures {
            let row =
                serde_json::json!({ "line": failure.line, "error": failure.error, "cause": failure.cause });
            file.write(&row)?;
        }
        self.reported += 1;
        if self.reported <= REPORTED_MAX {
            self.progress.clear();
            let name = failure.error.as_deref().unwrap_or("not run");
            let cause =
                failure.cause.as_deref().map_or(String::new(), |cause| format!(": {}", shortened(cause)));
            let (red, plain) = if streams::colours_stderr() { ("\x1b[31m", "\x1b[0m") } else { ("", "") };
            say(&format!("line {}: {red}{name}{plain}{cause}", failure.line));
        }
        if self.reported == REPORTED_MAX + 1 {
            say("Further failures are only counted; --failures FILE writes all of them down.");
        }
        Ok(())
    }

    /// The result so far.
    pub(super) fn went(&self) -> Went {
        if self.totals.failed + self.totals.not_run == 0 { Went::Well } else { Went::PartlyWrong }
    }

    /// The final summary, for any result.
    pub(super) fn end(mut self, went: Result<Went, Stop>, quiet: bool) -> Result<Went, Stop> {
        let flushed = self.failures.as_mut().map_or(Ok(()), FailuresFile::flush);
        self.progress.clear();
        if !quiet {
            let _ = io::stderr().lock().write_all(self.totals.summary().as_bytes());
        }
        went.and_then(|went| flushed.map(|()| went))
    }
}

/// The file of `--failures`.
struct FailuresFile {
    path: PathBuf,
    file: BufWriter<File>,
}

impl FailuresFile {
    fn create(path: &Path) -> Result<FailuresFile, Stop> {
        match File::create(path) {
            Ok(file) => Ok(FailuresFile { path: path.to_owned(), file: BufWriter::new(file) }),
            Err(error) => Err(files::unwritable(path, &error)),
        }
    }

    fn write(&mut self, row: &serde_json::Value) -> Result<(), Stop> {
        writeln!(self.file, "{row}").map_err(|error| files::unwritable(&self.path, &error))
    }

    fn flush(&mut self) -> Result<(), Stop> {
        self.file.flush().map_err(|error| files::unwritable(&self.path, &error))
    }
}
