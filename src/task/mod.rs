//! Handlers of Task states.
//!
//! A handler is registered under a resource ARN or a prefix of ARNs. It gets its input as a value in the execution's
//! arena, or typed through serde, and answers with a value or a [`TaskError`], which Retry and Catch see.

#[cfg(feature = "integrations")]
pub mod aws;
pub mod data;
#[cfg(feature = "functions")]
pub mod functions;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod mock;
#[cfg(feature = "nats")]
pub mod nats;
pub(crate) mod panics;
#[cfg(feature = "runtime")]
mod permit;
#[cfg(feature = "runtime")]
mod remote;
#[cfg(feature = "runtime")]
pub mod token;

#[cfg(feature = "runtime")]
pub use permit::Permit;
#[cfg(feature = "runtime")]
pub(crate) use permit::Permitted;
#[cfg(feature = "runtime")]
pub(crate) use remote::Shared;
#[cfg(feature = "runtime")]
pub use remote::{AsyncHandler, Attempt, TaskFuture, asynchronous, asynchronous_with, blocking};

use std::any::Any;
use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::engine::{Execution, TaskCall, Token};
use crate::fault::{self, Fault};
use crate::json::{self, Arena, ReadError, Value};
use crate::program::{Program, StateKind};

/// Answers the tasks of the executions of one driver: [handlers](Handlers), [mocks](mock::TestCase), or a script.
pub trait Tasks {
    /// A task starts. The result of [`Answer::Now`] is in the execution's arena.
    fn start(&mut self, program: &Program, execution: &mut Execution, call: &TaskCall) -> Answer;

    /// Whether it answers the tasks of this state. If not, an engine uses its own handlers.
    fn answers(&self, state: &str) -> bool {
        let _ = state;
        true
    }
}

/// The answer to a task.
#[derive(Debug)]
pub enum Answer {
    /// It is done.
    Now(Result<Value, Fault>),
    /// It will be done after so many milliseconds; the result is JSON text.
    After(u64, Result<Vec<u8>, Fault>),
    /// A service has accepted the job and answered with this value (`.sync`, `.waitForTaskToken`). Its result, as JSON
    /// text, is known after so many milliseconds; or it never ends, or the token's holder completes it.
    Submitted(Value, Option<(u64, Result<Vec<u8>, Fault>)>),
    /// It is never answered.
    Never,
}

/// Longer results are not read at all. Those between this and the limit of payloads are refused by the engine, with
/// AWS's message.
const RESULT_BYTES_MAX: usize = 16 << 20;

/// Reads a task's answer, JSON text.
pub(crate) fn read_answer(
    program: &Program,
    execution: &mut Execution,
    token: Token,
    text: &[u8],
) -> Result<Value, Fault> {
    let state = execution.task_state(token);
    read_result(&mut execution.arena, text, || match program.states[state?].kind {
        StateKind::Task(task) => Some(&program.tasks[task].resource.arn),
        // A Map Run.
        _ => None,
    })
}

/// Reads a task's result, JSON text; `resource` returns where it came from, for errors.
pub(crate) fn read_result<'p>(
    arena: &mut Arena,
    text: &[u8],
    resource: impl FnOnce() -> Option<&'p str>,
) -> Result<Value, Fault> {
    if text.len() > RESULT_BYTES_MAX {
        let cause =
            "The task returned a result with a size exceeding the maximum number of bytes service limit.";
        return Err(Fault::new(fault::DATA_LIMIT_EXCEEDED, cause));
    }
    json::read(arena, text).map_err(|error| {
        let subject = match resource() {
            Some(resource) => format!("The result of {resource}"),
            None => "The task's result".to_owned(),
        };
        Fault::new(fault::TASK_FAILED, unreadable(&subject, text, error))
    })
}

/// Why a result cannot be read, with its beginning for identification.
#[cold]
fn unreadable(subject: &str, text: &[u8], error: ReadError) -> String {
    const SHOWN_BYTES: usize = 64;
    if text.is_empty() {
        return format!("{subject} is not JSON: it is empty");
    }
    let what = error.verdict();
    let shown = text[..text.len().min(SHOWN_BYTES)].escape_ascii();
    let more = if text.len() > SHOWN_BYTES { "…" } else { "" };
    format!("{subject} {what}: {error}. It begins with: {shown}{more}")
}

/// The ARN of the role in a task's `Credentials`.
#[cfg(feature = "runtime")]
pub(crate) fn role_arn(execution: &Execution, token: Token) -> Option<Box<str>> {
    let credentials = execution.task_credentials(token)?;
    let role = execution.arena.get_str(credentials, "RoleArn")?;
    execution.arena.as_str(role).map(Into::into)
}

/// The arguments of a handler.
#[derive(Debug)]
pub struct Call<'c> {
    /// The ARN that the state names.
    pub resource: &'c str,
    /// The state's name.
    pub state: &'c str,
    /// Retries so far.
    pub attempt: u32,
    /// The task's input.
    pub input: Value,
    /// Has the input, and takes the result.
    pub arena: &'c mut Arena,
}

impl Call<'_> {
    /// The input, deserialized.
    ///
    /// # Errors
    /// `States.TaskFailed` when the input has another shape.
    pub fn input<T: DeserializeOwned>(&self) -> Result<T, TaskError> {
        json::from_value(self.arena, self.input)
            .map_err(|error| TaskError::new(fault::TASK_FAILED, format!("The task's input: {error}")))
    }

    /// Serializes a result.
    ///
    /// # Errors
    /// `States.TaskFailed` when it cannot be written as JSON.
    pub fn output<T: Serialize + ?Sized>(&mut self, output: &T) -> Result<Value, TaskError> {
        json::to_value(self.arena, output)
            .map_err(|error| TaskError::new(fault::TASK_FAILED, format!("The task's result: {error}")))
    }
}

/// The failure of a task: the error name that `Retry` and `Catch` match, and a cause for people.
///
/// `?` converts everything that a `Box<dyn Error + Send + Sync>` can be made of: errors that may be sent to other threads,
/// such a box itself, `anyhow::Error` and `eyre::Report`, and texts. The name is `States.TaskFailed` then;
/// [`named`](TaskError::named) gives it another. The [`Fault`] of a workflow keeps its name, but not inside an
/// `anyhow::Error`, which hides what it was made of.
///
/// Because of that conversion, which would include its own, this type is not an error itself, as `anyhow::Error` is not.
/// An error that is not `Send` and `Sync` does not convert; its text does: `map_err(|error| error.to_string())?`.
///
/// ```
/// use expressway::task::{self, TaskError};
///
/// let handler = task::typed(|file: String| {
///     let text = std::fs::read_to_string(file)?;
///     let price: f64 = text.trim().parse().map_err(TaskError::named("Price.Malformed"))?;
///     if price < 0.0 {
///         Err("a price is not negative")?;
///     }
///     Ok(price)
/// });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskError {
    /// The error name.
    pub error: String,
    /// The cause.
    pub cause: String,
}

impl TaskError {
    /// An error with its name and cause.
    pub fn new(error: impl Into<String>, cause: impl Into<String>) -> TaskError {
        TaskError { error: error.into(), cause: cause.into() }
    }

    /// For `map_err`: converts anything that `?` does into an error with this name.
    pub fn named<E: Into<Box<dyn Error + Send + Sync>>>(
        name: impl Into<String>,
    ) -> impl FnOnce(E) -> TaskError {
        move |error| TaskError::new(name, whole_message(&*error.into()))
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.error, self.cause)
    }
}

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for TaskError {
    fn from(error: E) -> TaskError {
        let error = error.into();
        match error.downcast_ref::<Fault>() {
            Some(Fault { error: Some(name), cause }) => {
                TaskError::new(name.clone(), cause.clone().unwrap_or_default())
            }
            _ => TaskError::new(fault::TASK_FAILED, whole_message(&*error)),
        }
    }
}

/// The messages of an error and its sources.
fn whole_message(error: &dyn Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        // Many errors repeat their source's message.
        let text = error.to_string();
        if !message.ends_with(&text) {
            message.push_str(": ");
            message.push_str(&text);
        }
        source = error.source();
    }
    message
}

impl From<TaskError> for Fault {
    fn from(error: TaskError) -> Fault {
        Fault { error: Some(error.error.into()), cause: Some(error.cause) }
    }
}

/// Does a task in line, on the thread that runs the execution. Closures of the right shape are handlers.
pub trait Handler: Send + Sync {
    /// Does the task. The result is in the call's arena.
    ///
    /// # Errors
    /// The error for the workflow's Retry and Catch.
    fn call(&self, call: &mut Call<'_>) -> Result<Value, TaskError>;
}

impl<F> Handler for F
where
    F: Fn(&mut Call<'_>) -> Result<Value, TaskError> + Send + Sync,
{
    fn call(&self, call: &mut Call<'_>) -> Result<Value, TaskError> {
        self(call)
    }
}

/// A handler made of a function from one type to another.
///
/// ```
/// use expressway::task::{self, TaskError};
/// let handler = task::typed(|numbers: Vec<i64>| Ok::<i64, TaskError>(numbers.iter().sum()));
/// ```
pub fn typed<I, O, F>(function: F) -> impl Handler
where
    I: DeserializeOwned,
    O: Serialize,
    F: Fn(I) -> Result<O, TaskError> + Send + Sync,
{
    move |call: &mut Call<'_>| {
        let output = function(call.input()?)?;
        call.output(&output)
    }
}

/// Calls a handler for a task of `execution`. A panic in it is the task's failure: the arena stays consistent, because
/// values already made in it are never changed.
pub(crate) fn call(
    handler: &dyn Handler,
    program: &Program,
    execution: &mut Execution,
    call: &TaskCall,
) -> Result<Value, Fault> {
    let mut call = Call {
        resource: &program.tasks[call.task].resource.arn,
        state: program.name(call.state),
        attempt: call.attempt,
        input: execution.task_input(call.token).expect("the task is started in its visit"),
        arena: &mut execution.arena,
    };
    match panics::guard(|| handler.call(&mut call)) {
        Ok(result) => result.map_err(Fault::from),
        Err(panic) => Err(panicked(&*panic)),
    }
}

/// `States.TaskFailed` of a handler that panicked.
pub(crate) fn panicked(panic: &(dyn Any + Send)) -> Fault {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or_default();
    Fault::new(fault::TASK_FAILED, format!("The handler panicked: {text}"))
}

/// A message's bytes: text as it is, any other value as JSON.
#[cfg(any(feature = "kafka", feature = "nats"))]
fn bytes_of(value: &serde_json::Value) -> Vec<u8> {
    match value {
        serde_json::Value::String(text) => text.clone().into_bytes(),
        value => value.to_string().into_bytes(),
    }
}

/// `States.Runtime`, which is never caught, for a task without a handler: a mistake in the engine's configuration, not
/// an error of the workflow.
#[cold]
pub(crate) fn missing(resource: &str, state: &str, attempt: u32) -> Fault {
    let cause = format!(
        "No handler is registered for the resource {resource} of the state '{state}' (invocation {attempt})."
    );
    Fault::new(fault::RUNTIME, cause)
}

/// Handlers by resource: an exact ARN wins, then the longest prefix.
#[derive(Clone)]
pub struct Handlers<H: ?Sized = dyn Handler> {
    exact: HashMap<String, Arc<H>>,
    /// Longest first.
    prefixes: Vec<(String, Arc<H>)>,
}

impl<H: ?Sized> Default for Handlers<H> {
    fn default() -> Handlers<H> {
        Handlers { exact: HashMap::new(), prefixes: Vec::new() }
    }
}

impl Handlers {
    /// No handlers.
    pub fn new() -> Handlers {
        Handlers::default()
    }

    /// Calls `handler` for the resource `arn`.
    pub fn insert(&mut self, arn: impl Into<String>, handler: impl Handler + 'static) {
        self.put(arn.into(), Arc::new(handler));
    }

    /// Calls `handler` for all resources with this prefix that have no handler of their own.
    pub fn insert_prefix(&mut self, prefix: impl Into<String>, handler: impl Handler + 'static) {
        self.put_prefix(prefix.into(), Arc::new(handler));
    }
}

impl<H: ?Sized> Handlers<H> {
    pub(crate) fn put(&mut self, arn: String, handler: Arc<H>) {
        self.exact.insert(arn, handler);
    }

    pub(crate) fn put_prefix(&mut self, prefix: String, handler: Arc<H>) {
        self.prefixes.retain(|(other, _)| *other != prefix);
        self.prefixes.push((prefix, handler));
        self.prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
    }

    /// The resources and prefixes that have a handler.
    #[cfg(feature = "runtime")]
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.exact.keys().map(String::as_str).chain(self.prefixes.iter().map(|(prefix, _)| prefix.as_str()))
    }

    /// The handler of exactly this resource.
    #[cfg(feature = "runtime")]
    pub(crate) fn find_exactly(&self, arn: &str) -> Option<&Arc<H>> {
        self.exact.get(arn)
    }

    /// The handler of this resource.
    pub fn find(&self, arn: &str) -> Option<&Arc<H>> {
        let by_prefix = || self.prefixes.iter().find(|(prefix, _)| arn.starts_with(&**prefix));
        self.exact.get(arn).or_else(|| by_prefix().map(|(_, handler)| handler))
    }
}

impl<H: ?Sized> std::fmt::Debug for Handlers<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.exact.keys())
            .entries(self.prefixes.iter().map(|(prefix, _)| prefix))
            .finish()
    }
}
