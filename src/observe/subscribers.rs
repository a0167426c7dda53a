//! Subscribers of one execution, carried along with it: users' watchers, and the notes that histories, logs and traces
//! are made of.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::counters::{Calls, VersionCounters};
use super::hub::Observability;
use super::log::Level;
use super::{History, Spill, Watcher, trace};
use crate::engine::{EventBuffer, EventMask, Listener, MetricEvent, Outcome, Record, Step};
use crate::json::Arena;
use crate::program::Program;

/// All subscribers of one execution.
#[derive(Default)]
pub(crate) struct Watch {
    pub(super) audience: Audience,
    /// The events that the audience wants.
    pub(super) event_mask: EventMask,
    pub(super) wants: Wants,
    /// What to log, and whether with data.
    pub(super) logging: (Level, bool),
    pub(super) event_buffer: EventBuffer,
    /// The last record that is in the log.
    pub(super) logged: u64,
    pub(super) trace: Option<trace::Context>,
}

/// Listeners that are called as events happen, and what the notes become that cannot stay notes.
#[derive(Default)]
pub(super) struct Audience {
    watchers: Vec<Box<dyn Watcher>>,
    counts: bool,
    calls: Calls,
    /// What was noted before values moved.
    pub(super) history: Option<Box<History>>,
}

/// What the notes are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wants(pub(super) u8);

impl Wants {
    pub(super) const RING: u8 = 1;
    pub(super) const LOG: u8 = 2;
    pub(super) const TRACE: u8 = 4;
    pub(super) const HEAT: u8 = 8;

    pub(super) fn any(self, of: u8) -> bool {
        self.0 & of != 0
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("watchers", &self.audience.watchers.len()).finish_non_exhaustive()
    }
}

impl Watch {
    /// Watched by one watcher.
    pub(crate) fn by(watcher: Box<dyn Watcher>) -> Watch {
        let mut watch = Watch::default();
        watch.join(watcher);
        watch
    }

    /// Adds a watcher.
    pub(crate) fn join(&mut self, watcher: Box<dyn Watcher>) {
        let event_mask = catch_unwind(AssertUnwindSafe(|| watcher.event_mask()));
        self.event_mask = self.event_mask.union(event_mask.unwrap_or(EventMask::NONE));
        self.audience.watchers.push(watcher);
    }

    /// Counts events, too.
    pub(crate) fn count(&mut self) {
        self.audience.counts = true;
        self.event_mask = self.event_mask.union(EventMask::WORK);
    }

    /// What a turn of the engine needs to notify all subscribers: the listener, its mask, and the notes.
    pub(crate) fn parts<'w>(
        &'w mut self,
        observability: Option<&'w Observability>,
        counters: Option<&'w VersionCounters>,
        stripe: usize,
    ) -> (ListenerAdapter<'w>, EventMask, Option<&'w mut EventBuffer>) {
        let Watch { audience, event_mask, event_buffer, .. } = self;
        let event_buffer =
            Some(event_buffer).filter(|event_buffer| event_buffer.event_mask != EventMask::NONE);
        (ListenerAdapter { audience, observability, counters, stripe }, *event_mask, event_buffer)
    }

    /// The trace header for calls of the execution (`X-Amzn-Trace-Id`), if the execution is traced.
    pub(crate) fn trace_header(&self, execution_arn: &str) -> Option<String> {
        let context = self.trace?;
        let parent_id = trace::span_id(context.trace_id, execution_arn, 0);
        Some(trace::Context { parent_id, ..context }.xray())
    }

    /// Resets it for the next execution; the settings are made anew then.
    pub(super) fn clear(&mut self) {
        let Audience { watchers, counts, calls, history } = &mut self.audience;
        if !watchers.is_empty() {
            watchers.clear();
        }
        if *counts {
            *counts = false;
            calls.clear();
        }
        if history.is_some() {
            *history = None;
        }
        self.event_mask = EventMask::NONE;
        self.logged = 0;
        if !self.event_buffer.is_empty() {
            self.event_buffer.clear();
        }
    }

    /// The arena was lost with its values.
    pub(crate) fn lost(&mut self) {
        self.event_buffer.clear();
    }

    /// Whether only readers of the notes wait for its end.
    #[inline]
    pub(crate) fn is_ours(&self) -> bool {
        self.audience.watchers.is_empty()
    }

    /// Whether one watcher is its only listener, beside the counters.
    pub(crate) fn is_one_watcher(&self) -> bool {
        self.audience.watchers.len() == 1 && self.wants == Wants::default() && self.audience.history.is_none()
    }

    /// Whether there is nothing to log.
    #[inline]
    pub(crate) fn has_no_lines(&self) -> bool {
        !self.wants.any(Wants::LOG) || self.event_buffer.is_empty() && self.audience.history.is_none()
    }

    /// Appends what is to be recorded of the events since the last call.
    pub(crate) fn unrecorded(&mut self, out: &mut Vec<u8>) {
        self.audience.each(|watcher| watcher.unrecorded(out));
    }

    /// The execution has been parked for some time: its history may be moved out of memory.
    pub(crate) fn parked(&mut self, spill: &dyn Spill) {
        self.audience.each(|watcher| watcher.parked(spill));
    }

    /// Reports to the users' watchers how it ended; they are not called again.
    pub(crate) fn ended(&mut self, arena: &Arena, outcome: &Outcome, now_ms: u64) {
        self.audience.each(|watcher| watcher.ended(arena, outcome, now_ms));
        // Dropping a user's value may panic as well.
        for watcher in self.audience.watchers.drain(..) {
            let _ = catch_unwind(AssertUnwindSafe(|| drop(watcher)));
        }
    }

    /// The values move: what is needed later is formed now.
    pub(crate) fn moving(&mut self, observability: Option<&Observability>, program: &Program, arena: &Arena) {
        self.audience.each(|watcher| watcher.moving(program, arena));
        if !self.event_buffer.is_empty() {
            self.audience.form(observability, program, arena, &self.event_buffer);
            self.event_buffer.clear();
        }
    }
}

impl Audience {
    /// Makes a history of the notes.
    fn form(
        &mut self,
        observability: Option<&Observability>,
        program: &Program,
        arena: &Arena,
        event_buffer: &EventBuffer,
    ) {
        if let Some(observability) = observability {
            let history = self.history.get_or_insert_with(|| Box::new(observability.new_history()));
            event_buffer.replay(|record| history.record(program, arena, record));
        }
    }

    /// Calls all; one that panics is not called again.
    fn each(&mut self, mut tell: impl FnMut(&mut dyn Watcher)) {
        if self.watchers.is_empty() {
            return;
        }
        self.watchers.retain_mut(|watcher| {
            match catch_unwind(AssertUnwindSafe(|| tell(&mut **watcher))) {
                Ok(()) => true,
                Err(panic) => {
                    // The panic's payload may panic when it is dropped, too.
                    let _ = catch_unwind(AssertUnwindSafe(|| drop(panic)));
                    false
                }
            }
        });
    }
}

/// The listener of one execution, during one turn.
pub(crate) struct ListenerAdapter<'w> {
    audience: &'w mut Audience,
    observability: Option<&'w Observability>,
    counters: Option<&'w VersionCounters>,
    stripe: usize,
}

impl Listener for ListenerAdapter<'_> {
    fn record(&mut self, program: &Program, arena: &Arena, record: &Record<'_>) {
        if self.audience.counts
            && let Some(counters) = self.counters
        {
            counters.count_record(self.stripe, &mut self.audience.calls, record);
        }
        self.audience.each(|watcher| watcher.record(program, arena, record));
    }

    fn metric_event(&mut self, program: &Program, metric_event: MetricEvent) {
        if self.audience.counts
            && let Some(counters) = self.counters
        {
            counters.count_metric_event(self.stripe, metric_event);
        }
        self.audience.each(|watcher| watcher.metric_event(program, metric_event));
    }

    fn step(&mut self, arena: &Arena, step: Step<'_>) {
        self.audience.each(|watcher| watcher.step(arena, step));
    }

    fn moving(&mut self, program: &Program, arena: &Arena) {
        self.audience.each(|watcher| watcher.moving(program, arena));
    }

    fn events_due(&mut self, program: &Program, arena: &Arena, event_buffer: &EventBuffer) {
        self.audience.form(self.observability, program, arena, event_buffer);
    }
}
