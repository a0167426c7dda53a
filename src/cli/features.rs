//! Features that a build may lack.

/// The message that this build lacks something, and how to get it.
pub(super) fn left_out(what: &str, feature: &str) -> String {
    format!(
        "{what} is not in this build: it is in the feature `{feature}` (`full` has everything). \
         Try: cargo install --path . --features full"
    )
}
