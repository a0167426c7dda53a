//! Observability: history, and the logs, metrics and traces derived from it. Everything here is made from the
//! [records](crate::engine::Record) of the engine, which forms them only when a listener wants them.

#[cfg(feature = "runtime")]
mod counters;
pub(crate) mod event_bytes;
mod event_type;
pub mod history;
#[cfg(feature = "runtime")]
mod hub;
#[cfg(feature = "runtime")]
mod lines;
pub mod log;
#[cfg(feature = "otel")]
mod otlp;
#[cfg(feature = "runtime")]
pub(crate) mod prometheus;
mod redact;
#[cfg(feature = "runtime")]
mod retained;
#[cfg(feature = "runtime")]
mod sample;
#[cfg(feature = "runtime")]
mod sink;
#[cfg(feature = "runtime")]
mod subscribers;
#[cfg(feature = "runtime")]
pub mod trace;
mod watcher;

pub use event_type::EventType;
pub use history::{Event, History};
#[cfg(feature = "otel")]
pub use otlp::{Otlp, OtlpError};
pub use redact::{Redaction, RedactionError};
pub use watcher::{Beginning, LiveHistory, Observer, Spill, Spilled, Watcher};
#[cfg(feature = "runtime")]
pub(crate) use {
    counters::{
        BOUNDS_US, DurationCounts, Durations, MachineCounters, Memory, StateTally, TaskTally, Took,
        VersionCounters,
    },
    hub::{ExecutionIdentity, LogBuffer, Observability, Over},
    subscribers::Watch,
};
#[cfg(feature = "runtime")]
pub use {
    hub::{Dropped, Setup},
    retained::{Ending, Page, Query, Reason, Recorded, Retention},
    sample::{Heat, StateHeat},
    sink::{RotatingFiles, Sink, Stdout},
};
