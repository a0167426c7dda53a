//! Variables: a branch or iteration may read what the workflow around it assigns, but not assign it itself
//! (specification, "Variables").

use std::collections::HashSet;

use super::check::Check;
use super::diagnostic::Code;
use super::model::{QueryLanguage, template_key};
use super::nested;
use super::place::Place;
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

/// Checks the workflows nested in a state that stands by itself.
pub(super) fn check_state(check: &mut Check, state: &Node) {
    let mut scope = Scope { check, language: QueryLanguage::JsonPath, outer: Vec::new() };
    scope.nested(state, Place::ROOT);
}

struct Scope<'c, 'n> {
    check: &'c mut Check,
    language: QueryLanguage,
    /// What the workflows around assign, from the outside in.
    outer: Vec<HashSet<&'n str>>,
}

impl<'n> Scope<'_, 'n> {
    fn workflow(&mut self, workflow: &'n Node, place: Place<'_>) {
        let Some(states) = workflow.get("States").and_then(Node::members) else { return };
        if self.outer.len() >= limits::WORKFLOW_DEPTH_MAX {
            return;
        }
        let states_place = place.field("States");
        let mut own = HashSet::new();
        for state in states {
            self.state(&state.value, states_place.field(&state.key.value), &mut own);
        }
        self.outer.push(own);
        for state in states {
            self.nested(&state.value, states_place.field(&state.key.value));
        }
        self.outer.pop();
    }

    fn nested(&mut self, state: &'n Node, place: Place<'_>) {
        nested::each(state, place, &mut |workflow, place, apart| {
            if apart {
                // Executions of their own see no variables of their parent.
                let outer = std::mem::take(&mut self.outer);
                self.workflow(workflow, place);
                self.outer = outer;
            } else {
                self.workflow(workflow, place);
            }
        });
    }

    fn state(&mut self, state: &'n Node, place: Place<'_>, own: &mut HashSet<&'n str>) {
        let jsonata = match state.get("QueryLanguage").map(Node::as_str) {
            None => self.language == QueryLanguage::Jsonata,
            Some(language) => language != Some("JSONPath"),
        };
        self.assign(state, place, jsonata, own);
        for name in ["Choices", "Catch"] {
            let array = place.field(name);
            for (index, item) in state.get(name).and_then(Node::items).into_iter().flatten().enumerate() {
                self.assign(item, array.index(index), jsonata, own);
            }
        }
    }

    fn assign(&mut self, owner: &'n Node, place: Place<'_>, jsonata: bool, own: &mut HashSet<&'n str>) {
        let assigned: &'n [Member] = owner.get("Assign").and_then(Node::members).unwrap_or_default();
        for member in assigned {
            let key = &*member.key.value;
            let name = if jsonata { key } else { template_key(key).unwrap_or(key) };
            if self.outer.iter().any(|outer| outer.contains(name)) {
                let message = format!("Variable '{name}' is already assigned in an outer scope");
                let place = place.field("Assign");
                self.check.error(Code::DuplicateVariableName, message, place.field(key), member.key.span);
            }
            own.insert(name);
        }
    }
}
