//! NDJSON: one JSON text per line, from files and standard input, to files and standard output.
//!
//! Reading and writing block, so each has a thread of its own, and a batch is the result of one read.

use std::fs::File;
use std::future::ready;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

use tokio::sync::{mpsc as channel, oneshot};

use super::event::{Batch, Disposition, Later, Outputs, PipeError, Provenance, Receipts, Room, Sink, Source};
use super::sent::{Line, Sent};
use crate::os;

/// Makes sources and sinks of lines. Blank lines are skipped. A line of more than 16 MiB is cut there; it is too large
/// for an execution in any case.
#[derive(Debug)]
pub struct Lines(());

const READ_BYTES: usize = 256 << 10;
const LINE_BYTES_MAX: usize = 16 << 20;
/// Batches that may wait to be received.
const WAITING_MAX: usize = 2;

impl Lines {
    /// Events from any reader. `name` is their source's name.
    pub fn from_reader(name: &str, reader: impl Read + Send + 'static) -> LineSource {
        Lines::from_part(name, reader, None)
    }

    /// Lines that are not in the list of sent ones, if there is a list.
    fn from_part(
        name: &str,
        reader: impl Read + Send + 'static,
        sent: Option<Arc<Mutex<Sent>>>,
    ) -> LineSource {
        let (sender, batches) = channel::channel(WAITING_MAX);
        let reader =
            Reader { reader, rest: Vec::new(), begun: false, line: 1, skipping: false, sent: sent.clone() };
        let spawned = thread::Builder::new().name("lines".into()).spawn(move || reader.run(&sender));
        let name = Arc::from(name);
        let unread = |error| PipeError::Refused(format!("cannot start the reading thread: {error}"));
        let (run, trouble) = match getrandom::u64() {
            Ok(run) => (run, spawned.err().map(unread)),
            Err(error) => {
                (0, Some(PipeError::Refused(format!("no randomness from the operating system: {error}"))))
            }
        };
        LineSource { name, batches, trouble, run, sent }
    }

    /// Events from standard input.
    pub fn from_stdin() -> LineSource {
        Lines::from_reader("stdin", io::stdin())
    }

    /// Events from a file.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn from_file(path: &Path) -> io::Result<LineSource> {
        Ok(Lines::from_reader(&path.display().to_string(), File::open(path)?))
    }

    /// Those events of a file that were not settled before. Settled events are listed in a file beside it, with `.sent`
    /// appended to the name; a line is recognized by its number and content.
    ///
    /// # Errors
    /// When either file cannot be opened.
    pub fn from_file_once(path: &Path) -> io::Result<LineSource> {
        let file = File::open(path)?;
        let sent = Arc::new(Mutex::new(Sent::of(path)?));
        Ok(Lines::from_part(&path.display().to_string(), file, Some(sent)))
    }

    /// Outputs to any writer; they count as safe once it has been flushed.
    pub fn to_writer(mut writer: impl Write + Send + 'static) -> LineSink {
        LineSink::new("a writer", move |lines| writer.write_all(lines).and_then(|()| writer.flush()))
    }

    /// Outputs to standard output.
    pub fn to_stdout() -> LineSink {
        LineSink::new("stdout", |lines| {
            let mut stdout = io::stdout().lock();
            stdout.write_all(lines).and_then(|()| stdout.flush())
        })
    }

    /// Outputs to the end of a file, which is created if missing, also when it is removed or moved later. They count as
    /// safe once they are on the disk.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn to_file(path: &Path) -> io::Result<LineSink> {
        let mut file = open(path)?;
        let (path, address) = (path.to_owned(), path.display().to_string());
        Ok(LineSink::new(address.clone(), move |lines| {
            if is_gone(&file, &path)? {
                file = open(&path)?;
                tracing::warn!(address, "the file was removed or moved: it was created again");
            }
            append(&mut file, lines)
        }))
    }

    /// Outputs to memory: for tests and examples.
    pub fn to_memory() -> (LineSink, Arc<Mutex<Vec<u8>>>) {
        let memory = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&memory);
        let sink = LineSink::new("memory", move |lines| {
            written.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(lines);
            Ok(())
        });
        (sink, memory)
    }
}

impl std::fmt::Debug for LineSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LineSource").field("name", &self.name).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for LineSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LineSink").finish_non_exhaustive()
    }
}

// ---- reading ----

/// Lines as events.
pub struct LineSource {
    name: Arc<str>,
    batches: channel::Receiver<io::Result<Cut>>,
    trouble: Option<PipeError>,
    /// A random number: the same line read by another source may be another event.
    run: u64,
    sent: Option<Arc<Mutex<Sent>>>,
}

impl LineSource {
    /// How many events were skipped so far because they were settled [before](Lines::from_file_once).
    pub fn skipped(&self) -> impl Fn() -> u64 + use<> {
        let sent = self.sent.clone();
        move || sent.as_ref().map_or(0, |sent| sent.lock().unwrap_or_else(PoisonError::into_inner).skipped)
    }
}

/// Whole lines.
struct Cut {
    text: Vec<u8>,
    spans: Vec<(u32, u32)>,
    /// The number of each event's line.
    lines: Vec<u64>,
    /// The content of each, if settled lines are listed.
    known: Vec<Line>,
}

impl Source for LineSource {
    fn receive(&mut self, _: Room) -> Later<'_, Result<Option<Batch>, PipeError>> {
        Box::pin(async move {
            if let Some(trouble) = &self.trouble {
                return Err(trouble.clone());
            }
            match self.batches.recv().await {
                None => Ok(None),
                Some(Err(error)) => {
                    Err(PipeError::Refused(format!("cannot read {}: {}", self.name, os::words(&error))))
                }
                Some(Ok(Cut { text, spans, lines, known })) => {
                    let sent = self.sent.clone();
                    let receipts =
                        LineNumbers { name: Arc::clone(&self.name), run: self.run, lines, known, sent };
                    Ok(Some(Batch::of_spans(text, spans, Box::new(receipts))))
                }
            }
        })
    }

    fn redelivers(&self) -> bool {
        false
    }

    fn address(&self) -> String {
        self.name.to_string()
    }
}

struct LineNumbers {
    name: Arc<str>,
    run: u64,
    lines: Vec<u64>,
    known: Vec<Line>,
    sent: Option<Arc<Mutex<Sent>>>,
}

impl Receipts for LineNumbers {
    fn provenance(&self, n: usize) -> Provenance {
        let id = self.lines.get(n).map(u64::to_string).unwrap_or_default();
        Provenance { source: self.name.to_string(), id, key: None, deliveries: 1 }
    }

    fn event_id(&self, n: usize) -> String {
        let Provenance { source, id, .. } = self.provenance(n);
        // A line is the same event in each process that reads it, as long as its content is the same.
        let which = self.known.get(n).map_or(self.run, |line| line.hash);
        format!("{source}/{id}/{which:016x}")
    }

    fn deliveries(&self, _: usize) -> u32 {
        1
    }

    fn settle<'a>(&'a self, dispositions: &'a [(u32, Disposition)]) -> Later<'a, Result<(), PipeError>> {
        let written = self.sent.as_ref().map_or(Ok(()), |sent| {
            let done = dispositions.iter().filter(|(_, disposition)| *disposition == Disposition::Done);
            let lines = done.filter_map(|(event, _)| self.known.get(*event as usize).copied());
            sent.lock().unwrap_or_else(PoisonError::into_inner).add(lines)
        });
        let failed = |error| PipeError::Away(format!("cannot record what was sent: {}", os::words(&error)));
        Box::pin(ready(written.map_err(failed)))
    }
}

struct Reader<R> {
    reader: R,
    /// The beginning of a line whose end is not read yet.
    rest: Vec<u8>,
    /// Whether the first line was read.
    begun: bool,
    line: u64,
    /// Whether the input is inside a line that was cut.
    skipping: bool,
    sent: Option<Arc<Mutex<Sent>>>,
}

impl<R: Read> Reader<R> {
    fn run(mut self, batches: &channel::Sender<io::Result<Cut>>) {
        loop {
            match self.next() {
                Ok(None) => return,
                Ok(Some(read)) if read.spans.is_empty() => {}
                read => {
                    let read = read.map(|read| {
                        read.unwrap_or_else(|| Cut {
                            text: vec![],
                            spans: vec![],
                            lines: vec![],
                            known: vec![],
                        })
                    });
                    let ends = read.is_err();
                    // The receiver may be gone.
                    if batches.blocking_send(read).is_err() || ends {
                        return;
                    }
                }
            }
        }
    }

    fn next(&mut self) -> io::Result<Option<Cut>> {
        let mut text = std::mem::take(&mut self.rest);
        let mut looked_at = 0;
        let mut at_end = false;
        let whole = loop {
            let from = text.len();
            text.resize(from + READ_BYTES, 0);
            let read = loop {
                match self.reader.read(&mut text[from..]) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    read => break read,
                }
            };
            text.truncate(from + read.as_ref().map_or(0, |n| *n));
            at_end |= read? == 0;
            if let Some(at) = memchr::memrchr(b'\n', &text[looked_at..]) {
                break looked_at + at + 1;
            }
            if at_end {
                break text.len();
            }
            looked_at = text.len();
            if text.len() >= LINE_BYTES_MAX {
                break text.len();
            }
        };
        if at_end && text.is_empty() {
            return Ok(None);
        }
        let is_cut = !at_end && text[..whole].last() != Some(&b'\n');
        self.rest = text.split_off(whole);
        if !std::mem::replace(&mut self.begun, true) {
            text = os::without_mark(text)?;
        }
        // Room for the next read, not just for what was split off.
        self.rest.reserve(READ_BYTES);
        Ok(Some(self.lines(text, is_cut)))
    }

    fn lines(&mut self, text: Vec<u8>, is_cut: bool) -> Cut {
        let events = text.len() / 256;
        let (mut spans, mut lines) = (Vec::with_capacity(events), Vec::with_capacity(events));
        let mut from = 0;
        let mut known = Vec::new();
        let mut sent = self.sent.as_ref().map(|sent| sent.lock().unwrap_or_else(PoisonError::into_inner));
        while from < text.len() {
            let end = memchr::memchr(b'\n', &text[from..]).map_or(text.len(), |at| from + at);
            let body = text[from..end].trim_ascii();
            let line = sent.as_ref().map(|_| Line::new(self.line, body));
            let is_sent = sent.as_mut().zip(line).is_some_and(|(sent, line)| sent.has(line));
            if !body.is_empty() && !self.skipping && !is_sent {
                known.extend(line);
                // A batch has little more than the longest line, so this fits.
                let begin = (body.as_ptr() as usize - text.as_ptr() as usize) as u32;
                spans.push((begin, begin + body.len() as u32));
                lines.push(self.line);
            }
            let ended = end < text.len();
            self.skipping = !ended && is_cut;
            self.line += u64::from(ended);
            from = end + 1;
        }
        Cut { text, spans, lines, known }
    }
}

// ---- writing ----

/// Outputs as lines.
pub struct LineSink {
    address: String,
    jobs: mpsc::SyncSender<Job>,
}

fn open(path: &Path) -> io::Result<File> {
    File::options().create(true).append(true).open(path)
}

/// Whether a path leads elsewhere than to the open file: what is written to that would be lost.
#[cfg(unix)]
fn is_gone(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let open = file.metadata()?;
    match path.metadata() {
        Ok(there) => Ok((there.dev(), there.ino()) != (open.dev(), open.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

#[cfg(not(unix))]
fn is_gone(_: &File, path: &Path) -> io::Result<bool> {
    Ok(!path.try_exists()?)
}

/// Appends lines to a file. A partial write is undone, so that it can be retried.
fn append(file: &mut File, lines: &[u8]) -> io::Result<()> {
    let before = file.metadata()?;
    // Devices and pipes cannot be synced.
    let sync = |file: &mut File| if before.is_file() { file.sync_data() } else { Ok(()) };
    let written = file.write_all(lines).and_then(|()| sync(file));
    if written.is_err() && before.is_file() {
        file.set_len(before.len())?;
    }
    written
}

struct Job {
    lines: Vec<u8>,
    done: oneshot::Sender<io::Result<()>>,
}

impl LineSink {
    fn new(
        address: impl ToString,
        mut write: impl FnMut(&[u8]) -> io::Result<()> + Send + 'static,
    ) -> LineSink {
        // One slot for each worker thread is plenty: the publisher waits for the answer.
        let (jobs, todo) = mpsc::sync_channel::<Job>(1_024);
        let work = move || {
            for job in todo {
                // The publisher may be gone.
                let _ = job.done.send(write(&job.lines));
            }
        };
        // Without a thread the channel is closed, and publishing returns an error.
        drop(thread::Builder::new().name("write".into()).spawn(work));
        LineSink { address: address.to_string(), jobs }
    }
}

impl Sink for LineSink {
    fn publish<'a>(&'a self, outputs: &'a Outputs<'_>) -> Later<'a, Result<(), PipeError>> {
        Box::pin(async move {
            let (done, written) = oneshot::channel();
            let closed = || PipeError::Closed("the writing thread has ended".to_owned());
            match self.jobs.try_send(Job { lines: lines(outputs), done }) {
                Ok(()) => {}
                Err(mpsc::TrySendError::Full(_)) => {
                    return Err(PipeError::Away("too many writes are queued".to_owned()));
                }
                Err(mpsc::TrySendError::Disconnected(_)) => return Err(closed()),
            }
            match written.await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                    Err(PipeError::Closed("the output was closed by its reader".to_owned()))
                }
                Ok(Err(error)) => Err(PipeError::Away(format!("cannot write: {}", os::words(&error)))),
                Err(_) => Err(closed()),
            }
        })
    }

    fn address(&self) -> String {
        self.address.clone()
    }
}

/// One line for each output. In JSON a line feed is only whitespace; line feeds in the original are removed.
fn lines(outputs: &Outputs<'_>) -> Vec<u8> {
    let mut lines = outputs.lines().to_vec();
    if memchr::memchr_iter(b'\n', &lines).count() > outputs.len() {
        lines.clear();
        for output in outputs.iter() {
            lines.extend(output.body.iter().map(|&byte| if byte == b'\n' { b' ' } else { byte }));
            lines.push(b'\n');
        }
    }
    lines
}
