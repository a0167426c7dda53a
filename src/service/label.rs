//! The label of a durable execution.

use serde::{Deserialize, Serialize};

use super::machine::Target;

/// The part of an execution's record that only the service understands.
#[derive(Serialize, Deserialize)]
pub(super) struct Label {
    /// The key under which its revision is noted.
    pub(super) revision: String,
    pub(super) version: Option<(u32, Option<String>, u64)>,
    pub(super) alias: Option<String>,
    pub(super) started_ms: u64,
    pub(super) number: u64,
    pub(super) parent: Option<String>,
    /// Of a child of a Map Run, its ARN and that of its machine; the revision is that of the machine with the Map.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) map_run: Option<(String, String)>,
    /// Whether changes of its status are [delivered](super::status_events), from its start on. Not in rows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_told: bool,
}

impl Label {
    pub(super) fn new(
        target: &Target,
        (started_ms, number): (u64, u64),
        (parent, map_run): (Option<String>, Option<&str>),
    ) -> Label {
        let Target { machine, revision, version, alias } = target;
        // The label of a Map follows the name of the machine that has it, whose revision was noted.
        let of = machine.arn.split_once('/').map_or(&*machine.arn, |(machine, _)| machine);
        let revision = format!("{of} {} {} {}", machine.created_ms, revision.number, revision.updated_ms);
        let version = version.as_ref().map(|it| (it.number, it.description.clone(), it.created_ms));
        let map_run = map_run.map(|run| (run.to_owned(), machine.arn.to_string()));
        Label { revision, version, alias: alias.clone(), started_ms, number, parent, map_run, is_told: false }
    }

    pub(super) fn to_bytes(&self) -> Box<[u8]> {
        serde_json::to_vec(self).expect("a label is written as JSON").into()
    }
}
