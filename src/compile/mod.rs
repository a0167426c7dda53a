//! From a checked definition to a program, in numbered passes:
//!
//! 1. **Allocate**: every state and workflow gets its id, every variable its slot.
//! 2. **Lower**: fields become table rows; paths, calls, expressions and templates are compiled.
//! 3. **Gather**: runs of equality rules of a Choice become hash tables.
//!
//! The definition was checked by [`asl`](crate::asl), so only what this engine cannot run is refused here.

mod choice;
mod distributed;
mod error;
mod flow;
mod state;
mod variables;

use std::collections::HashMap;

use crate::asl::model as asl;
use crate::index::{Id, Table};
use crate::program::{PathId, Program, StateId, Workflow, WorkflowId};
use crate::query::jsonata::Regexes;
use variables::Variables;

pub use error::{DefinitionError, Error};

/// Compiles a definition.
///
/// # Errors
/// All fields that this engine cannot run, by place.
///
/// # Panics
/// When the definition is not one that [`asl::read`](crate::asl::read) found without errors.
pub fn compile(definition: &asl::Definition) -> Result<Program, Vec<Error>> {
    // AWS accepts 0 for a machine; a machine that ends at once would be useless, so it means no limit.
    let timeout_seconds = definition.timeout_seconds.filter(|&seconds| seconds > 0);
    workflow(&definition.workflow, timeout_seconds, definition.checks_parameters)
}

/// The program of a workflow: the machine's, or that of a distributed Map's child executions.
fn workflow(
    workflow: &asl::Workflow,
    timeout_seconds: Option<u64>,
    checks_parameters: bool,
) -> Result<Program, Vec<Error>> {
    let mut program = Program { timeout_seconds, ..Program::default() };
    let mut pending = Vec::new();
    allocate(workflow, Variables::default(), &mut program, &mut pending);
    let mut lower = Lower {
        program,
        errors: Vec::new(),
        states: Table::default(),
        paths: HashMap::new(),
        regexes: Regexes::default(),
        checks_parameters,
    };
    for plan in pending {
        lower.workflow(plan);
    }
    let Lower { mut program, errors, states, regexes, .. } = lower;
    program.states = states;
    program.regex_bytes = regexes.bytes();
    if !errors.is_empty() {
        return Err(errors);
    }
    if cfg!(debug_assertions) {
        program.verify();
    }
    Ok(program)
}

/// Reads, checks and compiles the definition of an Express state machine, JSON text in Amazon States Language.
///
/// ```
/// use expressway::program::Program;
///
/// let program: Program = r#"{"StartAt": "Hi", "States": {"Hi": {"Type": "Succeed"}}}"#.parse()?;
/// assert_eq!(program.states.len(), 1);
/// let error = r#"{"StartAt": "H", "States": {"Hi": {"Type": "Succeed"}}}"#.parse::<Program>().unwrap_err();
/// assert!(error.to_string().contains("did you mean `Hi`?"), "{error}");
/// # Ok::<(), expressway::compile::DefinitionError>(())
/// ```
impl std::str::FromStr for Program {
    type Err = DefinitionError;

    fn from_str(text: &str) -> Result<Program, DefinitionError> {
        let (definition, diagnostics) = crate::asl::read(text.as_bytes(), &crate::asl::Options::default());
        let definition = definition.ok_or(DefinitionError::Invalid(diagnostics))?;
        compile(&definition).map_err(DefinitionError::Unsupported)
    }
}

/// A workflow with allocated ids, to be lowered.
struct Plan<'d> {
    workflow: &'d asl::Workflow,
    states: HashMap<&'d str, StateId>,
    variables: Variables<'d>,
    /// The workflows inside its states: those of state `n` at `inner[n]`, in order.
    inner: Vec<Vec<WorkflowId>>,
}

/// Pass 1. Workflows are visited from the outside in; the states of one workflow are contiguous in the table.
fn allocate<'d>(
    top: &'d asl::Workflow,
    outer: Variables<'d>,
    program: &mut Program,
    plans: &mut Vec<Plan<'d>>,
) -> WorkflowId {
    let mut queue = std::collections::VecDeque::from([(top, outer)]);
    let mut announced = 0;
    let first = WorkflowId::from_index(program.workflows.len());
    while let Some((workflow, outer)) = queue.pop_front() {
        let variables = outer.enter(workflow);
        let states: HashMap<&str, StateId> = (workflow.states.iter())
            .map(|state| (state.name.value.as_str(), program.names.push(state.name.value.as_str().into())))
            .collect();
        let start = states.get(workflow.start_at.value.as_str()).copied();
        let start = start.expect("the reader refuses a StartAt that names no state");
        program.workflows.push(Workflow { start, slots: variables.len() });
        let mut inner = Vec::with_capacity(workflow.states.len());
        for state in &workflow.states {
            let workflows: &[asl::Workflow] = match &state.kind {
                asl::StateKind::Parallel(parallel) => &parallel.branches,
                asl::StateKind::Map(map) if map.mode == asl::MapMode::Inline => {
                    std::slice::from_ref(&map.processor)
                }
                _ => &[],
            };
            inner.push(
                workflows
                    .iter()
                    .map(|workflow| {
                        queue.push_back((workflow, variables.clone()));
                        announced += 1;
                        WorkflowId::from_index(announced)
                    })
                    .collect(),
            );
        }
        plans.push(Plan { workflow, states, variables, inner });
    }
    first
}

/// Passes 2 and 3.
struct Lower {
    program: Program,
    states: Table<StateId, crate::program::State>,
    errors: Vec<Error>,
    /// Paths with the same meaning everywhere, by their text.
    paths: HashMap<String, PathId>,
    /// Regular expressions, each compiled once.
    regexes: Regexes,
    /// As in the definition.
    checks_parameters: bool,
}

/// The context in which a state's fields are lowered.
struct Place<'p, 'd> {
    plan: &'p Plan<'d>,
    state: &'d asl::State,
}

impl Place<'_, '_> {
    fn target(&self, name: &str) -> Option<StateId> {
        self.plan.states.get(name).copied()
    }

    fn location(&self, field: &str) -> String {
        format!("{}/{field}", self.state.location)
    }
}

impl Lower {
    fn workflow(&mut self, plan: Plan<'_>) {
        for (n, state) in plan.workflow.states.iter().enumerate() {
            let place = Place { plan: &plan, state };
            let lowered = self.state(&place, &plan.inner[n]);
            self.states.push(lowered);
        }
    }

    fn refuse(&mut self, place: &Place<'_, '_>, field: &str, message: impl Into<String>) {
        self.errors.push(Error { location: place.location(field), message: message.into() });
    }
}
