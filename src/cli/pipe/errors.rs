//! What pipelines share: why they end, and their runtime.

use expressway::pipe::PipeError;

use super::config::Endpoint;
use crate::cli::Stop;

/// What is wrong is said by the pipeline itself.
pub(super) fn refused(error: PipeError) -> Stop {
    Stop::failed(error.to_string())
}

/// The runtime of pipelines.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Stop> {
    let built = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    built.map_err(|error| Stop::failed(format!("cannot start threads: {error}")))
}

/// Adds to an error which end of the pipeline it is about, and where that is.
pub(super) fn at(end: &str, described: &Endpoint, error: &PipeError) -> Stop {
    Stop::failed(format!("the {end} {}: {error}", described.place()))
}
