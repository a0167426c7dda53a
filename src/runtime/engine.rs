//! The engine, as those who start executions see it.

use std::cell::Cell;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Arc, PoisonError};
use std::task::Poll;
use std::time::Duration;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use serde::Serialize;

use super::admission::{Limit, Throttled, Usage};
use super::builder::Builder;
use super::handle::{Handle, Running};
use super::in_place;
use super::inbox::{Mail, Parcel, Shared};
use super::inline::Ended;
use super::machine::{self, Machine, Registered, Version};
use super::outcome::{Counts, Outcome};
use super::ticket::{Batch, BatchState, Place, Reply, Ticket};
use crate::asl;
use crate::compile;
use crate::engine::{Identity, Token};
use crate::fault::Fault;
use crate::json;
use crate::limits;
use crate::observe::{Watch, Watcher};
use crate::program::StateKind;
use crate::task::Handlers;
use crate::task::token::{self, Poller, TokenError};

/// Runs executions of state machines on threads of its own. Clones are the same engine; when the last one is dropped,
/// what still runs is aborted.
///
/// ```
/// use expressway::runtime::{Engine, Json};
/// use expressway::task::TaskError;
///
/// const DOUBLE: &str = "arn:aws:lambda:us-east-1:123456789012:function:double";
/// let engine = Engine::builder()
///     .shards(1)
///     .task(DOUBLE, |n: i64| async move { Ok::<i64, TaskError>(2 * n) })
///     .build()?;
/// let definition = r#"{"StartAt": "Double", "States": {"Double": {"Type": "Task", "End": true,
///     "Resource": "arn:aws:lambda:us-east-1:123456789012:function:double"}}}"#;
/// let machine = engine.create_state_machine("double", definition)?;
/// let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// let outcome = runtime.block_on(engine.run(&machine, Json(&21)))?;
/// assert_eq!(outcome.output::<i64>().unwrap(), 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) shared: Arc<Shared>,
    handlers: Handlers<Registered>,
    options: asl::Options,
    in_place: bool,
    machines: DashMap<String, Machine>,
    versions: AtomicU64,
    /// Tells this engine's machines from those of others.
    number: u64,
}

impl Inner {
    pub(super) fn new(
        shared: Arc<Shared>,
        handlers: Handlers<Registered>,
        options: asl::Options,
        in_place: bool,
    ) -> Inner {
        static ENGINES: AtomicU64 = AtomicU64::new(0);
        let (machines, versions) = Default::default();
        let number = ENGINES.fetch_add(1, Ordering::Relaxed);
        Inner { shared, handlers, options, in_place, machines, versions, number }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        self.shared.dropped.store(true, Ordering::SeqCst);
        self.shared.ring_all();
    }
}

/// Why a definition does not become a state machine.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DefinitionError {
    /// It is not valid; warnings are among these as well.
    #[error("{}", asl::invalid_definition(.0))]
    Invalid(Vec<asl::Diagnostic>),
    /// It is valid, but this engine cannot run it.
    #[error("the definition cannot be compiled: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Unsupported(Vec<compile::Error>),
    /// There is a state machine of this name.
    #[error("there is a state machine '{0}' already")]
    NameTaken(String),
    /// The state machine belongs to another engine.
    #[error("the state machine belongs to another engine")]
    Foreign,
}

/// Why an execution does not begin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// There is no room for it.
    #[error(transparent)]
    Throttled(#[from] Throttled),
    /// Its input is larger than the service limit.
    #[error("the input has {0} bytes, more than the {max} allowed", max = limits::PAYLOAD_BYTES_MAX)]
    TooLarge(usize),
    /// Its input cannot be written as JSON.
    #[error("the input cannot be written as JSON: {0}")]
    NotSerializable(String),
    /// The state machine belongs to another engine.
    #[error("the state machine belongs to another engine")]
    Foreign,
}

/// What an execution can begin with: JSON text, or a value that is written as [`Json`]. Text that is not JSON makes an
/// execution that fails with `States.Runtime`.
pub trait Input {
    /// The input as JSON text.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    fn into_text(self) -> Result<Vec<u8>, StartError>;
}

impl Input for Vec<u8> {
    fn into_text(self) -> Result<Vec<u8>, StartError> {
        Ok(self)
    }
}

impl Input for &[u8] {
    fn into_text(self) -> Result<Vec<u8>, StartError> {
        Ok(self.to_vec())
    }
}

impl Input for &Vec<u8> {
    fn into_text(self) -> Result<Vec<u8>, StartError> {
        Ok(self.clone())
    }
}

impl Input for &str {
    fn into_text(self) -> Result<Vec<u8>, StartError> {
        Ok(self.as_bytes().to_vec())
    }
}

impl Input for String {
    fn into_text(self) -> Result<Vec<u8>, StartError> {
        Ok(self.into_bytes())
    }
}

/// A value of a type of the caller's own, as an input.
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

impl<T: Serialize> Input for Json<T> {
    fn into_text(self) -> Result<Vec<u8>, StartError> {
        serde_json::to_vec(&self.0).map_err(|error| StartError::NotSerializable(error.to_string()))
    }
}

/// Executions, and bytes of their inputs, that are handed over to a shard at once.
const PARCEL_EXECUTIONS_MAX: usize = 64;
const PARCEL_BYTES_MAX: usize = 64 * 1_024;

thread_local! {
    /// How many parcels this thread sent: the next one goes to another shard.
    static SENT: Cell<usize> = const { Cell::new(0) };
    /// Which of the lanes this thread counts on.
    static LANE: usize = {
        static THREADS: AtomicU64 = AtomicU64::new(0);
        THREADS.fetch_add(1, Ordering::Relaxed) as usize
    };
}

impl Engine {
    /// Sets an engine up.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(super) fn new(inner: Inner) -> Engine {
        Engine { inner: Arc::new(inner) }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    // ---- state machines ----

    /// Compiles a definition (ASL, as JSON text) into a state machine.
    ///
    /// # Errors
    /// All that is wrong with the definition, or that the name is taken.
    pub fn create_state_machine(&self, name: &str, definition: &str) -> Result<Machine, DefinitionError> {
        let identity = Identity {
            state_machine_arn: format!("arn:aws:states:us-east-1:123456789012:stateMachine:{name}").into(),
            state_machine_name: name.into(),
            role_arn: "arn:aws:iam::123456789012:role/expressway".into(),
            ..Identity::default()
        };
        let version = self.version(definition, identity, Arc::new(Usage::default()))?;
        match self.inner.machines.entry(name.to_owned()) {
            Entry::Occupied(_) => Err(DefinitionError::NameTaken(name.to_owned())),
            Entry::Vacant(entry) => Ok(entry.insert(Machine::new(self.inner.number, version)).clone()),
        }
    }

    /// Gives a state machine another definition, at once and as a whole: executions that were started keep the one
    /// they were started with.
    ///
    /// # Errors
    /// All that is wrong with the definition; the old one stays.
    pub fn update_state_machine(&self, machine: &Machine, definition: &str) -> Result<(), DefinitionError> {
        if machine.inner.engine != self.inner.number {
            return Err(DefinitionError::Foreign);
        }
        let current = machine.current();
        let version = self.version(definition, current.identity.clone(), Arc::clone(&current.usage))?;
        machine.replace(version);
        Ok(())
    }

    /// The state machine of this name.
    pub fn state_machine(&self, name: &str) -> Option<Machine> {
        self.inner.machines.get(name).map(|machine| machine.clone())
    }

    /// Forgets a state machine; its executions go on. Whether there was one of this name.
    pub fn delete_state_machine(&self, name: &str) -> bool {
        self.inner.machines.remove(name).is_some()
    }

    fn version(
        &self,
        definition: &str,
        identity: Identity,
        usage: Arc<Usage>,
    ) -> Result<Version, DefinitionError> {
        let (definition, problems) = asl::read(definition.as_bytes(), &self.inner.options);
        let Some(definition) = definition else { return Err(DefinitionError::Invalid(problems)) };
        let program = compile::compile(&definition).map_err(DefinitionError::Unsupported)?;
        let work = machine::work(&program, &self.inner.handlers).map_err(|refused| {
            let refused = refused.into_iter().map(|(task, message)| {
                let states = program.states.iter();
                let mut states =
                    states.filter(|(_, state)| matches!(state.kind, StateKind::Task(id) if id == task));
                let name = states.next().map_or("", |(state, _)| program.name(state));
                let location = definition.state(name).map_or("", |state| &state.location);
                compile::Error { location: format!("{location}/Resource"), message }
            });
            DefinitionError::Unsupported(refused.collect())
        })?;
        // 0 is nobody's.
        let number = self.inner.versions.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(Version::new(number, program, identity, work, usage))
    }

    // ---- executions ----

    /// Starts an execution and waits for its end. Dropping the future aborts it.
    ///
    /// An execution that neither waits nor calls anything runs on the thread that polls the future, in turns of some
    /// 100 µs; all others run on the engine's shards.
    ///
    /// # Errors
    /// When it does not begin. A workflow that fails is not an error here: ask the [`Outcome`].
    pub async fn run(&self, machine: &Machine, input: impl Input) -> Result<Outcome, StartError> {
        let text = input.into_text()?;
        let version = self.check(machine, text.len())?;
        if self.inner.in_place && version.is_pure {
            return in_place::run(self, &version, &text).await;
        }
        let mut running = Running(self.start_version(version, text, None, None)?, false);
        let outcome = poll_fn(|context| running.0.ticket.poll(context)).await;
        running.1 = true;
        Ok(outcome)
    }

    /// Starts an execution.
    ///
    /// # Errors
    /// When it does not begin.
    pub fn start(&self, machine: &Machine, input: impl Input) -> Result<Handle, StartError> {
        let text = input.into_text()?;
        let version = self.check(machine, text.len())?;
        self.start_version(version, text, None, None)
    }

    /// Starts an execution under a name, which its ARN and the context object show. Names of Express executions need
    /// not differ.
    ///
    /// # Errors
    /// When it does not begin.
    pub fn start_named(
        &self,
        machine: &Machine,
        name: &str,
        input: impl Input,
    ) -> Result<Handle, StartError> {
        let text = input.into_text()?;
        let version = self.check(machine, text.len())?;
        self.start_version(version, text, Some(name.into()), None)
    }

    /// As [`start_named`](Engine::start_named), with someone who watches this execution, beside those whom the
    /// engine's observer may set to it.
    ///
    /// # Errors
    /// When it does not begin.
    pub fn start_watched(
        &self,
        machine: &Machine,
        name: &str,
        input: impl Input,
        watcher: Box<dyn Watcher>,
    ) -> Result<Handle, StartError> {
        let text = input.into_text()?;
        let version = self.check(machine, text.len())?;
        self.start_version(version, text, Some(name.into()), Some(Box::new(Watch::by(watcher))))
    }

    /// Starts an execution with each of the inputs. What they come to is counted, and nothing else; see
    /// [`start_batch_with`](Engine::start_batch_with).
    ///
    /// Inputs are admitted some at a time. When some do not fit, they are refused, those behind them are not looked at,
    /// and the batch says why. An input that is larger than the service limit is refused as well, and says
    /// [`Limit::Bytes`].
    pub fn start_batch<I>(&self, machine: &Machine, inputs: I) -> Batch
    where
        I: IntoIterator<Item: AsRef<[u8]>>,
    {
        self.batch(machine, inputs, BatchState::new(None))
    }

    /// As [`start_batch`](Engine::start_batch). Each execution, when it is over, is shown to `sink` together with its
    /// place among the inputs, on the thread that ran it; `sink` must not block.
    pub fn start_batch_with<I>(
        &self,
        machine: &Machine,
        inputs: I,
        sink: impl Fn(u32, Ended<'_>) + Send + Sync + 'static,
    ) -> Batch
    where
        I: IntoIterator<Item: AsRef<[u8]>>,
    {
        self.batch(machine, inputs, BatchState::new(Some(Box::new(sink))))
    }

    /// How many executions there were, by how they ended.
    pub fn counts(&self) -> Counts {
        self.shared().counts()
    }

    /// Executions that are accounted for as under way, and the bytes they are billed. Executions that run on the thread
    /// of their caller are not among them.
    pub fn usage(&self) -> (usize, usize) {
        let total = &self.shared().admission.total;
        (total.executions(), total.bytes())
    }

    /// Admits no more executions and waits until all are over; those that are not after `within` time out. Comes to the
    /// counts of what happened meanwhile.
    pub async fn drain(&self, within: Duration) -> Counts {
        let shared = self.shared();
        let before = self.counts();
        let at_ms =
            shared.time.now_ms().saturating_add(u64::try_from(within.as_millis()).unwrap_or(u64::MAX));
        shared.drain_at_ms.fetch_min(at_ms, Ordering::AcqRel);
        shared.closed.store(true, Ordering::SeqCst);
        // Whoever starts something counts it first and looks whether we are closed afterwards.
        fence(Ordering::SeqCst);
        shared.ring_all();
        poll_fn(|context| {
            let mut drainers = shared.drainers.lock().unwrap_or_else(PoisonError::into_inner);
            drainers.push(context.waker().clone());
            match shared.admission.total.executions() {
                0 => Poll::Ready(()),
                _ => Poll::Pending,
            }
        })
        .await;
        self.counts().minus(&before)
    }

    /// Says that the time was changed: shards look at their timers.
    pub fn tick(&self) {
        self.shared().ring_all();
    }

    // ---- tasks that others do ----

    /// Waits for a task of an activity (`GetActivityTask`). Wrap it into a timeout to poll for a while only.
    pub fn get_activity_task(&self, activity: &str) -> Poller<impl Copy + use<>> {
        self.shared().waiting.poll_activity(activity)
    }

    /// Completes the task of a token (`SendTaskSuccess`); `output` is JSON text.
    ///
    /// # Errors
    /// When nobody waits for it, or the output is not JSON, which leaves the token good.
    pub fn send_task_success(&self, token: &str, output: &[u8]) -> Result<(), AnswerError> {
        let number = token::parse(token)?;
        if output.len() > limits::PAYLOAD_BYTES_MAX as usize {
            return Err(AnswerError::InvalidOutput("it is larger than the service limit".to_owned()));
        }
        json::read(&mut json::Arena::new(), output)
            .map_err(|error| AnswerError::InvalidOutput(error.to_string()))?;
        self.answer(number, Ok(output.to_vec()))
    }

    /// Fails the task of a token (`SendTaskFailure`).
    ///
    /// # Errors
    /// When nobody waits for it.
    pub fn send_task_failure(&self, token: &str, error: &str, cause: &str) -> Result<(), AnswerError> {
        let fault = Fault { error: Some(error.to_owned().into()), cause: Some(cause.to_owned()) };
        self.answer(token::parse(token)?, Err(fault))
    }

    /// Says that the task of a token is alive (`SendTaskHeartbeat`).
    ///
    /// # Errors
    /// When nobody waits for it.
    pub fn send_task_heartbeat(&self, token: &str) -> Result<(), AnswerError> {
        let (place, token) = self.shared().waiting.find(token::parse(token)?)?;
        self.send(place, Mail::Heartbeat(place.key, token));
        Ok(())
    }

    fn answer(&self, number: u128, answer: Result<Vec<u8>, Fault>) -> Result<(), AnswerError> {
        let (place, token): (Place, Token) = self.shared().waiting.take(number)?;
        self.send(place, Mail::Answer(place.key, token, answer));
        Ok(())
    }

    fn send(&self, place: Place, mail: Mail) {
        self.shared().remotes[usize::from(place.shard)].send(mail);
    }

    // ---- starting ----

    fn check(&self, machine: &Machine, bytes: usize) -> Result<Arc<Version>, StartError> {
        if machine.inner.engine != self.inner.number {
            return Err(StartError::Foreign);
        }
        if bytes > limits::PAYLOAD_BYTES_MAX as usize {
            return Err(StartError::TooLarge(bytes));
        }
        Ok(machine.current())
    }

    fn start_version(
        &self,
        version: Arc<Version>,
        text: Vec<u8>,
        name: Option<Box<str>>,
        watch: Option<Box<Watch>>,
    ) -> Result<Handle, StartError> {
        let ticket = Arc::new(Ticket::default());
        let seed = self.shared().seeds(1);
        let handle = Handle {
            ticket: Arc::clone(&ticket),
            shared: Arc::clone(self.shared()),
            version: Arc::clone(&version),
            seed: self.shared().seed(seed),
            name: name.clone(),
        };
        let reply = Reply::One(ticket);
        self.submit(Parcel { version, text, ends: Vec::new(), reply, seed, name, watch })?;
        Ok(handle)
    }

    fn batch<I>(&self, machine: &Machine, inputs: I, state: BatchState) -> Batch
    where
        I: IntoIterator<Item: AsRef<[u8]>>,
    {
        let state = Arc::new(state);
        let mut batch = Batch { state: Arc::clone(&state), refused: None };
        if machine.inner.engine != self.inner.number {
            batch.refused = Some(self.shared().admission.throttled(Limit::Draining));
            state.close();
            return batch;
        }
        let version = machine.current();
        let (mut text, mut ends, mut first) = (Vec::new(), Vec::new(), 0u32);
        let mut inputs = inputs.into_iter().peekable();
        while let Some(input) = inputs.next() {
            let input = input.as_ref();
            let too_large = input.len() > limits::PAYLOAD_BYTES_MAX as usize;
            if !too_large {
                if text.capacity() == 0 {
                    text.reserve(
                        (input.len() + 16).saturating_mul(PARCEL_EXECUTIONS_MAX).min(PARCEL_BYTES_MAX),
                    );
                    ends.reserve(PARCEL_EXECUTIONS_MAX);
                }
                text.extend_from_slice(input);
                ends.push(text.len() as u32);
            }
            let full = ends.len() >= PARCEL_EXECUTIONS_MAX || text.len() >= PARCEL_BYTES_MAX;
            if !ends.is_empty() && (full || too_large || inputs.peek().is_none()) {
                let executions = ends.len() as u32;
                let (text, ends) = (std::mem::take(&mut text), std::mem::take(&mut ends));
                let seed = self.shared().seeds(u64::from(executions));
                state.add(u64::from(executions));
                let reply = Reply::Batch(Arc::clone(&state), first);
                let version = Arc::clone(&version);
                let parcel = Parcel { version, text, ends, reply, seed, name: None, watch: None };
                if let Err(throttled) = self.submit(parcel) {
                    state.take_back(u64::from(executions));
                    batch.refused = Some(throttled);
                    break;
                }
                first += executions;
            }
            if too_large {
                self.lane(|lane| lane.refuse(1));
                batch.refused = Some(self.shared().admission.throttled(Limit::Bytes));
                break;
            }
        }
        state.close();
        batch
    }

    /// Hands executions over to a shard, if they are admitted.
    fn submit(&self, parcel: Parcel) -> Result<(), Throttled> {
        let shared = self.shared();
        let (executions, bytes) = (parcel.len(), parcel.text.len());
        let version = Arc::clone(&parcel.version);
        let refuse = |limit| {
            self.lane(|lane| lane.refuse(executions as u64));
            Err(shared.admission.throttled(limit))
        };
        if let Err(limit) = shared.admission.admit(&version.usage, executions, bytes) {
            return refuse(limit);
        }
        // After being counted: `drain` closes first and looks at the count afterwards.
        fence(Ordering::SeqCst);
        self.lane(|lane| lane.accept(executions as u64));
        let limit = match shared.closed.load(Ordering::SeqCst) {
            true => Limit::Draining,
            false => match self.enqueue(parcel) {
                Ok(()) => return Ok(()),
                Err(_) => Limit::Queue,
            },
        };
        self.lane(|lane| lane.accept((executions as u64).wrapping_neg()));
        let billed = bytes + executions * super::admission::ENTRY_BYTES;
        shared.admission.release(&version.usage, executions, billed);
        shared.wake_drainers();
        refuse(limit)
    }

    /// Puts a parcel into the queue of the next shard, or of one that has room.
    fn enqueue(&self, mut parcel: Parcel) -> Result<(), Parcel> {
        let shared = self.shared();
        let (remotes, executions) = (&shared.remotes, parcel.len());
        let from = SENT.with(|sent| sent.replace(sent.get().wrapping_add(1)));
        for n in 0..remotes.len() {
            let remote = &remotes[from.wrapping_add(n) % remotes.len()];
            let queued = remote.queued.fetch_add(executions, Ordering::Relaxed);
            if queued < shared.admission.budgets.queue_max {
                match remote.parcels.push(parcel) {
                    Ok(()) => {
                        // One that is busy already may be helped by one that sleeps.
                        if !remote.bell.ring() && queued > 0 {
                            let _ = remotes.iter().any(|remote| remote.bell.ring());
                        }
                        return Ok(());
                    }
                    Err(back) => parcel = back,
                }
            }
            remote.queued.fetch_sub(executions, Ordering::Relaxed);
        }
        Err(parcel)
    }

    pub(super) fn lane(&self, count: impl FnOnce(&super::outcome::Tally)) {
        let lanes = &self.shared().lanes;
        count(&lanes[LANE.with(|lane| *lane) % lanes.len()]);
    }
}

/// Why an answer to a task was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// The token is of no use.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The output is not JSON, or too large.
    #[error("InvalidOutput: {0}")]
    InvalidOutput(String),
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("counts", &self.counts()).finish_non_exhaustive()
    }
}
