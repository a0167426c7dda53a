//! What answers the tasks of a workflow on the command line.

use std::path::Path;

use expressway::engine::{Execution, TaskCall};
use expressway::fault::{self, Fault};
use expressway::program::Program;
#[cfg(feature = "cli-services")]
use expressway::task::aws::{InLine, Integrations};
use expressway::task::mock::{MockConfig, TestCase};
use expressway::task::{Answer, Tasks};

use super::{Stop, definition};

/// Mocks where there are some, and services where they may be called.
#[derive(Clone, Default)]
pub(super) struct Mocked {
    mocks: Option<TestCase>,
    #[cfg(feature = "cli-services")]
    services: Option<Integrations>,
}

/// What answers the tasks of one thread.
pub(super) struct Answers {
    mocks: Option<TestCase>,
    #[cfg(feature = "cli-services")]
    services: Option<InLine>,
}

impl Tasks for Answers {
    fn start(&mut self, program: &Program, execution: &mut Execution, call: &TaskCall) -> Answer {
        let (state, resource) = (program.name(call.state), &program.tasks[call.task].resource.arn);
        if let Some(mocks) = &mut self.mocks
            && mocks.has(state)
        {
            return mocks.start(program, execution, call);
        }
        #[cfg(feature = "cli-services")]
        if let Some(services) = &mut self.services {
            return services.start(program, execution, call);
        }
        let advice = match self.mocks {
            Some(_) => "the test case has no response for the state",
            None => "services are called with --services only; or give answers with --mock",
        };
        // `States.Runtime`, because no Retry or Catch should take this for something that happens to workflows.
        let cause = format!("Nothing answers the task {resource} of the state {state}: {advice}.");
        Answer::Now(Err(Fault::new(fault::RUNTIME, cause)))
    }
}

impl Mocked {
    fn by(mocks: TestCase) -> Mocked {
        Mocked {
            mocks: Some(mocks),
            #[cfg(feature = "cli-services")]
            services: None,
        }
    }

    /// Services are called for tasks without a mock.
    #[cfg(feature = "cli-services")]
    pub(super) fn or_services(self, integrations: Integrations) -> Mocked {
        Mocked { services: Some(integrations), ..self }
    }

    pub(super) fn answers(&self) -> Answers {
        Answers {
            mocks: self.mocks.clone(),
            #[cfg(feature = "cli-services")]
            services: self.services.clone().map(InLine::new),
        }
    }

    /// The test case of a mock configuration that `test` names, as `MACHINE#CASE` or `CASE`. What it does not name is
    /// taken from the file where there is one only; the machine may also be the one called `machine`.
    pub(super) fn read(file: &Path, test: Option<&str>, machine: &str) -> Result<Mocked, Stop> {
        let wrong = |error| Stop::failed(format!("{}: {error}", file.display()));
        let config = MockConfig::parse(&definition::text(file)?).map_err(wrong)?;
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
        config.test_case(machine, case).map(Mocked::by).map_err(wrong)
    }
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
