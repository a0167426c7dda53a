//! Transitions: targets exist, every state can be reached, the machine can end, names are unique.

use std::collections::{HashMap, HashSet};

use super::check::Check;
use super::diagnostic::{Code, Severity, did_you_mean};
use super::fields::Owner;
use super::nested;
use super::place::Place;
use crate::json::source::{Member, Node, Sourced, Span};
use crate::limits;

/// Checks the whole machine. `duplicates` are the repeated names of objects in the text.
pub(super) fn check(check: &mut Check, root: &Node, duplicates: &[Sourced<Box<str>>]) {
    let duplicates = Duplicates::new(duplicates);
    let mut graph = Graph { check, names: HashSet::new(), duplicates, top: true, depth: 0 };
    graph.workflow(root, Place::ROOT);
    for name in graph.duplicates.left() {
        let message = format!("The field '{}' stands twice in one object; the last value counts", name.value);
        check.push(Severity::Warning, Code::DuplicateFieldName, message, None, name.span);
    }
}

/// Checks the workflows nested in a single state.
pub(super) fn check_state(check: &mut Check, state: &Node, place: Place<'_>) {
    let mut graph =
        Graph { check, names: HashSet::new(), duplicates: Duplicates::new(&[]), top: false, depth: 1 };
    nested::each(state, place, &mut |workflow, place, _| graph.workflow(workflow, place));
}

struct Graph<'c, 'n> {
    check: &'c mut Check,
    /// Names of all states met so far, nested ones included.
    names: HashSet<&'n str>,
    duplicates: Duplicates<'n>,
    /// Whether the next workflow is the machine itself.
    top: bool,
    depth: usize,
}

/// Repeated names in one object that no workflow has claimed as states.
struct Duplicates<'n> {
    /// As the text was read; `None` where claimed.
    names: Vec<Option<&'n Sourced<Box<str>>>>,
    /// Where each begins and its index, in the order of the text.
    starts: Vec<(u32, usize)>,
}

impl<'n> Duplicates<'n> {
    fn new(names: &'n [Sourced<Box<str>>]) -> Duplicates<'n> {
        let mut starts: Vec<(u32, usize)> =
            names.iter().enumerate().map(|(at, name)| (name.span.start, at)).collect();
        starts.sort_unstable();
        Duplicates { names: names.iter().map(Some).collect(), starts }
    }

    /// Takes out those in the object itself, not in one of its members.
    fn claim(&mut self, object: &Node, members: &[Member]) -> Vec<&'n Sourced<Box<str>>> {
        let Span { start, end } = object.span;
        let from = self.starts.partition_point(|&(at, _)| at < start);
        let to = self.starts.partition_point(|&(at, _)| at < end);
        if from == to {
            return Vec::new();
        }
        let mut inside: Vec<Span> = members.iter().map(|member| member.value.span).collect();
        inside.sort_unstable_by_key(|span| span.start);
        let mut claimed: Vec<usize> = (self.starts[from..to].iter())
            .filter(|&&(at, _)| {
                let next = inside.partition_point(|span| span.start <= at);
                next.checked_sub(1).is_none_or(|before| at >= inside[before].end)
            })
            .map(|&(_, name)| name)
            .collect();
        claimed.sort_unstable();
        claimed.into_iter().filter_map(|name| self.names[name].take()).collect()
    }

    fn left(self) -> impl Iterator<Item = &'n Sourced<Box<str>>> {
        self.names.into_iter().flatten()
    }
}

/// What is known of the states of one workflow during the walk.
struct States<'n> {
    members: &'n [Member],
    index: HashMap<&'n str, usize>,
    targets: Vec<Vec<usize>>,
}

impl<'n> Graph<'_, 'n> {
    fn workflow(&mut self, workflow: &'n Node, place: Place<'_>) {
        let top = std::mem::replace(&mut self.top, false);
        let Some(node) = workflow.get("States") else { return };
        let Some(members) = node.members() else { return };
        if self.depth >= limits::WORKFLOW_DEPTH_MAX {
            return;
        }
        let states_place = place.field("States");
        self.unique(node, members, states_place);
        let index = members.iter().enumerate().map(|(at, member)| (&*member.key.value, at)).collect();
        let mut states = States { members, index, targets: vec![Vec::new(); members.len()] };
        let start = workflow
            .get("StartAt")
            .filter(|start| start.as_str().is_some())
            .map(|start| self.target(&states, start, place.field("StartAt")));
        for (at, member) in members.iter().enumerate() {
            self.transitions(&mut states, at, states_place.field(&member.key.value));
        }
        let ends = members.iter().any(|member| may_end(&member.value));
        if top && !ends {
            let message = "Workflow has no terminal state".into();
            self.check.push(Severity::Error, Code::MissingEndState, message, None, node.span);
        } else if let Some(start) = start {
            self.reachable(&states, start, states_place);
        }
        self.depth += 1;
        for member in members {
            let place = states_place.field(&member.key.value);
            nested::each(&member.value, place, &mut |workflow, place, _| self.workflow(workflow, place));
        }
        self.depth -= 1;
    }

    fn unique(&mut self, node: &'n Node, members: &'n [Member], place: Place<'_>) {
        // A repeated name in `States` itself: only the later one is in the tree.
        for duplicate in self.duplicates.claim(node, members) {
            self.duplicate(&duplicate.value, place, duplicate.span);
        }
        for member in members {
            if !self.names.insert(&member.key.value) {
                self.duplicate(&member.key.value, place, member.key.span);
            }
        }
    }

    fn duplicate(&mut self, name: &str, place: Place<'_>, span: Span) {
        let message = format!("Duplicate State name: {name}");
        self.check.error(Code::DuplicateStateName, message, place.field(name), span);
    }

    /// Collects a state's transitions.
    fn transitions(&mut self, states: &mut States<'n>, at: usize, place: Place<'_>) {
        let state = &states.members[at].value;
        let mut found = Vec::new();
        for name in ["Next", "Default"] {
            if let Some(target) = state.get(name) {
                found.extend(self.target(states, target, place.field(name)));
            }
        }
        for name in ["Choices", "Catch"] {
            let array = place.field(name);
            for (index, item) in state.get(name).and_then(Node::items).into_iter().flatten().enumerate() {
                if let Some(target) = item.get("Next") {
                    found.extend(self.target(states, target, array.index(index).field("Next")));
                }
            }
        }
        states.targets[at] = found;
    }

    fn target(&mut self, states: &States<'n>, target: &Node, place: Place<'_>) -> Option<usize> {
        let name = target.as_str()?;
        let found = states.index.get(name).copied();
        if found.is_none() {
            let names = states.members.iter().take(SUGGESTED_MAX).map(|member| &*member.key.value);
            let suggestion = if self.check.suggests() { did_you_mean(name, names) } else { None };
            let message = format!("Missing 'Next' target: {name}");
            let error = self.check.error(Code::MissingTransitionTarget, message, place, target.span);
            error.suggestion = suggestion;
        }
        found
    }

    /// Reports the states that cannot be reached from the start; without a start, all of them.
    fn reachable(&mut self, states: &States<'n>, start: Option<usize>, place: Place<'_>) {
        let mut seen = vec![false; states.members.len()];
        let mut open = Vec::from_iter(start);
        while let Some(at) = open.pop() {
            if !std::mem::replace(&mut seen[at], true) {
                open.extend_from_slice(&states.targets[at]);
            }
        }
        for (member, _) in states.members.iter().zip(seen).filter(|&(_, seen)| !seen) {
            let name = &*member.key.value;
            let message = format!("State \"{name}\" is not reachable.");
            self.check.error(Code::MissingTransitionTarget, message, place.field(name), member.key.span);
        }
    }
}

/// States that are considered for a suggestion.
const SUGGESTED_MAX: usize = 200;

/// Whether a workflow may end with a state. One without a type may not (recorded). One of an unknown type may: its
/// type is reported, and guessing what follows from it would only add noise.
fn may_end(state: &Node) -> bool {
    let Some(kind) = state.get("Type") else { return false };
    let kind = kind.as_str().and_then(Owner::state);
    state.get("End").and_then(Node::as_bool) == Some(true)
        || matches!(kind, None | Some(Owner::Succeed | Owner::Fail))
}
