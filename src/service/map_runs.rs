//! Map Runs and redrive. Distributed Map is not supported, so no execution has a Map Run, and what there is to say is
//! what AWS says of those that do not exist. Redrive is refused by name.

use super::machines::arn_of;
use super::page::{Page, Part};
use super::{Error, Exception, Service};
use crate::runtime::Status;

/// Why a Map Run is not found.
pub(super) fn missing(arn: &str) -> Result<Error, Error> {
    arn_of(arn, "mapRun")?;
    Ok(Error::new(Exception::ResourceNotFound, format!("Resource not found: '{arn}'")).about(arn))
}

impl Service {
    /// Describes a Map Run: there are none.
    ///
    /// # Errors
    /// `InvalidArn`, `ResourceNotFound`; always one of them.
    pub fn describe_map_run(&self, arn: &str) -> Result<(), Error> {
        Err(missing(arn)?)
    }

    /// Changes a Map Run: there are none.
    ///
    /// # Errors
    /// `InvalidArn`, `ResourceNotFound`; always one of them.
    pub fn update_map_run(&self, arn: &str) -> Result<(), Error> {
        Err(missing(arn)?)
    }

    /// Lists the Map Runs of an execution: there are none.
    ///
    /// # Errors
    /// `InvalidArn`, `InvalidToken`, `ExecutionDoesNotExist`.
    pub fn list_map_runs(&self, execution_arn: &str, page: &Page) -> Result<Part<()>, Error> {
        self.inner.execution(execution_arn)?;
        self.inner.tokens.read(page, "ListMapRuns", self.inner.now_ms())?;
        Ok(Part { items: Vec::new(), next_token: None })
    }

    /// Redrives an execution, which this service cannot.
    ///
    /// # Errors
    /// `InvalidArn`, `ExecutionDoesNotExist`, `ExecutionNotRedrivable`; always one of them.
    pub fn redrive_execution(&self, arn: &str) -> Result<(), Error> {
        let execution = self.inner.execution(arn)?;
        let why = match execution.outcome().map_or(Status::Running, |outcome| outcome.status) {
            Status::Running => "Execution is RUNNING and cannot be redriven",
            Status::Succeeded => "Execution is SUCCEEDED and cannot be redriven",
            _ => super::REDRIVE_REFUSED,
        };
        Err(Error::new(Exception::ExecutionNotRedrivable, format!("Execution Not Redrivable: '{why}'")))
    }
}
