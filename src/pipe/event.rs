//! Events in batches, their sources, receipts and sinks.

use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::connection::Connection;

/// A future behind a pointer, so that sources and sinks can be chosen while the program runs. One is made for each
/// batch, not for each event.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Errors of sources and sinks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PipeError {
    /// It may work later: a broker is unreachable, a connection broke. Pipelines retry automatically.
    #[error("{0}")]
    Away(String),
    /// The stream, topic, queue or bucket does not exist. Someone may create it: pipelines wait for that, as for what is
    /// [`Away`](Self::Away).
    #[error("{0}")]
    Absent(String),
    /// It will not work later: from a source, it may not be read, and the pipeline ends, unless the source has worked
    /// before. From a sink, it never accepts these outputs, which become dead letters; what someone can put right, such as
    /// a missing permission, is [`Away`](Self::Away).
    #[error("{0}")]
    Refused(String),
    /// The sink is closed: the pipeline ends, and what was not settled stays with the source.
    #[error("{0}")]
    Closed(String),
}

impl PipeError {
    /// The same error, with other words.
    pub(super) fn said(self, say: impl FnOnce(String) -> String) -> PipeError {
        match self {
            PipeError::Away(why) => PipeError::Away(say(why)),
            PipeError::Absent(why) => PipeError::Absent(say(why)),
            PipeError::Refused(why) => PipeError::Refused(say(why)),
            PipeError::Closed(why) => PipeError::Closed(say(why)),
        }
    }
}

/// How much room a pipeline has.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Events; at least 1.
    pub events: usize,
    /// Bytes. A batch may have more when a single event does.
    pub bytes: usize,
    /// How long a source may wait for a batch to fill once it has an event.
    pub linger: Duration,
}

/// A source of events.
pub trait Source: Send {
    /// Waits for events. `None` means that there are no more. After an error, a batch without events says that the
    /// source works again.
    ///
    /// The future may be dropped at any time; events that it had taken and not handed over must be delivered again.
    ///
    /// # Errors
    /// [`PipeError::Away`] when a retry may help.
    fn receive(&mut self, room: Room) -> Later<'_, Result<Option<Batch>, PipeError>>;

    /// Closes the source: called once, after everything it handed out is settled or given up.
    fn close(&mut self) -> Later<'_, ()> {
        Box::pin(ready(()))
    }

    /// Whether an event that is given back is redelivered. If not, the pipeline itself retries.
    fn redelivers(&self) -> bool {
        true
    }

    /// Its name in error reports: a file, or a broker and its stream.
    fn address(&self) -> String {
        String::new()
    }

    /// Its connection, if that reports when it is lost and made again; `None` by default.
    fn connection(&self) -> Option<Connection> {
        None
    }

    /// Reads the number of waiting events, concurrently with [`receive`](Source::receive); `None` for sources that
    /// cannot know it. It is read every few seconds, and a broker that does not answer is reported.
    fn backlog(&self) -> Option<Arc<dyn Backlog>> {
        None
    }
}

/// The number of events that wait at a source, as its broker counts them.
pub trait Backlog: Send + Sync {
    /// Asks the broker; `None` if it does not know.
    ///
    /// # Errors
    /// When the broker does not answer.
    fn events(&self) -> Later<'_, Result<Option<u64>, PipeError>>;
}

/// The receipts of the events of one batch.
pub trait Receipts: Send + Sync {
    /// Where the n-th event came from.
    fn provenance(&self, n: usize) -> Provenance;

    /// How many times the source has delivered the n-th event, this time included; 1 if unknown. Asked for each event:
    /// it should not build a whole [`Provenance`], as the default does.
    fn deliveries(&self, n: usize) -> u32 {
        self.provenance(n).deliveries
    }

    /// An id of the n-th event for sinks that drop what is published twice: the same at each delivery of the event, and that
    /// of no other event. By default the source and the id of its provenance, for sources that use no id again.
    fn event_id(&self, n: usize) -> String {
        let Provenance { source, id, .. } = self.provenance(n);
        format!("{source}/{id}")
    }

    /// Settles some events, by their number in the batch.
    ///
    /// # Errors
    /// When the source does not accept it; those events are redelivered.
    fn settle<'a>(&'a self, dispositions: &'a [(u32, Disposition)]) -> Later<'a, Result<(), PipeError>>;

    /// Called with the outcome of the n-th event, after it is published and before the event is settled: for sources
    /// that [answer](Receipts::answers).
    fn hear(&self, n: usize, came: EventOutcome<'_>) {
        let _ = (n, came);
    }

    /// Whether a client waits for the outcomes of the events.
    fn answers(&self) -> bool {
        false
    }

    /// Extends the visibility timeout of events that are still being processed.
    ///
    /// # Errors
    /// When the source does not accept it.
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

/// The outcome of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventOutcome<'c> {
    /// It succeeded, with this output: JSON text.
    Output(&'c [u8]),
    /// It failed permanently.
    Failed {
        /// The error's name.
        error: Option<&'c str>,
        /// The cause.
        cause: Option<&'c str>,
    },
}

/// How an event is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// It is done.
    Done,
    /// It is to be redelivered after a while.
    Retry(Duration),
}

/// Where an event came from.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Provenance {
    /// The source: a file, a stream, a queue.
    pub source: String,
    /// The event's id in the source: a line's number, a sequence number, a message's id.
    pub id: String,
    /// The ordering key of the source, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// How many times the source has delivered it, this time included; 1 if unknown.
    pub deliveries: u32,
}

/// Events that came together: their bodies are concatenated in one buffer.
pub struct Batch {
    text: Vec<u8>,
    /// Where each body begins and ends.
    bodies: Vec<(u32, u32)>,
    /// One for each event, or empty.
    keys: Vec<Box<str>>,
    /// The index of the n-th event of this batch in the receipts; the same index unless a batch was split.
    pub(super) receipts: Box<dyn Receipts>,
}

impl Batch {
    /// No events yet. There must be a receipt for each one that is pushed.
    pub fn new(receipts: Box<dyn Receipts>) -> Batch {
        Batch { text: Vec::new(), bodies: Vec::new(), keys: Vec::new(), receipts }
    }

    /// Events in `text`, by where each begins and ends; spans outside of it count as empty.
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

    /// Bytes of the bodies and of what is between them.
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    /// The body of the n-th event.
    pub fn body(&self, n: usize) -> &[u8] {
        let (begin, end) = self.bodies.get(n).copied().unwrap_or_default();
        self.text.get(begin as usize..end as usize).unwrap_or_default()
    }

    /// The ordering key of the source.
    pub fn key(&self, n: usize) -> Option<&str> {
        self.keys.get(n).map(|key| &**key).filter(|key| !key.is_empty())
    }

    /// Where the n-th event came from.
    pub fn provenance(&self, n: usize) -> Provenance {
        let provenance = self.receipts.provenance(n);
        let key = provenance.key.or_else(|| self.key(n).map(str::to_owned));
        Provenance { key, ..provenance }
    }

    /// How many of its events the source had delivered before.
    pub(super) fn redeliveries(&self) -> usize {
        (0..self.len()).filter(|&n| self.receipts.deliveries(n) > 1).count()
    }

    /// The receipts of its events.
    pub fn receipts(&self) -> &dyn Receipts {
        &*self.receipts
    }
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch").field("events", &self.len()).field("bytes", &self.bytes()).finish()
    }
}

/// A sink of outputs.
pub trait Sink: Send + Sync {
    /// Publishes outputs. When the future resolves to `Ok`, they are as safe as the sink can make them.
    ///
    /// # Errors
    /// When some are not safe: all are published again, so that readers see some twice.
    fn publish<'a>(&'a self, outputs: &'a Outputs<'_>) -> Later<'a, Result<(), PipeError>>;

    /// Its name in error reports: a file, or a broker and its stream.
    fn address(&self) -> String {
        String::new()
    }

    /// Its connection, if that reports when it is lost and made again; `None` by default.
    fn connection(&self) -> Option<Connection> {
        None
    }

    /// Checks whether outputs could be published: every few seconds while none are.
    ///
    /// # Errors
    /// [`PipeError::Away`] when the broker does not answer, [`PipeError::Absent`] when it has no such stream; other errors
    /// count as an answer.
    fn check(&self) -> Later<'_, Result<(), PipeError>> {
        Box::pin(ready(Ok(())))
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

    /// Writes an output, unless `write` cancels it.
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

    /// Iterates over the outputs.
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

    /// The [id](Receipts::event_id) of that event: the same after a redelivery, so that a reader can recognize outputs that
    /// were published twice.
    pub fn event_id(&self) -> String {
        self.batch.receipts.event_id(self.event as usize)
    }

    /// The key of that event.
    pub fn key(&self) -> Option<&str> {
        self.batch.key(self.event as usize)
    }
}
