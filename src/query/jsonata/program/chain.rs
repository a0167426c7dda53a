//! Finds the plain chain of member names at the beginning of a path.

use super::draft::{Draft, DraftId, Drafts, Form};

/// The variable a chain begins with, and how many of the path's steps belong to it (with the variable).
pub(super) struct Prefix<'d> {
    pub(super) variable: Option<&'d str>,
    pub(super) steps: usize,
}

/// The longest plain beginning of a path.
pub(super) fn prefix<'d>(drafts: &'d Drafts, steps: &[DraftId]) -> Prefix<'d> {
    let plain = |id: &DraftId| {
        let step: &Draft = drafts.get(*id);
        let bare =
            step.stages.is_empty() && step.predicates.is_empty() && step.group.is_none() && !step.tuple;
        bare && step.focus.is_none() && step.index.is_none() && step.ancestor.is_none()
    };
    let mut prefix = Prefix { variable: None, steps: 0 };
    let mut rest = steps.iter();
    if let Some(&first) = steps.first()
        && let Form::Variable(name) = &drafts.get(first).form
    {
        if !plain(&first) {
            return prefix;
        }
        prefix.variable = Some(name);
        prefix.steps = 1;
        rest.next();
    }
    prefix.steps += rest.take_while(|id| plain(id) && matches!(drafts.get(**id).form, Form::Name(_))).count();
    prefix
}
