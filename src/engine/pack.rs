//! A parked execution in as few bytes as it needs: its numbers as varints, its values as JSON text, each once.
//!
//! The text of a 200-byte input is half of what its nodes in an arena take, and reading it again costs less than the
//! cache misses that bring a parked execution back. It also leaves out the garbage in the arena.

use super::execution::{Execution, Frame, Join, NO_FRAME, Phase, Start};
use crate::index::Id;
use crate::json::{self, Arena, Value};
use crate::limits;
use crate::program::StateId;
use crate::query::template::Prepared;

impl Execution {
    /// Appends what the execution needs to continue, without its identity. False, with `out` unchanged, when it is not
    /// parked, has ended, or is so large that packing it would not pay off.
    pub fn pack(&self, out: &mut Vec<u8>) -> bool {
        if self.outcome.is_some() || !self.ready.is_empty() || self.arena.overflowed() {
            return false;
        }
        let (frames, joins) = self.rows();
        if frames.len() > limits::PACK_FRAMES_MAX || joins.len() > limits::PACK_FRAMES_MAX {
            return false;
        }
        let from = out.len();
        let mut writer = Writer::new(&self.arena, out, i64::from(limits::PACK_BYTES_MAX));
        self.write(&mut writer, frames, joins);
        self.write_redrives(&mut writer);
        let fits = writer.left >= 0;
        if !fits {
            out.truncate(from);
        }
        fits
    }

    /// Its frames and joins, without those at the end that were never in use.
    pub(super) fn rows(&self) -> (&[Frame], &[Join]) {
        let frames = self.frames.len() - untouched(&self.frames_free, self.frames.len());
        let joins = self.joins.len() - untouched(&self.joins_free, self.joins.len());
        (&self.frames[..frames], &self.joins[..joins])
    }

    /// Writes everything except its identity, its secret, the scale of time, and the queue of ready frames.
    pub(super) fn write(&self, writer: &mut Writer<'_>, frames: &[Frame], joins: &[Join]) {
        writer.out.extend_from_slice(&self.seed.to_le_bytes());
        writer.number(self.random.wrapping_sub(self.seed ^ GOLDEN));
        writer.number(self.started_ms);
        writer.number(self.ahead_ms as u64);
        // No deadline is the largest number.
        let allowed = self.deadline_ms.checked_add(1).map_or(0, |after| after - self.started_ms);
        writer.number(allowed);
        writer.number(self.events);
        writer.number(self.transitions);
        writer.number(u64::from(self.visits));
        writer.value(self.input);
        writer.list(frames.len(), &self.frames_free);
        frames.iter().for_each(|frame| writer.frame(frame, self.started_ms));
        writer.list(joins.len(), &self.joins_free);
        joins.iter().for_each(|join| writer.join(join));
    }

    /// Restores what [`pack`](Execution::pack) wrote; from `start`, only what was not packed: its memory limit, its
    /// secret, and the scale of time. False when the bytes are malformed, which leaves it [reset](Execution::reset) at
    /// best.
    pub fn unpack(&mut self, packed: &[u8], start: &Start) -> bool {
        self.reset();
        self.arena.set_bytes_max(start.bytes_max);
        self.secret = start.secret;
        self.time_scale = start.time_scale;
        let mut reader = Reader::new(packed, limits::PACK_FRAMES_MAX);
        let read = self.read(&mut reader).and_then(|()| self.read_redrives(&mut reader));
        read.is_some() && reader.rest.is_empty()
    }

    /// Reads what [`write`](Execution::write) wrote; `None` when the bytes are malformed.
    pub(super) fn read(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        let (seed, rest) = reader.rest.split_first_chunk()?;
        (self.seed, reader.rest) = (u64::from_le_bytes(*seed), rest);
        self.random = reader.number()?.wrapping_add(self.seed ^ GOLDEN);
        self.started_ms = reader.number()?;
        self.ahead_ms = reader.number()? as i64;
        self.deadline_ms = match reader.number()? {
            0 => u64::MAX,
            after => self.started_ms.saturating_add(after - 1),
        };
        self.events = reader.number()?;
        self.transitions = reader.number()?;
        self.visits = reader.small()?;
        self.input = reader.value(&mut self.arena)?;
        let frames = reader.list(&mut self.frames_free, self.frames.len())?;
        self.frames.resize_with(self.frames.len().max(frames), Frame::default);
        for n in 0..frames {
            reader.frame(&mut self.arena, &mut self.frames[n], self.started_ms)?;
        }
        let joins = reader.list(&mut self.joins_free, self.joins.len())?;
        self.joins.resize_with(self.joins.len().max(joins), Join::default);
        for n in 0..joins {
            reader.join(&mut self.arena, &mut self.joins[n])?;
        }
        for n in 0..frames as u32 {
            let frame = &self.frames[n as usize];
            if let (Some(join), true) = (frame.parent, frame.phase != Phase::Free) {
                // Else the bytes are malformed.
                self.joins.get(join as usize)?;
                self.link_child(join, n);
            }
        }
        self.compact_beyond(limits::COMPACT_BYTES_MIN.max(4 * self.arena.bytes()));
        Some(())
    }
}

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
/// Values that are compared with each new one, so that the same value is written once.
const SEEN: usize = 8;

/// How many of the free numbers were never used: they are at the bottom, highest first.
fn untouched(free: &[u32], len: usize) -> usize {
    free.iter().zip((0..len as u32).rev()).take_while(|(free, n)| **free == *n).count()
}

pub(super) struct Writer<'a> {
    arena: &'a Arena,
    pub(super) out: &'a mut Vec<u8>,
    seen: [Value; SEEN],
    count: usize,
    /// Bytes of text that still fit; negative when something did not fit.
    pub(super) left: i64,
}

/// The tag before a value: nothing, an array with gaps, one of the values before, or text and its length.
const UNDEFINED: u64 = 0;
const GAPPED: u64 = 1;
const AGAIN: u64 = 2;
const TEXT: u64 = AGAIN + SEEN as u64;

impl<'a> Writer<'a> {
    pub(super) fn new(arena: &'a Arena, out: &'a mut Vec<u8>, left: i64) -> Writer<'a> {
        Writer { arena, out, seen: [Value::UNDEFINED; SEEN], count: 0, left }
    }
}

impl Writer<'_> {
    pub(super) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.out.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.out.push(number as u8);
    }

    pub(super) fn value(&mut self, value: Value) {
        if value.is_undefined() {
            return self.number(UNDEFINED);
        }
        if let Some(n) = self.seen[..self.count].iter().position(|seen| seen.is_same_place(value)) {
            return self.number(AGAIN + n as u64);
        }
        let size = self.arena.size(value);
        self.left -= i64::from(size);
        if self.left < 0 || value.depth() >= limits::JSON_DEPTH_MAX {
            self.left = -1;
            return;
        }
        if value.is_container() && self.count < SEEN {
            self.seen[self.count] = value;
            self.count += 1;
        }
        self.number(TEXT + u64::from(size));
        json::write(self.arena, value, self.out);
    }

    /// An array that may have gaps: the variables.
    fn gapped(&mut self, array: Value) {
        if array.is_undefined() {
            return self.number(UNDEFINED);
        }
        self.number(GAPPED);
        self.number(array.len() as u64);
        let arena = self.arena;
        arena.items(array).iter().for_each(|&item| self.value(item));
    }

    /// The number of rows, and the free ones of them, in their order.
    fn list(&mut self, rows: usize, free: &[u32]) {
        self.number(rows as u64);
        let touched = free.iter().filter(|&&n| (n as usize) < rows);
        self.number(touched.clone().count() as u64);
        touched.for_each(|&n| self.number(u64::from(n)));
    }

    fn frame(&mut self, frame: &Frame, started_ms: u64) {
        let phase = match frame.phase {
            Phase::Free => 0,
            Phase::Enter => 1,
            Phase::Again => 2,
            Phase::Waiting => 3,
            Phase::Delayed => 4,
            Phase::Task => 5,
            Phase::Joining(join) => 6 + u64::from(join),
        };
        self.number(phase);
        if phase == 0 {
            return;
        }
        self.number(frame.state.map_or(0, |state| state.index() as u64 + 1));
        self.number(u64::from(frame.visit));
        self.number(frame.parent.map_or(0, |join| u64::from(join) + 1));
        self.number(u64::from(frame.index));
        self.value(frame.input);
        self.value(frame.effective);
        self.gapped(frame.variables);
        self.value(frame.credentials);
        self.number(frame.last_event);
        self.number(frame.entered_event);
        self.number(frame.entered_ms.wrapping_sub(started_ms));
        self.number(u64::from(frame.retries));
        self.number(frame.attempts.len() as u64);
        frame.attempts.iter().for_each(|&attempts| self.number(u64::from(attempts)));
        // No timeout is the largest number.
        self.number(frame.timeout_at_ms.wrapping_add(1));
        self.number(frame.timeout_ms.wrapping_add(1));
        self.number(frame.due_at_ms);
        // No heartbeat is the largest number.
        self.number(frame.heartbeat_ms.wrapping_add(1));
        self.number(u64::from(frame.is_begun) | u64::from(frame.is_submitted) << 1);
    }

    fn join(&mut self, join: &Join) {
        self.number(u64::from(join.frame));
        self.value(join.items);
        for number in [join.total, join.started, join.running, join.failed, join.tolerated] {
            self.number(u64::from(number));
        }
        self.number(u64::from(join.has_tolerance));
        self.number(join.results.len() as u64);
        // A result takes at least a byte, which excludes long rows of them.
        self.left -= join.results.len() as i64;
        if self.left >= 0 {
            join.results.iter().for_each(|&result| self.value(result));
        }
    }
}

pub(super) struct Reader<'a> {
    pub(super) rest: &'a [u8],
    seen: [Value; SEEN],
    count: usize,
    rows_max: usize,
}

impl<'a> Reader<'a> {
    /// Reads at most so many frames, and joins.
    pub(super) fn new(rest: &'a [u8], rows_max: usize) -> Reader<'a> {
        Reader { rest, seen: [Value::UNDEFINED; SEEN], count: 0, rows_max }
    }
}

impl Reader<'_> {
    pub(super) fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            number |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    pub(super) fn small(&mut self) -> Option<u32> {
        self.number()?.try_into().ok()
    }

    pub(super) fn value(&mut self, arena: &mut Arena) -> Option<Value> {
        let tag = self.number()?;
        if tag == UNDEFINED {
            return Some(Value::UNDEFINED);
        }
        if (AGAIN..TEXT).contains(&tag) {
            return Some(self.seen[(tag - AGAIN) as usize]);
        }
        let size = usize::try_from(tag.checked_sub(TEXT)?).ok()?;
        let (text, rest) = self.rest.split_at_checked(size)?;
        self.rest = rest;
        let value = json::read(arena, text).ok()?;
        if value.is_container() && self.count < SEEN {
            self.seen[self.count] = value;
            self.count += 1;
        }
        Some(value)
    }

    fn gapped(&mut self, arena: &mut Arena) -> Option<Value> {
        if self.number()? == UNDEFINED {
            return Some(Value::UNDEFINED);
        }
        let count = self.number()?;
        let mark = arena.begin();
        for _ in 0..count {
            let item = self.value(arena)?;
            arena.push(item);
        }
        Some(arena.end_array(mark))
    }

    /// The number of rows; fills `free` for as many rows as there will be then.
    fn list(&mut self, free: &mut Vec<u32>, kept: usize) -> Option<usize> {
        let rows = usize::try_from(self.number()?).ok().filter(|&rows| rows <= self.rows_max)?;
        free.clear();
        free.extend((rows as u32..kept as u32).rev());
        for _ in 0..self.number()? {
            let n = self.small()?;
            free.push(n);
        }
        Some(rows)
    }

    fn frame(&mut self, arena: &mut Arena, frame: &mut Frame, started_ms: u64) -> Option<()> {
        let phase = match self.number()? {
            0 => {
                frame.phase = Phase::Free;
                return Some(());
            }
            1 => Phase::Enter,
            2 => Phase::Again,
            3 => Phase::Waiting,
            4 => Phase::Delayed,
            5 => Phase::Task,
            join => Phase::Joining(u32::try_from(join - 6).ok()?),
        };
        // Every field by name, so that a new field cannot be forgotten here. They are read in the order of writing.
        *frame = Frame {
            phase,
            state: self.number()?.checked_sub(1).map(|state| StateId::from_index(state as usize)),
            visit: self.small()?,
            parent: self.small()?.checked_sub(1),
            // Linked when all are read.
            older: NO_FRAME,
            younger: NO_FRAME,
            // The queue, if there is one, is read afterwards.
            queued: 0,
            index: self.small()?,
            input: self.value(arena)?,
            effective: self.value(arena)?,
            variables: self.gapped(arena)?,
            credentials: self.value(arena)?,
            last_event: self.number()?,
            entered_event: self.number()?,
            entered_ms: self.number()?.wrapping_add(started_ms),
            retries: self.small()?,
            attempts: self.attempts(std::mem::take(&mut frame.attempts))?,
            timeout_at_ms: self.number()?.wrapping_sub(1),
            timeout_ms: self.number()?.wrapping_sub(1),
            due_at_ms: self.number()?,
            heartbeat_ms: self.number()?.wrapping_sub(1),
            // These two are one number.
            is_begun: false,
            is_submitted: false,
            // Only used at once by Retry and Catch.
            heartbeat_missed: false,
        };
        let begun = self.number()?;
        (frame.is_begun, frame.is_submitted) = (begun & 1 == 1, begun & 2 == 2);
        Some(())
    }

    fn attempts(&mut self, mut attempts: Vec<u32>) -> Option<Vec<u32>> {
        attempts.clear();
        for _ in 0..self.number()? {
            attempts.push(self.small()?);
        }
        Some(attempts)
    }

    fn join(&mut self, arena: &mut Arena, join: &mut Join) -> Option<()> {
        *join = Join {
            frame: self.small()?,
            youngest: NO_FRAME,
            items: self.value(arena)?,
            total: self.small()?,
            started: self.small()?,
            running: self.small()?,
            failed: self.small()?,
            tolerated: self.small()?,
            has_tolerance: self.number()? == 1,
            // Only an optimisation.
            prepared: Prepared::default(),
            results: self.results(arena, std::mem::take(&mut join.results))?,
        };
        Some(())
    }

    fn results(&mut self, arena: &mut Arena, mut results: Vec<Value>) -> Option<Vec<Value>> {
        results.clear();
        for _ in 0..self.number()? {
            results.push(self.value(arena)?);
        }
        Some(results)
    }
}
