//! Fuel: accounts for the work of an execution's turn.
//!
//! Code that loops over user data (items, members, bytes of a text, comparisons) charges what that costs, before it is
//! done or in pieces of at most [`PIECE`]. A unit is about a nanosecond on today's machines, so that a slice of fuel
//! measures time without a clock; the same work costs the same everywhere, and a simulation stays deterministic. When a
//! slice is spent, the driver's [`Refill`] reads the clock, lets others run, and gives the next slice or [cuts](Cut)
//! the work short.
//!
//! What it is not: an error of an expression. Work that is cut short ends the turn, and no Catch of a workflow sees it.

use std::cell::Cell;
use std::fmt;

/// Work after which a driver with a clock reads it: 200 µs, so that it is certainly read every millisecond.
pub const SLICE: u64 = 200_000;
/// Work that may be done between two charges.
pub const PIECE: u64 = 500_000;

/// Called when a slice is spent.
pub trait Refill {
    /// `work` was charged since the last call, or since the beginning. It may block to let others run, and return at
    /// this turn's next slice.
    ///
    /// # Errors
    /// Why the work must stop. It is not called again.
    fn spent(&self, work: u64) -> Result<u64, Cut>;

    /// Until this is called with `false`, the work must be completed: it may be delayed, but not cut.
    fn hold(&self, holds: bool) {
        let _ = holds;
    }

    /// The time spent with this fuel, in nanoseconds as of the last look at the clock, without the time that others ran
    /// meanwhile; `None` without a clock. Bounds an evaluation by time beside its work.
    fn busy_ns(&self) -> Option<u64> {
        None
    }
}

/// Why work was cut short. The execution is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cut {
    /// The execution timed out.
    Deadline,
    /// It was stopped, the caller no longer waits for it, or the process ends.
    Aborted,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cut::Deadline => "the execution timed out",
            Cut::Aborted => "the execution was aborted",
        })
    }
}

impl std::error::Error for Cut {}

/// The work that may be done before the clock is read. Shared by reference: all work of a turn is charged to the same
/// one.
///
/// ```
/// use expressway::fuel::{Cut, Fuel, Refill};
/// struct Twice(std::cell::Cell<u32>);
/// impl Refill for Twice {
///     fn spent(&self, _: u64) -> Result<u64, Cut> {
///         self.0.set(self.0.get() + 1);
///         if self.0.get() <= 2 { Ok(100) } else { Err(Cut::Deadline) }
///     }
/// }
/// let refill = Twice(0.into());
/// let fuel = Fuel::new(100, &refill);
/// assert_eq!((0..).find_map(|_| fuel.charge(10).err()), Some(Cut::Deadline));
/// assert_eq!((fuel.used(), fuel.cut()), (300, Some(Cut::Deadline)));
/// ```
pub struct Fuel<'a> {
    left: Cell<u64>,
    /// The value of `left` when it was last refilled.
    slice: Cell<u64>,
    /// Work of the earlier slices.
    before: Cell<u64>,
    cut: Cell<Option<Cut>>,
    refill: Option<&'a dyn Refill>,
}

impl Fuel<'_> {
    /// Fuel that is refilled without end.
    pub const fn unlimited() -> Fuel<'static> {
        Fuel {
            left: Cell::new(SLICE),
            slice: Cell::new(SLICE),
            before: Cell::new(0),
            cut: Cell::new(None),
            refill: None,
        }
    }

    /// Fuel for `slice` units; then `refill` decides how to continue.
    pub fn new(slice: u64, refill: &dyn Refill) -> Fuel<'_> {
        Fuel { refill: Some(refill), left: slice.into(), slice: slice.into(), ..Fuel::unlimited() }
    }

    /// Charges work that is about to be done, or was just done.
    ///
    /// # Errors
    /// When the work is cut short; from then on always.
    #[inline]
    pub fn charge(&self, work: u64) -> Result<(), Cut> {
        let left = self.left.get();
        if left > work {
            self.left.set(left - work);
            Ok(())
        } else {
            self.fill_up(work)
        }
    }

    /// Charges work where no error can be returned, at most a [`PIECE`] at a time. A cut is found by the next
    /// [`charge`](Fuel::charge), or by [`cut`](Fuel::cut).
    #[inline]
    pub fn note(&self, work: u64) {
        let left = self.left.get();
        if left > work {
            self.left.set(left - work);
        } else {
            let _ = self.fill_up(work);
        }
    }

    /// Charges work between two steps of an execution; false when a slice was spent, now or during a step, and a driver
    /// is there to let others run. Fuel without a driver always returns true.
    #[inline]
    pub fn goes_on(&self, work: u64) -> bool {
        let left = self.left.get();
        if left > work && self.before.get() == 0 {
            self.left.set(left - work);
            true
        } else {
            self.refill.is_none() && self.charge(work).is_ok()
        }
    }

    /// Does work that must not be cut once it began.
    pub(crate) fn whole<T>(&self, work: impl FnOnce() -> T) -> T {
        let hold = |holds| self.refill.iter().for_each(|refill| refill.hold(holds));
        hold(true);
        let done = work();
        hold(false);
        done
    }

    /// Takes what is left, for a caller that counts it down in a local variable. It must be [put back](Fuel::put_back)
    /// before this fuel is used again.
    #[inline]
    pub(crate) fn take(&self) -> u64 {
        self.left.replace(0)
    }

    /// Returns the rest of what was [taken](Fuel::take).
    #[inline]
    pub(crate) fn put_back(&self, left: u64) {
        self.left.set(left);
    }

    #[cold]
    #[inline(never)]
    fn fill_up(&self, work: u64) -> Result<(), Cut> {
        if let Some(cut) = self.cut.get() {
            return Err(cut);
        }
        let done = (self.slice.get() - self.left.get()).saturating_add(work);
        self.before.set(self.before.get().saturating_add(done));
        self.slice.set(0);
        self.left.set(0);
        match self.refill.map_or(Ok(SLICE), |refill| refill.spent(done)) {
            Ok(slice) => {
                self.slice.set(slice);
                self.left.set(slice);
                Ok(())
            }
            Err(cut) => {
                self.cut.set(Some(cut));
                Err(cut)
            }
        }
    }

    /// Why work was cut, if it was.
    #[inline]
    pub fn cut(&self) -> Option<Cut> {
        self.cut.get()
    }

    /// All charged work.
    #[inline]
    pub fn used(&self) -> u64 {
        self.before.get() + (self.slice.get() - self.left.get())
    }

    /// The driver's [`busy_ns`](Refill::busy_ns).
    pub fn busy_ns(&self) -> Option<u64> {
        self.refill.and_then(|refill| refill.busy_ns())
    }
}

impl fmt::Debug for Fuel<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fuel")
            .field("used", &self.used())
            .field("cut", &self.cut.get())
            .finish_non_exhaustive()
    }
}
