//! Tasks that others do: workers of activities, and whoever was given a token.

use std::sync::Arc;

use super::completion::Place;
use super::engine::Engine;
use super::inbox::{Beat, ShardMessage, Shared};
use crate::engine::Token;
use crate::fault::Fault;
use crate::json;
use crate::limits;
use crate::task::token::{self, ActivityTask, TokenError};

/// Why an answer to a task was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// The token is of no use.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The output is not JSON, or too large.
    #[error("InvalidOutput: {0}")]
    InvalidOutput(String),
}

impl Engine {
    // ---- tasks that others do ----

    /// Waits for a task of an activity (`GetActivityTask`) in the name of a worker, which the history shows. Wrap it into
    /// a timeout to poll for a while only. Dropping the future gives up, and loses nothing.
    pub fn get_activity_task(
        &self,
        activity: &str,
        worker: Option<&str>,
    ) -> impl Future<Output = ActivityTask> + Send + use<> {
        let (shared, worker) = (Arc::clone(self.shared()), worker.map(Into::into));
        let poller = shared.waiting.poll_activity(activity);
        async move {
            let (task, (place, token)) = poller.await;
            shared.send(place, ShardMessage::Started(place.key, token, worker));
            task
        }
    }

    /// Completes the task of a token (`SendTaskSuccess`); `output` is JSON text.
    ///
    /// # Errors
    /// When nobody waits for it, or the output is not JSON, which leaves the token good.
    pub fn send_task_success(&self, token: &str, output: &[u8]) -> Result<(), AnswerError> {
        let number = token::parse(token)?;
        if output.len() > limits::PAYLOAD_BYTES_MAX as usize {
            return Err(AnswerError::InvalidOutput("it is larger than the service limit".to_owned()));
        }
        json::read(&mut json::Arena::new(), output)
            .map_err(|error| AnswerError::InvalidOutput(error.to_string()))?;
        self.answer(number, Ok(output.to_vec()))
    }

    /// Fails the task of a token (`SendTaskFailure`).
    ///
    /// # Errors
    /// When nobody waits for it.
    pub fn send_task_failure(&self, token: &str, error: &str, cause: &str) -> Result<(), AnswerError> {
        let fault = Fault { error: Some(error.to_owned().into()), cause: Some(cause.to_owned()) };
        self.answer(token::parse(token)?, Err(fault))
    }

    /// Says that the task of a token is alive (`SendTaskHeartbeat`).
    ///
    /// # Errors
    /// When nobody waits for it.
    pub fn send_task_heartbeat(&self, token: &str) -> Result<(), AnswerError> {
        let number = token::parse(token)?;
        if let Some((place, token)) = self.shared().waiting.beat(number)? {
            self.shared().send(place, ShardMessage::Heartbeat(place.key, token, Beat::Token(number)));
        }
        Ok(())
    }

    fn answer(&self, number: u128, answer: Result<Vec<u8>, Fault>) -> Result<(), AnswerError> {
        let (place, token): (Place, Token) = self.shared().waiting.take(number)?;
        self.shared().send(place, ShardMessage::Answer(place.key, token, answer));
        Ok(())
    }
}

impl Shared {
    fn send(&self, place: Place, mail: ShardMessage) {
        self.remotes[usize::from(place.shard)].send(mail);
    }
}
