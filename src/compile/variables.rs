//! Variables become slots. A workflow sees the variables of the workflows around it and its own; siblings reuse slots,
//! because no two of them are ever seen from one place.

use crate::asl::model as asl;
use crate::query::{Names, Slot};

/// The variables one workflow sees, outer ones first.
#[derive(Clone, Debug, Default)]
pub(super) struct Variables<'d> {
    names: Vec<&'d str>,
}

impl<'d> Variables<'d> {
    /// What `workflow` sees, standing inside a workflow that sees `self`.
    pub(super) fn enter(mut self, workflow: &'d asl::Workflow) -> Variables<'d> {
        for state in &workflow.states {
            self.add(state.assign.as_ref());
            for catcher in &state.catch {
                self.add(catcher.assign.as_ref());
            }
            if let asl::StateKind::Choice(choice) = &state.kind {
                for rule in &choice.rules {
                    self.add(rule.assign.as_ref());
                }
            }
        }
        self
    }

    fn add(&mut self, assign: Option<&'d crate::json::source::Node>) {
        for member in assign.and_then(|assign| assign.members()).unwrap_or_default() {
            let name = variable_name(&member.key.value);
            if !self.names.contains(&name) {
                self.names.push(name);
            }
        }
    }

    /// How many variables the workflow sees.
    pub(super) fn len(&self) -> u32 {
        self.names.len() as u32
    }

    /// The slot of `name`.
    pub(super) fn find(&self, name: &str) -> Option<Slot> {
        self.names.iter().position(|&known| known == name).map(|slot| Slot(slot as u32))
    }
}

/// The variable that a member of an `Assign` object sets.
pub(super) fn variable_name(key: &str) -> &str {
    key.strip_suffix(".$").unwrap_or(key)
}

/// [`Variables`] as the query languages ask for them.
pub(super) struct Lookup<'v, 'd>(pub(super) &'v Variables<'d>);

impl Names for Lookup<'_, '_> {
    fn slot(&mut self, name: &str) -> Option<Slot> {
        self.0.find(name)
    }
}
