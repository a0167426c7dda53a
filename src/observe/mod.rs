//! What an execution shows of itself: history, and what derives from it. Everything here is made from the
//! [records](crate::engine::Record) of the engine, which forms them only when someone listens.

#[cfg(feature = "runtime")]
mod desk;
mod event_type;
#[cfg(feature = "runtime")]
pub(crate) mod families;
pub mod history;
#[cfg(feature = "runtime")]
mod lines;
pub mod log;
#[cfg(feature = "otel")]
mod otlp;
mod redact;
#[cfg(feature = "runtime")]
mod ring;
#[cfg(feature = "runtime")]
mod sink;
#[cfg(feature = "runtime")]
pub mod trace;
#[cfg(feature = "runtime")]
mod view;
#[cfg(feature = "runtime")]
mod watch;
mod watcher;

pub use event_type::EventType;
pub use history::{Event, History};
#[cfg(feature = "otel")]
pub use otlp::{Otlp, OtlpError};
pub use redact::{Redaction, RedactionError};
pub use watcher::{Beginning, LiveHistory, Observer, Watcher};
#[cfg(feature = "runtime")]
pub(crate) use {
    desk::{Called, Desk, Over, Scribe},
    view::{DurationCounts, Durations, Memory, StateTally, TaskTally, Took, VersionView, View},
    watch::Watch,
};
#[cfg(feature = "runtime")]
pub use {
    desk::{Dropped, Setup},
    ring::{Ending, Page, Query, Reason, Recorded, Tail},
    sink::{RotatingFiles, Sink, Stdout},
};
