//! Watches the ends of a running pipeline while no events flow: whether they are connected, and, every few seconds,
//! whether they answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::error::Elapsed;
use tokio::time::{sleep, timeout};

use super::connection::Connection;
use super::ends::{Cause, End, Progress};
use super::event::{Backlog, PipeError, Sink, Source};
use super::process::Processor;

/// The time between two checks, and the time that one may take.
const CHECK_EVERY: Duration = Duration::from_secs(5);

/// One end, by its address.
struct Watched {
    processor: Arc<Processor>,
    end: End,
    address: String,
}

/// Watches until the tasks are dropped.
pub(super) fn begin(processor: &Arc<Processor>, source: &dyn Source) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let watched = |end, address| Watched { processor: Arc::clone(processor), end, address };
    if let Some(connection) = source.connection() {
        tasks.spawn(watched(End::Source, source.address()).listen(connection));
    }
    if let Some(backlog) = source.backlog() {
        tasks.spawn(watched(End::Source, source.address()).count(backlog));
    }
    for (end, sink) in [(End::Sink, &processor.sink), (End::DeadLetters, &processor.dead)] {
        let Some(sink) = sink else { continue };
        if let Some(connection) = sink.connection() {
            tasks.spawn(watched(end, sink.address()).listen(connection));
        }
        tasks.spawn(watched(end, sink.address()).check(Arc::clone(sink)));
    }
    tasks
}

impl Watched {
    /// Reports when the connection is lost and when it is there again.
    async fn listen(self, connection: Connection) {
        let mut changes = connection.watch();
        let begun = changes.borrow().clone();
        // What was over before the pipeline began was reported then.
        let mut losses = if begun.is_lost { 0 } else { begun.losses };
        loop {
            let state = changes.borrow_and_update().clone();
            if state.losses > losses {
                losses = state.losses;
                self.failed(&state.why);
            }
            if !state.is_lost {
                self.processor.troubles.is_there(self.end);
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Reads how many events wait at the source, which shows whether it answers.
    async fn count(self, backlog: Arc<dyn Backlog>) {
        loop {
            let before = self.processor.troubles.progress(self.end);
            let counted = timeout(CHECK_EVERY, backlog.events()).await;
            // While the broker does not answer, the number is unknown.
            let events = counted.as_ref().ok().and_then(|counted| counted.as_ref().ok().copied().flatten());
            let waiting = events.map_or(0, |events| events.saturating_add(1));
            self.processor.stats.waiting.store(waiting, Ordering::Relaxed);
            self.answered(before, counted.map(|counted| counted.map(drop)));
            sleep(CHECK_EVERY).await;
        }
    }

    /// Checks a sink, unless outputs are published, which says more.
    async fn check(self, sink: Arc<dyn Sink>) {
        let mut published = None;
        loop {
            let before = self.processor.troubles.progress(self.end);
            if !before.is_retried && published.is_none_or(|published| published == before.worked) {
                self.answered(before, timeout(CHECK_EVERY, sink.check()).await);
            }
            published = Some(before.worked);
            sleep(CHECK_EVERY).await;
        }
    }

    /// Takes the answer to a check that began at `before`.
    fn answered(&self, before: Progress, answer: Result<Result<(), PipeError>, Elapsed>) {
        let why = match answer {
            Ok(Err(PipeError::Away(why) | PipeError::Absent(why))) => why,
            // One that refuses, because counting is not permitted for instance, is there.
            Ok(_) => return self.processor.troubles.answered(self.end, before),
            Err(_) => format!("it did not answer within {} s", CHECK_EVERY.as_secs()),
        };
        // Operations that succeeded meanwhile, or are retried, say more.
        let now = self.processor.troubles.progress(self.end);
        if now.worked == before.worked && !now.is_retried {
            self.failed(&why);
        }
    }

    fn failed(&self, why: &str) {
        self.processor.troubles.failed(self.end, Cause::Away, || self.address.clone(), why);
    }
}
