//! Activities, whose workers ask for tasks, and answers to tasks by their tokens (API reference, `GetActivityTask`,
//! `SendTaskSuccess` and related actions).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::activity::Activity;
use super::configuration::{Encryption, Tag};
use super::inner::Inner;
use super::names::{arn_of, name};
use super::page::{Page, Part};
use super::{Error, Exception, Service, limits, tags};
use crate::json::explain::explain;
use crate::memory::OwnCharge;
use crate::runtime::{AnswerError, Answered};
use crate::task::token::{self, TokenError};

/// An activity, as it is described or listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActivityDescription {
    /// `activityArn`
    pub arn: String,
    /// `name`
    pub name: String,
    /// `creationDate`, in milliseconds since 1970.
    pub created_ms: u64,
    /// `encryptionConfiguration`
    pub encryption: Encryption,
}

/// A task for a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActivityTask {
    /// `taskToken`
    pub token: String,
    /// `input`, JSON text.
    pub input: String,
}

impl Activity {
    fn describe(&self) -> ActivityDescription {
        ActivityDescription {
            arn: self.arn.to_string(),
            name: self.name.to_string(),
            created_ms: self.created_ms,
            encryption: self.encryption.clone().unwrap_or_default(),
        }
    }
}

/// Counts a waiting worker, as long as this lives.
struct Waits(Arc<AtomicUsize>);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Service {
    /// Creates an activity, or finds the one of this name.
    ///
    /// # Errors
    /// `InvalidName`, `ActivityAlreadyExists` when it is encrypted otherwise, `ActivityLimitExceeded`, `TooManyTags`,
    /// `InvalidEncryptionConfiguration`.
    pub fn create_activity(
        &self,
        activity_name: &str,
        encryption: Option<Encryption>,
        tags: Vec<Tag>,
    ) -> Result<ActivityDescription, Error> {
        let inner = &*self.inner;
        name(activity_name)?;
        let encryption = encryption.map(Encryption::settled);
        encryption.as_ref().map_or(Ok(()), Encryption::check)?;
        let arn = self.arn("activity", activity_name);
        tags::check(&arn, &tags)?;
        let _writing = inner.writing();
        if let Some(existing) = inner.activities.get(&arn) {
            if existing.encryption.clone().unwrap_or_default() != encryption.unwrap_or_default() {
                let message = "Activity already exists. EncryptionConfiguration may not be updated.";
                return Err(Error::new(Exception::ActivityAlreadyExists, message));
            }
            return Ok(existing.describe());
        }
        if inner.activities.len() >= limits::STATE_MACHINES_MAX {
            let message = "The maximum number of activities has been reached";
            return Err(Error::new(Exception::ActivityLimitExceeded, message));
        }
        let created_ms = inner.now_ms();
        let activity = Activity {
            arn: arn.into(),
            name: activity_name.into(),
            created_ms,
            encryption,
            tags,
            pollers: Arc::default(),
            charge: OwnCharge::default(),
        };
        let described = activity.describe();
        inner.keep_activity(activity)?;
        Ok(described)
    }

    /// Describes an activity.
    ///
    /// # Errors
    /// `InvalidArn`, `ActivityDoesNotExist`.
    pub fn describe_activity(&self, arn: &str) -> Result<ActivityDescription, Error> {
        self.inner.activity(arn).map(|activity| activity.describe())
    }

    /// Deletes an activity. One that does not exist is deleted already.
    ///
    /// # Errors
    /// `InvalidArn`
    pub fn delete_activity(&self, arn: &str) -> Result<(), Error> {
        arn_of(arn, "activity")?;
        let _writing = self.inner.writing();
        self.inner.forget_activity(arn)
    }

    /// Lists activities by their names.
    ///
    /// # Errors
    /// `InvalidToken`
    pub fn list_activities(&self, page: &Page) -> Result<Part<ActivityDescription>, Error> {
        const LIST: &str = "ListActivities";
        let inner = &*self.inner;
        let now_ms = inner.now_ms();
        let (results_max, after) = inner.tokens.read(page, LIST, now_ms)?;
        let found = inner.activities.after(self.list_after(after).as_deref(), results_max + 1);
        let found = found.into_iter().take_while(|activity| self.is_here(&activity.arn)).collect();
        let key = |activity: &Arc<Activity>| activity.arn.to_string();
        Ok(inner.tokens.part(found, results_max, LIST, now_ms, key, |activity| activity.describe()))
    }

    /// Waits for a task of an activity, a minute by default. The history shows the worker's name. Must be called inside
    /// a tokio runtime whose time driver is enabled.
    ///
    /// # Errors
    /// `InvalidArn`, `ActivityDoesNotExist`, `ActivityWorkerLimitExceeded`.
    pub async fn get_activity_task(
        &self,
        arn: &str,
        worker: Option<&str>,
    ) -> Result<Option<ActivityTask>, Error> {
        let inner = &*self.inner;
        let activity = inner.activity(arn)?;
        let waits = Waits(Arc::clone(&activity.pollers));
        if waits.0.fetch_add(1, Ordering::AcqRel) >= limits::ACTIVITY_POLLERS_MAX {
            let message = format!("Activity Worker Limit Exceeded: '{arn}'");
            return Err(Error::new(Exception::ActivityWorkerLimitExceeded, message));
        }
        let polled = inner.engine.get_activity_task(arn, worker);
        let task = tokio::time::timeout(inner.settings.activity_poll, polled).await.ok();
        Ok(task.map(shown))
    }

    /// A task of an activity, if there is one on this node.
    ///
    /// # Errors
    /// `InvalidArn`, `ActivityDoesNotExist`.
    pub(crate) fn take_activity_task(
        &self,
        arn: &str,
        worker: Option<&str>,
    ) -> Result<Option<ActivityTask>, Error> {
        self.inner.activity(arn)?;
        let mut polled = std::pin::pin!(self.inner.engine.get_activity_task(arn, worker));
        Ok(match polled.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(task) => Some(shown(task)),
            Poll::Pending => None,
        })
    }

    /// Completes when a task of an activity is there on this node, or after a while.
    ///
    /// # Errors
    /// `InvalidArn`, `ActivityDoesNotExist`.
    pub(crate) async fn await_activity_task(&self, arn: &str, within: Duration) -> Result<bool, Error> {
        self.inner.activity(arn)?;
        let ready = self.inner.engine.activity_ready(arn);
        Ok(tokio::time::timeout(within, ready).await.is_ok())
    }

    /// How long a worker waits.
    pub(crate) fn activity_poll(&self) -> Duration {
        self.inner.settings.activity_poll
    }

    /// Completes the task of a token; `output` is JSON text.
    ///
    /// # Errors
    /// `InvalidOutput`, `InvalidToken`, `TaskTimedOut`.
    pub fn send_task_success(&self, token: &str, output: &str) -> Result<(), Error> {
        self.succeed_task(token, output).map(Answered::wait)
    }

    /// The same, for callers that must not block until the answer is safe.
    pub(crate) fn succeed_task(&self, token: &str, output: &str) -> Result<Answered, Error> {
        let invalid = |why: &str| Error::new(Exception::InvalidOutput, format!("Invalid Output: '{why}'"));
        // Verified: an invalid token is reported before an invalid output.
        token::parse(token).map_err(|_| Error::invalid_token())?;
        if let Some(why) = explain(output.as_bytes()) {
            return Err(invalid(&why.message));
        }
        self.inner.engine.succeed_task(token, output.as_bytes()).map_err(|error| match error {
            AnswerError::InvalidOutput(why) => invalid(&why),
            other => refused(other),
        })
    }

    /// Fails the task of a token.
    ///
    /// # Errors
    /// `InvalidToken`, `TaskTimedOut`.
    pub fn send_task_failure(
        &self,
        token: &str,
        error: Option<&str>,
        cause: Option<&str>,
    ) -> Result<(), Error> {
        self.fail_task(token, error, cause).map(Answered::wait)
    }

    /// The same, for callers that must not block until the answer is safe.
    pub(crate) fn fail_task(
        &self,
        token: &str,
        error: Option<&str>,
        cause: Option<&str>,
    ) -> Result<Answered, Error> {
        let (error, cause) = (error.unwrap_or_default(), cause.unwrap_or_default());
        self.inner.engine.fail_task(token, error, cause).map_err(refused)
    }

    /// Records a heartbeat of the task of a token.
    ///
    /// # Errors
    /// `InvalidToken`, `TaskTimedOut`.
    pub fn send_task_heartbeat(&self, token: &str) -> Result<(), Error> {
        self.inner.engine.send_task_heartbeat(token).map_err(refused)
    }
}

fn shown(task: token::ActivityTask) -> ActivityTask {
    // The engine writes JSON, which is UTF-8.
    ActivityTask { token: task.token(), input: String::from_utf8(task.input).unwrap_or_default() }
}

fn refused(error: AnswerError) -> Error {
    match error {
        AnswerError::Token(TokenError::Unknown) => {
            Error::new(Exception::TaskTimedOut, "Task Timed Out: 'Provided task does not exist anymore'")
        }
        AnswerError::NotDurable(why) => {
            let message = format!("Rate exceeded: the answer cannot be made durable at present: {why}");
            let mut error = Error::new(Exception::ThrottlingException, message);
            error.retry_after = Some(Duration::from_millis(100));
            error
        }
        _ => Error::invalid_token(),
    }
}

impl Inner {
    fn activity(&self, arn: &str) -> Result<Arc<Activity>, Error> {
        arn_of(arn, "activity")?;
        self.activities.get(arn).ok_or_else(|| Error::no_activity(arn))
    }
}
