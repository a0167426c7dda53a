//! What answers the tasks of a workflow on the command line.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use expressway::asl::did_you_mean;
use expressway::engine::{Execution, TaskCall};
use expressway::fault::{self, Fault};
use expressway::program::{Program, ResourceKind, StateKind};
use expressway::runtime::{Builder, Engine};
#[cfg(feature = "cli-services")]
use expressway::task::aws::Integrations;
#[cfg(feature = "cli-services")]
use expressway::task::functions::Functions;
use expressway::task::mock::{MockConfig, MockError, TestCase};
use expressway::task::{Answer, Tasks};

use super::{Stop, files};

/// Mocks, and services where they may be called.
#[derive(Clone, Default)]
pub(super) struct Mocked {
    mocks: Option<TestCase>,
    /// Why the tasks of a state have no answer, by the state's name.
    unanswered: Arc<HashMap<Box<str>, String>>,
    #[cfg(feature = "cli-services")]
    services: Option<Integrations>,
    /// Whether only local Lambda functions are called.
    only_functions: bool,
}

/// Answers tasks in place of services.
pub(super) struct Answers {
    mocks: Option<TestCase>,
    unanswered: Arc<HashMap<Box<str>, String>>,
}

impl Tasks for Answers {
    fn start(&mut self, program: &Program, execution: &mut Execution, call: &TaskCall) -> Answer {
        let state = program.name(call.state);
        if let Some(mocks) = self.mocks.as_mut().filter(|mocks| mocks.answers(state)) {
            return mocks.start(program, execution, call);
        }
        let cause = self.unanswered.get(state).cloned().unwrap_or_default();
        // `States.Runtime`, because Retry and Catch should not handle this like an error of the workflow.
        Answer::Now(Err(Fault::new(fault::RUNTIME, cause)))
    }

    fn answers(&self, state: &str) -> bool {
        self.unanswered.contains_key(state) || self.mocks.as_ref().is_some_and(|mocks| mocks.answers(state))
    }
}

impl Mocked {
    fn by(mocks: TestCase) -> Mocked {
        Mocked { mocks: Some(mocks), ..Mocked::default() }
    }

    /// Services are called for tasks without a mock.
    #[cfg(feature = "cli-services")]
    pub(super) fn or_services(self, integrations: Integrations) -> Mocked {
        Mocked { services: Some(integrations), ..self }
    }

    /// Only local Lambda functions are called for tasks without a mock.
    #[cfg(feature = "cli-services")]
    pub(super) fn or_functions(self, functions: Functions) -> Mocked {
        let services = Some(Integrations::new().functions(functions));
        Mocked { services, only_functions: true, ..self }
    }

    fn has_services(&self) -> bool {
        #[cfg(feature = "cli-services")]
        let has = self.services.is_some();
        #[cfg(not(feature = "cli-services"))]
        let has = false;
        has
    }

    /// Prepares it for the tasks of this program.
    pub(super) fn of(mut self, program: &Program) -> Mocked {
        let mut unanswered = HashMap::new();
        self.add_unanswered(program, &mut unanswered);
        self.unanswered = Arc::new(unanswered);
        if !self.has_services() {
            // The test case itself reports a missing mock.
            self.mocks = self.mocks.map(|mocks| mocks.to_mock(task_states(program)));
        }
        self
    }

    fn add_unanswered(&self, program: &Program, unanswered: &mut HashMap<Box<str>, String>) {
        for (id, state) in program.states.iter() {
            let (StateKind::Task(task), name) = (&state.kind, program.name(id)) else { continue };
            let resource = &program.tasks[*task].resource;
            if let Some(cause) = self.nobody(name, &resource.arn, resource.waits_for_token, &resource.kind) {
                unanswered.insert(name.into(), cause);
            }
        }
        for (_, map) in program.maps.iter() {
            if let Some(distributed) = &map.distributed {
                self.add_unanswered(&distributed.child, unanswered);
            }
        }
    }

    /// Why a task has no answer, if it has none.
    fn nobody(&self, state: &str, arn: &str, waits: bool, kind: &ResourceKind) -> Option<String> {
        if self.mocks.as_ref().is_some_and(|mocks| mocks.has(state)) {
            return None;
        }
        if !self.has_services() && self.mocks.is_some() {
            return None;
        }
        let advice = match (self.has_services(), kind) {
            (_, ResourceKind::Activity) => {
                "no worker asks for it here, as one can with `expressway serve`; give answers with --mock"
            }
            (_, _) if waits => {
                "its task token cannot be answered here, as it can with `expressway serve`; give answers with --mock"
            }
            (true, kind) if !self.only_functions || is_function(kind) => return None,
            (true, _) => {
                "services other than the functions given are called with --services only; or give answers with --mock"
            }
            (false, _) => "services are called with --services only; or give answers with --mock",
        };
        Some(format!("Nothing answers the task {arn} of the state {state}: {advice}."))
    }

    /// Whether executions of the program take time that others could use: they wait, or call.
    pub(super) fn waits(&self, program: &Program) -> bool {
        let is_waiting = |kind: &StateKind| match kind {
            StateKind::Wait(_) => true,
            StateKind::Task(_) => self.has_services(),
            // Its children run on an engine.
            StateKind::Map(map) => program.maps[*map].distributed.is_some(),
            _ => false,
        };
        (program.states.iter()).any(|(_, state)| {
            let retries = state.recovery.is_some_and(|recovery| !program.recovery[recovery].retry.is_empty());
            // No tasks have answers: nothing is retried.
            let is_tried = !matches!(state.kind, StateKind::Task(_)) || self.mocks.is_some();
            is_waiting(&state.kind) || (retries && is_tried)
        })
    }

    /// An engine that calls the services.
    pub(super) fn engine(&self) -> Builder {
        // A task without a handler fails when it begins, with an error that names the resource.
        let builder = Engine::builder().accept_unhandled(true);
        #[cfg(feature = "cli-services")]
        if let Some(services) = &self.services {
            // A task that is not supported may never be reached: it fails when it begins.
            return builder.aws(services.clone().accept_unsupported());
        }
        builder
    }

    /// For one execution.
    pub(super) fn answers(&self) -> Answers {
        Answers { mocks: self.mocks.clone(), unanswered: Arc::clone(&self.unanswered) }
    }

    /// For one execution on an engine, if anything is answered in place of services.
    pub(super) fn tasks(&self) -> Option<Box<dyn Tasks + Send>> {
        let has_none = self.mocks.is_none() && self.unanswered.is_empty();
        (!has_none).then(|| Box::new(self.answers()) as Box<dyn Tasks + Send>)
    }

    /// The test case of a mock configuration that `test` names, as `MACHINE#CASE` or `CASE`. A missing part is taken
    /// from the file if it has only one; the machine may also be the one named `machine`.
    pub(super) fn read(file: &Path, test: Option<&str>, machine: &str) -> Result<Mocked, Stop> {
        let wrong = |error: MockError| {
            let file = file.display();
            // It names what was meant.
            if let MockError::Misspelt { .. } = error {
                return Stop::failed(format!("{file}: {error}"));
            }
            Stop::failed(format!(
                "{file}: {error}; a mock configuration is that of Step Functions Local: StateMachines and MockedResponses"
            ))
        };
        let config = MockConfig::parse(&files::text(file)?).map_err(wrong)?;
        let (named, case) = match test.map(|test| test.split_once('#').ok_or(test)) {
            Some(Ok((machine, case))) => (Some(machine), Some(case)),
            Some(Err(case)) => (None, Some(case)),
            None => (None, None),
        };
        let machines: Vec<&str> = config.state_machines().collect();
        let machine = match named.or_else(|| machines.iter().copied().find(|it| *it == machine)) {
            Some(machine) => machine,
            None => only("state machine", &machines, file)?,
        };
        let cases: Vec<&str> = config.test_cases(machine).collect();
        let case = match case {
            Some(case) => case,
            None => only("test case", &cases, file)?,
        };
        config.test_case(machine, case).map(Mocked::by).map_err(|error| {
            let (asked, names) = match &error {
                MockError::NoResponse { response, .. } => (&**response, config.responses().collect()),
                MockError::NoTestCase { .. } => (case, cases),
                _ => return wrong(error),
            };
            let advice = did_you_mean(asked, names.iter().copied());
            let advice = advice.unwrap_or_else(|| match names[..] {
                [] => "the file has none".to_owned(),
                _ => format!("the file has {}", names.join(", ")),
            });
            Stop::failed(format!("{}: {error}: {advice}", file.display()))
        })
    }
}

/// Whether a resource is a Lambda function, or invokes one.
fn is_function(kind: &ResourceKind) -> bool {
    match kind {
        ResourceKind::Service { service, .. } => matches!(&**service, "lambda" | "aws-sdk:lambda"),
        kind => *kind == ResourceKind::Function,
    }
}

/// The names of all Task states, including those of a distributed Map's children.
fn task_states(program: &Program) -> Vec<&str> {
    let is_task = |kind: &StateKind| matches!(kind, StateKind::Task(_));
    let own = program.states.iter().filter(|(_, state)| is_task(&state.kind)).map(|(id, _)| program.name(id));
    let children = program.maps.iter().filter_map(|(_, map)| map.distributed.as_ref());
    own.chain(children.flat_map(|distributed| task_states(&distributed.child))).collect()
}

fn only<'n>(what: &str, names: &[&'n str], file: &Path) -> Result<&'n str, Stop> {
    match names {
        [name] => Ok(name),
        [] => Err(Stop::failed(format!("{} has no {what}", file.display()))),
        names => Err(Stop::failed(format!(
            "{} has more than one {what}: say which with --test MACHINE#CASE ({})",
            file.display(),
            names.join(", ")
        ))),
    }
}
