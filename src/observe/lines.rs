//! Log lines directly from the engine's records, without a history in between: the same bytes as
//! [`log::line`](super::log::line), and fast enough to log everything.

use std::ops::Range;

use super::history::{Details, Event};
use super::log::{self, Labels, Level};
use super::{EventType, Redaction};
use crate::engine::{EventKind, Listener, Record};
use crate::json::{self, Arena, Value};
use crate::limits;
use crate::program::{Program, StateId};

/// Writes the records it gets as lines, each with a line feed.
pub(crate) struct Lines<'l> {
    pub(crate) out: &'l mut Vec<u8>,
    pub(crate) labels: Labels<'l>,
    pub(crate) level: Level,
    /// Whether inputs, outputs, parameters and variables are shown.
    pub(crate) data: bool,
    pub(crate) redaction: &'l Redaction,
    /// Records up to this one were written before.
    pub(crate) after: u64,
    /// How many lines were written.
    pub(crate) count: u64,
    /// Payloads that were written before, and where: most states pass their input on.
    seen: [(Value, Range<usize>); 2],
}

impl<'l> Lines<'l> {
    pub(crate) fn new(
        out: &'l mut Vec<u8>,
        labels: Labels<'l>,
        (level, data): (Level, bool),
        redaction: &'l Redaction,
        after: u64,
    ) -> Lines<'l> {
        let nothing = (Value::UNDEFINED, 0..0);
        Lines { out, labels, level, data, redaction, after, count: 0, seen: [nothing.clone(), nothing] }
    }

    /// The line of an event that was formed before.
    pub(crate) fn event(&mut self, event: &Event) {
        if event.id <= self.after || !self.level.shows(event.event_type) {
            return;
        }
        let line = if self.data {
            log::line(event, self.labels)
        } else {
            log::line(&event.clone().without_payloads(), self.labels)
        };
        self.out.extend_from_slice(line.as_bytes());
        self.out.push(b'\n');
        self.count += 1;
    }

    fn head(&mut self, id: u64, event_type: EventType) {
        self.out.extend_from_slice(b"{\"id\":\"");
        self.number(id);
        self.out.extend_from_slice(b"\",\"type\":\"");
        self.out.extend_from_slice(event_type.name().as_bytes());
        self.out.extend_from_slice(b"\",\"details\":{");
    }

    fn retention(&mut self, record: &Record<'_>) {
        self.out.extend_from_slice(b"},\"previous_event_id\":\"");
        self.number(record.previous);
        self.out.extend_from_slice(b"\",\"event_timestamp\":\"");
        self.number(record.time_ms);
        self.out.extend_from_slice(b"\",\"execution_arn\":");
        json::write_string(self.labels.execution_arn, self.out);
        self.out.extend_from_slice(b",\"redrive_count\":\"0\"}\n");
        self.count += 1;
    }

    fn number(&mut self, number: u64) {
        self.out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }

    fn name(&mut self, program: &Program, state: StateId) {
        self.out.extend_from_slice(b"\"name\":");
        json::write_string(program.name(state), self.out);
    }

    /// `"input":"…","inputDetails":{"truncated":false}`, if data is shown; whether it is.
    fn payload(&mut self, arena: &Arena, name: &str, value: Value) -> bool {
        if !self.data {
            return false;
        }
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        let truncated = self.text(arena, value);
        self.out.extend_from_slice(b",\"");
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"Details\":{\"truncated\":");
        self.out.extend_from_slice(if truncated { b"true}" } else { b"false}" });
        true
    }

    /// The JSON text of a value, as a string; whether it was cut.
    fn text(&mut self, arena: &Arena, value: Value) -> bool {
        if let Some((_, before)) = self.seen.iter().find(|(seen, _)| seen.is_same_place(value)) {
            self.out.extend_from_within(before.clone());
            return false;
        }
        let from = self.out.len();
        // The plain text is written behind its destination, at a distance that leaves room for the escapes.
        let mut text = Vec::with_capacity(arena.size(value) as usize + 16);
        if self.redaction.is_empty() {
            json::write(arena, value, &mut text)
        } else {
            self.redaction.write(arena, value, &mut text)
        }
        let truncated = text.len() > limits::LOG_PAYLOAD_BYTES_MAX;
        if truncated {
            let end = (0..=limits::LOG_PAYLOAD_BYTES_MAX).rev().find(|&at| text[at] & 0xC0 != 0x80);
            text.truncate(end.unwrap_or_default());
        }
        quote(&text, self.out);
        if !truncated {
            self.seen.swap(0, 1);
            self.seen[0] = (value, from..self.out.len());
        }
        truncated
    }

    fn exited(&mut self, program: &Program, arena: &Arena, state: StateId, output: Value, assigned: Value) {
        if self.data && assigned.is_object() && !assigned.is_empty() {
            self.out.extend_from_slice(b"\"assignedVariables\":{");
            for (n, (name, value)) in arena.entries(assigned).enumerate() {
                if n > 0 {
                    self.out.push(b',');
                }
                json::write_string(arena.str(name), self.out);
                self.out.push(b':');
                let text = self.redaction.member(arena, arena.str(name), value);
                quote(&text, self.out);
            }
            self.out.extend_from_slice(b"},");
        }
        self.name(program, state);
        if self.data {
            self.out.push(b',');
            self.payload(arena, "output", output);
        }
    }
}

/// Appends JSON text as a JSON string: only quotes and backslashes need escapes.
fn quote(text: &[u8], out: &mut Vec<u8>) {
    let from = out.len();
    out.resize(from + 2 * text.len() + 2, b'"');
    let mut at = from + 1;
    for &byte in text {
        out[at] = b'\\';
        at += usize::from(byte == b'"' || byte == b'\\');
        out[at] = byte;
        at += 1;
    }
    out[at] = b'"';
    out.truncate(at + 1);
}

impl Listener for Lines<'_> {
    fn record(&mut self, program: &Program, arena: &Arena, record: &Record<'_>) {
        if record.id <= self.after {
            return;
        }
        let simple = match record.event_kind {
            EventKind::ExecutionStarted { .. } => EventType::ExecutionStarted,
            EventKind::ExecutionSucceeded { .. } => EventType::ExecutionSucceeded,
            EventKind::StateEntered { state, .. } => EventType::entered(program.states[state].kind),
            EventKind::StateExited { state, .. } => EventType::exited(program.states[state].kind),
            event_kind => {
                let mut details = Details::new(program, arena, self.data, self.redaction);
                if let Some(event_type) = details.describe(event_kind) {
                    let Record { id, previous, time_ms, .. } = *record;
                    self.event(&Event { id, previous, time_ms, event_type, details: details.members });
                }
                return;
            }
        };
        if !self.level.shows(simple) {
            return;
        }
        self.head(record.id, simple);
        match record.event_kind {
            EventKind::ExecutionStarted { input } => {
                if self.payload(arena, "input", input) {
                    self.out.push(b',');
                }
                self.out.extend_from_slice(b"\"roleArn\":");
                json::write_string(self.labels.role_arn, self.out);
            }
            EventKind::ExecutionSucceeded { output } => {
                self.payload(arena, "output", output);
            }
            EventKind::StateEntered { state, input } => {
                if self.payload(arena, "input", input) {
                    self.out.push(b',');
                }
                self.name(program, state);
            }
            EventKind::StateExited { state, output, assigned } => {
                self.exited(program, arena, state, output, assigned);
            }
            _ => {}
        }
        self.retention(record);
    }
}
