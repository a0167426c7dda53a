//! Ordering: none, that of the outputs, or that of events with the same key.
//!
//! The order is decided when events are received, by a single task; after that, each piece of work only waits for the
//! one before it in its lane.

use tokio::sync::oneshot;

use super::event::{Batch, PipeError};
use crate::json::{self, Arena};
use crate::query::path::{Path, ReferencePath};
use crate::query::{Names, Slot};

/// Which order is kept.
#[derive(Clone, Debug, Default)]
pub enum Order {
    /// None.
    #[default]
    Any,
    /// Executions run side by side, and their outputs are published in the order of the events.
    Outputs,
    /// Events with the same key run one after the other, are published in their order and settled in it; others run side
    /// by side. Events without a key are in no order.
    Key(KeyOf),
}

/// Where an event's key is.
#[derive(Clone, Debug)]
pub struct KeyOf(Place);

#[derive(Clone, Debug)]
enum Place {
    Source,
    Id,
    Body(Path),
}

struct NoNames;

impl Names for NoNames {
    fn slot(&mut self, _: &str) -> Option<Slot> {
        None
    }
}

impl KeyOf {
    /// The ordering key of the source: Kafka's key, the group of a queue.
    pub fn source() -> KeyOf {
        KeyOf(Place::Source)
    }

    /// The event's id in the source.
    pub fn id() -> KeyOf {
        KeyOf(Place::Id)
    }

    /// A value of the body, by its path of names and indexes (`$.customer.id`).
    ///
    /// # Errors
    /// When that is not such a path.
    pub fn body(path: &str) -> Result<KeyOf, PipeError> {
        let refused = |why: String| PipeError::Refused(format!("the key's path '{path}': {why}"));
        let parsed = Path::parse(path, &mut NoNames).map_err(|error| refused(error.to_string()))?;
        if ReferencePath::parse(path).is_ok() {
            Ok(KeyOf(Place::Body(parsed)))
        } else {
            Err(refused("a key is found by names and indexes from `$`".to_owned()))
        }
    }

    /// The key of an event; `None` if it has none.
    pub(super) fn of(&self, arena: &mut Arena, batch: &Batch, n: usize) -> Option<String> {
        match &self.0 {
            Place::Source => batch.key(n).map(str::to_owned),
            Place::Id => Some(batch.provenance(n).id),
            Place::Body(path) => {
                arena.clear();
                let body = json::read(arena, batch.body(n)).ok()?;
                let value = path.follow(arena, body);
                if value.is_undefined() {
                    return None;
                }
                match arena.as_str(value) {
                    Some(text) => Some(text.to_owned()),
                    None => {
                        let mut text = Vec::new();
                        json::write(arena, value, &mut text);
                        String::from_utf8(text).ok()
                    }
                }
            }
        }
    }
}

/// A place in a lane: after one piece of work, before the next. Dropping it lets the next one begin.
#[derive(Debug, Default)]
pub(super) struct Turn {
    before: Option<oneshot::Receiver<()>>,
    _after: Option<oneshot::Sender<()>>,
}

impl Turn {
    /// Waits until the work before is done.
    pub(super) async fn wait(&mut self) {
        if let Some(before) = self.before.take() {
            // It is done, or was dropped.
            let _ = before.await;
        }
    }
}

/// Work in a lane is done in the order in which it joined.
#[derive(Debug, Default)]
pub(super) struct Lane(Option<oneshot::Receiver<()>>);

impl Lane {
    /// The place after all work that is in the lane.
    pub(super) fn join(&mut self) -> Turn {
        let (after, next) = oneshot::channel();
        Turn { before: self.0.replace(next), _after: Some(after) }
    }
}

/// Lanes for events with keys. Keys that share a lane wait for each other, which is rare and harmless.
const LANES: usize = 1_024;

/// One lane for each of many keys.
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    hasher: std::hash::RandomState,
    arena: Arena,
}

impl Lanes {
    pub(super) fn new() -> Lanes {
        let lanes = std::iter::repeat_with(Lane::default).take(LANES).collect();
        Lanes { lanes, hasher: std::hash::RandomState::new(), arena: Arena::new() }
    }

    /// The events of a batch by their lanes, each with its turn; those without a key are on their own.
    pub(super) fn split(&mut self, batch: &Batch, events: &[u32], key: &KeyOf) -> Vec<(Vec<u32>, Turn)> {
        use std::hash::BuildHasher;
        let mut keyed: Vec<(usize, u32)> = Vec::with_capacity(events.len());
        let mut free = Vec::new();
        for &event in events {
            match key.of(&mut self.arena, batch, event as usize) {
                Some(key) => keyed.push((self.hasher.hash_one(key) as usize % LANES, event)),
                None => free.push(event),
            }
        }
        // Stable: within a lane the order stays.
        keyed.sort_by_key(|(lane, _)| *lane);
        let mut split: Vec<(Vec<u32>, Turn)> = keyed
            .chunk_by(|a, b| a.0 == b.0)
            .map(|chunk| (chunk.iter().map(|(_, event)| *event).collect(), self.lanes[chunk[0].0].join()))
            .collect();
        split.extend(free.into_iter().map(|event| (vec![event], Turn::default())));
        split
    }
}
