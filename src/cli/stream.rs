//! One execution a line: outputs on standard output, what fails on standard error.
//!
//! The driver, the input's buffer and the output's buffer are used again for each event, so that nothing is allocated
//! for one. Output is written when it fills its buffer, and before waiting for more input.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};

use expressway::fault::{self, Fault};
use expressway::json;
use expressway::runtime::inline::{Driver, Ended, InputError, Outcome};

use super::input::{Line, Lines};
use super::progress::{Progress, Totals, grouped};
use super::run::{AnyClock, Arguments};
use super::trace::Trace;
use super::{Stop, Went, say};

const OUT_BYTES: usize = 1 << 18;
/// Failures that are reported; all are counted.
const REPORTED_MAX: u64 = 10;

/// Runs all events.
pub(super) fn run<R: Read>(
    driver: &mut Driver<AnyClock>,
    mut lines: Lines<R>,
    arguments: &Arguments,
) -> Result<Went, Stop> {
    let mut stream = Stream::new(arguments)?;
    let reading = |error: io::Error| Stop::failed(format!("cannot read the input: {error}"));
    let written = match lines.whole().map_err(reading)? {
        Some(whole) => stream.event(driver, 1, &whole),
        None => stream.lines(driver, &mut lines, reading),
    };
    let went = written.and_then(|()| stream.finish());
    stream.progress.clear();
    if !arguments.quiet {
        let _ = io::stderr().lock().write_all(stream.totals.summary().as_bytes());
    }
    went
}

/// What a stream goes into.
struct Stream {
    out: Vec<u8>,
    totals: Totals,
    progress: Progress,
    failures: Option<BufWriter<File>>,
    reported: u64,
    quiet: bool,
    trace: Option<Trace>,
}

impl Stream {
    fn new(arguments: &Arguments) -> Result<Stream, Stop> {
        let failures = match &arguments.failures {
            None => None,
            Some(file) => Some(BufWriter::new(
                File::create(file)
                    .map_err(|error| Stop::failed(format!("cannot write {}: {error}", file.display())))?,
            )),
        };
        Ok(Stream {
            out: Vec::with_capacity(2 * OUT_BYTES),
            totals: Totals::new(),
            progress: Progress::new(),
            failures,
            reported: 0,
            quiet: arguments.quiet,
            trace: arguments.trace.then(Trace::default),
        })
    }

    fn lines<R: Read>(
        &mut self,
        driver: &mut Driver<AnyClock>,
        lines: &mut Lines<R>,
        reading: impl Fn(io::Error) -> Stop,
    ) -> Result<(), Stop> {
        loop {
            while let Some((number, line)) = lines.take() {
                match line {
                    Line::Whole(text) => {
                        let text = text.trim_ascii();
                        if !text.is_empty() {
                            self.event(driver, number, text)?;
                        }
                    }
                    Line::Dropped(bytes) => {
                        self.totals.bytes += bytes;
                        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
                        self.refused(number, InputError::TooLarge(bytes));
                    }
                }
            }
            self.flush()?;
            if !lines.fill().map_err(&reading)? {
                return Ok(());
            }
        }
    }

    /// Runs one event.
    #[inline]
    fn event(&mut self, driver: &mut Driver<AnyClock>, line: u64, text: &[u8]) -> Result<(), Stop> {
        let begun = self.totals.latency.begin();
        self.totals.bytes += text.len() as u64 + 1;
        let ended = match &mut self.trace {
            None => driver.run(text),
            Some(trace) => driver.run_listened(text, trace),
        };
        match ended {
            Ok(ended) => {
                if let Outcome::Succeeded(output) = ended.outcome() {
                    json::write(&ended.execution().arena, *output, &mut self.out);
                    self.out.push(b'\n');
                    self.totals.succeeded += 1;
                } else {
                    let fault = fault_of(&ended);
                    self.failed(line, &fault);
                }
                self.totals.latency.end(begun);
                if let Some(trace) = &mut self.trace {
                    say(&trace.finish(line));
                }
            }
            Err(error) => self.refused(line, error),
        }
        if self.out.len() >= OUT_BYTES {
            self.flush()?;
        }
        if !self.quiet {
            self.progress.tick(&self.totals);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Stop> {
        if !self.out.is_empty() {
            let mut stdout = io::stdout().lock();
            let written = stdout.write_all(&self.out).and_then(|()| stdout.flush());
            self.out.clear();
            written.map_err(|error| Stop::writing(&error))?;
        }
        Ok(())
    }

    /// An execution did not succeed.
    #[cold]
    fn failed(&mut self, line: u64, fault: &Fault) {
        let name = fault.error.as_deref().unwrap_or(UNNAMED);
        self.totals.fail(name);
        self.report(line, name, fault.cause.as_deref());
    }

    /// A line did not become an execution.
    #[cold]
    fn refused(&mut self, line: u64, error: InputError) {
        self.totals.not_run += 1;
        self.report(line, "not run", Some(&error.to_string()));
    }

    fn report(&mut self, line: u64, name: &str, cause: Option<&str>) {
        if let Some(file) = &mut self.failures {
            let row = serde_json::json!({ "line": line, "error": name, "cause": cause });
            // Told of at the end, by flushing.
            let _ = writeln!(file, "{row}");
        }
        self.reported += 1;
        if self.reported > REPORTED_MAX {
            return;
        }
        self.progress.clear();
        let cause = cause.map_or(String::new(), |cause| format!(": {}", shortened(cause)));
        say(&format!("line {line}: {name}{cause}"));
        if self.reported == REPORTED_MAX {
            say("Further failures are only counted; --failures FILE writes all of them down.");
        }
    }

    fn finish(&mut self) -> Result<Went, Stop> {
        self.flush()?;
        if let Some(file) = &mut self.failures {
            file.flush().map_err(|error| Stop::failed(format!("cannot write the failures: {error}")))?;
        }
        let all_well = self.totals.failed + self.totals.not_run == 0;
        Ok(if all_well { Went::Well } else { Went::PartlyWrong })
    }
}

/// What a Fail state without `Error` is called.
const UNNAMED: &str = "(no error name)";

fn fault_of(ended: &Ended<'_>) -> Fault {
    match ended.outcome() {
        Outcome::Failed(fault) | Outcome::Aborted(fault) => fault.clone(),
        _ => Fault::new(fault::TIMEOUT, "The execution took longer than it may."),
    }
}

/// A cause on one line of bearable length. Causes hold data, which may hold anything.
pub(super) fn shortened(cause: &str) -> String {
    let mut short: String =
        cause.chars().map(|c| if c.is_control() { ' ' } else { c }).take(CAUSE_CHARS_MAX).collect();
    if short.len() < cause.len() {
        let left = (cause.len() - short.len()) as u64;
        short.push_str(&format!("… ({} more bytes)", grouped(left)));
    }
    short
}

const CAUSE_CHARS_MAX: usize = 300;
