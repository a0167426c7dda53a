//! Publishing outputs, burying dead letters, and telling the source what became of its events.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use super::dead::DeadLetter;
use super::deal::{Dealer, Failure};
use super::event::{Batch, Outputs, PipeError, Sink, Verdict};
use super::flow::{AWAY_MAX, AWAY_MIN};
use crate::json::Arena;

/// An event that failed for good, why, and after how many attempts.
pub(super) type Lost = (u32, Failure, u32);

impl Dealer {
    /// Publishes until it is done. Outputs that the sink refuses join the dead.
    pub(super) async fn publish(
        &self,
        batch: &Batch,
        outputs: Outputs<'_>,
        dead: &mut Vec<Lost>,
    ) -> Result<(), PipeError> {
        let Some(sink) = &self.sink else { return Ok(()) };
        if outputs.is_empty() {
            return Ok(());
        }
        match self.push(&**sink, &outputs).await {
            Err(PipeError::Refused(why)) => {
                for (event, body) in outputs.each() {
                    let mut one = Outputs::new(batch);
                    one.push(event, body);
                    let published = match outputs.len() {
                        1 => Err(PipeError::Refused(why.clone())),
                        _ => self.push(&**sink, &one).await,
                    };
                    match published {
                        Ok(()) => {}
                        Err(PipeError::Refused(why)) => {
                            let cause = format!("The sink does not take the output: {why}");
                            dead.push((event, Failure::new("Pipe.OutputRefused", cause), 1));
                        }
                        Err(error) => return Err(error),
                    }
                }
                Ok(())
            }
            published => published,
        }
    }

    /// Publishes; tries again while the sink is away, until the pipeline is to end.
    async fn push(&self, sink: &dyn Sink, outputs: &Outputs<'_>) -> Result<(), PipeError> {
        let mut wait = AWAY_MIN;
        loop {
            match sink.publish(outputs).await {
                Ok(()) => {
                    self.stats.published.fetch_add(outputs.len() as u64, Ordering::Relaxed);
                    return Ok(());
                }
                Err(PipeError::Away(why)) => {
                    self.stats.away.fetch_add(1, Ordering::Relaxed);
                    if self.pause(wait).await.is_err() {
                        return Err(PipeError::Away(why));
                    }
                    wait = (wait * 2).min(AWAY_MAX);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes the dead letters.
    pub(super) async fn bury(&self, batch: &Batch, dead: &[Lost]) -> Result<(), PipeError> {
        let Some(sink) = &self.dead else { return Ok(()) };
        if dead.is_empty() {
            return Ok(());
        }
        let mut letters = Outputs::new(batch);
        for (event, failure, attempts) in dead {
            let letter = self.letter(batch, *event, failure, *attempts);
            let text = serde_json::to_vec(&letter).map_err(|error| PipeError::Closed(error.to_string()))?;
            letters.push(*event, &text);
        }
        let mut wait = AWAY_MIN;
        loop {
            // A dead letter that is refused is no reason to lose it: it is as if its place were away.
            match sink.publish(&letters).await {
                Ok(()) => return Ok(()),
                Err(PipeError::Closed(why)) => return Err(PipeError::Closed(why)),
                Err(PipeError::Away(why) | PipeError::Refused(why)) => {
                    self.stats.away.fetch_add(1, Ordering::Relaxed);
                    if self.pause(wait).await.is_err() {
                        return Err(PipeError::Away(why));
                    }
                    wait = (wait * 2).min(AWAY_MAX);
                }
            }
        }
    }

    fn letter(&self, batch: &Batch, event: u32, failure: &Failure, attempts: u32) -> DeadLetter {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut letter = DeadLetter {
            body: None,
            body_base64: None,
            provenance: batch.provenance(event as usize),
            state_machine_arn: self.machine.arn().to_owned(),
            execution_arn: None,
            error: failure.error.clone(),
            cause: failure.cause.clone(),
            state: None,
            history: Vec::new(),
            attempts,
            failed_at_ms: u64::try_from(now.as_millis()).unwrap_or(0),
        };
        letter.keep(batch.body(event as usize));
        letter
    }

    /// Nothing of these events is settled: they are given back, to come again at once, when someone else is there.
    pub(super) async fn give_back(
        &self,
        batch: &Batch,
        events: &[u32],
        why: PipeError,
    ) -> Result<(), PipeError> {
        if matches!(why, PipeError::Closed(_)) {
            // Before the events come again.
            self.stop.send_replace(true);
        }
        let verdicts: Vec<_> = events.iter().map(|&event| (event, Verdict::Again(Duration::ZERO))).collect();
        self.settle(batch, &verdicts).await;
        match why {
            PipeError::Closed(_) => Err(why),
            // It was said to end while something was away.
            _ => Ok(()),
        }
    }

    /// Tells the source what became of events. Where it does not listen, they come again.
    pub(super) async fn settle(&self, batch: &Batch, verdicts: &[(u32, Verdict)]) {
        if verdicts.is_empty() {
            return;
        }
        if let (Some(seen), Some((key, _))) = (&self.seen, &self.settings.unique) {
            let mut arena = Arena::new();
            for (event, _) in verdicts.iter().filter(|(_, verdict)| *verdict != Verdict::Done) {
                if let Some(key) = key.of(&mut arena, batch, *event as usize) {
                    seen.lock().unwrap_or_else(PoisonError::into_inner).forget(&key);
                }
            }
        }
        for wait in [AWAY_MIN, AWAY_MIN * 8] {
            match batch.receipts.settle(verdicts).await {
                Ok(()) => return,
                Err(_) if self.pause(wait).await.is_err() => break,
                Err(_) => {}
            }
        }
        if batch.receipts.settle(verdicts).await.is_err() {
            self.stats.unsettled.fetch_add(verdicts.len() as u64, Ordering::Relaxed);
        }
    }
}
