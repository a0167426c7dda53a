//! Describing and stopping Standard executions.

use std::sync::Arc;

use super::executions::Execution;
use super::inner::Inner;
use super::names::arn_of;
use super::redrives::RedriveDescription;
use super::spread::unavailable;
use super::{Error, Service, StateMachineDescription};
use crate::fault::Fault;
use crate::runtime::{DurabilityMode, Outcome};

/// The description of an execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutionDescription {
    /// `executionArn`
    pub arn: String,
    /// `stateMachineArn`
    pub machine_arn: String,
    /// `stateMachineVersionArn`
    pub version_arn: Option<String>,
    /// `stateMachineAliasArn`
    pub alias_arn: Option<String>,
    /// `name`
    pub name: String,
    /// `input`
    pub input: String,
    /// `startDate`, in milliseconds since 1970.
    pub started_ms: u64,
    /// `traceHeader`
    pub trace_header: Option<String>,
    /// `mapRunArn`
    pub map_run_arn: Option<String>,
    /// Its outcome; `None` while it runs.
    pub outcome: Option<Arc<Outcome>>,
    /// Whether its `status` is `PENDING_REDRIVE`, as in [`ExecutionItem`](super::ExecutionItem).
    pub is_pending_redrive: bool,
    /// `redriveCount`, `redriveDate`, `redriveStatus` and `redriveStatusReason`
    pub redrive: RedriveDescription,
    /// What a crash may lose of it; AWS has no member for it.
    pub durability: DurabilityMode,
}

impl Service {
    /// Describes an execution.
    ///
    /// # Errors
    /// `InvalidArn`, `ExecutionDoesNotExist`.
    pub fn describe_execution(&self, arn: &str) -> Result<ExecutionDescription, Error> {
        let execution = self.inner.execution(arn)?;
        let map_run = execution.map_run.as_deref().and_then(|arn| self.inner.map_run(arn).ok());
        Ok(ExecutionDescription {
            arn: execution.arn.to_string(),
            machine_arn: execution.target.machine.arn.to_string(),
            version_arn: execution.target.version_arn(),
            alias_arn: execution.target.alias_arn(),
            name: execution.name.to_string(),
            input: execution.input.to_string(),
            started_ms: execution.started_ms,
            trace_header: execution.trace_header.as_deref().map(str::to_owned),
            map_run_arn: execution.map_run.as_deref().map(str::to_owned),
            outcome: execution.outcome(),
            is_pending_redrive: map_run.is_some_and(|run| self.inner.is_pending_redrive(&execution, &run)),
            redrive: self.inner.redrive_description(&execution),
            durability: execution.recorded.map_or(DurabilityMode::Memory, |_| self.durability()),
        })
    }

    /// Describes the state machine as it was when the execution began.
    ///
    /// # Errors
    /// `InvalidArn`, `ExecutionDoesNotExist`.
    pub fn describe_state_machine_for_execution(&self, arn: &str) -> Result<StateMachineDescription, Error> {
        let execution = self.inner.execution(arn)?;
        Ok(StateMachineDescription::of(&execution.target, &execution.target.machine.arn))
    }

    /// Stops an execution; returns when it stopped. One that is over stays as it is.
    ///
    /// # Errors
    /// `InvalidArn`, `ExecutionDoesNotExist`.
    pub async fn stop_execution(
        &self,
        arn: &str,
        error: Option<String>,
        cause: Option<String>,
    ) -> Result<u64, Error> {
        let execution = self.inner.execution_in_memory(arn)?;
        execution.stop(Fault { error: error.map(Into::into), cause });
        let outcome = execution.ended().await;
        Ok(outcome
            .ok_or_else(|| unavailable("The execution has moved to another node; ask again"))?
            .stopped_ms)
    }
}

impl Inner {
    /// An execution for reading, in memory or not.
    pub(super) fn execution(&self, arn: &str) -> Result<Arc<Execution>, Error> {
        if !self.settings.express_history || arn_of(arn, "express").is_err() {
            arn_of(arn, "execution")?;
        }
        self.executions.expire(self.now_ms());
        match self.executions.get(arn) {
            Some(execution) => Ok(execution),
            None => self.cold_view(arn)?.ok_or_else(|| Error::no_execution(arn)),
        }
    }

    /// An execution for changing, brought into memory if needed.
    pub(super) fn execution_in_memory(&self, arn: &str) -> Result<Arc<Execution>, Error> {
        let execution = self.execution(arn)?;
        // An execution that is over needs no message.
        let is_over = execution.outcome().is_some();
        if is_over { Ok(execution) } else { self.bring_back(arn)?.ok_or_else(|| Error::no_execution(arn)) }
    }
}
