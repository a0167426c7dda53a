//! The running child executions of a Map Run.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use super::super::completion::SharedTasks;
use super::super::engine::Engine;
use super::super::handle::RunningBatch;
use super::super::inline::Ended as EndedExecution;
use super::super::machine::Published;
use super::super::outcome::{Outcome, Status};
use super::inputs::Input;
use super::{ChildFuture, MapRun, MapRuns, Setup, Share, StartedChild};
use crate::arn::Arn;
use crate::engine::{self, Execution, TaskCall};
use crate::fault::Fault;
use crate::json;
use crate::program::Program;
use crate::task::{Answer, Tasks};

/// The outcome of a child.
#[derive(Debug)]
pub(super) struct End {
    pub(super) share: Share,
    pub(super) status: Status,
    /// JSON text, when it succeeded.
    pub(super) output: Vec<u8>,
    pub(super) fault: Option<Fault>,
    /// Details, if they are wanted.
    pub(super) child: Option<Box<Child>>,
}

/// Details of a child beside its outcome.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) arn: String,
    pub(super) name: String,
    pub(super) machine_arn: String,
    pub(super) input: Vec<u8>,
    pub(super) started_ms: u64,
    pub(super) stopped_ms: u64,
}

/// Shared by children and their Map Run.
#[derive(Debug, Default)]
pub(super) struct Ends {
    state: Mutex<EndsState>,
}

#[derive(Debug, Default)]
struct EndsState {
    ended: Vec<End>,
    /// Children whose futures were woken.
    woken: Vec<u64>,
    waker: Option<Waker>,
}

impl Ends {
    fn lock(&self) -> MutexGuard<'_, EndsState> {
        // It is consistent between any two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the Map Run.
    pub(super) fn wake(&self) {
        let waker = self.lock().waker.take();
        waker.into_iter().for_each(Waker::wake);
    }

    fn tell(&self, change: impl FnOnce(&mut EndsState)) {
        let mut state = self.lock();
        change(&mut state);
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }
}

struct ChildWaker {
    ends: Arc<Ends>,
    index: u64,
}

impl Wake for ChildWaker {
    fn wake(self: Arc<Self>) {
        self.ends.tell(|state| state.woken.push(self.index));
    }
}

/// A child that is stopped when this is dropped.
struct Held {
    future: ChildFuture,
    waker: Waker,
    share: Share,
    /// Its ARN and its input, where they are wanted.
    child: Option<(String, Vec<u8>)>,
}

/// The children of a Map Run.
pub(super) struct Children {
    ends: Arc<Ends>,
    held: HashMap<u64, Held>,
    /// Those that are not held one by one. When there are more than `batches_max`, those that are over are dropped.
    batches: Vec<RunningBatch>,
    batches_max: usize,
    running: u64,
    /// Recent averages of the bytes of a child's input and output.
    input_bytes: u64,
    output_bytes: u64,
}

/// The result of starting inputs.
pub(super) struct Started {
    /// Those for which there was no room.
    pub(super) rest: Vec<Input>,
    pub(super) begun: Amount,
    /// Of those that began: children whose status was `PENDING_REDRIVE`.
    pub(super) redriven: Amount,
}

/// So many children, with so many items.
#[derive(Clone, Copy, Default)]
pub(super) struct Amount {
    pub(super) children: u64,
    pub(super) items: u64,
}

impl Amount {
    pub(super) fn add(&mut self, share: Share) {
        self.children += 1;
        self.items += u64::from(share.items);
    }
}

impl Children {
    pub(super) fn new(ends: Arc<Ends>) -> Children {
        let (input_bytes, output_bytes) = (BYTES_ASSUMED, BYTES_ASSUMED);
        let (held, batches, batches_max) = (HashMap::new(), Vec::new(), BATCHES_MIN);
        Children { ends, held, batches, batches_max, running: 0, input_bytes, output_bytes }
    }

    pub(super) fn running(&self) -> u64 {
        self.running
    }

    /// How many children may begin, with a limit of concurrent ones. Children that end at once deliver their outputs
    /// together, so their number is limited by memory.
    pub(super) fn room(&self, engine: &Engine, setup: &Setup, at_once: u64) -> u64 {
        let fits = TOGETHER_BYTES_MAX / (self.input_bytes + self.output_bytes).max(1);
        let at_once = if are_over_at_once(engine, setup) { at_once.min(fits.max(1)) } else { at_once };
        at_once.saturating_sub(self.running)
    }

    /// Completes when a child has ended, or at once after others had their turn.
    pub(super) async fn changed(&self, at_once: bool) {
        let mut is_second = false;
        poll_fn(|context| {
            let mut state = self.ends.lock();
            if !state.ended.is_empty() || !state.woken.is_empty() || is_second {
                return Poll::Ready(());
            }
            state.waker = Some(context.waker().clone());
            drop(state);
            // Any wake-up is worth a check: the settings may have changed.
            is_second = true;
            if at_once {
                context.waker().wake_by_ref();
            }
            Poll::Pending
        })
        .await;
    }

    /// The outcomes of children since the last call.
    pub(super) fn take_ended(&mut self) -> Vec<End> {
        let mut state = self.ends.lock();
        let (mut ended, woken) = (std::mem::take(&mut state.ended), std::mem::take(&mut state.woken));
        drop(state);
        for index in woken {
            ended.extend(self.poll(index));
        }
        self.running -= ended.len() as u64;
        for end in &ended {
            self.output_bytes = lately(self.output_bytes, end.output.len());
        }
        ended
    }

    fn poll(&mut self, index: u64) -> Option<End> {
        // If it is woken twice, it is gone the second time.
        let mut held = self.held.remove(&index)?;
        let polled = held.future.as_mut().poll(&mut Context::from_waker(&held.waker));
        let outcome = match polled {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => {
                self.held.insert(index, held);
                return None;
            }
        };
        Some(End {
            share: held.share,
            status: outcome.status,
            output: outcome.json().to_vec(),
            fault: outcome.fault.clone(),
            child: held.child.map(|(arn, input)| Box::new(child_of(arn, input, &outcome))),
        })
    }

    /// Whether the children of this Map Run are kept.
    pub(super) fn are_kept(engine: &Engine, setup: &Setup) -> bool {
        keeper(&Published::of(engine.inner.number, Arc::clone(&setup.child)), setup).is_some()
    }

    pub(super) fn start(
        &mut self,
        engine: &Engine,
        run: &Arc<MapRun>,
        setup: &Setup,
        inputs: Vec<Input>,
        wants_all: bool,
    ) -> Result<Started, Fault> {
        let child = Published::of(engine.inner.number, Arc::clone(&setup.child));
        let keeper = keeper(&child, setup);
        if are_over_at_once(engine, setup) {
            for input in &inputs {
                self.input_bytes = lately(self.input_bytes, input.text.len());
            }
        }
        let Some(keeper) = keeper else {
            return Ok(self.start_together(engine, &child, setup, inputs, wants_all));
        };
        let (mut begun, mut redriven) = (Amount::default(), Amount::default());
        let mut rest = inputs.into_iter();
        while let Some(input) = rest.next() {
            let tasks = setup.tasks.clone().map(|tasks| Box::new(OfParent(tasks)) as Box<dyn Tasks + Send>);
            let text = String::from_utf8_lossy(&input.text);
            let started = keeper.start((run, input.share.index), &child, &text, tasks)?;
            match started {
                Some(StartedChild { arn, end, waited_for_redrive }) => {
                    begun.add(input.share);
                    if waited_for_redrive {
                        redriven.add(input.share);
                    }
                    self.hold(end, input.share, wants_all.then_some((arn, input.text)));
                }
                None => {
                    let rest = std::iter::once(input).chain(rest).collect();
                    return Ok(Started { rest, begun, redriven });
                }
            }
        }
        Ok(Started { rest: Vec::new(), begun, redriven })
    }

    fn hold(&mut self, future: ChildFuture, share: Share, child: Option<(String, Vec<u8>)>) {
        let index = share.index;
        self.running += 1;
        let waker = Waker::from(Arc::new(ChildWaker { ends: Arc::clone(&self.ends), index }));
        self.held.insert(index, Held { future, waker, share, child });
        // It is polled soon, for the first time.
        self.ends.lock().woken.push(index);
    }

    fn keep_running(&mut self, batch: RunningBatch) {
        if self.batches.len() >= self.batches_max {
            self.batches.retain(|batch| !batch.state.is_over());
            self.batches_max = BATCHES_MIN.max(2 * self.batches.len());
        }
        self.batches.push(batch);
    }

    /// Starts children that are not kept. As executions of one batch, they need nothing here while they wait.
    fn start_together(
        &mut self,
        engine: &Engine,
        child: &Published,
        setup: &Setup,
        mut inputs: Vec<Input>,
        wants_all: bool,
    ) -> Started {
        let time = wants_all.then(|| Arc::clone(&setup.time));
        let ends = Arc::clone(&self.ends);
        let shares: Box<[Share]> = inputs.iter().map(|input| input.share).collect();
        let texts = inputs.iter().map(|input| &input.text);
        let (batch, running) =
            engine.start_batch_abortable(child, texts, setup.tasks.clone(), move |n, ended| {
                let mut end = end(shares[n as usize], ended);
                end.child = time.as_ref().map(|time| Box::new(child_that_ended(ended, time.now_ms())));
                ends.tell(|state| state.ended.push(end));
            });
        let begun = batch.counts().accepted;
        if begun > 0 {
            self.keep_running(running);
        }
        let at = usize::try_from(begun).unwrap_or(inputs.len()).min(inputs.len());
        let rest = inputs.split_off(at);
        self.running += begun;
        let items = inputs.iter().map(|input| u64::from(input.share.items)).sum();
        Started { rest, begun: Amount { children: begun, items }, redriven: Amount::default() }
    }
}

/// Batches before those that are over are looked for the first time.
const BATCHES_MIN: usize = 16;

/// Bytes of inputs and outputs of children that are started together.
pub(super) const TOGETHER_BYTES_MAX: u64 = 4 << 20;
/// Assumed for an input, or an output, before the first one.
const BYTES_ASSUMED: u64 = 64 << 10;

/// A moving average in which the last one counts a sixteenth.
fn lately(average: u64, bytes: usize) -> u64 {
    (average * 15 + bytes as u64) / 16
}

/// Whether children neither wait nor call, and are not kept.
fn are_over_at_once(engine: &Engine, setup: &Setup) -> bool {
    setup.child.is_pure && setup.tasks.is_none() && !Children::are_kept(engine, setup)
}

fn keeper<'s>(child: &Published, setup: &'s Setup) -> Option<&'s Arc<dyn MapRuns>> {
    setup.keeper.as_ref().filter(|keeper| keeper.keeps(child))
}

fn end(share: Share, ended: EndedExecution<'_>) -> End {
    let (mut output, mut fault) = (Vec::new(), None);
    let arena = &ended.execution().arena;
    let status = Status::of(ended.outcome());
    match ended.outcome() {
        engine::Outcome::Succeeded(value) => {
            output.reserve_exact(arena.size(*value) as usize);
            json::write(arena, *value, &mut output);
        }
        engine::Outcome::Failed(why) | engine::Outcome::Aborted(why) => fault = Some(why.clone()),
        engine::Outcome::TimedOut => {}
    }
    End { share, status, output, fault, child: None }
}

fn child_that_ended(ended: EndedExecution<'_>, stopped_ms: u64) -> Child {
    let execution = ended.execution();
    let mut name = Vec::new();
    execution.identity.write_execution_name(execution.seed(), &mut name);
    let mut input = Vec::new();
    json::write(&execution.arena, execution.input(), &mut input);
    Child {
        arn: execution.execution_arn(),
        name: String::from_utf8_lossy(&name).into_owned(),
        machine_arn: execution.identity.state_machine_arn.to_string(),
        input,
        started_ms: execution.started_ms(),
        stopped_ms,
    }
}

fn child_of(arn: String, input: Vec<u8>, outcome: &Outcome) -> Child {
    let parsed = Arn::parse(&arn);
    // The name of an Express execution is followed by a UUID.
    let name = parsed
        .and_then(|arn| arn.qualifier())
        .map_or("", |rest| rest.split_once(':').map_or(rest, |it| it.0));
    let name = name.to_owned();
    let machine_arn =
        parsed.map_or_else(String::new, |arn| format!("{}stateMachine:{}", arn.prefix, arn.name()));
    Child { arn, name, machine_arn, input, started_ms: outcome.started_ms, stopped_ms: outcome.stopped_ms }
}

/// The tasks of children are done by the handlers of their parent's tasks.
struct OfParent(SharedTasks);

impl Tasks for OfParent {
    fn start(&mut self, program: &Program, execution: &mut Execution, call: &TaskCall) -> Answer {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).start(program, execution, call)
    }

    fn answers(&self, state: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).answers(state)
    }
}
