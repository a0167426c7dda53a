//! Executions of one machine or all, read for lists and sums.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::executions::{Execution, Executions};
use super::{Error, Service};
use crate::observe::history::Detail;
use crate::observe::{Event, Heat, History};
use crate::runtime::{MachineCounts, Outcome};

/// Executions that are read at once: starts of the machine wait as long.
const AT_ONCE: usize = 1_024;

/// Whether this names a Map Run, whose executions are listed by it.
fn is_map_run(arn: &str) -> bool {
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

/// An execution that is being searched.
#[derive(Clone, Copy)]
pub(crate) struct Candidate<'e>(&'e Execution);

impl<'e> Candidate<'e> {
    pub(crate) fn name(self) -> &'e str {
        &self.0.name
    }

    /// Its outcome; `None` while it runs. Reading it takes longer than its name.
    pub(crate) fn outcome(self) -> Option<Arc<Outcome>> {
        self.0.outcome()
    }
}

/// The part of a search's result that is returned.
pub(crate) struct Window {
    /// Whether the order is that of the starts in time, as nodes have in common; that of the numbers otherwise.
    pub(crate) is_by_time: bool,
    /// The place of the newest execution of the list: its number, or the time of its start.
    pub(crate) up_to: u64,
    pub(crate) from: usize,
    pub(crate) count: usize,
}

impl Window {
    pub(crate) fn newest(count: usize) -> Window {
        Window { is_by_time: false, up_to: u64::MAX, from: 0, count }
    }
}

/// The result of a search.
pub(crate) struct Found {
    /// Those of the window.
    pub(crate) executions: Vec<Surveyed>,
    /// Executions of the list that fit.
    pub(crate) matching: usize,
    /// Those that fit and are newer than the list.
    pub(crate) newer: usize,
    /// The place of the newest execution, which may not fit.
    pub(crate) newest: u64,
    pub(crate) searched: usize,
    /// Whether there are more than were searched.
    pub(crate) is_cut: bool,
}

/// An execution that was searched.
struct Seen {
    /// Its place in the order.
    place: u64,
    number: u64,
    /// Which list it is in.
    list: u32,
    fits: bool,
}

impl Executions {
    /// Visits the newest `most` of a list, those of them that are in memory, with their numbers. Returns whether there
    /// may be more.
    fn newest(&self, list: &str, most: usize, mut see: impl FnMut(u64, &Execution)) -> bool {
        let (mut below, mut left) = (u64::MAX, most);
        while left > 0 {
            // In pieces, so that starts of the list's executions do not wait for long.
            let Some(executions) = self.by_machine.get(list) else { break };
            let before = left;
            for (number, execution) in executions.range(..below).rev().take(AT_ONCE.min(left)) {
                below = *number;
                left -= 1;
                see(below, execution);
            }
            if left == before {
                break;
            }
        }
        left == 0
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
    /// Searches the executions of a machine or of a Map Run, or all: the newest `most` by their start.
    ///
    /// Most of what is searched is not returned. Of 100,000 executions, reading each takes most of the time, so `fits`
    /// decides what of them is read, and what is not returned is not copied.
    ///
    /// # Errors
    /// `StateMachineDoesNotExist`, `ResourceNotFound`
    pub(crate) fn search(
        &self,
        list: Option<&str>,
        most: usize,
        window: &Window,
        mut fits: impl FnMut(Candidate<'_>) -> bool,
    ) -> Result<Found, Error> {
        let inner = &*self.inner;
        inner.executions.expire(inner.now_ms());
        let lists: Vec<Box<str>> = match list {
            Some(arn) if is_map_run(arn) => vec![inner.map_run(arn)?.arn().into()],
            Some(arn) => vec![inner.target(arn)?.machine.arn.clone()],
            None => inner.listed_machines(),
        };
        let seen_as = |execution: &Execution, number: u64, list: u32, fits: bool| {
            let place = if window.is_by_time { execution.started_ms } else { number };
            Seen { place, number, list, fits }
        };
        let (mut seen, mut cold, mut is_cut) = (Vec::new(), HashMap::new(), false);
        for (list, arn) in (0..).zip(&lists) {
            let before = seen.len();
            is_cut |= inner.executions.newest(arn, most, |number, execution| {
                seen.push(seen_as(execution, number, list, fits(Candidate(execution))));
            });
            let known = seen[before..].iter().map(|seen| seen.number);
            let (views, is_more) = inner.survey_cold(arn, known, most)?;
            is_cut |= is_more;
            for execution in views {
                seen.push(seen_as(&execution, execution.number, list, fits(Candidate(&execution))));
                cold.insert((list, execution.number), execution);
            }
        }
        if lists.len() > 1 || !cold.is_empty() {
            seen.sort_unstable_by_key(|seen| std::cmp::Reverse(seen.number));
            is_cut |= seen.len() > most;
            seen.truncate(most);
        }
        if window.is_by_time {
            seen.sort_unstable_by_key(|seen| std::cmp::Reverse((seen.place, seen.number)));
        }
        let (searched, newest) = (seen.len(), seen.first().map_or(0, |seen| seen.place));
        seen.retain(|seen| seen.fits);
        let newer = seen.partition_point(|seen| seen.place > window.up_to);
        let listed = &seen[newer..];
        let execution = |seen: &Seen| {
            let in_memory =
                || inner.executions.by_machine.get(&lists[seen.list as usize])?.get(&seen.number).cloned();
            cold.get(&(seen.list, seen.number)).cloned().or_else(in_memory)
        };
        // What has left memory since it was seen is left out: the next search finds its row.
        let executions = listed.iter().skip(window.from).take(window.count).filter_map(execution);
        let executions = executions.map(|execution| Surveyed { outcome: execution.outcome(), execution });
        Ok(Found {
            executions: executions.collect(),
            matching: listed.len(),
            newer,
            newest,
            searched,
            is_cut,
        })
    }

    /// Refuses a list that `ListExecutions` refuses.
    ///
    /// # Errors
    /// Those of [`list_executions`](Service::list_executions).
    pub(crate) fn check_listed(&self, arn: &str) -> Result<(), Error> {
        if is_map_run(arn) {
            self.inner.map_run(arn).map(drop)
        } else {
            self.inner.listed_machine(arn).map(drop)
        }
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
}
