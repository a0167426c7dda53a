//! State machines, their versions, and aliases that route executions to versions.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::admission::Usage;
use super::job::TRANSITIONS_PER_EXECUTION;
use super::weight::is_light;
use crate::asl::{self, MachineType, Resources};
use crate::engine::Identity;
use crate::index::{Id, Table};
use crate::limits;
use crate::observe::VersionCounters;
use crate::observe::log::Level;
use crate::program::{Next, Program, ResourceKind, StateId, StateKind, TaskId, Wait};
use crate::task::{AsyncHandler, Handler, Handlers, Permit, Permitted};

/// The parts of a state machine.
///
/// ```
/// use expressway::asl::MachineType;
/// use expressway::runtime::{Engine, MachineSpec};
///
/// let engine = Engine::builder().shards(1).build()?;
/// let definition = r#"{"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 86400, "End": true}}}"#;
/// let spec = MachineSpec { machine_type: MachineType::Standard, ..MachineSpec::new("daily", definition) };
/// let machine = engine.create(&spec)?;
/// assert_eq!(machine.arn(), "arn:aws:states:us-east-1:123456789012:stateMachine:daily");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct MachineSpec<'a> {
    /// Its name.
    pub name: &'a str,
    /// Amazon States Language, as JSON text.
    pub definition: &'a str,
    /// Its ARN; without one, it is derived from the name, in an example region and account.
    pub arn: Option<&'a str>,
    /// The ARN of the role that the context object shows.
    pub role_arn: Option<&'a str>,
    /// Express machines have the limits of the engine's [`Profile`](super::Profile). Standard ones may take a year, and
    /// may use activities, callbacks and `.sync`, whatever the profile; they are not durable by that.
    pub machine_type: MachineType,
    /// Which resources its tasks may name; by default, as the engine's profile has it.
    pub resources: Option<Resources>,
    /// Checked before tasks begin that asynchronous handlers do; without it, they do every task.
    pub permit: Option<Arc<dyn Permit>>,
}

impl<'a> MachineSpec<'a> {
    /// An Express machine without an ARN of its own.
    pub const fn new(name: &'a str, definition: &'a str) -> MachineSpec<'a> {
        let machine_type = MachineType::Express;
        let (arn, role_arn, resources, permit) = (None, None, None, None);
        MachineSpec { name, definition, arn, role_arn, machine_type, resources, permit }
    }

    pub(super) fn identity(&self) -> Identity {
        let made = || format!("arn:aws:states:us-east-1:123456789012:stateMachine:{}", self.name);
        Identity {
            state_machine_arn: self.arn.map_or_else(made, str::to_owned).into(),
            state_machine_name: self.name.into(),
            role_arn: self.role_arn.unwrap_or("arn:aws:iam::123456789012:role/expressway").into(),
            is_standard: self.machine_type == MachineType::Standard,
            ..Identity::default()
        }
    }
}

/// A state machine of an engine. Clones are the same machine. It lives as long as it is referenced, or an execution
/// runs.
#[derive(Clone, Debug)]
pub struct Machine {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    /// The engine it belongs to.
    pub(super) engine: u64,
    name: Box<str>,
    arn: Box<str>,
    machine_type: MachineType,
    /// How its definitions are read.
    pub(super) options: asl::Options,
    pub(super) permit: Option<Arc<dyn Permit>>,
    current: RwLock<Arc<Version>>,
}

impl Machine {
    pub(super) fn new(
        engine: u64,
        machine_type: MachineType,
        options: asl::Options,
        permit: Option<Arc<dyn Permit>>,
        version: Version,
    ) -> Machine {
        let (name, arn) =
            (version.identity.state_machine_name.clone(), version.identity.state_machine_arn.clone());
        let current = RwLock::new(Arc::new(version));
        Machine { inner: Arc::new(Inner { engine, name, arn, machine_type, options, permit, current }) }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Its ARN.
    pub fn arn(&self) -> &str {
        &self.inner.arn
    }

    /// Its type.
    pub fn machine_type(&self) -> MachineType {
        self.inner.machine_type
    }

    /// The program of executions that start now.
    pub fn program(&self) -> Arc<Program> {
        Arc::clone(&self.current().program)
    }

    /// Whether nothing in it waits or calls, so that an execution can run to its end on any thread.
    pub fn is_pure(&self) -> bool {
        self.current().is_pure
    }

    /// Executions that wait to begin, or run, of all versions, without those on their caller's thread.
    pub fn executions(&self) -> usize {
        self.current().usage.executions()
    }

    /// Bytes its executions are billed.
    pub fn bytes(&self) -> usize {
        self.current().usage.bytes()
    }

    /// Sets what is logged of its executions from now on (`loggingConfiguration`), if the engine has a
    /// [log](crate::observe::Setup::log): at which level, and whether with inputs, outputs and variables.
    pub fn set_logging(&self, level: Level, include_execution_data: bool) {
        if let Some(counters) = &self.current().counters {
            counters.machine.set_logging(level, include_execution_data);
        }
    }

    /// The machine's current version, which updates do not change (`PublishStateMachineVersion`).
    pub fn publish(&self) -> Published {
        Published { engine: self.inner.engine, version: self.current() }
    }

    pub(super) fn current(&self) -> Arc<Version> {
        // No code panics while it holds the lock.
        Arc::clone(&self.inner.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn replace(&self, version: Version) {
        *self.inner.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(version);
    }
}

/// A version of a state machine, which never changes.
#[derive(Clone, Debug)]
pub struct Published {
    engine: u64,
    version: Arc<Version>,
}

impl Published {
    pub(super) fn of(engine: u64, version: Arc<Version>) -> Published {
        Published { engine, version }
    }

    /// Its program.
    pub fn program(&self) -> &Arc<Program> {
        &self.version.program
    }

    /// The Task states whose tasks call services outside of this process, or have no handler.
    #[cfg(feature = "service")]
    pub(crate) fn states_that_call_out(&self) -> impl Iterator<Item = &str> {
        // Including those of child executions.
        let mut versions = vec![&*self.version];
        let mut at = 0;
        while let Some(&version) = versions.get(at) {
            at += 1;
            versions.extend(version.work.iter().filter_map(|(_, work)| match work {
                Work::MapRun(child) => Some(&**child),
                _ => None,
            }));
        }
        versions.into_iter().flat_map(Version::states_that_call_out)
    }

    /// The version of the children of one of its Map Runs, or of a child's: by the ARN of their state machine.
    #[cfg(feature = "service")]
    pub(crate) fn child(&self, machine_arn: &str) -> Option<Published> {
        let mut versions = vec![&self.version];
        while let Some(version) = versions.pop() {
            if *version.identity.state_machine_arn == *machine_arn {
                return Some(Published { engine: self.engine, version: Arc::clone(version) });
            }
            versions.extend(version.work.iter().filter_map(|(_, work)| match work {
                Work::MapRun(child) => Some(child),
                _ => None,
            }));
        }
        None
    }

    /// Whether its executions are Standard ones.
    pub fn is_standard(&self) -> bool {
        self.version.identity.is_standard
    }
}

/// Routes executions to versions by weight. Clones are the same alias.
///
/// Which version an execution gets follows from the engine's seed and how many executions there were before.
#[derive(Clone, Debug)]
pub struct Alias {
    engine: u64,
    routes: Arc<RwLock<Routes>>,
}

#[derive(Debug)]
struct Routes {
    rows: Vec<(Arc<Version>, u32)>,
    total: u64,
}

/// Why versions are refused for an alias.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// No version has any weight.
    #[error("no version has any weight")]
    NoWeight,
    /// They belong to different engines.
    #[error("the versions belong to different engines")]
    Foreign,
}

impl Alias {
    /// An alias for these versions, each with its weight.
    ///
    /// # Errors
    /// When all weights are 0, or the versions are not all of one engine.
    pub fn new(routes: &[(&Published, u32)]) -> Result<Alias, RouteError> {
        let (engine, routes) = Alias::routes(routes)?;
        Ok(Alias { engine, routes: Arc::new(RwLock::new(routes)) })
    }

    /// Changes the versions and weights atomically: executions that were started keep theirs.
    ///
    /// # Errors
    /// As [`new`](Alias::new); the old routes stay.
    pub fn set(&self, routes: &[(&Published, u32)]) -> Result<(), RouteError> {
        let (engine, routes) = Alias::routes(routes)?;
        if engine != self.engine {
            return Err(RouteError::Foreign);
        }
        *self.routes.write().unwrap_or_else(PoisonError::into_inner) = routes;
        Ok(())
    }

    fn routes(routes: &[(&Published, u32)]) -> Result<(u64, Routes), RouteError> {
        let total = routes.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let Some((first, _)) = routes.first().filter(|_| total > 0) else { return Err(RouteError::NoWeight) };
        if routes.iter().any(|(version, _)| version.engine != first.engine) {
            return Err(RouteError::Foreign);
        }
        let rows = routes.iter().map(|(version, weight)| (Arc::clone(&version.version), *weight)).collect();
        Ok((first.engine, Routes { rows, total }))
    }

    /// The version for an execution with this random number.
    fn pick(&self, random: u64) -> Arc<Version> {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        let mut left = ((u128::from(random) * u128::from(routes.total)) >> 64) as u64;
        for (version, weight) in &routes.rows {
            match left.checked_sub(u64::from(*weight)) {
                None => return Arc::clone(version),
                Some(less) => left = less,
            }
        }
        // `left` is less than the sum of all weights.
        Arc::clone(&routes.rows[0].0)
    }
}

/// What can be started: a machine's current version, a version, or an alias.
#[derive(Clone, Copy, Debug)]
pub enum Target<'t> {
    /// The machine's current version.
    Machine(&'t Machine),
    /// One version.
    Published(&'t Published),
    /// One of several versions.
    Alias(&'t Alias),
}

impl<'t> Target<'t> {
    pub(super) fn engine(&self) -> u64 {
        match self {
            Target::Machine(machine) => machine.inner.engine,
            Target::Published(version) => version.engine,
            Target::Alias(alias) => alias.engine,
        }
    }

    /// Whether all executions get the same version as long as nothing is changed.
    pub(super) fn is_one(&self) -> bool {
        !matches!(self, Target::Alias(_))
    }

    /// The version for an execution; `random` is called if it matters.
    pub(super) fn pick(self, random: impl FnOnce() -> u64) -> Cow<'t, Arc<Version>> {
        match self {
            Target::Machine(machine) => Cow::Owned(machine.current()),
            Target::Published(version) => Cow::Borrowed(&version.version),
            Target::Alias(alias) => Cow::Owned(alias.pick(random())),
        }
    }
}

impl<'t> From<&'t Machine> for Target<'t> {
    fn from(machine: &'t Machine) -> Target<'t> {
        Target::Machine(machine)
    }
}

impl<'t> From<&'t Published> for Target<'t> {
    fn from(version: &'t Published) -> Target<'t> {
        Target::Published(version)
    }
}

impl<'t> From<&'t Alias> for Target<'t> {
    fn from(alias: &'t Alias) -> Target<'t> {
        Target::Alias(alias)
    }
}

/// A program with everything needed to run it. Executions keep theirs to their end.
#[derive(Debug)]
pub(super) struct Version {
    /// Unique among the versions of this engine.
    pub(super) number: u64,
    pub(super) program: Arc<Program>,
    /// The program's.
    pub(super) fingerprint: u64,
    pub(super) identity: Identity,
    /// How long its executions may take.
    pub(super) seconds_max: u64,
    /// The handlers of its tasks.
    pub(super) work: Table<TaskId, Work>,
    /// Nothing in it waits or calls: it can run to its end on any thread.
    pub(super) is_pure: bool,
    /// Each of its states takes negligible time: see [`weight`](super::weight).
    pub(super) is_light: bool,
    /// It is pure and light, and all its executions are over in one turn.
    pub(super) is_short: bool,
    /// It may wait for a time of day.
    pub(super) waits_for_times: bool,
    /// How many starts go to a shard at once, because one took too long on its caller's thread.
    elsewhere: AtomicU32,
    /// What the machine's executions use, of all versions.
    pub(super) usage: Arc<Usage>,
    /// Its counters, if metrics are on.
    pub(super) counters: Option<Arc<VersionCounters>>,
}

/// How a task is done.
#[derive(Clone)]
pub(super) enum Work {
    /// No handler: the task fails.
    Missing,
    InLine(Arc<dyn Handler>),
    Async(Arc<dyn AsyncHandler>),
    /// A worker that polls the activity.
    Activity,
    /// Child executions of this version.
    MapRun(Arc<Version>),
}

/// A registered handler of either kind.
pub(super) enum Registered {
    InLine(Arc<dyn Handler>),
    Async(Arc<dyn AsyncHandler>),
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Work::Missing => "Missing",
            Work::InLine(_) => "InLine",
            Work::Async(_) => "Async",
            Work::Activity => "Activity",
            Work::MapRun(_) => "MapRun",
        })
    }
}

/// Tasks that cannot be done.
pub(super) enum Undone {
    /// A handler refuses them.
    Refused(Vec<(TaskId, String)>),
    /// There is no handler.
    Unhandled(Vec<(TaskId, String)>),
}

/// How the tasks of a program are done.
///
/// # Errors
/// The tasks that a handler refuses, and why; or, unless that is accepted, those without a handler.
pub(super) fn work(
    program: &Program,
    handlers: &Handlers<Registered>,
    permit: Option<&Arc<dyn Permit>>,
    accept_unhandled: bool,
) -> Result<Table<TaskId, Work>, Undone> {
    let (mut work, mut refused, mut unhandled) = (Table::default(), Vec::new(), Vec::new());
    // Their work is set when their child's version is made.
    let map_runs: Vec<TaskId> =
        program.maps.iter().filter_map(|(_, map)| Some(map.distributed.as_ref()?.task)).collect();
    for (id, task) in program.tasks.iter() {
        let found = match handlers.find(&task.resource.arn).map(|handler| &**handler) {
            Some(Registered::InLine(handler)) => Work::InLine(Arc::clone(handler)),
            Some(Registered::Async(handler)) => match handler.resolve(task) {
                Ok(own) => {
                    let handler = own.unwrap_or_else(|| Arc::clone(handler));
                    Work::Async(match permit.filter(|permit| permit.concerns(task)) {
                        Some(permit) => Arc::new(Permitted { permit: Arc::clone(permit), handler }),
                        None => handler,
                    })
                }
                Err(why) => {
                    refused.push((id, why));
                    Work::Missing
                }
            },
            None if task.resource.kind == ResourceKind::Activity => Work::Activity,
            None if accept_unhandled || map_runs.contains(&id) => Work::Missing,
            None => {
                let arn = &task.resource.arn;
                let near = asl::did_you_mean(arn, handlers.names());
                let near = near.map_or_else(String::new, |near| format!(" ({near})"));
                unhandled.push((id, format!("no handler is registered for the resource {arn}{near}")));
                Work::Missing
            }
        };
        let _: TaskId = work.push(found);
    }
    match (refused.is_empty(), unhandled.is_empty()) {
        (false, _) => Err(Undone::Refused(refused)),
        (true, false) => Err(Undone::Unhandled(unhandled)),
        (true, true) => Ok(work),
    }
}

impl Version {
    pub(super) fn new(
        number: u64,
        program: Arc<Program>,
        identity: Identity,
        work: Table<TaskId, Work>,
        seconds_max: u64,
        usage: Arc<Usage>,
    ) -> Version {
        let is_pure = (program.states.iter())
            .all(|(_, state)| !matches!(state.kind, StateKind::Task(_) | StateKind::Wait(_)))
            && program.maps.iter().all(|(_, map)| map.distributed.is_none())
            // Only tasks and joins can be retried after a delay; a join is retried when a child fails.
            && (program.states.iter()).all(|(_, state)| {
                state.recovery.is_none_or(|handlers| program.recovery[handlers].retry.is_empty())
            });
        let is_light = is_light(&program);
        let waits_for_times = program.waits.iter().any(|(_, wait)| !matches!(wait, Wait::Seconds(_)));
        let is_short = is_pure && is_light && is_short(&program);
        Version {
            number,
            fingerprint: program.fingerprint(),
            program,
            identity,
            seconds_max,
            work,
            is_pure,
            is_light,
            is_short,
            waits_for_times,
            elsewhere: AtomicU32::new(0),
            usage,
            counters: None,
        }
    }

    /// The Task states whose tasks call services outside of this process, or have no handler.
    #[cfg(feature = "service")]
    fn states_that_call_out(&self) -> impl Iterator<Item = &str> {
        self.program.states.iter().filter_map(|(id, state)| {
            let StateKind::Task(task) = state.kind else { return None };
            let calls_out = match self.work(task) {
                Work::Missing => true,
                Work::Async(handler) => handler.calls_out(),
                Work::InLine(_) | Work::Activity | Work::MapRun(_) => false,
            };
            calls_out.then(|| self.program.name(id))
        })
    }

    /// Whether a start is tried on its caller's thread.
    pub(super) fn is_tried_here(&self) -> bool {
        match self.elsewhere.load(Ordering::Relaxed) {
            0 => self.is_pure,
            // Two threads that count two starts as one do no harm.
            left => {
                self.elsewhere.store(left - 1, Ordering::Relaxed);
                false
            }
        }
    }

    /// One took too long on its caller's thread.
    pub(super) fn took_too_long_here(&self) {
        self.elsewhere.store(limits::STARTS_ELSEWHERE, Ordering::Relaxed);
    }

    pub(super) fn work(&self, task: TaskId) -> &Work {
        debug_assert!(task.index() < self.work.len());
        &self.work[task]
    }
}

/// Whether no execution enters a state twice: there is no Map, and no state leads back to itself.
fn is_short(program: &Program) -> bool {
    let states = program.states.len();
    let has_map = program.states.iter().any(|(_, state)| matches!(state.kind, StateKind::Map(_)));
    if has_map || states >= TRANSITIONS_PER_EXECUTION as usize {
        return false;
    }
    // How many ways lead to each state; states without any are removed repeatedly, until none is left or a cycle is.
    let targets = |state: StateId| {
        let row = &program.states[state];
        let next = match row.next {
            Next::State(next) => Some(next),
            _ => None,
        };
        let rules = match row.kind {
            StateKind::Choice(choice) => &*program.choices[choice].rules,
            _ => &[],
        };
        let catch = row.recovery.map_or(&[][..], |handlers| &program.recovery[handlers].catch);
        let rules = rules.iter().map(|rule| rule.next);
        next.into_iter().chain(rules).chain(catch.iter().map(|catcher| catcher.next)).collect::<Vec<_>>()
    };
    let mut ways = vec![0u32; states];
    for (state, _) in program.states.iter() {
        targets(state).into_iter().for_each(|target| ways[target.index()] += 1);
    }
    let mut free: Vec<StateId> =
        program.states.iter().map(|(state, _)| state).filter(|state| ways[state.index()] == 0).collect();
    let mut taken = 0;
    while let Some(state) = free.pop() {
        taken += 1;
        for target in targets(state) {
            ways[target.index()] -= 1;
            if ways[target.index()] == 0 {
                free.push(target);
            }
        }
    }
    taken == states
}
