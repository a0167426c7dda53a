//! Requests that are not signed yet, and why there is no answer to one.

use std::borrow::Cow;

/// A request that is not signed yet.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// Percent-encoded, from the service's root.
    pub(super) path: String,
    /// Percent-encoded, sorted by name.
    pub(super) query: String,
    /// Names in lower case.
    pub(super) headers: Vec<(&'static str, Cow<'static, str>)>,
    /// Headers that the user names, in lower case.
    pub(super) named: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// Why there is no answer of a service.
#[derive(Debug)]
pub(super) enum CallError {
    /// The answer exceeds the limit of results.
    TooLarge,
    /// There are no credentials, or the service cannot be reached.
    Client(String),
}
