//! Pipelines: against brokers in memory, and against real ones where they are installed.

#[cfg(feature = "cli-pipe")]
mod examples;
mod files;
#[cfg(all(feature = "kafka", feature = "cli-pipe"))]
mod kafka;
mod lines;
#[cfg(feature = "cli-pipe")]
mod nats;
#[cfg(feature = "cli-pipe")]
mod redis;
#[cfg(feature = "cli-pipe")]
mod redriven;
#[cfg(feature = "cli-pipe")]
#[path = "../servers/mod.rs"]
mod servers;
#[cfg(feature = "cli-pipe")]
mod sqs;
mod starts;
mod stopped;
mod watched;
#[cfg(feature = "cli-pipe")]
mod webhook;

/// Events that wait at a source.
#[cfg(feature = "cli-pipe")]
async fn lag(source: &impl expressway::pipe::Source) -> Option<u64> {
    source.backlog().expect("the broker counts them").events().await.expect("the broker answers")
}
