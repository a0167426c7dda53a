//! State machines and their versions.

use std::sync::{Arc, PoisonError, RwLock};

use super::admission::Usage;
use crate::engine::Identity;
use crate::index::{Id, Table};
use crate::program::{Program, ResourceKind, StateKind, TaskId};
use crate::task::{AsyncHandler, Handler, Handlers};

/// A state machine of an engine. Clones are the same machine.
#[derive(Clone, Debug)]
pub struct Machine {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    /// Which engine it belongs to.
    pub(super) engine: u64,
    name: Box<str>,
    arn: Box<str>,
    current: RwLock<Arc<Version>>,
}

impl Machine {
    pub(super) fn new(engine: u64, version: Version) -> Machine {
        let (name, arn) =
            (version.identity.state_machine_name.clone(), version.identity.state_machine_arn.clone());
        Machine { inner: Arc::new(Inner { engine, name, arn, current: RwLock::new(Arc::new(version)) }) }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Its ARN.
    pub fn arn(&self) -> &str {
        &self.inner.arn
    }

    /// The program of executions that start now.
    pub fn program(&self) -> Arc<Program> {
        Arc::clone(&self.current().program)
    }

    /// Executions that wait to begin, or run; those that run on the thread of their caller are left out.
    pub fn executions(&self) -> usize {
        self.current().usage.executions()
    }

    /// Bytes its executions are billed.
    pub fn bytes(&self) -> usize {
        self.current().usage.bytes()
    }

    pub(super) fn current(&self) -> Arc<Version> {
        // Nothing panics while it holds the lock.
        Arc::clone(&self.inner.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn replace(&self, version: Version) {
        *self.inner.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(version);
    }
}

/// A program with all it takes to run it. Executions keep theirs to their end.
#[derive(Debug)]
pub(super) struct Version {
    /// No other version of this engine has the same.
    pub(super) number: u64,
    pub(super) program: Arc<Program>,
    pub(super) identity: Identity,
    /// Who does the tasks.
    pub(super) work: Table<TaskId, Work>,
    /// Nothing in it waits or calls: it runs to its end wherever it begins.
    pub(super) is_pure: bool,
    /// What the machine's executions take, of all versions.
    pub(super) usage: Arc<Usage>,
}

/// Who does a task.
#[derive(Clone)]
pub(super) enum Work {
    /// Nobody: the task fails.
    Missing,
    InLine(Arc<dyn Handler>),
    Async(Arc<dyn AsyncHandler>),
    /// A worker that polls the activity.
    Activity,
}

/// What handlers of both kinds are registered as.
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
        })
    }
}

/// Who does the tasks of a program.
///
/// # Errors
/// The tasks that a handler refuses, and why.
pub(super) fn work(
    program: &Program,
    handlers: &Handlers<Registered>,
) -> Result<Table<TaskId, Work>, Vec<(TaskId, String)>> {
    let (mut work, mut refused) = (Table::default(), Vec::new());
    for (id, task) in program.tasks.iter() {
        let found = match handlers.find(&task.resource.arn).map(|handler| &**handler) {
            Some(Registered::InLine(handler)) => Work::InLine(Arc::clone(handler)),
            Some(Registered::Async(handler)) => match handler.resolve(task) {
                Ok(own) => Work::Async(own.unwrap_or_else(|| Arc::clone(handler))),
                Err(why) => {
                    refused.push((id, why));
                    Work::Missing
                }
            },
            None if task.resource.kind == ResourceKind::Activity => Work::Activity,
            None => Work::Missing,
        };
        let _: TaskId = work.push(found);
    }
    if refused.is_empty() { Ok(work) } else { Err(refused) }
}

impl Version {
    pub(super) fn new(
        number: u64,
        program: Program,
        identity: Identity,
        work: Table<TaskId, Work>,
        usage: Arc<Usage>,
    ) -> Version {
        let is_pure = (program.states.iter())
            .all(|(_, state)| !matches!(state.kind, StateKind::Task(_) | StateKind::Wait(_)))
            // Only tasks and joins can be retried after a delay; a join is, when something in it fails.
            && (program.states.iter()).all(|(_, state)| {
                state.handlers.is_none_or(|handlers| program.handlers[handlers].retry.is_empty())
            });
        Version { number, program: Arc::new(program), identity, work, is_pure, usage }
    }

    pub(super) fn work(&self, task: TaskId) -> &Work {
        debug_assert!(task.index() < self.work.len());
        &self.work[task]
    }
}
