//! Redrive: sends the events of dead letters again.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::dead_letter::DeadLetter;
use super::event::{Batch, Disposition, Outputs, PipeError, Room, Sink, Source};
use super::settings::{AWAY_MAX, AWAY_MIN, CLOSE_MAX};

/// How long to wait for the first letter if the source cannot say that it is empty: a consumer that joins a group of Kafka
/// gets no messages for some seconds.
const FIRST_MAX: Duration = Duration::from_secs(15);

/// Takes dead letters from a source and publishes the original bytes of their events to a sink. A letter is settled
/// after its event is published.
#[must_use = "nothing is sent until `run` is called"]
pub struct Redrive {
    source: Box<dyn Source>,
    sink: Arc<dyn Sink>,
    idle: Duration,
    max: u64,
    before_ms: u64,
}

/// What was sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Redriven {
    /// Events that were sent.
    pub sent: u64,
    /// Dead letters that are malformed, or whose event the sink does not accept; they stay where they are.
    pub left: u64,
}

impl Redrive {
    /// Sends all of them, until no more come for 3 s.
    pub fn new(source: Box<dyn Source>, sink: Arc<dyn Sink>) -> Redrive {
        Redrive { source, sink, idle: Duration::from_secs(3), max: u64::MAX, before_ms: u64::MAX }
    }

    /// How long it waits for another letter before it ends.
    pub fn idle(mut self, idle: Duration) -> Redrive {
        self.idle = idle;
        self
    }

    /// Sends at most so many.
    pub fn at_most(mut self, max: u64) -> Redrive {
        self.max = max;
        self
    }

    /// Sends only those that failed before this time, in milliseconds since 1970, and ends when none of them comes any
    /// more. While the pipeline runs, what fails again comes back as another dead letter, and would be sent again for ever.
    pub fn failed_before(mut self, before_ms: u64) -> Redrive {
        self.before_ms = before_ms;
        self
    }

    /// Sends them.
    ///
    /// # Errors
    /// When the source refuses or does not exist, or the sink is unreachable for long: what was not sent stays where it is.
    pub async fn run(mut self) -> Result<Redriven, PipeError> {
        let mut redriven = Redriven::default();
        let mut wait = AWAY_MIN;
        let mut first_within = FIRST_MAX;
        while redriven.sent < self.max {
            let left = usize::try_from(self.max - redriven.sent).unwrap_or(usize::MAX);
            let room = Room { events: left.min(512), bytes: 16 << 20, linger: Duration::ZERO };
            match timeout(self.idle, self.source.receive(room)).await {
                Ok(Ok(None)) => break,
                Err(_) if first_within.is_zero() || self.is_empty().await => break,
                Err(_) => first_within = first_within.saturating_sub(self.idle.max(AWAY_MIN)),
                Ok(Ok(Some(batch))) => {
                    (wait, first_within) = (AWAY_MIN, Duration::ZERO);
                    let is_newer = self.send(&batch, &mut redriven).await?;
                    if is_newer {
                        break;
                    }
                }
                Ok(Err(PipeError::Away(why))) if wait >= AWAY_MAX => return Err(PipeError::Away(why)),
                Ok(Err(PipeError::Away(_))) => {
                    sleep(wait).await;
                    wait = (wait * 2).min(AWAY_MAX);
                }
                Ok(Err(error)) => return Err(error),
            }
        }
        // Closing is best effort; the source may be gone.
        let _ = timeout(CLOSE_MAX, self.source.close()).await;
        Ok(redriven)
    }

    /// Whether the source knows that no letter waits, or cannot know it.
    async fn is_empty(&mut self) -> bool {
        let Some(backlog) = self.source.backlog() else { return true };
        matches!(timeout(FIRST_MAX, backlog.events()).await, Ok(Ok(Some(0))))
    }

    /// One at a time: so each is settled as soon as it is safe, and at most one is ever sent twice. Returns whether all
    /// of them failed too late.
    async fn send(&mut self, batch: &Batch, redriven: &mut Redriven) -> Result<bool, PipeError> {
        let events = batch.len() as u32;
        let mut newer = Vec::new();
        for event in 0..events {
            // A source may hand over more than there is room for: these are for another time.
            if redriven.sent == self.max {
                let rest: Vec<_> =
                    (event..events).map(|it| (it, Disposition::Retry(Duration::ZERO))).collect();
                batch.receipts.settle(&rest).await?;
                break;
            }
            let letter = serde_json::from_slice::<DeadLetter>(batch.body(event as usize)).ok();
            if letter.as_ref().is_some_and(|letter| letter.failed_at_ms >= self.before_ms) {
                newer.push((event, Disposition::Retry(Duration::ZERO)));
                continue;
            }
            let Some(original) = letter.and_then(|letter| letter.original().ok()) else {
                redriven.left += 1;
                continue;
            };
            let mut one = Outputs::new(batch);
            one.push(event, &original);
            match self.sink.publish(&one).await {
                Ok(()) => {
                    redriven.sent += 1;
                    batch.receipts.settle(&[(event, Disposition::Done)]).await?;
                }
                Err(PipeError::Refused(_)) => redriven.left += 1,
                Err(error) => return Err(error),
            }
        }
        let is_newer = newer.len() == batch.len();
        if !newer.is_empty() {
            batch.receipts.settle(&newer).await?;
        }
        Ok(is_newer)
    }
}
