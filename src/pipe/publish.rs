//! Publishing outputs, writing dead letters, and settling events with the source.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use super::dead_letter::DeadLetter;
use super::ends::{Cause, End};
use super::event::{Batch, Disposition, EventOutcome, Outputs, PipeError, Sink};
use super::failed::{Failure, Lost};
use super::process::Processor;
use super::settings::{AWAY_MAX, AWAY_MIN};
use crate::json::Arena;

impl Processor {
    /// Publishes until it is done. Outputs that the sink refuses become dead letters.
    pub(super) async fn publish(
        &self,
        batch: &Batch,
        outputs: Outputs<'_>,
        dead: &mut Vec<Lost>,
    ) -> Result<(), PipeError> {
        let before = dead.len();
        if let Some(sink) = &self.sink
            && !outputs.is_empty()
            && let Err(why) = self.push(&**sink, &outputs).await
        {
            match why {
                PipeError::Refused(why) => self.publish_each(&**sink, batch, &outputs, why, dead).await?,
                error => return Err(error),
            }
        }
        if batch.receipts.answers() {
            let refused = &dead[before..];
            for (event, body) in
                outputs.each().filter(|(event, _)| refused.iter().all(|(it, ..)| it != event))
            {
                batch.receipts.hear(event as usize, EventOutcome::Output(body));
            }
        }
        Ok(())
    }

    /// Publishes one by one what is refused as a whole.
    async fn publish_each(
        &self,
        sink: &dyn Sink,
        batch: &Batch,
        outputs: &Outputs<'_>,
        why: String,
        dead: &mut Vec<Lost>,
    ) -> Result<(), PipeError> {
        for (event, body) in outputs.each() {
            let mut one = Outputs::new(batch);
            one.push(event, body);
            let published = match outputs.len() {
                1 => Err(PipeError::Refused(why.clone())),
                _ => self.push(sink, &one).await,
            };
            match published {
                Ok(()) => {}
                Err(PipeError::Refused(why)) => {
                    let cause = format!("The sink refused the output: {why}");
                    dead.push((event, Failure::new("Pipe.OutputRefused", cause), 1));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Publishes; retries while the sink is unreachable, until the pipeline is to end.
    async fn push(&self, sink: &dyn Sink, outputs: &Outputs<'_>) -> Result<(), PipeError> {
        let mut wait = AWAY_MIN;
        loop {
            match sink.publish(outputs).await {
                Ok(()) => {
                    self.troubles.worked(End::Sink);
                    self.stats.published.fetch_add(outputs.len() as u64, Ordering::Relaxed);
                    return Ok(());
                }
                Err(PipeError::Away(why) | PipeError::Absent(why)) => {
                    self.troubles.failed(End::Sink, Cause::Operation, || sink.address(), &why);
                    if self.pause(wait).await.is_err() {
                        return Err(PipeError::Away(why));
                    }
                    wait = (wait * 2).min(AWAY_MAX);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes the dead letters. If a letter is refused even at its smallest, its event is not dead: it stays with its
    /// source, which redelivers it later.
    pub(super) async fn write_dead_letters(
        &self,
        batch: &Batch,
        dead: &mut Vec<Lost>,
    ) -> Result<Vec<(u32, Disposition)>, PipeError> {
        let Some(sink) = &self.dead else { return Ok(Vec::new()) };
        if dead.is_empty() {
            return Ok(Vec::new());
        }
        let letters = self.letters(batch, dead, true)?;
        let Err(refused) = self.write_letters(&**sink, &letters).await? else { return Ok(Vec::new()) };
        let mut unwritten = Vec::new();
        for one in std::mem::take(dead) {
            let mut written = Err(refused.clone());
            for with_history in [true, false] {
                if written.is_err() {
                    let letter = self.letters(batch, std::slice::from_ref(&one), with_history)?;
                    written = self.write_letters(&**sink, &letter).await?;
                }
            }
            match written {
                Ok(()) => dead.push(one),
                Err(why) if !self.redelivers => {
                    let id = batch.provenance(one.0 as usize).id;
                    return Err(PipeError::Closed(format!(
                        "the dead letter of event {id} is refused: {why}"
                    )));
                }
                Err(why) => {
                    self.troubles.failed(End::DeadLetters, Cause::Operation, || sink.address(), &why);
                    unwritten.push((one.0, Disposition::Retry(self.settings.attempts.delay_max)));
                }
            }
        }
        self.stats.again.fetch_add(unwritten.len() as u64, Ordering::Relaxed);
        Ok(unwritten)
    }

    /// Writes letters, as soon as their sink is reachable; or it refuses them.
    async fn write_letters(
        &self,
        sink: &dyn Sink,
        letters: &Outputs<'_>,
    ) -> Result<Result<(), String>, PipeError> {
        let mut wait = AWAY_MIN;
        loop {
            match sink.publish(letters).await {
                Ok(()) => {
                    self.troubles.worked(End::DeadLetters);
                    return Ok(Ok(()));
                }
                Err(PipeError::Refused(why)) => return Ok(Err(why)),
                Err(PipeError::Closed(why)) => return Err(PipeError::Closed(why)),
                Err(PipeError::Away(why) | PipeError::Absent(why)) => {
                    self.troubles.failed(End::DeadLetters, Cause::Operation, || sink.address(), &why);
                    if self.pause(wait).await.is_err() {
                        return Err(PipeError::Away(why));
                    }
                    wait = (wait * 2).min(AWAY_MAX);
                }
            }
        }
    }

    fn letters<'b>(
        &self,
        batch: &'b Batch,
        dead: &[Lost],
        with_history: bool,
    ) -> Result<Outputs<'b>, PipeError> {
        let mut letters = Outputs::new(batch);
        for (event, failure, attempts) in dead {
            let mut letter = self.letter(batch, *event, failure, *attempts);
            if !with_history {
                letter.history.clear();
            }
            let text = serde_json::to_vec(&letter).map_err(|error| PipeError::Closed(error.to_string()))?;
            letters.push(*event, &text);
        }
        Ok(letters)
    }

    fn letter(&self, batch: &Batch, event: u32, failure: &Failure, attempts: u32) -> DeadLetter {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let failure_report = failure.failure_report.as_deref();
        let mut letter = DeadLetter {
            body: None,
            body_base64: None,
            provenance: batch.provenance(event as usize),
            state_machine_arn: self.machine.arn().to_owned(),
            execution_arn: failure_report.map(|failure_report| failure_report.execution_arn.clone()),
            error: failure.error.clone(),
            cause: failure.cause.clone(),
            state: failure_report.and_then(|failure_report| failure_report.state.clone()),
            history: failure_report.map(|failure_report| failure_report.history.clone()).unwrap_or_default(),
            attempts,
            failed_at_ms: u64::try_from(now.as_millis()).unwrap_or(0),
        };
        letter.keep(batch.body(event as usize));
        letter
    }

    /// Nothing of these events is settled: they are given back for immediate redelivery, to another consumer if there
    /// is one.
    pub(super) async fn give_back(
        &self,
        batch: &Batch,
        events: &[u32],
        why: PipeError,
    ) -> Result<(), PipeError> {
        if matches!(why, PipeError::Closed(_)) {
            // Before the events are redelivered.
            self.stop.send_replace(true);
        }
        let dispositions: Vec<_> =
            events.iter().map(|&event| (event, Disposition::Retry(Duration::ZERO))).collect();
        self.settle(batch, &dispositions).await;
        match why {
            PipeError::Closed(_) => Err(why),
            // It was stopped while a sink was unreachable: the source keeps the events, or else they would be lost
            // silently.
            _ if self.redelivers => Ok(()),
            why => Err(PipeError::Closed(format!(
                "{} not published, and the source redelivers nothing: {why}",
                match events.len() {
                    1 => "the output of an event is".to_owned(),
                    n => format!("the outputs of {n} events are"),
                }
            ))),
        }
    }

    /// Settles events with the source. If the source does not accept it, they are redelivered.
    pub(super) async fn settle(&self, batch: &Batch, dispositions: &[(u32, Disposition)]) {
        if dispositions.is_empty() {
            return;
        }
        if let (Some(dedup), Some((key, _))) = (&self.dedup, &self.settings.unique) {
            let mut arena = Arena::new();
            for (event, _) in dispositions.iter().filter(|(_, disposition)| *disposition != Disposition::Done)
            {
                if let Some(key) = key.of(&mut arena, batch, *event as usize) {
                    dedup.lock().unwrap_or_else(PoisonError::into_inner).forget(&key);
                }
            }
        }
        for wait in [AWAY_MIN, AWAY_MIN * 8] {
            match batch.receipts.settle(dispositions).await {
                Ok(()) => return,
                Err(_) if self.pause(wait).await.is_err() => break,
                Err(_) => {}
            }
        }
        if let Err(why) = batch.receipts.settle(dispositions).await {
            let count = dispositions.len();
            let why = format!("the acknowledgement of {count} events, which will come again: {why}");
            self.troubles.failed(End::Source, Cause::Away, || self.source.clone(), &why);
            self.stats.unsettled.fetch_add(dispositions.len() as u64, Ordering::Relaxed);
        }
    }
}
