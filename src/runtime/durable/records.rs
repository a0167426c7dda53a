//! The records of durable executions, and how they are read back.
//!
//! Records of one execution are distinguished by its turns, so that one that is found twice, or behind a later one,
//! changes nothing: [compaction](super::compact) copies those that are still needed to the end of the journal.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::super::outcome::{Outcome, Status};
use super::chain::{self, FoundTurn};
use super::cold::ColdStore;
use super::map_runs::{self, FoundRuns};
use crate::engine::Token;
use crate::fault::Fault;
use crate::journal::{Block, JournalError, Lsn, Record, Refused};

/// Kinds of records; the numbers are in files.
pub(super) const IDENTITY: u16 = 1;
pub(super) const NOTE: u16 = 2;
pub(super) const START: u16 = 3;
pub(super) const ANSWER: u16 = 4;
pub(super) const TURN: u16 = 5;
pub(super) const END: u16 = 6;
pub(super) const FORGET: u16 = 7;
pub(super) const REDRIVE: u16 = 8;
/// Like [`TURN`] and [`END`], which are only read: those have the whole state, and these a delta to the one before.
pub(super) const TURN_DELTA: u16 = 9;
pub(super) const END_DELTA: u16 = 10;
pub(super) const MAP_RUN: u16 = 11;
pub(super) const DELIVERED: u16 = 12;

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DurableError {
    /// It cannot be opened.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// It cannot be written.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// A record is not what this release writes.
    #[error("a record of kind {kind} in block {lsn} of the journal cannot be read by this release")]
    Record {
        /// The record's kind.
        kind: u16,
        /// The block.
        lsn: Lsn,
    },
    /// The executions that are not in memory cannot be found.
    #[error("the store of executions that are not in memory cannot be used: {0}")]
    Cold(String),
    /// An execution does not fit into the journal to which it is copied.
    #[error("the execution '{arn}' has a record that is too large for the journal to copy to")]
    Large {
        /// The execution.
        arn: Box<str>,
    },
    /// A turn cannot be decoded from the one before.
    #[error("turn {turn} of the execution '{arn}' does not follow from what the journal has of it")]
    Turn {
        /// The execution.
        arn: Box<str>,
        /// The turn.
        turn: u64,
    },
}

/// An execution of the journal, with what the engine does not know.
#[derive(Clone, Debug, Default)]
pub struct RecoveredExecution {
    /// Its number in the journal.
    pub id: u64,
    /// Its name.
    pub name: Box<str>,
    /// Its ARN.
    pub arn: Box<str>,
    /// `X-Amzn-Trace-Id`
    pub trace_header: Option<Box<str>>,
    /// As it was [started](crate::runtime::StartOptions::durable).
    pub label: Box<[u8]>,
    /// Its input, JSON text.
    pub input: Box<str>,
    /// The parts that its watcher had [recorded](crate::observe::Watcher::unrecorded), by the numbers of its turns.
    pub history: BTreeMap<u64, Box<[u8]>>,
    /// Its outcome; `None` when it continues.
    pub outcome: Option<Outcome>,
    /// How often it was [redriven](crate::runtime::Engine::redrive), and when last, in milliseconds since 1970.
    pub redrives: (u32, u64),
    /// How many changes of its status were [delivered](crate::runtime::Engine::note_delivered), if that is recorded.
    #[cfg_attr(not(feature = "service"), allow(dead_code))]
    pub(crate) delivered: Option<u32>,
    /// Whether it is to be aborted before it enters one more state, as for a deleted state machine. Not recorded: set
    /// by the caller that resumes it.
    pub is_last_state: bool,
    /// The journal's owner under which it left memory; 0, when it is from the journal.
    pub(in crate::runtime) epoch: u64,
    /// Its last turn when it left memory, if it is from a row.
    pub(in crate::runtime) row_turn: Option<u64>,
    pub(in crate::runtime) seed: u64,
    pub(in crate::runtime) turn: u64,
    /// As of its last turn; empty before the first.
    pub(in crate::runtime) state: Box<[u8]>,
    pub(in crate::runtime) answers: Vec<(Token, Result<Vec<u8>, Fault>)>,
    /// Its turns by their numbers, until all are found.
    pub(super) found: BTreeMap<u64, FoundTurn>,
    /// Bytes of its records that were found.
    pub(super) found_bytes: u64,
}

/// The content of the journal when it was opened.
#[derive(Default)]
pub(in crate::runtime) struct Found {
    /// By number, which is the order in which they were started.
    pub(super) executions: BTreeMap<u64, RecoveredExecution>,
    pub(super) map_runs: FoundRuns,
    /// Notes beside executions, by their keys.
    pub(super) notes: BTreeMap<Box<[u8]>, Box<[u8]>>,
    pub(super) secret: Option<u128>,
    pub(super) floor_ms: u64,
    pub(super) last_id: u64,
    /// Executions whose rows were forgotten.
    pub(super) forgotten: Vec<u64>,
    /// How many changes of status were delivered, by execution.
    delivered: HashMap<u64, u32>,
    cold: Option<Arc<dyn ColdStore>>,
    is_cold_open: bool,
    /// The last turns in rows, of executions that were found.
    rows: HashMap<u64, Option<u64>>,
    /// The first record that this release cannot read: reading stops there.
    unreadable: Option<DurableError>,
}

impl Found {
    /// Executions in rows of this store are not taken from the journal.
    pub(super) fn beside(cold: Option<&Arc<dyn ColdStore>>) -> Found {
        Found { cold: cold.map(Arc::clone), ..Found::default() }
    }

    /// The last turn that is in a row of an execution.
    fn row_turn(&mut self, id: u64) -> Option<u64> {
        let cold = self.cold.as_ref()?;
        if let Some(turn) = self.rows.get(&id) {
            return *turn;
        }
        let turn = cold.turn(id).unwrap_or_else(|error| {
            self.unreadable.get_or_insert(DurableError::Cold(error));
            None
        });
        self.rows.insert(id, turn);
        turn
    }

    pub(super) fn add(&mut self, block: &Block<'_>) {
        self.open_cold();
        for record in block.records() {
            if self.unreadable.is_none() && self.read(&record).is_none() {
                let (kind, lsn) = (record.kind, block.header.lsn);
                self.unreadable = Some(DurableError::Record { kind, lsn });
            }
        }
    }

    /// One that was started, or whose start is found behind its turns, because it was copied there.
    fn execution(&mut self, id: u64) -> &mut RecoveredExecution {
        self.executions
            .entry(id)
            .or_insert_with(|| RecoveredExecution { id, ..RecoveredExecution::default() })
    }

    /// Opens the store. Called when the journal is owned and its blocks are visited.
    fn open_cold(&mut self) {
        if let Some(cold) = self.cold.as_ref().filter(|_| !std::mem::replace(&mut self.is_cold_open, true))
            && let Err(error) = cold.open()
        {
            self.unreadable.get_or_insert(DurableError::Cold(error));
        }
    }

    /// Whether all could be read.
    pub(super) fn check(&mut self) -> Result<(), DurableError> {
        self.open_cold();
        self.unreadable.take().map_or(Ok(()), Err)
    }

    /// After all was read: executions without a start were forgotten, in blocks that are trimmed only in part.
    pub(super) fn end(&mut self) -> Result<(), DurableError> {
        (self.cold, self.rows) = (None, HashMap::new());
        self.executions.retain(|_, execution| !execution.arn.is_empty());
        self.map_runs.retain(|(id, _), _| self.executions.contains_key(id));
        for (id, delivered) in std::mem::take(&mut self.delivered) {
            if let Some(execution) = self.executions.get_mut(&id) {
                execution.delivered = Some(delivered);
            }
        }
        self.executions.values_mut().try_for_each(chain::read_turns)
    }

    fn keep(&mut self, (id, bytes): (u64, usize), turn: u64, now_ms: u64, found: FoundTurn) {
        self.floor_ms = self.floor_ms.max(now_ms);
        // Also of one whose start is not there any more.
        self.last_id = self.last_id.max(id);
        if self.row_turn(id).is_some_and(|known| turn <= known) {
            return;
        }
        let execution = self.execution(id);
        execution.found_bytes += bytes as u64;
        let turns = &mut execution.found;
        match (turns.get(&turn), &found) {
            // A copy that only counts as long as the turn is not known completely.
            (Some(FoundTurn::Whole { .. }), FoundTurn::Whole { state, .. }) if state.is_empty() => {}
            _ => drop(turns.insert(turn, found)),
        }
    }

    fn read(&mut self, record: &Record<'_>) -> Option<()> {
        let mut reader = Reader(record.bytes);
        match record.kind {
            IDENTITY => {
                let (low, high) = (reader.number()?, reader.number()?);
                self.secret = Some(u128::from(high) << 64 | u128::from(low));
            }
            NOTE => {
                let (key, bytes) = (reader.bytes()?.into(), reader.bytes()?.into());
                self.notes.insert(key, bytes);
            }
            START => {
                let id = reader.number()?;
                self.last_id = self.last_id.max(id);
                if self.row_turn(id).is_some() {
                    // All of it is known.
                    return Some(());
                }
                let execution = self.execution(id);
                execution.found_bytes += record.bytes.len() as u64;
                execution.seed = reader.number()?;
                execution.name = reader.text()?.into();
                execution.arn = reader.text()?.into();
                execution.trace_header = reader.maybe_text()?.map(Into::into);
                execution.label = reader.bytes()?.into();
                execution.input = reader.text()?.into();
            }
            ANSWER => {
                let (id, token) = (reader.number()?, Token::from_bits(reader.number()?));
                self.last_id = self.last_id.max(id);
                let answer = match reader.number()? {
                    0 => Err(Fault {
                        error: reader.maybe_text()?.map(|text| text.to_owned().into()),
                        cause: reader.maybe_text()?.map(str::to_owned),
                    }),
                    _ => Ok(reader.bytes()?.to_vec()),
                };
                let execution = self.execution(id);
                execution.found_bytes += record.bytes.len() as u64;
                execution.answers.push((token, answer));
            }
            TURN => {
                let (id, turn, now_ms) = (reader.number()?, reader.number()?, reader.number()?);
                let (history, state) = (reader.bytes()?.into(), reader.bytes()?.into());
                self.keep((id, record.bytes.len()), turn, now_ms, FoundTurn::Whole { history, state });
            }
            END => {
                let (id, turn, now_ms) = (reader.number()?, reader.number()?, reader.number()?);
                let (history, outcome) = (reader.bytes()?.into(), Box::new(reader.outcome()?));
                self.keep((id, record.bytes.len()), turn, now_ms, FoundTurn::End { history, outcome });
            }
            TURN_DELTA | END_DELTA => {
                let (id, turn, now_ms, found) = chain::found(reader.0, record.kind == END_DELTA)?;
                reader.0 = &[];
                self.keep((id, record.bytes.len()), turn, now_ms, found);
            }
            REDRIVE => {
                let (id, turn, now_ms) = (reader.number()?, reader.number()?, reader.number()?);
                let redrives = (reader.number()?.try_into().ok()?, reader.number()?);
                let state = reader.bytes()?.into();
                self.keep((id, record.bytes.len()), turn, now_ms, FoundTurn::Redriven { redrives, state });
            }
            MAP_RUN => {
                let (id, number, operation, arn, bytes) = map_runs::read(&mut reader)?;
                self.last_id = self.last_id.max(id);
                self.execution(id).found_bytes += record.bytes.len() as u64;
                let records = self.map_runs.entry((id, arn.into())).or_default();
                records.insert(number, (operation, bytes.into()));
            }
            DELIVERED => {
                // Not a reason to take an execution from the journal that is in a row.
                let (id, count) = (reader.number()?, u32::try_from(reader.number()?).ok()?);
                self.last_id = self.last_id.max(id);
                let delivered = self.delivered.entry(id).or_insert(0);
                *delivered = count.max(*delivered);
            }
            FORGET => {
                let id = reader.number()?;
                self.last_id = self.last_id.max(id);
                self.executions.remove(&id);
                self.delivered.remove(&id);
                self.forgotten.push(id);
            }
            _ => return None,
        }
        reader.0.is_empty().then_some(())
    }
}

/// Reads what [`Writer`] wrote.
pub(in crate::runtime) struct Reader<'a>(pub(in crate::runtime) &'a [u8]);

impl<'a> Reader<'a> {
    pub(in crate::runtime) fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*number))
    }

    pub(in crate::runtime) fn bytes(&mut self) -> Option<&'a [u8]> {
        let bytes = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(bytes)
    }

    pub(in crate::runtime) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    pub(in crate::runtime) fn maybe_text(&mut self) -> Option<Option<&'a str>> {
        match self.number()? {
            0 => Some(None),
            _ => self.text().map(Some),
        }
    }

    pub(super) fn outcome(&mut self) -> Option<Outcome> {
        let status = match self.number()? {
            1 => Status::Succeeded,
            2 => Status::Failed,
            3 => Status::TimedOut,
            4 => Status::Aborted,
            _ => return None,
        };
        let (started_ms, stopped_ms) = (self.number()?, self.number()?);
        let fault = match self.number()? {
            0 => None,
            _ => Some(Fault {
                error: self.maybe_text()?.map(|text| text.to_owned().into()),
                cause: self.maybe_text()?.map(str::to_owned),
            }),
        };
        let output = self.bytes()?.to_vec();
        // Earlier releases did not record it.
        let stopped = if self.0.is_empty() { None } else { Some(self.bytes()?.into()) };
        Some(Outcome::recovered(status, fault, (started_ms, stopped_ms), output, stopped))
    }
}

/// Writes numbers and texts one after the other.
#[derive(Debug, Default)]
pub(in crate::runtime) struct Writer(pub(in crate::runtime) Vec<u8>);

impl Writer {
    pub(in crate::runtime) fn number(&mut self, number: u64) -> &mut Writer {
        self.0.extend_from_slice(&number.to_le_bytes());
        self
    }

    pub(in crate::runtime) fn bytes(&mut self, bytes: &[u8]) -> &mut Writer {
        self.number(bytes.len() as u64).0.extend_from_slice(bytes);
        self
    }

    pub(in crate::runtime) fn maybe_text(&mut self, text: Option<&str>) -> &mut Writer {
        match text {
            None => self.number(0),
            Some(text) => self.number(1).bytes(text.as_bytes()),
        }
    }

    pub(super) fn outcome(&mut self, outcome: &Outcome) -> &mut Writer {
        self.number(match outcome.status {
            Status::Succeeded => 1,
            Status::Failed => 2,
            Status::TimedOut => 3,
            Status::Aborted => 4,
            Status::Running => unreachable!("an execution that is over does not run"),
        });
        self.number(outcome.started_ms).number(outcome.stopped_ms);
        match &outcome.fault {
            None => self.number(0),
            Some(fault) => self.number(1).fault(fault),
        };
        self.bytes(outcome.json())
    }

    /// The state for a redrive, behind its [outcome](Writer::outcome).
    pub(super) fn stopped(&mut self, outcome: &Outcome) -> &mut Writer {
        match outcome.stopped() {
            None => self,
            Some(stopped) => self.bytes(stopped),
        }
    }

    /// The record of a start.
    pub(super) fn start(
        &mut self,
        (id, seed, name, arn): (u64, u64, &str, &str),
        trace_header: Option<&str>,
        label: &[u8],
        input: &[u8],
    ) -> &mut Writer {
        self.number(id).number(seed).bytes(name.as_bytes()).bytes(arn.as_bytes()).maybe_text(trace_header);
        self.bytes(label).bytes(input)
    }

    /// The record of an answer to a token.
    pub(super) fn answer(&mut self, id: u64, token: Token, answer: &Result<Vec<u8>, Fault>) -> &mut Writer {
        self.number(id).number(token.to_bits());
        match answer {
            Err(fault) => self.number(0).fault(fault),
            Ok(output) => self.number(1).bytes(output),
        }
    }

    pub(in crate::runtime) fn fault(&mut self, fault: &Fault) -> &mut Writer {
        self.maybe_text(fault.error.as_deref()).maybe_text(fault.cause.as_deref())
    }
}
