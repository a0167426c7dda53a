//! What happens to the events of one batch.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::watch;
use tokio::time::sleep;

use super::event::{Batch, Outputs, PipeError, Sink, Verdict};
use super::failures;
use super::flow::Stats;
use super::order::Turn;
use super::seen::Seen;
use super::settings::Settings;
use crate::fault;
use crate::json::{self, Arena};
use crate::runtime::{Engine, Limit, Machine, Outcome, StartError, Status};

/// What all batches have in common.
pub(super) struct Dealer {
    pub(super) engine: Engine,
    pub(super) machine: Machine,
    pub(super) sink: Option<Arc<dyn Sink>>,
    pub(super) dead: Option<Arc<dyn Sink>>,
    pub(super) settings: Settings,
    /// Attempts are made here, not by giving events back.
    pub(super) in_place: bool,
    pub(super) seen: Option<Mutex<Seen>>,
    pub(super) stats: Arc<Stats>,
    pub(super) stop: watch::Sender<bool>,
}

/// Why an event has no output.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) error: Option<String>,
    pub(super) cause: Option<String>,
    /// Trying again would be in vain.
    pub(super) is_final: bool,
}

impl Failure {
    pub(super) fn new(error: &str, cause: impl Into<String>) -> Failure {
        Failure { error: Some(error.to_owned()), cause: Some(cause.into()), is_final: false }
    }

    fn poison(cause: impl Into<String>) -> Failure {
        Failure { is_final: true, ..Failure::new(fault::RUNTIME, cause) }
    }
}

/// What became of an event.
enum Came {
    Output(Outcome),
    /// It succeeded, and has no output of its own.
    Silent,
    Again(Duration),
    Dead(Failure, u32),
}

/// The pipeline ends: what is not settled stays with the source.
pub(super) struct Ending;

/// So many executions of a batch are under way at most; more would only wait in the engine.
const SIDE_BY_SIDE: usize = 4_096;

impl Dealer {
    /// Deals with some events of a batch. `first_of_all` says that nothing may happen before it is their turn; else only
    /// publishing waits for it.
    pub(super) async fn deal(
        &self,
        batch: &Batch,
        events: &[u32],
        turn: Turn,
        first_of_all: bool,
    ) -> Result<(), PipeError> {
        let Some(patience) = batch.receipts.patience() else {
            return self.deal_at_leisure(batch, events, turn, first_of_all).await;
        };
        let dealing = self.deal_at_leisure(batch, events, turn, first_of_all);
        tokio::pin!(dealing);
        loop {
            tokio::select! {
                dealt = &mut dealing => return dealt,
                () = sleep(patience / 3) => {
                    // When it does not arrive, the events come twice.
                    if batch.receipts.extend(events).await.is_err() {
                        self.stats.away.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        }
    }

    async fn deal_at_leisure(
        &self,
        batch: &Batch,
        events: &[u32],
        mut turn: Turn,
        first_of_all: bool,
    ) -> Result<(), PipeError> {
        if first_of_all {
            turn.wait().await;
        }
        let came = self.execute(batch, events, first_of_all).await;
        turn.wait().await;
        let mut verdicts = Vec::with_capacity(came.len());
        let mut outputs = Outputs::new(batch);
        let mut dead = Vec::new();
        let mut published = Vec::new();
        for (event, came) in came {
            match came {
                Came::Output(outcome) => {
                    outputs.push(event, outcome.json());
                    published.push(event);
                }
                Came::Silent => published.push(event),
                Came::Again(delay) => verdicts.push((event, Verdict::Again(delay))),
                Came::Dead(failure, attempts) => dead.push((event, failure, attempts)),
            }
        }
        let published = match self.publish(batch, outputs, &mut dead).await {
            Ok(()) => published,
            Err(ending) => return self.give_back(batch, events, ending).await,
        };
        let refused = |event: &u32| dead.iter().any(|(dead, ..)| dead == event);
        let published: Vec<u32> = if dead.is_empty() {
            published
        } else {
            published.into_iter().filter(|event| !refused(event)).collect()
        };
        self.stats.succeeded.fetch_add(published.len() as u64, Ordering::Relaxed);
        if let Err(ending) = self.bury(batch, &dead).await {
            return self.give_back(batch, events, ending).await;
        }
        self.stats.dead.fetch_add(dead.len() as u64, Ordering::Relaxed);
        verdicts.extend(
            published
                .into_iter()
                .chain(dead.iter().map(|(event, ..)| *event))
                .map(|event| (event, Verdict::Done)),
        );
        verdicts.sort_unstable_by_key(|(event, _)| *event);
        self.settle(batch, &verdicts).await;
        Ok(())
    }

    // ---- executions ----

    async fn execute(&self, batch: &Batch, events: &[u32], one_by_one: bool) -> Vec<(u32, Came)> {
        if self.settings.as_array {
            return self.execute_array(batch, events).await;
        }
        let mut came = Vec::with_capacity(events.len());
        if one_by_one || self.machine.is_pure() {
            for &event in events {
                came.push((event, self.event(batch, event).await));
            }
            return came;
        }
        let mut left = events.iter();
        let mut running: FuturesUnordered<_> = FuturesUnordered::new();
        let begin = |&event: &u32| async move { (event, self.event(batch, event).await) };
        running.extend(left.by_ref().take(SIDE_BY_SIDE).map(begin));
        while let Some(one) = running.next().await {
            came.push(one);
            running.extend(left.next().map(begin));
        }
        came.sort_unstable_by_key(|(event, _)| *event);
        came
    }

    /// Runs an event until it succeeds, or is not to be tried here any more.
    async fn event(&self, batch: &Batch, event: u32) -> Came {
        let body = batch.body(event as usize);
        let mut attempts = 0;
        loop {
            attempts += 1;
            let failed = if self.settings.envelope {
                self.run(&self.enveloped(batch, event)).await
            } else {
                self.run(body).await
            };
            let failure = match failed {
                Err(Ending) => return Came::Again(Duration::ZERO),
                Ok(Ok(outcome)) => {
                    let id = || batch.provenance(event as usize).id;
                    match failures::of(outcome.json(), |failed| *failed == *id()) {
                        None => return Came::Output(outcome),
                        Some(failed) if failed.is_empty() => return Came::Output(outcome),
                        Some(_) => Failure::new(failures::ERROR, "The output names the event as failed."),
                    }
                }
                Ok(Err(failure)) => failure,
            };
            if let Some(came) = self.failed(batch, event, failure, attempts).await {
                return came;
            }
        }
    }

    /// What becomes of an event that failed; nothing when it is to be tried again here and now.
    async fn failed(&self, batch: &Batch, event: u32, mut failure: Failure, attempts: u32) -> Option<Came> {
        // Only now: reading each body twice would cost too much.
        if !failure.is_final
            && let Err(error) = json::read(&mut Arena::new(), batch.body(event as usize))
        {
            failure = Failure::poison(format!("The event is not JSON: {error}"));
        }
        let made = match self.in_place {
            true => attempts,
            false => batch.provenance(event as usize).deliveries.max(1),
        };
        if failure.is_final || made >= self.settings.attempts.max {
            return Some(Came::Dead(failure, made));
        }
        let delay = self.settings.attempts.delay_after(made);
        self.stats.again.fetch_add(1, Ordering::Relaxed);
        match self.in_place {
            true if self.pause(delay).await.is_err() => Some(Came::Again(Duration::ZERO)),
            true => None,
            false => Some(Came::Again(delay)),
        }
    }

    /// One execution for all events.
    async fn execute_array(&self, batch: &Batch, events: &[u32]) -> Vec<(u32, Came)> {
        let mut came = Vec::with_capacity(events.len());
        let mut left = Vec::with_capacity(events.len());
        let mut arena = Arena::new();
        for &event in events {
            arena.clear();
            match json::read(&mut arena, batch.body(event as usize)) {
                Ok(_) => left.push(event),
                Err(error) => {
                    let failure = Failure::poison(format!("The event is not JSON: {error}"));
                    came.push((event, Came::Dead(failure, 1)));
                }
            }
        }
        let mut attempts = 0;
        while !left.is_empty() {
            attempts += 1;
            let failed = match self.run(&self.array(batch, &left)).await {
                Err(Ending) => {
                    came.extend(left.iter().map(|&event| (event, Came::Again(Duration::ZERO))));
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
        came: &mut Vec<(u32, Came)>,
    ) -> Vec<(u32, Failure)> {
        let ids: Vec<String> = events.iter().map(|&event| batch.provenance(event as usize).id).collect();
        let failed = failures::of(outcome.json(), |failed| ids.iter().any(|id| id == failed));
        let named = |id: &String| failed.as_ref().is_some_and(|failed| failed.names(id));
        let (mut failures, mut outcome) = (Vec::new(), Some(outcome));
        for (&event, id) in events.iter().zip(&ids) {
            if named(id) {
                let cause = "The output names the event as failed, or what it names is not an event.";
                failures.push((event, Failure::new(failures::ERROR, cause)));
            } else {
                // The output is that of the first one.
                came.push((event, outcome.take().map_or(Came::Silent, Came::Output)));
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
            match self.settings.envelope {
                true => text.extend_from_slice(&self.enveloped(batch, event)),
                false => text.extend_from_slice(batch.body(event as usize)),
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

    /// One execution. Where there is no room for it, it waits for some.
    async fn run(&self, input: &[u8]) -> Result<Result<Outcome, Failure>, Ending> {
        loop {
            match self.engine.run(&self.machine, input).await {
                Ok(outcome) if outcome.status == Status::Succeeded => return Ok(Ok(outcome)),
                Ok(outcome) => {
                    let (error, cause) = match outcome.fault {
                        Some(fault) => (fault.error.map(|error| error.to_string()), fault.cause),
                        None => (Some(fault::TIMEOUT.to_owned()), None),
                    };
                    return Ok(Err(Failure { error, cause, is_final: false }));
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
