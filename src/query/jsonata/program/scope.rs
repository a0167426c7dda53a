//! Scopes while compiling: which frame a variable lives in.

use super::draft::{Draft, DraftId, Drafts, Form, Stage};

/// A scope being compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ScopeId(u32);

#[derive(Debug)]
struct Scope {
    parent: Option<ScopeId>,
    /// The variables of its frame, by slot.
    names: Vec<String>,
    /// Those that are bound as soon as the frame exists.
    bound: usize,
    /// It has a frame even when nothing is assigned in it.
    framed: bool,
}

/// All scopes of an expression.
#[derive(Debug, Default)]
pub(super) struct Scopes {
    scopes: Vec<Scope>,
}

impl Scopes {
    /// Opens a scope whose frame begins with `names`, of which `bound` are certainly bound.
    pub(super) fn open(
        &mut self,
        parent: Option<ScopeId>,
        names: Vec<String>,
        bound: usize,
        framed: bool,
    ) -> ScopeId {
        self.scopes.push(Scope { parent, names, bound, framed });
        ScopeId(self.scopes.len() as u32 - 1)
    }

    /// The slot of a variable assigned in `scope`.
    pub(super) fn assign(&mut self, scope: ScopeId, name: &str) -> usize {
        let names = &mut self.scopes[scope.0 as usize].names;
        match names.iter().rposition(|known| known == name) {
            Some(slot) => slot,
            None => {
                names.push(name.to_owned());
                names.len() - 1
            }
        }
    }

    /// Slots of the scope's frame; `None` when it has no frame.
    pub(super) fn slots(&self, scope: ScopeId) -> Option<usize> {
        let scope = &self.scopes[scope.0 as usize];
        (scope.framed || !scope.names.is_empty()).then_some(scope.names.len())
    }

    /// The places where `name` may be bound as seen from `scope`, inmost first: frames outwards, slot, and whether it
    /// is certainly bound there (then it is the last).
    pub(super) fn places(&self, scope: ScopeId, name: &str) -> Vec<(usize, usize, bool)> {
        let (mut places, mut hops, mut at) = (Vec::new(), 0, Some(scope));
        while let Some(id) = at {
            let scope = &self.scopes[id.0 as usize];
            if let Some(slot) = scope.names.iter().rposition(|known| known == name) {
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

/// The names a path carries from item to item: those it binds, and those of paths inside that carry theirs on.
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
