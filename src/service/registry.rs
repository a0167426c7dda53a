//! Resources by their ARN: looked up by many threads at once, changed by one at a time, listed in the order of their
//! names.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use dashmap::DashMap;

/// Resources of one kind. They are immutable; a change replaces them.
#[derive(Debug)]
pub(super) struct Registry<T> {
    by_arn: DashMap<Box<str>, Arc<T>>,
    /// The same, in order.
    sorted: RwLock<BTreeMap<Box<str>, Arc<T>>>,
    /// A new number after each change; no two registries of a process ever have the same.
    generation: AtomicU64,
}

impl<T> Default for Registry<T> {
    fn default() -> Registry<T> {
        Registry { by_arn: DashMap::new(), sorted: RwLock::default(), generation: next_generation().into() }
    }
}

fn next_generation() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl<T> Registry<T> {
    /// Results of lookups stay valid as long as the generation is the same.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(super) fn get(&self, arn: &str) -> Option<Arc<T>> {
        self.by_arn.get(arn).map(|thing| Arc::clone(&thing))
    }

    pub(super) fn put(&self, arn: &str, thing: Arc<T>) {
        // The maps are consistent between any two statements.
        let mut sorted = self.sorted.write().unwrap_or_else(PoisonError::into_inner);
        sorted.insert(arn.into(), Arc::clone(&thing));
        self.by_arn.insert(arn.into(), thing);
        self.generation.store(next_generation(), Ordering::Release);
    }

    pub(super) fn remove(&self, arn: &str) -> Option<Arc<T>> {
        let mut sorted = self.sorted.write().unwrap_or_else(PoisonError::into_inner);
        sorted.remove(arn);
        let removed = self.by_arn.remove(arn).map(|(_, thing)| thing);
        self.generation.store(next_generation(), Ordering::Release);
        removed
    }

    pub(super) fn len(&self) -> usize {
        self.by_arn.len()
    }

    /// Up to `max` resources whose ARNs come after `after`.
    pub(super) fn after(&self, after: Option<&str>, max: usize) -> Vec<Arc<T>> {
        let sorted = self.sorted.read().unwrap_or_else(PoisonError::into_inner);
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        sorted
            .range::<str, _>((from, Bound::Unbounded))
            .take(max)
            .map(|(_, thing)| Arc::clone(thing))
            .collect()
    }
}
