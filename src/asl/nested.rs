//! The successors of a state, and the workflows nested in it.

use super::place::Place;
use crate::json::source::Node;

/// Calls `visit` with each workflow nested in a state: a Parallel's branches, a Map's processor. `apart` is true for a
/// distributed Map, whose iterations are separate executions.
pub(super) fn each<'n>(state: &'n Node, place: Place<'_>, visit: &mut dyn FnMut(&'n Node, Place<'_>, bool)) {
    match state.get("Type").and_then(Node::as_str) {
        Some("Parallel") => {
            let branches = place.field("Branches");
            for (index, branch) in
                state.get("Branches").and_then(Node::items).into_iter().flatten().enumerate()
            {
                visit(branch, branches.index(index), false);
            }
        }
        Some("Map") => {
            for name in ["ItemProcessor", "Iterator"] {
                if let Some(processor) = state.get(name) {
                    let mode = processor.get("ProcessorConfig").and_then(|config| config.get("Mode"));
                    let apart = mode.and_then(Node::as_str) == Some("DISTRIBUTED");
                    visit(processor, place.field(name), apart);
                }
            }
        }
        _ => {}
    }
}

/// The names of the states that may come after a state.
pub(super) fn next(state: &Node) -> impl Iterator<Item = &str> {
    let own = ["Next", "Default"].into_iter().filter_map(|name| state.get(name));
    let inner = ["Choices", "Catch"]
        .into_iter()
        .flat_map(|name| state.get(name).and_then(Node::items).unwrap_or_default())
        .filter_map(|item| item.get("Next"));
    own.chain(inner).filter_map(Node::as_str)
}
