//! The results of a durable Map Run's children so far, in a separate file, or in the journal where that is in no folder:
//! from there it continues after a restart.
//!
//! Entries are written as things happen, each with a checksum, and are not synced: they outlive the process, and what
//! is lost in a power failure is done again. A torn entry ends the file. When the Map Run is over, its file only has
//! its description, and its result for the state: the turn that takes it may not be recorded yet.
//!
//! The entries of one that did not succeed stay beside it, in a file that ends with `.before`: if its execution is
//! redriven, the outcomes of children that succeeded are taken from there.
//!
//! In the journal, an entry is as durable as the records before and behind it, and those of before a redrive are
//! looked for when it begins.

use crate::os;
use std::fs::{self, File};
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::task::Context;

use super::children::{Child, End};
use super::{MapRun, MapRunCounts, MapRunRedrives, MapRunSettings, MapRunState, Share};
use crate::fault::{self, Fault};
use crate::runtime::Status;
use crate::runtime::durable::{
    Durability, InJournal, Left, Operation, Reader, RunsPlace, RunsSearch, Writer,
};

/// Kinds of entries; the numbers are in files.
const HEAD: u64 = 1;
const SOURCE: u64 = 2;
const BEGUN: u64 = 3;
const ENDED: u64 = 4;
const SETTINGS: u64 = 5;
const OVER: u64 = 6;

/// Bytes before an entry: its length, and its checksum.
const PREFIX_BYTES: usize = 8;
/// Bytes of an entry: it may have input, output and cause of a child.
const ENTRY_BYTES_MAX: usize = 16 << 20;
const BUFFER_BYTES: usize = 256 << 10;

/// The result of a Map Run.
pub(super) type MapRunResult = Result<Vec<u8>, Fault>;

/// Where the entries of an execution's Map Runs are.
pub(super) enum Records {
    Folder(PathBuf),
    Journal(RunsPlace),
}

/// Where the entries of one Map Run are written to.
#[derive(Debug)]
pub(super) enum Sink {
    /// Not kept open: there may be more Map Runs than files that may be open.
    File(PathBuf),
    Journal(InJournal),
}

/// The entries of a running Map Run.
#[derive(Debug)]
pub(super) struct Log {
    sink: Sink,
    entries: Vec<u8>,
}

/// The content of an entry.
pub(super) enum Entry {
    Source(String),
    Begun(Share),
    Ended(End),
    Settings(MapRunSettings),
}

/// The entries of an earlier process.
pub(super) struct Past {
    bytes: Box<dyn Read>,
    /// The end of the entries that were read.
    end: u64,
    entry: Vec<u8>,
    /// If the Map Run is redriven: children that did not succeed are started again.
    before: Option<Before>,
}

/// Where the entries of before a redrive are.
enum Before {
    File(PathBuf),
    /// In the journal, which a thread reads.
    Journal(Arc<RunsSearch>),
}

/// The content of a Map Run's file when its state is entered.
pub(super) enum Opened {
    /// Nothing yet.
    New(Log),
    /// Earlier entries: it continues.
    Again(Log, Past, Box<MapRun>),
    /// The entries of a Map Run that did not succeed, and is redriven.
    Redriven(Log, Past),
    Over(Box<MapRun>, MapRunResult),
}

/// Why a Map Run cannot be durable.
pub(super) fn failed(error: &io::Error) -> Fault {
    Fault::new(
        fault::RUNTIME,
        format!("What the Map Run came to cannot be written down: {}", os::words(error)),
    )
}

/// The file of the Map Run with this ARN.
pub(super) fn path(folder: &Path, arn: &str) -> PathBuf {
    folder.join(arn.rsplit_once(':').map_or(arn, |(_, uuid)| uuid))
}

/// The file with the entries of a Map Run that did not succeed.
pub(super) fn before(path: &Path) -> PathBuf {
    path.with_extension(BEFORE)
}

const BEFORE: &str = "before";

impl Records {
    /// Of an execution: in a folder if there is one, but for a Map Run that the journal has.
    pub(super) fn of(durability: &Arc<Durability>, execution: (u64, u64), arn: &str) -> Records {
        match &durability.map_runs {
            Some(folder) if !durability.has_map_run(execution.0, arn) => Records::Folder(folder.clone()),
            _ => Records::Journal(RunsPlace::new(durability, execution)),
        }
    }

    pub(super) fn open(&self, run: &MapRun) -> io::Result<Opened> {
        match self {
            Records::Folder(folder) => Log::open(folder, run),
            Records::Journal(place) => Log::open_in_journal(&place.of_run(&run.arn), run),
        }
    }

    /// Records that a Map Run has ended; its entries are no longer needed, unless it may be redriven.
    pub(super) fn close(&self, run: &MapRun, result: Option<&MapRunResult>) -> io::Result<()> {
        match self {
            Records::Folder(folder) => close(folder, run, result),
            Records::Journal(place) => {
                let is_successful = run.state().status == Status::Succeeded;
                let over = if is_successful { Operation::Over } else { Operation::OverForRedrive };
                place.of_run(&run.arn).record(over, &described(run, result))
            }
        }
    }
}

impl Sink {
    fn write(&self, entries: &[u8]) -> io::Result<()> {
        match self {
            // In one write, because changes of the settings are written, too.
            Sink::File(path) => File::options().append(true).open(path)?.write_all(entries),
            Sink::Journal(journal) => add(journal, entries),
        }
    }

    /// Records changed settings of a Map Run.
    pub(super) fn write_change(&self, settings: MapRunSettings) -> io::Result<()> {
        let mut entries = Vec::new();
        entry(&mut entries, |writer| write_settings(writer.number(SETTINGS), settings));
        self.write(&entries)
    }
}

/// Adds entries, in records of the size that one may have.
fn add(journal: &InJournal, mut entries: &[u8]) -> io::Result<()> {
    let bytes_max = journal.record_bytes_max();
    while !entries.is_empty() {
        let mut end = 0;
        while let Some(length) = entry_bytes(&entries[end..])
            && (end == 0 || end + length <= bytes_max)
        {
            end += length;
        }
        let (first, rest) = entries.split_at(end);
        journal.record(Operation::Add, first)?;
        entries = rest;
    }
    Ok(())
}

/// Bytes of the first entry, with its prefix; `None` behind the last one.
fn entry_bytes(entries: &[u8]) -> Option<usize> {
    let length = entries.first_chunk().map(|length| u32::from_le_bytes(*length))?;
    Some(PREFIX_BYTES + length as usize)
}

impl Log {
    fn open_in_journal(journal: &InJournal, run: &MapRun) -> io::Result<Opened> {
        let Left { head, entries, has_before } = journal.take_left();
        let found = Found::read_from(&mut Cursor::new(&head))?.filter(|found| found.run.is_same(run));
        // It may be of the time before a redrive.
        if let Some(found) = found.filter(|found| found.run.redrives.count >= run.redrives.count) {
            if let Some(result) = found.result {
                return Ok(Opened::Over(Box::new(found.run), result));
            }
            if found.run.state().status == Status::Running && !has_before {
                let mut past = Past::new(None);
                past.bytes = Box::new(Cursor::new(entries));
                return Ok(Opened::Again(Log::in_journal(journal, run), past, Box::new(found.run)));
            }
        }
        let log = Log::in_journal(journal, run);
        let mut begun = Vec::new();
        entry(&mut begun, |writer| head_of(writer, run));
        journal.record(Operation::Begin, &begun)?;
        if !journal.has_before() {
            return Ok(Opened::New(log));
        }
        if run.redrives.count == 0 {
            journal.record(Operation::Taken, &[])?;
            return Ok(Opened::New(log));
        }
        Ok(Opened::Redriven(log, Past::new(Some(Before::Journal(RunsSearch::begin(journal)?)))))
    }

    fn in_journal(journal: &InJournal, run: &MapRun) -> Log {
        // It is opened once.
        let _ = run.sink.set(Sink::Journal(journal.clone()));
        Log { sink: Sink::Journal(journal.clone()), entries: Vec::new() }
    }

    fn open(folder: &Path, run: &MapRun) -> io::Result<Opened> {
        fs::create_dir_all(folder)?;
        let path = path(folder, &run.arn);
        let before = before(&path);
        if !path.exists() && before.exists() {
            // The process ended while the Map Run did: between moving its entries, and writing how it ended.
            fs::rename(&before, &path)?;
        }
        let found = Found::read(&path)?.filter(|found| found.run.is_same(run));
        // Its file may be of the time before a redrive.
        if let Some(found) = found.filter(|found| found.run.redrives.count >= run.redrives.count) {
            if let Some(result) = found.result {
                return Ok(Opened::Over(Box::new(found.run), result));
            }
            if found.run.state().status == Status::Running && !before.exists() {
                let past = Past::of(&path, found.head_bytes, None)?;
                return Ok(Opened::Again(Log::of(&path, run)?, past, Box::new(found.run)));
            }
            // It was stopped, which was not recorded for its state: that is entered once more. Or it was redriven, and
            // not all entries were taken: that begins anew.
        }
        drop(File::create(&path)?);
        let mut log = Log::of(&path, run)?;
        entry(&mut log.entries, |writer| head_of(writer, run));
        log.write()?;
        match Found::read(&before)? {
            Some(found) if found.run.is_same(run) && run.redrives.count > 0 => {
                let past = Past::of(&before, found.head_bytes, Some(before.clone()))?;
                Ok(Opened::Redriven(log, past))
            }
            _ => {
                remove_if_there(&before)?;
                Ok(Opened::New(log))
            }
        }
    }

    /// Writes to this file, at its end.
    fn of(path: &Path, run: &MapRun) -> io::Result<Log> {
        drop(File::options().append(true).create(true).open(path)?);
        // It is opened once.
        let _ = run.sink.set(Sink::File(path.to_owned()));
        Ok(Log { sink: Sink::File(path.to_owned()), entries: Vec::new() })
    }

    /// Records the source of the items.
    pub(super) fn source(&mut self, version: &str) {
        entry(&mut self.entries, |writer| _ = writer.number(SOURCE).bytes(version.as_bytes()));
    }

    /// Records the items of a child that is to begin.
    pub(super) fn begun(&mut self, share: Share) {
        entry(&mut self.entries, |writer| shared(writer.number(BEGUN), share));
    }

    pub(super) fn ended(&mut self, end: &End) {
        entry(&mut self.entries, |writer| ended(writer, end));
    }

    /// Writes the entries to the file.
    pub(super) fn flush(&mut self) -> Result<(), Fault> {
        self.write().map_err(|error| failed(&error))
    }

    fn write(&mut self) -> io::Result<()> {
        if !self.entries.is_empty() {
            self.sink.write(&self.entries)?;
            self.entries.clear();
        }
        Ok(())
    }

    /// Records an entry of before a redrive.
    pub(super) fn again(&mut self, past: &Past) {
        entry(&mut self.entries, |writer| writer.0.extend_from_slice(&past.entry));
    }

    /// Continues behind the entries that were read, and drops the rest of the file; or, if they are of before a
    /// redrive, drops that file.
    pub(super) fn goes_on_behind(&mut self, past: &Past) -> Result<(), Fault> {
        let kept = match (&past.before, &self.sink) {
            (None, Sink::File(path)) => {
                File::options().write(true).open(path).and_then(|file| file.set_len(past.end))
            }
            // Its records are complete.
            (None, Sink::Journal(_)) => Ok(()),
            (Some(Before::File(before)), _) => self.write().and_then(|()| remove_if_there(before)),
            (Some(Before::Journal(_)), _) => self.write().and_then(|()| self.taken()),
        };
        kept.map_err(|error| failed(&error))
    }
}

impl Log {
    fn taken(&self) -> io::Result<()> {
        match &self.sink {
            Sink::Journal(journal) => journal.record(Operation::Taken, &[]),
            Sink::File(_) => unreachable!("entries of before a redrive are where the others are"),
        }
    }

    /// Whether all entries are written, so that more children may begin; otherwise, the task is woken when they are.
    pub(super) fn is_written(&self, context: &Context<'_>) -> bool {
        match &self.sink {
            Sink::File(_) => true,
            Sink::Journal(journal) => journal.is_written(context),
        }
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

impl Past {
    fn of(path: &Path, head_bytes: u64, before: Option<PathBuf>) -> io::Result<Past> {
        let mut bytes = BufReader::with_capacity(BUFFER_BYTES, File::open(path)?);
        bytes.seek(SeekFrom::Start(head_bytes))?;
        Ok(Past { bytes: Box::new(bytes), end: head_bytes, ..Past::new(before.map(Before::File)) })
    }

    fn new(before: Option<Before>) -> Past {
        Past { bytes: Box::new(io::empty()), end: 0, entry: Vec::new(), before }
    }

    /// Completes when the entries can be read.
    pub(super) async fn there(&mut self, mark: u32) -> Result<(), Fault> {
        if let Some(Before::Journal(search)) = &self.before {
            let entries = search.done().await.map_err(|why| unreadable(&io::Error::other(why)))?;
            let mut bytes = Cursor::new(entries);
            // Behind the description. Those of another request are not its.
            let found = Found::read_from(&mut bytes).map_err(|error| unreadable(&error))?;
            if let Some(found) = found.filter(|found| found.run.mark == mark) {
                bytes.set_position(found.head_bytes);
                self.bytes = Box::new(bytes);
            }
        }
        Ok(())
    }

    /// Whether the entries are of before a redrive.
    pub(super) fn is_before_redrive(&self) -> bool {
        self.before.is_some()
    }

    /// The next entry; `None` behind the last complete one.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, Fault> {
        if !read_entry(&mut self.bytes, &mut self.entry).map_err(|error| unreadable(&error))? {
            return Ok(None);
        }
        let read = read(&mut Reader(&self.entry));
        if read.is_some() {
            self.end += (PREFIX_BYTES + self.entry.len()) as u64;
        }
        Ok(read)
    }

    /// Bytes of the entry that was read last.
    pub(super) fn entry_bytes(&self) -> usize {
        self.entry.len()
    }
}

fn unreadable(error: &io::Error) -> Fault {
    let cause = format!("What the Map Run came to before cannot be read: {}", os::words(error));
    Fault::new(fault::RUNTIME, cause)
}

/// The description of a Map Run that is over.
fn described(run: &MapRun, result: Option<&MapRunResult>) -> Vec<u8> {
    let mut entries = Vec::new();
    entry(&mut entries, |writer| head_of(writer, run));
    entry(&mut entries, |writer| over(writer, &run.state(), result));
    entries
}

/// Replaces the file of a running Map Run by that of an ended one.
fn close(folder: &Path, run: &MapRun, result: Option<&MapRunResult>) -> io::Result<()> {
    let path = path(folder, &run.arn);
    let before = before(&path);
    // If a redrive had not taken all entries from that file yet, it stays: this run's file has a part of them only.
    if run.state().status == Status::Succeeded {
        remove_if_there(&before)?;
    } else if !before.exists() && path.exists() {
        fs::rename(&path, &before)?;
    }
    let new = path.with_extension("new");
    fs::write(&new, described(run, result))?;
    fs::rename(new, path)
}

/// The beginning of a file.
pub(super) struct Found {
    pub(super) run: MapRun,
    head_bytes: u64,
    result: Option<MapRunResult>,
}

impl Found {
    /// `None` when there is no file, or it is not a Map Run's.
    pub(super) fn read(path: &Path) -> io::Result<Option<Found>> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        Found::read_from(&mut BufReader::new(file))
    }

    pub(super) fn read_from(bytes: &mut impl Read) -> io::Result<Option<Found>> {
        let mut entry = Vec::new();
        if !read_entry(bytes, &mut entry)? {
            return Ok(None);
        }
        let Some(run) = read_head(&mut Reader(&entry)) else { return Ok(None) };
        let head_bytes = (PREFIX_BYTES + entry.len()) as u64;
        let mut found = Found { run, head_bytes, result: None };
        if read_entry(bytes, &mut entry)?
            && let Some((state, result)) = read_over(&mut Reader(&entry))
        {
            (found.run.state, found.result) = (Mutex::new(state), result);
            found.run.is_filed = true.into();
        }
        Ok(Some(found))
    }
}

// ---- entries ----

fn entry(entries: &mut Vec<u8>, write: impl FnOnce(&mut Writer)) {
    let begin = entries.len();
    entries.extend_from_slice(&[0; PREFIX_BYTES]);
    let mut writer = Writer(std::mem::take(entries));
    write(&mut writer);
    *entries = writer.0;
    let (bytes, crc) = {
        let entry = &entries[begin + PREFIX_BYTES..];
        (entry.len() as u32, crc32c::crc32c(entry))
    };
    entries[begin..begin + 4].copy_from_slice(&bytes.to_le_bytes());
    entries[begin + 4..begin + PREFIX_BYTES].copy_from_slice(&crc.to_le_bytes());
}

/// Reads an entry; false at the end, and if it is damaged.
fn read_entry(bytes: &mut impl Read, entry: &mut Vec<u8>) -> io::Result<bool> {
    let mut prefix = [0; PREFIX_BYTES];
    let is_end = |error: &io::Error| error.kind() == io::ErrorKind::UnexpectedEof;
    match bytes.read_exact(&mut prefix) {
        Err(error) if is_end(&error) => return Ok(false),
        read => read?,
    }
    let number = |at: usize| u32::from_le_bytes([prefix[at], prefix[at + 1], prefix[at + 2], prefix[at + 3]]);
    let (length, crc) = (number(0) as usize, number(4));
    if length > ENTRY_BYTES_MAX {
        return Ok(false);
    }
    entry.resize(length, 0);
    match bytes.read_exact(entry) {
        Err(error) if is_end(&error) => return Ok(false),
        read => read?,
    }
    Ok(crc32c::crc32c(entry) == crc)
}

fn read(reader: &mut Reader<'_>) -> Option<Entry> {
    match reader.number()? {
        SOURCE => Some(Entry::Source(reader.text()?.to_owned())),
        BEGUN => Some(Entry::Begun(read_shared(reader)?)),
        ENDED => read_ended(reader).map(Entry::Ended),
        SETTINGS => read_settings(reader).map(Entry::Settings),
        _ => None,
    }
}

fn head_of(writer: &mut Writer, run: &MapRun) {
    writer.number(HEAD).bytes(run.arn.as_bytes()).bytes(run.execution_arn.as_bytes());
    writer.bytes(run.machine_arn.as_bytes()).number(run.started_ms).number(u64::from(run.mark));
    write_settings(writer, run.state().settings);
    writer.number(u64::from(run.redrives.count)).number(run.redrives.last_ms);
}

fn read_head(reader: &mut Reader<'_>) -> Option<MapRun> {
    if reader.number()? != HEAD {
        return None;
    }
    let (arn, execution_arn) = (reader.text()?.into(), reader.text()?.into());
    let (machine_arn, started_ms) = (reader.text()?.into(), reader.number()?);
    let mark = reader.number()?.try_into().ok()?;
    let state = MapRunState::new(read_settings(reader)?, MapRunCounts::default(), MapRunCounts::default());
    // Files of earlier releases end here.
    let count = reader.number().and_then(|count| count.try_into().ok()).unwrap_or(0);
    let redrives = MapRunRedrives { count, last_ms: reader.number().unwrap_or(0) };
    Some(MapRun { mark, redrives, ..MapRun::new(arn, execution_arn, machine_arn, started_ms, state) })
}

fn write_settings(writer: &mut Writer, settings: MapRunSettings) {
    writer.number(settings.concurrency_max).number(settings.tolerated_count);
    writer.number(settings.tolerated_percentage.to_bits());
}

fn read_settings(reader: &mut Reader<'_>) -> Option<MapRunSettings> {
    Some(MapRunSettings {
        concurrency_max: reader.number()?,
        tolerated_count: reader.number()?,
        tolerated_percentage: f64::from_bits(reader.number()?),
    })
}

fn shared(writer: &mut Writer, share: Share) {
    writer.number(share.index).number(u64::from(share.items)).number(u64::from(share.mark));
}

fn read_shared(reader: &mut Reader<'_>) -> Option<Share> {
    let (index, items, mark) = (reader.number()?, reader.number()?, reader.number()?);
    Some(Share { index, items: items.try_into().ok()?, mark: mark.try_into().ok()? })
}

fn write_status(writer: &mut Writer, status: Status) {
    writer.number(match status {
        Status::Running => 0,
        Status::Succeeded => 1,
        Status::Failed => 2,
        Status::TimedOut => 3,
        Status::Aborted => 4,
    });
}

fn read_status(reader: &mut Reader<'_>) -> Option<Status> {
    Some(match reader.number()? {
        0 => Status::Running,
        1 => Status::Succeeded,
        2 => Status::Failed,
        3 => Status::TimedOut,
        4 => Status::Aborted,
        _ => return None,
    })
}

fn write_fault(writer: &mut Writer, fault: Option<&Fault>) {
    match fault {
        None => writer.number(0),
        Some(fault) => writer.number(1).fault(fault),
    };
}

fn read_fault(reader: &mut Reader<'_>) -> Option<Option<Fault>> {
    Some(match reader.number()? {
        0 => None,
        _ => Some(Fault {
            error: reader.maybe_text()?.map(|text| text.to_owned().into()),
            cause: reader.maybe_text()?.map(str::to_owned),
        }),
    })
}

fn ended(writer: &mut Writer, end: &End) {
    shared(writer.number(ENDED), end.share);
    write_status(writer, end.status);
    write_fault(writer.bytes(&end.output), end.fault.as_ref());
    match &end.child {
        None => writer.number(0),
        Some(child) => {
            let Child { arn, name, machine_arn, input, started_ms, stopped_ms } = &**child;
            writer.number(1).bytes(arn.as_bytes()).bytes(name.as_bytes()).bytes(machine_arn.as_bytes());
            writer.bytes(input).number(*started_ms).number(*stopped_ms)
        }
    };
}

fn read_ended(reader: &mut Reader<'_>) -> Option<End> {
    let (share, status) = (read_shared(reader)?, read_status(reader)?);
    let (output, fault) = (reader.bytes()?.to_vec(), read_fault(reader)?);
    let child = match reader.number()? {
        0 => None,
        _ => Some(Box::new(Child {
            arn: reader.text()?.to_owned(),
            name: reader.text()?.to_owned(),
            machine_arn: reader.text()?.to_owned(),
            input: reader.bytes()?.to_vec(),
            started_ms: reader.number()?,
            stopped_ms: reader.number()?,
        })),
    };
    (status != Status::Running).then_some(End { share, status, output, fault, child })
}

fn write_counts(writer: &mut Writer, counts: &MapRunCounts) {
    // When it is over, none waits for a redrive.
    let MapRunCounts { pending, running, succeeded, failed, timed_out, aborted, results_written, .. } =
        *counts;
    for count in [pending, running, succeeded, failed, timed_out, aborted, results_written] {
        writer.number(count);
    }
}

fn read_counts(reader: &mut Reader<'_>) -> Option<MapRunCounts> {
    Some(MapRunCounts {
        pending: reader.number()?,
        pending_redrive: 0,
        running: reader.number()?,
        succeeded: reader.number()?,
        failed: reader.number()?,
        timed_out: reader.number()?,
        aborted: reader.number()?,
        results_written: reader.number()?,
    })
}

fn over(writer: &mut Writer, state: &MapRunState, result: Option<&MapRunResult>) {
    write_status(writer.number(OVER), state.status);
    write_settings(writer.number(state.stopped_ms.unwrap_or(0)), state.settings);
    write_counts(writer, &state.items);
    write_counts(writer, &state.executions);
    match result {
        None => _ = writer.number(0),
        Some(Ok(output)) => _ = writer.number(1).bytes(output),
        Some(Err(fault)) => write_fault(writer.number(2), Some(fault)),
    }
}

fn read_over(reader: &mut Reader<'_>) -> Option<(MapRunState, Option<MapRunResult>)> {
    if reader.number()? != OVER {
        return None;
    }
    let (status, stopped_ms) = (read_status(reader)?, Some(reader.number()?));
    let settings = read_settings(reader)?;
    let (items, executions) = (read_counts(reader)?, read_counts(reader)?);
    let result = match reader.number()? {
        0 => None,
        1 => Some(Ok(reader.bytes()?.to_vec())),
        _ => Some(Err(read_fault(reader)??)),
    };
    Some((MapRunState { status, stopped_ms, settings, items, executions }, result))
}
