//! `RedriveExecution`, and whether an execution may be redriven.

use std::sync::Arc;

use super::executions::{Execution, Run};
use super::history::Recorder;
use super::inner::Inner;
use super::redrives::{RedriveDescription, RedrivenBy};
use super::{Error, Exception, Service};
use crate::limits;
use crate::observe::History;
use crate::runtime::{Outcome, Redrive, Redriven, ResumeError, Status};

impl Service {
    /// Continues an execution that failed, was aborted or timed out where it stopped. Returns its `redriveDate`, in
    /// milliseconds since 1970; for a token that was used in the last minutes, that of its first use.
    ///
    /// # Errors
    /// `InvalidArn`, `ExecutionDoesNotExist`, `ExecutionNotRedrivable`, `ExecutionLimitExceeded`, `ThrottlingException`.
    pub async fn redrive_execution(&self, arn: &str, client_token: Option<&str>) -> Result<u64, Error> {
        let inner = &*self.inner;
        let shown = inner.execution(arn)?;
        let execution = match inner.executions.get(arn) {
            Some(execution) => execution,
            None => {
                let redrivable = inner.redrivable(&shown, &shown.run(), RedrivenBy::Request);
                redrivable.map_err(|why| not_redrivable(&why))?;
                inner.bring_back_over(arn)?.ok_or_else(|| Error::no_execution(arn))?
            }
        };
        let (date_ms, recorded) = inner.redrive(&execution, client_token, RedrivenBy::Request)?;
        if let Some(recorded) = recorded {
            recorded.await;
        }
        Ok(date_ms)
    }
}

impl Inner {
    pub(super) fn redrive_description(&self, execution: &Execution) -> RedriveDescription {
        let run = execution.run();
        RedriveDescription {
            count: run.redrives.count,
            date_ms: run.redrives.date_ms(),
            refused: self.redrivable(execution, &run, RedrivenBy::Request).err(),
            by_map_run: execution.map_run.is_some()
                && self.redrivable(execution, &run, RedrivenBy::MapRun).is_ok(),
        }
    }

    /// How it ended, and its state then; or why it cannot be redriven, in AWS's words if AWS has any.
    pub(super) fn redrivable(
        &self,
        execution: &Execution,
        run: &Run,
        by: RedrivenBy,
    ) -> Result<(Arc<Outcome>, Arc<[u8]>), String> {
        let machine = self.machines.get(&execution.target.machine.arn);
        let (now_ms, open_ms_max) = (self.now_ms(), limits::STANDARD_SECONDS_MAX * 1_000);
        let cannot = |status| Err(format!("Execution is {status} and cannot be redriven"));
        let outcome = match &run.outcome {
            None => return cannot("RUNNING"),
            Some(outcome) => outcome,
        };
        let reason = match outcome.status {
            Status::Succeeded => return cannot("SUCCEEDED"),
            _ if execution.map_run.is_some() && by == RedrivenBy::Request => {
                "The execution is a child of a Map Run: redrive the execution that has the Map"
            }
            _ if execution.target.machine.is_express() => "Express executions cannot be redriven",
            // The machine of a child is a part of its Map Run's.
            _ if execution.map_run.is_none() && machine.is_none_or(|machine| machine.is_deleting) => {
                "State machine is in DELETING status"
            }
            // Only a redrive of the execution redrives its Map Runs.
            _ if run.redrives.count >= limits::MAP_RUN_REDRIVES_MAX
                && self.map_run_redrives(execution) >= limits::MAP_RUN_REDRIVES_MAX =>
            {
                "A Map Run of the execution was redriven 1,000 times"
            }
            _ if execution.has_long_history() => "Execution history event limit exceeded",
            _ if now_ms >= execution.started_ms.saturating_add(open_ms_max) => {
                "Execution has exceeded the max execution time"
            }
            _ if now_ms >= outcome.stopped_ms.saturating_add(self.settings.redrivable_ms) => {
                "Execution redrivable period exceeded"
            }
            _ => match outcome.stopped() {
                Some(stopped) => return Ok((Arc::clone(outcome), Arc::clone(stopped))),
                // AWS always keeps it.
                None => "The state in which the execution ended was not kept",
            },
        };
        Err(reason.to_owned())
    }

    /// Redrives it; returns `redriveDate`, and a future that completes when that is durable.
    pub(super) fn redrive(
        &self,
        execution: &Arc<Execution>,
        token: Option<&str>,
        by: RedrivenBy,
    ) -> Result<(u64, Option<impl Future<Output = ()> + Send + use<>>), Error> {
        let now_ms = self.now_ms();
        let mut run = execution.run();
        if let Some(date_ms) = token.and_then(|token| run.redrives.of_token(token, now_ms)) {
            return Ok((date_ms, run.handle.as_ref().map(|handle| handle.recorded())));
        }
        let (outcome, stopped) = self.redrivable(execution, &run, by).map_err(|why| not_redrivable(&why))?;
        self.executions.admit()?;
        let machine = execution.target.revision.runnable()?;
        if !self.executions.take_closed(execution, &outcome) {
            // Its retention has just ended.
            return Err(Error::no_execution(&execution.arn));
        }
        let redrive = Redrive {
            name: &execution.name,
            arn: &execution.arn,
            trace_header: execution.trace_header.as_deref(),
            stopped: &stopped,
            recorded: execution.recorded,
        };
        let is_durable = execution.recorded.is_some();
        let bytes = Execution::bytes_of(&execution.arn, &execution.input);
        let recorder = Recorder::new(&execution.history, &self.executions.open_bytes, bytes, is_durable);
        let redriven = self.engine.redrive(machine, redrive, Some(Box::new(recorder)));
        let Redriven { handle, date_ms } = match redriven {
            Ok(redriven) => redriven,
            Err(why) => {
                let forgotten = self.executions.keep_closed(execution, &outcome);
                drop(run);
                self.executions.forget(forgotten);
                return Err(refused(why));
            }
        };
        let recorded = handle.recorded();
        run.redrives.add(token, date_ms);
        run.handle = Some(handle);
        run.outcome = None;
        self.executions.tell_status(execution, &mut run);
        drop(run);
        self.executions.opened();
        execution.look();
        Ok((date_ms, Some(recorded)))
    }
}

impl Execution {
    fn has_long_history(&self) -> bool {
        self.history.read(last_event) >= limits::HISTORY_EVENTS_MAX - 1
    }

    /// Whether it is a child of a Map Run, and ended without success.
    pub(super) fn is_unsuccessful_child(&self, run: &Run) -> bool {
        let is_unsuccessful = |outcome: &Arc<Outcome>| outcome.status != Status::Succeeded;
        self.map_run.is_some() && run.outcome.as_ref().is_some_and(is_unsuccessful)
    }

    /// Whether what a redrive needs of its end is known. Then only time forbids it.
    pub(super) fn keeps_its_end(&self, run: &Run) -> bool {
        let has_state = run.outcome.as_ref().is_some_and(|outcome| outcome.stopped().is_some());
        has_state && !self.has_long_history() && run.redrives.count < limits::MAP_RUN_REDRIVES_MAX
    }
}

fn refused(why: ResumeError) -> Error {
    match why {
        ResumeError::Start(why) => why.into(),
        why => not_redrivable(&why.to_string()),
    }
}

fn not_redrivable(why: &str) -> Error {
    Error::new(Exception::ExecutionNotRedrivable, format!("Execution Not Redrivable: '{why}'"))
}

/// The number of a history's last event.
fn last_event(history: &History) -> u64 {
    history.events().next_back().map_or(0, |event| event.id)
}
