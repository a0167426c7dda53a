//! The destinations of tasks on a server, and what to set for tasks without one.

use std::collections::BTreeMap;

use expressway::program::{Program, ResourceKind, StateKind};
use expressway::task::aws::Integrations;
use expressway::task::mock::MockConfig;

/// What a server calls for tasks.
pub(in crate::cli) struct Destinations {
    /// `None` if no services are called.
    pub(in crate::cli) integrations: Option<Integrations>,
    pub(in crate::cli) mocks: Option<MockConfig>,
}

impl Destinations {
    /// A line for each resource of a machine: what it is, where its tasks go, and the states that name it.
    pub(in crate::cli) fn of(&self, machine: &str, program: &Program) -> Vec<String> {
        let mut states: BTreeMap<(&str, String), Vec<&str>> = BTreeMap::new();
        for (id, state) in program.states.iter() {
            let StateKind::Task(task) = &state.kind else { continue };
            let (resource, name) = (&program.tasks[*task].resource, program.name(id));
            let place = self.place(machine, name, &resource.arn, &resource.kind);
            states.entry((&resource.arn, place)).or_default().push(name);
        }
        let line = |((arn, place), names): (&(&str, String), &Vec<&str>)| {
            format!("{arn} → {place} ({})", names.join(", "))
        };
        states.iter().map(line).collect()
    }

    fn place(&self, machine: &str, state: &str, arn: &str, kind: &ResourceKind) -> String {
        let mocked: Vec<&str> = (self.mocks.iter())
            .flat_map(|mocks| mocks.test_cases(machine).map(move |case| (mocks, case)))
            .filter(|(mocks, case)| mocks.test_case(machine, case).is_ok_and(|case| case.has(state)))
            .map(|(_, case)| case)
            .collect();
        let elsewhere = self.elsewhere(arn, kind);
        if mocked.is_empty() {
            elsewhere
        } else {
            format!("the mock, in the test cases {}; else {elsewhere}", mocked.join(", "))
        }
    }

    fn elsewhere(&self, arn: &str, kind: &ResourceKind) -> String {
        if *kind == ResourceKind::Activity {
            return "a worker that asks for its tasks".to_owned();
        }
        if arn.contains(":states:::states:startExecution") {
            return "this server".to_owned();
        }
        match self.integrations.as_ref().map(|integrations| integrations.destination(arn, kind)) {
            None => "nothing: services are not called (--no-integrations); give a mock with --mock-config"
                .to_owned(),
            Some(Ok(place)) => place,
            Some(Err(why)) => format!("nothing: {why}"),
        }
    }
}
