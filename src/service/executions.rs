//! Standard executions: kept by their ARN while they run, and afterwards as long as there is room.

mod listed;
mod over;

use std::collections::{BTreeMap, HashSet};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use super::closed::{Closed, Rank};
use super::cold::Cold;
use super::kept_map_runs::KeptMapRuns;
use super::machine::{StateMachine, Target};
use super::redrives::Redrives;
use super::registry::Registry;
use super::settings::Settings;
use super::status_events::StatusEvents;
use super::{Error, Exception};
use crate::fault::Fault;
use crate::journal::partition_of;
use crate::limits::JOURNAL_PARTITIONS;
use crate::observe::LiveHistory;
#[cfg(feature = "clustered")]
use crate::runtime::partition_of_id;
use crate::runtime::{Engine, Handle, Outcome};

/// Standard executions.
pub(super) struct Executions {
    machines: Arc<Registry<StateMachine>>,
    pub(super) by_arn: DashMap<Box<str>, Arc<Execution>>,
    /// The same, by the ARN of their machine, or of their Map Run, in the order they were started.
    pub(super) by_machine: DashMap<Box<str>, BTreeMap<u64, Arc<Execution>>>,
    started: AtomicU64,
    /// Whether several nodes start executions.
    has_partitions: bool,
    /// Closed executions that stay in memory until they are forgotten, and closed ones that may move to disk.
    closed: [Mutex<Closed<Execution>>; 2],
    /// Bytes of the latter.
    leaving_bytes: AtomicUsize,
    /// When the retention of the oldest of them is over.
    expires_ms: AtomicU64,
    /// Open ones.
    open: AtomicUsize,
    open_max: usize,
    /// Bytes of the histories of running ones.
    pub(super) open_bytes: Arc<AtomicUsize>,
    bytes_max: usize,
    /// The engine whose journal has them, if they are durable.
    pub(super) engine: Option<Engine>,
    /// Those that are not in memory.
    pub(super) cold: Option<Arc<Cold>>,
    pub(super) map_runs: KeptMapRuns,
    /// Notified when the status of an execution changes.
    pub(super) status_events: Option<StatusEvents>,
}

/// What an execution takes in tables, and in allocations beside its text.
const TABLES_BYTES: usize = 768;

/// A Standard execution.
pub(super) struct Execution {
    pub(super) arn: Box<str>,
    pub(super) name: Box<str>,
    pub(super) target: Target,
    pub(super) input: Box<str>,
    pub(super) started_ms: u64,
    pub(super) trace_header: Option<Box<str>>,
    pub(super) history: LiveHistory,
    /// The attempt at a task that started it, if it is durable.
    pub(super) parent: Option<String>,
    /// The ARN of the Map Run that it is a child of.
    pub(super) map_run: Option<Box<str>>,
    /// Its number among all that were started.
    pub(super) number: u64,
    /// Its number in the journal.
    pub(super) recorded: Option<u64>,
    run: Mutex<Run>,
    kept: Weak<Executions>,
}

/// The status. The handle is polled with the execution itself as its waker, so its end is noticed at once.
#[derive(Default)]
pub(super) struct Run {
    pub(super) handle: Option<Handle>,
    pub(super) outcome: Option<Arc<Outcome>>,
    /// It has left for another node.
    has_left: bool,
    wakers: Vec<Waker>,
    pub(super) redrives: Redrives,
    /// How many changes of its status were [delivered](super::status_events), or were given up.
    pub(super) delivered: u32,
}

impl Run {
    /// Whether no caller waits for its end.
    pub(super) fn is_unwatched(&self) -> bool {
        self.wakers.is_empty()
    }
}

/// The parts of an execution, before it is started.
pub(super) struct Draft {
    pub(super) arn: String,
    pub(super) name: String,
    pub(super) target: Target,
    pub(super) input: String,
    pub(super) started_ms: u64,
    pub(super) trace_header: Option<String>,
    pub(super) history: LiveHistory,
    /// Its number among all that were started.
    pub(super) number: u64,
    /// The attempt at a task that starts it, if that is durable.
    pub(super) parent: Option<String>,
    /// The ARN of the Map Run that it is a child of.
    pub(super) map_run: Option<Box<str>>,
}

impl Wake for Execution {
    fn wake(self: Arc<Self>) {
        self.look();
    }
}

impl Execution {
    pub(super) fn run(&self) -> MutexGuard<'_, Run> {
        // It is whole between any two statements.
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same, unless it is locked.
    pub(super) fn try_run(&self) -> Option<MutexGuard<'_, Run>> {
        self.run.try_lock().ok()
    }

    /// Ends it at its next transition, if its state machine is deleted (API reference, `DeleteStateMachine`). An
    /// Express execution runs to its end.
    fn abort_at_next_state(&self) {
        if let Some(handle) = &self.run().handle
            && !self.target.machine.is_express()
        {
            handle.abort_at_next_state();
        }
    }

    /// Checks whether it is over.
    pub(super) fn look(self: &Arc<Self>) {
        let waker = Waker::from(Arc::clone(self));
        let mut run = self.run();
        let Some(handle) = &mut run.handle else { return };
        let Poll::Ready(outcome) = pin!(handle).poll(&mut Context::from_waker(&waker)) else { return };
        let (outcome, kept) = (Arc::new(outcome), self.kept.upgrade());
        // Before the outcome is visible, so that readers that see it find the execution in the list of closed ones.
        let forgotten = kept.as_ref().map(|kept| kept.keep_closed(self, &outcome));
        run.handle = None;
        run.outcome = Some(outcome);
        if let Some(kept) = &kept {
            kept.tell_status(self, &mut run);
        }
        let wakers = std::mem::take(&mut run.wakers);
        drop(run);
        if let Some(kept) = kept {
            kept.open.fetch_sub(1, Ordering::Relaxed);
            kept.forget(forgotten.unwrap_or_default());
            kept.forget_if_deleting(&self.target.machine.arn);
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Its outcome, if it is over.
    pub(super) fn outcome(&self) -> Option<Arc<Outcome>> {
        self.run().outcome.clone()
    }

    /// Waits for its end; `None`, if it leaves for another node meanwhile.
    pub(super) async fn ended(&self) -> Option<Arc<Outcome>> {
        poll_fn(|context| {
            let mut run = self.run();
            match &run.outcome {
                Some(outcome) => Poll::Ready(Some(Arc::clone(outcome))),
                None if run.has_left => Poll::Ready(None),
                None => {
                    run.wakers.retain(|waker| !waker.will_wake(context.waker()));
                    run.wakers.push(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Completes when its start is durable; `None` when it is over, because then it is durable.
    pub(super) fn recorded(&self) -> Option<impl Future<Output = ()> + Send + use<>> {
        self.run().handle.as_ref().map(Handle::recorded)
    }

    /// Waits for its end, and stops it, with this cause, when the waiter is dropped. `None`, if it leaves for another node
    /// meanwhile.
    pub(super) async fn await_or_stop(&self, cause: Option<&str>) -> Option<Arc<Outcome>> {
        let mut awaited = Awaited { execution: self, cause, over: false };
        let outcome = self.ended().await;
        awaited.over = true;
        outcome
    }

    /// Stops it, if it runs.
    pub(super) fn stop(&self, fault: Fault) {
        let handle = self.run().handle.clone();
        if let Some(handle) = handle {
            handle.abort_with(fault);
        }
    }

    /// Bytes it takes, roughly.
    fn bytes(&self, outcome: &Outcome) -> usize {
        let output = outcome.json().len() + outcome.stopped().map_or(0, |stopped| stopped.len());
        Execution::bytes_of(&self.arn, &self.input) + output + self.history.bytes()
    }

    /// Bytes of an execution with this ARN and input, roughly, without its history and its output.
    pub(super) fn bytes_of(arn: &str, input: &str) -> usize {
        size_of::<Execution>() + TABLES_BYTES + 4 * arn.len() + input.len()
    }

    /// The list that it is in: that of its Map Run, or of its machine.
    pub(super) fn list(&self) -> &str {
        self.map_run.as_deref().unwrap_or(&self.target.machine.arn)
    }

    /// Its place in a list: by its end, or, while it runs, by its start (measured).
    pub(super) fn rank(&self) -> Rank {
        (self.outcome().map_or(self.started_ms, |outcome| outcome.stopped_ms), self.number)
    }
}

impl Drop for Executions {
    fn drop(&mut self) {
        if let Some(cold) = &self.cold {
            cold.close();
        }
        // An execution that was left open refers to the engine, and the engine to it: neither would be dropped.
        for execution in &self.by_arn {
            execution.run().handle = None;
        }
    }
}

/// Stops the execution when it is dropped before the end.
struct Awaited<'e> {
    execution: &'e Execution,
    cause: Option<&'e str>,
    over: bool,
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.execution.stop(Fault { error: None, cause: self.cause.map(str::to_owned) });
        }
    }
}

/// The number of an execution in lists, where several nodes start executions.
pub(super) fn number_in_partition(number: u64, arn: &str) -> u64 {
    number * u64::from(JOURNAL_PARTITIONS) + u64::from(partition_of(arn))
}

impl Executions {
    pub(super) fn new(
        settings: &Settings,
        machines: Arc<Registry<StateMachine>>,
        engine: Option<Engine>,
        cold: Option<Arc<Cold>>,
    ) -> Executions {
        let bytes_max = settings.executions_bytes_max;
        // Executions that move to disk are not forgotten for lack of memory.
        let closed = |bytes_max| Mutex::new(Closed::new(bytes_max, settings.retention_ms));
        Executions {
            machines,
            by_arn: DashMap::new(),
            by_machine: DashMap::new(),
            started: AtomicU64::new(0),
            has_partitions: engine.as_ref().is_some_and(Engine::has_partitions),
            closed: [closed(bytes_max), closed(usize::MAX)],
            leaving_bytes: AtomicUsize::new(0),
            expires_ms: AtomicU64::new(u64::MAX),
            open: AtomicUsize::new(0),
            open_max: settings.open_executions_max,
            open_bytes: Arc::default(),
            bytes_max,
            engine,
            cold,
            map_runs: KeptMapRuns::default(),
            status_events: None,
        }
    }

    /// Stops all that run, and drops all. How many there were.
    pub(super) fn forget_all(&self, fault: Fault) -> usize {
        let all: Vec<Arc<Execution>> = self.by_arn.iter().map(|entry| Arc::clone(&entry)).collect();
        for execution in &all {
            execution.stop(fault.clone());
            self.by_arn.remove(&execution.arn);
            self.forget_map_runs(execution);
        }
        self.by_machine.clear();
        self.forget_closed();
        all.len()
    }

    /// Refuses to begin one more while the histories of running ones take too much.
    pub(super) fn admit(&self) -> Result<(), Error> {
        if self.open.load(Ordering::Relaxed) >= self.open_max {
            let message = format!(
                "The maximum number of running executions has been reached: {} (--open-executions-max)",
                self.open_max
            );
            return Err(Error::new(Exception::ExecutionLimitExceeded, message));
        }
        let message = if self.open_bytes.load(Ordering::Relaxed) > self.bytes_max {
            "Rate exceeded: the memory for histories of open executions is used up"
        } else if self.leaving_bytes.load(Ordering::Relaxed) > self.bytes_max {
            "Rate exceeded: executions that are over are not written to the disk as fast as they end"
        } else {
            return Ok(());
        };
        let mut error = Error::new(Exception::ThrottlingException, message);
        error.retry_after = Some(Duration::from_millis(100));
        Err(error)
    }

    pub(super) fn get(&self, arn: &str) -> Option<Arc<Execution>> {
        self.by_arn.get(arn).map(|execution| Arc::clone(&execution))
    }

    /// Starts an execution, unless there is one of this ARN, in memory or elsewhere, and keeps it.
    pub(super) fn start(
        self: &Arc<Self>,
        mut draft: Draft,
        elsewhere: impl FnOnce(&str) -> Result<Option<Arc<Execution>>, Error>,
        start: impl FnOnce(&Draft) -> Result<Handle, Error>,
    ) -> Result<Result<Arc<Execution>, Arc<Execution>>, Error> {
        let execution = match self.by_arn.entry((*draft.arn).into()) {
            Entry::Occupied(existing) => return Ok(Err(Arc::clone(existing.get()))),
            Entry::Vacant(free) => {
                if let Some(existing) = elsewhere(&draft.arn)? {
                    return Ok(Err(existing));
                }
                draft.number = self.number(&draft.arn);
                let handle = start(&draft)?;
                let recorded = handle.recorded_id();
                let run = Run { handle: Some(handle), ..Run::default() };
                self.opened();
                let execution = self.execution(draft, recorded, run);
                free.insert(Arc::clone(&execution));
                execution
            }
        };
        let mut of_machine = self.by_machine.entry(execution.list().into()).or_default();
        of_machine.insert(execution.number, Arc::clone(&execution));
        drop(of_machine);
        // Either this or the deletion of its state machine comes last, and sees the other.
        if self.machines.get(&execution.target.machine.arn).is_some_and(|machine| machine.is_deleting) {
            execution.abort_at_next_state();
        }
        self.tell_status(&execution, &mut execution.run());
        execution.look();
        Ok(Ok(execution))
    }

    /// The number of an execution that begins. Where several nodes start executions, it ends with the partition, so that
    /// no two executions have the same.
    fn number(&self, arn: &str) -> u64 {
        let next = self.started.fetch_add(1, Ordering::Relaxed);
        if self.has_partitions { number_in_partition(next, arn) } else { next }
    }

    fn execution(self: &Arc<Self>, draft: Draft, recorded: Option<u64>, run: Run) -> Arc<Execution> {
        let Draft { arn, name, target, input, started_ms, trace_header, history, number, parent, map_run } =
            draft;
        Arc::new(Execution {
            arn: arn.into(),
            name: name.into(),
            target,
            input: input.into(),
            started_ms,
            trace_header: trace_header.map(Into::into),
            history,
            parent,
            map_run,
            number,
            recorded,
            run: Mutex::new(run),
            kept: Arc::downgrade(self),
        })
    }

    /// Lets the executions of a partition go, which go on in another node, or are over and kept there.
    #[cfg(feature = "clustered")]
    pub(super) fn release(&self, partition: u16) {
        let is_of =
            |execution: &Execution| execution.recorded.is_some_and(|id| partition_of_id(id) == partition);
        let all: Vec<Arc<Execution>> =
            self.by_arn.iter().filter(|entry| is_of(entry)).map(|entry| Arc::clone(&entry)).collect();
        for execution in all {
            self.by_arn.remove(&execution.arn);
            self.unlist(&execution);
            self.map_runs.remove(&execution.arn);
            let mut run = execution.run();
            (run.handle, run.has_left) = (None, true);
            let (outcome, wakers) = (run.outcome.clone(), std::mem::take(&mut run.wakers));
            drop(run);
            match outcome {
                Some(outcome) => drop(self.take_closed(&execution, &outcome)),
                None => drop(self.open.fetch_sub(1, Ordering::Relaxed)),
            }
            wakers.into_iter().for_each(Waker::wake);
        }
    }

    /// Stops the children of a Map Run that still run.
    pub(super) fn stop_children(&self, map_run: &str) {
        let children = self.by_machine.get(map_run);
        let children: Option<Vec<_>> = children.map(|children| children.values().cloned().collect());
        let stop = |child: &Arc<Execution>| child.stop(Fault { error: None, cause: None });
        children.iter().flatten().for_each(stop);
    }

    /// Restores an execution of an earlier process, which continues, or is over.
    pub(super) fn put_back<E>(
        self: &Arc<Self>,
        draft: Draft,
        (recorded, redrives, delivered): (u64, (u32, u64), Option<u32>),
        stands: impl FnOnce(&Draft) -> Result<(Option<Handle>, Option<Outcome>), E>,
    ) -> Result<(), E> {
        let number =
            if self.has_partitions { draft.number / u64::from(JOURNAL_PARTITIONS) } else { draft.number };
        self.started.fetch_max(number + 1, Ordering::Relaxed);
        // The entry is locked: a caller that looks it up waits until it is there.
        let entry = self.by_arn.entry((*draft.arn).into());
        let (handle, outcome) = stands(&draft)?;
        let execution = self.kept(draft, (recorded, redrives), handle, outcome);
        drop(entry.insert(Arc::clone(&execution)));
        self.list_again(&execution);
        self.tell_missed(&execution, delivered);
        match execution.outcome() {
            Some(outcome) => {
                let forgotten = self.keep_closed(&execution, &outcome);
                self.forget(forgotten);
            }
            None => {
                self.opened();
                execution.look();
            }
        }
        Ok(())
    }

    /// An execution of the journal, or of a row, which is not registered yet.
    pub(super) fn kept(
        self: &Arc<Self>,
        draft: Draft,
        (recorded, redrives): (u64, (u32, u64)),
        handle: Option<Handle>,
        outcome: Option<Outcome>,
    ) -> Arc<Execution> {
        let (outcome, redrives) = (outcome.map(Arc::new), Redrives::recovered(redrives));
        self.execution(draft, Some(recorded), Run { handle, outcome, redrives, ..Run::default() })
    }

    /// Puts an execution into its list.
    pub(super) fn list_again(&self, execution: &Arc<Execution>) {
        let list = execution.list().into();
        self.by_machine.entry(list).or_default().insert(execution.number, Arc::clone(execution));
    }

    /// Takes an execution out of its list.
    pub(super) fn unlist(&self, execution: &Execution) {
        if let Some(mut listed) = self.by_machine.get_mut(execution.list()) {
            listed.remove(&execution.number);
        }
        self.by_machine.remove_if(execution.list(), |_, executions| executions.is_empty());
    }

    /// The numbers of a machine's executions, or of a Map Run's, that are in memory.
    pub(super) fn numbers(&self, list: &str) -> HashSet<u64> {
        let listed = self.by_machine.get(list);
        listed.map_or_else(HashSet::new, |executions| executions.keys().copied().collect())
    }

    /// Executions of earlier processes that stay out of memory: the last of their numbers, and how many are open.
    pub(super) fn go_on_behind(&self, last_number: u64, open: usize) {
        self.started.fetch_max(last_number + 1, Ordering::Relaxed);
        self.open.fetch_add(open, Ordering::Relaxed);
    }

    /// Ends the executions of a state machine that is being deleted at their next transition, and forgets it, unless one
    /// of them runs.
    pub(super) fn end_if_deleting(&self, machine: &str) {
        if let Some(executions) = self.by_machine.get(machine) {
            executions.values().for_each(|execution| execution.abort_at_next_state());
        }
        self.forget_if_deleting(machine);
    }

    /// Forgets a state machine that is being deleted, unless an execution of it runs.
    pub(super) fn forget_if_deleting(&self, machine: &str) {
        if self.machines.get(machine).is_none_or(|machine| !machine.is_deleting) {
            return;
        }
        let runs = |executions: &BTreeMap<u64, Arc<Execution>>| {
            executions.values().any(|execution| execution.outcome().is_none())
        };
        if self.has_cold(machine) {
            return;
        }
        if !self.by_machine.get(machine).is_some_and(|executions| runs(&executions)) {
            self.machines.remove(machine);
        }
    }

    /// Whether executions of a machine are open and not in memory; also when that cannot be read.
    fn has_cold(&self, machine: &str) -> bool {
        let has_open = |cold: &Arc<Cold>| cold.has_open(machine, &self.numbers(machine)).unwrap_or(true);
        self.cold.as_ref().is_some_and(has_open)
    }

    /// How many are open, in memory or out of it.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// One more is open.
    pub(super) fn opened(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }
}
