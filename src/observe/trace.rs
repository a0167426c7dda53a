//! Traces: an execution as a tree of spans, execution → state → attempt, made of its history after the end.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Recorded;

/// Where an execution stands in a trace that began elsewhere (W3C Trace Context, X-Ray).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// The trace.
    pub trace_id: u128,
    /// The span that started the execution; 0 for none.
    pub parent_id: u64,
    /// Whether it is to be recorded.
    pub sampled: bool,
}

/// Where spans go. Called on a thread that does nothing else; it may block for a while.
pub trait Exporter: Send + Sync {
    /// Takes an execution that is over, with its place in a trace; false when it is lost, which is counted.
    fn export(&self, recorded: &Recorded, context: &Context) -> bool;
}

/// Which executions are traced, and where their spans go.
pub struct Traces {
    exporter: Box<dyn Exporter>,
    one_in: u64,
    dropped: AtomicU64,
}

impl Traces {
    /// One execution in so many, to `exporter`; with 0, only those whose context says so.
    pub fn new(exporter: impl Exporter + 'static, one_in: u64) -> Traces {
        Traces { exporter: Box::new(exporter), one_in, dropped: AtomicU64::new(0) }
    }

    /// Whether an execution that comes without a context is traced.
    pub(super) fn begin(&self, seed: u64) -> Option<Context> {
        let sampled = self.one_in > 0 && (seed >> 16).is_multiple_of(self.one_in);
        sampled.then(|| Context {
            trace_id: u128::from(seed) << 64 | u128::from(seed.rotate_left(32) ^ 0x9E37_79B9_7F4A_7C15),
            parent_id: 0,
            sampled,
        })
    }

    pub(super) fn take(&self, recorded: &Recorded, context: &Context) {
        if !self.exporter.export(recorded, context) {
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }
}
