//! Counts of executions for the messages of a server that starts or ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Service;
use super::executions::Execution;
use crate::runtime::{Outcome, Status};

impl Service {
    /// Standard executions that run and are not durable, so that they are lost with this process: how many, by the ARN of
    /// their state machine. Children of Map Runs are not counted, but their parents are.
    pub fn executions_not_durable(&self) -> BTreeMap<String, usize> {
        self.counted(|execution| execution.recorded.is_none() && execution.outcome().is_none())
    }

    /// Standard executions that have timed out since `ms`, in milliseconds since 1970: how many, by the ARN of their state
    /// machine.
    pub fn executions_timed_out_since(&self, ms: u64) -> BTreeMap<String, usize> {
        let timed_out =
            |outcome: Arc<Outcome>| outcome.status == Status::TimedOut && outcome.stopped_ms >= ms;
        self.counted(|execution| execution.outcome().is_some_and(timed_out))
    }

    fn counted(&self, counts: impl Fn(&Execution) -> bool) -> BTreeMap<String, usize> {
        let mut by_machine = BTreeMap::new();
        for executions in &self.inner.executions.by_machine {
            let executions = executions.value().values();
            let some = executions.filter(|it| !it.target.machine.is_express() && it.map_run.is_none());
            for execution in some.filter(|execution| counts(execution)) {
                *by_machine.entry(execution.target.machine.arn.to_string()).or_default() += 1;
            }
        }
        by_machine
    }

    /// The service's time, in milliseconds since 1970.
    pub fn time_ms(&self) -> u64 {
        self.inner.now_ms()
    }
}
