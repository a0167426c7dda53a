//! Pending operations of a parked execution, by frame: at most two timers, a handler's future, a token.

use super::wheel::TimerId;
use crate::engine::{TimerKind, Token};

/// What a timer is for: 12 bytes, so that a node of the wheel takes 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimerKey {
    pub(super) slot: u32,
    /// The frame, and the kind in the lowest two bits; there are far fewer frames than 2^30.
    frame: u32,
    visit: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimerPurpose {
    Wake,
    Timeout,
    Heartbeat,
    /// The whole execution's time is over.
    Deadline,
    /// An answer is due; the slot is the task's.
    Answer,
}

impl TimerKey {
    pub(super) fn new(slot: u32, token: Token, kind: TimerKind) -> TimerKey {
        let kind = match kind {
            TimerKind::Wake => 0,
            TimerKind::Timeout => 1,
            TimerKind::Heartbeat => 2,
        };
        TimerKey { slot, frame: token.frame() << 2 | kind, visit: (token.to_bits() >> 32) as u32 }
    }

    pub(super) fn deadline(slot: u32) -> TimerKey {
        TimerKey { slot, frame: 3, visit: 0 }
    }

    pub(super) fn answer(task: u32) -> TimerKey {
        TimerKey { slot: task, frame: 3, visit: 1 }
    }

    pub(super) fn kind(&self) -> TimerPurpose {
        match self.frame & 3 {
            0 => TimerPurpose::Wake,
            1 => TimerPurpose::Timeout,
            2 => TimerPurpose::Heartbeat,
            _ if self.visit == 0 => TimerPurpose::Deadline,
            _ => TimerPurpose::Answer,
        }
    }

    pub(super) fn token(&self) -> Token {
        Token::from_bits(u64::from(self.visit) << 32 | u64::from(self.frame >> 2))
    }
}

/// Pending operations of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FramePending {
    /// The one that wakes it or ends its task; the one for its heartbeat.
    pub(super) timers: [TimerId; 2],
    pub(super) task: u32,
    /// A holder of its token may answer.
    pub(super) token: bool,
}

/// In [`FramePending::task`]: none.
pub(super) const NO_TASK: u32 = u32::MAX;

const NOTHING: FramePending = FramePending { timers: [TimerId::NONE; 2], task: NO_TASK, token: false };

/// Pending operations of an execution. Most have one frame.
#[derive(Debug)]
pub(super) struct PendingOps {
    first: FramePending,
    #[allow(clippy::box_collection)] // A resident should be small, and rows are rare.
    rest: Option<Box<Vec<FramePending>>>,
}

impl Default for PendingOps {
    fn default() -> PendingOps {
        PendingOps { first: NOTHING, rest: None }
    }
}

impl PendingOps {
    pub(super) fn frame(&mut self, frame: u32) -> &mut FramePending {
        let Some(n) = (frame as usize).checked_sub(1) else { return &mut self.first };
        let rest = self.rest.get_or_insert_default();
        if rest.len() <= n {
            rest.resize(n + 1, NOTHING);
        }
        &mut rest[n]
    }

    /// Takes the pending operations of a frame.
    pub(super) fn take(&mut self, frame: u32) -> FramePending {
        match (frame as usize).checked_sub(1) {
            None => std::mem::replace(&mut self.first, NOTHING),
            Some(n) => match self.rest.as_mut().and_then(|rest| rest.get_mut(n)) {
                Some(pending) => std::mem::replace(pending, NOTHING),
                None => NOTHING,
            },
        }
    }

    /// Whether a handler works for it.
    pub(super) fn has_tasks(&self) -> bool {
        let rest = self.rest.iter().flat_map(|rest| rest.iter());
        std::iter::once(&self.first).chain(rest).any(|pending| pending.task != NO_TASK)
    }

    /// Takes all pending operations.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = FramePending> {
        let PendingOps { first, rest } = std::mem::take(self);
        std::iter::once(first)
            .chain(rest.into_iter().flat_map(|rest| *rest))
            .filter(|pending| *pending != NOTHING)
    }

    /// A timer fired: its id is no longer valid.
    pub(super) fn fired(&mut self, due: &TimerKey) {
        let timer = match due.kind() {
            TimerPurpose::Wake | TimerPurpose::Timeout => 0,
            TimerPurpose::Heartbeat => 1,
            TimerPurpose::Deadline | TimerPurpose::Answer => return,
        };
        self.frame(due.token().frame()).timers[timer] = TimerId::NONE;
    }

    /// A future ended: its slot is no longer valid.
    pub(super) fn task_ended(&mut self, frame: u32) {
        self.frame(frame).task = NO_TASK;
    }
}
