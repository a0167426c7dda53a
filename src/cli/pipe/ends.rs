//! Sources and sinks by their descriptions.

use std::path::Path;
use std::sync::Arc;

use expressway::pipe::{Lines, Sink, Source};

use super::config::Endpoint;
use crate::cli::Stop;

fn file(path: &Path, error: &std::io::Error) -> Stop {
    Stop::failed(format!("cannot open {}: {error}", path.display()))
}

#[cfg(feature = "nats")]
async fn nats(url: &str, credentials: Option<std::path::PathBuf>) -> Result<expressway::pipe::Nats, Stop> {
    let options = expressway::pipe::NatsOptions { credentials, ..Default::default() };
    expressway::pipe::Nats::connect(url, options).await.map_err(super::refused)
}

#[cfg(not(feature = "nats"))]
fn absent(feature: &str) -> Stop {
    Stop::failed(format!("this build was made without the feature `{feature}`"))
}

/// The source that is described.
pub(super) async fn source(end: &Endpoint) -> Result<Box<dyn Source>, Stop> {
    Ok(match end {
        Endpoint::Stdin {} => Box::new(Lines::from_stdin()),
        Endpoint::File { path } => Box::new(Lines::from_file(path).map_err(|error| file(path, &error))?),
        Endpoint::Stdout {} => return Err(Stop::failed("stdout is a sink, not a source")),
        #[cfg(not(feature = "nats"))]
        Endpoint::Nats { .. } => return Err(absent("nats")),
        #[cfg(feature = "nats")]
        Endpoint::Nats { url, stream, durable, subject, credentials, ack_wait, .. } => {
            let (Some(stream), Some(durable)) = (stream, durable) else {
                return Err(Stop::failed("a NATS source needs `stream` and `durable`"));
            };
            let mut consumer = expressway::pipe::NatsConsumer::new(stream, durable);
            consumer.subjects.extend(subject.clone());
            consumer.ack_wait = ack_wait.unwrap_or(consumer.ack_wait);
            let nats = nats(url, credentials.clone()).await?;
            Box::new(nats.source(consumer).await.map_err(super::refused)?)
        }
    })
}

/// The sink that is described.
pub(super) async fn sink(end: &Endpoint) -> Result<Arc<dyn Sink>, Stop> {
    Ok(match end {
        Endpoint::Stdout {} => Arc::new(Lines::to_stdout()),
        Endpoint::File { path } => Arc::new(Lines::to_file(path).map_err(|error| file(path, &error))?),
        Endpoint::Stdin {} => return Err(Stop::failed("stdin is a source, not a sink")),
        #[cfg(not(feature = "nats"))]
        Endpoint::Nats { .. } => return Err(absent("nats")),
        #[cfg(feature = "nats")]
        Endpoint::Nats { url, subject, credentials, ids, .. } => {
            let Some(subject) = subject else { return Err(Stop::failed("a NATS sink needs `subject`")) };
            let sink = nats(url, credentials.clone()).await?.sink(subject);
            if *ids { Arc::new(sink) } else { Arc::new(sink.without_ids()) }
        }
    })
}
