//! Calls for executions of other nodes: what they need to know, and what is done for them here.

use std::sync::Arc;
use std::time::Duration;

use super::inner::Inner;
use super::mocks::split;
use super::spread::{PeerCall, Spread};
use super::{Error, Service};
use crate::journal::partition_of;

impl Inner {
    /// Of a Standard state machine, the ARN of its execution of this name.
    pub(super) fn standard_arn(&self, machine_arn: &str, name: &str) -> Option<String> {
        let (machine_arn, _) = split(machine_arn);
        let target = self.target(machine_arn).ok()?;
        (!target.machine.is_express()).then(|| target.machine.arn_of("execution", name))
    }
}

impl Service {
    /// The partitions, if they are spread over several nodes.
    pub(crate) fn spread(&self) -> Option<&Arc<Spread>> {
        self.inner.spread.as_ref()
    }

    /// Of a Standard state machine, the ARN of its execution of this name.
    pub(crate) fn standard_execution_arn(&self, machine_arn: &str, name: &str) -> Option<String> {
        self.inner.standard_arn(machine_arn, name)
    }

    /// A name for an execution; in a partition of this node, if it has any.
    pub(crate) fn new_execution_name(&self, spread: &Spread, machine_arn: &str) -> String {
        let mut name = self.inner.ids.uuid();
        // With a third of the partitions, a hundred attempts fail once in 10^17 times, and then another node starts it.
        for _ in 0..100 {
            match self.standard_execution_arn(machine_arn, &name) {
                Some(arn) if !spread.owns(partition_of(&arn)) => name = self.inner.ids.uuid(),
                _ => break,
            }
        }
        name
    }

    /// Who calls, and from where, as another node has to know it.
    pub(crate) fn peer_call(&self, target: &str, trace_header: Option<&str>, body: &[u8]) -> PeerCall {
        PeerCall {
            target: target.to_owned(),
            trace_header: trace_header.map(str::to_owned),
            body: body.to_vec(),
            caller: self.caller.as_ref().map(|grant| grant.holder.to_string()),
            scope: self.scope.as_ref().map(|scope| (scope.region.clone(), scope.account.clone())),
        }
    }
}

impl Service {
    /// The same service, for a call that another node has forwarded.
    #[must_use]
    pub(crate) fn as_forwarded(&self) -> Service {
        Service { is_forwarded: true, ..self.clone() }
    }

    pub(crate) fn is_forwarded(&self) -> bool {
        self.is_forwarded
    }

    /// Stops an execution that a task on another node has started; only that of this attempt, if one is given.
    ///
    /// # Errors
    /// `ExecutionDoesNotExist`, also when another one has this name.
    pub(crate) fn stop_nested(&self, arn: &str, parent: Option<&str>, cause: &str) -> Result<(), Error> {
        if self.inner.stop_child(arn, parent, cause) { Ok(()) } else { Err(Error::no_execution(arn)) }
    }

    /// Completes when an execution of this node is over, or has left it, or after a while. Whether it is still here.
    ///
    /// # Errors
    /// `InvalidArn`, `ExecutionDoesNotExist`.
    pub(crate) async fn await_execution(&self, arn: &str, within: Duration) -> Result<bool, Error> {
        let execution = self.inner.execution(arn)?;
        let ended = tokio::time::timeout(within, execution.ended()).await;
        Ok(!matches!(ended, Ok(None)))
    }
}
