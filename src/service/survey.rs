//! Executions of one machine or all, read for lists and sums.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::executions::Execution;
use super::{Error, Service};
use crate::observe::history::Detail;
use crate::observe::{Event, Heat, History};
use crate::runtime::{MachineCounts, Outcome, Status};

/// Executions that are read at once: starts of the machine wait as long.
const AT_ONCE: usize = 4_096;

/// Whether this names a Map Run, whose executions are listed by it.
pub(crate) fn is_map_run(arn: &str) -> bool {
    arn.split(':').nth(5) == Some("mapRun")
}

/// An execution in a survey.
pub(crate) struct Surveyed {
    execution: Arc<Execution>,
    /// Its outcome; `None` while it runs.
    pub(crate) outcome: Option<Arc<Outcome>>,
}

impl Surveyed {
    pub(crate) fn arn(&self) -> &str {
        &self.execution.arn
    }

    pub(crate) fn name(&self) -> &str {
        &self.execution.name
    }

    pub(crate) fn machine_arn(&self) -> &str {
        &self.execution.target.machine.arn
    }

    pub(crate) fn started_ms(&self) -> u64 {
        self.execution.started_ms
    }

    /// Its number among all executions: a later one has a higher one.
    pub(crate) fn number(&self) -> u64 {
        self.execution.number
    }

    /// The name of its error, if it failed with one.
    pub(crate) fn error(&self) -> Option<&str> {
        self.outcome.as_ref()?.fault.as_ref()?.error.as_deref()
    }

    pub(crate) fn cause(&self) -> Option<&str> {
        self.outcome.as_ref()?.fault.as_ref()?.cause.as_deref()
    }

    /// The state in which it failed, if its history still has it.
    pub(crate) fn failed_in(&self) -> Option<String> {
        self.execution.history.read(failed_in)
    }
}

fn failed_in(history: &History) -> Option<String> {
    let first = history.events().next()?.id;
    let mut event: &Event = history.events().next_back()?;
    loop {
        if event.event_type.name().ends_with("StateEntered") {
            return event.detail("name").and_then(Detail::as_str).map(str::to_owned);
        }
        // Numbers have no gaps, and earlier events have lower ones.
        let before = usize::try_from(event.previous.checked_sub(first)?).ok()?;
        event = history.events().nth(before).filter(|before| before.id < event.id)?;
    }
}

impl Service {
    /// Executions of a machine, or of all, the newest first by their start; up to `most`, and whether there are more.
    ///
    /// # Errors
    /// `StateMachineDoesNotExist`
    pub(crate) fn survey(&self, machine: Option<&str>, most: usize) -> Result<(Vec<Surveyed>, bool), Error> {
        let executions = &self.inner.executions;
        let machines: Vec<Box<str>> = match machine {
            Some(arn) if is_map_run(arn) => vec![self.inner.map_run(arn)?.arn().into()],
            Some(arn) => vec![self.inner.target(arn)?.machine.arn.clone()],
            None => self.inner.listed_machines(),
        };
        let mut found: Vec<Arc<Execution>> = Vec::new();
        let mut is_cut = false;
        for machine in &machines {
            let mut below = u64::MAX;
            let mut of_machine = 0;
            loop {
                let before = found.len();
                // In pieces, so that starts of the machine's executions do not wait for long.
                if let Some(executions) = executions.by_machine.get(machine) {
                    let part = executions.range(..below).rev().take(AT_ONCE.min(most - of_machine));
                    found.extend(part.map(|(_, execution)| Arc::clone(execution)));
                }
                of_machine += found.len() - before;
                match found.last().filter(|_| found.len() > before) {
                    Some(last) => below = last.number,
                    None => break,
                }
                if of_machine == most {
                    is_cut = true;
                    break;
                }
            }
        }
        for machine in &machines {
            is_cut |= self.inner.survey_cold(machine, &mut found)?;
        }
        if machines.len() > 1 || found.len() > most {
            found.sort_unstable_by_key(|execution| std::cmp::Reverse(execution.number));
            is_cut |= found.len() > most;
            found.truncate(most);
        }
        let surveyed = found.into_iter().map(|execution| {
            let outcome = execution.outcome();
            Surveyed { execution, outcome }
        });
        Ok((surveyed.collect(), is_cut))
    }

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

    /// Whether executions of this type are kept for lists.
    pub(crate) fn keeps_express(&self) -> bool {
        self.inner.settings.express_history
    }

    /// The counters of each machine.
    pub(crate) fn machine_counts(&self) -> BTreeMap<String, MachineCounts> {
        self.inner.engine.observed().machines()
    }

    /// The sample of a machine's executions. Arms the sampling.
    pub(crate) fn heat(&self, machine_arn: &str) -> Option<Heat> {
        self.inner.engine.observed().heat(machine_arn, self.inner.now_ms())
    }

    /// Whether a task waits for this token.
    pub(crate) fn knows_token(&self, token: &str) -> bool {
        self.inner.engine.knows_token(token)
    }

    /// The service's time, in milliseconds since 1970.
    pub fn time_ms(&self) -> u64 {
        self.inner.now_ms()
    }
}
