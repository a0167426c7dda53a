//! Which variables the states of a definition refer to: `variableReferences`.

/// The names of states, and the variables each refers to.
pub(super) fn variables(_definition: &str) -> Vec<(String, Vec<String>)> {
    Vec::new()
}
