//! The engine's interface for callers that start executions.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

#[cfg(feature = "service")]
use super::admission::Budgets;
use super::admission::Usage;
use super::builder::Builder;
use super::handle::Handle;
use super::inbox::{Indexed, Remote, Shared};
use super::machine::{self, Machine, MachineSpec, Registered, Undone, Version};
use super::outcome::Counts;
#[cfg(doc)]
use super::start::StartOptions;
use crate::asl::{self, MachineType};
use crate::compile::{self, DefinitionError};
use crate::engine::Identity;
use crate::limits;
use crate::observe::MachineCounters;
use crate::program::{DataResource, Distributed, Program, StateKind};
use crate::task::{Handlers, Permit};

/// Runs executions of state machines on threads of its own. Clones are the same engine; when the last one is dropped,
/// running executions are aborted.
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
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) shared: Arc<Shared>,
    handlers: Handlers<Registered>,
    /// How definitions of Express machines are read.
    options: asl::Options,
    pub(super) takes: Takes,
    machines: DashMap<String, Machine>,
    versions: AtomicU64,
    /// Distinguishes this engine's machines from those of others.
    pub(super) number: u64,
}

/// What an engine accepts.
pub(super) struct Takes {
    /// Executions that neither wait nor call run on the thread that starts them.
    pub(super) in_place: bool,
    /// State machines with tasks that have no handler are accepted.
    pub(super) unhandled: bool,
    /// State machines whose distributed Maps read or write data that no store has are accepted.
    pub(super) missing_stores: bool,
}

impl Inner {
    pub(super) fn new(
        shared: Arc<Shared>,
        handlers: Handlers<Registered>,
        options: asl::Options,
        takes: Takes,
    ) -> Inner {
        static ENGINES: AtomicU64 = AtomicU64::new(0);
        let (machines, versions) = Default::default();
        let number = ENGINES.fetch_add(1, Ordering::Relaxed);
        Inner { shared, handlers, options, takes, machines, versions, number }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(durability) = &self.shared.durability {
            durability.leaves.store(true, Ordering::SeqCst);
            durability.dropped.store(true, Ordering::SeqCst);
        }
        self.shared.gate.close();
        self.shared.dropped.store(true, Ordering::SeqCst);
        self.shared.wake_all();
    }
}

/// How a definition is read, and what its tasks may do.
struct Rules<'m> {
    options: &'m asl::Options,
    permit: Option<&'m Arc<dyn Permit>>,
}

const ALONE: &str = "Standard children of a distributed Map cannot be made durable by an engine alone: use a service, or the \
    ExecutionType EXPRESS";
const ELSEWHERE: &str = "Where the work of a cluster is spread, a Map Run of an Express execution cannot have Standard \
    children, which may belong to other nodes: use a Standard state machine, or the ExecutionType EXPRESS";

/// Why a machine is refused whose distributed Map has Standard children, where executions are durable and those of Map
/// Runs are not kept.
fn not_durable(
    program: &Program,
    map: &Distributed,
    definition: &asl::Definition,
    message: &str,
) -> DefinitionError {
    let is_map = |kind: StateKind| match kind {
        StateKind::Map(id) => program.maps[id].distributed.as_ref().is_some_and(|it| it.task == map.task),
        _ => false,
    };
    let name =
        program.states.iter().find(|(_, state)| is_map(state.kind)).map_or("", |(id, _)| program.name(id));
    let location = definition.state(name).map_or("", |state| &state.location);
    DefinitionError::Unsupported(vec![compile::Error {
        location: format!("{location}/ItemProcessor/ProcessorConfig/ExecutionType"),
        message: message.to_owned(),
    }])
}

/// The parts of a version, beside its program and its names.
struct VersionParts<'m> {
    definition: &'m asl::Definition,
    permit: Option<&'m Arc<dyn Permit>>,
    usage: Arc<Usage>,
    counters: Option<Arc<MachineCounters>>,
}

/// How busy a shard is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardLoad {
    /// Queued executions.
    pub queued: usize,
    /// How long its present turn has taken so far, if it is in one.
    pub turn_for: Option<Duration>,
}

/// Tasks without a handler, at the places of their resources.
fn undone(undone: Undone, program: &Program, definition: &asl::Definition) -> DefinitionError {
    let located = |(task, message)| {
        let mut states = program.states.iter();
        let found = states.find(|(_, state)| matches!(state.kind, StateKind::Task(id) if id == task));
        let name = found.map_or("", |(state, _)| program.name(state));
        let location = definition.state(name).map_or("", |state| &state.location);
        compile::Error { location: format!("{location}/Resource"), message }
    };
    match undone {
        Undone::Refused(tasks) => DefinitionError::Unsupported(tasks.into_iter().map(located).collect()),
        Undone::Unhandled(tasks) => DefinitionError::Unhandled(tasks.into_iter().map(located).collect()),
    }
}

impl Engine {
    /// Sets an engine up.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(super) fn new(inner: Inner) -> Engine {
        let inner = Arc::new(inner);
        // This is its only setter.
        let _ = inner.shared.engine.set(Arc::downgrade(&inner));
        Engine { inner }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    // ---- state machines ----

    /// Makes an Express state machine of a definition (ASL, as JSON text), to be found by its name.
    ///
    /// # Errors
    /// All problems of the definition, or that the name is taken.
    pub fn create_state_machine(&self, name: &str, definition: &str) -> Result<Machine, DefinitionError> {
        let machine = self.create(&MachineSpec::new(name, definition))?;
        match self.inner.machines.entry(name.to_owned()) {
            Entry::Occupied(_) => Err(DefinitionError::NameTaken(name.to_owned())),
            Entry::Vacant(entry) => Ok(entry.insert(machine).clone()),
        }
    }

    /// Creates a state machine. It is not registered under its name, so several may have the same, and even the same
    /// ARN.
    ///
    /// # Errors
    /// All problems of the definition.
    pub fn create(&self, spec: &MachineSpec<'_>) -> Result<Machine, DefinitionError> {
        let mut options = self.inner.options;
        let mut seconds_max = self.shared().start.seconds_max;
        if spec.machine_type == MachineType::Standard {
            options.machine_type = MachineType::Standard;
            seconds_max = limits::STANDARD_SECONDS_MAX;
        }
        options.resources = spec.resources.unwrap_or(options.resources);
        let (identity, usage) = (spec.identity(), Arc::new(Usage::default()));
        let counters = (self.shared().observability.as_ref())
            .map(|observability| Arc::new(observability.counters(&identity.state_machine_arn)));
        let permit = spec.permit.clone();
        let rules = Rules { options: &options, permit: permit.as_ref() };
        let version = self.version(spec.definition, rules, identity, seconds_max, usage, counters)?;
        Ok(Machine::new(self.inner.number, spec.machine_type, options, permit, version))
    }

    /// Replaces a state machine's definition, atomically: executions that were started keep the one they were started
    /// with.
    ///
    /// # Errors
    /// All problems of the definition; the old one stays.
    pub fn update_state_machine(&self, machine: &Machine, definition: &str) -> Result<(), DefinitionError> {
        self.update(machine, definition, None)
    }

    /// As [`update_state_machine`](Engine::update_state_machine), with another role too, if one is given.
    ///
    /// # Errors
    /// All problems of the definition; the old definition and role stay.
    pub fn update(
        &self,
        machine: &Machine,
        definition: &str,
        role_arn: Option<&str>,
    ) -> Result<(), DefinitionError> {
        if machine.inner.engine != self.inner.number {
            return Err(DefinitionError::Foreign);
        }
        let current = machine.current();
        let mut identity = current.identity.clone();
        if let Some(role_arn) = role_arn {
            identity.role_arn = role_arn.into();
        }
        let (seconds_max, usage) = (current.seconds_max, Arc::clone(&current.usage));
        let counters = current.counters.as_ref().map(|counters| Arc::clone(&counters.machine));
        let machine::Inner { options, permit, .. } = &*machine.inner;
        let rules = Rules { options, permit: permit.as_ref() };
        let version = self.version(definition, rules, identity, seconds_max, usage, counters)?;
        machine.replace(version);
        Ok(())
    }

    /// The state machine of this name.
    pub fn state_machine(&self, name: &str) -> Option<Machine> {
        self.inner.machines.get(name).map(|machine| machine.clone())
    }

    /// Unregisters a state machine; its executions continue. Whether there was one of this name.
    pub fn delete_state_machine(&self, name: &str) -> bool {
        self.inner.machines.remove(name).is_some()
    }

    fn version(
        &self,
        definition: &str,
        Rules { options, permit }: Rules<'_>,
        identity: Identity,
        seconds_max: u64,
        usage: Arc<Usage>,
        counters: Option<Arc<MachineCounters>>,
    ) -> Result<Version, DefinitionError> {
        let (definition, problems) = asl::read(definition.as_bytes(), options);
        let Some(definition) = definition else { return Err(DefinitionError::Invalid(problems)) };
        let program = compile::compile(&definition).map_err(DefinitionError::Unsupported)?;
        self.check_stores(&program, &definition)?;
        let parts = VersionParts { definition: &definition, permit, usage, counters };
        self.version_of(Arc::new(program), identity, seconds_max, parts)
    }

    /// Refuses data of distributed Maps for which there is no store.
    fn check_stores(&self, program: &Program, definition: &asl::Definition) -> Result<(), DefinitionError> {
        if self.inner.takes.missing_stores {
            return Ok(());
        }
        let mut resources = program.data_resources();
        resources.retain(|it| self.shared().stores.find(it.resource).is_none());
        if resources.is_empty() {
            return Ok(());
        }
        let refused = resources.into_iter().map(|DataResource { state, field, resource }| {
            let location = definition.state(state).map_or("", |state| &state.location);
            let message = missing_store(resource);
            compile::Error { location: format!("{location}/{field}/Resource"), message }
        });
        Err(DefinitionError::Unsupported(refused.collect()))
    }

    fn version_of(
        &self,
        program: Arc<Program>,
        identity: Identity,
        seconds_max: u64,
        parts: VersionParts<'_>,
    ) -> Result<Version, DefinitionError> {
        let VersionParts { definition, permit, usage, counters } = parts;
        let Inner { handlers, takes, .. } = &*self.inner;
        let work = machine::work(&program, handlers, permit, takes.unhandled);
        let mut work = work.map_err(|it| undone(it, &program, definition))?;
        for (_, map) in program.maps.iter() {
            let Some(distributed) = &map.distributed else { continue };
            let durability = self.shared().durability.as_ref();
            let is_spread = durability.is_some_and(|durability| durability.is_spread());
            if is_spread && !identity.is_standard && !distributed.is_express {
                return Err(not_durable(&program, distributed, definition, ELSEWHERE));
            }
            let keeps_children = distributed.is_express || self.shared().map_runs.is_some();
            if durability.is_some() && identity.is_standard && !keeps_children {
                return Err(not_durable(&program, distributed, definition, ALONE));
            }
            let child = self.child(distributed, &identity, definition, permit)?;
            work[distributed.task] = machine::Work::MapRun(Arc::new(child));
        }
        // 0 means none.
        let number = self.inner.versions.fetch_add(1, Ordering::Relaxed) + 1;
        let mut version = Version::new(number, program, identity, work, seconds_max, usage);
        version.counters = (self.shared().observability.as_ref().zip(counters))
            .map(|(observability, counters)| observability.version(counters, Arc::clone(&version.program)));
        Ok(version)
    }

    /// The version of the child executions of a distributed Map.
    fn child(
        &self,
        distributed: &Distributed,
        parent: &Identity,
        definition: &asl::Definition,
        permit: Option<&Arc<dyn Permit>>,
    ) -> Result<Version, DefinitionError> {
        let label = &distributed.label;
        let identity = Identity {
            state_machine_arn: format!("{}/{label}", parent.state_machine_arn).into(),
            state_machine_name: format!("{}/{label}", parent.state_machine_name).into(),
            role_arn: parent.role_arn.clone(),
            is_standard: !distributed.is_express,
            ..Identity::default()
        };
        let seconds_max = if distributed.is_express {
            self.shared().start.seconds_max
        } else {
            limits::STANDARD_SECONDS_MAX
        };
        let counters = (self.shared().observability.as_ref())
            .map(|observability| Arc::new(observability.counters(&identity.state_machine_arn)));
        let parts = VersionParts { definition, permit, usage: Arc::new(Usage::default()), counters };
        self.version_of(Arc::clone(&distributed.child), identity, seconds_max, parts)
    }

    // ---- the whole engine ----

    /// How many executions there were, by how they ended.
    pub fn counts(&self) -> Counts {
        self.shared().counts()
    }

    /// The limits of what may be under way.
    #[cfg(feature = "service")]
    pub(crate) fn budgets(&self) -> Budgets {
        self.shared().admission.budgets
    }

    /// Executions that are accounted for as under way, and the bytes they are billed. Those that run on their caller's
    /// thread are billed nothing until they yield.
    pub fn usage(&self) -> (usize, usize) {
        (self.shared().running(), self.shared().admission.total.bytes())
    }

    /// How busy each shard is. A watchdog checks whether one has been in the same turn for long, which means that a
    /// user's handler blocks it, for a turn takes well under a millisecond.
    pub fn shard_loads(&self) -> Vec<ShardLoad> {
        let shared = self.shared();
        let load = |remote: &Remote| ShardLoad {
            queued: remote.queued.load(Ordering::Relaxed),
            turn_for: match remote.turn_since_ms.load(Ordering::Relaxed) {
                0 => None,
                since_ms => Some(Duration::from_millis(shared.time.steady_ms().saturating_sub(since_ms))),
            },
        };
        shared.remotes.iter().map(|remote| load(remote)).collect()
    }

    /// Admits no more executions and waits until all are over; those that are not after `within` time out. Resolves to
    /// the counts of executions that ended meanwhile.
    pub async fn drain(&self, within: Duration) -> Counts {
        let shared = self.shared();
        let before = self.counts();
        let at_ms =
            shared.time.steady_ms().saturating_add(u64::try_from(within.as_millis()).unwrap_or(u64::MAX));
        shared.drain_at_ms.fetch_min(at_ms, Ordering::AcqRel);
        if let Some(durability) = &shared.durability {
            durability.leaves.store(true, Ordering::SeqCst);
        }
        shared.gate.close();
        shared.wake_all();
        poll_fn(|context| shared.gate.poll_empty(context, || shared.running())).await;
        self.counts().minus(&before)
    }

    /// A running execution that was started with an [ARN](StartOptions::execution_arn) of its own.
    pub fn find_execution(&self, arn: &str) -> Option<Handle> {
        let found = self.shared().by_arn.get(arn)?;
        let Indexed { completion, version, seed } = &*found;
        Some(Handle {
            completion: Arc::clone(completion),
            shared: Arc::clone(self.shared()),
            version: Arc::clone(version),
            seed: *seed,
        })
    }

    /// Notifies the shards that the time was changed: they check their timers.
    pub fn tick(&self) {
        self.shared().wake_all();
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

/// The message for a distributed Map's data without a store, and what to set.
fn missing_store(resource: &str) -> String {
    let action = resource.split_once(":states:::").map(|(_, action)| action);
    let setting = match action.and_then(|action| action.split_once(':')) {
        Some(("file", _)) => "Name the folder of files with --files DIR (in the library, Builder::files)",
        Some(("s3", _)) => {
            "Allow service tasks (`run --services`, `serve` without --no-integrations), and name S3 by --endpoint S3=URL, or \
             give credentials of AWS (in the library, Builder::aws)"
        }
        _ => "Register one with Builder::data_store",
    };
    format!("{resource} is not supported: no data store is registered for it. {setting}")
}
