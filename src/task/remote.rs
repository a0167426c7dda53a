//! Asynchronous handlers: futures, polled by the thread that runs the execution.

use std::any::Any;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::{Call, TaskError, panicked, panics};
use crate::fault;
use crate::program::Task;

/// Does a task asynchronously. Made from closures by [`asynchronous`], [`asynchronous_with`] and [`blocking`].
pub trait AsyncHandler: Send + Sync {
    /// Called once for each task of a state machine, when that is created: a handler of many resources may return a
    /// separate one for this task, and then does not do it itself.
    ///
    /// # Errors
    /// Why it does not do such tasks; the state machine is refused.
    fn resolve(&self, _task: &Task) -> Result<Option<Arc<dyn AsyncHandler>>, String> {
        Ok(None)
    }

    /// Begins the task: reads what it needs of the call, and returns the future that does the work.
    ///
    /// # Errors
    /// When it cannot begin.
    fn begin(&self, call: &Call<'_>, attempt: Attempt) -> Result<TaskFuture, TaskError>;

    /// Whether [`begin`](AsyncHandler::begin) uses the attempt. If not, it gets an empty one, which costs nothing to
    /// make.
    fn wants_attempt(&self) -> bool;

    /// Whether it calls servers that are not in the engine's settings: AWS's own, or those that a task names. In a test
    /// case of a mock configuration such tasks have to be mocked.
    fn calls_out(&self) -> bool {
        false
    }

    /// Whether it only uses the attempt's [idempotency key](Attempt::idempotency_key): then it gets the attempt in
    /// durable executions, which have such keys, and an empty one in others.
    fn wants_key(&self) -> bool {
        false
    }
}

/// The work of a task: a future that resolves to JSON text.
pub type TaskFuture = Pin<Box<dyn Future<Output = Result<Vec<u8>, TaskError>>>>;

/// One attempt at a task, for its handler. Clones represent the same attempt.
///
/// When the workflow no longer needs the task (it timed out, the execution was aborted, a sibling failed), the
/// handler's future is dropped. Work it passed to others can check [`is_cancelled`](Attempt::is_cancelled).
#[derive(Clone, Default)]
pub struct Attempt {
    pub(crate) shared: Option<Arc<Shared>>,
}

/// The data of an attempt.
pub(crate) struct Shared {
    pub(crate) execution_arn: String,
    pub(crate) state: String,
    pub(crate) retries: u32,
    pub(crate) deadline_ms: u64,
    pub(crate) token: Option<String>,
    pub(crate) trace_header: Option<Box<str>>,
    pub(crate) role_arn: Option<Box<str>>,
    /// The visit of the state, when the execution is durable.
    pub(crate) recorded_visit: Option<u32>,
    pub(crate) cancelled: AtomicBool,
    /// Sends a heartbeat to the execution.
    pub(crate) heartbeat: Box<dyn Fn() + Send + Sync>,
    /// What the service answered when it accepted the job, until that is reported.
    pub(crate) submitted: Mutex<Option<Vec<u8>>>,
}

impl Attempt {
    /// A key that is the same whenever this attempt at the task is made, and unique to it: the task of a durable
    /// execution is repeated when the process ended before its result was recorded. `None` when the execution is not
    /// durable.
    pub fn idempotency_key(&self) -> Option<String> {
        let shared = self.shared.as_ref()?;
        let visit = shared.recorded_visit?;
        let digest =
            Sha256::new().chain_update(&shared.execution_arn).chain_update(visit.to_le_bytes()).finalize();
        let (high, low) = digest.split_at(8);
        let number =
            |bytes: &[u8]| bytes.iter().take(8).fold(0, |sum: u64, &byte| sum << 8 | u64::from(byte));
        Some(String::from_utf8_lossy(&crate::uuid::text(number(high), number(low))).into_owned())
    }

    /// The ARN of the execution.
    pub fn execution_arn(&self) -> &str {
        self.shared.as_ref().map_or("", |shared| &shared.execution_arn)
    }

    /// The name of the state.
    pub fn state(&self) -> &str {
        self.shared.as_ref().map_or("", |shared| &shared.state)
    }

    /// Retries so far: 0 in the first attempt.
    pub fn retries(&self) -> u32 {
        self.shared.as_ref().map_or(0, |shared| shared.retries)
    }

    /// When the task times out, in milliseconds since 1970: by its own timeout, or that of the whole execution.
    pub fn deadline_ms(&self) -> u64 {
        self.shared.as_ref().map_or(u64::MAX, |shared| shared.deadline_ms)
    }

    /// The token with which its holder may complete the task, if its resource ends in `.waitForTaskToken` or `.sync`.
    pub fn task_token(&self) -> Option<&str> {
        self.shared.as_ref().and_then(|shared| shared.token.as_deref())
    }

    /// The trace header that the execution was started with (`X-Amzn-Trace-Id`).
    pub fn trace_header(&self) -> Option<&str> {
        self.shared.as_ref().and_then(|shared| shared.trace_header.as_deref())
    }

    /// The ARN of the role that the task is to assume: `RoleArn` of its `Credentials`.
    pub fn role_arn(&self) -> Option<&str> {
        self.shared.as_ref().and_then(|shared| shared.role_arn.as_deref())
    }

    /// Whether the workflow no longer needs the task.
    pub fn is_cancelled(&self) -> bool {
        self.shared.as_ref().is_some_and(|shared| shared.cancelled.load(Ordering::Acquire))
    }

    /// Marks that the workflow no longer needs the task.
    pub(crate) fn cancel(&self) {
        if let Some(shared) = &self.shared {
            shared.cancelled.store(true, Ordering::Release);
        }
    }

    /// Reports that a service has accepted the task's job (`.sync`), with its answer as JSON text: the history's
    /// `TaskSubmitted`. It is reported when the handler's future is polled next; for other tasks it has no effect.
    pub fn submitted(&self, response: Vec<u8>) {
        if let Some(shared) = &self.shared {
            *shared.submitted.lock().unwrap_or_else(PoisonError::into_inner) = Some(response);
        }
    }

    /// The argument of [`submitted`](Attempt::submitted), once.
    pub(crate) fn take_submitted(&self) -> Option<Vec<u8>> {
        let shared = self.shared.as_ref()?;
        shared.submitted.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Sends a heartbeat: the task's `HeartbeatSeconds` begin anew.
    pub fn heartbeat(&self) {
        if let Some(shared) = &self.shared {
            (shared.heartbeat)();
        }
    }
}

impl std::fmt::Debug for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attempt")
            .field("execution_arn", &self.execution_arn())
            .field("state", &self.state())
            .field("retries", &self.retries())
            .finish_non_exhaustive()
    }
}

/// A handler made of an `async` closure from one type to another.
///
/// Its futures are polled on the thread that runs the execution, inside a single-threaded tokio runtime: they may use
/// tokio's I/O, timers and `tokio::spawn`, they need not be `Send`, and they must not block.
pub fn asynchronous<I, O, F, R>(function: F) -> impl AsyncHandler
where
    I: DeserializeOwned,
    O: Serialize,
    F: Fn(I) -> R + Send + Sync,
    R: Future<Output = Result<O, TaskError>> + 'static,
{
    Closure { function: move |input, _: Attempt| function(input), wants_attempt: false, input: PhantomData }
}

/// As [`asynchronous`], for a closure that also takes the [`Attempt`].
pub fn asynchronous_with<I, O, F, R>(function: F) -> impl AsyncHandler
where
    I: DeserializeOwned,
    O: Serialize,
    F: Fn(I, Attempt) -> R + Send + Sync,
    R: Future<Output = Result<O, TaskError>> + 'static,
{
    Closure { function, wants_attempt: true, input: PhantomData }
}

/// A handler made of a closure that blocks or computes for long: each call runs on a thread of tokio's pool for
/// blocking work. A call that began runs to its end, even when the task is no longer wanted.
pub fn blocking<I, O, F>(function: F) -> impl AsyncHandler
where
    I: DeserializeOwned + Send + 'static,
    O: Serialize + Send + 'static,
    F: Fn(I, Attempt) -> Result<O, TaskError> + Send + Sync + 'static,
{
    let function = Arc::new(function);
    asynchronous_with(move |input: I, attempt: Attempt| {
        let function = Arc::clone(&function);
        async move {
            match tokio::task::spawn_blocking(move || panics::guard(|| function(input, attempt))).await {
                Ok(Ok(result)) => result,
                Ok(Err(panic)) => Err(failed(&*panic)),
                Err(error) => Err(TaskError::new(fault::TASK_FAILED, error.to_string())),
            }
        }
    })
}

fn failed(panic: &(dyn Any + Send)) -> TaskError {
    TaskError::new(fault::TASK_FAILED, panicked(panic).cause.unwrap_or_default())
}

struct Closure<I, F> {
    function: F,
    wants_attempt: bool,
    input: PhantomData<fn(I)>,
}

impl<I, O, F, R> AsyncHandler for Closure<I, F>
where
    I: DeserializeOwned,
    O: Serialize,
    F: Fn(I, Attempt) -> R + Send + Sync,
    R: Future<Output = Result<O, TaskError>> + 'static,
{
    fn begin(&self, call: &Call<'_>, attempt: Attempt) -> Result<TaskFuture, TaskError> {
        let future = (self.function)(call.input()?, attempt);
        Ok(Box::pin(async move {
            let output = future.await?;
            serde_json::to_vec(&output)
                .map_err(|error| TaskError::new(fault::TASK_FAILED, format!("The task's result: {error}")))
        }))
    }

    fn wants_attempt(&self) -> bool {
        self.wants_attempt
    }
}
