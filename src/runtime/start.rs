//! How executions begin: one at a time, by name or with options, and in batches.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use dashmap::mapref::entry::Entry;

use super::admission::{Limit, Throttled};
use super::caller_thread;
use super::completion::{
    Batch, BatchState, Completion, IdentityOverrides, IdentityRef, Reply, SharedTasks, StartIdentity,
};
use super::engine::Engine;
use super::handle::{Handle, Running, RunningBatch};
use super::inbox::{Indexed, StartBatch};
use super::inline::Ended;
use super::input::Input;
use super::machine::{Machine, Published, Target, Version};
use super::outcome::{Counters, Outcome};
use super::shard::{bug, bug_outcome};
use crate::engine::Execution;
use crate::json::{self, Arena, ReadError};
use crate::limits;
use crate::observe::{Watch, Watcher};
use crate::task::Tasks;

/// Why an execution is not started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// There is no room for it.
    #[error(transparent)]
    Throttled(#[from] Throttled),
    /// Its input is larger than the service limit.
    #[error("the input has {0} bytes, more than the {max} allowed", max = limits::PAYLOAD_BYTES_MAX)]
    TooLarge(usize),
    /// Its input is not JSON.
    #[error("the input {verdict}: {0}", verdict = .0.verdict())]
    NotJson(#[from] ReadError),
    /// Its input cannot be written as JSON.
    #[error("the input cannot be written as JSON: {0}")]
    NotSerializable(String),
    /// An execution of this ARN runs.
    #[error("an execution '{0}' is already running")]
    AlreadyRuns(String),
    /// The state machine belongs to another engine.
    #[error("the state machine belongs to another engine")]
    Foreign,
    /// It was to be durable, and the journal refused it.
    #[error("the execution cannot be made durable: {0}")]
    NotDurable(String),
    /// It was to be durable, and the journal's database does not answer, or refuses.
    #[error("the execution cannot be made durable at present: {0}")]
    Away(String),
}

/// How one execution differs from others. What is not given is derived from the engine's seed.
///
/// ```
/// use expressway::runtime::StartOptions;
/// let options = StartOptions { name: Some("order-17".into()), ..StartOptions::default() };
/// ```
#[derive(Default)]
pub struct StartOptions {
    /// Its name. It need not be unique.
    pub name: Option<Box<str>>,
    /// Its ARN. As long as it runs on a shard, [`Engine::find_execution`] finds it by that, and no other of the same
    /// ARN begins.
    pub execution_arn: Option<Box<str>>,
    /// What handlers see as [`Attempt::trace_header`](crate::task::Attempt::trace_header) (`X-Amzn-Trace-Id`).
    pub trace_header: Option<Box<str>>,
    /// Does the tasks of those states that it [`answers`](Tasks::answers), in place of the engine's handlers: a
    /// [`TestCase`](crate::task::mock::TestCase), for instance.
    pub tasks: Option<Box<dyn Tasks + Send>>,
    /// Makes it durable: it is kept in the engine's [journal](super::Builder::durable), together with these bytes,
    /// which are passed back to the caller that [resumes](Engine::resume) it. It needs a name and an ARN.
    pub durable: Option<Box<[u8]>>,
    /// When it was asked for, in milliseconds since 1970 on the wall clock. Its displayed times are not earlier, although
    /// the clock of its shard may be some milliseconds behind.
    pub requested_ms: Option<u64>,
    /// Keeps its state when it ends without success, so that it can be [redriven](Engine::redrive).
    pub redrivable: bool,
    /// Watches it, beside the watchers that the engine's observer may add.
    pub watcher: Option<Box<dyn Watcher>>,
}

impl std::fmt::Debug for StartOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StartOptions")
            .field("name", &self.name)
            .field("execution_arn", &self.execution_arn)
            .finish_non_exhaustive()
    }
}

impl StartOptions {
    fn start_identity(self, synchronous: bool) -> (StartIdentity, Option<Box<Watch>>) {
        let StartOptions {
            name,
            execution_arn,
            trace_header,
            tasks,
            durable: _,
            requested_ms,
            redrivable,
            watcher,
        } = self;
        let watcher_bytes = watcher.as_ref().map_or(0, |watcher| watcher.kept_bytes());
        let watch = watcher.map(|watcher| Box::new(Watch::by(watcher)));
        let is_usual = name.is_none() && execution_arn.is_none() && trace_header.is_none();
        if is_usual && tasks.is_none() && !redrivable && requested_ms.is_none() {
            return (StartIdentity { synchronous, label: None }, watch);
        }
        let label = IdentityOverrides {
            name,
            arn: execution_arn,
            trace_header,
            tasks: tasks.map(|tasks| Arc::new(Mutex::new(tasks))),
            ledger: None,
            requested_ms,
            redrivable,
            watcher_bytes,
        };
        (StartIdentity { synchronous, label: Some(Box::new(label)) }, watch)
    }
}

/// Executions, and bytes of their inputs, that are handed over to a shard at once.
const START_BATCH_EXECUTIONS_MAX: usize = 64;
const START_BATCH_BYTES_MAX: usize = 64 * 1_024;

thread_local! {
    /// How many start batches this thread sent: the next one goes to another shard.
    static SENT: Cell<usize> = const { Cell::new(0) };
    /// Which of the stripes this thread counts on.
    static STRIPE: usize = {
        static THREADS: AtomicU64 = AtomicU64::new(0);
        THREADS.fetch_add(1, Ordering::Relaxed) as usize
    };
    /// Where inputs are checked before they are sent.
    static READ: RefCell<Arena> = RefCell::default();
}

impl Engine {
    /// Starts an execution and waits for its end. Dropping the future aborts it.
    ///
    /// An execution that neither waits nor calls anything, and is over within some 200 µs, runs on the thread that polls
    /// the future; all others run on the engine's shards.
    ///
    /// # Errors
    /// When it is not started. A workflow that fails is not an error here: see the [`Outcome`].
    pub async fn run<'t>(
        &self,
        machine: impl Into<Target<'t>>,
        input: impl Input,
    ) -> Result<Outcome, StartError> {
        self.run_with(machine, input, StartOptions::default()).await
    }

    /// As [`run`](Engine::run), with options.
    ///
    /// # Errors
    /// As [`run`](Engine::run).
    pub async fn run_with<'t>(
        &self,
        machine: impl Into<Target<'t>>,
        input: impl Input,
        options: StartOptions,
    ) -> Result<Outcome, StartError> {
        let (text, (start_identity, watch)) = (input.into_text()?, options.start_identity(true));
        let (version, number) = self.check(machine.into(), text.as_ref().len())?;
        if self.inner.takes.in_place && watch.is_none() && version.is_tried_here() {
            let outcome = caller_thread::run_now(
                self,
                &version,
                start_identity.names(),
                number,
                text.as_ref(),
                |ended, now_ms| match ended {
                    Some(ended) => {
                        let execution = ended.execution();
                        Outcome::new(
                            ended.outcome(),
                            &execution.arena,
                            execution.started_ms(),
                            execution.shown_ms(now_ms),
                        )
                    }
                    None => bug(now_ms),
                },
            )?;
            if let Some(outcome) = outcome {
                return Ok(outcome);
            }
        }
        let mut running = Running(
            self.start_version(version.into_owned(), number, text.into(), (start_identity, None), watch)?,
            false,
        );
        let outcome = poll_fn(|context| running.0.completion.poll(context)).await;
        running.1 = true;
        Ok(outcome)
    }

    /// Runs an execution on this thread, now, and shows how it ended: no future, no copy of the output. `None`, without
    /// an execution, when its machine waits or calls something, or when it is not over within some 200 µs: then use
    /// [`run_with`]. Of the options, only the names are used.
    ///
    /// A panic of `show` aborts the execution.
    ///
    /// # Errors
    /// When it is not started.
    ///
    /// [`run_with`]: Engine::run_with
    pub fn run_now<'t, R>(
        &self,
        machine: impl Into<Target<'t>>,
        input: impl Input,
        options: &StartOptions,
        show: impl FnOnce(Ended<'_>) -> R,
    ) -> Result<Option<R>, StartError> {
        let text = input.into_text()?;
        let (version, number) = self.check(machine.into(), text.as_ref().len())?;
        if !self.inner.takes.in_place || !version.is_tried_here() {
            return Ok(None);
        }
        let (name, arn) = (options.name.as_deref(), options.execution_arn.as_deref());
        let trace_header = options.trace_header.as_deref();
        caller_thread::run_now(
            self,
            &version,
            IdentityRef { synchronous: true, name, arn, trace_header, redrivable: false },
            number,
            text.as_ref(),
            |ended, _| match ended {
                Some(ended) => show(ended),
                None => show(Ended::of(&Execution::new(), &bug_outcome())),
            },
        )
    }

    /// Starts an execution.
    ///
    /// # Errors
    /// When it is not started.
    pub fn start<'t>(&self, machine: impl Into<Target<'t>>, input: impl Input) -> Result<Handle, StartError> {
        self.start_with(machine, input, StartOptions::default())
    }

    /// As [`start`](Engine::start), with options.
    ///
    /// # Errors
    /// As [`start`](Engine::start).
    pub fn start_with<'t>(
        &self,
        machine: impl Into<Target<'t>>,
        input: impl Input,
        options: StartOptions,
    ) -> Result<Handle, StartError> {
        let text = input.into_text()?;
        let (version, number) = self.check(machine.into(), text.as_ref().len())?;
        let mut options = options;
        let durable = options.durable.take();
        let (start_identity, watch) = options.start_identity(false);
        self.start_version(version.into_owned(), number, text.into(), (start_identity, durable), watch)
    }

    /// Starts an execution under a name, which its ARN and the context object show.
    ///
    /// # Errors
    /// As [`start`](Engine::start).
    pub fn start_named(
        &self,
        machine: &Machine,
        name: &str,
        input: impl Input,
    ) -> Result<Handle, StartError> {
        self.start_with(machine, input, StartOptions { name: Some(name.into()), ..StartOptions::default() })
    }

    /// As [`start_named`](Engine::start_named), with a watcher of this execution.
    ///
    /// # Errors
    /// As [`start`](Engine::start).
    pub fn start_watched(
        &self,
        machine: &Machine,
        name: &str,
        input: impl Input,
        watcher: Box<dyn Watcher>,
    ) -> Result<Handle, StartError> {
        let options = StartOptions { name: Some(name.into()), watcher: Some(watcher), ..Default::default() };
        self.start_with(machine, input, options)
    }

    /// Starts an execution with each of the inputs. Their outcomes are counted, and nothing else; see
    /// [`start_batch_with`](Engine::start_batch_with).
    ///
    /// Inputs are admitted some at a time. When some do not fit, they are refused, those behind them are not read, and
    /// the batch has the reason. An input that is larger than the service limit is refused as well, with
    /// [`Limit::Bytes`]. Only here, an input that is not JSON is accepted, and makes an execution that fails with
    /// `States.Runtime`: checking all of them first would cost a quarter of what a small one costs.
    pub fn start_batch<'t, I>(&self, machine: impl Into<Target<'t>>, inputs: I) -> Batch
    where
        I: IntoIterator<Item: AsRef<[u8]>>,
    {
        self.batch(machine.into(), inputs, BatchState::new(None))
    }

    /// As [`start_batch`](Engine::start_batch). Each execution, when it is over, is passed to `sink` with the index of
    /// its input, on the thread that ran it; `sink` must not block.
    pub fn start_batch_with<'t, I>(
        &self,
        machine: impl Into<Target<'t>>,
        inputs: I,
        sink: impl Fn(u32, Ended<'_>) + Send + Sync + 'static,
    ) -> Batch
    where
        I: IntoIterator<Item: AsRef<[u8]>>,
    {
        self.batch(machine.into(), inputs, BatchState::new(Some(Box::new(sink))))
    }

    /// As [`start_batch_with`](Engine::start_batch_with), with handlers for the tasks of all. Returns the batch as
    /// well, to abort what runs still.
    pub(super) fn start_batch_abortable<I>(
        &self,
        machine: &Published,
        inputs: I,
        tasks: Option<SharedTasks>,
        sink: impl Fn(u32, Ended<'_>) + Send + Sync + 'static,
    ) -> (Batch, RunningBatch)
    where
        I: IntoIterator<Item: AsRef<[u8]>>,
    {
        let label =
            tasks.map(|tasks| Box::new(IdentityOverrides { tasks: Some(tasks), ..Default::default() }));
        let start_identity = StartIdentity { synchronous: false, label };
        let state = BatchState::abortable(Box::new(sink), start_identity);
        let batch = self.batch(machine.into(), inputs, state);
        let running = RunningBatch { state: Arc::clone(&batch.state), shared: Arc::clone(self.shared()) };
        (batch, running)
    }

    fn check_own(&self, target: &Target<'_>) -> Result<(), StartError> {
        if target.engine() == self.inner.number { Ok(()) } else { Err(StartError::Foreign) }
    }

    /// The version with which an execution that was started before continues.
    pub(super) fn own_version(&self, target: Target<'_>) -> Result<Arc<Version>, StartError> {
        self.check_own(&target)?;
        Ok(target.pick(|| 0).into_owned())
    }

    /// The version to start, and the number of the execution, from which its seed follows.
    fn check<'t>(
        &self,
        target: Target<'t>,
        bytes: usize,
    ) -> Result<(Cow<'t, Arc<Version>>, u64), StartError> {
        self.check_own(&target)?;
        if bytes > limits::PAYLOAD_BYTES_MAX as usize {
            return Err(StartError::TooLarge(bytes));
        }
        let shared = self.shared();
        let number = shared.seeds(1);
        let version = target.pick(|| shared.chance(number));
        // Checked before the input, so that refusing is cheap; decided at admission.
        match self.full(&version, bytes) {
            Some(limit) => Err(self.refuse(Some(&version), limit, 1).into()),
            None => Ok((version, number)),
        }
    }

    fn start_version(
        &self,
        version: Arc<Version>,
        number: u64,
        text: Vec<u8>,
        (mut start_identity, durable): (StartIdentity, Option<Box<[u8]>>),
        watch: Option<Box<Watch>>,
    ) -> Result<Handle, StartError> {
        // Before the input is checked, so that refusing is cheap.
        if self.queues_are_full() {
            return Err(self.refuse(Some(&version), Limit::Queue, 1).into());
        }
        READ.with_borrow_mut(|arena| {
            arena.clear();
            json::read(arena, &text).map(|_| ())
        })?;
        let shared = self.shared();
        let seed = shared.seed(number);
        if let Some(durable) = durable {
            self.write_start(seed, &mut start_identity, &durable, &text)?;
        }
        let completion = Arc::new(Completion::new(start_identity));
        if let Some(arn) = completion.start_identity.label.as_ref().and_then(|label| label.arn.clone()) {
            let (indexed, version) = (Arc::clone(&completion), Arc::clone(&version));
            match shared.by_arn.entry(arn) {
                Entry::Occupied(taken) => {
                    let arn = taken.key().to_string();
                    drop(taken);
                    self.unwrite_start(&completion);
                    return Err(StartError::AlreadyRuns(arn));
                }
                // Before it begins, so that it is over before it is forgotten.
                Entry::Vacant(free) => drop(free.insert(Indexed { completion: indexed, version, seed })),
            }
        }
        let handle = Handle {
            completion: Arc::clone(&completion),
            shared: Arc::clone(shared),
            version: Arc::clone(&version),
            seed,
        };
        let reply = Reply::One(completion);
        let start_batch =
            StartBatch { version, text, ends: Vec::new(), reply, number, seed: Some(seed), watch };
        self.submit(start_batch).inspect_err(|_| {
            self.unwrite_start(&handle.completion);
            shared.forget(&handle.completion);
        })?;
        Ok(handle)
    }

    fn batch<I>(&self, target: Target<'_>, inputs: I, state: BatchState) -> Batch
    where
        I: IntoIterator<Item: AsRef<[u8]>>,
    {
        let mut load = Load {
            engine: self,
            batch: Batch { state: Arc::new(state), refused: None },
            version: None,
            text: Vec::new(),
            ends: Vec::new(),
            first: 0,
        };
        if target.engine() == self.inner.number {
            load.take(target, inputs)
        } else {
            load.batch.refused = Some(self.shared().admission.throttled(Limit::Draining))
        }
        load.batch.state.close();
        load.batch
    }

    /// The limit that keeps an execution with an input of so many bytes from being admitted, as an estimate.
    pub(super) fn full(&self, version: &Version, bytes: usize) -> Option<Limit> {
        let shared = self.shared();
        if shared.gate.is_closed() {
            Some(Limit::Draining)
        } else {
            shared.admission.is_full(&version.usage, bytes)
        }
    }

    /// Whether no shard has room for one more that waits to begin.
    fn queues_are_full(&self) -> bool {
        let shared = self.shared();
        shared.remotes.iter().all(|remote| remote.is_full(shared.admission.budgets.queue_max))
    }

    pub(super) fn refuse(&self, version: Option<&Version>, limit: Limit, executions: usize) -> Throttled {
        self.stripe(|stripe| stripe.refuse(executions as u64));
        if let Some(counters) = version.and_then(|version| version.counters.as_ref()) {
            counters.machine.refused(limit as usize, executions as u64);
        }
        self.shared().admission.throttled(limit)
    }

    /// Hands executions over to a shard, if they are admitted.
    fn submit(&self, start_batch: StartBatch) -> Result<(), Throttled> {
        let shared = self.shared();
        let (executions, identity) = (start_batch.len(), start_batch.reply.start_identity());
        let bytes = start_batch.text.len() + executions * identity.kept_bytes();
        let charged = start_batch.text.len() + executions * identity.entry_bytes();
        let version = Arc::clone(&start_batch.version);
        if let Err(limit) = shared.admission.admit(&version.usage, executions, bytes) {
            return Err(self.refuse(Some(&version), limit, executions));
        }
        self.stripe(|stripe| stripe.accept(executions as u64));
        if let Some(counters) = &version.counters {
            counters.machine.began(shared.remotes.len() + self.stripe_number(), executions as u64);
        }
        let limit = if !shared.gate.lets_in() {
            Limit::Draining
        } else {
            match self.enqueue(start_batch) {
                Ok(()) => return Ok(()),
                Err(limit) => limit,
            }
        };
        self.stripe(|stripe| stripe.accept((executions as u64).wrapping_neg()));
        if let Some(counters) = &version.counters {
            let stripe = shared.remotes.len() + self.stripe_number();
            counters.machine.began(stripe, (executions as u64).wrapping_neg());
        }
        shared.admission.release(&version.usage, executions, charged);
        shared.made_room();
        Err(self.refuse(Some(&version), limit, executions))
    }

    /// Queues a start batch at the next shard, or at one that has room, if there is one.
    fn enqueue(&self, start_batch: StartBatch) -> Result<(), Limit> {
        let shared = self.shared();
        let (remotes, executions) = (&shared.remotes, start_batch.len());
        let usage = &start_batch.version.usage;
        let of_machine = usage.queued.fetch_add(executions, Ordering::Relaxed);
        let from = SENT.with(|sent| sent.replace(sent.get().wrapping_add(1)));
        let mut limit = Limit::Queue;
        for n in 0..remotes.len() {
            let remote = &remotes[from.wrapping_add(n) % remotes.len()];
            let queued = remote.queued.fetch_add(executions, Ordering::Relaxed);
            match shared.admission.may_queue(queued, of_machine, remotes.len()) {
                Ok(()) => {
                    remote.start_batches.push(start_batch);
                    // If the shard is busy already, an idle one may take the batch.
                    if !remote.wakeup.wake() && queued > 0 {
                        let _ = remotes.iter().any(|remote| remote.wakeup.wake());
                    }
                    return Ok(());
                }
                Err(full) => limit = full,
            }
            remote.queued.fetch_sub(executions, Ordering::Relaxed);
        }
        usage.queued.fetch_sub(executions, Ordering::Relaxed);
        Err(limit)
    }

    pub(super) fn stripe(&self, count: impl FnOnce(&Counters)) {
        let stripes = &self.shared().stripes;
        count(&stripes[self.stripe_number()]);
    }

    /// This thread's stripe.
    pub(super) fn stripe_number(&self) -> usize {
        STRIPE.with(|stripe| *stripe) & (self.shared().stripes.len() - 1)
    }
}

/// Inputs of a batch that are being put into start batches.
struct Load<'e> {
    engine: &'e Engine,
    batch: Batch,
    /// Of the start batch that is being filled.
    version: Option<Arc<Version>>,
    text: Vec<u8>,
    ends: Vec<u32>,
    /// The index of its first input.
    first: u32,
}

impl Load<'_> {
    fn take<I>(&mut self, target: Target<'_>, inputs: I)
    where
        I: IntoIterator<Item: AsRef<[u8]>>,
    {
        for input in inputs {
            let input = input.as_ref();
            if input.len() > limits::PAYLOAD_BYTES_MAX as usize {
                self.send();
                if self.batch.refused.is_none() {
                    self.batch.refused = Some(self.engine.refuse(self.version.as_deref(), Limit::Bytes, 1));
                }
                return;
            }
            self.route(target);
            if self.batch.refused.is_some() {
                return;
            }
            if self.ends.is_empty()
                && let Some(limit) = self.full(input.len())
            {
                self.batch.refused = Some(self.engine.refuse(self.version.as_deref(), limit, 1));
                return;
            }
            if self.text.capacity() == 0 {
                let expected = (input.len() + 16).saturating_mul(START_BATCH_EXECUTIONS_MAX);
                self.text.reserve(expected.min(START_BATCH_BYTES_MAX));
                self.ends.reserve(START_BATCH_EXECUTIONS_MAX);
            }
            self.text.extend_from_slice(input);
            self.ends.push(self.text.len() as u32);
            if self.ends.len() >= START_BATCH_EXECUTIONS_MAX || self.text.len() >= START_BATCH_BYTES_MAX {
                self.send();
                if self.batch.refused.is_some() {
                    return;
                }
            }
        }
        self.send();
    }

    /// Makes the start batch one for the next execution's version.
    fn route(&mut self, target: Target<'_>) {
        let shared = self.engine.shared();
        if target.is_one() {
            if self.version.is_none() {
                self.version = Some(target.pick(|| 0).into_owned());
            }
            return;
        }
        let number = shared.seeds(1);
        let version = target.pick(|| shared.chance(number));
        if self.version.as_ref().is_some_and(|other| other.number != version.number) {
            self.send();
        }
        self.version = Some(version.into_owned());
    }

    /// The limit that keeps a start batch with a first input of so many bytes from being admitted.
    fn full(&self, bytes: usize) -> Option<Limit> {
        let version = self.version.as_ref()?;
        self.engine.full(version, bytes).or_else(|| self.engine.queues_are_full().then_some(Limit::Queue))
    }

    /// Sends the start batch.
    fn send(&mut self) {
        let executions = self.ends.len() as u32;
        let Some(version) = self.version.clone().filter(|_| executions > 0) else { return };
        let (text, ends) = (std::mem::take(&mut self.text), std::mem::take(&mut self.ends));
        let number = self.engine.shared().seeds(u64::from(executions));
        let state = &self.batch.state;
        state.add(u64::from(executions));
        let reply = Reply::Batch(Arc::clone(state), self.first);
        match self.engine.submit(StartBatch { version, text, ends, reply, number, seed: None, watch: None }) {
            Ok(()) => self.first += executions,
            Err(throttled) => {
                state.take_back(u64::from(executions));
                self.batch.refused = Some(throttled);
            }
        }
    }
}
