//! Mocked tasks, as Step Functions Local's `MockConfigFile.json` describes them (developer guide, "Using mocked service
//! integrations").
//!
//! ```json
//! {
//!   "StateMachines": {"Orders": {"TestCases": {"Declined": {"Charge": "ChargeFails"}}}},
//!   "MockedResponses": {"ChargeFails": {
//!     "0-1": {"Throw": {"Error": "Card.Declined", "Cause": "no funds"}},
//!     "2": {"Return": {"StatusCode": 200}}
//!   }}
//! }
//! ```
//!
//! The result of a task that waits for a job or for its token (`.sync`, `.waitForTaskToken`) is preceded by the
//! service's response, the output of the history's `TaskSubmitted`. Here that is the returned value, or `{}` for a
//! thrown error; a member `Submitted` beside either, which Step Functions Local does not have, sets another one.
//!
//! The keys of a response count the state's invocations within one execution, from 0: retries, loops and iterations
//! alike. Child executions of a distributed Map count separately. A response is only checked when a test case that
//! names it is selected, so unfinished ones do no harm.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::{Answer, Tasks};
use crate::asl::did_you_mean;
use crate::engine::{Execution, TaskCall};
use crate::fault::{self, Fault};
use crate::json;
use crate::limits;
use crate::program::Program;

/// Why mocks cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MockError {
    /// The file is not JSON.
    #[error("the mock configuration is not JSON: {0}")]
    NotJson(String),
    /// A part of it has the wrong shape.
    #[error("the mock configuration's {place} must be {expected}")]
    Shape {
        /// The place, such as `MockedResponses/ChargeFails/0-1`.
        place: String,
        /// What it must be.
        expected: &'static str,
    },
    /// A member has a name that is not known, but nearly one that is.
    #[error("the mock configuration has '{member}' at {place}: {advice}")]
    Misspelt {
        /// The member.
        member: String,
        /// Where it is.
        place: String,
        /// What was probably meant.
        advice: String,
    },
    /// The file does not have the state machine.
    #[error("the mock configuration has no state machine '{0}'")]
    NoStateMachine(String),
    /// The state machine does not have the test case.
    #[error("the mock configuration has no test case '{case}' for the state machine '{machine}'")]
    NoTestCase {
        /// The state machine.
        machine: String,
        /// The test case.
        case: String,
    },
    /// A test case names a response that does not exist.
    #[error("the mock configuration has no mocked response '{response}', which the state '{state}' names")]
    NoResponse {
        /// The response.
        response: String,
        /// The state.
        state: String,
    },
}

/// A mock configuration file.
#[derive(Clone, Debug, PartialEq)]
pub struct MockConfig {
    machines: Map<String, Json>,
    responses: Map<String, Json>,
}

impl MockConfig {
    /// Parses the file's text.
    ///
    /// # Errors
    /// When it is not JSON, or not an object with the objects `StateMachines` and `MockedResponses`.
    pub fn parse(text: &[u8]) -> Result<MockConfig, MockError> {
        let file: Json =
            serde_json::from_slice(text).map_err(|error| MockError::NotJson(error.to_string()))?;
        let mut file = object(file, "top level")?;
        spelt(&file, "the top level", &["StateMachines", "MockedResponses"])?;
        let mut member = |name: &str| object(file.remove(name).unwrap_or_default(), name);
        Ok(MockConfig { machines: member("StateMachines")?, responses: member("MockedResponses")? })
    }

    /// The names of the state machines, in the file's order.
    pub fn state_machines(&self) -> impl Iterator<Item = &str> {
        self.machines.keys().map(String::as_str)
    }

    /// The test cases of a state machine, in the file's order.
    pub fn test_cases(&self, machine: &str) -> impl Iterator<Item = &str> {
        let cases =
            self.machines.get(machine).and_then(|machine| machine.get("TestCases")).and_then(Json::as_object);
        cases.into_iter().flat_map(|cases| cases.keys().map(String::as_str))
    }

    /// The names of the mocked responses, in the file's order.
    pub fn responses(&self) -> impl Iterator<Item = &str> {
        self.responses.keys().map(String::as_str)
    }

    /// Whether all test cases can be used.
    ///
    /// # Errors
    /// As [`MockConfig::test_case`], of the first that cannot.
    pub fn check(&self) -> Result<(), MockError> {
        for machine in self.state_machines() {
            for case in self.test_cases(machine) {
                self.test_case(machine, case)?;
            }
        }
        Ok(())
    }

    /// The answers of one test case.
    ///
    /// # Errors
    /// When the file has no such machine, test case or response, or it has the wrong shape.
    pub fn test_case(&self, machine: &str, case: &str) -> Result<TestCase, MockError> {
        let found =
            self.machines.get(machine).ok_or_else(|| MockError::NoStateMachine(machine.to_owned()))?;
        if let Some(found) = found.as_object() {
            spelt(found, &format!("StateMachines/{machine}"), &["TestCases"])?;
        }
        let states = found.get("TestCases").and_then(|cases| cases.get(case));
        let states = states
            .ok_or_else(|| MockError::NoTestCase { machine: machine.to_owned(), case: case.to_owned() })?
            .as_object()
            .ok_or_else(|| MockError::Shape {
                place: format!("StateMachines/{machine}/TestCases/{case}"),
                expected: "an object",
            })?;
        let mut responses = HashMap::new();
        for (state, response) in states {
            let name = response.as_str().ok_or_else(|| MockError::Shape {
                place: format!("StateMachines/{machine}/TestCases/{case}/{state}"),
                expected: "the name of a mocked response",
            })?;
            let steps = self
                .responses
                .get(name)
                .ok_or_else(|| MockError::NoResponse { response: name.to_owned(), state: state.clone() })?;
            let response = Response { name: name.to_owned(), steps: steps_of(name, steps)? };
            responses.insert(state.clone(), response);
        }
        Ok(TestCase {
            name: case.to_owned(),
            responses: Arc::new(responses),
            counts: HashMap::new(),
            counted: VecDeque::new(),
            to_mock: HashSet::new(),
        })
    }
}

/// Answers the tasks of executions according to a test case. Invocations are counted per execution.
#[derive(Clone, Debug)]
pub struct TestCase {
    name: String,
    responses: Arc<HashMap<String, Response>>,
    /// Invocations by state, of each execution, identified by its seed.
    counts: HashMap<u64, HashMap<String, u64>>,
    /// Those executions, the oldest first: at most as many as may be under way at once.
    counted: VecDeque<u64>,
    /// States whose tasks must be mocked.
    to_mock: HashSet<String>,
}

#[derive(Debug)]
struct Response {
    name: String,
    steps: Vec<Step>,
}

#[derive(Debug)]
struct Step {
    first: u64,
    last: u64,
    /// JSON text, or the thrown error.
    answer: Result<Vec<u8>, Fault>,
    /// JSON text: the service's response when it accepts a job.
    submitted: Vec<u8>,
}

impl TestCase {
    /// Whether the state's tasks are mocked.
    pub fn has(&self, state: &str) -> bool {
        self.responses.contains_key(state)
    }

    /// Answers for these states as well, where it has no mock for them: with a `States.Runtime` that names the missing
    /// mock.
    #[must_use]
    pub fn to_mock<'s>(mut self, states: impl IntoIterator<Item = &'s str>) -> TestCase {
        self.to_mock.extend(states.into_iter().map(str::to_owned));
        self
    }

    /// Resets the counts, for the next execution.
    pub fn reset(&mut self) {
        self.counts.clear();
        self.counted.clear();
    }

    /// A missing mock is a mistake in the mocks, and no Catch of the workflow may hide it: `States.Runtime`.
    fn answer(&mut self, execution: u64, state: &str) -> Result<&Step, Fault> {
        if !self.counts.contains_key(&execution) {
            if self.counted.len() as u64 >= limits::MAP_RUN_CONCURRENCY_MAX
                && let Some(oldest) = self.counted.pop_front()
            {
                self.counts.remove(&oldest);
            }
            self.counted.push_back(execution);
        }
        let count = self.counts.entry(execution).or_default().entry(state.to_owned()).or_default();
        let invocation = *count;
        *count += 1;
        let Some(response) = self.responses.get(state) else {
            let cause = format!(
                "The test case '{}' has no mocked response for the state '{state}', invocation {invocation}.",
                self.name
            );
            return Err(Fault::new(fault::RUNTIME, cause));
        };
        match response.steps.iter().find(|step| (step.first..=step.last).contains(&invocation)) {
            Some(step) => Ok(step),
            None => {
                let cause = format!(
                    "The mocked response '{}' of the state '{state}' in the test case '{}' has no answer for \
                     invocation {invocation}.",
                    response.name, self.name
                );
                Err(Fault::new(fault::RUNTIME, cause))
            }
        }
    }
}

impl Tasks for TestCase {
    fn answers(&self, state: &str) -> bool {
        self.has(state) || self.to_mock.contains(state)
    }

    fn start(&mut self, program: &Program, execution: &mut Execution, call: &TaskCall) -> Answer {
        let Step { answer, submitted, .. } = match self.answer(execution.seed(), program.name(call.state)) {
            Ok(step) => step,
            Err(fault) => return Answer::Now(Err(fault)),
        };
        let mut read = |text: &[u8]| {
            json::read(&mut execution.arena, text)
                .map_err(|error| Fault::new(fault::TASK_FAILED, format!("The mocked response: {error}")))
        };
        if !program.tasks[call.task].resource.has_token {
            return Answer::Now(answer.as_ref().map_err(Fault::clone).and_then(|text| read(text)));
        }
        match read(submitted) {
            Ok(response) => Answer::Submitted(response, Some((0, answer.clone()))),
            Err(fault) => Answer::Now(Err(fault)),
        }
    }
}

fn object(json: Json, place: &str) -> Result<Map<String, Json>, MockError> {
    match json {
        Json::Object(members) => Ok(members),
        _ => Err(MockError::Shape { place: place.to_owned(), expected: "an object" }),
    }
}

fn steps_of(name: &str, steps: &Json) -> Result<Vec<Step>, MockError> {
    let place = |key: &str| format!("MockedResponses/{name}/{key}");
    let steps = steps.as_object().ok_or_else(|| MockError::Shape {
        place: format!("MockedResponses/{name}"),
        expected: "an object of answers by invocation",
    })?;
    (steps.iter())
        .map(|(key, step)| {
            let (first, last) = invocations(key).ok_or_else(|| MockError::Shape {
                place: place(key),
                expected: "named by an invocation, such as \"0\", or a range, such as \"1-2\"",
            })?;
            for (members, place, known) in [
                (Some(step), place(key), &["Return", "Throw", "Submitted"][..]),
                (step.get("Throw"), place(key) + "/Throw", &["Error", "Cause"]),
            ] {
                if let Some(members) = members.and_then(Json::as_object) {
                    spelt(members, &place, known)?;
                }
            }
            let answer = match (step.get("Return"), step.get("Throw")) {
                (Some(output), None) => Ok(output.to_string().into_bytes()),
                (None, Some(Json::Object(thrown))) => {
                    Err(Fault { error: text(thrown, "Error").map(Into::into), cause: text(thrown, "Cause") })
                }
                _ => {
                    return Err(MockError::Shape {
                        place: place(key),
                        expected: "an object with either Return, or Throw with Error and Cause",
                    });
                }
            };
            let submitted = match (step.get("Submitted"), &answer) {
                (Some(response), _) => response.to_string().into_bytes(),
                (None, Ok(output)) => output.clone(),
                (None, Err(_)) => b"{}".to_vec(),
            };
            Ok(Step { first, last, answer, submitted })
        })
        .collect()
}

/// Refuses members whose names are nearly known ones; others may be notes.
fn spelt(members: &Map<String, Json>, place: &str, known: &[&str]) -> Result<(), MockError> {
    let unknown = members.keys().filter(|name| !known.contains(&name.as_str()));
    let mut misspelt = unknown.filter_map(|name| {
        let missing = known.iter().copied().filter(|known| !members.contains_key(*known));
        Some((name, did_you_mean(name, missing)?))
    });
    match misspelt.next() {
        None => Ok(()),
        Some((member, advice)) => {
            Err(MockError::Misspelt { member: member.clone(), place: place.to_owned(), advice })
        }
    }
}

fn text(members: &Map<String, Json>, name: &str) -> Option<String> {
    members.get(name).and_then(Json::as_str).map(str::to_owned)
}

/// `"0"`, `"1-2"`
fn invocations(key: &str) -> Option<(u64, u64)> {
    let (first, last) = key.split_once('-').unwrap_or((key, key));
    let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (first <= last).then_some((first, last))
}
