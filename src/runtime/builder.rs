//! How an engine is set up.

use std::future::Future;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Arc, OnceLock};

use crossbeam_utils::CachePadded;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::admission::{Admission, Budgets};
use super::blocked::Blocked;
use super::clock::{RealClock, Time};
use super::durable::{Durability, Durable, DurableError};
use super::engine::{Engine, Inner, Takes};
use super::inbox::{Remote, Shared};
use super::machine::Registered;
use super::map_run::MapRuns;
use super::shard::Shard;
use super::shutdown::DrainGate;
use super::simulation::Simulation;
use super::thread;
use crate::asl;
use crate::engine::Start;
use crate::limits;
use crate::observe::{Observability, Observer, Setup};
use crate::random;
use crate::task::data::DataStore;
use crate::task::{self, AsyncHandler, Attempt, Handler, Handlers, TaskError};

/// The resources of our own.
const OURS: [&str; 3] =
    ["arn:aws:states:::kafka:produce", "arn:aws:states:::nats:publish", "arn:aws:states:::nats:request"];

/// Which limits apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Profile {
    /// Those of AWS for Express workflows: five minutes, no activities, no callbacks, resources that AWS knows.
    #[default]
    Aws,
    /// What memory allows: no limit of time, activities and callbacks, resources under any name.
    Open,
}

/// Why an engine could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A thread or its reactor could not be made.
    #[error("cannot start a shard's thread: {}", crate::os::words(.0))]
    Thread(#[from] std::io::Error),
    /// The system gave no random seed.
    #[error("no randomness from the operating system: {0}")]
    Random(String),
    /// The journal of durable executions cannot be used.
    #[error(transparent)]
    Durable(#[from] DurableError),
}

/// Sets an engine up.
///
/// A handler registered for an exact ARN goes before those for a prefix, and a longer prefix before a shorter one.
///
/// A handler that panics fails its task with `States.TaskFailed`. Of the messages of such panics, the process's panic
/// hook gets ten in a second; the first engine that is built wraps the existing hook for that.
pub struct Builder {
    shards: usize,
    time: Arc<dyn Time>,
    seed: Option<u64>,
    pub(super) profile: Profile,
    budgets: Budgets,
    handlers: Handlers<Registered>,
    in_place: bool,
    time_scale: f64,
    express_callbacks: bool,
    express_maps: bool,
    accept_unhandled: bool,
    accept_missing_stores: bool,
    has_activity: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    observer: Option<Arc<dyn Observer>>,
    setup: Setup,
    durable: Option<Durable>,
    map_runs: Option<Arc<dyn MapRuns>>,
    stores: Handlers<dyn DataStore>,
}

impl Default for Builder {
    fn default() -> Builder {
        let shards = std::thread::available_parallelism().map_or(1, usize::from);
        Builder {
            shards,
            time: Arc::new(RealClock),
            seed: None,
            profile: Profile::Aws,
            budgets: Budgets::default(),
            handlers: Handlers::default(),
            in_place: true,
            time_scale: 1.0,
            express_callbacks: false,
            express_maps: false,
            accept_unhandled: false,
            accept_missing_stores: false,
            has_activity: Arc::new(|_| true),
            observer: None,
            setup: Setup::default(),
            durable: None,
            map_runs: None,
            stores: Handlers::default(),
        }
    }
}

impl Builder {
    /// How many threads run executions; one for each processor by default. At least 1, at most 1,024.
    #[must_use]
    pub fn shards(mut self, shards: usize) -> Builder {
        self.shards = shards.clamp(1, 1_024);
        self
    }

    /// The source of the time.
    #[must_use]
    pub fn time(mut self, time: impl Time + 'static) -> Builder {
        self.time = Arc::new(time);
        self
    }

    /// Makes everything random follow from `seed`: names of executions, jitter, `States.UUID`, and task tokens, which
    /// are then as secret as the seed. By default, the system provides one.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Builder {
        self.seed = Some(seed);
        self
    }

    /// Which limits apply.
    #[must_use]
    pub fn profile(mut self, profile: Profile) -> Builder {
        self.profile = profile;
        self
    }

    /// How much may be under way before starts are refused.
    #[must_use]
    pub fn budgets(mut self, budgets: Budgets) -> Builder {
        self.budgets = budgets;
        self
    }

    /// Whether [`Engine::run`] runs executions that neither wait nor call on the thread that polls it, which saves two
    /// hand-overs. It does by default.
    #[must_use]
    pub fn run_in_place(mut self, in_place: bool) -> Builder {
        self.in_place = in_place;
        self
    }

    /// Lets Express machines use activities, `.sync` and `.waitForTaskToken` under the [profile](Profile) of AWS, too.
    #[must_use]
    pub fn express_callbacks(mut self, allow: bool) -> Builder {
        self.express_callbacks = allow;
        self
    }

    /// Lets Express machines have distributed Maps under the [profile](Profile) of AWS, too: over the lines of a file, at the
    /// engine's speed.
    #[must_use]
    pub fn express_maps(mut self, allow: bool) -> Builder {
        self.express_maps = allow;
        self
    }

    /// Accepts state machines with tasks that have no handler, and are no activity's. Such a
    /// task fails with `States.Runtime` when it begins, unless the [tasks of its execution](super::StartOptions::tasks)
    /// answer it. Without this, creating the state machine is refused, and the refusal names the states.
    ///
    /// ```
    /// use expressway::runtime::Engine;
    ///
    /// let definition = r#"{"StartAt": "T", "States": {"T": {"Type": "Task", "End": true,
    ///     "Resource": "arn:aws:lambda:us-east-1:123456789012:function:doubel"}}}"#;
    /// let strict = Engine::builder().shards(1).build()?;
    /// assert!(strict.create_state_machine("m", definition).is_err());
    /// let lenient = Engine::builder().shards(1).accept_unhandled(true).build()?;
    /// assert!(lenient.create_state_machine("m", definition).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn accept_unhandled(mut self, accept: bool) -> Builder {
        self.accept_unhandled = accept;
        self
    }

    /// Sets which activities exist; without it, all do. A task of an activity that does not exist fails its execution
    /// (`States.Runtime`), unless a handler does it.
    #[must_use]
    pub fn activities(mut self, exists: impl Fn(&str) -> bool + Send + Sync + 'static) -> Builder {
        self.has_activity = Arc::new(exists);
        self
    }

    /// Multiplies all waits, delays before retries, and timeouts, for tests: with 0.01, a Wait of a minute takes 0.6
    /// seconds. With 0, waits and delays take no time, and timeouts stay what they are. What is not a number, or less
    /// than 0, counts as 0. Times of day stay what they are.
    #[must_use]
    pub fn time_scale(mut self, scale: f64) -> Builder {
        self.time_scale = scale.max(0.0);
        self
    }

    /// What is recorded of executions: histories, logs, metrics, traces. Nothing by default; see [`Engine::observed`].
    #[must_use]
    pub fn observe(mut self, setup: Setup) -> Builder {
        self.setup = setup;
        self
    }

    /// Decides, when an execution begins, whether it is watched.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Builder {
        self.observer = Some(observer);
        self
    }

    /// Executions that are [to be durable](crate::runtime::StartOptions::durable) are kept in a journal, and continue
    /// when the next engine with it [resumes](Engine::resume) them. Nothing else of the engine is kept.
    #[must_use]
    pub fn durable(mut self, durable: Durable) -> Builder {
        self.durable = Some(durable);
        self
    }

    /// Tasks of the resource `arn` are done by an `async` closure, polled on the shard; see [`task::asynchronous`].
    #[must_use]
    pub fn task<I, O, F, R>(self, arn: impl Into<String>, function: F) -> Builder
    where
        I: DeserializeOwned + 'static,
        O: Serialize + 'static,
        F: Fn(I) -> R + Send + Sync + 'static,
        R: Future<Output = Result<O, TaskError>> + 'static,
    {
        self.async_handler(arn, task::asynchronous(function))
    }

    /// As [`task`](Builder::task), for a closure that takes the [`Attempt`].
    #[must_use]
    pub fn task_with<I, O, F, R>(self, arn: impl Into<String>, function: F) -> Builder
    where
        I: DeserializeOwned + 'static,
        O: Serialize + 'static,
        F: Fn(I, Attempt) -> R + Send + Sync + 'static,
        R: Future<Output = Result<O, TaskError>> + 'static,
    {
        self.async_handler(arn, task::asynchronous_with(function))
    }

    /// Tasks of the resource `arn` are done by a closure, in line: it must be quick and not block, for the shard does
    /// nothing else meanwhile. While it blocks, the shard's executions make no progress, time-outs and aborts included,
    /// and [`Engine::shard_loads`] shows for how long; that it blocked is [counted](super::Observed::prometheus), and
    /// logged as a warning once per resource. What may block belongs into [`task_blocking`](Builder::task_blocking).
    #[must_use]
    pub fn task_sync<I, O, F>(self, arn: impl Into<String>, function: F) -> Builder
    where
        I: DeserializeOwned + 'static,
        O: Serialize + 'static,
        F: Fn(I) -> Result<O, TaskError> + Send + Sync + 'static,
    {
        self.handler(arn, task::typed(function))
    }

    /// Tasks of the resource `arn` are done by a closure that may block, on a thread of its own; see
    /// [`task::blocking`].
    #[must_use]
    pub fn task_blocking<I, O, F>(self, arn: impl Into<String>, function: F) -> Builder
    where
        I: DeserializeOwned + Send + 'static,
        O: Serialize + Send + 'static,
        F: Fn(I, Attempt) -> Result<O, TaskError> + Send + Sync + 'static,
    {
        self.async_handler(arn, task::blocking(function))
    }

    /// As [`task`](Builder::task), for all resources that begin with `prefix`.
    #[must_use]
    pub fn task_prefix<I, O, F, R>(mut self, prefix: impl Into<String>, function: F) -> Builder
    where
        I: DeserializeOwned + 'static,
        O: Serialize + 'static,
        F: Fn(I) -> R + Send + Sync + 'static,
        R: Future<Output = Result<O, TaskError>> + 'static,
    {
        let handler = Registered::Async(Arc::new(task::asynchronous(function)));
        self.handlers.put_prefix(prefix.into(), Arc::new(handler));
        self
    }

    /// Tasks of the resource `arn` are done in line by `handler`, which sees its [`Call`](task::Call).
    #[must_use]
    pub fn handler(mut self, arn: impl Into<String>, handler: impl Handler + 'static) -> Builder {
        self.handlers.put(arn.into(), Arc::new(Registered::InLine(Arc::new(handler))));
        self
    }

    /// As [`handler`](Builder::handler), for all resources that begin with `prefix`.
    #[must_use]
    pub fn handler_prefix(mut self, prefix: impl Into<String>, handler: impl Handler + 'static) -> Builder {
        self.handlers.put_prefix(prefix.into(), Arc::new(Registered::InLine(Arc::new(handler))));
        self
    }

    /// Tasks of the resource `arn` are done by the futures that `handler` makes.
    #[must_use]
    pub fn async_handler(mut self, arn: impl Into<String>, handler: impl AsyncHandler + 'static) -> Builder {
        self.handlers.put(arn.into(), Arc::new(Registered::Async(Arc::new(handler))));
        self
    }

    /// Tasks of AWS services, and of HTTP endpoints, are done by `integrations`: everything that begins with
    /// `arn:aws:states:::`, and Lambda functions. Handlers registered for an exact ARN or a longer prefix take
    /// precedence. Distributed Maps read from S3 and write to it, unless another [store](Builder::data_store) was
    /// registered before.
    ///
    /// A definition that names a service task which is not supported is then refused when its state machine is
    /// created.
    #[cfg(feature = "integrations")]
    #[must_use]
    pub fn aws(mut self, integrations: task::aws::Integrations) -> Builder {
        self.accept_missing_stores |= integrations.accepts_unsupported();
        for (arn, store) in integrations.data_stores() {
            if self.stores.find_exactly(&arn).is_none() {
                self.stores.put(arn, store);
            }
        }
        for (prefix, handler) in integrations.handlers() {
            self.handlers.put_prefix(prefix, Arc::new(Registered::Async(handler)));
        }
        self
    }

    /// Registers the store that distributed Maps read and write with the resource `arn`.
    #[must_use]
    pub fn data_store(mut self, arn: impl Into<String>, store: Arc<dyn DataStore>) -> Builder {
        self.stores.put(arn.into(), store);
        self
    }

    /// Accepts state machines whose distributed Maps read or write data that no [store](Builder::data_store) has: the Map Run
    /// fails when it begins (`States.ItemReaderFailed`, `States.ResultWriterFailed`). Without this, creating the state
    /// machine is refused.
    #[must_use]
    pub fn accept_missing_data_stores(mut self, accept: bool) -> Builder {
        self.accept_missing_stores = accept;
        self
    }

    /// Distributed Maps may read and write files below this folder: an extension.
    #[must_use]
    pub fn files(self, files: task::data::Files) -> Builder {
        let files: Arc<dyn DataStore> = Arc::new(files);
        self.data_store("arn:aws:states:::file:read", Arc::clone(&files))
            .data_store("arn:aws:states:::file:write", files)
    }

    /// Keeps Map Runs, and their child executions. Without it, they are dropped when they are over.
    #[must_use]
    pub fn map_runs(mut self, map_runs: Arc<dyn MapRuns>) -> Builder {
        self.map_runs = Some(map_runs);
        self
    }

    /// Starts the threads.
    ///
    /// # Errors
    /// When the system cannot provide a thread, reactor or randomness.
    pub fn build(self) -> Result<Engine, BuildError> {
        let shards = self.shards;
        let (engine, shared) = self.parts()?;
        if let Some(durability) = &shared.durability {
            durability.has_threads.store(true, std::sync::atomic::Ordering::Relaxed);
            durability.keep_short(limits::DURABLE_COMPACT_BYTES_MIN)?;
        }
        if let Some(observability) = &shared.observability {
            Observability::start_worker(observability)?;
        }
        #[cfg(feature = "parquet")]
        shared.background.may_have_threads();
        for index in 0..shards {
            // If one fails, dropping the engine ends the earlier ones.
            thread::spawn(Arc::clone(&shared), index)?;
        }
        Ok(engine)
    }

    /// Without threads: an engine whose shards take their turns on request, one at a time. The same code runs; the same
    /// seed always gives the same result.
    ///
    /// # Errors
    /// When no [`seed`](Builder::seed) was given and the system cannot provide randomness.
    pub fn simulate(self) -> Result<(Engine, Simulation), BuildError> {
        let shards = self.shards;
        let (engine, shared) = self.parts()?;
        let shards = (0..shards).map(|index| Shard::new(Arc::clone(&shared), index)).collect();
        Ok((engine, Simulation::new(shards)))
    }

    fn parts(self) -> Result<(Engine, Arc<Shared>), BuildError> {
        task::panics::quieten();
        let fill =
            |bytes: &mut [u8]| getrandom::fill(bytes).map_err(|error| BuildError::Random(error.to_string()));
        let drawn: Option<fn() -> u64> = self.seed.is_none().then_some(random::next);
        let (seed, secret) = match self.seed {
            Some(seed) => (seed, u128::from(seed)),
            None => {
                let (mut seed, mut secret) = ([0; 8], [0; 16]);
                fill(&mut seed)?;
                fill(&mut secret)?;
                (u64::from_le_bytes(seed), u128::from_le_bytes(secret))
            }
        };
        let durability =
            self.durable.as_ref().map(|durable| Durability::open(durable, secret, Arc::clone(&self.time)));
        let durability = durability.transpose()?;
        let durability = durability.map(Arc::new);
        // Tokens outlive the process.
        let secret = durability.as_ref().map_or(secret, |durability| durability.secret);
        let (seconds_max, options) = match self.profile {
            Profile::Aws => {
                let machine_type = if self.express_callbacks {
                    asl::MachineType::Standard
                } else {
                    asl::MachineType::Express
                };
                // AWS does not know our own resources: they are accepted if a handler does them.
                let resources = if OURS.iter().any(|arn| self.handlers.find_exactly(arn).is_some())
                    || self.stores.find_exactly("arn:aws:states:::file:read").is_some()
                {
                    asl::Resources::AwsAndOurs
                } else {
                    asl::Resources::Aws
                };
                let express_maps = self.express_maps;
                (limits::EXPRESS_SECONDS_MAX, asl::Options { machine_type, resources, express_maps })
            }
            Profile::Open => {
                let (machine_type, resources) = (asl::MachineType::Standard, asl::Resources::Any);
                (u64::MAX, asl::Options { machine_type, resources, express_maps: true })
            }
        };
        // A power of two: a thread's stripe is looked up several times in each execution.
        let stripes =
            std::thread::available_parallelism().map_or(1, usize::from).clamp(1, 64).next_power_of_two() * 2;
        let observability = Observability::new(self.setup, self.shards, stripes).map(Arc::new);
        let shared = Arc::new(Shared {
            remotes: (0..self.shards).map(|_| Arc::new(Remote::new())).collect(),
            admission: Admission::new(self.budgets),
            stripes: (0..stripes).map(|_| Default::default()).collect(),
            time: self.time,
            ahead_ms: AtomicI64::new(0),
            ahead_at_ms: AtomicU64::new(u64::MAX),
            start: Start { seconds_max, secret, time_scale: self.time_scale, ..Start::default() },
            by_arn: Default::default(),
            observer: self.observer,
            observability,
            waiting: Arc::default(),
            has_activity: self.has_activity,
            blocked: Blocked::default(),
            random: drawn,
            seed,
            // Seeds of an earlier process are not used again.
            seeds: CachePadded::new(AtomicU64::new(durability.as_ref().map_or(0, |it| it.epoch << 40))),
            gate: DrainGate::new(),
            room: Default::default(),
            drain_at_ms: AtomicU64::new(u64::MAX),
            dropped: false.into(),
            durability,
            engine: OnceLock::new(),
            map_runs: self.map_runs,
            stores: Arc::new(self.stores),
            #[cfg(feature = "parquet")]
            background: Arc::default(),
        });
        if let Some(durability) = &shared.durability {
            durability.belongs_to(&shared.remotes);
        }
        let takes = Takes {
            in_place: self.in_place,
            unhandled: self.accept_unhandled,
            missing_stores: self.accept_missing_stores,
        };
        let inner = Inner::new(Arc::clone(&shared), self.handlers, options, takes);
        Ok((Engine::new(inner), shared))
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("shards", &self.shards)
            .field("seed", &self.seed)
            .field("profile", &self.profile)
            .field("budgets", &self.budgets)
            .finish_non_exhaustive()
    }
}
