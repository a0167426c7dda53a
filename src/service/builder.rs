//! Configuration of a service.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::Service;
use super::activity::Activity;
use super::cold::Cold;
use super::executions::Executions;
use super::ids::IdSource;
use super::inner::Inner;
use super::machine::StateMachine;
use super::map_runs::Keeper;
use super::mocks::Mocks;
use super::nested::Nested;
#[cfg(feature = "clustered")]
use super::node::Node;
use super::page::Tokens;
use super::registry::Registry;
use super::settings::{Settings, partition_of};
#[cfg(feature = "clustered")]
use super::spread::Spread;
use super::state_error::StateError;
use super::status_events::{StatusEvents, StatusSink};
use super::store::Store;
#[cfg(feature = "clustered")]
use crate::journal::cluster::Cluster;
use crate::limits;
use crate::memory::{self, Share};
use crate::runtime::{self, Budgets, DurabilityMode, Durable, Engine, RealClock, Simulation, Time};

/// Builds a service.
pub struct Builder {
    engine: runtime::Builder,
    time: Arc<dyn Time>,
    seed: Option<u64>,
    mocks: Option<PathBuf>,
    state: Option<PathBuf>,
    #[cfg(feature = "clustered")]
    cluster: Option<Cluster>,
    fail_in_doubt: Vec<String>,
    durability: DurabilityMode,
    resident_max: Option<usize>,
    resident_ms: Option<(u64, u64)>,
    definitions_bytes_max: usize,
    status_sink: Option<Box<dyn StatusSink>>,
    settings: Settings,
}

/// Why a service could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Its engine could not be built.
    #[error(transparent)]
    Engine(#[from] runtime::BuildError),
    /// What is stored cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The thread that publishes changes of status cannot start.
    #[error("changes of status cannot be put: {}", crate::os::words(.0))]
    StatusEvents(#[source] std::io::Error),
}

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// The parts of the engine's configuration that depend on the service.
#[derive(Default)]
struct Ties {
    nested: Nested,
    activities: Arc<Registry<Activity>>,
    cold: Option<Arc<Cold>>,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder {
            engine: Engine::builder(),
            time: Arc::new(RealClock),
            seed: None,
            mocks: None,
            state: None,
            #[cfg(feature = "clustered")]
            cluster: None,
            fail_in_doubt: Vec::new(),
            durability: DurabilityMode::Strict,
            resident_max: None,
            resident_ms: None,
            definitions_bytes_max: memory::default_bytes() / 4,
            status_sink: None,
            settings: Settings {
                partition: "aws".to_owned(),
                region: "us-east-1".to_owned(),
                account: "123456789012".to_owned(),
                express_only: false,
                executions_bytes_max: 256 << 20,
                history_bytes_max: 32 << 20,
                retention_ms: 90 * DAY_MS,
                redrivable_ms: 14 * DAY_MS,
                open_executions_max: limits::OPEN_EXECUTIONS_MAX,
                activity_poll: Duration::from_secs(60),
                express_history: false,
            },
        }
    }
}

impl Builder {
    /// Publishes changes of Standard executions' status, as AWS does to EventBridge. They wait in memory, within a
    /// bound, until they are delivered, in the order of each execution. Those of durable executions are delivered at
    /// least once, also over a restart; others that wait when the process ends are lost.
    #[must_use]
    pub fn status_events(mut self, sink: impl StatusSink + 'static) -> Builder {
        self.status_sink = Some(Box::new(sink));
        self
    }

    /// Configures the engine that runs the executions.
    ///
    /// ```
    /// use expressway::service::Service;
    /// let builder = Service::builder().engine(|engine| engine.shards(2));
    /// ```
    #[must_use]
    pub fn engine(mut self, set: impl FnOnce(runtime::Builder) -> runtime::Builder) -> Builder {
        self.engine = set(self.engine);
        self
    }

    /// The source of the time, also for the engine.
    #[must_use]
    pub fn time(mut self, time: impl Time + Clone + 'static) -> Builder {
        self.time = Arc::new(time.clone());
        self.engine = self.engine.time(time);
        self
    }

    /// Makes everything random follow from `seed`, in the engine too.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Builder {
        self.seed = Some(seed);
        self.engine = self.engine.seed(seed);
        self
    }

    /// The account in ARNs, 12 digits.
    #[must_use]
    pub fn account(mut self, account: impl Into<String>) -> Builder {
        self.settings.account = account.into();
        self
    }

    /// The region in ARNs. It determines the partition.
    #[must_use]
    pub fn region(mut self, region: impl Into<String>) -> Builder {
        self.settings.region = region.into();
        self.settings.partition = partition_of(&self.settings.region).to_owned();
        self
    }

    /// Refuses Standard state machines.
    #[must_use]
    pub fn express_only(mut self, express_only: bool) -> Builder {
        self.settings.express_only = express_only;
        self
    }

    /// Bytes of memory that closed Standard executions may take, histories included; the oldest are forgotten first, and those
    /// in a [folder](Builder::state) leave memory.
    #[must_use]
    pub fn executions_bytes_max(mut self, bytes: usize) -> Builder {
        self.settings.executions_bytes_max = bytes;
        self
    }

    /// Bytes that the history of one execution may take; its oldest events are forgotten first.
    #[must_use]
    pub fn history_bytes_max(mut self, bytes: usize) -> Builder {
        self.settings.history_bytes_max = bytes;
        self
    }

    /// How long a Standard execution that is over is kept, if there is room: 90 days by default, as on AWS. Afterwards
    /// its name is free again.
    #[must_use]
    pub fn retention_days(mut self, days: u32) -> Builder {
        self.settings.retention_ms = u64::from(days) * DAY_MS;
        self
    }

    /// How long after its end an execution that did not succeed may be redriven: 14 days by default, as on AWS.
    #[must_use]
    pub fn redrive_days(mut self, days: u32) -> Builder {
        self.settings.redrivable_ms = u64::from(days) * DAY_MS;
        self
    }

    /// How many Standard executions may be open: a million by default, as on AWS. More are refused with
    /// `ExecutionLimitExceeded`.
    #[must_use]
    pub fn open_executions_max(mut self, executions: usize) -> Builder {
        self.settings.open_executions_max = executions;
        self
    }

    /// Bytes that the service may take, roughly: half for executions under way, a quarter for state machines, an eighth
    /// for what is kept of Standard executions. The rest is for the server. To be called before the methods that set
    /// one of them by itself.
    #[must_use]
    pub fn memory(mut self, bytes: usize) -> Builder {
        let budgets = Budgets { bytes_max: bytes / 2, ..Budgets::default() };
        self.engine = self.engine.budgets(budgets);
        self.definitions_bytes_max = bytes / 4;
        // Closed and open ones, each.
        self.settings.executions_bytes_max = self.settings.executions_bytes_max.min(bytes / 16);
        self.settings.history_bytes_max = self.settings.history_bytes_max.min(bytes / 64);
        self
    }

    /// How long `GetActivityTask` waits for a task; a minute by default, as on AWS.
    #[must_use]
    pub fn activity_poll(mut self, wait: Duration) -> Builder {
        self.settings.activity_poll = wait;
        self
    }

    /// A mock configuration file, as Step Functions Local reads it; see [`crate::task::mock`]. An execution uses a test
    /// case of it when the ARN of the state machine is followed by `#` and the test case's name. The file is read when
    /// first needed, and again when it has changed.
    #[must_use]
    pub fn mock_config(mut self, path: impl Into<PathBuf>) -> Builder {
        self.mocks = Some(path.into());
        self
    }

    /// Keeps what the API creates (state machines, versions, aliases, tags, activities) and Standard executions in this
    /// folder, which is created if missing, and finds them again at the next start: executions that were not over
    /// continue. Express ones are not kept, nor those of test cases of a mock configuration.
    #[must_use]
    pub fn state(mut self, folder: impl Into<PathBuf>) -> Builder {
        self.state = Some(folder.into());
        self
    }

    /// Tasks with this resource fail when it is unknown whether they were done before a restart; see
    /// [`Durable::fail_in_doubt`].
    #[must_use]
    pub fn fail_in_doubt(mut self, resource: impl Into<String>) -> Builder {
        self.fail_in_doubt.push(resource.into());
        self
    }

    /// Keeps what the API creates, and Standard executions, in a cluster in PostgreSQL or NATS JetStream. A cluster that is
    /// created in PostgreSQL is [spread](Cluster::spread) over the processes that use it. Of another one, this process must be
    /// the owner: building fails while another process is. Not to be used together with
    /// [`state`](Builder::state).
    #[cfg(feature = "clustered")]
    #[must_use]
    pub fn cluster(mut self, cluster: Cluster) -> Builder {
        self.cluster = Some(cluster);
        self
    }

    /// Where executions are durable, if at all.
    fn durable(&self) -> Option<Durable> {
        #[cfg(feature = "clustered")]
        if let Some(cluster) = &self.cluster {
            return Some(Durable::cluster(cluster.clone().of_server()));
        }
        self.folder().map(Durable::folder)
    }

    /// The folder of the state, if it is not in a database.
    fn folder(&self) -> Option<&PathBuf> {
        #[cfg(feature = "clustered")]
        if self.cluster.is_some() {
            return None;
        }
        self.state.as_ref()
    }

    /// Where the registry is stored, if at all.
    fn store(&self) -> Result<Option<Store>, StateError> {
        #[cfg(feature = "clustered")]
        if let Some(cluster) = &self.cluster {
            return Store::in_cluster(cluster).map(Some);
        }
        self.state.as_deref().map(Store::open).transpose()
    }

    /// What a crash may lose of Standard executions, where there is a folder of [state](Builder::state): nothing,
    /// unless this is set. With [`DurabilityMode::Memory`], the folder keeps what the API creates, and no executions;
    /// existing ones are left as they are.
    #[must_use]
    pub fn durability(mut self, mode: DurabilityMode) -> Builder {
        self.durability = mode;
        self
    }

    /// How many waiting durable executions stay in memory; see [`Durable::resident_max`]. Beyond that, those whose
    /// wake-up is due in minutes or later, or comes by a token, are written out of memory. As many that are over stay, too.
    #[must_use]
    pub fn resident_executions_max(mut self, executions: usize) -> Builder {
        self.resident_max = Some(executions);
        self
    }

    /// For tests: how many milliseconds an execution is parked at least before it leaves memory, and how long its wait
    /// must still be when it is written out.
    #[doc(hidden)]
    #[must_use]
    pub fn resident_ms(mut self, parked_ms: u64, left_ms: u64) -> Builder {
        self.resident_ms = Some((parked_ms, left_ms));
        self
    }

    /// An extension: Express executions are described, listed and stopped, and have a history, as Standard ones, within
    /// the same budget of bytes. On AWS they are not. It makes running them more expensive.
    #[must_use]
    pub fn express_history(mut self, keep: bool) -> Builder {
        self.settings.express_history = keep;
        self
    }

    /// An extension: Express state machines may use activities, `.sync` and `.waitForTaskToken`, which AWS refuses.
    #[must_use]
    pub fn express_callbacks(mut self, allow: bool) -> Builder {
        self.engine = self.engine.express_callbacks(allow);
        self
    }

    /// An extension: Express state machines may have distributed Maps, which AWS refuses. Their Map Runs are not kept.
    #[must_use]
    pub fn express_maps(mut self, allow: bool) -> Builder {
        self.engine = self.engine.express_maps(allow);
        self
    }

    /// Starts the engine's threads.
    ///
    /// # Errors
    /// When the engine cannot be built.
    pub fn build(mut self) -> Result<Service, BuildError> {
        let ties = self.tie();
        let engine = std::mem::take(&mut self.engine).build()?;
        let service = self.with(engine, ties)?;
        service.inner.engine.wait_resumed();
        if let Some(cold) = &service.inner.cold {
            cold.begin_with_few_closed(&service.inner)?;
            cold.begin(&service.inner).map_err(runtime::BuildError::Thread)?;
            service.inner.sweep_map_runs().map_err(runtime::BuildError::Thread)?;
            let begun = service.inner.engine.begin_with_short_journal();
            begun.map_err(runtime::BuildError::Durable)?;
        }
        Ok(service)
    }

    /// Without threads: a service whose engine takes its turns on request; see [`runtime::Builder::simulate`].
    ///
    /// # Errors
    /// When the engine cannot be built.
    pub fn simulate(mut self) -> Result<(Service, Simulation), BuildError> {
        let ties = self.tie();
        let (engine, simulation) = std::mem::take(&mut self.engine).simulate()?;
        Ok((self.with(engine, ties)?, simulation))
    }

    /// Lets tasks start executions of this service, and the engine look up its activities.
    fn tie(&mut self) -> Ties {
        let Ties { nested, activities, mut cold } = Ties::default();
        let known = Arc::clone(&activities);
        let mut engine = std::mem::take(&mut self.engine);
        let is_durable = self.durability != DurabilityMode::Memory;
        if let Some(mut durable) = self.durable().filter(|_| is_durable) {
            if let DurabilityMode::Relaxed(loss_max) = self.durability {
                durable = durable.relaxed(loss_max);
            }
            if let Some(resident_max) = self.resident_max {
                durable = durable.resident_max(resident_max);
            }
            if let Some((parked_ms, left_ms)) = self.resident_ms {
                durable = durable.resident_ms(parked_ms, left_ms);
            }
            // In a folder. In a database, waiting executions stay in memory, except for their states and histories.
            if let Some(folder) = self.folder() {
                let store = Arc::new(Cold::at(folder, true, Arc::clone(&nested.service)));
                durable = durable.cold(Arc::<Cold>::clone(&store));
                cold = Some(store);
            }
            let resources = self.fail_in_doubt.drain(..);
            engine =
                engine.durable(resources.fold(durable, |durable, resource| durable.fail_in_doubt(resource)));
        }
        // As on AWS, a state machine may name functions that do not exist yet.
        engine = engine.activities(move |arn| known.get(arn).is_some()).accept_unhandled(true);
        for pattern in ["", ".sync", ".sync:2", ".waitForTaskToken"] {
            let arn = format!("arn:{}:states:::states:startExecution{pattern}", self.settings.partition);
            engine = engine.async_handler(arn, nested.clone());
        }
        let keeper = Keeper { service: Arc::clone(&nested.service) };
        self.engine = engine.map_runs(Arc::new(keeper));
        Ties { nested, activities, cold }
    }

    fn with(self, engine: Engine, Ties { nested, activities, cold }: Ties) -> Result<Service, BuildError> {
        #[cfg(feature = "clustered")]
        let (cluster, version) = match &self.cluster {
            Some(cluster) if engine.has_partitions() => {
                let owners = cluster.owners().map_err(|error| StateError::Database(error.to_string()))?;
                (Some(cluster.clone()), owners.version)
            }
            _ => (None, 0),
        };
        let machines: Arc<Registry<StateMachine>> = Arc::default();
        let recorded = engine.is_durable().then(|| engine.clone());
        let store = self.store()?;
        let mut executions = Executions::new(&self.settings, Arc::clone(&machines), recorded, cold.clone());
        let begin = |sink| StatusEvents::begin(sink, Arc::clone(&nested.service));
        let status_events = self.status_sink.map(begin).transpose();
        executions.status_events = status_events.map_err(BuildError::StatusEvents)?;
        let executions = Arc::new(executions);
        let inner = Inner {
            engine,
            executions,
            cold,
            revisions: Mutex::default(),
            time: self.time,
            ids: IdSource::new(self.seed),
            tokens: Tokens::default(),
            spread: None,
            #[cfg(feature = "clustered")]
            node: None,
            machines,
            activities,
            mocks: Mocks::new(self.mocks),
            store,
            settings: self.settings,
            definitions: Share::new(self.definitions_bytes_max),
            writing: Mutex::default(),
        };
        #[cfg(feature = "clustered")]
        let mut inner = inner;
        #[cfg(feature = "clustered")]
        if let Some(cluster) = &cluster {
            let secret = cluster.secret().map_err(|error| StateError::Database(error.to_string()))?;
            inner.tokens = Tokens::of(&secret);
            inner.spread = Some(Arc::new(Spread::new(cluster.node())));
            inner.node = Some(Node::new(cluster));
            inner.has_followed(version);
        }
        if let Some(store) = &inner.store {
            store.load(&inner)?;
        }
        let inner = Arc::new(inner);
        if let Some(store) = &inner.store {
            store.belongs_to(&inner);
        }
        // This is its only setter.
        let _ = nested.service.set(Arc::downgrade(&inner));
        inner.recover()?;
        #[cfg(feature = "clustered")]
        if let Some(node) = &inner.node {
            node.begin(&inner)?;
        }
        Ok(Service { inner, caller: None, scope: None, departed: None, is_forwarded: false })
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("engine", &self.engine)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
