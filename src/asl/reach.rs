//! Which of a workflow's variables may have a value before a state begins: those that are assigned by a state which may
//! come before it.
//!
//! States that lead to each other are one component; components are processed in the order of their transitions, for 64
//! variables at once, and only for queried ones.

use std::collections::HashMap;

/// No number.
const NONE: usize = usize::MAX;

/// The variables that a workflow's states assign.
#[derive(Default)]
pub(super) struct Assigned<'n> {
    numbers: HashMap<&'n str, usize>,
    /// The states that assign each.
    states: Vec<Vec<usize>>,
}

impl<'n> Assigned<'n> {
    /// A state assigns a variable.
    pub(super) fn add(&mut self, name: &'n str, state: usize) {
        let number = *self.numbers.entry(name).or_insert(self.states.len());
        if number == self.states.len() {
            self.states.push(Vec::new());
        }
        self.states[number].push(state);
    }

    /// The number of a variable that a state assigns.
    pub(super) fn number(&self, name: &str) -> Option<usize> {
        self.numbers.get(name).copied()
    }
}

/// What may come before the queried states.
pub(super) struct Before {
    /// The component of each state. States lead to components of the same number or a lower one.
    component: Vec<usize>,
    /// The components that lead to each one; itself where its states lead to each other.
    sources: Vec<Vec<usize>>,
    /// The index of each queried state.
    asked: HashMap<usize, usize>,
    /// By 64 variables: those that may have a value, for each queried state.
    variables: HashMap<usize, Vec<u64>>,
}

impl Before {
    /// `targets` are the successors of each state, `asked` the states that will be queried.
    pub(super) fn new(targets: &[Vec<usize>], asked: impl Iterator<Item = usize>) -> Before {
        let component = components(targets);
        let mut sources = vec![Vec::new(); component.iter().max().map_or(0, |last| last + 1)];
        for (from, targets) in targets.iter().enumerate() {
            for &to in targets {
                sources[component[to]].push(component[from]);
            }
        }
        let asked = asked.enumerate().map(|(place, state)| (state, place)).collect();
        Before { component, sources, asked, variables: HashMap::new() }
    }

    /// Whether a variable may have a value before a state begins.
    pub(super) fn is_assigned(&mut self, assigned: &Assigned, variable: usize, state: usize) -> bool {
        let (component, sources, asked) = (&self.component, &self.sources, &self.asked);
        let group = variable / 64;
        let before = self.variables.entry(group).or_insert_with(|| {
            let mut own = vec![0u64; sources.len()];
            for (bit, states) in assigned.states.iter().skip(64 * group).take(64).enumerate() {
                for &state in states {
                    own[component[state]] |= 1 << bit;
                }
            }
            let mut before = vec![0u64; sources.len()];
            for at in (0..sources.len()).rev() {
                before[at] = sources[at].iter().fold(0, |before_at, &from| {
                    // Its own is not complete yet, and adds nothing.
                    before_at | own[from] | before[from]
                });
            }
            let mut of_asked = vec![0; asked.len()];
            asked.iter().for_each(|(&state, &place)| of_asked[place] = before[component[state]]);
            of_asked
        });
        before[asked[&state]] & 1 << (variable % 64) != 0
    }
}

/// The strongly connected components of a graph, by Tarjan's algorithm: the number of each node's.
fn components(targets: &[Vec<usize>]) -> Vec<usize> {
    let mut component = vec![NONE; targets.len()];
    let (mut index, mut lowest) = (component.clone(), component.clone());
    let (mut stack, mut open) = (Vec::new(), Vec::new());
    let (mut visited, mut found) = (0, 0);
    for root in 0..targets.len() {
        if index[root] == NONE {
            open.push((root, 0));
        }
        while let Some((node, next)) = open.last_mut() {
            let node = *node;
            if index[node] == NONE {
                (index[node], lowest[node]) = (visited, visited);
                visited += 1;
                stack.push(node);
            }
            if let Some(&target) = targets[node].get(*next) {
                *next += 1;
                if index[target] == NONE {
                    open.push((target, 0));
                } else if component[target] == NONE {
                    lowest[node] = lowest[node].min(index[target]);
                }
                continue;
            }
            open.pop();
            if lowest[node] == index[node] {
                while let Some(member) = stack.pop() {
                    component[member] = found;
                    if member == node {
                        break;
                    }
                }
                found += 1;
            }
            if let Some(&(parent, _)) = open.last() {
                lowest[parent] = lowest[parent].min(lowest[node]);
            }
        }
    }
    component
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As defined: a state is before another if the edges lead from it to the other.
    fn may_come_before(targets: &[Vec<usize>], from: usize, to: usize) -> bool {
        let mut seen = vec![false; targets.len()];
        let mut open = targets[from].clone();
        while let Some(state) = open.pop() {
            if !std::mem::replace(&mut seen[state], true) {
                open.extend_from_slice(&targets[state]);
            }
        }
        seen[to]
    }

    #[test]
    fn before_is_what_leads_there() {
        let mut random = 1u64;
        let mut below = |bound: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % bound
        };
        for _ in 0..300 {
            let states = 1 + below(12);
            let targets: Vec<Vec<usize>> =
                (0..states).map(|_| (0..below(3)).map(|_| below(states)).collect()).collect();
            // One variable for each state; more than 64 in all.
            let names: Vec<String> = (0..100).map(|n| format!("v{n}")).collect();
            let mut assigned = Assigned::default();
            names.iter().enumerate().for_each(|(n, name)| assigned.add(name, n % states));
            let mut before = Before::new(&targets, 0..states);
            for (n, name) in names.iter().enumerate() {
                let number = assigned.number(name).expect("it is assigned");
                for state in 0..states {
                    let is_before = may_come_before(&targets, n % states, state);
                    let found = before.is_assigned(&assigned, number, state);
                    assert_eq!(found, is_before, "{name} before {state} of {targets:?}");
                }
            }
        }
    }
}
