//! The counters of a pipeline, and the state of its ends.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::ends::{End, Ends, Trouble};

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The counters of a pipeline; read while it runs.
        #[derive(Debug, Default)]
        pub struct Stats {
            $(pub(super) $name: AtomicU64,)*
            pub(super) in_flight: AtomicU64,
            /// One more than the events that wait at the source; 0 while that is unknown.
            pub(super) waiting: AtomicU64,
            pub(super) ends: Ends,
            pub(super) running: AtomicBool,
        }

        /// The counts of a pipeline.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
        #[non_exhaustive]
        pub struct Report {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Stats {
            /// The present counts.
            pub fn report(&self) -> Report {
                Report { $($name: self.$name.load(Ordering::Relaxed),)* }
            }

            /// Events being processed.
            pub fn in_flight(&self) -> u64 {
                self.in_flight.load(Ordering::Relaxed)
            }

            /// Events that wait at the source, as its broker counted them a few seconds ago; `None` if that is unknown.
            pub fn lag(&self) -> Option<u64> {
                self.waiting.load(Ordering::Relaxed).checked_sub(1)
            }
        }
    };
}

counts! {
    /// Events received, each counted at its first delivery, as far as the source tells.
    received,
    /// Events received that the source had delivered before, to this process or to another one.
    redelivered,
    /// Bytes of all deliveries, repeated ones included.
    bytes,
    /// Events that succeeded.
    succeeded,
    /// Outputs published.
    published,
    /// Events given back for redelivery, and attempts repeated here.
    again,
    /// Events that failed after all retries. Each is a dead letter if there is a sink for these.
    dead,
    /// Duplicate events, dropped.
    duplicates,
    /// Events that the source refused to settle; they are redelivered.
    unsettled,
    /// Events that were not finished when the pipeline was stopped and its time to finish was over; they stay with their
    /// source, which delivers them again.
    left,
    /// Failures of the source and the sinks: lost connections, and failed attempts to use them.
    away,
}

impl Stats {
    /// Whether the pipeline receives events: its source and its sinks are open, and it was not stopped.
    pub fn is_running(&self) -> bool {
        self.running.load(Ordering::Acquire)
    }

    /// The ends that fail at present, with the last error of each; empty while all is well.
    pub fn failing(&self) -> Vec<Trouble> {
        let ends = [End::Source, End::Sink, End::DeadLetters].into_iter().zip(&self.ends.0);
        let failing = ends.filter_map(|(end, at)| {
            at.lasting().as_ref().map(|lasting| Trouble {
                end,
                address: lasting.address.clone(),
                why: Some(lasting.why.clone()),
                failures: lasting.failures,
                lasted: lasting.since.elapsed(),
            })
        });
        failing.collect()
    }
}
