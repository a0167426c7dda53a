//! The wire API through its seam: no socket, no HTTP, no thread, virtual time.

mod client;
#[path = "../corpora/mod.rs"]
mod corpora;
mod executions;
mod machines;
mod model;
mod recorded;
mod requests;
