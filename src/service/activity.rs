//! An activity.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use super::configuration::{Encryption, Tag, bytes_of_tags};
use crate::memory::OwnCharge;

/// An activity. Immutable; a change replaces it as a whole.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Activity {
    pub(super) arn: Box<str>,
    pub(super) name: Box<str>,
    pub(super) created_ms: u64,
    pub(super) encryption: Option<Encryption>,
    pub(super) tags: Vec<Tag>,
    /// Workers that wait for a task.
    #[serde(skip)]
    pub(super) pollers: Arc<AtomicUsize>,
    #[serde(skip)]
    pub(super) charge: OwnCharge,
}

/// Bytes, about, of an activity beside its texts.
const ACTIVITY_BYTES: usize = 512;

impl Activity {
    pub(super) fn bytes(&self) -> usize {
        ACTIVITY_BYTES + bytes_of_tags(&self.tags)
    }
}
