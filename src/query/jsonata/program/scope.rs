//! Scopes during compilation: the frame of each variable.

use std::collections::HashMap;
use std::rc::Rc;

use super::draft::{Draft, DraftId, Drafts, Form, Stage};

/// A scope being compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ScopeId(u32);

#[derive(Debug, Default)]
struct Scope {
    parent: Option<ScopeId>,
    /// The first variables of its frame, by slot; shared by the scopes of one row.
    first: Rc<[String]>,
    /// Those of them that are bound as soon as the frame exists.
    bound: usize,
    /// The variables that follow, by slot.
    names: Vec<String>,
    /// Their slots, if there are many.
    slots: HashMap<String, usize>,
    /// Whether it has a frame even when nothing is assigned in it.
    framed: bool,
}

/// For so few variables, a linear search is as fast.
const NAMES_SCANNED_MAX: usize = 16;

impl Scope {
    fn len(&self) -> usize {
        self.first.len() + self.names.len()
    }

    fn slot(&self, name: &str) -> Option<usize> {
        let later = if self.names.len() > NAMES_SCANNED_MAX {
            self.slots.get(name).copied()
        } else {
            self.names.iter().rposition(|known| known == name).map(|at| self.first.len() + at)
        };
        later.or_else(|| self.first.iter().rposition(|known| known == name))
    }

    fn add(&mut self, name: &str) -> usize {
        let from = self.first.len();
        self.names.push(name.to_owned());
        if self.names.len() > NAMES_SCANNED_MAX {
            for at in self.slots.len()..self.names.len() {
                self.slots.insert(self.names[at].clone(), from + at);
            }
        }
        self.len() - 1
    }
}

/// All scopes of an expression.
#[derive(Debug, Default)]
pub(super) struct Scopes {
    scopes: Vec<Scope>,
}

impl Scopes {
    /// Opens a scope that has a frame when something is assigned in it.
    pub(super) fn open(&mut self, parent: Option<ScopeId>) -> ScopeId {
        self.add(Scope { parent, ..Scope::default() })
    }

    /// Opens the scope of a function.
    pub(super) fn open_function(&mut self, parent: ScopeId, params: &[String]) -> ScopeId {
        let (first, bound) = (params.into(), params.len());
        self.add(Scope { parent: Some(parent), first, bound, framed: true, ..Scope::default() })
    }

    /// Opens a scope whose frame begins with the names that a row carries.
    pub(super) fn open_row(&mut self, parent: ScopeId, names: &Rc<[String]>) -> ScopeId {
        self.add(Scope { parent: Some(parent), first: names.clone(), framed: true, ..Scope::default() })
    }

    fn add(&mut self, scope: Scope) -> ScopeId {
        self.scopes.push(scope);
        ScopeId(self.scopes.len() as u32 - 1)
    }

    /// The slot of a variable assigned in `scope`.
    pub(super) fn assign(&mut self, scope: ScopeId, name: &str) -> usize {
        let scope = &mut self.scopes[scope.0 as usize];
        scope.slot(name).unwrap_or_else(|| scope.add(name))
    }

    /// Slots of the scope's frame; `None` when it has no frame.
    pub(super) fn slots(&self, scope: ScopeId) -> Option<usize> {
        let scope = &self.scopes[scope.0 as usize];
        (scope.framed || !scope.names.is_empty()).then_some(scope.len())
    }

    /// The places where `name` may be bound, seen from `scope`, inmost first: frames outwards, slot, and whether it is
    /// certainly bound there (then it is the last).
    pub(super) fn places(&self, scope: ScopeId, name: &str) -> Vec<(usize, usize, bool)> {
        let (mut places, mut hops, mut at) = (Vec::new(), 0, Some(scope));
        while let Some(id) = at {
            let scope = &self.scopes[id.0 as usize];
            if let Some(slot) = scope.slot(name) {
                let bound = slot < scope.bound;
                places.push((hops, slot, bound));
                if bound {
                    break;
                }
            }
            hops += usize::from(self.slots(id).is_some());
            at = scope.parent;
        }
        places
    }
}

/// The names a path carries from item to item: its own bindings, and those that nested paths carry.
pub(super) fn carried(drafts: &Drafts, steps: &[DraftId], names: &mut Vec<String>) {
    let mut add = |name: String| {
        if !names.contains(&name) {
            names.push(name);
        }
    };
    let mut inner = Vec::new();
    for &id in steps {
        let step: &Draft = drafts.get(id);
        step.focus.iter().chain(&step.index).for_each(|name| add(name.clone()));
        if let Some(ancestor) = step.ancestor {
            add(drafts.label(ancestor));
        }
        for stage in &step.stages {
            if let Stage::Index(name) = stage {
                add(name.clone());
            }
        }
        if let (Form::Block(items), true) = (&step.form, step.tuple)
            && let Some(&last) = items.last()
        {
            inner.push(last);
        }
    }
    for id in inner {
        match &drafts.get(id).form {
            Form::Path { steps, .. } => carried(drafts, steps, names),
            Form::Block(_) => carried(drafts, &[id], names),
            _ => {}
        }
    }
}
