//! Drivers: they carry out what the engine wants done and feed back what happened.
//!
//! [`inline`] runs executions one after another on the caller's own thread, with the real clock or virtual time.

mod clock;
pub mod inline;

pub use clock::{Clock, RealClock, VirtualClock};
