//! Sinks of log lines: full buffers wait in a bounded queue for a thread of their own; lines for which there is no room
//! are dropped and counted.

use std::fs::{self, File};
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crossbeam_queue::ArrayQueue;

/// Writes log lines, many at a time, each with a line feed, on a thread that does nothing else. It may block; meanwhile
/// lines queue up to a limit, and then they are dropped and counted.
///
/// Any `FnMut(&[u8]) -> io::Result<()>` is one.
pub trait Sink: Send {
    /// Takes whole lines.
    ///
    /// # Errors
    /// When these lines are lost, which is counted; the next ones are still offered.
    fn write(&mut self, lines: &[u8]) -> io::Result<()>;
}

impl<F: FnMut(&[u8]) -> io::Result<()> + Send> Sink for F {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        self(lines)
    }
}

/// Log lines to standard output.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stdout;

impl Sink for Stdout {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(lines)?;
        stdout.flush()
    }
}

/// Log lines to a file that is replaced when it is full: `name`, then `name.1`, `name.2` and so on, the oldest last.
#[derive(Debug)]
pub struct RotatingFiles {
    path: PathBuf,
    file: File,
    bytes: u64,
    bytes_max: u64,
    files_max: usize,
}

impl RotatingFiles {
    /// Appends to the file at `path`. When it holds `bytes_max` bytes a new one takes its place; `files_max` of them
    /// are kept, with the one that is written.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn new(path: impl AsRef<Path>, bytes_max: u64, files_max: usize) -> io::Result<RotatingFiles> {
        let path = path.as_ref().to_owned();
        let file = File::options().create(true).append(true).open(&path)?;
        let bytes = file.metadata()?.len();
        Ok(RotatingFiles { path, file, bytes, bytes_max: bytes_max.max(1), files_max: files_max.max(1) })
    }

    fn numbered(&self, n: usize) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        if n > 0 {
            name.push(format!(".{n}"));
        }
        name.into()
    }

    fn rotate(&mut self) -> io::Result<()> {
        if self.files_max == 1 {
            fs::remove_file(&self.path)?;
        }
        for n in (0..self.files_max - 1).rev() {
            match fs::rename(self.numbered(n), self.numbered(n + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.file = File::options().create(true).append(true).open(&self.path)?;
        self.bytes = 0;
        Ok(())
    }
}

impl Sink for RotatingFiles {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.bytes >= self.bytes_max {
            self.rotate()?;
        }
        self.file.write_all(lines)?;
        self.bytes += lines.len() as u64;
        Ok(())
    }
}

/// Lines of one buffer.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) lines: Vec<u8>,
    pub(crate) count: u64,
}

/// Between the threads that write lines and the one that flushes them.
pub(crate) struct Pipe {
    full: ArrayQueue<Batch>,
    empty: ArrayQueue<Vec<u8>>,
    /// Bytes that wait.
    bytes: AtomicUsize,
    bytes_max: usize,
    /// Batches that were handed over and are not written yet.
    pending: AtomicUsize,
    sink: Mutex<Box<dyn Sink>>,
    written: AtomicU64,
    dropped: AtomicU64,
}

/// Batches that may wait; their bytes are bounded as well.
const BATCHES_MAX: usize = 8_192;
/// Empty buffers that are kept.
const EMPTY_MAX: usize = 64;
/// A buffer of this size is handed over; the end of a shard's turn hands over a smaller one.
pub(crate) const BATCH_BYTES: usize = 128 * 1_024;

impl std::fmt::Debug for Pipe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pipe").field("dropped", &self.dropped).finish_non_exhaustive()
    }
}

impl Pipe {
    pub(crate) fn new(sink: Box<dyn Sink>, bytes_max: usize) -> Pipe {
        Pipe {
            full: ArrayQueue::new(BATCHES_MAX),
            empty: ArrayQueue::new(EMPTY_MAX),
            bytes: AtomicUsize::new(0),
            bytes_max,
            pending: AtomicUsize::new(0),
            sink: Mutex::new(sink),
            written: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    /// Whether lines written now would be dropped: then they need not be formed at all.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) >= self.bytes_max || self.full.is_full()
    }

    /// Counts lines that were not written.
    pub(crate) fn drop_lines(&self, count: u64) {
        self.dropped.fetch_add(count, Ordering::Relaxed);
    }

    /// Hands a batch over; leaves an empty one.
    pub(crate) fn send(&self, batch: &mut Batch) {
        if batch.lines.is_empty() {
            return;
        }
        let empty = self.empty.pop().unwrap_or_default();
        let full = Batch { lines: std::mem::replace(&mut batch.lines, empty), count: batch.count };
        batch.count = 0;
        let (bytes, count) = (full.lines.len(), full.count);
        self.pending.fetch_add(1, Ordering::AcqRel);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if self.is_over() || self.full.push(full).is_err() {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.pending.fetch_sub(1, Ordering::AcqRel);
            self.drop_lines(count);
        }
    }

    fn is_over(&self) -> bool {
        // One batch may always wait, however large its lines are.
        self.bytes.load(Ordering::Relaxed) > self.bytes_max && !self.full.is_empty()
    }

    /// Writes what waits; how many batches.
    pub(crate) fn carry(&self) -> usize {
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        let mut carried = 0;
        while let Some(Batch { mut lines, count }) = self.full.pop() {
            self.bytes.fetch_sub(lines.len(), Ordering::Relaxed);
            match catch_unwind(AssertUnwindSafe(|| sink.write(&lines))) {
                Ok(Ok(())) => self.written.fetch_add(count, Ordering::Relaxed),
                // A panic in a user's sink counts as a failure.
                Ok(Err(_)) | Err(_) => self.dropped.fetch_add(count, Ordering::Relaxed),
            };
            carried += 1;
            lines.clear();
            lines.shrink_to(2 * BATCH_BYTES);
            // Enough empty ones are kept already.
            let _ = self.empty.push(lines);
            self.pending.fetch_sub(1, Ordering::AcqRel);
        }
        carried
    }

    /// Whether everything handed over was written, or lost.
    pub(crate) fn is_idle(&self) -> bool {
        self.pending.load(Ordering::Acquire) == 0
    }

    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}
