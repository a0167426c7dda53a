//! What the client says about its connection, for texts about what fails meanwhile.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_nats::Event;

use crate::os;
use crate::pipe::connection::Connection;

/// How long an error of the server explains others: longer than it takes until a publication counts as lost.
const WORDS_MAX: Duration = Duration::from_secs(10);

/// What the client reports about its connection.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) connection: Connection,
    /// The last error, and when it came.
    last: Mutex<Option<(Instant, String)>>,
}

impl Said {
    pub(super) fn hear(&self, event: &Event) {
        match event {
            Event::Connected => {
                // What was wrong with the connection before explains nothing of this one.
                *self.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
                self.connection.connected();
            }
            Event::Disconnected => self.lost("the connection is lost"),
            Event::Closed => self.lost("the connection was closed"),
            Event::ServerError(error) => self.keep(error.to_string()),
            // Errors of attempts to connect again.
            Event::ClientError(error) => {
                self.keep(error.to_string());
                self.lost("it cannot be connected again");
            }
            Event::LameDuckMode | Event::Draining | Event::SlowConsumer(_) => {}
        }
    }

    fn keep(&self, error: String) {
        let error = os::without_number(error.strip_prefix("nats: ").unwrap_or(&error));
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), error));
    }

    fn lost(&self, why: &str) {
        self.connection.lost(self.explained(&format!("NATS: {why}")));
    }

    /// An error, and the server's own words if it had any just before. The client hides them: a publication that is not
    /// permitted times out, for instance.
    pub(super) fn explained(&self, error: &str) -> String {
        match &*self.last.lock().unwrap_or_else(PoisonError::into_inner) {
            Some((at, last)) if at.elapsed() < WORDS_MAX && !error.contains(last) => {
                format!("{error}; its last error was: {last}")
            }
            _ => error.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use async_nats::{ClientError, ServerError};

    use super::*;

    #[test]
    fn the_last_error_explains_what_fails_until_it_is_connected_again() {
        let said = Said::default();
        said.hear(&Event::ClientError(ClientError::Other("IO error".into())));
        assert_eq!(said.explained("timed out"), "timed out; its last error was: IO error");
        said.hear(&Event::Connected);
        assert_eq!(said.explained("no stream found"), "no stream found");
        said.hear(&Event::ServerError(ServerError::Other("Permissions Violation".into())));
        assert_eq!(said.explained("timed out"), "timed out; its last error was: Permissions Violation");
    }
}
