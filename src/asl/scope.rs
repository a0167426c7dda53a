//! Variables: a branch or iteration may read what the enclosing workflow assigns, but not assign it itself
//! (specification, "Variables").

use std::collections::HashMap;

use super::check::Check;
use super::diagnostic::Code;
use super::model::{QueryLanguage, template_key};
use super::nested;
use super::place::Place;
use super::reach::{Assigned, Before};
use crate::json::source::{Member, Node};
use crate::limits;

/// Checks the whole machine.
pub(super) fn check(check: &mut Check, root: &Node) {
    let language = match root.get("QueryLanguage").map(Node::as_str) {
        None | Some(Some("JSONPath")) => QueryLanguage::JsonPath,
        Some(_) => QueryLanguage::Jsonata,
    };
    let mut scope = Scope { check, language, outer: Vec::new() };
    scope.workflow(root, Place::ROOT);
}

/// Checks the workflows nested in a single state.
pub(super) fn check_state(check: &mut Check, state: &Node, place: Place<'_>) {
    let mut scope = Scope { check, language: QueryLanguage::JsonPath, outer: Vec::new() };
    scope.nested(state, place);
}

struct Scope<'c, 'n> {
    check: &'c mut Check,
    language: QueryLanguage,
    /// The enclosing workflows, from the outside in.
    outer: Vec<Outer<'n>>,
}

/// A workflow while those nested in one of its states are walked.
struct Outer<'n> {
    assigned: Assigned<'n>,
    states: &'n [Member],
    /// The state that is being walked.
    at: usize,
    /// What may come before, computed when first needed.
    before: Option<Before>,
}

impl<'n> Scope<'_, 'n> {
    fn workflow(&mut self, workflow: &'n Node, place: Place<'_>) {
        let Some(states) = workflow.get("States").and_then(Node::members) else { return };
        if self.outer.len() >= limits::WORKFLOW_DEPTH_MAX {
            return;
        }
        let states_place = place.field("States");
        let mut assigned = Assigned::default();
        for (at, state) in states.iter().enumerate() {
            self.state(&state.value, states_place.field(&state.key.value), at, &mut assigned);
        }
        self.outer.push(Outer { assigned, states, at: 0, before: None });
        for (at, state) in states.iter().enumerate() {
            if let Some(own) = self.outer.last_mut() {
                own.at = at;
            }
            self.nested(&state.value, states_place.field(&state.key.value));
        }
        self.outer.pop();
    }

    fn nested(&mut self, state: &'n Node, place: Place<'_>) {
        nested::each(state, place, &mut |workflow, place, apart| {
            if apart {
                // Separate executions do not see their parent's variables.
                let outer = std::mem::take(&mut self.outer);
                self.workflow(workflow, place);
                self.outer = outer;
            } else {
                self.workflow(workflow, place);
            }
        });
    }

    fn state(&mut self, state: &'n Node, place: Place<'_>, at: usize, assigned: &mut Assigned<'n>) {
        let jsonata = match state.get("QueryLanguage").map(Node::as_str) {
            None => self.language == QueryLanguage::Jsonata,
            Some(language) => language != Some("JSONPath"),
        };
        self.assign(state, place, jsonata, at, assigned);
        for name in ["Choices", "Catch"] {
            let array = place.field(name);
            for (index, item) in state.get(name).and_then(Node::items).into_iter().flatten().enumerate() {
                self.assign(item, array.index(index), jsonata, at, assigned);
            }
        }
    }

    fn assign(
        &mut self,
        owner: &'n Node,
        place: Place<'_>,
        jsonata: bool,
        at: usize,
        assigned: &mut Assigned<'n>,
    ) {
        let members: &'n [Member] = owner.get("Assign").and_then(Node::members).unwrap_or_default();
        for member in members {
            let key = &*member.key.value;
            let name = if jsonata { key } else { template_key(key).unwrap_or(key) };
            if self.outer.iter_mut().any(|outer| outer.may_have_assigned(name)) {
                let message = format!("The variable name '{name}' was already defined in a parent scope.");
                let place = place.field("Assign");
                self.check.error(Code::DuplicateVariableName, message, place.field(key), member.key.span);
            }
            assigned.add(name, at);
        }
    }
}

impl Outer<'_> {
    /// Whether `name` may have a value when the nested workflow begins. Later assignments do not count: recorded on
    /// AWS, a Parallel's own Catch may assign a name that its branches assign too.
    fn may_have_assigned(&mut self, name: &str) -> bool {
        let Some(variable) = self.assigned.number(name) else { return false };
        let states = self.states;
        let before = self.before.get_or_insert_with(|| {
            let is_around = |at: &usize| matches!(type_of(&states[*at].value), Some("Map" | "Parallel"));
            Before::new(&targets(states), (0..states.len()).filter(is_around))
        });
        before.is_assigned(&self.assigned, variable, self.at)
    }
}

fn type_of(state: &Node) -> Option<&str> {
    state.get("Type").and_then(Node::as_str)
}

/// The successors of each state.
fn targets(states: &[Member]) -> Vec<Vec<usize>> {
    let index: HashMap<&str, usize> =
        states.iter().enumerate().map(|(at, state)| (&*state.key.value, at)).collect();
    let of =
        |state: &Member| nested::next(&state.value).filter_map(|name| index.get(name).copied()).collect();
    states.iter().map(of).collect()
}
