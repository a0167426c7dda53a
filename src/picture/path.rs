//! The path that an execution took through a definition: which states it entered, how often, and along which edges.

use std::collections::{BTreeMap, BTreeSet};

use super::{Edge, Way};

/// What is known of the states, by their names, which are unique within a machine.
#[derive(Debug, Default)]
pub struct Path {
    states: BTreeMap<String, Visits>,
    /// From a state, to a state or the end of its workflow, and whether the first had failed.
    steps: BTreeSet<(String, Option<String>, bool)>,
}

#[derive(Debug, Default)]
struct Visits {
    entered: u32,
    /// By a transition, or because it was ended from outside.
    left: u32,
}

impl Path {
    /// A state was entered.
    pub fn enter(&mut self, state: &str) {
        self.states.entry(state.to_owned()).or_default().entered += 1;
    }

    /// A state was left, or was ended from outside.
    pub fn leave(&mut self, state: &str) {
        self.states.entry(state.to_owned()).or_default().left += 1;
    }

    /// A transition from one state to another, or to the end; possibly by a failure.
    pub fn step(&mut self, from: &str, to: Option<&str>, failed: bool) {
        self.steps.insert((from.to_owned(), to.map(str::to_owned), failed));
    }

    /// How often a state was entered.
    pub fn visits(&self, state: &str) -> u32 {
        self.states.get(state).map_or(0, |visits| visits.entered)
    }

    /// Whether a state was entered and never left: it failed, or a state in it did.
    pub fn has_failed(&self, state: &str) -> bool {
        self.states.get(state).is_some_and(|visits| visits.entered > visits.left)
    }

    /// Whether an edge from one state to another, or to the end, was taken.
    pub fn went(&self, from: &str, to: Option<&str>, edge: &Edge) -> bool {
        self.steps.contains(&(from.to_owned(), to.map(str::to_owned), edge.way == Way::Catch))
    }
}
