//! Fuel: the account of work for a turn of an execution.
//!
//! Code that loops over user data (items, members, bytes of a text, comparisons) charges what that costs, before it is
//! done or in pieces of at most [`PIECE`]. A unit is about a nanosecond on today's machines, so that a slice of fuel is
//! a time that no clock had to be asked for; the same work costs the same everywhere, and a simulation stays
//! deterministic. When a slice is spent, the driver's [`Refill`] looks at the clock, lets others have their turn, and
//! gives the next slice or [cuts](Cut) the work short.
//!
//! What it is not: no error of an expression. Work that is cut short ends the turn, and no Catch of a workflow sees it.

use std::cell::Cell;
use std::fmt;

/// Work after which a driver with a clock looks at it: 200 µs, so that it is certainly looked at every millisecond.
pub const SLICE: u64 = 200_000;
/// Work that may be done between two charges.
pub const PIECE: u64 = 500_000;

/// Asked when a slice is spent.
pub trait Refill {
    /// `work` was charged since the last time, or since the beginning. May take its time: let others run, and come back
    /// when it is this turn's time again.
    ///
    /// # Errors
    /// Why the work must not go on. It is not asked again.
    fn spent(&self, work: u64) -> Result<u64, Cut>;

    /// What is done from now on, until it is said that this is over, has to come to its end: it may be kept waiting, and
    /// not be cut.
    fn hold(&self, holds: bool) {
        let _ = holds;
    }

    /// The time this fuel was worked with, in nanoseconds and as of the last look at the clock, without the time that
    /// others had meanwhile; `None` where there is no clock. Bounds an evaluation by time beside its work.
    fn busy_ns(&self) -> Option<u64> {
        None
    }
}

/// Why work was cut short. The execution is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cut {
    /// The time allowed for the execution is over.
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

/// The work that may be done before the clock is looked at. Shared by reference: everything a turn does charges one.
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
    /// What `left` was when it was last filled up.
    slice: Cell<u64>,
    /// Work of the slices before.
    before: Cell<u64>,
    cut: Cell<Option<Cut>>,
    refill: Option<&'a dyn Refill>,
}

impl Fuel<'_> {
    /// Fuel that is filled up for ever.
    pub const fn unlimited() -> Fuel<'static> {
        Fuel {
            left: Cell::new(SLICE),
            slice: Cell::new(SLICE),
            before: Cell::new(0),
            cut: Cell::new(None),
            refill: None,
        }
    }

    /// Fuel for `slice` units; then `refill` says how to go on.
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

    /// Charges work where nothing may go wrong any more, at most a [`PIECE`] at a time. Whether it was cut short is
    /// found by the next [`charge`](Fuel::charge), or by [`cut`](Fuel::cut).
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

    /// Does what has to come to its end once it began.
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

    /// Puts back what is left of what was [taken](Fuel::take).
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

    /// Why work was cut short, if it was.
    #[inline]
    pub fn cut(&self) -> Option<Cut> {
        self.cut.get()
    }

    /// All that was charged.
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
