//! The entries of a Map Run in the journal, as records of the execution that has the Map.

use std::future::poll_fn;
use std::io::{self, Cursor};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

use super::MapRun;
use super::log::{Before, Found, Log, Opened, PREFIX_BYTES, Past, Sink, entry, head_of};
use crate::runtime::Status;
use crate::runtime::durable::{Durability, Left, Operation};

/// The place of an execution in the journal.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) durability: Arc<Durability>,
    /// The execution's number, and the epoch of its partition.
    pub(super) execution: (u64, u64),
}

/// The records of a Map Run in the journal.
pub(super) struct InJournal {
    pub(super) place: Place,
    arn: Box<str>,
}

/// The result of reading the journal.
#[derive(Default)]
pub(super) struct Search(Mutex<SearchState>);

#[derive(Default)]
pub(super) struct SearchState {
    entries: Option<Result<Vec<u8>, String>>,
    waker: Option<Waker>,
}

impl Place {
    pub(super) fn of_run(&self, run: &MapRun) -> InJournal {
        InJournal { place: self.clone(), arn: run.arn.clone() }
    }
}

impl InJournal {
    pub(super) fn record(&self, operation: Operation, entries: &[u8]) -> io::Result<()> {
        let Place { durability, execution } = &self.place;
        durability.record_map_run(*execution, &self.arn, operation, entries).map_err(io::Error::other)
    }

    /// Adds entries, in records of the size that one may have.
    pub(super) fn add(&self, mut entries: &[u8]) -> io::Result<()> {
        let bytes_max = self.place.durability.map_run_bytes_max();
        while !entries.is_empty() {
            let mut end = 0;
            while let Some(length) = entry_bytes(&entries[end..])
                && (end == 0 || end + length <= bytes_max)
            {
                end += length;
            }
            let (first, rest) = entries.split_at(end);
            self.record(Operation::Add, first)?;
            entries = rest;
        }
        Ok(())
    }
}

/// Bytes of the first entry, with its prefix; `None` behind the last one.
fn entry_bytes(entries: &[u8]) -> Option<usize> {
    let length = entries.first_chunk().map(|length| u32::from_le_bytes(*length))?;
    Some(PREFIX_BYTES + length as usize)
}

impl std::fmt::Debug for InJournal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InJournal").field("arn", &self.arn).finish_non_exhaustive()
    }
}

impl Search {
    /// Reads the journal on a thread of its own.
    fn begin(place: &Place, run: &MapRun) -> io::Result<Arc<Search>> {
        let search = Arc::new(Search::default());
        let (found, place, run) = (Arc::clone(&search), place.clone(), (run.arn.clone(), run.mark));
        let read = move || {
            let (arn, mark) = run;
            let entries = place.durability.map_run_before(place.execution.0, &arn);
            let entries = entries.map_err(|error| error.to_string()).map(|entries| {
                // Behind the description. Those of another request are not its.
                let mut reader = Cursor::new(&entries);
                let found = Found::read_from(&mut reader).ok().flatten();
                let head_bytes = found.filter(|found| found.run.mark == mark).map(|found| found.head_bytes);
                head_bytes.map_or_else(Vec::new, |bytes| entries[bytes as usize..].to_vec())
            });
            let mut state = found.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.entries = Some(entries);
            state.waker.take().into_iter().for_each(Waker::wake);
        };
        std::thread::Builder::new().name("expressway-map-run".to_owned()).spawn(read)?;
        Ok(search)
    }

    pub(super) async fn done(&self) -> Result<Vec<u8>, String> {
        poll_fn(|context| {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.waker = Some(context.waker().clone());
            state.entries.take().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

impl Log {
    pub(super) fn open_in_journal(place: &Place, run: &MapRun) -> io::Result<Opened> {
        let id = place.execution.0;
        let left = place.durability.take_left(id, &run.arn);
        let Left { head, entries, has_before } = left.unwrap_or_default();
        let found = Found::read_from(&mut Cursor::new(&head))?.filter(|found| found.run.is_same(run));
        // It may be of the time before a redrive.
        if let Some(found) = found.filter(|found| found.run.redrives.count >= run.redrives.count) {
            if let Some(result) = found.result {
                return Ok(Opened::Over(Box::new(found.run), result));
            }
            if found.run.state().status == Status::Running && !has_before {
                let mut past = Past::new(None);
                past.bytes = Box::new(Cursor::new(entries));
                return Ok(Opened::Again(Log::in_journal(place, run), past, Box::new(found.run)));
            }
        }
        let (log, journal) = (Log::in_journal(place, run), place.of_run(run));
        let mut begun = Vec::new();
        entry(&mut begun, |writer| head_of(writer, run));
        journal.record(Operation::Begin, &begun)?;
        if !place.durability.has_map_run_before(id, &run.arn) {
            return Ok(Opened::New(log));
        }
        if run.redrives.count == 0 {
            journal.record(Operation::Taken, &[])?;
            return Ok(Opened::New(log));
        }
        Ok(Opened::Redriven(log, Past::new(Some(Before::Journal(Search::begin(place, run)?)))))
    }

    fn in_journal(place: &Place, run: &MapRun) -> Log {
        // It is opened once.
        let _ = run.sink.set(Sink::Journal(place.of_run(run)));
        Log { sink: Sink::Journal(place.of_run(run)), entries: Vec::new() }
    }
}

/// The Map Runs of these descriptions.
#[cfg(feature = "service")]
pub(super) fn found_in_journal(descriptions: &[Vec<u8>]) -> Vec<MapRun> {
    let read = |bytes: &Vec<u8>| Found::read_from(&mut Cursor::new(bytes)).ok().flatten();
    descriptions.iter().filter_map(read).map(|found| found.run).collect()
}
