//! The handle of an execution that runs on a shard.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::completion::{BatchState, Completion, IdentityOverrides, NO_REASON};
use super::inbox::{ShardMessage, Shared};
use super::machine::Version;
use super::outcome::{Outcome, Status};
use crate::fault::Fault;

/// An execution that was started. As a future, it resolves to its [`Outcome`], once; dropping it does not affect the
/// execution.
#[derive(Clone)]
pub struct Handle {
    pub(super) completion: Arc<Completion>,
    pub(super) shared: Arc<Shared>,
    pub(super) version: Arc<Version>,
    pub(super) seed: u64,
}

impl Handle {
    /// Its status.
    pub fn status(&self) -> Status {
        self.completion.status()
    }

    /// Its ARN.
    pub fn arn(&self) -> String {
        let mut identity = self.version.identity.clone();
        if let Some(IdentityOverrides { name, arn, .. }) = self.completion.start_identity.label.as_deref() {
            identity.execution_name = name.clone().unwrap_or_default();
            identity.execution_arn = arn.clone().unwrap_or_default();
        }
        identity.execution_arn_with(self.seed)
    }

    /// Blocks this thread until the execution is over. For callers without an async runtime; inside of one, await the
    /// handle. Under virtual time nothing advances while this thread waits.
    ///
    /// # Panics
    /// In an async context, where it would block the execution it waits for.
    pub fn wait(self) -> Outcome {
        assert!(
            tokio::runtime::Handle::try_current().is_err(),
            "Handle::wait was called in an async context: await the handle instead"
        );
        pollster::block_on(self)
    }

    /// Stops it in any state: timers, retries, branches and handlers end with it. No effect when it is over.
    pub fn abort(&self) {
        self.abort_with(NO_REASON);
    }

    /// As [`abort`](Handle::abort), with a fault.
    pub fn abort_with(&self, fault: Fault) {
        let had_abort = self.completion.has_abort();
        if let Some((place, fault)) = self.completion.abort(fault) {
            self.shared.remotes[usize::from(place.shard)].send(ShardMessage::Abort(place.key, fault));
        } else if !had_abort && self.completion.has_abort() {
            // It waits to begin, on any shard, perhaps for long.
            for remote in &self.shared.remotes {
                remote.send(ShardMessage::AbortStart(Arc::clone(&self.version.usage)));
            }
        }
    }

    /// Aborts it before it enters its next state: what its current states do is completed. No effect when it is over
    /// before. The request is not recorded for a durable execution that continues after a restart.
    pub fn abort_at_next_state(&self) {
        self.completion.abort_at_next_state();
    }
}

impl Future for Handle {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        self.completion.poll(context)
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").field("arn", &self.arn()).field("status", &self.status()).finish()
    }
}

/// Aborts the execution when it is dropped before the end; the flag is set when it is over.
pub(super) struct Running(pub(super) Handle, pub(super) bool);

impl Drop for Running {
    fn drop(&mut self) {
        if !self.1 {
            self.0.abort();
        }
    }
}

/// Aborts the executions of a batch that are not over when it is dropped.
pub(super) struct RunningBatch {
    pub(super) state: Arc<BatchState>,
    pub(super) shared: Arc<Shared>,
}

impl Drop for RunningBatch {
    fn drop(&mut self) {
        if self.state.is_over() {
            return;
        }
        for place in self.state.abort() {
            let remote = &self.shared.remotes[usize::from(place.shard)];
            remote.send(ShardMessage::Abort(place.key, NO_REASON));
        }
    }
}
