//! From a definition to the program of one state: the state itself under the name that AWS gives it, an empty state for
//! each of its targets, and nothing inside a Map or Parallel, whose work is mocked.

use super::{Surroundings, TestState, batch};
use crate::asl::model::{self, Definition, MapMode, PathField, State, StateKind, Transition, Workflow};
use crate::asl::{self, MachineType, Options, Resources};
use crate::compile;
use crate::index::Id;
use crate::json::source::{self, Member, Node, NodeValue, Sourced, Span};
use crate::limits;
use crate::program::{self, Items, Program, StateId, TemplateId};
use crate::query::template::{Language, Template};
use crate::query::{Names, Slot};
use crate::service::{Error, Exception};

/// The name of a state that is tested by itself, and of any tested state in the context object (recorded, also of a
/// state out of a machine).
pub(super) const STATE_NAME: &str = "StateName";

/// The compiled program.
pub(super) struct Compiled {
    pub(super) program: Program,
    /// The state under test.
    pub(super) state: StateId,
    /// The state that evaluates a Map's `ItemBatcher`.
    pub(super) batch: Option<StateId>,
}

/// The state under test.
pub(super) struct Subject {
    /// As in the definition.
    pub(super) state: State,
    /// Whether it is inside a Map.
    pub(super) in_map: bool,
    /// Its name in messages.
    name: String,
    /// As [`Definition`] has it.
    checks_parameters: bool,
}

impl Subject {
    pub(super) fn read(request: &TestState, surroundings: &Surroundings) -> Result<Subject, Error> {
        let options = Options {
            machine_type: MachineType::Standard,
            resources: surroundings.resources,
            express_maps: false,
        };
        let text = request.definition.as_bytes();
        let (found, problems) = match &request.state_name {
            None => {
                let (state, problems) = asl::read_state(text, STATE_NAME, &options);
                (state.map(|state| (state, false)), problems)
            }
            Some(name) => match asl::read(text, &options) {
                (None, problems) => (None, problems),
                (Some(machine), _) => match find(&machine.workflow, name, false) {
                    Some(found) => (Some(found), Vec::new()),
                    None => return Err(Error::validation("State not found in definition")),
                },
            },
        };
        match found {
            Some((state, in_map)) => {
                let checks_parameters = surroundings.resources != Resources::Any;
                let name = request.state_name.clone().unwrap_or_else(|| STATE_NAME.to_owned());
                Ok(Subject { state, in_map, name, checks_parameters })
            }
            None => Err(Error::invalid_definition(&problems)),
        }
    }

    /// The Map under test, if it is a distributed one: only these have readers, batchers and writers.
    pub(super) fn distributed(&self) -> Option<&model::Map> {
        match &self.state.kind {
            StateKind::Map(map) if map.mode != MapMode::Inline => Some(map),
            _ => None,
        }
    }

    pub(super) fn is_jsonata(&self) -> bool {
        self.state.query_language == model::QueryLanguage::Jsonata
    }

    /// The program, and the state in it. `variables` are those that have a value; their slots come first, in order,
    /// then those that the state assigns, which are added to the list. `items` is JSON text: the items of a Map's
    /// reader.
    pub(super) fn program(
        &self,
        variables: &mut Vec<String>,
        items: Option<&str>,
    ) -> Result<Compiled, Error> {
        let mut state = self.state.clone();
        state.name.value.clone_from(&self.name);
        match &mut state.kind {
            StateKind::Map(map) => {
                map.processor = nothing();
                // An inline Map with them fails, as it does in an execution.
                if map.mode != MapMode::Inline {
                    map.mode = MapMode::Inline;
                    // They are evaluated separately.
                    (map.item_reader, map.item_batcher, map.result_writer) = (None, None, None);
                }
            }
            StateKind::Parallel(parallel) => parallel.branches.fill_with(nothing),
            _ => {}
        }
        for assign in assigns(&state) {
            for member in assign.members().unwrap_or_default() {
                let name = member.key.value.strip_suffix(".$").unwrap_or(&member.key.value);
                if !variables.iter().any(|known| known == name) {
                    variables.push(name.to_owned());
                }
            }
        }
        let mut states = vec![declaration(variables), state];
        let batches = self.distributed().and_then(|map| {
            batch::state(&self.state, map, bare("\0", StateKind::Pass(model::Pass { result: None })))
        });
        let batch = batches.is_some().then(|| StateId::from_index(states.len()));
        states.extend(batches);
        for target in targets(&self.state) {
            if !states.iter().any(|state| state.name.value == target) {
                states.push(bare(target, StateKind::Succeed));
            }
        }
        let workflow =
            Workflow { start_at: at_no_place(&self.name), states, comment: None, span: Span::default() };
        let definition = Definition {
            comment: None,
            version: None,
            query_language: self.state.query_language,
            timeout_seconds: None,
            workflow,
            checks_parameters: self.checks_parameters,
        };
        let mut program = compile::compile(&definition).map_err(refused)?;
        let state = StateId::from_index(1);
        // A plain state does nothing to its data, but AWS reports each step of it.
        program.states[state].plain = false;
        if let (program::StateKind::Map(map), Some(items)) = (program.states[state].kind, items) {
            program.maps[map].items = Items::Template(literal(&mut program, items)?);
        }
        Ok(Compiled { program, state, batch })
    }
}

/// Data that is not evaluated.
fn literal(program: &mut Program, text: &str) -> Result<TemplateId, Error> {
    let unreadable = || Error::validation("The data of mapItemReaderData is too large.");
    let source = source::read(text.as_bytes(), limits::DEFINITION_BYTES_MAX).map_err(|_| unreadable())?;
    let template = Template::compile(&source.root, "Items", Language::Literal, &mut NoNames);
    Ok(program.templates.push(template.map_err(|_| unreadable())?))
}

struct NoNames;

impl Names for NoNames {
    fn slot(&mut self, _: &str) -> Option<Slot> {
        None
    }
}

fn refused(errors: Vec<compile::Error>) -> Error {
    let errors: Vec<String> =
        errors.iter().map(|error| format!("SCHEMA_VALIDATION_FAILED: {error}")).collect();
    let message = format!("Invalid State Machine Definition: '{}'", errors.join(", "));
    Error::new(Exception::InvalidDefinition, message)
}

/// The state of this name and whether it is inside a Map. Names are unique in a machine. The reader of definitions
/// bounds the depth.
fn find(workflow: &Workflow, name: &str, in_map: bool) -> Option<(State, bool)> {
    if let Some(state) = workflow.states.iter().find(|state| state.name.value == name) {
        return Some((state.clone(), in_map));
    }
    workflow.states.iter().find_map(|state| match &state.kind {
        StateKind::Map(map) => find(&map.processor, name, true),
        StateKind::Parallel(parallel) => {
            parallel.branches.iter().find_map(|branch| find(branch, name, in_map))
        }
        _ => None,
    })
}

fn assigns(state: &State) -> Vec<&Node> {
    let rules = match &state.kind {
        StateKind::Choice(choice) => &choice.rules[..],
        _ => &[],
    };
    let rules = rules.iter().filter_map(|rule| rule.assign.as_ref());
    let catchers = state.catch.iter().filter_map(|catcher| catcher.assign.as_ref());
    state.assign.iter().chain(catchers).chain(rules).collect()
}

fn targets(state: &State) -> Vec<&str> {
    let mut targets: Vec<&str> = state.catch.iter().map(|catcher| catcher.next.value.as_str()).collect();
    if let Transition::Next(next) = &state.next {
        targets.push(&next.value);
    }
    if let StateKind::Choice(choice) = &state.kind {
        targets.extend(choice.rules.iter().map(|rule| rule.next.value.as_str()));
        targets.extend(choice.default.iter().map(|default| default.value.as_str()));
    }
    targets
}

/// A state that is never entered and assigns all variables, which allocates their slots. Its name is one that no state
/// can have.
fn declaration(variables: &[String]) -> State {
    let null = || Node { value: NodeValue::Null, span: Span::default() };
    let members = variables
        .iter()
        .map(|name| Member { key: Sourced::new(name.as_str().into(), Span::default()), value: null() });
    let assign = Node { value: NodeValue::Object(members.collect()), span: Span::default() };
    State { assign: Some(assign), ..bare("", StateKind::Pass(model::Pass { result: None })) }
}

fn nothing() -> Workflow {
    Workflow {
        start_at: at_no_place("Nothing"),
        states: vec![bare("Nothing", StateKind::Succeed)],
        comment: None,
        span: Span::default(),
    }
}

fn bare(name: &str, kind: StateKind) -> State {
    State {
        name: at_no_place(name),
        span: Span::default(),
        location: format!("/States/{name}"),
        query_language: model::QueryLanguage::JsonPath,
        comment: None,
        next: Transition::End,
        input_path: PathField::Absent,
        output_path: PathField::Absent,
        parameters: None,
        result_selector: None,
        result_path: PathField::Absent,
        arguments: None,
        output: None,
        assign: None,
        retry: Vec::new(),
        catch: Vec::new(),
        kind,
    }
}

fn at_no_place(text: &str) -> Sourced<String> {
    Sourced::new(text.to_owned(), Span::default())
}
