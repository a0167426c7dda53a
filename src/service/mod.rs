//! The actions of AWS's API as methods of a [`Service`], with AWS's exceptions and messages.
//!
//! This module manages state machines with their revisions, versions, aliases and tags, activities, and executions by
//! their ARN. It does not know HTTP, or how JSON spells a member.
//!
//! Express executions are not kept; Standard ones are kept in memory, with their history, within a budget of bytes.
//! They survive a restart when a folder keeps the [state](Builder::state).

mod activities;
mod aliases;
mod builder;
mod closed;
mod cold;
mod configuration;
mod counted;
#[cfg(feature = "clustered")]
mod database;
mod disk;
mod durable;
mod error;
mod executions;
mod grant;
mod history;
mod ids;
mod lists;
mod machines;
mod map_runs;
mod mocks;
#[cfg(feature = "clustered")]
mod moving;
mod nested;
#[cfg(feature = "clustered")]
mod node;
mod page;
mod redrive;
mod reference;
mod registry;
mod reset;
mod scope;
#[cfg_attr(not(feature = "cluster"), allow(dead_code))]
pub(crate) mod spread;
mod start;
mod status_events;
mod store;
#[cfg(feature = "console")]
mod survey;
mod tables;
mod tags;
pub mod test_state;
mod testing;
pub mod validate;
mod versions;

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use activities::{ActivityDescription, ActivityTask};
pub use aliases::{AliasDescription, Route};
pub use builder::{BuildError, Builder};
pub use configuration::{Encryption, LogLevel, Logging, Tag};
pub use durable::{RecordedExecution, recorded_executions};
pub use error::{Error, Exception};
pub use executions::ExecutionDescription;
pub use grant::{Grant, Rule};
pub(crate) use grant::{made_by, names_resource};
pub use history::HistoryLabels;
pub use lists::{ExecutionItem, ListExecutions};
pub use machines::{
    CreateStateMachine, CreatedStateMachine, StateMachineDescription, StateMachineItem, UpdateStateMachine,
    UpdatedStateMachine,
};
pub use map_runs::{MapRunFailures, UpdateMapRun};
#[cfg(feature = "clustered")]
pub use moving::{CopiedState, StatePlace, copy_state};
pub use page::{Page, Part};
pub use redrive::RedriveDescription;
pub use scope::Scope;
pub use start::{Billing, StartExecution, StartedExecution, SyncOutcome};
pub(crate) use start::{Ended, KnownMachine, ShortMachine};
#[cfg(feature = "integrations")]
pub use status_events::EventBus;
pub use status_events::{StatusEvent, StatusFile, StatusSink};
pub use store::StateError;
#[cfg(feature = "console")]
pub(crate) use survey::{Candidate, Surveyed, Window};
pub use versions::Qualified;

use crate::limits;
use crate::memory::Share;
use crate::runtime::{Counts, DurabilityMode, DurableError, Engine, Time};
use activities::Activity;
use builder::Settings;
use cold::Cold;
use executions::Executions;
use ids::IdSource;
use machines::{Revision, StateMachine, machine_arn, no_label};
use mocks::Mocks;
use page::Tokens;
use registry::Registry;
use store::Store;
use versions::Version;

/// AWS's API. Clones are the same service.
///
/// ```
/// use expressway::service::{CreateStateMachine, Service};
///
/// let service = Service::builder().build()?;
/// let created = service.create_state_machine(CreateStateMachine {
///     name: "hello".to_owned(),
///     definition: r#"{"StartAt": "Hello", "States": {"Hello": {"Type": "Pass", "End": true}}}"#.to_owned(),
///     role_arn: "arn:aws:iam::123456789012:role/hello".to_owned(),
///     express: true,
///     ..CreateStateMachine::default()
/// })?;
/// assert_eq!(created.arn, "arn:aws:states:us-east-1:123456789012:stateMachine:hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Service {
    inner: Arc<Inner>,
    /// The caller, if known.
    caller: Option<Arc<Grant>>,
    /// The caller's region and account, if they are not the service's own.
    scope: Option<Arc<Scope>>,
    /// Set when the caller no longer waits for the operation.
    departed: Option<Arc<AtomicBool>>,
    /// Whether another node has forwarded the call, so that it is not forwarded again.
    is_forwarded: bool,
}

pub(crate) struct Inner {
    engine: Engine,
    time: Arc<dyn Time>,
    settings: Settings,
    ids: IdSource,
    tokens: Tokens,
    machines: Arc<Registry<StateMachine>>,
    activities: Arc<Registry<Activity>>,
    executions: Arc<Executions>,
    /// Executions that are not in memory, if they are stored on disk.
    cold: Option<Arc<Cold>>,
    /// Revisions of executions that no state machine has any more, by the keys of their notes.
    revisions: Mutex<Revisions>,
    mocks: Mocks,
    store: Option<Store>,
    /// Where executions are, if they are spread over several nodes.
    spread: Option<Arc<spread::Spread>>,
    #[cfg(feature = "clustered")]
    node: Option<node::Node>,
    /// The memory of definitions and their programs.
    definitions: Arc<Share>,
    /// Held while the registry is changed.
    writing: Mutex<()>,
}

type Revisions = HashMap<String, (Arc<StateMachine>, Arc<Revision>)>;

/// The resource that an ARN leads to.
pub(crate) struct Target {
    machine: Arc<StateMachine>,
    revision: Arc<Revision>,
    version: Option<Arc<Version>>,
    /// The alias through which it was reached.
    alias: Option<String>,
}

impl Target {
    fn version_arn(&self) -> Option<String> {
        self.version.as_ref().map(|version| self.machine.version_arn(version.number))
    }

    fn alias_arn(&self) -> Option<String> {
        self.alias.as_ref().map(|alias| format!("{}:{alias}", self.machine.arn))
    }
}

impl Service {
    /// Builds a service.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// How many executions there were, by how they ended.
    pub fn counts(&self) -> Counts {
        self.inner.engine.counts()
    }

    /// All metrics of the engine in Prometheus's text format; of machines, states and tasks when they are
    /// [counted](crate::observe::Setup::metrics). See [`Observed::prometheus`].
    ///
    /// [`Observed::prometheus`]: crate::runtime::Observed::prometheus
    pub fn prometheus(&self) -> String {
        let definitions = &self.inner.definitions;
        let mut text = self.inner.engine.observed().prometheus();
        let mut all = Vec::new();
        if let Some((sent, dropped, waiting)) = self.inner.executions.status_event_counts() {
            all.push(("status_events_sent_total", "counter", "Status changes that were put.", sent));
            all.push(("status_events_dropped_total", "counter", "Status changes that had no room.", dropped));
            all.push(("status_events_waiting", "gauge", "Status changes that are to be put.", waiting));
        }
        if let Some(spread) = &self.inner.spread {
            let owned = (0..limits::JOURNAL_PARTITIONS).filter(|partition| spread.owns(*partition)).count();
            all.push(("cluster_partitions", "gauge", "Partitions that this node owns.", owned as u64));
        }
        let [cold, closed, pending, bytes] = self.inner.cold.as_ref().map_or([0; 4], |cold| cold.stats());
        all.extend([
            (
                "durable_cold",
                "gauge",
                "Executions with a row in the store of those that wait and are not in memory.",
                cold,
            ),
            ("durable_cold_closed", "gauge", "Executions with a row there that are over.", closed),
            ("durable_cold_pending", "gauge", "Rows that are still to be written.", pending),
            ("durable_cold_bytes", "gauge", "Bytes of that store's file.", bytes),
            (
                "definitions_bytes",
                "gauge",
                "Memory of state machines in bytes, estimated.",
                definitions.used() as u64,
            ),
            (
                "definitions_bytes_max",
                "gauge",
                "Limit of the memory of state machines in bytes.",
                definitions.bytes_max() as u64,
            ),
            (
                "definitions_refused_total",
                "counter",
                "Definitions refused: no memory.",
                definitions.refused(),
            ),
        ]);
        for (name, kind, help, value) in all {
            let name = format!("expressway_{name}");
            text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n"));
        }
        text
    }

    /// Blocks this thread until all [changes of status](Builder::status_events) are delivered, or the time is over. How
    /// many are left.
    pub fn wait_for_status_events(&self, within: Duration) -> usize {
        self.inner.executions.wait_for_status_events(within)
    }

    /// Why nothing can be registered, or no execution made durable, at present: changes and starts are refused until
    /// the problem is gone.
    pub fn state_problem(&self) -> Option<String> {
        self.inner.store.as_ref().and_then(Store::trouble).or_else(|| self.inner.engine.journal_problem())
    }

    /// Gives up a cluster, so that another process can take over at once. To be called at the end, when all is
    /// [drained](Service::drain): nothing is made durable afterwards.
    pub fn finish(&self) {
        #[cfg(feature = "clustered")]
        if let Some(node) = &self.inner.node {
            node.end();
        }
        self.inner.engine.finish_journal();
    }

    /// How many Standard executions are open; right after the start, those of earlier processes, which go on.
    pub fn open_executions(&self) -> usize {
        self.inner.executions.open()
    }

    /// What a crash may lose of Standard executions.
    pub fn durability(&self) -> DurabilityMode {
        self.inner.engine.durability()
    }

    /// Copies what is still needed of durable executions to the end of their journal, and drops the rest; that is also
    /// done automatically when it pays off. How many bytes were copied.
    ///
    /// # Errors
    /// When the journal cannot be read, or does not take the copies; it stays as it was.
    pub fn compact_journal(&self) -> Result<u64, DurableError> {
        self.inner.engine.compact_journal()
    }

    /// Begins no more executions and waits until all are over; those that are not after `within` time out. Resolves to
    /// the counts of executions that ended meanwhile.
    pub async fn drain(&self, within: Duration) -> Counts {
        self.inner.engine.drain(within).await
    }
}

impl Inner {
    fn now_ms(&self) -> u64 {
        self.time.now_ms()
    }

    fn writing(&self) -> MutexGuard<'_, ()> {
        // The registry is consistent between any two statements.
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a state machine, or its change.
    fn keep_machine(&self, machine: StateMachine) -> Result<(), Error> {
        self.charge_machine(&machine)?;
        if let Some(store) = &self.store {
            store.keep_machine(&machine)?;
        }
        let arn = machine.arn.clone();
        self.machines.put(&arn, Arc::new(machine));
        Ok(())
    }

    fn keep_activity(&self, activity: Activity) -> Result<(), Error> {
        self.charge_activity(&activity)?;
        if let Some(store) = &self.store {
            store.keep_activity(&activity)?;
        }
        let arn = activity.arn.clone();
        self.activities.put(&arn, Arc::new(activity));
        Ok(())
    }

    fn forget_activity(&self, arn: &str) -> Result<(), Error> {
        if let Some(store) = &self.store {
            store.forget_activity(arn)?;
        }
        self.activities.remove(arn);
        Ok(())
    }

    /// The target of the ARN of a state machine, a version or an alias.
    fn target(&self, arn: &str) -> Result<Target, Error> {
        if let Some(machine) = self.machines.get(arn) {
            let revision = Arc::clone(&machine.current);
            return Ok(Target { machine, revision, version: None, alias: None });
        }
        let parsed = machine_arn(arn)?;
        no_label(&parsed)?;
        let missing = || Error::no_machine(arn);
        let machine = self.machines.get(&parsed.unqualified()).ok_or_else(missing)?;
        let qualifier = parsed.qualifier().ok_or_else(missing)?;
        let (number, alias) = match machine.aliases.get(qualifier) {
            Some(alias) => (self.route(&alias.routes), Some(qualifier.to_owned())),
            None => (qualifier.parse().map_err(|_| missing())?, None),
        };
        let version = Arc::clone(machine.versions.get(&number).ok_or_else(missing)?);
        let revision = Arc::clone(&version.revision);
        Ok(Target { machine, revision, version: Some(version), alias })
    }

    /// One of the versions, by weight.
    fn route(&self, routes: &[(u32, u32)]) -> u32 {
        let total: u32 = routes.iter().map(|(_, weight)| weight).sum();
        let mut at = self.ids.below(u64::from(total)) as u32;
        for &(version, weight) in routes {
            if at < weight {
                return version;
            }
            at -= weight;
        }
        routes.first().map_or(0, |&(version, _)| version)
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("machines", &self.inner.machines.len()).finish_non_exhaustive()
    }
}
