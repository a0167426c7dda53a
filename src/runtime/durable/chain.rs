//! The turns of one execution in the journal, each as a delta of its history and state to the state before.
//!
//! A record of a turn, or of the end, is the execution's number, the turn's, and the time in milliseconds; whether
//! there is a base; how many bytes of history it has; the CRC-32C of the delta's output; and the
//! [delta](crate::journal::delta), of the history and what follows. The first turn's base is the execution's ARN and
//! its input.

use std::collections::BTreeMap;

use super::super::outcome::Outcome;
use super::records::{DurableError, Reader, RecoveredExecution, Writer};
use crate::journal::delta::{self, Encoder, number, read_number};
use crate::limits;

/// The data of a recorded turn beside its state.
#[derive(Clone, Copy, Debug)]
pub(in crate::runtime) struct Told<'t> {
    pub(in crate::runtime) history: &'t [u8],
    /// The state of the turn before, or [that of the start](start_base).
    pub(in crate::runtime) base: &'t [u8],
    pub(in crate::runtime) now_ms: u64,
}

/// Writes records of turns; its memory serves the next one.
#[derive(Debug, Default)]
pub(in crate::runtime) struct Recorder {
    encoder: Encoder,
    content: Vec<u8>,
}

impl Recorder {
    /// The record of a turn with this history and what follows; `None` when its output would be too large.
    pub(super) fn write(&mut self, (id, turn): (u64, u64), told: Told<'_>, tail: &[u8]) -> Option<Writer> {
        let Recorder { encoder, content } = self;
        if (told.history.len() + tail.len()).max(told.base.len()) > limits::DURABLE_TURN_BYTES_MAX {
            return None;
        }
        content.clear();
        content.extend_from_slice(told.history);
        content.extend_from_slice(tail);
        // The usual size of a turn.
        let mut record = Vec::with_capacity(1_024);
        [id, turn, told.now_ms].into_iter().for_each(|it| number(it, &mut record));
        record.push(u8::from(!told.base.is_empty()));
        number(told.history.len() as u64, &mut record);
        record.extend_from_slice(&crc32c::crc32c(content).to_le_bytes());
        encoder.encode(told.base, content, &mut record);
        Some(Writer(record))
    }
}

/// The base of the first turn.
pub(in crate::runtime) fn start_base(base: &mut Vec<u8>, arn: &str, input: &[u8]) {
    base.clear();
    base.extend_from_slice(arn.as_bytes());
    base.extend_from_slice(input);
}

/// A recorded turn.
#[derive(Clone, Debug)]
pub(in crate::runtime) enum FoundTurn {
    /// In the form of releases up to version 1 of these records. The state of a turn that was not the last may be left
    /// out.
    Whole {
        history: Box<[u8]>,
        state: Box<[u8]>,
    },
    /// The same, for the end.
    End {
        history: Box<[u8]>,
        outcome: Box<Outcome>,
    },
    /// It had ended, and continues from this state.
    Redriven {
        redrives: (u32, u64),
        state: Box<[u8]>,
    },
    Delta {
        is_end: bool,
        is_based: bool,
        history_bytes: usize,
        crc: u32,
        delta: Box<[u8]>,
    },
}

/// Parses a record behind its kind: the execution, the turn, the time, and the part to be [decoded](read_turns) when
/// all are found.
pub(super) fn found(mut record: &[u8], is_end: bool) -> Option<(u64, u64, u64, FoundTurn)> {
    let rest = &mut record;
    let (id, turn, now_ms) = (read_number(rest)?, read_number(rest)?, read_number(rest)?);
    let (&is_based, behind) = rest.split_first()?;
    *rest = behind;
    let history_bytes = usize::try_from(read_number(rest)?).ok()?;
    let (crc, delta) = rest.split_first_chunk()?;
    let (crc, is_based) = (u32::from_le_bytes(*crc), is_based == 1);
    Some((id, turn, now_ms, FoundTurn::Delta { is_end, is_based, history_bytes, crc, delta: delta.into() }))
}

/// Decodes the turns that were found of an execution, from the first to the last.
pub(super) fn read_turns(execution: &mut RecoveredExecution) -> Result<(), DurableError> {
    let found: BTreeMap<u64, FoundTurn> = std::mem::take(&mut execution.found);
    let mut state = Vec::new();
    start_base(&mut state, &execution.arn, execution.input.as_bytes());
    // The turn that this state is of.
    let mut known = 0;
    if let Some(turn) = execution.row_turn {
        (state, known) = (std::mem::take(&mut execution.state).into_vec(), turn);
    }
    for (turn, found) in found {
        let broken = || DurableError::Turn { arn: execution.arn.clone(), turn };
        let history = match found {
            FoundTurn::Whole { history, state: after } => {
                if !after.is_empty() {
                    (state, known) = (after.into(), turn);
                }
                history
            }
            FoundTurn::End { history, outcome } => {
                execution.outcome = Some(*outcome);
                history
            }
            FoundTurn::Redriven { redrives, state: after } => {
                (state, known) = (after.into(), turn);
                (execution.outcome, execution.redrives) = (None, redrives);
                Box::default()
            }
            FoundTurn::Delta { is_end, is_based, history_bytes, crc, delta } => {
                if is_based && known + 1 != turn {
                    return Err(broken());
                }
                let base = if is_based { &*state } else { &[] };
                let mut content = Vec::new();
                delta::decode(base, &delta, 2 * limits::DURABLE_TURN_BYTES_MAX, &mut content)
                    .filter(|()| crc32c::crc32c(&content) == crc && history_bytes <= content.len())
                    .ok_or_else(broken)?;
                let tail = content.split_off(history_bytes);
                if is_end {
                    let mut reader = Reader(&tail);
                    let outcome = reader.outcome().filter(|_| reader.0.is_empty());
                    execution.outcome = Some(outcome.ok_or_else(broken)?);
                } else {
                    (state, known) = (tail, turn)
                }
                content.into()
            }
        };
        execution.turn = turn;
        if !history.is_empty() {
            execution.history.insert(turn, history);
        }
    }
    let is_over = execution.outcome.is_some();
    if is_over {
        execution.answers.clear();
    }
    if known > 0 && !is_over {
        execution.state = state.into();
    }
    Ok(())
}
