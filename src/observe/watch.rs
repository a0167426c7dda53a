//! All who watch one execution, as it carries them along.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Watcher;
use crate::engine::{Hears, Listener, Outcome, Record};
use crate::json::Arena;
use crate::program::Program;

/// All who watch one execution.
#[derive(Default)]
pub(crate) struct Watch {
    watchers: Vec<Box<dyn Watcher>>,
    hears: Hears,
}

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

    pub(crate) fn ended(mut self, arena: &Arena, outcome: &Outcome, now_ms: u64) {
        self.each(|watcher| watcher.ended(arena, outcome, now_ms));
        // Dropping what a user wrote may panic as well.
        for watcher in self.watchers {
            let _ = catch_unwind(AssertUnwindSafe(|| drop(watcher)));
        }
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
}

impl Listener for Watch {
    fn record(&mut self, program: &Program, arena: &Arena, record: &Record<'_>) {
        self.each(|watcher| watcher.record(program, arena, record));
    }

    fn moving(&mut self, program: &Program, arena: &Arena) {
        self.each(|watcher| watcher.moving(program, arena));
    }
}
