//! What flows: events in batches, where they came from, and what is to become of them.

use std::future::{Future, ready};
use std::pin::Pin;
use std::time::Duration;

/// A future behind a pointer, so that sources and sinks can be chosen while the program runs. One is made for each
/// batch, not for each event.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What goes wrong between a pipeline and the world.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PipeError {
    /// It may work later: a broker is away, a connection broke. Pipelines try again by themselves.
    #[error("{0}")]
    Away(String),
    /// It never will: from a source, there is no such stream or we may not read it, and the pipeline ends, unless the
    /// source has worked before. From a sink, it does not take these outputs, which become dead letters.
    #[error("{0}")]
    Refused(String),
    /// The sink is closed: the pipeline ends, and what was not settled stays with the source.
    #[error("{0}")]
    Closed(String),
}

/// How much a pipeline has room for.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Events; at least 1.
    pub events: usize,
    /// Bytes. A batch may have more when a single event does.
    pub bytes: usize,
    /// How long a source may wait for a batch to fill once it has an event.
    pub linger: Duration,
}

/// Where events come from.
pub trait Source: Send {
    /// Waits for events. Nothing means that there will never be any more.
    ///
    /// The future may be dropped at any time; events that it had taken and not handed over must come again.
    ///
    /// # Errors
    /// [`PipeError::Away`] when it is worth another try.
    fn receive(&mut self, room: Room) -> Later<'_, Result<Option<Batch>, PipeError>>;

    /// Says goodbye: called once, after all that it handed out is settled or given up.
    fn close(&mut self) -> Later<'_, ()> {
        Box::pin(ready(()))
    }

    /// Whether an event that is given back comes again. Where it does not, the pipeline itself tries again.
    fn redelivers(&self) -> bool {
        true
    }

    /// Its name in error reports: a file, a stream, a queue.
    fn address(&self) -> String {
        String::new()
    }
}

/// Answers for the events of one batch.
pub trait Receipts: Send + Sync {
    /// Where the n-th event came from.
    fn provenance(&self, n: usize) -> Provenance;

    /// Says what became of some events, by their number in the batch.
    ///
    /// # Errors
    /// When the source does not take it; those events come again.
    fn settle<'a>(&'a self, dispositions: &'a [(u32, Disposition)]) -> Later<'a, Result<(), PipeError>>;

    /// Hears what came of the n-th event, after that is published and before the event is settled: for sources that
    /// [answer](Receipts::answers).
    fn hear(&self, n: usize, came: EventOutcome<'_>) {
        let _ = (n, came);
    }

    /// Whether a client waits for the outcomes of the events.
    fn answers(&self) -> bool {
        false
    }

    /// Says that some events are still worked at.
    ///
    /// # Errors
    /// When the source does not take it.
    fn extend<'a>(&'a self, events: &'a [u32]) -> Later<'a, Result<(), PipeError>> {
        let _ = events;
        Box::pin(ready(Ok(())))
    }

    /// How long an event may stay unacknowledged before the source gives it to another consumer; `None` by default:
    /// never.
    fn visibility_timeout(&self) -> Option<Duration> {
        None
    }
}

/// What came of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventOutcome<'c> {
    /// It succeeded, with this output: JSON text.
    Output(&'c [u8]),
    /// It failed for good.
    Failed {
        /// The error's name.
        error: Option<&'c str>,
        /// The cause.
        cause: Option<&'c str>,
    },
}

/// What is to become of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// It is dealt with for good.
    Done,
    /// It is to come again after a while.
    Retry(Duration),
}

/// Where an event came from.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Provenance {
    /// The source: a file, a stream, a queue.
    pub source: String,
    /// What the source calls the event: a line's number, a sequence number, a message's id.
    pub id: String,
    /// The key that the source keeps the order of, if it knows one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// How many times the source has handed it out, this time included; 1 where it does not say.
    pub deliveries: u32,
}

/// Events that came together: their bodies lie one behind the other in one buffer.
pub struct Batch {
    text: Vec<u8>,
    /// Where each body begins and ends.
    bodies: Vec<(u32, u32)>,
    /// One for each event, or none at all.
    keys: Vec<Box<str>>,
    /// Where the n-th event of this batch stands among the receipts; they are the same unless a batch was split.
    pub(super) receipts: Box<dyn Receipts>,
}

impl Batch {
    /// No events yet. There must be a receipt for each one that is pushed.
    pub fn new(receipts: Box<dyn Receipts>) -> Batch {
        Batch { text: Vec::new(), bodies: Vec::new(), keys: Vec::new(), receipts }
    }

    /// Events that lie in `text`, by where each begins and ends; spans that do not lie in it count as empty.
    pub fn of_spans(text: Vec<u8>, bodies: Vec<(u32, u32)>, receipts: Box<dyn Receipts>) -> Batch {
        Batch { text, bodies, keys: Vec::new(), receipts }
    }

    /// Adds an event. A batch holds less than 4 GiB: what does not fit is not added, and the result is `false`.
    pub fn push(&mut self, body: &[u8], key: Option<&str>) -> bool {
        let from = self.text.len();
        let (Ok(begin), Ok(end)) = (u32::try_from(from), u32::try_from(from + body.len())) else {
            return false;
        };
        self.text.extend_from_slice(body);
        if let Some(key) = key {
            self.keys.resize_with(self.bodies.len(), Box::default);
            self.keys.push(key.into());
        }
        self.bodies.push((begin, end));
        true
    }

    /// Events in it.
    pub fn len(&self) -> usize {
        self.bodies.len()
    }

    /// Whether it has no events.
    pub fn is_empty(&self) -> bool {
        self.bodies.is_empty()
    }

    /// Bytes of the bodies and what lies between them.
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    /// The body of the n-th event.
    pub fn body(&self, n: usize) -> &[u8] {
        let (begin, end) = self.bodies.get(n).copied().unwrap_or_default();
        self.text.get(begin as usize..end as usize).unwrap_or_default()
    }

    /// The key that the source keeps the order of.
    pub fn key(&self, n: usize) -> Option<&str> {
        self.keys.get(n).map(|key| &**key).filter(|key| !key.is_empty())
    }

    /// Where the n-th event came from.
    pub fn provenance(&self, n: usize) -> Provenance {
        let provenance = self.receipts.provenance(n);
        let key = provenance.key.or_else(|| self.key(n).map(str::to_owned));
        Provenance { key, ..provenance }
    }

    /// Who answers for its events.
    pub fn receipts(&self) -> &dyn Receipts {
        &*self.receipts
    }
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch").field("events", &self.len()).field("bytes", &self.bytes()).finish()
    }
}

/// Where outputs go.
pub trait Sink: Send + Sync {
    /// Publishes outputs. When the future resolves well, they are as safe as the sink can make them.
    ///
    /// # Errors
    /// When some are not safe: all are published again, so that what receives them sees some twice.
    fn publish<'a>(&'a self, outputs: &'a Outputs<'_>) -> Later<'a, Result<(), PipeError>>;

    /// Its name in error reports: a file, a stream, a queue.
    fn address(&self) -> String {
        String::new()
    }
}

/// Outputs of the events of one batch, in their order.
pub struct Outputs<'b> {
    batch: &'b Batch,
    /// Each followed by a line feed.
    text: Vec<u8>,
    /// Of which event, and where it ends (before the line feed).
    ends: Vec<(u32, usize)>,
}

impl<'b> Outputs<'b> {
    pub(super) fn new(batch: &'b Batch) -> Outputs<'b> {
        Outputs { batch, text: Vec::new(), ends: Vec::new() }
    }

    pub(super) fn push(&mut self, event: u32, output: &[u8]) {
        self.text.extend_from_slice(output);
        self.ends.push((event, self.text.len()));
        self.text.push(b'\n');
    }

    /// Writes an output, unless `write` takes it back.
    pub(super) fn write(&mut self, event: u32, write: impl FnOnce(&mut Vec<u8>) -> bool) -> bool {
        let begin = self.text.len();
        let stays = write(&mut self.text);
        if stays {
            self.ends.push((event, self.text.len()));
            self.text.push(b'\n');
        } else {
            self.text.truncate(begin)
        }
        stays
    }

    /// Adds outputs of other events; both are in the order of their events.
    pub(super) fn merge<'o>(&mut self, others: impl Iterator<Item = (u32, &'o [u8])>) {
        let mut others = others.peekable();
        let Some((first, _)) = others.peek() else { return };
        if self.ends.last().is_none_or(|(last, _)| last < first) {
            return others.for_each(|(event, body)| self.push(event, body));
        }
        let mut merged = Outputs::new(self.batch);
        for (event, body) in self.each() {
            while let Some((other, body)) = others.next_if(|(other, _)| *other < event) {
                merged.push(other, body);
            }
            merged.push(event, body);
        }
        others.for_each(|(event, body)| merged.push(event, body));
        *self = merged;
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether it has no lines.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// All of them as lines.
    pub fn lines(&self) -> &[u8] {
        &self.text
    }

    /// The number of each one's event, and its text.
    pub(super) fn each(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.iter().map(|output| (output.event, output.body))
    }

    /// One after the other.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Output<'_>> {
        self.ends.iter().enumerate().map(|(n, &(event, end))| {
            let begin =
                n.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |(_, end)| end + 1);
            Output { batch: self.batch, event, body: &self.text[begin..end] }
        })
    }
}

/// The output of one event.
#[derive(Clone, Copy)]
pub struct Output<'o> {
    batch: &'o Batch,
    event: u32,
    /// JSON text.
    pub body: &'o [u8],
}

impl Output<'_> {
    /// The event that it comes from.
    pub fn provenance(&self) -> Provenance {
        self.batch.provenance(self.event as usize)
    }

    /// What that event is called, `SOURCE/ID`: the same when it comes again, so that a reader knows outputs that were
    /// published twice.
    pub fn event_id(&self) -> String {
        let Provenance { source, id, .. } = self.provenance();
        format!("{source}/{id}")
    }

    /// The key of that event.
    pub fn key(&self) -> Option<&str> {
        self.batch.key(self.event as usize)
    }
}
