//! Processing of the events of one batch.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::watch;
use tokio::time::sleep;

use super::batch_item_failures;
use super::dedup::Dedup;
use super::ends::{Cause, End};
use super::event::{Batch, Disposition, EventOutcome, Outputs, PipeError, Sink};
use super::failed::{self, FailedEvent, Failure, Lost};
use super::failure_report::Watched;
use super::order::Turn;
use super::settings::Settings;
use super::stats::Stats;
use super::trouble::Troubles;
use crate::engine;
use crate::json::{self, Arena};
use crate::runtime::{Engine, Limit, Machine, Outcome, StartError, StartOptions, Status};

/// What all batches share.
pub(super) struct Processor {
    pub(super) engine: Engine,
    pub(super) machine: Machine,
    pub(super) sink: Option<Arc<dyn Sink>>,
    pub(super) dead: Option<Arc<dyn Sink>>,
    pub(super) settings: Settings,
    /// Whether attempts are repeated here, rather than by giving events back.
    pub(super) in_place: bool,
    /// Whether an event that is given back is redelivered.
    pub(super) redelivers: bool,
    pub(super) dedup: Option<Mutex<Dedup>>,
    pub(super) troubles: Troubles,
    pub(super) failures: Option<failed::Listener>,
    pub(super) stats: Arc<Stats>,
    pub(super) stop: watch::Sender<bool>,
    /// The source's address.
    pub(super) source: String,
}

/// The results of some events of a batch.
struct BatchResult<'b> {
    /// In the order of the events.
    outputs: Outputs<'b>,
    succeeded: Vec<u32>,
    again: Vec<(u32, Disposition)>,
    dead: Vec<Lost>,
}

/// The result of running an event on this thread.
enum TriedNow {
    Succeeded,
    Failed(Failure),
    /// It cannot be run this way, or reports failures.
    NotHere,
}

/// The result of an event.
enum EventResult {
    Output(Outcome),
    /// It succeeded, and has no output of its own.
    Silent,
    Retry(Duration),
    Dead(Failure, u32),
}

/// The pipeline ends: events that are not settled stay with the source.
pub(super) struct Ending;

/// The most concurrent executions of a batch; more would only wait in the engine.
const SIDE_BY_SIDE: usize = 4_096;
/// After so many executions on this thread, it yields.
const IN_A_ROW: usize = 256;

impl<'b> BatchResult<'b> {
    fn new(batch: &'b Batch, events: usize) -> BatchResult<'b> {
        let succeeded = Vec::with_capacity(events);
        BatchResult { outputs: Outputs::new(batch), succeeded, again: Vec::new(), dead: Vec::new() }
    }

    /// Adds results of others, in the order of their events.
    fn add(&mut self, came: impl IntoIterator<Item = (u32, EventResult)>) {
        let mut outputs = Vec::new();
        for (event, came) in came {
            match came {
                EventResult::Output(outcome) => {
                    outputs.push((event, outcome));
                    self.succeeded.push(event);
                }
                EventResult::Silent => self.succeeded.push(event),
                EventResult::Retry(delay) => self.again.push((event, Disposition::Retry(delay))),
                EventResult::Dead(failure, attempts) => self.dead.push((event, failure, attempts)),
            }
        }
        self.outputs.merge(outputs.iter().map(|(event, outcome)| (*event, outcome.json())));
    }
}

impl Processor {
    /// Processes some events of a batch. With `first_of_all`, nothing may happen before it is their turn; else only
    /// publishing waits for it.
    pub(super) async fn process(
        &self,
        batch: &Batch,
        events: &[u32],
        turn: Turn,
        first_of_all: bool,
    ) -> Result<(), PipeError> {
        let Some(visibility_timeout) = batch.receipts.visibility_timeout() else {
            return self.process_slowly(batch, events, turn, first_of_all).await;
        };
        let dealing = self.process_slowly(batch, events, turn, first_of_all);
        tokio::pin!(dealing);
        loop {
            tokio::select! {
                batch_result = &mut dealing => return batch_result,
                () = sleep(visibility_timeout / 3) => {
                    // If it fails, the events may be delivered twice.
                    if let Err(why) = batch.receipts.extend(events).await {
                        let (n, s) = (events.len(), if events.len() == 1 { "" } else { "s" });
                        let why = format!("more time for {n} event{s} under way: {why}");
                        self.troubles.failed(End::Source, Cause::Away, || self.source.clone(), &why);
                    }
                }
            }
        }
    }

    async fn process_slowly(
        &self,
        batch: &Batch,
        events: &[u32],
        mut turn: Turn,
        first_of_all: bool,
    ) -> Result<(), PipeError> {
        if first_of_all {
            turn.wait().await;
        }
        let BatchResult { outputs, succeeded, again: mut dispositions, mut dead } =
            self.execute(batch, events, first_of_all).await;
        turn.wait().await;
        if let Err(ending) = self.publish(batch, outputs, &mut dead).await {
            return self.give_back(batch, events, ending).await;
        }
        let refused = |event: &u32| dead.iter().any(|(dead, ..)| dead == event);
        let published: Vec<u32> = if dead.is_empty() {
            succeeded
        } else {
            succeeded.into_iter().filter(|event| !refused(event)).collect()
        };
        self.stats.succeeded.fetch_add(published.len() as u64, Ordering::Relaxed);
        match self.write_dead_letters(batch, &mut dead).await {
            Ok(unwritten) => dispositions.extend(unwritten),
            Err(ending) => return self.give_back(batch, events, ending).await,
        }
        self.stats.dead.fetch_add(dead.len() as u64, Ordering::Relaxed);
        for (event, failure, attempts) in dead.iter().filter(|_| self.failures.is_some()) {
            let provenance = batch.provenance(*event as usize);
            let (error, cause) = (failure.error.clone(), failure.cause.clone());
            let failed = FailedEvent { provenance, error, cause, attempts: *attempts };
            self.failures.iter().for_each(|listener| listener(&failed));
        }
        if batch.receipts.answers() {
            for (event, failure, _) in &dead {
                let (error, cause) = (failure.error.as_deref(), failure.cause.as_deref());
                batch.receipts.hear(*event as usize, EventOutcome::Failed { error, cause });
            }
        }
        let done = published.into_iter().chain(dead.iter().map(|(event, ..)| *event));
        dispositions.extend(done.map(|event| (event, Disposition::Done)));
        dispositions.sort_unstable_by_key(|(event, _)| *event);
        self.settle(batch, &dispositions).await;
        Ok(())
    }

    // ---- executions ----

    async fn execute<'b>(&self, batch: &'b Batch, events: &[u32], one_by_one: bool) -> BatchResult<'b> {
        let mut batch_result = BatchResult::new(batch, events.len());
        if self.settings.as_array {
            batch_result.add(self.execute_array(batch, events).await);
            return batch_result;
        }
        let is_pure = self.machine.is_pure();
        let mut slow = Vec::new();
        for (n, &event) in events.iter().enumerate() {
            if n % IN_A_ROW == IN_A_ROW - 1 {
                tokio::task::yield_now().await;
            }
            let first = if is_pure && !self.settings.envelope {
                self.try_now(batch, event, &mut batch_result)
            } else {
                TriedNow::NotHere
            };
            match first {
                TriedNow::Succeeded => {}
                first if one_by_one => batch_result.add([(event, self.event(batch, event, first).await)]),
                first => slow.push((event, first)),
            }
        }
        let mut came = Vec::with_capacity(slow.len());
        let mut left = slow.into_iter();
        let mut running: FuturesUnordered<_> = FuturesUnordered::new();
        let begin =
            |(event, first): (u32, TriedNow)| async move { (event, self.event(batch, event, first).await) };
        running.extend(left.by_ref().take(SIDE_BY_SIDE).map(begin));
        while let Some(one) = running.next().await {
            came.push(one);
            running.extend(left.next().map(begin));
        }
        came.sort_unstable_by_key(|(event, _)| *event);
        batch_result.add(came);
        batch_result
    }

    /// Runs an event on this thread, from its body directly to the published text.
    fn try_now(&self, batch: &Batch, event: u32, batch_result: &mut BatchResult<'_>) -> TriedNow {
        let BatchResult { outputs, succeeded, .. } = batch_result;
        let (body, options) = (batch.body(event as usize), StartOptions::default());
        let ran = self.engine.run_now(&self.machine, body, &options, |ended| {
            let fault = match ended.outcome() {
                engine::Outcome::Succeeded(_) => None,
                engine::Outcome::Failed(fault) | engine::Outcome::Aborted(fault) => Some(fault.clone()),
                engine::Outcome::TimedOut => return TriedNow::Failed(Failure::timed_out()),
            };
            if let Some(fault) = fault {
                return TriedNow::Failed(Failure::of(fault));
            }
            let stays = outputs.write(event, |text| {
                let begin = text.len();
                ended.write_output(text);
                !batch_item_failures::may_be_in(&text[begin..])
            });
            if stays { TriedNow::Succeeded } else { TriedNow::NotHere }
        });
        let ran = ran.ok().flatten().unwrap_or(TriedNow::NotHere);
        if matches!(ran, TriedNow::Succeeded) {
            succeeded.push(event);
        }
        ran
    }

    /// Runs an event until it succeeds, or is not to be retried here any more. A first attempt that failed already
    /// counts, unless it was the last one: that is repeated, to be watched.
    async fn event(&self, batch: &Batch, event: u32, first: TriedNow) -> EventResult {
        let enveloped = self.settings.envelope.then(|| self.enveloped(batch, event));
        let input = enveloped.as_deref().unwrap_or_else(|| batch.body(event as usize));
        let (mut attempts, mut first) = (0, Some(first));
        loop {
            attempts += 1;
            let is_last = self.made(batch, event, attempts) >= self.settings.attempts.max;
            let failure = match first.take() {
                Some(TriedNow::Failed(failure)) if !(is_last && self.reports_failures()) => failure,
                _ => match self.run(input, is_last).await {
                    Err(Ending) => return EventResult::Retry(Duration::ZERO),
                    Ok(Ok(outcome)) => {
                        let id = || batch.provenance(event as usize).id;
                        match batch_item_failures::of(outcome.json(), |failed| *failed == *id()) {
                            None => return EventResult::Output(outcome),
                            Some(failed) if failed.is_empty() => return EventResult::Output(outcome),
                            Some(_) => Failure::new(
                                batch_item_failures::ERROR,
                                "The output names the event as failed.",
                            ),
                        }
                    }
                    Ok(Err(failure)) => failure,
                },
            };
            if let Some(came) = self.failed(batch, event, failure, attempts).await {
                return came;
            }
        }
    }

    /// Whether dead letters have reports of executions.
    fn reports_failures(&self) -> bool {
        self.dead.is_some() && self.settings.history_bytes.is_some()
    }

    /// How many attempts were made at an event, of which so many here.
    fn made(&self, batch: &Batch, event: u32, attempts: u32) -> u32 {
        if self.in_place { attempts } else { batch.receipts.deliveries(event as usize).max(1) }
    }

    /// The result of an event that failed; `None` when it is to be retried here and now.
    async fn failed(
        &self,
        batch: &Batch,
        event: u32,
        mut failure: Failure,
        attempts: u32,
    ) -> Option<EventResult> {
        // Only now: reading each body twice would cost too much.
        if !failure.is_final
            && let Err(error) = json::read(&mut Arena::new(), batch.body(event as usize))
        {
            failure = Failure::poison(format!("The event {}: {error}", error.verdict()));
        }
        let made = self.made(batch, event, attempts);
        if failure.is_final || made >= self.settings.attempts.max {
            return Some(EventResult::Dead(failure, made));
        }
        let delay = self.settings.attempts.delay_after(made);
        self.stats.again.fetch_add(1, Ordering::Relaxed);
        match self.in_place {
            true if self.pause(delay).await.is_err() => Some(EventResult::Retry(Duration::ZERO)),
            true => None,
            false => Some(EventResult::Retry(delay)),
        }
    }

    /// One execution for all events.
    async fn execute_array(&self, batch: &Batch, events: &[u32]) -> Vec<(u32, EventResult)> {
        let mut came = Vec::with_capacity(events.len());
        let mut left = Vec::with_capacity(events.len());
        let mut arena = Arena::new();
        for &event in events {
            arena.clear();
            match json::read(&mut arena, batch.body(event as usize)) {
                Ok(_) => left.push(event),
                Err(error) => {
                    let failure = Failure::poison(format!("The event {}: {error}", error.verdict()));
                    came.push((event, EventResult::Dead(failure, 1)));
                }
            }
        }
        let mut attempts = 0;
        while !left.is_empty() {
            attempts += 1;
            let is_last =
                left.iter().any(|&event| self.made(batch, event, attempts) >= self.settings.attempts.max);
            let failed = match self.run(&self.array(batch, &left), is_last).await {
                Err(Ending) => {
                    came.extend(left.iter().map(|&event| (event, EventResult::Retry(Duration::ZERO))));
                    break;
                }
                Ok(Err(failure)) => left.iter().map(|&event| (event, failure.clone())).collect(),
                Ok(Ok(outcome)) => self.array_succeeded(batch, &left, outcome, &mut came),
            };
            left.clear();
            for (event, failure) in failed {
                match self.failed(batch, event, failure, attempts).await {
                    Some(what) => came.push((event, what)),
                    None => left.push(event),
                }
            }
        }
        came.sort_by_key(|(event, _)| *event);
        came
    }

    /// The events that the output names as failed.
    fn array_succeeded(
        &self,
        batch: &Batch,
        events: &[u32],
        outcome: Outcome,
        came: &mut Vec<(u32, EventResult)>,
    ) -> Vec<(u32, Failure)> {
        let ids: Vec<String> = events.iter().map(|&event| batch.provenance(event as usize).id).collect();
        let failed = batch_item_failures::of(outcome.json(), |failed| ids.iter().any(|id| id == failed));
        let named = |id: &String| failed.as_ref().is_some_and(|failed| failed.names(id));
        let (mut failures, mut outcome) = (Vec::new(), Some(outcome));
        for (&event, id) in events.iter().zip(&ids) {
            if named(id) {
                let cause = "The output names the event as failed, or what it names is not an event.";
                failures.push((event, Failure::new(batch_item_failures::ERROR, cause)));
            } else {
                // The output belongs to the first event.
                came.push((event, outcome.take().map_or(EventResult::Silent, EventResult::Output)));
            }
        }
        failures
    }

    fn array(&self, batch: &Batch, events: &[u32]) -> Vec<u8> {
        let mut text = Vec::with_capacity(batch.bytes() + 2);
        text.push(b'[');
        for (n, &event) in events.iter().enumerate() {
            if n > 0 {
                text.push(b',');
            }
            if self.settings.envelope {
                text.extend_from_slice(&self.enveloped(batch, event))
            } else {
                text.extend_from_slice(batch.body(event as usize))
            }
        }
        text.push(b']');
        text
    }

    fn enveloped(&self, batch: &Batch, event: u32) -> Vec<u8> {
        let provenance = batch.provenance(event as usize);
        let envelope = serde_json::json!({
            "messageId": provenance.id,
            "eventSource": provenance.source,
            "key": provenance.key,
            "deliveries": provenance.deliveries,
        });
        let mut text = envelope.to_string().into_bytes();
        text.pop();
        text.extend_from_slice(b",\"body\":");
        text.extend_from_slice(batch.body(event as usize));
        text.push(b'}');
        text
    }

    /// One execution. If there is no room for it, it waits. Only the last attempt is watched, so that a dead letter has
    /// a report: earlier successes cost nothing more.
    async fn run(&self, input: &[u8], is_last: bool) -> Result<Result<Outcome, Failure>, Ending> {
        let history_bytes = self.settings.history_bytes.filter(|_| is_last && self.reports_failures());
        loop {
            let (ran, failure_report) = match history_bytes {
                None => (self.engine.run(&self.machine, input).await, None),
                Some(bytes) => match Watched::start(&self.engine, &self.machine, input, bytes) {
                    Ok(watched) => {
                        let (outcome, failure_report) = watched.end().await;
                        (Ok(outcome), failure_report)
                    }
                    Err(error) => (Err(error), None),
                },
            };
            match ran {
                Ok(outcome) if outcome.status == Status::Succeeded => return Ok(Ok(outcome)),
                Ok(outcome) => {
                    let failure = outcome.fault.map_or_else(Failure::timed_out, Failure::of);
                    return Ok(Err(Failure { failure_report: failure_report.map(Arc::new), ..failure }));
                }
                Err(StartError::Throttled(throttled)) if throttled.limit == Limit::Draining => {
                    return Err(Ending);
                }
                Err(StartError::Throttled(throttled)) => {
                    self.pause(throttled.retry_after.max(Duration::from_millis(1))).await?;
                }
                Err(error) => return Ok(Err(Failure::poison(error.to_string()))),
            }
        }
    }

    /// Waits, unless the pipeline is to end.
    pub(super) async fn pause(&self, delay: Duration) -> Result<(), Ending> {
        let mut stop = self.stop.subscribe();
        tokio::select! {
            () = sleep(delay) => Ok(()),
            _ = stop.wait_for(|stop| *stop) => Err(Ending),
        }
    }
}
