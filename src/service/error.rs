//! The API's errors, with AWS's names and messages.

use std::borrow::Cow;
use std::time::Duration;

use crate::asl::{self, Diagnostic};
use crate::runtime::{Limit, Throttled};

macro_rules! exceptions {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// AWS's exceptions (API reference, "Errors" of each action, and "Common errors").
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Exception { $($(#[doc = $doc])* $name,)* }

        impl Exception {
            /// AWS's name.
            pub const fn name(self) -> &'static str {
                match self { $(Exception::$name => stringify!($name),)* }
            }
        }
    };
}

exceptions! {
    /// An activity of this name exists, with another encryption configuration.
    ActivityAlreadyExists,
    /// There is no such activity.
    ActivityDoesNotExist,
    /// There are as many activities as there may be.
    ActivityLimitExceeded,
    /// Too many workers poll the activity.
    ActivityWorkerLimitExceeded,
    /// The request contradicts the existing state.
    ConflictException,
    /// An execution of this name exists, with another input.
    ExecutionAlreadyExists,
    /// There is no such execution.
    ExecutionDoesNotExist,
    /// There are as many open executions as there may be.
    ExecutionLimitExceeded,
    /// The execution cannot be redriven.
    ExecutionNotRedrivable,
    /// The service failed, for instance because it cannot store a change.
    InternalFailure,
    /// The ARN is malformed, or one of another kind of resource.
    InvalidArn,
    /// The definition is wrong.
    InvalidDefinition,
    /// The encryption configuration is wrong.
    InvalidEncryptionConfiguration,
    /// The input is not JSON.
    InvalidExecutionInput,
    /// The logging configuration is wrong.
    InvalidLoggingConfiguration,
    /// The name has characters that names must not have.
    InvalidName,
    /// The output is not JSON.
    InvalidOutput,
    /// The token is malformed.
    InvalidToken,
    /// The tracing configuration is wrong.
    InvalidTracingConfiguration,
    /// No member that could be changed was given.
    MissingRequiredParameter,
    /// A referenced resource does not exist.
    ResourceNotFound,
    /// The request cannot be read.
    SerializationException,
    /// The service ends.
    ServiceUnavailable,
    /// A quota is used up.
    ServiceQuotaExceededException,
    /// A state machine of this name exists, and differs.
    StateMachineAlreadyExists,
    /// The state machine is being deleted.
    StateMachineDeleting,
    /// There is no such state machine.
    StateMachineDoesNotExist,
    /// There are as many state machines as there may be.
    StateMachineLimitExceeded,
    /// The action does not apply to state machines of this type.
    StateMachineTypeNotSupported,
    /// No task waits for this token.
    TaskDoesNotExist,
    /// The timeout of this token's task is over.
    TaskTimedOut,
    /// There is no room now; try again.
    ThrottlingException,
    /// More tags than there may be.
    TooManyTags,
    /// There is no action of this name.
    UnknownOperationException,
    /// The request breaks a rule of the API.
    ValidationException,
}

impl Exception {
    /// Whether the same may succeed when there is more room.
    pub(super) fn is_for_lack_of_room(self) -> bool {
        matches!(self, Exception::ThrottlingException | Exception::ServiceUnavailable)
    }
}

/// Why an action was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", exception.name())]
#[non_exhaustive]
pub struct Error {
    /// Which exception it is.
    pub exception: Exception,
    /// AWS's message.
    pub message: String,
    /// `reason` of a `ValidationException`.
    pub reason: Option<&'static str>,
    /// `resourceName` of `ResourceNotFound` and `TooManyTags`.
    pub resource: Option<String>,
    /// When to retry, if it was refused for lack of room.
    pub retry_after: Option<Duration>,
    /// What the author of a wrong definition may have meant, by place. Not part of AWS's answer, but beside it.
    pub suggestion: Option<String>,
}

impl Error {
    /// An exception with its message.
    pub fn new(exception: Exception, message: impl Into<Cow<'static, str>>) -> Error {
        let message = message.into().into_owned();
        Error { exception, message, reason: None, resource: None, retry_after: None, suggestion: None }
    }

    /// AWS's error for a definition with these problems, and the suggestions.
    pub(crate) fn invalid_definition(problems: &[Diagnostic]) -> Error {
        let message = asl::invalid_definition(problems);
        Error { suggestion: asl::suggestions(problems), ..Error::new(Exception::InvalidDefinition, message) }
    }

    pub(crate) fn validation(message: impl Into<Cow<'static, str>>) -> Error {
        Error::new(Exception::ValidationException, message)
    }

    pub(crate) fn because(mut self, reason: &'static str) -> Error {
        self.reason = Some(reason);
        self
    }

    pub(crate) fn about(mut self, resource: &str) -> Error {
        self.resource = Some(resource.to_owned());
        self
    }

    pub(crate) fn invalid_arn(why: &str) -> Error {
        Error::new(Exception::InvalidArn, format!("Invalid Arn: '{why}'"))
    }

    pub(crate) fn no_machine(arn: &str) -> Error {
        Error::new(Exception::StateMachineDoesNotExist, format!("State Machine Does Not Exist: '{arn}'"))
    }

    pub(crate) fn no_execution(arn: &str) -> Error {
        Error::new(Exception::ExecutionDoesNotExist, format!("Execution Does Not Exist: '{arn}'"))
    }

    pub(crate) fn no_activity(arn: &str) -> Error {
        Error::new(Exception::ActivityDoesNotExist, format!("Activity Does Not Exist: '{arn}'"))
    }

    pub(crate) fn not_this_type() -> Error {
        let message = "This operation is not supported by this type of state machine";
        Error::new(Exception::StateMachineTypeNotSupported, message)
    }

    pub(crate) fn invalid_token() -> Error {
        Error::new(Exception::InvalidToken, "Invalid Token: 'Invalid token'")
    }

    pub(crate) fn invalid_input(why: &str) -> Error {
        let message = format!("Invalid State Machine Execution Input: '{why}'");
        Error::new(Exception::InvalidExecutionInput, message)
    }
}

impl From<Throttled> for Error {
    fn from(throttled: Throttled) -> Error {
        if throttled.limit == Limit::Draining {
            // An ending server cannot promise a restart; another one may take over at the same address.
            let message = "The server ends and begins no more executions; ask again, or ask another one";
            return Error::new(Exception::ServiceUnavailable, message);
        }
        let mut error =
            Error::new(Exception::ThrottlingException, format!("Rate exceeded: {}", throttled.limit));
        error.retry_after = Some(throttled.retry_after);
        error
    }
}
