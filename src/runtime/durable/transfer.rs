//! Moving executions from one journal to another, of any kind: what is read of one is written to the other as records
//! of the executions as they are.
//!
//! 1. An execution is its start, its history by turns, its last state or outcome, and what else is known of it: answers
//!    to its tokens, its Map Runs, delivered changes of its status. States before the last one are left out.
//! 2. Where partitions come and go, an execution's number has its partition in it; numbers keep their order.
//! 3. What was written is read once more: a sum over all executions must be the same.

use std::collections::{BTreeMap, HashSet};
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::chain::{Recorder, Told};
use super::map_runs::{self, FoundRuns};
use super::records::{
    ANSWER, DELIVERED, END_DELTA, Found, IDENTITY, MAP_RUN, NOTE, REDRIVE, START, TURN_DELTA, Writer,
};
use super::spread::{BITS, partition_of_id};
use super::{Durability, Durable, DurableError, RecoveredExecution};
use crate::journal::{Journal, JournalError, Lsn, Record, Refused, Room, partition_of};
use crate::limits::JOURNAL_PARTITIONS;
use crate::observe::event_bytes;
use crate::random;

/// A journal that is read, or a partition of one.
pub(crate) struct Contents {
    found: Found,
    /// Whether numbers of executions have their partitions in them.
    is_spread: bool,
}

impl Contents {
    /// Whether executions are in partitions.
    pub(crate) fn is_spread(&self) -> bool {
        self.is_spread
    }

    /// The executions that the journal has, in the order in which they were started.
    pub(crate) fn executions(&self) -> impl Iterator<Item = &RecoveredExecution> {
        self.found.executions.values()
    }

    /// Whether the journal has the execution of a row, or has given it up: its row is not needed.
    pub(crate) fn has(&self, id: u64) -> bool {
        self.found.executions.contains_key(&id) || self.found.forgotten.contains(&id)
    }

    /// A note beside the executions.
    pub(crate) fn note(&self, key: &str) -> Option<&[u8]> {
        self.found.notes.get(key.as_bytes()).map(|note| &**note)
    }

    /// A sum over the executions, which is the same of each journal with the same ones.
    pub(crate) fn sum(&self) -> Sum {
        let mut sum = Sum::default();
        self.executions().for_each(|execution| sum.add(execution, &self.found.map_runs));
        sum
    }
}

/// How many executions there are, and the sum of their hashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) executions: u64,
    hashes: u128,
}

impl Sum {
    fn add(&mut self, execution: &RecoveredExecution, map_runs: &FoundRuns) {
        let mut hash = Sha256::new();
        hash.update(execution.identity());
        for (token, answer) in &execution.answers {
            hash.update(&Writer::default().answer(0, *token, answer).0);
        }
        hash.update(execution.delivered.unwrap_or(0).to_le_bytes());
        for (arn, number, (operation, bytes)) in runs_of(execution.id, map_runs) {
            hash.update(arn.as_bytes());
            hash.update(number.to_le_bytes());
            hash.update([*operation as u8]);
            hash.update(bytes);
        }
        let hash = hash.finalize();
        let hash = hash[..16].iter().fold(0, |number: u128, byte| number << 8 | u128::from(*byte));
        self.executions += 1;
        self.hashes = self.hashes.wrapping_add(hash);
    }

    /// That of the executions of both.
    pub(crate) fn and(&mut self, other: Sum) {
        self.executions += other.executions;
        self.hashes = self.hashes.wrapping_add(other.hashes);
    }
}

impl RecoveredExecution {
    /// Sets how many changes of its status were delivered.
    pub(crate) fn set_delivered(&mut self, delivered: Option<u32>) {
        self.delivered = delivered;
    }

    /// Its bytes but for its numbers in a journal.
    fn identity(&self) -> Vec<u8> {
        let unnumbered = RecoveredExecution { id: 0, epoch: 0, ..self.clone() };
        unnumbered.to_row()
    }
}

type FoundRecord<'f> = (&'f str, u64, &'f (map_runs::Operation, Box<[u8]>));

/// The records of an execution's Map Runs.
fn runs_of(id: u64, map_runs: &FoundRuns) -> impl Iterator<Item = FoundRecord<'_>> {
    let of_execution = map_runs.range((id, Box::default())..).take_while(move |((of, _), _)| *of == id);
    of_execution
        .flat_map(|((_, arn), records)| records.iter().map(|(number, record)| (&**arn, *number, record)))
}

impl From<DurableError> for JournalError {
    fn from(error: DurableError) -> JournalError {
        match error {
            DurableError::Journal(error) => error,
            error => JournalError::io("the executions")(std::io::Error::other(error.to_string())),
        }
    }
}

impl Durable {
    /// Reads the journal, partition by partition if it has them. It must not be in use.
    pub(crate) fn visit<E: From<DurableError>>(
        &self,
        visit: &mut dyn FnMut(&Contents) -> Result<(), E>,
    ) -> Result<(), E> {
        let is_spread = self.place.is_spread().map_err(DurableError::from)?;
        for partition in 0..if is_spread { JOURNAL_PARTITIONS } else { 1 } {
            let mut found = Found::beside(self.cold.as_ref());
            if is_spread {
                self.place.read_partition(partition, &mut found)?;
            } else {
                self.place.read(&mut found)?;
            }
            found.check()?;
            if let Some(cold) = &self.cold {
                Durability::merge_rows(&**cold, &mut found)?;
            }
            found.end()?;
            visit(&Contents { found, is_spread })?;
        }
        Ok(())
    }

    /// Opens a journal that has no executions, to write some into it.
    pub(crate) fn transfer(&self) -> Result<Transfer, DurableError> {
        let (mut found, is_spread) = (Found::beside(None), self.place.is_spread()?);
        // A failure of the journal is returned where a record is waited for.
        let opened = self.place.open(self.options(), Box::new(|_| ()), &mut found)?;
        if let Some(partitions) = opened.journal.partitions() {
            for partition in 0..JOURNAL_PARTITIONS {
                if partitions.open(partition, &mut |block| found.add(block))?.is_none() {
                    return Err(JournalError::Held(format!("partition {partition} of the cluster")).into());
                }
            }
        }
        found.check()?;
        if found.last_id > 0 {
            return Err(JournalError::Options("the journal to copy to has executions").into());
        }
        let (recorder, noted, last, sum) = Default::default();
        let has_files = self.place.folder().is_some();
        let mut transfer =
            Transfer { journal: opened.journal, is_spread, has_files, recorder, noted, last, sum };
        if !is_spread {
            // Of executions without a recorded turn; the others have that of their tokens in their states.
            transfer
                .append((IDENTITY, 0), Writer::default().number(random::next()).number(random::next()))?;
        }
        Ok(transfer)
    }
}

/// A journal into which executions are written.
pub(crate) struct Transfer {
    journal: Box<dyn Journal>,
    is_spread: bool,
    /// Whether the outcomes of Map Runs that are not over are in files.
    has_files: bool,
    recorder: Recorder,
    /// The partitions and keys of notes that were written.
    noted: HashSet<(u16, Box<str>)>,
    last: Lsn,
    sum: Sum,
}

impl Transfer {
    /// Whether executions are written into partitions.
    pub(crate) fn is_spread(&self) -> bool {
        self.is_spread
    }

    /// Writes an execution of a journal, or of a row beside it, and before it the note to which its label refers.
    pub(crate) fn add(
        &mut self,
        contents: &Contents,
        execution: &RecoveredExecution,
        (key, note): (&str, &[u8]),
    ) -> Result<(), DurableError> {
        let partition = if self.is_spread { partition_of(&execution.arn) } else { 0 };
        let id = match (contents.is_spread, self.is_spread) {
            (true, true) => {
                assert_eq!(partition_of_id(execution.id), partition, "a partition follows from the ARN");
                execution.id
            }
            (false, true) if execution.id.leading_zeros() < BITS => {
                // Each copy into partitions makes numbers longer.
                return Err(
                    JournalError::Options("the numbers of executions were made too long by copies").into()
                );
            }
            (false, true) => execution.id << BITS | u64::from(partition),
            (_, false) => execution.id,
        };
        if self.noted.insert((partition, key.into())) {
            self.append((NOTE, partition), Writer::default().bytes(key.as_bytes()).bytes(note))?;
        }
        let RecoveredExecution { seed, name, arn, trace_header, label, input, .. } = execution;
        let mut start = Writer::default();
        start.start((id, *seed, name, arn), trace_header.as_deref(), label, input.as_bytes());
        self.append_of(execution, (START, partition), Some(&start))?;
        self.add_turns((id, partition), execution, contents.found.floor_ms)?;
        for (token, answer) in &execution.answers {
            let mut writer = Writer::default();
            writer.answer(id, *token, answer);
            self.append_of(execution, (ANSWER, partition), Some(&writer))?;
        }
        let map_runs = &contents.found.map_runs;
        let of_execution = map_runs.range((execution.id, Box::default())..);
        let mut of_execution = of_execution.take_while(|((of, _), _)| *of == execution.id);
        if self.has_files && of_execution.any(|(_, records)| map_runs::is_open(records)) {
            return Err(JournalError::Options(
                "a Map Run of the cluster is not over, and the outcomes of its children are not copied to files: let it \
                 end, or stop its execution, before",
            )
            .into());
        }
        for (arn, number, (operation, bytes)) in runs_of(execution.id, map_runs) {
            let mut writer = Writer::default();
            writer.number(id).number(number).number(*operation as u64).bytes(arn.as_bytes()).bytes(bytes);
            self.append_of(execution, (MAP_RUN, partition), Some(&writer))?;
        }
        if let Some(delivered) = execution.delivered {
            self.append((DELIVERED, partition), Writer::default().number(id).number(delivered.into()))?;
        }
        self.sum.add(execution, map_runs);
        Ok(())
    }

    fn add_turns(
        &mut self,
        (id, partition): (u64, u16),
        execution: &RecoveredExecution,
        now_ms: u64,
    ) -> Result<(), DurableError> {
        let last = execution.turn;
        if last == 0 {
            return Ok(());
        }
        let mut tail = Writer::default();
        match &execution.outcome {
            Some(outcome) => drop(tail.outcome(outcome).stopped(outcome)),
            None => tail.0.extend_from_slice(&execution.state),
        }
        let history = self.history(execution, tail.0.len());
        let mut is_redriven_last = false;
        let (redrives, redriven_ms) = execution.redrives;
        if redrives > 0 {
            // The turn of a redrive has no events.
            let before = if execution.outcome.is_some() { last } else { last + 1 };
            let free = (1..before).rev().find(|turn| !history.contains_key(turn));
            let turn = free.ok_or_else(|| DurableError::Turn { arn: execution.arn.clone(), turn: last })?;
            let mut writer = Writer::default();
            writer.number(id).number(turn).number(now_ms);
            writer.number(redrives.into()).number(redriven_ms).bytes(&execution.state);
            self.append_of(execution, (REDRIVE, partition), Some(&writer))?;
            is_redriven_last = turn == last;
        }
        for (turn, events) in history.range(..last) {
            let told = Told { history: events, base: &[], now_ms };
            let writer = self.recorder.write((id, *turn), told, &[]);
            self.append_of(execution, (TURN_DELTA, partition), writer.as_ref())?;
        }
        if !is_redriven_last {
            let kind = if execution.outcome.is_some() { END_DELTA } else { TURN_DELTA };
            let events = history.get(&last).map_or(&[][..], |events| events);
            let writer =
                self.recorder.write((id, last), Told { history: events, base: &[], now_ms }, &tail.0);
            self.append_of(execution, (kind, partition), writer.as_ref())?;
        }
        Ok(())
    }

    /// The history by turns, so that each part fits into a record, and the last one beside the execution's state: a row has
    /// all of it in one.
    fn history(&self, execution: &RecoveredExecution, tail_bytes: usize) -> BTreeMap<u64, Box<[u8]>> {
        let part_bytes = self.journal.record_bytes_max() / 2;
        let tail_of = |turn: u64| if turn == execution.turn { tail_bytes } else { 0 };
        let is_small = |turn: u64, events: &[u8]| events.len() + tail_of(turn) <= part_bytes;
        if execution.history.iter().all(|(turn, events)| is_small(*turn, events)) {
            return execution.history.clone();
        }
        let (mut parts, mut part) = (Vec::new(), Vec::new());
        for events in execution.history.values() {
            let mut one = Vec::new();
            let read = event_bytes::read(events, |event| {
                one.clear();
                event_bytes::write(&event, &mut one);
                if !part.is_empty() && part.len() + one.len() > part_bytes {
                    parts.push(std::mem::take(&mut part));
                }
                part.extend_from_slice(&one);
            });
            if read.is_none() {
                return execution.history.clone();
            }
        }
        parts.push(part);
        // A turn is left for the last state, and one for a redrive.
        if parts.len() as u64 + 2 > execution.turn {
            return execution.history.clone();
        }
        (1..).zip(parts.into_iter().map(Vec::into_boxed_slice)).collect()
    }

    /// Appends a record of an execution, which may be too large for this journal.
    fn append_of(
        &mut self,
        execution: &RecoveredExecution,
        kind: (u16, u16),
        writer: Option<&Writer>,
    ) -> Result<(), DurableError> {
        let large = || DurableError::Large { arn: execution.arn.clone() };
        let bytes_max = self.journal.record_bytes_max();
        let writer = writer.filter(|writer| writer.0.len() <= bytes_max).ok_or_else(large)?;
        Ok(self.append(kind, writer)?)
    }

    fn append(&mut self, (kind, partition): (u16, u16), writer: &Writer) -> Result<(), Refused> {
        let record = Record { kind, partition, bytes: &writer.0 };
        self.last = loop {
            match self.journal.append(record, Room::Ordinary) {
                Err(Refused::Busy) => thread::sleep(Duration::from_millis(1)),
                appended => break appended?,
            }
        };
        Ok(())
    }

    /// Makes everything durable, and ends the journal. The sum over what was written.
    pub(crate) fn end(self) -> Result<Sum, DurableError> {
        self.journal.wait(self.last).map_err(Refused::Failed)?;
        self.journal.finish();
        Ok(self.sum)
    }
}
