//! Handlers that blocked their shard.
//!
//! A shard looks at the coarse clock after each call of a handler, and nothing but handlers can take so long between
//! two looks: a turn ends after a millisecond of work, and a long expression is suspended. Only calls that took too
//! long are handled here.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::limits;

/// How often handlers blocked their shards, by resource.
#[derive(Debug, Default)]
pub(super) struct Blocked {
    by_resource: Mutex<BTreeMap<Box<str>, u64>>,
}

/// The label for the resources beyond the bound.
const OTHERS: &str = "others";

impl Blocked {
    /// A handler of this resource blocked its shard for so long. The first time is logged as a warning.
    #[cold]
    pub(super) fn note(&self, resource: &str, took_ms: u64) {
        // Nothing panics while it holds the lock.
        let mut counts = self.by_resource.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(resource) {
            *count += 1;
            return;
        }
        let resource = if counts.len() < limits::METRICS_RESOURCES_MAX { resource } else { OTHERS };
        let count = counts.entry(resource.into()).or_default();
        *count += 1;
        if *count == 1 {
            drop(counts);
            tracing::warn!(
                resource,
                took_ms,
                "a handler blocked its shard: no other execution of the shard went on meanwhile, and no time-out held. \
                 Register it with `task_blocking`, or let it await what takes long; it is warned of once"
            );
        }
    }

    /// How often, of each resource.
    pub(super) fn counts(&self) -> Vec<(Box<str>, u64)> {
        let counts = self.by_resource.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().map(|(resource, count)| (resource.clone(), *count)).collect()
    }
}
