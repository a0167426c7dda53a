//! What an execution shows of itself: history, and what derives from it. Everything here is made from the
//! [records](crate::engine::Record) of the engine, which forms them only when someone listens.

mod event_type;
pub mod history;
pub mod log;
#[cfg(feature = "runtime")]
mod watch;
mod watcher;

pub use event_type::EventType;
pub use history::History;
#[cfg(feature = "runtime")]
pub(crate) use watch::Watch;
pub use watcher::{Beginning, LiveHistory, Observer, Watcher};
