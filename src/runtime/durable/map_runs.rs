//! The entries of Map Runs in the journal, where there is no folder for their files.
//!
//! A Map Run's records have numbers of their own, because compaction copies those that are still needed to the journal's
//! end, behind later ones. They belong to the execution that has the Map, and are dropped with it. Records that the
//! journal does not take at present wait in a queue, which the shards retry, and no execution starts until it is empty:
//! what a child was begun with is recorded before the child.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::records::{MAP_RUN, Reader, Writer};
use super::{Durability, Ledger};
use crate::journal::{JournalError, Lsn, Record, Refused, Room};

/// What a record does; the numbers are in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::runtime) enum Operation {
    /// The Map Run begins, or begins once more: its description.
    Begin,
    /// More entries.
    Add,
    /// It is over: its description and its end. The entries are no longer needed.
    Over,
    /// The same, but the entries before are for a redrive.
    OverForRedrive,
    /// The entries of before the redrive were all added once more.
    Taken,
}

impl Operation {
    const ALL: [Operation; 5] =
        [Operation::Begin, Operation::Add, Operation::Over, Operation::OverForRedrive, Operation::Taken];

    fn number(self) -> u64 {
        self as u64
    }

    pub(super) fn of(number: u64) -> Option<Operation> {
        Operation::ALL.into_iter().find(|operation| operation.number() == number)
    }
}

/// The Map Run's records that are still needed.
#[derive(Clone, Copy, Debug, Default)]
struct Marks {
    /// Behind the last record that the journal took.
    next: u64,
    /// The first record since the Map Run began for the last time, or the one of its end.
    begin: u64,
    is_begun: bool,
    is_over: bool,
    /// The first record of a Map Run that did not succeed, and the one of its end.
    before: Option<(u64, u64)>,
}

impl Marks {
    fn apply(&mut self, number: u64, operation: Operation) {
        self.next = number + 1;
        match operation {
            Operation::Add => {}
            Operation::Taken => self.before = None,
            Operation::Begin => {
                (self.begin, self.is_begun, self.is_over) = (number, true, false);
            }
            Operation::Over | Operation::OverForRedrive => {
                if operation == Operation::Over {
                    self.before = None;
                } else if self.is_begun && !self.is_over {
                    // If a redrive had not added all entries of before once more, this has a part of them only.
                    self.before.get_or_insert((self.begin, number));
                }
                (self.begin, self.is_begun, self.is_over) = (number, true, true);
            }
        }
    }

    fn needs(&self, number: u64) -> bool {
        number >= self.begin || self.before.is_some_and(|(from, to)| (from..=to).contains(&number))
    }
}

/// What an earlier process left of a Map Run.
#[derive(Clone, Debug, Default)]
pub(in crate::runtime) struct Left {
    /// Its description, and the end, if it is over.
    pub(in crate::runtime) head: Vec<u8>,
    /// The entries, if it is not over.
    pub(in crate::runtime) entries: Vec<u8>,
    /// Whether entries of before a redrive were not all added once more.
    pub(in crate::runtime) has_before: bool,
}

/// A Map Run of an execution that is still needed.
#[derive(Debug)]
pub(super) struct Kept {
    arn: Box<str>,
    marks: Marks,
    /// The number of the next record.
    number: u64,
    left: Option<Left>,
}

/// The records of a Map Run that were found, by their numbers.
pub(super) type FoundRecords = BTreeMap<u64, (Operation, Box<[u8]>)>;

/// The records that were found, by execution and ARN.
pub(super) type FoundRuns = BTreeMap<(u64, Box<str>), FoundRecords>;

/// Whether the Map Run with these records is not over.
#[cfg(all(feature = "service", feature = "clustered"))]
pub(super) fn is_open(records: &FoundRecords) -> bool {
    let mut marks = Marks::default();
    records.iter().for_each(|(number, (operation, _))| marks.apply(*number, *operation));
    !marks.is_over
}

/// Reads a record: of which execution, its number and what it does, the Map Run's ARN, and the entries.
pub(super) fn read<'a>(reader: &mut Reader<'a>) -> Option<(u64, u64, Operation, &'a str, &'a [u8])> {
    let (id, number, operation) = (reader.number()?, reader.number()?, Operation::of(reader.number()?)?);
    Some((id, number, operation, reader.text()?, reader.bytes()?))
}

impl Kept {
    fn found(arn: Box<str>, records: FoundRecords) -> Kept {
        let (mut marks, mut left) = (Marks::default(), Left::default());
        for (number, (operation, bytes)) in records {
            marks.apply(number, operation);
            match operation {
                Operation::Begin | Operation::Over | Operation::OverForRedrive => {
                    (left.head, left.entries) = (bytes.into_vec(), Vec::new());
                }
                Operation::Add => left.entries.extend_from_slice(&bytes),
                Operation::Taken => {}
            }
        }
        left.has_before = marks.before.is_some();
        Kept { arn, marks, number: marks.next, left: Some(left) }
    }
}

/// A record that the journal has not taken yet.
#[derive(Debug)]
struct UnwrittenRecord {
    id: u64,
    tenure: u64,
    arn: Box<str>,
    number: u64,
    operation: Operation,
    writer: Writer,
}

/// Records that the journal has not taken yet, and who waits until it has.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    records: VecDeque<UnwrittenRecord>,
    wakers: Vec<Waker>,
}

impl Durability {
    /// Appends a record of a Map Run, as soon as the journal takes it.
    pub(in crate::runtime) fn record_map_run(
        &self,
        (id, tenure): (u64, u64),
        arn: &str,
        operation: Operation,
        bytes: &[u8],
    ) -> Result<(), Refused> {
        let mut unwritten = self.unwritten();
        if !self.live.turns.contains_key(&id) {
            // The execution was forgotten, or another process has it.
            return Ok(());
        }
        let number = {
            let mut kept = self.live.map_runs.entry(id).or_default();
            let at = kept.iter().position(|kept| *kept.arn == *arn).unwrap_or_else(|| {
                kept.push(Kept { arn: arn.into(), marks: Marks::default(), number: 0, left: None });
                kept.len() - 1
            });
            let kept = &mut kept[at];
            let number = kept.number;
            kept.number += 1;
            number
        };
        let mut writer = Writer::default();
        writer.number(id).number(number).number(operation.number()).bytes(arn.as_bytes()).bytes(bytes);
        let (bytes, bytes_max) = (writer.0.len(), self.record_bytes_max());
        if bytes > bytes_max {
            return Err(Refused::TooLarge { bytes, bytes_max });
        }
        let record = UnwrittenRecord { id, tenure, arn: arn.into(), number, operation, writer };
        unwritten.records.push_back(record);
        self.write_map_runs_of(&mut unwritten);
        Ok(())
    }

    /// Whether records wait.
    pub(in crate::runtime) fn map_runs_wait(&self) -> bool {
        self.unwritten_count.load(Ordering::Acquire) > 0
    }

    /// Appends the records that wait.
    pub(in crate::runtime) fn write_map_runs(&self) {
        if self.map_runs_wait() {
            self.write_map_runs_of(&mut self.unwritten());
        }
    }

    /// Whether no records wait; otherwise, the task is woken when none does any more.
    fn map_runs_are_written(&self, context: &Context<'_>) -> bool {
        if !self.map_runs_wait() {
            return true;
        }
        let mut unwritten = self.unwritten();
        self.write_map_runs_of(&mut unwritten);
        if unwritten.records.is_empty() {
            return true;
        }
        let waker = context.waker();
        if !unwritten.wakers.iter().any(|known| known.will_wake(waker)) {
            unwritten.wakers.push(waker.clone());
        }
        false
    }

    fn write_map_runs_of(&self, unwritten: &mut Unwritten) {
        while let Some(next) = unwritten.records.front() {
            let is_needed = self.live.turns.contains_key(&next.id) && self.lasts(next.id, next.tenure);
            if let Some(mut kept) = self.live.map_runs.get_mut(&next.id).filter(|_| is_needed) {
                // Held until it is appended, so that compaction knows which records are needed.
                let record = (MAP_RUN, self.partition(next.id));
                if self.append(record, &next.writer, Room::Reserve).is_err() {
                    break;
                }
                let Some(kept) = kept.iter_mut().find(|kept| kept.arn == next.arn) else {
                    unreachable!("it is there as long as its execution");
                };
                kept.marks.apply(next.number, next.operation);
            }
            unwritten.records.pop_front();
        }
        self.unwritten_count.store(unwritten.records.len(), Ordering::Release);
        if unwritten.records.is_empty() {
            unwritten.wakers.drain(..).for_each(Waker::wake);
        }
    }

    fn unwritten(&self) -> MutexGuard<'_, Unwritten> {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Copies a record, if it is needed.
    pub(super) fn copy_map_run(&self, record: &Record<'_>) -> Result<Option<Lsn>, Refused> {
        let Some((id, number, _, arn, _)) = read(&mut Reader(record.bytes)) else {
            unreachable!("it was read when the journal was opened, or written since");
        };
        // Held until it is copied.
        let Some(kept) = self.live.map_runs.get(&id) else { return Ok(None) };
        let is_needed = kept.iter().any(|kept| *kept.arn == *arn && kept.marks.needs(number));
        if !is_needed || !self.live.turns.contains_key(&id) {
            return Ok(None);
        }
        self.journal.append(*record, Room::Ordinary).map(Some)
    }

    /// Keeps what was found of Map Runs.
    pub(super) fn keep_map_runs(&self, found: FoundRuns) {
        for ((id, arn), records) in found {
            self.live.map_runs.entry(id).or_default().push(Kept::found(arn, records));
        }
    }

    /// What an earlier process left of a Map Run. It is returned once.
    pub(in crate::runtime) fn take_left(&self, id: u64, arn: &str) -> Option<Left> {
        let mut kept = self.live.map_runs.get_mut(&id)?;
        kept.iter_mut().find(|kept| *kept.arn == *arn)?.left.take()
    }

    /// Descriptions of the Map Runs that earlier processes left, of an execution.
    #[cfg(feature = "service")]
    pub(in crate::runtime) fn left_map_runs(&self, id: u64) -> Vec<Vec<u8>> {
        let kept = self.live.map_runs.get(&id);
        let kept = kept.iter().flat_map(|kept| kept.iter());
        kept.filter_map(|kept| Some(kept.left.as_ref()?.head.clone())).collect()
    }

    /// Whether the journal has entries of a Map Run.
    pub(in crate::runtime) fn has_map_run(&self, id: u64, arn: &str) -> bool {
        self.live.map_runs.get(&id).is_some_and(|kept| kept.iter().any(|kept| *kept.arn == *arn))
    }

    /// Whether there are entries of before a redrive.
    pub(in crate::runtime) fn has_map_run_before(&self, id: u64, arn: &str) -> bool {
        let kept = self.live.map_runs.get(&id);
        kept.is_some_and(|kept| kept.iter().any(|kept| *kept.arn == *arn && kept.marks.before.is_some()))
    }

    /// Reads the entries of before a redrive, which begin with a description. It takes as long as reading the journal.
    pub(in crate::runtime) fn map_run_before(&self, id: u64, arn: &str) -> Result<Vec<u8>, JournalError> {
        let marks = self.live.map_runs.get(&id).and_then(|kept| {
            let marks = kept.iter().find(|kept| *kept.arn == *arn).map(|kept| kept.marks);
            marks.and_then(|marks| marks.before)
        });
        let Some((from, to)) = marks else { return Ok(Vec::new()) };
        let mut entries = BTreeMap::new();
        self.journal.read(Lsn(1), &mut |block| {
            for record in block.records().filter(|record| record.kind == MAP_RUN) {
                let Some((of, number, operation, run, bytes)) = read(&mut Reader(record.bytes)) else {
                    continue;
                };
                let is_entry = matches!(operation, Operation::Begin | Operation::Add);
                if of == id && run == arn && (from..=to).contains(&number) && is_entry {
                    entries.insert(number, bytes.to_vec());
                }
            }
        })?;
        Ok(entries.into_values().flatten().collect())
    }
}

/// The place of an execution in the journal.
#[derive(Clone)]
pub(in crate::runtime) struct RunsPlace {
    durability: Arc<Durability>,
    /// The execution's number, and the epoch of its partition.
    execution: (u64, u64),
}

/// The records of a Map Run in the journal.
#[derive(Clone)]
pub(in crate::runtime) struct InJournal {
    place: RunsPlace,
    arn: Box<str>,
}

/// The result of reading the journal.
#[derive(Default)]
pub(in crate::runtime) struct RunsSearch(Mutex<RunsSearchState>);

#[derive(Default)]
struct RunsSearchState {
    entries: Option<Result<Vec<u8>, String>>,
    waker: Option<Waker>,
}

impl RunsPlace {
    pub(in crate::runtime) fn new(durability: &Arc<Durability>, execution: (u64, u64)) -> RunsPlace {
        RunsPlace { durability: Arc::clone(durability), execution }
    }

    /// The records of a Map Run.
    pub(in crate::runtime) fn of_run(&self, arn: &str) -> InJournal {
        InJournal { place: self.clone(), arn: arn.into() }
    }
}

impl InJournal {
    /// What an earlier process left. It is returned once.
    pub(in crate::runtime) fn take_left(&self) -> Left {
        self.place.durability.take_left(self.place.execution.0, &self.arn).unwrap_or_default()
    }

    /// Whether there are entries of before a redrive.
    pub(in crate::runtime) fn has_before(&self) -> bool {
        self.place.durability.has_map_run_before(self.place.execution.0, &self.arn)
    }

    /// Bytes of entries that one record may have.
    pub(in crate::runtime) fn record_bytes_max(&self) -> usize {
        // The ARN, and numbers.
        self.place.durability.record_bytes_max() - 4096
    }

    /// Whether no records wait; otherwise, the task is woken when none does any more.
    pub(in crate::runtime) fn is_written(&self, context: &Context<'_>) -> bool {
        self.place.durability.map_runs_are_written(context)
    }

    pub(in crate::runtime) fn record(&self, operation: Operation, entries: &[u8]) -> io::Result<()> {
        let RunsPlace { durability, execution } = &self.place;
        durability.record_map_run(*execution, &self.arn, operation, entries).map_err(io::Error::other)
    }
}

impl fmt::Debug for InJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InJournal").field("arn", &self.arn).finish_non_exhaustive()
    }
}

impl RunsSearch {
    /// Reads the entries of before a redrive on a thread of its own.
    pub(in crate::runtime) fn begin(journal: &InJournal) -> io::Result<Arc<RunsSearch>> {
        let search = Arc::new(RunsSearch::default());
        let (found, place, arn) = (Arc::clone(&search), journal.place.clone(), journal.arn.clone());
        let read = move || {
            let entries = place.durability.map_run_before(place.execution.0, &arn);
            let mut state = found.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.entries = Some(entries.map_err(|error| error.to_string()));
            state.waker.take().into_iter().for_each(Waker::wake);
        };
        std::thread::Builder::new().name("expressway-map-run".to_owned()).spawn(read)?;
        Ok(search)
    }

    pub(in crate::runtime) async fn done(&self) -> Result<Vec<u8>, String> {
        poll_fn(|context| {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.waker = Some(context.waker().clone());
            state.entries.take().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

impl Ledger {
    /// Its number, and the epoch of its partition.
    pub(in crate::runtime) fn place(&self) -> (u64, u64) {
        (self.id, self.tenure)
    }
}
