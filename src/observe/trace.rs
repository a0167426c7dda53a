//! Traces: an execution as a tree of spans, execution → state → attempt, made from its history after the end.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::history::Detail;
use super::{Ending, Event, EventType, Recorded};

/// An execution's place in a trace that began elsewhere.
///
/// ```
/// use expressway::observe::trace::Context;
///
/// let w3c = Context::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap();
/// assert!(w3c.sampled);
/// let xray = w3c.xray();
/// assert_eq!(xray, "Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=b7ad6b7169203331;Sampled=1");
/// assert_eq!(Context::parse(&xray), Some(w3c));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// The trace.
    pub trace_id: u128,
    /// The span that started the execution; 0 for none.
    pub parent_id: u64,
    /// Whether it is to be recorded.
    pub sampled: bool,
}

impl Context {
    /// From a header: W3C's `traceparent`, or `X-Amzn-Trace-Id`.
    pub fn parse(header: &str) -> Option<Context> {
        let header = header.trim();
        if header.starts_with("Root=") || header.contains(";Root=") {
            return Context::parse_xray(header);
        }
        let mut parts = header.split('-');
        let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if version.len() != 2 || version == "ff" || (version == "00" && parts.next().is_some()) {
            return None;
        }
        let (trace_id, parent_id) = (hex(trace, 32)?, hex(parent, 16)? as u64);
        let sampled = hex(flags, 2)? & 1 == 1;
        (trace_id != 0 && parent_id != 0).then_some(Context { trace_id, parent_id, sampled })
    }

    fn parse_xray(header: &str) -> Option<Context> {
        let field = |name: &str| {
            header.split(';').find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='))
        };
        let mut root = field("Root")?.split('-');
        let (version, time, random) = (root.next()?, root.next()?, root.next()?);
        if version != "1" || root.next().is_some() {
            return None;
        }
        let trace_id = hex(time, 8)? << 96 | hex(random, 24)?;
        let parent_id = field("Parent").and_then(|parent| hex(parent, 16)).unwrap_or_default() as u64;
        (trace_id != 0).then_some(Context { trace_id, parent_id, sampled: field("Sampled") == Some("1") })
    }

    /// As W3C's `traceparent`.
    pub fn traceparent(&self) -> String {
        format!("00-{:032x}-{:016x}-{:02x}", self.trace_id, self.parent_id, u8::from(self.sampled))
    }

    /// As `X-Amzn-Trace-Id`.
    pub fn xray(&self) -> String {
        let (time, random) = (self.trace_id >> 96, self.trace_id & (u128::MAX >> 32));
        let sampled = u8::from(self.sampled);
        format!("Root=1-{time:08x}-{random:024x};Parent={:016x};Sampled={sampled}", self.parent_id)
    }
}

/// So many hexadecimal digits, lower or upper case.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let all = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if all { u128::from_str_radix(text, 16).ok() } else { None }
}

/// Exports spans. Called on a thread that does nothing else; it may block for a while.
pub trait Exporter: Send + Sync {
    /// Exports an execution that is over, with its place in a trace; false when it is lost, which is counted. See
    /// [`spans`].
    fn export(&self, recorded: &Recorded, context: &Context) -> bool;

    /// Executions that were accepted and lost later.
    fn lost(&self) -> u64 {
        0
    }
}

/// Which executions are traced, and their exporter.
pub struct Traces {
    exporter: Box<dyn Exporter>,
    one_in: u64,
    dropped: AtomicU64,
}

impl std::fmt::Debug for Traces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Traces").field("one_in", &self.one_in).finish_non_exhaustive()
    }
}

impl Traces {
    /// Of executions without a trace header, one in so many is traced, and none with 0; for the others, the header
    /// decides.
    pub fn new(exporter: impl Exporter + 'static, one_in: u64) -> Traces {
        Traces { exporter: Box::new(exporter), one_in, dropped: AtomicU64::new(0) }
    }

    /// Whether calling [`begin`](Traces::begin) is worthwhile.
    pub(super) fn may_begin(&self, header: Option<&str>) -> bool {
        self.one_in > 0 || header.is_some()
    }

    /// The place in a trace of an execution that begins, if it is traced.
    pub(super) fn begin(&self, seed: u64, header: Option<&str>) -> Option<Context> {
        if let Some(context) = header.and_then(Context::parse) {
            return context.sampled.then_some(context);
        }
        let sampled = self.one_in > 0 && (seed >> 16).is_multiple_of(self.one_in);
        let low = mixed(seed, u64::MAX);
        let trace_id = u128::from(seed) << 64 | u128::from(low);
        sampled.then_some(Context { trace_id, parent_id: 0, sampled })
    }

    pub(super) fn take(&self, recorded: &Recorded, context: &Context) {
        if !self.exporter.export(recorded, context) {
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed) + self.exporter.lost()
    }
}

/// The kind of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpanKind {
    /// The execution.
    Execution,
    /// A visit of a state.
    State,
    /// An iteration of a Map.
    Iteration,
    /// One call of a task.
    Attempt,
}

/// A span.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Span {
    /// Its id.
    pub id: u64,
    /// The span it is a part of; 0 for none.
    pub parent_id: u64,
    /// Its kind.
    pub kind: SpanKind,
    /// The state machine, the state, or the resource; for an iteration, its number.
    pub name: String,
    /// When it began, in milliseconds since 1970.
    pub started_ms: u64,
    /// When it was over.
    pub stopped_ms: u64,
    /// Error and cause, when it failed.
    pub error: Option<(String, String)>,
}

/// The spans of an execution; the first is the execution's own.
pub fn spans(recorded: &Recorded, context: &Context) -> Vec<Span> {
    let name = recorded.state_machine_arn.rsplit(':').next().unwrap_or_default().to_owned();
    let mut tree = Tree {
        context,
        execution_arn: &recorded.execution_arn,
        spans: Vec::new(),
        parents: Vec::new(),
        ended: Vec::new(),
        places: HashMap::new(),
    };
    tree.begin(0, SpanKind::Execution, name, recorded.started_ms, None);
    recorded.events.iter().for_each(|event| tree.take(event));
    tree.end(recorded)
}

/// The id of the span that begins with an event of the execution; the execution's own with 0.
pub(super) fn span_id(trace_id: u128, execution_arn: &str, event: u64) -> u64 {
    let arn = execution_arn.bytes().fold(0xCBF2_9CE4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    mixed(arn ^ trace_id as u64 ^ (trace_id >> 64) as u64, event).max(1)
}

fn mixed(seed: u64, number: u64) -> u64 {
    let mut z = seed.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Built event by event, each attached to the one before it.
struct Tree<'a> {
    context: &'a Context,
    execution_arn: &'a str,
    spans: Vec<Span>,
    /// By span: its parent.
    parents: Vec<Option<usize>>,
    /// By span: whether it has an end.
    ended: Vec<bool>,
    /// The span that each event belongs to.
    places: HashMap<u64, usize>,
}

impl Tree<'_> {
    fn begin(
        &mut self,
        event: u64,
        kind: SpanKind,
        name: String,
        at_ms: u64,
        parent: Option<usize>,
    ) -> usize {
        let id = span_id(self.context.trace_id, self.execution_arn, event);
        let parent_id = parent.map_or(self.context.parent_id, |parent| self.spans[parent].id);
        self.spans.push(Span {
            id,
            parent_id,
            kind,
            name,
            started_ms: at_ms,
            stopped_ms: at_ms,
            error: None,
        });
        self.parents.push(parent);
        self.ended.push(false);
        self.spans.len() - 1
    }

    fn close(&mut self, span: usize, at_ms: u64, error: Option<(String, String)>) {
        self.spans[span].stopped_ms = at_ms;
        self.spans[span].error = error.or(self.spans[span].error.take());
        self.ended[span] = true;
    }

    /// The span itself or the nearest around it for which this holds; the execution's if none matches.
    fn around(&self, from: usize, holds: impl Fn(&Span, bool) -> bool) -> usize {
        let mut at = from;
        while !holds(&self.spans[at], self.ended[at]) {
            match self.parents[at] {
                Some(parent) => at = parent,
                None => break,
            }
        }
        at
    }

    fn take(&mut self, event: &Event) {
        use EventType::*;
        let place = self.places.get(&event.previous).copied().unwrap_or_default();
        let (name, at_ms) = (text(event, "name"), event.time_ms);
        let state = |span: &Span, ended: bool| span.kind == SpanKind::State && !ended;
        let kind = event.event_type.name();
        let place = match event.event_type {
            ExecutionStarted => 0,
            _ if kind.ends_with("StateEntered") => {
                // Inside of what is still under way around the event before.
                let parent = self.around(place, |span, ended| span.kind != SpanKind::Attempt && !ended);
                self.begin(event.id, SpanKind::State, name, at_ms, Some(parent))
            }
            _ if kind.ends_with("StateExited") => {
                let span = self.around(place, |span, ended| state(span, ended) && span.name == name);
                self.close(span, at_ms, None);
                span
            }
            TaskStateAborted | WaitStateAborted | ParallelStateAborted | MapStateAborted => {
                let span = self.around(place, state);
                self.close(span, at_ms, Some(("aborted".to_owned(), String::new())));
                span
            }
            TaskScheduled | LambdaFunctionScheduled | ActivityScheduled => {
                let parent = self.around(place, state);
                let name = [text(event, "resourceType"), text(event, "resource")].join(":");
                let name = name.trim_start_matches(':').to_owned();
                self.begin(event.id, SpanKind::Attempt, name, at_ms, Some(parent))
            }
            TaskSucceeded | LambdaFunctionSucceeded | ActivitySucceeded => {
                self.close(place, at_ms, None);
                place
            }
            TaskFailed
            | LambdaFunctionFailed
            | ActivityFailed
            | TaskTimedOut
            | LambdaFunctionTimedOut
            | ActivityTimedOut => {
                self.close(place, at_ms, Some(error(event)));
                place
            }
            MapIterationStarted => {
                let parent = self.around(place, |span, ended| state(span, ended) && span.name == name);
                self.begin(event.id, SpanKind::Iteration, number(event), at_ms, Some(parent))
            }
            MapIterationSucceeded | MapIterationFailed | MapIterationAborted => {
                let index = number(event);
                let iteration = |span: &Span, _| span.kind == SpanKind::Iteration && span.name == index;
                let span = self.around(place, iteration);
                let failed = event.event_type != MapIterationSucceeded;
                self.close(span, at_ms, failed.then(|| (kind.to_owned(), String::new())));
                self.parents[span].unwrap_or_default()
            }
            EvaluationFailed => {
                let span = self.around(place, state);
                self.spans[span].error = Some(error(event));
                span
            }
            _ => place,
        };
        self.places.insert(event.id, place);
    }

    /// Spans without an end of their own end with the execution.
    fn end(mut self, recorded: &Recorded) -> Vec<Span> {
        let last = recorded.events.last();
        let failed = (recorded.ending != Ending::Succeeded)
            .then(|| last.map(error).filter(|(error, _)| !error.is_empty()))
            .map(|error| error.unwrap_or_else(|| (recorded.ending.name().to_owned(), String::new())));
        for span in 0..self.spans.len() {
            if !self.ended[span] {
                self.close(span, recorded.stopped_ms, failed.clone());
            }
        }
        self.spans
    }
}

fn text(event: &Event, name: &str) -> String {
    event.detail(name).and_then(Detail::as_str).unwrap_or_default().to_owned()
}

fn number(event: &Event) -> String {
    match event.detail("index") {
        Some(Detail::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}

fn error(event: &Event) -> (String, String) {
    (text(event, "error"), text(event, "cause"))
}
