//! Work of a task on a stack of its own: it is suspended when the work that may be done in one poll is done, and goes on at
//! the next. Dropping it cuts it.

use std::cell::{Cell, RefCell};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};

use super::admission::Usage;
use crate::fault::{self, Fault};
use crate::fuel::{Cut, Fuel, Refill};
use crate::limits;

/// The work that may still be done in this poll of a task.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    left: Cell<u64>,
    used: Cell<u64>,
}

impl Allowance {
    /// Another poll begins.
    pub(super) fn renew(&self) {
        self.left.set(limits::TASK_POLL_WORK_MAX);
    }

    /// Whether this poll has to end. It always may do something.
    pub(super) fn is_spent(&self) -> bool {
        self.left.get() == 0
    }

    /// Work was done.
    pub(super) fn charge(&self, work: u64) {
        self.left.set(self.left.get().saturating_sub(work));
        self.used.set(self.used.get().saturating_add(work));
        TOLD.with(|told| told.set(told.get().saturating_add(work)));
    }
}

/// Errands of one thread that are under way: each holds a stack, so they are as many as there may be executions that are
/// suspended inside of an expression. Others wait.
#[derive(Default)]
struct Places {
    taken: u32,
    by_machine: HashMap<usize, u32>,
    /// By the number of their ticket: a machine, and a task of it.
    waiting: BTreeMap<u64, (usize, Waker)>,
    tickets: u64,
}

impl Places {
    fn has_room(&self, machine: usize) -> bool {
        let of_machine = self.by_machine.get(&machine).copied().unwrap_or(0);
        of_machine < limits::FIBERS_PER_MACHINE_MAX && self.taken < limits::FIBERS_MAX
    }

    /// Wakes the first task for which there is a place.
    fn wake_one(&mut self) {
        let next = self.waiting.iter().find(|(_, (machine, _))| self.has_room(*machine));
        if let Some(number) = next.map(|(number, _)| *number)
            && let Some((_, waker)) = self.waiting.remove(&number)
        {
            waker.wake();
        }
    }
}

/// The right of a task to wait for a place, while it lives.
#[derive(Debug)]
pub(super) struct Ticket(u64);

impl Ticket {
    pub(super) fn new() -> Ticket {
        PLACES.with_borrow_mut(|places| {
            places.tickets += 1;
            Ticket(places.tickets)
        })
    }

    /// A place for an errand of a machine, if there is one; the task is woken when there may be.
    pub(super) fn place(&self, machine: &Arc<Usage>, waker: &Waker) -> Option<Place> {
        let machine = Arc::as_ptr(machine) as usize;
        PLACES.with_borrow_mut(|places| {
            if !places.has_room(machine) {
                places.waiting.insert(self.0, (machine, waker.clone()));
                return None;
            }
            *places.by_machine.entry(machine).or_default() += 1;
            places.taken += 1;
            Some(Place(machine))
        })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // A thread that ends has no others. It may have been woken for a place that it does not take.
        let _ = PLACES.try_with(|places| {
            let mut places = places.borrow_mut();
            places.waiting.remove(&self.0);
            places.wake_one();
        });
    }
}

/// A place for an errand of a machine.
#[derive(Debug)]
pub(super) struct Place(usize);

impl Drop for Place {
    fn drop(&mut self) {
        let _ = PLACES.try_with(|places| {
            let mut places = places.borrow_mut();
            places.taken -= 1;
            if let Entry::Occupied(mut of_machine) = places.by_machine.entry(self.0) {
                *of_machine.get_mut() -= 1;
                if *of_machine.get() == 0 {
                    of_machine.remove();
                }
            }
            places.wake_one();
        });
    }
}

thread_local! {
    static PLACES: RefCell<Places> = RefCell::default();
    /// The work of tasks on this thread that their shard has not charged yet.
    static TOLD: Cell<u64> = const { Cell::new(0) };
    /// Stacks for reuse.
    static STACKS: RefCell<Vec<DefaultStack>> = const { RefCell::new(Vec::new()) };
}

/// The work that tasks did on this thread since the last call.
pub(super) fn take_work() -> u64 {
    TOLD.with(|told| told.replace(0))
}

type Turning<T> = Coroutine<Result<u64, Cut>, u64, (T, u64), DefaultStack>;

/// Work that is under way.
pub(super) struct Errand<T: 'static> {
    turning: Option<Turning<T>>,
    /// Work that was charged.
    charged: u64,
}

impl<T: 'static> Errand<T> {
    /// Work that has not begun.
    ///
    /// # Errors
    /// When the system has no stack for it.
    pub(super) fn new(work: impl FnOnce(&Fuel<'_>) -> T + 'static) -> Result<Errand<T>, Fault> {
        let kept = STACKS.with_borrow_mut(Vec::pop);
        let stack = match kept.map_or_else(|| DefaultStack::new(limits::FIBER_STACK_BYTES), Ok) {
            Ok(stack) => stack,
            Err(error) => {
                let cause = format!("There is no memory for a stack: {}", crate::os::words(&error));
                return Err(Fault::new(fault::RUNTIME, cause));
            }
        };
        let turning = Turning::with_stack(stack, move |yielder, slice: Result<u64, Cut>| {
            let suspending = Suspending(yielder);
            // The first word is always a slice.
            let fuel = Fuel::new(slice.unwrap_or(0), &suspending);
            let done = work(&fuel);
            (done, fuel.used())
        });
        Ok(Errand { turning: Some(turning), charged: 0 })
    }

    /// Goes on as far as the allowance goes: what the work came to, once it is done.
    pub(super) fn go_on(&mut self, allowance: &Rc<Allowance>) -> Option<T> {
        let Some(turning) = &mut self.turning else { unreachable!("it is not asked again when it is done") };
        match turning.resume(Ok(allowance.left.get())) {
            CoroutineResult::Yield(work) => {
                allowance.charge(work);
                self.charged = self.charged.saturating_add(work);
                // A suspended one waits for the next poll, whatever was left.
                allowance.left.set(0);
                None
            }
            CoroutineResult::Return((done, used)) => {
                allowance.charge(used.saturating_sub(self.charged));
                self.keep_stack();
                Some(done)
            }
        }
    }

    fn keep_stack(&mut self) {
        let stack = self.turning.take().map(Turning::into_stack);
        // A thread that ends keeps none.
        let _ = STACKS.try_with(|stacks| {
            let mut stacks = stacks.borrow_mut();
            if stacks.len() < limits::FIBERS_KEPT_MAX {
                stacks.extend(stack);
            }
        });
    }
}

impl<T: 'static> Drop for Errand<T> {
    /// Work under way is cut rather than dropped, so that it ends in order.
    fn drop(&mut self) {
        if let Some(turning) = &mut self.turning {
            while turning.started() && !turning.done() {
                if let CoroutineResult::Return(_) = turning.resume(Err(Cut::Aborted)) {
                    break;
                }
            }
        }
    }
}

struct Suspending<'y>(&'y Yielder<Result<u64, Cut>, u64>);

impl Refill for Suspending<'_> {
    fn spent(&self, work: u64) -> Result<u64, Cut> {
        self.0.suspend(work)
    }
}
