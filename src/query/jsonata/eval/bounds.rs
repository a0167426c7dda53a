//! Bounds of an evaluation: work, memory, depth.

use super::*;
use crate::fuel::{self, Fuel};
use crate::json::{self, Since};
use std::cell::Cell;

/// Work of evaluating a node, roughly.
pub(super) const NODE: u64 = 50;
/// Work of handling an item: pushing it, checking its kind, adding it up.
const ITEM: u64 = 8;
/// Work of reading a byte of JSON.
const READ_BYTE: u64 = 8;
/// Work of making a part of the context object.
pub(super) const CONTEXT: u64 = 1_000;
/// Work of a garbage collection beside that of moving values.
const COLLECTION: u64 = 1_000;
/// Members of an object that are searched without a charge beside the lookup itself.
pub(super) const MEMBERS_FREE: usize = 32;

/// The fuel of an evaluation. It counts down what was taken from the turn's fuel, which saves an indirection.
pub(super) struct Tank<'e> {
    fuel: &'e Fuel<'e>,
    left: Cell<u64>,
    /// The value of `left` when it was last taken.
    taken: Cell<u64>,
    /// The cost of the evaluation before that.
    before: Cell<u64>,
    work_max: u64,
    /// The driver's clock when it was first read.
    busy_from_ns: Cell<Option<u64>>,
}

impl<'e> Tank<'e> {
    pub(super) fn new(fuel: &'e Fuel<'e>, work_max: u64) -> Tank<'e> {
        let left = fuel.take();
        Tank {
            fuel,
            left: left.into(),
            taken: left.into(),
            before: 0.into(),
            work_max,
            busy_from_ns: None.into(),
        }
    }

    /// Charges work.
    #[inline]
    pub(super) fn charge(&self, work: u64) -> Outcome<()> {
        if self.spends(work) { Ok(()) } else { self.fill_up(work) }
    }

    /// Takes so much from what is left, if there is more.
    #[inline]
    fn spends(&self, work: u64) -> bool {
        let left = self.left.get();
        if left > work {
            self.left.set(left - work);
        }
        left > work
    }

    /// Gives back the rest.
    pub(super) fn close(&self) {
        self.fuel.put_back(self.left.replace(0));
    }

    #[cold]
    #[inline(never)]
    fn fill_up(&self, work: u64) -> Outcome<()> {
        let before = self.before.get() + (self.taken.get() - self.left.get()).saturating_add(work);
        self.before.set(before);
        self.fuel.put_back(self.left.get());
        let charged = self.fuel.charge(work);
        let left = self.fuel.take();
        self.left.set(left);
        self.taken.set(left);
        charged.map_err(|cut| {
            Failure::new(EvalError { kind: EvalErrorKind::Cut(cut), ..EvalError::bound(cut.to_string()) })
        })?;
        if before > self.work_max || self.is_late() { Err(timeout()) } else { Ok(()) }
    }

    /// Whether it takes too long by the clock, if there is one.
    fn is_late(&self) -> bool {
        let Some(now_ns) = self.fuel.busy_ns() else { return false };
        let from_ns = self.busy_from_ns.get().unwrap_or(now_ns);
        self.busy_from_ns.set(Some(from_ns));
        now_ns.saturating_sub(from_ns) > limits::JSONATA_NANOSECONDS_MAX
    }
}

#[cold]
fn timeout() -> Failure {
    Failure::new(EvalError::bound("Expression evaluation timeout: Check for infinite loop".to_owned()))
}

impl Eval<'_> {
    /// Charges work, in units of [fuel](crate::fuel): roughly nanoseconds.
    #[inline]
    pub(in crate::query::jsonata) fn charge(&self, work: u64) -> Outcome<()> {
        if self.tank.spends(work) { Ok(()) } else { self.fill_up(work) }
    }

    /// Others ran, or the clock was read. A list may have grown since memory was last looked at, item by item.
    #[cold]
    #[inline(never)]
    fn fill_up(&self, work: u64) -> Outcome<()> {
        self.tank.fill_up(work)?;
        if self.arena.may_grow() { Ok(()) } else { Err(self.out_of_memory()) }
    }

    /// Reads JSON, charged as it is read; `None` if the text is not JSON.
    pub(in crate::query::jsonata) fn read_json(&mut self, text: &str) -> Outcome<Option<Value>> {
        let (tank, mut stopped) = (&self.tank, None);
        let read = json::read_in_pieces(self.arena, text.as_bytes(), |bytes| {
            tank.charge(READ_BYTE * bytes as u64).map_err(|failure| stopped = Some(failure)).is_ok()
        });
        match stopped {
            Some(failure) => Err(failure),
            None => Ok(read.ok()),
        }
    }

    /// Charges the handling of items.
    #[inline]
    pub(in crate::query::jsonata) fn work(&self, items: usize) -> Outcome<()> {
        self.charge(items as u64 * ITEM)
    }

    /// Charges little work where no error can be returned; a later [`charge`](Self::charge) reports if it was too much.
    #[inline]
    pub(in crate::query::jsonata) fn note(&self, work: u64) {
        // The error is raised again when the next slice is spent.
        let _ = self.charge(work);
    }

    /// The member `key` of an object, `Undefined` if it is missing.
    #[inline]
    pub(in crate::query::jsonata) fn member(&self, object: Value, key: &Key) -> Value {
        self.note_members(object);
        self.arena.member(object, key)
    }

    /// Charges a search among many members.
    #[inline]
    pub(super) fn note_members(&self, object: Value) {
        if object.len() > MEMBERS_FREE {
            self.note(object.len() as u64);
        }
    }

    #[cold]
    pub(in crate::query::jsonata) fn out_of_memory(&self) -> Failure {
        let message = "Expression evaluation memory limit exceeded: Check for excessive memory usage";
        Failure::new(EvalError::bound(message.to_owned()))
    }

    #[cold]
    pub(super) fn stack_overflow(&self) -> Failure {
        let message = "Stack overflow error: Check for non-terminating recursive function. Consider rewriting as \
                       tail-recursive.";
        Failure::new(EvalError::bound(message.to_owned()))
    }

    /// Must follow whatever grew the arena.
    #[inline]
    pub(in crate::query::jsonata) fn check_bytes(&self) -> Outcome<()> {
        if self.arena.bytes() > self.bytes_max || self.arena.overflowed() {
            Err(self.out_of_memory())
        } else {
            Ok(())
        }
    }

    /// Marks the beginning of a loop that may make much garbage.
    #[inline]
    pub(in crate::query::jsonata) fn since(&self) -> Since {
        Since::now(self.arena)
    }

    /// Frees what a loop made since it began and is unreachable, when it has become much. To be called between two
    /// rounds only: a value that is neither on the arena's stack, in a frame or function, nor among the `roots` must be
    /// older than the loop.
    #[inline]
    pub(in crate::query::jsonata) fn reclaim(
        &mut self,
        since: Since,
        roots: &mut [&mut Value],
    ) -> Outcome<()> {
        if self.arena.bytes() > self.reclaim_at { self.reclaim_now(since, roots) } else { Ok(()) }
    }

    #[cold]
    #[inline(never)]
    pub(super) fn reclaim_now(&mut self, since: Since, roots: &mut [&mut Value]) -> Outcome<()> {
        if since.bytes(self.arena) < limits::JSONATA_GARBAGE_BYTES_MIN {
            return Ok(());
        }
        let Scratch { frames, functions, texts, collector, .. } = &mut *self.scratch;
        let each_root = |visit: &mut dyn FnMut(&mut Value)| {
            frames.iter_mut().for_each(&mut *visit);
            texts.iter_mut().for_each(&mut *visit);
            for function in functions.iter_mut() {
                function.values().into_iter().flatten().for_each(&mut *visit);
            }
            for root in roots.iter_mut() {
                visit(root);
            }
        };
        // An error of exhausted fuel is raised again when the next slice is spent.
        let tank = &self.tank;
        tank.fuel.whole(|| {
            collector.compact_since(self.arena, since, each_root, &mut |work| _ = tank.charge(work));
        });
        let live = self.arena.bytes();
        collector.shrink_above(limits::JSONATA_GARBAGE_BYTES_MIN);
        // Next when as much again was made, or half of the remaining room.
        let room = self.bytes_max.saturating_sub(live);
        let more = since.bytes(self.arena).max(limits::JSONATA_GARBAGE_BYTES_MIN).min(room / 2);
        self.reclaim_at = live + more;
        self.charge(COLLECTION)
    }

    /// Makes room for so many values in a large arena, so that it does not grow all at once.
    #[inline]
    pub(in crate::query::jsonata) fn make_room(&mut self, values: usize) {
        let (arena, tank) = (&mut *self.arena, &self.tank);
        // An error of exhausted fuel is raised again when the next slice is spent.
        arena.make_room(values, 0, &mut |work| _ = tank.charge(work));
    }

    /// Closes what was pushed since `from` into an array, or an object with different keys, piece by piece.
    #[inline(never)]
    pub(super) fn end_large(&mut self, object: bool, from: crate::json::Mark) -> Value {
        let (arena, tank) = (&mut *self.arena, &self.tank);
        // An error of exhausted fuel is raised again when the next slice is spent.
        arena.close_in_pieces(object, from, &mut |work| _ = tank.charge(work))
    }

    /// Whether a sequence of `items` may be made.
    #[inline]
    pub(in crate::query::jsonata) fn check_items(&self, items: usize) -> Outcome<()> {
        if items > self.limits.sequence_items { Err(self.out_of_memory()) } else { Ok(()) }
    }

    /// No value may be nested so deeply that walking it would exhaust a stack.
    pub(super) fn check_depth(&self, value: Value) -> Outcome<()> {
        if value.depth() > limits::JSON_DEPTH_MAX { Err(self.out_of_memory()) } else { Ok(()) }
    }

    /// Runs `inner` one level of native recursion deeper.
    #[inline]
    pub(in crate::query::jsonata) fn nested<T>(
        &mut self,
        inner: impl FnOnce(&mut Self) -> Outcome<T>,
    ) -> Outcome<T> {
        if self.nesting >= limits::JSONATA_NESTING_MAX {
            return Err(self.stack_overflow());
        }
        self.nesting += 1;
        let result = inner(self);
        self.nesting -= 1;
        result
    }
}

impl Scratch {
    /// Frees memory after a large evaluation.
    pub(super) fn shrink(&mut self) {
        let bytes = self.text.capacity().max(self.text2.capacity());
        let items = self.frames.capacity().max(self.functions.capacity()).max(self.orders.len());
        if bytes > SCRATCH_BYTES_KEPT || items > SCRATCH_ITEMS_KEPT {
            *self = Scratch::default();
        }
        if self.orders.iter().any(|order| order.capacity() > SCRATCH_ITEMS_KEPT) {
            self.orders.clear();
        }
    }
}

/// Bytes of a text, and items of a list, that are kept for the next evaluation.
const SCRATCH_BYTES_KEPT: usize = 1 << 20;
const SCRATCH_ITEMS_KEPT: usize = 64 << 10;

/// Bytes of a text that are processed between two charges.
pub(in crate::query::jsonata) const TEXT_PIECE: usize = 32 * 1_024;

/// Items that are handled between two charges.
pub(in crate::query::jsonata) const ITEMS_AT_ONCE: usize = 16 * 1_024;

/// A text in pieces of whole characters, of [`TEXT_PIECE`] bytes at most.
pub(in crate::query::jsonata) fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, behind) = rest.split_at(rest.floor_char_boundary(TEXT_PIECE));
        rest = behind;
        Some(piece)
    })
}

const _: () = assert!(TEXT_PIECE as u64 * 10 <= fuel::PIECE);
