//! `batchItemFailures`, as EventBridge Pipes reads it in a target's result: which events of a batch failed.

use std::sync::LazyLock;

use memchr::memmem::Finder;

/// The error of events that an output names as failed.
pub(super) const ERROR: &str = "Pipe.BatchItemFailed";

/// Which events failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// Those with these identifiers; may be empty.
    These(Vec<String>),
    /// All: the list is malformed, or names an event that is not in the batch.
    All,
}

impl Failed {
    pub(super) fn names(&self, id: &str) -> bool {
        match self {
            Failed::These(ids) => ids.iter().any(|failed| failed == id),
            Failed::All => true,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Failed::These(ids) if ids.is_empty())
    }
}

/// Whether an output may report failures. Very few do, and searching for the member's name is much faster than reading
/// the text.
pub(super) fn may_be_in(output: &[u8]) -> bool {
    static NAME: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"batchItemFailures\""));
    NAME.find(output).is_some()
}

/// The failures in an output; `None` without such a member.
pub(super) fn of(output: &[u8], is_known: impl Fn(&String) -> bool) -> Option<Failed> {
    if !may_be_in(output) {
        return None;
    }
    let output: serde_json::Value = serde_json::from_slice(output).ok()?;
    let list = match output.get("batchItemFailures")? {
        serde_json::Value::Null => return Some(Failed::These(Vec::new())),
        list => list.as_array(),
    };
    let ids: Option<Vec<String>> = list.and_then(|list| {
        list.iter()
            .map(|item| item.get("itemIdentifier")?.as_str().filter(|id| !id.is_empty()).map(str::to_owned))
            .collect()
    });
    Some(match ids {
        Some(ids) if ids.iter().all(is_known) => Failed::These(ids),
        _ => Failed::All,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_those_named_or_all_when_the_list_makes_no_sense() {
        let these = |ids: &[&str]| Some(Failed::These(ids.iter().map(|&id| id.to_owned()).collect()));
        let cases = [
            (r#"{"a": 1}"#, None),
            (r#""\"batchItemFailures\"""#, None),
            (r#"{"a": {"batchItemFailures": [1]}}"#, None),
            (r#"{"batchItemFailures": null}"#, these(&[])),
            (r#"{"batchItemFailures": []}"#, these(&[])),
            (r#"{"batchItemFailures": [{"itemIdentifier": "2"}]}"#, these(&["2"])),
            (r#"{"batchItemFailures": [{"itemIdentifier": "9"}]}"#, Some(Failed::All)),
            (r#"{"batchItemFailures": [{"itemIdentifier": ""}]}"#, Some(Failed::All)),
            (r#"{"batchItemFailures": [{"item": "2"}]}"#, Some(Failed::All)),
            (r#"{"batchItemFailures": {"itemIdentifier": "2"}}"#, Some(Failed::All)),
        ];
        for (output, expected) in cases {
            assert_eq!(of(output.as_bytes(), |id| ["1", "2"].contains(&id.as_str())), expected, "{output}");
        }
    }
}
