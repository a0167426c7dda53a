//! All who watch one execution, as it carries them along: users' watchers, and the notes that histories, logs and traces
//! are made of.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::desk::Desk;
use super::log::Level;
use super::notes::Notes;
use super::view::{Calls, VersionView};
use super::{History, Watcher, trace};
use crate::engine::{Aside, Happening, Hears, Listener, Outcome, Record};
use crate::json::Arena;
use crate::program::{Program, StateKind};

/// All who watch one execution.
#[derive(Default)]
pub(crate) struct Watch {
    watchers: Vec<Box<dyn Watcher>>,
    pub(super) hears: Hears,
    pub(super) wants: Wants,
    /// What to log, and whether with data.
    pub(super) logging: (Level, bool),
    pub(super) notes: Notes,
    /// What was noted before values moved.
    pub(super) history: Option<Box<History>>,
    /// Up to which record everything is in the log.
    pub(super) logged: u64,
    pub(super) trace: Option<trace::Context>,
    calls: Calls,
}

/// What the notes are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wants(pub(super) u8);

impl Wants {
    pub(super) const RING: u8 = 1;
    pub(super) const LOG: u8 = 2;
    pub(super) const TRACE: u8 = 4;
    pub(super) const COUNTS: u8 = 8;

    pub(super) fn any(self, of: u8) -> bool {
        self.0 & of != 0
    }
}

/// More notes than this of one turn are made into a history at once.
const NOTES_MAX: usize = 16_384;

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("watchers", &self.watchers.len()).finish_non_exhaustive()
    }
}

impl Watch {
    /// By one.
    pub(crate) fn by(watcher: Box<dyn Watcher>) -> Watch {
        let mut watch = Watch::default();
        watch.join(watcher);
        watch
    }

    /// By one more.
    pub(crate) fn join(&mut self, watcher: Box<dyn Watcher>) {
        let hears = catch_unwind(AssertUnwindSafe(|| watcher.hears()));
        self.hears = self.hears.and(hears.unwrap_or(Hears::NONE));
        self.watchers.push(watcher);
    }

    pub(crate) fn hears(&self) -> Hears {
        self.hears
    }

    /// The trace that what the execution calls is part of (`X-Amzn-Trace-Id`), if the execution is traced.
    pub(crate) fn trace_header(&self, execution_arn: &str) -> Option<String> {
        let context = self.trace?;
        let parent_id = trace::span_id(context.trace_id, execution_arn, 0);
        Some(trace::Context { parent_id, ..context }.xray())
    }

    /// For the next execution.
    pub(super) fn clear(&mut self) {
        self.watchers.clear();
        (self.hears, self.wants, self.logged) = (Hears::NONE, Wants(0), 0);
        (self.history, self.trace) = (None, None);
        self.calls.clear();
        self.notes.shrink();
    }

    /// The arena was lost with what lay in it.
    pub(crate) fn lost(&mut self) {
        self.notes.clear();
    }

    /// Tells the users' watchers how it ended; they are told nothing more.
    pub(crate) fn ended(&mut self, arena: &Arena, outcome: &Outcome, now_ms: u64) {
        self.each(|watcher| watcher.ended(arena, outcome, now_ms));
        // Dropping what a user wrote may panic as well.
        for watcher in self.watchers.drain(..) {
            let _ = catch_unwind(AssertUnwindSafe(|| drop(watcher)));
        }
    }

    /// The values move: what is needed later is written down now.
    pub(crate) fn moving(&mut self, desk: Option<&Desk>, program: &Program, arena: &Arena) {
        self.form(desk, program, arena);
        if !self.watchers.is_empty() {
            self.each(|watcher| watcher.moving(program, arena));
        }
    }

    /// Makes a history of the notes.
    pub(super) fn form(&mut self, desk: Option<&Desk>, program: &Program, arena: &Arena) {
        if let Some(desk) = desk
            && !self.notes.is_empty()
        {
            let history = self.history.get_or_insert_with(|| Box::new(desk.new_history()));
            self.notes.replay(program, arena, &mut **history);
        }
        self.notes.clear();
    }

    /// Tells all; one that panics is told nothing more.
    fn each(&mut self, mut tell: impl FnMut(&mut dyn Watcher)) {
        self.watchers.retain_mut(|watcher| {
            match catch_unwind(AssertUnwindSafe(|| tell(&mut **watcher))) {
                Ok(()) => true,
                Err(panic) => {
                    // What was thrown may panic when it is dropped, too.
                    let _ = catch_unwind(AssertUnwindSafe(|| drop(panic)));
                    false
                }
            }
        });
    }

    fn wants_note(&self, program: &Program, happening: &Happening<'_>) -> bool {
        self.wants.any(Wants::RING | Wants::TRACE)
            || match self.logging.0 {
                Level::All => true,
                Level::Off => false,
                // Whatever may be shown; the line's writer decides.
                Level::Error | Level::Fatal => match *happening {
                    Happening::StateEntered { state, .. } => {
                        matches!(program.states[state].kind, StateKind::Fail(_))
                    }
                    Happening::ExecutionStarted { .. }
                    | Happening::ExecutionSucceeded { .. }
                    | Happening::StateExited { .. }
                    | Happening::TaskScheduled { .. }
                    | Happening::TaskStarted { .. }
                    | Happening::TaskSubmitted { .. }
                    | Happening::TaskSucceeded { .. }
                    | Happening::MapIterationStarted { .. }
                    | Happening::MapIterationSucceeded { .. } => false,
                    _ => true,
                },
            }
    }
}

/// Hears for one execution, during one turn.
pub(crate) struct Ear<'w> {
    pub(crate) watch: &'w mut Watch,
    pub(crate) desk: Option<&'w Desk>,
    pub(crate) view: Option<&'w VersionView>,
    pub(crate) lane: usize,
}

impl Listener for Ear<'_> {
    fn record(&mut self, program: &Program, arena: &Arena, record: &Record<'_>) {
        let watch = &mut *self.watch;
        if watch.wants.any(Wants::COUNTS)
            && let Some(view) = self.view
        {
            view.count_record(self.lane, &mut watch.calls, record);
        }
        if watch.wants.any(Wants::RING | Wants::TRACE | Wants::LOG)
            && watch.wants_note(program, &record.happening)
        {
            watch.notes.keep(record);
            if watch.notes.len() > NOTES_MAX {
                watch.form(self.desk, program, arena);
            }
        }
        if !watch.watchers.is_empty() {
            watch.each(|watcher| watcher.record(program, arena, record));
        }
    }

    fn moving(&mut self, program: &Program, arena: &Arena) {
        self.watch.moving(self.desk, program, arena);
    }

    fn aside(&mut self, program: &Program, aside: Aside) {
        if self.watch.wants.any(Wants::COUNTS)
            && let Some(view) = self.view
        {
            view.count_aside(self.lane, aside);
        }
        if !self.watch.watchers.is_empty() {
            self.watch.each(|watcher| watcher.aside(program, aside));
        }
    }
}
