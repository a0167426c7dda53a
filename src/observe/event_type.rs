//! The types of history events (API reference, `HistoryEvent`).

use crate::engine::TaskKind;
use crate::program::StateKind;

macro_rules! event_types {
    ($($name:ident $(=> $details:literal)?,)*) => {
        /// The type of a history event, named as AWS names it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs)] // The names are AWS's own.
        pub enum EventType { $($name,)* }

        impl EventType {
            /// All types that executions of this engine have.
            pub const ALL: &[EventType] = &[$(EventType::$name,)*];

            /// Such as `PassStateEntered`.
            pub const fn name(self) -> &'static str {
                match self { $(EventType::$name => stringify!($name),)* }
            }

            /// The member of `HistoryEvent` that holds the details, such as `stateEnteredEventDetails`; some types
            /// have none.
            pub const fn details_name(self) -> Option<&'static str> {
                match self { $(EventType::$name => event_types!(@details $($details)?),)* }
            }
        }
    };
    (@details) => { None };
    (@details $details:literal) => { Some($details) };
}

event_types! {
    ActivityFailed => "activityFailedEventDetails",
    ActivityScheduled => "activityScheduledEventDetails",
    ActivityStarted => "activityStartedEventDetails",
    ActivitySucceeded => "activitySucceededEventDetails",
    ActivityTimedOut => "activityTimedOutEventDetails",
    ChoiceStateEntered => "stateEnteredEventDetails",
    ChoiceStateExited => "stateExitedEventDetails",
    EvaluationFailed => "evaluationFailedEventDetails",
    ExecutionAborted => "executionAbortedEventDetails",
    ExecutionFailed => "executionFailedEventDetails",
    ExecutionRedriven => "executionRedrivenEventDetails",
    ExecutionStarted => "executionStartedEventDetails",
    ExecutionSucceeded => "executionSucceededEventDetails",
    ExecutionTimedOut => "executionTimedOutEventDetails",
    FailStateEntered => "stateEnteredEventDetails",
    LambdaFunctionFailed => "lambdaFunctionFailedEventDetails",
    LambdaFunctionScheduled => "lambdaFunctionScheduledEventDetails",
    LambdaFunctionStarted,
    LambdaFunctionSucceeded => "lambdaFunctionSucceededEventDetails",
    LambdaFunctionTimedOut => "lambdaFunctionTimedOutEventDetails",
    MapIterationAborted => "mapIterationAbortedEventDetails",
    MapIterationFailed => "mapIterationFailedEventDetails",
    MapIterationStarted => "mapIterationStartedEventDetails",
    MapIterationSucceeded => "mapIterationSucceededEventDetails",
    MapRunAborted,
    MapRunFailed => "mapRunFailedEventDetails",
    MapRunRedriven => "mapRunRedrivenEventDetails",
    MapRunStarted => "mapRunStartedEventDetails",
    MapRunSucceeded,
    MapStateAborted,
    MapStateEntered => "stateEnteredEventDetails",
    MapStateExited => "stateExitedEventDetails",
    MapStateFailed,
    MapStateStarted => "mapStateStartedEventDetails",
    MapStateSucceeded,
    ParallelStateAborted,
    ParallelStateEntered => "stateEnteredEventDetails",
    ParallelStateExited => "stateExitedEventDetails",
    ParallelStateFailed,
    ParallelStateStarted,
    ParallelStateSucceeded,
    PassStateEntered => "stateEnteredEventDetails",
    PassStateExited => "stateExitedEventDetails",
    SucceedStateEntered => "stateEnteredEventDetails",
    SucceedStateExited => "stateExitedEventDetails",
    TaskFailed => "taskFailedEventDetails",
    TaskScheduled => "taskScheduledEventDetails",
    TaskStarted => "taskStartedEventDetails",
    TaskStateAborted,
    TaskStateEntered => "stateEnteredEventDetails",
    TaskStateExited => "stateExitedEventDetails",
    TaskSubmitted => "taskSubmittedEventDetails",
    TaskSucceeded => "taskSucceededEventDetails",
    TaskTimedOut => "taskTimedOutEventDetails",
    WaitStateAborted,
    WaitStateEntered => "stateEnteredEventDetails",
    WaitStateExited => "stateExitedEventDetails",
}

impl EventType {
    pub(super) const fn entered(kind: StateKind) -> EventType {
        match kind {
            StateKind::Pass(_) => EventType::PassStateEntered,
            StateKind::Choice(_) => EventType::ChoiceStateEntered,
            StateKind::Task(_) => EventType::TaskStateEntered,
            StateKind::Wait(_) => EventType::WaitStateEntered,
            StateKind::Succeed => EventType::SucceedStateEntered,
            StateKind::Fail(_) => EventType::FailStateEntered,
            StateKind::Parallel(_) => EventType::ParallelStateEntered,
            StateKind::Map(_) => EventType::MapStateEntered,
        }
    }

    /// A Fail state is never exited; the engine emits no such record.
    pub(super) const fn exited(kind: StateKind) -> EventType {
        match kind {
            StateKind::Pass(_) => EventType::PassStateExited,
            StateKind::Choice(_) => EventType::ChoiceStateExited,
            StateKind::Task(_) => EventType::TaskStateExited,
            StateKind::Wait(_) => EventType::WaitStateExited,
            StateKind::Succeed | StateKind::Fail(_) => EventType::SucceedStateExited,
            StateKind::Parallel(_) => EventType::ParallelStateExited,
            StateKind::Map(_) => EventType::MapStateExited,
        }
    }

    /// Only states that take time can be aborted; AWS has no types for the others.
    pub(super) const fn aborted(kind: StateKind) -> Option<EventType> {
        match kind {
            StateKind::Task(_) => Some(EventType::TaskStateAborted),
            StateKind::Wait(_) => Some(EventType::WaitStateAborted),
            StateKind::Parallel(_) => Some(EventType::ParallelStateAborted),
            StateKind::Map(_) => Some(EventType::MapStateAborted),
            StateKind::Pass(_) | StateKind::Choice(_) | StateKind::Succeed | StateKind::Fail(_) => None,
        }
    }

    pub(super) const fn task_scheduled(kind: TaskKind) -> EventType {
        match kind {
            TaskKind::Service => EventType::TaskScheduled,
            TaskKind::Function => EventType::LambdaFunctionScheduled,
            TaskKind::Activity => EventType::ActivityScheduled,
        }
    }

    pub(super) const fn task_started(kind: TaskKind) -> EventType {
        match kind {
            TaskKind::Service => EventType::TaskStarted,
            TaskKind::Function => EventType::LambdaFunctionStarted,
            TaskKind::Activity => EventType::ActivityStarted,
        }
    }

    pub(super) const fn task_succeeded(kind: TaskKind) -> EventType {
        match kind {
            TaskKind::Service => EventType::TaskSucceeded,
            TaskKind::Function => EventType::LambdaFunctionSucceeded,
            TaskKind::Activity => EventType::ActivitySucceeded,
        }
    }

    pub(super) const fn task_failed(kind: TaskKind) -> EventType {
        match kind {
            TaskKind::Service => EventType::TaskFailed,
            TaskKind::Function => EventType::LambdaFunctionFailed,
            TaskKind::Activity => EventType::ActivityFailed,
        }
    }

    pub(super) const fn task_timed_out(kind: TaskKind) -> EventType {
        match kind {
            TaskKind::Service => EventType::TaskTimedOut,
            TaskKind::Function => EventType::LambdaFunctionTimedOut,
            TaskKind::Activity => EventType::ActivityTimedOut,
        }
    }
}

impl std::fmt::Display for EventType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
