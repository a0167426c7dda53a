//! Starts through the sharded runtime: in place, or in batches to the shards.

use std::collections::{BTreeSet, VecDeque};
use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::Thread;

use expressway::engine::Outcome;
use expressway::program::{Program, StateKind};
use expressway::runtime::{Engine, Handle, Machine, Profile, StartError, Status};

use super::{Clock, Lane, Simulated};
use crate::inputs::Inputs;
use crate::plan::{Faults, Slow, Target};
use crate::record::{End, Interval, Stamp};
use crate::workloads::Workload;

/// A machine in a separate engine.
#[derive(Clone)]
pub struct Served {
    engine: Engine,
    machine: Machine,
}

impl Served {
    /// Sets an engine up for a workload. Its tasks are answered by the load test.
    ///
    /// # Errors
    /// When the definition is refused, or the system has no threads for us.
    pub fn new(
        workload: &Workload,
        program: &Program,
        target: &Target,
        shards: usize,
        faults: &Faults,
        seed: u64,
    ) -> Result<Served, String> {
        let mut builder = Engine::builder().profile(Profile::Open).shards(shards);
        let resources: BTreeSet<String> =
            program.tasks.iter().map(|(_, task)| task.resource.arn.to_string()).collect();
        for resource in resources {
            builder = builder.async_handler(resource, Simulated::new(target.task_time, faults, seed));
        }
        let engine = builder.build().map_err(|error| error.to_string())?;
        let machine = engine
            .create_state_machine("loadtest", &workload.definition)
            .map_err(|error| error.to_string())?;
        Ok(Served { engine, machine })
    }
}

/// Whether executions neither wait nor call.
pub(super) fn is_pure(program: &Program) -> bool {
    program.states.iter().all(|(_, state)| {
        !matches!(state.kind, StateKind::Task(_) | StateKind::Wait(_))
            && state.recovery.is_none_or(|handlers| program.recovery[handlers].retry.is_empty())
    })
}

/// One start at a time, on the thread that sends it: `Engine::run`.
pub struct Runs {
    served: Served,
    inputs: Inputs,
    clock: Clock,
}

impl Runs {
    /// A lane into the engine.
    pub fn new(served: Served, inputs: Inputs, clock: Clock) -> Runs {
        Runs { served, inputs, clock }
    }
}

impl Lane for Runs {
    fn send(&mut self, n: u64, stamp: Stamp, interval: &mut Interval) -> u64 {
        let input = self.inputs.get(n);
        interval.sent(stamp, input.len());
        let mut context = Context::from_waker(Waker::noop());
        let mut run = pin!(self.served.engine.run(&self.served.machine, input));
        // What neither waits nor calls is pending only to let others have their turn.
        let result = loop {
            if let Poll::Ready(result) = run.as_mut().poll(&mut context) {
                break result;
            }
        };
        let now = self.clock.now();
        match result {
            Ok(outcome) => {
                let end = end_of(outcome.status);
                if let Some(fault) = &outcome.fault {
                    interval.problem(stamp, fault.error.as_deref().unwrap_or("failed without a name"));
                }
                interval.ended(stamp, now, end, black_box(outcome.json()).len());
            }
            Err(error) => interval.refused(stamp, End::Refused, &error.to_string()),
        }
        now
    }
}

fn end_of(status: Status) -> End {
    match status {
        Status::Succeeded => End::Succeeded,
        Status::TimedOut => End::TimedOut,
        Status::Aborted => End::Aborted,
        Status::Failed | Status::Running => End::Failed,
    }
}

/// Where shards write down what ended.
struct Ledger {
    /// One for each thread that comes by, more or less.
    pages: Vec<Mutex<Interval>>,
    in_flight: AtomicUsize,
    /// The sender, which sleeps when nothing is due, and how few must be in flight for it to be woken.
    sender: Thread,
    wake_at: usize,
    clock: Clock,
}

impl Ledger {
    fn page(&self) -> MutexGuard<'_, Interval> {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static THREAD: usize = THREADS.fetch_add(1, Ordering::Relaxed);
        }
        let page = THREAD.with(|thread| *thread) % self.pages.len();
        // A page is whole between any two statements.
        self.pages[page].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn left(&self, executions: usize) {
        let before = self.in_flight.fetch_sub(executions, Ordering::Relaxed);
        if before > self.wake_at && before - executions <= self.wake_at {
            self.sender.unpark();
        }
    }
}

/// Starts that are handed to the shards, as many at once as are due.
pub struct Batches {
    served: Served,
    inputs: Inputs,
    ledger: Arc<Ledger>,
    gathered: Vec<(u64, Stamp)>,
    abort: Option<Slow>,
    random: fastrand::Rng,
    /// What pages are exchanged for.
    blank: Option<Interval>,
    /// Executions that are to be aborted, and when.
    doomed: VecDeque<(u64, Stamp, Handle)>,
}

/// Starts that are handed over at once, at most: they wait for each other.
const GATHERED_MAX: usize = 256;
const PAGES: usize = 16;

impl Batches {
    /// A lane into the engine, made on the thread that sends. `window` is how many starts are to be in flight in a
    /// closed model.
    pub fn new(
        served: Served,
        inputs: Inputs,
        clock: Clock,
        window: usize,
        abort: Option<Slow>,
        seed: u64,
    ) -> Batches {
        let ledger = Ledger {
            pages: Vec::new(),
            in_flight: AtomicUsize::new(0),
            sender: std::thread::current(),
            wake_at: window / 2,
            clock,
        };
        let (gathered, blank, doomed) = Default::default();
        let (ledger, random) = (Arc::new(ledger), fastrand::Rng::with_seed(seed));
        Batches { served, inputs, ledger, gathered, abort, random, blank, doomed }
    }

    fn start_doomed(&mut self, n: u64, stamp: Stamp, after: u64, interval: &mut Interval) {
        match self.served.engine.start(&self.served.machine, self.inputs.get(n)) {
            Ok(handle) => {
                self.ledger.in_flight.fetch_add(1, Ordering::Relaxed);
                self.doomed.push_back((stamp.sent + after, stamp, handle));
            }
            Err(error) => interval.refused(stamp, End::Refused, &reason(&error)),
        }
    }

    fn abort_doomed(&mut self, now: u64, interval: &mut Interval) {
        let ledger = &self.ledger;
        self.doomed.retain(|(at, stamp, handle)| {
            let status = handle.status();
            if status != Status::Running {
                interval.ended(*stamp, now, end_of(status), 0);
                ledger.left(1);
                return false;
            }
            if *at <= now {
                handle.abort();
            }
            true
        });
    }

    fn hand_over(&mut self, interval: &mut Interval) {
        if self.gathered.is_empty() {
            return;
        }
        let gathered = std::mem::take(&mut self.gathered);
        let stamps: Box<[Stamp]> = gathered.iter().map(|&(_, stamp)| stamp).collect();
        let last = stamps.len();
        self.ledger.in_flight.fetch_add(last, Ordering::Relaxed);
        let ledger = Arc::clone(&self.ledger);
        let sink = move |n: u32, ended: expressway::runtime::inline::Ended<'_>| {
            thread_local! {
                static OUTPUT: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
            }
            let bytes = OUTPUT.with_borrow_mut(|output| {
                output.clear();
                ended.write_output(output);
                black_box(output.len())
            });
            let Some(&stamp) = stamps.get(n as usize) else { return };
            let now = ledger.clock.now();
            let mut page = ledger.page();
            match ended.outcome() {
                Outcome::Succeeded(_) => page.ended(stamp, now, End::Succeeded, bytes),
                Outcome::TimedOut => page.ended(stamp, now, End::TimedOut, bytes),
                Outcome::Aborted(_) => page.ended(stamp, now, End::Aborted, bytes),
                Outcome::Failed(fault) => {
                    page.ended(stamp, now, End::Failed, bytes);
                    page.problem(stamp, fault.error.as_deref().unwrap_or("failed without a name"));
                }
            }
            drop(page);
            ledger.left(1);
        };
        let inputs = &self.inputs;
        let texts = gathered.iter().map(|&(n, _)| inputs.get(n));
        let batch = self.served.engine.start_batch_with(&self.served.machine, texts, sink);
        if let Some(throttled) = &batch.refused {
            let accepted = batch.counts().accepted as usize;
            for (_, stamp) in gathered.iter().skip(accepted) {
                interval.refused(*stamp, End::Refused, &throttled.limit.to_string());
            }
            self.ledger.left(last - accepted.min(last));
        }
        self.gathered = gathered;
        self.gathered.clear();
    }
}

fn reason(error: &StartError) -> String {
    match error {
        StartError::Throttled(throttled) => throttled.limit.to_string(),
        other => other.to_string(),
    }
}

impl Lane for Batches {
    fn begin(&mut self, blank: &Interval) {
        self.blank = Some(blank.clone());
        // There is no other reference yet: nothing was started.
        if let Some(ledger) = Arc::get_mut(&mut self.ledger) {
            ledger.pages = (0..PAGES).map(|_| Mutex::new(blank.clone())).collect();
        }
    }

    fn send(&mut self, n: u64, stamp: Stamp, interval: &mut Interval) -> u64 {
        interval.sent(stamp, self.inputs.get(n).len());
        match &self.abort {
            Some(abort) if self.random.f64() < abort.share => {
                let after = u64::try_from(abort.after.as_nanos()).unwrap_or(u64::MAX);
                self.start_doomed(n, stamp, after, interval);
            }
            _ => self.gathered.push((n, stamp)),
        }
        if self.gathered.len() >= GATHERED_MAX {
            self.hand_over(interval);
        }
        stamp.sent
    }

    fn turn(&mut self, now: u64, interval: &mut Interval) {
        self.hand_over(interval);
        self.abort_doomed(now, interval);
    }

    fn collect(&mut self, interval: &mut Interval) {
        let Some(blank) = &mut self.blank else { return };
        for page in &self.ledger.pages {
            let mut page = page.lock().unwrap_or_else(PoisonError::into_inner);
            if page.is_blank() {
                continue;
            }
            // Shards are not to wait for the additions.
            std::mem::swap(&mut *page, blank);
            drop(page);
            interval.add(blank);
            blank.clear();
        }
    }

    fn in_flight(&self) -> usize {
        self.ledger.in_flight.load(Ordering::Relaxed) + self.gathered.len()
    }
}
