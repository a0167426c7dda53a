//! The actions of AWS's API as methods of a [`Service`], with AWS's exceptions and messages.
//!
//! This module manages state machines with their revisions, versions, aliases and tags, activities, and executions by
//! their ARN. It does not know HTTP, or how JSON spells a member.
//!
//! Express executions are not kept; Standard ones are kept in memory, with their history, within a budget of bytes.
//! They survive a restart when a folder keeps the [state](Builder::state).

mod activities;
mod activity;
mod aliases;
mod builder;
mod closed;
mod cold;
mod configuration;
mod counted;
#[cfg(feature = "clustered")]
mod database;
mod describe;
mod disk;
mod durable;
mod error;
mod executions;
#[cfg_attr(not(feature = "cluster"), allow(dead_code))]
mod forwarding;
mod grant;
mod history;
mod ids;
mod inner;
mod kept_map_runs;
mod label;
mod lists;
mod machine;
mod machines;
mod map_runs;
mod mocks;
#[cfg(feature = "clustered")]
mod moving;
mod names;
mod nested;
#[cfg(feature = "clustered")]
mod node;
mod page;
mod permit;
mod place;
mod records;
mod redrive;
mod redrives;
mod reference;
mod registry;
mod reset;
mod scope;
mod settings;
#[cfg_attr(not(feature = "cluster"), allow(dead_code))]
pub(crate) mod spread;
mod start;
mod state_error;
mod status_events;
mod store;
#[cfg(feature = "console")]
mod survey;
mod tables;
mod tags;
pub mod test_state;
mod testing;
pub mod validate;
mod versions;

use std::time::Duration;

pub use activities::{ActivityDescription, ActivityTask};
pub use aliases::{AliasDescription, Route};
pub use builder::{BuildError, Builder};
pub use configuration::{Encryption, LogLevel, Logging, Tag};
pub use describe::ExecutionDescription;
pub use durable::{RecordedExecution, recorded_executions};
pub use error::{Error, Exception};
pub use grant::{Grant, Rule};
pub(crate) use grant::{made_by, names_resource};
pub use history::HistoryLabels;
pub use inner::Service;
pub use lists::{ExecutionItem, ListExecutions};
pub use machine::StateMachineDescription;
pub use machines::{
    CreateStateMachine, CreatedStateMachine, StateMachineItem, UpdateStateMachine, UpdatedStateMachine,
};
pub use map_runs::{MapRunFailures, UpdateMapRun};
#[cfg(feature = "clustered")]
pub use moving::{CopiedState, StatePlace, copy_state};
pub use page::{Page, Part};
pub use redrives::RedriveDescription;
pub use settings::Scope;
pub use start::{Billing, StartExecution, StartedExecution, SyncOutcome};
pub(crate) use start::{Ended, KnownMachine, ShortMachine};
pub use state_error::StateError;
#[cfg(feature = "integrations")]
pub use status_events::EventBus;
pub use status_events::{StatusEvent, StatusFile, StatusSink};
#[cfg(feature = "console")]
pub(crate) use survey::{Candidate, Surveyed, Window};
pub use versions::Qualified;

use crate::limits;
use crate::runtime::{Counts, DurabilityMode, DurableError};
use store::Store;

impl Service {
    /// Builds a service.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// How many executions there were, by how they ended.
    pub fn counts(&self) -> Counts {
        self.inner.engine.counts()
    }

    /// All metrics of the engine in Prometheus's text format; of machines, states and tasks when they are
    /// [counted](crate::observe::Setup::metrics). See [`Observed::prometheus`].
    ///
    /// [`Observed::prometheus`]: crate::runtime::Observed::prometheus
    pub fn prometheus(&self) -> String {
        let definitions = &self.inner.definitions;
        let mut text = self.inner.engine.observed().prometheus();
        let mut all = Vec::new();
        if let Some((sent, dropped, waiting)) = self.inner.executions.status_event_counts() {
            all.push(("status_events_sent_total", "counter", "Status changes that were put.", sent));
            all.push(("status_events_dropped_total", "counter", "Status changes that had no room.", dropped));
            all.push(("status_events_waiting", "gauge", "Status changes that are to be put.", waiting));
        }
        if let Some(spread) = &self.inner.spread {
            let owned = (0..limits::JOURNAL_PARTITIONS).filter(|partition| spread.owns(*partition)).count();
            all.push(("cluster_partitions", "gauge", "Partitions that this node owns.", owned as u64));
        }
        let [cold, closed, pending, bytes] = self.inner.cold.as_ref().map_or([0; 4], |cold| cold.stats());
        all.extend([
            (
                "durable_cold",
                "gauge",
                "Executions with a row in the store of those that wait and are not in memory.",
                cold,
            ),
            ("durable_cold_closed", "gauge", "Executions with a row there that are over.", closed),
            ("durable_cold_pending", "gauge", "Rows that are still to be written.", pending),
            ("durable_cold_bytes", "gauge", "Bytes of that store's file.", bytes),
            (
                "definitions_bytes",
                "gauge",
                "Memory of state machines in bytes, estimated.",
                definitions.used() as u64,
            ),
            (
                "definitions_bytes_max",
                "gauge",
                "Limit of the memory of state machines in bytes.",
                definitions.bytes_max() as u64,
            ),
            (
                "definitions_refused_total",
                "counter",
                "Definitions refused: no memory.",
                definitions.refused(),
            ),
        ]);
        for (name, kind, help, value) in all {
            let name = format!("expressway_{name}");
            text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n"));
        }
        text
    }

    /// Blocks this thread until all [changes of status](Builder::status_events) are delivered, or the time is over. How
    /// many are left.
    pub fn wait_for_status_events(&self, within: Duration) -> usize {
        self.inner.executions.wait_for_status_events(within)
    }

    /// Why nothing can be registered, or no execution made durable, at present: changes and starts are refused until
    /// the problem is gone.
    pub fn state_problem(&self) -> Option<String> {
        self.inner.store.as_ref().and_then(Store::trouble).or_else(|| self.inner.engine.journal_problem())
    }

    /// Gives up a cluster, so that another process can take over at once. To be called at the end, when all is
    /// [drained](Service::drain): nothing is made durable afterwards.
    pub fn finish(&self) {
        #[cfg(feature = "clustered")]
        if let Some(node) = &self.inner.node {
            node.end();
        }
        self.inner.engine.finish_journal();
    }

    /// How many Standard executions are open; right after the start, those of earlier processes, which go on.
    pub fn open_executions(&self) -> usize {
        self.inner.executions.open()
    }

    /// What a crash may lose of Standard executions.
    pub fn durability(&self) -> DurabilityMode {
        self.inner.engine.durability()
    }

    /// Copies what is still needed of durable executions to the end of their journal, and drops the rest; that is also
    /// done automatically when it pays off. How many bytes were copied.
    ///
    /// # Errors
    /// When the journal cannot be read, or does not take the copies; it stays as it was.
    pub fn compact_journal(&self) -> Result<u64, DurableError> {
        self.inner.engine.compact_journal()
    }

    /// Begins no more executions and waits until all are over; those that are not after `within` time out. Resolves to
    /// the counts of executions that ended meanwhile.
    pub async fn drain(&self, within: Duration) -> Counts {
        self.inner.engine.drain(within).await
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("machines", &self.inner.machines.len()).finish_non_exhaustive()
    }
}
