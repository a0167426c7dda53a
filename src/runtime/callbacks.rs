//! Tasks done outside of the engine: by workers of activities, and by holders of task tokens.

use std::sync::Arc;

use super::completion::Location;
use super::engine::Engine;
use super::inbox::{HeartbeatFrom, ShardMessage, Shared};
use crate::fault::Fault;
use crate::journal::Lsn;
use crate::json;
use crate::limits;
use crate::task::token::{self, ActivityTask, TokenError};

/// Why an answer to a task was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// The token is invalid or unknown.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The output is not JSON, or too large.
    #[error("InvalidOutput: {0}")]
    InvalidOutput(String),
    /// The execution is durable, and its journal does not take the answer at present. The token is still valid.
    #[error("the answer cannot be made durable: {0}")]
    NotDurable(String),
}

/// An answer that was accepted. That of a durable execution's task is safe when it is [recorded](Answered::recorded).
#[must_use = "the answer to a durable execution's task is safe only when it is recorded"]
pub struct Answered {
    shared: Arc<Shared>,
    recorded: Option<Lsn>,
}

impl Answered {
    /// Completes when the answer is durable; at once, if its execution is not durable.
    pub async fn recorded(self) {
        if let (Some(durability), Some(recorded)) = (&self.shared.durability, self.recorded) {
            durability.safe(recorded).await;
        }
    }

    /// Blocks this thread until the answer is durable; not at all, if its execution is not durable.
    pub fn wait(self) {
        if let (Some(durability), Some(recorded)) = (&self.shared.durability, self.recorded) {
            durability.wait_safe(recorded);
        }
    }
}

impl std::fmt::Debug for Answered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answered").field("recorded", &self.recorded).finish_non_exhaustive()
    }
}

impl Engine {
    // ---- tasks done from outside ----

    /// Waits for a task of an activity (`GetActivityTask`), for a worker whose name the history shows. Wrap it into a
    /// timeout to bound the wait. Dropping the future cancels the wait without losing a task.
    pub fn get_activity_task(
        &self,
        activity: &str,
        worker: Option<&str>,
    ) -> impl Future<Output = ActivityTask> + Send + use<> {
        let (shared, worker) = (Arc::clone(self.shared()), worker.map(Into::into));
        let poller = shared.waiting.poll_activity(activity);
        async move {
            let (task, (place, token, _)) = poller.await;
            shared.send(place, ShardMessage::Started(place.key, token, worker));
            task
        }
    }

    /// Completes when a task of an activity is there.
    #[cfg(feature = "service")]
    pub(crate) fn activity_ready(&self, activity: &str) -> impl Future<Output = ()> + Send + use<> {
        self.shared().waiting.poll_ready(activity)
    }

    /// Whether a task waits for this token.
    pub fn knows_token(&self, token: &str) -> bool {
        let shared = self.shared();
        let cold = shared.durability.as_ref().and_then(|durability| durability.cold());
        token::parse(token).is_ok_and(|token| {
            shared.waiting.knows(token) || cold.is_some_and(|cold| cold.knows_token(token))
        })
    }

    /// Completes the task of a token (`SendTaskSuccess`); `output` is JSON text. If the execution is durable, this blocks
    /// the thread until the answer is safe: some milliseconds at most, while the disk works.
    ///
    /// # Errors
    /// When no task waits for the token, or the output is not JSON, which leaves the token valid.
    pub fn send_task_success(&self, token: &str, output: &[u8]) -> Result<(), AnswerError> {
        self.succeed_task(token, output).map(Answered::wait)
    }

    /// As [`send_task_success`](Engine::send_task_success), without waiting until it is safe.
    ///
    /// # Errors
    /// As there.
    pub fn succeed_task(&self, token: &str, output: &[u8]) -> Result<Answered, AnswerError> {
        let number = token::parse(token)?;
        if output.len() > limits::PAYLOAD_BYTES_MAX as usize {
            return Err(AnswerError::InvalidOutput("it is larger than the service limit".to_owned()));
        }
        json::read(&mut json::Arena::new(), output)
            .map_err(|error| AnswerError::InvalidOutput(error.to_string()))?;
        self.answer(number, Ok(output.to_vec()))
    }

    /// Fails the task of a token (`SendTaskFailure`). Blocks as [`send_task_success`](Engine::send_task_success) does.
    ///
    /// # Errors
    /// When no task waits for the token.
    pub fn send_task_failure(&self, token: &str, error: &str, cause: &str) -> Result<(), AnswerError> {
        self.fail_task(token, error, cause).map(Answered::wait)
    }

    /// As [`send_task_failure`](Engine::send_task_failure), without waiting until it is safe.
    ///
    /// # Errors
    /// As there.
    pub fn fail_task(&self, token: &str, error: &str, cause: &str) -> Result<Answered, AnswerError> {
        let fault = Fault { error: Some(error.to_owned().into()), cause: Some(cause.to_owned()) };
        self.answer(token::parse(token)?, Err(fault))
    }

    /// Records a heartbeat for the task of a token (`SendTaskHeartbeat`).
    ///
    /// # Errors
    /// When no task waits for the token.
    pub fn send_task_heartbeat(&self, token: &str) -> Result<(), AnswerError> {
        let number = token::parse(token)?;
        let waiting = &self.shared().waiting;
        if let Some((place, token, _)) = self.or_back(number, || waiting.beat(number))? {
            self.shared()
                .send(place, ShardMessage::Heartbeat(place.key, token, HeartbeatFrom::Token(number)));
        }
        Ok(())
    }

    /// Looks a token up, and again after bringing its execution back into memory if it is not found.
    fn or_back<T>(&self, number: u128, look: impl Fn() -> Result<T, TokenError>) -> Result<T, AnswerError> {
        match (look(), &self.shared().durability) {
            (Err(TokenError::Unknown), Some(durability)) => {
                match durability.wake_cold(number).map_err(AnswerError::NotDurable)? {
                    Some(false) => {
                        Err(AnswerError::NotDurable("its execution is being read: ask again".to_owned()))
                    }
                    Some(true) | None => Ok(look()?),
                }
            }
            (found, _) => Ok(found?),
        }
    }

    fn answer(&self, number: u128, answer: Result<Vec<u8>, Fault>) -> Result<Answered, AnswerError> {
        let waiting = &self.shared().waiting;
        let asks @ (place, token, durable) = self.or_back(number, || waiting.take(number))?;
        let recorded = match (durable, &self.shared().durability) {
            (Some(id), Some(durability)) => {
                let recorded = durability.answer(id, token, &answer).map_err(|why| {
                    if !durability.owns(id) {
                        // Another process waits for it by now.
                        return TokenError::Unknown.into();
                    }
                    self.shared().waiting.insert(number, asks);
                    AnswerError::NotDurable(why.to_string())
                })?;
                Some(recorded)
            }
            _ => None,
        };
        self.shared().send(place, ShardMessage::Answer(place.key, token, answer));
        Ok(Answered { shared: Arc::clone(self.shared()), recorded })
    }
}

impl Shared {
    fn send(&self, place: Location, messages: ShardMessage) {
        self.remotes[usize::from(place.shard)].send(messages);
    }
}
