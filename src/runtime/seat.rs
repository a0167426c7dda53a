//! An execution with its memory, and what a thread needs to run one; all of it is used again and again.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::machine::Version;
use super::ticket::Names;
use crate::engine::{self, ActivityWork, Effect, Env, Event, Execution, Hears, Listener, Turn};
use crate::fuel::{Cut, Fuel, Refill, SLICE};
use crate::json::Compactor;
use crate::observe::{Desk, Watch};
use crate::program::{StateId, TaskId};
use crate::query::jsonata::Scratch;

/// An execution, and the version its identity is of.
#[derive(Debug, Default)]
pub(super) struct Seat {
    pub(super) x: Execution,
    /// The version's number, and a bit for those that someone waits for; 0 when the identity is nobody's, or of one
    /// execution only.
    names: u64,
    /// Who watches it.
    pub(super) watch: Option<Box<Watch>>,
}

impl Seat {
    /// Sees to it that the execution is called as one of this version, and as it is called itself.
    pub(super) fn identify(&mut self, version: &Version, called: Names<'_>) {
        let names = version.number << 1 | u64::from(called.synchronous);
        if self.names != names {
            self.x.identity = version.identity.clone();
            self.x.identity.shows_redrive_count = !called.synchronous;
            self.names = names;
        }
        if let Some(name) = called.name {
            self.x.identity.execution_name = name.into();
            self.names = 0;
        }
        if let Some(arn) = called.arn {
            self.x.identity.execution_arn = arn.into();
            self.names = 0;
        }
    }
}

/// The engine failed an assertion: the execution is lost, and fails.
#[derive(Debug)]
pub(super) struct Bug;

/// What a thread has for running executions.
#[derive(Default)]
pub(super) struct Bench {
    // Seats go from here to residents and back as they are: a word each, not half a kilobyte.
    #[allow(clippy::vec_box)]
    seats: Vec<Box<Seat>>,
    pub(super) kit: Box<Kit>,
    /// Those of turns that were suspended.
    #[allow(clippy::vec_box)]
    kits: Vec<Box<Kit>>,
}

/// What one turn needs beside its execution.
#[derive(Default)]
pub(super) struct Kit {
    pub(super) effects: Vec<Effect>,
    /// How many of the effects were carried out.
    pub(super) carried_out: usize,
    compactor: Compactor,
    scratch: Scratch,
}

/// Seats kept, and bytes each may keep.
const SEATS_MAX: usize = 64;
const SEAT_BYTES_MAX: usize = 256 * 1_024;
/// Kits kept.
const KITS_MAX: usize = 8;

impl Bench {
    /// A seat; [reset](Execution::reset) it.
    pub(super) fn seat(&mut self) -> Box<Seat> {
        self.seats.pop().unwrap_or_default()
    }

    /// How many seats are free.
    pub(super) fn seats(&self) -> usize {
        self.seats.len()
    }

    /// Takes a seat back whose execution is over, or was packed.
    pub(super) fn put_back(&mut self, mut seat: Box<Seat>) {
        seat.watch = None;
        if self.seats.len() < SEATS_MAX {
            seat.x.shrink_above(SEAT_BYTES_MAX);
            self.seats.push(seat);
        }
    }

    /// The kit, for a turn on a stack of its own.
    pub(super) fn lend_kit(&mut self) -> Box<Kit> {
        let other = self.kits.pop().unwrap_or_default();
        std::mem::replace(&mut self.kit, other)
    }

    /// Takes back a kit that was lent; its effects are the ones to carry out now.
    pub(super) fn return_kit(&mut self, kit: Box<Kit>) {
        let other = std::mem::replace(&mut self.kit, kit);
        if self.kits.len() < KITS_MAX {
            self.kits.push(other);
        }
    }
}

/// What a turn is taken with.
pub(super) struct Setting<'t> {
    pub(super) version: &'t Version,
    pub(super) now_ms: u64,
    pub(super) ahead_ms: i64,
    pub(super) transitions_max: u32,
    pub(super) fuel: &'t Fuel<'t>,
    /// What shows executions, and the lane on which they are counted.
    pub(super) shown: (Option<&'t Desk>, usize),
    /// Where random numbers come from, if not from the seed.
    pub(super) random: Option<fn() -> u64>,
    pub(super) activities: Option<&'t dyn Fn(StateId, TaskId) -> ActivityWork>,
}

impl Kit {
    /// One turn of the engine. After a bug seat and kit are as new.
    pub(super) fn advance(
        &mut self,
        seat: &mut Seat,
        event: Event,
        setting: &Setting<'_>,
    ) -> Result<Turn, Bug> {
        let Setting {
            version,
            now_ms,
            ahead_ms,
            transitions_max,
            fuel,
            shown: (desk, lane),
            random,
            activities,
        } = *setting;
        let Kit { effects, compactor, scratch, .. } = self;
        let Seat { x, watch, .. } = seat;
        let (mut ear, hears, notes) = match watch {
            Some(watch) => {
                let (ear, hears, notes) = watch.parts(desk, version.view.as_deref(), lane);
                (Some(ear), hears, notes)
            }
            None => (None, Hears::NONE, None),
        };
        let listener = ear.as_mut().map(|ear| ear as &mut dyn Listener);
        let mut env = Env {
            now_ms,
            ahead_ms,
            transitions_max,
            fuel,
            effects,
            listener,
            hears,
            notes,
            compactor,
            scratch,
            random,
            activities,
        };
        let turn = catch_unwind(AssertUnwindSafe(|| engine::advance(&version.program, x, event, &mut env)));
        turn.map_err(|_| {
            // What the panic left half done is thrown away.
            let mut watch = seat.watch.take();
            if let Some(watch) = &mut watch {
                watch.lost();
            }
            *seat = Seat { watch, ..Seat::default() };
            *self = Kit::default();
            Bug
        })
    }
}

/// The driver of turns that are short whatever they do: they end between two states.
pub(super) struct GoesOn;

impl Refill for GoesOn {
    fn spent(&self, _: u64) -> Result<u64, Cut> {
        Ok(SLICE)
    }
}
