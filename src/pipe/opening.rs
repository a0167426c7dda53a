//! Opening the source and the sinks of a pipeline: what is away or absent at the start is reported, and tried again.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::connection::Connection;
use super::ends::{Cause, End};
use super::event::{Later, PipeError, Sink, Source};
use super::settings::{AWAY_MAX, AWAY_MIN};
use super::trouble::Troubles;

/// Opens a source or sink; called again until it succeeds.
type Open<T> = Box<dyn FnMut() -> Later<'static, Result<T, PipeError>> + Send>;

/// A source or sink that may have to be opened.
pub(super) enum Opening<T> {
    Opened(T),
    /// The address is reported while it cannot be opened.
    Closed {
        address: String,
        open: Open<T>,
    },
}

/// The attempts to open one end.
struct Attempts<'t> {
    end: End,
    address: String,
    troubles: &'t Troubles,
    wait: Duration,
    /// When no other attempt is made.
    until: Option<Instant>,
}

impl Attempts<'_> {
    fn succeeded(&self) {
        let (end, address) = (self.end.to_string(), &self.address);
        tracing::info!(end, address, "connected");
        self.troubles.worked(self.end);
    }

    /// Reports that an attempt failed, and waits for the time of the next one.
    async fn failed(&mut self, error: PipeError) -> Result<(), PipeError> {
        let Attempts { end, address, troubles, wait, until } = self;
        match error {
            PipeError::Away(why) | PipeError::Absent(why)
                if until.is_none_or(|until| Instant::now() + *wait <= until) =>
            {
                troubles.failed(*end, Cause::Operation, || address.clone(), &why);
                sleep(*wait).await;
                *wait = (*wait * 2).min(AWAY_MAX);
                Ok(())
            }
            error => Err(error.said(|why| format!("the {}: {why}", end.at(address)))),
        }
    }
}

/// Opens an end by and by.
pub(super) struct Opener<'t> {
    pub(super) troubles: &'t Troubles,
    /// How long it may take.
    pub(super) within: Option<Duration>,
}

impl Opener<'_> {
    fn attempts(&self, end: End, address: String) -> Attempts<'_> {
        let until = self.within.map(|within| Instant::now() + within);
        Attempts { end, address, troubles: self.troubles, wait: AWAY_MIN, until }
    }

    pub(super) async fn source(
        &self,
        opening: Opening<Box<dyn Source>>,
    ) -> Result<Box<dyn Source>, PipeError> {
        let (address, mut open) = match opening {
            Opening::Opened(source) => return Ok(source),
            Opening::Closed { address, open } => (address, open),
        };
        let mut attempts = self.attempts(End::Source, address);
        loop {
            match open().await {
                Ok(source) => {
                    attempts.succeeded();
                    return Ok(source);
                }
                Err(error) => attempts.failed(error).await?,
            }
        }
    }

    /// A sink is open when it also answers a check: the clients of some brokers connect later.
    pub(super) async fn sink(
        &self,
        end: End,
        opening: Option<Opening<Arc<dyn Sink>>>,
    ) -> Result<Option<Arc<dyn Sink>>, PipeError> {
        let (address, mut open) = match opening {
            None => return Ok(None),
            Some(Opening::Opened(sink)) => return Ok(Some(sink)),
            Some(Opening::Closed { address, open }) => (address, open),
        };
        let mut attempts = self.attempts(end, address);
        let sink = loop {
            match open().await {
                Ok(sink) => break sink,
                Err(error) => attempts.failed(error).await?,
            }
        };
        loop {
            match sink.check().await {
                Err(error @ (PipeError::Away(_) | PipeError::Absent(_))) => attempts.failed(error).await?,
                Ok(()) | Err(_) => {
                    // It answers, whatever its client reported before.
                    sink.connection().iter().for_each(Connection::connected);
                    attempts.succeeded();
                    return Ok(Some(sink));
                }
            }
        }
    }
}
