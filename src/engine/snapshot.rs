//! An execution as bytes that outlive the process: complete, of any size, at the end of any turn.
//!
//! Behind a version and the program's fingerprint come the identity, the secret, the scale of time, the context object,
//! and what [`pack`](super::pack) writes; then the queue of ready frames. What it waits for is not written:
//! [`Execution::pending`] derives it.

use super::effect::{Effect, TaskCall, TimerKind};
use super::execution::{Execution, Frame, Phase, UNLIMITED};
use super::identity::{Identity, Token};
use super::pack::{Reader, Writer};
use crate::limits;
use crate::program::Program;

/// The newest version that is read. It is written for executions that were redriven; for others, which are the same in
/// both, version 1.
const VERSION: u8 = 2;

/// Why bytes are refused as an execution.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// A newer release has written them.
    #[error("the snapshot is in version {0} of its format; this release reads version {VERSION}")]
    Version(u8),
    /// They are of an execution of another program, or of the same definition compiled by another release.
    #[error("the snapshot belongs to another program")]
    Program,
    /// They are not a snapshot.
    #[error("the snapshot is malformed")]
    Malformed,
}

/// A value is nested too deeply for a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a value is nested deeper than {max} levels", max = limits::JSON_DEPTH_MAX)]
pub struct TooDeep;

impl Execution {
    /// Appends the whole execution, which must not be over. `fingerprint` is its program's.
    ///
    /// # Errors
    /// When a value is nested deeper than JSON is read; then `out` is unchanged.
    pub fn snapshot(&self, fingerprint: u64, out: &mut Vec<u8>) -> Result<(), TooDeep> {
        assert!(self.outcome.is_none(), "an execution that is over has an outcome, and no state");
        let from = out.len();
        out.push(if self.redrives.count > 0 { VERSION } else { 1 });
        out.extend_from_slice(&fingerprint.to_le_bytes());
        out.extend_from_slice(&self.secret.to_le_bytes());
        out.extend_from_slice(&self.time_scale.to_bits().to_le_bytes());
        let (frames, joins) = self.rows();
        let mut writer = Writer::new(&self.arena, out, i64::MAX);
        let Identity {
            execution_arn, execution_name, state_machine_arn, state_machine_name, role_arn, ..
        } = &self.identity;
        for text in [execution_arn, execution_name, state_machine_arn, state_machine_name, role_arn] {
            writer.number(text.len() as u64);
            writer.out.extend_from_slice(text.as_bytes());
        }
        writer.number(u64::from(self.identity.shows_redrive_count));
        writer.number(u64::from(self.identity.is_standard));
        writer.number(self.arena.bytes_max() as u64);
        writer.value(self.context);
        self.write(&mut writer, frames, joins);
        let ready = self.ready.iter().filter(|place| self.is_queued(place));
        writer.number(ready.clone().count() as u64);
        ready.for_each(|place| writer.number(u64::from(place.frame)));
        self.write_redrives(&mut writer);
        let is_whole = writer.left >= 0;
        if !is_whole {
            out.truncate(from);
        }
        if is_whole { Ok(()) } else { Err(TooDeep) }
    }

    /// Restores what [`snapshot`](Execution::snapshot) wrote. `fingerprint` is that of its program.
    ///
    /// # Errors
    /// When the bytes are malformed, or of another program's execution; then it is [reset](Execution::reset) at best.
    pub fn restore(&mut self, snapshot: &[u8], fingerprint: u64) -> Result<(), SnapshotError> {
        self.reset();
        let malformed = || SnapshotError::Malformed;
        let (&version, rest) = snapshot.split_first().ok_or_else(malformed)?;
        if !(1..=VERSION).contains(&version) {
            return Err(SnapshotError::Version(version));
        }
        let (of, rest) = rest.split_first_chunk().ok_or_else(malformed)?;
        if u64::from_le_bytes(*of) != fingerprint {
            return Err(SnapshotError::Program);
        }
        let (secret, rest) = rest.split_first_chunk().ok_or_else(malformed)?;
        let (time_scale, rest) = rest.split_first_chunk().ok_or_else(malformed)?;
        self.secret = u128::from_le_bytes(*secret);
        self.time_scale = f64::from_bits(u64::from_le_bytes(*time_scale));
        let mut reader = Reader::new(rest, limits::FRAMES_MAX + 1);
        self.read_whole(&mut reader).filter(|()| reader.rest.is_empty()).ok_or_else(malformed)
    }

    fn read_whole(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        // Read in the order of writing.
        self.identity = Identity {
            execution_arn: reader.text()?,
            execution_name: reader.text()?,
            state_machine_arn: reader.text()?,
            state_machine_name: reader.text()?,
            role_arn: reader.text()?,
            shows_redrive_count: reader.number()? == 1,
            is_standard: reader.number()? == 1,
            // The caller sets it when it continues the execution.
            is_redrivable: false,
        };
        self.arena.set_bytes_max(usize::try_from(reader.number()?).ok()?);
        self.context = reader.value(&mut self.arena)?;
        self.read(reader)?;
        for _ in 0..reader.number()? {
            let frame = reader.small()?;
            self.frames.get(frame as usize).filter(|frame| frame.phase != Phase::Free)?;
            self.enqueue(frame);
        }
        self.read_redrives(reader)
    }

    /// Whether a task was alive while the execution was not in memory is unknown: the next heartbeat is due when a
    /// whole interval has passed from `now_ms` on.
    pub fn allow_heartbeats(&mut self, now_ms: u64) {
        for frame in self
            .frames
            .iter_mut()
            .filter(|frame| frame.phase == Phase::Task && frame.is_begun && frame.heartbeat_ms != UNLIMITED)
        {
            frame.due_at_ms = now_ms.saturating_add(frame.heartbeat_ms);
        }
    }

    /// What it waits for, as the effects that asked for it: tasks whose result is not known, timers of waits, delays,
    /// timeouts and heartbeats. The caller that restores an execution carries them out.
    pub fn pending(&self, program: &Program, effects: &mut Vec<Effect>) {
        if self.outcome.is_some() {
            return;
        }
        for (n, frame) in self.frames.iter().enumerate() {
            let token = Token { frame: n as u32, visit: frame.visit };
            let mut arm = |kind, at_ms| effects.push(Effect::Timer { token, kind, at_ms });
            match frame.phase {
                Phase::Waiting | Phase::Delayed => arm(TimerKind::Wake, frame.due_at_ms),
                Phase::Task => {
                    if frame.timeout_at_ms != u64::MAX {
                        arm(TimerKind::Timeout, frame.timeout_at_ms);
                    }
                    if frame.is_begun && frame.heartbeat_ms != UNLIMITED {
                        arm(TimerKind::Heartbeat, frame.due_at_ms);
                    }
                    effects.push(Effect::Task(call(program, frame, token, self.time_scale)));
                }
                Phase::Free | Phase::Enter | Phase::Again | Phase::Joining(_) => {}
            }
        }
    }

    /// How many visits of states there were: each later one has a higher number.
    pub fn visits(&self) -> u32 {
        self.visits
    }
}

fn call(program: &Program, frame: &Frame, token: Token, scale: f64) -> TaskCall {
    let state = frame.state.expect("a frame in use has a state");
    let Some(task) = program.task_of(program.states[state].kind) else {
        unreachable!("a frame waits for a task in a Task state, or a distributed Map, only")
    };
    let seconds = |scaled_ms: u64| {
        (scaled_ms != UNLIMITED && scale > 0.0).then(|| (scaled_ms as f64 / scale / 1_000.0).round() as u64)
    };
    TaskCall {
        token,
        task,
        state,
        attempt: frame.retries,
        timeout_seconds: seconds(frame.timeout_ms),
        heartbeat_seconds: seconds(frame.heartbeat_ms),
    }
}

impl Reader<'_> {
    fn text(&mut self) -> Option<Box<str>> {
        let bytes = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.rest.split_at_checked(bytes)?;
        self.rest = rest;
        std::str::from_utf8(text).ok().map(Into::into)
    }
}
